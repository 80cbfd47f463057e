"""What lets k-means++ pass rows by without reading them: rows in the order of their seeds, and a map to few dimensions.

The map takes a row to its coordinates along some directions and, as one more coordinate, the length of what is left of
it.  With directions of which no combination is longer than its coefficients, no two rows lie farther apart after the
map than before: what is far enough there is far enough.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .simd import F64, I64, Loop, fetch_add, float_bits

DIMENSIONS = 16  # of the map
LEVELS = 6  # binary exponents of the distance by which the rows of a seed are told apart


@kernel(allocates=True)
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
    for s in range(t * LEVELS + 1):
        starts[s] = places[s]
    for i in range(n):
        seed = np.int64(labels[i])
        s = seed * LEVELS + min(LEVELS - 1, top[seed] - (float_bits(nearest_sq[i]) >> 52))
        order[places[s]] = i
        places[s] += 1


@intrinsic
def _project_pair(typingctx, z, padded, d, directions, sums):
    """Coordinates of two rows along the directions, and their squared norms.

    z (2 * padded,) float64: the rows, zero beyond d, padded a multiple of 8; directions [d][DIMENSIONS] float64 IN;
    sums (2 * DIMENSIONS + 2,) float64 OUT.  In any order and with FMA: see the error of the map.
    """

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, 8)
        pz, pv, po = (simd.data(context, b, signature.args[i], args[i]) for i in (0, 3, 4))
        zero, nought = simd.const(vtype, 0.0), ir.Constant(I64, 0)
        rows = [pz, simd.at(b, pz, args[1])]
        parts = DIMENSIONS // 8
        with Loop(b, nought, args[2], ir.Constant(I64, 1), [zero] * (2 * parts)) as features:
            here = simd.at(b, pv, b.mul(features.i, ir.Constant(I64, DIMENSIONS)))
            along = [simd.load(b, simd.at(b, here, 8 * p), vtype) for p in range(parts)]
            acc = []
            for r, row in enumerate(rows):
                value = simd.splat(b, b.load(simd.at(b, row, features.i)), 8)
                acc += [simd.fma(b, value, along[p], features.values[r * parts + p]) for p in range(parts)]
            features.next(acc)
        for i, total in enumerate(features.results):
            simd.store(b, total, simd.at(b, po, 8 * i))
        with Loop(b, nought, args[1], ir.Constant(I64, 8), [zero, zero]) as features:
            values = [simd.load(b, simd.at(b, row, features.i), vtype) for row in rows]
            features.next([simd.fma(b, v, v, s) for v, s in zip(values, features.values, strict=True)])
        for r, total in enumerate(features.results):
            b.store(simd.fold(b, total, lambda b, x, y: b.fadd(x, y)), simd.at(b, po, 2 * DIMENSIONS + r))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(z, i8, i8, directions, sums), codegen


@kernel(allocates=True)
def map_lane(X, counter, origin, scale, directions, out):
    """The map of every row, in float64, rounded once.

    X (n, d) any dtype, origin (d,) float64, scale: a power of two, directions (d * DIMENSIONS,) float64, the last of
    each feature zero, IN; counter (1,) int64 INOUT; out (n, DIMENSIONS) float32 OUT.
    """
    n, d = X.shape
    padded = (d + 7) // 8 * 8
    z, sums = np.zeros(2 * padded), np.empty(2 * DIMENSIONS + 2)
    while True:
        start = fetch_add(counter, 256)
        if start >= n:
            break
        for lo in range(start, min(start + 256, n), 2):
            count = min(2, n - lo)
            for r in range(count):
                i, place = np.uint64(lo + r), np.uint64(r * padded)
                for j in range(np.uint64(d)):
                    z[place + j] = (np.float64(X[i, j]) - origin[j]) * scale
            _project_pair(z, padded, d, directions, sums)
            for r in range(count):
                left = sums[2 * DIMENSIONS + r]
                for l in range(DIMENSIONS):
                    value = sums[r * DIMENSIONS + l]
                    left -= value * value
                    out[lo + r, l] = np.float32(value)
                out[lo + r, DIMENSIONS - 1] = np.float32(math.sqrt(max(left, 0.0)))
