"""Draws scenes, or the training pairs composed from them, with their truth.

    python -m training.data.preview                     # scenes of .cache/pairs to out/pairs.png
    python -m training.data.preview DIR --out X.png --pairs 32 --photos PHOTOS --cutouts CUTOUTS

A scene's row: picture with joints, parse, garment warped by the true flow over the picture with the
landmarks, in-shop picture with its landmarks. A pair's cell: person before, in-shop picture with
its landmarks, person after, and the in-shop picture brought onto the person by the true flow, with
the landmarks there. Pairs are ordered by how sure BlazePose is of the person after, the surest
first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from training.data.compose import Options
from training.data.jobs import told
from training.data.shards import Scene, list_scenes, load_scene
from training.dataset import SHARED, Pairs
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models.pose import Pose

_COLOURS = np.array(
    [
        (255, 255, 255),
        (90, 60, 30),
        (255, 190, 150),
        (255, 120, 60),
        (200, 60, 160),
        (60, 160, 255),
        (60, 60, 200),
        (60, 200, 90),
        (240, 220, 60),
        (230, 80, 80),
        (60, 60, 60),
        (150, 150, 150),
    ],
    np.uint8,
)


def warp(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Samples (h, w, 3) at flow (H, W, 2), 0..1; float32 (H, W, 3)."""
    h, w = picture.shape[:2]
    f = flow.astype(np.float32)
    return cv2.remap(
        picture.astype(np.float32),
        f[..., 0] * w - 0.5,
        f[..., 1] * h - 0.5,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _dots(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], r: int = 2) -> None:
    for x, y in points:
        if np.isfinite(x) and np.isfinite(y) and abs(x) < 2000 and abs(y) < 2000:
            cv2.circle(image, (int(x), int(y)), r, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(image, (int(x), int(y)), r - 1, colour, -1, cv2.LINE_AA)


def strip(scene: Scene, outfit: int, truth: bool = True) -> np.ndarray:
    """One outfit's row, uint8 (256, W, 3)."""
    picture = scene.picture(outfit, 225)
    tiles = [picture.copy()]
    garments = [
        int(g)
        for g in (
            scene.outfit_upper[outfit],
            scene.outfit_lower[outfit],
            scene.outfit_dress[outfit],
        )
        if g >= 0
    ]
    if truth:
        _dots(tiles[0], scene.joints, (0, 255, 255))
        tiles.append(_COLOURS[scene.parse[outfit]])
        warped = (picture.astype(np.float32) * 0.35 + 160).astype(np.uint8)
        for g in garments:
            k = scene.worn(outfit, g)
            valid = scene.worn_valid[k] > 0
            w = warp(scene.shop_picture(g), scene.worn_flow[k])
            warped[valid] = w[valid].astype(np.uint8)
            marks = scene.worn_landmarks[k]
            _dots(warped, marks[marks[:, 2] > 0, :2], (255, 60, 60), 3)
        tiles.append(warped)
    for g in garments:
        shop = scene.shop_picture(g, 240).copy()
        if truth:
            marks = scene.garment_shop_landmarks[g]
            _dots(shop, marks[marks[:, 2] > 0, :2] * [192, 256], (255, 60, 60), 3)
        tiles.append(shop)
    while sum(t.shape[1] for t in tiles) < (256 * 3 if truth else 256) + 2 * 192:
        tiles.append(np.full((256, 192, 3), 255, np.uint8))
    return np.concatenate(tiles, 1)


def cell(pair: dict[str, Any]) -> np.ndarray:
    """One training pair's cell, uint8 (256, 768, 3)."""
    margin = (pair["after"].shape[1] - NET_WIDTH) // 2
    before, after = (pair[k][:, margin : margin + NET_WIDTH] for k in ("before", "after"))
    shop, laid = pair["shop"].copy(), (after * 0.35 + 160).astype(np.uint8)
    valid = pair["valid"] > 0
    laid[valid] = warp(pair["shop"], np.moveaxis(pair["flow"], 0, -1))[valid].astype(np.uint8)
    for picture, name in ((shop, "shop_landmarks"), (laid, "landmarks")):
        marks = pair[name]
        _dots(picture, marks[marks[:, 2] > 0.5, :2] * [NET_WIDTH, NET_HEIGHT], (255, 60, 60), 3)
    return np.concatenate([before, shop, after, laid], 1)


def pairs_sheet(pairs: Sequence[dict[str, Any]], pose: Pose, columns: int = 2) -> np.ndarray:
    """Cells of pairs, the one first of whose person after BlazePose is surest. uint8 (H, W, 3)."""
    pictures = torch.from_numpy(np.stack([p["after"] for p in pairs]))
    with torch.no_grad():
        found = pose.features(pictures.permute(0, 3, 1, 2).float() / 255)
    cells = [cell(pairs[i]) for i in found["pose_score"][:, 0].argsort(descending=True).tolist()]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.preview", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, nargs="?", default=Path(".cache/pairs"),
                        help="of scenes; default: .cache/pairs")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out/pairs.png"),
                        help="default: out/pairs.png")  # fmt: skip
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--outfits", type=int, default=1, help="outfits shown of each scene")
    parser.add_argument("--plain", action="store_true", help="pictures without truth")
    parser.add_argument("--pairs", type=int, default=0, help="so many training pairs instead")
    parser.add_argument("--photos", type=Path, help="for pairs: real garment photos")
    parser.add_argument("--cutouts", type=Path, help="for pairs: real garments cut out of them")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs")
    args = parser.parse_args(arguments)
    if args.pairs and (args.plain or args.outfits != 1 or args.first):
        parser.error("--plain, --outfits and --first are for scenes, not for --pairs")
    return told(lambda: draw(args), "nothing was written")


def draw(args: argparse.Namespace) -> None:
    """Draws the sheet.

    Raises:
        ValueError, OSError: no scenes or photos there, or the sheet can't be written.
    """
    paths = list_scenes(args.folder)[args.first :]
    if not paths:
        raise ValueError(f"no scenes in {args.folder}: `make pairs` renders some")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.pairs:
        made = Pairs(paths, args.photos, Options(), args.seed, cutouts=args.cutouts)
        # `SHARED` pairs in a row come from one scene.
        chosen = [made[i * SHARED] for i in tqdm(range(args.pairs), unit="pair")]
        write(args.out, pairs_sheet(chosen, Pose().eval()))
        return
    rows = []
    for path in paths:
        scene = load_scene(path)
        for o in range(min(args.outfits, len(scene.albedo))):
            rows.append(strip(scene, o, not args.plain))
        if len(rows) >= args.rows:
            break
    columns = 3 if args.plain else 1
    rows = rows[: len(rows) // columns * columns] if len(rows) >= columns else rows
    if len(rows) >= columns > 1:
        rows = [np.concatenate(rows[i : i + columns], 1) for i in range(0, len(rows), columns)]
    write(args.out, np.concatenate(rows))


def write(path: Path, sheet: np.ndarray) -> None:
    """Writes a picture; its kind by the name's ending."""
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
        raise ValueError(f"--out: {path} could not be written")
    print(path)


if __name__ == "__main__":
    sys.exit(main())
