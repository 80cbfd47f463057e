"""The fit: restarts, the iteration, the stop rule, empty clusters, the history.

One iteration labels every row with its nearest center and moves each center to the mean of its rows.  It stops when no
label changed (strict convergence, tested first, never in the first pass) or when the sum of squared center shifts is at
most ``tol`` times the mean variance of the features.  Unless it converged strictly, a last assignment makes ``labels_``
equal to ``predict(X)``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import cosine, passes, seeding
from . import refine as swaps
from .assigner import Assigner
from .data import Data, RowSum, round_ratio
from .kernels import exact
from .passes import Measure, Sums
from .points import Points

FEW_ROWS = 16  # that tell about how large the inertia is
HIDDEN = 1e-6  # of the scatter: an inertia below that is taken from the rows, for the difference would lose its digits


class Iteration(NamedTuple):
    """What one iteration did.

    Attributes
    ----------
    inertia : float
        Weighted sum of squared distances to the centers the iteration started with.
    center_shift : float
        Sum over clusters of the squared distance a center moved.
    n_changed : int
        Rows of positive weight whose label changed.
    n_refilled : int
        Empty clusters that were given a row as their center.
    seconds : float
        Wall time.
    evaluated : float
        Share of the pairs of a row and a center whose distance was computed, 1 in a dense pass.
    algorithm : str
        What labeled the rows: "lloyd", a dense pass, "elkan", a bounded one, or "seeding", k-means++, which had left
        each row's nearest center.
    """

    inertia: float
    center_shift: float
    n_changed: int
    n_refilled: int
    seconds: float
    evaluated: float
    algorithm: str


class Progress(NamedTuple):
    """What a callback is told after every iteration.

    Attributes
    ----------
    restart : int
        Counted from 0.
    iteration : int
        Of this restart, counted from 1; with swap moves it goes on counting.
    inertia : float
        Weighted sum of squared distances to the centers the iteration started with.
    shift : float
        Sum over clusters of the squared distance a center moved.
    changed : int
        Rows of positive weight whose label changed.
    algorithm : str
        "lloyd" or "elkan".
    seconds : float
        What the iteration took.
    """

    restart: int
    iteration: int
    inertia: float
    shift: float
    changed: int
    algorithm: str
    seconds: float


class FitResult(NamedTuple):
    centers: NDArray[Any]
    labels: NDArray[np.int32]
    inertia: float
    n_iter: int
    converged: bool
    history: list[Iteration]
    cluster_weights: NDArray[np.float64]
    best_restart: int


class Run(NamedTuple):
    """The end of one restart."""

    centers: NDArray[Any]
    labels: NDArray[np.int32]
    inertia: RowSum
    n_iter: int
    converged: bool
    history: list[Iteration]
    cluster_weights: NDArray[np.float64]


class Descent(NamedTuple):
    """Iterations from one start, up to their end."""

    centers: NDArray[Any]
    labels: NDArray[np.int32]  # to the centers before the last move
    means: NDArray[np.float64]  # as passes.update_centers keeps them
    sums: Sums
    assigner: Assigner
    steps: list[tuple[float, Iteration]]  # how far the inertia lies below the scatter, and the rest; it may be there
    n_iter: int
    converged: bool
    strict: bool  # the labels are those of the centers


class Solver:
    """The data of a fit and what its restarts share."""

    def __init__(
        self, data: Data, *, algorithm: str, max_iter: int, tol: float, verbose: int,
        callback: Callable[[Progress], object] | None = None, limit: float | None = None,
    ) -> None:  # fmt: skip
        self.data = data
        self.algorithm = algorithm
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.callback = callback
        self.limit = limit  # squared shift at which iterations stop, none of which is timed; None: by tol and variance
        self.restart = 0
        self.iterations = 0  # of this restart, whatever runs it is made of
        self.stopped = False  # by the callback: no further iteration is made
        self.mean: NDArray[np.float64] | None = None  # of all rows
        self.scatter: float | None = None  # weighted sum of squared distances to the mean
        self.few: tuple[NDArray[np.intp], NDArray[np.float64], float] | None = None  # rows, and what each stands for

    def run(self, centers: NDArray[Any], known: NDArray[np.int32] | None = None) -> Run:
        """Iterate from these centers, (k, d) in the center dtype, and take the inertia of where that ends.

        known (n,) int32: the label of every row of positive weight, if seeding has left them.  The first pass takes
        no distances then; all else is the same.
        """
        data = self.data
        done = self.descend(centers, known, history=True)
        to_label = Measure(data, done.centers)
        self.label(done, to_label)
        squares = passes.inertia(data, done.centers, done.labels, to_label)
        total = measured(data, squares)
        scatter = self.scatter
        if scatter is None:  # the inertia tells it, without a visit of the rows; other runs have scatters of their own
            passes.update_centers(data, done.sums, done.centers, done.means)
            scatter = squares.value + self._below(done.centers, done.centers, done.means, done.sums)[1]
        labels_nowhere(data, done.labels)
        history = [
            step._replace(inertia=self._inertia(below, scatter)) if math.isnan(step.inertia) else step
            for below, step in done.steps
        ]
        weights = self.cluster_weights(done.sums)
        return Run(done.centers, done.labels, total, done.n_iter, done.converged, history, weights)

    def label(self, done: Descent, measure: Measure | None = None) -> None:
        """Give the rows the labels of the centers that iterations ended with.

        measure: filled if that takes a pass, and where passes.assign fills it.
        """
        if not done.strict:
            done.assigner.assign(done.centers, done.labels, done.sums, measure, last=True)

    def descend(
        self, centers: NDArray[Any], known: NDArray[np.int32] | None = None, *, history: bool = False
    ) -> Descent:
        """The iterations of `run`; history: whether anybody will ask for their inertia."""
        data = self.data
        if data.cosine:
            centers = cosine.unit_rows(centers, centers)
        k = len(centers)
        labels = np.full(data.n, -1, np.int32)
        sums = Sums(data, k, passes.pass_lanes(data, k))
        means = np.zeros(centers.shape)
        assigner = Assigner(data, k, self.max_iter, self.algorithm)
        steps: list[tuple[float, Iteration]] = []
        converged = strict = False
        reason = "Stopped at iteration {}: max_iter={} reached."
        for t in range(1, self.max_iter + 1):
            start = time.perf_counter()
            done = assigner.start(centers, labels, sums, known) if t == 1 else assigner.assign(centers, labels, sums)
            new = passes.update_centers(data, sums, centers, means)
            if data.cosine:
                of_rows = sums.weights > 0
                new[of_rows] = cosine.unit_rows(means[of_rows], centers[of_rows])
            strict = t > 1 and done.changed == 0  # the sums, and so the centers, are what they were
            n_refilled = 0 if strict else self._refill(centers, labels, sums, new)
            shift, below = self._below(centers, new, means, sums)
            seconds = time.perf_counter() - start
            value = np.nan  # not taken yet
            if history and self._is_hidden(centers, labels, below):
                value = measured(data, passes.inertia(data, centers, labels)).value
            step = Iteration(value, shift, done.changed, n_refilled, seconds, done.evaluated, done.algorithm)
            steps.append((below, step))
            if math.isnan(value) and (self.verbose or self.callback is not None):
                value = self._inertia(below, self._scatter())
            if self.verbose:
                print(f"Iteration {t}, inertia {value}, {done.algorithm}, {done.evaluated:.1%} of distances computed.")
            centers = new
            self.iterations += 1
            if self.callback is not None:
                at = (self.restart, self.iterations, value)
                self.stopped = bool(self.callback(Progress(*at, shift, done.changed, done.algorithm, seconds)))
            if strict:
                converged = True
                reason = "Converged at iteration {}: strict convergence."
                break
            limit = 0.0 if self.limit is None else self.limit
            if self.limit is None and self.tol > 0.0:
                limit = self.tol * (self._scatter() / self._total_weight() / data.d)
            if shift <= limit:
                converged = True
                reason = f"Converged at iteration {{}}: center shift {shift} within tolerance {limit}."
                break
            if self.stopped:
                reason = "Stopped at iteration {}: the callback said so."
                break
        if self.verbose:
            print(reason.format(t, self.max_iter))
        return Descent(centers, labels, means, sums, assigner, steps, t, converged, strict)

    def _below(
        self, old: NDArray[Any], new: NDArray[Any], means: NDArray[np.float64], sums: Sums
    ) -> tuple[float, float]:
        """The shift of the centers, and how far the inertia of the old ones lies below the scatter."""
        if self.mean is None:
            self.mean = passes.mean_of_rows(self.data, sums)
        return exact.compare_centers(old, new, means, self.mean, self.cluster_weights(sums))

    def _scatter(self) -> float:
        if self.scatter is None:
            assert self.mean is not None
            nowhere = np.zeros(self.data.n, np.int32)
            self.scatter = passes.inertia(self.data, self.mean.reshape(1, -1), nowhere).value
        return self.scatter

    def _is_hidden(self, centers: NDArray[Any], labels: NDArray[np.int32], below: float) -> bool:
        """Whether the inertia is so small beside the scatter that their difference would be rounding: by a few rows."""
        data = self.data
        if self.few is None:
            rows = np.linspace(0, data.n - 1, min(data.n, FEW_ROWS)).astype(np.intp)
            if data.weighted:
                rows = rows[data.weights[rows] > 0]
            self.few = rows, data.points.take(rows), self._total_weight() / max(len(rows), 1)
        rows, values, weight = self.few
        if len(rows) == 0:
            return True
        with np.errstate(over="ignore"):
            apart = values - centers[labels[rows]]
            return float((apart * apart).sum()) * weight < HIDDEN * below

    def _inertia(self, below: float, scatter: float) -> float:
        """The inertia that lies so far below the scatter."""
        inertia = max(scatter - below, 0.0)
        return 0.5 * inertia + self.data.lost.value if self.data.cosine else inertia

    def _total_weight(self) -> float:
        data = self.data
        return float(round_ratio(data.total_weight, 1, data.unit_exponent, np.dtype(np.float64)))

    def cluster_weights(self, sums: Sums) -> NDArray[np.float64]:
        """Sum of the weights of each cluster's rows."""
        return np.ldexp(sums.weights.astype(np.float64), self.data.unit_exponent)

    def _refill(self, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums, new: NDArray[Any]) -> int:
        """Give each empty cluster the row farthest from its center; returns how many were given one.

        Distances are to the centers before the update; no mass moves.  Rows that coincide count once, rows that lie on
        their center not at all: when there are no others, the center stays where it was.
        """
        if sums.weights.all():
            return 0
        empty = np.flatnonzero(sums.weights == 0)
        values, _ = passes.own_distances(self.data, centers, labels)
        if self.data.weighted:
            values[self.data.weights == 0] = 0.0
        filled = 0
        for row in farthest_distinct(self.data.points, values, len(empty)):
            new[empty[filled]] = row
            filled += 1
        return filled


def measured(data: Data, total: RowSum) -> RowSum:
    """The inertia, from the sum of squared distances: of directions half of that, and one for every row of zeros."""
    return total._replace(exponent=total.exponent - 1) + data.lost if data.cosine else total


def check_directions(data: Data, centers: NDArray[Any]) -> None:
    """Refuse starting centers without a direction, where rows are compared by that."""
    if data.cosine and not centers.any(axis=1).all():
        row = int(centers.any(axis=1).argmin())
        raise ValueError(f"init is all zeros in row {row}, which has no direction: metric='cosine' can't use it.")


def labels_nowhere(data: Data, labels: NDArray[np.int32]) -> None:
    """Give rows that have no direction the label 0."""
    if isinstance(data.points, cosine.Directions):
        labels[data.points.nowhere] = 0


def farthest_distinct(points: Points, values: NDArray[np.float64], count: int) -> list[NDArray[np.float64]]:
    """Up to `count` rows by descending positive value (ascending index on ties), equal rows once."""
    chosen: list[NDArray[np.float64]] = []
    seen: set[bytes] = set()
    n_positive = int((values > 0.0).sum())
    considered = 0
    width = min(n_positive, 2 * count + 16)
    while len(chosen) < count and considered < n_positive:
        # all rows at or above the width-th largest value: ties at the cut must not be split
        cut = np.partition(values, len(values) - width)[len(values) - width]
        rows = np.flatnonzero(values >= max(cut, np.nextafter(0.0, 1.0)))
        order = rows[np.argsort(-values[rows], kind="stable")]
        for i in order[considered:]:
            row = points.take([int(i)])[0]
            key = (row + 0.0).tobytes()  # -0.0 and 0.0 are the same place
            if key not in seen:
                seen.add(key)
                chosen.append(row)
                if len(chosen) == count:
                    break
        considered = len(order)
        width = min(n_positive, 4 * width)
    return chosen


def fit(
    points: Points,
    sample_weight: NDArray[np.float64] | None,
    *,
    n_clusters: int,
    init: str | NDArray[Any] | Callable[..., Any],
    n_init: int,
    max_iter: int,
    tol: float,
    seed: np.random.SeedSequence,
    algorithm: str = "auto",
    verbose: int = 0,
    n_threads: int | None = None,
    user_X: Any = None,
    refine: str | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> FitResult:
    """Cluster the rows of `points`: the best of `n_init` restarts by exact inertia, the first on a tie.

    Parameters
    ----------
    points : Points
    sample_weight : ndarray of float64, shape (n_samples,), or None
    n_clusters : int
    init : "k-means++", "random", ndarray of shape (n_clusters, n_features), or callable
    n_init, max_iter : int
    tol : float
        Relative to the weighted mean variance of the features.
    seed : numpy.random.SeedSequence
        Restart r draws from its r-th child.
    algorithm : "auto", "lloyd" or "elkan"
        See assigner.Assigner; the result is the same.
    verbose : int
    n_threads : int or None
    user_X : object
        Handed to a callable init.
    refine : "swap" or None
        Whether every restart ends with swap moves: see `fastkmeans.refine`.
    callback : callable or None
        Called after every iteration; what it returns, if true, ends the fit with what there is.

    Returns
    -------
    FitResult
    """
    data = Data(points, sample_weight, n_threads, estimator="KMeans")
    data.lean = algorithm == "lloyd"  # which has no bounds either
    solver = Solver(data, algorithm=algorithm, max_iter=max_iter, tol=tol, verbose=verbose, callback=callback)
    best: Run | None = None
    best_restart = 0
    for restart, child in enumerate(seed.spawn(n_init)):
        solver.restart, solver.iterations = restart, 0
        start = seeding.initial_centers(data, n_clusters, init, child, user_X, print if verbose else None)
        check_directions(data, start.centers)
        if verbose:
            print("Initialization complete")
        run = solver.run(*start)
        if refine is not None:
            run, _ = swaps.refine(solver, run)
        if best is None or run.inertia.exact < best.inertia.exact:
            best, best_restart = run, restart
        if solver.stopped:
            break
    assert best is not None
    return FitResult(
        best.centers, best.labels, best.inertia.value, best.n_iter, best.converged, best.history, best.cluster_weights,
        best_restart,
    )  # fmt: skip


def predict(points: Points, centers: NDArray[Any], *, n_threads: int | None = None) -> NDArray[np.int32]:
    """Label of the nearest center of every row."""
    return _labels(Data(points, None, n_threads), centers)


def _labels(data: Data, centers: NDArray[Any]) -> NDArray[np.int32]:
    labels = np.full(data.n, -1, np.int32)
    passes.assign(data, centers, labels)
    labels_nowhere(data, labels)
    return labels


def score(
    points: Points, centers: NDArray[Any], sample_weight: NDArray[np.float64] | None, *, n_threads: int | None = None
) -> float:
    """Inertia of the rows under these centers."""
    data = Data(points, sample_weight, n_threads)
    return measured(data, passes.inertia(data, centers, _labels(data, centers))).value


def transform(points: Points, centers: NDArray[Any], *, n_threads: int | None = None) -> NDArray[Any]:
    """Euclidean distance of every row to every center, (n_samples, n_clusters); of directions, 1 - cosine."""
    dtype = np.promote_types(points.center_dtype, centers.dtype)
    distances = passes.distances(Data(points, None, n_threads), centers, dtype)
    if isinstance(points, cosine.Directions):
        distances *= distances
        distances *= 0.5
        distances[points.nowhere] = 1.0
    return distances
