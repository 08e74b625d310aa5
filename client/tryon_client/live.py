"""Live try-on: frames as they come, always the newest, never a queue.

with TryOnClient("localhost:8001") as client, LiveSession(client, garment="shirt.jpg") as live:
    for frame in camera:                 # uint8 (H, W, 3)
        live.submit(frame)
        shown = live.latest()            # the newest answer, or None before the first
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from tryon_client.client import TryOnClient, check_wish
from tryon_client.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    ImageTooSmall,
    InvalidRequest,
    NoPersonFound,
    NotAnImage,
    SeveralPeople,
    TryOnError,
    one_line,
)
from tryon_client.images import Picture, load_garment, shrink

_OF_THE_FRAME = (
    ImageTooLarge, ImageTooSmall, InvalidRequest, NoPersonFound, NotAnImage, SeveralPeople,
)  # fmt: skip
"""What is wrong with a frame itself: it is shown as it was. All else is the server's."""


@dataclass(frozen=True)
class Shown:
    """One answer. `number` counts submitted frames from 0; `captured` and `answered` are seconds
    of `time.monotonic()`; `picture` uint8 (H, W, 3); `dressed` is False where `problem` says why
    the frame is shown as it was (nobody in it, say)."""

    number: int
    captured: float
    answered: float
    picture: np.ndarray
    dressed: bool
    problem: TryOnError | None = None

    @property
    def age(self) -> float:
        """Seconds from capture to answer."""
        return self.answered - self.captured


@dataclass
class Counts:
    """What became of the frames: each ends in one of these."""

    submitted: int = 0
    shown: int = 0
    dropped: int = 0
    """A newer one came before it was sent."""
    late: int = 0
    """Answered after its deadline, or after a newer one."""
    lost: int = 0
    """Sent to a server that went away, or refused for another reason than its content."""


@dataclass(frozen=True)
class _Wish:
    garment: np.ndarray | None
    prompt: str
    category: str


@dataclass
class _State:
    newest: tuple[int, float, np.ndarray] | None = None
    wish: _Wish | None = None
    shown: Shown | None = None
    closed: bool = False
    busy: int = 0
    latency: float = 0.1
    interval: float = 1 / 30
    last_submit: float | None = None
    problem: TryOnError | None = None
    counts: Counts = field(default_factory=Counts)


class LiveSession:
    """A person before a camera.

    `submit` never waits: it replaces the frame that waits to be sent, if any. Up to `most_at_once`
    frames are with the server, as many as its measured latency spans frames; more would only grow
    old there. Answers are shown in the order of capture; one that comes after a newer one, or after
    its deadline, is counted and thrown away. While the server is away, frames are lost and counted,
    and it is asked again a few times a second: a session lives through a restart.

    Args:
        client: the server; it may be shared.
        garment, prompt, category: as for `TryOnClient.try_on`; `wear` changes them.
        deadline: seconds from a frame's capture after which its answer is of no use.
        most_at_once: frames with the server at the same time, at most.
    """

    def __init__(
        self, client: TryOnClient, garment: Picture | None = None, prompt: str | None = None,
        category: str = "upper", *, deadline: float = 1.0, most_at_once: int = 2,
    ) -> None:  # fmt: skip
        if not 0 < deadline < math.inf:
            raise InvalidRequest(f"deadline {deadline!r}: give seconds above 0")
        if most_at_once < 1:
            raise InvalidRequest(f"most_at_once {most_at_once}: give at least 1")
        self._client, self._deadline, self._most = client, deadline, most_at_once
        self._state = _State()
        self._change = threading.Condition()
        self.wear(garment, prompt, category)
        self._threads = [
            threading.Thread(target=self._work, name=f"tryon-live-{k}", daemon=True)
            for k in range(most_at_once)
        ]
        for thread in self._threads:
            thread.start()

    def wear(
        self, garment: Picture | None = None, prompt: str | None = None, category: str = "upper"
    ) -> None:
        """What to wear from the next frame on; raises as `TryOnClient.try_on` does."""
        words = check_wish(garment, prompt, category)
        cloth = None if garment is None else shrink(load_garment(garment), "garment")
        with self._change:
            self._state.wish = _Wish(cloth, words, category)

    def submit(self, frame: np.ndarray, captured: float | None = None) -> int:
        """Hands over a copy of a frame, uint8 (H, W, 3); its number. `captured`: seconds of
        `time.monotonic()`; now, unless it is given."""
        now, frame = time.monotonic(), np.array(frame)
        with self._change:
            s = self._state
            if s.closed:
                raise InvalidRequest("the session is closed")
            if s.last_submit is not None:
                s.interval += 0.2 * (min(now - s.last_submit, 1.0) - s.interval)
            s.last_submit = now
            number = s.counts.submitted
            s.counts.submitted += 1
            s.counts.dropped += s.newest is not None
            s.newest = (number, now if captured is None else captured, frame)
            self._change.notify_all()
        return number

    def latest(self) -> Shown | None:
        """The newest answer; None before the first."""
        with self._change:
            return self._state.shown

    def wait(self, after: int = -1, timeout: float | None = None) -> Shown | None:
        """Waits for an answer to a frame later than number `after`; None where none came."""
        with self._change:
            self._change.wait_for(lambda: self._state.closed or self._newer(after), timeout=timeout)
            return self._state.shown if self._newer(after) else None

    @property
    def counts(self) -> Counts:
        """A copy of the counters."""
        with self._change:
            return Counts(**vars(self._state.counts))

    @property
    def problem(self) -> TryOnError | None:
        """Why the last frame was lost; None while the server answers."""
        with self._change:
            return self._state.problem

    @property
    def latency(self) -> float:
        """Seconds that an answer takes, a running mean."""
        with self._change:
            return self._state.latency

    def close(self) -> None:
        """Ends the session; frames that are with the server are waited for."""
        with self._change:
            s = self._state
            s.closed = True
            s.counts.dropped += s.newest is not None
            s.newest = None
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _newer(self, after: int) -> bool:
        return self._state.shown is not None and self._state.shown.number > after

    def _ready(self) -> bool:
        """Whether a frame waits and another may be sent."""
        s = self._state
        spans = math.ceil(s.latency / max(s.interval, 1e-3))
        return s.newest is not None and s.busy < max(1, min(self._most, spans))

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._state.closed or self._ready())
                s = self._state
                if s.closed:
                    return
                assert s.newest is not None and s.wish is not None
                (number, captured, frame), wish = s.newest, s.wish
                s.newest = None
                s.busy += 1
            picture, dressed, problem = self._ask(frame, wish, captured)
            with self._change:
                s.busy -= 1
                self._take(number, captured, picture, dressed, problem)
                self._change.notify_all()

    def _ask(
        self, frame: np.ndarray, wish: _Wish, captured: float
    ) -> tuple[np.ndarray | None, bool, TryOnError | None]:
        """The picture (None: lost), whether it is dressed, and what was wrong."""
        began = time.monotonic()
        left = captured + self._deadline - began
        if left <= 0:
            return frame, False, DeadlineExceeded("the frame was too old to send")
        try:
            result = self._client.try_on(
                frame, wish.garment, wish.prompt, wish.category, timeout=left
            )
        except DeadlineExceeded as error:
            self._learn(time.monotonic() - began)
            return frame, False, error
        except _OF_THE_FRAME as error:
            return frame, False, error
        except TryOnError as error:
            self._pause()
            return None, False, error
        except Exception as error:  # a worker that dies would hang whoever waits
            self._pause()
            return None, False, TryOnError(one_line(f"{type(error).__name__}: {error}"))
        self._learn(time.monotonic() - began)
        return np.asarray(result.image), True, None

    def _learn(self, seconds: float) -> None:
        with self._change:
            self._state.latency += 0.2 * (seconds - self._state.latency)

    def _pause(self) -> None:
        """A while without asking a server that is away; ends early when the session does."""
        with self._change:
            self._change.wait_for(lambda: self._state.closed, timeout=0.25)

    def _take(
        self, number: int, captured: float, picture: np.ndarray | None, dressed: bool,
        problem: TryOnError | None,
    ) -> None:  # fmt: skip
        s, now = self._state, time.monotonic()
        if picture is None:
            s.counts.lost += 1
            s.problem = problem
            return
        if isinstance(problem, DeadlineExceeded) or now - captured > self._deadline:
            s.counts.late += 1
            return
        s.problem = None
        if self._newer(number):
            s.counts.late += 1
            return
        s.counts.shown += 1
        s.shown = Shown(number, captured, now, picture, dressed, problem)


__all__ = ["Counts", "LiveSession", "Shown"]
