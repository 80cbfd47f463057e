"""The parallel bodies: one prange over lanes each, and in it one call of a plain lane function, by its address.

They are called from Python only, with the number of lanes equal to the number of threads.  Lanes share their work by an
atomic counter, so it does not matter which of them is fast.  Each of these takes a second to compile and some tenths of
one to load: small jobs call the lane function itself.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import kernel
from .lanes import call_lane


@kernel(parallel=True)
def plain_parallel(
    n, address, X, weights, counter, grouped, k, labels, update, scale, sums, cluster_weights, touched, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            X, weights, counter, grouped, k, labels, update, scale, sums[lane], cluster_weights[lane], touched[lane],
            counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def points_parallel(
    n, address, width, X, weights, counter, pack_scale, tiled_shift, groups, tiles, halves, norms, largest, cutoff,
    error, grouped, k, ahead, step, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched,
    counts, largest_sq,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, pack_scale, tiled_shift, groups, tiles, halves, norms, largest, cutoff, error,
            grouped, k, ahead, step, measure, measured, distances, labels, update, scale, sums[lane],
            cluster_weights[lane], touched[lane], counts[lane], largest_sq[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def centers_parallel(
    n, address, width, X, weights, counter, pack_scale, shift, groups, halves, norms, largest, cutoff, error, grouped,
    k, tiles_per_block, ahead, step, measure, measured, distances, labels, update, scale, sums, cluster_weights,
    touched, counts, largest_sq,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, pack_scale, shift, groups, halves, norms, largest, cutoff, error, grouped, k,
            tiles_per_block, ahead, step, measure, measured, distances, labels, update, scale, sums[lane],
            cluster_weights[lane], touched[lane], counts[lane], largest_sq[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def filtered_parallel(
    n, address, width, X, weights, counter, pack_scale, shift, integers, unit, c_residual, packed, halves, norms,
    largest, cutoff, error, grouped, order, places, k, patience, ahead, row_bytes, spread, span, group_norms, upper,
    least, lower, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched, counts,
    largest_sq,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, pack_scale, shift, integers, unit, c_residual, packed, halves, norms, largest,
            cutoff, error, grouped, order, places, k, patience, ahead, row_bytes, spread, span, group_norms, upper,
            least, lower, measure, measured, distances, labels, update, scale, sums[lane], cluster_weights[lane],
            touched[lane], counts[lane], largest_sq[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def known_parallel(
    n, address, X, weights, counter, known, labels, update, scale, sums, cluster_weights, touched, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            X, weights, counter, known, labels, update, scale, sums[lane], cluster_weights[lane], touched[lane],
            counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def own_parallel(n, address, X, old, new, weights, scale, n_digits, sums, cluster_weights, touched):
    for lane in prange(n):
        call_lane(address, (
            X, old, new, weights, scale, n_digits, sums, cluster_weights, np.int64(lane), n, touched[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def distances_parallel(n, address, X, counter, centers, labels, weights, out, largest):
    for lane in prange(n):
        call_lane(address, (X, counter, centers, labels, weights, out, largest[lane]))


@kernel(parallel=True)
def wide_distances_parallel(n, address, X, counter, centers, labels, weights, out, largest):
    for lane in prange(n):
        call_lane(address, (X, counter, centers, labels, weights, out, largest[lane]))


@kernel(parallel=True)
def transform_parallel(n, address, X, counter, grouped, k, plain, result):
    for _ in prange(n):
        call_lane(address, (X, counter, grouped, k, plain, result))


@kernel(parallel=True)
def exponents_parallel(n, address, X, weights, counter, largest, count, total, finite):
    for lane in prange(n):
        call_lane(address, (X, weights, counter, largest[lane], count[lane], total[lane], finite[lane]))


@kernel(parallel=True)
def exponents_flat_parallel(n, address, flat, period, counter, largest, count, total, finite):
    for lane in prange(n):
        call_lane(address, (flat, period, counter, largest[lane], count[lane], total[lane], finite[lane]))


@kernel(parallel=True)
def exponents_single_parallel(n, address, bits, counter, largest, count, total, finite, odd):
    for lane in prange(n):
        call_lane(address, (bits, counter, largest[lane], count[lane], total[lane], finite[lane], odd[lane]))
