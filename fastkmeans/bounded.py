"""Bounded passes: the triangle inequality in place of arithmetic.

A bounded pass gives what the dense pass gives, to the bit, and computes less of it.  `GroupBounds`, `NeighborBounds`
and `RunnerUpBounds` hold the bounds of one run for the three kinds of kernels.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import passes, row_codes, threads
from .data import Data, new_counter
from .kernels import blocks, bounds, canonical, drake, elkan, hamerly, lloyd, parallel, simd
from .kernels.micro import CENTERS
from .packed import Frame
from .passes import Outcome, Sums
from .row_codes import RowCodes

SHARE = 2  # bounds per row and group take at most 1/SHARE of what the rows take as float32
MOST_RIVALS = drake.MOST  # clusters up to which rows that their bounds don't settle meet all of them (few features)
MOST_NEIGHBORS = 2048  # clusters up to which all distances between centers are kept: 16 MiB
REACH = 4.0  # times the mean distance to the own center: others that lie farther from it are no neighbors
SAMPLE, AFTER = 1 << 15, 8  # rows that this mean is taken from, and passes until it is taken again
STALE = 0.02  # of the typical distance from center to center, by which centers may move before these are taken anew


def near_together(centers: NDArray[Any], unit: int) -> NDArray[np.int32]:
    """An order of the centers in which every `unit` of them lie near together.

    Centers are split along the direction in which they spread most, again and again, always at a multiple of `unit`.
    Any order gives the same labels.
    """
    k = len(centers)
    size = np.abs(centers).max()
    points = (centers / size if size > 0.0 else centers).astype(np.float32)
    order = np.arange(k)
    todo = [(0, k)]
    while todo:
        lo, hi = todo.pop()
        n_units = -(-(hi - lo) // unit)
        if n_units < 2:
            continue
        part = points[order[lo:hi]]
        size = np.abs(part).max()
        if size > 0.0:
            part = part / size
            part -= part.mean(axis=0)
            direction = part[np.abs(part).max(axis=1).argmax()]
            for _ in range(3):
                direction = np.einsum("i,ij->j", np.einsum("ij,j->i", part, direction), part)
                direction /= max(float(np.abs(direction).max()), 1e-30)
            along = np.einsum("ij,j->i", part, direction)  # by no BLAS, whose threads would be in the way of ours
            order[lo:hi] = order[lo:hi][np.argsort(along, kind="stable")]
        middle = lo + n_units // 2 * unit
        todo += [(lo, middle), (middle, hi)]
    return order.astype(np.int32)


def survivors(
    rows: NDArray[np.float64], old: NDArray[Any], new: NDArray[Any], order: NDArray[np.int32], unit: int
) -> float:
    """About the share of (row, group of centers) pairs that exact bounds from `old` centers leave open at `new` ones.

    rows (m, d), old, new (k, d); order: of centers, of which every `unit` are a group.
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # an estimate: what overflows counts as settled
        middle = old.mean(axis=0)
        x, before, now = rows.astype(old.dtype) - middle, old - middle, new - middle
        size = max(float(np.abs(x).max()), float(np.abs(before).max()))
        exponent = math.frexp(size)[1] if math.isfinite(size) else 0
        most = np.finfo(old.dtype).maxexp - 2
        shrink = old.dtype.type(2.0 ** max(-most, min(-exponent, most)))
        x, before, now = ((values * shrink).astype(np.float32, copy=False) for values in (x, before, now))
        k, d = before.shape
        step = max(1, (1 << 18) // (len(x) * d))  # products so small that BLAS wakes no thread
        products = np.concatenate([x @ before[c : c + step].T for c in range(0, k, step)], axis=1)
        squares = (before * before).sum(axis=1) - np.float32(2.0) * products + (x * x).sum(axis=1, keepdims=True)
        distances = np.sqrt(np.maximum(squares, 0.0))
        own = distances.argmin(axis=1)
        distances[np.arange(len(x)), own] = np.inf
        moved = np.sqrt(((now - before) ** 2).sum(axis=1))
        cuts = np.arange(0, k, unit)
        nearest = np.minimum.reduceat(distances[:, order], cuts, axis=1)
        nearest -= np.maximum.reduceat(moved[order], cuts)
        return float((nearest < np.sqrt(((x - now[own]) ** 2).sum(axis=1, keepdims=True))).mean())


def rounded_up(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The least float32 that is not smaller."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near < values, np.nextafter(near, np.float32(np.inf)), near)


def share_of(n: int, spread: int) -> float:
    """The share of n rows that every spread-th stretch of rows makes."""
    whole, rest = divmod(n, bounds.SCAN * spread)
    return (whole * bounds.SCAN + min(rest, bounds.SCAN)) / n


def loaded() -> int:
    """How many versions of the kernels of bounded passes this process has compiled or loaded."""
    kernels = (
        parallel.enter, elkan.bounded_lane, elkan.between_lane, hamerly.neighbor_lane, hamerly.neighbors_lane,
        drake.runner_up_lane,
    )  # fmt: skip
    return sum(len(getattr(kernel, "overloads", ())) for kernel in kernels)


class Bounds:
    """What the kinds of bounds have in common.

    Parameters
    ----------
    data : Data
    centers : ndarray of shape (k, d)
        Those of the last pass, or of this one.
    spread : int
        Bounds are kept for every spread-th stretch of rows alone, and `assign` labels no others.

    Attributes
    ----------
    rise, fall : ndarray of float32, shape (k,)
        How far a center moved at most, and the fastest of the others, or of those within reach, in units of the packed
        rows (`frame.scale`).
    fresh : bool
        Whether there are no bounds yet.
    lane_seconds : float
        What the lanes took of the last pass; the rest of it does not depend on how many rows there are.
    calm : float
        Share of the rows whose label the last pass changed.
    """

    def __init__(self, data: Data, centers: NDArray[Any], spread: int) -> None:
        self.spread = spread
        self.width = simd.lane_width()
        self.centers = centers.copy()
        self.fresh = True
        self.frame: Frame | None = None
        self.lane_seconds = 0.0
        self.calm = 1.0

    def assign(self, data: Data, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums | None = None) -> Outcome:
        """As passes.assign: labels (n,) int32 INOUT, none of them -1."""
        k, d = centers.shape
        n_lanes = passes.pass_lanes(data, k) if sums is None else sums.touched.shape[0]
        self._prepare(data, centers, labels, n_lanes)
        self.lane_seconds = 0.0
        counts = np.zeros((n_lanes, 5), np.int64)
        update = sums is not None and not sums.owned
        private = (*passes.lane_buffers(sums, n_lanes), counts)
        for lo, hi, rows in data.ranges(d * (k + 16.0)):
            weights, part = data.weights_of(lo, hi), labels[lo:hi]
            before = part.copy() if sums is not None and sums.owned else None
            start = time.perf_counter()
            self._share(n_lanes, rows, lo, hi, weights, (part, update, data.grid.scale), private)
            self.lane_seconds += time.perf_counter() - start
            if sums is None:
                continue
            if before is not None:
                sums.move_owned(data, rows, before, part, weights)
            sums.settle()
        self.fresh = False
        threads.note_lanes(int((counts[:, lloyd.BLOCKS] > 0).sum()))
        total = [int(c) for c in counts.sum(axis=0)]
        self.calm = total[lloyd.CHANGED] / data.n
        evaluated = total[bounds.EVALUATED] / (float(data.n) * k)
        read = total[bounds.READ] / data.n
        return Outcome(total[lloyd.CHANGED], total[lloyd.DECIDED], evaluated, read, "elkan")

    @staticmethod
    def _frame(data: Data, centers: NDArray[Any]) -> Frame:
        dtype = data.points.direct.dtype if data.points.direct is not None else data.points.center_dtype
        return Frame(data, centers, dtype.itemsize <= 2 or dtype == np.float32)

    def _prepare(self, data: Data, centers: NDArray[Any], labels: NDArray[np.int32], n_lanes: int) -> None:
        """Pack the centers, and find how far they moved and how far apart they are."""
        frame = self._frame(data, centers)
        if self.frame is not None and frame.scale != self.frame.scale:
            self.fresh = True
        self.frame = frame
        moved = self._pack(centers)
        self.fresh = self.fresh or not bool(np.isfinite(moved).all())
        if self.fresh:
            moved[:] = 0.0
        self.centers[:] = centers
        self.rise = rounded_up(moved)
        self._measure(n_lanes, labels)

    def _pack(self, centers: NDArray[Any]) -> NDArray[np.float64]:
        """Pack centers; returns how far each has moved since the last pass."""
        raise TypeError("a kind of bounds packs in its own way")

    def _measure(self, n_lanes: int, labels: NDArray[np.int32]) -> None:
        """Take the distances between centers."""
        raise TypeError("a kind of bounds measures in its own way")

    def _share(
        self, n_lanes: int, rows: NDArray[Any], lo: int, hi: int, weights: NDArray[np.int64], tail: tuple[Any, ...],
        private: tuple[Any, ...],
    ) -> None:  # fmt: skip
        """Run the lanes on one range of rows."""
        raise TypeError("a kind of bounds has kernels of its own")


class NearBounds(Bounds):
    """Those that keep two bounds per row: of the distance to the own center, and to the nearest other one.

    Attributes
    ----------
    upper, least : ndarray of float32, shape (n,)
        The two, in packed units.
    half : ndarray of float32, shape (k,)
        Lower bounds of the distance from every center to the nearest other one.
    reach : ndarray of float32, shape (k,)
        A distance from every center, which its rows choose: centers beyond it may move as they like, for they are no
        nearer to a row than what is left of it after the way to the own center.
    """

    def __init__(self, data: Data, centers: NDArray[Any], spread: int) -> None:
        super().__init__(data, centers, spread)
        self.upper, self.least = np.empty((2, data.n), np.float32)
        self.half = self.fall = np.zeros(len(centers), np.float32)
        self.reach, self.reached = np.zeros(len(centers), np.float32), -AFTER
        self.passes = 0

    def _reach_out(self, labels: NDArray[np.int32]) -> None:
        """Choose `reach`; any is right."""
        self.passes += 1
        if self.fresh or self.passes < self.reached + AFTER:
            return
        self.reached = self.passes
        k = len(self.reach)
        step = bounds.SCAN * self.spread
        starts = np.arange(0, len(labels), step)
        starts = starts[:: -(-len(starts) * bounds.SCAN // SAMPLE)]
        rows = (starts[:, np.newaxis] + np.arange(bounds.SCAN)).ravel()
        rows = rows[rows < len(labels)]
        upper, labels = self.upper[rows], labels[rows]
        count = np.bincount(labels, minlength=k)
        mean = np.where(count > 0, np.bincount(labels, upper, k) / np.maximum(count, 1), upper.mean())
        self.reach = (REACH * mean).astype(np.float32)

    def _moves(self) -> tuple[NDArray[np.float32], np.float32]:
        """What bounds.moved_bounds moves the rows of every label by."""
        return np.stack((self.rise, self.fall, self.half, self.reach), axis=1), self.rise.max()


class GroupBounds(NearBounds):
    """Bounds of the distance to the own center and to all others, and one per group of centers: many features.

    Attributes
    ----------
    lower : ndarray of float32, flat (n * n_groups + 16,)
        Lower bound of the distance of a row to the nearest center of a group, the row's own excepted, plus what `drift`
        was when it was written.
    drift : ndarray of float32
        How far any center of a group can have moved since the groups were made.
    order : ndarray of int32, shape (k,)
        Centers in the order of their groups, `size` of them each.
    codes : RowCodes
        What rows that were read have left, to be looked at in their place.
    """

    def __init__(
        self, data: Data, centers: NDArray[Any], spread: int = 1, order: NDArray[np.int32] | None = None
    ) -> None:
        super().__init__(data, centers, spread)
        k, d = centers.shape
        self.size = self.group_size(k, d)
        self.span = self.size // blocks.BLOCK
        self.n_groups = -(-k // self.size)
        self._group(near_together(centers, self.size) if order is None else order)
        self.stride = -(-self.n_groups // self.width) * self.width
        self.lower = np.empty(data.n * self.n_groups + 16, np.float32)
        self.drift = np.zeros(self.stride, np.float32)
        self.codes = RowCodes.none()
        self.between = np.full(k * self.stride, np.inf, np.float32)
        # how far a center, and any of a group, can have moved since those were taken; the mean of `half`
        self.stale, self.stale_groups, self.typical = np.full(k, np.inf), np.full(self.n_groups, np.inf), 0.0

    def _group(self, order: NDArray[np.int32]) -> None:
        self.order, self.places = order, np.empty(len(order), np.int32)
        self.places[order] = np.arange(len(order), dtype=np.int32)
        self.packed_scale = 0.0  # of the centers that are packed

    def regroup(self, centers: NDArray[Any]) -> None:
        """Form the groups anew, by where the centers lie now: what bounds there are is lost."""
        self._group(near_together(centers, self.size))
        self.fresh = True

    @staticmethod
    def group_size(k: int, d: int) -> int:
        """Centers of a group: as many more than a vector holds as keep the bounds small beside the rows."""
        n_blocks = -(-k // blocks.BLOCK)
        return -(-n_blocks // max(1, d // SHARE)) * blocks.BLOCK

    def begin(self, data: Data, centers: NDArray[Any]) -> None:
        """A dense pass, at these centers, is about to write all bounds: see passes.assign."""
        self.fresh = True
        self.frame = self._frame(data, centers)
        self._pack(centers)
        self.centers = centers.copy()

    def end(self, scales: set[float]) -> None:
        """It has, if rows were packed in units of one scale alone; distances between centers are yet to be taken."""
        assert self.frame is not None
        self.fresh = scales != {self.frame.scale}
        self.drift[:] = 0.0
        self.stale[:] = math.inf

    def _pack(self, centers: NDArray[Any]) -> NDArray[np.float64]:
        k, d = centers.shape
        frame = self.frame
        assert frame is not None
        known = frame.scale == self.packed_scale
        if not known:
            n_blocks = -(-k // blocks.BLOCK)
            self.blocks = np.zeros(n_blocks * blocks.BLOCK * d, np.float32)
            self.halves = np.full(n_blocks * blocks.BLOCK, np.inf, np.float32)
            self.packed = np.zeros((k + 1) * (-(-d // 16) * 16), np.float32)
            self.squares, self.center_norms = np.empty(k, np.float32), np.empty(k)
            self.grouped = np.zeros(-(-k // canonical.GROUP) * canonical.GROUP * d)
            self.packed_scale = frame.scale
        moved = np.empty(k)
        blocks.pack_blocks(
            centers, self.centers, known, self.order, frame.scale, frame.shift.astype(np.float64), self.width,
            self.blocks, self.halves, self.packed, self.squares, self.center_norms, self.grouped, moved,
        )  # fmt: skip
        self.norms = rounded_up(np.maximum.reduceat(self.center_norms[self.order], np.arange(0, k, self.size)))
        self.largest = float(self.center_norms.max())
        return moved

    def _prepare(self, data: Data, centers: NDArray[Any], labels: NDArray[np.int32], n_lanes: int) -> None:
        super()._prepare(data, centers, labels, n_lanes)
        assert self.frame is not None
        if self.codes.scale != self.frame.scale:
            wanted = self.spread == 1 and row_codes.pay(data, self.calm)
            size = blocks.padded(data.d)
            self.codes = RowCodes(data.n, size, self.frame.scale, self.packed.copy()) if wanted else RowCodes.none()

    def _measure(self, n_lanes: int, labels: NDArray[np.int32]) -> None:
        k = len(self.order)
        assert self.frame is not None
        if self.fresh:
            self.drift[:] = 0.0
            self.stale[:] = math.inf
        by_group = np.zeros((self.n_groups, self.size), np.float32)
        by_group.reshape(-1)[:k] = self.rise[self.order]
        step = by_group.max(axis=1)
        by_group[np.arange(self.n_groups), by_group.argmax(axis=1)] = 0.0
        own = self.places // self.size
        others = np.where(self.rise == step[own], by_group.max(axis=1)[own], step[own])
        self.drift[: self.n_groups] = rounded_up(self.drift[: self.n_groups].astype(np.float64) + step)
        # Distances between centers are bounds too, and move like the others: taking them all anew costs k^2 d.
        self.stale += self.rise
        self.stale_groups += step
        old = self.stale > STALE * self.typical
        old_groups = self.stale_groups > STALE * self.typical
        self._reach_out(labels)
        self.half, self.fall = np.empty((2, k), np.float32)
        shared = (
            simd.lanes(self.width), new_counter(), np.argsort(~old, kind="stable").astype(np.int32), int(old.sum()),
            np.flatnonzero(old_groups).astype(np.int32), self.rise, step, others, self.reach, self.blocks, self.halves,
            self.norms, self.packed, self.squares, self.places, self.frame.error, k, self.centers.shape[1],
            self.n_groups, self.span, self.between, self.half, self.fall,
        )  # fmt: skip
        threads.share(n_lanes, elkan.between_lane, shared)
        self.typical = float(self.half.mean())
        self.stale[old] = self.stale_groups[old_groups] = 0.0

    def _share(
        self, n_lanes: int, rows: NDArray[Any], lo: int, hi: int, weights: NDArray[np.int64], tail: tuple[Any, ...],
        private: tuple[Any, ...],
    ) -> None:  # fmt: skip
        f = self.frame
        assert f is not None
        lower = self.lower[lo * self.n_groups :]
        shared = (
            simd.lanes(self.width), rows, weights, new_counter(), self.spread, self.fresh, f.dtype.type(f.scale),
            f.shift, self.blocks, self.halves, self.norms, self.packed, self.order, self.places, self.largest, f.error,
            self.grouped, len(self.order), self.n_groups, self.span, lower.ctypes.data,
            *passes.ahead(rows, rows.shape[1]), *self._moves(), self.half, self.drift, self.between,
            *self.codes.of(lo, hi), self.upper[lo:hi], self.least[lo:hi], lower, *tail,
        )  # fmt: skip
        threads.share(n_lanes, elkan.bounded_lane, shared, private)


class NeighborBounds(NearBounds):
    """All distances between centers, and no bounds but the two per row: few features, many centers."""

    def _pack(self, centers: NDArray[Any]) -> NDArray[np.float64]:
        k, d = centers.shape
        frame = self.frame
        assert frame is not None
        self.stride = -(-k // self.width) * self.width
        self.columns = np.zeros(d * self.stride, np.float32)
        self.packed = np.empty(k * d, np.float32)
        self.squares, moved = np.empty(k, np.float32), np.empty(k)
        hamerly.pack_columns(
            centers, self.centers, frame.scale, frame.shift.astype(np.float64),
            self.columns, self.packed, self.squares, moved,
        )  # fmt: skip
        self.largest = math.sqrt(float(self.squares.max())) * (1.0 + 1e-6)
        tiles = np.full((-(-k // hamerly.TILE) * hamerly.TILE, d), np.inf, np.float32)
        tiles[:k] = self.packed.reshape(k, d)
        self.tiles = np.ascontiguousarray(tiles.reshape(-1, hamerly.TILE, d).transpose(0, 2, 1)).reshape(-1)
        self.exact = centers.astype(np.float64)
        return moved

    def _measure(self, n_lanes: int, labels: NDArray[np.int32]) -> None:
        k, d = self.centers.shape
        assert self.frame is not None
        packing = bounds.packing_error(self.largest, self.frame.error)
        slip = np.float32(2.0) * bounds.packing_slip(self.squares.max(), packing)
        self.between = np.empty(k * self.stride, np.float32)
        self.half, self.fall = np.empty((2, k), np.float32)
        self._reach_out(labels)
        shared = (
            new_counter(), self.columns, self.packed, k, d, slip, self.frame.error, self.rise, self.reach, self.between,
            self.half, self.fall,
        )  # fmt: skip
        threads.share(n_lanes, hamerly.neighbors_lane, shared)

    def _share(
        self, n_lanes: int, rows: NDArray[Any], lo: int, hi: int, weights: NDArray[np.int64], tail: tuple[Any, ...],
        private: tuple[Any, ...],
    ) -> None:  # fmt: skip
        f = self.frame
        assert f is not None
        shared = (
            simd.lanes(self.width), rows, weights, new_counter(), self.spread, self.fresh, f.dtype.type(f.scale),
            f.shift, self.packed, self.tiles, self.exact, self.largest, f.error, len(self.exact),
            *passes.ahead(rows, rows.shape[1]), *self._moves(), self.half, self.between, self.upper[lo:hi],
            self.least[lo:hi], *tail,
        )  # fmt: skip
        threads.share(n_lanes, hamerly.neighbor_lane, shared, private)


class RunnerUpBounds(Bounds):
    """Every row's runner-up, and what it and the others would have to gain: few features, few centers.

    Attributes
    ----------
    gaps, rests : ndarray of float32, shape (n,)
        How much farther away than its own center a row's runner-up is at least, and any of the others, in packed units,
        plus what was lost until it was written.
    rivals : ndarray of uint16, shape (n,)
        The runners-up.
    way, fastest : ndarray of float64, shape (k,)
        What every center, and in every pass the fastest of the others, went since the beginning.
    """

    def __init__(self, data: Data, centers: NDArray[Any], spread: int = 1) -> None:
        super().__init__(data, centers, spread)
        self.gaps, self.rests = np.empty((2, data.n), np.float32)
        self.rivals = np.zeros(data.n, np.uint16)
        self.way, self.fastest = np.zeros((2, len(centers)))

    def _pack(self, centers: NDArray[Any]) -> NDArray[np.float64]:
        k, d = centers.shape
        frame = self.frame
        assert frame is not None
        n_padded = -(-k // CENTERS) * CENTERS
        self.tiles, self.packed = np.zeros(n_padded * d, np.float32), np.zeros(k * blocks.padded(d), np.float32)
        self.halves, self.norms = np.full(n_padded, drake.NO_CENTER, np.float32), np.empty(k, np.float32)
        moved = np.empty(k)
        self.largest = drake.pack_few(
            centers, self.centers, frame.scale, frame.shift.astype(np.float64),
            self.tiles, self.halves, self.norms, self.packed, moved,
        )  # fmt: skip
        self.grouped = canonical.group_centers(centers)
        return moved

    def _measure(self, n_lanes: int, labels: NDArray[np.int32]) -> None:
        if self.fresh:
            self.way[:] = self.fastest[:] = 0.0
            self.gaps.fill(-np.inf)
            self.rests.fill(-np.inf)
        self.way += self.rise
        first = int(self.rise.argmax())
        fall = np.full(len(self.rise), self.rise.max(), np.float32)
        fall[first] = max(self.rise[:first].max(initial=0.0), self.rise[first + 1 :].max(initial=0.0))
        self.fastest += fall
        lost = np.stack((self.way, self.way + self.fastest), axis=1)
        self.lost = np.zeros((2, -(-len(lost) // drake.TABLE) * drake.TABLE), np.float32)
        self.lost[:, : len(lost)] = (lost * (1.0 + 4e-7)).T
        self.kept = (lost * (1.0 - 4e-7)).astype(np.float32)

    def _share(
        self, n_lanes: int, rows: NDArray[Any], lo: int, hi: int, weights: NDArray[np.int64], tail: tuple[Any, ...],
        private: tuple[Any, ...],
    ) -> None:  # fmt: skip
        f = self.frame
        assert f is not None
        shared = (
            simd.lanes(self.width), rows, weights, new_counter(), self.spread, f.dtype.type(f.scale), f.shift,
            self.tiles, self.halves, self.norms, self.packed, self.grouped, self.largest, f.error, len(self.norms),
            *passes.ahead(rows, rows.shape[1]), self.lost, self.kept, self.gaps[lo:hi], self.rests[lo:hi],
            self.rivals[lo:hi], *tail,
        )  # fmt: skip
        threads.share(n_lanes, drake.runner_up_lane, shared, private)


def make_bounds(data: Data, centers: NDArray[Any], spread: int = 1) -> Bounds:
    """Bounds of the kind that serves these centers."""
    k, d = centers.shape
    if d >= lloyd.SWITCH or k > MOST_NEIGHBORS:
        return GroupBounds(data, centers, spread)
    return (RunnerUpBounds if k <= MOST_RIVALS else NeighborBounds)(data, centers, spread)
