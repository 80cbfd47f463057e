"""Curves, profiles, panels and space: what the artists hold, never what a screen would show."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import Collection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from fastkmeans import KMeans, choose_k, silhouette, simplified_silhouette
from fastkmeans.charts import evaluated, plot_choice, plot_convergence, plot_silhouette
from fastkmeans.plotting import plot_clusters, plot_clusters_3d, plot_panel


def clustered(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(-20, 20, (k, d))
    labels = rng.integers(0, k, n)
    return centers[labels] + rng.normal(size=(n, d)), labels, centers


def grey(color):
    red, green, blue, _ = to_rgba(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("method", ["elbow", "silhouette", "gap"])
def test_the_curve_and_the_chosen_k(method):
    choice = choose_k(clustered(150, 2, 3)[0], range(1, 6), method, random_state=0, n_references=3)
    ax = choice.plot()
    curve, line, mark = ax.lines[0], *ax.lines[-2:]
    values = choice.inertias if method == "elbow" else choice.scores
    np.testing.assert_array_equal(curve.get_xdata(), choice.ks)
    np.testing.assert_array_equal(curve.get_ydata(), values)
    assert line.get_xdata() == [3, 3]
    assert (mark.get_xdata(), mark.get_ydata()) == ([3], [values[2]])
    assert mark.get_marker() == "*"
    assert abs(grey(curve.get_color()) - grey(mark.get_color())) > 0.2, "apart in grey"
    assert ax.get_title() == f"3 clusters, by the {'gap statistic' if method == 'gap' else method}"
    assert ax.get_ylabel() == {"elbow": "inertia", "silhouette": "average silhouette", "gap": "gap"}[method]
    assert ax.get_xticks().tolist() == [1, 2, 3, 4, 5]
    assert "k=3, chosen" in [text.get_text() for text in ax.get_legend().get_texts()]
    if method == "gap":
        (bars,) = [c for c in ax.containers if c.has_yerr]
        segments = np.array(bars[2][0].get_segments())
        np.testing.assert_allclose(np.ptp(segments[:, :, 1], axis=1) / 2, choice.standard_errors)


def test_no_choice_is_said_and_nothing_is_marked():
    X = np.random.default_rng(0).random((120, 10))
    ax = plot_choice(choose_k(X, range(1, 5), "gap", random_state=0, n_references=3))
    assert ax.get_title() == "no k is chosen by the gap statistic"
    assert all(line.get_marker() != "*" for line in ax.lines)


def test_many_k_have_no_tick_each():
    ax = plot_choice(choose_k(clustered(100, 2, 3)[0], range(1, 31), random_state=0))
    assert len(ax.get_xticks()) < 20


def test_the_profile_is_the_silhouette():
    X, _, _ = clustered(200, 2, 4)
    model = KMeans(5, random_state=0).fit(X)
    result = silhouette(X, model.labels_)
    ax = result.plot()
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    like = plot_clusters(X, model.labels_, model.cluster_centers_).collections
    assert len(bands) == 5
    for c, band in enumerate(bands):
        outline = band.get_paths()[0].vertices
        mine = np.sort(result.values[model.labels_ == c])
        np.testing.assert_array_equal(np.unique(outline[:, 0]), np.unique(np.append(mine, 0.0)))
        assert np.ptp(outline[:, 1]) == len(mine)
        np.testing.assert_allclose(band.get_facecolor()[0, :3], like[c].get_facecolors()[0, :3])
    assert ax.lines[0].get_xdata() == [result.score, result.score]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [f"{c.label}: {c.size:,} rows, {c.mean:.2f}" for c in result.clusters]
    assert ax.get_title() == f"average silhouette {result.score:.3f}, dashed"
    bottom, top = ax.get_ylim()
    assert bottom > top, "the first cluster is on top"


def test_a_profile_of_many_rows_is_drawn_by_its_outline():
    X, labels, centers = clustered(30_000, 2, 2)
    result = simplified_silhouette(X, labels, centers)
    ax = plot_silhouette(result)
    for c, band in enumerate(ax.collections):
        outline = band.get_paths()[0].vertices
        assert len(outline) < 2500
        assert np.ptp(outline[:, 1]) == (labels == c).sum()
        assert outline[:, 0].max() == result.values[labels == c].max()
    assert ax.get_xlabel() == "simplified silhouette value"
    many = plot_silhouette(silhouette(X[:300], np.arange(300) % 60))
    assert len(many.get_yticks()) == 0
    assert many.get_ylabel() == "60 clusters, the first on top"
    assert many.get_xlim()[0] < 0


def test_an_empty_cluster_has_no_band():
    ax = plot_silhouette(simplified_silhouette([[0.0], [1.0], [1.0]], [0, 2, 2], [[0.0], [9.0], [1.0]]))
    assert len([c for c in ax.collections if isinstance(c, PolyCollection)]) == 2
    assert ax.get_yticklabels()[1].get_text() == "1: 0 rows, 0.00"


def test_convergence_is_the_history():
    X, _, _ = clustered(300, 2, 4)
    model = KMeans(4, init=X[:4], tol=0).fit(X)
    ax = plot_convergence(model)
    (curve,) = ax.lines
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(1, model.n_iter_ + 1))
    np.testing.assert_array_equal(curve.get_ydata(), [step.inertia for step in model.history_])
    (right,) = [other for other in ax.figure.axes if other is not ax]
    expected = [300 * 4 * evaluated(step) for step in model.history_]
    assert [bar.get_height() for bar in right.patches] == expected
    assert [bar.get_x() + bar.get_width() / 2 for bar in right.patches] == list(range(1, model.n_iter_ + 1))
    assert ax.get_title().startswith(f"{model.n_iter_} iterations (converged), inertia ")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["inertia", "pairs evaluated"]
    assert plot_convergence(KMeans(4, init=X[:4], tol=0, max_iter=1).fit(X)).get_title().startswith("1 iteration (stop")


def test_three_features_in_space():
    X, labels, centers = clustered(200, 3, 4)
    ax = plot_clusters_3d(X, labels, centers, feature_names=["a", "b", "c"])
    *clusters, stars = ax.collections
    for c, artist in enumerate(clusters):
        np.testing.assert_array_equal(np.column_stack(artist._offsets3d), X[labels == c])
        # Path3DCollection's own get_facecolor gives the colors in the order of depth, once drawn
        own, star = Collection.get_facecolor(artist)[0, :3], Collection.get_facecolor(stars)[c, :3]
        np.testing.assert_array_equal(own, star)
    np.testing.assert_array_equal(np.column_stack(stars._offsets3d), centers)
    assert len(stars.get_paths()[0].vertices) == 11
    assert stars.get_zorder() > clusters[0].get_zorder()
    assert not ax.computed_zorder
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("a", "b", "c")
    assert [text.get_text().strip() for text in ax.texts] == ["0", "1", "2", "3"]
    assert len(ax.get_legend().get_texts()) == 5


@pytest.mark.parametrize(("n", "d"), [(150, 7), (8, 40)])
def test_more_features_in_space_are_principal_components(n, d):
    X, labels, centers = clustered(n, d, 3)
    ax = plot_clusters_3d(X, labels, centers)
    middle = X.mean(axis=0)
    _, sizes, axes = np.linalg.svd(X - middle, full_matrices=False)
    share = sizes**2 / (sizes**2).sum()
    assert ax.get_xlabel() == f"first component ({share[0]:.1%})"
    assert ax.get_zlabel() == f"third component ({share[2]:.1%})"
    drawn = np.column_stack(ax.collections[-1]._offsets3d)
    np.testing.assert_allclose(np.abs(drawn), np.abs((centers - middle) @ axes[:3].T), atol=1e-8)


def test_few_rows_in_space_and_what_is_refused():
    ax = plot_clusters_3d([[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 3.0]], [0, 1], np.eye(2, 4))
    assert ax.get_zlabel() == "third component (0.0%)"
    with pytest.raises(ValueError, match="three dimensions need at least three features, X has 2"):
        plot_clusters_3d([[0.0, 1.0]], [0], [[0.0, 1.0]])
    with pytest.raises(ValueError, match="ax must have three dimensions"):
        plot_clusters_3d(np.eye(3), [0, 0, 0], np.eye(1, 3), ax=Figure().subplots())


def test_a_panel_shows_every_model():
    X, _, _ = clustered(120, 2, 3)
    models = [KMeans(k, random_state=0).fit(X) for k in (2, 3, 4, 5)]
    axes = plot_panel(X, models, feature_names=["a", "b"])
    assert len(axes) == len(axes[0].figure.axes) == 4
    for ax, model in zip(axes, models, strict=True):
        *clusters, stars = ax.collections
        assert [len(c.get_offsets()) for c in clusters] == model.cluster_weights_.tolist()
        np.testing.assert_array_equal(stars.get_offsets(), model.cluster_centers_)
        assert ax.get_title() == f"k={model.n_clusters}, inertia {model.inertia_:.4g}"
        assert ax.get_legend() is None
    mine = Figure().subplots(2, 2)
    assert plot_panel(X, models, axes=mine).tolist() == mine.ravel().tolist()
    with pytest.raises(ValueError, match="4 models need as many axes, got 1"):
        plot_panel(X, models, axes=Figure().subplots())
    with pytest.raises(ValueError, match="at least one fitted model"):
        plot_panel(X, [])


def test_axes_given_are_used_and_returned():
    X, labels, centers = clustered(40, 3, 2)
    model = KMeans(2, random_state=0).fit(X)
    figure = Figure()
    deep = figure.add_subplot(2, 2, 1, projection="3d")
    flat = [figure.add_subplot(2, 2, i) for i in (2, 3, 4)]
    assert plot_clusters_3d(X, labels, centers, ax=deep) is deep
    assert plot_convergence(model, ax=flat[0]) is flat[0]
    assert silhouette(X, labels).plot(flat[1]) is flat[1]
    assert choose_k(X, [1, 2, 3], random_state=0).plot(flat[2]) is flat[2]


def test_without_matplotlib_and_without_pyplot(monkeypatch):
    code = (
        "import io, sys, numpy as np; from fastkmeans import KMeans, charts, plotting, silhouette\n"
        "X = np.arange(12.0).reshape(4, 3); model = KMeans(2, random_state=0).fit(X)\n"
        "for ax in (charts.plot_convergence(model), charts.plot_silhouette(silhouette(X, model.labels_)),\n"
        "           plotting.plot_panel(X, [model])[0],\n"
        "           plotting.plot_clusters_3d(X, model.labels_, model.cluster_centers_)):\n"
        "    plotting.save_picture(io.BytesIO(), ax, 'png')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (plot_convergence, plot_silhouette, plot_choice):
        with pytest.raises(ImportError, match=r"pip install 'fastkmeans-numba\[plot\]'$"):
            draw(None)
    with pytest.raises(ImportError, match="pip install"):
        plot_panel([[0.0]], [])
