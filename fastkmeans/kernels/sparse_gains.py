"""k-means++ on compressed rows: gains of candidates, and one more seed taken into account.

Seeds are rows, so their canonical distance to another row adds nothing where neither has an entry: it is the sum over
the entries of both, in the order of columns, to the bit.  It is taken only where dot products in float64 do not show
that a row stays as far as it is.
"""

from __future__ import annotations

import numpy as np

from .exact import add_weighted
from .jit import kernel
from .seeding import DIGITS
from .simd import fetch_add
from .sparse import BLOCK


@kernel
def merged_distance(columns, values, p, p_last, other_columns, other_values, q, q_last):
    """Canonical squared distance of two compressed rows: entries p..p_last of one, q..q_last of the other."""
    s = 0.0
    while p < p_last and q < q_last:
        a, b = columns[p], other_columns[q]
        t = 0.0
        if a <= b:
            t = np.float64(values[p])
            p += 1
        if b <= a:
            t -= np.float64(other_values[q])
            q += 1
        s += t * t
    while p < p_last:
        t = np.float64(values[p])
        s += t * t
        p += 1
    while q < q_last:
        t = np.float64(other_values[q])
        s += t * t
        q += 1
    return s


@kernel
def _dots(columns, values, first, last, table, padded, out):
    """Dot products of a compressed row and the candidates of a table [d][padded] float64, padded a multiple of 8."""
    for g in range(0, padded, 8):
        s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(np.uint64(first), np.uint64(last)):
            x = np.float64(values[e])
            at = np.uint64(columns[e]) * np.uint64(padded) + np.uint64(g)
            s0 += x * table[at]
            s1 += x * table[at + np.uint64(1)]
            s2 += x * table[at + np.uint64(2)]
            s3 += x * table[at + np.uint64(3)]
            s4 += x * table[at + np.uint64(4)]
            s5 += x * table[at + np.uint64(5)]
            s6 += x * table[at + np.uint64(6)]
            s7 += x * table[at + np.uint64(7)]
        out[g], out[g + 1], out[g + 2], out[g + 3] = s0, s1, s2, s3
        out[g + 4], out[g + 5], out[g + 6], out[g + 7] = s4, s5, s6, s7


@kernel(allocates=True)
def sparse_gains_lane(
    starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, seed_columns,
    seed_values, label, nearest_sq, labels, weight_unit, gains,
):  # fmt: skip
    """Take a seed into account, and estimate by how much candidates would lower the sum of distances.

    norms (m,) float64: squared norms of the rows, table [d][padded] float64: the seed, or zero, and the candidates,
    squares (padded,) float64: their squared norms, relative, floor: error of a distance per ``|x|^2 + |c|^2``, and what
    underflow adds, seed_columns, seed_values: the seed, label: its number, or -1 for none; weights (m,) int64 or (0,),
    weight_unit: what they are multiplied by IN; counter (1,), nearest_sq (m,) float64, labels (m,) int32,
    gains (padded,) float64 INOUT.
    """
    n = starts.shape[0] - 1
    weighted = weights.shape[0] > 0
    dots, block_gains = np.empty(padded), np.empty(padded)
    n_seed = seed_columns.shape[0]
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        block_gains[:] = 0.0
        for i in range(start, min(start + BLOCK, n)):
            near = nearest_sq[i]
            if near == 0.0:
                continue
            first, last = starts[i], starts[i + 1]
            _dots(columns, values, first, last, table, padded, dots)
            if label >= 0:
                both = norms[i] + squares[0]
                if not both - 2.0 * dots[0] > near + (relative * both + floor):
                    exact = merged_distance(columns, values, first, last, seed_columns, seed_values, 0, n_seed)
                    if exact < near:
                        nearest_sq[i], labels[i] = exact, label
                        near = exact
            w = np.float64(weights[i]) * weight_unit if weighted else 1.0
            for c in range(1, padded):
                square = norms[i] + squares[c] - 2.0 * dots[c]
                block_gains[c] += w * max(near - square, 0.0)
        for c in range(padded):
            gains[c] += block_gains[c]


@kernel(allocates=True)
def sparse_exact_gains_lane(
    starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, candidate_starts,
    candidate_columns, candidate_values, nearest_sq, scale0, scale1, gains,
):  # fmt: skip
    """gains.gains_lane for compressed rows.

    candidate_starts, candidate_columns, candidate_values: the candidates as compressed rows, in the table, too IN;
    gains (L * DIGITS,) int64 INOUT; the rest as in sparse_gains_lane.
    """
    n = starts.shape[0] - 1
    weighted = weights.shape[0] > 0
    dots = np.empty(padded)
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        for i in range(start, min(start + BLOCK, n)):
            near = nearest_sq[i]
            if near == 0.0:
                continue
            first, last = starts[i], starts[i + 1]
            _dots(columns, values, first, last, table, padded, dots)
            before = np.int64(np.rint(near * scale0 * scale1))
            for c in range(candidate_starts.shape[0] - 1):
                both = norms[i] + squares[c]
                if both - 2.0 * dots[c] > near + (relative * both + floor):
                    continue
                exact = merged_distance(
                    columns, values, first, last,
                    candidate_columns, candidate_values, candidate_starts[c], candidate_starts[c + 1],
                )  # fmt: skip
                if exact < near:
                    after = np.int64(np.rint(exact * scale0 * scale1))
                    add_weighted(before - after, weights[i] if weighted else 1, gains, c * DIGITS)
