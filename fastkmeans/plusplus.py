"""Greedy k-means++ (Arthur & Vassilvitskii 2007) that reads only rows which a candidate can change.

What is drawn.  The potential of a row is the integer ``weight * rint(distance_sq / 2**g)``.  Potentials are frozen at
times, with a grid 50 bits below the largest distance.  A proposal is a uniform integer below their sum; the running sum
says which row it falls on, and how far inside the frozen potential of a unit of the row's weight.  The row is accepted
if that is less than what such a unit has *now*, which makes the chance of every row proportional to its potential now,
exactly, and a weight the same as repetition.  After `MISSES` refusals the potentials are frozen anew.  Each step draws
2 + floor(ln k) rows that way and keeps the one that lowers the sum of the potentials most, the first of equal ones.

Why so.  Proposals depend on what was frozen, not on the last step's choice, so those of several steps are evaluated in
one visit of the rows; and no prefix sum is ever updated.  How many are evaluated at a time, by which kernel, on how
many threads, has no influence on what is chosen: `tests/oracle.py` does it one by one.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .byte_rows import ByteRows, ByteTable
from .data import Data, filled, new_counter
from .distance_table import DistanceTable, Packing, by_groups, columns_for
from .draws import Stream
from .forecast import Sample
from .kernels import distance_table, fast_gains, integer, simd
from .kernels import gains as exact_gains
from .kernels import seeding as draws
from .packed import is_small
from .panel_gains import PanelGains
from .passes import ahead
from .potentials import Frozen, different, doubtful
from .visits import Lists, Visits

LIST_SHARE = 2  # the lists of improvements hold one row in so many (half of that where memory counts) ...
LIST_BYTES = 250  # ... or one entry for so many bytes of X, if that is more
LIST_ROOM = 4096  # entries there is room for at least
DIRECT: bool | None = None  # whether steps list nothing; None means what costs less.  Tests force one
TABLES: bool | None = None  # whether steps that list nothing go by tables; None means where that pays.  Tests force one
MOST_TOGETHER = 12  # candidates of a step, at most, where two steps are evaluated in one visit
STALE = 4  # one step in so many, of those taken so far, is proposed beforehand
TELL_SECONDS = 1.0  # between two lines of progress
LISTED_SHARE = 0.3  # of the rows are read by lists: they cost no less than a table
GROWTH = 0.75  # rows that a candidate comes nearer to, at most times n / (rows chosen so far); more are redone
GROWTH_SEEN = 2.5  # the same, at most times what the last visit met
BRIEF = 5e7  # cycles of steps that list nothing: so few are not worth compiling other kernels for


class Seeding:
    """Greedy k-means++ on some data.

    Attributes
    ----------
    chosen : ndarray of int64, shape (n_clusters,)
        The rows, in the order of their choice; `rows_chosen` gives those there are.
    nearest_sq : ndarray of float64, shape (n,)
        Canonical squared distance of every row to the nearest of them; 0 for rows of weight zero.
    labels : ndarray of int32, shape (n,)
        Which of them that is; on an exact tie the first.
    """

    def __init__(
        self, data: Data, n_clusters: int, n_candidates: int, stream: Stream, first: int,
        tell: Callable[[str], object] | None = None,
    ) -> None:  # fmt: skip
        self.data, self.tell, self.told = data, tell, time.monotonic()
        self.rows_read = 0  # a row counts once for every visit in which it was read
        self.k, self.L = n_clusters, n_candidates
        self.stream = stream
        self.width = 1 if is_small(data, n_candidates) else simd.lane_width()
        self.plain = self.width == 1
        self.nearest_sq = np.full(data.n, np.inf)
        if data.weighted:
            self.nearest_sq[data.weights == 0] = 0.0  # never drawn, never looked at
        self.labels = filled(data.n, 0, np.int32)
        self.chosen = np.empty(n_clusters, np.int64)
        self.seeds = np.empty((n_clusters, data.d))
        self.state = np.zeros(4, np.int64)
        self.taken = np.empty(n_candidates, np.int64)
        self.frozen = Frozen(data)
        self.n_lanes = data.lanes(16.0 * data.n * data.d, data.n)
        of_bytes = data.points.nbytes // LIST_BYTES
        of_rows = data.n // (2 * LIST_SHARE if data.lean else LIST_SHARE)
        self.room = max(LIST_ROOM, of_rows, min(of_bytes, data.n) if data.lean else of_bytes)
        self.room //= self.n_lanes
        self.visits = Visits(data, self.width, self.n_lanes, self.room, self.seeds, self.nearest_sq, self.labels)
        # cycles a row: of lists, some hundred an entry; of a visit that lists nothing, a chain of differences a group
        entry = GROWTH * n_candidates * (1.2 * data.d + 100.0)
        if data.d < fast_gains.FEW:
            visit = (n_candidates + 1) * (0.12 * data.d + 0.2) + 8.0
        else:
            visit = 0.9 * data.d * -(-(n_candidates + 1) // self.width) + 12.0
            if integer.has_vnni(self.width):  # visits by codes cost less
                entry *= 0.7
        self.direct_until = 2 if self.plain else int(entry / visit)
        if not self.plain and data.n * (n_clusters - self.direct_until) * visit < BRIEF:
            self.direct_until = n_clusters
        self.frozen_at = 0  # rows that were chosen then
        self.redo_until, self.growth = 0, GROWTH  # steps before this one had no room for lists; by what was met
        self.unsettled = 0  # seeds chosen last that nearest_sq does not know of yet
        few = not self.plain and data.d < fast_gains.FEW and data.points.sparse is None
        self.table: DistanceTable | None = None
        self.sample: Sample | None = None
        # of a table, where one serves and there is room: few features are read faster than a table of them
        self.columns = 0 if self.plain or few or data.lean else columns_for(data, self.width)
        if TABLES is not None:
            self.columns = -(-2 * n_candidates // self.width) * self.width if TABLES and not self.plain else 0
        elif self.columns < 2 * n_candidates:
            self.columns = 0  # it would save no reading of X
        self._forget()
        self._choose(first)
        self.panels: PanelGains | None = None
        if few:  # by the first seed, values are packed
            products = self.visits.products
            self.panels = PanelGains(data, products, self.width, self.n_lanes, self.nearest_sq, self.labels)
        self.byte_rows: ByteRows | None = None  # where tables serve and the rows are such
        if self.columns:
            self.byte_rows = ByteRows.of(data, self.width, self.n_lanes, self.seeds[0], self.nearest_sq)
        if self.byte_rows is not None:
            self.rows_read += data.n
            self.unsettled = 0
        elif self.panels is not None and self.panels.packing.exact:
            self.settle()
        else:
            self._settle_exactly()

    # -- proposals ----------------------------------------------------------------------------------------------------
    def _forget(self) -> None:
        """Nothing is proposed."""
        self.rows = np.empty(0, np.int64)
        self.inside = np.empty(0, np.int64)
        self.slots = np.empty(0, np.int32)  # which list belongs to a proposal; -1 where it was not evaluated
        self.proposed: NDArray[np.float64] | None = None  # their values, where those were asked for
        self.kept = 0  # of the first ones, the words are used up already
        self.lists = Lists(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0))

    def _flags(self) -> NDArray[np.uint8]:
        if self.unsettled and len(self.rows):
            n = int(self.state[draws.CHOSEN])
            if self.proposed is None:
                self.proposed = self.data.points.take(self.rows)
            first = n - self.unsettled
            draws.bring_nearer(self.proposed, self.rows, self.seeds[first:n], first, self.nearest_sq, self.labels)
        flags = np.empty(len(self.rows), np.uint8)
        draws.accepted(self.rows, self.inside, self.nearest_sq, *self.frozen.scale, flags)
        return flags

    def _propose(self, wanted: int) -> None:
        """Propose rows until `wanted` of them are accepted as things stand, or so many refused that it is no use."""
        while True:
            flags = self._flags()
            found = int(flags.sum())
            refused = len(flags) - found + int(self.state[draws.MISSED])
            if found >= wanted or refused >= draws.MISSES:
                return
            known = len(self.rows) - self.kept
            count = wanted - found
            words = self.stream.look(known + count)[known:]
            rows, inside = self.frozen.propose(words)
            self.rows, self.inside = np.concatenate([self.rows, rows]), np.concatenate([self.inside, inside])
            self.slots = np.concatenate([self.slots, np.full(count, -1, np.int32)])
            self.proposed = None

    def _drop(self, count: int, pending: NDArray[np.int64] | None = None) -> None:
        """The first `count` proposals are used up; of them `pending` are candidates of a step not yet complete.

        With `pending`, the others are void, for they are drawn again by other potentials.
        """
        self.stream.use(count - self.kept)
        if pending is None:
            keep: Any = slice(count, None)
            self.kept = 0
        else:
            keep = pending
            self.kept = len(pending)
        self.rows, self.inside = self.rows[keep], self.inside[keep]
        self.slots = self.slots[keep]
        self.proposed = None if self.proposed is None else self.proposed[keep]
        if pending is not None:
            self.inside[:] = 0  # accepted as long as anything is left, as it is until the next choice

    # -- steps --------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Choose rows until there are k, or until every row of positive weight coincides with a chosen one."""
        while self.state[draws.CHOSEN] < self.k:
            if not self._freeze():
                return
            while self.state[draws.CHOSEN] < self.k and self.state[draws.MISSED] < draws.MISSES:
                self._steps()
                if self.tell is not None and time.monotonic() - self.told >= TELL_SECONDS:
                    self.told = time.monotonic()
                    self.tell(
                        f"Seeding: {int(self.state[draws.CHOSEN])} of {self.k} centers chosen, the data read"
                        f" {self.rows_read / self.data.n:.1f} times."
                    )

    def rows_chosen(self) -> list[int]:
        return [int(row) for row in self.chosen[: self.state[draws.CHOSEN]]]

    def _freeze(self) -> bool:
        """Freeze the potentials; what is proposed remains so where it was accepted for the step in hand."""
        count = int(self.state[draws.PENDING]) if self.state[draws.MISSED] >= draws.MISSES else 0
        self._drop(int(self.state[draws.CURSOR]), self.taken[:count].copy())
        self.state[[draws.CURSOR, draws.MISSED, draws.PENDING]] = 0
        self.frozen.drop()
        self.settle()
        self.frozen_at = int(self.state[draws.CHOSEN])
        # by panels, nothing changes as long as steps list nothing
        copied = self.panels is None or self.frozen_at >= self.direct_until
        left = self.frozen.freeze(self.nearest_sq, copied=copied, proposed=self.rows)
        if left and self.panels is not None and self.frozen_at == 1:
            self.panels.spread = self._potential(self.panels.packing)[0]
        return left

    def _steps(self) -> None:
        """Some steps with the potentials as they are frozen."""
        t = int(self.state[draws.CHOSEN])
        room_for = int(self.n_lanes * self.room * t / (self.growth * self.data.n))  # so many candidates
        # those of many steps grow stale meanwhile: they are refused, and rows listed that are no nearer any more
        steps = t // STALE
        refused, taken = int(self.state[draws.MISSED]), t - self.frozen_at
        if refused:  # the share refused grows step by step: so many are left before all is frozen, and drawn, anew
            steps = min(steps, math.ceil(taken * (math.sqrt(draws.MISSES / refused) - 1.0)))
        many = min(self.visits.most, self.L * max(2, steps))
        together = min(many, (self.k - t) * self.L, room_for)
        # a list for one step alone costs more than it saves
        direct = t < self.direct_until or together < min(2, self.k - t) * self.L or self._one_table_serves(t)
        if DIRECT is not None and t >= self.redo_until and self.L <= self.visits.most:
            direct, together = DIRECT, max(together, self.L)
        if direct and self.columns:
            self._steps_of_table()
            return
        if direct:
            self._propose(self.L + self._most_following(t))
            self._step_directly()
            return
        self.settle()
        self.frozen.keep()
        self.table = self.byte_rows = None
        if self.L <= self.visits.most:
            together = together // self.L * self.L
        self._propose(together)
        expected = self.growth
        if not self._evaluate():
            self.redo_until = t + 1
            if expected == GROWTH:
                self.direct_until = max(self.direct_until, t + 1 + t // 4)
            else:  # fewer are tried next
                keep = slice(0, self.kept)
                self.rows, self.inside, self.slots = self.rows[keep], self.inside[keep], self.slots[keep]
                self.proposed, self.growth = None, GROWTH
            return
        draws.advance(
            self.rows, self.inside, self.slots, self.L, self.k, *self.frozen.scale, self.data.weights, *self.lists,
            self.nearest_sq, self.labels, self.chosen, self.state, self.taken,
        )  # fmt: skip
        n = int(self.state[draws.CHOSEN])
        self.seeds[t:n] = self.data.points.take(self.chosen[t:n])
        if self.panels is not None:
            self.panels.forget()
        if self.state[draws.MISSED] < draws.MISSES:
            self._drop(int(self.state[draws.CURSOR]))
            self.state[draws.CURSOR] = 0

    def _one_table_serves(self, t: int) -> bool:
        """Whether one reading of X is enough for all steps that are left, and lists would take one as well."""
        all_read = self.visits.codes is None and self.visits.share > LISTED_SHARE
        return all_read and (self.k - t) * self.L <= self.columns

    def _choose(self, row: int) -> None:
        """Choose a row; `settle` takes it into account."""
        t = int(self.state[draws.CHOSEN])
        self.chosen[t] = row
        self.seeds[t] = self.data.points.take([row])[0]
        self.state[draws.CHOSEN] += 1
        self.unsettled += 1

    def settle(self) -> None:
        """Let nearest_sq and labels know of all seeds."""
        if self.unsettled:
            self.frozen.keep()
        if self.unsettled and self.table is not None:
            self.rows_read += self.data.n if self.table.reads_rows else 0
            n = int(self.state[draws.CHOSEN])
            self.table.settle(self.seeds[:n], self.nearest_sq, self.labels)
            self.unsettled = 0
            if self.panels is not None:
                self.panels.forget()
        elif self.unsettled and self.plain:
            self._settle_exactly()
        elif self.unsettled:
            self._estimate(np.empty((0, self.data.d)))

    def _settle_exactly(self) -> None:
        data = self.data
        self.rows_read += data.n
        t = int(self.state[draws.CHOSEN]) - 1
        center = self.seeds[t : t + 1]
        n_lanes = data.lanes(8.0 * data.n * data.d, data.n)
        for lo, hi, rows in data.ranges(16.0 * data.d):
            shared = (self.plain, rows, new_counter(), center, np.int32(t), self.nearest_sq[lo:hi], self.labels[lo:hi])
            threads.share(n_lanes, exact_gains.nearer_lane, shared)
        self.unsettled = 0

    def _most_following(self, t: int) -> int:
        """How many proposals beyond those of step t are evaluated in the same visit, where lanes run over rows.

        Two more than a step takes: some are refused once that step is done.
        """
        return self.L + 2 if self.panels is not None and self.L <= MOST_TOGETHER and t + 1 < self.k else 0

    def _steps_of_table(self) -> None:
        """Steps from one table of distances, until its candidates run out or the potentials are to be frozen anew."""
        data = self.data
        self.settle()
        self.table = None  # before there is another one
        t = int(self.state[draws.CHOSEN])
        self._propose(self.columns + draws.MISSES - int(self.state[draws.MISSED]))
        self.sample = self.sample or Sample(data, self.width, self.n_lanes, self.byte_rows)
        packing = self.visits.plain_packing
        which = self.sample.wanted(
            packing, self.columns, self.k - t, self.L, self.rows, self.inside, self._flags(), self.nearest_sq,
            self.frozen.scale, self.state,
        )  # fmt: skip
        if len(which) < self.L:
            self._collect()  # in vain: all is to be frozen anew
            return
        self.slots[which] = np.arange(len(which))
        candidates = data.points.take(self.rows[which])
        if self.byte_rows is not None:
            self.table = ByteTable(self.byte_rows, packing, candidates, self.nearest_sq)
        else:
            self.table = DistanceTable(data, packing, self.width, self.n_lanes, candidates, self.nearest_sq)
        self.rows_read += data.n if self.table.reads_rows else 0
        weight_unit = self.weight_unit
        while self.state[draws.CHOSEN] < self.k and self.state[draws.MISSED] < draws.MISSES:
            before = self.state.copy()
            if self._collect() < self.L:
                break
            columns = self.slots[self.taken]
            if (columns < 0).any():
                self.state[:] = before
                break
            gains = self.table.gains(weight_unit)
            errors = self._gain_errors(self.table.packing, gains, weight_unit, distance_table.GAINS)
            winner = self._winner(doubtful(gains[columns], errors[columns]), candidates[columns])
            self.table.choose(int(columns[winner]))
            self._choose(int(self.rows[self.taken[winner]]))
            self._flags()  # lets nearest_sq of all proposals know of the seed just chosen
            self._finish_step()
        self.slots[:] = -1

    def _step_directly(self) -> None:
        """One step that lists nothing, or two: fast sums of gains, exact ones where those leave a doubt."""
        count = self._collect()
        if count < self.L:
            return  # to be frozen anew
        cursor = int(self.state[draws.CURSOR])
        following = np.empty(0, np.int64)
        if self.state[draws.MISSED] < draws.MISSES:
            most = self._most_following(int(self.state[draws.CHOSEN]))
            following = cursor + np.flatnonzero(self._flags()[cursor:])[:most]
        chosen = self.rows[self.taken]
        candidates = self.data.points.take(np.concatenate([chosen, self.rows[following]]))
        in_doubt = list(range(self.L))
        if self.plain:
            self.settle()
        else:
            gains, errors = self._estimate(candidates, len(following))
            in_doubt = doubtful(gains[: self.L], errors[: self.L])
        winner = self._winner(in_doubt, candidates)
        self._choose(int(chosen[winner]))
        self._finish_step()
        if len(following):
            of_winner = slice(self.L + winner * len(following), self.L + (winner + 1) * len(following))
            self._step_after(following - cursor, candidates[self.L :], gains[of_winner], errors[of_winner])

    def _step_after(
        self, places: NDArray[np.int64], candidates: NDArray[np.float64], gains: NDArray[np.float64],
        errors: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """The next step, if its candidates are among those evaluated with the last one and no doubt is left.

        places: numbers of the proposals evaluated, ascending; gains, errors: theirs after the last step.
        """
        self._flags()  # lets nearest_sq of all proposals know of the seed just chosen
        before = self.state.copy()
        if self._collect() < self.L:
            return
        at = np.minimum(np.searchsorted(places, self.taken), len(places) - 1)
        if (places[at] == self.taken).all():
            left = different(doubtful(gains[at], errors[at]), candidates[at])
            if len(left) == 1:
                self._choose(int(self.rows[self.taken[left[0]]]))
                self._finish_step()
                return
        self.state[:] = before

    def _collect(self) -> int:
        return int(
            draws.collect(self.rows, self.inside, self.nearest_sq, *self.frozen.scale, self.L, self.state, self.taken)
        )

    def _finish_step(self) -> None:
        """Proposals up to the cursor are used up, unless the potentials are to be frozen anew, which sees to that."""
        if self.state[draws.MISSED] < draws.MISSES:
            self._drop(int(self.state[draws.CURSOR]))
            self.state[draws.CURSOR] = 0
        else:
            self.state[draws.PENDING] = 0

    def _winner(self, in_doubt: list[int], candidates: NDArray[np.float64]) -> int:
        """Which of the candidates in doubt gains most, the first of equal ones: by exact sums, if there are several."""
        left = different(in_doubt, candidates)
        if len(left) == 1:
            return left[0]
        self.settle()
        totals = self._exact_gains(candidates[left])
        return left[totals.index(max(totals))]

    def _exact_gains(self, candidates: NDArray[np.float64]) -> list[int]:
        """By how much each candidate would lower the potential."""
        data = self.data
        self.rows_read += data.n
        gains = np.zeros((self.n_lanes, len(candidates) * draws.DIGITS), np.int64)
        for lo, hi, rows in data.ranges(4.0 * data.d * len(candidates)):
            shared = (
                self.plain, rows, data.weights_of(lo, hi), new_counter(), self.nearest_sq[lo:hi], candidates,
                *self.frozen.scale,
            )  # fmt: skip
            threads.share(self.n_lanes, exact_gains.gains_lane, shared, (gains,))
        digits = gains.reshape(self.n_lanes, len(candidates), draws.DIGITS).sum(axis=0).tolist()
        return [sum(digit << (32 * t) for t, digit in enumerate(row)) for row in digits]

    def _estimate(
        self, candidates: NDArray[np.float64], n_second: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take new seeds into account, and estimate the gains of candidates, with bounds of the error, in some unit.

        The last n_second candidates, which there are of few features alone, are of the step after the next: for each
        of the others in turn, what they gain once that one is chosen comes behind the gains of those.
        """
        data, w, n = self.data, self.width, int(self.state[draws.CHOSEN])
        if self.panels is not None:
            return self._estimate_panels(self.panels, candidates, n_second)
        self.rows_read += data.n
        L = len(candidates)
        n_groups = -(-(L + 1) // w)
        weight_unit = self.weight_unit
        packing = self.visits.packing
        gains = np.zeros((self.n_lanes, n_groups * w))
        first = n - max(1, self.unsettled)
        packed = np.full((n_groups * w, data.d), np.nan, np.float32)
        packed[: self.unsettled] = packing.pack(self.seeds[n - self.unsettled : n])
        packed[1 : L + 1] = packing.pack(candidates)
        centers, scale = by_groups(packed, w), packing.frame.scale
        for lo, hi, rows in data.ranges(2.0 * data.d * (L + 1)):
            shared = (
                simd.lanes(w), rows, data.weights_of(lo, hi), new_counter(), self.nearest_sq[lo:hi], self.labels[lo:hi],
                self.seeds[first:n], np.int32(first), packing.scale, packing.tiled_shift, scale, scale, *packing.bounds,
                weight_unit, centers, n_groups, *ahead(rows, 6),
            )  # fmt: skip
            threads.share(self.n_lanes, fast_gains.fast_gains_lane, shared, (gains,))
        self.unsettled = 0
        totals = gains.sum(axis=0)[1 : L + 1]
        return totals, self._gain_errors(packing, totals, weight_unit, fast_gains.BLOCK_ROWS) if L else totals

    def _estimate_panels(
        self, panels: PanelGains, candidates: NDArray[np.float64], n_second: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`_estimate` of rows of few features, which settles nothing unless there are no candidates."""
        n, L = int(self.state[draws.CHOSEN]), len(candidates) - n_second
        weight_unit = self.weight_unit
        settling = len(candidates) == 0
        if not settling and panels.is_full(self.unsettled):
            self.settle()
        self.rows_read += self.data.n
        potential = 0.0 if settling else self._potential(panels.packing)[0]
        sums = panels.sums(self.seeds[:n], n - self.unsettled, candidates, n_second, weight_unit, settling, potential)
        if settling:
            self.unsettled = 0
            return sums[:0], sums[:0]
        # of what is left, before and after each step
        totals = np.concatenate([sums[0] - sums[1 : L + 1], np.repeat(sums[1 : L + 1], n_second) - sums[L + 1 :]])
        summed = np.full(len(totals), 2.0 * sums[0])
        errors = self._gain_errors(panels.packing, summed, weight_unit, fast_gains.VISIT // self.width)
        return totals, errors + 2.0 * panels.lost

    @functools.cached_property
    def weight_unit(self) -> float:
        """A power of two that brings weights below one."""
        return math.ldexp(1.0, -int(self.data.weights.max()).bit_length()) if self.data.weighted else 1.0

    def _gain_errors(
        self, packing: Packing, summed: NDArray[np.float64], weight_unit: float, block_rows: int
    ) -> NDArray[np.float64]:
        potential, unit = self._potential(packing)
        weight = self.data.total_weight * weight_unit
        return packing.gain_errors(summed, potential, weight, 2.0 * unit, block_rows)

    def _potential(self, packing: Packing) -> tuple[float, float]:
        """A bound of the sum of packed distances, for it has only fallen since it was frozen; and its unit."""
        unit = math.ldexp(1.0, self.frozen.exponent + 2 * (math.frexp(packing.frame.scale)[1] - 1))
        return self.frozen.total * self.weight_unit * unit * 1.01, unit

    # -- evaluation ---------------------------------------------------------------------------------------------------
    def _evaluate(self) -> bool:
        """Make the lists of the proposals that have none; False where there is no room for them."""
        data = self.data
        fresh = np.flatnonzero((self.slots < 0) & (self._flags() != 0))
        old = np.flatnonzero(self.slots >= 0)
        if len(fresh) == 0:
            return True
        t, counts = int(self.state[draws.CHOSEN]), np.zeros((self.n_lanes, 2), np.int64)
        for part in range(0, len(fresh), self.visits.most):
            which = fresh[part : part + self.visits.most]
            self.visits.visit(data.points.take(self.rows[which]), part, t, counts)
        self.rows_read += int(counts[:, 1].sum())
        seen = float(counts[:, 0].max()) * self.n_lanes / len(fresh) * t / data.n
        self.growth = min(GROWTH, max(GROWTH_SEEN * seen, GROWTH / 10.0))
        if (counts[:, 0] > self.room).any():
            return False
        self.lists = self.visits.listed(counts[:, 0], len(fresh), self.lists, self.slots[old])
        self.slots[fresh] = np.arange(len(fresh))
        self.slots[old] = len(fresh) + np.arange(len(old))
        return True


def greedy(
    data: Data, n_clusters: int, n_candidates: int | None, stream: Stream, first: int,
    tell: Callable[[str], object] | None = None, kind: type[Seeding] = Seeding,
) -> Seeding:  # fmt: skip
    """Choose rows by greedy k-means++, the first one being given; there may be fewer than `n_clusters`.

    tell: called with a line of progress now and then; kind: of rows in full, or of compressed ones.
    """
    if n_candidates is None:
        n_candidates = 2 + int(math.log(n_clusters))
    seeding = kind(data, n_clusters, n_candidates, stream, first, tell)
    seeding.run()
    return seeding
