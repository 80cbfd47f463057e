"""Early steps of k-means++, when every candidate comes nearer to many rows: gains as float32 sums, with their error.

One visit of the rows takes the seed chosen last into account and adds up, for the next candidates, by how much each
would lower the potential; with few features also for those of the step after, after each of these: the rows are read
from memory half as often.  Rows that the new seed may be nearer to are found by the fast value and decided by the
canonical one.  The gains only rank the candidates: where the bound of their error leaves a doubt, exact sums decide.

Bounds.  Differences of packed values are squared and added in one chain, so a fast squared distance is within
``(d + 4) 2**-24`` of the true one, relatively, where packing is exact; where it rounds, roots are off by `a` at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .candidates import pair_distances
from .canonical import WIDE, WIDE_ROWS
from .gains import NARROW
from .jit import kernel
from .micro import PANEL
from .pack import STRIP, pack_strip, panel_size
from .simd import F32, F64, I32, I64, Loop, fetch_add, lowest_bit

FEW = 24  # features below which lanes run over rows (measured)
BLOCK_VALUES = 4096  # packed values of a block: 16 KiB
VISIT = 1152  # rows a lane takes at a time, or a little more
BLOCK_ROWS = 1026  # and its rows at most: a lane adds up so many numbers before float64 takes over


@intrinsic
def _add_gains(typingctx, width, y, n_rows, d, centers, n_groups, near, own, weights, sums, ahead, step):
    """Add up, over rows, by how much the present distance of each exceeds that to every candidate.

    y: packed rows [row][d]; centers: packed [group][d][w], lane 0 of the first group a seed that `near` does not know
    of yet; near (float32): squared distance of every row to the nearest of the others INOUT; own: its distance to that
    seed OUT; weights (float32) count; sums [group][w] float32 INOUT;
    ahead, step: address to fetch from meanwhile, and bytes per feature of 6 rows.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        zero = simd.const(vtype, 0.0)
        t = signature.args
        py, pc, pn, po, pw, ps = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 6, 7, 8, 9))
        n, d_, n_groups_ = args[2], args[3], args[5]
        ways = 6

        def integer(value: int) -> Any:
            return ir.Constant(I64, value)

        def run(rows: int, start: Any, stop: Any) -> None:
            with Loop(b, start, stop, integer(rows), []) as loop:
                first_row = simd.at(b, py, b.mul(loop.i, d_))
                places = [b.add(loop.i, integer(r)) for r in range(rows)]
                with Loop(b, integer(0), n_groups_, integer(1), []) as groups:
                    group = simd.at(b, pc, b.mul(groups.i, b.mul(d_, integer(w))))
                    # only the first group has anything to fetch; the others ask for one line again and again
                    step = b.select(b.icmp_signed("==", groups.i, integer(0)), args[11], integer(0))
                    following = b.add(args[10], b.mul(b.mul(b.udiv(loop.i, integer(6)), d_), args[11]))
                    starts = [simd.at(b, first_row, b.mul(d_, integer(r))) for r in range(rows)]
                    with Loop(b, integer(0), d_, integer(1), [zero] * rows) as features:
                        simd.prefetch(b, b.add(following, b.mul(features.i, step)))
                        c = simd.load(b, simd.at(b, group, b.mul(features.i, integer(w))), vtype)
                        acc = []
                        for row, s in zip(starts, features.values, strict=True):
                            x = simd.splat(b, b.load(simd.at(b, row, features.i)), w)
                            difference = b.fsub(x, c)
                            acc.append(simd.fma(b, difference, difference, s))
                        features.next(acc)
                    with b.if_then(b.icmp_signed("==", groups.i, integer(0))):
                        for place, s in zip(places, features.results, strict=True):
                            to_seed = b.extract_element(s, ir.Constant(I32, 0))
                            b.store(to_seed, simd.at(b, po, place))
                            at_near = simd.at(b, pn, place)
                            b.store(simd.minimum(b, to_seed, b.load(at_near)), at_near)
                    gained = []
                    for place, s in zip(places, features.results, strict=True):
                        gain = b.fsub(simd.splat(b, b.load(simd.at(b, pn, place)), w), s)
                        weight = simd.splat(b, b.load(simd.at(b, pw, place)), w)
                        gained.append(b.fmul(simd.maximum(b, gain, zero), weight))
                    while len(gained) > 1:
                        gained = [
                            b.fadd(*gained[i : i + 2]) if i + 1 < len(gained) else gained[i]
                            for i in range(0, len(gained), 2)
                        ]
                    at_sums = simd.at(b, ps, b.mul(groups.i, integer(w)))
                    simd.store(b, b.fadd(simd.load(b, at_sums, vtype), gained[0]), at_sums)
                    groups.next([])
                loop.next([])

        whole = b.mul(b.sdiv(n, integer(ways)), integer(ways))
        run(ways, integer(0), whole)
        run(1, whole, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, i8, centers, i8, near, own, weights, sums, i8, i8), codegen


@kernel
def _pack_contiguous(X, lo, hi, scale, tiled_shift, y):
    d = X.shape[1]
    of = tiled_shift.dtype.type
    flat = X.reshape(-1)
    n, period = (hi - lo) * d, tiled_shift.shape[0]
    for q in range(0, n, period):
        start, place = np.uint64(lo * d + q), np.uint64(q)
        for e in range(np.uint64(min(period, n - q))):
            y[place + e] = of(flat[start + e]) * scale - tiled_shift[e]


@kernel
def _pack_strided(X, lo, hi, scale, shift, y):
    d = np.uint64(X.shape[1])
    of = shift.dtype.type
    place = np.uint64(0)
    for i in range(np.uint64(lo), np.uint64(hi)):
        for j in range(d):
            y[place + j] = of(X[i, j]) * scale - shift[j]
        place += d


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


def panel_limits(
    b: Any, w: int, nearest_sq: Any, squares: list[Any], above: Any, least: Any
) -> tuple[list[Any], list[Any]]:
    """Squared distances (float64) of a panel's rows in packed units, and beyond which fast value none is smaller."""
    present, limits = [], []
    for v in range(PANEL):
        value = simd.load(b, simd.at(b, nearest_sq, v * w), simd.vector(F64, w))
        for factor in squares:
            value = b.fmul(value, simd.splat(b, factor, w))
        present.append(b.fptrunc(value, simd.vector(F32, w)))
        limits.append(simd.fma(b, present[v], simd.splat(b, above, w), simd.splat(b, least, w)))
    return present, limits


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
    typingctx, width, panels, p0, d, centers, n_first, n_second, nearest_sq, i0, square0, square1, above, least,
    weights, o0, mins, sums, doubts, ahead, step, seeds, labels, label, exact,
):  # fmt: skip
    """What is left of the potential of the PANEL * w rows of the panel at p0, [d][PANEL * w], for two steps.

    Lanes = rows.  centers: [center][d] packed: two seeds that nearest_sq does not know of, n_first candidates of the
    next step and n_second of the one after it; nearest_sq (float64) of the rows at i0, square0, square1: the packing
    scale, twice; above, least: a seed farther than ``above * nearest_sq + least`` is no nearer; weights (float32) at o0
    IN; mins: room for n_first * PANEL * w; sums [1 + n_first + n_first * n_second][w] float32 INOUT: the potential,
    what each candidate leaves of it, and what each of the second step leaves after each of the first; doubts
    (2 * PANEL,) int64: bits of the rows that each seed may be nearer to OUT; ahead, step: address to fetch from
    meanwhile, and its bytes per feature.  Where `exact` (packed rows are the rows times the scale, no more and no less)
    such rows are decided here: seeds (2 * d,) float64: times the scale, label: number of the first IN; nearest_sq,
    labels (int32) INOUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        wide = simd.vector(F64, w)
        t = signature.args
        pp, pc, pn, pw, pm, ps, pd = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 7, 13, 15, 16, 17))
        seeds_, labels_ = (simd.data(context, b, t[i], args[i]) for i in (20, 21))
        d_, n_first, n_second = args[3], args[5], args[6]
        nought, one, size = ir.Constant(I64, 0), ir.Constant(I64, 1), ir.Constant(I64, PANEL * w)
        panel = simd.at(b, pp, args[2])
        at_near, at_weights = simd.at(b, pn, args[8]), simd.at(b, pw, args[14])

        def distances(centers: list[Any], fetched: tuple[Any, Any] | None = None) -> list[list[Any]]:
            return panel_distances(b, w, panel, d_, centers, fetched)

        def part_ahead(part: int, first: Any) -> tuple[Any, Any]:
            """A third of what follows, so that fetching goes on all the time; later centers ask for one line again."""
            step = b.udiv(args[19], ir.Constant(I64, 3))
            address = b.add(args[18], b.mul(b.mul(d_, step), ir.Constant(I64, part)))
            return address, b.select(b.icmp_signed("==", first, nought), step, nought)

        def add(left: list[Any], number: Any) -> None:
            place = simd.at(b, ps, b.mul(number, ir.Constant(I64, w)))
            total = simd.load(b, place, vtype)
            for value, count in zip(left, counts, strict=True):
                total = simd.fma(b, value, count, total)
            simd.store(b, total, place)

        def center_at(number: Any) -> Any:
            return simd.at(b, pc, b.mul(number, d_))

        def decide(seed: int, v: int) -> None:
            """The canonical values of a vector of rows, times the squared scale, which rounds nothing."""
            center = simd.at(b, seeds_, b.mul(d_, ir.Constant(I64, seed)))
            with Loop(b, nought, d_, one, [simd.const(wide, 0.0)]) as features:
                row = simd.load(b, simd.at(b, panel, b.add(b.mul(features.i, size), ir.Constant(I64, v * w))), vtype)
                c = simd.splat(b, b.load(simd.at(b, center, features.i)), w)
                difference = b.fsub(b.fpext(row, wide), c)
                features.next([b.fadd(features.values[0], b.fmul(difference, difference))])
            value = features.results[0]
            at_value, at_label = simd.at(b, at_near, v * w), simd.at(b, simd.at(b, labels_, args[8]), v * w)
            before = simd.load(b, at_value, wide)
            packed = b.fmul(b.fmul(before, simd.splat(b, args[9], w)), simd.splat(b, args[10], w))
            nearer = b.fcmp_ordered("<", value, packed)
            back = simd.splat(b, b.fdiv(ir.Constant(F64, 1.0), args[9]), w)
            simd.store(b, b.select(nearer, b.fmul(b.fmul(value, back), back), before), at_value)
            old = simd.load(b, at_label, simd.vector(I32, w))
            new = simd.splat(b, b.trunc(b.add(args[22], ir.Constant(I64, seed)), I32), w)
            simd.store(b, b.select(nearer, new, old), at_label)

        exact = b.icmp_signed("!=", args[23], nought)
        counts = [simd.load(b, simd.at(b, at_weights, v * w), vtype) for v in range(PANEL)]
        present, limits = panel_limits(b, w, at_near, list(args[9:11]), args[11], args[12])
        for seed, values in enumerate(distances([center_at(nought), center_at(one)], part_ahead(0, nought))):
            for v, s in enumerate(values):
                bits = b.zext(b.bitcast(b.fcmp_ordered("<=", s, limits[v]), ir.IntType(w)), I64)
                b.store(b.select(exact, nought, bits), simd.at(b, pd, PANEL * seed + v))
                with b.if_then(b.and_(exact, b.icmp_signed("!=", bits, nought))):
                    decide(seed, v)
                present[v] = simd.minimum(b, s, present[v])
        add(present, nought)

        def first_step(numbers: list[Any]) -> None:
            centers = [center_at(b.add(number, ir.Constant(I64, 2))) for number in numbers]
            for number, values in zip(numbers, distances(centers, part_ahead(1, numbers[0])), strict=True):
                at_mins = simd.at(b, pm, b.mul(number, size))
                nearer = [simd.minimum(b, s, present[v]) for v, s in enumerate(values)]
                for v, value in enumerate(nearer):
                    simd.store(b, value, simd.at(b, at_mins, v * w))
                add(nearer, b.add(number, one))

        def second_step(numbers: list[Any]) -> None:
            centers = [center_at(b.add(b.add(number, n_first), ir.Constant(I64, 2))) for number in numbers]
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

    i8, f4, f8 = types.int64, types.float32, types.float64
    return types.void(
        width, panels, i8, i8, centers, i8, i8, nearest_sq, i8, f8, f8, f4, f4, weights, i8, mins, sums, doubts, i8, i8,
        seeds, labels, i8, i8,
    ), codegen  # fmt: skip


def pack_flat(X, lo, hi, scale, tiled_shift, y):
    """Rows lo..hi of X, packed one after the other.

    X (n, d) any dtype, tiled_shift (m * d,) float32 or float64: the shift of every feature, m times over IN,
    y (>= (hi - lo) * d,) float32 OUT.
    """
    _pack_strided(X, lo, hi, scale, tiled_shift, y)


@overload(pack_flat, jit_options={"nogil": True, "error_model": "numpy"})
def _pack_flat(X, lo, hi, scale, tiled_shift, y):
    """Chosen by the layout in the array's type."""
    if X.layout == "C":

        def implementation(X, lo, hi, scale, tiled_shift, y):
            _pack_contiguous(X, lo, hi, scale, tiled_shift, y)
    else:

        def implementation(X, lo, hi, scale, tiled_shift, y):
            _pack_strided(X, lo, hi, scale, tiled_shift, y)

    return implementation


@kernel
def _settle_pairs(X, rows, slots, count, nearest_sq, labels, seeds, label, terms, values):
    """Decide by the canonical value whether rows are nearer to seeds: pairs of a row and a number of a seed.

    The pairs of a row in the order of the seeds, of which the first has the label.
    """
    d = X.shape[1]
    if d < NARROW:
        for p in range(np.uint64(count)):
            i, q = np.uint64(rows[p]), np.uint64(slots[p])
            s = 0.0
            for j in range(np.uint64(d)):
                t = np.float64(X[i, j]) - seeds[q, j]
                s += t * t
            if s < nearest_sq[i]:
                nearest_sq[i], labels[i] = s, np.int32(label + slots[p])
        return
    for p in range(0, count, WIDE_ROWS):
        some = min(WIDE_ROWS, count - p)
        pair_distances(X, rows[p:], slots[p:], some, seeds, terms, values)
        for e in range(some):
            i = rows[p + e]
            if values[e] < nearest_sq[i]:
                nearest_sq[i], labels[i] = values[e], np.int32(label + slots[p + e])


@kernel
def panel_gains_lane(
    width, exact, X, weights, counter, nearest_sq, labels, seeds, label, pack_scale, shift, square0, square1, relative,
    a, floor, weight_unit, centers, n_first, n_second, ahead, step, sums,
):  # fmt: skip
    """Take the seeds chosen last into account, and estimate what candidates of two steps leave of the potential.

    With lanes = rows, for few features.  exact: whether packing rounds nothing, nor do distances of packed rows in
    float64 what those of the rows do not; seeds (1 or 2, d) float64, label: the number of the first; centers
    [2 + n_first + n_second][d] packed: seeds (NaN where there is none), candidates of the next step, candidates of the
    step after it; sums (1 + n_first + n_first * n_second,) float64 INOUT: the potential, what each candidate leaves,
    and what each of the second step leaves after each of the first.  The rest as in fast_gains_lane.
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
    n_sums = sums.shape[0]
    some, totals = np.empty(n_sums * w, np.float32), np.zeros(n_sums * w)
    mins, last_sq = np.empty(n_first * points, np.float32), np.zeros(points)
    doubts = np.empty(2 * PANEL, np.int64)
    pair_rows, slots = np.empty(2 * block, np.int64), np.empty(2 * block, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    above, least = panel_bounds(relative, a, floor)
    packed_seeds = np.zeros(2 * d)
    for e in range(seeds.size):
        packed_seeds[e] = seeds[e // d, e % d] * square0
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
        found = 0
        for i in range(lo, hi, STRIP * points):
            last = min(i + STRIP * points, hi)
            pack_strip(width, X, i, last, pack_scale, shift, rows, panels)
            for t in range((last - i + points - 1) // points):
                at = i + t * points
                following = ahead + (at + STRIP * points) * X.strides[0]
                near, place, whole = nearest_sq, at, exact
                if at + points > n:
                    near, place, whole = last_sq, 0, False
                    for r in range(n - at):
                        last_sq[r] = nearest_sq[at + r]
                _add_panel_gains(
                    width, panels, t * size, d, centers, n_first, n_second, near, place, square0, square1, above, least,
                    counts, at - lo, mins, some, doubts, following, step, packed_seeds, labels, label, whole,
                )  # fmt: skip
                for v in range(2 * PANEL):
                    bits = doubts[v]
                    while bits != 0:
                        pair_rows[found] = at + v % PANEL * w + lowest_bit(bits)
                        slots[found] = v // PANEL
                        found += pair_rows[found] < n
                        bits &= bits - 1
        for e in range(np.uint64(n_sums * w)):
            totals[e] += np.float64(some[e])
        _settle_pairs(X, pair_rows, slots, found, nearest_sq, labels, seeds, label, terms, values)
    for c in range(n_sums):
        for l in range(w):
            sums[c] += totals[c * w + l]


@kernel
def fast_gains_lane(
    width, X, weights, counter, nearest_sq, labels, center, label, pack_scale, shift, square0, square1, relative, a,
    floor, weight_unit, centers, n_groups, ahead, step, gains,
):  # fmt: skip
    """Take the seed chosen last into account, and estimate the gains of candidates.

    X (n, d) any dtype, weights (n,) int64 or (0,), center (1, d) float64: the seed, label: its number; pack_scale,
    shift, square0, square1: how rows are packed, and the scale twice; relative, a, floor: bounds of the fast squared
    distance: relative, of the root, absolute; weight_unit: a power of two to scale weights by; centers: as _add_gains
    wants them, the seed first (NaN where there is none), n_groups; ahead, step: address of X and bytes of 6 rows
    per feature to prefetch, or 0 IN;
    counter (1,) int64, nearest_sq (n,) float64, labels (n,) int32, gains (n_groups * w,) float64 INOUT.
    """
    n, d = X.shape
    w = len(width)
    block = min(BLOCK_ROWS, max(6, BLOCK_VALUES // d // 6 * 6))
    visit = (VISIT + block - 1) // block * block
    y = np.empty(block * d + 16, np.float32)
    near, own = np.empty(block, np.float32), np.empty(block, np.float32)
    limit = np.empty(block, np.float32)
    weighted = weights.shape[0] > 0
    counts = np.ones(block, np.float32)
    sums = np.empty(n_groups * w, np.float32)
    doubtful, slots = np.empty(block + 1, np.int64), np.zeros(block, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    above, off, least = np.float32(1.0 + 2.0 * relative + 1e-6), np.float32(2.1 * a), np.float32(2.0 * a * a + floor)
    while True:
        start = fetch_add(counter, visit)
        if start >= n:
            break
        for lo in range(start, min(start + visit, n), block):
            hi = min(lo + block, n)
            count = np.uint64(hi - lo)
            first = np.uint64(lo)
            pack_flat(X, lo, hi, pack_scale, shift, y)
            for r in range(count):
                near[r] = np.float32(nearest_sq[first + r] * square0 * square1)
                limit[r] = near[r] * above + off * np.sqrt(near[r]) + least
            if weighted:
                for r in range(count):
                    counts[r] = np.float32(np.float64(weights[first + r]) * weight_unit)
            following = ahead + hi * d * (step // 6)
            sums[:] = np.float32(0.0)
            _add_gains(width, y, hi - lo, d, centers, n_groups, near, own, counts, sums, following, step)
            for c in range(n_groups * w):
                gains[c] += np.float64(sums[c])
            found = 0
            for r in range(hi - lo):
                doubtful[found] = lo + r
                found += own[r] <= limit[r]
            _settle_pairs(X, doubtful, slots, found, nearest_sq, labels, center, label, terms, values)
