"""Passes over compressed rows: every row against every center, exact sums.

Rows come as ``starts, columns, values``: columns strictly ascending in every row, see `fastkmeans.sparse.CsrRows`.

A row is compared with all centers by its non-zeros alone: ``v = y.c' - |c'|^2/2`` with y, c' scaled by a power of two
and rounded to float32, centers packed feature by feature ``[d][k rounded up]``, so that a non-zero costs one FMA for
as many centers as a vector has lanes.  As in the dense pass (lloyd.py) the error of v is at most
``gamma (|y| m + m^2/2)``, gamma counting the roundings of the chain, plus what the canonical value itself is off.
Centers within twice that of the best are compared again by the same dot product in float64, and what that leaves open,
which is next to nothing but ties, by the canonical value, which walks all features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .exact import DIGIT, INFINITE, LOW, MAGNITUDE
from .integer import list_candidates
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED
from .simd import F32, F64, I64, Loop, fetch_add, float_bits

BLOCK = 256  # rows a lane takes at a time
AHEAD = 12  # entries whose feature's centers are fetched before they are needed
MOST_VECTORS = 8  # of centers, that are kept in registers
UNIT = 2.0**-53  # the rounding of float64
LEAST = 2.0**-1074  # the smallest subnormal


@kernel
def sparse_exponents_lane(starts, columns, values, weights, counter, norms, largest, count, total, finite):
    """exact.exponents_lane for compressed rows, and the canonical squared norm of every row.

    weights (m,) int64 or (0,) for ones IN; counter (1,) int64 INOUT; largest (d,) float64, count, total (2, d) int64,
    finite (1,) uint8 INOUT; norms (m,) float64 OUT.  At most 2**19 rows in all.
    """
    n = starts.shape[0] - 1
    weighted = weights.shape[0] > 0
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        for i in range(start, min(start + BLOCK, n)):
            w = weights[i] if weighted else 1
            low, high = w & 0x7FFFFFFF, w >> 31
            square = 0.0
            for e in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
                value = np.float64(values[e])
                square += value * value
                bits = float_bits(value) & MAGNITUDE
                if bits >= INFINITE:
                    finite[0] = 0
                elif w > 0 and bits != 0:
                    j = np.uint64(columns[e])
                    largest[j] = max(largest[j], abs(value))
                    field = max(bits >> 52, 1)
                    count[0, j] += low
                    total[0, j] += low * field
                    if high != 0:
                        count[1, j] += high
                        total[1, j] += high * field
            norms[i] = square


@kernel(allocates=True)
def sparse_own_clusters(
    starts, columns, values, old, new, weights, scale, n_digits, d, sums, cluster_weights, owners, owner, touched
):
    """lloyd.own_clusters for compressed rows: only non-zeros are added or taken away."""
    weighted = weights.shape[0] > 0
    width = n_digits + 2 if weighted else n_digits
    digits = np.empty(n_digits + 2, np.int64)
    for i in range(starts.shape[0] - 1):
        w = weights[i] if weighted else 1
        if old[i] == new[i] or w == 0:
            continue
        enters = new[i] % owners == owner
        leaves = old[i] >= 0 and old[i] % owners == owner
        if not (enters or leaves):
            continue
        if enters:
            cluster_weights[new[i]] += w
            touched[new[i]] = 1
        if leaves:
            cluster_weights[old[i]] -= w
            touched[old[i]] = 1
        to, source = np.uint64(new[i] * width * d), np.uint64(max(old[i], 0) * width * d)
        w0, w1 = np.uint64(w & LOW), np.uint64(w >> 32)
        for e in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
            j = np.uint64(columns[e])
            value = np.rint(np.float64(values[e]) * scale[0, j] * scale[1, j])
            if n_digits == 2 and not weighted:
                top = np.trunc(value * (1.0 / DIGIT))
                high, low = np.int64(top), np.int64(value - top * DIGIT)
                if enters:
                    sums[to + j] += low
                    sums[to + np.uint64(d) + j] += high
                if leaves:
                    sums[source + j] -= low
                    sums[source + np.uint64(d) + j] -= high
                continue
            for t in range(n_digits - 1, 0, -1):
                unit = math.ldexp(1.0, 32 * t)
                top = np.trunc(value / unit)
                digits[t] = np.int64(top)
                value -= top * unit
            digits[0] = np.int64(value)
            for t in range(n_digits):
                place = np.uint64(t * d) + j
                if not weighted:
                    if enters:
                        sums[to + place] += digits[t]
                    if leaves:
                        sums[source + place] -= digits[t]
                    continue
                sign = 1 if digits[t] >= 0 else -1
                size = np.uint64(abs(digits[t]))
                p0, p1 = size * w0, size * w1
                first = sign * np.int64(p0 & np.uint64(LOW))
                second = sign * np.int64((p0 >> np.uint64(32)) + (p1 & np.uint64(LOW)))
                third = sign * np.int64(p1 >> np.uint64(32))
                next_, last = place + np.uint64(d), place + np.uint64(2 * d)
                if enters:
                    sums[to + place] += first
                    sums[to + next_] += second
                    sums[to + last] += third
                if leaves:
                    sums[source + place] -= first
                    sums[source + next_] -= second
                    sums[source + last] -= third


# ---------------------------------------------------------------------------------------------------------------------
# labels
# ---------------------------------------------------------------------------------------------------------------------


@kernel
def pack_features(centers, duplicate, scale, padded, table, halves, squares):
    """Pack centers feature by feature.

    centers (k, d) and duplicate (k,) uint8 IN: those equal to a center of lower index can never win; scale: a power of
    two IN; table (d * padded,) float32 or float64, zero beyond k, halves (padded,) the same: |c'|^2 / 2, infinite for
    duplicates and padding, squares (k,) float64: |c|^2 unscaled, up to rounding OUT.  Returns an upper bound of the
    norms |c'| of those that count.
    """
    k, d = centers.shape
    of = table.dtype.type
    largest = 0.0
    for c in range(padded):
        halves[c] = np.inf
    for c in range(k):
        total, square = 0.0, 0.0
        for j in range(d):
            exact = np.float64(centers[c, j])
            value = of(exact * scale)
            table[np.uint64(j) * np.uint64(padded) + np.uint64(c)] = value
            total += np.float64(value) * np.float64(value)
            square += exact * exact
        squares[c] = square
        if not duplicate[c]:
            halves[c] = of(0.5 * total)
            largest = max(largest, math.sqrt(total))
    return largest * (1.0 + 1e-6 + 1e-15 * d)


@intrinsic
def row_scores(typingctx, width, columns, values, first, last, scale, table, padded, halves, out):
    """``v = y.c' - h`` of one compressed row, entries first..last, against all centers; returns the largest.

    width: lanes(w).  scale: of the dtype of the values, by which they are multiplied before they are rounded to
    float32.  table, padded, halves: as pack_features leaves them, padded a multiple of w; out (padded,) float32 OUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        pc, px, pt, ph, po = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 6, 8, 9))
        first, last, scale, padded = args[3], args[4], args[5], args[7]
        one = ir.Constant(I64, 1)
        total = b.extract_value(context.make_array(t[1])(context, b, args[1]).shape, 0)
        n_vectors = b.udiv(padded, ir.Constant(I64, w))

        def run(count: int, start: Any, top: Any) -> Any:
            """`count` vectors of centers from center `start` on; the running maximum."""
            at_centers = simd.at(b, pt, start)
            half = [simd.load(b, simd.at(b, ph, b.add(start, ir.Constant(I64, g * w))), vtype) for g in range(count)]
            begin = [b.fsub(simd.const(vtype, -0.0), h) for h in half]
            with Loop(b, first, last, one, begin) as loop:
                column = b.load(simd.at(b, pc, loop.i))
                column = b.zext(column, I64) if column.type.width < 64 else column
                x = b.fmul(b.load(simd.at(b, px, loop.i)), scale)
                x = simd.splat(b, b.fptrunc(x, F32) if x.type == F64 else x, w)
                feature = simd.at(b, at_centers, b.mul(column, padded))
                ahead = b.add(loop.i, ir.Constant(I64, AHEAD))
                ahead = b.load(simd.at(b, pc, b.select(b.icmp_signed("<", ahead, total), ahead, loop.i)))
                ahead = b.zext(ahead, I64) if ahead.type.width < 64 else ahead
                address = b.ptrtoint(simd.at(b, at_centers, b.mul(ahead, padded)), I64)
                for line in range(0, count * w * 4, 64):
                    simd.prefetch(b, b.add(address, ir.Constant(I64, line)))
                loop.next(
                    [
                        simd.fma(b, x, simd.load(b, simd.at(b, feature, g * w), vtype), s)
                        for g, s in enumerate(loop.values)
                    ]
                )
            for g, value in enumerate(loop.results):
                simd.store(b, value, simd.at(b, po, b.add(start, ir.Constant(I64, g * w))))
                top = simd.maximum(b, top, value)
            return top

        whole = b.mul(b.udiv(n_vectors, ir.Constant(I64, MOST_VECTORS)), ir.Constant(I64, MOST_VECTORS * w))
        low = simd.const(vtype, float("-inf"))
        with Loop(b, ir.Constant(I64, 0), whole, ir.Constant(I64, MOST_VECTORS * w), [low]) as chunks:
            chunks.next([run(MOST_VECTORS, chunks.i, chunks.values[0])])
        rest = b.urem(n_vectors, ir.Constant(I64, MOST_VECTORS))
        before = b.block
        end = b.append_basic_block("rows.end")
        switch = b.switch(rest, end)
        arrivals = [(chunks.results[0], before)]
        for count in range(1, MOST_VECTORS):
            block = b.append_basic_block(f"rows.{count}")
            switch.add_case(ir.Constant(I64, count), block)
            b.position_at_end(block)
            top = run(count, whole, chunks.results[0])
            arrivals.append((top, b.block))
            b.branch(end)
        b.position_at_end(end)
        result = b.phi(vtype)
        for value, block in arrivals:
            result.add_incoming(value, block)
        return simd.fold(b, result, simd.maximum)

    i8 = types.int64
    return types.float32(width, columns, values, i8, i8, values.dtype, table, i8, halves, out), codegen


@kernel
def decide(columns, values, first, last, centers, squares, margin, row, found, count, scores):
    """The nearest of some centers: by dot products in float64 where those are certain, else by the canonical value.

    columns, values: entries first..last are the row's, centers (k, d), squares (k,) float64: |c|^2, margin: by how much
    two scores must differ, found (count,): centers, ascending IN; row (d,) float64 scratch, all zero; scores
    (>= count,) float64 scratch.  Returns the label, and whether canonical values were needed.
    """
    best = np.inf
    for q in range(count):
        c = found[q]
        dot = 0.0
        for e in range(first, last):
            dot += np.float64(values[e]) * np.float64(centers[c, columns[e]])
        scores[q] = 0.5 * squares[c] - dot
        best = min(best, scores[q])
    left = 0
    for q in range(count):
        if not scores[q] > best + margin:  # not: a NaN proves nothing
            found[left] = found[q]
            left += 1
    if left == 1:
        return found[0], False
    for e in range(first, last):
        row[columns[e]] = values[e]
    label, nearest = found[0], np.inf
    for q in range(left):
        c = found[q]
        s = 0.0
        for j in range(row.shape[0]):
            t = row[j] - np.float64(centers[c, j])
            s += t * t
        if s < nearest:
            label, nearest = c, s
    for e in range(first, last):
        row[columns[e]] = 0.0
    return label, True


@kernel
def _keep_label(i, label, weights, labels):
    """Write a label; returns 1 if it is another one than before, and the row has weight."""
    if labels[i] == label:
        return 0
    labels[i] = label
    return 0 if weights.shape[0] > 0 and weights[i] == 0 else 1


@kernel(allocates=True)
def sparse_plain_lane(
    starts, columns, values, weights, counter, table, padded, halves, largest, norms, centers, squares, labels, counts
):
    """Labels of compressed rows in plain loops, by dot products in float64.

    table, padded, halves, squares: as pack_features leaves them at scale 1, float64, largest: the largest norm of a
    center, norms (m,) float64: squared norms of the rows, centers (k, d) IN; labels (m,) int32, counts INOUT.
    """
    n, d = starts.shape[0] - 1, centers.shape[1]
    k = centers.shape[0]
    scores, values_of = np.empty(k), np.empty(padded)
    found, row = np.empty(k, np.int32), np.zeros(d)
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        for i in range(start, min(start + BLOCK, n)):
            first, last = starts[i], starts[i + 1]
            for c in range(padded):
                values_of[c] = 0.0
            for e in range(first, last):
                x = np.float64(values[e])
                place = np.uint64(columns[e]) * np.uint64(padded)
                for c in range(np.uint64(padded)):
                    values_of[c] += x * table[place + c]
            best = -np.inf
            for c in range(k):
                values_of[c] -= halves[c]
                best = max(best, values_of[c])
            reach = math.sqrt(norms[i]) * (1.0 + 1e-6) + largest
            margin = 2.02 * (d + 8) * (UNIT * reach * reach + LEAST)
            count = 0
            for c in range(k):
                if not values_of[c] < best - margin and halves[c] < np.inf:
                    found[count] = c
                    count += 1
            label = found[0]
            if count > 1:
                label, hard = decide(columns, values, first, last, centers, squares, margin, row, found, count, scores)
                counts[DECIDED] += hard
            counts[CHANGED] += _keep_label(i, label, weights, labels)
        counts[BLOCKS] += 1


@kernel(allocates=True)
def sparse_lane(
    width, starts, columns, values, weights, counter, scale, table, padded, halves, largest, error, norms, centers,
    squares, labels, counts,
):  # fmt: skip
    """Labels of compressed rows: sparse_plain_lane with float32 first.

    scale: of the dtype of the values; table, halves float32; largest: the largest norm of a packed center; error (5,)
    float64: scale as float64, 2**-24, the canonical roundings, the floor and the floor per unit of norm IN.
    """
    n, d = starts.shape[0] - 1, centers.shape[1]
    k = centers.shape[0]
    room = (padded + 4 * len(width) - 1) // (4 * len(width)) * (4 * len(width))
    out = np.full(room, -np.inf, np.float32)
    found, scores, row = np.empty(room, np.int32), np.empty(k), np.zeros(d)
    unscaled = largest / error[0]
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        for i in range(start, min(start + BLOCK, n)):
            first, last = starts[i], starts[i + 1]
            best = np.float64(row_scores(width, columns, values, first, last, scale, table, padded, halves, out))
            norm = math.sqrt(norms[i]) * (1.0 + 1e-6)
            length = norm * error[0]
            reach = length + largest
            gamma = error[1] * (last - first + 10)
            allowed = gamma * (length * largest + 0.5 * largest * largest) + error[2] * reach * reach
            allowed = 2.02 * (allowed + error[3] + error[4] * reach)
            threshold = np.float32(best - allowed)
            if threshold > np.float32(-1e38):
                count = list_candidates(width, out, 0, room, threshold, found)
            else:  # no bound at all: values at the ends of the range of float64
                count = 0
                for c in range(k):
                    found[count] = c
                    count += halves[c] < np.inf
            label = found[0]
            if count > 1:
                reach = norm + unscaled
                margin = 2.02 * (d + 8) * (UNIT * reach * reach + LEAST)
                label, hard = decide(columns, values, first, last, centers, squares, margin, row, found, count, scores)
                counts[DECIDED] += hard
            counts[CHANGED] += _keep_label(i, label, weights, labels)
        counts[BLOCKS] += 1
