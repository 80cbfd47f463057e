"""Rows of integers of 8 bits: distances are exact, and k-means++ chooses what it chooses of all rows."""

import numpy as np
import oracle
import pytest

from fastkmeans import byte_rows, data, packed, plusplus, seeding
from fastkmeans.draws import Stream
from fastkmeans.kernels import integer, simd
from fastkmeans.points import as_points, as_weights

WIDTH = max(4, simd.native_lanes())
pytestmark = pytest.mark.skipif(not integer.multiplier(), reason="this CPU multiplies no pairs of 16-bit integers")


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    monkeypatch.setattr(packed, "PLAIN_WORK", 0.0)
    monkeypatch.setattr(plusplus, "DIRECT", True)
    monkeypatch.setattr(plusplus, "TABLES", True)
    with simd.force_lanes(WIDTH):
        yield


def prepared(X, weights=None):
    return data.Data(as_points(X), as_weights(weights, len(X)), 1)


def chosen(X, k, weights=None, seed=1):
    source = prepared(X, weights)
    words = Stream(np.random.Generator(np.random.PCG64(seed)))
    return plusplus.greedy(source, k, None, words, seeding.WeightDraws(source, words).draw())


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("n, d, M", [(1, 1, 1), (23, 2, 3), (24, 7, 8), (50, 33, 17), (193, 768, 40)])
def test_distances_are_the_canonical_ones(n, d, M, width):
    """Extremes of all features at once, and what lies between."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (n, d)).astype(np.float32)
    X[: n // 3] = rng.choice([0.0, 255.0], (n // 3, 1))
    centers = np.concatenate([X, 255.0 - X])[rng.integers(0, 2 * n, M)].astype(np.float64)
    nearest_sq = np.full(n, np.inf)
    rows = byte_rows.ByteRows.of(prepared(X), width, 1, centers[0], nearest_sq)
    expected = oracle.canonical(X, centers)
    np.testing.assert_array_equal(nearest_sq, expected[:, 0])
    np.testing.assert_array_equal(rows.table(centers, width)[:, :M], expected)


def test_the_largest_distance_there_is():
    d = 33025
    X = np.zeros((200, d), np.float32)
    X[1] = 255.0
    nearest_sq = np.full(200, np.inf)
    rows = byte_rows.ByteRows.of(prepared(X), WIDTH, 1, X[1].astype(np.float64), nearest_sq)
    assert rows.table(X[:2].astype(np.float64), WIDTH)[:2, :2].tolist() == [[0, d * 255**2], [d * 255**2, 0]]
    assert nearest_sq[:2].tolist() == [d * 255.0**2, 0.0]
    wider = prepared(np.zeros((3, d + 1), np.float32))
    assert byte_rows.ByteRows.of(wider, WIDTH, 1, np.zeros(d + 1), np.zeros(3)) is None


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "u1", "i1", "i2", "i8"])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_equal_the_oracle(dtype, weighted):
    rng = np.random.default_rng(2)
    low = -128 if dtype in ("i1", "i2", "f8") else 0
    X = (rng.integers(0, 256, (600, 41)) // 4 * 4 + low).astype(dtype)
    X[300:] = X[:300]
    weights = rng.integers(0, 3, 600) if weighted else None
    found = chosen(X, 30, weights)
    assert (found.byte_rows is None) == (dtype in ("i1", "i2", "f2"))  # of these they would take half or more
    assert found.rows_chosen() == oracle.kmeans_plusplus(X, weights, 30, 1)
    apart = oracle.canonical(X, X[found.rows_chosen()])
    found.settle()
    there = slice(None) if weights is None else weights > 0
    np.testing.assert_array_equal(found.nearest_sq[there], apart.min(axis=1)[there])
    np.testing.assert_array_equal(found.labels[there], apart.argmin(axis=1)[there])


@pytest.mark.parametrize("value", [0.5, 256.0, -1.0, 1e30, -1e30])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_value_that_is_no_byte(value, dtype):
    """Met by the sample or not, in a row that weighs something or not."""
    X = np.random.default_rng(3).integers(0, 256, (500, 40)).astype(dtype)
    weights = np.ones(500)
    weights[7] = 0.0
    for row in (0, 7, 499):
        changed = X.copy()
        changed[row, 39] = value
        found = chosen(changed, 12, weights)
        assert found.byte_rows is None
        assert found.rows_chosen() == oracle.kmeans_plusplus(changed, weights, 12, 1)


def test_rows_are_read_once():
    X = np.random.default_rng(4).integers(0, 256, (1000, 96)).astype(np.float32)
    found = chosen(X, 10)
    found.settle()
    assert found.rows_read == len(X)
    assert chosen(X + np.float32(0.5), 10).rows_read >= 2 * len(X)
