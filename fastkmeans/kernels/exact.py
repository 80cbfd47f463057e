"""Exact statistics: no float is ever summed over rows.

A value is rounded once to a grid (a power of two per feature, per pass for scalars) and split into digits of 32 bits,
each of which is added into an int64 of its own; nothing is carried until a pass is over.  Sums of integers do not
depend on threads, blocks or the order of rows.  A weighted term is the product of two grid integers, so that an integer
weight w equals w copies of the row, to the bit.

Digits are signed: a value is ``sum(digit[t] * 2**(32 t))``.  Sums of clusters lie as ``[cluster][digit][feature]``.
"""

from __future__ import annotations

import math

import numpy as np

from .bits import LANES, ROWS, fold_bits
from .jit import kernel
from .simd import fetch_add, float_bits, from_bits

DIGIT = 2.0**32
LOW = (1 << 32) - 1
MAGIC = 1.5 * 2.0**52  # added to an integral float64 below 2**51, it leaves the integer in the low bits
MAGIC_BITS = 0x4338 << 48
HIGH_MAGIC = MAGIC * DIGIT  # likewise for the multiple of 2**32 nearest to a float64 below 2**83
HIGH_BITS = 0x4538 << 48
MAGNITUDE = (1 << 63) - 1  # all bits of a float64 but the sign
INFINITE = 0x7FF << 52
AHEAD = 8  # rows ahead of its turn that a row's exponents are fetched (measured)


@kernel(allocates=True)
def exponents_lane(X, weights, counter, largest, count, total, finite):
    """Largest magnitude and sum of binary exponents of the non-zero values of each feature; finds NaN and infinity.

    X (n, d) any dtype, weights (n,) int64 or (0,) for ones IN; rows of weight zero count nowhere but must be finite.
    counter (1,) int64 INOUT; largest (d,) float64, count (2, d), total (2, d) int64 INOUT: weight of the non-zero
    values, and the sum of weight times exponent field, each in two digits of 31 bits; finite (1,) uint8 INOUT.
    At most 2**19 rows in all.
    """
    n, d = X.shape
    weighted = weights.shape[0] > 0
    top = np.zeros(d, np.int64)
    while True:
        start = fetch_add(counter, 1024)
        if start >= n:
            break
        for i in range(start, min(start + 1024, n)):
            w = weights[i] if weighted else 1
            low, high = w & 0x7FFFFFFF, w >> 31
            if low == 1 and high == 0:
                for j in range(d):
                    bits = float_bits(np.float64(X[i, j])) & MAGNITUDE
                    top[j] = max(top[j], bits)
                    present = np.int64(bits != 0)
                    count[0, j] += present
                    total[0, j] += present * max(bits >> 52, 1)
            else:
                for j in range(d):
                    bits = float_bits(np.float64(X[i, j])) & MAGNITUDE
                    if bits >= INFINITE:
                        finite[0] = 0
                    elif w > 0 and bits != 0:
                        top[j] = max(top[j], bits)
                        field = max(bits >> 52, 1)
                        count[0, j] += low
                        count[1, j] += high
                        total[0, j] += low * field
                        total[1, j] += high * field
    for j in range(d):
        largest[j] = max(largest[j], from_bits(top[j]))
        if top[j] >= INFINITE:
            finite[0] = 0


@kernel(allocates=True)
def exponents_flat_lane(flat, period, counter, largest, count, total, finite):
    """`exponents_lane` for few features in C order and unit weights: lanes over several rows, in periods of values.

    flat (n * d,) any dtype IN; largest (period,) float64, count (2, period), total (2, period) int64 INOUT: one entry
    per position in a period, a multiple of d; the rest as above.
    """
    n = flat.shape[0]
    top = np.zeros(period, np.int64)
    while True:
        start = fetch_add(counter, 64 * period)
        if start >= n:
            break
        for lo in range(start, min(start + 64 * period, n), period):
            place = np.uint64(lo)
            for e in range(np.uint64(min(period, n - lo))):
                bits = float_bits(np.float64(flat[place + e])) & MAGNITUDE
                top[e] = max(top[e], bits)
                present = np.int64(bits != 0)
                count[0, e] += present
                total[0, e] += present * max(bits >> 52, 1)
    for e in range(period):
        largest[e] = max(largest[e], from_bits(top[e]))
        if top[e] >= INFINITE:
            finite[0] = 0


@kernel(allocates=True)
def exponents_single_lane(bits, counter, largest, count, total, finite, odd):
    """`exponents_lane` for float32 and unit weights, by 32-bit integers: ROWS rows at a time.

    bits (n, d) uint32: the values' bits IN; odd (1,) uint8 INOUT: set where a subnormal was met, whose exponent is not
    in its bits; what was counted is of no use then.  The rest as above, for weights of one.
    """
    n, d = bits.shape
    top, present, fields = np.zeros(d, np.uint32), np.zeros(d, np.uint32), np.zeros(d, np.uint32)
    sign, one, lowest, shift = np.uint32(0x7FFFFFFF), np.uint32(1), np.uint32(0x7FFFFF), np.uint32(23)
    subnormal = False
    whole = d // LANES * LANES
    while True:
        start = fetch_add(counter, 1024)
        if start >= n:
            break
        stop = min(start + 1024, n)
        present[:], fields[:] = 0, 0
        folded = start + (stop - start) // ROWS * ROWS if whole > 0 else start
        for i in range(start, folded, ROWS):
            subnormal |= fold_bits(bits, i, whole, top, present, fields, AHEAD * d)
        for i in range(np.uint64(start), np.uint64(stop)):
            for j in range(np.uint64(whole if np.int64(i) < folded else 0), np.uint64(d)):
                a = bits[i, j] & sign
                top[j] = max(top[j], a)
                present[j] += np.uint32(a != 0)
                fields[j] += a >> shift
                subnormal |= a - one < lowest
        for j in range(d):
            count[0, j] += np.int64(present[j])
            total[0, j] += np.int64(fields[j]) + 896 * np.int64(present[j])  # the bias of float64 less that of float32
    values = top.view(np.float32)
    for j in range(d):
        largest[j] = max(largest[j], np.float64(values[j]))
        if top[j] >= np.uint32(0x7F800000):
            finite[0] = 0
    if subnormal:
        odd[0] = 1


@kernel
def split_digits(value):
    """rint(value) as digits ``high * 2**32 + low``, |low| <= 2**31: by their bits, which is faster than to convert."""
    top = value + HIGH_MAGIC
    rest = value - (top - HIGH_MAGIC)  # exact
    return float_bits(top) - HIGH_BITS, float_bits(rest + MAGIC) - MAGIC_BITS


@kernel
def row_digits(X, i, scale, digits, n_digits, out):
    """Row i of X on the feature grid, as signed digits.

    X (n, d) any dtype, scale (2, d) float64 powers of two, applied one after the other, IN;
    digits (d,) float64 scratch, out (n_digits, d) int64 OUT.
    """
    d = X.shape[1]
    if n_digits == 2:
        for j in range(d):
            value = np.rint(np.float64(X[i, j]) * scale[0, j] * scale[1, j])
            high = np.trunc(value * (1.0 / DIGIT))
            out[1, j] = np.int64(high)
            out[0, j] = np.int64(value - high * DIGIT)
        return
    for j in range(d):
        digits[j] = np.rint(np.float64(X[i, j]) * scale[0, j] * scale[1, j])
    for t in range(n_digits - 1, 0, -1):
        unit = math.ldexp(1.0, 32 * t)
        for j in range(d):
            high = np.trunc(digits[j] / unit)
            out[t, j] = np.int64(high)
            digits[j] -= high * unit
    for j in range(d):
        out[0, j] = np.int64(digits[j])


@kernel
def weigh_digits(digits, n_digits, w, out):
    """The product of digits and a weight: n_digits + 2 digits of at most 34 bits and a sign.

    digits (n_digits, d) int64 IN, w int64 >= 0 IN, out (n_digits + 2, d) int64 OUT.
    """
    d = digits.shape[1]
    w0, w1 = np.uint64(w & LOW), np.uint64(w >> 32)
    out[: n_digits + 2] = 0
    for t in range(n_digits):
        for j in range(d):
            sign = 1 if digits[t, j] >= 0 else -1
            size = np.uint64(abs(digits[t, j]))
            p0, p1 = size * w0, size * w1
            out[t, j] += sign * np.int64(p0 & np.uint64(LOW))
            out[t + 1, j] += sign * np.int64((p0 >> np.uint64(32)) + (p1 & np.uint64(LOW)))
            out[t + 2, j] += sign * np.int64(p1 >> np.uint64(32))


@kernel
def add_digits(digits, n, sign, sums, start):
    """sums[start : start + n * d] += sign * digits[:n]: int64, digits (>= n, d) IN, sums flat INOUT."""
    d = np.uint64(digits.shape[1])
    for t in range(np.uint64(n)):
        place = np.uint64(start) + t * d
        for j in range(d):
            sums[place + j] += sign * digits[t, j]


@kernel
def merge_lanes(lane_sums, lane_weights, touched, sums, weights):
    """Add the lanes' sums of the clusters they touched to the whole, carry, and clear them.

    lane_sums (lanes, k * n_digits * d), lane_weights (lanes, k) int64 INOUT, touched (lanes, k) uint8 IN,
    sums (k, n_digits, d), weights (k,) int64 INOUT.
    """
    k, n_digits, d = sums.shape
    for lane in range(lane_sums.shape[0]):
        for c in range(k):
            if touched[lane, c]:
                weights[c] += lane_weights[lane, c]
                lane_weights[lane, c] = 0
                for t in range(n_digits):
                    start = np.uint64((c * n_digits + t) * d)
                    for j in range(np.uint64(d)):
                        sums[c, t, j] += lane_sums[lane, start + j]
                        lane_sums[lane, start + j] = 0
                for t in range(n_digits - 1):
                    for j in range(d):
                        carry = sums[c, t, j] >> 32
                        sums[c, t, j] -= carry << 32
                        sums[c, t + 1, j] += carry


@kernel
def _two_sum(a, b):
    """a + b and its rounding error."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


@kernel
def _two_product(a, b):
    """a * b and its rounding error (Dekker 1971), without FMA."""
    p = a * b
    t = 134217729.0 * a
    a1 = t - (t - a)
    a2 = a - a1
    t = 134217729.0 * b
    b1 = t - (t - b)
    b2 = b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


@kernel
def digit_value(digit):
    """A digit in [0, 2**32) as float64, by its bits: few CPUs convert vectors of int64."""
    return from_bits(digit | (0x4330 << 48)) - 2.0**52


@kernel(allocates=True)
def divide_sums(sums, weights, scale, touched, single, means, centers, doubtful):
    """Means ``sums * scale / weights`` of the touched clusters, rounded to float64; lists what it can't decide.

    sums (k, n_digits, d) carried, weights (k,) int64, scale (2, d) float64: powers of two to apply one after the other,
    touched (k,) uint8 IN; single: whether the mean is meant for float32; means (k, d) float64, centers (k, d):
    the same, rounded once, INOUT; doubtful (k * d,) int64 OUT: flat places where the nearest float64 (or float32) is
    not certain, for the caller to decide in Python integers.  Returns how many.
    Quotients are double-doubles (106 bits), so a doubt is rare: near halfway between two floats, or subnormal.
    """
    k, n_digits, d = sums.shape
    n_doubtful = 0
    high, low, lost, sure = np.empty(d), np.empty(d), np.empty(d), np.empty(d, np.uint8)
    for c in range(k):
        if not touched[c] or weights[c] <= 0:
            continue
        w = np.float64(weights[c])
        w_rest = np.float64(weights[c] - np.int64(w))
        for j in range(d):  # the digits from the top, which itself may be longer than a float64
            top = sums[c, n_digits - 1, j]
            high[j], low[j] = _two_sum(np.float64(np.int32(top >> 32)) * DIGIT, digit_value(top & LOW))
            lost[j] = 0.0  # what even two float64 cannot hold: an exact quotient of the rest would prove nothing
        for t in range(n_digits - 2, -1, -1):
            for j in range(d):
                high[j], rest = _two_sum(high[j] * DIGIT, digit_value(sums[c, t, j]))
                low[j], more = _two_sum(low[j] * DIGIT, rest)
                lost[j] += abs(more)
        for j in range(d):
            h, l = _two_sum(high[j], low[j])
            q = h / w
            p, p_rest = _two_product(q, w)
            r, r_rest = _two_sum((h - p) - p_rest, l)
            correction = (r - q * w_rest) / w
            value = q + correction
            rest = correction - (value - q)
            p, p_rest = _two_product(correction, w)
            exact = (lost[j] == 0.0) & (w_rest == 0.0) & (r_rest == 0.0) & (p == r) & (p_rest == 0.0)
            scaled = value * scale[0, j] * scale[1, j]
            means[c, j] = scaled
            centers[c, j] = scaled
            size = abs(scaled)
            if single:
                middle = abs((float_bits(size) & 0x1FFFFFFF) - 0x10000000) <= 1
                clear = (size > 1.2e-38) & ((not middle) | (exact & (rest == 0.0)))
            else:
                slack = abs(value) * 2.0**-90
                clear = (size > 1e-300) & (
                    exact | ((value + (rest + slack) == value) & (value + (rest - slack) == value))
                )
            sure[j] = clear | (h == 0.0)
        for j in range(d):
            if not sure[j]:
                doubtful[n_doubtful] = c * d + j
                n_doubtful += 1
    return n_doubtful


@kernel
def add_weighted(value, w, sums, start):
    """Add value * w, both non-negative int64 below 2**62, to sums[start : start + 4], digits of 32 bits."""
    if w == 1:
        sums[start] += value & LOW
        sums[start + 1] += value >> 32
        return
    w0, w1 = np.uint64(w & LOW), np.uint64(w >> 32)
    for t in range(2):
        digit = np.uint64((value >> (32 * t)) & LOW)
        p0, p1 = digit * w0, digit * w1
        sums[start + t] += np.int64(p0 & np.uint64(LOW))
        sums[start + t + 1] += np.int64((p0 >> np.uint64(32)) + (p1 & np.uint64(LOW)))
        sums[start + t + 2] += np.int64(p1 >> np.uint64(32))


@kernel
def sum_rows(values, weights, scale0, scale1, lo, hi, sums):
    """Add ``rint(value * scale0 * scale1) * weight`` of rows lo..hi to sums, digits of a row sum.

    values (n,) float64 >= 0, weights (n,) int64 or (0,) for ones IN, sums (6,) int64 INOUT: 3 digits of the value and
    the weight's two; powers of two in two steps.  At most 2**28 rows between carries.
    """
    if weights.shape[0] == 0:
        low, middle, high = np.int64(0), np.int64(0), np.int64(0)
        for i in range(np.uint64(lo), np.uint64(hi)):  # sums of integers, so LLVM may run them side by side
            value = np.rint(values[i] * scale0 * scale1)
            d2 = np.trunc(value * 2.0**-64)
            value -= d2 * 2.0**64
            d1 = np.trunc(value * 2.0**-32)
            low += float_bits(value - d1 * 2.0**32 + MAGIC) - MAGIC_BITS
            middle += float_bits(d1 + MAGIC) - MAGIC_BITS
            high += float_bits(d2 + MAGIC) - MAGIC_BITS
        sums[0] += low
        sums[1] += middle
        sums[2] += high
        return
    for i in range(lo, hi):
        w = weights[i]
        if w == 0:
            continue
        value = np.rint(values[i] * scale0 * scale1)
        d2 = np.trunc(value * 2.0**-64)
        value -= d2 * 2.0**64
        d1 = np.trunc(value * 2.0**-32)
        d0 = value - d1 * 2.0**32
        if w == 1:
            sums[0] += np.int64(d0)
            sums[1] += np.int64(d1)
            sums[2] += np.int64(d2)
        else:
            w0, w1 = np.uint64(w & LOW), np.uint64(w >> 32)
            for t, digit in enumerate((d0, d1, d2)):
                p0, p1 = np.uint64(digit) * w0, np.uint64(digit) * w1
                sums[t] += np.int64(p0 & np.uint64(LOW))
                sums[t + 1] += np.int64((p0 >> np.uint64(32)) + (p1 & np.uint64(LOW)))
                sums[t + 2] += np.int64(p1 >> np.uint64(32))


@kernel
def compare_centers(old, new, means, mean, weights):
    """The shift of the centers, and how far the inertia of the old ones lies below the scatter about `mean`.

    old, new (k, d) centers, means (k, d), mean (d,), weights (k,) float64 IN.  The shift is the sum over clusters, in
    order, of the canonical squared distance between old and new.  The other, by the theorem of the means, is the sum of
    ``w (|mean_c - mean|^2 - |mean_c - old_c|^2)``; it cancels, and serves the history only.
    """
    shift, below = 0.0, 0.0
    for c in range(old.shape[0]):
        moved, between, off = 0.0, 0.0, 0.0
        for j in range(old.shape[1]):
            t = np.float64(new[c, j]) - np.float64(old[c, j])
            moved += t * t
            t = means[c, j] - mean[j]
            between += t * t
            t = means[c, j] - np.float64(old[c, j])
            off += t * t
        shift += moved
        if weights[c] > 0.0:
            below += weights[c] * (between - off)
    return shift, below
