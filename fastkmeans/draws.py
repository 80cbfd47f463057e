"""Random words: what all draws of rows are made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Stream:
    """Pairs of random 64-bit words, which can be looked at before they are used up."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.words = np.empty((0, 2), np.uint64)

    def look(self, count: int) -> NDArray[np.uint64]:
        """The next `count` pairs, (count, 2)."""
        missing = count - len(self.words)
        if missing > 0:
            more = self.rng.integers(0, 2**64, dtype=np.uint64, size=(max(missing, 64), 2))
            self.words = np.concatenate([self.words, more])
        return self.words[:count]

    def use(self, count: int) -> None:
        self.words = self.words[count:]

    def uniform(self, total: int) -> int:
        """An integer drawn uniformly from [0, total), from one pair."""
        ((high, low),) = self.look(1).tolist()
        self.use(1)
        return ((high << 64 | low) * total) >> 128
