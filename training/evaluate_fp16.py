"""The fp16 graphs against float32 on rendered test pairs: the picture, and what evaluation says.

    python -m training.evaluate_fp16 --pairs .cache/pairs --photos DIR --count 64

Each pair goes through all networks but the detector (the renderer knows where its people are), once
with the float32 files of an export and once with the fp16 ones, in ONNX Runtime. The bounds are
those of `tryon/tolerances.py`; exit status 1 where one is broken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate
from tqdm import tqdm

from export.chain import Network, Tensors, onnx_network
from export.precision import Loss, picture_losses
from export.regions import regions
from export.repository import REPOSITORIES, onnx_files
from export.trace import set_bounded
from training.captions import Vocabulary
from training.data.compose import Options
from training.dataset import Pairs, scene_files
from training.evaluate import picture_figures
from training.figures import means, write_json
from training.step import Networks, assemble, condition_of, images
from tryon.assets import AssetError, asset_path
from tryon.contract import CANVAS_SIZES, NET_WIDTH, model
from tryon.models import system
from tryon.models.generator import centre
from tryon.steps.tokenizer import Tokenizer
from tryon.tolerances import FIGURES_RELATIVE

ORDER = ("text_encoder", "pose", "image_encoder", "generator")
HALF = ("fp32", "fp16")


@dataclass
class Found:
    """What was measured.

    Attributes:
        rows: picture comparisons of every pair.
        values: form -> a row for each pair, of the figures that it has.
    """

    rows: list[Loss] = field(default_factory=list)
    values: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """Form -> figure -> mean over the pairs that have it."""
        return {form: means(rows) for form, rows in self.values.items()}

    def changes(self) -> dict[str, float]:
        """Figure -> relative change from float32 to fp16."""
        one, two = (self.figures[form] for form in HALF)
        return {k: abs(two[k] - v) / max(abs(v), 1e-9) for k, v in one.items()}

    def broken(self) -> list[str]:
        """The bounds that are broken, a line each."""
        lines = [str(row) for row in self.rows if not row.ok]
        for name, change in self.changes().items():
            if not change < FIGURES_RELATIVE:
                lines.append(f"{name} changes by {change:.2%} (under {FIGURES_RELATIVE:.0%})")
        return lines


def request(pair: Mapping[str, object], tokenizer: Tokenizer) -> Tensors:
    """A composed pair as the networks are served it: the person's view is the photo.

    Args:
        pair: an item of `training.dataset.Pairs`.

    Returns:
        view uint8 (1, 256, 256, 3), window uint8 (1, 256, 192, 3), placement, condition, input_ids,
        attention_mask, garment_net uint8 (1, 256, 192, 3), canvas uint8 (1, 4, h, w), opaque.
    """
    before, shop = np.asarray(pair["before"]), np.asarray(pair["shop"])
    margin = (before.shape[1] - NET_WIDTH) // 2
    words = str(pair["caption"])
    ids, seen = tokenizer(words)
    height, width = CANVAS_SIZES[0]
    large = cv2.resize(shop, (width, height), interpolation=cv2.INTER_LINEAR)
    canvas = np.stack([*cv2.split(large), np.full((height, width), 255, np.uint8)])
    category = torch.as_tensor(pair["category"]).reshape(1)
    return {
        "view": before[None],
        "window": np.ascontiguousarray(before[None, :, margin : margin + NET_WIDTH]),
        "placement": np.array([[0, 0, 1, 1]], np.float32),
        "condition": condition_of(category, torch.tensor([bool(words)])).numpy(),
        "input_ids": ids[None],
        "attention_mask": seen[None],
        "garment_net": np.asarray(pair["shop_seen"])[None],
        "canvas": canvas[None],
    }


def dressed(networks: Mapping[str, Network], tensors: Tensors) -> Tensors:
    """All tensors, each network's answers given to the next."""
    known = dict(tensors)
    for name in ORDER:
        known |= networks[name](known)
    return known


def measure(
    repository: Path, pairs: Iterator[tuple[int, dict[str, object]]], nets: Networks,
    tokenizer: Tokenizer,
) -> Found:  # fmt: skip
    """Measures every pair.

    Args:
        repository: an export for engines, with both forms of every network.
        pairs: their numbers and they.
        nets: the torch networks, with the generator as it was traced.

    Raises:
        FileNotFoundError: a file is missing.
    """
    forms = {form: _networks(repository, form) for form in HALF}
    found = Found()
    for number, pair in pairs:
        tensors = request(pair, tokenizer)
        answers = {form: dressed(networks, tensors) for form, networks in forms.items()}
        one, two = (answers[form]["patch"] for form in HALF)
        where = regions(nets.generator, answers["fp32"])
        found.rows += picture_losses("generator", f"pair {number}", one, two, where, "fp16", "fp32")
        batch = default_collate([pair])
        truth, before = (centre(images(batch[name])) for name in ("after", "before"))
        for form, picture in zip(HALF, (one, two), strict=True):
            with torch.no_grad():
                own = picture_figures(images(torch.from_numpy(picture)), truth, before, batch, nets)
            row = {name: float(v[0]) for name, v in own.items() if torch.isfinite(v[0])}
            found.values.setdefault(form, []).append(row)
    return found


def _networks(repository: Path, form: str) -> dict[str, Network]:
    return {
        name: onnx_network(model(name), onnx_files(repository, name, form)[form]) for name in ORDER
    }


def table(found: Found) -> str:
    """What was measured, as text."""
    lines = [f"{'region':26}{'pairs':>7}{'least dB':>10}{'mean dB':>10}{'least SSIM':>12}"
             f"{'max abs':>9}{'bound':>8}"]  # fmt: skip
    for region in dict.fromkeys(row.region for row in found.rows):
        own = [row for row in found.rows if row.region == region]
        finite = [row.measure for row in own if np.isfinite(row.measure)]
        cells = (f"{min(finite):10.1f}{np.mean(finite):10.1f}" if finite
                 else f"{'exact':>10}{'exact':>10}")  # fmt: skip
        lines.append(f"{region:26}{len(own):7d}{cells}{min(r.ssim for r in own):12.4f}"
                     f"{max(r.max_abs for r in own):9.0f}{own[0].bound:8.0f}")  # fmt: skip
    lines.append(f"\n{'figure':26}" + "".join(f"{form:>11}" for form in HALF) + f"{'change':>10}")
    for name, change in found.changes().items():
        cells = "".join(f"{found.figures[form][name]:11.4f}" for form in HALF)
        lines.append(f"{name:26}{cells}{change:10.3%}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.evaluate_fp16", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--photos", type=Path)
    p.add_argument("--repository", type=Path, default=REPOSITORIES / "tensorrt_rtx",
                   metavar="FOLDER", help="an export with fp16 files (%(default)s)")  # fmt: skip
    p.add_argument("--count", type=int, default=64)
    p.add_argument("--first", type=int, default=0, metavar="N",
                   help="number of the first pair: several processes can share them")  # fmt: skip
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--json", type=Path)
    args = p.parse_args(arguments)
    if args.count < 1:
        print(f"error: --count {args.count}: at least one pair is needed", file=sys.stderr)
        return 2
    try:
        nets = assemble(system.load_models(), Vocabulary([]))
        set_bounded(nets.generator, False)
        # Half of the pairs come with words, so that the text encoder has its say too.
        pairs = Pairs(scene_files(args.pairs, "test"), args.photos, Options(), args.seed, "test")
        numbers = tqdm(range(args.first, args.first + args.count), desc="pairs")
        found = measure(args.repository, ((i, pairs[i]) for i in numbers), nets,
                        Tokenizer(asset_path("minilm")))  # fmt: skip
    except (FileNotFoundError, ValueError, AssetError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(found))
    broken = found.broken()
    print("\n".join(broken), end="\n" if broken else "")
    rows = [row.as_dict() for row in found.rows]
    write_json(args.json, {"figures": found.figures, "changes": found.changes(),
                           "values": found.values, "rows": rows})  # fmt: skip
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
