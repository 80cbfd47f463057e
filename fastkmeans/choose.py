"""How many clusters: fits for a range of k, a score for each, a verdict and the reason for it in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkmeans.estimators import KMeans
from fastkmeans.parameters import InvalidParameterError, check_parameters, is_int, seed_sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastkmeans.points import Points

METHODS = ("elbow", "silhouette", "gap")
CLEAR_ELBOW = 4.0  # how many times more the last cluster must gain than the next: data without clusters stays below 3.2
CLEAR_SILHOUETTE = 0.25  # below it Kaufman & Rousseeuw (1990) see no substantial structure
NEAR_SILHOUETTE = 0.94  # of the highest average: as good as it; of the average of a k at the next k: a fall
CLEAR_GAP = 4.0  # standard errors by which the best gap must exceed that of one cluster
EXACT_ROWS = 20_000  # more than that, and the silhouette is the simplified one


class _Verdict(NamedTuple):
    best_k: int | None
    reason: str


@dataclass(frozen=True, eq=False)
class Choice:
    """Result of `choose_k`.

    Attributes
    ----------
    method : str
        As it was given.
    ks : ndarray of int
        Ascending.
    inertias : ndarray of float64
        Inertia for each k.
    scores : ndarray of float64
        Score of the method for each k, NaN where there is none: sharpness of the elbow, average silhouette, gap.
    standard_errors : ndarray of float64, or None
        Of the gaps; None for the other methods.
    models : tuple of KMeans
        Fitted, one for each k.
    best_k : int or None
        The verdict; None where there is no structure or no clear elbow.
    reason : str
        One sentence.
    """

    method: str
    ks: NDArray[np.int64]
    inertias: NDArray[np.float64]
    scores: NDArray[np.float64]
    standard_errors: NDArray[np.float64] | None
    models: tuple[KMeans, ...]
    best_k: int | None
    reason: str

    @property
    def best_model(self) -> KMeans | None:
        """The model of `best_k`, if there is one."""
        return None if self.best_k is None else self.models[int(np.searchsorted(self.ks, self.best_k))]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw inertia or score by k with the chosen k marked; see `fastkmeans.charts.plot_choice`."""
        from fastkmeans.charts import plot_choice

        return plot_choice(self, ax=ax)

    def table(self) -> list[list[str]]:
        """Header and one row per k, as text."""
        header = ["k", "inertia", {"elbow": "sharpness"}.get(self.method, self.method)]
        rows = [
            [str(k), f"{inertia:.10g}", "" if np.isnan(score) else f"{score:.4f}"]
            for k, inertia, score in zip(self.ks, self.inertias, self.scores, strict=True)
        ]
        if self.standard_errors is not None:
            header.append("error")
            for row, error in zip(rows, self.standard_errors, strict=True):
                row.append(f"{error:.4f}")
        return [header, *rows]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join([*lines, self.reason])


def choose_k(
    X: Any,
    ks: Iterable[int] = range(1, 11),
    method: str = "elbow",
    *,
    random_state: Any = None,
    n_references: int = 20,
    max_iter: int = 300,
    tol: float = 1e-4,
    n_threads: int | None = None,
) -> Choice:
    """Choose the number of clusters.

    Fits for all `ks` share the data, and each starts from the one before it by cutting the clusters that lose most
    inertia in two, with swap moves against local minima (as ``KMeans(refine="swap")``): the sweep takes a fraction of
    the time that separate fits take.

    Parameters
    ----------
    X : array-like or frame of shape (n_samples, n_features)
        As for `fastkmeans.KMeans`.
    ks : iterable of int, default=range(1, 11)
        Numbers of clusters to try, each at most n_samples.
    method : {'elbow', 'silhouette', 'gap'}, default='elbow'
        - 'elbow': the sharpest corner of the logarithm of the inertia. The sharpness of k is the fall of log inertia
          from the previous k, per cluster, divided by that to the next; the fall to the next counts as at least half
          of what cutting one of k equal Gaussian clusters gains, 1 / (pi k d). The first and the last k have no corner.
          Below a sharpness of 4 there is no clear elbow: without clusters it hardly exceeds 3.
        - 'silhouette': the highest average silhouette (`silhouette` up to 20,000 rows, `simplified_silhouette`
          beyond), or a larger k within 6 % of it where the average falls more steeply to the next k, by 6 % at least:
          clusters that lie closer to each other than to the others raise the average when they count as one, a cluster
          cut in two brings it down. Where they lie much closer they do count as one. Below 0.25 there is no substantial
          structure [1]_. It cannot tell one cluster from several: data spread evenly gets a k too.
        - 'gap': the gap statistic [2]_, how far log inertia lies below that of data drawn uniformly from the box along
          the principal axes. There is no structure unless the highest gap exceeds that of one cluster by 4 standard
          errors; if it does, the smallest k > 1 within one standard error of the highest gap is chosen (the
          standard-error rule, applied to the highest gap [3]_, for clusters in groups make the gap dip). One cluster is
          added to `ks` where it is missing.
    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        As for `fastkmeans.KMeans`: the start of the first fit, and the references.
    n_references : int, default=20
        For 'gap': how many data sets are drawn, at least 2; of as many rows as X, but at most 10,000.
    max_iter, tol, n_threads
        As for `fastkmeans.KMeans`.

    Returns
    -------
    choice : Choice
        ``choice.best_k``, ``choice.reason``, ``choice.models`` and more; ``choice.plot()`` draws it.

    Raises
    ------
    ValueError
        For data as `KMeans.fit` refuses it, and parameters that cannot be used.

    References
    ----------
    .. [1] L. Kaufman, P. J. Rousseeuw, "Finding groups in data", Wiley, 1990.
    .. [2] R. Tibshirani, G. Walther, T. Hastie, "Estimating the number of clusters in a data set via the gap
       statistic", Journal of the Royal Statistical Society B 63, 2001, pp. 411-423.
    .. [3] S. Dudoit, J. Fridlyand, "A prediction-based resampling method for estimating the number of clusters in a
       dataset", Genome Biology 3(7), 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans import choose_k
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 50, axis=0) + rng.normal(size=(150, 2))
    >>> choice = choose_k(X, random_state=0)
    >>> choice.best_k, choice.best_model.cluster_weights_
    (3, array([50., 50., 50.]))
    >>> choose_k(rng.random((150, 2)), method="gap", random_state=0).best_k is None
    True
    """
    from fastkmeans.data import Data
    from fastkmeans.points import as_points
    from fastkmeans.sweep import sweep

    numbers = _checked(ks, method, n_references)
    check_parameters(KMeans(max_iter=max_iter, tol=tol, n_threads=n_threads, random_state=random_state))
    points = as_points(X, estimator="choose_k")
    if points.n_samples < numbers[-1]:
        raise ValueError(f"n_samples={points.n_samples} should be >= {numbers[-1]}, the largest of ks.")
    of_sweep, of_references = seed_sequence(random_state).spawn(2)
    data = Data(points, None, n_threads, estimator="choose_k")
    models = []
    for k, result in zip(numbers, sweep(data, numbers, of_sweep, max_iter=max_iter, tol=tol), strict=True):
        model = KMeans(k, max_iter=max_iter, tol=tol, n_threads=n_threads)
        model._keep(points, result)
        models.append(model)
    inertias = np.array([model.inertia_ for model in models])
    scores, errors = np.full(len(numbers), np.nan), None
    if method == "silhouette":
        scores = _silhouettes(X, models, n_threads)
        verdict = _highest_silhouette(numbers, scores)
    elif inertias[0] == 0.0:
        verdict = _Verdict(None, "All rows are equal: there is nothing to cluster.")
    elif method == "elbow":
        scores = sharpness(numbers, inertias, points.n_features)
        verdict = _elbow(numbers, inertias, scores)
    else:
        scores, errors = _gaps(points, numbers, inertias, of_references, n_references, max_iter, tol, n_threads)
        verdict = _highest_gap(numbers, scores, errors)
    return Choice(method, np.array(numbers), inertias, scores, errors, tuple(models), verdict.best_k, verdict.reason)


def _checked(ks: Iterable[int], method: str, n_references: int) -> list[int]:
    """Ascending ks, each once, and with 1 where the method needs it."""
    if method not in METHODS:
        allowed = ", ".join(map(repr, METHODS))
        raise InvalidParameterError(
            f"The 'method' parameter of choose_k must be one of {allowed}. Got {method!r} instead."
        )
    if not is_int(n_references, 2):
        raise InvalidParameterError(
            f"The 'n_references' parameter of choose_k must be an int of at least 2. Got {n_references!r} instead."
        )
    given = list(ks)
    if not given or not all(is_int(k, 1) for k in given):
        raise InvalidParameterError(
            f"The 'ks' parameter of choose_k must be ints of at least 1. Got {given!r} instead."
        )
    numbers = {int(k) for k in given} | ({1} if method == "gap" else set())
    if method == "elbow" and len(numbers) < 3:
        raise InvalidParameterError(f"An elbow needs at least three different ks, got {sorted(numbers)}.")
    if method != "elbow" and max(numbers) < 2:
        raise InvalidParameterError("The 'ks' parameter of choose_k must have a number above 1.")
    return sorted(numbers)


# -- elbow ------------------------------------------------------------------------------------------------------------
def sharpness(ks: list[int], inertias: NDArray[np.float64], n_features: int) -> NDArray[np.float64]:
    """Sharpness of the corner that log inertia has at each k; NaN at both ends and from the first zero inertia on."""
    found = np.full(len(ks), np.nan)
    known = len(ks) if inertias.all() else int(np.argmin(inertias))  # the inertia is zero from there on
    logs = np.log(inertias[:known])
    for i in range(1, known - 1):
        before = max(0.0, logs[i - 1] - logs[i]) / (ks[i] - ks[i - 1])
        after = max(0.0, logs[i] - logs[i + 1]) / (ks[i + 1] - ks[i])
        found[i] = before / max(after, 1.0 / (np.pi * ks[i] * n_features))
    return found


def _elbow(ks: list[int], inertias: NDArray[np.float64], scores: NDArray[np.float64]) -> _Verdict:
    if not inertias.all():
        k = ks[int(np.argmin(inertias))]
        return _Verdict(k, f"k={k}: every row lies on its center, more clusters gain nothing.")
    i = int(np.nanargmax(scores))
    k, score = ks[i], scores[i]
    falls = [1.0 - inertias[at + 1] / inertias[at] for at in (i - 1, i)]
    said = (
        f"from {ks[i - 1]} to {k} clusters the inertia falls by {falls[0]:.1%}, from {k} to {ks[i + 1]} by"
        f" {falls[1]:.1%}; the corner's sharpness is {score:.1f}"
    )
    if score < CLEAR_ELBOW:
        return _Verdict(None, f"No clear elbow: the sharpest corner is at k={k}, where {said}, below {CLEAR_ELBOW:g}.")
    return _Verdict(k, f"k={k} is the elbow: {said}.")


# -- silhouette -------------------------------------------------------------------------------------------------------
def _silhouettes(X: Any, models: list[KMeans], n_threads: int | None) -> NDArray[np.float64]:
    from fastkmeans.quality import silhouette, simplified_silhouette

    scores = np.full(len(models), np.nan)
    for i, model in enumerate(models):
        n, n_found = len(model.labels_), np.count_nonzero(model.cluster_weights_)
        if n > EXACT_ROWS and model.n_clusters > 1:
            scores[i] = simplified_silhouette(X, model.labels_, model.cluster_centers_, n_threads=n_threads).score
        elif 1 < n_found < n:
            scores[i] = silhouette(X, model.labels_, n_threads=n_threads).score
    return scores


def _highest_silhouette(ks: list[int], scores: NDArray[np.float64]) -> _Verdict:
    if np.isnan(scores).all():
        return _Verdict(
            None, "No k gives between two clusters and one less than there are rows: there is no silhouette."
        )
    i = int(np.nanargmax(scores))
    if scores[i] < CLEAR_SILHOUETTE:
        return _Verdict(
            None,
            f"No substantial structure: the highest average silhouette, at k={ks[i]}, is {scores[i]:.3f}, below"
            f" {CLEAR_SILHOUETTE:g}.",
        )
    falls = {
        at: scores[at + 1] / scores[at] for at in range(i, len(ks) - 1) if scores[at] >= NEAR_SILHOUETTE * scores[i]
    }
    chosen = min((at for at in falls if falls[at] < NEAR_SILHOUETTE), key=falls.__getitem__, default=i)
    if chosen != i:
        return _Verdict(
            ks[chosen],
            f"k={ks[chosen]} has an average silhouette of {scores[chosen]:.3f}, near the highest, {scores[i]:.3f} at"
            f" k={ks[i]}, and a steeper fall to the next, {scores[chosen + 1]:.3f} at k={ks[chosen + 1]}.",
        )
    others = np.where(np.arange(len(ks)) == i, np.nan, scores)
    reason = f"k={ks[i]} has the highest average silhouette, {scores[i]:.3f}"
    if not np.isnan(others).all():
        second = int(np.nanargmax(others))
        reason += f"; the next is {scores[second]:.3f} at k={ks[second]}"
    return _Verdict(ks[i], reason + ".")


# -- gap --------------------------------------------------------------------------------------------------------------
def _gaps(
    points: Points,
    ks: list[int],
    inertias: NDArray[np.float64],
    seed: np.random.SeedSequence,
    n_references: int,
    max_iter: int,
    tol: float,
    n_threads: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gaps and their standard errors; a gap is infinite where the inertia is zero."""
    from fastkmeans.gap import log_inertia, reference_curves

    curves = reference_curves(points, ks, seed, n_references, max_iter=max_iter, tol=tol, n_threads=n_threads)
    own = np.array([log_inertia(float(inertia), points.n_samples) for inertia in inertias])
    finite = np.isfinite(curves).all(axis=0)
    means, spread = np.full(len(ks), np.nan), np.full(len(ks), np.nan)
    means[finite] = curves[:, finite].mean(axis=0)
    spread[finite] = curves[:, finite].std(axis=0)
    return means - own, spread * np.sqrt(1.0 + 1.0 / n_references)


def _highest_gap(ks: list[int], gaps: NDArray[np.float64], errors: NDArray[np.float64]) -> _Verdict:
    top = int(np.nanargmax(gaps))
    if top == 0 or not gaps[top] - gaps[0] > CLEAR_GAP * errors[top]:
        return _Verdict(
            None,
            f"No structure: no gap exceeds that of one cluster, {gaps[0]:.3f}, by {CLEAR_GAP:g} standard errors; the"
            " rows are as spread out as rows without clusters.",
        )
    close = np.flatnonzero(gaps[1:] >= gaps[top] - errors[top]) + 1
    i = int(close[0])
    highest = (
        "the highest gap"
        if i == top
        else f"within one standard error of the highest gap, {gaps[top]:.3f} at k={ks[top]}"
    )
    return _Verdict(
        ks[i],
        f"k={ks[i]} has a gap of {gaps[i]:.3f}, {highest}, where one cluster has {gaps[0]:.3f}"
        f" (standard error {errors[i]:.3f}).",
    )
