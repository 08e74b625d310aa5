"""How what is put on is lit, read off the photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.models.blocks import up2
from tryon.models.composite import LUMA
from tryon.models.inpaint import spread

_SEAM = 5
"""Pixels across the end of an old sleeve where its hem and the step from cloth to skin are seen."""
_DIM = 0.35
"""Luma of old cloth below which its light is believed the less, the darker it is."""
_LEAST = 0.4
"""How far the light of black cloth is believed."""
_MIDDLE = 1.12
"""Gain along the middle of an arm."""
_EVEN, _MOTLEY, _HARDLY = 0.12, 0.32, 0.2
"""Standard deviation of old cloth's luma that light alone may make, and from which on it is the
cloth's own, a jacket over a shirt, say; how far light is believed there."""


def rounded(bare: Tensor, arms: Tensor) -> Tensor:
    """Gain (N, 1, H/2, W/2) of a limb's roundness: darker at its sides.

    Across an arm it is 1 on the whole, lighter along its middle.

    Args:
        bare: (N, 1, H, W) in 0..1, how far each pixel is skin.
        arms: (N, 1, H/2, W/2) in 0..1, how far it is an arm's.
    """
    inner = F.avg_pool2d(F.avg_pool2d(bare, 2), 5, 1, 2, count_include_pad=False)
    return 1 + (_MIDDLE - 1) * arms - 0.45 * (1 - inner).clamp(0, 0.6)


def believed(rgb: Tensor, old: Tensor) -> Tensor:
    """How far the light that the old garment shows is to be believed: float (N, 1, h, w) in 0..1.

    Of a dark jacket's few levels most are pockets, seams and wear, in shares of its light as large
    as shadows are on white cloth; on rendered cloth they are not, so that this isn't learned.

    Args:
        rgb: (N, 3, 2h, 2w) in 0..1; old: (N, 1, h, w) in 0..1.
    """
    luma = (rgb.new_tensor(LUMA) @ rgb.flatten(2)).reshape(-1, 1, *rgb.shape[2:])
    luma = F.avg_pool2d(luma, 2)
    near = F.avg_pool2d(torch.cat([luma * old, luma * luma * old, old], 1), 4)
    for _ in range(2):
        near = F.avg_pool2d(near, 5, 1, 2, count_include_pad=False)
    level, square = (near[:, :2] / (near[:, 2:] + 1e-5)).split(1, 1)
    spread_of = (square - level * level).clamp(min=1e-6).sqrt()
    dim = (level / _DIM).clamp(_LEAST, 1)
    motley = ((_MOTLEY - spread_of) / (_MOTLEY - _EVEN)).clamp(_HARDLY, 1)
    return 1 - old * (1 - up2(up2(dim * motley)))


def beyond_old(
    shade: Tensor, fine: Tensor, old: Tensor, other: Tensor, arms: Tensor, sleeves: Tensor,
    photo: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The light that the old garment and arms show, where something else is to be seen.

    Trousers' seams and their fading are no shadow on a top that hangs over them, nor is the hem of
    an old sleeve one on a longer sleeve: what the network says there is of them, however it is
    taught. The light beside them is led on instead, by normalised convolution (as
    `inpaint.spread` does with colours).

    Args:
        shade: (N, 3, h/2, w/2), fine: (N, 1, h, w), log gains.
        old: (N, 1, h, w) in 0..1, how surely each pixel is what is replaced.
        other, arms: the same of the other cloth, and of bare arms.
        sleeves: the same of the new garment's sleeves: the old one's edge along an arm that hangs
            before it has a shadow.
        photo: of photos, the rim of what is replaced counts for nothing, either: there it is mixed
            with what is behind it, and the new garment seldom ends in the same place.

    Returns:
        `shade` and `fine`, changed where `other` is, where an old sleeve ends, and at that rim.
    """
    covered = F.max_pool2d((4 * other - 1).clamp(0, 1), 3, 1, 1)
    beside = [F.max_pool2d((4 * x - 2).clamp(0, 1), _SEAM, 1, _SEAM // 2) for x in (old, arms)]
    seam = F.max_pool2d(beside[0] * beside[1] * (4 * sleeves - 3).clamp(0, 1), 3, 1, 1)
    apart = F.max_pool2d(seam, 3, 1, 1)
    covered, seam = (
        F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for x in (covered, seam)
    )  # fmt: skip
    places, known = [covered, seam], [old * (1 - covered), (old + arms) * (1 - apart)]
    if photo:
        sure = (4 * old - 2).clamp(0, 1)
        inner = -F.max_pool2d(-sure, 3, 1, 1)
        # Along arms it ends at skin, whose light is the new sleeve's.
        bare = F.max_pool2d((4 * arms - 1).clamp(0, 1), 7, 1, 3)
        places.append((F.max_pool2d(sure, 5, 1, 2) - inner) * (1 - bare))
        known.append(inner)
    light = spread(torch.cat([up2(shade), fine], 1), torch.cat(known, 1) + 1e-6)
    for where, led in zip(places, light.unbind(1), strict=True):
        shade = shade + F.avg_pool2d(where, 2) * (led[:, :3] - shade)
        fine = fine + where * (up2(led[:, 3:]) - fine)
    return shade, fine
