"""All networks together, and their weights on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tryon.assets import asset_path
from tryon.models.efficientnet import load_trunk
from tryon.models.generator import Generator
from tryon.models.image_encoder import ImageEncoder
from tryon.models.pose import Detector, Pose
from tryon.models.text_encoder import TextEncoder

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
FILE = "tryon.safetensors"
_TRAINED = ("image_encoder", "text_encoder", "generator")
_FROZEN = ("trunk.", "bert.")
"""Parts whose weights come from their own packages and are not saved with ours."""


class WeightsError(RuntimeError):
    """The weights are missing or of another architecture; the message says what to do."""


def build() -> dict[str, nn.Module]:
    """The networks with pretrained parts loaded and the rest fresh, by served name."""
    trunk = load_trunk(asset_path("efficientnet_lite0.pth"))
    return {
        "detector": Detector(),
        "pose": Pose(),
        "text_encoder": TextEncoder(asset_path("minilm")),
        "image_encoder": ImageEncoder(trunk),
        "generator": Generator(trunk),
    }


def trained_state(models: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Every learned tensor, named `<model>.<parameter>`."""
    state = {}
    for name in _TRAINED:
        for key, value in models[name].state_dict().items():
            if not key.startswith(_FROZEN):
                state[f"{name}.{key}"] = value
    return state


def load_state(models: dict[str, nn.Module], state: dict[str, torch.Tensor], source: str) -> None:
    """Puts learned tensors into the networks.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape.
    """
    expected = trained_state(models)
    missing, unknown = expected.keys() - state.keys(), state.keys() - expected.keys()
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


def save(models: dict[str, nn.Module], folder: Path, metadata: dict[str, str]) -> Path:
    """Writes the learned tensors in half precision, whole or not at all; returns the file.

    Batch-normalisation statistics stay in float32: variances of frozen features leave fp16's range.
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


def load_models(weights: Path | None = None) -> dict[str, nn.Module]:
    """The networks as served, in evaluation mode.

    Args:
        weights: folder with the weights; None: those of the repository.

    Raises:
        WeightsError: no weights there, or of another architecture.
    """
    path = (weights or WEIGHTS) / FILE
    if not path.is_file():
        raise WeightsError(f"{path} is missing: check it out, or train it with `make train`")
    models = build()
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    load_state(models, state, str(path))
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
