"""The visit of the rows by their codes: every row is compared with all candidates in integers of 8 or 16 bits.

Where most rows have a candidate within reach, this costs less than to find out which have.  The codes are of the rows
or, where that leaves few pairs, of their map.  Pairs that they leave are dismissed by differences in float32, or
decided by the canonical value and listed as visit.py has it.
"""

from __future__ import annotations

import numpy as np

from .canonical import WIDE, WIDE_ROWS
from .codes import WORD, filter_rows, square_apart
from .distance_table import rows_as_they_are
from .jit import kernel
from .micro import ROWS
from .simd import fetch_add, fetch_ahead, lowest_bit
from .visit import decide

VISIT = 96 * ROWS  # rows of a block
AHEAD = 16  # rows that one is fetched before its turn


@kernel(allocates=True)
def coded_candidates_lane(
    width, kind, X, counter, words, steps, code_lows, lengths, rests, origins, code_scale, code_error, length_error,
    code_groups, n_words, code_halves, unit, code_residual, code_largest, nearest_sq, offset, plain, square0, square1,
    relative, a, floor, pack_scale, shift, centers, candidates, first_slot, ahead, row_bytes,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """List the rows that come nearer to each candidate, and their distances.

    words ... origins: codes of the rows, as codes.encode_lane leaves them; code_scale (2,): the scale of what is
    encoded, twice, code_error, length_error: its bounds, code_groups ... code_largest: codes of the candidates: see
    codes.filter_rows; plain: whether rows are float32 in C order, and packed ones equal to them; relative, a, floor,
    pack_scale, shift: as fast_gains.fast_gains_lane has them; centers float32 [M][d rounded up to 16]: candidates
    packed, with zeros IN; count[1]: rows that were read; the rest as in visit.candidates_lane.
    """
    n, d = X.shape
    of = shift.dtype.type
    padded = (d + 15) // 16 * 16
    n_groups = code_halves.shape[0] // len(width)
    n_masks = (n_groups * len(width) + WORD - 1) // WORD
    inverses, bases = np.empty(VISIT, np.float32), np.empty(VISIT, np.int32)
    masks = np.full(n_masks * VISIT, -1)
    some, visited = np.empty(VISIT, np.int64), np.empty(VISIT + 1, np.int64)
    parts, part_words = np.empty(n_masks + 1, np.int64), np.empty(n_masks + 1, np.int64)
    y = np.zeros(padded, np.float32)
    raw, as_they_are = rows_as_they_are(X, y), plain and padded == d
    pair_rows, pair_slots = np.empty(WIDE_ROWS, np.int64), np.empty(WIDE_ROWS, np.int64)
    terms, sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    above, off, least = np.float32(1.0 + 2.0 * relative + 1e-6), np.float32(2.1 * a), np.float32(2.0 * a * a + floor)
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        n_visited = filter_rows(
            width, kind, start, min(start + VISIT, n), words, n_words, code_groups, n_groups, code_halves, unit, steps,
            code_lows, lengths, rests, origins, nearest_sq, code_scale, code_error, length_error, code_residual,
            code_largest, inverses, bases, masks, n_masks, some, visited,
        )  # fmt: skip
        count[1] += n_visited
        n_pairs = 0
        for v in range(n_visited):
            line = ahead + (start + visited[min(v + AHEAD, n_visited - 1)]) * row_bytes
            for byte in range(0, row_bytes, 64):
                fetch_ahead(line + byte)
            i = start + visited[v]
            if not as_they_are:
                for j in range(np.uint64(d)):
                    y[j] = of(X[np.uint64(i), j]) * pack_scale - shift[j]
            near = np.float32(nearest_sq[i] * square0 * square1)
            limit = near * above + off * np.sqrt(near) + least
            n_parts = 0
            for u in range(n_masks):
                part_words[n_parts], parts[n_parts] = u, ~masks[u * VISIT + visited[v]]
                n_parts += parts[n_parts] != 0
            for e in range(n_parts):
                u, mask = part_words[e], parts[e]
                while mask != 0:
                    q = u * WORD + lowest_bit(mask)
                    mask &= mask - 1
                    # without a branch: nobody foresees which of them are near
                    pair_rows[n_pairs], pair_slots[n_pairs] = i, q
                    square = square_apart(width, raw, i * d, y, as_they_are, centers, q * padded, padded)
                    n_pairs += square <= limit
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
