"""All networks together, and their weights on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from tryon.assets import asset_path
from tryon.models.efficientnet import EfficientNetTrunk
from tryon.models.generator import Generator
from tryon.models.image_encoder import ImageEncoder
from tryon.models.pose import Detector, Pose
from tryon.models.text_encoder import TextEncoder

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
FILE = "tryon.safetensors"
_TRAINED = ("image_encoder", "text_encoder", "generator")
_FROZEN = ("bert.",)
"""Parts whose weights come from their own packages and are not saved with ours."""


class WeightsError(RuntimeError):
    """The weights are missing or of another architecture; the message says what to do."""


def build() -> dict[str, nn.Module]:
    """The networks by served name: BlazePose and BERT as their packages have them, the rest fresh.

    Fresh trunks have seen nothing: `load_models` and `load_trunks` give them the learned ones.
    """
    return {
        "detector": Detector(),
        "pose": Pose(),
        "text_encoder": TextEncoder(asset_path("minilm")),
        "image_encoder": ImageEncoder(EfficientNetTrunk()),
        "generator": Generator(EfficientNetTrunk()),
    }


def trained_state(models: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Every learned tensor, named `<model>.<parameter>`."""
    state = {}
    for name in _TRAINED:
        for key, value in models[name].state_dict().items():
            if not key.startswith(_FROZEN):
                state[f"{name}.{key}"] = value
    return state


def load_state(
    models: dict[str, nn.Module], state: dict[str, torch.Tensor], source: str, grown: bool = False
) -> None:
    """Puts learned tensors into the networks.

    Args:
        grown: the networks may have more than these, whose tensors stay as they were built.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape.
    """
    expected = trained_state(models)
    unknown = state.keys() - expected.keys()
    missing = set() if grown else expected.keys() - state.keys()
    wrong = [k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape]
    if missing or unknown or wrong:
        first = sorted([*missing, *unknown, *wrong])[0]
        raise WeightsError(
            f"{source} does not fit this version of the networks ({len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(wrong)} of another shape; first: {first}). Check out "
            "the version it was made with, or train again with `make train`."
        )
    for name in _TRAINED:
        own = {k[len(name) + 1 :]: v.float() if v.is_floating_point() else v
               for k, v in state.items() if k.startswith(f"{name}.")}  # fmt: skip
        models[name].load_state_dict(own, strict=False)


def load_trunks(models: dict[str, nn.Module], weights: Path | None = None) -> None:
    """Puts learned trunks, and nothing else, into the networks.

    Args:
        weights: folder with the weights; None: those of the repository.

    Raises:
        WeightsError: none there, or of other widths.
    """
    path = (weights or WEIGHTS) / FILE
    if not path.is_file():
        raise WeightsError(f"{path} is missing, whose trunks are needed: check it out")
    with safe_open(path, "pt") as file:
        for name in ("image_encoder", "generator"):
            trunk = models[name].get_submodule("trunk")
            try:
                state = {key: file.get_tensor(f"{name}.trunk.{key}") for key in trunk.state_dict()}
                trunk.load_state_dict({key: value.float() for key, value in state.items()})
            except (SafetensorError, RuntimeError):
                raise WeightsError(
                    f"{path}: the trunk of {name} is of other widths than `NARROW` in "
                    "tryon/models/efficientnet.py says: teach one with `make distil`"
                ) from None


def save(models: dict[str, nn.Module], folder: Path, metadata: dict[str, str]) -> Path:
    """Writes the learned tensors in half precision, whole or not at all; returns the file.

    Batch-normalisation statistics stay in float32: variances of trunks' maps leave fp16's range.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: value.half().contiguous()
        if value.is_floating_point() and "running_" not in key
        else value.contiguous()
        for key, value in trained_state(models).items()
    }
    target = folder / FILE
    beside = target.with_suffix(".tmp")
    save_file(state, beside, metadata)
    beside.replace(target)
    return target


def load_models(weights: Path | None = None, grown: bool = False) -> dict[str, nn.Module]:
    """The networks as served, in evaluation mode.

    Args:
        weights: folder with the weights; None: those of the repository.
        grown: as for `load_state`.

    Raises:
        WeightsError: no weights there, or of another architecture.
    """
    path = (weights or WEIGHTS) / FILE
    if not path.is_file():
        raise WeightsError(f"{path} is missing: check it out, or train it with `make train`")
    models = build()
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    load_state(models, state, str(path), grown)
    for module in models.values():
        module.eval()
    return models


def metadata(weights: Path | None = None) -> dict[str, str]:
    """What the weights file says of its training (seed, steps, ...)."""
    with safe_open((weights or WEIGHTS) / FILE, "pt") as file:
        return dict(file.metadata() or {})


def weights_hash(weights: Path | None = None) -> str:
    """SHA-256 of the weights file."""
    return hashlib.sha256(((weights or WEIGHTS) / FILE).read_bytes()).hexdigest()
