"""Kernels of k-means++: which rows a step's candidates come nearer to, and by how much the potential falls.

Candidates of a step are one or a few groups of a micro-kernel.  A fast value that can't undercut a row's distance is
dismissed by the same error bound as in lloyd.py; what remains is decided by the canonical value.  Potentials are sums
of integers, ``weight * rint(distance_sq * 2**-g)``.
"""

from __future__ import annotations

import math

import numpy as np

from .canonical import GROUP, group_values_plain, values_of_groups
from .exact import LOW, add_weighted
from .jit import kernel
from .micro import CHUNK, ROWS, lanes_above, tile_values
from .pack import load_row, pack_tile, tile_norms
from .simd import fetch_add

DIGITS = 4  # of a potential: 62 bits of value times 62 of weight
BLOCK = 4096  # rows whose potential is kept as one number


@kernel
def record(i, lane_candidate, distance, W, scale0, scale1, old, gains, rows, which, values, state):
    """Note that a candidate comes nearer to row i: its gain, and the row itself while there is room in the list."""
    gain = np.int64(np.rint(old * scale0 * scale1)) - np.int64(np.rint(distance * scale0 * scale1))
    add_weighted(gain, W, gains, lane_candidate * DIGITS)
    at = state[0]
    if at < rows.shape[0]:
        rows[at], which[at], values[at] = i, lane_candidate, distance
    state[0] = at + 1


@kernel
def plain_candidates_lane(
    X, weights, counter, nearest_sq, offset, grouped, L, scale0, scale1, gains, rows, which, values, state
):
    """As candidates_lane with plain loops: every candidate's canonical distance to every row."""
    n, d = X.shape
    weighted = weights.shape[0] > 0
    row, out = np.empty(d), np.empty(GROUP)
    while True:
        lo = fetch_add(counter, 1024)
        if lo >= n:
            break
        for i in range(lo, min(lo + 1024, n)):
            w = weights[i] if weighted else 1
            if w == 0 or nearest_sq[i] == 0.0:
                continue
            load_row(X, i, row)
            for c in range(L):
                if c % GROUP == 0:
                    group_values_plain(row, grouped, c // GROUP, out)
                if out[c % GROUP] < nearest_sq[i]:
                    record(
                        offset + i,
                        c,
                        out[c % GROUP],
                        w,
                        scale0,
                        scale1,
                        nearest_sq[i],
                        gains,
                        rows,
                        which,
                        values,
                        state,
                    )


@kernel
def candidates_lane(
    width, X, weights, counter, nearest_sq, offset, pack_scale, shift, groups, halves, largest, error, square_scale,
    grouped, L, scale0, scale1, gains, rows, which, values, state,
):  # fmt: skip
    """Rows each candidate comes nearer to, their gains, and the rows themselves.

    X (n, d) any dtype, weights (n,) int64 or (0,), nearest_sq (n,) float64: canonical distance to the nearest
    seed, offset: number of the first row IN;
    groups, halves, largest, error: the packed candidates and their bounds as in lloyd.py; square_scale (2,) float64:
    turns a squared distance into packed units; grouped: candidates as canonical.group_centers; L: their number;
    scale0, scale1: powers of two, the potential's grid; gains (L * DIGITS,) int64 INOUT; rows (m,) int64, which (m,)
    int32, values (m,) float64 OUT: the list of improvements, state[0] how many there are (more than m: incomplete).
    """
    n, d = X.shape
    w = len(width)
    n_groups = halves.shape[0] // w
    size = (d + CHUNK - 1) // CHUNK * ROWS * CHUNK
    y, squares = np.empty(size, np.float32), np.empty(ROWS, np.float32)
    fast = np.empty(ROWS * n_groups * w, np.float32)
    totals = np.empty(ROWS * 2 * w, np.float32)
    n_canonical = (L + GROUP - 1) // GROUP
    order = np.empty(n_canonical, np.int64)
    for g in range(n_canonical):
        order[g] = g
    row, out = np.empty(d), np.empty(n_canonical * GROUP)
    weighted = weights.shape[0] > 0
    block = ROWS * 32
    while True:
        start = fetch_add(counter, block)
        if start >= n:
            break
        for lo in range(start, min(start + block, n), ROWS):
            hi = min(lo + ROWS, n)
            pack_tile(X, lo, hi, pack_scale, shift, y, 0, 0, 0)
            tile_norms(width, y, 0, d, squares, 0)
            tile_values(width, y, 0, groups, halves, d, n_groups, fast, 0, totals)
            for i in range(lo, hi):
                wi = weights[i] if weighted else 1
                if wi == 0 or nearest_sq[i] == 0.0:
                    continue
                square = np.float64(squares[i - lo]) * (1.0 + error[5]) + error[4]
                length = math.sqrt(square)
                reach = nearest_sq[i] * square_scale[0] * square_scale[1] * (1.0 + 1e-6)
                m = min(length + math.sqrt(reach), largest)
                slack = 1.01 * (
                    error[0] * (length * m + 0.5 * m * m) + error[1] * reach + error[2] + error[3] * (length + m)
                )
                below = np.float64(squares[i - lo]) * (1.0 - error[5])
                threshold = np.float32(0.5 * (below - reach) - slack - 1e-6 * abs(below - reach))
                found = np.int64(0)
                for g in range(n_groups):
                    found |= lanes_above(width, fast, ((i - lo) * n_groups + g) * w, threshold)
                if found == 0:
                    continue
                load_row(X, i, row)
                values_of_groups(row, grouped, order, n_canonical, out)
                for c in range(L):
                    if out[c] < nearest_sq[i]:
                        record(
                            offset + i, c, out[c], wi, scale0, scale1, nearest_sq[i], gains, rows, which, values, state
                        )


@kernel
def apply_improvements(rows, which, values, count, winner, nearest_sq):
    """nearest_sq[row] = value for the entries of the winning candidate."""
    for e in range(count):
        if which[e] == winner:
            nearest_sq[rows[e]] = values[e]


@kernel
def block_potentials(nearest_sq, weights, scale0, scale1, out):
    """Potential of each BLOCK of rows, as digits; out (blocks * DIGITS,) int64 INOUT."""
    weighted = weights.shape[0] > 0
    n = nearest_sq.shape[0]
    for block in range((n + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        low, high = np.int64(0), np.int64(0)
        for i in range(start, min(start + BLOCK, n)):
            value = np.int64(np.rint(nearest_sq[i] * scale0 * scale1))
            if weighted:
                add_weighted(value, weights[i], out, block * DIGITS)
            else:
                low += value & LOW
                high += value >> 32
        out[block * DIGITS] += low
        out[block * DIGITS + 1] += high


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
    """First row of lo..hi whose running potential exceeds ``high * 2**64 + low`` (uint64 each); hi where none does."""
    weighted = weights.shape[0] > 0
    for i in range(lo, hi):
        value = np.int64(np.rint(nearest_sq[i] * scale0 * scale1))
        p_high, p_low = _wide_product(value, weights[i] if weighted else np.int64(1))
        if p_high > high or (p_high == high and p_low > low):
            return i
        if p_low > low:  # borrow
            low = (np.uint64(0xFFFFFFFFFFFFFFFF) - p_low) + low + np.uint64(1)
            high -= p_high + np.uint64(1)
        else:
            low -= p_low
            high -= p_high
    return hi
