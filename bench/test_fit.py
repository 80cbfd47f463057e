"""Whole fits: ten iterations from given rows, seeding included, and the small fit where overhead is all there is."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import blobs, noise, start_rows
from pytest_benchmark.fixture import BenchmarkFixture

from fastkmeans import KMeans

SHAPES = ((200_000, 2, 8), (50_000, 16, 64), (20_000, 64, 256), (5_000, 768, 10))


@pytest.mark.parametrize("kind", ["blobs", "noise"])
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_ten_iterations(benchmark: BenchmarkFixture, n: int, d: int, k: int, kind: str) -> None:
    X = noise(n, d) if kind == "noise" else blobs(n, d, k, 1.0)
    estimator = KMeans(k, init=start_rows(X, k), n_init=1, tol=0, max_iter=10, algorithm="lloyd")
    estimator.fit(X)  # compiled outside the measurement
    benchmark(estimator.fit, X)
    assert 1 <= estimator.n_iter_ <= 10


def test_default_fit(benchmark: BenchmarkFixture) -> None:
    """The estimator as most people write it: k-means++ and iterations until it converges."""
    X = blobs(50_000, 16, 64, 0.7)
    estimator = KMeans(64, random_state=0).fit(X)
    benchmark(estimator.fit, X)
    assert estimator.converged_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_fit(benchmark: BenchmarkFixture, dtype: type) -> None:
    """A fit of a few milliseconds, as wide as xclara."""
    X = blobs(3_000, 2, 3, 9.0).astype(dtype)
    estimator = KMeans(3, random_state=0).fit(X)
    benchmark(estimator.fit, X)
    assert estimator.converged_
