"""Figures on the rendered test split, and the measured effect of words.

    python -m training.evaluate --pairs .cache/pairs --photos DIR --count 200
    python -m training.evaluate --pairs .cache/pairs --weights runs/first --json out/evaluate.json

Scenes of the test split were never trained on; their garments and bodies are their own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.captions import Vocabulary
from training.data.compose import Options
from training.dataset import Pairs, loader, scene_files
from training.step import Weights, assemble, images, run
from tryon.contract import NET_HEIGHT, NET_WIDTH, PARSE
from tryon.models import system
from tryon.models.composite import LUMA


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity map of luma (Wang et al., 2004), 8x8 windows; (N, 3, H, W) in 0..1."""
    weight = a.new_tensor(LUMA)[None, :, None, None]
    x, y = (a * weight).sum(1, keepdim=True), (b * weight).sum(1, keepdim=True)

    def mean(v: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(v, 8, 4)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))


def evaluate(
    weights: Path | None, pairs: Path, photos: Path | None, count: int, strength: float, seed: int
) -> dict[str, float]:
    """Means over `count` pairs of the test split; names say what and in which unit."""
    models = system.load_models(weights)
    nets = assemble(models, Vocabulary([]))
    batch_size = 8
    data = Pairs(scene_files(pairs, "test"), photos, Options(strength, text=0.0), seed, "test")
    batches = loader(data, batch_size, 0, max(1, count // batch_size), 1)
    rows: dict[str, list[float]] = {}

    def add(name: str, values: Tensor) -> None:
        rows.setdefault(name, []).extend(float(v) for v in values.reshape(-1))

    size = torch.tensor([NET_WIDTH, NET_HEIGHT]).float()
    for batch in tqdm(batches, desc="evaluate"):
        with torch.no_grad():
            result = run(nets, batch, Weights(), "truth", perceptual=False)
        drawn, old = batch["drawn"].bool(), batch["old"].bool()
        shown = result.out["garment"][:, 0] > 0.5
        add("mask_iou", (shown & drawn).sum((1, 2)) / (shown | drawn).sum((1, 2)).clamp(min=1))
        valid = batch["valid"].float()
        error = (result.out["flow"] - batch["flow"]) * size[None, :, None, None]
        error = error.square().sum(1).sqrt()
        add("flow_error_px", (error * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1))
        parse = result.out["parse"].argmax(1)
        truth = batch["parse_before"][:, ::2, ::2].long()
        for name in ("upper", "lower", "hair"):
            a, b = parse == PARSE.index(name), truth == PARSE.index(name)
            has = b.sum((1, 2)) > 50
            add(f"parse_iou_{name}", ((a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1))[has])
        exists = batch["landmarks"][..., 2]
        off = (result.out["landmarks"] - batch["landmarks"][..., :2]) * size
        off = off.square().sum(-1).sqrt()
        add("landmark_error_px", (off * exists).sum(1) / exists.sum(1).clamp(min=1))
        region = (drawn | old).float()[:, None]
        square = (result.picture - result.truth).square().mean(1, keepdim=True)
        mse = (square * region).sum((1, 2, 3)) / region.sum((1, 2, 3)).clamp(min=1)
        add("psnr_changed_db", -10 * mse.clamp(min=1e-6).log10())
        add("ssim_picture", ssim(result.picture, result.truth).mean((1, 2, 3)))
        margin = (batch["before"].shape[2] - NET_WIDTH) // 2
        before = images(batch["before"])[..., margin : margin + NET_WIDTH]
        square = (before - result.truth).square().mean(1, keepdim=True)
        mse = (square * region).sum((1, 2, 3)) / region.sum((1, 2, 3)).clamp(min=1)
        add("psnr_changed_db_of_unchanged_person", -10 * mse.clamp(min=1e-6).log10())
    return {name: float(np.mean(values)) for name, values in rows.items()}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--photos", type=Path)
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--strength", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--json", type=Path)
    args = p.parse_args(arguments)
    try:
        table = evaluate(
            args.weights, args.pairs, args.photos, args.count, args.strength, args.seed
        )
    except (FileNotFoundError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in table.items():
        print(f"{name:38s} {value:8.3f}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(table, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
