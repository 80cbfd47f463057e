"""Fast squared distances of the rows of a panel to centers: pieces of kernels whose lanes are rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import simd
from .jit import kernel
from .micro import PANEL
from .simd import F32, Loop, int_


def _over_features(
    b: Any, w: int, panel: Any, d: Any, centers: list[Any], begin: list[Any], add: Callable[[Any, Any, Any], Any],
    fetched: tuple[Any, Any] | None,
) -> list[list[Any]]:  # fmt: skip
    """What add(row, center, sum) makes of `begin` over all features, for centers that share the loads of the rows."""
    vtype = simd.vector(F32, w)
    with Loop(b, int_(0), d, int_(1), begin) as features:
        if fetched is not None:
            simd.prefetch(b, b.add(fetched[0], b.mul(features.i, fetched[1])))
        here = simd.at(b, panel, b.mul(features.i, int_(PANEL * w)))
        rows = [simd.load(b, simd.at(b, here, v * w), vtype) for v in range(PANEL)]
        acc = []
        for i, center in enumerate(centers):
            c = simd.splat(b, b.load(simd.at(b, center, features.i)), w)
            acc += [add(row, c, features.values[PANEL * i + v]) for v, row in enumerate(rows)]
        features.next(acc)
    return [features.results[PANEL * i : PANEL * (i + 1)] for i in range(len(centers))]


def panel_distances(
    b: Any, w: int, panel: Any, d: Any, centers: list[Any], fetched: tuple[Any, Any] | None = None
) -> list[list[Any]]:
    """Squared distances of a panel [d][PANEL * w] to some packed centers at once.

    fetched: address to fetch from meanwhile, and its bytes per feature.
    """

    def add(row: Any, c: Any, total: Any) -> Any:
        difference = b.fsub(row, c)
        return simd.fma(b, difference, difference, total)

    zero = simd.const(simd.vector(F32, w), 0.0)
    return _over_features(b, w, panel, d, centers, [zero] * (PANEL * len(centers)), add, fetched)


def center_panel(
    b: Any, w: int, panel: Any, centered: Any, origin: Any, d: Any, fetched: tuple[Any, Any] | None = None
) -> list[Any]:
    """Subtract the origin from a panel; returns squared norms of its rows."""
    vtype = simd.vector(F32, w)
    with Loop(b, int_(0), d, int_(1), [simd.const(vtype, 0.0)] * PANEL) as features:
        if fetched is not None:
            simd.prefetch(b, b.add(fetched[0], b.mul(features.i, fetched[1])))
        middle = simd.splat(b, b.load(simd.at(b, origin, features.i)), w)
        place = b.mul(features.i, int_(PANEL * w))
        here, there = simd.at(b, panel, place), simd.at(b, centered, place)
        norms = []
        for v, norm in enumerate(features.values):
            y = b.fsub(simd.load(b, simd.at(b, here, v * w), vtype), middle)
            simd.store(b, y, simd.at(b, there, v * w))
            norms.append(simd.fma(b, y, y, norm))
        features.next(norms)
    return features.results


def panel_products(
    b: Any, w: int, centered: Any, begin: list[Any], d: Any, centers: list[Any],
    fetched: tuple[Any, Any] | None = None,
) -> list[list[Any]]:  # fmt: skip
    """The same by products, half as many operations, of a panel less the origin.

    begin: what each row starts with, such as its squared norm; centers: addresses of -2 times a center less the origin,
    and of a number behind that, such as its squared norm, which is added.
    """
    behind = [simd.splat(b, b.load(simd.at(b, center, d)), w) for center in centers]
    start = [b.fadd(value, number) for number in behind for value in begin]
    return _over_features(b, w, centered, d, centers, start, lambda row, c, total: simd.fma(b, row, c, total), fetched)


def several(b: Any, w: int, count: Any, body: Any) -> None:
    """body(numbers) for the centers 0, 1, ... count: as many at a time as registers hold panels for."""
    in_turn(b, (4, 2, 1) if w == 16 else (2, 1), count, body)


def in_turn(b: Any, sizes: tuple[int, ...], count: Any, body: Any) -> None:
    """body(numbers) for 0, 1, ... count, so many at a time: powers of two, from the largest down to one."""
    start = int_(0)
    for together in sizes:
        stop = b.and_(count, int_(-together))
        with Loop(b, start, stop, int_(together), []) as loop:
            body([b.add(loop.i, int_(e)) for e in range(together)])
            loop.next([])
        start = stop


@kernel
def panel_bounds(relative, a, floor):
    """Above and least: where the true value is v, the fast one is at most ``above * v + least``, and vice versa.

    The bound grows by 2.1 a sqrt(v), which is at most relative * v + (2.1 a)^2 / (4 relative).
    """
    return np.float32(1.0 + 3.0 * relative + 1e-6), np.float32(2.0 * a * a + floor + 1.2 * a * a / relative)
