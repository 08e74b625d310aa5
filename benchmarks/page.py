"""The benchmark as one HTML page that opens without a network: figures, plots, versions."""

from __future__ import annotations

import html
import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import SUBJECTS
from export.files import write_whole
from tryon.contract import ENSEMBLE_INPUTS, ENSEMBLE_STEPS, model

_COLOURS = ("#2a6f97", "#61a5c2", "#89c2d9", "#9c89b8", "#e07a5f", "#f2a65a")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #999; font-weight: 600 }
td:first-child, th:first-child { text-align: left }
svg { max-width: 100%; height: auto }
.note { color: #777 }
pre { background: #f6f6f6; padding: 1rem; overflow: auto }
"""


def timeline(milliseconds: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """When each step could begin and end (ms), were nothing in its way but the steps it reads from.

    Args:
        milliseconds: of each step, by name; the ensemble's tensors say who reads from whom.
    """
    ready = {tensor.name: 0.0 for tensor in ENSEMBLE_INPUTS}
    spans: dict[str, tuple[float, float]] = {}
    reads = {
        step.model: [step.inputs.get(t.name, t.name) for t in model(step.model).inputs]
        for step in ENSEMBLE_STEPS
    }
    while reads:
        name = next(n for n, tensors in reads.items() if all(t in ready for t in tensors))
        start = max(ready[tensor] for tensor in reads.pop(name))
        spans[name] = (start, start + milliseconds.get(name, 0.0))
        ready.update((t.name, spans[name][1]) for t in model(name).outputs)
    return spans


def write_page(report: dict[str, Any], path: Path) -> None:
    """Writes the page, whole or not at all."""
    write_whole(path, page(report).encode())


def page(report: dict[str, Any]) -> str:
    """The page's HTML."""
    where = report["machine"]
    processor = html.escape(f"{where['processor']}, {where['cores']} cores")
    parts = [
        f"<h1>Try-on: latency on {processor}</h1>",
        f"<p class=note>{html.escape(report['started'])}; "
        f"{html.escape(', '.join(where['simd']) or 'no SIMD named')}; load at the start "
        f"{where['load_average'][0]:g}; weights {report['weights']['all'][:12]}. Every call brings "
        "a garment and words that the server has not seen, but for &ldquo;garment known&rdquo;. "
        "Served and bare take turns in one run.</p>",
    ]
    for result in report["results"]:
        parts += [f"<h2>{result['size']}</h2>", _latencies(result), _ratios(result), _cost(result)]
        parts += [_curves(result), _steps(result)]
    if len(report["results"]) > 1:
        parts += ["<h2>Cost against size</h2>", _sizes(report["results"])]
    if any(result.get("open") for result in report["results"]):
        parts += ["<h2>Latency against load</h2>", _load(report["results"])]
    versions = json.dumps({k: report[k] for k in ("versions", "settings", "weights")}, indent=1)
    parts.append(f"<h2>Versions and settings</h2><pre>{html.escape(versions)}</pre>")
    body = "\n".join(part for part in parts if part)
    return whole("Try-on: latency", body)


def whole(title: str, body: str) -> str:
    """A page of some HTML; its style is within."""
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
            f"<style>{_STYLE}</style><body>{body}</body></html>\n")  # fmt: skip


def html_table(head: list[str], rows: list[list[str]]) -> str:
    """A table of text."""

    def line(tag: str, cells: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + line("th", head) + "".join(line("td", row) for row in rows) + "</table>"


def _latencies(result: dict[str, Any]) -> str:
    rows = []
    for label, key in SUBJECTS:
        if row := result.get(key):
            rows.append([label.strip(), *(f"{row[p]:.1f}" for p in ("p50", "p90", "p95", "p99")),
                         f"{row['throughput']:.1f}", str(row["count"]),
                         "" if row["stable"] else "not stable"])  # fmt: skip
    return html_table(["milliseconds", "p50", "p90", "p95", "p99", "a second", "calls", ""], rows)


def _ratios(result: dict[str, Any]) -> str:
    found = ", ".join(
        f"{name} {r['value']:.2f} ({r['low']:.2f} to {r['high']:.2f})"
        for name, r in result["ratios"].items()
    )
    return (f"<p>gRPC / bare chain, 95% bootstrap interval (one caller's latencies, eight callers' "
            f"pictures a second): {found}. The two answers differ by at most "
            f"{result['agreement']['max_difference']} of 255.</p>")  # fmt: skip


def _cost(result: dict[str, Any]) -> str:
    cost = result.get("cost")
    if not cost:
        return ""
    own = ""
    if "cpu_ms" in cost:
        own = (f"{cost['cpu_ms']:.0f} ms of the server's CPU time; it holds "
               f"{cost['held_bytes'] / 2**20:.0f} MiB (its processes' peaks so far, summed, shared "
               f"pages in each: {cost['peak_bytes'] / 2**20:.0f}); ")  # fmt: skip
    return (f"<p>A request: {own}{cost['request_bytes'] / 1e3:.0f} kB there, "
            f"{cost['response_bytes'] / 1e3:.0f} kB back.</p>")  # fmt: skip


def svg(draw: Any, width: float, height: float) -> str:
    """A plot as SVG text; `draw` takes matplotlib's axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": "tryon", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _curves(result: dict[str, Any]) -> str:
    def draw(axes: Any) -> None:
        for colour, (label, key) in zip(_COLOURS, SUBJECTS, strict=True):
            if curve := result.get(key, {}).get("curve"):
                share = [100 * i / (len(curve) - 1) for i in range(len(curve))]
                axes.plot(curve, share, color=colour, label=label.strip())
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("% of the calls done")
        axes.set_title("Latency distribution", loc="left")
        axes.legend(frameon=False)

    return svg(draw, 9, 3.2)


def _steps(result: dict[str, Any]) -> str:
    served = {name: step["total"] for name, step in result["steps"].items()}
    spans = timeline(served)

    def draw(axes: Any) -> None:
        for i, (start, end) in enumerate(spans.values()):
            axes.barh(i, end - start, left=start, color=_COLOURS[0], height=0.6)
            axes.text(end, i, f" {end - start:.1f}", va="center", fontsize=8)
        axes.set_yticks(range(len(spans)), list(spans))
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds, by Triton's statistics; each begins with its last input")
        axes.set_title("Who waits for whom", loc="left")

    return svg(draw, 9, 3.6)


def _sizes(results: list[dict[str, Any]]) -> str:
    """Of one caller: latencies, and what a picture costs the server."""
    names, costs = [r["size"] for r in results], [r.get("cost", {}) for r in results]

    def draw(axes: Any) -> None:
        for colour, (label, key) in zip(_COLOURS, SUBJECTS, strict=True):
            rows = [(i, r[key]["p50"]) for i, r in enumerate(results) if r.get(key)]
            if rows and not key.endswith("_8"):
                axes.plot(*zip(*rows, strict=True), "o-", color=colour, label=label.strip())
        rows = [(i, cost["cpu_ms"]) for i, cost in enumerate(costs) if "cpu_ms" in cost]
        if rows:
            axes.plot(*zip(*rows, strict=True), "s--", color="#444", label="server's CPU time")
        axes.set_xticks(range(len(results)), names)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("milliseconds a picture (p50)")
        axes.legend(frameon=False)

    rows = [
        [name, f"{cost['request_bytes'] / 1e3:.0f}", f"{cost['response_bytes'] / 1e3:.0f}",
         f"{cost['cpu_ms']:.0f}" if "cpu_ms" in cost else "-",
         f"{cost['held_bytes'] / 2**20:.0f}" if "held_bytes" in cost else "-"]
        for name, cost in zip(names, costs, strict=True) if cost
    ]  # fmt: skip
    head = ["", "kB there", "kB back", "ms of the server's CPU time", "MiB held"]
    return svg(draw, 9, 3.2) + html_table(head, rows)


def _load(results: list[dict[str, Any]]) -> str:
    def draw(axes: Any) -> None:
        for colour, result in zip(itertools.cycle(_COLOURS[::2]), results, strict=False):
            rows = result.get("open") or []
            if rows:
                rates = [row["rate"] for row in rows]
                axes.plot(rates, [row["p50"] for row in rows], "o-", color=colour,
                          label=f"{result['size']}, p50")  # fmt: skip
                axes.plot(rates, [row["p99"] for row in rows], "o:", color=colour,
                          label=f"{result['size']}, p99")  # fmt: skip
        axes.set_xlabel("callers a second, at random")
        axes.set_ylabel("milliseconds since they came")
        axes.set_yscale("log")  # beyond what a server can do they wait for seconds
        axes.legend(frameon=False)

    return svg(draw, 9, 3.2)
