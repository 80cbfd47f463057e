"""Greedy k-means++ on little data, in NumPy: the draws and choices of `plusplus`, without a kernel to load or compile.

Seeding a few thousand rows takes milliseconds either way; the kernels of `plusplus` take seconds to compile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .data import Data, field_exponent, power_pair
from .draws import Stream
from .packed import is_small

BITS, MISSES = 50, 16  # as in kernels/seeding.py: they are part of what is drawn
MOST_ROWS = (1 << 12) - 1  # a sum of their potentials stays below 2**63
MOST_FEATURES = 16
MOST_CLUSTERS = 64


def serves(data: Data, n_clusters: int) -> bool:
    """Whether this module is the one to seed such data."""
    small = data.n <= MOST_ROWS and data.d <= MOST_FEATURES and n_clusters <= MOST_CLUSTERS
    return small and not data.weighted and data.points.sparse is None and is_small(data, n_clusters)


class BriefSeeding:
    """What `plusplus.Seeding` is, for little data without weights.

    Attributes
    ----------
    nearest_sq : ndarray of float64, shape (n,)
        Canonical squared distance of every row to the nearest of those chosen.
    labels : ndarray of int32, shape (n,)
        Which of them that is; on an exact tie the first.
    """

    def __init__(self, data: Data, n_clusters: int, n_candidates: int, stream: Stream, first: int) -> None:
        self.columns = np.ascontiguousarray(data.points.take(np.arange(data.n)).T)
        self.chosen = [first]
        self.nearest_sq = self._distances([first])[0]
        self.labels = np.zeros(data.n, np.int32)
        refused, total, exponent = MISSES, 0, 0
        now = frozen = prefix = np.zeros(data.n, np.int64)
        while len(self.chosen) < n_clusters:
            candidates: list[int] = []
            if refused < MISSES:
                now = self._potentials(exponent)
            while len(candidates) < n_candidates:
                if refused == MISSES:
                    largest = float(self.nearest_sq.max())
                    if largest == 0.0:
                        return
                    exponent, refused = max(field_exponent(largest) - BITS, -1074), 0
                    frozen = now = self._potentials(exponent)
                    prefix = np.cumsum(frozen)
                    total = int(prefix[-1])
                target = stream.uniform(total)
                row = int(np.searchsorted(prefix, target, side="right"))
                if target - int(prefix[row] - frozen[row]) < now[row]:
                    candidates.append(row)
                else:
                    refused += 1
            distances = np.minimum(self._distances(candidates), self.nearest_sq)
            left = self._potentials(exponent, distances).sum(axis=1)
            best = int(left.argmin())  # of equal candidates the first
            self.labels[distances[best] < self.nearest_sq] = len(self.chosen)
            self.nearest_sq = distances[best]
            self.chosen.append(candidates[best])

    def _distances(self, rows: list[int]) -> NDArray[np.float64]:
        """Canonical squared distances to some rows, (rows, n)."""
        sums = np.zeros((len(rows), self.columns.shape[1]))
        for column in self.columns:
            difference = column - column[rows, None]
            sums += difference * difference
        return sums

    def _potentials(self, exponent: int, distances: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
        first, second = power_pair(-exponent)
        return np.rint((self.nearest_sq if distances is None else distances) * first * second).astype(np.int64)

    def rows_chosen(self) -> list[int]:
        return self.chosen

    def settle(self) -> None:
        """There is nothing to settle: distances and labels know of every row chosen."""
