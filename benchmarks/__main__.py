"""`python -m benchmarks`: the server's latency and throughput, and the bare chain beside it.

For each size, windows of gRPC calls and of the bare ONNX Runtime chain take turns in one run on the
same inputs (A B A B ...), until three windows in a row agree within 10%, or the time is up. Every
call brings a garment and words that the server has not seen; a third subject in turn sends one
garment again and again, as a shop's come again with every customer: the server remembers what it
made of it. Then two callers at once, with new garments, and eight, of server and chain in turn.
Last, callers who come at random, so many a second, whether the server keeps up or not; their time
counts from when they came. Writes bench.json, bench.png and bench.html into out/bench/ and prints a
table.

    python -m benchmarks --sizes 512x384 --cap 30
    python -m benchmarks --sizes 512x384 --rates 4 8 12 16 --deadline 250

With `--scenario`, plays scenarios instead (`benchmarks/scenarios/*.yaml`, or a file of one's own):
loads, sizes and forms as each says, and peers in turn with ours. Writes scenarios.json and
scenarios.html into out/bench/.

    python -m benchmarks --scenario closed-512-raw-new live-512
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks import play_report, report
from benchmarks.chain import Chain, served_chain
from benchmarks.cost import held, usage
from benchmarks.inputs import (
    FRESH,
    Inputs,
    fresh,
    make_inputs,
    parse_size,
    photos,
)
from benchmarks.load import Window, run_open, until_stable
from benchmarks.machine import ROOT, machine, versions, weights_hash
from benchmarks.page import write_page
from benchmarks.peers.opened import opened
from benchmarks.peers.processes import PeerError
from benchmarks.play import play, ratios
from benchmarks.scenario import Scenario, ScenarioError, find_scenario, names
from benchmarks.server import Server, server_at
from benchmarks.triton import StepTimes, add_difference, breakdown
from deploy.embedded import ServerError
from export.files import write_whole
from tryon.assets import AssetError
from tryon.contract import OUTPUT_SIZES
from tryon_client import TryOnError


def measure(
    server: Server, chain: Chain, inputs: Inputs, *, window: float, cap: float,
    rates: Sequence[float] = (), deadline: float = 200.0, process: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All figures of one size; of the server's own costs where its `process` ID is known."""
    served, bare = server.try_on(inputs), chain.try_on(inputs)
    sent, received = server.bytes_of(inputs)
    cost: dict[str, float] = {"request_bytes": sent, "response_bytes": received}
    steps: dict[str, StepTimes] = {}
    used: list[float] = []

    def around(name: str, run: Any) -> Window:
        if name != "grpc":
            return run()
        before = server.statistics()
        began = usage(process).cpu_seconds if process else 0.0
        result: Window = run()
        if process:
            used.append((usage(process).cpu_seconds - began) * 1e3)
        add_difference(steps, before, server.statistics())
        return result

    # The same numbers for server and chain; each is called with a number once.
    numbers, chain_numbers = itertools.count(), itertools.count()

    def served_new() -> object:
        return server.try_on(fresh(inputs, next(numbers) % FRESH))

    def chain_new() -> object:
        return chain.try_on(fresh(inputs, next(chain_numbers) % FRESH))

    chain.reset_times()
    alone = until_stable(
        {"grpc": served_new, "known": lambda: server.try_on(inputs), "chain": chain_new},
        window=window, cap=cap, around=around,
    )  # fmt: skip
    if process:
        cost["cpu_ms"] = sum(used) / len(alone["grpc"].latencies())
        cost["peak_bytes"], cost["held_bytes"] = usage(process).peak_bytes, held(process)
    chain_steps = chain.mean_times()
    pair = until_stable({"grpc": served_new}, window=window, cap=cap / 2, concurrency=2)
    eight = until_stable(
        {"grpc": served_new, "chain": chain_new}, window=window, cap=cap / 2, concurrency=8
    )
    came = [run_open(served_new, rate, cap / 4).summary(deadline) for rate in rates]
    one_by_one = ratios(alone["grpc"], alone["chain"])
    difference = np.abs(served[0].astype(int) - bare[0])
    height, width = inputs.person.shape[:2]
    return {
        "size": f"{height}x{width}",
        "inputs": {"person": inputs.person.shape, "garment": inputs.garment.shape,
                   "prompt": inputs.prompt, "category": inputs.category},
        "grpc_1": alone["grpc"].summary(),
        "grpc_known": alone["known"].summary(),
        "grpc_2": pair["grpc"].summary(),
        "grpc_8": eight["grpc"].summary(),
        "chain": alone["chain"].summary(),
        "chain_8": eight["chain"].summary(),
        "open": came,
        "ratios": {
            "p50": one_by_one["p50"],
            "p99": one_by_one["p99"],
            "pictures a second, 8": ratios(eight["grpc"], eight["chain"])["throughput"],
        },
        "agreement": {
            "max_difference": int(difference.max()),
            "share_within_2": float((difference <= 2).mean()),
            "masks_equal": bool(np.array_equal(served[1], bare[1])),
        },
        "cost": cost,
        "steps": breakdown(steps),
        "chain_steps": chain_steps,
    }  # fmt: skip


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give callers a second, above 0")
    return rate


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=parse_size,
        default=list(OUTPUT_SIZES),
        metavar="HxW",
        help="person sizes; default: the contract's three",
    )
    parser.add_argument("--url", default="localhost:8001", help="default: localhost:8001")
    parser.add_argument("--window", type=float, default=2.0, help="seconds a window; default: 2")
    parser.add_argument(
        "--cap",
        type=float,
        default=60.0,
        help="seconds a size at most, half as much again for two callers and for eight, a quarter "
        "for each rate; default: 60",
    )
    parser.add_argument("--rates", nargs="*", type=_rate, default=[4, 8, 12], metavar="R",
                        help="callers a second who come at random; default: 4 8 12")  # fmt: skip
    parser.add_argument("--deadline", type=float, default=200.0, metavar="MS",
                        help="an answer of use comes within so many ms; default: 200")  # fmt: skip
    parser.add_argument("--person", type=Path, help="a photo; default: one of openpeople")
    parser.add_argument("--garment", type=Path, help="a photo; default: one of openvto")
    parser.add_argument(
        "--repository",
        type=Path,
        default=ROOT / "model_repository" / "cpu",
        help="whose ONNX files the bare chain runs",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="of the bare chain's sessions; default: the cores there are",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    parser.add_argument(
        "--scenario", nargs="+", default=[], metavar="NAME|FILE",
        help=f"what to play instead: a .yaml file, or one of {', '.join(names())}",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        scenarios = [find_scenario(name) for name in options.scenario]
        person, garment = photos(options.person, options.garment)
        options.out.mkdir(parents=True, exist_ok=True)
        if scenarios:
            return _play(scenarios, person, garment, options)
        return _compare(person, garment, options)
    except (TryOnError, ServerError, AssetError, ScenarioError, PeerError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except grpc.RpcError as error:
        print(f"benchmarks: {error.details()}", file=sys.stderr)
        return 2


def _about(repository: Path, server: Server) -> dict[str, Any]:
    """When and on what a run was made."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "versions": versions(server.version()),
        "weights": weights_hash(repository),
    }


def _compare(person: Path, garment: Path, options: argparse.Namespace) -> int:
    """The server against the bare chain, at each size."""
    chain = served_chain(options.repository, options.threads)
    with server_at(options.url, options.repository) as (server, process):
        made = _about(options.repository, server) | {
            "settings": {"window_s": options.window, "cap_s": options.cap,
                         "threads": chain.threads, "server_started_here": process is not None},
            "results": [],
        }  # fmt: skip
        for size in options.sizes:
            print(f"measuring {size[0]}x{size[1]} ...", file=sys.stderr, flush=True)
            inputs = make_inputs(person, garment, size)
            made["results"].append(
                measure(
                    server, chain, inputs, window=options.window, cap=options.cap,
                    rates=options.rates, deadline=options.deadline, process=process,
                )
            )  # fmt: skip
    report.write_json(made, options.out / "bench.json")
    report.plot(made, options.out / "bench.png")
    write_page(made, options.out / "bench.html")
    print(report.table(made))
    print("\n" + ", ".join(str(options.out / f"bench.{kind}") for kind in ("json", "png", "html")))
    return 0


def _play(
    scenarios: Sequence[Scenario], person: Path, garment: Path, options: argparse.Namespace
) -> int:
    """Each scenario in turn; its peers live as long as it does."""
    with server_at(options.url, options.repository) as (server, process):
        made = _about(options.repository, server) | {"played": []}
        for scenario in scenarios:
            print(f"playing {scenario.name} ...", file=sys.stderr, flush=True)
            inputs = make_inputs(person, garment, scenario.size)
            with opened(scenario.peers, options.repository, made["machine"]["cores"]) as peers:
                made["played"].append(play(scenario, server, inputs, process, peers))
    report.write_json(made, options.out / "scenarios.json")
    write_whole(options.out / "scenarios.html", play_report.page(made).encode())
    print(play_report.table(made))
    print("\n" + ", ".join(str(options.out / f"scenarios.{kind}") for kind in ("json", "html")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
