"""Cuts a wide network's weights down to a narrow one's shapes.

Each residual block keeps the hidden channels that matter most (after Li et al., 2017, "Pruning
Filters for Efficient ConvNets"); the trunks are cut by `training.trunk`. What is cut is a start:
`training.distil` teaches it.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from training.trunk import narrow_trunk
from tryon.assets import asset_path
from tryon.models import system
from tryon.models.blocks import Residual
from tryon.models.efficientnet import NARROW, EfficientNetTrunk, load_trunk

STUDENTS = ("image_encoder", "generator")
"""The networks that are cut and taught."""
_NORM = ("weight", "bias", "running_mean", "running_var")


def read(folder: Path, option: str) -> dict[str, Tensor]:
    """The tensors of a folder of weights; where there are no trunks among them, EfficientNet's.

    Raises:
        system.WeightsError: there are none.
    """
    path = folder / system.FILE
    if not path.is_file():
        raise system.WeightsError(f"{option}: {path} is missing: name a folder with {system.FILE}")
    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    except SafetensorError as error:
        raise system.WeightsError(f"{option}: {path} can't be read: {error}") from None
    whole = load_trunk(asset_path("efficientnet_lite0.pth")).state_dict()
    given = {f"{model}.trunk.{key}": v for model in STUDENTS for key, v in whole.items()}
    return state if given.keys() & state.keys() else {**state, **given}


def rectified(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a Gaussian behind a ReLU."""
    spread = spread.abs().clamp(min=1e-6)
    z = mean / spread
    density = (-0.5 * z * z).exp() / math.sqrt(2 * math.pi)
    share = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    first = mean * share + spread * density
    second = (mean * mean + spread * spread) * share + mean * spread * density
    return first, (second - first * first).clamp(min=0).sqrt()


def cut(state: dict[str, Tensor], first: str, second: str, hidden: int) -> None:
    """Cuts what lies between two convolutions down to `hidden` channels, in place.

    Those are kept whose spread behind the ReLU, times the norm of what the second convolution makes
    of them, is largest. The mean of those that go is kept in the second normalisation; a head that
    has none keeps its bias: E^I's mask is the bias alone inside a garment, where all maps are 0.

    Args:
        first: name of a `blocks.Conv`; second: of the convolution behind it; each with its model.
    """
    if len(state[f"{first}.0.weight"]) <= hidden:
        return
    norm = {key: state[f"{first}.1.{key}"].float() for key in _NORM}
    kernel = state[f"{second}.weight"].float()
    mean, spread = rectified(norm["bias"], norm["weight"])
    worth = spread * kernel.square().sum((0, 2, 3)).sqrt()
    kept = worth.topk(hidden).indices.sort().values
    gone = torch.ones(len(worth), dtype=torch.bool)
    gone[kept] = False
    if f"{second}.bias" not in state:
        lost = (kernel.sum((2, 3))[:, gone] * mean[gone]).sum(1)
        mean_name = f"{second[:-1]}1.running_mean"
        state[mean_name] = state[mean_name].float() - lost
    state[f"{first}.0.weight"] = state[f"{first}.0.weight"][kept]
    for key in _NORM:
        state[f"{first}.1.{key}"] = state[f"{first}.1.{key}"][kept]
    state[f"{second}.weight"] = state[f"{second}.weight"][:, kept]


def student_state(
    state: dict[str, Tensor], models: dict[str, nn.Module], seen: dict[str, Tensor]
) -> dict[str, Tensor]:
    """A wider state cut down to `models`.

    Args:
        seen: uint8 (N, 3, H, W), what the trunk of each model of `to_cut` sees.

    Returns:
        All tensors of `state`, those that are cut in float32.

    Raises:
        system.WeightsError: a trunk is narrower than the one wanted.
    """
    for model in to_cut(state):
        given = _widths(state, model)
        if any(count < wanted for count, wanted in zip(given, NARROW, strict=True)):
            raise system.WeightsError(
                f"the trunk of {model} has {given} channels within its blocks, and {NARROW} are "
                "wanted: give weights with a wider one, or none, for EfficientNet's"
            )
    state = dict(state)
    width = {key: len(value) for key, value in system.trained_state(models).items() if value.ndim}
    for model in STUDENTS:
        for name, block in models[model].named_modules():
            if isinstance(block, Residual):
                name = f"{model}.{name}"
                cut(state, f"{name}.first", f"{name}.second.0", width[f"{name}.first.0.weight"])
    # From the end: what only feeds what is cut matters nothing.
    for first, second in (("merge_2.1", "mask"), ("merge_2.0", "merge_2.1.0")):
        first, second = f"image_encoder.{first}", f"image_encoder.{second}"
        cut(state, first, second, width[f"{first}.0.weight"])
    for model in to_cut(state):
        name = f"{model}.trunk."
        own = {k.removeprefix(name): v.float() for k, v in state.items() if k.startswith(name)}
        wide = EfficientNetTrunk(_widths(state, model))
        wide.load_state_dict(own)
        slim = narrow_trunk(wide, seen[model]).state_dict()
        state |= {name + key: value for key, value in slim.items()}
    return state


def to_cut(state: dict[str, Tensor]) -> list[str]:
    """The networks whose trunk in `state` has other widths than the one served."""
    return [model for model in STUDENTS if _widths(state, model) != NARROW]


def _widths(state: dict[str, Tensor], model: str) -> tuple[int, ...]:
    return tuple(
        len(state[f"{model}.trunk.blocks.{block}.depthwise.weight"]) for block in range(len(NARROW))
    )


def fit(models: dict[str, nn.Module], state: dict[str, Tensor]) -> None:
    """Gives the networks the widths of `state`, in place: a teacher of any width."""
    for model, module in models.items():
        for name, part in module.named_modules():
            kept = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
            for key, value in kept:
                given = state.get(".".join(filter(None, (model, name, key))))
                if given is not None and given.shape != value.shape:
                    value.data = torch.zeros(given.shape, dtype=value.dtype)
            if isinstance(part, nn.Conv2d):
                part.groups = len(part.weight) if part.groups > 1 else 1
