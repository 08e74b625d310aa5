"""`python -m benchmarks.roofline` (`make roofline`): what bounds each step on this machine.

Arithmetic and bytes of each served step, against what this machine does at its best: a large matrix
product, a long sum of arrays, measured here. A step can't take less than its roof, the longer of
arithmetic / peak and bytes / bandwidth. Bytes are counted twice: those that must move (weights,
inputs, outputs), and those that move where every operator reads and writes its own tensors, which
is what ONNX Runtime does when they do not fit into the cache.

    python -m benchmarks.roofline --size 1024x768
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.chain import Step, Values, network, served_chain, step_of
from benchmarks.inputs import (
    make_inputs,
    parse_size,
    photos,
    tensors,
)
from benchmarks.machine import ROOT, machine, weights_hash
from benchmarks.report import write_json
from export.config import SETTINGS
from export.files import write_whole
from tryon.assets import AssetError
from tryon.contract import ENSEMBLE_STEPS, Model, model
from tryon.errors import RequestError
from tryon.steps.served import load_step

MATRIX = 1536
"""Side of the matrices whose product is the peak of arithmetic."""
STREAM = 16 * 2**20
"""float32 numbers in each of the three arrays of the sum that is the peak of bandwidth: far more
than caches hold."""
SECONDS = 1.0
_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape"})
"""Operators that move no bytes."""


@dataclass(frozen=True)
class Peak:
    """What the machine does at its best with some threads: operations and bytes a second."""

    threads: int
    flops: float
    bytes: float


@dataclass(frozen=True)
class Work:
    """Of one request: floating-point operations; bytes that must move; bytes that move where each
    operator reads and writes its own tensors."""

    flops: float
    least_bytes: float
    operator_bytes: float


@dataclass(frozen=True)
class Row:
    """A step under its roofs, milliseconds."""

    step: str
    threads: int
    work: Work
    ms: float
    arithmetic_ms: float
    least_ms: float
    operator_ms: float

    @property
    def roof_ms(self) -> float:
        """What it can't be faster than, were all between its operators in the cache."""
        return max(self.arithmetic_ms, self.least_ms)

    @property
    def bound(self) -> str:
        """What bounds it: arithmetic, memory, or (far above either) what is done around them."""
        if max(self.arithmetic_ms, self.operator_ms) < 0.25 * self.ms:
            return "overhead"
        return "arithmetic" if self.arithmetic_ms > self.operator_ms else "memory"


def row(step: str, peak: Peak, work: Work, ms: float) -> Row:
    """A step's work against the peak of as many threads as it has."""
    return Row(
        step, peak.threads, work, ms, 1e3 * work.flops / peak.flops,
        1e3 * work.least_bytes / peak.bytes, 1e3 * work.operator_bytes / peak.bytes,
    )  # fmt: skip


def fastest(call: Callable[[], object], seconds: float = SECONDS) -> float:
    """Seconds of the fastest of the calls that fit into some seconds, three at least."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def measure_peak(threads: int) -> Peak:
    """The machine's peak with some threads of torch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b, c = (torch.rand(MATRIX, MATRIX) for _ in range(3))
        product = fastest(lambda: torch.mm(a, b, out=c))
        x, y, z = (torch.ones(STREAM) for _ in range(3))
        total = fastest(lambda: torch.add(x, y, out=z))
    finally:
        torch.set_num_threads(before)
    return Peak(threads, 2 * MATRIX**3 / product, 3 * 4 * STREAM / total)


def flops_of(op: str, inputs: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> float:
    """Floating-point operations of one ONNX operator: two a multiply-add, one an element else.

    Args:
        op: its type.
        inputs, outputs: shapes of its tensors.
    """
    made = float(np.prod(outputs[0])) if outputs else 0.0
    if op in _VIEWS:
        return 0.0
    if op in ("Conv", "FusedConv"):
        return 2 * made * float(np.prod(inputs[1][1:]))
    if op == "ConvTranspose":
        return 2 * float(np.prod(inputs[0])) * float(np.prod(inputs[1][1:]))
    if op in ("MatMul", "FusedMatMul"):
        return 2 * made * inputs[0][-1]
    if op == "Gemm":  # either matrix may be transposed
        return 2 * made * float(np.prod(inputs[0])) / outputs[0][0]
    return made


def work_of(events: Sequence[Mapping[str, Any]], ends: float) -> Work:
    """Sums over the operators that ONNX Runtime's profiler saw.

    Args:
        events: of one run, as its JSON has them.
        ends: bytes of the network's own inputs and outputs.
    """
    flops = moved = weights = 0.0
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        seen = event["args"]
        inputs, outputs = (
            [shape for tensor in seen[side] for shape in tensor.values()]
            for side in ("input_type_shape", "output_type_shape")
        )
        flops += flops_of(seen["op_name"], inputs, outputs)
        if seen["op_name"] in _VIEWS:
            continue
        own, made = int(seen["parameter_size"]), int(seen["output_size"])
        if seen["op_name"] == "Gather":  # of a table of words it reads a few rows
            own = min(own, made)
        weights += own
        moved += own + int(seen["activation_size"]) + made
    return Work(flops, ends + weights, moved)


def network_work(served: Model, path: Path, values: Values) -> Work:
    """A network's work on a request: its operators are run once by themselves, not fused, since
    the profiler tells the shapes of those, and the picture's size decides the others.

    Args:
        served: of the contract.
        path: its ONNX file.
        values: tensors by name, its inputs among them.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="tryon-roofline-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        made = step_of(served, session)(values)
        events = json.loads(Path(session.end_profiling()).read_text())
    return work_of(events, _bytes(values[t.name] for t in served.inputs) + _bytes(made.values()))


def step_work(served: Model, values: Values) -> Work:
    """A step in Python: its arithmetic is not counted, its tensors are read and written once."""
    moved = _bytes(values[t.name] for t in (*served.inputs, *served.outputs))
    return Work(0.0, moved, moved)


def _bytes(arrays: Any) -> float:
    # Texts count by their letters: as objects they have no size.
    return float(sum(
        a.nbytes if a.dtype != object else sum(len(x) for x in a.reshape(-1)) for a in arrays
    ))  # fmt: skip


def table(rows: Sequence[Row], peaks: Sequence[Peak]) -> str:
    """Text of at most 100 columns."""
    lines = [
        f"{p.threads} thread{'s' * (p.threads > 1)}: {p.flops / 1e9:.1f} GFLOP/s, "
        f"{p.bytes / 1e9:.1f} GB/s"
        for p in peaks
    ]
    head = ("GFLOP", "MB min", "MB ops", "ms", "roof", "arith.", "memory", "of peak")
    lines += ["", f"{'step':13} {'thr':>3}" + "".join(f"{h:>8}" for h in head) + "  bound by"]
    for r in rows:
        numbers = (
            f"{r.work.flops / 1e9:.3f}", f"{r.work.least_bytes / 1e6:.2f}",
            f"{r.work.operator_bytes / 1e6:.2f}", f"{r.ms:.2f}", f"{r.roof_ms:.2f}",
            f"{r.arithmetic_ms:.2f}", f"{r.operator_ms:.2f}",
            f"{100 * r.arithmetic_ms / r.ms:.0f}%",
        )  # fmt: skip
        cells = "".join(f"{number:>8}" for number in numbers)
        lines.append(f"{r.step:13} {r.threads:3d}{cells}  {r.bound}")
    total, roof = sum(r.ms for r in rows), sum(r.roof_ms for r in rows)
    lines += [
        f"{'one by one':13} {'':3}{sum(r.work.flops for r in rows) / 1e9:8.3f}{'':16}"
        f"{total:8.2f}{roof:8.2f}",
        "",
        "roof: the longer of arithmetic and of the bytes that must move (MB min); memory: of those",
        "that operators read and write one by one (MB ops). Steps in Python count as bytes alone.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.roofline", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--size", type=parse_size, default=(512, 384), metavar="HxW",
                        help="of the person; default: 512x384")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a step (%(default)g)")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository" / "cpu")
    parser.add_argument("--person", type=Path, help="a photo; default: one of openpeople")
    parser.add_argument("--garment", type=Path, help="a photo; default: one of openvto")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    try:
        person, garment = photos(options.person, options.garment)
        options.out.mkdir(parents=True, exist_ok=True)
        given = tensors(make_inputs(person, garment, options.size))
        values = served_chain(options.repository, cores).everything(given)
        counts = sorted({1, *(min(threads, cores) for threads in SETTINGS.threads.values())})
        peaks = {threads: measure_peak(threads) for threads in counts}
        rows = [_measure(step.model, options, values, peaks, cores) for step in ENSEMBLE_STEPS]
    except (AssetError, RequestError, OSError) as error:
        print(f"roofline: {error}", file=sys.stderr)
        return 2
    text = table(rows, list(peaks.values()))
    size = f"{options.size[0]}x{options.size[1]}"
    where = machine()
    made = {
        "machine": where, "weights": weights_hash(options.repository), "size": size,
        "peaks": [asdict(peak) for peak in peaks.values()], "steps": [asdict(r) for r in rows],
    }  # fmt: skip
    write_json(made, options.out / f"roofline-{size}.json")
    load = where["load_average"][0]
    head = f"{where['processor']} ({', '.join(where['simd'])}), {size}, load {load}"
    write_whole(options.out / f"roofline-{size}.txt", f"{head}\n{text}\n".encode())
    print(f"{head}\n{text}")
    return 0


def _measure(
    name: str, options: argparse.Namespace, values: Values, peaks: Mapping[int, Peak], cores: int
) -> Row:
    served, folder = model(name), options.repository / name / "1"
    if served.kind == "onnx":
        threads = min(SETTINGS.threads[name], cores)
        step: Step = network(served, folder / "model.onnx", threads)
        work = network_work(served, folder / "model.onnx", values)
    else:
        threads, step, work = 1, load_step(name, folder), step_work(served, values)
    step(values)
    ms = 1e3 * fastest(lambda: step(values), options.seconds)
    return row(name, peaks[threads], work, ms)


if __name__ == "__main__":
    sys.exit(main())
