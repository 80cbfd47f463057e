"""A sweep over the number of clusters: fits for several k that share the data and help each other.

The data is looked at once, and each fit starts from the one before: the clusters that lose most inertia when cut in two
are cut (see `fastkmeans.refine`), which also proposes the swaps that lead out of local minima. Where there are many
rows a fit is first made on a few of them, and the iterations on more begin where that one ended, those on all rows at
last. Every result is a fixed point of Lloyd's iteration on all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import seeding
from .data import Data
from .refine import Sample, Splits, refine, sample
from .solver import FitResult, Solver

THINNING = 4
FEWEST_ROWS = 1 << 15
FEWEST_ROWS_PER_CLUSTER = 1024


def sweep(
    data: Data, ks: Sequence[int], seed: np.random.SeedSequence, *, max_iter: int = 300, tol: float = 1e-4
) -> Iterator[FitResult]:
    """Fit for each k in turn.

    Parameters
    ----------
    data : Data
    ks : sequence of int
        Ascending numbers of clusters.
    seed : SeedSequence
        Of the first fit's k-means++; the others draw nothing.
    max_iter : int
        Most iterations of one run.
    tol : float
        As for `fastkmeans.KMeans`.

    Yields
    ------
    result : FitResult
        One for each k.
    """
    solvers = [Solver(part, algorithm="auto", max_iter=max_iter, tol=tol, verbose=0) for part in thinned(data, max(ks))]
    coarse = solvers[0]
    own_sample = Sample(coarse.data, 1, 1.0)
    centers: NDArray[Any] | None = None
    cuts: Splits | None = None
    for k in ks:
        while True:
            if centers is None or cuts is None:
                start = seeding.initial_centers(coarse.data, k, "k-means++", seed, None)
            else:
                start = seeding.Start(grown(centers, cuts, k))
            run, cuts = refine(coarse, coarse.run(*start), own_sample)
            centers = run.centers
            if len(centers) == k:
                break
        for solver in solvers[1:-1]:
            centers = solver.descend(centers).centers
        if len(solvers) > 1:
            run = solvers[-1].run(centers)
            centers = run.centers
        yield FitResult(
            run.centers, run.labels, run.inertia.value, run.n_iter, run.converged, run.history, run.cluster_weights, 0
        )


def thinned(data: Data, n_clusters: int) -> list[Data]:
    """The data and ever fewer of its rows, every fourth from one to the next, the fewest first."""
    levels = [data]
    fewest = max(FEWEST_ROWS, FEWEST_ROWS_PER_CLUSTER * n_clusters)
    while levels[0].n // THINNING >= fewest:
        part = sample(levels[0], THINNING)
        if part.step == 1:  # what is left has no weight
            break
        levels.insert(0, part.data)
    return levels


def grown(centers: NDArray[Any], cuts: Splits, n_clusters: int) -> NDArray[Any]:
    """More centers, up to `n_clusters`: the clusters with the highest gains are cut, each once."""
    chosen = np.argsort(-cuts.gains, kind="stable")[: n_clusters - len(centers)]
    more = np.vstack([centers, cuts.second[chosen]]).astype(centers.dtype)
    more[chosen] = cuts.first[chosen]
    return more
