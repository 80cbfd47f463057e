"""Row weights: what is accepted, what is refused and how, and the integer grid against exact fractions."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastkmeans import weights as edge
from fastkmeans.points import as_weights, weight_grid


@pytest.mark.parametrize(
    "given",
    [
        [1, 0, 2.5],
        (1, 0, 2.5),
        np.array([1, 0, 2.5], "f4"),
        np.array([1, 0, 2.5], ">f8"),
        np.array([1, 0, 2.5], np.longdouble),
        np.array([1, 0, 2.5], dtype=object),
        [1, 0, Fraction(5, 2)],
        np.array([2.5, 0, 1])[::-1],
        np.ma.array([1, 0, 2.5]),
        pd.Series([1, 0, 2.5], index=[7, 8, 9]),
        pd.Series([1, 0, 2.5], dtype="Float64"),
        pl.Series([1, 0, 2.5], strict=False),
    ],
)
def test_accepted(given):
    weights = as_weights(given, 3)
    assert weights.dtype == np.float64 and weights.flags.c_contiguous and not weights.flags.writeable
    assert weights.tolist() == [1.0, 0.0, 2.5]


def test_none_scalar_and_view():
    assert as_weights(None, 3) is None
    for scalar in (2, 2.0, np.float32(2), np.array(2), Fraction(2)):
        assert as_weights(scalar, 3).tolist() == [2.0, 2.0, 2.0]
    own = np.array([1.0, 2.0])
    assert np.shares_memory(as_weights(own, 2), own) and own.flags.writeable


REFUSED = {
    "length": ([1, 2], ValueError, r"sample_weight\.shape == \(2,\), expected \(3,\)!"),
    "rank": (np.ones((3, 1)), ValueError, "Sample weights must be 1D array or scalar, got 2D array"),
    "negative": ([1, -2, -3], ValueError, r"`sample_weight`: row 1 has the negative weight -2\.0"),
    "negative scalar": (-1, ValueError, "negative weight"),
    "zero": ([0, 0, -0.0], ValueError, "Sample weights must contain at least one non-zero.*zero"),
    "zero scalar": (0, ValueError, "zero"),
    "NaN": ([1, np.nan, -1], ValueError, r"Input sample_weight contains NaN\.\n.*row 1"),
    "infinity": ([1, 1, np.inf], ValueError, r"sample_weight contains infinity.*\n.*row 2: inf"),
    "minus infinity": ([1, -np.inf, -1], ValueError, r"sample_weight contains infinity.*\n.*row 1: -inf"),
    "text": (["1", "2", "3"], ValueError, "sample_weight must hold real numbers, but row 0 holds the text '1'"),
    "text scalar": ("balanced", ValueError, "sample_weight must hold real numbers"),
    "complex": ([1, 1j, 2], ValueError, r"Complex data not supported\nsample_weight"),
    "None": ([1, None, 2], ValueError, r"sample_weight contains NaN\.\n.*row 1, which is missing"),
    "pandas NA": (pd.Series([1, 2, None], dtype="Int64"), ValueError, r"sample_weight contains NaN\.\n.*row 2"),
    "polars null": (pl.Series([1, None, 2]), ValueError, r"sample_weight contains NaN\.\n.*row 1"),
    "dict": ({"a": 1}, TypeError, "sample_weight must hold real numbers"),
    "masked": (np.ma.array([1, 2, 3], mask=[0, 0, 1]), ValueError, "sample_weight has masked values.* row 2"),
    "long double": (np.array([1, 1, np.longdouble("1e400")]), ValueError, "sample_weight contains infinity"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    given, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        as_weights(given, 3)


@pytest.mark.parametrize(("value", "text"), [(np.nan, "NaN"), (np.inf, "infinity"), (-1.0, "negative weight")])
def test_first_offending_row_is_found_beyond_one_chunk(monkeypatch, value, text):
    monkeypatch.setattr(edge, "ROWS_AT_A_TIME", 10)
    weights = np.ones(50)
    weights[[33, 41]] = value
    with pytest.raises(ValueError, match=text) as raised:
        as_weights(weights, 50)
    assert "row 33" in str(raised.value)


def grid_by_fractions(weights):
    """The rule in exact arithmetic: Python's round of a Fraction is half to even."""
    exact = [Fraction(w) for w in weights]
    if all(w.denominator == 1 for w in exact) and sum(exact) < 2**62:
        return [int(w) for w in exact], 0
    top = -1021
    while max(exact) >= Fraction(2) ** top:
        top += 1
    fine = sum(round(w * Fraction(2) ** (62 - top)) for w in exact)
    unit = fine.bit_length() + top - 62 - 61
    return [round(w / Fraction(2) ** unit) for w in exact], unit


RNG = np.random.default_rng(5)
GRIDS = {
    "integers": RNG.integers(0, 9, 100).astype(float),
    "one": np.array([1.0]),
    "integers up to the bound": np.array([2.0**61, 2.0**60, 0.0, 2.0**59]),
    "integers at the bound": np.array([2.0**61, 2.0**61]),
    "one huge integer": np.array([2.0**62, 1.0]),
    "halves": np.array([0.5, 1.5, 0.0, 2.0]),
    "uniform": RNG.random(1000),
    "many scales": 10.0 ** RNG.uniform(-300, 300, 200),
    "vanishing": np.array([1.5, 1e-18, 1e-19, 1e-300]),
    "half way to even": np.array([1.5] + [k * 2.0**-62 for k in range(9)]),
    "subnormal": np.array([5e-324, 1e-310, 0.0]),
    "smallest": np.array([5e-324]),
    "largest": np.array([1.5e308, 1.0]),
    "power of two below one": np.array([0.25, 0.25]),
}


@pytest.mark.parametrize("case", GRIDS)
def test_grid_is_the_rule(monkeypatch, case):
    weights = GRIDS[case]
    expected, unit = grid_by_fractions(weights.tolist())
    for chunk in (edge.ROWS_AT_A_TIME, 7):
        monkeypatch.setattr(edge, "ROWS_AT_A_TIME", chunk)
        grid = weight_grid(weights, len(weights))
        assert grid.values.dtype == np.int64 and grid.values.tolist() == expected
        assert grid.unit_exponent == unit and grid.total == sum(expected) and type(grid.total) is int
        assert unit == 0 or 2**60 <= grid.total <= 2**61 + len(weights)


def test_grid_of_no_weights_and_of_scaled_weights():
    assert weight_grid(None, 7) == (None, 0, 7)
    weights = RNG.random(50)
    plain, scaled = weight_grid(weights, 50), weight_grid(weights * 2.0**-40, 50)
    assert (plain.values == scaled.values).all() and plain.unit_exponent == scaled.unit_exponent + 40


def test_weights_with_too_large_a_sum():
    for weights in (np.full(4, 1e308), np.full(2, 2.0**1023), np.array([np.finfo(float).max, 2.0**970])):
        with pytest.raises(ValueError, match="sample_weight sums to more than float64 can hold"):
            weight_grid(weights, len(weights))
    assert math.isfinite(math.ldexp(*weight_grid(np.full(4, 4e307), 4)[:0:-1]))


def test_memory():
    n = 1_000_000
    given = RNG.random(n).astype(np.float32)
    tracemalloc.start()
    weight_grid(as_weights(given, n), n)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * n
