"""Pairs at twice or four times the networks' size, with the truth that belongs to them.

    python -m training.data.large --out .cache/large --seed 7 --count 16
    python -m training.data.large --out .cache/large --seed 7 --count 16 --scale 2

They are 1024x768, or 512x384 with `--scale 2`. A pair is of a scene of its own, two outfits on one
body, drawn by the same code from the same numbers as a scene of 256 pixels and only larger: scaled
down it is that picture within a few levels. It is for looking closely and for measuring
(`training.evaluate_large`), not for training: before a plain wall, with no camera's noise and no
other fabric, trousers on people with a head (the pipeline finds nobody without). One of 1024x768
takes about ten seconds. How many of 512x384 come of a scene of many outfits in a second is measured
by `training.data.speed --scale 2`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from training.data import camera
from training.data.jobs import finish, told
from training.data.outfits import drawn_of, garment_of, outfit_of, pairs_of
from training.data.shards import Scene, compose, is_test_name, save_scene, scene_from
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH, OLD_GARMENTS, PARSE, POSE_SIZE

if TYPE_CHECKING:
    from training.data.studio import Studio

SCALE = 4
OUTFITS = 2
PRINTED = ("logo", "lettering")
"""Patterns that are drawn once on a garment and have to be read."""
_WHITE = 245.0
"""Levels of the in-shop picture's plain background."""
_UNLIKE = 36
"""Levels in the farthest channel by which a print differs from the cloth it is on."""

Arrays = dict[str, np.ndarray]


def print_of(albedo: np.ndarray, garment: np.ndarray) -> np.ndarray:
    """Where a garment shows its print or lettering, edges included.

    Args:
        albedo: uint8 (H, W, 3), without light.
        garment: bool (H, W), where the garment is seen.

    Returns:
        uint8 (H, W); 0 everywhere where the garment is not seen.
    """
    scale = max(1, albedo.shape[0] // POSE_SIZE)
    if not garment.any():
        return np.zeros(garment.shape, np.uint8)
    cloth = np.median(albedo[garment], axis=0)
    unlike = (np.abs(albedo - cloth).max(-1) > _UNLIKE) & garment
    # Seams and cords, and the rim that mixes with what is behind, are lines.
    line = np.ones((2 * scale - 1, 2 * scale - 1), np.uint8)
    rim = np.ones((4 * scale + 1, 4 * scale + 1), np.uint8)
    inner = cv2.erode(garment.astype(np.uint8), rim)
    drawn = cv2.morphologyEx(unlike.astype(np.uint8) & inner, cv2.MORPH_OPEN, line)
    around = cv2.dilate(drawn, np.ones((2 * scale + 1, 2 * scale + 1), np.uint8))
    return np.asarray(around & garment.astype(np.uint8))


def pair_of(
    scene: Scene, before: int, after: int, category: str, rng: np.random.Generator
) -> Arrays:
    """One pair of a scene of any scale s, as rendered; names are those of `compose.compose`.

    Args:
        scene: of `make_scene(..., scale=s)`; H, W below are NET_HEIGHT and NET_WIDTH times s.
        before, after, category: of `outfits.pairs_of`.
        rng: of the wall behind.

    Returns:
        before, after: uint8 (H, W, 3), the middle of the scene's view; shop: uint8 (H, W, 3), the
        in-shop picture, on plain white where no wearer is in it; shop_alpha uint8 (H, W), the share
        of each pixel that the garment covers, shop_mask the same without its inside; parse_before,
        parse_after uint8 (H, W), PARSE; depth_before, depth_after uint16 (H, W), as Scene has it:
        what stands in front of what; drawn, old, under uint8 (H, W), where the new garment is,
        what it replaces was, and the top beneath an open one is seen; print uint8 (H, W), 1 where a
        print or lettering of the new garment is seen; flow float32 (H, W, 2) in 0..1 of `shop`,
        valid uint8 (H, W); landmarks, shop_landmarks float32 (K, 3), x, y in 0..1 of the pictures
        and whether there is one; joints float32 (33, 2), the same; category int64; caption str.
    """
    chosen = outfit_of(scene, after)[category]
    garment, place = garment_of(scene, chosen), scene.worn(after, chosen)
    side = scene.parse.shape[1]
    margin, width = (side - side * NET_WIDTH // NET_HEIGHT) // 2, side * NET_WIDTH // NET_HEIGHT
    view = slice(margin, margin + width)
    # Walls are smooth: drawn small, so that they are the same at any scale.
    wall = cv2.resize(255 * camera.studio(rng, POSE_SIZE, POSE_SIZE), (side, side))
    shop_wall = cv2.resize(255 * camera.studio(rng, NET_HEIGHT, NET_WIDTH), (width, side))
    pictures = [
        compose(scene.albedo[i], scene.shade[i], scene.alpha[i], wall) for i in (before, after)
    ]
    drawn, under = drawn_of(scene, after, category)
    parse = [scene.parse[i] for i in (before, after)]
    old = np.isin(parse[0], [PARSE.index(n) for n in OLD_GARMENTS[category]]) & (under == 0)
    printed = np.zeros_like(drawn)
    if garment.attributes["pattern"] in PRINTED:
        printed = print_of(scene.albedo[after], drawn > 0)
    back = _WHITE if garment.flat else shop_wall
    corner, size = np.array([margin, 0], np.float32), np.array([width, side], np.float32)
    landmarks = scene.worn_landmarks[place].astype(np.float32).copy()
    landmarks[:, :2] = (landmarks[:, :2] - corner) / size
    assert scene.depth is not None  # make_scene's have one
    return {
        "before": pictures[0][:, view].copy(),
        "after": pictures[1][:, view].copy(),
        "shop": compose(garment.shop_albedo, garment.shop_shade, garment.shop_cover, back),
        "shop_alpha": garment.shop_alpha,
        "shop_mask": cv2.subtract(garment.shop_alpha, garment.shop_inner),
        "parse_before": parse[0][:, view].copy(),
        "parse_after": parse[1][:, view].copy(),
        "depth_before": scene.depth[before][:, view].copy(),
        "depth_after": scene.depth[after][:, view].copy(),
        "drawn": drawn[:, view].copy(),
        "old": old[:, view].astype(np.uint8),
        "under": under[:, view].copy(),
        "print": printed[:, view].copy(),
        "flow": scene.worn_flow[place][:, view].astype(np.float32),
        "valid": (scene.worn_valid[place] * drawn)[:, view],
        "landmarks": landmarks,
        "shop_landmarks": garment.shop_landmarks,
        "joints": ((scene.joints - corner) / size).astype(np.float32),
        "category": np.array(CATEGORIES.index(category)),
        "caption": np.array(garment.attributes["caption"]),
    }


_PICTURES = ("before", "after", "shop", "shop_alpha", "shop_mask")
_MAPS = (
    "parse_before", "parse_after", "depth_before", "depth_after", "drawn", "old", "under", "print",
    "flow", "valid",
)  # fmt: skip


def reduced(pair: Arrays) -> Arrays:
    """A pair of `pair_of` at 256x192: pictures averaged, truths as they are at a pixel's middle."""
    scale = len(pair["before"]) // NET_HEIGHT
    size, middle = (NET_WIDTH, NET_HEIGHT), slice(scale // 2, None, scale)
    small = {n: cv2.resize(pair[n], size, interpolation=cv2.INTER_AREA) for n in _PICTURES}
    return {**pair, **small, **{n: pair[n][middle, middle] for n in _MAPS}}


def make_pair(studio: Studio, seed: int, index: int, scale: int = SCALE) -> Arrays:
    """Pair `index` of the set `seed`; the same at every scale but for its size."""
    from training.data.scene import make_scene

    arrays = make_scene(studio, seed, index, outfits=OUTFITS, scale=scale, whole=True)
    scene = scene_from(arrays)
    # Numbers of its own: the scene's are drawn from [seed, index].
    rng = np.random.default_rng([seed, index, 5])
    pairs = pairs_of(scene)
    return pair_of(scene, *pairs[int(rng.integers(len(pairs)))], rng)


def indices(seed: int, count: int, split: str) -> list[int]:
    """The first `count` indices of a set that are of the split "train" or "test"."""
    fits: Iterator[int] = (
        i for i in itertools.count() if is_test_name(seed, i) == (split == "test")
    )
    return list(itertools.islice(fits, count))


@functools.cache
def _studio() -> Studio:
    from training.data.studio import Studio

    cv2.setNumThreads(1)
    return Studio()


def _path(out: Path, seed: int, index: int, scale: int) -> Path:
    name = "large" if scale == SCALE else f"large{scale}"
    return out / f"{name}-{seed}-{index:06d}.npz"


def _make(job: tuple[str, int, int, int]) -> None:
    out, seed, index, scale = job
    save_scene(_path(Path(out), seed, index, scale), make_pair(_studio(), seed, index, scale))


def render(
    out: Path, seed: int, count: int, split: str, processes: int, scale: int = SCALE
) -> None:
    """Writes what is not there yet as `large-SEED-INDEX.npz` (`large2-...` at twice the size), with
    a progress bar.

    Raises:
        RuntimeError: a part is missing (the body model's data, EGL); says what to install.
        OSError: a pair can't be written; it names the file, and no part of it is left.
    """
    from training.data.bodies import load_body_model

    load_body_model()  # built once, before the processes need it
    wanted = indices(seed, count, split)
    jobs = [(str(out), seed, i, scale) for i in wanted if not _path(out, seed, i, scale).is_file()]
    finish(_make, jobs, count, "pair", out, processes)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.large", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--scale", type=int, choices=(2, SCALE), default=SCALE,
                        help=f"times the networks' size; default: {SCALE}")  # fmt: skip
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(arguments)
    return told(
        lambda: render(args.out, args.seed, args.count, args.split, args.processes, args.scale),
        f"{args.out} keeps its pairs",
    )


if __name__ == "__main__":
    sys.exit(main())
