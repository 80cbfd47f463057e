"""Passes over the data: everything that reads all rows, range by range, and nothing that decides.

`Data` is what a fit needs to know of X before it starts: weights and features on their integer grids, and the frame in
which rows are packed.  `Sums` are the exact statistics of the clusters.  `assign` is the pass: labels for all rows, sums
for those that changed.  Kernel calls cover ranges of about 0.2 seconds, between which Ctrl-C comes in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import threads
from .kernels import canonical, exact, lloyd, parallel, simd
from .points import Points, raise_nonfinite, raise_overflow, weight_grid

RANGE_ROWS: int | None = None  # rows of a kernel call; None means by RANGE_WORK.  Tests make it small
RANGE_WORK = 1e10  # multiply-adds a thread does in about 0.2 seconds, at a third of its peak
SCAN_ROWS = 1 << 19  # rows whose exponents can be summed in one int64
SHIFT_ROWS = 64  # rows whose median is the shift for packing
PACKED_EXPONENT = 50  # packed values stay below 2**51: their squares neither overflow nor vanish
NO_WEIGHTS = np.empty(0, np.int64)
NO_TILES = np.empty(0, np.float32)

Rows = NDArray[Any]


class Grid(NamedTuple):
    """The integer grid of the features: ``Q = rint(x * 2**-exponent[j])``, in `digits` digits of 32 bits."""

    digits: int
    exponent: NDArray[np.int64]
    scale: NDArray[np.float64]  # (2, d): powers of two to apply one after the other


class RowSum(NamedTuple):
    """An exact sum over rows: ``total * 2**exponent``."""

    total: int
    exponent: int

    @property
    def exact(self) -> Fraction:
        return Fraction(self.total) * Fraction(2) ** self.exponent

    @property
    def value(self) -> float:
        """The nearest float64."""
        return float(round_ratio(self.total, 1, self.exponent, np.dtype(np.float64)))


class Counts(NamedTuple):
    changed: int
    decided: int


def field_exponent(value: float) -> int:
    """E such that ``value < 2**E``: the exponent field, as the kernels read it (subnormals share the lowest)."""
    return max(math.frexp(value)[1], -1021) if value != 0.0 else -1021


def power_pair(exponent: int) -> tuple[float, float]:
    """Two powers of two whose product is ``2**exponent``, neither of which over- or underflows."""
    half = exponent // 2
    return math.ldexp(1.0, half), math.ldexp(1.0, exponent - half)


def round_ratio(numerator: int, denominator: int, exponent: int, dtype: np.dtype[Any]) -> Any:
    """The float of `dtype` nearest to ``numerator * 2**exponent / denominator``, half to even, rounded once."""
    if exponent >= 0:
        numerator <<= exponent
    else:
        denominator <<= -exponent
    value = np.float64(numerator / denominator)  # Python rounds the quotient of two integers correctly
    if dtype == np.float64:
        return value
    near = np.float32(value)
    exact_value = Fraction(numerator, denominator)
    candidates = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    return min(
        (c for c in candidates if np.isfinite(c)),
        key=lambda c: (abs(Fraction(float(c)) - exact_value), int(c.view(np.uint32)) & 1),
    )


def _counter() -> NDArray[np.int64]:
    return np.zeros(1, np.int64)


class Data:
    """X, its weights and its grids, ready for passes.

    Parameters
    ----------
    points : Points
    sample_weight : ndarray of float64, shape (n_samples,), or None
    n_threads : int
    gridded : bool
        Whether sums will be wanted: predict and transform need no grid.
    estimator : str or None
        Named by errors.
    """

    def __init__(
        self,
        points: Points,
        sample_weight: NDArray[np.float64] | None,
        n_threads: int | None,
        *,
        estimator: str | None = None,
    ) -> None:
        self.points = points
        self.n, self.d = points.n_samples, points.n_features
        self.n_threads = threads.resolve(n_threads)
        grid = weight_grid(sample_weight, self.n)
        self.weights: NDArray[np.int64] = NO_WEIGHTS if grid.values is None else grid.values
        self.unit_exponent, self.total_weight = grid.unit_exponent, grid.total
        self.largest, mean_exponents = self._scan(estimator)
        self.grid = self._feature_grid(mean_exponents)
        step = max(1, self.n // SHIFT_ROWS)
        sample = points.take(np.arange(0, self.n, step)[:SHIFT_ROWS])
        self.shift = np.sort(sample, axis=0)[len(sample) // 2]

    @property
    def weighted(self) -> bool:
        return self.weights.shape[0] > 0

    def weights_of(self, lo: int, hi: int) -> NDArray[np.int64]:
        return self.weights[lo:hi] if self.weighted else NO_WEIGHTS

    def lanes(self, work: float, n_rows: int) -> int:
        """How many lanes `work` multiply-adds deserve."""
        if work < threads.SERIAL_WORK:
            return 1
        return max(1, min(self.n_threads, n_rows // 64))

    def ranges(self, work_per_row: float) -> Iterator[tuple[int, int, Rows]]:
        """Ranges of rows for kernel calls of bounded length."""
        rows = RANGE_ROWS or max(1 << 14, int(RANGE_WORK * self.n_threads / max(work_per_row, 1.0)))
        return self.points.ranges(min(rows, 1 << 26))

    def _scan(self, estimator: str | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Largest magnitude and mean binary exponent of every feature; raises for NaN, infinity and overflow."""
        d = self.d
        largest = np.zeros(d)
        count: Any = np.zeros(d, object)
        total: Any = np.zeros(d, object)
        for lo, hi, rows in self.points.ranges(min(RANGE_ROWS or SCAN_ROWS, SCAN_ROWS)):
            weights = self.weights_of(lo, hi)
            n_lanes = self.lanes(4.0 * (hi - lo) * d, hi - lo)
            period = d * max(1, 32 // d)
            flat = not self.weighted and d < 32 and rows.flags.c_contiguous
            size = period if flat else d
            lane_largest = np.zeros((n_lanes, size))
            lane_count, lane_total = np.zeros((n_lanes, 2, size), np.int64), np.zeros((n_lanes, 2, size), np.int64)
            finite = np.ones((n_lanes, 1), np.uint8)
            private = (lane_largest, lane_count, lane_total, finite)
            step = _counter()
            if flat:
                shared: tuple[Any, ...] = (rows.reshape(-1), period, step)
                threads.share(n_lanes, parallel.exponents_flat_parallel, exact.exponents_flat_lane, shared, private)
            else:
                threads.share(n_lanes, parallel.exponents_parallel, exact.exponents_lane, (rows, weights, step), private)
            if not finite.all():
                raise_nonfinite(self.points, estimator)
            # fold the positions of a period onto features: Python integers, for weights make the sums long
            position = np.arange(size) % d
            np.maximum.at(largest, position, lane_largest.max(axis=0))
            for digit in range(2):
                for lane in range(n_lanes):
                    np.add.at(count, position, lane_count[lane, digit].astype(object) << (31 * digit))
                    np.add.at(total, position, lane_total[lane, digit].astype(object) << (31 * digit))
        with np.errstate(over="ignore"):
            if not np.isfinite((4.0 * largest * largest).sum()):
                column = int(largest.argmax())
                raise_overflow(self.points, column, float(largest[column]))
        means = [
            t // c - 1022 if c else field_exponent(float(m)) for t, c, m in zip(total, count, largest, strict=True)
        ]
        return largest, np.array(means, np.int64)

    def _feature_grid(self, mean_exponents: NDArray[np.int64]) -> Grid:
        top = np.array([field_exponent(float(m)) for m in self.largest], np.int64)
        gap = int((top - mean_exponents).max())
        digits = 2 if gap <= 10 else 3 if gap <= 42 else 4
        exponent = np.maximum(top - (32 * digits - 2), -1074)
        scale = np.array([power_pair(-int(e)) for e in exponent]).T.copy()
        return Grid(digits, exponent, scale)


class Frame:
    """How rows and centers are packed for the fast kernels, and the bounds of what that loses.

    Every packed value is ``x * scale - shift``.  The scale is a power of two that keeps the largest value below
    ``2**(PACKED_EXPONENT + 1)``, so that squares neither overflow nor, but for values 2**-80 times smaller, vanish.
    """

    def __init__(self, data: Data, centers: NDArray[Any], single: bool) -> None:
        d = data.d
        extent = max(
            float(data.largest.max()), float(centers.max()), -float(centers.min())
        ) + float(np.abs(data.shift).max())
        limit = 126 if single else 1000
        exponent = max(-limit, min(limit, PACKED_EXPONENT - field_exponent(extent))) if extent > 0.0 else 0
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.scale = math.ldexp(1.0, exponent)
        self.shift = (data.shift * self.scale).astype(self.dtype)
        gamma = (min(d, 64) + -(-d // 64) + 6) * 2.0**-24 * 1.001
        canonical_roundings = (d + 3) * 2.0**-54
        tiny = 2.0**-149
        # what underflow in the packed products, and in the canonical squares (2**-1074 each), can hide
        with np.errstate(over="ignore"):
            lost = float(np.float64(d) * 2.0 ** (2 * exponent - 1074)) if 2 * exponent - 1074 < 1000 else math.inf
        floor = (d + 8) * tiny + lost
        self.error = np.array(
            [gamma, canonical_roundings, floor, 2.0 * tiny * math.sqrt(d), d * 2.0**-120, (d / 4 + 72) * 2.0**-24]
        )
        self.square_scale = np.array([self.scale, self.scale])

    def cutoff(self, largest: float) -> NDArray[np.float32]:
        """The cheap form of the certificate, with the largest |c'| for every norm: see lloyd.certify."""
        gamma, roundings, floor, per_norm, norm_floor, _ = self.error
        values = (
            2.05 * (gamma * largest + per_norm),
            2.05 * 2.0 * roundings,
            2.05 * (0.5 * gamma * largest**2 + 2.0 * roundings * largest**2 + floor + per_norm * largest),
            norm_floor,
        )
        with np.errstate(over="ignore"):
            return np.array(values).astype(np.float32)


class Packed:
    """Centers in the forms the kernels want."""

    def __init__(self, data: Data, centers: NDArray[Any], single: bool) -> None:
        k, d = centers.shape
        self.width = simd.lane_width()
        self.grouped = canonical.group_centers(centers)
        if self.width == 1:
            return
        self.frame = Frame(data, centers, single)
        n_groups = -(-k // self.width)
        by_points = lloyd.orientation(d) == "points"
        self.groups = np.zeros(n_groups * d * self.width, np.float32)
        self.tiles = np.zeros(-(-k // 8) * d * 8, np.float32) if by_points else NO_TILES
        self.halves = np.empty(-(-k // 16) * 16, np.float32)  # enough for both forms
        self.norms = np.empty(k)
        self.largest = lloyd.pack_centers(
            centers, duplicates(centers), self.frame.scale, self.frame.shift.astype(np.float64), self.width,
            self.groups, self.tiles, self.halves, self.norms,
        )  # fmt: skip


def duplicates(centers: NDArray[Any]) -> NDArray[np.uint8]:
    """Flags of the centers that equal one of lower index."""
    flags = np.zeros(len(centers), np.uint8)
    hashes = np.empty(len(centers), np.uint64)
    lloyd.hash_rows(centers, hashes)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    if not (ordered[1:] == ordered[:-1]).any():
        return flags
    first: list[int] = []
    for at, c in enumerate(order):
        if at and ordered[at] != ordered[at - 1]:
            first = []
        if any(np.array_equal(centers[c], centers[other]) for other in first):
            flags[c] = 1
        else:
            first.append(int(c))
    return flags


class Sums:
    """Exact sums and weights of the clusters, and the lanes' buffers."""

    def __init__(self, data: Data, k: int, n_lanes: int) -> None:
        self.digits = data.grid.digits + (2 if data.weighted else 0)
        self.total = np.zeros((k, self.digits, data.d), np.int64)
        self.weights = np.zeros(k, np.int64)
        self.changed = np.zeros(k, np.uint8)
        self.touched = np.zeros((n_lanes, k), np.uint8)
        budget = max(data.points.nbytes // 10, 1 << 16)
        common = not data.weighted and data.grid.digits == 2
        # several lanes have sums of their own while those are small; one lane adds to the whole, and so do lanes that
        # own clusters, in a second visit of the rows that changed
        self.owned = not common or (n_lanes > 1 and n_lanes * self.total.nbytes > budget)
        self.buffered = n_lanes > 1 and not self.owned
        self.lane_sums, self.lane_weights = self.total.reshape(1, -1), self.weights.reshape(1, -1)
        if self.buffered:
            self.lane_sums = np.zeros((n_lanes, self.total.size), np.int64)
            self.lane_weights = np.zeros((n_lanes, k), np.int64)

    def settle(self) -> None:
        """Bring the lanes' sums together and carry: digits end in [0, 2**32) but the highest, which keeps the sign."""
        if self.buffered:
            exact.merge_lanes(self.lane_sums, self.lane_weights, self.touched, self.total, self.weights)
        fresh = np.flatnonzero(self.touched.any(axis=0))
        self.changed[fresh] = 1
        self.touched[:] = 0
        step = max(1, 4096 // self.total.shape[2])
        for lo in range(0, len(fresh), step):
            clusters = fresh[lo : lo + step]
            part = self.total[clusters]
            for t in range(self.digits - 1):
                carry = part[:, t] >> 32
                part[:, t] -= carry << 32
                part[:, t + 1] += carry
            self.total[clusters] = part

    def feature_totals(self) -> list[int]:
        """Per feature, the exact sum over all rows."""
        columns = self.total.sum(axis=0)  # digits below 2**32 times k clusters: no overflow
        return [
            sum(int(columns[t, j]) << (32 * t) for t in range(self.digits)) for j in range(self.total.shape[2])
        ]

    def cluster_total(self, c: int, j: int) -> int:
        return sum(int(self.total[c, t, j]) << (32 * t) for t in range(self.digits))


def pass_lanes(data: Data, k: int) -> int:
    return data.lanes(float(data.n) * data.d * (k + 16), data.n)


def assign(data: Data, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums | None = None) -> Counts:
    """Label every row with its nearest center, and move the rows whose label changed between the sums.

    labels (n,) int32 INOUT: -1 where a row has none yet.
    """
    k, d = centers.shape
    n_lanes = pass_lanes(data, k) if sums is None else sums.touched.shape[0]
    packed: dict[bool, Packed] = {}
    counts = np.zeros((n_lanes, 4), np.int64)
    update = sums is not None and not sums.owned
    idle = sums is None or sums.owned
    lane_sums = np.zeros((n_lanes, 1), np.int64) if idle else sums.lane_sums  # type: ignore[union-attr]
    lane_weights = np.zeros((n_lanes, 1), np.int64) if idle else sums.lane_weights  # type: ignore[union-attr]
    touched = np.zeros((n_lanes, 1), np.uint8) if sums is None else sums.touched
    private = (lane_sums, lane_weights, touched, counts)
    for lo, hi, rows in data.ranges(d * (k + 16.0)):
        single = rows.dtype.itemsize <= 2 or rows.dtype == np.float32
        if single not in packed:
            packed[single] = Packed(data, centers, single)
        p = packed[single]
        weights, part = data.weights_of(lo, hi), labels[lo:hi]
        before = part.copy() if sums is not None and sums.owned else None
        tail = (part, update, data.grid.scale)
        head = (rows, weights, _counter())
        orientation = lloyd.orientation(d)
        if orientation == "plain":
            shared: tuple[Any, ...] = (*head, p.grouped, k, *tail)
            threads.share(n_lanes, parallel.plain_parallel, lloyd.plain_lane, shared, private)
        else:
            f = p.frame
            scale = f.dtype.type(f.scale)
            bounds = (p.halves, p.norms, p.largest, f.cutoff(p.largest), f.error, p.grouped, k)
            width = simd.lanes(p.width)
            if orientation == "points":
                shared = (width, *head, scale, np.tile(f.shift, -(-256 // d)), p.groups, p.tiles, *bounds, *tail)
                threads.share(n_lanes, parallel.points_parallel, lloyd.points_lane, shared, private)
            else:
                tiles = max(1, min(lloyd.TILES, -(-len(rows) // (12 * n_lanes)), (1 << 19) // (48 * d)))
                shared = (width, *head, scale, f.shift, p.groups, *bounds, tiles, *tail)
                threads.share(n_lanes, parallel.centers_parallel, lloyd.centers_lane, shared, private)
        if sums is not None:
            if before is not None:
                moved = (rows, before, part, weights, data.grid.scale, data.grid.digits)
                moved += (sums.lane_sums[0], sums.lane_weights[0])
                threads.share(
                    n_lanes, parallel.own_parallel, lloyd.own_clusters, moved, (sums.touched,), numbered=True
                )
            sums.settle()
    threads.note_lanes(int((counts[:, lloyd.BLOCKS] > 0).sum()))
    return Counts(int(counts[:, lloyd.CHANGED].sum()), int(counts[:, lloyd.DECIDED].sum()))


def update_centers(data: Data, sums: Sums, centers: NDArray[Any], means: NDArray[np.float64]) -> NDArray[Any]:
    """New centers: the means of the clusters whose rows changed, rounded once; the others as they were.

    means (k, d) float64 INOUT: the same in float64, kept from update to update.
    """
    new = centers.copy()
    single = centers.dtype == np.float32
    d = data.d
    step = max(1, 4096 // d)
    doubtful = np.empty(step * d, np.int64)
    for c0 in range(0, len(centers), step):
        c1 = min(c0 + step, len(centers))
        count = exact.divide_sums(
            sums.total[c0:c1], sums.weights[c0:c1], data.grid.exponent, sums.changed[c0:c1], single, means[c0:c1], doubtful
        )
        fresh = c0 + np.flatnonzero((sums.changed[c0:c1] != 0) & (sums.weights[c0:c1] > 0))
        new[fresh] = means[fresh]
        for place in doubtful[:count]:
            c, j = c0 + int(place) // d, int(place) % d
            total, weight, exponent = sums.cluster_total(c, j), int(sums.weights[c]), int(data.grid.exponent[j])
            means[c, j] = round_ratio(total, weight, exponent, np.dtype(np.float64))
            new[c, j] = round_ratio(total, weight, exponent, centers.dtype)
    sums.changed[:] = 0
    return new


def own_distances(
    data: Data, centers: NDArray[Any], labels: NDArray[np.int32]
) -> tuple[NDArray[np.float64], float]:
    """Canonical squared distance of every row to the center of its label, and the largest that has weight."""
    out = np.empty(data.n)
    n_lanes = data.lanes(8.0 * data.n * data.d, data.n)
    largest = np.zeros((n_lanes, 1))
    for lo, hi, rows in data.ranges(16.0 * data.d):
        shared = (rows, _counter(), centers, labels[lo:hi], data.weights_of(lo, hi), out[lo:hi])
        threads.share(n_lanes, parallel.distances_parallel, canonical.distances_lane, shared, (largest,))
    return out, float(largest.max())


def row_sum(data: Data, values: NDArray[np.float64], largest: float) -> RowSum:
    """The weighted sum of one non-negative value per row, each rounded once to a grid of 94 bits below the largest."""
    exponent = max(field_exponent(largest) - 94, -1074)
    scale = power_pair(-exponent)
    total = 0
    for lo in range(0, data.n, 1 << 28):
        sums = np.zeros(6, np.int64)
        exact.sum_rows(values, data.weights, *scale, lo, min(lo + (1 << 28), data.n), sums)
        total += sum(int(s) << (32 * t) for t, s in enumerate(sums))
    return RowSum(total, exponent + data.unit_exponent)


def inertia(data: Data, centers: NDArray[Any], labels: NDArray[np.int32]) -> RowSum:
    """The exact weighted sum of canonical squared distances to the center of each row's label."""
    return row_sum(data, *own_distances(data, centers, labels))


def mean_and_scatter(data: Data, sums: Sums) -> tuple[NDArray[np.float64], float]:
    """The mean of all rows, rounded to float64, and the weighted sum of squared distances to it."""
    float64 = np.dtype(np.float64)
    mean = np.array(
        [
            round_ratio(total, data.total_weight, int(exponent), float64)
            for total, exponent in zip(sums.feature_totals(), data.grid.exponent, strict=True)
        ]
    )
    return mean, inertia(data, mean.reshape(1, -1), np.zeros(data.n, np.int32)).value


def distances(data: Data, centers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Euclidean distances of all rows to all centers, by differences in float64."""
    k, d = centers.shape
    grouped = canonical.group_centers(centers)
    out = np.empty((data.n, k), dtype)
    n_lanes = data.lanes(4.0 * data.n * d * k, data.n)
    plain = simd.lane_width() == 1
    for lo, hi, rows in data.ranges(6.0 * d * k):
        shared = (rows, _counter(), grouped, k, plain, out[lo:hi])
        threads.share(n_lanes, parallel.transform_parallel, canonical.transform_lane, shared)
    return out


def ordered_sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row sums (m, d) -> (m,), added from left to right: NumPy's own sum groups terms as the CPU likes it."""
    return np.add.accumulate(terms, axis=1)[:, -1]


def _slabs(k: int, d: int) -> Iterator[slice]:
    step = max(1, 4096 // d)
    return (slice(c, c + step) for c in range(0, k, step))


def center_shift(old: NDArray[Any], new: NDArray[Any]) -> float:
    """Sum over clusters, in order, of the canonical squared distance between old and new center."""
    total = 0.0
    for slab in _slabs(*old.shape):
        difference = new[slab].astype(np.float64) - old[slab]
        for value in ordered_sums(difference * difference).tolist():
            total += value
    return total


def inertia_below_scatter(
    means: NDArray[np.float64], mean: NDArray[np.float64], centers: NDArray[Any], weights: NDArray[np.float64]
) -> float:
    """How far the inertia of clusters with these means and centers lies below the total scatter about `mean`.

    By the theorem of the means that is the sum of ``w (|mean_c - mean|^2 - |mean_c - center_c|^2)``. It cancels, which
    is why it serves the history only.
    """
    total = 0.0
    for slab in _slabs(*means.shape):
        between, off = means[slab] - mean, means[slab] - centers[slab]
        values = weights[slab] * (ordered_sums(between * between) - ordered_sums(off * off))
        for value in values[weights[slab] > 0].tolist():
            total += value
    return total
