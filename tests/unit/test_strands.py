"""Strands of hair before a top: seen where light tells them from the old cloth, and kept."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.unit.test_models import _maps
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models.composite import composite, layers
from tryon.models.strands import strands

HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)
EDGE = 40
"""The column of half the size where hair ends and cloth begins."""


def parsed() -> tuple[Tensor, Tensor, Tensor]:
    """Hair on the left, cloth on the right, skin above both."""
    hair, cloth, skin = (torch.zeros(1, 1, *HALF) for _ in range(3))
    hair[:, :, 20:, :EDGE], cloth[:, :, 20:, EDGE:], skin[:, :, :20] = 1, 1, 1
    return hair, cloth, skin


def found(
    hair_luma: float, cloth_luma: float, even: float = 1.0, covered: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    hair, cloth, skin = parsed()
    luma = hair_luma * hair + cloth_luma * cloth + 0.5 * skin
    return strands(
        hair, cloth, skin, torch.full((1, 3, *HALF), hair_luma), luma,
        torch.full_like(hair, covered), torch.full((1, 1, 1, 1), even),
    )  # fmt: skip


def test_strands_are_looked_for_beside_hair_and_not_beside_skin() -> None:
    where, whole, line = found(0.1, 0.9)
    assert where[0, 0, 60, EDGE - 1 : EDGE + 7].min() == 1
    assert where[0, 0, 60, EDGE + 9 :].max() == 0 and where[0, 0, 60, : EDGE - 3].max() == 0
    assert whole[0, 0, 60, EDGE - 5 : EDGE - 2].min() == 1 and whole[..., EDGE:].max() == 0
    assert where[:, :, :21].max() == 0
    slope, offset, dark = line[0, :, 60, EDGE + 3]
    assert 0.1 * slope + offset >= 1 and 0.9 * slope + offset <= 0 and abs(dark - 0.1) < 1e-5
    assert 0.5 < 0.4 * slope + offset < 0.9


def test_strands_that_are_taken_for_cloth_do_not_darken_it() -> None:
    """Of a shoulder that is mostly strands the cloth's own luma is still that of the top."""
    hair, cloth, skin = parsed()
    luma = 0.1 * hair + 0.9 * cloth + 0.5 * skin
    luma[:, :, 40:60, EDGE : EDGE + 16] = 0.1
    luma[:, :, 40:60, EDGE + 2 : EDGE + 16 : 4] = 0.9
    given = hair, cloth, skin, torch.full((1, 3, *HALF), 0.1), luma, torch.ones_like(hair)
    where, _, line = strands(*given, torch.ones(1, 1, 1, 1))
    assert where[0, 0, 42:58, EDGE : EDGE + 6].min() > 0.9
    slope, offset, _ = line[0, :, 42:58, EDGE : EDGE + 6]
    assert (0.1 * slope + offset).min() > 0.9 and (0.9 * slope + offset).max() < 0.05


def test_a_shadow_beside_hair_is_the_cloths() -> None:
    hair, cloth, skin = parsed()
    luma = 0.1 * hair + 0.8 * cloth + 0.5 * skin
    luma[:, :, 20:, EDGE : EDGE + 14] = 0.22
    given = hair, cloth, skin, torch.full((1, 3, *HALF), 0.1), luma, torch.ones_like(hair)
    where, _, line = strands(*given, torch.ones(1, 1, 1, 1))
    slope, offset, _ = line[0, :, 60, EDGE + 1 : EDGE + 6]
    assert (where[0, 0, 60, EDGE + 1 : EDGE + 6] * (0.22 * slope + offset).clamp(0, 1)).max() < 0.1


def test_blond_hair_before_black_cloth_is_told_too() -> None:
    _, _, line = found(0.7, 0.1)
    slope, offset, _ = line[0, :, 60, EDGE + 3]
    assert 0.7 * slope + offset >= 1 and 0.1 * slope + offset <= 0


def test_nothing_where_both_look_alike_or_the_top_has_two_tones_or_nothing_covers_it() -> None:
    for some in (found(0.3, 0.45), found(0.1, 0.9, even=0.0), found(0.1, 0.9, covered=0.0)):
        where, _, line = some
        assert where.max() == 0 and line.isfinite().all()
        assert line[:, :2, :, EDGE:].abs().max() == 0
    assert found(0.3, 0.45)[1].max() == 0


def test_a_strand_of_the_photo_lies_before_the_new_garment() -> None:
    """Thinner than a pixel of the network; without light of the old cloth at its edges."""
    _, _, line = found(0.05, 0.9)
    maps = _maps(1.0, 1.0)._replace(strands=line)
    scale = 4
    window = torch.full((1, 3, scale * NET_HEIGHT, scale * NET_WIDTH), 0.9)
    strand = scale * 2 * (EDGE + 4)
    window[..., strand : strand + 2] = 0.05
    window[..., strand + 2] = window[..., strand - 1] = 0.45  # its edges: half of it is cloth
    canvas = torch.full((1, 4, 64, 48), 255.0)
    canvas[:, :3] = 51.0  # the new garment is dark grey, 0.2
    whole_view = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    shown = composite(window, whole_view, maps, canvas)[0, 0, scale * 120]
    assert (shown[strand : strand + 2] - 0.05).abs().max() < 0.02
    assert shown[strand - 2 : strand + 4].max() < 0.21, "no pale rim"
    assert (shown[strand + 8 : strand + 40] - 0.2).abs().max() < 0.01
    over = layers(window, whole_view, maps, canvas)
    change = (over.alpha + over.repaint)[0, 0, scale * 120]
    assert change[strand : strand + 2].max() < 1e-6, "the photo's own pixels"
    plain = _maps(1.0, 1.0)
    without = composite(window, whole_view, plain, canvas)[0, 0, scale * 120]
    assert (without[strand : strand + 2] - 0.2).abs().max() < 0.01


def test_a_strap_between_hair_and_cloth_stays_in_front() -> None:
    hair, cloth, skin = parsed()
    strap = torch.zeros_like(hair)
    strap[:, :, 20:, EDGE : EDGE + 4] = 1
    luma = 0.1 * hair + 0.9 * (cloth + skin)
    where, _, _ = strands(
        hair, cloth * (1 - strap), skin + strap, torch.full((1, 3, *HALF), 0.1), luma,
        torch.ones_like(hair), torch.ones(1, 1, 1, 1),
    )  # fmt: skip
    assert where[:, :, 20:, EDGE : EDGE + 4].max() == 0
