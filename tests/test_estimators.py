"""`KMeans` as users meet it: parameters, attributes, seeds, initial centers, texts, and scikit-learn around it.

Whether the numbers are right to the bit is the oracle's business (test_exact_fit.py); here it is who gets which number,
in which type, and what is said when something is wrong.
"""

import copy
import inspect
import itertools
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastkmeans import KMeans, k_means
from fastkmeans.parameters import InvalidParameterError


def blobs(n=300, d=5, k=4, dtype=np.float64, seed=0):
    """n rows around k well-separated means, in shuffled order."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-10, 10, (k, d))
    return (means[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


X = blobs()
X.flags.writeable = False
START = X[:4].copy()
START.flags.writeable = False
FITTED = [
    "cluster_centers_",
    "cluster_weights_",
    "converged_",
    "history_",
    "inertia_",
    "labels_",
    "n_features_in_",
    "n_iter_",
]


def assert_same_fit(a, b):
    """Two fitted models hold the same bits (times apart)."""
    assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    assert_array_equal(a.labels_, b.labels_)
    assert_array_equal(a.cluster_weights_, b.cluster_weights_)
    assert (a.inertia_, a.n_iter_, a.converged_) == (b.inertia_, b.n_iter_, b.converged_)
    assert [step[:4] for step in a.history_] == [step[:4] for step in b.history_]


def with_state(**params):
    """A model on the blobs, one run unless told otherwise."""
    return KMeans(4, **{"random_state": 0, "n_init": 1, **params})


# -- signature and parameters ------------------------------------------------------------------------------------------
def test_signature_is_scikit_learns_and_then_ours():
    from sklearn.cluster import KMeans as Theirs

    ours = list(inspect.signature(KMeans).parameters.values())
    theirs = list(inspect.signature(Theirs).parameters.values())
    theirs = [p.replace(default="auto") if p.name == "algorithm" else p for p in theirs]  # the one other default
    assert [(p.name, p.default, p.kind) for p in ours[: len(theirs)]] == [(p.name, p.default, p.kind) for p in theirs]
    assert [(p.name, p.default, p.kind) for p in ours[len(theirs) :]] == [
        ("n_threads", None, inspect.Parameter.KEYWORD_ONLY),
        ("refine", None, inspect.Parameter.KEYWORD_ONLY),
        ("metric", "euclidean", inspect.Parameter.KEYWORD_ONLY),
        ("callback", None, inspect.Parameter.KEYWORD_ONLY),
    ]
    for name in ("fit", "fit_predict", "fit_transform", "predict", "score", "transform", "get_feature_names_out"):
        assert list(inspect.signature(getattr(KMeans, name)).parameters) == list(
            inspect.signature(getattr(Theirs, name)).parameters
        )


def test_the_constructor_checks_nothing_and_keeps_the_objects():
    init = [[1.0]]
    model = KMeans("many", init=init, tol=-3, algorithm=None)
    assert model.init is init
    assert (model.n_clusters, model.tol, model.algorithm) == ("many", -3, None)


INT = re.escape("an int in the range [1, inf)")
BOOL = "an instance of 'bool' or an instance of 'numpy.bool'"


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("n_clusters", [0, -1, 2.0, "3", None, np.float64(2), np.True_, [2]], INT),
        (
            "init",
            ["kmeans", 3, None, 2.5],
            re.escape("a str among {'k-means++', 'k-means||', 'random'}, a callable or an array-like"),
        ),
        ("n_init", [0, -2, 1.0, None, "many", "10", np.False_], r"a str among {'auto'} or " + INT),
        ("max_iter", [0, -1, 10.0, None, "10", np.True_], INT),
        (
            "tol",
            [-1e-9, -1, float("nan"), float("inf"), None, "small", 1j],
            re.escape("a float in the range [0.0, inf)"),
        ),
        ("verbose", [-1, 0.5, None, "yes"], re.escape(f"an int in the range [0, inf), {BOOL}")),
        (
            "random_state",
            [-1, 0.5, "seed", [1, 2], np.random, np.random.PCG64(1)],
            r"an int in the range \[0, inf\), an",
        ),
        ("copy_x", [0, 1, None, "no"], BOOL),
        ("algorithm", ["x", "full", None, 3, ["lloyd"]], "a str among {'lloyd', 'elkan', 'auto'}"),
        ("n_threads", [0, -1, 1.0, "2", True, False, np.True_], "None or " + INT),
    ],
)
def test_bad_parameters_are_refused_at_fit(name, values, wanted):
    for value in values:
        model = KMeans(**{"n_clusters": 2, name: value})
        expected = rf"^The '{name}' parameter of KMeans must be {wanted}.*\. Got {re.escape(repr(value))} instead\.$"
        with pytest.raises(ValueError, match=expected) as caught:
            model.fit(X)
        assert isinstance(caught.value, InvalidParameterError)
        assert not hasattr(model, "labels_")


def test_texts_of_bad_parameters_are_scikit_learns():
    from sklearn.cluster import KMeans as Theirs

    bad = {"n_clusters": 0, "n_init": 0, "max_iter": 1.5, "tol": -1, "verbose": -1, "copy_x": 2}
    for name, value in bad.items():
        texts = []
        for kind in (KMeans, Theirs):
            with pytest.raises(ValueError) as caught:
                kind(**{name: value}).fit(X)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "params",
    [
        {"n_clusters": np.int64(4), "n_init": np.int32(2), "max_iter": np.uint8(9), "verbose": np.int16(0)},
        {"tol": 0},
        {"tol": np.float32(1e-3)},
        {"tol": 1e300},
        {"verbose": False, "copy_x": np.False_},
        {"random_state": np.uint32(5)},
        {"random_state": 2**70},
        {"n_threads": 1},
        {"n_threads": np.int64(1)},
        {"n_init": "auto", "init": "random"},
    ],
)
def test_good_parameters(params):
    model = KMeans(**{"n_clusters": 4, "random_state": 1, **params})
    before = model.get_params()
    model.fit(X)
    assert model.get_params() == before
    assert type(model.n_iter_) is int


def test_one_cluster_by_true_as_scikit_learn():
    assert KMeans(True, random_state=0).fit(X).cluster_centers_.shape == (1, 5)


# -- attributes --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("dtype", "center_dtype"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.int64, np.float64),
        (np.int32, np.float64),
        (np.uint8, np.float32),
        (np.int16, np.float32),
    ],
)
def test_attributes(dtype, center_dtype):
    data = (blobs() + 40).astype(dtype)
    model = with_state(init="k-means++").fit(data)
    assert model.cluster_centers_.shape == (4, 5)
    assert model.cluster_centers_.dtype == center_dtype
    assert model.cluster_centers_.flags.c_contiguous
    assert model.cluster_centers_.flags.writeable
    assert model.labels_.shape == (300,)
    assert model.labels_.dtype == np.int32
    assert type(model.inertia_) is float
    assert type(model.n_iter_) is int
    assert type(model.converged_) is bool
    assert type(model.n_features_in_) is int
    assert model.n_features_in_ == 5
    assert model.cluster_weights_.dtype == np.float64
    assert_array_equal(model.cluster_weights_, np.bincount(model.labels_, minlength=4))
    assert not hasattr(model, "feature_names_in_")
    assert sorted(name for name in vars(model) if name.endswith("_")) == FITTED


def test_weighted_cluster_weights():
    weights = np.random.default_rng(1).integers(0, 5, 300)
    model = with_state().fit(X, sample_weight=weights)
    assert_array_equal(model.cluster_weights_, np.bincount(model.labels_, weights, minlength=4))
    assert model.labels_.shape == (300,)


def test_history():
    model = with_state(init=X[[0, 1, 2, 3]], tol=0).fit(X)
    assert len(model.history_) == model.n_iter_ > 2
    assert model.converged_
    for step in model.history_:
        assert step._fields == (
            "inertia", "center_shift", "n_changed", "n_refilled", "seconds", "evaluated", "algorithm"
        )  # fmt: skip
        assert [type(value) for value in step] == [float, float, int, int, float, float, str]
        assert step.seconds >= 0 and 0 <= step.evaluated <= 1 and step.algorithm in ("seeding", "lloyd", "elkan")
    inertias = [step.inertia for step in model.history_]
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(inertias))
    assert model.inertia_ == pytest.approx(inertias[-1], rel=1e-9)
    assert model.history_[0].n_changed == 300
    assert model.history_[-1].n_changed == 0
    assert model.history_[-1].center_shift == 0
    assert sum(step.n_refilled for step in model.history_) == 0


def test_max_iter_is_not_a_warning():
    model = with_state(init=START, max_iter=1).fit(X)  # -W error would raise
    assert not model.converged_
    assert (model.n_iter_, len(model.history_)) == (1, 1)
    assert_array_equal(model.predict(X), model.labels_)


def test_refit_replaces_everything():
    pd = pytest.importorskip("pandas")
    model = with_state().fit(pd.DataFrame(X, columns=list("abcde")))
    assert_array_equal(model.feature_names_in_, np.array(list("abcde"), dtype=object))
    assert model.feature_names_in_.dtype == object
    model.set_params(n_clusters=2).fit(X[:, :3])
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 3
    assert model.cluster_centers_.shape == (2, 3)


def test_a_failed_fit_leaves_the_model_as_it_was():
    model = with_state().fit(X)
    labels, centers = model.labels_, model.cluster_centers_
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((9, 2), np.nan))
    assert model.labels_ is labels
    assert model.cluster_centers_ is centers
    assert model.n_features_in_ == 5


# -- the methods agree -------------------------------------------------------------------------------------------------
def test_methods_agree():
    weights = np.random.default_rng(2).uniform(0, 3, 300)
    for w in (None, weights, 2.5):
        model = with_state(init=START).fit(X, sample_weight=w)
        again = with_state(init=START)
        assert_array_equal(again.fit_predict(X, sample_weight=w), model.labels_)
        assert_same_fit(model, again)
        distances = with_state(init=START).fit_transform(X, sample_weight=w)
        assert_array_equal(distances, model.transform(X))
        assert_array_equal(model.predict(X), model.labels_)
        score = model.score(X, sample_weight=w)
        assert type(score) is float
        assert score == -model.inertia_
        assert score == model.score(X, None, w)


def test_y_is_ignored():
    assert_same_fit(with_state().fit(X, "anything"), with_state().fit(X))


def test_transform_is_distance():
    model = with_state(max_iter=2).fit(X)
    distances = model.transform(X)
    assert distances.shape == (300, 4)
    assert distances.dtype == np.float64
    expected = np.sqrt(((X[:, None] - model.cluster_centers_) ** 2).sum(axis=2))
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert_array_equal(distances.argmin(axis=1), model.labels_)
    assert_array_equal(np.diag(model.transform(model.cluster_centers_)), np.zeros(4))
    single = with_state().fit(X.astype(np.float32))
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    assert single.transform(X).dtype == np.float64


@pytest.mark.parametrize(("dtype", "tolerance"), [("f4", 1e-6), ("f8", 1e-12)])
@pytest.mark.parametrize(("d", "offset", "scale"), [(1, 0.0, 1.0), (3, 1e4, 1.0), (70, 0.0, 1e-30), (300, 1e4, 1e10)])
def test_transform_is_as_near_as_the_dtype_allows(dtype, tolerance, d, offset, scale):
    """Beside differences in extended precision: an offset of all values costs no digits."""
    rows = (scale * (np.random.default_rng(d).normal(size=(200, d)) + offset)).astype(dtype)
    model = KMeans(9, random_state=0, n_init=1).fit(rows)
    expected = ((rows[:, None].astype(np.longdouble) - model.cluster_centers_) ** 2).sum(axis=2) ** 0.5
    np.testing.assert_allclose(model.transform(rows), expected, rtol=tolerance)


def test_predict_on_another_dtype():
    values = np.round(blobs() * 3).astype(np.int8)
    model = with_state().fit(values.astype(np.float64))
    for dtype in (np.int8, np.int16, np.int64, np.float16, np.float32, np.longdouble, ">f8", object):
        assert_array_equal(model.predict(values.astype(dtype)), model.labels_)
    assert_array_equal(model.predict(values.tolist()), model.labels_)
    assert model.score(values) == -model.inertia_


def test_predict_uses_the_centers_that_are_there():
    model = with_state().fit(X)
    swapped = copy.deepcopy(model)
    swapped.cluster_centers_ = np.asfortranarray(model.cluster_centers_[::-1])
    assert_array_equal(swapped.predict(X), 3 - model.labels_)


@pytest.mark.parametrize("call", ["predict", "transform", "score", "get_feature_names_out"])
def test_not_fitted(call):
    from sklearn.exceptions import NotFittedError

    text = "This KMeans instance is not fitted yet. Call 'fit' with appropriate arguments before using this estimator."
    with pytest.raises(NotFittedError) as caught:
        getattr(KMeans(), call)(X)
    assert str(caught.value) == text


def test_wrong_number_of_features():
    model = with_state().fit(X)
    for call in (model.predict, model.transform, model.score):
        with pytest.raises(ValueError, match="X has 3 features, but KMeans is expecting 5 features as input"):
            call(X[:, :3])


def test_feature_names_are_compared():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = with_state().fit(frame)
    assert_array_equal(model.predict(frame), model.labels_)
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        model.predict(frame[list("edcba")])
    with pytest.warns(
        UserWarning, match="X does not have valid feature names, but KMeans was fitted with feature names"
    ):
        model.predict(X)
    with pytest.warns(UserWarning, match="X has feature names, but KMeans was fitted without feature names") as caught:
        with_state().fit(X).predict(frame)
    assert caught[0].filename == __file__


def test_feature_names_out():
    model = with_state().fit(X)
    names = model.get_feature_names_out()
    assert names.dtype == object
    assert names.tolist() == ["kmeans0", "kmeans1", "kmeans2", "kmeans3"]

    class Groups(KMeans):
        pass

    assert Groups(1, random_state=0).fit(X).get_feature_names_out(list("abcde")).tolist() == ["groups0"]


# -- seeds -------------------------------------------------------------------------------------------------------------
def test_int_and_seed_sequence_repeat():
    for init in ("k-means++", "random"):
        first = with_state(init=init, random_state=7, n_init=3).fit(X)
        assert_same_fit(first, with_state(init=init, random_state=7, n_init=3).fit(X))
        sequence = np.random.SeedSequence(7)
        for _ in range(2):
            assert_same_fit(first, with_state(init=init, random_state=sequence, n_init=3).fit(X))
        assert sequence.n_children_spawned == 0


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_generators_advance(make):
    source, again = make(5), make(5)
    models = [with_state(init="random", random_state=source).fit(X) for _ in range(2)]
    for model in models:
        assert_same_fit(model, with_state(init="random", random_state=again).fit(X))
    assert source.bytes(8) == again.bytes(8) != make(5).bytes(8)


def test_none_draws_from_numpys_global_state():
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(11)  # noqa: NPY002
        model = with_state(random_state=None).fit(X)
        assert_same_fit(model, with_state(random_state=np.random.RandomState(11)).fit(X))
    finally:
        np.random.set_state(state)  # noqa: NPY002


def test_an_int_leaves_the_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with_state(init="random", random_state=0, n_init=2).fit(X)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# -- initial centers ---------------------------------------------------------------------------------------------------
def array_inits():
    pd = pytest.importorskip("pandas")
    readonly = START.copy()
    readonly.flags.writeable = False
    padded = np.zeros((8, 10))
    padded[::2, ::2] = START
    return {
        "array": START.copy(),
        "readonly": readonly,
        "fortran": np.asfortranarray(START),
        "strided": padded[::2, ::2],
        "list": START.tolist(),
        "tuples": tuple(map(tuple, START.tolist())),
        "frame": pd.DataFrame(START, columns=list("vwxyz")),
        "object": START.astype(object),
        "swapped": START.astype(">f8"),
    }


@pytest.mark.parametrize("kind", list(array_inits()))
def test_array_inits_agree_and_stay_untouched(kind):
    init = array_inits()[kind]
    kept = copy.deepcopy(init)
    model = KMeans(4, init=init).fit(X)
    assert model.init is init
    assert_array_equal(np.asarray(init), np.asarray(kept))
    assert_same_fit(model, KMeans(4, init=START).fit(X))
    assert not np.shares_memory(model.cluster_centers_, np.asarray(init))


def test_integer_init():
    init = np.round(START).astype(np.int32)
    assert_same_fit(KMeans(4, init=init).fit(X), KMeans(4, init=init.astype(np.float64)).fit(X))


def test_max_iter_does_not_hand_out_the_init_array():
    init = X[:300].copy()  # every row its own center: nothing moves
    model = KMeans(300, init=init, max_iter=1).fit(X)
    assert not np.shares_memory(model.cluster_centers_, init)


def test_float64_init_is_rounded_to_float32_data():
    init = np.array([[0.1, 0.2], [5.3, 5.1]])
    data = np.array([[0.1, 0.2], [5.3, 5.1], [5.0, 5.0]], dtype=np.float32)
    model = KMeans(2, init=init, max_iter=1).fit(data)
    assert model.cluster_centers_.dtype == np.float32
    assert_same_fit(model, KMeans(2, init=init.astype(np.float32), max_iter=1).fit(data))


@pytest.mark.parametrize("wrap", [lambda init: init, lambda init: lambda X, k, random_state: init])
@pytest.mark.parametrize(
    ("init", "text"),
    [
        (np.zeros((2, 3)), "The shape of the initial centers (2, 3) does not match the number of clusters 4."),
        (
            np.zeros((4, 3)),
            "The shape of the initial centers (4, 3) does not match the number of features of the data 5.",
        ),
        (np.zeros(4), "2D"),
        (np.where(np.eye(4, 5) == 1, np.nan, 0), "NaN"),
        (np.where(np.eye(4, 5) == 1, np.inf, 0), "infinity"),
    ],
)
def test_bad_initial_centers(init, text, wrap):
    with pytest.raises(ValueError, match=re.escape(text)):
        KMeans(4, init=wrap(init), n_init=1).fit(X)


def test_texts_of_bad_shapes_are_scikit_learns():
    from sklearn.cluster import KMeans as Theirs

    for k, init, data in [(4, np.zeros((2, 5)), X), (4, np.zeros((4, 2)), X), (3, "random", X[:2])]:
        texts = []
        for kind in (KMeans, Theirs):
            with pytest.raises(ValueError) as caught:
                kind(k, init=init).fit(data)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


def test_initial_centers_beyond_the_centers_dtype():
    init = np.zeros((4, 5))
    init[2, 1] = 1e300
    with pytest.raises(ValueError, match=r"init holds 1e\+300 in row 2, column 1, .*float32"):
        KMeans(4, init=init).fit(X.astype(np.float32))


def test_initial_centers_whose_squares_overflow():
    init = np.zeros((4, 5))
    init[2, 1] = -1e154
    with pytest.raises(ValueError, match=r"Values of init are too large: column 1 holds magnitudes up to 1e\+154"):
        KMeans(4, init=init).fit(X)


def test_sparse_initial_centers_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(InvalidParameterError, match="sparse"):
        KMeans(4, init=sparse.csr_array(START)).fit(X)


def test_k_means_checks_under_its_own_name():
    with pytest.raises(InvalidParameterError, match="'n_clusters' parameter of k_means must be an int"):
        k_means(X, 0)
    with pytest.raises(
        InvalidParameterError, match="'return_n_iter' parameter of k_means must be an instance of 'bool'"
    ):
        k_means(X, 3, return_n_iter="a")


def test_the_metric_is_the_one_of_the_fit():
    model = KMeans(4, random_state=0).fit(X).set_params(metric="cosine")
    for method in (model.predict, model.transform, model.score):
        with pytest.raises(ValueError, match="metric is 'cosine' now, but this KMeans was fitted with 'euclidean'"):
            method(X)
    assert_array_equal(model.set_params(metric="euclidean").predict(X), model.labels_)


def test_callable_init():
    calls = []

    def pick(data, n_clusters, random_state):
        calls.append((data, n_clusters, random_state))
        return data[random_state.choice(len(data), n_clusters, replace=False)].tolist()

    given = X.tolist()
    with pytest.raises(TypeError):
        KMeans(4, init=pick, random_state=0).fit(given)  # a list cannot be indexed so: the callable gets what fit got
    assert calls[0][0] is given
    calls.clear()
    model = KMeans(np.int64(4), init=pick, random_state=0, n_init=3).fit(X)
    assert len(calls) == 3
    for data, n_clusters, random_state in calls:
        assert data is X
        assert n_clusters == 4
        assert isinstance(random_state, np.random.RandomState)
    assert_same_fit(model, KMeans(4, init=pick, random_state=0, n_init=3).fit(X))
    assert model.init is pick
    calls.clear()
    KMeans(4, init=pick, random_state=0).fit(X)
    assert len(calls) == 10


def test_callable_init_result_is_not_written():
    init = START.copy()
    KMeans(4, init=lambda data, k, random_state: init, n_init=2).fit(X)
    assert_array_equal(init, START)


@pytest.mark.parametrize(
    ("init", "n_init", "runs"),
    [("k-means++", "auto", 1), ("random", "auto", 10), (START, "auto", 1), ("k-means++", 3, 3), (START, 1, 1)],
)
def test_number_of_runs(init, n_init, runs, capsys):
    KMeans(4, init=init, n_init=n_init, random_state=0, verbose=1).fit(X)
    assert capsys.readouterr().out.count("Initialization complete") == runs


def test_more_runs_are_never_worse():
    one = KMeans(8, init="random", n_init=1, random_state=3).fit(X)
    ten = KMeans(8, init="random", n_init="auto", random_state=3).fit(X)
    assert ten.inertia_ <= one.inertia_


# -- warnings and output -----------------------------------------------------------------------------------------------
def test_explicit_init_and_n_init():
    text = "Explicit initial center position passed: performing only one init in KMeans instead of n_init=5."
    for call in ("fit", "fit_predict", "fit_transform"):
        with pytest.warns(RuntimeWarning) as caught:
            getattr(KMeans(4, init=START, n_init=5), call)(X)
        assert [str(w.message) for w in caught] == [text]
        assert caught[0].filename == __file__


def test_duplicate_points_warning():
    from sklearn.exceptions import ConvergenceWarning

    data = np.repeat([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]], 4, axis=0)
    text = "Number of distinct clusters (3) found smaller than n_clusters (4). Possibly due to duplicate points in X."
    for init in ("k-means++", "random", data[:4]):
        for call in ("fit", "fit_predict", "fit_transform"):
            with pytest.warns(ConvergenceWarning) as caught:
                getattr(KMeans(4, init=init, random_state=0, n_init=1), call)(data)
            assert [str(w.message) for w in caught] == [text]
            assert caught[0].filename == __file__


def test_rows_of_weight_zero_are_no_clusters():
    from sklearn.exceptions import ConvergenceWarning

    data = np.array([[0.0], [1.0], [9.0], [9.5]])
    with pytest.warns(ConvergenceWarning, match=r"clusters \(2\) found smaller than n_clusters \(3\)"):
        model = KMeans(3, init=[[0.0], [1.0], [9.0]]).fit(data, sample_weight=[1, 1, 0, 0])
    assert_array_equal(model.cluster_weights_, [1, 1, 0])


def test_too_few_rows():
    with pytest.raises(ValueError, match=r"^n_samples=2 should be >= n_clusters=3\.$"):
        KMeans(3).fit([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"tol": 0}, "strict convergence"),
        ({"tol": 0.5}, r"center shift \S+ within tolerance \S+"),
        ({"max_iter": 1}, "max_iter=1"),
    ],
)
def test_verbose(params, reason, capsys):
    model = KMeans(4, init=START, verbose=1, **params).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Initialization complete"
    steps = [
        re.match(r"Iteration (\d+), inertia ([^ ]+\d), lloyd, 100\.0% of distances computed\.$", line)
        for line in lines[1:-1]
    ]
    assert [float(step[2]) for step in steps] == [step.inertia for step in model.history_]
    numbers = [int(step[1]) for step in steps]
    assert numbers == list(range(numbers[0], numbers[0] + model.n_iter_))
    assert re.search(reason, lines[-1])
    KMeans(4, init=START, **params).fit(X)
    assert capsys.readouterr() == ("", "")


# -- copies ------------------------------------------------------------------------------------------------------------
def test_pickle_and_deepcopy():
    pd = pytest.importorskip("pandas")
    model = with_state().fit(pd.DataFrame(X, columns=list("abcde")))
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_same_fit(model, again)
        assert again.get_params() == model.get_params()
        assert_array_equal(again.feature_names_in_, model.feature_names_in_)
        assert again.history_ == model.history_
        assert_array_equal(again.predict(pd.DataFrame(X, columns=list("abcde"))), model.labels_)
    unfitted = pickle.loads(pickle.dumps(KMeans(3, tol=0)))
    assert repr(unfitted) == "KMeans(n_clusters=3, tol=0)"


def test_a_pickle_holds_nothing_of_numbas(tmp_path):
    path = tmp_path / "model.pickle"
    data = pickle.dumps(with_state().fit(X))
    assert b"numba" not in data
    path.write_bytes(data)
    code = f"import pickle, pathlib; print(pickle.loads(pathlib.Path({str(path)!r}).read_bytes()).predict([[0.0] * 5]))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[\d\]\n", done.stdout)


def test_data_stays_as_it_was():
    data = blobs(dtype=np.float32)
    kept = data.copy()
    KMeans(4, random_state=0, copy_x=False).fit(data)
    assert_array_equal(data, kept)


# -- with scikit-learn -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("tol", [1e-4, 0])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_as_scikit_learn_from_the_same_start(dtype, tol, weighted):
    from sklearn.cluster import KMeans as Theirs

    data = blobs(600, 6, 7, dtype)
    weights = np.random.default_rng(3).integers(1, 4, 600) if weighted and not tol else None
    params = {"n_clusters": 7, "init": data[:7], "tol": tol}
    ours = KMeans(**params).fit(data, sample_weight=weights)
    theirs = Theirs(**params).fit(data, sample_weight=weights)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.labels_.dtype == theirs.labels_.dtype
    assert ours.cluster_centers_.dtype == theirs.cluster_centers_.dtype
    tight = 1e-6 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=tight, atol=tight)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=tight)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.transform(data), theirs.transform(data), rtol=1e-3, atol=1e-2)


def test_clone():
    from sklearn.base import clone

    model = KMeans(3, init=START[:3], random_state=np.random.RandomState(0), n_threads=1, tol=0).fit(X)
    fresh = clone(model)
    assert not hasattr(fresh, "labels_")
    assert fresh.init is not model.init
    assert_same_fit(fresh.fit(X), model)
    assert repr(clone(KMeans(init=len))) == repr(KMeans(init=len))


def test_pipeline_and_search():
    from sklearn.base import is_clusterer
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted

    assert is_clusterer(KMeans())
    pipeline = make_pipeline(StandardScaler(), KMeans(4, random_state=0))
    labels = pipeline.fit_predict(X, kmeans__sample_weight=np.ones(300))
    assert_array_equal(pipeline.predict(X), labels)
    check_is_fitted(pipeline)
    assert pipeline.set_params(kmeans__n_clusters=3).fit_transform(X).shape == (300, 3)
    assert "KMeans(n_clusters=3, random_state=0)" in repr(pipeline)
    assert pipeline.get_feature_names_out(None).tolist() == ["kmeans0", "kmeans1", "kmeans2"]
    search = GridSearchCV(KMeans(random_state=0), {"n_clusters": [1, 4]}, cv=2).fit(X)
    assert search.best_params_ == {"n_clusters": 4}


def test_docstring_example():
    import doctest

    import fastkmeans.estimators

    done = doctest.testmod(fastkmeans.estimators)
    assert done.attempted > 0
    assert done.failed == 0


def test_a_sum_beyond_float64_is_an_error():
    X, weights = [[0.0], [1e20], [1.0]], np.full(3, 1e300)
    with pytest.raises(ValueError, match=r"larger than float64 can hold: divide sample_weight"):
        KMeans(1, init=[[0.0]], n_init=1).fit(X, sample_weight=weights)
