"""The oracle itself: against examples worked by hand, against exact fractions, and against scikit-learn."""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest

SQUARE = np.array([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]])  # two pairs: (0, 1) and (4, 1) are their means


def test_canonical_by_hand():
    d = oracle.canonical([[0.0, 3.0], [1.0, -1.0]], [[0.0, 0.0], [1.0, 1.0]])
    assert d.tolist() == [[9.0, 5.0], [2.0, 4.0]]


def test_canonical_rounds_after_every_operation():
    # 2**-27 + 1 squared is 1 + 2**-26 + 2**-54: the product loses the last term, a fused multiply-add would keep it.
    t = 1 + 2.0**-27
    assert oracle.canonical([[1.0, t]], [[1.0, 0.0]])[0, 0] == 1 + 2.0**-26
    assert oracle.canonical([[2.0**-27, t]], [[0.0, 0.0]])[0, 0] == 1 + 2.0**-26
    # left to right: a small term is lost after a large one, and kept when small terms come first
    small, large = 2.0**-27, 1.0
    assert oracle.canonical([[large, small, small]], np.zeros((1, 3)))[0, 0] == 1.0
    assert oracle.canonical([[small, small, large]], np.zeros((1, 3)))[0, 0] == 1.0 + 2.0**-53 + 2.0**-53


def test_ties_go_to_the_lowest_index():
    assert oracle.assign([[0.0], [1.0], [5.0]], [[1.0], [-1.0], [1.0]]).tolist() == [0, 0, 0]


def test_two_pairs_by_hand():
    r = oracle.lloyd(SQUARE, SQUARE[[0, 2]], tol=0.0)
    assert r.labels.tolist() == [0, 0, 1, 1]
    assert r.centers.tolist() == [[0.0, 1.0], [4.0, 1.0]]
    assert (r.inertia, r.n_iter, r.converged) == (4.0, 2, True)
    assert [h.center_shift for h in r.history] == [2.0, 0.0]
    once = oracle.lloyd(SQUARE, SQUARE[[0, 2]], max_iter=1, tol=0.0)
    assert (once.inertia, once.n_iter, once.converged) == (4.0, 1, False)


def test_two_pairs_weighted_by_hand():
    r = oracle.lloyd(SQUARE, SQUARE[[0, 2]], weights=[1, 3, 0, 5], tol=0.0)
    assert r.labels.tolist() == [0, 0, 1, 1]
    assert r.centers.tolist() == [[0.0, 1.5], [4.0, 2.0]]
    assert r.inertia == 1 * 2.25 + 3 * 0.25
    half = oracle.lloyd(SQUARE, SQUARE[[0, 2]], weights=[0.5, 1.5, 0, 2.5], tol=0.0)
    assert np.array_equal(half.centers, r.centers) and half.inertia == r.inertia / 2


def test_tolerance_by_hand():
    # variances of the two features are 4 and 1
    assert oracle.tolerance(SQUARE, None, 0.1) == 0.1 * 2.5
    assert oracle.tolerance(SQUARE, [1, 1, 0, 0], 0.1) == 0.1 * 0.5
    # the first update moves the centers by 2 in sum: 2.5 is enough for it, strict convergence is not needed
    r = oracle.lloyd(SQUARE, SQUARE[[0, 2]], tol=1.0)
    assert (r.n_iter, r.converged, r.labels.tolist()) == (1, True, [0, 0, 1, 1])


def test_refill_by_hand():
    # everything is nearest to the first center; the farthest rows are 9 (twice, taken once) and then 6
    X = np.array([[1.0], [9.0], [9.0], [6.0], [0.0]])
    old = np.array([[0.0], [100.0], [200.0], [300.0], [400.0], [500.0]])
    new = old.copy()
    labels = oracle.assign(X, old)
    W = np.array([1, 1, 1, 1, 1], dtype=object)
    assert labels.tolist() == [0] * 5
    assert oracle.refill(X, W, labels, old, new, [1, 2, 3, 4, 5]) == 3
    assert new.ravel().tolist() == [
        0.0,
        9.0,
        6.0,
        1.0,
        400.0,
        500.0,
    ]  # the rest keep theirs: the last row lies at its center
    r = oracle.lloyd(X, old[:3], max_iter=1, tol=0.0)
    assert r.centers.ravel().tolist() == [5.0, 9.0, 6.0]  # no mass moved: the mean is that of all five
    r = oracle.lloyd(X, old[:2], weights=[1, 0, 0, 2, 0], max_iter=1, tol=0.0)
    assert r.centers.ravel().tolist() == [13 / 3, 6.0]  # rows of weight zero do not refill


def test_strict_convergence_keeps_the_centers_of_the_labels():
    X = np.array([[0.0], [2.0]])
    r = oracle.lloyd(X, np.array([[1.0], [50.0]]), tol=0.0)
    assert np.array_equal(r.labels, oracle.assign(X, r.centers)) and r.converged


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_nearest_even_and_single(dtype):
    bits, lowest = (24, -149) if dtype == np.float32 else (53, -1074)
    assert oracle.rounded(2**bits + 1, 1, dtype) == 2.0**bits
    assert oracle.rounded(2**bits + 3, 1, dtype) == 2.0**bits + 4
    assert oracle.scaled(1, lowest - 1, dtype=dtype) == 0.0
    assert oracle.scaled(3, lowest - 1, dtype=dtype) == 2 * math.ldexp(1.0, lowest)
    assert oracle.scaled(-5, lowest, 3, dtype) == -2 * math.ldexp(1.0, lowest)
    assert oracle.rounded(10**400, 1, dtype) == math.inf
    # just above the midpoint of two float32, by less than float64 sees: rounding twice would go down to even
    assert oracle.rounded(2**100 + 2**76 + 1, 2**100, np.float32) == np.float32(1 + 2.0**-23)


def test_rounding_agrees_with_fractions():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        numerator, denominator = (int(rng.integers(1, 2**62)) ** int(rng.integers(1, 6)) for _ in range(2))
        power = int(rng.integers(-1300, 1000))
        exact = Fraction(numerator, denominator) * Fraction(2) ** power
        if exact < 2**1023:
            assert oracle.scaled(numerator, power, denominator) == float(exact)
        if exact < 2**127:
            f = oracle.scaled(-numerator, power, denominator, np.float32)
            assert f.dtype == np.float32
            neighbours = (np.nextafter(f, np.float32(-np.inf)), np.nextafter(f, np.float32(np.inf)))
            assert all(abs(-exact - Fraction(float(f))) <= abs(-exact - Fraction(float(o))) for o in neighbours)


def test_grid_agrees_with_fractions():
    rng = np.random.default_rng(1)
    v = rng.normal(size=500) * 2.0 ** rng.integers(-1070, 900, 500)
    v = np.concatenate([v, [0.0, -0.0, 5e-324, -2.5, 3.5, 2.0**900]])
    for g in (-1074, -1030, -500, -60, 0, 1, 300, 880):
        small = v[np.abs(v) < 2.0 ** min(g + 126, 1000)]
        assert list(oracle.on_grid(small, g)) == [round(Fraction(float(x)) / Fraction(2) ** g) for x in small]
    for x in v:
        e = int(oracle.exponent(x))
        assert abs(Fraction(float(x))) < Fraction(2) ** e
        assert x == 0 or e == -1021 or abs(Fraction(float(x))) >= Fraction(2) ** (e - 1)


def test_weight_grid_by_hand():
    W, unit = oracle.weight_grid(None, 3)
    assert (list(W), unit) == ([1, 1, 1], 0)
    W, unit = oracle.weight_grid([3.0, 0.0, 2.0**61], 3)
    assert (list(W), unit) == ([3, 0, 2**61], 0)
    W, unit = oracle.weight_grid([0.75, 0.25, 0.0], 3)  # in total 1: below 2, so 61 bits stand for 2
    assert (list(W), unit) == ([3 * 2**58, 2**58, 0], -60)
    W, unit = oracle.weight_grid([1e-30, 1.0, 0.5], 3)
    assert W[0] == 0 and unit == -60  # too light to be seen: absent
    for w in ([1e300, 3e300, 1.5], [5e-324, 1e-320, 2e-323], [2.0**61, 2.0**61], [1e-300, 1e300]):
        W, unit = oracle.weight_grid(w, len(w))
        total = Fraction(sum(W)) * Fraction(2) ** unit
        assert 2**59 <= sum(W) <= 2**61 and abs(total / sum(map(Fraction, w)) - 1) < Fraction(len(w), 2**59)


def test_feature_grid_by_hand():
    W = np.array([1, 1, 1], dtype=object)
    grid = oracle.feature_grid(np.array([[1.0, -0.5], [0.0, 0.25], [3.0, 0.0]]), W)
    assert (grid.digits, grid.g) == (2, [2 - 62, 0 - 62])
    assert grid.Q.tolist() == [[2**60, -(2**61)], [0, 2**60], [3 * 2**60, 0]]
    # 1e20 has exponent 67, 1.5 has 1: the mean of (67, 1, 1) is 23, 44 below the top
    assert oracle.feature_grid(np.array([[1e20], [1.5], [1.5]]), W).digits == 4
    assert oracle.feature_grid(np.array([[2.0**16], [1.5], [1.5]]), W).digits == 3  # (17 + 1 + 1) // 3 = 6, 11 below
    assert oracle.feature_grid(np.array([[2.0**15], [1.5], [1.5]]), W).digits == 2  # (16 + 1 + 1) // 3 = 6, 10 below
    light = oracle.feature_grid(np.array([[1e20], [1.5], [1.5]]), np.array([0, 1, 1], dtype=object))
    assert (light.digits, light.Q[0, 0]) == (2, 0)
    assert oracle.feature_grid(np.array([[-3e-320], [0.0], [0.0]]), W).g == [-1074]


def test_average_is_the_exact_mean():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 3)) * [1.0, 1e-30, 1e30]
    W = oracle.weight_grid(rng.integers(0, 4, 40), 40).values
    mean = oracle.average(oracle.feature_grid(X, W), W, np.float64)
    for j in range(3):
        exact = sum(int(w) * Fraction(float(x)) for w, x in zip(W, X[:, j], strict=True)) / int(sum(W))
        assert abs(float((Fraction(float(mean[j])) - exact) / exact)) < 2.0**-52


def test_row_sum_is_the_exact_sum():
    rng = np.random.default_rng(3)
    v = rng.exponential(size=300) * 10.0 ** rng.integers(-12, 1, 300)
    W = oracle.weight_grid(rng.integers(0, 4, 300), 300).values
    assert oracle.row_sum(v, W) == float(sum(int(w) * Fraction(float(x)) for w, x in zip(W, v, strict=True)))
    assert oracle.row_sum(np.zeros(3), W[:3] + 1) == 0.0
    assert oracle.row_sum(np.array([1.0, 2.0]), np.array([2**60, 2**59], dtype=object), -59) == 4.0


def test_repetition_and_absence():
    rng = np.random.default_rng(4)
    X, w = rng.normal(size=(60, 3)), rng.integers(0, 4, 60)
    start = X[[0, 1, 2, 3, 4]]
    for tol in (0.0, 1e-2):
        weighted = oracle.lloyd(X, start, w, tol=tol)
        repeated = oracle.lloyd(np.repeat(X, w, axis=0), start, tol=tol)
        assert np.array_equal(weighted.centers, repeated.centers)
        assert (weighted.inertia, weighted.n_iter) == (repeated.inertia, repeated.n_iter)
        assert np.array_equal(np.repeat(weighted.labels, w), repeated.labels)


def test_random_rows():
    w = [0.0, 1.0, 1e6, 0.0, 2.0]
    rows = oracle.random_rows(5, w, 3, 0)
    assert sorted(rows) == [1, 2, 4]
    assert sorted(oracle.random_rows(6, None, 6, 1)) == list(range(6))
    first = [oracle.random_rows(5, w, 1, s)[0] for s in range(50)]
    assert first.count(2) >= 49
    more = oracle.random_rows(5, w, 7, 0)
    assert sorted(more[:3]) == sorted(more[3:6]) == [1, 2, 4]


def test_kmeans_plusplus_spreads():
    rng = np.random.default_rng(5)
    means = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    X = np.repeat(means, 15, axis=0) + rng.normal(size=(60, 2))
    for seed in range(5):
        rows = oracle.kmeans_plusplus(X, None, 4, seed)
        assert sorted(i // 15 for i in rows) == [0, 1, 2, 3]
    weights = np.ones(60)
    weights[:15] = 0.0
    assert all(i >= 15 for seed in range(5) for i in oracle.kmeans_plusplus(X, weights, 6, seed))
    assert len(oracle.kmeans_plusplus(np.zeros((4, 1)), None, 3, 0)) == 3


def test_draws():
    assert oracle.uniform(10, (0, 0)) == 0
    assert oracle.uniform(10, (2**64 - 1, 2**64 - 1)) == 9
    assert oracle.uniform(10, (2**63, 0)) == 5
    assert [oracle.pick([0, 2, 0, 1], r) for r in range(3)] == [1, 1, 3]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d", "k", "width"), [(200, 2, 5, 0.1), (300, 10, 8, 1.0), (150, 40, 3, 0.5)])
def test_agrees_with_scikit_learn(n, d, k, width, weighted):
    cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(n)
    X = rng.normal(size=(k, d))[rng.integers(0, k, n)] + width * rng.normal(size=(n, d))
    w = rng.uniform(0.5, 2.0, n) if weighted else None
    start = X[:k]
    theirs = cluster.KMeans(k, init=start, n_init=1, tol=0.0, algorithm="lloyd").fit(X, sample_weight=w)
    ours = oracle.lloyd(X, start, w, tol=0.0)
    assert np.array_equal(ours.labels, theirs.labels_)
    assert ours.n_iter == theirs.n_iter_
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, rtol=0, atol=1e-9)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-9)


def test_stopping_early():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(200, 2))
    full = oracle.lloyd(X, X[:6], tol=0.0)
    assert full.n_iter > 4
    for max_iter in (1, 2, full.n_iter - 1, full.n_iter, full.n_iter + 1):
        short, cut = oracle.lloyd(X, X[:6], tol=0.0, max_iter=max_iter), oracle.stopped(full, X, max_iter)
        assert np.array_equal(short.labels, cut.labels) and np.array_equal(short.centers, cut.centers)
        assert (short.inertia, short.n_iter, short.converged) == (cut.inertia, cut.n_iter, cut.converged)


def test_restarts_keep_the_first_of_equals():
    assert oracle.kmeans(SQUARE, 2, n_init=5, seed=0).inertia == 4.0
    assert oracle.kmeans(np.ones((4, 2)), 2, n_init=3).best_restart == 0
    runs = [
        oracle.lloyd(SQUARE, SQUARE[oracle.random_rows(4, None, 2, s)]).inertia
        for s in np.random.SeedSequence(3).spawn(6)
    ]
    assert oracle.kmeans(SQUARE, 2, "random", 6, 3).best_restart == runs.index(min(runs))
