"""Tables: every format gives the same numbers, and every bad file a sentence with its place."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastkmeans.tables import LABEL_WRITERS, column_names, read_table, write_centers

ROWS = np.array([[1.5, -2.0, 3e-5], [4.0, 5.25, -6e7]])
NAMES = ["a", "b c", "d"]


@pytest.fixture
def write(tmp_path):
    """Write a text file and return its path."""

    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1.5,-2,3e-5\n4,5.25,-6e7\n", None),
        ("a,b c,d\n1.5,-2,3e-5\n4,5.25,-6e7\n", NAMES),
        ('"a","b c","d"\n1.5,-2,3e-5\n4,5.25,-6e7\n', NAMES),
        (' a , b c,d\r\n"1.5", -2 ,3e-5\r\n4,5.25,-6e7\r\n', NAMES),
        ("\ufeffa,b c,d\n1.5,-2,3e-5\n4,5.25,-6e7", NAMES),
        ("\ufeff1.5,-2,3e-5\n4,5.25,-6e7", None),
        ("\n\na,b c,d\n\n1.5,-2,3e-5\n\n\n4,5.25,-6e7\n\n", NAMES),
    ],
    ids=["bare", "header", "quoted", "spaces and CRLF", "byte order mark", "mark, no header", "blank lines"],
)
def test_text(write, text, names):
    for name, content in (("t.csv", text), ("T.TSV", text.replace(",", "\t"))):
        table = read_table(write(content, name))
        np.testing.assert_array_equal(table.values, ROWS)
        assert table.values.dtype == np.float64
        assert table.names == names


def test_quoted_separators_in_a_header(write):
    table = read_table(write('"x, in m","say ""y"""\n1,2\n'))
    assert table.names == ["x, in m", 'say "y"']
    assert read_table(write('"x, in m",y\n1,2\n'), '"x, in m"').values.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("columns", "positions"),
    [("a,d", [0, 2]), ("d,a", [2, 0]), ("1", [1]), ("b c,0", [1, 0]), (["d"], [2]), (" a , d ", [0, 2])],
)
def test_columns(write, tmp_path, columns, positions):
    text = "a,b c,d\n1.5,-2,3e-5\n4,5.25,-6e7\n"
    pq.write_table(pa.table({name: ROWS[:, j] for j, name in enumerate(NAMES)}), tmp_path / "t.parquet")
    for path in (write(text), tmp_path / "t.parquet"):
        table = read_table(path, columns)
        np.testing.assert_array_equal(table.values, ROWS[:, positions])
        assert table.names == [NAMES[i] for i in positions]


def test_columns_leave_out_text(write):
    text = "id,x,y\nfirst,1,2\nsecond,3,4\n"
    assert read_table(write(text), "x,y").values.tolist() == [[1, 2], [3, 4]]
    assert read_table(write("1,2,setosa\n3,4,virginica\n"), "0,1").values.tolist() == [[1, 2], [3, 4]]


def test_a_name_goes_before_a_number(write):
    assert read_table(write("1,0\n5,6\n"), "0", header=True).values.tolist() == [[6]]


def test_header_can_be_said(write):
    numbers = write("1990,1991\n1,2\n")
    assert read_table(numbers).values.shape == (2, 2)
    assert read_table(numbers, header=True).names == ["1990", "1991"]
    mixed = write("country,1990\n7,1\n")
    with pytest.raises(ValueError, match=r"line 1: 'country' is not a number but other fields are.*--header yes or"):
        read_table(mixed)
    assert read_table(mixed, header=True).values.tolist() == [[7, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "there is a header but no row below it"),
        ("a,b\n1,2\n3,x\n", r"line 3, column 'b': 'x' is not a number"),
        ("1,2\n3,1_0\n", r"line 2, column 1: '1_0' is not a number"),
        ("a,b\n\n1,2\n\n3,\n", r"line 5, column 'b': the value is missing"),
        ("a,b\n1,2\n3\n", r"line 3: expected 2 fields, got 1"),
        ("a,b\n1,2\n3,4,5\n", r"line 3: expected 2 fields, got 3"),
        ("a,b\n1,2,3\n", r"the header has 2 fields, the first row 3"),
        ("a,b\n1,2\n3,nan\n", r"line 3, column 'b': 'nan' is not a finite number"),
        ("a,b\n1,2\n-1e999,4\n", r"line 3, column 'a': '-1e999' is not a finite number"),
        ("x;y\n1;2\n3;4\n", r"line 2, column 'x;y': '1;2' is not a number \(expected values separated by commas\)"),
        ('"a,b\n1,2\n', r"line 1: a quote is opened and not closed"),
        (b"\xff\xfe1\x00,\x002\x00", r"not a text file in UTF-8"),
        (b"1,2\n3,4\x00\n", r"line 2: not a text file \(it holds a zero byte\)"),
        (b"1,2\n3,4\n" * 9000 + b"5,\xe9\n", r"not a text file in UTF-8"),
        ("a,b\n1,2\n3,4\n".encode("utf-16"), r"not a text file in UTF-8"),
        ("x\nred\nblue\n", r"line 2, column 'x': 'red' is not a number"),
    ],
)
def test_bad_text(write, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_table(write(text))
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", "c", r"no column 'c'; the columns are a, b"),
        ("a,b\n1,2\n", "2", r"no column '2'; the columns are a, b"),
        ("1,2\n3,4\n", "2", r"no column '2'; columns are numbered 0 to 1"),
        ("1,2\n3,4\n", "-1", r"no column '-1'"),
        ("a,a\n1,2\n", "a", r"2 columns are named 'a'; choose by number"),
        ("a,b\n1,2\n", "a,0", r"column '0' is chosen twice"),
        ("a,b\n1,2\n", "a,,b", r"columns: expected names or numbers separated by commas"),
        ("a,b\n1,2\n", "", r"columns: expected names or numbers separated by commas"),
        ("id,a,b\nq,1,2\nr,s,3,4\n", "a,b", r"line 3: expected 3 fields, got 4"),
        ("id,a,b\nq,1,2\nr,3,z\n", "a,b", r"line 3, column 'b': 'z' is not a number"),
    ],
)
def test_bad_columns(write, text, columns, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(text), columns)


def test_npy_is_mapped_and_its_columns_are_views(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.save(tmp_path / "x.npy", values)
    table = read_table(tmp_path / "x.npy")
    assert isinstance(table.values, np.memmap)
    assert table.values.dtype == np.float32
    assert not table.values.flags.writeable
    assert table.names is None
    for columns, positions in (("1,3,5", [1, 3, 5]), ("2", [2]), ("4,5", [4, 5])):
        part = read_table(tmp_path / "x.npy", columns).values
        assert isinstance(part, np.memmap)
        assert part.base is not None
        np.testing.assert_array_equal(part, values[:, positions])
    np.testing.assert_array_equal(read_table(tmp_path / "x.npy", "5,0,1").values, values[:, [5, 0, 1]])


@pytest.mark.parametrize("arrays", [{"X": ROWS, "y": np.arange(2)}, {"anything": ROWS}])
def test_npz(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    np.testing.assert_array_equal(read_table(tmp_path / "x.npz").values, ROWS)
    np.testing.assert_array_equal(read_table(tmp_path / "x.npz", "2,0").values, ROWS[:, [2, 0]])


def test_bad_numpy_files(tmp_path):
    def refused(name, message, columns=None):
        with pytest.raises(ValueError, match=message) as caught:
            read_table(tmp_path / name, columns)
        assert name in str(caught.value)

    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    refused("two.npz", "expected one array or one named X, got a, b")
    np.savez(tmp_path / "none.npz")
    refused("none.npz", "got none")
    np.save(tmp_path / "flat.npy", np.arange(3.0))
    refused("flat.npy", r"expected a 2-D array \(rows, columns\), got shape \(3,\)")
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    refused("text.npy", "expected an array of real numbers, got dtype <U1")
    np.save(tmp_path / "objects.npy", np.array([[1, "a"]], dtype=object))
    refused("objects.npy", "Python objects in dtype")
    np.savez(tmp_path / "objects.npz", np.array([[1, "a"]], dtype=object))
    refused("objects.npz", "Object arrays cannot be loaded")
    (tmp_path / "short.npy").write_bytes((tmp_path / "flat.npy").read_bytes()[:-4])
    refused("short.npy", "not a readable .npy file")
    (tmp_path / "short.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-40])
    refused("short.npz", "not a readable .npz archive")
    (tmp_path / "words.npy").write_text("1,2\n")
    refused("words.npy", "not a readable .npy file")
    (tmp_path / "zip.npy").write_bytes((tmp_path / "two.npz").read_bytes())
    refused("zip.npy", "a .npz archive under the name of a .npy file")
    np.save(tmp_path / "hole.npy", np.array([[0.0, 1, 2], [3, 4, np.nan]]))
    refused("hole.npy", "row 1, column 2: nan is not a finite number", "2,0")


def test_parquet_keeps_dtype_and_names(tmp_path):
    pq.write_table(
        pa.table({"a": np.array([1, 2], np.uint8), "b.c": np.array([3.5, 4], np.float32)}), tmp_path / "t.parquet"
    )
    table = read_table(tmp_path / "t.parquet")
    assert table.values.dtype == np.float32
    assert table.values.tolist() == [[1, 3.5], [2, 4]]
    assert table.names == ["a", "b.c"]
    assert read_table(tmp_path / "t.parquet", "b.c").values.tolist() == [[3.5], [4]]


@pytest.mark.parametrize(
    ("frame", "columns", "message"),
    [
        ({"a": [1.0, None]}, None, "row 1, column 'a': the value is missing"),
        ({"a": [1.0, 2.0], "b": [0.0, float("inf")]}, None, "row 1, column 'b': inf is not a finite number"),
        ({"a": ["x"], "b": [1]}, None, "column 'a' holds string, not numbers; choose with --columns"),
        ({"a": [1]}, "b", "no column 'b'"),
    ],
)
def test_bad_parquet(tmp_path, frame, columns, message):
    pq.write_table(pa.table(frame), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "t.parquet", columns)


def test_parquet_that_is_none(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and then nothing PAR1")
    with pytest.raises(ValueError, match=r"t\.parquet: not a readable Parquet file"):
        read_table(tmp_path / "t.parquet")


def test_parquet_without_pyarrow_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'fastkmeans-numba\[parquet\]'$"):
        read_table(tmp_path / "t.parquet")


def test_column_names_read_no_row(write, tmp_path):
    assert column_names(write("a,b\n1,x\n2,y\n")) == ["a", "b"]
    assert column_names(write("1,2\n3,x\n"), header=True) == ["1", "2"]
    assert column_names(write("1,2\n3,x\n")) is None
    pq.write_table(pa.table({"a": ["x"], "b": [1]}), tmp_path / "t.parquet")
    assert column_names(tmp_path / "t.parquet") == ["a", "b"]
    np.save(tmp_path / "x.npy", ROWS)
    assert column_names(tmp_path / "x.npy") is None


def test_unknown_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"expected a file ending in \.csv, \.tsv, \.npy, \.npz or \.parquet"):
        read_table(tmp_path / "table.xls")
    for name in ("t.csv", "t.npy", "t.npz", "t.parquet"):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / name)


def test_labels_are_written_in_row_order():
    labels = np.array([2, 0, 1, 0], dtype=np.int32)
    written = {}
    for suffix, writer in LABEL_WRITERS.items():
        stream = io.BytesIO()
        writer(stream, labels)
        written[suffix] = stream.getvalue()
    assert written[".csv"] == b"label\n2\n0\n1\n0\n"
    assert written[".txt"] == b"2\n0\n1\n0\n"
    again = np.load(io.BytesIO(written[".npy"]))
    assert again.dtype == np.int32
    np.testing.assert_array_equal(again, labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centers_are_written_exactly(dtype, tmp_path):
    centers = (np.random.default_rng(0).normal(size=(5, 3)) * 10.0 ** np.arange(-20, 40, 20)).astype(dtype)
    with open(tmp_path / "c.csv", "wb") as stream:
        write_centers(stream, centers, ["a", 'b "quoted"', "c, d"])
    table = read_table(tmp_path / "c.csv")
    assert table.names == ["a", 'b "quoted"', "c, d"]
    np.testing.assert_array_equal(table.values, centers.astype(np.float64))


def test_centers_without_names_get_numbered_ones():
    stream = io.BytesIO()
    write_centers(stream, np.array([[1.0, 2.0]]), None)
    assert stream.getvalue() == b"x0,x1\n1.0,2.0\n"
