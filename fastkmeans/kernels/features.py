"""The dense pass with lanes = features: few centers and many features.

Where few centers are, lanes = centers leaves most of a vector empty, and packing rows costs as much as the products.
Here a vector holds features of one row: it is loaded from X, packed in a register and multiplied with EACH centers, and
TOGETHER rows share the loads of these.  Float32 in C order is read where it lies, anything else is packed first.

The certificate is that of lloyd.py.  A lane adds at most 64 products in a chain, of which there is one for every 64
vectors; what joins chains, the tail and the lanes are fewer roundings than a chain over all features has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .canonical import GROUP, WIDE, WIDE_ROWS, block_distances, nearest_in_groups
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED, certify, commit, margin
from .pack import load_row
from .simd import F32, I64, Loop, fetch_add

EACH = 5  # centers that meet a row at a time
TOGETHER = 4  # rows that share the loads of centers
AHEAD = 3  # times TOGETHER rows that a row is fetched before its turn (measured)
CHAIN = 64  # vectors whose products are added in a chain
VALUES = 32  # of `_meet`: TOGETHER * EACH products, and the rest of a vector


def _packed_rows(context: Any, b: Any, signature: Any, args: Any) -> Any:
    """What `_meet` and `_squares` share: their first eight arguments, as pointers to rows and a way through them."""
    w = signature.args[0].count
    vtype = simd.vector(F32, w)
    t = signature.args
    px, pt, pm = (simd.data(context, b, t[i], args[i]) for i in (1, 5, 7))
    whole, scale, zero = args[4], simd.splat(b, args[6], w), simd.const(vtype, 0.0)
    first_row = simd.at(b, px, args[2])
    rows = [simd.at(b, first_row, b.mul(args[3], ir.Constant(I64, r))) for r in range(TOGETHER)]
    tails = [simd.load(b, simd.at(b, pt, r * w), vtype) for r in range(TOGETHER)]

    def packed(row: Any, j: Any) -> Any:
        return simd.fma(b, simd.load(b, simd.at(b, row, j), vtype), scale, simd.load(b, simd.at(b, pm, j), vtype))

    def add_up(count: int, add: Any) -> list[Any]:
        """`count` sums over the vectors of the rows; add(j, sums) adds what belongs to those at j."""
        none, long = [zero] * count, ir.Constant(I64, CHAIN * w)
        with Loop(b, ir.Constant(I64, 0), whole, long, none) as chains:
            end = b.add(chains.i, long)
            end = b.select(b.icmp_signed("<", end, whole), end, whole)
            with Loop(b, chains.i, end, ir.Constant(I64, w), none) as features:
                features.next(add(features.i, features.values))
            chains.next([b.fadd(s, x) for s, x in zip(chains.values, features.results, strict=True)])
        return list(chains.results)

    return rows, tails, packed, add_up


def _store_folded(b: Any, vectors: list[Any], out: Any) -> None:
    w = vectors[0].type.count
    for first in range(0, len(vectors), w):
        folded = simd.fold_rows(b, vectors[first : first + w], lambda b, x, y: b.fadd(x, y))
        simd.store(b, folded, simd.at(b, out, first))


@intrinsic
def _meet(typingctx, width, X, x0, stride, whole, tails, scale, minus, centers, c0, out, ahead):
    """Products of TOGETHER rows with EACH centers into out, row by row.

    X float32: a row begins at x0, the next ones every `stride` values; whole: features that are taken from there, a
    multiple of w; tails float32 ``[row][w]``: the others, packed and padded with zeros; scale, minus (>= whole,)
    float32: a packed value is ``x * scale + minus[j]``; centers float32: one begins at c0, the next ones every
    `whole + w` values; out (VALUES,) float32 OUT; ahead: how many values behind a row to fetch from.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        pc, po = (simd.data(context, b, signature.args[i], args[i]) for i in (8, 10))
        rows, tails_, packed, add_up = _packed_rows(context, b, signature, args)
        first_center, pitch = simd.at(b, pc, args[9]), b.add(args[4], ir.Constant(I64, w))
        centers_ = [simd.at(b, first_center, b.mul(pitch, ir.Constant(I64, c))) for c in range(EACH)]

        def add(sums: list[Any], y: Any, j: Any) -> list[Any]:
            vectors = [simd.load(b, simd.at(b, center, j), vtype) for center in centers_]
            return [simd.fma(b, y, c, s) for c, s in zip(vectors, sums, strict=True)]

        results = []
        together = TOGETHER if w != 8 else TOGETHER // 2  # AVX2 has registers for two rows
        for start in range(0, TOGETHER, together):
            here = rows[start : start + together]

            def products(j: Any, sums: list[Any], here: list[Any] = here) -> list[Any]:
                for row in here:
                    simd.prefetch(b, b.ptrtoint(simd.at(b, simd.at(b, row, j), args[11]), I64))
                each = [sums[r * EACH : (r + 1) * EACH] for r in range(len(here))]
                return [s for r, row in enumerate(here) for s in add(each[r], packed(row, j), j)]

            sums = add_up(together * EACH, products)
            for r in range(together):
                results += add(sums[r * EACH : (r + 1) * EACH], tails_[start + r], args[4])
        _store_folded(b, results, po)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, X, i8, i8, i8, tails, types.float32, minus, centers, i8, out, i8), codegen


@intrinsic
def _squares(typingctx, width, X, x0, stride, whole, tails, scale, minus, out):
    """The squared norms of TOGETHER packed rows into out (>= w,) float32; the rest as in `_meet`."""

    def codegen(context, b, signature, args):
        rows, tails_, packed, add_up = _packed_rows(context, b, signature, args)

        def squares(j: Any, sums: list[Any]) -> list[Any]:
            values = [packed(row, j) for row in rows]
            return [simd.fma(b, y, y, s) for y, s in zip(values, sums, strict=True)]

        sums = [simd.fma(b, y, y, s) for y, s in zip(tails_, add_up(TOGETHER, squares), strict=True)]
        _store_folded(b, sums, simd.data(context, b, signature.args[8], args[8]))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, X, i8, i8, i8, tails, types.float32, minus, out), codegen


@kernel
def _choose(out, halves, first, v1, v2, new, at):
    """Take EACH centers from number `first` on into account: the best and second best values of TOGETHER rows."""
    for r in range(TOGETHER):
        best, second, which = v1[at + r], v2[at + r], new[at + r]
        for c in range(EACH):
            value = out[r * EACH + c] - halves[first + c]
            above = value > best
            second = max(second, best if above else value)
            which = np.int32(first + c) if above else which
            best = value if above else best
        v1[at + r], v2[at + r], new[at + r] = best, second, which


@kernel
def _meet_packed(width, X, lo, count, scale, shift, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at):
    """`meet` for any X: the rows are packed first; those that are missing become zeros."""
    d = X.shape[1]
    w = len(width)
    whole = d // w * w
    pitch = whole + w
    of = shift.dtype.type
    for r in range(TOGETHER):
        place = np.uint64(r * pitch)
        if r < count:
            i = np.uint64(lo + r)
            for j in range(np.uint64(d)):
                rows[place + j] = of(X[i, j]) * scale - shift[j]
        else:
            for j in range(np.uint64(d)):
                rows[place + j] = np.float32(0.0)
        for l in range(w):
            tails[r * w + l] = rows[r * pitch + whole + l]
    for block in range(n_blocks):
        _meet(
            width, rows, 0, pitch, whole, tails, np.float32(1.0), zeros, packed, block * EACH * pitch, out, 0
        )  # fmt: skip
        _choose(out, halves, block * EACH, v1, v2, new, at)
    _squares(width, rows, 0, pitch, whole, tails, np.float32(1.0), zeros, out)


def meet(width, X, lo, count, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at):
    """Best and second best value, and the number of the best center, of rows lo.. at `at`; their squares end in `out`.

    X (n, d) any dtype, count: rows there are, at most TOGETHER; scale, shift (d,): of packing, minus: its negative and
    zeros: zeros, as float32, with w to spare; packed float32: n_blocks * EACH centers, ``[center][whole + w]``, halves
    float32: halves of their squares, infinite beyond k IN; rows (TOGETHER * (whole + w),) float32, zero beyond d in
    every row, tails (TOGETHER * w,), out (VALUES,) float32 scratch; v1, v2 float32, new int32 INOUT.
    """
    raise TypeError("for kernels alone")


@overload(meet, jit_options={"nogil": True, "error_model": "numpy"})
def _meet_any(
    width, X, lo, count, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at
):  # fmt: skip
    """Chosen by what the array's type says."""
    if X.layout != "C" or X.dtype != types.float32:

        def implementation(
            width, X, lo, count, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at
        ):  # fmt: skip
            _meet_packed(
                width, X, lo, count, scale, shift, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at
            )  # fmt: skip

        return implementation

    def in_place(
        width, X, lo, count, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at
    ):  # fmt: skip
        if count < TOGETHER:
            _meet_packed(
                width, X, lo, count, scale, shift, zeros, packed, n_blocks, halves, rows, tails, out, v1, v2, new, at
            )  # fmt: skip
            return
        d = X.shape[1]
        w = len(width)
        whole = d // w * w
        for r in range(TOGETHER):
            for j in range(whole, d):
                tails[r * w + j - whole] = X[lo + r, j] * scale - shift[j]
        for block in range(n_blocks):
            _meet(
                width, X, lo * d, d, whole, tails, scale, minus, packed, block * EACH * (whole + w), out,
                AHEAD * TOGETHER * d if block == 0 else 0,
            )  # fmt: skip
            _choose(out, halves, block * EACH, v1, v2, new, at)
        _squares(width, X, lo * d, d, whole, tails, scale, minus, out)

    return in_place


@kernel
def features_lane(
    width, X, weights, counter, pack_scale, shift, minus, packed, halves, norms, largest, cutoff, error, grouped, k,
    block, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    """The pass with lanes = features.

    minus, packed, halves: see `meet`; block: rows that a lane takes at a time, a multiple of TOGETHER.  The rest as in
    lloyd.centers_lane.
    """
    n, d = X.shape
    w = len(width)
    pitch = d // w * w + w
    n_blocks = (k + EACH - 1) // EACH
    zeros, rows = np.zeros(pitch, np.float32), np.zeros(TOGETHER * pitch, np.float32)
    tails, out = np.zeros(TOGETHER * w, np.float32), np.empty(VALUES, np.float32)
    v1, v2 = np.empty(block, np.float32), np.empty(block, np.float32)
    squares, new = np.empty(block, np.float32), np.empty(block, np.int32)
    unsure, doubtful = np.empty(block, np.uint8), np.empty(block + 1, np.int32)
    row, padded_row = np.empty(d), np.zeros((d + 7) // 8 * 8)
    terms, order_sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    all_groups = np.arange((k + GROUP - 1) // GROUP)
    values = np.empty(len(all_groups) * GROUP)
    while True:
        lo = fetch_add(counter, block)
        if lo >= n:
            break
        hi = min(lo + block, n)
        v1[:], v2[:], new[:] = -np.inf, -np.inf, 0
        for at in range(0, hi - lo, TOGETHER):
            meet(
                width, X, lo + at, min(TOGETHER, hi - lo - at), pack_scale, shift, minus, zeros, packed, n_blocks,
                halves, rows, tails, out, v1, v2, new, at,
            )  # fmt: skip
            for r in range(TOGETHER):
                squares[at + r] = out[r]
        count = certify(v1, v2, squares, hi - lo, cutoff, unsure, doubtful)
        for q in range(count):
            r = doubtful[q]
            allowed = margin(np.float64(v1[r]), np.float64(squares[r]), norms[new[r]], largest, error)
            if np.float64(v1[r]) - np.float64(v2[r]) > allowed:
                continue
            load_row(X, lo + r, row)
            new[r] = nearest_in_groups(row, grouped, all_groups, len(all_groups), k, values)
            counts[DECIDED] += 1
        counts[CHANGED] += commit(
            X, lo, hi - lo, new, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
        )
        if measure:
            block_distances(X, lo, hi, measured, labels, weights, distances, largest_sq, terms, order_sums)
        counts[BLOCKS] += 1
