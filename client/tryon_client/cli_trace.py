"""`tryon trace`: where the time of a live session's frames goes, as a picture."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tryon_client.images import load_person
from tryon_client.ledger import FrameWay
from tryon_client.trace import MEASURING, TracingClient, median_frame, own_milliseconds, trace
from tryon_client.wardrobe import Garment
from tryon_client.waterfall import waterfall

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
FRAMES = 20
SHARED = "Others called the server meanwhile: its steps are means over their requests too."
_NOTES = (
    "Server: its own statistics. What a request took beyond them is split by the bytes each way.",
    "Asking for the statistics is the trace's own time, and in no sum.",
)


def add_command(
    commands: Any, add_wish: Callable[[argparse.ArgumentParser], None], check_target: Any,
    write: Any, **layout: Any,
) -> None:  # fmt: skip
    """Adds `trace`.

    Args:
        commands: of `argparse.ArgumentParser.add_subparsers`.
        add_wish: adds what to wear, and the server.
        check_target: (name, option) -> the path of a picture that can be written.
        write: writes [(path, picture)] whole.
        layout: further arguments of `add_parser`.
    """
    one = commands.add_parser(
        "trace", help="where the time of a live session's frames goes, as a picture",
        description="Runs a live session, one frame at a time, and draws the way of its first "
        "frame (whose garment is new) and of the median of the others as a waterfall.", **layout,
    )  # fmt: skip
    one.set_defaults(run=lambda options: _trace(options, check_target, write))
    one.add_argument("source", metavar="FILE", help="a photo of one person, or a video (PyAV)")
    add_wish(one)
    one.add_argument("--out", required=True, metavar="FILE", help="written as .png, .jpg or .webp")
    one.add_argument("--frames", type=int, default=FRAMES, metavar="N",
                     help=f"of the session; default: {FRAMES}")  # fmt: skip
    one.add_argument("--spans", metavar="FILE", help="also write every frame's OpenTelemetry "
                     "spans, a line of JSON each")  # fmt: skip


def frames_of(source: str) -> Iterator[np.ndarray]:
    """A video's frames, or a photo again and again: uint8 (H, W, 3)."""
    if Path(source).suffix.lower() in VIDEOS:
        from tryon_client.video import frames

        return frames(source)
    return itertools.repeat(load_person(source).array)


def _trace(options: argparse.Namespace, check_target: Any, write: Any) -> None:
    out = check_target(options.out, "--out")
    garment = Garment(options.garment, options.prompt, options.category, options.size)
    frames = frames_of(options.source)
    with TracingClient(options.url, options.timeout) as client:
        traced = trace(client, frames, [garment], options.frames)
    first, others = traced.frames[0], traced.frames[1:]
    panels = [(f"First frame, its garment new: {own_milliseconds(first):.1f} ms", first)]
    if others:
        median = median_frame(others)
        title = f"Frame {median.number}, the median of {len(others)}"
        panels.append((f"{title}: {own_milliseconds(median):.1f} ms", median))
    notes = [*_NOTES, *([] if traced.alone else [SHARED])]
    write([(out, waterfall(panels, notes))])
    if options.spans:
        from tryon_client.telemetry import write_spans

        write_spans(traced.frames, Path(options.spans))
    print(f"{out}: {len(traced.frames)} frames")
    for title, way in panels:
        print(title)
        print("\n".join(lines(way)))
    if not traced.alone:
        print(SHARED)


def lines(way: FrameWay) -> list[str]:
    """Each stage's milliseconds, for people; the trace's own time left out."""
    return [f"  {'  ' if s.part_of else ''}{s.name:24} {s.milliseconds:8.1f} ms"
            for s in way.spans if s.name != MEASURING]  # fmt: skip
