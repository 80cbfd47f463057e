"""The parallel bodies of kernels for few centers: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

from numba import prange

from .features import features_lane
from .jit import kernel
from .plane import plane_lane
from .tree import descend_lane


@kernel(parallel=True)
def plane_parallel(
    n, X, weights, counter, middle, across, error, centers, labels, update, scale,
    sums, cluster_weights, touched, counts,
):  # fmt: skip
    for lane in prange(n):
        plane_lane(
            X, weights, counter, middle, across, error, centers, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane],
        )  # fmt: skip


@kernel(parallel=True)
def features_parallel(
    n, width, each, X, weights, counter, pack_scale, shift, minus, packed, halves, norms, largest, cutoff, error,
    grouped, k, block, measure, measured, distances, labels, update, scale, sums, cluster_weights, touched, counts,
    largest_sq,
):  # fmt: skip
    for lane in prange(n):
        features_lane(
            width, each, X, weights, counter, pack_scale, shift, minus, packed, halves, norms, largest, cutoff, error,
            grouped, k, block, measure, measured, distances, labels, update, scale,
            sums[lane], cluster_weights[lane], touched[lane], counts[lane], largest_sq[lane],
        )  # fmt: skip


@kernel(parallel=True)
def descend_parallel(n, X, counter, centers, children, labels):
    for _ in prange(n):
        descend_lane(X, counter, centers, children, labels)
