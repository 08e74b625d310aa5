"""Makes the README's pictures from the weights in the repository.

python -m training.pictures                 # docs/images/tryon.jpg and words.jpg
python -m training.pictures --out /tmp/new  # look at them first
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from training.trial import pixels, read_file, tile
from tryon.assets import AssetError, asset_path
from tryon.models.system import WeightsError
from tryon.pipeline import TryOnPipeline

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
# People and photos that no training sees.
PERSON = "openpeople/P010/assets/studio_posture.jpg"
TRIALS = (
    (PERSON, "shirts/2_front.jpg", "upper"),
    ("openvto/people/4_posture.jpg", "jackets/3_front.jpg", "upper"),
    ("openpeople/P009/assets/studio_posture.jpg", "shirts/4_front.jpg", "upper"),
    ("openvto/people/3_posture.jpg", "shirts/1_front.jpg", "upper"),
    ("openpeople/P010/assets/amateur_posture.jpg", "jackets/1_front.jpg", "upper"),
    ("openpeople/P009/assets/studio_posture.jpg", "pants/2_front.jpg", "lower"),
)
WORDS = (
    (None, "a red t-shirt"),
    (None, "a blue striped t-shirt"),
    (None, "a green floral shirt"),
    ("shirts/2_front.jpg", "in dark green"),
    ("shirts/2_front.jpg", "three sizes larger"),
    ("shirts/2_front.jpg", "two sizes smaller"),
    ("jackets/1_front.jpg", "sleeves rolled up"),
    ("jackets/1_front.jpg", "worn open"),
    ("shirts/2_front.jpg", "tucked in"),
)


def _person(path: str) -> np.ndarray:
    package, rest = path.split("/", 1)
    return pixels(asset_path(package) / rest, 1024)


def trials(pipeline: TryOnPipeline, height: int = 360, width: int = 270) -> np.ndarray:
    """Person, garment and answer, two trials a row: uint8 (H, W, 3)."""
    clothes = asset_path("openvto") / "clothes"
    cells = []
    for person, garment, category in tqdm(TRIALS, desc="trials"):
        photo = _person(person)
        result = pipeline(photo, read_file(clothes / garment), "", category)
        x0, y0, x1, y1 = result.tensors["box"][0]
        seen, answer = (image[y0:y1, x0:x1] for image in (photo, result.picture))
        shown = (seen, pixels(clothes / garment, 1024), answer)
        cells.append(np.concatenate([tile(image, height, width) for image in shown], 1))
    return np.concatenate([np.concatenate(cells[i : i + 2], 1) for i in range(0, len(cells), 2)])


def words(pipeline: TryOnPipeline, height: int = 300, width: int = 225) -> tuple[np.ndarray, str]:
    """One person in what each sentence asks for, and how far each moves the garment's pixels."""
    photo = _person(PERSON)
    tiles, lines = [], []
    plain: dict[str, np.ndarray] = {}
    for garment, prompt in tqdm(WORDS, desc="words"):
        given = read_file(asset_path("openvto") / "clothes" / garment) if garment else None
        result = pipeline(photo, given, prompt, "upper")
        inside = result.mask > 200
        if garment is None:
            level = result.picture[inside].mean(0).round().astype(int)
            lines.append(f'"{prompt}": mean colour {tuple(int(v) for v in level)}')
        else:
            if garment not in plain:
                plain[garment] = pipeline(photo, given, "", "upper").picture
            moved = np.abs(result.picture[inside].astype(int) - plain[garment][inside]).mean()
            lines.append(f'{garment} with "{prompt}": moved by {moved:.0f} levels')
        x0, y0, x1, y1 = result.tensors["box"][0]
        tiles.append(tile(result.picture[y0:y1, x0:x1], height, width))
    return np.concatenate(tiles, 1), "\n".join(lines)


def save(path: Path, picture: np.ndarray) -> None:
    """Writes a JPEG whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.jpg")
    cv2.imwrite(str(beside), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    os.replace(beside, path)
    print(path)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.pictures", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    args = p.parse_args(arguments)
    try:
        pipeline = TryOnPipeline(args.weights)
        save(args.out / "tryon.jpg", trials(pipeline))
        picture, lines = words(pipeline)
    except (FileNotFoundError, AssetError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    save(args.out / "words.jpg", picture)
    print(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
