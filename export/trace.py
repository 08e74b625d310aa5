"""A torch module to an ONNX file whose tensors are the contract's."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnx.shape_inference
import torch
from torch import nn

from tryon.contract import Model, Tensor
from tryon.models.generator import Generator
from tryon.models.text_encoder import TextEncoder

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
    """Writes `path`: opset 17, the contract's names, the batch and all varying dimensions dynamic,
    shapes stated within.

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
    graph = onnx.load(str(path))
    fold_pads(graph)
    state_shapes(graph)
    onnx.save(graph, str(path))
    check(model, path)


def set_bounded(module: nn.Module, bounded: bool) -> None:
    """Whether a network's outputs may have sizes that depend on the data: on a CPU alone."""
    if isinstance(module, Generator | TextEncoder):
        module.bounded = bounded


def state_shapes(model: onnx.ModelProto) -> int:
    """States the shapes within a graph that only the batch varies; returns how many.

    Behind a reshape the exporter knows no batch any more, and ONNX Runtime then takes no two maps
    to be of one size: it adds them by themselves, not within a convolution.
    """
    # Not of 1: that may be an axis of its own.
    two, three = (_shapes(model, batch) for batch in (2, 3))
    stated = 0
    for name, (kind, shape) in two.items():
        _, other = three.get(name, (kind, []))
        if shape and None not in shape and other == [3, *shape[1:]] and shape[0] == 2:
            model.graph.value_info.append(
                onnx.helper.make_tensor_value_info(name, kind, ["batch", *shape[1:]])
            )
            stated += 1
    return stated


def _shapes(model: onnx.ModelProto, batch: int) -> dict[str, tuple[int, list[int | None]]]:
    """Element type and shape of every tensor within a graph, of inputs of that batch."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    for value in fixed.graph.output:
        value.type.tensor_type.shape.dim[0].Clear()
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [int(d.dim_value) or None for d in value.type.tensor_type.shape.dim],
        )
        for value in inferred.graph.value_info
    }


def fold_pads(model: onnx.ModelProto) -> int:
    """Puts a Pad with zeros into the one convolution that takes it; returns how many.

    ONNX's Conv can pad each side by itself and torch's can't, so TensorFlow's SAME arrives as a
    Pad of its own, which costs ONNX Runtime a copy and two changes of layout.
    """
    graph = model.graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    folded = []
    for pad in graph.node:
        takers = users.get(pad.output[0], [])
        if pad.op_type != "Pad" or len(takers) != 1 or pad.output[0] in outputs:
            continue
        (conv,) = takers
        mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
        automatic = any(a.name == "auto_pad" for a in conv.attribute)
        if conv.op_type != "Conv" or automatic or mode != b"constant":
            continue
        amounts = constant(model, pad.input[1])
        value = constant(model, pad.input[2]) if len(pad.input) > 2 and pad.input[2] else 0
        if amounts is None or value is None:
            continue
        half = len(amounts) // 2
        front = [*amounts[:2], *amounts[half : half + 2]]
        if any(front) or (amounts < 0).any() or np.any(value):
            continue
        extra = [*amounts[2:half], *amounts[half + 2 :]]
        pads = next((a for a in conv.attribute if a.name == "pads"), None)
        if pads is None:
            conv.attribute.append(onnx.helper.make_attribute("pads", [0] * len(extra)))
            pads = conv.attribute[-1]
        pads.ints[:] = [int(own + more) for own, more in zip(pads.ints, extra, strict=True)]
        conv.input[0] = pad.input[0]
        folded.append(pad)
    for pad in folded:
        graph.node.remove(pad)
    return len(folded)


def constant(model: onnx.ModelProto, name: str) -> np.ndarray | None:
    """The value of a tensor that follows from constants alone, else None."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    values = {i.name: i for i in graph.initializer}
    wanted, nodes, given = [name], [], []
    while wanted:
        current = wanted.pop()
        if current in values:
            given.append(values[current])
        elif current not in makers:
            return None
        elif makers[current] not in nodes:
            nodes.append(makers[current])
            wanted += [i for i in makers[current].input if i]
    if not nodes:
        return onnx.numpy_helper.to_array(given[0])
    ordered = [node for node in graph.node if node in nodes]
    value = onnx.helper.make_empty_tensor_value_info(name)
    part = onnx.helper.make_graph(ordered, "constant", [], [value], given)
    whole = onnx.helper.make_model(part, opset_imports=model.opset_import)
    (found,) = list(onnx.reference.ReferenceEvaluator(whole).run(None, {}))
    return np.asarray(found)


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
