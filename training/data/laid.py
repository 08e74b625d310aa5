"""A real garment laid onto a rendered one: the photo is the in-shop picture, the render the truth.

Where the rendered garment's in-shop picture and the real one correspond is a thin-plate spline
through the landmarks that both have, and then through their outlines, snapped to each other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from training.baselines import spline_flow
from training.data.cutouts import INDEX
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH

LABELS: dict[str, tuple[str, ...]] = {
    "upper sleeveless": ("undershirt",),
    "upper short": ("t-shirt",),
    "upper short collar": ("polo", "shirt"),
    "upper elbow": ("t-shirt",),
    "upper elbow collar": ("shirt", "polo"),
    "upper long": ("longsleeve", "hoodie"),
    "upper long collar": ("shirt", "outwear", "blazer"),
    "lower shorts": ("shorts",),
    "lower trousers": ("pants",),
    "lower skirt": ("skirt",),
    "dress": ("dress",),
}
"""Which real garments can be laid onto a rendered one."""
LEAST_MARKS = 6
_WITH_MARKS = 0.5
"""Least share of a folder's cutouts that have so many landmarks."""
LEAST_OVERLAP = 0.93
"""Least IoU of the real garment's mask, brought over, with the rendered one's."""
_OUTLINE, _SNAP = 48, 0.07
_GRID = (64, 48)


@dataclass
class Cutout:
    """A real garment: photo and filled uint8 (256, 192, 3), mask uint8 (256, 192), landmarks
    float32 (K, 3) x, y in 0..1 and how sure it is that there is one."""

    photo: np.ndarray
    filled: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray


def kind_of(attributes: dict[str, str]) -> str:
    """The key of LABELS for a rendered garment's attributes."""
    category = attributes["category"]
    if category == "upper":
        # A collar laid where a crew neck is would teach that collars are hidden by the throat; a
        # crew neck's inner back laid where a turtleneck is, that the throat is hidden by it.
        neck = attributes["neck"]
        return f"upper {attributes['sleeve']}" + f" {neck}" * (neck in ("collar", "high"))
    if category == "dress":
        return "dress"
    kind = attributes["kind"]
    return f"lower {kind if kind in ('shorts', 'skirt') else 'trousers'}"


class Cutouts:
    """The folder that `training.data.cutouts` writes; split "train" or "test" by sender.

    Raises:
        FileNotFoundError: not there; names the command that makes it.
        ValueError: most have too few landmarks to be laid: the weights that made them saw none.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(
                f"{folder / INDEX} is missing: `python -m training.data.cutouts --photos DIR "
                f"--out {folder}` makes it"
            )
        index = json.loads((folder / INDEX).read_text())
        if tuple(index["landmarks"]) != LANDMARKS:
            raise FileNotFoundError(f"{folder / INDEX} has other landmarks: make it again")
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.photos = np.load(folder / "photos.npy", mmap_mode="r")
        self.rows = index["cutouts"]
        laid = [sum(mark[2] > 0.5 for mark in r["landmarks"]) >= LEAST_MARKS for r in self.rows]
        if sum(laid) < _WITH_MARKS * len(laid):
            raise ValueError(
                f"{folder / INDEX}: {sum(laid)} of {len(laid)} cutouts have the {LEAST_MARKS} "
                "landmarks that it takes to lay one: make them again with trained weights"
            )
        self.by_kind: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            if row["test"] != (split == "test"):
                continue
            for kind, labels in LABELS.items():
                if row["label"] in labels:
                    self.by_kind.setdefault(kind, []).append(number)

    def draw(self, rng: np.random.Generator, kind: str) -> Cutout | None:
        """A random one of a kind, or None where there is none."""
        numbers = self.by_kind.get(kind)
        if not numbers:
            return None
        number = numbers[int(rng.integers(len(numbers)))]
        pixels = np.asarray(self.pixels[number])
        marks = np.array(self.rows[number]["landmarks"], np.float32)
        return Cutout(np.asarray(self.photos[number]), pixels[..., :3], pixels[..., 3], marks)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Points of a mask's longest outline in 0..1, float32 (n, 2)."""
    found, _ = cv2.findContours(
        (mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    if not found:
        return np.zeros((0, 2), np.float32)
    longest = max(found, key=len)[:, 0].astype(np.float32)
    return (longest + 0.5) / [NET_WIDTH, NET_HEIGHT]


def _spline(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """float32 (h, w, 2) of `_GRID`: where `there` each place `here` goes."""
    one, two = (torch.from_numpy(np.asarray(p, np.float32)) for p in (here, there))
    return spline_flow(one, two, *_GRID)[0].permute(1, 2, 0).numpy()


def _sample(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A map of `_GRID` at places (..., 2) in 0..1, bilinear."""
    height, width = grid.shape[:2]
    x = (places[..., 0] * width - 0.5).astype(np.float32)
    y = (places[..., 1] * height - 0.5).astype(np.float32)
    flat = x.ndim == 1
    out = cv2.remap(grid, x[None] if flat else x, y[None] if flat else y, cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return out[0] if flat else out


def lay(cutout: Cutout, alpha: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """Where each pixel of a rendered in-shop picture lies in the real garment's.

    Args:
        cutout: the real garment.
        alpha: uint8 (256, 192), the rendered garment in its in-shop picture, without its inside.
        landmarks: float32 (K, 3) of the rendered garment, x, y in 0..1 and whether it exists.

    Returns:
        float32 (64, 48, 2) in 0..1 of the real picture, or None where the two shapes don't fit.
    """
    both = (landmarks[:, 2] > 0.5) & (cutout.landmarks[:, 2] > 0.5)
    if both.sum() < LEAST_MARKS:
        return None
    here, there = landmarks[both, :2], cutout.landmarks[both, :2]
    grid = _spline(here, there)
    ours, theirs = _outline(alpha), _outline(cutout.mask)
    if len(ours) < _OUTLINE or len(theirs) < _OUTLINE:
        return None
    ours = ours[np.linspace(0, len(ours) - 1, _OUTLINE).astype(int)]
    for _ in range(2):
        moved = _sample(grid, ours)
        distance = np.linalg.norm((moved[:, None] - theirs[None]) * [0.75, 1.0], axis=2)
        nearest = distance.argmin(1)
        near = distance.min(1) < _SNAP
        if near.sum() < _OUTLINE // 2:
            return None
        # The outline is seen; the landmarks are guessed: they only hold the inside.
        grid = _spline(
            np.concatenate([ours[near], here]),
            np.concatenate([theirs[nearest[near]], 0.5 * there + 0.5 * _sample(grid, here)]),
        )
    wide = cv2.resize(grid, (NET_WIDTH, NET_HEIGHT), interpolation=cv2.INTER_LINEAR)
    brought = cv2.remap(
        cutout.mask, wide[..., 0] * NET_WIDTH - 0.5, wide[..., 1] * NET_HEIGHT - 0.5,
        cv2.INTER_LINEAR,
    )  # fmt: skip
    one, two = brought > 127, alpha > 127
    overlap = (one & two).sum() / max((one | two).sum(), 1)
    return grid if overlap >= LEAST_OVERLAP else None


def texture_of(cutout: Cutout, grid: np.ndarray) -> np.ndarray:
    """The real garment's colours at each pixel of the rendered in-shop picture: float32 in 0..1."""
    wide = cv2.resize(grid, (NET_WIDTH, NET_HEIGHT), interpolation=cv2.INTER_LINEAR)
    drawn = cv2.remap(
        cutout.filled, wide[..., 0] * NET_WIDTH - 0.5, wide[..., 1] * NET_HEIGHT - 0.5,
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return drawn.astype(np.float32) / 255


def flow_of(grid: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A flow (H, W, 2) into the rendered in-shop picture, led on into the real one: float32."""
    return _sample(grid, flow.astype(np.float32))


def mask_of(grid: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask uint8 (256, 192) of the rendered in-shop picture, in the real garment's: 255 or 0."""
    wide = cv2.resize(grid, (NET_WIDTH, NET_HEIGHT), interpolation=cv2.INTER_LINEAR)
    places = (wide[mask > 127] * [NET_WIDTH, NET_HEIGHT]).astype(int)
    inside = (places >= 0).all(1) & (places < [NET_WIDTH, NET_HEIGHT]).all(1)
    there = np.zeros((NET_HEIGHT, NET_WIDTH), np.uint8)
    there[places[inside, 1], places[inside, 0]] = 255
    # Where the real picture is larger there are gaps between the places.
    return cv2.morphologyEx(there, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))


def marks_of(grid: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The rendered garment's landmarks (K, 3) in the real garment's picture: float32.

    Without them E^I would learn that a photographed garment has no landmarks.
    """
    places = _sample(grid, landmarks[:, :2].astype(np.float32))
    return np.concatenate([places, landmarks[:, 2:]], 1).astype(np.float32)
