"""Creases of the cloth that is worn, for what is put on: seen finer than a network's pixels are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.models.blocks import grown, shrunk, up2
from tryon.models.composite import LUMA

_SIDE = 5
"""Pixels of half the size over which light is averaged, twice: what is broader is the network's
own to tell."""
_CREASE, _SEAM = 0.025, 0.05
"""Share of its light by which a crease is at most unlike the pixels beside it, and from which on it
is a string, a button, a print or the crumple of what is tucked in."""
_NEAR = 7
"""Pixels of half the size around such a one in which nothing is believed."""
_RIM = 5
"""Pixels of half the size across the old garment's outline, within which its hem is."""
_DARK, _LIGHT = 0.12, 0.4
"""Luma of cloth up to which its creases aren't believed, and from which on wholly: of the few
levels of dark cloth most are weave and noise."""
_TRUSTED = 0.7
"""How far the light of cloth must be believed (`light.believed`) for its creases to be, wholly at
1: those of a blouse under a jacket aren't."""


def creases(rgb: Tensor, old: Tensor, belief: Tensor) -> Tensor:
    """What the photo's own pixels are to be compared with, and how far that is believed.

    Args:
        rgb: (N, 3, H, W) in 0..1; old, belief: (N, 1, H/2, W/2) in 0..1, how surely each pixel is
            what is replaced, and how far the light it shows is believed.

    Returns:
        (N, 2, H, W): luma of the old cloth about each pixel, and a share, 0..1.
    """
    luma = (rgb.new_tensor(LUMA) @ rgb.flatten(2)).reshape(-1, 1, *rgb.shape[2:])
    cloth = (4 * old - 3).clamp(0, 1)
    sums = torch.cat([F.avg_pool2d(luma, 2) * cloth, cloth], 1)
    sums = mean(mean(sums, _SIDE), _SIDE)
    level = sums[:, :1] / (sums[:, 1:] + 1e-4)
    inner = shrunk(cloth, _RIM)
    peak = F.max_pool2d((luma - mean(luma, 3)).abs(), 2) / (level + 0.05) * inner
    plain = ((_SEAM - grown(peak, _NEAR)) / (_SEAM - _CREASE)).clamp(0, 1)
    light = ((level - _DARK) / (_LIGHT - _DARK)).clamp(0, 1)
    trusted = ((belief - _TRUSTED) / (1 - _TRUSTED)).clamp(0, 1)
    return up2(torch.cat([level, mean(inner * plain * light * trusted, 3)], 1))


def mean(x: Tensor, side: int) -> Tensor:
    """Averages of squares of so many pixels, at the border of those that are there."""
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)
