"""The dense pass: every row against every center, and the exact sums, in one visit of a block of rows.

A lane pulls blocks of rows from a shared counter.  For each block it packs the rows, runs a micro-kernel, certifies the
labels, decides the doubtful ones by the canonical value, and adds the rows whose label changed to its sums.

The certificate.  Let y, c' be a packed row and center, v = y.c' - |c'|^2/2 their fast value.  It is off from the true
order by at most ``e = gamma (|y| m + m^2/2) + (d + 3) 2^-53 r^2/2 + floor``, where gamma counts the roundings of
packing and of the FMA chain, the second term those of the canonical value, `floor` what underflow can do, r bounds the
distance to the nearest center and m = min(|y| + r, largest |c'|) the norm of any center that could be nearer.  A label
stands iff v1 - v2 > 2 e, strictly; otherwise every center with v >= v1 - 2 e is compared by the canonical value.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np

from . import simd
from .canonical import GROUP, WIDE, WIDE_ROWS, block_distances, nearest_in_groups, nearest_plain
from .exact import DIGIT, add_digits, row_digits, split_digits, weigh_digits
from .integer import has_vnni, multiplier
from .jit import kernel
from .micro import CENTERS, CHUNK, PANEL, ROWS, assign_tile, finish_tile, row_values
from .move import move_row
from .pack import STRIP, load_row, pack_strip, pack_tile, panel_norms, panel_size, tile_norms
from .panel import assign_panel, assign_panel_tiles
from .simd import fetch_add, float_bits

BLOCK = 1152  # rows of a block, lanes = points and plain loops
TILES = 20  # tiles of a block at most, lanes = centers
CENTER_BYTES = 1 << 20  # packed centers that are swept at a time: they stay in the second-level cache
MANY_TILES = 7  # tiles of centers from which on assign_panel_tiles is faster (measured on AVX2)
WIDE_TILES = 3  # the same per feature, and one more, of vectors of 16: they shorten its sweep, not its end (measured)
FILTER_WORK = 6144  # d * k from which on the integer filter pays for the rounding of rows (measured)
SWITCH = 48  # features from which on lanes = centers is faster, but for vectors of 16: there beyond CHUNK (measured)

FEW, LONG = 12, 48  # clusters up to which, and features for each of them, lanes = features is faster (measured)
PLANE = 8  # features from which on two centers have a kernel of their own (measured)
CHANGED, DECIDED, BLOCKS = range(3)  # columns of a lane's counters

ORIENTATIONS = ("points", "centers", "integers", "features", "plane")
_forced: list[str] = []


@contextlib.contextmanager
def force_orientation(name: str) -> Iterator[None]:
    """Use lanes = "points", lanes = "centers", these with the "integers" filter, lanes = "features", or the "plane"
    between two centers inside the block; points need d <= CHUNK, integers a CPU that multiplies pairs of them.  For
    tests."""
    if name not in ORIENTATIONS:
        raise ValueError(f"name must be one of {ORIENTATIONS}, got {name!r}")
    _forced.append(name)
    try:
        yield
    finally:
        _forced.pop()


def orientation(d: int, k: int, filters: bool = True, leaves: bool = False) -> str:
    """Which micro-kernel serves d features and k centers.

    filters: whether the integer filter leaves little in doubt; leaves: whether the pass should leave bounds behind,
    which is the filter's alone.
    """
    if simd.lane_width() == 1:
        return "plain"
    can_filter = multiplier() > 0 and d < 10**7  # beyond, the rounding of rows would fill the integers
    if _forced:
        name = _forced[-1]
        cannot = {"points": d > CHUNK, "integers": not can_filter, "plane": k != 2}
        return "centers" if cannot.get(name, False) else name
    # vectors of 16 points beat those of 16 centers, and pairs of integers that are added by themselves (measured)
    wide = simd.lane_width() == 16 and d <= CHUNK
    filters = filters and (leaves or not wide or has_vnni(16))
    if filters and can_filter and d >= 32 and k >= 48 and d * k >= FILTER_WORK:
        return "integers"
    if k == 2 and d >= PLANE:
        return "plane"
    if k <= FEW and d >= LONG * k:
        return "features"
    return "points" if wide or d < SWITCH else "centers"


@kernel
def hash_rows(centers, out):
    """A hash of every center (k, d), equal for rows of equal values; out (k,) uint64 OUT."""
    for c in range(centers.shape[0]):
        h = np.uint64(14695981039346656037)
        for j in range(centers.shape[1]):
            h = (h ^ np.uint64(float_bits(np.float64(centers[c, j]) + 0.0))) * np.uint64(1099511628211)
            h ^= h >> np.uint64(29)
        out[c] = h


@kernel
def pack_centers(centers, duplicate, scale, shift, lanes, groups, tiles, halves, norms):
    """Pack centers for both orientations.

    centers (k, d) and duplicate (k,) uint8 IN: those equal to a center of lower index can never win; scale, shift (d,)
    float64 IN; lanes: lane width; groups float32 ``[ceil(k / lanes)][d][lanes]`` OUT; tiles float32
    ``[ceil(k / CENTERS)][d][CENTERS]`` OUT, or empty; halves (padded k,) float32 OUT: |c'|^2 / 2, infinite for
    duplicates and padding; norms (k,) float64 OUT: upper bounds of |c'|.  Returns the largest norm of those that count.
    """
    k, d = centers.shape
    largest = 0.0
    for c in range(halves.shape[0]):
        halves[c] = np.inf
    for c in range(k):
        total = 0.0
        for j in range(d):
            value = np.float32(np.float64(centers[c, j]) * scale - shift[j])
            groups[(c // lanes * d + j) * lanes + c % lanes] = value
            if tiles.shape[0] > 0:
                tiles[(c // CENTERS * d + j) * CENTERS + c % CENTERS] = value
            total += np.float64(value) * np.float64(value)
        norms[c] = math.sqrt(total) * (1.0 + 1e-6)
        if not duplicate[c]:
            halves[c] = np.float32(0.5 * total)
            largest = max(largest, norms[c])
    return largest


@kernel
def certify(v1, v2, norms, n, cutoff, unsure, doubtful):
    """Rows of a block whose label the cheap bound (with the largest |c'| for m) can't certify; returns how many.

    v1, v2, norms (n,) float32 IN; cutoff (4,) float32 IN: factors of |y| and |y|^2, the constant, and the norm's floor;
    unsure (n,) uint8 scratch, doubtful (n,) int32 OUT.
    """
    for i in range(n):
        square = norms[i] + cutoff[3]
        margin = cutoff[0] * np.sqrt(square) + cutoff[1] * square + cutoff[2]
        unsure[i] = not (v1[i] - v2[i] > margin)
    count = 0
    for i in range(n):
        doubtful[count] = i
        count += unsure[i]
    return count


@kernel
def margin(v1, square, norm, largest, error):
    """The bound 2 e of the certificate for one row, from the norm of its nearest center; float64.

    error (6,) float64 IN: gamma, the factor of r^2, the floor, the floor per unit of norm, the norm's floor, and the
    relative error of the norm's square.
    """
    square = square * (1.0 + error[5]) + error[4]
    length = math.sqrt(square)
    own = error[0] * (length * norm + 0.5 * norm * norm) + error[1] * square + error[2] + error[3] * (length + norm)
    r_sq = max(square - 2.0 * v1 + 2.0 * own, 0.0) * (1.0 + 1e-6)
    m = min(length + math.sqrt(r_sq), largest)
    return 2.02 * (error[0] * (length * m + 0.5 * m * m) + error[1] * r_sq + error[2] + error[3] * (length + m))


@kernel
def _all_groups(k, marked):
    n = (k + GROUP - 1) // GROUP
    for g in range(n):
        marked[g] = g
    return n


@kernel
def _groups_above(values, k, threshold, marked):
    """Numbers of the canonical groups that hold a center whose fast value reaches the threshold, ascending."""
    count = 0
    for g in range((k + GROUP - 1) // GROUP):
        found = False
        for c in range(g * GROUP, min(k, (g + 1) * GROUP)):
            found = found or values[c] >= threshold
        marked[count] = g
        count += found
    return count


@kernel
def mark_group(group, marked, found):
    """Put a number among the first `found` of `marked` (int64), ascending and different; returns their count."""
    at = found
    while at > 0 and marked[at - 1] > group:
        at -= 1
    if at > 0 and marked[at - 1] == group:
        return found
    for i in range(found, at, -1):
        marked[i] = marked[i - 1]
    marked[at] = group
    return found + 1


@kernel
def _groups_of_lanes(width, state, which, place, threshold, marked):
    """As _groups_above from the lanes' running bests; -1 where a lane's second best reaches the threshold too."""
    w = len(width)
    count = 0
    for lane in range(w):
        if state[place * 2 * w + w + lane] >= threshold:
            return -1
        if state[place * 2 * w + lane] >= threshold:
            g = (which[place * w + lane] * w + lane) // GROUP
            count = mark_group(g, marked, count)
    return count


@kernel
def commit(X, lo, n, new, weights, labels, update, scale, row, sums, cluster_weights, touched):
    """Write a block's labels; where `update` is set, move the rows whose label changed between the sums.

    X (m, d) any dtype, new (n,) int32 labels of rows lo.., weights (m,) int64 or (0,) IN; labels (m,) int32 INOUT,
    -1 where there was none; scale (2, d rounded up to 8) float64 IN, row (the same,) float64 scratch, zero beyond d;
    sums (k * 2 * d + 8,), cluster_weights (k,) int64, touched (k,) uint8 INOUT.  Returns how many changed.
    Sums are moved here for unit weights and two digits only: own_clusters does the rest.
    """
    weighted = weights.shape[0] > 0
    d = np.uint64(X.shape[1])
    changed = 0
    for r in range(n):
        i = np.uint64(lo + r)
        old, label = labels[i], new[r]
        if label == old:
            continue
        labels[i] = label
        if weighted and weights[i] == 0:
            continue
        changed += 1
        if update:
            cluster_weights[label] += 1
            touched[label] = 1
            if old >= 0:
                cluster_weights[old] -= 1
                touched[old] = 1
            done = np.uint64(move_row(X, i, scale, label, old, sums, row))
            to = np.uint64(label) * np.uint64(2) * d
            if old < 0:
                for j in range(done, d):
                    high, low = split_digits(np.float64(X[i, j]) * scale[0, j] * scale[1, j])
                    sums[to + d + j] += high
                    sums[to + j] += low
                continue
            source = np.uint64(old) * np.uint64(2) * d
            for j in range(done, d):
                high, low = split_digits(np.float64(X[i, j]) * scale[0, j] * scale[1, j])
                sums[to + d + j] += high
                sums[to + j] += low
                sums[source + d + j] -= high
                sums[source + j] -= low
    return changed


@kernel
def plain_commit(X, lo, n, new, weights, labels, update, scale, sums, cluster_weights, touched):
    """`commit` in plain loops."""
    weighted = weights.shape[0] > 0
    d = X.shape[1]
    changed = 0
    for r in range(n):
        i = lo + r
        old, label = labels[i], new[r]
        if label == old:
            continue
        labels[i] = label
        if weighted and weights[i] == 0:
            continue
        changed += 1
        if update:
            cluster_weights[label] += 1
            touched[label] = 1
            if old >= 0:
                cluster_weights[old] -= 1
                touched[old] = 1
            for j in range(d):
                value = np.rint(np.float64(X[i, j]) * scale[0, j] * scale[1, j])
                high = np.trunc(value * (1.0 / DIGIT))
                low = value - high * DIGIT
                sums[label * 2 * d + j] += np.int64(low)
                sums[label * 2 * d + d + j] += np.int64(high)
                if old >= 0:
                    sums[old * 2 * d + j] -= np.int64(low)
                    sums[old * 2 * d + d + j] -= np.int64(high)
    return changed


@kernel(allocates=True)
def known_lane(X, weights, counter, known, labels, update, scale, sums, cluster_weights, touched, counts):
    """The pass where every row's label is known beforehand: rows join their sums, and no distance is taken.

    known (n,) int32 IN; the rest as in `commit`.
    """
    n, d = X.shape
    padded_row = np.zeros((d + 7) // 8 * 8)
    while True:
        lo = fetch_add(counter, BLOCK)
        if lo >= n:
            break
        hi = min(lo + BLOCK, n)
        counts[CHANGED] += commit(
            X, lo, hi - lo, known[lo:hi], weights, labels, update, scale, padded_row, sums, cluster_weights, touched
        )
        counts[BLOCKS] += 1


@kernel(allocates=True)
def own_clusters(X, old, new, weights, scale, n_digits, sums, cluster_weights, owners, owner, touched):
    """Move every changed row in or out of the clusters of one owner: no two owners touch the same sums.

    X (m, d) any dtype, old, new (m,) int32: labels before and after, weights (m,) int64 or (0,), scale (2, d) IN;
    sums flat [k][digits][d], cluster_weights (k,) int64, touched (k,) uint8 INOUT.  Any digits, any weights.
    """
    d = X.shape[1]
    weighted = weights.shape[0] > 0
    width = n_digits + 2 if weighted else n_digits
    floats, digits = np.empty(d), np.empty((n_digits, d), np.int64)
    product = np.empty((n_digits + 2, d), np.int64)
    for i in range(X.shape[0]):
        w = weights[i] if weighted else 1
        if old[i] == new[i] or w == 0:
            continue
        enters = new[i] % owners == owner
        leaves = old[i] >= 0 and old[i] % owners == owner
        if not (enters or leaves):
            continue
        row_digits(X, i, scale, floats, n_digits, digits)
        if weighted:
            weigh_digits(digits, n_digits, w, product)
        moved = product if weighted else digits
        if enters:
            cluster_weights[new[i]] += w
            touched[new[i]] = 1
            add_digits(moved, width, 1, sums, new[i] * width * d)
        if leaves:
            cluster_weights[old[i]] -= w
            touched[old[i]] = 1
            add_digits(moved, width, -1, sums, old[i] * width * d)


@kernel(allocates=True)
def plain_lane(X, weights, counter, grouped, k, labels, update, scale, sums, cluster_weights, touched, counts):
    """The pass as plain loops, canonical values throughout: the reference, and the form for CPUs without FMA."""
    n, d = X.shape
    row, out = np.empty(d), np.empty(GROUP)
    new = np.empty(BLOCK, np.int32)
    while True:
        lo = fetch_add(counter, BLOCK)
        if lo >= n:
            break
        hi = min(lo + BLOCK, n)
        for i in range(lo, hi):
            for j in range(d):
                row[j] = X[i, j]
            new[i - lo] = nearest_plain(row, grouped, k, out)
        counts[CHANGED] += plain_commit(
            X, lo, hi - lo, new, weights, labels, update, scale, sums, cluster_weights, touched
        )
        counts[BLOCKS] += 1


@kernel(allocates=True)
def points_lane(
    width, X, weights, counter, pack_scale, tiled_shift, groups, tiles, halves, norms, largest, cutoff, error, grouped,
    k, ahead, step, measure, measured, distances, labels, update, scale,
    sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    """The pass with lanes = points, for d <= CHUNK features; ahead, step: as in centers_lane, for a panel."""
    n, d = X.shape
    lanes = len(width)
    points = PANEL * lanes
    rows = np.zeros(STRIP * points * d + 4, np.float32)
    size = panel_size(lanes, d)
    panels = np.empty(STRIP * size, np.float32)
    v1, v2 = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    squares, new = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    unsure, doubtful = np.empty(BLOCK, np.uint8), np.empty(BLOCK + 1, np.int32)
    y, row = np.empty(ROWS * CHUNK, np.float32), np.empty(d)
    padded_row = np.zeros((d + 7) // 8 * 8)
    terms, order_sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    n_groups = (k + lanes - 1) // lanes
    n_tiles = (k + CENTERS - 1) // CENTERS
    many = WIDE_TILES * (d + 1) if lanes == 16 else MANY_TILES
    values = np.empty(n_groups * lanes, np.float32)
    marked = np.empty((k + GROUP - 1) // GROUP + 1, np.int64)
    out = np.empty(marked.shape[0] * GROUP)
    while True:
        lo = fetch_add(counter, BLOCK)
        if lo >= n:
            break
        hi = min(lo + BLOCK, n)
        for i in range(lo, hi, STRIP * points):
            last = min(i + STRIP * points, hi)
            pack_strip(width, X, i, last, pack_scale, tiled_shift, rows, panels)
            for t in range((last - i + points - 1) // points):
                at = i - lo + t * points
                panel_norms(width, panels, t * size, d, squares, at)
                next_strip = ahead + (i + (STRIP + t) * points) * X.strides[0]
                if n_tiles < many:
                    assign_panel(width, panels, t * size, tiles, halves, d, n_tiles, v1, v2, new, at, next_strip, step)
                else:
                    assign_panel_tiles(
                        width, panels, t * size, tiles, halves, d, n_tiles, v1, v2, new, at, next_strip, step
                    )
        count = certify(v1, v2, squares, hi - lo, cutoff, unsure, doubtful)
        for q in range(count):
            r = doubtful[q]
            allowed = margin(np.float64(v1[r]), np.float64(squares[r]), norms[new[r]], largest, error)
            if np.float64(v1[r]) - np.float64(v2[r]) > allowed:
                continue
            if k <= 4 * GROUP:
                found = _all_groups(k, marked)
            else:
                pack_tile(X, lo + r, lo + r + 1, pack_scale, tiled_shift, y, 0, 0, 0)
                row_values(width, y, 0, groups, halves, d, n_groups, values)
                found = _groups_above(values, k, np.float64(v1[r]) - allowed, marked)
            load_row(X, lo + r, row)
            new[r] = nearest_in_groups(row, grouped, marked, found, k, out)
            counts[DECIDED] += 1
        counts[CHANGED] += commit(
            X, lo, hi - lo, new, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
        )
        if measure:
            block_distances(X, lo, hi, measured, labels, weights, distances, largest_sq, terms, order_sums)
        counts[BLOCKS] += 1


@kernel(allocates=True)
def centers_lane(
    width, X, weights, counter, pack_scale, shift, groups, halves, norms, largest, cutoff, error, grouped, k,
    tiles_per_block, ahead, step, measure, measured, distances, labels, update, scale,
    sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    """The pass with lanes = centers.

    ahead, step: address of X and bytes of 6 rows per feature to prefetch, or 0 where rows do not follow each other.
    measure: whether to take canonical distances to the centers `measured` (k, d) float64 while the rows are at hand,
    into distances (n,) float64, and the largest into largest_sq (1,).
    """
    n, d = X.shape
    lanes = len(width)
    block = tiles_per_block * ROWS
    size = (d + CHUNK - 1) // CHUNK * ROWS * CHUNK
    stride = X.strides[0]
    y = np.empty(tiles_per_block * size, np.float32)
    state = np.empty(block * 2 * lanes, np.float32)
    which = np.empty(block * lanes, np.int32)
    totals = np.empty(ROWS * 2 * lanes, np.float32)
    v1, v2 = np.empty(block, np.float32), np.empty(block, np.float32)
    squares, new = np.empty(block, np.float32), np.empty(block, np.int32)
    unsure, doubtful = np.empty(block, np.uint8), np.empty(block + 1, np.int32)
    row, padded_row = np.empty(d), np.zeros((d + 7) // 8 * 8)
    terms, order_sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    n_groups = (k + lanes - 1) // lanes
    sweep = max(2, CENTER_BYTES // (4 * d * lanes) // 2 * 2)
    values = np.empty(n_groups * lanes, np.float32)
    marked = np.empty(max((k + GROUP - 1) // GROUP, lanes) + 1, np.int64)
    out = np.empty(marked.shape[0] * GROUP)
    while True:
        lo = fetch_add(counter, block)
        if lo >= n:
            break
        hi = min(lo + block, n)
        n_tiles = (hi - lo + ROWS - 1) // ROWS
        for g in range(0, n_groups, sweep):
            for t in range(n_tiles):
                here, row_end = lo + t * ROWS, min(lo + (t + 1) * ROWS, hi)
                following = ahead + (here + ROWS) * stride
                if g == 0:  # half of the next tile is fetched while packing, half while computing
                    pack_tile(X, here, row_end, pack_scale, shift, y, t * size, following, step)
                    tile_norms(width, y, t * size, d, squares, t * ROWS)
                assign_tile(
                    width, y, t * size, groups, g * d * lanes, halves, g * lanes, d, min(sweep, n_groups - g), g,
                    state, which, t * ROWS, totals, following + step * d, step,
                )  # fmt: skip
                if g + sweep >= n_groups:
                    finish_tile(width, state, which, t * ROWS, v1, v2, new, t * ROWS)
        count = certify(v1, v2, squares, hi - lo, cutoff, unsure, doubtful)
        for q in range(count):
            r = doubtful[q]
            allowed = margin(np.float64(v1[r]), np.float64(squares[r]), norms[new[r]], largest, error)
            if np.float64(v1[r]) - np.float64(v2[r]) > allowed:
                continue
            threshold = np.float64(v1[r]) - allowed
            if k <= 4 * GROUP:
                found = _all_groups(k, marked)
            else:
                found = _groups_of_lanes(width, state, which, r, threshold, marked)
                if found < 0:
                    row_values(width, y, r // ROWS * size + r % ROWS * CHUNK, groups, halves, d, n_groups, values)
                    found = _groups_above(values, k, threshold, marked)
            load_row(X, lo + r, row)
            new[r] = nearest_in_groups(row, grouped, marked, found, k, out)
            counts[DECIDED] += 1
        counts[CHANGED] += commit(
            X, lo, hi - lo, new, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
        )
        if measure:
            block_distances(X, lo, hi, measured, labels, weights, distances, largest_sq, terms, order_sums)
        counts[BLOCKS] += 1
