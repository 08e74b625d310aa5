"""Teaches E^I's mask alone where real collars end (`training.data.necklines`).

    python -m training.necklines --pairs .cache/pairs --photos DIR --out runs/necklines
    python -m training.necklines --pairs .cache/pairs --photos DIR --out /tmp/first --steps 50

The features below stay as they are; of what G reads the mask alone changes. Rendered garments are
half of each batch, so that nothing else of the mask is forgotten. Joint training goes on with both
(`training.train --photos DIR --necklines`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from tqdm import tqdm

from training import losses
from training.data.compose import Options
from training.data.necklines import Necklines
from training.dataset import Pairs, loader, scene_files
from training.figures import show
from training.step import condition_of, images, of_tops
from tryon.assets import AssetError
from tryon.models import system
from tryon.models.image_encoder import ImageEncoder

RATE, BATCH = 1e-3, 16


def learned(encoder: ImageEncoder) -> list[torch.nn.Parameter]:
    """What makes the mask and nothing else."""
    return [*encoder.merge_2.parameters(), *encoder.mask.parameters()]


@torch.no_grad()
def overlap(encoder: ImageEncoder, necklines: Necklines) -> float:
    """Mean IoU of the mask with the outlined faces, where these are known."""
    shares = []
    for one in necklines.necklines:
        seen = images(torch.from_numpy(one.photo)[None])
        mask = encoder.encode(seen, of_tops(1))["mask"][0, 0].numpy() > 0
        known, face = one.known > 0, one.face > 0.5
        shares.append((mask & face & known).sum() / ((mask | face) & known).sum())
    return float(np.mean(shares))


def teach(
    encoder: ImageEncoder, pairs: Pairs, necklines: Necklines, steps: int, seed: int, workers: int
) -> None:
    """Trains the mask on so many batches."""
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(learned(encoder), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    half = BATCH // 2
    for step, batch in enumerate(
        tqdm(loader(pairs, half, 0, steps, workers), total=steps, desc="steps")
    ):
        real = necklines.batch([seed, step], half)
        seen = torch.cat([images(batch["shop_seen"]), images(real["neckline_photos"])])
        truth, unknown = (batch[n].float() / 255 for n in ("shop_mask", "shop_unknown"))
        truth = torch.cat([truth, real["neckline_faces"]])[:, None]
        weight = torch.cat([1 - unknown, 3 * real["neckline_known"]])[:, None]
        rows = torch.cat([condition_of(batch["category"], torch.zeros(half)), of_tops(half)])
        mask = encoder.encode(seen, rows)["mask"]
        loss = losses.mask_loss(mask, truth, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.necklines", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes")
    p.add_argument("--photos", type=Path, required=True, help="folder of real garment photos")
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--out", type=Path, required=True, help="folder for the new weights")
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--workers", type=int, default=1)
    args = p.parse_args(arguments)
    if args.steps < 1:
        p.error("--steps takes 1 or more")
    try:
        models = system.load_models(args.weights)
        about = system.metadata(args.weights)
        pairs = Pairs(scene_files(args.pairs, "train"), args.photos, Options(), args.seed)
        taught, unseen = (Necklines(args.photos, split) for split in ("train", "test"))
    except (AssetError, FileNotFoundError, ValueError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    encoder = cast(ImageEncoder, models["image_encoder"].eval())
    for parameter in encoder.parameters():
        parameter.requires_grad = False
    for parameter in learned(encoder):
        parameter.requires_grad = True
    before = overlap(encoder, unseen)
    teach(encoder, pairs, taught, args.steps, args.seed, args.workers)
    show({
        "collars taught": float(len(taught.necklines)),
        "IoU at collars that were not, before": before,
        f"IoU at {len(unseen.necklines)} collars that were not": overlap(encoder, unseen),
        "IoU at those that were": overlap(encoder, taught),
    })  # fmt: skip
    about |= {"necklines_seed": str(args.seed), "necklines_steps": str(args.steps)}
    print(system.save(models, args.out, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
