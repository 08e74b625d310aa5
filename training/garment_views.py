"""Garments for pretraining: two views of the same one, and a sentence about it.

Rendered garments come with their captions; real ones, of a folder of photos, with what its manifest
calls them. Pictures of both are turned, scaled, lit and hidden in part, as no two photos of a
garment in a shop are alike. The same number and seed give the same views, so a run can resume.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.data import Dataset

from training.captions import sample_caption
from training.data.real_photos import RealPhotos
from training.data.shards import CATEGORY_NAMES, load_scene
from training.dataset import scene_files
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH

LABELS = {
    "t-shirt": "a t-shirt", "longsleeve": "a top with long sleeves", "pants": "trousers",
    "shirt": "a shirt", "dress": "a dress", "shorts": "shorts", "outwear": "a jacket",
    "skirt": "a skirt", "polo": "a polo shirt", "blazer": "a blazer", "undershirt": "a tank top",
    "hoodie": "a hoodie", "top": "a top", "blouse": "a blouse",
}  # fmt: skip
"""What a manifest calls garments, in a caption's words; others are said as they are."""
REAL = 0.5
"""Share of real garments, where photos are given."""


class GarmentViews(Dataset[dict[str, Any]]):
    """Endless: item k is a garment drawn with the random numbers of (seed, k).

    An item holds `one` and `other`, uint8 (256, 192, 3); `category`, an index into
    `contract.CATEGORIES`; `caption`.

    Raises:
        FileNotFoundError, ValueError: no scenes or no photos there, see `scene_files`.
    """

    def __init__(self, pairs: Path, photos: Path | None, seed: int, split: str = "train") -> None:
        self.scenes, self.seed = scene_files(pairs, split), seed
        self.photos = RealPhotos(photos, split) if photos is not None else None

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, number: int) -> dict[str, Any]:
        cv2.setNumThreads(0)
        rng = np.random.default_rng([self.seed, number])
        if self.photos is not None and rng.random() < REAL:
            picture, category, label = self.photos.described(rng)
            caption = LABELS.get(label, label)
        else:
            picture, category, caption = self._rendered(rng)
        return {
            "one": view_of(picture, rng), "other": view_of(picture, rng),
            "category": CATEGORIES.index(category), "caption": caption,
        }  # fmt: skip

    def _rendered(self, rng: np.random.Generator) -> tuple[np.ndarray, str, str]:
        while True:
            scene = load_scene(self.scenes[int(rng.integers(len(self.scenes)))])
            garments = scene.meta["garments"]
            shown = [i for i, g in enumerate(garments) if g["shop_mode"] != "photographed"]
            if shown:
                chosen = int(rng.choice(shown))
                picture = scene.shop_picture(chosen, float(rng.uniform(150, 255)))
                category = CATEGORY_NAMES[int(scene.garment_category[chosen])]
                return picture, category, sample_caption(garments[chosen], rng)


def view_of(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture of a garment as another photo might show it: uint8 (256, 192, 3).

    Colours stay nearly what they are, since sentences name them.
    """
    height, width = picture.shape[:2]
    scale = min(NET_HEIGHT / height, NET_WIDTH / width) * rng.uniform(0.8, 1.15)
    size, own = np.array([NET_WIDTH, NET_HEIGHT]), np.array([width, height])
    turn = np.asarray(
        cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-12, 12)), scale),
        np.float64,
    )
    turn[:, 2] += (size - own) / 2 + rng.uniform(-0.06, 0.06, 2) * size
    edge = np.median(np.concatenate([picture[0], picture[-1]]), 0)
    laid = cv2.warpAffine(
        picture, turn, (NET_WIDTH, NET_HEIGHT), flags=cv2.INTER_AREA, borderValue=edge.tolist()
    )
    seen: np.ndarray = laid.astype(np.float32)
    seen = seen * rng.uniform(0.8, 1.15) * rng.uniform(0.95, 1.05, 3)
    if rng.random() < 0.4:
        seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.4, 1.5))))
    seen += rng.normal(0, rng.uniform(0, 6), seen.shape)
    if rng.random() < 0.5:  # something lies before it
        h, w = rng.integers(20, 70, 2)
        y, x = rng.integers(NET_HEIGHT - h), rng.integers(NET_WIDTH - w)
        seen[y : y + h, x : x + w] = rng.uniform(0, 255, 3)
    return np.clip(seen, 0, 255).astype(np.uint8)
