"""Codes: rows rounded to 8 or 16 bits that are kept, and the filter that compares them with candidates.

One instruction multiplies four pairs of 8-bit integers a lane, or two of 16-bit ones, adds them and accumulates: the
filter costs a quarter, or half, of float32 arithmetic.  A CPU without VNNI takes three for four pairs of 8-bit
integers, where float32 takes four.  The filter decides nothing: it leaves the pairs that may be near.

A packed row y becomes integers q with ``y ~ q * step`` and a step of its own; all candidates share one step.  Integers
add exactly, and the residuals ``|y - q step|`` are measured, not estimated: they are the filter's error bound.

Integers lie as words of 32 bits, of four or two features each: those of rows as ``[tile][word][ROWS]``, those of
candidates as ``[group][word][lanes]``.  With 8 bits a product takes a number without sign: candidates are stored 128
too high, and rows carry what that adds, negated, as their origin.  `kind` is an empty array of int8 or int16.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .integer import _multiply_pairs
from .jit import kernel
from .micro import ROWS, block_rows
from .simd import F32, I32, Loop, fetch_add, int_

UNDERFLOW = 1e-35  # as in filtered.py: more than the product of two steps can lose
WORD = 64  # candidates that share a word of a mask
TILES = 16  # tiles that a lane encodes at a time


def has_byte_products(width: int) -> bool:
    """Whether this CPU multiplies vectors of `width` words of four 8-bit integers in one instruction."""
    have = simd.cpu_features()
    if width == 16:
        return "avx512vnni" in have
    return width == 8 and ("avxvnni" in have or {"avx512vnni", "avx512vl"} <= have)


def has_byte_pairs(width: int) -> bool:
    """Whether it takes this CPU three: products of two pairs are added in 16 bits, which they must not leave."""
    needed = {8: "avx2", 16: "avx512bw"}.get(width)
    return not has_byte_products(width) and needed in simd.cpu_features()


def filters_bytes(width: int) -> bool:
    """Whether codes of 8 bits cost this CPU less than float32."""
    return has_byte_products(width) or has_byte_pairs(width)


def row_top(width: int) -> int:
    """The largest 8-bit integer of a row: candidates' are up to 255."""
    return 64 if has_byte_pairs(width) else 127


def _add_byte_products(b: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """total + the products of four 8-bit integers each, <w x i32>, exactly; signed ones up to row_top."""
    w = total.type.count
    if has_byte_products(w):
        name = f"llvm.x86.avx512.vpdpbusd.{32 * w}"
        return simd.call(b, name, total.type, [total, unsigned, signed])
    if has_byte_pairs(w):
        name = {8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}[w]
        pairs, bytes_ = simd.vector(ir.IntType(16), 2 * w), simd.vector(ir.IntType(8), 4 * w)
        products = simd.call(b, name, pairs, [b.bitcast(unsigned, bytes_), b.bitcast(signed, bytes_)])
        return b.add(total, _multiply_pairs(b, products, simd.const(pairs, 1)))
    for byte in range(4):
        x = b.and_(b.lshr(unsigned, simd.const(total.type, 8 * byte)), simd.const(total.type, 255))
        y = b.ashr(b.shl(signed, simd.const(total.type, 24 - 8 * byte)), simd.const(total.type, 24))
        total = b.add(total, b.mul(x, y))
    return total


@intrinsic
def _encode(typingctx, width, kind, y, padded, top, limit, code, measures):
    """Round a packed row: y (padded,) float32, padded a multiple of 16, zero beyond d IN; code (padded,) `kind` OUT.

    top: the largest integer, limit: the largest norm of integers IN; measures (4,) float32 OUT: step, square of the
    norm and residual, up to float32 rounding, and the sum of the integers.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        py, pc, pm = (simd.data(context, b, signature.args[i], args[i]) for i in (2, 6, 7))
        narrow = simd.vector(ir.IntType(signature.args[1].dtype.bitwidth), w)
        zero, nought, stride = simd.const(vtype, 0.0), int_(0), int_(w)
        with Loop(b, nought, args[3], stride, [zero, zero]) as features:
            v = simd.load(b, simd.at(b, py, features.i), vtype)
            absolute = b.bitcast(b.and_(b.bitcast(v, itype), simd.const(itype, 0x7FFFFFFF)), vtype)
            features.next([simd.fma(b, v, v, features.values[0]), simd.maximum(b, absolute, features.values[1])])
        square = simd.fold(b, features.results[0], lambda b, x, y: b.fadd(x, y))
        largest = simd.fold(b, features.results[1], simd.maximum)
        norm = simd.call(b, "llvm.sqrt.f32", F32, [square])
        step = simd.maximum(b, b.fdiv(largest, args[4]), b.fdiv(norm, args[5]))
        step = simd.maximum(b, step, ir.Constant(F32, 2.0**-100))
        inverse = simd.splat(b, b.fdiv(ir.Constant(F32, 1.0), step), w)
        back = simd.splat(b, b.fsub(ir.Constant(F32, -0.0), step), w)
        with Loop(b, nought, args[3], stride, [zero, simd.const(itype, 0)]) as features:
            v = simd.load(b, simd.at(b, py, features.i), vtype)
            rounded = simd.call(b, f"llvm.rint.{simd.suffix(vtype)}", vtype, [b.fmul(v, inverse)])
            integers = b.fptosi(rounded, itype)
            simd.store(b, b.trunc(integers, narrow), simd.at(b, pc, features.i), 1)
            rest = simd.fma(b, rounded, back, v)
            features.next([simd.fma(b, rest, rest, features.values[0]), b.add(features.values[1], integers)])
        rest = simd.fold(b, features.results[0], lambda b, x, y: b.fadd(x, y))
        total = simd.fold(b, features.results[1], lambda b, x, y: b.add(x, y))
        for i, value in enumerate((step, square, simd.call(b, "llvm.sqrt.f32", F32, [rest]), b.sitofp(total, F32))):
            b.store(value, simd.at(b, pm, i))
        return context.get_dummy_value()

    f4 = types.float32
    return types.void(width, kind, y, types.int64, f4, f4, code, measures), codegen


@kernel(allocates=True)
def encode_lane(
    width, kind, X, counter, scale, shift, error, top, limit, words, steps, halves, lengths, rests, origins
):
    """The codes of rows.

    X (n, d) any dtype, scale, shift (d,): packing; error: as in lloyd.margin, of what is encoded; top, limit: largest
    integer, and largest norm of integers, float32 IN; counter (1,) int64 INOUT; words int32 (tiles * words of a row *
    ROWS,), steps, origins: see the head of the file, halves: half the squared norm, rounded down, lengths, rests: norm
    and residual, rounded up, float32 (tiles * ROWS,) OUT; rows beyond n stay what they were.
    """
    n, d = X.shape
    per = 4 // kind.itemsize
    n_words = (d + per - 1) // per
    padded = (d + 15) // 16 * 16
    of = shift.dtype.type
    y, measures = np.zeros(padded, np.float32), np.empty(4, np.float32)
    code = np.zeros(padded, kind.dtype)
    code_words = code.view(np.int32)
    while True:
        start = fetch_add(counter, TILES * ROWS)
        if start >= n:
            break
        for lo in range(start, min(start + TILES * ROWS, n)):
            i = np.uint64(lo)
            for j in range(np.uint64(d)):
                y[j] = of(X[i, j]) * scale - shift[j]
            _encode(width, kind, y, padded, top, limit, code, measures)
            place = np.uint64(lo // ROWS * n_words * ROWS + lo % ROWS)
            for t in range(np.uint64(n_words)):
                words[place + t * np.uint64(ROWS)] = code_words[t]
            square = np.float64(measures[1])
            length = math.sqrt(square * (1.0 + error[5]) + error[4])
            rest = np.float64(measures[2]) * (1.0 + error[5]) + 2.0**-23 * length + error[3]
            steps[i], halves[i] = measures[0], 0.5 * square * (1.0 - error[5]) * (1.0 - 1e-6)
            lengths[i], rests[i] = length * (1.0 + 1e-6), rest * (1.0 + 1e-6)
            origins[i] = -128 * np.int32(measures[3]) if per == 4 else 0


@intrinsic
def _filter_codes(
    typingctx, width, kind, words, tile, n_words, groups, n_groups, halves, origins, steps, limits, o0, masks, pitch
):
    """Which candidates the ROWS rows of a tile may be near: bits of masks [word of candidates][pitch] int64 at o0 OUT.

    words, origins: as encode_lane leaves them, tile: number of the tile; groups int32 `[group][word][w]`, halves
    float32: halves of squared norms, infinite for padding; steps, limits float32 at o0: what products of integers are
    multiplied by; bit q of a row is set where the value ``q . c - half`` reaches its limit IN.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        in_bytes = signature.args[1].dtype.bitwidth == 8
        vtype, itype, pairs = simd.vector(F32, w), simd.vector(I32, w), simd.vector(ir.IntType(16), 2 * w)
        t = signature.args
        pw, pg, ph, po, ps, pl, pm = (simd.data(context, b, t[i], args[i]) for i in (2, 5, 7, 8, 9, 10, 12))
        n_words_, n = args[4], args[6]
        first_row = b.mul(args[3], int_(ROWS))
        p_tile = simd.at(b, pw, b.mul(first_row, n_words_))
        po, ps, pl = simd.at(b, po, first_row), simd.at(b, ps, args[11]), simd.at(b, pl, args[11])
        group_size = b.mul(n_words_, int_(w))
        p_bits = b.bitcast(simd.at(b, pm, args[11]), ir.IntType(w).as_pointer())
        parts = int_(WORD // w)
        pitch = b.mul(args[13], parts)

        def run(count: int, start: Any, stop: Any) -> None:
            rows = block_rows(w, count)
            with Loop(b, start, stop, int_(count), []) as loop:
                numbers = [b.add(loop.i, int_(g)) for g in range(count)]
                norms = [simd.load(b, simd.at(b, ph, b.mul(number, int_(w))), vtype) for number in numbers]
                below = [b.fsub(simd.const(vtype, -0.0), norm) for norm in norms]
                mine = [simd.at(b, pg, b.mul(number, group_size)) for number in numbers]
                places = [b.add(b.mul(pitch, b.udiv(number, parts)), b.urem(number, parts)) for number in numbers]
                for r0 in range(0, ROWS, rows):
                    begin = []
                    for r in range(rows):
                        origin = simd.splat(b, b.load(simd.at(b, po, r0 + r)), w)
                        begin += [origin if in_bytes else simd.const(itype, 0)] * count
                    with Loop(b, int_(0), n_words_, int_(1), begin) as features:
                        at = b.mul(features.i, int_(w))
                        centers = [simd.load(b, simd.at(b, group, at), itype) for group in mine]
                        here = simd.at(b, p_tile, b.add(b.mul(features.i, int_(ROWS)), int_(r0)))
                        acc = list(features.values)
                        for r in range(rows):
                            row = simd.splat(b, b.load(simd.at(b, here, r)), w)
                            for g, center in enumerate(centers):
                                e = r * count + g
                                if in_bytes:
                                    acc[e] = _add_byte_products(b, acc[e], center, row)
                                else:
                                    product = _multiply_pairs(b, b.bitcast(center, pairs), b.bitcast(row, pairs))
                                    acc[e] = b.add(acc[e], product)
                        features.next(acc)
                    for r in range(rows):
                        step = simd.splat(b, b.load(simd.at(b, ps, r0 + r)), w)
                        limit = simd.splat(b, b.load(simd.at(b, pl, r0 + r)), w)
                        for g in range(count):
                            value = simd.fma(b, b.sitofp(features.results[r * count + g], vtype), step, below[g])
                            bits = b.bitcast(b.fcmp_ordered(">=", value, limit), ir.IntType(w))
                            store = b.store(bits, simd.at(b, p_bits, b.add(places[g], int_((r0 + r) * (WORD // w)))))
                            store.align = w // 8
                loop.next([])

        even = b.and_(n, int_(-2))
        run(2, int_(0), even)
        run(1, even, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(
        width, kind, words, i8, i8, groups, i8, halves, origins, steps, limits, i8, masks, i8
    ), codegen  # fmt: skip


@kernel
def filter_rows(
    width, kind, start, stop, words, n_words, groups, n_groups, candidate_halves, unit, steps, halves, lengths, rests,
    origins, nearest_sq, scale_sq, error, length_error, residual, largest, products, limits, masks, n_masks, some,
    visited,
):  # fmt: skip
    """The rows start..stop that may come nearer to a candidate; returns how many there are.

    start: a multiple of ROWS; words ... origins: codes of rows and candidates, residual, largest: largest residual and
    norm of a candidate; nearest_sq (n,) float64, scale_sq (2,): the scale of what is encoded, twice; error: as in
    lloyd.margin, of what is encoded; length_error: how far it may be from where it should be, in lengths IN;
    products, limits (rows,) float32, some (rows,) int64 scratch; masks (n_masks * len(some),) int64: bits of each row,
    visited (rows,) int64: numbers from `start` OUT.
    """
    rows = stop - start
    of = np.float32
    floor, root_error, far = of(error[2]), of(length_error * 1.001), of(np.inf)
    # products and what rounding took, by length and by residual of a row; and what is the same for all
    by_length = of(1.02 * (error[0] * largest + error[3] + residual))
    by_rest = of(1.02 * (largest + residual))
    always = of(1.02 * (0.5 * error[0] * largest * largest + error[2] + error[3] * largest + UNDERFLOW))
    by_reach, tiny, half, longest = of(1.02 * error[1] + 1e-6), of(2e-6), of(0.5), of(largest * 1.001)
    exact = length_error == 0.0
    for r in range(np.uint64(rows)):
        i = np.uint64(start) + r
        reach = of(nearest_sq[i] * scale_sq[0] * scale_sq[1] * (1.0 + 1e-6))
        within = reach
        if not exact:
            root = np.sqrt(reach + floor) + root_error * (lengths[i] + longest)
            within = root * root * (of(1.0) + tiny)
        limit = halves[i] * (of(1.0) - tiny) - half * within
        limit -= by_length * lengths[i] + by_rest * rests[i] + always + by_reach * reach
        limits[r] = limit if nearest_sq[i] > 0.0 else far
        products[r] = steps[i] * unit
    for r in range(rows, (rows + ROWS - 1) // ROWS * ROWS):
        limits[r] = far
    for t in range((rows + ROWS - 1) // ROWS):
        _filter_codes(
            width, kind, words, start // ROWS + t, n_words, groups, n_groups, candidate_halves, origins, products,
            limits, t * ROWS, masks, len(some),
        )  # fmt: skip
    pitch = np.uint64(len(some))
    for r in range(np.uint64(rows)):
        some[r] = masks[r]
    for u in range(np.uint64(1), np.uint64(n_masks)):
        for r in range(np.uint64(rows)):
            some[r] |= masks[u * pitch + r]
    found = 0
    for r in range(rows):
        visited[found] = r
        found += some[r] != 0
    return found


@intrinsic
def square_apart(typingctx, width, flat, at, y, as_it_is, centers, c0, padded):
    """Sum of squared differences of a packed row and the one at c0, up to rounding: padded a multiple of 16.

    The row is y, or at `at` of flat (float32) where as_it_is is set.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        px, py, pc = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 3, 5))
        py = b.select(args[4], simd.at(b, px, args[2]), py)
        pc = simd.at(b, pc, args[6])
        chains = 4

        def run(count: int, start: Any, stop: Any, before: list[Any]) -> list[Any]:
            with Loop(b, start, stop, int_(count * w), before) as features:
                sums = list(features.values)
                for v in range(count):
                    place = b.add(features.i, int_(v * w))
                    x, c = (simd.load(b, simd.at(b, p, place), vtype) for p in (py, pc))
                    difference = b.fsub(x, c)
                    sums[v] = simd.fma(b, difference, difference, sums[v])
                features.next(sums)
            return list(features.results)

        whole = b.and_(args[7], int_(-chains * w))
        sums = run(chains, int_(0), whole, [simd.const(vtype, 0.0)] * chains)
        sums = run(1, whole, args[7], sums)
        while len(sums) > 1:
            sums = [b.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        return simd.fold(b, sums[0], lambda b, x, y: b.fadd(x, y))

    i8 = types.int64
    return types.float32(width, flat, i8, y, types.boolean, centers, i8, i8), codegen
