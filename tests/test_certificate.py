"""The certificate is sound: whatever passes it is the canonical argmin, whatever does not keeps the argmin in sight.

Rows and centers are drawn at all magnitudes, far from the origin, and with near-ties built on purpose; the fast values
and the bounds are what the passes use.
"""

import hypothesis
import numpy as np
import oracle
import pytest
from hypothesis import strategies as st

from fastkmeans import packed, passes
from fastkmeans.data import Data
from fastkmeans.kernels import lloyd, simd
from fastkmeans.kernels.jit import kernel
from fastkmeans.kernels.micro import CHUNK, ROWS, row_values
from fastkmeans.kernels.pack import pack_tile, tile_norms
from fastkmeans.points import as_points

WIDTH = max(4, simd.native_lanes())  # the bits are the same for all: see test_kernels.py


@kernel(allocates=True)
def fast_rows(width, X, scale, shift, groups, halves, n_groups, values, squares):
    """Fast values (n, n_groups * w) and squared norms (n,) of all rows, as the passes get them."""
    n, d = X.shape
    y, y_squares = np.empty((d + CHUNK - 1) // CHUNK * ROWS * CHUNK, np.float32), np.empty(ROWS, np.float32)
    for i in range(n):
        pack_tile(X, i, i + 1, scale, shift, y, 0, 0, 0)
        tile_norms(width, y, 0, d, y_squares, 0)
        squares[i] = y_squares[0]
        row_values(width, y, 0, groups, halves, d, n_groups, values[i])


class Verdicts:
    """What the certificate says about every row."""

    def __init__(self, X, centers):
        n, k = len(X), len(centers)
        data = Data(as_points(X), None, 1)
        with simd.force_lanes(WIDTH), lloyd.force_orientation("centers"):  # two centers would need no certificate
            form = packed.Packed(data, centers, X.dtype == np.float32)
        frame = form.frame
        n_groups = -(-k // WIDTH)
        values, squares = np.empty((n, n_groups * WIDTH), np.float32), np.empty(n, np.float32)
        fast_rows(
            simd.lanes(WIDTH), X, frame.dtype.type(frame.scale), frame.shift, form.groups, form.halves, n_groups,
            values, squares,
        )  # fmt: skip
        self.values = values[:, :k].astype(np.float64)
        self.label = values.argmax(axis=1).astype(np.int32)
        two = np.sort(np.concatenate([values, np.full((n, 1), -np.inf, np.float32)], axis=1), axis=1)[:, -2:]
        v2, v1 = np.ascontiguousarray(two.T)
        doubtful, unsure = np.empty(n + 1, np.int32), np.empty(n, np.uint8)
        count = lloyd.certify(v1, v2, squares, n, frame.cutoff(form.largest), unsure, doubtful)
        self.certified = np.ones(n, bool)  # by the cheap bound
        self.certified[doubtful[:count]] = False
        self.allowed = np.array(
            [
                lloyd.margin(float(v1[i]), float(squares[i]), form.norms[self.label[i]], form.largest, frame.error)
                for i in range(n)
            ]
        )
        self.passed = v1.astype(np.float64) - v2 > self.allowed  # by the sharp one
        self.v1 = v1.astype(np.float64)


def check(X, centers):
    truth = oracle.assign(X, centers)
    verdicts = Verdicts(X, centers)
    rows = np.arange(len(X))
    for accepted in (verdicts.certified, verdicts.passed):
        np.testing.assert_array_equal(verdicts.label[accepted], truth[accepted])
    in_sight = verdicts.values[rows, truth] >= verdicts.v1 - verdicts.allowed
    assert in_sight[~verdicts.passed].all()
    return verdicts


EXPONENTS = {"f4": (-148, -140, -126, -60, 0, 40, 60), "f8": (-1072, -1060, -540, -300, -126, 0, 99, 400)}


@st.composite
def problems(draw):
    """Rows and centers of one dtype."""
    dtype = draw(st.sampled_from(["f4", "f8"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.sampled_from([1, 2, 3, 5, 16, 40, 64, 65, 129]))
    k = draw(st.sampled_from([2, 3, 8, 17, 33]))
    n = 24
    exponent = draw(st.sampled_from(EXPONENTS[dtype]))
    offset = draw(st.sampled_from([0.0, 1.0, 100.0, 1e4, 1e6]))
    kind = draw(st.sampled_from(["normal", "lattice", "scales", "outlier", "far"]))
    X, centers = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    if kind == "lattice":
        X, centers = np.rint(2 * X), np.rint(2 * centers)
    X, centers = X + offset, centers + offset
    if kind == "scales":
        size = 2.0 ** rng.choice([-70, -40, -20, 0], d)
        X, centers = X * size, centers * size
    if kind == "far":  # rows far outside of the centers
        X *= 2.0**12
    if kind == "outlier":
        X[3, rng.integers(d)] *= 2.0**40
    with np.errstate(under="ignore"):
        X, centers = np.ldexp(X, exponent).astype(dtype), np.ldexp(centers, exponent).astype(dtype)
    near = draw(st.sampled_from(["nothing", "midpoints", "ulps", "rows", "equal"]))
    a, b = rng.integers(k, size=(2, n))
    if near == "midpoints":  # as nearly as the dtype allows, and a few ulps off
        X[:] = centers[a] / 2 + centers[b] / 2
        X[::2] = np.nextafter(X[::2], np.dtype(dtype).type(0))
    elif near == "ulps":  # centers that differ in the last bit of one feature
        for c in range(1, k, 2):
            centers[c] = centers[c - 1]
            j = rng.integers(d)
            centers[c, j] = np.nextafter(centers[c, j], np.dtype(dtype).type(0))
    elif near == "rows":
        centers[: min(k, n) // 2] = X[: min(k, n) // 2]
    elif near == "equal":
        centers[1::2] = centers[: len(centers[1::2])]
    return X, centers


@hypothesis.settings(max_examples=250)
@hypothesis.given(problems())
def test_what_passes_is_the_canonical_argmin(problem):
    check(*problem)


@pytest.mark.parametrize("orientation", ["points", "centers", "integers", "features"])
@hypothesis.settings(max_examples=60)
@hypothesis.given(problem=problems())
def test_passes_find_the_canonical_argmin(problem, orientation):
    """All of it together, however many rows are in doubt."""
    X, centers = problem
    labels = np.full(len(X), -1, np.int32)
    with simd.force_lanes(WIDTH), lloyd.force_orientation(orientation):
        passes.assign(Data(as_points(X), None, 1), centers, labels)
    np.testing.assert_array_equal(labels, oracle.assign(X, centers))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("exponent", "d"), [(0, 8), (0, 128), (60, 16), (-100, 16)])
def test_easy_data_pass(dtype, exponent, d):
    """A certificate that refused everything would be sound too."""
    rng = np.random.default_rng(d)
    centers = np.ldexp(rng.normal(size=(20, d)), exponent).astype(dtype)
    X = (centers[rng.integers(20, size=200)] * (1 + 0.01 * rng.normal(size=(200, d)))).astype(dtype)
    verdicts = check(X, centers)
    assert verdicts.certified.mean() > 0.99
    assert verdicts.passed.all()


def test_a_tie_without_error_does_not_pass():
    """Everything at the origin: the gap is zero and so might the bound be."""
    X, centers = np.zeros((5, 3)), np.zeros((4, 3))
    centers[3] = 1.0
    verdicts = check(X, centers)  # centers 1 and 2 equal center 0 and are out; 3 lies far off
    np.testing.assert_array_equal(verdicts.label, 0)
    X, centers = np.zeros((5, 1)), np.array([[1.0], [-1.0]])
    verdicts = check(X, centers)
    assert not verdicts.certified.any()
    assert not verdicts.passed.any()
