"""The edge for arrays: everything is read as it is, nothing is copied or written, every error names its place."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fastkmeans import cells
from fastkmeans import points as edge
from fastkmeans.points import Room, as_points, check_features, raise_nonfinite, raise_overflow

VALUES = np.arange(1, 13).reshape(4, 3) % 5
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


def rows_of(points, max_rows=None):
    """All rows, put together from the ranges, which must follow one another and be fit for a kernel."""
    blocks, expected_lo = [], 0
    for lo, hi, rows in points.ranges(max_rows):
        assert lo == expected_lo and rows.shape == (hi - lo, points.n_features)
        assert not rows.flags.writeable and rows.flags.aligned and rows.dtype.isnative
        assert rows.dtype.kind in "biuf" and rows.dtype.itemsize <= 8 and rows.dtype.char != "g"
        blocks.append(rows.astype(np.float64))
        expected_lo = hi
    assert expected_lo == points.n_samples
    return np.concatenate(blocks)


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    out = raw.view(array.dtype) if array.dtype.itemsize == 1 else np.ndarray(array.shape, array.dtype, raw.data)
    out = out.reshape(array.shape)
    out[:] = array
    return out


def padded(array):
    wide = np.full((2 * array.shape[0], 3 * array.shape[1]), 77, array.dtype)
    wide[::2, 1::3] = array
    return wide[::2, 1::3]


STORAGE = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "strided": padded,
    "rows reversed": lambda a: a[::-1].copy()[::-1],
    "columns reversed": lambda a: a[:, ::-1].copy()[:, ::-1],
    "swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "unaligned": unaligned,
    "matrix": lambda a: a.view(np.matrix),
    "masked": lambda a: np.ma.array(a, mask=np.zeros(a.shape, bool)),
}


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_array_is_read_as_it_is(dtype, storage, writeable):
    values = VALUES.astype(dtype)
    X = STORAGE[storage](values)
    if not writeable:
        X.flags.writeable = False
    raw, flags, strides = X.tobytes(), str(X.flags), X.strides
    points = as_points(X)
    assert (points.n_samples, points.n_features, points.nbytes) == (4, 3, X.nbytes)
    assert points.dtype == X.dtype and points.feature_names is None
    assert points.center_dtype == (np.float64 if dtype in ("i4", "i8", "u4", "u8", "f8") else np.float32)
    # kernels have no float16 on a CPU
    needs_conversion = dtype == "f2" or (storage in ("swapped", "unaligned") and values.dtype.itemsize > 1)
    assert (points.direct is None) == needs_conversion
    if points.direct is not None:
        assert type(points.direct) is np.ndarray and not points.direct.flags.writeable
        assert points.direct.__array_interface__["data"][0] == np.asarray(X).__array_interface__["data"][0]
        assert points.direct.strides == X.strides and points.direct.dtype == values.dtype
    for max_rows in (None, 1, 3, 100):
        np.testing.assert_array_equal(rows_of(points, max_rows), values.astype(np.float64))
    taken = points.take(np.array([3, 0, 3]))
    assert taken.dtype == np.float64 and taken.flags.c_contiguous
    np.testing.assert_array_equal(taken, values.astype(np.float64)[[3, 0, 3]])
    assert points.first_nonfinite() is None
    assert (X.tobytes(), str(X.flags), X.strides) == (raw, flags, strides)


def test_broadcast_and_memmap_are_views(tmp_path):
    row = np.array([1.0, 2.0, 3.0])
    points = as_points(np.broadcast_to(row, (5, 3)))
    assert np.shares_memory(points.direct, row) and points.direct.strides == (0, 8)
    np.save(tmp_path / "x.npy", VALUES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    points = as_points(mapped)
    assert np.shares_memory(points.direct, mapped) and type(points.direct) is np.ndarray
    np.testing.assert_array_equal(rows_of(points), VALUES)


def test_long_double_is_rounded_once_and_its_excess_is_infinite():
    X = np.array([[1, 2], [3, 4]], dtype=np.longdouble)
    X[0, 1] = np.longdouble(1) / 3
    points = as_points(X)
    assert points.direct is None and points.center_dtype == np.float64 and points.dtype == X.dtype
    assert points.take([0])[0, 1] == 1 / 3
    X[1, 1] = np.longdouble("1e400")
    with pytest.raises(ValueError, match=r"too large for dtype\('float64'\)(.|\n)*row 1, column 1"):
        raise_nonfinite(as_points(X))


def test_large_integers_round_to_nearest_float64():
    X = np.array([[2**53 + 1, 2**63 - 1], [2**62 + 1, 3]], dtype=">i8")
    np.testing.assert_array_equal(rows_of(as_points(X)), [[2.0**53, 2.0**63], [2.0**62, 3.0]])


class WithArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


class WithInterface:
    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


@pytest.mark.parametrize("wrap", [WithArray, WithInterface, memoryview])
def test_array_likes_are_viewed(wrap):
    X = np.arange(6.0).reshape(3, 2)
    assert np.shares_memory(as_points(wrap(X)).direct, X)


@pytest.mark.parametrize(
    "X", [[[1, 2], [3, 4]], ((1.0, 2), (3, 4)), [np.array([1, 2]), (3, 4)], [[True, 2], [3, Fraction(4)]]]
)
def test_lists(X):
    np.testing.assert_array_equal(rows_of(as_points(X)), [[1, 2], [3, 4]])


def test_objects_that_are_numbers():
    X = np.array([[1, 2.5, True], [Fraction(1, 3), Decimal("0.1"), np.float32(2)], [10**400, -(10**400), np.int8(3)]])
    assert X.dtype == object
    points = as_points(X)
    assert points.direct is None and points.center_dtype == np.float64
    expected = [[1, 2.5, 1], [1 / 3, 0.1, 2], [np.inf, -np.inf, 3]]
    np.testing.assert_array_equal(rows_of(points, 2), expected)
    np.testing.assert_array_equal(points.take([1, 0]), [expected[1], expected[0]])
    assert points.first_nonfinite() == (2, 0, np.inf)


@pytest.mark.parametrize("make", [lambda a: a.astype(">f8"), lambda a: a.astype(np.longdouble), unaligned, np.array])
def test_conversion_goes_range_by_range(make):
    X = make(np.ones((40_000, 50)))  # 16 MB as float64
    tracemalloc.start()
    points = as_points(X)
    largest = max(rows.nbytes for _, _, rows in points.ranges()) if points.direct is None else 0
    points.first_nonfinite()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert largest <= edge.RANGE_BYTES
    assert peak < 3 * edge.RANGE_BYTES


def test_object_conversion_goes_range_by_range(monkeypatch):
    monkeypatch.setattr(edge, "RANGE_BYTES", 1 << 16)
    X = np.full((20_000, 20), 1.5, dtype=object)
    tracemalloc.start()
    assert sum(rows.sum() for _, _, rows in as_points(X).ranges()) == 1.5 * X.size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes // 4


def objects(at, value):
    X = np.ones((3, 2), dtype=object)
    X[at] = value
    return X


def masked(at):
    X = np.ma.array(np.ones((3, 2)))
    X[at] = np.ma.masked
    return X


class Sparse:
    shape, nnz, dtype = (3, 2), 4, np.dtype(np.float64)

    def toarray(self):
        return np.ones(self.shape)


REFUSED = {
    "one dimension": (
        np.ones(3),
        ValueError,
        r"Expected 2D array, got 1D array instead:\narray=\[1. 1. 1.\].\nReshape",
    ),
    "reshape hint": ([1, 2], ValueError, r"array\.reshape\(-1, 1\)(.|\n)*array\.reshape\(1, -1\)"),
    "scalar": (5, ValueError, "Expected 2D array, got scalar array instead"),
    "None": (None, ValueError, "Expected 2D array, got scalar array instead"),
    "three dimensions": (np.ones((2, 2, 2)), ValueError, "Found array with dim 3, while dim <= 2 is required"),
    "no rows": (
        np.ones((0, 3)),
        ValueError,
        r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required by KMeans",
    ),
    "no columns": (np.ones((5, 0)), ValueError, r"0 feature\(s\) \(shape=\(5, 0\)\) while a minimum of 1 is required"),
    "ragged": ([[1, 2], [3, 4], [5]], ValueError, "row 2 has 1 values and row 0 has 2 values"),
    "nested in list": ([[1, 2], [3, [4]]], TypeError, r"row 1, column 1 holds \[4\]"),
    "ragged scalar": ([[1, 2], 3], ValueError, "row 1 has a single value"),
    "complex": (np.ones((2, 2), complex), ValueError, "Complex data not supported"),
    "complex object": (
        objects((1, 0), 1 + 2j),
        ValueError,
        r"Complex data not supported\n.*\(1\+2j\) at row 1, column 0",
    ),
    "text": (np.array([["1", "2"]]), ValueError, "row 0, column 0 holds the text '1'"),
    "bytes": (np.array([[b"1", b"2"]]), ValueError, "row 0, column 0 holds the text"),
    "text in list": ([[1, 2], [3, "x"]], ValueError, "row 1, column 1 holds the text 'x'"),
    "text object": (objects((2, 1), "y"), ValueError, "row 2, column 1 holds the text 'y'"),
    "None object": (objects((1, 1), None), ValueError, r"Input X contains NaN.\n.*row 1, column 1.*missing \(None\)"),
    "None in list": ([[None, 1]], ValueError, "Input X contains NaN"),
    "dict": (
        objects((0, 0), {"a": 1}),
        TypeError,
        "row 0, column 0 holds {'a': 1}.*argument must be .* string.* number",
    ),
    "nested": (objects((2, 0), [1]), TypeError, "row 2, column 0 holds"),
    "date object": (objects((1, 1), np.datetime64(3, "s")), TypeError, "row 1, column 1"),
    "duration object": (objects((1, 1), np.timedelta64(3, "s")), TypeError, "row 1, column 1"),
    "dates": (np.ones((2, 2), "M8[s]"), ValueError, r"real numbers, but its dtype is datetime64\[s\]"),
    "structured": (np.ones(3, [("a", "f8"), ("b", "f8")]), ValueError, r"fields \['a', 'b'\]"),
    "masked": (masked((2, 1)), ValueError, "masked values: the first is at row 2, column 1"),
    "sparse": (Sparse(), TypeError, "sparse Sparse without a tocsr method"),
}


def test_first_bad_cell_is_found_beyond_one_chunk(monkeypatch):
    monkeypatch.setattr(cells, "CELLS_AT_A_TIME", 4)
    with pytest.raises(ValueError, match="row 2, column 1 holds the text"):
        as_points(objects((2, 1), "y"))
    with pytest.raises(ValueError, match="row 2, column 1"):
        as_points(masked((2, 1)))


class Container:
    def __float__(self):
        return 1.0

    def __len__(self):
        return 1


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    X, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        as_points(X, estimator="KMeans")


def test_containers_of_one_number_are_no_cells():
    with pytest.raises(TypeError, match="row 1, column 1"):
        as_points(objects((1, 1), Container()))


def test_name_and_estimator_object_appear_in_errors():
    with pytest.raises(ValueError, match="init must hold real numbers"):
        as_points([["a"]], name="init")
    with pytest.raises(ValueError, match="required by Sparse"):
        as_points(np.ones((0, 3)), estimator=Sparse())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", object])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_nonfinite(monkeypatch, dtype, value):
    monkeypatch.setattr(edge, "RANGE_BYTES", 64)
    X = np.asfortranarray(np.ones((50, 3)))
    X[41, 0] = X[37, 2] = X[37, 1] = value
    points = as_points(X.astype(dtype))
    row, column, found = points.first_nonfinite()
    assert (row, column) == (37, 1) and (found == value or np.isnan(value))
    text = r"Input X contains NaN\." if np.isnan(value) else "contains infinity or a value too large for dtype"
    with pytest.raises(ValueError, match=text + r"(.|\n)*row 37, column 1. KMeans"):
        raise_nonfinite(points, "KMeans")


def test_raise_nonfinite_names_the_dtype_and_survives_data_made_finite_meanwhile():
    X = np.full((2, 2), np.inf, dtype=">f4")
    points = as_points(X)
    with pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
        raise_nonfinite(points)
    X[:] = 1
    with pytest.raises(ValueError, match="changed while it was being read"):
        raise_nonfinite(points)


@pytest.mark.parametrize(("largest", "divisor"), [(1e160, "1e160"), (1.7e308, "1e308"), (9.9e154, "1e154")])
def test_raise_overflow(largest, divisor):
    with pytest.raises(
        ValueError, match=f"column 1 holds magnitudes up to.*KMeans.*overflow.*dividing it by {divisor}"
    ):
        raise_overflow(as_points(np.ones((2, 2))), 1, largest, "KMeans")


class Named(WithArray):
    """A data frame of a library we do not know."""

    def __init__(self, *columns):
        super().__init__(np.ones((3, len(columns))))
        self.columns = columns


def test_feature_names():
    assert as_points(Named("a", "b")).feature_names == ["a", "b"]
    assert as_points(Named(0, 1)).feature_names is None
    with pytest.raises(TypeError, match=r"only supported if all input features have string names.*\['int', 'str'\]"):
        as_points(Named("a", 1))
    frame = Named("a", "b")
    frame.array[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2, column 'b'"):
        raise_nonfinite(as_points(frame))
    with pytest.raises(ValueError, match="column 'b' holds magnitudes"):
        raise_overflow(as_points(frame), 1, 1e200)


def test_check_features_accepts_what_was_fitted():
    check_features(as_points(np.ones((2, 2))), 2, None, "KMeans")
    check_features(as_points(Named("a", "b")), 2, np.array(["a", "b"], dtype=object), "KMeans")


def test_check_features_refuses():
    with pytest.raises(ValueError, match="X has 3 features, but KMeans is expecting 2 features as input"):
        check_features(as_points(np.ones((2, 3))), 2, None, "KMeans")
    with pytest.raises(ValueError) as raised:
        check_features(as_points(Named("z", "b", "y")), 2, ["a", "b"], "KMeans")
    assert str(raised.value) == (
        "The feature names should match those that were passed during fit.\n"
        "Feature names unseen at fit time:\n- y\n- z\n"
        "Feature names seen at fit time, yet now missing:\n- a\n"
    )
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        check_features(as_points(Named("b", "a")), 2, ["a", "b"], "KMeans")
    with pytest.raises(ValueError, match=r"- x4\n- \.\.\.\n"):
        check_features(as_points(Named(*(f"x{i}" for i in range(9)))), 1, ["a"], "KMeans")


def test_check_features_warns():
    with pytest.warns(UserWarning, match="^X has feature names, but KMeans was fitted without feature names$"):
        check_features(as_points(Named("a", "b")), 2, None, "KMeans")
    text = "^X does not have valid feature names, but KMeans was fitted with feature names$"
    with pytest.warns(UserWarning, match=text):
        check_features(as_points(np.ones((2, 2))), 2, ["a", "b"], "KMeans")


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: np.repeat(X, 2, axis=1)[:, ::2], np.flip])
def test_rows_are_gathered_from_any_layout_without_a_copy_of_it(layout):
    X = layout(np.random.default_rng(0).normal(size=(120_000, 20)))
    points, rows = as_points(X), np.arange(5, 120_000, 4)
    for room in (None, Room()):
        points.part(rows[:10], 2, room)
        tracemalloc.start()
        part = points.part(rows, 2, room)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_array_equal(part.direct, X[rows])
        assert peak < 0.7 * X.nbytes  # a quarter of it, and two threads' blocks of 2 MiB
