"""From a rendered scene's layers to one training pair, randomised region by region.

Renders as they are teach the network renders. So every pair is composed anew: fabric cut from real
photos onto the garments (through the true flow, so that the in-shop picture and the worn garment
agree), real photos behind, tints of skin and hair, light, camera. What is the same before and after
stays the same: garments are textured in their own in-shop coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.captions import COLOURS, recolour_request, sample_caption
from training.data.real_photos import RealPhotos
from training.data.shards import CATEGORY_NAMES, Scene
from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE, POSE_SIZE
from tryon.models.patterns import PATTERNS
from tryon.models.shapes import shape_of

MARGIN = (POSE_SIZE - NET_WIDTH) // 2
_SKIN = [PARSE.index(n) for n in ("face_neck", "arm_left", "arm_right", "leg_left", "leg_right")]
_HAIR = PARSE.index("hair")
_MIRROR = np.array([LANDMARKS.index(_m) for _m in (
    (n[:-4] + "right") if n.endswith("left") else (n[:-5] + "left") if n.endswith("right") else n
    for n in LANDMARKS)])  # fmt: skip
_MIRROR_PARSE = np.arange(len(PARSE), dtype=np.uint8)
for _a, _b in (("arm_left", "arm_right"), ("leg_left", "leg_right")):
    _MIRROR_PARSE[[PARSE.index(_a), PARSE.index(_b)]] = PARSE.index(_b), PARSE.index(_a)

REACH = 32
"""How far from its edge, in pixels, a garment's mask is known as a distance."""

OLD_GARMENTS = {"upper": ("upper",), "lower": ("lower",), "dress": ("upper", "lower", "dress")}
"""What a garment of each category replaces."""


@dataclass
class Garment:
    """One garment of a scene; arrays as `shards.Scene` has them."""

    category: str
    flat: bool
    shop_albedo: np.ndarray
    shop_shade: np.ndarray
    shop_alpha: np.ndarray
    shop_cover: np.ndarray
    shop_parse: np.ndarray
    shop_landmarks: np.ndarray
    attributes: dict[str, str]


def garment_of(scene: Scene, index: int) -> Garment:
    """Garment `index` of a scene."""
    return Garment(
        category=CATEGORY_NAMES[int(scene.garment_category[index])],
        flat=not bool(scene.garment_shop_worn[index]),
        shop_albedo=scene.garment_shop_albedo[index],
        shop_shade=scene.garment_shop_shade[index],
        shop_alpha=scene.garment_shop_alpha[index],
        shop_cover=scene.garment_shop_person_alpha[index],
        shop_parse=scene.garment_shop_parse[index],
        shop_landmarks=scene.garment_shop_landmarks[index].astype(np.float32).copy(),
        attributes=scene.meta["garments"][index],
    )


def outfit_of(scene: Scene, index: int) -> dict[str, int]:
    """Which garment an outfit wears, by category."""
    worn = {"upper": scene.outfit_upper, "lower": scene.outfit_lower, "dress": scene.outfit_dress}
    return {name: int(which[index]) for name, which in worn.items() if which[index] >= 0}


@dataclass
class Options:
    """How strongly pairs are randomised; 0 leaves the renders as they are."""

    strength: float = 1.0
    text: float = 0.5
    recolour: float = 0.5


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    return np.exp(rng.normal(0, spread, 3)).astype(np.float32)


def _studio(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
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


def _backdrop(
    rng: np.random.Generator, photos: RealPhotos | None, height: int, width: int, real: float
) -> np.ndarray:
    if photos is not None and rng.random() < real:
        return photos.background(rng, height, width).astype(np.float32) / 255
    return _studio(rng, height, width)


def _garment_texture(
    rng: np.random.Generator, garment: Garment, photos: RealPhotos | None, strength: float
) -> np.ndarray | None:
    """New fabric in in-shop coordinates, float32 (256, 192, 3), or None: as rendered."""
    kind = rng.random()
    if kind > 0.75 * strength:
        return None
    own = garment.shop_albedo.astype(np.float32) / 255
    inside = garment.shop_alpha > 128
    if not inside.any():
        return None
    if kind > 0.5 * strength or photos is None:  # another colour, the same drawing
        mean = own[inside].mean(0)
        colour = rng.uniform(0.02, 1, 3)
        if rng.random() < 0.4:
            colour[:] = colour[0]  # grey, black, white
        return np.clip((own + 0.1) / (mean + 0.1) * colour, 0, 1).astype(np.float32)
    ys, xs = np.nonzero(inside)
    y0, y1, x0, x1 = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    fabric = photos.fabric(rng, y1 - y0, x1 - x0).astype(np.float32) / 255
    if rng.random() < 0.4:
        fabric = np.clip(fabric * _tint(rng, 0.25), 0, 1)
    new = own.copy()
    new[y0:y1, x0:x1] = fabric
    if rng.random() < 0.5:  # keep seams, collar and buttons as drawn
        level = own.mean(2, keepdims=True)
        detail = np.clip((level + 0.1) / (np.median(level[inside]) + 0.1), 0.55, 1.5)
        new = np.clip(new * detail, 0, 1)
    return new


def _dress_up(
    albedo: np.ndarray, parse: np.ndarray, flows: dict[str, np.ndarray],
    textures: dict[str, np.ndarray | None],
) -> None:  # fmt: skip
    """Lays each garment's texture onto the float32 albedo through its flow, in place."""
    for name, texture in textures.items():
        if texture is None:
            continue
        mask = (parse == PARSE.index(name)).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            continue
        box = (slice(y, y + h), slice(x, x + w))
        flow = flows[name][box].astype(np.float32)
        drawn = cv2.remap(
            texture, flow[..., 0] * NET_WIDTH - 0.5, flow[..., 1] * NET_HEIGHT - 0.5,
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        part = mask[box].astype(np.float32)
        # The rim mixes with what is behind it, as rendered edges do.
        soft = (cv2.blur(part, (3, 3)) * part)[..., None]
        albedo[box] += soft * (drawn - albedo[box])


class Camera:
    """Light and camera of one picture pair: the same for both pictures."""

    def __init__(self, rng: np.random.Generator, strength: float, size: tuple[int, int]) -> None:
        s = strength
        # Light is taken off the photo and the garment's colour off its picture, so that what
        # differs between the two is noise to the network: keep it to what cameras do.
        self.light = _tint(rng, 0.04 * s) * float(np.exp(rng.normal(0, 0.1 * s)))
        self.gamma = float(np.exp(rng.normal(0, 0.12 * s)))
        self.lift = float(rng.uniform(0, 0.06 * s))
        self.blur = float(rng.uniform(0.3, 1.1)) if rng.random() < 0.4 * s else 0.0
        self.noise = float(rng.uniform(0, 0.03 * s)) if rng.random() < 0.5 else 0.0
        self.grain = (
            rng.standard_normal((*size, 1), dtype=np.float32)
            if self.noise
            else np.zeros(1, np.float32)
        )

    def __call__(self, linear: np.ndarray) -> np.ndarray:
        """Float (h, w, 3) about 0..1 to uint8."""
        x: np.ndarray = np.clip(linear * self.light.astype(np.float32), 0, 1)
        x = cv2.pow(x, self.gamma) * (1 - self.lift) + self.lift
        if self.blur:
            x = cv2.GaussianBlur(x, (0, 0), self.blur)
        if self.noise:
            x = x + self.noise * self.grain
        return cv2.convertScaleAbs(np.clip(x, 0, 1), alpha=255)


def _shop_picture(
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
        back = _backdrop(rng, photos, NET_HEIGHT, NET_WIDTH, 0.5)
    elif rng.random() < 0.5:
        back = np.full_like(albedo, rng.uniform(0.82, 1.0))
        shadow = np.roll(cv2.GaussianBlur(alpha, (0, 0), 5.0), int(rng.integers(0, 6)), 0)
        back = back * (1 - rng.uniform(0, 0.4) * shadow[..., None])
    else:
        back = _studio(rng, NET_HEIGHT, NET_WIDTH)
        if photos is not None and rng.random() < 0.7:
            back = photos.edge(rng, NET_HEIGHT, NET_WIDTH).astype(np.float32) / 255
        shadow = cv2.GaussianBlur(alpha, (0, 0), 4.0)
        shadow = np.roll(shadow, tuple(int(v) for v in rng.integers(-4, 5, 2)), (0, 1))
        back = back * (1 - rng.uniform(0, 0.5) * shadow[..., None])
    picture = picture + back * (1 - cover)
    return Camera(rng, strength, (NET_HEIGHT, NET_WIDTH))(picture)


def _widen(
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


def _jitter_shop(
    rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, landmarks: np.ndarray,
    flow: np.ndarray, strength: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Scales, turns and shifts the in-shop picture, and its truth with it."""
    scale = float(np.exp(rng.uniform(-0.22, 0.12) * strength))
    angle = np.deg2rad(rng.normal(0, 5 * strength))
    centre = np.array([NET_WIDTH / 2, NET_HEIGHT / 2])
    source = centre
    if rng.random() < 0.75 * strength:
        # As it is served where the background is found: the garment fills the canvas.
        x, y, w, h = cv2.boundingRect((mask > 128).astype(np.uint8))
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


def words_of(
    attributes: dict[str, str], rng: np.random.Generator
) -> dict[str, np.ndarray | str]:
    """What the painter learns from: a sentence, and what it says."""
    first = COLOURS.get(str(attributes["colour"]), (0.5, 0.5, 0.5))
    second = COLOURS.get(str(attributes.get("second_colour") or attributes["colour"]), first)
    pattern = str(attributes["pattern"])
    return {
        "words": sample_caption(attributes, rng),
        "words_colours": np.array([*first, *second], np.float32),
        "words_pattern": np.array(PATTERNS.index(pattern) if pattern in PATTERNS else 0),
        "words_shape": np.array(shape_of(attributes)),
    }


def pairs_of(scene: Scene) -> list[tuple[int, int, str]]:
    """All (outfit before, outfit after, category) whose difference is one garment."""
    found = []
    outfits = [outfit_of(scene, i) for i in range(len(scene.albedo))]
    for i, before in enumerate(outfits):
        for j, after in enumerate(outfits):
            if i == j:
                continue
            if "dress" in after:
                found.append((i, j, "dress"))
            elif "dress" in before:
                continue
            elif before["lower"] == after["lower"] and before["upper"] != after["upper"]:
                found.append((i, j, "upper"))
            elif before["upper"] == after["upper"] and before["lower"] != after["lower"]:
                found.append((i, j, "lower"))
    return found


def inside_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels from a mask's edge, positive inside, float16 (H, W), at most REACH either way."""
    inside = (mask > 128).astype(np.uint8)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    beyond = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    return np.clip(within - beyond, -REACH, REACH).astype(np.float16)


def compose(
    scene: Scene, before: int, after: int, category: str, rng: np.random.Generator,
    photos: RealPhotos | None, options: Options,
) -> dict[str, np.ndarray | str]:  # fmt: skip
    """One training pair.

    Returns:
        before, after: uint8 (256, 256, 3); shop uint8 (256, 192, 3), shop_mask uint8 (256, 192),
        shop_inside float16 (256, 192), see `inside_distance`;
        shop_landmarks, landmarks: float32 (K, 3) x, y in 0..1 of canvas and of the 3:4 view, and
        whether there is one; flow float32 (2, 256, 192) in 0..1 of the canvas, valid uint8
        (256, 192); parse_before, parse_after uint8 (256, 192); drawn uint8 (256, 192), where the
        new garment is; old uint8 (256, 192), where what it replaces was; category int64;
        caption (str, empty: none), truth_caption (str); restyle float32 (5,): strength, colour,
        weight; and `words*`, what the painter learns from.
    """
    s = options.strength
    outfits = {i: outfit_of(scene, i) for i in (before, after)}
    worn = sorted({g for outfit in outfits.values() for g in outfit.values()})
    fabric = {g: _garment_texture(rng, garment_of(scene, g), photos, s) for g in worn}
    chosen = outfits[after][category]
    garment = garment_of(scene, chosen)
    place = scene.worn(after, chosen)
    skin, hair = _tint(rng, 0.07 * s), _tint(rng, 0.25 * s)
    gains = np.ones((len(PARSE), 3), np.float32)
    gains[_SKIN], gains[_HAIR] = skin, hair
    back = _backdrop(rng, photos, POSE_SIZE, POSE_SIZE, 0.6)
    camera = Camera(rng, s, (POSE_SIZE, POSE_SIZE))
    contrast = float(np.clip(rng.normal(1, 0.25 * s), 0.4, 1.7))
    dim = float(np.exp(rng.normal(0, 0.12 * s)))
    pictures = []
    for outfit in (before, after):
        parse = scene.parse[outfit]
        albedo = scene.albedo[outfit].astype(np.float32) / 255
        flows = {n: scene.worn_flow[scene.worn(outfit, g)] for n, g in outfits[outfit].items()}
        textures = {n: fabric[g] for n, g in outfits[outfit].items()}
        alpha = scene.alpha[outfit].astype(np.float32)[..., None] / 255
        _dress_up(albedo, parse, flows, textures)
        albedo *= gains[parse]
        shade = (scene.shade[outfit].astype(np.float32) / 128 - 1) * contrast + 1
        albedo *= (np.clip(shade, 0.05, 2) * dim)[..., None]
        albedo += back * (1 - alpha)
        pictures.append(albedo)
    if rng.random() < 0.12 * s and photos is not None:  # something in front
        h, w = (int(v) for v in rng.integers(24, 90, 2))
        y, x = int(rng.integers(0, POSE_SIZE - h)), int(rng.integers(0, POSE_SIZE - w))
        patch = photos.background(rng, h, w).astype(np.float32) / 255
        cut = (slice(y, y + h), slice(x, x + w))
        for picture in pictures:
            picture[cut] = patch
    else:
        cut = None
    shots = [camera(p) for p in pictures]

    drawn = (scene.parse[after] == PARSE.index(category)).astype(np.uint8)
    flow, valid = scene.worn_flow[place], scene.worn_valid[place]
    texture = fabric[chosen]
    shop = _shop_picture(rng, garment, texture, photos, s)
    shop_mask, shop_landmarks = garment.shop_alpha, garment.shop_landmarks
    if garment.flat and rng.random() < 0.7 * s:
        shop, shop_mask, shop_landmarks, flow = _widen(rng, shop, shop_mask, shop_landmarks, flow)
    shop, shop_mask, shop_landmarks, flow = _jitter_shop(
        rng, shop, shop_mask, shop_landmarks, flow, s
    )
    landmarks = scene.worn_landmarks[place].astype(np.float32).copy()
    parses = [scene.parse[before].copy(), scene.parse[after].copy()]
    old_classes = np.zeros(len(PARSE), np.uint8)
    old_classes[[PARSE.index(n) for n in OLD_GARMENTS[category]]] = 1
    if cut is not None:
        drawn[cut] = 0
        valid = valid.copy()
        valid[cut] = 0
        for parse in parses:
            parse[cut] = PARSE.index("other")
    old = old_classes[parses[0]]
    if rng.random() < 0.5:  # mirror the person; left and right change places
        shots = [shot[:, ::-1] for shot in shots]
        parses = [_MIRROR_PARSE[parse[:, ::-1]] for parse in parses]
        drawn, old, valid = drawn[:, ::-1], old[:, ::-1], valid[:, ::-1]
        flow = flow[:, ::-1].copy()
        flow[..., 0] = 1 - flow[..., 0]
        landmarks[:, 0] = POSE_SIZE - landmarks[:, 0]
        landmarks = landmarks[_MIRROR]
        shop, shop_mask = shop[:, ::-1], shop_mask[:, ::-1]
        shop_landmarks[:, 0] = 1 - shop_landmarks[:, 0]
        shop_landmarks = shop_landmarks[_MIRROR]

    inside = shop_mask > 128
    mean = shop[inside].mean(0) / 255 if inside.any() else np.full(3, 0.5)
    caption, restyle = "", np.zeros(5, np.float32)
    truth = sample_caption(garment.attributes, rng) if texture is None else ""
    if rng.random() < options.text:
        if rng.random() < options.recolour:
            caption, colour = recolour_request(garment.attributes, rng)
            restyle[:] = (0, 0, 0, 0, 1) if colour is None else (1, *colour, 1)
        elif truth:
            caption = truth
            restyle[0], restyle[4] = 0, 1
    view = slice(MARGIN, MARGIN + NET_WIDTH)
    landmarks[:, 0] = (landmarks[:, 0] - MARGIN) / NET_WIDTH
    landmarks[:, 1] = landmarks[:, 1] / NET_HEIGHT
    return {
        "before": np.ascontiguousarray(shots[0]),
        "after": np.ascontiguousarray(shots[1]),
        "shop": np.ascontiguousarray(shop),
        "shop_mask": np.ascontiguousarray(shop_mask),
        "shop_inside": inside_distance(shop_mask),
        "shop_landmarks": shop_landmarks.astype(np.float32),
        "landmarks": landmarks.astype(np.float32),
        "flow": np.ascontiguousarray(flow[:, view].transpose(2, 0, 1)).astype(np.float32),
        "valid": np.ascontiguousarray((valid * drawn)[:, view]),
        "parse_before": np.ascontiguousarray(parses[0][:, view]),
        "parse_after": np.ascontiguousarray(parses[1][:, view]),
        "drawn": np.ascontiguousarray(drawn[:, view]),
        "old": np.ascontiguousarray(old[:, view]),
        "category": np.array(CATEGORIES.index(category)),
        "caption": caption,
        "truth_caption": truth,
        "restyle": restyle,
        "mean_colour": mean.astype(np.float32),
        **words_of(garment.attributes, rng),
    }
