"""The command line: what it prints and writes, and that every mistake costs one line and exit code 2."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastkmeans
from fastkmeans import KMeans, cli, console
from fastkmeans.models import load_model
from fastkmeans.tables import read_table

CENTERS = {("9.4780459", "10.686052"), ("69.92418447", "-10.11964119"), ("40.68362784", "59.71589274")}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command line in an empty folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        code = cli.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def refused(run, tmp_path):
    """Run something that must be refused; returns its one line. Nothing may have been written."""

    def refused(*args):
        before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        code, out, err = run(*args)
        assert code == 2
        assert out == ""
        assert err.startswith("fastkmeans")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
        return err

    return refused


def test_fit_prints_sizes_centers_and_inertia(run, xclara_path):
    code, out, err = run("fit", xclara_path, "-k", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "xclara.csv: 3,000 rows, 2 columns, 3 clusters"
    assert lines[2].split() == ["cluster", "size", "V1", "V2"]
    table = [line.split() for line in lines[3:6]]
    assert [row[0] for row in table] == ["0", "1", "2"]
    assert sorted(int(row[1]) for row in table) == [899, 952, 1149]
    assert {tuple(row[2:]) for row in table} == CENTERS
    assert "inertia 611605.8807" in lines
    assert re.fullmatch(r"iterations \d+ \(converged\)", lines[-1])


def test_fit_is_the_estimator(run, xclara, xclara_path):
    options = {"--seed": 5, "--n-init": 3, "--init": "random", "--algorithm": "lloyd", "--max-iter": 4, "--tol": 0}
    flat = [text for option in options.items() for text in option]
    code, out, _ = run(
        *("fit", xclara_path, "-k", 7, *flat, "--threads", 1),
        *("--labels", "l.npy", "--centers", "c.csv", "--model", "m.npz"),
    )
    assert code == 0
    model = KMeans(7, random_state=5, n_init=3, init="random", algorithm="lloyd", max_iter=4, tol=0).fit(xclara)
    labels = np.load("l.npy")
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, model.labels_)
    centers = read_table("c.csv")
    assert centers.names == ["V1", "V2"]
    assert centers.values.tobytes() == model.cluster_centers_.tobytes()
    kept = load_model("m.npz")
    assert kept.centers.tobytes() == model.cluster_centers_.tobytes()
    assert (kept.inertia, kept.n_iter, kept.feature_names) == (model.inertia_, model.n_iter_, ["V1", "V2"])
    assert f"inertia {model.inertia_:.10g}" in out
    assert f"iterations {model.n_iter_} ({'converged' if model.converged_ else 'stopped at the most allowed'})" in out
    assert out.endswith("wrote l.npy\nwrote c.csv\nwrote m.npz\n")


def test_the_same_command_gives_the_same_files(run, xclara_path):
    for name in "ab":
        run("fit", xclara_path, "-k", 5, "--labels", f"{name}.csv", "--model", f"{name}.npz")
    for suffix in (".csv", ".npz"):
        assert Path("a" + suffix).read_bytes() == Path("b" + suffix).read_bytes()


def test_every_format_gives_the_same_result(run, xclara):
    import pyarrow as pa
    import pyarrow.parquet as pq

    np.save("x.npy", xclara)
    np.savez("x.npz", X=xclara)
    np.savetxt("x.tsv", xclara, delimiter="\t", fmt="%.17g")
    pq.write_table(pa.table({"a": xclara[:, 0], "b": xclara[:, 1]}), "x.parquet")
    results = []
    for name in ("x.npy", "x.npz", "x.tsv", "x.parquet"):
        assert run("fit", name, "-k", 4, "--labels", "l.txt", "--centers", "c.csv")[0] == 0
        results.append((Path("l.txt").read_text(), Path("c.csv").read_text().split("\n", 1)[1]))
    assert results == [results[0]] * 4


def test_columns_are_chosen_and_ordered(run, xclara, xclara_path):
    assert run("fit", xclara_path, "-k", 2, "--columns", "V2,0", "--centers", "c.csv")[0] == 0
    centers = read_table("c.csv")
    assert centers.names == ["V2", "V1"]
    np.testing.assert_array_equal(centers.values, KMeans(2, random_state=0).fit(xclara[:, ::-1]).cluster_centers_)


def test_predict_gives_the_labels_of_the_fit(run, xclara_path):
    run("fit", xclara_path, "-k", 3, "--labels", "fit.csv", "--model", "m.npz")
    code, out, err = run("predict", xclara_path, "--model", "m.npz", "--labels", "predict.csv", "--threads", 1)
    assert (code, err) == (0, "")
    assert Path("predict.csv").read_text() == Path("fit.csv").read_text()
    sizes = [int(line.split()[1]) for line in out.splitlines()[3:6]]
    assert sorted(sizes) == [899, 952, 1149]


def test_predict_finds_its_columns_by_name(run, xclara, xclara_path):
    run("fit", xclara_path, "-k", 3, "--labels", "fit.txt", "--model", "m.npz")
    with open("wide.csv", "w") as stream:
        stream.write("id,V2,V1\n")
        stream.writelines(f"row{i},{row[1]!r},{row[0]!r}\n" for i, row in enumerate(xclara.tolist()))
    np.save("bare.npy", xclara)
    for source in (["wide.csv"], ["bare.npy"], ["wide.csv", "--columns", "2,1"]):
        assert run("predict", *source, "--model", "m.npz", "--labels", "l.txt")[0] == 0
        assert Path("l.txt").read_text() == Path("fit.txt").read_text()


def test_predict_refuses_other_features(refused, run, xclara_path):
    run("fit", xclara_path, "-k", 3, "--model", "m.npz")
    Path("other.csv").write_text("V1,V3\n1,2\n")
    assert "no column 'V2', which the model needs; the columns are V1, V3" in refused(
        "predict", "other.csv", "--model", "m.npz"
    )
    Path("bare.csv").write_text("1,2,3\n4,5,6\n")
    assert "3 features" in refused("predict", "bare.csv", "--model", "m.npz")


def test_wide_and_many_are_cut_short(run):
    np.save("x.npy", np.random.default_rng(0).normal(size=(200, 12)))
    _, out, _ = run("fit", "x.npy", "-k", 60, "--centers", "c.csv", "--model", "m.npz")
    assert "... 10 more clusters and 4 more columns; --centers FILE writes all" in out.splitlines()
    assert max(map(len, out.splitlines())) < 160
    assert read_table("c.csv").values.shape == (60, 12)
    _, out, _ = run("predict", "x.npy", "--model", "m.npz")
    assert "... 10 more clusters" in out.splitlines()


def test_the_picture(run, xclara_path):
    code, out, err = run("fit", xclara_path, "-k", 3, "--plot", "p.png")
    assert (code, err) == (0, "")
    assert out.endswith("wrote p.png\n")
    from matplotlib.image import imread

    pixels = imread("p.png")
    assert pixels.shape[0] >= 500
    assert pixels.shape[1] >= 800
    colors, counts = np.unique((pixels[..., :3] * 16).astype(int).reshape(-1, 3), axis=0, return_counts=True)
    colored = counts[np.ptp(colors, axis=1) > 4]
    assert (colored > 1000).sum() >= 3, "three colors cover much of it"


def test_a_picture_without_matplotlib_is_refused_at_once(refused, monkeypatch, xclara_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(cli, "read_data", None)  # not even read
    line = refused("fit", xclara_path, "-k", 3, "--plot", "p.png")
    assert line == "fastkmeans: error: pictures need matplotlib: pip install 'fastkmeans-numba[plot]'\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required"),
        (["cluster"], "invalid choice: 'cluster'"),
        (["fit"], "the following arguments are required: DATA, -k"),
        (["fit", "x.csv"], "the following arguments are required: -k"),
        (["fit", "x.csv", "-k", "three"], "invalid int value: 'three'"),
        (["fit", "x.csv", "-k", "3", "--n-init", "many"], "invalid number of starts value: 'many'"),
        (["fit", "x.csv", "-k", "3", "--lab", "l.csv"], "unrecognized arguments: --lab"),
        (["predict", "x.csv"], "the following arguments are required: --model"),
        (["fit", "missing.csv", "-k", "3"], "missing.csv: No such file or directory"),
        (["fit", ".", "-k", "3"], "expected a file ending in"),
        (["fit", "x.csv", "-k", "3"], "x.csv, line 2, column 'b': 'two' is not a number"),
        (["fit", "x.csv", "-k", "3", "--columns", "c"], "no column 'c'; the columns are a, b"),
        (["fit", "y.csv", "-k", "4"], "n_samples=3 should be >= n_clusters=4"),
        (["fit", "y.csv", "-k", "0"], "error: -k must be an int"),
        (["fit", "y.csv", "-k", "2", "--init", "best"], "error: --init must be"),
        (["fit", "y.csv", "-k", "2", "--algorithm", "magic"], "error: --algorithm must be"),
        (["fit", "y.csv", "-k", "2", "--max-iter", "0"], "error: --max-iter must be an int"),
        (["fit", "y.csv", "-k", "2", "--tol", "-1"], "error: --tol must be a float"),
        (["fit", "y.csv", "-k", "2", "--n-init", "0"], "error: --n-init must be"),
        (["fit", "nan.npy", "-k", "2"], "error: nan.npy contains NaN. The first is nan at row 1, column 0. KMeans"),
        (["fit", "far.npy", "-k", "2"], "error: Values of far.npy are too large"),
        (["choose", "y.csv", "--method", "gap", "--references", "0"], "error: --references must be"),
        (["fit", "y.csv", "-k", "2", "--seed", "-1"], "argument --seed: invalid seed value: '-1'"),
        (["fit", "y.csv", "-k", "2", "--threads", "0"], "error: --threads must be"),
        (
            ["fit", "y.csv", "-k", "2", "--labels", "l.xls"],
            "--labels l.xls: expected a name ending in .csv, .npy, .txt",
        ),
        (["fit", "y.csv", "-k", "2", "--centers", "c.npy"], "--centers c.npy: expected a name ending in .csv"),
        (["fit", "y.csv", "-k", "2", "--model", "m.pkl"], "--model m.pkl: expected a name ending in .npz"),
        (["fit", "y.csv", "-k", "2", "--plot", "p.doc"], "--plot p.doc: expected a name ending in"),
        (["fit", "y.csv", "-k", "2", "--labels", "nix/l.csv"], "cannot write nix/l.csv: there is no folder nix"),
        (["fit", "y.csv", "-k", "2", "--labels", "y.csv"], "--labels y.csv: the same file as DATA"),
        (
            ["fit", "y.csv", "-k", "2", "--labels", "o.csv", "--centers", "./o.csv"],
            "./o.csv: the same file as --labels",
        ),
        (["predict", "y.csv", "--model", "missing.npz"], "missing.npz: No such file or directory"),
        (["predict", "y.csv", "--model", "y.csv"], "y.csv: not a fastkmeans model file (no .npz archive)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_cost_one_line(refused, tmp_path, args, message):
    (tmp_path / "x.csv").write_text("a,b\n1,two\n")
    (tmp_path / "y.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
    np.save(tmp_path / "nan.npy", [[1.0], [np.nan], [2.0]])
    np.save(tmp_path / "far.npy", [[1.0], [1e300], [2.0]])
    assert message in refused(*args)


def test_outputs_are_refused_before_the_data_is_read(refused, monkeypatch):
    monkeypatch.setattr(cli, "read_data", None)
    assert "cannot write" in refused("fit", "x.csv", "-k", 2, "--model", "nix/m.npz")


def test_a_failed_write_keeps_the_old_file_and_the_printed_result(run, xclara_path, tmp_path, monkeypatch):
    (tmp_path / "l.csv").write_text("precious")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, out, err = run("fit", xclara_path, "-k", 3, "--labels", "l.csv")
    assert code == 2
    assert "inertia 611605.8807" in out
    assert "wrote" not in out
    assert err == "fastkmeans: error: [Errno 28] No space left on device\n"
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]
    assert (tmp_path / "l.csv").read_text() == "precious"


def test_warnings_are_one_line_each(run):
    np.save("x.npy", np.array([[0.0], [0.0], [1.0]]))
    code, _, err = run("fit", "x.npy", "-k", 3)
    assert code == 0
    assert err.startswith("fastkmeans: warning: Number of distinct clusters (2) found smaller than n_clusters (3).")
    assert err.count("\n") == 1


def test_interruption(run, monkeypatch, xclara_path, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(KMeans, "fit", interrupt)
    code, out, err = run("fit", xclara_path, "-k", 3, "--labels", "l.csv")
    assert (code, out, err) == (130, "", "fastkmeans: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_one_line(refused, monkeypatch, xclara_path):
    def allocate(*args, **kwargs):
        raise MemoryError("Unable to allocate 1.00 TiB")

    monkeypatch.setattr(KMeans, "fit", allocate)
    assert "error: not enough memory. Unable to allocate 1.00 TiB" in refused("fit", xclara_path, "-k", 3)


@pytest.mark.parametrize("args", [["--help"], ["fit", "--help"], ["predict", "--help"], ["--version"]])
def test_help_and_version(run, args):
    code, out, err = run(*args)
    assert (code, err) == (0, "")
    assert (
        out == f"fastkmeans {fastkmeans.__version__}\n"
        if args == ["--version"]
        else out.startswith("usage: fastkmeans")
    )


def command(*args, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastkmeans", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_as_a_process(tmp_path, xclara_path):
    done = command("fit", xclara_path, "-k", 3, "--labels", tmp_path / "l.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "inertia 611605.8807" in done.stdout
    assert (tmp_path / "l.csv").read_text().count("\n") == 3001
    wrong = command("fit", tmp_path / "missing.csv", "-k", 3)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == f"fastkmeans: error: {tmp_path / 'missing.csv'}: No such file or directory\n"


def test_help_is_fast_because_it_loads_nothing(tmp_path):
    code = (
        "import sys; from fastkmeans.cli import main; code = main(['fit', '--help'])\n"
        "sys.exit(code or any(name in sys.modules for name in ('numpy', 'numba', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_reader_that_goes_away_costs_no_file(tmp_path, xclara_path):
    reading, writing = os.pipe()
    os.close(reading)
    args = ["fit", xclara_path, "-k", "3", "--labels", tmp_path / "l.csv"]
    with open(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "fastkmeans", *args], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "l.csv").read_text().count("\n") == 3001


class Terminal:
    """A pair of ends of a terminal: a stream to write to, and what was written."""

    MARK = "<end>"

    def __init__(self):
        self._ours, theirs = pty.openpty()
        self.stream = open(theirs, "w", encoding="utf-8")

    def written(self):
        """All of it, up to a mark that is written last: the kernel hands on what was written in its own time."""
        self.stream.write(self.MARK)
        self.stream.flush()
        text = ""
        while not text.endswith(self.MARK):
            text += os.read(self._ours, 1 << 16).decode()
        return text.removesuffix(self.MARK)

    def close(self):
        self.stream.close()
        os.close(self._ours)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_progress_shows_on_a_terminal_and_goes_away(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with console.Progress("counting", delay=0.01, interval=0.01) as progress:
        progress.note = "iteration 3"
        time.sleep(0.2)
    text = terminal.written()
    assert "\rcounting, iteration 3, 0 s" in text
    assert text.endswith("\r")
    assert text.rsplit("\r", 2)[1].strip() == "", "wiped at the end"


def test_no_progress_for_short_work(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with console.Progress("counting"):
        pass
    assert terminal.written() == ""


def test_no_progress_without_a_terminal(capsys):
    with console.Progress("counting", delay=0.0, interval=0.01):
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_progress_follows_the_iterations(terminal, monkeypatch, capsys, xclara):
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    estimator = KMeans(3, random_state=0)
    with console.Progress("clustering", delay=60) as progress, progress.iterations(estimator):
        estimator.fit(xclara)
    assert progress.note, "the last line that the fit printed"
    assert estimator.verbose == 0
    assert capsys.readouterr().out == ""
    assert terminal.written() == ""
    last = console.LastLine(progress)
    print("Initialization complete\nIteration 3, inertia 12.5.", file=last)
    assert progress.note == "iteration 3, inertia 12.5"
