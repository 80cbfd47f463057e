"""Codes of rows for bounded passes: which data have them, and where they are kept; see kernels/row_codes.py."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Data
from .kernels.blocks import padded

# Whether rows leave codes; None: where they lie on disk.  In memory rows are read nearly in order, and what it takes to
# decode and to meet again costs more than that (AVX2): fits of embeddings took 4 % longer, those of noise 13 %.
CODES: bool | None = None
CALM = 0.05  # of the labels changed in the last pass, at most, where rows that are read leave codes
REST = 12  # bytes of a row besides its code: step, residual, anchor


def lies_on_disk(array: object) -> bool:
    """Whether an array is a view of a mapped file; what np.memmap computes is one by type alone."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def pay(data: Data, changed: float) -> bool:
    """Whether rows that are read leave codes, where the last pass changed this share of the labels."""
    size = data.n * (padded(data.d) + REST)
    wanted = lies_on_disk(data.points.direct) if CODES is None else CODES
    return wanted and changed <= CALM and size <= data.code_bytes


class RowCodes:
    """Rows as 8-bit differences from centers: where there are any.

    Parameters
    ----------
    n, size : int
        Rows, or none, and the bytes of each.
    scale : float
        Of the packed rows.
    anchors : ndarray of float32, flat (k * size,) or more
        Packed centers, which stay what they are here.
    """

    def __init__(self, n: int, size: int, scale: float, anchors: NDArray[np.float32]) -> None:
        self.size, self.scale, self.anchors = size, scale, anchors
        self.values = np.empty(n * size, np.int8)
        self.steps, self.residuals = np.empty((2, n), np.float32)
        self.anchored = np.full(n, -1, np.int32)

    @classmethod
    def none(cls) -> RowCodes:
        return cls(0, 0, 0.0, np.empty(0, np.float32))

    def of(self, lo: int, hi: int) -> tuple[Any, ...]:
        """Those of some rows, as elkan.bounded_lane wants them."""
        values = self.values[lo * self.size : hi * self.size]
        rest = (self.steps[lo:hi], self.residuals[lo:hi], self.anchored[lo:hi])
        return (self.anchors, values.ctypes.data, values, *rest)
