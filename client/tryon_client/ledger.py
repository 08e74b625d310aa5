"""The latency ledger: where the time of a live session's frame went, from capture to answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

SHOWN, REPEATED, UNDRESSED, LATE, LOST = "shown", "repeated", "undressed", "late", "lost"
"""What became of a frame: dressed and shown, shown as the picture of one like it, shown as it was
taken, answered too late, lost with the server."""


@dataclass(frozen=True)
class Span:
    """One stage of a frame: `start` and `end` are seconds of `time.monotonic()`; `part_of` names
    the stage that it lies within, "" for none."""

    name: str
    start: float
    end: float
    part_of: str = ""

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) * 1e3


@dataclass(frozen=True)
class FrameWay:
    """A frame's way: its number in the session, what became of it, and its stages in order.

    Stages of a session: `capture` (until it was handed over), `wait` (until a place was free),
    `same` (the look whether anything has moved), then for a frame that was sent `encode`,
    `request` and `finish`.
    """

    number: int
    outcome: str
    spans: tuple[Span, ...]

    @property
    def start(self) -> float:
        """When it was captured, in seconds of `time.monotonic()`."""
        return min(span.start for span in self.spans)

    @property
    def end(self) -> float:
        """When its last stage ended."""
        return max(span.end for span in self.spans)

    @property
    def milliseconds(self) -> float:
        """From capture to the end of its last stage."""
        return (self.end - self.start) * 1e3

    def find(self, name: str) -> Span | None:
        """The first stage of that name."""
        return next((span for span in self.spans if span.name == name), None)

    def with_spans(self, spans: Iterable[Span]) -> FrameWay:
        """The same frame with further stages, all in the order of their start."""
        return replace(self, spans=tuple(sorted((*self.spans, *spans), key=lambda s: s.start)))


def stages(timings: Mapping[str, float], began: float, names: Mapping[str, str]) -> list[Span]:
    """A try-on's `timings` as spans, one after the other.

    Args:
        timings: milliseconds by stage, in their order (`TryOnResult.timings`).
        began: when the first began, seconds of `time.monotonic()`.
        names: of the stages that count, and what they go by; others are left out.
    """
    spans = []
    for stage, milliseconds in timings.items():
        if stage in names:
            spans.append(Span(names[stage], began, began + milliseconds / 1e3))
            began += milliseconds / 1e3
    return spans


__all__ = ["LATE", "LOST", "REPEATED", "SHOWN", "UNDRESSED", "FrameWay", "Span", "stages"]
