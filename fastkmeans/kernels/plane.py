"""The dense pass for two centers: which side of the plane between them a row lies on.

With w = c1 - c0 and m the middle of both, ``|x - c1|^2 - |x - c0|^2 = -2 (x - m) . w``, so one product in float64 per
row decides, and nothing is packed.  It is off from the true value, and the canonical values are off from theirs, by at
most an `error` that holds for all rows; rows nearer to the plane than that are decided by the canonical value.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

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


@intrinsic
def _row_across(typingctx, X, i, middle, across, count):
    """``sum((X[i, j] - middle[j]) * across[j] for j < count)``, in any order; X in C order, count a multiple of 8."""

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, 8)
        element = context.get_data_type(signature.args[0].dtype)
        pm, pa = (simd.data(context, b, signature.args[t], args[t]) for t in (2, 3))
        array = context.make_array(signature.args[0])(context, b, args[0])
        row = simd.at(b, array.data, b.mul(args[1], b.extract_value(array.shape, 1)))
        with Loop(b, ir.Constant(I64, 0), args[4], ir.Constant(I64, 8), [simd.const(vtype, 0.0)]) as loop:
            x = simd.load(b, simd.at(b, row, loop.i), simd.vector(element, 8))
            if element != F64:
                x = b.fpext(x, vtype)
            m, a = (simd.load(b, simd.at(b, p, loop.i), vtype) for p in (pm, pa))
            loop.next([simd.fma(b, b.fsub(x, m), a, loop.values[0])])
        return simd.fold(b, loop.results[0], lambda b, x, y: b.fadd(x, y))

    return types.float64(X, types.int64, middle, across, types.int64), codegen


def row_across(X, i, middle, across, count, terms):
    """``sum((X[i, j] - middle[j]) * across[j] for j < count)``, count a multiple of 8; terms (count,) scratch."""
    for j in range(count):
        terms[j] = (X[i, j] - middle[j]) * across[j]
    return terms[:count].sum()


@overload(row_across, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _row_across_of(X, i, middle, across, count, terms):
    """Chosen by what the array's type says: floats that lie side by side are not written down in between."""
    if X.layout == "C" and X.dtype in (types.float32, types.float64):
        return lambda X, i, middle, across, count, terms: _row_across(X, i, middle, across, count)

    def by_terms(X, i, middle, across, count, terms):
        for j in range(np.uint64(count)):
            terms[j] = (np.float64(X[i, j]) - middle[j]) * across[j]
        return _sum_terms(terms, count)

    return by_terms


@kernel
def plane_between(centers, largest, middle, across):
    """The plane of two centers; returns the error of the pass for all rows of positive weight.

    centers (2, d) float64, largest (d,) float64: magnitudes that features of such rows reach IN; middle, across (d,)
    float64 OUT: m and w.  What is added over features here only bounds errors, and is doubled.
    """
    d = centers.shape[1]
    total = 0.0
    for j in range(d):
        a, b = centers[0, j], centers[1, j]
        middle[j], across[j] = 0.5 * a + 0.5 * b, b - a
        reach = largest[j] + max(abs(a), abs(b))
        total += reach * (abs(across[j]) + reach)
    return 2.0 * (d + 8) * 2.0**-53 * total + (d + 8) * 2.0**-1070


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


@kernel(allocates=True)
def plane_lane(
    X, weights, counter, middle, across, error, centers, labels, update, scale, sums, cluster_weights, touched, counts
):
    """The pass for two centers.

    middle, across (d,) float64: m and w; error float64: see above, for rows of positive weight; centers (2, d) float64,
    all IN.  The rest as in lloyd.points_lane.
    """
    n, d = X.shape
    whole = d // 8 * 8
    weighted = weights.shape[0] > 0
    terms, row = np.empty(whole), np.zeros(whole + 8)
    new = np.empty(BLOCK, np.int32)
    while True:
        lo = fetch_add(counter, BLOCK)
        if lo >= n:
            break
        hi = min(lo + BLOCK, n)
        for i in range(np.uint64(lo), np.uint64(hi)):
            value = row_across(X, i, middle, across, whole, terms)
            for j in range(np.uint64(whole), np.uint64(d)):
                value += (np.float64(X[i, j]) - middle[j]) * across[j]
            side = np.int32(value > error)
            if not (abs(value) > error) or (weighted and weights[i] == 0):
                side = side_of(X, i, centers)
                counts[DECIDED] += 1
            new[i - np.uint64(lo)] = side
        counts[CHANGED] += commit(
            X, lo, hi - lo, new, weights, labels, update, scale, row, sums, cluster_weights, touched
        )
        counts[BLOCKS] += 1
