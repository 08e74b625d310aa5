"""Draws scenes with their truth: `python -m training.data.preview DIR --out X.png`.

A row: picture with joints, parse, garment warped by the true flow over the picture with the
landmarks, in-shop picture with its landmarks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from training.data.shards import Scene, list_scenes, load_scene

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--outfits", type=int, default=1, help="outfits shown of each scene")
    parser.add_argument("--plain", action="store_true", help="pictures without truth")
    args = parser.parse_args()
    paths = list_scenes(args.folder)[args.first :]
    if not paths:
        raise SystemExit(f"no scenes in {args.folder}; run `python -m training.data.render` first")
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
    sheet = np.concatenate(rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), sheet[..., ::-1])


if __name__ == "__main__":
    main()
