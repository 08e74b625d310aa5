"""A raised hand as a gesture: the left one asks for the garment before, the right for the next."""

from __future__ import annotations

from typing import Literal

import numpy as np

Side = Literal["left", "right"]

HELD, LOWERED, GAP = 0.4, 0.3, 1.5
"""Seconds for which a hand has to be up to count, and down before one counts again; frames further
apart tell nothing of what was between."""
_NOSE = 0
_SHOULDERS, _ELBOWS, _WRISTS = (11, 12), (13, 14), (15, 16)
"""BlazePose's points; the left one, the person's own, is first."""
_SURE = 0.5
_ABOVE = 0.5
"""How far over the nose a raised wrist is, in shoulder-to-nose heights: a hand at hair or glasses
is no gesture."""


def raised(pose: np.ndarray) -> Side | None:
    """The hand that is up while the other one hangs, or rests below its shoulder.

    Args:
        pose: float (39, 5) x, y, z in 0..1 of a view, visibility, presence, as BlazePose has them;
            a hand that is not seen counts where its elbow is, above the shoulder.
    """
    height = float(np.mean([pose[s, 1] for s in _SHOULDERS]) - pose[_NOSE, 1])
    if height <= 0:
        return None  # lying, or upside down
    up, down = [], []
    for shoulder, elbow, wrist in zip(_SHOULDERS, _ELBOWS, _WRISTS, strict=True):
        if pose[wrist, 3] >= _SURE:
            over = pose[wrist, 1] < pose[_NOSE, 1] - _ABOVE * height
        else:  # beyond the view, upwards where the elbow is high
            over = pose[elbow, 3] >= _SURE and pose[elbow, 1] < pose[shoulder, 1]
        up.append(bool(over))
        down.append(bool(pose[wrist, 1] > pose[shoulder, 1]))
    if up[0] and down[1]:
        return "left"
    return "right" if up[1] and down[0] else None


class Hands:
    """Tells a gesture from frames in their order: one for each raising, however long it lasts."""

    def __init__(self) -> None:
        self._side: Side | None = None
        self._since = self._last = 0.0
        self._told: Side | None = None

    def look(self, pose: np.ndarray | None, at: float) -> Side | None:
        """The hand that has just counted, if any.

        Args:
            pose: as for `raised`, or None where nobody was found.
            at: when the frame was taken, in seconds.
        """
        side = None if pose is None else raised(pose)
        apart, self._last = at - self._last, at
        if side != self._side or apart > GAP:
            self._side, self._since = side, at
            return None
        if side is None:
            if at - self._since >= LOWERED:
                self._told = None
            return None
        if self._told is not None or at - self._since < HELD:
            return None
        self._told = side
        return side
