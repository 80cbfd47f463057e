"""The visit of the rows for a number of candidates: a list, for each, of the rows that come nearer to it, and how near.

Filters, from cheap to exact.  A row can come nearer to a candidate only if the candidate is less than twice as far from
the row's present seed as the row itself: stretches of rows, in the order of their seeds, and rows that no candidate
passes are not read.  Where it helps, what is left is looked at after a map to few dimensions, which brings no two rows
farther apart.  Pairs that are still left are dismissed by fast float32 values: of all candidates at once where many
are, pair by pair where few are.  What can't be dismissed is decided by the canonical value.

Bounds of the values on all features are in candidates.py; those of the map are: a coordinate is off by 2**-24 of itself
and what float64 loses, and the chain of FMAs that multiplies two of them by `map_error[0]`, as in lloyd.py.
"""

from __future__ import annotations

import math

import numpy as np

from .candidates import count_bits, pack_rows, pair_distances, pair_square, tile_masks
from .canonical import WIDE, WIDE_ROWS
from .gains import NARROW
from .jit import kernel
from .mapped import DIMENSIONS, LEVELS
from .micro import CHUNK, ROWS, lanes_above
from .pack import tile_norms
from .simd import fetch_add, fetch_ahead, lowest_bit

WORD = 48  # candidates that share a word of bits
MANY = 96  # candidates evaluated at a time, at most
WORDS = MANY // WORD
VISIT = 1152  # rows of a block
DENSE = 0.3  # share of the pairs of a block from which all are computed (measured)


@kernel
def record(i, q, value, entry_rows, entry_slots, entry_values, count):
    """Note that row i comes nearer to candidate q, while there is room; count[0] goes on regardless."""
    at = count[0]
    if at < entry_rows.shape[0]:
        entry_rows[at], entry_slots[at], entry_values[at] = i, q, value
    count[0] = at + 1


@kernel
def decide(
    X, offset, rows, slots, n_pairs, nearest_sq, candidates, first_slot, terms, sums,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """Record the pairs whose canonical distance is the smaller one."""
    pair_distances(X, rows, slots, n_pairs, candidates, terms, sums)
    at, room = count[0], entry_rows.shape[0]
    for p in range(n_pairs):
        if at < room:  # without another branch: nobody foresees which are nearer
            entry_rows[at], entry_slots[at], entry_values[at] = offset + rows[p], first_slot + slots[p], sums[p]
        at += sums[p] < nearest_sq[rows[p]]
    count[0] = at


@kernel
def plain_candidates_lane(
    X, counter, nearest_sq, labels, offset, table, closest, square0, square1, error, candidates, first_slot,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """candidates_lane with plain loops: the triangle inequality, then the canonical value."""
    n, d = X.shape
    M = candidates.shape[0]
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        count[1] += min(VISIT, n - start)
        for i in range(start, min(start + VISIT, n)):
            if nearest_sq[i] == 0.0:
                continue
            reach = np.float32(-(nearest_sq[i] * square0 * square1 * (1.0 + 1e-6) + 8.0 * error[2]))
            seed = labels[i]
            if closest[seed] < reach:
                continue
            for q in range(M):
                if table[seed, q] < reach:
                    continue
                s = 0.0
                for j in range(d):
                    t = np.float64(X[i, j]) - candidates[q, j]
                    s += t * t
                if s < nearest_sq[i]:
                    record(offset + i, first_slot + q, s, entry_rows, entry_slots, entry_values, count)


@kernel
def _stretch_at(starts, position):
    """The stretch that holds a position: starts (m + 1,) int64 ascending, of which the last is beyond."""
    low, high = 0, starts.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= position:
            low = middle
        else:
            high = middle
    return low


@kernel(allocates=True)
def candidates_lane(
    width, X, counter, order, starts, reaches, nearest_sq, labels, offset, table, closest, square0, square1, error,
    candidates, first_slot, pack_scale, shift, groups, halves, tiles, largest, ahead, row_bytes,
    mapped, map_scale, map_error, map_groups, map_halves, map_largest,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """List the rows that come nearer to each candidate, and their distances.

    X (n, d) any dtype; order (n,): rows in the order of their seeds, or (0,) for any order, starts, reaches: where its
    stretches begin, LEVELS for each seed, and (float32) minus the largest distance in each; one stretch, and -infinity,
    without an order; nearest_sq (n,) float64: canonical distance to the nearest seed, 0 for rows of no weight, labels
    (n,) int32: that seed, offset: number of the first row; table, closest: as spacing_lane left them; square0, square1,
    error: packing scale and bounds of the frame; candidates (M, d) float64; first_slot: number of the first one's list;
    pack_scale, shift, groups, halves, largest: frame and candidates as lloyd.pack_centers leaves them, tiles: these as
    packed rows; ahead, row_bytes: address of X and bytes of a row, or 0; mapped (n, DIMENSIONS) float32: the map, or
    (0, DIMENSIONS), map_scale, map_error: its scale, the error of fast values, of the map itself, and what underflow
    hides; map_groups, map_halves, map_largest: the candidates after it, packed IN;
    counter (1,) int64 INOUT; entry_rows, entry_slots, entry_values (room,) OUT, count (2,) int64 INOUT: entries, more
    than there is room for where they are incomplete, and rows that had a candidate within reach.
    """
    n, d = X.shape
    M = candidates.shape[0]
    w = len(width)
    n_words = (M + WORD - 1) // WORD
    per_word = np.array([min(WORD, M - u * WORD) for u in range(n_words)])
    tile = (d + CHUNK - 1) // CHUNK * ROWS * CHUNK
    y, squares = np.empty(tile, np.float32), np.empty(ROWS, np.float32)
    point = np.zeros(ROWS * CHUNK, np.float32)
    totals = np.empty(ROWS * 2 * w, np.float32)
    reached, limits = np.empty(ROWS), np.empty(ROWS, np.float32)
    kept = np.zeros((WORDS, ROWS), np.int64)
    visited, masks = np.empty(VISIT, np.int64), np.empty((WORDS, VISIT), np.int64)
    pair_rows, pair_slots = np.empty(WIDE_ROWS, np.int64), np.empty(WIDE_ROWS, np.int64)
    terms, sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    narrow = d < NARROW
    flat_table = table.reshape(-1)
    pitch = table.shape[1]
    relative = (d / 4.0 + 16.0) * 2.0**-24
    unit = 1.01 * 2.0**-24
    ordered = order.shape[0] > 0
    has_map = mapped.shape[0] > 0
    per_seed = LEVELS if ordered else 1
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        stop = min(start + VISIT, n)
        n_visited, n_left = 0, 0
        position = start
        stretch = _stretch_at(starts, start)
        while position < stop:
            end = min(starts[stretch + 1], stop)
            if closest[stretch // per_seed] < reaches[stretch]:
                position = end
            while position < end:
                i = np.int64(order[position]) if ordered else position
                position += 1
                nearest = nearest_sq[i]
                seed = labels[i]
                reach = np.float32(-(nearest * square0 * square1 * (1.0 + 1e-6) + 8.0 * error[2]))
                if closest[seed] < reach or nearest == 0.0:
                    continue
                for u in range(n_words):
                    mask = np.int64(0)
                    at_word = seed * pitch + u * WORD
                    for g in range((per_word[u] + w - 1) // w):
                        mask |= lanes_above(width, flat_table, at_word + g * w, reach) << (g * w)
                    mask &= (np.int64(1) << per_word[u]) - 1
                    masks[u, n_visited] = mask
                    n_left += count_bits(mask)
                visited[n_visited] = i
                n_visited += 1
            stretch += 1
        count[1] += n_visited
        if has_map:
            n_passed, n_left = 0, 0
            for v0 in range(0, n_visited, ROWS):
                rows = min(ROWS, n_visited - v0)
                for r in range(np.uint64(rows)):
                    i = np.uint64(visited[v0 + r])
                    for l in range(np.uint64(DIMENSIONS)):
                        point[r * np.uint64(CHUNK) + l] = mapped[i, l]
                tile_norms(width, point, 0, DIMENSIONS, squares, 0)
                for r in range(ROWS):
                    if r >= rows:
                        kept[:, r] = 0
                        limits[r] = np.float32(0.0)
                        continue
                    nearest = nearest_sq[visited[v0 + r]] * map_scale * map_scale * (1.0 + 1e-6)
                    above = np.float64(squares[r]) * (1.0 + error[5]) + map_error[2]
                    length = math.sqrt(above)
                    root = math.sqrt(nearest + map_error[2]) + map_error[1] * (length + map_largest)
                    gap = np.float64(squares[r]) * (1.0 - error[5]) - root * root * (1.0 + 1e-12)
                    slack = map_error[0] * (length * map_largest + 0.5 * map_largest * map_largest) + map_error[2]
                    limits[r] = np.float32(0.5 * gap - slack - 1e-6 * abs(gap))
                    for u in range(n_words):
                        kept[u, r] = masks[u, v0 + r]
                for u in range(n_words):
                    tile_masks(
                        width, point, map_groups[u * WORD * DIMENSIONS :], map_halves[u * WORD :], DIMENSIONS,
                        (per_word[u] + w - 1) // w, limits, kept[u], totals, 0, 0,
                    )  # fmt: skip
                for r in range(rows):
                    some = np.int64(0)
                    for u in range(n_words):
                        masks[u, n_passed] = kept[u, r]
                        some |= kept[u, r]
                        n_left += count_bits(kept[u, r])
                    i = visited[v0 + r]
                    visited[n_passed] = i
                    n_passed += some != 0
                    if some != 0 and row_bytes != 0:
                        for line in range(0, row_bytes + 63, 64):
                            fetch_ahead(ahead + i * row_bytes + line)
            n_visited = n_passed
        if narrow:
            for v in range(n_visited):
                i = visited[v]
                for u in range(n_words):
                    mask = masks[u, v]
                    while mask != 0:
                        q = u * WORD + lowest_bit(mask)
                        mask &= mask - 1
                        s = 0.0
                        for j in range(d):
                            t = np.float64(X[i, j]) - candidates[q, j]
                            s += t * t
                        if s < nearest_sq[i]:
                            record(offset + i, first_slot + q, s, entry_rows, entry_slots, entry_values, count)
            continue
        dense = n_left > DENSE * n_visited * M
        n_pairs = 0
        for v0 in range(0, n_visited, ROWS):
            rows = min(ROWS, n_visited - v0)
            pack_rows(X, visited, v0, rows, pack_scale, shift, y, 0)
            tile_norms(width, y, 0, d, squares, 0)
            for r in range(rows):
                reached[r] = nearest_sq[visited[v0 + r]] * square0 * square1 * (1.0 + 1e-6)
            for r in range(rows, ROWS):
                reached[r] = 0.0
            for u in range(n_words):
                for r in range(rows):
                    kept[u, r] = masks[u, v0 + r]
                for r in range(rows, ROWS):
                    kept[u, r] = 0
            if dense:
                for r in range(ROWS):
                    square = np.float64(squares[r]) * (1.0 + error[5]) + error[4]
                    length, reach = math.sqrt(square), reached[r]
                    root = length + math.sqrt(reach)
                    m = root if root < largest else largest
                    slack = 1.01 * (
                        error[0] * (length * m + 0.5 * m * m) + error[1] * reach + error[2] + error[3] * (length + m)
                    )
                    below = np.float64(squares[r]) * (1.0 - error[5])
                    limits[r] = np.float32(0.5 * (below - reach) - slack - 1e-6 * abs(below - reach))
                # where many pairs are left, the rows that follow are most often the next ones
                following = ahead + (visited[v0] + ROWS) * row_bytes
                for u in range(n_words):
                    tile_masks(
                        width, y, groups[u * WORD * d :], halves[u * WORD :], d, (per_word[u] + w - 1) // w, limits,
                        kept[u], totals, following, ROWS * row_bytes // d if u == 0 else 0,
                    )  # fmt: skip
            else:
                for r in range(ROWS):
                    length = math.sqrt(np.float64(squares[r]) * (1.0 + error[5]) + error[4])
                    root = math.sqrt(reached[r] + 8.0 * error[2]) + unit * (length + largest) + error[3]
                    limits[r] = np.float32(root * root * (1.0 + 2.0 * relative) + error[2])
            for r in range(rows):
                i = visited[v0 + r]
                for u in range(n_words):
                    mask = kept[u, r]
                    while mask != 0:
                        q = u * WORD + lowest_bit(mask)
                        mask &= mask - 1
                        if not dense:  # most pairs are far enough by their first features
                            at_q = q // ROWS * tile + q % ROWS * CHUNK
                            square = pair_square(width, y, r * CHUNK, tiles, at_q, min(d, CHUNK))
                            if d > CHUNK and square <= limits[r]:
                                next_chunk = ROWS * CHUNK
                                square += pair_square(
                                    width, y, r * CHUNK + next_chunk, tiles, at_q + next_chunk, d - CHUNK
                                )  # fmt: skip
                            if square > limits[r]:
                                continue
                        pair_rows[n_pairs], pair_slots[n_pairs] = i, q
                        n_pairs += 1
                        if n_pairs == WIDE_ROWS:
                            decide(
                                X, offset, pair_rows, pair_slots, n_pairs, nearest_sq, candidates, first_slot, terms,
                                sums, entry_rows, entry_slots, entry_values, count,
                            )  # fmt: skip
                            n_pairs = 0
        if n_pairs > 0:
            decide(
                X, offset, pair_rows, pair_slots, n_pairs, nearest_sq, candidates, first_slot, terms, sums,
                entry_rows, entry_slots, entry_values, count,
            )  # fmt: skip
