"""Imports: they run one way through the package, need only the runtime dependencies, and load late."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastkmeans

PACKAGE = Path(fastkmeans.__file__).parent

# Rank of each module. One may import modules of a lower rank, and of its own rank without going round in circles.
RANKS = {
    "kernels": 0,
    "threads": 1,
    "arrays": 1,
    "gather": 1,
    "cells": 1,
    "frames": 1,
    "sparse": 1,
    "weights": 1,
    "points": 1,
    "cosine": 1,
    "data": 2,
    "draws": 1,
    "packed": 2,
    "passes": 2,
    "row_codes": 2,
    "bounded": 2,
    "assigner": 2,
    "sparse_passes": 2,
    "sparse_plusplus": 2,
    "brief": 2,
    "distance_table": 2,
    "byte_rows": 2,
    "panel_gains": 2,
    "codes": 2,
    "forecast": 2,
    "plusplus": 2,
    "potentials": 2,
    "visits": 2,
    "scalable": 2,
    "seeding": 2,
    "refine": 3,
    "solver": 3,
    "sweep": 3,
    "batches": 3,
    "hierarchy": 3,
    "conventions": 3,
    "exceptions": 2,
    "base": 3,
    "parameters": 3,
    "estimators": 4,
    "starts": 4,
    "minibatch": 4,
    "bisecting": 4,
    "callbacks": 5,
    "files": 5,
    "models": 5,
    "tables": 5,
    "quality": 5,
    "plotting": 5,
    "charts": 5,
    "choose": 5,
    "gap": 5,
    "diagnosis": 5,
    "report": 5,
    "console": 5,
    "command_files": 5,
    "commands": 6,
    "distributed": 5,
    "cli": 6,
    "__main__": 7,
}
AT_MODULE_LEVEL = {"numpy", "numba", "threadpoolctl"}
COMES_WITH_NUMBA = {"llvmlite"}  # for kernels only


def unit(module: str) -> str:
    """The unit of a dotted module name that has a rank: fastkmeans.kernels.pack -> kernels; "" for the root."""
    return module.removeprefix("fastkmeans").lstrip(".").split(".")[0]


def imported_modules(source: str, module: str, *, inside_functions: bool = True) -> Iterator[str]:
    """Dotted names of what `source`, the text of `module`, imports; blocks under TYPE_CHECKING are left out."""
    todo: list[ast.AST] = [ast.parse(source)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".")[: -node.level]
                base = ".".join([*parent, *filter(None, [base])])
            for alias in node.names:
                # "from fastkmeans import solver" imports a module, "from fastkmeans import __version__" does not
                below = f"{base}.{alias.name}"
                yield below if base == "fastkmeans" and unit(below) in RANKS else base
        todo.extend(ast.iter_child_nodes(node))


def sources() -> dict[str, str]:
    """Text of every module of the package but its root, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["fastkmeans", *path.relative_to(PACKAGE).with_suffix("").parts]
        if parts[-1] == "__init__":
            # a package's own name with a last part, so that relative imports resolve as in any module inside it
            if len(parts) == 2:
                continue
        found[".".join(parts)] = path.read_text(encoding="utf-8")
    return found


def backward_imports(texts: dict[str, str]) -> list[str]:
    """Every import that runs against the ranks, as "importer -> imported"."""
    wrong = []
    for module, text in texts.items():
        for target in imported_modules(text, module):
            if target.split(".")[0] != "fastkmeans":
                continue
            importer, imported = unit(module), unit(target)
            if importer == "kernels":
                allowed = imported == "kernels"
            else:
                allowed = imported == "" or RANKS[imported] <= RANKS[importer]
            if not allowed:
                wrong.append(f"{module} -> {target}")
    return wrong


def cycle(texts: dict[str, str]) -> list[str]:
    """Units that import each other in a circle, or an empty list."""
    arrows: dict[str, set[str]] = {}
    for module, text in texts.items():
        targets = {unit(t) for t in imported_modules(text, module) if t.split(".")[0] == "fastkmeans"}
        arrows.setdefault(unit(module), set()).update(targets - {unit(module), ""})
    while arrows:
        free = [name for name, targets in arrows.items() if not targets & arrows.keys()]
        if not free:
            return sorted(arrows)
        for name in free:
            del arrows[name]
    return []


def test_every_module_has_a_rank():
    assert {unit(module) for module in sources()} <= RANKS.keys(), "give the new module a rank in this file"


def test_imports_run_one_way():
    assert backward_imports(sources()) == []


def test_no_import_cycle():
    assert cycle(sources()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("fastkmeans.solver", "from fastkmeans.estimators import KMeans"),
        ("fastkmeans.solver", "from fastkmeans import estimators"),
        ("fastkmeans.solver", "from . import cli"),
        ("fastkmeans.points", "def f():\n    import fastkmeans.solver"),
        ("fastkmeans.kernels.pack", "from ..points import Points"),
        ("fastkmeans.kernels.pack", "import fastkmeans"),
        ("fastkmeans.estimators", "class A:\n    def f(self):\n        from fastkmeans.plotting import plot"),
    ],
)
def test_the_check_sees_an_arrow_back(module, line):
    assert backward_imports({module: line})


def test_the_check_sees_a_cycle():
    texts = {
        "fastkmeans.points": "from fastkmeans.threads import x",
        "fastkmeans.threads": "def f():\n    from fastkmeans.points import y",
        "fastkmeans.base": "import numpy",
    }
    assert cycle(texts) == ["points", "threads"]


def test_module_level_imports_are_runtime_dependencies():
    wrong = []
    for module, text in sources().items():
        allowed = AT_MODULE_LEVEL | (COMES_WITH_NUMBA if unit(module) == "kernels" else set())
        for target in imported_modules(text, module, inside_functions=False):
            top = target.split(".")[0]
            if top != "fastkmeans" and top not in allowed and top not in sys.stdlib_module_names:
                wrong.append(f"{module} -> {target}")
    assert wrong == []


def test_root_imports_only_the_standard_library():
    text = Path(fastkmeans.__file__).read_text(encoding="utf-8")
    tops = {target.split(".")[0] for target in imported_modules(text, "fastkmeans.__init__")}
    assert tops <= set(sys.stdlib_module_names)


def run(code: str) -> str:
    """Standard output of `code` in a fresh interpreter that sees the same packages and treats warnings as errors."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOADED = "import sys; print([m for m in {names!r} if m in sys.modules])"
HEAVY = ["numba", "llvmlite", "scipy", "sklearn", "matplotlib", "pandas", "polars"]


def test_import_fastkmeans_loads_nothing_heavy():
    names = [*HEAVY, "numpy", "fastkmeans.estimators"]
    assert run(f"import fastkmeans; {LOADED.format(names=names)}") == "[]"


def test_constructing_an_estimator_does_not_load_numba():
    code = "from fastkmeans import KMeans; repr(KMeans(3).set_params(tol=0)); "
    assert run(code + LOADED.format(names=HEAVY)) == "[]"


def test_fitting_does_not_load_other_packages():
    code = "from fastkmeans import KMeans; KMeans(2, random_state=0).fit([[0., 1.], [5., 4.], [5., 5.]]); "
    # Numba loads SciPy's linear algebra, where there is one, before the first kernel: that is not ours to prevent
    others = [name for name in HEAVY if name not in ("numba", "llvmlite", "scipy")]
    assert run(code + LOADED.format(names=others)) == "[]"


def test_own_error_classes_without_scikit_learn():
    code = """
import sys, warnings
from fastkmeans import KMeans
import fastkmeans.exceptions as exceptions
try:
    KMeans().predict([[1.0]])
except exceptions.NotFittedError as error:
    assert isinstance(error, ValueError) and isinstance(error, AttributeError)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    KMeans(2, random_state=0).fit([[1.0], [1.0]])
assert [w.category for w in caught] == [exceptions.ConvergenceWarning], caught
print("sklearn" in sys.modules)
"""
    assert run(code) == "False"


def test_public_names():
    assert {"KMeans", "silhouette", "choose_k", "diagnose", "kmeans_plusplus", "__version__"} <= set(fastkmeans.__all__)
    assert set(fastkmeans.__all__) <= set(dir(fastkmeans))
    for name in set(fastkmeans.__all__) - {"__version__"}:
        assert getattr(fastkmeans, name).__module__ == fastkmeans._HOME[name]
    assert run("import fastkmeans; print('KMeans' in dir(fastkmeans))") == "True"
    with pytest.raises(AttributeError, match="module 'fastkmeans' has no attribute 'KMedians'"):
        _ = fastkmeans.KMedians
    assert (PACKAGE / "py.typed").is_file()
