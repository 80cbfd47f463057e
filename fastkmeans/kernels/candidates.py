"""Kernels of k-means++ that read rows: which rows come nearer to a candidate, and how near.

Three filters, from cheap to exact.  A row can come nearer to a candidate only if the candidate is less than twice as
far from the row's present seed as the row itself: rows that no candidate passes are not read.  The pairs left are
dismissed by fast float32 values: of all candidates at once where many pairs are left (the micro-kernel), pair by pair
where few are.  What can't be dismissed is decided by the canonical value.

Bounds.  In packed units, with u = 2**-24 and y, q a packed row and candidate, their true difference is within
``u (|y| + |q|)`` of that of the packed ones (each rounded once), and the sum of w chains of squared float32 differences
is within ``(d / w + 12) u`` of the true one, relatively.  The micro-kernel's values have the bound of lloyd.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import simd
from .canonical import GROUP, WIDE, WIDE_ROWS, _add_in_order, group_values_plain, values_of_groups
from .gains import NARROW
from .jit import kernel
from .micro import CHUNK, ROWS, _rows_by_groups, lanes_above
from .pack import tile_norms
from .simd import F32, I64, Loop, fetch_add

MANY = 48  # candidates evaluated at a time, at most: one bit each
VISIT = 1152  # rows of a block
DENSE = 0.3  # share of the pairs of a block from which all are computed (measured)


@kernel
def spacing_lane(plain, seeds, counter, grouped, M, square0, square1, table, closest):
    """A quarter of the squared distance of every seed to every candidate, in packed units and rounded down, negated.

    seeds (t, d) float64, grouped: candidates as canonical.group_centers, M: their number, square0, square1: the
    packing scale, twice IN; table (t, pitch) float32 OUT: -infinity beyond M; closest (t,) float32 OUT: its maximum.
    """
    n = seeds.shape[0]
    pitch = table.shape[1]
    n_groups = (M + GROUP - 1) // GROUP
    order = np.empty(n_groups, np.int64)
    for g in range(n_groups):
        order[g] = g
    out = np.empty(n_groups * GROUP)
    while True:
        start = fetch_add(counter, 16)
        if start >= n:
            break
        for c in range(start, min(start + 16, n)):
            if plain:
                for g in range(n_groups):
                    group_values_plain(seeds[c], grouped, g, out[g * GROUP :])
            else:
                values_of_groups(seeds[c], grouped, order, n_groups, out)
            top = np.float32(-np.inf)
            for q in range(M):
                value = np.float32(-0.25 * (out[q] * square0 * square1) * (1.0 - 1e-6))
                table[c, q] = value
                top = max(top, value)
            for q in range(M, pitch):
                table[c, q] = np.float32(-np.inf)
            closest[c] = top


@kernel
def pack_rows(X, which, first, count, scale, shift, y, y0):
    """As pack.pack_tile for the rows which[first : first + count] (at most ROWS)."""
    d = X.shape[1]
    of = shift.dtype.type
    for r in range(ROWS):
        i = np.uint64(which[first + min(r, count - 1)])
        for chunk in range((d + CHUNK - 1) // CHUNK):
            j0 = np.uint64(chunk * CHUNK)
            features = min(CHUNK, d - chunk * CHUNK)
            place = np.uint64(y0 + (chunk * ROWS + r) * CHUNK)
            if r < count:
                for j in range(np.uint64(features)):
                    y[place + j] = of(X[i, j0 + j]) * scale - shift[j0 + j]
            else:
                for j in range(np.uint64(features)):
                    y[place + j] = np.float32(0.0)
            for j in range(np.uint64(features), np.uint64(min(CHUNK, (features + 15) // 16 * 16))):
                y[place + j] = np.float32(0.0)


@intrinsic
def pair_square(typingctx, width, y, y0, q, q0, d):
    """Sum of squared differences of two packed rows, at y0 and q0 in tiles, up to rounding: lanes run over features."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        zero, chunk = simd.const(vtype, 0.0), ir.Constant(I64, CHUNK)
        py, pq = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 3))
        row, other = simd.at(b, py, args[2]), simd.at(b, pq, args[4])
        n_chunks = b.udiv(b.add(args[5], ir.Constant(I64, CHUNK - 1)), chunk)
        n_sums = max(1, 16 // w)
        nought, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
        with Loop(b, nought, n_chunks, one, [zero] * n_sums) as chunks:
            place = b.mul(chunks.i, ir.Constant(I64, ROWS * CHUNK))
            left = b.sub(args[5], b.mul(chunks.i, chunk))
            count = b.select(b.icmp_signed("<", left, chunk), left, chunk)
            with Loop(b, nought, count, ir.Constant(I64, n_sums * w), list(chunks.values)) as features:
                here = b.add(place, features.i)
                sums = []
                for v, s in enumerate(features.values):
                    x = simd.load(b, simd.at(b, simd.at(b, row, here), v * w), vtype)
                    c = simd.load(b, simd.at(b, simd.at(b, other, here), v * w), vtype)
                    difference = b.fsub(x, c)
                    sums.append(simd.fma(b, difference, difference, s))
                features.next(sums)
            chunks.next(features.results)
        total = chunks.results[0]
        for s in chunks.results[1:]:
            total = b.fadd(total, s)
        return simd.fold(b, total, lambda b, x, y: b.fadd(x, y))

    i8 = types.int64
    return types.float32(width, y, i8, q, i8, i8), codegen


@intrinsic
def tile_masks(typingctx, width, y, c, h, d, n_groups, thresholds, masks, totals):
    """Bit q of masks[r] (int64) is kept where the fast value of row r of a tile and candidate q reaches thresholds[r].

    y, c, h, d, n_groups, totals: as micro.assign_tile; thresholds (ROWS,) float32 IN, masks (ROWS,) int64 INOUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        py, pc, ph, pl, pm, pt = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 3, 6, 7, 8))
        d_, n = args[4], args[5]
        rows = 6 if w == 8 else ROWS
        nought = ir.Constant(I64, 0)
        found = cgutils.alloca_once(b, ir.ArrayType(I64, ROWS))
        for r in range(ROWS):
            b.store(nought, b.gep(found, [nought, ir.Constant(I64, r)]))

        def run(groups: int, start: Any, stop: Any) -> None:
            with Loop(b, start, stop, ir.Constant(I64, groups), []) as loop:
                first = b.mul(loop.i, ir.Constant(I64, w))
                c_group = simd.at(b, pc, b.mul(first, d_))
                h_group = simd.at(b, ph, first)
                norms = [simd.load(b, simd.at(b, h_group, g * w), vtype) for g in range(groups)]
                for r0 in range(0, ROWS, rows):
                    values = _rows_by_groups(b, rows, norms, simd.at(b, py, r0 * CHUNK), c_group, d_, w, pt)
                    for r in range(rows):
                        limit = simd.splat(b, b.load(simd.at(b, pl, r0 + r)), w)
                        bits = nought
                        for g in range(groups):
                            reached = b.fcmp_ordered(">=", values[r * groups + g], limit)
                            lanes = b.zext(b.bitcast(reached, ir.IntType(w)), I64)
                            bits = b.or_(bits, b.shl(lanes, ir.Constant(I64, g * w)))
                        place = b.gep(found, [nought, ir.Constant(I64, r0 + r)])
                        b.store(b.or_(b.load(place), b.shl(bits, first)), place)
                loop.next([])

        even = b.and_(n, ir.Constant(I64, -2))
        run(2, nought, even)
        run(1, even, n)
        for r in range(ROWS):
            place = simd.at(b, pm, r)
            b.store(b.and_(b.load(place), b.load(b.gep(found, [nought, ir.Constant(I64, r)]))), place)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, c, h, i8, i8, thresholds, masks, totals), codegen


@intrinsic
def lowest_bit(typingctx, mask):
    """Number of the lowest bit that is set; mask (int64) must not be 0."""

    def codegen(context, b, signature, args):
        return simd.call(b, "llvm.cttz.i64", I64, [args[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.int64), codegen


@intrinsic
def count_bits(typingctx, mask):
    """How many bits of an int64 are set."""

    def codegen(context, b, signature, args):
        return simd.call(b, "llvm.ctpop.i64", I64, [args[0]])

    return types.int64(types.int64), codegen


@kernel
def pair_distances(X, rows, slots, count, candidates, terms, sums):
    """Canonical distances of up to WIDE_ROWS pairs of a row and a candidate, into sums (WIDE_ROWS,) float64.

    X (n, d) any dtype, rows, slots (>= count,) int64, candidates (M, d) float64 IN, terms (WIDE_ROWS, WIDE) scratch.
    """
    d = X.shape[1]
    for r in range(WIDE_ROWS):
        sums[r] = 0.0
    for j0 in range(0, d, WIDE):
        j1 = np.uint64(j0)
        features = np.uint64(min(WIDE, d - j0))
        padded = (features + np.uint64(7)) // np.uint64(8) * np.uint64(8)
        for r in range(np.uint64(count)):
            i, q = np.uint64(rows[r]), np.uint64(slots[r])
            for j in range(features):
                t = np.float64(X[i, j1 + j]) - candidates[q, j1 + j]
                terms[r, j] = t * t
            for j in range(features, padded):
                terms[r, j] = 0.0
        _add_in_order(terms, np.int64(padded), sums, 0)


@kernel
def record(i, q, value, entry_rows, entry_slots, entry_values, count):
    """Note that row i comes nearer to candidate q, while there is room; count (1,) int64 INOUT goes on regardless."""
    at = count[0]
    if at < entry_rows.shape[0]:
        entry_rows[at], entry_slots[at], entry_values[at] = i, q, value
    count[0] = at + 1


@kernel
def _decide(
    X, offset, rows, slots, n_pairs, nearest_sq, candidates, first_slot, terms, sums,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """Record the pairs whose canonical distance is the smaller one."""
    pair_distances(X, rows, slots, n_pairs, candidates, terms, sums)
    for p in range(n_pairs):
        if sums[p] < nearest_sq[rows[p]]:
            record(offset + rows[p], first_slot + slots[p], sums[p], entry_rows, entry_slots, entry_values, count)


@kernel
def plain_candidates_lane(
    X, counter, nearest_sq, labels, offset, table, closest, square0, square1, error, candidates, first_slot,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """candidates_lane with plain loops: the triangle inequality, then the canonical value."""
    n, d = X.shape
    M = candidates.shape[0]
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        for i in range(start, min(start + VISIT, n)):
            if nearest_sq[i] == 0.0:
                continue
            reach = np.float32(-(nearest_sq[i] * square0 * square1 * (1.0 + 1e-6) + 8.0 * error[2]))
            seed = labels[i]
            if closest[seed] < reach:
                continue
            for q in range(M):
                if table[seed, q] < reach:
                    continue
                s = 0.0
                for j in range(d):
                    t = np.float64(X[i, j]) - candidates[q, j]
                    s += t * t
                if s < nearest_sq[i]:
                    record(offset + i, first_slot + q, s, entry_rows, entry_slots, entry_values, count)


@kernel
def candidates_lane(
    width, X, counter, nearest_sq, labels, offset, table, closest, square0, square1, error, candidates, first_slot,
    pack_scale, shift, groups, halves, tiles, largest,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """List the rows that come nearer to each candidate, and their distances.

    X (n, d) any dtype, nearest_sq (n,) float64: canonical distance to the nearest seed, 0 for rows of no weight, labels
    (n,) int32: that seed, offset: number of the first row; table, closest: as spacing_lane left them; square0, square1,
    error: packing scale and bounds of the frame; candidates (M, d) float64; first_slot: number of the first
    candidate's list; pack_scale, shift, groups, halves, largest: frame and candidates as lloyd.pack_centers leaves
    them, tiles: candidates as packed rows IN; counter (1,) int64 INOUT;
    entry_rows, entry_slots, entry_values (room,) OUT, count (1,) int64 INOUT: more than there is room for: incomplete.
    """
    n, d = X.shape
    M = candidates.shape[0]
    w = len(width)
    n_groups = halves.shape[0] // w
    tile = (d + CHUNK - 1) // CHUNK * ROWS * CHUNK
    y, squares = np.empty(tile, np.float32), np.empty(ROWS, np.float32)
    totals = np.empty(ROWS * 2 * w, np.float32)
    reached, limits, kept = np.empty(ROWS), np.empty(ROWS, np.float32), np.empty(ROWS, np.int64)
    visited, masks = np.empty(VISIT, np.int64), np.empty(VISIT, np.int64)
    pair_rows, pair_slots = np.empty(WIDE_ROWS, np.int64), np.empty(WIDE_ROWS, np.int64)
    terms, sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    narrow = d < NARROW
    flat_table = table.reshape(-1)
    pitch = table.shape[1]
    relative = (d / 4.0 + 16.0) * 2.0**-24
    unit = 1.01 * 2.0**-24
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        n_visited, n_left = 0, 0
        for i in range(start, min(start + VISIT, n)):
            nearest = nearest_sq[i]
            seed = labels[i]
            reach = np.float32(-(nearest * square0 * square1 * (1.0 + 1e-6) + 8.0 * error[2]))
            if closest[seed] < reach or nearest == 0.0:
                continue
            mask = np.int64(0)
            for g in range(n_groups):
                mask |= lanes_above(width, flat_table, seed * pitch + g * w, reach) << (g * w)
            mask &= (np.int64(1) << M) - 1
            visited[n_visited], masks[n_visited] = i, mask
            n_visited += 1
            n_left += count_bits(mask)
        if narrow:
            for v in range(n_visited):
                i, mask = visited[v], masks[v]
                while mask != 0:
                    q = lowest_bit(mask)
                    mask &= mask - 1
                    s = 0.0
                    for j in range(d):
                        t = np.float64(X[i, j]) - candidates[q, j]
                        s += t * t
                    if s < nearest_sq[i]:
                        record(offset + i, first_slot + q, s, entry_rows, entry_slots, entry_values, count)
            continue
        dense = n_left > DENSE * n_visited * M
        n_pairs = 0
        for v0 in range(0, n_visited, ROWS):
            rows = min(ROWS, n_visited - v0)
            pack_rows(X, visited, v0, rows, pack_scale, shift, y, 0)
            tile_norms(width, y, 0, d, squares, 0)
            for r in range(rows):
                reached[r] = nearest_sq[visited[v0 + r]] * square0 * square1 * (1.0 + 1e-6)
                kept[r] = masks[v0 + r]
            for r in range(rows, ROWS):
                reached[r], kept[r] = 0.0, 0
            if dense:
                for r in range(ROWS):
                    square = np.float64(squares[r]) * (1.0 + error[5]) + error[4]
                    length, reach = math.sqrt(square), reached[r]
                    root = length + math.sqrt(reach)
                    m = root if root < largest else largest
                    slack = 1.01 * (
                        error[0] * (length * m + 0.5 * m * m) + error[1] * reach + error[2] + error[3] * (length + m)
                    )
                    below = np.float64(squares[r]) * (1.0 - error[5])
                    limits[r] = np.float32(0.5 * (below - reach) - slack - 1e-6 * abs(below - reach))
                tile_masks(width, y, groups, halves, d, n_groups, limits, kept, totals)
            else:
                for r in range(ROWS):
                    length = math.sqrt(np.float64(squares[r]) * (1.0 + error[5]) + error[4])
                    root = math.sqrt(reached[r] + 8.0 * error[2]) + unit * (length + largest) + error[3]
                    limits[r] = np.float32(root * root * (1.0 + 2.0 * relative) + error[2])
            for r in range(rows):
                i, mask = visited[v0 + r], kept[r]
                while mask != 0:
                    q = lowest_bit(mask)
                    mask &= mask - 1
                    if not dense:  # most pairs are far enough by their first features
                        at_q = q // ROWS * tile + q % ROWS * CHUNK
                        square = pair_square(width, y, r * CHUNK, tiles, at_q, min(d, CHUNK))
                        if d > CHUNK and square <= limits[r]:
                            next_chunk = ROWS * CHUNK
                            square += pair_square(
                                width, y, r * CHUNK + next_chunk, tiles, at_q + next_chunk, d - CHUNK
                            )  # fmt: skip
                        if square > limits[r]:
                            continue
                    pair_rows[n_pairs], pair_slots[n_pairs] = i, q
                    n_pairs += 1
                    if n_pairs == WIDE_ROWS:
                        _decide(
                            X, offset, pair_rows, pair_slots, n_pairs, nearest_sq, candidates, first_slot, terms, sums,
                            entry_rows, entry_slots, entry_values, count,
                        )  # fmt: skip
                        n_pairs = 0
        if n_pairs > 0:
            _decide(
                X, offset, pair_rows, pair_slots, n_pairs, nearest_sq, candidates, first_slot, terms, sums,
                entry_rows, entry_slots, entry_values, count,
            )  # fmt: skip
