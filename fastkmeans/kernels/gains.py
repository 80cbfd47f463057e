"""Kernels of k-means++ that read every row: exact gains of candidates, and one more seed taken into account.

Rows are taken in panels of float64, lanes = rows: every distance is the canonical one.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .canonical import WIDE, WIDE_ROWS, block_distances
from .exact import LOW, add_weighted
from .jit import kernel
from .seeding import DIGITS, rounded
from .simd import F64, I64, Loop, fetch_add
from .transpose import TOGETHER, row_values, transposes

PANEL_ROWS = 16  # rows of a panel of float64
NARROW = 12  # features below which a canonical value costs no more than a fast one


@intrinsic
def _panel_values(typingctx, panel, centers, c0, d, out, o0):
    """Canonical distances of the PANEL_ROWS rows of a panel [d][PANEL_ROWS] to the center at c0 of centers, float64."""

    def codegen(context, b, signature, args):
        vtype = simd.vector(F64, 8)
        pp, pc, po = (simd.data(context, b, signature.args[i], args[i]) for i in (0, 1, 4))
        center, result = simd.at(b, pc, args[2]), simd.at(b, po, args[5])
        zero, one = simd.const(vtype, 0.0), ir.Constant(I64, 1)
        with Loop(b, ir.Constant(I64, 0), args[3], one, [zero, zero]) as loop:
            c = simd.splat(b, b.load(simd.at(b, center, loop.i)), 8)
            here = simd.at(b, pp, b.mul(loop.i, ir.Constant(I64, PANEL_ROWS)))
            sums = []
            for v, s in enumerate(loop.values):
                difference = b.fsub(simd.load(b, simd.at(b, here, 8 * v), vtype), c)
                sums.append(b.fadd(s, b.fmul(difference, difference)))
            loop.next(sums)
        for v, s in enumerate(loop.results):
            simd.store(b, s, simd.at(b, result, 8 * v))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(panel, centers, i8, i8, out, i8), codegen


@kernel(allocates=True)
def gains_lane(plain, X, weights, counter, nearest_sq, candidates, scale0, scale1, gains):
    """By how much each candidate would lower the potential, from canonical distances throughout.

    plain: without vectors; X (n, d) any dtype, weights (n,) int64 or (0,), nearest_sq (n,) float64, candidates (L, d)
    float64, scale0, scale1: powers of two IN; counter (1,), gains (L * DIGITS,) int64 INOUT.
    """
    n, d = X.shape
    L = candidates.shape[0]
    weighted = weights.shape[0] > 0
    flat = candidates.reshape(-1)
    panel, values = np.zeros(PANEL_ROWS * d), np.empty(PANEL_ROWS)
    before, old = np.zeros(PANEL_ROWS), np.empty(PANEL_ROWS, np.int64)
    totals = np.zeros(L, np.int64)
    block = 64 * PANEL_ROWS
    while True:
        start = fetch_add(counter, block)
        if start >= n:
            break
        totals[:] = 0
        for lo in range(start, min(start + block, n), PANEL_ROWS):
            count = min(PANEL_ROWS, n - lo)
            for r in range(count):
                i = np.uint64(lo + r)
                before[r] = nearest_sq[i]
                for j in range(np.uint64(d)):
                    panel[j * np.uint64(PANEL_ROWS) + np.uint64(r)] = X[i, j]
            for r in range(count, PANEL_ROWS):
                before[r] = 0.0
            for r in range(PANEL_ROWS):
                old[r] = rounded(before[r] * scale0 * scale1)
            for c in range(L):
                if plain:
                    for r in range(PANEL_ROWS):
                        values[r] = 0.0
                    for j in range(d):
                        for r in range(PANEL_ROWS):
                            t = panel[j * PANEL_ROWS + r] - flat[c * d + j]
                            values[r] += t * t
                else:
                    _panel_values(panel, flat, c * d, d, values, 0)
                if weighted:
                    for r in range(count):
                        if values[r] < before[r]:
                            new = rounded(values[r] * scale0 * scale1)
                            add_weighted(old[r] - new, weights[lo + r], gains, c * DIGITS)
                    continue
                total = np.int64(0)
                for r in range(PANEL_ROWS):
                    nearer = values[r] if values[r] < before[r] else before[r]
                    total += old[r] - rounded(nearer * scale0 * scale1)
                totals[c] += total
        for c in range(L):
            gains[c * DIGITS] += totals[c] & LOW
            gains[c * DIGITS + 1] += totals[c] >> 32


@kernel(allocates=True)
def nearer_lane(plain, X, counter, center, label, nearest_sq, labels):
    """Take one more seed into account: nearest_sq (n,) float64, labels (n,) int32 INOUT, center (1, d) float64 IN."""
    n, d = X.shape
    flat = center.reshape(-1)
    panel, values = np.zeros(PANEL_ROWS * d), np.empty(1024)
    terms, sums = np.zeros((WIDE_ROWS, WIDE)), np.empty(WIDE_ROWS)
    largest, no_weights, first = np.zeros(1), np.empty(0, np.int64), np.zeros(1024, np.int32)
    some = np.empty(TOGETHER, np.int64)
    while True:
        start = fetch_add(counter, 1024)
        if start >= n:
            break
        stop = min(start + 1024, n)
        if plain or d >= NARROW:
            if plain:
                for i in range(start, stop):
                    s = 0.0
                    for j in range(d):
                        t = np.float64(X[i, j]) - flat[j]
                        s += t * t
                    values[i - start] = s
            elif transposes(X):
                for lo in range(start, stop, TOGETHER):
                    for r in range(TOGETHER):
                        some[r] = min(lo + r, n - 1)
                    row_values(X, some, flat, TOGETHER * d, values, lo - start)
            else:
                rows = X[start:stop]
                block_distances(rows, 0, stop - start, center, first, no_weights, values, largest, terms, sums)
        else:
            for lo in range(start, stop, PANEL_ROWS):
                for r in range(min(PANEL_ROWS, stop - lo)):
                    i = np.uint64(lo + r)
                    for j in range(np.uint64(d)):
                        panel[j * np.uint64(PANEL_ROWS) + np.uint64(r)] = X[i, j]
                _panel_values(panel, flat, 0, d, values, lo - start)
        for i in range(np.uint64(start), np.uint64(stop)):
            value = values[i - np.uint64(start)]
            closer = value < nearest_sq[i]
            nearest_sq[i] = value if closer else nearest_sq[i]
            labels[i] = label if closer else labels[i]
