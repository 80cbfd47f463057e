"""Kernels of k-means++ for pairs of a row and a candidate: the pieces that visit.py is made of.

Bounds.  In packed units, with u = 2**-24 and y, q a packed row and candidate, their true difference is within
``u (|y| + |q|)`` of that of the packed ones (each rounded once), and the sum of w chains of squared float32 differences
is within ``(d / w + 12) u`` of the true one, relatively.  The micro-kernel's values have the bound of lloyd.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import simd
from .canonical import GROUP, WIDE, WIDE_ROWS, _add_in_order, group_values_plain, values_of_groups
from .jit import kernel
from .micro import CHUNK, ROWS, _rows_by_groups
from .simd import F32, I64, Loop, fetch_add


@kernel(allocates=True)
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
def tile_masks(typingctx, width, y, c, h, d, n_groups, thresholds, masks, totals, ahead, step):
    """Bit q of masks[r] (int64) is kept where the fast value of row r of a tile and candidate q reaches thresholds[r].

    y, c, h, d, n_groups, totals, ahead, step: as micro.assign_tile; thresholds (ROWS,) float32 IN, masks (ROWS,) int64
    INOUT.
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
                # only the first groups have anything to fetch; the others ask for one line again and again
                step = b.select(b.icmp_signed("==", loop.i, nought), args[10], nought)
                for r0 in range(0, ROWS, rows):
                    y_rows = simd.at(b, py, r0 * CHUNK)
                    values = _rows_by_groups(b, rows, norms, y_rows, c_group, d_, w, pt, (args[9], step))
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
    return types.void(width, y, c, h, i8, i8, thresholds, masks, totals, i8, i8), codegen


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
