"""Draws training pairs, or the scenes that they are composed from, with their truth.

    make pairs-preview                                  # 32 pairs of .cache/pairs to out/pairs.png
    python -m training.data.preview DIR --out X.png --pairs 32 --photos PHOTOS --cutouts CUTOUTS
    python -m training.data.preview DIR --rows 8        # whole scenes

A pair's cell: person before, in-shop picture with its landmarks, person after, the in-shop picture
brought onto the person by the true flow, with the landmarks there, and the parse over the person
after, with the joints. Pairs are ordered by how sure BlazePose is of the person after, the surest
first. A scene's row: picture with joints, parse, garment warped by the true flow over the picture
with the landmarks, in-shop picture with its landmarks.

In a folder that is missing or empty a few scenes are rendered first.
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

from training.data.compose import MARGIN, Options
from training.data.jobs import temporary, told
from training.data.outfits import outfit_of
from training.data.shards import Scene, list_scenes, load_scene
from training.dataset import SHARED, Pairs
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH
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

_BONES = ((11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24), (23, 25),
          (25, 27), (24, 26), (26, 28))  # fmt: skip
"""Joints, in BlazePose's order, between which a line is drawn."""
RENDERED = 16
"""Scenes that are rendered into an empty folder."""


class TruePairs(Pairs):
    """Pairs with one more entry, `joints`: float32 (33, 2), x, y in pixels of the 3:4 view."""

    def __getitem__(self, number: int) -> dict[str, Any]:
        pair: dict[str, Any] = super().__getitem__(number)
        scene, after = self._drawn
        garment = outfit_of(scene, after)[CATEGORIES[int(pair["category"])]]
        true = (scene.worn_landmarks[scene.worn(after, garment), :, 0] - MARGIN) / NET_WIDTH
        joints: np.ndarray = scene.joints.copy()
        joints[:, 0] -= MARGIN
        # Half of the people are mirrored, their landmarks with them.
        if not np.allclose(pair["landmarks"][:, 0], true, atol=1e-4, equal_nan=True):
            joints[:, 0] = NET_WIDTH - joints[:, 0]
        return {**pair, "joints": joints}

    def _choice(
        self, scene: Scene, pairs: list[tuple[int, int, str]], rng: np.random.Generator
    ) -> int:
        chosen = super()._choice(scene, pairs, rng)
        self._drawn = scene, pairs[chosen][1]
        return chosen


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


def overlaid(picture: np.ndarray, parse: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) beneath its parse (h, w), and the joints (33, 2) with the body's limbs;
    uint8 (h, w, 3)."""
    shown = picture.copy()
    person = parse > 0
    shown[person] = (picture[person] * 0.45 + _COLOURS[parse[person]] * 0.55).astype(np.uint8)
    for a, b in _BONES:
        if np.isfinite(joints[[a, b]]).all() and (abs(joints[[a, b]]) < 2000).all():
            start, end = joints[[a, b]].astype(int).tolist()
            cv2.line(shown, start, end, (255, 255, 255), 1, cv2.LINE_AA)
    _dots(shown, joints, (0, 255, 255))
    return shown


def cell(pair: dict[str, Any]) -> np.ndarray:
    """One of `TruePairs`' cell, uint8 (256, 960, 3)."""
    before, after = (pair[k][:, MARGIN : MARGIN + NET_WIDTH] for k in ("before", "after"))
    shop, laid = pair["shop"].copy(), (after * 0.35 + 160).astype(np.uint8)
    valid = pair["valid"] > 0
    laid[valid] = warp(pair["shop"], np.moveaxis(pair["flow"], 0, -1))[valid].astype(np.uint8)
    for picture, name in ((shop, "shop_landmarks"), (laid, "landmarks")):
        marks = pair[name]
        _dots(picture, marks[marks[:, 2] > 0.5, :2] * [NET_WIDTH, NET_HEIGHT], (255, 60, 60), 3)
    truth = overlaid(after, pair["parse_after"], pair["joints"])
    return np.concatenate([before, shop, after, laid, truth], 1)


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
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--pairs", type=int, help="so many training pairs; default: 32")
    much.add_argument("--rows", type=int, help="so many rows of whole scenes instead")
    parser.add_argument("--photos", type=Path, help="for pairs: real garment photos")
    parser.add_argument("--cutouts", type=Path, help="for pairs: real garments cut out of them")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs")
    parser.add_argument("--first", type=int, default=0, help="for scenes: which comes first")
    parser.add_argument("--outfits", type=int, default=1,
                        help="for scenes: outfits shown of each")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="for scenes: without truth")
    args = parser.parse_args(arguments)
    if args.rows is None:
        args.pairs = 32 if args.pairs is None else args.pairs
        if args.plain or args.outfits != 1 or args.first:
            parser.error("--plain, --outfits and --first are for scenes: give --rows with them")
    if (args.pairs or args.rows or 0) < 1 or args.outfits < 1 or args.first < 0:
        parser.error("there must be a pair, or a row and an outfit, at least")
    return told(lambda: draw(args), f"{args.folder} keeps its scenes")


def scenes_in(folder: Path) -> list[Path]:
    """A folder's scenes; where it is missing or empty a few are rendered first, the first ones that
    `make pairs` renders.

    Raises:
        ValueError: the folder holds other things, but no scene.
        RuntimeError, OSError: as `training.data.render.render`.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        from training.data.render import render

        print(f"note: no scenes in {folder} yet: {RENDERED} are rendered now, and kept there",
              file=sys.stderr)  # fmt: skip
        render(folder, 0, RENDERED, 0, 2)
    paths = list_scenes(folder)
    if not paths:
        raise ValueError(f"no scenes in {folder}: `make pairs` renders some")
    return paths


def draw(args: argparse.Namespace) -> None:
    """Draws the sheet.

    Raises:
        ValueError, OSError: no scenes or photos there, or the sheet can't be written.
        RuntimeError: as `scenes_in`.
    """
    paths = scenes_in(args.folder)[args.first :]
    if not paths:
        raise ValueError(f"--first: {args.folder} holds no more than {args.first} scenes")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.pairs:
        made = TruePairs(paths, args.photos, Options(), args.seed, cutouts=args.cutouts)
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
    """Writes a picture, whole or not at all; its kind by the name's ending.

    Raises:
        ValueError: it could not be written, or the ending is none of a picture's.
    """
    half = temporary(path)
    try:
        written = cv2.haveImageWriter(str(half)) and cv2.imwrite(str(half), sheet[..., ::-1])
        if not written:
            raise ValueError(f"--out: {path} could not be written")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
