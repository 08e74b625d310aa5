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
_DARKEST = 0.4
"""Of the background's light: what a soft shadow takes at most."""
_DEEP = 0.6
"""A shadow is no darker than this share of the way from the background to a dark garment."""
_SHARP = 0.6
"""Of what lies within 3 pixels beyond a deep shadow: where more of it is plain ground already, it
is no shadow."""
_FADES = 0.65
"""How deep a shadow is beside the ground, of its median."""
_MOST_SHADOW = 0.08
"""Of the picture: what is more is not the shadow of pale cloth, but grey cloth."""
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
        canvas uint8 (4, *size), R, G, B and A, the alpha 0 in the background where one was found
        (and always in the letterbox's bars), and garment_net uint8 (NET_HEIGHT, NET_WIDTH, 3): its
        RGB, small, the background as `background_of` has it.
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
    return np.stack([*cv2.split(flat), opaque]), net


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
        return _beside_shadows(rgb, colour), colour
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
    near = _within(image, colour - _NEAR, colour + _NEAR)
    # Shadows are shares of the light: on dark ground what is much darker is cloth.
    shadow = _shadow(image, colour, min(_SHADOW, _DARKEST * float(colour.max())))
    closer = _within(image, colour - _NEAR // 2, colour + _NEAR // 2)
    # With its shadow first; where that eats into a pale garment, without and closer; else none.
    for background, tolerance in ((near | shadow, _NEAR), (near, _NEAR), (closer, _NEAR // 2)):
        mask = _fill_from_border(background)
        if _plausible(mask, _within(image, colour - 2 * tolerance, colour + 2 * tolerance)):
            if background is not near and background is not closer:
                mask = _without_deep_shadow(image, mask, near, colour)
            return _soft(mask)
    return None


def _beside_shadows(image: np.ndarray, colour: np.ndarray) -> np.ndarray | None:
    """All but the shadows that pale cloth throws on a pale background; E^I's mask does the rest.

    Args:
        image: uint8 (H, W, 3); colour: (3,) the background's.

    Returns:
        uint8 (H, W) alpha with soft edges, or None where there are no such shadows.
    """
    surface, noise = _lit_background(image, colour)
    if surface is None:
        return None
    above = image - surface
    level = cv2.max(cv2.max(above[..., 0], above[..., 1]), above[..., 2])
    tint = level - cv2.min(cv2.min(above[..., 0], above[..., 1]), above[..., 2])
    tolerance = min(max(4 * noise, 4.0), float(_NEAR))
    ground = (level <= tolerance) & (tint <= tolerance) & (level >= -_DARKEST * colour.max())
    mask = _fill_from_border(np.where(ground, np.uint8(255), np.uint8(0)))
    if not 0.2 * mask.size <= cv2.countNonZero(mask) <= 0.96 * mask.size:
        return None  # the fill ran through the cloth: a print is as well joined to the ground
    side = max(3, round(min(mask.shape) * 0.025))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    # JPEG's colours are as coarse as 16 pixels: beside the cloth a shadow has some of its tint.
    outside = cv2.dilate(cv2.bitwise_not(mask), np.ones((5, 5), np.uint8))
    dark = (level < -min(max(5 * noise, 5.0), float(_NEAR))) & (tint <= 2 * _SHADOW_TINT)
    dark &= level >= -_DARKEST * colour.max()
    # Creases that reach the outline are thinner.
    shadow = cv2.morphologyEx(np.where(dark & (outside > 0), np.uint8(255), np.uint8(0)),
                              cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))  # fmt: skip
    plain = np.where(ground & (level >= -tolerance) & (mask == 0), np.uint8(255), np.uint8(0))
    plain = cv2.morphologyEx(plain, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    beside = cv2.dilate(plain, np.ones((7, 7), np.uint8))
    for box, piece in _pieces(shadow):
        edge = (piece > 0) & (beside[box] > 0)
        depth = -level[box]
        # A shadow fades into the ground; a grey stripe or hem ends at it.
        if not edge.any() or depth[edge].mean() > _FADES * np.median(depth[piece > 0]):
            shadow[box][piece > 0] = 0
    if not 0 < cv2.countNonZero(shadow) <= _MOST_SHADOW * shadow.size:
        return None
    return cv2.GaussianBlur(255 - cv2.dilate(shadow, np.ones((3, 3), np.uint8)), (0, 0), 0.8)


def _soft(mask: np.ndarray) -> np.ndarray:
    """uint8 (H, W): the mask a pixel smaller, its edges soft."""
    return cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 0.8)


def _lit_background(image: np.ndarray, colour: np.ndarray) -> tuple[np.ndarray | None, float]:
    """A plain background as its light falls off, and the noise about it.

    White cloth lies before white paper within fewer levels than the paper's own corners differ.

    Args:
        image: uint8 (H, W, 3); colour: (3,) the border's.

    Returns:
        float32 (H, W, 3), each channel a parabola over the picture, fitted to its border, or None
        where there is too little of it; and how far the border is from that (root mean square).
    """
    height, width = image.shape[:2]
    edge = max(1, min(height, width) // 25)
    border = np.ones((height, width), bool)
    border[edge:-edge, edge:-edge] = False
    border &= _within(image, colour - 1.5 * _NEAR, colour + 1.5 * _NEAR) > 0
    rows, columns = (places[:: max(1, len(places) // 2000)] for places in np.nonzero(border))
    if len(rows) < 200:
        return None, 0.0

    def terms(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        y, x = y / height - 0.5, x / width - 0.5
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1).astype(np.float32)

    seen = image[rows, columns].astype(np.float32)
    known = terms(rows, columns)
    fit = np.linalg.lstsq(known, seen, rcond=None)[0]
    noise = float(np.sqrt(np.square(known @ fit - seen).mean()))
    # A parabola on few pixels is nearly itself when enlarged.
    y, x = np.mgrid[:33, :33].astype(np.float32) + 0.5
    coarse = terms(y * height / 33, x * width / 33) @ fit
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), noise


def _within(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """uint8 (H, W): 255 where every channel lies between the two colours, else 0."""
    return cv2.inRange(image, low.clip(0, 255), high.clip(0, 255))


def _without_deep_shadow(
    image: np.ndarray, mask: np.ndarray, near: np.ndarray, colour: np.ndarray
) -> np.ndarray:
    """`mask` of a dark garment without the deep shadow that it throws beside itself.

    Args:
        image: uint8 (H, W, 3); mask: uint8 (H, W), 255 on the garment; near: uint8 (H, W), 255
            where a pixel has the background's `colour` (3,).
    """
    some = image[::4, ::4][mask[::4, ::4] > 0]
    if not len(some):
        return mask
    depth = _DEEP * (float(colour.max()) - float(np.median(some.max(1))))
    if depth <= _SHADOW:
        return mask
    less = _fill_from_border(near | _shadow(image, colour, depth))
    deep = cv2.bitwise_and(mask, cv2.bitwise_not(less))
    # A shadow fades into the ground; a grey trim ends at it.
    around, outside = np.ones((7, 7), np.uint8), cv2.bitwise_not(mask)
    for box, piece in _pieces(deep):
        ring = cv2.bitwise_and(cv2.dilate(piece, around), outside[box])
        plain = cv2.countNonZero(cv2.bitwise_and(ring, near[box]))
        if plain > _SHARP * cv2.countNonZero(ring):
            deep[box][piece > 0] = 0
    return cv2.bitwise_and(mask, cv2.bitwise_not(deep))


def _pieces(mask: np.ndarray) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """The connected parts of uint8 (H, W): a box of each, a little wider, and uint8 of that size,
    255 on the part."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = []
    for one in range(1, count):
        x, y, w, h = (int(v) for v in stats[one, :4])
        box = np.s_[max(0, y - 4) : y + h + 4, max(0, x - 4) : x + w + 4]
        found.append((box, np.where(labels[box] == one, np.uint8(255), np.uint8(0))))
    return found


def _shadow(image: np.ndarray, colour: np.ndarray, depth: float) -> np.ndarray:
    """uint8 (H, W): 255 where the colour could be the background's, in a shadow of up to `depth`
    levels."""
    darker = _within(image, colour - depth, colour)
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
