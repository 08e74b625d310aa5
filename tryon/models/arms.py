"""The outline of the upper arms, where an old short sleeve stood off them.

Where an old sleeve ends, the photo has a step in the person's outline, and the network draws the
new sleeve along it: a puff above the elbow that neither garment has. How wide the new sleeve is
along the arm is read off, and the step pulled straight, as a string would be.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.models.blocks import constant, warp
from tryon.models.geometry import ASPECT
from tryon.models.limbs import limbs, read_across

_PLACES, _BINS = 16, 40
"""Where the width is read along an arm, and steps of a reading."""
_FIRST, _LAST, _WIDE = 0.1, 1.1, 0.7
"""From where to where along it, and how far aside of it: in lengths of the upper arm."""
_MOST = (0.12, 0.16)
"""What stands off by more, in the same, is no sleeve's end (a torso behind an arm, say) and stays:
from the first, in part."""
_RAMP = 0.05
"""How long, along the arm, it takes from none of this to all, at both ends."""
_BESIDE = 0.1
"""How far beyond the outline what stood off is still painted over, in the same."""


def _strings() -> Tensor:
    """float (places * pairs, places): every chord of a curve that passes over a place, at it.

    The least of them at each place is the curve's lower convex hull.
    """
    n = _PLACES
    chords = torch.zeros(n, n * n, n)
    for k in range(n):
        for i in range(n):
            for j in range(n):
                if i <= k <= j and i < j:
                    chords[k, i * n + j, [i, j]] = torch.tensor([j - k, k - i]) / (j - i)
                else:
                    chords[k, i * n + j, k] = 1
    return chords.flatten(0, 1)


_STRINGS = _strings()


def _extent(readings: Tensor, aside: Tensor) -> Tensor:
    """How far aside what is read reaches: (N, 2, places) of (N, 2, places, bins) in 0..1."""
    seen = (2 * readings - 0.5).clamp(0, 1)
    width = _WIDE / _BINS
    return ((aside - width / 2 + width * seen) * (10 * seen).clamp(max=1)).amax(-1)


def _pulled(widths: Tensor) -> Tensor:
    """Each curve's lower convex hull: (..., places) of the same."""
    chords = widths @ constant(_STRINGS.T.to(widths.device))
    return chords.reshape(*widths.shape, _PLACES * _PLACES).amin(-1)


def standing_off(
    joints: Tensor, cloth: Tensor, before: Tensor, old: Tensor, arms: Tensor, pixels: Tensor
) -> Tensor:
    """Where a new sleeve has an old, shorter one's outline and not its own.

    Args:
        joints: (N, 39, 5) of `Pose`, in 0..1 of the square view.
        cloth: (N, 1, h, w) in 0..1, the new garment; before: what of hair and bare arms, painted
            ones too, is seen beside it or before it; old: the garment that is replaced; arms: bare
            ones, seen or not.
        pixels: (1, 2, h, w) pixel centres of the generator's view.

    Returns:
        float (N, 1, h, w) in 0..1; 0 where no old sleeve ends on an upper arm.
    """
    unit = torch.tensor([ASPECT, 1.0], device=joints.device)
    start, along, side = (limb[:, :2] for limb in limbs(joints))
    square = along.square().sum(2, keepdim=True).clamp(min=1e-4)

    places = torch.linspace(_FIRST, _LAST, _PLACES, device=joints.device)
    aside = (torch.arange(_BINS, device=joints.device) + 0.5) * (_WIDE / _BINS)
    read = torch.cat([torch.maximum(cloth, before), old, arms, cloth], 1)
    read = read_across(read, start, along, side, places, aside)
    outline, old_there, bare, new = read.unbind(1)
    wide = _extent(outline, aside)
    skin = _extent(bare, aside)
    none = (skin < 0.5 * _WIDE / _BINS).float()
    tight, straight = _pulled(torch.stack([wide, skin + 9 * none], 1)).unbind(1)
    # No tighter than a bare arm that is seen, pulled straight as well: beside an old hem the parse
    # takes some of the wall for it.
    tight = torch.maximum(tight, torch.minimum(straight * (1 - none), wide))
    # An old sleeve above, a bare arm further down, and a new sleeve that comes near it.
    third, axis = _PLACES // 3, _BINS // 10
    above = old_there[:, :, :third, :axis].mean((2, 3))
    near = new[:, :, third : 2 * third, :axis].mean((2, 3))
    below = bare[:, :, _PLACES // 2 :, : _BINS // 5].mean(3).amax(2)
    above, near, below = (4 * torch.stack([above, near, below]) - 1.5).clamp(0, 1)
    ends = above * near * below
    few, most = _MOST
    ends = ends * ((most - (wide - tight).amax(2)) / (most - few)).clamp(0, 1)

    # How far along and aside of both arms each pixel lies is linear in its place; it is told by the
    # arm that it is further aside of.
    x, y = (pixels * unit[:, None, None]).reshape(2, -1)
    rows = torch.cat([along / square, side / square], 1)
    rows = torch.cat([rows, -(torch.cat([start, start], 1) * rows).sum(2, keepdim=True)], 2)
    place = (rows @ torch.stack([x, y, torch.ones_like(x)])).reshape(-1, 4, *pixels.shape[2:])
    right = (place[:, 3:] > place[:, 2:3]).float()
    far, off = (p[:, :1] + right * (p[:, 1:] - p[:, :1]) for p in place.split(2, 1))
    column = ((far - _FIRST) / (_LAST - _FIRST)).clamp(0, 1) * (_PLACES - 1) / _PLACES
    at = torch.cat([column + 0.5 / _PLACES, 0.25 + 0.5 * right], 1)
    pixel = 1 / (pixels.shape[2] * square.sqrt()[..., 0])
    lines = [tight, wide + _BESIDE, *(x[:, :, None].expand_as(wide) for x in (ends, pixel))]
    tight, wide, ends, pixel = warp(torch.stack(lines, 1), at).split(1, 1)
    beyond = ((off - tight) / pixel + 0.5).clamp(0, 1) * ((wide - off) / pixel + 0.5).clamp(0, 1)
    within = ((far - _FIRST) / _RAMP + 1).clamp(0, 1) * ((_LAST - far) / _RAMP).clamp(0, 1)
    return beyond * within * ends
