"""A rough outline led to the picture's own edges."""

from __future__ import annotations

import cv2
import numpy as np

_REACHES = (0.03, 0.016)
"""Of the picture's shorter side: how far from the outline its own edge is looked for, pass by pass.
"""
_FLAT = 4.0
"""Variance, in squared levels, of a picture that has no edge there: the outline stays where it is.
"""


def led_to_edges(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask as the picture has it: the guided filter (He, Sun and Tang, 2013), cut at a half.

    It is guided by light and by the one tint in which the mask's inside and outside differ most:
    two of the three channels' axes, whose equations have a short solution.

    Args:
        image: uint8 (H, W, 3); mask: uint8 (H, W), 255 or 0.

    Returns:
        uint8 (H, W), 255 or 0.
    """
    picture, inside = image.astype(np.float32), mask > 0
    few = inside[::4, ::4]
    if few.all() or not few.any():
        return mask
    apart = picture[::4, ::4][few].mean(0) - picture[::4, ::4][~few].mean(0)
    tint = apart - apart.mean()
    length = float(np.linalg.norm(tint))
    tint = tint / length if length > 1 else np.array([-1, 0, 1], np.float32) / 2**0.5
    light, tone = (
        cv2.transform(picture, axis[None].astype(np.float32))
        for axis in (np.full(3, 3**-0.5), tint)
    )
    for reach in _REACHES:
        mask = _guided(light, tone, mask, 2 * max(2, round(reach * min(mask.shape))) + 1)
    return mask


def _guided(light: np.ndarray, tone: np.ndarray, mask: np.ndarray, side: int) -> np.ndarray:
    """The filter's answer within squares of `side` pixels: uint8 (H, W), 255 or 0."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (side, side), borderType=cv2.BORDER_REPLICATE)

    share = (mask > 0).astype(np.float32)
    of_light, of_tone, of_share = mean(light), mean(tone), mean(share)
    ll = mean(light * light) - of_light * of_light + _FLAT
    tt = mean(tone * tone) - of_tone * of_tone + _FLAT
    lt = mean(light * tone) - of_light * of_tone
    ls = mean(light * share) - of_light * of_share
    ts = mean(tone * share) - of_tone * of_share
    whole = ll * tt - lt * lt
    by_light, by_tone = (tt * ls - lt * ts) / whole, (ll * ts - lt * ls) / whole
    rest = of_share - by_light * of_light - by_tone * of_tone
    led = mean(by_light) * light + mean(by_tone) * tone + mean(rest)
    return np.where(led > 0.5, np.uint8(255), np.uint8(0))
