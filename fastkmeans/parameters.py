"""The values that parameters of estimators may have, what is said about others, and what a seed becomes.

Estimators check nothing when they are constructed; `check_parameters` does it when they are fitted, in the words of
scikit-learn, so that programs which read those texts keep working. A parameter means the same in every estimator, so
there is one table.
"""

from collections.abc import Callable, Sized
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastkmeans.base import Estimator
from fastkmeans.exceptions import warn_user

if TYPE_CHECKING:
    from fastkmeans.points import Points

INITS = ("k-means++", "k-means||", "random")
METRICS = ("euclidean", "cosine")
MANY_RUNS = 10  # for n_init="auto" where a single start is likely to be a poor one


class InvalidParameterError(ValueError, TypeError):
    """A parameter of an estimator has a type or value that it cannot have."""


def is_int(value: object, lowest: int) -> bool:
    """Whether `value` is an integer (NumPy's included, 2.0 not) of at least `lowest`."""
    return isinstance(value, Integral) and int(value) >= lowest


def is_real(value: object, lowest: float) -> bool:
    """Whether `value` is a finite real number of at least `lowest`; NaN is not."""
    return isinstance(value, Real) and lowest <= float(value) < float("inf")


def is_bool(value: object) -> bool:
    """Whether `value` is True or False, Python's or NumPy's."""
    return isinstance(value, bool | np.bool_)


def is_array_like(value: object) -> bool:
    """Whether `value` is meant as an array: it has a length, a shape or ``__array__``, and is no scalar or class."""
    looks = isinstance(value, Sized) or hasattr(value, "shape") or hasattr(value, "__array__")
    return looks and not isinstance(value, type) and not np.isscalar(value)


def _is_init(value: object) -> bool:
    return value in INITS if isinstance(value, str) else callable(value) or is_array_like(value)


def _is_n_init(value: object) -> bool:
    return value == "auto" if isinstance(value, str) else is_int(value, 1)


def _is_random_state(value: object) -> bool:
    kinds = np.random.RandomState | np.random.Generator | np.random.SeedSequence
    return value is None or is_int(value, 0) or isinstance(value, kinds)


_COUNT = "an int in the range [1, inf)"
_NATURAL = "an int in the range [0, inf)"
_BOOL = "an instance of 'bool' or an instance of 'numpy.bool'"


class Check(NamedTuple):
    """Whether a value is allowed, and how an error describes the allowed ones."""

    allows: Callable[[Any], bool]
    wanted: str


COUNT = Check(lambda v: is_int(v, 1), _COUNT)

# name of a parameter -> whether a value is allowed, and how an error describes the allowed ones
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n_clusters": (lambda v: is_int(v, 1), _COUNT),
    "init": (_is_init, "a str among {'k-means++', 'k-means||', 'random'}, a callable or an array-like"),
    "n_init": (_is_n_init, f"a str among {{'auto'}} or {_COUNT}"),
    "max_iter": (lambda v: is_int(v, 1), _COUNT),
    "tol": (lambda v: is_real(v, 0.0), "a float in the range [0.0, inf)"),
    "verbose": (lambda v: is_int(v, 0) or is_bool(v), f"an int in the range [0, inf), {_BOOL}"),
    "random_state": (
        _is_random_state,
        "an int in the range [0, inf), an instance of 'numpy.random.RandomState', an instance of"
        " 'numpy.random.Generator', an instance of 'numpy.random.SeedSequence' or None",
    ),
    "copy_x": (is_bool, _BOOL),
    "return_n_iter": (is_bool, _BOOL),
    "batch_size": (lambda v: is_int(v, 1), _COUNT),
    "compute_labels": (is_bool, _BOOL),
    "max_no_improvement": (lambda v: v is None or is_int(v, 0), f"{_NATURAL} or None"),
    "init_size": (lambda v: v is None or is_int(v, 1), f"{_COUNT} or None"),
    "reassignment_ratio": (lambda v: is_real(v, 0.0), "a float in the range [0.0, inf)"),
    "refine": (lambda v: v is None or (isinstance(v, str) and v == "swap"), "a str among {'swap'} or None"),
    "metric": (
        lambda v: isinstance(v, str) and v in METRICS,
        f"a str among {{{', '.join(map(repr, METRICS))}}}",
    ),
    "callback": (lambda v: v is None or callable(v), "a callable or None"),
    "n_threads": (lambda v: v is None or (is_int(v, 1) and not is_bool(v)), f"None or {_COUNT}"),
}


def check_parameter(name: str, value: object, owner: str, option: "tuple[str, ...] | Check | None" = None) -> None:
    """Raise InvalidParameterError if a parameter of `owner` has a value it cannot have; see `check_parameters`."""
    if isinstance(option, Check):
        allowed, wanted = option.allows(value), option.wanted
    elif option is not None:
        allowed = isinstance(value, str) and value in option
        wanted = f"a str among {{{', '.join(map(repr, option))}}}"
    elif name in _CHECKS:
        check, wanted = _CHECKS[name]
        allowed = check(value)
    else:
        return  # a parameter that a user's subclass added
    if not allowed:
        raise InvalidParameterError(f"The {name!r} parameter of {owner} must be {wanted}. Got {value!r} instead.")


def check_parameters(estimator: Estimator, owner: str | None = None, /, **options: "tuple[str, ...] | Check") -> None:
    """Raise for the first parameter, in the order of the constructor, that has a value it cannot have.

    Parameters
    ----------
    estimator : Estimator
        Its parameters are checked by their names.
    owner : str, optional
        What an error calls it, if not by its class.
    **options : tuple of str or Check
        The strings allowed for parameters that differ from one estimator to the next, such as ``algorithm=("lloyd",)``,
        or another check of such a parameter.

    Raises
    ------
    InvalidParameterError
        A ValueError (and TypeError) that says what the parameter must be and what it is.
    """
    owner = type(estimator).__name__ if owner is None else owner
    for name in estimator._parameters():
        check_parameter(name, getattr(estimator, name), owner, options.get(name))


def number_of_runs(init: Any, n_init: Any, estimator_name: str, many: int = MANY_RUNS) -> int:
    """How many runs checked values of `init` and `n_init` ask for.

    Parameters
    ----------
    init, n_init
        Checked values of these parameters.
    estimator_name : str
        What the warning calls the estimator.
    many : int
        What 'auto' means for random rows and a callable.

    Returns
    -------
    n_runs : int
        1 for an array, with a RuntimeWarning if `n_init` asks for more.
    """
    explicit = is_array_like(init)
    if isinstance(n_init, str):
        return 1 if explicit or (isinstance(init, str) and init != "random") else many
    if explicit and n_init != 1:
        warn_user(
            f"Explicit initial center position passed: performing only one init in {estimator_name} instead of"
            f" n_init={n_init}.",
            RuntimeWarning,
        )
        return 1
    return int(n_init)


def seed_sequence(random_state: Any) -> np.random.SeedSequence:
    """The seed that `random_state` stands for.

    Parameters
    ----------
    random_state : int, RandomState, Generator, SeedSequence or None
        A ``RandomState`` or ``Generator`` advances by four 32-bit words, None means NumPy's global ``RandomState``.

    Returns
    -------
    seed : SeedSequence
        Always a new object, so that spawning from it leaves a given one as it was.
    """
    if isinstance(random_state, np.random.SeedSequence):
        return np.random.SeedSequence(
            random_state.entropy,
            spawn_key=random_state.spawn_key,
            pool_size=random_state.pool_size,
            n_children_spawned=random_state.n_children_spawned,
        )
    if isinstance(random_state, Integral):
        return np.random.SeedSequence(int(random_state))
    if isinstance(random_state, np.random.Generator):
        words = random_state.integers(2**32, size=4, dtype=np.uint32)
    else:
        if random_state is None:
            random_state = np.random.mtrand._rand  # what np.random.seed seeds, and scikit-learn draws from
        words = random_state.randint(2**32, size=4, dtype=np.uint32)
    return np.random.SeedSequence([int(word) for word in words])


def rows_of(X: Any, rows: NDArray[np.intp] | None) -> Any:
    """Some rows of the user's data, in its container, for a callable `init` to be called with; None means all."""
    if rows is None:
        return X
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, list | tuple):
        return [X[i] for i in rows]
    if hasattr(X, "tocsr"):
        X = X.tocsr()  # not every sparse format has rows
    return X.take(rows) if hasattr(X, "column_names") else X[rows]  # a table of pyarrow, or what has indices


def checked_init(init: Any, points: "Points", n_clusters: int, estimator_name: str) -> Any:
    """`init` as the solver wants it: a name, a checked array, or a callable whose result is checked as an array is."""
    if isinstance(init, str):
        return init
    if is_array_like(init):
        return _starting_centers(init, points, n_clusters, estimator_name)

    def checked(X: Any, n_clusters: int, random_state: Any = None) -> NDArray[np.floating[Any]]:
        given = init(X, n_clusters, random_state=random_state)
        return _starting_centers(given, points, n_clusters, estimator_name)

    return checked


def _starting_centers(init: Any, points: "Points", n_clusters: int, estimator_name: str) -> NDArray[np.floating[Any]]:
    """A checked copy of `init` as the solver wants it: (n_clusters, n_features), C order, the centers' dtype."""
    from fastkmeans.points import as_points, raise_nonfinite, raise_overflow

    given = as_points(init, name="init", estimator=estimator_name)
    if given.sparse is not None:
        raise InvalidParameterError("init is sparse, and centers are dense: pass init.toarray().")
    shape = (given.n_samples, given.n_features)
    if given.n_samples != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {shape} does not match the number of clusters {n_clusters}."
        )
    if given.n_features != points.n_features:
        raise ValueError(
            f"The shape of the initial centers {shape} does not match the number of features of the data"
            f" {points.n_features}."
        )
    values = given.take(np.arange(given.n_samples))
    if not np.isfinite(values).all():
        raise_nonfinite(given, estimator_name)
    with np.errstate(over="ignore"):
        centers = np.array(values, dtype=points.center_dtype, order="C")
    if not np.isfinite(centers).all():
        row, column = np.argwhere(~np.isfinite(centers))[0]
        raise ValueError(
            f"init holds {values[row, column]} in row {row}, column {column}, which is too large for the centers'"
            f" dtype {points.center_dtype}. Give the data as float64, or scale both down."
        )
    largest = np.abs(values).max(axis=0)
    with np.errstate(over="ignore"):
        overflows = not np.isfinite((4.0 * largest * largest).sum())  # the bound that the data has to keep
    if overflows:
        column = int(largest.argmax())
        raise_overflow(given, column, float(largest[column]), estimator_name)
    return centers
