"""Starting centers: greedy k-means++, k-means||, random rows, an array, a callable.

All draws are made in Python, on exact integers: they do not depend on threads, blocks or lane width.
"""

from __future__ import annotations

import functools
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .data import Data
from .plusplus import Seeding, greedy
from .potentials import Stream
from .scalable import scalable_rows

REBUILD = 256  # draws without replacement between two prefix sums


class Start(NamedTuple):
    """Where a fit starts.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, d)
        In the center dtype, C-contiguous, never the caller's own array.
    labels : ndarray of int32, shape (n,), or None
        The nearest of them, by the canonical value and the first on a tie, of every row of positive weight, where
        that is known.
    """

    centers: NDArray[Any]
    labels: NDArray[np.int32] | None = None


def initial_centers(
    data: Data,
    n_clusters: int,
    init: str | NDArray[Any] | Callable[..., Any],
    seed: np.random.SeedSequence,
    user_X: Any,
    tell: Callable[[str], object] | None = None,
) -> Start:
    """Starting centers of a fit; tell: called with a line of progress now and then."""
    dtype = data.points.center_dtype
    if callable(init):
        state = np.random.RandomState(np.random.MT19937(seed))
        return Start(np.array(init(user_X, n_clusters, random_state=state), dtype=dtype, order="C"))
    if not isinstance(init, str):
        return Start(np.array(init, dtype=dtype, order="C"))
    stream = stream_of(seed)
    if init == "k-means++":
        rows, found = plusplus(data, n_clusters, stream, tell=tell)
        found.settle()
        seeds = data.points.take(rows)
        centers = seeds.astype(dtype)
        # labels are of the rows themselves: where the center dtype rounds them they say nothing
        return Start(centers, found.labels if (centers == seeds).all() else None)
    if init == "k-means||":
        rows = parallel_rows(data, n_clusters, stream, seed, tell)
    else:
        rows = random_rows(data, n_clusters, stream)
    return Start(data.points.take(rows).astype(dtype))


def stream_of(seed: np.random.SeedSequence) -> Stream:
    """The random numbers of a seed."""
    return Stream(np.random.Generator(np.random.PCG64(seed)))


class WeightDraws:
    """Draws of rows by weight, with or without replacement, from prefix sums."""

    def __init__(self, data: Data, stream: Stream) -> None:
        self.data = data
        self.stream = stream
        self.left: NDArray[np.int64] | None = None  # zero once taken and folded in; None: what the data says
        self.prefix: NDArray[np.int64] | None = None  # None: every row weighs one
        if data.weighted:
            self.prefix = np.cumsum(data.weights)
        self.total = data.total_weight
        self.recent: list[int] = []  # rows taken since the prefix sums were made, ascending
        self.recent_weights: dict[int, int] = {}

    def _weight(self, row: int) -> int:
        if self.left is not None:
            return int(self.left[row])
        return int(self.data.weights[row]) if self.data.weighted else 1

    def _row(self, target: int) -> int:
        return target if self.prefix is None else int(np.searchsorted(self.prefix, target, side="right"))

    def draw(self) -> int:
        """The first row whose running weight exceeds a uniform integer."""
        target = self.stream.uniform(self.total)
        row = self._row(target)
        while True:  # rows taken before it have no weight any more
            gone = sum(self.recent_weights[r] for r in self.recent[: bisect_right(self.recent, row)])
            moved = self._row(target + gone)
            if moved == row:
                return row
            row = moved

    def remove(self, row: int) -> None:
        weight = self._weight(row)
        self.total -= weight
        self.recent_weights[row] = weight
        insort(self.recent, row)
        if len(self.recent) == REBUILD:
            if self.left is None:
                self.left = self.data.weights.copy() if self.data.weighted else np.ones(self.data.n, np.int64)
            self.left[self.recent] = 0
            self.prefix = np.cumsum(self.left)
            self.recent, self.recent_weights = [], {}


def random_rows(data: Data, n_clusters: int, stream: Stream) -> list[int]:
    """Rows drawn by weight without replacement; when no weight is left, they repeat from the start."""
    draws = WeightDraws(data, stream)
    rows: list[int] = []
    while len(rows) < n_clusters and draws.total > 0:
        row = draws.draw()
        draws.remove(row)
        rows.append(row)
    distinct = len(rows)
    return [rows[i % distinct] for i in range(n_clusters)]


def plusplus(
    data: Data, n_clusters: int, stream: Stream, n_candidates: int | None = None,
    tell: Callable[[str], object] | None = None,
) -> tuple[list[int], Seeding]:  # fmt: skip
    """Rows chosen by greedy k-means++, and what it knows in the end.

    Those beyond its own, where fewer rows of positive weight are distinct, are drawn by weight: they coincide with
    earlier ones.
    """
    by_weight = WeightDraws(data, stream)
    found = greedy(data, n_clusters, n_candidates, stream, by_weight.draw(), tell)
    rows = found.rows_chosen()
    return rows + [by_weight.draw() for _ in range(n_clusters - len(rows))], found


def plusplus_rows(
    data: Data, n_clusters: int, stream: Stream, n_candidates: int | None = None,
    tell: Callable[[str], object] | None = None,
) -> list[int]:  # fmt: skip
    """The rows of `plusplus`."""
    return plusplus(data, n_clusters, stream, n_candidates, tell)[0]


def parallel_rows(
    data: Data, n_clusters: int, stream: Stream, seed: np.random.SeedSequence,
    tell: Callable[[str], object] | None = None,
) -> list[int]:  # fmt: skip
    """Rows chosen by k-means||; where there are too few distinct ones, the others are drawn by weight."""
    by_weight = WeightDraws(data, stream)
    choose = functools.partial(plusplus_rows, tell=tell)
    rows = scalable_rows(data, n_clusters, seed, stream, by_weight.draw(), choose, tell)
    return rows + [by_weight.draw() for _ in range(n_clusters - len(rows))]
