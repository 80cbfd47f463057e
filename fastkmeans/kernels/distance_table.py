"""Fast distances of every row to a number of candidates, kept: k-means++ takes several steps from one reading of X.

A visit of wide rows costs what reading them costs, whether it looks at one step's candidates or at those of several.
Values are the fast ones of fast_gains.py, and have their bounds; the steps themselves read the table alone.  Which rows
a chosen seed is nearest to is decided later, for all seeds at once, by the canonical value where the table is in doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .candidates import pair_distances
from .canonical import GROUP, LINE, WIDE, WIDE_ROWS
from .fast_gains import pack_flat
from .jit import kernel
from .simd import F32, Loop, fetch_add, fetch_value, int_
from .transpose import TOGETHER, own_values, transposes

CHAINS = 12  # rows of a step of the kernel, with one group of centers: two at a time fall out of the first cache
BLOCK = 24  # rows that are packed at a time, a multiple of CHAINS
UNROLLED = 4  # features of a round of the kernel
LINE_BYTES = 64  # of a cache line, or less
VISIT = 192  # rows a lane takes at a time
GAINS = 1024  # rows whose gains are added in float32


def rows_together() -> int:
    """Rows of a step of the kernel: AVX2 has half the registers."""
    return CHAINS if "avx512f" in simd.cpu_features() else CHAINS // 2


def sums_over(b: Any, count: Any, sums: list[Any], add: Any, meanwhile: Any = lambda i: None) -> list[Any]:
    """What add(i, sums) makes of the sums for i from 0 to count, UNROLLED at a time; meanwhile(i) before each round."""

    def add_some(numbers: list[Any], sums: list[Any]) -> list[Any]:
        if len(numbers) == UNROLLED:
            meanwhile(numbers[0])
        for i in numbers:
            sums = add(i, sums)
        return sums

    return simd.in_rounds(b, count, UNROLLED, sums, add_some)


@intrinsic
def _tabulate(typingctx, width, flat, at, packed, as_they_are, d, centers, n_groups, table, ahead, step):
    """Squared distances of BLOCK rows to packed centers [group][d][w].

    packed: the rows [row][d]; or they are at `at` of flat (float32), where as_they_are is set; table:
    [row][n_groups * w] float32 OUT; ahead, step: address to fetch from meanwhile, and bytes per feature of BLOCK rows.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        zero, lanes = simd.const(vtype, 0.0), int_(w)
        t = signature.args
        px, py, pc, pt = (simd.data(context, b, t[i], args[i]) for i in (1, 3, 6, 8))
        py = b.select(args[4], simd.at(b, px, args[2]), py)
        d_, n_groups_ = args[5], args[7]
        pitch = b.mul(n_groups_, lanes)

        together = rows_together()
        rows_, steps = int_(together), int_(BLOCK // together)
        with Loop(b, int_(0), n_groups_, int_(1), []) as groups:
            mine = simd.at(b, pc, b.mul(groups.i, b.mul(d_, lanes)))
            # only the first group has anything to fetch; the others ask for one line again and again
            step = b.select(b.icmp_signed("==", groups.i, int_(0)), b.sdiv(args[10], steps), int_(0))
            with Loop(b, int_(0), int_(BLOCK), rows_, []) as tiles:
                first = simd.at(b, py, b.mul(d_, tiles.i))
                rows = [simd.at(b, first, b.mul(d_, int_(r))) for r in range(together)]
                following = b.add(args[9], b.mul(b.mul(b.udiv(tiles.i, rows_), d_), step))

                def add(j: Any, sums: list[Any]) -> list[Any]:
                    c = simd.load(b, simd.at(b, mine, b.mul(j, lanes)), vtype)
                    acc = []
                    for row, total in zip(rows, sums, strict=True):
                        difference = b.fsub(c, simd.splat(b, b.load(simd.at(b, row, j)), w))  # the subtraction reads x
                        acc.append(simd.fma(b, difference, difference, total))
                    return acc

                def fetch(j: Any) -> None:
                    line = b.add(following, b.mul(j, step))
                    for e in range(-(-together * UNROLLED * 4 // LINE_BYTES)):
                        simd.prefetch(b, b.add(line, int_(e * LINE_BYTES)))

                for r, total in enumerate(sums_over(b, d_, [zero] * together, add, fetch)):
                    place = b.add(b.mul(pitch, b.add(tiles.i, int_(r))), b.mul(groups.i, lanes))
                    simd.store(b, total, simd.at(b, pt, place))
                tiles.next([])
            groups.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, flat, i8, packed, types.boolean, i8, centers, i8, table, i8, i8), codegen


def rows_as_they_are(X, y):
    """X (n, d) flat, where it is float32 in C order, else y."""
    return y


@overload(rows_as_they_are, jit_options={"nogil": True, "error_model": "numpy"})
def _rows_as_they_are(X, y):
    """Chosen by dtype and layout; counts the reference to what it returns."""
    if X.dtype == types.float32 and X.layout == "C":
        return lambda X, y: X.reshape(-1)
    return lambda X, y: y


@kernel(allocates=True)
def tabulate_lane(width, X, counter, plain, pack_scale, tiled_shift, centers, n_groups, ahead, step, table):
    """Fill a table of fast distances.

    X (n, d) any dtype; plain: whether rows are float32 in C order, and packed ones equal to them; pack_scale,
    tiled_shift: how rows are packed, as fast_gains.pack_flat has it, centers: packed
    alike, [n_groups][d][w]; ahead, step: address of X and bytes of BLOCK rows per feature to prefetch, or 0 IN;
    counter (1,) int64 INOUT; table (n, n_groups * w) float32 OUT.
    """
    n, d = X.shape
    pitch = np.uint64(table.shape[1])
    flat = table.reshape(-1)
    y = np.zeros(BLOCK * d + 16, np.float32)
    raw = rows_as_they_are(X, y)
    values = np.empty(BLOCK * table.shape[1], np.float32)
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        for lo in range(start, min(start + VISIT, n), BLOCK):
            hi = min(lo + BLOCK, n)
            whole = plain and hi - lo == BLOCK
            if not whole:
                pack_flat(X, lo, hi, pack_scale, tiled_shift, y)
            following = ahead + hi * d * (step // BLOCK)
            _tabulate(width, raw, lo * d, y, whole, d, centers, n_groups, values, following, step)
            first = np.uint64(lo) * pitch
            for e in range(np.uint64(hi - lo) * pitch):
                flat[first + e] = values[e]


@kernel(allocates=True)
def table_gains_lane(counter, table, column, weights, weight_unit, near, gains):
    """By how much every candidate of a table would lower the potential, once that of `column` is chosen.

    table (n, M) float32 or int32, column: a seed `near` does not know of, or -1, weights (n,) int64 or (0,),
    weight_unit: a power of two to scale them by IN; counter (1,) int64, near (n,), as the table: squared distance to
    the nearest seed, gains (M,) float64 INOUT.
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
            reach = np.float32(near[i])
            if weighted:
                count = np.float32(np.float64(weights[i]) * weight_unit)
                for q in range(columns):
                    gain = reach - np.float32(table[i, q])
                    sums[q] += count * (gain if gain > nothing else nothing)
            else:
                for q in range(columns):
                    gain = reach - np.float32(table[i, q])
                    sums[q] += gain if gain > nothing else nothing
        for q in range(M):
            gains[q] += np.float64(sums[q])


@kernel
def _within(value, relative, a, floor):
    """How large the fast value can be if the true one is `value`, and the other way round."""
    return value * (1.0 + 2.0 * relative + 1e-6) + 2.1 * a * np.sqrt(value) + 2.0 * a * a + floor


@kernel(allocates=True)
def table_settle_lane(
    X, counter, table, columns, seeds, grouped, first_label, square0, square1, relative, a, floor, nearest_sq, labels
):  # fmt: skip
    """Take seeds into account whose fast distances are in the table.

    X (n, d) any dtype, table (n, M) float32, columns (m,) int64: of the seeds, seeds (m, d) float64, grouped: these as
    canonical.group_centers leaves them, first_label: number of the first, square0, square1: the packing scale, twice;
    relative, a, floor: bounds of the table's values IN; counter (1,) int64, nearest_sq (n,) float64, labels (n,) int32
    INOUT.
    """
    n = table.shape[0]
    m = columns.shape[0]
    rows, slots = np.full(WIDE_ROWS, -1), np.empty(WIDE_ROWS, np.int64)
    terms, values = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    # of every group of seeds, rows that wait until there are so many, and as many to be fetched meanwhile
    by_group, n_groups = transposes(X), (m + GROUP - 1) // GROUP
    waiting, lanes = np.zeros((n_groups, 2 * TOGETHER), np.int64), np.zeros((n_groups, 2 * TOGETHER), np.int64)
    counts = np.zeros(n_groups, np.int64)
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
                if not by_group:
                    for j in range(0, X.shape[1], LINE):
                        fetch_value(X, i, j)
                for e in range(m):
                    if table[i, columns[e]] <= limit:
                        if by_group:
                            g = e // GROUP
                            waiting[g, counts[g]], lanes[g, counts[g]] = i, e % GROUP
                            counts[g] += 1
                            if counts[g] == 2 * TOGETHER:
                                _settle_group(
                                    X, waiting, lanes, g, TOGETHER, grouped, first_label, values, nearest_sq, labels
                                )  # fmt: skip
                                counts[g] = TOGETHER
                            continue
                        rows[found], slots[found] = i, e
                        found += 1
                        if found == WIDE_ROWS:
                            _settle(X, rows, slots, found, seeds, first_label, terms, values, nearest_sq, labels)
                            found = 0
        if not by_group:
            _settle(X, rows, slots, found, seeds, first_label, terms, values, nearest_sq, labels)
    for g in range(n_groups):
        while counts[g] > 0:
            found = min(counts[g], TOGETHER)
            _settle_group(X, waiting, lanes, g, found, grouped, first_label, values, nearest_sq, labels)
            counts[g] -= found


@kernel
def _keep(i, value, label, nearest_sq, labels):
    """Label a row by a seed that is nearer, or as near and earlier."""
    if value < nearest_sq[i] or (value == nearest_sq[i] and label < labels[i]):
        nearest_sq[i], labels[i] = value, np.int32(label)


@kernel
def _settle(X, rows, slots, found, seeds, first_label, terms, values, nearest_sq, labels):
    """Decide pairs by the canonical value."""
    pair_distances(X, rows, slots, found, seeds, terms, values)
    for p in range(found):
        _keep(rows[p], values[p], first_label + slots[p], nearest_sq, labels)


@kernel
def _settle_group(X, waiting, lanes, group, found, grouped, first_label, values, nearest_sq, labels):
    """Decide the first pairs that wait, of TOGETHER so many, by the canonical value; the others come forward."""
    own_values(X, waiting[group], grouped, group, lanes[group], values)
    for p in range(found):
        _keep(waiting[group, p], values[p], first_label + group * GROUP + lanes[group, p], nearest_sq, labels)
    for p in range(TOGETHER):
        waiting[group, p], lanes[group, p] = waiting[group, TOGETHER + p], lanes[group, TOGETHER + p]
