"""Mini-batch k-means (Sculley 2010): centers follow batches of rows, each the mean of all that it was ever given.

A batch is reduced by the dense pass: labels by canonical values, sums by integers, so that a step depends on its rows
and on nothing else. Centers and counts are kept in float64 whatever the data is; labels refer to the centers as they
are stored for the user, in the center dtype.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import passes, seeding
from . import refine as swaps
from .cosine import unit_rows
from .data import Data
from .passes import Measure, Sums
from .solver import Solver, check_directions, labels_nowhere, measured

START_ITERATIONS = 10  # of every run that improves a start
ROWS_PER_CLUSTER = 10  # after so many rows per cluster, clusters with few rows get new centers


class Centers:
    """Centers that move with every batch.

    Parameters
    ----------
    centers : ndarray of shape (k, d)
        Where they start, in the center dtype.
    rng : Generator
        Draws batches, and rows that become new centers.
    cosine : bool
        Whether rows are directions.

    Attributes
    ----------
    exact : ndarray of float64, shape (k, d)
        The means; of directions, too.
    counts : ndarray of float64, shape (k,)
        The weight that each center is the mean of.
    since : int
        Rows since the last time that clusters with few rows got new centers.
    """

    def __init__(self, centers: NDArray[Any], rng: np.random.Generator, *, cosine: bool = False) -> None:
        self.cosine = cosine
        self.dtype = centers.dtype
        self.held = centers  # what was stored before the last step: the direction of a mean that is zero
        self.exact = centers.astype(np.float64)
        self.counts = np.zeros(len(centers))
        self.since = 0
        self.rng = rng

    def copy(self) -> Centers:
        """One of its own, which draws what this one would draw."""
        other = copy.copy(self)
        other.exact, other.counts, other.rng = self.exact.copy(), self.counts.copy(), copy.deepcopy(self.rng)
        return other

    def take_over(self, centers: NDArray[Any]) -> None:
        """Go on from `centers` if they are not the stored ones: somebody has set them."""
        if not np.array_equal(centers, self.stored):
            self.exact = np.array(centers, np.float64)
            if self.cosine:
                self.exact = unit_rows(self.exact, self.held.astype(np.float64))

    @property
    def stored(self) -> NDArray[Any]:
        """The centers in the center dtype: those that labels refer to, of length one where rows are directions."""
        return unit_rows(self.exact, self.held) if self.cosine else self.exact.astype(self.dtype)

    def step(self, batch: Data, *, reassignment_ratio: float, verbose: int = 0) -> float:
        """Move the centers by one batch.

        Returns
        -------
        inertia : float
            Of the batch, at the centers that it found.
        """
        self.held = stored = self.stored
        k = len(stored)
        labels = np.full(batch.n, -1, np.int32)
        sums = Sums(batch, k, passes.pass_lanes(batch, k))
        to_label = Measure(batch, stored)
        passes.assign(batch, stored, labels, sums, to_label)
        inertia = measured(batch, passes.inertia(batch, stored, labels, to_label)).value
        means = np.zeros(stored.shape)
        passes.update_centers(batch, sums, stored, means)
        weights = np.ldexp(sums.weights.astype(np.float64), batch.unit_exponent)
        moved = weights > 0.0
        self.counts += weights
        rate = (weights[moved] / self.counts[moved])[:, None]
        # elementwise, so the same everywhere; a center that is the mean of nothing yet becomes the batch's
        target, old = means[moved], self.exact[moved]
        self.exact[moved] = np.where(rate == 1.0, target, old + rate * (target - old))
        self.since += batch.n
        if (self.counts == 0.0).any() or self.since >= ROWS_PER_CLUSTER * k:
            self.since = 0
            if reassignment_ratio > 0.0:
                self._reassign(batch, reassignment_ratio, verbose)
        return inertia

    def _reassign(self, batch: Data, ratio: float, verbose: int) -> None:
        """Put centers with less than `ratio` times the largest count on rows of the batch, on half of them at most."""
        low = self.counts < ratio * self.counts.max()
        rows = np.flatnonzero(batch.weights) if batch.weighted else np.arange(batch.n)
        most = min(batch.n // 2, len(rows))
        if low.sum() > most:
            low[np.argsort(self.counts, kind="stable")[most:]] = False
        count = int(low.sum())
        if count == 0:
            return
        if verbose:
            print(f"[MiniBatchKMeans] Reassigning {count} cluster centers.")
        self.exact[low] = batch.points.take(self.rng.permutation(rows)[:count])
        self.counts[low] = self.counts[~low].min()  # not so low that they would be replaced at once


class Result(NamedTuple):
    """The end of `fit`.

    Attributes
    ----------
    centers : Centers
    n_steps : int
    mean_inertia : float
        Per row: a moving average over the batches.
    """

    centers: Centers
    n_steps: int
    mean_inertia: float


class Draws:
    """Draws of rows by weight, with replacement."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.prefix = np.cumsum(data.weights) if data.weighted else None

    def rows(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """`count` rows, ascending: the order has no influence, and memory likes it."""
        drawn = rng.integers(0, self.data.total_weight, size=count)
        if self.prefix is not None:
            drawn = np.searchsorted(self.prefix, drawn, side="right")
        return np.sort(drawn).astype(np.intp, copy=False)


class Plateau:
    """Whether the moving average of the batches' inertia has stopped falling, or the centers have stopped moving.

    Parameters
    ----------
    share : float
        Of the rows, in one batch.
    tolerance : float
        Squared shift of the centers below which they stand still; 0 means never.
    patience : int or None
        Batches in a row without a lower average; None means that it does not matter.
    verbose : bool
    """

    def __init__(self, share: float, tolerance: float, patience: int | None, n_steps: int, verbose: int) -> None:
        self.alpha = min(2.0 * share, 1.0)
        self.tolerance = tolerance
        self.patience = patience
        self.n_steps = n_steps
        self.verbose = verbose
        self.average: float | None = None
        self.lowest = math.inf
        self.in_vain = 0

    def reached(self, step: int, mean_inertia: float, shift: float) -> bool:
        """Take a batch's figures; `step` counts from 1, and the first says nothing: it is about the start."""
        text = f"Minibatch step {step}/{self.n_steps}: mean batch inertia: {mean_inertia}"
        if step == 1:
            self._say(text)
            return False
        if self.average is None:
            self.average = mean_inertia
        else:
            self.average = self.average * (1.0 - self.alpha) + mean_inertia * self.alpha
        self._say(f"{text}, ewa inertia: {self.average}")
        if self.tolerance > 0.0 and shift <= self.tolerance:
            self._say(f"Converged (small centers change) at step {step}/{self.n_steps}")
            return True
        self.in_vain = 0 if self.average < self.lowest else self.in_vain + 1
        self.lowest = min(self.lowest, self.average)
        if self.patience is not None and self.in_vain >= self.patience:
            self._say(f"Converged (lack of improvement in inertia) at step {step}/{self.n_steps}")
            return True
        return False

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)


def start(
    data: Data, n_clusters: int, init: Any, seed: np.random.SeedSequence, size: int, draws: Draws,
    user_rows: Callable[..., Any],
) -> NDArray[Any]:  # fmt: skip
    """Starting centers, from `size` rows drawn by weight where there are more.

    Those that are drawn by name are improved on the same rows, by iterations and swap moves: some rows of each cluster
    suffice to see which clusters lack a center, and batches would not bring one there.
    """
    rows = None
    if size < data.n and (isinstance(init, str) or callable(init)):
        rows_seed, seed = seed.spawn(2)
        rows = draws.rows(size, np.random.Generator(np.random.PCG64(rows_seed)))
        data = data.part(rows, unweighted=True)
    first = seeding.initial_centers(data, n_clusters, init, seed, user_rows(rows) if callable(init) else None)
    check_directions(data, first.centers)
    if not isinstance(init, str):
        return first.centers
    solver = Solver(data, algorithm="lloyd", max_iter=START_ITERATIONS, tol=0.0, verbose=0)
    return swaps.refine(solver, solver.run(*first))[0].centers


def fit(
    data: Data,
    *,
    n_clusters: int,
    init: Any,
    n_init: int,
    init_size: int,
    batch_size: int,
    max_iter: int,
    tol: float,
    max_no_improvement: int | None,
    reassignment_ratio: float,
    seed: np.random.SeedSequence,
    verbose: int = 0,
    user_rows: Callable[..., Any] = lambda rows: None,
) -> Result:
    """Move centers by batches drawn from `data` until nothing is gained any more.

    Parameters
    ----------
    data : Data
    n_clusters : int
    init : str, ndarray or callable
    n_init : int
        Starts that are compared, on `init_size` rows; the best goes on.
    init_size, batch_size : int
        Rows, at most all.
    max_iter : int
        Most rows that are drawn, in times the rows of `data`.
    tol : float
        Shift of the centers, relative to the variance, below which the fit ends; 0 means never.
    max_no_improvement : int or None
        Batches in a row that do not lower the average inertia and after which the fit ends.
    reassignment_ratio : float
        See Centers.
    seed : SeedSequence
    verbose : int
    user_rows : callable
        Gives a callable init the rows of some indices, or all for None.

    Returns
    -------
    Result
    """
    draws = Draws(data)
    check_seed, batch_seed, *init_seeds = seed.spawn(2 + n_init)
    best: NDArray[Any] | None = None
    lowest = math.inf
    check = None
    if n_init > 1:
        rows = draws.rows(init_size, np.random.Generator(np.random.PCG64(check_seed)))
        check = data.part(rows, unweighted=True)
    for t, child in enumerate(init_seeds):
        if verbose:
            print(f"Init {t + 1}/{n_init} with method {init}")
        centers = start(data, n_clusters, init, child, init_size, draws, user_rows)
        if check is None:
            best = centers
            continue
        labels = np.full(check.n, -1, np.int32)
        passes.assign(check, centers, labels)
        inertia = measured(check, passes.inertia(check, centers, labels)).value
        if verbose:
            print(f"Inertia for init {t + 1}/{n_init}: {inertia}")
        if best is None or inertia < lowest:
            best, lowest = centers, inertia
    assert best is not None
    moving = Centers(best, np.random.Generator(np.random.PCG64(batch_seed)), cosine=data.cosine)
    n_steps = max_iter * data.n // batch_size
    tolerance = tol * mean_variance(data) if tol > 0.0 else 0.0
    plateau = Plateau(batch_size / (data.n + 1), tolerance, max_no_improvement, n_steps, verbose)
    mean_inertia = math.nan
    for step in range(1, n_steps + 1):
        batch = data.part(draws.rows(batch_size, moving.rng), unweighted=True)
        before = moving.exact.copy() if tol > 0.0 else moving.exact
        mean_inertia = moving.step(batch, reassignment_ratio=reassignment_ratio, verbose=verbose) / batch_size
        shift = math.fsum(((moving.exact - before) ** 2).ravel()) if tol > 0.0 else 0.0
        if plateau.reached(step, mean_inertia, shift):
            break
    return Result(moving, step, mean_inertia if plateau.average is None else plateau.average)


def mean_variance(data: Data) -> float:
    """The mean over the features of their weighted variance."""
    centers = np.zeros((1, data.d), data.points.center_dtype)
    labels = np.full(data.n, -1, np.int32)
    sums = Sums(data, 1, passes.pass_lanes(data, 1))
    passes.assign(data, centers, labels, sums)
    mean = passes.mean_of_rows(data, sums).reshape(1, -1)
    total = float(np.ldexp(float(data.total_weight), data.unit_exponent))
    return passes.inertia(data, mean, labels).value / total / data.d


def labels_and_inertia(data: Data, centers: NDArray[Any]) -> tuple[NDArray[np.int32], float]:
    """The nearest center of every row, and the weighted sum of the squared distances to them."""
    labels = np.full(data.n, -1, np.int32)
    to_label = Measure(data, centers)
    passes.assign(data, centers, labels, None, to_label)
    labels_nowhere(data, labels)
    return labels, measured(data, passes.inertia(data, centers, labels, to_label)).value
