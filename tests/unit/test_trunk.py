"""Narrow trunks: which channels stay, and that they learn the wide one's features."""

from __future__ import annotations

import torch
from skimage import data

from training.trunk import apart, fewest, narrow_trunk, teach
from tryon.assets import asset_path
from tryon.models.efficientnet import CHANNELS, NARROW, EfficientNetTrunk, load_trunk


def pictures(count: int) -> torch.Tensor:
    """Crops of a photograph, uint8 (count, 3, 64, 48)."""
    photo = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1)
    return torch.stack([photo[:, 7 * i : 7 * i + 64, 9 * i : 9 * i + 48] for i in range(count)])


def test_the_columns_that_explain_everything_are_kept() -> None:
    torch.manual_seed(0)
    given = torch.randn(500, 9).double()
    truth = torch.randn(3, 2).double()
    wanted = given[:, [1, 4, 7]] @ truth + 5
    kept, weight, added = fewest(given, wanted, 3)
    assert kept.tolist() == [1, 4, 7]
    assert torch.allclose(weight, truth, atol=1e-3) and torch.allclose(added, added * 0 + 5)


def test_a_copy_of_a_column_is_not_worth_a_place() -> None:
    """Two equal columns, and one that says something else: a ranking one by one keeps the twins."""
    torch.manual_seed(1)
    one, other = torch.randn(2, 400).double()
    given = torch.stack([one, one + 1e-3 * torch.randn(400), other], 1)
    kept, weight, added = fewest(given, (2 * one + 0.5 * other)[:, None], 2)
    assert 2 in kept.tolist()
    off = given[:, kept] @ weight + added - (2 * one + 0.5 * other)[:, None]
    assert off.abs().max() < 0.05


def total(ours: EfficientNetTrunk, theirs: EfficientNetTrunk, seen: torch.Tensor) -> float:
    with torch.no_grad():
        return sum(float(a) for a in apart(ours(seen.float() / 255), theirs(seen.float() / 255)))


def test_a_cut_trunk_is_near_the_whole_one() -> None:
    wide, seen = load_trunk(asset_path("efficientnet_lite0.pth")), pictures(24)
    narrow = narrow_trunk(wide, seen)
    assert [block.project.in_channels for block in narrow.blocks] == list(NARROW)  # type: ignore[union-attr]
    assert [m.shape[1] for m in narrow(seen.float() / 255)] == list(CHANNELS)
    assert total(narrow, wide, seen) < 0.2 < 2 < total(EfficientNetTrunk(), wide, seen)


def test_a_trunk_learns_what_another_sees() -> None:
    torch.manual_seed(0)
    wide, seen = load_trunk(asset_path("efficientnet_lite0.pth")), pictures(24)
    narrow = narrow_trunk(wide, seen)
    for block in narrow.blocks:
        block.project.weight.mul_(0.7)  # type: ignore[union-attr, operator]
    before = total(narrow, wide, seen)
    said: list[tuple[int, float]] = []
    teach(narrow, wide, seen, 20, 0, lambda step, value: said.append((step, value)))
    assert [step for step, _ in said] == list(range(1, 21))
    assert total(narrow, wide, seen) < 0.8 * before
    assert not any(parameter.requires_grad for parameter in narrow.parameters())
