"""Real photos whose upper garment is outlined by hand: to measure the parse on, and to teach it.

The ten outdoor photos of `openpeople` and the four standing people of `openvto` (generated people,
no render of ours), and skimage's astronaut, a photograph; outlined by eye in `upper_masks.json`:
good to about 0.03 of IoU. What is worn beneath an open jacket counts as the same garment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from training.data.blocks import colour_blocks, dyed
from training.data.camera import Camera
from training.data.compose import MARGIN
from training.data.photographs import trained_people
from training.trial import pixels
from tryon.assets import asset_path
from tryon.contract import CATEGORIES, NET_WIDTH, POSE_SIZE
from tryon.models.pose import Detector
from tryon.preprocess import square_around, window_from_anchors
from tryon.steps.crop import anchors_in_photo, find_person, resample
from tryon.steps.thumbnail import thumbnail

MASKS = Path(__file__).with_name("upper_masks.json")
SIDE = 768
"""The photos are scaled down to so many pixels."""
_UNSURE = 3
"""Pixels of the view along an outline that teach nothing: it was drawn by eye."""
_DYED, _BLOCKS = 0.7, 0.4
"""Shares that get another colour, and of these in a part alone."""


def drawn_masks() -> dict[str, list[np.ndarray]]:
    """Photo, as `photo_of` takes it -> outlines (n, 2), x and y in 0..1 of the photo."""
    return {
        name: [np.array(outline, np.float32) for outline in outlines]
        for name, outlines in json.loads(MASKS.read_text()).items()
    }


def taught() -> list[str]:
    """The photos that a training may see: of people whom it sees in others, too."""
    people = tuple(f"openpeople/{name}/" for name in trained_people())
    return [name for name in drawn_masks() if name.startswith(people)]


def photo_of(name: str, side: int = SIDE) -> np.ndarray:
    """A photo whose longer side is at most `side`, uint8 (H, W, 3).

    Args:
        name: the asset's name and the path in it, or "skimage/" and a function of `skimage.data`.
    """
    source, path = name.split("/", 1)
    if source != "skimage":
        return pixels(asset_path(source) / path, side)
    from skimage import data

    photo: np.ndarray = getattr(data, path)()
    scale = min(1.0, side / max(photo.shape[:2]))
    return cv2.resize(photo, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def filled(outlines: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """bool (height, width): inside any of the outlines."""
    mask = np.zeros((height, width), np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.rint(outline * [width, height]).astype(np.int32)], (1,))
    return mask > 0


@dataclass
class _Outlined:
    """A photo uint8 (H, W, 3), its top uint8 (H, W), 255 inside, and the squares (4,) of the views
    for each category, in its pixels."""

    photo: np.ndarray
    top: np.ndarray
    squares: list[np.ndarray]


class OutlinedPeople:
    """The photos of `taught`, for training.

    Raises:
        tryon.assets.AssetError: a package can't be had.
    """

    def __init__(self) -> None:
        detector, masks = Detector(), drawn_masks()
        self._people = [_outlined(detector, name, masks[name]) for name in taught()]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A random one, seen in a view of its own by another camera, most in another colour.

        Returns:
            uint8 (256, 256, 3), the person; float32 (256, 192), the top, and where that is known.
        """
        own = self._people[int(rng.integers(len(self._people)))]
        square = own.squares[int(rng.choice(len(own.squares), p=[0.6, 0.2, 0.2]))]
        side = square[2] - square[0]
        grown = side * np.exp(rng.uniform(np.log(0.85), np.log(1.25)))
        middle = (square[:2] + square[2:]) / 2 + rng.uniform(-0.08, 0.08, 2) * side
        square = np.concatenate([middle - grown / 2, middle + grown / 2])
        photo = resample(own.photo, square, POSE_SIZE)
        top = resample(own.top[..., None].repeat(3, 2), square, POSE_SIZE)[..., 0] > 127
        scene = photo.astype(np.float32) / 255
        if top.any() and rng.random() < _DYED:
            scene = _dyed(rng, scene, top)
        shot = Camera(rng, 1.0, (POSE_SIZE, POSE_SIZE))(scene)
        if rng.random() < 0.5:
            shot, top = shot[:, ::-1], top[:, ::-1]
        inside = top.astype(np.uint8)
        around = np.ones((2 * _UNSURE + 1, 2 * _UNSURE + 1), np.uint8)
        known = cv2.dilate(inside, around) == cv2.erode(inside, around)
        view = slice(MARGIN, MARGIN + NET_WIDTH)
        return (
            np.ascontiguousarray(shot),
            top[:, view].astype(np.float32),
            known[:, view].astype(np.float32),
        )

    def batch(self, seed: Sequence[int], count: int) -> dict[str, torch.Tensor]:
        """What a training step takes of so many of `draw`, by random numbers of its own."""
        rng = np.random.default_rng(seed)
        people, tops, known = zip(*(self.draw(rng) for _ in range(count)), strict=True)
        return {
            "outlined_people": torch.from_numpy(np.stack(people)),
            "outlined_tops": torch.from_numpy(np.stack(tops)),
            "outlined_known": torch.from_numpy(np.stack(known)),
        }


def _outlined(detector: Detector, name: str, outlines: list[np.ndarray]) -> _Outlined:
    photo = photo_of(name)
    with torch.no_grad():
        boxes, scores = detector(torch.from_numpy(thumbnail(photo)[None]))
    person = find_person(boxes[0].numpy(), scores[0].numpy())
    anchors = anchors_in_photo(person, *photo.shape[:2])
    squares = [square_around(window_from_anchors(*anchors, kind)) for kind in CATEGORIES]
    top = filled(outlines, *photo.shape[:2]).astype(np.uint8) * 255
    return _Outlined(photo, top, squares)


def _dyed(rng: np.random.Generator, scene: np.ndarray, top: np.ndarray) -> np.ndarray:
    """The top in another colour, or a part of it; its folds and light are kept."""
    blocks = colour_blocks(rng, top, np.zeros_like(top))
    if blocks is None:
        return scene
    if rng.random() > _BLOCKS:
        blocks[..., 3] = cv2.blur(top.astype(np.float32), (3, 3)) * top
    return dyed(scene, top, blocks)
