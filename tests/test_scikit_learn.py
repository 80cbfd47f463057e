"""All estimators as scikit-learn's programs see them: checks, pipelines, searches, containers, routing, notebooks."""

import inspect
import io
import os
import pickle
import subprocess
import sys
import venv
import warnings
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn.cluster
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone, is_clusterer
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastkmeans
from fastkmeans import BisectingKMeans, KMeans, MiniBatchKMeans, batches

ALL = [KMeans, MiniBatchKMeans, BisectingKMeans]
rng = np.random.default_rng(0)
X = rng.normal(size=(240, 3)) + np.repeat(np.eye(3) * 20, 80, axis=0)
KEYWORD = inspect.Parameter.KEYWORD_ONLY
OURS = {
    "KMeans": ["n_threads", "refine", "metric", "callback"],
    "MiniBatchKMeans": ["n_threads", "metric"],
    "BisectingKMeans": ["n_threads"],
    "k_means": ["n_threads", "refine", "metric", "callback"],
    "kmeans_plusplus": ["n_threads"],
}


def drawing(estimator):
    """The checks that cannot hold: they shuffle the rows, and seeds draw rows by their position."""
    names = (f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse"))
    return dict.fromkeys(names, "seeds draw rows by position (see the test below)")


with warnings.catch_warnings():  # the one filter: our classes are no subclasses of scikit-learn's
    warnings.filterwarnings("ignore", message="Estimator .* does not inherit from `sklearn.base.BaseEstimator`")
    every_check = parametrize_with_checks([kind(3) for kind in ALL], expected_failed_checks=drawing)


@every_check
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def rows_by_value(data, n_clusters, random_state):
    """Starting centers that depend on which rows there are, not on where they stand or how often."""
    dense = data.toarray() if hasattr(data, "toarray") else np.asarray(data)
    return np.unique(dense, axis=0)[:n_clusters]


def batches_by_value(draws, count, generator):
    """batches.Draws.rows with the rows in the order of their values, as if they had been sorted."""
    data = draws.data
    order = np.lexsort(data.points.take(np.arange(data.n)).T)
    prefix = np.cumsum(data.weights[order] if data.weighted else np.ones(data.n, np.int64))
    return order[np.searchsorted(prefix, generator.integers(0, data.total_weight, size=count), side="right")]


@pytest.mark.parametrize("form", [np.array, csr_array])
@pytest.mark.parametrize("kind", ALL)
def test_drawing_is_the_only_reason_of_the_expected_failure(kind, form, monkeypatch):
    """What the check asks, rows repeated and removed by weight and then shuffled, holds where nothing is drawn.

    Mini-batches are always drawn: there it holds where draws name rows by value, not by position, and where as many are
    drawn (an epoch counts rows, as scikit-learn's does: here twice as many once they are repeated).
    """
    monkeypatch.setattr(batches.Draws, "rows", batches_by_value)
    weights = rng.permutation(np.repeat(np.arange(4), len(X) // 4))
    order = rng.permutation(weights.sum())
    repeated = np.repeat(X, weights, axis=0)[order]
    options = {"init": rows_by_value, "n_init": 1, "random_state": 0, "max_iter": 8}
    if kind is MiniBatchKMeans:
        options |= {"batch_size": 32, "max_no_improvement": None}
    model = kind(3, **options).fit(form(X[weights > 0]), sample_weight=weights[weights > 0])
    if kind is MiniBatchKMeans:
        options["max_iter"] = 4
    again = kind(3, **options).fit(form(repeated))
    assert_array_equal(model.cluster_centers_, again.cluster_centers_)
    assert_array_equal(model.predict(X), again.predict(X))
    assert_array_equal(model.transform(X), again.transform(X))


@pytest.mark.parametrize("name", list(OURS))
def test_signatures_begin_with_scikit_learns(name):
    ours = list(inspect.signature(getattr(fastkmeans, name)).parameters.values())
    theirs = list(inspect.signature(getattr(sklearn.cluster, name)).parameters.values())
    theirs = [p.replace(default="auto") if p.name == "algorithm" else p for p in theirs]  # the one other default
    assert [(p.name, p.default, p.kind) for p in ours[: len(theirs)]] == [(p.name, p.default, p.kind) for p in theirs]
    assert [p.name for p in ours[len(theirs) :]] == OURS[name]
    assert all(p.kind is KEYWORD for p in ours[len(theirs) :])


@pytest.mark.parametrize("kind", ALL)
def test_methods_are_scikit_learns(kind):
    theirs = getattr(sklearn.cluster, kind.__name__)
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if name.startswith("_"):
            continue
        if name.endswith("_request"):
            assert hasattr(kind, name)
            continue
        assert list(inspect.signature(getattr(kind, name)).parameters) == list(inspect.signature(method).parameters)


@pytest.mark.parametrize("kind", ALL)
def test_attributes_have_scikit_learns_shapes(kind):
    theirs = getattr(sklearn.cluster, kind.__name__)(3, random_state=0).fit(X)
    ours = kind(3, random_state=0).fit(X)
    for name, value in vars(theirs).items():
        if name.endswith("_") and not name.startswith("_"):
            assert type(getattr(ours, name)) is type(value) or isinstance(getattr(ours, name), type(value)), name
            assert np.shape(getattr(ours, name)) == np.shape(value), name
            assert np.asarray(getattr(ours, name)).dtype == np.asarray(value).dtype, name


def test_k_means_is_kmeans():
    init = X[[0, 100, 200]]
    centers, labels, inertia, n_iter = fastkmeans.k_means(X, 3, init=init, return_n_iter=True)
    model = KMeans(3, init=init).fit(X)
    assert_array_equal(centers, model.cluster_centers_)
    assert_array_equal(labels, model.labels_)
    assert (inertia, n_iter) == (model.inertia_, model.n_iter_)
    weights = np.arange(240.0)
    ours = fastkmeans.k_means(X, 3, init=init, sample_weight=weights, algorithm="lloyd")
    theirs = sklearn.cluster.k_means(X, 3, init=init, sample_weight=weights)
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b)


# -- containers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ALL)
def test_set_output(kind):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    model = kind(2, random_state=0).fit(X)
    names = [f"{kind.__name__.lower()}{i}" for i in range(2)]
    array = model.transform(X)
    assert model.set_output(transform=None) is model
    assert isinstance(model.transform(X), np.ndarray)
    frame = model.set_output(transform="pandas").transform(X)
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == names
    assert_array_equal(frame.to_numpy(), array)
    indexed = pd.DataFrame(X, index=np.arange(240) + 1000)
    assert_array_equal(model.fit_transform(indexed).index, indexed.index)
    assert isinstance(clone(model).fit_transform(X), pd.DataFrame)
    frame = model.set_output(transform="polars").transform(X)
    assert isinstance(frame, pl.DataFrame) and frame.columns == names
    assert isinstance(model.set_output(transform="default").transform(X), np.ndarray)
    with pytest.raises(ValueError, match=r"output config must be in \['default', 'pandas', 'polars'\], got arrow"):
        model.set_output(transform="arrow")


def test_set_output_without_the_library(monkeypatch):
    model = KMeans(2, random_state=0).fit(X).set_output(transform="pandas")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="requires pandas to be installed: pip install pandas"):
        model.transform(X)


def test_scikit_learns_setting_holds_unless_the_estimator_has_one():
    pl = pytest.importorskip("polars")
    model = KMeans(2, random_state=0).fit(X)
    with sklearn.config_context(transform_output="polars"):
        assert isinstance(model.transform(X), pl.DataFrame)
        assert isinstance(model.set_output(transform="default").transform(X), np.ndarray)


@pytest.mark.parametrize("kind", ALL)
def test_column_transformer(kind):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    columns = ColumnTransformer([("near", kind(3, random_state=0), ["a", "b"]), ("rest", "passthrough", ["c"])])
    out = columns.set_output(transform="pandas").fit_transform(frame)
    prefix = f"near__{kind.__name__.lower()}"
    assert list(out.columns) == [f"{prefix}{i}" for i in range(3)] + ["rest__c"]
    with sklearn.config_context(transform_output="polars"):
        pipeline = make_pipeline(StandardScaler(), kind(3, random_state=0))
        out = pipeline.fit_transform(pl.DataFrame(X, schema=["a", "b", "c"]))
    assert isinstance(out, pl.DataFrame) and out.shape == (240, 3)
    assert list(pipeline[-1].feature_names_in_) == ["a", "b", "c"]


# -- searches and routing ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ALL)
def test_searches(kind):
    assert is_clusterer(kind())
    shuffled = X[rng.permutation(len(X))]
    search = GridSearchCV(kind(random_state=0), {"n_clusters": [1, 3], "tol": [0, 1e-3]}, cv=3).fit(shuffled)
    assert search.best_params_["n_clusters"] == 3
    scores = cross_val_score(kind(3, random_state=0), shuffled, cv=3)
    assert scores.shape == (3,) and (scores < 0).all()


@pytest.mark.parametrize("kind", ALL)
def test_metadata_routing(kind):
    weights = np.where(X[:, 0] > 10, 1.0, 0.0)  # the rows of the first cluster
    with pytest.raises(RuntimeError, match="only available when metadata routing is enabled"):
        kind().set_fit_request(sample_weight=True)
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(1, random_state=0).set_fit_request(sample_weight=True).set_score_request(sample_weight="other")
        assert clone(model).get_metadata_routing().fit.requests == {"sample_weight": True}
        assert model.get_metadata_routing().score.requests == {"sample_weight": "other"}
        scaler = StandardScaler(with_std=False).set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model).fit(X, sample_weight=weights)
        expected = X[weights > 0].mean(axis=0) - X.mean(axis=0)
        np.testing.assert_allclose(pipeline[-1].cluster_centers_[0], expected, atol=1.0)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
            make_pipeline(scaler, kind(1)).fit(X, sample_weight=weights)
        search = GridSearchCV(model.set_score_request(sample_weight=False), {"n_clusters": [1]}, cv=2)
        search.fit(X[::-1], sample_weight=np.ones(240))
        if kind is MiniBatchKMeans:
            request = model.set_partial_fit_request(sample_weight=True).get_metadata_routing()
            assert request.partial_fit.requests == {"sample_weight": True}
        else:
            assert not hasattr(model, "set_partial_fit_request")


@pytest.mark.parametrize("kind", ALL)
def test_tags(kind):
    tags, theirs = kind().__sklearn_tags__(), getattr(sklearn.cluster, kind.__name__)().__sklearn_tags__()
    assert tags.estimator_type == theirs.estimator_type
    assert set(theirs.transformer_tags.preserves_dtype) <= set(tags.transformer_tags.preserves_dtype)
    assert tags.target_tags == theirs.target_tags
    assert tags.input_tags.sparse


# -- copies and looks --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ALL)
def test_pickle_joblib_clone(kind, monkeypatch):
    model = kind(3, random_state=0).fit(X)
    stream = io.BytesIO()
    joblib.dump(model, stream)
    stream.seek(0)
    for again in (pickle.loads(pickle.dumps(model)), joblib.load(stream)):
        assert_array_equal(again.predict(X), model.labels_)
        assert again.get_params() == model.get_params()
    assert model.__getstate__()["_fastkmeans_version"] == fastkmeans.__version__
    data = pickle.dumps(model)
    monkeypatch.setattr(fastkmeans, "__version__", "99.0")
    with pytest.warns(UserWarning, match=rf"This {kind.__name__} was pickled by fastkmeans .* loaded by 99\.0"):
        pickle.loads(data)
    assert not hasattr(clone(model), "labels_")


@pytest.mark.parametrize("kind", ALL)
def test_notebook(kind):
    model = kind(3, random_state="<b>")
    html = model._repr_html_()
    assert f"<code>{kind.__name__}</code> (not fitted)" in html
    assert "&lt;b&gt;" in html and "<b>" not in html
    for name in model.get_params():
        assert f">{name}</th>" in html
    assert "(fitted)" in kind(1).fit(X)._repr_html_()
    assert set(model._repr_mimebundle_()) == {"text/plain", "text/html"}
    with sklearn.config_context(display="text"):
        assert model._repr_mimebundle_() == {"text/plain": repr(model)}
    assert kind.__name__ in make_pipeline(StandardScaler(), kind(3))._repr_html_()


# -- without any of it -------------------------------------------------------------------------------------------------
BARE = """
import sys

import importlib.util

ABSENT = ["sklearn", "scipy", "pandas", "polars", "pyarrow", "tqdm", "matplotlib", "joblib", "dask"]
assert not any(importlib.util.find_spec(name) for name in ABSENT)
import copy, io, pickle, warnings
import numpy as np
import fastkmeans
from fastkmeans import *
from fastkmeans import callbacks
from fastkmeans.exceptions import NotFittedError
from fastkmeans.models import Model, load_model, save_model
from fastkmeans.cli import main

X = np.random.default_rng(0).normal(size=(120, 3)) + np.repeat(np.eye(3) * 20, 40, axis=0)
kept = callbacks.record()
models = [
    KMeans(3, random_state=0, refine="swap", callback=kept),
    KMeans(3, init="k-means||", random_state=0, callback=callbacks.stop_after(60)),
    MiniBatchKMeans(3, batch_size=50, random_state=0),
    BisectingKMeans(3, random_state=0),
]
for model in models:
    try:
        model.predict(X)
        raise SystemExit("not fitted, and no error")
    except NotFittedError:
        pass
    assert (model.fit(X, sample_weight=np.ones(120)).predict(X) == model.labels_).all()
    assert model.fit_transform(X).shape == (120, 3)
    assert model.set_output(transform="default").transform(X).shape == (120, 3)
    assert sorted(np.bincount(model.labels_)) == [40, 40, 40], model
    assert model.score(X) == -model.inertia_
    assert "fitted" in model._repr_html_() and "text/html" in model._repr_mimebundle_()
    assert (pickle.loads(pickle.dumps(model)).predict(X) == model.labels_).all()
    assert (copy.deepcopy(model).set_params(n_clusters=2).fit(X).labels_ < 2).all()
    assert len(model.get_feature_names_out()) == 3
    try:
        model.set_output(transform="pandas").transform(X)
        raise SystemExit("pandas without pandas")
    except ImportError as error:
        assert "pip install pandas" in str(error)
assert kept.steps
models[2].partial_fit(X)
assert len(k_means(X, 3, return_n_iter=True)) == 4
assert kmeans_plusplus(X, 3)[0].shape == (3, 3)
assert choose_k(X, range(1, 6), random_state=0).best_k == 3
assert choose_k(X, range(1, 5), method="gap", random_state=0).best_k == 3
assert diagnose(X, models[0], random_state=0).findings
assert silhouette(X, models[0].labels_).score > 0.8
simplified_silhouette(X, models[0].labels_, models[0].cluster_centers_)
save_model("model.npz", Model.from_estimator(models[0]))
assert (load_model("model.npz").to_estimator().predict(X) == models[0].labels_).all()
np.savetxt("X.csv", X, delimiter=",")
assert main(["fit", "X.csv", "-k", "3", "--labels", "labels.txt", "--model", "other.npz"]) == 0
assert main(["predict", "X.csv", "--model", "other.npz", "--labels", "again.txt"]) == 0
for call, extra in ((callbacks.progress, "progress"), (lambda: choose_k(X, range(1, 4)).plot(), "plot")):
    try:
        call()
        raise SystemExit(f"{extra} without its library")
    except ImportError as error:
        assert f"fastkmeans-numba[{extra}]" in str(error), error

class Rows:  # a matrix in CSR form that is none of SciPy's
    format, dtype, ndim = "csr", np.dtype(np.float64), 2

    def __init__(self, dense):
        self.shape = dense.shape
        self.data, self.indices = dense[dense != 0], np.nonzero(dense)[1]
        self.indptr = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])

    @property
    def nnz(self):
        return len(self.data)

    def tocsr(self):
        return self

thin = X * (X > 1.0)

def pick(data, n_clusters, random_state):
    return thin[[0, 50, 100]]

for options in ({"random_state": 0}, {"random_state": 0, "metric": "cosine"}, {"random_state": 0, "init": pick}):
    for kind in (KMeans, MiniBatchKMeans):
        one, other = kind(3, n_init=1, **options).fit(thin), kind(3, n_init=1, **options).fit(Rows(thin))
        assert (one.labels_ == other.labels_).all() and (one.cluster_centers_ == other.cluster_centers_).all()
        assert np.allclose(one.transform(thin), other.transform(Rows(thin)))
print("all of it works")
"""


def test_everything_works_in_a_bare_environment(tmp_path):
    """In an environment that holds what the package requires, and nothing else."""
    venv.create(tmp_path / "env", symlinks=os.name == "posix")
    (site,) = (tmp_path / "env").glob("**/site-packages")
    for name in ("numpy", "numba", "llvmlite", "threadpoolctl"):
        for file in metadata.files(name):
            top = file.parts[0]
            if top != ".." and not (site / top).exists():
                (site / top).symlink_to(Path(metadata.distribution(name).locate_file(top)).resolve())
    (site / "fastkmeans").symlink_to(Path(fastkmeans.__file__).parent)
    (python,) = (tmp_path / "env").glob("bin/python")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-W", "error", "-c", BARE], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "all of it works" in done.stdout
