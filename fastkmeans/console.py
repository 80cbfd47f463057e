"""What the command line shows: lines, tables of text, warnings in one line each, and progress on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, TextIO


def head(path: str, values: Any, n_clusters: int | None = None) -> list[str]:
    """The first line of what a command prints, as a list."""
    counts = [(values.shape[0], "row"), (values.shape[1], "column")]
    if n_clusters is not None:
        counts.append((n_clusters, "cluster"))
    said = ", ".join(f"{count:,} {what}{'s' * (count != 1)}" for count, what in counts)
    return [f"{os.path.basename(path)}: {said}"]


def aligned(grid: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in grid]


def print_lines(lines: list[str]) -> None:
    """Print lines; a reader that has gone away (``| head``) is no reason to lose the files."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # for what Python flushes at exit


def say(text: str) -> None:
    """One line on the standard error, whatever the text was."""
    print("fastkmeans:", " ".join(text.split()), file=sys.stderr)


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show warnings meant for the user as one line each, after the work, where they do not cut through progress."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("default", RuntimeWarning)
        try:
            yield
        finally:
            for warning in caught:
                say(f"warning: {warning.message}")


# -- progress ---------------------------------------------------------------------------------------------------------
class Progress:
    """A line on a terminal that says what is going on; appears after a second, goes away at the end.

    Nothing is written when the standard error is not a terminal.
    """

    def __init__(self, text: str, *, delay: float = 1.0, interval: float = 0.5) -> None:
        self.text, self.note = text, ""
        self._stream: TextIO = sys.stderr
        self._delay, self._interval = delay, interval
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        began, width = time.monotonic(), 0
        wait = self._delay
        while not self._over.wait(wait):
            wait = self._interval
            line = ", ".join(filter(None, [self.text, self.note, f"{time.monotonic() - began:.0f} s"]))
            line = line[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + line.ljust(width))
            self._stream.flush()
            width = len(line)
        if width:
            self._stream.write("\r" + " " * width + "\r")
            self._stream.flush()

    @contextlib.contextmanager
    def iterations(self, estimator: Any) -> Iterator[None]:
        """Let the line follow what a verbose fit prints, when there is a line."""
        if self._thread is None:
            yield
            return
        estimator.set_params(verbose=1)
        with contextlib.redirect_stdout(LastLine(self)):
            yield
        estimator.set_params(verbose=0)


class LastLine(io.TextIOBase):
    """A text stream that keeps nothing but its last line, as the note of a progress line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        line = text.strip().rpartition("\n")[2].rstrip(".")
        if line:
            self._progress.note = line[0].lower() + line[1:]
        return len(text)
