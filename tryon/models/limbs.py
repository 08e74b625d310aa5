"""Bare arms that nobody has seen: the light and relief of real ones, on those that are painted.

A painter that learns of rendered people paints arms as smooth as theirs. Told how far along an arm
and across it each of its pixels lies, it is told how much lighter or darker than the whole a real
arm is there: round, its elbow creased, nowhere even. `training.relief` has looked at real ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import up2, warp
from tryon.models.geometry import ASPECT
from tryon.preprocess import (
    LEFT_ELBOW,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ELBOW,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

ROWS, COLUMNS = 96, 24
"""Of one arm's relief: from shoulder to wrist, as much of it above the elbow as below, and from the
inner side to the outer one."""
_PLACES, _BINS = 24, 32
"""Where along a limb is read how wide it is, and steps of a reading."""
_ASIDE = 0.4
"""How far to each side it is read, in lengths of the longest limb, as is all below."""
_WIDEST = (0.26, 0.2)
"""How far aside of their line arms reach at most: as far as below the elbow, and at the wrist."""
_SOFT = 0.1
"""Over how much the upper arm becomes the lower one."""
_LEAST, _WHOLE = 0.35, 0.5
"""A limb that seems shorter points at the camera, and looks otherwise: from here on, and wholly."""


def in_view(joints: Tensor) -> Tensor:
    """Joints (N, 39, 5) of `Pose`, in 0..1 of the square view, as places (N, 39, 2) in heights of
    the generator's view, from its own left."""
    margin = torch.tensor([(NET_HEIGHT - NET_WIDTH) / 2 / NET_HEIGHT, 0.0], device=joints.device)
    return joints[:, :, :2].float() - margin


def limbs(joints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The left and the right upper arm, then both lower ones: float (N, 4, 2) each, as `in_view`.

    Args:
        joints: (N, 39, 5) of `Pose`.

    Returns:
        Where they start, the way to where they end, and as far across, away from the trunk.
    """
    marks = in_view(joints)
    elbows = [LEFT_ELBOW, RIGHT_ELBOW]
    start = marks[:, [LEFT_SHOULDER, RIGHT_SHOULDER, *elbows]]
    along = marks[:, [*elbows, LEFT_WRIST, RIGHT_WRIST]] - start
    trunk = marks[:, [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]].mean(1, keepdim=True)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], device=joints.device)
    side = along @ turn
    # What is the outer side of the upper arm is that of the lower one, wherever it is held.
    outward = ((start + along / 2 - trunk) * side)[:, :2].sum(2, keepdim=True)
    sign = (outward >= 0).float() * 2 - 1
    return start, along, side * torch.cat([sign, sign], 1)


def read_across(
    image: Tensor, start: Tensor, along: Tensor, side: Tensor, steps: Tensor, aside: Tensor
) -> Tensor:
    """What a picture has along limbs and aside of them: (N, C, limbs, len(steps), len(aside)).

    Args:
        image: (N, C, h, w) of the generator's view; start, along, side: (N, limbs, 2) as `limbs`.
        steps, aside: how far along and aside, in lengths of `along` and of `side`.
    """
    unit = torch.tensor([ASPECT, 1.0], device=image.device)
    at = start[:, :, None] + steps[:, None] * along[:, :, None]
    at = at[:, :, :, None] + aside[:, None] * side[:, :, None, None]
    count, places = int(at.shape[1]), int(at.shape[2])
    at = (at / unit).reshape(-1, count * places, int(at.shape[3]), 2).permute(0, 3, 1, 2)
    return warp(image, at).reshape(-1, int(image.shape[1]), count, places, int(at.shape[3]))


class Places(NamedTuple):
    """Where on an arm each pixel lies, that is nearer it than the other arm.

    start, along, side: of `limbs`, all sides as long as the longest limb.
    far: (N, 1, h, w), 0 at the shoulder, 1 at the elbow, 2 at the wrist; off: aside of the line
    from joint to joint, positive away from the trunk, in lengths of the longest limb; shown: how
    far the limb lies across the view, 0..1; right: whether it is the right arm's.
    """

    start: Tensor
    along: Tensor
    side: Tensor
    far: Tensor
    off: Tensor
    shown: Tensor
    right: Tensor


def places(joints: Tensor, pixels: Tensor) -> Places:
    """Which place of an arm each pixel is nearest to.

    Args:
        joints: (N, 39, 5) of `Pose`, in 0..1 of the square view.
        pixels: (1, 2, h, w) pixel centres of the generator's view.
    """
    start, along, side = limbs(joints)
    length = (along.square().sum(2, keepdim=True) + 1e-6).sqrt()
    longest = length.amax(1, keepdim=True)
    side = side / length
    # How far along and aside of each limb each pixel lies is linear in its place.
    unit = torch.tensor([ASPECT, 1.0], device=joints.device)
    x, y = (pixels * unit[:, None, None]).reshape(2, -1)
    rows = torch.cat([along / length.square(), side / longest], 1)
    rows = torch.cat([rows, -(torch.cat([start, start], 1) * rows).sum(2, keepdim=True)], 2)
    place = (rows @ torch.stack([x, y, torch.ones_like(x)])).reshape(-1, 8, *pixels.shape[2:])
    far, off = place.split(4, 1)
    size = (length / longest)[..., None]
    beyond = size * torch.maximum(far - 1, -far).clamp(min=0)
    away = (off.square() + beyond.square()).clamp(min=1e-6).sqrt()
    shown = ((size - _LEAST) / (_WHOLE - _LEAST)).clamp(0, 1).expand_as(far)
    far = torch.cat([far[:, :2].clamp(max=1), 1 + far[:, 2:].clamp(min=0)], 1)
    # Each arm is its upper limb or its lower one, and a pixel the left arm's or the right's,
    # whichever is nearer.
    upper, lower = away.split(2, 1)
    values = torch.stack([far, off, shown], 1)
    second = ((upper - lower) / _SOFT + 0.5).clamp(0, 1)[:, None]
    values = values[:, :, :2] + second * (values[:, :, 2:] - values[:, :, :2])
    near = torch.minimum(upper, lower)
    right = (1e4 * (near[:, :1] - near[:, 1:])).clamp(0, 1)
    far, off, shown = (values[:, :, 0] + right * (values[:, :, 1] - values[:, :, 0])).split(1, 1)
    return Places(start, along, longest * side, far, off, shown, right)


def beside_arms(at: Places) -> Tensor:
    """Where no arm is as wide, on its outer side: float (N, 1, 2h, 2w) in 0..1.

    What is left of a wide sleeve is no forearm. The measure are the arms of eight people, which are
    all within a tenth of their mean, and half as much again, since joints are off, too.
    """
    widest = _WIDEST[0] + (_WIDEST[1] - _WIDEST[0]) * (at.far - 1.2).clamp(0, 0.8) / 0.8
    share = ((at.off - widest) / 0.03).clamp(0, 1) * ((_ASIDE + 0.2 - at.off) / 0.1).clamp(0, 1)
    share = share * ((at.far - 0.6) / 0.1).clamp(0, 1) * ((2.05 - at.far) / 0.05).clamp(0, 1)
    return up2(share * at.shown)


class Relief(nn.Module):
    """How light real bare arms are, place by place, against the whole arm."""

    gains: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gains", torch.ones(2, ROWS, COLUMNS))

    def forward(self, at: Places, skin: Tensor) -> tuple[Tensor, Tensor]:
        """How far each pixel is an arm's, and its gain.

        Args:
            at: of `places`: told coarsely, since they are linear nearly everywhere.
            skin: (N, 1, 2h, 2w) in 0..1, bare skin, seen or painted.

        Returns:
            float (N, 1, 2h, 2w) in 0..1, and (N, 1, 4h, 4w), 1 where no arm is.
        """
        # A left arm's values and a right one's lie in the halves of a picture.
        half = 0.25 + 0.5 * at.right
        column = (at.far / 2).clamp(0.25 / _PLACES, 1 - 0.25 / _PLACES)
        arms = _across(skin, at.start, at.along, at.side)
        centre, wide, there = warp(arms, torch.cat([column, half], 1)).split(1, 1)
        across = (at.off - centre) / (wide + 1e-3)
        share = at.shown * there * ((1.6 - across.abs()) / 0.3).clamp(0, 1)
        share = share * ((at.far - 0.1) / 0.2).clamp(0, 1) * ((2.1 - at.far) / 0.1).clamp(0, 1)
        share = up2(share)
        # Both arms' reliefs beside each other; half a column of each from where they meet.
        column = across.clamp(-1, 1) * ((COLUMNS - 1) / COLUMNS / 4) + half
        found = up2(up2(torch.cat([column, at.far.clamp(0, 2) / 2], 1)))
        both = torch.cat([self.gains[:1], self.gains[1:]], 2)[None]
        # The upper half and the lower one as pictures of their own: ONNX Runtime has a thread for
        # each picture's channel, and there is one.
        h, w = int(found.shape[2]) // 2, int(found.shape[3])
        found = found.reshape(-1, 2, 2, h * w).transpose(1, 2).reshape(-1, 2, h, w)
        both = both.expand(2 * skin.shape[0], -1, -1, -1)
        gain = warp(both, found).reshape(-1, 1, 2 * h, w)
        return share, 1 + up2(share) * (gain - 1)


def _across(skin: Tensor, start: Tensor, along: Tensor, side: Tensor) -> Tensor:
    """Where the middle of each arm lies aside of its joints, half its width, and whether any of it
    is bare: (N, 3, 2, 2 * _PLACES), from shoulder to wrist.

    Args:
        skin: as for `Relief`; start, along: as of `limbs`; side: all of one length, the unit.
    """
    steps = (torch.arange(_PLACES, device=skin.device) + 0.5) / _PLACES
    aside = ((torch.arange(_BINS, device=skin.device) + 0.5) / _BINS * 2 - 1) * _ASIDE
    bare = read_across(skin, start, along, side, steps, aside).reshape(-1, 2, 2, _PLACES, _BINS)
    # An arm's upper limb, then its lower one.
    bare = bare.transpose(1, 2).reshape(-1, 2, 2 * _PLACES, _BINS)
    width = bare.sum(3)
    # What is read where little is bare says little: moments are smoothed, not places.
    moments = torch.stack([width, (bare * aside).sum(3), width.square()], 2).flatten(0, 1)
    for _ in range(2):
        moments = F.avg_pool1d(moments, 5, 1, 2)
    width, first, square = moments.reshape(-1, 2, 3, 2 * _PLACES).unbind(2)
    whole = width + 1e-3
    half = square / whole * (_ASIDE / _BINS)
    return torch.stack([first / whole, half, (width / 2).clamp(0, 1)], 1)
