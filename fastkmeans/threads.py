"""Threads are borrowed: how many, on which pool, and everything put back afterwards.

Lane functions run on Numba's pool.  Where that pool can't be trusted (a forked child of a process that has used it: GNU
OpenMP dies there; the "workqueue" layer anywhere but on the main thread: it aborts on concurrent use) they run on
Python threads instead, which they can because they release the GIL.  The result is the same to the bit either way.
"""

from __future__ import annotations

import functools
import numbers
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SERIAL_WORK = 2e7  # multiply-adds of a pass below which starting threads (and loading the parallel loop) does not pay
RUNNING_WORK = 4e6  # the same where threads run and the kernel is loaded already
APART = 128  # bytes between what two lanes write: caches fetch lines of 64 in pairs

_lanes_ran = 1
_pool_pid: int | None = None  # the process that started Numba's pool, as far as we know
_forked_warned = False


def lanes_ran() -> int:
    """How many lanes found work in the last kernel call that was shared out.  For tests."""
    return _lanes_ran


def note_lanes(n: int) -> None:
    global _lanes_ran
    _lanes_ran = n


def pool_size() -> int:
    """Threads in Numba's pool."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)


def default_threads() -> int:
    """Numba's current mask; OMP_NUM_THREADS is an upper bound unless NUMBA_NUM_THREADS is set."""
    import numba

    n = numba.get_num_threads()  # the calling thread's own; reading it is safe in a forked child, too
    bound = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if "NUMBA_NUM_THREADS" not in os.environ and bound.isdecimal() and int(bound) > 0:
        n = min(n, int(bound))
    return int(n)


def _user_level() -> int:
    """The `stacklevel` with which a warning of the caller points at the nearest line outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    return level


def resolve(n_threads: int | None) -> int:
    """The number of threads to use.

    Parameters
    ----------
    n_threads : int or None
        None for the default: Numba's current mask, bounded by OMP_NUM_THREADS where NUMBA_NUM_THREADS is unset.

    Raises
    ------
    ValueError
        If it is not a positive integer.

    Warns
    -----
    UserWarning
        If it exceeds the pool; the pool's size is used then.
    """
    if n_threads is None:
        return default_threads()
    if isinstance(n_threads, bool) or not isinstance(n_threads, numbers.Integral) or n_threads < 1:
        raise ValueError(
            f"n_threads must be a positive integer or None (all threads Numba may use), got {n_threads!r}."
        )
    size = pool_size()
    if n_threads > size:
        warnings.warn(
            f"n_threads={n_threads} exceeds the {size} threads of Numba's pool; using {size}. "
            "Set NUMBA_NUM_THREADS before Python starts for a larger pool.",
            UserWarning,
            stacklevel=_user_level(),
        )
    return min(int(n_threads), size)


def _in_child() -> None:
    """After a fork the child must not touch a pool that its parent started."""
    global _pool_pid
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    if _pool_pid is None and parallel is not None and getattr(parallel, "_is_initialized", False):
        _pool_pid = os.getppid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _pool_is_safe() -> bool:
    """Whether the parallel loop may be entered here and now."""
    if _pool_pid is not None and _pool_pid != os.getpid():
        return False
    if threading.current_thread() is threading.main_thread():
        return True
    if _pool_pid is None:  # no parallel region of ours yet: the layer is unknown
        return False
    import numba

    return str(numba.threading_layer()) != "workqueue"


def _warn_forked() -> None:
    global _forked_warned
    if not _forked_warned and _pool_pid is not None and _pool_pid != os.getpid():
        _forked_warned = True
        warnings.warn(
            "This process was forked from one that had used Numba's threads, which do not survive a fork; fastkmeans "
            "uses threads of its own here. Start workers with the 'spawn' or 'forkserver' method to avoid this.",
            RuntimeWarning,
            stacklevel=_user_level(),
        )


@functools.cache
def register_controller() -> None:
    """Let ``threadpoolctl.threadpool_limits`` act on Numba's pool too."""
    import numba
    import threadpoolctl

    class NumbaController(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "numba"
        internal_api = "numba"
        filename_prefixes = ("omppool", "tbbpool", "workqueue")

        def get_num_threads(self) -> int:
            return int(numba.get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            numba.set_num_threads(max(1, min(int(num_threads), pool_size())))

        def get_version(self) -> str:
            return str(numba.__version__)

    threadpoolctl.register(NumbaController)


def per_lane(n_lanes: int, count: int, dtype: Any) -> np.ndarray:
    """Zeros, (n_lanes, count or more), for what lanes write without pause: no two of them share a line of the cache.

    Every lane's begin with a line.
    """
    size = np.dtype(dtype).itemsize
    width = (-(-count * size // APART) + 1) * APART
    buffer = np.zeros(n_lanes * width + APART, np.uint8)
    start = -buffer.ctypes.data % APART
    return buffer[start : start + n_lanes * width].view(dtype).reshape(n_lanes, width // size)


def share(
    n_lanes: int, lane_kernel: Callable[..., Any], shared: tuple[Any, ...], private: Iterable[np.ndarray] = ()
) -> None:
    """Run a lane kernel on `n_lanes` threads.

    Parameters
    ----------
    n_lanes : int
        One runs the lane on the calling thread, without compiling the parallel loop.
    lane_kernel : kernel
        ``lane_kernel(*shared, *(array[lane] for array in private))``; returns nothing.
    shared : tuple
        Arguments all lanes see; a counter among them shares out the work.
    private : iterable of ndarray
        Arrays whose first axis is the lane.
    """
    private = tuple(private)

    def lane(i: int) -> None:
        lane_kernel(*shared, *(array[i] for array in private))

    if n_lanes == 1:
        lane(0)
    elif _pool_is_safe():
        _run_on_pool(n_lanes, lane_kernel, shared, private)
    else:
        _warn_forked()
        on_python_threads(n_lanes, lane)


@functools.cache
def _parallel() -> Any:
    """The module of the parallel loop; an import is a part of what a small call takes."""
    from .kernels import parallel

    return parallel


def _run_on_pool(n_lanes: int, lane_kernel: Any, shared: tuple[Any, ...], private: tuple[np.ndarray, ...]) -> None:
    global _pool_pid
    import numba

    parallel = _parallel()
    arguments = parallel.entry_arguments(lane_kernel, shared, private)
    before = numba.get_num_threads()
    try:
        if before != n_lanes:
            numba.set_num_threads(n_lanes)
        parallel.enter(n_lanes, *arguments)
    finally:
        if before != n_lanes:
            numba.set_num_threads(before)
    if _pool_pid != os.getpid():
        _pool_pid = os.getpid()
        register_controller()


def on_python_threads(n_lanes: int, lane: Callable[[int], None]) -> None:
    """Run ``lane(i)`` for every i below `n_lanes`, the first on the calling thread; raises what one of them raised."""
    errors: list[BaseException] = []

    def guarded(i: int) -> None:
        try:
            lane(i)
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    others = [threading.Thread(target=guarded, args=(i,)) for i in range(1, n_lanes)]
    for thread in others:
        thread.start()
    guarded(0)
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
