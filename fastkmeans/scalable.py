"""k-means|| (Bahmani, Moseley, Vattani, Kumar & Vassilvitskii 2012): seeding that reads the data few times.

From one row drawn by weight, `ROUNDS` times: every row joins the candidates by itself, with a chance of `OVERSAMPLING`
times k times its share of the potential.  Each candidate then weighs as much as the rows nearest to it, and greedy
k-means++ on the weighted candidates chooses k of them.  The rows are read once to validate them, once for the first
candidate, and once a round.

Whether a row joins depends on the potential and on a number that is a function of seed, round and the row's index
(`kernels.philox`), so it does not depend on how the rows are divided.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import passes, threads
from .data import Data, new_counter
from .draws import Stream
from .kernels import gains as kernels
from .kernels import philox
from .packed import Packed
from .potentials import Frozen

ROUNDS = 5
OVERSAMPLING = 2.0


def sampling_key(seed: np.random.SeedSequence) -> tuple[np.uint64, np.uint64]:
    """The key of the counter-based generator: two 32-bit words of a child of the seed."""
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 0), pool_size=seed.pool_size)
    first, second = child.generate_state(2, np.uint32).tolist()
    return np.uint64(first), np.uint64(second)


class Candidates:
    """The rows that joined so far, and every row's nearest one."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.rows = np.empty(0, np.int64)
        self.nearest_sq = np.full(data.n, np.inf)
        if data.weighted:
            self.nearest_sq[data.weights == 0] = 0.0
        self.labels = np.zeros(data.n, np.int32)
        self.frozen = Frozen(data)

    def add(self, rows: NDArray[np.int64]) -> None:
        """Let rows join: one pass over the data."""
        data = self.data
        first = len(self.rows)
        self.rows = np.concatenate([self.rows, rows])
        centers = data.points.take(rows)
        labels = np.full(data.n, -1, np.int32)
        measure = passes.Measure(data, centers)
        if data.points.sparse is not None:
            passes.assign(data, centers, labels)
            measure.values, _ = passes.own_distances(data, centers, labels)
        elif Packed(data, centers, False).orientation not in ("plain", "plane"):
            passes.assign(data, centers, labels, measure=measure)
        if labels[0] >= 0:
            nearer = measure.values < self.nearest_sq
            self.labels[nearer] = first + labels[nearer]
            np.minimum(self.nearest_sq, measure.values, out=self.nearest_sq)
            return
        # plain loops: a pass takes no distances there, and another would read everything once more
        for lo, hi, block in data.ranges(4.0 * data.d * len(rows)):
            for c in range(len(rows)):
                shared = (
                    True, block, new_counter(), centers[c : c + 1], np.int32(first + c), self.nearest_sq[lo:hi],
                    self.labels[lo:hi],
                )  # fmt: skip
                threads.share(1, kernels.nearer_lane, shared)

    def sample(self, n_expected: float, turn: int, key: tuple[np.uint64, np.uint64]) -> NDArray[np.int64] | None:
        """Rows that join in a round, ascending; None where every row of positive weight lies on a candidate."""
        data = self.data
        if not self.frozen.freeze(self.nearest_sq, copied=False):
            return None
        factor = math.ldexp(n_expected / self.frozen.total, 53)
        rows = np.empty(data.n, np.int64)
        counts = np.zeros(-(-data.n // philox.SAMPLE_BLOCK), np.int64)
        shared = (
            self.nearest_sq, data.weights, new_counter(), *self.frozen.scale, factor, np.uint64(turn), *key, rows,
            counts,
        )  # fmt: skip
        n_lanes = data.lanes(50.0 * data.n, data.n)
        threads.share(n_lanes, philox.sample_lane, shared)
        starts = np.arange(len(counts)) * philox.SAMPLE_BLOCK
        return np.concatenate([rows[s : s + c] for s, c in zip(starts, counts, strict=True)])

    def weights(self) -> NDArray[np.float64]:
        """The weight of the rows nearest to each candidate, in units of the weight grid, rounded to float64."""
        data = self.data
        totals = np.zeros(len(self.rows), np.int64)
        if data.weighted:
            np.add.at(totals, self.labels, data.weights)
        else:
            totals += np.bincount(self.labels, minlength=len(self.rows))
        return totals.astype(np.float64)


def scalable_rows(
    data: Data,
    n_clusters: int,
    seed: np.random.SeedSequence,
    stream: Stream,
    first: int,
    choose: Callable[[Data, int, Stream], list[int]],
    tell: Callable[[str], object] | None = None,
) -> list[int]:
    """Rows chosen by k-means||; fewer than `n_clusters` where there are no more distinct ones.

    Parameters
    ----------
    data : Data
    n_clusters : int
    seed : SeedSequence
        Of the numbers of the rows.
    stream : Stream
        For the draws among the candidates.
    first : int
        The first candidate, drawn by weight.
    choose : callable
        Weighted greedy k-means++: ``choose(data, n_clusters, stream)`` returns rows.
    tell : callable, optional
        Called with a line of progress after each round.
    """
    found = Candidates(data)
    found.add(np.array([first]))
    key = sampling_key(seed)
    turn = 0
    # rounds beyond ROUNDS are for the rare case of fewer candidates than clusters
    while turn < ROUNDS or len(found.rows) < n_clusters:
        rows = found.sample(OVERSAMPLING * n_clusters, turn, key)
        turn += 1
        if rows is None:
            break
        if len(rows):
            found.add(rows)
        if tell is not None:
            tell(f"Seeding: {turn} of {ROUNDS} rounds, {len(found.rows)} candidates.")
    if len(found.rows) <= n_clusters:
        return found.rows.tolist()
    candidates = Data(data.points.part(found.rows), found.weights(), data.n_threads)
    return found.rows[choose(candidates, n_clusters, stream)].tolist()
