"""A frame's number, written into the picture itself: a strip of black and white cells below it.

A video track carries pictures and nothing that both of its ends agree on: browsers number frames
anew, and drop and scale some. The page adds the strip to each frame that it sends, the server to
its answer, so that both know which frame a picture belongs to, and how old it is. The same in
`static/tally.js`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

ROWS = 16
"""Height of the strip in pixels: one of VP8's blocks."""
BITS, CHECK_BITS = 16, 8
CELLS = BITS + CHECK_BITS
NUMBERS = 1 << BITS
"""Numbers run from 0 to NUMBERS - 1 and start again."""


def check(number: int) -> int:
    """What has to stand behind a number, 0..255; never what an even strip shows."""
    return (number * 0x9E37 >> 8 ^ 0x5A) & 0xFF


def added(picture: np.ndarray, number: int) -> np.ndarray:
    """The picture, uint8 (H, W, 3), with the strip of `number` (0..NUMBERS - 1) below it:
    (H + ROWS, W, 3)."""
    height, width = picture.shape[:2]
    word = number << CHECK_BITS | check(number)
    bits = np.array([word >> k & 1 for k in reversed(range(CELLS))], np.uint8) * 255
    out = np.empty((height + ROWS, width, 3), np.uint8)
    out[:height] = picture
    out[height:] = bits[np.arange(width) * CELLS // width, None]
    return out


def middle(levels: np.ndarray) -> np.ndarray:
    """Of a frame's levels (H + ROWS, W): the strip's inner rows as one, (W,)."""
    bottom = levels.shape[0]
    return levels[bottom - ROWS * 3 // 4 : bottom - ROWS // 4].mean(0)


def parted(picture: np.ndarray) -> tuple[np.ndarray, int | None]:
    """The picture without its strip, and the number on it; None where it can't be read.

    Args:
        picture: uint8 (H + ROWS, W, 3), as it came out of a decoder.
    """
    height, width = picture.shape[0] - ROWS, picture.shape[1]
    if height <= 0 or width < 2 * CELLS:
        return picture, None
    across = middle(picture[height:].mean(2))
    edges = np.arange(CELLS + 1) * width / CELLS
    word = 0
    for left, right in pairwise(edges):
        quarter = (right - left) / 4
        cell = across[int(left + quarter) : int(np.ceil(right - quarter))]
        word = word << 1 | int(cell.mean() > 127)
    number, found = word >> CHECK_BITS, word & ((1 << CHECK_BITS) - 1)
    return picture[:height], number if found == check(number) else None
