"""The canonical squared distance, which defines every label, and nothing but: float64, two roundings a feature, no FMA.

``t = x_j - c_j; s = s + t * t`` over the features from left to right, both operands as stored.  Centers for these
kernels lie in groups of eight, ``[group][d][8]`` float64, so that one vector instruction serves eight of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from . import simd
from .jit import kernel
from .pack import load_row
from .simd import F64, I64, Loop, fetch_add, fetch_value, float_bits, from_bits, int_

GROUP = 8  # centers a group
WIDE_ROWS = 16  # rows whose distances are added side by side: two chains of additions hide each other's latency
LINE = 16  # features of a cache line, or more
WIDE = 64  # features of their differences that lie in scratch at a time


def group_centers(centers: NDArray[Any]) -> NDArray[np.float64]:
    """Centers (k, d) of either dtype in groups ``[ceil(k / GROUP)][d][GROUP]``, flat; missing ones are zero."""
    k, d = centers.shape
    groups = np.empty((-(-k // GROUP), d, GROUP))
    whole = k // GROUP
    groups[:whole] = centers[: whole * GROUP].reshape(whole, GROUP, d).transpose(0, 2, 1)
    groups[whole:] = 0.0
    groups[whole:, :, : k - whole * GROUP] = centers[whole * GROUP :].T
    return groups.reshape(-1)


@kernel
def group_values_plain(row, grouped, group, out):
    """Canonical distances of row (d,) float64 to the eight centers of a group: plain loops. out (8,) float64 OUT."""
    d = row.shape[0]
    for l in range(GROUP):
        out[l] = 0.0
    for j in range(d):
        for l in range(GROUP):
            t = row[j] - grouped[(group * d + j) * GROUP + l]
            out[l] += t * t


@intrinsic
def _group_values(typingctx, row, grouped, groups, first, count, out):
    """Canonical distances of a row to `count` (1 or 4) groups, numbered in groups[first..], into out at 8 * first."""

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, GROUP)
        zero = simd.const(vtype, 0.0)
        t = signature.args
        pr, pc, pg, po = (simd.data(context, b, t[i], args[i]) for i in (0, 1, 2, 5))
        d = b.extract_value(context.make_array(t[0])(context, b, args[0]).shape, 0)

        def run(number: int) -> None:
            centers = []
            for g in range(number):
                group = b.load(simd.at(b, pg, b.add(args[3], ir.Constant(I64, g))))
                centers.append(simd.at(b, pc, b.mul(group, b.mul(d, ir.Constant(I64, GROUP)))))
            with Loop(b, ir.Constant(I64, 0), d, ir.Constant(I64, 1), [zero] * number) as loop:
                x = simd.splat(b, b.load(simd.at(b, pr, loop.i)), GROUP)
                sums = []
                for center, s in zip(centers, loop.values, strict=True):
                    c = simd.load(b, simd.at(b, center, b.mul(loop.i, ir.Constant(I64, GROUP))), vtype)
                    difference = b.fsub(x, c)
                    sums.append(b.fadd(s, b.fmul(difference, difference)))
                loop.next(sums)
            for g, s in enumerate(loop.results):
                place = b.mul(b.add(args[3], ir.Constant(I64, g)), ir.Constant(I64, GROUP))
                simd.store(b, s, simd.at(b, po, place))

        with b.if_else(b.icmp_signed("==", args[4], ir.Constant(I64, 4))) as (four, one):
            with four:
                run(4)
            with one:
                run(1)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(row, grouped, groups, i8, i8, out), codegen


@kernel
def values_of_groups(row, grouped, groups, n_groups, out):
    """Canonical distances of row (d,) float64 to the groups listed: out (8 * n_groups,) float64 OUT."""
    whole = n_groups // 4 * 4
    for first in range(0, whole, 4):
        _group_values(row, grouped, groups, first, 4, out)
    for first in range(whole, n_groups):
        _group_values(row, grouped, groups, first, 1, out)


@kernel
def nearest_in_groups(row, grouped, groups, n_groups, k, out):
    """Nearest center, by canonical distance, among the groups listed in ascending order; lowest index on a tie.

    row (d,) float64, grouped as group_centers, groups (n_groups,) int64 IN; out (8 * n_groups,) float64 scratch.
    """
    values_of_groups(row, grouped, groups, n_groups, out)
    best, label = np.inf, -1
    for g in range(n_groups):
        for l in range(min(GROUP, k - groups[g] * GROUP)):
            value = out[g * GROUP + l]
            if value < best or label < 0:
                best, label = value, groups[g] * GROUP + l
    return label


@intrinsic
def _direct_tile(typingctx, rows, grouped, group, d, out):
    """Squared distances of 8 rows (8, d) float64 to one group, by differences and FMAs, into out (8, 8)."""

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, GROUP)
        zero = simd.const(vtype, 0.0)
        pr, pc, po = (simd.data(context, b, signature.args[i], args[i]) for i in (0, 1, 4))
        eight = ir.Constant(I64, GROUP)
        center = simd.at(b, pc, b.mul(args[2], b.mul(args[3], eight)))
        with Loop(b, ir.Constant(I64, 0), args[3], ir.Constant(I64, 1), [zero] * 8) as loop:
            c = simd.load(b, simd.at(b, center, b.mul(loop.i, eight)), vtype)
            feature = simd.at(b, pr, loop.i)
            sums = []
            for r, s in enumerate(loop.values):
                x = b.load(simd.at(b, feature, b.mul(args[3], ir.Constant(I64, r))))
                difference = b.fsub(simd.splat(b, x, GROUP), c)
                sums.append(simd.fma(b, difference, difference, s))
            loop.next(sums)
        for r, s in enumerate(loop.results):
            simd.store(b, s, simd.at(b, po, r * GROUP))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(rows, grouped, i8, i8, out), codegen


@kernel(allocates=True)
def transform_lane(X, counter, grouped, k, plain, result):
    """Distances of all rows of X to all centers, by direct differences in float64.

    X (n, d) any dtype, counter (1,) int64 INOUT, grouped as group_centers, plain: without FMA IN;
    result (n, k) float32 or float64 OUT.
    """
    n, d = X.shape
    rows, out = np.zeros((8, d)), np.empty((8, GROUP))
    while True:
        start = fetch_add(counter, 256)
        if start >= n:
            break
        for lo in range(start, min(start + 256, n), 8):
            count = min(8, n - lo)
            for r in range(count):
                load_row(X, lo + r, rows[r])
            for g in range((k + GROUP - 1) // GROUP):
                if plain:
                    for r in range(count):
                        group_values_plain(rows[r], grouped, g, out[r])
                else:
                    _direct_tile(rows, grouped, g, d, out)
                for r in range(count):
                    for l in range(min(GROUP, k - g * GROUP)):
                        result[lo + r, g * GROUP + l] = math.sqrt(out[r, l])


@kernel
def nearest_plain(row, grouped, k, out):
    """Nearest of all centers by canonical distance: the readable reference. out (8,) float64 scratch."""
    best, label = np.inf, -1
    for g in range((k + GROUP - 1) // GROUP):
        group_values_plain(row, grouped, g, out)
        for l in range(min(GROUP, k - g * GROUP)):
            if out[l] < best or label < 0:
                best, label = out[l], g * GROUP + l
    return label


@kernel
def distances_lane(X, counter, centers, labels, weights, out, largest):
    """Canonical distance of every row to the center of its label, and the largest over rows of positive weight.

    X (n, d) any dtype, counter (1,) int64 INOUT, centers (k, d), labels (n,) int32, weights (n,) int64 or (0,) for ones
    IN; out (n,) float64 OUT, largest (1,) float64 INOUT.
    The order of additions within a row is fixed, so lanes run over the rows of a block.
    """
    n, d = X.shape
    while True:
        start = fetch_add(counter, 1024)
        if start >= n:
            break
        first, last = np.uint64(start), np.uint64(min(start + 1024, n))
        for i in range(first, last):
            out[i] = 0.0
        for j in range(np.uint64(d)):
            for i in range(first, last):
                t = np.float64(X[i, j]) - np.float64(centers[np.uint64(labels[i]), j])
                out[i] += t * t
        for i in range(first, last):
            if weights.shape[0] == 0 or weights[i] > 0:
                largest[0] = max(largest[0], out[i])


@kernel
def note_largest(values, weights, first, last, largest):
    """largest[0] = the largest of values[first:last] over rows of positive weight, if above what it was."""
    top = float_bits(largest[0])  # non-negative: their bits are ordered as they are, and integers vectorise
    if weights.shape[0] == 0:
        for i in range(first, last):
            top = max(top, float_bits(values[i]))
    else:
        for i in range(first, last):
            if weights[i] > 0:
                top = max(top, float_bits(values[i]))
    largest[0] = from_bits(top)


def _add_transposed(b: Any, terms: Any, count: Any, out: Any) -> None:
    """Blocks of 8 x 8 are transposed in registers, so that lanes run over rows while each row is added in order."""
    vtype = simd.vector(F64, 8)

    def transpose(rows: list[Any]) -> list[Any]:
        for span in (1, 2, 4):
            low = [(i & ~span) + (8 if i & span else 0) for i in range(8)]
            high = [i + span for i in low]
            done = list(rows)
            for r in range(8):
                if not r & span:
                    done[r] = simd.shuffle(b, rows[r], rows[r + span], low)
                    done[r + span] = simd.shuffle(b, rows[r], rows[r + span], high)
            rows = done
        return rows

    start = [simd.load(b, simd.at(b, out, r), vtype) for r in range(0, WIDE_ROWS, 8)]
    with Loop(b, int_(0), count, int_(8), start) as loop:
        sums = list(loop.values)
        here = simd.at(b, terms, loop.i)
        for block in range(WIDE_ROWS // 8):
            rows = [simd.load(b, simd.at(b, here, (8 * block + r) * WIDE), vtype) for r in range(8)]
            for column in transpose(rows):
                sums[block] = b.fadd(sums[block], column)
        loop.next(sums)
    for block, value in enumerate(loop.results):
        simd.store(b, value, simd.at(b, out, 8 * block))


def _add_side_by_side(b: Any, terms: Any, count: Any, out: Any) -> None:
    """One value after the other, but of eight rows at once: without AVX-512 transposing takes twice the time."""
    for r0 in range(0, WIDE_ROWS, 8):
        places = [simd.at(b, out, r) for r in range(r0, r0 + 8)]
        with Loop(b, int_(0), count, int_(1), [b.load(place) for place in places]) as loop:
            here = simd.at(b, terms, loop.i)
            rows = [b.load(simd.at(b, here, r * WIDE)) for r in range(r0, r0 + 8)]
            loop.next([b.fadd(total, value) for total, value in zip(loop.values, rows, strict=True)])
        for place, total in zip(places, loop.results, strict=True):
            b.store(total, place)


@intrinsic
def _add_in_order(typingctx, terms, count, sums, s0):
    """sums[s0 + r] += terms[r, 0] + terms[r, 1] + ..., one after the other, for WIDE_ROWS rows.

    terms (WIDE_ROWS, WIDE) float64, of which `count` columns, a multiple of 8, are added; sums float64.
    """

    def codegen(context, b, signature, args):
        pt, ps = (simd.data(context, b, signature.args[i], args[i]) for i in (0, 2))
        add = _add_transposed if "avx512f" in simd.cpu_features() else _add_side_by_side
        add(b, pt, args[1], simd.at(b, ps, args[3]))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(terms, i8, sums, i8), codegen


@kernel
def block_distances(X, lo, hi, centers, labels, weights, out, largest, terms, sums):
    """Canonical distance of rows lo..hi to the center of their label.

    centers (k, d) float64 IN, terms (WIDE_ROWS, WIDE) and sums (WIDE_ROWS,) float64 scratch, the rest as in
    distances_lane.  Few features: row by row.  Many: WIDE_ROWS rows at a time, differences by feature, sums by
    row.
    """
    d = X.shape[1]
    first, last = np.uint64(lo), np.uint64(hi)
    if d < 12:
        for i in range(first, last):  # one after the other: the chains of several rows overlap
            c = np.uint64(labels[i])
            total = 0.0
            for j in range(np.uint64(d)):
                t = np.float64(X[i, j]) - centers[c, j]
                total += t * t
            out[i] = total
    else:
        for start in range(lo, hi, WIDE_ROWS):
            for r in range(WIDE_ROWS):
                sums[r] = 0.0
            for j0 in range(0, d, WIDE):
                j1 = np.uint64(j0)
                count = np.uint64(min(WIDE, d - j0))
                padded = (count + np.uint64(7)) // np.uint64(8) * np.uint64(8)
                for r in range(np.uint64(min(WIDE_ROWS, hi - start))):
                    i = np.uint64(start) + r
                    c = np.uint64(labels[i])
                    for j in range(j0, j0 + np.int64(count), LINE):  # rows are read in pieces: no CPU foresees that
                        fetch_value(X, start + r + WIDE_ROWS, j)
                    for j in range(count):
                        t = np.float64(X[i, j1 + j]) - centers[c, j1 + j]
                        terms[r, j] = t * t
                    for j in range(count, padded):
                        terms[r, j] = 0.0
                _add_in_order(terms, np.int64(padded), sums, 0)
            for i in range(start, min(start + WIDE_ROWS, hi)):
                out[i] = sums[i - start]
    note_largest(out, weights, first, last, largest)


@kernel(allocates=True)
def wide_distances_lane(X, counter, centers, labels, weights, out, largest):
    """distances_lane by block_distances."""
    n = X.shape[0]
    terms, sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    while True:
        lo = fetch_add(counter, 16 * WIDE_ROWS)
        if lo >= n:
            break
        hi = min(lo + 16 * WIDE_ROWS, n)
        block_distances(X, lo, hi, centers, labels, weights, out, largest, terms, sums)
