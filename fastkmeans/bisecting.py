"""`BisectingKMeans`: scikit-learn's conventions around `fastkmeans.hierarchy`. No arithmetic happens here."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkmeans.base import Clusterer
from fastkmeans.exceptions import warn_of_empty
from fastkmeans.parameters import COUNT, Check, check_parameters, checked_init, rows_of, seed_sequence

if TYPE_CHECKING:
    from fastkmeans.points import Points

_ALGORITHMS = ("lloyd", "elkan", "auto")
_STRATEGIES = ("biggest_inertia", "largest_cluster")
_INIT = Check(
    lambda v: v in ("k-means++", "random") if isinstance(v, str) else callable(v),
    "a str among {'k-means++', 'random'} or a callable",
)


class BisectingKMeans(Clusterer):
    """Bisecting k-means: clusters are cut in two, one after another, until there are enough.

    Parameters and attributes are those of scikit-learn's ``BisectingKMeans``, in its order, with `n_threads` and
    `cluster_weights_` added. The result depends on data, weights and seed alone, to the bit.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k, at most the number of rows.

    init : {'k-means++', 'random'} or callable, default='random'
        Where the two centers of each cut start, as for `KMeans`. A callable is called with the rows of the cluster and
        ``n_clusters=2``.

    n_init : int, default=1
        How many starts of each cut are compared; the one with the lowest inertia is kept.

    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        As for `KMeans`. Cut t uses the t-th sequence spawned from the seed.

    max_iter : int, default=300
        Most iterations of one cut.

    verbose : int, default=0
        Whether to print the centers of each cut.

    tol : float, default=1e-4
        A cut is done when the sum of the squared distances that its centers moved in an iteration is at most `tol`
        times the mean (weighted) variance of the features of the data.

    copy_x : bool, default=True
        Has no effect: the data is never modified. Accepted so that code written for scikit-learn runs.

    algorithm : {'auto', 'lloyd', 'elkan'}, default='auto'
        As for `KMeans`; it has no influence on the result.

    bisecting_strategy : {'biggest_inertia', 'largest_cluster'}, default='biggest_inertia'
        Which cluster is cut next: the one with the highest inertia, or with the highest weight (the most rows, where
        there are no weights). Of equal ones the first from the left in the tree.

    n_threads : int or None, default=None
        Number of threads. It has no influence on the result.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centers, in the dtype that `KMeans` gives them, in the order of the tree's leaves: means of the clusters up
        to what `tol` allows.

    labels_ : ndarray of shape (n_samples,), dtype int32
        Cluster of each row. Always equal to ``predict`` of the training data; a center on the other side of a cut may
        be nearer.

    inertia_ : float
        Sum over the rows of weight times squared distance to the center of their cluster.

    cluster_weights_ : ndarray of shape (n_clusters,), dtype float64
        Sum of the weights of each cluster's rows; without weights, the number of its rows.

    n_features_in_ : int
        Number of features of the training data.

    feature_names_in_ : ndarray of shape (n_features_in_,), dtype object
        Names of the features; only there when the data had names and all of them are strings.

    Warns
    -----
    ConvergenceWarning
        When fewer than `n_clusters` clusters have rows in the end.

    Notes
    -----
    The rows of a cluster are gathered before it is cut, all but the first time. Where they are many, a cut starts from
    the same cut of one row in eight, and that one likewise. `score` is by the nearest center, as in scikit-learn, and
    so at least ``-inertia_`` on the training data [1]_.

    References
    ----------
    .. [1] M. Steinbach, G. Karypis and V. Kumar, "A comparison of document clustering techniques", KDD Workshop on Text
       Mining, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans import BisectingKMeans
    >>> X = np.array([[1, 1], [10, 1], [3, 1], [10, 0], [2, 1], [10, 2], [10, 8], [10, 9], [10, 10]])
    >>> model = BisectingKMeans(n_clusters=3, n_init=5, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.tolist())
    [[2.0, 1.0], [10.0, 1.0], [10.0, 9.0]]
    >>> np.array_equal(model.predict(X), model.labels_), model.inertia_
    (True, 6.0)
    """

    cluster_weights_: NDArray[np.float64]
    _split_centers: NDArray[np.floating[Any]]
    _split_children: NDArray[np.int32]

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | Callable[..., Any] = "random",
        n_init: int = 1,
        random_state: Any = None,
        max_iter: int = 300,
        verbose: int = 0,
        tol: float = 1e-4,
        copy_x: bool = True,
        algorithm: str = "auto",
        bisecting_strategy: str = "biggest_inertia",
        n_threads: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.random_state = random_state
        self.max_iter = max_iter
        self.verbose = verbose
        self.tol = tol
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.bisecting_strategy = bisecting_strategy
        self.n_threads = n_threads

    def _fit(self, X: Any, sample_weight: ArrayLike | None) -> "Points":
        check_parameters(self, algorithm=_ALGORITHMS, bisecting_strategy=_STRATEGIES, init=_INIT, n_init=COUNT)
        from fastkmeans import hierarchy
        from fastkmeans.data import Data
        from fastkmeans.points import as_points
        from fastkmeans.weights import as_weights

        name = type(self).__name__
        points = as_points(X, estimator=name)
        if points.n_samples < self.n_clusters:
            raise ValueError(f"n_samples={points.n_samples} should be >= n_clusters={self.n_clusters}.")
        weights = as_weights(sample_weight, points.n_samples)
        result = hierarchy.fit(
            Data(points, weights, self.n_threads, estimator=name),
            n_clusters=int(self.n_clusters),
            strategy=self.bisecting_strategy,
            init=checked_init(self.init, points, 2, name),
            n_init=int(self.n_init),
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            algorithm=self.algorithm,
            seed=seed_sequence(self.random_state),
            verbose=int(self.verbose),
            user_rows=lambda rows: rows_of(X, rows),
        )
        self._set_features(points.n_features, points.feature_names)
        self.cluster_centers_ = result.centers
        self.labels_ = result.labels
        self.inertia_ = float(result.inertia)
        self.cluster_weights_ = result.cluster_weights
        self._split_centers, self._split_children = result.splits
        warn_of_empty(result.cluster_weights)
        return points

    def _assign(self, points: "Points") -> NDArray[np.int32]:
        """Down the tree, at every cut to the nearer of its two centers."""
        from fastkmeans import hierarchy

        splits = hierarchy.Splits(self._split_centers, self._split_children)
        return hierarchy.predict(points, splits, n_threads=self.n_threads)
