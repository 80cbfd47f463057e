"""Exact statistics: digits, sums, quotients, draws and roundings, each against Python integers and fractions."""

import math
from fractions import Fraction
from types import SimpleNamespace

import hypothesis
import numpy as np
import oracle
import pytest
from hypothesis import strategies as st

from fastkmeans import KMeans, data, passes, solver
from fastkmeans.kernels import exact, seeding
from fastkmeans.points import as_points

FLOATS = {np.dtype("f4"): np.uint32, np.dtype("f8"): np.uint64}


def bits(value):
    return np.asarray(value).view(FLOATS[np.asarray(value).dtype])


def value_of(digits):
    """The integer whose signed digits these are."""
    return sum(int(digit) << (32 * t) for t, digit in enumerate(digits))


def carried(total, n_digits):
    """Digits as `Sums.settle` leaves them: in [0, 2**32) but the highest, which keeps the sign."""
    digits = [(total >> (32 * t)) & 0xFFFFFFFF for t in range(n_digits - 1)]
    return [*digits, total >> (32 * (n_digits - 1))]


# -------------------------------------------------------------------------------------------------------- digits
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1"])
@pytest.mark.parametrize("n_digits", [2, 3, 4])
def test_row_digits(n_digits, dtype):
    """The integer nearest to x * 2**-g, halves to even, for values from the grid's top to far below its unit."""
    rng = np.random.default_rng(n_digits)
    if np.dtype(dtype).kind == "f":
        X = (rng.normal(size=(40, 6)) * 2.0 ** rng.integers(-100, 1, (40, 6))).astype(dtype)
        X[0] = [0.0, -0.0, 1.0, -1.0, 0.5, -0.75]
    else:
        X = rng.integers(np.iinfo(dtype).min // 2, np.iinfo(dtype).max // 2, (40, 6)).astype(dtype)
    tops = oracle.exponent(np.abs(X.astype(float)).max(axis=0))
    g = np.array([int(t) - (32 * n_digits - 2) for t in tops])
    # values at halves of the grid's unit
    if dtype == "f8":
        X[1], X[2] = np.ldexp(0.5, g), np.ldexp(-1.5, g)
        X[3], X[4] = np.ldexp(2.5, g), np.ldexp(1.0 + 2.0**-52, g)
    scale = np.array([data.power_pair(-int(e)) for e in g]).T.copy()
    guard = 3
    whole = np.full((guard + n_digits + guard, 6), 123, np.int64)
    for i, row in enumerate(X):
        exact.row_digits(X, i, scale, np.empty(6), n_digits, whole[guard:-guard])
        assert (whole[:guard] == 123).all()
        assert (whole[-guard:] == 123).all()
        for j, x in enumerate(row):
            expected = round(Fraction(float(x)) / Fraction(2) ** int(g[j]))  # Python rounds halves to even
            assert value_of(whole[guard:-guard, j]) == expected
            assert abs(whole[guard:-guard, j]).max() < 2**32


WEIGHTS = (0, 1, 2, 3, 2**31, 2**32 - 1, 2**32, 2**33 + 5, 2**61, 2**61 - 1, 2**62 - 1)


@pytest.mark.parametrize("n_digits", [2, 3, 4])
def test_weigh_digits(n_digits):
    rng = np.random.default_rng(n_digits)
    digits = rng.integers(-(2**32) + 1, 2**32, (n_digits, 9))
    digits[n_digits - 1] >>= 2
    digits[:, 0], digits[:, 1] = 2**32 - 1, -(2**32) + 1
    digits[:, 2] = 0
    for w in WEIGHTS:
        out = np.full((n_digits + 4, 9), 77, np.int64)
        exact.weigh_digits(digits, n_digits, w, out[1:-1])
        assert (out[0] == 77).all()
        assert (out[-1] == 77).all()
        for j in range(9):
            assert value_of(out[1:-1, j]) == w * value_of(digits[:, j])
        assert abs(out[1:-1]).max() < 2**35  # 2**28 rows can be added before a carry


def test_add_digits_stays_in_its_place():
    digits = np.arange(12).reshape(4, 3)
    sums = np.full(20, 1000)
    exact.add_digits(digits, 3, -1, sums, 5)
    np.testing.assert_array_equal(sums[5:14], 1000 - np.arange(9))
    assert (sums[:5] == 1000).all()
    assert (sums[14:] == 1000).all()


def test_add_weighted():
    values = (0, 1, 2**31, 2**32 - 1, 2**32, 2**61 + 12345, 2**62 - 1)
    for w in WEIGHTS:
        for value in values:
            sums = np.full(8, 55, np.int64)
            sums[2:6] = 0
            exact.add_weighted(value, w, sums, 2)
            assert value_of(sums[2:6]) == value * w
            assert (sums[[0, 1, 6, 7]] == 55).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_rows(weighted):
    rng = np.random.default_rng(7)
    values = rng.uniform(size=60) * 2.0 ** rng.integers(-120, 0, 60)
    values[:3] = [0.0, 1 - 2.0**-53, np.nextafter(0, 1)]
    weights = rng.choice(WEIGHTS, 60) if weighted else data.NO_WEIGHTS
    g = -94
    sums = np.zeros(6, np.int64)
    for lo, hi in ((0, 13), (13, 60)):
        exact.sum_rows(values, weights, *data.power_pair(-g), lo, hi, sums)
    expected = sum(
        int(w) * round(Fraction(v) * 2**94) for v, w in zip(values, weights if weighted else [1] * 60, strict=True)
    )
    assert value_of(sums) == expected


def test_merge_lanes_adds_what_was_touched_carries_and_clears_it():
    rng = np.random.default_rng(8)
    k, n_digits, d = 5, 2, 3
    lane_sums, lane_weights = rng.integers(-(2**40), 2**40, (4, k * n_digits * d)), rng.integers(0, 9, (4, k))
    touched = rng.integers(0, 2, (4, k)).astype(np.uint8)
    sums, weights = rng.integers(0, 9, (k, n_digits, d)), rng.integers(0, 9, k)
    mask = touched[:, :, None].astype(bool) & np.ones((1, 1, n_digits * d), bool)
    parts = lane_sums.reshape(4, k, -1)
    expected = sums + np.where(mask, parts, 0).sum(axis=0).reshape(sums.shape)
    left = np.where(mask, 0, parts)
    expected_weights, left_weights = weights + (lane_weights * touched).sum(axis=0), lane_weights * (1 - touched)
    exact.merge_lanes(lane_sums, lane_weights, touched, sums, weights)
    np.testing.assert_array_equal(sums[:, 0] + (sums[:, 1] << 32), expected[:, 0] + (expected[:, 1] << 32))
    low = sums[touched.any(axis=0), 0]
    assert (low >= 0).all() and (low < 2**32).all()  # carried
    np.testing.assert_array_equal(weights, expected_weights)
    np.testing.assert_array_equal(lane_sums.reshape(left.shape), left)
    np.testing.assert_array_equal(lane_weights, left_weights)


@pytest.mark.parametrize("k", [6, 1500])
def test_settling_carries_and_keeps_the_value(k):
    points = as_points(np.ones((4, 3)))
    sums = passes.Sums(data.Data(points, None, 1), k, 1)
    rng = np.random.default_rng(9)
    fresh = np.union1d([0, 2, 3], rng.integers(0, k, k // 2))
    sums.total[fresh] = rng.integers(-(2**62), 2**62, (len(fresh), *sums.total.shape[1:])) // 3
    before = [[value_of(sums.total[c, :, j]) for j in range(3)] for c in range(k)]
    sums.touched[0, fresh] = 1
    sums.settle()
    assert [[sums.cluster_total(c, j) for j in range(3)] for c in range(k)] == before
    assert ((sums.total[:, :-1] >= 0) & (sums.total[:, :-1] < 2**32)).all()
    np.testing.assert_array_equal(np.flatnonzero(sums.changed), fresh)


# ----------------------------------------------------------------------------------------------------- quotients
def means(totals, weights, exponents, n_digits, dtype):
    """New centers of clusters with these sums (k, d) and weights (k,), by passes.update_centers."""
    k, d = len(totals), len(totals[0])
    pairs = np.array([data.power_pair(-int(e)) for e in exponents]).T.copy()
    grid = data.Grid(n_digits, np.array(exponents, np.int64), pairs, 1.0 / pairs)
    sums = passes.Sums.__new__(passes.Sums)
    sums.digits = n_digits
    sums.total = np.array([[carried(t, n_digits) for t in row] for row in totals], np.int64).transpose(0, 2, 1).copy()
    sums.weights, sums.changed = np.array(weights, np.int64), np.ones(k, np.uint8)
    old = np.full((k, d), 99.0, dtype)
    return passes.update_centers(SimpleNamespace(d=d, grid=grid), sums, old, np.zeros((k, d)))


def assert_correctly_rounded(totals, weights, exponents, n_digits, dtype):
    found = means(totals, weights, exponents, n_digits, dtype)
    for c, w in enumerate(weights):
        for j, e in enumerate(exponents):
            expected = oracle.scaled(totals[c][j], int(e), w, dtype) if w else np.dtype(dtype).type(99.0)
            # zero has one sign: that of no sum at all
            assert bits(found[c, j] + 0) == bits(expected + 0), (hex(totals[c][j]), w, e)


def halfway(rng, bits_, w, tiny, top):
    """A multiple of w that lies halfway between two floats of `bits_` bits, scaled up, and `tiny` beside it."""
    mantissa = (1 << bits_) | int(rng.integers(2 ** min(bits_, 62))) << 1 | 1
    return (mantissa << top) * w + tiny


DIVISORS = (1, 2, 3, 7, 2**20, 10**6 + 3, 2**53 + 1, 2**60, 2**60 + 2**7 + 1, 2**61, 2**61 - 1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n_digits", [2, 3, 4, 6])
def test_means_are_rounded_once(n_digits, dtype):
    """At random, next to halves of the last bit on either side of zero, in the subnormal range, and 0."""
    rng = np.random.default_rng(n_digits)
    mantissa = np.finfo(dtype).nmant + 1
    limit = 1 << (32 * n_digits + 30)
    totals, weights = [], []
    for w in DIVISORS:
        row = [0, w, -w, 1, -1]
        for _ in range(6):
            size = int(rng.integers(1, 32 * n_digits + 29))
            row.append(int.from_bytes(rng.bytes(32), "big") % (1 << size) * int(rng.choice([-1, 1])))
        for tiny in (0, 1, -1, 2, 5, -(2**20), 2**40):
            for top in (0, 3, 8):
                total = halfway(rng, mantissa, w, tiny, top)
                row += [total if abs(total) < limit else w, -total if abs(total) < limit else -w]
        totals.append(row)
        weights.append(w)
    totals.append([5] * len(totals[0]))
    weights.append(0)  # an empty cluster's center stays
    d = len(totals[0])
    for exponents in (
        [-70] * d,
        list(rng.integers(-200, -60, d)),
        [-1074] * d if dtype == "f8" else [-149] * d,
        [-160] * d,
    ):
        assert_correctly_rounded(totals, weights, exponents, n_digits, dtype)


@hypothesis.settings(max_examples=300)
@hypothesis.given(
    st.integers(-(2**180), 2**180), st.integers(1, 2**61), st.integers(-400, 0), st.sampled_from(["f4", "f8"])
)
def test_any_mean_is_rounded_once(total, weight, exponent, dtype):
    top = total.bit_length() - weight.bit_length() + exponent
    hypothesis.assume(top < (120 if dtype == "f4" else 1000))
    assert_correctly_rounded([[total]], [weight], [exponent], 6, dtype)


def test_the_smallest_term_of_a_heavy_cluster_decides_a_tie():
    """Weights of 2**59 and one row of weight 1: the mean lies 2**-113 above the middle of two neighbours."""
    X = np.array([[1.0], [1 + 2**-52], [1 + 2**-52], [1 + 2**-51]])
    weights = np.array([2.0**59, 2.0**59 - 2**10, 2.0**10 - 1, 1.0])
    model = KMeans(1, init=X[:1], n_init=1).fit(X, sample_weight=weights)
    assert model.cluster_centers_[0, 0] == 1 + 2**-52


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_round_ratio(dtype):
    rng = np.random.default_rng(1)
    mantissa = np.finfo(dtype).nmant + 1
    dtype = np.dtype(dtype)
    for denominator in DIVISORS:
        for tiny in (0, 1, -1, 3):
            for exponent in (-1074 if dtype == "f8" else -149, -160, -70, -30, 0, 20):
                numerator = halfway(rng, mantissa, denominator, tiny, 2)
                for signed in (numerator, -numerator):
                    found = data.round_ratio(signed, denominator, exponent, dtype)
                    assert found.dtype == dtype
                    assert bits(found) == bits(oracle.scaled(signed, exponent, denominator, dtype))
    assert data.round_ratio(0, 7, -5, dtype) == 0
    assert data.round_ratio(1, 3, -1200, dtype) == 0


@pytest.mark.parametrize("value", [0.0, 5e-324, 2.0**-1022, 2.0**-1023, 0.75, 1.0, 3.0, 1e300])
def test_field_exponent(value):
    e = data.field_exponent(value)
    assert e == int(oracle.exponent(value))
    assert Fraction(value) < Fraction(2) ** e
    for sign in (1, -1):
        a, b = data.power_pair(sign * e)
        assert 0 < a < math.inf
        assert 0 < b < math.inf
        assert Fraction(a) * Fraction(b) == Fraction(2) ** (sign * e)


# ---------------------------------------------------------------------------------------- old centers and new ones
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (7, 130), (40, 300), (5, 5000)])
def test_center_shift(k, d, dtype):
    """Canonical distances, added in cluster order."""
    old, new = np.random.default_rng(d).normal(size=(2, k, d)).astype(dtype)
    total = 0.0
    for c in range(k):
        total += float(oracle.canonical(old[c : c + 1], new[c : c + 1])[0, 0])
    shift, _ = exact.compare_centers(old, new, new.astype(float), np.zeros(d), np.ones(k))
    assert shift == total


def test_inertia_from_scatter():
    """The theorem of the means, with an empty cluster whose mean means nothing."""
    rng = np.random.default_rng(0)
    X, old = rng.normal(size=(200, 3)), rng.normal(size=(4, 3))
    labels = rng.integers(0, 3, 200)
    means = np.array([X[labels == c].mean(axis=0) for c in range(3)] + [[9.0, 9.0, 9.0]])
    weights = np.bincount(labels, minlength=4).astype(float)
    _, below = exact.compare_centers(old, old, means, X.mean(axis=0), weights)
    scatter = ((X - X.mean(axis=0)) ** 2).sum()
    np.testing.assert_allclose(scatter - below, ((X - old[labels]) ** 2).sum(), rtol=1e-12)


# ------------------------------------------------------------------------------------------------------- refills
@pytest.mark.parametrize("count", [1, 2, 5, 40, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_farthest_distinct(seed, count):
    """Duplicates, ties far beyond what is looked at first, rows on their centers, and both zeros."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3, (300, 3)).astype(float)
    X[X == 0] *= rng.choice([-1.0, 1.0], int((X == 0).sum()))
    values = rng.integers(0, 4, 300).astype(float)
    if seed == 2:
        values[:] = 1.0  # all tie
        X = np.repeat(X[:4], 75, axis=0)
    chosen, seen = [], []
    for i in sorted(range(300), key=lambda i: (-values[i], i)):
        if values[i] > 0 and len(chosen) < count and not any((X[i] == row).all() for row in seen):
            chosen.append(i)
            seen.append(X[i])
    found = solver.farthest_distinct(as_points(X), values, count)
    assert len(found) == len(chosen)
    for row, i in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(row, X[i])


def test_nothing_is_farthest_where_all_lie_on_their_centers():
    assert solver.farthest_distinct(as_points(np.ones((5, 2))), np.zeros(5), 3) == []


# --------------------------------------------------------------------------------------------------------- draws
@pytest.mark.parametrize("weighted", [False, True])
def test_freeze_and_locate(weighted):
    """Sums of blocks, and the first row whose running sum exceeds a target, at every boundary."""
    rng = np.random.default_rng(3)
    n = seeding.BLOCK + 300
    values = rng.uniform(size=n) * 2.0 ** rng.integers(-40, 0, n)
    values[rng.integers(n, size=200)] = 0.0
    values[7] = 1 - 2.0**-53
    weights = rng.choice([0, 1, 2, 3, 2**40 + 1, 2**50 - 1], n) if weighted else data.NO_WEIGHTS
    g = -seeding.BITS
    scale = data.power_pair(-g)
    units = [round(Fraction(v) * 2**seeding.BITS) for v in values]
    terms = [int(w) * p for w, p in zip(weights if weighted else [1] * n, units, strict=True)]
    frozen, sums = np.empty(n), np.full((2, seeding.DIGITS), 9, np.int64)
    seeding.freeze_lane(values, weights, data.new_counter(), *scale, frozen, sums)
    np.testing.assert_array_equal(frozen, values)
    assert value_of(sums[0]) == sum(terms[: seeding.BLOCK])
    assert value_of(sums[1]) == sum(terms[seeding.BLOCK :])

    def locate(target, lo, hi):
        high, low = np.uint64(target >> 64), np.uint64(target & (2**64 - 1))
        row, high, low = seeding.locate(values, weights, lo, hi, *scale, high, low)
        return row, (int(high) << 64) + int(low)

    running = 0
    for i in range(300):
        if terms[i]:
            assert locate(running, 0, 300) == (i, 0)
            assert locate(running + terms[i] - 1, 0, 300) == (i, terms[i] - 1)
        running += terms[i]
    assert locate(running, 0, 300) == (300, 0)
    digits = np.empty_like(sums)
    seeding.running_sums(sums, digits)
    running = [0, sum(terms[: seeding.BLOCK]), sum(terms)]
    assert [value_of(row) for row in digits] == running[1:]
    assert ((digits >= 0) & (digits < 2**32)).all()
    words = rng.integers(2**64, size=(200, 2), dtype=np.uint64)
    words[:2] = [[0, 0], [2**64 - 1, 2**64 - 1]]
    for e, target in enumerate((running[1] - 1, running[1])):  # the last of one block, and the first of the next
        share = -(-(target << 128) // running[2])
        words[2 + e] = share >> 64, share & (2**64 - 1)
    rows, inside = np.empty(200, np.int64), np.empty(200, np.int64)
    seeding.propose(words, digits, frozen, weights, *scale, rows, inside)
    targets = [((int(above) << 64) + int(below)) * running[2] >> 128 for above, below in words]
    assert targets[:4] == [0, running[2] - 1, running[1] - 1, running[1]]
    for target, row, part in zip(targets, rows, inside, strict=True):
        before = sum(terms[:row])
        assert before <= target < before + terms[row]
        assert part == (target - before) % units[row]
