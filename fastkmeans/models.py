"""Model files: a fitted clustering kept for good, as a .npz without pickle and with a format version.

Loading one runs no code from the file, and a file of version 1 can be loaded by every later release. The command
line's ``fit --model`` writes them and ``predict`` reads them.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

import fastkmeans
from fastkmeans.files import written_whole

if TYPE_CHECKING:
    from fastkmeans.estimators import KMeans

FORMAT = "fastkmeans model"
VERSION = 1  # raised only when an older release could not read the file rightly
_NOT_KEPT = {"copy_x", "n_threads", "verbose"}  # about the machine or the session, not about the model
_DAMAGE = (
    ValueError,
    KeyError,
    OSError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, eq=False)
class Model:
    """What a fitted `KMeans` needs in order to predict, and how it came about.

    Parameters
    ----------
    centers : ndarray of shape (k, d), float32 or float64
        Finite centers in label order.
    cluster_weights : ndarray of shape (k,), float64
        Total weight of the rows of each cluster; their number where no weights were given.
    inertia : float
        Weighted sum of squared distances of the training rows to their centers.
    n_iter : int
        Iterations of the best restart.
    feature_names : list of d str, optional
        Names of the features, where the data had them.
    params : dict
        Parameters of the estimator that are plain values (numbers, strings, None).
    """

    centers: np.ndarray
    cluster_weights: np.ndarray
    inertia: float
    n_iter: int
    feature_names: list[str] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_estimator(cls, estimator: KMeans, feature_names: list[str] | None = None) -> Model:
        """Take over a fitted estimator.

        Parameters
        ----------
        estimator : KMeans
            A fitted one.
        feature_names : list of d str, optional
            Names of the features. Default: ``estimator.feature_names_in_`` where it exists.

        Returns
        -------
        model : Model
            Shares its arrays with the estimator.
        """
        if feature_names is None and hasattr(estimator, "feature_names_in_"):
            feature_names = [str(name) for name in estimator.feature_names_in_]
        params = {
            name: value
            for name, value in estimator.get_params(deep=False).items()
            if name not in _NOT_KEPT and (value is None or type(value) in (str, int, float, bool))
        }
        return cls(
            centers=estimator.cluster_centers_,
            cluster_weights=estimator.cluster_weights_,
            inertia=float(estimator.inertia_),
            n_iter=int(estimator.n_iter_),
            feature_names=feature_names,
            params=params,
        )

    def to_estimator(self) -> KMeans:
        """A fitted `KMeans` with these centers, ready to predict; it has no ``labels_``.

        Returns
        -------
        estimator : KMeans
            Its ``predict`` gives the labels that the saved estimator's gave, to the bit.
        """
        from fastkmeans.estimators import KMeans

        estimator = KMeans(n_clusters=len(self.centers))
        known = estimator.get_params(deep=False)
        estimator.set_params(**{name: value for name, value in self.params.items() if name in known})
        estimator.cluster_centers_ = self.centers
        estimator.cluster_weights_ = self.cluster_weights
        estimator.inertia_ = self.inertia
        estimator.n_iter_ = self.n_iter
        estimator.n_features_in_ = self.centers.shape[1]
        if self.feature_names is not None:
            estimator.feature_names_in_ = np.array(self.feature_names, dtype=object)
        return estimator


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model file; the same model gives the same bytes, and a failure leaves what was there.

    Parameters
    ----------
    path : str or path-like
        The file, by custom ending in .npz.
    model : Model
        What to keep.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastkmeans import KMeans
    >>> fitted = KMeans(n_clusters=2, random_state=0).fit([[0.0], [0.2], [5.0], [5.2]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     save_model(path, Model.from_estimator(fitted))
    ...     again = load_model(path).to_estimator()
    >>> bool((again.predict([[1.0], [4.0]]) == fitted.predict([[1.0], [4.0]])).all())
    True
    """
    with written_whole(path) as stream:
        dump_model(stream, model)


def dump_model(stream: BinaryIO, model: Model) -> None:
    """Write a model to a binary stream, as `save_model` does to a file."""
    entries: dict[str, Any] = {
        "format": np.array(FORMAT),
        "version": np.int64(VERSION),
        "written_by": np.array(f"fastkmeans {fastkmeans.__version__}"),
        "centers": model.centers,
        "cluster_weights": np.asarray(model.cluster_weights, dtype=np.float64),
        "inertia": np.float64(model.inertia),
        "n_iter": np.int64(model.n_iter),
        "feature_names": np.array(json.dumps(model.feature_names)),
        "params": np.array(json.dumps(dict(model.params), sort_keys=True)),
    }
    np.savez(stream, **entries)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Parameters
    ----------
    path : str or path-like
        A file that `save_model` wrote, in this or an earlier release.

    Returns
    -------
    model : Model
        What was kept.

    Raises
    ------
    ValueError
        When the file is damaged, is something else, or was written in a newer format.
    OSError
        When the file cannot be read.
    """
    shown = os.fspath(path)
    with open(path, "rb") as stream:
        magic = stream.read(2)
        if magic not in (b"PK", b"\x93N"):  # neither archive nor array: NumPy would take it for a pickle
            raise ValueError(f"{shown}: not a fastkmeans model file (no .npz archive)")
        stream.seek(0)
        try:
            archive = np.load(stream, allow_pickle=False)
        except _DAMAGE as error:
            raise ValueError(f"{shown}: not a fastkmeans model file, or damaged ({error})") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"{shown}: not a fastkmeans model file (it holds a single array)")
        if "format" not in archive.files or "version" not in archive.files:
            raise ValueError(f"{shown}: not a fastkmeans model file (an archive of other arrays)")
        try:
            kind, version = str(archive["format"][()]), int(archive["version"][()])
            if kind != FORMAT:
                raise ValueError(f"its format is {kind!r}")
            if version <= VERSION:
                return _model(archive)
        except (*_DAMAGE, TypeError) as error:
            raise ValueError(f"{shown}: damaged, or not a fastkmeans model file ({error})") from error
    raise ValueError(
        f"{shown}: written in model format {version}, newer than this release reads ({VERSION});"
        " upgrade fastkmeans-numba"
    )


def _model(archive: np.lib.npyio.NpzFile) -> Model:
    """The entries of a version-1 archive, each checked; ValueError says which one is wrong."""
    centers = archive["centers"]
    if centers.ndim != 2 or 0 in centers.shape or centers.dtype.newbyteorder("=") not in (np.float32, np.float64):
        raise ValueError(f"centers have shape {centers.shape} and dtype {centers.dtype}")
    weights = archive["cluster_weights"]
    if weights.shape != centers.shape[:1] or weights.dtype.newbyteorder("=") != np.float64:
        raise ValueError(f"cluster_weights have shape {weights.shape} and dtype {weights.dtype}")
    if not np.isfinite(centers).all() or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("a center or a weight is not finite, or a weight is negative")
    names, params = (json.loads(str(archive[entry][()])) for entry in ("feature_names", "params"))
    if names is not None and (
        not isinstance(names, list)
        or len(names) != centers.shape[1]
        or not all(isinstance(name, str) for name in names)
    ):
        raise ValueError(f"feature_names are not {centers.shape[1]} names")
    if not isinstance(params, dict):
        raise ValueError("params are not a mapping")
    inertia, n_iter = float(archive["inertia"][()]), int(archive["n_iter"][()])
    if not inertia >= 0 or n_iter < 0:
        raise ValueError("inertia or n_iter is negative")
    return Model(
        centers=np.ascontiguousarray(centers, dtype=centers.dtype.newbyteorder("=")),
        cluster_weights=np.ascontiguousarray(weights, dtype=np.float64),
        inertia=inertia,
        n_iter=n_iter,
        feature_names=names,
        params=params,
    )
