"""Cuts a narrow trunk out of a wide one, and teaches it the wide one's features.

Channels go one at a time, each the one whose loss changes what its block gives least while all
others make up for it (Hassibi and Stork, 1993, "Optimal Brain Surgeon", for a layer that is
linear).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tryon.models.efficientnet import Block, EfficientNetTrunk

_PICTURES, _SAMPLES = 64, 40_000
"""Pictures and pixels that a block is solved for."""
_BATCH, _RATE = 16, 3e-3
"""Pictures a step of `teach`, and Adam's peak rate: a cut trunk alone bears ten times what it does
when all else learns with it."""


@torch.no_grad()
def narrow_trunk(wide: EfficientNetTrunk, pictures: Tensor) -> EfficientNetTrunk:
    """The served trunk with weights of a wider one.

    Args:
        wide: each block at least as wide as `NARROW`'s; pictures: uint8 (N, 3, H, W), H and W
            multiples of 16, of what it will see; the first 64 are used.
    """
    pictures = pictures[:_PICTURES].float() / 255
    narrow = EfficientNetTrunk().eval()
    narrow.stem.load_state_dict(wide.stem.state_dict())
    theirs = ours = F.relu6(wide.stem(pictures - 127.0 / 255.0))
    for whole, slim in zip(wide.blocks, narrow.blocks, strict=True):
        assert isinstance(whole, Block) and isinstance(slim, Block)
        theirs = whole(theirs)
        wanted = theirs - ours if whole.residual else theirs
        # What the wide block makes of the narrow ones' answers: later blocks mend earlier ones.
        within = whole.within(ours)
        kept, weight, bias = fewest(_rows(within), _rows(wanted), slim.project.in_channels)
        for part in ("expand", "depthwise"):
            own, given = getattr(slim, part), getattr(whole, part)
            if own is not None:
                own.weight.copy_(given.weight[kept])
                own.bias.copy_(given.bias[kept])
        slim.project.weight.copy_(weight.T[:, :, None, None])
        assert slim.project.bias is not None
        slim.project.bias.copy_(bias)
        ours = slim(ours)
    return narrow


def _rows(maps: Tensor) -> Tensor:
    """float64 (pixels, C) of maps (N, C, h, w), every so manieth pixel."""
    flat = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    return flat[:: max(1, len(flat) // _SAMPLES)].double()


def fewest(given: Tensor, wanted: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` columns of which `wanted` is best made, by elimination.

    Args:
        given: float64 (n, d); wanted: float64 (n, c).

    Returns:
        Sorted int64 (count,) columns, (count, c) their weights and (c,) what is added.
    """
    mean, aim = given.mean(0), wanted.mean(0)
    given, wanted = given - mean, wanted - aim
    gram = given.T @ given
    # Columns that never differ would have no inverse.
    inverse = torch.linalg.inv(gram + 1e-4 * gram.diagonal().mean() * torch.eye(len(gram)).double())
    weight = inverse @ (given.T @ wanted)
    here = torch.ones(len(gram), dtype=torch.bool)
    for _ in range(len(gram) - count):
        cost = weight.square().sum(1) / inverse.diagonal()
        worst = int(torch.where(here, cost, torch.inf).argmin())
        column, pivot = inverse[:, worst].clone(), inverse[worst, worst].clone()
        weight -= torch.outer(column / pivot, weight[worst].clone())
        inverse -= torch.outer(column / pivot, column)
        here[worst] = False
        weight[worst], inverse[worst], inverse[:, worst], inverse[worst, worst] = 0, 0, 0, 1
    kept = here.nonzero()[:, 0]
    return kept, weight[kept], aim - mean[kept] @ weight[kept]


def apart(ours: list[Tensor], theirs: list[Tensor]) -> list[Tensor]:
    """Each map's mean squared difference, as a share of the second's variance."""
    return [
        (a - b).square().mean() / b.var((0, 2, 3)).mean().clamp(min=1e-6)
        for a, b in zip(ours, theirs, strict=True)
    ]


def teach(
    narrow: EfficientNetTrunk, wide: EfficientNetTrunk, pictures: Tensor, steps: int, seed: int,
    say: Callable[[int, float], None],
) -> None:  # fmt: skip
    """Trains `narrow`, in place, to give the maps of `wide`.

    Args:
        pictures: uint8 (N, 3, H, W), H and W multiples of 16, drawn from by `seed`; steps: of Adam,
            half a cosine long; say: takes the step and the sum of `apart`.

    `narrow` is frozen in the end.
    """
    drawn = torch.Generator().manual_seed(seed)
    learned = [parameter.requires_grad_(True) for parameter in narrow.parameters()]
    optimiser = torch.optim.Adam(learned, _RATE, betas=(0.9, 0.99))
    for step in range(steps):
        share = min(1.0, (step + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = _RATE * share
        some = pictures[torch.randint(len(pictures), (_BATCH,), generator=drawn)].float() / 255
        if step % 2:
            some = some.flip(3)
        some = some.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            theirs = wide(some)
        total = torch.stack(apart(narrow(some), theirs)).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        say(step + 1, float(total.detach()))
    narrow.requires_grad_(False)
