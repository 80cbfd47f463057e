"""Fast distances of every row to a number of candidates, kept: k-means++ takes several steps from one reading of X.

A visit of wide rows costs what reading them costs, whether it looks at one step's candidates or at those of several.
Values are the fast ones of fast_gains.py, and have their bounds; the steps themselves read the table alone.  Which rows
a chosen seed is nearest to is decided later, for all seeds at once, by the canonical value where the table is in doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .candidates import pair_distances
from .canonical import LINE, WIDE, WIDE_ROWS
from .fast_gains import pack_flat
from .jit import kernel
from .simd import F32, I64, Loop, fetch_add, fetch_value

CHAINS = 12  # sums that are added to in turn: rows of a step of the kernel times groups of centers
BLOCK = 24  # rows that are packed at a time, a multiple of CHAINS
VISIT = 192  # rows a lane takes at a time
GAINS = 1024  # rows whose gains are added in float32


@intrinsic
def _tabulate(typingctx, width, y, d, centers, n_groups, table, ahead, step):
    """Squared distances of BLOCK packed rows [row][d] to packed centers [group][d][w].

    table: [row][n_groups * w] float32 OUT; ahead, step: address to fetch from meanwhile, and bytes per feature of
    BLOCK rows.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        zero, nought, one, lanes = simd.const(vtype, 0.0), ir.Constant(I64, 0), ir.Constant(I64, 1), ir.Constant(I64, w)
        t = signature.args
        py, pc, pt = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 5))
        d_, n_groups_ = args[2], args[4]
        pitch = b.mul(n_groups_, lanes)

        def run(count: int, start: Any, stop: Any) -> None:
            together = CHAINS // count if w == 16 else CHAINS // count // 2  # AVX2 has half the registers
            rows_, steps = ir.Constant(I64, together), ir.Constant(I64, BLOCK // together)
            with Loop(b, start, stop, ir.Constant(I64, count), []) as groups:
                numbers = [b.add(groups.i, ir.Constant(I64, g)) for g in range(count)]
                mine = [simd.at(b, pc, b.mul(number, b.mul(d_, lanes))) for number in numbers]
                # only the first groups have anything to fetch; the others ask for one line again and again
                step = b.select(b.icmp_signed("==", groups.i, nought), b.sdiv(args[7], steps), nought)
                with Loop(b, nought, ir.Constant(I64, BLOCK), rows_, []) as tiles:
                    each = [b.add(tiles.i, ir.Constant(I64, r)) for r in range(together)]
                    first = simd.at(b, py, b.mul(d_, tiles.i))
                    rows = [simd.at(b, first, b.mul(d_, ir.Constant(I64, r))) for r in range(together)]
                    following = b.add(args[6], b.mul(b.mul(b.udiv(tiles.i, rows_), d_), step))
                    with Loop(b, nought, d_, one, [zero] * (together * count)) as features:
                        simd.prefetch(b, b.add(following, b.mul(features.i, step)))
                        at = b.mul(features.i, lanes)
                        values = [simd.load(b, simd.at(b, center, at), vtype) for center in mine]
                        acc = []
                        for r, row in enumerate(rows):
                            x = simd.splat(b, b.load(simd.at(b, row, features.i)), w)
                            for g, c in enumerate(values):
                                difference = b.fsub(x, c)
                                acc.append(simd.fma(b, difference, difference, features.values[r * count + g]))
                        features.next(acc)
                    for e, total in enumerate(features.results):
                        place = b.add(b.mul(pitch, each[e // count]), b.mul(numbers[e % count], lanes))
                        simd.store(b, total, simd.at(b, pt, place))
                    tiles.next([])
                groups.next([])

        even = b.and_(n_groups_, ir.Constant(I64, -2))
        run(2, nought, even)
        run(1, even, n_groups_)
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, centers, i8, table, i8, i8), codegen


@kernel
def tabulate_lane(width, X, counter, pack_scale, tiled_shift, centers, n_groups, ahead, step, table):
    """Fill a table of fast distances.

    X (n, d) any dtype, pack_scale, tiled_shift: how rows are packed, as fast_gains.pack_flat has it, centers: packed
    alike, [n_groups][d][w]; ahead, step: address of X and bytes of BLOCK rows per feature to prefetch, or 0 IN;
    counter (1,) int64 INOUT; table (n, n_groups * w) float32 OUT.
    """
    n, d = X.shape
    pitch = np.uint64(table.shape[1])
    flat = table.reshape(-1)
    y = np.zeros(BLOCK * d + 16, np.float32)
    values = np.empty(BLOCK * table.shape[1], np.float32)
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        for lo in range(start, min(start + VISIT, n), BLOCK):
            hi = min(lo + BLOCK, n)
            pack_flat(X, lo, hi, pack_scale, tiled_shift, y)
            _tabulate(width, y, d, centers, n_groups, values, ahead + hi * d * (step // BLOCK), step)
            first = np.uint64(lo) * pitch
            for e in range(np.uint64(hi - lo) * pitch):
                flat[first + e] = values[e]


@kernel
def table_gains_lane(counter, table, column, weights, weight_unit, near, gains):
    """By how much every candidate of a table would lower the potential, once that of `column` is chosen.

    table (n, M) float32, column: a seed `near` does not know of, or -1, weights (n,) int64 or (0,), weight_unit: a
    power of two to scale them by IN; counter (1,) int64, near (n,) float32: squared distance to the nearest seed,
    gains (M,) float64 INOUT.
    """
    n, M = table.shape
    weighted = weights.shape[0] > 0
    sums = np.empty(M, np.float32)
    nothing = np.float32(0.0)
    columns = np.uint64(M)
    while True:
        start = fetch_add(counter, GAINS)
        if start >= n:
            break
        sums[:] = nothing
        for i in range(np.uint64(start), np.uint64(min(start + GAINS, n))):
            if column >= 0:
                near[i] = min(near[i], table[i, np.uint64(column)])
            reach = near[i]
            if weighted:
                count = np.float32(np.float64(weights[i]) * weight_unit)
                for q in range(columns):
                    gain = reach - table[i, q]
                    sums[q] += count * (gain if gain > nothing else nothing)
            else:
                for q in range(columns):
                    gain = reach - table[i, q]
                    sums[q] += gain if gain > nothing else nothing
        for q in range(M):
            gains[q] += np.float64(sums[q])


@kernel
def _within(value, relative, a, floor):
    """How large the fast value can be if the true one is `value`, and the other way round."""
    return value * (1.0 + 2.0 * relative + 1e-6) + 2.1 * a * np.sqrt(value) + 2.0 * a * a + floor


@kernel
def table_settle_lane(
    X, counter, table, columns, seeds, first_label, square0, square1, relative, a, floor, nearest_sq, labels
):  # fmt: skip
    """Take seeds into account whose fast distances are in the table.

    X (n, d) any dtype, table (n, M) float32, columns (m,) int64: of the seeds, seeds (m, d) float64, first_label:
    number of the first of them, square0, square1: the packing scale, twice; relative, a, floor: bounds of the table's
    values IN; counter (1,) int64, nearest_sq (n,) float64, labels (n,) int32 INOUT.
    """
    n = table.shape[0]
    m = columns.shape[0]
    rows, slots = np.full(WIDE_ROWS, -1), np.empty(WIDE_ROWS, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        found = 0
        stop = min(start + VISIT, n)
        for i in range(start, stop):
            smallest = np.float32(np.inf)
            for e in range(m):
                smallest = min(smallest, table[i, columns[e]])
            limit = _within(nearest_sq[i] * square0 * square1, relative, a, floor)
            if smallest <= limit:
                # farther than this, a seed is farther than the one with the smallest value
                limit = min(limit, _within(_within(np.float64(smallest), relative, a, floor), relative, a, floor))
                for e in range(m):
                    if table[i, columns[e]] <= limit:
                        if rows[max(found - 1, 0)] != i:
                            for j in range(0, X.shape[1], LINE):
                                fetch_value(X, i, j)
                        rows[found], slots[found] = i, e
                        found += 1
                        if found == WIDE_ROWS:
                            _settle(X, rows, slots, found, seeds, first_label, terms, values, nearest_sq, labels)
                            found = 0
        _settle(X, rows, slots, found, seeds, first_label, terms, values, nearest_sq, labels)


@kernel
def _settle(X, rows, slots, found, seeds, first_label, terms, values, nearest_sq, labels):
    """Decide pairs, those of a row in the order of their seeds, by the canonical value."""
    pair_distances(X, rows, slots, found, seeds, terms, values)
    for p in range(found):
        if values[p] < nearest_sq[rows[p]]:
            nearest_sq[rows[p]], labels[rows[p]] = values[p], np.int32(first_label + slots[p])
