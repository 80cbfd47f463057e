"""The command line: ``fit`` clusters a file, ``predict`` labels a file with a model kept from an earlier fit.

``choose`` and ``diagnose`` are in `fastkmeans.commands`.

Everything that can be refused is refused before the work starts, in one line on the standard error and with exit code
2; files are written whole or not at all. On a terminal a line shows progress once something takes more than a second.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import fastkmeans
from fastkmeans.command_files import (
    REPORT_HELP,
    add_input,
    add_seed,
    as_typed,
    check_outputs,
    read_data,
    suffix,
    write_files,
)
from fastkmeans.commands import add_choose, add_diagnose
from fastkmeans.console import Progress, aligned, head, print_lines, say, warnings_in_one_line

if TYPE_CHECKING:
    import numpy as np

    from fastkmeans.estimators import KMeans
    from fastkmeans.tables import Table

DONE, WRONG, INTERRUPTED = 0, 2, 130
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
        args.command_line = shlex.join(["fastkmeans", *(sys.argv[1:] if argv is None else argv)])
        with warnings_in_one_line():
            args.run(args)
    except SystemExit as error:  # argparse's way out: help and version with 0, wrong use with 2
        return error.code if isinstance(error.code, int) else WRONG
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except MemoryError as error:
        say(f"error: not enough memory. {error}")
        return WRONG
    except OSError as error:
        say(f"error: {error.filename}: {error.strerror}" if error.filename and error.strerror else f"error: {error}")
        return WRONG
    except (ValueError, ImportError) as error:
        say(f"error: {as_typed(str(error), args.data)}")
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
    commands = parser.add_subparsers(required=True, metavar="{fit,predict,choose,diagnose}", dest="command")

    fit = commands.add_parser("fit", help="cluster the rows of a file", allow_abbrev=False)
    add_input(fit)
    fit.add_argument("-k", dest="n_clusters", metavar="K", type=int, required=True, help="number of clusters")
    add_seed(fit)
    fit.add_argument("--n-init", metavar="N", type=_n_init, help="starts, the best of which is kept (default: auto)")
    fit.add_argument("--init", metavar="NAME", help="how to start: k-means++ (default), k-means|| or random")
    fit.add_argument(
        "--algorithm", metavar="A", help="how to iterate: auto (default), lloyd or elkan; the result is the same"
    )
    fit.add_argument("--max-iter", metavar="N", type=int, help="most iterations (default: 300)")
    fit.add_argument(
        "--tol", metavar="T", type=float, help="stop when centers move less (default: 1e-4 of the variance)"
    )
    fit.add_argument("--refine", metavar="NAME", help="how to leave local minima: swap (default: not at all)")
    fit.add_argument("--labels", metavar="FILE", help=_LABELS_HELP)
    fit.add_argument(
        "--centers", metavar="FILE", help="write a .csv with a header and one row per center, in label order"
    )
    fit.add_argument("--model", metavar="FILE", help="write a .npz model for predict")
    fit.add_argument("--plot", metavar="FILE", help="write a picture: .png, .pdf, .svg (needs matplotlib)")
    fit.add_argument("--report", metavar="FILE", help=REPORT_HELP)
    fit.set_defaults(run=_fit)

    predict = commands.add_parser("predict", help="label the rows of a file with a model", allow_abbrev=False)
    add_input(predict)
    predict.add_argument("--model", metavar="FILE", required=True, help="the model, written by fit --model")
    predict.add_argument("--labels", metavar="FILE", help=_LABELS_HELP)
    predict.set_defaults(run=_predict)

    add_choose(commands)
    add_diagnose(commands)
    return parser


def _n_init(text: str) -> int | str:
    return text if text == "auto" else int(text)


_n_init.__name__ = "number of starts"  # what argparse calls it in an error


# -- the two commands -------------------------------------------------------------------------------------------------
def _fit(args: argparse.Namespace) -> None:
    check_outputs(args, written=["labels", "centers", "model", "plot", "report"], read=["data"])
    with Progress(f"reading {args.data}"):
        table = read_data(args, args.columns)
    n, d = table.values.shape

    from fastkmeans import KMeans

    given = {name: getattr(args, name) for name in ("n_init", "init", "algorithm", "max_iter", "tol", "refine")}
    estimator = KMeans(
        n_clusters=args.n_clusters,
        random_state=args.seed,
        n_threads=args.threads,
        **{name: value for name, value in given.items() if value is not None},
    )
    with Progress(f"clustering {n:,} x {d:,} into {args.n_clusters:,}") as progress, progress.iterations(estimator):
        estimator.fit(table.values)

    print_lines(_fit_report(args, table, estimator))  # first: not lost if a disk is full
    writers = _writers(args, table, estimator)
    write_files({getattr(args, option): write for option, write in writers.items() if getattr(args, option)})


def _predict(args: argparse.Namespace) -> None:
    check_outputs(args, written=["labels"], read=["data", "model"])

    from fastkmeans.models import load_model
    from fastkmeans.tables import LABEL_WRITERS

    model = load_model(args.model)
    with Progress(f"reading {args.data}"):
        table = read_data(args, args.columns, model.feature_names)
    estimator = replace(model, feature_names=None).to_estimator()  # names have been matched in _read
    estimator.set_params(n_threads=args.threads)
    with Progress(f"labeling {len(table.values):,} rows"):
        labels = estimator.predict(table.values)

    print_lines(_predict_report(args, table, labels, len(model.centers)))
    if args.labels:
        write_files({args.labels: lambda stream: LABEL_WRITERS[suffix(args.labels)](stream, labels)})


# -- files ------------------------------------------------------------------------------------------------------------
def _writers(args: argparse.Namespace, table: Table, estimator: KMeans) -> dict[str, Callable[[BinaryIO], None]]:
    """How to write each output of a fit, by option."""
    from fastkmeans.models import Model, dump_model
    from fastkmeans.tables import LABEL_WRITERS, write_centers

    def plot(stream: BinaryIO) -> None:
        from fastkmeans.plotting import plot_clusters, save_picture

        k, n = estimator.cluster_centers_.shape[0], table.values.shape[0]
        title = f"{os.path.basename(args.data)}: {k:,} clusters, {n:,} rows, inertia {estimator.inertia_:.10g}"
        with Progress("drawing"):
            ax = plot_clusters(
                table.values, estimator.labels_, estimator.cluster_centers_, feature_names=table.names, title=title
            )
            save_picture(stream, ax, suffix(args.plot)[1:])

    def report(stream: BinaryIO) -> None:
        from fastkmeans.report import fit_report

        with Progress("drawing"):
            stream.write(fit_report(args.data, args.command_line, table.values, table.names, estimator).encode())

    return {
        "labels": lambda stream: LABEL_WRITERS[suffix(args.labels)](stream, estimator.labels_),
        "centers": lambda stream: write_centers(stream, estimator.cluster_centers_, table.names),
        "model": lambda stream: dump_model(stream, Model.from_estimator(estimator, table.names)),
        "plot": plot,
        "report": report,
    }


# -- what is printed --------------------------------------------------------------------------------------------------
def _fit_report(args: argparse.Namespace, table: Table, estimator: KMeans) -> list[str]:
    import numpy as np

    centers, k = estimator.cluster_centers_, len(estimator.cluster_centers_)
    names = table.names if table.names is not None else [f"x{j}" for j in range(centers.shape[1])]
    sizes = np.bincount(estimator.labels_, minlength=k)
    shown = range(min(k, _MOST_ROWS))
    grid = [["cluster", "size", *names[:_MOST_COLUMNS]]]
    grid += [[str(c), str(sizes[c]), *(f"{value:.10g}" for value in centers[c, :_MOST_COLUMNS])] for c in shown]
    lines = [*head(args.data, table.values, k), "", *aligned(grid)]
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
    lines = [*head(args.data, table.values, k), "", *aligned(grid)]
    if k > _MOST_ROWS:
        lines.append(f"... {k - _MOST_ROWS:,} more clusters")
    return lines
