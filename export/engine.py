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

from export import timing
from export.config import Shape
from export.files import write_whole
from export.gpu import present
from export.names import explained
from export.progress import monitor

COMPUTE = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
"""Layer types whose precision the audit weighs, by their multiply-adds."""


class EngineError(RuntimeError):
    """An engine that can't be built; carries TensorRT's own messages."""


@dataclass(frozen=True)
class Options:
    """What may be asked of the builder beside the network.

    Attributes:
        refit: weights can be swapped later (`export.refit`).
        version_compatible: later TensorRT of the same major version loads it.
        hardware_compatible: every GPU since Ampere loads it.
    """

    refit: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False

    def asked(self) -> list[str]:
        """The command line's words for what is asked, such as "--refit"."""
        return [f"--{name.replace('_', '-')}" for name, on in asdict(self).items() if on]


@dataclass
class Layer:
    """A layer of the network before the build.

    Attributes:
        name: of the ONNX node.
        kind: TensorRT's, such as "CONVOLUTION".
        dtype: the type that it computes in, such as "HALF".
        work: multiply-adds; 0 for those not of COMPUTE.
        after: the type in which TensorRT built it (`export.inspector`); "" where no GPU was there
            to ask, or the inspector doesn't name it.
    """

    name: str
    kind: str
    dtype: str
    work: float = 0.0
    after: str = ""


@dataclass
class Built:
    """An engine that was built.

    Attributes:
        bytes: its size.
        layers: all of them.
    """

    model: str
    bytes: int
    layers: list[Layer] = field(repr=False)

    @property
    def half_share(self) -> float:
        """Share of the multiply-adds that are fp16, 0 to 1, before the build."""
        return _share([(layer.work, layer.dtype) for layer in self.layers])

    @property
    def half_share_after(self) -> float | None:
        """The same as TensorRT built them, of those that its inspector names; None: none."""
        known = [(layer.work, layer.after) for layer in self.layers if layer.after and layer.work]
        return _share(known) if known else None

    def wide(self, after: bool = False) -> list[Layer]:
        """The layers with multiply-adds that are not fp16, before or after; the largest first."""
        kinds = ("HALF", "") if after else ("HALF",)
        found = [x for x in self.layers if x.work and (x.after if after else x.dtype) not in kinds]
        return sorted(found, key=lambda layer: -layer.work)

    def as_dict(self) -> dict[str, object]:
        """For JSON; what a layer has by default is left out."""
        layers = [{k: v for k, v in asdict(layer).items() if v} for layer in self.layers]
        return {"model": self.model, "bytes": self.bytes, "layers": layers}


def _share(work: list[tuple[float, str]]) -> float:
    total = sum(amount for amount, _ in work)
    return sum(amount for amount, kind in work if kind == "HALF") / total if total else 1.0


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


def for_rtx(trt: Any) -> bool:
    """Whether this is TensorRT for RTX."""
    return "rtx" in trt.__name__


def require_options(trt: Any, options: Options) -> None:
    """Raises EngineError, which says what to do, for an option that this builder hasn't.

    TensorRT for RTX has the same names, but warns and goes on (hardware), wants a library that its
    package lacks (version), or fails within its compiler where no GPU is (refit).
    """
    if not for_rtx(trt):
        return
    if options.hardware_compatible:
        raise EngineError("--hardware-compatible: TensorRT for RTX has no such level; name every "
                          "compute capability instead, such as SM=86,89,120")  # fmt: skip
    if options.version_compatible:
        raise EngineError("--version-compatible: TensorRT for RTX's package has no lean runtime "
                          "(libnvinfer_lean), which that takes; use TARGET=tensorrt")  # fmt: skip
    if options.refit and present() is None:
        raise EngineError("--refit: TensorRT for RTX builds engines to refit on a machine with a "
                          "GPU alone, and none is here: leave it out")  # fmt: skip


def build(
    trt: Any, model: str, onnx: Path, profiles: Mapping[str, tuple[Shape, Shape, Shape]],
    out: Path, sm: str = "", say: Callable[[str], None] = lambda line: None,
    options: Options | None = None, timings: Path | None = None,
) -> Built:  # fmt: skip
    """Builds one engine.

    Args:
        trt: of `load`.
        model: its served name.
        onnx: the fp16 file.
        profiles: of `export.config.profile`.
        out: the engine's file, written whole or not at all.
        sm: compute capability such as "89", or several, "86,89" (TensorRT for RTX); empty: the
            GPU that is there.
        say: takes TensorRT's warnings.
        options: what else is asked; none by default.
        timings: file of the timing cache; None (and TensorRT for RTX) builds without.

    Raises:
        EngineError: with the ONNX node that TensorRT names and our module, or its messages.
        KeyboardInterrupt: Ctrl-C while it was building.
    """
    options = options or Options()
    require_options(trt, options)
    told_by = logger(trt, lambda line: say(explained(model, line)))
    builder = trt.Builder(told_by)
    # TensorRT 11 and TensorRT for RTX know no other networks than strongly typed ones.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, told_by)
    if not parser.parse(onnx.read_bytes()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        told = "; ".join(f"node {e.node_name() or e.node()!r}: {e.desc()}" for e in errors)
        raise EngineError(f"{model}: TensorRT can't read {onnx.name}: {explained(model, told)}")
    if network.num_outputs == 0:
        raise EngineError(f"{model}: {onnx.name} holds no network")
    layers = all_layers(trt, network)
    config = builder.create_builder_config()
    if sm:
        wanted = capabilities(trt, sm)
        config.num_compute_capabilities = len(wanted)
        for place, one in enumerate(wanted):
            config.set_compute_capability(one, place)
    _set_options(trt, config, options)
    watch = monitor(trt, model)
    config.progress_monitor = watch
    cached = timings is not None and not for_rtx(trt)
    if timings is not None and cached:
        timing.use(config, timings, say)
    profile = builder.create_optimization_profile()
    for name, (low, best, high) in profiles.items():
        profile.set_shape(name, low, best, high)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"{model}: TensorRT refuses the contract's profile {dict(profiles)}")
    plan = builder.build_serialized_network(network, config)
    if watch.stopped:
        raise KeyboardInterrupt
    if plan is None:
        told = explained(model, "; ".join(told_by.errors) or "no message")
        raise EngineError(f"{model}: TensorRT can't build {onnx.name}: {told}")
    if timings is not None and cached:
        timing.keep(config, timings)
    write_whole(out, memoryview(plan))
    return Built(model, out.stat().st_size, layers)


def _set_options(trt: Any, config: Any, options: Options) -> None:
    # The inspector tells types of engines alone that were built so; it costs names in the file.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.refit:
        config.set_flag(trt.BuilderFlag.REFIT)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def logger(trt: Any, say: Callable[[str], None]) -> Any:
    """TensorRT's logger: its `errors` are a list, and warnings go to `say`."""

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


def capabilities(trt: Any, sm: str) -> list[Any]:
    """`capability` of each of "86,89"; raises EngineError for one unknown, or none."""
    return [capability(trt, one.strip()) for one in sm.split(",")]


def all_layers(trt: Any, network: Any) -> list[Layer]:
    """The layers of a parsed network but for its constants, with the multiply-adds of COMPUTE.

    A dimension that varies (the batch, tokens) counts once in them, a map's width as its height.
    """
    found = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kind = layer.type.name
        if kind == "CONSTANT":
            continue
        # The type that it computes in is its input's: a cast behind it may widen the output.
        tensor = (layer.get_input(0) if layer.num_inputs else None) or layer.get_output(0)
        work = _work(trt, layer, kind) if kind in COMPUTE else 0.0
        found.append(Layer(layer.name, kind, tensor.dtype.name, work))
    return found


def _work(trt: Any, layer: Any, kind: str) -> float:
    """Multiply-adds of a convolution or matrix product."""
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
    return size * max(inner, 1)
