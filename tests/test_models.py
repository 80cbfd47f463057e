"""Model files: kept to the bit; what is damaged, foreign or newer is refused; version 1 is loaded for ever."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest

from fastkmeans import KMeans
from fastkmeans.models import FORMAT, VERSION, Model, load_model, save_model

MODEL = Model(
    centers=np.array([[0.1, -2.0], [3e300, 4.0], [5e-310, 6.0]]),
    cluster_weights=np.array([2.0, 0.5, 0.0]),
    inertia=0.1,
    n_iter=7,
    feature_names=["length, in m", "größe"],
    params={"n_clusters": 3, "tol": 1e-4, "random_state": None, "algorithm": "lloyd"},
)


def entries(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def same(a, b):
    assert a.centers.dtype == b.centers.dtype
    assert a.centers.tobytes() == b.centers.tobytes()
    assert a.cluster_weights.tobytes() == b.cluster_weights.tobytes()
    assert (a.inertia, a.n_iter, a.feature_names, dict(a.params)) == (
        b.inertia,
        b.n_iter,
        b.feature_names,
        dict(b.params),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("names", [None, ["a", "b"]])
def test_round_trip(tmp_path, dtype, names):
    with np.errstate(over="ignore", under="ignore"):
        centers = np.minimum(MODEL.centers, 1e30).astype(dtype)
    model = Model(centers, MODEL.cluster_weights, MODEL.inertia, MODEL.n_iter, names, MODEL.params)
    save_model(tmp_path / "m.npz", model)
    same(load_model(tmp_path / "m.npz"), model)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_model(tmp_path / name, MODEL)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_estimator_and_back(tmp_path, xclara):
    frame = pd.DataFrame(xclara, columns=["V1", "V2"])
    fitted = KMeans(n_clusters=3, random_state=4, n_threads=1, verbose=0, init="random", n_init=2).fit(frame)
    save_model(tmp_path / "m.npz", Model.from_estimator(fitted))
    model = load_model(tmp_path / "m.npz")
    assert model.feature_names == ["V1", "V2"]
    assert model.params["init"] == "random"
    assert not {"n_threads", "verbose", "copy_x"} & model.params.keys()
    again = model.to_estimator()
    np.testing.assert_array_equal(again.predict(frame), fitted.labels_)
    assert again.cluster_centers_.tobytes() == fitted.cluster_centers_.tobytes()
    np.testing.assert_array_equal(again.cluster_weights_, fitted.cluster_weights_)
    assert (again.inertia_, again.n_iter_, again.n_features_in_) == (fitted.inertia_, fitted.n_iter_, 2)
    assert (again.random_state, again.n_init, again.n_threads) == (4, 2, None)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame.rename(columns={"V2": "other"}))


def test_params_that_are_no_plain_values_are_left_out(xclara):
    fitted = KMeans(n_clusters=2, init=xclara[:2], random_state=np.random.default_rng(0)).fit(xclara)
    model = Model.from_estimator(fitted, ["x", "y"])
    assert not {"init", "random_state"} & model.params.keys()
    assert model.feature_names == ["x", "y"]
    assert model.to_estimator().feature_names_in_.tolist() == ["x", "y"]


def test_version_1_loads_for_ever(data_dir, xclara):
    path = data_dir / "model-v1.npz"
    assert set(entries(path)) == {
        *(
            "format",
            "version",
            "written_by",
            "centers",
            "cluster_weights",
            "inertia",
            "n_iter",
            "feature_names",
            "params",
        )
    }
    model = load_model(path)
    assert model.feature_names == ["V1", "V2"]
    assert sorted(tuple(f"{v:.10g}" for v in center) for center in model.centers) == [
        ("40.68362784", "59.71589274"),
        ("69.92418447", "-10.11964119"),
        ("9.4780459", "10.686052"),
    ]
    assert f"{model.inertia:.10g}" == "611605.8807"
    labels = model.to_estimator().predict(pd.DataFrame(xclara, columns=["V1", "V2"]))
    np.testing.assert_array_equal(np.bincount(labels), model.cluster_weights)
    for c, center in enumerate(model.centers):
        np.testing.assert_allclose(xclara[labels == c].mean(axis=0), center, rtol=1e-12)


def test_no_damage_goes_unseen(data_dir, tmp_path):
    """One byte changed, or the end cut off: the same model or a ValueError, never anything else."""
    good, path = (data_dir / "model-v1.npz").read_bytes(), tmp_path / "m.npz"
    model = load_model(data_dir / "model-v1.npz")
    cut = [good[:at] for at in range(0, len(good), 11)]
    changed = [good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :] for at in range(0, len(good), 3)]
    refused = 0
    for content in cut + changed:
        path.write_bytes(content)
        try:
            again = load_model(path)
        except ValueError as error:
            assert "m.npz: " in str(error)
            refused += 1
        else:
            same(again, model)
    assert refused > len(cut) + len(changed) // 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": np.int64(VERSION + 1)},
            rf"model format {VERSION + 1}, newer than this release reads \({VERSION}\)",
        ),
        ({"version": np.int64(VERSION + 1), "centers": None}, "newer than this release reads"),
        ({"version": np.array("one")}, "damaged, or not a fastkmeans model file"),
        ({"format": np.array("another model")}, "its format is 'another model'"),
        ({"format": None}, r"not a fastkmeans model file \(an archive of other arrays\)"),
        ({"centers": None}, "centers is not a file in the archive"),
        ({"centers": np.zeros(3)}, r"centers have shape \(3,\)"),
        ({"centers": np.zeros((3, 0))}, r"centers have shape \(3, 0\)"),
        ({"centers": np.zeros((3, 2), int)}, "and dtype int64"),
        ({"centers": np.full((3, 2), np.nan)}, "not finite"),
        ({"cluster_weights": np.ones(2)}, r"cluster_weights have shape \(2,\)"),
        ({"cluster_weights": -np.ones(3)}, "weight is negative"),
        ({"feature_names": np.array('["one"]')}, "feature_names are not 2 names"),
        ({"feature_names": np.array("[1, 2]")}, "feature_names are not 2 names"),
        ({"params": np.array("[]")}, "params are not a mapping"),
        ({"params": np.array("{")}, "damaged"),
        ({"inertia": np.float64(np.nan)}, "inertia or n_iter"),
        ({"n_iter": np.arange(3)}, "damaged"),
    ],
)
def test_changed_entries_are_refused(tmp_path, change, message):
    save_model(tmp_path / "m.npz", MODEL)
    changed = {name: value for name, value in {**entries(tmp_path / "m.npz"), **change}.items() if value is not None}
    np.savez(tmp_path / "m.npz", **changed)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(tmp_path / "m.npz")
    assert "m.npz: " in str(caught.value)


def test_foreign_files_are_refused(tmp_path, xclara_path):
    save_model(tmp_path / "m.npz", MODEL)
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 2)))
    foreign = {
        "empty": b"",
        "array": stream.getvalue(),
        "table": xclara_path.read_bytes(),
        "pickle": pickle.dumps({"format": FORMAT, "version": 1}),
    }
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a fastkmeans model file"):
            load_model(tmp_path / name)
    np.savez(tmp_path / "objects.npz", format=FORMAT, version=1, centers=np.array([[1, "a"]], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load_model(tmp_path / "objects.npz")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing.npz")


def test_params_of_later_releases_are_kept_but_not_set(tmp_path):
    params = {**MODEL.params, "a_parameter_to_come": 1}
    save_model(tmp_path / "m.npz", Model(MODEL.centers, MODEL.cluster_weights, 0.0, 1, None, params))
    model = load_model(tmp_path / "m.npz")
    assert model.params["a_parameter_to_come"] == 1
    assert "a_parameter_to_come" not in model.to_estimator().get_params()


def test_other_byte_orders_are_read(tmp_path):
    save_model(tmp_path / "m.npz", MODEL)
    changed = entries(tmp_path / "m.npz")
    for name in ("centers", "cluster_weights"):
        changed[name] = changed[name].astype(changed[name].dtype.newbyteorder(">"))
    np.savez(tmp_path / "m.npz", **changed)
    same(load_model(tmp_path / "m.npz"), MODEL)


def test_a_failed_save_leaves_the_old_model(tmp_path):
    save_model(tmp_path / "m.npz", MODEL)
    before = (tmp_path / "m.npz").read_bytes()
    unsaveable = Model(MODEL.centers, MODEL.cluster_weights, 0.0, 1, None, {"n_clusters": object()})
    with pytest.raises(TypeError):
        save_model(tmp_path / "m.npz", unsaveable)
    assert (tmp_path / "m.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
