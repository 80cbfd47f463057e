"""The parallel bodies of kernels for few centers: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .lanes import call_lane


@kernel(parallel=True)
def plane_parallel(
    n, address, X, weights, counter, middle, across, error, centers, labels, update, scale, sums, cluster_weights,
    touched, counts,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            X, weights, counter, middle, across, error, centers, labels, update, scale, sums[lane],
            cluster_weights[lane], touched[lane], counts[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def features_parallel(
    n, address, width, each, X, weights, counter, pack_scale, shift, minus, packed, halves, norms, largest, cutoff,
    error, grouped, k, block, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched,
    counts, largest_sq,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, each, X, weights, counter, pack_scale, shift, minus, packed, halves, norms, largest, cutoff, error,
            grouped, k, block, measure, measured, distances, labels, update, scale, sums[lane], cluster_weights[lane],
            touched[lane], counts[lane], largest_sq[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def descend_parallel(n, address, X, counter, centers, children, labels):
    for _ in prange(n):
        call_lane(address, (X, counter, centers, children, labels))
