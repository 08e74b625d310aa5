"""Figures at 1024x768: whole try-ons on rendered photos of that size, beside two baselines.

    python -m training.evaluate_large --seed 7 --count 16
    python -m training.evaluate_large --seed 7 --count 16 --printed   # prints and lettering alone
    python -m training.evaluate_large --seed 7 --count 4 --out out/large.png

The networks see 256x192, and `training.evaluate` measures there. What is served is composed at the
photo's own size: whether a print can be read, and whether edges are sharp, shows only there. Scenes
of the test split are rendered anew (`training.data.large`, ten seconds each); the photo and the
in-shop picture go through the torch pipeline as a request's do.

Prints are compared by their gradients' similarity (Xue et al., 2014, "Gradient magnitude similarity
deviation"): 1 where lines are as sharp and where they should be, lower where they are blurred, bent
or beside their place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from training import baselines
from training.data.large import Arrays, indices, make_pair
from training.data.studio import Studio
from training.evaluate import means_of, method_table, region_mean, ssim
from training.figures import write_json
from training.listen import listening
from tryon.assets import AssetError
from tryon.contract import CATEGORIES
from tryon.errors import RequestError
from tryon.models.composite import LUMA
from tryon.models.system import WeightsError
from tryon.pipeline import TryOn, TryOnPipeline

_STEADY = 0.0026
"""Keeps the similarity of two flat places 1; 170 of 255 squared, as published."""
_LEAST = 400
"""Pixels of a print; of fewer no figure is worth one."""
_TRIED = 40
"""Scenes looked at for each pair with a print before it is said that there are too few."""


def gradient_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Similarity of the gradients' magnitudes, (N, H, W), of pictures (N, 3, H, W) in 0..1."""
    across = a.new_tensor([[1, 0, -1]] * 3)[None, None] / 3  # Prewitt
    weight = a.new_tensor(LUMA)[None, :, None, None]

    def steepness(picture: Tensor) -> Tensor:
        luma = F.pad((picture * weight).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        return (F.conv2d(luma, across).square() + F.conv2d(luma, across.mT).square()).sqrt()

    x, y = steepness(a), steepness(b)
    return ((2 * x * y + _STEADY) / (x * x + y * y + _STEADY))[:, 0]


def as_batch(picture: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) as float (1, 3, H, W) in 0..1."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def figures(picture: np.ndarray, pair: Arrays) -> dict[str, float]:
    """How near a picture, uint8 (H, W, 3), is to the pair's `after`; those alone that it has."""
    own, truth = as_batch(picture), as_batch(pair["after"])
    drawn, print_ = (torch.from_numpy(pair[name])[None] > 0 for name in ("drawn", "print"))
    change = drawn | (torch.from_numpy(pair["old"])[None] > 0)
    similar = F.interpolate(ssim(own, truth), drawn.shape[1:])[:, 0]
    alike = gradient_similarity(own, truth)
    square = (own - truth).square().mean(1)
    made = {
        "psnr_changed_db": -10 * region_mean(square, change).clamp(min=1e-6).log10(),
        "ssim_changed": region_mean(similar, change),
        "ssim_garment": region_mean(similar, drawn, _LEAST),
        "gradients_garment": region_mean(alike, drawn, _LEAST),
        "gradients_print": region_mean(alike, print_, _LEAST),
    }
    return {name: float(value) for name, value in made.items() if torch.isfinite(value).all()}


def spline(answer: TryOn, person: Tensor) -> np.ndarray:
    """`baselines.paste` at the photo's own size, by our landmarks: uint8 (H, W, 3).

    Args:
        answer: of the pipeline, with the canvas's garment.
        person: (1, K, 2), the landmarks that the generator found, in 0..1 of its view.
    """
    tensors = {
        name: torch.from_numpy(answer.tensors[name])
        for name in ("window", "canvas", "placement", "garment_landmarks", "garment_mask")
    }
    low, high = tensors["placement"].split(2, 1)
    here = (person - low[:, None]) / (high - low)[:, None]
    canvas, marks = tensors["canvas"].float() / 255, tensors["garment_landmarks"]
    mask = F.interpolate(tensors["garment_mask"].float(), canvas.shape[2:], mode="bilinear")
    window = tensors["window"].permute(0, 3, 1, 2).float() / 255
    pasted, _ = baselines.paste(
        window, canvas[:, :3], mask * canvas[:, 3:], here, marks[..., :2], marks[..., 2]
    )
    picture = answer.tensors["photo"][0].copy()
    x0, y0, x1, y1 = (int(v) for v in answer.tensors["box"][0])
    picture[y0:y1, x0:x1] = (pasted[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return picture


def pairs_of_set(seed: int, count: int, printed: bool) -> Iterator[Arrays]:
    """`count` pairs of the test split of a set, with `printed` those with a print alone.

    Raises:
        ValueError: so many pairs with a print were not found.
    """
    studio, found = Studio(), 0
    for index in indices(seed, count * (_TRIED if printed else 1), "test"):
        # Small ones tell which are worth the time of a large one.
        if not printed or make_pair(studio, seed, index, 1)["print"].sum() * 16 >= _LEAST:
            found += 1
            yield make_pair(studio, seed, index)
        if found == count:
            return
    raise ValueError(f"--count: only {found} of {count} pairs with a print found: ask for fewer")


def evaluate(
    pipeline: TryOnPipeline, pairs: Iterator[Arrays], count: int
) -> tuple[dict[str, dict[str, float]], list[np.ndarray]]:
    """Means over the pairs, and a row of pictures for each.

    Returns:
        method -> figure -> value, the methods "ours", "spline" and "unchanged"; of ours also
        `bytes_changed_outside_mask`, the sum over all pairs, `pairs` and `refused`, those in whose
        photo no single person was found. A row: before, in-shop picture, ours, spline, after.
    """
    rows: dict[str, dict[str, list[float]]] = {}
    sheet: list[np.ndarray] = []
    outside = refused = 0
    for pair in tqdm(pairs, total=count, desc="pairs of 1024x768"):
        category = CATEGORIES[int(pair["category"])]
        try:
            with listening(pipeline) as seen:
                answer = pipeline(pair["before"], pair["shop"], "", category)
        except RequestError as error:
            print(f"{pair['caption']}: {error}", file=sys.stderr)
            refused += 1
            continue
        pasted = spline(answer, seen["landmarks"])
        methods = {"ours": answer.picture, "spline": pasted, "unchanged": pair["before"]}
        for method, picture in methods.items():
            for name, value in figures(picture, pair).items():
                rows.setdefault(method, {}).setdefault(name, []).append(value)
        outside += int((answer.picture != pair["before"])[answer.mask == 0].sum())
        sheet.append(np.concatenate(
            [pair["before"], pair["shop"], answer.picture, pasted, pair["after"]], 1
        ))  # fmt: skip
    if not sheet:
        raise ValueError("every photo was refused: ask for more with --count")
    table = means_of(rows)
    printed = len(rows["ours"].get("gradients_print", []))
    table["ours"] |= {
        "bytes_changed_outside_mask": float(outside), "pairs": float(len(sheet)),
        "pairs_with_print": float(printed), "refused": float(refused),
    }  # fmt: skip
    return table, sheet


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status: 1 where a byte outside the mask has changed."""
    p = argparse.ArgumentParser(
        prog="python -m training.evaluate_large", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--count", type=int, default=16)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--printed", action="store_true", help="garments with a print or lettering")
    p.add_argument("--json", type=Path, help="also write the figures here")
    p.add_argument("--out", type=Path, help="also write a sheet here: before, in-shop picture, "
                   "ours, spline, after")  # fmt: skip
    args = p.parse_args(arguments)
    try:
        pipeline = TryOnPipeline(args.weights)
        pairs = pairs_of_set(args.seed, args.count, args.printed)
        table, sheet = evaluate(pipeline, pairs, args.count)
    except (ValueError, RuntimeError, AssetError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(method_table(table))
    write_json(args.json, table)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(args.out), np.concatenate(sheet)[..., ::-1]):
            print(f"error: --out: {args.out} could not be written", file=sys.stderr)
            return 2
        print(args.out)
    if table["ours"]["bytes_changed_outside_mask"]:
        print("error: bytes outside the mask have changed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
