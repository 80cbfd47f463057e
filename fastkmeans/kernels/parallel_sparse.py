"""The parallel bodies of passes over compressed rows: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import kernel
from .lanes import call_lane


@kernel(parallel=True)
def sparse_exponents_parallel(
    n, address, starts, columns, values, weights, counter, norms, largest, count, total, finite,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            starts, columns, values, weights, counter, norms, largest[lane], count[lane], total[lane], finite[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def sparse_own_parallel(
    n, address, starts, columns, values, old, new, weights, scale, n_digits, d, sums, cluster_weights, touched,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            starts, columns, values, old, new, weights, scale, n_digits, d, sums, cluster_weights, np.int64(lane), n,
            touched[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def sparse_plain_parallel(
    n, address, starts, columns, values, weights, counter, table, padded, halves, largest, norms, centers, squares,
    labels, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            starts, columns, values, weights, counter, table, padded, halves, largest, norms, centers, squares, labels,
            counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def sparse_parallel(
    n, address, width, starts, columns, values, weights, counter, scale, table, padded, halves, largest, error, norms,
    centers, squares, labels, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, starts, columns, values, weights, counter, scale, table, padded, halves, largest, error, norms,
            centers, squares, labels, counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def sparse_distances_parallel(
    n, address, plain, starts, columns, values, order, batches, counter, centers, d, labels, fixed, weights, out,
    largest,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            plain, starts, columns, values, order, batches, counter, centers, d, labels, fixed, weights, out,
            largest[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def sparse_transform_parallel(
    n, address, starts, columns, values, counter, table, padded, centers, squares, norms, result,
):  # fmt: skip
    for _ in prange(n):
        call_lane(address, (starts, columns, values, counter, table, padded, centers, squares, norms, result))


@kernel(parallel=True)
def sparse_gains_parallel(
    n, address, starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, seed_columns,
    seed_values, label, nearest_sq, labels, weight_unit, gains,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, seed_columns,
            seed_values, label, nearest_sq, labels, weight_unit, gains[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def sparse_exact_gains_parallel(
    n, address, starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor,
    candidate_starts, candidate_columns, candidate_values, nearest_sq, scale0, scale1, gains,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            starts, columns, values, weights, counter, norms, table, padded, squares, relative, floor, candidate_starts,
            candidate_columns, candidate_values, nearest_sq, scale0, scale1, gains[lane],
        ))  # fmt: skip
