"""Rests of an old collar that are taken for a neck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import pixel_coordinates
from tryon.models.zones import collar_scraps, throat

HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)


def person(luma: float = 0.45) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Face and neck of that luma (with darker eyes), an old top below, and below the chin."""
    light, face, old, below = (torch.zeros(1, 1, *HALF) for _ in range(4))
    face[..., 20:60, 36:60], old[..., 60:, 20:76], below[..., 46:, :] = 1, 1, 1
    light += 0.9
    light[..., 20:60, 36:60] = luma
    light[..., 28:32, 40:56] = 0.6 * luma
    return light, face, old, below


def test_a_pale_collar_beside_a_neck_is_one_and_the_neck_is_not() -> None:
    light, face, old, below = person()
    light[..., 54:60, 36:40] = 0.85
    found = collar_scraps(light, face, old, below)
    assert found[..., 57:60, 36:39].min() > 0.9
    assert found[..., :54, :].max() < 0.1 and found[..., 54:60, 42:60].max() < 0.1


@pytest.mark.parametrize("luma", [0.15, 0.45, 0.8])
def test_necks_of_any_skin_have_none(luma: float) -> None:
    light, face, old, below = person(luma)
    light[..., 46:60, 36:46] *= 0.7  # the chin's shadow
    light[..., 50:60, 50:60] *= 1.15
    assert collar_scraps(light, face, old, below).max() < 0.1


def test_a_sliver_beside_a_hood_is_one_and_faces_above_the_chin_are_not() -> None:
    light, face, old, below = person()
    face[..., 52:60, 70:72] = 1
    assert collar_scraps(light, face, old, below)[..., 57:60, 70:72].min() > 0.9
    assert collar_scraps(light, face, old, 0 * below).max() == 0
    far = collar_scraps(light, face, 0 * old, below)
    assert far.max() == 0 and collar_scraps(light, 0 * face, old, below).isfinite().all()


def test_a_soft_edge_of_a_neck_is_no_sliver() -> None:
    light, face, old, below = person()
    for column, share in ((60, 0.8), (61, 0.4), (62, 0.1)):
        face[..., 20:60, column] = share
        light[..., 20:60, column] = 0.45 * share + 0.9 * (1 - share)
    found = collar_scraps(light, face, old, below)
    assert found.max() < 0.1


def test_throats_end_at_the_shoulders_and_trousers_have_none() -> None:
    joints = torch.zeros(1, 39, 5)
    joints[0, :, :2] = torch.tensor([0.5, 0.2])
    joints[0, 0, 1], joints[0, 9:11, 1] = 0.16, 0.19  # nose and mouth
    joints[0, 11:13, 1] = 0.32
    pixels = pixel_coordinates(*HALF, torch.zeros(1))
    upper, lower = (torch.eye(5)[i : i + 1] for i in (0, 1))
    assert CATEGORIES[:2] == ("upper", "lower")
    found = throat(joints, upper, pixels)[0, 0, :, HALF[1] // 2]
    rows = (torch.arange(HALF[0]) + 0.5) / HALF[0]
    assert found[(rows > 0.28) & (rows < 0.345)].min() == 1
    assert found[rows < 0.24].max() == 0 and found[rows > 0.38].max() == 0
    assert throat(joints, lower, pixels).max() == 0
