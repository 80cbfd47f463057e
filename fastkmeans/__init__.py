"""fastkmeans: exact k-means on NumPy and Numba; the answer depends on the data and the seed, to the bit.

The public names are loaded when they are first asked for, so that ``import fastkmeans`` costs next to nothing: it reads
neither NumPy nor Numba. The estimators are in ``fastkmeans.estimators``, the command line is ``python -m fastkmeans``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastkmeans.bisecting import BisectingKMeans
    from fastkmeans.choose import choose_k
    from fastkmeans.diagnosis import diagnose
    from fastkmeans.estimators import KMeans, k_means
    from fastkmeans.minibatch import MiniBatchKMeans
    from fastkmeans.quality import silhouette, simplified_silhouette
    from fastkmeans.starts import kmeans_plusplus

__version__ = "0.1.0"

__all__ = [
    "BisectingKMeans",
    "KMeans",
    "MiniBatchKMeans",
    "__version__",
    "choose_k",
    "diagnose",
    "k_means",
    "kmeans_plusplus",
    "silhouette",
    "simplified_silhouette",
]

_HOME = {  # public name -> the module that defines it
    "BisectingKMeans": "fastkmeans.bisecting",
    "KMeans": "fastkmeans.estimators",
    "MiniBatchKMeans": "fastkmeans.minibatch",
    "choose_k": "fastkmeans.choose",
    "diagnose": "fastkmeans.diagnosis",
    "k_means": "fastkmeans.estimators",
    "kmeans_plusplus": "fastkmeans.starts",
    "silhouette": "fastkmeans.quality",
    "simplified_silhouette": "fastkmeans.quality",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
