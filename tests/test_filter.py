"""The integer filter: the right integers, values and lists, not one byte outside, and no center missed.

The kernels are called directly, in guarded buffers (see test_kernels.py); whole passes with the filter are compared
with the oracle in test_certificate.py and test_exact_fit.py.
"""

import numpy as np
import oracle
import pytest
import test_kernels
from test_kernels import CHUNK, GUARD, ROWS, WIDTHS, Guarded, assert_same_bits, fma32, problem, tile_of

from fastkmeans import packed, passes
from fastkmeans.data import Data
from fastkmeans.kernels import filtered, integer, lloyd, simd
from fastkmeans.kernels.jit import kernel
from fastkmeans.points import as_points

FEATURES = (1, 2, 3, 16, 17, 63, 64, 65, 130, 200)


@pytest.fixture(autouse=True, scope="module")
def needs_multiplier():
    assert integer.multiplier() in (0, 4, 8, 16)
    if integer.multiplier() == 0:
        pytest.skip("this CPU multiplies no pairs of 16-bit integers")


@kernel
def run_quantize_tile(width, y, y0, d, limit, unit, q, steps, residuals, squares, o0):
    integer.quantize_tile(width, y, y0, d, limit, unit, q, steps, residuals, squares, o0)


@kernel
def run_filter_tile(width, q, q0, c, c0, h, h0, d, n, first, steps, u0, best, values, v0, stride):
    integer.filter_tile(width, q, q0, c, c0, h, h0, d, n, first, steps, u0, best, values, v0, stride, 0, 0)


@kernel
def run_row_maxima(width, best, out, o0):
    integer.row_maxima(width, best, out, o0)


@kernel
def run_difference_sq(width, y, y0, d, c, c0):
    return integer.difference_sq(width, y, y0, d, c, c0)


def padded_tile(y):
    """A packed tile as pack_tile leaves it: zeros up to 16 features, NaN beyond."""
    tile, d = tile_of(y), y.shape[1]
    if d % 16:
        tile[-1, :, d % CHUNK : (d % CHUNK + 15) // 16 * 16] = 0.0
    return tile


def rows_of(tile, d):
    return tile.reshape(-1, ROWS, CHUNK).transpose(1, 0, 2).reshape(ROWS, -1)[:, :d]


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_quantize_tile(width, d):
    y, _, _ = problem(d, 7)
    y *= 2.0 ** np.arange(-30, 30, 5)[:, None].astype(np.float32)
    y[1] = 0.0
    y[2, 1:] *= 1e-6  # one feature stands out: it must fit 16 bits
    tile = padded_tile(y)
    q = Guarded(tile.size, np.int16, 99)
    steps, residuals, squares = (Guarded(ROWS) for _ in range(3))
    y_flat = np.concatenate([np.full(GUARD, np.nan, np.float32), tile.reshape(-1), np.full(GUARD, np.nan, np.float32)])
    limit = integer.row_limit(d)
    run_quantize_tile(
        simd.lanes(width), y_flat, GUARD, d, np.float32(limit), np.float32(0.25), q.whole, steps.whole,
        residuals.whole, squares.whole, GUARD,
    )  # fmt: skip
    for buffer in (q, steps, residuals, squares):
        buffer.check()
    found = rows_of(q.zone.reshape(tile.shape), -(-d // 16) * 16).astype(np.float64)
    assert (found[:, d:] == 0).all()
    assert np.abs(found).max() <= 32767
    assert ((found**2).sum(axis=1) < 2.0**31).all()
    assert (found[[i for i in range(ROWS) if i != 1], :d] != 0).any(axis=1).all()
    step = 4.0 * steps.zone.astype(np.float64)
    rest = y.astype(np.float64) - found[:, :d] * step[:, None]
    assert (np.abs(rest) <= 0.501 * step[:, None]).all()
    np.testing.assert_allclose(residuals.zone, np.sqrt((rest**2).sum(axis=1)), rtol=1e-3, atol=1e-30)
    np.testing.assert_allclose(squares.zone, (y.astype(np.float64) ** 2).sum(axis=1), rtol=1e-5)
    fine = np.maximum(np.linalg.norm(y.astype(np.float64), axis=1) / limit, np.abs(y).max(axis=1) / 32766)
    np.testing.assert_allclose(step[fine > 1e-25], fine[fine > 1e-25], rtol=1e-3)  # no coarser than need be


def quantized(centers, dead, width):
    """Packed centers through quantize_centers: rows, integers, the step, the residual and the halves."""
    k, d = centers.shape
    n_groups = -(-k // width)
    halves = test_kernels.halves_of(centers, width, dead)
    rows = Guarded(k * (-(-d // 16) * 16), inside=0.0)
    integers = Guarded(n_groups * (-(-d // 2)) * width * 2, np.int16, 0)
    groups = test_kernels.groups_of(centers, width).reshape(-1)
    largest = np.linalg.norm(np.delete(centers, dead, axis=0).astype(np.float64), axis=1).max() * (1.0 + 1e-6)
    step, residual = integer.quantize_centers(groups, halves, largest, k, d, width, rows.zone, integers.zone)
    rows.check()
    integers.check()
    return rows.zone, integers.zone, step, residual, halves


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_quantize_centers(width, d):
    _, centers, dead = problem(d, 13)
    rows, integers, step, residual, _ = quantized(centers, dead, width)
    padded = rows.reshape(13, -1)
    np.testing.assert_array_equal(padded[:, :d], centers)
    assert (padded[:, d:] == 0).all()
    q = integers.reshape(-1, -(-d // 2), width, 2).transpose(0, 2, 1, 3).reshape(-1, -(-d // 2) * 2)[:13]
    assert (q[:, d:] == 0).all() and (q[dead] == 0).all()
    alive = [c for c in range(13) if c not in dead]
    rest = np.linalg.norm(centers[alive] - q[alive, :d].astype(np.float64) * float(step), axis=1)
    assert rest.max() <= residual <= rest.max() * 1.0001 + 1e-30
    assert residual <= 0.51 * float(step) * np.sqrt(d)


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_filter_tile(width, d):
    """Integer dot products, exactly, and one float32 rounding each of the integer, the product and the difference."""
    rng = np.random.default_rng(d)
    for n_groups in (1, 2, 3, 5):
        k = n_groups * width - 1
        _, centers, dead = problem(d, k)
        _, integers, _, _, halves = quantized(centers, dead if k > 5 else [], width)
        pairs, stride = -(-d // 2), (n_groups + 4) * width
        q = rng.integers(-32767, 32768, (ROWS, d))
        q = (q * np.minimum(1.0, 46000 / np.linalg.norm(q, axis=1))[:, None]).astype(np.int16)
        tile = np.full((-(-d // CHUNK), ROWS, CHUNK), 77, np.int16)  # what lies beyond the last pair is not read
        for j in range(d):
            tile[j // CHUNK, :, j % CHUNK] = q[:, j]
        if d % 2:
            tile[d // CHUNK, :, d % CHUNK] = 0
        whole = integers.reshape(-1, pairs, width, 2).transpose(0, 2, 1, 3).reshape(-1, pairs * 2)[:, :d]
        dots = (q.astype(np.int64) @ whole.T.astype(np.int64)).astype(np.float32)
        steps = rng.random(ROWS).astype(np.float32)
        expected = np.full(dots.shape, -np.inf, np.float32)
        alive = np.isfinite(halves)
        expected[:, alive] = fma32(dots[:, alive], steps[:, None], -halves[alive])
        values, best = Guarded(ROWS * stride, inside=-7.0), Guarded(ROWS * width)
        for first, count in ((0, n_groups),) if n_groups < 3 else ((0, 2), (2, n_groups - 2)):
            run_filter_tile(
                simd.lanes(width), np.concatenate([np.zeros(5, np.int16), tile.reshape(-1)]), 5, integers,
                first * pairs * width * 2, halves, first * width, d, count, first, steps, 0,
                best.whole[GUARD:], values.whole, GUARD, stride,
            )  # fmt: skip
        found = values.zone.reshape(ROWS, stride)
        assert_same_bits(found[:, : dots.shape[1]], expected)
        assert (found[:, dots.shape[1] :] == -7.0).all()
        top = Guarded(ROWS)
        run_row_maxima(simd.lanes(width), best.zone, top.whole, 0)  # ROWS at 0: canaries there are overwritten
        assert_same_bits(top.whole[:ROWS], expected.max(axis=1))
        values.check()
        best.check()


@pytest.mark.parametrize("width", WIDTHS)
def test_list_candidates(width):
    rng = np.random.default_rng(width)
    values = rng.normal(size=24 * width).astype(np.float32)
    values[[3, 4 * width, 8 * width - 1]] = np.inf, 2.5, -np.inf
    for start, stride in ((0, 4 * width), (4 * width, 20 * width)):
        part = values[start : start + stride]
        for threshold in (-np.inf, -1.0, 2.5, part.max(), np.float32(99)):
            found = Guarded(stride, np.int32)
            count = integer.list_candidates(simd.lanes(width), values, start, stride, np.float32(threshold), found.zone)
            np.testing.assert_array_equal(found.zone[:count], np.flatnonzero(part >= np.float32(threshold)))
            found.check()


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_difference_sq(width, d):
    """Within its bound of the exact squared distance of the packed values, zero where they are equal."""
    y, c, _ = problem(d, 6)
    y, c = y + np.float32(3), c + np.float32(3)
    padded = np.zeros((6, -(-d // 16) * 16), np.float32)
    padded[:, :d] = c
    tile = padded_tile(y)
    error = np.zeros(6)
    for r in range(ROWS):
        for i in range(6):
            found = run_difference_sq(
                simd.lanes(width), tile.reshape(-1), r * CHUNK, d, padded.reshape(-1), i * padded.shape[1]
            )
            exact = ((y[r].astype(np.float64) - c[i]) ** 2).sum()
            assert abs(found - exact) <= (d / 4 + 16) * 2.0**-24 * exact
            lengths = np.linalg.norm(y[r].astype(np.float64)) + np.linalg.norm(c[i].astype(np.float64))
            assert abs(found - exact) <= filtered.direct_error(float(found), lengths, error, d)
            assert found == 0 or exact > 0


def test_padding_is_never_a_candidate():
    """Whatever the bound: its constant is infinite in float32 where squares of the data are subnormal."""
    v1, squares, residuals = np.float32([-1.0, 3e30]), np.float32([1.0, 2.0]), np.zeros(2, np.float32)
    levels = np.empty(2, np.float32)
    cutoff = np.float32([1.0, 1.0, np.inf, 0.0])
    filtered.thresholds(v1, squares, residuals, 2, cutoff, np.float32(1), np.float32(0), levels)
    assert np.isfinite(levels).all()
    values = np.full(8 * integer.FOUR, -np.inf, np.float32)
    values[[2, 5]] = -2e38, 7.0
    found = np.empty(len(values), np.int32)
    assert integer.list_candidates(simd.lanes(8), values, 0, len(values), levels[0], found) == 2


def crowded(n, d, k):
    """Rows within 1e-5 of one of three places, centers too: sixteen bits tell apart the places, and no more."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(3, d))[rng.integers(3, size=n)] + 1e-5 * rng.normal(size=(n, d))
    return X, X[:k].copy()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("rows", [None, 4000])
def test_a_pass_goes_on_without_a_filter_that_finds_nothing(n_threads, rows, monkeypatch):
    """The lanes stop early and what is left, later ranges and later passes are done in float32; no row twice."""
    monkeypatch.setattr("fastkmeans.data.RANGE_ROWS", rows)
    monkeypatch.setattr("fastkmeans.threads.SERIAL_WORK", 0)
    X, centers = crowded(9000, 80, 100)
    data = Data(as_points(X), None, n_threads)
    labels = np.full(len(X), -1, np.int32)
    sums = passes.Sums(data, len(centers), passes.pass_lanes(data, len(centers)))
    assert lloyd.orientation(80, 100, data.filters) == "integers"
    counts = passes.assign(data, centers, labels, sums)
    assert counts.changed == len(X)
    assert not data.filters
    np.testing.assert_array_equal(labels, oracle.assign(X, centers))
    np.testing.assert_array_equal(sums.weights, np.bincount(labels, minlength=len(centers)))
    assert lloyd.orientation(80, 100, data.filters) == "centers"


def test_easy_rows_need_no_comparison():
    """A filter that let everything through would be right too."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(100, 80)).astype(np.float32)
    X = (centers[rng.integers(100, size=2000)] + 0.1 * rng.normal(size=(2000, 80))).astype(np.float32)
    data = Data(as_points(X), None, 1)
    found = packed.Packed(data, centers, True)
    assert found.orientation == "integers"
    labels = np.full(len(X), -1, np.int32)
    assert passes.assign(data, centers, labels).refined < 20
    np.testing.assert_array_equal(labels, oracle.assign(X, centers))
