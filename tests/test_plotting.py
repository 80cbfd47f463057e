"""Pictures: what the artists hold, never what a screen would show."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from fastkmeans.plotting import picture_formats, plot_clusters, save_picture

RNG = np.random.default_rng(0)


def drawn(ax):
    """The scatters: one per cluster in order, and the stars."""
    *clusters, stars = [artist for artist in ax.get_children() if isinstance(artist, PathCollection)]
    return clusters, stars


def luminance(color):
    red, green, blue, _ = to_rgba(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def clustered(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 10, (k, d))
    labels = rng.integers(0, k, n)
    return centers[labels] + rng.normal(size=(n, d)), labels, centers


def test_rows_have_the_color_of_their_label_and_centers_are_stars():
    X, labels, centers = clustered(300, 2, 3)
    ax = plot_clusters(X, labels, centers, feature_names=["V1", "V2"])
    clusters, stars = drawn(ax)
    assert len(clusters) == 3
    for c, artist in enumerate(clusters):
        np.testing.assert_array_equal(artist.get_offsets(), X[labels == c])
        assert len(artist.get_facecolors()) == 1
        np.testing.assert_array_equal(artist.get_facecolors()[0, :3], stars.get_facecolors()[c, :3])
    np.testing.assert_array_equal(stars.get_offsets(), centers)
    assert len(stars.get_paths()[0].vertices) == 11  # five points, five notches, closed
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("V1", "V2")
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    counts = np.bincount(labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        *(f"cluster {c}: {counts[c]} rows" for c in range(3)),
        "center",
    ]


@pytest.mark.parametrize("k", [2, 3, 5, 8])
def test_clusters_differ_in_grey_and_in_marks(k):
    clusters, _ = drawn(plot_clusters(*clustered(200, 2, k)))
    shades = [luminance(artist.get_facecolors()[0]) for artist in clusters]
    assert np.diff(shades).min() > 0.5 / k, "each shade lighter than the one before, in even steps"
    assert max(shades) < 0.8, "visible on white"
    marks = {artist.get_paths()[0].vertices.tobytes() for artist in clusters}
    assert len(marks) == k


def test_near_clusters_take_different_shades():
    X, labels, centers = clustered(4000, 2, 40)
    clusters, _ = drawn(plot_clusters(X, labels, centers))
    assert len(clusters) == 40
    colors = np.array([artist.get_facecolors()[0, :3] for artist in clusters])
    for c in range(8, 40):
        others = np.abs(centers[:c] - centers[c]).max(axis=1)
        assert not np.array_equal(colors[c], colors[others.argmin()])


def test_many_clusters_have_no_legend_and_no_numbers():
    ax = plot_clusters(*clustered(500, 2, 60))
    assert ax.get_legend() is None
    assert len(ax.texts) == 0


def test_one_feature_is_a_row_per_cluster():
    X, labels, centers = clustered(200, 1, 4)
    ax = plot_clusters(X, labels, centers, feature_names=["length"])
    clusters, stars = drawn(ax)
    for c, artist in enumerate(clusters):
        np.testing.assert_array_equal(artist.get_offsets()[:, 0], X[labels == c, 0])
        assert np.abs(artist.get_offsets()[:, 1] - c).max() < 0.5
    np.testing.assert_array_equal(stars.get_offsets(), np.column_stack([centers[:, 0], range(4)]))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "cluster")


@pytest.mark.parametrize(("n", "d"), [(200, 5), (10, 40)], ids=["more rows", "more features"])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_more_features_are_principal_components(n, d, scale):
    X, labels, centers = clustered(n, d, 3)
    ax = plot_clusters(X * scale, labels, centers * scale)
    middle = X.mean(axis=0)
    _, sizes, axes = np.linalg.svd(X - middle, full_matrices=False)
    share = sizes**2 / (sizes**2).sum()
    assert ax.get_xlabel() == f"first principal component ({share[0]:.1%} of variance)"
    assert ax.get_ylabel() == f"second principal component ({share[1]:.1%} of variance)"
    clusters, stars = drawn(ax)
    for j in range(2):
        sign = np.sign(axes[j, np.abs(axes[j]).argmax()])
        np.testing.assert_allclose(stars.get_offsets()[:, j] / scale, (centers - middle) @ axes[j] * sign, atol=1e-8)
        for c, artist in enumerate(clusters):
            rows = (X[labels == c] - middle) @ axes[j] * sign
            np.testing.assert_allclose(artist.get_offsets()[:, j] / scale, rows, atol=1e-8)


def test_equal_rows_have_no_variance_to_share():
    ax = plot_clusters(np.ones((4, 3)), np.zeros(4, int), np.ones((1, 3)))
    assert ax.get_xlabel() == "first principal component (0.0% of variance)"


def test_a_sample_is_drawn_and_said():
    X, labels, centers = clustered(5000, 2, 3)
    ax = plot_clusters(X, labels, centers, max_points=1000, title="mine")
    clusters, _ = drawn(ax)
    assert sum(len(artist.get_offsets()) for artist in clusters) == 1000
    assert ax.get_title() == "mine\na random sample of 1,000 of 5,000 rows is drawn"
    rows = {tuple(row) for row in X}
    assert all(tuple(row) in rows for artist in clusters for row in artist.get_offsets())
    again, _ = drawn(plot_clusters(X, labels, centers, max_points=1000))
    np.testing.assert_array_equal(again[0].get_offsets(), clusters[0].get_offsets())
    counts = np.bincount(labels)
    assert ax.get_legend().get_texts()[0].get_text() == f"cluster 0: {counts[0]:,} rows", (
        "of all rows, not of the sample"
    )


def test_the_axes_given_are_used_and_returned():
    ax = Figure().subplots()
    assert plot_clusters(*clustered(20, 2, 2), ax=ax) is ax


def test_names_of_a_frame_and_dollars():
    import pandas as pd

    X, labels, centers = clustered(20, 2, 2)
    frame = pd.DataFrame(X, columns=["cost in $", "$\\frac{"])
    ax = plot_clusters(frame, labels, centers, title="$x_{")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("cost in $", "$\\frac{")
    save_picture(io.BytesIO(), ax, "svg")


def test_a_picture_is_written():
    assert {"png", "pdf", "svg"} <= picture_formats()
    stream = io.BytesIO()
    save_picture(stream, plot_clusters(*clustered(20, 2, 2)), "png")
    assert stream.getvalue().startswith(b"\x89PNG")
    assert int.from_bytes(stream.getvalue()[16:20], "big") >= 800, "wide enough to read"


def test_an_empty_cluster_has_a_star_and_no_rows():
    clusters, stars = drawn(plot_clusters([[0.0, 0.0], [1.0, 1.0]], [0, 2], [[0.0, 0.0], [9.0, 9.0], [1.0, 1.0]]))
    assert [len(artist.get_offsets()) for artist in clusters] == [1, 0, 1]
    assert len(stars.get_offsets()) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0]}, "needs labels of shape"),
        ({"centers": [[0.0, 1.0, 2.0]]}, "needs labels of shape"),
        ({"labels": [0, 5]}, "labels must be integers from 0 to 1"),
        ({"labels": [0, -1]}, "labels must be integers"),
        ({"labels": [0.0, 1.0]}, "labels must be integers"),
        ({"feature_names": ["only one"]}, "feature_names has 1 names for 2 features"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    given = {"X": [[0.0, 1.0], [2.0, 3.0]], "labels": [0, 1], "centers": [[0.0, 1.0], [2.0, 3.0]], **change}
    with pytest.raises(ValueError, match=message):
        plot_clusters(**given)


def test_without_matplotlib_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastkmeans-numba\[plot\]'$"):
        plot_clusters([[0.0, 1.0]], [0], [[0.0, 1.0]])


def test_pyplot_is_never_touched():
    code = (
        "import io, sys; from fastkmeans.plotting import plot_clusters, save_picture\n"
        "save_picture(io.BytesIO(), plot_clusters([[0., 1.], [2., 3.]], [0, 1], [[0., 1.], [2., 3.]]), 'png')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
