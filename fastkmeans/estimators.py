"""`KMeans` and `k_means`: scikit-learn's conventions around the solver. No arithmetic happens here.

The estimator checks its parameters, turns ``random_state`` into a seed and ``init`` into something checked, hands both
with the data's `fastkmeans.points.Points` to `fastkmeans.solver`, and stores what comes back. Solver and points are
imported inside the methods, so that constructing an estimator does not load Numba.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastkmeans.base import Clusterer
from fastkmeans.exceptions import warn_of_empty, warn_user
from fastkmeans.parameters import check_parameter, check_parameters, checked_init, number_of_runs, seed_sequence

if TYPE_CHECKING:
    from fastkmeans.points import Points
    from fastkmeans.solver import FitResult, Iteration, Progress

_ALGORITHMS = ("lloyd", "elkan", "auto")


class KMeans(Clusterer):
    """Exact k-means clustering (Lloyd's algorithm), the same to the bit on any number of threads.

    Parameters and attributes are those of scikit-learn's ``KMeans``, in its order, with `n_threads`, `refine`,
    `metric`, `callback`, `converged_`, `history_` and `cluster_weights_` added. Data may be any two-dimensional
    array-like of real numbers, a pandas or polars frame, or a sparse matrix of SciPy's (CSR is read as it lies, other
    formats are converted by their own ``tocsr``); it is never copied and never written.

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
        Whether to print how seeding gets on, each iteration's inertia, and why a run stopped, to the standard output.

    random_state : int, RandomState, Generator, SeedSequence or None, default=None
        Source of the seed of all starts but arrays. An int or a ``SeedSequence`` gives the same result
        every time. From a ``RandomState`` or ``Generator`` 128 bits are drawn at every fit, so it advances; None draws
        them from NumPy's global state. Restart r uses the r-th sequence spawned from the seed.

    copy_x : bool, default=True
        Has no effect: the data is never modified and never copied. Accepted so that code written for scikit-learn runs.

    algorithm : {'auto', 'lloyd', 'elkan'}, default='auto'
        How each iteration finds the nearest centers. It has no influence on the result, to the bit.

        - 'lloyd': every iteration computes the distance of every row to every center [1]_. It takes the least memory:
          k-means++ keeps nothing of the rows for its speed then, either.
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

    metric : {'euclidean', 'cosine'}, default='euclidean'
        How far a row is from a center. With 'cosine' rows are compared by direction alone, which is what vectors of
        words call for: the distance is 1 - cosine of the angle. Rows are divided by their length when they are read,
        in float64, rounded once to the dtype of the centers; X itself is not copied. Centers have length one: the
        directions of the means of their rows. `inertia_` is the weighted sum of 1 - cosine, and `transform` gives
        1 - cosine. A row of zeros has label 0 and distance 1, and no influence on the centers or
        `cluster_weights_`.

    callback : callable or None, default=None
        Called after every iteration with a named tuple ``(restart, iteration, inertia, shift, changed, algorithm,
        seconds)``; the fit ends with what there is when it returns True. `fastkmeans.callbacks` has some. It costs one
        more look at the data, in the first iteration, for the inertia. The result depends on it only where it ends the
        fit.

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
        whether it was dense ('lloyd'), kept bounds ('elkan') or took its labels from k-means++ ('seeding'; without a
        distance, and the same as if it had taken them).

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
    - Negative weights are refused.
    - A callable `init` is called with the data as it was given to `fit`.
    - `random_state` may also be a ``Generator`` or a ``SeedSequence``.
    - Sparse data gives the same bits as its dense form. Its iterations are always 'lloyd', whatever `algorithm` says.

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
        metric: str = "euclidean",
        callback: "Callable[[Progress], object] | None" = None,
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
        self.metric = metric
        self.callback = callback

    # -- fitting ------------------------------------------------------------------------------------------------------
    def _fit(self, X: Any, sample_weight: ArrayLike | None) -> "Points":
        """All of `fit`; returns the validated data. Attributes change only when everything has succeeded."""
        check_parameters(self, algorithm=_ALGORITHMS)
        from fastkmeans import solver
        from fastkmeans.points import as_points
        from fastkmeans.weights import as_weights

        name = type(self).__name__
        points = self._seen_by_metric(as_points(X, estimator=name))
        if points.n_samples < self.n_clusters:
            raise ValueError(f"n_samples={points.n_samples} should be >= n_clusters={self.n_clusters}.")
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warn_user(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.", RuntimeWarning
            )
        n_init = number_of_runs(self.init, self.n_init, name)
        weights = as_weights(sample_weight, points.n_samples)
        result = solver.fit(
            points,
            weights,
            n_clusters=int(self.n_clusters),
            init=checked_init(self.init, points, int(self.n_clusters), name),
            n_init=n_init,
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            seed=seed_sequence(self.random_state),
            algorithm=self.algorithm,
            verbose=int(self.verbose),
            n_threads=self.n_threads,
            user_X=X,
            refine=self.refine,
            callback=self.callback,
        )
        self._keep(points, result)
        warn_of_empty(result.cluster_weights)
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


def k_means(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    init: Any = "k-means++",
    n_init: Any = "auto",
    max_iter: int = 300,
    verbose: int = False,
    tol: float = 1e-4,
    random_state: Any = None,
    copy_x: bool = True,
    algorithm: str = "auto",
    return_n_iter: bool = False,
    n_threads: int | None = None,
    refine: str | None = None,
    metric: str = "euclidean",
    callback: "Callable[[Progress], object] | None" = None,
) -> tuple[Any, ...]:
    """Cluster the rows of X: `KMeans` as a function.

    Parameters
    ----------
    X : array-like or frame of shape (n_samples, n_features)
        Real numbers of any dtype and layout. Neither copied nor written.
    n_clusters : int
        Number of clusters.
    sample_weight : array-like of shape (n_samples,), float or None, default=None
        As for `KMeans.fit`.
    init, n_init, max_iter, verbose, tol, random_state, copy_x, algorithm, n_threads, refine, metric, callback
        As for `KMeans`.
    return_n_iter : bool, default=False
        Whether to return the number of iterations as well.

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features)
        The centers.
    label : ndarray of shape (n_samples,), dtype int32
        Cluster of each row.
    inertia : float
        Weighted sum of squared distances to the nearest center.
    best_n_iter : int
        Iterations of the run that was kept; only with `return_n_iter`.

    Raises
    ------
    ValueError, TypeError
        As `KMeans.fit`.

    Examples
    --------
    >>> from fastkmeans import k_means
    >>> X = [[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]]
    >>> centers, labels, inertia = k_means(X, 2, init=[[9.0, 2.0], [0.0, 2.0]])
    >>> centers
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> labels, inertia
    (array([1, 1, 1, 0, 0, 0], dtype=int32), 16.0)
    """
    model = KMeans(
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        copy_x=copy_x,
        algorithm=algorithm,
        n_threads=n_threads,
        refine=refine,
        metric=metric,
        callback=callback,
    )
    check_parameters(model, "k_means", algorithm=_ALGORITHMS)
    check_parameter("return_n_iter", return_n_iter, "k_means")
    model.fit(X, sample_weight=sample_weight)
    result = (model.cluster_centers_, model.labels_, model.inertia_)
    return (*result, model.n_iter_) if return_n_iter else result
