"""In-shop pictures that are bent: their truth goes with them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.data.shop import bend
from tryon.contract import NET_HEIGHT, NET_WIDTH


def _places() -> np.ndarray:
    """x and y of every pixel's centre, in 0..1, float32 (256, 192, 2)."""
    y, x = np.mgrid[:NET_HEIGHT, :NET_WIDTH].astype(np.float32) + 0.5
    return np.stack([x / NET_WIDTH, y / NET_HEIGHT], 2)


@pytest.mark.parametrize("seed", range(4))
def test_flow_and_landmarks_find_in_the_bent_picture_what_they_found_before(seed: int) -> None:
    coarse = np.random.default_rng(9).integers(0, 255, (8, 6, 3), np.uint8)
    picture = cv2.resize(coarse, (NET_WIDTH, NET_HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture = picture.astype(np.uint8)
    mask = np.zeros((NET_HEIGHT, NET_WIDTH, 2), np.uint8)
    mask[40:200, 50:140, 0] = 255
    inner = _places()[30:-30, 30:-30]  # none of it is bent out of the picture
    marks = np.insert(inner[::40, ::30].reshape(-1, 2), 2, 1, axis=1)
    bent, masks, moved, flow = bend(np.random.default_rng(seed), picture, mask, marks, inner)

    to = flow * [NET_WIDTH, NET_HEIGHT] - 0.5
    to_x, to_y = to[..., 0].astype(np.float32), to[..., 1].astype(np.float32)
    found = cv2.remap(bent, to_x, to_y, cv2.INTER_LINEAR).astype(float)
    assert np.abs(found - picture[30:-30, 30:-30]).mean() < 1.5
    seen = cv2.remap(masks[..., 0], to_x, to_y, cv2.INTER_LINEAR)
    assert ((seen > 128) != (mask[30:-30, 30:-30, 0] > 128)).mean() < 0.003
    np.testing.assert_allclose(moved[:, :2], flow[::40, ::30].reshape(-1, 2), atol=1e-5)
    assert (moved[:, 2] == 1).all()
    assert 1 < np.linalg.norm((flow - inner) * [NET_WIDTH, NET_HEIGHT], axis=2).mean() < 10
    assert masks.shape == mask.shape and masks.dtype == np.uint8 and not masks[..., 1].any()
