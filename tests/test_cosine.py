"""metric="cosine": k-means on directions, dense and in compressed rows, against a plain NumPy form of it."""

import math
import warnings
from fractions import Fraction

import matrix
import numpy as np
import pytest
from test_sparse import assert_same_fit, csr, fit

from fastkmeans import KMeans, MiniBatchKMeans, diagnose, packed
from fastkmeans.models import Model, load_model, save_model

SOME = ["blobs", "digits32", "duplicates", "sparse rows", "two scales", "outlier", "heavy tails", "integers", "1e-310"]


def length(row):
    """Of a row of float64, squares added from left to right; scaled by a power of two so that none is lost."""
    scale = 2.0 ** -max(math.frexp(np.abs(row).max())[1], -1021)
    total = 0.0
    for value in row * scale:
        total += value * value
    return scale, math.sqrt(total)


def unit(rows, dtype):
    rows = np.asarray(rows, np.float64)
    out = np.zeros(rows.shape, dtype)
    for i, row in enumerate(rows):
        if row.any():
            scale, size = length(row)
            out[i] = row * scale / size
    return out


def spherical(X, start, n_iter):
    """Labels, centers and inertia of spherical k-means, with means of exact sums; clusters must not run empty."""
    dtype = np.float32 if X.dtype.itemsize <= 2 or X.dtype == np.float32 else np.float64
    rows, centers = unit(X, dtype), unit(start, dtype)
    for t in range(n_iter + 1):
        differences = rows.astype(np.float64)[:, None] - centers.astype(np.float64)
        squares = (differences * differences).cumsum(axis=2)[:, :, -1]
        labels = squares.argmin(axis=1)
        labels[~rows.any(axis=1)] = 0
        if t == n_iter:
            break
        means = np.zeros(centers.shape)
        for c in range(len(centers)):
            own = rows[(labels == c) & rows.any(axis=1)]
            means[c] = [float(sum(map(Fraction, map(float, column))) / len(own)) for column in own.T]
        centers = unit(means, dtype)
    distances = np.where(rows.any(axis=1), squares[np.arange(len(rows)), labels] / 2, 1.0)
    return labels, centers, float(sum(map(Fraction, distances.tolist())))


@pytest.fixture(params=["vectors", "plain loops"])
def kernels(request, monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", 0.0 if request.param == "vectors" else np.inf)


def sparse_like(dtype):
    rng = np.random.default_rng(3)
    X = np.where(rng.random((90, 12)) < 0.6, 0, rng.normal(size=(90, 12)) + 0.2).astype(dtype)
    X[[17, 60]] = 0
    return X


@pytest.mark.parametrize("n_iter", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [np.array, csr])
def test_equals_plain_numpy(form, dtype, n_iter, kernels):
    X = sparse_like(dtype)
    model = fit(form(X), 4, X[:4] + 0.0, metric="cosine", tol=0.0, max_iter=n_iter)
    labels, centers, inertia = spherical(X, X[:4], model.n_iter_)
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_array_equal(model.cluster_centers_, centers)
    assert model.cluster_centers_.dtype == dtype
    assert model.inertia_ == pytest.approx(inertia, rel=1e-15)
    assert model.score(form(X)) == -model.inertia_
    np.testing.assert_array_equal(model.predict(form(X)), labels)


@pytest.mark.parametrize("init", ["rows", "k-means++", "k-means||", "random"])
@pytest.mark.parametrize("name", SOME)
def test_sparse_equals_dense(name, init):
    X, k = matrix.dataset(name)
    start = init
    if init == "rows":
        start = matrix.start(name, "rows")
        start[~start.any(axis=1)] = 1.0  # what is all zeros has no direction
    dense = fit(csr(X).toarray(), k, start, metric="cosine")
    assert_same_fit(fit(csr(X), k, start, metric="cosine"), dense)
    weights = matrix.weights(name, "integer with zeros")
    weighted = fit(X + X.dtype.type(0), k, start, weights, metric="cosine", max_iter=2)
    assert_same_fit(fit(csr(X), k, start, weights, metric="cosine", max_iter=2), weighted)


@pytest.mark.parametrize("form", [np.array, csr])
def test_is_one_minus_cosine(form):
    X = sparse_like(np.float64)
    model = KMeans(4, init=X[:4], metric="cosine").fit(form(X))
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1.0, rtol=1e-15)
    norms = np.linalg.norm(X, axis=1)
    cosines = X @ model.cluster_centers_.T / np.where(norms > 0, norms, 1.0)[:, None]
    distances = model.transform(form(X))
    np.testing.assert_allclose(distances, 1 - cosines, atol=1e-14)
    assert model.inertia_ == pytest.approx((1 - cosines).min(axis=1).sum(), rel=1e-13)
    assert model.history_[-1].inertia == pytest.approx(model.inertia_, rel=1e-13)


@pytest.mark.parametrize("form", [np.array, csr])
def test_rows_of_zeros_count_nowhere(form):
    X = sparse_like(np.float64)
    weights = np.arange(len(X)) % 3 + 0.5
    zero = ~X.any(axis=1)
    model = KMeans(4, init=X[:4], metric="cosine").fit(form(X), sample_weight=weights)
    without = KMeans(4, init=X[:4], metric="cosine").fit(form(X[~zero]), sample_weight=weights[~zero])
    np.testing.assert_array_equal(model.cluster_centers_, without.cluster_centers_)
    np.testing.assert_array_equal(model.cluster_weights_, without.cluster_weights_)
    np.testing.assert_array_equal(model.labels_[~zero], without.labels_)
    assert (model.labels_[zero] == 0).all() and (model.predict(form(X[zero])) == 0).all()
    assert (model.transform(form(X))[zero] == 1.0).all()
    assert model.inertia_ == pytest.approx(without.inertia_ + weights[zero].sum(), rel=1e-15)
    assert model.score(form(X[zero]), sample_weight=weights[zero]) == -weights[zero].sum()
    for seed in range(20):  # never a start
        assert fit(form(X), 4, "k-means++", metric="cosine", random_state=seed).cluster_centers_.any(axis=1).all()


@pytest.mark.parametrize("form", [np.array, csr])
def test_lengths_of_rows_do_not_matter(form):
    """Powers of two change no bit, whatever they are; and weights equal repetition."""
    X = sparse_like(np.float64)
    model = fit(form(X), 4, X[:4] + 0.0, metric="cosine")
    scales = 2.0 ** np.random.default_rng(0).integers(-900, 900, (len(X), 1))
    assert_same_fit(fit(form(X * scales), 4, X[:4] * 0.25, metric="cosine"), model)
    times = np.random.default_rng(0).integers(0, 3, len(X))
    repeated = fit(form(np.repeat(X, times, axis=0)), 4, X[:4] + 0.0, metric="cosine")
    weighted = fit(form(X), 4, X[:4] + 0.0, times, metric="cosine")
    np.testing.assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    assert weighted.inertia_ == repeated.inertia_


def test_any_layout_and_algorithm(monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", 0.0)
    X, k = matrix.dataset("digits")
    before = X.tobytes()
    model = fit(X, k, matrix.start("digits", "rows"), metric="cosine")
    assert X.tobytes() == before
    for other in (np.asfortranarray(X), X.tolist()):
        assert_same_fit(fit(other, k, matrix.start("digits", "rows"), metric="cosine"), model)
    bounded = fit(X, k, matrix.start("digits", "rows"), metric="cosine", algorithm="elkan")
    np.testing.assert_array_equal(bounded.labels_, model.labels_)
    np.testing.assert_array_equal(bounded.cluster_centers_, model.cluster_centers_)
    assert bounded.inertia_ == model.inertia_
    swapped = fit(X, k, matrix.start("digits", "rows"), metric="cosine", refine="swap")
    assert swapped.inertia_ <= model.inertia_
    np.testing.assert_allclose(np.linalg.norm(swapped.cluster_centers_, axis=1), 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mini_batches(dtype):
    X = sparse_like(dtype)
    models = [
        MiniBatchKMeans(4, metric="cosine", batch_size=32, n_init=2, random_state=0).fit(form(X))
        for form in (np.array, csr)
    ]
    for name in ("cluster_centers_", "labels_", "counts_", "inertia_"):
        np.testing.assert_array_equal(getattr(models[0], name), getattr(models[1], name))
    centers = models[0].cluster_centers_.astype(np.float64)
    norms = np.linalg.norm(X.astype(np.float64), axis=1)
    cosines = X @ centers.T / np.where(norms > 0, norms, 1.0)[:, None]
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 1.0, rtol=1e-7)
    assert models[0].inertia_ == pytest.approx((1 - cosines).min(axis=1).sum(), rel=1e-6)
    np.testing.assert_allclose(models[1].transform(csr(X)), 1 - cosines, atol=1e-6)
    assert (models[0].labels_[[17, 60]] == 0).all() and models[0].inertia_ == -models[0].score(X)
    first, then = (MiniBatchKMeans(4, init=X[:4], metric="cosine", n_init=1, reassignment_ratio=0) for _ in range(2))
    for model, form in ((first, np.array), (then, csr)):
        model.partial_fit(form(X)).partial_fit(form(X[::-1]), sample_weight=np.arange(90.0))
    np.testing.assert_array_equal(first.cluster_centers_, then.cluster_centers_)
    np.testing.assert_allclose(np.linalg.norm(first.cluster_centers_, axis=1), 1.0, rtol=1e-6)


def test_model_files(tmp_path):
    X = sparse_like(np.float64)
    model = KMeans(4, init=X[:4], metric="cosine").fit(X)
    save_model(tmp_path / "m.npz", Model.from_estimator(model))
    again = load_model(tmp_path / "m.npz").to_estimator()
    np.testing.assert_array_equal(again.transform(csr(X)), model.transform(csr(X)))
    with pytest.raises(ValueError, match="another metric"):
        diagnose(X, model)


def test_a_batch_that_cancels_out_leaves_the_direction():
    X = np.array([[1.0, 0.0], [-1.0, 0.0]])
    model = MiniBatchKMeans(1, metric="cosine", init=[[1.0, 0.0]]).partial_fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, [[1.0, 0.0]])
    np.testing.assert_array_equal(model.transform(X).ravel(), [0.0, 2.0])
    assert model.inertia_ == 2.0


def test_centers_that_are_set_count_by_their_direction():
    model = MiniBatchKMeans(1, metric="cosine", init=[[1.0, 0.0]]).partial_fit([[1.0, 0.0]])
    model.cluster_centers_ = np.array([[3.0, 4.0]])
    middle = np.array([0.8, 0.4])  # of (0.6, 0.8) and (1, 0)
    np.testing.assert_allclose(model.partial_fit([[1.0, 0.0]]).cluster_centers_[0], middle / np.linalg.norm(middle))


def test_a_mean_of_nothing_leaves_the_center():
    """Directions that cancel have no mean direction."""
    X = np.array([[1.0, 0.0], [-1.0, 0.0]])
    model = KMeans(1, init=[[0.0, 2.0]], metric="cosine").fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, [[0.0, 1.0]])
    assert model.inertia_ == 2.0


@pytest.mark.parametrize("form", [np.array, csr])
def test_refused(form):
    with pytest.raises(ValueError, match="no row of positive weight that is not all zeros"):
        KMeans(1, metric="cosine").fit(form(np.zeros((3, 2))))
    with pytest.raises(ValueError, match="init is all zeros in row 1"):
        KMeans(2, init=[[1.0, 0.0], [0.0, 0.0]], metric="cosine").fit(form(np.eye(2)))
    X = np.eye(3)
    X[1, 2] = np.inf
    with pytest.raises(ValueError, match=r"infinity(.|\n)*row 1, column 2. KMeans needs"):
        KMeans(2, metric="cosine").fit(form(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KMeans(2, metric="cosine", random_state=0).fit(form(np.eye(2)))
