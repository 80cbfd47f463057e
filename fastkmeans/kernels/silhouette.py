"""Kernels of the silhouette: every row against every other, cluster by cluster, without an n x n matrix; and its simple
form, every row against its own center and the nearest other one.

Rows lie in the order of their clusters, scaled by a power of two so that any distance is below 2**51: adding
1.5 * 2**52 then rounds it to a whole number, whose bits are added as integers.  Sums of integers do not depend on
threads, blocks or the order of rows, and cost no more than float64 sums would.  A squared distance is the canonical
one: differences, two roundings a feature, no FMA.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .canonical import GROUP, group_values_plain, values_of_groups
from .jit import kernel
from .pack import load_row
from .simd import F64, I64, Loop, fetch_add

PANEL = 16  # rows whose distances are taken side by side
CHUNK = 1024  # distances added into one int64: each is below 2**51
TOP = 51  # binary exponent that bounds a distance
MAGIC = 1.5 * 2.0**52
LOW = (1 << 32) - 1


@intrinsic
def _add_distances(typingctx, panel, rows, lo, hi, d, sums):
    """sums[r] += rint(distance of panel row r to row j) for j in lo..hi, as integers.

    panel (d, PANEL) and rows (n, d) float64 IN, sums (PANEL,) int64 INOUT; at most CHUNK rows.
    """

    def codegen(context, b, signature, args):
        pp, pr, ps = (simd.data(context, b, signature.args[i], args[i]) for i in (0, 1, 5))
        lo_, hi_, d_ = args[2], args[3], args[4]
        n_vectors = PANEL // 8
        vtype, itype = simd.vector(F64, 8), simd.vector(I64, 8)
        zero = simd.const(vtype, 0.0)
        magic = simd.const(vtype, MAGIC)
        offset = simd.const(itype, int(np.float64(MAGIC).view(np.int64)))

        def distances(j, count):
            """Whole numbers of `count` rows from j on, [row][vector]."""
            starts = [simd.at(b, pr, b.mul(b.add(j, ir.Constant(I64, e)), d_)) for e in range(count)]
            with Loop(b, ir.Constant(I64, 0), d_, ir.Constant(I64, 1), [zero] * (count * n_vectors)) as loop:
                here = simd.at(b, pp, b.mul(loop.i, ir.Constant(I64, PANEL)))
                mine = [simd.load(b, simd.at(b, here, 8 * v), vtype) for v in range(n_vectors)]
                sums_ = []
                for e in range(count):
                    x = simd.splat(b, b.load(simd.at(b, starts[e], loop.i)), 8)
                    for v in range(n_vectors):
                        t = b.fsub(mine[v], x)
                        sums_.append(b.fadd(loop.values[e * n_vectors + v], b.fmul(t, t)))
                loop.next(sums_)
            found = []
            for value in loop.results:
                root = simd.call(b, f"llvm.sqrt.{simd.suffix(vtype)}", vtype, [value])
                found.append(b.sub(b.bitcast(b.fadd(root, magic), itype), offset))
            return found

        def visit(start, stop, count, totals):
            with Loop(b, start, stop, ir.Constant(I64, count), totals) as loop:
                new = list(loop.values)
                for at, value in enumerate(distances(loop.i, count)):
                    new[at % n_vectors] = b.add(new[at % n_vectors], value)
                loop.next(new)
            return loop.results

        totals = [simd.load(b, simd.at(b, ps, 8 * v), itype) for v in range(n_vectors)]
        pairs = b.add(lo_, b.and_(b.sub(hi_, lo_), ir.Constant(I64, -2)))
        totals = visit(lo_, pairs, 2, totals)
        totals = visit(pairs, hi_, 1, totals)
        for v in range(n_vectors):
            simd.store(b, totals[v], simd.at(b, ps, 8 * v))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(panel, rows, i8, i8, i8, sums), codegen


@kernel
def _add_distances_plain(panel, rows, lo, hi, d, sums):
    """The same in plain loops."""
    for j in range(lo, hi):
        for r in range(PANEL):
            s = 0.0
            for f in range(d):
                t = panel[f, r] - rows[j, f]
                s += t * t
            sums[r] += np.int64(np.rint(math.sqrt(s)))


@kernel(allocates=True)
def mean_distances_lane(rows, labels, bounds, first, last, counter, plain, own, other, neighbor):
    """Mean distance of rows first..last to their own cluster and to the nearest other one.

    rows (n, d) float64 scaled, in the order of clusters; labels (n,) int64; bounds (k + 1,) int64: where clusters
    begin; counter (1,) int64 INOUT; plain: by plain loops;
    own, other (n,) float64, neighbor (n,) int64 OUT: mean distance to the other rows of the own cluster (0 where there
    are none), the lowest mean distance to the rows of another, and which that is (the lowest on a tie).
    """
    d = rows.shape[1]
    k = bounds.shape[0] - 1
    panel = np.empty((d, PANEL))
    sums, low, high = np.empty(PANEL, np.int64), np.empty(PANEL, np.int64), np.empty(PANEL, np.int64)
    while True:
        lo = first + fetch_add(counter, PANEL)
        if lo >= last:
            break
        count = min(PANEL, last - lo)
        for r in range(PANEL):
            i = lo + min(r, count - 1)
            for f in range(d):
                panel[f, r] = rows[i, f]
        for r in range(count):
            other[lo + r] = np.inf
            neighbor[lo + r] = -1
        for c in range(k):
            low[:] = 0
            high[:] = 0
            for start in range(bounds[c], bounds[c + 1], CHUNK):
                stop = min(start + CHUNK, bounds[c + 1])
                sums[:] = 0
                if plain:
                    _add_distances_plain(panel, rows, start, stop, d, sums)
                else:
                    _add_distances(panel, rows, start, stop, d, sums)
                for r in range(PANEL):
                    low[r] += sums[r] & LOW
                    high[r] += sums[r] >> 32
            size = bounds[c + 1] - bounds[c]
            for r in range(count):
                i = lo + r
                total = np.float64(high[r]) * 4294967296.0 + np.float64(low[r])
                if labels[i] == c:
                    own[i] = total / np.float64(size - 1) if size > 1 else 0.0
                elif total / np.float64(size) < other[i]:
                    other[i] = total / np.float64(size)
                    neighbor[i] = c


@kernel(allocates=True)
def two_nearest_lane(X, counter, grouped, k, labels, plain, own, other, neighbor):
    """Canonical squared distance of every row to the center of its label and to the nearest other center.

    X (n, d) any dtype, counter (1,) int64 INOUT, grouped as canonical.group_centers, k: number of centers, at least 2;
    labels (n,) int32; plain: by plain loops IN; own, other (n,) float64, neighbor (n,) int64 OUT: the latter the
    number of that other center, the lowest on a tie.
    """
    n, d = X.shape
    n_groups = (k + GROUP - 1) // GROUP
    order = np.empty(n_groups, np.int64)
    for g in range(n_groups):
        order[g] = g
    row, out = np.empty(d), np.empty((n_groups, GROUP))
    flat = out.reshape(-1)
    while True:
        lo = fetch_add(counter, 256)
        if lo >= n:
            break
        for i in range(lo, min(lo + 256, n)):
            load_row(X, i, row)
            if plain:
                for g in range(n_groups):
                    group_values_plain(row, grouped, g, out[g])
            else:
                values_of_groups(row, grouped, order, n_groups, flat)
            own[i] = flat[labels[i]]
            best, which = np.inf, -1
            for c in range(k):
                if c != labels[i] and (flat[c] < best or which < 0):
                    best, which = flat[c], c
            other[i] = best
            neighbor[i] = which
