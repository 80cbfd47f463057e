"""What makes a class an estimator: parameters, repr, pickling, feature names, tags, and the errors users filter on.

scikit-learn's conventions, written out by hand, so that estimators work in its pipelines and searches while neither
importing the package nor fitting needs scikit-learn. No class here derives from one of scikit-learn's. Its exception
and warning classes are used when the running program has loaded them (then ``except sklearn.exceptions.NotFittedError``
works), ours of the same name and ancestry otherwise. Nothing here does arithmetic or looks at data.
"""

import inspect
import os
import reprlib
import sys
import warnings
from typing import Any, NoReturn, Self, cast

import numpy as np

import fastkmeans

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_VERSION_KEY = "_fastkmeans_version"
_LONGEST_VALUE = 60  # characters of one parameter in a repr


class NotFittedError(ValueError, AttributeError):
    """An estimator was used before ``fit``; raised in scikit-learn's absence (see `not_fitted_error`)."""


class ConvergenceWarning(UserWarning):
    """The result is not what was asked for; issued in scikit-learn's absence (see `convergence_warning`)."""


def _loaded_class(name: str, ours: type[Exception]) -> type[Exception]:
    """The class `name` of ``sklearn.exceptions`` if that module is loaded, else `ours`; never imports anything."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), name, None)
    return theirs if isinstance(theirs, type) and issubclass(theirs, Exception) else ours


def not_fitted_error() -> type[Exception]:
    """The class to raise now for an unfitted estimator: scikit-learn's if it is loaded, else ours."""
    return _loaded_class("NotFittedError", NotFittedError)


def convergence_warning() -> type[Warning]:
    """The class to warn with now: scikit-learn's ``ConvergenceWarning`` if it is loaded, else ours."""
    return cast(type[Warning], _loaded_class("ConvergenceWarning", ConvergenceWarning))


def warn_user(message: str, category: type[Warning]) -> None:
    """Issue a warning that points at the nearest line outside this package, however deep the caller is in it."""
    level = 1
    frame = inspect.currentframe()
    while frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE_FOLDER):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level - 1 if frame is None else level)


class Estimator:
    """Base of every estimator: the arguments of the constructor are its parameters.

    A subclass lists its parameters in ``__init__`` by name (no ``*args``), stores each one unchanged under that name,
    and checks them when it is fitted (see `fastkmeans.parameters`). What is learnt from data gets a name that ends in
    an underscore.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray[Any, np.dtype[np.object_]]

    # -- parameters ---------------------------------------------------------------------------------------------------
    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        """The constructor's parameters in their order."""
        if cls.__init__ is object.__init__:
            return {}
        parameters = dict(inspect.signature(cls.__init__).parameters)
        del parameters[next(iter(parameters))]  # self
        for parameter in parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                raise RuntimeError(f"{cls.__name__}.__init__ has *{parameter.name}: name every parameter instead.")
        return {n: p for n, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add the parameters of parameters that are themselves estimators, as ``name__parameter``.

        Returns
        -------
        params : dict
            Values by parameter name, the very objects that were given.
        """
        params: dict[str, Any] = {}
        for name in sorted(self._parameters()):
            value = getattr(self, name)
            params[name] = value
            if deep and _has_params(value):
                params.update({f"{name}__{inner}": v for inner, v in value.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Change parameters; they are checked at the next ``fit``.

        Parameters
        ----------
        **params : dict
            New values by name. ``name__parameter`` reaches into a parameter that is itself an estimator.

        Returns
        -------
        self : estimator
            This estimator.

        Raises
        ------
        ValueError
            For a name that is no parameter of this estimator; nothing has been changed then.
        """
        names = sorted(self._parameters())
        own: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, delimiter, inner = key.partition("__")
            if name not in names:
                self._refuse_name(name, names)
            if delimiter:
                nested.setdefault(name, {})[inner] = value
            else:
                own[name] = value
        for name, inner_params in nested.items():
            if not _has_params(own.get(name, getattr(self, name))):
                self._refuse_name(f"{name}__{next(iter(inner_params))}", names)
        for name, value in own.items():
            setattr(self, name, value)
        for name, inner_params in nested.items():
            getattr(self, name).set_params(**inner_params)
        return self

    def _refuse_name(self, name: str, names: list[str]) -> NoReturn:
        raise ValueError(f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {names!r}.")

    def __repr__(self) -> str:
        """The constructor call with the parameters that are not at their defaults, long values cut short."""
        given = []
        for name, parameter in self._parameters().items():
            value, default = getattr(self, name, parameter.default), parameter.default
            if value is default or (type(value) is type(default) and _is_plain(value) and value == default):
                continue
            given.append(f"{name}={_short(value)}")
        return f"{type(self).__name__}({', '.join(given)})"

    # -- state --------------------------------------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        """Parameters and fitted attributes (plain arrays and numbers), and the version that wrote them."""
        return {**self.__dict__, _VERSION_KEY: fastkmeans.__version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop(_VERSION_KEY, "unknown")
        if version != fastkmeans.__version__:
            warn_user(
                f"This {type(self).__name__} was pickled by fastkmeans {version} and is being loaded by"
                f" {fastkmeans.__version__}: results may differ or the object may not work. Fit it again, or keep"
                " models in files that are meant to last.",
                UserWarning,
            )
        self.__dict__.update(state)

    # -- being fitted -------------------------------------------------------------------------------------------------
    def _check_is_fitted(self) -> None:
        """Raise ``NotFittedError`` unless ``fit`` has succeeded once."""
        if "n_features_in_" not in self.__dict__:
            raise not_fitted_error()(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before"
                " using this estimator."
            )

    def _set_features(self, n_features: int, names: list[str] | None) -> None:
        """Remember the number of features, and their names when the data had some."""
        self.n_features_in_ = int(n_features)
        if names is None:
            self.__dict__.pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = np.array(names, dtype=object)

    def _seen_features(self) -> tuple[int, np.ndarray[Any, np.dtype[np.object_]] | None, str]:
        """Number and names of the features `fit` saw, and the name of this class: what data is compared with."""
        return self.n_features_in_, getattr(self, "feature_names_in_", None), type(self).__name__

    def _output_names(
        self, n_features_out: int, input_features: object = None
    ) -> np.ndarray[Any, np.dtype[np.object_]]:
        """Names of `n_features_out` output columns: the class name in lower case and a number."""
        if input_features is not None:
            given = np.asarray(input_features, dtype=object)
            fitted = getattr(self, "feature_names_in_", None)
            if fitted is not None and not np.array_equal(fitted, given):
                raise ValueError("input_features is not equal to feature_names_in_")
            if given.shape != (self.n_features_in_,):
                raise ValueError(
                    "input_features should have length equal to number of features"
                    f" ({self.n_features_in_}), got {given.size}"
                )
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{i}" for i in range(n_features_out)], dtype=object)


def _has_params(value: object) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "set_params") and not isinstance(value, type)


def _is_plain(value: object) -> bool:
    """Whether ``==`` on `value` is one cheap truth value."""
    return value is None or isinstance(value, str | bool | int | float)


def _short(value: object) -> str:
    """`value` on one short line: its repr where that is one, else its type and shape, or a repr cut in the middle."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        text = repr(value) if isinstance(value, np.ndarray) and value.size <= 8 else ""
        if text and "\n" not in text and len(text) <= _LONGEST_VALUE:
            return text
        return f"<{type(value).__name__} of shape {shape}>"
    cutter = reprlib.Repr()
    cutter.maxstring = cutter.maxother = _LONGEST_VALUE
    cutter.maxlist = cutter.maxtuple = 4
    return " ".join(cutter.repr(value).split())
