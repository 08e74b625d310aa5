"""Real collars outlined by hand: where a garment's outer face ends at its neck.

E^I's mask leaves out a garment's inside, which nobody sees when it is worn. How far the inside of a
real collar goes is not learned from rendered ones: leaves that are folded over, hangers, labels.
`necklines.json` holds for each of some photos of the CC0 clothing data set `box` (x, y and side of
a square in pixels of the 256x192 picture that `make_canvas` makes of the photo) and `face`, the
garment's outline in it from its left side to its right one, in 0..1 of the box; below the outline
is garment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from training.data.camera import Camera
from training.data.real_photos import held_out, manifest_of
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.steps.garment import make_canvas

FILE = Path(__file__).with_name("necklines.json")
_RIM = 2
"""Pixels of the box's own rim in which nothing is known: the outline was drawn within it."""


@dataclass(frozen=True)
class Neckline:
    """A photo as E^I sees it, uint8 (256, 192, 3); the garment's outer face, and where that is
    known, float32 (256, 192) each, 0 or 1."""

    photo: np.ndarray
    face: np.ndarray
    known: np.ndarray

    def corrected(self, mask: np.ndarray) -> np.ndarray:
        """A garment's mask, float (256, 192) in 0..1, with this collar: but for its rim, which was
        drawn by hand, it is all garment or none."""
        rim = np.ones((3, 3), np.uint8)
        sure = cv2.erode(self.face, rim) * self.known
        beyond = cv2.erode(1 - self.face, rim) * self.known
        return np.maximum(mask, sure) * (1 - beyond)


def outlined_in(photos: Path) -> dict[str, Neckline]:
    """The outlined photos of a folder by file name; those that it lacks, or that are no pictures,
    are left out."""
    outlines = json.loads(FILE.read_text())
    read = {name: cv2.imread(str(photos / "images" / name)) for name in outlines}
    return {n: _neckline(image, outlines[n]) for n, image in read.items() if image is not None}


class Necklines:
    """The outlined photos of a folder; split "train" or "test" by sender.

    Raises:
        FileNotFoundError: no manifest, or none of the outlined photos there.
    """

    def __init__(self, photos: Path, split: str = "train") -> None:
        senders = {row["file"]: row["sender"] for row in manifest_of(photos)}
        self.necklines = [
            neckline for name, neckline in outlined_in(photos).items()
            if name in senders and held_out(senders[name]) == (split == "test")
        ]  # fmt: skip
        if not self.necklines:
            raise FileNotFoundError(
                f"{photos} holds none of the photos of the split {split!r} that "
                f"{FILE.name} outlines: it is not the clothing data set of docs/third_party.md"
            )

    def draw(
        self, rng: np.random.Generator, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random ones, moved, turned and taken by another camera.

        Returns:
            uint8 (count, 256, 192, 3), float32 (count, 256, 192) and the same: as `Neckline`.
        """
        drawn = [self._drawn(rng) for _ in range(count)]
        photos, faces, known = (np.stack(part) for part in zip(*drawn, strict=True))
        return photos, faces, known

    def batch(self, seed: Sequence[int], count: int) -> dict[str, torch.Tensor]:
        """What a training step takes of `draw`, by random numbers of its own."""
        photos, faces, known = self.draw(np.random.default_rng(seed), count)
        return {
            "neckline_photos": torch.from_numpy(photos),
            "neckline_faces": torch.from_numpy(faces),
            "neckline_known": torch.from_numpy(known),
        }

    def _drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        neckline = self.necklines[int(rng.integers(len(self.necklines)))]
        scale, angle = rng.uniform(0.7, 1.1), rng.normal(0, 7)
        move: np.ndarray = cv2.getRotationMatrix2D((NET_WIDTH / 2, NET_HEIGHT / 2), angle, scale)
        move[:, 2] += rng.uniform(-0.08, 0.08, 2) * np.array([NET_WIDTH, NET_HEIGHT])
        if rng.random() < 0.5:
            move = move @ np.array([[-1.0, 0, NET_WIDTH - 1], [0, 1, 0], [0, 0, 1]])
        size = (NET_WIDTH, NET_HEIGHT)
        photo = cv2.warpAffine(neckline.photo, move, size, borderMode=cv2.BORDER_REPLICATE)
        face = cv2.warpAffine(neckline.face, move, size)
        known = (cv2.warpAffine(neckline.known, move, size) > 0.99).astype(np.float32)
        shot = Camera(rng, 1.0, (NET_HEIGHT, NET_WIDTH))(photo.astype(np.float32) / 255)
        return shot, face, known


def _neckline(image: np.ndarray, outline: dict) -> Neckline:
    """`image` as OpenCV reads it: uint8 (H, W, 3), BGR."""
    rgb = np.ascontiguousarray(image[..., ::-1])
    net = make_canvas(rgb, (2 * NET_HEIGHT, 2 * NET_WIDTH), whole=True)[1]
    x, y, side = outline["box"]
    corners = [[1.0, 1.0], [0.0, 1.0]]
    points = (np.array(outline["face"] + corners) * side + [x, y]) * 16 - 8
    face = np.zeros((NET_HEIGHT, NET_WIDTH), np.uint8)
    cv2.fillPoly(face, [np.rint(points).astype(np.int32)], [255.0], cv2.LINE_AA, 4)
    known = np.zeros((NET_HEIGHT, NET_WIDTH), np.float32)
    top, left = max(y + _RIM, 0), max(x + _RIM, 0)
    known[top : y + side - _RIM, left : x + side - _RIM] = 1
    return Neckline(net, face.astype(np.float32) / 255, known)
