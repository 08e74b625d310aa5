"""A rough outline led to the picture's edges: to a pale garment's, and nowhere without any."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tryon.steps.edges import led_to_edges

SIZE = 384
SHIRT = np.array([[60, 60], [320, 60], [370, 200], [310, 220], [300, 360], [80, 360], [70, 220],
                  [14, 200]])  # fmt: skip


def pale(difference: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A shirt on white ground with some noise, so many levels unlike it; and its true mask."""
    true = cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [SHIRT], 255)
    image = np.full((SIZE, SIZE, 3), 228.0) + (true > 0)[..., None] * np.array(difference)
    noise = np.random.default_rng(3).normal(0, 1.5, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), true


def rough(true: np.ndarray) -> np.ndarray:
    """The mask with bumps that go in and out by some pixels along its outline."""
    noise = cv2.GaussianBlur(
        np.random.default_rng(4).normal(0, 1, true.shape).astype(np.float32), (0, 0), 6
    )
    blurred = cv2.GaussianBlur(true.astype(np.float32) / 255, (0, 0), 4)
    return np.where(blurred + 3 * noise * (blurred > 0.02) > 0.5, 255, 0).astype(np.uint8)


def off(mask: np.ndarray, true: np.ndarray) -> int:
    return int((mask != true).sum())


@pytest.mark.parametrize("difference", [(7, 7, 16), (12, 12, 12), (0, 2, 12), (-15, -15, -15)])
def test_bumps_go_where_the_picture_has_an_edge(difference: tuple[int, int, int]) -> None:
    image, true = pale(difference)
    before = rough(true)
    assert off(led_to_edges(image, before), true) < 0.35 * off(before, true)


def test_without_an_edge_the_outline_stays_about_where_it_was() -> None:
    image, true = pale((0, 0, 0))
    found = led_to_edges(image, true)
    assert off(found, true) < 0.01 * true.size
    for nothing in (np.zeros_like(true), np.full_like(true, 255)):
        assert (led_to_edges(image, nothing) == nothing).all()
