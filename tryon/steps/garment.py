"""Step `cutout`: the garment without its plain background, letterboxed to 3:4; or its drawing."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tryon.contract import CANVAS_SIZES, NET_HEIGHT, NET_WIDTH
from tryon.errors import BadShape
from tryon.steps.ground import beside_shadows, border_colour, foreground
from tryon.steps.pale import with_detail

_GREY, _PALE = np.full(3, 128.0), np.full(3, 220.0)
_LIKE_GREY = 24
"""Levels from that grey (in the farthest channel) within which a garment would vanish before it."""
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
        drawn, alpha = np.ascontiguousarray(painted[..., :3]), painted[..., 3]
        return CutOut(
            np.stack(cv2.split(resize(painted, width, height))),
            _laid_on(drawn, alpha, _ground_for(drawn, alpha)),
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


def make_canvas(
    garment: np.ndarray, size: tuple[int, int], whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The garment as the generator and the image encoder take it.

    Args:
        garment: uint8 (H, W, 3), or (H, W, 4) whose alpha is then kept.
        size: canvas's height and width, 3:4.
        whole: keep the background, too, as if it were not plain.

    Returns:
        canvas uint8 (4, *size), R, G, B and A: white cloth with its detail (`pale.with_detail`),
        the alpha 0 in the background where one was found (and always in the letterbox's bars); and
        garment_net uint8 (NET_HEIGHT, NET_WIDTH, 3): the same small, without that detail, the
        background as `background_of` has it.
    """
    if garment.shape[2] == 4 and garment[..., 3].min() >= 250:
        garment = garment[..., :3]  # a picture's format, not a garment that is cut out
    garment = shrunk(garment, size)
    height, width = garment.shape[:2]
    side = min(_SEARCH_SIDE, max(size) * _SEARCH_SHARE)
    scale = min(1.0, side / max(height, width))
    # Averaged where it is sampled; to find the background, neighbours will do (1 ms less).
    small = resize(garment, max(1, round(width * scale)), max(1, round(height * scale)), much=2)
    alpha, fill = (None, border_colour(small)[0]) if whole else background_of(small)
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
    opaque: np.ndarray
    if alpha is None:
        opaque = np.full((inner_h, inner_w), 255, np.uint8)
    else:
        opaque = _alpha_of(alpha, garment, box, (inner_h, inner_w))
        if garment.shape[2] == 4:
            # What lies under full transparency is arbitrary (often black), and edges mix with it.
            inner = np.where(opaque[..., None] == 0, fill.astype(np.uint8), inner)
    bars = (top, size[0] - inner_h - top, left, size[1] - inner_w - left)
    flat = cv2.copyMakeBorder(
        inner, *bars, cv2.BORDER_CONSTANT, value=[int(c) for c in np.rint(fill)]
    )
    opaque = cv2.copyMakeBorder(opaque, *bars, cv2.BORDER_CONSTANT)
    net = resize(flat, NET_WIDTH, NET_HEIGHT)
    if alpha is not None:
        net = _laid_on(net, resize(opaque, NET_WIDTH, NET_HEIGHT), fill)
    # The networks learned from pictures as they are.
    return np.stack([*cv2.split(with_detail(flat, opaque)), opaque]), net


def background_of(picture: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Where a garment's picture is background, and what the network sees in its place.

    Args:
        picture: uint8 (H, W, 3), or (H, W, 4) whose alpha is kept.

    Returns:
        uint8 (H, W) alpha with soft edges, or None where there is no plain background; and the
        colour (3,) that the background has for the network: of `_ground_for` where it is known as
        a whole, so that no shadow is taken for cloth and no cloth for shadow, else its own.
    """
    rgb = np.ascontiguousarray(picture[..., :3])
    if picture.shape[2] == 4:
        return picture[..., 3], _ground_for(rgb, picture[..., 3])
    colour, plain = border_colour(rgb)
    if not plain:
        return None, colour
    alpha = foreground(rgb, colour)
    if alpha is None:
        return beside_shadows(rgb, colour), colour
    return alpha, _ground_for(rgb, alpha)


def _ground_for(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colour (3,) before which the networks see a garment: grey, but for grey garments.

    Args:
        picture: uint8 (H, W, 3); alpha: uint8 (H, W).
    """
    cloth = picture[::4, ::4][alpha[::4, ::4] > 127]  # every pixel would take milliseconds
    like = len(cloth) > 0 and np.abs(np.median(cloth, axis=0) - _GREY).max() < _LIKE_GREY
    return _PALE if like else _GREY


def without_background(picture: np.ndarray) -> np.ndarray:
    """A garment's picture (H, W, 3) of the network's size as the network sees it, uint8."""
    height, width = picture.shape[:2]
    # Its background is looked for at about the size at which it is served.
    large = cv2.resize(picture, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    alpha, fill = background_of(large)
    return picture if alpha is None else _laid_on(picture, resize(alpha, width, height), fill)


def _laid_on(picture: np.ndarray, alpha: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): the picture before a plain colour (3,), alpha uint8 (H, W)."""
    laid = picture.copy()
    laid[alpha == 0] = fill.astype(np.uint8)
    rim = (alpha > 0) & (alpha < 255)
    share = alpha[rim][:, None].astype(np.float32) / 255
    laid[rim] = np.rint(picture[rim] * share + (1 - share) * fill)
    return laid


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
