"""Live try-on: frames as they come, always the newest, never a queue.

with TryOnClient("localhost:8001") as client, LiveSession(client, garment="shirt.jpg") as live:
    for frame in camera:                 # uint8 (H, W, 3)
        live.submit(frame)
        shown = live.latest()            # the newest answer, or None before the first
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tryon_client.client import TryOnClient, TryOnResult
from tryon_client.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    ImageTooSmall,
    InvalidRequest,
    LowConfidence,
    NoPersonFound,
    NotAnImage,
    SeveralPeople,
    TryOnError,
    WardrobeAway,
    one_line,
)
from tryon_client.images import Picture
from tryon_client.ledger import (
    LATE,
    LOST,
    REPEATED,
    SHOWN,
    UNDRESSED,
    FrameWay,
    Span,
    stages,
)
from tryon_client.pace import pace_of
from tryon_client.sameness import SAME_WITHIN, nearly_same, small
from tryon_client.wardrobe import Garment, Track, Wardrobe

_OF_THE_FRAME = (
    ImageTooLarge, ImageTooSmall, InvalidRequest, NoPersonFound, NotAnImage, SeveralPeople,
)  # fmt: skip
"""What is wrong with a frame itself: it is shown as it was. All else is the server's."""
_WITHOUT_WARDROBE = 1.0
"""Seconds for which garments travel with the frames after the server's store was away."""
_ENCODING = 30.0
"""Seconds that a server may take to encode a garment."""
_STAGES = {"prepare": "encode", "request": "request", "finish": "finish"}
"""Of a try-on's timings, and what they go by in the ledger."""


@dataclass(frozen=True)
class Shown:
    """One answer. `number` counts submitted frames from 0; `captured` and `answered` are seconds
    of `time.monotonic()`; `picture` uint8 (H, W, 3); `dressed` is False where `problem` says why
    the frame is shown as it was (nobody in it, say); `pose` as `wardrobe.Worn` has it, None where
    nobody was found or the server's wardrobe is away; `garments`: what it was asked to wear."""

    number: int
    captured: float
    answered: float
    picture: np.ndarray
    dressed: bool
    problem: TryOnError | None = None
    pose: np.ndarray | None = None
    garments: tuple[Garment, ...] = ()

    @property
    def age(self) -> float:
        """Seconds from capture to answer."""
        return self.answered - self.captured


@dataclass
class Counts:
    """What became of the frames: each ends in one of shown, dropped, late and lost."""

    submitted: int = 0
    shown: int = 0
    repeated: int = 0
    """Of those shown: so near the last answered frame that its answer was shown again."""
    dropped: int = 0
    """A newer one came before it was sent."""
    late: int = 0
    """Answered after its deadline, or after a newer one."""
    lost: int = 0
    """Sent to a server that went away, or refused for another reason than its content."""


@dataclass(frozen=True)
class _Answer:
    """What came of a frame: its picture (None: lost), whether that is dressed, what was wrong, and
    the person's pose."""

    picture: np.ndarray | None
    dressed: bool = False
    problem: TryOnError | None = None
    pose: np.ndarray | None = None


@dataclass(frozen=True)
class _Answered:
    """A dressed frame, for those that look like it: small, its answer, and what it wore."""

    small: np.ndarray
    answer: _Answer
    wish: tuple[Garment, ...]
    number: int


@dataclass(frozen=True)
class _Waiting:
    """A frame that waits to be sent; `captured` and `submitted`, seconds of `time.monotonic()`."""

    number: int
    captured: float
    submitted: float
    frame: np.ndarray


@dataclass
class _State:
    newest: _Waiting | None = None
    wish: tuple[Garment, ...] = ()
    shown: Shown | None = None
    answered: _Answered | None = None
    track: Track | None = None
    without_wardrobe: float = -math.inf
    """Until then (`time.monotonic()`) the server's store is not asked."""
    closed: bool = False
    busy: int = 0
    latency: float = 0.1
    interval: float = 1 / 30
    last_submit: float | None = None
    problem: TryOnError | None = None
    counts: Counts = field(default_factory=Counts)


class LiveSession:
    """A person before a camera.

    `submit` never waits: it replaces the frame that waits to be sent, if any. One frame is with the
    server, or up to `most_at_once` where more are measured to bring more answers (`pace.py`; all
    sessions of a client keep one pace): else they would only grow old there. Answers are shown in
    the order of capture; one that comes after a newer one, or after its deadline, is counted and
    thrown away. While the server is away, frames are lost and counted, and it is asked again a few
    times a second: a session lives through a restart.

    The server encodes what is worn once and keeps it (`Wardrobe`); frames then travel alone, and
    where the person was in the last answered frame steadies the next one. While the server's store
    is away, garments travel with the frames. A frame in which next to nothing has changed since one
    that was dressed is not sent: that one's picture is shown again.

    Args:
        client: the server; it may be shared.
        garment, prompt, category, size: as for `TryOnClient.try_on`; `wear` changes them.
        layers: garments in the order in which they are put on, instead of those four.
        deadline: seconds from a frame's capture after which its answer is of no use.
        most_at_once: frames with the server at the same time, at most.
        same_within: levels of brightness (0..255) by which no part of a frame may differ from a
            dressed one to be shown as that (`sameness.nearly_same`); 0 sends every frame.
        on_frame: called with the ledger of every frame that was not dropped, in a thread of the
            session; what it raises is logged.
    """

    def __init__(
        self, client: TryOnClient, garment: Picture | None = None, prompt: str | None = None,
        category: str = "upper", size: int = 0, *, layers: Sequence[Garment] = (),
        deadline: float = 1.0, most_at_once: int = 2, same_within: float = SAME_WITHIN,
        on_frame: Callable[[FrameWay], None] | None = None,
    ) -> None:  # fmt: skip
        if not 0 < deadline < math.inf:
            raise InvalidRequest(f"deadline {deadline!r}: give seconds above 0")
        if most_at_once < 1:
            raise InvalidRequest(f"most_at_once {most_at_once}: give at least 1")
        if not 0 <= same_within <= 255:
            raise InvalidRequest(f"same_within {same_within!r}: give levels from 0 to 255")
        self._client, self._deadline, self._most = client, deadline, most_at_once
        self._pace = pace_of(client)
        self._same_within, self._on_frame = same_within, on_frame
        self._wardrobe = Wardrobe(client)
        self._state = _State()
        self._change = threading.Condition()
        self.wear(garment, prompt, category, size, layers=layers)
        self._threads = [
            threading.Thread(target=self._work, name=f"tryon-live-{k}", daemon=True)
            for k in range(most_at_once)
        ]
        for thread in self._threads:
            thread.start()

    def wear(
        self, garment: Picture | None = None, prompt: str | None = None, category: str = "upper",
        size: int = 0, *, layers: Sequence[Garment] = (),
    ) -> None:  # fmt: skip
        """What to wear from the next frame on; raises as `TryOnClient.try_on` does.

        Args:
            garment, prompt, category, size: of one garment.
            layers: several, in the order in which they are put on, instead. A `Garment` that was
                worn before needs no encoding again.
        """
        if layers and (garment is not None or prompt or size):
            raise InvalidRequest("layers: give them alone, without garment, prompt and size")
        wish = tuple(layers) if layers else (Garment(garment, prompt, category, size),)
        with self._change:
            self._state.wish = wish

    def submit(self, frame: np.ndarray, captured: float | None = None) -> int:
        """Hands over a copy of a frame, uint8 (H, W, 3); its number. `captured`: seconds of
        `time.monotonic()`; now, unless it is given.

        Raises:
            InvalidRequest: the session is closed, or the frame is of another kind.
        """
        now, frame = time.monotonic(), np.array(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise InvalidRequest(
                f"a live session takes frames of uint8 (H, W, 3), not {frame.dtype} {frame.shape}"
            )
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
            s.newest = _Waiting(number, now if captured is None else captured, now, frame)
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
        return s.newest is not None and s.busy < min(self._able(), self._pace.allowed())

    def _able(self) -> int:
        """Frames that could be under way: as many as come while one is answered."""
        s = self._state
        return max(1, min(self._most, math.ceil(s.latency / max(s.interval, 1e-3))))

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._state.closed or self._ready())
                s = self._state
                if s.closed:
                    return
                assert s.newest is not None and s.wish
                taken, wish = s.newest, s.wish
                s.newest = None
                s.busy += 1
                at_once = s.busy
            frame, picked = taken.frame, time.monotonic()
            way = [Span("capture", taken.captured, taken.submitted),
                   Span("wait", taken.submitted, picked)]  # fmt: skip
            seen = small(frame) if self._same_within else None
            known = self._alike(seen, wish)
            if seen is not None:
                way.append(Span("same", picked, time.monotonic()))
            answer = known.answer if known else self._ask(taken, wish, at_once, way)
            with self._change:
                s.busy -= 1
                outcome = self._take(taken, answer, wish)
                if known is not None and outcome == SHOWN:
                    outcome = REPEATED
                    s.counts.repeated += 1
                elif answer.dressed and seen is not None:
                    self._note(_Answered(seen, answer, wish, taken.number))
                self._change.notify_all()
            self._tell(FrameWay(taken.number, outcome, tuple(way)))

    def _tell(self, way: FrameWay) -> None:
        if self._on_frame is None:
            return
        try:
            self._on_frame(way)
        except Exception:  # a worker that dies would hang whoever waits
            logging.getLogger(__name__).exception("on_frame failed")

    def _alike(self, seen: np.ndarray | None, wish: tuple[Garment, ...]) -> _Answered | None:
        """The last dressed frame, where this one (as `small` has it) looks the same."""
        with self._change:
            known = self._state.answered
        if seen is None or known is None or known.wish is not wish:
            return None
        return known if nearly_same(known.small, seen, self._same_within) else None

    def _note(self, answered: _Answered) -> None:
        known = self._state.answered
        if known is None or known.number < answered.number:
            self._state.answered = answered

    def _ask(
        self, taken: _Waiting, wish: tuple[Garment, ...], at_once: int, way: list[Span]
    ) -> _Answer:
        """What the server makes of a frame, one of so many at once; adds to its way."""
        frame, captured, began = taken.frame, taken.captured, time.monotonic()
        left = captured + self._deadline - began
        if left <= 0:
            return _Answer(frame, False, DeadlineExceeded("the frame was too old to send"))
        try:
            result, pose = self._dressed(frame, wish, captured, left)
            way += stages(result.timings, began, _STAGES)
        except DeadlineExceeded as error:
            self._learn(time.monotonic() - began, at_once, late=True)
            return _Answer(frame, False, error)
        except _OF_THE_FRAME as error:
            with self._change:
                self._state.track = None  # whoever comes next is somebody else
            return _Answer(frame, False, error)
        except TryOnError as error:
            self._pause()
            return _Answer(None, False, error)
        except Exception as error:  # a worker that dies would hang whoever waits
            self._pause()
            error = TryOnError(one_line(f"{type(error).__name__}: {error}"))
            return _Answer(None, False, error)
        self._learn(time.monotonic() - began, at_once)
        return _Answer(np.asarray(result.image), True, None, pose)

    def _dressed(
        self, frame: np.ndarray, wish: tuple[Garment, ...], captured: float, left: float
    ) -> tuple[TryOnResult, np.ndarray | None]:
        """The frame in what is worn, by the wardrobe or, where that is away, without; the pose,
        which the wardrobe alone tells."""
        end = time.monotonic() + left
        with self._change:
            track, away = self._state.track, self._state.without_wardrobe > time.monotonic()
        if not away:
            try:
                worn = self._wardrobe.wear(frame, wish, captured=captured, before=track,
                                           timeout=left, adding=_ENCODING, follow=True)  # fmt: skip
            except WardrobeAway:
                with self._change:
                    self._state.without_wardrobe = time.monotonic() + _WITHOUT_WARDROBE
            else:
                with self._change:
                    newest = self._state.track
                    if newest is None or newest.captured < captured:
                        self._state.track = worn.track
                return worn.result, worn.pose
        picture: Picture = frame
        for garment in wish:
            try:
                result = self._client.try_on(
                    picture, garment.pixels, garment.prompt, garment.category,
                    timeout=max(end - time.monotonic(), 1e-3),
                )  # fmt: skip
            except LowConfidence as error:  # as by the wardrobe: a mirror that flickers is worse
                result = error.result
            picture = result.image
        return result, None

    def _learn(self, seconds: float, at_once: int, late: bool = False) -> None:
        with self._change:
            self._state.latency += 0.2 * (seconds - self._state.latency)
            # How long it would have taken nobody knows.
            self._pace.learn(math.inf if late else seconds, at_once, self._able())

    def _pause(self) -> None:
        """A while without asking a server that is away; ends early when the session does."""
        with self._change:
            self._change.wait_for(lambda: self._state.closed, timeout=0.25)

    def _take(self, taken: _Waiting, answer: _Answer, wish: tuple[Garment, ...]) -> str:
        """Shows an answer, or counts why not; what became of it."""
        s, now = self._state, time.monotonic()
        if answer.picture is None:
            s.counts.lost += 1
            s.problem = answer.problem
            return LOST
        if isinstance(answer.problem, DeadlineExceeded) or now - taken.captured > self._deadline:
            s.counts.late += 1
            return LATE
        s.problem = None
        if self._newer(taken.number):
            s.counts.late += 1
            return LATE
        s.counts.shown += 1
        s.shown = Shown(
            taken.number, taken.captured, now, answer.picture, answer.dressed, answer.problem,
            answer.pose, wish,
        )  # fmt: skip
        return SHOWN if answer.dressed else UNDRESSED


__all__ = ["Counts", "LiveSession", "Shown"]
