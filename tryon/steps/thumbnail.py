"""The small picture of a person that the detector looks at."""

from __future__ import annotations

import numpy as np

from tryon.contract import DETECTOR_NARROW, DETECTOR_SIZE
from tryon.steps.garment import resize

_UPRIGHT = 0.8
"""Photos no wider than this beside their height get the narrow picture: at 0.89 of the size they
would have in the square, 3:4 at 0.95, narrower ones at all of it."""


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the detector's picture of a photo of that size."""
    return DETECTOR_SIZE, DETECTOR_NARROW if width <= _UPRIGHT * height else DETECTOR_SIZE


def letterbox(height: int, width: int, within: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a picture lies in one of that height and width: x, y, width, height; centred, whole."""
    scale = min(within[0] / height, within[1] / width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    return (within[1] - w) // 2, (within[0] - h) // 2, w, h


def thumbnail(photo: np.ndarray) -> np.ndarray:
    """uint8 (224, 224 or 160, 3): the photo letterboxed on black for the person detector."""
    height, width = photo.shape[:2]
    size = thumbnail_size(height, width)
    x, y, w, h = letterbox(height, width, size)
    whole = np.zeros((*size, 3), np.uint8)
    whole[y : y + h, x : x + w] = resize(photo, w, h)
    return whole
