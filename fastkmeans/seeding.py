"""Starting centers: greedy k-means++ (Arthur & Vassilvitskii 2007), random rows, an array, a callable.

All draws are made here, in Python, on exact integer potentials: they do not depend on threads, blocks or lane width.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, field_exponent, power_pair
from .kernels import canonical, lloyd, parallel, simd
from .kernels import seeding as kernels
from .passes import Frame, is_small, own_distances
from .points import Points

LIST_SHARE = 4  # a step's list of improvements holds one row in so many; a longer one is computed again instead
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
    rng = np.random.Generator(np.random.PCG64(seed))
    choose = kmeans_plusplus if init == "k-means++" else random_rows
    rows = choose(data, n_clusters, rng)
    return data.points.take(rows).astype(dtype)


def uniform(rng: np.random.Generator, total: int, size: int = 1) -> list[int]:
    """Integers drawn uniformly from [0, total), from 128 random bits each."""
    words = rng.integers(0, 2**64, dtype=np.uint64, size=(size, 2))
    return [((int(a) << 64 | int(b)) * total) >> 128 for a, b in words]


class WeightDraws:
    """Draws of rows by weight, with or without replacement, from prefix sums."""

    def __init__(self, data: Data, rng: np.random.Generator) -> None:
        self.rng = rng
        weights = data.weights if data.weighted else np.ones(data.n, np.int64)
        self.left = weights.copy()  # zero once taken and folded in
        self.prefix = np.cumsum(self.left)
        self.total = data.total_weight
        self.recent: list[int] = []  # rows taken since the prefix sums were made, ascending
        self.recent_weights: dict[int, int] = {}

    def draw(self) -> int:
        """The first row whose running weight exceeds a uniform integer."""
        (target,) = uniform(self.rng, self.total)
        row = int(np.searchsorted(self.prefix, target, side="right"))
        while True:  # rows taken before it have no weight any more
            gone = sum(self.recent_weights[r] for r in self.recent[: bisect_right(self.recent, row)])
            moved = int(np.searchsorted(self.prefix, target + gone, side="right"))
            if moved == row:
                return row
            row = moved

    def remove(self, row: int) -> None:
        self.total -= int(self.left[row])
        self.recent_weights[row] = int(self.left[row])
        insort(self.recent, row)
        if len(self.recent) == REBUILD:
            self.left[self.recent] = 0
            self.prefix = np.cumsum(self.left)
            self.recent, self.recent_weights = [], {}


def random_rows(data: Data, n_clusters: int, rng: np.random.Generator) -> list[int]:
    """Rows drawn by weight without replacement; when no weight is left, they repeat from the start."""
    draws = WeightDraws(data, rng)
    rows: list[int] = []
    while len(rows) < n_clusters and draws.total > 0:
        row = draws.draw()
        draws.remove(row)
        rows.append(row)
    distinct = len(rows)
    return [rows[i % distinct] for i in range(n_clusters)]


def kmeans_plusplus_rows(
    points: Points,
    sample_weight: NDArray[np.float64] | None,
    n_clusters: int,
    seed: np.random.SeedSequence,
    n_threads: int | None = None,
) -> list[int]:
    """Rows that greedy k-means++ chooses, from validated points and weights: see `kmeans_plusplus`."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return kmeans_plusplus(Data(points, sample_weight, n_threads), n_clusters, rng)


def kmeans_plusplus(data: Data, n_clusters: int, rng: np.random.Generator) -> list[int]:
    """Rows chosen by greedy k-means++: each step draws 2 + floor(ln k) candidates with probability proportional to
    weight times squared distance to the nearest row chosen, and keeps the one that lowers the potential most."""
    by_weight = WeightDraws(data, rng)
    rows = [by_weight.draw()]
    potential = Potential(data, n_clusters)
    potential.bring_nearer(rows[0])
    n_candidates = 2 + int(math.log(n_clusters))
    while len(rows) < n_clusters:
        if potential.settle() == 0:  # every row of positive weight is chosen already
            rows.append(by_weight.draw())
            continue
        candidates = potential.draw(rng, n_candidates)
        gains = potential.gains(candidates)
        winner = gains.index(max(gains))
        potential.accept(winner)
        rows.append(candidates[winner])
    return rows


class Potential:
    """The squared distance of every row to its nearest chosen row, and exact sums of it."""

    def __init__(self, data: Data, n_clusters: int) -> None:
        self.data = data
        self.nearest_sq = np.full(data.n, np.inf)
        if data.weighted:
            self.nearest_sq[data.weights == 0] = 0.0  # never drawn, never looked at
        self.n_lanes = data.lanes(16.0 * data.n * data.d, data.n)
        room = max(1, data.n // LIST_SHARE // self.n_lanes)
        self.rows = np.empty((self.n_lanes, room), np.int64)
        self.which = np.empty((self.n_lanes, room), np.int32)
        self.values = np.empty((self.n_lanes, room))
        self.state = np.zeros((self.n_lanes, 1), np.int64)

    def bring_nearer(self, row: int) -> None:
        """Take one more chosen row into account."""
        data = self.data
        values, _ = own_distances(data, data.points.take([row]), np.zeros(data.n, np.int32))
        np.minimum(self.nearest_sq, values, out=self.nearest_sq)

    def settle(self) -> int:
        """Sum the potential on the grid of its present maximum; 0 where nothing is left."""
        data = self.data
        largest = float(self.nearest_sq.max())
        if largest == 0.0:
            return 0
        self.scale = power_pair(-max(field_exponent(largest) - 62, -1074))
        sums = np.zeros((-(-data.n // kernels.BLOCK), kernels.DIGITS), np.int64)
        kernels.block_potentials(self.nearest_sq, data.weights, *self.scale, sums.reshape(-1))
        self.blocks = [sum(int(s) << (32 * t) for t, s in enumerate(block)) for block in sums]
        self.total = sum(self.blocks)
        return self.total

    def draw(self, rng: np.random.Generator, count: int) -> list[int]:
        """Rows drawn with probability proportional to their potential."""
        rows = []
        for target in uniform(rng, self.total, count):
            block = 0
            while target >= self.blocks[block]:
                target -= self.blocks[block]
                block += 1
            lo = block * kernels.BLOCK
            hi = min(lo + kernels.BLOCK, self.data.n)
            high, low = np.uint64(target >> 64), np.uint64(target & (2**64 - 1))
            rows.append(int(kernels.locate(self.nearest_sq, self.data.weights, lo, hi, *self.scale, high, low)))
        return rows

    def gains(self, candidates: list[int]) -> list[int]:
        """By how much each candidate would lower the potential."""
        data = self.data
        self.candidates = candidates
        n = len(candidates)
        centers = data.points.take(candidates)
        grouped = canonical.group_centers(centers)
        gains = np.zeros((self.n_lanes, n * kernels.DIGITS), np.int64)
        self.state[:] = 0
        width = 1 if is_small(data, n) else simd.lane_width()
        packed: dict[bool, Any] = {}
        for lo, hi, rows in data.ranges(16.0 * data.d):
            weights, nearest_sq = data.weights_of(lo, hi), self.nearest_sq[lo:hi]
            counter = np.zeros(1, np.int64)
            private = (gains, self.rows, self.which, self.values, self.state)
            if width == 1:
                shared: tuple[Any, ...] = (rows, weights, counter, nearest_sq, lo, grouped, n, *self.scale)
                threads.share(
                    self.n_lanes, parallel.plain_candidates_parallel, kernels.plain_candidates_lane, shared, private
                )
                continue
            single = rows.dtype.itemsize <= 2 or rows.dtype == np.float32
            if single not in packed:
                packed[single] = _pack_candidates(data, centers, single, width)
            frame, groups, halves, largest = packed[single]
            shared = (
                simd.lanes(width), rows, weights, counter, nearest_sq, lo, frame.dtype.type(frame.scale), frame.shift,
                groups, halves, largest, frame.error, frame.square_scale, grouped, n, *self.scale,
            )  # fmt: skip
            threads.share(self.n_lanes, parallel.candidates_parallel, kernels.candidates_lane, shared, private)
        return [
            sum(int(gains[:, c * kernels.DIGITS + t].sum()) << (32 * t) for t in range(kernels.DIGITS))
            for c in range(n)
        ]

    def accept(self, winner: int) -> None:
        """Take the winner of the last `gains` into account."""
        if (self.state[:, 0] > self.rows.shape[1]).any():
            self.bring_nearer(self.candidates[winner])
            return
        for lane in range(self.n_lanes):
            count = int(self.state[lane, 0])
            kernels.apply_improvements(
                self.rows[lane], self.which[lane], self.values[lane], count, winner, self.nearest_sq
            )


def _pack_candidates(
    data: Data, centers: NDArray[np.float64], single: bool, width: int
) -> tuple[Frame, NDArray[np.float32], NDArray[np.float32], float]:
    n, d = centers.shape
    frame = Frame(data, centers, single)
    n_groups = -(-n // width)
    groups = np.zeros(n_groups * d * width, np.float32)
    halves = np.empty(n_groups * width, np.float32)
    norms = np.empty(n)
    largest = lloyd.pack_centers(
        centers, np.zeros(n, np.uint8), frame.scale, frame.shift.astype(np.float64), width,
        groups, np.empty(0, np.float32), halves, norms,
    )  # fmt: skip
    return frame, groups, halves, largest
