"""Task cold: from the shell, a new interpreter, import plus a first small fit; Numba's cache empty, then warm.

The data are as large as xclara (3000 x 2, three clusters).  What is timed is the whole process, as a user at a shell
waits for it; the bare interpreter with NumPy is measured beside it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

from comparison import Settings
from worker import environment, last_words

DATA = """
import numpy as np
rng = np.random.default_rng(0)
X = rng.standard_normal((3000, 2)) + np.array([[0.0, 0.0], [9.0, 0.0], [4.0, 8.0]])[rng.integers(3, size=3000)]
"""
PROGRAMS = {
    "interpreter and NumPy": ("numpy", DATA),
    "import fastkmeans": ("fastkmeans", "import fastkmeans"),
    "fastkmeans": ("fastkmeans", DATA + "from fastkmeans import KMeans\nKMeans(3, random_state=0).fit(X)"),
    "fastkmeans float32": (
        "fastkmeans",
        DATA + "from fastkmeans import KMeans\nKMeans(3, random_state=0).fit(X.astype(np.float32))",
    ),
    "scikit-learn": ("sklearn", DATA + "from sklearn.cluster import KMeans\nKMeans(3, random_state=0).fit(X)"),
}
COLD_REPEATS = 3


def shell_seconds(program: str, cache: str, settings: Settings) -> float:
    """Wall time of a Python process; RuntimeError with its last line where it fails."""
    env = environment(settings.n_threads, NUMBA_CACHE_DIR=cache)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second run finds the byte code of the first
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(last_words(done.stderr))
    return seconds


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Every program with an empty cache and with the cache the last such run left."""
    rows: list[dict[str, Any]] = []
    for title, (system, program) in PROGRAMS.items():
        if system != "numpy" and system not in settings.systems:
            continue
        row: dict[str, Any] = {"program": title}
        try:
            cold, warm = [], []
            with tempfile.TemporaryDirectory(prefix="fastkmeans-bench-") as cache:
                shell_seconds(program, cache, settings)  # byte code and the system's file cache
            for _ in range(min(COLD_REPEATS, settings.repeats)):
                with tempfile.TemporaryDirectory(prefix="fastkmeans-bench-") as cache:
                    cold.append(shell_seconds(program, cache, settings))
                    warm += [shell_seconds(program, cache, settings) for _ in range(2)]
            row.update(cold=min(cold), warm=min(warm), cold_all=cold, warm_all=warm)
            settings.say(f"  {title}: {row['cold']:.2f} s with an empty cache, {row['warm']:.2f} s with a warm one")
        except RuntimeError as failure:
            row["note"] = str(failure)
            settings.say(f"  {title}: {failure}")
        rows.append(row)
    return rows
