"""`python -m benchmarks.gate` (`make bench-gate`): has something become slower? Ratios alone.

Milliseconds differ from machine to machine and from minute to minute; what one run's subjects take
against each other differs far less. Each ratio is compared with the committed one of the same kind
of machine (benchmarks/baseline.json) and its noise band. One that lies above is measured once more,
alone, and fails if it lies there again.

    python -m benchmarks.gate               compares; exit status 1 where something is slower
    python -m benchmarks.gate --write       measures some times and writes the baseline
    python -m benchmarks.gate --repeat 20   compares again and again; tells how often it was green
    python -m benchmarks.gate --known-only  as CI: passes on a kind of machine without a baseline
    TRYON_BENCH_SLOWER=served=1.2 python -m benchmarks.gate     shows that 20% more are seen
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.chain import served_chain
from benchmarks.inputs import FRESH, Inputs, fresh, make_inputs, photos
from benchmarks.load import Call, Series, until_stable
from benchmarks.machine import ROOT, machine, versions, weights_hash
from benchmarks.peers.processes import PeerError
from benchmarks.server import Server
from benchmarks.stats import paired_ratio
from deploy.embedded import EmbeddedServer, ServerError
from export.files import write_whole
from tryon.assets import AssetError
from tryon_client import TryOnClient, TryOnError
from tryon_client.live import LiveSession

BASELINE = Path(__file__).resolve().parent / "baseline.json"
SLOWER = "TRYON_BENCH_SLOWER"
"""SUBJECT=FACTOR makes the gate's own calls of a subject take so much longer: a test of the gate.
Nothing of the product reads it."""
RATIOS = {
    "served / bare chain": ("served", "bare"),
    "served / torch eager": ("served", "torch"),
    "1024x768 / 512x384": ("large", "served"),
    "live / image": ("live", "image"),
}
"""Name -> (what must not become slower, against what)."""
SECONDS, AGAIN, WINDOW, ROUNDS = 110.0, 60.0, 1.0, 12
REPEATS, SIGMAS = 5, 2.5
NARROWEST, WIDEST = 0.05, 0.12
"""Noise bands, as shares: no narrower than what one quiet run may be off, and none so wide that
20% more would pass."""


class GateError(RuntimeError):
    """The gate can't tell; the message says why and which command helps."""


class UnknownMachineError(GateError):
    """The baseline has no figures of this kind of machine."""


@dataclass(frozen=True)
class Verdict:
    """One ratio: its value with interval, what the baseline says, and whether it is slower."""

    name: str
    value: float
    low: float
    high: float
    expected: float
    band: float

    @property
    def slower(self) -> bool:
        """Above the band, and surely above what was expected."""
        return self.value > self.expected * (1 + self.band) and self.low > self.expected


def ratios(series: Mapping[str, Series], wanted: Sequence[str]) -> dict[str, dict[str, float]]:
    """The ratios of `RATIOS` by name, each with its interval, of windows that took turns."""
    found = {}
    for name in wanted:
        above, below = (series[subject].windows for subject in RATIOS[name])
        rounds = [(a.latencies, b.latencies) for a, b in zip(above, below, strict=True)]
        found[name] = paired_ratio(rounds)
    return found


def judge(found: Mapping[str, Mapping[str, float]], baseline: Mapping[str, Any]) -> list[Verdict]:
    """Each ratio against the baseline's. Raises GateError where that lacks one."""
    verdicts = []
    for name, ratio in found.items():
        known = baseline["ratios"].get(name)
        if known is None:
            raise GateError(f"{BASELINE} has no {name!r}: write it with {_write_command()}")
        verdicts.append(
            Verdict(name, ratio["value"], ratio["low"], ratio["high"], known["value"],
                    known["band"])
        )  # fmt: skip
    return verdicts


def band(values: Sequence[float]) -> float:
    """The noise band of a ratio that was measured several times, as a share: 2.5 standard
    deviations of its logarithm. A ratio must lie beyond it twice in a row to fail."""
    return max(NARROWEST, SIGMAS * float(np.std(np.log(values), ddof=1)))


def baseline_of(looks: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Ratios and bands of several measurements.

    Raises GateError where a band is too wide to see 20%.
    """
    found = {}
    for name in looks[0]:
        values = [look[name]["value"] for look in looks]
        width = band(values)
        if width > WIDEST:
            shown = ", ".join(f"{value:.2f}" for value in values)
            raise GateError(
                f"{name}: {shown}: too far apart to see 20% more: end what else runs here, or "
                f"measure longer ({_write_command()} --seconds {2 * SECONDS:.0f}); nothing written"
            )
        found[name] = {"value": float(np.median(values)), "band": width, "looks": values}
    return found


def table(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as text of at most 100 columns."""
    lines = [f"{'ratio of p50':24} {'now (95% interval)':>24} {'baseline':>9} {'up to':>7}"]
    for v in verdicts:
        now = f"{v.value:.2f} ({v.low:.2f} to {v.high:.2f})"
        word = "ok"
        if v.slower:
            word = f"SLOWER, {100 * (v.value / v.expected - 1):.0f}% more"
        elif v.value < v.expected * (1 - v.band):
            word = f"faster; keep it with {_write_command()}"
        limit = v.expected * (1 + v.band)
        lines.append(f"{v.name:24} {now:>24} {v.expected:9.2f} {limit:7.2f}  {word}")
    return "\n".join(lines)


def kind_of(where: Mapping[str, Any]) -> str:
    """The kind of machine whose ratios can be compared: vector units and cores."""
    return f"{'+'.join(where['simd']) or 'no simd'}, {where['cores']} cores"


def read_baseline(path: Path, kind: str) -> dict[str, Any]:
    """The baseline of a kind of machine. Raises GateError naming the command that writes it."""
    try:
        made = json.loads(path.read_text())["machines"]
    except FileNotFoundError:
        raise GateError(f"{path} is missing: write it with {_write_command()}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GateError(f"{path} can't be read ({error}): write it with {_write_command()}") \
            from None  # fmt: skip
    if kind not in made:
        raise UnknownMachineError(
            f"{path} has no figures of this kind of machine ({kind}), only of "
            f"{'; '.join(made) or 'none'}: add them with {_write_command()}"
        )
    found: dict[str, Any] = made[kind]
    return found


def write_baseline(path: Path, kind: str, made: Mapping[str, Any]) -> None:
    """Adds or replaces the figures of a kind of machine; the file is whole at every moment."""
    machines = {}
    with contextlib.suppress(OSError, ValueError, KeyError):
        machines = json.loads(path.read_text())["machines"]
    text = json.dumps({"machines": {**machines, kind: made}}, indent=1) + "\n"
    write_whole(path, text.encode())


def _write_command() -> str:
    return "`python -m benchmarks.gate --write`"


def slower() -> tuple[str, float]:
    """The subject that a test wants slower, and how much; ("", 1) for none. Raises GateError."""
    text = os.environ.get(SLOWER, "")
    name, _, factor = text.partition("=")
    subjects = sorted({subject for pair in RATIOS.values() for subject in pair})
    try:
        found = name, float(factor) if text else 1.0
    except ValueError:
        found = name, 0.0
    if text and (name not in subjects or not 1 <= found[1] < 100):
        raise GateError(f"{SLOWER}={text}: give SUBJECT=FACTOR, like served=1.2; subjects are "
                        f"{', '.join(subjects)}")  # fmt: skip
    return found


def prolonged(call: Call, factor: float) -> Call:
    """A call that takes `factor` times as long."""

    def run() -> object:
        began = time.perf_counter()
        answer = call()
        time.sleep((factor - 1) * (time.perf_counter() - began))
        return answer

    return run


@contextlib.contextmanager
def subjects(repository: Path, person: Path, garment: Path) -> Iterator[dict[str, Call]]:
    """The gate's subjects, against a server that is started for them."""
    from benchmarks.peers.in_process import torch_peer

    cores = len(os.sched_getaffinity(0))
    small, large = (make_inputs(person, garment, size) for size in ((512, 384), (1024, 768)))
    chain, torch = served_chain(repository, cores), torch_peer(cores, compiled=False)
    with contextlib.ExitStack() as stack:
        embedded = stack.enter_context(EmbeddedServer(repository))
        server = Server(embedded.grpc_url)
        stack.callback(server.close)
        client = stack.enter_context(TryOnClient(embedded.grpc_url))
        session = stack.enter_context(
            LiveSession(client, small.garment, small.prompt, small.category, deadline=30.0,
                        same_within=0)
        )
        turns = itertools.count()

        def frame() -> np.ndarray:
            return np.roll(small.person, next(turns) % 16, axis=1)

        def live() -> object:
            number = session.submit(frame())
            shown = session.wait(number - 1, timeout=30.0)
            if shown is None or shown.problem:
                raise (shown and shown.problem) or session.problem or GateError("no live answer")
            return shown

        found: dict[str, Call] = {
            "served": _new(server.try_on, small),
            "bare": _new(chain.try_on, small),
            "torch": _new(torch, small),
            "large": _new(server.try_on, large),
            "live": live,
            "image": lambda: client.try_on(frame(), small.garment, small.prompt, small.category),
        }
        name, factor = slower()
        if name:
            found[name] = prolonged(found[name], factor)
        yield found


def _new(call: Callable[[Inputs], object], inputs: Inputs) -> Call:
    """Calls with a garment and words of their own each."""
    numbers = itertools.count()
    return lambda: call(fresh(inputs, next(numbers) % FRESH))


def look(
    calls: Mapping[str, Call], wanted: Sequence[str], seconds: float
) -> dict[str, dict[str, float]]:
    """Measures the subjects of some ratios in turn."""
    needed = {subject for name in wanted for subject in RATIOS[name]}
    chosen = {name: call for name, call in calls.items() if name in needed}
    series = until_stable(chosen, window=WINDOW, cap=seconds, least=ROUNDS)
    return ratios(series, wanted)


def compare(calls: Mapping[str, Call], baseline: Mapping[str, Any], seconds: float) -> bool:
    """Looks, and looks again at what seems slower; prints the table. Whether all is well."""
    verdicts = judge(look(calls, list(RATIOS), seconds), baseline)
    print(table(verdicts), flush=True)
    doubted = [v.name for v in verdicts if v.slower]
    if not doubted:
        return True
    print(f"\nonce more, alone: {', '.join(doubted)}", flush=True)
    again = judge(look(calls, doubted, seconds * AGAIN / SECONDS), baseline)
    print(table(again), flush=True)
    return not any(v.slower for v in again)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 1 where something is slower, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write the baseline")
    parser.add_argument("--repeats", type=int, default=REPEATS, metavar="N",
                        help="--write: measurements (%(default)s)")  # fmt: skip
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="compare so many times")
    parser.add_argument("--known-only", action="store_true",
                        help="pass where no figures of this kind of machine are known")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a look (%(default)g)")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="(%(default)s)")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository" / "cpu")
    parser.add_argument("--person", type=Path, help="a photo; default: one of openpeople")
    parser.add_argument("--garment", type=Path, help="a photo; default: one of openvto")
    options = parser.parse_args(arguments)
    if options.repeat < 1 or options.repeats < 3 or not options.seconds > 0:
        parser.error("--repeat takes 1 or more, --repeats 3 or more, --seconds more than 0")
    where = machine()
    kind = kind_of(where)
    try:
        name, factor = slower()
        if name:
            print(f"{SLOWER}: {name} takes {factor:g} times as long, for a test", flush=True)
            if options.write:
                raise GateError(f"unset {SLOWER} first: a baseline must be a real one")
        baseline = {} if options.write else read_baseline(options.baseline, kind)
        hashes = weights_hash(options.repository)
        if baseline and baseline["weights"] != hashes["all"]:
            print("the networks have changed since the baseline", flush=True)
        person, garment = photos(options.person, options.garment)
        with subjects(options.repository, person, garment) as calls:
            if options.write:
                return _write(calls, options, kind, where, hashes["all"])
            green = 0
            for turn in range(options.repeat):
                well = compare(calls, baseline, options.seconds)
                green += well
                if options.repeat > 1:
                    print(f"\n{turn + 1}: {'green' if well else 'RED'}; {green} of {turn + 1}\n",
                          flush=True)  # fmt: skip
    except UnknownMachineError as error:
        print(f"bench-gate: {error}", file=sys.stderr)
        return 0 if options.known_only else 2
    except (GateError, ServerError, PeerError, AssetError, TryOnError, OSError) as error:
        print(f"bench-gate: {error}", file=sys.stderr)
        return 2
    except grpc.RpcError as error:
        print(f"bench-gate: {error.details()}", file=sys.stderr)
        return 2
    if green < options.repeat:
        print("\nslower than the baseline, twice in a row: find out why, or accept it with "
              f"{_write_command()}")  # fmt: skip
        return 1
    return 0


def _write(
    calls: Mapping[str, Call], options: argparse.Namespace, kind: str, where: Mapping[str, Any],
    weights: str,
) -> int:  # fmt: skip
    looks = []
    for turn in range(options.repeats):
        looks.append(look(calls, list(RATIOS), options.seconds))
        shown = ", ".join(f"{name} {ratio['value']:.2f}" for name, ratio in looks[-1].items())
        print(f"{turn + 1} of {options.repeats}: {shown}", flush=True)
    made = {
        "written": time.strftime("%Y-%m-%d"),
        "machine": where,
        "versions": versions(),
        "weights": weights,
        "seconds": options.seconds,
        "ratios": baseline_of(looks),
    }
    write_baseline(options.baseline, kind, made)
    print(f"written to {options.baseline} for {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
