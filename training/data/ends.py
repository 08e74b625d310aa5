"""Photos that end within what the generator sees: half lengths, portraits, people at the edge.

What lies beyond a photo's own border is black in the generator's crop (`tryon.steps`), and nobody.
Why: of the photos that the pairs are compared with, the one half length, within whose crop the
photo ends on all four sides, was parsed worst by far.
"""

from __future__ import annotations

import numpy as np

_SHORTEST = 0.45
"""Of the crop's height: a half length ends below the chest."""
_NARROWEST = 0.22
"""Of the crop's width, at most, that lies beyond the photo at either side: an arm, no more."""
_LOWEST = 0.08
"""Of the crop's height, at most, that lies above the photo."""


def within(
    rng: np.random.Generator, height: int, width: int, left: int, right: int
) -> tuple[slice, slice]:
    """Rows and columns of a picture that are the photo; it ends at the foot, or at a side, or both.

    Args:
        rng: which ends, and where.
        height, width: of the picture, in pixels.
        left, right: the columns from and to which the generator sees it.
    """
    foot, sides = rng.random() < 0.75, rng.random(2) < 0.4
    if not foot and not sides.any():
        foot = True
    bottom = int(height * rng.uniform(_SHORTEST, 1)) if foot else height
    beyond = [int((right - left) * share) for share in rng.uniform(0, _NARROWEST, 2)]
    top = int(height * rng.uniform(0, _LOWEST)) if rng.random() < 0.3 else 0
    return (
        slice(top, bottom),
        slice(left + beyond[0] if sides[0] else 0, right - beyond[1] if sides[1] else width),
    )
