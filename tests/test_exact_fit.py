"""A whole fit equals the oracle to the bit: labels, centers, inertia, iterations, after any number of passes.

Small jobs run plain loops by default. The matrix is small and is here to try the vector kernels, so this file forces
them; `test_plain_loops` turns the plain ones back on.
"""

import warnings

import matrix
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastkmeans import KMeans, packed
from fastkmeans.kernels import lloyd, simd

SOME = [
    "blobs",
    "uniform32",
    "duplicates",
    "plane lattice",
    "offset32",
    "two scales",
    "outlier32",
    "tight blobs",
    "d=33",
    "1e-310",
]


@pytest.fixture(autouse=True, scope="module")
def vector_kernels():
    """Small jobs run plain loops by default; the matrix is small, and is here to try the vector kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PLAIN_WORK", 0.0)
        yield


def fit(X, k, init, weights=None, **parameters):
    """A fitted KMeans; fewer distinct clusters than asked for are expected here and not warned about."""
    parameters = {"n_init": 1, "algorithm": "lloyd", **parameters}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        return KMeans(k, init=init, **parameters).fit(X, sample_weight=weights)


def bits(a):
    """What makes two arrays the same to the bit: dtype, shape and bytes."""
    a = np.ascontiguousarray(a)
    return a.dtype.str, a.shape, a.tobytes()


def assert_equals_oracle(model, expected):
    assert model.n_iter_ == expected.n_iter
    assert model.labels_.dtype == np.int32
    np.testing.assert_array_equal(model.labels_, expected.labels)
    np.testing.assert_array_equal(model.cluster_centers_, expected.centers)
    assert bits(model.cluster_centers_) == bits(expected.centers)
    assert type(model.inertia_) is float and model.inertia_ == expected.inertia
    assert model.converged_ == expected.converged
    assert len(model.history_) == model.n_iter_ == len(expected.history)
    for t, (ours, theirs) in enumerate(zip(model.history_, expected.history, strict=True)):
        assert ours.center_shift == theirs.center_shift, t
        assert ours.n_refilled == theirs.n_refilled, t
        assert theirs.n_changed is None or ours.n_changed == theirs.n_changed, t


def check_every_pass(X, start, weights=None, tol=0.0, passes=(1, 2, 3, 300)):
    """Fits stopped after these numbers of iterations, and the whole one, against one run of the oracle."""
    k = len(start)
    full = oracle.lloyd(X, start, weights, max(passes), tol, oracle.center_dtype(X.dtype))
    for max_iter in sorted({min(m, full.n_iter) for m in passes} | {max(passes)}):
        model = fit(X, k, start, weights, max_iter=max_iter, tol=tol)
        assert_equals_oracle(model, oracle.stopped(full, X, max_iter, weights))
        np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.score(X, sample_weight=weights) == -model.inertia_
    return full


# -------------------------------------------------------------------------------------------------- from given centers
@pytest.mark.parametrize("name", matrix.DATA)
def test_rows_as_start(name):
    check_every_pass(matrix.dataset(name).X, matrix.start(name, "rows"))


FEW = [*matrix.NAMED, "d=1", "d=17", "d=129", "k=33", "n=13"]


@pytest.mark.parametrize(
    ("name", "start"),
    [(name, "ulp") for name in matrix.DATA if not name.endswith("wide") or name == "k=33 wide"]
    + [(name, start) for name in FEW for start in ("off", "duplicate", "far")],
)
def test_other_starts(name, start):
    check_every_pass(matrix.dataset(name).X, matrix.start(name, start), passes=(1, 2, 300))


@pytest.mark.parametrize("start", ["rows", "off"])
@pytest.mark.parametrize("weighting", [w for w in matrix.WEIGHTS if w != "none"])
@pytest.mark.parametrize("name", SOME)
def test_weighted(name, weighting, start):
    weights = matrix.weights(name, weighting)
    check_every_pass(matrix.dataset(name).X, matrix.start(name, start), weights, passes=(1, 2, 300))


@pytest.mark.parametrize("weighting", ["none", "integer with zeros", "fractional", "wild"])
@pytest.mark.parametrize("name", SOME)
def test_tolerance_stops_where_the_oracle_does(name, weighting):
    X, weights = matrix.dataset(name).X, matrix.weights(name, weighting)
    for tol in (1e-6, 1e-4, 1e-2, 1.0):
        check_every_pass(X, matrix.start(name, "rows"), weights, tol, passes=(300,))


@pytest.mark.parametrize("name", ["plane lattice", "line lattice", "uniform", "digits"])
def test_tolerance_is_compared_exactly(name):
    """A tolerance that equals the shift of some iteration to the bit stops there; the next smaller one does not."""
    X, start = matrix.dataset(name).X, matrix.start(name, "rows")
    full = oracle.lloyd(X, start, tol=0.0)
    unit = oracle.tolerance(X, None, 1.0)
    at = full.n_iter // 2
    shift = full.history[at - 1].center_shift
    tol = shift / unit
    while oracle.tolerance(X, None, tol) < shift:
        tol = np.nextafter(tol, np.inf)
    while oracle.tolerance(X, None, np.nextafter(tol, 0)) >= shift:
        tol = np.nextafter(tol, 0)
    first = next(t for t, h in enumerate(full.history, 1) if h.center_shift <= shift)
    assert fit(X, len(start), start, tol=tol).n_iter_ == first
    assert fit(X, len(start), start, tol=np.nextafter(tol, 0)).n_iter_ > first


@pytest.mark.parametrize("name", [*SOME, "line lattice", "cube lattice", "digits32", "k=1", "k=33", "d=1000"])
def test_plain_loops(name, monkeypatch):
    """The form that small jobs run."""
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    X = matrix.dataset(name).X
    for start in ("rows", "ulp", "far"):
        check_every_pass(X, matrix.start(name, start), passes=(1, 300))
    check_every_pass(X, matrix.start(name, "rows"), matrix.weights(name, "fractional"), passes=(2, 300))


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("name", [*SOME, "cube lattice", "k=33"])
def test_plain_loops_seeded(name, init, monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    X, k = matrix.dataset(name)
    assert_equals_oracle(fit(X, k, init, random_state=2), oracle.kmeans(X, k, init, seed=2))


@pytest.mark.skipif(simd.native_lanes() == 1, reason="this CPU runs plain loops only")
@pytest.mark.parametrize("name", ["d=3", "d=65", "d=3 f64"])
def test_the_matrix_tries_the_vector_kernels(name, monkeypatch):
    """A fit as this file makes them does not run the plain loops, and a small one by default does."""

    def refuse(*arguments):
        raise AssertionError("plain loops ran")

    X, k = matrix.dataset(name)
    monkeypatch.setattr(lloyd, "plain_lane", refuse)
    fit(X, k, X[:k], max_iter=1)
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    with pytest.raises(AssertionError, match="plain loops ran"):
        fit(X, k, X[:k], max_iter=1)


def test_many_rows():
    """Enough rows for many blocks, and many passes in which only some rows change."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6007, 5)).astype(np.float32)
    weights = rng.integers(0, 4, len(X))
    full = check_every_pass(X, X[:12], passes=(7, 60))
    assert full.n_iter > 30
    check_every_pass(X, X[:12], weights, passes=(5, 40))


def test_start_in_another_dtype():
    """Initial centers are rounded to the dtype of the centers first, and never changed."""
    X = matrix.dataset("blobs32").X
    rng = np.random.default_rng(1)
    start = rng.normal(size=(6, X.shape[1]))
    kept = start.copy()
    expected = oracle.lloyd(X, start.astype(np.float32), dtype=np.float32, tol=0.0)
    for given_start in (start, start.tolist(), np.asfortranarray(start), start[::-1][::-1]):
        assert_equals_oracle(fit(X, 6, given_start, tol=0.0), expected)
    assert bits(start) == bits(kept)
    whole = rng.integers(-2, 3, (6, X.shape[1]))
    assert_equals_oracle(fit(X, 6, whole, tol=0.0), oracle.lloyd(X, whole, dtype=np.float32, tol=0.0))


# ------------------------------------------------------------------------------------------------------------- seeding
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("name", [*matrix.NAMED, "d=1", "d=17", "d=65", "d=129", "k=33", "k=65", "n=13", "n=48 wide"])
def test_seeded(name, init):
    X, k = matrix.dataset(name)
    for seed in (0, 1):
        sequence = np.random.SeedSequence(seed).spawn(1)[0]
        pick = oracle.kmeans_plusplus if init == "k-means++" else lambda X, *a: oracle.random_rows(len(X), *a)
        start = X[pick(X, None, k, sequence)].astype(oracle.center_dtype(X.dtype))
        one_pass = fit(X, k, init, random_state=seed, max_iter=1, tol=0.0)
        assert_equals_oracle(one_pass, oracle.lloyd(X, start, max_iter=1, tol=0.0))
    expected = oracle.kmeans(X, k, init, n_init=3, seed=7)
    assert_equals_oracle(fit(X, k, init, n_init=3, random_state=7), expected)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("weighting", [w for w in matrix.WEIGHTS if w != "none"])
@pytest.mark.parametrize("name", ["blobs", "duplicates", "plane lattice", "1e-310", "d=33", "one cluster each"])
def test_seeded_with_weights(name, weighting, init):
    X, k = matrix.dataset(name)
    weights = matrix.weights(name, weighting)
    expected = oracle.kmeans(X, k, init, n_init=2, seed=3, weights=weights)
    assert_equals_oracle(fit(X, k, init, weights, n_init=2, random_state=3), expected)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_seeding_is_no_iteration(init):
    """The centers that seeding finds, passed as an array, give the same fit in every respect."""
    X, k = matrix.dataset("uniform32")
    seeded = fit(X, k, init, random_state=5)
    pick = oracle.kmeans_plusplus if init == "k-means++" else lambda X, *a: oracle.random_rows(len(X), *a)
    given = fit(X, k, X[pick(X, None, k, np.random.SeedSequence(5).spawn(1)[0])])
    assert bits(seeded.cluster_centers_) == bits(given.cluster_centers_) and bits(seeded.labels_) == bits(given.labels_)
    assert (seeded.inertia_, seeded.n_iter_) == (given.inertia_, given.n_iter_)
    assert [h[:4] for h in seeded.history_] == [h[:4] for h in given.history_]


def test_seeding_over_many_rows():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(4001, 3))
    weights = rng.uniform(0, 1, 4001)
    for w in (None, weights):
        start = X[oracle.kmeans_plusplus(X, w, 9, np.random.SeedSequence(4).spawn(1)[0])]
        assert_equals_oracle(
            fit(X, 9, "k-means++", w, random_state=4, max_iter=1, tol=0.0), oracle.lloyd(X, start, w, 1, 0.0)
        )


# ----------------------------------------------------------------------------------------------- each assignment
@pytest.mark.parametrize("start", ["rows", "ulp", "duplicate"])
@pytest.mark.parametrize("name", matrix.DATA)
def test_predict_is_the_canonical_argmin(name, start):
    """Predict for centers that no mean produced; `off` data as well: rows the fit has not seen."""
    X, k = matrix.dataset(name)
    C = matrix.start(name, start).astype(oracle.center_dtype(X.dtype))
    model = fit(X, k, C, max_iter=1)
    model.cluster_centers_ = C
    np.testing.assert_array_equal(model.predict(X), oracle.assign(X, C))
    other = matrix.start(name, "off")
    np.testing.assert_array_equal(model.predict(other), oracle.assign(other, C))


def test_predict_where_nothing_is_far():
    """Rows exactly between centers, and one unit in the last place to either side."""
    rng = np.random.default_rng(3)
    for dtype in (np.float32, np.float64):
        C = rng.integers(-8, 9, (20, 6)).astype(dtype)
        pairs = rng.integers(0, 20, (400, 2))
        X = (C[pairs[:, 0]] + C[pairs[:, 1]]) / 2
        X[::3] = np.nextafter(X[::3], dtype(np.inf))
        X[1::3, 2] = np.nextafter(X[1::3, 2], dtype(-np.inf))
        model = fit(X, 20, C, max_iter=1)
        model.cluster_centers_ = C
        np.testing.assert_array_equal(model.predict(X), oracle.assign(X, C))


# --------------------------------------------------------------------------------------------- what must not matter
@pytest.mark.parametrize("tol", [0.0, 1e-2])
@pytest.mark.parametrize("name", SOME)
def test_integer_weights_equal_repetition_and_zero_equals_absence(name, tol):
    X, k = matrix.dataset(name)
    start = matrix.start(name, "rows")
    weights = matrix.weights(name, "integer with zeros").astype(np.int64)
    weighted = fit(X, k, start, weights, tol=tol)
    repeated = fit(np.repeat(X, weights, axis=0), k, start, tol=tol)
    absent = fit(X[weights > 0], k, start, weights[weights > 0], tol=tol)
    for other in (repeated, absent):
        assert bits(weighted.cluster_centers_) == bits(other.cluster_centers_)
        assert (weighted.inertia_, weighted.n_iter_) == (other.inertia_, other.n_iter_)
        assert bits(weighted.cluster_weights_) == bits(other.cluster_weights_)
        assert [h[1] for h in weighted.history_] == [h[1] for h in other.history_]
    np.testing.assert_array_equal(np.repeat(weighted.labels_, weights), repeated.labels_)
    np.testing.assert_array_equal(weighted.labels_[weights > 0], absent.labels_)


def test_a_row_of_weight_zero_may_hold_anything():
    """It gets a label and has no other effect, however far out it lies."""
    X, k = matrix.dataset("blobs")
    start = matrix.start("blobs", "rows")
    for far in (1e3, 1e20, 1e100, -1e-300):
        Y = np.vstack([X, np.full((2, X.shape[1]), far)])
        weights = np.r_[np.ones(len(X)), 0, 0]
        for init in (start, matrix.start("blobs", "far"), "k-means++", "random"):
            plain = fit(X, k, init, np.ones(len(X)), random_state=0)
            model = fit(Y, k, init, weights, random_state=0)
            assert bits(model.cluster_centers_) == bits(plain.cluster_centers_)
            assert (model.inertia_, model.n_iter_) == (plain.inertia_, plain.n_iter_)
            np.testing.assert_array_equal(model.labels_[: len(X)], plain.labels_)
            np.testing.assert_array_equal(model.labels_, oracle.assign(Y, model.cluster_centers_))


@pytest.mark.parametrize("name", [*SOME, "cube lattice", "outlier"])
def test_permuted_rows(name):
    """Same centers to the bit, labels permuted alike."""
    X, k = matrix.dataset(name)
    start, order = matrix.start(name, "rows"), np.random.default_rng(8).permutation(len(X))
    weights = matrix.weights(name, "fractional")
    for w in (None, weights):
        one = fit(X, k, start, w)
        other = fit(X[order], k, start, None if w is None else w[order])
        assert bits(one.cluster_centers_) == bits(other.cluster_centers_)
        assert (one.inertia_, one.n_iter_) == (other.inertia_, other.n_iter_)
        np.testing.assert_array_equal(one.labels_[order], other.labels_)


@pytest.mark.parametrize("shape", [(97, 5, 6), (61, 1, 3), (83, 70, 17), (131, 16, 9)])
def test_dtypes_holding_the_same_values(shape, monkeypatch):
    """Equal bits among dtypes with equal centers' dtype; the wide ones equal their own oracle."""
    n, d, k = shape
    rng = np.random.default_rng(n)
    values = rng.integers(0, 128, (n, d))
    start = values[rng.permutation(n)[:k]].astype(np.float64)
    expected = {c: oracle.lloyd(values, start, dtype=c, tol=0.0) for c in (np.float32, np.float64)}
    for dtype in "f4 f2 u1 i1 u2 i2 f8 i4 u4 i8 u8 g".split():
        # the vector kernels take seconds to compile for a dtype: not for all of them
        monkeypatch.setattr(packed, "PLAIN_WORK", 0.0 if dtype in ("f4", "f2", "u1", "f8") else np.inf)
        model = fit(values.astype(dtype), k, start, tol=0.0)
        assert_equals_oracle(model, expected[oracle.center_dtype(dtype).type])
        monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
        for other in ("f4", "f8", "u1", "i8", "f2"):
            np.testing.assert_array_equal(model.predict(values.astype(other)), model.labels_)
    seeded = {c: oracle.kmeans(values, k, seed=1, dtype=c) for c in (np.float32, np.float64)}
    for dtype in "f4 f2 u1 f8 i8".split():
        monkeypatch.setattr(packed, "PLAIN_WORK", 0.0 if dtype in ("f4", "f2", "f8") else np.inf)
        model = fit(values.astype(dtype), k, "k-means++", random_state=1)
        assert_equals_oracle(model, seeded[oracle.center_dtype(dtype).type])


def test_booleans(monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    X = np.random.default_rng(4).random((90, 7)) < 0.4
    assert_equals_oracle(fit(X, 5, X[:5].astype(float), tol=0.0), oracle.lloyd(X, X[:5], dtype=np.float32, tol=0.0))


def test_float16_extremes():
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(77, 4)) * [6e-8, 1e-3, 1.0, 1e4]).astype(np.float16)
    check_every_pass(X, X[:6].astype(np.float32))


def test_integers_that_float64_rounds():
    X = 2**53 + 2 * np.random.default_rng(6).integers(0, 40, (64, 2)) + 1
    for dtype in (np.int64, np.uint64):
        check_every_pass(X.astype(dtype), X[:5].astype(np.float64))


# -------------------------------------------------------------------------------------------------------------- refills
@pytest.mark.parametrize(
    "name", ["blobs", "duplicates", "plane lattice", "offset32", "all equal", "k=17", "n=11", "outlier"]
)
def test_refills_match(name):
    X = matrix.dataset(name).X
    full = check_every_pass(X, matrix.start(name, "far"))
    assert full.history[0].n_refilled > 0 or name == "all equal"
    weights = matrix.weights(name, "integer with zeros")
    check_every_pass(X, matrix.start(name, "far"), weights)


def test_refill_again_and_again():
    """Two rows at the ends of a line pull an empty center to and fro; the loop must end."""
    X = np.array([[-10.0], [10.0], [-9.0], [9.0], [0.0], [0.0], [0.0]])
    for k in (2, 3, 4, 5):
        start = np.concatenate([[[0.0]], 1e6 + np.arange(k - 1.0)[:, None]])
        check_every_pass(X, start, passes=(1, 2, 3, 4, 300))


def test_more_clusters_than_distinct_rows():
    for name in ("more clusters than points", "all equal", "all zero"):
        X, k = matrix.dataset(name)
        for init in ("k-means++", "random"):
            model = fit(X, k, init, random_state=0)
            assert_equals_oracle(model, oracle.kmeans(X, k, init, seed=0))
            assert model.inertia_ == 0.0


# ------------------------------------------------------------------------------------------------------------- accuracy
@pytest.mark.parametrize("name", ["outlier", "outlier32"])
def test_an_outlier_leaves_the_other_centers_right(name):
    X, k = matrix.dataset(name)
    start = np.vstack([X[77], X[[i for i in range(9) if i != 77][:k]]])
    model = fit(X, k + 1, start, tol=0.0)
    for c in range(k + 1):
        mine = X[model.labels_ == c].astype(np.longdouble)
        np.testing.assert_allclose(
            model.cluster_centers_[c], mine.mean(axis=0), rtol=6e-8 if X.dtype == np.float32 else 1e-15
        )


def _midpoints(dtype, n_pairs, d, rng):
    """Columns whose mean lies halfway between two numbers of this dtype, or a hair to either side of halfway."""
    low = (rng.uniform(1, 2, d) * 2.0 ** rng.integers(-20, 20, d) * rng.choice([-1, 1], d)).astype(dtype)
    X = np.empty((2 * n_pairs, d), dtype)
    X[::2], X[1::2] = low, np.nextafter(low, dtype(np.inf))
    if n_pairs > 1:  # opposite values that cancel but for their last place, or wholly
        hair = (low * rng.choice([1e-3, 1e-6, 1e-12], d)).astype(dtype)
        X[2], X[3] = hair, np.where(rng.random(d) < 0.3, -hair, -np.nextafter(hair, dtype(np.inf)))
    return X


@pytest.mark.parametrize("weighting", [None, 1.0, 3.0, 0.1, 2.0**55])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_halfway_between_two_numbers(dtype, weighting):
    """A mean is rounded once, to even where it is exactly halfway."""
    rng = np.random.default_rng(9)
    for n_pairs in (1, 2):
        X = _midpoints(dtype, n_pairs, 300, rng)
        weights = None if weighting is None else np.full(len(X), weighting)
        expected = oracle.lloyd(X, X[:1], weights, 1, 0.0)
        model = fit(X, 1, X[:1], weights, max_iter=1, tol=0.0)
        assert bits(model.cluster_centers_) == bits(expected.centers)
        assert model.inertia_ == expected.inertia


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_means_of_tiny_values(dtype):
    """Subnormal means are rounded to even as well, and a mean below half of the smallest number is zero."""
    tiny = np.finfo(dtype).smallest_subnormal
    X = (np.array([[1, 3, 5, 1, 0, -1, 7], [0, 0, 0, 0, 1, 0, 4], [0, 0, 1, 1, 0, 0, 0]]) * tiny).astype(dtype)
    for n in (2, 3):
        expected = oracle.lloyd(X[:n], X[:1], max_iter=1, tol=0.0)
        assert bits(fit(X[:n], 1, X[:1], max_iter=1, tol=0.0).cluster_centers_) == bits(expected.centers)


@pytest.mark.parametrize("name", [n for n in matrix.NAMED if n != "1e-310"])
def test_history_inertia(name):
    """From the statistics, so only nearly the sum of distances; from the rows where that would lose digits."""
    X = matrix.dataset(name).X
    C = matrix.start(name, "rows").astype(oracle.center_dtype(X.dtype))
    model = fit(X, len(C), C, tol=0.0)
    values = X.astype(np.float64)
    spread, grain = values.std(axis=0), 2.0**-52 * np.abs(values).max(axis=0)
    allowed = 1e-13 * len(X) * (spread**2).sum() + 8 * len(X) * (grain * (spread + grain) + 2.0**-1074).sum()
    for ours, theirs in zip(model.history_, oracle.lloyd(X, C, tol=0.0).history, strict=True):
        assert ours.inertia == pytest.approx(oracle.inertia(X, C, theirs.labels), rel=1e-5, abs=allowed)
        C = theirs.centers


@pytest.mark.parametrize("apart", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("weighted", [False, True])
def test_history_inertia_of_narrow_clusters(apart, weighted, capsys):
    """Far narrower than they lie apart: the scatter tells nothing of the inertia."""
    rng = np.random.default_rng(0)
    X = apart * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[rng.integers(3, size=3000)]
    X += 1e-2 * rng.normal(size=(3000, 2))
    weights = rng.integers(0, 3, 3000).astype(float) if weighted else None
    told = []
    model = KMeans(6, random_state=0, n_init=1, tol=0, verbose=1, callback=lambda now: told.append(now.inertia))
    history = [step.inertia for step in model.fit(X, sample_weight=weights).history_]
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "inertia" in line]
    assert history == told == [float(words[3].rstrip(",")) for words in lines]
    assert (np.diff(history) <= 1e-9 * history[-1]).all()
    assert history[-1] == pytest.approx(model.inertia_, rel=1e-9)


# ------------------------------------------------------------------------------------------------------------ any small
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 0.1, 1e-3, 1e6, 1e-30, 2.0**-149, 1e18, 16777217.0])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_small_fits(data):
    n, d = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 4))
    k = data.draw(st.integers(1, n))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    table = st.lists(VALUES, min_size=d, max_size=d)
    X = np.array(data.draw(st.lists(table, min_size=n, max_size=n)), dtype=dtype)
    start = np.array(data.draw(st.lists(table, min_size=k, max_size=k)), dtype=dtype)
    weight = st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.1, 1e-9, 1e9])
    weights = data.draw(st.none() | st.lists(weight, min_size=n, max_size=n).filter(any))
    check_every_pass(X, start, weights, data.draw(st.sampled_from([0.0, 1e-4, 0.3])), passes=(1, 2, 50))
