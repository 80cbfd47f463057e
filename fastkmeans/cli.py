"""The command line: ``fit`` clusters a file, ``predict`` labels a file with a model kept from an earlier fit.

Everything that can be refused is refused before the work starts, in one line on the standard error and with exit code
2; files are written whole or not at all. On a terminal a line shows progress once something takes more than a second.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TextIO

import fastkmeans

if TYPE_CHECKING:
    import numpy as np

    from fastkmeans.estimators import KMeans
    from fastkmeans.tables import Table

DONE, WRONG, INTERRUPTED = 0, 2, 130
_DATA_HELP = (
    "a table of numbers: .csv or .tsv with or without a header, .npy, .npz (one array, or one named X), .parquet"
)
_COLUMNS_HELP = "columns to use, by name or by number from 0, separated by commas (default: all)"
_LABELS_HELP = "write one label per row, in row order: .csv (with a header), .txt (without) or .npy"
_MOST_ROWS, _MOST_COLUMNS = 50, 8  # of the printed centers


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name. Default: those of the process.

    Returns
    -------
    code : int
        0 done; 2 wrong use or bad input, with one line on the standard error; 130 interrupted.
    """
    try:
        args = _parser().parse_args(argv)
        with _warnings_in_one_line():
            args.run(args)
    except SystemExit as error:  # argparse's way out: help and version with 0, wrong use with 2
        return error.code if isinstance(error.code, int) else WRONG
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except MemoryError as error:
        _say(f"error: not enough memory. {error}")
        return WRONG
    except OSError as error:
        _say(f"error: {error.filename}: {error.strerror}" if error.filename and error.strerror else f"error: {error}")
        return WRONG
    except (ValueError, ImportError) as error:
        _say(f"error: {error}")
        return WRONG
    return DONE


# -- arguments --------------------------------------------------------------------------------------------------------
class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastkmeans",
        description="Exact k-means. The answer depends on the data and the seed, not on the number of threads.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastkmeans {fastkmeans.__version__}")
    commands = parser.add_subparsers(required=True, metavar="{fit,predict}", dest="command")

    fit = commands.add_parser("fit", help="cluster the rows of a file", allow_abbrev=False)
    fit.add_argument("data", metavar="DATA", help=_DATA_HELP)
    fit.add_argument("-k", dest="n_clusters", metavar="K", type=int, required=True, help="number of clusters")
    fit.add_argument("--seed", metavar="S", type=_seed, default=0, help="seed of the random start (default: 0)")
    fit.add_argument("--n-init", metavar="N", type=_n_init, help="starts, the best of which is kept (default: auto)")
    fit.add_argument("--init", metavar="NAME", help="how to start: k-means++ (default), k-means|| or random")
    fit.add_argument("--algorithm", metavar="A", help="how to iterate: lloyd (default); the result is the same")
    fit.add_argument("--max-iter", metavar="N", type=int, help="most iterations (default: 300)")
    fit.add_argument(
        "--tol", metavar="T", type=float, help="stop when centers move less (default: 1e-4 of the variance)"
    )
    _add_common(fit)
    fit.add_argument("--labels", metavar="FILE", help=_LABELS_HELP)
    fit.add_argument(
        "--centers", metavar="FILE", help="write a .csv with a header and one row per center, in label order"
    )
    fit.add_argument("--model", metavar="FILE", help="write a .npz model for predict")
    fit.add_argument("--plot", metavar="FILE", help="write a picture: .png, .pdf, .svg (needs matplotlib)")
    fit.set_defaults(run=_fit)

    predict = commands.add_parser("predict", help="label the rows of a file with a model", allow_abbrev=False)
    predict.add_argument("data", metavar="DATA", help=_DATA_HELP)
    predict.add_argument("--model", metavar="FILE", required=True, help="the model, written by fit --model")
    _add_common(predict)
    predict.add_argument("--labels", metavar="FILE", help=_LABELS_HELP)
    predict.set_defaults(run=_predict)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", metavar="T", type=int, help="number of threads (default: all)")
    parser.add_argument("--columns", metavar="A,B", help=_COLUMNS_HELP)
    parser.add_argument(
        "--header", choices=["auto", "yes", "no"], default="auto", help="whether text has a header line"
    )


def _n_init(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise ValueError
    return seed


_n_init.__name__, _seed.__name__ = "number of starts", "seed"  # what argparse calls them in an error


# -- the two commands -------------------------------------------------------------------------------------------------
def _fit(args: argparse.Namespace) -> None:
    _check_outputs(args, written=["labels", "centers", "model", "plot"], read=["data"])
    with _Progress(f"reading {args.data}"):
        table = _read(args, args.columns)
    n, d = table.values.shape

    from fastkmeans import KMeans

    given = {name: getattr(args, name) for name in ("n_init", "init", "algorithm", "max_iter", "tol")}
    estimator = KMeans(
        n_clusters=args.n_clusters,
        random_state=args.seed,
        n_threads=args.threads,
        **{name: value for name, value in given.items() if value is not None},
    )
    with _Progress(f"clustering {n:,} x {d:,} into {args.n_clusters:,}") as progress, progress.iterations(estimator):
        estimator.fit(table.values)

    _print(_fit_report(args, table, estimator))  # first: not lost if a disk is full
    writers = _writers(args, table, estimator)
    _write({getattr(args, option): write for option, write in writers.items() if getattr(args, option)})


def _predict(args: argparse.Namespace) -> None:
    _check_outputs(args, written=["labels"], read=["data", "model"])

    from fastkmeans.models import load_model
    from fastkmeans.tables import LABEL_WRITERS

    model = load_model(args.model)
    with _Progress(f"reading {args.data}"):
        table = _read(args, args.columns, model.feature_names)
    estimator = replace(model, feature_names=None).to_estimator()  # names have been matched in _read
    estimator.set_params(n_threads=args.threads)
    with _Progress(f"labeling {len(table.values):,} rows"):
        labels = estimator.predict(table.values)

    _print(_predict_report(args, table, labels, len(model.centers)))
    if args.labels:
        _write({args.labels: lambda stream: LABEL_WRITERS[_suffix(args.labels)](stream, labels)})


def _read(args: argparse.Namespace, columns: str | None, expected: list[str] | None = None) -> Table:
    """The data; with `expected` names and none asked for, the columns of these names where the file has names."""
    from fastkmeans.tables import column_names, read_table

    header = {"auto": None, "yes": True, "no": False}[args.header]
    names = column_names(args.data, header=header) if columns is None and expected is not None else None
    if expected is None or names is None or names == expected:
        return read_table(args.data, columns, header=header)
    missing = [name for name in expected if name not in names]
    if missing:
        raise ValueError(
            f"{args.data}: no column {missing[0]!r}, which the model needs; the columns are {', '.join(names)}"
        )
    return read_table(args.data, expected, header=header)


# -- files ------------------------------------------------------------------------------------------------------------
def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _check_outputs(args: argparse.Namespace, *, written: list[str], read: list[str]) -> None:
    """Refuse outputs that could not be written, or would replace an input or one another."""
    from fastkmeans.files import check_writable
    from fastkmeans.tables import LABEL_WRITERS

    kinds = {"labels": set(LABEL_WRITERS), "centers": {".csv"}, "model": {".npz"}}
    taken = {os.path.realpath(getattr(args, name)): name for name in read}
    for option in written:
        path = getattr(args, option)
        if path is None:
            continue
        if option == "plot":
            from fastkmeans.plotting import picture_formats

            kinds["plot"] = {f".{kind}" for kind in picture_formats()}
        if _suffix(path) not in kinds[option]:
            raise ValueError(f"--{option} {path}: expected a name ending in {', '.join(sorted(kinds[option]))}")
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option:
            raise ValueError(f"--{option} {path}: the same file as {'DATA' if other == 'data' else '--' + other}")
        check_writable(path)


def _writers(args: argparse.Namespace, table: Table, estimator: KMeans) -> dict[str, Callable[[BinaryIO], None]]:
    """How to write each output of a fit, by option."""
    from fastkmeans.models import Model, dump_model
    from fastkmeans.tables import LABEL_WRITERS, write_centers

    def plot(stream: BinaryIO) -> None:
        from fastkmeans.plotting import plot_clusters, save_picture

        k, n = estimator.cluster_centers_.shape[0], table.values.shape[0]
        title = f"{os.path.basename(args.data)}: {k:,} clusters, {n:,} rows, inertia {estimator.inertia_:.10g}"
        with _Progress("drawing"):
            ax = plot_clusters(
                table.values, estimator.labels_, estimator.cluster_centers_, feature_names=table.names, title=title
            )
            save_picture(stream, ax, _suffix(args.plot)[1:])

    return {
        "labels": lambda stream: LABEL_WRITERS[_suffix(args.labels)](stream, estimator.labels_),
        "centers": lambda stream: write_centers(stream, estimator.cluster_centers_, table.names),
        "model": lambda stream: dump_model(stream, Model.from_estimator(estimator, table.names)),
        "plot": plot,
    }


def _write(writers: dict[str, Callable[[BinaryIO], None]]) -> None:
    """Write files by path, each for itself: what fails (a full disk, a picture) does not cost the ones before it."""
    from fastkmeans.files import written_whole

    for path, write in writers.items():
        with written_whole(path) as stream:
            write(stream)
        _print([f"wrote {path}"])


# -- what is printed --------------------------------------------------------------------------------------------------
def _fit_report(args: argparse.Namespace, table: Table, estimator: KMeans) -> list[str]:
    import numpy as np

    centers, k = estimator.cluster_centers_, len(estimator.cluster_centers_)
    names = table.names if table.names is not None else [f"x{j}" for j in range(centers.shape[1])]
    sizes = np.bincount(estimator.labels_, minlength=k)
    shown = range(min(k, _MOST_ROWS))
    grid = [["cluster", "size", *names[:_MOST_COLUMNS]]]
    grid += [[str(c), str(sizes[c]), *(f"{value:.10g}" for value in centers[c, :_MOST_COLUMNS])] for c in shown]
    lines = [*_head(args, table, k), "", *_aligned(grid)]
    left_out = [
        f"{count - most:,} more {what}"
        for count, most, what in ((k, _MOST_ROWS, "clusters"), (centers.shape[1], _MOST_COLUMNS, "columns"))
        if count > most
    ]
    if left_out:
        lines.append(f"... {' and '.join(left_out)}; --centers FILE writes all")
    stopped = "converged" if estimator.converged_ else "stopped at the most allowed"
    return [*lines, "", f"inertia {estimator.inertia_:.10g}", f"iterations {estimator.n_iter_} ({stopped})"]


def _predict_report(args: argparse.Namespace, table: Table, labels: np.ndarray, k: int) -> list[str]:
    import numpy as np

    sizes = np.bincount(labels, minlength=k)
    grid = [["cluster", "size"], *([str(c), str(sizes[c])] for c in range(min(k, _MOST_ROWS)))]
    lines = [*_head(args, table, k), "", *_aligned(grid)]
    if k > _MOST_ROWS:
        lines.append(f"... {k - _MOST_ROWS:,} more clusters")
    return lines


def _head(args: argparse.Namespace, table: Table, k: int) -> list[str]:
    n, d = table.values.shape
    counts = [f"{count:,} {what}{'s' * (count != 1)}" for count, what in ((n, "row"), (d, "column"), (k, "cluster"))]
    return [f"{os.path.basename(args.data)}: {', '.join(counts)}"]


def _aligned(grid: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in grid]


def _print(lines: list[str]) -> None:
    """Print lines; a reader that has gone away (``| head``) is no reason to lose the files."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # for what Python flushes at exit


def _say(text: str) -> None:
    """One line on the standard error, whatever the text was."""
    print("fastkmeans:", " ".join(text.split()), file=sys.stderr)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show warnings meant for the user as one line each, after the work, where they do not cut through progress."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("default", RuntimeWarning)
        try:
            yield
        finally:
            for warning in caught:
                _say(f"warning: {warning.message}")


# -- progress ---------------------------------------------------------------------------------------------------------
class _Progress:
    """A line on a terminal that says what is going on; appears after a second, goes away at the end.

    Nothing is written when the standard error is not a terminal.
    """

    def __init__(self, text: str, *, delay: float = 1.0, interval: float = 0.5) -> None:
        self.text, self.note = text, ""
        self._stream: TextIO = sys.stderr
        self._delay, self._interval = delay, interval
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Progress:
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
        with contextlib.redirect_stdout(_LastLine(self)):
            yield
        estimator.set_params(verbose=0)


class _LastLine(io.TextIOBase):
    """A text stream that keeps nothing but its last line, as the note of a progress line."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        line = text.strip().rpartition("\n")[2].rstrip(".")
        if line:
            self._progress.note = line[0].lower() + line[1:]
        return len(text)
