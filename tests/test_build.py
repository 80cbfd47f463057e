"""How the kernels are built: bounds, parallel loops that are parallel, no fastmath, and a cache that notices changes.

What needs other settings runs this file as a script in a process of its own, with the name of one of the functions at
the end; it prints a JSON line of what it saw.
"""

import ast
import hashlib
import importlib
import importlib.util
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.dispatcher import Dispatcher
from numba.core.typed_passes import ParforPass
from numba.parfors.parfor import Parfor

import fastkmeans
import fastkmeans.kernels
from fastkmeans import (
    KMeans,
    packed,
    silhouette,
    simplified_silhouette,
)
from fastkmeans.kernels import jit, lloyd, simd

WIDTH = max(4, simd.native_lanes())


def run(name, *arguments, **environment):
    """Run one of the functions below in a process of its own."""
    root = str(Path(fastkmeans.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root, **environment}
    command = [sys.executable, "-W", "error", __file__, name, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def dispatchers():
    """Every compiled function of the kernels, by module and name."""
    found = {}
    for module_info in pkgutil.iter_modules(fastkmeans.kernels.__path__):
        module = importlib.import_module(f"fastkmeans.kernels.{module_info.name}")
        for name, value in vars(module).items():
            if isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__:
                found[f"{module_info.name}.{name}"] = value
    return found


KERNELS = dispatchers()
LOOP = "parallel.run_lanes"


# ------------------------------------------------------------------------------------------------------- options
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_options(name):
    """No fastmath anywhere; no GIL, so that Python threads can serve; one of them has a prange."""
    options = KERNELS[name].targetoptions
    assert not options.get("fastmath")
    assert options.get("nogil") is True
    assert options.get("error_model") == "numpy"
    assert bool(options.get("parallel")) == (name == LOOP)
    assert not options.get("boundscheck")


# ------------------------------------------------------------------------------------------------ parallel loops
def workload(n_threads, dtype="f4"):
    """Call every kernel: seeding, passes by plain loops and in all orientations, weights, transform, silhouettes."""
    rng = np.random.default_rng(0)
    sha = hashlib.sha256()

    def note(*values):
        for value in values:
            sha.update(np.ascontiguousarray(value).tobytes())

    for width, orientation, d in (
        (1, None, 3),
        (WIDTH, "points", 3),
        (WIDTH, "centers", 70),
        (WIDTH, "integers", 70),
        (WIDTH, "features", 70),
    ):
        n = 500
        X = (rng.normal(size=(n, d)) + rng.integers(3, 6, (n, 1))).astype(dtype)
        X[::9] = X[0] / 2 + X[1] / 2  # doubtful for two of the clusters
        with simd.force_lanes(width):
            for k, weights in ((5, None), (35, rng.integers(0, 3, n) / 2)):
                with lloyd.force_orientation(orientation or "centers"), warnings.catch_warnings():
                    warnings.simplefilter("ignore", fastkmeans.exceptions.ConvergenceWarning)
                    for init in ("k-means++", "k-means||", X[:k]):
                        model = KMeans(
                            k, init=init, n_init=1, max_iter=4, tol=0, random_state=1, n_threads=n_threads,
                            algorithm="elkan",
                        ).fit(X, sample_weight=weights)  # fmt: skip
                        note(model.labels_, model.cluster_centers_, model.inertia_, model.predict(X))
            note(model.transform(X))
            if d == 3:  # bytes, whose ranges are found in another way
                note(KMeans(5, init=X[:5], n_init=1, max_iter=2, n_threads=n_threads).fit(X.astype("u1")).labels_)
            note(silhouette(X, model.labels_, n_threads=n_threads).values)
            note(simplified_silhouette(X, model.labels_, model.cluster_centers_, n_threads=n_threads).values)
    return sha.hexdigest()


class UntilParfors(CompilerBase):
    """Numba's pipeline up to the pass that finds parallel loops."""

    def define_pipelines(self):
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes = [step for step, _ in pipeline.passes]
        del pipeline.passes[passes.index(ParforPass) + 1 :]
        pipeline.finalize()
        return [pipeline]


def test_the_prange_is_a_parallel_loop(monkeypatch):
    """Numba may run a prange serially without a word. The one loop must have become a parallel region.

    What was loaded from the cache knows nothing of loops, so it is compiled again, as far as that tells.
    """
    compiler = KERNELS[LOOP]._compiler
    diagnostics = []
    monkeypatch.setattr(ParforPass, "run_pass", noting(ParforPass.run_pass, diagnostics))
    monkeypatch.setattr(compiler, "pipeline_class", UntilParfors)
    compiler.compile((numba.int64,) * 3, None)
    assert [(found.count_parfors(), has_loop) for found, has_loop in diagnostics] == [(1, True)]


def noting(run_pass, diagnostics):
    """The pass, which then notes what it says of loops, and whether a parallel one is in the code; the last of all."""

    def run(self, state):
        changed = run_pass(self, state)
        body = [step for block in state.func_ir.blocks.values() for step in block.body]
        diagnostics.append((state.metadata["parfor_diagnostics"], sum(isinstance(s, Parfor) for s in body) == 1))
        state.cr = SimpleNamespace(typing_error=None)  # nothing is compiled to the end
        return changed

    return run


# -------------------------------------------------------------------------------------------------------- bounds
def _checked():
    assert not numba.config.BOUNDSCHECK or out_of_bounds_is_noticed()
    packed.PLAIN_WORK = 0.0
    return {"digest": workload(1), "bounds": bool(numba.config.BOUNDSCHECK)}


@jit.kernel
def beyond(values, i):
    return values[i]


def out_of_bounds_is_noticed():
    try:
        beyond(np.zeros(3), 3)
    except IndexError:
        return True
    return False


def test_no_index_is_out_of_bounds(tmp_path):
    """Fits, seeding, transform with every index checked. Numba's cache doesn't know this setting: a folder of its own.

    The intrinsics' own loads and stores are not checked by it: test_kernels.py surrounds those with canaries.
    """
    seen = run("_checked", NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert seen == {"digest": workload(1), "bounds": True}
    check_no_array_is_returned()


def check_no_array_is_returned():
    """A caller takes back the reference to what it gets: a callee that counts none must not return an array.

    Numba refuses all but an argument that is returned.  It is asked here, where nearly all has been compiled.
    """
    uncounted = {name: kernel for name, kernel in KERNELS.items() if not kernel.targetoptions["_nrt"]}
    returned = {name: [s.return_type for s in kernel.nopython_signatures] for name, kernel in uncounted.items()}
    assert sum(map(bool, returned.values())) > len(KERNELS) / 4
    for name, found in returned.items():
        assert not any(isinstance(kind, types.Array) for kind in found), name


# --------------------------------------------------------------------------------------------------------- cache
def imported(folder, name):
    """Modules of the kernels that this one imports, directly or not, by Python's own parser."""
    seen, ahead = set(), [name]
    while ahead:
        name = ahead.pop()
        if name in seen or not (folder / f"{name}.py").is_file():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                ahead += [node.module] if node.module else [alias.name for alias in node.names]
    return seen | {"jit", "__init__"}


def test_a_stamp_changes_with_every_source_that_a_kernel_is_made_from(tmp_path):
    folder = tmp_path / "kernels"
    shutil.copytree(Path(jit.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    names = sorted(path.stem for path in folder.glob("*.py"))
    assert len(names) >= 30

    def digests():
        spec = importlib.util.spec_from_file_location("copied_jit", folder / "jit.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return {name: module.source_digest(name) for name in [*names, "elsewhere"]}

    made_from = {name: imported(folder, name) for name in names} | {"elsewhere": set(names)}
    before = digests()
    assert before == {name: jit.source_digest(name) for name in before}
    for changed in names:
        path = folder / f"{changed}.py"
        path.write_text(path.read_text() + "\n# one line more\n")
        after = digests()
        assert {name for name in before if after[name] != before[name]} == {
            name for name in before if changed in made_from[name]
        }
        before = after
    (folder / "micro.py").rename(folder / "macro.py")
    assert digests()["elsewhere"] != before["elsewhere"]


def test_the_stamp_reaches_the_cache():
    for name, dispatcher in KERNELS.items():
        module = Path(dispatcher.py_func.__code__.co_filename).stem
        assert dispatcher._cache._cache_file._source_stamp[1] == jit.source_digest(module), name


def _uncached():
    """No place to write compiled kernels to: one warning, and a fit as good as any."""
    from numba.core.caching import CacheImpl

    for cls in (CacheImpl, *CacheImpl.__subclasses__()):
        if "_locator_classes" in vars(cls):
            cls._locator_classes = []
    for name in [m for m in sys.modules if m.startswith("fastkmeans")]:
        del sys.modules[name]  # the kernels of this process were made before
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import fastkmeans

        X = np.random.default_rng(0).normal(size=(50, 2))
        model = fastkmeans.KMeans(3, init=X[:3], n_init=1).fit(X)
    return {"labels": model.labels_.tolist(), "warnings": [[w.category.__name__, str(w.message)] for w in caught]}


def test_where_nothing_can_be_cached():
    seen = run("_uncached")
    X = np.random.default_rng(0).normal(size=(50, 2))
    assert seen["labels"] == KMeans(3, init=X[:3], n_init=1).fit(X).labels_.tolist()
    ((category, message),) = seen["warnings"]
    assert category == "RuntimeWarning"
    assert "Set NUMBA_CACHE_DIR" in message


def test_a_cache_folder_that_is_a_file(tmp_path):
    """Numba looks for another place then, and so do we."""
    path = tmp_path / "file"
    path.write_text("in the way")
    seen = run("_small", NUMBA_CACHE_DIR=str(path / "cache"))
    X = np.random.default_rng(0).normal(size=(50, 2))
    assert seen == KMeans(3, init=X[:3], n_init=1).fit(X).labels_.tolist()


def _small():
    X = np.random.default_rng(0).normal(size=(50, 2))
    return KMeans(3, init=X[:3], n_init=1).fit(X).labels_.tolist()


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
