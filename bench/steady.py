"""Task pass: how much of the machine's matrix product one assignment pass reaches, and two ratios of whole fits.

The steady pass is the fastest iteration after the first one of ten dense ones (``algorithm="lloyd"``), as ``history_``
gives its seconds: 2 n d k floating-point operations, whatever the kernels really execute.  Its share is of the float32
product of two 4096-cubes by NumPy, measured in the same run with the same threads.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from comparison import ITERATIONS, PAUSE_SECONDS, Settings
from datasets import SETS, blobs, noise, start_rows
from machine import sgemm_gflops, yardstick
from worker import Worker, WorkerFailed

SHAPES = ((100_000, 128, 1024), (200_000, 64, 256), (500_000, 16, 64))
BLOB_SPREAD = 1.0
RATIO_SETS = ("noise64", "blobs16", "noise128")
RATIO_SYSTEMS = ("fastkmeans", "sklearn")


def steady_passes(settings: Settings, cache: str, folder: Path, multiplier: Worker) -> dict[str, Any]:
    """GFLOP/s of the steady pass on each shape, noise and blobs, and the best sgemm seen between them."""
    rows: list[dict[str, Any]] = []
    products = [sgemm_gflops(multiplier)]
    worker = settings.worker("fastkmeans-lloyd", NUMBA_CACHE_DIR=cache)
    try:
        worker.call("hello")
        for n_full, d, k in SHAPES:
            n = max(int(n_full * settings.scale), 4 * k)
            for kind in ("noise", "blobs"):
                X = noise(n, d) if kind == "noise" else blobs(n, d, k, BLOB_SPREAD)
                np.save(folder / "X.npy", X)
                np.save(folder / "start.npy", start_rows(X, k))
                worker.call("data", path=str(folder / "X.npy"), start=str(folder / "start.npy"))
                warmed = worker.call("warm", n_clusters=k)
                passes: list[float] = []
                for _ in range(settings.repeats):
                    passes += worker.call("fit", max_iter=ITERATIONS)["pass_seconds"][1:]
                    time.sleep(PAUSE_SECONDS)
                products.append(sgemm_gflops(multiplier))
                fastest = min(passes, default=float("nan"))
                row = {"data": kind, "n": n, "d": d, "k": k, "seconds": fastest}
                row.update(gflops=2e-9 * n * d * k / fastest, compiling=max(0.0, warmed["first"] - warmed["second"]))
                rows.append(row)
                settings.say(f"  {kind} {n} x {d}, k={k}: {row['gflops']:.0f} GFLOP/s")
    finally:
        worker.close()
    best = max(products)
    for row in rows:
        row["share"] = row["gflops"] / best
    return {"rows": rows, "sgemm": best}


def alternate(settings: Settings, runs: dict[str, tuple[Worker, int | None]]) -> dict[str, float]:
    """Fastest ten-iteration fit of each (worker, threads), interleaved."""
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(settings.repeats):
        for key, (worker, n_threads) in runs.items():
            seconds[key].append(worker.call("fit", max_iter=ITERATIONS, n_threads=n_threads)["seconds"])
            time.sleep(PAUSE_SECONDS)
    return {key: min(times) for key, times in seconds.items()}


def dtype_ratios(settings: Settings, cache: str, folder: Path) -> list[dict[str, Any]]:
    """Seconds of a fit on float64 input over those on float32 input of the same values, per set and system."""
    rows = []
    for system in (each for each in RATIO_SYSTEMS if each in settings.systems):
        workers = {
            dtype: settings.worker(system, NUMBA_CACHE_DIR=str(Path(cache) / dtype)) for dtype in ("float32", "float64")
        }
        try:
            for worker in workers.values():
                worker.call("hello")
            for name in RATIO_SETS:
                write_set(name, settings, folder)
                for dtype, worker in workers.items():
                    load(worker, folder, SETS[name].n_clusters, dtype)
                fastest = alternate(settings, {dtype: (worker, None) for dtype, worker in workers.items()})
                row = {"set": name, "system": system, **fastest, "ratio": fastest["float64"] / fastest["float32"]}
                rows.append(row)
                settings.say(f"  {system} {name}: float64 takes {row['ratio']:.2f} times as long as float32")
        except WorkerFailed as failure:
            rows.append({"set": "", "system": system, "note": str(failure)})
        finally:
            for worker in workers.values():
                worker.close()
    return rows


def thread_ratio(settings: Settings, cache: str, folder: Path, name: str = "noise64") -> dict[str, Any]:
    """Seconds of a fit on one thread over those on all, same process."""
    write_set(name, settings, folder)
    worker = settings.worker("fastkmeans", NUMBA_CACHE_DIR=cache)
    try:
        worker.call("hello")
        load(worker, folder, SETS[name].n_clusters, "float32")
        worker.call("fit", max_iter=2, n_threads=1)  # the serial lane has kernels of its own to compile
        fastest = alternate(settings, {"one": (worker, 1), "all": (worker, None)})
    finally:
        worker.close()
    result = {"set": name, **fastest, "threads": settings.n_threads, "ratio": fastest["one"] / fastest["all"]}
    settings.say(f"  {name}: {settings.n_threads} threads give {result['ratio']:.2f} times one")
    return result


def write_set(name: str, settings: Settings, folder: Path) -> None:
    X = SETS[name].build(settings.scale)
    np.save(folder / "X.npy", X)
    np.save(folder / "start.npy", start_rows(X, SETS[name].n_clusters))


def load(worker: Worker, folder: Path, n_clusters: int, dtype: str) -> None:
    worker.call("data", path=str(folder / "X.npy"), start=str(folder / "start.npy"), dtype=dtype)
    worker.call("warm", n_clusters=n_clusters)


def measure(settings: Settings) -> dict[str, Any]:
    """All of task pass."""
    with tempfile.TemporaryDirectory(prefix="fastkmeans-bench-") as name:
        folder = Path(name)
        cache = str(folder / "numba")
        multiplier = yardstick(settings.n_threads)
        try:
            result = steady_passes(settings, cache, folder, multiplier)
        finally:
            multiplier.close()
        result["float64"] = dtype_ratios(settings, cache, folder)
        result["threads"] = thread_ratio(settings, cache, folder)
    return result
