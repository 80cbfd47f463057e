"""Passes over the data: everything that reads all rows, range by range, and nothing that decides.

`assign` is the pass: labels for all rows, sums for those that changed.  `Sums` are the exact statistics of clusters.
Kernel calls cover ranges of about 0.2 seconds, between which Ctrl-C comes in.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import sparse_passes, threads
from .data import Data, RowSum, field_exponent, new_counter, power_pair, round_ratio
from .kernels import canonical, exact, features, filtered, lloyd, plane, simd
from .packed import NO_TILES, Packed, duplicates, is_small

NO_CENTERS = np.empty((0, 0))
NO_VALUES = np.empty(0)
SPARE = 8  # values behind the sums: kernels add eight features at a time


class Counts(NamedTuple):
    """What a pass counted.

    Attributes
    ----------
    changed : int
        Rows of positive weight whose label changed.
    decided : int
        Rows whose label the canonical value had to decide.
    refined : int
        Pairs of a row and a center that the integer filter left to float32.
    """

    changed: int
    decided: int
    refined: int


class Outcome(NamedTuple):
    """What a pass did.

    Attributes
    ----------
    changed, decided : int
        Rows whose label changed, and rows decided by canonical values.
    evaluated : float
        Share of the pairs of a row and a center whose distance was computed.
    read : float
        Share of the rows that were read.
    algorithm : "lloyd", "elkan" or "seeding"
        The last where the labels were known from seeding, and no distance was taken.
    """

    changed: int
    decided: int
    evaluated: float
    read: float
    algorithm: str


class Keep(Protocol):
    """Bounds that a dense pass can leave behind: see bounded.GroupBounds."""

    spread: int
    span: int
    order: NDArray[np.int32]
    places: NDArray[np.int32]
    norms: NDArray[np.float32]
    upper: NDArray[np.float32]
    least: NDArray[np.float32]
    lower: NDArray[np.float32]

    def begin(self, data: Data, centers: NDArray[Any]) -> None:
        """Prepare for the bounds of these centers."""

    def end(self, scales: set[float]) -> None:
        """Believe in them, if all were written, and in units of that scale alone."""


def carry_digits(sums: NDArray[np.int64]) -> None:
    """Bring the digits into [0, 2**32) but the highest, which keeps the sign; sums (k, n_digits, d) int64 INOUT."""
    for t in range(sums.shape[1] - 1):
        carry = sums[:, t] >> 32
        sums[:, t] -= carry << 32
        sums[:, t + 1] += carry


class Sums:
    """Exact sums and weights of the clusters, and the lanes' buffers."""

    def __init__(self, data: Data, k: int, n_lanes: int) -> None:
        self.digits = data.grid.digits + (2 if data.weighted else 0)
        size = k * self.digits * data.d
        whole = threads.per_lane(1, size + SPARE, np.int64)
        self.total = whole[0, :size].reshape(k, self.digits, data.d)
        self.weights = np.zeros(k, np.int64)
        self.changed = np.zeros(k, np.uint8)
        self.touched = threads.per_lane(n_lanes, k, np.uint8)
        budget = max(data.points.nbytes // 10, 1 << 16)
        common = not data.weighted and data.grid.digits == 2
        # several lanes have sums of their own while those are small; one lane adds to the whole, and so do lanes that
        # own clusters, in a second visit of the rows that changed
        self.owned = not common or (n_lanes > 1 and n_lanes * self.total.nbytes > budget)
        self.owned = self.owned or data.points.sparse is not None
        self.buffered = n_lanes > 1 and not self.owned
        self.lane_sums, self.lane_weights = whole, self.weights.reshape(1, -1)
        if self.buffered:
            self.lane_sums = threads.per_lane(n_lanes, size + SPARE, np.int64)
            self.lane_weights = threads.per_lane(n_lanes, k, np.int64)

    def settle(self) -> None:
        """Bring the lanes' sums together and carry."""
        if self.buffered:
            exact.merge_lanes(self.lane_sums, self.lane_weights, self.touched, self.total, self.weights)
        fresh = np.logical_or.reduce(self.touched)[: len(self.changed)]
        self.changed |= fresh
        self.touched[:] = 0
        if self.buffered:
            return  # carried already
        step = max(1, 4096 // self.total.shape[2])
        if len(fresh) <= step:
            carry_digits(self.total)  # clusters that no lane touched have nothing to carry
            return
        rows = np.flatnonzero(fresh)
        for lo in range(0, len(rows), step):
            part = self.total[rows[lo : lo + step]]
            carry_digits(part)
            self.total[rows[lo : lo + step]] = part

    def move_owned(
        self, data: Data, rows: NDArray[Any], before: NDArray[np.int32], after: NDArray[np.int32],
        weights: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """The second visit of rows whose label changed, where lanes own clusters."""
        n_lanes = len(self.touched)
        shared = (
            rows, before, after, weights, data.grid.scale, data.grid.digits, self.lane_sums[0], self.lane_weights[0],
            n_lanes,
        )  # fmt: skip
        threads.share(n_lanes, lloyd.own_clusters, shared, (np.arange(n_lanes), self.touched))

    def cluster_total(self, c: int, j: int) -> int:
        return sum(int(self.total[c, t, j]) << (32 * t) for t in range(self.digits))


def ahead(rows: NDArray[Any], count: int) -> tuple[int, int]:
    """Where rows lie, and how many bytes per feature to fetch for the next `count` of them: 0 unless in C order.

    The address is for prefetching alone, which can't fault: `rows` need not outlive it.  It is theirs in any order, for
    to ask again and again for what is mapped nowhere takes longer than the rest of a pass.
    """
    return rows.ctypes.data, rows.itemsize * count if rows.flags.c_contiguous else 0


def lane_buffers(sums: Sums | None, n_lanes: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """What lanes move rows in, as `private` of threads.share: sums, weights, touched; mere places where none move."""
    idle = sums is None or sums.owned
    return (
        np.zeros((n_lanes, 1), np.int64) if idle else sums.lane_sums,  # type: ignore[union-attr]
        np.zeros((n_lanes, 1), np.int64) if idle else sums.lane_weights,  # type: ignore[union-attr]
        np.zeros((n_lanes, 1), np.uint8) if sums is None else sums.touched,
    )


def pass_lanes(data: Data, k: int) -> int:
    return data.lanes(float(data.n) * data.density * (k + 16), data.n)


def patience(d: int, k: int) -> float:
    """Candidates per row that cost as much as the integer filter saves: beyond them float32 alone is faster."""
    return 0.4 * k * d / 16.0 / (d / 6.0 + 30.0)


class Measure:
    """Canonical squared distances to the centers of the labels, taken while a pass has the rows at hand: a visit saved.

    Parameters
    ----------
    data : Data
    centers : ndarray of shape (k, d)
    """

    def __init__(self, data: Data, centers: NDArray[Any]) -> None:
        self.centers = centers.astype(np.float64, copy=False)
        self.values = np.empty(data.n)
        self.largest: float | None = None  # over rows of positive weight; None while nothing was measured


def assign(
    data: Data,
    centers: NDArray[Any],
    labels: NDArray[np.int32],
    sums: Sums | None = None,
    measure: Measure | None = None,
    keep: Keep | None = None,
) -> Counts:
    """Label every row with its nearest center, and move the rows whose label changed between the sums.

    labels (n,) int32 INOUT: -1 where a row has none yet.  measure: filled, unless plain loops or the kernel for two
    centers serve this pass, or rows are compressed.  keep: bounds, which are filled if the integer filter serves.
    """
    k, d = centers.shape
    n_lanes = pass_lanes(data, k) if sums is None else sums.touched.shape[0]
    packed: dict[bool, Packed] = {}
    counts = threads.per_lane(n_lanes, 4, np.int64)
    if data.points.sparse is not None:
        lanes = 1 if is_small(data, k) else simd.lane_width()
        sparse_passes.assign(data, centers, duplicates(centers), labels, sums, lanes, counts)
        return _counted(counts)
    largest_sq = np.zeros((n_lanes, 1))
    update = sums is not None and not sums.owned
    private = (*lane_buffers(sums, n_lanes), counts)
    scales: set[float] = set()  # of the ranges of rows, infinity where bounds were not kept
    if keep is not None:
        keep.begin(data, centers)
    for lo, hi, rows in data.ranges(d * (k + 16.0)):
        single = rows.dtype.itemsize <= 2 or rows.dtype == np.float32
        if single not in packed:
            packed[single] = Packed(data, centers, single, None if keep is None else keep.order)
        p = packed[single]
        weights, part = data.weights_of(lo, hi), labels[lo:hi]
        before = part.copy() if sums is not None and sums.owned else None
        tail = (part, update, data.grid.scale)
        head = (rows, weights, new_counter())
        taken: tuple[Any, ...] = (False, NO_CENTERS, NO_VALUES)
        if measure is not None:
            taken = (True, measure.centers, measure.values[lo:hi])
        if p.orientation == "plane":
            shared: tuple[Any, ...] = (*head, *p.plane, *tail)
            threads.share(n_lanes, plane.plane_lane, shared, private)
        elif p.orientation == "plain":
            shared = (*head, p.grouped, k, *tail)
            threads.share(n_lanes, lloyd.plain_lane, shared, private)
        else:
            f = p.frame
            scale = f.dtype.type(f.scale)
            bounds = (p.halves, p.norms, p.largest, f.cutoff(p.largest), f.error, p.grouped)
            width = simd.lanes(p.width)
            if p.orientation == "integers":
                integers = (p.integers, np.float32(p.unit), p.residual, p.rows)
                follows = (patience(d, k), *ahead(rows, d))
                kept = kept_bounds(keep if p.in_order else None, k, lo, hi)
                shared = (width, *head, scale, f.shift, *integers, *bounds, *kept[:2], k, *follows, *kept[2:], *taken)
                shared = (*shared, *tail)
                threads.share(n_lanes, filtered.filtered_lane, shared, (*private, largest_sq))
                scales.add(f.scale if p.in_order else math.inf)
                if head[-1][0] < len(rows):  # too much was left in doubt: the rest of the rows without the filter
                    data.filters = False
                    p = packed[single] = Packed(data, centers, single)
                    bounds = (p.halves, p.norms, p.largest, f.cutoff(p.largest), f.error, p.grouped)
            if p.orientation != "integers":
                scales.add(math.inf)
            if p.orientation == "features":
                block = max(8, min(512, (1 << 19) // (4 * d)) // 8 * 8)
                shared = (width, p.each, *head, scale, f.shift, p.minus, p.rows.reshape(-1), *bounds, k, block, *taken)
                shared = (*shared, *tail)
                threads.share(n_lanes, features.features_lane, shared, (*private, largest_sq))
            elif p.orientation == "points":
                points = 3 * p.width
                shared = (
                    width,
                    *head,
                    scale,
                    np.tile(f.shift, -(-256 // d)),
                    p.groups,
                    p.tiles,
                    *bounds,
                    k,
                    *ahead(rows, points),
                    *taken,
                    *tail,
                )
                threads.share(n_lanes, lloyd.points_lane, shared, (*private, largest_sq))
            elif p.orientation == "centers":
                tiles = max(1, min(lloyd.TILES, -(-len(rows) // (12 * n_lanes)), (1 << 19) // (48 * d)))
                shared = (width, *head, scale, f.shift, p.groups, *bounds, k, tiles, *ahead(rows, 6), *taken, *tail)
                threads.share(n_lanes, lloyd.centers_lane, shared, (*private, largest_sq))
        if sums is not None:
            if before is not None:
                sums.move_owned(data, rows, before, part, weights)
            sums.settle()
    if keep is not None and scales:
        keep.end(scales)
    if measure is not None and not any(p.orientation in ("plain", "plane") for p in packed.values()):
        measure.largest = float(largest_sq.max())
    return _counted(counts)


def kept_bounds(keep: Keep | None, k: int, lo: int, hi: int) -> tuple[Any, ...]:
    """How the filter has the order of centers, and where it leaves bounds of the rows lo..hi, if it does."""
    if keep is None:
        order = np.arange(k, dtype=np.int32)
        return (order, order, 0, 1, *[NO_TILES] * 4)
    n_groups = len(keep.norms)
    lower = keep.lower[lo * n_groups : hi * n_groups]
    return (keep.order, keep.places, keep.spread, keep.span, keep.norms, keep.upper[lo:hi], keep.least[lo:hi], lower)


def _counted(counts: NDArray[np.int64]) -> Counts:
    lanes = counts.tolist()
    threads.note_lanes(sum(lane[lloyd.BLOCKS] > 0 for lane in lanes))
    total = [sum(column) for column in zip(*lanes, strict=True)]
    return Counts(total[lloyd.CHANGED], total[lloyd.DECIDED], total[filtered.REFINED])


def place(data: Data, known: NDArray[np.int32], labels: NDArray[np.int32], sums: Sums) -> int:
    """`assign` where the labels are known: rows join their sums, no distance is taken; returns how many changed.

    known, labels (n,) int32: what the labels are, and what they were INOUT.
    """
    n_lanes = sums.touched.shape[0]
    counts = threads.per_lane(n_lanes, 4, np.int64)
    private = (*lane_buffers(sums, n_lanes), counts)
    for lo, hi, rows in data.ranges(8.0 * data.d):
        weights, part = data.weights_of(lo, hi), labels[lo:hi]
        before = part.copy() if sums.owned else None
        shared = (rows, weights, new_counter(), known[lo:hi], part, not sums.owned, data.grid.scale)
        threads.share(n_lanes, lloyd.known_lane, shared, private)
        if before is not None:
            sums.move_owned(data, rows, before, part, weights)
        sums.settle()
    threads.note_lanes(int((counts[:, lloyd.BLOCKS] > 0).sum()))
    return int(counts[:, lloyd.CHANGED].sum())


def update_centers(data: Data, sums: Sums, centers: NDArray[Any], means: NDArray[np.float64]) -> NDArray[Any]:
    """New centers: the means of the clusters whose rows changed, rounded once; the others as they were.

    means (k, d) float64 INOUT: the same in float64, kept from update to update.
    """
    new = centers.copy()
    single = centers.dtype == np.float32
    d = data.d
    step = max(1, (1 << 15) // d)
    doubtful = np.empty(step * d, np.int64)
    for c0 in range(0, len(centers), step):
        c1 = min(c0 + step, len(centers))
        count = exact.divide_sums(
            sums.total[c0:c1],
            sums.weights[c0:c1],
            data.grid.unscale,
            sums.changed[c0:c1],
            single,
            means[c0:c1],
            new[c0:c1],
            doubtful,
        )
        for place in doubtful[:count]:
            c, j = c0 + int(place) // d, int(place) % d
            total, weight, exponent = sums.cluster_total(c, j), int(sums.weights[c]), int(data.grid.exponent[j])
            means[c, j] = round_ratio(total, weight, exponent, np.dtype(np.float64))
            new[c, j] = round_ratio(total, weight, exponent, centers.dtype)
    sums.changed[:] = 0
    return new


def own_distances(data: Data, centers: NDArray[Any], labels: NDArray[np.int32]) -> tuple[NDArray[np.float64], float]:
    """Canonical squared distance of every row to the center of its label, and the largest that has weight."""
    if data.points.sparse is not None:
        return sparse_passes.own_distances(data, centers, labels, simd.lane_width() == 1 or is_small(data, 1))
    out = np.empty(data.n)
    n_lanes = data.lanes(8.0 * data.n * data.d, data.n)
    largest = np.zeros((n_lanes, 1))
    plain = data.d < 12 or simd.lane_width() == 1 or is_small(data, 1)
    for lo, hi, rows in data.ranges(16.0 * data.d):
        tail = (data.weights_of(lo, hi), out[lo:hi])
        if plain:
            shared: tuple[Any, ...] = (rows, new_counter(), centers, labels[lo:hi], *tail)
            threads.share(n_lanes, canonical.distances_lane, shared, (largest,))
        else:
            shared = (rows, new_counter(), centers.astype(np.float64, copy=False), labels[lo:hi], *tail)
            threads.share(n_lanes, canonical.wide_distances_lane, shared, (largest,))
    return out, float(largest.max())


def row_sum(data: Data, values: NDArray[np.float64], largest: float, rows: NDArray[np.intp] | None = None) -> RowSum:
    """The weighted sum of one non-negative value per row, each rounded once to a grid of 94 bits below the largest.

    rows: which to add, none twice; None means all.
    """
    weights = data.weights
    if rows is not None:
        values = values[rows]
        weights = weights[rows] if data.weighted else weights
    exponent = max(field_exponent(largest) - 94, -1074)
    scale = power_pair(-exponent)
    total = 0
    for lo in range(0, len(values), 1 << 28):
        sums = np.zeros(6, np.int64)
        exact.sum_rows(values, weights, *scale, lo, min(lo + (1 << 28), len(values)), sums)
        total += sum(int(s) << (32 * t) for t, s in enumerate(sums))
    return RowSum(total, exponent + data.unit_exponent)


def inertia(data: Data, centers: NDArray[Any], labels: NDArray[np.int32], measure: Measure | None = None) -> RowSum:
    """The exact weighted sum of canonical squared distances to the center of each row's label.

    measure: the same distances, if a pass has already taken them.
    """
    if measure is not None and measure.largest is not None:
        return row_sum(data, measure.values, measure.largest)
    return row_sum(data, *own_distances(data, centers, labels))


def mean_of_rows(data: Data, sums: Sums) -> NDArray[np.float64]:
    """The weighted mean of all rows, rounded to float64 once."""
    digits = sums.total.sum(axis=0, keepdims=True)  # digits below 2**32 times k clusters: no overflow
    carry_digits(digits)
    weights = np.array([data.total_weight], np.int64)
    means, doubtful = np.zeros((1, data.d)), np.empty(data.d, np.int64)
    rounded = np.empty((1, data.d), data.points.center_dtype)  # of no use, but of the type that centers have
    count = exact.divide_sums(digits, weights, data.grid.unscale, np.ones(1, np.uint8), False, means, rounded, doubtful)
    for j in doubtful[:count]:
        total = sum(int(digit) << (32 * t) for t, digit in enumerate(digits[0, :, j]))
        means[0, j] = round_ratio(total, data.total_weight, int(data.grid.exponent[j]), np.dtype(np.float64))
    return means[0]


def distances(data: Data, centers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Euclidean distances of all rows to all centers, by differences in float64."""
    k, d = centers.shape
    out = np.empty((data.n, k), dtype)
    if data.points.sparse is not None:
        sparse_passes.distances(data, centers, out)
        return out
    grouped = canonical.group_centers(centers)
    n_lanes = data.lanes(4.0 * data.n * d * k, data.n)
    plain = simd.lane_width() == 1
    for lo, hi, rows in data.ranges(6.0 * d * k):
        shared = (rows, new_counter(), grouped, k, plain, out[lo:hi])
        threads.share(n_lanes, canonical.transform_lane, shared)
    return out
