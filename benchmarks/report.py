"""The benchmark's JSON, its table in the terminal, and its plot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.triton import PARTS
from export.files import write_whole
from tryon.contract import ENSEMBLE, ENSEMBLE_STEPS

RATIOS = ("p50", "p99", "pictures a second, 8")
STEPS = (*(step.model for step in ENSEMBLE_STEPS), ENSEMBLE)
SUBJECTS = (
    ("gRPC, 1 caller", "grpc_1"),
    ("  garment known", "grpc_known"),
    ("gRPC, 2 callers", "grpc_2"),
    ("gRPC, 8 callers", "grpc_8"),
    ("bare chain", "chain"),
    ("bare, 8 callers", "chain_8"),
)


def write_json(report: dict[str, Any], path: Path) -> None:
    """The report as JSON."""
    write_whole(path, (json.dumps(report, indent=1) + "\n").encode())


def machine_lines(report: dict[str, Any]) -> list[str]:
    """Machine, versions and weights, and whether the machine was busy."""
    where = report["machine"]
    lines = [
        f"{where['processor']} ({', '.join(where['simd']) or 'no SIMD named'}), "
        f"{where['cores']} cores",
        f"Triton {report['versions'].get('triton')}, "
        f"ONNX Runtime {report['versions']['onnxruntime']}, "
        f"weights {report['weights']['all'][:12]}",
    ]
    load = where["load_average"][0]
    if load > 0.5 * where["cores"]:
        lines.append(f"The machine was busy (load {load:g} at the start): measure again alone.")
    return lines


def table(report: dict[str, Any]) -> str:
    """The report as text of at most 100 columns."""
    lines = [
        *machine_lines(report),
        "",
        f"{'size':>9} {'subject':18} {'p50':>7} {'p90':>7} {'p95':>7} {'p99':>7} {'per s':>6} "
        f"{'calls':>6}",
    ]
    for result in report["results"]:
        for label, key in SUBJECTS:
            row = result.get(key)
            if row is None:
                continue
            numbers = " ".join(f"{row[p]:7.1f}" for p in ("p50", "p90", "p95", "p99"))
            note = "" if row["stable"] else "  not stable"
            lines.append(
                f"{result['size']:>9} {label:18} {numbers} {row['throughput']:6.1f} "
                f"{row['count']:6d}{note}"
            )
    if any(result.get("open") for result in report["results"]):
        lines += ["", "callers who come at random, time from when they came",
                  f"{'size':>9} {'a second':>8} {'p50':>8} {'p95':>8} {'p99':>8} "
                  f"{'in time':>8} {'in time, a second':>18}"]  # fmt: skip
    for result in report["results"]:
        for row in result.get("open", ()):
            numbers = " ".join(f"{row[p]:8.1f}" for p in ("p50", "p95", "p99"))
            note = "  sent late" if row["sent_late_p99"] > 0.1 * row["p50"] else ""
            note += f"  {row['failed']} failed" if row["failed"] else ""
            lines.append(
                f"{result['size']:>9} {row['rate']:8g} {numbers} {100 * row['within']:7.0f}% "
                f"{row['goodput']:18.1f}{note}"
            )
    lines += [
        "",
        "gRPC / bare chain, same run (95% bootstrap interval); p50 and p99 of one caller",
        f"{'size':>9} "
        + " ".join(f"{name:>22}" for name in RATIOS)
        + f" {'answers differ by':>18}",
    ]
    for result in report["results"]:
        cells = []
        for name in RATIOS:
            r = result["ratios"][name]
            cells.append(f"{r['value']:.2f} ({r['low']:.2f} to {r['high']:.2f})")
        lines.append(
            f"{result['size']:>9} "
            + " ".join(f"{cell:>22}" for cell in cells)
            + f" {result['agreement']['max_difference']:>11} of 255"
        )
    for result in report["results"]:
        lines += ["", f"{result['size']}: milliseconds a step, by Triton's statistics (one caller)",
                  f"  {'step':14} {'total':>7} {'queue':>7} {'input':>7} {'infer':>7} "
                  f"{'output':>7} {'bare':>7}"]  # fmt: skip
        for name in STEPS:
            if name not in result["steps"]:
                continue
            step, bare = result["steps"][name], result["chain_steps"].get(name)
            parts: tuple[str, ...] = ("total", *PARTS)
            if name == ENSEMBLE:  # its parts are sums over steps that run side by side
                parts, bare = ("total",), sum(result["chain_steps"].values())
            numbers = "".join(f" {step[part]:7.2f}" for part in parts)
            end = "" if bare is None else f" {bare:7.2f}"
            lines.append(f"  {name:14}{numbers:40}{end}")
    return "\n".join(lines)


def plot(report: dict[str, Any], path: Path) -> None:
    """Left: each subject's latency at each size, p50 as a bar, p99 as a whisker. Right: steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = report["results"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    colours = {
        "grpc_1": "#2a6f97",
        "grpc_known": "#61a5c2",
        "grpc_2": "#89c2d9",
        "chain": "#e07a5f",
    }
    # Eight callers wait for each other: their latency is another scale's.
    shown = [(label, key) for label, key in SUBJECTS if key in colours]
    width = 0.8 / len(shown)
    for offset, (label, key) in enumerate(shown):
        rows = [(i, r[key]) for i, r in enumerate(results) if r.get(key)]
        places = [i + (offset - (len(shown) - 1) / 2) * width for i, _ in rows]
        medians = [row["p50"] for _, row in rows]
        tails = [row["p99"] - row["p50"] for _, row in rows]
        bars = left.bar(places, medians, width * 0.95, label=label, color=colours[key])
        left.errorbar(places, medians, [[0] * len(tails), tails], fmt="none", ecolor="#444",
                      capsize=3, linewidth=1)  # fmt: skip
        left.bar_label(bars, [f"{m:.0f}" for m in medians], label_type="center", fontsize=8,
                       color="white")  # fmt: skip
    left.set_xticks(range(len(results)), [r["size"] for r in results])
    left.set_ylabel("milliseconds (bar: p50, whisker: p99)")
    left.set_xlabel("height x width")
    left.set_title("Latency", loc="left")
    left.legend(frameon=False)

    names = [n for n in STEPS if n != ENSEMBLE and any(n in r["steps"] for r in results)]
    palette = plt.get_cmap("tab10")
    for i, result in enumerate(results):
        start = 0.0
        for j, name in enumerate(names):
            ms = result["steps"].get(name, {}).get("total", 0.0)
            right.barh(i, ms, left=start, color=palette(j % 10), height=0.6,
                       label=name if i == 0 else None)  # fmt: skip
            start += ms
    right.set_yticks(range(len(results)), [r["size"] for r in results])
    right.invert_yaxis()
    right.set_xlabel("milliseconds, summed over the steps (some run side by side)")
    right.set_title("Triton's steps, queue included", loc="left")
    figure.legend(*right.get_legend_handles_labels(), frameon=False, fontsize=8,
                  ncols=len(names), loc="outside lower right")  # fmt: skip
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{report['machine']['processor']}, {report['machine']['cores']} cores",
                    fontsize=9, color="#666")  # fmt: skip
    beside = path.with_suffix(".part.png")
    figure.savefig(beside, dpi=120)
    plt.close(figure)
    os.replace(beside, path)
