"""What playing scenarios found: as text of at most 100 columns, and as a page without a network."""

from __future__ import annotations

import html
import itertools
import json
from typing import Any

from benchmarks.page import html_table, svg, whole
from benchmarks.report import machine_lines
from benchmarks.stats import TAIL, TAIL_SAMPLES
from benchmarks.triton import PARTS

FEWEST_ROUNDS = 3
"""Rounds below which a ratio is told without its interval."""
_HEAD = ("subject", "p50", "p90", "p99", f"p{TAIL}", "a second", "in time", "CPU ms", "peak MiB",
         "calls")  # fmt: skip
_COLOURS = ("#2a6f97", "#e07a5f", "#61a5c2", "#81b29a", "#f2cc8f", "#8d5a97", "#3d405b", "#b56576")


def cells(row: dict[str, Any]) -> list[str]:
    """A subject's figures as text, "-" for what is not known."""

    def number(key: str, scale: float = 1.0, digits: int = 1) -> str:
        return f"{row[key] * scale:.{digits}f}" if key in row else "-"

    speed = number("throughput") if "throughput" in row else number("goodput")
    return [
        *(number(key) for key in ("p50", "p90", "p99", f"p{TAIL}")), speed,
        f"{100 * row['within']:.0f}%", number("cpu_ms", digits=0),
        number("peak_bytes", 1 / 2**20, 0), str(row["count"]),
    ]  # fmt: skip


def notes(row: dict[str, Any]) -> str:
    """What a reader must know of a subject's figures."""
    found = []
    if not row.get("stable", True):
        found.append("not stable")
    if row.get("failed"):
        found.append(f"{row['failed']} failed")
    if row.get("sent_late_p99", 0) > 0.1 * row["p50"]:
        found.append("sent late")
    return ", ".join(found)


def _costs(played: dict[str, Any], load: dict[str, Any]) -> list[str]:
    """Lines of the bytes and of the client's own cost."""
    ours = load["subjects"]["ours"]
    lines = []
    if "request_bytes" in played:
        lines.append(f"a request: {played['request_bytes'] / 1e3:.0f} kB there, "
                     f"{played['response_bytes'] / 1e3:.0f} kB back")  # fmt: skip
    if "client_ms" in ours:
        lines.append(f"the client itself: {ours['client_ms']:.2f} ms a call, to build the request "
                     "and read the answer")  # fmt: skip
    if "client_cpu_ms" in ours:
        lines.append(f"its process: {ours['client_cpu_ms']:.1f} ms CPU a frame, the load generator "
                     "included")  # fmt: skip
    if "frames" in ours:
        counts = ", ".join(f"{number} {name}" for name, number in ours["frames"].items())
        lines.append(f"frames: {counts}")
    return lines


def _ratio(found: dict[str, float]) -> str:
    if found["rounds"] < FEWEST_ROUNDS:  # drawn from so few, an interval would feign certainty
        return f"{found['value']:.2f} (too few rounds)"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _tail_note(played: list[dict[str, Any]]) -> str:
    rows = [row for one in played for load in one["loads"] for row in load["subjects"].values()]
    if all(f"p{TAIL}" in row for row in rows):
        return ""
    return f"p{TAIL} is told from {TAIL_SAMPLES} calls on; - means that there were fewer."


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = machine_lines(report)
    for played in report["played"]:
        scenario = played["scenario"]
        lines += ["", f"{scenario['name']}: {scenario['says']}"]
        for load in played["loads"]:
            lines += ["", f"  {load['load']}",
                      "  " + f"{_HEAD[0]:20}" + "".join(f"{name:>9}" for name in _HEAD[1:-1])
                      + f"{_HEAD[-1]:>6}"]  # fmt: skip
            for name, row in load["subjects"].items():
                numbers = cells(row)
                text = "".join(f"{cell:>9}" for cell in numbers[:-1]) + f"{numbers[-1]:>6}"
                note = notes(row)
                lines.append(f"  {name:20}{text}" + (f"\n  {'':20}  {note}" if note else ""))
            lines += [f"  {line}" for line in _costs(played, load)]
            if load.get("ratios"):
                lines.append(f"  {'ours / peer':20}{'p50':>24}{'p99':>24}{'throughput':>24}")
            for name, ratio in load.get("ratios", {}).items():
                three = "".join(f"{_ratio(ratio[k]):>24}" for k in ("p50", "p99", "throughput"))
                lines.append(f"  {name:20}{three}")
    note = _tail_note(report["played"])
    return "\n".join(lines + (["", note] if note else []))


def page(report: dict[str, Any]) -> str:
    """The report as one HTML page, plots within."""
    parts = ["<h1>Try-on: scenarios</h1>"]
    parts += [f"<p class=note>{html.escape(line)}</p>" for line in machine_lines(report) if line]
    for played in report["played"]:
        scenario = played["scenario"]
        parts += [f"<h2>{html.escape(scenario['name'])}</h2>",
                  f"<p>{html.escape(scenario['says'])}</p>"]  # fmt: skip
        for load in played["loads"]:
            rows = [[n, *cells(row), notes(row)] for n, row in load["subjects"].items()]
            parts += [f"<h3>{html.escape(load['load'])}</h3>", html_table([*_HEAD, ""], rows)]
            parts += [f"<p>{html.escape(line)}</p>" for line in _costs(played, load)]
            if load.get("ratios"):
                lines = [[name, *(_ratio(ratio[k]) for k in ("p50", "p99", "throughput"))]
                         for name, ratio in load["ratios"].items()]  # fmt: skip
                parts.append(html_table(["ours / peer", "p50", "p99", "throughput"], lines))
            parts += [_curves(load), _steps(load)]
        parts.append(_against_load(played["loads"]))
    note = _tail_note(report["played"])
    parts.append(f"<p class=note>{html.escape(note)}</p>" if note else "")
    versions = json.dumps({k: report[k] for k in ("versions", "weights")}, indent=1)
    parts.append(f"<h2>Versions</h2><pre>{html.escape(versions)}</pre>")
    return whole("Try-on: scenarios", "\n".join(part for part in parts if part))


def _curves(load: dict[str, Any]) -> str:
    known = {n: row["curve"] for n, row in load["subjects"].items() if "curve" in row}
    if not known:
        return ""

    def draw(axes: Any) -> None:
        for colour, (name, curve) in zip(itertools.cycle(_COLOURS), known.items(), strict=False):
            share = [100 * i / (len(curve) - 1) for i in range(len(curve))]
            axes.plot(curve, share, color=colour, label=name, linewidth=2 if name == "ours" else 1)
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("% of the calls done")
        axes.legend(frameon=False, fontsize=8)

    return svg(draw, 9, 3.2)


def _steps(load: dict[str, Any]) -> str:
    steps = load.get("steps") or {}
    if not steps:
        return ""
    rows = [[name, *(f"{step[part]:.2f}" for part in ("total", *PARTS))]
            for name, step in steps.items()]  # fmt: skip
    head = ["Triton's step, ms", "total", *(part.removeprefix("compute_") for part in PARTS)]
    return html_table(head, rows)


def _against_load(loads: list[dict[str, Any]]) -> str:
    points = [(load.get("callers", load.get("rate")), load["subjects"]) for load in loads]
    if len(points) < 2 or points[0][0] is None:
        return ""

    def draw(axes: Any) -> None:
        names = list(points[0][1])
        for colour, name in zip(itertools.cycle(_COLOURS), names, strict=False):
            for percentile, line in (("p50", "o-"), ("p99", "o:")):
                axes.plot([x for x, _ in points], [s[name][percentile] for _, s in points], line,
                          color=colour, label=f"{name}, {percentile}")  # fmt: skip
        axes.set_xlabel("callers at once" if "callers" in loads[0] else "calls a second")
        axes.set_ylabel("milliseconds")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=7, ncols=2)

    return svg(draw, 9, 3.6)
