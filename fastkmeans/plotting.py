"""Pictures of a clustering, with matplotlib (an extra): rows colored by label, centers as stars; in two dimensions, in
three, and for several clusterings side by side. Curves and profiles are in `fastkmeans.charts`.

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
    texts: list[str]


class _Picture(NamedTuple):
    """All that a picture of clusters needs, checked."""

    view: _View
    labels: np.ndarray  # of the rows drawn
    sizes: list[int]  # of the clusters, all rows counted
    caption: str


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
    legend: bool = True,
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
    legend : bool, default=True
        Whether to list up to ten clusters and their sizes beside the picture.

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
    picture = _picture(X, labels, centers, feature_names, title, max_points, 2)
    if ax is None:
        ax = _new_figure(8.0, 5.2).subplots()
    _draw(ax, picture, legend=legend)
    return ax


def plot_clusters_3d(
    X: Any,
    labels: Any,
    centers: Any,
    *,
    ax: Axes | None = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
    max_points: int = MAX_POINTS,
    legend: bool = True,
) -> Axes:
    """Draw rows in three dimensions, colored by cluster, and the centers as numbered stars in front of them.

    Three features are drawn as they are, more than three by their first three principal components.

    Parameters
    ----------
    X, labels, centers, feature_names, title, max_points, legend
        As for `plot_clusters`; X has at least three features.
    ax : matplotlib Axes, optional
        Where to draw, with ``projection="3d"``. Default: a new figure, outside pyplot.

    Returns
    -------
    ax : matplotlib Axes
        Its figure is ``ax.figure``.

    Raises
    ------
    ValueError
        When shapes do not fit together, X has fewer than three features, or `ax` is flat.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> X = [[0.0, 0.1, 0.0], [0.2, 0.0, 0.1], [5.0, 5.1, 4.9]]
    >>> ax = plot_clusters_3d(X, [0, 0, 1], [[0.1, 0.05, 0.05], [5.0, 5.1, 4.9]])
    >>> ax.get_zlabel()
    'feature 2'
    """
    picture = _picture(X, labels, centers, feature_names, title, max_points, 3)
    if ax is None:
        ax = _new_figure(8.0, 6.0).add_subplot(projection="3d")
    if not hasattr(ax, "get_zlabel"):
        raise ValueError('ax must have three dimensions: figure.add_subplot(projection="3d")')
    ax.computed_zorder = False  # stars lie in front of the rows around them, or they could not be seen
    _draw(ax, picture, legend=legend)
    ax.set_zlabel(picture.view.texts[2], parse_math=False)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.labelpad = 9
    ax.set_box_aspect(None, zoom=0.85)  # room for the label of the third axis
    return ax


def plot_panel(
    X: Any,
    models: Sequence[Any],
    *,
    axes: Any = None,
    feature_names: Sequence[str] | None = None,
    max_points: int = MAX_POINTS,
) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Draw several clusterings of the same rows side by side, such as those of a wrong and of the right k.

    Parameters
    ----------
    X : array-like or frame of shape (n, d)
        The data all models were fitted to.
    models : sequence of fitted KMeans
        One picture each, in this order; ``choose_k(X).models`` is one.
    axes : array-like of matplotlib Axes, optional
        As many as models. Default: a new figure, three pictures in a row.
    feature_names, max_points
        As for `plot_clusters`.

    Returns
    -------
    axes : ndarray of matplotlib Axes, shape (len(models),)
        Their figure is ``axes[0].figure``.

    Raises
    ------
    ValueError
        Without models, and when there are not as many axes as models.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastkmeans import KMeans
    >>> X = [[0.0, 0.1], [0.2, 0.0], [5.0, 5.1], [5.0, 4.9]]
    >>> axes = plot_panel(X, [KMeans(k, random_state=0).fit(X) for k in (1, 2)])
    >>> [ax.get_title() for ax in axes]
    ['k=1, inertia 48.56', 'k=2, inertia 0.045']
    """
    require_matplotlib()
    if len(models) == 0:
        raise ValueError("plot_panel needs at least one fitted model")
    if axes is None:
        n_columns = min(3, len(models))
        n_rows = -(-len(models) // n_columns)
        figure = _new_figure(3.9 * n_columns, 3.5 * n_rows)
        figure.get_layout_engine().set(h_pad=0.1)  # inches: a title keeps clear of the axis above
        flat = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for spare in flat[len(models) :]:
            spare.remove()
        axes = flat[: len(models)]
    axes = np.asarray(axes, dtype=object).ravel()
    if len(axes) != len(models):
        raise ValueError(f"{len(models)} models need as many axes, got {len(axes)}")
    for ax, model in zip(axes, models, strict=True):
        plot_clusters(
            X,
            model.labels_,
            model.cluster_centers_,
            ax=ax,
            feature_names=feature_names,
            title=f"k={len(model.cluster_centers_)}, inertia {model.inertia_:.4g}",
            max_points=max_points,
            legend=False,
        )
    return axes


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


def _picture(
    X: Any,
    labels: Any,
    centers: Any,
    feature_names: Sequence[str] | None,
    title: str | None,
    max_points: int,
    n_axes: int,
) -> _Picture:
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
    if d < n_axes == 3:
        raise ValueError(f"three dimensions need at least three features, X has {d}")
    shown = _sample(n, d, max_points)
    view = _view(points.take(shown), labels[shown], centers, feature_names or points.feature_names, n_axes)
    caption = f"{k:,} cluster{'s' * (k != 1)}, {n:,} row{'s' * (n != 1)}" if title is None else title
    if len(shown) < n:
        caption += f"\na random sample of {len(shown):,} of {n:,} rows is drawn"
    return _Picture(view, labels[shown], np.bincount(labels, minlength=k).tolist(), caption)


def _view(rows: np.ndarray, labels: np.ndarray, centers: np.ndarray, names: Sequence[str] | None, n_axes: int) -> _View:
    d = rows.shape[1]
    if d == 1:
        spread = np.random.default_rng(0).uniform(-0.32, 0.32, len(rows))  # so that equal values do not hide each other
        return _View(
            np.column_stack([rows[:, 0], labels + spread]),
            np.column_stack([centers[:, 0], np.arange(len(centers))]),
            [names[0] if names else "feature 0", "cluster"],
        )
    if d == n_axes:
        return _View(rows, centers, list(names) if names else [f"feature {j}" for j in range(d)])
    middle, axes, shares = _principal_axes(rows, n_axes)
    ordinals = ("first", "second", "third")[:n_axes]
    words = "component ({:.1%})" if n_axes == 3 else "principal component ({:.1%} of variance)"
    texts = [f"{which} {words.format(share)}" for which, share in zip(ordinals, shares, strict=True)]
    return _View((rows - middle) @ axes, (centers - middle) @ axes, texts)


def _principal_axes(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), the first `count` principal axes (d, count), and their shares of the variance."""
    n, d = rows.shape
    middle = rows.mean(axis=0)
    centered = rows - middle
    largest = np.abs(centered).max()
    if largest == 0:
        return middle, np.eye(d, count), np.zeros(count)
    centered /= largest  # squares of 1e-200 and 1e200 stay in range
    if n < count:
        centered = np.vstack([centered, np.zeros((count - n, d))])
    if d <= len(centered):
        values, vectors = np.linalg.eigh(centered.T @ centered)
        axes = vectors[:, : -count - 1 : -1]
    else:  # fewer rows than features: the same axes from the smaller matrix
        values, vectors = np.linalg.eigh(centered @ centered.T)
        axes, _ = np.linalg.qr(centered.T @ vectors[:, : -count - 1 : -1])
    shares = np.maximum(values[: -count - 1 : -1], 0) / np.maximum(values, 0).sum()
    heaviest = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
    # an axis has no sign of its own: the heaviest loading is positive
    return middle, axes * np.where(heaviest < 0, -1.0, 1.0), shares


# -- how it looks -----------------------------------------------------------------------------------------------------
def _new_figure(width: float, height: float) -> Any:
    """A figure of so many inches, outside pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def shades_of(count: int) -> list[Any]:
    """So many colors, evenly spaced in lightness, so that they differ in grey and for color-blind readers too."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.03 + 0.85 * shade / max(1, count - 1)) for shade in range(count)]


def _styles(centers: np.ndarray) -> list[tuple[Any, str]]:
    """Color and mark of each cluster.

    Shades are evenly spaced in lightness; when there are more clusters than shades, each takes the shade whose nearest
    use so far is farthest away. Marks change with every cluster.
    """
    n_shades = min(len(centers), _N_SHADES)
    shades: list[int] = []
    for cluster, center in enumerate(centers):
        nearest = np.full(n_shades, np.inf)
        apart = np.abs(centers[:cluster] - center).max(axis=1)
        np.minimum.at(nearest, shades, apart)
        nearest[cluster + 1 :] = 0  # the first ones in order
        shades.append(int(nearest.argmax()))
    colors = shades_of(n_shades)
    return [(colors[shade], _MARKERS[cluster % len(_MARKERS)]) for cluster, shade in enumerate(shades)]


def _draw(ax: Axes, picture: _Picture, *, legend: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    view, labels, sizes = picture.view, picture.labels, picture.sizes
    k, styles = len(view.centers), _styles(view.centers)
    deep = view.rows.shape[1] == 3
    area = min(40.0, max(4.0, 30_000 / len(labels)))
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=k))
    for cluster, (color, mark) in enumerate(styles):
        rows = view.rows[order[ends[cluster - 1] if cluster else 0 : ends[cluster]]]
        ax.scatter(
            *rows.T,
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
        *view.centers.T,
        s=star_area,
        c=[color for color, _ in styles],
        marker="*",
        edgecolors="black",
        linewidths=1.2,
        zorder=3,
        path_effects=[withStroke(linewidth=3.5, foreground="white")],
        **({"depthshade": False} if deep else {}),
    )
    if k <= _MOST_NUMBERED:
        text = {"fontsize": 10, "fontweight": "bold", "zorder": 4}
        text["path_effects"] = [withStroke(linewidth=3, foreground="white")]
        for cluster, place in enumerate(view.centers):
            if deep:
                ax.text(*place, f"   {cluster}", **text)
            else:
                shift = (math.sqrt(star_area) / 2 + 1, 3)
                ax.annotate(str(cluster), place, xytext=shift, textcoords="offset points", **text)
    if legend and k <= _MOST_IN_LEGEND:
        handles, _ = ax.get_legend_handles_labels()
        star_size = 12 / max(1.0, 5.0 / math.sqrt(area))
        star = Line2D([], [], linestyle="", marker="*", markersize=star_size, color="white", markeredgecolor="black")
        texts = [*(str(handle.get_label()) for handle in handles), "center"]
        ax.legend(
            [*handles, star],
            texts,
            loc="upper left",
            bbox_to_anchor=(-0.1, 1.0) if deep else (1.01, 1.0),  # the corner of a box in space is empty
            fontsize="small",
            markerscale=max(1.0, 5.0 / math.sqrt(area)),
        )
    if view.texts[1] == "cluster" and k <= _MOST_NUMBERED:
        ax.set_yticks(range(k))
    ax.set_xlabel(view.texts[0], parse_math=False)  # a dollar in a name is a dollar
    ax.set_ylabel(view.texts[1], parse_math=False)
    ax.set_title(picture.caption, parse_math=False)
