"""Many live sessions at once, or one for long: fair shares, ages in time, memory.

    python -m benchmarks.sessions --sessions 20 --seconds 60     # a fair share for each
    python -m benchmarks.sessions --seconds 600                  # ten minutes of one: ages in time
    python -m benchmarks.sessions --url localhost:8001           # a server that runs (no memory)

Every visitor has a camera of its own; no two frames in a row are the same. What was measured goes
to out/bench/sessions.json, ages in time to sessions.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cost import resident
from benchmarks.inputs import Inputs, make_inputs, parse_size, photos
from benchmarks.machine import ROOT, measured_on
from benchmarks.report import write_json
from benchmarks.server import address_of
from benchmarks.stats import summarise
from deploy.embedded import REPOSITORY, ServerError
from tryon.assets import AssetError
from tryon_client import TryOnClient, TryOnError
from tryon_client.live import LiveSession
from tryon_client.wardrobe import Garment

WINDOWS = 10
"""Parts of a run whose ages are told apart."""
DEADLINE = 2.0
"""Seconds from capture after which an answer is of no use, as in the mirror."""
WARM_UP = 3.0
"""Seconds of every session before anything is counted: its garment is encoded meanwhile."""


@dataclass
class Visitor:
    """One session, and what it was shown: seconds since the run began, and age in seconds."""

    session: LiveSession
    shown: list[tuple[float, float]] = field(default_factory=list)

    def watch(self, began: float, until: float) -> None:
        """Notes every dressed picture until then (`time.monotonic()`)."""
        last = -1
        while (left := until - time.monotonic()) > 0:
            found = self.session.wait(last, timeout=min(left, 0.5))
            if found is None:
                continue
            last = found.number
            if found.dressed and found.answered >= began:
                self.shown.append((found.answered - began, found.age))


def share(counts: Sequence[int]) -> float:
    """Jain's fairness index of what each was given: 1 for the same, 1/n where one has all."""
    values = np.asarray(counts, np.float64)
    square = float((values**2).sum())
    return float(values.sum() ** 2 / (len(values) * square)) if square else 1.0


def windows(shown: Sequence[tuple[float, float]], seconds: float) -> list[dict[str, float]]:
    """p50 and p95 of the ages, in ms, of each part of the run, and how many were shown in it."""
    made = []
    for k in range(WINDOWS):
        low, high = (seconds * (k + j) / WINDOWS for j in (0, 1))
        ages = [age * 1e3 for at, age in shown if low <= at < high]
        row = {"from_s": low, "shown": float(len(ages))}
        if ages:
            row |= {f"p{p}_ms": float(np.percentile(ages, p)) for p in (50, 95)}
        made.append(row)
    return made


def run(
    url: str, inputs: Inputs, sessions: int, seconds: float, rate: float,
    memory: Callable[[], int] = lambda: 0,
) -> dict[str, Any]:  # fmt: skip
    """Dresses so many visitors at the same time.

    Args:
        rate: frames of each camera a second. memory: what the server holds, in bytes.

    Returns:
        JSON: totals, ages, each visitor's share, `windows`, memory of server and client.

    Raises:
        TryOnError: nobody was dressed, and why.
    """
    garment = Garment(inputs.garment, inputs.prompt, inputs.category)
    frames = [np.roll(inputs.person, shift, axis=1) for shift in range(16)]
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(TryOnClient(url))
        client.check()
        visitors = [
            Visitor(stack.enter_context(
                LiveSession(client, layers=[garment], deadline=DEADLINE, same_within=0)
            ))
            for _ in range(sessions)
        ]  # fmt: skip
        start = time.monotonic()
        began, until = start + WARM_UP, start + WARM_UP + seconds
        watchers = [threading.Thread(target=v.watch, args=(began, until)) for v in visitors]
        for watcher in watchers:
            watcher.start()
        held: list[tuple[int, int]] = []
        number = 0
        while time.monotonic() < until:
            for k, visitor in enumerate(visitors):
                visitor.session.submit(frames[(number + k) % len(frames)])
            number += 1
            if not held and time.monotonic() > began + seconds / WINDOWS:
                held.append((memory(), resident_here()))
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
        for watcher in watchers:
            watcher.join()
        held.append((memory(), resident_here()))
        counts = [visitor.session.counts for visitor in visitors]
        problem = next((v.session.problem for v in visitors if v.session.problem), None)
    shown = sorted(row for visitor in visitors for row in visitor.shown)
    if not shown:
        raise problem or TryOnError(f"nobody was dressed within {seconds:.0f} s")
    each = [len(visitor.shown) for visitor in visitors]
    parts = windows(shown, seconds)
    return {
        "sessions": sessions, "seconds": seconds, "rate": rate,
        "age_ms": summarise([age * 1e3 for _, age in shown]),
        "shown_a_second": len(shown) / seconds,
        "each": {"least": min(each), "mean": float(np.mean(each)), "most": max(each),
                 "fairness": share(each)},
        "dropped": sum(c.dropped for c in counts), "late": sum(c.late for c in counts),
        "lost": sum(c.lost for c in counts),
        "windows": parts,
        "server_mb": [a / 1e6 for a, _ in held], "client_mb": [b / 1e6 for _, b in held],
    }  # fmt: skip


def resident_here() -> int:
    """Memory that this process holds now, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def table(made: dict[str, Any]) -> str:
    """Text of at most 100 columns."""
    age, each = made["age_ms"], made["each"]
    lines = [
        f"{made['sessions']} sessions, {made['rate']:g} frames/s each, {made['seconds']:g} s: "
        f"{made['shown_a_second']:.1f} shown a second in all",
        f"age: p50 {age['p50']:.0f} ms, p95 {age['p95']:.0f}, largest {age['max']:.0f}",
        f"shown to each: {each['least']} to {each['most']}, {each['mean']:.1f} on average; "
        f"fairness (Jain) {each['fairness']:.3f}",
        f"dropped {made['dropped']}, late {made['late']}, lost {made['lost']}",
    ]
    for row in made["windows"]:
        ages = f"p50 {row['p50_ms']:6.0f} ms, p95 {row['p95_ms']:6.0f} ms" if row["shown"] else "-"
        lines.append(f"  from {row['from_s']:6.1f} s: {row['shown']:6.0f} shown, {ages}")
    for who in ("server", "client"):
        first, last = made[f"{who}_mb"][0], made[f"{who}_mb"][-1]
        lines.append(
            f"memory of the {who}: {first:.0f} MB after the first part, {last:.0f} at the end"
        )
    return "\n".join(lines)


def plot(made: dict[str, Any], path: Path) -> None:
    """Ages in time, as SVG."""
    from matplotlib.figure import Figure

    rows = [row for row in made["windows"] if row["shown"]]
    middle = [row["from_s"] + made["seconds"] / WINDOWS / 2 for row in rows]
    figure = Figure((6, 3), layout="constrained")
    axes = figure.subplots()
    for name in ("p50_ms", "p95_ms"):
        axes.plot(middle, [row[name] for row in rows], marker="o", label=name.removesuffix("_ms"))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("age of what is shown, ms")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--sessions", type=int, default=1, help="at the same time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="(%(default)g)")
    parser.add_argument("--rate", type=float, default=30.0,
                        help="frames of each camera a second (%(default)g)")  # fmt: skip
    parser.add_argument("--size", type=parse_size, default=(512, 384), metavar="HxW",
                        help="of the frames (512x384)")  # fmt: skip
    parser.add_argument("--url", help="a server that runs; else an embedded one is started")
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    if options.sessions < 1 or not options.seconds > 0 or not options.rate > 0:
        parser.error("--sessions takes 1 or more, --seconds and --rate more than 0")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(*photos(), options.size)
        given = (inputs, options.sessions, options.seconds, options.rate)
        with address_of(options.url, options.repository) as (url, process):
            made = run(url, *given, lambda: resident(process) if process else 0)
    except (AssetError, ServerError, TryOnError, OSError) as error:
        print(f"sessions: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    made |= measured_on(options.repository)
    write_json(made, options.out / "sessions.json")
    plot(made, options.out / "sessions.svg")
    print(table(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
