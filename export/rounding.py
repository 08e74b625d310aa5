"""A float32 graph in which some nodes compute as in half precision: what goes in and out rounded.

This is what ONNX Runtime makes of fp16 nodes on a CPU (casts around a float32 kernel), without the
minutes that converting a graph takes.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tryon.contract import model as served

PHOTO_INPUTS = ("window", "placement", "canvas")
OWN, COMPOSITE = "(own)", "composite"


def groups(network: str, graph: onnx.ModelProto) -> dict[str, list[str]]:
    """A graph's nodes by the top-level torch module that they belong to, in the graph's order.

    Nodes of no module are the network's own (`OWN`), but for those that compose the picture
    (`COMPOSITE`): they depend on the photo's and the canvas's size.
    """
    inputs = {t.name for t in served(network).inputs}
    sized = {i for i in PHOTO_INPUTS if i in inputs}
    found: dict[str, list[str]] = {}
    for node in graph.graph.node:
        parts = node.name.strip("/").split("/")
        group = parts[0] if len(parts) > 1 else OWN
        if group == OWN and sized & set(node.input):
            group = COMPOSITE
            sized |= set(node.output)
        found.setdefault(group, []).append(node.name)
    return found


def rounded(graph: onnx.ModelProto, nodes: Collection[str]) -> onnx.ModelProto:
    """A copy in which the named nodes' float32 inputs, weights and outputs are rounded to fp16.

    Args:
        graph: float32, with shapes inferable.
        nodes: names of its nodes.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    floats = {
        v.name for v in (*onnx.shape_inference.infer_shapes(model).graph.value_info,
                         *model.graph.input, *model.graph.output)
        if v.type.tensor_type.elem_type == TensorProto.FLOAT
    }  # fmt: skip
    weights = {w.name: w for w in model.graph.initializer if w.data_type == TensorProto.FLOAT}
    chosen, made, done = set(nodes), set[str](), []
    for node in list(model.graph.node):
        if node.name not in chosen:
            done.append(node)
            continue
        for i, name in enumerate(node.input):
            if name not in weights and name not in floats:
                continue
            new = f"{name}/rounded"
            if new not in made:
                made.add(new)
                if name in weights:
                    with np.errstate(over="ignore"):  # too large for fp16: infinite, as there
                        value = numpy_helper.to_array(weights[name]).astype(np.float16)
                    model.graph.initializer.append(
                        numpy_helper.from_array(value.astype(np.float32), new)
                    )
                else:
                    done += _round(name, new)
            node.input[i] = new
        done.append(node)
        for i, name in enumerate(node.output):
            if name in floats:
                node.output[i] = f"{name}/wide"
                done += _round(node.output[i], name)
    del model.graph.node[:]
    model.graph.node.extend(done)
    return model


def _round(source: str, target: str) -> list[onnx.NodeProto]:
    """Two casts, from `source` to fp16 and back into `target`."""
    half = f"{target}/half"
    return [
        helper.make_node("Cast", [source], [half], f"{half}_cast", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], f"{target}_cast", to=TensorProto.FLOAT),
    ]
