"""Tasks ten, converge, seed, default: every system on every set, runs interleaved, the minimum of the repeats counts.

Task ten is ten iterations from the same k random rows.  Task converge goes on from there until the tolerance is met:
systems stop on their own and their iteration counts differ, so the time of one iteration is printed beside the total;
systems that know no such tolerance run as many iterations as fastkmeans, which comes first.  Task seed is k-means++
alone, task default a fit in which only the number of clusters and the seed are given; there the rows chosen differ by
right, so the potential (the inertia of the chosen rows), or the inertia, is printed as the mean over the repeats'
seeds, and no row is void.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import SETS, MissingData, inertia, start_rows
from systems import SYSTEMS
from worker import Worker, WorkerFailed

TASKS = ("ten", "converge", "seed", "default")
ITERATIONS = 10
CONVERGE_ITERATIONS, CONVERGE_TOL = 300, 1e-4
CONVERGED_TOLERANCE = 0.02  # of task converge: local optima from different stops, but not different work
TOLERANCE = 1e-4  # relative difference of inertia at equal start and iterations that makes a row void
SLOW_SECONDS, SLOW_REPEATS = 20.0, 3
VERY_SLOW_SECONDS = 120.0  # measured once
PAUSE_SECONDS = 0.2  # idle threads of the last system spin for a while before they sleep

Row = dict[str, Any]
Say = Callable[[str], None]


@dataclass
class Settings:
    """What the command line decides for every task."""

    systems: list[str]
    sets: list[str]
    n_threads: int = 2
    repeats: int = 5
    scale: float = 1.0
    time_limit: float = 900.0
    say: Say = print

    def worker(self, system: str, **more: str) -> Worker:
        return Worker(system, self.n_threads, self.time_limit, **more)


class Pool:
    """The workers of a comparison: kept from set to set, started again after a failure."""

    def __init__(self, settings: Settings, cache: str) -> None:
        self.settings = settings
        self.cache = cache
        self.workers: dict[str, Worker] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.absent: dict[str, str] = {}

    def get(self, system: str) -> Worker:
        """The worker of a system; WorkerFailed where the system is not installed."""
        if system in self.absent:
            raise WorkerFailed(self.absent[system])
        if system not in self.workers:
            # An empty cache, so that the compile time reported is that of a new installation.
            worker = self.settings.worker(system, NUMBA_CACHE_DIR=self.cache)
            try:
                self.facts.setdefault(system, {}).update(worker.call("hello"))
            except WorkerFailed as failure:
                worker.close()
                self.absent[system] = str(failure)
                raise
            self.workers[system] = worker
        return self.workers[system]

    def drop(self, system: str) -> None:
        """End a worker whose state is no longer known."""
        worker = self.workers.pop(system, None)
        if worker is not None:
            worker.close()

    def close(self) -> None:
        for system in list(self.workers):
            self.drop(system)


def repeats_of(seconds: list[float], wanted: int) -> int:
    """Repeats a system gets, by its slowest run so far."""
    slowest = max(seconds, default=0.0)
    if slowest > VERY_SLOW_SECONDS:
        return 1
    return min(wanted, SLOW_REPEATS) if slowest > SLOW_SECONDS else wanted


def interleave(rows: dict[str, Row], run: Callable[[str, int], dict[str, Any]], pool: Pool, repeats: int) -> None:
    """Run every living system once per repeat, in turn, and note the seconds; a failure ends its row alone."""
    for repeat in range(repeats):
        for system, row in rows.items():
            if row["status"] != "ok" or repeat >= repeats_of(row["seconds"], repeats):
                continue
            try:
                answer = run(system, repeat)
            except WorkerFailed as failure:
                row.update(status="failed", note=str(failure))
                pool.drop(system)
                continue
            row["seconds"].append(answer["seconds"])
            row["n_iter"] = answer["n_iter"]
            time.sleep(PAUSE_SECONDS)


def new_row(name: str, system: str, X: np.ndarray) -> Row:
    chosen = SYSTEMS[system](1)
    return {
        "set": name,
        "n": X.shape[0],
        "d": X.shape[1],
        "k": SETS[name].n_clusters,
        "system": system,
        "title": chosen.title,
        "status": "ok",
        "comparable": chosen.takes_start,
        "note": chosen.note,
        "seconds": [],
        "n_iter": None,
    }


def judge(rows: Iterable[Row], tolerance: float) -> None:
    """Minimum, ratio and inertia difference of each row against fastkmeans (the first system where it did not run).

    With the same start, a row whose inertia is off by more than the tolerance is void: the two did different work.
    """
    done = [row for row in rows if row["status"] == "ok"]
    if not done:
        return
    base = next((row for row in done if row["system"] == "fastkmeans"), None)
    base = base or next((row for row in done if row["comparable"]), done[0])
    for row in done:
        row["min"] = min(row["seconds"])
        row["ratio"] = row["min"] / min(base["seconds"])
        row["difference"] = row["inertia"] / base["inertia"] - 1.0 if base["inertia"] else math.nan
        # Written so that a NaN (broken centers) is void too.
        if math.isinf(tolerance) or not (row["comparable"] and base["comparable"]):
            continue
        if not abs(row["difference"]) <= tolerance:
            row["status"] = "void"


def compare_set(name: str, task: str, pool: Pool, folder: Path) -> list[Row]:
    """All systems on one set."""
    settings = pool.settings
    data_set = SETS[name]
    X = data_set.build(settings.scale)
    data_path, start_path = str(folder / "data.npy"), str(folder / "start.npy")
    np.save(data_path, X)
    np.save(start_path, start_rows(X, data_set.n_clusters))
    rows: dict[str, Row] = {}
    for system in settings.systems:
        row = rows[system] = new_row(name, system, X)
        try:
            worker = pool.get(system)
            worker.call("data", path=data_path, start=start_path if task in ("ten", "converge") else None)
            warmed = worker.call("warm", n_clusters=data_set.n_clusters, task=task)
        except WorkerFailed as failure:
            row.update(status="failed", note=str(failure))
            pool.drop(system)
            continue
        row.update(warm_up=warmed["first"], compiling=max(0.0, warmed["first"] - warmed["second"]))
        pool.facts[system].update({key: warmed[key] for key in warmed if key not in ("first", "second")})

    def run(system: str, repeat: int) -> dict[str, Any]:
        out = str(folder / f"{system}-{repeat}.npy")
        if task == "ten":
            return pool.get(system).call("fit", max_iter=ITERATIONS, out=out)
        if task == "converge":
            if SYSTEMS[system](1).follows_tol:
                return pool.get(system).call("fit", max_iter=CONVERGE_ITERATIONS, tol=CONVERGE_TOL, out=out)
            ours = rows.get("fastkmeans", {}).get("n_iter")
            if ours is None:
                raise WorkerFailed("task converge takes the number of iterations from fastkmeans, which did not run")
            return pool.get(system).call("fit", max_iter=ours, out=out)
        return pool.get(system).call(task, n_clusters=data_set.n_clusters, seed=repeat, out=out)

    interleave(rows, run, pool, settings.repeats)
    for system, row in rows.items():
        if row["status"] == "ok":
            # the seed is the number of the repeat: what is compared is the mean over the seeds
            found = range(1 if task == "ten" else len(row["seconds"]))
            row["inertia"] = math.fsum(inertia(X, np.load(folder / f"{system}-{i}.npy")) for i in found) / len(found)
            if task == "seed":
                chosen = SYSTEMS[system](1)
                row.update(comparable=chosen.comparable_seeding, note=chosen.seed_note)
    judge(rows.values(), {"ten": TOLERANCE, "converge": CONVERGED_TOLERANCE}.get(task, math.inf))
    return list(rows.values())


def compare(task: str, settings: Settings) -> dict[str, Any]:
    """One of TASKS over all sets: rows, the sets left out and why, and the versions of the systems."""
    result: dict[str, Any] = {"rows": [], "left_out": {}}
    with tempfile.TemporaryDirectory(prefix="fastkmeans-bench-") as folder:
        cache = Path(folder) / "numba"
        pool = Pool(settings, str(cache))
        try:
            for name in settings.sets:
                settings.say(f"{task} {name} ...")
                try:
                    rows = compare_set(name, task, pool, Path(folder))
                except MissingData as missing:
                    result["left_out"][name] = str(missing)
                    continue
                result["rows"] += rows
                for row in rows:
                    settings.say(f"  {line_of(row)}")
        finally:
            pool.close()
    result["systems"] = {
        system: pool.facts.get(system) or {"absent": pool.absent.get(system, "never reached")}
        for system in settings.systems
    }
    return result


def line_of(row: Row) -> str:
    """A row while the benchmark runs."""
    if row["status"] == "failed":
        return f"{row['title']}: {row['note']}"
    return f"{row['title']}: {row['min']:.4f} s, {row['ratio']:.2f} x, {row['difference']:+.1e} ({row['status']})"
