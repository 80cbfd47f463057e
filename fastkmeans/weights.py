"""The weights of the rows: validation, and the integer grid on which they are counted.

Part of the edge (see `points`). `as_weights` turns what the user passed into float64 or an error that says what to do;
`weight_grid` turns float64 into the integers that every weighted sum of the library is made of, so that a row of weight
w counts exactly as w rows do and a row of weight zero not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkmeans.cells import first_not_real, raise_not_real, to_floats

__all__ = ["Weights", "as_weights", "weight_grid"]

ROWS_AT_A_TIME = 1 << 16  # temporaries stay in cache, and a chunk's digit sums (< 2^32 a row) stay far below 2^63
GRID_BITS = 62


class Weights(NamedTuple):
    """Row weights as integers on a power-of-two grid: row i weighs ``values[i] * 2**unit_exponent``.

    Attributes
    ----------
    values : ndarray of int64, shape (n_samples,), or None
        None means that every row has weight 1. Zero means that the row is absent from every statistic.
    unit_exponent : int
        Binary exponent of the grid's unit; 0 for integer weights.
    total : int
        The exact sum of `values`, below 2**62.
    """

    values: NDArray[np.int64] | None
    unit_exponent: int
    total: int


def as_weights(sample_weight: Any, n_samples: int) -> NDArray[np.float64] | None:
    """Validate the weights of the rows.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), a real number, or None
        Weights, finite and not negative, at least one of them above zero. A number stands for that weight in every row.
    n_samples : int
        Number of rows they belong to.

    Returns
    -------
    ndarray of float64, shape (n_samples,), or None
        C-contiguous and read-only; a view of the user's array where that is possible. None if `sample_weight` is None.

    Raises
    ------
    ValueError
        For negative, all-zero, NaN, infinite, missing, masked, complex or text weights, more than one dimension, or a
        length other than `n_samples`.
    TypeError
        For weights that are no numbers at all.

    Examples
    --------
    >>> from fastkmeans.weights import as_weights
    >>> as_weights([1, 0, 2.5], 3)
    array([1. , 0. , 2.5])
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, np.ma.MaskedArray) and np.ma.is_masked(sample_weight):
        row = int(np.ma.getmaskarray(sample_weight).ravel().argmax())
        raise ValueError(
            f"sample_weight has masked values: the first is the weight of row {row}. Fill them in; a weight of zero "
            "leaves the row out."
        )
    given = np.asarray(sample_weight)
    if given.ndim > 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {given.ndim}D array. "
            f"Pass one number, or one weight for each of the {n_samples} rows."
        )
    if given.ndim == 1 and given.shape != (n_samples,):
        raise ValueError(
            f"sample_weight.shape == {given.shape}, expected {(n_samples,)}! There must be one weight per row."
        )
    column = given.reshape(-1, 1)
    if column.dtype.kind not in "biuf":  # what is left must hold numbers as Python objects
        objects = column.astype(object)
        bad = first_not_real(objects)
        if bad is not None:
            raise_not_real("sample_weight", f"row {bad[0]}", bad[2])
        column = to_floats(objects)
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is reported below
        weights = np.ascontiguousarray(column[:, 0], dtype=np.float64)
    _check_values(weights)
    if given.ndim == 0:
        weights = np.full(n_samples, weights[0])
    weights.setflags(write=False)
    return weights


def _check_values(weights: NDArray[np.float64]) -> None:
    low, high = float(weights.min()), float(weights.max())  # no temporaries, and NaN comes through
    if math.isnan(low):
        row = _first(weights, np.isnan)
        raise ValueError(
            f"Input sample_weight contains NaN.\nThe first is the weight of row {row}. "
            "A weight of zero leaves a row out."
        )
    if high == math.inf or low == -math.inf:
        row = _first(weights, np.isinf)
        raise ValueError(
            "Input sample_weight contains infinity or a value too large for dtype('float64').\n"
            f"The first is the weight of row {row}: {float(weights[row])!r}. Weights must be finite."
        )
    if low < 0:
        row = _first(weights, lambda chunk: chunk < 0)
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: row {row} has the negative weight "
            f"{float(weights[row])!r}. Weights must be zero or above."
        )
    if high == 0:
        raise ValueError(
            "Sample weights must contain at least one non-zero number: every weight is zero, which leaves no row to "
            "cluster."
        )


def _first(weights: NDArray[np.float64], test: Callable[[NDArray[np.float64]], Any]) -> int:
    for lo in range(0, len(weights), ROWS_AT_A_TIME):
        hits = test(weights[lo : lo + ROWS_AT_A_TIME])
        if hits.any():
            return lo + int(hits.argmax())
    raise ValueError("sample_weight changed while it was being read; pass an array that nothing else writes to.")


def weight_grid(weights: NDArray[np.float64] | None, n_samples: int) -> Weights:
    """Put weights on a power-of-two integer grid.

    Integer weights that sum to less than 2**62 are taken as they are (unit 1). Any other weights are rounded once, half
    to even, to a unit chosen such that the total is about 2**60 to 2**61 units; weights that vanish there are absent.

    Parameters
    ----------
    weights : ndarray of float64, shape (n_samples,), or None
        What `as_weights` returned.
    n_samples : int
        Number of rows.

    Returns
    -------
    Weights

    Raises
    ------
    ValueError
        If the weights sum to more than float64 can hold.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans.weights import weight_grid
    >>> weight_grid(np.array([1.0, 0.0, 3.0]), 3)
    Weights(values=array([1, 0, 3]), unit_exponent=0, total=4)
    >>> grid = weight_grid(np.array([0.5, 0.25]), 2)
    >>> grid.values[0] == 2 * grid.values[1], grid.total * 2.0**grid.unit_exponent
    (np.True_, 0.75)
    """
    if weights is None:
        return Weights(None, 0, n_samples)
    values = np.empty(n_samples, dtype=np.int64)
    largest = float(weights.max())
    if largest < 2.0**GRID_BITS and _all_integers(weights):
        total = _round_to_grid(weights, 0, values)
        if total < 1 << GRID_BITS:
            return Weights(values, 0, total)
    top = max(math.frexp(largest)[1], -1021)  # subnormals share the exponent of the smallest normal number
    fine_total = _round_to_grid(weights, GRID_BITS - top, values)
    unit_exponent = fine_total.bit_length() + top - GRID_BITS - 61
    total = _round_to_grid(weights, -unit_exponent, values)
    try:
        math.ldexp(total, unit_exponent)
    except OverflowError:
        raise ValueError(
            "sample_weight sums to more than float64 can hold: divide all weights by a common number."
        ) from None
    return Weights(values, unit_exponent, total)


def _all_integers(weights: NDArray[np.float64]) -> bool:
    chunks = (weights[lo : lo + ROWS_AT_A_TIME] for lo in range(0, len(weights), ROWS_AT_A_TIME))
    return all(bool((np.rint(chunk) == chunk).all()) for chunk in chunks)


def _round_to_grid(weights: NDArray[np.float64], shift: int, values: NDArray[np.int64]) -> int:
    """Write rint(weights * 2**shift) to `values` and return their exact sum."""
    total = 0
    for lo in range(0, len(weights), ROWS_AT_A_TIME):
        chunk = values[lo : lo + ROWS_AT_A_TIME]
        chunk[:] = np.rint(np.ldexp(weights[lo : lo + ROWS_AT_A_TIME], shift))
        total += (int((chunk >> 32).sum()) << 32) + int((chunk & 0xFFFFFFFF).sum())
    return total
