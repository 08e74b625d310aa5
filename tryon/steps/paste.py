"""Step `paste`: lays the patch and its mask back into the photo."""

from __future__ import annotations

import numpy as np


def paste(
    photo: np.ndarray, patch: np.ndarray, patch_mask: np.ndarray, patch_box: np.ndarray,
    box: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The photo with the patch in it.

    Args:
        photo: uint8 (H, W, 3).
        patch: uint8 (h, w, 3).
        patch_mask: uint8 (h, w).
        patch_box: int32 (4,), x0, y0, x1, y1 of the patch in the window.
        box: int32 (4,), the same of the window in the photo.

    Returns:
        picture uint8 (H, W, 3) and mask uint8 (H, W), 0 wherever the photo's own bytes stand:
        outside the patch always.
    """
    left, top = int(box[0]), int(box[1])
    x0, y0, x1, y1 = (int(v) for v in patch_box)
    inside = (slice(top + y0, top + y1), slice(left + x0, left + x1))
    picture, mask = photo.copy(), np.zeros(photo.shape[:2], np.uint8)
    picture[inside] = patch
    mask[inside] = patch_mask
    return picture, mask
