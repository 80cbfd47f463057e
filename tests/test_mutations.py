"""A test that can't fail is a defect: each mutation breaks a copy of the package, and the test it names must go red.

Compiling is what costs time here. So a copy begins with what is compiled already: the unbroken one with what lies in
the package's folder, a broken one with what the unbroken one needed, and compiles what its mutation touches.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import fastkmeans

TESTS = Path(__file__).parent
PACKAGE = Path(fastkmeans.__file__).parent

RUN = """
import sys, pytest, fastkmeans
assert fastkmeans.__file__.startswith(sys.argv[1]), fastkmeans.__file__
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--tb=short", *sys.argv[2:]]))
"""


class Mutation(NamedTuple):
    file: str
    old: str  # replaced wherever it stands in the file
    new: str
    test: str  # in test_exact_fit.py, unless it names another file


MUTATIONS = {
    "drop the second best": Mutation(
        "kernels/micro.py",
        "second = simd.maximum(b, second, simd.minimum(b, v, best))",
        "second = simd.minimum(b, second, second)",
        "test_kernels.py::test_assign_tile",
    ),
    "drop the second best of few centers": Mutation(
        "kernels/features.py",
        "second = max(second, best if above else value)",
        "second = min(second, value)",
        "test_certificate.py::test_passes_find_the_canonical_argmin[features]",
    ),
    "skip one re-decision": Mutation(
        "kernels/lloyd.py",
        "for q in range(count):",
        "for q in range(1, count):",
        "test_certificate.py::test_passes_find_the_canonical_argmin[centers]",
    ),
    "ignore the second digit": Mutation(
        "kernels/lloyd.py",
        "np.int64(low)",
        "np.int64(0)",
        "test_plain_loops[blobs]",
    ),
    "break a tie upward": Mutation(
        "kernels/canonical.py",
        "if out[l] < best or label < 0:",
        "if out[l] <= best or label < 0:",
        "test_plain_loops[line lattice]",
    ),
    "widen nothing into the rounding bound": Mutation(
        "packed.py",
        "gamma = (min(d, 64) + -(-d // 64) + 6) * 2.0**-24 * 1.001",
        "gamma = 0.0",
        "test_predict_is_the_canonical_argmin[uniform32-ulp]",
    ),
    "forget what sixteen bits take": Mutation(
        "kernels/filtered.py",
        "margin += np.float32(2.05) * (rest * largest + (length + rest) * c_residual)",
        "margin += np.float32(0.0)",
        "test_rows_as_start[many wide clusters f64]",
    ),
    "forget what sixteen bits take from a bound": Mutation(
        "kernels/filtered.py",
        "first -= np.float32(2.05) * ((length + rest) * rest_norm + np.float32(UNDERFLOW))",
        "rest = np.float32(0.0)",
        "test_bounded.py::test_bounds_that_a_dense_pass_leaves_hold[uniform]",
    ),
    "let the nearest of the estimates win": Mutation(
        "kernels/filtered.py",
        "if close > 1:",
        "if close > k:",
        "test_other_starts[many wide clusters-ulp]",
    ),
    "sum inertia in float": Mutation(
        "passes.py",
        "    exponent = max(field_exponent(largest) - 94, -1074)\n",
        "    return RowSum(int(math.ldexp(values.sum(), 60)), -60)\n",
        "test_rows_as_start[blobs32]",
    ),
    "forget weights in the variance": Mutation(
        "solver.py",
        "            self.scatter = passes.inertia(self.data, self.mean.reshape(1, -1), nowhere).value\n",
        "            kept, self.data.weights = self.data.weights, self.data.weights[:0]\n"
        "            self.scatter = passes.inertia(self.data, self.mean.reshape(1, -1), nowhere).value\n"
        "            self.data.weights = kept\n",
        "test_tolerance_stops_where_the_oracle_does",
    ),
    "refill moves mass": Mutation(
        "solver.py",
        "            new[empty[filled]] = row\n",
        "            new[empty[filled]] = row\n"
        "            donor = labels[values.argmax()]\n"
        "            new[donor] -= (row - new[donor]) / max(sums.weights[donor] - 1, 1)\n",
        "test_refills_match[blobs]",
    ),
    "skip the final assignment": Mutation(
        "solver.py",
        "            done.assigner.assign(done.centers, done.labels, done.sums, measure, last=True)\n",
        "            pass\n",
        "test_rows_as_start[blobs32]",
    ),
    "stop below the tolerance only": Mutation(
        "solver.py", "if shift <= limit:", "if shift < limit:", "test_tolerance_is_compared_exactly[uniform]"
    ),
    "round a bound inward": Mutation(
        "kernels/bounds.py",
        "WIDER, NARROWER = 1.0 + 2e-7,",
        "WIDER, NARROWER = 1.0 - 2e-7,",
        "test_bounded.py::test_bounds_hold_while_nothing_moves[neighbors]",
    ),
    "forget one drift": Mutation(
        "bounded.py",
        "        self.rise = rounded_up(moved)\n",
        "        moved[0] = 0.0\n        self.rise = rounded_up(moved)\n",
        "test_bounded.py::test_bounds_hold_when_centers_jump[neighbors]",
    ),
    "forget a refilled center": Mutation(
        "bounded.py",
        "        self.rise = rounded_up(moved)\n",
        "        moved[moved > 1e3 * np.median(moved)] = 0.0\n        self.rise = rounded_up(moved)\n",
        "test_bounded.py::test_refills_that_bounds_must_notice[neighbors]",
    ),
    "forget the way of the runner-up": Mutation(
        "kernels/drake.py",
        'near = b.fcmp_unordered("<=", gap, b.fadd(owns, others))',
        'near = b.fcmp_unordered("<=", gap, owns)',
        "test_bounded.py::test_bounds_hold_over_many_passes[runners-up-4]",
    ),
    "forget the number in a value's lowest bits": Mutation(
        "kernels/drake.py",
        "KEY_ERROR = MOST * 2.0**-23",
        "KEY_ERROR = 0.0",
        "test_bounded.py::test_bounds_hold_between_centers_nearly_as_near",
    ),
    "forget the fastest of the others": Mutation(
        "bounded.py",
        "        self.fastest += fall\n",
        "",
        "test_bounded.py::test_bounds_hold_when_centers_jump[runners-up]",
    ),
    "forget that centers draw nearer to each other": Mutation(
        "kernels/elkan.py",
        "left = between[row + g] - (way + step[g]) * np.float32(1.0 + 4e-7)",
        "left = between[row + g]",
        "test_bounded.py::test_bounds_hold_when_one_center_creeps[groups]",
    ),
    "forget the center that a row has left": Mutation(
        "kernels/elkan.py",
        "min(lower[i * n_groups + home], left)",
        "lower[i * n_groups + home]",
        "test_bounded.py::test_bounds_hold_over_many_passes[groups-50]",
    ),
    "forget what codes of rows are off by": Mutation(
        "kernels/row_codes.py",
        "residuals[i] = upper_bound(measures[1], np.float32(0.0), differences) * np.float32(1.0 + 1e-5)",
        "residuals[i] = np.float32(0.0)",
        "test_bounded.py::test_bounds_hold_over_many_passes[codes-50]",
    ),
    "forget that others are looked at through codes, too": Mutation(
        "kernels/elkan.py",
        "found[p] = less_slip(lower_by_product(start[s], factor[s], group_norm, term, best[p]), apart[s])",
        "found[p] = lower_by_product(start[s], factor[s], group_norm, term, best[p])",
        "test_bounded.py::test_bounds_hold_over_many_passes[codes-50]",
    ),
    "forget what lies beyond reach": Mutation(
        "kernels/bounds.py",
        "within = simd.minimum(b, b.fsub(l, fall), b.fsub(reach, u))",
        "within = b.fsub(l, fall)",
        "test_bounded.py::test_bounds_hold_when_centers_jump[neighbors]",
    ),
    "the last of equal candidates wins": Mutation(
        "plusplus.py",
        "return left[totals.index(max(totals))]",
        "return left[-1 - totals[::-1].index(max(totals))]",
        "test_seeded[cube lattice-k-means++]",
    ),
    "accept whatever is proposed": Mutation(
        "kernels/seeding.py",
        "if inside[cursor] < ",
        "if -1 < ",
        "test_seeded[uniform32-k-means++]",
    ),
    "the last of equal seeds of a table keeps a row": Mutation(
        "kernels/distance_table.py",
        "label < labels[i]",
        "label > labels[i]",
        "test_seeding.py::test_a_table_settles_more_seeds_than_a_vector_holds[1000-768]",
    ),
    "take no account of what a byte of 0 stands for": Mutation(
        "byte_rows.py",
        "(centers - self.low)",
        "centers",
        "test_byte_rows.py::test_rows_equal_the_oracle[False-f8]",
    ),
    "give a row in doubt to the last seed": Mutation(
        "kernels/panel_gains.py",
        "other = b.select(farther, fresh.values[PANEL + v], simd.const(btype, DOUBT))",
        "other = b.select(farther, fresh.values[PANEL + v], own)",
        "test_seeding.py::test_labels_and_distances_of_the_seeds[True-False-cube lattice]",
    ),
    "trust products as if they were exact": Mutation(
        "visits.py",
        "scale, slack = packing.frame.scale, products.error",
        "scale, slack = packing.frame.scale, 0.0",
        "test_seeding.py::test_products_leave_no_row_out[f4-60.0-True]",
    ),
    "pass by the rows of a panel": Mutation(
        "kernels/panel_distances.py",
        "return np.float32(1.0 + 3.0 * relative + 1e-6), ",
        "return np.float32(0.5), ",
        "test_seeding.py::test_labels_and_distances_of_the_seeds[False-None-uniform32]",
    ),
    "forget what codes are rounded by": Mutation(
        "kernels/codes.py",
        "limit -= by_length * lengths[i] + by_rest * rests[i] + always + by_reach * reach",
        "limit -= always",
        "test_seeding.py::test_rows_that_come_nearer_are_never_missed",
    ),
    "trust the plane between two centers": Mutation(
        "kernels/plane.py",
        "return 2.0 * (d + 8) * 2.0**-53 * total + (d + 8) * 2.0**-1070",
        "return 0.0",
        "test_plane.py::test_sides_are_canonical[False-one apart by an ulp]",
    ),
    "trust the dot products of compressed rows": Mutation(
        "kernels/sparse.py",
        "if not scores[q] > best + margin:",
        "if scores[q] <= best:",
        "test_sparse.py::test_equals_dense[integers]",
    ),
    "forget what a center has seen": Mutation(
        "batches.py",
        "self.counts += weights",
        "self.counts = weights",
        "test_minibatch.py::test_steps_by_hand",
    ),
}


class Copy:
    """A copy of the package in a folder of its own, where tests run in a process of their own."""

    def __init__(self, folder: Path, package: Path = PACKAGE):
        self.site = folder
        self.package = folder / "fastkmeans"
        shutil.copytree(package, self.package, ignore=shutil.ignore_patterns("*.pyc"), copy_function=carry)

    def run(self, *tests):
        """Exit code and output of pytest for these tests, of test_exact_fit.py unless they name another file."""
        environment = {**os.environ, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("NUMBA_CACHE_DIR", None)  # what is compiled comes with the copy, and lies beside the sources
        files = [test if ".py::" in test else f"test_exact_fit.py::{test}" for test in tests]
        names = [str(TESTS / file) for file in files]
        command = [sys.executable, "-c", RUN, str(self.site), *names]
        done = subprocess.run(command, cwd=self.site, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def run_mutated(self, mutation):
        """The same for one named test once the package is broken."""
        path = self.package / mutation.file
        source = path.read_text()
        if mutation.old not in source:
            return None, f"{mutation.file} no longer holds {mutation.old!r}: write the mutation anew"
        path.write_text(source.replace(mutation.old, mutation.new))
        return self.run(mutation.test)


def carry(source, place):
    """Copy a file. What Numba compiled is shared: it replaces these files, and never writes into one."""
    if not source.endswith((".nbi", ".nbc")):
        return shutil.copy2(source, place)
    with contextlib.suppress(FileNotFoundError):  # another process has compiled it anew meanwhile
        try:
            os.link(source, place)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, place)
    return place


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Exit code and output by name of mutation, and of the unbroken copy under None."""
    unbroken = Copy(tmp_path_factory.mktemp("unbroken"))
    found = {None: unbroken.run(*sorted({m.test for m in MUTATIONS.values()}))}

    def outcome(mutation):
        folder = tmp_path_factory.mktemp("broken")
        try:
            return Copy(folder, unbroken.package).run_mutated(mutation)
        finally:
            shutil.rmtree(folder)

    with ThreadPoolExecutor(2) as pool:
        return found | dict(zip(MUTATIONS, pool.map(outcome, MUTATIONS.values()), strict=True))


@pytest.mark.mutation
def test_unbroken(outcomes):
    """Without a mutation the named tests pass, so it is the mutation that turns one red."""
    code, output = outcomes[None]
    assert code == pytest.ExitCode.OK, output


@pytest.mark.mutation
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_seen(outcomes, name):
    code, output = outcomes[name]
    assert code == pytest.ExitCode.TESTS_FAILED, output
    assert re.search(r"^E +(assert|AssertionError)", output, re.MULTILINE), output  # found wrong, not merely broken
