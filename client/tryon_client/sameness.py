"""Whether a frame shows what another one does: a camera's noise apart, nothing has moved."""

from __future__ import annotations

import numpy as np

BLOCK = 16
"""Pixels a side over which a frame is averaged: noise all but goes, a finger's move does not."""
SAME_WITHIN = 1.3
"""Levels of brightness by which no block of a frame may differ from another one's to count as the
same. `python -m benchmarks.sameness`: noise of 4 levels stays within 1.26, and no step of somebody
who walks within 1.5."""
_COLOURS = 4
"""So many times as far may a block's red, green and blue be apart: JPEG rounds colours coarsely, by
2.9 levels where the brightness stays within 1.26."""
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (ITU-R BT.601)."""


def small(frame: np.ndarray) -> np.ndarray:
    """A frame, uint8 (H, W, 3), as the means of its blocks, float32 (H // 16, W // 16, 3).

    Rows and columns behind the last whole block are left out; a frame smaller than a block is taken
    as it is.
    """
    rows, columns = (side // BLOCK for side in frame.shape[:2])
    if not rows or not columns:
        return frame.astype(np.float32)
    whole = frame[: rows * BLOCK, : columns * BLOCK]
    # 16 bytes can't overflow 16 bits, nor 256 of them 32; machine words are several times as fast.
    flat = np.ascontiguousarray(whole).reshape(rows, BLOCK, -1).sum(1, dtype=np.uint16)
    blocks = flat.reshape(rows, columns, BLOCK, -1).sum(2, dtype=np.uint32)
    return blocks.astype(np.float32) / (BLOCK * BLOCK)


def nearly_same(one: np.ndarray, other: np.ndarray, within: float = SAME_WITHIN) -> bool:
    """Whether two frames (as `small` has them) look the same.

    Args:
        one, other: float32 (h, w, 3).
        within: levels by which no block's brightness may differ, nor any of its colours by four
            times as many.
    """
    if one.shape != other.shape:
        return False
    apart = one - other
    return bool(
        np.abs(apart).max() <= _COLOURS * within and np.abs(apart @ BRIGHTNESS).max() <= within
    )


__all__ = ["BLOCK", "BRIGHTNESS", "SAME_WITHIN", "nearly_same", "small"]
