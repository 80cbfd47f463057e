"""The integer micro-kernel: rows and centers rounded to 16 bits, a filter twice as fast as float32 arithmetic.

One instruction multiplies two pairs of 16-bit integers a lane and adds them (``pmaddwd``; with AVX-512 VNNI the sum is
accumulated in the same instruction), so a pass over all pairs costs half of what float32 costs.  Sixteen bits decide
nothing: they leave a list of centers that could be nearest, mostly of one, and what is left is compared in float32 and,
where that leaves a doubt, by the canonical value.

A packed row y becomes integers q with ``y ~ q * step`` and a step of its own; all centers share one step.  Steps are
chosen so that no dot product leaves 32 bits (Cauchy-Schwarz), integers add exactly, and the residuals ``|y - q step|``
are measured, not estimated: they are the filter's error bound.

Rows lie as in micro.py, ``[tile][chunk][ROWS][CHUNK]``, but int16; centers as ``[group][pair][lanes][2]``.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .micro import CHUNK, ROWS, block_rows
from .simd import F32, I32, I64, Loop, int_, lowest_bit

I16 = ir.IntType(16)
LIMIT = 46340.0  # the largest integer whose square is below 2**31
TOP = 32767.0  # the largest int16
FOUR = 4  # vectors of values that are scanned at a time


@functools.cache
def multiplier() -> int:
    """32-bit lanes of this CPU's widest multiply-and-add of 16-bit pairs; 0 where there is none."""
    have = simd.cpu_features()
    if "avx512bw" in have:
        return 16
    if "avx2" in have:
        return 8
    return 4 if "sse2" in have else 0


def has_vnni(width: int) -> bool:
    """Whether it multiplies `width` words of two 16-bit or four 8-bit integers and accumulates in one instruction."""
    have = simd.cpu_features()
    if width == 16:
        return "avx512vnni" in have
    return width == 8 and ("avxvnni" in have or {"avx512vnni", "avx512vl"} <= have)


def _multiply_pairs(b: Any, x: Any, y: Any) -> Any:
    """x0 * y0 + x1 * y1 for every pair of 16-bit lanes, as 32-bit lanes: <2w x i16> twice to <w x i32>."""
    count = x.type.count // 2
    native = min(multiplier(), count)
    name = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}[native]
    result = simd.vector(I32, native)
    if native == count:
        return simd.call(b, name, result, [x, y])
    parts = []
    for start in range(0, 2 * count, 2 * native):
        lanes = list(range(start, start + 2 * native))
        parts.append(simd.call(b, name, result, [simd.shuffle(b, x, x, lanes), simd.shuffle(b, y, y, lanes)]))
    while len(parts) > 1:
        joined = list(range(2 * parts[0].type.count))
        parts = [simd.shuffle(b, parts[i], parts[i + 1], joined) for i in range(0, len(parts), 2)]
    return parts[0]


@kernel
def row_limit(d, limit=LIMIT):
    """The norm to which a row of integers is scaled: what rounding may add to it stays below the limit."""
    return (limit - 2.0 - 0.5 * math.sqrt(d)) * (1.0 - 1e-5 - 1e-8 * d)  # and what float32 may miss of a norm


@kernel(allocates=True)
def quantize_centers(groups, halves, largest, k, d, width, rows, integers):
    """Packed centers in rows, and rounded to 16 bits with one common step.

    groups, halves, largest, width: as lloyd.pack_centers leaves them; infinite halves: a center that can't win IN;
    rows (k * d rounded up to 16,) float32, integers (ceil(k / width) * ceil(d / 2) * width * 2,) int16 OUT, zero
    before.  Returns the step and the largest residual |c - q step|, rounded up.
    """
    padded, pairs = (d + 15) // 16 * 16, (d + 1) // 2
    top = np.float32(0.0)
    for c in range(k):
        place, source = np.uint64(c * padded), np.uint64(c // width * d * width + c % width)
        for j in range(np.uint64(d)):
            rows[place + j] = groups[source + j * np.uint64(width)]
        if halves[c] < np.inf:
            for j in range(np.uint64(padded)):
                top = max(top, abs(rows[place + j]))
    step = np.float32(max(largest / row_limit(d), np.float64(top) / (TOP - 1.0), 1e-30))
    residual_sq = 0.0
    rounded, sums = np.empty(padded, np.float32), np.empty(16)
    for c in range(k):
        if not halves[c] < np.inf:
            continue
        place = np.uint64(c * padded)
        for j in range(np.uint64(padded)):
            rounded[j] = np.rint(rows[place + j] / step)
        sums[:] = 0.0
        for j0 in range(np.uint64(0), np.uint64(padded), np.uint64(16)):  # sums side by side, for their latencies
            for j in range(np.uint64(16)):
                rest = np.float64(rows[place + j0 + j]) - np.float64(rounded[j0 + j]) * np.float64(step)
                sums[j] += rest * rest
        residual_sq = max(residual_sq, sums.sum())
        target = np.uint64((c // width * pairs * width + c % width) * 2)
        for j in range(np.uint64(d)):
            at = target + j // np.uint64(2) * np.uint64(2 * width) + j % np.uint64(2)
            integers[at] = np.int16(rounded[j])
    return step, math.sqrt(residual_sq) * (1.0 + 1e-6)


@intrinsic
def quantize_tile(typingctx, width, y, y0, d, limit, unit, q, steps, residuals, squares, o0):
    """The ROWS rows of the packed tile at y0 as int16 in the tile at the same place of q.

    limit: norm of the integers (float32); unit: step of the centers (float32).  At o0 OUT, float32: steps, a row's step
    times `unit`; residuals, the norm of what rounding took; squares, the norm's square: the last two up to float32
    rounding.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        py, pq, p_step, p_rest, p_square = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 6, 7, 8, 9))
        d_, zero = args[3], simd.const(vtype, 0.0)
        tile, q_tile = simd.at(b, py, args[2]), simd.at(b, pq, args[2])
        n_chunks = b.udiv(b.add(d_, int_(CHUNK - 1)), int_(CHUNK))
        magnitude = simd.const(itype, 0x7FFFFFFF)

        parts = 16 // w

        def visit(r: Any, start: Any, count: int, step: Any) -> list[list[Any]]:
            """Carry `count` sums over the vectors of rows r and r + 1, in independent chains; a list per row."""
            carried = [start] * (2 * parts * count)
            with Loop(b, int_(0), n_chunks, int_(1), carried) as chunks:
                offset = b.add(b.mul(chunks.i, int_(ROWS * CHUNK)), b.mul(r, int_(CHUNK)))
                left = b.sub(d_, b.mul(chunks.i, int_(CHUNK)))
                size = b.select(b.icmp_signed("<", left, int_(CHUNK)), left, int_(CHUNK))
                with Loop(b, int_(0), size, int_(16), list(chunks.values)) as features:
                    after = []
                    for chain in range(2 * parts):
                        row, part = divmod(chain, parts)
                        place = b.add(b.add(offset, features.i), int_(row * CHUNK + part * w))
                        value = simd.load(b, simd.at(b, tile, place), vtype)
                        after += step(row, place, value, features.values[chain * count : (chain + 1) * count])
                    features.next(after)
                chunks.next(features.results)
            half = parts * count
            return [chunks.results[:half], chunks.results[half:]]

        def measure(row: int, place: Any, v: Any, carried: list[Any]) -> list[Any]:
            absolute = b.bitcast(b.and_(b.bitcast(v, itype), magnitude), vtype)
            return [simd.fma(b, v, v, carried[0]), simd.maximum(b, absolute, carried[1])]

        def reduced(values: list[Any], combine: Any) -> Any:
            total = values[0]
            for other in values[1:]:
                total = combine(b, total, other)
            return simd.fold(b, total, combine)

        def plus(b: Any, x: Any, y: Any) -> Any:
            return b.fadd(x, y)

        with Loop(b, int_(0), int_(ROWS), int_(2), []) as rows:
            inverses, backs = [], []
            for row, sums in enumerate(visit(rows.i, zero, 2, measure)):
                square = reduced(sums[::2], plus)
                norm = simd.call(b, "llvm.sqrt.f32", F32, [square])
                by_norm = b.fmul(norm, b.fdiv(ir.Constant(F32, 1.0), args[4]))
                by_top = b.fmul(reduced(sums[1::2], simd.maximum), ir.Constant(F32, 1.0 / (TOP - 1.0)))
                step = simd.maximum(b, simd.maximum(b, by_norm, by_top), ir.Constant(F32, 2.0**-100))
                inverses.append(simd.splat(b, b.fdiv(ir.Constant(F32, 1.0), step), w))
                backs.append(simd.splat(b, b.fsub(ir.Constant(F32, -0.0), step), w))
                out = b.add(args[10], b.add(rows.i, int_(row)))
                b.store(b.fmul(step, args[5]), simd.at(b, p_step, out))
                b.store(square, simd.at(b, p_square, out))

            def quantize(row: int, place: Any, v: Any, carried: list[Any]) -> list[Any]:
                rounded = simd.call(b, f"llvm.rint.{simd.suffix(vtype)}", vtype, [b.fmul(v, inverses[row])])
                integers = b.trunc(b.fptosi(rounded, itype), simd.vector(I16, w))
                simd.store(b, integers, simd.at(b, q_tile, place), 2)
                rest = simd.fma(b, rounded, backs[row], v)
                return [simd.fma(b, rest, rest, carried[0])]

            for row, sums in enumerate(visit(rows.i, zero, 1, quantize)):
                rest = simd.call(b, "llvm.sqrt.f32", F32, [reduced(sums, plus)])
                b.store(rest, simd.at(b, p_rest, b.add(args[10], b.add(rows.i, int_(row)))))
            rows.next([])
        return context.get_dummy_value()

    i8, f4 = types.int64, types.float32
    return types.void(width, y, i8, i8, f4, f4, q, steps, residuals, squares, i8), codegen


@intrinsic
def filter_tile(
    typingctx, width, q, q0, c, c0, h, h0, d, n_groups, first, steps, u0, best, values, v0, stride, ahead, lines
):
    """Filter values ``q.c * step - h`` of the ROWS rows of a tile against `n_groups` groups of centers.

    width: lanes(w).  q, q0: the tile, int16, and where it begins.  c, c0, h, h0: integer groups, halved squared norms,
    and where they begin.  first: number of the first group; 0 starts the running maxima afresh.  steps, from u0 on: see
    quantize_tile.  best float32 INOUT: a vector of maxima per row, from vector u0 on.  values float32 OUT: row r's at
    v0 + r * stride + center.  ahead, lines: address of what the next tile is packed from, and how many cache lines of
    it to fetch per two groups.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype, pairs_type = simd.vector(F32, w), simd.vector(I32, w), simd.vector(I16, 2 * w)
        arrays = signature.args
        pq, pc, ph, pu, pb, pv = (simd.data(context, b, arrays[i], args[i]) for i in (1, 3, 5, 10, 12, 13))
        pq, pb = simd.at(b, pq, args[2]), simd.at(b, pb, b.mul(args[11], int_(w)))
        d_, n, first_ = args[7], args[8], args[9]
        pairs = b.udiv(b.add(d_, int_(1)), int_(2))
        group_size = b.mul(pairs, int_(2 * w))
        n_chunks = b.udiv(b.add(d_, int_(CHUNK - 1)), int_(CHUNK))
        c_first, h_first = simd.at(b, pc, args[4]), simd.at(b, ph, args[6])
        v_first = simd.at(b, pv, b.add(args[14], b.mul(first_, int_(w))))
        none = simd.const(itype, 0)
        with b.if_then(b.icmp_signed("==", first_, int_(0))):
            for r in range(ROWS):
                simd.store(b, simd.const(vtype, float("-inf")), simd.at(b, pb, r * w))

        def run(groups: int, start: Any, stop: Any) -> None:
            rows = block_rows(w, groups)
            with Loop(b, start, stop, int_(groups), []) as loop:
                c_group = simd.at(b, c_first, b.mul(loop.i, group_size))
                number = b.mul(loop.i, int_(w))
                norms = [simd.load(b, simd.at(b, h_first, b.add(number, int_(g * w))), vtype) for g in range(groups)]
                fetched = b.mul(b.lshr(loop.i, int_(1)), args[17])
                with Loop(b, int_(0), args[17], int_(1), []) as fetches:
                    simd.prefetch(b, b.add(args[16], b.mul(b.add(fetched, fetches.i), int_(64))))
                    fetches.next([])
                for r0 in range(0, ROWS, rows):
                    with Loop(b, int_(0), n_chunks, int_(1), [none] * (rows * groups)) as chunks:
                        q_chunk = simd.at(b, pq, b.add(b.mul(chunks.i, int_(ROWS * CHUNK)), int_(r0 * CHUNK)))
                        q_pairs = b.bitcast(q_chunk, I32.as_pointer())
                        begin = b.mul(chunks.i, int_(CHUNK // 2))
                        left = b.sub(pairs, begin)
                        count = b.select(b.icmp_signed("<", left, int_(CHUNK // 2)), left, int_(CHUNK // 2))
                        with Loop(b, int_(0), count, int_(1), list(chunks.values)) as loop_pairs:
                            pair = b.add(begin, loop_pairs.i)
                            at_pair = simd.at(b, c_group, b.mul(pair, int_(2 * w)))
                            vectors = [
                                simd.load(b, simd.at(b, at_pair, b.mul(group_size, int_(g))), pairs_type)
                                for g in range(groups)
                            ]
                            acc = list(loop_pairs.values)
                            row_pair = simd.at(b, q_pairs, loop_pairs.i)
                            for r in range(rows):
                                two = b.load(simd.at(b, row_pair, r * (CHUNK // 2)))
                                both = b.bitcast(simd.splat(b, two, w), pairs_type)
                                for g in range(groups):
                                    at = r * groups + g
                                    acc[at] = b.add(acc[at], _multiply_pairs(b, both, vectors[g]))
                            loop_pairs.next(acc)
                        chunks.next(loop_pairs.results)
                    for r in range(rows):
                        step = simd.splat(b, b.load(simd.at(b, pu, b.add(args[11], int_(r0 + r)))), w)
                        p_best = simd.at(b, pb, (r0 + r) * w)
                        top = simd.load(b, p_best, vtype)
                        out = simd.at(b, v_first, b.add(b.mul(args[15], int_(r0 + r)), number))
                        for g in range(groups):
                            dot = b.sitofp(chunks.results[r * groups + g], vtype)
                            value = simd.fma(b, dot, step, b.fsub(simd.const(vtype, -0.0), norms[g]))
                            simd.store(b, value, simd.at(b, out, g * w))
                            top = simd.maximum(b, top, value)
                        simd.store(b, top, p_best)
                loop.next([])

        even = b.and_(n, int_(-2))
        run(2, int_(0), even)
        run(1, even, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, q, i8, c, i8, h, i8, i8, i8, i8, steps, i8, best, values, i8, i8, i8, i8), codegen


@intrinsic
def row_maxima(typingctx, width, best, out, o0):
    """The largest lane of each of the ROWS vectors of `best` from vector o0 on, into out (float32) at o0."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        pb, po = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 2))
        pb, batch = simd.at(b, pb, b.mul(args[3], int_(w))), simd.batch_rows(w)
        for r0 in range(0, ROWS, batch):
            vectors = [simd.load(b, simd.at(b, pb, (r0 + r) * w), simd.vector(F32, w)) for r in range(batch)]
            folded = simd.fold_rows(b, vectors, simd.maximum)
            rows = simd.shuffle(b, folded, folded, list(range(batch)))
            simd.store(b, rows, simd.at(b, simd.at(b, po, args[3]), r0))
        return context.get_dummy_value()

    return types.void(width, best, out, types.int64), codegen


@intrinsic
def _reached(typingctx, width, values, o0, threshold):
    """Bit l is set where values[o0 + l] >= threshold (float32), for FOUR vectors of lanes."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        pointer = simd.at(b, simd.data(context, b, signature.args[1], args[1]), args[2])
        level = simd.splat(b, args[3], w)
        found = None
        for v in range(FOUR):
            above = b.fcmp_ordered(">=", simd.load(b, simd.at(b, pointer, v * w), simd.vector(F32, w)), level)
            bits = b.zext(b.bitcast(above, ir.IntType(w)), I64)
            found = bits if found is None else b.or_(found, b.shl(bits, int_(v * w)))
        return found

    return types.int64(width, values, types.int64, types.float32), codegen


@kernel
def list_candidates(width, values, v0, stride, threshold, found):
    """Numbers of the centers whose value reaches the threshold, ascending, into found (int32); returns how many.

    values float32 IN: `stride` of them at v0, a multiple of FOUR * lanes(w).
    """
    step = FOUR * len(width)
    count = 0
    for c in range(0, stride, step):
        bits = _reached(width, values, v0 + c, threshold)
        while bits != 0:
            found[count] = c + lowest_bit(bits)
            count += 1
            bits &= bits - 1
    return count


@intrinsic
def difference_sq(typingctx, width, y, y0, d, c, c0):
    """Squared distance, by differences in float32, of the packed row at y0 in its tile and the packed center at c0.

    Both are padded with zeros up to a multiple of 16 features.  A sum of lanes: for estimates with a bound, see
    direct_error.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        py, pc = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 4))
        row, center, d_ = simd.at(b, py, args[2]), simd.at(b, pc, args[5]), args[3]
        n_chunks = b.udiv(b.add(d_, int_(CHUNK - 1)), int_(CHUNK))
        chains = 16 // w
        zero = simd.const(vtype, 0.0)
        with Loop(b, int_(0), n_chunks, int_(1), [zero] * chains) as chunks:
            y_chunk = simd.at(b, row, b.mul(chunks.i, int_(ROWS * CHUNK)))
            begin = b.mul(chunks.i, int_(CHUNK))
            c_chunk = simd.at(b, center, begin)
            left = b.sub(d_, begin)
            count = b.select(b.icmp_signed("<", left, int_(CHUNK)), left, int_(CHUNK))
            with Loop(b, int_(0), count, int_(16), list(chunks.values)) as features:
                sums = []
                for i, total in enumerate(features.values):
                    place = b.add(features.i, int_(i * w))
                    t = b.fsub(
                        simd.load(b, simd.at(b, y_chunk, place), vtype), simd.load(b, simd.at(b, c_chunk, place), vtype)
                    )
                    sums.append(simd.fma(b, t, t, total))
                features.next(sums)
            chunks.next(features.results)
        total = chunks.results[0]
        for other in chunks.results[1:]:
            total = b.fadd(total, other)
        return simd.fold(b, total, lambda b, x, y: b.fadd(x, y))

    i8 = types.int64
    return types.float32(width, y, i8, i8, c, i8), codegen
