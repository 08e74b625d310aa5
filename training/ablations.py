"""The generator's choices beside their alternatives: the same pairs, steps and seed for each.

    python -m training.ablations --pairs .cache/pairs --photos PHOTOS --cutouts .cache/cutouts \\
        --steps 400 --json out/ablations.json
    python -m training.ablations --pairs .cache/pairs --only parts attention --steps 100

Each is a generator with weights drawn at random, taught where the garment goes and what is in front
of it (flow, masks, parse: all that has an exact truth); the encoders are the repository's. Then it
is measured on pairs of the test split:

  parts       landmarks first, a transform for each part of the garment, a residual after it
  attention   in place of landmarks and parts, each of the person's pixels attends to the garment's
              (scaled dot products over 32x24 places, Vaswani et al., 2017), the same residual
  trunk       BlazePose's inner maps are replaced by those of convolutions that are learned
  coarse      no residual finer than 32x24
  middle      no residual finer than 64x48
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from training import losses, step
from training.data.compose import Options
from training.dataset import Pairs, loader, scene_files
from training.evaluate import PAIRS_SEED, region_mean
from training.figures import write_json
from training.train import groups, networks, rate_at, vocabulary_of
from tryon.assets import AssetError
from tryon.contract import GARMENT_CHANNELS, NET_HEIGHT, NET_WIDTH, POSE_CHANNELS
from tryon.models import system
from tryon.models.blocks import Conv, Residual
from tryon.models.generator import WIDTH_8, Generator, centre

BATCH = 16
RATE = 2e-3
LEVELS = ("flow_parts", "flow_8", "flow_4", "flow")
"""A generator's flows, coarse to fine."""
_KEYS = 64


class Attention(Generator):
    """Coarse flow by attention in place of landmarks and parts."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__(trunk)  # type: ignore[arg-type]
        self.queries = nn.Conv2d(WIDTH_8 + 2, _KEYS, 1)
        self.keys = nn.Conv2d(GARMENT_CHANNELS[1] + 2, _KEYS, 1)

    def laid(
        self, f8: Tensor, garment: dict[str, Tensor], here: Tensor, there: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Generator.laid`; of the landmarks only their number counts."""
        place = self.pixels_8.expand(len(f8), -1, -1, -1)
        asked = self.queries(torch.cat([f8, place.to(f8)], 1)).flatten(2)
        offered = self.keys(torch.cat([garment["garment_8"].to(f8), place.to(f8)], 1)).flatten(2)
        share = (asked.transpose(1, 2) @ offered).float().div(_KEYS**0.5).softmax(2)
        flow = share @ place.flatten(2).transpose(1, 2)
        odds = torch.ones_like(self.part_logits(f8), dtype=torch.float32)
        return flow.transpose(1, 2).unflatten(2, place.shape[2:]), odds


class OwnTrunk(nn.Module):
    """Maps like BlazePose's at 1/4, 1/8 and 1/16, of convolutions that are learned."""

    def __init__(self) -> None:
        super().__init__()
        c = POSE_CHANNELS
        self.stem = nn.Sequential(Conv(3, 24, 3, 2), Conv(24, c, 3, 2), Residual(c, c))
        self.down = nn.ModuleList(
            nn.Sequential(Conv(c, c, 3, 2), Residual(c, c), Residual(c, c)) for _ in range(2)
        )

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """float (N, 3, H, W) in 0..1 to features_64, features_32 and features_16."""
        maps = [self.stem(2 * picture - 1)]
        for down in self.down:
            maps.append(down(maps[-1]))
        return dict(zip(("features_64", "features_32", "features_16"), maps, strict=True))


class Nothing(nn.Module):
    """A head that answers with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, : self.channels])


def _as_it_is(trunk: nn.Module) -> Generator:
    return Generator(trunk)  # type: ignore[arg-type]


def _coarse(trunk: nn.Module) -> Generator:
    made = _middle(trunk)
    made.delta_4 = Nothing(2)  # type: ignore[assignment]
    return made


def _middle(trunk: nn.Module) -> Generator:
    made = _as_it_is(trunk)
    made.delta_2 = Nothing(2)  # type: ignore[assignment]
    return made


CHOICES: dict[str, Callable[[nn.Module], Generator]] = {
    "parts": _as_it_is, "attention": Attention, "trunk": _as_it_is, "coarse": _coarse,
    "middle": _middle,
}  # fmt: skip


class Taught:
    """A generator under one of the choices, with the repository's encoders."""

    def __init__(self, choice: str, nets: step.Networks) -> None:
        """`nets`: its generator is replaced by a fresh one, which keeps its frozen trunk."""
        for part in (nets.image_encoder, nets.text_encoder):
            part.eval().requires_grad_(False)
        nets.generator = CHOICES[choice](nets.generator.trunk).train()
        self.nets = nets
        self.own = OwnTrunk().train() if choice == "trunk" else None
        self.modules: dict[str, nn.Module] = {"generator": nets.generator}
        if self.own is not None:
            self.modules["trunk"] = self.own

    def predict(self, batch: dict, forced: float) -> tuple[step.Seen, dict[str, Tensor]]:
        """What the encoders see of a batch, and the generator's maps."""
        nets = self.nets
        with torch.no_grad():
            seen = step.see(nets, batch)
            z = nets.generator.fusion(seen.garment["z_image"], seen.z_text, seen.condition)
            pose = nets.pose.features(seen.before)
        if self.own is not None:
            pose = {**pose, **self.own(centre(seen.before))}
        told = (torch.rand(len(z), 1, 1) < forced).float() * torch.tensor([0.0, 0.0, 1.0])
        told = told + torch.tensor([1.0, 1.0, 0.0])
        placed = (batch["landmarks"] * told, batch["shop_landmarks"] * told)
        out = nets.generator.predict(
            seen.before, pose, seen.garment, z, seen.condition, batch["styling"], seen.shop, placed
        )
        return seen, out

    def loss(self, batch: dict, weights: step.Weights) -> Tensor:
        """Of the places and the layers, G's own, summed."""
        seen, out = self.predict(batch, forced=0.5)
        terms = step.place_terms(self.nets, batch, weights, seen, out)
        layers, _ = step.layer_terms(batch, weights, seen, out)
        terms = {n: t for n, t in {**terms, **layers}.items() if t.requires_grad}
        return torch.stack(list(terms.values())).sum()


def teach(taught: Taught, pairs: Pairs, steps: int, workers: int) -> None:
    """Steps of Adam, after a warm-up a cosine (`training.train`'s)."""
    optimiser = torch.optim.AdamW(groups(taught.modules), RATE, betas=(0.9, 0.99))
    bar = tqdm(loader(pairs, BATCH, 0, steps, workers), total=steps, leave=False)
    for number, batch in enumerate(bar):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(number, steps, RATE) * group["share"]
        with torch.autocast("cpu", torch.bfloat16):
            loss = taught.loss(batch, step.Weights())
        optimiser.zero_grad()
        loss.backward()
        learned = [p for g in optimiser.param_groups for p in g["params"]]
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.2f}", refresh=False)


@torch.no_grad()
def measure(taught: Taught, pairs: Pairs, count: int, workers: int) -> dict[str, float]:
    """Means over pairs: each flow's error in pixels of 256x192, where it is known, and the mask's
    IoU (the share of the garment's own mask where the generator draws it)."""
    for module in taught.modules.values():
        module.eval()
    size = torch.tensor([NET_WIDTH, NET_HEIGHT]).float()[None, :, None, None]
    rows: dict[str, list[Tensor]] = {}
    for batch in loader(pairs, BATCH, 0, max(1, count // BATCH), workers):
        _, out = taught.predict(batch, forced=0.0)
        for level in LEVELS:
            flow = F.interpolate(out[level], (NET_HEIGHT, NET_WIDTH), mode="bilinear")
            error = ((flow - batch["flow"]) * size).square().sum(1).sqrt()
            rows.setdefault(f"{level} px", []).append(region_mean(error, batch["valid"].float()))
        shown = (out["mask"].sigmoid() * out["covered"])[:, 0] > 0.5
        drawn = batch["drawn"].bool()
        iou = (shown & drawn).sum((1, 2)) / (shown | drawn).sum((1, 2)).clamp(min=1)
        rows.setdefault("mask IoU", []).append(iou)
        parse = losses.parse_loss(out["parse"].float(), batch["parse_before"].long())
        rows.setdefault("parse loss", []).append(parse.reshape(1))
    return {name: float(torch.cat(values).nanmean()) for name, values in rows.items()}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.ablations", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes")
    p.add_argument("--photos", type=Path, help="folder of real garment photos")
    p.add_argument("--cutouts", type=Path, help="folder that `make cutouts` wrote")
    p.add_argument("--only", nargs="+", choices=tuple(CHOICES), default=list(CHOICES))
    p.add_argument("--steps", type=int, default=400, help=f"batches of {BATCH} pairs")
    p.add_argument("--count", type=int, default=96, help="pairs to measure on")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--json", type=Path, help="also write the figures here, after each choice")
    args = p.parse_args(arguments)
    table: dict[str, dict[str, float]] = {}
    try:
        scenes = scene_files(args.pairs, "train")
        options = Options(text=0.0)
        pairs = Pairs(scenes, args.photos, options, args.seed, "train", args.cutouts)
        unseen = Pairs(
            scene_files(args.pairs, "test"), args.photos, options, PAIRS_SEED, "test", args.cutouts
        )
        vocabulary = vocabulary_of(scenes[:8])
        for choice in args.only:
            torch.manual_seed(args.seed)
            nets, _ = networks(vocabulary, system.WEIGHTS, torch.device("cpu"))
            taught = Taught(choice, nets)
            teach(taught, pairs, args.steps, args.workers)
            table[choice] = measure(taught, unseen, args.count, args.workers)
            figures = "  ".join(f"{name} {value:.3f}" for name, value in table[choice].items())
            print(f"{choice:10s}{figures}", flush=True)
            write_json(args.json, table)
    except (FileNotFoundError, ValueError, AssetError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
