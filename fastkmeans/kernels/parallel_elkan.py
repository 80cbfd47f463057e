"""The parallel bodies of the bounded passes, apart from parallel.py so that a fit that never uses them loads none."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .lanes import call_lane


@kernel(parallel=True)
def bounded_parallel(
    n, address, width, X, weights, counter, spread, fresh, pack_scale, shift, blocks, halves, norms, centers, order,
    places, largest, error, grouped, k, n_groups, span, ahead, from_row, row_bytes, moves, fastest, half, drift,
    between, anchors, from_code, codes, steps, residuals, anchored, upper, least, lower, labels, update, scale, sums,
    cluster_weights, touched, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, spread, fresh, pack_scale, shift, blocks, halves, norms, centers, order, places,
            largest, error, grouped, k, n_groups, span, ahead, from_row, row_bytes, moves, fastest, half, drift,
            between, anchors, from_code, codes, steps, residuals, anchored, upper, least, lower, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def between_parallel(
    n, address, width, counter, numbers, n_old, old_groups, rise, step, others, reach, blocks, halves, norms, centers,
    squares, places, error, k, d, n_groups, span, between, half, fall,
):  # fmt: skip
    for _ in prange(n):
        call_lane(address, (
            width, counter, numbers, n_old, old_groups, rise, step, others, reach, blocks, halves, norms, centers,
            squares, places, error, k, d, n_groups, span, between, half, fall,
        ))  # fmt: skip


@kernel(parallel=True)
def neighbor_parallel(
    n, address, width, X, weights, counter, spread, fresh, pack_scale, shift, rows_packed, all_tiles, exact, largest,
    error, k, ahead, stride, moves, fastest, half, between, upper, least, labels, update, scale, sums, cluster_weights,
    touched, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, spread, fresh, pack_scale, shift, rows_packed, all_tiles, exact, largest, error,
            k, ahead, stride, moves, fastest, half, between, upper, least, labels, update, scale, sums[lane],
            cluster_weights[lane], touched[lane], counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def neighbors_parallel(n, address, counter, columns, rows, k, d, slip, differences, rise, reach, between, half, fall):
    for _ in prange(n):
        call_lane(address, (counter, columns, rows, k, d, slip, differences, rise, reach, between, half, fall))


@kernel(parallel=True)
def runner_up_parallel(
    n, address, width, X, weights, counter, spread, pack_scale, shift, tiles, halves, norms, packed, grouped, largest,
    error, k, ahead, stride, lost, kept, gaps, rests, rivals, labels, update, scale, sums, cluster_weights, touched,
    counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, spread, pack_scale, shift, tiles, halves, norms, packed, grouped, largest,
            error, k, ahead, stride, lost, kept, gaps, rests, rivals, labels, update, scale, sums[lane],
            cluster_weights[lane], touched[lane], counts[lane],
        ))  # fmt: skip
