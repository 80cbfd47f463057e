"""What the first fit of a process pays for Numba: with an empty cache, and with the cache an earlier process left.

Each round is a new interpreter, as a user meets it; the seconds of the interpreter itself are in ``test_import.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from worker import environment

SERIAL = "KMeans(3, random_state=0, n_threads=1).fit(rng.standard_normal((3000, 2)))"
PARALLEL = "KMeans(64, random_state=0).fit(rng.standard_normal((200_000, 16), dtype=np.float32))"
PROGRAM = """
import numpy as np
from fastkmeans import KMeans
rng = np.random.default_rng(0)
"""


def first_fit(fit: str, cache: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM + fit], env=environment(2, NUMBA_CACHE_DIR=str(cache)), check=True)


@pytest.mark.parametrize("fit", [SERIAL, PARALLEL], ids=["small", "parallel"])
def test_cold_compile(benchmark: BenchmarkFixture, fit: str, tmp_path: Path) -> None:
    """A new cache directory every round."""
    rounds = iter(range(100))

    def arguments() -> tuple[tuple[str, Path], dict[str, object]]:
        return (fit, tmp_path / str(next(rounds))), {}

    benchmark.pedantic(first_fit, setup=arguments, rounds=3)
    assert any((tmp_path / "0").rglob("*.nbi")), "the kernels were not cached where NUMBA_CACHE_DIR says"


@pytest.mark.parametrize("fit", [SERIAL, PARALLEL], ids=["small", "parallel"])
def test_cached_compile(benchmark: BenchmarkFixture, fit: str, tmp_path: Path) -> None:
    """One cache directory, filled before the first round."""
    first_fit(fit, tmp_path)
    benchmark.pedantic(first_fit, args=(fit, tmp_path), rounds=5)
    assert any(tmp_path.rglob("*.nbi"))
