"""The dense pass for two centers: which side of the plane between them a row lies on.

With w = c1 - c0 and m the middle of both, ``|x - c1|^2 - |x - c0|^2 = -2 (x - m) . w``, so one product in float64 per
row decides, and nothing is packed.  It is off from the true value, and the canonical values are off from theirs, by at
most an `error` that holds for all rows; rows nearer to the plane than that are decided by the canonical value.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED, commit
from .simd import F64, I64, Loop, fetch_add

BLOCK = 1024  # rows that a lane takes at a time


@intrinsic
def _sum_terms(typingctx, terms, count):
    """The sum of terms[:count], in any order; terms float64, count a multiple of 8."""

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, 8)
        pt = simd.data(context, b, signature.args[0], args[0])
        with Loop(b, ir.Constant(I64, 0), args[1], ir.Constant(I64, 8), [simd.const(vtype, 0.0)]) as loop:
            loop.next([b.fadd(loop.values[0], simd.load(b, simd.at(b, pt, loop.i), vtype))])
        return simd.fold(b, loop.results[0], lambda b, x, y: b.fadd(x, y))

    return types.float64(terms, types.int64), codegen


@kernel
def side_of(X, i, centers):
    """The nearer of two centers by the canonical value, 0 on a tie; X (n, d) any dtype, centers (2, d) float64."""
    first, second = 0.0, 0.0
    for j in range(np.uint64(X.shape[1])):
        x = np.float64(X[i, j])
        s, t = x - centers[0, j], x - centers[1, j]
        first += s * s
        second += t * t
    return np.int32(second < first)


@kernel
def plane_lane(
    X, weights, counter, middle, across, error, centers, labels, update, scale, sums, cluster_weights, touched, counts
):
    """The pass for two centers.

    middle, across (d,) float64: m and w; error float64: see above, for rows of positive weight; centers (2, d) float64,
    all IN.  The rest as in lloyd.points_lane.
    """
    n, d = X.shape
    size = np.uint64(d)
    weighted = weights.shape[0] > 0
    padded = (d + 7) // 8 * 8
    terms, row = np.zeros(padded), np.zeros(padded)
    new = np.empty(BLOCK, np.int32)
    while True:
        lo = fetch_add(counter, BLOCK)
        if lo >= n:
            break
        hi = min(lo + BLOCK, n)
        for i in range(np.uint64(lo), np.uint64(hi)):
            for j in range(size):
                terms[j] = (np.float64(X[i, j]) - middle[j]) * across[j]
            value = _sum_terms(terms, padded)
            side = np.int32(value > error)
            if not (abs(value) > error) or (weighted and weights[i] == 0):
                side = side_of(X, i, centers)
                counts[DECIDED] += 1
            new[i - np.uint64(lo)] = side
        counts[CHANGED] += commit(
            X, lo, hi - lo, new, weights, labels, update, scale, row, sums, cluster_weights, touched
        )
        counts[BLOCKS] += 1
