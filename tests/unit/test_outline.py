"""A top that is just narrower than the old one is drawn out to its outline; others stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.unit.test_lengths import COLUMNS, PIXELS, ROWS, place
from tryon.contract import CATEGORIES, LANDMARKS, STYLING
from tryon.models.blocks import warp
from tryon.models.outline import widened

LEFT, RIGHT, TOP, HEM = 34, 62, 30, 90
CUFFS = [LANDMARKS.index(f"cuff_{side}") for side in ("left", "right")]


def scene(strip: int = 3) -> dict[str, Tensor]:
    """A new top worn as it is shown, over one that is wider by `strip` pixels on either side."""
    marks = torch.full((1, len(LANDMARKS), 2), 0.5)
    for name, row, column in (
        ("neck_left", TOP, 54), ("neck_right", TOP, 42), ("neck_front", 36, 48),
        ("hem_left", HEM, RIGHT), ("hem_right", HEM, LEFT), ("hem_front", HEM, 48),
    ):  # fmt: skip
        marks[0, LANDMARKS.index(name)] = place(row, column)
    visible = torch.ones(1, len(LANDMARKS))
    visible[:, CUFFS] = 0
    rows = (ROWS >= TOP) & (ROWS < HEM)
    new = rows & (COLUMNS >= LEFT) & (COLUMNS < RIGHT)
    old = rows & (LEFT - strip <= COLUMNS) & (RIGHT + strip > COLUMNS)
    condition = torch.zeros(1, 5)
    condition[:, CATEGORIES.index("upper")] = 1
    return {
        "flow": PIXELS.clone(), "old": old.float()[None, None],
        "own": new.float()[None, None].repeat_interleave(2, 2).repeat_interleave(2, 3),
        "here": marks, "visible": visible, "condition": condition,
        "styling": torch.zeros(1, len(STYLING)), "pixels": PIXELS,
    }  # fmt: skip


def covered(given: dict[str, Tensor]) -> Tensor:
    return warp(given["own"], widened(**given))[0, 0]


def same(given: dict[str, Tensor]) -> bool:
    return torch.allclose(widened(**given), given["flow"], atol=1e-6)


@pytest.mark.parametrize("strip", [2, 3, 4])
def test_a_strip_beside_the_garment_is_covered(strip: int) -> None:
    given = scene(strip)
    found = covered(given)[TOP + 15 : HEM - 20]
    assert found[:, LEFT - strip : RIGHT + strip].min() > 0.5
    assert found[:, : LEFT - strip - 3].max() < 0.5 and found[:, RIGHT + strip + 3 :].max() < 0.5
    flow = widened(**given)[0]
    assert flow[0, 60].diff().min() >= 0, "nothing is folded over"
    assert torch.allclose(flow[:, 60, 46:50], PIXELS[0, :, 60, 46:50], atol=2e-3), "prints stay"


def test_what_is_as_wide_or_wider_or_much_narrower_stays() -> None:
    assert same(scene(0)) and same(scene(-3)) and same(scene(12))


@pytest.mark.parametrize("wide", [6, 8, 10, 12])
def test_narrow_parts_are_not_folded(wide: int) -> None:
    """A sleeve under a looser one: its two sides are nearer to each other than their strips."""
    given = scene(0)
    sleeve = (ROWS >= TOP) & (ROWS < 70) & (COLUMNS >= 76) & (76 + wide > COLUMNS)
    loose = (ROWS >= TOP) & (ROWS < 70) & (COLUMNS >= 73) & (79 + wide > COLUMNS)
    own = sleeve.float().repeat_interleave(2, 0).repeat_interleave(2, 1)
    given["own"] = torch.maximum(given["own"], own)
    given["old"] = torch.maximum(given["old"], loose.float())
    assert widened(**given)[0, 0].diff(dim=1).min() > 0


def test_trousers_and_what_is_asked_to_be_smaller_stay() -> None:
    given = scene()
    given["condition"] = given["condition"].roll(1, 1)
    assert same(given)
    given = scene()
    given["styling"][:, list(STYLING).index("size")] = -1
    assert same(given)


def test_a_neckline_is_the_garments_own() -> None:
    given = scene(0)
    given["own"][..., 2 * TOP : 2 * TOP + 8, 2 * 43 : 2 * 53] = 0
    assert covered(given)[TOP + 1, 48] < 0.5


def test_hems_and_cuffs_are_the_garments_own() -> None:
    given = scene()
    given["old"][..., HEM : HEM + 3, LEFT:RIGHT] = 1
    assert covered(given)[HEM + 1].max() < 0.5
    assert covered(given)[60, LEFT - 2] > 0.5
    given["here"][:, CUFFS] = place(60, LEFT)
    assert covered(given)[60, LEFT - 2] > 0.5, "it has no sleeves"
    given["visible"][:, CUFFS] = 1
    assert covered(given)[60, LEFT - 2] < 0.5


def test_an_old_sleeve_below_a_short_one_is_not_followed() -> None:
    """Its rim beside the short one would be; near what stays bare the outline is the garment's."""
    given = scene()
    given["old"][..., 60:, : RIGHT + 3] = 0
    given["old"][..., 40:110, 15:40] = 1
    flow = widened(**given)
    assert torch.allclose(flow[..., 50:100, :40], given["flow"][..., 50:100, :40], atol=1e-6)


def test_nothing_breaks_where_nothing_is_worn() -> None:
    given = scene()
    for name in ("old", "own", "here"):
        given[name] = torch.zeros_like(given[name])
    assert widened(**given).isfinite().all()
