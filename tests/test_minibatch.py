"""`MiniBatchKMeans`: what a step does, to the bit, and what users of scikit-learn's rely on."""

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastkmeans import KMeans, MiniBatchKMeans
from fastkmeans.batches import Plateau

rng = np.random.default_rng(3)
K = 6
MEANS = rng.uniform(-20, 20, (K, 4))
X = MEANS[rng.integers(K, size=3000)] + rng.normal(size=(3000, 4))
START = X[:K].copy()


def test_steps_by_hand():
    """Two batches with weights, in fractions: labels by the stored centers, each center the mean of all its rows."""
    batches = [np.array([[0.0], [1.0], [10.0]]), np.array([[2.0], [9.0], [14.0]])]
    weights = [np.array([1.0, 3.0, 1.0]), np.array([2.0, 0.0, 1.0])]
    model = MiniBatchKMeans(2, init=[[0.0], [10.0]], reassignment_ratio=0)
    model.partial_fit(batches[0], sample_weight=weights[0])
    assert model.cluster_centers_.ravel().tolist() == [0.75, 10.0]
    assert model.counts_.tolist() == [4.0, 1.0]
    model.partial_fit(batches[1], sample_weight=weights[1])
    expected = [Fraction(0 + 3 + 4, 6), Fraction(24, 2)]
    np.testing.assert_allclose(model.cluster_centers_.ravel(), [float(f) for f in expected], rtol=1e-15)
    assert model.counts_.tolist() == [6.0, 2.0]
    assert model.n_steps_ == 2
    assert model.labels_.tolist() == [0, 1, 1]  # of the last batch
    assert model.inertia_ == pytest.approx(2 * (2 - 7 / 6) ** 2 + 4)


def test_the_first_batch_is_an_iteration_of_kmeans():
    model = MiniBatchKMeans(K, init=START, reassignment_ratio=0).partial_fit(X)
    once = KMeans(K, init=START, max_iter=1).fit(X)
    assert_array_equal(model.cluster_centers_, once.cluster_centers_)
    assert_array_equal(model.labels_, once.labels_)
    assert model.inertia_ == once.inertia_
    assert model.counts_.sum() == len(X)


def test_threads_have_no_influence():
    data = np.repeat(X, 3, axis=1).astype(np.float32)
    params = {"n_clusters": 700, "batch_size": 2500, "max_iter": 2, "random_state": 0, "init": data[:700]}
    one = MiniBatchKMeans(**params, n_threads=1).fit(data)
    other = MiniBatchKMeans(**params).fit(data)
    assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    assert_array_equal(one.labels_, other.labels_)
    assert (one.inertia_, one.n_steps_) == (other.inertia_, other.n_steps_)
    assert one.cluster_centers_.dtype == np.float32


def test_counts_never_saturate():
    model = MiniBatchKMeans(1, init=np.float32([[0.0]]), compute_labels=False)
    batch = np.ones((2, 1), np.float32)
    model.partial_fit(batch, sample_weight=[2.0**40, 2.0**40])
    for _ in range(50):
        model.partial_fit(batch * 3)
    assert model.counts_.tolist() == [2.0**41 + 100]
    assert model._moving.exact[0, 0] > 1.0  # float32 could not have moved
    assert model.cluster_centers_.dtype == np.float32


def test_finds_the_blobs_as_well_as_scikit_learn():
    from sklearn.cluster import MiniBatchKMeans as Theirs

    ours = np.mean([MiniBatchKMeans(K, batch_size=200, random_state=seed).fit(X).inertia_ for seed in range(3)])
    theirs = np.mean([Theirs(K, batch_size=200, random_state=seed, n_init=1).fit(X).inertia_ for seed in range(3)])
    assert ours <= 1.02 * theirs
    assert ours <= 1.02 * KMeans(K, refine="swap", random_state=0).fit(X).inertia_


def test_labels_are_those_of_predict_and_the_rest_fits():
    model = MiniBatchKMeans(K, batch_size=100, random_state=1).fit(X)
    assert_array_equal(model.labels_, model.predict(X))
    assert model.score(X) == -model.inertia_
    assert model.n_iter_ == -(-model.n_steps_ * 100 // 3000)
    assert model.get_feature_names_out().tolist() == [f"minibatchkmeans{i}" for i in range(K)]
    assert_array_equal(MiniBatchKMeans(K, batch_size=100, random_state=1).fit_transform(X), model.transform(X))
    bare = MiniBatchKMeans(K, batch_size=100, random_state=1, compute_labels=False).fit(X)
    assert not hasattr(bare, "labels_")
    assert_array_equal(bare.cluster_centers_, model.cluster_centers_)
    assert bare.inertia_ == pytest.approx(model.inertia_, rel=0.3)
    assert not hasattr(model.set_params(compute_labels=False).fit(X), "labels_")


def test_weights_draw_rows():
    weights = np.where(X[:, 0] > 0, 1.0, 0.0)
    model = MiniBatchKMeans(3, batch_size=100, random_state=0).fit(X, sample_weight=weights)
    assert (model.cluster_centers_[:, 0] > 0).all()
    assert model.score(X, sample_weight=weights) == -model.inertia_


def test_partial_fit_goes_on_from_fit_from_a_pickle_and_from_set_centers():
    model = MiniBatchKMeans(K, batch_size=100, random_state=1).fit(X)
    again = pickle.loads(pickle.dumps(model))
    steps, counts = model.n_steps_, model.counts_.sum()
    for each in (model, again):
        each.partial_fit(X[:50])
    assert (model.n_steps_, model.counts_.sum()) == (steps + 1, counts + 50)
    assert_array_equal(model.cluster_centers_, again.cluster_centers_)
    moved = copy.deepcopy(model)
    moved.cluster_centers_ = moved.cluster_centers_ + 100.0
    assert (moved.partial_fit(X[:50]).cluster_centers_ > 20).any()


def test_a_failed_partial_fit_leaves_the_model_as_it_was():
    model = MiniBatchKMeans(K, random_state=1).partial_fit(X[:500])
    kept = copy.deepcopy(model)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((9, 4), np.nan))
    with pytest.raises(ValueError, match="X has 3 features, but MiniBatchKMeans is expecting 4"):
        model.partial_fit(X[:9, :3])
    for each in (model, kept):
        each.partial_fit(X[500:600])
    assert_array_equal(model.cluster_centers_, kept.cluster_centers_)
    fresh = MiniBatchKMeans(K)
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=6"):
        fresh.partial_fit(X[:3])
    assert not hasattr(fresh, "n_features_in_")


def test_centers_with_few_rows_are_moved(capsys):
    far = np.concatenate([START[:-1], [[1e6] * 4]])
    params = {"n_clusters": K, "init": far, "random_state": 0, "verbose": 1}
    model = MiniBatchKMeans(**params).partial_fit(X)
    assert "[MiniBatchKMeans] Reassigning 1 cluster centers." in capsys.readouterr().out
    assert np.abs(model.cluster_centers_).max() < 100
    assert (model.cluster_centers_[-1] == X).all(axis=1).any()  # a row of the batch
    assert model.counts_[-1] == model.counts_[:-1].min()
    model = MiniBatchKMeans(**params, reassignment_ratio=0).partial_fit(X)
    assert_array_equal(model.cluster_centers_[-1], far[-1])
    # at most half of a batch
    few = MiniBatchKMeans(4, init=np.arange(4.0).reshape(-1, 1) * 1e6, random_state=0, verbose=1)
    few.partial_fit(np.zeros((4, 1)))
    assert "Reassigning 2 cluster centers." in capsys.readouterr().out


def test_early_stopping():
    plateau = Plateau(0.5, 0.0, 2, 9, 0)
    assert [plateau.reached(t, value, 1.0) for t, value in enumerate([9, 4, 3, 5, 5, 1], 1)][:5] == [
        False, False, False, False, True
    ]  # fmt: skip
    plateau = Plateau(0.5, 0.1, None, 9, 0)
    assert [plateau.reached(t, 1.0, shift) for t, shift in enumerate([0.0, 0.2, 0.1], 1)] == [False, False, True]
    patient = MiniBatchKMeans(K, batch_size=100, max_iter=2, max_no_improvement=None, random_state=0).fit(X)
    assert patient.n_steps_ == 60
    hasty = MiniBatchKMeans(K, batch_size=100, max_iter=2, max_no_improvement=0, random_state=0).fit(X)
    assert hasty.n_steps_ == 2
    by_shift = MiniBatchKMeans(K, batch_size=100, max_no_improvement=None, tol=1e-5, random_state=0).fit(X)
    assert 2 < by_shift.n_steps_ < 3000


def test_verbose(capsys):
    MiniBatchKMeans(K, init="random", batch_size=300, max_no_improvement=1, random_state=0, verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:8] for line in lines[:6:2]] == ["Init 1/3", "Init 2/3", "Init 3/3"]
    assert lines[6].startswith("Minibatch step 1/1000: mean batch inertia: ")
    assert lines[-1].startswith("Converged (lack of improvement in inertia) at step ")


def test_callable_and_frame():
    pd = pytest.importorskip("pandas")
    seen = []

    def first_rows(data, n_clusters, random_state):
        seen.append(data)
        return data[:n_clusters]

    MiniBatchKMeans(K, init=first_rows, init_size=50, random_state=0).fit(pd.DataFrame(X, columns=list("abcd")))
    assert len(seen) == 3
    assert all(list(data.columns) == list("abcd") and len(data) == 50 for data in seen)
    MiniBatchKMeans(K, init=first_rows, n_init=1, random_state=0).fit(X[:60])
    assert len(seen[-1]) == 60


def test_warnings_and_parameters():
    with pytest.warns(RuntimeWarning, match="init_size=3 should be larger than n_clusters=6") as caught:
        MiniBatchKMeans(K, init_size=3, random_state=0).fit(X)
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="performing only one init in MiniBatchKMeans instead of n_init=2"):
        MiniBatchKMeans(K, init=START, n_init=2).partial_fit(X)
    bad = {
        "batch_size": 0, "compute_labels": 1, "max_no_improvement": -1, "init_size": 0, "reassignment_ratio": -0.1,
        "tol": -1, "max_iter": 0, "metric": "manhattan",
    }  # fmt: skip
    for name, value in bad.items():
        for method in ("fit", "partial_fit"):
            with pytest.raises(ValueError, match=f"The '{name}' parameter of MiniBatchKMeans must be"):
                getattr(MiniBatchKMeans(2, **{name: value}), method)(X)
