"""Cloth that is faded, worn or mottled: washed denim, melange, suede.

Gains on the albedo of all that is worn before, so that every other truth stays; on what is kept,
after too. Why: on real people such marks were taken for light, and jeans shone through the white
top that was put on over them.
"""

from __future__ import annotations

import cv2
import numpy as np

_WIDEST = 10.0
"""Pixels: the standard deviation of the broadest marks."""


def faded(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Gain float32 (height, width, 1) of marks of any size, upright, across or round: as
    often darker as lighter.
    """
    marks: np.ndarray = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        broad = float(np.exp(rng.uniform(np.log(0.6), np.log(_WIDEST))))
        # Legs fade along, hips across: whiskers.
        longer = float(np.exp(rng.normal(0, 0.6)))
        across, along = min(broad * longer, _WIDEST), min(broad / longer, _WIDEST)
        noise = cv2.GaussianBlur(
            rng.standard_normal((height, width), dtype=np.float32), (0, 0), across, sigmaY=along
        )
        strength = np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
        marks += strength * noise / (noise.std() + 1e-6)
    gain: np.ndarray = np.exp(np.clip(marks, -1.2, 0.7))[..., None]
    return gain
