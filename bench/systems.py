"""One adapter per system: the same data, the same start and the same iteration count, in each system's own words.

An adapter is made in the worker process (``worker.py``), which limits the threads through the environment before
anything is imported.  ``load`` imports the system, ``prepare`` makes the array the system likes best (never timed),
``fit`` runs the iterations (timed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np


@dataclass
class Outcome:
    """What a timed run gives back: centers, iterations run (None where the system does not tell), seconds of each."""

    centers: np.ndarray
    n_iter: int | None = None
    pass_seconds: list[float] = field(default_factory=list)


class System:
    """Base of the adapters.

    Attributes
    ----------
    name : str
        How the command line calls it.
    title : str
        How the tables call it.
    distribution : str
        The installable package whose version is reported.
    takes_start : bool
        Whether it can be given the start; where it cannot, its rows are marked and left out of the means.
    follows_tol : bool
        Whether it stops by scikit-learn's tolerance; where it does not, task converge gives it fastkmeans's number of
        iterations.
    note : str
        A footnote for its rows; `seed_note` is that of task seed.
    comparable_seeding : bool
        Whether its seeding is greedy k-means++ with 2 + floor(ln k) candidates, the one the others run.
    warm_rows : int or None
        Rows of the warm-up fit. None: all rows, so that the very kernels of the timed run are compiled and its memory
        is mapped. Systems with nothing to compile that need minutes take fewer.
    """

    name = ""
    title = ""
    distribution = ""
    takes_start = True
    follows_tol = False
    note = ""
    seed_note = ""
    comparable_seeding = False
    warm_clusters: int | None = 8  # seeded while warming up; None for as many as are timed
    warm_rows: int | None = None

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def load(self) -> None:
        """Import the system; ImportError where it is not installed."""

    def version(self) -> str:
        """Version of the installed distribution."""
        return metadata.version(self.distribution)

    def prepare(self, X: np.ndarray) -> np.ndarray:
        """The data as the system takes them without converting; not timed."""
        return X

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        """Run ``max_iter`` iterations from ``start``, or fewer where the system stops at ``tol``."""
        raise LookupError(f"{self.title} has no fit here")

    def seeded(self, X: np.ndarray, n_clusters: int, max_iter: int) -> None:
        """`fit` from k-means++."""
        raise LookupError(f"{self.title} has no fit that seeds here")

    def warm(self, X: np.ndarray, start: np.ndarray) -> None:
        """Run the kernels of `fit` once: two iterations, the second on the path of points that change their label."""
        self.fit(X, start, 2)

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        """Choose starting centers by k-means++."""
        raise LookupError(self.seed_note or f"{self.title} offers no seeding of its own")

    def default(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        """Fit with every parameter at its default."""
        raise LookupError(f"{self.title} has no estimator with the defaults of scikit-learn's")

    def details(self) -> dict[str, Any]:
        """Facts known only after a run, such as the threading layer."""
        return {}


class FastKMeans(System):
    name = title = "fastkmeans"
    distribution = "fastkmeans-numba"
    comparable_seeding = True
    follows_tol = True
    algorithm = "auto"
    warm_clusters = None  # few and many clusters are seeded by different kernels

    def load(self) -> None:
        from fastkmeans import KMeans

        self.estimator = KMeans

    def version(self) -> str:
        import fastkmeans

        return fastkmeans.__version__

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        model = self.estimator(
            len(start),
            init=start,
            n_init=1,
            tol=tol,
            max_iter=max_iter,
            algorithm=self.algorithm,
            n_threads=n_threads or self.n_threads,
        ).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_, [step.seconds for step in model.history_])

    def seeded(self, X: np.ndarray, n_clusters: int, max_iter: int) -> None:
        self.estimator(
            n_clusters,
            n_init=1,
            tol=0.0,
            max_iter=max_iter,
            random_state=0,
            algorithm=self.algorithm,
            n_threads=self.n_threads,
        ).fit(X)

    def warm(self, X: np.ndarray, start: np.ndarray) -> None:
        """Bounds are kept from some iteration on only: their kernels are asked for."""
        self.fit(X, start, 2)
        if self.algorithm == "auto":
            self.estimator(
                len(start), init=start, n_init=1, tol=0, max_iter=3, algorithm="elkan", n_threads=self.n_threads
            ).fit(X)

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        from fastkmeans import kmeans_plusplus

        return Outcome(kmeans_plusplus(X, n_clusters, random_state=seed, n_threads=self.n_threads)[0])

    def default(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        model = self.estimator(n_clusters, random_state=seed, n_threads=self.n_threads).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_)

    def details(self) -> dict[str, Any]:
        import numba

        try:
            return {"threading layer": numba.threading_layer()}
        except ValueError:  # nothing parallel has run yet
            return {"threading layer": "none used"}


class FastKMeansLloyd(FastKMeans):
    name = "fastkmeans-lloyd"
    title = "fastkmeans lloyd"
    algorithm = "lloyd"
    seed_note = "the seeding of fastkmeans, measured in its own row"

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        raise LookupError(self.seed_note)


class ScikitLearn(System):
    name = "sklearn"
    title = "scikit-learn"
    distribution = "scikit-learn"
    algorithm = "lloyd"
    comparable_seeding = True
    follows_tol = True

    def load(self) -> None:
        from sklearn.cluster import KMeans

        self.estimator = KMeans

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        model = self.estimator(
            len(start), init=start, n_init=1, tol=tol, max_iter=max_iter, algorithm=self.algorithm
        ).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_)

    def seeded(self, X: np.ndarray, n_clusters: int, max_iter: int) -> None:
        self.estimator(n_clusters, n_init=1, tol=0.0, max_iter=max_iter, random_state=0, algorithm=self.algorithm).fit(
            X
        )

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        from sklearn.cluster import kmeans_plusplus

        return Outcome(kmeans_plusplus(X, n_clusters, random_state=seed)[0])

    def default(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        model = self.estimator(n_clusters, random_state=seed).fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_)


class ScikitLearnElkan(ScikitLearn):
    name = "sklearn-elkan"
    title = "scikit-learn elkan"
    algorithm = "elkan"
    comparable_seeding = False
    seed_note = "the seeding of scikit-learn, measured in its own row"

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        raise LookupError(self.seed_note)

    def default(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        model = self.estimator(n_clusters, random_state=seed, algorithm="elkan").fit(X)
        return Outcome(model.cluster_centers_, model.n_iter_)


class SklearnEx(ScikitLearn):
    name = title = "sklearnex"
    distribution = "scikit-learn-intelex"
    comparable_seeding = False
    seed_note = "no k-means++ of its own to call without a fit"

    def load(self) -> None:
        from sklearnex.cluster import KMeans

        self.estimator = KMeans

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        raise LookupError(self.seed_note)


class Faiss(System):
    name = "faiss"
    title = "FAISS"
    distribution = "faiss-cpu"
    note = "returns no labels: no final assignment in its time"
    seed_note = "plain k-means++, one candidate a step where the others try 2 + ln k"

    def load(self) -> None:
        import faiss

        self.faiss = faiss

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        n_clusters, n_features = start.shape
        clustering = self.faiss.Clustering(n_features, n_clusters)
        clustering.niter = max_iter
        clustering.max_points_per_centroid = 10**9
        clustering.min_points_per_centroid = 1
        self.faiss.copy_array_to_vector(start.ravel(), clustering.centroids)
        clustering.train(X, self.faiss.IndexFlatL2(n_features))
        centers = self.faiss.vector_to_array(clustering.centroids).reshape(n_clusters, n_features)
        return Outcome(centers, clustering.iteration_stats.size())

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        chooser = self.faiss.ClusteringInitialization(X.shape[1], n_clusters)
        chooser.method = self.faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
        chooser.seed = seed
        centers = np.empty((n_clusters, X.shape[1]), dtype=np.float32)
        chooser.init_centroids(len(X), self.faiss.swig_ptr(X), self.faiss.swig_ptr(centers))
        return Outcome(centers)


class FaissSuper(Faiss):
    name = "faiss-super"
    title = "FAISS SuperKmeans"
    takes_start = False
    note = "own random start, prunes by a probabilistic test, returns no labels; needs d >= 32"
    seed_note = "the seeding of FAISS, measured in its own row"

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        if X.shape[1] < 32:
            raise LookupError("needs d >= 32")
        model = self.faiss.SuperKmeans(
            X.shape[1], len(start), niter=max_iter, max_points_per_centroid=10**9, min_points_per_centroid=1
        )
        model.train(X)
        return Outcome(model.centroids, len(model.obj))

    def seed(self, X: np.ndarray, n_clusters: int, seed: int) -> Outcome:
        raise LookupError(self.seed_note)


class SuperKMeans(System):
    name = title = distribution = "superkmeans"
    takes_start = False
    note = "own random start, prunes by a probabilistic test, returns no labels"
    seed_note = "random rows only"

    def load(self) -> None:
        from superkmeans import SuperKMeans as Estimator

        self.estimator = Estimator

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        model = self.estimator(
            len(start),
            X.shape[1],
            hierarchical=False,
            iters=max_iter,
            sampling_fraction=1.0,
            max_points_per_cluster=10**7,
            early_termination=False,
            tol=0,
            n_threads=self.n_threads,
        )
        return Outcome(model.train(X), len(model.iteration_stats) or None)


class MlPack(System):
    name = title = distribution = "mlpack"
    note = "float64, one thread"
    seed_note = "no k-means++ to call without a fit"
    warm_rows = 4096

    def load(self) -> None:
        import mlpack

        self.mlpack = mlpack

    def prepare(self, X: np.ndarray) -> np.ndarray:
        return X.astype(np.float64)

    def fit(
        self, X: np.ndarray, start: np.ndarray, max_iter: int, n_threads: int | None = None, tol: float = 0.0
    ) -> Outcome:
        own_start = start.astype(np.float64)  # mlpack iterates in the caller's array
        found = self.mlpack.kmeans(
            input_=X,
            clusters=len(start),
            initial_centroids=own_start,
            max_iterations=max_iter,
            algorithm="naive",
            labels_only=True,
        )
        return Outcome(np.array(found["centroid"]))


class NumPyProduct(System):
    """Not a k-means: the machine's matrix product, the yardstick of task pass."""

    name = "numpy"
    title = "NumPy sgemm"
    distribution = "numpy"


SYSTEMS: dict[str, Callable[[int], System]] = {
    each.name: each
    for each in (
        FastKMeans,
        FastKMeansLloyd,
        ScikitLearn,
        ScikitLearnElkan,
        SklearnEx,
        Faiss,
        SuperKMeans,
        MlPack,
        FaissSuper,
        NumPyProduct,
    )
}
DEFAULT_SYSTEMS = ("fastkmeans", "sklearn", "sklearn-elkan", "sklearnex", "faiss", "superkmeans", "mlpack")
