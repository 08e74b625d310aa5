"""Figures on real photos: a data set in a published layout, or a shop's own folder.

    python -m training.evaluate_real --layout viton-hd --root DIR --order paired --count 100
    python -m training.evaluate_real --layout shop --root DIR --json out/real.json

Paired, the picture is compared with the photo itself: PSNR, SSIM and feature distance. (The photo
went in, too, so these figures are kinder than those of methods that are shown it with the garment
wiped out.) Paired or not, the Frechet distance (Heusel et al., 2017, on EfficientNet-Lite0's
features) tells how near all pictures together are to the real photos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import linalg
from torch import Tensor
from tqdm import tqdm

from training.data.real_sets import LAYOUTS, ORDERS, RealPair, load
from training.evaluate import ssim
from training.figures import show, write_json
from training.losses import feature_distance
from training.trial import pixels, read_file
from tryon.assets import asset_path
from tryon.errors import RequestError
from tryon.models import system
from tryon.models.efficientnet import load_trunk
from tryon.pipeline import TryOnPipeline

SIDE = 1024
"""Photos are scaled down to so many pixels a side."""
LEAST = 16
"""Fewer pictures have no Frechet distance worth a figure."""


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two sets of features (n, d), as of Gaussians with their moments."""
    ma, mb = a.mean(0), b.mean(0)
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # Fewer pictures than features leave the product singular: a little on the diagonal.
    ridge = 1e-6 * np.eye(len(ca))
    root = linalg.sqrtm((ca + ridge) @ (cb + ridge)).real
    return float(((ma - mb) ** 2).sum() + np.trace(ca + cb - 2 * root))


def as_tensor(image: np.ndarray) -> Tensor:
    """float (1, 3, h, w) in 0..1, its sides multiples of 32."""
    height, width = (s // 32 * 32 for s in image.shape[:2])
    return torch.from_numpy(image[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def evaluate(pipeline: TryOnPipeline, pairs: list[RealPair]) -> dict[str, float]:
    """Means over the pairs; `refused` counts those in which no single person was found."""
    trunk = load_trunk(asset_path("efficientnet_lite0.pth"))
    rows: dict[str, list[float]] = {}
    real: list[np.ndarray] = []
    made: list[np.ndarray] = []
    refused = 0
    for pair in tqdm(pairs, desc="real photos"):
        photo = pixels(pair.person, SIDE)
        try:
            result = pipeline(photo, read_file(pair.garment), "", pair.category)
        except RequestError as error:
            print(f"{pair.person.name} in {pair.garment.name}: {error}", file=sys.stderr)
            refused += 1
            continue
        own, truth = as_tensor(result.picture), as_tensor(photo)
        features = trunk(own), trunk(truth)
        made.append(features[0][-1].mean((2, 3))[0].numpy())
        real.append(features[1][-1].mean((2, 3))[0].numpy())
        figures = {"changed_share": float((result.mask > 0).mean()),
                   "confidence": result.confidence}  # fmt: skip
        if pair.worn:
            changed = torch.from_numpy(result.mask[: own.shape[2], : own.shape[3]] > 0)
            square = (own - truth).square().mean(1)[0]
            if changed.any():
                mean = float(square[changed].mean().clamp(min=1e-6))
                figures["psnr_changed_db"] = -10 * float(np.log10(mean))
            figures["ssim_picture"] = float(ssim(own, truth).mean())
            figures["feature_distance"] = float(
                feature_distance(features[0][1:], features[1][1:])[0]
            )
        for name, value in figures.items():
            rows.setdefault(name, []).append(value)
    table = {name: float(np.mean(values)) for name, values in rows.items()}
    if len(made) >= LEAST:
        table["frechet"] = frechet(np.stack(made), np.stack(real))
    return {"pairs": float(len(made)), "refused": float(refused), **table}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.evaluate_real", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--layout", choices=LAYOUTS, required=True)
    p.add_argument("--root", type=Path, required=True, help="the data set's folder")
    p.add_argument("--split", choices=("train", "test"), default="test")
    p.add_argument("--order", choices=ORDERS, default="unpaired")
    p.add_argument("--count", type=int, default=100, help="at most so many pairs, evenly picked")
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--json", type=Path)
    args = p.parse_args(arguments)
    try:
        pairs = load(args.layout, args.root, args.split, args.order)
        if len(pairs) > args.count:
            places = np.linspace(0, len(pairs) - 1, args.count).astype(int)
            pairs = [pairs[i] for i in places]
        table = evaluate(TryOnPipeline(args.weights), pairs)
    except (FileNotFoundError, ValueError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(table)
    write_json(args.json, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
