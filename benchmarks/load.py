"""Runs a call again and again: windows of a fixed length, until they agree."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from benchmarks.stats import curve, is_stable, summarise

Call = Callable[[], object]


@dataclass(frozen=True)
class Window:
    """Latencies (ms) of the calls of one window, and how long it took (s)."""

    latencies: list[float]
    seconds: float

    @property
    def throughput(self) -> float:
        """Calls per second."""
        return len(self.latencies) / self.seconds


@dataclass
class Series:
    """The windows of one subject, and whether the last ones agreed."""

    windows: list[Window] = field(default_factory=list)
    stable: bool = False

    def latencies(self) -> list[float]:
        """Of all windows together."""
        return [ms for window in self.windows for ms in window.latencies]

    def update(self) -> None:
        """Looks whether the last windows agree, in median latency and in throughput."""
        medians = [summarise(w.latencies)["p50"] for w in self.windows]
        self.stable = is_stable(medians) and is_stable([w.throughput for w in self.windows])

    def summary(self) -> dict[str, object]:
        """Percentiles and their curve over all windows, throughput, each window's own figures."""
        calls = sum(len(w.latencies) for w in self.windows)
        return {
            **summarise(self.latencies()),
            "throughput": calls / sum(w.seconds for w in self.windows),
            "stable": self.stable,
            "curve": curve(self.latencies()),
            "windows": [
                {"p50": summarise(w.latencies)["p50"], "throughput": w.throughput}
                for w in self.windows
            ],
        }


def run_window(call: Call, seconds: float, concurrency: int = 1) -> Window:
    """Closed loop: each of `concurrency` threads calls, waits for the answer, calls again.

    A call begun within the window is waited for and counts; the window ends with the last. The
    first error of any thread is raised when all have stopped.
    """
    start = time.perf_counter()
    end = start + seconds
    latencies: list[list[float]] = [[] for _ in range(concurrency)]
    errors: list[BaseException] = []

    def loop(mine: list[float]) -> None:
        try:
            while not errors:
                began = time.perf_counter()
                if began >= end and mine:
                    return
                call()
                mine.append((time.perf_counter() - began) * 1e3)
        except BaseException as error:
            errors.append(error)

    if concurrency == 1:
        loop(latencies[0])
    else:
        threads = [threading.Thread(target=loop, args=(mine,)) for mine in latencies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return Window([ms for mine in latencies for ms in mine], time.perf_counter() - start)


def until_stable(
    calls: Mapping[str, Call],
    *,
    window: float,
    cap: float,
    concurrency: int = 1,
    least: int = 4,
    warm_up: int = 5,
    around: Callable[[str, Callable[[], Window]], Window] | None = None,
) -> dict[str, Series]:
    """Windows of each subject in turn (A B A B ...), until all are stable or time is up.

    Interleaved, a slow phase of the machine meets every subject alike.

    Args:
        calls: subject's name -> its call.
        window: seconds of each window.
        cap: seconds for everything, the warm-up excluded. The round that is under way is ended.
        concurrency: callers at the same time.
        least: rounds at least, unless time is up.
        warm_up: calls of each subject whose latencies are thrown away.
        around: called as around(name, run) to run a window, e.g. between two server statistics.
    """
    for call in calls.values():
        for _ in range(warm_up):
            call()
    series = {name: Series() for name in calls}
    end = time.perf_counter() + cap
    while True:
        for name, call in calls.items():

            def run(call: Call = call) -> Window:
                return run_window(call, window, concurrency)

            series[name].windows.append(around(name, run) if around else run())
            series[name].update()
        rounds = len(next(iter(series.values())).windows)
        if rounds >= least and all(s.stable for s in series.values()):
            return series
        if time.perf_counter() >= end:
            return series


@dataclass(frozen=True)
class Arrivals:
    """An open-loop run: callers who come when they come, whether or not the server keeps up.

    Latencies (ms) count from when a call should have been sent, as MLPerf's load generator counts
    them: what waits for a busy server waits on the clock. `late` (ms) is how much later than that
    it was sent; `failed`, how many had no answer: an overloaded server may refuse some.
    """

    rate: float
    seconds: float
    latencies: list[float]
    late: list[float]
    failed: int = 0

    def summary(self, deadline: float) -> dict[str, object]:
        """Percentiles, and goodput: answers within `deadline` milliseconds, a second."""
        within = sum(ms <= deadline for ms in self.latencies)
        return {
            **summarise(self.latencies),
            "rate": self.rate,
            "deadline_ms": deadline,
            "failed": self.failed,
            "within": within / (len(self.latencies) + self.failed),
            "goodput": within / self.seconds,
            "sent_late_p99": float(np.percentile(self.late, 99)),
        }


def arrival_times(rate: float, seconds: float, poisson: bool, seed: int = 0) -> list[float]:
    """When calls are due, seconds from the start: at random (Poisson), or evenly spaced."""
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate {rate:g} and seconds {seconds:g} must be above 0")
    if not poisson:
        return [k / rate for k in range(max(1, round(rate * seconds)))]
    rng = np.random.default_rng(seed)
    times: list[float] = []
    due = float(rng.exponential(1 / rate))
    while due < seconds or not times:
        times.append(due)
        due += float(rng.exponential(1 / rate))
    return times


def run_open(
    call: Call, rate: float, seconds: float, *, poisson: bool = True, seed: int = 0,
    at_once: int = 64,
) -> Arrivals:  # fmt: skip
    """Open loop: calls are sent when they are due, for `seconds`, and all answers waited for.

    Args:
        call: sends one request and waits for its answer; called from many threads.
        rate: calls a second.
        seconds: of arrivals; the run lasts until the last answer.
        poisson: random arrivals; otherwise evenly spaced.
        seed: of the random arrivals.
        at_once: calls in flight at most; beyond it they wait, on the clock.

    Where every call fails, the first error is raised when all have ended.
    """
    due = arrival_times(rate, seconds, poisson, seed)
    start = time.perf_counter()

    errors: list[Exception] = []

    def send(when: float) -> tuple[float, float] | None:
        late = time.perf_counter() - start - when
        try:
            call()
        except Exception as error:
            errors.append(error)
            return None
        return (time.perf_counter() - start - when) * 1e3, late * 1e3

    with ThreadPoolExecutor(at_once) as pool:
        futures = []
        for when in due:
            time.sleep(max(0.0, start + when - time.perf_counter()))
            futures.append(pool.submit(send, when))
        answers = [answer for answer in (f.result() for f in futures) if answer is not None]
    if not answers:
        raise errors[0]
    # Goodput is a share of the time in which calls came, or of the longer time they took.
    lasted = max(seconds, time.perf_counter() - start)
    return Arrivals(
        rate, lasted, [ms for ms, _ in answers], [late for _, late in answers], len(errors)
    )
