"""Mini-batches, bisection and sparse rows against scikit-learn's.

``python bench/estimators.py [minibatch] [bisecting] [sparse]`` prints one section each, all of them by default. Runs
are interleaved, ratios are those of minima.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.cluster
from datasets import blobs

import fastkmeans


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def compare(title: str, fit: Callable[[Any], Any], repeats: int, score: Callable[[Any], float]) -> None:
    """Fit with our module and with scikit-learn's; the first of ours may compile and does not count."""
    fit(fastkmeans)
    own, theirs = [], []
    for _ in range(repeats):
        took, ours = seconds(lambda: fit(fastkmeans))
        own.append(took)
        took, other = seconds(lambda: fit(sklearn.cluster))
        theirs.append(took)
    ratio = score(ours) / score(other)
    print(f"{title}: {min(own):.2f} s, scikit-learn {min(theirs):.2f} s,", end=" ")
    print(f"{min(theirs) / min(own):.2f} times; inertia {ratio:.4f} of theirs")


def minibatch() -> None:
    X = blobs(1_000_000, 32, 100, 1.0)
    compare(
        "MiniBatchKMeans, 1,000,000 x 32, k = 100",
        lambda module: module.MiniBatchKMeans(100, random_state=0).fit(X),
        1,
        lambda model: float(model.inertia_),
    )


def bisecting() -> None:
    X = blobs(1_000_000, 32, 100, 1.0)
    for k in (8, 100):
        compare(
            f"BisectingKMeans, 1,000,000 x 32, k = {k}",
            lambda module, k=k: module.BisectingKMeans(k, random_state=0).fit(X),
            2,
            lambda model: float(model.inertia_),
        )


def sparse() -> None:
    """100,000 documents of about 60 of 20,000 words, whose frequencies fall as their rank rises; ten iterations."""
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    n, d, words = 100_000, 20_000, 72  # words that come twice leave 60
    columns = np.minimum((d ** rng.random((n, words))).astype(np.int32), d - 1)
    X = csr_matrix((rng.random(n * words), columns.ravel(), np.arange(0, n * words + 1, words)), shape=(n, d))
    X.sum_duplicates()
    X.data /= np.repeat(np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel()), np.diff(X.indptr))
    start = X[rng.choice(n, 50, replace=False)].toarray()
    for dtype in (np.float32, np.float64):
        A, C = X.astype(dtype), start.astype(dtype)
        options = {"init": C, "n_init": 1, "max_iter": 10, "tol": 0.0}
        compare(
            f"KMeans, CSR {np.dtype(dtype).name}, {n:,} x {d:,}, {X.nnz / n:.0f} entries a row, k = 50, ten iterations",
            lambda module, A=A, options=options: module.KMeans(50, algorithm="lloyd", **options).fit(A),
            3,
            lambda model: float(model.inertia_),
        )


if __name__ == "__main__":
    sections = {"minibatch": minibatch, "bisecting": bisecting, "sparse": sparse}
    for name in sys.argv[1:] or sections:
        sections[name]()
