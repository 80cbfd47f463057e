"""Greedy k-means++ on compressed rows: the rows that `plusplus` would choose of the same rows in dense form.

Every step is taken by itself, in one visit of the rows: dot products with the candidates in float64 estimate their
gains, and with the seed chosen last they tell which rows it may be nearer to.  What decides is exact, as it is there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import new_counter
from .kernels import seeding as draws
from .kernels import sparse_gains as kernels
from .plusplus import Seeding
from .sparse import CsrRows


class SparseSeeding(Seeding):
    """`Seeding` of data whose rows are compressed."""

    def _steps(self) -> None:
        self._propose(self.L)
        self._step_directly()

    def settle(self) -> None:
        if self.unsettled:
            self._settle_exactly()

    def _settle_exactly(self) -> None:
        self._estimate(np.empty((0, self.data.d)))

    def _seed(self) -> CsrRows:
        """The row chosen last."""
        sparse = self.data.points.sparse
        assert sparse is not None
        t = int(self.state[draws.CHOSEN]) - 1
        return sparse.rows(self.chosen[t : t + 1].astype(np.intp))

    def _table(self, candidates: NDArray[np.float64], first: int) -> tuple[NDArray[Any], int, NDArray[np.float64]]:
        """Candidates feature by feature from column `first` on, how many columns there are, and their squared norms."""
        L, d = candidates.shape
        padded = -(-(L + first) // 8) * 8
        table, squares = np.zeros((d, padded)), np.full(padded, np.inf)
        table[:, first : L + first] = candidates.T
        squares[first : L + first] = (candidates * candidates).sum(axis=1)
        return table, padded, squares

    def _bounds(self) -> tuple[float, float]:
        """Error of a squared distance per ``|x|^2 + |c|^2``, and what underflow adds, of dot products and canonical."""
        sparse = self.data.points.sparse
        assert sparse is not None
        most = int(np.diff(sparse.indptr).max())
        return (8 * most + 64 + 2 * self.data.d.bit_length()) * 2.0**-53, (8 * most + 64) * 2.0**-1074

    def _estimate(
        self, candidates: NDArray[np.float64], n_second: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        data = self.data
        L = len(candidates)
        seed = self._seed()
        table, padded, squares = self._table(candidates, 1)
        label = np.int32(-1)
        if self.unsettled:
            label = np.int32(self.state[draws.CHOSEN] - 1)
            table[seed.columns, 0] = seed.values
            squares[0] = (seed.values.astype(np.float64) ** 2).sum()
        relative, floor = self._bounds()
        weight_unit = 2.0 ** -int(data.weights.max()).bit_length() if data.weighted else 1.0
        gains = np.zeros((self.n_lanes, padded))
        for lo, hi, rows in data.sparse_ranges(4.0 * data.density * padded):
            shared = (
                *rows, data.weights_of(lo, hi), new_counter(), data.norms[lo:hi], table.reshape(-1), padded, squares,
                relative, floor, seed.columns, seed.values, label, self.nearest_sq[lo:hi], self.labels[lo:hi],
                weight_unit,
            )  # fmt: skip
            threads.share(self.n_lanes, kernels.sparse_gains_lane, shared, (gains,))
        self.unsettled = 0
        totals = gains.sum(axis=0)[1 : L + 1]
        if L == 0:
            return totals, totals
        with np.errstate(over="ignore", invalid="ignore"):
            if data.weighted:
                weights = data.weights * weight_unit
                weight, spread = float(weights.sum()), float((weights * data.norms).sum())
            else:
                weight, spread = float(data.n), float(data.norms.sum())
            # of the terms, of the potentials' grid (half a unit before and after), and of adding up
            errors = relative * (spread + weight * squares[1 : L + 1]) + weight * (
                floor + np.ldexp(1.0, self.frozen.exponent)
            )
            return totals, 1.01 * errors + (data.n + 64.0) * 2.0**-52 * totals

    def _exact_gains(self, candidates: NDArray[np.float64]) -> list[int]:
        data = self.data
        L = len(candidates)
        table, padded, squares = self._table(candidates, 0)
        which, columns = np.nonzero(candidates)
        starts = np.searchsorted(which, np.arange(L + 1)).astype(np.int64)
        sparse = data.points.sparse
        assert sparse is not None
        compressed = CsrRows(starts, columns.astype(sparse.index_dtype), candidates[which, columns])
        relative, floor = self._bounds()
        gains = np.zeros((self.n_lanes, L * draws.DIGITS), np.int64)
        for lo, hi, rows in data.sparse_ranges(4.0 * data.density * padded):
            shared = (
                *rows, data.weights_of(lo, hi), new_counter(), data.norms[lo:hi], table.reshape(-1), padded, squares,
                relative, floor, *compressed, self.nearest_sq[lo:hi], *self.frozen.scale,
            )  # fmt: skip
            threads.share(self.n_lanes, kernels.sparse_exact_gains_lane, shared, (gains,))
        digits = gains.reshape(self.n_lanes, L, draws.DIGITS).sum(axis=0).tolist()
        return [sum(digit << (32 * t) for t, digit in enumerate(row)) for row in digits]
