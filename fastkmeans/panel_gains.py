"""Visits of rows of few features while k-means++ lists nothing: what candidates of two steps leave of the potential."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, filled, new_counter
from .distance_table import Products
from .kernels import panel_gains as kernels
from .kernels import simd
from .passes import ahead

PRODUCT_FEATURES = 5  # features below which products of rows and candidates save little
PRODUCT_SHARE = 5e-5  # of the potential, at most, is lost by them
FRESH = 2  # seeds that a visit takes into account, at most


class PanelGains:
    """Float32 distances of all rows to the nearest seed, and sums of what candidates leave of them.

    Parameters
    ----------
    data : Data
    products : Products
        Less the first seed.
    width, n_lanes : int
    nearest_sq : ndarray of float64, shape (n,)
        Canonical squared distances to the nearest seed that is settled.
    labels : ndarray of int32, shape (n,)
        Which that is.
    """

    def __init__(
        self, data: Data, products: Products, width: int, n_lanes: int, nearest_sq: NDArray[np.float64],
        labels: NDArray[np.int32],
    ) -> None:  # fmt: skip
        self.data, self.products, self.packing = data, products, products.packing
        self.width, self.n_lanes = width, n_lanes
        self.nearest_sq, self.labels = nearest_sq, labels
        self.near: NDArray[np.float32]
        self.nearest: NDArray[np.uint8]
        self.spread = np.inf  # a bound of the potential with the first seed alone, once it is known
        self.lost = 0.0  # by how much products may have changed a sum of the last visit
        self.known: int  # seeds that `near` knows of; 0 means none, and what is settled is to be looked up
        self.forget()

    def sums(
        self, seeds: NDArray[np.float64], n_settled: int, candidates: NDArray[np.float64], n_second: int,
        weight_unit: float, settling: bool, potential: float = 0.0,
    ) -> NDArray[np.float64]:  # fmt: skip
        """The potential; what each candidate leaves of it; what each of the second step leaves after each of the first.

        Parameters
        ----------
        seeds : ndarray of float64, shape (t, d)
            All there are: FRESH at most since the last visit, and kernels.MOST_UNSETTLED that are not settled.
        n_settled : int
            The first of them that nearest_sq and labels know of.
        candidates : ndarray of float64, shape (M, d)
        n_second : int
            The last so many of them are of the second step.
        weight_unit : float
            A power of two to scale weights by.
        settling : bool
            Whether nearest_sq and labels know of all seeds afterwards.
        potential : float
            No less than that is; products are taken where they lose little of it.
        """
        data, packing, d = self.data, self.packing, self.data.d
        scale, n_first = packing.frame.scale, len(candidates) - n_second
        if self.known == 0:
            self._look_up(n_settled)
        fresh, unsettled = seeds[self.known :], seeds[n_settled:]
        centers = np.concatenate([packing.pack(fresh), packing.pack(candidates)])
        table = np.zeros((d, kernels.TABLE), np.float32)
        table[:, : len(unsettled)] = packing.pack(unsettled).T
        products = self._by_products(candidates, weight_unit, potential)
        out = np.zeros((self.n_lanes, 1 + n_first * (1 + n_second)))
        for lo, hi, rows in data.ranges(2.0 * d * (len(candidates) + 1)):
            shared = (
                simd.lanes(self.width), self.n_lanes, packing.exact, settling, rows, data.weights_of(lo, hi),
                new_counter(), self.near[lo:hi], self.nearest[lo:hi], self.known - n_settled + 1,
                self.nearest_sq[lo:hi], self.labels[lo:hi], unsettled, table, n_settled, packing.scale,
                packing.tiled_shift, scale, scale, *packing.bounds, weight_unit, centers.reshape(-1), len(fresh),
                n_first, n_second, self.products.origin, products, *ahead(rows, 3 * self.width),
            )  # fmt: skip
            threads.share(self.n_lanes, kernels.panel_gains_lane, shared, (out,))
        self.known = len(seeds)
        return out.sum(axis=0)

    def _by_products(
        self, candidates: NDArray[np.float64], weight_unit: float, potential: float
    ) -> NDArray[np.float32]:
        """Candidates as `kernels.panel_products` wants them, and `lost`; none where much is lost, or nothing saved."""
        self.lost = 0.0
        if self.data.d < PRODUCT_FEATURES or not len(candidates):
            return np.empty(0, np.float32)
        products, squares = self.products.of(candidates)
        weight = self.data.total_weight * weight_unit
        lost = self.products.error * (self.spread + weight * float(squares.max()))
        if not lost <= PRODUCT_SHARE * potential:
            return np.empty(0, np.float32)
        self.lost = lost
        return np.column_stack([products, squares]).astype(np.float32).reshape(-1)

    @staticmethod
    def is_full(n_unsettled: int) -> bool:
        """Whether there is no room for what may be chosen after one more visit: all is to be settled first."""
        return n_unsettled + FRESH > kernels.MOST_UNSETTLED

    def _look_up(self, n_settled: int) -> None:
        data, scale = self.data, self.packing.frame.scale
        self.known = n_settled
        self.near, self.nearest = filled(data.n, np.inf, np.float32), np.zeros(data.n, np.uint8)
        if n_settled:
            self.near[:] = self.nearest_sq * scale * scale
        elif data.weighted:
            self.near[data.weights == 0] = 0.0

    def forget(self) -> None:
        """Others have settled seeds, or are about to: what is kept for every row is looked up when next asked for."""
        self.known = 0
        self.near, self.nearest = np.empty(0, np.float32), np.empty(0, np.uint8)
