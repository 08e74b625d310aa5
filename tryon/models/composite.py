"""The composite: the picture at the photo's own size, from the garment's own pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tryon.contract import NET_HEIGHT
from tryon.models.blocks import warp

LUMA = (0.299, 0.587, 0.114)
_SMALLEST_CHANGE = 2 / 255


class Maps(NamedTuple):
    """What the generator predicts at its own size (H, W) = (NET_HEIGHT, NET_WIDTH).

    flow (N, 2, H, W) in 0..1 of the canvas; garment (N, 1, H, W) how much of a pixel it covers;
    keep (N, 1, H, W) how much of what it does not cover is the photo's own; paint (N, 3, H, W) what
    stands in for the rest; shade (N, 3, H, W) gain; strength (N, 1), colour (N, 3) and
    garment_mean (N, 3): recolouring by the words.
    """

    flow: Tensor
    garment: Tensor
    keep: Tensor
    paint: Tensor
    shade: Tensor
    strength: Tensor
    colour: Tensor
    garment_mean: Tensor


def recolour(cloth: Tensor, strength: Tensor, colour: Tensor, mean: Tensor) -> Tensor:
    """Moves the garment's mean to `colour`, keeping its light and dark.

    Args:
        cloth: (N, 3, h, w) in 0..1; strength: (N, 1) in 0..1; colour, mean: (N, 3).
    """
    luma = cloth.new_tensor(LUMA)
    own = (cloth * luma[:, None, None]).sum(1, keepdim=True)
    level = (mean * luma).sum(1)[:, None, None, None]
    # A gain where the garment is light, an offset where it is too dark for a gain to show.
    gain = (own + 0.15) / (level + 0.15)
    target = (colour[:, :, None, None] * gain).clamp(0, 1)
    return cloth + strength[:, :, None, None] * (target - cloth)


def _sharpen(x: Tensor, scale: Tensor) -> Tensor:
    return ((x - 0.5) * scale + 0.5).clamp(0, 1)


def view_coordinates(window: Tensor, placement: Tensor) -> Tensor:
    """Where each pixel of the window lies in the generator's view, (N, 2, h, w) in 0..1.

    Args:
        window: (N, C, h, w), for its size alone; placement: (N, 4) left, top, right, bottom.
    """
    ones = torch.ones_like(window[:1, :1, :1, :])
    xs = (torch.cumsum(ones, 3) - 0.5) / window.shape[3]
    ys = (torch.cumsum(torch.ones_like(window[:1, :1, :, :1]), 2) - 0.5) / window.shape[2]
    left, top, right, bottom = (placement[:, i, None, None, None] for i in range(4))
    x = left + xs * (right - left)
    y = top + ys * (bottom - top)
    zero = torch.zeros_like(window[:, :1])
    return torch.cat([x + zero, y + zero], 1)


def composite(
    window: Tensor, placement: Tensor, maps: Maps, canvas: Tensor
) -> tuple[Tensor, Tensor]:
    """Paints the garment into the window.

    Args:
        window: float (N, 3, h, w) in 0..1, the photo's pixels.
        placement: (N, 4) where the window lies in the generator's view.
        canvas: float (N, 4, Hc, Wc) the garment's RGBA in 0..1.

    Returns:
        picture (N, 3, h, w) in 0..1, and mask (N, 1, h, w) in 0..1: how much of each pixel changed.
    """
    where = view_coordinates(window, placement)
    stacked = torch.cat([maps.flow, maps.garment, maps.keep, maps.paint, maps.shade], 1)
    fine = warp(stacked, where)
    flow, garment, keep, paint, shade = fine.split([2, 1, 1, 3, 3], 1)
    # Edges as sharp as the window's pixels, not as the network's.
    height = (placement[:, 3] - placement[:, 1]).clamp(min=1e-6)
    scale = (window.shape[2] / height / NET_HEIGHT).clamp(1.0, 4.0)[:, None, None, None]
    cloth = warp(canvas, flow)
    alpha = _sharpen(garment, scale) * cloth[:, 3:]
    cloth = recolour(cloth[:, :3], maps.strength, maps.colour, maps.garment_mean)
    cloth = (cloth * shade).clamp(0, 1)
    repaint = (1 - alpha) * (1 - _sharpen(keep, scale))
    change = alpha + repaint
    change = change * (change >= _SMALLEST_CHANGE)
    drawn = (alpha * cloth + repaint * paint) / (alpha + repaint).clamp(min=1e-4)
    return window + change * (drawn - window), change


def to_bytes(window: Tensor, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 picture (N, h, w, 3) and mask (N, h, w); where the mask is 0, the window's own bytes.

    Args:
        window: uint8 (N, h, w, 3); picture, mask: of `composite`.
    """
    shown = (picture * 255).round().clamp(0, 255).permute(0, 2, 3, 1)
    share = (mask * 255).round().clamp(0, 255).permute(0, 2, 3, 1)
    changed = (share > 0).to(shown.dtype)
    shown = shown * changed + window.to(shown.dtype) * (1 - changed)
    return shown.to(torch.uint8), share[..., 0].to(torch.uint8)


