"""How what is put on is lit, read off the photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.models.blocks import grown, shrunk, up2
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


_FLOOR, _DARKER, _BRIGHTER = 0.02, 0.5, 0.25
"""Of light that is read off: what dark pixels are given, and log gains, at most."""
_GREY, _PALE = 0.3, 0.5
"""Mean luma of old cloth up to which light isn't read off it, and from which on it is."""
_MOST, _STRONGER = 0.55, 1.4
"""How far it is, at most, the rest being the network's: with it alone cloth looked flat to a reader
who didn't know, without it blotched; and how much stronger its pattern is made."""
_CLEAR = 8.0
"""How much more of a say the bright parts have in how bright cloth is."""
_SEEN = 0.02
"""Share of the view that old cloth takes, for light to be read off it."""
_ONE_TONE, _TWO_TONES = 0.16, 0.2
"""Standard deviation of luma over all of a garment of one tone, at most, and of two, at least: of
24 photos, plain tops have up to 0.15, jackets over shirts and checks 0.18 to 0.26."""


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
    luma = half_luma(rgb)
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
    covered = grown((4 * other - 1).clamp(0, 1), 3)
    beside = [grown((4 * x - 2).clamp(0, 1), _SEAM) for x in (old, arms)]
    seam = grown(beside[0] * beside[1] * (4 * sleeves - 3).clamp(0, 1), 3)
    apart = grown(seam, 3)
    covered, seam = (
        F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for x in (covered, seam)
    )  # fmt: skip
    places, known = [covered, seam], [old * (1 - covered), (old + arms) * (1 - apart)]
    if photo:
        sure = (4 * old - 2).clamp(0, 1)
        inner = shrunk(sure, 3)
        # Along arms it ends at skin, whose light is the new sleeve's.
        bare = grown((4 * arms - 1).clamp(0, 1), 7)
        places.append((grown(sure, 5) - inner) * (1 - bare))
        known.append(inner)
    light = spread(torch.cat([up2(shade), fine], 1), torch.cat(known, 1) + 1e-6)
    for where, led in zip(places, light.unbind(1), strict=True):
        shade = shade + F.avg_pool2d(where, 2) * (led[:, :3] - shade)
        fine = fine + where * (up2(led[:, 3:]) - fine)
    return shade, fine


def cloth_beside_skin(
    shade: Tensor, fine: Tensor, old: Tensor, skin: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The light of cloth that lies where skin was expected: that of the cloth beside it.

    What is predicted for painted skin is how skin is lit, from an old garment's colours; a collar
    that reaches further over it than the network thought has a bright rim of it.

    Args:
        shade: (N, 3, h/2, w/2), fine: (N, 1, h, w), log gains.
        old: (N, 1, h, w) in 0..1, how surely each pixel is what is replaced; skin: the same, how
            likely skin is painted there.

    Returns:
        `shade` and `fine`, changed where skin is and just beside it.
    """
    near = grown((4 * skin - 1).clamp(0, 1), 5)
    where = F.avg_pool2d(near, 3, 1, 1, count_include_pad=False)
    known = (4 * old - 2).clamp(0, 1) * (1 - grown(near, 3)) + 1e-6
    led = spread(torch.cat([up2(shade), fine], 1), known)[:, 0]
    shade = shade + F.avg_pool2d(where, 2) * (led[:, :3] - shade)
    return shade, fine + where * (up2(led[:, 3:]) - fine)


def one_tone(luma: Tensor, old: Tensor) -> Tensor:
    """How far all of the old garment is of one tone, light apart: (N, 1, 1, 1) in 0..1.

    A jacket over a shirt isn't, nor are broad stripes.

    Args:
        luma: (N, 1, h, w) in 0..1; old: the same, how surely each pixel is of it.
    """
    surely = (4 * old - 3).clamp(0, 1)
    sums = torch.cat([surely, luma * surely, luma * luma * surely], 1).mean((2, 3), keepdim=True)
    mass, level, square = (sums + 1e-6).split(1, 1)
    level = level / mass
    spread_of = (square / mass - level * level).clamp(min=1e-6).sqrt()
    return ((_TWO_TONES - spread_of) / (_TWO_TONES - _ONE_TONE)).clamp(0, 1)


def half_luma(rgb: Tensor) -> Tensor:
    """(N, 1, h, w) of (N, 3, 2h, 2w)."""
    luma = (rgb.new_tensor(LUMA) @ rgb.flatten(2)).reshape(-1, 1, *rgb.shape[2:])
    return F.avg_pool2d(luma, 2)


def read_off(luma: Tensor, old: Tensor, arms: Tensor, even: Tensor) -> tuple[Tensor, Tensor]:
    """The light itself, where the old cloth is pale and of one tone: its brightness over its mean.

    Args:
        luma: (N, 1, h, w) in 0..1, of the photo.
        old, arms: the same, how surely each pixel is what is replaced, and a bare arm.
        even: (N, 1, 1, 1) of `one_tone`.

    Returns:
        (N, 1, h, w) log gain, led on from both over the whole view, and (N, 1, 1, 1) in 0..1 how
        far it is to be believed.
    """
    whole = torch.cat([old, arms], 1)
    # Their rims are mixed with what is behind them.
    sure = shrunk((4 * whole - 3).clamp(0, 1), 5)
    mass = sure.sum((2, 3), keepdim=True) + 1e-3
    level = (luma * sure).sum((2, 3), keepdim=True) / mass
    ratio = ((luma + _FLOOR) / (level + _FLOOR)).log().clamp(-_DARKER, _BRIGHTER)
    sums = torch.cat([(ratio * sure).sum(1, keepdim=True), sure.sum(1, keepdim=True)], 1)
    for _ in range(2):
        sums = F.avg_pool2d(sums, 5, 1, 2, count_include_pad=False)
    near = sums[:, :1] / (sums[:, 1:] + 1e-4)
    light = up2(spread(near, sure.sum(1, keepdim=True) + 1e-6)[:, 0])
    light = (_STRONGER * light).clamp(-_DARKER, _BRIGHTER)
    pale = ((level[:, :1] - _GREY) / (_PALE - _GREY)).clamp(0, 1)
    seen = (mass[:, :1] / (_SEEN * luma[0, 0].numel())).clamp(0, 1)
    return light, _MOST * pale * even * seen


def led_by(shade: Tensor, light: Tensor, read: Tensor, old: Tensor) -> Tensor:
    """Gains whose pattern is the light that was read off; how bright they are in all is predicted.

    Args:
        shade: (N, 3, h, w), positive gains; light, read: of `read_off`; old: as there.
    """
    level = shade.mean(1, keepdim=True)
    worn = shrunk((4 * old - 3).clamp(0, 1), 9)
    sums = (torch.cat([level**_CLEAR * worn, worn], 1) + 1e-6).mean((2, 3), keepdim=True)
    usual = (sums[:, :1] / sums[:, 1:]).log() / _CLEAR
    return shade * (read * (usual + light - level.log())).exp()
