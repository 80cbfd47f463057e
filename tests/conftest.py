"""What every test file can use: the hypothesis profile and the data set of the README."""

from pathlib import Path

import hypothesis
import numpy as np
import pytest

# The same examples in every run, and no time limit: a first call may compile.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None, print_blob=False)
hypothesis.settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist begin files in their order: by number of tests, the slowest, of mutations, would come last."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the committed data files."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def xclara_path(data_dir: Path) -> Path:
    return data_dir / "xclara.csv"


@pytest.fixture(scope="session")
def xclara(xclara_path: Path) -> np.ndarray:
    """The 3,000 x 2 values of xclara.csv, read-only."""
    values = np.loadtxt(xclara_path, delimiter=",", skiprows=1)
    values.setflags(write=False)
    return values
