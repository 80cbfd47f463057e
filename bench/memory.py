"""Task memory: peak resident size of a fit above the resident size after import, data and warm-up.

Run as a script this file is the measured process: one system, one dtype, one order.  It makes the data, warms up on an
eighth of the rows, gives freed pages back, resets the kernel's high-water mark (``/proc/self/clear_refs``), fits from
given rows and from k-means++, and reads ``VmHWM``.  Two processes are measured and the smaller peak counts: kernels
that only the large fit needs are compiled in the first one, and come from Numba's cache in the second.

fastkmeans runs ``algorithm="lloyd"``: bounds would take up to half of X as float32 and 8 bytes a row on top.

The allowance is 5 % of X, 64 bytes a row, 32 bytes a center value, and 24 a center value and thread (at most 10 % of X
for all threads).
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from comparison import Settings
from worker import environment, last_words, pin

DTYPES = ("f4", "f8", "f2", "u1", "i8")
ORDERS = ("C", "F")
SYSTEMS = ("fastkmeans-lloyd", "sklearn")
SHAPES = ((400_000, 64, 64), (60_000, 512, 256))
ITERATIONS = 3
PROCESSES = 2
MAKE_BLOCK = 4096


def allowance(nbytes: int, n: int, d: int, k: int, n_threads: int) -> float:
    """Bytes a fit may need above the data."""
    return 0.05 * nbytes + 64 * n + 32 * k * d + min(24 * k * d * n_threads, 0.10 * nbytes)


def status_bytes(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def settle() -> int:
    """Give freed memory back, bring the high-water mark down to the resident size, and return that size."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # not glibc: freed pages may count as resident, which flatters every system alike
        pass
    Path("/proc/self/clear_refs").write_text("5")
    resident = status_bytes("VmRSS")
    if status_bytes("VmHWM") > resident + (4 << 20):
        raise OSError("the high-water mark cannot be reset here")
    return resident


def make(n: int, d: int, dtype: str, order: str) -> Any:
    """Normal rows on a scale of 30, rounded for the integer types, written block by block."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = np.empty((n, d), dtype=dtype, order="F" if order == "F" else "C")
    for lo in range(0, n, MAKE_BLOCK):
        rows = rng.standard_normal((min(MAKE_BLOCK, n - lo), d)) * 30.0
        if X.dtype.kind in "ui":
            rows = np.clip(np.rint(rows + 128.0), 0, 255)
        X[lo : lo + MAKE_BLOCK] = rows
    return X


def measured_process(job: dict[str, Any]) -> dict[str, Any]:
    """Import, make the data, warm up, fit, and read the peak; runs in a process of its own."""
    import numpy as np
    from systems import SYSTEMS as ADAPTERS

    pin(job["threads"])
    system = ADAPTERS[job["system"]](job["threads"])
    system.load()
    n, d, k = job["n"], job["d"], job["k"]
    X = make(n, d, job["dtype"], job["order"])
    start = np.ascontiguousarray(X[:k], dtype=np.float64 if job["dtype"] in ("f8", "i8") else np.float32)
    few = X[: max(n // 8, 2 * k)].copy(order="K")
    system.fit(few, start.copy(), ITERATIONS)
    system.seeded(few, k, ITERATIONS)
    del few
    resident = settle()
    system.fit(X, start, ITERATIONS)
    system.seeded(X, k, ITERATIONS)
    return {"peak": status_bytes("VmHWM") - resident, "resident": resident, "nbytes": X.nbytes}


def measure(settings: Settings) -> list[dict[str, Any]]:
    """All dtypes and orders, each in a fresh process."""
    rows = []
    measured = [each for each in SYSTEMS if {each, each.removesuffix("-lloyd")} & set(settings.systems)]
    with tempfile.TemporaryDirectory(prefix="fastkmeans-bench-") as cache:
        for n_full, d, k in SHAPES:
            n = max(int(n_full * settings.scale), 16 * k)
            for dtype in DTYPES:
                for order in ORDERS:
                    for system in measured:
                        row: dict[str, Any] = {"n": n, "d": d, "k": k, "dtype": dtype, "order": order}
                        row.update(system=system, threads=settings.n_threads)
                        row.update(smallest(row, settings, cache))
                        if "peak" in row:
                            row["allowance"] = allowance(row["nbytes"], n, d, k, settings.n_threads)
                            row["share"] = row["peak"] / row["nbytes"]
                            settings.say(
                                f"  {system} {dtype} {order} {n} x {d}: {row['peak'] / 2**20:.1f} MiB above X, "
                                f"allowance {row['allowance'] / 2**20:.1f}"
                            )
                        else:
                            settings.say(f"  {system} {dtype} {order} {n} x {d}: {row['note']}")
                        rows.append(row)
    return rows


def smallest(job: dict[str, Any], settings: Settings, cache: str) -> dict[str, Any]:
    """The smaller peak of two processes: in the first one a kernel the warm-up missed may be compiled, not loaded."""
    answers = [in_process(job, settings, cache) for _ in range(PROCESSES)]
    return min(answers, key=lambda answer: answer.get("peak", float("inf")))


def in_process(job: dict[str, Any], settings: Settings, cache: str) -> dict[str, Any]:
    """The measured process and its answer, or the reason there is none."""
    try:
        done = subprocess.run(
            [sys.executable, __file__, json.dumps(job)],
            env=environment(settings.n_threads, NUMBA_CACHE_DIR=cache),
            capture_output=True,
            text=True,
            timeout=settings.time_limit,
        )
    except subprocess.TimeoutExpired:
        return {"note": f"over {settings.time_limit:g} s"}
    if done.returncode:
        return {"note": f"status {done.returncode}: {last_words(done.stderr)}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    print(json.dumps(measured_process(json.loads(sys.argv[1]))))
