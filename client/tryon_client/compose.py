"""Brings the server's picture back to the size of a photo that was scaled down for the request.

The server answers p = m g + (1 - m) s: garment g where mask m is 1, the small photo s where it is
0. In the large photo P the same is up(p) + (1 - m) (P - up(s)): the enlarged answer, plus what the
large photo holds beyond the enlarged small one, as far as the photo still shows. Where the enlarged
mask is 0 the photo's own bytes are not touched at all.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_ROWS = 256
"""Rows that are worked on at a time: bounds the memory of a large photo's float copies."""


def enlarge(
    own: np.ndarray, small: np.ndarray, picture: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The answer at the photo's own size.

    Args:
        own: uint8 (H, W, 3), the photo.
        small: uint8 (h, w, 3), what was sent.
        picture: uint8 (h, w, 3), the answer.
        mask: uint8 (h, w), the answer's mask.

    Returns:
        uint8 (H, W, 3) equal to `own` where the mask is 0, and the mask, uint8 (H, W).
    """
    height, width = own.shape[:2]
    out, out_mask = own.copy(), np.zeros((height, width), np.uint8)
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return out, out_mask
    sy, sx = mask.shape[0] / height, mask.shape[1] / width
    # The mask's box in the photo, one small pixel wider for the interpolation's reach.
    top, bottom = _span(rows, sy, height)
    left, right = _span(columns, sx, width)
    images = [Image.fromarray(a) for a in (mask, small, picture)]
    for y0 in range(top, bottom, _ROWS):
        y1 = min(y0 + _ROWS, bottom)
        box = (left * sx, y0 * sy, right * sx, y1 * sy)
        size = (right - left, y1 - y0)
        m = np.asarray(images[0].resize(size, Image.Resampling.BILINEAR, box=box))
        s, p = (
            np.asarray(i.resize(size, Image.Resampling.BICUBIC, box=box)).astype(np.float32)
            for i in images[1:]
        )
        part = own[y0:y1, left:right]
        blend = p + (1 - m.astype(np.float32) / 255)[..., None] * (part - s)
        blend = np.rint(np.clip(blend, 0, 255)).astype(np.uint8)
        out[y0:y1, left:right] = np.where(m[..., None] > 0, blend, part)
        out_mask[y0:y1, left:right] = m
    return out, out_mask


def _span(indices: np.ndarray, scale: float, limit: int) -> tuple[int, int]:
    """First and last + 1 photo row (or column) that the small rows `indices` can reach."""
    first = int((indices[0] - 1) / scale)
    last = int(np.ceil((indices[-1] + 2) / scale))
    return max(first, 0), min(last, limit)
