"""`python -m benchmarks.gpu`: the five networks on the GPU that is here, in each way to run them.

torch eager and torch.compile (float32), ONNX Runtime on CUDA (the fp16 files) and TensorRT (the
engines), at the three sizes, batch 1 and 8. A request's networks run one after the other on inputs
that lie in the GPU's memory already; the steps between them (decode, crop, cutout, paste) run on
the CPU and are not counted. Milliseconds are p50 of a batch, memory is what the driver has less of
than before a way was loaded, and the picture is compared with torch's on the CPU, in the box in
which it was dressed (its bounds are those of `tryon/tolerances.py`).

Exit status 2 where no GPU is here, 1 where a picture breaks its bounds or a way fails.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.inputs import CATEGORY, PROMPT, make_inputs, photos
from benchmarks.load import run_window
from benchmarks.machine import ROOT, machine, versions, weights_hash
from benchmarks.on_gpu import LoadedNetwork, OnnxNetwork, TorchNetwork, Values, called
from benchmarks.report import write_json
from benchmarks.stats import summarise
from export import engine, gpu, runner
from export.chain import Network, run_chain
from export.gate import engine_obstacle
from export.regions import psnr
from export.repository import PLAN, onnx_files
from export.trace import set_bounded
from tryon.assets import AssetError
from tryon.contract import MODELS, OUTPUT_SIZES, Model
from tryon.errors import RequestError
from tryon.models.system import WeightsError
from tryon.pipeline import TryOn, TryOnPipeline
from tryon.tolerances import PICTURE_DB

BATCHES = (1, 8)
SECONDS = 3.0
WARM_UP = 5
NETWORKS = tuple(m for m in MODELS if m.kind == "onnx")
FIRST = ("photo", "thumbnail", "input_ids", "cloth")
"""What `decode` gives: all that follows runs anew."""

Loader = Callable[[Model], LoadedNetwork]


@dataclass(frozen=True)
class Row:
    """A way at one size and batch.

    Attributes:
        way: such as "torch eager".
        size: of the person, height x width.
        milliseconds: p50 of a batch through all networks; frames: pictures a second.
        memory_mb: of the GPU's, that the networks, their inputs and outputs took.
        picture_db: PSNR of the picture against torch on the CPU; inf: the same bytes.
        failed: why there are no figures; empty: there are.
    """

    way: str
    size: str
    batch: int
    milliseconds: float = np.nan
    frames: float = np.nan
    memory_mb: float = np.nan
    picture_db: float = np.nan
    failed: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ran, and the picture keeps its bound."""
        return not self.failed and self.picture_db >= PICTURE_DB


def ways(
    pipeline: TryOnPipeline, repository: Path, trt: Any, device: str = "cuda"
) -> dict[str, Loader]:
    """Name -> what loads a network in that way.

    Args:
        pipeline: whose torch networks are traced for a GPU (`trace.set_bounded`).
        repository: exported for engines.
        trt: of `engine.load`; None leaves TensorRT out.
        device: "cuda"; "cpu" for stand-ins.

    Raises:
        FileNotFoundError: a file is missing.
    """
    files = {m.name: onnx_files(repository, m.name, "fp32", "fp16") for m in NETWORKS}
    modules = pipeline.models
    found: dict[str, Loader] = {
        "torch eager": lambda m: TorchNetwork(m, modules[m.name], False, device),
        "torch.compile": lambda m: TorchNetwork(m, modules[m.name], True, device),
        "ONNX Runtime fp16": lambda m: OnnxNetwork(m, files[m.name]["fp16"], device),
    }
    if trt is not None:
        found[trt.__name__] = lambda m: runner.Engine(
            trt, m, files[m.name]["fp32"].with_name(PLAN).read_bytes(), device=device
        )
    return found


def measure(
    way: str, load: Loader, answers: Mapping[str, TryOn], seconds: float,
    batches: Sequence[int] = BATCHES,
) -> Iterator[Row]:  # fmt: skip
    """Measures one way at every size and batch.

    Args:
        way: its name; load: of `ways`.
        answers: size -> torch's answer on the CPU.
        seconds: of each measurement.
    """
    before = _used_mb()
    try:
        networks = {model.name: load(model) for model in NETWORKS}
    except Exception as error:  # whatever a library raises: the other ways are still measured
        yield from (Row(way, s, b, failed=_line(error)) for s in answers for b in batches)
        return
    for size, told in answers.items():
        for batch in batches:
            try:
                yield _measured(way, networks, size, batch, told, seconds, before)
            except Exception as error:
                yield Row(way, size, batch, failed=_line(error))


def _measured(
    way: str, networks: Mapping[str, LoadedNetwork], size: str, batch: int, told: TryOn,
    seconds: float, before: float,
) -> Row:  # fmt: skip
    for model in NETWORKS:
        inputs = {t.name: np.repeat(told.tensors[t.name], batch, 0) for t in model.inputs}
        networks[model.name].give(inputs)

    def call() -> None:
        for network in networks.values():
            network.launch()

    for _ in range(WARM_UP):
        call()
    window = run_window(call, seconds)
    taken = _used_mb() - before
    own: dict[str, Network] = {name: _network(n) for name, n in networks.items()}
    picture = run_chain(own, told.tensors, FIRST)["picture"][0]
    x0, y0, x1, y1 = (int(v) for v in told.tensors["box"][0])
    db = psnr(told.picture[None, y0:y1, x0:x1], picture[None, y0:y1, x0:x1])
    return Row(way, size, batch, summarise(window.latencies)["p50"], batch * window.throughput,
               taken, db)  # fmt: skip


def _network(network: LoadedNetwork) -> Network:
    def run(tensors: Values) -> Values:
        return called(network, tensors)

    return run


def _used_mb() -> float:
    """Megabytes of the GPU's memory in use; 0 where torch has no CUDA."""
    if not torch.cuda.is_available():
        return 0.0
    gc.collect()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 1e6


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'size':11}{'batch':>5}  {'way':22}{'ms':>9}{'frames/s':>10}{'MB':>8}"
             f"{'picture':>11}"]  # fmt: skip
    for row in sorted(rows, key=lambda r: (list(_sizes()).index(r.size), r.batch)):
        head = f"{row.size:11}{row.batch:5d}  {row.way:22}"
        if row.failed:
            lines.append(f"{head}not run: {row.failed}")
            continue
        db = "exact" if np.isinf(row.picture_db) else f"{row.picture_db:.1f} dB"
        lines.append(f"{head}{row.milliseconds:9.2f}{row.frames:10.1f}{row.memory_mb:8.0f}{db:>11}"
                     + ("" if row.ok else f"  UNDER {PICTURE_DB:g} dB"))  # fmt: skip
    return "\n".join(lines)


def _sizes() -> dict[str, tuple[int, int]]:
    return {f"{height}x{width}": (height, width) for height, width in OUTPUT_SIZES}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--repository", type=Path, metavar="FOLDER",
                        default=ROOT / "model_repository" / "tensorrt_rtx",
                        help="exported for engines (%(default)s)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS, help="each (%(default)g)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    why_not = runner.no_gpu()
    if why_not:
        print(f"error: nothing was measured: {why_not}", file=sys.stderr)
        return 2
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        person, garment = photos()
        pipeline = TryOnPipeline()
        for module in pipeline.models.values():
            set_bounded(module, False)  # as networks are traced for a GPU
        answers = {}
        for name, size in _sizes().items():
            made = make_inputs(person, garment, size)
            answers[name] = pipeline(np.array(made.person), np.array(made.garment), PROMPT,
                                     CATEGORY)  # fmt: skip
        obstacle = engine_obstacle(options.repository)
        trt = None if obstacle else engine.load(options.repository.name)
        loaders = ways(pipeline, options.repository, trt)
    except (AssetError, WeightsError, RequestError, FileNotFoundError, engine.EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for way, load in loaders.items():
        for row in measure(way, load, answers, options.seconds):
            rows.append(row)
            print(table([row]).splitlines()[1], flush=True)
    here = gpu.present()
    device = torch.cuda.get_device_name()
    print(f"\n{device}\n{table(rows)}")
    if obstacle:
        print(f"TensorRT      not run: {obstacle}")
    options.out.mkdir(parents=True, exist_ok=True)
    report = {
        "device": device, "cuda": here.cuda if here else "", "machine": machine(),
        "versions": versions() | {"torch": torch.__version__},
        "weights": weights_hash(options.repository),
        "tensorrt": obstacle or str(getattr(trt, "__version__", "")),
        "rows": [asdict(row) | {"picture_db": _json(row.picture_db)} for row in rows],
    }  # fmt: skip
    write_json(report, options.out / "gpu.json")
    return 0 if all(row.ok for row in rows) else 1


def _json(value: float) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return value if np.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main())
