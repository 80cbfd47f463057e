"""Tables for the command line: data files in (.csv .tsv .npy .npz .parquet), labels and centers out.

Every reader gives a 2-D array of numbers and, where the file has them, the names of its columns. Text is parsed by
NumPy's own ``loadtxt``; Python looks at single lines only for the header and to say which line is wrong. A .npy file
is memory-mapped, never read at once.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_SEPARATOR_NAMES = {",": "comma", "\t": "tab"}
_BLOCK_BYTES = 1 << 22  # rows looked at together when checking for missing values
_PARQUET_HINT = "reading .parquet needs pyarrow: pip install 'fastkmeans-numba[parquet]'"


class Table(NamedTuple):
    """Numbers read from a file: `values` of shape (n, d), `names` of the d columns or None."""

    values: np.ndarray
    names: list[str] | None


class _Layout(NamedTuple):
    """How a text file begins: the header's fields (None without one), lines before the data, fields in a data line."""

    names: list[str] | None
    n_skip: int
    n_fields: int


def read_table(
    path: str | os.PathLike[str],
    columns: str | Sequence[str] | None = None,
    *,
    header: bool | None = None,
) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path : str or path-like
        A .csv (commas) or .tsv (tabs) file in UTF-8, a .npy file (memory-mapped), a .npz file with one array or with
        one named ``X``, or a .parquet file (needs pyarrow).
    columns : str or sequence of str, optional
        Columns to keep, in this order: names, or numbers counting from 0. In one string they are separated by commas. A
        name goes before a number of the same spelling. Default: all.
    header : bool, optional
        Whether a text file's first line holds column names. Default: it does when none of its fields is a number; where
        some are, it must look like the second line, or the reader asks.

    Returns
    -------
    table : Table
        ``values`` (n, d) and ``names`` (list of d str, or None). Text gives float64; the others keep their dtype.

    Raises
    ------
    ValueError
        With the file, and the line and column where there are any.
    ImportError
        For .parquet without pyarrow.
    OSError
        When the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "two.csv")
    ...     with open(path, "w") as stream:
    ...         _ = stream.write("a,b,c\\n1,2,3\\n4,5,6\\n")
    ...     read_table(path, "c,a")
    Table(values=array([[3., 1.],
           [6., 4.]]), names=['c', 'a'])
    """
    shown = os.fspath(path)
    suffix = os.path.splitext(shown)[1].lower()
    wanted = _split(columns)
    if suffix in _SEPARATORS:
        return _read_text(shown, _SEPARATORS[suffix], wanted, header)
    reader = {".npy": _read_npy, ".npz": _read_npz, ".parquet": _read_parquet}.get(suffix)
    if reader is None:
        raise ValueError(f"{shown}: expected a file ending in .csv, .tsv, .npy, .npz or .parquet")
    return reader(shown, wanted)


def column_names(path: str | os.PathLike[str], *, header: bool | None = None) -> list[str] | None:
    """Names of all columns of a file, without reading its rows.

    Parameters
    ----------
    path, header
        As for `read_table`.

    Returns
    -------
    names : list of str, or None
        None for a text file without a header and for NumPy's formats.
    """
    shown = os.fspath(path)
    suffix = os.path.splitext(shown)[1].lower()
    if suffix in _SEPARATORS:
        return _layout(shown, _SEPARATORS[suffix], header).names
    if suffix == ".parquet":
        with _parquet(shown) as source:
            return list(source.schema_arrow.names)
    return None


# -- choosing columns -------------------------------------------------------------------------------------------------
def _split(columns: str | Sequence[str] | None) -> list[str] | None:
    if isinstance(columns, str):
        columns = next(csv.reader([columns], skipinitialspace=True), [])
    if columns is None:
        return None
    wanted = [c.strip() for c in columns]
    if not wanted or "" in wanted:
        raise ValueError("columns: expected names or numbers separated by commas, as in A,B")
    return wanted


def _choose(shown: str, wanted: list[str], names: list[str] | None, n_fields: int) -> list[int]:
    """Positions of the wanted columns among `n_fields`, each once."""
    chosen: list[int] = []
    for want in wanted:
        at = [i for i, name in enumerate(names or []) if name == want]
        if len(at) > 1:
            raise ValueError(f"{shown}: {len(at)} columns are named {want!r}; choose by number, counting from 0")
        if not at and want.isascii() and want.isdigit() and int(want) < n_fields:
            at = [int(want)]
        if not at:
            there = f"the columns are {_listed(names)}" if names else f"columns are numbered 0 to {n_fields - 1}"
            raise ValueError(f"{shown}: no column {want!r}; {there}")
        if at[0] in chosen:
            raise ValueError(f"{shown}: column {want!r} is chosen twice")
        chosen += at
    return chosen


def _listed(names: Sequence[str], most: int = 12) -> str:
    text = ", ".join(names[:most])
    return text if len(names) <= most else f"{text}, ... ({len(names)} in all)"


def _column(names: Sequence[str] | None, position: int) -> str:
    return f"column {position}" if names is None else f"column {names[position]!r}"


def _first_nonfinite(values: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the first NaN or infinity, looking at a few MiB at a time."""
    if values.dtype.kind != "f":
        return None
    step = max(1, _BLOCK_BYTES // max(1, values.shape[1] * values.itemsize))
    for lo in range(0, values.shape[0], step):
        finite = np.isfinite(values[lo : lo + step])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            return lo + int(row), int(column)
    return None


# -- text -------------------------------------------------------------------------------------------------------------
def _is_number(text: str) -> bool:
    """Whether NumPy reads `text` as a float64; Python alone allows underscores."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _lines(shown: str) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line that is not empty."""
    with open(shown, encoding="utf-8-sig", newline=None) as stream:
        try:
            for number, line in enumerate(stream, 1):
                line = line.removesuffix("\n")
                if "\0" in line:
                    raise ValueError(f"{shown}, line {number}: not a text file (it holds a zero byte)")
                if line:
                    yield number, line
        except UnicodeDecodeError as error:
            raise ValueError(f"{shown}: not a text file in UTF-8 ({error})") from error


def _fields(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [""])


def _layout(shown: str, separator: str, header: bool | None) -> _Layout:
    """Read the first two lines and decide whether the first is a header."""
    lines = _lines(shown)
    n_line, line = next(lines, (0, ""))
    if not line:
        raise ValueError(f"{shown}: the file is empty")
    first = _fields(line, separator)
    if line.count('"') % 2:
        raise ValueError(f"{shown}, line {n_line}: a quote is opened and not closed on the same line")
    second_line = next(lines, (0, ""))[1]
    second = _fields(second_line, separator) if second_line else None
    numeric = [_is_number(field) for field in first]
    if header is None:
        header = not any(numeric)
        like_second = second is not None and numeric == [_is_number(field) for field in second]
        if any(numeric) and not all(numeric) and not like_second:
            word = first[numeric.index(False)]
            raise ValueError(
                f"{shown}, line {n_line}: {word!r} is not a number but other fields are; say whether this line is a"
                " header with --header yes or --header no"
            )
    if not header:
        return _Layout(None, n_line - 1, len(first))
    if second is None:
        raise ValueError(f"{shown}: there is a header but no row below it")
    names = [name.strip() for name in first]
    if len(second) != len(names):
        raise ValueError(f"{shown}: the header has {len(names)} fields, the first row {len(second)}")
    return _Layout(names, n_line, len(names))


def _read_text(shown: str, separator: str, wanted: list[str] | None, header: bool | None) -> Table:
    layout = _layout(shown, separator, header)
    use = None if wanted is None else _choose(shown, wanted, layout.names, layout.n_fields)
    if use is not None:
        _check_lengths(shown, separator, layout)  # loadtxt ignores fields that it is not asked for
    try:
        values = np.loadtxt(
            shown,
            dtype=np.float64,
            comments=None,
            delimiter=separator,
            quotechar='"',
            skiprows=layout.n_skip,
            usecols=use,
            ndmin=2,
            encoding="utf-8-sig",
        )
    except ValueError as error:
        _raise_at_line(shown, separator, layout, use)
        raise ValueError(f"{shown}: {error}") from error
    if _first_nonfinite(values) is not None:
        _raise_at_line(shown, separator, layout, use)
    names = layout.names if layout.names is None or use is None else [layout.names[i] for i in use]
    return Table(values, names)


def _check_lengths(shown: str, separator: str, layout: _Layout) -> None:
    for number, line in _lines(shown):
        n_fields = len(_fields(line, separator))
        if number > layout.n_skip and n_fields != layout.n_fields:
            raise ValueError(_wrong_length(shown, number, layout.n_fields, n_fields))


def _wrong_length(shown: str, number: int, expected: int, got: int) -> str:
    return f"{shown}, line {number}: expected {expected} fields, got {got}"


def _raise_at_line(shown: str, separator: str, layout: _Layout, use: list[int] | None) -> None:
    """Look for the first line that NumPy could not read, or that is not finite, and raise with its number."""
    for number, line in _lines(shown):
        if number <= layout.n_skip:
            continue
        fields = _fields(line, separator)
        if len(fields) != layout.n_fields:
            raise ValueError(_wrong_length(shown, number, layout.n_fields, len(fields)))
        for position in range(layout.n_fields) if use is None else use:
            text = fields[position]
            place = f"{shown}, line {number}, {_column(layout.names, position)}"
            if not text.strip():
                raise ValueError(f"{place}: the value is missing")
            if not _is_number(text):
                hint = f" (expected values separated by {_SEPARATOR_NAMES[separator]}s)" if layout.n_fields == 1 else ""
                raise ValueError(f"{place}: {text!r} is not a number{hint}")
            if not np.isfinite(float(text)):
                raise ValueError(f"{place}: {text.strip()!r} is not a finite number")


# -- binary formats ---------------------------------------------------------------------------------------------------
def _checked(shown: str, values: np.ndarray, wanted: list[str] | None) -> Table:
    """The 2-D array of numbers that `values` must be, with the wanted columns."""
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{shown}: expected an array of real numbers, got dtype {values.dtype}")
    if values.ndim != 2:
        raise ValueError(f"{shown}: expected a 2-D array (rows, columns), got shape {values.shape}")
    if wanted is None:
        return Table(values, None)
    use = _choose(shown, wanted, None, values.shape[1])
    step = use[1] - use[0] if len(use) > 1 else 1
    if step > 0 and use == list(range(use[0], use[-1] + 1, step)):
        return Table(values[:, use[0] : use[-1] + 1 : step], None)  # a view: the file stays on disk
    picked = values[:, use]
    bad = _first_nonfinite(picked)
    if bad is not None:  # its column number would be that of the copy
        raise ValueError(f"{shown}, row {bad[0]}, column {use[bad[1]]}: {picked[bad]} is not a finite number")
    return Table(picked, None)


def _read_npy(shown: str, wanted: list[str] | None) -> Table:
    try:
        values = np.load(shown, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{shown}: not a readable .npy file ({error})") from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise ValueError(f"{shown}: a .npz archive under the name of a .npy file")
    return _checked(shown, values, wanted)


def _read_npz(shown: str, wanted: list[str] | None) -> Table:
    with open(shown, "rb") as stream:
        try:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            if "X" not in archive.files and len(archive.files) != 1:
                raise ValueError(f"expected one array or one named X, got {_listed(archive.files) or 'none'}")
            values = archive["X" if "X" in archive.files else archive.files[0]]
        except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{shown}: not a readable .npz archive ({error})") from error
    return _checked(shown, values, wanted)


@contextmanager
def _parquet(shown: str) -> Iterator[Any]:
    """The open Parquet file; what pyarrow says about a damaged one becomes a ValueError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(_PARQUET_HINT) from error
    with open(shown, "rb") as stream:
        try:
            yield pq.ParquetFile(stream)
        except pa.ArrowException as error:
            raise ValueError(f"{shown}: not a readable Parquet file ({error})") from error


def _read_parquet(shown: str, wanted: list[str] | None) -> Table:
    with _parquet(shown) as source:
        schema = source.schema_arrow
        names = list(schema.names)
        use = list(range(len(names))) if wanted is None else _choose(shown, wanted, names, len(names))
        chosen = [names[i] for i in use]
        for i in use:
            kind = str(schema.field(i).type)
            if not kind.startswith(("int", "uint", "float", "halffloat", "double", "bool")):
                raise ValueError(f"{shown}: {_column(names, i)} holds {kind}, not numbers; choose with --columns")
            if names.count(names[i]) > 1:
                raise ValueError(f"{shown}: {names.count(names[i])} columns are named {names[i]!r}")
        frame = source.read(columns=chosen)
    kinds = [np.dtype(frame.column(name).type.to_pandas_dtype()) for name in chosen]
    values = np.empty((frame.num_rows, len(chosen)), np.result_type(*kinds) if kinds else np.float64, order="F")
    for j, name in enumerate(chosen):
        column = frame.column(name)
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise ValueError(f"{shown}, row {row}, column {name!r}: the value is missing")
        values[:, j] = column.to_numpy()
    bad = _first_nonfinite(values)
    if bad is not None:
        raise ValueError(f"{shown}, row {bad[0]}, column {chosen[bad[1]]!r}: {values[bad]} is not a finite number")
    return Table(values, chosen)


# -- results ----------------------------------------------------------------------------------------------------------
def _write_label_lines(stream: BinaryIO, labels: np.ndarray) -> None:
    for lo in range(0, len(labels), 1 << 18):
        stream.write(b"".join(b"%d\n" % label for label in labels[lo : lo + (1 << 18)].tolist()))


def _write_label_csv(stream: BinaryIO, labels: np.ndarray) -> None:
    stream.write(b"label\n")
    _write_label_lines(stream, labels)


def _write_label_npy(stream: BinaryIO, labels: np.ndarray) -> None:
    np.save(stream, np.ascontiguousarray(labels), allow_pickle=False)


LABEL_WRITERS: dict[str, Callable[[BinaryIO, np.ndarray], None]] = {
    ".csv": _write_label_csv,  # a header, then one label per line in row order
    ".npy": _write_label_npy,
    ".txt": _write_label_lines,
}


def write_centers(stream: BinaryIO, centers: np.ndarray, names: Sequence[str] | None) -> None:
    """Write centers as CSV: a header and one row per center in label order, every number exact.

    Parameters
    ----------
    stream : binary file
        Where to write.
    centers : ndarray of shape (k, d)
        Each float is written with the shortest digits that give the same float64 back.
    names : sequence of d str, or None
        The header; ``x0``, ``x1``, ... where there are none.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_centers(stream, np.array([[0.1, 2.0]]), ["V1", "V2"])
    >>> stream.getvalue()
    b'V1,V2\\n0.1,2.0\\n'
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names if names is not None else [f"x{j}" for j in range(centers.shape[1])])
    writer.writerows(np.asarray(centers, dtype=np.float64).tolist())
    text.detach()
