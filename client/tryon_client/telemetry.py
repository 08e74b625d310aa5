"""A live session's frames as OpenTelemetry spans: `pip install "tryon-client[telemetry]"`.

from opentelemetry import trace
LiveSession(client, garment="shirt.jpg", on_frame=Exporter(trace.get_tracer("tryon")))

Each frame is a trace of its own: a span `frame` from its capture to its last stage, with its number
and what became of it, and a span below it for every stage.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

from tryon_client.errors import TryOnError
from tryon_client.ledger import FrameWay

MISSING = 'spans need OpenTelemetry: pip install "tryon-client[telemetry]"'


class Exporter:
    """Gives each frame's way to a tracer.

    Args:
        tracer: of OpenTelemetry's API; whoever made it has said where its spans go.

    Raises:
        TryOnError: OpenTelemetry is not installed.
    """

    def __init__(self, tracer: Any) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.context import Context
        except ImportError:
            raise TryOnError(MISSING) from None
        self._api, self._tracer, self._nothing = trace, tracer, Context()
        # Spans carry the time of day; a frame's way is told by a clock that is never set.
        self._day = time.time_ns() - time.monotonic_ns()

    def __call__(self, way: FrameWay) -> None:
        """One frame."""
        frame = self._tracer.start_span(
            "frame", context=self._nothing, start_time=self._at(way.start),
            attributes={"tryon.frame": way.number, "tryon.outcome": way.outcome},
        )  # fmt: skip
        parents = {"": frame}
        for span in way.spans:
            above = self._api.set_span_in_context(parents.get(span.part_of, frame))
            made = self._tracer.start_span(span.name, context=above,
                                           start_time=self._at(span.start))  # fmt: skip
            made.end(self._at(span.end))
            parents[span.name] = made
        frame.end(self._at(way.end))

    def _at(self, seconds: float) -> int:
        return self._day + round(seconds * 1e9)


def write_spans(frames: tuple[FrameWay, ...], path: Path) -> None:
    """Writes the spans of frames as a file of JSON, one span a line, as OpenTelemetry's SDK prints
    them.

    Raises:
        TryOnError: OpenTelemetry's SDK is not installed, or the file can't be written.
    """
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    except ImportError:
        raise TryOnError(MISSING) from None
    printed = io.StringIO()
    provider = TracerProvider(resource=Resource.create({"service.name": "tryon-client"}))
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(
        out=printed, formatter=lambda span: span.to_json(indent=None) + "\n"
    )))  # fmt: skip
    export = Exporter(provider.get_tracer("tryon_client"))
    for way in frames:
        export(way)
    provider.shutdown()
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(printed.getvalue())
        os.replace(beside, path)
    except OSError as error:
        raise TryOnError(f"can't write {path}: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


__all__ = ["Exporter", "write_spans"]
