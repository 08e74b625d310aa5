"""The mirror's numbers in one command: first picture, switches, ages over time, many sessions.

    make bench-live                              # 16 minutes: ten of them are one session
    python -m benchmarks.live --minutes 1        # a look

Runs `benchmarks.switches`, `benchmarks.sessions` (one session for long, then twenty at once) and
`benchmarks.wardrobe`, each with a server of its own, and holds what they measured against the goals
that `rows_of` names. Writes out/bench/live: JSON, and the age over time as a plot.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import sessions, switches, wardrobe
from benchmarks.machine import ROOT
from benchmarks.report import write_json

SESSIONS, SECONDS = 20, 60
"""At the same time, and for how long."""
GARMENTS = 100
"""Kept, where a frame's cost is compared with the bare networks': it is the same for 10,000."""


@dataclass(frozen=True)
class Row:
    """A number, what it should be, and whether it is; None where there is no bound."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool | None

    def line(self) -> str:
        """At most 100 columns."""
        met = {True: "met", False: "NOT met", None: ""}[self.met]
        return f"{self.name:52} {self.value:9.2f} {self.unit:10} {self.goal:12} {met}"


def rows_of(found: dict[str, dict[str, Any]]) -> list[Row]:
    """What was measured beside its goal; `found`: the parts' JSON, by part."""

    def most(name: str, value: float, unit: str, goal: float) -> Row:
        return Row(name, value, unit, f"<= {goal:g}", value <= goal)

    def least(name: str, value: float, unit: str, goal: float) -> Row:
        return Row(name, value, unit, f">= {goal:g}", value >= goal)

    taps, one, many = found["switches"], found["one"], found["many"]
    first, last = one["windows"][0], one["windows"][-1]
    grown = one["server_mb"][-1] / max(one["server_mb"][0], 1e-9)
    older = last.get("p95_ms", math.inf) / first.get("p95_ms", math.nan)
    at_once = f"{many['sessions']} sessions: "
    many_grown = many["server_mb"][-1] / max(many["server_mb"][0], 1e-9)
    # What is shown is never older than the deadline, since later answers are thrown away: whether
    # the p95 of all answers lies within it is told by how many of them were shown.
    shown = sum(row["shown"] for row in many["windows"])
    in_time = shown / max(shown + many["late"] + many["lost"], 1.0)
    ratios = found["wardrobe"]["ratios"]
    return [
        most("first picture of a session", taps["first_picture_ms"] / 1e3, "s", 3),
        most("a kept garment is seen in frame, at most", taps["kept"]["frames_most"], "", 1),
        least("one session: shown a second", one["shown_a_second"], "", 15),
        most("one session: age, p95", one["age_ms"]["p95"], "ms", 120),
        most("its age p95 in the last part / in the first", older, "", 1.2),
        most("memory of the server at the end / at the start", grown, "", 1.05),
        *(most(f"{name} / pose and generator alone, bare", ratios[key]["value"], "", 1.15)
          for name, key in wardrobe.TO_NETWORKS.items()),
        least(at_once + "fairness (Jain)", many["each"]["fairness"], "", 0.9),
        Row(at_once + "fewest shown to one", many["each"]["least"], "", "", None),
        most(at_once + "age, p95", many["age_ms"]["p95"], "ms", sessions.DEADLINE * 1e3),
        least(at_once + "answers that came in time", in_time, "", 0.95),
        most(at_once + "server's memory, end / first part", many_grown, "", 1.05),
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or the status of the part that failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=10.0, help="of one session (%(default)g)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench" / "live", help="folder")
    options = parser.parse_args(arguments)
    if not options.minutes >= 0.1:
        parser.error("--minutes takes 0.1 or more")
    began, made = time.monotonic(), options.out / "live.json"
    made.unlink(missing_ok=True)  # or it would stand beside parts of another run
    parts: dict[str, tuple[Callable[[list[str]], int], str, list[str]]] = {
        "switches": (switches.main, "switches", []),
        "one": (sessions.main, "sessions", ["--seconds", str(options.minutes * 60)]),
        "many": (sessions.main, "sessions",
                 ["--sessions", str(SESSIONS), "--seconds", str(SECONDS)]),
        "wardrobe": (wardrobe.main, "wardrobe", ["--garments", str(GARMENTS)]),
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for name, (run, file, given) in parts.items():
        print(f"\n{name}: python -m benchmarks.{file} {' '.join(given)}", flush=True)
        folder = options.out / name
        status = run([*given, "--out", str(folder)])
        if status:
            return status
        found[name] = json.loads((folder / f"{file}.json").read_text())
    rows = rows_of(found)
    write_json({"rows": [vars(row) for row in rows], **found}, made)
    print("\n" + "\n".join(row.line() for row in rows))
    print(f"\n{options.out}: live.json, and one/sessions.svg, the age over time; in "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
