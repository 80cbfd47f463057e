"""The bounded pass with lanes = points, for few features: one lower bound per row, and the neighbors of its center.

Rows that their two bounds do not settle are gathered, their own distance tightened, and what is left is sorted by
label. The rows of one label meet the same short list of centers: those that lie within reach of its farthest row, by
the distances between centers.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .bounds import (
    EVALUATED,
    READ,
    SCAN,
    SLACK,
    difference_error,
    lower_bound,
    moved_bounds,
    packing_error,
    packing_slip,
    upper_bound,
)
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED, commit
from .micro import lanes_above
from .simd import F32, I32, Loop, fetch_add, int_, lowest_bit

ROOM = 4096  # rows that are gathered before they are sorted by label
VECTORS = 2  # vectors of points in a panel
TILE = 4  # centers that a panel meets at a time
REACH = 1.2  # how much farther than needed the listed centers reach: the lower bounds live the longer


@intrinsic
def meet_list(typingctx, width, panel, d, tiles, n_tiles, best, second, which, o0):
    """Least and second least squared distance, and the place of the least in the list, for a panel of points.

    panel float32 ``[d][VECTORS * w]``; tiles float32 ``[n_tiles][d][TILE]``: the centers of the list, infinite beyond
    it; best, second float32, which int32 OUT at o0.  By differences: the error is relative to the distance itself.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        t = signature.args
        pp, pc, pb, p2, pw = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 5, 6, 7))
        d_ = args[2]
        far, zero = simd.const(vtype, float("inf")), simd.const(vtype, 0.0)
        start = [far] * (2 * VECTORS) + [simd.const(itype, 0)] * (VECTORS + 1)
        with Loop(b, int_(0), args[4], int_(1), start) as tiles_:
            c_tile = simd.at(b, pc, b.mul(tiles_.i, b.mul(d_, int_(TILE))))
            with Loop(b, int_(0), d_, int_(1), [zero] * (TILE * VECTORS)) as features:
                here = simd.at(b, pp, b.mul(features.i, int_(VECTORS * w)))
                points = [simd.load(b, simd.at(b, here, v * w), vtype) for v in range(VECTORS)]
                c_feature = simd.at(b, c_tile, b.mul(features.i, int_(TILE)))
                acc = list(features.values)
                for c in range(TILE):
                    value = simd.splat(b, b.load(simd.at(b, c_feature, c)), w)
                    for v in range(VECTORS):
                        difference = b.fsub(points[v], value)
                        acc[c * VECTORS + v] = simd.fma(b, difference, difference, acc[c * VECTORS + v])
                features.next(acc)
            least, next_ = list(tiles_.values[:VECTORS]), list(tiles_.values[VECTORS : 2 * VECTORS])
            index, number = list(tiles_.values[2 * VECTORS : -1]), tiles_.values[-1]
            for c in range(TILE):
                this = b.add(number, simd.const(itype, c))
                for v in range(VECTORS):
                    value = features.results[c * VECTORS + v]
                    better = b.fcmp_ordered("<", value, least[v])
                    next_[v] = simd.minimum(b, next_[v], simd.maximum(b, value, least[v]))
                    index[v] = b.select(better, this, index[v])
                    least[v] = simd.minimum(b, value, least[v])
            tiles_.next([*least, *next_, *index, b.add(number, simd.const(itype, TILE))])
        for v in range(VECTORS):
            out = b.add(args[8], int_(v * w))
            for pointer, value in (
                (pb, tiles_.results[v]),
                (p2, tiles_.results[VECTORS + v]),
                (pw, tiles_.results[2 * VECTORS + v]),
            ):
                simd.store(b, value, simd.at(b, pointer, out))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, panel, i8, tiles, i8, best, second, which, i8), codegen


@kernel
def pack_columns(centers, before, scale, shift, columns, rows, squares, moved):
    """Pack centers by feature and by center, and measure how far they moved.

    centers, before (k, d): now and at the pass before, scale, shift (d,) float64 IN; columns float32 ``[d][k padded]``,
    rows float32 ``[k][d]``, squares (k,) float32, moved (k,) float64 OUT.
    """
    k, d = centers.shape
    padded = columns.shape[0] // d
    for c in range(k):
        total, way = 0.0, 0.0
        for j in range(d):
            exact = np.float64(centers[c, j])
            value = np.float32(exact * scale - shift[j])
            columns[j * padded + c] = value
            rows[c * d + j] = value
            total += np.float64(value) * np.float64(value)
            step = exact * scale - np.float64(before[c, j]) * scale
            way += step * step
        squares[c] = np.float32(total)
        moved[c] = np.sqrt(way) * (1.0 + 1e-9)


@kernel
def neighbors_lane(counter, columns, rows, k, d, slip, error, rise, reach, between, half, fall):
    """Lower bounds of the distance from every center to every other one, and to the nearest.

    counter (1,) int64 INOUT; columns, rows: as pack_columns has them, slip: twice the packing_slip of the
    centers, error (6,) float64: see lloyd.margin, rise, reach (k,) float32: how far a center moved, and a distance from
    it IN; between float32 ``[k][k padded]``, infinite for the center itself and beyond k, half (k,) float32, fall (k,)
    float32: how far any other center within reach moved OUT.
    """
    padded = np.uint64(columns.shape[0] // d)
    differences = difference_error(d, error)
    while True:
        lo = fetch_add(counter, 16)
        if lo >= k:
            break
        for a in range(lo, min(lo + 16, k)):
            start = np.uint64(a) * padded
            for c in range(padded):
                between[start + c] = np.float32(0.0)
            for j in range(np.uint64(d)):
                value = rows[np.uint64(a * d) + j]
                for c in range(padded):
                    difference = columns[j * padded + c] - value
                    between[start + c] += difference * difference
            least = np.float32(np.inf)
            for c in range(padded):
                between[start + c] = lower_bound(between[start + c], slip, differences)
            between[start + np.uint64(a)] = np.inf
            for c in range(np.uint64(k), padded):
                between[start + c] = np.inf
            for c in range(padded):
                least = min(least, between[start + c])
            half[a] = least
            most, far = np.float32(0.0), reach[a]
            for c in range(np.uint64(k)):
                moved = rise[c] if between[start + c] < far else np.float32(0.0)
                most = max(most, moved)
            fall[a] = most


@kernel
def nearest_of_list(X, i, exact, listed, n_listed):
    """Nearest center to row i of X among those listed, by canonical distance; lowest index on a tie.

    exact (k, d) float64, listed (n_listed,) int32 IN.
    """
    d = X.shape[1]
    best, label = np.inf, -1
    for q in range(n_listed):
        c = np.int64(listed[q])
        total = 0.0
        for j in range(d):
            t = np.float64(X[i, j]) - exact[c, j]
            total += t * t
        if label < 0 or total < best or (total == best and c < label):
            best, label = total, c
    return label


@kernel(allocates=True)
def neighbor_lane(
    width, X, weights, counter, spread, fresh, pack_scale, shift, rows_packed, all_tiles, exact, largest, error, k,
    ahead, stride, moves, fastest, half, between, upper, least, labels, update, scale,
    sums, cluster_weights, touched, counts,
):  # fmt: skip
    """The bounded pass over every spread-th stretch of rows.

    fresh: whether there are no bounds yet.  rows_packed float32 ``[k][d]``: packed centers, all_tiles the same as
    meet_list wants them, exact (k, d) float64: as stored; ahead, stride: address of X and bytes from row to row, to
    fetch from, or 0; moves, fastest: see bounds.moved_bounds, half (k,) float32: of the first; between float32
    ``[k][k padded]``: lower bounds of the distances between centers, all IN.  upper, least (n,) float32 INOUT.
    The rest as in lloyd.points_lane.
    """
    n, d = X.shape
    lanes = len(width)
    of = shift.dtype.type
    points = VECTORS * lanes
    padded = (k + lanes - 1) // lanes * lanes
    rows, order = np.empty(ROOM + SCAN + lanes, np.int32), np.empty(ROOM + SCAN, np.int32)
    tight, slips = np.empty(ROOM + SCAN, np.float32), np.empty(ROOM + SCAN, np.float32)
    squares, own_sq = np.empty(ROOM + SCAN, np.float32), np.empty(ROOM + SCAN, np.float32)
    kept = np.empty(ROOM + SCAN, np.int32)
    starts = np.zeros(k + 1, np.int64)
    panel = np.zeros(d * points, np.float32)
    best, second = np.empty(points, np.float32), np.empty(points, np.float32)
    near, far = np.empty(points, np.float32), np.empty(points, np.float32)
    which = np.empty(points, np.int32)
    listed, everything = np.empty(k + TILE, np.int32), np.arange(k).astype(np.int32)
    tiles = np.empty((k // TILE + 1) * TILE * d, np.float32)
    padded_row, one = np.zeros((d + 7) // 8 * 8), np.empty(1, np.int32)
    differences = difference_error(d, error)
    packing = packing_error(largest, error)
    infinite = np.float32(np.inf)
    count = 0
    more = True
    while more or count > 0:
        while more and count < ROOM:
            lo = fetch_add(counter, SCAN) * spread
            if lo >= n:
                more = False
                break
            hi = min(lo + SCAN, n)
            counts[BLOCKS] += 1
            if fresh:
                for i in range(lo, hi):
                    rows[count] = i
                    upper[i] = infinite
                    least[i] = np.float32(0.0)
                    count += 1
            else:
                count = moved_bounds(width, labels, lo, hi, moves, fastest, upper, least, rows, count, ahead, stride)
        counts[READ] += count
        # tighten the upper bounds
        for q in range(count):
            i = np.uint64(rows[q])
            a = np.uint64(labels[i]) * np.uint64(d)
            square, own = np.float32(0.0), np.float32(0.0)
            for j in range(np.uint64(d)):
                value = np.float32(of(X[i, j]) * pack_scale - shift[j])
                difference = value - rows_packed[a + j]
                square += value * value
                own += difference * difference
            squares[q] = square
            own_sq[q] = own
        for q in range(np.uint64(count)):
            slips[q] = packing_slip(squares[q], packing)
            tight[q] = upper_bound(own_sq[q], slips[q], differences)
        n_kept = 0
        for a in range(k + 1):
            starts[a] = 0
        for q in range(np.uint64(count)):
            i = np.uint64(rows[q])
            a = np.uint64(labels[i])
            u = min(tight[q], upper[i])
            upper[i] = u
            tight[n_kept] = u
            slips[n_kept] = slips[q]
            kept[n_kept] = rows[q]
            stays = not (max(least[i], half[a] - u) > u * np.float32(SLACK))
            n_kept += stays
            starts[a + np.uint64(1)] += stays
        count = 0
        for a in range(k):
            starts[a + 1] += starts[a]
        for q in range(n_kept):
            a = labels[kept[q]]
            order[starts[a]] = q
            starts[a] += 1
        q1 = 0
        while q1 < n_kept:  # the rows of one label
            q0 = q1
            a = np.int64(labels[kept[order[q0]]])
            q1 = starts[a]
            most = np.float32(0.0)
            for q in range(q0, q1):
                most = max(most, tight[order[q]])
            reach = most * np.float32(2.0 * REACH)
            n_listed = 0
            for c0 in range(0, padded if reach < infinite else 0, lanes):
                bits = ~lanes_above(width, between, a * padded + c0, reach) & ((1 << lanes) - 1)
                while bits != 0:
                    listed[n_listed] = c0 + lowest_bit(bits)
                    n_listed += 1
                    bits &= bits - 1
            listed[n_listed] = a
            n_listed += 1
            whole = 2 * n_listed > k or not (reach < infinite)
            if whole:
                n_listed = k
            else:
                for q in range(n_listed, (n_listed + TILE - 1) // TILE * TILE):
                    place = q // TILE * TILE * d + q % TILE
                    for j in range(d):
                        tiles[place + j * TILE] = infinite
                for q in range(n_listed):
                    place = q // TILE * TILE * d + q % TILE
                    c = np.int64(listed[q])
                    for j in range(d):
                        tiles[place + j * TILE] = rows_packed[c * d + j]
            chosen = everything if whole else listed
            for first in range(q0, q1, points):
                n_here = min(points, q1 - first)
                for p in range(n_here):
                    i = np.uint64(kept[order[first + p]])
                    for j in range(np.uint64(d)):
                        panel[j * np.uint64(points) + np.uint64(p)] = of(X[i, j]) * pack_scale - shift[j]
                meet_list(
                    width, panel, d, all_tiles if whole else tiles, (n_listed + TILE - 1) // TILE,
                    best, second, which, 0,
                )  # fmt: skip
                counts[EVALUATED] += n_listed * n_here
                for p in range(np.uint64(n_here)):
                    slip = slips[order[np.uint64(first) + p]]
                    near[p] = upper_bound(best[p], slip, differences)
                    far[p] = lower_bound(second[p], slip, differences)
                for p in range(n_here):
                    q = order[first + p]
                    i = np.int64(kept[q])
                    u, bound = near[p], far[p]
                    label = np.int64(chosen[which[p]])
                    if not (bound > u * np.float32(SLACK)):
                        counts[DECIDED] += 1
                        found = nearest_of_list(X, i, exact, chosen, n_listed)
                        if found != label:  # what seemed nearest is one of the others now
                            label = found
                            bound = lower_bound(best[p], slips[q], differences)
                            u = infinite  # taken when it is asked for
                    if not whole:
                        bound = min(bound, (reach - tight[q]) * np.float32(1.0 - 2e-7))
                    least[i] = bound
                    if label != a:
                        upper[i] = u
                        one[0] = label
                        counts[CHANGED] += commit(
                            X, i, 1, one, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
                        )
