"""The bounded pass: what Python keeps and decides between passes - groups of centers, drifts, when bounds pay.

One bounded pass gives what the dense pass gives, to the bit; it only computes less.  `Bounds` holds the bounds of one
run: an upper and a lower one per row, a lower one per row and group of centers, and what is needed to move them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, new_counter
from .kernels import bounds, canonical, elkan, lloyd, parallel, parallel_elkan, simd
from .passes import Frame, Sums

SHARE = 2  # the bounds per row and group take at most 1/SHARE of the float32 size of the data


class Outcome(NamedTuple):
    changed: int
    decided: int
    evaluated: int
    read: int


def near_together(centers: NDArray[Any], unit: int) -> NDArray[np.int32]:
    """An order of the centers in which every `unit` of them lie near together.

    Centers are split along the direction in which they spread most, again and again, always at a multiple of `unit`.
    Any order gives the same labels.
    """
    k = len(centers)
    points = centers.astype(np.float64)
    order = np.arange(k)
    todo = [(0, k)]
    while todo:
        lo, hi = todo.pop()
        n_units = -(-(hi - lo) // unit)
        if n_units < 2:
            continue
        part = points[order[lo:hi]]
        part = part - part.mean(axis=0)
        size = np.abs(part).max()
        if size > 0.0:
            part /= size
            direction = part[np.abs(part).max(axis=1).argmax()]
            for _ in range(4):
                direction = part.T @ (part @ direction)
                direction /= max(float(np.abs(direction).max()), 1e-300)
            order[lo:hi] = order[lo:hi][np.argsort(part @ direction, kind="stable")]
        middle = lo + n_units // 2 * unit
        todo += [(lo, middle), (middle, hi)]
    return order.astype(np.int32)


def _up(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The least float32 that is not smaller."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near < values, np.nextafter(near, np.float32(np.inf)), near)


class Bounds:
    """Bounds of the rows of one run, for lanes = centers.

    Parameters
    ----------
    data : Data
    centers : ndarray of shape (k, d)
        From whose places the groups are made.
    spread : int
        Bounds are kept for every spread-th stretch of rows.
    """

    def __init__(self, data: Data, centers: NDArray[Any], spread: int = 1) -> None:
        k, d = centers.shape
        self.spread = spread
        self.centers = centers.copy()
        n_blocks = -(-k // elkan.BLOCK)
        most = max(1, d // SHARE)
        self.span = -(-n_blocks // most)
        self.n_groups = -(-n_blocks // self.span)
        self.order = near_together(centers, elkan.BLOCK * self.span)
        self.places = np.empty(k, np.int32)
        self.places[self.order] = np.arange(k, dtype=np.int32)
        self.width = simd.lane_width()
        self.stride = -(-self.n_groups // self.width) * self.width
        self.upper = np.empty(data.n, np.float32)
        self.least = np.empty(data.n, np.float32)
        self.lower = np.empty(data.n * self.n_groups + 16, np.float32)
        self.drift = np.zeros(self.stride, np.float32)
        self.fresh = True
        self.frame: Frame | None = None

    def assign(self, data: Data, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums) -> Outcome:
        """As passes.assign, with what was evaluated and read."""
        k, d = centers.shape
        dtype = data.points.center_dtype
        n_lanes = sums.touched.shape[0]
        counts = np.zeros((n_lanes, 6), np.int64)
        update = not sums.owned
        lane_sums = np.zeros((n_lanes, 1), np.int64) if sums.owned else sums.lane_sums
        lane_weights = np.zeros((n_lanes, 1), np.int64) if sums.owned else sums.lane_weights
        private = (lane_sums, lane_weights, sums.touched, counts)
        ready = False
        for lo, hi, rows in data.ranges(d * (k + 16.0)):
            if not ready:
                self._prepare(data, centers, rows.dtype.itemsize <= 2 or rows.dtype == np.float32, n_lanes)
                ready = True
            weights, part = data.weights_of(lo, hi), labels[lo:hi]
            before = part.copy() if sums.owned else None
            lower = self.lower[lo * self.n_groups :]
            f = self.frame
            shared = (
                simd.lanes(self.width), rows, weights, new_counter(), self.spread, self.fresh, f.dtype.type(f.scale), f.shift, self.blocks,
                self.halves, self.packed, self.order, self.places, self.norms, self.largest, f.error, self.grouped, k,
                self.n_groups, self.span, self.rise, self.fall, self.half, self.drift, self.between,
                self.upper[lo:hi], self.least[lo:hi], lower, part, update, data.grid.scale,
            )  # fmt: skip
            threads.share(n_lanes, parallel_elkan.bounded_parallel, elkan.bounded_lane, shared, private)
            if before is not None:
                own = (rows, before, part, weights, data.grid.scale, data.grid.digits)
                own += (sums.lane_sums[0], sums.lane_weights[0])
                threads.share(n_lanes, parallel.own_parallel, lloyd.own_clusters, own, (sums.touched,), numbered=True)
            sums.settle()
        self.fresh = False
        threads.note_lanes(int((counts[:, lloyd.BLOCKS] > 0).sum()))
        total = [int(c) for c in counts.sum(axis=0)]
        return Outcome(total[lloyd.CHANGED], total[lloyd.DECIDED], total[bounds.EVALUATED], total[bounds.READ])

    def _prepare(self, data: Data, centers: NDArray[Any], single: bool, n_lanes: int) -> None:
        """Pack the centers, and find how far they moved and how far apart they are."""
        k, d = centers.shape
        frame = Frame(data, centers, single)
        if self.frame is not None and (frame.scale != self.frame.scale or frame.dtype != self.frame.dtype):
            self.fresh = True
        self.frame = frame
        width = self.width
        scaled = centers[self.order].astype(np.float64) * frame.scale - frame.shift.astype(np.float64)
        scaled = scaled.astype(np.float32)
        wide = scaled.astype(np.float64)
        squares = (wide * wide).sum(axis=1)
        n_blocks = -(-k // elkan.BLOCK)
        padded = np.zeros((n_blocks * elkan.BLOCK, d), np.float32)
        padded[:k] = scaled
        self.blocks = np.ascontiguousarray(padded.reshape(-1, width, d).transpose(0, 2, 1)).reshape(-1)
        self.halves = np.full(n_blocks * elkan.BLOCK, np.inf, np.float32)
        self.halves[:k] = 0.5 * squares
        size = -(-d // 16) * 16
        packed = np.zeros((k + 16, size), np.float32)
        packed[self.order, :d] = scaled
        self.packed = packed.reshape(-1)
        own_squares = np.zeros(k)
        own_squares[self.order] = squares
        self.norms = np.sqrt(own_squares) * (1.0 + 1e-6)
        self.largest = float(self.norms.max())
        self.grouped = canonical.group_centers(centers[self.order])
        moved = centers.astype(np.float64) * frame.scale - self.centers.astype(np.float64) * frame.scale
        moved = np.sqrt((moved * moved).sum(axis=1)) * (1.0 + 1e-9)
        if not np.isfinite(moved).all():
            self.fresh = True
        if self.fresh:
            moved[:] = 0.0
            self.drift[:] = 0.0
        self.centers = centers.copy()
        self.rise = _up(moved)
        self.fall = np.full(k, self.rise.max(), np.float32)
        if k > 1:
            first = int(self.rise.argmax())
            self.fall[first] = np.delete(self.rise, first).max()
        for g in range(self.n_groups):
            members = self.order[g * self.span * elkan.BLOCK : (g + 1) * self.span * elkan.BLOCK]
            total = float(self.drift[g]) + float(self.rise[members].max())
            self.drift[g] = _up(np.array(total))
        self.between = np.empty(k * self.stride, np.float32)
        self.half = np.empty(k, np.float32)
        shared = (
            simd.lanes(width), new_counter(), self.blocks, self.halves, self.packed, own_squares.astype(np.float32), self.places,
            self.largest, frame.error, k, d, self.n_groups, self.span, self.between, self.half,
        )  # fmt: skip
        threads.share(n_lanes, parallel_elkan.between_parallel, elkan.between_lane, shared)
