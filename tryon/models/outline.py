"""The new top is as wide as the old one, where it would be just narrower.

How loosely a garment is worn is a guess, as its length is (`lengths.py`). A narrow strip of the old
one beside it would be painted as what is behind, whose edge nobody has seen; drawn out to the old
one's outline, the new one ends where the photo itself shows an edge.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import CATEGORIES, LANDMARKS, STYLING
from tryon.models.blocks import grown, shrunk, warp
from tryon.models.geometry import ASPECT

_AROUND = 17
"""Pixels of half the size across: what a strip's width is the mean over, and twice as deep as the
flow is drawn out within the garment."""
_PART = 15
"""The same: what of the garment is narrower has sides of its own, and would be folded."""
_WHOLLY, _NOT = 4.0, 6.5
"""Pixels of half the size: strips as wide are covered wholly, and from where on not at all."""
_BROAD, _NEAR = 9, 31
"""The same, across: what of the old one is as broad is more than a strip, a forearm's sleeve above
all, and so near to it the outline stays: a short sleeve's end would be a tongue."""
_MARGIN = 0.75
"""The same: by how much further than the old outline."""
_ABOVE, _FADES = 0.08, 0.05
"""Heights of the view above a hem in which the outline is led less and less, or it is a bulge above
it; and of twice as much around cuffs and a neck: what is told there by a strip's width alone is
torn, and the strip beside a neck is a hood's."""
_NECK, _HEM, _CUFFS = (
    [LANDMARKS.index(name) for name in LANDMARKS if name.startswith(kind)]
    for kind in ("neck", "hem", "cuff")
)


def widened(
    flow: Tensor, old: Tensor, own: Tensor, here: Tensor, visible: Tensor, condition: Tensor,
    styling: Tensor, pixels: Tensor,
) -> Tensor:  # fmt: skip
    """The flow (N, 2, h, w), near the garment's outline drawn out to the old top's.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas; pixels: (1, 2, h, w) centres of the view's.
        old: (N, 1, h, w) in 0..1, the top that is replaced; own: (N, 1, 2h, 2w) in 0..1, the new
            one in its picture.
        here: (N, K, 2) landmarks on the person; visible: (N, K) whether the garment has them.
        condition: (N, 5); styling: (N, len(STYLING)): what is asked to be smaller stays as it is.
    """
    with torch.autocast(flow.device.type, enabled=False):
        h, w = int(flow.shape[2]), int(flow.shape[3])
        covered = (4 * warp(own, flow) - 1.5).clamp(0, 1)
        old = (4 * old.float() - 1.5).clamp(0, 1)
        strip = (old - covered).clamp(min=0)
        right, down = _slope(covered)
        edge = (right.square() + down.square() + 1e-8).sqrt()
        around = F.avg_pool2d(
            torch.cat([strip, edge, covered], 1), _AROUND, 1, _AROUND // 2, count_include_pad=False
        )
        area, length, depth = around.split(1, 1)
        gap = area / (length + 0.003)
        gap = gap * ((_NOT - gap) / (_NOT - _WHOLLY)).clamp(0, 1)
        broad = shrunk((2 * strip - 1).clamp(min=0), _BROAD)
        gap = gap * (1 - grown(broad, _NEAR)) * grown(shrunk(covered, _PART), 2 * _PART - 1)
        gap = gap * (1 - _ends(here, visible, pixels))
        gap = F.avg_pool2d(gap, 5, 1, 2, count_include_pad=False)
        by = (gap + _MARGIN * (2 * gap).clamp(0, 1)) * (2 - 2 * depth).clamp(0, 1)
        smaller = styling[:, list(STYLING).index("size")].float().clamp(-1, 0)
        top = condition[:, CATEGORIES.index("upper")].float() * (1 + smaller)
        right, down = _slope(depth)
        inwards = torch.cat([right, down], 1)
        inwards = inwards / (inwards.square().sum(1, keepdim=True) + 1e-5).sqrt()
        size = torch.tensor([w, h], device=flow.device)[:, None, None]
        return warp(flow, pixels + top[:, None, None, None] * by * inwards / size)


def _slope(image: Tensor) -> tuple[Tensor, Tensor]:
    """By how much (N, 1, h, w) rises from pixel to pixel, to the right and downwards."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return right / 2, down / 2


def _ends(here: Tensor, visible: Tensor, pixels: Tensor) -> Tensor:
    """Where a garment ends in its own way, float (N, 1, h, w) in 0..1: at its neckline, from above
    its hem on, at its cuffs.

    Args:
        here: (N, K, 2) landmarks on the person; visible: (N, K) whether the garment has them.
        pixels: (1, 2, h, w).
    """
    x, y = pixels[:, :1], pixels[:, 1:]
    neck, hem = here[:, _NECK].float(), here[:, _HEM].float()
    left, right = (at[:, None, None, None] for at in (neck[..., 0].amin(1), neck[..., 0].amax(1)))
    low = neck[..., 1].amax(1)[:, None, None, None]
    beside = torch.minimum(x - left, right - x) * ASPECT
    ends = (torch.minimum(beside, low - y) / 0.01).clamp(0, 1)
    hem = hem[..., 1].amin(1)[:, None, None, None]
    ends = torch.maximum(ends, ((y - hem) / _ABOVE + 1).clamp(0, 1))
    for mark in _NECK + _CUFFS:
        place = here[:, mark, :, None, None].float()
        away = ((x - place[:, :1]) * ASPECT).square() + (y - place[:, 1:]).square()
        near = (2 - away.sqrt() / _FADES).clamp(0, 1) * visible[:, mark, None, None, None].float()
        ends = torch.maximum(ends, near)
    return ends
