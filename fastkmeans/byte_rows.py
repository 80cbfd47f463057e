"""Rows of integers of 8 bits, for tables of k-means++: see kernels/byte_rows.py."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, new_counter
from .distance_table import UNIT, DistanceTable, Packing, vector_for
from .kernels import byte_rows as kernels
from .kernels import integer, simd

SAMPLE = 64  # rows that tell most data of other values


class ByteRows:
    """Rows as bytes, a quarter of what they take as float32, and their squared norms.

    Parameters
    ----------
    data : Data
    width, n_lanes : int
    low : int
        What a byte of 0 stands for.
    values : ndarray of uint8, shape (n, d)
    """

    def __init__(self, data: Data, width: int, n_lanes: int, low: int, values: NDArray[np.uint8]) -> None:
        self.data, self.width, self.n_lanes, self.low, self.values = data, width, n_lanes, low, values
        self.norms = np.empty(data.n, np.int32)

    @classmethod
    def of(
        cls, data: Data, width: int, n_lanes: int, seed: NDArray[np.float64], nearest_sq: NDArray[np.float64]
    ) -> ByteRows | None:
        """The rows, if they are such integers, and the distances to the first seed; else None and nothing.

        nearest_sq (n,) float64: of rows of positive weight OUT.
        """
        if not integer.multiplier() or data.points.sparse is not None or data.d > kernels.MOST_FEATURES:
            return None
        X = data.points.direct
        if X is not None and X.dtype == np.uint8 and X.flags.c_contiguous:
            rows = cls(data, width, n_lanes, 0, X)
        else:
            some = data.points.take(np.arange(0, data.n, max(1, data.n // SAMPLE))[:SAMPLE])
            low = 0 if some.min() >= 0.0 else -128
            too_large = data.largest.max() > (255 if low == 0 else 128)
            if too_large or data.n * data.d > data.code_bytes or (some != np.rint(some)).any():
                return None
            rows = cls(data, width, n_lanes, low, np.empty((data.n, data.d), np.uint8))
            if not rows._encode():
                return None
        shared = (rows.values, new_counter(), data.weights, rows._bytes(seed[None])[0], rows.norms, nearest_sq)
        threads.share(n_lanes, kernels.first_lane, shared)
        return rows

    def _encode(self) -> bool:
        data = self.data
        low, found = np.array([self.low], data.points.center_dtype), np.zeros(1, np.int64)
        for lo, hi, rows in data.ranges(4.0 * data.d):
            shared = (rows, new_counter(), low, self.values[lo:hi], found)
            threads.share(self.n_lanes, kernels.encode_lane, shared)
            if found[0]:
                return False
        return True

    def _bytes(self, centers: NDArray[np.float64]) -> NDArray[np.uint8]:
        return (centers - self.low).astype(np.uint8)

    def part(self, numbers: NDArray[np.int64]) -> ByteRows:
        """Some of the rows."""
        some = copy.copy(self)
        some.values, some.norms = self.values[numbers], self.norms[numbers]
        some.values.flags.writeable = self.values.flags.writeable  # else, to kernels, of another type
        return some

    def table(self, centers: NDArray[np.float64], width: int) -> NDArray[np.int32]:
        """Squared distances of the rows to centers that are rows; of more centers up to a full vector."""
        M, d = centers.shape
        n_groups, pairs = -(-M // width), (d + 1) // 2
        padded = np.zeros((n_groups * width, 2 * pairs), np.int16)
        padded[:M, :d] = self._bytes(centers)
        by_group = padded.reshape(n_groups, width, pairs, 2).transpose(0, 2, 1, 3)
        norms = (padded.astype(np.int64) ** 2).sum(axis=1).astype(np.int32)
        found = np.empty((len(self.values), n_groups * width), np.int32)
        shared = (
            simd.lanes(width), self.values, self.norms, new_counter(), np.ascontiguousarray(by_group).reshape(-1),
            n_groups, norms, found,
        )  # fmt: skip
        threads.share(self.n_lanes, kernels.byte_table_lane, shared)
        return found


class ByteTable(DistanceTable):
    """A table of distances that are the canonical ones.

    Parameters
    ----------
    rows : ByteRows
    packing : Packing
        Of the data.
    candidates : ndarray of float64, shape (M, d)
    nearest_sq : ndarray of float64, shape (n,)
        Canonical squared distances to the seeds there are.
    """

    reads_rows = False

    def __init__(
        self, rows: ByteRows, packing: Packing, candidates: NDArray[np.float64], nearest_sq: NDArray[np.float64]
    ) -> None:
        self.data, self.n_lanes = rows.data, rows.n_lanes
        frame = copy.copy(packing.frame)
        frame.scale = 1.0
        self.packing = Packing(frame, packing.shift, 2.0 * UNIT, 0.0, 0.0)  # they are added as float32
        self.values = rows.table(candidates, vector_for(len(candidates), rows.width))
        self.near = nearest_sq.astype(np.int32)
        self.column, self.pending = -1, []

    def settle(self, seeds: NDArray[np.float64], nearest_sq: NDArray[np.float64], labels: NDArray[np.int32]) -> None:
        columns = np.array(self.pending, np.int64)
        shared = (new_counter(), self.values, columns, len(seeds) - len(columns), nearest_sq, labels)
        threads.share(self.n_lanes, kernels.byte_settle_lane, shared)
        self.pending = []
