"""Which kind of pass labels the rows: dense, bounded, or none where seeding has left the labels."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import passes
from .data import Data
from .kernels import lloyd, simd
from .packed import is_small
from .passes import Measure, Outcome, Sums

if TYPE_CHECKING:
    from .bounded import Bounds, GroupBounds

SCOUTS = 64  # one stretch of rows in so many tries bounds out
MORE_SCOUTS = 16  # the same where a dense pass is so brief that what lanes cost at all would hide the rest
BRIEF = 1e10  # multiply-adds of such a pass at most
OVERHEAD = 2e-4  # seconds of the lanes of a bounded pass, however few its rows
GAIN = 0.9  # of a dense pass, which a bounded one must not exceed to be begun with
LEFT_GAIN = 0.7  # the same where a dense pass leaves the bounds and takes no longer for it: the next will be slower
OPEN = 0.3  # share of groups that exact bounds may leave open for bounds to be tried out at all
SAMPLE = 32  # rows that this is estimated from
BEGINNING = 1.0  # dense passes that it costs to take bounds for the first time: what the passes left have to save
TRIALS = 0.02  # of the time of dense passes, which trials may take
HOPELESS = 2.0  # dense passes that a bounded one would have taken for the next trial to be twice as far away
LOOK_UP, FETCH = 2e-9, 2e-8  # seconds to see that a row with a runner-up is settled, and to gather one that is not
READS, MEET = 25.0, 1.0  # such rows per row whose label changed before, and what they cost, in those of a dense pass
TINY = 1e-3  # seconds of a dense pass below which nothing is tried: Python alone takes half of that for a bounded one
SHORT = 0.01  # seconds of a dense pass below which trials wait for pass WAIT: one costs a tenth of such a pass or more
WAIT = 12
AGAIN = 6  # passes after bounded ones were given up until they are tried again
SLOWEST = 4e9  # multiply-adds a second and thread: a first pass that was slower has waited for the compiler or the disk

NO_ROWS = np.empty((0, 0))


class Assigner:
    """Which kind of pass labels the rows of one run: decided from pass to pass, by what the last ones took.

    Parameters
    ----------
    data : Data
    k : int
    max_iter : int
        Iterations at most: one pass each, and one to label the rows at last.
    algorithm : "auto", "lloyd" or "elkan"
        "lloyd": always dense.  "elkan": dense once, then bounded.  "auto": some rows try bounds out, one stretch in
        SCOUTS, which have them from the last pass; bounded passes begin when that was so fast that all rows would have
        been done sooner, and end when two in a row took longer than the last dense pass.  Trials that fail are repeated
        as often as TRIALS allows.  Where rows keep runners-up, none try: bounded passes begin when few labels change
        any more, and if they end, half as many must change before they begin again.

    Where a dense pass can leave bounds behind, those of the scouts and those that bounded passes begin with come from
    one, and none are left while a few rows show that exact bounds would leave more than OPEN of the groups open;
    elsewhere the first bounded pass takes them, and costs more than a dense one.  Bounds wear out: they are left anew
    when a bounded pass takes longer than all since they were left, that pass included, took on average, with groups
    formed anew; and given up if that average exceeds a dense pass.  None are begun with that the passes left could not
    pay for.

    Plain loops are always dense: small data, and CPUs without vectors.  So are compressed rows, which a bounded pass
    could not read one by one for less.
    """

    def __init__(self, data: Data, k: int, max_iter: int, algorithm: str) -> None:
        self.data = data
        self.max_passes = max_iter + 1
        bounded = k > 1 and simd.lane_width() > 1 and not is_small(data, k) and data.points.sparse is None
        if algorithm == "auto" and lloyd.orientation(data.d, k, data.filters) == "plane":
            bounded = False  # a bounded pass costs more than one product per row
        self.algorithm = algorithm if bounded else "lloyd"
        self.bounds: Bounds | None = None
        self.centers: NDArray[Any] | None = None  # of the last pass
        self.sample = NO_ROWS
        self.order: NDArray[np.int32] | None = None  # of centers, in groups
        self.scouts: Bounds | None = None
        self.scouted = 0  # the last pass that left the scouts their bounds
        self.dense_seconds = math.inf
        self.passes = 0
        self.next_trial = 3  # the first pass takes longer than others, for all rows join their sums
        self.slow = 0  # bounded passes in a row that took longer than a dense one
        self.cycle: list[float] = []  # seconds of the pass that left the bounds, and of all since
        self.rivals = False  # whether rows keep runners-up
        self.leaves = False  # whether dense passes can leave bounds
        self.detour = False  # whether those that do go another way than others
        if self.algorithm != "lloyd":
            from . import bounded as kinds  # its kernels take time to load

            few = data.d < lloyd.SWITCH
            self.rivals = few and k <= kinds.MOST_RIVALS
            in_groups = not (few and k <= kinds.MOST_NEIGHBORS) and not self.rivals
            usual, leaving = (lloyd.orientation(data.d, k, data.filters, leaves) for leaves in (False, True))
            self.leaves, self.detour = in_groups and leaving == "integers", usual != leaving
        self.calm = 1.0  # share of the rows whose label the last pass changed
        self.calm_enough = 1.0  # where bounded passes may begin

    def assign(
        self, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums | None = None,
        measure: Measure | None = None, *, last: bool = False,
    ) -> Outcome:  # fmt: skip
        """As passes.assign; `measure` is left as it is by a bounded pass, and the last pass tries nothing out."""
        data = self.data
        self.passes += 1
        trying = sums is not None and not last and self.algorithm != "lloyd"
        tried = self._begin(centers, labels, sums) if self.bounds is None and trying else 0
        before = time.perf_counter()
        if self.bounds is not None and not (self.bounds.fresh and self.leaves):
            was_fresh = self.bounds.fresh
            outcome = self.bounds.assign(data, centers, labels, sums)
            seconds = time.perf_counter() - before
            self.cycle.append(seconds)
            if not was_fresh:
                self.slow = self.slow + 1 if seconds > self.dense_seconds else 0
            average = sum(self.cycle) / len(self.cycle)
            worn = self.leaves and seconds > average
            if self.algorithm == "auto" and (self.slow >= 2 or (worn and average > self.dense_seconds)):
                self.bounds, self.slow = None, 0
                self.calm_enough = 0.5 * outcome.changed / data.n
                self.next_trial = self.passes + AGAIN
            elif self.algorithm == "auto" and worn:
                self.bounds.fresh = True
        else:
            keep = self._keep(centers) if trying and self.leaves else None
            counts = passes.assign(data, centers, labels, sums, measure, keep)
            seconds = time.perf_counter() - before
            if keep is None or (keep is self.scouts and not self.detour) or math.isinf(self.dense_seconds):
                is_first, self.dense_seconds = math.isinf(self.dense_seconds), seconds
                work = float(data.n) * data.d * (len(centers) + 16)
                if is_first and seconds * SLOWEST * passes.pass_lanes(data, len(centers)) > work:
                    self.next_trial = self.passes + 2
            if keep is not None:
                self.leaves = not keep.fresh
                self.cycle = [seconds]
            outcome = Outcome(counts.changed, counts.decided, 1.0, 1.0, "lloyd")
        self.centers = centers
        self.calm = outcome.changed / data.n
        return outcome._replace(changed=outcome.changed + tried)

    def start(
        self, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums, known: NDArray[np.int32] | None
    ) -> Outcome:
        """The first pass; where the labels are known (of rows of positive weight), rows only join their sums.

        Plain loops know nothing: they serve small data, where a kernel more costs more to compile than a pass, and CPUs
        without vectors.
        """
        if known is None or simd.lane_width() == 1 or is_small(self.data, len(centers)):
            return self.assign(centers, labels, sums)
        self.passes += 1
        self.centers = centers
        return Outcome(passes.place(self.data, known, labels, sums), 0, 0.0, 1.0, "seeding")

    def _calmed_down(self, k: int) -> bool:
        """Whether so few labels change that passes with runners-up should be faster than dense ones."""
        if self.calm > self.calm_enough:
            return False
        reads = min(1.0, READS * self.calm)
        apart = (LOOK_UP + reads * FETCH) * self.data.n / passes.pass_lanes(self.data, k)
        return apart + reads * MEET * self.dense_seconds < GAIN * self.dense_seconds

    def _begin(self, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums | None) -> int:
        """Make bounds, if they should pay; returns how many labels changed while that was found out."""
        from .bounded import make_bounds

        if self.algorithm == "elkan":
            if self.leaves or self.centers is not None:
                self.bounds = make_bounds(self.data, centers)
        elif self.centers is not None and self.passes >= self.next_trial and TINY <= self.dense_seconds < math.inf:
            if self.max_passes - self.passes <= BEGINNING:
                return 0
            if self.rivals:
                if self._calmed_down(len(centers)):
                    self.bounds = make_bounds(self.data, centers)
            elif self.passes < WAIT and self.dense_seconds < SHORT:
                self.next_trial = WAIT
            elif not self.leaves or self.scouted == self.passes - 1:
                return self._try_out(centers, labels, sums)
        return 0

    def _spread(self, k: int) -> int:
        return MORE_SCOUTS if float(self.data.n) * self.data.d * k < BRIEF else SCOUTS

    def _keep(self, centers: NDArray[Any]) -> GroupBounds | None:
        """What the dense pass that comes now should leave bounds in."""
        from .bounded import GroupBounds, near_together, survivors

        if self.bounds is not None:
            assert isinstance(self.bounds, GroupBounds)
            if len(self.cycle) > 1:  # bounds were worn out: centers that lay near together may do so no more
                self.bounds.regroup(centers)
            return self.bounds
        waits = self.dense_seconds < (SHORT if self.passes + 1 < WAIT else TINY)
        left = self.max_passes - self.passes - 1  # after a trial
        if self.passes + 1 < self.next_trial or waits or self.centers is None or left <= BEGINNING:
            return None
        k = len(centers)
        unit = GroupBounds.group_size(k, self.data.d)
        if self.order is None:
            self.order = near_together(centers, unit)
            self.sample = self.data.points.take(np.linspace(0, self.data.n - 1, SAMPLE).astype(np.intp))
        left_open = survivors(self.sample, self.centers, centers, self.order, unit)
        if left_open > OPEN:
            self.next_trial = self.passes + (2 if left_open < 2.0 * OPEN else 3)
            return None
        if not isinstance(self.scouts, GroupBounds):
            self.scouts = GroupBounds(self.data, centers, self._spread(k), order=self.order)
        self.scouted = self.passes
        return self.scouts

    def _try_out(self, centers: NDArray[Any], labels: NDArray[np.int32], sums: Sums | None) -> int:
        """Let some rows try bounds out, and make bounds of all if that was fast; returns how many labels changed."""
        from . import bounded as kinds

        data = self.data
        assert self.centers is not None
        changed, began = 0, time.perf_counter()
        if self.scouts is None:
            self.scouts = kinds.make_bounds(data, self.centers, self._spread(len(centers)))
        if self.scouted < self.passes - 1:
            self.scouts.fresh = True
            changed = self.scouts.assign(data, self.centers, labels, sums).changed
        loaded, start = kinds.loaded(), time.perf_counter()
        changed += self.scouts.assign(data, centers, labels, sums).changed
        took = time.perf_counter() - start
        if kinds.loaded() > loaded:  # it waited for the compiler: once more
            self.scouted, self.next_trial = self.passes, self.passes + 1
            return changed
        of_rows = min(took, self.scouts.lane_seconds)
        took += max(of_rows - OVERHEAD, 0.0) / kinds.share_of(data.n, self.scouts.spread) - of_rows
        saved = (self.dense_seconds - took) * (self.max_passes - self.passes)
        enough = took < (LEFT_GAIN if self.leaves and not self.detour else GAIN) * self.dense_seconds
        if enough and saved > BEGINNING * self.dense_seconds:
            if self.leaves and isinstance(self.scouts, kinds.GroupBounds):
                self.bounds = kinds.GroupBounds(data, centers, order=self.scouts.order)
            else:
                self.bounds = kinds.make_bounds(data, centers)
        else:
            cost = time.perf_counter() - began
            wait = min(cost / (TRIALS * self.dense_seconds), 8.0)
            self.next_trial = self.passes + max(2, round(wait if took < HOPELESS * self.dense_seconds else 2.0 * wait))
        return changed
