"""Creases of the old cloth: those of plain pale cloth are believed; strings and dark cloth not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models.folds import creases

TOP = (slice(60, 200), slice(50, 150))
"""Rows and columns of the old top in the view."""


def worn(luma: float) -> tuple[Tensor, Tensor, Tensor]:
    """A view with a top of that luma before a darker wall, where the top is, and full belief."""
    rgb = torch.full((1, 3, NET_HEIGHT, NET_WIDTH), 0.3)
    rgb[(0, slice(None), *TOP)] = luma
    old = torch.zeros(1, 1, NET_HEIGHT // 2, NET_WIDTH // 2)
    old[..., 30:100, 25:75] = 1
    return rgb, old, torch.ones_like(old)


def test_a_soft_crease_on_pale_cloth_is_seen_and_believed() -> None:
    rgb, old, belief = worn(0.8)
    rgb[..., 100:160, 96:100] *= torch.tensor([0.98, 0.96, 0.96, 0.98])
    level, share = creases(rgb, old, belief)[0]
    assert (share[95:165, 80:120] > 0.95).all()
    assert (level[100:160, 70:90] - 0.8).abs().max() < 0.01, "the rim's wall is no part of it"
    assert (rgb[0, 0, 120, 97] - level[120, 97]) / level[120, 97] < -0.02
    assert share[:50].max() == 0 and share[:, :45].max() == 0, "nothing beside the top"


@pytest.mark.parametrize("line", ["string", "hem"])
def test_strings_are_none_of_it(line: str) -> None:
    rgb, old, belief = worn(0.8)
    rgb[..., 100:160, 98 : 100 if line == "string" else 150] = 0.5
    share = creases(rgb, old, belief)[0, 1]
    assert (share[105:155, 96:100] == 0).all()
    assert (share[105:155, 62:80] > 0.95).all(), "the cloth beside it is"


def test_dark_cloth_and_light_that_is_not_believed() -> None:
    rgb, old, belief = worn(0.1)
    assert creases(rgb, old, belief)[0, 1].max() == 0
    rgb, old, belief = worn(0.8)
    assert creases(rgb, old, 0.6 * belief)[0, 1].max() == 0
    assert torch.isfinite(creases(rgb, 0 * old, belief)).all()
    assert creases(rgb, 0 * old, belief)[0, 1].max() == 0
