"""Reports: one HTML file with summary, pictures, tables and the command that makes it again; it needs nothing else.

Pictures are embedded, so a report can be mailed, and opened without a network. The same clustering gives the same text;
only the bytes of the pictures depend on the version of matplotlib.
"""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import fastkmeans
from fastkmeans.charts import plot_choice, plot_convergence, plot_silhouette
from fastkmeans.choose import EXACT_ROWS
from fastkmeans.plotting import plot_clusters, plot_panel, save_picture
from fastkmeans.quality import Silhouette, silhouette, simplified_silhouette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastkmeans.choose import Choice
    from fastkmeans.estimators import KMeans

MOST_ROWS, MOST_COLUMNS = 200, 50  # of a table
MOST_PICTURES = 6  # of a panel

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c28; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #555; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem; border-bottom: 1px solid #ddd; text-align: right; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0.2rem 1.2rem; } dt { color: #555; } dd { margin: 0; }
pre { background: #f3f3f7; padding: 0.8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
p.verdict { font-size: 1.1rem; border-left: 4px solid #d95f02; padding-left: 0.8rem; }
"""


def fit_report(path: str, command: str, X: Any, names: Sequence[str] | None, model: KMeans) -> str:
    """The report of a fit: how well it went, pictures of it, and its centers.

    Parameters
    ----------
    path : str
        The file of the data; its last part is the title.
    command : str
        The command line that makes the report again.
    X : array-like of shape (n, d)
    names : sequence of d str, or None
        Names of the features.
    model : KMeans
        Fitted to X.

    Returns
    -------
    text : str
        HTML.
    """
    k = len(model.cluster_centers_)
    quality = _quality(X, model)
    title = f"{os.path.basename(path)}: {_count(k, 'cluster')}"
    facts = [
        *_facts(X),
        ("clusters", f"{k:,}"),
        ("inertia", f"{model.inertia_:.10g}"),
        ("iterations", f"{model.n_iter_:,} ({'converged' if model.converged_ else 'stopped at the most allowed'})"),
    ]
    pictures = [
        _picture(
            plot_clusters(X, model.labels_, model.cluster_centers_, feature_names=names, title=title),
            "Rows by cluster, centers as stars.",
        ),
    ]
    if quality is not None:
        kind = "Simplified silhouette (distances to centers)" if quality.simplified else "Silhouette"
        facts.append((kind.partition(" (")[0].lower(), f"{quality.score:.4f}"))
        caption = f"{kind}: near 1 a row is well inside its cluster, near 0 between two, below 0 nearer to another."
        pictures.append(_picture(plot_silhouette(quality), caption))
    pictures.append(_picture(plot_convergence(model), "Inertia and evaluated point-center pairs by iteration."))
    return _page(
        title,
        [_list(facts), "<h2>Pictures</h2>", *pictures, "<h2>Centers</h2>", _centers(model, names, quality)],
        command,
    )


def choice_report(path: str, command: str, X: Any, names: Sequence[str] | None, choice: Choice) -> str:
    """The report of a choice of k: the verdict, the curve, clusterings side by side, and the centers of the chosen one.

    Parameters
    ----------
    path, command, X, names
        As for `fit_report`.
    choice : Choice
        Of X.

    Returns
    -------
    text : str
        HTML.
    """
    verdict = "no number of clusters stands out" if choice.best_k is None else _count(choice.best_k, "cluster")
    title = f"{os.path.basename(path)}: {verdict}"
    middle = int(np.searchsorted(choice.ks, choice.best_k)) if choice.best_k is not None else len(choice.ks) // 2
    first = max(0, min(middle - MOST_PICTURES // 2, len(choice.ks) - MOST_PICTURES))
    shown = choice.models[first : first + MOST_PICTURES]
    marked = "none is chosen." if choice.best_k is None else "the star marks the chosen one."
    body = [
        f'<p class="verdict">{html.escape(choice.reason)}</p>',
        _list([*_facts(X), ("method", choice.method)]),
        "<h2>Pictures</h2>",
        _picture(plot_choice(choice), "By number of clusters; " + marked),
        _picture(plot_panel(X, shown, feature_names=names)[0], "Clusterings side by side."),
        "<h2>By number of clusters</h2>",
        _table(choice.table()),
    ]
    if choice.best_model is not None:
        quality = _quality(X, choice.best_model)
        body += ["<h2>Centers</h2>", _centers(choice.best_model, names, quality)]
    return _page(title, body, command)


# -- parts ------------------------------------------------------------------------------------------------------------
def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _facts(X: Any) -> list[tuple[str, str]]:
    n, d = np.shape(X)
    return [("rows", f"{n:,}"), ("columns", f"{d:,}")]


def _quality(X: Any, model: KMeans) -> Silhouette | None:
    """The silhouette, exact where that is quick; None where there is none."""
    n, n_found = len(model.labels_), len(np.unique(model.labels_))
    if not 1 < n_found < n:
        return None
    if n > EXACT_ROWS:
        return simplified_silhouette(X, model.labels_, model.cluster_centers_, n_threads=model.n_threads)
    return silhouette(X, model.labels_, n_threads=model.n_threads)


def _centers(model: KMeans, names: Sequence[str] | None, quality: Silhouette | None) -> str:
    centers = model.cluster_centers_
    k, d = centers.shape
    texts = list(names) if names is not None else [f"x{j}" for j in range(d)]
    sizes = np.bincount(model.labels_, minlength=k)
    scores = {c.label: f"{c.mean:.3f}" for c in quality.clusters} if quality is not None else {}
    rows = [["cluster", "size", *(["silhouette"] if scores else []), *texts[:MOST_COLUMNS]]]
    for c in range(min(k, MOST_ROWS)):
        values = [f"{value:.10g}" for value in centers[c, :MOST_COLUMNS]]
        rows.append([str(c), f"{sizes[c]:,}", *([scores.get(c, "")] if scores else []), *values])
    left_out = [
        f"{count - most:,} more {what}"
        for count, most, what in ((k, MOST_ROWS, "clusters"), (d, MOST_COLUMNS, "columns"))
        if count > most
    ]
    note = f"<p>... {' and '.join(left_out)}: fit --centers FILE writes all.</p>" if left_out else ""
    return _table(rows) + note


def _list(facts: list[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{html.escape(a)}</dt><dd>{html.escape(b)}</dd>" for a, b in facts) + "</dl>"


def _table(rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows[1:])
    return f'<div class="wide"><table>\n<thead>{line(rows[0], "th")}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _picture(ax: Axes, caption: str) -> str:
    stream = io.BytesIO()
    save_picture(stream, ax, "png")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _page(title: str, body: list[str], command: str) -> str:
    parts = "\n".join(body)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{parts}
<h2>How to make this report again</h2>
<pre>{html.escape(command)}</pre>
<p>Made by fastkmeans {fastkmeans.__version__}: the same command on the same data gives the same numbers, on any number
of threads.</p>
</body>
</html>
"""
