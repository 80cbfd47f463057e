"""Early steps of k-means++, when every candidate comes nearer to many rows: gains as float32 sums, with their error.

One visit of the rows takes the seed chosen last into account and adds up, for the next candidates, by how much each
would lower the potential.  Rows that the new seed may be nearer to are found by the fast value and decided by the
canonical one.  The gains only rank the candidates: where the bound of their error leaves a doubt, exact sums decide.
Rows of few features have a visit of their own, panel_gains.py.

Bounds.  Differences of packed values are squared and added in one chain, so a fast squared distance is within
``(d + 4) 2**-24`` of the true one, relatively, where packing is exact; where it rounds, roots are off by `a` at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .candidates import pair_distances
from .canonical import WIDE, WIDE_ROWS
from .gains import NARROW
from .jit import kernel
from .simd import F32, I32, I64, Loop, fetch_add

FEW = 24  # features below which lanes run over rows (measured)
BLOCK_VALUES = 4096  # packed values of a block: 16 KiB
VISIT = 1152  # rows a lane takes at a time, or a little more
BLOCK_ROWS = 1026  # and its rows at most: a lane adds up so many numbers before float64 takes over


@intrinsic
def _add_gains(typingctx, width, y, n_rows, d, centers, n_groups, near, own, weights, sums, ahead, step):
    """Add up, over rows, by how much the present distance of each exceeds that to every candidate.

    y: packed rows [row][d]; centers: packed [group][d][w], lane 0 of the first group a seed that `near` does not know
    of yet; near (float32): squared distance of every row to the nearest of the others INOUT; own: its distance to that
    seed OUT; weights (float32) count; sums [group][w] float32 INOUT;
    ahead, step: address to fetch from meanwhile, and bytes per feature of 6 rows.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        zero = simd.const(vtype, 0.0)
        t = signature.args
        py, pc, pn, po, pw, ps = (simd.data(context, b, t[i], args[i]) for i in (1, 4, 6, 7, 8, 9))
        n, d_, n_groups_ = args[2], args[3], args[5]
        ways = 6

        def integer(value: int) -> Any:
            return ir.Constant(I64, value)

        def run(rows: int, start: Any, stop: Any) -> None:
            with Loop(b, start, stop, integer(rows), []) as loop:
                first_row = simd.at(b, py, b.mul(loop.i, d_))
                places = [b.add(loop.i, integer(r)) for r in range(rows)]
                with Loop(b, integer(0), n_groups_, integer(1), []) as groups:
                    group = simd.at(b, pc, b.mul(groups.i, b.mul(d_, integer(w))))
                    # only the first group has anything to fetch; the others ask for one line again and again
                    step = b.select(b.icmp_signed("==", groups.i, integer(0)), args[11], integer(0))
                    following = b.add(args[10], b.mul(b.mul(b.udiv(loop.i, integer(6)), d_), args[11]))
                    starts = [simd.at(b, first_row, b.mul(d_, integer(r))) for r in range(rows)]
                    with Loop(b, integer(0), d_, integer(1), [zero] * rows) as features:
                        simd.prefetch(b, b.add(following, b.mul(features.i, step)))
                        c = simd.load(b, simd.at(b, group, b.mul(features.i, integer(w))), vtype)
                        acc = []
                        for row, s in zip(starts, features.values, strict=True):
                            x = simd.splat(b, b.load(simd.at(b, row, features.i)), w)
                            difference = b.fsub(x, c)
                            acc.append(simd.fma(b, difference, difference, s))
                        features.next(acc)
                    with b.if_then(b.icmp_signed("==", groups.i, integer(0))):
                        for place, s in zip(places, features.results, strict=True):
                            to_seed = b.extract_element(s, ir.Constant(I32, 0))
                            b.store(to_seed, simd.at(b, po, place))
                            at_near = simd.at(b, pn, place)
                            b.store(simd.minimum(b, to_seed, b.load(at_near)), at_near)
                    gained = []
                    for place, s in zip(places, features.results, strict=True):
                        gain = b.fsub(simd.splat(b, b.load(simd.at(b, pn, place)), w), s)
                        weight = simd.splat(b, b.load(simd.at(b, pw, place)), w)
                        gained.append(b.fmul(simd.maximum(b, gain, zero), weight))
                    while len(gained) > 1:
                        gained = [
                            b.fadd(*gained[i : i + 2]) if i + 1 < len(gained) else gained[i]
                            for i in range(0, len(gained), 2)
                        ]
                    at_sums = simd.at(b, ps, b.mul(groups.i, integer(w)))
                    simd.store(b, b.fadd(simd.load(b, at_sums, vtype), gained[0]), at_sums)
                    groups.next([])
                loop.next([])

        whole = b.mul(b.sdiv(n, integer(ways)), integer(ways))
        run(ways, integer(0), whole)
        run(1, whole, n)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, i8, centers, i8, near, own, weights, sums, i8, i8), codegen


@kernel
def _pack_contiguous(X, lo, hi, scale, tiled_shift, y):
    d = X.shape[1]
    of = tiled_shift.dtype.type
    flat = X.reshape(-1)
    n, period = (hi - lo) * d, tiled_shift.shape[0]
    for q in range(0, n, period):
        start, place = np.uint64(lo * d + q), np.uint64(q)
        for e in range(np.uint64(min(period, n - q))):
            y[place + e] = of(flat[start + e]) * scale - tiled_shift[e]


@kernel
def _pack_strided(X, lo, hi, scale, tiled_shift, y):
    d = np.uint64(X.shape[1])
    of = tiled_shift.dtype.type
    place = np.uint64(0)
    for i in range(np.uint64(lo), np.uint64(hi)):
        for j in range(d):
            y[place + j] = of(X[i, j]) * scale - tiled_shift[j]
        place += d


def pack_flat(X, lo, hi, scale, tiled_shift, y):
    """Rows lo..hi of X, packed one after the other.

    X (n, d) any dtype, tiled_shift (m * d,) float32 or float64: the shift of every feature, m times over IN,
    y (>= (hi - lo) * d,) float32 OUT.
    """
    _pack_strided(X, lo, hi, scale, tiled_shift, y)


@overload(pack_flat, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _pack_flat(X, lo, hi, scale, tiled_shift, y):
    """Chosen by the layout in the array's type."""
    return (_pack_contiguous if X.layout == "C" else _pack_strided).py_func


@kernel
def settle_pairs(X, rows, slots, count, nearest_sq, labels, seeds, label, terms, values):
    """Decide by the canonical value whether rows are nearer to seeds: pairs of a row and a number of a seed.

    The pairs of a row in the order of the seeds, of which the first has the label.
    """
    d = X.shape[1]
    if d < NARROW:
        for p in range(np.uint64(count)):
            i, q = np.uint64(rows[p]), np.uint64(slots[p])
            s = 0.0
            for j in range(np.uint64(d)):
                t = np.float64(X[i, j]) - seeds[q, j]
                s += t * t
            if s < nearest_sq[i]:
                nearest_sq[i], labels[i] = s, np.int32(label + slots[p])
        return
    for p in range(0, count, WIDE_ROWS):
        some = min(WIDE_ROWS, count - p)
        pair_distances(X, rows[p:], slots[p:], some, seeds, terms, values)
        for e in range(some):
            i = rows[p + e]
            if values[e] < nearest_sq[i]:
                nearest_sq[i], labels[i] = values[e], np.int32(label + slots[p + e])


@kernel(allocates=True)
def fast_gains_lane(
    width, X, weights, counter, nearest_sq, labels, center, label, pack_scale, shift, square0, square1, relative, a,
    floor, weight_unit, centers, n_groups, ahead, step, gains,
):  # fmt: skip
    """Take the seed chosen last into account, and estimate the gains of candidates.

    X (n, d) any dtype, weights (n,) int64 or (0,), center (1, d) float64: the seed, label: its number; pack_scale,
    shift, square0, square1: how rows are packed, and the scale twice; relative, a, floor: bounds of the fast squared
    distance: relative, of the root, absolute; weight_unit: a power of two to scale weights by; centers: as _add_gains
    wants them, the seed first (NaN where there is none), n_groups; ahead, step: address of X and bytes of 6 rows
    per feature to prefetch, or 0 IN;
    counter (1,) int64, nearest_sq (n,) float64, labels (n,) int32, gains (n_groups * w,) float64 INOUT.
    """
    n, d = X.shape
    w = len(width)
    block = min(BLOCK_ROWS, max(6, BLOCK_VALUES // d // 6 * 6))
    visit = (VISIT + block - 1) // block * block
    y = np.empty(block * d + 16, np.float32)
    near, own = np.empty(block, np.float32), np.empty(block, np.float32)
    limit = np.empty(block, np.float32)
    weighted = weights.shape[0] > 0
    counts = np.ones(block, np.float32)
    sums = np.empty(n_groups * w, np.float32)
    doubtful, slots = np.empty(block + 1, np.int64), np.zeros(block, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    above, off, least = np.float32(1.0 + 2.0 * relative + 1e-6), np.float32(2.1 * a), np.float32(2.0 * a * a + floor)
    while True:
        start = fetch_add(counter, visit)
        if start >= n:
            break
        for lo in range(start, min(start + visit, n), block):
            hi = min(lo + block, n)
            count = np.uint64(hi - lo)
            first = np.uint64(lo)
            pack_flat(X, lo, hi, pack_scale, shift, y)
            for r in range(count):
                near[r] = np.float32(nearest_sq[first + r] * square0 * square1)
                limit[r] = near[r] * above + off * np.sqrt(near[r]) + least
            if weighted:
                for r in range(count):
                    counts[r] = np.float32(np.float64(weights[first + r]) * weight_unit)
            following = ahead + hi * d * (step // 6)
            sums[:] = np.float32(0.0)
            _add_gains(width, y, hi - lo, d, centers, n_groups, near, own, counts, sums, following, step)
            for c in range(n_groups * w):
                gains[c] += np.float64(sums[c])
            found = 0
            for r in range(hi - lo):
                doubtful[found] = lo + r
                found += own[r] <= limit[r]
            settle_pairs(X, doubtful, slots, found, nearest_sq, labels, center, label, terms, values)
