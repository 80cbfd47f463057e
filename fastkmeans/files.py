"""Files written for the user: checked before the work starts, then written whole or not at all.

A file is written beside its target under another name and moved over it when complete, so that neither a full disk nor
Ctrl-C nor a crash leaves half a file or costs the old one. The command line and the model files use it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a path that cannot be written, before anything is computed for it; writes nothing that stays.

    Parameters
    ----------
    path : str or path-like
        The file that will be written. It may exist already.

    Raises
    ------
    ValueError
        When it is a folder, its folder is missing, or the system refuses to write there.
    """
    shown, target = os.fspath(path), os.path.realpath(path)
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise ValueError(f"cannot write {shown}: it is a folder")
    if not os.path.isdir(folder):
        raise ValueError(f"cannot write {shown}: there is no folder {os.path.dirname(shown) or folder}")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise ValueError(f"cannot write {shown}: it is write-protected")
    trial = _beside(target)
    try:
        with open(trial, "xb"):
            pass
        os.unlink(trial)
    except OSError as error:
        raise ValueError(f"cannot write {shown}: {error.strerror}") from error


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary stream whose content becomes the file `path` when the block ends without an error.

    Parameters
    ----------
    path : str or path-like
        The file to write or to replace. A link is followed; permissions stay. Pipes and devices are written directly.

    Yields
    ------
    stream : binary file
        Open for writing.

    Raises
    ------
    OSError
        From the system. What was at `path` is still there then.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(os.path.join(folder, "greeting.txt")) as stream:
    ...         _ = stream.write(b"hello")
    ...     os.listdir(folder)
    ['greeting.txt']
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as stream:
            yield stream
        return
    part = _beside(target)
    try:
        with open(part, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if os.path.exists(target):
            os.chmod(part, os.stat(target).st_mode & 0o7777)
        os.replace(part, target)
    finally:
        with suppress(FileNotFoundError):  # it has been moved, unless something went wrong
            os.unlink(part)


def _beside(target: str) -> str:
    """A fresh hidden name in the folder of `target`, so that moving it there is one step on the same disk."""
    return os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.part")
