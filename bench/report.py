"""Results as tables: plain text for the terminal, Markdown for the README, between its two marks.

Nothing here knows a target: a table shows what was measured, and a row that is void, failed or not comparable says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
OURS = "fastkmeans"
COMPARED = ("ten", "converge", "seed", "default")
PLAIN_LLOYD_PEERS = ("sklearn", "sklearnex", "faiss")  # exact, every distance computed
EXACT_PEERS = (*PLAIN_LLOYD_PEERS, "sklearn-elkan", "mlpack")
TITLES = {
    "ten": "Ten iterations from the same k random rows, float32: seconds, and in brackets how many times fastkmeans's",
    "converge": "Until tol=1e-4 is met, from the same k random rows, float32: seconds, in brackets how many times"
    " fastkmeans's, then iterations and milliseconds each",
    "seed": "k-means++ alone, float32: seconds, and in brackets how many times fastkmeans's",
    "default": "KMeans(k, random_state=seed).fit(X), float32: seconds, and in brackets how many times fastkmeans's",
    "pass": "Steady pass: 2 n d k operations in the fastest iteration after the first, as a share of NumPy's sgemm",
    "memory": "Peak memory of a fit above the data, in MiB",
    "cold": "From the shell: the whole process, with Numba's cache empty and warm",
}

Row = dict[str, Any]


def text_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Columns padded to their widest cell."""
    everything = [tuple(header), *map(tuple, lines)]
    widths = [max(len(line[i]) for line in everything) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in everything
    )


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column left, the others right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(header), rule, *map(list, lines)])


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else math.nan


def seconds_text(seconds: float) -> str:
    """Three significant digits."""
    return f"{seconds:.{max(0, 2 - math.floor(math.log10(seconds)))}f}" if 0 < seconds < 100 else f"{seconds:.0f}"


def usable(row: Row) -> bool:
    return row["status"] == "ok" and row["comparable"]


def means(rows: Sequence[Row]) -> list[tuple[str, float, int]]:
    """Geometric means of peer over fastkmeans: each peer, then the fastest of a group; over rows that are not void."""
    ours = {row["set"] for row in rows if row["system"] == OURS and row["status"] == "ok"}
    valid = [row for row in rows if row["set"] in ours and usable(row) and row["system"] != OURS]
    result = []
    for system in dict.fromkeys(row["system"] for row in valid):
        mine = [row for row in valid if row["system"] == system]
        result.append((mine[0]["title"], geometric_mean([row["ratio"] for row in mine]), len(mine)))
    groups = {
        "fastest of scikit-learn lloyd, sklearnex, FAISS": PLAIN_LLOYD_PEERS,
        "fastest exact peer of any algorithm": EXACT_PEERS,
    }
    for title, members in groups.items():
        best: dict[str, float] = {}
        for row in valid:
            if row["system"] in members:
                best[row["set"]] = min(row["ratio"], best.get(row["set"], math.inf))
        if best:
            result.append((title, geometric_mean(list(best.values())), len(best)))
    return result


def fastest_peers(rows: Sequence[Row]) -> list[list[str]]:
    """Per set: the fastest comparable plain-Lloyd peer, the fastest of any algorithm, and their ratios."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        line = [name]
        for members in (PLAIN_LLOYD_PEERS, EXACT_PEERS):
            ranked = [row for row in rows if row["set"] == name and row["system"] in members and usable(row)]
            best = min(ranked, key=lambda row: row["min"], default=None)
            line += [best["title"], f"{best['ratio']:.2f}"] if best else ["none", ""]
        lines.append(line)
    return lines


def comparison_text(task: str, result: dict[str, Any]) -> str:
    """The tasks that compare systems, for the terminal."""
    quantity = "potential" if task == "seed" else "inertia"
    header = ("set", "system", "seconds", "x ours", f"{quantity} diff", "iterations", "ms each", "runs", "compiling s")
    header += ("remark",)
    lines = []
    for row in result["rows"]:
        remark = row["note"] if row["status"] in ("ok", "failed") else "VOID " + row["note"]
        if row["status"] == "failed":
            lines.append((row["set"], row["title"], "not run", "", "", "", "", "", "", remark))
            continue
        if not row["comparable"]:
            remark = "not comparable: " + remark
        n_iter = "" if row["n_iter"] is None else str(row["n_iter"])
        cells = (row["set"], row["title"], seconds_text(row["min"]), f"{row['ratio']:.2f}", f"{row['difference']:+.1e}")
        each = milliseconds_each(row)
        lines.append((*cells, n_iter, each, str(len(row["seconds"])), f"{row['compiling']:.2f}", remark))
    parts = [text_table(header, lines)]
    parts += [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
    parts.append("\nfastest peer per set (plain Lloyd; any exact algorithm), times ours")
    parts.append(text_table(("set", "plain", "x", "any", "x"), fastest_peers(result["rows"])))
    parts.append("\ngeometric means, times ours, over comparable rows that are not void")
    parts += [f"  {title}: {mean:.2f} over {count} sets" for title, mean, count in means(result["rows"])]
    return "\n".join(parts)


def milliseconds_each(row: Row) -> str:
    """Time of one iteration, everything before and after them shared out."""
    return f"{1e3 * row['min'] / row['n_iter']:.2f}" if row["n_iter"] else ""


def comparison_cell(row: Row | None, task: str) -> str:
    if row is None:
        return ""
    if row["status"] == "failed":
        return "not run"
    cell = seconds_text(row["min"])
    if row["system"] != OURS:
        cell += f" ({row['ratio']:.1f})"
    if task == "converge" and row["n_iter"]:
        cell += f", {row['n_iter']} x {milliseconds_each(row)}"
    if row["status"] == "void":
        cell += f" void, {row['difference']:+.1e}"
    elif not row["comparable"]:
        cell += f" \\* {row['difference']:+.1%}"
    return cell


def comparison_markdown(task: str, result: dict[str, Any]) -> list[str]:
    """Tasks ten, converge and seed for the README: a line per set, a column per system."""
    rows = result["rows"]
    titles = {
        row["system"]: row["title"] for row in rows if not (task in ("seed", "default") and row["status"] == "failed")
    }
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = {row["system"]: row for row in rows if row["set"] == name}
        some = next(iter(mine.values()))
        shape = f"{some['n']:,} x {some['d']}, {some['k']}"
        lines.append([name, shape, *(comparison_cell(mine.get(system), task) for system in titles)])
    parts = [markdown_table(["set", "n x d, k", *titles.values()], lines)]
    found = [f"{title} {mean:.2f} ({count} sets)" for title, mean, count in means(rows)]
    if found:
        parts.append("Geometric means, times fastkmeans's: " + "; ".join(found) + ".")
    if any(row["status"] == "ok" and not row["comparable"] for row in rows):
        quantity = "potential" if task == "seed" else "inertia"
        parts.append(f"\\* Not comparable, and in no mean: {remarks(rows)}. Its {quantity} differs as printed.")
    if any(row["status"] == "void" for row in rows):
        same, off = ("start", "2%") if task == "converge" else ("start and iterations", "1e-4")
        parts.append(f"Void, and in no mean: same {same} as fastkmeans, an inertia more than {off} off (as printed).")
    failures = {f"{row['title']} ({row['set']}): {row['note']}" for row in rows if row["status"] == "failed"}
    if failures:
        parts.append("Not run: " + "; ".join(sorted(failures)).replace("|", "\\|") + ".")
    if result["left_out"]:
        parts.append("Left out: " + "; ".join(f"{name} ({why})" for name, why in result["left_out"].items()) + ".")
    return parts


def remarks(rows: Sequence[Row]) -> str:
    """Each incomparable system with its reason, once."""
    found = {row["title"]: row["note"] for row in rows if row["status"] == "ok" and not row["comparable"]}
    return "; ".join(f"{title}: {note}" for title, note in found.items())


def pass_lines(result: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{row['data']} {row['n']:,} x {row['d']}, k={row['k']}",
            f"{1e3 * row['seconds']:.2f}",
            f"{row['gflops']:.0f}",
            f"{row['share']:.0%}",
        ]
        for row in result["rows"]
    ]


PASS_HEADER = ("data", "ms", "GFLOP/s", "share")


def pass_remarks(result: dict[str, Any]) -> list[str]:
    """The sentences under the table of task pass."""
    parts = [f"NumPy's sgemm: {result['sgemm']:.0f} GFLOP/s."]
    for row in result["float64"]:
        if "ratio" in row:
            parts.append(f"{row['system']} on {row['set']}: float64 takes {row['ratio']:.2f} times float32.")
        else:
            parts.append(f"{row['system']}: not run, {row['note']}.")
    threads = result["threads"]
    parts.append(f"{threads['threads']} threads give {threads['ratio']:.2f} times one on {threads['set']}.")
    return parts


MEMORY_HEADER = ("dtype, order", "n x d, k", "system", "X", "above X", "share of X", "allowance")


def memory_lines(rows: Sequence[Row]) -> list[list[str]]:
    lines = []
    for row in rows:
        line = [f"{row['dtype']} {row['order']}", f"{row['n']:,} x {row['d']}, {row['k']}", row["system"]]
        if "peak" not in row:
            lines.append([*line, "", "not run: " + row["note"], "", ""])
            continue
        mib = [f"{row[key] / 2**20:.1f}" for key in ("nbytes", "peak", "allowance")]
        lines.append([*line, mib[0], mib[1], f"{row['share']:.1%}", mib[2]])
    return lines


COLD_HEADER = ("program", "empty cache, s", "warm cache, s")


def cold_lines(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [row["program"], *([f"{row['cold']:.2f}", f"{row['warm']:.2f}"] if "cold" in row else ["not run", row["note"]])]
        for row in rows
    ]


def text(results: dict[str, Any]) -> str:
    """All measured tasks for the terminal."""
    parts = [caption(results)]
    for task, result in results["tasks"].items():
        parts.append(f"\n== {TITLES[task]}")
        if task in COMPARED:
            parts.append(comparison_text(task, result))
        elif task == "pass":
            parts += [text_table(PASS_HEADER, pass_lines(result)), *pass_remarks(result)]
        elif task == "memory":
            parts.append(text_table(MEMORY_HEADER, memory_lines(result)))
        else:
            parts.append(text_table(COLD_HEADER, cold_lines(result)))
    parts += [f"\n== task {task} failed: {why}" for task, why in results["failed"].items()]
    return "\n".join(parts)


def markdown(results: dict[str, Any]) -> str:
    """All measured tasks for the README."""
    parts = []
    for task, result in results["tasks"].items():
        parts.append(f"**{TITLES[task]}** (measured on {results['machine']['cores']} cores)")
        if task in COMPARED:
            parts += comparison_markdown(task, result)
        elif task == "pass":
            parts += [markdown_table(PASS_HEADER, pass_lines(result)), " ".join(pass_remarks(result))]
        elif task == "memory":
            parts.append(markdown_table(MEMORY_HEADER, memory_lines(result)))
        else:
            parts.append(markdown_table(COLD_HEADER, cold_lines(result)))
    parts += [f"Task {task} failed: {why}." for task, why in results["failed"].items()]
    parts.append(caption(results))
    return "\n\n".join(parts)


def caption(results: dict[str, Any]) -> str:
    """Where, when and with what everything was measured."""
    machine = results["machine"]
    listed = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    scaled = "" if results["scale"] == 1.0 else f" Only {results['scale']:g} of the rows: a trial, not a result."
    product = f" sgemm {results['sgemm']:.0f} GFLOP/s." if results.get("sgemm") else ""
    return (
        f"Measured on {machine['cores']} cores ({machine['cpu']}), {machine['threads']} threads for every system, "
        f"{machine['system']}, {machine['date']}.{product} Versions: {listed}.{scaled}"
    )


def write_readme(path: Path, block: str) -> None:
    """Replace what stands between the two marks of a Markdown file; ValueError where they are missing."""
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path.name} has no {BEGIN} ... {END}")
    path.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}", encoding="utf-8")
