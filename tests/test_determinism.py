"""The answer depends on the data and the seed alone: not on threads, lane width, block size, orientation or storage.

Each case is one fit boiled down to a digest of everything it found (times aside). What needs another environment runs
this file as a script in a process of its own, which prints its digests.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import matrix
import numpy as np
import oracle
import pytest

import fastkmeans
from fastkmeans import KMeans, data, packed, threads
from fastkmeans.kernels import lloyd, simd

# name -> rows, features, clusters, dtype, init, weighted
CASES = {
    "few features": (9001, 3, 21, "f4", "array", False),
    "few features f64": (5003, 5, 40, "f8", "array", False),
    "many features": (3001, 70, 33, "f4", "array", False),
    "many features f64": (2003, 130, 19, "f8", "array", False),
    "many clusters": (2501, 70, 97, "f4", "array", False),
    "weighted": (4007, 6, 12, "f4", "array", True),
    "lattice": (6005, 4, 30, "f4", "array", False),
    "bytes": (6005, 4, 30, "u1", "array", False),
    "seeded": (5009, 8, 17, "f4", "k-means++", False),
    "seeded weighted": (3011, 60, 9, "f4", "k-means++", True),
    "seeded long": (3001, 20, 60, "f4", "k-means++", False),
}

BOUNDED = ["few features", "many features", "weighted"]  # tried with algorithm="elkan" too
THREADED = ["few features", "many features", "many clusters", "weighted", "seeded", "seeded weighted", "seeded long"]


def case(name):
    n, d, k, dtype, init, weighted = CASES[name]
    rng = np.random.default_rng(len(name) + n)
    X = (
        rng.integers(0, 5, (n, d))
        if name in ("lattice", "bytes")
        else rng.normal(size=(n, d)) + rng.integers(0, 2, (n, 1))
    )
    X = X.astype(dtype)
    return X, k, X[:k].copy() if init == "array" else init, rng.uniform(0, 2, n) if weighted else None


def fitted(X, k, init, weights, n_threads=None, max_iter=12, algorithm="lloyd"):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        parameters = {"max_iter": max_iter, "tol": 0.0, "algorithm": algorithm}
        model = KMeans(k, init=init, n_init=1, random_state=11, n_threads=n_threads, **parameters)
        return model.fit(X, sample_weight=weights)


def digest(model, X):
    """One hexadecimal string for all that a fit and a prediction found."""
    sha = hashlib.sha256()
    for array in (model.labels_, model.cluster_centers_, model.cluster_weights_, model.predict(X)):
        sha.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    sha.update(repr((model.inertia_, model.n_iter_, model.converged_, [tuple(h[:4]) for h in model.history_])).encode())
    return sha.hexdigest()


def digests(names, n_threads=None, algorithm="lloyd"):
    out = {}
    for name in names:
        X, k, init, weights = case(name)
        out[name] = digest(fitted(X, k, init, weights, n_threads, algorithm=algorithm), X)
    return out


@pytest.fixture(autouse=True, scope="module")
def vector_kernels():
    """Small jobs run plain loops by default; here all run the vector kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PLAIN_WORK", 0.0)
        yield


@pytest.fixture(scope="module")
def expected(vector_kernels):
    """The digests of this process, as it is."""
    return digests(CASES)


def run_script(*arguments, **environment):
    """Run this file in a process of its own and read the JSON it prints last."""
    root = str(Path(fastkmeans.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root, **environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, *arguments], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [n for n in CASES if n != "many features f64"])
def test_the_cases_equal_the_oracle(name):
    """What all the others are compared with is right."""
    X, k, init, weights = case(name)
    model = fitted(X, k, init, weights, max_iter=4)
    if isinstance(init, str):
        init = X[oracle.kmeans_plusplus(X, weights, k, np.random.SeedSequence(11).spawn(1)[0])]
    truth = oracle.lloyd(X, init, weights, 4, 0.0, oracle.center_dtype(X.dtype))
    np.testing.assert_array_equal(model.labels_, truth.labels)
    np.testing.assert_array_equal(model.cluster_centers_, truth.centers)
    assert (model.inertia_, model.n_iter_) == (truth.inertia, truth.n_iter)


def test_threads(expected):
    """One to four threads, and as many lanes as asked for really take part."""
    result = run_script("threads", NUMBA_NUM_THREADS="4")
    for n_threads in ("1", "2", "3", "4", "not the main thread"):
        assert result[n_threads]["digests"] == {name: expected[name] for name in THREADED}
        assert result[n_threads]["bounded"] == {name: expected[name] for name in BOUNDED}
        if n_threads.isdigit():
            assert result[n_threads]["lanes"] == int(n_threads)


@pytest.mark.parametrize("width", [1, 4, 8, 16])
def test_lane_widths(expected, width):
    names = ["few features", "many features", "many clusters", "lattice", "seeded weighted"]
    with simd.force_lanes(width):
        assert digests(names) == {name: expected[name] for name in names}
        assert digests(BOUNDED, algorithm="elkan") == {name: expected[name] for name in BOUNDED}


@pytest.mark.parametrize("orientation", ["points", "centers", "integers", "features"])
def test_orientations(expected, orientation):
    names = [name for name, (_, d, *_) in CASES.items() if d <= 64]
    with lloyd.force_orientation(orientation):
        assert digests(names) == {name: expected[name] for name in names}


@pytest.mark.parametrize("rows", [1, 7, 500, 1024, 4000])
def test_rows_per_kernel_call(expected, rows, monkeypatch):
    monkeypatch.setattr(data, "RANGE_ROWS", rows)
    names = (
        ["few features", "many features", "many clusters", "weighted", "seeded"] if rows > 7 else ["seeded weighted"]
    )
    assert digests(names) == {name: expected[name] for name in names}


STRIDED = ("F", "strided", "negative strides", "negative F", "field")


@pytest.mark.parametrize(
    ("name", "storage"),
    [(name, s) for name in ("few features", "many features", "weighted") for s in matrix.STORAGES if s != "C"]
    + [("few features f64", "F")]
    + [
        ("bytes", s) for s in matrix.STORAGES if s != "C" and s not in STRIDED
    ],  # a layout and dtype compiles for seconds
)
def test_storages(expected, storage, name, tmp_path):
    X, k, init, weights = case(name)
    stored = matrix.stored(X, storage, tmp_path)
    if storage in ("list", "object"):  # float64 then
        X = X.astype(np.float64)
        assert digest(fitted(stored, k, init, weights), X) == digest(fitted(X, k, init, weights), X)
    else:
        assert digest(fitted(stored, k, init, weights), stored) == expected[name]
        np.testing.assert_array_equal(stored, X)


def test_plain_loops(expected, monkeypatch):
    """What small jobs run by default."""
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    names = ["few features", "many features", "many clusters", "lattice", "seeded weighted"]
    assert digests(names) == {name: expected[name] for name in names}


def test_again(expected):
    """The same process, the same data: the same bits."""
    assert digests(["seeded", "weighted"]) == {name: expected[name] for name in ("seeded", "weighted")}


def test_without_the_compiler():
    """The plain loops as Python runs them, the JIT switched off, equal the oracle."""
    assert run_script("plain", NUMBA_DISABLE_JIT="1", FASTKMEANS_LANES="1") == "equal"


def _threads():
    threads.SERIAL_WORK = packed.PLAIN_WORK = 0  # however small the job, all lanes, and the vector kernels
    result = {}
    for n_threads in (1, 2, 3, 4):
        X = np.random.default_rng(0).normal(size=(300_000, 3)).astype(np.float32)
        lanes = 0
        for _ in range(20):  # on a busy machine a thread may come too late for one call
            KMeans(1000, init=X[:1000], n_init=1, max_iter=1, n_threads=n_threads).fit(X)
            lanes = max(lanes, threads.lanes_ran())
            if lanes >= n_threads:
                break
        bounded = digests(BOUNDED, n_threads, "elkan")
        result[n_threads] = {"digests": digests(THREADED, n_threads), "bounded": bounded, "lanes": lanes}
    found, bounded = {}, {}
    for target in (lambda: found.update(digests(THREADED, 3)), lambda: bounded.update(digests(BOUNDED, 3, "elkan"))):
        other = threading.Thread(target=target)
        other.start()
        other.join()
    result["not the main thread"] = {"digests": found, "bounded": bounded}
    return result


def _plain():
    rng = np.random.default_rng(1)
    for dtype, init in (("f4", "array"), ("f8", "k-means++"), ("f8", "random"), ("i4", "array")):
        X = (4 * rng.normal(size=(23, 3))).astype(dtype)
        weights = rng.integers(0, 3, 23) / 2
        for w in (None, weights):
            start = X[:4].astype(float) if init == "array" else init
            model = fitted(X, 4, start, w)
            truth = oracle.kmeans(X, 4, start, 1, 11, w, 12, 0.0)
            assert np.array_equal(model.labels_, truth.labels) and np.array_equal(model.cluster_centers_, truth.centers)
            assert (model.inertia_, model.n_iter_) == (truth.inertia, truth.n_iter)
            assert np.array_equal(model.predict(X), truth.labels)
            assert model.score(X, sample_weight=w) == -model.inertia_
    return "equal"


if __name__ == "__main__":
    print(json.dumps({"threads": _threads, "plain": _plain}[sys.argv[1]]()))
