"""Weights for residual blocks that are narrower inside than those the weights were trained for.

    python -m training.narrow --weights OLD --out runs/narrow
    python -m training.train --init runs/narrow ...   # what was cut off is learned again

Of each block's hidden channels those are kept that matter most to its sum: their spread behind the
ReLU times the norm of what the second convolution makes of them (after Li et al., 2017, "Pruning
Filters for Efficient ConvNets"). The mean of those that go is kept, in the second normalisation.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tryon.models import system
from tryon.models.blocks import Residual

_NORM = ("weight", "bias", "running_mean", "running_var")


def rectified(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a Gaussian behind a ReLU."""
    spread = spread.abs().clamp(min=1e-6)
    z = mean / spread
    density = (-0.5 * z * z).exp() / math.sqrt(2 * math.pi)
    share = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    first = mean * share + spread * density
    second = (mean * mean + spread * spread) * share + mean * spread * density
    return first, (second - first * first).clamp(min=0).sqrt()


def narrow_block(state: dict[str, Tensor], name: str, hidden: int) -> None:
    """Cuts one residual block in `state` down to `hidden` channels, in place."""
    first, second = f"{name}.first.0.weight", f"{name}.second.0.weight"
    if len(state[first]) <= hidden:
        return
    norm = {key: state[f"{name}.first.1.{key}"].float() for key in _NORM}
    kernel = state[second].float()
    mean, spread = rectified(norm["bias"], norm["weight"])
    worth = spread * kernel.square().sum((0, 2, 3)).sqrt()
    kept = worth.topk(hidden).indices.sort().values
    gone = torch.ones(len(worth), dtype=torch.bool)
    gone[kept] = False
    state[f"{name}.second.1.running_mean"] = (
        state[f"{name}.second.1.running_mean"].float()
        - (kernel.sum((2, 3))[:, gone] * mean[gone]).sum(1)
    )  # fmt: skip
    state[first] = state[first][kept]
    for key in _NORM:
        state[f"{name}.first.1.{key}"] = state[f"{name}.first.1.{key}"][kept]
    state[second] = state[second][:, kept]


def narrow(state: dict[str, Tensor], models: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The state as `models` take it: each residual block as narrow as theirs."""
    state = dict(state)
    for model, module in models.items():
        for name, block in module.named_modules():
            if isinstance(block, Residual) and f"{model}.{name}.first.0.weight" in state:
                conv = block.first[0]
                assert isinstance(conv, nn.Conv2d)
                narrow_block(state, f"{model}.{name}", conv.out_channels)
    return state


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.narrow", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, required=True, help="folder of the wider weights")
    p.add_argument("--out", type=Path, required=True, help="folder to write the narrower ones to")
    args = p.parse_args(arguments)
    path = args.weights / system.FILE
    if not path.is_file():
        print(f"error: --weights: {path} is missing", file=sys.stderr)
        return 2
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    models = system.build()
    made = narrow(state, models)
    if all(made[key].shape == state[key].shape for key in state):
        print(f"error: --weights: {path} is as narrow as the networks already", file=sys.stderr)
        return 2
    try:
        system.load_state(models, made, str(path))
    except system.WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {system.save(models, args.out, system.metadata(args.weights))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
