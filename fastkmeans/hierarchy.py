"""Bisecting k-means (Steinbach, Karypis and Kumar 2000): one cluster after another is cut in two by the solver.

Each cut is a fit with two clusters on the rows of one cluster alone, gathered into a block of their own (the first is
on all rows, as they lie).  Where these are many, it starts from the same cut of some of them, so that few iterations
read them all.  The grid of the exact sums is that of all rows, so nothing is scanned again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import passes, seeding, threads
from .data import Data, new_counter
from .gather import Room
from .kernels import tree
from .passes import Sums
from .points import Points
from .solver import Solver

THINNING = 8
FEWEST_ROWS = 1 << 12  # that a cut is tried on before it is made
BIGGEST_INERTIA, LARGEST_CLUSTER = "biggest_inertia", "largest_cluster"


class Splits(NamedTuple):
    """A tree of bisections; split 0 is the root.

    Attributes
    ----------
    centers : ndarray of shape (n_splits, 2, d)
        The two centers of each split, in the center dtype.
    children : ndarray of int32, shape (n_splits, 2)
        What either side leads to: the index of another split, or ``~label``.
    """

    centers: NDArray[Any]
    children: NDArray[np.int32]


class Hierarchy(NamedTuple):
    centers: NDArray[Any]
    labels: NDArray[np.int32]
    inertia: float
    cluster_weights: NDArray[np.float64]
    splits: Splits


class Cluster:
    """A node of the tree while it grows: its rows (None means all), and its two halves once it is cut."""

    def __init__(self, rows: NDArray[np.intp] | None, center: NDArray[Any], score: Fraction, weight: float) -> None:
        self.rows = rows
        self.center = center
        self.score = score
        self.weight = weight
        self.halves: tuple[Cluster, Cluster] | None = None

    def leaves(self) -> Iterator[Cluster]:
        """The clusters at the end of every branch, from left to right."""
        todo = [self]
        while todo:
            node = todo.pop()
            if node.halves is None:
                yield node
            else:
                todo += reversed(node.halves)


def thinned(data: Data) -> list[Data]:
    """Ever more of the rows and all of them at last: iterations on few show the way, and all rows need few."""
    parts = [data]
    while parts[0].n >= THINNING * FEWEST_ROWS:
        fewer = parts[0].part(np.arange(0, parts[0].n, THINNING))
        if fewer.total_weight == 0:
            break
        parts.insert(0, fewer)
    return parts


class Bisection:
    """What all cuts of one fit share."""

    def __init__(
        self, data: Data, *, strategy: str, init: str | Callable[..., Any], n_init: int, user_rows: Callable[..., Any],
        **solver_options: Any,
    ) -> None:  # fmt: skip
        self.data = data
        self.room = Room()
        self.strategy = strategy
        self.init = init
        self.n_init = n_init
        self.user_rows = user_rows
        self.solver_options = solver_options

    def cut(self, cluster: Cluster, seed: np.random.SeedSequence, *, last: bool) -> None:
        """Give a cluster its halves; after the last cut nobody asks for their scores."""
        data = self.data if cluster.rows is None else self.data.part(cluster.rows, room=self.room)
        user_X = self.user_rows(cluster.rows) if callable(self.init) else None
        parts = [data] if callable(self.init) else thinned(data)
        solvers = [Solver(part, **self.solver_options) for part in parts]
        whole = solvers.pop()
        best: Halves | None = None
        for child in seed.spawn(self.n_init):
            centers = seeding.initial_centers(parts[0], 2, self.init, child, user_X).centers
            for solver in solvers:
                centers = solver.descend(centers).centers
            halves = Halves(whole, centers, scored=not last or self.n_init > 1)
            if best is None or sum(halves.inertias) < sum(best.inertias):
                best = halves
        assert best is not None
        scores = best.inertias
        if self.strategy == LARGEST_CLUSTER:
            scores = [Fraction(float(weight)) for weight in best.weights]
        rows = [side if cluster.rows is None else cluster.rows[side] for side in best.sides]
        first, second = (
            Cluster(rows[side], best.centers[side], scores[side], float(best.weights[side])) for side in range(2)
        )
        cluster.halves = (first, second)
        cluster.rows = None


class Halves:
    """Two clusters of some rows.

    Attributes
    ----------
    centers : ndarray of shape (2, d)
    sides : list of two ndarrays of int
        The rows of each.
    weights : ndarray of float64, shape (2,)
    inertias : list of two Fractions
        Zero where nobody asks for them.
    """

    def __init__(self, solver: Solver, start: NDArray[Any], *, scored: bool) -> None:
        data = solver.data
        done = solver.descend(start)
        solver.label(done)
        self.centers = done.centers
        self.sides = [np.flatnonzero(done.labels == side) for side in range(2)]
        self.weights = solver.cluster_weights(done.sums)
        self.inertias = [Fraction(0)] * 2
        if scored:
            values, largest = passes.own_distances(data, done.centers, done.labels)
            self.inertias = [passes.row_sum(data, values, largest, side).exact for side in self.sides]


def fit(
    data: Data,
    *,
    n_clusters: int,
    strategy: str,
    init: str | Callable[..., Any],
    n_init: int,
    max_iter: int,
    tol: float,
    algorithm: str,
    seed: np.random.SeedSequence,
    verbose: int = 0,
    user_rows: Callable[..., Any] = lambda rows: None,
) -> Hierarchy:
    """Cut the rows of `data` until there are `n_clusters` clusters.

    Parameters
    ----------
    data : Data
    n_clusters : int
    strategy : "biggest_inertia" or "largest_cluster"
        Which cluster is cut next: the one with the highest inertia or weight; of equal ones the heaviest, and of these
        the first from the left.
    init : "k-means++", "k-means||", "random" or callable
    n_init, max_iter : int
        Of each cut.
    tol : float
        Relative to the mean variance of the features over all rows.
    algorithm : "auto", "lloyd" or "elkan"
    seed : SeedSequence
        Cut t draws from its t-th child.
    verbose : int
    user_rows : callable
        Gives a callable init the rows of some indices, or all for None.

    Returns
    -------
    Hierarchy
        Labels count the leaves from left to right.
    """
    mean = _mean(data)
    limit = 0.0
    if tol > 0.0:
        scatter = passes.inertia(data, mean.reshape(1, -1).astype(np.float64), np.zeros(data.n, np.int32)).value
        limit = tol * scatter / float(np.ldexp(float(data.total_weight), data.unit_exponent)) / data.d
    bisection = Bisection(
        data, strategy=strategy, init=init, n_init=n_init, user_rows=user_rows,
        algorithm=algorithm, max_iter=max_iter, tol=tol, verbose=verbose, limit=limit,
    )  # fmt: skip
    root = Cluster(None, mean, Fraction(0), float(np.ldexp(float(data.total_weight), data.unit_exponent)))
    for t, child in enumerate(seed.spawn(n_clusters - 1)):
        chosen = max(root.leaves(), key=lambda leaf: (leaf.score, leaf.weight))
        bisection.cut(chosen, child, last=t == n_clusters - 2)
        if verbose:
            assert chosen.halves is not None
            print(f"New centroids from bisection: {np.stack([half.center for half in chosen.halves])}")
    labels = np.zeros(data.n, np.int32)
    weights = np.zeros(n_clusters)
    centers = np.empty((n_clusters, data.d), data.points.center_dtype)
    for label, leaf in enumerate(root.leaves()):
        labels[slice(None) if leaf.rows is None else leaf.rows] = label
        centers[label] = leaf.center
        weights[label] = leaf.weight
    inertia = passes.inertia(data, centers, labels).value
    return Hierarchy(centers, labels, inertia, weights, _splits(root, centers.dtype, data.d))


def _mean(data: Data) -> NDArray[Any]:
    """The weighted mean of all rows, in the center dtype: the center of a single cluster."""
    start = data.points.take([0]).astype(data.points.center_dtype)
    sums = Sums(data, 1, passes.pass_lanes(data, 1))
    passes.assign(data, start, np.full(data.n, -1, np.int32), sums)
    mean: NDArray[Any] = passes.update_centers(data, sums, start, np.zeros(start.shape))[0]
    return mean


def _splits(root: Cluster, dtype: np.dtype[Any], d: int) -> Splits:
    """The tree as arrays, splits in the order in which a walk from the left meets them."""
    nodes: list[Cluster] = []
    names: dict[int, int] = {}
    todo, n_leaves = [root], 0
    while todo:
        node = todo.pop()
        if node.halves is None:
            names[id(node)] = ~n_leaves
            n_leaves += 1
        else:
            names[id(node)] = len(nodes)
            nodes.append(node)
            todo += reversed(node.halves)
    centers = np.empty((len(nodes), 2, d), dtype)
    children = np.empty((len(nodes), 2), np.int32)
    for at, node in enumerate(nodes):
        assert node.halves is not None
        centers[at] = [half.center for half in node.halves]
        children[at] = [names[id(half)] for half in node.halves]
    return Splits(centers, children)


def predict(points: Points, splits: Splits, *, n_threads: int | None = None) -> NDArray[np.int32]:
    """Label of the leaf that every row comes to, going to the nearer center at every split."""
    labels = np.zeros(points.n_samples, np.int32)
    data = Data(points, None, n_threads)
    if len(splits.children) == 0:
        return labels
    if points.sparse is not None:
        _descend(data, splits, labels)
        return labels
    depth = max(1.0, np.log2(len(splits.children) + 1))
    n_lanes = data.lanes(8.0 * data.n * data.d * depth, data.n)
    centers = splits.centers.astype(np.float64, copy=False)
    for lo, hi, rows in data.ranges(16.0 * data.d * depth):
        shared = (rows, new_counter(), centers, splits.children, labels[lo:hi])
        threads.share(n_lanes, tree.descend_lane, shared)
    return labels


def _descend(data: Data, splits: Splits, labels: NDArray[np.int32]) -> None:
    """Label the rows split by split, those of each gathered: for compressed rows.  labels (n,) int32 OUT."""
    todo: list[tuple[int, NDArray[np.intp]]] = [(0, np.arange(data.n))]
    while todo:
        node, rows = todo.pop()
        sides = np.full(len(rows), -1, np.int32)
        passes.assign(data if node == 0 else data.part(rows), splits.centers[node], sides)
        for side in range(2):
            child, chosen = int(splits.children[node, side]), rows[sides == side]
            if child < 0:
                labels[chosen] = ~child
            elif len(chosen):
                todo.append((child, chosen))
