"""What each step of the data is worth: a small parser trained on pairs alone, then on real photos.

    python -m training.small_parser --pairs .cache/pairs --photographed .cache/photographed \\
        --photos PHOTOS --cutouts .cache/cutouts --json out/small_parser.json
    (--last --steps 3000 trains one for longer, with all that the data has)

The parser is a plain U-Net (Ronneberger et al., 2015) with weights drawn at random: nothing in it
has seen a photograph but what the pairs show. It is trained anew with each step of the data added,
and its upper garment is compared with the outlines drawn on real photos (`training.parse_photos`).
Eight of the fifteen show people whose studio photos are dressed in the last step; the seven others
have a mean of their own.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from training.data.compose import MARGIN, Options
from training.dataset import Pairs, loader, scene_files
from training.figures import show, write_json
from training.parse_photos import compare, with_means
from training.unet import UNet
from tryon.assets import AssetError
from tryon.contract import NET_WIDTH, PARSE
from tryon.models.system import WeightsError
from tryon.pipeline import TryOnPipeline

WIDTHS = (16, 32, 64, 128, 192)
_OTHER_SIDE = {
    f"{part}_{side}": f"{part}_{other}"
    for part in ("arm", "leg")
    for side, other in (("left", "right"), ("right", "left"))
}
MEANS = ("mean of people whom no training saw", "mean")
BATCH = 16
RATE = 3e-3


class SmallParser(nn.Module):
    """A U-Net of a million and a half weights that parses."""

    def __init__(self) -> None:
        super().__init__()
        self.net = UNet(3, len(PARSE), WIDTHS)

    def forward(self, view: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) to logits (N, len(PARSE), H, W); H and W multiples of 32."""
        seen = (view.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.net(seen)
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear")


@dataclass(frozen=True)
class Step:
    """One step of the data: a name, how pairs are made, and of which scenes."""

    name: str
    options: Options
    real: bool = False
    photographed: bool = False


STEPS = (
    Step("as rendered", Options(0.0, text=0.0)),
    Step("and light and camera", Options(1.0, text=0.0)),
    Step("and real fabric, garments, backdrops", Options(1.0, text=0.0), real=True),
    Step("and photographed people", Options(1.0, text=0.0), real=True, photographed=True),
    Step("and photos that end close", Options(1.0, text=0.0, ends=0.25), True, True),
)


def mirrored_half(view: Tensor, parse: Tensor) -> tuple[Tensor, Tensor]:
    """Every other picture (N, 3, H, W) and its classes (N, H, W) mirrored, with left for right."""
    order = [PARSE.index(_OTHER_SIDE.get(name, name)) for name in PARSE]
    odd = (torch.arange(len(view)) % 2 == 1).to(view.device)
    swapped = torch.tensor(order, dtype=parse.dtype, device=parse.device)[parse.flip(2).long()]
    return (
        torch.where(odd[:, None, None, None], view.flip(3), view),
        torch.where(odd[:, None, None], swapped, parse),
    )


def train(pairs: Pairs, steps: int, seed: int, workers: int) -> SmallParser:
    """A parser trained on the people of `steps` batches of pairs, as they were before and after,
    each as it is or mirrored."""
    torch.manual_seed(seed)
    parser = SmallParser().train()
    optimiser = torch.optim.AdamW(parser.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    bar = tqdm(loader(pairs, BATCH, 0, steps, workers), total=steps)
    for batch in bar:
        view = torch.cat([batch["before"], batch["after"]])[:, :, MARGIN : MARGIN + NET_WIDTH]
        view, truth = mirrored_half(
            view.permute(0, 3, 1, 2), torch.cat([batch["parse_before"], batch["parse_after"]])
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits = parser(view)
        loss = F.cross_entropy(logits.float(), truth.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
    return parser.eval()


@torch.no_grad()
def logits_of(parser: SmallParser, tensors: dict[str, np.ndarray]) -> Tensor:
    """Logits (1, len(PARSE), H, NET_WIDTH) of the contract's `view`."""
    middle = torch.from_numpy(tensors["view"][:, :, MARGIN : MARGIN + NET_WIDTH]).permute(
        0, 3, 1, 2
    )
    logits: Tensor = parser(middle)
    return logits


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.small_parser", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes")
    p.add_argument("--photographed", type=Path, help="folder of scenes of photographed people")
    p.add_argument("--photos", type=Path, help="folder of real garment photos")
    p.add_argument("--cutouts", type=Path, help="folder that `make cutouts` wrote")
    p.add_argument("--steps", type=int, default=500, help=f"batches of {BATCH} pairs")
    p.add_argument("--last", action="store_true", help="only with all that the data has")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--json", type=Path, help="also write the figures here")
    args = p.parse_args(arguments)
    table: dict[str, float] = {}
    each: dict[str, dict[str, float]] = {}
    try:
        pipeline = TryOnPipeline()
        for step in STEPS[-1:] if args.last else STEPS:
            lacks_photos = step.real and args.photos is None
            if lacks_photos or (step.photographed and args.photographed is None):
                print(f"{step.name!r} is left out: it takes --photos, and the last one "
                      "--photographed", file=sys.stderr)  # fmt: skip
                continue
            scenes = scene_files(args.pairs, "train")
            if step.photographed:
                more = scene_files(args.photographed, "train")
                # As many draws of each kind of people.
                scenes = scenes * max(1, len(more) // len(scenes)) + more * max(
                    1, len(scenes) // len(more)
                )
            photos, cutouts = (args.photos, args.cutouts) if step.real else (None, None)
            pairs = Pairs(scenes, photos, step.options, args.seed, "train", cutouts)
            print(step.name)
            parser = train(pairs, args.steps, args.seed, args.workers)
            each[step.name] = with_means(compare(pipeline, partial(logits_of, parser)))
            table |= {f"{step.name}, {mean}": each[step.name][mean] for mean in MEANS}
    except (FileNotFoundError, ValueError, AssetError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(table)
    write_json(args.json, each)
    return 0


if __name__ == "__main__":
    sys.exit(main())
