"""The in-shop picture of a rendered garment, as shops and people take it, and its truth."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.camera import Camera, backdrop, studio
from training.data.outfits import Garment
from training.data.real_photos import RealPhotos
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE

HUNG = 0.15
"""Share of the flat garments that hang on a hanger."""
BENT = 3.5
"""Spread of the displacements by which an in-shop picture is bent, in its pixels."""
REACH = 32
"""How far from its edge, in pixels, a garment's mask is known as a distance."""


def shop_picture(
    rng: np.random.Generator, garment: Garment, texture: np.ndarray | None,
    photos: RealPhotos | None, strength: float,
) -> np.ndarray:  # fmt: skip
    """The in-shop picture before its own geometry is jittered, uint8 (NET_HEIGHT, NET_WIDTH, 3)."""
    albedo = garment.shop_albedo.astype(np.float32) / 255
    alpha = garment.shop_alpha.astype(np.float32)[..., None] / 255
    cover = garment.shop_cover.astype(np.float32)[..., None] / 255
    if texture is not None:
        # Albedo is weighted by coverage; the garment's share of a pixel is `alpha`.
        own = garment.shop_parse == PARSE.index(garment.category)
        soft = np.where(own[..., None], alpha, 0.0)
        albedo = albedo * (1 - soft) + texture * soft
    shade = garment.shop_shade.astype(np.float32)[..., None] / 128
    shade = 1 + (shade - 1) * float(np.clip(rng.normal(1, 0.25 * strength), 0.3, 1.6))
    picture = albedo * shade
    if not garment.flat:
        back = backdrop(rng, photos, NET_HEIGHT, NET_WIDTH, 0.5)
    elif rng.random() < 0.5:
        back = np.full_like(albedo, rng.uniform(0.82, 1.0))
        shadow = np.roll(cv2.GaussianBlur(alpha, (0, 0), 5.0), int(rng.integers(0, 6)), 0)
        back = back * (1 - rng.uniform(0, 0.4) * shadow[..., None])
    else:
        back = studio(rng, NET_HEIGHT, NET_WIDTH)
        if photos is not None and rng.random() < 0.7:
            back = photos.edge(rng, NET_HEIGHT, NET_WIDTH).astype(np.float32) / 255
        shadow = cv2.GaussianBlur(alpha, (0, 0), 4.0)
        shadow = np.roll(shadow, tuple(int(v) for v in rng.integers(-4, 5, 2)), (0, 1))
        back = back * (1 - rng.uniform(0, 0.5) * shadow[..., None])
    picture = picture + back * (1 - cover)
    if garment.flat and rng.random() < HUNG * strength:
        hang(rng, picture, garment)
    return Camera(rng, strength, (NET_HEIGHT, NET_WIDTH))(picture)


def hang(rng: np.random.Generator, picture: np.ndarray, garment: Garment) -> None:
    """Draws a hanger into float (H, W, 3): its hook above the neck, and its bar within, where it is
    seen before the garment's inside. Garments without a neck are left alone."""
    left, right = (garment.shop_landmarks[LANDMARKS.index(n)] for n in ("neck_left", "neck_right"))
    if min(left[2], right[2]) < 0.5:
        return
    colour = np.array((0.05, 0.9, 0.45)[int(rng.integers(3))] * np.array([1, 0.95, 0.9]))
    if rng.random() < 0.3:
        colour = np.array([0.6, 0.42, 0.26])  # wood
    a, b = (mark[:2] * [NET_WIDTH, NET_HEIGHT] for mark in (left, right))
    middle, apart = (a + b) / 2, b - a
    up = np.array([apart[1], -apart[0]])
    up = up / (np.linalg.norm(up) + 1e-6) * -np.sign(up[1] or -1)
    wide, size = float(np.linalg.norm(apart)), (picture.shape[1], picture.shape[0])
    thick = int(rng.integers(2, 5)) * size[1] // NET_HEIGHT
    drawn = np.zeros(size[::-1], np.uint8)

    def line(*points: np.ndarray) -> None:
        to = np.rint(np.array(points) * [size[0] / NET_WIDTH, size[1] / NET_HEIGHT]).astype(
            np.int32
        )
        cv2.polylines(drawn, [to], False, [255.0], thick, cv2.LINE_AA)

    foot, high = middle - 0.05 * wide * up, rng.uniform(0.3, 0.7) * wide
    top = middle + high * up
    side = apart / (wide + 1e-6) * np.sign(rng.random() - 0.5) * rng.uniform(0.08, 0.16) * wide
    line(foot, top, top + side + 0.15 * wide * up, top + 2 * side, top + 2 * side - 0.1 * wide * up)
    fall = rng.uniform(0.1, 0.3) * wide * up
    line(foot - 0.8 * apart - fall, foot, foot + 0.8 * apart - fall)
    if rng.random() < 0.4:  # a bar for trousers
        bar = foot - rng.uniform(0.35, 0.7) * wide * up
        line(bar - 0.6 * apart, bar + 0.6 * apart)
    covered = garment.shop_alpha.astype(np.float32) - garment.shop_inner
    seen = drawn / 255.0 * np.clip(1 - covered / 255, 0, 1)
    picture[:] = picture * (1 - seen[..., None]) + colour * seen[..., None]


def widen(
    rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray,
    flow: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Widens a flat garment, more at the waist.

    Half a body's girth, which is what lies flat, is up to 1.4 times what the camera sees of it,
    and shops' flat garments have straight sides where rendered ones follow the body.
    """
    rows = np.flatnonzero((mask > 128).any(1))
    if not len(rows):
        return picture, mask, landmarks, flow
    columns = np.flatnonzero((mask > 128).any(0))
    middle = (columns[0] + columns[-1] + 1) / 2
    widest = max(columns[-1] + 1 - columns[0], 1)
    y = np.arange(NET_HEIGHT, dtype=np.float32) + 0.5
    low = rows[0] + (rows[-1] - rows[0]) * rng.uniform(0.55, 0.9)
    reach = max(rows[-1] - rows[0], 8) * rng.uniform(0.2, 0.5)
    scale = 1 + rng.uniform(0, 0.35) + rng.uniform(0, 0.25) * np.exp(-(((y - low) / reach) ** 2))
    scale = np.minimum(scale, NET_WIDTH / widest * 1.05).astype(np.float32)
    x = np.arange(NET_WIDTH, dtype=np.float32) + 0.5
    map_x = middle + (x[None] - middle) / scale[:, None] - 0.5
    map_y = np.repeat(y[:, None] - 0.5, NET_WIDTH, 1)
    picture = cv2.remap(picture, map_x.astype(np.float32), map_y, cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    mask = cv2.remap(mask, map_x.astype(np.float32), map_y, cv2.INTER_LINEAR)
    centre = middle / NET_WIDTH

    def moved(place: np.ndarray) -> np.ndarray:
        place = place.astype(np.float32).copy()
        at = np.interp(place[..., 1] * NET_HEIGHT, y, scale)
        place[..., 0] = centre + (place[..., 0] - centre) * at
        return place

    return picture, mask, moved(landmarks), moved(flow)


def bend(
    rng: np.random.Generator, picture: np.ndarray, masks: np.ndarray, landmarks: np.ndarray,
    flow: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Bends an in-shop picture smoothly, and its truth with it, so that no garment's outline comes
    twice: one that is known by heart tells nothing about the next.

    Cubic between a grid of displacements (elastic deformation: Simard et al., 2003).

    Args:
        masks: uint8 (H, W, C); landmarks: float (K, 3), x and y in 0..1; flow: float (h, w, 2).
    """
    size = (NET_WIDTH, NET_HEIGHT)
    grid = rng.normal(0, BENT, (6, 5, 2)).astype(np.float32)
    # Pixel x of the new picture shows what lay at x + from_[x].
    from_ = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:NET_HEIGHT, :NET_WIDTH].astype(np.float32)
    to_x, to_y = x + from_[..., 0], y + from_[..., 1]
    picture = cv2.remap(picture, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bent = cv2.remap(masks, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bent = bent.reshape(masks.shape)

    def moved(places: np.ndarray) -> np.ndarray:
        """Where places in 0..1 lie now: the inverse, by fixed points (slopes are below 1)."""
        given = np.array(places * size - 0.5, np.float32)
        given = given[:, None] if given.ndim == 2 else given  # as OpenCV has maps
        now = given
        for _ in range(4):
            by = cv2.remap(
                from_, now[..., 0], now[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            now = given - by.reshape(given.shape)
        return ((now + 0.5) / np.array(size, np.float32)).reshape(places.shape)

    landmarks = np.concatenate([moved(landmarks[:, :2]), landmarks[:, 2:]], 1)
    return picture, bent, landmarks.astype(np.float32), moved(flow.astype(np.float32))


def jitter_shop(
    rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray,
    flow: np.ndarray, strength: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Scales, turns and shifts the in-shop picture, and its truth with it.

    `mask`: uint8 (H, W, C), the garment's and whatever else goes with it; its own comes first.
    """
    scale = float(np.exp(rng.uniform(-0.22, 0.12) * strength))
    angle = np.deg2rad(rng.normal(0, 5 * strength))
    centre = np.array([NET_WIDTH / 2, NET_HEIGHT / 2])
    source = centre
    if rng.random() < 0.75 * strength:
        # As it is served where the background is found: the garment fills the canvas.
        x, y, w, h = cv2.boundingRect((mask[..., 0] > 128).astype(np.uint8))
        if w and h:
            margin = 1.12 * float(np.exp(rng.normal(0, 0.04)))
            scale = min(NET_WIDTH / (w * margin), NET_HEIGHT / (h * margin), 3.0)
            source = np.array([x + w / 2, y + h / 2])
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[a, -b], [b, a]])
    drift = 0.06 if source is centre else 0.015
    shift = centre - linear @ source + rng.uniform(-drift, drift, 2) * strength * NET_HEIGHT
    # OpenCV counts from pixel centres at 0; the truth from pixel corners.
    matrix = np.concatenate([linear, (linear @ [0.5, 0.5] + shift - 0.5)[:, None]], 1)
    size = (NET_WIDTH, NET_HEIGHT)
    picture = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    mask = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
    pixels = np.array([NET_WIDTH, NET_HEIGHT])
    turn = (linear * pixels / pixels[:, None]).astype(np.float32)  # in 0..1 of each side
    move = np.concatenate([turn, (shift / pixels)[:, None]], 1).astype(np.float32)
    places = landmarks[:, :2] @ move[:, :2].T + move[:, 2]
    landmarks = np.concatenate([places, landmarks[:, 2:]], 1)
    return picture, mask, landmarks, cv2.transform(flow.astype(np.float32), move)


def tuck(
    rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray,
    photos: RealPhotos | None,
) -> np.ndarray:  # fmt: skip
    """Hides a top's lower end in its own picture, in place, as where it is worn tucked in.

    Photos of garments on a wearer often are so: trousers over the hem, a hand before it. What is
    hidden leaves the mask and has no landmark.

    Returns:
        bool (NET_HEIGHT, NET_WIDTH), what was hidden; all False where the garment has no armpits
        or no hem.
    """
    hidden = np.zeros((NET_HEIGHT, NET_WIDTH), bool)
    marks = {n: landmarks[LANDMARKS.index(n)] for n in
             ("armpit_left", "armpit_right", "hem_left", "hem_right", "hem_front")}  # fmt: skip
    if any(m[2] < 0.5 for m in marks.values()):
        return hidden
    pixels = np.array([NET_WIDTH, NET_HEIGHT])
    place = {n: m[:2] * pixels for n, m in marks.items()}
    across = sorted(place[n][0] for n in ("armpit_left", "armpit_right", "hem_left", "hem_right"))
    top = (place["armpit_left"][1] + place["armpit_right"][1]) / 2
    line = top + (place["hem_front"][1] - top) * rng.uniform(0.55, 0.95)
    middle, half = (across[0] + across[-1]) / 2, (across[-1] - across[0]) / 2 + rng.uniform(1, 8)
    y, x = np.mgrid[:NET_HEIGHT, :NET_WIDTH] + 0.5
    along = (x - middle) / half
    below = y > line + rng.normal(0, 4) * along + rng.normal(0, 3) * along**2
    hidden |= below & (np.abs(along) < 1)
    cloth = np.full((NET_HEIGHT, NET_WIDTH, 3), rng.uniform(10, 200, 3) * rng.uniform(0.3, 1))
    if photos is not None and rng.random() < 0.5:
        cloth = photos.fabric(rng, NET_HEIGHT, NET_WIDTH).astype(np.float64)
    picture[hidden] = cloth[hidden] * rng.uniform(0.6, 1.0)
    if rng.random() < 0.5:
        at, reach = middle + rng.uniform(-0.9, 0.9) * half, rng.uniform(6, 16, 2)
        hand = ((x - at) / reach[0]) ** 2 + ((y - line) / reach[1]) ** 2 < 1
        picture[hand] = np.array([224, 172, 140]) * rng.uniform(0.3, 1.0)
        hidden |= hand
    mask[hidden] = 0
    for mark in landmarks:
        column, row = (mark[:2] * pixels).astype(int)
        if 0 <= column < NET_WIDTH and 0 <= row < NET_HEIGHT and hidden[row, column]:
            mark[2] = 0
    for name in ("hem_left", "hem_right", "hem_front"):
        landmarks[LANDMARKS.index(name), 2] = 0
    return hidden


def inside_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels from a mask's edge, positive inside, float16 (H, W), at most REACH either way."""
    inside = (mask > 128).astype(np.uint8)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    return np.clip(within - beyond, -REACH, REACH).astype(np.float16)
