"""``choose``, ``diagnose`` and reports, from the command line: what is printed, drawn and refused."""

import base64
import io
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from fastkmeans import KMeans, choose_k, cli, diagnose, silhouette
from fastkmeans.report import fit_report

LABELED = "sepal,petal,species\n" + "".join(
    f"{x + 0.1 * (i % 3)},{y + 0.1 * (i % 4)},{name}\n"
    for name, x, y in (("setosa", 1, 1), ("virginica", 9, 2), ("versicolor", 4, 8))
    for i in range(12)
)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command line in an empty folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        code = cli.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


class Page(HTMLParser):
    """Texts by tag, the cells of every table, pictures, and everything that a browser would fetch."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tables, self.pictures, self.fetched = [], {}, [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "img":
            kind, _, data = attributes["src"].partition(";base64,")
            assert kind == "data:image/png"
            assert attributes["alt"]
            self.pictures.append(imread(io.BytesIO(base64.b64decode(data, validate=True))))
        else:
            self.fetched += [attributes[name] for name in ("src", "href", "srcset", "action") if name in attributes]
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        tag = self.open[-1] if self.open else ""
        self.texts[tag] = self.texts.get(tag, "") + data
        if tag in ("td", "th"):
            self.tables[-1][-1][-1] += data


def read(path):
    text = Path(path).read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched == []
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text
    for picture in page.pictures:
        height, width = picture.shape[:2]
        assert height > 300
        assert width > 600
        assert np.ptp(picture[..., :3].reshape(-1, 3), axis=0).min() > 0.5, "something is drawn"
    return page


@pytest.mark.parametrize("method", ["elbow", "silhouette", "gap"])
def test_choose_prints_the_choice(run, xclara, xclara_path, method):
    code, out, err = run("choose", xclara_path, "--method", method, "--ks", "1-4,6", "--seed", 2, "--references", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    choice = choose_k(xclara, [1, 2, 3, 4, 6], method, random_state=2, n_references=3)
    assert lines[0] == "xclara.csv: 3,000 rows, 2 columns"
    assert lines[2:-2] == str(choice).splitlines()[:-1]
    assert lines[-1] == choice.reason
    assert lines[-1].startswith("k=3 ")


def test_choose_draws_and_reports(run, xclara_path):
    arguments = ("choose", xclara_path, "--ks", "1-8", "--plot", "curve.png", "--report", "report.html")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.endswith("wrote curve.png\nwrote report.html\n")
    assert imread("curve.png").shape[1] > 600
    page = read("report.html")
    assert page.texts["h1"] == page.texts["title"] == "xclara.csv: 3 clusters"
    assert page.texts["p"].startswith("k=3 is the elbow: ")
    assert len(page.pictures) == 2
    by_k, centers = page.tables
    assert [row[0] for row in by_k] == ["k", *map(str, range(1, 9))]
    assert by_k[3][1] == "611605.8807"
    assert centers[0] == ["cluster", "size", "silhouette", "V1", "V2"]
    assert sorted(row[1] for row in centers[1:]) == ["1,149", "899", "952"]
    assert shlex.split(page.texts["pre"]) == ["fastkmeans", *map(str, arguments)]


def test_no_structure_is_reported(run):
    np.save("x.npy", np.random.default_rng(0).random((200, 10)))
    code, out, _ = run("choose", "x.npy", "--method", "gap", "--ks", "2-4", "--references", 5, "--report", "r.html")
    assert code == 0
    assert "No structure: no gap exceeds that of one cluster" in out
    page = read("r.html")
    assert page.texts["h1"] == "x.npy: no number of clusters stands out"
    assert len(page.tables) == 1
    assert page.texts["figcaption"] == "By number of clusters; none is chosen.Clusterings side by side."


def test_fit_reports(run, xclara, xclara_path):
    arguments = ("fit", xclara_path, "-k", 3, "--report", "report.html", "--refine", "swap")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.endswith("wrote report.html\n")
    page = read("report.html")
    assert page.texts["title"] == "xclara.csv: 3 clusters"
    assert len(page.pictures) == 3
    model = KMeans(3, random_state=0, refine="swap").fit(xclara)
    quality = silhouette(xclara, model.labels_)
    (centers,) = page.tables
    for c, row in enumerate(centers[1:]):
        size = int(model.cluster_weights_[c])
        values = [f"{value:.10g}" for value in model.cluster_centers_[c]]
        assert row == [str(c), f"{size:,}", f"{quality.clusters[c].mean:.3f}", *values]
    assert "611605.8807" in page.texts["dd"]
    assert f"{quality.score:.4f}" in page.texts["dd"]
    first = Path("report.html").read_bytes()
    assert cli.main(shlex.split(page.texts["pre"])[1:]) == 0
    assert Path("report.html").read_bytes() == first


def test_reports_of_odd_data(monkeypatch):
    monkeypatch.setattr("fastkmeans.report.MOST_ROWS", 20)
    X = np.random.default_rng(0).normal(size=(260, 60))
    page = Page(fit_report("<b>&.csv", "fastkmeans 'a & b'", X, None, KMeans(30, random_state=0).fit(X)))
    assert page.texts["h1"] == "<b>&.csv: 30 clusters"
    assert page.texts["pre"] == "fastkmeans 'a & b'"
    assert len(page.tables[0]) == 21
    assert len(page.tables[0][0]) == 53
    assert "... 10 more clusters and 10 more columns" in page.texts["p"]
    one = Page(fit_report("x.npy", "", X, [f"<{j}>" for j in range(60)], KMeans(1).fit(X)))
    assert len(one.pictures) == 2, "one cluster has no silhouette"
    assert one.tables[0][0][:3] == ["cluster", "size", "<0>"]
    many = np.vstack([X[:, :2]] * 80)
    assert (
        "simplified silhouette"
        in Page(fit_report("x", "", many, None, KMeans(2, random_state=0).fit(many))).texts["dt"]
    )


def test_diagnose_prints_the_diagnosis(run, xclara, xclara_path):
    code, out, err = run("diagnose", xclara_path, "--restarts", 2, "--references", 3, "--seed", 1)
    assert (code, err) == (0, "")
    expected = diagnose(xclara, feature_names=["V1", "V2"], random_state=1, n_restarts=2, n_references=3)
    assert out == f"xclara.csv: 3,000 rows, 2 columns\n\n{expected}\n"
    assert "'V2' varies most" in out
    code, out, _ = run("diagnose", xclara_path, "-k", 5, "--restarts", 2, "--references", 2)
    assert "The model has 5 clusters." in " ".join(out.split())
    run("fit", xclara_path, "-k", 4, "--model", "m.npz")
    code, out, _ = run("diagnose", xclara_path, "--model", "m.npz", "--restarts", 2, "--references", 2)
    assert "The model has 4 clusters." in " ".join(out.split())


def test_a_label_column_is_left_out(run, tmp_path):
    (tmp_path / "flowers.csv").write_text(LABELED)
    for command in (["choose", "flowers.csv", "--ks", "1-5"], ["diagnose", "flowers.csv", "--restarts", "2"]):
        code, out, err = run(*command)
        assert (code, out) == (2, "")
        assert err == "fastkmeans: error: flowers.csv, line 2, column 'species': 'setosa' is not a number\n"
        code, out, err = run(*command, "--columns", "sepal,petal")
        assert (code, err) == (0, "")
        assert out.startswith("flowers.csv: 36 rows, 2 columns\n")
    code, out, _ = run("choose", "flowers.csv", "--columns", "sepal,petal", "--ks", "1-5", "--report", "r.html")
    assert read("r.html").tables[1][0] == ["cluster", "size", "silhouette", "sepal", "petal"]
    assert "k=3 is the elbow" in out


@pytest.mark.parametrize("command", [["choose"], ["diagnose"], ["fit", "-k", "2"]])
def test_missing_values_are_refused_by_place(run, tmp_path, command):
    (tmp_path / "gaps.csv").write_text("height,weight\n1,2\n3,\n5,6\n")
    code, out, err = run(*command, "gaps.csv")
    assert (code, out) == (2, "")
    assert err == "fastkmeans: error: gaps.csv, line 3, column 'weight': the value is missing\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["choose", "y.csv", "--ks", "a-b"], "argument --ks: invalid numbers of clusters value: 'a-b'"),
        (["choose", "y.csv", "--ks", "5-2"], "invalid numbers of clusters value: '5-2'"),
        (["choose", "y.csv", "--method", "guess", "--ks", "1-3"], "error: --method must be one of"),
        (["choose", "y.csv"], "n_samples=4 should be >= 10, the largest of ks"),
        (["choose", "y.csv", "--ks", "0-3"], "error: --ks must"),
        (["choose", "y.csv", "--ks", "1-3", "--plot", "p.doc"], "--plot p.doc: expected a name ending in"),
        (
            ["choose", "y.csv", "--ks", "1-3", "--report", "r.pdf"],
            "--report r.pdf: expected a name ending in .htm, .html",
        ),
        (["choose", "y.csv", "--ks", "1-3", "--report", "no/r.html"], "cannot write no/r.html: there is no folder no"),
        (["fit", "y.csv", "-k", "2", "--refine", "anneal"], "error: --refine must"),
        (["diagnose", "y.csv", "-k", "2", "--model", "m.npz"], "not allowed with argument"),
        (["diagnose", "y.csv", "--restarts", "1"], "error: --restarts must"),
        (["diagnose", "missing.csv"], "missing.csv: No such file or directory"),
    ],
)
def test_mistakes_cost_one_line(run, tmp_path, args, message):
    (tmp_path / "y.csv").write_text("a,b\n1,2\n3,4\n5,7\n6,9\n")
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["y.csv"]


@pytest.mark.parametrize("command", [["choose"], ["fit", "-k", "3"]])
def test_a_report_without_matplotlib_is_refused_at_once(run, monkeypatch, xclara_path, command):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = run(*command, xclara_path, "--report", "r.html")
    assert (code, out) == (2, "")
    assert err == "fastkmeans: error: pictures need matplotlib: pip install 'fastkmeans-numba[plot]'\n"
