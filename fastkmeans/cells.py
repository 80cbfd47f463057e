"""One cell of the user's data: is it a real number, and how does an error name its place.

The edge modules (`points`, `frames`, `weights`) all meet Python objects where numbers should be: in object arrays, in
object columns of a data frame, in lists. What counts as a real number, how it becomes a float64, and what an error says
about a cell that is none, is decided here and nowhere else.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["first_not_real", "place", "raise_missing", "raise_not_real", "to_floats"]

CELLS_AT_A_TIME = 1 << 16


def place(row: int, column: int, feature_names: Sequence[object] | None) -> str:
    """Name a cell in an error: ``row 3, column 'height'``, or the column's number where it has no text for a name."""
    label = None if feature_names is None else feature_names[column]
    return f"row {row}, column {str(label)!r}" if isinstance(label, str) else f"row {row}, column {column}"


def _is_real(kind: type) -> bool:
    if issubclass(kind, np.generic):
        return issubclass(kind, (np.floating, np.integer, np.bool_)) and not issubclass(kind, np.timedelta64)
    if issubclass(kind, (numbers.Real, Decimal)):
        return True
    # Number types of other packages; containers (an array of one element has __float__) are no cells.
    return hasattr(kind, "__float__") and not hasattr(kind, "__len__")


def first_not_real(objects: NDArray[np.object_]) -> tuple[int, int, Any] | None:
    """Find the first cell, row by row, that does not hold a real number.

    Parameters
    ----------
    objects : ndarray of object, shape (n, d)

    Returns
    -------
    (row, column, value) or None
    """
    n_rows, n_columns = objects.shape
    step = max(1, CELLS_AT_A_TIME // n_columns)
    for lo in range(0, n_rows, step):
        block = objects[lo : lo + step]
        strange = {kind for kind in set(map(type, block.flat)) if not _is_real(kind)}
        if strange:
            at = next(i for i, value in enumerate(block.flat) if type(value) in strange)
            row, column = divmod(at, n_columns)
            return lo + row, column, block[row, column]
    return None


def to_floats(objects: NDArray[np.object_]) -> NDArray[np.float64]:
    """Convert real numbers (checked before by `first_not_real`) to float64; what exceeds its range is infinite."""
    try:
        return objects.astype(np.float64)
    except OverflowError:  # an int, Fraction or the like of more than 308 digits
        return np.array([_to_float(value) for value in objects.flat], dtype=np.float64).reshape(objects.shape)


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("-inf") if value < 0 else float("inf")


def raise_missing(name: str, where: str, what: str) -> NoReturn:
    """Raise the ValueError for a cell that holds no value (None, pandas NA, a null)."""
    raise ValueError(
        f"Input {name} contains NaN.\n"
        f"The first is at {where}, which is missing ({what}). Every value must be a finite number: "
        "drop the rows with missing values, or fill them in, beforehand."
    )


def raise_not_real(name: str, where: str, value: Any) -> NoReturn:
    """Raise the error for a cell that `first_not_real` found: what came, where, and what to do.

    Raises
    ------
    ValueError
        For missing values, text and complex numbers.
    TypeError
        For any other object.
    """
    kind = type(value).__name__
    if value is None or kind in ("NAType", "NaTType"):
        raise_missing(name, where, str(value))
    if isinstance(value, complex | np.complexfloating):
        raise ValueError(
            f"Complex data not supported\n{name} holds the complex number {value} at {where}. "
            "Pass real and imaginary parts as features of their own."
        )
    if isinstance(value, str | bytes):
        raise ValueError(
            f"{name} must hold real numbers, but {where} holds the text {_short(value)}. "
            "Convert text to numbers explicitly, or leave such features out."
        )
    # The wording of float() itself, for whoever filters on it.
    raise TypeError(
        f"{name} must hold real numbers, but {where} holds {_short(value)}: "
        f"float() argument must be a string or a real number, not {kind!r}"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
