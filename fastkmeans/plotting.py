"""Pictures of a clustering, with matplotlib (an extra): rows colored by label, centers as stars.

Functions draw on the axes they are given, or on a new figure, and return the axes. pyplot and its global state are
never touched, so no display is needed and nothing stays open. They take results only: data, labels, centers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from fastkmeans.points import as_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HINT = "pictures need matplotlib: pip install 'fastkmeans-numba[plot]'"
MAX_POINTS = 20_000  # more marks than this hide each other and make large vector files
_MAX_VALUES = 5_000_000  # rows times features looked at for principal components: about two seconds at the worst
_N_SHADES = 8
_MARKERS = "osD^vPX>"
_MOST_IN_LEGEND = 10
_MOST_NUMBERED = 40


class _View(NamedTuple):
    """What is drawn: coordinates of rows and centers, and what the axes say."""

    rows: np.ndarray
    centers: np.ndarray
    x_text: str
    y_text: str


def require_matplotlib() -> None:
    """Check that pictures can be made.

    Raises
    ------
    ImportError
        With the pip command, when matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(HINT) from error


def picture_formats() -> set[str]:
    """Endings, without the dot, of the picture files that matplotlib can write here."""
    require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    return set(FigureCanvasBase.get_supported_filetypes())


def plot_clusters(
    X: Any,
    labels: Any,
    centers: Any,
    *,
    ax: Axes | None = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
    max_points: int = MAX_POINTS,
) -> Axes:
    """Draw rows colored by cluster, and the centers as numbered stars.

    Two features are drawn as they are, one feature as a row of points per cluster, and more than two by their first two
    principal components. Shades and marks differ in grey and for color-blind readers too.

    Parameters
    ----------
    X : array-like or frame of shape (n, d)
        The data. Of more than `max_points` rows (fewer when d is above 250) a fixed random sample is drawn, and the
        title says so; principal components are those of the rows drawn.
    labels : array-like of shape (n,)
        Cluster of each row, 0 to k - 1.
    centers : array-like of shape (k, d)
        The centers.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure, outside pyplot.
    feature_names : sequence of d str, optional
        What the axes say. Default: the names in X, else the number of the feature.
    title : str, optional
        Title. Default: the number of clusters and rows.
    max_points : int, default=20000
        Most rows to draw.

    Returns
    -------
    ax : matplotlib Axes
        Its figure is ``ax.figure``.

    Raises
    ------
    ValueError
        When shapes do not fit together.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> X = [[0.0, 0.1], [0.2, 0.0], [5.0, 5.1]]
    >>> ax = plot_clusters(X, [0, 0, 1], [[0.1, 0.05], [5.0, 5.1]])
    >>> ax.get_title()
    '2 clusters, 3 rows'
    """
    require_matplotlib()
    points = as_points(X)
    labels = np.asarray(labels)
    centers = np.asarray(centers, dtype=np.float64)
    n, d = points.n_samples, points.n_features
    if labels.shape != (n,) or centers.ndim != 2 or centers.shape[1] != d:
        raise ValueError(
            f"X of shape {(n, d)} needs labels of shape {(n,)} and centers of shape (k, {d}),"
            f" got {labels.shape} and {centers.shape}"
        )
    k = len(centers)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"labels must be integers from 0 to {k - 1}")
    if feature_names is not None and len(feature_names) != d:
        raise ValueError(f"feature_names has {len(feature_names)} names for {d} features")

    shown = _sample(n, d, max_points)
    view = _view(points.take(shown), labels[shown], centers, feature_names or points.feature_names)
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(8.0, 5.2), dpi=120, layout="constrained").subplots()
    _draw(ax, view, labels[shown], np.bincount(labels, minlength=k).tolist())
    ax.set_xlabel(view.x_text, parse_math=False)  # a dollar in a name is a dollar
    ax.set_ylabel(view.y_text, parse_math=False)
    caption = f"{k:,} cluster{'s' * (k != 1)}, {n:,} row{'s' * (n != 1)}" if title is None else title
    if len(shown) < n:
        caption += f"\na random sample of {len(shown):,} of {n:,} rows is drawn"
    ax.set_title(caption, parse_math=False)
    return ax


def save_picture(stream: BinaryIO, ax: Axes, kind: str) -> None:
    """Write the figure of `ax` to a binary stream.

    Parameters
    ----------
    stream : binary file
        Where to write.
    ax : matplotlib Axes
        Drawn on a figure.
    kind : str
        One of `picture_formats`: ``png``, ``pdf``, ``svg`` and others.
    """
    ax.get_figure().savefig(stream, format=kind)


# -- what to draw -----------------------------------------------------------------------------------------------------
def _sample(n: int, d: int, max_points: int) -> np.ndarray:
    """Sorted indices of the rows to draw, the same for the same n and d."""
    most = max(2, min(max_points, _MAX_VALUES // d))
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False, shuffle=False))


def _view(rows: np.ndarray, labels: np.ndarray, centers: np.ndarray, names: Sequence[str] | None) -> _View:
    d = rows.shape[1]
    if d == 1:
        spread = np.random.default_rng(0).uniform(-0.32, 0.32, len(rows))  # so that equal values do not hide each other
        return _View(
            np.column_stack([rows[:, 0], labels + spread]),
            np.column_stack([centers[:, 0], np.arange(len(centers))]),
            names[0] if names else "feature 0",
            "cluster",
        )
    if d == 2:
        texts = names if names else ["feature 0", "feature 1"]
        return _View(rows, centers, texts[0], texts[1])
    middle, axes, shares = _principal_axes(rows)
    texts = [
        f"{which} principal component ({share:.1%} of variance)"
        for which, share in zip(("first", "second"), shares, strict=True)
    ]
    return _View((rows - middle) @ axes, (centers - middle) @ axes, texts[0], texts[1])


def _principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), the first two principal axes (d, 2), and their shares of the variance."""
    n, d = rows.shape
    middle = rows.mean(axis=0)
    centered = rows - middle
    largest = np.abs(centered).max()
    if largest == 0:
        return middle, np.eye(d, 2), np.zeros(2)
    centered /= largest  # squares of 1e-200 and 1e200 stay in range
    if d <= n:
        values, vectors = np.linalg.eigh(centered.T @ centered)
        axes = vectors[:, :-3:-1]
    else:  # fewer rows than features: the same axes from the smaller matrix
        values, vectors = np.linalg.eigh(centered @ centered.T)
        axes, _ = np.linalg.qr(centered.T @ vectors[:, :-3:-1])
    shares = np.maximum(values[:-3:-1], 0) / np.maximum(values, 0).sum()
    heaviest = axes[np.abs(axes).argmax(axis=0), np.arange(2)]
    return (
        middle,
        axes * np.where(heaviest < 0, -1.0, 1.0),
        shares,
    )  # an axis has no sign of its own: the heaviest loading is positive


# -- how it looks -----------------------------------------------------------------------------------------------------
def _styles(centers: np.ndarray) -> list[tuple[Any, str]]:
    """Color and mark of each cluster.

    Shades are evenly spaced in lightness; when there are more clusters than shades, each takes the shade whose nearest
    use so far is farthest away. Marks change with every cluster.
    """
    from matplotlib import colormaps

    n_shades = min(len(centers), _N_SHADES)
    shades: list[int] = []
    for cluster, center in enumerate(centers):
        nearest = np.full(n_shades, np.inf)
        apart = np.abs(centers[:cluster] - center).max(axis=1)
        np.minimum.at(nearest, shades, apart)
        nearest[cluster + 1 :] = 0  # the first ones in order
        shades.append(int(nearest.argmax()))
    colors = [colormaps["viridis"](0.03 + 0.85 * shade / max(1, n_shades - 1)) for shade in range(n_shades)]
    return [(colors[shade], _MARKERS[cluster % len(_MARKERS)]) for cluster, shade in enumerate(shades)]


def _draw(ax: Axes, view: _View, labels: np.ndarray, sizes: list[int]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    k, styles = len(view.centers), _styles(view.centers)
    area = min(40.0, max(4.0, 30_000 / len(labels)))
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=k))
    for cluster, (color, mark) in enumerate(styles):
        rows = view.rows[order[ends[cluster - 1] if cluster else 0 : ends[cluster]]]
        ax.scatter(
            rows[:, 0],
            rows[:, 1],
            s=area,
            color=[color],
            marker=mark,
            alpha=0.7,
            linewidths=0,
            label=f"cluster {cluster}: {sizes[cluster]:,} row{'s' * (sizes[cluster] != 1)}",
            rasterized=len(labels) > 5_000,
        )
    star_area = 420 / math.sqrt(max(4, k)) + 60
    ax.scatter(
        view.centers[:, 0],
        view.centers[:, 1],
        s=star_area,
        c=[color for color, _ in styles],
        marker="*",
        edgecolors="black",
        linewidths=1.2,
        zorder=3,
        path_effects=[withStroke(linewidth=3.5, foreground="white")],
    )
    if k <= _MOST_NUMBERED:
        for cluster, place in enumerate(view.centers):
            ax.annotate(
                str(cluster),
                place,
                xytext=(math.sqrt(star_area) / 2 + 1, 3),
                textcoords="offset points",
                fontsize=10,
                fontweight="bold",
                zorder=4,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
    if k <= _MOST_IN_LEGEND:
        handles, _ = ax.get_legend_handles_labels()
        star = Line2D([], [], linestyle="", marker="*", markersize=12, color="white", markeredgecolor="black")
        texts = [*(str(handle.get_label()) for handle in handles), "center"]
        ax.legend([*handles, star], texts, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small")
    if view.y_text == "cluster" and k <= _MOST_NUMBERED:
        ax.set_yticks(range(k))
