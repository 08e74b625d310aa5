"""Real garments cut out of their photos, to be worn by rendered people.

    python -m training.data.cutouts --photos DIR --out .cache/cutouts

The image encoder, trained on rendered garments, finds each garment's mask, without its inside, and
landmarks; a photo whose mask is torn, tiny or cut by the frame is left out. Collars that were
outlined by hand (`training.data.necklines`) are as they were outlined. The result is a folder with
`pixels.npy` (uint8 (N, 256, 192, 4): RGB, beyond the garment its nearest colour; and its mask),
`photos.npy` (uint8 (N, 256, 192, 3): the photos as the network sees them), and `cutouts.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from tqdm import tqdm

from training.data.necklines import Neckline, outlined_in
from training.data.real_photos import held_out, manifest_of
from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH
from tryon.models import system
from tryon.models.image_encoder import ImageEncoder
from tryon.steps.garment import make_canvas

INDEX = "cutouts.json"
LEAST_AREA, MOST_AREA = 0.1, 0.75
LEAST_SURE = 0.97
"""Share of the pixels whose mask is over 0.9 or under 0.1."""
LEAST_WHOLE = 0.95
"""Share of the mask in its largest piece."""
MOST_CUT = 0.03
"""Share of the mask's outline that lies on the picture's edge."""


def problem(mask: np.ndarray) -> str:
    """Why a mask, float (H, W) in 0..1, is no whole garment; empty if it is one."""
    sure = float(((mask > 0.9) | (mask < 0.1)).mean())
    if sure < LEAST_SURE:
        return "unsure"
    inside = (mask > 0.5).astype(np.uint8)
    if not LEAST_AREA <= inside.mean() <= MOST_AREA:
        return "size"
    _, _, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    if stats[1:, cv2.CC_STAT_AREA].max() < LEAST_WHOLE * inside.sum():
        return "in pieces"
    rim = inside - cv2.erode(inside, np.ones((3, 3), np.uint8))  # OpenCV erodes no picture's edge
    edge = inside[0].sum() + inside[-1].sum() + inside[:, 0].sum() + inside[:, -1].sum()
    if edge > MOST_CUT * (rim.sum() + edge):
        return "cut by the frame"
    return ""


def filled(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo with every pixel beyond the garment in the colour of the nearest one on it.

    Args:
        photo: uint8 (H, W, 3); mask: uint8 (H, W).
    """
    inner = cv2.erode((mask > 200).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, labels = cv2.distanceTransformWithLabels(
        1 - inner, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((labels.max() + 1, 3), np.uint8)
    colours[labels[inner > 0]] = photo[inner > 0]
    return np.where(inner[..., None] > 0, photo, colours[labels])


class _Growing:
    """An .npy file of uint8 rows that is written row by row, so that a full disk is an error."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file, self._shape, self._rows = path.open("wb"), shape, 0
        self._head()

    def _head(self) -> None:
        # NumPy leaves room in the header for the first axis to grow.
        about = {"descr": "|u1", "fortran_order": False, "shape": (self._rows, *self._shape)}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, about)

    def add(self, row: np.ndarray) -> None:
        assert row.shape == self._shape and row.dtype == np.uint8
        self._file.write(row.tobytes())
        self._rows += 1

    def close(self) -> None:
        self._head()
        self._file.close()


@torch.no_grad()
def cut_out(photos: Path, out: Path, weights: Path | None = None) -> dict[str, int]:
    """Cuts out every photo of a folder; answers how many were kept, and why others weren't.

    Args:
        photos: in the layout of `real_photos`; out: the folder to write; weights: E^I's.

    Raises:
        FileNotFoundError: no manifest in `photos`.
        OSError: `out` can't be written; what was there before still is.
    """
    rows = manifest_of(photos, "label")
    outlined = outlined_in(photos)
    encoder = cast(ImageEncoder, system.load_models(weights)["image_encoder"].eval())
    out.mkdir(parents=True, exist_ok=True)
    halves = [out / "pixels.tmp", out / "photos.tmp", out / f"{INDEX}.tmp"]
    try:
        kept, counts = _cut_all(rows, photos, outlined, encoder, halves[0], halves[1])
        halves[2].write_text(json.dumps({"landmarks": LANDMARKS, "cutouts": kept}))
        (out / INDEX).unlink(missing_ok=True)  # the index comes last: it says that all is there
        for half, name in zip(halves, ("pixels.npy", "photos.npy", INDEX), strict=True):
            half.replace(out / name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out)) from error
    finally:
        for half in halves:
            half.unlink(missing_ok=True)
    return counts


def _cut_all(
    rows: list[dict[str, str]], photos: Path, outlined: Mapping[str, Neckline],
    encoder: ImageEncoder, pixels_file: Path, whole_file: Path,
) -> tuple[list[dict[str, object]], dict[str, int]]:  # fmt: skip
    """Writes the cutouts and their photos; the index's rows, and `cut_out`'s counts."""
    pixels = _Growing(pixels_file, (NET_HEIGHT, NET_WIDTH, 4))
    whole = _Growing(whole_file, (NET_HEIGHT, NET_WIDTH, 3))
    kept: list[dict[str, object]] = []
    counts: dict[str, int] = {}
    for row in tqdm(rows, desc="cutouts"):
        image = cv2.imread(str(photos / "images" / row["file"]))
        if image is None or row["category"] not in CATEGORIES:
            counts["unread"] = counts.get("unread", 0) + 1
            continue
        rgb = np.ascontiguousarray(image[..., ::-1])
        # The whole photo, its background too: that is what the network has to see through.
        net = make_canvas(rgb, (2 * NET_HEIGHT, 2 * NET_WIDTH), whole=True)[1]
        condition = torch.zeros(1, 5)
        condition[0, CATEGORIES.index(row["category"])] = condition[0, 3] = 1
        code = encoder.encode(torch.from_numpy(net).permute(2, 0, 1)[None].float() / 255, condition)
        mask = code["mask"].sigmoid()[0, 0].numpy()
        why = problem(mask)
        counts[why or "kept"] = counts.get(why or "kept", 0) + 1
        if why:
            continue
        if row["file"] in outlined:
            mask = outlined[row["file"]].corrected(mask)
        alpha = (mask * 255).round().astype(np.uint8)
        pixels.add(np.dstack([filled(net, alpha), alpha]))
        whole.add(net)
        visible = code["visible"].sigmoid()[0, :, None]
        marks = torch.cat([code["landmarks"][0], visible], 1)
        kept.append({
            "file": row["file"], "category": row["category"], "label": row["label"],
            "test": held_out(row["sender"]),
            "landmarks": [[round(float(v), 4) for v in mark] for mark in marks],
        })  # fmt: skip
    pixels.close()
    whole.close()
    return kept, counts


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.data.cutouts", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--photos", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    args = p.parse_args(arguments)
    try:
        counts = cut_out(args.photos, args.out, args.weights)
    except (OSError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{why}: {count}" for why, count in sorted(counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
