"""Traces a live session: each frame's way, its time in the server step by step.

The server's steps are told by its own statistics, asked for before and after each request. They are
sums over all callers: `Call.alone` says whether this one was the only one. What a request took
beyond the server's own time went by between here and there; it is split between the way there and
the way back by their bytes, since no clock of the server is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tryon_client.client import Deadline, TryOnClient
from tryon_client.errors import InvalidRequest, TryOnError
from tryon_client.ledger import FrameWay, Span
from tryon_client.live import LiveSession
from tryon_client.wardrobe import Garment

MEASURING = "measuring"
"""The stage in which the server is asked for its statistics: it is the trace's own."""
_SETTLES = 2.0
"""Seconds for the server to count a request that it has answered."""
_WAIT = 30.0
"""Seconds for a frame's answer while tracing."""


@dataclass(frozen=True)
class Call:
    """One request of a traced client.

    Attributes:
        model: the ensemble that was called.
        spans: send, its steps (with `queue NAME` within each that waited), return, and two of
            MEASURING around them, in seconds of `time.monotonic()`.
        alone: whether each step ran once in between, so that the figures are this request's own.
    """

    model: str
    spans: tuple[Span, ...]
    alone: bool


class TracingClient(TryOnClient):
    """A client that notes what the server says of each of its requests; for one caller at a time.

    Attributes:
        calls: since it was made, or since `calls.clear()`.
    """

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(url, timeout)
        self.calls: list[Call] = []
        self._plans: dict[str, Any] = {}

    def __enter__(self) -> TracingClient:
        return self

    def infer(self, message: Any, deadline: Deadline) -> Any:
        """See `TryOnClient.infer`."""
        model = message.model_name
        if model not in self._plans:
            self._plans[model] = list(self.config(model).ensemble_scheduling.step)
        asked = time.monotonic()
        before = self.statistics()
        began = time.monotonic()
        response = super().infer(message, deadline)
        ended = time.monotonic()
        names = [model, *(step.model_name for step in self._plans[model])]
        after = self._settled(names, before)
        spans, alone = server_spans(
            model, self._plans[model], before, after, began, ended,
            message.ByteSize() / max(message.ByteSize() + response.ByteSize(), 1),
        )  # fmt: skip
        around = (Span(MEASURING, asked, began), Span(MEASURING, ended, time.monotonic()))
        self.calls.append(Call(model, (around[0], *spans, around[1]), alone))
        return response


    def _settled(self, names: list[str], before: Any) -> Any:
        """The statistics once they count this request everywhere: a server may answer first."""
        was = {m.name: m.inference_stats.success.count for m in before.model_stats}
        end = time.monotonic() + _SETTLES
        while True:
            told = self.statistics()
            now = {m.name: m.inference_stats.success.count for m in told.model_stats}
            counted = all(now.get(name, 0) > was.get(name, 0) for name in names)
            if counted or time.monotonic() > end:
                return told
            time.sleep(1e-3)


def server_spans(
    model: str, plan: Any, before: Any, after: Any, began: float, ended: float, share: float
) -> tuple[list[Span], bool]:
    """A request's time in the server, step by step.

    Args:
        model: the ensemble.
        plan: its steps (`ensemble_scheduling.step`), with their tensors by name.
        before, after: ModelStatisticsResponses around the request.
        began, ended: of the request, seconds of `time.monotonic()`.
        share: of what is not the server's that is laid before its steps, 0..1.

    Returns:
        The spans `send`, one of each step and, within it, `queue NAME`, and `return`; and whether
        every step ran once.
    """
    told = {m.name: m.inference_stats for m in after.model_stats}
    was = {m.name: m.inference_stats for m in before.model_stats}

    def seconds(name: str, part: str) -> tuple[int, float]:
        """How often it ran, and the mean of a part of it."""
        count = told[name].success.count - (was[name].success.count if name in was else 0)
        one, other = getattr(told[name], part).ns, getattr(was[name], part).ns if name in was else 0
        return count, (one - other) / max(count, 1) / 1e9

    names = [model, *(step.model_name for step in plan)]
    lacking = [name for name in names if name not in told]
    if lacking:
        raise TryOnError(f"the server has no statistics of {lacking[0]}")
    alone = all(seconds(name, "success")[0] == 1 for name in names)
    served = min(seconds(model, "success")[1], ended - began)
    there = (ended - began - served) * share
    ready: dict[str, float] = {}
    start = began + there
    spans = [Span("send", began, start, "request")]
    for step in plan:
        name = step.model_name
        first = max((ready.get(t, start) for t in step.input_map.values()), default=start)
        queue, whole = seconds(name, "queue")[1], seconds(name, "success")[1]
        spans.append(Span(name, first, first + whole, "request"))
        if queue > 0:
            spans.append(Span(f"queue {name}", first, first + min(queue, whole), name))
        ready |= dict.fromkeys(step.output_map.values(), first + whole)
    spans.append(Span("return", start + served, ended, "request"))
    return spans, alone


@dataclass(frozen=True)
class Trace:
    """A traced session: its frames in order, and whether nobody else called the server."""

    frames: tuple[FrameWay, ...]
    alone: bool


def trace(
    client: TracingClient, frames: Iterable[np.ndarray], garments: list[Garment], count: int
) -> Trace:
    """Runs a live session, one frame at a time, and tells where each frame's time went.

    Args:
        client: whose calls are noted.
        frames: uint8 (H, W, 3); taking one from it is its capture.
        garments: in the order in which they are put on.
        count: frames to trace, the first of which also has the garments encoded.

    Raises:
        InvalidRequest: there is no frame, or `count` is not above 0. TryOnError: what the first
            frame that could not be dressed was refused for.
    """
    if count < 1:
        raise InvalidRequest(f"frames {count}: give at least 1")
    client.check()
    ways: list[FrameWay] = []
    found: list[FrameWay] = []
    alone, source = True, iter(frames)
    with LiveSession(
        client, layers=garments, most_at_once=1, same_within=0, deadline=_WAIT,
        on_frame=ways.append,
    ) as live:  # fmt: skip
        for number in range(count):
            captured = time.monotonic()
            frame = next(source, None)
            if frame is None:
                break
            client.calls.clear()
            live.submit(frame, captured)
            shown = live.wait(after=number - 1, timeout=_WAIT)
            if shown is None or not shown.dressed:
                why = shown.problem if shown is not None else live.problem
                raise why or TryOnError(f"no answer from {client.url} within {_WAIT:g} s")
            draw = time.monotonic()
            shown.picture.tobytes()  # what a window is handed
            drawn = time.monotonic()
            while len(ways) <= number:  # it is told right after it is shown
                time.sleep(1e-4)
            spans = [span for call in client.calls for span in call.spans]
            alone = alone and all(call.alone for call in client.calls)
            finish = ways[number].end
            found.append(ways[number].with_spans(
                [*spans, Span("hand over", finish, draw), Span("draw", draw, drawn)]))  # fmt: skip
    if not found:
        raise InvalidRequest("there is no frame to trace")
    return Trace(tuple(found), alone)


def own_milliseconds(way: FrameWay) -> float:
    """What a frame's way took, without the trace's own time."""
    return way.milliseconds - sum(s.milliseconds for s in way.spans if s.name == MEASURING)


def median_frame(frames: Iterable[FrameWay]) -> FrameWay:
    """The frame whose way took as long as half of them at most; of one, that."""
    ways = sorted(frames, key=own_milliseconds)
    return ways[(len(ways) - 1) // 2]


__all__ = [
    "MEASURING", "Call", "Trace", "TracingClient", "median_frame", "own_milliseconds",
    "server_spans", "trace",
]  # fmt: skip
