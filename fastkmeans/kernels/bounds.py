"""What both bounded passes share: bounds that are moved instead of computed, and rows gathered by their indices.

All bounds are in units of the packed rows, root distances in float32, rounded outward: an upper bound never lies below
the distance it bounds, a lower bound never above.  A row is settled without being read where its upper bound, widened by
SLACK, is strictly below a lower bound of every other distance; equality evaluates.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import kernel

SLACK = 1.0 + 2e-6  # of an upper bound against a lower one: roundings of both, and those of the canonical value
DOWN = 1.0 - 4e-7  # of a result of a few float32 operations, to have it rounded down
SCAN = 512  # rows whose bounds are moved between two visits of the counter
EVALUATED, READ, UNSURE = range(3, 6)  # columns of a lane's counters, after those of the dense pass


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
def row_error(square, largest, error):
    """A bound of the error of ``square - 2 v`` as a row's squared distance, for its packed square norm; float64.

    largest: of the norms of the centers; error (6,) float64: see lloyd.margin.
    """
    wide = square * (1.0 + error[5]) + error[4]
    length = math.sqrt(wide)
    e = error[0] * (length * largest + 0.5 * largest * largest) + error[2] + error[3] * (length + largest)
    return 1.01 * (2.0 * e + wide * (error[5] + 2.5e-7) + error[4])


@kernel
def upper_bound(square, slip, error):
    """Upper bound of a distance from its square, as computed by differences of packed values; float64.

    slip: how far packing can have moved the two from each other.
    """
    return (math.sqrt(square * (1.0 + error[5]) + error[4] + 4.0 * error[2]) + slip) * (1.0 + 4e-7)


@kernel
def packing_slip(square, largest, error):
    """How far packing can have moved a row of this square norm and a center from each other; float64."""
    return 1.01 * 2.0**-24 * (math.sqrt(square * (1.0 + error[5]) + error[4]) + largest) + error[3]
