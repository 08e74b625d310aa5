"""How many frames to have with the server at once: as few as bring as many answers.

More frames at once bring more answers only where the server, or the way to it, works on them side
by side; else each waits for the other and all grow old. So it is tried: now and then one more (or
one less) for a few answers, and kept if it pays. Rates by Little's law (1961): frames that are
under way, divided by how long each takes.
"""

from __future__ import annotations

import math
import statistics

TRIED = 12
"""Answers by which a number at once is judged, the first few of which are still the old one's."""
SETTLED = 300
"""Answers between two tries; the first comes sooner."""
FIRST = 12
GAIN = 0.25
"""How many more answers one more at once must bring, as a share: age is what a mirror is judged
by."""


class Pace:
    """The number of frames at once; not safe between threads by itself.

    Args:
        most: never more than these.
    """

    def __init__(self, most: int) -> None:
        self._most, self._level = most, 1
        self._trial: int | None = None
        self._up = True
        """Which way the next try goes."""
        self._times: list[float] = []
        """Seconds that answers took since the number at once last changed."""
        self._wait, self._settled = FIRST, 0.0
        self.latency = 0.1
        """Seconds that an answer takes, a running mean."""

    def allowed(self, interval: float) -> int:
        """Frames that may be with the server now; `interval`: seconds between two frames."""
        spans = max(1, math.ceil(self.latency / max(interval, 1e-3)))
        return max(1, min(self._trial or self._level, self._most, spans))

    def learn(self, seconds: float, at_once: int) -> None:
        """An answer took so long, with so many frames under way when it was asked for."""
        self.latency += 0.2 * (seconds - self.latency)
        if at_once != (self._trial or self._level):
            return  # sent before the number was changed, or there was no other frame
        self._times.append(seconds)
        if self._trial is None:
            if len(self._times) >= self._wait:
                self._try()
        elif len(self._times) >= TRIED:
            self._judge()

    def _try(self) -> None:
        self._settled, self._wait = _usual(self._times), SETTLED
        self._times = []
        step = 1 if self._up else -1
        if not 1 <= self._level + step <= self._most:
            step = -step
        self._up = step < 0
        if 1 <= self._level + step <= self._most:
            self._trial = self._level + step

    def _judge(self) -> None:
        assert self._trial is not None
        (few, slow), (many, fast) = sorted(
            [(self._level, self._settled), (self._trial, _usual(self._times))]
        )
        pays = many / fast > (1 + GAIN) * few / slow
        if pays and self._trial == many:
            self._wait, self._up = FIRST, True  # perhaps another one pays, too
        self._level, self._trial, self._times = (many if pays else few), None, []


def _usual(times: list[float]) -> float:
    """The median of the last ones; the first ones after a change belong to what was before."""
    return max(statistics.median(times[-(TRIED * 2 // 3) :]), 1e-6)


__all__ = ["Pace"]
