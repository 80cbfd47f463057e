"""How good is a clustering: the silhouette, exact or by distances to centers, and the agreement of two labelings.

Nothing here depends on threads or on the order of the rows: distances are rounded to a grid once and added as integers
(see `fastkmeans.kernels.silhouette`), and so are the averages over rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastkmeans.points import Points

UNIT_BITS = 52  # a silhouette value is averaged as a whole number of 2**-52
HALF = 26
PAIRS_AT_A_TIME = 2e9  # features of pairs a thread looks at between two chances to interrupt, about half a second


class ClusterSilhouette(NamedTuple):
    """One cluster's share of a silhouette.

    Attributes
    ----------
    label : int
        Its label.
    size : int
        Number of its rows.
    mean, lowest : float
        Average and lowest value of its rows.
    n_negative : int
        How many of its rows are nearer to another cluster, on average.
    """

    label: int
    size: int
    mean: float
    lowest: float
    n_negative: int


@dataclass(frozen=True, eq=False)
class Silhouette:
    """Result of `silhouette` and `simplified_silhouette`.

    Attributes
    ----------
    score : float
        Average of `values` over all rows.
    values : ndarray of shape (n_samples,), float64
        ``(b - a) / max(a, b)`` of each row, from -1 (in the wrong cluster) over 0 (between two) to 1; 0 where the row
        is alone in its cluster. a is its distance to its own cluster, b that to the nearest other one.
    labels : ndarray of shape (n_samples,)
        The labels that were given.
    neighbors : ndarray of shape (n_samples,)
        Label of the nearest other cluster of each row.
    clusters : tuple of ClusterSilhouette
        A summary per cluster, in the order of labels.
    simplified : bool
        Whether distances are those to centers.
    """

    score: float
    values: NDArray[np.float64]
    labels: NDArray[Any]
    neighbors: NDArray[Any]
    clusters: tuple[ClusterSilhouette, ...]
    simplified: bool

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the profile of every cluster; see `fastkmeans.charts.plot_silhouette`."""
        from fastkmeans.charts import plot_silhouette

        return plot_silhouette(self, ax=ax)

    def __str__(self) -> str:
        kind = "simplified silhouette" if self.simplified else "silhouette"
        lines = [f"{kind} {self.score:.4f}", "cluster    size    mean  lowest  negative"]
        lines += [f"{c.label:>7} {c.size:>7} {c.mean:>7.4f} {c.lowest:>7.4f} {c.n_negative:>9}" for c in self.clusters]
        return "\n".join(lines)


def silhouette(X: Any, labels: ArrayLike, *, n_threads: int | None = None) -> Silhouette:
    """Silhouette of a clustering (Rousseeuw 1987 [1]_), exactly: every row against every other.

    Time grows with n_samples squared times n_features; memory does not: no matrix of distances is made, only a float64
    copy of X. The result has the same bits for any number of threads, and permuting the rows permutes it.

    Parameters
    ----------
    X : array-like or frame of shape (n_samples, n_features)
        Real numbers of any dtype, as for `fastkmeans.KMeans`.
    labels : array-like of int, shape (n_samples,)
        Cluster of each row; any integers, of which there are between 2 and n_samples - 1 different ones.
    n_threads : int or None, default=None
        Number of threads; None for all that Numba may use.

    Returns
    -------
    result : Silhouette
        ``result.score`` is the average, equal to scikit-learn's ``silhouette_score``.

    Raises
    ------
    ValueError
        For data as `KMeans.fit` refuses it, and for labels that are not one integer per row or too few or too many.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
       Journal of Computational and Applied Mathematics 20, 1987, pp. 53-65.

    Examples
    --------
    >>> from fastkmeans import silhouette
    >>> result = silhouette([[0.0], [1.0], [8.0], [10.0]], [0, 0, 1, 1])
    >>> result.values.round(3)
    array([0.889, 0.875, 0.733, 0.789])
    >>> round(result.score, 4), [c.size for c in result.clusters]
    (0.8217, [2, 2])
    """
    from fastkmeans.data import Data
    from fastkmeans.points import as_points

    points = as_points(X, estimator="silhouette")
    names, numbers = _numbered(labels, points.n_samples)
    sizes = np.bincount(numbers)
    data = Data(points, None, n_threads, estimator="silhouette")
    order = np.argsort(numbers, kind="stable")
    own, other, neighbor = _mean_distances(data, points, order, numbers[order], sizes)
    result = np.empty((3, data.n))
    result[:, order] = own, other, neighbor
    alone = sizes[numbers] == 1
    return _result(names, numbers, sizes, result[0], result[1], result[2].astype(np.intp), alone, simplified=False)


def simplified_silhouette(X: Any, labels: ArrayLike, centers: ArrayLike, *, n_threads: int | None = None) -> Silhouette:
    """Silhouette by distances to centers (Hruschka et al. 2004 [1]_): for any number of rows.

    a is the distance of a row to the center of its cluster, b that to the nearest other center. For the labels of a
    fitted `KMeans` no value is negative. Time grows with n_samples times n_clusters.

    Parameters
    ----------
    X : array-like or frame of shape (n_samples, n_features)
        As for `silhouette`.
    labels : array-like of int, shape (n_samples,)
        Index of each row's center.
    centers : array-like of shape (n_clusters, n_features)
        At least two.
    n_threads : int or None, default=None
        As for `silhouette`.

    Returns
    -------
    result : Silhouette
        A center without rows has size 0 and values of 0.

    Raises
    ------
    ValueError
        As `silhouette`; for centers of another shape, and labels that are no index of them.

    References
    ----------
    .. [1] E. R. Hruschka, L. N. de Castro, R. J. G. B. Campello, "Evolutionary algorithms for clustering
       gene-expression data", Fourth IEEE International Conference on Data Mining, 2004, pp. 403-406.

    Examples
    --------
    >>> from fastkmeans import KMeans, simplified_silhouette
    >>> X = [[0.0], [1.0], [8.0], [10.0]]
    >>> model = KMeans(2, init=[[0.0], [9.0]]).fit(X)
    >>> round(simplified_silhouette(X, model.labels_, model.cluster_centers_).score, 4)
    0.9108
    """
    from fastkmeans.data import Data
    from fastkmeans.points import as_points, raise_nonfinite

    points = as_points(X, estimator="simplified_silhouette")
    given = as_points(centers, name="centers", estimator="simplified_silhouette")
    if given.n_features != points.n_features or given.n_samples < 2:
        raise ValueError(
            f"centers must have shape (at least 2, {points.n_features}), got {(given.n_samples, given.n_features)}."
        )
    if given.first_nonfinite() is not None:
        raise_nonfinite(given, "simplified_silhouette")
    k = given.n_samples
    numbers = _integers(labels, points.n_samples)
    if numbers.min() < 0 or numbers.max() >= k:
        raise ValueError(
            f"labels must be from 0 to {k - 1}, the indices of centers; got {numbers.min()} to {numbers.max()}."
        )
    data = Data(points, None, n_threads, estimator="simplified_silhouette")
    own, other, neighbor = _center_distances(data, given.take(np.arange(k)), numbers)
    sizes = np.bincount(numbers, minlength=k)
    return _result(np.arange(k), numbers, sizes, np.sqrt(own), np.sqrt(other), neighbor, own < 0, simplified=True)


def adjusted_rand(first: ArrayLike, second: ArrayLike) -> float:
    """Adjusted Rand index of two labelings (Hubert & Arabie 1985 [1]_): 1 when they agree, about 0 by chance.

    Parameters
    ----------
    first, second : array-like of int, shape (n_samples,)
        Labels of the same rows; any integers.

    Returns
    -------
    index : float
        Computed from exact counts.

    References
    ----------
    .. [1] L. Hubert, P. Arabie, "Comparing partitions", Journal of Classification 2, 1985, pp. 193-218.

    Examples
    --------
    >>> from fastkmeans.quality import adjusted_rand
    >>> adjusted_rand([0, 0, 1, 1], [5, 5, 3, 3])
    1.0
    >>> round(adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]), 3)
    -0.5
    """
    a = np.unique(np.asarray(first), return_inverse=True)[1].ravel()
    b = np.unique(np.asarray(second), return_inverse=True)[1].ravel()
    if a.shape != b.shape:
        raise ValueError(f"the labelings have {len(a)} and {len(b)} rows")
    pairs, counts = np.unique(a.astype(np.int64) * (int(b.max()) + 1) + b, return_counts=True)
    del pairs

    def couples(sizes: NDArray[Any]) -> int:
        return sum(int(s) * (int(s) - 1) // 2 for s in sizes)

    together, in_first, in_second = couples(counts), couples(np.bincount(a)), couples(np.bincount(b))
    every = couples(np.array([len(a)]))
    # (together - chance) / ((in_first + in_second) / 2 - chance) with chance = in_first * in_second / every
    below = every * (in_first + in_second) - 2 * in_first * in_second
    return 1.0 if below == 0 else 2 * (every * together - in_first * in_second) / below


# -- parts ------------------------------------------------------------------------------------------------------------
def _integers(labels: ArrayLike, n: int) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.shape != (n,) or array.dtype.kind not in "iub":
        raise ValueError(
            f"labels must be {n} integers, one per row; got an array of shape {array.shape} and dtype {array.dtype}."
        )
    return array.astype(np.int64)


def _numbered(labels: ArrayLike, n: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The different labels, and for each row the number of its own."""
    names, numbers = np.unique(_integers(labels, n), return_inverse=True)
    if not 2 <= len(names) <= n - 1:
        raise ValueError(f"Number of labels is {len(names)}. Valid values are 2 to n_samples - 1 (inclusive)")
    return names, numbers.ravel()


def _mean_distances(
    data: Any, points: Points, order: NDArray[np.intp], numbers: NDArray[np.intp], sizes: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean distance of rows, in the order of clusters, to their own and to the nearest other one, and which that is."""
    from fastkmeans import threads
    from fastkmeans.data import new_counter
    from fastkmeans.kernels import silhouette as kernels
    from fastkmeans.kernels import simd

    rows = points.take(order)
    n, d = rows.shape
    widest = float((rows.max(axis=0) - rows.min(axis=0)).max())
    exponent = kernels.TOP - 1 - math.frexp(widest * math.sqrt(d))[1] if widest > 0.0 else 0
    np.ldexp(rows, exponent, out=rows)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    own, other, neighbor = np.empty(n), np.empty(n), np.empty(n, np.int64)
    numbers = numbers.astype(np.int64)
    n_lanes = data.lanes(3.0 * n * n * d, n)
    plain = simd.lane_width() == 1
    pairs = PAIRS_AT_A_TIME / (50.0 if plain else 1.0) * n_lanes
    step = max(1, int(pairs / (float(n) * d)) // kernels.PANEL) * kernels.PANEL
    for lo in range(0, n, step):
        shared = (rows, numbers, bounds, lo, min(lo + step, n), new_counter(), plain, own, other, neighbor)
        threads.share(n_lanes, kernels.mean_distances_lane, shared)
    return own, other, neighbor


def _center_distances(
    data: Any, centers: NDArray[np.float64], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Squared distance of the rows to their own center and to the nearest other; which it is."""
    from fastkmeans import threads
    from fastkmeans.data import new_counter
    from fastkmeans.kernels import canonical, simd
    from fastkmeans.kernels import silhouette as kernels

    k, d = centers.shape
    grouped = canonical.group_centers(centers)
    labels = numbers.astype(np.int32)
    own, other, neighbor = np.empty(data.n), np.empty(data.n), np.empty(data.n, np.int64)
    n_lanes = data.lanes(3.0 * data.n * d * k, data.n)
    plain = simd.lane_width() == 1
    for lo, hi, rows in data.ranges(6.0 * d * k):
        shared = (rows, new_counter(), grouped, k, labels[lo:hi], plain, own[lo:hi], other[lo:hi], neighbor[lo:hi])
        threads.share(n_lanes, kernels.two_nearest_lane, shared)
    return own, other, neighbor


def _result(
    names: NDArray[Any],
    numbers: NDArray[Any],
    sizes: NDArray[Any],
    own: NDArray[np.float64],
    other: NDArray[np.float64],
    neighbor: NDArray[Any],
    alone: NDArray[np.bool_],
    *,
    simplified: bool,
) -> Silhouette:
    larger = np.maximum(own, other)
    defined = (larger > 0.0) & ~alone
    values = np.zeros(len(own))
    np.divide(other - own, larger, out=values, where=defined)
    units = np.rint(np.ldexp(values, UNIT_BITS)).astype(np.int64)
    high, low = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    np.add.at(high, numbers, units >> HALF)
    np.add.at(low, numbers, units & ((1 << HALF) - 1))
    totals = [(int(upper) << HALF) + int(lower) for upper, lower in zip(high, low, strict=True)]
    lowest = np.ones(len(sizes))
    np.minimum.at(lowest, numbers, values)
    negative = np.bincount(numbers[values < 0.0], minlength=len(sizes))
    clusters = tuple(
        ClusterSilhouette(
            int(names[c]),
            int(size),
            totals[c] / (int(size) << UNIT_BITS) if size else 0.0,
            float(lowest[c]) if size else 0.0,
            int(negative[c]),
        )
        for c, size in enumerate(sizes)
    )
    score = sum(totals) / (len(values) << UNIT_BITS)
    return Silhouette(score, values, names[numbers], names[neighbor], clusters, simplified)
