"""A contact sheet of try-ons on real photos, to look at: every person in every garment given.

    python -m training.trial --weights runs/first --out out/trial.png
    python -m training.trial --people a.jpg b.jpg --garments shirt.jpg --prompt "in dark green"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from training.data.photographs import HELD_OUT
from tryon.assets import asset_path
from tryon.errors import RequestError
from tryon.models import system
from tryon.pipeline import TryOnPipeline


def read_file(path: Path) -> np.ndarray:
    """A file's bytes as the contract's uint8 (1, 1, N)."""
    return np.frombuffer(path.read_bytes(), np.uint8).reshape(1, 1, -1)


def pixels(path: Path, side: int) -> np.ndarray:
    """A picture whose longer side is at most `side`, uint8 (H, W, 3)."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path} is not a picture that can be read")
    scale = min(1.0, side / max(image.shape[:2]))
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1])


def default_people() -> list[Path]:
    """Studio and outdoor pictures of photoreal people, of whom no training sees any."""
    people, others = asset_path("openpeople"), asset_path("openvto") / "people"
    pictures = [
        people / name / "assets" / f"{place}_posture.jpg"
        for place in ("studio", "amateur") for name in HELD_OUT
    ]  # fmt: skip
    return [*pictures, *(others / f"{i}_posture.jpg" for i in range(1, 5))]


def default_garments() -> list[Path]:
    """The tops of the garment package, seen from the front."""
    root = asset_path("openvto")
    return sorted(root.rglob("shirts/*_front.jpg")) + sorted(root.rglob("jackets/*_front.jpg"))[2:4]


def tile(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture fitted into a tile."""
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    full = np.full((height, width, 3), 255, np.uint8)
    y, x = (height - size[1]) // 2, (width - size[0]) // 2
    full[y : y + size[1], x : x + size[0]] = small
    return full


def sheet(
    pipeline: TryOnPipeline, people: list[Path], garments: list[Path], prompt: str, category: str,
    size: tuple[int, int], crop: bool,
) -> np.ndarray:  # fmt: skip
    """Rows of people, columns of garments; the first row and column show what went in."""
    height, width = size
    rows = []
    names: list[Path | None] = list(garments) or [None]
    top = [np.full((height, width, 3), 255, np.uint8)]
    top += [tile(pixels(g, 1024), height, width) for g in garments]
    if garments:
        rows.append(np.concatenate(top, 1))
    for person in tqdm(people, desc="people"):
        photo = pixels(person, 1024)
        row: list[np.ndarray] = []
        for garment in names:
            try:
                result = pipeline(photo, read_file(garment) if garment else None, prompt, category)
            except RequestError as error:
                print(f"{person.name} in {garment}: {error}", file=sys.stderr)
                row += [tile(photo, height, width)] * (not row)
                row.append(np.full((height, width, 3), 128, np.uint8))
                continue
            x0, y0, x1, y1 = result.tensors["box"][0] if crop else (0, 0, *photo.shape[1::-1])
            if not row:
                row.append(tile(photo[y0:y1, x0:x1], height, width))
            row.append(tile(result.picture[y0:y1, x0:x1], height, width))
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows, 0)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.trial", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--people", type=Path, nargs="*")
    p.add_argument("--garments", type=Path, nargs="*")
    p.add_argument("--prompt", default="")
    p.add_argument("--category", default="upper")
    p.add_argument("--out", type=Path, default=Path("out/trial.png"))
    p.add_argument("--tile", type=int, nargs=2, default=(320, 240), help="height and width")
    p.add_argument("--whole", action="store_true", help="show whole photos, not the window")
    args = p.parse_args(arguments)
    try:
        picture = sheet(
            TryOnPipeline(args.weights),
            default_people() if args.people is None else args.people,
            default_garments() if args.garments is None else args.garments,
            args.prompt, args.category, tuple(args.tile), not args.whole,
        )  # fmt: skip
    except (FileNotFoundError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), picture[..., ::-1])
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
