"""How many frames to have with the server at once: as few as bring as many answers.

More frames at once bring more answers only where the server, or the way to it, works on them side
by side; else each waits for the other and all grow old. So it is tried: now and then one more (or
one less) for a few answers, and kept if it pays. Rates by Little's law (1961): frames that are
under way, divided by how long each takes.

All sessions of a client keep one pace. Each by itself would have two frames under way to take the
others' share of the server: all would do so, and nobody would have gained.
"""

from __future__ import annotations

import math
import statistics
import threading
import weakref

TRIED = 12
"""Answers by which a number at once is judged; the first third are still the old one's."""
SETTLED = 300
"""Answers between two tries; the first comes sooner."""
FIRST = 12
LATE = 4
"""Answers in a row that came too late after which one less is under way."""
GAIN = 0.25
"""How many more answers one more at once must bring, as a share: age is what a mirror is judged
by."""


class Pace:
    """The number of frames that each session may have under way; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._level = 1
        self._trial: int | None = None
        self._up = True
        """Which way the next try goes."""
        self._times: list[float] = []
        """Seconds that answers took since the number at once last changed."""
        self._wait, self._settled = FIRST, 0.0

    def allowed(self) -> int:
        """Frames that a session may have with the server now, 1 or more."""
        with self._lock:
            return self._trial or self._level

    def learn(self, seconds: float, at_once: int, able: int) -> None:
        """What became of a frame.

        Args:
            seconds: until its answer came; infinite where that was too late to be of use.
            at_once: frames of its session that were under way when it was sent, itself included.
            able: frames that its session could have under way: what it allows itself, and how many
                come while one is answered.
        """
        with self._lock:
            if self._trial is not None and self._trial > able:
                self._settle(self._level)  # never to be seen: one is answered before a next comes
            if at_once != (self._trial or self._level):
                return  # sent before the number was changed, or there was no other frame
            self._times.append(seconds)
            if self._trial is not None:
                if len(self._times) >= TRIED:
                    self._judge(able)
            elif self._level > 1 and self._times[-LATE:] == [math.inf] * LATE:
                self._settle(self._level - 1)
            elif len(self._times) >= self._wait:
                self._try(able)

    def _settle(self, level: int, wait: int = SETTLED) -> None:
        self._level, self._trial, self._times, self._wait = level, None, [], wait

    def _try(self, able: int) -> None:
        usual = _usual(self._times)
        self._settle(self._level)
        steps = [step for step in ((1, -1) if self._up else (-1, 1))
                 if 1 <= self._level + step <= max(able, self._level)]  # fmt: skip
        if steps:
            self._settled, self._trial, self._up = usual, self._level + steps[0], steps[0] < 0

    def _judge(self, able: int) -> None:
        assert self._trial is not None
        (few, slow), (many, fast) = sorted(
            [(self._level, self._settled), (self._trial, _usual(self._times))]
        )
        pays = many / fast > (1 + GAIN) * few / slow
        # Perhaps another one pays, too.
        soon = pays and self._trial == many and many < able
        self._up = self._up or soon
        self._settle(many if pays else few, FIRST if soon else SETTLED)


def _usual(times: list[float]) -> float:
    """The median of the last ones; the first ones after a change belong to what was before."""
    return max(statistics.median(times[-(TRIED * 2 // 3) :]), 1e-6)


_paces: weakref.WeakKeyDictionary[object, Pace] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def pace_of(client: object) -> Pace:
    """The pace of all sessions of a client."""
    with _making:
        return _paces.setdefault(client, Pace())


__all__ = ["Pace", "pace_of"]
