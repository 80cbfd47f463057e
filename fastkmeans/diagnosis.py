"""What may be wrong with a clustering, in words and numbers, and what to do about it.

The three warnings every introduction to k-means ends with are checked on the data at hand: that it finds clusters where
there are none, that it depends on the scale of the features, and that it stops in local minima.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastkmeans.choose import Choice, choose_k
from fastkmeans.estimators import KMeans
from fastkmeans.parameters import InvalidParameterError, is_int, seed_sequence
from fastkmeans.quality import adjusted_rand

if TYPE_CHECKING:
    from fastkmeans.points import Points

OK, WARNING = "ok", "warning"
DISPARATE = 3.0  # times the smallest standard deviation, from which on the scales are said to differ
SAME_CLUSTERS = 0.9  # adjusted Rand index from which on two clusterings are said to agree
TINY = 0.1  # of the average size
UNEQUAL = 3.0  # times the smallest radius
SAME_INERTIA = 1e-3  # relative difference up to which two runs ended alike: the stop rule leaves about 1e-4
MOST_KS = 10
BLOCK_VALUES = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    topic : str
        'scale', 'tendency', 'sizes', 'stability' or 'local minimum'.
    level : str
        'ok' or 'warning'.
    text : str
        What was found.
    advice : str
        What to do.
    values : dict of str to float
        The numbers behind the text.
    """

    topic: str
    level: str
    text: str
    advice: str
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Result of `diagnose`; printed, it is the report.

    Attributes
    ----------
    findings : tuple of Finding
    model : KMeans or None
        The clustering looked at; None where none was given and the data has no structure.
    choice : Choice
        The gap statistic behind the tendency.
    """

    findings: tuple[Finding, ...]
    model: KMeans | None
    choice: Choice

    def __getitem__(self, topic: str) -> Finding:
        """The finding on a topic; KeyError where there is none."""
        for finding in self.findings:
            if finding.topic == topic:
                return finding
        raise KeyError(topic)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are warnings."""
        return tuple(finding for finding in self.findings if finding.level == WARNING)

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.topic} ({finding.level})")
            lines += textwrap.wrap(finding.text, 100, initial_indent="  ", subsequent_indent="  ")
            lines += textwrap.wrap(finding.advice, 100, initial_indent="  -> ", subsequent_indent="     ")
        return "\n".join(lines)


def diagnose(
    X: Any,
    model: KMeans | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    random_state: Any = None,
    n_restarts: int = 10,
    n_references: int = 20,
    n_threads: int | None = None,
) -> Diagnosis:
    """Look for what commonly goes wrong with k-means.

    - *scale*: whether some features vary so much more than others that they alone decide; if so, whether standardizing
      would change the clusters.
    - *tendency*: whether the data clusters more than uniform data does, by the gap statistic (see `choose_k`).
    - *sizes*: the sizes of the clusters and their radii (root mean square distance to the center).
    - *stability*: how far runs from other random starts agree, by the adjusted Rand index of all pairs of them.
    - *local minimum*: whether more restarts, or swap moves, end at a lower inertia.

    Parameters
    ----------
    X : array-like or frame of shape (n_samples, n_features)
        As for `fastkmeans.KMeans`.
    model : KMeans, optional
        A fitted one. Default: that of the k which the gap statistic chooses among 1 to 10; where it chooses none, there
        are no findings on clusters.
    feature_names : sequence of n_features str, optional
        What the report calls the features. Default: the names in X, else their numbers.
    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        As for `fastkmeans.KMeans`.
    n_restarts : int, default=10
        How many fresh runs of k-means++ are compared, at least 2.
    n_references, n_threads
        As for `choose_k`.

    Returns
    -------
    diagnosis : Diagnosis
        ``print(diagnosis)`` shows it; ``diagnosis.findings`` has the numbers.

    Raises
    ------
    ValueError
        For data as `KMeans.fit` refuses it, with other features than the model has, or with fewer than two rows; for a
        model with ``metric="cosine"``.
    TypeError
        For sparse data.
    NotFittedError
        For a model that is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans import diagnose
    >>> rng = np.random.default_rng(0)
    >>> diagnosis = diagnose(rng.random((200, 2)) * [1.0, 1000.0], random_state=0)
    >>> print(diagnosis["tendency"].text)
    No structure: the rows are as spread out as uniform data; clusters would be an arbitrary division.
    >>> diagnosis["scale"].level, [finding.topic for finding in diagnosis.warnings]
    ('warning', ['scale', 'tendency'])
    """
    from fastkmeans.points import as_points

    if not is_int(n_restarts, 2):
        raise InvalidParameterError(
            f"The 'n_restarts' parameter of diagnose must be an int of at least 2. Got {n_restarts!r} instead."
        )
    points = as_points(X, estimator="diagnose")
    if points.sparse is not None:
        raise TypeError("diagnose standardizes features, which makes rows dense: pass X.toarray() if that fits.")
    if getattr(model, "metric", "euclidean") != "euclidean":
        raise ValueError("diagnose compares squared Euclidean distances, and the model has another metric.")
    if points.n_samples < 2:
        raise ValueError("diagnose needs at least two rows.")
    if feature_names is not None and len(feature_names) != points.n_features:
        raise ValueError(f"feature_names has {len(feature_names)} names for {points.n_features} features")
    names = [repr(name) for name in feature_names or points.feature_names or []]
    names = names or [f"feature {j}" for j in range(points.n_features)]
    of_choice, of_restarts, of_scale = seed_sequence(random_state).spawn(3)
    given = model
    ks = set(range(1, min(MOST_KS, points.n_samples) + 1))
    if given is not None:
        given.predict(X)  # refuses what does not fit together, before the long part
        ks.add(len(given.cluster_centers_))
    choice = choose_k(X, sorted(ks), "gap", random_state=of_choice, n_references=n_references, n_threads=n_threads)
    model = choice.best_model if given is None else given
    findings = [_scale(X, points, names, model, of_scale, n_threads), _tendency(choice, given)]
    if model is not None:
        labels = model.predict(X)
        findings.append(_sizes(points, model, labels))
        runs = [
            KMeans(len(model.cluster_centers_), random_state=seed, n_threads=n_threads).fit(X)
            for seed in of_restarts.spawn(n_restarts)
        ]
        findings += [_stability(runs), _local_minimum(X, model, runs, choice)]
    return Diagnosis(tuple(findings), model, choice)


def moments(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every feature."""
    n, d = points.n_samples, points.n_features
    step = max(1, BLOCK_VALUES // d)
    mean, square, largest = np.zeros(d), np.zeros(d), np.zeros(d)
    for _, _, rows in points.ranges(step):
        mean += (rows.astype(np.float64) / n).sum(axis=0)
        np.maximum(largest, np.abs(rows.astype(np.float64)).max(axis=0), out=largest)
    unit = np.where(largest > 0.0, largest, 1.0)  # squares of 1e-200 and 1e200 stay in range
    for _, _, rows in points.ranges(step):
        square += (((rows - mean) / unit) ** 2 / n).sum(axis=0)
    deviation = np.sqrt(square) * unit
    deviation[deviation < 1e-12 * largest] = 0.0  # what rounding the mean of equal values leaves
    return mean, deviation


def _scale(
    X: Any,
    points: Points,
    names: list[str],
    model: KMeans | None,
    seed: np.random.SeedSequence,
    n_threads: int | None,
) -> Finding:
    mean, deviation = moments(points)
    varying = np.flatnonzero(deviation > 0.0)
    constant = points.n_features - len(varying)
    also = ""
    if constant:
        also = f" {constant} constant feature{'s make' if constant > 1 else ' makes'} no difference."
    if len(varying) < 2:
        text = f"Only one feature varies.{also}" if len(varying) else "No feature varies."
        return Finding("scale", OK, text, "Nothing.")
    most, least = varying[deviation[varying].argmax()], varying[deviation[varying].argmin()]
    ratio = float(deviation[most] / deviation[least])
    share = float((deviation[most] / deviation.max()) ** 2 / ((deviation / deviation.max()) ** 2).sum())
    values = {"ratio": ratio, "largest share of variance": share}
    text = (
        f"{names[most]} varies most (standard deviation {deviation[most]:.4g}, {share:.1%} of the"
        f" variance), {names[least]} least ({deviation[least]:.4g}): {ratio:.3g} times.{also}"
    )
    if ratio < DISPARATE:
        return Finding("scale", OK, text, "Nothing: the scales are similar.", values)
    advice = (
        "If the units are arbitrary, standardize: subtract the mean of every feature and divide by its standard"
        " deviation. If they are not, leave them."
    )
    if model is not None:
        k = len(model.cluster_centers_)
        scaled = np.empty((points.n_samples, len(varying)))
        for lo, hi, rows in points.ranges(max(1, BLOCK_VALUES // points.n_features)):
            scaled[lo:hi] = (rows[:, varying] - mean[varying]) / deviation[varying]
        other = KMeans(k, random_state=seed, refine="swap", n_threads=n_threads).fit(scaled)
        agreement = adjusted_rand(model.predict(X), other.labels_)
        values["adjusted Rand after standardizing"] = agreement
        same = agreement >= SAME_CLUSTERS
        text += (
            f" Standardized, {k} clusters {'stay nearly the same' if same else 'come out differently'} (adjusted Rand"
            f" {agreement:.2f})."
        )
        if same:
            return Finding("scale", OK, text, "Nothing: standardizing would hardly change the clusters.", values)
    return Finding("scale", WARNING, text, advice, values)


def _tendency(choice: Choice, given: KMeans | None) -> Finding:
    gaps = choice.scores
    assert choice.standard_errors is not None
    values = {"gap of one cluster": float(gaps[0])}
    if choice.best_k is None:
        return Finding(
            "tendency",
            WARNING,
            "No structure: the rows are as spread out as uniform data; clusters would be an arbitrary division.",
            "Do not read meaning into clusters of this data. If you need a division all the same (a palette, a"
            " codebook), any k serves.",
            values,
        )
    at = int(np.searchsorted(choice.ks, choice.best_k))
    margin = float((gaps[at] - gaps[0]) / choice.standard_errors[at]) if choice.standard_errors[at] else np.inf
    values |= {"gap": float(gaps[at]), "standard errors": margin, "k": float(choice.best_k)}
    text = (
        f"The rows gather in clusters: with {choice.best_k} of them the gap to uniform data is {gaps[at]:.3f}, with one"
        f" {gaps[0]:.3f}, which is {margin:.3g} standard errors less."
    )
    if given is not None and len(given.cluster_centers_) != choice.best_k:
        k = len(given.cluster_centers_)
        return Finding(
            "tendency",
            WARNING,
            f"{text} The model has {k} cluster{'s' * (k != 1)}.",
            f"Try k={choice.best_k}, and compare silhouettes.",
            values,
        )
    return Finding("tendency", OK, text, "Nothing.", values)


def _sizes(points: Points, model: KMeans, labels: NDArray[np.int32]) -> Finding:
    from fastkmeans.data import Data
    from fastkmeans.passes import own_distances

    centers = np.ascontiguousarray(model.cluster_centers_)
    k, n = len(centers), len(labels)
    sizes = np.bincount(labels, minlength=k)
    squares, _ = own_distances(Data(points, None, model.n_threads), centers, labels)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(sizes)
    rows = [order[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    radii = np.array([np.sqrt(squares[mine].mean()) if len(mine) else 0.0 for mine in rows])
    small, large = int(sizes.argmin()), int(sizes.argmax())
    values = {"smallest": float(sizes[small]), "largest": float(sizes[large])}
    text = f"Clusters have {sizes[small]:,} rows (cluster {small}) to {sizes[large]:,} (cluster {large})"
    advice = []
    wide = np.flatnonzero(radii > 0.0)
    if len(wide):
        tight, loose = int(wide[radii[wide].argmin()]), int(wide[radii[wide].argmax()])
        values |= {"smallest radius": float(radii[tight]), "largest radius": float(radii[loose])}
        text += f" and radii of {radii[tight]:.4g} (cluster {tight}) to {radii[loose]:.4g} (cluster {loose})"
        if radii[loose] > UNEQUAL * radii[tight]:
            advice.append(
                "k-means draws the border halfway between centers and so gives rows of a wide cluster to a narrow"
                " neighbor: look at the silhouette of the rows between them, or try more clusters."
            )
    if k > 1 and sizes[small] < TINY * n / k:
        tiny = np.flatnonzero(sizes < TINY * n / k)
        advice.append(
            f"Look at the rows of cluster{'s' * (len(tiny) != 1)} {', '.join(map(str, tiny[:10]))}: so few may be"
            " outliers, which are better taken out before fitting."
        )
    return Finding("sizes", WARNING if advice else OK, text + ".", " ".join(advice) or "Nothing.", values)


def _stability(runs: list[KMeans]) -> Finding:
    pairs = [adjusted_rand(a.labels_, b.labels_) for i, a in enumerate(runs) for b in runs[:i]]
    average, lowest = float(np.mean(pairs)), float(np.min(pairs))
    text = (
        f"{len(runs)} runs from other random starts agree with one another to an adjusted Rand index of {average:.3f}"
        f" on average, {lowest:.3f} at least."
    )
    values = {"average": average, "lowest": lowest}
    if average >= SAME_CLUSTERS:
        return Finding("stability", OK, text, "Nothing: the clusters hardly depend on the start.", values)
    return Finding(
        "stability",
        WARNING,
        text,
        "The clusters depend on the start: take the best of several (n_init=10, refine='swap'), and if its runs still"
        " disagree, try another k.",
        values,
    )


def _local_minimum(X: Any, model: KMeans, runs: list[KMeans], choice: Choice) -> Finding:
    k = len(model.cluster_centers_)
    own = -model.score(X)
    swept = float(choice.inertias[int(np.searchsorted(choice.ks, k))])
    ends = [run.inertia_ for run in runs]
    best = min(*ends, swept, own)
    reached = sum(end <= best * (1.0 + SAME_INERTIA) for end in ends)
    gained = 1.0 - best / own if own > 0.0 else 0.0
    values = {"inertia": own, "best inertia": best, "gain": gained, "restarts that reach the best": float(reached)}
    text = f"{reached} of {len(runs)} restarts end at the lowest inertia found, {best:.6g}"
    if gained > SAME_INERTIA:
        return Finding(
            "local minimum",
            WARNING,
            f"{text}; the model's is {own:.6g}: {gained:.2%} could be gained.",
            "Fit again with refine='swap', or with n_init=10.",
            values,
        )
    text += ", which is the model's."
    if reached < len(runs) / 2:
        return Finding(
            "local minimum", OK, text, "Most single starts stop short of it: keep refine='swap', or n_init=10.", values
        )
    return Finding("local minimum", OK, text, "Nothing.", values)
