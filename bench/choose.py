"""Choosing k, the silhouette and swap moves, against scikit-learn and against plain k-means++.

``python bench/choose.py [sweep] [silhouette] [swap] [found]`` prints one section each, all of them by default. Runs are
interleaved, and ratios are those of minima (of sums, where seeds are compared).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import blobs

from fastkmeans import KMeans, choose_k, silhouette


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def sweep() -> None:
    """blobs16, k = 1..20: the sweep against a loop over scikit-learn's KMeans."""
    from sklearn.cluster import KMeans as Theirs

    X = blobs(500_000, 16, 64, 0.7)
    ks = range(1, 21)
    choose_k(X[:270_000], range(1, 4), random_state=0)  # compile
    own, theirs = [], []
    for _ in range(2):
        took, choice = seconds(lambda: choose_k(X, ks, random_state=0))
        own.append(took)
        took, models = seconds(lambda: [Theirs(k, random_state=0).fit(X) for k in ks])
        theirs.append(took)
    ratios = choice.inertias / [model.inertia_ for model in models]
    print(f"sweep, blobs16, k = 1..20: choose_k {min(own):.2f} s, scikit-learn {min(theirs):.2f} s,", end=" ")
    print(f"{min(theirs) / min(own):.2f} times; inertia {ratios.min():.4f} to {ratios.max():.4f} of theirs")


def silhouettes() -> None:
    """n = 20,000, d = 16: against scikit-learn's silhouette_samples."""
    from sklearn.metrics import silhouette_samples

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 20_000)
    X = 2.0 * rng.normal(size=(8, 16))[labels] + rng.normal(size=(20_000, 16))
    silhouette(X, labels)  # compile
    own, theirs = [], []
    for _ in range(5):
        took, result = seconds(lambda: silhouette(X, labels).values)
        own.append(took)
        took, expected = seconds(lambda: silhouette_samples(X, labels))
        theirs.append(took)
    apart = np.abs(result - expected).max()
    print(f"silhouette, 20,000 x 16: {min(own):.3f} s, scikit-learn {min(theirs):.3f} s,", end=" ")
    print(f"{min(theirs) / min(own):.2f} times; largest difference {apart:.1e}")


def planted(k: int, size: int, spacing: float, d: int, unbalanced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians of unit width, on a square grid or (d > 2) at random places as far apart; and their centers."""
    rng = np.random.default_rng(1)
    if d == 2:
        side = int(np.ceil(np.sqrt(k)))
        centers = spacing * np.array([(i, j) for i in range(side) for j in range(side)], dtype=float)[:k]
    else:
        centers = np.empty((0, d))
        while len(centers) < k:
            new = rng.uniform(0, 2.5 * spacing, d)
            if ((centers - new) ** 2).sum(axis=1).min(initial=np.inf) >= spacing**2:
                centers = np.vstack([centers, new])
    sizes = np.where(rng.random(k) < 0.5, size // 3, 3 * size) if unbalanced else np.full(k, size)
    return np.repeat(centers, sizes, axis=0) + rng.normal(size=(sizes.sum(), d)), centers


def finds(model: KMeans, centers: np.ndarray) -> bool:
    distances = np.sqrt(((model.cluster_centers_[:, None] - centers[None]) ** 2).sum(axis=2))
    return len(set(distances.argmin(axis=1))) == len(centers) and distances.min(axis=1).max() < 1.0


def swap() -> None:
    """Planted clusters: of 100 seeds, how many one start finds, plain and with swap moves; time and inertia."""
    for case in [
        (20, 200, 10, 2, True),
        (50, 100, 10, 2, True),
        (100, 60, 12, 2, True),
        (100, 60, 10, 2, False),
        (64, 60, 12, 8, False),
    ]:
        X, centers = planted(*case)
        k = case[0]
        KMeans(k, random_state=0, refine="swap").fit(X)
        found, took, worse, slowest = [0, 0], [0.0, 0.0], 0, 0.0
        for seed in range(100):
            pair = [seconds(_fit(k, seed, refine, X)) for refine in (None, "swap")]
            for i, (time_, model) in enumerate(pair):
                found[i] += finds(model, centers)
                took[i] += time_
            slowest = max(slowest, pair[1][0] / pair[0][0])
            worse += pair[1][1].inertia_ > pair[0][1].inertia_
        print(
            f"swap, k={k}, d={case[3]}, {'un' if case[4] else ''}balanced, {len(X):,} rows: found by k-means++"
            f" {found[0]}, with swaps {found[1]} of 100; time {took[1] / took[0]:.2f} times, at most {slowest:.2f};"
            f" worse {worse}"
        )


def _fit(k: int, seed: int, refine: str | None, X: np.ndarray) -> Callable[[], KMeans]:
    return lambda: KMeans(k, random_state=seed, refine=refine).fit(X)


def found() -> None:
    """Planted clusters, 10 seeds each: how often each method of choose_k finds k, and none in uniform data."""
    for wide, d in ((1, 2), (1, 4), (1, 10), (4, 2), (4, 10)):  # wide: far apart beside some that are close
        for k in (3, 5, 8):
            hits = dict.fromkeys(("elbow", "silhouette", "gap"), 0)
            for seed in range(10):
                rng = np.random.default_rng(seed)
                side, centers = 8.0 * wide * k ** (1 / d), np.empty((0, d))
                while len(centers) < k:
                    side *= 1.01
                    new = rng.uniform(0, side, d)
                    if ((centers - new) ** 2).sum(axis=1).min(initial=np.inf) >= 36.0:
                        centers = np.vstack([centers, new])
                labels = np.repeat(np.arange(k), rng.integers(40, 200, k))
                X = centers[labels] + rng.normal(size=(len(labels), d))
                for method in hits:
                    hits[method] += choose_k(X, method=method, random_state=seed).best_k == k
            print(f"found, d={d}, k={k}{', widely scattered' if wide > 1 else ''}: {hits} of 10")
    for name, d in (("square", 2), ("cube", 10)):
        none = [
            choose_k(np.random.default_rng(seed).random((1000, d)), method="gap", random_state=seed).best_k is None
            for seed in range(10)
        ]
        print(f"found, uniform {name}, d={d}: gap sees no structure in {sum(none)} of 10")


if __name__ == "__main__":
    sections = {"sweep": sweep, "silhouette": silhouettes, "swap": swap, "found": found}
    for name in sys.argv[1:] or sections:
        sections[name]()
