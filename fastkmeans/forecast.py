"""A forecast of what steps of k-means++ will take, by a sample of the rows, so that no table is made of the rest.

A forecast has no influence on what is chosen: where it is wrong, the next table comes sooner.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .byte_rows import ByteRows
from .data import Data
from .distance_table import Packing, fast_distances, vector_for
from .kernels import seeding as draws

ROWS = 1024  # of a sample (measured: with half of them every fourth table was a step short)


class Sample:
    """Some rows of X, evenly spaced.

    Parameters
    ----------
    data : Data
    width : int
        Lane width.
    n_lanes : int
    byte_rows : ByteRows or None
        The rows, where they are such.
    """

    def __init__(self, data: Data, width: int, n_lanes: int, byte_rows: ByteRows | None) -> None:
        self.data, self.width, self.n_lanes = data, width, n_lanes
        self.numbers = np.arange(0, data.n, max(1, data.n // ROWS))[:ROWS]
        self.bytes = None if byte_rows is None else byte_rows.part(self.numbers)
        X = data.points.direct
        # only rows that lie as the kernels of tables know them: others would be compiled for
        self.rows: NDArray[Any] | None = None
        if X is not None and X.flags.c_contiguous and self.bytes is None:
            self.rows = X[self.numbers]
            self.rows.flags.writeable = False  # as X is: to kernels, of another type otherwise

    def wanted(
        self, packing: Packing, most: int, n_steps: int, n_candidates: int, proposals: NDArray[np.int64],
        inside: NDArray[np.int64], flags: NDArray[np.uint8], nearest_sq: NDArray[np.float64],
        scale: tuple[float, float], state: NDArray[np.int64],
    ) -> NDArray[np.int64]:  # fmt: skip
        """Numbers of the proposals that the next steps will take, `most` of them at most.

        Parameters
        ----------
        packing : Packing
        most, n_steps, n_candidates : int
            Of those steps; candidates of each.
        proposals, inside, flags : ndarray
            Rows, where in their potential, and whether they are accepted as things stand.
        nearest_sq : ndarray of float64, shape (n,)
        scale : tuple of float
            Of frozen potentials.
        state : ndarray of int64
            See kernels/seeding.py.
        """
        accepted = np.flatnonzero(flags)
        if len(accepted) < n_candidates or (self.rows is None and self.bytes is None):
            return accepted[:most]
        data, unit = self.data, 1.0
        proposed = data.points.take(proposals)
        if self.bytes is not None:
            table = self.bytes.table(proposed[accepted], self.width).astype(np.float32)
        else:
            assert self.rows is not None
            table = np.empty((len(self.rows), -(-len(accepted) // self.width) * self.width), np.float32)
            fast_distances(packing, self.width, self.n_lanes, self.rows, proposed[accepted], table)
            unit = packing.frame.scale
        near = (nearest_sq[self.numbers] * unit * unit).astype(np.float32)
        weights = data.weights[self.numbers].astype(np.float64) if data.weighted else np.ones(len(near))
        state, taken, places = state.copy(), np.empty(n_candidates, np.int64), np.arange(len(proposals))
        own, labels = nearest_sq[proposals], np.zeros(len(proposals), np.int32)
        column, wanted = np.cumsum(flags) - 1, np.zeros(len(proposals), bool)  # of the table, of those accepted
        for _ in range(min(n_steps, most // n_candidates)):
            if draws.collect(places, inside, own, *scale, n_candidates, state, taken) < n_candidates:
                break
            wanted[taken] = True
            found = table[:, column[taken]]
            best = int((weights @ np.maximum(near[:, None] - found, np.float32(0.0))).argmax())
            np.minimum(near, found[:, best], out=near)
            winner = int(taken[best])
            draws.bring_nearer(proposed, places, proposed[winner : winner + 1], 0, own, labels)
        # what a vector holds besides costs nothing, and serves where the forecast is wrong
        count = int(wanted.sum())
        width = vector_for(count, self.width)
        room = min(most, -(-count // width) * width) - count
        wanted[accepted[~wanted[accepted]][:room]] = True
        return np.flatnonzero(wanted)
