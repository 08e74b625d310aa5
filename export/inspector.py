"""What TensorRT made of each layer, as its engine inspector tells it: needs the engine's GPU."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from export import engine
from export.config import Shape

_TYPES = (("HALF", r"\b(FP16|Half)\b"), ("FLOAT", r"\b(FP32|Float)\b"), ("INT8", r"\bInt8\b"))
"""`engine.Layer.dtype` by how the inspector, of one release or another, writes it."""


def inspect(
    trt: Any, model: str, plan: Path, profiles: Mapping[str, tuple[Shape, Shape, Shape]]
) -> list[dict[str, Any]]:
    """An engine's layers as TensorRT built them, at the profile's best shapes.

    Args:
        trt: of `engine.load`.
        model: its served name.
        plan: the engine's file.
        profiles: of `export.config.profile`.

    Raises:
        EngineError: TensorRT can't load the engine here, or tells nothing that can be read.
    """
    told = engine.logger(trt, lambda line: None)
    runtime = trt.Runtime(told)
    built = runtime.deserialize_cuda_engine(plan.read_bytes())
    if built is None:
        raise engine.EngineError(f"{model}: TensorRT can't load the engine: "
                                 f"{'; '.join(told.errors) or 'no message'}")  # fmt: skip
    context = built.create_execution_context()
    for name, (_, best, _) in profiles.items():
        context.set_input_shape(name, best)
    inspector = built.create_engine_inspector()
    inspector.execution_context = context  # without shapes it tells no types
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers: list[dict[str, Any]] = json.loads(text)["Layers"]
        return [layer for layer in layers if isinstance(layer, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise engine.EngineError(f"{model}: TensorRT's engine inspector tells no layers ({error})"
                                 ) from None  # fmt: skip


def types_after(
    before: Iterable[engine.Layer], after: Iterable[Mapping[str, Any]]
) -> list[engine.Layer]:
    """The layers with the type in which TensorRT computes each; "" for those it does not name.

    Args:
        before: the network's layers, by their ONNX nodes' names.
        after: of `inspect`; a fused one names every node that went into it.
    """
    named = [(f"{x.get('Name', '')} {x.get('Metadata', '')}", _type(x)) for x in after]
    found = []
    for layer in before:
        # A whole name: /first/Conv is part of /first/Conv_1.
        own = re.compile(rf"(?<![\w./]){re.escape(layer.name)}(?![\w/.])")
        kind = next((t for text, t in named if t and own.search(text)), "")
        found.append(replace(layer, after=kind))
    return found


def _type(layer: Mapping[str, Any]) -> str:
    """The type of a layer's first input: what it computes in."""
    inputs = layer.get("Inputs") or [{}]
    text = " ".join(str(v) for k, v in inputs[0].items() if k in ("Format/Datatype", "Datatype"))
    return next((name for name, how in _TYPES if re.search(how, text, re.IGNORECASE)), "")
