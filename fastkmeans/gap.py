"""The gap statistic's references: what a sweep gives on data without clusters (Tibshirani, Walther & Hastie 2001).

References are drawn uniformly from the box that the data fills along its principal axes. Inertia does not depend on
rotations, so the box is never turned back. Its sides are rounded to 20 bits before anything is drawn: the axes come
from LAPACK, whose last bits differ from one machine to the next, and the references are not to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .data import Data
from .points import Points, as_points
from .sweep import sweep

REFERENCE_ROWS = 10_000  # in a reference, at most: inertia per row hardly depends on more of them
SIDE_BITS = 20
BLOCK_VALUES = 1 << 20


def principal_box(points: Points) -> NDArray[np.float64]:
    """Sides of the box along the principal axes of the rows; those without extent are left out.

    The axes are those of at most `REFERENCE_ROWS` rows, evenly spaced; the sides hold all rows.
    """
    n, d = points.n_samples, points.n_features
    some = points.take(np.arange(0, n, -(-n // REFERENCE_ROWS)))
    middle = some.mean(axis=0)
    some -= middle
    widest = np.abs(some).max()
    if widest == 0.0:
        return np.empty(0)
    axes = np.linalg.svd(some / widest, full_matrices=False)[2]
    low, high = np.full(len(axes), np.inf), np.full(len(axes), -np.inf)
    for _, _, rows in points.ranges(max(1, BLOCK_VALUES // d)):
        turned = ((rows.astype(np.float64) - middle) / widest) @ axes.T
        np.minimum(low, turned.min(axis=0), out=low)
        np.maximum(high, turned.max(axis=0), out=high)
    sides = high - low
    sides[sides < 2.0**-SIDE_BITS * sides.max()] = 0.0
    mantissa, exponent = np.frexp(sides)
    return np.ldexp(np.rint(np.ldexp(mantissa, SIDE_BITS)), exponent - SIDE_BITS)[sides > 0.0] * widest


def reference_curves(
    points: Points,
    ks: Sequence[int],
    seed: np.random.SeedSequence,
    n_references: int,
    *,
    max_iter: int,
    tol: float,
    n_threads: int | None,
) -> NDArray[np.float64]:
    """Log of the inertia per row of every reference for every k, (n_references, len(ks)).

    Reference b is drawn by the Philox generator of the b-th sequence spawned from `seed`.
    """
    sides = principal_box(points)
    n = min(points.n_samples, REFERENCE_ROWS)
    curves = np.empty((n_references, len(ks)))
    for b, child in enumerate(seed.spawn(n_references)):
        of_rows, of_sweep = child.spawn(2)
        rows = np.random.Generator(np.random.Philox(of_rows)).random((n, len(sides))) * sides
        data = Data(as_points(rows), None, n_threads)
        results = sweep(data, ks, of_sweep, max_iter=max_iter, tol=tol)
        curves[b] = [log_inertia(result.inertia, n) for result in results]
    return curves


def log_inertia(inertia: float, n_samples: int) -> float:
    """Log of the inertia per row; minus infinity where it is zero."""
    return float(np.log(inertia) - np.log(n_samples)) if inertia > 0.0 else -np.inf
