"""Plain U-Nets (Ronneberger et al., 2015), the shape of what our networks are compared with.

    python -m training.unet --pairs .cache/pairs --photos PHOTOS --cutouts .cache/cutouts \\
        --out runs/unet --steps 1500
    python -m training.evaluate --pairs .cache/pairs --unet runs/unet/unet.safetensors

`make evaluate` compares with the one in `training/weights`, which that command made.

The command trains `TryOnUNet`, which sees both photos and paints the picture itself: as many
multiply-adds as E^I and G together, the same pairs, and no flow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from training import losses
from training.data.compose import MARGIN, Options
from training.dataset import Pairs, loader, scene_files
from tryon.assets import AssetError, asset_path
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import Conv, Residual, shuffled
from tryon.models.efficientnet import load_trunk
from tryon.models.system import WeightsError

BATCH = 16
RATE = 2e-3
SAVE_EVERY = 100
FILE = "unet.safetensors"
KEPT = Path(__file__).parent / "weights" / FILE
"""The repository's."""


class UNet(nn.Module):
    """Down to a half of the size for each width, and back to 1/2 of it."""

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int]) -> None:
        """`widths`: channels at 1/2, 1/4, 1/8 and so on of the size."""
        super().__init__()
        sizes = zip((inputs, *widths), widths, strict=False)
        self.down = nn.ModuleList(
            nn.Sequential(Conv(a, b, stride=2), Residual(b, b // 2)) for a, b in sizes
        )
        back = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(nn.Sequential(Conv(a + b, b), Residual(b, b // 2)) for a, b in back)
        self.last = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """float (N, inputs, H, W) to (N, outputs, H/2, W/2); H and W can be halved so often."""
        maps = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        for up, there in zip(self.up, maps[-2::-1], strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), there], 1))
        last: Tensor = self.last(x)
        return last


class TryOnUNet(nn.Module):
    """A try-on of 1.9 billion multiply-adds that paints colours and where they go."""

    def __init__(self) -> None:
        super().__init__()
        self.net = UNet(6 + len(CATEGORIES), 4 * 4, (32, 64, 128, 192))

    def forward(self, before: Tensor, shop: Tensor, category: Tensor) -> Tensor:
        """The picture.

        Args:
            before, shop: float (N, 3, NET_HEIGHT, NET_WIDTH) in 0..1; category: int64 (N,).

        Returns:
            float (N, 3, NET_HEIGHT, NET_WIDTH) in 0..1.
        """
        kind = F.one_hot(category, len(CATEGORIES)).to(before)[:, :, None, None]
        kind = kind.expand(-1, -1, *before.shape[2:])
        out = shuffled(self.net(torch.cat([2 * before - 1, 2 * shop - 1, kind], 1))).sigmoid()
        return before + out[:, 3:] * (out[:, :3] - before)


def load(path: Path) -> TryOnUNet:
    """A trained one. Raises WeightsError that names the file if it is none."""
    model = TryOnUNet().eval()
    try:
        model.load_state_dict(load_file(str(path)))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is no U-Net ({type(error).__name__}): `python -m training.unet` trains one"
        ) from error
    return model


def views(batch: dict) -> tuple[Tensor, Tensor, Tensor]:
    """A batch's person before, in-shop picture and person after, (N, 3, H, W) in 0..1."""
    before, shop, after = (
        batch[name].permute(0, 3, 1, 2).float() / 255 for name in ("before", "shop", "after")
    )
    middle = slice(MARGIN, MARGIN + NET_WIDTH)
    return before[..., middle], shop, after[..., middle]


def loss_of(model: TryOnUNet, batch: dict, features: nn.Module) -> Tensor:
    """L1, L1 of differences, and features' distance: the picture's terms of our own training."""
    before, shop, truth = views(batch)
    picture = model(before, shop, batch["category"]).float()
    changed = (batch["drawn"].bool() | batch["old"].bool()).float()[:, None]
    half = [F.avg_pool2d(x, 2) for x in (picture, truth)]
    ours = features(half[0])
    with torch.no_grad():
        theirs = features(half[1])
    return (
        losses.picture_loss(picture, truth, changed)
        + 0.5 * losses.gradient_loss(picture, truth, changed)
        + 0.1 * losses.perceptual_loss(ours[1:], theirs[1:])
    )


def save(model: TryOnUNet, out: Path, metadata: dict[str, str]) -> Path:
    """Writes the weights whole or not at all; half precision."""
    out.mkdir(parents=True, exist_ok=True)
    path, beside = out / FILE, out / f"{FILE}.tmp"
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, str(beside), metadata)
    beside.replace(path)
    return path


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.unet", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--photos", type=Path, help="folder of real garment photos")
    p.add_argument("--cutouts", type=Path, help="folder that `make cutouts` wrote")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--init", type=Path, help="a file to begin from")
    p.add_argument("--steps", type=int, default=1500, help=f"batches of {BATCH} pairs")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=1)
    args = p.parse_args(arguments)
    torch.manual_seed(args.seed)
    try:
        model = (load(args.init) if args.init else TryOnUNet()).train()
        features = load_trunk(asset_path("efficientnet_lite0.pth"))
        scenes = scene_files(args.pairs, "train")
        pairs = Pairs(scenes, args.photos, Options(text=0.0), args.seed, "train", args.cutouts)
    except (FileNotFoundError, ValueError, AssetError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=args.steps)
    metadata = {"seed": str(args.seed), "batch": str(BATCH), "scenes": str(len(scenes))}
    bar = tqdm(loader(pairs, BATCH, 0, args.steps, args.workers), total=args.steps)
    for step, batch in enumerate(bar, 1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch, features)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
        if step % SAVE_EVERY == 0 or step == args.steps:
            path = save(model, args.out, {**metadata, "steps": str(step)})
    print(f"wrote {path}: {NET_HEIGHT}x{NET_WIDTH}, {args.steps} steps of seed {args.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
