"""Potentials as they were frozen at some time: rows are proposed by them."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, field_exponent, new_counter, power_pair
from .kernels import parallel_seeding
from .kernels import seeding as draws


class Frozen:
    """The potentials as they were at some time: proposals are drawn by them."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.nearest_sq = np.empty(data.n)
        self.sums = np.zeros((-(-data.n // draws.BLOCK), draws.DIGITS), np.int64)

    def freeze(self, nearest_sq: NDArray[np.float64]) -> bool:
        """Freeze the potentials of these distances; False where there is nothing left of them."""
        data = self.data
        largest = float(nearest_sq.max())
        if largest == 0.0:
            return False
        self.exponent = max(field_exponent(largest) - draws.BITS, -1074)
        self.scale = power_pair(-self.exponent)
        shared = (nearest_sq, data.weights, new_counter(), *self.scale, self.nearest_sq, self.sums)
        threads.share(data.lanes(8.0 * data.n, data.n), parallel_seeding.freeze_parallel, draws.freeze_lane, shared)
        if data.weighted:
            sums = [low + (middle << 32) + (high << 64) + (top << 96) for low, middle, high, top in self.sums.tolist()]
        else:  # BLOCK potentials of BITS bits
            sums = (self.sums[:, 0] + (self.sums[:, 1] << 32)).tolist()
        self.prefix = list(accumulate(sums))
        self.total = self.prefix[-1]
        return True

    def propose(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that pairs of words stand for, and how far inside the potential of a unit of weight each lies."""
        blocks, left = [], []
        for high, low in words.tolist():
            target = ((high << 64 | low) * self.total) >> 128
            block = bisect_right(self.prefix, target)
            blocks.append(block)
            left.append(target - (self.prefix[block - 1] if block else 0))
        rows, inside = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        above = np.array([t >> 64 for t in left], np.uint64)
        below = np.array([t & (2**64 - 1) for t in left], np.uint64)
        numbers = np.array(blocks, np.int64)
        draws.locate_all(self.nearest_sq, self.data.weights, numbers, *self.scale, above, below, rows, inside)
        return rows, inside
