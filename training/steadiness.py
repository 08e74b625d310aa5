"""How steady the try-on is over time, on rendered people who walk and turn, with true motion.

    python -m training.data.sequence --out .cache/sequences --sequences 6
    python -m training.steadiness .cache/sequences --json out/steadiness.json

Each frame is answered by itself, then ("live") with its crop steadied by the frame before, and then
("follow") as a session's frames are, cropped where that frame's track leads (`tryon.steps.steady`).
What was drawn a frame before is brought along by the true motion of the new garment and compared,
where both were seen: "flicker" is the mean absolute difference in levels (Lai et al., 2018,
"Learning Blind Video Temporal Consistency", call it warping error); that of the rendered truth,
whose shading moves over the cloth, too, stands beside it. "mask flips" is the share of those pixels
that are garment in one of the two answers and not in the other. "off" is the mean absolute
difference from the rendered truth, in levels, where the change of garment shows: what lags behind
the person, or is smoothed away, is off.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from training.data.sequence import Sequence, load_sequence
from training.figures import means, show, write_json
from tryon.assets import AssetError
from tryon.errors import RequestError
from tryon.models.system import WeightsError
from tryon.pipeline import TryOnPipeline

Figures = dict[str, float]
FRAMES_A_SECOND = 30
"""Of a sequence (`training.data.sequence`)."""


def brought_along(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """A frame (H, W, ...) sampled where each pixel was: motion (H, W, 2), 0..1 of its sides."""
    height, width = picture.shape[:2]
    at = motion.astype(np.float32) * np.array([width, height], np.float32) - 0.5
    return cv2.remap(picture, at[..., 0], at[..., 1], cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)  # fmt: skip


def flicker(pictures: np.ndarray, sequence: Sequence) -> float:
    """Mean absolute difference, in levels, of uint8 (T, H, W, 3) along the true motion."""
    apart = []
    for t in range(1, len(pictures)):
        seen = sequence.valid[t] > 0
        before = brought_along(pictures[t - 1], sequence.motion[t]).astype(np.float32)
        apart.append(np.abs(pictures[t][seen] - before[seen]).mean())
    return float(np.mean(apart))


def flips(masks: np.ndarray, sequence: Sequence) -> float:
    """Share of the garment's points that enter or leave uint8 masks (T, H, W) from one frame to the
    next."""
    shares = []
    for t in range(1, len(masks)):
        seen = sequence.valid[t] > 0
        before = brought_along(masks[t - 1], sequence.motion[t])
        shares.append(((masks[t][seen] > 127) != (before[seen] > 127)).mean())
    return float(np.mean(shares))


def off(pictures: np.ndarray, sequence: Sequence) -> float:
    """Mean absolute difference from the truth, in levels, where that differs from the frame."""
    changed = (sequence.after != sequence.before).any(axis=3)
    apart = np.abs(pictures.astype(np.int16) - sequence.after)
    return float(apart[changed].mean())


def answers(
    pipeline: TryOnPipeline, sequence: Sequence, live: bool, follow: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (T, H, W, 3) and masks (T, H, W). Raises RequestError if a frame is refused.

    Args:
        pipeline: that answers.
        sequence: whose frames are dressed.
        live: each frame's crop is steadied by the one before.
        follow: and from the second on it is where that one's track leads.
    """
    pictures, masks = [], []
    track = np.zeros(10, np.float32) if live else None
    for t, frame in enumerate(sequence.before):
        answer = pipeline(frame, sequence.shop, "", "upper", track=track,
                          elapsed=min(t, 1) / FRAMES_A_SECOND, follow=follow and t > 0)  # fmt: skip
        if live:
            track = answer.tensors["tracked"][0]
        pictures.append(answer.picture)
        masks.append(answer.mask)
    return np.stack(pictures), np.stack(masks)


def measure(pipeline: TryOnPipeline, sequence: Sequence) -> Figures:
    """Figures of one sequence. Raises RequestError if a frame is refused."""
    found: Figures = {}
    for name, how in (("", (False, False)), ("live_", (True, False)), ("follow_", (True, True))):
        pictures, masks = answers(pipeline, sequence, *how)
        found |= {
            f"{name}flicker_levels": flicker(pictures, sequence),
            f"{name}mask_flips": flips(masks, sequence),
            f"{name}off_levels": off(pictures, sequence),
        }
    return found | {"truth_flicker_levels": flicker(sequence.after, sequence)}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.steadiness", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("sequences", type=Path, help="folder that training.data.sequence wrote")
    parser.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(arguments)
    files = sorted(args.sequences.glob("sequence-*.npz"))
    if not files:
        print(f"error: {args.sequences} holds no sequence: `python -m training.data.sequence --out "
              f"{args.sequences}` renders some", file=sys.stderr)  # fmt: skip
        return 2
    rows: list[Figures] = []
    try:
        pipeline = TryOnPipeline(args.weights)
        for file in tqdm(files, unit="sequence"):
            try:
                rows.append(measure(pipeline, load_sequence(file)))
            except RequestError as error:
                print(f"{file.name} is left out, a frame was refused: {error}", file=sys.stderr)
    except (AssetError, WeightsError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not rows:
        print("error: no sequence could be measured", file=sys.stderr)
        return 2
    table = means(rows) | {"sequences": len(rows)}
    show(table)
    write_json(args.json, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
