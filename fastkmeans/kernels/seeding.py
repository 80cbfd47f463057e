"""Kernels of k-means++ that look at rows one number at a time: draws, gains, and the steps themselves.

The potential of a row is the integer ``weight * rint(distance_sq * 2**-g)``.  Rows are proposed by potentials that were
frozen some steps ago and accepted with the share that is left of them, so that proposals of several steps are known,
and evaluated, in advance.  Evaluation leaves one list per candidate, of rows it comes nearer to and their distances;
`advance` takes steps from these lists alone.
"""

from __future__ import annotations

import numpy as np

from .exact import LOW, add_weighted
from .jit import kernel
from .simd import fetch_add, float_bits, from_bits

BITS = 50  # of a row's potential without its weight: sums of BLOCK of them stay below 2**63
UNIT = 2.0**52  # added to a number below 2**51, leaves it rounded in the low bits
DIGITS = 4  # of 32 bits, of a potential: 50 bits of value times 62 of weight
BLOCK = 1024  # rows whose frozen potential is kept as one number
AT_ONCE = 8 * BLOCK  # rows a lane takes at a time: where another goes on, both fetch the same
STRETCH = 64  # of them that vectors add up, where every row weighs one
MISSES = 16  # proposals that may be refused before the potentials are frozen anew
CHOSEN, CURSOR, MISSED, PENDING = range(4)  # of the state of `advance`


@kernel
def rounded(value):
    """A number from 0 to below 2**51 as an integer, to even if in the middle: as np.rint, but vectors of them, too."""
    return float_bits(value + UNIT) - float_bits(UNIT)


@kernel
def largest_lane(values, counter, largest):
    """The largest of some numbers, none of them negative: values (n,) float64 IN, counter, largest (1,) INOUT."""
    n = values.shape[0]
    while True:
        start = fetch_add(counter, AT_ONCE)
        if start >= n:
            break
        bits = np.int64(0)
        for i in range(np.uint64(start), np.uint64(min(start + AT_ONCE, n))):
            bits = max(bits, float_bits(values[i]))  # which are in the same order, and maxima of integers are vectors
        largest[0] = max(largest[0], from_bits(bits))


@kernel
def freeze_lane(nearest_sq, weights, counter, scale0, scale1, frozen_sq, sums):
    """Copy the distances, and add up the potentials of each block of rows.

    nearest_sq (n,) float64, weights (n,) int64 or (0,) for ones, scale0, scale1: powers of two to apply one after the
    other IN; counter (1,) int64 INOUT; frozen_sq (n,) float64, or (0,) for no copy, sums (blocks, DIGITS) int64 OUT.
    """
    n = nearest_sq.shape[0]
    while True:
        start = fetch_add(counter, AT_ONCE)
        if start >= n:
            break
        for lo in range(start, min(start + AT_ONCE, n), BLOCK):
            block = lo // BLOCK
            first, last = np.uint64(lo), np.uint64(min(lo + BLOCK, n))
            if frozen_sq.shape[0] > 0:
                for i in range(first, last):
                    frozen_sq[i] = nearest_sq[i]
            for t in range(DIGITS):
                sums[block, t] = 0
            if weights.shape[0] > 0:
                for i in range(first, last):
                    value = np.int64(np.rint(nearest_sq[i] * scale0 * scale1))
                    add_weighted(value, weights[i], sums[block], 0)
            else:
                total = np.int64(0)
                for i in range(first, last):
                    total += rounded(nearest_sq[i] * scale0 * scale1)
                sums[block, 0] = total & LOW
                sums[block, 1] = total >> 32


@kernel
def _wide_product(a, b):
    """The 128-bit product of two non-negative int64, as two uint64."""
    low = np.uint64(LOW)
    half = np.uint64(32)
    a0, a1 = np.uint64(a) & low, np.uint64(a) >> half
    b0, b1 = np.uint64(b) & low, np.uint64(b) >> half
    p = a0 * b0
    middle = a1 * b0 + (p >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half), (other << half) | (p & low)


@kernel
def locate(nearest_sq, weights, lo, hi, scale0, scale1, high, low):
    """First row of lo..hi whose running potential exceeds ``high * 2**64 + low`` (uint64 each), and what is left of it.

    Returns (row, high, low), the row hi where none does.  Without weights the running potential fits in an int64.
    """
    if weights.shape[0] == 0:
        start, left = lo, np.int64(low)
        while start < hi:  # a row at a time takes three times as long
            total = np.int64(0)
            for i in range(np.uint64(start), np.uint64(min(start + STRETCH, hi))):
                total += rounded(nearest_sq[i] * scale0 * scale1)
            if total > left:
                break
            left -= total
            start += STRETCH
        for i in range(start, hi):
            value = np.int64(np.rint(nearest_sq[i] * scale0 * scale1))
            if value > left:
                return i, np.uint64(0), np.uint64(left)
            left -= value
        return hi, np.uint64(0), np.uint64(left)
    for i in range(lo, hi):
        value = np.int64(np.rint(nearest_sq[i] * scale0 * scale1))
        p_high, p_low = _wide_product(value, weights[i])
        if p_high > high or (p_high == high and p_low > low):
            return i, high, low
        if p_low > low:  # borrow
            low = (np.uint64(0xFFFFFFFFFFFFFFFF) - p_low) + low + np.uint64(1)
            high -= p_high + np.uint64(1)
        else:
            low -= p_low
            high -= p_high
    return hi, high, low


@kernel
def remainder(high, low, divisor):
    """``(high * 2**64 + low) % divisor``: uint64, 0 < divisor < 2**62 int64; returns int64."""
    d = np.uint64(divisor)
    rest = high % d
    if high == 0:
        return np.int64(low % d)
    for bit in range(63, -1, -1):
        rest = (rest << np.uint64(1)) | ((low >> np.uint64(bit)) & np.uint64(1))
        if rest >= d:
            rest -= d
    return np.int64(rest)


@kernel
def settle_digits(digits):
    """Carry: digits int64 INOUT end in [0, 2**32) but the highest."""
    for t in range(digits.shape[0] - 1):
        carry = digits[t] >> 32
        digits[t] -= carry << 32
        digits[t + 1] += carry


@kernel(allocates=True)
def running_sums(sums, running):
    """Sums of the potentials of blocks up to each of them: (blocks, DIGITS) int64, sums IN, running, carried, OUT."""
    total = np.zeros(DIGITS, np.int64)
    for block in range(sums.shape[0]):
        for t in range(DIGITS):
            total[t] += sums[block, t]
        settle_digits(total)
        for t in range(DIGITS):
            running[block, t] = total[t]


@kernel
def _below(digits, others):
    """Whether a number is less than another: (DIGITS,) int64, carried."""
    for t in range(DIGITS - 1, -1, -1):
        if digits[t] != others[t]:
            return digits[t] < others[t]
    return False


@kernel(allocates=True)
def propose(words, running, frozen_sq, weights, scale0, scale1, rows, inside):
    """Rows that pairs of words stand for, and how far inside the potential that one unit of the row's weight has.

    words (m, 2) uint64: ``high * 2**64 + low``, in units of 2**-128 of the sum of all potentials; running: as
    running_sums leaves it; frozen_sq (n,) float64, weights (n,) int64 or (0,) for ones IN; rows, inside (m,) int64 OUT.
    """
    n, last = frozen_sq.shape[0], running.shape[0] - 1
    product, half, low = np.empty(4 + DIGITS, np.int64), np.uint64(32), np.uint64(LOW)
    for p in range(words.shape[0]):
        product[:] = 0
        for s in range(4):
            word = words[p, 1 - s // 2]
            word = word >> half if s % 2 else word & low
            for t in range(DIGITS):
                part = word * np.uint64(running[last, t])
                product[s + t] += np.int64(part & low)
                product[s + t + 1] += np.int64(part >> half)
        settle_digits(product)
        target = product[4:]
        block, end = 0, last  # the first block whose running sum exceeds the target
        while block < end:
            middle = (block + end) // 2
            if _below(target, running[middle]):
                end = middle
            else:
                block = middle + 1
        if block > 0:
            for t in range(DIGITS):
                target[t] -= running[block - 1, t]
            settle_digits(target)
        above = np.uint64((target[3] << 32) + target[2])
        below = (np.uint64(target[1]) << half) + np.uint64(target[0])
        lo = block * BLOCK
        i, above, below = locate(frozen_sq, weights, lo, min(lo + BLOCK, n), scale0, scale1, above, below)
        rows[p] = i
        inside[p] = remainder(above, below, np.int64(np.rint(frozen_sq[i] * scale0 * scale1)))


@kernel(allocates=True)
def bring_nearer(X, rows, seeds, first_label, nearest_sq, labels):
    """Take seeds into account for some rows: X (m, d) float64, rows (m,) int64, seeds (t, d) float64 IN."""
    m, d = X.shape
    values = np.empty(4)
    for t in range(seeds.shape[0]):
        seed = seeds[t]
        for p in range(0, m, 4):  # four chains of additions side by side hide each other's latency
            q, r, s = min(p + 1, m - 1), min(p + 2, m - 1), min(p + 3, m - 1)
            v, w, x, y = 0.0, 0.0, 0.0, 0.0
            for j in range(d):
                v += (X[p, j] - seed[j]) * (X[p, j] - seed[j])
                w += (X[q, j] - seed[j]) * (X[q, j] - seed[j])
                x += (X[r, j] - seed[j]) * (X[r, j] - seed[j])
                y += (X[s, j] - seed[j]) * (X[s, j] - seed[j])
            values[0], values[1], values[2], values[3] = v, w, x, y
            for e in range(min(4, m - p)):
                i = rows[p + e]
                if values[e] < nearest_sq[i]:
                    nearest_sq[i], labels[i] = values[e], np.int32(first_label + t)


@kernel
def accepted(rows, inside, nearest_sq, scale0, scale1, flags):
    """Whether each proposal falls inside what is left of the potential: rows, inside (m,) int64 IN; flags uint8 OUT."""
    for p in range(rows.shape[0]):
        flags[p] = inside[p] < np.int64(np.rint(nearest_sq[rows[p]] * scale0 * scale1))


@kernel
def collect(rows, inside, nearest_sq, scale0, scale1, n_candidates, state, taken):
    """The proposals that become the candidates of the next step; returns how many there are.

    taken (n_candidates,) int64 OUT: their numbers.  state: MISSED and CURSOR advance where the step is complete, or
    where the potentials must be frozen anew first; PENDING is then the number of candidates found so far.
    """
    cursor, misses, count = state[CURSOR], state[MISSED], 0
    while count < n_candidates and misses < MISSES and cursor < rows.shape[0]:
        if inside[cursor] < np.int64(np.rint(nearest_sq[rows[cursor]] * scale0 * scale1)):
            taken[count] = cursor
            count += 1
        else:
            misses += 1
        cursor += 1
    if count == n_candidates or misses == MISSES:
        state[CURSOR], state[MISSED] = cursor, misses
        state[PENDING] = count
    return count


@kernel(allocates=True)
def advance(
    proposals, inside, slots, n_candidates, k, scale0, scale1, weights, starts, rows, values,
    nearest_sq, labels, chosen, state, taken,
):  # fmt: skip
    """Take steps until the proposals run out, the potentials must be frozen anew, or k rows are chosen.

    proposals, inside (m,) int64: rows, and where in their potential, slots (m,) int32: numbers of their lists;
    starts (lists + 1,) int64, rows int32 or int64, values float64: the lists: rows each comes nearer to, and their
    distances IN; nearest_sq (n,) float64, labels (n,) int32, chosen (k,) int64, state (4,) int64 INOUT;
    taken (n_candidates,) int64 OUT: the candidates found for a step that is not complete.
    """
    weighted = weights.shape[0] > 0
    gain, best = np.zeros(DIGITS, np.int64), np.zeros(DIGITS, np.int64)
    while state[CHOSEN] < k:
        count = collect(proposals, inside, nearest_sq, scale0, scale1, n_candidates, state, taken)
        if count < n_candidates:
            return
        winner = -1
        for c in range(n_candidates):
            slot = slots[taken[c]]
            gain[:] = 0
            small, large = np.int64(0), np.int64(0)
            if weighted:
                for e in range(starts[slot], starts[slot + 1]):
                    before = nearest_sq[rows[e]]
                    if values[e] < before:
                        now = np.int64(np.rint(before * scale0 * scale1))
                        fall = now - np.int64(np.rint(values[e] * scale0 * scale1))
                        add_weighted(fall, weights[rows[e]], gain, 0)
            else:
                for e in range(np.uint64(starts[slot]), np.uint64(starts[slot + 1])):
                    before = nearest_sq[np.uint64(rows[e])]
                    after = values[e] if values[e] < before else before
                    fall = rounded(before * scale0 * scale1) - rounded(after * scale0 * scale1)
                    small += fall & LOW
                    large += fall >> 32
            gain[0] += small
            gain[1] += large
            settle_digits(gain)
            better = winner < 0
            if not better:
                for t in range(DIGITS - 1, -1, -1):
                    if gain[t] != best[t]:
                        better = gain[t] > best[t]
                        break
            if better:
                winner = c
                for t in range(DIGITS):
                    best[t] = gain[t]
        slot, label = slots[taken[winner]], np.int32(state[CHOSEN])
        for e in range(starts[slot], starts[slot + 1]):
            if values[e] < nearest_sq[rows[e]]:
                nearest_sq[rows[e]] = values[e]
                labels[rows[e]] = label
        chosen[label] = proposals[taken[winner]]
        state[CHOSEN] += 1


@kernel
def group_entries(lane_rows, lane_slots, lane_values, counts, starts, places, rows, values):
    """Bring the lanes' entries into one list per candidate.

    lane_rows, lane_slots, lane_values (lanes, room), counts (lanes,) int64 IN; starts (lists + 1,) int64 OUT;
    places (lists,) int64 scratch; rows, values: the lists, one after the other OUT.
    """
    n_lists = places.shape[0]
    starts[:] = 0
    for lane in range(counts.shape[0]):
        for e in range(counts[lane]):
            starts[lane_slots[lane, e] + 1] += 1
    for q in range(n_lists):
        starts[q + 1] += starts[q]
        places[q] = starts[q]
    for lane in range(counts.shape[0]):
        for e in range(counts[lane]):
            q = lane_slots[lane, e]
            place = places[q]
            rows[place], values[place] = lane_rows[lane, e], lane_values[lane, e]
            places[q] = place + 1
