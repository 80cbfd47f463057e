"""The one decorator of the kernels: compiled lazily, cached on disk, never with fastmath.

Numba's cache has two gaps that matter here, and both are closed.  It looks at the file of the function alone, so that a
change in a callee of another file goes unseen: the stamp of a cached kernel covers every source its own imports.  And
it numbers its data files, so that two processes that compile different signatures of a kernel at once may write the
same file: here a file is named after what is in it.  Where no cache directory can be written the kernels are compiled
without one, and the user is told once.
"""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile
from numba.core.types import unliteral

FOLDER = Path(__file__).parent
IMPORT = re.compile(r"^ *from \.(\w*) import (\([^)]*\)|.*)", re.MULTILINE)


@functools.cache
def _source(name: str) -> tuple[bytes, set[str]]:
    """The source of a module of the kernels, and the names that it imports from beside it."""
    source = (FOLDER / f"{name}.py").read_bytes()
    found = IMPORT.findall(source.decode())
    return source, {name for module, names in found for name in ([module] if module else re.findall(r"\w+", names))}


@functools.cache
def source_digest(name: str) -> str:
    """SHA-256 of the sources that a kernel's module is compiled from: its own, those it imports, and those they do.

    A module from elsewhere, as a test's, is taken to import all of them.
    """
    known = {path.stem for path in FOLDER.glob("*.py")}
    seen, ahead = {"__init__", "jit"}, {name} if name in known else known
    while ahead:
        seen |= ahead
        ahead = {imported for name in ahead for imported in _source(name)[1] & known} - seen
    digest = hashlib.sha256()
    for source in sorted(seen):
        digest.update(source.encode())
        digest.update(_source(source)[0])
    return digest.hexdigest()


class KeyedCacheFile(IndexDataCacheFile):
    """Numba's cache of one function, with data files named by stamp and key instead of numbered."""

    def save(self, key: Any, data: Any) -> None:
        overloads = self._load_index()
        if not overloads:  # none yet, or of another version of the sources, whose files nobody will ask for again
            for stale in Path(self._cache_path).glob(self._data_name_pattern.format(number=0).replace(".0.", ".*.")):
                stale.unlink(missing_ok=True)
        name = hashlib.sha256(repr((self._source_stamp, key)).encode()).hexdigest()[:20]
        data_name = self._data_name_pattern.replace("{number:d}", name)
        self._save_data(data_name, data)  # before the index: whoever finds the name finds the file
        overloads[key] = data_name
        self._save_index(overloads)


@functools.cache
def _warn_uncached() -> None:
    warnings.warn(
        "fastkmeans found no directory it may write its compiled kernels to; they are compiled again in every process. "
        "Set NUMBA_CACHE_DIR to a writable directory.",
        RuntimeWarning,
        stacklevel=4,
    )


def _forget_literals(dispatcher: Any) -> None:
    """Let calls with a number that is written there share what is compiled for any number.

    Numba compiles a callee for such a call alone, and again once it knows that the argument changes in a loop.
    """
    get_call_template = dispatcher.get_call_template

    def of_any_number(args: Any, kws: Any) -> Any:
        return get_call_template([unliteral(a) for a in args], {name: unliteral(a) for name, a in kws.items()})

    dispatcher.get_call_template = of_any_number


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False, allocates: bool = False) -> Any:
    """Compile a kernel: no GIL, NumPy's division rules, no fastmath, cached on disk where that is possible.

    allocates: whether it makes arrays or returns one.  Others count no references to their arguments, which they
    borrow: atomic additions at every call, a fifth of the time of some that are called for few rows.
    """
    if function is None:
        return functools.partial(kernel, parallel=parallel, allocates=allocates)
    dispatcher = numba.njit(nogil=True, error_model="numpy", parallel=parallel, _nrt=allocates)(function)
    if numba.config.DISABLE_JIT:
        return dispatcher
    _forget_literals(dispatcher)
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # Numba's "no locator available"
        _warn_uncached()
        return dispatcher
    cache = dispatcher._cache
    module = Path(function.__code__.co_filename)
    stamp = (cache._impl.locator.get_source_stamp(), source_digest(module.stem if module.parent == FOLDER else ""))
    cache._cache_file = KeyedCacheFile(cache._cache_path, cache._impl.filename_base, stamp)
    return dispatcher
