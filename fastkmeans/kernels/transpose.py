"""Canonical distances of sixteen rows of float32 to one center, or to one each: rows are transposed as they are read.

Terms are added in the order of the features, so lanes run over rows.  To transpose values of 32 bits in registers takes
half of what it takes to do so with their squared differences, as canonical.block_distances does, which has a center for
each row: 1.9 instead of 3.4 ms for 50,000 rows of 768 features on two threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .canonical import GROUP
from .simd import F32, F64, Loop, int_

TOGETHER = 16  # rows, and features of theirs that are transposed at a time


def _transposed(b: Any, rows: list[Any]) -> list[Any]:
    """The columns of sixteen vectors of sixteen values, by instructions that take no table: within quarters first."""

    def shuffled(x: Any, y: Any, quarter: list[int]) -> Any:
        """In every quarter, values 0 to 3 of that of x and 4 to 7 of that of y."""
        return simd.shuffle(b, x, y, [4 * q + v % 4 + v // 4 * 16 for q in range(4) for v in quarter])

    def quarters(x: Any, y: Any, first: int, second: int) -> Any:
        """Two quarters of x, and the same two of y."""
        return simd.shuffle(b, x, y, [4 * q + v + s for s in (0, 16) for q in (first, second) for v in range(4)])

    of_four = []  # [rows 4 g ... 4 g + 3][c]: in quarter q, feature 4 q + c
    for r in range(0, 16, 4):
        low = [shuffled(rows[r + e], rows[r + e + 1], [0, 4, 1, 5]) for e in (0, 2)]
        high = [shuffled(rows[r + e], rows[r + e + 1], [2, 6, 3, 7]) for e in (0, 2)]
        of_four.append([shuffled(*pair, half) for pair in (low, high) for half in ([0, 1, 4, 5], [2, 3, 6, 7])])
    columns: list[Any] = [None] * 16
    for c in range(4):
        for q in (0, 2):
            first, last = (quarters(of_four[g][c], of_four[g + 1][c], q, q + 1) for g in (0, 2))
            columns[4 * q + c] = quarters(first, last, 0, 2)
            columns[4 * q + 4 + c] = quarters(first, last, 1, 3)
    return columns


def _add_rows(
    b: Any, starts: list[Any], d: Any, ahead: list[Any], values_at: Callable[[Any], list[Any]], out: Any
) -> None:
    """Canonical distances of rows of float32 that begin at `starts`, into out.

    ahead: where rows begin that are fetched meanwhile; values_at: of the centers at a feature, two vectors.
    """
    vtype, wide = simd.vector(F32, TOGETHER), simd.vector(F64, TOGETHER // 2)

    def add(sums: list[Any], column: Any, j: Any) -> list[Any]:
        found = []
        for half, (total, c) in enumerate(zip(sums, values_at(j), strict=True)):
            lanes = list(range(half * TOGETHER // 2, (half + 1) * TOGETHER // 2))
            difference = b.fsub(b.fpext(simd.shuffle(b, column, column, lanes), wide), c)
            found.append(b.fadd(total, b.fmul(difference, difference)))
        return found

    whole = b.and_(d, int_(-TOGETHER))
    sums = [simd.const(wide, 0.0)] * 2
    with Loop(b, int_(0), whole, int_(TOGETHER), sums) as features:
        here = [simd.at(b, start, features.i) for start in starts]
        for start in ahead:
            simd.prefetch(b, b.ptrtoint(simd.at(b, start, features.i), simd.I64))
        sums = features.values
        for e, column in enumerate(_transposed(b, [simd.load(b, pointer, vtype) for pointer in here])):
            sums = add(sums, column, b.add(features.i, int_(e)))
        features.next(sums)
    with Loop(b, whole, d, int_(1), features.results) as features:
        column = ir.Constant(vtype, ir.Undefined)
        for r, start in enumerate(starts):
            value = b.load(simd.at(b, start, features.i))
            column = b.insert_element(column, value, ir.Constant(simd.I32, r))
        features.next(add(features.values, column, features.i))
    for half, total in enumerate(features.results):
        simd.store(b, total, simd.at(b, out, half * TOGETHER // 2))


def _row_starts(context: Any, b: Any, X_type: Any, X: Any, rows: Any) -> tuple[list[Any], Any]:
    """Where rows (pointer to TOGETHER int64) of X begin, and how many features there are."""
    d = b.extract_value(context.make_array(X_type)(context, b, X).shape, 1)
    px = simd.data(context, b, X_type, X)
    return [simd.at(b, px, b.mul(b.load(simd.at(b, rows, r)), d)) for r in range(TOGETHER)], d


@intrinsic
def _row_values(typingctx, X, rows, center, skip, out, o0):
    """Canonical distances of TOGETHER rows of X, float32 in C order, to a center (d,) float64, into out at o0.

    rows (TOGETHER,) int64; skip: so many values behind each that is read, one is fetched.
    """

    def codegen(context, b, signature, args):
        t = signature.args
        pr, pc, po = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 4))
        starts, d = _row_starts(context, b, t[0], args[0], pr)

        def values_at(j: Any) -> list[Any]:
            return [simd.splat(b, b.load(simd.at(b, pc, j)), TOGETHER // 2)] * 2

        ahead = [simd.at(b, start, args[3]) for start in starts]
        _add_rows(b, starts, d, ahead, values_at, simd.at(b, po, args[5]))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(X, rows, center, i8, out, i8), codegen


@intrinsic
def _own_values(typingctx, X, rows, grouped, group, lanes, out):
    """Canonical distances of TOGETHER rows of X, float32 in C order, each to a center of its own, into out.

    rows (2 * TOGETHER,) int64, of which the second half is fetched meanwhile; lanes (TOGETHER,) int64: which center of
    the group, of those of canonical.group_centers.
    """

    def codegen(context, b, signature, args):
        vtype, itype = simd.vector(F64, GROUP), simd.vector(simd.I64, GROUP)
        t = signature.args
        pr, pc, pl, po = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 4, 5))
        starts, d = _row_starts(context, b, t[0], args[0], pr)
        ahead, _ = _row_starts(context, b, t[0], args[0], simd.at(b, pr, TOGETHER))
        pc = simd.at(b, pc, b.mul(args[3], b.mul(d, int_(GROUP))))
        which = [simd.load(b, simd.at(b, pl, half * GROUP), itype) for half in range(TOGETHER // GROUP)]

        def values_at(j: Any) -> list[Any]:
            c = simd.load(b, simd.at(b, pc, b.mul(j, int_(GROUP))), vtype)
            return [simd.call(b, "llvm.x86.avx512.permvar.df.512", vtype, [c, lanes_]) for lanes_ in which]

        _add_rows(b, starts, d, ahead, values_at, po)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(X, rows, grouped, i8, lanes, out), codegen


def _serves(X: Any) -> bool:
    return X.dtype == types.float32 and X.layout == "C" and "avx512f" in simd.cpu_features()


def transposes(X):
    """Whether row_values is what pays for rows like these."""
    return False


@overload(transposes)
def _transposes(X):
    serves = _serves(X)
    return lambda X: serves


def row_values(X, rows, center, skip, out, o0):
    """Canonical distances of TOGETHER rows of X (n, d) to a center (d,) float64: into out at o0.

    rows (TOGETHER,) int64, skip: how many values behind each that is read one is fetched IN.
    """
    for r in range(TOGETHER):
        total = 0.0
        for j in range(X.shape[1]):
            t = np.float64(X[rows[r], j]) - center[j]
            total += t * t
        out[o0 + r] = total


@overload(row_values, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _row_values_of(X, rows, center, skip, out, o0):
    """Chosen by dtype and layout."""
    if _serves(X):

        def implementation(X, rows, center, skip, out, o0):
            _row_values(X, rows, center, skip, out, o0)

        return implementation
    return row_values


def own_values(X, rows, grouped, group, lanes, out):
    """Canonical distances of TOGETHER rows of X (n, d), each to a center of its own: into out.

    rows (2 * TOGETHER,) int64, of which the second half is fetched meanwhile, grouped: as canonical.group_centers
    leaves them, group: number of a group, lanes (TOGETHER,) int64: the center in it IN.
    """
    d = X.shape[1]
    for r in range(TOGETHER):
        total = 0.0
        for j in range(d):
            t = np.float64(X[rows[r], j]) - grouped[(group * d + j) * GROUP + lanes[r]]
            total += t * t
        out[r] = total


@overload(own_values, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _own_values_of(X, rows, grouped, group, lanes, out):
    """Chosen by dtype and layout."""
    if _serves(X):

        def implementation(X, rows, grouped, group, lanes, out):
            _own_values(X, rows, grouped, group, lanes, out)

        return implementation
    return own_values
