"""Hair that hangs before a top: each strand, seen finer than a network's pixels are."""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.models.blocks import grown, shrunk, up2
from tryon.models.composite import LUMA
from tryon.models.inpaint import spread

_OUTSIDE, _INSIDE = 15, 3
"""Pixels of half the size across which strands are looked for beside hair, and within it."""
_BESIDE = 3
"""Pixels of half the size across, beside skin and what is carried, where none are: their colours
may lie between the two."""
_GAP = 5
"""Pixels of half the size across, that are neither's between the two."""
_APART, _SURE = 0.2, 0.35
"""By how much hair and the old cloth must differ in luma to be told apart, and from which on
wholly."""
_THIN = 15
"""Pixels of half the size across, in which cloth is seen wherever strands are before it."""
_CLOTH, _STRAND = 0.1, 0.9
"""Share of the way from the cloth's luma to the hair's up to which a pixel is cloth in shade, and
from which on it is hair."""


def strands(
    hair: Tensor, cloth: Tensor, others: Tensor, hair_colour: Tensor, luma: Tensor,
    covered: Tensor, even: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Where hair and the old top are told apart by light, and how.

    Args:
        hair, cloth, others: (N, 1, h, w) in 0..1, how likely each pixel is hair, the garment that
            is replaced, and skin or what is carried.
        hair_colour: (N, 3, h, w) in 0..1, what hair looks like nearby; luma: (N, 1, h, w) in 0..1.
        covered: (N, 1, h, w) in 0..1, how far the new garment reaches there, hair or no hair.
        even: (N, 1, 1, 1) in 0..1 of `light.one_tone`: of two tones one may be hair's.

    Returns:
        (N, 1, h, w) in 0..1 each, where strands are, and where all is hair; (N, 3, h, w) slope and
        offset of a line, how much of a pixel is hair being the line at its luma, limited to 0..1
        (0 elsewhere), and hair's luma.
    """
    dark = (hair.new_tensor([LUMA]) @ hair_colour.flatten(2)).reshape(hair.shape)
    level = up2(spread(luma, _of_cloth(luma, dark, (4 * cloth - 3).clamp(0, 1)) + 1e-6)[:, 0])
    apart = level - dark
    surely = (4 * hair - 2).clamp(0, 1)
    inside = shrunk(surely, _INSIDE)
    beside = grown(surely, _OUTSIDE)
    near = grown((4 * cloth - 2).clamp(0, 1), _OUTSIDE)
    apart_of = grown((4 * others - 2).clamp(0, 1), _BESIDE)
    # Where both meet the parse is often sure of neither.
    either = shrunk(grown((4 * (hair + cloth) - 3).clamp(0, 1), _GAP), _GAP)
    covered = shrunk(covered, 3)
    told = even * near * ((apart.abs() - _APART) / (_SURE - _APART)).clamp(0, 1)
    where = (beside - inside) * (1 - apart_of) * either * (4 * covered - 3).clamp(0, 1) * told
    way = (_STRAND - _CLOTH) * torch.where(told > 0, apart, torch.ones_like(apart))
    slope, offset = -where / way, where * (level - _CLOTH * apart) / way
    whole = inside * told
    return where, whole, torch.cat([slope, offset + whole, dark], 1)


def _of_cloth(luma: Tensor, dark: Tensor, surely: Tensor) -> Tensor:
    """What of the old top its colour nearby is read off: `surely`, but, for the strands before it
    that are taken for cloth, too, less of what is nearer to hair's luma than to that of all of the
    top, with cloth that is not within a few pixels: shadows are broader."""
    mean = (luma * surely).sum((2, 3), keepdim=True) / (surely.sum((2, 3), keepdim=True) + 1e-6)
    way = mean - dark
    differs = (way.abs() > _APART).float()
    share = (luma - dark) / torch.where(differs > 0, way, torch.ones_like(way))
    cloth = (2 * share - 0.5).clamp(0, 1)
    return surely * (1 + differs * grown(surely * cloth, _THIN) * (cloth - 1))
