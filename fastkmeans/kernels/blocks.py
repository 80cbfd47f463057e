"""What the bounded pass with lanes = centers computes with: rows in any order against blocks of near centers.

Rows lie packed one after the other, ``[row][d rounded up to 16]`` float32, so that a list of numbers picks any of them;
centers in blocks of BLOCK, ``[block][vector][d][lanes]``, and once more like the rows, for distances by differences.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

from . import simd
from .canonical import GROUP
from .jit import kernel
from .micro import CHUNK
from .simd import F32, I32, I64, Loop, int_

BLOCK = 16  # centers of a block: one vector of AVX-512, two of AVX2


@kernel
def padded(d):
    """float32 values of a packed row: a multiple of the widest vector."""
    return (d + 15) // 16 * 16


@kernel
def pack_rows(X, rows, first, count, scale, shift, y):
    """Rows of X by their indices into y ``[row][d rounded up to 16]``, zero beyond d and up to a multiple of 4 rows.

    X (n, d) any dtype, rows int32 of which first.. are taken IN; y float32 OUT.
    """
    d = X.shape[1]
    of = shift.dtype.type
    size = padded(d)
    for r in range((count + 3) // 4 * 4):
        place = np.uint64(r * size)
        if r < count:
            i = np.uint64(rows[first + r])
            for j in range(np.uint64(d)):
                y[place + j] = of(X[i, j]) * scale - shift[j]
            for j in range(np.uint64(d), np.uint64(size)):
                y[place + j] = np.float32(0.0)
        else:
            for j in range(np.uint64(size)):
                y[place + j] = np.float32(0.0)


@kernel
def pack_blocks(
    centers, before, known, order, scale, shift, lanes, blocks, halves, packed, squares, norms, grouped, moved
):  # fmt: skip
    """Pack centers in the order of their groups, and measure how far they moved.

    centers, before (k, d): now and at the pass before, known: whether those before are packed already, so that centers
    which did not move stay as they are, order (k,) int32, scale, shift (d,) float64, lanes: the lane width IN; blocks
    and halves of their squares float32 by place, packed float32, squares (k,) float32 and norms (k,) float64, upper
    bounds, by index, grouped float64: as canonical.group_centers in that order INOUT; moved (k,) float64 OUT.
    What is beyond k or d must be set before: 0, and infinity in halves.
    """
    k, d = centers.shape
    size = padded(d)
    for place in range(k):
        c = np.int64(order[place])
        if known:
            differs = False
            for j in range(d):
                differs |= centers[c, j] != before[c, j]
            if not differs:
                moved[c] = 0.0
                continue
        block = place // lanes * d * lanes + place % lanes
        group = place // GROUP * d * GROUP + place % GROUP
        total, way = 0.0, 0.0
        for j in range(d):
            exact = np.float64(centers[c, j])
            value = np.float32(exact * scale - shift[j])
            blocks[block + j * lanes] = value
            packed[c * size + j] = value
            grouped[group + j * GROUP] = exact
            total += np.float64(value) * np.float64(value)
            step = exact * scale - np.float64(before[c, j]) * scale
            way += step * step
        halves[place] = np.float32(0.5 * total)
        squares[c] = np.float32(total)
        norms[c] = math.sqrt(total) * (1.0 + 1e-6)
        moved[c] = math.sqrt(way) * (1.0 + 1e-9)


@intrinsic
def own_distances(typingctx, width, y, s, size, centers, own, squares, distances):
    """Square norms of the packed rows s..s+4, and squared distances to the centers of numbers own[s..s+4].

    y, centers float32 ``[row][size]``, own int32 IN; squares, distances float32 OUT at s.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        py, pc, pw, ps, pd = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 5, 6, 7))
        rows, others = [], []
        for r in range(4):
            row = b.add(args[2], int_(r))
            label = b.sext(b.load(simd.at(b, pw, row)), I64)
            rows.append(simd.at(b, py, b.mul(row, args[3])))
            others.append(simd.at(b, pc, b.mul(label, args[3])))
        with Loop(b, int_(0), args[3], int_(w), [simd.const(vtype, 0.0)] * 8) as loop:
            sums = list(loop.values)
            for r in range(4):
                value = simd.load(b, simd.at(b, rows[r], loop.i), vtype)
                difference = b.fsub(value, simd.load(b, simd.at(b, others[r], loop.i), vtype))
                sums[r] = simd.fma(b, value, value, sums[r])
                sums[4 + r] = simd.fma(b, difference, difference, sums[4 + r])
            loop.next(sums)
        for pointer, vectors in ((ps, loop.results[:4]), (pd, loop.results[4:])):
            total = simd.fold_rows(b, vectors, lambda b, x, y: b.fadd(x, y))
            if w > 4:
                total = simd.shuffle(b, total, total, [0, 1, 2, 3])
            simd.store(b, total, simd.at(b, pointer, args[2]))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, i8, centers, own, squares, distances), codegen


@register_jitable
def batch_size(lanes):
    """Rows that meet a block at a time: enough sums to keep the multipliers busy; what fills the last batch is lost."""
    return 8 if lanes == 16 else 6 if lanes == 8 else 4


@intrinsic
def meet_block(typingctx, width, y, size, slots, p0, c, block, h, d, best, second, which, o0, values, q0):
    """Best, second best and place of the best in one block of centers, for a batch of rows in any order.

    y ``[slot][size]``, slots int32: the rows are slots[p0..]; c: blocks of centers, ``[vector][d][w]``; h: their halved
    squares; best, second float32, which int32 OUT at o0, and all fast values into values float32 ``[row][BLOCK]`` at
    q0.  They have the bits of the dense pass.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        t = signature.args
        py, psl, pc, ph = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 5, 7))
        pb, p2, pw, pt = (simd.data(context, b, t[i], args[i]) for i in (9, 10, 11, 13))
        pt = simd.at(b, pt, args[14])
        d_ = args[8]
        n_rows, n_vectors = batch_size(w), BLOCK // w
        cells = [(r, g) for r in range(n_rows) for g in range(n_vectors)]
        rows = []
        for r in range(n_rows):
            slot = b.sext(b.load(simd.at(b, psl, b.add(args[4], int_(r)))), I64)
            rows.append(simd.at(b, py, b.mul(slot, args[2])))
        stride = b.mul(d_, int_(w))
        c_block = simd.at(b, pc, b.mul(args[6], b.mul(d_, int_(BLOCK))))
        h_block = simd.at(b, ph, b.mul(args[6], int_(BLOCK)))
        halves = [simd.load(b, simd.at(b, h_block, g * w), vtype) for g in range(n_vectors)]
        minus = [b.fsub(simd.const(vtype, -0.0), half) for half in halves]
        zero = simd.const(vtype, 0.0)

        def chunk(start: Any, stop: Any, begin: list[Any]) -> list[Any]:
            with Loop(b, start, stop, int_(1), begin) as loop:
                at_feature = simd.at(b, c_block, b.mul(loop.i, int_(w)))
                vectors = [
                    simd.load(b, simd.at(b, at_feature, b.mul(stride, int_(g))), vtype) for g in range(n_vectors)
                ]
                acc = list(loop.values)
                for i, (r, g) in enumerate(cells):
                    if g == 0:
                        value = simd.splat(b, b.load(simd.at(b, rows[r], loop.i)), w)
                    acc[i] = simd.fma(b, value, vectors[g], acc[i])
                loop.next(acc)
            return loop.results

        first = b.select(b.icmp_signed("<", d_, int_(CHUNK)), d_, int_(CHUNK))
        sums = chunk(int_(0), first, [minus[g] for _, g in cells])
        for i, value in enumerate(sums):
            simd.store(b, value, simd.at(b, pt, i * w))
        with Loop(b, first, d_, int_(CHUNK), []) as chunks:
            stop = b.add(chunks.i, int_(CHUNK))
            stop = b.select(b.icmp_signed("<", stop, d_), stop, d_)
            for i, value in enumerate(chunk(chunks.i, stop, [zero] * len(cells))):
                slot = simd.at(b, pt, i * w)
                simd.store(b, b.fadd(simd.load(b, slot, vtype), value), slot)
            chunks.next([])

        lane = ir.Constant(itype, [ir.Constant(I32, i) for i in range(w)])
        low, top = simd.const(vtype, float("-inf")), simd.const(itype, 2**31 - 1)
        bests, seconds, indices = [], [], []
        for r in range(n_rows):
            most, next_, index = low, low, lane
            for g in range(n_vectors):
                value = simd.load(b, simd.at(b, pt, (r * n_vectors + g) * w), vtype)
                better = b.fcmp_ordered(">", value, most)
                next_ = simd.maximum(b, next_, simd.minimum(b, value, most))
                index = b.select(better, b.add(lane, simd.const(itype, g * w)), index)
                most = b.select(better, value, most)
            bests.append(most)
            seconds.append(next_)
            indices.append(index)

        def lower(b: Any, x: Any, y: Any) -> Any:
            return b.select(b.icmp_signed("<", x, y), x, y)

        greatest = simd.fold_rows(b, bests, simd.maximum)
        candidates = []
        for r in range(n_rows):
            is_first = b.fcmp_ordered("==", bests[r], simd.shuffle(b, greatest, greatest, [r] * w))
            candidates.append(b.select(is_first, indices[r], top))
        chosen = simd.fold_rows(b, candidates, lower)
        rest = []
        for r in range(n_rows):
            is_chosen = b.icmp_signed("==", indices[r], simd.shuffle(b, chosen, chosen, [r] * w))
            rest.append(b.select(is_chosen, seconds[r], bests[r]))
        runner_up = simd.fold_rows(b, rest, simd.maximum)
        for pointer, values in ((pb, greatest), (p2, runner_up), (pw, chosen)):
            values = simd.shuffle(b, values, values, list(range(n_rows)))
            simd.store(b, values, simd.at(b, pointer, args[12]))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, slots, i8, c, i8, h, i8, best, second, which, i8, values, i8), codegen


@intrinsic
def row_distance(typingctx, width, y, s, size, centers, c):
    """Squared distance of packed row s to center c, both ``[number][size]`` float32, by differences."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        py, pc = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 4))
        row, center = simd.at(b, py, b.mul(args[2], args[3])), simd.at(b, pc, b.mul(args[5], args[3]))
        n_sums = 16 // w
        with Loop(b, int_(0), args[3], int_(16), [simd.const(vtype, 0.0)] * n_sums) as loop:
            sums = list(loop.values)
            for g in range(n_sums):
                place = b.add(loop.i, int_(g * w))
                difference = b.fsub(
                    simd.load(b, simd.at(b, row, place), vtype), simd.load(b, simd.at(b, center, place), vtype)
                )
                sums[g] = simd.fma(b, difference, difference, sums[g])
            loop.next(sums)
        total = loop.results[0]
        for other in loop.results[1:]:
            total = b.fadd(total, other)
        return simd.fold(b, total, lambda b, x, y: b.fadd(x, y))

    i8 = types.int64
    return types.float32(width, y, i8, i8, centers, i8), codegen


@intrinsic
def least_bounds(typingctx, width, rows, q, labels, upper, lower, n_groups, drift, between, stride, n_vectors, out, o0):
    """Of four rows, rows[q..q+4], the least bound that their groups give; into out float32 from o0 on.

    rows, labels int32, upper, lower, drift, between: see test_groups, with n_groups and `stride` values of a row and of
    a center.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        pr, pa, pu, pl, pd, pb, po = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 4, 5, 7, 8, 11))
        lows, fars, uppers = [], [], []
        for r in range(4):
            row = b.sext(b.load(simd.at(b, pr, b.add(args[2], int_(r)))), I64)
            label = b.sext(b.load(simd.at(b, pa, row)), I64)
            lows.append(simd.at(b, pl, b.mul(row, args[6])))
            fars.append(simd.at(b, pb, b.mul(label, args[9])))
            uppers.append(simd.splat(b, b.load(simd.at(b, pu, row)), w))
        with Loop(b, int_(0), args[10], int_(1), [simd.const(vtype, float("inf"))] * 4) as loop:
            place = b.mul(loop.i, int_(w))
            gone = simd.load(b, simd.at(b, pd, place), vtype)
            least = []
            for r in range(4):
                left = b.fsub(simd.load(b, simd.at(b, lows[r], place), vtype), gone)
                around = b.fsub(simd.load(b, simd.at(b, fars[r], place), vtype), uppers[r])
                least.append(simd.minimum(b, simd.maximum(b, left, around), loop.values[r]))
            loop.next(least)
        total = simd.fold_rows(b, loop.results, simd.minimum)
        if w > 4:
            total = simd.shuffle(b, total, total, [0, 1, 2, 3])
        simd.store(b, total, simd.at(b, po, args[12]))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, rows, i8, labels, upper, lower, i8, drift, between, i8, i8, out, i8), codegen


@intrinsic
def test_groups(typingctx, width, lower, l0, drift, between, b0, n_vectors, upper, limit, masks, m0):
    """Which groups a row's bounds do not exclude; returns the least bound of those that are excluded.

    lower float32, the row's bounds from l0 on, drift: what they have lost since, between, from b0 on: lower bounds of
    the distance from the row's own center to the groups; a group is excluded if the greater of the two bounds exceeds
    `limit`.  masks (int64) OUT from m0 on: bit l of word i is set where group i * w + l is not excluded.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        pl, pd, pb, pm = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 4, 9))
        low = simd.at(b, pl, args[2])
        far = simd.at(b, pb, args[5])
        out = simd.at(b, pm, args[10])
        upper_, limit_ = simd.splat(b, args[7], w), simd.splat(b, args[8], w)
        infinite = simd.const(vtype, float("inf"))
        with Loop(b, int_(0), args[6], int_(1), [infinite]) as loop:
            place = b.mul(loop.i, int_(w))
            left = b.fsub(simd.load(b, simd.at(b, low, place), vtype), simd.load(b, simd.at(b, pd, place), vtype))
            around = b.fsub(simd.load(b, simd.at(b, far, place), vtype), upper_)
            bound = simd.maximum(b, left, around)
            stays = b.fcmp_unordered("<=", bound, limit_)
            simd_bits = b.zext(b.bitcast(stays, ir.IntType(w)), I64)
            b.store(simd_bits, simd.at(b, out, loop.i))
            loop.next([simd.minimum(b, b.select(stays, infinite, bound), loop.values[0])])
        return simd.fold(b, loop.results[0], simd.minimum)

    i8, f4 = types.int64, types.float32
    return f4(width, lower, i8, drift, between, i8, i8, f4, f4, masks, i8), codegen


@intrinsic
def block_tops(typingctx, width, values, v0, tops):
    """The largest of every BLOCK values from v0 on, as many as `tops` holds: a multiple of w; float32."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        pv, pt = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 3))
        pv = simd.at(b, pv, args[2])
        count = b.extract_value(context.make_array(signature.args[3])(context, b, args[3]).shape, 0)
        with Loop(b, int_(0), count, int_(w), []) as loop:
            first = simd.at(b, pv, b.mul(loop.i, int_(BLOCK)))
            blocks = []
            for block in range(w):
                top = simd.load(b, simd.at(b, first, block * BLOCK), vtype)
                for v in range(w, BLOCK, w):
                    top = simd.maximum(b, top, simd.load(b, simd.at(b, first, block * BLOCK + v), vtype))
                blocks.append(top)
            simd.store(b, simd.fold_rows(b, blocks, simd.maximum), simd.at(b, pt, loop.i))
            loop.next([])
        return context.get_dummy_value()

    return types.void(width, values, types.int64, tops), codegen


@intrinsic
def bounds_of_tops(typingctx, width, tops, norms, start, factor, product, out):
    """bounds.lower_by_product of every group, from the largest of its fast values; returns the least of them.

    tops, norms (a multiple of w,) float32, start, factor: of the row, product: products[0] IN; out float32 OUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        pt, pn, po = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 2, 6))
        count = b.extract_value(context.make_array(signature.args[1])(context, b, args[1]).shape, 0)
        start, factor = simd.splat(b, args[3], w), simd.splat(b, args[4], w)
        of_squares = simd.splat(b, b.fmul(args[5], ir.Constant(F32, 0.51)), w)
        zero, two, narrower = (simd.const(vtype, value) for value in (0.0, 2.0, 1.0 - 4e-7))
        with Loop(b, int_(0), count, int_(w), [simd.const(vtype, float("inf"))]) as loop:
            norm = simd.load(b, simd.at(b, pn, loop.i), vtype)
            top = simd.load(b, simd.at(b, pt, loop.i), vtype)
            rest = b.fsub(b.fsub(start, b.fmul(factor, norm)), b.fmul(b.fmul(of_squares, norm), norm))
            rest = simd.maximum(b, b.fsub(rest, b.fmul(two, top)), zero)
            root = simd.call(b, f"llvm.sqrt.{simd.suffix(vtype)}", vtype, [rest])
            bound = b.fmul(root, narrower)
            simd.store(b, bound, simd.at(b, po, loop.i))
            loop.next([simd.minimum(b, bound, loop.values[0])])
        return simd.fold(b, loop.results[0], simd.minimum)

    f4 = types.float32
    return f4(width, tops, norms, f4, f4, f4, out), codegen
