"""The edge: whatever the user calls data, seen as rows of numbers, without ever copying or writing it.

`as_points` accepts any two-dimensional array-like and returns `Points`, from which the rest of the library takes rows.
Arrays that the kernels can read as they lie are handed on as read-only views; everything else (swapped bytes, unaligned
memory, long doubles, Python objects, data frames of several blocks) is converted a few megabytes at a time. All errors
about the data are raised here or through here, with the first offending row and column. `arrays`, `cells`, `frames`,
`sparse` and `weights` are the other parts of the edge.

Finiteness is the one thing not checked on the way in: the first kernel that reads all rows sees it at no cost, and
calls `raise_nonfinite`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkmeans.arrays import as_array, check_mask, check_rank, check_size
from fastkmeans.cells import first_not_real, place, raise_missing, raise_not_real, to_floats
from fastkmeans.frames import Column, Frame, Key, open_frame
from fastkmeans.gather import Room, gathered
from fastkmeans.sparse import Csr, is_sparse, open_csr
from fastkmeans.weights import Weights, as_weights, weight_grid

__all__ = [
    "Points",
    "Weights",
    "as_points",
    "as_weights",
    "center_dtype_of",
    "check_features",
    "raise_nonfinite",
    "raise_overflow",
    "weight_grid",
]

RANGE_BYTES = 1 << 20  # converted at a time: far above the cost of a call, far below any X worth streaming
NAMES_SHOWN = 5


class Points:
    """The user's data as rows of numbers: validated, never copied as a whole, never written.

    Made by `as_points`. The *canonical value* of an element is its value as float64.

    Attributes
    ----------
    n_samples, n_features : int
    dtype : numpy.dtype
        What the user gave; for a data frame the common dtype of its columns.
    center_dtype : numpy.dtype
        float64 or float32, see `center_dtype_of`. float32 holds every canonical value exactly where it is chosen.
    feature_names : list of str, or None
        The column names if they are all text.
    nbytes : int
        Size of the user's data.
    direct : ndarray of shape (n_samples, n_features), or None
        A read-only view of the user's memory, in native byte order, aligned, of dtype bool, i1 to i8, u1 to u8, f4 or
        f8, with any strides; None if the data must be converted to be read.
    sparse : Csr, or None
        The same rows in compressed form, if the user gave them so; `ranges` and `take` make them dense.
    name : str
        What errors call the data.
    """

    __slots__ = (
        "_read",
        "center_dtype",
        "direct",
        "dtype",
        "feature_names",
        "n_features",
        "n_samples",
        "name",
        "nbytes",
        "sparse",
    )

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        *,
        name: str,
        nbytes: int,
        feature_names: list[str] | None,
        direct: NDArray[Any] | None,
        read: Callable[[Key, NDArray[Any]], None],
        sparse: Csr | None = None,
    ) -> None:
        self.n_samples, self.n_features = shape
        self.dtype = dtype
        self.center_dtype = center_dtype_of(dtype)
        self.name = name
        self.nbytes = nbytes
        self.feature_names = feature_names
        self.direct = direct
        self.sparse = sparse
        self._read = read  # some rows, converted into an array of float32 or float64

    def __repr__(self) -> str:
        return f"<Points {self.name}: {self.n_samples} x {self.n_features}, {self.dtype}>"

    def ranges(self, max_rows: int | None = None) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Go through all rows in order, in ranges.

        Parameters
        ----------
        max_rows : int or None
            Upper bound of the rows in one range. None means no bound for data that is read as it lies, and about 2 MiB
            for data that is converted, where 2 MiB is the upper bound in any case.

        Yields
        ------
        lo, hi : int
            The range of rows.
        rows : ndarray of shape (hi - lo, n_features)
            Read-only, aligned, in native byte order: a view of `direct`, or rows converted to `center_dtype`, in C
            order, in memory that the next range overwrites.
        """
        step = self.n_samples
        if self.direct is None:
            step = max(1, RANGE_BYTES // (self.n_features * self.center_dtype.itemsize))
        if max_rows is not None:
            step = max(1, min(step, max_rows))
        converted = None
        if self.direct is None:
            converted = np.empty((min(step, self.n_samples), self.n_features), dtype=self.center_dtype)
        for lo in range(0, self.n_samples, step):
            hi = min(lo + step, self.n_samples)
            if self.direct is not None:
                yield lo, hi, self.direct[lo:hi]
            else:
                assert converted is not None
                self._read(slice(lo, hi), converted[: hi - lo])
                rows = converted[: hi - lo]
                rows.setflags(write=False)
                yield lo, hi, rows

    def take(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Copy some rows as canonical values.

        Parameters
        ----------
        indices : array-like of int, shape (m,)
            Rows, from 0 to n_samples - 1, in any order.

        Returns
        -------
        ndarray of float64, shape (m, n_features), C-contiguous
        """
        key = np.asarray(indices, dtype=np.intp)
        if self.direct is not None:
            return np.ascontiguousarray(self.direct[key], dtype=np.float64)
        rows = np.empty((len(key), self.n_features))
        self._read(key, rows)
        return rows

    def part(self, indices: ArrayLike, n_threads: int = 1, room: Room | None = None) -> Points:
        """Copy some rows in the dtype they have, or that they are converted to.

        Parameters
        ----------
        indices : array-like of int, shape (m,)
            Rows, from 0 to n_samples - 1, in any order.
        n_threads : int
            Threads that copy.
        room : Room, optional
            Where to: overwritten by the next that is copied there.

        Returns
        -------
        Points
        """
        key = np.asarray(indices, dtype=np.intp)
        if self.sparse is not None:
            return _points_of_csr(self.sparse.subset(key), self.center_dtype, self.name)
        if self.direct is not None:
            return _points_of_array(gathered(self.direct, key, n_threads, room), self.name, self.feature_names)
        rows = np.empty((len(key), self.n_features), dtype=self.center_dtype)
        self._read(key, rows)
        return _points_of_array(rows, self.name, self.feature_names)

    def first_nonfinite(self) -> tuple[int, int, float] | None:
        """Find the first NaN or infinity, row by row.

        Returns
        -------
        (row, column, value) or None
        """
        max_rows = max(1, RANGE_BYTES // (8 * self.n_features))
        for lo, _, rows in self.ranges(max_rows):
            if rows.dtype.kind != "f":
                return None
            finite = np.isfinite(rows)
            if not finite.all():
                row, column = divmod(int(finite.argmin()), self.n_features)
                return lo + row, column, float(rows[row, column])
        return None


def center_dtype_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Tell in which dtype centers of data of this dtype are stored.

    Returns
    -------
    numpy.dtype
        float32 where it holds every value of `dtype` exactly (bool, 8- and 16-bit integers, float16, float32), float64
        otherwise.
    """
    exact = dtype.kind in "biuf" and np.can_cast(dtype, np.float32, "safe")
    return np.dtype(np.float32 if exact else np.float64)


def as_points(X: Any, *, name: str = "X", estimator: object = None) -> Points:
    """Validate two-dimensional data and see it as rows of numbers.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        An array of any real dtype, order, strides, alignment and byte order, read-only or not; a memory map; a data
        frame of pandas, polars or pyarrow; a sparse matrix or array; a list of rows; an array of Python numbers;
        anything with ``__array__`` or a buffer. It is never written. Lists, and sparse formats other than CSR, are
        converted once, all else is read where it lies.
    name : str
        What errors call the data.
    estimator : object, optional
        The estimator that errors name, or its name.

    Returns
    -------
    Points

    Raises
    ------
    ValueError
        If the data is not two-dimensional, has no rows or no columns, or holds complex numbers, text, dates, masked or
        missing values. The first offending row and column are named. NaN and infinity are not looked for: see
        `Points.first_nonfinite`.
    TypeError
        If a cell holds an object that is no number, or only some column names are text.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans.points import as_points
    >>> X = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.uint8)[::-1]
    >>> points = as_points(X)
    >>> points.n_samples, points.n_features, points.center_dtype
    (3, 2, dtype('float32'))
    >>> np.shares_memory(points.direct, X)
    True
    >>> points.take([2, 0])
    array([[1., 2.],
           [5., 6.]])
    """
    frame = open_frame(X, name)
    if frame is not None:
        return _points_of_frame(frame, name, estimator)
    if is_sparse(X):
        csr = open_csr(X, name, center_dtype_of)
        check_size(csr.shape, estimator)
        return _points_of_csr(csr, csr.data.dtype, name)
    array = as_array(X, name)
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported\n{name} has dtype {array.dtype}. "
            "Pass real and imaginary parts as features of their own."
        )
    check_rank(array, X)
    check_size(array.shape, estimator)
    names = None
    if not isinstance(X, np.ndarray | list | tuple):
        labels: Any = getattr(X, "columns", None)  # a frame of some other library
        if hasattr(labels, "__len__") and len(labels) == array.shape[1]:
            names = _text_names(list(labels))
    points = _points_of_array(array, name, names)
    if isinstance(X, np.ma.MaskedArray):
        check_mask(np.ma.getmask(X), name)
    return points


def _points_of_array(array: NDArray[Any], name: str, names: list[str] | None) -> Points:
    dtype = array.dtype
    view = array.view(np.ndarray)
    view.setflags(write=False)
    if dtype.kind == "O":
        bad = first_not_real(view)
        if bad is not None:
            raise_not_real(name, place(bad[0], bad[1], names), bad[2])
    elif dtype.kind not in "biuf":
        if dtype.kind in "UST":
            raise_not_real(name, place(0, 0, names), str(view[0, 0]))
        raise ValueError(f"{name} must hold real numbers, but its dtype is {dtype}. Convert it to numbers beforehand.")
    # numpy.longdouble keeps its own type code even where it is no longer than float64.
    is_direct = dtype.kind in "biuf" and dtype.char not in "eg" and dtype.isnative and view.flags.aligned

    def read(key: Key, out: NDArray[Any]) -> None:
        with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is found as such
            np.copyto(out, to_floats(view[key]) if dtype.kind == "O" else view[key], casting="unsafe")

    shape = (view.shape[0], view.shape[1])
    direct = view if is_direct else None
    return Points(shape, dtype, name=name, nbytes=array.nbytes, feature_names=names, direct=direct, read=read)


def _points_of_csr(csr: Csr, dtype: np.dtype[Any], name: str) -> Points:
    return Points(
        csr.shape, dtype, name=name, nbytes=csr.nbytes, feature_names=None, direct=None, read=csr.read, sparse=csr
    )


def _points_of_frame(frame: Frame, name: str, estimator: object) -> Points:
    check_size(frame.shape, estimator)
    names = _text_names(frame.labels)
    view = frame.view()
    if view is not None:
        return _points_of_array(view, name, names)
    columns = frame.columns()
    missing = frame.first_missing()
    if missing is not None:
        row, column, what = missing
        raise_missing(name, place(row, column, names), what)
    dtype = np.result_type(*dict.fromkeys(column.dtype for column in columns))
    nbytes = frame.shape[0] * sum(column.dtype.itemsize for column in columns)
    return Points(
        frame.shape,
        dtype,
        name=name,
        nbytes=nbytes,
        feature_names=names,
        direct=None,
        read=lambda key, out: _read_columns(columns, key, out),
    )


def _read_columns(columns: Sequence[Column], key: Key, out: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        for j, column in enumerate(columns):
            out[:, j] = column.read(key)


def _text_names(labels: Sequence[object]) -> list[str] | None:
    """Column names if all are text, None if none is."""
    names = [str(label) for label in labels if isinstance(label, str)]
    if not names:
        return None
    if len(names) < len(labels):
        kinds = sorted({type(label).__name__ for label in labels})
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types. Rename the columns so that all or none are strings, "
            "as X.columns = X.columns.astype(str) does."
        )
    return names


def raise_nonfinite(points: Points, estimator_name: str | None = None) -> NoReturn:
    """Find the first NaN or infinity and raise the ValueError that names its place.

    Parameters
    ----------
    points : Points
        Data in which a kernel has seen a value that is not finite.
    estimator_name : str or None
        The estimator the error names.

    Raises
    ------
    ValueError
        Always.
    """
    found = points.first_nonfinite()
    if found is None:
        raise ValueError(f"{points.name} changed while it was being read; pass data that nothing else writes to.")
    row, column, value = found
    where = place(row, column, points.feature_names)
    if math.isnan(value):
        what = "NaN"
    else:
        dtype = points.dtype if points.dtype.kind == "f" and points.dtype.itemsize <= 8 else np.dtype(np.float64)
        what = f"infinity or a value too large for {dtype.newbyteorder('=')!r}"
    raise ValueError(
        f"Input {points.name} contains {what}.\n"
        f"The first is {value!r} at {where}. {estimator_name or 'k-means'} needs every value to be finite: drop such "
        "rows, or replace such values, beforehand."
    )


def raise_overflow(points: Points, column: int, largest: float, estimator_name: str | None = None) -> NoReturn:
    """Raise the ValueError for values so large that squared distances overflow float64.

    Parameters
    ----------
    points : Points
    column : int
        The feature with the largest range.
    largest : float
        Its largest magnitude.
    estimator_name : str or None
        The estimator the error names.

    Raises
    ------
    ValueError
        Always.
    """
    label = repr(points.feature_names[column]) if points.feature_names else str(column)
    raise ValueError(
        f"Values of {points.name} are too large: column {label} holds magnitudes up to {largest:.6g}, and the squared "
        f"distances that {estimator_name or 'k-means'} compares would overflow float64. Rescale the data, for example "
        f"by dividing it by 1e{math.floor(math.log10(largest))}."
    )


def check_features(
    points: Points,
    n_features_in: int,
    feature_names_in: Sequence[str] | NDArray[Any] | None,
    estimator_name: str,
) -> None:
    """Check that data has the features an estimator was fitted with, in number, name and order.

    Parameters
    ----------
    points : Points
    n_features_in : int
        Number of features seen by fit.
    feature_names_in : sequence of str, or None
        Their names, if the data had text names.
    estimator_name : str

    Raises
    ------
    ValueError
        If the names or the number differ.

    Warns
    -----
    UserWarning
        If only one of the two has names.
    """
    names = points.feature_names
    if names is not None and feature_names_in is not None:
        _check_names(names, list(feature_names_in))
    elif names is not None:
        warnings.warn(
            f"{points.name} has feature names, but {estimator_name} was fitted without feature names", stacklevel=4
        )
    elif feature_names_in is not None:
        warnings.warn(
            f"{points.name} does not have valid feature names, but {estimator_name} was fitted with feature names",
            stacklevel=4,
        )
    if points.n_features != n_features_in:
        raise ValueError(
            f"{points.name} has {points.n_features} features, but {estimator_name} is expecting {n_features_in} "
            "features as input."
        )


def _check_names(names: list[str], fitted: list[str]) -> None:
    if names == fitted:
        return
    message = "The feature names should match those that were passed during fit.\n"
    unseen, missing = sorted(set(names) - set(fitted)), sorted(set(fitted) - set(names))
    if unseen:
        message += "Feature names unseen at fit time:\n" + _bullets(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + _bullets(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise ValueError(message)


def _bullets(names: list[str]) -> str:
    shown = names[:NAMES_SHOWN] + (["..."] if len(names) > NAMES_SHOWN else [])
    return "".join(f"- {name}\n" for name in shown)
