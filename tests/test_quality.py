"""The silhouette equals scikit-learn's and its own bits everywhere; labelings are compared by exact counts."""

import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_samples, silhouette_score

from fastkmeans import KMeans, silhouette, simplified_silhouette
from fastkmeans.kernels import silhouette as kernels
from fastkmeans.kernels import simd
from fastkmeans.quality import adjusted_rand


def blobs(n, d, k, seed=0, spread=2.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return spread * rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d)), labels


def exact_silhouette(X, labels):
    """The definition, with every distance rounded once and nothing else until the end."""
    X = [[Fraction(float(v)) for v in row] for row in X]
    distances = [[Fraction(math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))) for y in X] for x in X]
    values = []
    for i, row in enumerate(distances):
        means = {}
        for c in set(labels):
            others = [row[j] for j in range(len(X)) if labels[j] == c and j != i]
            means[c] = sum(others, Fraction(0)) / len(others) if others else None
        a = means.pop(labels[i])
        b = min(means.values())
        values.append(Fraction(0) if a is None or max(a, b) == 0 else (b - a) / max(a, b))
    return values


@pytest.mark.parametrize(("n", "d", "k"), [(37, 1, 2), (300, 2, 5), (1100, 3, 2), (260, 17, 16), (150, 70, 7)])
def test_equals_scikit_learn(n, d, k):
    X, labels = blobs(n, d, k)
    result = silhouette(X, labels)
    np.testing.assert_allclose(result.values, silhouette_samples(X, labels), rtol=0, atol=1e-12)
    assert abs(result.score - silhouette_score(X, labels)) < 1e-12
    assert len(result.clusters) == k
    for c in result.clusters:
        mine = result.values[labels == c.label]
        assert (c.size, c.lowest, c.n_negative) == (len(mine), mine.min(), (mine < 0).sum())
        assert abs(c.mean - mine.mean()) < 1e-12


def test_equals_the_definition():
    X, labels = blobs(23, 3, 4)
    expected = exact_silhouette(X, labels.tolist())
    result = silhouette(X, labels)
    np.testing.assert_allclose(result.values, [float(v) for v in expected], rtol=0, atol=2e-14)
    assert abs(result.score - float(sum(expected) / len(expected))) < 4e-15


def test_the_same_bits_for_any_threads_lanes_and_ranges(monkeypatch):
    X, labels = blobs(2100, 5, 3)
    expected = silhouette(X, labels, n_threads=1)
    for n_threads in (2, None):
        assert silhouette(X, labels, n_threads=n_threads).values.tobytes() == expected.values.tobytes()
    monkeypatch.setattr("fastkmeans.quality.PAIRS_AT_A_TIME", 1e5)
    assert silhouette(X, labels, n_threads=2).values.tobytes() == expected.values.tobytes()
    monkeypatch.undo()
    some = slice(0, 400)
    expected, of_centers = silhouette(X[some], labels[some]), KMeans(9, random_state=0).fit(X[some])
    simple = simplified_silhouette(X[some], of_centers.labels_, of_centers.cluster_centers_)
    for width in simd.WIDTHS:
        with simd.force_lanes(width):
            assert silhouette(X[some], labels[some]).values.tobytes() == expected.values.tobytes()
            again = simplified_silhouette(X[some], of_centers.labels_, of_centers.cluster_centers_)
            assert again.values.tobytes() == simple.values.tobytes()


def test_plain_loops_without_the_compiler():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 3)) * 2.0**40
    panel = rng.normal(size=(3, kernels.PANEL)) * 2.0**40
    fast, plain = np.zeros(kernels.PANEL, np.int64), np.zeros(kernels.PANEL, np.int64)
    kernels._add_distances_plain(panel, rows, 1, 5, 3, fast)
    kernels._add_distances_plain.py_func(panel, rows, 1, 5, 3, plain)
    np.testing.assert_array_equal(fast, plain)
    expected = np.rint(np.sqrt(((panel.T[:, None] - rows[None, 1:]) ** 2).sum(axis=2))).sum(axis=1)
    np.testing.assert_allclose(plain, expected, rtol=1e-12)


def test_permuting_and_repeating():
    X, labels = blobs(700, 4, 5)
    order = np.random.default_rng(1).permutation(700)
    straight, permuted = silhouette(X, labels), silhouette(X[order], labels[order])
    np.testing.assert_array_equal(permuted.values, straight.values[order])
    assert permuted.score == straight.score
    assert permuted.clusters == straight.clusters
    np.testing.assert_array_equal(permuted.neighbors, straight.neighbors[order])


@pytest.mark.parametrize("power", [-1040, -500, 0, 480])
def test_scale_and_offset_do_not_matter(power):
    X, labels = blobs(60, 2, 3)
    X = np.rint(X * 1000)
    expected = silhouette(X, labels).values
    np.testing.assert_array_equal(silhouette(np.ldexp(X, power), labels).values, expected)
    if power == 0:
        np.testing.assert_array_equal(silhouette(X + 2.0**40, labels).values, expected)


def test_dtypes_and_storages():
    X, labels = blobs(90, 3, 3)
    X = np.rint(10 * X).astype(np.int8)
    expected = silhouette(X.astype(np.float64), labels).values
    for given in (X, X.astype(np.float32), np.asfortranarray(X), X[::-1][::-1].astype(">i4"), X.tolist()):
        np.testing.assert_array_equal(silhouette(given, labels.astype(np.int32)).values, expected)


def test_any_integers_are_labels():
    X, labels = blobs(80, 2, 3)
    result = silhouette(X, 7 - 5 * labels)
    np.testing.assert_array_equal(result.values, silhouette(X, labels).values)
    assert [c.label for c in result.clusters] == [-3, 2, 7]
    assert set(result.neighbors) <= {-3, 2, 7}
    assert (result.neighbors != result.labels).all()


def test_alone_equal_and_far():
    result = silhouette([[0.0], [0.0], [5.0]], [0, 0, 1])
    assert result.values.tolist() == [1.0, 1.0, 0.0]  # the last is alone
    assert silhouette(np.ones((4, 2)), [0, 1, 0, 1]).values.tolist() == [0.0] * 4
    far = silhouette([[0.0, 0.0], [1.0, 0.0], [1e20, 0.0], [1e20, 0.0]], [0, 0, 1, 1])
    assert far.values.tolist() == [1.0] * 4


def test_a_wrong_label_is_negative():
    result = silhouette([[0.0], [1.0], [9.0], [10.0], [0.5]], [0, 0, 1, 1, 1])
    assert result.values[4] < 0
    assert [c.n_negative for c in result.clusters] == [0, 1]
    assert result.clusters[1].lowest == result.values[4]
    assert str(result).splitlines()[0] == f"silhouette {result.score:.4f}"
    assert str(result).splitlines()[3].split()[-1] == "1"


@pytest.mark.parametrize(("n", "d", "k"), [(200, 2, 3), (300, 9, 20), (50, 3, 50)])
def test_simplified(n, d, k):
    X, _ = blobs(n, d, 4)
    model = KMeans(k, random_state=0).fit(X)
    distances = np.sqrt(((X[:, None] - model.cluster_centers_[None]) ** 2).sum(axis=2))
    own = distances[np.arange(n), model.labels_]
    distances[np.arange(n), model.labels_] = np.inf
    b = distances.min(axis=1)
    result = simplified_silhouette(X, model.labels_, model.cluster_centers_)
    np.testing.assert_allclose(result.values, (b - own) / b, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result.neighbors, distances.argmin(axis=1))
    assert result.simplified
    assert min(c.n_negative for c in result.clusters) == max(c.n_negative for c in result.clusters) == 0
    assert str(result).startswith("simplified silhouette")


def test_simplified_with_an_empty_cluster():
    result = simplified_silhouette([[0.0], [1.0]], [0, 2], [[0.0], [9.0], [1.0]])
    assert result.score == 1.0
    assert [(c.size, c.mean) for c in result.clusters] == [(1, 1.0), (0, 0.0), (1, 1.0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: silhouette(X, [0, 1]), "labels must be 4 integers, one per row"),
        (lambda X: silhouette(X, [0.0, 1.0, 0.0, 1.0]), "dtype float64"),
        (lambda X: silhouette(X, [1, 1, 1, 1]), r"Number of labels is 1. Valid values are 2 to n_samples - 1"),
        (lambda X: silhouette(X, [1, 2, 3, 4]), r"Number of labels is 4"),
        (lambda X: silhouette([[0.0], [np.nan], [1.0]], [0, 1, 1]), "contains NaN"),
        (lambda X: simplified_silhouette(X, [0, 0, 1, 2], [[0.0], [1.0]]), "labels must be from 0 to 1"),
        (lambda X: simplified_silhouette(X, [0, 0, 0, 0], [[0.0]]), r"centers must have shape \(at least 2, 1\)"),
        (lambda X: simplified_silhouette(X, [0, 0, 1, 1], [[0.0], [np.inf]]), "Input centers contains infinity"),
        (lambda X: adjusted_rand([0, 1], [0]), "have 2 and 1 rows"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.arange(4.0).reshape(-1, 1))


def test_adjusted_rand_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for n, k, m in [(10, 2, 3), (500, 7, 4), (1000, 30, 30)]:
        a, b = rng.integers(0, k, n), rng.integers(-3, m, n)
        assert abs(adjusted_rand(a, b) - adjusted_rand_score(a, b)) < 1e-12
        assert adjusted_rand(a, (a + 1) % k) == 1.0
    assert adjusted_rand([0, 0, 0], [1, 1, 1]) == 1.0
