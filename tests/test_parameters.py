"""What parameters may be, piece by piece; how whole estimators refuse them is in test_estimators.py."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastkmeans.base import Estimator
from fastkmeans.parameters import (
    InvalidParameterError,
    check_parameters,
    is_array_like,
    is_int,
    is_real,
    number_of_runs,
    seed_sequence,
)


class Model(Estimator):
    def __init__(self, extra=None, *, tol=0.1, mode="fast", n_init=1):
        self.extra = extra
        self.tol = tol
        self.mode = mode
        self.n_init = n_init


def test_check_parameters_goes_by_name_and_order():
    check_parameters(Model(extra=object()), mode=("fast", "slow"))
    with pytest.raises(InvalidParameterError, match=r"The 'tol' parameter of Model must be a float .* Got -1 instead"):
        check_parameters(Model(tol=-1, n_init=0), mode=("fast",))
    with pytest.raises(ValueError, match=r"'mode' parameter of Model must be a str among {'fast', 'slow'}\. Got 'no'"):
        check_parameters(Model(mode="no"), mode=("fast", "slow"))
    with pytest.raises(TypeError, match=r"Got None instead\.$"):
        check_parameters(Model(mode=None), mode=("fast", "slow"))


@pytest.mark.parametrize(
    ("value", "int_ok", "real_ok"),
    [
        (1, True, True),
        (np.int32(1), True, True),
        (np.uint64(2**63), True, True),
        (0, False, False),
        (1.0, False, True),
        (np.float32(1.5), False, True),
        (float("nan"), False, False),
        (float("inf"), False, False),
        (True, True, True),
        (np.True_, False, False),
        ("1", False, False),
        (None, False, False),
        (1j, False, False),
        (np.array(1), False, False),
    ],
)
def test_numbers(value, int_ok, real_ok):
    assert is_int(value, 1) is int_ok
    assert is_real(value, 1.0) is real_ok


def test_array_likes():
    pd = pytest.importorskip("pandas")
    for value in ([[1]], (1,), np.zeros(3), pd.DataFrame({"a": [1]})):
        assert is_array_like(value)
    for value in (3, 2.5, "text", b"text", None, list, np.float64(3), len, lambda: 0):
        assert not is_array_like(value)


def test_number_of_runs():
    array = np.zeros((2, 2))
    assert number_of_runs("k-means++", "auto", "M") == 1
    assert number_of_runs("random", "auto", "M") == 10
    assert number_of_runs(len, "auto", "M") == 10
    assert number_of_runs(array, "auto", "M") == 1
    assert number_of_runs(array, 1, "M") == 1
    assert number_of_runs("k-means++", np.int8(7), "M") == 7
    with pytest.warns(RuntimeWarning, match=r"performing only one init in M instead of n_init=7\.$") as caught:
        assert number_of_runs([[1.0]], 7, "M") == 1
    assert caught[0].filename == __file__


def test_seed_of_an_int():
    for value in (5, np.uint8(5)):
        assert_array_equal(seed_sequence(value).generate_state(4), np.random.SeedSequence(5).generate_state(4))


def test_seed_sequence_keeps_its_place():
    parent = np.random.SeedSequence(7)
    child = parent.spawn(2)[1]
    same = seed_sequence(child)
    assert_array_equal(same.generate_state(4), child.generate_state(4))
    after = seed_sequence(parent).spawn(1)[0]
    assert after.spawn_key == (2,)
    assert parent.n_children_spawned == 2


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_seeds_drawn_from_a_generator(make):
    source, again = make(3), make(3)
    words = [seed_sequence(source).entropy for _ in range(3)]
    assert len({tuple(w) for w in words}) == 3
    assert all(len(w) == 4 and max(w) >= 2**16 for w in words)
    assert [seed_sequence(again).entropy for _ in range(3)] == words


def test_seeds_drawn_from_numpys_global_state():
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(11)  # noqa: NPY002
        first, second = seed_sequence(None), seed_sequence(None)
        np.random.seed(11)  # noqa: NPY002
        assert seed_sequence(None).entropy == first.entropy != second.entropy
        assert seed_sequence(np.random.RandomState(11)).entropy == first.entropy
    finally:
        np.random.set_state(state)  # noqa: NPY002
