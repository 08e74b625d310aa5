"""Step `cutout`: the garment without its plain background, letterboxed to 3:4; or its drawing."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tryon.contract import CANVAS_SIZES, NET_HEIGHT, NET_WIDTH
from tryon.errors import BadShape

_NEAR = 10
"""How far (in the farthest channel) a pixel may be from the border's colour as background."""
_SHADOW, _SHADOW_TINT = 70, 8
"""A garment's shadow on a plain background: this much darker, in nearly the same tint."""
_MARGIN = 0.06
_SEARCH_SHARE, _SEARCH_SIDE = 0.75, 512
"""The background is looked for in a copy of this share of the canvas's height, at most so many
pixels a side."""


class CutOut(NamedTuple):
    """The step's outputs, in the contract's order."""

    canvas: np.ndarray
    garment_net: np.ndarray


def cutout(cloth: np.ndarray, size: np.ndarray, painted: np.ndarray) -> CutOut:
    """Finds the garment in its picture, or takes the one painted from the words.

    Args:
        cloth: uint8 (H, W, 3 or 4), or (1, 1, 3) for none.
        size: int32 (2,), the canvas's height and width.
        painted: uint8 (256, 192, 4) where there is none, else of any size: it isn't read.

    Returns:
        canvas uint8 (4, *size), garment_net uint8 (256, 192, 3).

    Raises:
        BadShape: a size that is not of CANVAS_SIZES, no pixels, or a drawing of another size.
    """
    height, width = (int(s) for s in size)
    if (height, width) not in CANVAS_SIZES:  # who calls this step by its name may send anything
        raise BadShape(f"canvas_size: ({height}, {width}): send one of {CANVAS_SIZES}")
    if cloth.ndim != 3 or cloth.shape[2] not in (3, 4) or not cloth.size:
        raise BadShape(f"cloth: {tuple(cloth.shape)}: send pixels (height, width, 3 or 4)")
    if cloth.shape[:2] == (1, 1):
        if painted.shape != (NET_HEIGHT, NET_WIDTH, 4):
            raise BadShape(f"painted: {painted.shape}: send ({NET_HEIGHT}, {NET_WIDTH}, 4)")
        return CutOut(
            np.stack(cv2.split(resize(painted, width, height))),
            np.ascontiguousarray(painted[..., :3]),
        )
    return CutOut(*make_canvas(cloth, (height, width)))


def canvas_size(person_height: int, person_width: int) -> tuple[int, int]:
    """Height and width of the canvas for a person picture of that size (`CANVAS_SIZES`' rule)."""
    wanted = max(person_height, person_width) / 1.34
    return next((size for size in CANVAS_SIZES if size[0] >= wanted), CANVAS_SIZES[-1])


def resize(image: np.ndarray, width: int, height: int, much: float = 1.5) -> np.ndarray:
    """`image` at another size: area-averaged where it shrinks by `much`, else interpolated."""
    rows, columns = image.shape[:2]
    while rows >= 2 * height and columns >= 2 * width and not (rows % 2 or columns % 2):
        # Whole pixels averaged two by two are several times as fast as any other ratio.
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    if (columns, rows) == (width, height):
        return image
    shrinks = max(columns / width, rows / height)
    how = cv2.INTER_AREA if shrinks > much else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)


def shrunk(garment: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, C) whose longer side is less than twice the longer one of `size`: halved as
    often as needed."""
    while max(garment.shape[:2]) >= 2 * max(size):
        # Whole pixels averaged two by two are several times as fast as any other ratio.
        even = (garment.shape[0] // 2 * 2, garment.shape[1] // 2 * 2)
        if min(even) < 2:
            break
        halved = (even[1] // 2, even[0] // 2)
        garment = cv2.resize(garment[: even[0], : even[1]], halved, interpolation=cv2.INTER_AREA)
    return garment


def make_canvas(garment: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The garment as the generator and the image encoder take it.

    Args:
        garment: uint8 (H, W, 3), or (H, W, 4) whose alpha is then kept.
        size: canvas's height and width, 3:4.

    Returns:
        canvas uint8 (4, *size), R, G, B and A, the alpha 0 in the background where one was found
        (and always in the letterbox's bars), and garment_net uint8 (NET_HEIGHT, NET_WIDTH, 3): its
        RGB, small.
    """
    garment = shrunk(garment, size)
    height, width = garment.shape[:2]
    side = min(_SEARCH_SIDE, max(size) * _SEARCH_SHARE)
    scale = min(1.0, side / max(height, width))
    # Averaged where it is sampled; to find the background, neighbours will do (1 ms less).
    small = resize(garment, max(1, round(width * scale)), max(1, round(height * scale)), much=2)
    if garment.shape[2] == 4 and small[..., 3].min() < 250:
        alpha: np.ndarray | None = small[..., 3]
        colour = np.full(3, 255.0)
    else:
        small = np.ascontiguousarray(small[..., :3])
        colour, plain = border_colour(small)
        alpha = foreground(small, colour) if plain else None
    rgb = garment[..., :3]
    if alpha is None:
        box = (0, 0, width, height)
    else:
        box = _box(alpha, (height, width))
    x0, y0, x1, y1 = box
    fit = min(size[1] / (x1 - x0), size[0] / (y1 - y0))
    inner_w = min(size[1], max(1, round((x1 - x0) * fit)))
    inner_h = min(size[0], max(1, round((y1 - y0) * fit)))
    left, top = (size[1] - inner_w) // 2, (size[0] - inner_h) // 2
    inner = resize(np.ascontiguousarray(rgb[y0:y1, x0:x1]), inner_w, inner_h)
    if alpha is None:
        opaque = np.full((inner_h, inner_w), 255, np.uint8)
    else:
        opaque = _alpha_of(alpha, garment, box, (inner_h, inner_w))
        if garment.shape[2] == 4:
            # What lies under full transparency is arbitrary (often black): show the network white.
            inner = np.where(opaque[..., None] == 0, np.uint8(255), inner)
    bars = (top, size[0] - inner_h - top, left, size[1] - inner_w - left)
    fill = [int(c) for c in np.rint(colour)]
    flat = cv2.copyMakeBorder(inner, *bars, cv2.BORDER_CONSTANT, value=fill)
    canvas = np.stack([*cv2.split(flat), cv2.copyMakeBorder(opaque, *bars, cv2.BORDER_CONSTANT)])
    return canvas, resize(flat, NET_WIDTH, NET_HEIGHT)


def border_colour(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Median colour (3,) of the outermost pixels of uint8 (H, W, 3), and whether most have it."""
    edge = max(1, min(image.shape[:2]) // 100)
    border = np.concatenate([
        image[:edge].reshape(-1, 3), image[-edge:].reshape(-1, 3),
        image[:, :edge].reshape(-1, 3), image[:, -edge:].reshape(-1, 3),
    ])  # fmt: skip
    colour = np.median(border, axis=0)
    near = np.abs(border - colour).max(axis=1) <= _NEAR + 4
    return colour, bool(near.mean() >= 0.7)


def foreground(image: np.ndarray, colour: np.ndarray) -> np.ndarray | None:
    """The garment on a plain background.

    Args:
        image: uint8 (H, W, 3).
        colour: (3,) the background's.

    Returns:
        uint8 (H, W) alpha with soft edges, or None where the garment can't be told from it.
    """
    near, shadow = _within(image, colour - _NEAR, colour + _NEAR), _shadow(image, colour)
    closer = _within(image, colour - _NEAR // 2, colour + _NEAR // 2)
    # With its shadow first; where that eats into a pale garment, without and closer; else none.
    for background, tolerance in ((near | shadow, _NEAR), (near, _NEAR), (closer, _NEAR // 2)):
        mask = _fill_from_border(background)
        if _plausible(mask, _within(image, colour - 2 * tolerance, colour + 2 * tolerance)):
            return cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    return None


def _within(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """uint8 (H, W): 255 where every channel lies between the two colours, else 0."""
    return cv2.inRange(image, low.clip(0, 255), high.clip(0, 255))


def _shadow(image: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """uint8 (H, W): 255 where the colour could be the background's, in a soft shadow."""
    darker = _within(image, colour - _SHADOW, colour)
    below = cv2.subtract((*colour, 0.0), image, dtype=cv2.CV_8U)  # type: ignore[call-overload]
    one, two, three = cv2.split(below)
    tint = cv2.subtract(cv2.max(cv2.max(one, two), three), cv2.min(cv2.min(one, two), three))
    return darker & cv2.threshold(tint, _SHADOW_TINT, 255, cv2.THRESH_BINARY_INV)[1]


def _fill_from_border(background: np.ndarray) -> np.ndarray:
    """uint8 (H, W): 255 but for the background that is joined to the border, 0 there."""
    area = cv2.copyMakeBorder(background, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(255,))
    cv2.floodFill(area, None, (0, 0), (128,))
    mask = np.where(area[1:-1, 1:-1] == 128, np.uint8(0), np.uint8(255))
    # Specks are noise of the background; the garment is one piece, or a few large ones.
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count > 2:
        areas = stats[:, cv2.CC_STAT_AREA]
        kept = np.where(areas >= 0.02 * areas[1:].max(), 255, 0).astype(np.uint8)
        kept[0] = 0
        mask = kept[labels]
    return np.ascontiguousarray(mask)


def _plausible(mask: np.ndarray, pale: np.ndarray) -> bool:
    """Whether a mask looks like a whole garment, not like one the fill has eaten into.

    Args:
        mask: uint8 (H, W), 255 on the garment.
        pale: uint8 (H, W), 255 where a pixel is hardly outside the fill's tolerance.
    """
    area = cv2.countNonZero(mask)
    if not 0.04 <= area / mask.size <= 0.96:
        return False
    # A fill that leaked in leaves outlines and folds, which opening wipes out; a whole garment,
    # with thin straps even, keeps most of its area.
    side = max(3, round(min(mask.shape) * 0.025))
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    if cv2.countNonZero(opened) < 0.85 * area:
        return False
    # It stopped at the garment's edge if the other side of the edge is clearly another colour;
    # where it ran out inside the garment, the colours go over into each other.
    rim = mask & ~cv2.erode(mask, np.ones((7, 7), np.uint8))
    return cv2.countNonZero(rim & pale) <= 0.2 * cv2.countNonZero(rim)


def _box(alpha: np.ndarray, full: tuple[int, int]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in the full-size picture: what is opaque in `alpha`, and a margin."""
    points = cv2.findNonZero((alpha > 127).astype(np.uint8))
    if points is None:
        return 0, 0, full[1], full[0]
    x, y, w, h = cv2.boundingRect(points)
    margin = _MARGIN * max(w, h)
    sx, sy = full[1] / alpha.shape[1], full[0] / alpha.shape[0]
    x0, y0 = max(0, int((x - margin) * sx)), max(0, int((y - margin) * sy))
    x1 = min(full[1], int(np.ceil((x + w + margin) * sx)))
    y1 = min(full[0], int(np.ceil((y + h + margin) * sy)))
    return x0, y0, x1, y1


def _alpha_of(
    alpha: np.ndarray, garment: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]
) -> np.ndarray:
    """uint8 `size`: the alpha inside `box` (full-size pixels)."""
    x0, y0, x1, y1 = box
    if garment.shape[2] == 4:
        return resize(np.ascontiguousarray(garment[y0:y1, x0:x1, 3]), size[1], size[0])
    # The found alpha lies at the smaller size: map the box's own edges, to the subpixel.
    sx, sy = alpha.shape[1] / garment.shape[1], alpha.shape[0] / garment.shape[0]
    kx, ky = (x1 - x0) * sx / size[1], (y1 - y0) * sy / size[0]
    to_small = np.array([[kx, 0, x0 * sx + kx / 2 - 0.5], [0, ky, y0 * sy + ky / 2 - 0.5]])
    return cv2.warpAffine(
        alpha, to_small, (size[1], size[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
