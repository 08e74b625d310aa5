"""What a frame costs in a kept garment, and whether it matters how many garments are kept.

    python -m benchmarks.wardrobe                       # 10,000 garments: 10 GB of disk for a while
    python -m benchmarks.wardrobe --garments 1000 --seconds 20

Two embedded servers, one with a single garment and one with many, take turns with `tryon` and with
the same steps in this process: a table, and out/bench/wardrobe.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.chain import Chain, Step, network, served_chain
from benchmarks.inputs import Inputs, make_inputs, parse_size, photos, tensors
from benchmarks.load import Series, until_stable
from benchmarks.machine import measured_on
from benchmarks.report import write_json
from benchmarks.server import TIMEOUT, Server
from benchmarks.stats import ratio_interval
from deploy.embedded import REPOSITORY, EmbeddedServer, ServerError
from tryon.assets import AssetError
from tryon.contract import LIVE, ensemble, model
from tryon.errors import RequestError
from tryon.steps.served import load_step
from tryon.wardrobe.store import MEGABYTES, StoreError, open_store
from tryon_client import Garment, TryOnClient, TryOnError, Wardrobe, wire

ROOT = Path(__file__).resolve().parents[1]
TO_NETWORKS = {
    name: f"{name}, 1 kept / pose and generator, bare" for name in ("tryon_live", "tryon_follow")
}
"""The ratios of a live session's frame to its networks: of one that looks for its person, and of
one whose person is followed, as all but a session's first are."""
GARMENTS, SECONDS, WINDOW = 10_000, 60.0, 1.0
ROOM = 1.2
"""Disk that must be free, by what the garments take."""


def bare(repository: Path, names: Sequence[str], threads: int) -> Chain:
    """Steps of `tryon_live` in this process, which need no store.

    Args:
        repository: an exported one of target `cpu`.
        names: of the steps, in their order.
        threads: of each network.
    """
    steps: list[tuple[str, Step]] = []
    for name in names:
        folder = repository / name / "1"
        if model(name).kind == "onnx":
            steps.append((name, network(model(name), folder / "model.onnx", threads)))
        else:
            steps.append((name, load_step(name, folder)))
    return Chain(steps, threads)


def fill(folder: Path, value: bytes, about: str, count: int, limit: int) -> list[str]:
    """A store of `count` copies of a garment under IDs of their own; the IDs."""
    store = open_store(str(folder), limit)
    version, _, rest = about.partition("-")
    names = []
    try:
        for k in tqdm(range(count), unit="garment", desc="filling"):
            name = f"{version}-{k:032x}"
            store.put(f"{name}:{rest}", value, "{}")
            names.append(name)
    finally:
        store.close()
    return names


@contextlib.contextmanager
def holding(limit: int) -> Iterator[None]:
    """Servers that are started inside keep so many bytes of garments."""
    before = os.environ.get(MEGABYTES)
    os.environ[MEGABYTES] = str(-(-limit // 2**20))
    try:
        yield
    finally:
        if before is None:
            del os.environ[MEGABYTES]
        else:
            os.environ[MEGABYTES] = before


def wearing(
    server: Server, person: np.ndarray, names: Sequence[str], track: np.ndarray | None = None
) -> Callable[[], object]:
    """A call of `tryon_live`, or of `tryon_follow` with a track, the next garment each time."""
    count = 0

    def call() -> object:
        nonlocal count
        name = names[count * 7919 % len(names)]  # far from the one before, and all in the end
        count += 1
        if track is not None:
            return server.send(wire.live_request(person, name, track, 1 / 30, follow=True))
        return server.send(wire.live_request(person, name, wire.TRACK, 0.0))

    return call


def table(rows: Sequence[dict[str, Any]], ratios: dict[str, dict[str, float]]) -> str:
    """Text of at most 100 columns."""
    lines = [f"{'':52} {'p50 ms':>8} {'p90 ms':>8} {'calls':>7}"]
    lines += [f"{r['name']:52} {r['p50']:8.1f} {r['p90']:8.1f} {r['count']:7}" for r in rows]
    lines += [f"{name}: {r['value']:.2f} ({r['low']:.2f} to {r['high']:.2f})"
              for name, r in ratios.items()]  # fmt: skip
    return "\n".join(lines)


def measure(options: argparse.Namespace, inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Runs all subjects in turn; rows and ratios."""
    person, cores = inputs.person, len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(EmbeddedServer(options.repository, wardrobe=str(folder / "one")))
        few = _server(stack, one)
        client = stack.enter_context(TryOnClient(one.grpc_url, timeout=TIMEOUT))
        wardrobe = Wardrobe(client)
        garment = Garment(inputs.garment, inputs.prompt, inputs.category)
        name = wardrobe.add(garment, (person.shape[0], person.shape[1]))
        store = open_store(str(folder / "one"))
        (entry,) = store.entries()
        value = store.get(entry.key)
        store.close()
        assert value is not None
        needed = int(options.garments * len(value) * ROOM)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise StoreError(f"{options.garments} garments need {needed >> 20} MiB in {folder}, "
                             f"{free >> 20} are free: give fewer --garments")  # fmt: skip
        about = f"{name.partition('-')[0]}-{entry.key.rpartition(':')[2]}"
        names = fill(folder / "many", value, about, options.garments, needed)
        with holding(needed):
            other = EmbeddedServer(options.repository, wardrobe=str(folder / "many"))
            many = _server(stack, stack.enter_context(other))
        seen = served_chain(options.repository, cores).everything(tensors(inputs))
        seen |= {"track": np.zeros((1, 10), np.float32), "elapsed": np.zeros((1, 1), np.float32)}
        models = [step.model for step in ensemble(LIVE).steps[1:]]
        chain = bare(options.repository, models, cores)
        networks = bare(options.repository, ("pose", "generator"), cores)
        worn = [name], names[:1], names
        track = wardrobe.wear(person, [garment]).track.state
        subjects = {
            "tryon, its garment known": lambda: few.try_on(inputs),
            "tryon_live, 1 garment kept": wearing(few, person, worn[0]),
            "tryon_follow, 1 garment kept": wearing(few, person, worn[0], track),
            f"tryon_live, {options.garments} kept, one worn": wearing(many, person, worn[1]),
            f"tryon_live, {options.garments} kept, another each frame":
                wearing(many, person, worn[2]),
            "its steps behind the store, bare": lambda: chain.everything(seen),
            "pose and generator alone, bare": lambda: networks.everything(seen),
        }  # fmt: skip
        series = until_stable(subjects, window=WINDOW, cap=options.seconds, warm_up=3)
        steps = wire.stage_means(many.statistics())
    rows = [{"name": key, **series[key].summary()} for key in subjects]
    tryon, live, follow, kept, each, steps_bare, networks_bare = subjects
    pairs = {"many, one worn / 1 kept": (kept, live),
             "many, another each frame / 1 kept": (each, live),
             "tryon_live, 1 kept / tryon": (live, tryon),
             "tryon_live, 1 kept / its steps, bare": (live, steps_bare),
             TO_NETWORKS["tryon_live"]: (live, networks_bare),
             TO_NETWORKS["tryon_follow"]: (follow, networks_bare)}  # fmt: skip
    ratios = {name: _ratio(series[a], series[b]) for name, (a, b) in pairs.items()}
    return {"rows": rows, "ratios": ratios, "steps_many": steps, "bytes": len(value)}


def _server(stack: contextlib.ExitStack, embedded: EmbeddedServer) -> Server:
    server = Server(embedded.grpc_url)
    stack.callback(server.close)
    return server


def _ratio(a: Series, b: Series) -> dict[str, float]:
    rounds = [(x.latencies, y.latencies) for x, y in zip(a.windows, b.windows, strict=True)]
    return ratio_interval(rounds, np.median)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wardrobe", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--garments", type=int, default=GARMENTS, help="kept (%(default)s)")
    parser.add_argument("--size", type=parse_size, default=(512, 384), metavar="HxW",
                        help="of the frames (512x384)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS,
                        help="of each subject, at most (%(default)g)")  # fmt: skip
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    if options.garments < 1 or not options.seconds > 0:
        parser.error("--garments takes 1 or more, --seconds more than 0")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(*photos(), options.size)
        with tempfile.TemporaryDirectory(prefix="wardrobe-", dir=options.out) as folder:
            made = measure(options, inputs, Path(folder))
    except (AssetError, RequestError, ServerError, StoreError, TryOnError, OSError) as error:
        print(f"wardrobe: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    made |= measured_on(options.repository)
    write_json(made, options.out / "wardrobe.json")
    print(table(made["rows"], made["ratios"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
