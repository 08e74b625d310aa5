"""The composite: the picture at the photo's own size, from the garment's own pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import NET_HEIGHT
from tryon.models.blocks import warp

LUMA = (0.299, 0.587, 0.114)
DECIDE = 2.5
"""Where the network is undecided its masks have broad ramps; a garment's edge has none."""


class Maps(NamedTuple):
    """What the generator predicts, at two sizes: (H, W) = (NET_HEIGHT, NET_WIDTH) and half of it.

    garment (N, 1, H, W): how much of a pixel the garment covers; keep (N, 1, H, W): how much of
    what it does not cover is the photo's own; bare (N, 1, H, W): how much of the rest is skin; flow
    (N, 2, H/2, W/2) in 0..1 of the canvas; skin (N, 3, H/2, W/2) and paint (N, 3, H, W) in 0..1:
    what stands in for what is not kept, skin and the rest; relief (N, 1, H, W): gain of skin;
    shade (N, 3, H/2, W/2): the garment's; strength (N, 1), colour (N, 3) and garment_mean (N, 3):
    recolouring by the words; creases (N, 2, H, W): of `folds.creases`; strands (N, 3, H/2, W/2): of
    `strands.strands`.
    """

    garment: Tensor
    keep: Tensor
    bare: Tensor
    flow: Tensor
    skin: Tensor
    relief: Tensor
    paint: Tensor
    shade: Tensor
    strength: Tensor
    colour: Tensor
    garment_mean: Tensor
    creases: Tensor
    strands: Tensor


class Layers(NamedTuple):
    """What a picture is laid together from, at the window's own size: (N, 1 or 3, h, w) each.

    alpha, repaint: shares of each pixel that show `cloth` and `paint` (in 0..1); the rest of it is
    the photo's own, times `gain`.
    """

    alpha: Tensor
    cloth: Tensor
    repaint: Tensor
    paint: Tensor
    gain: Tensor


def recolour(cloth: Tensor, strength: Tensor, colour: Tensor, mean: Tensor) -> Tensor:
    """Moves the garment's mean to `colour`, keeping its light and dark; one affine map of RGB.

    Args:
        cloth: (N, 3, h, w) in 0..1; strength: (N, 1) in 0..1; colour, mean: (N, 3).

    Returns:
        (N, 3, h, w), not clamped.
    """
    luma = cloth.new_tensor(LUMA)
    # (own + 0.15) / (mean + 0.15): a gain where the garment is light, an offset where it is too
    # dark for a gain to show.
    level = (mean * luma).sum(1, keepdim=True) + 0.15
    slope = (strength * colour / level)[:, :, None]
    matrix = torch.eye(3, device=cloth.device) * (1 - strength)[:, :, None] + slope * luma
    n, _, h, w = cloth.shape
    out = matrix @ cloth.reshape(n, 3, h * w) + 0.15 * slope
    return out.reshape(n, 3, h, w)


def lit(cloth: Tensor, gain: Tensor) -> Tensor:
    """Cloth in the light: darker by a gain under 1; above 1 it nears white and never reaches it.

    A plain product blows a white garment out: its folds, all near white, would become white.

    Args:
        cloth: (N, C, h, w), in 0..1 or a little beyond; gain: the same, positive.
    """
    over = (1 - gain).clamp(max=0)
    room = (1 - cloth).clamp(min=0)
    # Begins with the product's own slope, and ends at `room`.
    brighter = room * (1 - (cloth * over / (room + 1e-3)).exp())
    return cloth * gain.clamp(max=1) + brighter


def _limited(x: Tensor) -> Tensor:
    """Clamped to 0..1; in training with a gradient beyond, or a blown-out garment stays one."""
    bounded = x.clamp(0, 1)
    return x + (bounded - x).detach() if torch.is_grad_enabled() else bounded


def _sharpen(x: Tensor, scale: Tensor) -> Tensor:
    return ((x - 0.5) * scale + 0.5).clamp(0, 1)


def _smooth(masks: Tensor) -> Tensor:
    """Masks without the network's pixel steps, which sharpening would show at the photo's size."""
    for _ in range(2):
        masks = F.avg_pool2d(masks, 3, 1, 1, count_include_pad=False)
    return masks


def _cells(start: Tensor, end: Tensor, count: int, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Which two cells of a map each pixel of the window lies between, along one axis.

    Args:
        start, end: (N,) where the axis of the window begins and ends in 0..1 of the map.
        count: cells of the map along that axis.
        pixels: (n,) zeros, one for each pixel of the window along that axis.

    Returns:
        int64 (N * n,) the lower cell, those of row i from i * count on; float (N, n) how near the
        upper one is.
    """
    centres = (torch.cumsum(pixels + 1, 0) - 0.5) / pixels.shape[0]
    place = start[:, None] + centres * (end - start)[:, None]
    place = (place * count - 0.5).clamp(0, count - 1)
    low = place.floor()
    rows = (torch.cumsum(torch.ones_like(start), 0) - 1)[:, None] * count
    return (low + rows).long().reshape(-1), place - low


def enlarge(maps: Tensor, placement: Tensor, window: Tensor) -> Tensor:
    """Maps of the generator's view at every pixel of the window, bilinear.

    The window lies straight in the view, so that rows and columns are interpolated by themselves.

    Args:
        maps: float32 (N, C, H, W).
        placement: (N, 4) left, top, right, bottom of the window in 0..1 of the view.
        window: (N, 3, h, w), for its size alone.

    Returns:
        float32 (N, C, h, w).
    """
    n, (c, height, width) = maps.shape[0], (int(size) for size in maps.shape[1:])
    left, top, right, bottom = placement.unbind(1)
    h, w = window.shape[2], window.shape[3]
    # Columns first, then rows: the axis to pick from lies in front, so that a pick is one copy, and
    # each change of layout moves one axis to the front, which ONNX Runtime does ten times as fast
    # as any other. A row and a column of the window, for their length: sliced along the long axis
    # first, since each slice is a copy.
    across = window.narrow(2, 0, 1)[:1, :1].reshape(-1)
    down = window.narrow(3, 0, 1)[:1, :1].reshape(-1)
    low, near = _cells(left, right, width, torch.zeros_like(across))
    flat = maps.permute(0, 3, 1, 2).reshape(-1, c * height)
    flat = _between(flat, low, near.reshape(-1, 1))
    flat = flat.reshape(n, -1, c, height).permute(0, 3, 1, 2).reshape(-1, w * c)
    low, near = _cells(top, bottom, height, torch.zeros_like(down))
    flat = _between(flat, low, near.reshape(-1, 1))
    # As a matrix: a change of four axes would be put off until after the arithmetic on the picture,
    # which is ten times as slow with a last axis of length 1.
    return flat.reshape(n, -1, c).permute(0, 2, 1).reshape(-1, c, h, w)


def _between(rows: Tensor, low: Tensor, near: Tensor) -> Tensor:
    """Rows `low` of a matrix and those after them, mixed by how near these are.

    The last row has none after it, and nothing is near that.
    """
    # Subtracted before they are picked: there are fewer of them.
    step = torch.cat([rows[1:], rows[-1:]]) - rows
    return rows.index_select(0, low) + step.index_select(0, low) * near


_DEEPEST = 0.15
"""Of the light about it: what a crease takes or gives at most."""


def _creased(luma: Tensor, creases: Tensor) -> Tensor:
    """Gain (N, 1, h, w) of the creases that the photo shows, on those of the garment.

    Args:
        luma: (N, 1, h, w) in 0..1, the photo's; creases: (N, 2, h, w) of `folds.creases`.
    """
    level, share = creases.split(1, 1)
    return 1 + share * ((luma - level) / (level + 0.05)).clamp(-_DEEPEST, _DEEPEST)


_DARKEST, _EDGE = 0.02, 5.0
"""Luma that the darkest pixels are given; how soon what isn't all hair is as bright as it."""


def layers(
    window: Tensor, placement: Tensor, maps: Maps, canvas: Tensor, decide: float = DECIDE,
    white: float = 1.0,
) -> Layers:  # fmt: skip
    """What is laid over the window.

    Args:
        window: (N, 3, h, w) in 0..`white`, for its size, its creases and hair's strands.
        placement: (N, 4) where the window lies in the generator's view.
        canvas: float (N, 4, Hc, Wc) the garment's RGBA in 0..255: it has more pixels than are
            sampled, so what is sampled is divided.
        decide: how much steeper than predicted the edges of the masks are drawn.

    Returns:
        Finite where maps and canvas are.
    """
    edges = _smooth(torch.cat([maps.garment, maps.keep, maps.bare], 1))
    full = enlarge(
        torch.cat([edges, maps.relief, maps.paint, maps.creases], 1), placement, window
    )
    garment, keep, bare, relief, paint, creases = full.split([1, 1, 1, 1, 3, 2], 1)
    n, _, h, w = window.shape
    weights = window.new_tensor([LUMA]) / white
    luma = (weights @ window.reshape(n, 3, h * w)).reshape(n, 1, h, w)
    smooth = torch.cat([maps.flow, maps.skin, maps.shade, maps.strands], 1)
    flow, skin, shade, line = enlarge(smooth, placement, window).split([2, 3, 3, 3], 1)
    # Edges as sharp as the window's pixels, not as the network's.
    height = (placement[:, 3] - placement[:, 1]).clamp(min=1e-6)
    scale = decide * (window.shape[2] / height / NET_HEIGHT).clamp(1.0, 4.0)[:, None, None, None]
    cloth = warp(canvas, flow, torch._shape_as_tensor(canvas)[[3, 2]].to(flow)) / 255
    strand = (line[:, :1] * luma + line[:, 1:2]).clamp(0, 1)
    over = _sharpen(garment, scale) * cloth[:, 3:]
    alpha = over * (1 - strand)
    cloth = recolour(cloth[:, :3], maps.strength, maps.colour, maps.garment_mean)
    cloth = _limited(lit(cloth, shade * _creased(luma, creases)))
    # An arm painted before a painted wall has an edge, not a ramp.
    paint = paint + _sharpen(bare, scale) * (skin * relief - paint)
    # A strand's edge in the photo has the old cloth in it, too: it is as bright as hair is.
    part = over * strand * (1 - strand)
    gain = 1 + (_EDGE * part).clamp(max=1) * (line[:, 2:] / (luma + _DARKEST) - 1)
    return Layers(alpha, cloth, (1 - alpha) * (1 - _sharpen(keep, scale)), paint, gain)


def composite(
    window: Tensor, placement: Tensor, maps: Maps, canvas: Tensor, decide: float = DECIDE
) -> Tensor:
    """The garment painted into the window, as training sees it.

    Args:
        window: float (N, 3, h, w) in 0..1, the photo's pixels; the rest as for `layers`.

    Returns:
        (N, 3, h, w) in 0..1, or a little beyond at the edge of a strand.
    """
    alpha, cloth, repaint, paint, gain = layers(window, placement, maps, canvas, decide)
    return window * ((1 - alpha - repaint) * gain) + alpha * cloth + repaint * paint


def to_bytes(window: Tensor, over: Layers) -> tuple[Tensor, Tensor]:
    """uint8 picture (N, h, w, 3) and mask (N, h, w); where the mask is 0, the window's own bytes.

    Args:
        window: float (N, 3, h, w), whole numbers in 0..255; over: of `layers`, finite.
    """
    change = over.alpha + over.repaint
    share = (change * 255).round().clamp(0, 255)
    # Where the mask is 0 the sums below are the window's whole numbers, times 1, and zeros: exact.
    seen = (share > 0).float()
    shown = window * (1 - (1 - (1 - change) * over.gain) * seen)
    shown = shown + (over.alpha * seen * 255) * over.cloth
    shown = shown + (over.repaint * seen * 255) * over.paint
    shown = shown.round().clamp(0, 255)
    return shown.permute(0, 2, 3, 1).to(torch.uint8), share[:, 0].to(torch.uint8)


_REACH = 3
"""Network pixels that `_smooth` and `enlarge` carry a mask."""


def changed_box(
    maps: Maps, placement: Tensor, window: Tensor, decide: float = DECIDE
) -> tuple[Tensor, Tensor]:
    """The least box outside which the composite of no picture of the batch changes anything.

    Most of a photo is not the garment, and a CPU's time goes with the pixels.

    Args:
        maps, placement, decide: as for `composite`; window: (N, h, w, 3), for its size alone.

    Returns:
        int64 (4,) x0, y0, x1, y1 of the box in the window (a pixel where nothing changes), and
        (N, 4) its place in the view.
    """
    # A mask that is further from the edge than this is sharpened to a plain 0 or 1.
    reach = 0.5 - 0.5 / decide
    touched = torch.maximum(maps.garment, 1 - maps.keep)
    ends = []
    for axis in (3, 2):  # columns, then rows
        seen = (touched.amax(5 - axis).amax((0, 1)) > reach).float()
        count = int(touched.shape[axis])
        number = torch.arange(1.0, count + 1, device=seen.device)
        # Shares of the axis: where the first begins, and where the last ends.
        ends.append(1 - (seen * number.flip(0)).amax() / count - _REACH / count)
        ends.append((seen * number).amax() / count + _REACH / count)
    first, last = torch.stack(ends[::2]), torch.stack(ends[1::2])
    low, high = placement[:, :2], placement[:, 2:]
    size = torch._shape_as_tensor(window)[[2, 1]].to(placement)
    length = (high - low).clamp(min=1e-6) / size
    begin = ((first - low) / length).floor().amin(0).clamp(min=0)
    begin = torch.minimum(begin, size - 1)
    end = torch.minimum(((last - low) / length).ceil().amax(0), size)
    end = torch.maximum(end, begin + 1)
    corners = torch.cat([begin, end])
    shares = corners / torch.cat([size, size])
    where = torch.cat([low, low], 1) + shares * torch.cat([high - low, high - low], 1)
    return corners.long(), where
