"""What both bounded passes share: bounds that are moved instead of computed, and rows gathered by their indices.

All bounds are in units of the packed rows, root distances in float32, rounded outward: an upper bound never lies below
the distance it bounds, a lower bound never above.  A row is settled without being read where its upper bound, widened by
SLACK, is strictly below a lower bound of every other distance; equality evaluates.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .simd import I64

SLACK = 1.0 + 2e-6  # of an upper bound against a lower one: roundings of both, and those of the canonical value
SCAN = 512  # rows whose bounds are moved between two visits of the counter
EVALUATED, READ = range(3, 5)  # columns of a lane's counters, after those of the dense pass


@kernel
def moved_bounds(labels, lo, hi, rise, fall, half, upper, least, rows, count):
    """Move the bounds of rows lo..hi with the centers; appends the rows they don't settle, returns how many there are.

    labels (n,) int32, rise, fall, half (k,) float32 IN: how far a row's own center moved at most, how much nearer the
    others can have come, and a lower bound of the distance from center to center; upper, least (n,) float32 INOUT:
    bounds of the distance to the own center and to the nearest other one; rows (count + hi - lo,) int32 INOUT.
    """
    for i in range(np.uint64(lo), np.uint64(hi)):
        a = np.uint64(labels[i])
        u = (upper[i] + rise[a]) * np.float32(1.0 + 2e-7)
        l = (least[i] - fall[a]) * np.float32(1.0 - 2e-7)
        upper[i] = u
        least[i] = l
        rows[count] = i
        count += not (max(l, half[a] - u) > u * np.float32(SLACK))
    return count


@kernel
def difference_error(length, error):
    """What a squared distance as computed by differences in float32 can be off by: a relative and an absolute bound.

    length: of the chains of additions in it; error (6,) float64: see lloyd.margin.
    """
    return 1.01 * 2.0**-24 * (length + 9), error[2]


@kernel
def product_error(lanes, size, error):
    """The same for ``square - 2 v``, v a fast value: factors of |y| m + m^2 / 2, of |y|^2, of |y| + m, a constant; float32.

    m is the norm of the center, or a bound of it.  Doubled, for it is v that the certificate's error bounds.
    """
    relative = 2.0**-24 * (size // lanes + 14)
    return (
        np.float32(2.02 * error[0]), np.float32(1.01 * relative + 3e-7), np.float32(2.02 * error[3]),
        np.float32(2.02 * error[2] + 2.0 * error[4]),
    )  # fmt: skip


@kernel
def product_margin(square, norm, products):
    """How far two fast values must be apart to tell which of two centers of at most this norm is nearer; float32.

    The last term is what the canonical values round.
    """
    length = np.sqrt(square * np.float32(1.001) + products[3])
    e = products[0] * (length * norm + np.float32(0.5) * norm * norm) + products[2] * (length + norm) + products[3]
    return e * np.float32(1.001) + np.float32(1e-9) * (square + norm * norm)


@kernel
def lower_by_product(square, value, norm, slip, products):
    """Lower bound of a distance from a row's square norm and a fast value; float32, 0 where nothing is known."""
    length = np.sqrt(square * np.float32(1.001) + products[3])
    e = products[0] * (length * norm + np.float32(0.5) * norm * norm) + products[2] * (length + norm) + products[3]
    rest = square - np.float32(2.0) * value - np.float32(1.001) * (e + products[1] * square)
    if not (rest > np.float32(0.0)):
        return np.float32(0.0)
    return np.sqrt(rest) * np.float32(1.0 - 4e-7)


@kernel
def packing_slip(square, largest, error):
    """How far packing can have moved a row of this square norm and a center from each other; float32, rounded up."""
    wide = np.float64(square) * (1.0 + error[5]) + error[4]
    return np.float32(1.02 * 2.0**-24 * (math.sqrt(wide) + largest) + error[3])


@kernel
def upper_bound(square, slip, cut, floor):
    """Upper bound of a distance from its computed square: float32, rounded up.

    slip: of packing_slip; cut, floor: of difference_error.  Four times the floor, so that the canonical value of
    whatever lies strictly farther is greater even where its squares underflow.
    """
    return np.float32((math.sqrt(np.float64(square) * (1.0 + cut) + 4.0 * floor) + slip) * (1.0 + 2e-7))


@kernel
def lower_bound(square, slip, cut, floor):
    """Lower bound of a distance from its computed square: float32, rounded down; 0 where nothing is known."""
    rest = np.float64(square) * (1.0 - cut) - floor
    if not (rest > 0.0):
        return np.float32(0.0)
    return np.float32(max(math.sqrt(rest) - slip, 0.0) * (1.0 - 2e-7))


@intrinsic
def lowest_bit(typingctx, bits):
    """Number of the lowest bit that is set; bits must not be 0."""

    def codegen(context, b, signature, args):
        return simd.call(b, "llvm.cttz.i64", I64, [args[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.int64), codegen
