"""The benchmark's data sets, the start every system gets, and the one inertia all systems are judged by.

Each set is NumPy float32 in C order and a function of ``default_rng(0)`` alone (the photographs are the two that
scikit-learn ships).  A name, a shape and a k mean the same data wherever the benchmark runs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 0
START_SEED = 1
INERTIA_BLOCK = 8192  # rows: 8192 x 1024 float64 scores are 64 MiB


class MissingData(RuntimeError):
    """The data of a set are not on this machine; the message says what to do."""


@dataclass(frozen=True)
class DataSet:
    """A named set: how to make its rows, their number at full scale, and the number of clusters asked for."""

    name: str
    description: str
    n_samples: int
    n_features: int
    n_clusters: int
    make: Callable[[int], np.ndarray]  # number of rows -> (rows, n_features)

    def build(self, scale: float = 1.0) -> np.ndarray:
        """Rows of the set, float32 in C order; a scale below 1 keeps that share of them (at least four a cluster)."""
        n_samples = min(self.n_samples, max(int(self.n_samples * scale), 4 * self.n_clusters))
        X = np.ascontiguousarray(self.make(n_samples), dtype=np.float32)
        if X.shape != (n_samples, self.n_features):
            raise MissingData(f"set {self.name} should be {n_samples} x {self.n_features}, the data are {X.shape}")
        return X


def blobs(n_samples: int, n_features: int, n_centers: int, spread: float) -> np.ndarray:
    """Gaussian blobs of unit noise around centers that are normal times ``spread``."""
    rng = np.random.default_rng(SEED)
    centers = rng.standard_normal((n_centers, n_features)) * spread
    member = rng.integers(n_centers, size=n_samples)
    X = rng.standard_normal((n_samples, n_features))
    X += centers[member]
    return X.astype(np.float32)


def noise(n_samples: int, n_features: int) -> np.ndarray:
    """Standard normal noise: nothing to prune, nothing to find."""
    return np.random.default_rng(SEED).standard_normal((n_samples, n_features)).astype(np.float32)


def photographs() -> list[np.ndarray]:
    """scikit-learn's two sample photographs, (height, width, 3) uint8."""
    try:
        from sklearn.datasets import load_sample_images

        return list(load_sample_images().images)
    except ImportError as error:  # scikit-learn itself, or Pillow, which reads the files
        raise MissingData(f"the photographs need scikit-learn and Pillow ({error})") from error


def pixels(n_samples: int) -> np.ndarray:
    """Colors of the pixels of both photographs in order, 0 to 255; a random part of them when fewer are asked for."""
    X = np.concatenate([image.reshape(-1, 3) for image in photographs()])
    if n_samples < len(X):
        X = X[np.random.default_rng(SEED).choice(len(X), n_samples, replace=False)]
    return X.astype(np.float32)


def patches(n_samples: int, side: int, step: int = 1) -> np.ndarray:
    """Square color patches drawn at random from all patches of both photographs, flattened, 0 to 255."""
    windows = []
    for image in photographs():
        view = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))[::step, ::step]
        windows.append(view.transpose(0, 1, 3, 4, 2))  # row, column, patch row, patch column, color
    counts = [view.shape[0] * view.shape[1] for view in windows]
    chosen = np.random.default_rng(SEED).choice(sum(counts), n_samples, replace=False)
    X = np.empty((n_samples, side * side * 3), dtype=np.float32)
    first = 0
    for view, count in zip(windows, counts, strict=True):
        rows = np.flatnonzero((chosen >= first) & (chosen < first + count))
        top, left = np.divmod(chosen[rows] - first, view.shape[1])
        X[rows] = view[top, left].reshape(len(rows), -1)
        first += count
    return X


_embeddings_path: str | None = os.environ.get("FASTKMEANS_EMBEDDINGS")


def set_embeddings_path(path: str | None) -> None:
    """Say where the sentence embeddings lie; without a call the environment variable FASTKMEANS_EMBEDDINGS counts."""
    global _embeddings_path
    if path is not None:
        _embeddings_path = path


def embeddings(n_samples: int) -> np.ndarray:
    """The first rows of the sentence embeddings given by ``--embeddings``."""
    if not _embeddings_path:
        raise MissingData("give the file of the embeddings with --embeddings or FASTKMEANS_EMBEDDINGS")
    if not Path(_embeddings_path).is_file():
        raise MissingData("the file given for the embeddings does not exist")
    return np.load(_embeddings_path, mmap_mode="r", allow_pickle=False)[:n_samples].astype(np.float32)


SETS: dict[str, DataSet] = {
    each.name: each
    for each in (
        DataSet("blobs2", "8 Gaussian blobs", 1_000_000, 2, 8, lambda n: blobs(n, 2, 8, 3.0)),
        DataSet("pixels64", "pixels of two photographs", 546_560, 3, 64, pixels),
        DataSet("pixels512", "pixels of two photographs", 546_560, 3, 512, pixels),
        DataSet("blobs8", "16 Gaussian blobs", 1_000_000, 8, 16, lambda n: blobs(n, 8, 16, 1.0)),
        DataSet("blobs16", "64 Gaussian blobs", 500_000, 16, 64, lambda n: blobs(n, 16, 64, 0.7)),
        DataSet("patch4", "4x4 color patches", 200_000, 48, 256, lambda n: patches(n, 4)),
        DataSet("noise64", "normal noise", 200_000, 64, 256, lambda n: noise(n, 64)),
        DataSet("patch8", "8x8 color patches", 100_000, 192, 1024, lambda n: patches(n, 8)),
        DataSet("embed384", "sentence embeddings", 40_000, 384, 500, embeddings),
        DataSet("patch16", "16x16 color patches", 50_000, 768, 256, lambda n: patches(n, 16, step=2)),
        DataSet("patch16k10", "16x16 color patches", 50_000, 768, 10, lambda n: patches(n, 16, step=2)),
        DataSet("noise128", "normal noise", 100_000, 128, 1024, lambda n: noise(n, 128)),
    )
}


def start_rows(X: np.ndarray, n_clusters: int, seed: int = START_SEED) -> np.ndarray:
    """The same k random rows for every system, float32 (k, d), no two of them equal.

    Equal rows would leave a cluster empty in the first iteration, and every system treats an empty cluster its own
    way: the comparison would be one of those ways, and the row of the table void.
    """
    order = np.random.default_rng(seed).permutation(len(X))
    chosen: list[int] = []
    seen: set[bytes] = set()
    for row in order:
        key = X[row].tobytes()
        if key not in seen:
            seen.add(key)
            chosen.append(row)
            if len(chosen) == n_clusters:
                return np.ascontiguousarray(X[chosen], dtype=np.float32)
    raise MissingData(f"only {len(chosen)} different rows for {n_clusters} clusters")


def inertia(X: np.ndarray, centers: np.ndarray) -> float:
    """Sum of squared distances to the nearest center: float64, direct differences, the same for every system.

    The nearest center is found by float64 scores; the distance to it is then taken from the difference itself, so
    that a large common offset costs no digits.
    """
    C = np.asarray(centers, dtype=np.float64)
    half_norms = 0.5 * np.einsum("ij,ij->i", C, C)
    parts = []
    for lo in range(0, len(X), INERTIA_BLOCK):
        rows = X[lo : lo + INERTIA_BLOCK].astype(np.float64)
        scores = rows @ C.T
        scores -= half_norms
        rows -= C[scores.argmax(axis=1)]
        parts.append(float(np.einsum("ij,ij->", rows, rows)))
    return math.fsum(parts)
