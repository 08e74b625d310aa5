"""Hems and sleeves as long as the old top's, if they would end just above where it did.

How long a top is on somebody is a guess to a few percent of the view: its picture has no scale.
Where the old one's end lies within that, the new one's as likely lies there, too, and nothing of
what was beneath, which nobody has seen, needs to be painted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.contract import CATEGORIES, LANDMARKS, STYLING
from tryon.models.blocks import constant, up2, warp
from tryon.models.geometry import ASPECT, PARTS
from tryon.models.limbs import limbs, read_across

_LEAST = 0.004
"""Heights of the view: what is less is the old end's own rim."""
_MARGIN = 0.008
"""The same: how much further than the old end the new one is led."""
_HEM, _SLEEVE = (0.05, 0.07), (0.06, 0.08)
"""The same: by as much ends are led wholly, and from where on not at all."""
_INNER = 0.15
"""Share of the hem's width, from either end, that isn't looked at: there arms hang."""
_SOME, _MOST = 0.7, 0.9
"""Share of its columns in which the old one must be seen below it, and wholly."""
_BESIDE = 0.04
"""Widths of the view beside the hem's ends in which it is led down less and less."""
_STEPS, _FIRST, _LAST = 28, 8, 4
"""Places along a limb that are looked at; so many show that there is an old sleeve, and that it
ends."""
_FROM, _TO = 0.3, 1.35
"""From where to where they lie, in lengths of the limb."""
_AFTER = 0.3
"""The same: beyond a sleeve's end the flow is led on less and less."""
_ACROSS = 0.06
"""How far to either side of it they are looked at."""
_ARM = 0.2
"""How far aside of the limb's line it is the sleeve's in any case."""
_SIDES = ("left", "right")
_SLEEVES = torch.tensor(
    [[float(n.startswith("sleeve") and n.endswith(side)) for n in PARTS] for side in _SIDES]
)
_ENDS, _PITS, _ELBOWS, _CUFFS = (
    [LANDMARKS.index(f"{name}_{side}") for side in _SIDES]
    for name in ("hem", "armpit", "elbow", "cuff")
)


def lengthened(
    flow: Tensor, parts: Tensor, old: Tensor, own: Tensor, here: Tensor, visible: Tensor,
    condition: Tensor, styling: Tensor, joints: Tensor, pixels: Tensor,
) -> Tensor:  # fmt: skip
    """The flow (N, 2, h, w), below the armpits and along the arms drawn out to the old ends.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas; pixels: (1, 2, h, w) centres of the view's.
        parts: (N, len(PARTS), h/4, w/4), how likely each pixel follows each part, up to a factor.
        old: (N, 1, h, w) in 0..1, the top that is replaced; own: (N, 1, 2h, 2w) in 0..1, the new
            one in its picture.
        here: (N, K, 2) landmarks on the person; visible: (N, K) whether the garment has them:
            without elbows its sleeves are short, without cuffs there are none.
        condition: (N, 5); styling: (N, len(STYLING)): what is asked to be smaller, tucked in or
            rolled up stays as it is.
        joints: (N, 39, 5) of `Pose`, in 0..1 of the square view.
    """
    with torch.autocast(flow.device.type, enabled=False):  # bfloat16 loses pixels
        old = (4 * old.float() - 1.5).clamp(0, 1)
        beyond = old * (1.5 - 4 * warp(own, flow)).clamp(0, 1)
        asked = dict(zip(STYLING, styling.float().unbind(1), strict=True))
        top = condition[:, CATEGORIES.index("upper")].float()
        free = top * (1 + asked["size"].clamp(max=0)).clamp(min=0)
        down = _hem(beyond, here, free * (1 - asked["tucked"].abs()), pixels)
        free = free * (1 - asked["rolled"].clamp(0, 1))
        shift, arm = _sleeves(old, beyond, here, visible, free, joints, pixels)
        every = constant(torch.cat([_SLEEVES, torch.ones(1, len(PARTS))]).to(flow.device))
        shares = every @ parts.float().flatten(2)
        shares = (shares[:, :2] / shares[:, 2:]).reshape(-1, 2, *parts.shape[2:])
        shares = torch.maximum(up2(up2(shares)), arm)
        moved = torch.cat([torch.zeros_like(down), down], 1)
        for side in range(2):
            moved = moved + shares[:, side : side + 1] * shift[:, side]
        return warp(flow, pixels - moved)


def _more(gap: Tensor, limits: tuple[float, float]) -> Tensor:
    """By how much an end is led on that lies so far from the old one, in heights of the view."""
    wholly, most = limits
    some = ((gap - _LEAST) / _LEAST).clamp(0, 1) * ((most - gap) / (most - wholly)).clamp(0, 1)
    return some * (gap + _MARGIN)


def _hem(beyond: Tensor, here: Tensor, free: Tensor, pixels: Tensor) -> Tensor:
    """How far below its source each pixel lies, (N, 1, h, w) in heights of the view.

    Args:
        beyond: (N, 1, h, w) in 0..1, the old top where the new one isn't.
        free: (N,) in 0..1, whether the hem may be led down.
    """
    x, y = pixels[:, :1], pixels[:, 1:]
    ends, pits = here[:, _ENDS].float(), here[:, _PITS].float()
    columns = ends[..., 0]
    left, right = (at[:, None, None, None] for at in (columns.amin(1), columns.amax(1)))
    pit, hem = (mark[..., 1].mean(1)[:, None, None, None] for mark in (pits, ends))
    wide = right - left
    inside = torch.minimum(x - left, right - x)
    inner = (inside > _INNER * wide).float()
    some = inner.mean((2, 3), keepdim=True) + 1e-3
    gaps = (inner * (y > (pit + hem) / 2).float() * beyond).mean(2, keepdim=True)
    gap = gaps.mean(3, keepdim=True) / some
    seen = (gaps > _LEAST).float().mean(3, keepdim=True) / some
    length = (hem - pit).clamp(min=0.05)
    # A cropped top shows a belly, and is to.
    whole = (length > 0.6 * ASPECT * wide).float()
    more = free[:, None, None, None] * whole * ((seen - _SOME) / (_MOST - _SOME)).clamp(0, 1)
    more = more * _more(gap, _HEM) * (1 + inside / _BESIDE).clamp(0, 1)
    return more * ((y - pit) / (length + more)).clamp(0, 1).square()


def _sleeves(
    old: Tensor, beyond: Tensor, here: Tensor, visible: Tensor, free: Tensor, joints: Tensor,
    pixels: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Of the left and the right sleeve, how far from its source each pixel lies (N, 2, 2, h, w), in
    0..1 of the view, and where it is the sleeve's in any case (N, 2, h, w)."""
    unit = torch.tensor([ASPECT, 1.0], device=joints.device)
    elbows, cuffs = (visible[:, marks].float() for marks in (_ELBOWS, _CUFFS))
    # The upper arm's end of a short sleeve, the lower arm's of a long one.
    long = (elbows > 0.5).float()[..., None]
    start, way, across = (
        upper + long * (lower - upper)
        for upper, lower in (part.split(2, 1) for part in limbs(joints))
    )
    square = way.square().sum(2).clamp(min=1e-4)
    size = square.sqrt()
    steps = torch.linspace(_FROM, _TO, _STEPS, device=joints.device)
    aside = torch.tensor([-_ACROSS, 0.0, _ACROSS], device=joints.device)
    both = torch.cat([beyond, old], 1)
    bare, worn = read_across(both, start, way, across, steps, aside).mean(4).unbind(1)
    # One that isn't there above, and one that goes on, don't end there.
    begins = (4 * worn[:, :, :_FIRST].mean(2) - 3).clamp(min=0)
    ends = (1 - 2 * bare[:, :, -_LAST:].mean(2)).clamp(0, 1)
    more = _more(bare.mean(2) * (_TO - _FROM) * size, _SLEEVE)
    more = more * begins * ends * (4 * cuffs - 3).clamp(min=0) * free[:, None]
    by = (more / size)[..., None, None]
    cuff = ((here[:, _CUFFS].float() * unit - start) * way).sum(2) / square
    end = cuff.clamp(min=0.3)[..., None, None] + by
    place = (pixels * unit[:, None, None])[:, None] - start[..., None, None]
    along = (place * way[..., None, None]).sum(2) / square[..., None, None]
    off = (place * across[..., None, None]).sum(2) / square[..., None, None]
    led = by * (along / end).clamp(0, 1).square() * (1 - (along - end) / _AFTER).clamp(0, 1)
    shift = led[:, :, None] * (way / unit)[..., None, None]
    return shift, ((_ARM - off.abs()) / 0.04).clamp(0, 1)
