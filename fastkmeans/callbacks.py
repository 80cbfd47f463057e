"""Callbacks for ``KMeans(callback=...)``: a progress bar, a time limit, a record of what happened.

A callback is any callable that takes one argument, a named tuple ``(restart, iteration, inertia, shift, changed,
algorithm, seconds)``, and ends the fit by returning True. Those made here notice when a new fit begins, so one can
serve several fits, one after the other; scikit-learn's ``clone`` copies them.
"""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastkmeans.solver import Progress


def _begins(step: "Progress") -> bool:
    """Whether this is the first iteration of a fit."""
    return step.restart == 0 and step.iteration == 1


class record:
    """Keep what every iteration reported.

    Attributes
    ----------
    steps : list of Progress
        Those of the last fit, of all its restarts.

    Examples
    --------
    >>> from fastkmeans import KMeans
    >>> from fastkmeans.callbacks import record
    >>> kept = record()
    >>> X = [[0.0], [1.0], [9.0], [10.0]]
    >>> model = KMeans(2, init=[[0.0], [1.0]], tol=0, callback=kept).fit(X)
    >>> [(step.iteration, round(step.inertia, 2), step.changed) for step in kept.steps]
    [(1, 145.0, 4), (2, 17.56, 1), (3, 1.0, 0)]
    """

    def __init__(self) -> None:
        self.steps: list[Progress] = []

    def __call__(self, step: "Progress") -> bool:
        if _begins(step):
            self.steps = []
        self.steps.append(step)
        return False

    def __repr__(self) -> str:
        return "record()"


class stop_after:
    """End a fit that takes longer than some seconds, with the centers it has then.

    It is asked between iterations, so a fit takes one iteration longer than that at most; the time before the first
    iteration does not count. **Where it ends a fit depends on the speed of the machine, so it voids the promise that
    the same data and seed give the same result.**

    Parameters
    ----------
    seconds : float
        From the beginning of the first iteration.

    Examples
    --------
    >>> from fastkmeans import KMeans
    >>> from fastkmeans.callbacks import stop_after
    >>> X = [[0.0], [1.0], [9.0], [10.0]]
    >>> model = KMeans(2, init=[[0.0], [1.0]], tol=0, callback=stop_after(0.0)).fit(X)
    >>> model.n_iter_, model.converged_
    (1, False)
    """

    def __init__(self, seconds: float) -> None:
        if not seconds >= 0.0:
            raise ValueError(f"seconds must be at least 0, got {seconds!r}.")
        self.seconds = seconds
        self._end = 0.0

    def __call__(self, step: "Progress") -> bool:
        now = time.perf_counter()
        if _begins(step):
            self._end = now - step.seconds + self.seconds
        return now >= self._end

    def __repr__(self) -> str:
        return f"stop_after({self.seconds!r})"


class progress:
    """Show a progress bar, one line for each restart: iterations, inertia, rows that changed.

    Needs the extra ``progress`` (tqdm).

    Parameters
    ----------
    **options : dict
        Passed on to ``tqdm.auto.tqdm``, such as ``file=`` or ``disable=``.

    Examples
    --------
    >>> from fastkmeans import KMeans
    >>> from fastkmeans.callbacks import progress
    >>> bar = progress(disable=True)
    >>> KMeans(2, random_state=0, callback=bar).fit([[0.0], [1.0], [9.0], [10.0]]).inertia_
    1.0
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._bar: Any = None
        _bars()  # says what is missing now, not in the middle of a fit

    def __call__(self, step: "Progress") -> bool:
        if self._bar is None or step.iteration == 1:
            self.close()
            options = {"desc": f"restart {step.restart}", "unit": " iterations", **self.options}
            self._bar = _bars()(**options)
        self._bar.set_postfix(inertia=f"{step.inertia:.6g}", changed=step.changed, refresh=False)
        self._bar.update()
        if step.changed == 0:
            self.close()
        return False

    def close(self) -> None:
        """End the line; a new fit does so by itself."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self.options, "_bar": None}

    def __repr__(self) -> str:
        return f"progress({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def _bars() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "progress() needs tqdm, which is not installed: pip install 'fastkmeans-numba[progress]'"
        ) from error
    return tqdm
