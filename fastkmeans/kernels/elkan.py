"""The bounded pass with lanes = centers: triangle-inequality bounds per row and group of centers.

Centers are taken in groups of BLOCK (or a multiple of it), near ones together.  A row keeps an upper bound of the
distance to its own center, a lower bound of that to the nearest other one, and a lower bound per group, stored with the
drift the group had accumulated when it was written: a row that is settled is read, never written.  Rows that the first
two do not settle ask the groups' bounds; rows that these do not settle are read, packed, and their own distance
tightened; then the rows that want the same group meet it together, so that what is left runs at the speed of the dense
pass.  To its own center a row is compared by differences: that center's group is met only for the sake of the others.
Where a row has a code (see row_codes.py) that is decoded in its place, bounds are wider by what it may be off, and the
row is read if that leaves a doubt.
"""

from __future__ import annotations

import numpy as np

from .blocks import (
    BLOCK,
    batch_size,
    least_bounds,
    meet_block,
    own_distances,
    pack_rows,
    padded,
    row_distance,
    test_groups,
)
from .bounds import (
    EVALUATED,
    READ,
    SCAN,
    SLACK,
    difference_error,
    fetch_row,
    less_slip,
    lower_bound,
    lower_by_product,
    moved_bounds,
    packing_error,
    packing_slip,
    product_error,
    product_margin,
    product_term,
    product_terms,
    upper_bound,
)
from .canonical import GROUP, values_of_groups
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED, commit
from .pack import load_row
from .row_codes import decode_rows, encode_rows
from .simd import fetch_add, lowest_bit

NEAR = 32  # centers that are told apart by differences
SCRATCH = 3 << 17  # bytes of packed rows that wait for their groups: they stay in the second-level cache
VALUES = 1 << 25  # bytes of fast values at most, of which only those that are computed are touched


@kernel
def nearest_of_blocks(row, grouped, blocks, n_blocks, order, k, groups, out):
    """Nearest center by canonical distance, among those of the blocks listed; lowest index on a tie.

    row (d,) float64, grouped: the centers in the order of the blocks, as canonical.group_centers, blocks int64, order
    (k,) int32: their indices IN; groups int64, out float64 scratch.  Returns the place in the order.
    """
    each = BLOCK // GROUP
    n_groups = (k + GROUP - 1) // GROUP
    count = 0
    for q in range(n_blocks):
        for e in range(each):
            if blocks[q] * each + e < n_groups:
                groups[count] = blocks[q] * each + e
                count += 1
    values_of_groups(row, grouped, groups, count, out)
    best, place = np.inf, -1
    for g in range(count):
        for l in range(min(GROUP, k - groups[g] * GROUP)):
            value = out[g * GROUP + l]
            at = groups[g] * GROUP + l
            if place < 0 or value < best or (value == best and order[at] < order[place]):
                best, place = value, at
    return place


@kernel(allocates=True)
def bounded_lane(
    width, X, weights, counter, spread, fresh, pack_scale, shift, blocks, halves, norms, centers, order, places,
    largest, error, grouped, k, n_groups, span, ahead, from_row, row_bytes, moves, fastest, half, drift, between,
    anchors, from_code, codes, steps, residuals, anchored, upper, least, lower, labels, update, scale, sums,
    cluster_weights, touched, counts,
):  # fmt: skip
    """The bounded pass over every spread-th stretch of rows.

    fresh: whether there are no bounds yet.  blocks, halves: packed centers in the order of the groups, in blocks, and
    halves of their squares, infinite beyond k; norms (n_groups,) float32: the largest norm of a group;
    centers float32 ``[c][d rounded up to 16]``, by index; order, places (k,) int32: index by place and place by index;
    span: blocks of a group; ahead: address of `lower`, to fetch from; from_row, row_bytes: address of X and bytes from
    row to row, for the same, or 0; moves, fastest: see bounds.moved_bounds, half (k,): of the first; drift (n_groups
    padded,) float32: how far any center of a group has moved since the groups were made; between float32
    ``[k][n_groups padded]``: lower bounds of the distance from a center to the nearest (other) one of a group, infinite
    for padding; anchors: see row_codes.encode_rows, from_code: address of `codes`, all IN.
    codes, steps, residuals, anchored: the same, of no length where no codes are kept, upper, least (n,), lower
    (n * n_groups + 16,) float32 INOUT.  The rest as in lloyd.centers_lane.
    """
    n, d = X.shape
    lanes = len(width)
    size = padded(d)
    n_blocks = (k + BLOCK - 1) // BLOCK
    room = max(96, min(768, SCRATCH // (4 * size), VALUES // (4 * BLOCK * n_blocks)) // 12 * 12)
    n_vectors = (n_groups + lanes - 1) // lanes
    stride = n_vectors * lanes
    batch = batch_size(lanes)
    coded, asked = np.empty(room + SCAN + 16, np.int32), np.empty(SCAN + 4, np.float32)
    to_read = np.empty(room + SCAN + 16, np.int32)
    y = np.empty((room + 4) * size, np.float32)
    own, mines = np.zeros(room + 4, np.int32), np.empty(room, np.int32)
    squares, own_sq = np.empty(room + 4, np.float32), np.empty(room + 4, np.float32)
    tight, rest = np.empty(room + 4, np.float32), np.empty(room, np.float32)
    apart, packed_row = np.empty(room, np.float32), np.empty(4 * size, np.float32)
    slip, length = np.empty(room + 4, np.float32), np.empty(room + 4, np.float32)
    start, factor = np.empty(room + 4, np.float32), np.empty(room + 4, np.float32)
    found, found_lower = np.empty(room + 12, np.float32), np.empty(room + 12, np.float32)
    v1, nearest, norm = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    values = np.empty(n_groups * span * (room + 12) * BLOCK, np.float32)
    spots = np.empty(room * n_groups, np.int32)
    near, near_sq = np.empty(NEAR, np.int64), np.empty(NEAR)
    masks = np.empty(room * n_vectors, np.int64)
    wanted = np.empty((n_groups, room + 12), np.int32)
    n_wanted = np.zeros(n_groups, np.int64)
    best, second = np.empty(room + 16, np.float32), np.empty(room + 16, np.float32)
    which = np.empty(room + 16, np.int32)
    best_here, second_here, which_here = np.empty(16, np.float32), np.empty(16, np.float32), np.empty(16, np.int32)
    row, padded_row, one = np.empty(d), np.zeros((d + 7) // 8 * 8), np.empty(1, np.int32)
    listed = np.empty(n_blocks + 1, np.int64)
    canonical_groups = np.empty(2 * n_blocks + 8, np.int64)
    out = np.empty((2 * n_blocks + 8) * GROUP)
    infinite = np.float32(np.inf)
    differences = difference_error(size // lanes, error)
    packing = packing_error(largest, error)
    products = product_error(lanes, size, error)
    tail = (np.int64(1) << (n_groups - (n_vectors - 1) * lanes)) - 1  # the last word's groups that there are
    with_codes = len(codes) > 0
    n_coded, n_to_read = 0, 0
    more = True
    while more or n_coded > 0 or n_to_read > 0:
        # gather rows that the bounds do not settle, until there is a scratch full of them
        while more and n_coded < room and n_to_read < room:
            lo = fetch_add(counter, SCAN) * spread
            if lo >= n:
                more = False
                break
            hi = min(lo + SCAN, n)
            counts[BLOCKS] += 1
            if fresh:
                for i in range(lo, hi):
                    to_read[n_to_read] = i
                    upper[i] = infinite
                    least[i] = np.float32(0.0)
                    n_to_read += 1
                continue
            last = n_coded
            count = moved_bounds(width, labels, lo, hi, moves, fastest, upper, least, coded, last, ahead, 4 * n_groups)
            # ask the bounds per group before the row is read
            for q in range(count, count + 3):
                coded[q] = lo
            for q in range(last, count, 4):
                least_bounds(
                    width, coded, q, labels, upper, lower, n_groups, drift, between, stride, n_vectors, asked, q - last
                )
            for q in range(last, count):
                i = np.uint64(coded[q])
                if asked[q - last] > upper[i] * np.float32(SLACK):
                    least[i] = asked[q - last]
                elif with_codes and anchored[i] >= 0:
                    coded[n_coded] = i
                    n_coded += 1
                    fetch_row(i, from_code, size)
                else:
                    to_read[n_to_read] = i
                    n_to_read += 1
                    fetch_row(i, from_row, row_bytes)
        decoding = n_to_read < room and n_coded > 0
        rows = coded if decoding else to_read
        n_here = min(n_coded if decoding else n_to_read, room)
        if n_here == 0:
            continue
        if decoding:
            n_coded -= n_here
            first = n_coded
            decode_rows(width, rows, first, n_here, anchors, codes, steps, anchored, size, y)
        else:
            n_to_read -= n_here
            first = n_to_read
            counts[READ] += n_here
            pack_rows(X, rows, first, n_here, pack_scale, shift, y)
            if with_codes:
                encode_rows(
                    width, y, 0, n_here, size, rows, first, labels, anchors, differences, codes, steps, residuals,
                    anchored,
                )  # fmt: skip
        for s in range(n_here):
            own[s] = labels[rows[first + s]]
            mines[s] = places[own[s]]
        for s in range(n_here, (n_here + 3) // 4 * 4):
            own[s] = 0
        for s in range(0, n_here, 4):
            own_distances(width, y, s, size, centers, own, squares, own_sq)
        for g in range(n_groups):
            n_wanted[g] = 0
        for s in range(np.uint64(n_here)):
            apart[s] = residuals[np.uint64(rows[np.uint64(first) + s])] if decoding else np.float32(0.0)
            slip[s] = packing_slip(squares[s], packing) + apart[s]
            tight[s] = upper_bound(own_sq[s], slip[s], differences)
            start[s], factor[s], length[s] = product_terms(squares[s], products)
        for s in range(n_here):
            i = np.int64(rows[first + s])
            a = np.int64(own[s])
            u = min(tight[s], upper[i])
            tight[s] = u
            upper[i] = u
            norm[s] = np.float32(-1.0)
            limit = u * np.float32(SLACK)
            if fresh:
                row_start, near_start = np.uint64(i * n_groups), np.uint64(a * stride)
                for g in range(np.uint64(n_groups)):
                    bound = (between[near_start + g] - u) * np.float32(1.0 - 2e-7)
                    lower[row_start + g] = bound + drift[g] * np.float32(1.0 - 4e-7)
            if not fresh and max(least[i], half[a] - u) > limit:
                continue
            rest[s] = test_groups(
                width, lower, i * n_groups, drift, between, a * stride, n_vectors, u, limit, masks, s * n_vectors
            )
            masks[(s + 1) * n_vectors - 1] &= tail
            stays = np.int64(0)
            for m in range(n_vectors):
                stays |= masks[s * n_vectors + m]
            if stays == 0:
                least[i] = rest[s]
                continue
            v1[s] = -infinite
            nearest[s] = infinite
            norm[s] = np.float32(0.0)
            for m in range(n_vectors):
                bits = masks[s * n_vectors + m]
                while bits != 0:
                    g = m * lanes + lowest_bit(bits)
                    wanted[g, n_wanted[g]] = s
                    spots[s * n_groups + g] = n_wanted[g]
                    n_wanted[g] += 1
                    bits &= bits - 1
        for g in range(n_groups):
            m = n_wanted[g]
            if m == 0:
                continue
            for p in range(m, (m + batch - 1) // batch * batch):
                wanted[g, p] = wanted[g, m - 1]
            slots = wanted[g]
            b0 = g * span
            b1 = min(b0 + span, n_blocks)
            counts[EVALUATED] += m * min(BLOCK * span, k - b0 * BLOCK)
            for block in range(b0, b1):
                for p in range(0, m, batch):
                    at = (block * (room + 12) + p) * BLOCK
                    if block == b0:
                        meet_block(
                            width, y, size, slots, p, blocks, block, halves, d, best, second, which, p, values, at
                        )
                        continue
                    meet_block(
                        width, y, size, slots, p, blocks, block, halves, d, best_here, second_here, which_here, 0,
                        values, at,
                    )  # fmt: skip
                    for r in range(batch):
                        if best_here[r] > best[p + r]:
                            second[p + r] = max(best[p + r], second_here[r])
                            best[p + r] = best_here[r]
                            which[p + r] = (block - b0) * BLOCK + which_here[r]
                        else:
                            second[p + r] = max(second[p + r], best_here[r])
            group_norm, term, gone = norms[g], product_term(norms[g], products), drift[g]
            for p in range(np.uint64(m)):
                mine = np.int64(mines[np.uint64(slots[p])]) - b0 * BLOCK
                best[p] = second[p] if which[p] == mine else best[p]
            for p in range(np.uint64(m)):
                s = np.uint64(slots[p])
                found[p] = less_slip(lower_by_product(start[s], factor[s], group_norm, term, best[p]), apart[s])
                found_lower[p] = (found[p] + gone) * np.float32(1.0 - 3e-7)
            for p in range(np.uint64(m)):
                s = np.uint64(slots[p])
                v1[s] = max(v1[s], best[p])
                nearest[s] = min(nearest[s], found[p])
                norm[s] = max(norm[s], group_norm)
                lower[np.uint64(rows[np.uint64(first) + s]) * np.uint64(n_groups) + np.uint64(g)] = found_lower[p]
        for s in range(n_here):
            if norm[s] < np.float32(0.0):  # settled
                continue
            i = np.int64(rows[first + s])
            if nearest[s] > tight[s] * np.float32(SLACK):
                least[i] = min(nearest[s], rest[s])
                norm[s] = np.float32(-1.0)
            elif decoding:
                fetch_row(np.uint64(i), from_row, row_bytes)
        for s in range(n_here):
            if norm[s] < np.float32(0.0):
                continue
            i = np.int64(rows[first + s])
            a = np.int64(own[s])
            term = product_term(norm[s], products)
            if decoding:  # the row itself in place of its code: its own distance, and those that the code leaves open
                counts[READ] += 1
                pack_rows(X, rows, first + s, 1, pack_scale, shift, packed_row)
                for e in range(np.uint64(size)):
                    y[np.uint64(s * size) + e] = packed_row[e]
                encode_rows(
                    width, y, s, s + 1, size, rows, first, labels, anchors, differences, codes, steps, residuals,
                    anchored,
                )  # fmt: skip
                own_sq[s] = row_distance(width, y, s, size, centers, a)
                slip[s] = packing_slip(row_distance(width, y, s, size, centers, k), packing)
                upper[i] = min(upper[i], upper_bound(own_sq[s], slip[s], differences))
                limit = upper[i] * np.float32(SLACK)
                if nearest[s] > limit:
                    least[i] = min(nearest[s], rest[s])
                    continue
                far = (limit + apart[s]) * np.float32(1.0 + 2e-6)
                least_value = np.float32(0.5) * (start[s] - factor[s] * norm[s] - term - far * far)
            else:
                least_value = v1[s] - product_margin(squares[s], length[s], norm[s], products)
            # the centers that may be nearest: their distances by differences, which are far more precise
            mine = np.int64(mines[s])
            home = mine // (BLOCK * span)
            most_beyond = -infinite if decoding else least_value
            near[0], near_sq[0], n_near = mine, own_sq[s], 1
            for m in range(n_vectors):
                bits = masks[s * n_vectors + m]
                while bits != 0:
                    other = m * lanes + lowest_bit(bits)
                    bits &= bits - 1
                    for block in range(other * span, min((other + 1) * span, n_blocks)):
                        at = (block * (room + 12) + spots[s * n_groups + other]) * BLOCK
                        for l in range(BLOCK):
                            place = block * BLOCK + l
                            if not (values[at + l] < least_value) and place < k and place != mine:
                                if n_near < NEAR:
                                    near[n_near] = place
                                    near_sq[n_near] = row_distance(width, y, s, size, centers, np.int64(order[place]))
                                n_near += 1
                            elif decoding and place != mine:
                                most_beyond = max(most_beyond, values[at + l])
            first_sq, second_sq, place = infinite, infinite, mine
            for q in range(min(n_near, NEAR)):
                if near_sq[q] < first_sq:
                    second_sq = first_sq
                    first_sq = near_sq[q]
                    place = near[q]
                else:
                    second_sq = min(second_sq, near_sq[q])
            # whatever was met and is not among them lies at least so far
            bound = less_slip(lower_by_product(start[s], factor[s], norm[s], term, most_beyond), apart[s])
            limit = upper_bound(first_sq, slip[s], differences) * np.float32(SLACK)
            in_doubt = decoding and not (bound > limit)
            if n_near > NEAR or in_doubt or not (lower_bound(second_sq, slip[s], differences) > limit):
                counts[DECIDED] += 1
                masks[s * n_vectors + home // lanes] |= np.int64(1) << (home % lanes)
                n_listed = 0
                for m in range(n_vectors):
                    bits = masks[s * n_vectors + m]
                    while bits != 0:
                        block = (m * lanes + lowest_bit(bits)) * span
                        bits &= bits - 1
                        for listed_block in range(block, min(block + span, n_blocks)):
                            listed[n_listed] = listed_block
                            n_listed += 1
                load_row(X, i, row)
                place = nearest_of_blocks(row, grouped, listed, n_listed, order, k, canonical_groups, out)
            label = order[place]
            g = place // (BLOCK * span)
            bound = bound if n_near <= NEAR else np.float32(0.0)
            within = bound
            for q in range(min(n_near, NEAR)):
                if near[q] != place:
                    lowest = lower_bound(near_sq[q], slip[s], differences)
                    bound = min(bound, lowest)
                    within = min(within, lowest) if near[q] // (BLOCK * span) == g else within
            least[i] = min(bound, rest[s])
            if label == a:
                if decoding:  # near ones lie no farther than their codes say, but that is known better now
                    for q in range(1, min(n_near, NEAR)):
                        at = i * n_groups + near[q] // (BLOCK * span)
                        lower[at] = max(lower[at], (bound + drift[at - i * n_groups]) * np.float32(1.0 - 3e-7))
                continue
            lower[i * n_groups + g] = (within + drift[g]) * np.float32(1.0 - 3e-7)
            left = (lower_bound(own_sq[s], slip[s], differences) + drift[home]) * np.float32(1.0 - 3e-7)
            lower[i * n_groups + home] = min(lower[i * n_groups + home], left)
            upper[i] = upper_bound(row_distance(width, y, s, size, centers, np.int64(label)), slip[s], differences)
            one[0] = label
            counts[CHANGED] += commit(
                X, i, 1, one, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
            )


@kernel(allocates=True)
def between_lane(
    width, counter, numbers, n_old, old_groups, rise, step, others, reach, blocks, halves, norms, centers, squares,
    places, error, k, d, n_groups, span, between, half, fall,
):  # fmt: skip
    """Lower bounds of the distance from every center to the nearest other one of every group, moved or taken anew.

    counter (1,) int64 INOUT; numbers (k,) int32: of the centers, the first n_old of which meet all groups, the rest
    only old_groups, int32; rise, step float32: how far a center, and any of a group, moved at most, others (k,)
    float32: any other of the center's own group; reach (k,) float32: see bounds.moved_bounds; blocks, halves, norms,
    centers, places: as bounded_lane has them, squares (k,) float32: square norms of `centers` IN; between float32
    ``[k][n_groups padded]`` INOUT; half (k,) float32: the least of a center's, fall (k,) float32: how far any other
    center within reach moved OUT.
    """
    lanes = len(width)
    size = padded(d)
    batch = batch_size(lanes)
    stride = (n_groups + lanes - 1) // lanes * lanes
    n_blocks = (k + BLOCK - 1) // BLOCK
    slots = np.empty(16, np.int32)
    best, second, which = np.empty(16, np.float32), np.empty(16, np.float32), np.empty(16, np.int32)
    start, factor = np.empty(16, np.float32), np.empty(16, np.float32)
    products = product_error(lanes, size, error)
    values = np.empty(12 * BLOCK, np.float32)
    while True:
        lo = fetch_add(counter, batch)
        if lo >= k:
            break
        n_here = min(batch, k - lo)
        for r in range(batch):
            slots[r] = numbers[min(lo + r, k - 1)]
        for r in range(n_here):
            a = np.int64(slots[r])
            start[r], factor[r], _ = product_terms(squares[a], products)
            row, way = np.uint64(a * stride), rise[a]
            for g in range(np.uint64(n_groups)):
                left = between[row + g] - (way + step[g]) * np.float32(1.0 + 4e-7)
                between[row + g] = (left if left > np.float32(0.0) else np.float32(0.0)) * np.float32(1.0 - 4e-7)
        for q in range(n_groups if lo < n_old else old_groups.shape[0]):
            g = q if lo < n_old else np.int64(old_groups[q])
            term = product_term(norms[g], products)
            for r in range(n_here):
                between[np.int64(slots[r]) * stride + g] = np.inf
            for block in range(g * span, min((g + 1) * span, n_blocks)):
                meet_block(width, centers, size, slots, 0, blocks, block, halves, d, best, second, which, 0, values, 0)
                for r in range(n_here):
                    a = np.int64(slots[r])
                    value = second[r] if block * BLOCK + which[r] == places[a] else best[r]
                    bound = lower_by_product(start[r], factor[r], norms[g], term, value)
                    if not (bound >= between[a * stride + g]):
                        between[a * stride + g] = bound
        for r in range(n_here):
            a = np.int64(slots[r])
            row, far, own = np.uint64(a * stride), reach[a], np.int64(places[a]) // (BLOCK * span)
            least, most = np.float32(np.inf), np.float32(0.0)
            for g in range(np.uint64(n_groups)):
                bound = between[row + g]
                least = min(least, bound)
                moved = step[g] if np.int64(g) != own else others[a]
                most = max(most, moved if bound < far else np.float32(0.0))
            half[a] = least
            fall[a] = most
