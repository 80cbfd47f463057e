"""What makes a class an estimator, and what makes it one that clusters: the one class hierarchy of the package.

`Estimator` has parameters, repr, pickling and feature names; `Clusterer` adds what is the same in every estimator with
centers, `predict`, `transform`, `score` and the like.

scikit-learn's conventions, written out by hand, so that estimators work in its pipelines and searches while neither
importing the package nor fitting needs scikit-learn. No class here derives from one of scikit-learn's. Nothing here
does arithmetic or looks at data.
"""

import inspect
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastkmeans
from fastkmeans.conventions import (
    UNCHANGED,
    check_container,
    check_routing_is_enabled,
    html_of,
    is_plain,
    metadata_request,
    setting,
    short_text,
    wrap_output,
)
from fastkmeans.exceptions import not_fitted_error, warn_user

if TYPE_CHECKING:
    from fastkmeans.points import Points

_VERSION_KEY = "_fastkmeans_version"


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
            if value is default or (type(value) is type(default) and is_plain(value) and value == default):
                continue
            given.append(f"{name}={short_text(value)}")
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
        if hasattr(self, "metric"):
            self._fitted_metric = self.metric
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

    # -- in notebooks -------------------------------------------------------------------------------------------------
    def _repr_html_(self) -> str:
        """The class name, which unfolds to a table of all parameters."""
        params = {name: short_text(getattr(self, name, p.default)) for name, p in self._parameters().items()}
        return html_of(type(self).__name__, params, "n_features_in_" in self.__dict__)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """What Jupyter asks for: no HTML where scikit-learn's setting ``display`` says "text"."""
        output = {"text/plain": repr(self)}
        if setting("display", "diagram") == "diagram":
            output["text/html"] = self._repr_html_()
        return output


class Clusterer(Estimator):
    """Base of every estimator with centers; a subclass says how it is fitted, in `_fit`."""

    cluster_centers_: NDArray[np.floating[Any]]
    labels_: NDArray[np.int32]
    inertia_: float
    n_threads: int | None
    _weighted_methods: tuple[str, ...] = ("fit", "score")  # those with a parameter sample_weight

    # -- what users call ----------------------------------------------------------------------------------------------
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : array-like, sparse matrix or frame of shape (n_samples, n_features)
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
            For objects in the data that are no numbers.
        """
        self._fit(X, sample_weight)
        return self

    def _fit(self, X: Any, sample_weight: ArrayLike | None) -> "Points":
        """All of `fit`; returns the validated data. Attributes change only when everything has succeeded."""
        raise TypeError("a kind of clusterer is fitted in its own way")

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
        return self._assign(self._checked(X))

    def transform(self, X: Any) -> NDArray[np.floating[Any]]:
        """Distance of each row of X to each center: Euclidean, or 1 - cosine if that is the metric.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            As for `predict`.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            float32 when X and the training data both call for float32 centers, else float64. Computed as differences,
            so exactly 0 for a row that equals a center (squares of differences below 1e-154 underflow). Those of sparse
            data equal those of its dense form up to rounding.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.
        """
        return self._wrapped(self._transform(self._checked(X), self.n_threads), X)

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
        from fastkmeans import threads

        points, n_threads = self._fit(X, sample_weight), self.n_threads
        if n_threads is not None:
            n_threads = min(n_threads, threads.pool_size())  # the fit has warned of more
        return self._wrapped(self._transform(points, n_threads), X)

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
        from fastkmeans import solver
        from fastkmeans.weights import as_weights

        points = self._checked(X)
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

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` and `fit_transform` return.

        Parameters
        ----------
        transform : {'default', 'pandas', 'polars'} or None, default=None
            An array, or a frame whose columns have the names of `get_feature_names_out`. None changes nothing: what
            scikit-learn is set to holds if it is loaded, else an array is returned.

        Returns
        -------
        self : estimator
            This estimator.
        """
        if transform is not None:
            check_container(transform)
            self._sklearn_output_config = {"transform": transform}  # the name under which clones keep it
        return self

    # -- what scikit-learn asks ---------------------------------------------------------------------------------------
    def get_metadata_routing(self) -> Any:
        """Which methods want `sample_weight` when scikit-learn routes metadata; for its use.

        Returns
        -------
        request : sklearn.utils.metadata_routing.MetadataRequest
            A copy.
        """
        return metadata_request(type(self).__name__, getattr(self, "_metadata_request", None), self._weighted_methods)

    def set_fit_request(self, *, sample_weight: bool | str | None = UNCHANGED) -> Self:
        """Say whether scikit-learn's pipelines and searches are to pass `sample_weight` to `fit`.

        Parameters
        ----------
        sample_weight : bool, str or None
            True passes it, False does not, None makes passing it an error, a string is the name that it has outside.

        Returns
        -------
        self : estimator
            This estimator.
        """
        return self._set_request("fit", sample_weight)

    def set_score_request(self, *, sample_weight: bool | str | None = UNCHANGED) -> Self:
        """Say whether scikit-learn's searches are to pass `sample_weight` to `score`; see `set_fit_request`.

        Parameters
        ----------
        sample_weight : bool, str or None
            As for `set_fit_request`.

        Returns
        -------
        self : estimator
            This estimator.
        """
        return self._set_request("score", sample_weight)

    def _set_request(self, method: str, sample_weight: bool | str | None) -> Self:
        check_routing_is_enabled()
        request = self.get_metadata_routing()
        if sample_weight != UNCHANGED:
            getattr(request, method).add_request(param="sample_weight", alias=sample_weight)
        self._metadata_request = request  # the name under which clones keep it
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator about itself. Only scikit-learn calls this, so it can be imported."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
            input_tags=InputTags(sparse=True),
        )

    # -- data and centers ---------------------------------------------------------------------------------------------
    def _checked(self, X: Any) -> "Points":
        """New data, which must have the features that `fit` saw."""
        self._check_is_fitted()
        from fastkmeans.points import as_points, check_features

        points = as_points(X, estimator=type(self).__name__)
        check_features(points, *self._seen_features())
        fitted, now = getattr(self, "_fitted_metric", None), getattr(self, "metric", None)
        if fitted is not None and fitted != now:
            raise ValueError(
                f"metric is {now!r} now, but this {type(self).__name__} was fitted with {fitted!r}: call 'fit' again, "
                "or set it back."
            )
        return self._seen_by_metric(points)

    def _seen_by_metric(self, points: "Points") -> "Points":
        """The data as the parameter `metric` sees it."""
        if getattr(self, "metric", "euclidean") == "euclidean":
            return points
        from fastkmeans.cosine import as_directions

        return as_directions(points, type(self).__name__)

    def _centers(self) -> NDArray[np.floating[Any]]:
        """The centers in C order, whatever a user or an unpickler has put in `cluster_centers_`."""
        return np.ascontiguousarray(self.cluster_centers_)

    def _assign(self, points: "Points") -> NDArray[np.int32]:
        from fastkmeans import solver

        return solver.predict(points, self._centers(), n_threads=self.n_threads)

    def _transform(self, points: "Points", n_threads: int | None) -> NDArray[np.floating[Any]]:
        from fastkmeans import solver

        return solver.transform(points, self._centers(), n_threads=n_threads)

    def _wrapped(self, values: NDArray[Any], X: Any) -> Any:
        """The output of `transform` as `set_output` or scikit-learn's setting wants it."""
        chosen = getattr(self, "_sklearn_output_config", {}).get("transform")
        container = setting("transform_output", "default") if chosen is None else chosen
        return values if container == "default" else wrap_output(values, container, self.get_feature_names_out(), X)


def _has_params(value: object) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "set_params") and not isinstance(value, type)
