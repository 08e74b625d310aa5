"""A stand-in for TensorRT's runtime where no GPU is: its plans are ONNX files in the host's memory.

It reads and writes at the addresses that it is told, as TensorRT does.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any, ClassVar

import numpy as np
import onnxruntime

KINDS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8",
         "tensor(int64)": "int64"}  # fmt: skip
LARGEST_BATCH = 4


class ILogger:
    """Like TensorRT's, to be derived from."""

    class Severity:
        """How bad a message is."""

        ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"

    def __init__(self) -> None:
        pass


class LayerInformationFormat:
    """How the inspector writes."""

    JSON = "json"


def nptype(kind: str) -> type:
    """numpy's type of a tensor's."""
    return np.dtype(kind).type


class Context:
    """Runs the file on what lies at the addresses."""

    def __init__(self, session: Any, kinds: dict[str, str]) -> None:
        self._session, self._kinds = session, kinds
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._names = [i.name for i in session.get_inputs()]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """False outside the profile."""
        self.shapes[name] = shape
        return shape[0] <= LARGEST_BATCH

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Known once the inputs' shapes are: here by running on zeros."""
        given = {n: np.zeros(self.shapes[n], self._kinds[n]) for n in self._names}
        return tuple(self._session.run([name], given)[0].shape)

    def set_tensor_address(self, name: str, address: int) -> None:
        """Where a tensor lies."""
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        """From the inputs' addresses to those of all outputs that have one."""
        given = {}
        for name in self._names:
            value = np.empty(self.shapes[name], self._kinds[name])
            ctypes.memmove(value.ctypes.data, self._addresses[name], value.nbytes)
            given[name] = value
        names = [n for n in self._addresses if n not in given]
        for name, value in zip(names, self._session.run(names, given), strict=True):
            value = np.ascontiguousarray(value)
            ctypes.memmove(self._addresses[name], value.ctypes.data, value.nbytes)
        return True


class Inspector:
    """Tells of `told` once it has a context with shapes."""

    told: ClassVar[list[dict[str, Any]]] = []

    def __init__(self) -> None:
        self.execution_context: Context | None = None

    def get_engine_information(self, form: str) -> str:
        """TensorRT's JSON."""
        assert self.execution_context is not None and self.execution_context.shapes
        return json.dumps({"Layers": self.told, "Bindings": []})


class Engine:
    """A loaded plan."""

    def __init__(self, plan: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session: Any = onnxruntime.InferenceSession(
            plan, options, providers=["CPUExecutionProvider"]
        )
        values = (*self._session.get_inputs(), *self._session.get_outputs())
        self._kinds = {v.name: KINDS[v.type] for v in values}

    def get_tensor_dtype(self, name: str) -> str:
        """The type of an input or output."""
        return self._kinds[name]

    def create_execution_context(self) -> Context:
        """To run it."""
        return Context(self._session, self._kinds)

    def create_engine_inspector(self) -> Inspector:
        """To ask it."""
        return Inspector()


class Runtime:
    """Loads what is ONNX, and tells the logger of what isn't."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        """None where it can't."""
        try:
            return Engine(plan)
        except Exception:
            self._logger.log(ILogger.Severity.ERROR, "the plan is of another device")
            return None
