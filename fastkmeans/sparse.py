"""Sparse matrices in compressed rows, known by what they have and read where they lie: SciPy is never imported.

Part of the edge (see `points`). A `Csr` hands out ranges of rows in one form, whatever the user's matrix looks like:
columns strictly ascending in every row, int32, and values of the centers' dtype. A matrix that is like that already is
handed on as views. Anything else, 64-bit indices, integers, columns in any order or given twice, is brought into that
form a few megabytes at a time; the user's matrix is neither sorted nor summed in place. Values given twice are added in
the order and in the dtype in which they are stored, as ``X.toarray()`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkmeans.frames import Key

__all__ = ["Csr", "CsrRows", "is_sparse", "open_csr"]

ENTRIES_AT_A_TIME = 1 << 19  # converted at a time


class CsrRows(NamedTuple):
    """Some rows: those of row i are ``columns[starts[i]:starts[i + 1]]``, ascending, and `values` at the same places.

    Attributes
    ----------
    starts : ndarray of int64, shape (m + 1,)
        From 0 to the number of entries.
    columns : ndarray of int32 (int64 beyond 2**31 features), shape (entries,)
    values : ndarray of float32 or float64, shape (entries,)
        May hold zeros.
    """

    starts: NDArray[np.int64]
    columns: NDArray[Any]
    values: NDArray[Any]


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array of some library."""
    return hasattr(X, "nnz") and (hasattr(X, "toarray") or hasattr(X, "todense") or hasattr(X, "tocsr"))


def open_csr(X: Any, name: str, center_dtype_of: Any) -> Csr:
    """See a sparse matrix as compressed rows; other formats are converted by their own ``tocsr``.

    Raises
    ------
    ValueError
        If it is not two-dimensional, holds complex numbers or no numbers, or its index arrays do not fit together.
    TypeError
        If it can't be converted.
    """
    shape = tuple(X.shape)
    if len(shape) != 2:
        raise ValueError(f"Expected 2D array, got {len(shape)}D sparse array instead: shape={shape}.")
    if X.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported\n{name} has dtype {X.dtype}. Pass real and imaginary parts as features of "
            "their own."
        )
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must hold real numbers, but its dtype is {X.dtype}. Convert it to numbers beforehand."
        )
    parts = ("indptr", "indices", "data")
    if getattr(X, "format", "csr") != "csr" or not all(hasattr(X, part) for part in parts):
        if not hasattr(X, "tocsr"):
            raise TypeError(f"{name} is a sparse {type(X).__name__} without a tocsr method: pass a CSR matrix.")
        X = X.tocsr()
    return Csr(X.indptr, X.indices, X.data, (int(shape[0]), int(shape[1])), name, center_dtype_of(X.dtype))


class Csr:
    """A matrix in compressed rows: views of the user's arrays, checked.

    Attributes
    ----------
    shape : (int, int)
    values_dtype : numpy.dtype
        float32 or float64: of the values in `CsrRows`.
    nbytes : int
    n_entries : int
    """

    def __init__(
        self, indptr: Any, indices: Any, data: Any, shape: tuple[int, int], name: str, values_dtype: np.dtype[Any]
    ) -> None:
        self.shape = shape
        self.values_dtype = values_dtype
        self.indptr, self.indices, self.data = (_view(part) for part in (indptr, indices, data))
        self.nbytes = int(self.indptr.nbytes + self.indices.nbytes + self.data.nbytes)
        self.n_entries = self._check(name)
        self._tidy = self._is_tidy()
        # unequal index types are a matter of copying; so are dtypes that the kernels do not read
        index = np.dtype(np.int32 if shape[1] < 2**31 else np.int64)
        self.index_dtype = index
        self._direct = self._tidy and self.indices.dtype == index and self.data.dtype == values_dtype
        self._direct = self._direct and self.indices.flags.aligned and self.data.flags.aligned

    def _check(self, name: str) -> int:
        """Refuse index arrays that would make a kernel read elsewhere; returns how many entries there are."""
        n, d = self.shape
        indptr, indices, data = self.indptr, self.indices, self.data
        broken = None
        if indptr.ndim != 1 or len(indptr) != n + 1 or indptr.dtype.kind not in "iu":
            broken = f"indptr must be {n + 1} integers"
        elif indices.ndim != 1 or data.ndim != 1 or indices.dtype.kind not in "iu":
            broken = "indices and data must be one-dimensional, and indices integers"
        elif indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
            broken = "indptr must begin with 0 and never fall"
        elif int(indptr[-1]) > min(len(indices), len(data)):
            broken = "indptr must end within indices and data"
        elif indptr[-1] and not (0 <= int(indices[: indptr[-1]].min()) and int(indices[: indptr[-1]].max()) < d):
            broken = f"indices must lie between 0 and {d - 1}"
        if broken is not None:
            raise ValueError(f"{name} is no valid CSR matrix of shape {self.shape}: {broken}.")
        return int(indptr[-1])

    def _is_tidy(self) -> bool:
        """Whether columns ascend strictly in every row: sorted, and none twice."""
        for lo in range(1, self.n_entries, ENTRIES_AT_A_TIME):
            hi = min(lo + ENTRIES_AT_A_TIME, self.n_entries)
            falls = lo + np.flatnonzero(self.indices[lo:hi] <= self.indices[lo - 1 : hi - 1])
            if len(falls) and not (self.indptr[np.searchsorted(self.indptr, falls)] == falls).all():
                return False
        return True

    def ranges(self, max_rows: int) -> Iterator[tuple[int, int, CsrRows]]:
        """All rows in order, `max_rows` at most at a time, and not many more than ENTRIES_AT_A_TIME to be converted."""
        n = self.shape[0]
        lo = 0
        while lo < n:
            hi = min(lo + max_rows, n)
            if not self._direct:
                bound = int(self.indptr[lo]) + ENTRIES_AT_A_TIME
                hi = max(lo + 1, min(hi, int(np.searchsorted(self.indptr, bound, side="right")) - 1))
            yield lo, hi, self.rows(slice(lo, hi))
            lo = hi

    def rows(self, key: Key) -> CsrRows:
        """Some rows, in the form that kernels read: a range with start and stop, or any indices."""
        if isinstance(key, slice):
            first, last = int(self.indptr[key.start]), int(self.indptr[key.stop])
            starts = self.indptr[key.start : key.stop + 1].astype(np.int64) - first
            places: Any = slice(first, last)
        else:
            lengths = (self.indptr[key + 1] - self.indptr[key]).astype(np.int64)
            starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            places = np.repeat(self.indptr[key].astype(np.int64) - starts[:-1], lengths) + np.arange(starts[-1])
        columns, values = self.indices[places], self.data[places]
        if not self._tidy:
            starts, columns, values = self._tidied(starts, columns, values)
        return CsrRows(
            starts,
            np.ascontiguousarray(columns, dtype=self.index_dtype),
            np.ascontiguousarray(_as_floats(values, self.values_dtype)),
        )

    def _tidied(
        self, starts: NDArray[np.int64], columns: NDArray[Any], values: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        from fastkmeans.kernels.sparse_rows import tidy_rows

        logical = values.dtype.kind == "b"
        if logical or values.dtype.char in "eg" or not values.dtype.isnative:
            values = _as_floats(values, self.values_dtype)
        columns = np.ascontiguousarray(columns, dtype=self.index_dtype)
        new_columns, new_values = np.empty_like(columns), np.empty(len(values), values.dtype)
        new_starts = np.zeros(len(starts), np.int64)
        values = np.ascontiguousarray(values)
        count = tidy_rows(starts, columns, values, new_starts, new_columns, new_values)
        new_columns, new_values = new_columns[:count], new_values[:count]
        return new_starts, new_columns, np.minimum(new_values, 1) if logical else new_values

    def read(self, key: Key, out: NDArray[Any]) -> None:
        """Some rows in dense form into `out`."""
        rows = self.rows(key)
        out[...] = 0
        # adding leaves no negative zero, as toarray has none
        out[np.repeat(np.arange(len(out)), np.diff(rows.starts)), rows.columns] += rows.values

    def subset(self, key: NDArray[np.intp]) -> Csr:
        """Some rows as a matrix of their own."""
        rows = self.rows(key)
        shape = (len(key), self.shape[1])
        return Csr(rows.starts, rows.columns, rows.values, shape, "X", self.values_dtype)


def _view(part: Any) -> NDArray[Any]:
    view = np.asarray(part).view()
    view.setflags(write=False)
    return view


def _as_floats(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is found as such
        return values.astype(dtype, copy=False)
