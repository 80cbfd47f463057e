"""Bounded passes: the labels of the dense pass after every iteration, and bounds that are true, every one of them.

Small jobs run plain loops by default; this file forces the vector kernels, as test_exact_fit.py does. `groups` stands
for a bound per row and group of centers, which many features get by themselves, `codes` for the same with codes of all
rows that were read, `neighbors` for one bound per row and the distances between centers, `runners-up` for one bound per
row and a second nearest center.
"""

import copy
import warnings

import matrix
import numpy as np
import oracle
import pytest

from fastkmeans import KMeans, assigner, bounded, data, packed, passes, points, row_codes, solver
from fastkmeans.kernels import blocks, bounds, drake, lloyd, simd

pytestmark = pytest.mark.skipif(simd.lane_width() == 1, reason="plain loops keep no bounds")

SOME = ["blobs", "uniform32", "duplicates", "plane lattice", "offset32", "two scales", "tight blobs", "d=33", "1e-310"]


@pytest.fixture(autouse=True, scope="module")
def vector_kernels():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PLAIN_WORK", 0.0)
        yield


@pytest.fixture(params=["runners-up", "neighbors", "groups", "codes"])
def kind(request, monkeypatch):
    """Every kind of bounds, whatever the number of features and clusters."""
    monkeypatch.setattr(bounded, "MOST_RIVALS", drake.MOST if request.param == "runners-up" else 0)
    monkeypatch.setattr(bounded, "MOST_NEIGHBORS", 0 if request.param in ("groups", "codes") else 2048)
    if request.param == "codes":
        monkeypatch.setattr(row_codes, "CODES", True)
        monkeypatch.setattr(row_codes, "CALM", 1.0)
        monkeypatch.setattr(data, "CODE_SHARE", np.inf)
    return request.param


def fit(X, init, weights=None, **parameters):
    parameters = {"n_init": 1, "tol": 0.0, **parameters}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        warnings.filterwarnings("ignore", message="algorithm='elkan' doesn't make sense")
        return KMeans(len(init), init=init, **parameters).fit(X, sample_weight=weights)


def found(model):
    """All that must be the same to the bit."""
    return (
        model.labels_.tobytes(),
        model.cluster_centers_.dtype,
        model.cluster_centers_.tobytes(),
        model.inertia_,
        model.n_iter_,
        model.converged_,
        model.cluster_weights_.tobytes(),
        [step[:4] for step in model.history_],
    )


def assert_same(X, init, weights=None, iterations=(1, 2, 3, 4, 7, 300), **parameters):
    """Elkan, auto and lloyd agree after each of these numbers of iterations."""
    for max_iter in iterations:
        expected = fit(X, init, weights, max_iter=max_iter, algorithm="lloyd", **parameters)
        for algorithm in ("elkan", "auto"):
            model = fit(X, init, weights, max_iter=max_iter, algorithm=algorithm, **parameters)
            assert found(model) == found(expected), (algorithm, max_iter)
        if expected.n_iter_ < max_iter:
            break
    return expected


# ------------------------------------------------------------------------------------------------------ the same result
@pytest.mark.parametrize("start", ["rows", "ulp", "duplicate", "far"])
@pytest.mark.parametrize("name", matrix.NAMED)
def test_named_data(name, start, kind):
    iterations = (1, 2, 3, 4, 7, 300) if start == "rows" else (2, 4, 300)
    assert_same(matrix.dataset(name).X, matrix.start(name, start), iterations=iterations)


@pytest.mark.parametrize("name", [name for name in matrix.DATA if name not in matrix.NAMED])
def test_shapes(name, kind):
    if kind in ("groups", "codes") or matrix.dataset(name).X.shape[1] < lloyd.SWITCH:
        assert_same(matrix.dataset(name).X, matrix.start(name, "rows"), iterations=(2, 3, 5, 300))


@pytest.mark.parametrize("weighting", [w for w in matrix.WEIGHTS if w != "none"])
@pytest.mark.parametrize("name", ["blobs", "plane lattice", "tight blobs", "d=33"])
def test_weighted(name, weighting, kind):
    weights = matrix.weights(name, weighting)
    for start in ("rows", "far"):
        assert_same(matrix.dataset(name).X, matrix.start(name, start), weights, iterations=(2, 3, 300))


STORED = [(kind, s) for kind in ("neighbors", "groups") for s in matrix.STORAGES if "stri" not in s and "neg" not in s]
STORED += [("runners-up", "F"), ("runners-up", "memmap")]  # each takes long to compile


@pytest.mark.parametrize(("kind", "storage"), STORED, indirect=["kind"])
def test_storages(storage, kind, tmp_path):
    name = "d=65" if kind == "groups" else "blobs32"
    X, start = matrix.dataset(name).X, matrix.start(name, "rows")
    assert_same(matrix.stored(X, storage, tmp_path), start, iterations=(3, 300))


@pytest.mark.parametrize("dtype", ["f2", "u1"])
def test_dtypes(dtype):
    rng = np.random.default_rng(3)
    for n, d, k in ((301, 5, 20), (203, 70, 19)):
        values = rng.integers(0, 128, (n, d)).astype(dtype)
        assert_same(values, values[:k].astype(np.float64), iterations=(3, 300))


@pytest.mark.parametrize("d", [3, 60])
def test_many_rows_equal_the_oracle(d, kind, monkeypatch):
    """Many stretches of rows, several ranges, several lanes, and passes that read almost nothing."""
    rng = np.random.default_rng(d)
    X = (rng.normal(size=(40, d)) * 2)[rng.integers(0, 40, 3007)] + rng.normal(size=(3007, d))
    X = X.astype(np.float32)
    full = oracle.lloyd(X, X[:50], None, 30, 0.0, np.float32)
    for rows in (None, 1500):
        monkeypatch.setattr(data, "RANGE_ROWS", rows)
        monkeypatch.setattr(passes.threads, "SERIAL_WORK", 0.0)
        for max_iter in (2, 5, 30):
            model, expected = fit(X, X[:50], max_iter=max_iter, algorithm="elkan"), oracle.stopped(full, X, max_iter)
            np.testing.assert_array_equal(model.labels_, expected.labels)
            np.testing.assert_array_equal(model.cluster_centers_, expected.centers)
            assert (model.inertia_, model.n_iter_) == (expected.inertia, expected.n_iter)
    evaluated = [step.evaluated for step in model.history_]
    assert evaluated[0] == 1.0 and 0.0 < min(evaluated[1:-1]) < 0.3


@pytest.mark.parametrize("width", [4, 8, 16])
def test_lane_widths(width, kind):
    d = 70 if kind in ("groups", "codes") else 5
    if width == 16 and simd.native_lanes() < 16 and simd.native_lanes() != 8:
        pytest.skip("needs the vector units of x86-64")
    rng = np.random.default_rng(width)
    X = rng.normal(size=(905, d)) + 2.0 * rng.integers(0, 3, (905, d))
    X = X.astype(np.float32)
    expected = fit(X, X[:37], algorithm="lloyd")
    with simd.force_lanes(width):
        assert found(fit(X, X[:37], algorithm="elkan")) == found(expected)


def test_groups_of_several_blocks(monkeypatch):
    """Where bounds would take too much memory, groups are larger and fewer."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(1203, 6)).astype(np.float32)
    monkeypatch.setattr(bounded, "MOST_NEIGHBORS", 0)
    for share in (1, 2, 6):
        monkeypatch.setattr(bounded, "SHARE", share)
        kept = bounded.GroupBounds(data.Data(points.as_points(X), None, 1), X[:150])
        assert kept.n_groups <= max(1, 6 // share) and kept.n_groups * kept.size >= 150
        assert_same(X, X[:150], iterations=(2, 5, 300))


# ---------------------------------------------------------------------------------------------------- every bound holds
def true_distances(X, C):
    X, C = np.asarray(X, np.longdouble), np.asarray(C, np.longdouble)
    return np.sqrt(((X[:, None, :] - C[None, :, :]) ** 2).sum(axis=2))


def check_bounds(kept, X, C, labels, rows=slice(None)):
    """Every stored bound of these rows against the true distances, in long double."""
    X, labels, n, k = X[rows], labels[rows], len(X[rows]), len(C)
    distances = true_distances(X, C) * np.longdouble(kept.frame.scale)
    own = distances[np.arange(n), labels]
    others = distances.copy()
    others[np.arange(n), labels] = np.inf
    within = np.longdouble(1 - 1e-15)
    if isinstance(kept, bounded.RunnerUpBounds):
        rivals, everyone = kept.rivals[rows], np.arange(n)
        gaps = kept.gaps[rows] - (kept.way[labels] + kept.way[rivals]).astype(np.longdouble)
        rests = kept.rests[rows] - (kept.way[labels] + kept.fastest[labels]).astype(np.longdouble)
        assert ((rivals != labels).all() or k == 1) and (own + gaps <= others[everyone, rivals] / within).all()
        others[everyone, rivals] = np.inf
        assert (own + rests <= others.min(axis=1) / within).all()
        return
    assert (kept.upper[rows] >= own * within).all()
    assert (kept.least[rows] * within <= others.min(axis=1)).all()
    if isinstance(kept, bounded.GroupBounds):
        stored = kept.lower[:-16].reshape(-1, kept.n_groups)[rows].astype(np.float64)
        lower = stored - kept.drift[: kept.n_groups].astype(np.float64)
        for g in range(kept.n_groups):
            members = kept.order[g * kept.size : min((g + 1) * kept.size, k)]
            assert (lower[:, g] * within <= others[:, members].min(axis=1)).all()
        if np.isinf(kept.stale).any():  # distances between centers are yet to be taken
            return
        between = kept.between.reshape(k, -1).astype(np.float64)
        apart = true_distances(C, C) * np.longdouble(kept.frame.scale)
        np.fill_diagonal(apart, np.inf)
        for g in range(kept.n_groups):
            members = kept.order[g * kept.size : min((g + 1) * kept.size, k)]
            assert (between[:, g] * within <= apart[:, members].min(axis=1)).all()
    else:
        apart = true_distances(C, C) * np.longdouble(kept.frame.scale)
        np.fill_diagonal(apart, np.inf)
        assert (kept.between.reshape(k, -1)[:, :k].astype(np.float64) * within <= apart).all()
    assert (kept.half.astype(np.float64) * within <= apart.min(axis=1)).all()


def follow(X, C, n_passes, disturb=None, spread=1):
    """Passes of the solver by hand, dense beside bounded; every bound is checked after each."""
    table = data.Data(points.as_points(X), None, None)
    k = len(C)
    C = C.astype(table.points.center_dtype)
    labels = np.full(table.n, -1, np.int32)
    sums, means = passes.Sums(table, k, passes.pass_lanes(table, k)), np.zeros(C.shape)
    passes.assign(table, C, labels, sums)
    kept, shares = None, []
    rows = np.arange(table.n) // bounds.SCAN % spread == 0
    for t in range(n_passes):
        C = passes.update_centers(table, sums, C, means)
        if disturb is not None:
            C = disturb(t, C)
        kept = kept or bounded.make_bounds(table, C, spread)
        expected = labels.copy()
        passes.assign(table, C, expected)
        outcome = kept.assign(table, C, labels, sums)
        np.testing.assert_array_equal(labels[rows], expected[rows])
        check_bounds(kept, X, C, labels, rows)
        shares.append(outcome.evaluated)
        passes.assign(table, C, labels, sums)
    return shares


@pytest.mark.parametrize("name", [*SOME, "digits32", "signed zeros", "k=1", "k=17", "d=129", "1e30 f32", "1e-42 f32"])
def test_bounds_hold(name, kind):
    X = matrix.dataset(name).X
    for start in ("rows", "ulp"):
        follow(X, matrix.start(name, start), 6)


@pytest.mark.parametrize("d", [4, 50])
def test_bounds_hold_over_many_passes(d, kind):
    rng = np.random.default_rng(d)
    X = (rng.normal(size=(30, d)))[rng.integers(0, 30, 1201)] + rng.normal(size=(1201, d))
    shares = follow(X.astype(np.float32), X[:70].astype(np.float32), 15)
    assert shares[-1] < 0.5 * shares[0]


def test_bounds_hold_between_centers_nearly_as_near():
    """A row's values for two centers differ less than the numbers of the centers, which lie in their lowest bits."""
    rng = np.random.default_rng(8)
    C = np.concatenate([rng.normal(size=(100, 5)), 9.0 + rng.normal(size=(27, 5))]).astype(np.float32)
    pairs = np.array([(a, b) for a in range(100) for b in range(a)])
    middle = 0.5 * (C[pairs[:, 0]] + C[pairs[:, 1]]) + 1e-6 * rng.normal(size=(len(pairs), 5))
    X = np.concatenate([middle, C[rng.integers(0, 127, 2000)] + rng.normal(size=(2000, 5))]).astype(np.float32)
    for shift in (0.0, 100.0):
        start = C + np.float32(shift)
        follow(X + np.float32(shift), start, 2, lambda t, C, start=start: start)


def test_bounds_hold_while_nothing_moves(kind):
    """However often a bound is moved by nothing, it stays on its side."""
    rng = np.random.default_rng(6)
    for d in (2, 50):
        X = rng.normal(size=(400, d)).astype(np.float32)
        C, table = X[:30].copy(), data.Data(points.as_points(X), None, 1)
        labels = solver.predict(table.points, C)
        kept = bounded.make_bounds(table, C)
        for _ in range(60):
            kept.assign(table, C, labels)
        check_bounds(kept, X, C, labels)


def test_bounds_hold_when_centers_jump(kind):
    """A refilled center, and one that runs away, move by a known distance like any other."""
    X = matrix.dataset("blobs").X

    def jump(t, C):
        C = C.copy()
        C[t % len(C)] = X[(17 * t) % len(X)]
        if t == 3:
            C[0] += 50.0
        return C

    follow(X, matrix.start("blobs", "rows"), 9, jump)


def test_bounds_hold_when_one_center_creeps(kind):
    """Towards its nearest, while all others stand still: nothing but its own way tells."""
    X = np.random.default_rng(9).normal(size=(1201, 4)).astype(np.float32)
    start = X[:20]
    apart = true_distances(start, start) + np.diag(np.full(20, np.inf))
    a, b = np.unravel_index(apart.argmin(), apart.shape)

    def creep(t, C):
        C = start.copy()
        C[a] += np.float32(0.004 * t) * (start[b] - start[a])
        return C

    follow(X, start, 12, creep)


KEPT = [name for name in SOME if name not in ("duplicates", "plane lattice")] + ["k=17", "d=129", "1e30 f32", "uniform"]


@pytest.mark.parametrize("name", KEPT)
def test_bounds_that_a_dense_pass_leaves_hold(name, monkeypatch):
    """The integer filter's values bound all distances, with groups of one block and of several."""
    X, C = matrix.dataset(name).X, matrix.start(name, "ulp")
    monkeypatch.setattr(bounded, "MOST_NEIGHBORS", 0)
    for share in (2, 10**6):
        monkeypatch.setattr(bounded, "SHARE", share)
        follow_kept(X, C)


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize(("d", "k"), [(48, 130), (70, 300), (200, 49)])
def test_bounds_that_a_dense_pass_leaves_hold_at_any_width(d, k, width):
    if width == 16 and simd.native_lanes() < 16 and simd.native_lanes() != 8:
        pytest.skip("needs the vector units of x86-64")
    rng = np.random.default_rng(d)
    X = (rng.normal(size=(30, d)))[rng.integers(0, 30, 1801)] + rng.normal(size=(1801, d))
    X = X.astype(np.float32)
    with simd.force_lanes(width):
        follow_kept(X, X[:k])
        follow_kept(X, X[:k], spread=3)


def follow_kept(X, C, spread=1):
    """A dense pass that leaves bounds, and bounded passes after it."""
    table = data.Data(points.as_points(X), None, None)
    C = C.astype(table.points.center_dtype)
    k = len(C)
    labels, expected = np.full((2, table.n), -1, np.int32)
    sums, means = passes.Sums(table, k, passes.pass_lanes(table, k)), np.zeros(C.shape)
    rows = np.arange(table.n) // bounds.SCAN % spread == 0
    with lloyd.force_orientation("integers"):
        kept = bounded.make_bounds(table, C, spread)
        passes.assign(table, C, expected)
        passes.assign(table, C, labels, sums, keep=kept)
        np.testing.assert_array_equal(labels, expected)
        if not kept.fresh:
            check_bounds(kept, X, C, labels, rows)
    for _ in range(3):
        C = passes.update_centers(table, sums, C, means)
        passes.assign(table, C, expected)
        kept.assign(table, C, labels, sums)
        np.testing.assert_array_equal(labels[rows], expected[rows])
        check_bounds(kept, X, C, labels, rows)
        passes.assign(table, C, labels, sums)
    kept.regroup(C)
    with lloyd.force_orientation("integers"):
        passes.assign(table, C, labels, sums, keep=kept)
    if not kept.fresh:
        check_bounds(kept, X, C, labels, rows)
    return kept


def test_a_dense_pass_leaves_bounds_where_it_can():
    """Neither where centers are equal, nor without the filter."""
    X = np.random.default_rng(2).normal(size=(901, 50)).astype(np.float32)
    labels = np.full(len(X), -1, np.int32)
    for name, C in (("integers", X[:60]), ("centers", X[:60]), ("integers", np.concatenate([X[:60], X[:1]]))):
        table = data.Data(points.as_points(X), None, 1)
        kept = bounded.make_bounds(table, C)
        with lloyd.force_orientation(name):
            passes.assign(table, C, labels, keep=kept)
        assert kept.fresh == (name == "centers" or len(C) > 60)


def test_bounds_of_scouts_hold(kind):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(5 * bounds.SCAN + 77, 7)).astype(np.float32)
    follow(X, X[:40], 4, spread=3)


def test_refills_that_bounds_must_notice(kind):
    """An empty cluster moves onto a far row while the others stand almost still: nothing else tells the rows there."""
    rng = np.random.default_rng(8)
    X = np.concatenate([rng.normal(size=(200, 2)) + [x, 0.0] for x in (0.0, 40.0, 80.0, 120.0)]).astype(np.float32)
    X = np.concatenate([X, X[:200] + np.float32([0.0, 25.0])])
    start = np.concatenate([X[[0, 200, 400, 600]], np.full((1, 2), 1e4, np.float32)])
    expected = assert_same(X, start, iterations=(1, 2, 3, 4, 5, 6, 300))
    assert expected.history_[0].n_refilled == 1
    for name in ("blobs", "plane lattice", "offset32", "k=17", "outlier"):
        X, start = matrix.dataset(name).X, matrix.start(name, "far")
        expected = assert_same(X, start, iterations=(1, 2, 3, 4, 5, 6, 300))
        assert expected.history_[0].n_refilled > 0


# --------------------------------------------------------------------------------------------------------- the textbook
def textbook_elkan(X, C, n_passes):
    """Elkan 2003 as printed, a lower bound per row and center, in float64: centers after every pass, pairs computed."""
    n, k = len(X), len(C)
    W = np.array([1] * n, dtype=object)
    grid = oracle.feature_grid(X, W)
    distances = np.sqrt(oracle.canonical(X, C))
    labels, lower = distances.argmin(axis=1), distances
    upper = lower[np.arange(n), labels]
    pairs, path = [n * k], []
    for _ in range(n_passes):
        new, empty = oracle.centers(grid, W, labels, C)
        assert not empty
        moved = np.sqrt(((new.astype(np.float64) - C) ** 2).sum(axis=1)) * (1 + 1e-9)
        C = new
        path.append(C)
        upper, lower = upper + moved[labels], lower - moved
        apart = np.sqrt(oracle.canonical(C, C)) * (1 - 1e-9)
        np.fill_diagonal(apart, np.inf)
        count = 0
        for i in np.flatnonzero(upper * (1 + 1e-9) >= 0.5 * apart[labels].min(axis=1)):
            open_ = (upper[i] * (1 + 1e-9) >= lower[i]) & (upper[i] * (1 + 1e-9) >= 0.5 * apart[labels[i]])
            open_[labels[i]] = True
            if open_.sum() > 1:
                lower[i, open_] = np.sqrt(oracle.canonical(X[i : i + 1], C[open_])[0])
                labels[i] = np.flatnonzero(open_)[lower[i, open_].argmin()]
                upper[i] = lower[i, labels[i]]
                count += int(open_.sum())
        pairs.append(count)
    return path, pairs


@pytest.mark.parametrize("d", [3, 50])
def test_the_textbook_finds_the_same_centers(d):
    rng = np.random.default_rng(d)
    X = ((rng.normal(size=(12, d)) * 2)[rng.integers(0, 12, 700)] + rng.normal(size=(700, d))).astype(np.float32)
    path, pairs = textbook_elkan(X, X[:12], 8)
    for n_passes, C in enumerate(path, 1):
        model = fit(X, X[:12], max_iter=n_passes, algorithm="elkan")
        if model.n_iter_ == n_passes:
            np.testing.assert_array_equal(model.cluster_centers_, C)
    ours = [round(step.evaluated * len(X) * 12) for step in model.history_]
    assert pairs[0] == ours[0] == len(X) * 12
    assert pairs[-1] < 0.5 * pairs[0] and ours[-1] < 0.9 * ours[0]


# ----------------------------------------------------------------------------------------------------------- the choice
class Clock:
    """Stands in for the time module: every pass takes what it is told to."""

    def __init__(self, monkeypatch, dense, bounded_):
        self.now, self.age = 0.0, 0  # age: bounded passes of all rows since the last dense one
        dense_assign, bounded_assign = passes.assign, bounded.Bounds.assign

        def slow_dense(*arguments, **more):
            self.now += dense
            self.age = 0
            return dense_assign(*arguments, **more)

        def slow_bounded(kept, *arguments, **more):
            outcome = bounded_assign(kept, *arguments, **more)
            self.age += kept.spread == 1
            kept.lane_seconds = bounded_(kept) if callable(bounded_) else bounded_
            self.now += kept.lane_seconds
            return outcome

        monkeypatch.setattr(passes, "assign", slow_dense)
        monkeypatch.setattr(bounded.Bounds, "assign", slow_bounded)
        monkeypatch.setattr(bounded, "time", self)
        monkeypatch.setattr(assigner, "time", self)
        monkeypatch.setattr(assigner, "SLOWEST", 0.0)
        monkeypatch.setattr(assigner, "OPEN", 1.0)  # what is tried out hangs on the clock alone

    def perf_counter(self):
        return self.now


@pytest.fixture
def scouts(monkeypatch):
    """Rows that try bounds out, though features and clusters are few."""
    monkeypatch.setattr(bounded, "MOST_RIVALS", 0)


def algorithms(model):
    return "".join(step.algorithm[0] for step in model.history_)


def test_auto_stays_dense_where_bounds_do_not_pay(monkeypatch, scouts):
    X = np.random.default_rng(0).normal(size=(3001, 4)).astype(np.float32)
    Clock(monkeypatch, 1.0, lambda kept: 0.5 if kept.rise.max() > 0 else 0.1)  # for a few of the rows
    assert algorithms(fit(X, X[:9], max_iter=20, algorithm="auto")) == "l" * 20


def test_auto_keeps_bounds_where_they_pay(monkeypatch, scouts):
    X = np.random.default_rng(0).normal(size=(3001, 4)).astype(np.float32)
    Clock(monkeypatch, 1.0, lambda kept: 0.01)
    assert algorithms(fit(X, X[:9], max_iter=20, algorithm="auto")) == "ll" + "e" * 18


def test_auto_does_not_trust_a_first_pass_that_compiles(monkeypatch, scouts):
    X = np.random.default_rng(0).normal(size=(3001, 4)).astype(np.float32)
    Clock(monkeypatch, 1.0, 0.01)
    monkeypatch.setattr(assigner, "SLOWEST", 4e9)
    assert algorithms(fit(X, X[:9], max_iter=9, algorithm="auto")) == "ll" + "e" * 7


def test_auto_waits_where_passes_are_short(monkeypatch, scouts):
    """A trial would cost more than it could find out soon."""
    X = np.random.default_rng(0).normal(size=(3001, 4)).astype(np.float32)
    Clock(monkeypatch, 0.005, 0.0001)
    assert algorithms(fit(X, X[:9], max_iter=15, algorithm="auto")) == "l" * 11 + "e" * 4
    Clock(monkeypatch, 0.0005, 0.0)
    assert algorithms(fit(X, X[:9], max_iter=15, algorithm="auto")) == "l" * 15


def test_auto_goes_back(monkeypatch, scouts):
    """Bounds that turn out slower than the dense pass are given up, and tried again later."""
    X = np.random.default_rng(0).normal(size=(3001, 4)).astype(np.float32)
    Clock(monkeypatch, 1.0, lambda kept: 0.01 if kept.spread > 1 else 2.0)
    chosen = algorithms(fit(X, X[:9], max_iter=40, algorithm="auto"))
    assert chosen.startswith(("lleee" + "l" * 5 + "eee" + "l" * 5) + "eee")


def test_auto_has_bounds_left_anew_when_they_wear_out(monkeypatch):
    """When a pass takes longer than all since the last that left bounds, on average; gives them up if that is slow.

    The scouts' bounds come from the second pass, those of all rows from the third.
    """
    X = np.random.default_rng(0).normal(size=(3001, 60)).astype(np.float32)
    with lloyd.force_orientation("integers"):
        fit(X, X[:20], max_iter=3, algorithm="elkan")  # a trial that waits for the compiler is repeated
        clock = Clock(monkeypatch, 1.0, lambda kept: 0.01 if kept.spread > 1 else 0.3 * clock.age)
        assert algorithms(fit(X, X[:20], max_iter=15, algorithm="auto")) == "lll" + "eeel" * 3
        Clock(monkeypatch, 1.0, lambda kept: 0.01 if kept.spread > 1 else 1.5)
        assert algorithms(fit(X, X[:20], max_iter=11, algorithm="auto")) == "llle" + "l" * 6 + "e"
        assert algorithms(fit(X, X[:20], max_iter=5, algorithm="elkan")) == "leeee"
    with lloyd.force_orientation("centers"):  # which leaves no bounds
        Clock(monkeypatch, 1.0, lambda kept: 0.01)
        assert algorithms(fit(X, X[:20], max_iter=5, algorithm="auto")) == "lleee"
        assert algorithms(fit(X, X[:20], max_iter=5, algorithm="elkan")) == "leeee"


def test_auto_tries_nothing_that_can_not_pay(monkeypatch):
    """Where exact bounds leave too many groups open, or too few passes are left to pay for taking bounds."""
    X = np.random.default_rng(0).normal(size=(3001, 60)).astype(np.float32)

    def chosen(max_iter, share):
        Clock(monkeypatch, 1.0, lambda kept: 0.01)
        monkeypatch.setattr(assigner, "OPEN", share)
        return algorithms(fit(X, X[:60], max_iter=max_iter, algorithm="auto"))

    with lloyd.force_orientation("integers"):
        fit(X, X[:60], max_iter=3, algorithm="elkan")  # a trial that waits for the compiler is repeated
        assert chosen(8, 0.3) == "l" * 8
        assert (chosen(3, 1.0), chosen(4, 1.0)) == ("lll", "llle")


def test_survivors_are_what_exact_bounds_leave():
    rng = np.random.default_rng(1)
    rows, old = rng.normal(size=(40, 24)), rng.normal(size=(50, 24))
    new = old + 0.1 * rng.normal(size=(50, 24))
    order = bounded.near_together(old, 16)
    distance = np.linalg.norm(rows[:, None] - old, axis=2)
    own = distance.argmin(axis=1)
    moved, reach = np.linalg.norm(new - old, axis=1), np.linalg.norm(rows - new[own], axis=1)
    left = [
        any(c != own[i] for c in group)
        and min(distance[i, c] for c in group if c != own[i]) - moved[group].max() < reach[i]
        for i in range(40)
        for group in (order[at : at + 16] for at in range(0, 50, 16))
    ]
    for offset, scale, dtype in ((0.0, 1.0, "f8"), (100.0, 1.0, "f4"), (0.0, 1e30, "f4"), (0.0, 1e-300, "f8")):
        x, before, now = ((scale * (a + offset)).astype(dtype) for a in (rows, old, new))
        assert bounded.survivors(x.astype(np.float64), before, now, order, 16) == pytest.approx(np.mean(left), abs=0.02)


def test_auto_begins_when_few_labels_change(monkeypatch):
    """Where rows keep runners-up; and again when half as many change, after passes that were slow."""
    X = np.random.default_rng(0).normal(size=(9001, 4)).astype(np.float32)
    expected = fit(X, X[:9], algorithm="lloyd")
    changed = [1.0] + [step.n_changed / len(X) for step in expected.history_[:-1]]  # in the pass before
    Clock(monkeypatch, 1.0, 0.01)
    model = fit(X, X[:9], algorithm="auto")
    first = next(
        t for t, share in enumerate(changed) if t > 1 and assigner.READS * assigner.MEET * share < assigner.GAIN
    )
    assert algorithms(model) == "l" * first + "e" * (len(changed) - first) and found(model) == found(expected)
    Clock(monkeypatch, 1.0, 2.0)
    model = fit(X, X[:9], algorithm="auto")
    chosen = algorithms(model)
    assert chosen.startswith("l" * first + "eee" + "l") and found(model) == found(expected)
    again = chosen.find("e", first + 3)
    assert again < 0 or changed[again] <= 0.5 * changed[first + 3]


@pytest.mark.parametrize("d", [6, 60])
def test_trials_leave_the_result_alone(monkeypatch, scouts, d):
    X = np.random.default_rng(5).normal(size=(9001, d)).astype(np.float32)
    expected = fit(X, X[:30], algorithm="lloyd")
    monkeypatch.setattr(lloyd, "FILTER_WORK", 0)
    for dense, bounded_ in ((1.0, 9.0), (1.0, lambda kept: 0.01), (1.0, lambda kept: 0.01 if kept.spread > 1 else 2.0)):
        with pytest.MonkeyPatch.context() as patch:
            Clock(patch, dense, bounded_)
            patch.setattr(assigner, "SCOUTS", 3)
            patch.setattr(assigner, "MORE_SCOUTS", 3)
            assert found(fit(X, X[:30], algorithm="auto")) == found(expected)


def test_what_stays_dense(monkeypatch):
    X = np.random.default_rng(0).normal(size=(301, 4)).astype(np.float32)
    assert algorithms(fit(X, X[:9], max_iter=5, algorithm="elkan")) == "leeee"
    assert algorithms(fit(X, X[:9], max_iter=5, algorithm="lloyd")) == "lllll"
    with simd.force_lanes(1):
        assert algorithms(fit(X, X[:9], max_iter=5, algorithm="elkan")) == "lllll"
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    assert algorithms(fit(X, X[:9], max_iter=5, algorithm="elkan")) == "lllll"


def test_one_cluster():
    X = np.random.default_rng(0).normal(size=(50, 3))
    with pytest.warns(RuntimeWarning, match="algorithm='elkan' doesn't make sense for a single cluster"):
        KMeans(1, algorithm="elkan").fit(X)
    KMeans(1, algorithm="auto").fit(X)


def test_verbose_tells(capsys):
    X = np.random.default_rng(0).normal(size=(301, 4)).astype(np.float32)
    model = fit(X, X[:9], max_iter=3, algorithm="elkan", verbose=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Iteration")]
    assert lines[0].endswith("lloyd, 100.0% of distances computed.")
    assert lines[2].endswith(f"elkan, {model.history_[2].evaluated:.1%} of distances computed.")


def test_a_settled_row_is_not_read():
    """When nothing moves any more nothing is read, whatever the rows hold by then."""
    rng = np.random.default_rng(2)
    for d in (4, 60):
        X = ((10 * rng.normal(size=(8, d)))[rng.integers(0, 8, 2000)] + rng.normal(size=(2000, d))).astype(np.float32)
        table = data.Data(points.as_points(X), None, 1)
        C = fit(X, X[:8]).cluster_centers_
        labels = solver.predict(table.points, C)
        kept = bounded.make_bounds(table, C)
        assert kept.assign(table, C, labels).read == 1.0
        before = copy.copy(labels)
        X[:] = np.nan
        outcome = kept.assign(table, C, labels)
        assert (outcome.read, outcome.evaluated, outcome.changed) == (0.0, 0.0, 0)
        np.testing.assert_array_equal(labels, before)


def path_of_centers(X, k, share):
    """The centers, from the first k rows on, until fewer than this share of the labels change."""
    steps = fit(X, X[:k], algorithm="lloyd").history_
    late = next(t for t, step in enumerate(steps) if step.n_changed < share * len(X))
    return [fit(X, X[:k], max_iter=t, algorithm="lloyd").cluster_centers_ for t in range(1, late + 1)]


def after_passes(X, path):
    """The data, the bounds that passes over these centers leave, and the labels."""
    table = data.Data(points.as_points(X), None, 1)
    kept, labels = bounded.make_bounds(table, path[0]), solver.predict(table.points, path[0])
    for C in path:
        kept.assign(table, C, labels)
    return table, kept, labels


def test_a_late_pass_reads_few_rows(kind):
    """Under a tenth where under a hundredth of the labels change; a row that is read shows it when it holds another."""
    rng = np.random.default_rng(6)
    X = ((2.5 * rng.normal(size=(12, 3)))[rng.integers(0, 12, 20000)] + rng.normal(size=(20000, 3))).astype(np.float32)
    path = path_of_centers(X, 12, 0.002)
    table, kept, labels = after_passes(X, path[:-1])
    again, before = copy.deepcopy(kept), labels.copy()
    outcome = kept.assign(table, path[-1], labels)
    X[:] = path[-1][before]
    again.assign(table, path[-1], before)
    held = [name for name, a in vars(kept).items() if isinstance(a, np.ndarray) and a.shape == (len(X),)]
    read = np.any([getattr(kept, name) != getattr(again, name) for name in held], axis=0)
    assert outcome.changed < 0.01 * len(X)
    assert 0 < read.sum() <= round(outcome.read * len(X)) < 0.1 * len(X)


def test_codes_stand_in_for_rows(monkeypatch):
    """With codes a late pass reads under a tenth of the rows; one that is read shows it when X holds another there.

    Of rows with many centers nearly as near as their own.
    """
    rng = np.random.default_rng(3)
    X = (0.8 * rng.normal(size=(60, 64)))[rng.integers(0, 60, 12000)] + rng.normal(size=(12000, 64))
    X = X.astype(np.float32)
    path = path_of_centers(X, 80, 0.009)
    expected = solver.predict(points.as_points(X), path[-1])
    reads = []
    for coded in (False, True):
        monkeypatch.setattr(row_codes, "CODES", coded)
        table, kept, labels = after_passes(X, path[:-1])
        again, before = copy.deepcopy(kept), labels.copy()
        outcome = kept.assign(table, path[-1], labels)
        np.testing.assert_array_equal(labels, expected)
        check_bounds(kept, X, path[-1], labels)
        reads.append(outcome.read)
    assert reads[1] < 0.1 and reads[1] < 0.3 * reads[0]
    X[:] = path[-1][before]
    again.assign(table, path[-1], before)
    read = (kept.upper != again.upper) | (kept.least != again.least)
    assert 0 < read.sum() <= round(outcome.read * len(X))


@pytest.mark.parametrize(("dtype", "d"), [("f4", 64), ("f8", 48), ("f4", 48), ("u1", 64)])
def test_codes_are_small_or_none(dtype, d, tmp_path, monkeypatch):
    """A documented share of what X takes, or none: in memory, of small types, while labels change, and of scouts."""
    X = (50 * np.random.default_rng(0).random((3000, d))).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    tables = [data.Data(points.as_points(a), None, 1) for a in (X, np.load(tmp_path / "X.npy", mmap_mode="r")[:2900])]
    C = X[:40].astype(tables[0].points.center_dtype)
    some = (dtype, d) in (("f4", 64), ("f8", 48))
    for table, spread, share in ((0, 1, 0.0), (1, 1, 1.0), (1, 1, 2.0), (1, 3, 0.0)):
        on_disk, table, calm = table == 1, tables[table], share * row_codes.CALM
        kept, labels = bounded.GroupBounds(table, C, spread), solver.predict(table.points, C)
        kept.calm = calm
        kept.assign(table, C, labels)
        held = kept.codes
        size = held.values.nbytes + held.steps.nbytes + held.residuals.nbytes + held.anchored.nbytes
        assert (size > 0) == (some and on_disk and spread == 1 and share <= 1.0)
        assert size <= data.CODE_SHARE * X.nbytes
    monkeypatch.setattr(data, "CODE_BYTES", 3000 * d)
    assert not row_codes.pay(tables[1], 0.0)


def test_what_lies_on_disk(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((5, 4)))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert all(row_codes.lies_on_disk(a) for a in (X, X[1:, ::2], np.asarray(X)[2:], points.as_points(X).direct))
    assert not any(row_codes.lies_on_disk(a) for a in (X.astype(np.float32), X + 1.0, np.ones(3), None))


@pytest.mark.parametrize("k", [8, 64, 150])
def test_bounds_stay_small(k, kind):
    """Four bytes per row and 16 clusters, and ten per row besides."""
    X = np.random.default_rng(0).normal(size=(4000, 6)).astype(np.float32)
    kept = bounded.make_bounds(data.Data(points.as_points(X), None, 1), X[:k])
    held = [a.base if a.base is not None else a for a in vars(kept).values() if isinstance(a, np.ndarray)]
    size = sum({id(a): a.nbytes for a in held if a.size >= len(X)}.values())
    assert 0 < size <= len(X) * (4 * -(-k // 16) + 10) + 64


def test_order_of_groups():
    """A permutation that puts near centers together, whatever they are."""
    rng = np.random.default_rng(4)
    for C in (rng.normal(size=(133, 5)), np.zeros((40, 3)), 1e150 * rng.normal(size=(50, 2)), rng.normal(size=(1, 2))):
        order = bounded.near_together(C, blocks.BLOCK)
        np.testing.assert_array_equal(np.sort(order), np.arange(len(C)))
    line = rng.permutation(64)
    order = bounded.near_together(line[:, None].astype(float), 16)
    for g in range(4):
        assert np.ptp(line[order[16 * g : 16 * (g + 1)]]) == 15
