"""Curves and profiles, with matplotlib (an extra): the choice of k, the silhouette, the convergence of a fit.

As in `fastkmeans.plotting`, functions draw on the axes they are given, or on a new figure, and return the axes; pyplot
is never touched. They take results only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastkmeans.plotting import _new_figure, require_matplotlib, shades_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastkmeans.choose import Choice
    from fastkmeans.quality import Silhouette

_MOST_STEPS = 500  # points along the outline of one cluster's profile
_MOST_BANDS = 40
_LINE, _MARK, _BARS = "#30306b", "#d95f02", "#b8c4dc"  # dark blue, orange, light blue: apart in grey too


def plot_choice(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Draw the result of `fastkmeans.choose_k`: the inertia or the score by k, with the chosen k marked.

    Parameters
    ----------
    choice : Choice
        The elbow draws inertias, the silhouette its averages, the gap statistic gaps with their standard errors.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure, outside pyplot.

    Returns
    -------
    ax : matplotlib Axes
        Its figure is ``ax.figure``.

    Raises
    ------
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastkmeans import choose_k
    >>> X = [[0.0], [0.1], [0.3], [5.0], [5.2], [5.3], [9.0], [9.1]]
    >>> plot_choice(choose_k(X, range(1, 6), random_state=0)).get_title()
    '3 clusters, by the elbow'
    """
    ax = _axes(ax, 7.0, 4.4)
    by = {"elbow": "the elbow", "silhouette": "the silhouette", "gap": "the gap statistic"}[choice.method]
    values = choice.inertias if choice.method == "elbow" else choice.scores
    if choice.standard_errors is not None:
        ax.errorbar(
            choice.ks, values, choice.standard_errors, color=_LINE, marker="o", capsize=4, label="gap, standard error"
        )
    else:
        ax.plot(choice.ks, values, color=_LINE, marker="o", label=_score_name(choice))
    if choice.best_k is not None:
        at = int(np.searchsorted(choice.ks, choice.best_k))
        ax.axvline(choice.best_k, color=_MARK, linestyle="--", linewidth=1.2, zorder=1)
        ax.plot(
            [choice.best_k],
            [values[at]],
            linestyle="",
            marker="*",
            markersize=18,
            color=_MARK,
            markeredgecolor="black",
            zorder=3,
            label=f"k={choice.best_k}, chosen",
        )
        ax.set_title(f"{choice.best_k} cluster{'s' * (choice.best_k != 1)}, by {by}")
    else:
        ax.set_title(f"no k is chosen by {by}")
    ax.set_xlabel("number of clusters k")
    ax.set_ylabel(_score_name(choice))
    if len(choice.ks) <= 25:
        ax.set_xticks(choice.ks)
    ax.legend()
    ax.grid(alpha=0.3)
    return ax


def _score_name(choice: Choice) -> str:
    return {"elbow": "inertia", "silhouette": "average silhouette", "gap": "gap"}[choice.method]


def plot_silhouette(result: Silhouette, *, ax: Axes | None = None) -> Axes:
    """Draw the profile of a silhouette: the values of each cluster in descending order, and their overall average.

    Clusters stack from the first, at the top, to the last; each is as tall as it has rows, and has the color that
    `plot_clusters` gives it where there are at most eight.

    Parameters
    ----------
    result : Silhouette
        Of `fastkmeans.silhouette` or `fastkmeans.simplified_silhouette`.
    ax : matplotlib Axes, optional
        Where to draw. Default: a new figure, outside pyplot.

    Returns
    -------
    ax : matplotlib Axes
        Its figure is ``ax.figure``.

    Raises
    ------
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastkmeans import silhouette
    >>> ax = plot_silhouette(silhouette([[0.0], [1.0], [8.0], [10.0]], [0, 0, 1, 1]))
    >>> ax.get_xlabel()
    'silhouette value'
    """
    ax = _axes(ax, 7.0, 5.0)
    k = len(result.clusters)
    colors = shades_of(min(k, 8))
    space = max(1.0, 0.02 * len(result.values))
    top, ticks, names = 0.0, [], []
    for number, cluster in enumerate(result.clusters):
        values = np.sort(result.values[result.labels == cluster.label])[::-1]
        heights = top + np.arange(len(values) + 1)
        if len(values) > _MOST_STEPS:  # the outline of a million rows is drawn as exactly as the eye can tell
            steps = np.linspace(0, len(values), _MOST_STEPS + 1).astype(int)
            heights, values = top + steps, values[np.minimum(steps[:-1], len(values) - 1)]
        if len(values):
            ax.fill_betweenx(
                heights,
                0.0,
                np.append(values, values[-1]),
                step="post",
                color=colors[number % len(colors)],
                alpha=0.85,
                linewidth=0,
                label=f"cluster {cluster.label}",
            )
        ticks.append(top + cluster.size / 2)
        names.append(f"{cluster.label}: {cluster.size:,} rows, {cluster.mean:.2f}")
        top += cluster.size + space
    ax.axvline(result.score, color=_MARK, linestyle="--", linewidth=1.5, label=f"average {result.score:.3f}")
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.set_ylim(top, -space)
    if k <= _MOST_BANDS:
        ax.set_yticks(ticks, names)
    else:
        ax.set_yticks([])
    lowest = float(result.values.min())
    ax.set_xlim(min(0.0, lowest) - 0.02, 1.0)
    ax.set_xlabel("simplified silhouette value" if result.simplified else "silhouette value")
    ax.set_ylabel("cluster: size, average" if k <= _MOST_BANDS else f"{k:,} clusters, the first on top")
    ax.set_title(f"average silhouette {result.score:.3f}, dashed")
    return ax


def plot_convergence(model: Any, *, ax: Axes | None = None) -> Axes:
    """Draw how a fit went: the inertia of each iteration, and how many point-center pairs it evaluated.

    Parameters
    ----------
    model : KMeans
        A fitted one.
    ax : matplotlib Axes, optional
        Where to draw; a second axis on the right takes the pairs. Default: a new figure, outside pyplot.

    Returns
    -------
    ax : matplotlib Axes
        That of the inertia. Its figure is ``ax.figure``.

    Raises
    ------
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastkmeans import KMeans
    >>> ax = plot_convergence(KMeans(2, init=[[0.0], [1.0]]).fit([[0.0], [1.0], [8.0], [10.0]]))
    >>> ax.lines[0].get_xdata().tolist()
    [1, 2, 3]
    """
    ax = _axes(ax, 7.0, 4.4)
    iterations = np.arange(1, len(model.history_) + 1)
    pairs = len(model.labels_) * len(model.cluster_centers_) * np.array([evaluated(s) for s in model.history_])
    right = ax.twinx()
    right.bar(iterations, pairs, color=_BARS, width=0.8, label="pairs evaluated")
    right.set_ylabel("point-center pairs evaluated")
    right.set_ylim(0.0, 2.5 * max(1.0, pairs.max()))  # bars stay below the curve
    ax.set_zorder(right.get_zorder() + 1)
    ax.patch.set_visible(False)
    ax.plot(iterations, [step.inertia for step in model.history_], color=_LINE, marker="o", label="inertia")
    ax.set_xlabel("iteration")
    ax.set_ylabel("inertia")
    ax.xaxis.get_major_locator().set_params(integer=True)
    end = "converged" if model.converged_ else "stopped at the most allowed"
    ax.set_title(f"{len(iterations)} iteration{'s' * (len(iterations) != 1)} ({end}), inertia {model.inertia_:.6g}")
    handles = [*ax.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    ax.legend(handles=handles, loc="upper right")
    return ax


def evaluated(step: Any) -> float:
    """Share of the point-center pairs that an iteration evaluated: all of them unless it says otherwise."""
    return float(getattr(step, "evaluated", 1.0))


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    require_matplotlib()
    return _new_figure(width, height).subplots() if ax is None else ax
