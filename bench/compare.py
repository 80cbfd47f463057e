"""Compare fastkmeans with its peers on the benchmark's data sets, and measure what its README promises.

    python bench/compare.py --task ten                     # ten iterations, every system, every set
    python bench/compare.py --task converge                # from the same start until tol=1e-4 is met
    python bench/compare.py --task seed --sets noise64     # k-means++ alone
    python bench/compare.py --task default                 # KMeans(k, random_state=seed).fit(X)
    python bench/compare.py --task pass,memory,cold        # steady pass, peak memory, start from the shell
    python bench/compare.py --task ten --scale 0.02        # a trial with few rows
    python bench/compare.py --render results.json --readme README.md    # tables from a saved run

The rules are in bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cold
import comparison
import datasets
import machine
import memory
import report
import steady
from systems import DEFAULT_SYSTEMS, SYSTEMS
from worker import ROOT, WorkerFailed

TASKS = ("ten", "converge", "seed", "default", "pass", "memory", "cold")


def names(known: tuple[str, ...]) -> Any:
    """An argparse type: a comma-separated list of known names."""

    def parse(value: str) -> list[str]:
        chosen = [name.strip() for name in value.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is not among {', '.join(known)}")
        return list(dict.fromkeys(chosen))

    return parse


def arguments(argv: list[str] | None) -> argparse.Namespace:
    sets = tuple(datasets.SETS)
    systems = tuple(name for name in SYSTEMS if name != "numpy")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", type=names(TASKS), default=["ten"], help=f"one or more of {','.join(TASKS)}")
    parser.add_argument("--sets", type=names(sets), default=list(sets), help="default: all; names: " + ",".join(sets))
    parser.add_argument(
        "--systems",
        type=names(systems),
        default=list(DEFAULT_SYSTEMS),
        help=f"default: {','.join(DEFAULT_SYSTEMS)}; also faiss-super, fastkmeans-lloyd",
    )
    parser.add_argument("--repeats", type=int, default=5, help="default 5; three where a run takes over 20 s")
    parser.add_argument("--threads", type=int, default=2, help="threads of every system, default 2")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows, for a trial")
    parser.add_argument("--time-limit", type=float, default=900.0, help="seconds after which a run is given up")
    parser.add_argument("--embeddings", metavar="PATH", help="sentence embeddings, .npy; or FASTKMEANS_EMBEDDINGS")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the results as JSON")
    parser.add_argument("--render", metavar="FILE", type=Path, nargs="+", help="measure nothing: tables of saved runs")
    parser.add_argument("--readme", metavar="FILE", type=Path, help="put the tables between the marks of this file")
    options = parser.parse_args(argv)
    if options.repeats < 1 or options.threads < 1 or not 0 < options.scale <= 1:
        parser.error("--repeats and --threads must be at least 1, --scale above 0 and at most 1")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the tasks asked for."""
    settings = comparison.Settings(
        systems=options.systems,
        sets=options.sets,
        n_threads=options.threads,
        repeats=options.repeats,
        scale=options.scale,
        time_limit=options.time_limit,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    results: dict[str, Any] = {
        "machine": machine.describe(options.threads, options.systems),
        "scale": options.scale,
        "repeats": options.repeats,
        "tasks": {},
        "failed": {},
    }
    if (results["machine"]["load"] or 0.0) > 0.5:
        settings.say(f"warning: load average {results['machine']['load']:.1f}; other work is running on this machine")
    multiplier = machine.yardstick(options.threads)
    try:
        results["sgemm"] = machine.sgemm_gflops(multiplier)
    finally:
        multiplier.close()
    for task in options.task:
        settings.say(f"{task} ...")
        try:
            if task in comparison.TASKS:
                results["tasks"][task] = comparison.compare(task, settings)
            else:
                results["tasks"][task] = {"pass": steady, "memory": memory, "cold": cold}[task].measure(settings)
        except WorkerFailed as failure:  # the other tasks go on
            results["failed"][task] = str(failure)
            settings.say(f"  failed: {failure}")
        if options.out is not None:  # after each task: a long run that is cut short keeps what it has
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def rendered(paths: list[Path]) -> dict[str, Any]:
    """Saved results as one; the machine is that of the first file, later tasks replace earlier ones."""
    loaded = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    results: dict[str, Any] = loaded[0]
    for other in loaded[1:]:
        results["tasks"].update(other["tasks"])
        results["failed"].update(other["failed"])
    return results


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    sys.path.append(str(ROOT))  # for the version of the checkout, where it is not installed
    datasets.set_embeddings_path(options.embeddings)
    try:
        results = rendered(options.render) if options.render else measure(options)
        print(report.text(results))
        if options.readme is not None:
            report.write_readme(options.readme, report.markdown(results))
    except (OSError, ValueError, WorkerFailed) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
