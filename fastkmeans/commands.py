"""The commands about k and quality: ``choose`` says how many clusters, ``diagnose`` what may be wrong with them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, BinaryIO

from fastkmeans.command_files import (
    REPORT_HELP,
    add_input,
    add_seed,
    check_outputs,
    read_data,
    suffix,
    write_files,
)
from fastkmeans.console import Progress, head, print_lines


def add_choose(commands: Any) -> None:
    """Add the arguments of ``choose`` to the parser's commands."""
    choose = commands.add_parser("choose", help="choose the number of clusters for a file", allow_abbrev=False)
    add_input(choose)
    add_seed(choose)
    choose.add_argument(
        "--ks", metavar="KS", type=_numbers, default="1-10", help="numbers to try, as 1-10 or 2,3,5 (default: 1-10)"
    )
    choose.add_argument("--method", metavar="M", default="elbow", help="elbow (default), silhouette or gap")
    choose.add_argument("--references", metavar="B", type=int, help="data sets that gap draws (default: 20)")
    choose.add_argument("--plot", metavar="FILE", help="write the curve: .png, .pdf, .svg (needs matplotlib)")
    choose.add_argument("--report", metavar="FILE", help=REPORT_HELP)
    choose.set_defaults(run=_choose)


def add_diagnose(commands: Any) -> None:
    """Add the arguments of ``diagnose`` to the parser's commands."""
    diagnose = commands.add_parser("diagnose", help="say what may be wrong with clusters", allow_abbrev=False)
    add_input(diagnose)
    add_seed(diagnose)
    what = diagnose.add_mutually_exclusive_group()
    what.add_argument("-k", dest="n_clusters", metavar="K", type=int, help="number of clusters (default: by the gap)")
    what.add_argument("--model", metavar="FILE", help="look at the model that fit --model wrote instead")
    diagnose.add_argument("--restarts", metavar="N", type=int, help="fresh starts to compare (default: 10)")
    diagnose.add_argument("--references", metavar="B", type=int, help="data sets that the gap draws (default: 20)")
    diagnose.set_defaults(run=_diagnose)


def _numbers(text: str) -> list[int]:
    """``1-10``, ``2,3,5`` and mixtures of both."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        found += range(int(first), int(last) + 1) if dash else [int(first)]
    if not found:
        raise ValueError
    return found


_numbers.__name__ = "numbers of clusters"  # what argparse calls them in an error


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _choose(args: argparse.Namespace) -> None:
    check_outputs(args, written=["plot", "report"], read=["data"])
    with Progress(f"reading {args.data}"):
        table = read_data(args, args.columns)

    from fastkmeans import choose_k

    n, d = table.values.shape
    with Progress(f"clustering {n:,} x {d:,} into {args.ks[0]:,} to {args.ks[-1]:,}"):
        choice = choose_k(
            table.values,
            args.ks,
            args.method,
            random_state=args.seed,
            n_threads=args.threads,
            **_given(n_references=args.references),
        )
    print_lines([*head(args.data, table.values), "", *str(choice).splitlines()[:-1], "", choice.reason])

    def plot(stream: BinaryIO) -> None:
        from fastkmeans.plotting import save_picture

        save_picture(stream, choice.plot(), suffix(args.plot)[1:])

    def report(stream: BinaryIO) -> None:
        from fastkmeans.report import choice_report

        with Progress("drawing"):
            stream.write(choice_report(args.data, args.command_line, table.values, table.names, choice).encode())

    writers = {"plot": plot, "report": report}
    write_files({getattr(args, option): write for option, write in writers.items() if getattr(args, option)})


def _diagnose(args: argparse.Namespace) -> None:
    from fastkmeans import KMeans, diagnose

    model = names = None
    if args.model is not None:
        from fastkmeans.models import load_model

        kept = load_model(args.model)
        names = kept.feature_names
        model = replace(kept, feature_names=None).to_estimator()  # names are matched in read_data
        model.set_params(n_threads=args.threads)
    with Progress(f"reading {args.data}"):
        table = read_data(args, args.columns, names)
    n, d = table.values.shape
    with Progress(f"looking at {n:,} x {d:,}"):
        if args.n_clusters is not None:
            model = KMeans(args.n_clusters, random_state=args.seed, n_threads=args.threads).fit(table.values)
        diagnosis = diagnose(
            table.values,
            model,
            feature_names=table.names,
            random_state=args.seed,
            n_threads=args.threads,
            **_given(n_restarts=args.restarts, n_references=args.references),
        )
    print_lines([*head(args.data, table.values), "", *str(diagnosis).splitlines()])
