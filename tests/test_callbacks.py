"""Callbacks: what a fit reports after every iteration, how it is ended, and the ready-made ones."""

import copy
import io
import pickle
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastkmeans import KMeans
from fastkmeans.callbacks import progress, record, stop_after

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 3)) + rng.integers(4, size=(300, 1)) * 3.0


def plain(**params):
    return KMeans(5, **{"random_state": 1, "tol": 0, **params})


def test_steps_are_those_of_the_history():
    kept = record()
    model = plain(callback=kept).fit(X)
    without = plain().fit(X)
    assert_array_equal(model.cluster_centers_, without.cluster_centers_)
    assert (model.inertia_, model.n_iter_) == (without.inertia_, without.n_iter_)
    assert [step.iteration for step in kept.steps] == list(range(1, model.n_iter_ + 1))
    told = [(step.inertia, step.shift, step.changed, step.algorithm, step.seconds) for step in kept.steps]
    assert told == [(h.inertia, h.center_shift, h.n_changed, h.algorithm, h.seconds) for h in model.history_]
    assert kept.steps[0]._fields == (
        "restart", "iteration", "inertia", "shift", "changed", "algorithm", "seconds"
    )  # fmt: skip
    assert [type(value) for value in kept.steps[0]] == [int, int, float, float, int, str, float]


def test_restarts_are_counted_and_a_new_fit_starts_over():
    kept = record()
    model = plain(init="random", n_init=3, callback=kept)
    for _ in range(2):
        model.fit(X)
        assert [step.restart for step in kept.steps if step.iteration == 1] == [0, 1, 2]


@pytest.mark.parametrize("at", [1, 2, 4])
def test_true_ends_the_fit_with_what_there_is(at):
    model = plain(callback=lambda step: step.iteration == at).fit(X)
    assert (model.n_iter_, model.converged_) == (at, False)
    assert_array_equal(model.predict(X), model.labels_)
    same = plain(max_iter=at).fit(X)
    assert_array_equal(model.cluster_centers_, same.cluster_centers_)
    assert model.inertia_ == same.inertia_


def test_true_ends_all_restarts_and_swaps(capsys):
    steps = []

    def stop_in_the_second(step):
        steps.append(step)
        return step.restart == 1

    plain(init="random", n_init=5, verbose=1, callback=stop_in_the_second).fit(X)
    assert {step.restart for step in steps} == {0, 1} and steps[-1].iteration == 1
    assert "Stopped at iteration 1: the callback said so." in capsys.readouterr().out
    steps.clear()
    plain(refine="swap", callback=lambda step: steps.append(step) or step.changed == 0).fit(X)
    assert [step.changed == 0 for step in steps] == [False] * (len(steps) - 1) + [True]


def test_swaps_go_on_counting():
    kept = record()
    four = np.arange(400.0).reshape(-1, 1) % 4 * 10.0 + rng.normal(size=(400, 1))
    KMeans(4, init=[[-1.0], [0.0], [1.0], [20.0]], refine="swap", callback=kept).fit(four)
    assert [step.iteration for step in kept.steps] == list(range(1, len(kept.steps) + 1))
    assert sum(step.changed == len(four) for step in kept.steps) > 1  # several runs


def test_an_exception_passes_through_and_changes_nothing():
    model = plain(callback=lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.fit(X)
    assert not hasattr(model, "labels_")


def test_a_callback_must_be_callable():
    with pytest.raises(ValueError, match=r"'callback' parameter of KMeans must be a callable or None\. Got 3 instead"):
        KMeans(2, callback=3).fit(X)


def test_stop_after():
    limit = stop_after(0)
    model = plain(callback=limit)
    for _ in range(2):
        assert model.fit(X).n_iter_ == 1
    assert plain(callback=stop_after(3600)).fit(X).converged_
    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError, match="seconds must be at least 0"):
            stop_after(seconds)
    assert "callback=stop_after(0)" in repr(model)


class Bar:
    """What `progress` needs of tqdm."""

    made: ClassVar[list["Bar"]] = []

    def __init__(self, **options):
        self.options, self.count, self.open, self.shown = options, 0, True, {}
        Bar.made.append(self)

    def set_postfix(self, refresh, **shown):
        self.shown = shown

    def update(self):
        self.count += 1

    def close(self):
        self.open = False


def test_progress(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    Bar.made.clear()
    bar = progress(file="nowhere")
    model = plain(init="random", n_init=2, callback=bar).fit(X)
    assert [made.options["desc"] for made in Bar.made] == ["restart 0", "restart 1"]
    assert all(made.options["file"] == "nowhere" and not made.open for made in Bar.made)
    assert model.n_iter_ in [made.count for made in Bar.made]
    assert Bar.made[0].shown["changed"] == 0
    assert repr(bar) == "progress(file='nowhere')"
    KMeans(2, init=X[:2], max_iter=1, callback=bar).fit(X)
    assert Bar.made[-1].open
    assert copy.deepcopy(bar)._bar is None
    bar.close()
    assert not Bar.made[-1].open


def test_progress_with_tqdm():
    pytest.importorskip("tqdm")
    out = io.StringIO()
    plain(callback=progress(file=out, mininterval=0)).fit(X)
    assert "restart 0" in out.getvalue() and "inertia=" in out.getvalue()


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"pip install 'fastkmeans-numba\[progress\]'"):
        progress()


def test_callbacks_survive_pickling_and_cloning():
    from sklearn.base import clone

    kept = record()
    model = plain(callback=kept).fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert again.callback.steps == kept.steps
    fresh = clone(model).fit(X)
    assert fresh.callback is not kept
    assert len(fresh.callback.steps) == fresh.n_iter_
