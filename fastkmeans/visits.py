"""Visits of the rows for candidates of k-means++, and what lets a visit pass rows by: their order, and a map."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import threads
from .codes import Codes
from .data import Data, new_counter
from .distance_table import Packing, Products
from .kernels import candidates as pairs
from .kernels import (
    canonical,
    coded_visit,
    codes,
    fast_gains,
    lloyd,
    mapped,
    micro,
    panel_visit,
    simd,
    visit,
)
from .kernels import seeding as draws
from .packed import Frame
from .passes import ahead

ORDER_SHARE = 0.1  # of the rows have a candidate within reach, at most, where they are put into an order (measured)
ORDER_AGAIN = 1.6  # times as many seeds as at the last time: they are put into an order again
MAP_FEATURES = 32  # features below which a row costs no more than its map
MAP_CANDIDATES = 64  # still to come, at least
MAP_SHARE = 0.3  # of the pairs are left by a map that is worth while, at most
SHARE_SAMPLE = 128  # rows that tell how many have a candidate within reach
MAP_SAMPLE = 1024  # rows that the map is made from
LEAN_SAMPLE = 1 << 15  # values of theirs at most, where memory counts
MAP: bool | None = None  # whether there is a map, and an order; None means what pays.  Tests force one
PRODUCT_FEATURES = 3  # features below which products of rows and candidates save little
PRODUCT_REACH = 0.02  # of how far candidates reach may be lost by them
CODE_FEATURES = 12  # features below which a row costs no more than its code
CODE_CANDIDATES = 64  # still to come, at least
CODES: bool | None = None  # whether visits are by codes; None means where that pays.  Tests force one
NO_ORDER = np.empty(0, np.int32)
NO_MAP = np.empty((0, mapped.DIMENSIONS), np.float32)


class Order(NamedTuple):
    """Rows in the order of their seeds: see mapped.order_rows."""

    rows: NDArray[Any]
    starts: NDArray[np.int64]
    largest: NDArray[np.float64]


class Lists(NamedTuple):
    """Rows that come nearer to candidates, and their distances: list q is at ``starts[q] : starts[q + 1]``."""

    starts: NDArray[np.int64]
    rows: NDArray[Any]
    values: NDArray[np.float64]


class Map:
    """A map of the rows to mapped.DIMENSIONS coordinates, after which no two are farther apart.

    It goes by the directions in which a sample of the rows spreads most.  Any directions serve, as long as no
    combination of them is longer than its coefficients.
    """

    def __init__(self, data: Data, sample: NDArray[np.float64]) -> None:
        d = data.d
        self.origin = sample.mean(axis=0)
        extent = float((data.largest + np.abs(self.origin)).max())
        exponent = min(1000, max(-1000, 50 - math.frexp(extent)[1])) if extent > 0.0 else 0
        self.scale = math.ldexp(1.0, exponent)
        centered = (sample - self.origin) * self.scale
        size = float(np.abs(centered).max())
        directions = np.random.default_rng(0).normal(size=(d, mapped.DIMENSIONS - 1))
        for _ in range(4):
            if size > 0.0:
                directions = (centered / size).T @ (centered / size @ directions)
            directions = np.linalg.qr(directions)[0]
        # by how much a combination can be longer, by all that is said of eigenvalues: at most this
        excess = float(np.abs(directions.T @ directions - np.eye(directions.shape[1])).sum(axis=0).max()) + 1e-9
        self.directions = np.zeros((d, mapped.DIMENSIONS))
        self.directions[:, : directions.shape[1]] = directions / math.sqrt(1.0 + excess)
        tiny = 2.0**-149
        with np.errstate(over="ignore"):
            lost = float(np.float64(d) * 2.0 ** (2 * exponent - 1074)) if 2 * exponent - 1074 < 1000 else math.inf
        # of products of float32 (17 roundings and those of the two factors' norms); of the map: float32, and what
        # float64 loses in the length of what is left, whose square it takes as a difference
        self.error = np.array(
            [24.0 * 2.0**-24, 2.0**-23 + math.sqrt((16.0 * d + 128.0) * 2.0**-53), (d + 64) * tiny + lost]
        )
        self.rows = NO_MAP  # not of all rows

    def of(self, X: NDArray[Any], out: NDArray[np.float32], n_lanes: int = 1) -> NDArray[np.float32]:
        shared = (X, new_counter(), self.origin, self.scale, self.directions.reshape(-1), out)
        threads.share(n_lanes, mapped.map_lane, shared)
        return out


class Visits:
    """The visits of one seeding.

    Parameters
    ----------
    data : Data
    width : int
        Lane width; 1 for plain loops.
    n_lanes : int
    room : int
        Entries a lane has room for.
    seeds : ndarray of float64, shape (n_clusters, d)
    nearest_sq : ndarray of float64, shape (n,)
    labels : ndarray of int32, shape (n,)
        The seeding's own, as they are at the time of a visit.
    """

    def __init__(
        self, data: Data, width: int, n_lanes: int, room: int, seeds: NDArray[np.float64],
        nearest_sq: NDArray[np.float64], labels: NDArray[np.int32],
    ) -> None:  # fmt: skip
        self.data = data
        self.width, self.n_lanes, self.room = width, n_lanes, room
        self.seeds, self.nearest_sq, self.labels = seeds, nearest_sq, labels
        self.frames: dict[bool, Frame] = {}
        self.lists: tuple[NDArray[Any], ...] = ()
        self.orders: dict[int, Order] = {}
        self.ordered_at = 0  # seeds at that time
        self.share = 1.0  # of the rows that had a candidate within reach at the last visit
        self.map: Map | None = None
        self.map_tried = False
        self.most = visit.MANY  # candidates at a time
        self.codes: Codes | None = None
        self.codes_tried = False
        self.sampled_at = 0  # seeds when the share was last estimated

    @property
    def entries(self) -> tuple[NDArray[Any], ...]:
        """Rows, numbers of lists and distances, (n_lanes, room) each."""
        if not self.lists:
            index = np.int32 if self.data.n < 2**31 else np.int64
            shape = (self.n_lanes, self.room)
            self.lists = (np.empty(shape, index), np.empty(shape, np.uint16), np.empty(shape))
        return self.lists

    def frame(self, single: bool) -> Frame:
        if single not in self.frames:
            self.frames[single] = Frame(self.data, self.seeds[:1], single)
        return self.frames[single]

    @functools.cached_property
    def packing(self) -> Packing:
        """How rows are packed for differences in float32."""
        return Packing.of(self.data, self.frame(self.data.points.center_dtype == np.float32))

    @functools.cached_property
    def plain_packing(self) -> Packing:
        """The same for tables, which take rows as they are where that serves."""
        single = self.data.points.center_dtype == np.float32
        return Packing.of(self.data, Frame(self.data, self.seeds[:1], single, plain=single))

    @functools.cached_property
    def products(self) -> Products:
        """How distances are taken by products: less the first seed."""
        return Products(self.packing, self.packing.pack(self.seeds[:1])[0])

    def visit(self, candidates: NDArray[np.float64], first_slot: int, t: int, counts: NDArray[np.int64]) -> None:
        """List the rows that come nearer to these candidates than to the first t seeds.

        counts (n_lanes, 2) int64 INOUT: entries, and rows that had a candidate within reach.
        """
        M, d = candidates.shape
        plain = self.width == 1
        if not plain and self._by_codes(candidates, t):
            self._visit_codes(candidates, first_slot, counts)
        # what a candidate can change lies twice as far as what it does: in d dimensions, 2**d times as many rows
        elif not (plain or MAP) and d < fast_gains.FEW and t * ORDER_SHARE < M * 2.0**d:
            self._visit_panels(candidates, first_slot, counts)
        else:
            for part in range(0, M, visit.MANY):
                self._visit_in_reach(candidates[part : part + visit.MANY], first_slot + part, t, counts)

    def listed(self, counts: NDArray[np.int64], n_new: int, before: Lists, wanted: NDArray[np.int32]) -> Lists:
        """What the last visits listed, counts (n_lanes,) entries of n_new candidates, and then some lists of before."""
        kept = [slice(*before.starts[s : s + 2]) for s in wanted]
        lengths = [s.stop - s.start for s in kept]
        at, n_lists = int(counts.sum()), n_new + len(kept)
        starts, places = np.zeros(n_lists + 1, np.int64), np.empty(n_lists, np.int64)
        rows, values = np.empty(at + sum(lengths), self.entries[0].dtype), np.empty(at + sum(lengths))
        draws.group_entries(*self.entries, counts, starts, places, rows, values)
        for c, (s, length) in enumerate(zip(kept, lengths, strict=True)):
            rows[at : at + length], values[at : at + length] = before.rows[s], before.values[s]
            at += length
            starts[n_new + c + 1] = at
        return Lists(starts, rows, values)

    def _visit_in_reach(
        self, candidates: NDArray[np.float64], first_slot: int, t: int, counts: NDArray[np.int64]
    ) -> None:  # fmt: skip
        """`visit` of the rows that have a candidate within reach, for visit.MANY candidates at most."""
        data, width = self.data, self.width
        M, d = candidates.shape
        plain = width == 1
        grouped = canonical.group_centers(candidates)
        table, closest = np.empty((t, -(-M // visit.WORD) * visit.WORD), np.float32), np.empty(t, np.float32)
        if not plain:
            self._prepare(candidates, t)
        before = int(counts[:, 1].sum())
        spaced: dict[bool, Any] = {}
        # ranges that do not depend on the number of candidates, for each has an order of its own
        for lo, hi, rows in data.ranges(4.0 * d * visit.MANY):
            single = rows.dtype.itemsize <= 2 or rows.dtype == np.float32
            frame = self.frame(single)
            square = (frame.scale, frame.scale)
            if single not in spaced:
                shared: tuple[Any, ...] = (plain, self.seeds[:t], new_counter(), grouped, M, *square, table, closest)
                n_lanes = data.lanes(16.0 * t * M * d, t)
                threads.share(n_lanes, pairs.spacing_lane, shared)
                spaced[single] = None if plain else self._packed(candidates, frame.scale, frame.shift)
            tail = (
                self.nearest_sq[lo:hi], self.labels[lo:hi], lo, table, closest, *square, frame.error, candidates,
                first_slot,
            )  # fmt: skip
            private = (*self.entries, counts)
            if plain:
                shared = (rows, new_counter(), *tail)
                threads.share(self.n_lanes, visit.plain_candidates_lane, shared, private)
                continue
            shared = (
                simd.lanes(width), rows, new_counter(), *self._stretches(lo, hi, frame), *tail,
                frame.dtype.type(frame.scale), frame.shift, *spaced[single], *ahead(rows, d), *self._mapped(lo, hi),
            )  # fmt: skip
            threads.share(self.n_lanes, visit.candidates_lane, shared, private)
        self.share = (int(counts[:, 1].sum()) - before) / data.n

    def _by_codes(self, candidates: NDArray[np.float64], t: int) -> bool:
        """Whether the next visit is one by codes."""
        data = self.data
        if not self.codes_tried:
            self.codes_tried = True
            to_come = (len(self.seeds) - t) * (2 + int(math.log(len(self.seeds))))
            wanted = MAP is None and not data.lean and data.d >= CODE_FEATURES and to_come >= CODE_CANDIDATES
            if (wanted if CODES is None else CODES) and self.width >= 8:
                self._make_codes(candidates)
        if self.codes is None:
            return False
        if t >= ORDER_AGAIN * self.sampled_at and not CODES:
            self.sampled_at = t
            self.share = self._estimated_share(candidates)
        return bool(CODES) or self.share >= ORDER_SHARE

    def _make_codes(self, candidates: NDArray[np.float64]) -> None:
        """Encode all rows, or their map, if that serves."""
        data = self.data
        found = self._useful_map(candidates) if MAP or (MAP is None and data.d >= MAP_FEATURES) else None
        if found is None and not CODES:
            if data.n * data.d > data.code_bytes or not codes.filters_bytes(self.width):
                return
        self.most = 4 * visit.MANY
        self.codes = Codes(self.width, data.d if found is None else mapped.DIMENSIONS, found)
        for lo, _, rows in data.ranges(4.0 * data.d * visit.MANY):
            self.codes.encode(data, lo, rows, self.packing.frame)

    def _estimated_share(self, candidates: NDArray[np.float64]) -> float:
        """Of the rows, how many have a candidate within reach: by a sample."""
        sampled = np.arange(0, self.data.n, max(1, self.data.n // SHARE_SAMPLE))[:SHARE_SAMPLE]
        own, M = self.seeds[self.labels[sampled]], len(candidates)
        table, farthest = np.empty((len(own), M), np.float32), np.empty(len(own), np.float32)
        scale = self.packing.frame.scale
        grouped = canonical.group_centers(candidates)
        pairs.spacing_lane(False, own, new_counter(), grouped, M, scale, scale, table, farthest)
        return float((-farthest < self.nearest_sq[sampled] * scale * scale).mean())

    def _visit_codes(self, candidates: NDArray[np.float64], first_slot: int, counts: NDArray[np.int64]) -> None:
        """`visit` of all rows by their codes."""
        data, found = self.data, self.codes
        assert found is not None
        packing = self.plain_packing
        scale = packing.frame.scale
        coded = found.candidates(candidates, self.packing.frame)
        centers = np.zeros((len(candidates), -(-data.d // 16) * 16), np.float32)
        centers[:, : data.d] = packing.pack(candidates)
        for lo, hi, rows in data.ranges(4.0 * data.d * visit.MANY):
            shared = (
                simd.lanes(self.width), found.kind, rows, new_counter(), *found.rows[lo], *coded,
                self.nearest_sq[lo:hi], lo, packing.is_plain(rows), scale, scale, *packing.bounds, packing.scale,
                packing.tiled_shift, centers.reshape(-1), candidates, first_slot, *ahead(rows, data.d),
            )  # fmt: skip
            threads.share(self.n_lanes, coded_visit.coded_candidates_lane, shared, (*self.entries, counts))

    def _visit_panels(self, candidates: NDArray[np.float64], first_slot: int, counts: NDArray[np.int64]) -> None:
        """`visit` of all rows, which have few features."""
        data = self.data
        packing, products = self.packing, self.products
        scale, slack = packing.frame.scale, products.error
        centers, (doubled, squares) = packing.pack(candidates), products.of(candidates)
        by_products = self._products_serve(float(squares.max()))
        if by_products:
            centers = np.column_stack([doubled, (1.0 - slack) * squares]).astype(np.float32)
        for lo, hi, rows in data.ranges(4.0 * data.d * visit.MANY):
            shared = (
                simd.lanes(self.width), rows, new_counter(), self.nearest_sq[lo:hi], lo, scale, scale, *packing.bounds,
                packing.scale, packing.tiled_shift, centers.reshape(-1), products.origin, by_products, slack,
                candidates, first_slot, *ahead(rows, micro.PANEL * self.width),
            )  # fmt: skip
            threads.share(self.n_lanes, panel_visit.panel_candidates_lane, shared, (*self.entries, counts))

    def _products_serve(self, largest: float) -> bool:
        """Whether products of rows and candidates, of squared norms up to this, tell which rows a candidate reaches."""
        data, scale = self.data, self.packing.frame.scale
        if data.d < PRODUCT_FEATURES:
            return False
        sampled = np.arange(0, data.n, max(1, data.n // SHARE_SAMPLE))[:SHARE_SAMPLE]
        squares = self.products.of(data.points.take(sampled))[1]
        reach = (self.nearest_sq[sampled] * scale * scale).sum()
        return bool(self.products.error * (squares + largest).sum() <= PRODUCT_REACH * reach)

    def _prepare(self, candidates: NDArray[np.float64], t: int) -> None:
        """Put rows into order, and make a map, where that pays."""
        data = self.data
        wanted = self.share < ORDER_SHARE if MAP is None else MAP
        if wanted and t >= ORDER_AGAIN * self.ordered_at:
            self.ordered_at = t
            for lo, hi, _ in data.ranges(4.0 * data.d * visit.MANY):
                rows = np.empty(hi - lo, np.int32 if hi - lo < 2**31 else np.int64)
                starts, largest = np.empty(t * mapped.LEVELS + 1, np.int64), np.empty(t * mapped.LEVELS)
                mapped.order_rows(self.labels[lo:hi], self.nearest_sq[lo:hi], rows, starts, largest)
                self.orders[lo] = Order(rows, starts, largest)
        if not self.map_tried:
            self.map_tried = True
            to_come = (len(self.seeds) - t) * (2 + int(math.log(len(self.seeds))))
            if MAP or (MAP is None and data.d >= MAP_FEATURES and to_come >= MAP_CANDIDATES):
                self._make_map(candidates)
        if self.map is not None:
            out = np.empty((len(candidates), mapped.DIMENSIONS), np.float32)
            self.mapped_candidates = self._packed(
                self.map.of(candidates, out).astype(np.float64), 1.0, np.zeros(mapped.DIMENSIONS)
            )

    def _useful_map(self, candidates: NDArray[np.float64]) -> Map | None:
        """A map, if few enough pairs of a sample are left after it."""
        data = self.data
        count = min(MAP_SAMPLE, max(64, LEAN_SAMPLE // data.d)) if data.lean else MAP_SAMPLE
        sampled = np.arange(0, data.n, max(1, data.n // count))[:count]
        sampled = sampled[self.nearest_sq[sampled] > 0.0]  # rows of weight zero may be anything
        if len(sampled) < 2:
            return None
        sample = data.points.take(sampled)
        found = Map(data, sample)
        size = (len(sampled), mapped.DIMENSIONS)
        a = found.of(sample, np.empty(size, np.float32)).astype(np.float64)
        b = found.of(candidates, np.empty((len(candidates), mapped.DIMENSIONS), np.float32)).astype(np.float64)
        apart = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
        left = (apart < (self.nearest_sq[sampled] * found.scale * found.scale)[:, None]).mean()
        return found if left <= MAP_SHARE or MAP else None

    def _make_map(self, candidates: NDArray[np.float64]) -> None:
        """Map all rows, if that serves."""
        data = self.data
        self.map = self._useful_map(candidates)
        if self.map is None:
            return
        self.map.rows = np.empty((data.n, mapped.DIMENSIONS), np.float32)
        for lo, hi, rows in data.ranges(8.0 * data.d * mapped.DIMENSIONS):
            n_lanes = data.lanes(8.0 * (hi - lo) * data.d * mapped.DIMENSIONS, hi - lo)
            self.map.of(rows, self.map.rows[lo:hi], n_lanes)

    def _stretches(self, lo: int, hi: int, frame: Frame) -> tuple[Any, ...]:
        """Rows in order, where their stretches begin, and minus the largest distance in each, packed and rounded."""
        if lo not in self.orders:
            return NO_ORDER, np.array([0, hi - lo]), np.full(1, -np.inf, np.float32)
        order = self.orders[lo]
        reaches = -(order.largest * frame.scale * frame.scale * (1.0 + 1e-6) + 8.0 * frame.error[2])
        return order.rows, order.starts, reaches.astype(np.float32)

    def _mapped(self, lo: int, hi: int) -> tuple[Any, ...]:
        """The map of some rows, its scale and error, and the candidates after it."""
        if self.map is None:
            return NO_MAP, 1.0, np.zeros(3), NO_MAP[0:0].reshape(-1), NO_MAP[0:0].reshape(-1), 0.0
        groups, halves, _, largest = self.mapped_candidates
        return self.map.rows[lo:hi], self.map.scale, self.map.error, groups, halves, largest

    def _packed(self, candidates: NDArray[np.float64], scale: float, shift: NDArray[Any]) -> tuple[Any, ...]:
        """Candidates as the micro-kernel wants them, as packed rows, and the largest of their norms."""
        M, d = candidates.shape
        n_groups = -(-M // self.width)
        wide_shift = shift.astype(np.float64)
        groups = np.zeros(n_groups * d * self.width, np.float32)
        halves, norms = np.empty(n_groups * self.width, np.float32), np.empty(M)
        largest = lloyd.pack_centers(
            candidates, np.zeros(M, np.uint8), scale, wide_shift, self.width, groups, NO_MAP.reshape(-1), halves, norms
        )
        tile = -(-d // 64) * 12 * 64
        tiles = np.empty(-(-M // 12) * tile, np.float32)
        order = np.arange(M)
        for first in range(0, M, 12):
            count = min(12, M - first)
            pairs.pack_rows(candidates, order, first, count, scale, wide_shift, tiles, first // 12 * tile)
        return groups, halves, tiles, largest
