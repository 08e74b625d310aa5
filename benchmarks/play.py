"""Plays a scenario: its loads one after the other, ours and its peers in turn within each."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.cost import peak_here, reset_peak, usage
from benchmarks.inputs import FRESH, Inputs, fresh
from benchmarks.load import Series, Window, run_open, until_stable
from benchmarks.peers.opened import Peer
from benchmarks.request import encoded, message, parse
from benchmarks.scenario import Scenario
from benchmarks.server import Server
from benchmarks.stats import ratio_interval, summarise
from benchmarks.triton import StepTimes, add_difference, breakdown
from tryon_client import DeadlineExceeded, TryOnClient
from tryon_client.live import LiveSession

OURS = "ours"


class OwnCost:
    """What callers spend on their own side, and how many calls they made; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds, self.calls = 0.0, 0

    def add(self, seconds: float) -> None:
        """Of one call: encoding, building the message, parsing the answer."""
        with self._lock:
            self.seconds += seconds
            self.calls += 1


class Costs:
    """CPU time, memory and the client's own share of one subject, over its windows.

    Args:
        process: of its server; None where it runs in this process, or elsewhere.
        here: whether it runs in this process, so that this one's CPU time is its own.
    """

    def __init__(self, process: int | None, here: bool) -> None:
        self.process, self._here = process, here
        self._server = self._own = 0.0
        if process:
            self._anew = reset_peak(process)

    def around(self, run: Callable[[], Any]) -> Any:
        """Runs something and counts what it used."""
        server = usage(self.process).cpu_seconds if self.process else 0.0
        own = time.process_time()
        result = run()
        self._own += time.process_time() - own
        if self.process:
            self._server += usage(self.process).cpu_seconds - server
        return result

    def summary(self, frames: int) -> dict[str, Any]:
        """cpu_ms a frame and peak_bytes (of the server, where its process is known or it is this
        one), client_cpu_ms a frame (of this process, the load generator included)."""
        own = self._own * 1e3 / max(frames, 1)
        if self._here:
            return {"cpu_ms": own, "peak_bytes": peak_here(), "peak_is": "this process so far"}
        found: dict[str, Any] = {"client_cpu_ms": own}
        if self.process:
            found["cpu_ms"] = self._server * 1e3 / max(frames, 1)
            found["peak_bytes"] = usage(self.process).peak_bytes
            found["peak_is"] = "in these loads" if self._anew else "since it started"
        return found


def play(
    scenario: Scenario, server: Server, inputs: Inputs, process: int | None = None,
    peers: Sequence[Peer] = (),
) -> dict[str, Any]:  # fmt: skip
    """All figures of a scenario.

    Args:
        scenario: what is measured.
        server: ours.
        inputs: pictures of the scenario's size.
        process: our server's process ID, where it is known.
        peers: started already, called with the same requests.

    Returns:
        The scenario, bytes of a request and of its answer, and of each load every subject's
        latencies (ms), costs and, against each peer, ratios with intervals.
    """
    found: dict[str, Any] = {"scenario": dataclasses.asdict(scenario)}
    if scenario.kind == "live":
        found["loads"] = [live(scenario, server.url, inputs, process)]
        return found
    request = message(encoded(inputs, scenario.wire), scenario.batch)
    found["request_bytes"] = int(request.ByteSize())
    found["response_bytes"] = int(server.send(request).ByteSize())
    found["loads"] = []
    if scenario.load == "closed":
        for callers in scenario.callers:
            found["loads"].append(_closed(scenario, server, inputs, process, peers, callers))
    else:
        for rate in scenario.rates:
            found["loads"].append(_open(scenario, server, inputs, process, rate))
    return found


def caller(scenario: Scenario, server: Server, inputs: Inputs, own: OwnCost) -> Callable[[], None]:
    """A call of our server: builds the request as a client would, sends it, reads the answer."""
    numbers = itertools.count()
    # A known garment's files lie there already; what is new is encoded as it comes.
    ready = encoded(inputs, scenario.wire)

    def call() -> None:
        began = time.perf_counter()
        given = ready
        if scenario.garment == "new":
            given = encoded(fresh(inputs, next(numbers) % FRESH), scenario.wire)
        request = message(given, scenario.batch)
        sent = time.perf_counter()
        response = server.send(request)
        answered = time.perf_counter()
        parse(response, inputs.person.shape, scenario.batch)
        own.add(sent - began + time.perf_counter() - answered)

    return call


def peer_caller(scenario: Scenario, peer: Peer, inputs: Inputs) -> Callable[[], object]:
    """A call of a peer, with the requests that ours gets."""
    numbers = itertools.count()
    ready = encoded(inputs, scenario.wire)

    def call() -> object:
        if scenario.garment == "known":
            return peer.call(ready)
        return peer.call(encoded(fresh(inputs, next(numbers) % FRESH), scenario.wire))

    return call


def _closed(
    scenario: Scenario, server: Server, inputs: Inputs, process: int | None,
    peers: Sequence[Peer], callers: int,
) -> dict[str, Any]:  # fmt: skip
    own, steps = OwnCost(), dict[str, StepTimes]()
    calls: dict[str, Callable[[], object]] = {OURS: caller(scenario, server, inputs, own)}
    costs = {OURS: Costs(process, here=False)}
    for peer in peers:
        calls[peer.name] = peer_caller(scenario, peer, inputs)
        costs[peer.name] = Costs(peer.process, here=peer.process is None)

    def around(name: str, run: Callable[[], Window]) -> Window:
        if name != OURS:
            return costs[name].around(run)
        before = server.statistics()
        window: Window = costs[name].around(run)
        add_difference(steps, before, server.statistics())
        return window

    made = until_stable(
        calls, window=scenario.window_s, cap=scenario.seconds, concurrency=callers, around=around
    )
    subjects = {}
    for name, series in made.items():
        frames = len(series.latencies()) * scenario.batch
        subjects[name] = series.summary() | costs[name].summary(frames)
        subjects[name]["throughput"] = float(series.summary()["throughput"]) * scenario.batch  # type: ignore[arg-type]
        subjects[name] |= _goodput(series, scenario)
    subjects[OURS]["client_ms"] = own.seconds * 1e3 / max(own.calls, 1)
    return {
        "load": f"{callers} caller{'s' * (callers > 1)}",
        "callers": callers,
        "subjects": subjects,
        "ratios": {name: ratios(made[OURS], made[name]) for name in made if name != OURS},
        "steps": breakdown(steps),
    }


def _goodput(series: Series, scenario: Scenario) -> dict[str, float]:
    latencies = series.latencies()
    within = sum(ms <= scenario.deadline_ms for ms in latencies)
    seconds = sum(window.seconds for window in series.windows)
    return {"within": within / len(latencies), "goodput": within * scenario.batch / seconds}


def ratios(ours: Series, other: Series) -> dict[str, dict[str, float]]:
    """Ours against another subject of the same rounds, with 95% intervals: p50 and p99 of the
    latency (below 1 is better), throughput (above 1 is better)."""
    rounds = [(a.latencies, b.latencies) for a, b in zip(ours.windows, other.windows, strict=True)]
    speeds = [
        ([a.throughput], [b.throughput])
        for a, b in zip(ours.windows, other.windows, strict=True)
    ]  # fmt: skip
    return {
        "p50": ratio_interval(rounds, np.median),
        "p99": ratio_interval(rounds, lambda v: float(np.percentile(v, 99))),
        "throughput": ratio_interval(speeds, np.mean),
    }


def _open(
    scenario: Scenario, server: Server, inputs: Inputs, process: int | None, rate: float
) -> dict[str, Any]:
    own, costs = OwnCost(), Costs(process, here=False)
    call = caller(scenario, server, inputs, own)
    for _ in range(3):
        call()
    own.seconds, own.calls = 0.0, 0
    run = costs.around(
        lambda: run_open(call, rate, scenario.seconds, poisson=scenario.load == "poisson")
    )
    ours = run.summary(scenario.deadline_ms)
    ours |= costs.summary(len(run.latencies) * scenario.batch)
    ours["client_ms"] = own.seconds * 1e3 / max(own.calls, 1)
    kind = "at random" if scenario.load == "poisson" else "evenly"
    return {"load": f"{rate:g} a second, {kind}", "rate": rate, "subjects": {OURS: ours}}


def live(
    scenario: Scenario, url: str, inputs: Inputs, process: int | None = None
) -> dict[str, Any]:
    """A camera's frames through a LiveSession: ages (ms, capture to answer) of what was shown, and
    what became of the rest. The photo is panned, so that no two frames are the same."""
    costs, ages = Costs(process, here=False), []

    def run() -> tuple[float, Any]:
        shown = -1
        with (
            TryOnClient(url) as client,
            LiveSession(
                client, inputs.garment, inputs.prompt, inputs.category, same_within=0
            ) as session,
        ):
            start = time.monotonic()
            for number in range(max(2, round(scenario.seconds * scenario.frames_per_second))):
                due = start + number / scenario.frames_per_second
                time.sleep(max(0.0, due - time.monotonic()))
                session.submit(np.roll(inputs.person, number % 16, axis=1))
                latest = session.latest()
                if latest is not None and latest.number > shown:
                    shown = latest.number
                    ages.extend([latest.age * 1e3] * latest.dressed)
            last = session.wait(shown, timeout=2.0)
            if last is not None:
                ages.extend([last.age * 1e3] * last.dressed)
            seconds = time.monotonic() - start
            if not ages:
                raise session.problem or DeadlineExceeded(
                    "no frame came back dressed within the session's deadline: this machine is too "
                    "slow or too busy for a live scenario"
                )
        return seconds, session.counts

    seconds, counts = costs.around(run)
    ours: dict[str, Any] = {**summarise(ages), "throughput": counts.shown / seconds}
    within = sum(ms <= scenario.deadline_ms for ms in ages)
    ours |= {"within": within / len(ages), "goodput": within / seconds}
    ours |= costs.summary(counts.shown) | {"frames": dataclasses.asdict(counts)}
    return {"load": f"{scenario.frames_per_second:g} frames a second", "subjects": {OURS: ours}}
