"""A torch module to an ONNX file whose tensors are the contract's."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from tryon.contract import Model, Tensor

OPSET = 17
"""LayerNormalization is one node from 17; GridSample of 20 gives wrong results in TensorRT."""

ONNX_TYPES = {
    "uint8": onnx.TensorProto.UINT8,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
    "float16": onnx.TensorProto.FLOAT16,
    "float32": onnx.TensorProto.FLOAT,
}


class TraceError(RuntimeError):
    """A network that can't be exported as the contract states it; names the model and tensor."""


def trace(model: Model, module: nn.Module, inputs: dict[str, np.ndarray], path: Path) -> None:
    """Writes `path`: opset 17, the contract's names, the batch and all varying dimensions dynamic.

    Args:
        model: of the contract.
        module: whose forward takes and answers the contract's tensors in order.
        inputs: an example of each input, batch in front, by name.
        path: the ONNX file.

    Raises:
        TraceError: the graph's tensors are not the contract's.
    """
    example = tuple(torch.from_numpy(inputs[t.name]) for t in model.inputs)
    axes = {
        t.name: {0: "batch"} | {i + 1: f"{t.name}_{i}" for i, d in enumerate(t.shape) if d < 0}
        for t in (*model.inputs, *model.outputs)
    }
    with warnings.catch_warnings(), torch.no_grad():
        # Its advice on dynamo, and on shapes that are Python numbers and meant to be.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), example, str(path), dynamo=False, opset_version=OPSET,
            input_names=[t.name for t in model.inputs],
            output_names=[t.name for t in model.outputs], dynamic_axes=axes,
        )  # fmt: skip
    check(model, path)


def check(model: Model, path: Path) -> None:
    """Raises TraceError unless `path` is valid ONNX with exactly the contract's tensors."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:
        raise TraceError(f"{model.name}: {path.name} is not valid ONNX: {error}") from None
    graph = onnx.load(str(path), load_external_data=False).graph
    for side, found, expected in (
        ("input", graph.input, model.inputs),
        ("output", graph.output, model.outputs),
    ):
        names = [value.name for value in found]
        wanted = [tensor.name for tensor in expected]
        if names != wanted:
            # An input that the network doesn't use is dropped from the graph by the tracer.
            raise TraceError(
                f"{model.name}: {side}s are {', '.join(names)}; the contract says "
                f"{', '.join(wanted)} (an input that is not used vanishes: use it, or take it out)"
            )
        for value, tensor in zip(found, expected, strict=True):
            _check_tensor(model.name, value, tensor)


def _check_tensor(name: str, value: onnx.ValueInfoProto, tensor: Tensor) -> None:
    kind = value.type.tensor_type
    if kind.elem_type != ONNX_TYPES[tensor.dtype]:
        found = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise TraceError(f"{name}: {tensor.name} is {found}; the contract says {tensor.dtype}")
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
    fits = len(dims) == len(tensor.shape) + 1 and all(
        # What the tracer could not work out counts as varying; parity runs it at real sizes.
        found in (-1, wanted)
        for found, wanted in zip(dims[1:], tensor.shape, strict=True)
    )
    if not fits or (dims and dims[0] != -1):
        raise TraceError(
            f"{name}: {tensor.name} has shape {dims}; the contract says {[-1, *tensor.shape]}"
        )
