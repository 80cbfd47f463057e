"""The dense pass with an integer filter before the float32 arithmetic: see integer.py, and lloyd.py for the rest.

A lane packs a tile of rows, rounds it to 16 bits, and computes the filter values of all centers.  A center can be the
nearest only if its value reaches the largest one less twice the filter's error

    e = gamma (|y| m + m^2/2) + (d + 3) 2^-53 r^2 / 2 + floor        as in lloyd.py, and
      + residual(y) m + (|y| + residual(y)) residual(c)              what sixteen bits take from y.c.

Mostly one center is left, and it is the label.  Otherwise those left are compared by differences in float32, whose
error shrinks with the distance, and what that leaves in doubt by the canonical value.

The filter values bound all distances, so that the pass can leave behind the bounds that elkan.py works with: then
centers come in the order of their groups.
"""

from __future__ import annotations

import math

import numpy as np

from .blocks import BLOCK, block_tops, bounds_of_tops
from .bounds import SCAN, difference_error, packing_error, packing_slip, product_error, product_terms, upper_bound
from .canonical import GROUP, WIDE, WIDE_ROWS, block_distances, nearest_in_groups
from .integer import FOUR, difference_sq, filter_tile, list_candidates, quantize_tile, row_limit, row_maxima
from .jit import kernel
from .lloyd import BLOCKS, CHANGED, DECIDED, commit, mark_group
from .micro import CHUNK, ROWS
from .pack import load_row, pack_tile
from .simd import fetch_add

BLOCK_TILES = 20  # tiles of a block
CENTER_BYTES = 1 << 20  # integer centers that are swept at a time
REFINED = 3  # column of a lane's counters: distances compared in float32
# More than the product of two steps can lose to underflow, times 2**31.  It also covers a row's residual whose squares
# underflow: what is lost there, up to sqrt(d) 2**-75 times m, lies below gamma m^2/2, or below this where m is small.
UNDERFLOW = 1e-35
LOWEST = np.float32(-3.4e38)
SLACK = 5e-7  # rounding of a float32 threshold, relative to the value it is taken from


@kernel
def filter_error(square, residual, v1, norm, largest, error, c_residual):
    """The bound 2 e of the filter for one row, from the norm of the center of its largest value; float64.

    square, residual: of the row, see quantize_tile; v1: its largest value; error: see lloyd.margin.
    """
    square = square * (1.0 + error[5]) + error[4]
    length = math.sqrt(square)
    residual = residual * (1.0 + error[5]) + error[3]
    constant = (length + residual) * c_residual + error[2] + UNDERFLOW
    own = error[0] * (length * norm + 0.5 * norm * norm) + error[1] * square + residual * norm + constant
    own += error[3] * (length + norm)
    r_sq = max(square - 2.0 * v1 + 2.0 * own, 0.0) * (1.0 + 1e-6)
    m = min(length + math.sqrt(r_sq), largest)
    e = error[0] * (length * m + 0.5 * m * m) + error[1] * r_sq + residual * m + constant + error[3] * (length + m)
    return 2.02 * e


@kernel
def direct_error(distance_sq, length_sum, error, d):
    """Bound of what separates difference_sq from the canonical value of the same pair, in packed units; float64.

    distance_sq: difference_sq; length_sum: |y| + |c|; error: see lloyd.margin.
    """
    unit = 2.0**-24
    moved = unit * length_sum * 1.01 + error[3]  # how far packing may have moved the two from each other
    r = math.sqrt(distance_sq + error[2]) * 1.001  # error[2]: squares that underflow are missing from the sum
    return 1.05 * (((d / 4 + 16) * unit + 2.0 * error[1]) * distance_sq + (2.0 * r + moved) * moved + 2.0 * error[2])


@kernel
def thresholds(v1, squares, residuals, n, cutoff, largest, c_residual, out):
    """What a filter value must reach, for n rows, by the cheap bound with the largest |c'| for m.

    v1, squares, residuals (n,) float32, cutoff as in lloyd.certify, largest, c_residual float32 IN; out (n,) float32.
    """
    for i in range(n):
        square = squares[i] + cutoff[3]
        length = np.sqrt(square) * np.float32(1.001)
        rest = residuals[i] * np.float32(1.001)
        margin = cutoff[0] * length + cutoff[1] * square + cutoff[2] + np.float32(UNDERFLOW)
        margin += np.float32(2.05) * (rest * largest + (length + rest) * c_residual)
        # above the -inf of duplicates and padding, however little the bound may promise: these are no candidates
        out[i] = max(v1[i] - margin - abs(v1[i]) * np.float32(SLACK), LOWEST)


@kernel
def keep_bounds(
    width, start, stop, spread, span, new, n0, places, values, value_stride, squares, residuals, rest_norm,
    group_norms, y, size, d, packed, largest, error, tops, held, held_norms, upper, least, lower,
):  # fmt: skip
    """What the filter values of rows start..stop leave of every group, but for the row's own center.

    new, from n0 on: their labels; values: INOUT, for the own center's is taken out; tops, held float32, multiples of
    w: scratch; held_norms: group_norms, and zeros up to that length.  The rest as filtered_lane has it.
    """
    n_bounds, lanes = group_norms.shape[0], len(width)
    padded = (d + 15) // 16 * 16
    products, packing = product_error(lanes, padded, error), packing_error(largest, error)
    differences = difference_error(padded // lanes, error)
    for r in range(stop - start):
        i = start + r
        if i // SCAN % spread != 0:
            continue
        place, at = np.int64(places[new[n0 + r]]), r * value_stride
        values[at + place] = -np.inf
        block_tops(width, values, at, tops)
        if span > 1:
            for g in range(n_bounds):
                top = tops[g * span]
                for b in range(g * span + 1, min((g + 1) * span, tops.shape[0])):
                    top = max(top, tops[b])
                tops[g] = top
            tops[n_bounds:] = -np.inf
        first, factor, length = product_terms(squares[r], products)
        rest = residuals[r] * np.float32(1.0 + 1.05 * error[5]) + np.float32(1.01 * error[3])
        first -= np.float32(2.05) * ((length + rest) * rest_norm + np.float32(UNDERFLOW))
        first -= np.float32(4e-7) * squares[r]
        factor = (factor + np.float32(2.05) * rest) * np.float32(1.0 + 2e-7)
        least[i] = bounds_of_tops(width, tops, held_norms, first, factor, products[0], held)
        for g in range(np.uint64(n_bounds)):
            lower[np.uint64(i) * np.uint64(n_bounds) + g] = held[g]
        own_sq = difference_sq(width, y, r // ROWS * size + r % ROWS * CHUNK, d, packed, place * padded)
        upper[i] = upper_bound(own_sq, packing_slip(squares[r], packing), differences)


@kernel(allocates=True)
def filtered_lane(
    width, X, weights, counter, pack_scale, shift, integers, unit, c_residual, packed, halves, norms, largest, cutoff,
    error, grouped, order, places, k, patience, ahead, row_bytes, spread, span, group_norms, upper, least, lower,
    measure, measured, distances, labels, update, scale, sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    """The pass with lanes = centers and the integer filter.

    integers, unit, c_residual: centers from quantize_centers; packed (k * d rounded up to 16,) float32: the same,
    packed; order, places (k,) int32: index by place and place by index, for all but `grouped` are by place; patience:
    candidates per row beyond the first that are worth the filter: where blocks have more, the lane returns early and
    leaves the rest to lloyd.centers_lane, by way of the counter.  ahead, row_bytes: address of X and bytes of a row, to
    fetch rows before they are packed, or 0 where they do not follow each other.
    spread: bounds are kept of every spread-th stretch of SCAN rows, of none where it is 0; span: blocks of a group;
    group_norms (n_groups,) float32: the largest norm of every group IN; upper, least (n,), lower float32 OUT: the
    bounds of bounded_lane, with no drift.  The rest as there.
    """
    n, d = X.shape
    lanes = len(width)
    block = BLOCK_TILES * ROWS
    size = (d + CHUNK - 1) // CHUNK * ROWS * CHUNK
    stride = X.strides[0]
    pairs, padded = (d + 1) // 2, (d + 15) // 16 * 16
    n_groups = (k + lanes - 1) // lanes
    sweep = max(2, CENTER_BYTES // (4 * pairs * lanes) // 2 * 2)
    batch = 1 if sweep >= n_groups else BLOCK_TILES  # tiles that lie packed at a time
    scanned = (n_groups + FOUR - 1) // FOUR * FOUR * lanes
    value_stride = scanned if spread == 0 else (scanned + BLOCK * lanes - 1) // (BLOCK * lanes) * BLOCK * lanes
    batch = max(1, min(batch, (1 << 18) // (ROWS * value_stride)))
    y, q = np.zeros(batch * size, np.float32), np.zeros(batch * size, np.int16)
    values = np.full(batch * ROWS * value_stride, -np.inf, np.float32)
    best = np.empty(batch * ROWS * lanes, np.float32)
    rows = batch * ROWS
    v1, squares, residuals = np.empty(rows, np.float32), np.empty(rows, np.float32), np.empty(rows, np.float32)
    steps, levels = np.empty(rows, np.float32), np.empty(rows, np.float32)
    new = np.empty(block, np.int32)
    row, padded_row = np.empty(d), np.zeros((d + 7) // 8 * 8)
    terms, order_sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    candidates, lowest = np.empty(value_stride, np.int32), np.empty(value_stride)
    marked = np.empty((k + GROUP - 1) // GROUP + 1, np.int64)
    out = np.empty(marked.shape[0] * GROUP)
    lines = (ROWS * row_bytes // 64 + 1) // ((min(sweep, n_groups) + 1) // 2) + 1 if row_bytes > 0 else 0
    limit = np.float32(row_limit(d))
    largest_norm, rest_norm = np.float32(largest * 1.001), np.float32(c_residual * 1.001)
    tops = np.full(value_stride // BLOCK, -np.inf, np.float32)
    held, held_norms = np.empty(tops.shape[0], np.float32), np.zeros(tops.shape[0], np.float32)
    for g in range(group_norms.shape[0]):
        held_norms[g] = group_norms[g]
    seen, spent = 0, 0
    while spent <= patience * seen + 1e4:
        lo = fetch_add(counter, block)
        if lo >= n:
            break
        hi = min(lo + block, n)
        for start in range(lo, hi, rows):
            stop = min(start + rows, hi)
            n_tiles = (stop - start + ROWS - 1) // ROWS
            for g in range(0, n_groups, sweep):
                for t in range(n_tiles):
                    here, row_end = start + t * ROWS, min(start + (t + 1) * ROWS, stop)
                    following = ahead + (here + ROWS) * stride
                    if g == 0:
                        pack_tile(X, here, row_end, pack_scale, shift, y, t * size, 0, 0)
                        quantize_tile(width, y, t * size, d, limit, unit, q, steps, residuals, squares, t * ROWS)
                    filter_tile(
                        width, q, t * size, integers, g * pairs * lanes * 2, halves, g * lanes, d,
                        min(sweep, n_groups - g), g, steps, t * ROWS, best, values, t * ROWS * value_stride,
                        value_stride, following, lines if g == 0 else 0,
                    )  # fmt: skip
            for t in range(n_tiles):
                row_maxima(width, best, v1, t * ROWS)
            thresholds(v1, squares, residuals, n_tiles * ROWS, cutoff, largest_norm, rest_norm, levels)
            for r in range(stop - start):
                at = r * value_stride
                count = list_candidates(width, values, at, scanned, levels[r], candidates)
                place = np.int64(candidates[0])
                label = order[place]
                if count > 1:
                    top = place
                    for c in range(count):
                        if values[at + candidates[c]] == v1[r]:
                            top = candidates[c]
                            break
                    allowed = filter_error(
                        np.float64(squares[r]), np.float64(residuals[r]), np.float64(v1[r]), norms[top], largest, error,
                        c_residual,
                    )  # fmt: skip
                    level = np.float64(v1[r]) - allowed
                    left = 0
                    for c in range(count):
                        if np.float64(values[at + candidates[c]]) >= level:
                            candidates[left] = candidates[c]
                            left += 1
                    place = np.int64(candidates[0])
                    label = order[place]
                    if left > 1:
                        length = math.sqrt(np.float64(squares[r]) * (1.0 + error[5]) + error[4])
                        packed_row = r // ROWS * size + r % ROWS * CHUNK
                        reach, nearest = np.inf, np.inf
                        for c in range(left):
                            center = candidates[c]
                            distance = np.float64(difference_sq(width, y, packed_row, d, packed, center * padded))
                            e = direct_error(distance, length + norms[center], error, d)
                            reach = min(reach, distance + e)
                            lowest[c] = distance - e
                            if distance < nearest:
                                nearest, label = distance, order[center]
                        close, found = 0, 0
                        for c in range(left):
                            if lowest[c] <= reach:
                                close += 1
                                found = mark_group(np.int64(order[candidates[c]]) // GROUP, marked, found)
                        if close > 1:
                            load_row(X, start + r, row)
                            label = nearest_in_groups(row, grouped, marked, found, k, out)
                            counts[DECIDED] += 1
                        spent += left
                new[start - lo + r] = label
            if spread > 0:
                keep_bounds(
                    width, start, stop, spread, span, new, start - lo, places, values, value_stride, squares, residuals,
                    rest_norm, group_norms, y, size, d, packed, largest, error, tops, held, held_norms,
                    upper, least, lower,
                )  # fmt: skip
        seen += hi - lo
        counts[CHANGED] += commit(
            X, lo, hi - lo, new, weights, labels, update, scale, padded_row, sums, cluster_weights, touched
        )
        if measure:
            block_distances(X, lo, hi, measured, labels, weights, distances, largest_sq, terms, order_sums)
        counts[BLOCKS] += 1
    counts[REFINED] += spent
