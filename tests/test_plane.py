"""The pass for two centers: the side of a plane, and the canonical value wherever that is in doubt."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastkmeans import KMeans, packed, passes
from fastkmeans.data import Data
from fastkmeans.kernels import lloyd, simd
from fastkmeans.points import as_points

rng = np.random.default_rng(5)
D = 11


def canonical_labels(X, centers):
    """Features from left to right, ties to the first center."""
    values = np.zeros((len(X), 2))
    for j in range(X.shape[1]):
        t = X[:, j, None].astype(np.float64) - centers[:, j].astype(np.float64)
        values += t * t
    return values.argmin(axis=1)


def problems():
    blob = rng.normal(size=(2000, D))
    lattice = rng.integers(-2, 3, size=(2000, D)).astype(np.float64)
    mirrored = np.concatenate([blob, blob])
    mirrored[2000:, 0] *= -1
    return {
        "normal": (blob, blob[:2]),
        "lattice with ties": (lattice, np.stack([np.zeros(D), np.eye(D)[0] * 2])),
        "on the plane": (np.where(np.arange(D) == 0, 0.0, blob), np.stack([-np.eye(D)[0], np.eye(D)[0]])),
        "equal centers": (blob, np.stack([blob[0], blob[0]])),
        "one apart by an ulp": (blob, np.stack([blob[0], np.nextafter(blob[0], 9)])),
        "far from the origin": (blob + 1e7, blob[:2] + 1e7),
        "tiny": (blob * 1e-160, blob[:2] * 1e-160),
        "huge": (blob * 1e150, blob[:2] * 1e150),
        "one sentinel": (np.where(np.arange(2000)[:, None] == 7, 1e12, blob), blob[:2]),
    }


@pytest.mark.parametrize("name", list(problems()))
@pytest.mark.parametrize("weighted", [False, True])
def test_sides_are_canonical(name, weighted):
    X, centers = problems()[name]
    weights = None
    if weighted:  # the row of weight zero is no part of the ranges that bound the error
        weights = np.ones(len(X))
        weights[np.abs(X).max(axis=1).argmax()] = 0.0
    data = Data(as_points(X), weights, 1)
    labels = np.full(data.n, -1, np.int32)
    with simd.force_lanes(simd.native_lanes() if simd.native_lanes() > 1 else 4), lloyd.force_orientation("plane"):
        assert packed.Packed(data, centers, False).orientation == "plane"
        counts = passes.assign(data, centers, labels)
    assert_array_equal(labels, canonical_labels(X, centers))
    if name in ("lattice with ties", "on the plane", "equal centers"):
        assert counts.decided > 100
    if name == "normal" and not weighted:
        assert counts.decided == 0


def test_the_same_fit_as_with_other_kernels():
    X = rng.normal(size=(9000, D)) + rng.integers(2, size=(9000, 1))
    model = KMeans(2, init=X[:2], tol=0).fit(X)
    with lloyd.force_orientation("points"):
        other = KMeans(2, init=X[:2], tol=0).fit(X)
    assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    assert_array_equal(model.labels_, other.labels_)
    assert (model.inertia_, model.n_iter_) == (other.inertia_, other.n_iter_)
    assert [h.inertia for h in model.history_] == [h.inertia for h in other.history_]
