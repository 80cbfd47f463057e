"""Swap moves: the gain and cost formulas, that they find planted clusters, and that they never make things worse."""

import numpy as np
import pytest

from fastkmeans import KMeans, refine
from fastkmeans.data import Data
from fastkmeans.points import as_points
from fastkmeans.solver import Run


def planted(k, per_cluster, spacing, *, unbalanced=False, seed=1):
    """Gaussians of unit width on a square grid, the true centers and labels."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(k)))
    centers = spacing * np.array([(i, j) for i in range(side) for j in range(side)], dtype=float)[:k]
    sizes = np.where(rng.random(k) < 0.5, per_cluster // 3, 3 * per_cluster) if unbalanced else np.full(k, per_cluster)
    labels = np.repeat(np.arange(k), sizes)
    return centers[labels] + rng.normal(size=(len(labels), 2)), centers


def finds(model, centers):
    distances = np.sqrt(((model.cluster_centers_[:, None] - centers[None]) ** 2).sum(axis=2))
    return len(set(distances.argmin(axis=1))) == len(centers) and distances.min(axis=1).max() < 1


def sum_of_squares(X):
    return ((X - X.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("unbalanced", [False, True])
def test_the_planted_clusters_are_found(unbalanced):
    k = 36 if unbalanced else 100
    X, centers = planted(k, 40, 10, unbalanced=unbalanced)
    plain = [KMeans(k, random_state=seed).fit(X) for seed in range(12)]
    better = [KMeans(k, random_state=seed, refine="swap").fit(X) for seed in range(12)]
    assert sum(finds(model, centers) for model in plain) <= 7, "else this shows nothing"
    assert all(finds(model, centers) for model in better)
    for a, b in zip(plain, better, strict=True):
        assert b.inertia_ <= a.inertia_
        assert b.n_iter_ == len(b.history_) >= a.n_iter_
        np.testing.assert_array_equal(b.labels_, b.predict(X))
        assert b.inertia_ == -b.score(X)


def test_gain_and_cost_are_the_change_of_the_inertia():
    X, _ = planted(9, 30, 4)
    model = KMeans(7, random_state=0).fit(X)
    cuts = refine.splits(Data(as_points(X), None, 1), model.cluster_centers_, model.labels_)
    costs, partners = refine.cheapest_fusions(model.cluster_centers_, model.cluster_weights_)
    for c in range(7):
        mine = X[model.labels_ == c]
        parts = ((mine[:, None] - np.stack([cuts.first[c], cuts.second[c]])[None]) ** 2).sum(axis=2).min(axis=1).sum()
        gain = sum_of_squares(mine) - parts  # of rows at the nearer part: where halving has ended, or a little more
        assert 0.9 * gain <= cuts.gains[c] <= gain * (1 + 1e-6)
        others = [X[model.labels_ == o] for o in range(7)]
        fused = [sum_of_squares(np.vstack([mine, o])) - sum_of_squares(mine) - sum_of_squares(o) for o in others]
        fused[c] = np.inf
        assert partners[c] == np.argmin(fused)
        np.testing.assert_allclose(costs[c], min(fused), rtol=1e-9)


def test_no_cluster_takes_part_in_two_swaps():
    centers = np.array([[0.0], [1.0], [2.5], [100.0], [200.0]])
    weights = np.full(5, 10.0)
    run = Run(centers, None, None, 1, True, [], weights)
    second = centers + [[0.0], [0.0], [0.0], [7.0], [9.0]]
    gains = np.array([0.1, 0.2, 0.3, 1000.0, 900.0])
    new = refine.swapped(run, refine.Splits(gains, centers, second))
    # 3 is cut and 0 fused with 1; 2 can't be fused with 1 any more, so 4 stays whole
    np.testing.assert_array_equal(new, [[0.5], [100.0], [2.5], [107.0], [200.0]])
    gains[3] = 4.0  # less than it costs to fuse 0 and 1
    assert refine.swapped(run, refine.Splits(np.minimum(gains, 4.0), centers, second)) is None


@pytest.mark.parametrize("kind", ["uniform", "duplicates", "outlier", "weighted", "float32", "one", "two", "n"])
def test_never_worse_and_always_the_same(kind):
    rng = np.random.default_rng(3)
    X, k, weights = rng.random((400, 3)), 12, None
    if kind == "duplicates":
        X, k = rng.integers(0, 3, (400, 2)).astype(float), 8
    elif kind == "outlier":
        X[17] = 1e9
    elif kind == "weighted":
        weights = rng.integers(0, 4, 400) / 7
    elif kind == "float32":
        X = X.astype(np.float32)
    elif kind in ("one", "two"):
        k = 1 if kind == "one" else 2
    elif kind == "n":
        X, k = X[:12], 12
    for seed in range(3):
        plain = KMeans(k, random_state=seed).fit(X, sample_weight=weights)
        first = KMeans(k, random_state=seed, refine="swap", n_threads=1).fit(X, sample_weight=weights)
        again = KMeans(k, random_state=seed, refine="swap", n_threads=2).fit(X, sample_weight=weights)
        assert first.inertia_ <= plain.inertia_
        assert first.cluster_centers_.tobytes() == again.cluster_centers_.tobytes()
        np.testing.assert_array_equal(first.labels_, again.labels_)
        assert first.n_iter_ == again.n_iter_
    assert first.cluster_centers_.dtype == plain.cluster_centers_.dtype


def test_integer_weights_are_repetition():
    X, _ = planted(9, 20, 6)
    weights = np.random.default_rng(0).integers(1, 4, len(X))
    start = X[:9]
    weighted = KMeans(9, init=start, refine="swap").fit(X, sample_weight=weights)
    repeated = KMeans(9, init=start, refine="swap").fit(np.repeat(X, weights, axis=0))
    assert weighted.cluster_centers_.tobytes() == repeated.cluster_centers_.tobytes()
    assert weighted.inertia_ == repeated.inertia_ < KMeans(9, init=start).fit(X, sample_weight=weights).inertia_


def test_a_sample_proposes_and_all_rows_decide(monkeypatch):
    X, centers = planted(16, 200, 10)
    X = X[np.random.default_rng(0).permutation(len(X))]
    bad = np.vstack([centers[:15], centers[:1] + 0.5])
    monkeypatch.setattr(refine, "SAMPLE_ROWS", 400)
    monkeypatch.setattr(refine, "SAMPLE_ROWS_PER_CLUSTER", 25)
    for weights in (None, np.full(len(X), 2.5)):
        data = Data(as_points(X), weights, 1)
        some = refine.sample(data, 8)
        assert (some.step, some.data.n, some.factor) == (8, 400, 8.0)
        plain = KMeans(16, init=bad).fit(X, sample_weight=weights)
        gains = some.splits(plain.cluster_centers_, some.labels(plain.labels_)).gains
        whole = refine.splits(data, plain.cluster_centers_, plain.labels_).gains
        assert gains.argmax() == whole.argmax()
        np.testing.assert_allclose(gains.max(), whole.max(), rtol=0.3)
        model = KMeans(16, init=bad, refine="swap").fit(X, sample_weight=weights)
        assert not finds(plain, centers)
        assert finds(model, centers)
    nothing = np.zeros(len(X))
    nothing[1] = 1.0  # outside the sample
    assert refine.sample(Data(as_points(X), nothing, 1), 8).step == 1


def test_only_swap_or_none():
    with pytest.raises(ValueError, match=r"The 'refine' parameter of KMeans must be a str among {'swap'} or None"):
        KMeans(2, refine="anneal").fit([[0.0], [1.0]])
