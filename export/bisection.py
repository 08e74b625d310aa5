"""Where two forms of a network part: the first tensor out of the band, its node and our module.

The graphs' tensors are made outputs, a hundred at a time, and compared in topological order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from export.names import module_of
from tryon.tolerances import HALF_RELATIVE, LEAST_SPREAD, ONNX_RELATIVE

AT_ONCE = 100
"""Tensors compared in one run: all of a generator's at once would take several GB."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)

Tensors = Callable[
    [onnx.ModelProto, Collection[str], Mapping[str, np.ndarray]], dict[str, np.ndarray]
]
"""Tensors within a graph by name: of the graph, their names, and its inputs by name."""


@dataclass(frozen=True)
class Parting:
    """The first tensor that leaves the band.

    Attributes:
        tensor, node, operator: in the ONNX graph.
        module: the torch module that the node belongs to, such as "generator.fine.1.first.0".
        measure, bound: how far off it is, and what was allowed.
    """

    tensor: str
    node: str
    operator: str
    module: str
    measure: float
    bound: float

    def __str__(self) -> str:
        return (f"the first tensor that leaves the band is {self.tensor!r} ({self.measure:.4g}, "
                f"allowed {self.bound:.4g}), of node {self.node!r} ({self.operator}), module "
                f"{self.module}")  # fmt: skip


def spread_off(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean difference in units of the expected tensor's standard deviation, or of its size where it
    is all but constant; infinite where what was finite isn't any more."""
    one, two = expected.astype(np.float64), found.astype(np.float64)
    if one.shape != two.shape or not np.array_equal(np.isfinite(one), np.isfinite(two)):
        return np.inf
    finite = np.isfinite(one)
    if not finite.any():
        return 0.0
    one, two = one[finite], two[finite]
    spread, size = float(one.std()), float(np.sqrt((one**2).mean()))
    spread = spread if spread > LEAST_SPREAD * size else size
    return float(np.abs(one - two).mean()) / max(spread, LEAST_SPREAD)


def first_parting(
    source: Path, suspect: Path, inputs: Mapping[str, np.ndarray], network: str,
    module: nn.Module | None = None, bound: float = HALF_RELATIVE,
    compute: Tensors | None = None,
) -> Parting | None:  # fmt: skip
    """The first tensor, in topological order, in which two graphs with the same names differ.

    Args:
        source, suspect: ONNX files; the second made from the first, nodes added or left out.
        inputs: of both, by name.
        network: its served name; module: its torch module, for the module's name.
        bound: the largest mean difference, in units of a tensor's standard deviation.
        compute: gives tensors within the second; by default `onnx_tensors`, as for the first.

    Returns:
        None where every tensor keeps within the band.
    """
    one, two = onnx.load(str(source)), onnx.load(str(suspect))
    shared = {o for node in two.graph.node for o in node.output if o}
    kinds = _floats(one)
    names = [
        o for node in one.graph.node if node.op_type != "Constant"
        for o in node.output if o in shared and o in kinds
    ]  # fmt: skip
    for first in range(0, len(names), AT_ONCE):
        part = names[first : first + AT_ONCE]
        expected = onnx_tensors(one, part, inputs)
        found = (compute or onnx_tensors)(two, part, inputs)
        for name in part:
            off = spread_off(expected[name], found[name])
            if not off <= bound:
                return _parting(one, name, off, bound, network, module)
    return None


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Name -> element type of the tensors that a graph's nodes give."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.output)
    return {v.name: v.type.tensor_type.elem_type for v in values}


def _floats(model: onnx.ModelProto) -> set[str]:
    """The names of a graph's float tensors."""
    return {name for name, kind in _types(model).items() if kind in FLOATS}


def _parting(
    graph: onnx.ModelProto, tensor: str, off: float, bound: float, network: str,
    module: nn.Module | None,
) -> Parting:  # fmt: skip
    node = next(n for n in graph.graph.node if tensor in n.output)
    where = module_of(network, node.name, module)
    return Parting(tensor, node.name, node.op_type, where, off, bound)


def tapped(graph: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """A copy of a graph whose outputs are the named tensors."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    kinds = _types(model)
    # TensorRT wants an output's type; ranks are inferred.
    wanted = [onnx.helper.make_tensor_value_info(n, kinds[n], None) for n in names]
    # AutoCast states shapes of the inputs that it calibrated on.
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(wanted)
    return model


def onnx_tensors(
    graph: onnx.ModelProto, names: Collection[str], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Tensors within a graph, by name, as ONNX Runtime computes them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    # As the file has it: what is fused has no tensor to look at.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:  # a graph over 2 GB has no string
        path = Path(folder) / "tapped.onnx"
        onnx.save(tapped(graph, names), str(path))
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    values = session.run(list(names), {i.name: inputs[i.name] for i in session.get_inputs()})
    return dict(zip(names, values, strict=True))


@torch.no_grad()
def first_module(
    path: Path, inputs: Mapping[str, np.ndarray], order: Collection[str], network: str,
    module: nn.Module,
) -> Parting | None:  # fmt: skip
    """The first module of a torch network, in the order of their calls, whose answer the ONNX file
    doesn't give.

    Args:
        path: the ONNX file. inputs: by name; order: their names as `module` takes them.
        network: its served name.

    Returns:
        None where all do: what drifts then is done between the modules, by the network itself.
    """
    graph = onnx.load(str(path))
    calls: list[tuple[str, torch.Tensor]] = []
    handles = [
        m.register_forward_hook(_note(calls, name))
        for name, m in module.named_modules() if name and not _folded(module, name)
    ]  # fmt: skip
    try:
        module(*(torch.from_numpy(inputs[n]) for n in order))
    finally:
        for handle in handles:
            handle.remove()
    once = {n for n, _ in calls if sum(n == other for other, _ in calls) == 1}
    expected: dict[str, np.ndarray] = {}
    last = dict(_last_tensors(graph, module, network))
    for name, value in calls:
        if name in once and f"{network}.{name}" in last:
            expected.setdefault(last[f"{network}.{name}"], value.numpy())
    found = onnx_tensors(graph, list(expected), inputs) if expected else {}
    for name, told in expected.items():
        if told.size != found[name].size:  # laid out otherwise, or a pad's rows
            continue
        one = told.astype(np.float64).ravel()
        two = found[name].astype(np.float64).ravel()
        scale = max(1.0, float(np.abs(one).max(initial=0)))
        bound = ONNX_RELATIVE.get(str(told.dtype), ONNX_RELATIVE["float32"])
        off = float(np.abs(one - two).max(initial=0)) / scale
        if not off <= bound:
            return _parting(graph, name, off, bound, network, module)
    return None


def maker(path: Path, tensor: str) -> str:
    """The name of the node that gives a tensor of an ONNX file."""
    nodes = onnx.load(str(path)).graph.node
    return next((str(n.name) for n in nodes if tensor in n.output), "")


def _note(calls: list[tuple[str, torch.Tensor]], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            calls.append((name, output.detach().clone()))  # some work in place

    return hook


def _folded(root: nn.Module, name: str) -> bool:
    """Whether a module's own answer is in no graph: a convolution whose normalisation was folded
    into it, and the normalisation's."""
    parent, _, own = name.rpartition(".")
    children = list(root.get_submodule(parent).named_children())
    place = [n for n, _ in children].index(own)
    normed = isinstance(children[place][1], nn.BatchNorm2d)
    follows = place + 1 < len(children) and isinstance(children[place + 1][1], nn.BatchNorm2d)
    return normed or follows


def _last_tensors(
    graph: onnx.ModelProto, module: nn.Module, network: str
) -> Iterator[tuple[str, str]]:
    """Module -> the last float tensor that was made within it."""
    kinds = _floats(graph)
    known: dict[str, str] = {}
    for node in graph.graph.node:
        scope = node.name.rpartition("/")[0]
        if scope not in known:
            known[scope] = module_of(network, node.name, module)
        name = known[scope]
        for output in node.output:
            while output in kinds and "." in name:
                yield name, output
                name = name.rpartition(".")[0]
