"""What programs around scikit-learn ask of an estimator beyond its parameters: containers, routing, notebooks.

Frames as output (`wrap_output`), which methods want weights (`metadata_request`), how an estimator looks in a notebook
(`html_of`) and a parameter in a line (`short_text`). scikit-learn is asked about its settings if the running program
has loaded it, and is not needed otherwise.
"""

import html
import reprlib
import sys
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONTAINERS = ("default", "pandas", "polars")
_LONGEST_VALUE = 60  # characters of one parameter in a repr
UNCHANGED = "$UNCHANGED$"  # scikit-learn's default of the set_..._request methods


def setting(name: str, default: object) -> Any:
    """What ``sklearn.get_config()`` says of `name` if scikit-learn is loaded, else `default`; imports nothing."""
    get_config = getattr(sys.modules.get("sklearn"), "get_config", None)
    return default if get_config is None else get_config().get(name, default)


def check_container(container: object) -> None:
    """Raise the ValueError of scikit-learn for a container that `wrap_output` does not know."""
    if container not in CONTAINERS:
        raise ValueError(f"output config must be in {sorted(CONTAINERS)}, got {container}")


def wrap_output(values: NDArray[Any], container: str, names: NDArray[np.object_], X: Any) -> Any:
    """Put an array into the container that was asked for.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_columns)
    container : {'default', 'pandas', 'polars'}
    names : ndarray of str, shape (n_columns,)
        Column names.
    X : object
        The data that `values` belong to; a pandas frame gives its index on.

    Returns
    -------
    wrapped : ndarray or frame
        `values` itself for 'default'.

    Raises
    ------
    ImportError
        If the library of the container is not installed.
    ValueError
        For a container of another name.
    """
    check_container(container)
    if container == "default":
        return values
    try:
        library = import_module(container)
    except ImportError as error:
        raise ImportError(
            f"Setting output container to '{container}' requires {container} to be installed: pip install {container}"
        ) from error
    if container == "polars":
        return library.DataFrame(values, schema=names.tolist(), orient="row")
    index = X.index if isinstance(X, library.DataFrame | library.Series) else None
    return library.DataFrame(values, index=index, columns=names, copy=False)


def metadata_request(owner: str, kept: Any, methods: tuple[str, ...]) -> Any:
    """A copy of what an estimator has said about routing, or that its `methods` take ``sample_weight``.

    Called by scikit-learn, so scikit-learn can be imported.

    Parameters
    ----------
    owner : str
        Name of the estimator's class.
    kept : MetadataRequest or None
        What the set_..._request methods have made of it.
    methods : tuple of str
        Methods that have a parameter ``sample_weight``.

    Returns
    -------
    request : sklearn.utils.metadata_routing.MetadataRequest
    """
    from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

    if kept is not None:
        return get_routing_for_object(kept)
    request = MetadataRequest(owner=owner)
    for method in methods:
        getattr(request, method).add_request(param="sample_weight", alias=None)
    return request


def check_routing_is_enabled() -> None:
    """Raise scikit-learn's RuntimeError unless its metadata routing is switched on."""
    if not setting("enable_metadata_routing", False):
        raise RuntimeError(
            "This method is only available when metadata routing is enabled."
            " You can enable it using sklearn.set_config(enable_metadata_routing=True)."
        )


def html_of(name: str, params: dict[str, str], fitted: bool) -> str:
    """A class name that unfolds to a table of parameters, without scripts and styles of its own.

    Parameters
    ----------
    name : str
        Of the class.
    params : dict of str
        Parameters and their values as text, in order.
    fitted : bool

    Returns
    -------
    text : str
        HTML.
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th><td style='text-align:left'>"
        f"<code>{html.escape(value)}</code></td></tr>"
        for key, value in params.items()
    )
    state = "fitted" if fitted else "not fitted"
    return f"<details><summary><code>{html.escape(name)}</code> ({state})</summary><table>{rows}</table></details>"


def is_plain(value: object) -> bool:
    """Whether ``==`` on `value` is one cheap truth value."""
    return value is None or isinstance(value, str | bool | int | float)


def short_text(value: object) -> str:
    """`value` on one short line: its repr where that is one, else its type and shape, or a repr cut in the middle."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        text = repr(value) if isinstance(value, np.ndarray) and value.size <= 8 else ""
        if text and "\n" not in text and len(text) <= _LONGEST_VALUE:
            return text
        return f"<{type(value).__name__} of shape {shape}>"
    cutter = reprlib.Repr()
    cutter.maxstring = cutter.maxother = _LONGEST_VALUE
    cutter.maxlist = cutter.maxtuple = 4
    return " ".join(cutter.repr(value).split())
