"""How many clusters: planted ones are found, data without structure is said to have none, formulas hold."""

import numpy as np
import pytest

from fastkmeans import KMeans, choose_k, gap, silhouette, simplified_silhouette
from fastkmeans.choose import sharpness
from fastkmeans.data import Data
from fastkmeans.exceptions import ConvergenceWarning
from fastkmeans.points import as_points
from fastkmeans.sweep import sweep, thinned


def planted(k, d, seed):
    """Gaussians of unit width and unequal sizes, their centers at least 6 apart."""
    rng = np.random.default_rng(seed)
    side = 8 * k ** (1 / d)
    centers = np.empty((0, d))
    while len(centers) < k:
        side *= 1.01
        new = rng.uniform(0, side, d)
        if ((centers - new) ** 2).sum(axis=1).min(initial=np.inf) >= 36:
            centers = np.vstack([centers, new])
    labels = np.repeat(np.arange(k), rng.integers(30, 120, k))
    return centers[labels] + rng.normal(size=(len(labels), d))


@pytest.mark.parametrize("method", ["elbow", "silhouette", "gap"])
def test_xclara_has_three_clusters(xclara, method):
    choice = choose_k(xclara, method=method, random_state=0, n_references=5)
    assert choice.best_k == 3
    assert choice.ks.tolist() == list(range(1, 11))
    assert choice.reason.startswith("k=3 ")
    assert choice.best_model is choice.models[2]
    np.testing.assert_allclose(choice.best_model.inertia_, 611605.8807, rtol=1e-9)
    assert np.isnan(choice.scores[0]) == (method != "gap")
    assert (choice.standard_errors is not None) == (method == "gap")


@pytest.mark.parametrize("method", ["elbow", "silhouette", "gap"])
@pytest.mark.parametrize("k", [3, 5, 8])
@pytest.mark.parametrize("d", [2, 4, 10])
def test_planted_clusters_are_found(method, k, d):
    seeds = range(2) if method == "gap" else range(4)
    found = [choose_k(planted(k, d, s), method=method, random_state=s, n_references=10).best_k for s in seeds]
    assert found == [k] * len(found)


def test_two_close_clusters_far_from_a_third_are_not_one_by_the_silhouette():
    rng = np.random.default_rng(0)
    X = np.repeat([[0.0, 0.0], [7.0, 0.0], [3.5, 20.0]], 100, axis=0) + rng.normal(size=(300, 2))
    choice = choose_k(X, range(1, 6), method="silhouette", random_state=0)
    assert choice.scores[1] > choice.scores[2] > 0.94 * choice.scores[1]  # as one they are a little better
    assert choice.best_k == 3
    assert choice.reason.startswith("k=3 has an average silhouette of 0.")
    assert "near the highest, 0." in choice.reason
    assert choose_k(X, [2, 3], method="silhouette", random_state=0).best_k == 2  # no fall is seen after 3


@pytest.mark.parametrize("d", [2, 10])
def test_no_structure_in_a_square_and_a_cube(d):
    for seed in range(3):
        X = np.random.default_rng(seed).random((300, d))
        choice = choose_k(X, method="gap", random_state=seed)
        assert choice.best_k is None
        assert choice.best_model is None
        assert choice.reason.startswith("No structure: no gap exceeds that of one cluster")
        assert choose_k(X, random_state=seed).reason.startswith("No clear elbow: the sharpest corner is at k=")
    assert choose_k(np.random.default_rng(0).normal(size=(300, 10)), method="silhouette").reason.startswith("No subst")


def test_the_same_again_on_any_number_of_threads(xclara):
    for method in ("elbow", "gap"):
        first = choose_k(xclara, range(1, 6), method, random_state=7, n_references=2, n_threads=1)
        again = choose_k(xclara, range(1, 6), method, random_state=7, n_references=2, n_threads=2)
        other = choose_k(xclara, range(1, 6), method, random_state=8, n_references=2)
        assert first.scores.tobytes() == again.scores.tobytes()
        assert first.inertias.tobytes() == again.inertias.tobytes()
        assert [m.labels_.tobytes() for m in first.models] == [m.labels_.tobytes() for m in again.models]
        assert (first.reason, str(first)) == (again.reason, str(again))
        assert (other.scores.tobytes() != first.scores.tobytes()) == (method == "gap")


def test_silhouettes_are_exact_up_to_a_size_and_simplified_beyond(monkeypatch):
    X = planted(3, 2, 1)
    exact = choose_k(X, [1, 2, 3, 4], "silhouette", random_state=0)
    expected = [silhouette(X, model.labels_).score for model in exact.models[1:]]
    assert exact.scores[1:].tolist() == expected
    monkeypatch.setattr("fastkmeans.choose.EXACT_ROWS", 10)
    simple = choose_k(X, [1, 2, 3, 4], "silhouette", random_state=0)
    expected = [simplified_silhouette(X, m.labels_, m.cluster_centers_).score for m in simple.models[1:]]
    assert simple.scores[1:].tolist() == expected
    assert np.isnan(simple.scores[0])
    assert simple.best_k == exact.best_k == 3


def test_models_are_fitted_fixed_points(xclara):
    import pandas as pd

    choice = choose_k(pd.DataFrame(xclara, columns=["a", "b"]), [2, 3, 7], random_state=0)
    for k, model in zip((2, 3, 7), choice.models, strict=True):
        assert isinstance(model, KMeans)
        assert model.n_clusters == len(model.cluster_centers_) == k
        assert model.feature_names_in_.tolist() == ["a", "b"]
        assert model.inertia_ == -model.score(pd.DataFrame(xclara, columns=["a", "b"]))
        again = KMeans(k, init=model.cluster_centers_).fit(xclara)
        assert again.n_iter_ <= 2
        np.testing.assert_allclose(again.inertia_, model.inertia_, rtol=1e-3)
    assert choice.inertias.tolist() == [model.inertia_ for model in choice.models]


def test_many_rows_begin_on_a_sample(monkeypatch):
    X = planted(6, 3, 0)
    X = X[np.random.default_rng(1).permutation(len(X))]
    whole = list(sweep(Data(as_points(X), None, 1), range(1, 9), np.random.SeedSequence(0)))
    monkeypatch.setattr("fastkmeans.sweep.FEWEST_ROWS", 25)
    monkeypatch.setattr("fastkmeans.sweep.FEWEST_ROWS_PER_CLUSTER", 3)
    data = Data(as_points(X), None, 1)
    assert [part.n for part in thinned(data, 8)] == [-(-len(X) // 16), -(-len(X) // 4), len(X)]
    for a, b in zip(whole, sweep(data, range(1, 9), np.random.SeedSequence(0)), strict=True):
        assert len(b.labels) == len(X)
        np.testing.assert_array_equal(b.labels, KMeans(len(b.centers), init=b.centers, max_iter=1).fit(X).predict(X))
        np.testing.assert_allclose(b.inertia, a.inertia, rtol=0.1)
    assert choose_k(X, random_state=0).best_k == 6


def test_a_jump_in_k_grows_in_steps():
    X = planted(8, 2, 3)
    results = list(sweep(Data(as_points(X), None, 1), [1, 8], np.random.SeedSequence(0)))
    step_by_step = list(sweep(Data(as_points(X), None, 1), range(1, 9), np.random.SeedSequence(0)))
    assert [len(r.centers) for r in results] == [1, 8]
    np.testing.assert_allclose(results[1].inertia, step_by_step[-1].inertia, rtol=1e-9)


def test_sharpness_is_the_ratio_of_falls():
    inertias = np.exp([0.0, -1.0, -3.0, -3.4, -3.4, -4.0])
    expected = [np.nan, (1 / 2) / (2 / 1), 2 / 0.4, 0.4 / (1 / (np.pi * 5 * 2)), 0.0, np.nan]
    np.testing.assert_allclose(sharpness([1, 3, 4, 5, 6, 7], inertias, 2), expected, rtol=1e-12)


def test_gap_is_the_difference_of_logs():
    X = planted(3, 2, 0)
    choice = choose_k(X, [1, 3], "gap", random_state=5, n_references=4)
    of_references = np.random.SeedSequence(5).spawn(2)[1]
    sides = gap.principal_box(as_points(X))
    logs = np.array(
        [
            [
                np.log(result.inertia / len(X))
                for result in sweep(
                    Data(as_points(np.random.Generator(np.random.Philox(a)).random((len(X), 2)) * sides), None, 1),
                    [1, 3],
                    b,
                )
            ]
            for a, b in (child.spawn(2) for child in of_references.spawn(4))
        ]
    )
    np.testing.assert_allclose(choice.scores, logs.mean(axis=0) - np.log(choice.inertias / len(X)), rtol=1e-9)
    np.testing.assert_allclose(choice.standard_errors, logs.std(axis=0) * np.sqrt(1.25), rtol=1e-6)


def test_the_box_lies_along_the_principal_axes(monkeypatch):
    rng = np.random.default_rng(0)
    box = rng.random((4000, 3)) * [10.0, 4.0, 1.0]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for X in (box, box @ turn + 100, (box @ turn) * 1e200):
        sides = gap.principal_box(as_points(X))
        np.testing.assert_allclose(np.sort(sides)[::-1] / sides.max(), [1.0, 0.4, 0.1], atol=0.03)
    assert len(gap.principal_box(as_points(np.column_stack([box, box[:, 0], np.ones(4000)])))) == 3
    assert len(gap.principal_box(as_points(np.ones((5, 2))))) == 0
    assert len(gap.principal_box(as_points(rng.normal(size=(4, 9))))) == 3
    monkeypatch.setattr(gap, "REFERENCE_ROWS", 100)
    monkeypatch.setattr(gap, "BLOCK_VALUES", 300)
    np.testing.assert_allclose(gap.principal_box(as_points(box)), [10.0, 4.0, 1.0], rtol=0.1)


def test_equal_rows_and_few_distinct_ones(recwarn):
    for method in ("elbow", "gap"):
        choice = choose_k(np.ones((20, 2)), range(1, 5), method, random_state=0)
        assert (choice.best_k, choice.reason) == (None, "All rows are equal: there is nothing to cluster.")
    assert choose_k(np.ones((20, 2)), range(1, 5), "silhouette").best_k is None
    X = np.repeat([[0.0, 1.0], [5.0, 5.0], [9.0, 1.0]], 10, axis=0)
    for method in ("elbow", "silhouette", "gap"):
        assert choose_k(X, range(1, 6), method, random_state=0).best_k == 3
    assert not [w for w in recwarn if issubclass(w.category, ConvergenceWarning)]


def test_the_table_says_what_was_found(xclara):
    choice = choose_k(xclara, range(1, 5), "gap", random_state=0, n_references=2)
    lines = str(choice).splitlines()
    assert lines[0].split() == ["k", "inertia", "gap", "error"]
    assert lines[3].split() == ["3", "611605.8807", f"{choice.scores[2]:.4f}", f"{choice.standard_errors[2]:.4f}"]
    assert lines[-1] == choice.reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, r"'method' parameter of choose_k must be one of 'elbow', 'silhouette', 'gap'"),
        ({"ks": []}, "'ks' parameter of choose_k must be ints of at least 1"),
        ({"ks": [0, 1, 2]}, "'ks' parameter"),
        ({"ks": [1, 2.5, 3]}, "'ks' parameter"),
        ({"ks": [2, 3, 3]}, r"An elbow needs at least three different ks, got \[2, 3\]"),
        ({"ks": [1], "method": "gap"}, "must have a number above 1"),
        ({"ks": range(1, 9)}, "n_samples=5 should be >= 8, the largest of ks"),
        ({"n_references": 1}, "'n_references' parameter"),
        ({"tol": -1.0, "ks": [1, 2, 3]}, "'tol' parameter"),
        ({"random_state": -1, "ks": [1, 2, 3]}, "'random_state' parameter"),
        ({"X": [[1.0], [np.nan], [2.0]], "ks": [1, 2, 3]}, "contains NaN"),
    ],
)
def test_what_is_refused(arguments, message):
    given = {"X": np.arange(5.0).reshape(-1, 1), **arguments}
    with pytest.raises(ValueError, match=message):
        choose_k(**given)
