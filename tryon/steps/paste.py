"""Step `paste`: lays the window's picture and mask back into the photo."""

from __future__ import annotations

import numpy as np


def paste(
    photo: np.ndarray, window_picture: np.ndarray, window_mask: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The photo with the window's picture in it.

    Args:
        photo: uint8 (H, W, 3).
        window_picture: uint8 (h, w, 3).
        window_mask: uint8 (h, w).
        box: int32 (4,), x0, y0, x1, y1 of the window in the photo.

    Returns:
        picture uint8 (H, W, 3) and mask uint8 (H, W), 0 wherever the photo's own bytes stand:
        outside the box always.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    picture, mask = photo.copy(), np.zeros(photo.shape[:2], np.uint8)
    picture[y0:y1, x0:x1] = window_picture
    mask[y0:y1, x0:x1] = window_mask
    return picture, mask
