"""What a table must say about where it was measured: CPU, cores, versions, date, and speed of the matrix product."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from systems import SYSTEMS
from worker import Worker

SGEMM_SIZE = 4096
SGEMM_REPEATS = 7
YARDSTICK_LIMIT = 600.0  # seconds


def cpu_name() -> str:
    """Model name of the CPU and its widest vector unit, as far as the system tells."""
    name, flags = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = value
                break
    for flag, title in (("avx512f", "AVX-512"), ("avx2", "AVX2")):
        if flag in flags.split():
            return f"{name}, {title}"
    return name


def n_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float | None:
    """Processes that wanted a core in the last minute; a benchmark wants none but its own."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def describe(n_threads: int, systems: list[str]) -> dict[str, Any]:
    """Everything a table says about the machine, the software and the day."""
    versions = {"python": platform.python_version()}
    for name in ("numpy", "numba", "llvmlite"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    for name in systems:
        system = SYSTEMS[name](n_threads)
        try:
            versions[system.distribution] = system.version()
        except (metadata.PackageNotFoundError, ImportError):
            versions[system.distribution] = "not installed"
    return {
        "cpu": cpu_name(),
        "cores": n_cores(),
        "threads": n_threads,
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "load": load_average(),
        "versions": versions,
    }


def yardstick(n_threads: int) -> Worker:
    """The worker that multiplies matrices; no limit meant for k-means systems ends it."""
    return Worker("numpy", n_threads, YARDSTICK_LIMIT)


def sgemm_gflops(worker: Worker, size: int = SGEMM_SIZE, repeats: int = SGEMM_REPEATS) -> float:
    """GFLOP/s of the float32 product of two 4096-cubes in a worker of the system "numpy"."""
    return float(worker.call("sgemm", size=size, repeats=repeats)["gflops"])
