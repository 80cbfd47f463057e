"""Rows of integers of 8 bits, as pixels have: kept in a byte a value, and compared exactly, in integers of 32 bits.

``|x - c|^2 = |x|^2 + |c|^2 - 2 x.c``, and none of it is rounded: a distance is the canonical one, without a look at X,
which took four bytes a value or eight to read.  One instruction multiplies two pairs of 16-bit integers a lane and adds
them; sums that leave 32 bits on the way come back, for the distance does not.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .distance_table import VISIT, rows_together, sums_over
from .integer import I16, _multiply_pairs
from .jit import kernel
from .simd import I32, Loop, fetch_add, int_

BLOCK = 12  # rows that are unpacked at a time, a multiple of CHAINS: with a group of centers they fill the first cache
MOST_FEATURES = (2**31 - 1) // 255**2  # a distance has 31 bits


@kernel
def encode_lane(X, counter, low, values, found):
    """Rows as bytes: what is added to `low`.

    X (n, d) any dtype; low (1,), of a dtype that holds its values IN; counter (1,) int64 INOUT; values (n, d) uint8
    OUT; found (1,) int64, not 0 once a value was met that is no such byte, INOUT: lanes stop then.
    """
    n, d = X.shape
    of = low.dtype.type
    while found[0] == 0:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        missing = False
        for i in range(np.uint64(start), np.uint64(min(start + VISIT, n))):
            for j in range(np.uint64(d)):
                above = of(X[i, j]) - low[0]
                value = np.int32(min(max(above, of(0.0)), of(255.0)))
                missing |= of(value) != above
                values[i, j] = np.uint8(value)
        found[0] |= missing


@kernel
def first_lane(values, counter, weights, seed, norms, nearest_sq):
    """Squared norms of rows of bytes, and distances to the first seed.

    values (n, d) uint8, weights (n,) int64 or (0,), seed (d,) uint8 IN; counter (1,) int64 INOUT; norms (n,) int32,
    nearest_sq (n,) float64: of rows of positive weight OUT.
    """
    n, d = values.shape
    weighted = weights.shape[0] > 0
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        for i in range(np.uint64(start), np.uint64(min(start + VISIT, n))):
            norm, distance = np.int32(0), np.int32(0)
            for j in range(np.uint64(d)):
                value = np.int16(values[i, j])
                difference = np.int16(value - np.int16(seed[j]))
                norm = np.int32(norm + np.int32(np.int32(value) * np.int32(value)))
                distance = np.int32(distance + np.int32(np.int32(difference) * np.int32(difference)))
            norms[i] = norm
            if not weighted or weights[i] > 0:
                nearest_sq[i] = np.float64(distance)


@intrinsic
def _tabulate(typingctx, width, rows, norms, pairs, centers, n_groups, center_norms, table):
    """Squared distances of BLOCK rows [row][pairs][2], int16, to centers [group][pair][w][2], int16.

    norms (int32) of the rows, center_norms (int32) [group][w] IN; table [row][n_groups * w] int32 OUT.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        itype, pair_type = simd.vector(I32, w), simd.vector(I16, 2 * w)
        t = signature.args
        pr, pn, pc, ph, pt = (simd.data(context, b, t[i], args[i]) for i in (1, 2, 4, 6, 7))
        words, centers = b.bitcast(pr, I32.as_pointer()), b.bitcast(pc, I32.as_pointer())
        pairs, n_groups, lanes = args[3], args[5], int_(w)
        zero, one = simd.const(itype, 0), simd.const(itype, 1)
        together = rows_together()
        with Loop(b, int_(0), n_groups, int_(1), []) as groups:
            mine = simd.at(b, centers, b.mul(groups.i, b.mul(pairs, lanes)))
            own_norms = simd.load(b, simd.at(b, ph, b.mul(groups.i, lanes)), itype)
            with Loop(b, int_(0), int_(BLOCK), int_(together), []) as tiles:
                first = simd.at(b, words, b.mul(pairs, tiles.i))
                rows = [simd.at(b, first, b.mul(pairs, int_(r))) for r in range(together)]

                def add(j, sums):
                    c = b.bitcast(simd.load(b, simd.at(b, mine, b.mul(j, lanes)), itype), pair_type)
                    acc = []
                    for row, total in zip(rows, sums, strict=True):
                        x = b.bitcast(simd.splat(b, b.load(simd.at(b, row, j)), w), pair_type)
                        acc.append(b.add(total, _multiply_pairs(b, x, c)))
                    return acc

                for r, total in enumerate(sums_over(b, pairs, [zero] * together, add)):
                    row = b.add(tiles.i, int_(r))
                    norm = simd.splat(b, b.load(simd.at(b, pn, row)), w)
                    distance = b.sub(b.add(norm, own_norms), b.shl(total, one))
                    place = b.add(b.mul(b.mul(n_groups, lanes), row), b.mul(groups.i, lanes))
                    simd.store(b, distance, simd.at(b, pt, place))
                tiles.next([])
            groups.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, rows, norms, i8, centers, i8, center_norms, table), codegen


@kernel(allocates=True)
def byte_table_lane(width, values, norms, counter, centers, n_groups, center_norms, table):
    """Fill a table of distances.

    values (n, d) uint8, norms (n,) int32, centers, center_norms: as _tabulate has them IN; counter (1,) int64 INOUT;
    table (n, n_groups * w) int32 OUT.
    """
    n, d = values.shape
    pairs = (d + 1) // 2
    padded = np.uint64(2 * pairs)
    rows, squares = np.zeros(BLOCK * 2 * pairs, np.int16), np.zeros(BLOCK, np.int32)
    pitch = np.uint64(table.shape[1])
    found, flat = np.empty(BLOCK * table.shape[1], np.int32), table.reshape(-1)
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        for lo in range(start, min(start + VISIT, n), BLOCK):
            count = min(BLOCK, n - lo)
            for r in range(np.uint64(count)):
                i = np.uint64(lo) + r
                squares[r] = norms[i]
                for j in range(np.uint64(d)):
                    rows[r * padded + j] = np.int16(values[i, j])
            _tabulate(width, rows, squares, pairs, centers, n_groups, center_norms, found)
            first = np.uint64(lo) * pitch
            for e in range(np.uint64(count) * pitch):
                flat[first + e] = found[e]


@kernel
def byte_settle_lane(counter, table, columns, first_label, nearest_sq, labels):
    """Take seeds into account whose distances are in a table.

    table (n, M) int32, columns (m,) int64: of the seeds, first_label: number of the first IN; counter (1,) int64,
    nearest_sq (n,) float64, labels (n,) int32 INOUT.
    """
    n = table.shape[0]
    while True:
        start = fetch_add(counter, VISIT)
        if start >= n:
            break
        for i in range(np.uint64(start), np.uint64(min(start + VISIT, n))):
            for e in range(np.uint64(columns.shape[0])):
                value = np.float64(table[i, columns[e]])
                if value < nearest_sq[i]:
                    nearest_sq[i], labels[i] = value, np.int32(first_label + np.int64(e))
