"""The micro-kernels and packing, called directly: the right bits, and not one byte outside what they are given.

Buffers lie inside larger arrays. What a kernel must not write holds a sentinel that is looked for afterwards; what it
must not read holds NaN, which would show in the result. The fast values are compared to the bit with chains of float32
FMAs worked out in exact float64 arithmetic, for every lane width, block shape and orientation.
"""

import ctypes
import mmap
import sys
from fractions import Fraction

import numba
import numpy as np
import pytest

from fastkmeans import passes
from fastkmeans.kernels import canonical, simd
from fastkmeans.kernels.canonical import WIDE, WIDE_ROWS
from fastkmeans.kernels.jit import kernel
from fastkmeans.kernels.lloyd import pack_centers
from fastkmeans.kernels.micro import (
    CENTERS,
    CHUNK,
    PANEL,
    ROWS,
    assign_tile,
    finish_tile,
    lanes_above,
    row_values,
    tile_values,
)
from fastkmeans.kernels.pack import (
    STRIP,
    load_row,
    pack_strip,
    pack_tile,
    panel_norms,
    panel_size,
    tile_norms,
    tile_size,
)
from fastkmeans.kernels.panel import assign_panel, assign_panel_tiles

WIDTHS = (4, 8, 16)
FEATURES = (1, 3, 16, 17, 63, 64, 65, 130, 200)
GUARD = 37  # sentinels on either side; odd, so that nothing is aligned
CANARY = np.float32(-7.25e33)
ULP = 2.0**-24


# Intrinsics can be called from compiled code only. Cached like the kernels: a change in those compiles these anew.
@kernel
def run_row_values(width, y, y0, c, h, d, n_groups, out):
    row_values(width, y, y0, c, h, d, n_groups, out)


@kernel
def run_tile_values(width, y, y0, c, h, d, n_groups, out, o0, totals):
    tile_values(width, y, y0, c, h, d, n_groups, out, o0, totals)


@kernel
def run_assign_tile(width, y, y0, c, c0, h, h0, d, n_groups, first, state, which, s0, totals, ahead, step):
    assign_tile(width, y, y0, c, c0, h, h0, d, n_groups, first, state, which, s0, totals, ahead, step)


@kernel
def run_finish_tile(width, state, which, s0, v1, v2, label, o0):
    finish_tile(width, state, which, s0, v1, v2, label, o0)


@kernel
def run_assign_panel(width, p, p0, c, h, d, n_tiles, v1, v2, label, o0, ahead, step):
    assign_panel(width, p, p0, c, h, d, n_tiles, v1, v2, label, o0, ahead, step)


@kernel
def run_assign_panel_tiles(width, p, p0, c, h, d, n_tiles, v1, v2, label, o0, ahead, step):
    assign_panel_tiles(width, p, p0, c, h, d, n_tiles, v1, v2, label, o0, ahead, step)


@kernel
def run_panel_norms(width, panels, p0, d, norms, o0):
    panel_norms(width, panels, p0, d, norms, o0)


@kernel
def run_lanes_above(width, values, o0, threshold):
    return lanes_above(width, values, o0, threshold)


@kernel
def run_pack_strip(width, X, lo, hi, scale, tiled_shift, rows, panels):
    pack_strip(width, X, lo, hi, scale, tiled_shift, rows, panels)


# --------------------------------------------------------------------------------------------- exact references
def fma32(x, y, z):
    """x * y + z for float32, rounded once: the float64 product is exact, the float64 sum is rounded to odd first."""
    product = np.float64(x) * np.float64(y)
    z = np.broadcast_to(np.float64(z), product.shape)
    total = product + z
    from_z = total - product
    error = (product - (total - from_z)) + (z - from_z)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    with np.errstate(under="ignore"):
        return np.where((error != 0) & even, odd, total).astype(np.float32)


def fast_values(y, c, h):
    """What a fast value is: a chain of FMAs in feature order from -h on, cut every CHUNK features."""
    total, out = None, np.isinf(h)
    for start in range(0, y.shape[1], CHUNK):
        chain = np.zeros((len(y), len(c)), np.float32)
        if start == 0:
            chain = chain - np.where(out, 0, h)
        for j in range(start, min(start + CHUNK, y.shape[1])):
            chain = fma32(y[:, j, None], c[None, :, j], chain)
        total = chain if total is None else total + chain
    total[:, out] = -np.inf
    return total


def best_two(values):
    """Best, second best and lowest index of the best of every row."""
    label = values.argmax(axis=1)
    rest = values.copy()
    rest[np.arange(len(values)), label] = -np.inf
    return values.max(axis=1), rest.max(axis=1), label.astype(np.int32)


def test_the_reference_rounds_once():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2000)).astype(np.float32)
    z = (-(x.astype(np.float64) * y) * (1 + rng.choice([0, ULP, 2 * ULP, 1e-3, 1e9], 2000))).astype(np.float32)
    x[:3], y[:3], z[:3] = 1 + 2 * ULP, 1 + 2 * ULP, [2.0**-60, -(2.0**-60), 0]  # next to a tie after the first rounding
    x[3:6], y[3:6], z[3:6] = 1.0, 2.0**-24, [1.0, 1 + 2.0**-23, -1.0]
    x[6:9], y[6:9], z[6:9] = 2.0**-80, 2.0**-69 * np.float32([1, 1.5, 3]), 2.0**-149
    for a, b, c, r in zip(x, y, z, fma32(x, y, z), strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        off = abs(Fraction(float(r)) - exact)
        for other in (np.nextafter(r, np.float32(-np.inf)), np.nextafter(r, np.float32(np.inf))):
            distance = abs(Fraction(float(other)) - exact)
            assert off < distance or (off == distance and r.view(np.uint32) % 2 == 0)


# --------------------------------------------------------------------------------------------- guarded buffers
class Guarded:
    """An array of canaries around a zone; `check` says that all of them are alive."""

    def __init__(self, size, dtype=np.float32, inside=None):
        sentinel = CANARY if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max - 77
        self.start, self.stop = GUARD, GUARD + size
        self.whole = np.full(size + 2 * GUARD, sentinel, dtype)
        self.sentinel = self.whole.copy()
        if inside is not None:
            self.zone[:] = inside

    @property
    def zone(self):
        return self.whole[self.start : self.stop]

    def check(self):
        for part in (slice(None, self.start), slice(self.stop, None)):
            np.testing.assert_array_equal(self.whole[part], self.sentinel[part])


def unread(values):
    """A flat float32 array with NaN before and behind the values, and where they begin."""
    values = np.ascontiguousarray(values, np.float32).reshape(-1)
    guard = np.full(GUARD, np.nan, np.float32)
    return np.concatenate([guard, values, guard]), GUARD


def tile_of(y):
    """Packed rows (ROWS, d) as a tile, NaN where nothing is to be read."""
    d = y.shape[1]
    tile = np.full((-(-d // CHUNK), ROWS, CHUNK), np.nan, np.float32)
    for j in range(d):
        tile[j // CHUNK, :, j % CHUNK] = y[:, j]
    return tile


def groups_of(c, size):
    """Packed centers (k, d) in groups or tiles of `size`; missing ones are zero."""
    k, d = c.shape
    out = np.zeros((-(-k // size), d, size), np.float32)
    for i in range(k):
        out[i // size, :, i % size] = c[i]
    return out


def halves_of(c, size, dead=()):
    out = np.full(-(-len(c) // size) * size, np.inf, np.float32)
    out[: len(c)] = 0.5 * (c.astype(np.float64) ** 2).sum(axis=1)
    out[list(dead)] = np.inf
    return out


def problem(d, k, rows=ROWS, seed=0):
    """Packed rows and centers: some rows are centers, some centers equal (one of them out), some lie an ulp apart."""
    rng = np.random.default_rng(1000 * d + k + seed)
    y, c = rng.normal(size=(rows, d)).astype(np.float32), rng.normal(size=(k, d)).astype(np.float32)
    y[: min(rows, k) // 2] = c[: min(rows, k) // 2]
    dead = []
    if k > 5:
        c[k // 2] = c[1]
        dead = [k // 2]
        c[k - 1] = c[2]  # equal and not taken out: the lower index wins, both are best and second best
        c[4] = np.nextafter(c[3], np.float32(9))
    return y, c, dead


def bits(values):
    return np.ascontiguousarray(values).view(np.uint32)


def assert_same_bits(a, b):
    np.testing.assert_array_equal(bits(a), bits(np.asarray(b, a.dtype)))


# ---------------------------------------------------------------------------------------------- lanes = centers
@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_values_of_rows_and_tiles(width, d):
    """row_values and tile_values, for 1 to 9 groups of centers."""
    for n_groups in (1, 2, 3, 4, 5, 9):
        k = n_groups * width - 3
        y, c, dead = problem(d, k)
        halves = halves_of(c, width, dead)
        expected = np.full((ROWS, n_groups * width), -np.inf, np.float32)
        expected[:, :k] = fast_values(y, c, halves[:k])
        tile, y0 = unread(tile_of(y))
        groups = groups_of(c, width).reshape(-1)

        out, totals = Guarded(expected.size), Guarded(ROWS * 2 * width)
        # c and h come without an offset: they end where their arrays end
        run_tile_values(
            simd.lanes(width), tile, y0, groups, halves, d, n_groups, out.whole, GUARD, totals.whole[GUARD:]
        )
        assert_same_bits(out.zone.reshape(expected.shape), expected)
        out.check()
        totals.check()

        for r in range(ROWS):
            out = Guarded(n_groups * width)
            run_row_values(simd.lanes(width), tile, y0 + r * CHUNK, groups, halves, d, n_groups, out.whole[GUARD:])
            assert_same_bits(out.zone, expected[r])
            out.check()


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("width", WIDTHS)
def test_assign_tile(width, d):
    """Best and second best of a tile, over even and odd numbers of groups, in one sweep and in several."""
    for n_groups, sweep in ((1, 1), (2, 2), (3, 3), (5, 2), (6, 4)):
        k = n_groups * width - 1
        y, c, dead = problem(d, k)
        halves = halves_of(c, width, dead)
        values = np.full((ROWS, n_groups * width), -np.inf, np.float32)
        values[:, :k] = fast_values(y, c, halves[:k])
        tile, y0 = unread(tile_of(y))
        groups, c0 = unread(groups_of(c, width))
        h, h0 = unread(halves)

        s0 = 3  # the tile's place among others in the block
        state, which = Guarded(ROWS * 2 * width), Guarded(ROWS * width, np.int32)
        before = s0 * width  # state and which are addressed in vectors: the guard must be a whole number of them
        block_state = np.full((2 * s0 + 2 * ROWS + 2) * width, CANARY)
        block_which = np.full((s0 + ROWS + 1) * width, 2**30, np.int32)
        own_state = slice(2 * before, 2 * before + 2 * ROWS * width)
        own_which = slice(before, before + ROWS * width)
        block_state[own_state], block_which[own_which] = np.nan, -1  # the first group starts afresh
        totals = Guarded(ROWS * 2 * width)
        for g in range(0, n_groups, sweep):
            run_assign_tile(
                simd.lanes(width), tile, y0, groups, c0 + g * d * width, h, h0 + g * width, d, min(sweep, n_groups - g),
                g, block_state, block_which, s0, totals.whole[GUARD:], *((tile.ctypes.data, 64) if g else (0, 0)),
            )  # fmt: skip
        totals.check()
        for whole, own, sentinel in ((block_state, own_state, CANARY), (block_which, own_which, 2**30)):
            assert (whole[: own.start] == sentinel).all()
            assert (whole[own.stop :] == sentinel).all()

        # lane by lane: the best of a lane's centers, and the second best
        by_lane = values.reshape(ROWS, n_groups, width).transpose(0, 2, 1).reshape(ROWS * width, n_groups)
        best, second, index = best_two(by_lane)
        pairs = block_state[own_state].reshape(ROWS, 2, width)
        assert_same_bits(pairs[:, 0], best.reshape(ROWS, width))
        assert_same_bits(pairs[:, 1], second.reshape(ROWS, width))
        np.testing.assert_array_equal(block_which[own_which], index)

        # and the horizontal step
        state, which = Guarded(ROWS), Guarded(ROWS)
        label = Guarded(ROWS, np.int32)
        run_finish_tile(simd.lanes(width), block_state, block_which, s0, state.whole, which.whole, label.whole, GUARD)
        best, second, index = best_two(values)
        assert_same_bits(state.zone, best)
        assert_same_bits(which.zone, second)
        np.testing.assert_array_equal(label.zone, index)
        for buffer in (state, which, label):
            buffer.check()


@pytest.mark.parametrize("width", WIDTHS)
def test_equal_bests_in_several_lanes(width):
    """The lowest center wins whatever lane holds it, and the others count as second best."""
    state = np.full((ROWS, 2, width), -np.inf, np.float32)
    which = np.full((ROWS, width), 7, np.int32)
    state[:, 0] = 1.5
    for r in range(ROWS):
        which[r, -1 - r % width] = 3  # the lowest
    state[3, 0, :-2], which[3, -2:] = 1.0, (2, 9)  # two lanes of all
    v1, v2, label = Guarded(ROWS), Guarded(ROWS), Guarded(ROWS, np.int32)
    run_finish_tile(simd.lanes(width), state.reshape(-1), which.reshape(-1), 0, v1.whole, v2.whole, label.whole, GUARD)
    assert (v1.zone == 1.5).all()
    assert (v2.zone == 1.5).all()
    expected = [4 * width - 1 - r % width for r in range(ROWS)]
    expected[3] = 3 * width - 2
    assert label.zone.tolist() == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_lanes_above(width):
    values, start = unread(np.arange(width) - 2.0)
    for threshold in (-5.0, -2.0, -1.5, 0.0, 1.0, width - 3.0, width + 1.0):
        expected = sum(1 << lane for lane in range(width) if lane - 2 >= threshold)
        assert run_lanes_above(simd.lanes(width), values, start, np.float32(threshold)) == expected


# ----------------------------------------------------------------------------------------------- lanes = points
def panel_of(y, width):
    """Packed rows (PANEL * width, d) as a panel, NaN in the features that only fill it up."""
    d = y.shape[1]
    panel = np.full((-(-d // 4) * 4, PANEL * width), np.nan, np.float32)
    panel[:d] = y.T
    return panel


@pytest.mark.parametrize("d", [d for d in FEATURES if d <= CHUNK])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("run", [run_assign_panel, run_assign_panel_tiles])
def test_assign_panel(run, width, d):
    for k in (1, 7, 8, 9, 24, 61):
        y, c, dead = problem(d, k, PANEL * width)
        halves = halves_of(c, CENTERS, dead)
        values = fast_values(y, c, halves[:k])
        panel, p0 = unread(panel_of(y, width))
        v1, v2, label = Guarded(PANEL * width), Guarded(PANEL * width), Guarded(PANEL * width, np.int32)
        run(
            simd.lanes(width), panel, p0, groups_of(c, CENTERS).reshape(-1), halves, d, -(-k // CENTERS),
            v1.whole, v2.whole, label.whole, GUARD, panel.ctypes.data, 128,
        )  # fmt: skip
        best, second, index = best_two(values)
        assert_same_bits(v1.zone, best)
        assert_same_bits(v2.zone, second)
        np.testing.assert_array_equal(label.zone, index)
        for buffer in (v1, v2, label):
            buffer.check()


@pytest.mark.parametrize("width", WIDTHS)
def test_fast_values_of_tiny_numbers(width):
    """Products that are subnormal or vanish: the same in both orientations (a zero may differ in its sign)."""
    d, k = 20, 3 * width
    rng = np.random.default_rng(9)
    y = (rng.normal(size=(PANEL * width, d)) * 2.0 ** rng.integers(-80, -60, (PANEL * width, d))).astype(np.float32)
    c = (rng.normal(size=(k, d)) * 2.0 ** rng.integers(-90, -60, (k, d))).astype(np.float32)
    halves = halves_of(c, width)
    values = fast_values(y, c, halves)
    assert (np.abs(values) < 2.0**-126).any()
    out = np.empty(k, np.float32)
    for r in range(ROWS):
        tile = tile_of(y[:ROWS]).reshape(-1)
        run_row_values(simd.lanes(width), tile, r * CHUNK, groups_of(c, width).reshape(-1), halves, d, 3, out)
        np.testing.assert_array_equal(out, values[r])
    v1, v2 = np.empty((2, PANEL * width), np.float32)
    label = np.empty(PANEL * width, np.int32)
    tiles, halves = groups_of(c, CENTERS).reshape(-1), halves_of(c, CENTERS)
    run_assign_panel(
        simd.lanes(width), panel_of(y, width).reshape(-1), 0, tiles, halves, d, -(-k // 8), v1, v2, label, 0, 0, 0
    )
    for found, expected in zip((v1, v2, label), best_two(values), strict=True):
        np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------------------------------------------ packing
DTYPES = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")


def stored(n, d, dtype, order):
    rng = np.random.default_rng(n + d)
    X = (rng.integers(0, 100, (n, d)) if np.dtype(dtype).kind in "iub" else 50 * rng.normal(size=(n, d))).astype(dtype)
    if dtype == "i8":
        X = X * 10**15 - 3
    if order == "F":
        return np.asfortranarray(X)
    if order == "strided":
        wide = np.zeros((2 * n, d + 3), dtype)
        wide[::-2, 1 : d + 1] = X
        return wide[::-2, 1 : d + 1]
    return X


def frame(X, single):
    """A scale, a shift, and the rows packed with them."""
    of = np.float32 if single else np.float64
    scale = of(0.25)
    shift = (np.linspace(-3, 7, X.shape[1]) / 3).astype(of)
    return scale, shift, (X.astype(of) * scale - shift).astype(np.float32)


def is_single(dtype):
    return np.dtype(dtype).itemsize <= 2 or dtype == "f4"


LAYOUTS = [(dtype, "C") for dtype in DTYPES] + [(t, order) for t in ("f4", "f8", "u1") for order in ("F", "strided")]


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_pack_tile(dtype, order):
    for d in (1, 15, 16, 64, 65, 130):
        X = stored(17, d, dtype, order)
        scale, shift, expected = frame(X, is_single(dtype))
        for lo, hi in ((0, 12), (5, 17), (13, 17), (4, 5)):
            y = Guarded(tile_size(d))
            pack_tile(X, lo, hi, scale, shift, y.whole, GUARD, *((X.ctypes.data, 64) if lo else (0, 0)))
            y.check()
            tile = y.zone.reshape(-1, ROWS, CHUNK).transpose(1, 0, 2).reshape(ROWS, -1)
            assert_same_bits(tile[: hi - lo, :d], expected[lo:hi])
            padded = -(-d // 16) * 16
            assert (tile[hi - lo :, :d] == 0).all()
            assert (tile[:, d:padded] == 0).all()
            assert (tile[:, padded:] == CANARY).all()
            for width in WIDTHS if dtype in ("f4", "f8") else ():
                norms = Guarded(ROWS)
                tile_norms(simd.lanes(width), y.whole, GUARD, d, norms.whole, GUARD)
                norms.check()
                squares = (expected[lo:hi].astype(np.float64) ** 2).sum(axis=1)
                np.testing.assert_allclose(norms.zone[: hi - lo], squares, rtol=(d / 4 + 72) * ULP)
                assert (norms.zone[hi - lo :] == 0).all()


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_pack_strip(dtype, order):
    """Numbers of rows that fill no panel, numbers of features that fill no four, shifts tiled often and once."""
    for width in WIDTHS if dtype in ("f4", "u1") else (WIDTHS[-1],):
        points = PANEL * width
        for d in (1, 2, 5, 47):
            X = stored(STRIP * points + 9, d, dtype, order)
            scale, shift, expected = frame(X, is_single(dtype))
            size = panel_size(width, d)
            for lo, hi, tiled in ((0, STRIP * points, -(-256 // d)), (9, 9 + points + 7, 1 + -(-3 // d)), (3, 4, 5)):
                rows, panels = Guarded(STRIP * points * d + 4), Guarded(STRIP * size)
                run_pack_strip(
                    simd.lanes(width), X, lo, hi, scale, np.tile(shift, tiled),
                    rows.whole[rows.start : rows.stop], panels.whole[panels.start : panels.stop],
                )  # fmt: skip
                rows.check()
                panels.check()
                n_panels = -(-(hi - lo) // points)
                packed = panels.zone[: n_panels * size].reshape(n_panels, -1, points)[:, :d].transpose(0, 2, 1)
                packed = packed.reshape(-1, d)
                assert_same_bits(packed[: hi - lo], expected[lo:hi])
                assert (packed[hi - lo :] == 0).all()
                assert (panels.zone[n_panels * size :] == CANARY).all()
                norms = Guarded(points)
                run_panel_norms(simd.lanes(width), panels.zone, 0, d, norms.whole, GUARD)
                norms.check()
                squares = (packed[:points].astype(np.float64) ** 2).sum(axis=1)
                np.testing.assert_allclose(norms.zone, squares, rtol=(d + 1) * ULP)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects a page by a call of Linux")
@pytest.mark.parametrize("d", [1, 2, 3])
def test_pack_strip_reads_nothing_behind_the_rows(d):
    """Rows may end where a page does, and the next one may not be read: a mistake here ends the process."""
    width, page = WIDTHS[-1], mmap.PAGESIZE
    points = PANEL * width
    memory = mmap.mmap(-1, 2 * page)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + page), ctypes.c_size_t(page), 0) == 0
    for n in range(points, points + 5):
        X = np.frombuffer(memory, np.float32, n * d, page - 4 * n * d).reshape(n, d)
        X[:] = np.arange(n * d).reshape(n, d)
        rows, panels = np.empty(STRIP * points * d + 4, np.float32), np.empty(STRIP * panel_size(width, d), np.float32)
        run_pack_strip(simd.lanes(width), X, 0, n, np.float32(1.0), np.zeros(64 * d, np.float32), rows, panels)
        for first in range(0, n, points):
            panel = panels[first // points * panel_size(width, d) :][: d * points].reshape(d, points)
            np.testing.assert_array_equal(panel.T[: n - first], X[first : first + points])


@pytest.mark.parametrize("dtype", DTYPES)
def test_load_row_gives_canonical_values(dtype):
    X = stored(5, 7, dtype, "C")
    row = Guarded(7, np.float64)
    load_row(X, 3, row.zone)
    np.testing.assert_array_equal(row.zone, X[3].astype(np.float64))
    row.check()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pack_centers(width, dtype):
    rng = np.random.default_rng(2)
    for k, d in ((1, 1), (13, 3), (16, 65), (33, 5)):
        centers = rng.normal(size=(k, d)).astype(dtype)
        duplicate = np.zeros(k, np.uint8)
        if k > 5:
            centers[5] = centers[2] = 100.0  # the longest, and out of the race: it must not widen the bound
            duplicate[[2, 5]] = 1
        shift = rng.normal(size=d)
        expected = (centers.astype(np.float64) * 8.0 - shift).astype(np.float32)
        groups, tiles = Guarded(-(-k // width) * width * d, inside=0), Guarded(-(-k // CENTERS) * CENTERS * d, inside=0)
        halves, norms = Guarded(-(-k // 16) * 16), Guarded(k, np.float64)
        largest = pack_centers(centers, duplicate, 8.0, shift, width, groups.zone, tiles.zone, halves.zone, norms.zone)
        for buffer in (groups, tiles, halves, norms):
            buffer.check()
        np.testing.assert_array_equal(groups.zone, groups_of(expected, width).reshape(-1))
        np.testing.assert_array_equal(tiles.zone, groups_of(expected, CENTERS).reshape(-1))
        squares = [sum(Fraction(float(v)) ** 2 for v in row) for row in expected]
        for c in range(k):
            assert Fraction(norms.zone[c]) ** 2 >= squares[c]
            assert norms.zone[c] ** 2 <= float(squares[c]) * (1 + 1e-5)
            assert halves.zone[c] == (np.inf if duplicate[c] else pytest.approx(float(squares[c]) / 2, rel=2 * ULP))
        assert (halves.zone[k:] == np.inf).all()
        assert largest == norms.zone[duplicate == 0].max()


@pytest.mark.parametrize("feature", ["avx512f", "avx2"])
def test_values_are_added_in_order(feature, monkeypatch):
    """In both ways, whichever this CPU is for: to the bit what a loop gives, whose every addition rounds."""
    monkeypatch.setattr(simd, "cpu_features", lambda: frozenset([feature]))

    @numba.njit
    def add(terms, count, sums, first):
        canonical._add_in_order(terms, count, sums, first)

    rng = np.random.default_rng(0)
    terms = rng.normal(size=(WIDE_ROWS, WIDE)) ** 2 * 2.0 ** rng.integers(-30, 30, (WIDE_ROWS, WIDE))
    for count in (8, 40, WIDE):
        sums = np.ones(WIDE_ROWS + 4)
        add(terms, count, sums, 3)
        expected = np.ones(WIDE_ROWS + 4)
        for j in range(count):
            expected[3:-1] += terms[:, j]
        assert sums.tobytes() == expected.tobytes()


def test_what_is_fetched_ahead_is_mapped():
    """In an order that does not let rows be fetched, lines of theirs are asked for, not of where nothing is."""
    X = np.zeros((40, 6), np.float32)
    for rows, following in ((X, 36 * 4), (np.asfortranarray(X), 0), (X[:, ::2], 0), (X[::-1], 0)):
        first, last = np.lib.array_utils.byte_bounds(rows)
        address, step = passes.ahead(rows, 36)
        assert first <= address < last
        assert step == following
