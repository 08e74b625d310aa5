"""One comparator: a torch module against its ONNX file, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from tryon.contract import Model, Tensor
from tryon.steps.paste import paste
from tryon.tolerances import LEVELS, ONNX_RELATIVE, SHARE

Sets = Mapping[str, Mapping[str, np.ndarray]]
"""Named requests: each one's tensors by name, batch in front."""


class DriftError(RuntimeError):
    """An ONNX file that answers otherwise than its module; the message names the tensor."""


@dataclass(frozen=True)
class Row:
    """How far one output tensor is off on one set of inputs.

    `measure` is what `tolerance` bounds: the share of bytes over 2 levels for uint8, else the
    largest absolute difference.
    """

    model: str
    tensor: str
    inputs: str
    max_abs: float
    mean_abs: float
    measure: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance (one that is not a number isn't)."""
        return self.measure <= self.tolerance

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "ok": self.ok}


def compare_tensor(
    model: str, tensor: Tensor, inputs: str, expected: np.ndarray, found: np.ndarray
) -> Row:
    """The difference of one tensor. Another shape or dtype than expected is infinitely far off."""
    same_kind = expected.shape == found.shape and expected.dtype == found.dtype
    if not same_kind or str(expected.dtype) != tensor.dtype:
        return Row(model, tensor.name, inputs, np.inf, np.inf, np.inf, 0.0)
    one, two = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where(one == two, 0.0, np.abs(one - two))  # inf - inf is no difference
    largest, mean = float(difference.max(initial=0)), float(difference.mean())
    if tensor.dtype == "uint8":
        over = float((difference > LEVELS).mean())
        return Row(model, tensor.name, inputs, largest, mean, over, SHARE)
    scale = max(1.0, float(np.abs(one).max(initial=0)))
    bound = ONNX_RELATIVE[tensor.dtype] * scale
    return Row(model, tensor.name, inputs, largest, mean, largest, bound)


def session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX file ready to run on the CPU, with as many threads as torch takes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def distinct(
    model: Model, sets: Sets
) -> dict[str, Mapping[str, np.ndarray]]:
    """The sets without those in which this network's inputs are another one's: edge cases touch
    some networks alone."""
    seen: set[tuple[object, ...]] = set()
    kept = {}
    for label, tensors in sets.items():
        inputs = tuple((tensors[t.name].shape, tensors[t.name].tobytes()) for t in model.inputs)
        if inputs not in seen:
            seen.add(inputs)
            kept[label] = tensors
    return kept


def run_onnx(
    model: Model, path: Path, sets: Sets
) -> dict[str, dict[str, np.ndarray]]:
    """The ONNX file's outputs for every named set of inputs."""
    running = session(path)
    names = [t.name for t in model.outputs]
    answers = {}
    for label, tensors in sets.items():
        values = running.run(names, {t.name: tensors[t.name] for t in model.inputs})
        answers[label] = laid(dict(zip(names, values, strict=True)), tensors)
    return answers


def run_torch(
    model: Model, module: nn.Module, sets: Sets
) -> dict[str, dict[str, np.ndarray]]:
    """The module's outputs for every named set of inputs."""
    answers = {}
    for label, tensors in sets.items():
        with torch.no_grad():
            values = module(*(torch.from_numpy(tensors[t.name]) for t in model.inputs))
        found = {t.name: v.numpy() for t, v in zip(model.outputs, values, strict=True)}
        answers[label] = laid(found, tensors)
    return answers


def laid(found: dict[str, np.ndarray], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers with a patch and its mask laid into their windows, without its box.

    A box's edge may fall a pixel further by a rounding, where nothing changes: no drift.
    """
    if "patch_box" not in found:
        return found
    found = dict(found)
    boxes = found.pop("patch_box")
    rows = [
        paste(window, patch, mask, box, np.zeros(4, np.int32))
        for window, patch, mask, box in zip(
            tensors["window"], found["patch"], found["patch_mask"], boxes, strict=True
        )
    ]
    pictures, masks = zip(*rows, strict=True)
    return {**found, "patch": np.stack(pictures), "patch_mask": np.stack(masks)}


def compare(
    model: Model, module: nn.Module, path: Path, sets: Sets
) -> list[Row]:
    """Runs module and file on the same inputs.

    Args:
        model: of the contract.
        module: the network.
        path: its ONNX file.
        sets: name -> tensors (the model's inputs among them), batch in front.

    Returns:
        A row for each output and `distinct` set.
    """
    sets = distinct(model, sets)
    return compare_answers(
        model, run_torch(model, module, sets), run_onnx(model, path, sets)
    )  # fmt: skip


def compare_answers(
    model: Model, expected: Mapping[str, Mapping[str, np.ndarray]],
    found: Mapping[str, Mapping[str, np.ndarray]],
) -> list[Row]:  # fmt: skip
    """A row for each output and set of the answers of `run_torch` and `run_onnx`."""
    return [
        compare_tensor(model.name, t, label, expected[label][t.name], found[label][t.name])
        for label in expected
        for t in model.outputs
        if t.name in expected[label]
    ]


def require(rows: list[Row], explain: Callable[[Row], str] = lambda row: "") -> None:
    """Raises DriftError, naming model, tensor and inputs, unless every row is within tolerance.

    Args:
        explain: asked where the first one that isn't begins; the error says it.
    """
    bad = [row for row in rows if not row.ok]
    if bad:
        worst = bad[0]
        what = f"{worst.measure:.4g} (allowed {worst.tolerance:.4g})"
        raise DriftError(
            f"{worst.model}: tensor {worst.tensor!r} of the ONNX file differs from torch by {what} "
            f"on inputs {worst.inputs!r}"
            + (f"; {len(bad) - 1} more tensors drift" if len(bad) > 1 else "")
            + explain(worst)
        )


def table(rows: list[Row]) -> str:
    """The worst of each tensor over all inputs, as text."""
    worst: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row.model, row.tensor)
        if key not in worst or not row.measure / (row.tolerance or 1) <= worst[key].measure / (
            worst[key].tolerance or 1
        ):
            worst[key] = row
    lines = [f"{'model':14}{'tensor':19}{'max abs':>10}{'mean abs':>10}{'measure':>10}"
             f"{'allowed':>10}  worst on"]  # fmt: skip
    for row in worst.values():
        mark = "" if row.ok else "  DRIFTS"
        lines.append(
            f"{row.model:14}{row.tensor:19}{row.max_abs:10.2g}{row.mean_abs:10.2g}"
            f"{row.measure:10.2g}{row.tolerance:10.2g}  {row.inputs}{mark}"
        )
    return "\n".join(lines)
