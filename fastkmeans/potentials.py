"""Potentials as they were frozen at some time, by which rows are proposed; which candidates may lower them most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, field_exponent, new_counter, power_pair
from .kernels import seeding as draws

NO_ROWS = np.empty(0, np.int64)


class Frozen:
    """The potentials as they were at some time: proposals are drawn by them.

    The distances are copied when they are to change.  Until then those of rows proposed are remembered, which alone may
    have changed already.
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.sums = np.zeros((-(-data.n // draws.BLOCK), draws.DIGITS), np.int64)
        self.running = np.empty_like(self.sums)
        self.copy = np.empty(0)  # room for one
        self.drop()

    def drop(self) -> None:
        """Nothing will be proposed by these potentials any more."""
        self.nearest_sq = np.empty(0)
        self.changed, self.values = NO_ROWS, np.empty(0)

    def freeze(
        self, nearest_sq: NDArray[np.float64], *, copied: bool = True, proposed: NDArray[np.int64] = NO_ROWS
    ) -> bool:
        """Freeze the potentials of these distances; False where there is nothing left of them.

        Unless they are copied, `keep` has to be called before they change for other rows than those proposed, before or
        from now on.
        """
        data = self.data
        n_lanes = data.lanes(50.0 * data.n, data.n)  # a row takes as long as so many multiply-adds: memory is slow
        tops = np.zeros((n_lanes, 1))
        threads.share(n_lanes, draws.largest_lane, (nearest_sq, new_counter()), (tops,))
        largest = float(tops.max())
        self.drop()
        if largest == 0.0:
            return False
        self.exponent = max(field_exponent(largest) - draws.BITS, -1074)
        self.scale = power_pair(-self.exponent)
        if copied and not len(self.copy):
            self.copy = np.empty(data.n)
        copy = self.copy if copied else self.copy[:0]
        threads.share(
            n_lanes, draws.freeze_lane, (nearest_sq, data.weights, new_counter(), *self.scale, copy, self.sums)
        )
        self.nearest_sq = copy if copied else nearest_sq
        self._remember(proposed)
        draws.running_sums(self.sums, self.running)
        self.total = sum(digit << (32 * t) for t, digit in enumerate(self.running[-1].tolist()))
        return True

    def keep(self) -> None:
        """Copy the distances, if that was not done."""
        if self.nearest_sq is not self.copy and len(self.nearest_sq):
            self.copy = self.nearest_sq.copy()
            self.copy[self.changed] = self.values
            self.nearest_sq = self.copy

    def propose(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that pairs of words stand for, and how far inside the potential of a unit of weight each lies."""
        rows, inside = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        copied = self.nearest_sq is self.copy
        if not copied:
            now = self.nearest_sq[self.changed]
            self.nearest_sq[self.changed] = self.values
        draws.propose(words, self.running, self.nearest_sq, self.data.weights, *self.scale, rows, inside)
        if not copied:
            changed = self.changed
            self._remember(rows)
            self.nearest_sq[changed] = now
        return rows, inside

    def _remember(self, rows: NDArray[np.int64]) -> None:
        """The distances of these rows, which are as they were frozen."""
        if self.nearest_sq is not self.copy:
            self.changed = np.concatenate([self.changed, rows])
            self.values = np.concatenate([self.values, self.nearest_sq[rows]])


def doubtful(gains: NDArray[np.float64], errors: NDArray[np.float64]) -> list[int]:
    """Numbers of the candidates that may have the highest gain."""
    best = int(gains.argmax())
    return [c for c in range(len(gains)) if not gains[c] + errors[c] < gains[best] - errors[best]]


def different(numbers: list[int], candidates: NDArray[np.float64]) -> list[int]:
    """Those of some candidates that do not equal an earlier one: of equal candidates the first wins."""
    return [c for i, c in enumerate(numbers) if not any((candidates[c] == candidates[b]).all() for b in numbers[:i])]
