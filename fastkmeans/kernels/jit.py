"""The one decorator of the kernels: compiled lazily, cached on disk, never with fastmath.

Numba's cache looks at the file of the function alone, so a change in a callee of another file would go unseen; here the
stamp of every cached kernel covers the sources of all kernels.  Where no cache directory can be written the kernels are
compiled without one, and the user is told once.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


@functools.cache
def source_digest() -> str:
    """SHA-256 of the sources of this package, file names included."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _warn_uncached() -> None:
    warnings.warn(
        "fastkmeans found no directory it may write its compiled kernels to; they are compiled again in every process. "
        "Set NUMBA_CACHE_DIR to a writable directory.",
        RuntimeWarning,
        stacklevel=4,
    )


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
    """Compile a kernel: no GIL, NumPy's division rules, no fastmath, cached on disk where that is possible."""
    if function is None:
        return functools.partial(kernel, parallel=parallel)
    dispatcher = numba.njit(nogil=True, error_model="numpy", parallel=parallel)(function)
    if numba.config.DISABLE_JIT:
        return dispatcher
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # Numba's "no locator available"
        _warn_uncached()
        return dispatcher
    cache_file = getattr(dispatcher._cache, "_cache_file", None)
    if hasattr(cache_file, "_source_stamp"):
        cache_file._source_stamp = (cache_file._source_stamp, source_digest())
    return dispatcher
