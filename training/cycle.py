"""There and back on real photos: another garment is put on, then the person's own one again.

    python -m training.cycle --json out/cycle.json
    python -m training.cycle --people a.jpg b.jpg --garments shirt.jpg --out out/cycle.png

Real photos have no truth for a garment that the person never wore; but they have it for their own.
The first answer wears the new garment; it then meets the photo itself as the garment's picture (the
own garment as it is worn there), and the second answer is compared with the photo where either
changed it (after Zhu et al., 2017, "CycleGAN"). That the first step did change the picture stands
beside it: doing nothing would come back perfectly.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from training.evaluate import ssim
from training.evaluate_real import SIDE, as_tensor
from training.figures import means, show, write_json
from training.losses import feature_distance
from training.trial import default_garments, default_people, pixels, read_file, tile
from tryon.assets import AssetError, asset_path
from tryon.errors import RequestError
from tryon.models.efficientnet import EfficientNetTrunk, load_trunk
from tryon.models.system import WeightsError
from tryon.pipeline import TryOnPipeline

_LEAST = 3000
"""Pixels changed; of fewer no figure is worth one."""


@torch.no_grad()
def apart(
    trunk: EfficientNetTrunk, a: np.ndarray, b: np.ndarray, where: np.ndarray
) -> dict[str, float]:
    """How far two pictures are apart where bool (H, W) says: PSNR, SSIM and feature distance of
    the box around it."""
    y, x = np.nonzero(where)
    box = slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1)
    mean = float(((a[where].astype(np.float32) - b[where]) ** 2).mean())
    one, two = as_tensor(a[box]), as_tensor(b[box])
    return {
        "psnr_db": 10 * float(np.log10(255**2 / max(mean, 1e-3))),
        "ssim": float(ssim(one, two).mean()),
        "feature_distance": float(feature_distance(trunk(one)[1:], trunk(two)[1:])[0]),
    }


def there_and_back(
    pipeline: TryOnPipeline, trunk: EfficientNetTrunk, photo: np.ndarray, garment: Path,
    category: str,
) -> tuple[dict[str, float], list[np.ndarray]]:  # fmt: skip
    """Figures, and the pictures: photo, there, back. Raises RequestError if one is refused."""
    there = pipeline(photo, read_file(garment), "", category)
    back = pipeline(there.picture, photo, "", category)
    where = (there.mask > 127) | (back.mask > 127)
    if where.sum() < _LEAST:
        raise RequestError(f"{garment.name} changed {int(where.sum())} pixels")
    # The identity guard: what the mask doesn't say has changed is the photo's own, to the byte.
    figures = {
        "bytes_changed_outside_the_mask": float((there.picture != photo)[there.mask == 0].sum())
    }
    figures |= {f"there_{k}": v for k, v in apart(trunk, there.picture, photo, where).items()}
    figures |= {f"back_{k}": v for k, v in apart(trunk, back.picture, photo, where).items()}
    return figures, [photo, there.picture, back.picture]


def measure(
    pipeline: TryOnPipeline, people: list[Path], garments: list[Path], category: str,
    cells: list[np.ndarray] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Means over every person in every garment, and "pairs"; what is refused is said and left out.

    Args:
        cells: is given a row of pictures for each person: photo, there, back.

    Raises:
        ValueError: every pair was refused.
    """
    trunk = load_trunk(asset_path("efficientnet_lite0.pth"))
    rows: list[dict[str, float]] = []
    for person in tqdm(people, desc="people"):
        photo = pixels(person, SIDE)
        own: list[np.ndarray] = []
        for garment in garments:
            try:
                figures, pictures = there_and_back(pipeline, trunk, photo, garment, category)
            except RequestError as error:
                print(f"{person.name} in {garment.name}: {error}", file=sys.stderr)
                continue
            rows.append(figures)
            own.append(np.concatenate([tile(q, 300, 225) for q in pictures], 1))
        if cells is not None:
            cells += own[:1]
    if not rows:
        raise ValueError("every pair was refused")
    return means(rows) | {"pairs": len(rows)}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.cycle", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--people", type=Path, nargs="*", help="default: eight photos of openpeople")
    p.add_argument("--garments", type=Path, nargs="*", help="default: six tops of openvto")
    p.add_argument("--category", default="upper")
    p.add_argument("--json", type=Path, help="also write the figures here")
    p.add_argument("--out", type=Path, help="also write a sheet here: photo, there, back")
    args = p.parse_args(arguments)
    sheet: list[np.ndarray] = []
    try:
        people = default_people() if args.people is None else args.people
        garments = default_garments() if args.garments is None else args.garments
        table = measure(TryOnPipeline(args.weights), people, garments, args.category, sheet)
    except (FileNotFoundError, ValueError, AssetError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(table)
    write_json(args.json, table)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(args.out), np.concatenate(sheet)[..., ::-1])
        print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
