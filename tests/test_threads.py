"""Threads: how many, on which pool, that everything is put back, and that nothing about them shows in the result.

What needs a pool of its own (a size, a layer, a fork, a signal) runs this file as a script in a process of its own,
with the name of one of its functions; that prints what it saw as a line of JSON.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from unittest import mock

import numba
import numpy as np
import pytest
import threadpoolctl
from numba import types
from numba.extending import intrinsic

import fastkmeans
from fastkmeans import KMeans, threads
from fastkmeans.kernels import jit, parallel, simd

POOL = 3  # of the processes started here, whatever this machine has


# ------------------------------------------------------------------------------------------------------- how many
@pytest.fixture
def pool_of_six(monkeypatch):
    monkeypatch.setattr(threads, "pool_size", lambda: 6)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 6)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize("wrong", [0, -1, True, False, 2.0, 1.5, "2", np.int64(0), np.float64(2), np.True_, [2]])
def test_what_is_no_number_of_threads(wrong, pool_of_six):
    with pytest.raises(ValueError, match="n_threads must be a positive integer or None"):
        threads.resolve(wrong)


@pytest.mark.parametrize("number", [1, 3, 6, np.int64(3), np.uint8(2), np.int32(6)])
def test_a_number_within_the_pool(number, pool_of_six):
    result = threads.resolve(number)
    assert result == int(number)
    assert type(result) is int


@pytest.mark.parametrize("wrong", [0, -2, True, 1.0])
def test_the_estimator_refuses_it_too(wrong):
    with pytest.raises(ValueError, match="n_threads"):
        KMeans(2, n_init=1, n_threads=wrong).fit([[0.0], [1.0]])


@pytest.mark.parametrize("call", ["fit", "fit_predict", "fit_transform"])
def test_more_than_the_pool_is_clamped_and_said_once(pool_of_six, call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(KMeans(2, n_init=1, n_threads=np.int16(60)), call)(np.arange(8.0).reshape(4, 2))
    (warning,) = caught
    assert warning.category is UserWarning
    assert "n_threads=60 exceeds the 6 threads of Numba's pool; using 6" in str(warning.message)
    assert warning.filename == __file__  # the user's line, not one of ours
    with pytest.warns(UserWarning, match="exceeds"):
        assert threads.resolve(7) == 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", 1),
        ("1,2", 1),
        (" 4 , 2", 4),
        ("6", 6),
        ("99", 6),  # an upper bound, not a number to reach
        ("0", 6),
        ("-2", 6),
        ("many", 6),
        ("²", 6),
        ("", 6),
        (",3", 6),
        ("2.5", 6),
    ],
)
def test_omp_num_threads_bounds_the_default(value, expected, pool_of_six, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.resolve(None) == expected
    assert threads.resolve(5) == 5  # it bounds the default only


def test_numba_num_threads_goes_first(pool_of_six, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "6")
    assert threads.resolve(None) == 6


def test_the_default_is_numbas_mask(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = numba.get_num_threads()
    assert threads.resolve(None) == before
    try:
        numba.set_num_threads(1)
        assert threads.resolve(None) == 1
    finally:
        numba.set_num_threads(before)


# ------------------------------------------------------------------------------------------------- lanes of share
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("count", [1, 10, 128, 1000])
def test_lanes_write_to_lines_of_their_own(count, dtype):
    array = threads.per_lane(3, count, dtype)
    assert array.flags.c_contiguous
    assert not array.any()
    starts = [array[lane].ctypes.data for lane in range(3)]
    assert [start % threads.APART for start in starts] == [0, 0, 0]
    assert np.diff(starts).min() >= count * array.itemsize


def test_one_lane_runs_here_without_the_parallel_kernel():
    seen = []
    threads.share(1, lambda *a: seen.append((threading.get_ident(), *a)), ("shared",), ([7],))
    assert seen == [(threading.get_ident(), "shared", 7)]


def test_python_threads_serve_every_lane(monkeypatch):
    monkeypatch.setattr(threads, "_pool_is_safe", lambda: False)
    out = np.zeros((4, 3))

    def lane(amount, n, i, row):
        row[:] = amount * i + n

    threads.share(4, lane, (10, 4), (np.arange(4), out))
    np.testing.assert_array_equal(out, np.repeat([[4], [14], [24], [34]], 3, axis=1))


@pytest.mark.parametrize("failing", [0, 1, 3])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_python_threads_hand_on_what_went_wrong(failing, error, monkeypatch):
    monkeypatch.setattr(threads, "_pool_is_safe", lambda: False)
    done = np.zeros((4, 1), np.int64)

    def lane(i, row):
        if i == failing:
            raise error(f"lane {i}")
        time.sleep(0.01)
        row[0] = 1

    with pytest.raises(error, match=f"lane {failing}"):
        threads.share(4, lane, (), (np.arange(4), done))
    assert done.sum() == 3  # the others were waited for


@pytest.mark.skipif(threads.pool_size() < 2, reason="one thread in the pool")
def test_lanes_are_called_by_their_address():
    """Arguments of other types are for another compiled lane; what a lane raises is not lost."""

    @jit.kernel(allocates=True)
    def lane(width, amount, fill, weights, i, row):
        if amount == -i:
            raise ValueError("amount")
        row[:] += len(width) * amount * fill.sum() + i + (0 if weights is None else weights[0])

    @jit.kernel
    def counting(row):
        return len(row)

    out, weights = np.zeros((2, 3)), np.full(2, 0.5)
    weights.flags.writeable = False
    for width, fill, given in (
        (4, np.arange(4.0), None),
        (8, np.arange(4.0), None),
        (8, np.arange(4), None),
        (8, np.arange(8.0)[::2], None),
        (8, np.arange(4.0), weights),
        (8, np.arange(4.0), weights.copy()),
    ):
        for _ in range(2):
            out[:] = 0
            threads.share(2, lane, (simd.lanes(width), 3, fill, given), (np.arange(2), out))
            expected = width * 3.0 * float(fill.sum()) + np.array([0, 1]) + (0 if given is None else 0.5)
            np.testing.assert_array_equal(out, np.repeat(expected[:, None], 3, axis=1))
    assert len(lane.overloads) == 6
    for failing in (1, 2):  # one of the two lanes
        out[:] = 0
        with pytest.raises(ValueError, match="amount"):
            threads.share(2, lane, (simd.lanes(4), -failing, np.arange(4.0), None), (np.arange(1, 3), out))
        assert (out[failing - 1] == 0).all()
        assert (out[2 - failing] != 0).all()  # the other was not disturbed
    with pytest.raises(TypeError, match="must return nothing"):
        threads.share(2, counting, (), (out,))


@intrinsic
def counter_of(typingctx, array):
    """The address of what counts the references to an array."""

    def codegen(context, b, signature, args):
        return b.ptrtoint(context.make_array(array)(context, b, args[0]).meminfo, simd.I64)

    return types.int64(array), codegen


@pytest.mark.skipif(threads.pool_size() < 2, reason="one thread in the pool")
def test_lanes_do_not_count_references():
    """They would do so in one place, and wait for each other there. Nor does a call leave a reference behind."""

    @jit.kernel(allocates=True)
    def lane(shared, row):
        row[0], row[1], row[2] = counter_of(shared), counter_of(row), shared[0]

    out, shared = np.ones((2, 3), np.int64), np.arange(3, 9)
    before = sys.getrefcount(shared), sys.getrefcount(out)
    for _ in range(3):
        threads.share(2, lane, (shared,), (out,))
    assert out.tolist() == [[0, 0, 3], [0, 0, 3]]
    assert (sys.getrefcount(shared), sys.getrefcount(out)) == before
    lane(shared, out[0])
    assert out[0, 0] != 0  # one that allocates does when it is called from Python


# ------------------------------------------------------------------------------------ in processes of their own
def run(name, **environment):
    """Run one of the functions below in a process of its own, warnings being errors."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "NUMBA_THREADING_LAYER")}
    root = str(Path(fastkmeans.__file__).parent.parent)
    env = {**clean, "PYTHONPATH": root, "NUMBA_NUM_THREADS": str(POOL), **environment}
    command = [sys.executable, "-W", "error", __file__, name]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def data():
    rng = np.random.default_rng(5)
    return (rng.normal(size=(4000, 4)) + 3 * rng.integers(0, 4, (4000, 1))).astype(np.float32)


def fitted(n_threads=None):
    """Digest of a fit that shares out every pass, however small."""
    threads.SERIAL_WORK = 0
    X = data()
    model = KMeans(5, init=X[:5], n_init=1, max_iter=15, n_threads=n_threads).fit(X)
    sha = hashlib.sha256(model.labels_.tobytes() + model.cluster_centers_.tobytes())
    sha.update(repr((model.inertia_, model.n_iter_, model.predict(X)[::7].tolist())).encode())
    return sha.hexdigest()


def fitted_at_once(n_fits):
    """The digests of as many fits in as many Python threads, started together."""
    start = threading.Barrier(n_fits)
    found = [None] * n_fits

    def one(i):
        start.wait()
        found[i] = [fitted() for _ in range(3)]

    workers = [threading.Thread(target=one, args=(i,)) for i in range(n_fits)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted({digest for digests in found for digest in digests or ["failed"]})


@pytest.fixture(scope="module")
def alone():
    """The digest of a fit on one thread."""
    before = threads.SERIAL_WORK
    try:
        return fitted(n_threads=1)
    finally:
        threads.SERIAL_WORK = before


def _mask():
    seen = {}

    def look(n, address, shared, private):
        shared[0][0] = numba.get_num_threads()

    def fail(*arguments):
        look(*arguments)
        raise OSError("inside")

    @jit.kernel
    def lane(note):
        pass

    numba.set_num_threads(2)
    for name, body in (("kernel", look), ("exception", fail)):
        note = np.zeros(1, np.int64)
        try:
            with mock.patch.object(parallel, "enter", body):
                threads.share(3, lane, (note,))
        except OSError:
            seen["raised"] = True
        seen[name] = [int(note[0]), numba.get_num_threads()]
    fitted()
    seen["fit by the mask"] = numba.get_num_threads()
    fitted(n_threads=3)
    seen["fit with more"] = numba.get_num_threads()
    return seen


def test_the_mask_is_restored():
    """After a kernel, after one that raises, and after fits."""
    seen = run("_mask")
    assert seen == {
        "kernel": [3, 2],
        "exception": [3, 2],
        "raised": True,
        "fit by the mask": 2,
        "fit with more": 2,
    }


def _limits():
    def names():
        return [module["user_api"] for module in threadpoolctl.threadpool_info()]

    seen = {"before": names().count("numba"), "digest": fitted(), "after": names().count("numba")}
    seen["mask"] = [numba.get_num_threads()]
    with threadpoolctl.threadpool_limits(limits=1):
        seen["mask"].append(numba.get_num_threads())
        seen["resolved"] = threads.resolve(None)
        seen["limited"] = fitted()
        seen["mask"].append(numba.get_num_threads())
    seen["mask"].append(numba.get_num_threads())
    with threadpoolctl.threadpool_limits(limits=2, user_api="numba"):
        seen["mask"].append(numba.get_num_threads())
    with threadpoolctl.threadpool_limits(limits={"numba": 1000}):
        seen["mask"].append(numba.get_num_threads())
    seen["mask"].append(numba.get_num_threads())
    return seen


def test_threadpool_limits_act_on_the_pool(alone):
    """After our first parallel call threadpoolctl knows Numba's pool: listed once, limited, put back."""
    seen = run("_limits")
    assert seen["mask"] == [POOL, 1, 1, POOL, 2, POOL, POOL]
    assert (seen["before"], seen["after"], seen["resolved"]) == (0, 1, 1)
    assert seen["digest"] == seen["limited"] == alone


def _at_once():
    return {
        "first": fitted(),
        "lanes": max(threads.lanes_ran() for _ in range(5) if fitted()),
        "all": fitted_at_once(4),
    }


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_fits_at_once_equal_a_lone_fit(alone, layer):
    """The layer "workqueue" aborts the process when two threads use it at once: there, Python threads serve."""
    seen = run("_at_once", NUMBA_THREADING_LAYER=layer)
    assert (seen["first"], seen["all"]) == (alone, [alone])


def _elsewhere():
    """Fits off the main thread before any parallel region; how many threads served a call is counted by their ids."""
    served = set()
    run_on_python_threads = threads.on_python_threads

    def spy(n_lanes, lane):
        def noted(i):
            served.add(threading.get_ident())
            lane(i)

        run_on_python_threads(n_lanes, noted)

    threads.on_python_threads = spy
    masks = []

    def limited():
        numba.set_num_threads(1)
        masks.append(threads.resolve(None))

    found = fitted_at_once(2)
    other = threading.Thread(target=limited)
    other.start()
    other.join()
    return {"all": found, "threads": len(served), "pool": threads._pool_pid, "then": fitted(), "masks": masks}


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_off_the_main_thread_before_any_parallel_call(alone, layer):
    """Python threads serve then, several to a fit; the main thread's pool is none the worse for it."""
    seen = run("_elsewhere", NUMBA_THREADING_LAYER=layer)
    assert seen["all"] == [alone]
    assert seen["threads"] > 2
    assert (seen["pool"], seen["then"]) == (None, alone)
    assert seen["masks"] == [1]  # a mask belongs to the thread that set it


def child(connection):
    """Two fits in a child process, and the warnings they gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [fitted(), fitted()]
    connection.send((found, [[w.category.__name__, str(w.message), w.filename] for w in caught]))
    connection.close()


def grandchild(connection):
    """The child of a child does as the child does."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(connection,))
    process.start()
    process.join()


def in_child(method, target=child):
    ours, theirs = multiprocessing.get_context(method).Pipe(duplex=False)
    process = multiprocessing.get_context(method).Process(target=target, args=(theirs,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 has doubts about forks as such
        process.start()
    theirs.close()
    found, caught = ours.recv() if ours.poll(120) else (None, None)
    process.join()
    return {"found": found, "caught": caught, "exit": process.exitcode}


def _children():
    """Forks before anything, after a fit on one lane, after a shared fit; from another thread; and a fresh process."""
    seen = {"fork first": in_child("fork")}
    KMeans(2, n_init=1, random_state=0).fit([[0.0], [1.0], [5.0]])
    seen["fork after a small fit"] = in_child("fork")
    seen["parent"] = fitted()
    seen["fork"] = in_child("fork")
    seen["fork of a fork"] = in_child("fork", grandchild)
    worker = threading.Thread(target=lambda: seen.update({"fork off the main thread": in_child("fork")}))
    worker.start()
    worker.join()
    seen["spawn"] = in_child("spawn")
    seen["parent again"] = fitted()
    return seen


def test_children(alone):
    """A child of a process that had used the pool would die in it: it gets Python threads, and says so once."""
    seen = run("_children")
    assert seen.pop("parent") == seen.pop("parent again") == alone
    for name, result in seen.items():
        assert (result["exit"], result["found"]) == (0, [alone, alone]), (name, result)
        if name in ("fork", "fork of a fork", "fork off the main thread"):
            ((category, message, filename),) = result["caught"]
            assert category == "RuntimeWarning"
            assert "forked" in message
            assert filename == __file__
        elif name != "fork after a small fit":  # may or may not have started the pool
            assert result["caught"] == [], name


def _interrupted():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(30_000, 4)).astype(np.float32)
    threads.SERIAL_WORK = 0
    fitted()  # what the long fit needs is loaded
    numba.set_num_threads(2)
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(1.0, send)
    timer.start()
    try:
        KMeans(100, init="random", n_init=100_000, random_state=0, n_threads=3).fit(X)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - sent[0]
    else:
        seconds = None
    return {"seconds": seconds, "mask": numba.get_num_threads(), "then": fitted()}


def test_interrupt(alone):
    """Ctrl-C ends a long fit between two kernel calls, and leaves the mask and the pool in order."""
    seen = run("_interrupted")
    assert seen["seconds"] is not None
    assert seen["seconds"] < 20  # it takes a fraction of a second; a busy machine must not turn this red
    assert (seen["mask"], seen["then"]) == (2, alone)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
