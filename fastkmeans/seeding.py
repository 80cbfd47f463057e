"""Starting centers: greedy k-means++, k-means||, random rows, an array, a callable.

All draws are made in Python, on exact integers: they do not depend on threads, blocks or lane width.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Data
from .plusplus import Seeding, Stream, greedy
from .scalable import scalable_rows
from .sparse_plusplus import SparseSeeding

REBUILD = 256  # draws without replacement between two prefix sums


def initial_centers(
    data: Data,
    n_clusters: int,
    init: str | NDArray[Any] | Callable[..., Any],
    seed: np.random.SeedSequence,
    user_X: Any,
) -> NDArray[Any]:
    """Starting centers (n_clusters, d) in the center dtype, C-contiguous, never the caller's own array."""
    dtype = data.points.center_dtype
    if callable(init):
        state = np.random.RandomState(np.random.MT19937(seed))
        return np.array(init(user_X, n_clusters, random_state=state), dtype=dtype, order="C")
    if not isinstance(init, str):
        return np.array(init, dtype=dtype, order="C")
    stream = stream_of(seed)
    if init == "k-means||":
        rows = parallel_rows(data, n_clusters, stream, seed)
    else:
        rows = (plusplus_rows if init == "k-means++" else random_rows)(data, n_clusters, stream)
    return data.points.take(rows).astype(dtype)


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


def plusplus(data: Data, n_clusters: int, stream: Stream, n_candidates: int | None = None) -> tuple[list[int], int]:
    """Rows chosen by greedy k-means++, and how many of them are distinct: the others are drawn by weight."""
    by_weight = WeightDraws(data, stream)
    kind = Seeding if data.points.sparse is None else SparseSeeding
    rows = greedy(data, n_clusters, n_candidates, stream, by_weight.draw(), kind).rows_chosen()
    return rows + [by_weight.draw() for _ in range(n_clusters - len(rows))], len(rows)


def plusplus_rows(data: Data, n_clusters: int, stream: Stream, n_candidates: int | None = None) -> list[int]:
    """The rows of `plusplus`."""
    return plusplus(data, n_clusters, stream, n_candidates)[0]


def parallel_rows(data: Data, n_clusters: int, stream: Stream, seed: np.random.SeedSequence) -> list[int]:
    """Rows chosen by k-means||; where there are too few distinct ones, the others are drawn by weight."""
    by_weight = WeightDraws(data, stream)
    rows = scalable_rows(data, n_clusters, seed, stream, by_weight.draw(), plusplus_rows)
    return rows + [by_weight.draw() for _ in range(n_clusters - len(rows))]
