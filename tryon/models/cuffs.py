"""Straight cuffs: near a sleeve's end the flow is made affine, as the sleeve's cloth lies.

Between a sleeve and the trunk beside it the flow goes over from one part's transform to the
other's within a few pixels, and in the garment's own picture there is ground between them: the
corner of a cuff that hangs beside a hem is drawn into a tongue, the end of a short sleeve into a
wave. Along the arm's own line the flow is right; an affine map, fitted to it there by weighted
least squares in closed form, ends the sleeve as straight as it ends in the picture, across the arm.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.contract import LANDMARKS
from tryon.models.blocks import constant, up2
from tryon.models.geometry import ASPECT, PARTS, along_and_aside, inverse
from tryon.models.limbs import limbs


class _Reach(NamedTuple):
    """Where a sleeve's map is fitted and taken, in lengths of the way to its cuff.

    middle: where on that way it is fitted; far, near: how far from there along and aside, standard
    deviations; begin, whole, end: from where on it is taken, and wholly, and as far as where;
    inner: how far aside towards the trunk; wide: and to either side.
    """

    middle: Tensor | float
    far: Tensor | float
    near: Tensor | float
    begin: Tensor | float
    whole: Tensor | float
    end: Tensor | float
    inner: Tensor | float
    wide: Tensor | float


_LONG = _Reach(0.85, 0.18, 0.16, 0.55, 0.8, 1.25, 1.0, 0.34)
"""On the way from elbow to cuff."""
_SHORT = _Reach(0.75, 0.25, 0.3, 0.5, 0.75, 1.15, 0.12, 0.6)
"""On the way from shoulder to cuff: as long as it is wide."""
_ARM = 0.2
"""How far aside of a long sleeve's line it is an arm in any case."""
_LEAST = 3.0
"""Pixels that the map is fitted to, at least; none is taken of one less."""
_AROUND = 0.3
"""Where a short sleeve's end is looked for around its cuff in the garment's picture: standard
deviation, in lengths of the way to it."""
_SIDES = ("left", "right")
_SLEEVES = torch.tensor(
    [[float(n.startswith("sleeve") and n.endswith(s)) for n in PARTS] for s in _SIDES]
)
_SHOULDERS, _ELBOWS, _CUFFS, _PITS = (
    [LANDMARKS.index(f"{name}_{side}") for side in _SIDES]
    for name in ("shoulder", "elbow", "cuff", "armpit")
)


def straightened(
    flow: Tensor, parts: Tensor, arms: Tensor, here: Tensor, there: Tensor, visible: Tensor,
    own: Tensor, joints: Tensor, pixels: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The flow with straight cuffs, float32 (N, 2, h, w), and where the left and the right long
    sleeve hide forearms that hang beside the trunk, covered or not, float32 (N, 2, h, w) in 0..1.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas; pixels: (1, 2, h, w) centres of the view's.
        parts: (N, len(PARTS), h/4, w/4), how likely each pixel follows each part, up to a factor.
        arms: (N, 2, h, w) how likely each pixel is the left, and the right, bare arm.
        here, there: (N, K, 2) landmarks on the person and in the garment's picture, in 0..1 of the
            view and of the canvas; visible: (N, K) whether the garment has them: without elbows its
            sleeves are short, without cuffs there are none.
        own: (N, 1, 2h, 2w) in 0..1, the garment in its picture.
        joints: (N, 39, 5) of `Pose`, in 0..1 of the square view.
    """
    h, w = int(flow.shape[2]), int(flow.shape[3])
    with torch.autocast(flow.device.type, enabled=False):  # bfloat16 loses pixels
        here, there, visible = here.float(), there.float(), visible.float()
        shoulders, elbows, cuffs = (visible[:, at] for at in (_SHOULDERS, _ELBOWS, _CUFFS))
        long = (4 * elbows * cuffs - 3).clamp(min=0)
        short = (1 - 4 * elbows).clamp(min=0) * (4 * shoulders * cuffs - 3).clamp(min=0)
        reach = _Reach(*(
            (one + short * (other - one))[..., None, None]
            for one, other in zip(_LONG, _SHORT, strict=True)
        ))  # fmt: skip
        start = here[:, _ELBOWS] + short[..., None] * (here[:, _SHOULDERS] - here[:, _ELBOWS])
        along, aside = along_and_aside(start, here[:, _CUFFS], pixels)
        every = constant(torch.cat([_SLEEVES, torch.ones(1, len(PARTS))]).to(flow.device))
        shares = every @ parts.float().flatten(2)
        shares = (shares[:, :2] / shares[:, 2:]).reshape(-1, 2, *parts.shape[2:])
        shares = up2(up2(shares))
        weight = ((along - reach.middle) / reach.far).square() + (aside / reach.near).square()
        weight = ((-0.5 * weight).exp() * (along < 1).float() * shares.square()).flatten(2)
        weight = weight[:, :, None]
        count = weight.sum(3, keepdim=True)
        weight = weight / (count + 1e-6)
        # From here on a left and a right sleeve each: (N, 2, 2, h * w).
        unit = torch.tensor([[ASPECT], [1.0]], device=flow.device)
        grid = (pixels.float().flatten(2) * unit)[:, None]
        found = (flow.float().flatten(2) * unit)[:, None]
        mean_grid = (weight * grid).sum(3, keepdim=True)
        mean_found = (weight * found).sum(3, keepdim=True)
        moved = ((grid - mean_grid) * weight).transpose(2, 3)
        matrix = (found - mean_found) @ moved
        matrix = matrix @ inverse((grid - mean_grid) @ moved + 1e-7 * torch.eye(2).to(flow))
        # What lies across the arm is the sleeve's end, and in its picture, too: across a long
        # sleeve there; a short one is cut aslant, and its landmark at the shoulder is no joint.
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], device=flow.device)
        is_short = short[..., None, None]
        arm = _unit((here[:, _CUFFS] - start)[..., None] * unit)
        arm = arm + is_short * (_unit(limbs(joints)[1][:, :2, :, None]) - arm)
        sleeve, across = matrix @ arm, turn @ arm
        beside = turn @ _unit(sleeve)
        edge = _end(own, there, pixels, unit, turn)
        edge = edge * ((edge * beside).sum(2, keepdim=True) >= 0).float().mul(2).sub(1)
        beside = beside + is_short * (edge - beside)
        wide = (beside * (matrix @ across)).sum(2, keepdim=True)
        matrix = sleeve @ arm.transpose(2, 3) + wide * beside @ across.transpose(2, 3)
        fitted = (matrix @ (grid - mean_grid) + mean_found) / unit
        # Beside a short sleeve the trunk goes on below its end, by the same arm.
        armed = torch.maximum(4 * arms.float() - 1, (_ARM - aside.abs()) / 0.04).clamp(0, 1)
        inside = torch.maximum((4 * shares - 1.4).clamp(0, 1), armed * (1 - is_short))
        outer = aside * torch.tensor([1.0, -1.0], device=flow.device)[:, None, None]
        inside = inside * ((outer + reach.inner) / 0.15).clamp(0, 1)
        within = ((reach.wide - aside.abs()) / 0.05).clamp(0, 1)
        inside = inside * within
        inside = inside * ((along - reach.begin) / (reach.whole - reach.begin)).clamp(0, 1)
        inside = inside * ((reach.end - along) / 0.06).clamp(0, 1)
        enough = (count[:, :, 0, 0] - _LEAST + 1).clamp(0, 1)
        inside = inside * ((long + short) * enough)[:, :, None, None]
        for side in range(2):
            straight = fitted[:, side].reshape(-1, 2, h, w)
            flow = flow + inside[:, side : side + 1] * (straight - flow)
        hidden = within * ((1 - along) / 0.06).clamp(0, 1) * (along / 0.1).clamp(0, 1)
        # A forearm before the trunk is as likely one that is seen.
        trunk = here[:, _PITS, 0]
        forearm = (start + here[:, _CUFFS])[..., 0] / 2
        left, right = trunk.amin(1, keepdim=True), trunk.amax(1, keepdim=True)
        hangs = (torch.maximum(forearm - right, left - forearm) / 0.02).clamp(0, 1)
        return flow, hidden * (long * enough * hangs)[:, :, None, None]


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (N, 2, 2, 1) of length 1, or 0."""
    return vectors / (vectors.square().sum(2, keepdim=True) + 1e-6).sqrt()


def _end(own: Tensor, there: Tensor, pixels: Tensor, unit: Tensor, turn: Tensor) -> Tensor:
    """Which way the edge of each short sleeve's end lies in the garment's picture: (N, 2, 2, 1).

    The outline's gradients around a cuff add up to one across its end: those of the sleeve's two
    sides are each other's opposite.
    """
    small = F.avg_pool2d(own.float(), 4)
    right = F.pad(small[:, :, :, 2:] - small[:, :, :, :-2], (1, 1))
    down = F.pad(small[:, :, 2:] - small[:, :, :-2], (0, 0, 1, 1))
    gradient = torch.cat([right, down], 1).flatten(2)[:, None]
    cuff = there[:, _CUFFS, :, None] * unit
    size = (cuff - there[:, _SHOULDERS, :, None] * unit).square().sum(2, keepdim=True)
    grid = F.avg_pool2d(pixels.float(), 2).flatten(2)[:, None] * unit
    away = (grid - cuff).square().sum(2, keepdim=True)
    near = (-0.5 * away / (_AROUND**2 * size + 1e-4)).exp()
    return turn @ _unit((near * gradient).sum(3, keepdim=True))
