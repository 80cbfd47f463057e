"""The documentation is true: its Python runs, its commands print what it shows, its files exist."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import fastkmeans
from fastkmeans import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = doctest.NORMALIZE_WHITESPACE


def block(kind, name):
    """The fenced block below the marker ``<!-- kind: name -->``."""
    return re.search(rf"<!-- {kind}: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL).group(1)


@pytest.fixture
def beside_the_data(tmp_path, monkeypatch):
    """An empty folder that sees the data of the README where the README sees it."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_examples(text, name, names):
    runner = doctest.DocTestRunner(optionflags=EXAMPLES)
    report = []
    test = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
    return runner.tries


def test_python_of_the_readme(beside_the_data):
    blocks = re.findall(r"```pycon\n(.*?)```", README, re.DOTALL)
    assert run_examples("\n".join(blocks), "README.md", {}) >= 15
    assert Path("clusters.pdf").stat().st_size > 1000
    for name in ("rows", "three", "convergence", "wrong", "elbow", "silhouette", "blobs"):
        assert Path(f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_first_command_prints_what_the_readme_shows(beside_the_data, capsys):
    command = block("command", "first").strip().split("&&")[-1]
    program, *args = shlex.split(command)
    assert program == ".venv/bin/fastkmeans"
    assert cli.main(args) == 0
    assert capsys.readouterr().out == block("output", "first")
    assert Path("labels.csv").read_text().count("\n") == 3001
    assert Path("clusters.png").read_bytes().startswith(b"\x89PNG")


def test_options_of_the_readme_are_the_options():
    shown = re.search(r"```sh\n(fastkmeans fit DATA.*?)```", README, re.DOTALL).group(1)
    subparsers = cli._parser()._subparsers._group_actions[0].choices
    texts = re.split(r"^fastkmeans (\w+) ", shown, flags=re.MULTILINE)[1:]
    assert texts[::2] == list(subparsers)
    for command, text in zip(texts[::2], texts[1::2], strict=True):
        options = {o for action in subparsers[command]._actions for o in action.option_strings} - {"-h", "--help"}
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)) == options


def test_every_parameter_and_difference_is_there():
    for word in ("n_threads", "history_", "converged_", "cluster_weights_", "must not share an environment", "2 cores"):
        assert word in README


def test_links_of_the_documents_lead_to_files():
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text(encoding="utf-8")):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{document}: {target}"


PUBLIC = [
    name
    for _, name, is_package in pkgutil.walk_packages(fastkmeans.__path__, "fastkmeans.")
    if name != "fastkmeans.__main__" and ".kernels" not in name and not is_package
]


@pytest.mark.parametrize("module", PUBLIC)
def test_examples_of_docstrings(module, beside_the_data):
    loaded = importlib.import_module(module)
    report = []
    runner = doctest.DocTestRunner(optionflags=EXAMPLES)
    for test in doctest.DocTestFinder(exclude_empty=True).find(loaded, module):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


NAMES = [name for name in fastkmeans.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", [*NAMES, "callbacks.record", "callbacks.stop_after", "callbacks.progress"])
def test_public_names_have_an_example(name):
    """What users import says what it takes and gives, and shows it: the test above runs the example."""
    value = fastkmeans
    for part in name.split("."):
        value = getattr(value, part) if part != "callbacks" else importlib.import_module("fastkmeans.callbacks")
    text = inspect.getdoc(value)
    assert doctest.DocTestParser().get_examples(text)
    assert re.search(r"^(Parameters|Attributes)\n-+$", text, re.MULTILINE)
