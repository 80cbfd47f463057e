"""Rows of any dtype and layout into float32 scratch: the only kernels that know what the user's array looks like.

A packed value is ``x * scale - shift`` (scale a power of two; shift already scaled), computed in float32 where the
dtype is exact there, in float64 otherwise, and rounded once.  It enters no definition: packing serves
the fast values alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .jit import kernel
from .micro import CHUNK, PANEL, ROWS
from .simd import F32, Loop, fetch_ahead, int_

STRIP = 8  # panels packed at a time


@kernel
def load_row(X, i, row):
    """Canonical values of row i: X (n, d) any dtype, row (d,) float64 OUT."""
    for j in range(X.shape[1]):
        row[j] = X[i, j]


@kernel
def pack_tile(X, lo, hi, scale, shift, y, y0, ahead, step):
    """Rows lo..hi (at most ROWS) of X into the tile at y0; missing rows and the tail up to 16 features become 0.

    X (n, d) any dtype IN, scale and shift (d,) float32 or float64 IN, y float32 OUT as micro.py describes it.
    ahead, step: address to fetch from meanwhile, and how many bytes per feature of the tile.
    Unsigned indices: Numba's test for negative ones would keep LLVM from vectorising.
    """
    d = X.shape[1]
    of = shift.dtype.type
    for r in range(ROWS):  # row by row: the user's memory is read in one stream
        for chunk in range((d + CHUNK - 1) // CHUNK):
            j0 = np.uint64(chunk * CHUNK)
            count = min(CHUNK, d - chunk * CHUNK)
            place = np.uint64(y0 + (chunk * ROWS + r) * CHUNK)
            part = ahead + (r * d + chunk * CHUNK) * step // ROWS
            for line in range(0, CHUNK * step // ROWS, 64):
                fetch_ahead(part + line)
            if lo + r < hi:
                i = np.uint64(lo + r)
                for j in range(np.uint64(count)):
                    y[place + j] = of(X[i, j0 + j]) * scale - shift[j0 + j]
            else:
                for j in range(np.uint64(count)):
                    y[place + j] = np.float32(0.0)
            for j in range(np.uint64(count), np.uint64(min(CHUNK, (count + 15) // 16 * 16))):
                y[place + j] = np.float32(0.0)


@intrinsic
def _tile_norms(typingctx, width, y, y0, d, norms, o0):
    """Squared norms of the ROWS rows of a tile (padded with zeros to a multiple of 16 features) into norms at o0."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        py, pn = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 4))
        chunk, zero = int_(CHUNK), simd.const(vtype, 0.0)
        y_tile = simd.at(b, py, args[2])
        n_chunks = b.udiv(b.add(args[3], int_(CHUNK - 1)), chunk)
        batch = simd.batch_rows(w)
        for r0 in range(0, ROWS, batch):
            with Loop(b, int_(0), n_chunks, int_(1), [zero] * batch) as chunks:
                start = simd.at(b, y_tile, b.mul(chunks.i, int_(ROWS * CHUNK)))
                left = b.sub(args[3], b.mul(chunks.i, chunk))
                count = b.select(b.icmp_signed("<", left, chunk), left, chunk)
                with Loop(b, int_(0), count, int_(w), list(chunks.values)) as features:
                    here = simd.at(b, start, features.i)
                    vectors = [simd.load(b, simd.at(b, here, (r0 + r) * CHUNK), vtype) for r in range(batch)]
                    features.next([simd.fma(b, v, v, a) for v, a in zip(vectors, features.values, strict=True)])
                chunks.next(features.results)
            totals = simd.fold_rows(b, chunks.results, lambda b, x, y: b.fadd(x, y))
            rows = simd.shuffle(b, totals, totals, list(range(batch)))
            simd.store(b, rows, simd.at(b, simd.at(b, pn, args[5]), r0))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, i8, norms, i8), codegen


@kernel
def tile_norms(width, y, y0, d, norms, o0):
    """Squared norms of a packed tile, up to rounding: width lanes(w), y float32 IN, norms float32 OUT."""
    _tile_norms(width, y, y0, d, norms, o0)


def _columns(b: Any, w: int, first: Any, stride: Any) -> list[Any]:
    """Four vectors of w values: features of w rows that lie `stride` apart, by instructions that take no table."""
    quad = simd.vector(F32, 4)

    def quads(r: int) -> Any:
        """Rows r, r + 4, r + 8, ... side by side."""
        parts = [simd.load(b, simd.at(b, first, b.mul(stride, int_(i))), quad) for i in range(r, w, 4)]
        while len(parts) > 1:
            joined = list(range(2 * parts[0].type.count))
            parts = [simd.shuffle(b, parts[i], parts[i + 1], joined) for i in range(0, len(parts), 2)]
        return parts[0]

    def mix(x: Any, y: Any, pattern: list[int]) -> Any:
        """The same two-source shuffle within every 4 lanes; sources are numbered 0-3 and 4-7."""
        lanes = [4 * q + s if s < 4 else w + 4 * q + s - 4 for q in range(w // 4) for s in pattern]
        return simd.shuffle(b, x, y, lanes)

    a, c, e, g = (quads(r) for r in range(4))
    low_ac, low_eg = mix(a, c, [0, 4, 1, 5]), mix(e, g, [0, 4, 1, 5])
    high_ac, high_eg = mix(a, c, [2, 6, 3, 7]), mix(e, g, [2, 6, 3, 7])
    halves = ([0, 1, 4, 5], [2, 3, 6, 7])
    return [mix(*pair, half) for pair in ((low_ac, low_eg), (high_ac, high_eg)) for half in halves]


@intrinsic
def transpose_columns(typingctx, width, rows, r0, stride, panel, p0):
    """w rows of 4 features, `stride` apart from r0 on, into 4 vectors of the panel, PANEL * w apart from p0 on."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        pr, pp = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 4))
        out = simd.at(b, pp, args[5])
        for j, column in enumerate(_columns(b, w, simd.at(b, pr, args[2]), args[3])):
            simd.store(b, column, simd.at(b, out, j * PANEL * w))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, rows, i8, i8, panel, i8), codegen


@intrinsic
def _transpose_panel(typingctx, width, rows, r0, d, scale, shift, panel, p0):
    """PANEL * w rows of d float32 values from r0 on into the panel at p0, times scale less shift (float32).

    Up to 3 values behind the last row are read.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        pr, ps, pp = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 5, 6))
        first, out, d_ = simd.at(b, pr, args[2]), simd.at(b, pp, args[7]), args[3]
        factor = simd.splat(b, args[4], w)
        with Loop(b, int_(0), d_, int_(4), []) as features:
            here = simd.at(b, out, b.mul(features.i, int_(PANEL * w)))
            shifts = [simd.splat(b, b.load(simd.at(b, simd.at(b, ps, features.i), j)), w) for j in range(4)]
            for v in range(PANEL):
                start = simd.at(b, simd.at(b, first, b.mul(d_, int_(v * w))), features.i)
                for j, column in enumerate(_columns(b, w, start, d_)):
                    packed = b.fsub(b.fmul(column, factor), shifts[j])
                    simd.store(b, packed, simd.at(b, here, (j * PANEL + v) * w))
            features.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, rows, i8, i8, types.float32, shift, panel, i8), codegen


@kernel
def _pack_strip_contiguous(width, X, lo, hi, scale, tiled_shift, rows, panels):
    """C order: flat loops over many rows, then panel by panel transpose 4 features at a time."""
    d = X.shape[1]
    of = tiled_shift.dtype.type
    flat = X.reshape(-1)
    lanes = len(width)
    points = PANEL * lanes
    n = (hi - lo) * d
    n_panels = (hi - lo + points - 1) // points
    period = tiled_shift.shape[0]
    for q in range(0, n, period):
        start, place = np.uint64(lo * d + q), np.uint64(q)
        for e in range(np.uint64(min(period, n - q))):
            rows[place + e] = of(flat[start + e]) * scale - tiled_shift[e]
    for e in range(n, n_panels * points * d):
        rows[e] = np.float32(0.0)
    size = panel_size(lanes, d)
    for t in range(n_panels):
        for j in range(0, d, 4):
            for v in range(PANEL):
                transpose_columns(
                    width, rows, (t * points + v * lanes) * d + j, d, panels, t * size + (j * PANEL + v) * lanes
                )


@kernel
def _pack_strip_single(width, X, lo, hi, scale, tiled_shift, rows, panels):
    """float32 in C order, computed in float32: transposed as it lies, but for the end, behind which nothing is read."""
    d = X.shape[1]
    flat = X.reshape(-1)
    points = PANEL * len(width)
    size = panel_size(len(width), d)
    for t in range((hi - lo + points - 1) // points):
        first = lo + t * points
        if first + points <= hi and (X.shape[0] - first - points) * d >= 3:
            _transpose_panel(width, flat, first * d, d, scale, tiled_shift, panels, t * size)
        else:
            last = min(first + points, hi)
            _pack_strip_contiguous(width, X, first, last, scale, tiled_shift, rows, panels[t * size :])


@kernel
def _pack_strip_strided(width, X, lo, hi, scale, tiled_shift, rows, panels):
    """Any other order: feature by feature, points in the inner loop (contiguous where X is in Fortran order)."""
    of = tiled_shift.dtype.type
    points = PANEL * len(width)
    size = panel_size(len(width), X.shape[1])
    for t in range((hi - lo + points - 1) // points):
        first = np.uint64(lo + t * points)
        count = np.uint64(min(points, hi - lo - t * points))
        for j in range(np.uint64(X.shape[1])):
            shift = tiled_shift[j]
            place = np.uint64(t * size) + j * np.uint64(points)
            for p in range(count):
                panels[place + p] = of(X[first + p, j]) * scale - shift
            for p in range(count, np.uint64(points)):
                panels[place + p] = np.float32(0.0)


def pack_strip(width, X, lo, hi, scale, tiled_shift, rows, panels):
    """Rows lo..hi (at most STRIP panels of PANEL * w) of X into panels ``[d rounded up to 4][PANEL * w]``.

    X (n, d) any dtype IN, tiled_shift (m * d >= d + 3,) float32 or float64: the shift of every feature, m times over
    IN, rows float32 scratch of STRIP * PANEL * w * d + 4, panels float32 OUT.
    """
    _pack_strip_strided(width, X, lo, hi, scale, tiled_shift, rows, panels)


@overload(pack_strip, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _pack_strip(width, X, lo, hi, scale, tiled_shift, rows, panels):
    """Chosen by the layout in the array's type."""
    if X.layout != "C":
        return _pack_strip_strided.py_func
    if X.dtype == types.float32 and tiled_shift.dtype == types.float32:
        return _pack_strip_single.py_func
    return _pack_strip_contiguous.py_func


@kernel
def panel_size(lanes, d):
    """float32 values of one panel."""
    return (d + 3) // 4 * 4 * PANEL * lanes


@intrinsic
def panel_norms(typingctx, width, panels, p0, d, norms, o0):
    """Squared norms of the PANEL * w points of the panel at p0, up to rounding, into norms (float32) at o0."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype = simd.vector(F32, w)
        pp, pn = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 4))
        start, out = simd.at(b, pp, args[2]), simd.at(b, pn, args[5])
        with Loop(b, int_(0), args[3], int_(1), [simd.const(vtype, 0.0)] * PANEL) as features:
            here = simd.at(b, start, b.mul(features.i, int_(PANEL * w)))
            vectors = [simd.load(b, simd.at(b, here, v * w), vtype) for v in range(PANEL)]
            features.next([simd.fma(b, x, x, a) for x, a in zip(vectors, features.values, strict=True)])
        for v, total in enumerate(features.results):
            simd.store(b, total, simd.at(b, out, v * w))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, panels, i8, i8, norms, i8), codegen


def tile_size(d: int) -> int:
    """float32 values of one packed tile."""
    return -(-d // CHUNK) * ROWS * CHUNK
