"""Compressed rows: the same labels, centers, iterations and inertia as the dense form of the same matrix, to the bit.

The dense form is `toarray()` of the user's matrix, and equal to the oracle elsewhere. Vector kernels are forced, as in
test_exact_fit.
"""

import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path

import matrix
import numpy as np
import pytest

import fastkmeans
from fastkmeans import (
    BisectingKMeans,
    KMeans,
    MiniBatchKMeans,
    choose_k,
    diagnose,
    kmeans_plusplus,
    packed,
    passes,
    scalable,
    silhouette,
    simplified_silhouette,
    threads,
)
from fastkmeans import sparse as edge
from fastkmeans.data import Data
from fastkmeans.kernels import simd
from fastkmeans.points import as_points

SOME = ["blobs", "digits32", "duplicates", "sparse rows", "two scales", "outlier", "cube lattice", "1e-310"]
FITTED = ("cluster_centers_", "labels_", "cluster_weights_")


@pytest.fixture(autouse=True)
def vector_kernels(monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", 0.0)


class Duck:
    """A sparse matrix of no library: what a CSR matrix must have, and nothing else."""

    format = "csr"

    def __init__(self, indptr, indices, data, shape):
        self.indptr, self.indices, self.data, self.shape = indptr, indices, data, shape
        self.dtype, self.nnz = data.dtype, len(data)

    def toarray(self):
        dense = np.zeros(self.shape, self.dtype)
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        np.add.at(dense, (rows, self.indices), self.data)
        return dense


def csr(X, index=np.int32):
    rows, columns = np.nonzero(X)
    indptr = np.searchsorted(rows, np.arange(len(X) + 1)).astype(index)
    return Duck(indptr, columns.astype(index), X[rows, columns], X.shape)


def fit(X, k, init, weights=None, **parameters):
    parameters = {"n_init": 1, "random_state": 5, **parameters}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        return KMeans(k, init=init, **parameters).fit(X, sample_weight=weights)


def assert_same_fit(ours, dense):
    for name in FITTED:
        a, b = getattr(ours, name), getattr(dense, name)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name
    assert (ours.inertia_, ours.n_iter_, ours.converged_) == (dense.inertia_, dense.n_iter_, dense.converged_)
    for a, b in zip(ours.history_, dense.history_, strict=True):
        assert (a.inertia, a.center_shift, a.n_changed, a.n_refilled) == (
            b.inertia, b.center_shift, b.n_changed, b.n_refilled
        )  # fmt: skip


def check(X, k, init, weights=None, **parameters):
    sparse = csr(X)
    ours = fit(sparse, k, init, weights, **parameters)
    assert_same_fit(ours, fit(sparse.toarray(), k, init, weights, **parameters))
    np.testing.assert_array_equal(ours.predict(sparse), ours.labels_)
    assert ours.score(sparse, sample_weight=weights) == -ours.inertia_
    return ours, sparse


# ------------------------------------------------------------------------------------------------------------- equality
@pytest.mark.parametrize("name", matrix.DATA)
def test_equals_dense(name):
    X, k = matrix.dataset(name)
    check(X, k, matrix.start(name, "rows"), algorithm="lloyd")
    if name in matrix.NAMED:
        check(X, k, matrix.start(name, "ulp"), max_iter=2, algorithm="lloyd")


@pytest.mark.parametrize("start", ["off", "far", "duplicate"])
@pytest.mark.parametrize("name", SOME)
def test_other_starts(name, start):
    check(matrix.dataset(name).X, matrix.dataset(name).k, matrix.start(name, start))


@pytest.mark.parametrize("weighting", ["integer with zeros", "wild", "large integers"])
@pytest.mark.parametrize("name", SOME)
def test_weights(name, weighting):
    X, k = matrix.dataset(name)
    check(X, k, matrix.start(name, "rows"), matrix.weights(name, weighting))
    check(X, k, "k-means++", matrix.weights(name, weighting), max_iter=1)


@pytest.mark.parametrize("name", SOME)
def test_plain_loops(name, monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    X, k = matrix.dataset(name)
    for start in ("rows", "ulp"):
        check(X, k, matrix.start(name, start))


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("name", [*SOME, "digits", "heavy tails", "tight blobs", "1e150", "more clusters than points"])
def test_seeding(name, init):
    X, k = matrix.dataset(name)
    check(X, k, init, max_iter=1)
    if init == "k-means++":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Number of distinct rows")
            for trials in (1, 9):
                ours, dense = (kmeans_plusplus(x, k, random_state=1, n_local_trials=trials) for x in (csr(X), X + 0.0))
                np.testing.assert_array_equal(ours[1], dense[1])
                np.testing.assert_array_equal(ours[0], dense[0])


def test_candidates_are_many(monkeypatch):
    """More rows than clusters join in k-means||, so that they are chosen among."""
    X, _ = matrix.dataset("digits")
    monkeypatch.setattr(scalable, "OVERSAMPLING", 5.0)
    check(X, 20, "k-means||", max_iter=1)


def test_mini_batches():
    X = matrix.dataset("digits32").X
    models = [MiniBatchKMeans(10, batch_size=64, n_init=2, random_state=0).fit(x) for x in (csr(X), X)]
    for name in ("cluster_centers_", "labels_", "counts_"):
        np.testing.assert_array_equal(getattr(models[0], name), getattr(models[1], name))
    assert models[0].inertia_ == models[1].inertia_ and models[0].n_steps_ == models[1].n_steps_
    for model, x in zip(models, (csr(X[:50]), X[:50]), strict=True):
        model.partial_fit(x, sample_weight=np.arange(50.0))
    np.testing.assert_array_equal(models[0].cluster_centers_, models[1].cluster_centers_)


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
def test_bisection(strategy):
    X = matrix.dataset("digits32").X
    models = [BisectingKMeans(9, bisecting_strategy=strategy, random_state=0).fit(x) for x in (csr(X), X)]
    for name in ("cluster_centers_", "labels_", "inertia_"):
        np.testing.assert_array_equal(getattr(models[0], name), getattr(models[1], name))
    np.testing.assert_array_equal(models[0].predict(csr(X)), models[0].predict(X))


def test_quality_and_choice():
    X = matrix.dataset("sparse rows").X + 0.0
    labels = np.arange(len(X)) % 3
    assert silhouette(csr(X), labels).score == silhouette(X, labels).score
    centers = X[:3]
    assert simplified_silhouette(csr(X), labels, centers).score == simplified_silhouette(X, labels, centers).score
    choices = [choose_k(x, [2, 3, 4], random_state=0) for x in (csr(X), X)]
    np.testing.assert_array_equal(choices[0].inertias, choices[1].inertias)
    np.testing.assert_array_equal(choices[0].scores, choices[1].scores)
    with pytest.raises(TypeError, match="diagnose standardizes"):
        diagnose(csr(X))


def test_callable_init_gets_the_matrix():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    X = matrix.dataset("digits32").X

    def first(rows, n_clusters, random_state):
        return rows[:n_clusters].toarray() if scipy_sparse.issparse(rows) else rows[:n_clusters]

    assert_same_fit(fit(scipy_sparse.csr_array(X), 10, first), fit(X, 10, first))
    coo = MiniBatchKMeans(10, init=first, init_size=40, n_init=1, random_state=0).fit(scipy_sparse.coo_array(X))
    dense = MiniBatchKMeans(10, init=first, init_size=40, n_init=1, random_state=0).fit(X)
    np.testing.assert_array_equal(coo.cluster_centers_, dense.cluster_centers_)


def test_refining():
    X, k = matrix.dataset("tight blobs")
    ours, _ = check(X, k, matrix.start("tight blobs", "rows"), refine="swap")
    assert ours.inertia_ < fit(X, k, matrix.start("tight blobs", "rows")).inertia_


@pytest.mark.parametrize("width", [4, 16])
def test_any_lane_width(width):
    X, k = matrix.dataset("k=33 wide")
    with simd.force_lanes(width):
        ours = fit(csr(X), k, matrix.start("k=33 wide", "ulp"), max_iter=2)
    assert_same_fit(ours, fit(X, k, matrix.start("k=33 wide", "ulp"), max_iter=2))


def test_vector_remainders():
    """Every number of vectors that may be left after the last eight, and more than eight."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((150, 12)) < 0.6, 0.0, rng.normal(size=(150, 12))).astype(np.float32)
    w = simd.lane_width()
    for k in (1, *(w * v + 1 for v in range(1, 10))):
        check(X, k, X[:k].copy(), max_iter=1, algorithm="lloyd")


@pytest.mark.parametrize("pool", [True, False])
def test_any_number_of_threads(pool, monkeypatch):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((600, 30)) < 0.8, 0, rng.normal(size=(600, 30))).astype(np.float32)
    alone = fit(csr(X), 5, "k-means++", n_threads=1)
    monkeypatch.setattr(threads, "SERIAL_WORK", 0.0)
    if not pool:  # the lanes themselves, on threads of Python's
        monkeypatch.setattr(threads, "_pool_is_safe", lambda: False)
    together = fit(csr(X), 5, "k-means++", n_threads=threads.default_threads())
    assert_same_fit(together, alone)
    np.testing.assert_array_equal(together.transform(csr(X)), alone.transform(csr(X)))


def test_ranges_of_a_few_rows(monkeypatch):
    X, k = matrix.dataset("digits")
    whole = fit(csr(X), k, "k-means++")
    monkeypatch.setattr("fastkmeans.data.RANGE_ROWS", 50)
    assert_same_fit(fit(csr(X), k, "k-means++"), whole)


# ------------------------------------------------------------------------------------------------------------- storage
def tangled(X, index):
    """The same matrix with columns in any order, some given twice or thrice, and zeros stored."""
    rng = np.random.default_rng(7)
    indptr, indices, data = [0], [], []
    for row in X:
        columns = np.concatenate([np.flatnonzero(row), rng.integers(0, len(row), 20)])
        values = np.concatenate([row[row != 0], rng.integers(-2, 3, 20).astype(X.dtype) / 7])
        order = rng.permutation(len(columns))
        indices.append(columns[order])
        data.append(values[order])
        indptr.append(indptr[-1] + len(columns))
    return Duck(np.array(indptr, index), np.concatenate(indices).astype(index), np.concatenate(data), X.shape)


def parts(X):
    return [np.asarray(a).tobytes() for a in (X.indptr, X.indices, X.data)]


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [csr, tangled])
def test_matrix_as_it_is(form, dtype, index, monkeypatch):
    """Any order of the columns, also twice, and 64-bit indices; the matrix itself stays what it was."""
    monkeypatch.setattr(edge, "ENTRIES_AT_A_TIME", 700)  # converted in many parts
    X = form(matrix.dataset("sparse rows").X.astype(dtype), index)
    for part in (X.indptr, X.indices, X.data):
        part.setflags(write=False)
    before = parts(X)
    ours = fit(X, 8, "k-means++")
    assert parts(X) == before
    assert_same_fit(ours, fit(X.toarray(), 8, "k-means++"))
    points = as_points(X)
    np.testing.assert_array_equal(points.take([5, 3, 3]), X.toarray()[[5, 3, 3]])
    shared = np.shares_memory(points.sparse.rows(slice(0, 139)).columns, X.indices)
    assert shared == (form is csr and index is np.int32)


def test_order_of_additions():
    """What a feature is given is added in the order and dtype it is stored in: float32 loses the 1 or not."""
    data = np.array([1e8, 1.0, -1e8, 1e8, -1e8, 1.0], np.float32)
    X = Duck(np.array([0, 3, 6]), np.array([4, 4, 4, 4, 4, 4]), data, (2, 6))
    np.testing.assert_array_equal(as_points(X).take([0, 1])[:, 4], [0.0, 1.0])
    np.testing.assert_array_equal(as_points(X).take([0, 1]), X.toarray())


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", ">f4", ">f8", "g"])
def test_other_dtypes(dtype):
    X = np.random.default_rng(0).integers(0, 3, (80, 9)).astype(dtype)
    sparse = csr(X)
    twice = Duck(2 * sparse.indptr, np.repeat(sparse.indices, 2), np.repeat(sparse.data, 2), X.shape)
    for form in (sparse, twice):
        dense = form.toarray()
        np.testing.assert_array_equal(as_points(form).take(np.arange(80)), dense.astype(np.float64))
        as_floats = dense.astype(as_points(dense).center_dtype)  # the same centers, and no kernels for every dtype
        assert_same_fit(fit(form, 4, "k-means++"), fit(as_floats, 4, "k-means++"))


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix", "coo_array", "lil_matrix", "bsr_array"])
def test_scipy(kind):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    dense = matrix.dataset("sparse rows").X
    X = getattr(scipy_sparse, kind)(dense)
    before = copy.deepcopy(X)
    ours = fit(X, 8, "k-means++")
    assert_same_fit(ours, fit(dense, 8, "k-means++"))
    np.testing.assert_array_equal(ours.predict(X), ours.predict(dense))
    assert type(X) is type(before) and (X != before).nnz == 0


def test_scipy_matrix_is_neither_sorted_nor_summed():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    X = tangled(matrix.dataset("sparse rows").X, np.int32)
    theirs = scipy_sparse.csr_matrix((X.data, X.indices, X.indptr), shape=X.shape)
    before = parts(theirs)
    ours = fit(theirs, 8, "k-means++")
    assert parts(theirs) == before
    assert_same_fit(ours, fit(theirs.toarray(), 8, "k-means++"))


def test_scipy_is_not_imported():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['scipy', 'sklearn']))\n"
        "import numpy as np, test_sparse, fastkmeans\n"
        "X = test_sparse.csr(np.eye(5))\n"
        "print(len(set(fastkmeans.KMeans(5, init=np.eye(5)).fit(X).labels_)))"
    )
    here, package = Path(__file__).parent, Path(fastkmeans.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, package)))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "5"


BROKEN = {
    "indptr too short": ([0, 1], [0, 1], "indptr must be 3 integers"),
    "indptr falls": ([0, 2, 1], [0, 1], "never fall"),
    "indptr begins late": ([1, 2, 2], [0, 1], "begin with 0"),
    "indptr ends beyond": ([0, 1, 3], [0, 1], "end within"),
    "column beyond": ([0, 1, 2], [0, 4], "between 0 and 3"),
    "column below": ([0, 1, 2], [0, -1], "between 0 and 3"),
    "columns are floats": ([0, 1, 2], [0.0, 1.0], "integers"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_matrices_are_refused(case):
    indptr, indices, text = BROKEN[case]
    with pytest.raises(ValueError, match=f"no valid CSR matrix.*{text}"):
        as_points(Duck(np.array(indptr), np.array(indices), np.ones(2), (2, 4)))


def test_what_dense_data_is_refused_for():
    X = csr(np.eye(4))
    X.data = np.array([1.0, np.nan, np.inf, 1.0])
    with pytest.raises(ValueError, match=r"Input X contains NaN.*\n.*row 1, column 1"):
        KMeans(2).fit(X)
    for X, text in (
        (csr(np.eye(3) * 1j), "Complex data"),
        (csr(np.eye(3, dtype="M8[s]")), "real numbers"),
        (csr(np.ones((0, 3))), "0 sample"),
        (csr(np.ones((3, 0))), "0 feature"),
        (csr(np.full((3, 3), 1e200)), "too large"),
    ):
        with pytest.raises(ValueError, match=text):
            KMeans(2).fit(X)


# ----------------------------------------------------------------------------------------------------------- distances
@pytest.mark.parametrize("name", SOME)
def test_transform(name):
    X, k = matrix.dataset(name)
    model = fit(X, k, matrix.start(name, "rows"))
    ours, dense = model.transform(csr(X)), model.transform(X + 0.0)
    assert ours.dtype == dense.dtype
    np.testing.assert_allclose(ours, dense, rtol=1e-6 if ours.dtype == np.float32 else 1e-11)


def test_transform_of_a_row_that_is_a_center():
    X = matrix.dataset("sparse rows").X
    model = fit(X, 3, X[:3] + 0.0, max_iter=1)
    model.cluster_centers_ = X[:3] + 0.0
    assert (np.diagonal(model.transform(csr(X))) == 0.0).all()


def test_few_rows_are_decided_by_all_features():
    """Dot products certify nearly all labels of data like text."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((800, 400)) < 0.95, 0, rng.random((800, 400))).astype(np.float32)
    data = Data(as_points(csr(X)), None, 1)
    labels, expected = np.full((2, 800), -1, np.int32)
    counts = passes.assign(data, X[:20], labels)
    assert counts.decided <= 8
    passes.assign(Data(as_points(X), None, 1), X[:20], expected)
    np.testing.assert_array_equal(labels, expected)
