"""k-means++ on rows of few features, while every candidate comes nearer to many of them: lanes = rows.

A visit adds up what candidates leave of the potential, in float32: those of the next step, and those of the step after
it after each of these, so that rows are read from memory half as often: a product of matrices, with the smaller of two
distances in the place of a product.  Of the seeds chosen since all was settled, a row keeps the float32 distance to the
nearest and which of them that is, or that float32 cannot tell.  Canonical distances are asked for when all is settled,
once a row, rather than once for every seed that comes nearer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .canonical import WIDE, WIDE_ROWS
from .fast_gains import VISIT, settle_pairs
from .jit import kernel
from .micro import PANEL
from .pack import pack_strip, panel_size
from .panel_distances import center_panel, in_turn, panel_bounds, panel_distances, panel_products, several
from .simd import F32, F64, I32, I64, Loop, fetch_add, int_

STRIP, AHEAD = 3, 5  # panels packed at a time, and those between one that is met and one that is fetched (measured)
FEW_SEEDS = 3  # no more than that are settled by what they are away from every row (measured)
TOGETHER = 8  # blocks, at most, that a lane takes at a time: at the end of each it fetches what another works on ...
PARTS = 16  # ... and parts, at least, that every lane takes
KNOWN, DOUBT = 0, 255  # which seed is nearest: one that is settled; or float32 cannot tell
MOST_UNSETTLED = TABLE = 16  # seeds, which count from 1: a feature of theirs all fits into a vector of float32
I8 = ir.IntType(8)


def _part_ahead(b: Any, ahead: Any, d: Any, third: Any, part: Any, asked: Any) -> tuple[Any, Any]:
    """A third of what follows, so that fetching goes on all the time; or one line of it again and again."""
    return b.add(ahead, b.mul(b.mul(d, third), part)), b.select(asked, third, int_(0))


def _meet_candidates(
    b: Any, w: int, n_first: Any, n_second: Any, present: list[Any], left: Any, seconds: Any, pitch: Any,
    distances: Callable[..., list[list[Any]]],
) -> None:  # fmt: skip
    """Fill left [1 + n_first][pitch] but its first row, and seconds [n_second][pitch]: see _panel_nearest.

    present: distances of the panel's rows to the nearest seed; distances(first, numbers, step): to candidates.
    """

    def first_step(numbers: list[Any]) -> None:
        for number, values in zip(numbers, distances(int_(0), numbers, 1), strict=True):
            place = simd.at(b, left, b.mul(b.add(number, int_(1)), pitch))
            for v, value in enumerate(values):
                simd.store(b, simd.minimum(b, value, present[v]), simd.at(b, place, v * w))

    def second_step(numbers: list[Any]) -> None:
        for number, values in zip(numbers, distances(n_first, numbers, 2), strict=True):
            place = simd.at(b, seconds, b.mul(number, pitch))
            for v, value in enumerate(values):
                simd.store(b, value, simd.at(b, place, v * w))

    several(b, w, n_first, first_step)
    several(b, w, n_second, second_step)


@intrinsic
def _panel_nearest(
    typingctx, width, panels, p0, d, centers, n_fresh, n_first, n_second, near, nearest, i0, whole, last_near,
    last_nearest, number, above, least, left, seconds, o0, pitch, ahead, step,
):  # fmt: skip
    """What seeds and candidates are away from the PANEL * w rows of the panel at p0, [d][PANEL * w].

    centers: [center][d] packed: n_fresh seeds that `near` does not know of, n_first candidates of the next step and
    n_second of the one after it; number: of the first seed; above, least: a fast distance above ``above * v + least``
    is of a seed farther away than another one with the value v IN; near (float32), nearest (uint8) of the rows at i0,
    or last_near, last_nearest where the panel is not whole: fast distance to the nearest seed, and which it is INOUT;
    left [1 + n_first][pitch], at o0 of each: the distance to the nearest seed, and to the nearest with each candidate;
    seconds [n_second][pitch]: to those of the second step OUT; ahead, step: address to fetch from meanwhile, and its
    bytes per feature.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, btype = simd.vector(F32, w), simd.vector(I8, w)
        t = signature.args
        pp, pc, pn, po, pln, plo, pl, ps = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 8, 9, 12, 13, 17, 18))
        d_, n_fresh, n_first, n_second = args[3], *args[5:8]
        number, above, least, pitch, ahead, step = *args[14:17], *args[20:23]
        nought, one = int_(0), int_(1)
        panel, pl, ps = simd.at(b, pp, args[2]), simd.at(b, pl, args[19]), simd.at(b, ps, args[19])
        at_near = b.select(args[11], simd.at(b, pn, args[10]), pln)
        at_nearest = b.select(args[11], simd.at(b, po, args[10]), plo)
        part_ahead = functools.partial(_part_ahead, b, ahead, d_, b.udiv(step, int_(3)))

        def is_first(number: Any) -> Any:
            return b.icmp_signed("==", number, nought)

        def distances(numbers: list[Any], fetched: tuple[Any, Any]) -> list[list[Any]]:
            centers = [simd.at(b, pc, b.mul(number, d_)) for number in numbers]
            return panel_distances(b, w, panel, d_, centers, fetched)

        def limit(value: Any) -> Any:
            """Farther than this is a seed that is farther than one with this value."""
            return simd.fma(b, value, simd.splat(b, above, w), simd.splat(b, least, w))

        with b.if_then(b.icmp_signed(">", n_fresh, nought)):
            start = [simd.load(b, simd.at(b, at_near, v * w), vtype) for v in range(PANEL)]
            start += [simd.load(b, simd.at(b, at_nearest, v * w), btype, align=1) for v in range(PANEL)]
            with Loop(b, nought, n_fresh, one, start) as fresh:
                own = simd.splat(b, b.trunc(b.add(number, fresh.i), I8), w)
                after = []
                for v, s in enumerate(distances([fresh.i], part_ahead(nought, is_first(fresh.i)))[0]):
                    here = fresh.values[v]
                    nearer = b.fcmp_ordered(">", here, limit(s))
                    farther = b.fcmp_ordered(">", s, limit(here))
                    other = b.select(farther, fresh.values[PANEL + v], simd.const(btype, DOUBT))
                    after.append((simd.minimum(b, s, here), b.select(nearer, own, other)))
                fresh.next([part[0] for part in after] + [part[1] for part in after])
            for v in range(PANEL):
                simd.store(b, fresh.results[v], simd.at(b, at_near, v * w))
                simd.store(b, fresh.results[PANEL + v], simd.at(b, at_nearest, v * w), align=1)
        present = [simd.load(b, simd.at(b, at_near, v * w), vtype) for v in range(PANEL)]
        for v in range(PANEL):
            simd.store(b, present[v], simd.at(b, pl, v * w))

        def to_candidates(first: Any, numbers: list[Any], part: int) -> list[list[Any]]:
            asked, place = is_first(numbers[0]), int_(part)
            if part == 1:  # the second of them ask for what no fresh seed asks for
                place = b.zext(asked, I64)
                asked = b.icmp_signed("<", numbers[0], int_(2 * len(numbers)))
            return distances([b.add(b.add(n_fresh, first), number) for number in numbers], part_ahead(place, asked))

        _meet_candidates(b, w, n_first, n_second, present, pl, ps, pitch, to_candidates)
        return context.get_dummy_value()

    i8, f4 = types.int64, types.float32
    return types.void(
        width, panels, i8, i8, centers, i8, i8, i8, near, nearest, i8, types.boolean, last_near, last_nearest, i8, f4,
        f4, left, seconds, i8, i8, i8, i8
    ), codegen  # fmt: skip


@intrinsic
def _panel_products(
    typingctx, width, panels, p0, d, origin, products, n_first, n_second, centered, left, seconds, o0, pitch, ahead,
    step,
):  # fmt: skip
    """What _panel_nearest says of candidates, by products, where that was asked for no candidates.

    origin (d,) float32: subtracted from rows; products: of candidates, [center][d + 1], see panel_products, and their
    squared norms less the origin behind; centered [d][PANEL * w]: scratch; left [1 + n_first][pitch]: the distance to
    the nearest seed IN, and to the nearest with each candidate OUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        pp, po, pc, py, pl, ps = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 5, 8, 9, 10))
        d_, n_first, n_second, pitch, ahead = args[3], *args[6:8], *args[12:14]
        nought, one, third = int_(0), int_(1), b.udiv(args[14], int_(3))
        panel, pl, ps = simd.at(b, pp, args[2]), simd.at(b, pl, args[11]), simd.at(b, ps, args[11])

        norms = center_panel(b, w, panel, py, po, d_, (ahead, third))
        present = [simd.load(b, simd.at(b, pl, v * w), vtype) for v in range(PANEL)]

        def to_candidates(first: Any, numbers: list[Any], part: int) -> list[list[Any]]:
            centers = [simd.at(b, pc, b.mul(b.add(first, number), b.add(d_, one))) for number in numbers]
            fetched = _part_ahead(b, ahead, d_, third, int_(part), b.icmp_signed("==", numbers[0], nought))
            return panel_products(b, w, py, norms, d_, centers, fetched)

        _meet_candidates(b, w, n_first, n_second, present, pl, ps, pitch, to_candidates)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(
        width, panels, i8, i8, origin, products, i8, i8, centered, left, seconds, i8, i8, i8, i8
    ), codegen  # fmt: skip


@intrinsic
def _add_lefts(typingctx, width, left, seconds, n_left, n_second, count, pitch, sums):
    """Add up `count` rows of distances: those of left, and the smaller of those of left but the first and of seconds.

    left [n_left][pitch], seconds [n_second][pitch] IN; sums [n_left + (n_left - 1) * n_second][w] float32 INOUT, by
    row number mod w.  As in a product of matrices, sums of several pairs are held in registers meanwhile.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        t = signature.args
        pl, po, ps = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 7))
        n_left, n_second, count, pitch = args[3:7]
        nought, one = int_(0), int_(1)

        def run(rows: list[Any], columns: list[Any], places: list[Any], value: Callable[..., list[Any]]) -> None:
            """Add the values of all pairs of rows and columns, each at its place."""
            at = [simd.at(b, ps, b.mul(place, int_(w))) for place in places]
            with Loop(b, nought, count, int_(w), [simd.load(b, place, vtype) for place in at]) as loop:
                x, y = ([simd.load(b, simd.at(b, p, loop.i), vtype) for p in part] for part in (rows, columns))
                loop.next([b.fadd(total, v) for total, v in zip(loop.values, value(x, y), strict=True)])
            for place, total in zip(at, loop.results, strict=True):
                simd.store(b, total, place)

        def row(base: Any, number: Any) -> Any:
            return simd.at(b, base, b.mul(number, pitch))

        def alone(rows: list[Any]) -> None:
            run([row(pl, number) for number in rows], [], rows, lambda x, y: x)

        def pairs(rows: list[Any]) -> None:
            def columns(numbers: list[Any]) -> None:
                places = [b.add(b.add(n_left, b.mul(r, n_second)), c) for r in rows for c in numbers]
                firsts = [row(pl, b.add(r, one)) for r in rows]
                others = [row(po, c) for c in numbers]
                run(firsts, others, places, lambda x, y: [simd.minimum(b, c, r) for r in x for c in y])

            in_turn(b, (2, 1), n_second, columns)

        in_turn(b, (4, 2, 1), n_left, alone)
        in_turn(b, (4, 2, 1), b.sub(n_left, one), pairs)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, left, seconds, i8, i8, i8, i8, sums), codegen


def _look_up(b: Any, w: int, table: Any, index: Any) -> Any:
    """Values of TABLE float32: in registers, where the CPU can."""
    vtype = simd.vector(F32, w)
    if w == 16 and "avx512f" in simd.cpu_features():
        return simd.call(b, "llvm.x86.avx512.permvar.sf.512", vtype, [simd.load(b, table, vtype), index])
    if w == 8 and "avx2" in simd.cpu_features():
        halves = [simd.load(b, simd.at(b, table, start), vtype) for start in (0, 8)]
        low, high = (simd.call(b, "llvm.x86.avx2.permps", vtype, [half, index]) for half in halves)
        return b.select(b.icmp_unsigned("<", index, simd.const(index.type, 8)), low, high)
    found = ir.Constant(vtype, ir.Undefined)
    for i in range(w):
        lane = ir.Constant(I32, i)
        place = b.and_(b.zext(b.extract_element(index, lane), I64), int_(TABLE - 1))
        found = b.insert_element(found, b.load(simd.at(b, table, place)), lane)
    return found


@intrinsic
def _settle_panel(
    typingctx, width, panels, p0, d, table, nearest, nearest_sq, labels, i0, square0, square1, label
):  # fmt: skip
    """Settle the PANEL * w rows of the panel at p0, [d][PANEL * w], which are the rows times the scale, no more.

    table [d][TABLE] float32: unsettled seeds packed alike, the first of which has the label; square0, square1: the
    scale, twice IN; nearest (uint8) of the rows at i0: as _panel_nearest leaves it, and KNOWN then or still in DOUBT,
    nearest_sq (float64), labels (int32) INOUT.  Returns whether any is in doubt: not 0.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, wide, itype, btype = (simd.vector(element, w) for element in (F32, F64, I32, I8))
        t = signature.args
        pp, ps, po, pn, pl = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 5, 6, 7))
        d_, panel = args[3], simd.at(b, pp, args[2])
        po, pn, pl = (simd.at(b, pointer, args[8]) for pointer in (po, pn, pl))
        left = int_(0)
        for v in range(PANEL):
            number = simd.load(b, simd.at(b, po, v * w), btype, align=1)
            known, unknown = simd.const(btype, KNOWN), simd.const(btype, DOUBT)
            doubt = b.icmp_unsigned("==", number, unknown)
            simd.store(b, b.select(doubt, unknown, known), simd.at(b, po, v * w), align=1)
            left = b.or_(left, b.zext(b.bitcast(doubt, ir.IntType(w)), I64))
            moved = b.and_(b.icmp_unsigned("!=", number, known), b.not_(doubt))
            with b.if_then(b.icmp_unsigned("!=", b.bitcast(moved, ir.IntType(w)), ir.Constant(ir.IntType(w), 0))):
                index = b.sub(b.zext(number, itype), simd.const(itype, 1))
                with Loop(b, int_(0), d_, int_(1), [simd.const(wide, 0.0)]) as features:
                    row = simd.load(b, simd.at(b, panel, b.add(b.mul(features.i, int_(PANEL * w)), int_(v * w))), vtype)
                    c = _look_up(b, w, simd.at(b, ps, b.mul(features.i, int_(TABLE))), index)
                    difference = b.fsub(b.fpext(row, wide), b.fpext(c, wide))
                    features.next([b.fadd(features.values[0], b.fmul(difference, difference))])
                value = features.results[0]
                at_value, at_label = simd.at(b, pn, v * w), simd.at(b, pl, v * w)
                before, old = simd.load(b, at_value, wide), simd.load(b, at_label, itype)
                # times the squared scale, which rounds nothing
                packed = b.fmul(b.fmul(before, simd.splat(b, args[9], w)), simd.splat(b, args[10], w))
                nearer = b.and_(moved, b.fcmp_ordered("<", value, packed))
                back = simd.splat(b, b.fdiv(ir.Constant(F64, 1.0), args[9]), w)
                simd.store(b, b.select(nearer, b.fmul(b.fmul(value, back), back), before), at_value)
                new = b.add(index, simd.splat(b, b.trunc(args[11], I32), w))
                simd.store(b, b.select(nearer, new, old), at_label)
        return left

    i8, f8 = types.int64, types.float64
    return i8(width, panels, i8, i8, table, nearest, nearest_sq, labels, i8, f8, f8, i8), codegen


@intrinsic
def _settle_few(
    typingctx, width, panels, p0, d, table, m, near, nearest, nearest_sq, labels, i0, square0, square1, label, ahead,
    step,
):  # fmt: skip
    """As _settle_panel, for all m unsettled seeds, whatever is in `near` and `nearest`: these are OUT.

    ahead, step: address to fetch from meanwhile, and its bytes per feature.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, wide, itype, btype = (simd.vector(element, w) for element in (F32, F64, I32, I8))
        t = signature.args
        pp, ps, pf, po, pn, pl = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 6, 7, 8, 9))
        d_, m, panel = args[3], args[5], simd.at(b, pp, args[2])
        pf, po, pn, pl = (simd.at(b, pointer, args[10]) for pointer in (pf, po, pn, pl))
        square0, square1 = (simd.splat(b, args[i], w) for i in (11, 12))
        back = simd.splat(b, b.fdiv(ir.Constant(F64, 1.0), args[11]), w)
        nought, one, nobody = int_(0), int_(1), simd.const(itype, -1)
        before = [simd.load(b, simd.at(b, pn, v * w), wide) for v in range(PANEL)]
        # times the squared scale, which rounds nothing
        start = [b.fmul(b.fmul(x, square0), square1) for x in before] + [nobody] * PANEL
        with Loop(b, nought, m, one, start) as seeds:
            seed = simd.at(b, ps, seeds.i)
            fetched = b.select(b.icmp_signed("==", seeds.i, nought), args[15], nought)
            with Loop(b, nought, d_, one, [simd.const(wide, 0.0)] * PANEL) as features:
                simd.prefetch(b, b.add(args[14], b.mul(features.i, fetched)))
                here = simd.at(b, panel, b.mul(features.i, int_(PANEL * w)))
                c = simd.splat(b, b.fpext(b.load(simd.at(b, seed, b.mul(features.i, int_(TABLE)))), F64), w)
                sums = []
                for v, total in enumerate(features.values):
                    difference = b.fsub(b.fpext(simd.load(b, simd.at(b, here, v * w), vtype), wide), c)
                    sums.append(b.fadd(total, b.fmul(difference, difference)))
                features.next(sums)
            number = simd.splat(b, b.trunc(seeds.i, I32), w)
            nearer = [b.fcmp_ordered("<", x, y) for x, y in zip(features.results, seeds.values[:PANEL], strict=True)]
            best = [b.select(*three) for three in zip(nearer, features.results, seeds.values[:PANEL], strict=True)]
            seeds.next(best + [b.select(x, number, y) for x, y in zip(nearer, seeds.values[PANEL:], strict=True)])
        first = simd.splat(b, b.trunc(args[13], I32), w)
        for v in range(PANEL):
            value, number, place = seeds.results[v], seeds.results[PANEL + v], simd.at(b, pl, v * w)
            moved = b.icmp_signed(">=", number, simd.const(itype, 0))
            simd.store(b, b.fptrunc(value, vtype), simd.at(b, pf, v * w))
            simd.store(b, simd.const(btype, KNOWN), simd.at(b, po, v * w), align=1)
            value = b.select(moved, b.fmul(b.fmul(value, back), back), before[v])
            simd.store(b, value, simd.at(b, pn, v * w))
            simd.store(b, b.select(moved, b.add(number, first), simd.load(b, place, itype)), place)
        return context.get_dummy_value()

    i8, f8 = types.int64, types.float64
    return types.void(
        width, panels, i8, i8, table, i8, near, nearest, nearest_sq, labels, i8, f8, f8, i8, i8, i8
    ), codegen  # fmt: skip


@kernel
def _weigh(values, pitch, weights, w0, count):
    """Multiply each row of `values` [rows][pitch] with `count` weights from w0 on."""
    for start in range(0, values.shape[0], pitch):
        for e in range(np.uint64(count)):
            values[np.uint64(start) + e] *= weights[np.uint64(w0) + e]


@kernel(allocates=True)
def panel_gains_lane(
    width, n_lanes, exact, settling, X, weights, counter, near, nearest, number, nearest_sq, labels, seeds, table,
    label, pack_scale, shift, square0, square1, relative, a, floor, weight_unit, centers, n_fresh, n_first, n_second,
    origin, products, ahead, step, sums,
):  # fmt: skip
    """Take the seeds chosen last into account, and estimate what candidates of two steps leave of the potential.

    n_lanes: how many share the rows; X (n, d) any dtype, weights (n,) int64 or (0,); exact: whether packing rounds
    nothing, nor do distances of packed rows in float64 what those of the rows do not; settling: whether all unsettled
    seeds are settled; number: of the first of those chosen last, among them; seeds (m, d) float64: them all, table
    [d][TABLE] float32: packed, label: number of the first; pack_scale, shift, square0, square1: how rows are packed,
    and the scale twice; relative, a, floor: bounds of the fast squared distance: relative, of the root, absolute;
    weight_unit: a power of two to scale weights by; centers [n_fresh + n_first + n_second][d] packed: seeds chosen
    last, candidates of the next step, candidates of the step after it; origin (d,), products [n_first + n_second]
    [d + 1] float32: see _panel_products, or none; ahead, step: address of X and bytes of a panel's rows per feature to
    prefetch, or 0 IN; counter (1,) int64, near (n,) float32, nearest (n,) uint8: fast distance to the nearest seed, and
    which of the unsettled ones that is, nearest_sq (n,) float64, labels (n,) int32: of the settled ones, sums
    (1 + n_first + n_first * n_second,) float64: the potential, what each candidate leaves, and what each of the second
    step leaves after each of the first INOUT.
    """
    n, d = X.shape
    w = len(width)
    points = PANEL * w
    size = panel_size(w, d)
    block = VISIT // points * points
    stretch = max(1, min(TOGETHER, n // (PARTS * n_lanes * block))) * block
    rows = np.zeros(STRIP * points * d + 4, np.float32)
    panels = np.empty(STRIP * size, np.float32)
    weighted = weights.shape[0] > 0
    few = settling and exact and seeds.shape[0] <= FEW_SEEDS
    counts = np.ones(block, np.float32)
    n_sums, m = sums.shape[0], seeds.shape[0]
    some, totals = np.empty(n_sums * w, np.float32), np.zeros(n_sums * w)
    pitch = STRIP * points
    left, seconds = np.empty((1 + n_first) * pitch, np.float32), np.empty(n_second * pitch, np.float32)
    by_products = products.shape[0] > 0
    centered = np.empty(size if by_products else 0, np.float32)
    n_met = (0, 0) if by_products else (n_first, n_second)
    last_near, last_nearest = np.zeros(points, np.float32), np.zeros(points, np.uint8)
    pair_rows, slots = np.empty((m + 1) * points, np.int64), np.empty((m + 1) * points, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    above, least = panel_bounds(relative, a, floor)
    above, least = np.float32(above * above * 1.000001), np.float32((above + 1.0) * least * 1.000001)
    while True:
        start = fetch_add(counter, stretch)
        if start >= n:
            break
        for lo in range(start, min(start + stretch, n), block):
            hi = min(lo + block, n)
            first = np.uint64(lo)
            if weighted:
                for r in range(np.uint64(hi - lo)):
                    counts[r] = np.float32(np.float64(weights[first + r]) * weight_unit)
            some[:] = np.float32(0.0)
            for i in range(lo, hi, STRIP * points):
                last = min(i + STRIP * points, hi)
                pack_strip(width, X, i, last, pack_scale, shift, rows, panels)
                for t in range((last - i + points - 1) // points):
                    at = i + t * points
                    following = ahead + (at + AHEAD * points) * X.strides[0]
                    whole = at + points <= n
                    if few and whole:
                        _settle_few(
                            width, panels, t * size, d, table, m, near, nearest, nearest_sq, labels, at, square0,
                            square1, label, following, step,
                        )  # fmt: skip
                        continue
                    if not whole:
                        for r in range(n - at):
                            last_near[r], last_nearest[r] = near[at + r], nearest[at + r]
                    _panel_nearest(
                        width, panels, t * size, d, centers, n_fresh, n_met[0], n_met[1], near, nearest, at, whole,
                        last_near, last_nearest, number, above, least, left, seconds, t * points, pitch, following,
                        step,
                    )  # fmt: skip
                    if by_products:
                        _panel_products(
                            width, panels, t * size, d, origin, products, n_first, n_second, centered, left, seconds,
                            t * points, pitch, following, step,
                        )  # fmt: skip
                    if not whole:
                        for r in range(n - at):
                            near[at + r], nearest[at + r] = last_near[r], last_nearest[r]
                    if not settling:
                        continue
                    found, doubts = 0, 1
                    if exact and whole:
                        doubts = _settle_panel(
                            width, panels, t * size, d, table, nearest, nearest_sq, labels, at, square0, square1, label
                        )  # fmt: skip
                    for row in range(at, min(at + points, n) if doubts != 0 else at):
                        if nearest[row] == DOUBT:
                            for q in range(m):
                                pair_rows[found], slots[found] = row, q
                                found += 1
                        elif nearest[row] != KNOWN:
                            pair_rows[found], slots[found] = row, np.int64(nearest[row]) - 1
                            found += 1
                        nearest[row] = KNOWN
                    if found > 0:
                        settle_pairs(X, pair_rows, slots, found, nearest_sq, labels, seeds, label, terms, values)
                if settling:
                    continue
                present = (last - i + points - 1) // points * points
                if weighted:
                    _weigh(left, pitch, counts, i - lo, present)
                    _weigh(seconds, pitch, counts, i - lo, present)
                _add_lefts(width, left, seconds, 1 + n_first, n_second, present, pitch, some)
            for e in range(np.uint64(n_sums * w)):
                totals[e] += np.float64(some[e])
    for c in range(n_sums):
        for l in range(w):
            sums[c] += totals[c * w + l]
