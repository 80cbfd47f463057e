"""The report in words: each thing that can be wrong is planted once and must be said, with what to do; else not."""

import numpy as np
import pytest

from fastkmeans import KMeans, diagnose
from fastkmeans.diagnosis import moments
from fastkmeans.exceptions import NotFittedError
from fastkmeans.points import as_points

TOPICS = ["scale", "tendency", "sizes", "stability", "local minimum"]


def blobs(centers, n=60, width=1.0, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.asarray(centers, dtype=float)
    return np.repeat(centers, n, axis=0) + width * rng.normal(size=(n * len(centers), centers.shape[1]))


THREE = [[0, 0], [10, 0], [0, 10]]


def test_nothing_is_wrong_with_xclara(xclara):
    diagnosis = diagnose(xclara, random_state=0, n_references=5, n_restarts=4)
    assert [finding.topic for finding in diagnosis.findings] == TOPICS
    assert diagnosis.warnings == ()
    assert len(diagnosis.model.cluster_centers_) == diagnosis.choice.best_k == 3
    assert all(finding.advice for finding in diagnosis.findings)
    text = str(diagnosis)
    assert "with 3 of them the gap to uniform data is" in " ".join(text.split())
    assert "10 of 10" not in text
    assert "4 of 4 restarts end at the lowest inertia found" in text
    assert max(map(len, text.splitlines())) <= 100
    with pytest.raises(KeyError, match="weather"):
        diagnosis["weather"]


@pytest.mark.parametrize("d", [2, 10])
def test_uniform_data_has_no_structure(d):
    for seed in range(2):
        X = np.random.default_rng(seed).random((300, d))
        diagnosis = diagnose(X, random_state=seed, n_restarts=2)
        assert [finding.topic for finding in diagnosis.findings] == TOPICS[:2]
        assert diagnosis.model is None
        finding = diagnosis["tendency"]
        assert finding.level == "warning"
        assert finding.text.startswith("No structure: the rows are as spread out as uniform data")
        assert finding.advice.startswith("Do not read meaning into clusters of this data.")
    model = KMeans(4, random_state=0).fit(X)
    diagnosis = diagnose(X, model, random_state=0, n_restarts=2)
    assert [finding.topic for finding in diagnosis.findings] == TOPICS
    assert diagnosis["tendency"].text.startswith("No structure")
    assert diagnosis.model is model


def test_scales_that_decide_are_a_warning():
    X = blobs([[0, 0, 5], [10, 0, 5], [0, 10, 5], [10, 10, 5]]) * [1000.0, 1.0, 0.0]
    import pandas as pd

    frame = pd.DataFrame(X, columns=["salary", "age", "constant"])
    model = KMeans(4, random_state=0).fit(frame)
    finding = diagnose(frame, model, random_state=0, n_references=2, n_restarts=2)["scale"]
    assert finding.level == "warning"
    assert finding.text.startswith("'salary' varies most (standard deviation ")
    assert "1 constant feature makes no difference." in finding.text
    assert "Standardized, 4 clusters come out differently" in finding.text
    assert finding.advice.startswith("If the units are arbitrary, standardize")
    assert 900 < finding.values["ratio"] < 1100
    assert finding.values["adjusted Rand after standardizing"] < 0.8
    without = diagnose(X, random_state=0, n_references=2, n_restarts=2)["scale"]
    assert without.text.startswith("feature 0 varies most")


def test_scales_that_decide_nothing_are_none():
    X = blobs([[0, 0], [400, 20], [800, 40]], width=[20.0, 1.0])
    finding = diagnose(X, random_state=0, n_references=2, n_restarts=2)["scale"]
    assert finding.level == "ok"
    assert "Standardized, 3 clusters stay nearly the same (adjusted Rand 1.00)" in finding.text
    one = diagnose(X * [1, 0], random_state=0, n_references=2, n_restarts=2)["scale"]
    assert one.text == "Only one feature varies. 1 constant feature makes no difference."


def test_another_k_than_the_models_is_proposed():
    X = blobs(THREE)
    diagnosis = diagnose(X, KMeans(5, random_state=0).fit(X), random_state=0, n_references=3, n_restarts=2)
    assert diagnosis["tendency"].level == "warning"
    assert diagnosis["tendency"].text.endswith("The model has 5 clusters.")
    assert diagnosis["tendency"].advice == "Try k=3, and compare silhouettes."
    large = diagnose(X, KMeans(14, random_state=0).fit(X), random_state=0, n_references=2, n_restarts=2)
    assert 14 in large.choice.ks


def test_outliers_and_unequal_radii_are_found():
    X = np.vstack([blobs([[0, 0]], n=300, width=4.0), blobs([[40, 0]], n=100, width=0.5), [[500.0, 0.0]]])
    model = KMeans(3, init=[[0, 0], [40, 0], [500, 0]]).fit(X)
    finding = diagnose(X, model, random_state=0, n_references=2, n_restarts=2)["sizes"]
    assert finding.level == "warning"
    assert finding.text.startswith("Clusters have 1 rows (cluster 2) to 300 (cluster 0)")
    assert "look at the silhouette" in finding.advice
    assert "Look at the rows of cluster 2: so few may be outliers" in finding.advice
    squares = ((X - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1)
    radii = [np.sqrt(squares[model.labels_ == c].mean()) for c in range(2)]
    np.testing.assert_allclose([finding.values["largest radius"], finding.values["smallest radius"]], radii)


def test_a_poor_local_minimum_is_found_and_what_is_gained():
    centers = [[x, y] for x in (0, 30, 60) for y in (0, 30, 60)]
    X = blobs(centers, n=30)
    bad = KMeans(9, init=[*centers[:8], [1, 1]]).fit(X)
    diagnosis = diagnose(X, bad, random_state=0, n_references=2, n_restarts=5)
    finding = diagnosis["local minimum"]
    best = KMeans(9, init=centers).fit(X).inertia_
    assert finding.level == "warning"
    np.testing.assert_allclose(finding.values["gain"], 1 - best / bad.inertia_, rtol=1e-9)
    assert f"{finding.values['gain']:.2%} could be gained" in finding.text
    assert "refine='swap'" in finding.advice
    good = diagnose(X, KMeans(9, init=centers).fit(X), random_state=0, n_references=2, n_restarts=5)["local minimum"]
    assert good.level == "ok"
    assert good.text.endswith("which is the model's.")


def test_disagreeing_runs_are_unstable():
    X = np.random.default_rng(0).normal(size=(300, 8))
    model = KMeans(12, random_state=0).fit(X)
    finding = diagnose(X, model, random_state=0, n_references=2, n_restarts=4)["stability"]
    assert finding.level == "warning"
    assert 0 < finding.values["lowest"] <= finding.values["average"] < 0.9


def test_the_same_again(xclara):
    first, again = (diagnose(xclara[::5], random_state=3, n_references=2, n_restarts=3, n_threads=t) for t in (1, 2))
    assert first.findings == again.findings


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150])
def test_moments_of_any_scale(scale):
    X = np.random.default_rng(0).normal(size=(50, 3)) + [0.0, 5.0, 0.0]
    X[:, 2] = 0.1
    mean, deviation = moments(as_points(X * scale))
    np.testing.assert_allclose(mean, X.mean(axis=0) * scale, rtol=1e-12)
    np.testing.assert_allclose(deviation[:2], X.std(axis=0)[:2] * scale, rtol=1e-12)
    assert deviation[2] == 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: diagnose([[0.0], [1.0]], n_restarts=1), ValueError, "'n_restarts' parameter"),
        (lambda: diagnose([[0.0]]), ValueError, "at least two rows"),
        (lambda: diagnose([[0.0], [1.0]], KMeans(2)), (NotFittedError, ValueError), "not fitted"),
        (lambda: diagnose(np.eye(3), KMeans(1).fit([[0.0], [1.0]])), ValueError, "3 features"),
        (lambda: diagnose([[0.0], [np.nan]]), ValueError, "contains NaN"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
