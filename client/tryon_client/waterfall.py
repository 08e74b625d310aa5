"""Draws frames' ways as a waterfall: a bar a stage, in the order in which they began."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from tryon_client.ledger import FrameWay, Span
from tryon_client.trace import MEASURING

ROW, LABEL, WIDTH, RIGHT, TOP = 22, 170, 1100, 90, 46
"""Pixels: a row's height, the labels' width, the bars' width, room behind them, above them."""
INK, FAINT, GROUND, LINE = (33, 37, 41), (108, 117, 125), (255, 255, 255), (222, 226, 230)
COLOURS = {"client": (73, 80, 182), "wire": (240, 140, 0), "server": (43, 138, 62),
           "queue": (134, 199, 148), "trace": (206, 212, 218)}  # fmt: skip
_WIRE, _OUTER = ("send", "return"), "request"


def kind(span: Span) -> str:
    """Whose time a stage is: client, wire, server or the trace's own."""
    if span.name == MEASURING:
        return "trace"
    if span.name in _WIRE:
        return "wire"
    return "server" if span.part_of else "client"


def waterfall(panels: Sequence[tuple[str, FrameWay]], notes: Sequence[str] = ()) -> Image.Image:
    """A picture of frames, one below the other, each on a scale of its own.

    Args:
        panels: a title and a frame each.
        notes: lines at the foot.
    """
    rows = [[s for s in way.spans if s.name != _OUTER and not s.name.startswith("queue ")]
            for _, way in panels]  # fmt: skip
    height = sum(TOP + ROW * len(spans) for spans in rows) + 30 + 20 * len(notes) + 24
    picture = Image.new("RGB", (LABEL + WIDTH + RIGHT, height), GROUND)
    draw = ImageDraw.Draw(picture)
    tiny, small, large = (ImageFont.load_default(size) for size in (10, 13, 16))
    y = 12
    for (title, way), spans in zip(panels, rows, strict=True):
        longest = way.end - way.start or 1e-3
        step = _tick(longest)
        draw.text((12, y), title, INK, large)
        top = y + TOP - 16
        for k in range(int(longest / step) + 1):
            x = LABEL + round(k * step / longest * WIDTH)
            draw.line((x, top, x, top + ROW * len(spans) + 4), LINE)
            draw.text((x + 3, top - 13), f"{k * step * 1e3:g} ms", FAINT, tiny)
        for number, span in enumerate(spans):
            row = top + 4 + number * ROW
            draw.text((24 if span.part_of else 12, row + 1), span.name, INK, small)
            left, right = (LABEL + (at - way.start) / longest * WIDTH
                           for at in (span.start, span.end))  # fmt: skip
            draw.rectangle((left, row, max(right, left + 1), row + ROW - 6), COLOURS[kind(span)])
            for part in way.spans:
                inside = span.start <= part.start and part.end <= span.end + 1e-9
                if part.part_of == span.name and inside:
                    end = LABEL + (part.end - way.start) / longest * WIDTH
                    draw.rectangle((left, row, max(end, left), row + ROW - 6), COLOURS["queue"])
            draw.text((max(right, left + 1) + 6, row + 1), f"{span.milliseconds:.1f}", INK, small)
        y = top + 4 + ROW * len(spans) + 12
    x = 12
    names = {"client": "here", "wire": "on the way", "server": "server", "queue": "waits there",
             "trace": "the trace itself"}  # fmt: skip
    for name, text in names.items():
        draw.rectangle((x, y + 3, x + 12, y + 15), COLOURS[name])
        draw.text((x + 18, y + 1), text, INK, small)
        x += 40 + round(draw.textlength(text, small))
    for number, note in enumerate(notes):
        draw.text((12, y + 26 + 20 * number), note, FAINT, small)
    return picture


def _tick(longest: float) -> float:
    """Seconds between two marks: 1, 2 or 5 of a power of ten, at most 12 of them."""
    step = 1e-4
    while True:
        for factor in (1, 2, 5):
            if longest / (step * factor) <= 12:
                return step * factor
        step *= 10


__all__ = ["kind", "waterfall"]
