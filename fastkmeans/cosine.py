"""Rows seen as directions: what ``metric="cosine"`` means to the rest of the library.

With rows and centers of length one, half the squared Euclidean distance is one minus the cosine of the angle between
them. So nothing but the edge changes: `as_directions` gives data whose rows are divided by their length when they are
read, in float64, and rounded once to the dtype of the centers; the data itself is neither copied nor written. A row
of zeros has no direction: it counts nowhere, and is told apart by `Directions.nowhere`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkmeans.frames import Key
from fastkmeans.kernels import directions as kernels
from fastkmeans.points import Points, raise_nonfinite
from fastkmeans.sparse import Csr, CsrRows

__all__ = ["Directions", "as_directions", "unit_rows"]


class Directions(Points):
    """Data whose rows have length one.

    Attributes
    ----------
    nowhere : ndarray of bool, shape (n_samples,)
        Rows of zeros, which stay what they are.
    """

    __slots__ = ("base", "lengths", "nowhere")

    def __init__(self, base: Points, lengths: NDArray[np.float64]) -> None:
        self.base = base
        self.lengths = lengths
        self.nowhere = lengths[:, 1] == 0.0
        sparse = None if base.sparse is None else UnitCsr(base.sparse, lengths)
        super().__init__(
            (base.n_samples, base.n_features),
            base.dtype,
            name=base.name,
            nbytes=base.nbytes,
            feature_names=base.feature_names,
            direct=None,
            read=self._divided if sparse is None else sparse.read,
            sparse=sparse,
        )

    def _divided(self, key: Key, out: NDArray[Any]) -> None:
        base = self.base
        if base.direct is not None:
            rows = base.direct[key]
        else:
            rows = np.empty(out.shape, base.center_dtype)
            base._read(key, rows)
        if out.dtype == self.center_dtype:
            kernels.divide_rows(rows, self.lengths[key], out)
        else:  # rounded to that dtype all the same
            unit = np.empty(out.shape, self.center_dtype)
            kernels.divide_rows(rows, self.lengths[key], unit)
            out[...] = unit


class UnitCsr(Csr):
    """A compressed matrix whose rows have length one: values are divided when they are read."""

    def __init__(self, base: Csr, lengths: NDArray[np.float64]) -> None:
        self.base = base
        self.lengths = lengths
        self.shape, self.values_dtype, self.index_dtype = base.shape, base.values_dtype, base.index_dtype
        self.indptr, self.nbytes, self.n_entries = base.indptr, base.nbytes, base.n_entries
        self._direct = False

    def rows(self, key: Key) -> CsrRows:
        starts, columns, values = self.base.rows(key)
        unit = np.empty(len(values), self.values_dtype)
        kernels.divide_entries(starts, values, self.lengths[key], unit)
        return CsrRows(starts, columns, unit)


def as_directions(points: Points, estimator: str) -> Directions:
    """See rows as directions: one visit of the data, to measure them.

    Parameters
    ----------
    points : Points
    estimator : str
        What errors name.

    Returns
    -------
    Directions

    Raises
    ------
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> from fastkmeans.cosine import as_directions
    >>> from fastkmeans.points import as_points
    >>> found = as_directions(as_points([[3.0, 4.0], [0.0, 0.0]]), "KMeans")
    >>> found.take([0, 1])
    array([[0.6, 0.8],
           [0. , 0. ]])
    >>> found.nowhere
    array([False,  True])
    """
    lengths = np.empty((points.n_samples, 2))
    finite = True
    if points.sparse is not None:
        for lo, hi, part in points.sparse.ranges(points.n_samples):
            finite = kernels.measure_entries(part.starts, part.values, lengths[lo:hi]) and finite
    else:
        for lo, hi, rows in points.ranges():
            finite = kernels.measure_rows(rows, lengths[lo:hi]) and finite
    if not finite:
        raise_nonfinite(points, estimator)
    return Directions(points, lengths)


def unit_rows(rows: NDArray[Any], otherwise: NDArray[Any]) -> NDArray[Any]:
    """Rows divided by their length, rounded once to the dtype of `otherwise`, whose rows replace those of zeros."""
    lengths, unit = np.empty((len(rows), 2)), np.empty_like(otherwise)
    kernels.measure_rows(rows, lengths)
    kernels.divide_rows(rows, lengths, unit)
    nowhere = lengths[:, 1] == 0.0
    unit[nowhere] = otherwise[nowhere]
    return unit
