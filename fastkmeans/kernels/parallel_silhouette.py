"""The parallel bodies of the silhouette's kernels: as in parallel.py, one prange over lanes each."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .lanes import call_lane


@kernel(parallel=True)
def mean_distances_parallel(n, address, rows, labels, bounds, first, last, counter, plain, own, other, neighbor):
    for _ in prange(n):
        call_lane(address, (rows, labels, bounds, first, last, counter, plain, own, other, neighbor))


@kernel(parallel=True)
def two_nearest_parallel(n, address, X, counter, grouped, k, labels, plain, own, other, neighbor):
    for _ in prange(n):
        call_lane(address, (X, counter, grouped, k, labels, plain, own, other, neighbor))
