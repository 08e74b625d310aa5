"""fp16 copies of the exported graphs, and the gate that they must pass.

TensorRT has no switch for fp16 any more: networks are strongly typed, so the ONNX file says which
tensor is half. nvidia-modelopt's AutoCast writes it, on calibration inputs that are real requests;
what loses the picture in half precision (places, grids, the composite) stays in float32, by name.
"""

from __future__ import annotations

import importlib
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.regions import psnr, similarity
from tryon.contract import Model
from tryon.tolerances import (
    HALF_RELATIVE,
    LEAST_PIXELS,
    LEAST_SPREAD,
    PICTURE_DB,
    REGION_DB,
    REGION_SSIM,
)

PRECISE: dict[str, tuple[str, ...]] = {
    # Names without a module before them are the generator's own geometry and the composite.
    "generator": (r"/[^/]+", r"/(transforms|landmarks|styled|turned|rolled|opened|tucked)/.*"),
    "image_encoder": (r"/landmarks/.*",),
}
"""Nodes (regular expressions, whole name) that stay in float32, by served model. What each group
costs the picture in fp16 is measured by `python -m export.sensitivity`."""
PRECISE_TYPES = ("GridSample",)
ALWAYS = ("whole", "changed")
"""Regions that are judged however small they are."""


class PrecisionError(RuntimeError):
    """A graph that half precision would change too much; names the model and tensor."""


@dataclass(frozen=True)
class Loss:
    """How far one form of a network is off another, for one tensor on one set of inputs.

    Attributes:
        model, tensor, region, inputs: of what; the region (`regions.REGIONS`) of a picture alone.
        measure: PSNR in dB for pictures (higher is better; `bound` the least), else the mean
            difference in units of the tensor's standard deviation (`bound` the largest).
        picture: which of the two.
        max_abs, mean_abs: the largest and the mean difference, in the tensor's own unit.
        ssim: of a picture's region.
        stage, against: the two forms, such as "fp16" and "fp32".
    """

    model: str
    tensor: str
    region: str
    inputs: str
    measure: float
    bound: float
    picture: bool
    max_abs: float = 0.0
    mean_abs: float = 0.0
    ssim: float = 1.0
    stage: str = "fp16"
    against: str = "fp32"

    @property
    def ok(self) -> bool:
        """Whether the bound is kept (what is not a number doesn't)."""
        if self.picture:
            return self.measure >= self.bound and self.ssim >= REGION_SSIM
        return self.measure <= self.bound

    def as_dict(self) -> dict[str, object]:
        """For JSON, which knows neither infinity nor NaN: null (an exact picture's PSNR)."""
        row = {**asdict(self), "ok": self.ok}
        return {
            k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()
        }

    def __str__(self) -> str:
        if not self.picture:
            how = f"is {self.measure:.4f} of its spread (largest {self.bound:g})"
        elif self.measure < self.bound:
            how = f"is {self.measure:.1f} dB (least {self.bound:g})"
        else:
            how = f"has SSIM {self.ssim:.4f} (least {REGION_SSIM:g})"
        where = f" in region {self.region!r}" if self.region else ""
        return (f"{self.model}: tensor {self.tensor!r} in {self.stage} against {self.against} {how}"
                f"{where} on inputs {self.inputs!r}")  # fmt: skip


def to_half(model: Model, source: Path, inputs: Mapping[str, np.ndarray], out: Path) -> None:
    """Writes the fp16 copy of an exported graph; its inputs and outputs keep their types.

    Args:
        model: of the contract.
        source: the float32 ONNX file.
        inputs: the model's inputs by name, batch in front: what AutoCast calibrates on.
        out: the file to write.

    Raises:
        PrecisionError: nvidia-modelopt is not installed, or a pattern of PRECISE fits no node.
    """
    names = [n.name for n in onnx.load(str(source), load_external_data=False).graph.node]
    for pattern in PRECISE.get(model.name, ()):
        if not any(re.fullmatch(pattern, name) for name in names):
            raise PrecisionError(
                f"{model.name}: {pattern!r} of PRECISE in export/precision.py fits no node of the "
                "graph: name what there is, or take it out"
            )
    autocast = modelopt("autocast")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calibration = Path(folder) / "calibration.npz"
        np.savez(calibration, **{t.name: inputs[t.name] for t in model.inputs})
        half = autocast.convert_to_mixed_precision(
            str(source), "fp16", keep_io_types=True, calibration_data=str(calibration),
            op_types_to_exclude=list(PRECISE_TYPES),
            nodes_to_exclude=[f"^{p}$" for p in PRECISE.get(model.name, ())],
        )  # fmt: skip
    forget_unknown_shapes(half)
    onnx.save(half, str(out))


def forget_unknown_shapes(graph: onnx.ModelProto) -> int:
    """Takes out the shapes that AutoCast could not infer; answers how many.

    It names every dimension that it does not know "unk", and ONNX Runtime takes dimensions of one
    name for equal: it would give a tensor of two channels the memory of one with one.
    """
    kept = [
        value for value in graph.graph.value_info
        if not any(d.dim_param.startswith("unk") for d in value.type.tensor_type.shape.dim)
    ]  # fmt: skip
    gone = len(graph.graph.value_info) - len(kept)
    del graph.graph.value_info[:]
    graph.graph.value_info.extend(kept)
    return gone


def modelopt(part: str) -> Any:
    """A part of nvidia-modelopt's ONNX tools, kept from telling of every node: errors alone.

    Args:
        part: a module of `modelopt.onnx`.

    Raises:
        PrecisionError: it is not installed; names the command.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = importlib.import_module(f"modelopt.onnx.{part}")
    except ImportError as error:
        raise PrecisionError(
            f"nvidia-modelopt is not installed ({error}): `make engines` installs it"
        ) from None
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("modelopt"):
            logging.getLogger(name).setLevel(logging.ERROR)
    return found


def differences(
    model: Model, expected: Mapping[str, Mapping[str, np.ndarray]],
    found: Mapping[str, Mapping[str, np.ndarray]],
    regions: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    stage: str = "fp16", against: str = "fp32",
) -> list[Loss]:  # fmt: skip
    """Compares two forms' answers (`parity.laid`), a row for each tensor, region and set.

    On a CPU ONNX Runtime has few fp16 kernels: it computes in float32 between rounded tensors, so
    of its answers this finds what rounding costs, not what a GPU's accumulation adds.

    Args:
        expected, found: name of the inputs -> tensors, batch in front.
        regions: of the picture `patch`, for the network that draws it: name of the inputs -> name
            -> bool (N, h, w).
        stage, against: what `found` and `expected` are.
    """
    rows = []
    for label in expected:
        for tensor in (t for t in model.outputs if t.name in expected[label]):
            one, two = expected[label][tensor.name], found[label][tensor.name]
            if one.shape != two.shape:
                rows.append(Loss(model.name, tensor.name, "", label, np.inf, HALF_RELATIVE, False,
                                 np.inf, np.inf, 0.0, stage, against))  # fmt: skip
                continue
            if tensor.name == "patch":
                assert regions is not None, "a picture is judged by its regions"
                rows += picture_losses(model.name, label, one, two, regions[label], stage, against)
                continue
            one, two = one.astype(np.float64), two.astype(np.float64)
            with np.errstate(invalid="ignore"):
                off = np.where(one == two, 0.0, np.abs(one - two))  # inf - inf is no difference
                spread = float(one.std()) or 1.0
            mean, largest = float(off.mean()), float(off.max(initial=0))
            relative = mean / max(spread, LEAST_SPREAD)
            rows.append(Loss(model.name, tensor.name, "", label, relative, HALF_RELATIVE, False,
                             largest, mean, 1.0, stage, against))  # fmt: skip
    return rows


def picture_losses(
    model: str, label: str, one: np.ndarray, two: np.ndarray, where: Mapping[str, np.ndarray],
    stage: str, against: str, tensor: str = "patch",
) -> list[Loss]:  # fmt: skip
    """A row for each region of two pictures, uint8 (N, h, w, 3); none for a region of next to no
    pixels."""
    alike = similarity(one, two)
    off = np.abs(one.astype(np.int16) - two)
    rows = []
    for region, here in where.items():
        if not here.any() or (region not in ALWAYS and here.sum() < LEAST_PIXELS):
            continue
        least = PICTURE_DB if region == "whole" else REGION_DB
        rows.append(
            Loss(model, tensor, region, label, psnr(one, two, here), least, True,
                 float(off[here].max()), float(off[here].mean()), float(alike[here].mean()), stage,
                 against)
        )  # fmt: skip
    return rows


def require(rows: list[Loss], explain: Callable[[Loss], str] = lambda row: "") -> None:
    """Raises PrecisionError, naming model, tensor and inputs, unless every bound is kept.

    Args:
        explain: asked where the first one that isn't begins; the error says it.
    """
    bad = [row for row in rows if not row.ok]
    if not bad:
        return
    raise PrecisionError(
        f"{bad[0]}"
        + (f"; {len(bad) - 1} more are off" if len(bad) > 1 else "")
        + explain(bad[0])
        + "; `export/precision.py` lists the nodes that stay in fp32"
    )


def worst_of(rows: list[Loss]) -> list[Loss]:
    """The worst row of each stage, tensor and region over all inputs."""
    worst: dict[tuple[str, ...], Loss] = {}
    for row in rows:
        key = (row.model, row.stage, row.against, row.tensor, row.region)
        if key not in worst or not (
            row.measure >= worst[key].measure if row.picture else row.measure <= worst[key].measure
        ):
            worst[key] = row
    return list(worst.values())


def table(rows: list[Loss]) -> str:
    """The worst of each stage, tensor and region over all inputs, as text."""
    lines = [f"{'model':14}{'stage':12}{'against':9}{'tensor':19}{'max abs':>9}{'mean abs':>10}"
             f"{'off':>12}{'bound':>9}{'SSIM':>8}  worst on"]  # fmt: skip
    for row in worst_of(rows):
        unit = "dB" if row.picture else "  "
        name = f"{row.tensor} {row.region}".strip()
        ssim = f"{row.ssim:8.4f}" if row.picture else " " * 8
        lines.append(
            f"{row.model:14}{row.stage:12}{row.against:9}{name:19}{row.max_abs:9.2g}"
            f"{row.mean_abs:10.2g}{row.measure:10.3g}{unit}{row.bound:7.3g}{unit}{ssim}  "
            f"{row.inputs}" + ("" if row.ok else "  TOO MUCH")
        )
    return "\n".join(lines)
