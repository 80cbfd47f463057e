"""Seconds of ``import fastkmeans`` in a new interpreter, beside the bare interpreter and the imports it avoids."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from worker import environment

PROGRAMS = {
    "interpreter": "pass",
    "fastkmeans": "import fastkmeans",
    "KMeans": "from fastkmeans import KMeans; KMeans(3)",
    "numpy": "import numpy",
    "numba": "import numba",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_import(benchmark: BenchmarkFixture, program: str) -> None:
    done = benchmark.pedantic(
        subprocess.run,
        args=([sys.executable, "-c", program],),
        kwargs={"env": environment(2), "check": True},
        rounds=10,
        warmup_rounds=1,
    )
    assert done.returncode == 0
