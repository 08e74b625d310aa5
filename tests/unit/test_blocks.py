"""A second colour on what is worn before: where it goes, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from pairs_apart import without_and_with

from training.data.blocks import colour_blocks, dyed
from training.data.compose import MARGIN
from training.data.shards import Scene
from tryon.contract import NET_WIDTH


def _cloth() -> tuple[np.ndarray, np.ndarray]:
    """A top of 80x60 pixels, and arms at its sides."""
    old, skin = np.zeros((2, 128, 96), bool)
    old[20:100, 18:78] = True
    skin[60:100, 12:18] = skin[60:100, 78:84] = True
    return old, skin


@pytest.mark.parametrize("seed", range(40))
def test_a_second_colour_stays_within_the_cloth(seed: int) -> None:
    old, skin = _cloth()
    blocks = colour_blocks(np.random.default_rng(seed), old, skin)
    assert blocks is not None and blocks.shape == (128, 96, 4) and blocks.dtype == np.float32
    assert blocks.min() >= 0 and blocks.max() <= 1
    assert not blocks[~old, 3].any()


def test_parts_of_every_size_are_dyed() -> None:
    old, skin = _cloth()
    parts = [colour_blocks(np.random.default_rng(seed), old, skin) for seed in range(60)]
    shares = np.array([p[old, 3].mean() for p in parts if p is not None])
    assert (shares < 0.3).sum() > 10 and (shares > 0.7).sum() > 10
    assert ((shares > 0.02) & (shares < 0.98)).mean() > 0.9  # two colours, not another one


def test_the_same_seed_dyes_alike() -> None:
    old, skin = _cloth()
    one, two = (colour_blocks(np.random.default_rng(3), old, skin) for _ in range(2))
    assert one is not None and two is not None
    np.testing.assert_array_equal(one, two)


def test_next_to_no_cloth_is_left_alone() -> None:
    old = np.zeros((32, 32), bool)
    old[4:8, 4:8] = True
    assert colour_blocks(np.random.default_rng(0), old, ~old) is None


def test_cloth_keeps_its_own_drawing() -> None:
    old, _ = _cloth()
    stripes = np.where(np.arange(128) % 8 < 4, 0.3, 0.6)[:, None, None]
    albedo = np.broadcast_to(stripes, (128, 96, 3)).astype(np.float32)
    blocks = np.zeros((128, 96, 4), np.float32)
    blocks[..., :3], blocks[40:80, 18:78, 3] = (0.9, 0.1, 0.1), 1
    made = dyed(albedo, old, blocks)
    np.testing.assert_array_equal(made[:40], albedo[:40])
    red = made[40:80, 40]
    assert (red[:, 0] > 4 * red[:, 1]).all()
    assert red[:4, 0].mean() < 0.8 * red[4:8, 0].mean()


def test_only_what_is_replaced_changes_in_a_pair(scenes: list[Scene]) -> None:
    """Everything else of the pair is the same to the last byte, with and without."""
    changes = 0
    for one, two in without_and_with(scenes, "blocks"):
        for name in one.keys() - {"before"}:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        changed = np.not_equal(one["before"], two["before"]).any(2)
        changed = changed[:, MARGIN : MARGIN + NET_WIDTH]
        assert not changed[np.asarray(one["old"]) == 0].any()
        changes += int(changed.any())
    assert changes > 5
