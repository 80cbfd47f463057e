"""The parallel bodies of passes over compressed rows: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .sparse import (
    sparse_exponents_lane,
    sparse_lane,
    sparse_own_clusters,
    sparse_plain_lane,
)
from .sparse_distances import sparse_distances_lane, sparse_transform_lane
from .sparse_gains import sparse_exact_gains_lane, sparse_gains_lane


@kernel(parallel=True)
def sparse_exponents_parallel(n, starts, columns, values, weights, counter, norms, largest, count, total, finite):
    for lane in prange(n):
        sparse_exponents_lane(
            starts, columns, values, weights, counter, norms, largest[lane], count[lane], total[lane], finite[lane]
        )


@kernel(parallel=True)
def sparse_own_parallel(
    n, starts, columns, values, old, new, weights, scale, n_digits, d, sums, cluster_weights, touched
):
    for lane in prange(n):
        sparse_own_clusters(
            starts, columns, values, old, new, weights, scale, n_digits, d, sums, cluster_weights, lane, n,
            touched[lane],
        )  # fmt: skip


@kernel(parallel=True)
def sparse_plain_parallel(
    n,
    starts,
    columns,
    values,
    weights,
    counter,
    table,
    padded,
    halves,
    largest,
    norms,
    centers,
    squares,
    labels,
    counts,
):
    for lane in prange(n):
        sparse_plain_lane(
            starts, columns, values, weights, counter, table, padded, halves, largest, norms, centers, squares, labels,
            counts[lane],
        )  # fmt: skip


@kernel(parallel=True)
def sparse_parallel(
    n, width, starts, columns, values, weights, counter, scale, table, padded, halves, largest, error, norms, centers,
    squares, labels, counts,
):  # fmt: skip
    for lane in prange(n):
        sparse_lane(
            width, starts, columns, values, weights, counter, scale, table, padded, halves, largest, error, norms,
            centers, squares, labels, counts[lane],
        )  # fmt: skip


@kernel(parallel=True)
def sparse_distances_parallel(
    n, plain, starts, columns, values, order, batches, counter, centers, d, labels, fixed, weights, out, largest
):
    for lane in prange(n):
        sparse_distances_lane(
            plain, starts, columns, values, order, batches, counter, centers, d, labels, fixed, weights, out,
            largest[lane],
        )  # fmt: skip


@kernel(parallel=True)
def sparse_transform_parallel(n, starts, columns, values, counter, table, padded, centers, squares, norms, result):
    for _ in prange(n):
        sparse_transform_lane(starts, columns, values, counter, table, padded, centers, squares, norms, result)


@kernel(parallel=True)
def sparse_gains_parallel(
    n, starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, seed_columns,
    seed_values, label, nearest_sq, labels, weight_unit, gains,
):  # fmt: skip
    for lane in prange(n):
        sparse_gains_lane(
            starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, seed_columns,
            seed_values, label, nearest_sq, labels, weight_unit, gains[lane],
        )  # fmt: skip


@kernel(parallel=True)
def sparse_exact_gains_parallel(
    n, starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, candidate_starts,
    candidate_columns, candidate_values, nearest_sq, scale0, scale1, gains,
):  # fmt: skip
    for lane in prange(n):
        sparse_exact_gains_lane(
            starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor,
            candidate_starts, candidate_columns, candidate_values, nearest_sq, scale0, scale1, gains[lane],
        )  # fmt: skip
