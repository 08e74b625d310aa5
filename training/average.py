"""The mean of several trainings' weights: better than each of them, at one's cost.

    python -m training.average tryon/weights runs/mine --out runs/mean
    python -m training.average tryon/weights runs/mine --shares 2 1 --out runs/mean

Weights that come of one another by training lie in one valley, and each run, and each checkpoint of
it, a little beside its middle (Wortsman et al., 2022, "Model soups"; Izmailov et al., 2018). The
running statistics of batch normalisation are averaged as well: of weights as near as these they
stay true. `training.words` goes after it, as after a training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tryon.models import system


def mean_of(states: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """The weighted mean of weights.

    Args:
        states: of networks of one shape; shares: positive, one of each.

    Returns:
        Tensors of the first one's types; what is not a floating-point number is the first one's.

    Raises:
        ValueError: other shapes or names than the first one's, or shares that can't be.
    """
    if len(shares) != len(states) or min(shares) <= 0:
        raise ValueError("--shares takes a positive number for each folder")
    first = states[0]
    for state in states[1:]:
        shapes = [{name: tensor.shape for name, tensor in s.items()} for s in (first, state)]
        if shapes[0] != shapes[1]:
            raise ValueError("these are weights of networks of different shapes")
    total = sum(shares)
    mean = {}
    for name, tensor in first.items():
        if not tensor.is_floating_point():
            mean[name] = tensor
            continue
        parts = [
            s[name].double() * (share / total) for s, share in zip(states, shares, strict=True)
        ]
        mean[name] = sum(parts[1:], parts[0]).to(tensor.dtype)
    return mean


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.average", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("weights", type=Path, nargs="+", help="folders of weights")
    p.add_argument("--shares", type=float, nargs="+", help="how much each counts; default: alike")
    p.add_argument("--out", type=Path, required=True, help="folder for the mean")
    args = p.parse_args(arguments)
    shares = args.shares or [1.0] * len(args.weights)
    try:
        states = [load_file(folder / system.FILE) for folder in args.weights]
        mean = mean_of(states, shares)
        models = system.load_models(args.weights[0])
        system.load_state(models, {k: v.float() for k, v in mean.items()}, str(args.weights[0]))
        about = {
            "mean_of": " ".join(system.weights_hash(folder)[:12] for folder in args.weights),
            "shares": " ".join(f"{share:g}" for share in shares),
        }
        print(system.save(models, args.out, system.metadata(args.weights[0]) | about))
    except (OSError, ValueError, SafetensorError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
