"""`KMeans`: scikit-learn's conventions around the solver. No arithmetic happens here.

The estimator checks its parameters, turns ``random_state`` into a seed and ``init`` into something checked, hands both
with the data's `fastkmeans.points.Points` to `fastkmeans.solver`, and stores what comes back. Solver and points are
imported inside the methods, so that constructing an estimator does not load Numba.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkmeans.base import Estimator, convergence_warning, warn_user
from fastkmeans.parameters import check_parameters, is_array_like, number_of_runs, seed_sequence

if TYPE_CHECKING:
    from fastkmeans.points import Points
    from fastkmeans.solver import FitResult, Iteration

_ALGORITHMS = ("lloyd", "elkan", "auto")


class KMeans(Estimator):
    """Exact k-means clustering (Lloyd's algorithm), the same to the bit on any number of threads.

    Parameters and attributes are those of scikit-learn's ``KMeans``, in its order, with `n_threads`, `converged_`,
    `history_` and `cluster_weights_` added. Data may be any two-dimensional array-like of real numbers, or a pandas or
    polars frame; it is never copied and never written.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k, at most the number of rows.

    init : {'k-means++', 'k-means||', 'random'}, array-like of shape (n_clusters, n_features) or callable, \
            default='k-means++'
        Where the centers start.

        - 'k-means++': rows drawn one after another with probability proportional to their weight times their squared
          distance to the nearest center so far; the best of 2 + floor(ln k) draws is kept at each step [2]_.
        - 'k-means||': reads the data seven times, however many clusters: in each of five rounds every row joins the
          candidates by itself, about 2 `n_clusters` of them, and 'k-means++' chooses among the candidates, each of
          which weighs as much as the rows nearest to it [7]_. For data in files, and for very many clusters.
        - 'random': distinct rows, drawn with probability proportional to their weight.
        - array-like: the centers themselves. It is copied, rounded to the dtype of the centers, and never changed.
        - callable: ``init(X, n_clusters, random_state=...)``, called with the data as given to `fit` and a
          ``numpy.random.RandomState``; returns the centers.

    n_init : 'auto' or int, default='auto'
        How many times to start over from other initial centers; the run with the lowest inertia is kept, the first of
        equal ones. 'auto' means 1 for 'k-means++', 'k-means||' and an array, 10 for 'random' and for a callable.

    max_iter : int, default=300
        Most iterations of one run.

    tol : float, default=1e-4
        A run stops when the sum of the squared distances that the centers moved in an iteration is at most `tol` times
        the mean over the features of their (weighted) variance. With 0 it stops when the centers stand still.

    verbose : int, default=0
        Whether to print each iteration's inertia, and why a run stopped, to the standard output.

    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        Source of the seed of all starts but arrays. An int or a ``SeedSequence`` gives the same result
        every time. From a ``RandomState`` or ``Generator`` 128 bits are drawn at every fit, so it advances; None draws
        them from NumPy's global state. Restart r uses the r-th sequence spawned from the seed.

    copy_x : bool, default=True
        Has no effect: the data is never modified and never copied. Accepted so that code written for scikit-learn runs.

    algorithm : {'auto', 'lloyd', 'elkan'}, default='auto'
        How each iteration finds the nearest centers. It has no influence on the result, to the bit.

        - 'lloyd': every iteration computes the distance of every row to every center [1]_.
        - 'elkan': the first iteration does so, the others keep bounds of distances by the triangle inequality, an upper
          one to a row's own center and lower ones to the others, moved by as much as the centers move, and compute
          only what the bounds leave open. From 48 features on (or with more than 2048 clusters) there is a lower bound
          per row and group of 16 near centers [4]_, of more than 16 where the bounds would take more than half of the
          memory of the data as float32: between one bound per row and center [3]_ and one per row [5]_, which it is up
          to 16 clusters. With fewer features and up to 128 clusters a row remembers its second nearest center and how
          much nearer that, and any other, would have to come [8]_; with more clusters there is one lower bound per row
          [5]_, and a row is compared with the centers near its own alone. Fits that are too small for vector kernels,
          and CPUs without vectors of float32 with FMA, run 'lloyd' instead.
        - 'auto': 'lloyd' until few rows change their cluster, or a trial on a part of the rows shows that bounds would
          have been faster, and again when iterations with bounds take longer than those without.

    n_threads : int or None, default=None
        Number of threads. None means the number Numba is set to use, which ``OMP_NUM_THREADS`` bounds where
        ``NUMBA_NUM_THREADS`` is not set. A number above Numba's pool is lowered to it with a warning. It has no
        influence on the result.

    refine : {'swap'} or None, default=None
        How to leave local minima. With 'swap' every run, once it has converged, tries to fuse two clusters and cut a
        third in two where that lowers the inertia, iterates again, and goes on until no swap pays [6]_. The inertia is
        never higher than without, from the same seed; where clusters are well separated the best clustering is found
        nearly always, for less than the time of a second start.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centers: float64 for data of float64, long double and 32- or 64-bit integers, float32 for all other data.

    labels_ : ndarray of shape (n_samples,), dtype int32
        Cluster of each row: the index of the nearest of `cluster_centers_`, the lowest index on an exact tie. Always
        equal to ``predict`` of the training data.

    inertia_ : float
        Sum over the rows of weight times squared distance to the nearest center.

    n_iter_ : int
        Number of iterations of the run that was kept; with `refine`, of all its parts together, each of which may take
        `max_iter`.

    n_features_in_ : int
        Number of features of the training data.

    feature_names_in_ : ndarray of shape (n_features_in_,), dtype object
        Names of the features; only there when the data had names and all of them are strings.

    converged_ : bool
        Whether the run that was kept stopped because nothing changed or the centers moved less than `tol` allows;
        False when it used up `max_iter`.

    history_ : list of Iteration, of length n_iter_
        For each iteration of the run that was kept the named tuple ``(inertia, center_shift, n_changed, n_refilled,
        seconds, evaluated, algorithm)``: the inertia of its assignment to the centers it began with, the sum of the
        squared distances its update moved the centers, how many rows changed their label, how many empty clusters were
        given a new center, how long it took, which share of the distances between rows and centers it computed, and
        whether it was dense ('lloyd') or kept bounds ('elkan').

    cluster_weights_ : ndarray of shape (n_clusters,), dtype float64
        Sum of the weights of each cluster's rows; without weights, the number of its rows.

    Warns
    -----
    ConvergenceWarning
        When fewer than `n_clusters` clusters have rows in the end, which happens when the data has fewer distinct rows.
        Reaching `max_iter` does not warn: see `converged_`.
    RuntimeWarning
        When `init` is an array and `n_init` asks for more than one start, and for ``algorithm='elkan'`` with one
        cluster, which has nothing to bound.

    Notes
    -----
    What differs from scikit-learn:

    - The result depends on the data, the weights and the seed alone; not on the number of threads, the machine, or the
      memory layout and dtype of the data (up to the dtype of the centers). scikit-learn draws other random numbers from
      the same seed, so the two agree from equal initial centers and not from equal seeds.
    - A row that is equally near to two centers goes to the one with the lower index.
    - `tol` is scaled by the *weighted* variance, so that a row of weight 2 equals the row given twice, and a row of
      weight 0 equals no row at all.
    - A cluster left without rows gets the row farthest from its center, among distinct rows, as its new center.
    - Data is read in its own dtype and layout; float64 data takes about as long as float32 data.
    - `random_state` may also be a ``Generator`` or a ``SeedSequence``.
    - Sparse data is not supported.

    Clusters get labels by squared distances computed as differences in float64, feature by feature, so data with a
    large common offset loses nothing.

    References
    ----------
    .. [1] S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28(2), 1982,
       pp. 129-137.
    .. [2] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", Proceedings of the 18th
       ACM-SIAM Symposium on Discrete Algorithms, 2007, pp. 1027-1035.
    .. [3] C. Elkan, "Using the triangle inequality to accelerate k-means", Proceedings of the 20th International
       Conference on Machine Learning, 2003, pp. 147-153.
    .. [4] Y. Ding, Y. Zhao, X. Shen, M. Musuvathi and T. Mytkowicz, "Yinyang k-means: a drop-in replacement of the
       classic k-means with consistent speedup", Proceedings of the 32nd International Conference on Machine Learning,
       2015, pp. 579-587.
    .. [5] G. Hamerly, "Making k-means even faster", Proceedings of the 2010 SIAM International Conference on Data
       Mining, pp. 130-140.
    .. [6] T. Kaukoranta, P. Fränti, O. Nevalainen, "Iterative split-and-merge algorithm for vector quantization
       codebook generation", Optical Engineering 37(10), 1998, pp. 2726-2732.
    .. [7] B. Bahmani, B. Moseley, A. Vattani, R. Kumar and S. Vassilvitskii, "Scalable k-means++", Proceedings of the
       VLDB Endowment 5(7), 2012, pp. 622-633.
    .. [8] J. Drake and G. Hamerly, "Accelerated k-means with adaptive distance bounds", 5th NIPS Workshop on
       Optimization for Machine Learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkmeans import KMeans
    >>> X = np.array([[1.0, 1.0], [1.0, 3.0], [9.0, 8.0], [9.0, 6.0], [5.0, 0.0]])
    >>> model = KMeans(n_clusters=2, init=[[0.0, 0.0], [10.0, 10.0]]).fit(X)
    >>> model.labels_
    array([0, 0, 1, 1, 0], dtype=int32)
    >>> model.cluster_centers_.round(3)
    array([[2.333, 1.333],
           [9.   , 7.   ]])
    >>> round(model.inertia_, 3), model.n_iter_, model.converged_
    (17.333, 2, True)
    >>> model.predict([[8.0, 8.0], [0.0, 1.0]])
    array([1, 0], dtype=int32)
    """

    cluster_centers_: NDArray[np.floating[Any]]
    labels_: NDArray[np.int32]
    inertia_: float
    n_iter_: int
    converged_: bool
    history_: "list[Iteration]"
    cluster_weights_: NDArray[np.float64]

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "auto",
        n_threads: int | None = None,
        refine: str | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.n_threads = n_threads
        self.refine = refine

    # -- what users call ----------------------------------------------------------------------------------------------
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Real numbers of any dtype and layout. Neither copied nor written.
        y : ignored
            Here because pipelines pass it.
        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Finite weights of at least 0, one per row or the same for all. None gives every row weight 1. Rows of
            weight 0 get labels and have no other influence.

        Returns
        -------
        self : KMeans
            The fitted estimator.

        Raises
        ------
        ValueError
            For a parameter with a value it cannot have; data that is not two-dimensional, has no rows or no features,
            fewer rows than clusters, NaN, infinity, missing values, complex numbers or text, or is so large that
            squared distances overflow; weights that are negative, not finite, all zero or not one per row; initial
            centers of another shape or not finite.
        TypeError
            For sparse data, and for objects in the data that are no numbers.
        """
        self._fit(X, sample_weight)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> NDArray[np.int32]:
        """`labels_` after fitting X: ``fit(X).predict(X)`` without the second pass.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), dtype int32
            Cluster of each row.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Index of the nearest center for each row of X.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            As many features as the training data, under the same names if both have names. Any dtype.

        Returns
        -------
        labels : ndarray of shape (n_samples,), dtype int32
            The lowest index on an exact tie.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For data as `fit` refuses it, or with other features.
        """
        self._check_is_fitted()
        from fastkmeans import solver
        from fastkmeans.points import as_points, check_features

        points = as_points(X, estimator=type(self).__name__)
        check_features(points, *self._seen_features())
        return solver.predict(points, self._centers(), n_threads=self.n_threads)

    def transform(self, X: Any) -> NDArray[np.floating[Any]]:
        """Euclidean distance of each row of X to each center.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            As for `predict`.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            float32 when X and the training data both call for float32 centers, else float64. Computed as differences,
            so exactly 0 for a row that equals a center.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.
        """
        self._check_is_fitted()
        from fastkmeans.points import as_points, check_features

        points = as_points(X, estimator=type(self).__name__)
        check_features(points, *self._seen_features())
        return self._transform(points)

    def fit_transform(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> NDArray[np.floating[Any]]:
        """Fit X and return the distances of its rows to the centers: ``fit(X).transform(X)``.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            As for `transform`.
        """
        return self._transform(self._fit(X, sample_weight))

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Minus the inertia of X at the fitted centers; larger is better.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            As for `predict`.
        y : ignored
            Here because searches pass it.
        sample_weight : array-like of shape (n_samples,), float or None, default=None
            As for `fit`.

        Returns
        -------
        score : float
            Exactly ``-inertia_`` for the training data and its weights.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`; also for weights that `fit` refuses.
        """
        self._check_is_fitted()
        from fastkmeans import solver
        from fastkmeans.points import as_points, as_weights, check_features

        points = as_points(X, estimator=type(self).__name__)
        check_features(points, *self._seen_features())
        weights = as_weights(sample_weight, points.n_samples)
        return -float(solver.score(points, self._centers(), weights, n_threads=self.n_threads))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Names of the columns that `transform` returns: "kmeans0", "kmeans1" and so on.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input columns; only compared with those seen in `fit`.

        Returns
        -------
        names : ndarray of shape (n_clusters,), dtype object
            One name per cluster.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For other names, or another number of them, than `fit` saw.
        """
        self._check_is_fitted()
        return self._output_names(self.cluster_centers_.shape[0], input_features)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator about itself. Only scikit-learn calls this, so it can be imported."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
        )

    # -- fitting ------------------------------------------------------------------------------------------------------
    def _fit(self, X: Any, sample_weight: ArrayLike | None) -> "Points":
        """All of `fit`; returns the validated data. Attributes change only when everything has succeeded."""
        check_parameters(self, algorithm=_ALGORITHMS)
        from fastkmeans import solver
        from fastkmeans.points import as_points, as_weights

        points = as_points(X, estimator=type(self).__name__)
        if points.n_samples < self.n_clusters:
            raise ValueError(f"n_samples={points.n_samples} should be >= n_clusters={self.n_clusters}.")
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warn_user(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.", RuntimeWarning
            )
        n_init = number_of_runs(self.init, self.n_init, type(self).__name__)
        weights = as_weights(sample_weight, points.n_samples)
        init = self.init
        if is_array_like(init):
            init = self._starting_centers(init, points)
        elif not isinstance(init, str):
            init = self._checked_callable(init, points)
        result = solver.fit(
            points,
            weights,
            n_clusters=int(self.n_clusters),
            init=init,
            n_init=n_init,
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            seed=seed_sequence(self.random_state),
            algorithm=self.algorithm,
            verbose=int(self.verbose),
            n_threads=self.n_threads,
            user_X=X,
            refine=self.refine,
        )
        self._keep(points, result)
        n_found = int(np.count_nonzero(result.cluster_weights))
        if n_found < self.n_clusters:
            warn_user(
                f"Number of distinct clusters ({n_found}) found smaller than n_clusters ({self.n_clusters})."
                " Possibly due to duplicate points in X.",
                convergence_warning(),
            )
        return points

    def _keep(self, points: "Points", result: "FitResult") -> None:
        """Set the attributes of a fit."""
        self._set_features(points.n_features, points.feature_names)
        self.cluster_centers_ = result.centers
        self.labels_ = result.labels
        self.inertia_ = float(result.inertia)
        self.n_iter_ = int(result.n_iter)
        self.converged_ = bool(result.converged)
        self.history_ = list(result.history)
        self.cluster_weights_ = result.cluster_weights

    def _checked_callable(self, init: Callable[..., Any], points: "Points") -> Callable[..., NDArray[np.floating[Any]]]:
        """`init` with its result checked as an array given as `init` is."""

        def checked_init(X: Any, n_clusters: int, random_state: Any = None) -> NDArray[np.floating[Any]]:
            return self._starting_centers(init(X, n_clusters, random_state=random_state), points)

        return checked_init

    def _starting_centers(self, init: Any, points: "Points") -> NDArray[np.floating[Any]]:
        """A checked copy of `init` as the solver wants it: (n_clusters, n_features), C order, the centers' dtype."""
        from fastkmeans.points import as_points, raise_nonfinite, raise_overflow

        given = as_points(init, name="init", estimator=type(self).__name__)
        shape = (given.n_samples, given.n_features)
        if given.n_samples != self.n_clusters:
            raise ValueError(
                f"The shape of the initial centers {shape} does not match the number of clusters {self.n_clusters}."
            )
        if given.n_features != points.n_features:
            raise ValueError(
                f"The shape of the initial centers {shape} does not match the number of features of the data"
                f" {points.n_features}."
            )
        values = given.take(np.arange(given.n_samples))
        if not np.isfinite(values).all():
            raise_nonfinite(given, type(self).__name__)
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
            raise_overflow(given, column, float(largest[column]), type(self).__name__)
        return centers

    # -- assigning -----------------------------------------------------------------------------------------------------
    def _centers(self) -> NDArray[np.floating[Any]]:
        """The centers in C order, whatever a user or an unpickler has put in `cluster_centers_`."""
        return np.ascontiguousarray(self.cluster_centers_)

    def _transform(self, points: "Points") -> NDArray[np.floating[Any]]:
        from fastkmeans import solver

        return solver.transform(points, self._centers(), n_threads=self.n_threads)
