"""The edge for data frames of pandas, polars and pyarrow: viewed where they lie in one block, else read by ranges."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastkmeans import points as edge
from fastkmeans.points import as_points, raise_nonfinite

FLOATS = np.arange(12.0).reshape(4, 3)


def rows_of(points, max_rows=None):
    return np.concatenate([rows.astype(np.float64) for _, _, rows in points.ranges(max_rows)])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?"])
def test_frame_of_one_block_is_viewed(dtype):
    values = FLOATS.astype(dtype)
    for make in (pd.DataFrame, lambda a, columns: pl.from_numpy(np.asfortranarray(a), schema=list(columns))):
        if dtype == "?" and make is not pd.DataFrame:
            continue  # polars packs booleans into bits
        frame = make(values, columns=["a", "b", "c"])
        points = as_points(frame)
        assert points.direct is not None and not points.direct.flags.writeable
        first = frame.iloc[:, 0] if isinstance(frame, pd.DataFrame) else frame["a"]
        assert np.shares_memory(points.direct, first.to_numpy())
        assert points.feature_names == ["a", "b", "c"] and points.dtype == dtype and points.nbytes == values.nbytes
        np.testing.assert_array_equal(rows_of(points), values)


def columns():
    """Columns of every kind, as plain lists with their NumPy dtype."""
    return {
        "f4": ([0.5, 1.5, 2.5, 3.5], "f4"),
        "i8": ([2**53 + 1, -1, 2**30 + 1, 2**62 + 1], "i8"),
        "u1": ([255, 0, 3, 4], "u1"),
        "bool": ([True, False, True, True], "?"),
    }


MIXED = {
    "pandas": lambda c: pd.DataFrame({name: np.array(v, t) for name, (v, t) in c.items()}),
    "pandas nullable": lambda c: pd.DataFrame({n: np.array(v, t) for n, (v, t) in c.items()}).convert_dtypes(),
    "pandas on Arrow": lambda c: pd.DataFrame({n: np.array(v, t) for n, (v, t) in c.items()}).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "pandas object": lambda c: pd.DataFrame({n: np.array(v, t) for n, (v, t) in c.items()}).astype({"f4": object}),
    "pandas sparse": lambda c: pd.DataFrame({n: pd.arrays.SparseArray(np.array(v, t)) for n, (v, t) in c.items()}),
    "polars": lambda c: pl.DataFrame({n: np.array(v, t) for n, (v, t) in c.items()}),
    "polars in chunks": lambda c: pl.concat(
        [pl.DataFrame({n: np.array(v, t)[part] for n, (v, t) in c.items()}) for part in (slice(0, 1), slice(1, 4))],
        rechunk=False,
    ),
    "pyarrow table": lambda c: pa.table({n: np.array(v, t) for n, (v, t) in c.items()}),
    "pyarrow batch": lambda c: pa.RecordBatch.from_pydict({n: pa.array(np.array(v, t)) for n, (v, t) in c.items()}),
}


@pytest.mark.parametrize("kind", MIXED)
def test_mixed_columns_are_converted_range_by_range(kind):
    frame = MIXED[kind](columns())
    points = as_points(frame)
    expected = np.column_stack([np.array(v, t).astype(np.float64) for v, t in columns().values()])
    assert points.direct is None and points.center_dtype == np.float64
    assert points.feature_names == list(columns())
    for max_rows in (None, 1, 3):
        np.testing.assert_array_equal(rows_of(points, max_rows), expected)
    for _, _, rows in points.ranges(3):
        assert rows.dtype == np.float64 and not rows.flags.writeable
    np.testing.assert_array_equal(points.take([2, 0, 0]), expected[[2, 0, 0]])
    assert points.take([1, 0]).flags.c_contiguous


@pytest.mark.parametrize("kind", sorted(MIXED.keys() - {"pandas object"}))
def test_small_columns_stay_float32(kind):
    narrow = {name: column for name, column in columns().items() if name != "i8"}
    points = as_points(MIXED[kind](narrow))
    assert points.center_dtype == np.float32 and points.dtype == np.float32 and points.nbytes == 4 * (4 + 1 + 1)
    assert {rows.dtype for _, _, rows in points.ranges()} == {np.dtype(np.float32)}


def test_decimals():
    values = [Decimal("1.25"), Decimal("2.50")]
    for frame in (
        pl.DataFrame({"a": values, "b": [1, 2]}),
        pa.table({"a": values, "b": [1, 2]}),
        pd.DataFrame({"a": values, "b": [1, 2]}),
    ):
        np.testing.assert_array_equal(rows_of(as_points(frame)), [[1.25, 1], [2.5, 2]])


def test_frame_of_polars_columns_lying_apart_is_read_from_their_memory():
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).with_columns(c=pl.col("a") * 2)
    np.testing.assert_array_equal(rows_of(as_points(frame)), [[1, 3, 2], [2, 4, 4]])


@pytest.mark.parametrize("kind", ["pandas", "pandas nullable", "polars", "pyarrow table"])
def test_no_whole_copy(monkeypatch, kind):
    monkeypatch.setattr(edge, "RANGE_BYTES", 1 << 16)
    n = 100_000
    frame = MIXED[kind]({"a": (np.ones(n), "f8"), "b": (np.ones(n), "f4"), "c": (np.ones(n), "i8")})
    tracemalloc.start()
    assert sum(rows.sum() for _, _, rows in as_points(frame).ranges()) == 3 * n
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * 8  # less than one column of three


MISSING = {
    "pandas nullable": pd.DataFrame({"a": pd.array([1, 2, None], "Int64"), "b": pd.array([1, None, None], "UInt8")}),
    "pandas object": pd.DataFrame({"a": [1, 2, None], "b": [1, pd.NA, None]}, dtype=object),
    "pandas object column": pd.DataFrame({"a": [1.0, 2, 3], "b": pd.Series([1, pd.NA, None], dtype=object)}),
    "pandas on Arrow": pd.DataFrame({"a": [1.0, 2, 3], "b": pd.array([1, None, None], "int64[pyarrow]")}),
    "polars": pl.DataFrame({"a": [1.0, 2.0, None], "b": [1.0, None, None]}),
    "polars mixed": pl.DataFrame({"a": [1, 2, 3], "b": [True, None, None]}),
    "pyarrow": pa.table({"a": [1, 2, None], "b": [1.5, None, None]}),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_values_are_refused_at_the_first_row(kind):
    with pytest.raises(ValueError, match=r"Input X contains NaN\.\n.*row 1, column 'b', which is missing"):
        as_points(MISSING[kind])


@pytest.mark.parametrize("frame", [pl.DataFrame({"a": [None, None]}), pa.table({"a": pa.nulls(2)})])
def test_column_of_nulls(frame):
    with pytest.raises(ValueError, match="row 0, column 'a', which is missing"):
        as_points(frame)


@pytest.mark.parametrize("library", [pd, pl, pa])
@pytest.mark.parametrize("other", [[1.0, 2.0], [1, 2]])
def test_nan_is_found_by_column_name(library, other):
    make = pa.table if library is pa else library.DataFrame
    points = as_points(make({"other": other, "height": [1.0, float("nan")]}))
    with pytest.raises(ValueError, match=r"Input X contains NaN\.\n.*row 1, column 'height'"):
        raise_nonfinite(points)


NOT_NUMBERS = {
    "pandas text": (pd.DataFrame({"x": [1, 2], "t": ["a", "b"]}), "column 't' has dtype str"),
    "pandas object text": (
        pd.DataFrame({"x": [1, 2], "t": pd.Series([1, "b"], dtype=object)}),
        "row 1, column 't'.*'b'",
    ),
    "pandas dates": (pd.DataFrame({"t": pd.to_datetime(["2020-01-01"])}), "column 't' has dtype datetime64"),
    "pandas category": (pd.DataFrame({"t": pd.Categorical([1, 2])}), "column 't' has dtype category"),
    "pandas interval": (pd.DataFrame({"t": pd.interval_range(0, 2)}), "column 't' has dtype interval"),
    "pandas complex": (pd.DataFrame({"x": [1.0], "t": [1j]}), "Complex data not supported\nColumn 't'"),
    "pandas all complex": (pd.DataFrame({"t": [1j]}), "Complex data not supported\nColumn 't'"),
    "pandas position": (pd.DataFrame([[1, "a"]]), "column 1 has dtype str"),
    "polars text": (pl.DataFrame({"x": [1, 2], "t": ["a", "b"]}), "column 't' has dtype String"),
    "polars dates": (pl.DataFrame({"t": [1]}).cast(pl.Date), "column 't' has dtype Date"),
    "polars lists": (pl.DataFrame({"t": [[1], [2]]}), "column 't' has dtype List"),
    "pyarrow text": (pa.table({"x": [1], "t": ["a"]}), "column 't' has dtype string"),
    "pyarrow dictionary": (pa.table({"t": pa.array(["a"]).dictionary_encode()}), "column 't' has dtype dictionary"),
    "pyarrow times": (pa.table({"t": pa.array([1], pa.timestamp("s"))}), "column 't' has dtype timestamp"),
}


@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_columns_without_numbers_are_named(kind):
    frame, text = NOT_NUMBERS[kind]
    with pytest.raises(ValueError, match=text):
        as_points(frame)


def test_first_row_of_several_bad_object_columns():
    frame = pd.DataFrame({"x": [1.0, 2, 3], "a": [1, 2, "late"], "b": [1, "first", 3], "c": [1, 2, "late"]})
    with pytest.raises(ValueError, match="row 1, column 'b' holds the text 'first'"):
        as_points(frame.astype({"a": object, "b": object, "c": object}))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.Series([], dtype=float)}),
        pl.DataFrame({"a": []}),
        pa.table({"a": pa.array([], pa.float64())}),
    ],
)
def test_empty_frames(frame):
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\) \(shape=\(0, 1\)\)"):
        as_points(frame)


def test_other_pandas_and_polars_objects():
    with pytest.raises(ValueError, match=r"Expected 2D array, got 1D array instead(.|\n)*X.to_frame\(\)"):
        as_points(pd.Series([1.0, 2.0]))
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
        as_points(pl.Series([1.0, 2.0]))
    with pytest.raises(TypeError, match=r"pass X.collect\(\)"):
        as_points(pl.LazyFrame({"a": [1]}))


def test_repeated_and_mixed_names():
    frame = pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]).assign(b=1)
    np.testing.assert_array_equal(rows_of(as_points(frame)), np.ones((2, 3)))
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        as_points(pd.DataFrame(np.ones((2, 2)), columns=["a", 1]))
    assert as_points(pd.DataFrame(np.ones((2, 2)))).feature_names is None


def test_frame_is_left_as_it_was():
    frame = MIXED["pandas"](columns())
    before = frame.copy(deep=True)
    points = as_points(frame)
    rows_of(points)
    points.take([0])
    pd.testing.assert_frame_equal(frame, before)
    single = pd.DataFrame(FLOATS)
    as_points(single)
    single.iloc[0, 0] = 5.0  # the user may still write
    assert single.iloc[0, 0] == 5.0


def test_the_edge_imports_no_library():
    code = (
        "import sys; from fastkmeans.points import as_points; as_points([[1.0, 2.0]]); "
        "print(sorted({'numba', 'pandas', 'polars', 'pyarrow', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
