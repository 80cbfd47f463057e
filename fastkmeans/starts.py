"""Starting centers as a function of their own: `kmeans_plusplus`, in scikit-learn's terms.

As in `estimators`, no arithmetic happens here, and what needs Numba is imported when it is called.
"""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkmeans.exceptions import convergence_warning, warn_user
from fastkmeans.parameters import InvalidParameterError, is_bool, is_int, seed_sequence

_NAME = "kmeans_plusplus"


def kmeans_plusplus(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    x_squared_norms: ArrayLike | None = None,
    random_state: Any = None,
    n_local_trials: int | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
    """Choose starting centers among the rows of X by greedy k-means++.

    The first row is drawn by weight. Each further step draws `n_local_trials` rows with probability proportional to
    their weight times their squared distance to the nearest row chosen so far, and keeps the one that lowers the
    weighted sum of these distances most [1]_. Only rows that a draw can change are looked at, so the time is far below
    that of evaluating every draw against every row.

    Parameters
    ----------
    X : array-like or frame of shape (n_samples, n_features)
        Real numbers of any dtype and layout. Neither copied nor written.
    n_clusters : int
        How many rows to choose, at most `n_samples`.
    sample_weight : array-like of shape (n_samples,), float or None, default=None
        Weights of at least 0. None gives every row weight 1; a row of weight 0 is never chosen, and an integer weight
        equals repeating the row.
    x_squared_norms : array-like of shape (n_samples,) or None, default=None
        Accepted so that code written for scikit-learn runs: its length is checked, and it is not needed.
    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        As for `KMeans`, which starts from the same rows with the same seed.
    n_local_trials : int or None, default=None
        Draws per step. None means ``2 + floor(ln(n_clusters))``.
    n_threads : int or None, default=None
        Number of threads, as for `KMeans`. It has no influence on the result.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        The chosen rows: float64 for data of float64, long double and 32- or 64-bit integers, float32 for all other
        data.
    indices : ndarray of shape (n_clusters,), dtype int64
        Their indices in X.

    Raises
    ------
    ValueError
        For parameters with values they cannot have, and for data and weights that `KMeans.fit` refuses.

    Warns
    -----
    ConvergenceWarning
        When fewer than `n_clusters` rows of positive weight are distinct; the others are drawn by weight then.

    References
    ----------
    .. [1] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", Proceedings of the 18th
       ACM-SIAM Symposium on Discrete Algorithms, 2007, pp. 1027-1035.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans import kmeans_plusplus
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]])
    >>> centers, indices = kmeans_plusplus(X, n_clusters=2, random_state=0)
    >>> np.array_equal(centers, X[indices]), sorted(centers[:, 0].tolist())
    (True, [1.0, 10.0])
    """
    if not is_int(n_clusters, 1) or is_bool(n_clusters):
        _refuse("n_clusters", "an int in the range [1, inf)", n_clusters)
    if n_local_trials is not None and (not is_int(n_local_trials, 1) or is_bool(n_local_trials)):
        _refuse("n_local_trials", "None or an int in the range [1, inf)", n_local_trials)
    if not (
        random_state is None
        or (isinstance(random_state, Integral) and int(random_state) >= 0)
        or isinstance(random_state, np.random.RandomState | np.random.Generator | np.random.SeedSequence)
    ):
        _refuse("random_state", "an int in the range [0, inf), a generator of numpy.random or None", random_state)
    from fastkmeans import seeding
    from fastkmeans.data import Data
    from fastkmeans.points import as_points, as_weights

    points = as_points(X, estimator=_NAME)
    weights = as_weights(sample_weight, points.n_samples)
    if x_squared_norms is not None and np.shape(x_squared_norms)[:1] != (points.n_samples,):
        raise ValueError(
            f"The length of x_squared_norms {np.shape(x_squared_norms)} should be equal to the length of n_samples "
            f"{points.n_samples}. It is not needed: leave it out."
        )
    if points.n_samples < n_clusters:
        raise ValueError(f"n_samples={points.n_samples} should be >= n_clusters={n_clusters}.")
    data = Data(points, weights, n_threads, estimator=_NAME)
    child = seed_sequence(random_state).spawn(1)[0]
    trials = None if n_local_trials is None else int(n_local_trials)
    rows, found = seeding.plusplus(data, int(n_clusters), seeding.stream_of(child), trials)
    n_distinct = len(found.rows_chosen())
    if n_distinct < n_clusters:
        warn_user(
            f"Number of distinct rows ({n_distinct}) found smaller than n_clusters ({n_clusters})."
            " Possibly due to duplicate points in X.",
            convergence_warning(),
        )
    return points.take(rows).astype(points.center_dtype), np.array(rows, np.int64)


def _refuse(name: str, wanted: str, value: object) -> None:
    raise InvalidParameterError(f"The {name!r} parameter of {_NAME} must be {wanted}. Got {value!r} instead.")
