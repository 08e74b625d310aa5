"""Light, camera and background of composed pictures."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.places import room, street
from training.data.real_photos import RealPhotos


def tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    """A gain for each channel, float32 (3,), log-normal about 1."""
    return np.exp(rng.normal(0, spread, 3)).astype(np.float32)


def studio(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A wall with a light falling off, sometimes a floor."""
    base = rng.uniform(0.1, 1.0) * (1 + rng.normal(0, 0.06, 3))
    if rng.random() < 0.3:
        base = rng.uniform(0, 1, 3)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cx, cy = rng.uniform(0, width), rng.uniform(0, height)
    fall = 1 - rng.uniform(0, 0.5) * (((x - cx) / width) ** 2 + ((y - cy) / height) ** 2)
    wall = base[None, None] * fall[..., None]
    if rng.random() < 0.4:
        wall[int(height * rng.uniform(0.6, 1.0)) :] *= rng.uniform(0.5, 1.2)
    return np.clip(wall, 0, 1).astype(np.float32)


def backdrop(
    rng: np.random.Generator, photos: RealPhotos | None, height: int, width: int, real: float
) -> np.ndarray:
    """Float32 (height, width, 3) in 0..1: a cut of a real photo (with chance `real`), or a studio's
    wall, a room, a street."""
    if photos is not None and rng.random() < real:
        return photos.background(rng, height, width).astype(np.float32) / 255
    made = (studio, room, street)[int(rng.choice(3, p=[0.4, 0.35, 0.25]))]
    return made(rng, height, width)


def shaded(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    """Gain float32 (h, w, 1) of a wall close behind somebody, in whose shadow it is.

    Args:
        alpha: float32 (h, w) in 0..1, the silhouette that throws it.
    """
    height, width = alpha.shape
    by = rng.uniform(-0.06, 0.06), rng.uniform(-0.01, 0.05)
    soft, strength = float(rng.uniform(1.5, 9)) * height / 256, float(rng.uniform(0.08, 0.5))
    move = np.array([[1, 0, by[0] * width], [0, 1, by[1] * height]], np.float32)
    thrown = cv2.GaussianBlur(cv2.warpAffine(alpha, move, (width, height)), (0, 0), soft)
    return (1 - strength * thrown)[..., None]


class Camera:
    """Light and camera of one picture pair: the same for both pictures."""

    def __init__(self, rng: np.random.Generator, strength: float, size: tuple[int, int]) -> None:
        s = strength
        # Light is taken off the photo and the garment's colour off its picture, so that what
        # differs between the two is noise to the network: keep it to what cameras do.
        self.light = tint(rng, 0.04 * s) * float(np.exp(rng.normal(0, 0.1 * s)))
        self.gamma = float(np.exp(rng.normal(0, 0.12 * s)))
        self.lift = float(rng.uniform(0, 0.06 * s))
        self.blur = float(rng.uniform(0.3, 1.1)) if rng.random() < 0.4 * s else 0.0
        self.noise = float(rng.uniform(0, 0.03 * s)) if rng.random() < 0.5 else 0.0
        self.grain = (
            rng.standard_normal((*size, 1), dtype=np.float32)
            if self.noise
            else np.zeros(1, np.float32)
        )
        self.motion = _streak(rng) if rng.random() < 0.06 * s else None
        self.shrunk = float(rng.uniform(0.45, 0.8)) if rng.random() < 0.08 * s else 1.0
        self.sharpened = float(rng.uniform(0.2, 0.9)) if rng.random() < 0.15 * s else 0.0
        self.jpeg = int(rng.integers(35, 90)) if rng.random() < 0.15 * s else 0

    def __call__(self, linear: np.ndarray) -> np.ndarray:
        """Float (h, w, 3) about 0..1 to uint8."""
        x: np.ndarray = np.clip(linear * self.light.astype(np.float32), 0, 1)
        x = cv2.pow(x, self.gamma) * (1 - self.lift) + self.lift
        if self.motion is not None:
            x = cv2.filter2D(x, -1, self.motion, borderType=cv2.BORDER_REPLICATE)
        if self.blur:
            x = cv2.GaussianBlur(x, (0, 0), self.blur)
        if self.noise:
            x = x + self.noise * self.grain
        if self.shrunk < 1:
            small = cv2.resize(x, (0, 0), fx=self.shrunk, fy=self.shrunk,
                               interpolation=cv2.INTER_AREA)  # fmt: skip
            x = cv2.resize(small, x.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        if self.sharpened:
            x = x + self.sharpened * (x - cv2.GaussianBlur(x, (0, 0), 1.0))
        picture = cv2.convertScaleAbs(np.clip(x, 0, 1), alpha=255)
        if self.jpeg:
            # The order of the channels matters to JPEG alone a little: OpenCV's is BGR.
            coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])[1]
            picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        return picture


def _streak(rng: np.random.Generator) -> np.ndarray:
    """The kernel of a camera or a body that moves: a short line, float32 (9, 9), sums to 1."""
    kernel = np.zeros((9, 9), np.float32)
    angle, reach = rng.uniform(0, np.pi), rng.uniform(1.0, 2.5)
    x, y = reach * np.cos(angle), reach * np.sin(angle)
    first, last = ([round((4 + s * x) * 16), round((4 + s * y) * 16)] for s in (-1, 1))
    cv2.line(kernel, first, last, [1.0], 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()
