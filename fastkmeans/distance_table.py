"""Fast float32 distances to candidates of k-means++, with their bounds, and a table of them for several steps."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, new_counter
from .kernels import canonical, simd
from .kernels import distance_table as kernels
from .packed import Frame
from .passes import ahead

MOST = 40  # candidates of a table
SHARE = 0.05  # of the bytes of X are taken by a table ...
ROW_BYTES = 52  # ... and so many bytes a row more

UNIT = 2.0**-24
LEAST_ROOT = 2.0**-62  # of a bound: float32 below 2**-126 takes a CPU some hundred cycles, and its square is above


@dataclass(frozen=True)
class Packing:
    """How rows, and centers, are packed for differences in float32, and what a squared distance of them may be off by.

    Attributes
    ----------
    frame : Frame
    shift : ndarray of shape (d,)
        Packed values are ``x * frame.scale - shift``.
    relative, root, floor : float
        Bounds of the fast squared distance: relative, of the root, absolute.
    """

    frame: Frame
    shift: NDArray[Any]
    relative: float
    root: float
    floor: float

    @classmethod
    def of(cls, data: Data, frame: Frame) -> Packing:
        # single precision loses nothing when it is only scaled; else the shift keeps what is lost small
        single = frame.dtype == np.float32
        shift = np.zeros_like(frame.shift) if single else frame.shift
        root = float(frame.error[3])
        if not single:
            root += 2.02 * UNIT * float(np.sqrt(((data.largest * frame.scale + np.abs(shift)) ** 2).sum()))
        return cls(frame, shift, 1.01 * (data.d + 4) * UNIT, max(root, LEAST_ROOT), 8.0 * float(frame.error[2]))

    @property
    def scale(self) -> Any:
        return self.frame.dtype.type(self.frame.scale)

    @property
    def exact(self) -> bool:
        """Whether packed values are the values times the scale: those of float32, which only a smaller one rounds."""
        return bool(self.frame.dtype == np.float32 and self.frame.scale >= 1.0)

    def is_plain(self, rows: NDArray[Any]) -> bool:
        """Whether packed rows are these as they lie."""
        plain = self.exact and self.frame.scale == 1.0
        return bool(plain and rows.dtype == np.float32 and rows.flags.c_contiguous)

    @property
    def bounds(self) -> tuple[float, float, float]:
        return self.relative, self.root, self.floor

    @functools.cached_property
    def tiled_shift(self) -> NDArray[Any]:
        """The shift of every feature, as often as makes inner loops long."""
        return np.tile(self.shift, -(-256 // len(self.shift)))

    def pack(self, centers: NDArray[np.float64]) -> NDArray[np.float32]:
        packed: NDArray[Any] = centers.astype(self.frame.dtype) * self.scale - self.shift
        return packed.astype(np.float32)

    def gain_errors(
        self, summed: NDArray[np.float64], potential: float, weight: float, grid: float, block_rows: int
    ) -> NDArray[np.float64]:
        """Bounds of the error of sums of gains.

        summed: sums of what is added to get each of them; potential: of all rows, or more; weight: theirs; grid: what a
        potential is a multiple of, all in the unit of the gains; block_rows: so many are added in float32.
        """
        error = 2.2 * (self.relative + 2 * UNIT) * potential + 4.4 * self.root * math.sqrt(weight * potential)
        error += weight * (2.2 * self.root * self.root + 4.0 * self.floor + grid)
        return error + 1.2 * (block_rows + 8) * UNIT * summed


@dataclass(frozen=True)
class Products:
    """How squared distances of packed points are taken by products, ``|x|^2 + |c|^2 - 2 x.c``, less an origin.

    Attributes
    ----------
    packing : Packing
    origin : ndarray of float32, shape (d,)
        Subtracted from packed values first: a point near the data.
    """

    packing: Packing
    origin: NDArray[np.float32]

    @property
    def error(self) -> float:
        """What a squared distance may be off by, in units of the sum of both squared norms.

        None of its d + 1 sums exceeds twice that sum, a norm loses d roundings of itself at most, and to subtract the
        origin changes the distance by four.
        """
        return 1.05 * (3 * len(self.origin) + 16) * UNIT

    def of(self, centers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """-2 times packed centers less the origin, and squared norms of these."""
        centered = self.packing.pack(centers).astype(np.float64) - self.origin
        return -2.0 * centered, (centered * centered).sum(axis=1)


def by_groups(packed: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Packed centers, a multiple of `width`, as [group][d][width]."""
    by_group = packed.reshape(-1, width, packed.shape[1]).transpose(0, 2, 1)
    return np.ascontiguousarray(by_group).reshape(-1)


def columns_for(data: Data, width: int) -> int:
    """How many candidates a table may have: their distances may take a small part of what X does."""
    itemsize = data.points.nbytes / (data.n * data.d)
    return min(MOST, int((SHARE * data.d * itemsize + ROW_BYTES) / 4.0)) // width * width


def vector_for(n_columns: int, width: int) -> int:
    """How long vectors are for so many columns: half of them are half as long on some CPUs, and take half the time."""
    return width // 2 if width == 16 and n_columns <= 8 else width


def fast_distances(
    packing: Packing, width: int, n_lanes: int, rows: NDArray[Any], candidates: NDArray[np.float64],
    values: NDArray[np.float32],
) -> None:  # fmt: skip
    """Fast distances of rows to candidates; values (n, candidates, or more up to a multiple of width) OUT."""
    pitch = values.shape[1]
    centers = np.zeros((pitch, rows.shape[1]), np.float32)
    centers[: len(candidates)] = packing.pack(candidates)
    shared = (
        simd.lanes(width), rows, new_counter(), packing.is_plain(rows), packing.scale, packing.tiled_shift,
        by_groups(centers, width), pitch // width, *ahead(rows, kernels.BLOCK), values,
    )  # fmt: skip
    threads.share(n_lanes, kernels.tabulate_lane, shared)


class DistanceTable:
    """Distances of all rows to some candidates, from one reading of X, and the steps since.

    Parameters
    ----------
    data : Data
    packing : Packing
    width, n_lanes : int
    candidates : ndarray of float64, shape (M, d)
    nearest_sq : ndarray of float64, shape (n,)
        Canonical squared distances to the seeds there are.
    """

    reads_rows = True  # to be made, and to settle

    def __init__(
        self, data: Data, packing: Packing, width: int, n_lanes: int, candidates: NDArray[np.float64],
        nearest_sq: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.data, self.packing, self.n_lanes = data, packing, n_lanes
        M, d = candidates.shape
        width = vector_for(M, width)
        self.values = np.empty((data.n, -(-M // width) * width), np.float32)
        scale = packing.frame.scale
        self.near = (nearest_sq * scale * scale).astype(np.float32)
        self.column = -1  # of a seed that `near` does not know of
        self.pending: list[int] = []  # columns of the seeds that nearest_sq does not know of
        for lo, hi, rows in data.ranges(2.0 * d * M):
            fast_distances(packing, width, n_lanes, rows, candidates, self.values[lo:hi])

    def gains(self, weight_unit: float) -> NDArray[np.float64]:
        """By how much every candidate would lower the potential; within Packing.gain_errors."""
        out = np.zeros((self.n_lanes, self.values.shape[1]))
        shared = (new_counter(), self.values, self.column, self.data.weights, weight_unit, self.near)
        threads.share(self.n_lanes, kernels.table_gains_lane, shared, (out,))
        self.column = -1
        return out.sum(axis=0)

    def choose(self, column: int) -> None:
        self.column = column
        self.pending.append(column)

    def settle(
        self, seeds: NDArray[np.float64], nearest_sq: NDArray[np.float64], labels: NDArray[np.int32]
    ) -> None:  # fmt: skip
        """Let nearest_sq and labels know of the seeds chosen since: the last of `seeds`."""
        m, scale = len(self.pending), self.packing.frame.scale
        first = len(seeds) - m
        columns, grouped = np.array(self.pending, np.int64), canonical.group_centers(seeds[first:])
        for lo, hi, rows in self.data.ranges(16.0 * self.data.d):
            shared = (
                rows, new_counter(), self.values[lo:hi], columns, seeds[first:], grouped, first, scale, scale,
                *self.packing.bounds, nearest_sq[lo:hi], labels[lo:hi],
            )  # fmt: skip
            threads.share(self.n_lanes, kernels.table_settle_lane, shared)
        self.pending = []
