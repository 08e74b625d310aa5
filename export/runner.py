"""Engines on the GPU that is here: TensorRT's Python API loads a plan and answers requests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from export import engine
from export.config import profile
from export.parity import laid
from export.repository import FORMS, PLAN
from tryon.contract import Model


def no_gpu() -> str:
    """Why nothing can be run on a GPU here, in a few words; empty where it can."""
    gpu = engine.present()
    if gpu is None:
        return "no GPU"
    if not torch.cuda.is_available():
        return f"torch has no CUDA here, though {gpu.name} is there: install torch's CUDA build"
    return ""


def obstacle(target: str, sm: str, options: engine.Options) -> str:
    """Why engines can't be run here, in a few words; empty where they can.

    Args:
        target: "tensorrt" or "tensorrt_rtx".
        sm: compute capabilities that they are for, such as "89"; empty: the GPU that is there.
        options: what they were built with.
    """
    gpu = engine.present()
    if gpu is None or no_gpu():
        return no_gpu()
    try:
        engine.load(target)
    except engine.EngineError as error:
        return str(error)
    fits = [one.strip() for one in sm.split(",") if one.strip()]
    if fits and gpu.capability not in fits and not options.hardware_compatible:
        return f"engines for compute capability {sm}, {gpu.name} has {gpu.capability}"
    return ""


class Engine:
    """A plan that is loaded, and an execution context of it.

    Args:
        trt: of `engine.load`.
        model: of the contract: names, order and types of the tensors.
        plan: the engine's bytes.
        outputs: tensors to answer with; by default the contract's.
        device: torch's; "cpu" is for stand-ins of TensorRT alone.

    Raises:
        EngineError: TensorRT can't load it here, or its tensors are of other types.
    """

    def __init__(
        self, trt: Any, model: Model, plan: bytes, outputs: Collection[str] = (),
        device: str = "cuda",
    ) -> None:  # fmt: skip
        self._trt, self._model, self._device = trt, model, torch.device(device)
        self._told = engine.logger(trt, lambda line: None)
        # Kept: TensorRT frees an engine's runtime under it otherwise.
        self._runtime = trt.Runtime(self._told)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._error("TensorRT can't load the engine")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._error("TensorRT makes no execution context")
        self._names = tuple(outputs) or tuple(t.name for t in model.outputs)
        for tensor in (*model.inputs, *(() if outputs else model.outputs)):
            found = np.dtype(trt.nptype(self._engine.get_tensor_dtype(tensor.name)))
            if str(found) != tensor.dtype:
                raise self._error(f"{tensor.name} is {found}, the contract says {tensor.dtype}")
        self._stream = torch.cuda.Stream() if self._device.type == "cuda" else None
        self._given: dict[str, torch.Tensor] = {}
        self._made: dict[str, torch.Tensor] = {}

    def give(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Puts the inputs, batch in front, and room for the outputs into the GPU's memory.

        Raises:
            EngineError: a shape is outside the profile, or an output's is not known beforehand.
        """
        self._given = {
            t.name: torch.from_numpy(np.ascontiguousarray(tensors[t.name])).to(self._device)
            for t in self._model.inputs
        }
        for name, value in self._given.items():
            if not self._context.set_input_shape(name, tuple(value.shape)):
                raise self._error(f"{name} of shape {tuple(value.shape)} is refused: outside the "
                                  "engine's profile")  # fmt: skip
        self._made = {}
        for name in self._names:
            shape = tuple(int(d) for d in self._context.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise self._error(f"the shape of {name}, {shape}, depends on the data")
            kind = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
            self._made[name] = torch.from_numpy(np.empty(shape, kind)).to(self._device)
        for name, value in (*self._given.items(), *self._made.items()):
            self._context.set_tensor_address(name, value.data_ptr())
        if self._stream is not None:  # the copies above ran in torch's own stream
            torch.cuda.synchronize()

    def launch(self) -> None:
        """Runs once on what was given, and returns when the GPU is done.

        Raises:
            EngineError: TensorRT's errors.
        """
        stream = 0 if self._stream is None else self._stream.cuda_stream
        if not self._context.execute_async_v3(stream):
            raise self._error("TensorRT can't run the engine")
        if self._stream is not None:
            self._stream.synchronize()

    def answers(self) -> dict[str, np.ndarray]:
        """The outputs of the last `launch`, by name, in the host's memory."""
        return {name: value.cpu().numpy() for name, value in self._made.items()}

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, of its inputs among `tensors`."""
        self.give(tensors)
        self.launch()
        return self.answers()

    def _error(self, what: str) -> engine.EngineError:
        told = f": {'; '.join(self._told.errors)}" if self._told.errors else ""
        return engine.EngineError(f"{self._model.name}: {what}{told}")


def run_engine(
    trt: Any, model: Model, plan: Path, sets: Mapping[str, Mapping[str, np.ndarray]],
    device: str = "cuda",
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """The engine's outputs for every named set of inputs, as `parity.run_onnx` has the file's."""
    loaded = Engine(trt, model, plan.read_bytes(), device=device)
    return {label: laid(loaded(tensors), tensors) for label, tensors in sets.items()}


class Tapped:
    """For `bisection`: tensors within a graph as an engine of it computes them.

    Each call builds an engine whose outputs they are. TensorRT fuses less around an output, so what
    only a fusion gets wrong may keep within the band here.
    """

    def __init__(self, trt: Any, model: Model, folder: Path, device: str = "cuda") -> None:
        self._trt, self._model, self._folder, self._device = trt, model, folder, device

    def __call__(
        self, graph: onnx.ModelProto, names: Collection[str], inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The named tensors, of `inputs` by name, batch in front."""
        from export.bisection import tapped

        source, plan = self._folder / FORMS["fp32"], self._folder / PLAN
        onnx.save(tapped(graph, names), str(source))
        engine.build(self._trt, self._model.name, source, profile(self._model), plan)
        loaded = Engine(self._trt, self._model, plan.read_bytes(), names, self._device)
        return loaded(inputs)
