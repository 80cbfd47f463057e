"""The parallel bodies: one prange over lanes each, and in it one call of a plain lane function.

They are called from Python only, with the number of lanes equal to the number of threads.  Lanes share their work by an
atomic counter, so it does not matter which of them is fast.  Each of these costs seconds to compile and some tenths of
a second to load: small jobs call the lane function itself.
"""

from __future__ import annotations

from numba import prange

from .canonical import distances_lane, transform_lane, wide_distances_lane
from .exact import exponents_flat_lane, exponents_lane, exponents_single_lane
from .filtered import filtered_lane
from .jit import kernel
from .lloyd import centers_lane, known_lane, own_clusters, plain_lane, points_lane


@kernel(parallel=True)
def plain_parallel(n, X, weights, counter, grouped, k, labels, update, scale, sums, cluster_weights, touched, counts):
    for lane in prange(n):
        plain_lane(
            X, weights, counter, grouped, k, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane],
        )  # fmt: skip


@kernel(parallel=True)
def points_parallel(
    n, width, X, weights, counter, pack_scale, tiled_shift, groups, tiles, halves, norms, largest, cutoff, error,
    grouped, k, ahead, step, measure, measured, distances, labels, update, scale,
    sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    for lane in prange(n):
        points_lane(
            width, X, weights, counter, pack_scale, tiled_shift, groups, tiles, halves, norms, largest, cutoff, error,
            grouped, k, ahead, step, measure, measured, distances, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane], largest_sq[lane],
        )  # fmt: skip


@kernel(parallel=True)
def centers_parallel(
    n, width, X, weights, counter, pack_scale, shift, groups, halves, norms, largest, cutoff, error, grouped, k,
    tiles_per_block, ahead, step, measure, measured, distances, labels, update, scale,
    sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    for lane in prange(n):
        centers_lane(
            width, X, weights, counter, pack_scale, shift, groups, halves, norms, largest, cutoff, error, grouped, k,
            tiles_per_block, ahead, step, measure, measured, distances, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane], largest_sq[lane],
        )  # fmt: skip


@kernel(parallel=True)
def filtered_parallel(
    n, width, X, weights, counter, pack_scale, shift, integers, unit, c_residual, packed, halves, norms, largest,
    cutoff, error, grouped, order, places, k, patience, ahead, row_bytes, spread, span, group_norms, upper, least,
    lower, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched, counts, largest_sq,
):  # fmt: skip
    for lane in prange(n):
        filtered_lane(
            width, X, weights, counter, pack_scale, shift, integers, unit, c_residual, packed, halves, norms, largest,
            cutoff, error, grouped, order, places, k, patience, ahead, row_bytes, spread, span, group_norms, upper,
            least, lower, measure, measured, distances, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane], largest_sq[lane],
        )  # fmt: skip


@kernel(parallel=True)
def known_parallel(n, X, weights, counter, known, labels, update, scale, sums, cluster_weights, touched, counts):
    for lane in prange(n):
        known_lane(
            X, weights, counter, known, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane],
        )  # fmt: skip


@kernel(parallel=True)
def own_parallel(n, X, old, new, weights, scale, n_digits, sums, cluster_weights, touched):
    for lane in prange(n):
        own_clusters(X, old, new, weights, scale, n_digits, sums, cluster_weights, lane, n, touched[lane])


@kernel(parallel=True)
def distances_parallel(n, X, counter, centers, labels, weights, out, largest):
    for lane in prange(n):
        distances_lane(X, counter, centers, labels, weights, out, largest[lane])


@kernel(parallel=True)
def wide_distances_parallel(n, X, counter, centers, labels, weights, out, largest):
    for lane in prange(n):
        wide_distances_lane(X, counter, centers, labels, weights, out, largest[lane])


@kernel(parallel=True)
def transform_parallel(n, X, counter, grouped, k, plain, result):
    for _ in prange(n):
        transform_lane(X, counter, grouped, k, plain, result)


@kernel(parallel=True)
def exponents_parallel(n, X, weights, counter, largest, count, total, finite):
    for lane in prange(n):
        exponents_lane(X, weights, counter, largest[lane], count[lane], total[lane], finite[lane])


@kernel(parallel=True)
def exponents_flat_parallel(n, flat, period, counter, largest, count, total, finite):
    for lane in prange(n):
        exponents_flat_lane(flat, period, counter, largest[lane], count[lane], total[lane], finite[lane])


@kernel(parallel=True)
def exponents_single_parallel(n, bits, counter, largest, count, total, finite, odd):
    for lane in prange(n):
        exponents_single_lane(bits, counter, largest[lane], count[lane], total[lane], finite[lane], odd[lane])
