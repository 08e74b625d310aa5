"""Rooms and streets behind people, the shadow on the wall, and garments on hangers."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from training.data import compose, shop
from training.data.camera import backdrop, shaded
from training.data.compose import Options
from training.data.outfits import garment_of, pairs_of
from training.data.places import room, street
from training.data.shards import Scene
from tryon.contract import LANDMARKS


@pytest.mark.parametrize("place", [room, street])
@pytest.mark.parametrize("size", [(256, 256), (256, 192), (1024, 768), (64, 48)])
def test_places_fill_any_size_and_are_all_different(place, size: tuple[int, int]) -> None:
    drawn = [place(np.random.default_rng(seed), *size) for seed in (0, 0, 1, 2, 3, 4)]
    for picture in drawn:
        assert picture.shape == (*size, 3) and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1
    assert np.array_equal(drawn[0], drawn[1])
    for one, two in itertools.pairwise(drawn[1:]):
        assert np.abs(one - two).mean() > 0.02
    assert np.mean([p.std() for p in drawn]) > 0.05  # not a plain wall


def test_backdrops_without_photos_are_of_several_kinds() -> None:
    plain = []
    for seed in range(40):
        back = backdrop(np.random.default_rng(seed), None, 128, 96, 0.6)
        assert back.shape == (128, 96, 3) and back.dtype == np.float32
        plain.append(np.abs(np.diff(back, axis=1)).max() < 0.02)
    assert 0.2 < np.mean(plain) < 0.8


def test_a_shadow_on_the_wall_is_beside_its_silhouette() -> None:
    alpha = np.zeros((128, 128), np.float32)
    alpha[40:100, 50:70] = 1
    once, again = (shaded(np.random.default_rng(1), alpha) for _ in range(2))
    assert once.shape == (128, 128, 1) and once.dtype == np.float32
    assert np.array_equal(once, again)
    assert 0.4 < once.min() < 0.95 and once.max() <= 1 and once[0, 0] > 0.99
    gain = once[..., 0]
    dark = np.argwhere(gain < (1 + gain.min()) / 2).mean(0)
    assert np.abs(dark - np.argwhere(alpha > 0).mean(0)).max() < 16


def test_where_no_garment_changes_the_wall_does_not(scenes: list[Scene], monkeypatch) -> None:
    """Nor where both throw a shadow."""
    monkeypatch.setattr(compose, "shaded", lambda rng, alpha: 1 - 0.5 * alpha[::-1, :, None])
    for scene in scenes:
        before, after, category = pairs_of(scene)[0]
        for seed in range(6):
            rng = np.random.default_rng(seed)
            pair = compose.compose(scene, before, after, category, rng, None, Options(text=0.0))
            same = (pair["parse_before"] == 0) & (pair["parse_after"] == 0)
            same &= ~cv2.dilate((~same).astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
            seen = [pair[name][:, 32:224].astype(int) for name in ("before", "after")]
            assert np.abs(seen[0] - seen[1])[same].mean() < 0.5


def test_a_hanger_is_seen_beside_the_garment_and_before_its_inside_alone(
    scenes: list[Scene],
) -> None:
    flat = [
        garment_of(scene, g) for scene in scenes for g in range(len(scene.garment_category))
    ]  # fmt: skip
    necked = [
        g for g in flat
        if min(g.shop_landmarks[LANDMARKS.index(f"neck_{s}")][2] for s in ("left", "right")) > 0.5
    ]  # fmt: skip
    lower = [g for g in flat if g.category == "lower"]
    assert necked and lower
    for garment in necked:
        height, width = garment.shop_alpha.shape
        picture = np.full((height, width, 3), 0.33)
        shop.hang(np.random.default_rng(3), picture, garment)
        changed = np.abs(picture - 0.33).max(2) > 0.02
        face = (garment.shop_alpha > 250) & (garment.shop_inner < 5)
        assert not (changed & face).any()
        marks = [garment.shop_landmarks[LANDMARKS.index(f"neck_{s}")] for s in ("left", "right")]
        top = min(mark[1] for mark in marks) * height
        if top > 20:
            assert changed[: int(top)].sum() > 10  # the hook
    picture = np.full((*lower[0].shop_alpha.shape, 3), 0.33)
    shop.hang(np.random.default_rng(3), picture, lower[0])
    assert (picture == 0.33).all()
