"""Cloth in two colours: open fronts, yokes, contrasting collars and cuffs, prints of any shape.

What a person wears before is painted anew where it goes and nowhere else, so that every other truth
stays. Why: people come in a dark jacket that is open over a pale top. Networks that learned light
from cloth of one colour take such an edge for a shadow, and it shines through what is put on.
"""

from __future__ import annotations

import cv2
import numpy as np

_LIGHTEST, _DARKEST = 0.9, 0.03
"""Of all that cloth reflects, in 0..1: white and black."""
_SOFT = 0.6
"""Pixels by which an edge is blurred (standard deviation)."""


def _front(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What an open front shows: a strip from top to bottom, of any slant, wider below or above."""
    middle, lean = rng.uniform(0.35, 0.65), rng.normal(0, 0.15)
    above, below = rng.uniform(0.02, 0.2), rng.uniform(0.04, 0.3)
    if rng.random() < 0.3:  # closed below: lapels
        below, end = 0.0, rng.uniform(0.3, 0.9)
    else:
        end = 1.0
    half = above + (below - above) * y / end
    inside: np.ndarray = np.abs(x - middle - lean * (y - 0.5)) < half
    return inside


def _across(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Yokes, blocks and broad stripes."""
    along = y if rng.random() < 0.7 else x
    along = along + rng.normal(0, 0.1) * (x + y)
    low = rng.uniform(-0.2, 0.8)
    inside: np.ndarray = (along > low) & (along < low + rng.uniform(0.1, 0.7))
    return inside


def _spots(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
    """Shapes of chance, of any size."""
    noise = cv2.GaussianBlur(
        rng.standard_normal(old.shape, dtype=np.float32), (0, 0), float(rng.uniform(2, 14))
    )
    inside: np.ndarray = noise > rng.normal(0.3, 0.6) * noise.std()
    return inside


def _rims(rng: np.random.Generator, old: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """What lies beside skin: collars and cuffs."""
    away = cv2.distanceTransform((~skin).astype(np.uint8), cv2.DIST_L2, 3)
    inside: np.ndarray = old & (away < rng.uniform(2, 9))
    return inside


def colour_blocks(rng: np.random.Generator, old: np.ndarray, skin: np.ndarray) -> np.ndarray | None:
    """Another colour for a part of the cloth, which keeps its own drawing.

    Args:
        old: bool (h, w), the cloth; skin: bool (h, w), skin of the same person.

    Returns:
        float32 (h, w, 4): a colour in 0..1 and the share of each pixel that takes it; None where
        there is next to no cloth.
    """
    ys, xs = np.nonzero(old)
    if len(ys) < 64:
        return None
    y, x = np.mgrid[: old.shape[0], : old.shape[1]].astype(np.float32)
    y = (y - ys.min()) / (ys.max() - ys.min() + 1)
    x = (x - xs.min()) / (xs.max() - xs.min() + 1)
    kind = rng.random()
    if kind < 0.45:
        inside = _front(rng, x, y)
    elif kind < 0.6:
        inside = _across(rng, x, y)
    elif kind < 0.75:
        inside = _spots(rng, old)
    else:
        inside = _rims(rng, old, skin)
    if rng.random() < 0.5:
        inside = ~inside
    # Dark cloth beside pale cloth is what shines through, so half of the colours are greys.
    colour = rng.uniform(_DARKEST, _LIGHTEST, 3)
    if rng.random() < 0.5:
        colour = colour[0] * np.exp(rng.normal(0, 0.05, 3))
    share = cv2.GaussianBlur((inside & old).astype(np.float32), (0, 0), _SOFT) * old
    out = np.empty((*old.shape, 4), np.float32)
    out[..., :3], out[..., 3] = np.clip(colour, _DARKEST, _LIGHTEST), share
    return out


def dyed(albedo: np.ndarray, old: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Float32 (h, w, 3): the albedo with `colour_blocks` laid over it, its own drawing kept.

    Args:
        albedo: float32 (h, w, 3) in 0..1; old: bool (h, w), the cloth.
    """
    own = albedo[old].mean(0)
    drawing = np.clip((albedo + 0.1) / (own + 0.1), 0.5, 1.5)
    share = blocks[..., 3:]
    return (albedo + share * (blocks[..., :3] * drawing - albedo)).astype(np.float32)
