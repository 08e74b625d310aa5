"""A folder of real garment photos: fabric for the rendered garments, and backgrounds.

Layout: `images/` and a `manifest.csv` with at least the columns file, category and sender (the
public CC0 "clothing-dataset" in the layout of `docs/third_party.md`). Photos of one sender share a
background, so a split is by sender.
"""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import cv2
import numpy as np

HELD_OUT = 10
"""One sender in so many is kept for evaluation."""


def held_out(sender: str) -> bool:
    """Whether a sender's photos are of the test split."""
    return zlib.crc32(sender.encode()) % HELD_OUT == 0


def manifest_of(folder: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a folder's manifest.

    Raises:
        FileNotFoundError: no manifest, or one without file, category, sender or one of `columns`.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise FileNotFoundError(
            f"{manifest} is missing: --photos must name a folder with manifest.csv and images/"
        )
    with manifest.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    for column in ("file", "category", "sender", *columns):
        if column not in (reader.fieldnames or ()):
            raise FileNotFoundError(f"{manifest} has no column {column!r} (README, Training)")
    return rows


class RealPhotos:
    """Random crops of a folder's photos; split "train" or "test" by sender.

    Raises:
        FileNotFoundError: no manifest there; the message says what is expected.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        rows = manifest_of(folder)
        held = [held_out(row["sender"]) for row in rows]
        chosen = [row for row, out in zip(rows, held, strict=True) if out == (split == "test")]
        self.paths = [folder / "images" / row["file"] for row in chosen]
        self.categories = [row["category"] for row in chosen]
        self.labels = [row.get("label") or row["category"] for row in chosen]
        if not self.paths:
            raise FileNotFoundError(
                f"{folder / 'manifest.csv'} lists no photo for the split {split!r}"
            )

    def photo(self, rng: np.random.Generator, reduced: bool = True) -> np.ndarray:
        """A random whole photo, uint8 (h, w, 3) RGB, at half size if `reduced`."""
        return self._read(int(rng.integers(len(self.paths))), reduced)

    def labelled(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A random whole photo as `photo` has it, and its category."""
        number = int(rng.integers(len(self.paths)))
        return self._read(number, True), self.categories[number]

    def described(self, rng: np.random.Generator) -> tuple[np.ndarray, str, str]:
        """A random whole photo as `photo` has it, its category and what the manifest calls it."""
        number = int(rng.integers(len(self.paths)))
        return self._read(number, True), self.categories[number], self.labels[number]

    def _read(self, number: int, reduced: bool) -> np.ndarray:
        path = self.paths[number]
        flag = cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR
        image = cv2.imread(str(path), flag)
        if image is None:
            raise ValueError(f"{path} is not an image that can be read")
        return np.ascontiguousarray(image[..., ::-1])

    def fabric(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A crop from a photo's middle, where the garment is: uint8 (height, width, 3)."""
        photo = self.photo(rng)
        share = rng.uniform(0.25, 0.5)
        return _crop(photo, rng, share, 0.5 + rng.uniform(-0.06, 0.06, 2), height, width)

    def background(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A crop from anywhere in a photo, often blurred as a background is: uint8."""
        photo = self.photo(rng)
        crop = _crop(photo, rng, rng.uniform(0.4, 0.95), rng.uniform(0, 1, 2), height, width)
        if rng.random() < 0.5:
            crop = cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(1, 6)))
        return crop

    def edge(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A small crop from a photo's corner: the bed, floor or wall a garment lies on; uint8."""
        photo = self.photo(rng)
        centre = rng.integers(0, 2, 2) + rng.uniform(-0.05, 0.05, 2)
        return _crop(photo, rng, rng.uniform(0.2, 0.33), centre, height, width)


def _crop(
    photo: np.ndarray,
    rng: np.random.Generator,
    share: float,
    centre: np.ndarray,
    height: int,
    width: int,
) -> np.ndarray:
    h, w = photo.shape[:2]
    side = share * min(h / height, w / width)
    ch, cw = max(int(side * height), 8), max(int(side * width), 8)
    y = int(np.clip(centre[0] * h - ch / 2, 0, h - ch))
    x = int(np.clip(centre[1] * w - cw / 2, 0, w - cw))
    crop = photo[y : y + ch, x : x + cw]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)
