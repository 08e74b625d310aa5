"""How many of a camera's frames a live session need not send, since nothing has moved in them.

    python -m benchmarks.sameness                               # somebody stands still, with noise
    python -m benchmarks.sameness --sequences .cache/sequences  # and walks (training.data.sequence)

Of each film the share of frames that the last sent one answers, at several thresholds (levels), and
how far the frames that are left out are from it: on the mean of all bytes, and the worst block's
brightness.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.inputs import make_inputs, parse_size, photos
from benchmarks.machine import machine
from benchmarks.report import write_json
from tryon.assets import AssetError
from tryon_client.sameness import BRIGHTNESS, SAME_WITHIN, nearly_same, small

ROOT = Path(__file__).resolve().parents[1]
FRAMES, QUALITY = 90, 88
THRESHOLDS = (0.7, SAME_WITHIN, 2.0, 3.0)
NOISE = (1.0, 2.0, 4.0)
"""Standard deviations of a camera's noise, in levels: daylight, a lit room, a dim one."""


def still(person: np.ndarray, noise: float, frames: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Somebody who does not move, before a camera with noise, each frame through JPEG."""
    random = np.random.default_rng(seed)
    for _ in range(frames):
        seen = np.clip(person + random.normal(0, noise, person.shape), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(seen).save(data, "JPEG", quality=QUALITY)
        yield np.asarray(Image.open(data).convert("RGB"))


def breathing(person: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    """Somebody who sways by a pixel and back in three seconds, without noise."""
    for k in range(frames):
        x = np.sin(2 * np.pi * k / 90)
        image = Image.fromarray(person)
        yield np.asarray(image.transform(image.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, 0),
                                         Image.Resampling.BICUBIC))  # fmt: skip


def saved(film: list[np.ndarray], within: float) -> dict[str, float]:
    """Of a film, at one threshold.

    Returns:
        `saved`, the share of frames after the first that were not sent; `off` and `off_block`, the
        mean, and the worst block's brightness, by which those differ from what was shown, in
        levels.
    """
    sent, tiny, answered, off, block = film[0], small(film[0]), 0, [0.0], [0.0]
    for frame in film[1:]:
        seen = small(frame)
        if nearly_same(tiny, seen, within):
            answered += 1
            off.append(float(np.abs(frame.astype(np.int16) - sent).mean()))
            block.append(float(np.abs((seen - tiny) @ BRIGHTNESS).max()))
        else:
            sent, tiny = frame, seen
    share = answered / max(len(film) - 1, 1)
    return {"saved": share, "off": float(np.mean(off)), "off_block": max(block)}


def films(
    person: np.ndarray, frames: int, sequences: Path | None
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Names and frames, uint8 (H, W, 3)."""
    for noise in NOISE:
        yield f"still, noise {noise:g}", list(still(person, noise, frames))
    yield "sways by a pixel", list(breathing(person, frames))
    if sequences is not None:
        from training.data.sequence import load_sequence

        for path in sorted(sequences.glob("sequence-*.npz")):
            yield f"walks: {path.stem}", list(load_sequence(path).before)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sameness", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--sequences", type=Path, metavar="FOLDER",
                        help="that training.data.sequence wrote")  # fmt: skip
    parser.add_argument("--size", type=parse_size, default=(512, 384), metavar="HxW",
                        help="of the frames (512x384)")  # fmt: skip
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each film (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    if options.frames < 2:
        parser.error("--frames takes 2 or more")
    rows: list[dict[str, Any]] = []
    try:
        if options.sequences is not None and not any(options.sequences.glob("sequence-*.npz")):
            raise OSError(f"{options.sequences} holds no sequence: `python -m training.data."
                          f"sequence --out {options.sequences}` renders some")  # fmt: skip
        options.out.mkdir(parents=True, exist_ok=True)
        person = make_inputs(*photos(), options.size).person
        for name, film in films(person, options.frames, options.sequences):
            for within in THRESHOLDS:
                rows.append({"film": name, "within": within, **saved(film, within)})
    except (AssetError, OSError, ValueError) as error:
        print(f"sameness: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    for _ in range(50):
        nearly_same(small(person), small(person))
    cost = (time.perf_counter() - began) * 1e3 / 100
    write_json({"rows": rows, "milliseconds": cost, "machine": machine()},
               options.out / "sameness.json")  # fmt: skip
    print(f"{'':28} {'within':>7} {'not sent':>9} {'off':>6} {'worst block':>12}")
    for r in rows:
        print(f"{r['film']:28} {r['within']:7.1f} {r['saved']:9.0%} {r['off']:6.2f} "
              f"{r['off_block']:12.2f}")  # fmt: skip
    print(f"{cost:.2f} ms a frame of {options.size[0]}x{options.size[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
