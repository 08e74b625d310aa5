"""From a repository's float32 graphs to locked fp16 engines: halve, gate, build, audit."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from export import engine, lock, precision
from export.config import profile
from export.trace import OPSET
from tryon.contract import CONTRACT_VERSION, MODELS, Model

AUDIT, HALF, PLAN = "audit.json", "model.fp16.onnx", "model.plan"
HALF_SHARE = 0.95
"""Least share of the multiply-adds of convolutions and matrix products that must be fp16."""


class AuditError(RuntimeError):
    """An engine that computes too much in float32; names the model and its layers."""


def facts(target: str, sm: str, hashes: Mapping[str, str]) -> dict[str, object]:
    """What engines depend on: sources, TensorRT, GPU, precision and profiles."""
    trt = engine.load(target)
    return {
        "contract_version": CONTRACT_VERSION,
        "target": target,
        "tensorrt": str(trt.__version__),
        "compute_capability": sm or _present_capability(),
        "opset": OPSET,
        "precision": "fp16, strongly typed",
        "modelopt": importlib.metadata.version("nvidia-modelopt"),
        "profiles": {m.name: json.dumps(profile(m)) for m in _networks()},
        "sources": dict(hashes),
    }


def _present_capability() -> str:
    """Compute capability of the first GPU, such as "89"."""
    import torch

    if not torch.cuda.is_available():
        raise engine.EngineError("no GPU is there to build for: name one with SM=89 and "
                                 "TARGET=tensorrt_rtx")  # fmt: skip
    return "".join(str(n) for n in torch.cuda.get_device_capability())


def halve_all(
    repository: Path, sets: Mapping[str, Mapping[str, np.ndarray]],
    say: Callable[[str], None] = print,
) -> list[precision.Loss]:  # fmt: skip
    """Adds `model.fp16.onnx` to each network's folder, gated against its `model.onnx`.

    Args:
        repository: with every network's `<name>/1/model.onnx`.
        sets: named tensors of whole requests; AutoCast calibrates on one with garment and words.
        say: takes a line of progress.

    Raises:
        PrecisionError: names the tensor that half precision changes too much.
    """
    calibration = next((s for s in sets.values() if s["condition"][0, 3:].all()),
                       next(iter(sets.values())))  # fmt: skip
    rows: list[precision.Loss] = []
    for model in _networks():
        say(f"{model.name}: halving and comparing with float32")
        source = repository / model.name / "1" / "model.onnx"
        half = source.with_name(HALF)
        precision.to_half(model, source, calibration, half)
        found = precision.losses(model, source, half, sets)
        rows += found
        if not all(row.ok for row in found):
            say(precision.table(rows))
        precision.require(found)
    say(precision.table(rows))
    return rows


def build_all(
    repository: Path, target: str, sm: str, hashes: Mapping[str, str],
    sets: Mapping[str, Mapping[str, np.ndarray]], say: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """`halve_all`, then each network's engine `model.plan`, the audit and the lock.

    Args:
        target: "tensorrt" or "tensorrt_rtx".
        sm: compute capability to build for; empty: the GPU that is there.
        hashes: of `repository.source_hashes`.

    Raises:
        EngineError, PrecisionError, AuditError: nothing may be served then.
    """
    trt = engine.load(target)
    known = facts(target, sm, hashes)
    rows = halve_all(repository, sets, say)
    built = []
    for model in _networks():
        say(f"{model.name}: building the engine")
        half = repository / model.name / "1" / HALF
        built.append(engine.build(trt, model.name, half, profile(model), half.with_name(PLAN),
                                  sm if target == "tensorrt_rtx" else ""))  # fmt: skip
    say(audit_table(built))
    require_half(built)
    report = {"engines": [b.as_dict() for b in built], "fp16": [row.as_dict() for row in rows]}
    (repository / AUDIT).write_text(json.dumps(report, indent=1) + "\n")
    lock.write(repository, known)


def _networks() -> list[Model]:
    return [model for model in MODELS if model.kind == "onnx"]


def audit_table(built: list[engine.Built]) -> str:
    """Each engine's size and how much of its compute is fp16, as text."""
    lines = [f"{'engine':14}{'MB':>7}{'layers':>8}{'GMAC':>8}{'fp16':>8}  still in float32"]
    for b in built:
        wide = [layer for layer in b.layers if layer.dtype != "HALF"]
        total = sum(layer.work for layer in b.layers)
        lines.append(
            f"{b.model:14}{b.bytes / 2**20:7.1f}{len(b.layers):8d}{total / 1e9:8.3f}"
            f"{b.half_share:8.1%}  {', '.join(layer.name for layer in wide[:4])}"
            + (f" and {len(wide) - 4} more" if len(wide) > 4 else "")
        )
    return "\n".join(line.rstrip() for line in lines)


def require_half(built: list[engine.Built]) -> None:
    """Raises AuditError where less than HALF_SHARE of an engine's compute is fp16."""
    for b in built:
        if not b.half_share >= HALF_SHARE:
            wide = sorted((x for x in b.layers if x.dtype != "HALF"), key=lambda x: -x.work)
            raise AuditError(
                f"{b.model}: {b.half_share:.1%} of its multiply-adds are fp16, at least "
                f"{HALF_SHARE:.0%} must be; the largest in float32: "
                + ", ".join(f"{x.name} ({x.dtype})" for x in wide[:3])
            )


def read_audit(repository: Path) -> list[engine.Built]:
    """The engines as `build_all` found them.

    Raises:
        FileNotFoundError: none were built there.
    """
    report = json.loads((repository / AUDIT).read_text())
    return [
        engine.Built(e["model"], e["bytes"], [engine.Layer(**x) for x in e["layers"]],
                     e["half_share"])
        for e in report["engines"]
    ]  # fmt: skip
