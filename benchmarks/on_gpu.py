"""Ways to run a network on a GPU: torch, ONNX Runtime, and TensorRT (`export.runner.Engine`).

Each takes the inputs into the GPU's memory, runs on them any number of times, and answers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
import torch
from torch import nn

from tryon.contract import Model

Values = dict[str, np.ndarray]


class LoadedNetwork(Protocol):
    """A network in a GPU's memory."""

    def give(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Puts its inputs among `tensors`, batch in front, into the GPU's memory."""

    def launch(self) -> None:
        """Runs once, and returns when the GPU is done."""

    def answers(self) -> Values:
        """The outputs of the last `launch`, by name, in the host's memory."""


class TorchNetwork:
    """A torch network in float32, eager or compiled."""

    def __init__(self, model: Model, module: nn.Module, compiled: bool, device: str) -> None:
        self._model, self._device = model, torch.device(device)
        own = copy.deepcopy(module).to(self._device).eval()
        self._call: Any = torch.compile(own) if compiled else own
        self._given: list[torch.Tensor] = []
        self._made: tuple[torch.Tensor, ...] = ()

    def give(self, tensors: Mapping[str, np.ndarray]) -> None:
        """See `LoadedNetwork`."""
        self._given = [
            torch.from_numpy(np.ascontiguousarray(tensors[t.name])).to(self._device)
            for t in self._model.inputs
        ]

    def launch(self) -> None:
        """See `LoadedNetwork`."""
        with torch.inference_mode():
            self._made = self._call(*self._given)
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def answers(self) -> Values:
        """See `LoadedNetwork`."""
        return {
            t.name: value.cpu().numpy()
            for t, value in zip(self._model.outputs, self._made, strict=True)
        }


class OnnxNetwork:
    """An ONNX file in ONNX Runtime on CUDA, inputs and outputs bound to the GPU's memory.

    Raises:
        RuntimeError: ONNX Runtime has no CUDA here, or can't use it.
    """

    def __init__(self, model: Model, path: Path, device: str) -> None:
        self._model, self._device = model, device
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        if provider not in ort.get_available_providers():
            raise RuntimeError(f"ONNX Runtime has no {provider} here: install onnxruntime-gpu")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session: Any = ort.InferenceSession(path, options, providers=[provider])
        if self._session.get_providers()[0] != provider:  # it falls back without an error
            raise RuntimeError(f"ONNX Runtime can't use its {provider} here: its CUDA or cuDNN "
                               "does not fit")  # fmt: skip
        self._binding = self._session.io_binding()

    def give(self, tensors: Mapping[str, np.ndarray]) -> None:
        """See `LoadedNetwork`."""
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        for value in self._session.get_inputs():
            given = np.ascontiguousarray(tensors[value.name])
            self._binding.bind_ortvalue_input(
                value.name, ort.OrtValue.ortvalue_from_numpy(given, self._device, 0)
            )
        for tensor in self._model.outputs:
            self._binding.bind_output(tensor.name, self._device, 0)

    def launch(self) -> None:
        """See `LoadedNetwork`."""
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def answers(self) -> Values:
        """See `LoadedNetwork`."""
        values = self._binding.copy_outputs_to_cpu()
        return {t.name: value for t, value in zip(self._model.outputs, values, strict=True)}


def called(network: LoadedNetwork, tensors: Values) -> Values:
    """The network's outputs by name, of its inputs among `tensors`."""
    network.give(tensors)
    network.launch()
    return network.answers()
