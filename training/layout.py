"""Teaches G what is seen at a landmark, by how the landmarks lie (`geometry.TurnedLandmarks`).

    python -m training.layout --pairs .cache/pairs --photos DIR --out runs/layout
    python -m training.layout --pairs .cache/pairs --out /tmp/first --count 200 --steps 100

It needs no picture, so that thousands of pairs pass in seconds: their true landmarks and flow are
gathered once. What the features add is forgotten (it was learned for other layers); joint training
goes on with both (`training.train --init`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor
from tqdm import tqdm

from training import losses
from training.data.compose import Options
from training.dataset import Pairs, loader, scene_files
from training.figures import show
from tryon.assets import AssetError
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models import system
from tryon.models.generator import Generator
from tryon.models.geometry import TurnedLandmarks

RATE, BATCH = 2e-3, 128
GATHERED = 16
"""Pairs that are read at a time."""
NOISE = 3.0
"""Pixels by which half of the landmarks on the person are off (standard deviation): as G's own."""


class Layouts(NamedTuple):
    """Of N pairs: landmarks on the person and in the canvas (N, K, 3), as the pairs have them, and
    what is seen there (N, K, 3), as `losses.seen_at` has it."""

    here: Tensor
    there: Tensor
    seen: Tensor


def gather(pairs: Pairs, count: int, workers: int) -> Layouts:
    """The layouts of so many pairs."""
    rows = []
    steps = -(-count // GATHERED)
    for batch in tqdm(loader(pairs, GATHERED, 0, steps, workers), total=steps, desc="pairs"):
        here, there = batch["landmarks"], batch["shop_landmarks"]
        seen = losses.seen_at(here, there, batch["flow"], batch["valid"].float()[:, None])
        rows.append((here, there, seen))
    return Layouts(*(torch.cat(part)[:count] for part in zip(*rows, strict=True)))


def read(turned: TurnedLandmarks, here: Tensor, there: Tensor) -> Tensor:
    """What the layers say, the features left out: (N, K, 2)."""
    count = here.shape[1]
    nothing = here.new_zeros(len(here), turned.offset.in_channels, 1, 1)
    votes = here.new_zeros(len(here), count, 1)
    known = here[..., 2] * there[..., 2]
    return cast(Tensor, turned(nothing, votes, here[..., :2], there[..., :2], known))


def teach(turned: TurnedLandmarks, layouts: Layouts, steps: int, seed: int) -> None:
    """Trains the layers on so many batches, and forgets what the features added."""
    torch.manual_seed(seed)
    for parameter in turned.offset.parameters():
        torch.nn.init.zeros_(parameter)
    optimiser = torch.optim.AdamW(turned.layout.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    size = torch.tensor([NET_WIDTH, NET_HEIGHT])
    for _ in tqdm(range(steps), desc="steps"):
        some = torch.randint(len(layouts.here), (BATCH,))
        here, there, seen = (part[some] for part in layouts)
        off = torch.randn(*here.shape[:2], 2) * NOISE / size * (torch.rand(BATCH, 1, 1) < 0.5)
        guessed = torch.cat([here[..., :2] + off, here[..., 2:]], 2)
        loss = losses.landmark_loss(read(turned, guessed, there), seen)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def error(turned: TurnedLandmarks, layouts: Layouts) -> tuple[float, float]:
    """Pixels of the canvas that are left, and that there were: means over the landmarks."""
    left = losses.landmark_loss(read(turned, layouts.here, layouts.there), layouts.seen)
    were = losses.landmark_loss(torch.zeros_like(layouts.seen[..., :2]), layouts.seen)
    return float(left), float(were)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.layout", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes")
    p.add_argument("--photos", type=Path, help="folder of real garment photos")
    p.add_argument("--cutouts", type=Path, help="folder that `make cutouts` wrote")
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--out", type=Path, required=True, help="folder for the new weights")
    p.add_argument("--count", type=int, default=6000, help="pairs to learn from (%(default)s)")
    p.add_argument("--steps", type=int, default=3000, help=f"batches of {BATCH} (%(default)s)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--workers", type=int, default=2)
    args = p.parse_args(arguments)
    if args.steps < 1 or args.count < 1:
        p.error("--steps and --count take 1 or more")
    try:
        models = system.load_models(args.weights, grown=True)
        about = system.metadata(args.weights)
        options = Options(text=0.0)
        taught, unseen = (
            Pairs(scene_files(args.pairs, split), args.photos, options, args.seed, split,
                  args.cutouts)
            for split in ("train", "test")
        )  # fmt: skip
        known, other = (
            gather(pairs, count, args.workers)
            for pairs, count in ((taught, args.count), (unseen, max(1, args.count // 12)))
        )
    except (AssetError, FileNotFoundError, ValueError, system.WeightsError) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    turned = cast(Generator, models["generator"]).turned
    teach(turned, known, args.steps, args.seed)
    (left, were), (own, _) = error(turned, other), error(turned, known)
    show({
        "pixels from landmarks to what is seen there": were,
        "left, of scenes that were not taught": left,
        "left, of those that were": own,
    })  # fmt: skip
    about |= {"layout_seed": str(args.seed), "layout_steps": str(args.steps)}
    print(system.save(models, args.out, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
