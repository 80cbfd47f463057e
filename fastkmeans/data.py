"""X, its weights and its integer grids, ready for passes: what a fit needs to know before it starts.

The first pass over the data is made here: it finds NaN, infinity and magnitudes that would overflow, and from the
largest magnitude and the mean binary exponent of every feature it chooses the grid on which features are summed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import threads
from .cosine import Directions
from .gather import Room
from .kernels import exact, simd
from .kernels import sparse as sparse_kernels
from .points import Points, raise_nonfinite, raise_overflow, weight_grid
from .sparse import CsrRows

RANGE_ROWS: int | None = None  # rows of a kernel call; None means by RANGE_WORK.  Tests make it small
RANGE_WORK = 1e10  # multiply-adds a thread does in about 0.2 seconds, at a third of its peak
PLAIN_SLOWER = 50.0  # how many times slower plain loops are
SCAN_ROWS = 1 << 19  # rows whose exponents can be summed in one int64
CODE_SHARE = 0.3  # of the bytes of X may be taken by codes of rows
CODE_BYTES = 1 << 32  # they may take at most
SHIFT_ROWS = 64  # rows whose median is the shift for packing
NO_WEIGHTS = np.empty(0, np.int64)

Rows = NDArray[Any]


def filled(n: int, value: float, dtype: type[np.generic]) -> NDArray[Any]:
    """n times a value of four bytes.

    NumPy asks for large pages where 4 MiB are not known to be zeros: that saves 3 ms of a million rows.
    """
    return np.full(max(n, 1 << 20) if n > 1 << 19 else n, value, dtype)[:n]


def new_counter() -> NDArray[np.int64]:
    """From which lanes pull their blocks."""
    return np.zeros(1, np.int64)


class Grid(NamedTuple):
    """The integer grid of the features: ``Q = rint(x * 2**-exponent[j])``, in `digits` digits of 32 bits."""

    digits: int
    exponent: NDArray[np.int64]
    scale: NDArray[np.float64]  # 2**-exponent, (2, d rounded up to 8): powers of two to apply one after the other
    unscale: NDArray[np.float64]  # 2**exponent, likewise


class RowSum(NamedTuple):
    """An exact sum over rows: ``total * 2**exponent``."""

    total: int
    exponent: int

    def __add__(self, other: tuple[Any, ...]) -> RowSum:
        total, exponent = other
        low = min(self.exponent, exponent)
        return RowSum((self.total << (self.exponent - low)) + (total << (exponent - low)), low)

    @property
    def exact(self) -> Fraction:
        return Fraction(self.total) * Fraction(2) ** self.exponent

    @property
    def value(self) -> float:
        """The nearest float64.

        Raises
        ------
        ValueError
            If there is none below infinity.
        """
        try:
            return float(round_ratio(self.total, 1, self.exponent, np.dtype(np.float64)))
        except OverflowError as error:
            raise ValueError(
                "The weighted sum of squared distances is larger than float64 can hold: divide sample_weight, or X, "
                "by a common number."
            ) from error


def field_exponent(value: float) -> int:
    """E such that ``value < 2**E``: the exponent field, as the kernels read it (subnormals share the lowest)."""
    return max(math.frexp(value)[1], -1021) if value != 0.0 else -1021


def field_exponents(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """`field_exponent` of every value."""
    return np.where(values != 0.0, np.maximum(np.frexp(values)[1], -1021), -1021).astype(np.int64)


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


class Data:
    """X, its weights and its grids, ready for passes.

    Parameters
    ----------
    points : Points
    sample_weight : ndarray of float64, shape (n_samples,), or None
    n_threads : int or None
    estimator : str or None
        Named by errors.

    Attributes
    ----------
    density : float
        Values that a row has on the average: `d`, or fewer where rows are compressed.
    norms : ndarray of float64, shape (n,)
        Canonical squared norms of compressed rows; of no length for dense ones.
    cosine : bool
        Whether rows are directions (`fastkmeans.cosine`), so that centers have length one and inertia counts half.
    lost : RowSum
        The weight of rows without a direction, which weigh nothing here.
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
        self.filters = True  # whether passes may try sixteen bits first; no longer once a pass found too much in doubt
        self.lean = False  # whether memory counts for more than the time of seeding
        self.n, self.d = points.n_samples, points.n_features
        self.n_threads = threads.resolve(n_threads)
        self.serial_work = threads.SERIAL_WORK
        self.cosine = isinstance(points, Directions)
        self.lost = RowSum(0, 0)
        if isinstance(points, Directions) and points.nowhere.any():
            given = np.ones(self.n) if sample_weight is None else sample_weight
            lost = weight_grid(given[points.nowhere], int(points.nowhere.sum()))
            self.lost = RowSum(lost.total, lost.unit_exponent)
            sample_weight = np.where(points.nowhere, 0.0, given)
            if estimator is not None and not sample_weight.any():
                raise ValueError(
                    f"{points.name} has no row of positive weight that is not all zeros: metric='cosine' has no "
                    "direction to compare."
                )
        grid = weight_grid(sample_weight, self.n)
        self.weights: NDArray[np.int64] = NO_WEIGHTS if grid.values is None else grid.values
        self.unit_exponent, self.total_weight = grid.unit_exponent, grid.total
        sparse = points.sparse
        self.density = float(self.d) if sparse is None else max(1.0, sparse.n_entries / self.n)
        self.norms = np.empty(0 if sparse is None else self.n)
        self.largest, mean_exponents = self._scan(estimator)
        self.grid = self._feature_grid(mean_exponents)
        self.shift = self._shift()

    @property
    def code_bytes(self) -> float:
        """How many bytes codes of the rows may take."""
        return min(CODE_SHARE * self.points.nbytes, CODE_BYTES)

    def part(self, rows: NDArray[np.intp], *, unweighted: bool = False, room: Room | None = None) -> Data:
        """Some of the rows, gathered, as data of their own on the grid of all of them: nothing is scanned again.

        Parameters
        ----------
        rows : ndarray of int, shape (m,)
            Rows, in any order, which may repeat.
        unweighted : bool
            Whether each counts once, whatever it weighs.
        room : Room, optional
            Where to gather them: overwritten by the next that are gathered there.
        """
        part = copy.copy(self)
        part.points = self.points.part(rows, self.n_threads, room)
        part.n = len(rows)
        if self.n * self.density * 16.0 > self.serial_work:  # a pass over all rows has started threads
            part.serial_work = threads.RUNNING_WORK
        part.lost = RowSum(0, 0)
        if unweighted or not self.weighted:
            part.weights, part.unit_exponent, part.total_weight = NO_WEIGHTS, 0, part.n
        else:
            part.weights = self.weights[rows]
            part.total_weight = int(part.weights.sum())  # rows that do not repeat weigh less than 2**62 together
        if part.points.sparse is not None:
            part.norms = self.norms[rows]
            part.density = max(1.0, part.points.sparse.n_entries / part.n)
        part.shift = part._shift()
        return part

    @property
    def weighted(self) -> bool:
        return self.weights.shape[0] > 0

    def _shift(self) -> NDArray[np.float64]:
        """The median of some rows, which packing subtracts; zero for compressed rows, most of whose values are."""
        if self.points.sparse is not None:
            return np.zeros(self.d)
        step = max(1, self.n // SHIFT_ROWS)
        sample = self.points.take(np.arange(0, self.n, step)[:SHIFT_ROWS])
        middle = len(sample) // 2
        return np.partition(sample, middle, axis=0)[middle]

    def weights_of(self, lo: int, hi: int) -> NDArray[np.int64]:
        return self.weights[lo:hi] if self.weighted else NO_WEIGHTS

    def lanes(self, work: float, n_rows: int) -> int:
        """How many lanes `work` multiply-adds deserve."""
        if work < self.serial_work:
            return 1
        return max(1, min(self.n_threads, n_rows // 64))

    def ranges(self, work_per_row: float) -> Iterator[tuple[int, int, Rows]]:
        """Ranges of rows for kernel calls of bounded length."""
        work = RANGE_WORK if simd.lane_width() > 1 else RANGE_WORK / PLAIN_SLOWER
        rows = RANGE_ROWS or max(1 << 12, int(work * self.n_threads / max(work_per_row, 1.0)))
        return self.points.ranges(min(rows, 1 << 26))

    def sparse_ranges(self, work_per_row: float) -> Iterator[tuple[int, int, CsrRows]]:
        """`ranges` of compressed rows."""
        work = RANGE_WORK if simd.lane_width() > 1 else RANGE_WORK / PLAIN_SLOWER
        rows = RANGE_ROWS or max(1 << 12, int(work * self.n_threads / max(work_per_row, 1.0)))
        assert self.points.sparse is not None
        return self.points.sparse.ranges(min(rows, 1 << 26))

    def _scan(self, estimator: str | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Largest magnitude and mean binary exponent of every feature; raises for NaN, infinity and overflow."""
        d = self.d
        largest = np.zeros(d)
        kind = object if self.weighted or self.points.sparse is not None else np.int64  # weights make the sums long
        count: Any = np.zeros(d, kind)
        total: Any = np.zeros(d, kind)
        max_rows = min(RANGE_ROWS or SCAN_ROWS, SCAN_ROWS)
        if self.points.sparse is not None:
            for lo, hi, compressed in self.points.sparse.ranges(max_rows):
                self._scan_sparse(lo, hi, compressed, largest, count, total, estimator)
            dense: Iterator[tuple[int, int, Rows]] = iter(())
        else:
            dense = self.points.ranges(max_rows)
        for lo, hi, rows in dense:
            weights = self.weights_of(lo, hi)
            n_lanes = self.lanes(4.0 * (hi - lo) * d, hi - lo)
            per_period = max(1, 32 // d)  # rows that are visited as one, for the sake of long inner loops
            compact = not self.weighted and rows.flags.c_contiguous
            size = d * per_period if compact and d < 32 else d
            lane_largest = np.zeros((n_lanes, size))
            lane_count, lane_total = np.zeros((n_lanes, 2, size), np.int64), np.zeros((n_lanes, 2, size), np.int64)
            finite = np.ones((n_lanes, 1), np.uint8)
            private = (lane_largest, lane_count, lane_total, finite)
            done = False
            if compact and rows.dtype == np.float32:
                done = self._scan_single(rows, size, n_lanes, private)
            if not done and compact and d < 32:
                shared: tuple[Any, ...] = (rows.reshape(-1), size, new_counter())
                threads.share(n_lanes, exact.exponents_flat_lane, shared, private)
            elif not done:
                shared = (rows, weights, new_counter())
                threads.share(n_lanes, exact.exponents_lane, shared, private)
            if not finite.all():
                raise_nonfinite(self.points, estimator)
            # fold the positions of a period onto features
            np.maximum(largest, lane_largest.reshape(-1, d).max(axis=0), out=largest)
            for digit in range(2 if self.weighted else 1):
                count += lane_count[:, digit].reshape(-1, d).sum(axis=0).astype(kind) << (31 * digit)
                total += lane_total[:, digit].reshape(-1, d).sum(axis=0).astype(kind) << (31 * digit)
        with np.errstate(over="ignore"):
            if not np.isfinite((4.0 * largest * largest).sum()):
                column = int(largest.argmax())
                raise_overflow(self.points, column, float(largest[column]))
        means = field_exponents(largest)
        met = np.flatnonzero(count)
        means[met] = total[met] // count[met] - 1022
        return largest, means

    def _scan_sparse(
        self, lo: int, hi: int, rows: CsrRows, largest: NDArray[np.float64], count: Any, total: Any,
        estimator: str | None,
    ) -> None:  # fmt: skip
        """Scan some compressed rows: largest (d,) float64, count, total (d,) Python integers INOUT."""
        n_lanes = self.lanes(16.0 * len(rows.columns), hi - lo)
        lane_largest = np.zeros((n_lanes, self.d))
        lane_count, lane_total = np.zeros((2, n_lanes, 2, self.d), np.int64)
        finite = np.ones((n_lanes, 1), np.uint8)
        shared = (*rows, self.weights_of(lo, hi), new_counter(), self.norms[lo:hi])
        private = (lane_largest, lane_count, lane_total, finite)
        threads.share(n_lanes, sparse_kernels.sparse_exponents_lane, shared, private)
        if not finite.all():
            raise_nonfinite(self.points, estimator)
        np.maximum(largest, lane_largest.max(axis=0), out=largest)
        for digit in range(2):
            for counted, lanes in ((count, lane_count), (total, lane_total)):
                met = np.flatnonzero(lanes[:, digit].any(axis=0))
                # 2**19 rows of at most 31 bits and 11 more leave room for all lanes
                counted[met] += lanes[:, digit, met].sum(axis=0).astype(object) << (31 * digit)

    @staticmethod
    def _scan_single(rows: Rows, size: int, n_lanes: int, private: tuple[NDArray[Any], ...]) -> bool:
        """Scan float32 rows in C order by their bits; False, and nothing counted, where subnormals stand in the way."""
        n, d = rows.shape
        bits = rows.view(np.uint32)
        whole = n // (size // d) * (size // d)
        odd = np.zeros((n_lanes, 1), np.uint8)
        shared = (bits[:whole].reshape(-1, size), new_counter())
        threads.share(n_lanes, exact.exponents_single_lane, shared, (*private, odd))
        if whole < n:  # the last few, which do not fill a period
            rest = (bits[whole:].reshape(1, -1), new_counter())
            exact.exponents_single_lane(
                *rest, *(a[0, ..., : (n - whole) * d] for a in private[:3]), private[3][0], odd[0]
            )
        if odd.any():
            for array in private[:3]:
                array[:] = 0
            private[3][:] = 1
        return not odd.any()

    def _feature_grid(self, mean_exponents: NDArray[np.int64]) -> Grid:
        top = field_exponents(self.largest)
        gap = int((top - mean_exponents).max())
        digits = 2 if gap <= 10 else 3 if gap <= 42 else 4
        exponent = np.maximum(top - (32 * digits - 2), -1074)
        scale = np.ones((2, -(-self.d // 8) * 8))
        half = -exponent // 2  # as power_pair has it
        scale[:, : self.d] = np.ldexp(1.0, half), np.ldexp(1.0, -exponent - half)
        return Grid(digits, exponent, scale, 1.0 / scale)
