"""Reads a TensorFlow Lite file and runs its graph with torch operators.

Only what BlazePose's two files hold is supported: float networks of convolutions, additions,
padding, bilinear resize, max-pooling, reshapes, the logistic function, depth-to-space and
concatenation, whose weights may lie as fp16 behind DEQUANTIZE and sparse behind DENSIFY. Anything
else is refused by name when the file is read, never computed wrongly.

Inside, activations are NCHW (channels_last in memory, as the file's own NHWC is); a reshaped tensor
keeps the file's order. The batch axis is free although the file says 1.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOAT32_SIDE = 4
"""Convolutions with outputs of this side or less stay in float32 under autocast. They cost little,
and among them are the heads: a coordinate of 200 pixels in bfloat16 is rounded to whole pixels."""

_OPERATORS = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_DTYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64,
}
_REFETCH = "delete it and run `python -m tryon.assets`"
_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: "none",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
}


@dataclass
class Op:
    """One operator. `inputs` and `output` are tensor numbers of the file."""

    kind: str
    inputs: list[int]
    output: int
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    """Prefix of its buffers, for convolutions."""


class TfliteGraph(nn.Module):
    """The graph of a tflite file as a frozen torch module.

    Args:
        path: the file.

    Attributes:
        ops: the operators in running order, constants folded away.
        shapes: NHWC shape of every tensor, by number, as the file states it (batch 1).
        inputs, outputs: tensor numbers of the graph's inputs and outputs.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        self.shapes: list[tuple[int, ...]] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.ops: list[Op] = []
        try:
            model, graph = _open(self.path)
            self.shapes = [_shape(graph.Tensors(i)) for i in range(graph.TensorsLength())]
            self.inputs = [int(i) for i in graph.InputsAsNumpy()]
            self.outputs = [int(i) for i in graph.OutputsAsNumpy()]
            self._read(model, graph)
        except (struct.error, IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path} is damaged ({error}); {_REFETCH}") from error
        self._fold_pads()
        self.eval()

    # ---- running -------------------------------------------------------------------------------

    def forward(self, x: Tensor, wanted: Sequence[int] | None = None) -> list[Tensor]:
        """Runs the graph.

        Args:
            x: (N, C, H, W) floating point; H and W as the file states, or other multiples of its
                largest stride where no convolution takes up a whole map.
            wanted: numbers of the tensors to return; the graph's outputs if None. Operators that
                none of them needs do not run.

        Returns:
            The tensors: NCHW where the file has four axes and no reshape came before, else in the
            file's own order with the batch in front.
        """
        wanted = list(self.outputs if wanted is None else wanted)
        needed = self._needed(wanted)
        last_use = {i: k for k, op in enumerate(self.ops) if k in needed for i in op.inputs}
        values: dict[int, Tensor] = {self.inputs[0]: x}
        for k, op in enumerate(self.ops):
            if k not in needed:
                continue
            values[op.output] = self._run(op, [values[i] for i in op.inputs])
            for i in op.inputs:  # activations are let go as soon as nothing needs them
                if last_use[i] == k and i not in wanted:
                    values.pop(i, None)
        return [values[i] for i in wanted]

    def _needed(self, wanted: Iterable[int]) -> set[int]:
        alive, needed = set(wanted), set()
        for k in range(len(self.ops) - 1, -1, -1):
            if self.ops[k].output in alive:
                needed.add(k)
                alive.update(self.ops[k].inputs)
        return needed

    def _run(self, op: Op, x: list[Tensor]) -> Tensor:
        a = op.attributes
        if op.kind == "conv":
            y = x[0]
            if a["pad"]:
                y = F.pad(y, a["pad"])
            weight: Tensor = self.get_buffer(op.weights + "_weight")
            bias: Tensor = self.get_buffer(op.weights + "_bias")
            settings = (a["stride"], a["padding"], a["dilation"], a["groups"])
            if self.shapes[op.output][1] <= FLOAT32_SIDE and torch.is_autocast_enabled(
                y.device.type
            ):
                with torch.autocast(y.device.type, enabled=False):
                    y = F.conv2d(y.float(), weight, bias, *settings)
            else:
                y = F.conv2d(y, weight, bias, *settings)
        elif op.kind == "add":
            y = x[0] + x[1]
        elif op.kind == "pad":
            y = F.pad(x[0], a["pad"])
        elif op.kind == "resize":
            # Half-pixel centres, as torch's align_corners=False; a scale instead of a size keeps
            # the exported Resize free of shape arithmetic.
            y = F.interpolate(x[0], scale_factor=a["scale"], mode="bilinear", align_corners=False)
        elif op.kind == "max_pool":
            y = F.max_pool2d(x[0], a["kernel"], a["stride"])
        elif op.kind == "reshape":
            y = x[0].permute(0, 2, 3, 1) if x[0].dim() == 4 else x[0]
            # The first axis grows with the picture, unless it is the only one.
            shape = a["shape"]
            y = y.reshape(y.shape[0], -1, *shape[1:]) if len(shape) > 1 else y.reshape(-1, *shape)
        elif op.kind == "logistic":
            y = torch.sigmoid(x[0])
        elif op.kind == "depth_to_space":
            # TensorFlow orders the channels (block row, block column, depth); pixel_shuffle
            # orders them (depth, row, column).
            order = torch.arange(int(x[0].shape[1]), device=x[0].device)
            order = order.reshape(a["block"] ** 2, -1).T.flatten()
            y = F.pixel_shuffle(x[0].index_select(1, order), a["block"])
        elif op.kind == "concat":
            y = torch.cat(x, dim=a["axis"])
        else:  # pragma: no cover - _read makes no other kind
            raise AssertionError(op.kind)
        if a.get("activation") == "relu":
            y = F.relu(y)
        elif a.get("activation") == "relu6":
            y = F.relu6(y)
        return y

    # ---- reading -------------------------------------------------------------------------------

    def _read(self, model: Any, graph: Any) -> None:
        constants: dict[int, np.ndarray] = {}
        for i in range(graph.TensorsLength()):
            value = _constant(model, graph.Tensors(i))
            if value is not None:
                constants[i] = value
        for k in range(graph.OperatorsLength()):
            operator = graph.Operators(k)
            code = model.OperatorCodes(operator.OpcodeIndex())
            # Old files hold the code in the deprecated byte alone; new ones in either.
            name = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            inputs = [int(i) for i in operator.InputsAsNumpy()]
            output = int(operator.OutputsAsNumpy()[0])
            if name in ("DEQUANTIZE", "DENSIFY") and inputs[0] in constants:
                constants[output] = constants[inputs[0]]  # made dense and float when read
                continue
            op = self._operator(name, operator, inputs, output, constants)
            if op is None:
                raise ValueError(
                    f"{self.path}: operator {k} ({name}) is not one this reader supports, or not "
                    "in this form; use the file that `python -m tryon.assets` fetches"
                )
            if op.kind == "conv":
                op.weights = f"conv_{k:03d}"
                self.register_buffer(op.weights + "_weight", op.attributes.pop("weight"))
                self.register_buffer(op.weights + "_bias", op.attributes.pop("bias"))
            self.ops.append(op)

    def _operator(
        self, name: str, operator: Any, inputs: list[int], output: int, const: dict[int, np.ndarray]
    ) -> Op | None:
        shape_in, shape_out = self.shapes[inputs[0]], self.shapes[output]
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            depthwise = name == "DEPTHWISE_CONV_2D"
            kind = tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions
            o = _options(operator, kind)
            weight = const[inputs[1]].astype(np.float32)
            # Conv: (out, h, w, in); depthwise: (1, h, w, channels). torch: (out, in/groups, h, w).
            weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
            kernel, stride = weight.shape[2:], (o.StrideH(), o.StrideW())
            dilation = (o.DilationHFactor(), o.DilationWFactor())
            padding: tuple[int, int] = (0, 0)
            pad: tuple[int, ...] = ()
            if o.Padding() == tflite.Padding.SAME:
                padding, pad = _same(shape_in[1:3], kernel, stride, dilation)
            bias = const[inputs[2]] if len(inputs) > 2 and inputs[2] >= 0 else np.zeros(len(weight))
            return Op("conv", inputs[:1], output, {
                "weight": torch.from_numpy(np.ascontiguousarray(weight)).to(
                    memory_format=torch.channels_last
                ),
                "bias": torch.from_numpy(bias.astype(np.float32)),
                "stride": stride, "padding": padding, "pad": pad, "dilation": dilation,
                "groups": shape_in[3] if depthwise else 1, "activation": _activation(o),
            })  # fmt: skip
        if name == "ADD" and not set(inputs) & set(const):
            o = _options(operator, tflite.AddOptions)
            return Op("add", inputs, output, {"activation": _activation(o)})
        if name == "PAD":
            (n0, n1), (top, bottom), (left, right), (c0, c1) = const[inputs[1]].tolist()
            if not n0 == n1 == c0 == c1 == 0:
                return None
            return Op("pad", inputs[:1], output, {"pad": (left, right, top, bottom)})
        if name == "RESIZE_BILINEAR":
            o = _options(operator, tflite.ResizeBilinearOptions)
            scale = (shape_out[1] / shape_in[1], shape_out[2] / shape_in[2])
            if o.AlignCorners() or not o.HalfPixelCenters() or any(s % 1 for s in scale):
                return None
            return Op("resize", inputs[:1], output, {"scale": scale})
        if name == "MAX_POOL_2D":
            o = _options(operator, tflite.Pool2DOptions)
            kernel = (o.FilterHeight(), o.FilterWidth())
            stride = (o.StrideH(), o.StrideW())
            if o.Padding() == tflite.Padding.SAME:
                padding, pad = _same(shape_in[1:3], kernel, stride, (1, 1))
                if pad or any(padding):
                    return None  # would need padding by minus infinity; neither file has it
            attributes = {"kernel": kernel, "stride": stride, "activation": _activation(o)}
            return Op("max_pool", inputs[:1], output, attributes)
        if name == "RESHAPE":
            return Op("reshape", inputs[:1], output, {"shape": shape_out[1:]})
        if name == "LOGISTIC":
            return Op("logistic", inputs, output)
        if name == "DEPTH_TO_SPACE":
            o = _options(operator, tflite.DepthToSpaceOptions)
            return Op("depth_to_space", inputs, output, {"block": o.BlockSize()})
        if name == "CONCATENATION" and len(shape_out) < 4:  # after reshapes: the file's own order
            o = _options(operator, tflite.ConcatenationOptions)
            return Op("concat", inputs, output, {"axis": o.Axis(), "activation": _activation(o)})
        return None

    def _fold_pads(self) -> None:
        """Moves paddings into the convolutions that follow: one operator and one copy fewer."""
        readers: dict[int, list[Op]] = {}
        for op in self.ops:
            for i in op.inputs:
                readers.setdefault(i, []).append(op)
        folded = []
        for op in self.ops:
            users = readers.get(op.output, [])
            if (
                op.kind != "pad" or op.output in self.outputs or not users
                or any(u.kind != "conv" or u.attributes["pad"] or any(u.attributes["padding"])
                       for u in users)
            ):  # fmt: skip
                continue
            left, right, top, bottom = op.attributes["pad"]
            for user in users:
                user.inputs = op.inputs
                if left == right and top == bottom:
                    user.attributes["padding"] = (top, left)
                else:
                    user.attributes["pad"] = (left, right, top, bottom)
            folded.append(op)
        self.ops = [op for op in self.ops if all(op is not f for f in folded)]


def _open(path: Path) -> tuple[Any, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is not there; `python -m tryon.assets {path.name}` fetches it"
        ) from None
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a tflite file; {_REFETCH}")
    model = tflite.Model.GetRootAsModel(data, 0)
    return model, model.Subgraphs(0)


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(s) for s in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()


def _options(operator: Any, kind: Any) -> Any:
    options, table = kind(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def _activation(options: Any) -> str:
    code = options.FusedActivationFunction()
    if code not in _ACTIVATIONS:
        raise ValueError(f"fused activation {code} is not one of none, relu, relu6")
    return _ACTIVATIONS[code]


def _same(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, ...]]:
    """TensorFlow's SAME padding for an input of that size: the odd pixel goes right and below.

    Returns:
        (padding of the convolution itself, padding before it as F.pad wants it): the first where
        both sides are equal, else the second.
    """
    before, after = [], []
    for s, k, t, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-s // t) - 1) * t + (k - 1) * d + 1 - s, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    if before == after:
        return (before[0], before[1]), ()
    return (0, 0), (before[1], after[1], before[0], after[0])


def _constant(model: Any, tensor: Any) -> np.ndarray | None:
    """The value of a constant tensor, dense and in its own dtype; None for an activation."""
    buffer = model.Buffers(tensor.Buffer())
    if buffer.DataLength() == 0:
        return None
    if tensor.Type() not in _DTYPES:
        raise ValueError(f"tensor {tensor.Name()!r}: dtype {tensor.Type()} is not supported")
    data = np.frombuffer(buffer.DataAsNumpy().tobytes(), _DTYPES[tensor.Type()])
    if tensor.Sparsity() is not None:
        return _densify(data, _shape(tensor), tensor.Sparsity())
    return data.reshape(_shape(tensor))


def _densify(data: np.ndarray, shape: tuple[int, ...], sparsity: Any) -> np.ndarray:
    """A dense array from TFLite's sparse format (levels of dense or CSR axes, with blocks)."""
    order = sparsity.TraversalOrderAsNumpy().tolist()
    blocked = sparsity.BlockMapAsNumpy().tolist() if sparsity.BlockMapLength() else []
    position = np.zeros(1, np.int64)  # number of each entry within the level above
    coordinates: list[np.ndarray] = []  # of every entry so far, one array per level
    sizes = [0] * len(order)
    for level, axis in enumerate(order):
        meta = sparsity.DimMetadata(level)
        if meta.Format() == tflite.DimensionType.DENSE:
            size = sizes[axis] = meta.DenseSize()
            parent = np.repeat(np.arange(len(position)), size)
            here = np.tile(np.arange(size), len(position))
            position = np.repeat(position, size) * size + here
        else:
            segments = _vector(meta.ArraySegmentsType(), meta.ArraySegments())
            indices = _vector(meta.ArrayIndicesType(), meta.ArrayIndices())
            lengths = segments[position + 1] - segments[position]
            parent = np.repeat(np.arange(len(position)), lengths)
            position = np.concatenate(
                [np.arange(segments[p], segments[p + 1]) for p in position] or [position[:0]]
            )
            here = indices[position]
        coordinates = [c[parent] for c in coordinates] + [here]
    by_axis = dict(zip(order, coordinates, strict=True))
    index = [by_axis[axis] for axis in range(len(shape))]
    for b, axis in enumerate(blocked):  # axis len(shape)+b is the place within a block of `axis`
        block = len(shape) + b
        index[axis] = index[axis] * sizes[block] + by_axis[block]
    dense = np.zeros(shape, data.dtype)
    dense[tuple(index)] = data[position]
    return dense


def _vector(kind: int, table: Any) -> np.ndarray:
    classes = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }
    vector = classes[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)
