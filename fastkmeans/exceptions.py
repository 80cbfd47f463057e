"""The errors and warnings that users filter on, and where a warning points.

scikit-learn's classes are used when the running program has loaded them (then ``except
sklearn.exceptions.NotFittedError`` works), ours of the same name and ancestry otherwise.
"""

import inspect
import os
import sys
import warnings
from typing import cast

import numpy as np
from numpy.typing import NDArray

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


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


def warn_of_empty(cluster_weights: NDArray[np.float64]) -> None:
    """Warn where clusters have no rows."""
    n_found, n_clusters = int(np.count_nonzero(cluster_weights)), len(cluster_weights)
    if n_found < n_clusters:
        warn_user(
            f"Number of distinct clusters ({n_found}) found smaller than n_clusters ({n_clusters})."
            " Possibly due to duplicate points in X.",
            convergence_warning(),
        )
