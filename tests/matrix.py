"""What the fast paths are compared with the oracle over: data sets, starts, weightings and storages, each by name.

Every data set is small (the oracle adds Python integers) and was chosen to hurt: exact ties, values that float32 cannot
tell apart, scales at which squares underflow, shapes that are a multiple of nothing. The arrays are read-only.
"""

from __future__ import annotations

import functools
import zlib
from typing import NamedTuple

import numpy as np


class DataSet(NamedTuple):
    X: np.ndarray
    k: int


def _rng(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def _blobs(rng, n, d, k, width=0.3, scale=1.0):
    means = scale * rng.normal(size=(k, d))
    return means[rng.integers(0, k, n)] + width * rng.normal(size=(n, d))


# ------------------------------------------------------------------------------------------------------------ data
def _digits(rng):
    from sklearn.datasets import load_digits

    return load_digits().data[rng.permutation(1797)[:331]]


def _outlier(rng, dtype):
    X = _blobs(rng, 151, 4, 3, width=0.1, scale=3.0)
    X[77, 2] = 1e20
    return X.astype(dtype)


def _two_scales(rng, dtype):
    return (_blobs(rng, 143, 6, 4) * [1e-30, 1e30, 1e30, 1e-30, 1e30, 1e-30]).astype(dtype)


def _tight_blobs(rng):
    means = rng.uniform(0, 1, (4, 5))  # the range is 1, a blob is 1e-4 wide, and each is cut into six
    return means[rng.integers(0, 4, 257)] + 1e-4 * rng.normal(size=(257, 5))


def _signed_zeros(rng):
    X = rng.integers(-1, 2, (97, 3)).astype(np.float64)
    X[X == 0] *= rng.choice([-1.0, 1.0], (X == 0).sum())
    return X


def _sparse_rows(rng):
    return np.where(rng.random((139, 20)) < 0.9, 0.0, rng.normal(size=(139, 20)))


NAMED = {
    "blobs": (lambda r: _blobs(r, 203, 2, 5), 5),
    "blobs32": (lambda r: _blobs(r, 203, 7, 6).astype(np.float32), 6),
    "uniform": (lambda r: r.random((301, 3)), 9),
    "uniform32": (lambda r: r.random((301, 3)).astype(np.float32), 9),
    "digits": (_digits, 10),
    "digits32": (lambda r: _digits(r).astype(np.float32), 10),
    "all equal": (lambda r: np.full((53, 5), 0.1), 3),
    "all zero": (lambda r: np.zeros((29, 2), np.float32), 2),
    "duplicates": (lambda r: r.normal(size=(7, 4))[r.integers(0, 7, 151)], 5),
    "more clusters than points": (lambda r: r.normal(size=(4, 3))[r.integers(0, 4, 61)], 7),
    "one cluster": (lambda r: r.normal(size=(101, 3)), 1),
    "one cluster each": (lambda r: r.normal(size=(37, 3)), 37),
    "one row": (lambda r: r.normal(size=(1, 3)), 1),
    "line lattice": (lambda r: r.integers(0, 9, (149, 1)).astype(np.float32), 4),
    "plane lattice": (lambda r: r.integers(-3, 4, (211, 2)).astype(np.float64), 6),
    "cube lattice": (lambda r: r.integers(0, 2, (181, 16)).astype(np.float32), 17),
    "wide lattice": (lambda r: r.integers(0, 3, (101, 40)).astype(np.float64), 18),
    "signed zeros": (_signed_zeros, 6),
    "offset32": (lambda r: (1e6 + _blobs(r, 223, 6, 5)).astype(np.float32), 8),
    "offset32 wide": (lambda r: (1e6 + _blobs(r, 119, 37, 5)).astype(np.float32), 20),
    "offset64": (lambda r: 1e9 + 1e-6 * _blobs(r, 163, 5, 4), 7),
    "outlier": (lambda r: _outlier(r, np.float64), 3),
    "outlier32": (lambda r: _outlier(r, np.float32), 3),
    "outlier column": (lambda r: np.column_stack([r.normal(size=(99, 2)), 10.0 ** r.uniform(-30, 20, 99)]), 4),
    "two scales": (lambda r: _two_scales(r, np.float64), 5),
    "two scales32": (lambda r: _two_scales(r, np.float32), 5),
    "1e-30": (lambda r: 1e-30 * _blobs(r, 133, 4, 4), 5),
    "1e-30 f32": (lambda r: (1e-30 * _blobs(r, 133, 4, 4)).astype(np.float32), 5),
    "1e30 f32": (lambda r: (1e30 * _blobs(r, 133, 4, 4)).astype(np.float32), 5),
    "1e-42 f32": (lambda r: (1e-42 * _blobs(r, 133, 4, 4)).astype(np.float32), 5),
    "1e-310": (lambda r: 1e-310 * _blobs(r, 101, 3, 4), 4),
    "1e-160": (lambda r: 1e-160 * _blobs(r, 101, 3, 4), 4),
    "1e150": (lambda r: 1e150 * _blobs(r, 101, 3, 4), 4),
    "1e-310 beside 1": (lambda r: _blobs(r, 101, 3, 4) * [1e-310, 1.0, 1e-160], 4),
    "tight blobs": (_tight_blobs, 24),
    "sparse rows": (_sparse_rows, 8),
    # as many features and clusters as the integer filter is used for
    "many wide clusters": (lambda r: _blobs(r, 217, 96, 7, width=0.6).astype(np.float32), 70),
    "many wide clusters f64": (lambda r: 5.0 + _blobs(r, 183, 65, 9, width=1e-3), 96),
    "many wide clusters lattice": (lambda r: r.integers(0, 2, (199, 70)).astype(np.float32), 90),
    "constant feature": (lambda r: np.column_stack([r.normal(size=(89, 2)), np.full(89, -7.3)]), 4),
    "heavy tails": (lambda r: r.standard_cauchy((127, 3)), 6),
    "integers": (lambda r: r.integers(-(2**31), 2**31, (103, 3)).astype(np.int64), 5),
    "integers beyond 2**53": (lambda r: 2**62 + r.integers(-5000, 5000, (103, 2)), 5),
}
DIMENSIONS = (1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 192, 1000)
CLUSTERS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65)
ROWS = (2, 3, 11, 12, 13, 47, 48, 49, 95, 96, 97)
DATA = [
    *NAMED,
    *(f"d={d}" for d in DIMENSIONS),
    *(f"d={d} f64" for d in (1, 3, 33, 64, 1000)),
    *(f"k={k}" for k in CLUSTERS),
    *(f"k={k} wide" for k in (1, 16, 17, 33, 65)),
    *(f"n={n}" for n in ROWS),
    *(f"n={n} wide" for n in ROWS),
]


@functools.cache
def dataset(name) -> DataSet:
    """The data set of this name: always the same values, in a read-only C-ordered array."""
    rng = _rng(name)
    if name in NAMED:
        make, k = NAMED[name]
        X = make(rng)
    else:
        size = int(name.split()[0].partition("=")[2])
        if name.startswith("d="):
            n, d, k = (61 if size > 200 else 131), size, 5 + size % 14
            X = _blobs(rng, n, d, 4, width=0.7)
        elif name.startswith("k="):
            n, d, k = 2 * size + 61, (40 if "wide" in name else 3), size
            X = rng.normal(size=(n, d))
        else:
            n, d, k = size, (40 if "wide" in name else 3), min(size, 4)
            X = rng.normal(size=(n, d))
        X = X if "f64" in name else X.astype(np.float32)
    X = np.ascontiguousarray(X)
    X.setflags(write=False)
    return DataSet(X, k)


# ---------------------------------------------------------------------------------------------------------- starts
def _rows(X, k, rng):
    return X[rng.permutation(len(X))[:k]]


def _off(X, k, rng):
    """Points around the data, not of it: some win nothing."""
    low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
    return (low + high) / 2 + (high - low) * rng.uniform(-0.8, 0.8, (k, X.shape[1]))


def _duplicate(X, k, rng):
    """Rows, every second a copy of an earlier one."""
    start = _rows(X, k, rng).copy()
    start[1::2] = start[: 2 * (k // 2) : 2]
    return start


def _ulp(X, k, rng):
    """Neighbors that differ by one unit in the last place of one coordinate: float64 decides."""
    start = np.array(_rows(X, k, rng), dtype=np.result_type(X.dtype, np.float32))
    for c in range(1, k, 2):
        start[c] = start[c - 1]
        j = rng.integers(X.shape[1])
        start[c, j] = np.nextafter(start[c, j], start.dtype.type(rng.choice([-np.inf, np.inf])))
    return start


def _far(X, k, rng):
    """One center for all rows, the others out of reach: every one is refilled."""
    X = X.astype(np.float64)
    reach = 4 * np.abs(X).max() + 1e-300
    start = np.tile(X[:1], (k, 1))
    start[1:] = X[:1] + reach * np.arange(1, k)[:, None]
    return start


STARTS = {"rows": _rows, "off": _off, "duplicate": _duplicate, "ulp": _ulp, "far": _far}


def start(data, name):
    """The start of this name for that data set, (k, d), in the data's own float dtype (float64 for integers)."""
    X, k = dataset(data)
    values = STARTS[name](X, k, _rng(data + name))
    return np.array(values, dtype=X.dtype if X.dtype.kind == "f" else np.float64)


# ------------------------------------------------------------------------------------------------------- weightings
WEIGHTS = {
    "none": lambda n, rng: None,
    "ones": lambda n, rng: np.ones(n),
    "integer": lambda n, rng: rng.integers(1, 6, n),
    "integer with zeros": lambda n, rng: rng.integers(0, 3, n) * (np.arange(n) > 0) + (np.arange(n) == n - 1),
    "fractional": lambda n, rng: rng.integers(1, 30, n) / 10,
    "fractional with zeros": lambda n, rng: rng.integers(0, 3, n) / 10 + 0.3 * (np.arange(n) == n - 1),
    "wild": lambda n, rng: 10.0 ** rng.uniform(-9, 9, n),
    "out of sight": lambda n, rng: 10.0 ** rng.uniform(-40, 40, n),
    "tiny": lambda n, rng: 1e-308 * rng.uniform(0.01, 1, n),
    "huge": lambda n, rng: 1e200 * rng.uniform(0.01, 1, n),
    "large integers": lambda n, rng: rng.integers(1, 2**52, n).astype(np.float64),
}


def weights(data, name):
    n = len(dataset(data).X)
    return WEIGHTS[name](n, _rng(data + name))


# --------------------------------------------------------------------------------------------------------- storages
def _strided(X):
    wide = np.full((2 * len(X), 3 * X.shape[1]), 99, dtype=X.dtype)
    wide[::2, 1::3] = X
    return wide[::2, 1::3]


def _unaligned(X):
    raw = np.zeros(X.nbytes + 1, dtype=np.uint8)
    view = raw[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def _field(X):
    table = np.zeros(len(X), dtype=[("flag", "u1"), ("x", X.dtype, X.shape[1:])])
    table["x"] = X
    return table["x"]


def _memmap(X, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


STORAGES = {
    "C": lambda X, tmp_path: X.copy(),
    "F": lambda X, tmp_path: np.asfortranarray(X),
    "strided": lambda X, tmp_path: _strided(X),
    "negative strides": lambda X, tmp_path: X[::-1, ::-1].copy()[::-1, ::-1],
    "negative F": lambda X, tmp_path: np.asfortranarray(X[::-1, ::-1])[::-1, ::-1],
    "memmap": _memmap,
    "unaligned": lambda X, tmp_path: _unaligned(X),
    "field": lambda X, tmp_path: _field(X),
    "byte-swapped": lambda X, tmp_path: X.astype(X.dtype.newbyteorder("S")),
    "read-only": lambda X, tmp_path: X,
    "list": lambda X, tmp_path: X.tolist(),
    "object": lambda X, tmp_path: X.astype(object),
}


def stored(X, storage, tmp_path):
    """The same values in another storage (a list or an object array becomes float64, whatever X was)."""
    return STORAGES[storage](X, tmp_path)
