"""Passes over rows in compressed form: what `passes` does for dense rows, to the same bits.

Every function here is called by its namesake in `passes`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, field_exponent, new_counter
from .kernels import simd
from .kernels import sparse as kernels
from .kernels import sparse_distances as distances_of

PACKED_EXPONENT = 50  # packed values stay below 2**51: their squares neither overflow nor vanish


class Features:
    """Centers feature by feature, as the kernels for compressed rows want them.

    Attributes
    ----------
    table : ndarray, flat (d * padded,)
        float32, or float64 where plain loops serve.
    largest : float
        Upper bound of the norms of the packed centers.
    scale : float
        A power of two that packed values were multiplied by.
    """

    def __init__(self, data: Data, centers: NDArray[Any], duplicate: NDArray[np.uint8], width: int) -> None:
        k, d = centers.shape
        single = width > 1
        self.scale = 1.0
        exponent = 0
        if single:
            extent = max(float(data.largest.max()), float(centers.max()), -float(centers.min()))
            sparse = data.points.sparse
            assert sparse is not None
            limit = 126 if sparse.values_dtype == np.float32 else 1000
            if extent > 0.0:
                exponent = max(-limit, min(limit, PACKED_EXPONENT - field_exponent(extent)))
            self.scale = math.ldexp(1.0, exponent)
        self.padded = -(-k // width) * width
        dtype = np.float32 if single else np.float64
        self.table = np.zeros(d * self.padded, dtype)
        self.halves = np.empty(self.padded, dtype)
        self.squares = np.empty(k)
        self.largest = kernels.pack_features(
            centers, duplicate, self.scale, self.padded, self.table, self.halves, self.squares
        )
        tiny = 2.0**-149
        # what underflow in the packed products, and in the canonical squares (2**-1074 each), can hide
        lost = math.ldexp(float(d), 2 * exponent - 1074)
        self.error = np.array(
            [self.scale, 2.0**-24 * 1.001, (d + 8) * 2.0**-53, (d + 8) * tiny + lost, 2.0 * tiny * math.sqrt(d)]
        )


def assign(
    data: Data, centers: NDArray[Any], duplicate: NDArray[np.uint8], labels: NDArray[np.int32], sums: Any, width: int,
    counts: NDArray[np.int64],
) -> None:  # fmt: skip
    """Label every row, and move the rows whose label changed between the sums (a `passes.Sums`, or None).

    duplicate: flags of centers equal to one of lower index, width: lanes of the vector kernel, 1 for plain loops;
    counts (lanes, 4) INOUT.
    """
    packed = Features(data, centers, duplicate, width)
    n_lanes = len(counts)
    work = data.density * (len(centers) + 16.0)
    for lo, hi, rows in data.sparse_ranges(work):
        part, weights = labels[lo:hi], data.weights_of(lo, hi)
        before = part.copy() if sums is not None else None
        head = (*rows, weights, new_counter())
        tail = (packed.largest, data.norms[lo:hi], centers, packed.squares, part)
        if width == 1:
            shared: tuple[Any, ...] = (*head, packed.table, packed.padded, packed.halves, *tail)
            threads.share(n_lanes, kernels.sparse_plain_lane, shared, (counts,))
        else:
            scale = rows.values.dtype.type(packed.scale)
            shared = (simd.lanes(width), *head, scale, packed.table, packed.padded, packed.halves, tail[0])
            shared += (packed.error, *tail[1:])
            threads.share(n_lanes, kernels.sparse_lane, shared, (counts,))
        if sums is not None:
            move(data, rows, before, part, weights, sums.lane_sums[0], sums.lane_weights[0], sums.touched)
            sums.settle()


def move(
    data: Data, rows: Any, before: Any, after: NDArray[np.int32], weights: NDArray[np.int64],
    sums: NDArray[np.int64], cluster_weights: NDArray[np.int64], touched: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Move rows whose label changed between the sums: lanes own clusters."""
    n_lanes = len(touched)
    shared = (*rows, before, after, weights, data.grid.scale, data.grid.digits, data.d, sums, cluster_weights, n_lanes)
    threads.share(n_lanes, kernels.sparse_own_clusters, shared, (np.arange(n_lanes), touched))


def own_distances(
    data: Data, centers: NDArray[Any], labels: NDArray[np.int32], plain: bool
) -> tuple[NDArray[np.float64], float]:
    """Canonical squared distance of every row to the center of its label, and the largest that has weight."""
    out = np.empty(data.n)
    # a feature without entries is added to all rows of a batch at once
    n_lanes = data.lanes(float(data.n) * (data.d / 4.0 + 16.0 * data.density), data.n)
    largest = np.zeros((n_lanes, 1))
    flat = centers.astype(np.float64, copy=False).reshape(-1)
    fixed = len(centers) == 1
    for lo, hi, rows in data.sparse_ranges(data.d / 4.0 + 16.0 * data.density):
        part = labels[lo:hi]
        order = np.arange(hi - lo) if fixed else np.argsort(part, kind="stable")
        starts = np.zeros(1, np.int64) if fixed else np.flatnonzero(np.diff(part[order], prepend=-1))
        ends = np.append(starts[1:], hi - lo)
        runs = [np.arange(a, b, distances_of.BATCH) for a, b in zip(starts, ends, strict=True)]
        batches = np.concatenate([*runs, [hi - lo]]).astype(np.int64)
        shared = (
            plain, *rows, order, batches, new_counter(), flat, data.d, part, fixed, data.weights_of(lo, hi), out[lo:hi],
        )  # fmt: skip
        threads.share(n_lanes, distances_of.sparse_distances_lane, shared, (largest,))
    return out, float(largest.max())


def distances(data: Data, centers: NDArray[Any], out: NDArray[Any]) -> None:
    """Euclidean distances of all rows to all centers into `out` (n, k), up to rounding."""
    k = len(centers)
    packed = Features(data, centers, np.zeros(k, np.uint8), 1)
    n_lanes = data.lanes(8.0 * data.n * data.density * k, data.n)
    for lo, hi, rows in data.sparse_ranges(8.0 * data.density * k):
        shared = (
            *rows, new_counter(), packed.table, packed.padded, centers, packed.squares, data.norms[lo:hi], out[lo:hi],
        )  # fmt: skip
        threads.share(n_lanes, distances_of.sparse_transform_lane, shared)
