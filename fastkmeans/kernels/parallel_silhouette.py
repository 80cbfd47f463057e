"""The parallel bodies of the silhouette's kernels: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .silhouette import mean_distances_lane, two_nearest_lane


@kernel(parallel=True)
def mean_distances_parallel(n, rows, labels, bounds, first, last, counter, plain, own, other, neighbor):
    for _ in prange(n):
        mean_distances_lane(rows, labels, bounds, first, last, counter, plain, own, other, neighbor)


@kernel(parallel=True)
def two_nearest_parallel(n, X, counter, grouped, k, labels, plain, own, other, neighbor):
    for _ in prange(n):
        two_nearest_lane(X, counter, grouped, k, labels, plain, own, other, neighbor)
