"""TensorRT engines from fp16 ONNX files, strongly typed.

One builder over TensorRT's Python API. The module behind it is chosen by target: `tensorrt` (in
NVIDIA's containers, engines for the GPU that is there) or `tensorrt_rtx` (from the package index;
builds ahead of time for a named compute capability, with no GPU).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from export.config import Shape

COMPUTE = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
"""Layer types whose precision the audit weighs, by their multiply-adds."""


class EngineError(RuntimeError):
    """An engine that can't be built; carries TensorRT's own messages."""


@dataclass
class Layer:
    """A layer of the network before the build: its name, kind, type and multiply-adds."""

    name: str
    kind: str
    dtype: str
    work: float


@dataclass
class Built:
    """An engine that was built.

    Attributes:
        bytes: its size.
        layers: those of COMPUTE.
        half_share: share of their multiply-adds in fp16.
    """

    model: str
    bytes: int
    layers: list[Layer] = field(repr=False)
    half_share: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def load(target: str) -> Any:
    """TensorRT's Python module of a target.

    Raises:
        EngineError: it is not installed; names the ways on.
    """
    names = {"tensorrt": ("tensorrt",),
             "tensorrt_rtx": ("tensorrt_rtx_libs", "tensorrt_rtx_bindings")}[target]  # fmt: skip
    try:
        modules = [importlib.import_module(name) for name in names]
    except (ImportError, OSError) as error:
        how = "" if target == "tensorrt" else ": `make engines` installs it"
        raise EngineError(f"{names[-1]} is not installed here ({error}){how}") from None
    return modules[-1]


def build(
    trt: Any, model: str, onnx: Path, profiles: Mapping[str, tuple[Shape, Shape, Shape]],
    out: Path, sm: str = "", say: Callable[[str], None] = lambda line: None,
) -> Built:  # fmt: skip
    """Builds one engine.

    Args:
        trt: of `load`.
        model: its served name.
        onnx: the fp16 file.
        profiles: of `export.config.profile`.
        out: the engine's file.
        sm: compute capability such as "89" (TensorRT for RTX); empty: the GPU that is there.
        say: takes TensorRT's warnings.

    Raises:
        EngineError: with the ONNX node that TensorRT names, or its error messages.
    """
    logger = _logger(trt, say)
    builder = trt.Builder(logger)
    # TensorRT 11 and TensorRT for RTX know no other networks than strongly typed ones.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        told = "; ".join(f"node {e.node_name() or e.node()!r}: {e.desc()}" for e in errors)
        raise EngineError(f"{model}: TensorRT can't read {onnx.name}: {told}")
    if network.num_outputs == 0:
        raise EngineError(f"{model}: {onnx.name} holds no network")
    layers = compute_layers(trt, network)
    config = builder.create_builder_config()
    if sm:
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability(trt, sm), 0)
    profile = builder.create_optimization_profile()
    for name, (low, best, high) in profiles.items():
        profile.set_shape(name, low, best, high)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"{model}: TensorRT refuses the contract's profile {dict(profiles)}")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        told = "; ".join(logger.errors) or "no message"
        raise EngineError(f"{model}: TensorRT can't build {onnx.name}: {told}")
    out.write_bytes(memoryview(plan))
    total = sum(layer.work for layer in layers)
    half = sum(layer.work for layer in layers if layer.dtype == "HALF")
    return Built(model, out.stat().st_size, layers, half / total if total else 1.0)


def _logger(trt: Any, say: Callable[[str], None]) -> Any:
    class Logger(trt.ILogger):
        """Keeps errors for the exception, and passes warnings on."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                say(message)

    return Logger()


def capability(trt: Any, sm: str) -> Any:
    """TensorRT's name of a compute capability such as "89"; raises EngineError for one unknown."""
    known = sorted(n for n in trt.ComputeCapability.__members__ if n.startswith("SM"))
    if f"SM{sm}" not in known:
        names = ", ".join(n[2:] for n in known)
        raise EngineError(f"SM={sm!r} is no compute capability it builds for; there are {names}")
    return trt.ComputeCapability.__members__[f"SM{sm}"]


def compute_layers(trt: Any, network: Any) -> list[Layer]:
    """The convolutions and matrix products of a parsed network.

    A dimension that varies (the batch, tokens) counts once in their multiply-adds, a map's width as
    its height.
    """
    found = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kind = layer.type.name
        if kind not in COMPUTE:
            continue
        shape = [int(dimension) for dimension in layer.get_output(0).shape]
        if kind == "CONVOLUTION" and shape[-1] < 0:
            shape[-1] = shape[-2]
        size = 1.0
        for dimension in shape:
            size *= max(dimension, 1)
        if kind == "MATRIX_MULTIPLY":
            inner = int(layer.get_input(0).shape[-1])
        else:
            # The bindings hand out the base class; its own properties come with the right one.
            layer.__class__ = getattr(trt, f"I{kind.title()}Layer")
            inner = int(layer.get_input(0).shape[1]) // max(layer.num_groups, 1)
            for side in layer.kernel_size_nd:
                inner *= int(side)
        # The type that it computes in is its input's: a cast behind it may widen the output.
        dtype = layer.get_input(0).dtype.name
        found.append(Layer(layer.name, kind, dtype, size * max(inner, 1)))
    return found
