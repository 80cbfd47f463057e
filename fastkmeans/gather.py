"""Copies of some rows of an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads

GATHER_BYTES = 1 << 22  # to copy, below which a thread more does not pay
RANGE_BYTES = 2 << 20  # copied at a time where NumPy makes a copy of its own


class Room:
    """Memory for one copy of rows after another: the system takes longer to hand out fresh memory than to copy rows."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def rows(self, count: int, d: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array of shape (count, d), the same memory every time."""
        size = count * d * dtype.itemsize
        if size > len(self._bytes):
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size].view(dtype).reshape(count, d)


def gathered(array: NDArray[Any], key: NDArray[np.intp], n_threads: int, room: Room | None) -> NDArray[Any]:
    """``array[key]``, by several threads where there is much to copy: waiting for memory is most of it."""
    shape = len(key), array.shape[1]
    rows = np.empty(shape, array.dtype) if room is None else room.rows(*shape, array.dtype)
    n_lanes = n_threads if rows.nbytes > GATHER_BYTES else 1
    cuts = [len(key) * lane // n_lanes for lane in range(n_lanes + 1)]

    def gather(lane: int) -> None:
        lo, hi = cuts[lane], cuts[lane + 1]
        if array.flags.c_contiguous:
            np.take(array, key[lo:hi], axis=0, out=rows[lo:hi], mode="clip")  # "raise" would copy once more
            return
        step = max(1, RANGE_BYTES // (array.itemsize * array.shape[1]))  # np.take would copy the array
        for start in range(lo, hi, step):
            stop = min(start + step, hi)
            rows[start:stop] = array[key[start:stop]]

    threads.on_python_threads(n_lanes, gather)
    return rows
