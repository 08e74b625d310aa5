"""Where the picture of a garment is plain ground, as a studio's: what is beside the garment."""

from __future__ import annotations

import cv2
import numpy as np

from tryon.steps.edges import led_to_edges

_NEAR = 10
"""How far (in the farthest channel) a pixel may be from the border's colour as background."""
_SHADOW, _SHADOW_TINT = 70, 8
"""A garment's shadow on a plain background: this much darker, in nearly the same tint."""
_DARKEST = 0.4
"""Of the background's light: what a soft shadow takes at most."""
_DEEP = 0.6
"""A shadow is no darker than this share of the way from the background to a dark garment."""
_STEPS = 2.0
"""Sigma, in pixels, of what goes of an outline: steps and fringes of its pixels."""
_CONTACT, _VALLEY, _TINTED = 8, 12, 0.6
"""How many pixels a shadow reaches where a garment touches the ground; by how many levels it is
darker there than the garment, or how much of that has a tint."""
_STRIP = 4e-4
"""Share of a picture that a shadow takes there at least: it is a strip."""
_SHARP = 0.6
"""Of what lies within 3 pixels beyond a deep shadow: where more of it is plain ground already, it
is no shadow."""
_FADES = 0.65
"""How deep a shadow is beside the ground, of its median."""
_GAP, _ONE_SIDE = 0.001, (0.2, 0.8)
"""Of a picture: the least gap between arm and trunk; and how much of its edge is skin (hues of
Chai and Ngan, 1999: Cr 135 to 180, Cb 85 to 135), where the rest is cloth."""
_MOST_SHADOW = 0.08
"""Of the picture: what is more is not the shadow of pale cloth, but grey cloth."""
_UNLIKE = 4.5
"""Standard deviations of the ground by which cloth is unlike it in its tint; in its light one more.
"""
_EVEN = 0.75
"""How alike both halves are at least: a part that has the ground's very colour is missing else."""
_BUMPS = 0.012
"""Of the picture's shorter side: how coarse the outline of pale cloth on pale ground is."""
_STRAP = 0.004
"""Of the garment: what is narrow and larger is a strap and no bump."""
_RAGGED = 0.4
"""Pixels by which an outline that was found goes in and out, at most: more is not a garment's."""


def border_colour(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Median colour (3,) of the outermost pixels of uint8 (H, W, 3), and whether most have it."""
    border = _border_of(image, 100)
    colour = np.median(border, axis=0)
    near = np.abs(border - colour).max(axis=1) <= _NEAR + 4
    return colour, bool(near.mean() >= 0.7)


def _border_of(image: np.ndarray, part: int) -> np.ndarray:
    """The outermost pixels (n, 3) of (H, W, 3), as far as one `part`th of its shorter side."""
    edge = max(1, min(image.shape[:2]) // part)
    sides = image[:edge], image[-edge:], image[:, :edge], image[:, -edge:]
    return np.concatenate([side.reshape(-1, 3) for side in sides])


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
                mask = _without_contact(image, mask, colour)
            even = _with_straps(_even_outline(mask, _STEPS), mask, _STEPS)
            return _soft(_without_gaps(image, even, closer))
    unlike = _unlike_ground(image, colour)
    return None if unlike is None else _soft(unlike)


def _without_gaps(image: np.ndarray, mask: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Without the ground that is seen between a wearer's arms and trunk: shut in like a print, but
    with skin along one side.

    Args:
        image: uint8 (H, W, 3); mask: uint8 (H, W), 255 where the garment, or its wearer, is; near:
            uint8 (H, W), over 0 where the picture is as the ground.
    """
    shut_in = ((near > 0) & (mask > 0)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(shut_in, connectivity=4)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] > _GAP * mask.size]
    if not large:
        return mask
    _, red, blue = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    skin = (red >= 135) & (red <= 180) & (blue >= 85) & (blue <= 135)
    out = mask.copy()
    for n in large:
        gap = (labels == n).astype(np.uint8)
        around = (cv2.dilate(gap, np.ones((7, 7), np.uint8)) > 0) & (shut_in == 0)
        if _ONE_SIDE[0] < skin[around].mean() < _ONE_SIDE[1]:
            # With the pixels that are mixed of both.
            out[cv2.dilate(gap, np.ones((3, 3), np.uint8)) > 0] = 0
    return out


def _unlike_ground(image: np.ndarray, colour: np.ndarray) -> np.ndarray | None:
    """The garment by what its colour, averaged over a few pixels, is unlike the ground's.

    White cloth on white paper is within its tolerances, but a little bluer or brighter; a shadow
    has the paper's tint. How much is more than chance is told by the border.

    Args:
        image: uint8 (H, W, 3); colour: (3,) the background's.

    Returns:
        uint8 (H, W), 255 on the garment, or None where nothing clear and whole is found.
    """
    surface, _ = _lit_background(image, colour)
    if surface is None:
        return None
    above = image - surface
    clear = _clearness(above, colour)
    if clear is None:
        return None
    mask = _fill_from_border(np.where(clear > 1, np.uint8(0), np.uint8(255)))
    depth = -_range_of(above)[1]
    dark, plain = (
        cv2.bitwise_and(np.where(part, np.uint8(255), np.uint8(0)), cv2.bitwise_not(mask))
        for part in (depth > _NEAR / 2, depth <= _NEAR / 2)
    )
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    trims = cv2.bitwise_and(dark, cv2.bitwise_not(_fading(dark, depth, plain)))
    mask, clear = cv2.bitwise_or(mask, trims), cv2.max(clear, 2 * (trims > 0).astype(np.float32))
    # Where light cloth meets dark cloth the average may be the ground's.
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    mask = _even_outline(_fill_from_border(cv2.bitwise_not(mask)))
    narrower = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    rim = narrower & (cv2.erode(mask, np.ones((9, 9), np.uint8)) == 0)
    sure = float((clear[rim] > 1.3).mean()) if rim.any() else 0.0
    found = sure > 0.8 and _whole(mask, 0.9) and _raggedness(mask) < _RAGGED
    if not found or _evenness(mask) <= _EVEN:
        return None
    # By averages of noise its outline is known to a few pixels: bumps that no hem has, but where
    # it is dark. Most of its edges are there in the picture, though.
    sigma = _BUMPS * min(mask.shape)
    even = _even_outline(led_to_edges(image, _even_outline(mask, sigma)))
    even = _with_straps(even, mask, sigma)
    dark = cv2.bitwise_or(trims, np.where(depth > _SHADOW, np.uint8(255), np.uint8(0)))
    return cv2.bitwise_or(even, cv2.bitwise_and(mask, dark))


def _with_straps(even: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """The evened mask with what of the mask is thin and large, which evening takes away."""
    side = round(3 * sigma) | 1
    thin = cv2.bitwise_and(mask, cv2.bitwise_not(
        cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    ))  # fmt: skip
    least = _STRAP * cv2.countNonZero(mask)
    if cv2.countNonZero(thin) < least:
        return even
    _, labels, stats, _ = cv2.connectedComponentsWithStats(thin, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return cv2.bitwise_or(even, _of(labels, large)) if large.any() else even


def _of(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """uint8 (H, W): 255 on the connected parts that are chosen, bool (parts,)."""
    return (np.uint8(255) * chosen.astype(np.uint8))[labels]


def _clearness(above: np.ndarray, colour: np.ndarray) -> np.ndarray | None:
    """How unlike the ground each pixel is, averaged over a few of them: float32 (H, W), 1 where
    that can hardly be chance, at most 2.

    Args:
        above: float32 (H, W, 3), how far the picture is from its background; colour: (3,) that.

    Returns:
        None where too little of the border is background.
    """
    off = cv2.GaussianBlur(above, (0, 0), 1.5)
    border = _border_of(off, 25)
    border = border[np.abs(border).max(1) <= _NEAR]
    if len(border) < 200:
        return None
    light = colour / max(1.0, float(np.linalg.norm(colour)))
    tints = np.linalg.svd(light[None])[2][1:]
    spread = np.cov((border @ tints.T).T) + 0.15 * np.eye(2)  # bytes are coarse
    # In standard deviations of the ground, 1 where it is as unlike as cloth is to be.
    tints = np.linalg.cholesky(np.linalg.inv(spread)).T @ tints / _UNLIKE
    bright = light / max(float((border @ light).std()), 0.6) / (_UNLIKE + 1)
    axes = np.concatenate([bright[None], tints])
    unlike = cv2.transform(off, np.concatenate([axes, -(axes @ border.mean(0))[:, None]], 1))
    brighter, one, other = cv2.split(unlike)
    # What is much darker than its shadow is cloth of whatever tint.
    brighter[brighter < -_DARKEST * np.linalg.norm(colour) * np.linalg.norm(bright)] = 2
    unlike = np.minimum(cv2.max(brighter, cv2.magnitude(one, other)), 2)
    return cv2.GaussianBlur(unlike, (0, 0), 1.5)


def _evenness(mask: np.ndarray) -> float:
    """How alike the garment's left and right half are, 0..1 (intersection over union)."""
    x, y, w, h = cv2.boundingRect(mask)
    part = mask[y : y + h, x : x + w]
    both = cv2.countNonZero(cv2.bitwise_and(part, part[:, ::-1]))
    return both / max(1, 2 * cv2.countNonZero(part) - both)


def _raggedness(mask: np.ndarray) -> float:
    """How far the outline of uint8 (H, W) goes in and out, pixels on average."""
    side = max(5, round(min(mask.shape) * 0.025)) | 1
    square = np.ones((side, side), np.uint8)
    wide = cv2.copyMakeBorder(mask, side, side, side, side, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, square)
    opened = cv2.morphologyEx(wide, cv2.MORPH_OPEN, square)
    outline = mask & ~cv2.erode(mask, np.ones((3, 3), np.uint8))
    return cv2.countNonZero(cv2.absdiff(closed, opened)) / max(1, cv2.countNonZero(outline))


def beside_shadows(image: np.ndarray, colour: np.ndarray) -> np.ndarray | None:
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
    low, level = _range_of(above)
    tint = level - low
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
    shadow = _fading(shadow, -level, plain)
    if not 0 < cv2.countNonZero(shadow) <= _MOST_SHADOW * shadow.size:
        return None
    return _softened(255 - cv2.dilate(_even_outline(shadow), np.ones((3, 3), np.uint8)))


def _fading(dark: np.ndarray, depth: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """What of a dark part of the ground is shadow: uint8 (H, W).

    A shadow fades into the ground; a grey stripe or hem ends at it.

    Args:
        dark, plain: uint8 (H, W), 255 where it is dark, and where it is plain ground.
        depth: float (H, W), by how many levels a pixel is darker than the ground.
    """
    plain = cv2.morphologyEx(plain, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    beside, shadow = cv2.dilate(plain, np.ones((7, 7), np.uint8)), dark.copy()
    for box, piece in _pieces(dark):
        edge = (piece > 0) & (beside[box] > 0)
        if not edge.any() or depth[box][edge].mean() > _FADES * np.median(depth[box][piece > 0]):
            shadow[box][piece > 0] = 0
    return shadow


def _soft(mask: np.ndarray) -> np.ndarray:
    """uint8 (H, W): the mask a pixel smaller, its edges soft."""
    return _softened(cv2.erode(mask, np.ones((3, 3), np.uint8)))


def _softened(mask: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(mask, (0, 0), 0.8)


def _even_outline(mask: np.ndarray, sigma: float = 2.5) -> np.ndarray:
    """uint8 (H, W): the mask without what is smaller than `sigma` pixels in its outline, by default
    the steps that JPEG's blocks leave there."""
    return cv2.threshold(cv2.GaussianBlur(mask, (0, 0), sigma), 127, 255, cv2.THRESH_BINARY)[1]


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


def _range_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's least and greatest channel, (H, W) each of (H, W, 3); numpy's take 4 ms."""
    one, two, three = cv2.split(image)
    return cv2.min(cv2.min(one, two), three), cv2.max(cv2.max(one, two), three)


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


def _without_contact(image: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """`mask` without the shadow that a garment throws where it touches the ground.

    It is the darker the nearer the garment, and darkest beside it: from the ground on inwards light
    falls, and where it rises again, or has a tint, the garment begins. Of a garment that is as dark
    and as grey nothing goes.

    Args:
        image: uint8 (H, W, 3); mask: uint8 (H, W), 255 on the garment; colour: (3,) the ground's.
    """
    below = cv2.subtract((*colour, 0.0), image, dtype=cv2.CV_8U)  # type: ignore[call-overload]
    low, high = _range_of(below)
    grey = _at_most(cv2.subtract(high, low), 2 * _SHADOW_TINT)
    beside, around = np.ones((3, 3), np.uint8), (4 * _CONTACT + 1, 4 * _CONTACT + 1)
    # How dark each pixel of the shadow is, and one more; 0 beyond it.
    depth = np.minimum(low, 254) + np.uint8(1)
    deepest = cv2.bitwise_and(depth, cv2.bitwise_not(mask))
    inside = cv2.bitwise_and(mask, grey)
    for _ in range(_CONTACT):
        before = cv2.dilate(deepest, beside)
        deeper = _over(cv2.subtract(depth, before), 1)
        falls = cv2.bitwise_and(deeper, _over(before, 0)) & _at_most(deepest, 0)
        deepest = cv2.max(deepest, depth & falls & inside)
    found = mask & _over(deepest, 0)
    if not cv2.countNonZero(found):
        return mask
    own = mask & cv2.bitwise_not(found)
    places = found > 0
    known, behind, tinted = (
        cv2.blur(part, around)[places].astype(np.float32)
        for part in (own, depth & own, own & cv2.bitwise_not(grey))
    )
    darkest = cv2.dilate(deepest & found, np.ones((9, 9), np.uint8))[places]
    behind = 255 * behind / (known + 1)
    # The creases of black cloth are darker than it, too, and no shadow is.
    darker = (darkest > behind + _VALLEY) & (behind < _DEEP * colour.max())
    less = mask.copy()
    less[places] = np.where(darker | (tinted > _TINTED * known), np.uint8(0), less[places])
    # A shadow is a strip; what is thin or short is the fibres of a melange, and left bites.
    gone = mask & cv2.bitwise_not(_even_outline(less, 1.5))
    gone = cv2.morphologyEx(gone, cv2.MORPH_OPEN, beside)
    if cv2.countNonZero(gone) <= _STRIP * mask.size:
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(gone, connectivity=8)
    strips = stats[:, cv2.CC_STAT_AREA] > _STRIP * mask.size
    strips[0] = False
    return mask & cv2.bitwise_not(_of(labels, strips)) if strips.any() else mask


def _over(values: np.ndarray, least: float) -> np.ndarray:
    """uint8 (H, W): 255 where uint8 (H, W) is more than that."""
    return cv2.threshold(values, least, 255, cv2.THRESH_BINARY)[1]


def _at_most(values: np.ndarray, most: float) -> np.ndarray:
    """uint8 (H, W): 255 where uint8 (H, W) is at most that."""
    return cv2.threshold(values, most, 255, cv2.THRESH_BINARY_INV)[1]


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
    low, high = _range_of(below)
    tint = cv2.subtract(high, low)
    return darker & _at_most(tint, _SHADOW_TINT)


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
    if not _whole(mask, 0.85):
        return False
    # It stopped at the garment's edge if the other side of the edge is clearly another colour;
    # where it ran out inside the garment, the colours go over into each other.
    rim = mask & ~cv2.erode(mask, np.ones((7, 7), np.uint8))
    return cv2.countNonZero(rim & pale) <= 0.2 * cv2.countNonZero(rim)


def _whole(mask: np.ndarray, least: float) -> bool:
    """Whether uint8 (H, W) is of a garment's size and keeps at least that share of it when opened.

    A fill that leaked in leaves outlines and folds, which opening wipes out; a whole garment, with
    thin straps even, keeps most of its area.
    """
    area = cv2.countNonZero(mask)
    if not 0.04 <= area / mask.size <= 0.96:
        return False
    side = max(3, round(min(mask.shape) * 0.025))
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return cv2.countNonZero(opened) >= least * area
