"""fp16 copies of the exported graphs, and the gate that they must pass.

TensorRT has no switch for fp16 any more: networks are strongly typed, so the ONNX file says which
tensor is half. nvidia-modelopt's AutoCast writes it, on calibration inputs that are real requests;
what loses the picture in half precision (places, grids, the composite) stays in float32, by name.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from export.parity import run_onnx
from tryon.contract import Model

PRECISE: dict[str, tuple[str, ...]] = {
    # Names without a module before them are the generator's own geometry and the composite.
    "generator": (r"/[^/]+", r"/(transforms|landmarks|fusion)/.*"),
    "image_encoder": (r"/landmarks/.*",),
    "text_encoder": (r"/painter/.*",),
}
"""Nodes (regular expressions, whole name) that stay in float32, by served model."""
PRECISE_TYPES = ("GridSample",)

PICTURE_DB, REGION_DB = 45.0, 40.0
"""Least PSNR of a served picture in half precision against float32: whole, and in each region."""
RELATIVE = 1e-2
"""Other tensors: largest mean difference, in units of the tensor's own standard deviation."""


class PrecisionError(RuntimeError):
    """A graph that half precision would change too much; names the model and tensor."""


@dataclass(frozen=True)
class Loss:
    """What half precision costs one tensor on one set of inputs.

    `measure` is PSNR in dB for pictures (higher is better; `bound` the least), else the mean
    difference in units of the tensor's standard deviation (`bound` the largest).
    """

    model: str
    tensor: str
    region: str
    inputs: str
    measure: float
    bound: float
    picture: bool

    @property
    def ok(self) -> bool:
        """Whether the bound is kept (what is not a number isn't)."""
        return self.measure >= self.bound if self.picture else self.measure <= self.bound

    def as_dict(self) -> dict[str, object]:
        """For JSON; an exact picture's infinite PSNR is null."""
        row = {**asdict(self), "ok": self.ok}
        return row | ({} if np.isfinite(self.measure) else {"measure": None})


def to_half(model: Model, source: Path, inputs: Mapping[str, np.ndarray], out: Path) -> None:
    """Writes the fp16 copy of an exported graph; its inputs and outputs keep their types.

    Args:
        model: of the contract.
        source: the float32 ONNX file.
        inputs: the model's inputs by name, batch in front: what AutoCast calibrates on.
        out: the file to write.

    Raises:
        PrecisionError: nvidia-modelopt is not installed.
    """
    logging.getLogger("modelopt").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from modelopt.onnx.autocast import convert_to_mixed_precision
    except ImportError as error:
        raise PrecisionError(
            f"nvidia-modelopt is not installed ({error}): `make engines` installs it"
        ) from None
    logging.getLogger("modelopt.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calibration = Path(folder) / "calibration.npz"
        np.savez(calibration, **{t.name: inputs[t.name] for t in model.inputs})
        half = convert_to_mixed_precision(
            str(source), "fp16", keep_io_types=True, calibration_data=str(calibration),
            op_types_to_exclude=list(PRECISE_TYPES),
            nodes_to_exclude=[f"^{p}$" for p in PRECISE.get(model.name, ())],
        )  # fmt: skip
    onnx.save(half, str(out))


def psnr(one: np.ndarray, two: np.ndarray, region: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures, in a region (H, W) of them."""
    square = (one.astype(np.float64) - two.astype(np.float64)) ** 2
    if region is not None:
        square = square[region]
    mean = square.mean() if square.size else 0.0
    return float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))


def losses(
    model: Model, source: Path, half: Path, sets: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Loss]:
    """Compares the fp16 copy with the float32 graph, both in ONNX Runtime on the CPU.

    ONNX Runtime has few fp16 kernels on CPUs: it computes in float32 between rounded tensors, so
    this finds what rounding costs, not what a GPU's accumulation adds.
    """
    expected, found = run_onnx(model, source, sets), run_onnx(model, half, sets)
    rows = []
    for label in sets:
        for tensor in (t for t in model.outputs if t.name in expected[label]):
            one, two = expected[label][tensor.name], found[label][tensor.name]
            if tensor.name == "patch":
                changed = expected[label]["patch_mask"] > 0
                for region, where, least in (
                    ("whole", None, PICTURE_DB), ("changed", changed, REGION_DB),
                ):  # fmt: skip
                    value = psnr(one, two, where)
                    rows.append(Loss(model.name, tensor.name, region, label, value, least, True))
                continue
            one, two = one.astype(np.float64), two.astype(np.float64)
            spread = float(one.std()) or 1.0
            off = float(np.abs(one - two).mean()) / max(spread, 1e-3)
            rows.append(Loss(model.name, tensor.name, "", label, off, RELATIVE, False))
    return rows


def require(rows: list[Loss]) -> None:
    """Raises PrecisionError, naming model, tensor and inputs, unless every bound is kept."""
    bad = [row for row in rows if not row.ok]
    if not bad:
        return
    worst = bad[0]
    what = f"{worst.measure:.1f} dB (least {worst.bound:g})" if worst.picture else (
        f"{worst.measure:.4f} of its spread (largest {worst.bound:g})"
    )  # fmt: skip
    raise PrecisionError(
        f"{worst.model}: tensor {worst.tensor!r} in fp16 against fp32 is {what} on inputs "
        f"{worst.inputs!r}"
        + (f"; {len(bad) - 1} more are off" if len(bad) > 1 else "")
        + ". Nothing was exported; `export/precision.py` lists the nodes that stay in fp32"
    )


def table(rows: list[Loss]) -> str:
    """The worst of each tensor and region over all inputs, as text."""
    worst: dict[tuple[str, str, str], Loss] = {}
    for row in rows:
        key = (row.model, row.tensor, row.region)
        if key not in worst or (
            row.measure < worst[key].measure if row.picture else row.measure > worst[key].measure
        ):
            worst[key] = row
    lines = [f"{'model':14}{'tensor':27}{'fp16':>10}{'bound':>10}  worst on"]
    for row in worst.values():
        unit = "dB" if row.picture else "  "
        name = f"{row.tensor} {row.region}".strip()
        lines.append(
            f"{row.model:14}{name:27}{row.measure:8.3g} {unit}{row.bound:7.3g} {unit} {row.inputs}"
            + ("" if row.ok else "  TOO MUCH")
        )
    return "\n".join(lines)
