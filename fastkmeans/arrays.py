"""Is it a two-dimensional array: the checks of rank, size and mask that come before any look at the values.

Part of the edge (see `points`). The texts that users may filter on are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastkmeans.cells import CELLS_AT_A_TIME, place

__all__ = ["as_array", "check_mask", "check_rank", "check_size"]

RESHAPE_HINT = (
    "Reshape your data either using array.reshape(-1, 1) if your data has a single feature "
    "or array.reshape(1, -1) if it contains a single sample."
)


def as_array(X: Any, name: str) -> NDArray[Any]:
    """See X as a plain ndarray; only lists, and what can't be viewed, are converted."""
    if isinstance(X, np.ma.MaskedArray):
        return np.asarray(np.ma.getdata(X))
    if not isinstance(X, list | tuple):
        return np.asarray(X)
    try:
        array = np.asarray(X)
        # Among strings NumPy turns every number into a string.
        is_numeric = array.dtype.kind not in "USTV"
    except ValueError:  # lists of several lengths
        _check_rectangular(X, name)
        is_numeric = False
    return array if is_numeric else np.asarray(X, dtype=object)  # objects tell which cell is no number


def _check_rectangular(X: Sequence[Any], name: str) -> None:
    lengths = [len(row) if hasattr(row, "__len__") else None for row in X]
    for i, length in enumerate(lengths):
        if length != lengths[0]:
            raise ValueError(
                f"{name} must have rows of one length, but row {i} has {_count(length)} "
                f"and row 0 has {_count(lengths[0])}."
            )


def _count(length: int | None) -> str:
    return "a single value" if length is None else f"{length} values"


def check_rank(array: NDArray[Any], X: Any) -> None:
    if array.ndim == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead:\narray={array}.\n{RESHAPE_HINT}")
    if array.ndim == 1:
        if array.dtype.kind == "V" and array.dtype.names:
            raise ValueError(
                f"Expected 2D array, got a structured array with the fields {list(array.dtype.names)}: "
                "numpy.lib.recfunctions.structured_to_unstructured makes one column of each."
            )
        frame_hint = " A series becomes a frame of one column by X.to_frame()." if hasattr(X, "to_frame") else ""
        raise ValueError(f"Expected 2D array, got 1D array instead:\narray={array}.\n{RESHAPE_HINT}{frame_hint}")
    if array.ndim > 2:
        raise ValueError(
            f"Found array with dim {array.ndim}, while dim <= 2 is required. Its shape is {array.shape}; "
            "X.reshape(len(X), -1) makes one row of each first index."
        )


def estimator_name(estimator: object) -> str:
    """Tell what errors call an estimator, given by name or as an object."""
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def check_size(shape: tuple[int, ...], estimator: object) -> None:
    for count, what in zip(shape, ("sample", "feature"), strict=True):
        if count == 0:
            by = "" if estimator is None else f" by {estimator_name(estimator)}"
            raise ValueError(f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required{by}.")


def check_mask(mask: Any, name: str) -> None:
    if mask is np.ma.nomask:
        return
    step = max(1, CELLS_AT_A_TIME // mask.shape[1])
    for lo in range(0, len(mask), step):
        part = mask[lo : lo + step]
        if part.any():
            row, column = divmod(int(part.argmax()), mask.shape[1])
            raise ValueError(
                f"Input {name} has masked values: the first is at {place(lo + row, column, None)}. "
                f"Fill them in with {name}.filled(value), or drop their rows, beforehand."
            )
