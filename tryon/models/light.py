"""How what is put on is lit, read off the photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tryon.models.blocks import up2
from tryon.models.inpaint import spread


def rounded(bare: Tensor) -> Tensor:
    """Gain (N, 1, H/2, W/2) of a limb's roundness, of how far each pixel (N, 1, H, W) is skin."""
    inner = F.avg_pool2d(F.avg_pool2d(bare, 2), 5, 1, 2, count_include_pad=False)
    return 1 - 0.45 * (1 - inner).clamp(0, 0.6)


def beyond_old(shade: Tensor, fine: Tensor, old: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The light that the old garment shows, where other cloth is that the new one will cover.

    Trousers' seams and their fading are no shadow on a top that hangs over them: what the network
    says there is of them, however it is taught. The old top's light is led on by normalised
    convolution instead (as `inpaint.spread` does with colours).

    Args:
        shade: (N, 3, h/2, w/2), fine: (N, 1, h, w), log gains.
        old: (N, 1, h, w) in 0..1, how surely each pixel is what is replaced.
        other: the same of the other cloth.

    Returns:
        `shade` and `fine`, changed where `other` is.
    """
    covered = F.max_pool2d((4 * other - 1).clamp(0, 1), 3, 1, 1)
    covered = F.avg_pool2d(covered, 3, 1, 1, count_include_pad=False)
    weight = old * (1 - covered) + 1e-6
    light = spread(torch.cat([up2(shade), fine], 1), weight)[:, 0]
    shade = shade + F.avg_pool2d(covered, 2) * (light[:, :3] - shade)
    return shade, fine + covered * (up2(light[:, 3:]) - fine)
