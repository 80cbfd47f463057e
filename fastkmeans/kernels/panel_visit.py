"""The visit of rows of few features for a number of candidates, without any filter: lanes = rows.

With few features a fast distance costs less than to find out whether it is wanted.  Pairs that it does not dismiss are
decided by the canonical value, and listed as visit.py has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .micro import PANEL
from .pack import STRIP, pack_strip, panel_size
from .panel_distances import center_panel, panel_bounds, panel_distances, panel_products, several
from .simd import F32, F64, Loop, fetch_add, int_, lowest_bit
from .visit import VISIT, record


def _limits(b: Any, w: int, nearest_sq: Any, squares: list[Any], above: Any, least: Any) -> list[Any]:
    """Beyond which fast value a center is no nearer to each of a panel's rows than what is there, float64."""
    limits = []
    for v in range(PANEL):
        value = simd.load(b, simd.at(b, nearest_sq, v * w), simd.vector(F64, w))
        for factor in squares:
            value = b.fmul(value, simd.splat(b, factor, w))
        present = b.fptrunc(value, simd.vector(F32, w))
        limits.append(simd.fma(b, present, simd.splat(b, above, w), simd.splat(b, least, w)))
    return limits


@intrinsic
def _panel_within(
    typingctx, width, panels, p0, d, centers, n_centers, origin, by_products, centered, nearest_sq, i0, whole, last_sq,
    square0, square1, above, least, keeps, masks, ahead, step,
):  # fmt: skip
    """Which rows of the panel at p0 each center may be nearer to: masks (n_centers,) int64 OUT, a bit for each row.

    centers: [center][d], or by_products [center][d + 1] as panel_products has them, and behind them what is left of
    their squared norms where all that can be lost is lost; keeps: the factor by which that is less, for rows; last_sq:
    the canonical distances of a panel that is not whole.  The rest as in panel_gains._panel_nearest, _panel_products.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        t = signature.args
        pp, pc, po, py, pn, pl, pm = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 6, 8, 9, 12, 18))
        d_, n, panel = args[3], args[5], simd.at(b, pp, args[2])
        nought, one = int_(0), int_(1)
        at_nearest = b.select(args[11], simd.at(b, pn, args[10]), pl)
        limits = _limits(b, w, at_nearest, list(args[13:15]), args[15], args[16])
        # what follows is asked for first
        with Loop(b, nought, d_, one, []) as features:
            address = b.add(args[19], b.mul(features.i, args[20]))
            for line in range(PANEL):
                simd.prefetch(b, b.add(address, int_(64 * line)))
            features.next([])

        def note(numbers: list[Any], values: list[list[Any]]) -> None:
            """Where values are negative."""
            for number, mine in zip(numbers, values, strict=True):
                mask = nought
                for v, value in enumerate(mine):
                    mask = b.or_(mask, b.shl(simd.signs(b, value), int_(v * w)))
                b.store(mask, simd.at(b, pm, number))

        def differences(numbers: list[Any]) -> None:
            centers = [simd.at(b, pc, b.mul(number, d_)) for number in numbers]
            found = panel_distances(b, w, panel, d_, centers)
            note(numbers, [[b.fsub(x, y) for x, y in zip(values, limits, strict=True)] for values in found])

        with b.if_else(args[7]) as (products, otherwise):
            with products:
                norms = center_panel(b, w, panel, py, po, d_)
                kept = simd.splat(b, args[17], w)
                begin = [b.fsub(b.fmul(norm, kept), limit) for norm, limit in zip(norms, limits, strict=True)]

                def by_products(numbers: list[Any]) -> None:
                    centers = [simd.at(b, pc, b.mul(number, b.add(d_, one))) for number in numbers]
                    note(numbers, panel_products(b, w, py, begin, d_, centers))

                several(b, w, n, by_products)
            with otherwise:
                several(b, w, n, differences)
        return context.get_dummy_value()

    i8, f4, f8 = types.int64, types.float32, types.float64
    return types.void(
        width, panels, i8, i8, centers, i8, origin, types.boolean, centered, nearest_sq, i8, types.boolean, last_sq, f8,
        f8, f4, f4, f4, masks, i8, i8
    ), codegen  # fmt: skip


@kernel(allocates=True)
def panel_candidates_lane(
    width, X, counter, nearest_sq, offset, square0, square1, relative, a, floor, pack_scale, shift, centers, origin,
    by_products, slack, candidates, first_slot, ahead, step, entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """List the rows that come nearer to each candidate, and their distances.

    X (n, d) any dtype, nearest_sq (n,) float64: canonical distance to the nearest seed, offset: number of the first
    row; square0, square1: the packing scale, twice; relative, a, floor: bounds of fast distances; pack_scale, shift:
    how rows are packed, centers [M][d]: candidates packed alike, or by_products [M][d + 1]: see _panel_within; origin
    (d,) float32: subtracted there; slack: what products may be off by, in units of the sum of two squared norms;
    candidates (M, d) float64; first_slot: number of the first one's list; ahead, step: address of X and bytes of a
    panel's rows per feature to prefetch, or 0 IN; counter (1,) int64 INOUT; entry_rows, entry_slots, entry_values
    (room,) OUT, count (2,) int64 INOUT: entries, more than there is room for where they are incomplete, and rows that
    were looked at.
    """
    n, d = X.shape
    M = candidates.shape[0]
    w = len(width)
    points = PANEL * w
    size = panel_size(w, d)
    block = VISIT // points * points
    rows, panels = np.zeros(STRIP * points * d + 4, np.float32), np.empty(STRIP * size, np.float32)
    masks, last_sq = np.empty(M, np.int64), np.zeros(points)
    centered = np.empty(size if by_products else 0, np.float32)
    above, least = panel_bounds(relative, a, floor)
    if by_products:
        above = np.float32(above * (1.0 + slack))
    keeps = np.float32(1.0 - slack)
    while True:
        lo = fetch_add(counter, block)
        if lo >= n:
            break
        hi = min(lo + block, n)
        count[1] += hi - lo
        for i in range(lo, hi, STRIP * points):
            last = min(i + STRIP * points, hi)
            pack_strip(width, X, i, last, pack_scale, shift, rows, panels)
            for t in range((last - i + points - 1) // points):
                at = i + t * points
                following = ahead + (at + STRIP * points) * X.strides[0]
                whole = at + points <= n
                if not whole:
                    for r in range(n - at):
                        last_sq[r] = nearest_sq[at + r]
                _panel_within(
                    width, panels, t * size, d, centers, M, origin, by_products, centered, nearest_sq, at, whole,
                    last_sq, square0, square1, above, least, keeps, masks, following, step,
                )  # fmt: skip
                for q in range(M):
                    mask = masks[q]
                    while mask != 0:
                        i_row = np.uint64(at + lowest_bit(mask))
                        mask &= mask - 1
                        if i_row >= np.uint64(n):
                            break
                        s = 0.0
                        for j in range(np.uint64(d)):
                            t_ = np.float64(X[i_row, j]) - candidates[q, j]
                            s += t_ * t_
                        if s < nearest_sq[i_row]:
                            record(
                                offset + np.int64(i_row),
                                first_slot + q,
                                s,
                                entry_rows,
                                entry_slots,
                                entry_values,
                                count,
                            )
