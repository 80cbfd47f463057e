"""k-means++ on rows of few features, while every candidate comes nearer to many of them: lanes = rows.

A visit adds up what candidates leave of the potential, in float32: those of the next step, and those of the step after
it after each of these, so that rows are read from memory half as often.  Of the seeds chosen since all was settled, a
row keeps the float32 distance to the nearest and which of them that is, or that float32 cannot tell.  Canonical
distances are asked for when all is settled, once a row, rather than once for every seed that comes nearer.
"""

from __future__ import annotations

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
from .simd import F32, F64, I32, I64, Loop, fetch_add, int_

STRIP, AHEAD = 3, 5  # panels packed at a time, and those between one that is met and one that is fetched (measured)
KNOWN, DOUBT = 0, 255  # which seed is nearest: one that is settled; or float32 cannot tell
MOST_UNSETTLED = TABLE = 16  # seeds, which count from 1: a feature of theirs all fits into a vector of float32
I8 = ir.IntType(8)


def panel_distances(
    b: Any, w: int, panel: Any, d: Any, centers: list[Any], fetched: tuple[Any, Any] | None = None
) -> list[list[Any]]:
    """Squared distances of a panel [d][PANEL * w] to some packed centers at once, which share the loads of its rows.

    fetched: address to fetch from meanwhile, and its bytes per feature.
    """
    vtype = simd.vector(F32, w)
    zero, nought, one = simd.const(vtype, 0.0), ir.Constant(I64, 0), ir.Constant(I64, 1)
    with Loop(b, nought, d, one, [zero] * (PANEL * len(centers))) as features:
        if fetched is not None:
            simd.prefetch(b, b.add(fetched[0], b.mul(features.i, fetched[1])))
        here = simd.at(b, panel, b.mul(features.i, ir.Constant(I64, PANEL * w)))
        rows = [simd.load(b, simd.at(b, here, v * w), vtype) for v in range(PANEL)]
        acc = []
        for i, center in enumerate(centers):
            c = simd.splat(b, b.load(simd.at(b, center, features.i)), w)
            for v, row in enumerate(rows):
                difference = b.fsub(row, c)
                acc.append(simd.fma(b, difference, difference, features.values[PANEL * i + v]))
        features.next(acc)
    return [features.results[PANEL * i : PANEL * (i + 1)] for i in range(len(centers))]


def several(b: Any, w: int, count: Any, body: Any) -> None:
    """body(numbers) for the centers 0, 1, ... count: as many at a time as registers hold panels for."""
    start = ir.Constant(I64, 0)
    for together in (4, 2, 1) if w == 16 else (2, 1):
        stop = b.and_(count, ir.Constant(I64, -together))
        with Loop(b, start, stop, ir.Constant(I64, together), []) as loop:
            body([b.add(loop.i, ir.Constant(I64, e)) for e in range(together)])
            loop.next([])
        start = stop


@kernel
def panel_bounds(relative, a, floor):
    """Above and least: where the true value is v, the fast one is at most ``above * v + least``, and vice versa.

    The bound grows by 2.1 a sqrt(v), which is at most relative * v + (2.1 a)^2 / (4 relative).
    """
    return np.float32(1.0 + 3.0 * relative + 1e-6), np.float32(2.0 * a * a + floor + 1.2 * a * a / relative)


@intrinsic
def _add_panel_gains(
    typingctx, width, panels, p0, d, centers, n_first, n_second, near, nearest, i0, whole, last_near, last_nearest,
    number, above, least, weights, o0, mins, sums, ahead, step,
):  # fmt: skip
    """What is left of the potential of the PANEL * w rows of the panel at p0, [d][PANEL * w], for two steps.

    centers: [center][d] packed: two seeds that `near` does not know of, n_first candidates of the next step and
    n_second of the one after it; number: of the first seed; above, least: a fast distance above ``above * v + least``
    is of a seed farther away than another one with the value v; weights (float32) at o0 IN; near (float32), nearest
    (uint8) of the rows at i0, or last_near, last_nearest where the panel is not whole: fast distance to the nearest
    seed, and which it is INOUT; mins: room for n_first * PANEL * w; sums [1 + n_first + n_first * n_second][w] float32
    INOUT: the potential, what each candidate leaves of it, and what each of the second step leaves after each of the
    first; ahead, step: address to fetch from meanwhile, and its bytes per feature.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, btype = simd.vector(F32, w), simd.vector(I8, w)
        t = signature.args
        pp, pc, pn, po, pln, plo, pw, pm, ps = (
            simd.data(context, b, t[i], args[i]) for i in (1, 4, 7, 8, 11, 12, 16, 18, 19)
        )
        d_, n_first, n_second = args[3], args[5], args[6]
        number, above, least, ahead, step = *args[13:16], *args[20:22]
        nought, one, size = int_(0), int_(1), int_(PANEL * w)
        panel = simd.at(b, pp, args[2])
        at_near = b.select(args[10], simd.at(b, pn, args[9]), pln)
        at_nearest = b.select(args[10], simd.at(b, po, args[9]), plo)
        at_weights = simd.at(b, pw, args[17])

        def distances(centers: list[Any], fetched: tuple[Any, Any] | None = None) -> list[list[Any]]:
            return panel_distances(b, w, panel, d_, centers, fetched)

        def part_ahead(part: int, first: Any) -> tuple[Any, Any]:
            """A third of what follows, so that fetching goes on all the time; later centers ask for one line again."""
            third = b.udiv(step, int_(3))
            address = b.add(ahead, b.mul(b.mul(d_, third), int_(part)))
            return address, b.select(b.icmp_signed("==", first, nought), third, nought)

        def add(left: list[Any], number: Any) -> None:
            place = simd.at(b, ps, b.mul(number, int_(w)))
            total = simd.load(b, place, vtype)
            for value, count in zip(left, counts, strict=True):
                total = simd.fma(b, value, count, total)
            simd.store(b, total, place)

        def center_at(number: Any) -> Any:
            return simd.at(b, pc, b.mul(number, d_))

        def limit(value: Any) -> Any:
            """Farther than this is a seed that is farther than one with this value."""
            return simd.fma(b, value, simd.splat(b, above, w), simd.splat(b, least, w))

        counts = [simd.load(b, simd.at(b, at_weights, v * w), vtype) for v in range(PANEL)]
        present = [simd.load(b, simd.at(b, at_near, v * w), vtype) for v in range(PANEL)]
        numbers = [simd.load(b, simd.at(b, at_nearest, v * w), btype, align=1) for v in range(PANEL)]
        for seed, values in enumerate(distances([center_at(nought), center_at(one)], part_ahead(0, nought))):
            own = simd.splat(b, b.trunc(b.add(number, int_(seed)), I8), w)
            for v, s in enumerate(values):
                here = present[v]
                nearer = b.fcmp_ordered(">", here, limit(s))
                farther = b.fcmp_unordered(">", s, limit(here))  # where there is no seed, too
                other = b.select(farther, numbers[v], simd.const(btype, DOUBT))
                numbers[v] = b.select(nearer, own, other)
                present[v] = simd.minimum(b, s, here)
        for v in range(PANEL):
            simd.store(b, present[v], simd.at(b, at_near, v * w))
            simd.store(b, numbers[v], simd.at(b, at_nearest, v * w), align=1)
        add(present, nought)

        def first_step(numbers: list[Any]) -> None:
            centers = [center_at(b.add(number, int_(2))) for number in numbers]
            for number, values in zip(numbers, distances(centers, part_ahead(1, numbers[0])), strict=True):
                at_mins = simd.at(b, pm, b.mul(number, size))
                nearer = [simd.minimum(b, s, present[v]) for v, s in enumerate(values)]
                for v, value in enumerate(nearer):
                    simd.store(b, value, simd.at(b, at_mins, v * w))
                add(nearer, b.add(number, one))

        def second_step(numbers: list[Any]) -> None:
            centers = [center_at(b.add(b.add(number, n_first), int_(2))) for number in numbers]
            found = distances(centers, part_ahead(2, numbers[0]))
            with Loop(b, nought, n_first, one, []) as first:
                at_mins = simd.at(b, pm, b.mul(first.i, size))
                mins = [simd.load(b, simd.at(b, at_mins, v * w), vtype) for v in range(PANEL)]
                row = b.add(b.add(n_first, one), b.mul(first.i, n_second))
                for number, values in zip(numbers, found, strict=True):
                    nearer = [simd.minimum(b, s, m) for m, s in zip(mins, values, strict=True)]
                    add(nearer, b.add(row, number))
                first.next([])

        several(b, w, n_first, first_step)
        several(b, w, n_second, second_step)
        return context.get_dummy_value()

    i8, f4 = types.int64, types.float32
    return types.void(
        width, panels, i8, i8, centers, i8, i8, near, nearest, i8, types.boolean, last_near, last_nearest, i8, f4, f4,
        weights, i8, mins, sums, i8, i8
    ), codegen  # fmt: skip


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
    scale, twice IN; nearest (uint8) of the rows at i0: as _add_panel_gains leaves it, and KNOWN then or still in DOUBT,
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


@kernel(allocates=True)
def panel_gains_lane(
    width, exact, settling, X, weights, counter, near, nearest, number, nearest_sq, labels, seeds, table, label,
    pack_scale, shift, square0, square1, relative, a, floor, weight_unit, centers, n_first, n_second, ahead, step, sums,
):  # fmt: skip
    """Take the seeds chosen last into account, and estimate what candidates of two steps leave of the potential.

    X (n, d) any dtype, weights (n,) int64 or (0,); exact: whether packing rounds nothing, nor do distances of packed
    rows in float64 what those of the rows do not; settling: whether all unsettled seeds are settled; number: of the
    first of those chosen last, among them; seeds (m, d) float64: them all, table [d][TABLE] float32: packed, label:
    number of the first; pack_scale, shift, square0, square1: how rows are packed, and the scale twice; relative, a,
    floor: bounds of the fast squared distance: relative, of the root, absolute; weight_unit: a power of two to scale
    weights by; centers [2 + n_first + n_second][d] packed: seeds chosen last (NaN where there is none), candidates of
    the next step, candidates of the step after it; ahead, step: address of X and bytes of a panel's rows per feature
    to prefetch, or 0 IN;
    counter (1,) int64, near (n,) float32, nearest (n,) uint8: fast distance to the nearest seed, and which of the
    unsettled ones that is, nearest_sq (n,) float64, labels (n,) int32: of the settled ones,
    sums (1 + n_first + n_first * n_second,) float64: the potential, what each candidate leaves, and what each of the
    second step leaves after each of the first INOUT.
    """
    n, d = X.shape
    w = len(width)
    points = PANEL * w
    size = panel_size(w, d)
    block = VISIT // points * points
    rows = np.zeros(STRIP * points * d + 4, np.float32)
    panels = np.empty(STRIP * size, np.float32)
    weighted = weights.shape[0] > 0
    counts = np.ones(block, np.float32)
    n_sums, m = sums.shape[0], seeds.shape[0]
    some, totals = np.empty(n_sums * w, np.float32), np.zeros(n_sums * w)
    mins = np.empty(n_first * points, np.float32)
    last_near, last_nearest = np.zeros(points, np.float32), np.zeros(points, np.uint8)
    pair_rows, slots = np.empty((m + 1) * points, np.int64), np.empty((m + 1) * points, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    above, least = panel_bounds(relative, a, floor)
    above, least = np.float32(above * above * 1.000001), np.float32((above + 1.0) * least * 1.000001)
    while True:
        lo = fetch_add(counter, block)
        if lo >= n:
            break
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
                if not whole:
                    for r in range(n - at):
                        last_near[r], last_nearest[r] = near[at + r], nearest[at + r]
                _add_panel_gains(
                    width, panels, t * size, d, centers, n_first, n_second, near, nearest, at, whole, last_near,
                    last_nearest, number, above, least, counts, at - lo, mins, some, following, step,
                )  # fmt: skip
                if not whole:
                    for r in range(n - at):
                        near[at + r], nearest[at + r] = last_near[r], last_nearest[r]
                if not settling:
                    continue
                found, left = 0, 1
                if exact and whole:
                    left = _settle_panel(
                        width, panels, t * size, d, table, nearest, nearest_sq, labels, at, square0, square1, label
                    )  # fmt: skip
                for row in range(at, min(at + points, n) if left != 0 else at):
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
        for e in range(np.uint64(n_sums * w)):
            totals[e] += np.float64(some[e])
    for c in range(n_sums):
        for l in range(w):
            sums[c] += totals[c * w + l]
