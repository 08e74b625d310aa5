"""How well the network parses real photos: the upper garment against masks drawn by hand.

    python -m training.parse_photos
    python -m training.parse_photos --weights runs/first

On the fifteen photos of `training.data.outlined`. A training may see eight of openpeople's ten
people, in these photos (`training.train --outlined`) and in others (`data/photographs.py`): those
whom none sees have a mean of their own, which is the one that counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.data.outlined import drawn_masks, filled, photo_of
from training.data.photographs import trained_people
from training.figures import show
from training.listen import predictions
from tryon.assets import AssetError
from tryon.contract import PARSE
from tryon.models import system
from tryon.models.by_colour import by_colour
from tryon.models.composite import enlarge
from tryon.models.generator import centre
from tryon.pipeline import TryOnPipeline

Parse = Callable[[dict[str, np.ndarray]], Tensor]
"""Logits (1, len(PARSE), h, w) of the generator's view, given every tensor of the contract."""


def upper_of(pipeline: TryOnPipeline, photo: np.ndarray, parse: Parse | None = None) -> np.ndarray:
    """bool (H, W): the upper garment that the generator, or `parse`, sees in uint8 (H, W, 3)."""
    seen, found = predictions(pipeline, photo, "upper")
    if parse is None:
        view = torch.from_numpy(found["view"]).permute(0, 3, 1, 2).float() / 255
        logits = by_colour(seen["parse"], centre(view))
    else:
        logits = parse(found)
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
