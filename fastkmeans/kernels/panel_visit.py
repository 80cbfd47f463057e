"""The visit of rows of few features for a number of candidates, without any filter: lanes = rows.

With few features a fast distance costs less than to find out whether it is wanted.  Pairs that it does not dismiss are
decided by the canonical value, and listed as visit.py has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .jit import kernel
from .micro import PANEL
from .pack import STRIP, pack_strip, panel_size
from .panel_gains import panel_bounds, panel_distances, several
from .simd import F32, F64, I64, Loop, fetch_add, lowest_bit
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
    typingctx, width, panels, p0, d, centers, n_centers, nearest_sq, i0, whole, last_sq, square0, square1, above, least,
    masks, ahead, step,
):  # fmt: skip
    """Which rows of the panel at p0 each center may be nearer to: masks (n_centers,) int64 OUT, a bit for each row.

    last_sq: the canonical distances of a panel that is not whole.  The rest as in panel_gains._add_panel_gains.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        t = signature.args
        pp, pc, pn, pl, pm = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 6, 9, 14))
        d_, panel = args[3], simd.at(b, pp, args[2])
        at_nearest = b.select(args[8], simd.at(b, pn, args[7]), pl)
        limits = _limits(b, w, at_nearest, list(args[10:12]), args[12], args[13])
        # what follows is asked for first
        with Loop(b, ir.Constant(I64, 0), d_, ir.Constant(I64, 1), []) as features:
            address = b.add(args[15], b.mul(features.i, args[16]))
            for line in range(PANEL):
                simd.prefetch(b, b.add(address, ir.Constant(I64, 64 * line)))
            features.next([])

        def body(numbers: list[Any]) -> None:
            centers = [simd.at(b, pc, b.mul(number, d_)) for number in numbers]
            for number, values in zip(numbers, panel_distances(b, w, panel, d_, centers), strict=True):
                mask = ir.Constant(I64, 0)
                for v, value in enumerate(values):
                    bits = b.bitcast(b.fcmp_ordered("<=", value, limits[v]), ir.IntType(w))
                    mask = b.or_(mask, b.shl(b.zext(bits, I64), ir.Constant(I64, v * w)))
                b.store(mask, simd.at(b, pm, number))

        several(b, w, args[5], body)
        return context.get_dummy_value()

    i8, f4, f8 = types.int64, types.float32, types.float64
    return types.void(
        width, panels, i8, i8, centers, i8, nearest_sq, i8, types.boolean, last_sq, f8, f8, f4, f4, masks, i8, i8
    ), codegen  # fmt: skip


@kernel(allocates=True)
def panel_candidates_lane(
    width, X, counter, nearest_sq, offset, square0, square1, relative, a, floor, pack_scale, shift, centers, candidates,
    first_slot, ahead, step, entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    """List the rows that come nearer to each candidate, and their distances.

    X (n, d) any dtype, nearest_sq (n,) float64: canonical distance to the nearest seed, offset: number of the first
    row; square0, square1: the packing scale, twice; relative, a, floor: bounds of fast distances; pack_scale, shift:
    how rows are packed, centers [M][d]: candidates packed alike, candidates (M, d) float64; first_slot: number of the
    first one's list; ahead, step: address of X and bytes of a panel's rows per feature to prefetch, or 0 IN; counter
    (1,) int64 INOUT; entry_rows, entry_slots, entry_values (room,) OUT, count (2,) int64 INOUT: entries, more than
    there is room for where they are incomplete, and rows that were looked at.
    """
    n, d = X.shape
    M = candidates.shape[0]
    w = len(width)
    points = PANEL * w
    size = panel_size(w, d)
    block = VISIT // points * points
    rows, panels = np.zeros(STRIP * points * d + 4, np.float32), np.empty(STRIP * size, np.float32)
    masks, last_sq = np.empty(M, np.int64), np.zeros(points)
    above, least = panel_bounds(relative, a, floor)
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
                    width, panels, t * size, d, centers, M, nearest_sq, at, whole, last_sq, square0, square1, above,
                    least, masks, following, step,
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
