"""One pass over the rows: assignment alone (``predict``), and assignment with statistics (one Lloyd iteration).

The shapes take the two micro-kernel orientations and every packing routine; the rows of ``X`` differ in dtype only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import noise, start_rows
from pytest_benchmark.fixture import BenchmarkFixture

from fastkmeans import KMeans

SHAPES = ((200_000, 3, 64), (100_000, 16, 64), (50_000, 64, 256), (20_000, 128, 1024))
DTYPES = ("f4", "f8", "f2", "u1", "i8")


def problem(n: int, d: int, k: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    X = noise(n, d) * 30.0 + 128.0
    if np.dtype(dtype).kind in "ui":
        X = np.clip(np.rint(X), 0, 255)
    return X.astype(dtype), start_rows(X, k)


def fitted(X: np.ndarray, start: np.ndarray) -> Any:
    return KMeans(len(start), init=start, n_init=1, max_iter=1, tol=0, algorithm="lloyd").fit(X)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_assign(benchmark: BenchmarkFixture, n: int, d: int, k: int) -> None:
    """Labels for given centers."""
    X, start = problem(n, d, k, "f4")
    model = fitted(X, start)
    benchmark.extra_info["gflop"] = 2e-9 * n * d * k
    labels = benchmark(model.predict, X)
    assert np.array_equal(labels, model.labels_)


@pytest.mark.parametrize("dtype", DTYPES)
def test_assign_dtype(benchmark: BenchmarkFixture, dtype: str) -> None:
    """The same assignment from every dtype: what packing costs."""
    X, start = problem(50_000, 64, 256, dtype)
    model = fitted(X, start)
    labels = benchmark(model.predict, X)
    assert np.array_equal(labels, model.labels_)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_iteration(benchmark: BenchmarkFixture, n: int, d: int, k: int) -> None:
    """One iteration and the final assignment."""
    X, start = problem(n, d, k, "f4")
    fitted(X, start)  # compiled outside the measurement
    model = benchmark(fitted, X, start)
    assert model.n_iter_ == 1
