"""The parallel bodies of kernels that compare two centers: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

from numba import prange

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
def descend_parallel(n, X, counter, centers, children, labels):
    for _ in prange(n):
        descend_lane(X, counter, centers, children, labels)
