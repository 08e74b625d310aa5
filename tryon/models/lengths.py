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
from tryon.preprocess import LEFT_ELBOW, LEFT_WRIST, RIGHT_ELBOW, RIGHT_WRIST

_LEAST = 0.004
"""Heights of the view: what is less is the old end's own rim."""
_MARGIN = 0.008
"""The same: how much further than the old end the new one is led."""
_HEM, _SLEEVE = (0.055, 0.06), (0.065, 0.07)
"""The same: by as much ends are led wholly, and from where on not at all."""
_INNER = 0.15
"""Share of the hem's width, from either end, that isn't looked at: there arms hang."""
_SOME, _MOST = 0.7, 0.75
"""Share of its columns in which the old one must be seen below it, and wholly."""
_ABOVE = 0.04
"""Heights of the view above the hem's own landmarks from where on it is looked for."""
_EVEN = 0.3
"""How much its gap may differ from column to column, standard deviation in gaps."""
_SHORTEST = 0.5
"""Ways from armpit to armpit in its own picture that a top reaches below them, or it is cropped: it
shows a belly, and is to."""
_SHARE = 0.33
"""By how much of its length on a limb a sleeve is led on at most."""
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
_TRUNK = torch.tensor([[float(n.startswith("torso")) for n in PARTS]])
_JOINTS = [LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST]
_ENDS, _PITS, _ELBOWS, _CUFFS = (
    [LANDMARKS.index(f"{name}_{side}") for side in _SIDES]
    for name in ("hem", "armpit", "elbow", "cuff")
)


def lengthened(
    flow: Tensor, parts: Tensor, old: Tensor, own: Tensor, here: Tensor, there: Tensor,
    visible: Tensor, condition: Tensor, styling: Tensor, joints: Tensor, pixels: Tensor,
) -> Tensor:  # fmt: skip
    """The flow (N, 2, h, w), below the armpits and along the arms drawn out to the old ends.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas; pixels: (1, 2, h, w) centres of the view's.
        parts: (N, len(PARTS), h/4, w/4), how likely each pixel follows each part, up to a factor.
        old: (N, 1, h, w) in 0..1, the top that is replaced; own: (N, 1, 2h, 2w) in 0..1, the new
            one in its picture.
        here, there: (N, K, 2) landmarks on the person and in the garment's picture; visible: (N, K)
            whether the garment has them: without elbows its sleeves are short, without cuffs there
            are none.
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
        down = _hem(beyond, here, there, free * (1 - asked["tucked"].clamp(0, 1)), pixels)
        free = free * (1 - asked["rolled"].clamp(0, 1))
        every = torch.cat([_SLEEVES, _TRUNK, torch.ones(1, len(PARTS))])
        shares = constant(every.to(flow.device)) @ parts.float().flatten(2)
        shares = up2(up2((shares[:, :3] / shares[:, 3:]).reshape(-1, 3, *parts.shape[2:])))
        # An arm may be held before the trunk.
        beside = 1 - shares[:, 2:]
        shift, arm = _sleeves(old, beyond * beside, here, visible, free, joints, pixels)
        shares = torch.maximum(shares[:, :2], arm * beside)
        left, right = shares[:, :1] * shift[:, 0], shares[:, 1:] * shift[:, 1]
        aside, along = (left + right).split(1, 1)
        # Where both lead on, the further of the two.
        down = down - torch.minimum(down, along.clamp(min=0))
        return warp(flow, pixels - torch.cat([aside, along + down], 1))


def _more(gap: Tensor, limits: tuple[float, float]) -> Tensor:
    """By how much an end is led on that lies so far from the old one, in heights of the view."""
    wholly, most = limits
    some = ((gap - _LEAST) / _LEAST).clamp(0, 1) * ((most - gap) / (most - wholly)).clamp(0, 1)
    return some * (gap + _MARGIN)


def _hem(beyond: Tensor, here: Tensor, there: Tensor, free: Tensor, pixels: Tensor) -> Tensor:
    """How far below its source each pixel lies, (N, 1, h, w) in heights of the view.

    Args:
        beyond: (N, 1, h, w) in 0..1, the old top where the new one isn't.
        here, there: as of `lengthened`; free: (N,) in 0..1, whether the hem may be led down.
    """
    x, y = pixels[:, :1], pixels[:, 1:]
    ends, pits = here[:, _ENDS].float(), here[:, _PITS].float()
    columns = ends[..., 0]
    left, right = (at[:, None, None, None] for at in (columns.amin(1), columns.amax(1)))
    pit, hem = (mark[..., 1].mean(1)[:, None, None, None] for mark in (pits, ends))
    inside = torch.minimum(x - left, right - x)
    inner = (inside > _INNER * (right - left)).float()
    gaps = (inner * (y > hem - _ABOVE).float() * beyond).mean(2, keepdim=True)
    has = ((gaps - _LEAST) / _LEAST + 1).clamp(0, 1)
    seen = has.mean(3, keepdim=True)
    some = seen / (inner.mean((2, 3), keepdim=True) + 1e-3)
    gap = (gaps * has).mean(3, keepdim=True) / (seen + 1e-3)
    # Who leans has a slanted hem.
    middle = (x * has).mean(3, keepdim=True) / (seen + 1e-3)
    aside = has * (x - middle)
    slant = (aside * (gaps - gap)).mean(3, keepdim=True)
    slant = slant / ((aside * aside).mean(3, keepdim=True) + 1e-4)
    rest = gaps - gap - slant * (x - middle)
    spread = (rest.square() * has).mean(3, keepdim=True) / (seen + 1e-3)
    even = (3 - 2 * spread.sqrt() / (_EVEN * gap + _LEAST)).clamp(0, 1)
    flat = there[:, _ENDS + _PITS].float()
    length = flat[:, :2, 1].mean(1) - flat[:, 2:, 1].mean(1)
    wide = (flat[:, 2, 0] - flat[:, 3, 0]).abs() * ASPECT
    whole = ((length - _SHORTEST * wide) / (0.1 * wide + 1e-3)).clamp(0, 1)
    more = (free * whole)[:, None, None, None] * even * _more(gap, _HEM)
    more = more * (1 + slant * (x - middle) / (gap + _MARGIN)).clamp(0, 2)
    more = more * ((some - _SOME) / (_MOST - _SOME)).clamp(0, 1)
    more = more * (1 + inside / _BESIDE).clamp(0, 1)
    return more * ((y - pit) / ((hem - pit).clamp(min=0.05) + more)).clamp(0, 1).square()


def _sleeves(
    old: Tensor, beyond: Tensor, here: Tensor, visible: Tensor, free: Tensor, joints: Tensor,
    pixels: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Of the left and the right sleeve, how far from its source each pixel lies (N, 2, 2, h, w), in
    0..1 of the view, and where it is the sleeve's in any case (N, 2, h, w)."""
    unit = torch.tensor([ASPECT, 1.0], device=joints.device)
    elbows, cuffs = (visible[:, marks].float() for marks in (_ELBOWS, _CUFFS))
    # The upper arm's end is a short sleeve's, the lower arm's a long one's.
    long = (4 * elbows - 1.5).clamp(0, 1)
    every = limbs(joints)
    start, way, across = (part[:, :2] + (long[..., None] > 0.5) * (part[:, 2:] - part[:, :2])
                          for part in every)  # fmt: skip
    square = way.square().sum(2).clamp(min=1e-4)
    size = square.sqrt()
    steps = torch.linspace(_FROM, _TO, _STEPS, device=joints.device)
    aside = torch.tensor([-_ACROSS, 0.0, _ACROSS], device=joints.device)
    both = torch.cat([beyond, old], 1)
    bare, worn = read_across(both, start, way, across, steps, aside).mean(4).unbind(1)
    # One that isn't there above, and one that goes on, don't end there: nor past an elbow.
    begins = (4 * worn[:, :, :_FIRST].mean(2) - 2).clamp(0, 1)
    ends = (2 - 4 * bare[:, :, -_LAST:].mean(2)).clamp(0, 1)
    begin, on, off = (part[:, 2:] for part in every)
    lower = read_across(old, begin, on, off, steps[:_FIRST], aside).mean((1, 3, 4))
    ends = ends * (1 - (4 * lower - 1).clamp(0, 1) * (1 - long))
    # Who isn't seen has no arms there.
    sure = (2 * joints[:, _JOINTS, 3].float()).clamp(0, 1).reshape(-1, 2, 2).amin(1)
    more = _more(bare.mean(2) * (_TO - _FROM) * size, _SLEEVE) * begins * ends * sure
    more = more * (4 * cuffs - 3).clamp(min=0) * free[:, None]
    cuff = ((here[:, _CUFFS].float() * unit - start) * way).sum(2) / square
    cuff = cuff.clamp(min=0.3)
    by = torch.minimum(more / size, _SHARE * cuff)[..., None, None]
    end = cuff[..., None, None] + by
    place = (pixels * unit[:, None, None])[:, None] - start[..., None, None]
    along = (place * way[..., None, None]).sum(2) / square[..., None, None]
    off = (place * across[..., None, None]).sum(2) / square[..., None, None]
    led = by * (along / end).clamp(0, 1).square() * (1 - (along - end) / _AFTER).clamp(0, 1)
    shift = led[:, :, None] * (way / unit)[..., None, None]
    return shift, ((_ARM - off.abs()) / 0.04).clamp(0, 1)
