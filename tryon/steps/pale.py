"""White cloth's own seams, hems and weave, which shop pictures wash out.

Near white a picture's tone curve is flat: of a white T-shirt before a pale wall nothing is left but
differences of a few levels. Worn, it is darker and they would be seen. So what is near white gets
its local contrast back before the garment is laid on: differences from the cloth around are
multiplied, as the slope of the curve there asks for; noise of less than a level stays as it is.
"""

from __future__ import annotations

import cv2
import numpy as np

_FROM, _FULL = 215.0, 240.0
"""Levels of the cloth around, between which contrast begins to be lost, and is lost."""
_GAIN = 2.0
"""By how much a difference grows there, beyond itself."""
_NOISE, _MOST, _PRINT = 0.6, 9.0, 24.0
"""Levels: of differences so much isn't told from noise, and more than that is told already; from
`_PRINT` on they are no detail of white cloth, but prints and stripes, whose colours stay."""
_AROUND = 0.012
"""Of the picture's height: how far around the cloth is averaged (standard deviation)."""
_SMALLER = 4
_LEAST = 0.02
"""Of a picture's pixels that must be pale cloth for anything to be done."""


def with_detail(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The garment with the detail of its pale parts seen.

    Args:
        rgb: uint8 (H, W, 3); alpha: uint8 (H, W), where the garment is.

    Returns:
        uint8 (H, W, 3); the very same array where little of the cloth is pale. What is partly
        transparent, or next to it, stays as it is.
    """
    height, width = alpha.shape
    size = max(1, width // _SMALLER), max(1, height // _SMALLER)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    level = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    cloth = (cv2.erode(inside, np.ones((3, 3), np.uint8)) == 255).astype(np.float32)
    if (level * cloth > _FROM).mean() < _LEAST:
        return rgb
    spread = _AROUND * height / _SMALLER
    around = cv2.GaussianBlur(level * cloth, (0, 0), spread)
    around /= np.maximum(cv2.GaussianBlur(cloth, (0, 0), spread), 1e-3)
    gain = (_GAIN / (_FULL - _FROM)) * (np.clip(around, _FROM, _FULL) - _FROM) * cloth
    around, gain = (cv2.resize(m, (width, height)) for m in (around, gain))
    # Averaged over three pixels: a stitch that is drawn darker stays a line and becomes no dots.
    grey = cv2.blur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (3, 3))
    apart: np.ndarray = cv2.subtract(grey, around, dtype=cv2.CV_32F)
    # Less what may be noise, with its sign: what lies between the two is nothing.
    told = np.clip(apart - np.clip(apart, -_NOISE, _NOISE), -_MOST, _MOST)
    more = told * np.clip((_PRINT - np.abs(apart)) / (_PRINT - _MOST), 0, 1) * gain
    return cv2.add(rgb, cv2.merge([more, more, more]), dtype=cv2.CV_8U)
