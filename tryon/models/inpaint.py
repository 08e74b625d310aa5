"""Colours for what the new garment uncovers, taken from the person's own photo.

For each class (skin, trousers, background, ...) the photo's own colours are spread beyond their
region by normalised convolution over a pyramid (Knutsson and Westin, 1993; "push-pull"): close to
the region the local colour, far from it the mean. So uncovered skin is that person's skin.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import PARSE

PAINT: dict[str, tuple[str, ...]] = {
    "background": ("background",),
    "hair": ("hair",),
    "skin": ("face_neck", "arm_left", "arm_right", "leg_left", "leg_right"),
    "upper": ("upper",),
    "lower": ("lower",),
    "shoes": ("shoes", "other"),
}
"""What can be painted, and the parse classes whose colours it takes."""

_LEVELS = 5


def class_index() -> Tensor:
    """int64 (len(PARSE),) the paint of each parse class, -1 where there is none."""
    table = torch.full((len(PARSE),), -1, dtype=torch.int64)
    for index, names in enumerate(PAINT.values()):
        for name in names:
            table[PARSE.index(name)] = index
    return table


def class_colours(rgb: Tensor, parse: Tensor) -> Tensor:
    """Every paint's colour at every pixel of a quarter-size grid.

    Args:
        rgb: float (N, 3, H, W) in 0..1.
        parse: float (N, classes, H/2, W/2) probabilities.

    Returns:
        float (N, paints, 3, H/4, W/4).
    """
    half = F.avg_pool2d(rgb, 2)
    groups = []
    for names in PAINT.values():
        total = sum(parse[:, PARSE.index(name)] for name in names)
        groups.append(total)
    weight = torch.stack(groups, 1)  # type: ignore[arg-type]
    weight = ((weight - 0.6) / 0.4).clamp(0, 1) ** 2 + 1e-6  # certain pixels only
    n, paints, h, w = weight.shape
    numerator = (weight[:, :, None] * half[:, None]).reshape(n, paints * 3, h, w)
    levels = []
    for _ in range(_LEVELS):
        numerator, weight = F.avg_pool2d(numerator, 2), F.avg_pool2d(weight, 2)
        levels.append((numerator, weight))
    numerator, weight = levels[-1]
    colours = numerator.reshape(n, paints, 3, *weight.shape[2:]).mean((3, 4), keepdim=True)
    colours = colours / weight[:, :, None].mean((3, 4), keepdim=True)
    colours = colours.expand(-1, -1, -1, *weight.shape[2:]).reshape(numerator.shape)
    for numerator, weight in reversed(levels):
        if colours.shape[2:] != numerator.shape[2:]:
            colours = F.interpolate(
                colours, scale_factor=2.0, mode="bilinear", align_corners=False
            )
        # A level's own colours count where at least a tenth of the cell belongs to the class.
        share = (weight * 10).clamp(0, 1).repeat_interleave(3, 1)
        own = numerator / weight.repeat_interleave(3, 1)
        colours = share * own + (1 - share) * colours
    return colours.reshape(n, paints, 3, *colours.shape[2:])
