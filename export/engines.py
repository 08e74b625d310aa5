"""From a repository's float32 graphs to locked fp16 engines: halve, gate, build, audit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from export import audit, engine, gpu, inspector, lock, precision, runner, timing
from export.config import profile
from export.repository import FORMS, PLAN, onnx_files
from export.trace import OPSET
from tryon.contract import CONTRACT_VERSION, MODELS, Model

CALIBRATION = Path(__file__).resolve().parent / "data"
"""The rendered pair among the requests that AutoCast calibrates on."""
PHOTOS = ("openpeople", "openvto")
"""Packages whose photos are the other requests."""
HALF, INT8 = FORMS["fp16"], FORMS["int8"]


def facts(
    target: str, sm: str, hashes: Mapping[str, str], options: engine.Options | None = None
) -> dict[str, object]:
    """What engines depend on: sources, TensorRT, CUDA, GPU, precision, calibration, profiles.

    Raises:
        EngineError: the target's TensorRT isn't installed, or no GPU is there or named.
    """
    trt = engine.load(target)
    return {
        "contract_version": CONTRACT_VERSION,
        "target": target,
        "tensorrt": str(trt.__version__),
        "cuda": _cuda(trt),
        "compute_capability": sm or _present().capability,
        "opset": OPSET,
        "precision": f"{'int8 or ' * wants_int8(hashes)}fp16, strongly typed",
        "modelopt": importlib.metadata.version("nvidia-modelopt"),
        "options": asdict(options or engine.Options()),
        "calibration": _calibration(),
        "profiles": {m.name: json.dumps(profile(m)) for m in _networks()},
        "sources": dict(hashes),
    }


def wants_int8(hashes: Mapping[str, str]) -> bool:
    """Whether an export with these `repository.source_hashes` and `engines` asked for INT8."""
    return "int8" in hashes.get("engines", "")


def _cuda(trt: Any) -> str:
    """CUDA that TensorRT was built for ("12": the package's name has it), or that is here."""
    packages = importlib.metadata.packages_distributions().get(trt.__name__.split(".")[0], [])
    for package in packages:
        if "cu1" in package:
            return package.partition("cu")[2].partition("_")[0].partition("-")[0]
    found = gpu.present()
    # NVIDIA's images name theirs; the driver's may be newer.
    return os.environ.get("CUDA_VERSION") or (found.cuda if found else "none")


def _present() -> gpu.Gpu:
    found = gpu.present()
    if found is None:
        raise engine.EngineError("no GPU is there to build for: name one with SM=89 and "
                                 "TARGET=tensorrt_rtx")  # fmt: skip
    return found


def _calibration() -> dict[str, str]:
    """Hashes of the pictures that AutoCast calibrates on; nothing of it is drawn at random."""
    from tryon.assets import PACKAGES

    found = {file.name: lock.sha256(file) for file in sorted(CALIBRATION.glob("*.png"))}
    return found | {name: PACKAGES[name].sha256 for name in PHOTOS}


def fingerprint(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {value.dtype} {value.shape}\0".encode() + value.tobytes())
    return digest.hexdigest()


def calibration(sets: Mapping[str, Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """The request that AutoCast calibrates on: the first with garment and words."""
    return next((s for s in sets.values() if s["condition"][0, 3:].all()),
                next(iter(sets.values())))  # fmt: skip


def halve_all(
    repository: Path, modules: Mapping[str, nn.Module],
    sets: Mapping[str, Mapping[str, np.ndarray]], say: Callable[[str], None] = print,
    int8: bool = False,
) -> list[precision.Loss]:  # fmt: skip
    """Adds `model.fp16.onnx` to each network's folder, gated; and `model.int8.onnx` where that is
    asked for and the gate lets it pass.

    Args:
        repository: with every network's `<name>/1/model.onnx`.
        modules: the torch networks by served name.
        sets: named tensors of whole requests; AutoCast calibrates on one with garment and words.
        say: takes a line of progress.

    Returns:
        Every comparison; those of INT8 may break their bounds.

    Raises:
        PrecisionError: names the tensor that half precision changes too much, and the first node
            that leaves the band.
    """
    from export import gate
    from export.explain import explain

    request = calibration(sets)
    rows: list[precision.Loss] = []
    for model in _networks():
        say(f"{model.name}: halving and comparing with float32")
        module = modules[model.name]
        source = repository / model.name / "1" / "model.onnx"
        half = source.with_name(HALF)
        precision.to_half(model, source, request, half)
        where = gate.picture_regions(model, module, sets)
        files = {"fp32": source, "fp16": half}
        found = gate.staged(model, module, files, sets, where)
        rows += found
        if not all(row.ok for row in found):
            say(precision.table(rows))
        precision.require(found, explain(model, module, files, sets))
        if int8:
            say(f"{model.name}: quantising and comparing with float32")
            tried = quantised(model, source, sets, where)
            say(f"{model.name}: INT8 {int8_report(tried)[model.name]}")
            rows += tried
    say(precision.table(rows))
    return rows


def quantised(
    model: Model, source: Path, sets: Mapping[str, Mapping[str, np.ndarray]],
    where: Mapping[str, Mapping[str, np.ndarray]] | None,
) -> list[precision.Loss]:  # fmt: skip
    """Writes `model.int8.onnx` beside `source` where the gate lets it pass: Q/DQ, the rest fp16.

    Args:
        source: the float32 file.
        sets: named tensors of whole requests; ranges are found on the real ones.
        where: regions of their pictures, of `gate.picture_regions`.

    Returns:
        The comparisons with float32; all keep their bounds where the file was written.
    """
    from export.edges import EDGE
    from export.int8 import to_int8
    from export.parity import distinct, run_onnx

    sets = distinct(model, sets)
    real = [s for label, s in sets.items() if not label.startswith(EDGE)]
    expected = run_onnx(model, source, sets)
    with tempfile.TemporaryDirectory() as folder:
        wide, narrow = Path(folder) / "wide.onnx", Path(folder) / "narrow.onnx"
        to_int8(model, source, real, wide)
        rows = precision.differences(model, expected, run_onnx(model, wide, sets), where, "int8")
        if all(row.ok for row in rows):  # halving takes a while, and only adds to it
            precision.to_half(model, wide, real[0], narrow)
            rows = precision.differences(
                model, expected, run_onnx(model, narrow, sets), where, "int8"
            )
        if all(row.ok for row in rows):
            shutil.copyfile(narrow, source.with_name(INT8))
    return rows


def build_all(
    repository: Path, target: str, sm: str, hashes: Mapping[str, str],
    modules: Mapping[str, nn.Module], sets: Mapping[str, Mapping[str, np.ndarray]],
    say: Callable[[str], None] = print, options: engine.Options | None = None,
) -> None:  # fmt: skip
    """`halve_all`, then each network's engine `model.plan`, the audit and the lock.

    Args:
        target: "tensorrt" or "tensorrt_rtx".
        sm: compute capability to build for; empty: the GPU that is there.
        hashes: of `repository.source_hashes`, and what was asked for as `engines`.
        modules, sets: of `halve_all`.
        options: what else is asked of the builder.

    Where the engines' GPU is here, they are run as the gate's next stage, and TensorRT is asked in
    which types it built them.

    Raises:
        EngineError, PrecisionError, DriftError, AuditError: nothing may be served then.
    """
    from export import gate

    trt = engine.load(target)
    known = facts(target, sm, hashes, options)
    known["calibration_inputs"] = fingerprint(calibration(sets))
    timings = timing.timing_file(repository, f"{target}_{known['tensorrt']}",
                                 _present().name) if not engine.for_rtx(trt) else None  # fmt: skip
    rows = halve_all(repository, modules, sets, say, wants_int8(hashes))
    built = []
    for model in _networks():
        say(f"{model.name}: building the engine")
        taken = list(onnx_files(repository, model.name, "fp16").values())[-1]
        built.append(engine.build(trt, model.name, taken, profile(model), taken.with_name(PLAN),
                                  sm if target == "tensorrt_rtx" else "",
                                  lambda line: say(f"  TensorRT: {line}"),
                                  options, timings))  # fmt: skip
    why_not = runner.obstacle(target, sm, options or engine.Options())
    if not why_not:
        rows += run_all(trt, repository, modules, sets, built, say)
    say(gate.not_run(why_not))
    say(audit.table(built))
    audit.require_half(built)
    worst = precision.worst_of(rows)
    more = {"int8": int8_report(rows)} if wants_int8(hashes) else {}
    audit.write(repository, built, {"fp16": [row.as_dict() for row in worst], **more})
    lock.write(repository, known)


def run_all(
    trt: Any, repository: Path, modules: Mapping[str, nn.Module],
    sets: Mapping[str, Mapping[str, np.ndarray]], built: list[engine.Built],
    say: Callable[[str], None] = print,
) -> list[precision.Loss]:  # fmt: skip
    """Each engine's answers on the GPU against the file that it was built from and against torch.

    Args:
        trt: of `engine.load`.
        repository, modules, sets, say: of `halve_all`.
        built: the engines; their layers get the types that TensorRT built them in.

    Raises:
        PrecisionError, EngineError: an engine answers otherwise, or not at all.
    """
    from export import gate
    from export.explain import explain

    rows: list[precision.Loss] = []
    for model, own in zip(_networks(), built, strict=True):
        say(f"{model.name}: running the engine")
        module, files = modules[model.name], onnx_files(repository, model.name, "fp16")
        plan = files["fp32"].with_name(PLAN)
        layers = inspector.inspect(trt, model.name, plan, profile(model))
        own.layers = inspector.types_after(own.layers, layers)
        where = gate.picture_regions(model, module, sets)
        found = gate.staged(model, module, files, sets, where, trt)
        rows += [row for row in found if row.stage == "engine"]
        if not all(row.ok for row in rows):
            say(precision.table(rows))
        precision.require(rows, explain(model, module, files, sets, trt))
    say(precision.table(rows))
    return rows


def int8_report(rows: list[precision.Loss]) -> dict[str, str]:
    """What became of INT8 by network: "taken", or why it stays fp16: its worst figure."""
    report: dict[str, str] = {}
    tried = [row for row in rows if row.stage == "int8"]
    for model in dict.fromkeys(row.model for row in tried):
        broken = [row for row in tried if row.model == model and not row.ok]
        worst = max(broken, key=_excess, default=None)
        report[model] = "taken" if worst is None else f"refused, stays fp16: {worst}"
    return report


def _excess(row: precision.Loss) -> tuple[bool, float]:
    """How far a bound is broken, pictures before all else."""
    return row.picture, row.bound - row.measure if row.picture else row.measure / row.bound


def _networks() -> list[Model]:
    return [model for model in MODELS if model.kind == "onnx"]
