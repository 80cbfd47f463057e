"""What both bounded passes share: bounds that are moved instead of computed, and rows gathered by their indices.

All bounds are in units of the packed rows, root distances in float32, rounded outward: an upper bound never lies below
the distance it bounds, a lower bound never above.  A row is settled without being read where its upper bound, widened
by SLACK, is strictly below a lower bound of every other distance; equality evaluates.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .simd import F32, I64, fetch_ahead

WIDER, NARROWER = 1.0 + 2e-7, 1.0 - 2e-7  # outward, of an upper and a lower bound that is moved
SLACK = 1.0 + 2e-6  # of an upper bound against a lower one: roundings of both, and those of the canonical value
SCAN = 512  # rows whose bounds are moved between two visits of the counter
EVALUATED, READ = range(3, 5)  # columns of a lane's counters, after those of the dense pass


@kernel
def fetch_row(row, address, stride):
    """Ask for a row that will be gathered; address, stride: of row 0, and bytes from row to row.

    When it is found, not when its turn comes: a burst of requests exceeds what a core keeps in flight.
    """
    start = address + stride * np.int64(row)
    for byte in range(0, stride, 64):
        fetch_ahead(start + byte)
    fetch_ahead(start + stride - 1)


@kernel
def fetch_rows(rows, lo, hi, address, stride):
    """Ask for rows[lo:hi]: see fetch_row."""
    for q in range(lo, hi):
        fetch_row(rows[q], address, stride)


@kernel
def difference_error(length, error):
    """What a squared distance as computed by differences in float32 can be off by; four float32.

    length: of the chains of additions in it; error (6,) float64: see lloyd.margin.  Factors for an upper and a lower
    bound, and what underflow can hide from either: for the upper one four times that, so that the canonical value of
    whatever lies strictly farther is greater even where its squares underflow.
    """
    relative = 1.01 * 2.0**-24 * (length + 10)
    floor = error[2] * (1.0 + 1e-6)
    return np.float32(1.0 + relative), np.float32(1.0 - relative), np.float32(4.0 * floor), np.float32(floor)


@kernel
def packing_error(largest, error):
    """What `packing_slip` takes: a factor, an addend, and that of the root; float32.  largest: norm of any center."""
    unit = 1.02 * 2.0**-24
    return np.float32(unit), np.float32(unit * largest + 1.01 * error[3]), np.float32(2.0 * error[4])


@kernel
def packing_slip(square, packing):
    """How far packing can have moved a row of this square norm and a center from each other; float32, rounded up."""
    return packing[0] * np.sqrt(square * np.float32(1.001) + packing[2]) + packing[1]


@kernel
def upper_bound(square, slip, differences):
    """Upper bound of a distance from its square as computed by differences; float32, rounded up."""
    return (np.sqrt(square * differences[0] + differences[2]) + slip) * np.float32(1.0 + 6e-7)


@kernel
def less_slip(distance, slip):
    """A lower bound of a distance less what a row may be off by; float32, rounded down, 0 where nothing is known."""
    rest = distance - slip
    return rest * np.float32(1.0 - 2e-7) if rest > np.float32(0.0) else np.float32(0.0)


@kernel
def lower_bound(square, slip, differences):
    """Lower bound of a distance from its square as computed by differences; float32, 0 where nothing is known."""
    rest = square * differences[1] - differences[3]
    return less_slip(np.sqrt(rest if rest > np.float32(0.0) else np.float32(0.0)) * np.float32(1.0 - 6e-7), slip)


@kernel
def product_error(lanes, size, error):
    """The same for ``square - 2 v``, v a fast value; four float32.

    Factors of |y| m + m^2 / 2, of |y|^2 and of |y| + m, and a constant: |y| the norm of the row, m that of the center,
    or a bound of it.  Doubled, for it is v that the certificate's error bounds.
    """
    relative = 2.0**-24 * (size // lanes + 14)
    return (
        np.float32(2.03 * error[0]), np.float32(1.02 * relative + 4e-7), np.float32(2.03 * error[3]),
        np.float32(2.03 * error[2] + 2.0 * error[4]),
    )  # fmt: skip


@kernel
def product_terms(square, products):
    """For one row: what `lower_by_product` starts from, its factor of m, and the row's norm; float32."""
    length = np.sqrt(square * np.float32(1.001) + products[3])
    start = square - products[1] * square - products[2] * length - products[3]
    return start, products[0] * length + products[2], length


@kernel
def product_term(norm, products):
    """For one group of centers, of at most this norm: what `lower_by_product` subtracts; float32."""
    return products[0] * np.float32(0.51) * norm * norm


@kernel
def product_margin(square, length, norm, products):
    """How far two fast values must be apart to tell which of two centers of at most this norm is nearer; float32.

    The last term is what the canonical values round.
    """
    e = products[0] * (length * norm + np.float32(0.51) * norm * norm) + products[2] * (length + norm) + products[3]
    return e + np.float32(1e-9) * (square + norm * norm)


@kernel
def lower_by_product(start, factor, norm, term, value):
    """Lower bound of a distance from a fast value; float32, 0 where nothing is known.

    start, factor: of product_terms; norm: of the center, or of any in its group, term: of product_term.
    """
    rest = start - factor * norm - term - np.float32(2.0) * value
    return np.sqrt(rest if rest > np.float32(0.0) else np.float32(0.0)) * np.float32(1.0 - 4e-7)


@intrinsic
def _move_vector(typingctx, width, labels, lo, moves, fastest, upper, least, rows, count):
    """Move the bounds of the rows lo..lo + w; appends those that stay unsettled, returns how many: see moved_bounds."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, four = simd.vector(F32, w), simd.vector(F32, 4)
        t = signature.args
        pa, pm, pu, pl = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 5, 6))
        lo = args[2]
        # one load per row: what its label moves lies together, and is transposed
        of_rows = []
        for r in range(w):
            label = b.zext(b.load(simd.at(b, pa, b.add(lo, ir.Constant(I64, r)))), I64)
            of_rows.append(simd.load(b, simd.at(b, pm, b.shl(label, ir.Constant(I64, 2))), four))
        quarters = []
        for q in range(4):
            parts = of_rows[q::4]
            while len(parts) > 1:
                count = 2 * parts[0].type.count
                parts = [
                    simd.shuffle(b, x, y, list(range(count))) for x, y in zip(parts[::2], parts[1::2], strict=True)
                ]
            quarters.append(parts[0])
        lanes = range(0, w, 4)
        low = [at + i + other for at in lanes for i in (0, 1) for other in (0, w)]
        pairs = [at + i + other for at in lanes for other in (0, w) for i in (0, 1)]
        first, second = (simd.shuffle(b, quarters[q], quarters[q + 1], low) for q in (0, 2))
        rise = simd.shuffle(b, first, second, pairs)
        fall = simd.shuffle(b, first, second, [i + 2 for i in pairs])
        high = [i + 2 for i in low]
        first, second = (simd.shuffle(b, quarters[q], quarters[q + 1], high) for q in (0, 2))
        half = simd.shuffle(b, first, second, pairs)
        reach = simd.shuffle(b, first, second, [i + 2 for i in pairs])
        u = b.fadd(simd.load(b, simd.at(b, pu, lo), vtype), rise)
        u = b.fmul(u, simd.const(vtype, WIDER))
        l = simd.load(b, simd.at(b, pl, lo), vtype)
        within = simd.minimum(b, b.fsub(l, fall), b.fsub(reach, u))
        l = simd.maximum(b, b.fsub(l, simd.splat(b, args[4], w)), within)
        l = b.fmul(l, simd.const(vtype, NARROWER))
        simd.store(b, u, simd.at(b, pu, lo))
        simd.store(b, l, simd.at(b, pl, lo))
        others = simd.maximum(b, l, b.fsub(half, u))
        stays = b.fcmp_unordered("<=", others, b.fmul(u, simd.const(vtype, SLACK)))
        return simd.append(b, simd.at(b, simd.data(context, b, t[7], args[7]), args[8]), lo, stays)

    f4 = types.float32
    i8 = types.int64
    return i8(width, labels, i8, moves, f4, upper, least, rows, i8), codegen


@kernel
def moved_bounds(width, labels, lo, hi, moves, fastest, upper, least, rows, count, address, stride):
    """Move the bounds of rows lo..hi with the centers; appends the rows they don't settle, returns how many there are.

    labels (n,) int32, moves float32 ``[center][4]``: how far a row's own center moved at most, how far any center that
    lies within reach of it did, a lower bound of the distance to the nearest other center, and the reach: what lies
    beyond is at least so far from the center; fastest, float32: how far any center moved at most; address, stride: of
    row 0, and bytes from row to row, of which that many are fetched, IN; upper, least (n,) float32 INOUT: bounds of the
    distance to the own center and to the nearest other one; rows (count + hi - lo + w,) int32 INOUT.
    """
    lanes = len(width)
    whole = lo + (hi - lo) // lanes * lanes
    before = count
    for i in range(lo, whole, lanes):
        count += _move_vector(width, labels, i, moves, fastest, upper, least, rows, count)
    fetch_rows(rows, before, count, address, stride)
    for i in range(np.uint64(whole), np.uint64(hi)):
        a = np.uint64(labels[i])
        u = (upper[i] + moves[a, 0]) * np.float32(WIDER)
        l = max(least[i] - fastest, min(least[i] - moves[a, 1], moves[a, 3] - u)) * np.float32(NARROWER)
        upper[i] = u
        least[i] = l
        rows[count] = i
        count += not (max(l, moves[a, 2] - u) > u * np.float32(SLACK))
    return count
