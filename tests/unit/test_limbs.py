"""Painted bare arms take over how light real ones are, place by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training.data.photographs import people, photograph
from training.relief import ARMS, shape_of
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models import system
from tryon.models.blocks import pixel_coordinates
from tryon.models.limbs import (
    _MIDDLE,
    _SIZE,
    _WIDE,
    COLUMNS,
    ROWS,
    Relief,
    beside_arms,
    limbs,
    outlines,
    places,
)

HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)
PIXELS = pixel_coordinates(NET_HEIGHT // 4, NET_WIDTH // 4, torch.zeros(1))
SHOULDER, ELBOW, WRIST = 30, 60, 90
"""Rows; the arms hang straight down, at the columns below, 9 pixels wide each."""
LEFT, RIGHT = 70, 26


def joints(**moved: tuple[int, int]) -> Tensor:
    """(1, 39, 5): a person who faces us, whose left arm is on the picture's right."""
    places = {"11": (LEFT, SHOULDER), "12": (RIGHT, SHOULDER), "13": (LEFT, ELBOW),
              "14": (RIGHT, ELBOW), "15": (LEFT, WRIST), "16": (RIGHT, WRIST), "23": (56, 80),
              "24": (40, 80)} | {name[1:]: place for name, place in moved.items()}  # fmt: skip
    marks = torch.full((1, 39, 5), 0.5)
    for index, (column, row) in places.items():
        view = torch.tensor([(column + 0.5) / HALF[1], (row + 0.5) / HALF[0]])
        marks[0, int(index), :2] = torch.stack([0.125 + 0.75 * view[0], view[1]])
    return marks


def bare(shift: int = 0) -> Tensor:
    """Both arms from below a short sleeve on, `shift` columns beside their joints."""
    skin = torch.zeros(1, 1, *HALF)
    for middle in (LEFT, RIGHT):
        skin[..., 45 : WRIST + 1, middle + shift - 4 : middle + shift + 5] = 1
    return skin


def relieved(relief: Relief, marks: Tensor, skin: Tensor) -> tuple[Tensor, Tensor]:
    at = places(marks, PIXELS)
    share, gain = relief(at, outlines(at, skin, 0 * skin))
    return share, gain


def ramps(told: str) -> Relief:
    """Gains that tell how far along an arm a pixel lies, how far across, or which arm's it is."""
    relief = Relief()
    gains = {"along": torch.linspace(0, 2, ROWS)[:, None], "across": torch.linspace(-1, 1, COLUMNS),
             "which": torch.tensor([3.0, 5.0])[:, None, None]}  # fmt: skip
    relief.gains[:] = gains[told]
    return relief


def test_limbs_have_the_trunk_at_their_inner_side() -> None:
    start, along, side = limbs(joints())
    assert start.shape == along.shape == side.shape == (1, 4, 2)
    assert (side[0, [0, 2], 0] > 0).all() and (side[0, [1, 3], 0] < 0).all()
    assert torch.allclose((along * side).sum(2), torch.zeros(1, 4), atol=1e-6)
    assert torch.allclose(along.norm(dim=2), side.norm(dim=2))
    # A forearm raised before the chest keeps the side that was its outer one.
    raised = limbs(joints(j15=(56, 50)))[2]
    assert raised[0, 2, 1] > 0


def test_each_place_of_an_arm_has_its_own_relief() -> None:
    for shift in (0, 2):
        told = [
            relieved(ramps(name), joints(), bare(shift)) for name in ("along", "across", "which")
        ]
        arm, gain = told[0]
        assert arm.shape == (1, 1, *HALF) and gain.shape == (1, 1, NET_HEIGHT, NET_WIDTH)
        along, across, which = (gain[0, 0] for _, gain in told)
        for middle, number, outer in ((LEFT, 3, 1), (RIGHT, 5, -1)):
            column = middle + shift
            assert arm[0, 0, 50:86, column - 3 : column + 4].min() > 0.95
            column = 2 * column + 1
            for row, far in ((100, 0.7), (120, 1.0), (150, 1.5)):
                assert abs(float(along[row, column]) - far) < 0.06
                assert abs(float(across[row, column])) < 0.15, "its middle, not the joints' line"
                assert 0.7 < float(across[row, column + outer * 8]) <= 1, "the outer edge"
                assert abs(float(which[row, column]) - number) < 0.01
        assert arm[..., 40:56].max() == 0, "nothing of the trunk"
        assert arm[0, 0, WRIST + 10 :].max() == 0, "nor of hands"
        assert (which[:, 80:112] == 1).all()


def test_no_relief_without_arms_or_towards_the_camera() -> None:
    relief = ramps("across")
    share, gain = relieved(relief, joints(), torch.zeros(1, 1, *HALF))
    assert share.max() < 1e-3 and (gain - 1).abs().max() < 1e-2
    foreshortened = joints(j13=(LEFT, 36), j15=(LEFT, 40))
    share = relieved(relief, foreshortened, bare())[0]
    assert share[..., HALF[1] // 2 :].max() < 1e-3 and share[..., : HALF[1] // 2].max() > 0.95
    nowhere = relieved(relief, torch.zeros(1, 39, 5), bare())
    assert all(part.isfinite().all() for part in nowhere)


def test_no_arm_is_as_wide_as_what_is_left_of_its_sleeve() -> None:
    found = beside_arms(places(joints(), PIXELS))
    assert found.shape == (1, 1, *HALF) and found.min() >= 0 and found.max() <= 1
    for middle, outer in ((LEFT, 1), (RIGHT, -1)):
        row = found[0, 0, 78]
        # A limb is 30 rows long: below the elbow an arm reaches 6 pixels aside, at the wrist 5.
        assert row[middle + outer * 9] > 0.9 and row[middle + outer * 4] == 0
        inner = middle - outer * 8
        assert found[..., inner - 10 : inner + 11].max() == 0, "neither the trunk nor legs"
    assert found[0, 0, : SHOULDER + 14].max() == 0 and found[0, 0, WRIST + 6 :].max() == 0


def test_a_ragged_arm_is_given_a_real_ones_outline() -> None:
    """Narrow and wide in places, and blurred: it is as wide as it is in all, and as far aside."""
    for shift in (0, 1):
        skin = bare(shift)
        skin[..., 55:65, :] = torch.nn.functional.max_pool2d(skin[..., 55:65, :], (1, 5), 1, (0, 2))
        skin[..., 75:80, :] *= 0.4
        found = outlines(places(joints(), PIXELS), skin, skin)
        assert found.inside.shape == found.near.shape == (1, 1, NET_HEIGHT, NET_WIDTH)
        for middle in (LEFT, RIGHT):
            centre = 2 * (middle + shift) + 1
            rows = found.inside[0, 0, 100:180, centre - 24 : centre + 24].sum(1)
            assert found.near[0, 0, 112:170, centre - 10 : centre + 10].min() > 0.75
            assert 14 < float(rows[:40].mean()) < 22 and rows.diff().abs().max() < 1.5
            assert float(rows[75]) < 0.75 * float(rows[20])
            aside = torch.arange(-24.0, 24) + 0.5
            moved = (found.inside[0, 0, 100:180, centre - 24 : centre + 24] * aside).sum(1) / rows
            assert moved.abs().max() < 2


def test_an_arm_that_is_seen_keeps_its_own_outline() -> None:
    found = outlines(places(joints(), PIXELS), bare(), 0 * bare())
    assert found.rest.max() == 0 and found.near.max() == 0, "no sleeve was there"
    one = bare()
    one[..., : HALF[1] // 2] = 0
    found = outlines(places(joints(), PIXELS), bare(), one)
    assert found.near[..., : NET_WIDTH // 2].max() == 0 and found.near[..., 120:160].max() > 0.9


def test_the_rest_of_a_cuff_is_beside_painted_forearms_and_above_hands() -> None:
    rest = outlines(places(joints(), PIXELS), bare(), bare()).rest[0, 0]
    for middle, outer in ((LEFT, 1), (RIGHT, -1)):
        centre = 2 * middle + 1
        assert rest[140:170, centre + outer * 16].min() > 0.9, "as far aside no arm is"
        assert rest[176:184, centre].min() > 0.5, "just above the hand"
        assert rest[130:155, centre - 2 : centre + 3].max() == 0
    assert rest[:, 84:110].max() == 0, "nor the trunk"
    assert rest[:114].max() == 0 and rest[196:].max() == 0, "neither upper arms nor hands"


def test_arms_are_as_wide_as_those_of_real_people() -> None:
    """The figures in the code are what `training.relief` reads of the photos."""
    far = (np.arange(48) + 0.5) / 24
    wide, middle = np.array(_WIDE), np.array(_MIDDLE)
    found = []
    for path in people("train"):
        photo = photograph(path)
        found += [shape_of(photo, name, far) for name in ARMS]
    below = slice(16, 46)  # sleeves end above
    halves, asides = np.array(found).transpose(1, 0, 2)
    assert len(halves) == 16
    sizes = halves[:, 24:44].mean(1, keepdims=True)
    assert sizes.mean() == pytest.approx(_SIZE, rel=0.03)
    assert np.abs(np.nanmean((halves / sizes)[:, below], 0) - wide[below]).max() < 0.03
    assert np.nanstd((halves / sizes)[:, below], 0).max() < 0.06
    assert np.abs(np.nanmean(asides[:, below], 0) - middle[below]).max() < 0.006


def test_people_of_a_batch_are_told_apart() -> None:
    relief = ramps("along")
    one, other = (joints(), bare()), (joints(j13=(80, 60), j15=(60, 80)), bare(2))
    both = relieved(relief, torch.cat([one[0], other[0]]), torch.cat([one[1], other[1]]))
    for i, alone in enumerate((one, other)):
        for part, own in zip(both, relieved(relief, *alone), strict=True):
            assert torch.allclose(part[i : i + 1], own, atol=1e-5)


def test_the_weights_know_real_arms() -> None:
    """Round and creased: lighter along the middle than at the sides, and nowhere even."""
    gains = system.load_models()["generator"].get_submodule("relief").get_buffer("gains")
    assert gains.shape == (2, ROWS, COLUMNS) and gains.min() > 0.3 and gains.max() < 1.7
    assert torch.allclose(gains.mean((1, 2)), torch.ones(2), atol=0.01)
    middle, sides = gains[:, :, 8:16].mean(2), gains[:, :, [0, 1, -2, -1]].mean(2)
    assert ((middle - sides)[:, 30:90].mean(1) > 0.08).all()
    assert (gains[:, 40:90].diff(dim=1).abs().mean((1, 2)) > 0.005).all()
