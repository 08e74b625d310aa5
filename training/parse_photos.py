"""How well the network parses real photos: the upper garment against masks drawn by hand.

    python -m training.parse_photos
    python -m training.parse_photos --weights runs/first

The ten outdoor photos of `openpeople` and the four standing people of `openvto` (generated people,
no render of ours), and skimage's astronaut, a photograph; their garments outlined by eye in
`data/upper_masks.json`: good to about 0.03 of IoU. What is worn beneath an open jacket counts as
the same garment. No training sees these photos; it may see eight of openpeople's ten in others
(`data/photographs.py`): the others have a mean of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.data.photographs import trained_people
from training.figures import show
from training.listen import predictions
from training.trial import pixels
from tryon.assets import AssetError, asset_path
from tryon.contract import PARSE
from tryon.models import system
from tryon.models.composite import enlarge
from tryon.pipeline import TryOnPipeline

MASKS = Path(__file__).resolve().parent / "data" / "upper_masks.json"
SIDE = 768
"""The photos are scaled down to so many pixels."""


def drawn_masks() -> dict[str, list[np.ndarray]]:
    """Photo, as `photo_of` takes it -> outlines (n, 2), x and y in 0..1 of the photo."""
    return {
        name: [np.array(outline, np.float32) for outline in outlines]
        for name, outlines in json.loads(MASKS.read_text()).items()
    }


def photo_of(name: str, side: int = SIDE) -> np.ndarray:
    """A photo whose longer side is at most `side`, uint8 (H, W, 3).

    Args:
        name: the asset's name and the path in it, or "skimage/" and a function of `skimage.data`.
    """
    source, path = name.split("/", 1)
    if source != "skimage":
        return pixels(asset_path(source) / path, side)
    from skimage import data

    photo: np.ndarray = getattr(data, path)()
    scale = min(1.0, side / max(photo.shape[:2]))
    return cv2.resize(photo, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def filled(outlines: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """bool (height, width): inside any of the outlines."""
    mask = np.zeros((height, width), np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.rint(outline * [width, height]).astype(np.int32)], (1,))
    return mask > 0


Parse = Callable[[dict[str, np.ndarray]], Tensor]
"""Logits (1, len(PARSE), h, w) of the generator's view, given every tensor of the contract."""


def upper_of(pipeline: TryOnPipeline, photo: np.ndarray, parse: Parse | None = None) -> np.ndarray:
    """bool (H, W): the upper garment that the generator, or `parse`, sees in uint8 (H, W, 3)."""
    seen, found = predictions(pipeline, photo, "upper")
    logits = seen["parse"] if parse is None else parse(found)
    window = torch.zeros(1, 3, *found["window"].shape[1:3])
    placement = torch.from_numpy(found["placement"])
    classes = enlarge(logits.softmax(1), placement, window).argmax(1)[0].numpy()
    x0, y0, x1, y1 = (int(v) for v in found["box"][0])
    upper = np.zeros(photo.shape[:2], bool)
    upper[y0:y1, x0:x1] = classes == PARSE.index("upper")
    return upper


def compare(pipeline: TryOnPipeline, parse: Parse | None = None) -> dict[str, float]:
    """IoU of the upper garment that the generator, or `parse`, sees, by photo."""
    found = {}
    for name, outlines in tqdm(drawn_masks().items(), desc="photos"):
        photo = photo_of(name)
        truth, own = filled(outlines, *photo.shape[:2]), upper_of(pipeline, photo, parse)
        found[name] = float((truth & own).sum() / (truth | own).sum())
    return found


def with_means(table: dict[str, float]) -> dict[str, float]:
    """The photos' IoUs, and their means: by source, of people whom no training saw, of all."""
    means = {}
    for source in dict.fromkeys(name.split("/")[0] for name in table):
        of_source = [iou for name, iou in table.items() if name.startswith(f"{source}/")]
        means[f"mean of {source}"] = float(np.mean(of_source))
    seen = tuple(f"openpeople/{name}/" for name in trained_people())
    unseen = [iou for name, iou in table.items() if not name.startswith(seen)]
    means["mean of people whom no training saw"] = float(np.mean(unseen))
    return {**table, **means, "mean": float(np.mean(list(table.values())))}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.parse_photos", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    args = p.parse_args(arguments)
    try:
        show(with_means(compare(TryOnPipeline(args.weights))))
    except (AssetError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
