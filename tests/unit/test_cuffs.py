"""Long sleeves end straight, across the arm; all else of the flow stays."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import pixel_coordinates, up2, warp
from tryon.models.cuffs import straightened
from tryon.models.geometry import ASPECT, PARTS

HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)
PIXELS = pixel_coordinates(*HALF, torch.zeros(1))
ELBOW, CUFF = (66, 60), (72, 100)
"""Column and row of the left arm's; the right arm's are mirrored."""


def scene() -> dict[str, Tensor]:
    """Arms a little aslant, and a flow that turns all of it by 20 degrees."""
    marks = torch.full((1, len(LANDMARKS), 2), 0.5)
    for side in ("left", "right"):
        for name, (column, row) in (("elbow", ELBOW), ("cuff", CUFF)):
            column = column if side == "left" else HALF[1] - 1 - column
            place = torch.tensor([(column + 0.5) / HALF[1], (row + 0.5) / HALF[0]])
            marks[0, LANDMARKS.index(f"{name}_{side}")] = place
    columns, rows = PIXELS[0, 0] * HALF[1], PIXELS[0, 1] * HALF[0]
    arms = []
    for side in ("left", "right"):
        middle = ELBOW[0] + (rows - ELBOW[1]) * (CUFF[0] - ELBOW[0]) / (CUFF[1] - ELBOW[1])
        middle = middle if side == "left" else HALF[1] - 1 - middle
        arms.append(((columns - middle).abs() < 7).float() * (rows > ELBOW[1] - 10))
    arms = torch.stack(arms)[None]
    parts = torch.full((1, len(PARTS), HALF[0] // 4, HALF[1] // 4), 0.01)
    small = torch.nn.functional.avg_pool2d(arms, 4)
    for i, side in enumerate(("left", "right")):
        parts[:, list(PARTS).index(f"sleeve_lower_{side}")] = small[:, i]
    parts[:, list(PARTS).index("torso_lower")] = 1 - small.amax(1)
    turn = math.radians(20)
    x, y = (PIXELS[:, 0] - 0.5) * ASPECT, PIXELS[:, 1] - 0.5
    flow = torch.stack([
        0.5 + (math.cos(turn) * x - math.sin(turn) * y) / ASPECT,
        0.5 + math.sin(turn) * x + math.cos(turn) * y,
    ], 1)  # fmt: skip
    return {"flow": flow, "parts": parts, "arms": arms, "here": marks, "there": marks,
            "visible": torch.ones(1, len(LANDMARKS)), "joints": torch.zeros(1, 39, 5),
            "own": torch.ones(1, 1, NET_HEIGHT, NET_WIDTH), "pixels": PIXELS}  # fmt: skip


def test_a_flow_without_shear_stays() -> None:
    given = scene()
    assert torch.allclose(straightened(**given)[0], given["flow"], atol=1e-4)
    # Sleeves worn half as wide as they lie flat: across the left arm's own line.
    start, end = torch.tensor(ELBOW) + 0.5, torch.tensor(CUFF) + 0.5
    along = (end - start).float() / (end - start).float().norm()
    across = torch.stack([-along[1], along[0]])
    places = torch.stack([PIXELS[0, 0] * HALF[1], PIXELS[0, 1] * HALF[0]]) - start[:, None, None]
    wide = 2 * (across[:, None, None] * places).sum(0) * across[:, None, None]
    flow = (
        start[:, None, None] + wide + (along[:, None, None] * places).sum(0) * along[:, None, None]
    )
    given["flow"] = (flow / torch.tensor([HALF[1], HALF[0]])[:, None, None])[None]
    found = straightened(**given)[0]
    half = np.s_[..., HALF[1] // 2 :]
    assert torch.allclose(found[half], given["flow"][half], atol=1e-3)


def test_people_of_a_batch_are_told_apart() -> None:
    one, other = scene(), scene()
    other["here"] = other["here"] + 0.03
    other["flow"] = other["flow"] + 0.1 * one["flow"].square()
    other["visible"][:, LANDMARKS.index("elbow_left")] = 0
    both = {name: torch.cat([one[name], other[name]]) for name in one if name != "pixels"}
    found = straightened(**both, pixels=PIXELS)
    for i, alone in enumerate((straightened(**one), straightened(**other))):
        for part, own in zip(found, alone, strict=True):
            assert torch.allclose(part[i : i + 1], own, atol=1e-5)


def test_a_bend_beside_the_arms_line_is_taken_out() -> None:
    """The inner corner of a cuff is drawn down; beyond the arm nothing changes."""
    given = scene()
    own = given["flow"].clone()
    columns, rows = PIXELS[0, 0] * HALF[1], PIXELS[0, 1] * HALF[0]
    middle = ELBOW[0] + (rows - ELBOW[1]) * (CUFF[0] - ELBOW[0]) / (CUFF[1] - ELBOW[1])
    inner = ((middle - 2 - columns) / 4).clamp(0, 1)
    given["flow"] = own.clone()
    given["flow"][:, 1] -= 0.05 * inner * (columns > HALF[1] / 2)
    found = straightened(**given)[0]
    cuff = (slice(None), slice(None), slice(94, 103), slice(66, 72))
    off, mended = ((f - own)[cuff].abs().max() for f in (given["flow"], found))
    assert off > 0.03 and mended < 0.25 * off
    trunk = (slice(None), slice(None), slice(0, 128), slice(44, 56))
    assert torch.equal(found[trunk], given["flow"][trunk])
    above = (slice(None), slice(None), slice(0, 60), slice(0, 96))
    assert torch.equal(found[above], given["flow"][above])


def test_a_cuff_ends_across_the_sleeve() -> None:
    """A shear is no part of how a sleeve is worn; what lies along it stays."""
    given = scene()
    plain = given["flow"].clone()
    column = PIXELS[0, 0] * HALF[1]
    given["flow"][:, 1] += 0.6 * (column - CUFF[0]) / HALF[1] * (column > HALF[1] / 2)
    found = straightened(**given)[0]
    across = (slice(None), slice(None), CUFF[1], slice(CUFF[0] - 4, CUFF[0] + 5))
    # With no shear a row of pixels, nearly across the arm, comes from a line turned as the arm is.
    slope = (found[across][0, 1, -1] - found[across][0, 1, 0]) / ASPECT
    wide = found[across][0, 0, -1] - found[across][0, 0, 0]
    before = (given["flow"][across][0, 1, -1] - given["flow"][across][0, 1, 0]) / ASPECT
    wanted = (plain[across][0, 1, -1] - plain[across][0, 1, 0]) / ASPECT
    assert before / wide > 0.9 and abs(slope - wanted) / wide < 0.1


def test_no_sleeves_and_few_pixels_are_left() -> None:
    given = scene()
    given["flow"] = given["flow"] + 0.02 * torch.rand(
        given["flow"].shape, generator=torch.Generator().manual_seed(1)
    )
    sleeveless = given["visible"].clone()
    for side, name in itertools.product(("left", "right"), ("elbow", "cuff")):
        sleeveless[:, LANDMARKS.index(f"{name}_{side}")] = 0
    assert torch.equal(straightened(**{**given, "visible": sleeveless})[0], given["flow"])
    assert not torch.equal(straightened(**given)[0], given["flow"])
    none = torch.full_like(given["parts"], 1e-6)
    none[:, 0] = 1
    assert torch.equal(straightened(**{**given, "parts": none})[0], given["flow"])
    same = given["here"].clone()
    same[:] = 0.5  # arms of no length
    assert straightened(**{**given, "here": same})[0].isfinite().all()


def test_a_forearm_is_hidden_as_far_as_its_cuff() -> None:
    given = scene()
    hidden = straightened(**given)[1]
    assert hidden.shape == (1, 2, *HALF)
    assert hidden[:, :, 68:94][given["arms"][:, :, 68:94] > 0].min() == 1
    assert hidden[:, 0, :, : HALF[1] // 2].max() == 0 and hidden[:, 1, :, HALF[1] // 2 :].max() == 0
    assert hidden[:, :, CUFF[1] + 3 :].max() == 0 and hidden[:, :, : ELBOW[1] - 2].max() == 0
    assert hidden[..., 44:52].max() == 0, "and nothing of the trunk"
    before = given["here"].clone()
    for side, column in (("left", 0.95), ("right", 0.05)):
        before[:, LANDMARKS.index(f"armpit_{side}"), 0] = column
    assert straightened(**{**given, "here": before})[1].max() == 0, "arms in front are seen"


def short_sleeve(tilt: float) -> dict[str, Tensor]:
    """The left arm's short sleeve, which ends in its picture along a line that falls by `tilt` rows
    a column, and is drawn on the person through a flow that bends it into a wave."""
    given = scene()
    visible = torch.zeros_like(given["visible"])
    here, there = given["here"].clone(), given["there"].clone()
    places = {"shoulder": ((60, 36), (62, 36)), "cuff": ((72, 60), (78, 60))}
    for name, pair in places.items():
        index = LANDMARKS.index(f"{name}_left")
        visible[:, index] = 1
        for marks, (column, row) in zip((here, there), pair, strict=True):
            marks[0, index] = torch.tensor([(column + 0.5) / HALF[1], (row + 0.5) / HALF[0]])
    columns, rows = PIXELS[0, 0] * HALF[1], PIXELS[0, 1] * HALF[0]
    own = (rows < 60 + tilt * (columns - 78)) * (columns > 62) * (columns < 96)
    sleeve = ((columns - 75).abs() < 12).float() * (rows > 40)
    parts = torch.full((1, len(PARTS), HALF[0] // 4, HALF[1] // 4), 0.01)
    small = torch.nn.functional.avg_pool2d(sleeve[None, None], 4)[0]
    parts[:, list(PARTS).index("sleeve_upper_left")] = small
    parts[:, list(PARTS).index("torso_upper")] = 1 - small
    wave = 3 * torch.sin(columns / 2) / HALF[0]
    flow = torch.stack([PIXELS[:, 0] + 7 / HALF[1], PIXELS[:, 1] + wave], 1)
    joints = torch.full((1, 39, 5), 0.5)
    for index, (column, row) in {11: (69, 36), 13: (73, 80), 12: (30, 36), 14: (26, 80)}.items():
        x = (column + 0.5) / HALF[1]
        joints[0, index, :2] = torch.tensor([0.125 + 0.75 * x, (row + 0.5) / HALF[0]])
    return {**given, "here": here, "there": there, "visible": visible, "flow": flow,
            "parts": parts, "arms": torch.zeros_like(given["arms"]), "joints": joints,
            "own": up2(own.float()[None, None])}  # fmt: skip


@pytest.mark.parametrize("tilt", [0.0, 0.4, -0.4])
def test_a_short_sleeve_ends_across_the_arm(tilt: float) -> None:
    given = short_sleeve(tilt)

    def drawn(flow: Tensor) -> Tensor:
        """How far down the sleeve is seen, columns 73 to 79: towards the trunk the flow stays."""
        mask = warp(given["own"], flow)[0, 0]
        return mask[40:80, 73:80].sum(0)

    before, found = drawn(given["flow"]), drawn(straightened(**given)[0])
    # The arm goes 1 column to the right every 11 rows: across it is nearly a row.
    wanted = -1 / 11

    def bent(ends: Tensor) -> float:
        line = wanted * (torch.arange(7.0) - 3)
        return float((ends - ends.mean() - line).abs().max())

    assert bent(before) > 1.2 and bent(found) < 0.75
    assert abs(float(found.mean() - before.mean())) < 3, "and is no longer than it was"
    far = np.s_[:, :, :, : HALF[1] // 2]
    assert torch.equal(straightened(**given)[0][far], given["flow"][far])
    assert straightened(**given)[1].max() == 0, "no arm is hidden beside it"
