"""Figures on the rendered test split, beside a pasted garment, the unchanged person and a U-Net.

    python -m training.evaluate --pairs .cache/pairs --photos DIR --count 200
    python -m training.evaluate --pairs .cache/pairs --weights runs/first --json out/evaluate.json
    python -m training.evaluate --pairs .cache/pairs --count 400 --slices   # each slice by itself

Scenes of the test split were never trained on; their garments and bodies are their own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training import baselines, unet
from training.captions import Vocabulary
from training.data.compose import Options
from training.dataset import Pairs, loader, scene_files
from training.figures import write_json
from training.losses import feature_distance, widened
from training.step import Networks, Result, Weights, assemble, images, run
from tryon.contract import NET_HEIGHT, NET_WIDTH, PARSE
from tryon.models import system
from tryon.models.composite import LUMA
from tryon.models.generator import centre


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


PAIRS_SEED = 7
"""Of the pairs that are measured on, unless another is asked for."""


class Shown(NamedTuple):
    """A pair to look at. `psnr`: of ours where the picture changes, in dB; `row`: uint8
    (H, 4 W, 3), the person before, the garment, the truth and ours."""

    psnr: float
    row: np.ndarray


def evaluate(
    weights: Path | None, pairs: Path, photos: Path | None, count: int, strength: float, seed: int,
    split: str = "test", painter: Path | None = None, gallery: list[Shown] | None = None,
    blocks: float = 0.0,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:  # fmt: skip
    """Means over `count` pairs of a split.

    Args:
        gallery: is given every pair's pictures and how near ours is to the truth.
        blocks: as `compose.Options` has it.

    Returns:
        method -> figure -> value; and slice (`training.slices`) -> figure -> value of ours, and
        "pairs", how many are in it. Methods: "ours", "spline" (`baselines.paste` by our landmarks),
        "unchanged" (the person's photo as it was) and, where `painter` names its weights, "u-net"
        (`training.unet`). Names say what a figure is and in which unit.
    """
    plain = unet.load(painter) if painter else None
    models = system.load_models(weights)
    nets = assemble(models, Vocabulary([]))
    batch_size = 8
    options = Options(strength, text=0.0, blocks=blocks)
    data = Pairs(scene_files(pairs, split), photos, options, seed, split)
    batches = loader(data, batch_size, 0, max(1, count // batch_size), 1)
    rows: dict[str, dict[str, list[float]]] = {}
    slices: dict[str, dict[str, list[float]]] = {}
    for batch in tqdm(batches, desc="evaluate"):
        with torch.no_grad():
            # As served: what E^T reads, not what was meant.
            spoken = nets.sentences(list(batch["caption"]))
            said = torch.tensor([[0.0, 0, 0, 0, bool(words)] for words in batch["caption"]])
            batch["styling"] = nets.text_encoder.style(spoken, said)
            result = run(nets, batch, Weights(), "truth", perceptual=False, served=True)
            before = centre(images(batch["before"]))
            result.out["parse"] = result.out["told"]
            pasted, _ = baselines.paste(
                before, images(batch["shop"]), result.out["garment_mask"],
                result.out["landmarks"], result.out["garment_landmarks"], result.out["visible"],
            )  # fmt: skip
            ours = result.picture.clamp(0, 1)  # as bytes have it
            methods = {"ours": ours, "spline": pasted, "unchanged": before}
            if plain is not None:
                methods["u-net"] = plain(before, images(batch["shop"]), batch["category"])
            found = {"ours": geometry(result, batch)}
            found["ours"]["own_words_nearest"] = words_found(nets, batch, result.out["z_image"])
            for method, picture in methods.items():
                figures = picture_figures(picture, result.truth, before, batch, nets)
                found[method] = found.get(method, {}) | figures
            if gallery is not None:
                shots = (before, images(batch["shop"]), result.truth, ours)
                rows_of = (torch.cat(shots, 3) * 255).round().byte().permute(0, 2, 3, 1).numpy()
                near = found["ours"]["psnr_changed_db"].tolist()
                gallery += [Shown(*both) for both in zip(near, rows_of, strict=True)]
        for method, figures in found.items():
            for name, values in figures.items():
                own = rows.setdefault(method, {}).setdefault(name, [])
                own.extend(float(v) for v in values.reshape(-1) if torch.isfinite(v))
        for i, of_pair in enumerate(batch["slices"]):
            for part in of_pair.split("\n"):
                own_slice = slices.setdefault(part, {"pairs": []})
                own_slice["pairs"].append(1.0)
                for name, values in found["ours"].items():
                    if torch.isfinite(values[i]):
                        own_slice.setdefault(name, []).append(float(values[i]))
    counts = {part: float(len(figures["pairs"])) for part, figures in slices.items()}
    return means_of(rows), {
        part: {**figures, "pairs": counts[part]} for part, figures in means_of(slices).items()
    }


def means_of(rows: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """method or slice -> figure -> the mean of its values."""
    return {
        key: {name: float(np.mean(values)) for name, values in figures.items() if values}
        for key, figures in rows.items()
    }


def method_table(table: dict[str, dict[str, float]]) -> str:
    """The methods as text, side by side, a figure of ours a line."""
    lines = [f"{'':26s}" + "".join(f"{method:>11s}" for method in table)]
    for name in table["ours"]:
        cells = (f"{figures[name]:11.3f}" if name in figures else " " * 11
                 for figures in table.values())  # fmt: skip
        lines.append(f"{name:26s}" + "".join(cells).rstrip())
    return "\n".join(lines)


SHOWN = {
    "pairs": "pairs", "mask_iou": "mask IoU", "flow_error_px": "flow px",
    "ssim_garment": "SSIM", "uncovered_error_levels": "uncovered", "in_front_error_levels": "front",
    "throat_error_levels": "throat", "outline_error_levels": "outline",
}  # fmt: skip
"""Figures of a slice that the table shows, and their headings."""


def slice_table(slices: dict[str, dict[str, float]]) -> str:
    """The slices as text, those with the most pairs first."""
    lines = [f"{'':26s}" + "".join(f"{heading:>11s}" for heading in SHOWN.values())]
    for part, figures in sorted(slices.items(), key=lambda item: -item[1]["pairs"]):
        cells = (
            " " * 11 if name not in figures
            else f"{figures[name]:11.0f}" if name == "pairs"
            else f"{figures[name]:11.3f}"
            for name in SHOWN
        )  # fmt: skip
        lines.append(f"{part:26s}" + "".join(cells).rstrip())
    return "\n".join(lines)


def region_mean(values: Tensor, region: Tensor, least: int = 1) -> Tensor:
    """Mean of (N, H, W) in a region of the same shape, (N,); NaN where it is under `least`."""
    area = region.sum((1, 2)).float()
    mean = (values * region).sum((1, 2)) / area.clamp(min=1)
    return torch.where(area >= least, mean, torch.nan)


def geometry(result: Result, batch: dict) -> dict[str, Tensor]:
    """Where things lie, (N,) each; NaN where a pair has no such thing."""
    size = torch.tensor([NET_WIDTH, NET_HEIGHT]).float()
    drawn, out = batch["drawn"].bool(), result.out
    shown = out["garment"][:, 0] > 0.5
    figures = {
        "mask_iou": (shown & drawn).sum((1, 2)) / (shown | drawn).sum((1, 2)).clamp(min=1),
        "mask_undecided_share": region_mean(
            ((out["garment"][:, 0] - 0.5).abs() < 0.35).float(),
            widened(drawn[:, None].float(), 8)[:, 0],
        ),
    }
    figures["confidence_off"] = (out["confidence"][:, 0].sigmoid() - figures["mask_iou"]).abs()
    error = ((out["flow"] - batch["flow"]) * size[None, :, None, None]).square().sum(1).sqrt()
    figures["flow_error_px"] = region_mean(error, batch["valid"].float())
    parse, truth = out["parse"].argmax(1), batch["parse_before"][:, ::2, ::2].long()
    for name in ("upper", "lower", "hair"):
        a, b = parse == PARSE.index(name), truth == PARSE.index(name)
        iou = (a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)
        figures[f"parse_iou_{name}"] = torch.where(b.sum((1, 2)) > 50, iou, torch.nan)
    for name, own, true in (
        ("landmark", out["landmarks"], batch["landmarks"]),
        ("garment_landmark", out["garment_landmarks"], batch["shop_landmarks"]),
    ):
        off = ((own - true[..., :2]) * size).square().sum(-1).sqrt()
        figures[f"{name}_error_px"] = (off * true[..., 2]).sum(1) / true[..., 2].sum(1).clamp(min=1)
    return figures


def picture_figures(
    picture: Tensor, truth: Tensor, before: Tensor, batch: dict, nets: Networks
) -> dict[str, Tensor]:
    """How near a picture (N, 3, H, W) is to the truth, (N,) each; NaN where there is no region."""
    drawn, old = batch["drawn"].bool(), batch["old"].bool()
    change = (drawn | old).float()
    square = (picture - truth).square().mean(1)
    similar = torch.nn.functional.interpolate(ssim(picture, truth), drawn.shape[1:])[:, 0]
    half = (torch.nn.functional.avg_pool2d(x, 2) for x in (picture, truth))
    ours, theirs = (nets.features(x) for x in half)
    error = (picture - truth).abs().mean(1) * 255
    uncovered = old & ~drawn
    parse = batch["parse_after"].long()
    ahead = torch.isin(
        parse, torch.tensor([PARSE.index(n) for n in ("hair", "arm_left", "arm_right")])
    )
    still = ahead & (batch["parse_before"].long() == parse) & ~old
    beside = widened(drawn[:, None].float(), 12)[:, 0] > 0
    still &= beside
    # A garment's inner back lies across the throat, a halo along its outline.
    throat = (parse == PARSE.index("face_neck")) & ~drawn & beside
    rim = (widened(drawn[:, None].float(), 2) > 0) & (widened(~drawn[:, None], 2) > 0)
    return {
        "psnr_changed_db": -10 * region_mean(square, change).clamp(min=1e-6).log10(),
        "ssim_garment": region_mean(similar, drawn.float(), 200),
        "ssim_picture": similar.mean((1, 2)),
        "feature_distance": feature_distance(ours[1:], theirs[1:]),
        "uncovered_error_levels": region_mean(error, uncovered.float(), 100),
        "in_front_error_levels": region_mean(
            (picture - before).abs().mean(1) * 255, still.float(), 50
        ),
        "throat_error_levels": region_mean(error, throat.float(), 30),
        "outline_error_levels": region_mean(error, rim[:, 0].float(), 100),
    }


def words_found(nets: Networks, batch: dict, z_image: Tensor) -> Tensor:
    """Whether of the batch's captions a garment's own is the nearest to it in the space that E^I
    and E^T share: 1 or 0, (N,); NaN where it has none."""
    captions = list(batch["truth_caption"])
    chosen = [i for i, caption in enumerate(captions) if caption]
    found = torch.full((len(captions),), torch.nan)
    if len(chosen) > 1:
        words = nets.text_encoder.project(nets.sentences([captions[i] for i in chosen])).float()
        a, b = (torch.nn.functional.normalize(x.float(), dim=1) for x in (z_image[chosen], words))
        best = (a @ b.T).argmax(1)
        found[chosen] = torch.tensor(
            [float(captions[chosen[k]] == captions[i]) for i, k in zip(chosen, best, strict=True)]
        )
    return found


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
    p.add_argument("--blocks", type=float, default=0.0,
                   help="share of the pairs whose old garment gets a second colour")  # fmt: skip
    p.add_argument("--seed", type=int, default=PAIRS_SEED)
    p.add_argument("--unet", type=Path, help="weights of `training.unet`, to compare with")
    p.add_argument("--slices", action="store_true", help="also ours on each slice of the pairs")
    p.add_argument("--json", type=Path)
    args = p.parse_args(arguments)
    try:
        table, slices = evaluate(
            args.weights, args.pairs, args.photos, args.count, args.strength, args.seed,
            painter=args.unet, blocks=args.blocks,
        )  # fmt: skip
    except (FileNotFoundError, ValueError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(method_table(table))
    if args.slices:
        print("\n" + slice_table(slices))
    write_json(args.json, {**table, "slices": slices})
    return 0


if __name__ == "__main__":
    sys.exit(main())
