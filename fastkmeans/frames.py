"""Data frames of pandas, polars and pyarrow, read range by range without importing any of them.

Part of the edge (see `points`). A frame is known by its class, looked up in `sys.modules`: whoever passes one has
imported its library. Each is seen as a `Frame`: where all of it lies in one block of memory, as a view of that block;
otherwise as columns, each of which converts only the rows it is asked for. Nothing here ever holds a converted copy of
a whole frame.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastkmeans.cells import first_not_real, place, raise_not_real, to_floats

__all__ = ["Column", "Frame", "Key", "open_frame"]

Key = slice | NDArray[np.intp]  # which rows: a range with start and stop, or any indices
FLOAT64 = np.dtype(np.float64)
NUMBERS = {np.dtype(code).name: np.dtype(code) for code in "?bhiqBHIQefd"}
ALIASES = {"boolean": "bool", "halffloat": "float16", "float": "float32", "double": "float64"}


class Column(NamedTuple):
    """One numeric column: its dtype, and a function giving some rows of it as a 1-D array of any real dtype."""

    dtype: np.dtype[Any]
    read: Callable[[Key], NDArray[Any]]


class Frame(ABC):
    """What the edge needs to know of a data frame.

    Attributes
    ----------
    shape : (int, int)
    labels : list
        The column names, of whatever type they are.
    """

    def __init__(self, data: Any, name: str, shape: tuple[int, int], labels: Sequence[object]) -> None:
        self.data = data
        self.name = name
        self.shape = shape
        self.labels = list(labels)

    @abstractmethod
    def columns(self) -> list[Column]:
        """Open every column; ValueError or TypeError for the first that does not hold real numbers."""

    @abstractmethod
    def first_missing(self) -> tuple[int, int, str] | None:
        """Find the first missing value, row by row: (row, column, what it is called)."""

    @abstractmethod
    def view(self) -> NDArray[Any] | None:
        """View the whole frame as one 2-D array, or None if that would take a copy."""

    def refuse(self, column: int, kind: object) -> NoReturn:
        """Raise the ValueError for a column that holds no real numbers."""
        label = self.labels[column]
        where = repr(label) if isinstance(label, str) else str(column)
        if "complex" in str(kind):
            raise ValueError(f"Complex data not supported\nColumn {where} of {self.name} has dtype {kind}.")
        raise ValueError(
            f"{self.name} must hold real numbers, but its column {where} has dtype {kind}. "
            "Convert it to numbers, or leave it out."
        )


def open_frame(data: Any, name: str) -> Frame | None:
    """See `data` as a frame, or return None if it is no data frame.

    Raises
    ------
    TypeError
        For a polars LazyFrame, which holds no data yet.
    """
    pandas, polars, pyarrow = (sys.modules.get(library) for library in ("pandas", "polars", "pyarrow"))
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return _PandasFrame(data, name, data.shape, data.columns)
    if polars is not None and isinstance(data, polars.DataFrame):
        return _PolarsFrame(data, name, data.shape, data.columns)
    if polars is not None and isinstance(data, polars.LazyFrame):
        raise TypeError(f"{name} is a polars LazyFrame, which holds no data yet: pass {name}.collect().")
    if pyarrow is not None and isinstance(data, pyarrow.Table | pyarrow.RecordBatch):
        return _ArrowFrame(data, name, data.shape, data.schema.names)
    return None


def _array_column(array: NDArray[Any]) -> Column:
    return Column(array.dtype, lambda key: array[key])


def _object_rows(objects: NDArray[np.object_], key: Key) -> NDArray[np.float64]:
    return to_floats(objects[key])


def _dtype_named(name: str) -> np.dtype[Any] | None:
    return NUMBERS.get(ALIASES.get(name, name))


class _PandasFrame(Frame):
    def columns(self) -> list[Column]:
        columns: list[Column] = []
        not_real: list[tuple[int, int, Any]] = []
        for j, dtype in enumerate(self.data.dtypes):
            series = self.data.iloc[:, j]
            if isinstance(dtype, np.dtype) and dtype.kind == "O":
                objects = series.to_numpy()
                bad = first_not_real(objects.reshape(-1, 1))
                if bad is not None:
                    not_real.append((bad[0], j, bad[2]))
                columns.append(Column(FLOAT64, partial(_object_rows, objects)))
            elif isinstance(dtype, np.dtype):
                if dtype.kind not in "biuf":
                    self.refuse(j, dtype)
                columns.append(_array_column(series.to_numpy()))
            else:  # nullable, Arrow-backed and sparse columns name the dtype of their values in one of two attributes
                values = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", None))
                if dtype.kind not in "biuf" or not isinstance(values, np.dtype):
                    self.refuse(j, dtype)
                columns.append(Column(values, partial(_pandas_rows, series)))
        if not_real:
            row, j, value = min(not_real, key=lambda found: found[:2])
            raise_not_real(self.name, place(row, j, self.labels), value)
        return columns

    def first_missing(self) -> tuple[int, int, str] | None:
        found: list[tuple[int, int, str]] = []
        for j, dtype in enumerate(self.data.dtypes):
            if not isinstance(dtype, np.dtype):  # NumPy's own dtypes have no missing value but NaN, found with the rest
                missing = self.data.iloc[:, j].isna().to_numpy()
                if missing.any():
                    found.append((int(missing.argmax()), j, "pandas NA"))
        return min(found, default=None)

    def view(self) -> NDArray[Any] | None:
        if not all(isinstance(dtype, np.dtype) and dtype.kind in "biufO" for dtype in self.data.dtypes):
            return None
        # One row tells how all are stored, and a copy of it costs nothing.
        row = self.data.iloc[:1]
        if not np.shares_memory(row.to_numpy(), row.iloc[:, 0].to_numpy()):
            return None
        whole: NDArray[Any] = self.data.to_numpy(copy=False)
        return whole


def _pandas_rows(series: Any, key: Key) -> NDArray[Any]:
    floats: NDArray[Any] = series.iloc[key].to_numpy(dtype=np.float64, na_value=np.nan)
    return floats


class _PolarsFrame(Frame):
    def columns(self) -> list[Column]:
        polars = sys.modules["polars"]
        columns: list[Column] = []
        for j, dtype in enumerate(self.data.dtypes):
            series = self.data.to_series(j)
            if not (dtype.is_numeric() or dtype in (polars.Boolean, polars.Null)):
                self.refuse(j, dtype)
            array = _view_of(series)
            if array is not None and array.dtype.kind in "biuf":
                columns.append(_array_column(array))
            else:  # booleans are bits, decimals and 128-bit integers are no NumPy types, and chunks lie apart
                values = _dtype_named(str(dtype).lower()) or FLOAT64
                columns.append(Column(values, partial(_polars_rows, series, polars.Float64)))
        return columns

    def first_missing(self) -> tuple[int, int, str] | None:
        nulls = self.data.null_count().row(0)
        found = [(self.data.to_series(j).is_null().arg_max(), j, "a polars null") for j, n in enumerate(nulls) if n]
        return min(found, default=None)

    def view(self) -> NDArray[Any] | None:
        return _view_of(self.data)


def _view_of(data: Any) -> NDArray[Any] | None:
    try:
        array: NDArray[Any] = data.to_numpy(allow_copy=False)
    except RuntimeError:  # polars' way of saying that it would have to copy
        return None
    return array if array.dtype.kind in "biuf" else None


def _polars_rows(series: Any, float64: Any, key: Key) -> NDArray[Any]:
    floats: NDArray[Any] = series[key].cast(float64).to_numpy()
    return floats


class _ArrowFrame(Frame):
    def columns(self) -> list[Column]:
        columns: list[Column] = []
        for j, kind in enumerate(self.data.schema.types):
            values = _dtype_named(str(kind))
            cast = values is None
            if cast and not (str(kind).startswith("decimal") or str(kind) == "null"):
                self.refuse(j, kind)
            columns.append(Column(values or FLOAT64, partial(_arrow_rows, self.data.column(j), cast)))
        return columns

    def first_missing(self) -> tuple[int, int, str] | None:
        found: list[tuple[int, int, str]] = []
        for j in range(self.shape[1]):
            column = self.data.column(j)
            if column.null_count:
                found.append((int(np.asarray(column.is_null()).argmax()), j, "an Arrow null"))
        return min(found, default=None)

    def view(self) -> NDArray[Any] | None:
        return None


def _arrow_rows(column: Any, cast: bool, key: Key) -> NDArray[Any]:
    part = column.slice(key.start, key.stop - key.start) if isinstance(key, slice) else column.take(key)
    return np.asarray(part.cast("double") if cast else part)
