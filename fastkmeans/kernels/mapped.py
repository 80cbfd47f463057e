"""What lets k-means++ pass rows by without reading them: rows in the order of their seeds, and a map to few dimensions.

The map takes a row to its coordinates along some directions and, as one more coordinate, the length of what is left of
it.  With directions of which no combination is longer than its coefficients, no two rows lie farther apart after the
map than before: what is far enough there is far enough.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import kernel
from .simd import fetch_add, float_bits

DIMENSIONS = 16  # of the map
LEVELS = 6  # binary exponents of the distance by which the rows of a seed are told apart
MAPPED_ROWS = 4  # mapped side by side: their sums hide each other's latency


@kernel
def order_rows(labels, nearest_sq, order, starts, largest):
    """Rows in the order of their seeds, those of one seed by their distance, farthest first, in LEVELS stretches.

    labels (n,) int32, nearest_sq (n,) float64 IN; order (n,) int32 or int64: rows, ascending within a stretch; starts
    (t * LEVELS + 1,) int64: where stretches begin; largest (t * LEVELS,) float64: largest distance in each OUT.
    """
    n = labels.shape[0]
    t = largest.shape[0] // LEVELS
    top = np.zeros(t, np.int64)
    for i in range(n):
        top[labels[i]] = max(top[labels[i]], float_bits(nearest_sq[i]) >> 52)
    places = np.zeros(t * LEVELS + 1, np.int64)
    largest[:] = 0.0
    for i in range(n):
        seed = np.int64(labels[i])
        s = seed * LEVELS + min(LEVELS - 1, top[seed] - (float_bits(nearest_sq[i]) >> 52))
        places[s + 1] += 1
        largest[s] = max(largest[s], nearest_sq[i])
    for s in range(t * LEVELS):
        places[s + 1] += places[s]
    starts[:] = places
    for i in range(n):
        seed = np.int64(labels[i])
        s = seed * LEVELS + min(LEVELS - 1, top[seed] - (float_bits(nearest_sq[i]) >> 52))
        order[places[s]] = i
        places[s] += 1


@kernel
def map_lane(X, counter, origin, scale, directions, out):
    """The map of every row, in float64, rounded once.

    X (n, d) any dtype, origin (d,) float64, scale: a power of two, directions (d, DIMENSIONS) float64, the last of them
    zero, IN; counter (1,) int64 INOUT; out (n, DIMENSIONS) float32 OUT.
    """
    n, d = X.shape
    sums, squares = np.empty((MAPPED_ROWS, DIMENSIONS)), np.empty(MAPPED_ROWS)
    while True:
        start = fetch_add(counter, 64 * MAPPED_ROWS)
        if start >= n:
            break
        for lo in range(start, min(start + 64 * MAPPED_ROWS, n), MAPPED_ROWS):
            count = min(MAPPED_ROWS, n - lo)
            sums[:] = 0.0
            squares[:] = 0.0
            for j in range(np.uint64(d)):
                for r in range(np.uint64(count)):
                    z = (np.float64(X[np.uint64(lo) + r, j]) - origin[j]) * scale
                    squares[r] += z * z
                    for l in range(np.uint64(DIMENSIONS)):
                        sums[r, l] += z * directions[j, l]
            for r in range(count):
                left = squares[r]
                for l in range(DIMENSIONS):
                    left -= sums[r, l] * sums[r, l]
                    out[lo + r, l] = np.float32(sums[r, l])
                out[lo + r, DIMENSIONS - 1] = np.float32(math.sqrt(max(left, 0.0)))
