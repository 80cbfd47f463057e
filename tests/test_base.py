"""The estimator contract by itself: parameters, repr, state, names, and the classes of errors."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import fastkmeans
from fastkmeans import exceptions
from fastkmeans.base import Estimator


class Inner(Estimator):
    def __init__(self, depth=1, *, width=2):
        self.depth = depth
        self.width = width


class Outer(Estimator):
    def __init__(self, inner=None, *, scale=1.0, start="here", flag=True):
        self.inner = inner
        self.scale = scale
        self.start = start
        self.flag = flag


class Bare(Estimator):
    pass


def test_get_params_returns_the_given_objects():
    inner, start = Inner(3), np.zeros(3)
    outer = Outer(inner, start=start)
    params = outer.get_params(deep=False)
    assert list(params) == ["flag", "inner", "scale", "start"]
    assert params["inner"] is inner
    assert params["start"] is start
    assert outer.get_params() == {**params, "inner__depth": 3, "inner__width": 2}
    assert Bare().get_params() == {}


def test_get_params_of_a_class_as_value():
    assert Outer(Inner).get_params() == Outer(Inner).get_params(deep=False)


def test_set_params_and_nested():
    outer = Outer(Inner())
    assert outer.set_params(scale=2.0, inner__depth=7) is outer
    assert (outer.scale, outer.inner.depth) == (2.0, 7)
    outer.set_params(inner=Inner(), inner__width=5)
    assert (outer.inner.depth, outer.inner.width) == (1, 5)
    assert outer.set_params() is outer


@pytest.mark.parametrize(
    ("params", "named"), [({"scale": 3.0, "bad": 1}, "'bad'"), ({"scale": 3.0, "start__x": 1}, "'start__x'")]
)
def test_set_params_refuses_unknown_names_and_changes_nothing(params, named):
    outer = Outer()
    expected = rf"Invalid parameter {named} for estimator Outer\(\)\. Valid parameters are: \['flag', 'inner', 'scale'"
    with pytest.raises(ValueError, match=expected):
        outer.set_params(**params)
    assert outer.scale == 1.0


def test_set_params_names_the_inner_estimator():
    with pytest.raises(ValueError, match=r"Invalid parameter 'bad' for estimator Inner\(\)"):
        Outer(Inner()).set_params(inner__bad=1)


def test_varargs_are_refused():
    class Star(Estimator):
        def __init__(self, *things):
            self.things = things

    with pytest.raises(RuntimeError, match=r"Star.__init__ has \*things"):
        Star().get_params()


@pytest.mark.parametrize(
    ("outer", "text"),
    [
        (Outer(), "Outer()"),
        (Outer(scale=1.0, start="here", flag=True), "Outer()"),
        (Outer(scale=2.0, flag=False), "Outer(scale=2.0, flag=False)"),
        (Outer(scale=1), "Outer(scale=1)"),
        (Outer(Inner(2), start="there"), "Outer(inner=Inner(depth=2), start='there')"),
        (Outer(start=np.zeros((3, 2))), "Outer(start=<ndarray of shape (3, 2)>)"),
        (Outer(start=np.array([1, 2])), "Outer(start=array([1, 2]))"),
        (Outer(start=np.float64(2.5)), "Outer(start=np.float64(2.5))"),
        (Outer(start=float("nan")), "Outer(start=nan)"),
        (Outer(start=list(range(100))), "Outer(start=[0, 1, 2, 3, ...])"),
    ],
)
def test_repr(outer, text):
    assert repr(outer) == text


def test_repr_of_anything_is_one_short_line():
    pd = pytest.importorskip("pandas")
    values = [
        "x" * 10_000,
        [[1.0] * 100] * 100,
        np.zeros((100, 100)),
        pd.DataFrame({"a": range(3), "b": range(3)}),
        np.random.RandomState(0),
        np.random.default_rng(0),
        lambda x: x,
        {i: "v" * 100 for i in range(100)},
    ]
    for value in values:
        text = repr(Outer(start=value))
        assert "\n" not in text
        assert len(text) < 500


def test_repr_before_parameters_are_set():
    assert repr(Outer.__new__(Outer)) == "Outer()"


def test_pickle_and_deepcopy():
    outer = Outer(Inner(4), start=np.arange(3.0))
    outer.fitted_ = np.arange(5)
    for again in (pickle.loads(pickle.dumps(outer)), copy.deepcopy(outer), copy.copy(outer)):
        assert vars(again).keys() == vars(outer).keys()
        assert again.inner.depth == 4
        np.testing.assert_array_equal(again.fitted_, outer.fitted_)


def test_pickle_of_another_version_warns_here(monkeypatch):
    data = pickle.dumps(Inner(4))
    with monkeypatch.context() as patch:
        patch.setattr(fastkmeans, "__version__", "0.0.7")
        old = pickle.dumps(Inner(4))
        with pytest.warns(UserWarning, match=r"Inner was pickled by fastkmeans 0\.1\.0 .* loaded by 0\.0\.7"):
            pickle.loads(data)
    with pytest.warns(UserWarning, match=r"pickled by fastkmeans 0\.0\.7") as caught:
        assert pickle.loads(old).depth == 4
    assert caught[0].filename == __file__


def test_setstate_leaves_its_argument_alone():
    state = Inner(4).__getstate__()
    kept = dict(state)
    Inner.__new__(Inner).__setstate__(state)
    assert state == kept


def test_error_classes_follow_scikit_learn_when_it_is_loaded(monkeypatch):
    import sklearn.exceptions

    assert exceptions.not_fitted_error() is sklearn.exceptions.NotFittedError
    assert exceptions.convergence_warning() is sklearn.exceptions.ConvergenceWarning
    monkeypatch.delitem(exceptions.sys.modules, "sklearn.exceptions")
    assert exceptions.not_fitted_error() is exceptions.NotFittedError
    assert exceptions.convergence_warning() is exceptions.ConvergenceWarning
    ours, theirs = exceptions.NotFittedError.__mro__[1:], sklearn.exceptions.NotFittedError.__mro__[1:]
    assert ours == theirs
    assert exceptions.ConvergenceWarning.__mro__[1:] == sklearn.exceptions.ConvergenceWarning.__mro__[1:]


def test_half_imported_scikit_learn(monkeypatch):
    monkeypatch.setitem(
        exceptions.sys.modules, "sklearn.exceptions", exceptions
    )  # a module where the name is something else
    monkeypatch.setattr(exceptions, "NotFittedError", 3)
    assert exceptions._loaded_class("NotFittedError", KeyError) is KeyError


def test_warn_user_points_outside_the_package():
    with pytest.warns(UserWarning, match="look") as caught:
        exceptions.warn_user("look", UserWarning)
    assert caught[0].filename == __file__


def test_warn_user_when_everything_is_inside_the_package(monkeypatch):
    monkeypatch.setattr(exceptions, "_PACKAGE_FOLDER", "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exceptions.warn_user("look", UserWarning)
    assert len(caught) == 1


def test_output_names():
    inner = Inner()
    inner._set_features(2, None)
    assert inner._output_names(3).tolist() == ["inner0", "inner1", "inner2"]
    assert inner._output_names(1).dtype == object
    assert inner._output_names(1, ["a", "b"]).tolist() == ["inner0"]
    with pytest.raises(ValueError, match=r"equal to number of features \(2\), got 3"):
        inner._output_names(1, ["a", "b", "c"])
    inner._set_features(2, ["p", "q"])
    assert inner.feature_names_in_.dtype == object
    assert inner._output_names(1, ["p", "q"]).tolist() == ["inner0"]
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        inner._output_names(1, ["q", "p"])
    inner._set_features(2, None)
    assert not hasattr(inner, "feature_names_in_")


def test_not_fitted_text():
    with pytest.raises(ValueError, match=r"^This Inner instance is not fitted yet\. Call 'fit' with appropriate"):
        Inner()._check_is_fitted()
