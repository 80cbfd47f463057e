"""`MiniBatchKMeans`: scikit-learn's conventions around `fastkmeans.batches`. No arithmetic happens here."""

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkmeans.base import Clusterer
from fastkmeans.conventions import UNCHANGED
from fastkmeans.exceptions import warn_user
from fastkmeans.parameters import check_parameters, checked_init, number_of_runs, rows_of, seed_sequence

if TYPE_CHECKING:
    from fastkmeans.batches import Centers
    from fastkmeans.points import Points

_MANY_STARTS = 3  # for n_init="auto" and random rows or a callable, as in scikit-learn


class MiniBatchKMeans(Clusterer):
    """k-means by mini-batches: centers that follow batches of rows instead of visiting all of them again and again.

    Parameters and attributes are those of scikit-learn's ``MiniBatchKMeans``, in its order, with `n_threads`, `metric`
    and `counts_` added. The result depends on the batches and their order, by the nature of the method, and on nothing
    else: not on the number of threads, the machine or the memory layout of the data.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k, at most the number of rows.

    init : {'k-means++', 'k-means||', 'random'}, array-like of shape (n_clusters, n_features) or callable, \
            default='k-means++'
        Where the centers start, as for `KMeans`, but drawn from `init_size` rows alone. Centers that are drawn are
        improved on these rows by a few iterations and swap moves (as ``KMeans(refine='swap')``) before the first batch;
        arrays and what a callable returns are taken as they are.

    max_iter : int, default=100
        The number of rows drawn is at most `max_iter` times the number of rows in the data.

    batch_size : int, default=1024
        Rows in a batch.

    verbose : int, default=0
        Whether to print what each batch did.

    compute_labels : bool, default=True
        Whether `fit` ends with a pass over all rows that gives `labels_` and `inertia_`.

    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        As for `KMeans`; draws the starting centers and the batches.

    tol : float, default=0.0
        Stop when the squared distance that the centers moved in a batch, summed over centers, is at most `tol` times
        the mean (weighted) variance of the features. With 0 this is not looked at.

    max_no_improvement : int or None, default=10
        Stop after so many batches in a row that did not lower the moving average of the inertia. None: never.

    init_size : int or None, default=None
        How many rows the starting centers are drawn from; None means three batches, or 3 `n_clusters` if that is more.

    n_init : 'auto' or int, default='auto'
        How many starts are compared, on `init_size` rows; the best one goes on. 'auto' means 3 for 'random' and for a
        callable, 1 otherwise.

    reassignment_ratio : float, default=0.01
        Centers with less than this share of the largest count are moved to rows of the batch, every 10 `n_clusters`
        rows.

    n_threads : int or None, default=None
        Number of threads. It has no influence on the result.

    metric : {'euclidean', 'cosine'}, default='euclidean'
        How far a row is from a center. With 'cosine' rows are compared by direction alone, which is what vectors of
        words call for: the distance is 1 - cosine of the angle. Rows are divided by their length when they are read,
        in float64, rounded once to the dtype of the centers; X itself is not copied. Centers have length one: the
        directions of the means of their rows. `inertia_` is the weighted sum of 1 - cosine, and `transform` gives
        1 - cosine. A row of zeros has label 0 and distance 1, and no influence on the centers.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centers, in the dtype that `KMeans` gives them. Between batches they are kept in float64.

    labels_ : ndarray of shape (n_samples,), dtype int32
        Nearest center of each row; after `partial_fit`, of each row of its batch. Only with `compute_labels`.

    inertia_ : float
        Sum over the rows of weight times squared distance to the nearest center; without `compute_labels` an estimate
        of it, from the moving average over the batches.

    n_iter_ : int
        Number of rows drawn by `fit`, in times the rows of the data, rounded up.

    n_steps_ : int
        Number of batches.

    counts_ : ndarray of shape (n_clusters,), dtype float64
        The weight of the rows that each center is the mean of.

    n_features_in_ : int
        Number of features of the training data.

    feature_names_in_ : ndarray of shape (n_features_in_,), dtype object
        Names of the features; only there when the data had names and all of them are strings.

    Notes
    -----
    Each batch labels its rows by the nearest of the present centers, and each center becomes the mean of all rows it
    was ever given [1]_. Rows are drawn with replacement, with probability proportional to their weight.

    References
    ----------
    .. [1] D. Sculley, "Web-scale k-means clustering", Proceedings of the 19th International Conference on World Wide
       Web, 2010, pp. 1177-1178.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans import MiniBatchKMeans
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(500, 2)) + 5.0, rng.normal(size=(500, 2)) + 15.0])
    >>> model = MiniBatchKMeans(n_clusters=2, batch_size=100, random_state=0).fit(X)
    >>> np.sort(model.cluster_centers_[:, 0]).round()
    array([ 5., 15.])
    >>> online = MiniBatchKMeans(n_clusters=2, random_state=0)
    >>> for batch in np.split(rng.permutation(X), 10):
    ...     online = online.partial_fit(batch)
    >>> online.n_steps_, online.counts_.sum(), np.sort(online.cluster_centers_[:, 0]).round()
    (10, np.float64(1000.0), array([ 5., 15.]))
    """

    n_iter_: int
    n_steps_: int
    counts_: NDArray[np.float64]
    _moving: "Centers"
    _weighted_methods = ("fit", "partial_fit", "score")

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Any = "auto",
        reassignment_ratio: float = 0.01,
        n_threads: int | None = None,
        metric: str = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.n_threads = n_threads
        self.metric = metric

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Move the centers by one batch.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The batch. The first one, which also gives the starting centers, must have at least `n_clusters` rows.
        y : ignored
            Here because pipelines pass it.
        sample_weight : array-like of shape (n_samples,), float or None, default=None
            As for `fit`.

        Returns
        -------
        self : MiniBatchKMeans
            The estimator; `labels_` and `inertia_` are those of the batch.

        Raises
        ------
        ValueError, TypeError
            As `fit`.
        """
        check_parameters(self)
        from fastkmeans import batches
        from fastkmeans.data import Data
        from fastkmeans.points import as_points
        from fastkmeans.weights import as_weights

        name = type(self).__name__
        first = "n_features_in_" not in self.__dict__
        points = self._seen_by_metric(as_points(X, estimator=name)) if first else self._checked(X)
        if first:
            self._check_number_of_rows(points)
        data = Data(points, as_weights(sample_weight, points.n_samples), self.n_threads, estimator=name)
        if first:
            number_of_runs(self.init, self.n_init, name, _MANY_STARTS)  # for its warning: there is one start
            seed, batch_seed = seed_sequence(self.random_state).spawn(2)
            init = checked_init(self.init, points, int(self.n_clusters), name)
            size = self._init_size(points.n_samples)
            centers = batches.start(
                data, int(self.n_clusters), init, seed, size, batches.Draws(data), lambda rows: rows_of(X, rows)
            )
            rng = np.random.Generator(np.random.PCG64(batch_seed))
            moving = batches.Centers(centers, rng, cosine=data.cosine)
        else:
            moving = self._moving.copy()
            moving.take_over(self.cluster_centers_)
        moving.step(data, reassignment_ratio=float(self.reassignment_ratio), verbose=int(self.verbose))
        labels_and_inertia = batches.labels_and_inertia(data, moving.stored) if self.compute_labels else None
        if first:
            self._set_features(points.n_features, points.feature_names)
        self._keep(moving)
        self.n_steps_ = 1 if first else self.n_steps_ + 1
        if labels_and_inertia is not None:
            self.labels_, self.inertia_ = labels_and_inertia
        return self

    def set_partial_fit_request(self, *, sample_weight: bool | str | None = UNCHANGED) -> Self:
        """Say whether scikit-learn is to pass `sample_weight` to `partial_fit`; see `set_fit_request`.

        Parameters
        ----------
        sample_weight : bool, str or None
            As for `set_fit_request`.

        Returns
        -------
        self : estimator
            This estimator.
        """
        return self._set_request("partial_fit", sample_weight)

    def _fit(self, X: Any, sample_weight: ArrayLike | None) -> "Points":
        check_parameters(self)
        from fastkmeans import batches
        from fastkmeans.data import Data
        from fastkmeans.points import as_points
        from fastkmeans.weights import as_weights

        name = type(self).__name__
        points = self._seen_by_metric(as_points(X, estimator=name))
        self._check_number_of_rows(points)
        n_init = number_of_runs(self.init, self.n_init, name, _MANY_STARTS)
        weights = as_weights(sample_weight, points.n_samples)
        init_size = self._init_size(points.n_samples)
        data = Data(points, weights, self.n_threads, estimator=name)
        batch_size = min(int(self.batch_size), points.n_samples)
        result = batches.fit(
            data,
            n_clusters=int(self.n_clusters),
            init=checked_init(self.init, points, int(self.n_clusters), name),
            n_init=n_init,
            init_size=init_size,
            batch_size=batch_size,
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            max_no_improvement=self.max_no_improvement,
            reassignment_ratio=float(self.reassignment_ratio),
            seed=seed_sequence(self.random_state),
            verbose=int(self.verbose),
            user_rows=lambda rows: rows_of(X, rows),
        )
        labels = None
        if self.compute_labels:
            labels, inertia = batches.labels_and_inertia(data, result.centers.stored)
        else:
            inertia = result.mean_inertia * float(points.n_samples if weights is None else math.fsum(weights))
        self._set_features(points.n_features, points.feature_names)
        self._keep(result.centers)
        self.n_steps_ = result.n_steps
        self.n_iter_ = -(-result.n_steps * batch_size // points.n_samples)
        self.inertia_ = inertia
        if labels is None:
            self.__dict__.pop("labels_", None)
        else:
            self.labels_ = labels
        return points

    def _keep(self, moving: "Centers") -> None:
        self._moving = moving
        self.cluster_centers_ = moving.stored
        self.counts_ = moving.counts.copy()

    def _check_number_of_rows(self, points: "Points") -> None:
        if points.n_samples < self.n_clusters:
            raise ValueError(f"n_samples={points.n_samples} should be >= n_clusters={self.n_clusters}.")

    def _init_size(self, n_samples: int) -> int:
        """How many rows starting centers are drawn from, as scikit-learn counts them."""
        size = self.init_size
        if size is None:
            size = 3 * min(int(self.batch_size), n_samples)
            if size < self.n_clusters:
                size = 3 * int(self.n_clusters)
        elif size < self.n_clusters:
            warn_user(
                f"init_size={size} should be larger than n_clusters={self.n_clusters}. Setting it to"
                " min(3*n_clusters, n_samples)",
                RuntimeWarning,
            )
            size = 3 * int(self.n_clusters)
        return min(int(size), n_samples)
