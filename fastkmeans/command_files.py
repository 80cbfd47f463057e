"""What the commands share: common arguments, reading data, refusing outputs that cannot be written, and writing."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from fastkmeans.console import print_lines

if TYPE_CHECKING:
    from fastkmeans.tables import Table

_DATA_HELP = (
    "a table of numbers: .csv or .tsv with or without a header, .npy, .npz (one array, or one named X), .parquet"
)
_COLUMNS_HELP = "columns to use, by name or by number from 0, separated by commas (default: all)"
_OPTIONS = {"n_clusters": "-k", "n_references": "--references", "n_restarts": "--restarts", "n_threads": "--threads"}
REPORT_HELP = "write a report with pictures: .html, one file that needs nothing else (needs matplotlib)"


def add_input(parser: argparse.ArgumentParser) -> None:
    """The data, and how to read it."""
    parser.add_argument("data", metavar="DATA", help=_DATA_HELP)
    parser.add_argument("--threads", metavar="T", type=int, help="number of threads (default: all)")
    parser.add_argument("--columns", metavar="A,B", help=_COLUMNS_HELP)
    parser.add_argument(
        "--header", choices=["auto", "yes", "no"], default="auto", help="whether text has a header line"
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The seed, which is 0 unless the user says otherwise: the same command gives the same files."""
    parser.add_argument("--seed", metavar="S", type=_seed, default=0, help="seed of random choices (default: 0)")


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise ValueError
    return seed


_seed.__name__ = "seed"  # what argparse calls it in an error


def read_data(args: argparse.Namespace, columns: str | None, expected: list[str] | None = None) -> Table:
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


def as_typed(message: str, data: str) -> str:
    """An error of the library in the words of the command line: the option for the parameter, the file for X."""

    def option(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return f"{_OPTIONS.get(name, '--' + name.replace('_', '-'))} must"

    message = re.sub(r"^(?:The '(\w+)' parameter of \w+|(n_threads)) must", option, message)
    return re.sub(r"^(?:Input |(Values of ))X\b", lambda found: (found[1] or "") + data, message)


def suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def check_outputs(args: argparse.Namespace, *, written: list[str], read: list[str]) -> None:
    """Refuse outputs that could not be written, or would replace an input or one another."""
    from fastkmeans.files import check_writable
    from fastkmeans.tables import LABEL_WRITERS

    kinds = {"labels": set(LABEL_WRITERS), "centers": {".csv"}, "model": {".npz"}, "report": {".html", ".htm"}}
    taken = {os.path.realpath(getattr(args, name)): name for name in read}
    for option in written:
        path = getattr(args, option)
        if path is None:
            continue
        if option in ("plot", "report"):
            from fastkmeans.plotting import picture_formats

            kinds["plot"] = {f".{kind}" for kind in picture_formats()}  # and refuses to go on without matplotlib
        if suffix(path) not in kinds[option]:
            raise ValueError(f"--{option} {path}: expected a name ending in {', '.join(sorted(kinds[option]))}")
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option:
            raise ValueError(f"--{option} {path}: the same file as {'DATA' if other == 'data' else '--' + other}")
        check_writable(path)


def write_files(writers: dict[str, Callable[[BinaryIO], None]]) -> None:
    """Write files by path, each for itself: what fails (a full disk, a picture) does not cost the ones before it."""
    from fastkmeans.files import written_whole

    for path, write in writers.items():
        with written_whole(path) as stream:
            write(stream)
        print_lines([f"wrote {path}"])
