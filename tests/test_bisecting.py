"""`BisectingKMeans`: the tree, the strategies, and the cuts, which are the solver's."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastkmeans import BisectingKMeans, KMeans, hierarchy

rng = np.random.default_rng(8)
MEANS = np.array([[0.0, 0.0], [0.0, 30.0], [100.0, 0.0], [100.0, 25.0]])
SIZES = [40, 300, 60, 80]
X = np.concatenate([mean + rng.normal(size=(size, 2)) for mean, size in zip(MEANS, SIZES, strict=True)])
X = X[rng.permutation(len(X))]


def reference(X, k, strategy, starts):
    """Cuts by KMeans with two clusters, from the given pairs of rows, leaves in a list from left to right."""
    leaves = [np.arange(len(X))]
    for start in starts[: k - 1]:
        inertias = [((X[rows] - X[rows].mean(axis=0)) ** 2).sum() for rows in leaves]
        scores = inertias if strategy == "biggest_inertia" else [len(rows) for rows in leaves]
        at = int(np.argmax(scores)) if len(leaves) > 1 else 0
        rows = leaves[at]
        part = X[rows]
        cut = KMeans(2, init=start(part, 2), tol=0).fit(part)
        leaves[at : at + 1] = [rows[cut.labels_ == side] for side in (0, 1)]
    labels = np.empty(len(X), np.int32)
    for label, rows in enumerate(leaves):
        labels[rows] = label
    return labels


def ends(data, n_clusters, random_state=None):
    order = np.argsort(np.asarray(data)[:, 1], kind="stable")
    return np.asarray(data)[order[[0, -1]]]


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_cuts_by_hand(strategy, k):
    model = BisectingKMeans(k, init=ends, tol=0, bisecting_strategy=strategy).fit(X)
    assert_array_equal(model.labels_, reference(X, k, strategy, [ends] * k))
    assert_array_equal(model.predict(X), model.labels_)
    means = np.array([X[model.labels_ == c].mean(axis=0) for c in range(k)])
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-12)
    assert model.inertia_ == pytest.approx(((X - means[model.labels_]) ** 2).sum())
    assert_array_equal(model.cluster_weights_, np.bincount(model.labels_, minlength=k))


def test_strategies_differ_as_they_should():
    by_inertia = BisectingKMeans(3, n_init=3, random_state=0).fit(X)
    # the first cut parts left from right; the left has the higher inertia, and the more rows
    assert sorted(by_inertia.cluster_weights_) == [40.0, 140.0, 300.0]
    by_weight = BisectingKMeans(4, n_init=3, random_state=0, bisecting_strategy="largest_cluster").fit(X)
    assert {40.0, 140.0} < set(by_weight.cluster_weights_) and 300.0 not in by_weight.cluster_weights_
    four = BisectingKMeans(4, n_init=3, random_state=0).fit(X)
    assert sorted(four.cluster_weights_) == [40.0, 60.0, 80.0, 300.0]


def test_predict_goes_down_the_tree():
    """A row nearest to one center goes elsewhere where a cut above sends it there."""
    data = np.array([[0.0], [1.0], [10.0], [11.0], [30.0], [31.0]])
    model = BisectingKMeans(3, init=lambda rows, k, random_state: rows[[0, -1]]).fit(data)
    assert_array_equal(model.predict(data), model.labels_)
    probe = np.linspace(-5, 40, 1000).reshape(-1, 1)
    nearest = np.abs(probe - model.cluster_centers_.ravel()).argmin(axis=1)
    assert (model.predict(probe) != nearest).any()
    assert model.score(data) >= -model.inertia_


def test_threads_have_no_influence():
    data = (rng.normal(size=(40_000, 9)) + rng.integers(3, size=(40_000, 1)) * 2.0).astype(np.float32)
    assert len(data) >= hierarchy.THINNING * hierarchy.FEWEST_ROWS  # cuts are tried on fewer rows
    one = BisectingKMeans(5, random_state=0, n_threads=1).fit(data)
    other = BisectingKMeans(5, random_state=0).fit(data)
    assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    assert_array_equal(one.labels_, other.labels_)
    assert one.inertia_ == other.inertia_
    assert_array_equal(one.predict(data), one.labels_)
    assert one.cluster_centers_.dtype == np.float32


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
def test_the_algorithm_has_no_influence(algorithm):
    model, auto = (BisectingKMeans(5, random_state=0, algorithm=name).fit(X) for name in (algorithm, "auto"))
    assert_array_equal(model.cluster_centers_, auto.cluster_centers_)


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
def test_weights_equal_repetition(strategy):
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    params = {"n_clusters": 6, "init": ends, "bisecting_strategy": strategy}
    present = X[weights > 0]
    weighted = BisectingKMeans(**params).fit(present, sample_weight=weights[weights > 0])
    repeated = BisectingKMeans(**params).fit(np.repeat(X, weights, axis=0))
    assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    assert weighted.inertia_ == repeated.inertia_
    assert_array_equal(weighted.cluster_weights_, repeated.cluster_weights_)


def test_fewer_distinct_rows_than_clusters():
    from sklearn.exceptions import ConvergenceWarning

    data = np.repeat([[0.0, 1.0], [5.0, 5.0]], 4, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"clusters \(2\) found smaller than n_clusters \(4\)"):
        model = BisectingKMeans(4, random_state=0).fit(data)
    assert model.inertia_ == 0.0
    assert_array_equal(model.predict(data), model.labels_)
    with pytest.warns(ConvergenceWarning):
        BisectingKMeans(3, random_state=0).fit([[0.0], [1.0], [2.0]], sample_weight=[0, 1, 0])


def test_callable_gets_the_rows_of_the_cluster():
    pl = pytest.importorskip("polars")
    seen = []

    def init(data, n_clusters, random_state):
        seen.append(data)
        return ends(data, n_clusters)

    frame = pl.DataFrame(X, schema=["a", "b"])
    model = BisectingKMeans(3, init=init, n_init=2).fit(frame)
    assert seen[0] is frame and seen[1] is frame
    assert len(seen) == 4
    assert isinstance(seen[2], pl.DataFrame) and len(seen[2]) < len(X)
    assert_array_equal(model.labels_, BisectingKMeans(3, init=ends).fit(X).labels_)


def test_pickle_verbose_and_parameters(capsys):
    model = BisectingKMeans(5, random_state=0, verbose=1).fit(X)
    assert capsys.readouterr().out.count("New centroids from bisection") == 4
    data = pickle.dumps(model)
    assert b"numba" not in data
    assert_array_equal(pickle.loads(data).predict(X), model.labels_)
    bad = {"init": X[:2], "n_init": "auto", "bisecting_strategy": "smallest", "algorithm": "full", "tol": -1}
    for name, value in bad.items():
        with pytest.raises(ValueError, match=f"The '{name}' parameter of BisectingKMeans must be"):
            BisectingKMeans(2, **{name: value}).fit(X)
    with pytest.raises(ValueError, match="n_samples=2 should be >= n_clusters=3"):
        BisectingKMeans(3).fit(X[:2])
