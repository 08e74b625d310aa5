"""Zones of the body that decide what is seen where a top begins and ends."""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import grown, shrunk
from tryon.models.geometry import ASPECT
from tryon.models.limbs import in_view
from tryon.preprocess import LEFT_MOUTH, LEFT_SHOULDER, NOSE, RIGHT_MOUTH, RIGHT_SHOULDER

_CHIN = 2.0
"""Where the chin surely has ended, in ways from nose to mouth below the mouth."""
_RIM = 0.2
"""How far into its hole a neckline reaches, in depths of it: landmarks are off by as much."""

_BRIGHT, _WIDE, _RAMP = 0.15, 1.5, 0.1
"""By how much luma is over a face's, in itself and in standard deviations of that, where a pale
collar begins, and how soon it surely is one."""
_SHOULDER = 0.05
"""How far below the shoulders' joints, in heights of the view, a throat may end."""
_BESIDE = 7
"""Pixels of half the size across: how near to the old garment its collar's rests are."""


def waist_and_hem(landmarks: Tensor, condition: Tensor, pixels: Tensor) -> Tensor:
    """Where a top's own end is, float (N, 2, h, w) in 0..1, from above its hem on down: as wide as
    its armpits are apart, where the body is, and as its hem may be, where walls are, too; nowhere
    for what is cropped or no top.

    Args:
        landmarks: (N, K, 2) on the person; condition: (N, 5); pixels: (1, 2, h, w).
    """
    names = ("armpit_left", "armpit_right", "hem_left", "hem_right")
    one, other, low, lower = (landmarks[:, LANDMARKS.index(name)] for name in names)
    body, ends = torch.stack([one, other], 1)[..., 0], torch.stack([low, lower], 1)[..., 0]
    every = torch.cat([body, ends], 1)
    left = torch.stack([body.amin(1), every.amin(1)], 1)[..., None, None]
    right = torch.stack([body.amax(1), every.amax(1)], 1)[..., None, None]
    armpits, hem = (one + other)[:, 1, None, None] / 2, (low + lower)[:, 1, None, None] / 2
    x, y = pixels[:, :1], pixels[:, 1]
    within = (torch.minimum(x - left, right - x) / 0.02).clamp(0, 1)
    below = ((y - armpits - 0.6 * (hem - armpits)) / 0.02).clamp(0, 1)
    top = condition[:, CATEGORIES.index("upper"), None, None].float()
    # A cropped top shows a belly, and is to.
    wide = (one - other)[:, 0, None, None].abs() * NET_WIDTH
    whole = (4 * (hem - armpits) * NET_HEIGHT / (wide + 1e-3) - 3).clamp(0, 1)
    return within * (below * top * whole)[:, None]


def neckline(joints: Tensor, landmarks: Tensor, condition: Tensor, pixels: Tensor) -> Tensor:
    """Around a garment's neck, below the chin: float (N, 1, h, w) in 0..1, 0 within its hole, where
    its inside is seen in its own picture; nowhere for trousers and skirts, which have none.

    Args:
        joints: (N, 39, 5) of `Pose`, in 0..1 of the square view.
        landmarks: (N, K, 2) on the person; condition: (N, 5); pixels: (1, 2, h, w).
    """
    below = below_chin(joints, pixels)
    names = [LANDMARKS.index(f"neck_{side}") for side in ("left", "right", "front")]
    ends, front = landmarks[:, names[:2]], landmarks[:, names[2], 1][:, None, None, None]
    left, right = (x[:, None, None, None] for x in (ends[..., 0].amin(1), ends[..., 0].amax(1)))
    x, y = pixels[:, :1], pixels[:, 1:]
    beside = torch.minimum(x - left, right - x)
    within = ((beside + 0.05) / 0.03).clamp(0, 1) * ((front + 0.06 - y) / 0.03).clamp(0, 1)
    # The hole itself is a parabola through its three ends.
    aside = (2 * x - left - right) / (right - left + 0.02)
    deep = front - ends[..., 1].mean(1)[:, None, None, None]
    above = (front - y) / deep.clamp(min=0.02)
    within = within * ((aside.square() + _RIM - above) / _RIM).clamp(0, 1)
    has_neck = 1 - condition[:, CATEGORIES.index("lower"), None, None, None].float()
    return has_neck * within * below


def below_chin(joints: Tensor, pixels: Tensor) -> Tensor:
    """Below the chin, however the head is held: float (N, 1, h, w) in 0..1.

    Args:
        joints: (N, 39, 5) of `Pose`, in 0..1 of the square view; pixels: (1, 2, h, w).
    """
    unit = torch.tensor([ASPECT, 1.0], device=joints.device)
    nose, left, right = in_view(joints)[:, [NOSE, LEFT_MOUTH, RIGHT_MOUTH]].unbind(1)
    mouth = (left + right) / 2
    down = (mouth - nose) / ((mouth - nose).square().sum(1, keepdim=True) + 1e-6)
    place = pixels * unit[:, None, None] - mouth[:, :, None, None]
    below = (place * down[:, :, None, None]).sum(1, keepdim=True)
    return ((below - _CHIN) / 0.5).clamp(0, 1)


def throat(joints: Tensor, condition: Tensor, pixels: Tensor) -> Tensor:
    """Between chin and shoulders, where a top or a dress is replaced: (N, 1, h, w) in 0..1.

    Args:
        joints: (N, 39, 5) of `Pose`; condition: (N, 5); pixels: (1, 2, h, w).
    """
    lower = in_view(joints)[:, [LEFT_SHOULDER, RIGHT_SHOULDER], 1].amax(1)[:, None, None, None]
    above = ((lower + _SHOULDER - pixels[:, 1:]) / 0.02).clamp(0, 1)
    has_neck = 1 - condition[:, CATEGORIES.index("lower"), None, None, None].float()
    return has_neck * above * below_chin(joints, pixels)


def collar_scraps(luma: Tensor, face: Tensor, old: Tensor, below: Tensor) -> Tensor:
    """What is taken for a neck and is a rest of the old collar: float (N, 1, h, w) in 0..1.

    It is beside the old garment, at the throat, and either brighter than all the face (cream
    collars) or a sliver, with no neck behind it (hoods).

    Args:
        luma: (N, 1, h, w) in 0..1; face, old: the same, how likely each pixel is face or neck, and
            how surely what is replaced; below: of `throat`.
    """
    surely = (4 * face - 3).clamp(0, 1)
    inner = shrunk(surely, 3)
    sums = (torch.cat([inner, luma * inner, luma * luma * inner], 1) + 1e-6).mean(
        (2, 3), keepdim=True
    )  # fmt: skip
    mass, level, square = sums.split(1, 1)
    level = level / mass
    spread_of = (square / mass - level * level).clamp(min=1e-6).sqrt()
    over = luma - level - (_WIDE * spread_of).clamp(min=_BRIGHT)
    bright = (over / _RAMP).clamp(0, 1)
    # A neck's own soft edge is within a pixel of it.
    sliver = (2 * (face - grown(inner, 5)) - 1).clamp(min=0)
    near = grown((4 * old - 2).clamp(0, 1), _BESIDE)
    return near * below * torch.maximum(bright * ((face - 0.45) / 0.3).clamp(0, 1), sliver)
