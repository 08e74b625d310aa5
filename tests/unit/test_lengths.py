"""A top whose ends would lie just above the old one's is led down to them; others stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH, STYLING
from tryon.models.blocks import pixel_coordinates, warp
from tryon.models.geometry import PARTS
from tryon.models.lengths import lengthened
from tryon.preprocess import (
    LEFT_ELBOW,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

H, W = NET_HEIGHT // 2, NET_WIDTH // 2
PIXELS = pixel_coordinates(H, W, torch.zeros(1))
ROWS, COLUMNS = torch.arange(H)[:, None], torch.arange(W)[None]
TOP, HEM = 30, 80
"""Rows of the trunk's upper end and of the new top's hem."""
SLEEVE = 74
"""The row in which its long sleeves end."""
TRUNK = (COLUMNS >= 30) & (COLUMNS < 66) & (ROWS >= TOP)
ARM_LEFT, ARM_RIGHT = ((at <= COLUMNS) & (at + 12 > COLUMNS) & (ROWS >= TOP) for at in (74, 10))
ARMS = ARM_LEFT | ARM_RIGHT


def place(row: float, column: float) -> Tensor:
    return torch.tensor([column / W, row / H])


def scene(hem: int = HEM, sleeve: int = SLEEVE) -> dict[str, Tensor]:
    """A new top worn as it is shown, over an old one that ends at `hem`, its sleeves at `sleeve`;
    the forearms hang from row 55 to row 85."""
    marks = torch.full((1, len(LANDMARKS), 2), 0.5)
    joints = torch.ones(1, 39, 5)
    for side, trunk, arm in (("left", 66, 80), ("right", 30, 16)):
        for name, spot in (
            ("armpit", (TOP + 10, trunk)), ("hem", (HEM, trunk)), ("elbow", (55, arm)),
            ("cuff", (SLEEVE, arm)),
        ):  # fmt: skip
            marks[0, LANDMARKS.index(f"{name}_{side}")] = place(*spot)
    margin = (NET_HEIGHT - NET_WIDTH) / 2 / NET_HEIGHT
    for joint, row, column in (
        (LEFT_SHOULDER, 25, 80), (LEFT_ELBOW, 55, 80), (LEFT_WRIST, 85, 80),
        (RIGHT_SHOULDER, 25, 16), (RIGHT_ELBOW, 55, 16), (RIGHT_WRIST, 85, 16),
    ):  # fmt: skip
        joints[0, joint, :2] = torch.tensor([margin + column / H, row / H])
    parts = torch.full((1, len(PARTS), H // 4, W // 4), 1e-6)
    for name, where in (
        ("torso_lower", TRUNK), ("sleeve_lower_left", ARM_LEFT), ("sleeve_lower_right", ARM_RIGHT)
    ):  # fmt: skip
        small = torch.nn.functional.avg_pool2d(where.float()[None], 4)
        parts[:, list(PARTS).index(name)] += small
    new = (TRUNK & (ROWS < HEM)) | (ARMS & (ROWS < SLEEVE))
    old = (TRUNK & (hem > ROWS)) | (ARMS & (sleeve > ROWS))
    own = new.float()[None, None].repeat_interleave(2, 2).repeat_interleave(2, 3)
    condition = torch.zeros(1, 5)
    condition[:, CATEGORIES.index("upper")] = 1
    return {
        "flow": PIXELS.clone(), "parts": parts, "old": old.float()[None, None], "own": own,
        "here": marks, "there": marks.clone(), "visible": torch.ones(1, len(LANDMARKS)),
        "condition": condition, "styling": torch.zeros(1, len(STYLING)), "joints": joints,
        "pixels": PIXELS,
    }  # fmt: skip


def bare(given: dict[str, Tensor], where: Tensor) -> float:
    """Pixels of the old top that the new one doesn't cover."""
    covered = warp(given["own"], lengthened(**given))
    return float((given["old"] * (covered < 0.5) * where).sum())


def test_a_hem_just_above_the_old_one_is_led_down_to_it() -> None:
    given = scene(hem=HEM + 6)
    assert bare(given, TRUNK) == 0
    moved = (lengthened(**given) - given["flow"])[0, 1]
    assert moved[: TOP + 10].abs().max() == 0 and moved[:, COLUMNS[0] < 20].abs().max() == 0
    # No further than the old one's and a margin, and all the way down in order.
    covered = warp(given["own"], lengthened(**given))[0, 0]
    assert covered[HEM + 9 :, 34:62].max() < 0.5
    assert lengthened(**given)[0, 1, :, 48].diff().min() > 0


def test_sleeves_just_above_the_old_ones_end_are_led_down_to_it() -> None:
    given = scene(sleeve=SLEEVE + 6)
    assert bare(scene(), ARMS) == 0 and bare(given, ARMS) < 0.05 * 6 * 24
    moved = (lengthened(**given) - given["flow"]).abs()[0].amax(0)
    assert moved[:50].max() < 1e-6 and moved[:, 34:62].max() < 1e-6
    assert warp(given["own"], lengthened(**given))[0, 0, SLEEVE + 9 :, ARMS[-1]].max() < 0.5


def same(given: dict[str, Tensor]) -> bool:
    return torch.allclose(lengthened(**given), given["flow"], atol=1e-6)


def test_ends_that_are_the_old_ones_or_far_above_or_below_stay() -> None:
    for hem, sleeve in ((HEM, SLEEVE), (HEM + 12, SLEEVE + 14), (HEM - 9, SLEEVE - 12)):
        assert same(scene(hem, sleeve)), (hem, sleeve)


@pytest.mark.parametrize("asked", [{"size": -1}, {"tucked": 1, "rolled": 1}])
def test_what_is_asked_for_stays(asked: dict[str, int]) -> None:
    given = scene(HEM + 6, SLEEVE + 6)
    for name, value in asked.items():
        given["styling"][:, list(STYLING).index(name)] = value
    assert same(given)


def test_trousers_and_cropped_tops_and_tops_without_sleeves_stay() -> None:
    given = scene(HEM + 6, SLEEVE + 6)
    given["condition"] = given["condition"].roll(1, 1)
    assert same(given)
    given = scene(HEM + 6)
    for side in ("left", "right"):
        given["there"][0, LANDMARKS.index(f"armpit_{side}"), 1] = (HEM - 15) / H
    assert same(given)
    given = scene(sleeve=SLEEVE + 6)
    given["visible"][:, [LANDMARKS.index(f"cuff_{side}") for side in ("left", "right")]] = 0
    assert same(given)


def test_what_is_no_end_of_the_old_one_is_not_followed() -> None:
    """A buckle of its colour below the hem; shorts beside bare forearms; sleeves that go on."""
    given = scene()
    given["old"][..., HEM : HEM + 6, 44:52] = 1
    assert same(given)
    given = scene(sleeve=TOP + 10)
    given["old"][..., SLEEVE : SLEEVE + 6, :] = (ARMS | TRUNK)[SLEEVE : SLEEVE + 6]
    assert same(given)
    given = scene(sleeve=H)
    assert same(given)


def short(end: int) -> dict[str, Tensor]:
    """Of a short-sleeved top whose sleeves end at row 48, over one whose sleeves end at `end`."""
    given = scene()
    given["visible"][:, [LANDMARKS.index(f"elbow_{side}") for side in ("left", "right")]] = 0
    given["own"][..., 2 * 48 :, :] *= (
        TRUNK[48:].float().repeat_interleave(2, 0).repeat_interleave(2, 1)
    )
    given["old"][..., end:, :] *= TRUNK[end:].float()
    for side, arm in (("left", 80), ("right", 16)):
        given["here"][0, LANDMARKS.index(f"cuff_{side}")] = place(48, arm)
    return given


def test_short_sleeves_are_led_to_short_ones_and_not_to_long_ones() -> None:
    given = short(52)
    assert (
        bare(given, ARMS)
        < 0.05 * 4 * 24
        < bare(short(52) | {"visible": 0 * given["visible"]}, ARMS)
    )
    for end in (62, 70, 85):
        assert same(short(end)), end
    bent = short(85)
    bent["old"][..., 57:, 60:] *= TRUNK[57:, 60:].float()
    bent["old"][..., 50:60, 60:84] = 1
    bent["joints"][0, LEFT_WRIST, :2] = bent["joints"][0, LEFT_ELBOW, :2] - torch.tensor(
        [0.25, 0.0]
    )
    before = bent["flow"][..., 70:]
    assert torch.allclose(lengthened(**bent)[..., 70:], before, atol=1e-6), "an elbow is no end"


def test_a_hem_that_is_led_goes_no_further_beside_an_arm_before_it() -> None:
    """An arm held before the trunk, its wrist at the hem: one of both leads, not both together."""
    given = scene(hem=HEM + 5, sleeve=SLEEVE)
    margin = (NET_HEIGHT - NET_WIDTH) / 2 / NET_HEIGHT
    for joint, row in ((LEFT_SHOULDER, 25), (LEFT_ELBOW, 50), (LEFT_WRIST, 80)):
        given["joints"][0, joint, :2] = torch.tensor([margin + 55 / H, row / H])
    given["here"][0, LANDMARKS.index("cuff_left")] = place(78, 55)
    covered = warp(given["own"], lengthened(**given))[0, 0]
    assert covered[HEM + 8 :, 34:62].max() < 0.5
    assert lengthened(**given)[0, 1, :, 34:62].diff(dim=0).min() > 0


def test_hands_hide_some_of_a_hem_and_some_are_slanted() -> None:
    given = scene(hem=HEM + 5)
    given["old"][..., HEM : HEM + 5, 36:41] = 0
    assert bare(given, TRUNK & (COLUMNS >= 44)) == 0
    given = scene()
    given["old"][..., HEM:, 30:66] = (ROWS[HEM:] < HEM + (COLUMNS[:, 30:66] - 30) / 3).float()
    assert bare(given, TRUNK) < 0.05 * given["old"][..., HEM:, 30:66].sum()
    assert warp(given["own"], lengthened(**given))[0, 0, HEM + 6 :, 34:40].max() < 0.5
    given = scene()
    given["old"][..., HEM:, 30:66] = (ROWS[HEM:] < HEM + (COLUMNS[:, 30:66] // 6 % 2) * 9).float()
    assert same(given), "a ragged one"
    given = scene()
    given["old"][..., 62:67, 30:66] = 1
    given["own"][..., 124:134, 60:132] = 0
    assert same(given), "what is bare above isn't below a hem"


def test_each_of_a_batch_is_led_by_its_own() -> None:
    both = scene(HEM + 6), scene(HEM, SLEEVE + 6)
    given = {n: torch.cat([one[n] for one in both]) for n in both[0] if n != "pixels"}
    found = lengthened(**given, pixels=PIXELS)
    for i, one in enumerate(both):
        assert torch.allclose(found[i : i + 1], lengthened(**one), atol=1e-6)


def test_nothing_breaks_for_a_person_who_is_not_there() -> None:
    given = scene(HEM + 6, SLEEVE + 6)
    for name in ("joints", "here", "visible", "old"):
        given[name] = torch.zeros_like(given[name])
    assert lengthened(**given).isfinite().all()
