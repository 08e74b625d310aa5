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
_WIDE = (
    1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.19, 1.17, 1.16, 1.13,
    1.12, 1.1, 1.09, 1.11, 1.15, 1.19, 1.2, 1.19, 1.17, 1.16, 1.15, 1.15, 1.14, 1.12, 1.1, 1.06,
    1.03, 0.99, 0.95, 0.91, 0.87, 0.83, 0.79, 0.76, 0.72, 0.71, 0.7, 0.72, 0.72, 0.73,
)  # fmt: skip
_MIDDLE = (
    0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015, 0.015,
    0.015, 0.015, 0.01, 0.006, 0.003, 0, -0.002, -0.004, -0.004, -0.003, -0.003, -0.002, 0.001,
    0.004, 0.007, 0.011, 0.013, 0.015, 0.016, 0.018, 0.02, 0.021, 0.022, 0.023, 0.024, 0.025,
    0.024, 0.023, 0.024, 0.024, 0.023, 0.023, 0.023, 0.022, 0.016,
)  # fmt: skip
"""Half an arm's width from shoulder to wrist, over its mean below the elbow, and how far aside of
its joints its middle lies: means of sixteen bare arms (`training.relief.shape_of`), of which each
is within a fiftieth and 0.015. Above, where sleeves end, the width goes on."""
_SIZE, _SIZES, _SAYS = 0.12, (0.115, 0.15), 6.0
"""Half the width below the elbow: of those people, what may be, and how many places the mean
counts for beside those that are seen."""
_SHIFT = 0.06
"""How far aside an arm may lie of where its joints say: they are told through sleeves."""
_ALONG, _CUFF, _BESIDE = (0.25, 0.4, 0.55, 0.7), (1.85, 2.1), 0.03
"""Where along a limb it is read whether it is painted, so that a sleeve was there; where its cuff's
rest may be, above the hand; and how far beside an arm nothing is its own."""
_AROUND, _EDGE = 0.12, 0.03
"""How far from an arm's edge it is the arm that says where skin is; the width of its edge."""
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


def _along_limbs(at: Places, image: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the nearer arm's upper and lower limb (N, 1, 2h, 2w) in 0..1 says it is, read
    along its bones: (N, 1, h, w) each, in 0..1."""
    steps, aside = (torch.tensor(v, device=image.device) for v in (_ALONG, (-0.08, 0.0, 0.08)))
    found = read_across(image, at.start, at.along, at.side, steps, aside).mean((3, 4))
    upper, lower = found.reshape(-1, 4, 1, 1).split(2, 1)
    return (
        upper[:, :1] + at.right * (upper[:, 1:] - upper[:, :1]),
        lower[:, :1] + at.right * (lower[:, 1:] - lower[:, :1]),
    )


class Outlines(NamedTuple):
    """Bare arms as real ones are shaped: where a pixel lies in one.

    rest: (N, 1, 4h, 4w) in 0..1, where what the parse takes for an arm is the rest of a long sleeve
    that was taken off: beside a painted forearm, and just above the hand.
    known: (N, 1, h, w) in 0..1, how far the nearer arm's shape is known; near: (N, 1, 4h, 4w), the
    same where it is painted and its edges are near; across: (N, 1, h, w), -1 and 1 at the edges of
    what is bare; inside: (N, 1, 4h, 4w) in 0..1.
    """

    rest: Tensor
    known: Tensor
    near: Tensor
    across: Tensor
    inside: Tensor


def outlines(at: Places, skin: Tensor, painted: Tensor) -> Outlines:
    """Outlines of both arms: as wide in places as real ones are, as wide in all and as far aside of
    their joints as what is bare says.

    Args:
        at: of `places`: told coarsely, since they are linear nearly everywhere.
        skin, painted: (N, 1, 2h, 2w) in 0..1, bare skin, seen or painted; what is painted of it.
    """
    # A left arm's values and a right one's lie in the halves of a picture.
    half = 0.25 + 0.5 * at.right
    column = (at.far / 2).clamp(0.25 / _PLACES, 1 - 0.25 / _PLACES)
    middle, wide = torch.tensor([_MIDDLE, _WIDE], device=skin.device)[:, None, None].unbind(0)
    found, half_found, there = _across(skin, at.start, at.along, at.side).split(1, 1)
    whole = there.sum(3, keepdim=True) + 1e-3
    size = ((there * half_found).sum(3, keepdim=True) + _SAYS * _SIZE) / (
        (there * wide).sum(3, keepdim=True) + _SAYS
    )
    shift = (there * (found - middle)).sum(3, keepdim=True) / whole
    size, shift = size.clamp(*_SIZES), shift.clamp(-_SHIFT, _SHIFT)
    arms = torch.cat([middle + shift, size * wide, there, found, half_found], 1)
    arms = warp(arms, torch.cat([column, half], 1))
    centre, wide, there, found, half_found = arms.split(1, 1)
    off = at.off - centre
    known = at.shown * there * ((at.far - 0.1) / 0.2).clamp(0, 1)
    known = known * ((2.4 - at.far) / 0.1).clamp(0, 1)
    # An arm that is seen has its own outline; where a forearm is painted, a sleeve was.
    upper, lower = _along_limbs(at, painted)
    fresh = upper + ((at.far - 0.9) / 0.2).clamp(0, 1) * (lower - upper)
    fresh = known * (3 * fresh - 0.6).clamp(0, 1)
    was = known * (4 * lower - 2).clamp(0, 1)
    above = ((at.far - _CUFF[0]) / 0.1).clamp(0, 1) * ((_CUFF[1] - at.far) / 0.05).clamp(0, 1)
    beside = ((off.abs() - wide - _BESIDE) / 0.02).clamp(0, 1)
    beside = beside * ((at.far - 1) / 0.2).clamp(0, 1)
    beside = beside * ((_CUFF[1] + 0.05 - at.far) / 0.05).clamp(0, 1)
    rest = was * torch.maximum(above, beside) * ((_ASIDE - off.abs()) / 0.05).clamp(0, 1)
    away = up2(up2(torch.cat([off, wide, fresh, rest], 1)))
    away, fresh, rest = away[:, :1].abs() - away[:, 1:2], away[:, 2:3], away[:, 3:]
    return Outlines(
        rest, known, fresh * ((_AROUND - away) / 0.03).clamp(0, 1),
        (at.off - found) / (half_found + 1e-3), (0.5 - away / _EDGE).clamp(0, 1),
    )  # fmt: skip


class Relief(nn.Module):
    """How light real bare arms are, place by place, against the whole arm."""

    gains: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gains", torch.ones(2, ROWS, COLUMNS))

    def forward(self, at: Places, arms: Outlines) -> tuple[Tensor, Tensor]:
        """How far each pixel is an arm's, and its gain.

        Args:
            at: of `places`; arms: of `outlines`.

        Returns:
            float (N, 1, 2h, 2w) in 0..1, and (N, 1, 4h, 4w), 1 where no arm is.
        """
        share = arms.known * ((1.6 - arms.across.abs()) / 0.3).clamp(0, 1)
        share = up2(share * ((2.1 - at.far) / 0.1).clamp(0, 1))  # a hand has its own
        # Both arms' reliefs beside each other; half a column of each from where they meet.
        half = 0.25 + 0.5 * at.right
        column = arms.across.clamp(-1, 1) * ((COLUMNS - 1) / COLUMNS / 4) + half
        found = up2(up2(torch.cat([column, at.far.clamp(0, 2) / 2], 1)))
        both = torch.cat([self.gains[:1], self.gains[1:]], 2)[None]
        # The upper half and the lower one as pictures of their own: ONNX Runtime has a thread for
        # each picture's channel, and there is one.
        h, w = int(found.shape[2]) // 2, int(found.shape[3])
        found = found.reshape(-1, 2, 2, h * w).transpose(1, 2).reshape(-1, 2, h, w)
        both = both.expand(2 * share.shape[0], -1, -1, -1)
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
