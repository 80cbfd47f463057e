"""Better minima: two clusters are merged and a third is split, wherever that lowers the inertia (swap moves).

Merging clusters a and b raises the sum of squares by exactly ``w_a w_b / (w_a + w_b) |c_a - c_b|^2`` (Ward 1963), and
splitting one into parts of means p and q lowers it by ``w_p w_q / (w_p + w_q) |p - q|^2``.  So a swap whose gain
exceeds its cost is sure to pay, and the iterations after it make it pay more.  The gains come from one two-means in
every cluster, all of them at once: a row only ever looks at the two halves of its own cluster.

The result is a function of data and start like every other: half labels come from canonical distances, means from
exact sums.  Only which swaps are tried depends on float64 arithmetic over centers, in a fixed order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import passes, sparse_passes, threads
from .data import Data, round_ratio
from .kernels import lloyd
from .passes import Sums

if TYPE_CHECKING:
    from .solver import Run, Solver

HALVING_STEPS = 5  # iterations of the two-means in a cluster, at most
MOST_ROUNDS = 50  # of swaps; each lowers the inertia, and a few are enough
MARGIN = 1e-6  # by which a gain must exceed a cost, relatively: rounding is no reason to try
SAMPLE_ROWS = 1 << 17  # swaps are proposed from every so-manieth row where there are more than twice as many and ...
SAMPLE_ROWS_PER_CLUSTER = 1024  # ... than twice as many per cluster; whether a swap stays is decided on all rows
PAIRS_AT_A_TIME = 1 << 20
FLOAT64 = np.dtype(np.float64)


class Sample(NamedTuple):
    """Every `step`-th row of some data, as data of its own; the data itself where `step` is 1.

    `factor` is how many times the weight of the sample all rows have.
    """

    data: Data
    step: int
    factor: float

    def labels(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Those of the rows in the sample."""
        return np.ascontiguousarray(labels[:: self.step])

    def splits(self, centers: NDArray[Any], labels: NDArray[np.int32]) -> Splits:
        """As `splits`, with gains for all rows."""
        found = splits(self.data, centers, labels)
        return found._replace(gains=found.gains * self.factor)


class Splits(NamedTuple):
    """The best found way to cut every cluster in two.

    Attributes
    ----------
    gains : ndarray of shape (k,)
        By how much a cut lowers the inertia.
    first, second : ndarray of shape (k, d), float64
        Means of the two parts; both the center where there is nothing to cut.
    """

    gains: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def sample(data: Data, step: int) -> Sample:
    """Every `step`-th row, or the data itself where these rows have no weight."""
    whole = Sample(data, 1, 1.0)
    if step == 1:
        return whole
    rows = np.arange(0, data.n, step)
    weights = None
    if data.weighted:
        weights = np.ldexp(data.weights[rows].astype(np.float64), data.unit_exponent)
        if not weights.any():
            return whole
    part = Data(data.points.part(rows), weights, data.n_threads)
    share = round_ratio(data.total_weight, part.total_weight, data.unit_exponent - part.unit_exponent, FLOAT64)
    return Sample(part, step, float(share))


def refine(solver: Solver, run: Run, some: Sample | None = None) -> tuple[Run, Splits]:
    """Swap and iterate again for as long as that lowers the exact inertia.

    Parameters
    ----------
    solver : Solver
    run : Run
        Of that solver.
    some : Sample, optional
        Of its data.

    Returns
    -------
    run : Run
        The last of the runs, with the iterations of all.
    cuts : Splits
        Of its clusters.
    """
    if some is None:
        fewest = max(SAMPLE_ROWS, SAMPLE_ROWS_PER_CLUSTER * len(run.centers))
        some = sample(solver.data, max(1, solver.data.n // fewest))
    for _ in range(MOST_ROUNDS):
        if solver.stopped:
            break
        cuts = some.splits(run.centers, some.labels(run.labels))
        start = swapped(run, cuts)
        again = None if start is None else solver.run(start)
        if again is None or again.inertia.exact >= run.inertia.exact:
            return run, cuts
        run = again._replace(n_iter=run.n_iter + again.n_iter, history=run.history + again.history)
    return run, some.splits(run.centers, some.labels(run.labels))


def swapped(run: Run, cuts: Splits) -> NDArray[Any] | None:
    """The centers after every swap that pays, or None where none does.

    The cut with the highest gain is paired with the cheapest fusion of two other clusters, and so on with the clusters
    that no swap has touched yet.
    """
    centers = run.centers.astype(np.float64)
    weights = run.cluster_weights
    k = len(centers)
    costs, partners = cheapest_fusions(centers, weights)
    order = np.argsort(costs, kind="stable")
    free = np.ones(k, bool)
    new = None
    for c in np.argsort(-cuts.gains, kind="stable"):
        if not free[c]:
            continue
        free[c] = False
        a = next((int(a) for a in order if free[a] and free[partners[a]]), None)
        if a is None or not cuts.gains[c] > costs[a] * (1.0 + MARGIN):
            break
        b = int(partners[a])
        free[a] = free[b] = False
        if new is None:
            new = centers.copy()
        total = weights[a] + weights[b]
        if total > 0.0:
            new[a] = centers[a] + (centers[b] - centers[a]) * (weights[b] / total)
        new[b], new[c] = cuts.first[c], cuts.second[c]
    return None if new is None else new.astype(run.centers.dtype)


def cheapest_fusions(
    centers: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """For each cluster the lowest cost of fusing it with another, and with which (the lowest index on a tie)."""
    k = len(centers)
    costs, partners = np.full(k, np.inf), np.zeros(k, np.intp)
    step = max(1, PAIRS_AT_A_TIME // k)
    for lo in range(0, k, step):
        hi = min(lo + step, k)
        block = fusion_costs(weights[lo:hi, None], weights, centers[lo:hi, None], centers)
        block[np.arange(hi - lo), np.arange(lo, hi)] = np.inf
        partners[lo:hi] = block.argmin(axis=1)
        costs[lo:hi] = block[np.arange(hi - lo), partners[lo:hi]]
    return costs, partners


def splits(data: Data, centers: NDArray[Any], labels: NDArray[np.int32]) -> Splits:
    """Cut every cluster in two by a two-means of its rows, from halves on either side of its center.

    The first cut is by the plane through the center across the direction to the farthest row: a direction that
    outliers can turn, but not a place that they can take.
    """
    k = len(centers)
    centers = centers.astype(np.float64)
    values, _ = passes.own_distances(data, centers, labels)
    if data.weighted:
        values[data.weights == 0] = 0.0
    farthest = np.zeros(k)
    np.maximum.at(farthest, labels, values)
    candidates = np.flatnonzero((values == farthest[labels]) & (values > 0.0))
    which, at = np.unique(labels[candidates], return_index=True)
    first, second = centers.copy(), centers.copy()
    second[which] = data.points.take(candidates[at])
    first[which] = 2.0 * centers[which] - second[which]
    halves = np.full(data.n, -1, np.int32)
    n_lanes = passes.pass_lanes(data, 2)
    sums = Sums(data, 2 * k, 1)
    means = np.zeros((2 * k, data.d))
    own = 2 * labels
    for _ in range(HALVING_STEPS):
        nearer, _ = passes.own_distances(data, first, labels)
        other, _ = passes.own_distances(data, second, labels)
        new = (own + (other < nearer)).astype(np.int32)
        if np.array_equal(new, halves):
            break
        _move(data, halves, new, sums, n_lanes)
        halves = new
        parts = passes.update_centers(data, sums, np.stack([first, second], axis=1).reshape(2 * k, -1), means)
        first, second = np.ascontiguousarray(parts[0::2]), np.ascontiguousarray(parts[1::2])
    weights = np.ldexp(sums.weights.astype(np.float64), data.unit_exponent)
    gains = fusion_costs(weights[0::2], weights[1::2], first, second)
    return Splits(gains, first, second)


def _move(data: Data, old: NDArray[np.int32], new: NDArray[np.int32], sums: Sums, n_lanes: int) -> None:
    touched = threads.per_lane(n_lanes, len(sums.weights), np.uint8)
    if data.points.sparse is not None:
        for lo, hi, compressed in data.sparse_ranges(16.0 * data.density):
            sparse_passes.move(
                data, compressed, old[lo:hi], new[lo:hi], data.weights_of(lo, hi), sums.lane_sums[0],
                sums.lane_weights[0], touched,
            )  # fmt: skip
        sums.touched[0] |= touched.any(axis=0)
        sums.settle()
        return
    for lo, hi, rows in data.ranges(16.0 * data.d):
        shared: tuple[Any, ...] = (
            rows,
            old[lo:hi],
            new[lo:hi],
            data.weights_of(lo, hi),
            data.grid.scale,
            data.grid.digits,
        )
        shared += (sums.lane_sums[0], sums.lane_weights[0], n_lanes)
        threads.share(n_lanes, lloyd.own_clusters, shared, (np.arange(n_lanes), touched))
    sums.touched[0] |= touched.any(axis=0)
    sums.settle()


def fusion_costs(
    weights_a: NDArray[np.float64], weights_b: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ward's cost of fusing clusters of these weights and means, broadcast; features are added from left to right."""
    square = np.zeros(np.broadcast_shapes(a.shape, b.shape)[:-1])
    for j in range(a.shape[-1]):
        t = a[..., j] - b[..., j]
        square += t * t
    total = weights_a + weights_b
    return np.where(total > 0.0, weights_a * (weights_b / np.where(total > 0.0, total, 1.0)), 0.0) * square
