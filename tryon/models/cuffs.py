"""Straight cuffs: near a long sleeve's end the flow is made affine, as the sleeve's cloth lies.

Between a sleeve and the trunk beside it the flow goes over from one part's transform to the
other's within a few pixels, and in the garment's own picture there is ground between them: the
corner of a cuff that hangs beside a hem is drawn into a tongue. Along the arm's own line the flow
is right; an affine map without shear, fitted to it there by weighted least squares in closed form,
ends the sleeve as straight as it ends in the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.contract import LANDMARKS
from tryon.models.blocks import constant, up2
from tryon.models.geometry import ASPECT, PARTS, along_and_aside, inverse

_FITTED = (0.85, 0.18, 0.16)
"""Where on the way from elbow to cuff the flow is fitted, and how far from there along and aside:
standard deviations, in lengths of that way, as is all below."""
_FROM, _WHOLE, _END = 0.55, 0.8, 1.25
"""From where on the map is taken, and wholly, and as far as where."""
_ARM, _WIDE = 0.2, 0.34
"""How far aside that is an arm in any case, and at most."""
_LEAST = 3.0
"""Pixels that the map is fitted to, at least; none is taken of one less."""
_SIDES = ("left", "right")
_SLEEVES = torch.tensor(
    [[float(n.startswith("sleeve") and n.endswith(s)) for n in PARTS] for s in _SIDES]
)


def straightened(
    flow: Tensor, parts: Tensor, arms: Tensor, marks: Tensor, visible: Tensor, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """The flow with straight cuffs, float32 (N, 2, h, w), and where the left and the right long
    sleeve hide forearms that hang beside the trunk, covered or not, float32 (N, 2, h, w) in 0..1.

    Args:
        flow: (N, 2, h, w) in 0..1 of the canvas; pixels: (1, 2, h, w) centres of the view's.
        parts: (N, len(PARTS), h/4, w/4), how likely each pixel follows each part, up to a factor.
        arms: (N, 2, h, w) how likely each pixel is the left, and the right, bare arm.
        marks: (N, K, 2) landmarks on the person, in 0..1 of the view; visible: (N, K) whether the
            garment has them: without elbows its sleeves are short, and stay as they are.
    """
    h, w = int(flow.shape[2]), int(flow.shape[3])
    with torch.autocast(flow.device.type, enabled=False):  # bfloat16 loses pixels
        elbows, cuffs = (
            [LANDMARKS.index(f"{name}_{side}") for side in _SIDES] for name in ("elbow", "cuff")
        )
        long = (4 * visible[:, elbows].float() * visible[:, cuffs].float() - 3).clamp(min=0)
        along, aside = along_and_aside(marks[:, elbows].float(), marks[:, cuffs].float(), pixels)
        every = constant(torch.cat([_SLEEVES, torch.ones(1, len(PARTS))]).to(flow.device))
        shares = every @ parts.float().flatten(2)
        shares = (shares[:, :2] / shares[:, 2:]).reshape(-1, 2, *parts.shape[2:])
        shares = up2(up2(shares))
        middle, far, near = _FITTED
        weight = -0.5 * (((along - middle) / far).square() + (aside / near).square())
        weight = (weight.exp() * (along < 1).float() * shares.square()).flatten(2)[:, :, None]
        count = weight.sum(3, keepdim=True)
        weight = weight / (count + 1e-6)
        # From here on a left and a right sleeve each: (N, 2, 2, h * w).
        unit = torch.tensor([[ASPECT], [1.0]], device=flow.device)
        here = (pixels.float().flatten(2) * unit)[:, None]
        there = (flow.float().flatten(2) * unit)[:, None]
        mean_here = (weight * here).sum(3, keepdim=True)
        mean_there = (weight * there).sum(3, keepdim=True)
        here, there = here - mean_here, there - mean_there
        moved = (here * weight).transpose(2, 3)
        matrix = there @ moved @ inverse(here @ moved + 1e-7 * torch.eye(2, device=flow.device))
        # Across the arm is across the sleeve in its picture, too, or cuffs end aslant.
        arm = (marks[:, cuffs] - marks[:, elbows]).float()[..., None] * unit
        arm = arm / (arm.square().sum(2, keepdim=True) + 1e-6).sqrt()
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], device=flow.device)
        sleeve, across = matrix @ arm, turn @ arm
        beside = turn @ sleeve / (sleeve.square().sum(2, keepdim=True) + 1e-6).sqrt()
        wide = (beside * (matrix @ across)).sum(2, keepdim=True)
        matrix = sleeve @ arm.transpose(2, 3) + wide * beside @ across.transpose(2, 3)
        fitted = (matrix @ here + mean_there) / unit
        inside = torch.maximum((4 * shares - 1.4).clamp(0, 1), (4 * arms.float() - 1).clamp(0, 1))
        inside = torch.maximum(inside, ((_ARM - aside.abs()) / 0.04).clamp(0, 1))
        inside = inside * ((_WIDE - aside.abs()) / 0.05).clamp(0, 1)
        inside = inside * ((along - _FROM) / (_WHOLE - _FROM)).clamp(0, 1)
        inside = inside * ((_END - along) / 0.06).clamp(0, 1)
        share = long * (count[:, :, 0, 0] - _LEAST + 1).clamp(0, 1)
        inside = inside * share[:, :, None, None]
        for side in range(2):
            own = fitted[:, side].reshape(-1, 2, h, w)
            flow = flow + inside[:, side : side + 1] * (own - flow)
        hidden = ((1 - along) / 0.06).clamp(0, 1) * (along / 0.1).clamp(0, 1)
        hidden = hidden * ((_WIDE - aside.abs()) / 0.05).clamp(0, 1)
        # A forearm before the trunk is as likely one that is seen.
        pits = [LANDMARKS.index(f"armpit_{side}") for side in _SIDES]
        trunk = marks[:, pits, 0].float()
        forearm = (marks[:, elbows, 0] + marks[:, cuffs, 0]).float() / 2
        left, right = trunk.amin(1, keepdim=True), trunk.amax(1, keepdim=True)
        hangs = (torch.maximum(forearm - right, left - forearm) / 0.02).clamp(0, 1)
        hidden = hidden * (share * hangs)[:, :, None, None]
        return flow, hidden
