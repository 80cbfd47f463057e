"""The register-blocked micro-kernels: y.c - h for a tile of rows against groups of centers, best and second best kept.

For a row y and a center c, both packed (float32, shifted, scaled), the *fast value* is ``v = y.c - h`` with
``h = |c|^2 / 2``: the nearest center has the largest v.  One pair is one chain of FMAs that starts at -h and takes the
features in order, cut every CHUNK features (later pieces start at 0), whatever the orientation, the block shape or the
lane width: the fast values have the same bits in all of them.

Two orientations:

* lanes = centers: rows lie in tiles of ROWS rows, ``[tile][chunk][ROWS][CHUNK]``, so that one pointer and constant
  displacements reach every row; centers in groups of one vector, ``[group][d][lanes]``.
* lanes = points: a panel of PANEL vectors of points, ``[d][PANEL * lanes]``, against centers in tiles of CENTERS,
  ``[tile][d][CENTERS]``.  Best for few features: there is no horizontal step at all.

Intrinsics take arrays and offsets and form pointers in their own code: a raw address as an argument would let Numba
free the array before the call.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .simd import F32, I32, I64, Loop, int_

CHUNK = 64  # features between two cuts of the FMA chain: bounds its rounding error
ROWS = 12  # rows of a tile, lanes = centers
PANEL = 3  # vectors of points in a panel, lanes = points
CENTERS = 8  # centers of a tile, lanes = points


def update(b: Any, v: Any, index: Any, best: Any, second: Any, which: Any) -> tuple[Any, Any, Any]:
    """Lane-wise running best, second best and index of the best, after one more value."""
    better = b.fcmp_ordered(">", v, best)
    second = simd.maximum(b, second, simd.minimum(b, v, best))
    return b.select(better, v, best), second, b.select(better, index, which)


def _rows_by_groups(
    b: Any,
    rows: int,
    norms: list[Any],
    y: Any,
    c: Any,
    d: Any,
    width: int,
    totals: Any,
    ahead: tuple[Any, Any] | None = None,
) -> list[Any]:
    """Fast values of `rows` rows of a tile and the groups of these norms: rows * groups vectors, in registers.

    y points at the first row in the tile's first chunk, c at the first group; totals at scratch for as many vectors.
    ahead: address to prefetch from and bytes per feature.
    """
    vtype = simd.vector(F32, width)
    zero = simd.const(vtype, 0.0)
    groups = len(norms)
    start = [b.fsub(simd.const(vtype, -0.0), norm) for norm in norms] * rows
    stride = b.mul(d, int_(width))
    last = b.sub(b.udiv(b.add(d, int_(CHUNK - 1)), int_(CHUNK)), int_(1))
    cells = [(r, g) for r in range(rows) for g in range(groups)]

    def chunk_dots(y_chunk: Any, c_chunk: Any, count: Any, first: Any) -> list[Any]:
        is_first = b.icmp_signed("==", first, int_(0))
        with Loop(b, int_(0), count, int_(1), [b.select(is_first, value, zero) for value in start]) as loop:
            if ahead is not None:
                simd.prefetch(b, b.add(ahead[0], b.mul(b.add(first, loop.i), ahead[1])))
            at_feature = simd.at(b, c_chunk, b.mul(loop.i, int_(width)))
            vectors = [simd.load(b, simd.at(b, at_feature, b.mul(stride, int_(g))), vtype) for g in range(groups)]
            acc = list(loop.values)
            row_feature = simd.at(b, y_chunk, loop.i)
            for r in range(rows):
                value = simd.splat(b, b.load(simd.at(b, row_feature, r * CHUNK)), width)
                for g in range(groups):
                    acc[r * groups + g] = simd.fma(b, value, vectors[g], acc[r * groups + g])
            loop.next(acc)
        return loop.results

    # all chunks but the last leave their sums in `totals`; the last stays in registers and takes them up
    several = b.icmp_signed(">", last, int_(0))
    with b.if_then(several):
        for i in range(len(cells)):
            simd.store(b, zero, simd.at(b, totals, i * width))
    with Loop(b, int_(0), last, int_(1), []) as chunks:
        sums = chunk_dots(
            simd.at(b, y, b.mul(chunks.i, int_(ROWS * CHUNK))),
            simd.at(b, c, b.mul(chunks.i, int_(CHUNK * width))),
            int_(CHUNK),
            b.mul(chunks.i, int_(CHUNK)),
        )
        for i, value in enumerate(sums):
            slot = simd.at(b, totals, i * width)
            simd.store(b, b.fadd(simd.load(b, slot, vtype), value), slot)
        chunks.next([])
    sums = chunk_dots(
        simd.at(b, y, b.mul(last, int_(ROWS * CHUNK))),
        simd.at(b, c, b.mul(last, int_(CHUNK * width))),
        b.sub(d, b.mul(last, int_(CHUNK))),
        b.mul(last, int_(CHUNK)),
    )
    before = b.block
    carry, done = b.append_basic_block("carry"), b.append_basic_block("done")
    b.cbranch(several, carry, done)
    b.position_at_end(carry)
    carried = [b.fadd(simd.load(b, simd.at(b, totals, i * width), vtype), value) for i, value in enumerate(sums)]
    b.branch(done)
    b.position_at_end(done)
    result = []
    for value, total in zip(sums, carried, strict=True):
        phi = b.phi(vtype)
        phi.add_incoming(value, before)
        phi.add_incoming(total, carry)
        result.append(phi)
    return result


def block_rows(width: int, groups: int = 1) -> int:
    """Rows in registers at a time: 24 accumulators where there are 32 vector registers, 12 where there are 16."""
    return 6 if width == 8 and groups == 2 else ROWS


@intrinsic
def assign_tile(typingctx, width, y, y0, c, c0, h, h0, d, n_groups, first, state, which, s0, totals, ahead, step):
    """Update the running best of the ROWS rows of one tile with `n_groups` groups of centers; the first call starts it.

    width: lanes(w).  y, y0: packed rows and offset of the tile.  c, c0, h, h0: packed groups, halved squared norms.
    first: number of the first group, as it enters `which`; 0 starts afresh.  state (float32): per row best and second
    best, a vector each; which (int32): per row the group of the best; s0: the first row's place in both, in vectors of
    `which`.
    totals: scratch of ROWS * 2 vectors.  ahead, step: address of what the next tile is packed from, and its bytes per
    feature, fetched meanwhile; a step of 0 fetches nothing.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        arrays = signature.args
        py, pc, ph = (simd.data(context, b, arrays[i], args[i]) for i in (1, 3, 5))
        ps, pw, pt = (simd.data(context, b, arrays[i], args[i]) for i in (10, 11, 13))
        y_tile, d_, n, first_ = simd.at(b, py, args[2]), args[7], args[8], args[9]
        stride = b.mul(d_, int_(w))
        with b.if_then(b.icmp_signed("==", first_, int_(0))):
            low, none = simd.const(vtype, float("-inf")), simd.const(itype, 0)
            for r in range(ROWS):
                place = b.mul(b.add(args[12], int_(r)), int_(w))
                p_best = simd.at(b, ps, b.mul(place, int_(2)))
                simd.store(b, low, p_best)
                simd.store(b, low, simd.at(b, p_best, w))
                simd.store(b, none, simd.at(b, pw, place))

        def run(groups: int, start: Any, stop: Any) -> None:
            rows = block_rows(w, groups)
            # the groups' numbers are carried as a vector: LLVM would broadcast a scalar again for every row
            number = simd.splat(b, b.trunc(b.add(first_, start), I32), w)
            with Loop(b, start, stop, int_(groups), [number]) as loop:
                c_group = simd.at(b, simd.at(b, pc, args[4]), b.mul(loop.i, stride))
                h_group = simd.at(b, simd.at(b, ph, args[6]), b.mul(loop.i, int_(w)))
                norms = [simd.load(b, simd.at(b, h_group, g * w), vtype) for g in range(groups)]
                numbers = [b.add(loop.values[0], simd.const(itype, g)) for g in range(groups)]
                for r0 in range(0, ROWS, rows):
                    # only the first groups have anything to fetch; the others ask for one line again and again
                    step = b.select(b.icmp_signed("==", loop.i, int_(0)), args[15], int_(0))
                    y_rows = simd.at(b, y_tile, r0 * CHUNK)
                    values = _rows_by_groups(b, rows, norms, y_rows, c_group, d_, w, pt, (args[14], step))
                    for r in range(rows):
                        place = b.add(args[12], int_(r0 + r))
                        p_best = simd.at(b, ps, b.mul(place, int_(2 * w)))
                        p_second = simd.at(b, p_best, w)
                        p_which = simd.at(b, pw, b.mul(place, int_(w)))
                        best, second = simd.load(b, p_best, vtype), simd.load(b, p_second, vtype)
                        index = simd.load(b, p_which, itype)
                        for g in range(groups):
                            value = values[r * groups + g]
                            best, second, index = update(b, value, numbers[g], best, second, index)
                        simd.store(b, best, p_best)
                        simd.store(b, second, p_second)
                        simd.store(b, index, p_which)
                loop.next([b.add(loop.values[0], simd.const(itype, groups))])

        even = b.and_(n, int_(-2))
        run(2, int_(0), even)
        run(1, even, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, c, i8, h, i8, i8, i8, i8, state, which, i8, totals, i8, i8), codegen


@intrinsic
def tile_values(typingctx, width, y, y0, c, h, d, n_groups, out, o0, totals):
    """Fast values of the ROWS rows of a tile against all groups, into out ``[ROWS][n_groups * w]`` at o0."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        types_ = signature.args
        py, pc, ph, po, pt = (simd.data(context, b, types_[i], args[i]) for i in (1, 3, 4, 7, 9))
        d_, n = args[5], args[6]
        rows = block_rows(w)
        with Loop(b, int_(0), n, int_(1), []) as loop:
            first = b.mul(loop.i, int_(w))
            c_group = simd.at(b, pc, b.mul(first, d_))
            norm = simd.load(b, simd.at(b, ph, first), simd.vector(F32, w))
            for r0 in range(0, ROWS, rows):
                start = simd.at(b, simd.at(b, py, args[2]), r0 * CHUNK)
                for r, value in enumerate(_rows_by_groups(b, rows, [norm], start, c_group, d_, w, pt)):
                    place = b.add(b.mul(b.mul(n, int_(w)), int_(r0 + r)), first)
                    simd.store(b, value, simd.at(b, simd.at(b, po, args[8]), place))
            loop.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, c, h, i8, i8, out, i8, totals), codegen


@intrinsic
def lanes_above(typingctx, width, values, o0, threshold):
    """Bit l is set where values[o0 + l] >= threshold (float32), for the w lanes."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        pointer = simd.at(b, simd.data(context, b, signature.args[1], args[1]), args[2])
        reached = b.fcmp_ordered(">=", simd.load(b, pointer, simd.vector(F32, w)), simd.splat(b, args[3], w))
        return b.zext(b.bitcast(reached, ir.IntType(w)), I64)

    return types.int64(width, values, types.int64, types.float32), codegen


@intrinsic
def finish_tile(typingctx, width, state, which, s0, v1, v2, label, o0):
    """The horizontal step for the ROWS rows of a tile, s0.. in the state: best, second best and index of the best.

    v1, v2 (float32) and label (int32) OUT at o0; state and which as assign_tile leaves them.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        types_ = signature.args
        ps, pw, p1, p2, pl = (simd.data(context, b, types_[i], args[i]) for i in (1, 2, 4, 5, 6))
        lane = ir.Constant(itype, [ir.Constant(I32, i) for i in range(w)])
        top = simd.const(itype, 2**31 - 1)

        def lower(b: Any, x: Any, y: Any) -> Any:
            return b.select(b.icmp_signed("<", x, y), x, y)

        batch = simd.batch_rows(w)
        for r0 in range(0, ROWS, batch):
            best, second, index = [], [], []
            for r in range(r0, r0 + batch):
                place = b.add(args[3], int_(r))
                p_best = simd.at(b, ps, b.mul(place, int_(2 * w)))
                best.append(simd.load(b, p_best, vtype))
                second.append(simd.load(b, simd.at(b, p_best, w), vtype))
                group = simd.load(b, simd.at(b, pw, b.mul(place, int_(w))), itype)
                index.append(b.add(b.mul(group, simd.const(itype, w)), lane))
            first = simd.fold_rows(b, best, simd.maximum)
            candidates = []
            for r in range(batch):
                is_first = b.fcmp_ordered("==", best[r], simd.shuffle(b, first, first, [r] * w))
                candidates.append(b.select(is_first, index[r], top))
            chosen = simd.fold_rows(b, candidates, lower)
            rest = []
            for r in range(batch):
                is_chosen = b.icmp_signed("==", index[r], simd.shuffle(b, chosen, chosen, [r] * w))
                rest.append(b.select(is_chosen, second[r], best[r]))
            runner_up = simd.fold_rows(b, rest, simd.maximum)
            for pointer, values in ((p1, first), (p2, runner_up), (pl, chosen)):
                rows = simd.shuffle(b, values, values, list(range(batch)))
                simd.store(b, rows, simd.at(b, simd.at(b, pointer, args[7]), r0))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, state, which, i8, v1, v2, label, i8), codegen


@intrinsic
def row_values(typingctx, width, y, y0, c, h, d, n_groups, out):
    """Fast values of one row (offset y0 in its tile) against all groups, into out[n_groups * w]."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        types_ = signature.args
        py, pc, ph, po = (simd.data(context, b, types_[i], args[i]) for i in (1, 3, 4, 7))
        d_, n = args[5], args[6]
        stride = b.mul(d_, int_(w))
        zero = simd.const(vtype, 0.0)
        y_row = simd.at(b, py, args[2])
        n_chunks = b.udiv(b.add(d_, int_(CHUNK - 1)), int_(CHUNK))

        def run(groups: int, start: Any, stop: Any) -> None:
            with Loop(b, start, stop, int_(groups), []) as loop:
                c_group = simd.at(b, pc, b.mul(loop.i, stride))
                places = [b.mul(b.add(loop.i, int_(g)), int_(w)) for g in range(groups)]
                norms = [simd.load(b, simd.at(b, ph, place), vtype) for place in places]
                begin = [b.fsub(simd.const(vtype, -0.0), norm) for norm in norms]
                with Loop(b, int_(0), n_chunks, int_(1), [zero] * groups) as chunks:
                    y_chunk = simd.at(b, y_row, b.mul(chunks.i, int_(ROWS * CHUNK)))
                    c_chunk = simd.at(b, c_group, b.mul(chunks.i, int_(CHUNK * w)))
                    left = b.sub(d_, b.mul(chunks.i, int_(CHUNK)))
                    count = b.select(b.icmp_signed("<", left, int_(CHUNK)), left, int_(CHUNK))
                    is_first = b.icmp_signed("==", chunks.i, int_(0))
                    begin_here = [b.select(is_first, value, zero) for value in begin]
                    with Loop(b, int_(0), count, int_(1), begin_here) as features:
                        value = simd.splat(b, b.load(simd.at(b, y_chunk, features.i)), w)
                        at_feature = simd.at(b, c_chunk, b.mul(features.i, int_(w)))
                        acc = [
                            simd.fma(b, value, simd.load(b, simd.at(b, at_feature, b.mul(stride, int_(g))), vtype), a)
                            for g, a in enumerate(features.values)
                        ]
                        features.next(acc)
                    sums = features.results
                    # the first chunk is taken as it is, as in the blocked form: 0 + x would lose the sign of -0
                    chunks.next([b.select(is_first, s, b.fadd(t, s)) for t, s in zip(chunks.values, sums, strict=True)])
                for place, value in zip(places, chunks.results, strict=True):
                    simd.store(b, value, simd.at(b, po, place))
                loop.next([])

        whole = b.and_(n, int_(-4))
        run(4, int_(0), whole)
        run(1, whole, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, c, h, i8, i8, out), codegen
