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
from tryon.models.blocks import constant, up2

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
        parse: float (N, classes, H/2, W/2) odds, positive: probabilities up to a factor.

    Returns:
        float (N, paints, 3, H/4, W/4).
    """
    half = F.avg_pool2d(rgb, 2)
    paints = len(PAINT)
    # A product with a table of zeros and ones sums up each paint's classes, and those of none.
    table = constant(F.one_hot(class_index() % (paints + 1), paints + 1).float().to(rgb.device))
    odds = (table.T @ parse.flatten(2)).reshape(-1, paints + 1, *parse.shape[2:])
    share = odds[:, :paints] / odds.sum(1, keepdim=True)
    weight = (2.5 * share - 1.5).clamp(0, 1).square() + 1e-6  # certain pixels only
    # The weighted colours and, as a fourth channel of each paint, the weights themselves.
    weight = weight[:, :, None]
    height, width = int(half.shape[2]), int(half.shape[3])
    both = torch.cat([weight * half[:, None], weight], 2).reshape(-1, paints * 4, height, width)
    levels = []
    for _ in range(_LEVELS):
        both = F.avg_pool2d(both, 2)
        levels.append(both.reshape(-1, paints, 4, int(both.shape[2]), int(both.shape[3])))
    mean = levels[-1].mean((3, 4), keepdim=True)
    colours = (mean[:, :, :3] / mean[:, :, 3:]).expand_as(levels[-1][:, :, :3])
    for level in reversed(levels):
        h, w = int(level.shape[3]), int(level.shape[4])
        if level is not levels[-1]:
            colours = up2(colours.reshape(-1, paints * 3, h // 2, w // 2))
            colours = colours.reshape(-1, paints, 3, h, w)
        weighted, weight = level[:, :, :3], level[:, :, 3:]
        # A level's own colours count where at least a tenth of the cell belongs to the class.
        share = (weight * 10).clamp(0, 1)
        colours = colours + share * (weighted / weight - colours)
    return colours
