"""Codes: rows rounded to 8 or 16 bits that are kept, and the filter that compares them with candidates.

One instruction multiplies four pairs of 8-bit integers a lane, or two of 16-bit ones, adds them and accumulates: the
filter costs a quarter, or half, of float32 arithmetic.  A CPU without VNNI adds 8-bit products in 16 bits, and what
BLOCK words have added up to in 32: it takes nine instructions for sixteen pairs.  The filter decides nothing: it leaves
the pairs that may be near.

A packed row y becomes integers q with ``y ~ q * step``; the rows of a tile share a step, and so do all candidates.
Integers add exactly, and what a product must reach is made an integer too: of a pair there is left its sum's sign.  The
residuals ``|y - q step|`` are measured, not estimated: they are the filter's error bound.

Integers lie as words of 32 bits, of four or two features each: those of rows as ``[tile][word][ROWS]``, those of
candidates as ``[group][word][lanes]``.  With 8 bits a product takes a number without sign: candidates are stored 128
too high, and rows carry what that adds, negated, as their origin.  `kind` is an empty array of int8 or int16.
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
from .integer import _multiply_pairs, has_vnni
from .jit import kernel
from .micro import ROWS, block_rows
from .simd import F32, I32, Loop, fetch_add, int_

UNDERFLOW = 1e-35  # as in filtered.py: more than the product of two steps can lose
WORD = 64  # candidates that share a word of a mask
TILES = 16  # tiles that a lane encodes at a time
BLOCK = 4  # words whose products a CPU without VNNI adds in 16 bits
LARGEST = 2.0**14  # norm of the integers of a row or a candidate: sums of products stay below its square
# What a sum must reach is the sum of two parts, which are cut here, and what no sum reaches.  A part that is cut leaves
# more pairs: with the lowest limit all of them are left, with the highest none is, and all sums stay within 32 bits.
MOST_HALF, MOST_LIMIT, NEVER = LARGEST**2, 2.0 * LARGEST**2, 2**30
MOST = 128  # what a row's integers of one sign add up to in such a sum, at most: 255 times that stays within 16 bits


def has_byte_pairs(width: int) -> bool:
    """Whether it adds the products of two pairs in 16 bits, which they must not leave, in one instruction."""
    needed = {8: "avx2", 16: "avx512bw"}.get(width)
    return not has_vnni(width) and needed in simd.cpu_features()


def filters_bytes(width: int) -> bool:
    """Whether codes of 8 bits cost this CPU less than float32."""
    return has_vnni(width) or has_byte_pairs(width)


def _add_byte_products(b: Any, totals: list[Any], unsigned: list[list[Any]], signed: list[list[Any]]) -> list[Any]:
    """totals + the products of words of four 8-bit integers, ``[word][e]``, exactly; at most BLOCK words."""
    w = totals[0].type.count
    itype, pairs, bytes_ = simd.vector(I32, w), simd.vector(ir.IntType(16), 2 * w), simd.vector(ir.IntType(8), 4 * w)
    if has_byte_pairs(w):
        name = {8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}[w]
        sums: list[Any] = []
        for word in zip(unsigned, signed, strict=True):
            found = [
                simd.call(b, name, pairs, [b.bitcast(x, bytes_) for x in both]) for both in zip(*word, strict=True)
            ]
            sums = [b.add(x, y) for x, y in zip(sums, found, strict=True)] if sums else found
        ones = simd.const(pairs, 1)
        return [b.add(total, _multiply_pairs(b, x, ones)) for total, x in zip(totals, sums, strict=True)]
    for word in zip(unsigned, signed, strict=True):
        for e, (x, y) in enumerate(zip(*word, strict=True)):
            if has_vnni(w):
                totals[e] = simd.call(b, f"llvm.x86.avx512.vpdpbusd.{32 * w}", itype, [totals[e], x, y])
                continue
            for byte in range(4):
                u = b.and_(b.lshr(x, simd.const(itype, 8 * byte)), simd.const(itype, 255))
                v = b.ashr(b.shl(y, simd.const(itype, 24 - 8 * byte)), simd.const(itype, 24))
                totals[e] = b.add(totals[e], b.mul(u, v))
    return totals


def _block_sums(b: Any, values: list[Any]) -> Any:
    """What the 16 features of BLOCK words add up to in the two sums of 16 bits each: in every lane that of its sum."""
    w = values[0].type.count
    total = values[0]
    for value in values[1:]:
        total = b.fadd(total, value)
    for bit in (1, 4, 8):  # features 0, 1, 4, 5, 8, ... make one sum, 2, 3, 6, 7, ... the other
        if bit < w:
            total = b.fadd(total, simd.shuffle(b, total, total, [lane ^ bit for lane in range(w)]))
    return total


@intrinsic
def _measure(typingctx, width, kind, y, y0, padded, measures):
    """What the step of a packed row follows from: y (padded,) float32 at y0, padded a multiple of 16, zero beyond d IN.

    measures (3,) float32 INOUT: the largest magnitude, square of a norm and sum of one sign in a block, of this
    row or of one before; returns the square of the norm, up to float32 rounding.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        py, pm = (simd.data(context, b, signature.args[i], args[i]) for i in (2, 5))
        py, zero = simd.at(b, py, args[3]), simd.const(vtype, 0.0)
        in_blocks = signature.args[1].dtype.bitwidth == 8 and has_byte_pairs(w)
        with Loop(b, int_(0), args[4], int_(16), [zero] * 3) as features:
            square, largest, most = features.values
            values = [simd.load(b, simd.at(b, py, b.add(features.i, int_(at))), vtype) for at in range(0, 16, w)]
            negated = [b.fsub(zero, v) for v in values]
            for v, other in zip(values, negated, strict=True):
                square, largest = simd.fma(b, v, v, square), simd.maximum(b, simd.maximum(b, v, other), largest)
            for signed in (values, negated) if in_blocks else ():
                total = _block_sums(b, [simd.maximum(b, v, zero) for v in signed])
                most = simd.maximum(b, total, most)
            features.next([square, largest, most])
        square = simd.fold(b, features.results[0], lambda b, x, y: b.fadd(x, y))
        largest, most = (simd.fold(b, found, simd.maximum) for found in features.results[1:])
        for i, value in enumerate((largest, square, most)):
            place = simd.at(b, pm, i)
            b.store(simd.maximum(b, value, b.load(place)), place)
        return square

    i8 = types.int64
    return types.float32(width, kind, y, i8, i8, measures), codegen


@intrinsic
def _round(typingctx, width, kind, y, y0, padded, step, inverse, code, residuals, totals, r):
    """Round a packed row: y, y0, padded: as above, step: no less than it needs, and one over it IN.

    code (padded,) `kind`, element r of residuals and totals float32: square of the norm of the residual, up to float32
    rounding, and sum of the integers OUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        py, pc, pr, pt = (simd.data(context, b, signature.args[i], args[i]) for i in (2, 7, 8, 9))
        narrow = simd.vector(ir.IntType(signature.args[1].dtype.bitwidth), w)
        py, inverse = simd.at(b, py, args[3]), simd.splat(b, args[6], w)
        back = simd.splat(b, b.fsub(ir.Constant(F32, -0.0), args[5]), w)
        with Loop(b, int_(0), args[4], int_(w), [simd.const(vtype, 0.0), simd.const(itype, 0)]) as features:
            v = simd.load(b, simd.at(b, py, features.i), vtype)
            rounded = simd.call(b, f"llvm.rint.{simd.suffix(vtype)}", vtype, [b.fmul(v, inverse)])
            integers = b.fptosi(rounded, itype)
            simd.store(b, b.trunc(integers, narrow), simd.at(b, pc, features.i), 1)
            rest = simd.fma(b, rounded, back, v)
            features.next([simd.fma(b, rest, rest, features.values[0]), b.add(features.values[1], integers)])
        rest = simd.fold(b, features.results[0], lambda b, x, y: b.fadd(x, y))
        total = simd.fold(b, features.results[1], lambda b, x, y: b.add(x, y))
        b.store(rest, simd.at(b, pr, args[10]))
        b.store(b.sitofp(total, F32), simd.at(b, pt, args[10]))
        return context.get_dummy_value()

    f4, i8 = types.float32, types.int64
    return types.void(width, kind, y, i8, i8, f4, f4, code, residuals, totals, i8), codegen


@kernel(allocates=True)
def encode_lane(
    width, kind, X, counter, scale, shift, error, top, limit, words, steps, halves, lengths, rests, origins
):
    """The codes of rows.

    X (n, d) any dtype, scale, shift (d,): packing; error: as in lloyd.margin, of what is encoded; top, limit: largest
    integer, and largest norm of integers, float32 IN; counter (1,) int64 INOUT; words int32 (tiles * words of a row *
    ROWS,), steps float32 (tiles,), origins int32: see the head of the file, halves: half the squared norm, rounded
    down, lengths, rests: norm and residual, rounded up, float32 (tiles * ROWS,) OUT; rows beyond n stay what they were.
    """
    n, d = X.shape
    per = 4 // kind.itemsize
    n_words = (d + per - 1) // per
    padded = (d + 15) // 16 * 16
    of = shift.dtype.type
    y, measures = np.zeros(ROWS * padded, np.float32), np.empty(3, np.float32)
    squares, residuals, totals = np.zeros(ROWS, np.float32), np.zeros(ROWS, np.float32), np.zeros(ROWS, np.float32)
    code = np.zeros(padded, kind.dtype)
    code_words = code.view(np.int32)
    least, in_blocks = np.float32(2.0**-100), np.float32(MOST - BLOCK)  # every one of 2 BLOCK may be rounded up by half
    while True:
        start = fetch_add(counter, TILES * ROWS)
        if start >= n:
            break
        for first in range(start, min(start + TILES * ROWS, n), ROWS):
            count = min(ROWS, n - first)
            measures[:] = np.float32(0.0)
            for r in range(count):
                i, at = np.uint64(first + r), np.uint64(r * padded)
                for j in range(np.uint64(d)):
                    y[at + j] = of(X[i, j]) * scale - shift[j]
                squares[r] = _measure(width, kind, y, r * padded, padded, measures)
            step = max(measures[0] / top, np.sqrt(measures[1]) / limit, measures[2] / in_blocks, least)
            steps[first // ROWS] = step
            for r in range(count):
                _round(width, kind, y, r * padded, padded, step, np.float32(1.0) / step, code, residuals, totals, r)
                place = np.uint64(first * n_words + r)
                for t in range(np.uint64(n_words)):
                    words[place + t * np.uint64(ROWS)] = code_words[t]
            for r in range(np.uint64(count)):
                i, square = np.uint64(first) + r, np.float64(squares[r])
                length = np.sqrt(square * (1.0 + error[5]) + error[4])
                rest = np.float64(np.sqrt(residuals[r])) * (1.0 + error[5]) + 2.0**-23 * length + error[3]
                halves[i] = 0.5 * square * (1.0 - error[5]) * (1.0 - 1e-6)
                lengths[i], rests[i] = length * (1.0 + 1e-6), rest * (1.0 + 1e-6)
                origins[i] = -128 * np.int32(totals[r]) if per == 4 else 0


@intrinsic
def _filter_codes(
    typingctx, width, kind, words, tile, n_words, groups, n_groups, halves, inverse, bases, o0, masks, pitch
):
    """Which candidates the ROWS rows of a tile are far from: bits of masks [word of candidates][pitch] int64 at o0 OUT.

    words: as encode_lane leaves them, tile: number of the tile; groups int32 `[group][word][w]`, halves float32: halves
    of squared norms, infinite for padding; inverse, float32: of what products of integers are multiplied by; bases
    int32 at o0: the row's origin less its limit; bit q of a row is set where ``q . c + base - half`` is negative IN.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        in_bytes = signature.args[1].dtype.bitwidth == 8
        paired = in_bytes and has_byte_pairs(w)
        vtype, itype, pairs = simd.vector(F32, w), simd.vector(I32, w), simd.vector(ir.IntType(16), 2 * w)
        t = signature.args
        pw, pg, ph, pb, pm = (simd.data(context, b, t[i], args[i]) for i in (2, 5, 7, 9, 11))
        n_words_, n, o0 = args[4], args[6], args[10]
        inverse = simd.splat(b, b.fmul(args[8], ir.Constant(F32, 1.0 - 1e-6)), w)
        first_row = b.mul(args[3], int_(ROWS))
        p_tile = simd.at(b, pw, b.mul(first_row, n_words_))
        pb = simd.at(b, pb, o0)
        group_size = b.mul(n_words_, int_(w))
        p_bits = b.bitcast(simd.at(b, pm, o0), ir.IntType(w).as_pointer())
        parts = int_(WORD // w)
        pitch = b.mul(args[12], parts)

        def add_words(words: list[Any], sums: Any, mine: list[Any], r0: Any) -> list[Any]:
            """sums ``[row][group]`` and the products of some words of rows from r0 on."""
            sums, count = list(sums), len(mine)
            here = [simd.at(b, p_tile, b.add(b.mul(word, int_(ROWS)), r0)) for word in words]
            centers = [[simd.load(b, simd.at(b, p, b.mul(word, int_(w))), itype) for p in mine] for word in words]
            rows = [[simd.splat(b, b.load(simd.at(b, p, r)), w) for r in range(len(sums) // count)] for p in here]
            rows = [[row for row in word for _ in range(count)] for word in rows]
            centers = [word * (len(sums) // count) for word in centers]
            if in_bytes:
                return _add_byte_products(b, sums, centers, rows)
            for word in zip(centers, rows, strict=True):
                for e, (x, y) in enumerate(zip(*word, strict=True)):
                    sums[e] = b.add(sums[e], _multiply_pairs(b, b.bitcast(x, pairs), b.bitcast(y, pairs)))
            return sums

        def run(count: int, start: Any, stop: Any) -> None:
            rows = block_rows(w, count) // (3 if paired else 1)  # sums of 16 bits are in registers, too (measured)
            with Loop(b, start, stop, int_(count), []) as loop:
                numbers = [b.add(loop.i, int_(g)) for g in range(count)]
                norms = [simd.load(b, simd.at(b, ph, b.mul(number, int_(w))), vtype) for number in numbers]
                below = []
                for norm in norms:
                    half = b.fptosi(simd.minimum(b, b.fmul(norm, inverse), simd.const(vtype, MOST_HALF)), itype)
                    none = b.fcmp_ordered("==", norm, simd.const(vtype, math.inf))
                    below.append(b.select(none, simd.const(itype, NEVER), half))
                mine = [simd.at(b, pg, b.mul(number, group_size)) for number in numbers]
                places = [b.add(b.mul(pitch, b.udiv(number, parts)), b.urem(number, parts)) for number in numbers]
                with Loop(b, int_(0), int_(ROWS), int_(rows), []) as several:
                    begin = []
                    for r in range(rows):
                        base = simd.splat(b, b.load(simd.at(b, simd.at(b, pb, several.i), r)), w)
                        begin += [b.sub(base, half) for half in below]
                    add = functools.partial(add_words, mine=mine, r0=several.i)
                    sums = simd.in_rounds(b, n_words_, BLOCK if paired else 1, begin, add)
                    first = b.mul(several.i, parts)
                    for r in range(rows):
                        for g in range(count):
                            far = b.icmp_signed("<", sums[r * count + g], simd.const(itype, 0))
                            bits = b.bitcast(far, ir.IntType(w))
                            place = b.add(b.add(places[g], first), int_(r * (WORD // w)))
                            b.store(bits, simd.at(b, p_bits, place)).align = w // 8
                    several.next([])
                loop.next([])

        even = b.and_(n, int_(-2))
        run(2, int_(0), even)
        run(1, even, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(
        width, kind, words, i8, i8, groups, i8, halves, types.float32, bases, i8, masks, i8
    ), codegen  # fmt: skip


@kernel
def filter_rows(
    width, kind, start, stop, words, n_words, groups, n_groups, candidate_halves, unit, steps, halves, lengths, rests,
    origins, nearest_sq, scale_sq, error, length_error, residual, largest, inverses, bases, masks, n_masks, some,
    visited,
):  # fmt: skip
    """The rows start..stop that may come nearer to a candidate; returns how many there are.

    start: a multiple of ROWS; words ... origins: codes of rows and candidates, residual, largest: largest residual and
    norm of a candidate; nearest_sq (n,) float64, scale_sq (2,): the scale of what is encoded, twice; error: as in
    lloyd.margin, of what is encoded; length_error: how far it may be from where it should be, in lengths IN;
    inverses float32, bases int32, some int64, (whole tiles of rows,) scratch; masks (n_masks * len(some),) int64: of
    each row bits that are set where a candidate is far, those of no candidate must be, INOUT; visited (rows,) int64:
    numbers from `start` OUT.
    """
    rows = stop - start
    n_tiles, first_tile = (rows + ROWS - 1) // ROWS, start // ROWS
    of = np.float32
    floor, root_error = of(error[2]), of(length_error * 1.001)
    lowest, highest = of(-MOST_LIMIT), of(MOST_LIMIT)
    # products and what rounding took, by length and by residual of a row; and what is the same for all
    by_length = of(1.02 * (error[0] * largest + error[3] + residual))
    by_rest = of(1.02 * (largest + residual))
    always = of(1.02 * (0.5 * error[0] * largest * largest + error[2] + error[3] * largest + UNDERFLOW))
    by_reach, tiny, half, longest = of(1.02 * error[1] + 1e-6), of(2e-6), of(0.5), of(largest * 1.001)
    exact = length_error == 0.0
    for t in range(n_tiles):
        product = steps[first_tile + t] * unit
        inverse = of(1.0) / product if product > of(UNDERFLOW) else of(0.0)
        for r in range(np.uint64(t * ROWS), np.uint64((t + 1) * ROWS)):
            inverses[r] = inverse
    for r in range(np.uint64(rows)):
        i = np.uint64(start) + r
        reach = of(nearest_sq[i] * scale_sq[0] * scale_sq[1] * (1.0 + 1e-6))
        within = reach
        if not exact:
            root = np.sqrt(reach + floor) + root_error * (lengths[i] + longest)
            within = root * root * (of(1.0) + tiny)
        limit = halves[i] * (of(1.0) - tiny) - half * within
        limit -= by_length * lengths[i] + by_rest * rests[i] + always + by_reach * reach
        # rounded down: a smaller one leaves more
        limit *= inverses[r]
        limit = min(max(limit - abs(limit) * of(1e-6) - of(1.0), lowest), highest)
        limit = limit if inverses[r] > of(0.0) else lowest
        limit = limit if nearest_sq[i] > 0.0 else highest
        bases[r] = origins[i] - np.int32(limit)
    for r in range(rows, n_tiles * ROWS):
        bases[r] = origins[start + r] - np.int32(highest)
    for t in range(n_tiles):
        _filter_codes(
            width, kind, words, first_tile + t, n_words, groups, n_groups, candidate_halves, inverses[t * ROWS], bases,
            t * ROWS, masks, len(some),
        )  # fmt: skip
    pitch = np.uint64(len(some))
    for r in range(np.uint64(rows)):
        some[r] = masks[r]
    for u in range(np.uint64(1), np.uint64(n_masks)):
        for r in range(np.uint64(rows)):
            some[r] &= masks[u * pitch + r]
    found = 0
    for r in range(rows):
        visited[found] = r
        found += some[r] != -1
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
