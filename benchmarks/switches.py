"""How soon a garment that is tapped is seen, and how soon the first picture of a session.

    python -m benchmarks.switches                     # an embedded server, 20 switches of each kind
    python -m benchmarks.switches --count 50 --url localhost:8001

A camera of 30 frames a second, no two frames in a row the same. Twice a second another garment is
put on: one that the server keeps ("kept"), or one that it has never seen ("new"). Told are, of each
kind, which frame after the tap is the first that is shown in the new garment: 1 is the next one, 0
one that waited already; the milliseconds until that picture was there; and how many pictures of
frames captured after the tap still wore the old one. Goes to out/bench/switches.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import Inputs, make_inputs, parse_size, photos
from benchmarks.machine import ROOT, measured_on
from benchmarks.report import write_json
from benchmarks.server import address_of
from deploy.embedded import REPOSITORY, ServerError
from tryon.assets import AssetError
from tryon_client import TryOnClient, TryOnError
from tryon_client.live import LiveSession, Shown
from tryon_client.wardrobe import Garment

BETWEEN = 15
"""Frames between two switches."""
PATIENCE = 10.0
"""Seconds for one."""


class Camera:
    """Frames at a rate, each once: `next` waits for its time and hands it to the session."""

    def __init__(self, session: LiveSession, person: np.ndarray, rate: float) -> None:
        self._session, self._rate = session, rate
        self._frames = [np.roll(person, shift, axis=1) for shift in range(16)]
        self._began, self.count = time.monotonic(), 0

    def next(self) -> None:
        """Submits the next frame when it is due."""
        time.sleep(max(0.0, self._began + self.count / self._rate - time.monotonic()))
        self._session.submit(self._frames[self.count % len(self._frames)])
        self.count += 1


def switch(session: LiveSession, camera: Camera, garment: Garment) -> tuple[int, float, int]:
    """Puts a garment on: the first frame after the tap that is seen in it, milliseconds until then,
    and pictures of later frames that still wore the old one.

    Raises:
        TryOnError: it never is.
    """
    tapped, before, last, old = time.monotonic(), camera.count, -1, 0
    session.wear(layers=[garment])
    while time.monotonic() - tapped < PATIENCE:
        camera.next()
        found = session.latest()
        if found is None or found.number == last or not found.dressed:
            continue
        last = found.number
        if _wears(found, garment):
            return found.number - before + 1, (found.answered - tapped) * 1e3, old
        old += found.captured > tapped
    raise session.problem or TryOnError(f"a garment was not seen within {PATIENCE:.0f} s")


def _wears(shown: Shown, garment: Garment) -> bool:
    return len(shown.garments) == 1 and shown.garments[0] is garment


def run(url: str, inputs: Inputs, count: int, rate: float) -> dict[str, Any]:
    """So many switches of each kind, after the first picture of the session.

    Raises:
        TryOnError: nobody was dressed, and why.
    """

    def garments() -> Iterator[Garment]:
        for k in range(1, 256):
            yield Garment(inputs.garment ^ np.uint8(k), inputs.prompt, inputs.category)

    unseen = garments()
    kept = [next(unseen), next(unseen)]
    made: dict[str, Any] = {"count": count, "rate": rate}
    with TryOnClient(url) as client:
        client.check()
        opened = time.monotonic()
        with LiveSession(client, layers=[kept[0]], deadline=2.0, same_within=0) as session:
            camera = Camera(session, inputs.person, rate)
            while (found := session.latest()) is None or not found.dressed:
                if time.monotonic() - opened > PATIENCE:
                    raise session.problem or TryOnError("nobody was dressed")
                camera.next()
            made["first_picture_ms"] = (found.answered - opened) * 1e3
            switch(session, camera, kept[1])  # both are kept from here on
            kinds: dict[str, Callable[[int], Garment]] = {
                "kept": lambda k: kept[k % 2], "new": lambda k: next(unseen),
            }  # fmt: skip
            for kind, garment in kinds.items():
                rows = []
                for k in range(count):
                    for _ in range(BETWEEN):
                        camera.next()
                    rows.append(switch(session, camera, garment(k)))
                frames, ms, old = np.array(rows, float).T
                made[kind] = {
                    "frames_p50": float(np.median(frames)), "frames_most": int(frames.max()),
                    "ms_p50": float(np.median(ms)), "ms_p95": float(np.percentile(ms, 95)),
                    "old_after": int(old.sum()),
                }  # fmt: skip
    return made


def table(made: dict[str, Any]) -> str:
    """Text of at most 100 columns."""
    lines = [f"first picture of a session: {made['first_picture_ms']:.0f} ms after it was opened"]
    for kind in ("kept", "new"):
        row = made[kind]
        lines.append(
            f"{made['count']} switches to garments that are {kind}: seen in frame "
            f"{row['frames_p50']:.0f} (p50), {row['frames_most']} at most; "
            f"{row['ms_p50']:.0f} ms (p50), {row['ms_p95']:.0f} (p95)"
        )
        lines.append(f"  pictures of later frames in the old one: {row['old_after']}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.switches", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=20, help="of each kind (%(default)s)")
    parser.add_argument("--rate", type=float, default=30.0,
                        help="frames of the camera a second (%(default)g)")  # fmt: skip
    parser.add_argument("--size", type=parse_size, default=(512, 384), metavar="HxW",
                        help="of the frames (512x384)")  # fmt: skip
    parser.add_argument("--url", help="a server that runs; else an embedded one is started")
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    if not 1 <= options.count <= 200 or not options.rate > 0:
        parser.error("--count takes 1 to 200, --rate more than 0")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(*photos(), options.size)
        with address_of(options.url, options.repository) as (url, _):
            made = run(url, inputs, options.count, options.rate)
    except (AssetError, ServerError, TryOnError, OSError) as error:
        print(f"switches: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    made |= measured_on(options.repository)
    write_json(made, options.out / "switches.json")
    print(table(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
