"""Potentials as they were frozen at some time, by which rows are proposed; which candidates may lower them most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, field_exponent, new_counter, power_pair
from .kernels import seeding as draws


class Frozen:
    """The potentials as they were at some time: proposals are drawn by them."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.nearest_sq = np.empty(data.n)
        self.sums = np.zeros((-(-data.n // draws.BLOCK), draws.DIGITS), np.int64)
        self.running = np.empty_like(self.sums)

    def freeze(self, nearest_sq: NDArray[np.float64]) -> bool:
        """Freeze the potentials of these distances; False where there is nothing left of them."""
        data = self.data
        largest = float(nearest_sq.max())
        if largest == 0.0:
            return False
        self.exponent = max(field_exponent(largest) - draws.BITS, -1074)
        self.scale = power_pair(-self.exponent)
        shared = (nearest_sq, data.weights, new_counter(), *self.scale, self.nearest_sq, self.sums)
        threads.share(data.lanes(8.0 * data.n, data.n), draws.freeze_lane, shared)
        draws.running_sums(self.sums, self.running)
        self.total = sum(digit << (32 * t) for t, digit in enumerate(self.running[-1].tolist()))
        return True

    def propose(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that pairs of words stand for, and how far inside the potential of a unit of weight each lies."""
        rows, inside = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        draws.propose(words, self.running, self.nearest_sq, self.data.weights, *self.scale, rows, inside)
        return rows, inside


def doubtful(gains: NDArray[np.float64], errors: NDArray[np.float64]) -> list[int]:
    """Numbers of the candidates that may have the highest gain."""
    best = int(gains.argmax())
    return [c for c in range(len(gains)) if not gains[c] + errors[c] < gains[best] - errors[best]]


def different(numbers: list[int], candidates: NDArray[np.float64]) -> list[int]:
    """Those of some candidates that do not equal an earlier one: of equal candidates the first wins."""
    return [c for i, c in enumerate(numbers) if not any((candidates[c] == candidates[b]).all() for b in numbers[:i])]
