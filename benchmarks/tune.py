"""`python -m benchmarks.tune` (`make tune`): better settings of the served steps, by measurement.

Starts from `export/settings.json`. One setting is changed at a time: threads of a network,
processes of a step, the cores that steps stay on, how long a step waits for a batch. The server
with the change and the one without take turns on the same requests; a change is kept where it is
better for sure (95%), and the next one is tried on top of it. Writes the table of what was tried to
out/tune (GOAL.json, GOAL.txt); where something was kept, the settings and the table to
`export/settings.json`, and the settings into the generated configs: a server that is started again
has them. Networks and what was kept by them stay.

    python -m benchmarks.tune --goal latency    lowest p50 of one caller, all new in every call
    python -m benchmarks.tune --goal known      the same where the garment is known, as in a mirror
    python -m benchmarks.tune --goal frames     most pictures a second within 100 ms
    python -m benchmarks.tune --try-only        changes nothing
    git checkout export/settings.json && make export      takes it back
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.inputs import FRESH, Inputs, fresh, make_inputs, photos
from benchmarks.load import Window, run_window
from benchmarks.machine import ROOT, measured_on
from benchmarks.report import write_json
from benchmarks.server import Server
from benchmarks.stats import ratio_interval
from deploy.embedded import REPOSITORY, EmbeddedServer, ServerError, check_repository
from export.config import SETTINGS, SETTINGS_FILE, Settings, write_configs
from export.files import write_whole
from export.repository import STAMP, reconfigure
from tryon.assets import AssetError
from tryon.contract import MODELS

GOALS = ("latency", "known", "frames")
WITHIN_MS = 100.0
CALLERS = {"latency": (1,), "known": (1,), "frames": (1, 2, 4)}
"""Callers at once at which a goal is measured; the best of them counts."""
SECONDS, WINDOW, WARM_UP = 16.0, 1.0, 4
DELAYS = (0, 2000)
"""Microseconds that a step waits for a batch."""
LEAST_GAIN = 0.02
"""What is surely better, and by less than this share, is not worth a line in the settings."""
_NOTHING = 1e-6


class TuneError(RuntimeError):
    """Nothing can be measured; the message says what to do."""


@dataclass(frozen=True)
class Move:
    """A change of the settings, and its name in the table."""

    name: str
    settings: Settings


@dataclass
class Tried:
    """What became of a move: score against the settings before it (above 1 is better) with its
    interval, both scores, whether it was kept; or why it could not be measured."""

    name: str
    ratio: dict[str, float] = field(default_factory=dict)
    score: float = 0.0
    before: float = 0.0
    kept: bool = False
    problem: str = ""


Scores = dict[int, list[float]]
"""Callers at once -> a score a window, higher is better."""


def moves(settings: Settings, cores: int) -> list[Move]:
    """All changes of one setting.

    Args:
        settings: those that are changed.
        cores: that there are.
    """
    found = []
    for name, now in settings.threads.items():
        for threads in sorted({1, cores} - {now}):
            changed = {**settings.threads, name: threads}
            # Several threads on one core would take turns.
            free = _without(settings.cores, name) if threads > 1 else settings.cores
            found.append(Move(f"{name}: {threads} threads",
                              replace(settings, threads=changed, cores=free)))  # fmt: skip
    for name, now in settings.threads.items():
        # Of the two changes that this is, neither is better by itself.
        if now > 1 and settings.instances.get(name, 1) < cores:
            found.append(Move(
                f"{name}: {cores} processes of 1 thread",
                replace(settings, threads={**settings.threads, name: 1},
                        instances={**settings.instances, name: cores},
                        cores=_without(settings.cores, name)),
            ))  # fmt: skip
    if settings.cores:
        found.append(Move("steps on no core of their own", replace(settings, cores={})))
    for model in MODELS:
        now = settings.instances.get(model.name, 1)
        if now >= cores:
            continue
        free = _without(settings.cores, model.name)  # two processes on one core, too
        more = {**settings.instances, model.name: now + 1}
        found.append(Move(f"{model.name}: {now + 1} processes",
                          replace(settings, instances=more, cores=free)))  # fmt: skip
    for model in MODELS:
        if model.kind == "onnx":
            for delay in DELAYS:
                if settings.queue_delay.get(model.name) != delay:
                    waits = {**settings.queue_delay, model.name: delay}
                    found.append(Move(f"{model.name}: batches, {delay} us",
                                      replace(settings, queue_delay=waits)))  # fmt: skip
    return found


def _without(cores: Mapping[str, int], name: str) -> dict[str, int]:
    """The cores of all steps but one, which may run on any."""
    return {step: core for step, core in cores.items() if step != name}


def score(window: Window, goal: str) -> float:
    """Of one window, higher is better: 1000 / p50 (ms), or pictures a second within WITHIN_MS."""
    if goal != "frames":
        return 1e3 / float(np.median(window.latencies))
    return sum(ms <= WITHIN_MS for ms in window.latencies) / window.seconds


def best(scores: Scores) -> list[float]:
    """The windows at the number of callers that suits best."""
    return max(scores.values(), key=lambda values: float(np.mean(values)))


def against(new: Scores, old: Scores) -> dict[str, float]:
    """New score / old score, each at its own best number of callers, with a 95% interval."""
    # A window with no picture in time scores 0, and two such would have no ratio.
    rounds = [([a + _NOTHING], [b + _NOTHING]) for a, b in zip(best(new), best(old), strict=True)]
    return ratio_interval(rounds, np.mean)


def climb(
    start: Settings, cores: int, measure: Callable[[Settings, Settings], tuple[Scores, Scores]],
    say: Callable[[str], None] = print, only: str = "",
) -> tuple[Settings, list[Tried]]:  # fmt: skip
    """Tries every move once, on top of those that were kept.

    Args:
        start: the settings to begin with.
        cores: that there are.
        measure: scores of two settings that took turns; raises ServerError where one can't serve.
        say: takes a line of progress.
        only: tries the moves whose names hold this alone.

    Returns:
        The settings found, and what was tried.
    """
    settings, tried = start, []
    names = [move.name for move in moves(start, cores) if only in move.name]
    if not names:
        raise TuneError(f"--only {only!r}: no change has this in its name, like 'generator'")
    for name in names:
        # What was kept since may have made it another change, or none.
        move = next((m for m in moves(settings, cores) if m.name == name), None)
        if move is None:
            continue
        row = Tried(name)
        tried.append(row)
        try:
            new, old = measure(move.settings, settings)
        except ServerError as error:
            row.problem = str(error).splitlines()[0]
            say(f"{name}: {row.problem}")
            continue
        row.ratio = against(new, old)
        row.score, row.before = float(np.mean(best(new))), float(np.mean(best(old)))
        row.kept = row.ratio["low"] > 1 and row.ratio["value"] > 1 + LEAST_GAIN
        say(_line(row))
        if row.kept:
            settings = move.settings
    return settings, tried


def _line(row: Tried) -> str:
    if row.problem:
        return f"{row.name:34} {row.problem[:64]}"
    r = row.ratio
    interval = f"{r['value']:.3f} ({r['low']:.3f} to {r['high']:.3f})"
    return (f"{row.name:34} {row.before:8.2f} {row.score:8.2f} {interval:>26}"
            f"{'  kept' if row.kept else ''}")  # fmt: skip


def lines_of(goal: str, tried: Sequence[Tried]) -> list[str]:
    """What was tried, as lines of at most 100 columns."""
    unit = "1000 / p50 ms" if goal != "frames" else f"pictures a second in {WITHIN_MS:g} ms"
    head = f"{'change':34} {'before':>8} {'after':>8} {'after / before (95%)':>26}"
    return [f"goal {goal}: {unit}, higher is better", "", head, *map(_line, tried)]


def table(goal: str, tried: Sequence[Tried]) -> str:
    """`lines_of` as one text."""
    return "\n".join(lines_of(goal, tried))


def lay_out(repository: Path, folder: Path, settings: Settings) -> None:
    """A repository in `folder` with other settings; its model files are links.

    Args:
        repository: an exported one of target `cpu`.
        folder: empty, or with one laid out before.
        settings: for its `config.pbtxt` files.
    """
    write_configs(folder, "cpu", settings)
    for step in folder.iterdir():
        version = step / "1"
        if step.is_dir() and not version.exists():
            version.symlink_to((repository / step.name / "1").resolve())
    shutil.copyfile(repository / STAMP, folder / STAMP)


@contextlib.contextmanager
def serving(repository: Path, settings: Settings) -> Iterator[Server]:
    """A server with these settings. Raises ServerError where it does not start."""
    with tempfile.TemporaryDirectory(prefix="tryon-tune-") as folder:
        lay_out(repository, Path(folder), settings)
        with EmbeddedServer(Path(folder)) as embedded:
            server = Server(embedded.grpc_url)
            try:
                yield server
            finally:
                server.close()


def measured(
    servers: Sequence[Server], inputs: Inputs, goal: str, seconds: float
) -> list[Scores]:  # fmt: skip
    """Scores of servers that take turns, window by window, at each number of callers.

    Args:
        servers: that are called with the same requests.
        inputs: whose garment and words are new at every call, unless they are to be known.
        goal: one of GOALS.
        seconds: for all servers together, at each number of callers.
    """
    calls = []
    for server in servers:
        numbers = itertools.count()

        def call(server: Server = server, numbers: Iterator[int] = numbers) -> object:
            number = 0 if goal == "known" else next(numbers) % FRESH
            return server.try_on(fresh(inputs, number))

        for _ in range(WARM_UP):
            call()
        calls.append(call)
    found: list[Scores] = [{} for _ in servers]
    for callers in CALLERS[goal]:
        for _ in range(max(2, round(seconds / (WINDOW * len(servers))))):
            for scores, call in zip(found, calls, strict=True):
                window = run_window(call, WINDOW, callers)
                scores.setdefault(callers, []).append(score(window, goal))
    return found


class Measure:
    """Compares settings with the ones before. The server of the latter stays from one move to the
    next, for as long as it is not replaced."""

    def __init__(self, repository: Path, inputs: Inputs, goal: str, seconds: float) -> None:
        self._repository, self._inputs = repository, inputs
        self._goal, self._seconds = goal, seconds
        self._old: tuple[Settings, Server] | None = None
        self._stack = contextlib.ExitStack()

    def __call__(self, new: Settings, old: Settings) -> tuple[Scores, Scores]:
        """Scores of both."""
        if self._old is None or self._old[0] != old:
            self.close()
            self._old = old, self._stack.enter_context(serving(self._repository, old))
        with serving(self._repository, new) as server:
            pair = [server, self._old[1]]
            first, second = measured(pair, self._inputs, self._goal, self._seconds)
        return first, second

    def close(self) -> None:
        """Ends the server that stayed."""
        self._old = None
        self._stack.close()


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--goal", choices=GOALS, default="latency", help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="a change, at each number of callers (%(default)g)")  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT", help="changes with this in the name")
    parser.add_argument("--try-only", action="store_true", help="write nothing but the table")
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--person", type=Path, help="a photo; default: one of openpeople")
    parser.add_argument("--garment", type=Path, help="a photo; default: one of openvto")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "tune", help="folder")
    options = parser.parse_args(arguments)
    if not options.seconds > 0:
        parser.error("--seconds takes more than 0")
    cores = len(os.sched_getaffinity(0))
    try:
        check_repository(options.repository)
        person, garment = photos(options.person, options.garment)
        options.out.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(person, garment, (512, 384))
        measure = Measure(options.repository, inputs, options.goal, options.seconds)
        with contextlib.closing(measure):
            settings, tried = climb(
                SETTINGS, cores, measure, lambda line: print(line, flush=True), options.only
            )
    except (TuneError, ServerError, AssetError, OSError) as error:
        print(f"tune: {error}", file=sys.stderr)
        return 2
    except grpc.RpcError as error:
        print(f"tune: {error.details()}", file=sys.stderr)
        return 2
    about = measured_on(options.repository)
    write(options.out, options.goal, settings, tried, about)
    print((options.out / f"{options.goal}.txt").read_text())
    if settings == SETTINGS or options.try_only:
        return 0
    try:
        if options.repository.resolve() == REPOSITORY.resolve():
            lines = lines_of(options.goal, tried)
            write_settings(settings, {**about, "goal": options.goal, "tried": lines})
            print(f"{SETTINGS_FILE}: the settings, and what was tried")
        reconfigure(options.repository, settings)
    except (OSError, KeyError, ValueError) as error:
        print(f"tune: {error}; `make export` configures what is there", file=sys.stderr)
        return 2
    print(f"{options.repository}: configured anew; start the server again")
    return 0


def write(
    out: Path, goal: str, settings: Settings, tried: Sequence[Tried], about: Mapping[str, Any]
) -> None:
    """GOAL.json and GOAL.txt, each whole or not at all."""
    rows = [dataclasses.asdict(row) for row in tried]
    made = {**about, "goal": goal, "settings": dataclasses.asdict(settings), "tried": rows}
    write_json(made, out / f"{goal}.json")
    end = "nothing was better for sure: all stays as it is" if settings == SETTINGS else (
        json.dumps(dataclasses.asdict(settings), indent=1)
    )  # fmt: skip
    write_whole(out / f"{goal}.txt", f"{table(goal, tried)}\n\n{end}\n".encode())


def write_settings(
    settings: Settings, found: Mapping[str, Any], path: Path = SETTINGS_FILE
) -> None:
    """The settings where `export.config` reads them, and how they were found, after what earlier
    searches had found."""
    try:
        earlier = json.loads(path.read_text()).get("found", [])
    except (OSError, ValueError):
        earlier = []
    write_json({**dataclasses.asdict(settings), "found": [*earlier, dict(found)]}, path)


if __name__ == "__main__":
    sys.exit(main())
