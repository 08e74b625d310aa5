"""Colours for what the new garment uncovers, taken from the person's own photo.

For each class (skin, trousers, background, ...) the photo's own colours are spread beyond their
region by normalised convolution over a pyramid (Knutsson and Westin, 1993; "push-pull"): close to
the region the local colour, far from it the mean. So uncovered skin is that person's skin.

Walls and trousers go on with their own texture as well, mirrored at their edge: of places in place
of colours, the same convolution finds the region's pixels nearby.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import PARSE
from tryon.models.blocks import constant, up2, warp

PAINT: dict[str, tuple[str, ...]] = {
    "background": ("background",),
    "hair": ("hair",),
    "skin": ("face_neck", "arm_left", "arm_right", "leg_left", "leg_right"),
    "upper": ("upper",),
    "lower": ("lower",),
    "shoes": ("shoes", "other"),
}
"""What can be painted, and the parse classes whose colours it takes."""

_SKIN, _FACE = list(PAINT).index("skin"), PARSE.index("face_neck")
_LESS = 0.15
"""How much of a say faces have in an arm's colour, where hands are seen: they have beards, and
another light."""
_LEVELS = 5
_BEYOND = 1.35
"""How far a mirrored place lies away, in ways to the region's pixels nearby: so that texture keeps
its size at straight edges, where it was measured."""


def class_index() -> Tensor:
    """int64 (len(PARSE),) the paint of each parse class, -1 where there is none."""
    table = torch.full((len(PARSE),), -1, dtype=torch.int64)
    for index, names in enumerate(PAINT.values()):
        for name in names:
            table[PARSE.index(name)] = index
    return table


def class_colours(rgb: Tensor, parse: Tensor) -> Tensor:
    """Every paint's colour at every pixel of a quarter-size grid; skin's is arms' and legs' rather
    than faces' (`_LESS`).

    Args:
        rgb: float (N, 3, H, W) in 0..1.
        parse: float (N, classes, H/2, W/2) odds, positive: probabilities up to a factor.

    Returns:
        float (N, paints, 3, H/4, W/4).
    """
    weights = certain(parse)
    faces = parse[:, _FACE : _FACE + 1] / parse.sum(1, keepdim=True)
    skin = weights[:, _SKIN : _SKIN + 1] * (1 - (1 - _LESS) * faces)
    weights = torch.cat([weights[:, :_SKIN], skin, weights[:, _SKIN + 1 :]], 1)
    return spread(F.avg_pool2d(rgb, 2), weights)


def certain(parse: Tensor) -> Tensor:
    """How far each pixel counts as each paint's, float (N, paints, H/2, W/2): certain ones alone.

    `parse` is as for `class_colours`.
    """
    paints = len(PAINT)
    # A product with a table of zeros and ones sums up each paint's classes, and those of none.
    table = constant(F.one_hot(class_index() % (paints + 1), paints + 1).float().to(parse.device))
    odds = (table.T @ parse.flatten(2)).reshape(-1, paints + 1, *parse.shape[2:])
    share = odds[:, :paints] / odds.sum(1, keepdim=True)
    return (2.5 * share - 1.5).clamp(0, 1).square() + 1e-6


def mirrored(
    rgb: Tensor, weights: Tensor, shares: Tensor, pixels: Tensor, own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What lies as far beyond a region's edge as each pixel lies before it: its texture goes on.

    Args:
        rgb: float (N, 3, H, W).
        weights: float (N, R, H/2, W/2), how far a pixel is each region's own, of `certain`.
        own: the same, where other pixels than those by which the region is found may be shown.
        shares: float (N, R, H/2, W/2), how far each is to go on at a pixel, at most 1 in all.
        pixels: float (1, 2, H, W), each pixel's place, of `blocks.pixel_coordinates`.

    Returns:
        The colours (N, 3, H, W), and (N, R, H, W), how far they are each region's own.
    """
    half = F.avg_pool2d(pixels, 2)
    # To where a region's pixels nearby are, on average: a little beyond its edge, wherever one is.
    near = spread(half, weights, around=True) - F.avg_pool2d(half, 2)[:, None]
    small = F.avg_pool2d(shares, 2)
    each = [near[:, i] * small[:, i : i + 1] for i in range(int(small.shape[1]))]
    near = torch.stack(each).sum(0)
    shown = weights if own is None else own
    found = warp(torch.cat([rgb, up2(shown)], 1), pixels + _BEYOND * up2(up2(near)))
    return found[:, :3], found[:, 3:]


def spread(values: Tensor, weight: Tensor, around: bool = False) -> Tensor:
    """Values (N, C, h, w) of each paint's own pixels, weighted by (N, paints, h, w), at every pixel
    of half the size: float (N, paints, C, h/2, w/2).

    `around`: cells overlap by half, so that it matters little where a region's edge lies in them.
    """
    paints, count = int(weight.shape[1]), int(values.shape[1])
    height, width = int(values.shape[2]), int(values.shape[3])
    # The weighted values and, as a last channel of each paint, the weights themselves.
    weight = weight[:, :, None]
    both = torch.cat([weight * values[:, None], weight], 2)
    both = both.reshape(-1, paints * (count + 1), height, width)
    levels = []
    for _ in range(_LEVELS):
        both = F.avg_pool2d(both, 4, 2, 1) if around else F.avg_pool2d(both, 2)
        levels.append(both.reshape(-1, paints, count + 1, int(both.shape[2]), int(both.shape[3])))
    mean = levels[-1].mean((3, 4), keepdim=True)
    found = (mean[:, :, :count] / mean[:, :, count:]).expand_as(levels[-1][:, :, :count])
    for level in reversed(levels):
        h, w = int(level.shape[3]), int(level.shape[4])
        if level is not levels[-1]:
            found = up2(found.reshape(-1, paints * count, h // 2, w // 2))
            found = found.reshape(-1, paints, count, h, w)
        weighted, weight = level[:, :, :count], level[:, :, count:]
        # A level's own values count where at least a tenth of the cell belongs to the paint.
        share = (weight * 10).clamp(0, 1)
        found = found + share * (weighted / weight - found)
    return found
