"""The bounded pass for few features and few centers: the runner-up by itself, one bound for all the rest (Drake 2012).

A row remembers its runner-up, the center that was second nearest when the row met all centers, and two *gaps*: how
much farther away than its own center the runner-up is at least, and how much farther the nearest of all the others.
They are stored with what such rows had lost when they were written: the ways of the own center and the runner-up, and
those of the own center and the fastest of the others.  So a settled row is looked up and never written.  Where only the
first gap is used up, the row meets two centers; where the second is, it meets all of them.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .blocks import own_distances, pack_rows, padded
from .bounds import (
    EVALUATED,
    READ,
    SCAN,
    SLACK,
    difference_error,
    fetch_rows,
    lower_bound,
    packing_error,
    packing_slip,
    product_error,
    product_margin,
    upper_bound,
)
from .canonical import GROUP, nearest_in_groups
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED, commit
from .micro import CENTERS, PANEL
from .pack import load_row, panel_norms, panel_size, transpose_columns
from .simd import F32, I32, I64, Loop, fetch_add, int_

ROOM = 384  # rows that are gathered before they meet the centers: what they need stays in the second-level cache
MOST = 128  # centers: as many numbers as the lowest bits of a value give way to
KEY_ERROR = MOST * 2.0**-23
NO_CENTER = 2.0**127  # half its square, where there is none
TABLE = 32  # values that one instruction of AVX-512 looks up in
REACH = 4.0  # gaps are kept up to nearly REACH - 1 times the distance to the own center


@kernel
def pack_few(centers, before, scale, shift, tiles, halves, norms, packed, moved):
    """Pack centers by tile and by center, and measure how far they moved.

    centers, before (k, d): now and at the pass before, scale, shift (d,) float64 IN; tiles float32
    ``[tile][d][CENTERS]``, halves: of the squares, and norms, upper bounds, float32 by center, packed float32
    ``[c][d rounded up to 16]``, moved (k,) float64 OUT.  What is beyond k or d must be set before: 0, and NO_CENTER
    in halves.  Returns the largest norm.
    """
    k, d = centers.shape
    size = padded(d)
    largest = 0.0
    for c in range(k):
        at = c // CENTERS * d * CENTERS + c % CENTERS
        total, way = 0.0, 0.0
        for j in range(d):
            exact = np.float64(centers[c, j])
            value = np.float32(exact * scale - shift[j])
            tiles[at + j * CENTERS] = value
            packed[c * size + j] = value
            total += np.float64(value) * np.float64(value)
            step = exact * scale - np.float64(before[c, j]) * scale
            way += step * step
        halves[c] = np.float32(0.5 * total)
        norm = math.sqrt(total) * (1.0 + 1e-6)
        norms[c] = np.float32(norm)
        largest = max(largest, norm)
        moved[c] = math.sqrt(way) * (1.0 + 1e-9)
    return largest


def _look_up(b, table, n_tables, stride, labels, rivals):
    """What the rows' own centers lost, their runners-up, and what the rest did: from tables in registers.

    table ``[2][stride]`` float32, stride = n_tables * TABLE, labels, rivals <16 x i32>.
    """
    vtype, itype = simd.vector(F32, 16), simd.vector(I32, 16)
    name, shift = "llvm.x86.avx512.vpermi2var.ps.512", simd.const(itype, TABLE.bit_length() - 1)
    of_label, of_rival = b.lshr(labels, shift), b.lshr(rivals, shift)
    with Loop(b, int_(0), n_tables, int_(1), [simd.const(vtype, 0.0)] * 3) as tables:
        number = simd.splat(b, b.trunc(tables.i, I32), 16)
        mine, theirs = b.icmp_signed("==", of_label, number), b.icmp_signed("==", of_rival, number)
        start = simd.at(b, table, b.mul(tables.i, int_(TABLE)))
        ways = [simd.load(b, simd.at(b, start, at), vtype) for at in (0, 16)]
        start = simd.at(b, start, stride)
        rest = [simd.load(b, simd.at(b, start, at), vtype) for at in (0, 16)]
        found = [
            b.select(here, simd.call(b, name, vtype, [pair[0], numbers, pair[1]]), before)
            for here, numbers, pair, before in zip(
                (mine, theirs, mine), (labels, rivals, labels), (ways, ways, rest), tables.values, strict=True
            )
        ]
        tables.next(found)
    return tables.results


@intrinsic
def _unsettled(typingctx, width, gaps, rests, rivals, lost, n_tables, labels, lo, pairs, n_pairs, rows, count):
    """Which of the rows lo..lo + w must meet two centers, and which all: appended to `pairs` and to `rows`.

    gaps, rests float32, rivals uint16, labels int32, by row, lost float32 ``[2][n_tables * TABLE]`` IN; pairs, rows
    int32, from n_pairs and count on, with w values to spare OUT.  Returns how many, the second times 2**32.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        t = signature.args
        pg, po, pv, pl, pa, pp, pr = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 3, 4, 6, 8, 10))
        lo = args[7]
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        labels = simd.load(b, simd.at(b, pa, lo), itype)
        rival = simd.load(b, simd.at(b, pv, lo), simd.vector(ir.IntType(16), w), align=2)
        rival = b.zext(rival, itype)
        gap, rest = simd.load(b, simd.at(b, pg, lo), vtype), simd.load(b, simd.at(b, po, lo), vtype)
        stride = b.mul(args[5], int_(TABLE))
        if w == 16 and "avx512f" in simd.cpu_features():
            owns, others, rests = _look_up(b, pl, args[5], stride, labels, rival)
        else:
            owns, others, rests = [simd.const(vtype, 0.0)] * 3
            for i in range(w):
                lane = ir.Constant(I32, i)
                own = simd.at(b, pl, b.zext(b.extract_element(labels, lane), I64))
                other = simd.at(b, pl, b.zext(b.extract_element(rival, lane), I64))
                owns = b.insert_element(owns, b.load(own), lane)
                rests = b.insert_element(rests, b.load(simd.at(b, own, stride)), lane)
                others = b.insert_element(others, b.load(other), lane)
        near = b.fcmp_unordered("<=", gap, b.fadd(owns, others))
        all_ = b.fcmp_unordered("<=", rest, rests)
        found = simd.append(b, simd.at(b, pp, args[9]), lo, b.and_(near, b.not_(all_)))
        return b.or_(found, b.shl(simd.append(b, simd.at(b, pr, args[11]), lo, all_), int_(32)))

    i8 = types.int64
    return i8(width, gaps, rests, rivals, lost, i8, labels, i8, pairs, i8, rows, i8), codegen


@intrinsic
def best_three(typingctx, width, panels, p0, c, h, d, n_tiles, v1, v2, v3, i1, i2, o0):
    """The three largest fast values, and the numbers of the first two centers, for the PANEL * w points of one panel.

    panels ``[d][PANEL * w]`` at p0, c: tiles ``[n_tiles][d][CENTERS]``, h: halved squared norms, NO_CENTER where there
    is none IN; v1, v2, v3 float32, i1, i2 int32 OUT at o0.  The number of a center takes the place of a value's lowest
    bits, so that one comparison moves both: values are off by KEY_ERROR times themselves at most.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        t = signature.args
        pp, pc, ph = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 4))
        outs = [simd.data(context, b, t[i], args[i]) for i in (7, 8, 9, 10, 11)]
        d_, n = args[5], args[6]
        low, none = simd.const(vtype, -NO_CENTER), simd.const(itype, 0)
        kept, number_bits = simd.const(itype, -MOST), simd.const(itype, MOST - 1)
        with Loop(b, int_(0), int_(PANEL * w), int_(w), []) as vectors:
            points = simd.at(b, pp, b.add(args[2], vectors.i))
            with Loop(b, int_(0), n, int_(1), [low, low, low, none]) as tiles:
                c_tile = simd.at(b, pc, b.mul(tiles.i, b.mul(d_, int_(CENTERS))))
                h_tile = simd.at(b, ph, b.mul(tiles.i, int_(CENTERS)))
                begin = [
                    simd.splat(b, b.fsub(ir.Constant(F32, -0.0), b.load(simd.at(b, h_tile, e))), w)
                    for e in range(CENTERS)
                ]
                with Loop(b, int_(0), d_, int_(1), begin) as features:
                    value = simd.load(b, simd.at(b, points, b.mul(features.i, int_(PANEL * w))), vtype)
                    c_feature = simd.at(b, c_tile, b.mul(features.i, int_(CENTERS)))
                    features.next(
                        [
                            simd.fma(b, simd.splat(b, b.load(simd.at(b, c_feature, e)), w), value, a)
                            for e, a in enumerate(features.values)
                        ]
                    )
                first, second, third, number = tiles.values
                for e, value in enumerate(features.results):
                    this = b.add(number, simd.const(itype, e))
                    value = b.bitcast(b.or_(b.and_(b.bitcast(value, itype), kept), this), vtype)
                    rest, first = simd.minimum(b, value, first), simd.maximum(b, value, first)
                    rest, second = simd.minimum(b, rest, second), simd.maximum(b, rest, second)
                    third = simd.maximum(b, rest, third)
                tiles.next([first, second, third, b.add(number, simd.const(itype, CENTERS))])
            out = b.add(args[12], vectors.i)
            values = tiles.results[:3]
            numbers = [b.and_(b.bitcast(value, itype), number_bits) for value in values[:2]]
            far = simd.const(vtype, -0.5 * NO_CENTER)
            values = [b.select(b.fcmp_ordered("<", v, far), simd.const(vtype, float("-inf")), v) for v in values]
            for pointer, value in zip(outs, values + numbers, strict=True):
                simd.store(b, value, simd.at(b, pointer, out))
            vectors.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, panels, i8, c, h, i8, i8, v1, v2, v3, i1, i2, i8), codegen


@kernel
def _margins(n, square, best, norms, winners, largest, products, allowed, cap, apart):
    """What gaps are made of, for n rows: what two fast values must differ by, how far gaps reach, and a part of 4 d^2.

    A center whose norm exceeds |y| + REACH * (the own distance) lies farther away than REACH times that.
    """
    scale_sq, per_length, floor, product = np.float32(1.0) + products[1], products[2], products[3], products[0]
    for r in range(np.uint64(n)):
        allowed[r] = norms[np.uint64(winners[r])]
    for r in range(np.uint64(n)):
        length = np.sqrt(square[r] * np.float32(1.002) + floor)
        whole = square[r] * scale_sq + per_length * length + floor
        norm = allowed[r]
        own_sq = whole - np.float32(2.0) * best[r] + product * (length * norm + np.float32(0.51) * norm * norm)
        own_sq = own_sq + per_length * norm + floor
        own = np.sqrt(own_sq if own_sq > np.float32(0.0) else np.float32(0.0))
        m = length + np.float32(REACH) * own
        inside = m < largest
        cap[r] = np.float32(REACH - 1.1) * own if inside else np.float32(np.inf)
        m = m if inside else largest
        margin = product_margin(whole, length, m, products)
        allowed[r] = margin
        apart[r] = np.float32(4.0) * (whole - best[r] + margin)


@kernel
def _gaps(n, best, other, allowed, cap, apart, floor, gap):
    """Lower bounds of how much farther away the center of this fast value is than the best, and any of lower value."""
    for r in range(np.uint64(n)):
        gain = best[r] - other[r] - allowed[r]
        value = np.float32(2.0) * gain / np.sqrt(apart[r] - np.float32(4.0) * other[r]) * np.float32(1.0 - 4e-6) - floor
        value = value if gain > np.float32(0.0) else np.float32(-np.inf)
        value = np.float32(np.inf) if gain == np.float32(np.inf) else value
        gap[r] = value if value < cap[r] else cap[r]


@kernel
def nearest_of_two(row, grouped, first, next_):
    """Which of two centers, first < next_, is nearer by canonical distance; the first on a tie."""
    d = row.shape[0]
    one, other = 0.0, 0.0
    a, b = (first // GROUP * d) * GROUP + first % GROUP, (next_ // GROUP * d) * GROUP + next_ % GROUP
    for j in range(d):
        t = row[j] - grouped[a + j * GROUP]
        one += t * t
        t = row[j] - grouped[b + j * GROUP]
        other += t * t
    return first if one <= other else next_


@kernel(allocates=True)
def runner_up_lane(
    width, X, weights, counter, spread, pack_scale, shift, tiles, halves, norms, packed, grouped, largest, error, k,
    ahead, stride, lost, kept, gaps, rests, rivals, labels, update, scale,
    sums, cluster_weights, touched, counts,
):  # fmt: skip
    """The bounded pass over every spread-th stretch of rows.

    tiles, halves, norms, packed: as pack_few has them; ahead, stride: address of X and bytes from row to row, to fetch
    from, or 0; lost float32 ``[2][k rounded up to TABLE]``: the center's way, which is what its rows lost to any
    runner-up that stood still, and what they lost to the rest, rounded up, kept ``[center][2]``: rounded down IN;
    gaps, rests (n,) float32, -infinity where nothing is known, rivals (n,) uint16 INOUT.  The rest as in
    lloyd.points_lane.
    """
    n, d = X.shape
    lanes = len(width)
    points = PANEL * lanes
    size = padded(d)
    n_tiles = (k + CENTERS - 1) // CENTERS
    room = (ROOM + points - 1) // points * points
    n_tables = lost.shape[1] // TABLE
    rows, pairs = np.empty(ROOM + SCAN + lanes, np.int32), np.empty(ROOM + SCAN + lanes, np.int32)
    y = np.zeros((room + 4) * size, np.float32)
    panel = np.zeros(panel_size(lanes, d), np.float32)
    squares, best, second, third = (
        np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    )  # fmt: skip
    which, rival = np.empty(room, np.int32), np.empty(room, np.int32)
    allowed, cap, apart = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    near, far = np.empty(room, np.float32), np.empty(room, np.float32)
    row, padded_row, one = np.empty(d), np.zeros((d + 7) // 8 * 8), np.empty(1, np.int32)
    marked = np.arange((k + GROUP - 1) // GROUP)
    out = np.empty(marked.shape[0] * GROUP)
    exact_products = product_error(1, d, error)
    products = (
        np.float32(exact_products[0] + np.float32(2.03 * KEY_ERROR)), exact_products[1], exact_products[2],
        exact_products[3],
    )  # fmt: skip
    differences = difference_error(size // lanes, error)
    packing = packing_error(largest, error)
    low = np.float32(-np.inf)
    most = np.float32(largest)
    floor = np.float32(2.0 * math.sqrt(error[2]) * (1.0 + 1e-6))
    step = np.float32(1.0 - 4e-7)
    count, n_pairs = 0, 0
    more = True
    while more or count > 0 or n_pairs > 0:
        while more and count < ROOM and n_pairs < ROOM:
            lo = fetch_add(counter, SCAN) * spread
            if lo >= n:
                more = False
                break
            counts[BLOCKS] += 1
            hi = min(lo + SCAN, n)
            whole = lo + (hi - lo) // lanes * lanes
            before, pairs_before = count, n_pairs
            for i in range(lo, whole, lanes):
                found = _unsettled(width, gaps, rests, rivals, lost, n_tables, labels, i, pairs, n_pairs, rows, count)
                n_pairs += found & 0xFFFFFFFF
                count += found >> 32
            fetch_rows(pairs, pairs_before, n_pairs, ahead, stride)
            fetch_rows(rows, before, count, ahead, stride)
            for i in range(np.uint64(whole), np.uint64(hi)):
                a = np.uint64(labels[i])
                if not (rests[i] > lost[1, a]):
                    rows[count] = i
                    count += 1
                elif not (gaps[i] > lost[0, a] + lost[0, np.uint64(rivals[i])]):
                    pairs[n_pairs] = i
                    n_pairs += 1
        # rows that meet two centers
        n_here = min(n_pairs, ROOM) if n_pairs >= ROOM or not more else 0
        n_pairs -= n_here
        if n_here > 0:
            counts[READ] += n_here
            counts[EVALUATED] += 2 * n_here
            pack_rows(X, pairs, n_pairs, n_here, pack_scale, shift, y)
            for r in range(np.uint64(n_here)):
                i = np.uint64(pairs[np.uint64(n_pairs) + r])
                which[r] = labels[i]
                rival[r] = rivals[i]
            for r in range(n_here, (n_here + 3) // 4 * 4):
                which[r], rival[r] = 0, 0
            for r in range(0, n_here, 4):
                own_distances(width, y, r, size, packed, rival, squares, second)
                own_distances(width, y, r, size, packed, which, squares, best)
            for r in range(np.uint64(n_here)):
                slip = packing_slip(squares[r], packing)
                nearer = second[r] if second[r] < best[r] else best[r]
                farther = best[r] if second[r] < best[r] else second[r]
                near[r] = upper_bound(nearer, slip, differences)
                far[r] = lower_bound(farther, slip, differences)
                apart[r] = far[r] * np.float32(1.0 - 4e-6) - near[r] - floor
            for r in range(n_here):
                i = np.int64(pairs[n_pairs + r])
                a, other = which[r], rival[r]
                if second[r] < best[r]:
                    a, other = other, a
                gap = apart[r]
                if not (far[r] > near[r] * np.float32(SLACK)):
                    counts[DECIDED] += 1
                    gap = low
                    load_row(X, i, row)
                    if nearest_of_two(row, grouped, min(a, other), max(a, other)) != a:
                        a, other = other, a
                gap = (gap + (kept[a, 0] + kept[other, 0])) * step if gap > np.float32(0.0) else low
                gaps[i] = gap
                if a != which[r]:
                    # what the rest had lost by now goes over to the new label
                    left = rests[i] - lost[1, which[r]] - max(near[r] - far[r], np.float32(0.0))
                    rests[i] = (left * step + kept[a, 1]) * step if left > np.float32(0.0) else low
                    rivals[i] = other
                    one[0] = a
                    counts[CHANGED] += commit(
                        X, i, 1, one, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
                    )
        # rows that meet all
        n_here = min(count, ROOM) if count >= ROOM or not more else 0
        count -= n_here
        if n_here == 0:
            continue
        counts[READ] += n_here
        counts[EVALUATED] += n_here * k
        pack_rows(X, rows, count, n_here, pack_scale, shift, y)
        for r in range(0, n_here, points):
            for v in range(PANEL):
                for j in range(0, d, 4):
                    transpose_columns(width, y, (r + v * lanes) * size + j, size, panel, (j * PANEL + v) * lanes)
            panel_norms(width, panel, 0, d, squares, r)
            best_three(width, panel, 0, tiles, halves, d, n_tiles, best, second, third, which, rival, r)
        _margins(n_here, squares, best, norms, which, most, products, allowed, cap, apart)
        _gaps(n_here, best, second, allowed, cap, apart, floor, near)
        _gaps(n_here, best, third, allowed, cap, apart, floor, far)
        for r in range(n_here):
            i = np.int64(rows[count + r])
            a = which[r]
            other = rival[r]
            gap, rest = near[r], far[r]
            if not (best[r] - second[r] > allowed[r]):
                counts[DECIDED] += 1
                load_row(X, i, row)
                nearest = np.int32(nearest_in_groups(row, grouped, marked, marked.shape[0], k, out))
                gap = low
                if nearest != a:  # of the others nothing is known then
                    other = a if nearest == other else other
                    a, rest = nearest, low
            gaps[i] = (gap + (kept[a, 0] + kept[other, 0])) * step if gap > np.float32(0.0) else low
            rests[i] = (rest + kept[a, 1]) * step if rest > np.float32(0.0) else low
            rivals[i] = other
            if a != labels[i]:
                one[0] = a
                counts[CHANGED] += commit(
                    X, i, 1, one, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
                )
