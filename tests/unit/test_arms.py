"""Where an old short sleeve stood off an arm, a new sleeve has an outline of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models.arms import standing_off
from tryon.models.blocks import pixel_coordinates

HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)
PIXELS = pixel_coordinates(*HALF, torch.zeros(1))
SHOULDER, ELBOW = 40, 72
"""Rows; the arms hang straight down, at the columns below."""
LEFT, RIGHT = 62, 34
HEM = 56


def joints() -> Tensor:
    """(1, 39, 5): a person who faces us, whose left arm is on the picture's right."""
    marks = torch.full((1, 39, 5), 0.5)
    places = {11: (LEFT, SHOULDER), 12: (RIGHT, SHOULDER), 13: (LEFT, ELBOW), 14: (RIGHT, ELBOW),
              23: (54, 80), 24: (42, 80)}  # fmt: skip
    for index, (column, row) in places.items():
        view = torch.tensor([(column + 0.5) / HALF[1], (row + 0.5) / HALF[0]])
        marks[0, index, :2] = torch.stack([0.125 + 0.75 * view[0], view[1]])
    return marks


def masks(puff: int = 3) -> dict[str, Tensor]:
    """The new garment with sleeves that are `puff` pixels wider as far as the old ones went."""
    cloth, old, arms = (torch.zeros(1, 1, *HALF) for _ in range(3))
    wide = 5
    cloth[..., 36:84, RIGHT : LEFT + 1] = 1
    for one in (RIGHT, LEFT):
        cloth[..., 36:HEM, one - wide - puff : one + wide + puff + 1] = 1
        cloth[..., HEM:84, one - wide : one + wide + 1] = 1
        old[..., 36:HEM, one - wide - puff : one + wide + puff + 1] = 1
        arms[..., HEM:90, one - 3 : one + 4] = 1
    old[..., 36:84, RIGHT : LEFT + 1] = 1
    return {"cloth": cloth, "before": torch.zeros_like(cloth), "old": old, "arms": arms}


def test_a_puff_above_an_old_hem_is_pulled_straight() -> None:
    found = standing_off(joints(), **masks(), pixels=PIXELS)
    assert found.shape == (1, 1, *HALF) and found.min() >= 0 and found.max() <= 1
    for one, out in ((LEFT, 1), (RIGHT, -1)):
        rim = found[0, 0, HEM - 4 : HEM - 1, one + out * 8]
        assert (rim > 0.5).all(), "its outermost pixels go"
        assert (found[0, 0, 36:84, one - 4 : one + 5] < 0.05).all(), "the sleeve itself stays"
    assert (found[..., 36:84, RIGHT:LEFT] == 0).all(), "and so does all of the trunk"
    # From the shoulder on down there is ever more of it: a straight line, not a step further up.
    gone = found[0, 0, 44 : HEM - 1, LEFT : LEFT + 12].sum(1)
    assert (gone.diff() > -0.1).all() and gone[-1] > gone[0] + 1


def taken(masks: dict[str, Tensor]) -> Tensor:
    """(h, w): what of the garment goes."""
    return (standing_off(joints(), **masks, pixels=PIXELS) * masks["cloth"])[0, 0]


def test_nothing_goes_where_no_old_sleeve_ends() -> None:
    assert taken(masks(puff=0)).max() < 0.3
    long, bare = masks(), masks()
    long["arms"] = torch.zeros_like(long["arms"])
    bare["old"] = torch.zeros_like(bare["old"])
    assert taken(long).max() == 0 and taken(bare).max() == 0


def test_an_arm_before_something_wide_is_left() -> None:
    """What stands off by far more than a sleeve is another part of the garment."""
    wide = masks()
    wide["cloth"][..., 36:HEM, :] = 1
    assert taken(wide).max() == 0


def test_a_bare_arm_that_is_seen_is_not_cut_into() -> None:
    seen = masks()
    seen["before"] = torch.zeros_like(seen["arms"])
    seen["arms"][..., HEM:90, LEFT : LEFT + 7] = 1
    seen["before"][..., HEM:90, LEFT : LEFT + 7] = 1
    seen["cloth"][..., 70:84, LEFT + 2 :] = 0  # a waist further down, which alone would draw it in
    seen["before"][..., 70:90, LEFT + 2 :] = 0
    seen["arms"][..., 74:90, LEFT + 2 :] = 0
    found = standing_off(joints(), **seen, pixels=PIXELS)
    assert found[0, 0, HEM:66, LEFT : LEFT + 5].max() < 0.4


def test_several_at_once_are_told_apart() -> None:
    puffed, plain = masks(), masks(puff=0)
    both = {name: torch.cat([puffed[name], plain[name]]) for name in puffed}
    found = standing_off(joints().expand(2, -1, -1), **both, pixels=PIXELS)
    assert torch.allclose(found[:1], standing_off(joints(), **puffed, pixels=PIXELS), atol=1e-5)
    assert torch.allclose(found[1:], standing_off(joints(), **plain, pixels=PIXELS), atol=1e-5)


def test_a_garment_without_sleeves_has_none_to_straighten() -> None:
    """Its arm is bare where the old sleeve was: nothing of that is a wall."""
    sleeveless = masks()
    for one in (RIGHT, LEFT):
        sleeveless["cloth"][..., 36:90, one - 8 : one + 9] = 0
    assert standing_off(joints(), **masks(), pixels=PIXELS).max() > 0.5
    assert standing_off(joints(), **sleeveless, pixels=PIXELS).max() == 0
