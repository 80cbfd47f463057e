"""The dense pass with lanes = features: few centers and many features.

Where few centers are, lanes = centers leaves most of a vector empty, and packing rows costs as much as the products.
Here a vector holds features of one row: it is loaded from X, packed in a register and multiplied with some centers,
whose loads a few rows share.  Float32 in C order is read where it lies, anything else is packed first.

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

FEW, SOME = 5, 10  # centers that meet a row at a time: up to so many of them, and beyond
AHEAD = 8  # rows ahead of its turn that a row is fetched (measured)
PRODUCTS = 20  # sums of a sweep: what fits into registers beside rows and centers
CHAIN = 64  # vectors whose products are added in a chain
VALUES = 32  # of `_meet`: products and squares, and the rest of a vector


def at_a_time(k: int) -> int:
    """How many of k centers meet a row at a time."""
    return FEW if k <= FEW or k > SOME else SOME


def _store_folded(b: Any, vectors: list[Any], out: Any) -> None:
    w = vectors[0].type.count
    for first in range(0, len(vectors), w):
        folded = simd.fold_rows(b, vectors[first : first + w], lambda b, x, y: b.fadd(x, y))
        simd.store(b, folded, simd.at(b, out, first))


@intrinsic
def _meet(typingctx, width, each, X, x0, stride, whole, tails, scale, minus, centers, c0, out, ahead):
    """Products of PRODUCTS / each rows with `each` centers into out, row by row, and then the rows' squares.

    width, each: Lanes; X float32: a row begins at x0, the next ones every `stride` values; whole: features that are
    taken from there, a multiple of w; tails float32 ``[row][w]``: the others, packed and padded with zeros; scale,
    minus (>= whole,) float32: a packed value is ``x * scale + minus[j]``; centers float32: one begins at c0, the next
    ones every `whole + w` values; out (VALUES,) float32 OUT; ahead: how many values behind a row to fetch from.
    """

    def codegen(context, b, signature, args):
        w, n_centers = signature.args[0].count, signature.args[1].count
        n_rows = PRODUCTS // n_centers
        vtype = simd.vector(F32, w)
        t = signature.args
        px, pt, pm, pc, po = (simd.data(context, b, t[i], args[i]) for i in (2, 6, 8, 9, 11))
        whole, scale, zero = args[5], simd.splat(b, args[7], w), simd.const(vtype, 0.0)
        pitch, long = b.add(whole, ir.Constant(I64, w)), ir.Constant(I64, CHAIN * w)
        first_row, first_center = simd.at(b, px, args[3]), simd.at(b, pc, args[10])
        rows = [simd.at(b, first_row, b.mul(args[4], ir.Constant(I64, r))) for r in range(n_rows)]
        centers_ = [simd.at(b, first_center, b.mul(pitch, ir.Constant(I64, c))) for c in range(n_centers)]

        def add(values: list[Any], j: Any, sums: list[Any]) -> list[Any]:
            """Add the products of some rows' values at j: the sums of all centers, row by row, and the squares."""
            at = [simd.load(b, simd.at(b, center, j), vtype) for center in centers_]
            pairs = [(y, c) for y in values for c in at] + [(y, y) for y in values]
            return [simd.fma(b, y, c, s) for (y, c), s in zip(pairs, sums, strict=True)]

        products, squares = [], []
        together = n_rows if w != 8 else n_rows // 2  # AVX2 has half the registers
        for start in range(0, n_rows, together):
            none = [zero] * (together * (n_centers + 1))
            with Loop(b, ir.Constant(I64, 0), whole, long, none) as chains:
                end = b.add(chains.i, long)
                end = b.select(b.icmp_signed("<", end, whole), end, whole)
                with Loop(b, chains.i, end, ir.Constant(I64, w), none) as features:
                    of_feature = simd.load(b, simd.at(b, pm, features.i), vtype)
                    for row in rows[start : start + together]:
                        simd.prefetch(b, b.ptrtoint(simd.at(b, simd.at(b, row, features.i), args[12]), I64))
                    raw = [simd.load(b, simd.at(b, row, features.i), vtype) for row in rows[start : start + together]]
                    packed = [simd.fma(b, x, scale, of_feature) for x in raw]
                    features.next(add(packed, features.i, features.values))
                chains.next([b.fadd(s, x) for s, x in zip(chains.values, features.results, strict=True)])
            tails_ = [simd.load(b, simd.at(b, pt, r * w), vtype) for r in range(start, start + together)]
            sums = add(tails_, whole, chains.results)
            products += sums[: together * n_centers]
            squares += sums[together * n_centers :]
        _store_folded(b, products + squares, po)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, each, X, i8, i8, i8, tails, types.float32, minus, centers, i8, out, i8), codegen


@kernel
def _choose(each, out, halves, first, v1, v2, new, at):
    """Take the centers from number `first` on into account: the best and second best values of the rows."""
    n_centers = len(each)
    for r in range(PRODUCTS // n_centers):
        best, second, which = v1[at + r], v2[at + r], new[at + r]
        for c in range(n_centers):
            value = out[r * n_centers + c] - halves[first + c]
            above = value > best
            second = max(second, best if above else value)
            which = np.int32(first + c) if above else which
            best = value if above else best
        v1[at + r], v2[at + r], new[at + r] = best, second, which


@kernel
def _pack_rows(X, lo, count, scale, shift, n_rows, w, rows, tails):
    """Pack `count` of n_rows rows from lo on, and zeros for the others: see `meet`."""
    d = X.shape[1]
    whole = d // w * w
    of = shift.dtype.type
    for r in range(n_rows):
        place = np.uint64(r * (whole + w))
        if r < count:
            i = np.uint64(lo + r)
            for j in range(np.uint64(d)):
                rows[place + j] = of(X[i, j]) * scale - shift[j]
        else:
            for j in range(np.uint64(d)):
                rows[place + j] = np.float32(0.0)
        for l in range(w):
            tails[r * w + l] = rows[place + np.uint64(whole + l)]


def meet(
    width, each, X, lo, hi, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out,
    v1, v2, new, squares,
):  # fmt: skip
    """Best and second best values, numbers of the best centers and squared norms of the rows lo..hi.

    X (n, d) any dtype; scale, shift (d,): of packing, minus: its negative and zeros: zeros, as float32, with w to
    spare; packed float32: n_blocks * each centers, ``[center][whole + w]``, halves float32: halves of their squares,
    infinite beyond k IN; rows (rows * (whole + w),) float32, zero beyond d in every row, tails (rows * w,), out
    (VALUES,) float32 scratch; v1, v2 float32, new int32 INOUT, squares float32 OUT, of whole groups of rows.
    """
    raise TypeError("for kernels alone")


@overload(meet, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _meet_any(
    width, each, X, lo, hi, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out,
    v1, v2, new, squares,
):  # fmt: skip
    """Chosen by what the array's type says."""
    in_place = X.layout == "C" and X.dtype == types.float32

    def implementation(
        width, each, X, lo, hi, scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out,
        v1, v2, new, squares,
    ):  # fmt: skip
        n_centers = len(each)
        n_rows = PRODUCTS // n_centers
        d = X.shape[1]
        w = len(width)
        whole = d // w * w
        for at in range(0, hi - lo, n_rows):
            i = lo + at
            if in_place and i + n_rows <= hi:
                for r in range(n_rows):
                    for j in range(whole, d):
                        tails[r * w + j - whole] = X[i + r, j] * scale - shift[j]
            else:
                _pack_rows(X, i, min(n_rows, hi - i), scale, shift, n_rows, w, rows, tails)
            for block in range(n_blocks):
                first = block * n_centers
                c0 = first * (whole + w)
                if in_place and i + n_rows <= hi:
                    ahead = AHEAD * d if block == 0 else 0
                    _meet(width, each, X, i * d, d, whole, tails, scale, minus, packed, c0, out, ahead)
                else:
                    _meet(width, each, rows, 0, whole + w, whole, tails, np.float32(1.0), zeros, packed, c0, out, 0)
                _choose(each, out, halves, first, v1, v2, new, at)
            for r in range(n_rows):
                squares[at + r] = out[PRODUCTS + r]

    return implementation


@kernel(allocates=True)
def features_lane(
    width, each, X, weights, counter, pack_scale, shift, minus, packed, halves, norms, largest, cutoff, error, grouped,
    k, block, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    """The pass with lanes = features.

    each: Lanes(at_a_time(k)); minus, packed, halves: see `meet`; block: rows that a lane takes at a time, a multiple of
    8.  The rest as in lloyd.centers_lane.
    """
    n, d = X.shape
    w = len(width)
    pitch = d // w * w + w
    n_centers = len(each)
    n_rows, n_blocks = PRODUCTS // n_centers, (k + n_centers - 1) // n_centers
    zeros, rows = np.zeros(pitch, np.float32), np.zeros(n_rows * pitch, np.float32)
    tails, out = np.zeros(n_rows * w, np.float32), np.empty(VALUES, np.float32)
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
        meet(
            width, each, X, lo, hi, pack_scale, shift, minus, zeros, packed, n_blocks, halves, rows, tails, out,
            v1, v2, new, squares,
        )  # fmt: skip
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
