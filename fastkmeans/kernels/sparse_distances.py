"""Canonical distances of compressed rows, and all distances at once.

The canonical value of a row adds ``(0 - c_j)^2`` wherever the row has nothing.  That term is the same for all rows of a
cluster, so lanes run over rows of one cluster: features without an entry in any of them are added to all lanes at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .simd import F64, I64, Loop, fetch_add, lowest_bit
from .sparse import BLOCK

BATCH = 32  # rows of one cluster whose canonical distances are added side by side
EVENTS = 16  # features with an entry in some row of a batch whose terms are made before they are added


@intrinsic
def _add_features(typingctx, centers, c0, first, stops, count, terms, last, sums):
    """Add the terms of features first..last - 1 to BATCH sums, one after the other, lanes = rows; all float64.

    That of feature j is ``(0 - centers[c0 + j])^2`` for all rows, but for the features stops[:count], ascending int64,
    it is what lies in terms [count][BATCH].
    """

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, 8)
        t = signature.args
        pc, pp, pt, ps = (simd.data(context, b, t[i], args[i]) for i in (0, 3, 5, 7))
        pc = simd.at(b, pc, args[1])
        zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)

        def run(start: Any, stop: Any, values: list[Any]) -> list[Any]:
            with Loop(b, start, stop, one, values) as loop:
                c = b.load(simd.at(b, pc, loop.i))  # 0 - c is -c, whose square is that of c
                term = simd.splat(b, b.fmul(c, c), 8)
                loop.next([b.fadd(s, term) for s in loop.values])
            return loop.results

        begin = [simd.load(b, simd.at(b, ps, v), vtype) for v in range(0, BATCH, 8)]
        with Loop(b, zero, args[4], one, [args[2], *begin]) as events:
            stop = b.load(simd.at(b, pp, events.i))
            after = run(events.values[0], stop, events.values[1:])
            own = simd.at(b, pt, b.mul(events.i, ir.Constant(I64, BATCH)))
            loaded = [simd.load(b, simd.at(b, own, 8 * v), vtype) for v in range(len(after))]
            events.next([b.add(stop, one), *(b.fadd(s, x) for s, x in zip(after, loaded, strict=True))])
        for v, s in enumerate(run(events.results[0], args[6], events.results[1:])):
            simd.store(b, s, simd.at(b, ps, 8 * v))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(centers, i8, i8, stops, i8, terms, i8, sums), codegen


@kernel
def _add_features_plain(centers, c0, first, stops, count, terms, last, sums):
    here = first
    for e in range(count + 1):
        for j in range(here, stops[e] if e < count else last):
            t = 0.0 - centers[c0 + j]
            for r in range(BATCH):
                sums[r] += t * t
        if e < count:
            for r in range(BATCH):
                sums[r] += terms[e * BATCH + r]
            here = stops[e] + 1


@kernel
def _add_terms(plain, centers, c0, first, stops, count, terms, last, sums):
    if plain:
        _add_features_plain(centers, c0, first, stops, count, terms, last, sums)
    else:
        _add_features(centers, c0, first, stops, count, terms, last, sums)


@kernel(allocates=True)
def sparse_distances_lane(
    plain, starts, columns, values, order, batches, counter, centers, d, labels, fixed, weights, out, largest
):
    """Canonical distance of every row to the center of its label, or all to center 0 where `fixed` is set.

    plain: without vectors; order (m,) int64: rows by label, batches (b + 1,) int64: places in it where batches of at
    most BATCH rows of one label begin, counter (1,) int64 INOUT; centers (k * d,) float64, labels (m,) int32, weights
    (m,) int64 or (0,) IN; out (m,) float64 OUT; largest (1,) float64 INOUT: over rows of positive weight.
    """
    heads = np.full(d, -1, np.int32)  # the last entry of every feature, each of which knows the one before it
    marks = np.zeros((d + 63) // 64, np.int64)  # a bit for every feature that has one
    room = 1024
    before, rows, kept = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
    sums, stops, terms = np.empty(BATCH), np.empty(EVENTS, np.int64), np.empty(EVENTS * BATCH)
    while True:
        batch = fetch_add(counter, 1)
        if batch >= batches.shape[0] - 1:
            break
        first, last = batches[batch], batches[batch + 1]
        size = 0
        for q in range(first, last):
            size += starts[order[q] + 1] - starts[order[q]]
        if size > room:
            room = 2 * size
            before, rows, kept = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
        at = 0
        for q in range(first, last):
            i = order[q]
            for e in range(starts[i], starts[i + 1]):
                j = columns[e]
                before[at] = heads[j]
                heads[j] = at
                marks[j >> 6] |= np.int64(1) << np.int64(j & 63)
                rows[at], kept[at] = q - first, values[e]
                at += 1
        for r in range(BATCH):
            sums[r] = 0.0
        c0 = 0 if fixed else np.int64(labels[order[first]]) * d
        begin, count = np.int64(0), 0
        for word in range(marks.shape[0]):
            bits = marks[word]
            marks[word] = 0
            while bits != 0:
                here = 64 * word + lowest_bit(bits)
                bits &= bits - 1
                c = centers[c0 + here]
                for r in range(BATCH):
                    terms[count * BATCH + r] = c * c
                e = heads[here]
                heads[here] = -1
                while e >= 0:
                    t = kept[e] - c
                    terms[count * BATCH + rows[e]] = t * t
                    e = before[e]
                stops[count] = here
                count += 1
                if count == EVENTS:
                    _add_terms(plain, centers, c0, begin, stops, count, terms, here + 1, sums)
                    begin, count = here + 1, 0
        _add_terms(plain, centers, c0, begin, stops, count, terms, d, sums)
        for q in range(first, last):
            i = order[q]
            out[i] = sums[q - first]
            if weights.shape[0] == 0 or weights[i] > 0:
                largest[0] = max(largest[0], out[i])


@kernel(allocates=True)
def sparse_transform_lane(starts, columns, values, counter, table, padded, centers, squares, norms, result):
    """Distances of all rows to all centers, up to rounding.

    table, padded: as pack_features leaves them, float64, centers (k, d), squares (k,) float64: |c|^2, norms (m,)
    float64: squared norms of the rows IN; counter (1,) int64 INOUT; result (m, k) float32 or float64 OUT.
    Where most of ``|x|^2 + |c|^2 - 2 x.c`` cancels, differences are added instead.
    """
    n, k = starts.shape[0] - 1, centers.shape[0]
    dots, row = np.empty(padded), np.zeros(centers.shape[1])
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        for i in range(start, min(start + BLOCK, n)):
            first, last = starts[i], starts[i + 1]
            for c in range(padded):
                dots[c] = 0.0
            for e in range(first, last):
                x = np.float64(values[e])
                place = np.uint64(columns[e]) * np.uint64(padded)
                for c in range(np.uint64(padded)):
                    dots[c] += x * table[place + c]
            filled = False
            for c in range(k):
                both = norms[i] + squares[c]
                square = both - 2.0 * dots[c]
                if not square > 1e-2 * both:
                    if not filled:
                        for e in range(first, last):
                            row[columns[e]] = values[e]
                        filled = True
                    square = 0.0
                    for j in range(row.shape[0]):
                        t = row[j] - np.float64(centers[c, j])
                        square += t * t
                result[i, c] = math.sqrt(square)
            if filled:
                for e in range(first, last):
                    row[columns[e]] = 0.0
