"""From a rendered scene's layers to one training pair, randomised region by region.

Renders as they are teach the network renders. So every pair is composed anew: fabric cut from real
photos onto the garments (through the true flow, so that the in-shop picture and the worn garment
agree), real photos behind, tints of skin and hair, light, camera. What is the same before and after
stays the same: garments are textured in their own in-shop coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from training.captions import (
    COLOURS,
    recolour_request,
    sample_caption,
    styled,
    styling_request,
)
from training.data.blocks import colour_blocks, dyed
from training.data.camera import Camera, backdrop, shaded, tint
from training.data.ends import within
from training.data.fades import faded
from training.data.laid import (
    Cutout,
    Cutouts,
    flow_of,
    kind_of,
    lay,
    marks_of,
    mask_of,
    texture_of,
)
from training.data.outfits import (
    NEVER_TUCKED,
    Garment,
    beneath_of,
    drawn_of,
    garment_of,
    outfit_of,
    seen_of,
)
from training.data.real_photos import RealPhotos
from training.data.shards import Scene
from training.data.shop import bend, inside_distance, jitter_shop, shop_picture, tuck, widen
from tryon.contract import (
    CATEGORIES,
    LANDMARKS,
    NET_HEIGHT,
    NET_WIDTH,
    OLD_GARMENTS,
    PARSE,
    POSE_SIZE,
    STYLING,
)
from tryon.models.patterns import PATTERNS
from tryon.models.shapes import shape_of
from tryon.steps.garment import without_background

_MOST_LOST = 0.15
"""Of a garment: where more goes with its background the picture teaches nothing."""
MARGIN = (POSE_SIZE - NET_WIDTH) // 2
_SKIN = [PARSE.index(n) for n in ("face_neck", "arm_left", "arm_right", "leg_left", "leg_right")]
_LIMBS = _SKIN[1:]
_HAIR = PARSE.index("hair")
_CLOTH = [PARSE.index(n) for n in ("upper", "lower", "dress")]
_MIRROR = np.array([LANDMARKS.index(_m) for _m in (
    (n[:-4] + "right") if n.endswith("left") else (n[:-5] + "left") if n.endswith("right") else n
    for n in LANDMARKS)])  # fmt: skip
_MIRROR_PARSE = np.arange(len(PARSE), dtype=np.uint8)
for _a, _b in (("arm_left", "arm_right"), ("leg_left", "leg_right")):
    _MIRROR_PARSE[[PARSE.index(_a), PARSE.index(_b)]] = PARSE.index(_b), PARSE.index(_a)
# BlazePose's: nose, three of each eye, then left and right in turn.
_MIRROR_JOINTS = np.array([0, 4, 5, 6, 1, 2, 3, *(n + 1 if n % 2 else n - 1 for n in range(7, 33))])


@dataclass
class Options:
    """How strongly pairs are randomised; 0 leaves the renders as they are."""

    strength: float = 1.0
    text: float = 0.5
    recolour: float = 0.5
    blocks: float = 0.0
    """Share of the pairs whose old garment gets a second colour (`blocks.colour_blocks`)."""
    fades: float = 0.0
    """Share of the pairs whose cloth is faded before (`fades.faded`), and what is kept, after."""
    ends: float = 0.0
    """Share of the pairs whose photo ends within what the generator sees (`ends.within`)."""
    bend: float = 0.0
    """Share of the pairs whose in-shop picture is bent (`shop.bend`)."""
    cut: float = 1.0
    """Share of the pairs whose in-shop picture loses its plain background, as it does when it is
    served (`tryon.steps.garment`)."""


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
        fabric = np.clip(fabric * tint(rng, 0.25), 0, 1)
    new = own.copy()
    new[y0:y1, x0:x1] = fabric
    if rng.random() < 0.5:  # keep seams, collar and buttons as drawn
        level = own.mean(2, keepdims=True)
        detail = np.clip((level + 0.1) / (np.median(level[inside]) + 0.1), 0.55, 1.5)
        new = np.clip(new * detail, 0, 1)
    return new


def _real_garment(
    rng: np.random.Generator, garment: Garment, cutouts: Cutouts | None, strength: float
) -> tuple[Cutout, np.ndarray] | None:
    """A real garment that fits a flat rendered one, and how it is laid; None half of the time."""
    if cutouts is None or not garment.flat or rng.random() > 0.5 * strength:
        return None
    if garment.attributes["shop_mode"] == "folded":
        return None  # real sleeves that lie out would be laid across the front
    for _ in range(2):  # half of them don't fit; a third try costs more than it finds
        cutout = cutouts.draw(rng, kind_of(garment.attributes))
        # Neither mask has the garment's inside.
        face = cv2.subtract(garment.shop_alpha, garment.shop_inner)
        grid = None if cutout is None else lay(cutout, face, garment.shop_landmarks)
        if cutout is not None and grid is not None:
            return cutout, grid
    return None


def _skin_marks(rng: np.random.Generator, parse: np.ndarray) -> np.ndarray:
    """Gain (h, w, 3) of tattoos or blotches of shadow on the limbs; 1 where there are none.

    Args:
        parse: uint8 (h, w), of the picture in which they must be seen.
    """
    h, w = parse.shape
    gain = np.ones((h, w, 3), np.float32)
    limbs = np.argwhere(np.isin(parse, _LIMBS))
    if not len(limbs):
        return gain
    noise = cv2.GaussianBlur(
        rng.standard_normal((h, w), dtype=np.float32), (0, 0), float(rng.uniform(0.8, 3.0))
    )
    lines = (np.abs(noise) < 0.35 * noise.std()) | (noise > 1.2 * noise.std())
    y, x = np.mgrid[:h, :w]
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = limbs[int(rng.integers(len(limbs)))]
        ry, rx = rng.uniform(4, 22, 2)
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        drawn = inside & lines if rng.random() < 0.75 else inside
        soft = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 0.7)[..., None]
        ink = (rng.uniform(0.25, 0.75) * rng.uniform(0.85, 1.15, 3)).astype(np.float32)
        gain = (gain * (1 + soft * (ink - 1))).astype(np.float32)
    return gain


def _dress_up(
    albedo: np.ndarray, scene: Scene, outfit: int, textures: dict[int, np.ndarray | None]
) -> None:
    """Lays garments' textures onto the float32 albedo of an outfit, in place."""
    for garment, texture in textures.items():
        if texture is None:
            continue
        mask = seen_of(scene, outfit, garment).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            continue
        box = (slice(y, y + h), slice(x, x + w))
        flow = scene.worn_flow[scene.worn(outfit, garment)][box].astype(np.float32)
        drawn = cv2.remap(
            texture, flow[..., 0] * NET_WIDTH - 0.5, flow[..., 1] * NET_HEIGHT - 0.5,
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        part = mask[box].astype(np.float32)
        # The rim mixes with what is behind it, as rendered edges do.
        soft = (cv2.blur(part, (3, 3)) * part)[..., None]
        albedo[box] += soft * (drawn - albedo[box])


def _said_tucked(
    scene: Scene, before: int, after: int, category: str, rng: np.random.Generator
) -> bool | None:
    """Whether the words say that a top is worn tucked in (or not): always where it is worn other
    than the old one, so that without words it is worn as the old one was (but for tops that are
    never tucked in: nobody says so)."""
    if category != "upper":
        return None
    was, now = (bool(scene.meta["tucked"][i]) for i in (before, after))
    kind = garment_of(scene, outfit_of(scene, after)[category]).attributes.get("kind")
    if (was != now and kind not in NEVER_TUCKED) or rng.random() < 0.1:
        return now
    return None


def styling_of(how: Mapping[str, int | bool | None]) -> np.ndarray:
    """float32 (4,), as `contract.STYLING`, of what `styled` is given: of `tucked`, None is 0."""
    tucked = {None: 0, False: -1, True: 1}[how["tucked"]]  # type: ignore[index]
    return np.array([tucked if n == "tucked" else float(how[n] or 0) for n in STYLING], np.float32)


def words_of(attributes: dict[str, str], rng: np.random.Generator) -> dict[str, np.ndarray | str]:
    """What E^T's heads learn from: sentences, and what they say."""
    first = COLOURS.get(str(attributes["colour"]), (0.5, 0.5, 0.5))
    second = COLOURS.get(str(attributes.get("second_colour") or attributes["colour"]), first)
    pattern = str(attributes["pattern"])
    sentence, how = styling_request(attributes, rng)
    return {
        "how_words": sentence,
        "how": np.array([values.index(how[name]) for name, values in STYLING.items()]),
        "words": sample_caption(attributes, rng),
        "words_colours": np.array([*first, *second], np.float32),
        "words_pattern": np.array(PATTERNS.index(pattern) if pattern in PATTERNS else 0),
        "words_shape": np.array(shape_of(attributes)),
    }


def _joints_of(scene: Scene, mirrored: bool) -> np.ndarray:
    """A pair's `joints`, see `compose`."""
    x, y = scene.joints.T
    x = ((POSE_SIZE - x if mirrored else x) - MARGIN) / NET_WIDTH
    y = y / NET_HEIGHT
    inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    joints = np.stack([x, y, inside], 1).astype(np.float32)
    return joints[_MIRROR_JOINTS] if mirrored else joints


def _depth_of(scene: Scene, outfit: int, mirrored: bool, hidden: np.ndarray) -> np.ndarray:
    """A pair's `depth_before` or `depth_after`, see `compose`.

    Args:
        hidden: bool (256, 256), where something of unknown distance is in front, or no photo is.
    """
    if scene.depth is None:
        return np.zeros((NET_HEIGHT, NET_WIDTH), np.uint16)
    depth = np.where(hidden, 0, scene.depth[outfit])
    depth = depth[:, ::-1] if mirrored else depth
    return np.ascontiguousarray(depth[:, MARGIN : MARGIN + NET_WIDTH])


def compose(
    scene: Scene, before: int, after: int, category: str, rng: np.random.Generator,
    photos: RealPhotos | None, options: Options, cutouts: Cutouts | None = None,
) -> dict[str, np.ndarray | str]:  # fmt: skip
    """One training pair.

    With `cutouts`, half of the flat garments are real ones, laid onto the rendered garment; the
    in-shop picture is then the photo itself, its landmarks those of the rendered one, led on.

    Returns:
        before, after: uint8 (256, 256, 3); shop, shop_seen uint8 (256, 192, 3), the in-shop picture
        and what the networks see of it; shop_mask uint8 (256, 192), the garment without its
        inside, shop_unknown uint8 (256, 192), 255 where that isn't known,
        shop_inside float16 (256, 192), see `inside_distance`;
        shop_landmarks, landmarks: float32 (K, 3) x, y in 0..1 of canvas and of the 3:4 view, and
        whether there is one; flow float32 (2, 256, 192) in 0..1 of the canvas, valid uint8
        (256, 192); parse_before, parse_after uint8 (256, 192); drawn uint8 (256, 192), where the
        new garment is; old uint8 (256, 192), where what it replaces was; under uint8 (256, 192),
        where the top worn before is seen beneath the new, open one; joints float32 (33, 3), the
        body's in BlazePose's order, x, y in 0..1 of the 3:4 view (beyond it, too) and 1 where that
        is inside it, whether or not something hides the joint (of photographed people they are
        where BlazePose sees them); depth_before, depth_after uint16 (256, 192), tenths of a
        millimetre from the camera's plane to what is seen of the person: 0 where that is nobody,
        where something else was put in front or no photo is, and all over where the scene has no
        depth (photographed people's); category int64;
        tucked bool, whether the top is worn tucked in after; styling float32 (4,), how the caption
        says that it is worn (`contract.STYLING`);
        caption (str, empty: none), truth_caption (str); restyle float32 (5,): strength, colour,
        weight; and `words*` and `how*`, what the painter and E^T's `styling` learn from.
    """
    s = options.strength
    outfits = {i: outfit_of(scene, i) for i in (before, after)}
    wearing = {i: [*outfits[i].values(), beneath_of(scene, i)] for i in outfits}
    wearing = {i: [g for g in garments if g >= 0] for i, garments in wearing.items()}
    worn = sorted({g for garments in wearing.values() for g in garments})
    fabric = {g: _garment_texture(rng, garment_of(scene, g), photos, s) for g in worn}
    real: dict[int, tuple[Cutout, np.ndarray]] = {}
    for g in worn if cutouts is not None else ():
        found = _real_garment(rng, garment_of(scene, g), cutouts, s)
        if found is not None:
            real[g], fabric[g] = found, texture_of(*found)
    chosen = outfits[after][category]
    garment = garment_of(scene, chosen)
    place = scene.worn(after, chosen)
    skin, hair = tint(rng, 0.07 * s), tint(rng, 0.25 * s)
    marks = _skin_marks(rng, scene.parse[before]) if rng.random() < 0.25 * s else None
    gains = np.ones((len(PARSE), 3), np.float32)
    gains[_SKIN], gains[_HAIR] = skin, hair
    back = backdrop(rng, photos, POSE_SIZE, POSE_SIZE, 0.6)
    camera = Camera(rng, s, (POSE_SIZE, POSE_SIZE))
    contrast = float(np.clip(rng.normal(1, 0.25 * s), 0.4, 1.7))
    dim = float(np.exp(rng.normal(0, 0.12 * s)))
    alphas = [scene.alpha[outfit].astype(np.float32) / 255 for outfit in (before, after)]
    if rng.random() < 0.35 * s:
        # One shadow in both: where no garment changes, the picture must not.
        back = back * shaded(rng, np.maximum(*alphas))
    pictures = []
    # Of their own, so that pairs with and without are the same but for them.
    chance, fading, ending = rng.spawn(3)
    drawn, under = drawn_of(scene, after, category)
    fades = None
    if fading.random() < options.fades:
        fades = faded(fading, POSE_SIZE, POSE_SIZE)
    for outfit, alpha in zip((before, after), alphas, strict=True):
        parse = scene.parse[outfit]
        albedo = scene.albedo[outfit].astype(np.float32) / 255
        _dress_up(albedo, scene, outfit, {g: fabric[g] for g in wearing[outfit]})
        # Not where the old top stays between the edges of an open one.
        if outfit == before and chance.random() < options.blocks and not under.any():
            replaced = np.isin(parse, [PARSE.index(n) for n in OLD_GARMENTS[category]])
            blocks = colour_blocks(chance, replaced, np.isin(parse, _SKIN))
            albedo = albedo if blocks is None else dyed(albedo, replaced, blocks)
        if fades is not None:
            kept = np.isin(parse, _CLOTH) & ((outfit == before) | (drawn == 0))
            albedo *= np.where(kept[..., None], fades, 1)
        albedo *= gains[parse]
        if marks is not None:
            albedo *= np.where(np.isin(parse, _SKIN)[..., None], marks, 1)
        shade = (scene.shade[outfit].astype(np.float32) / 128 - 1) * contrast + 1
        albedo *= (np.clip(shade, 0.05, 2) * dim)[..., None]
        albedo += back * (1 - alpha[..., None])
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
    beyond = np.zeros((POSE_SIZE, POSE_SIZE), bool)
    if ending.random() < options.ends:
        beyond[:] = True
        beyond[within(ending, POSE_SIZE, POSE_SIZE, MARGIN, MARGIN + NET_WIDTH)] = False
        for shot in shots:
            shot[beyond] = 0

    flow, valid = scene.worn_flow[place], scene.worn_valid[place]
    texture = fabric[chosen]
    if chosen in real:
        cutout, grid = real[chosen]
        shop = Camera(rng, s, (NET_HEIGHT, NET_WIDTH))(cutout.photo.astype(np.float32) / 255)
        shop_mask, flow = cutout.mask.copy(), flow_of(grid, flow)
        # Where the photo's own inside ends is E^I's own guess: nothing to teach it by.
        inner = mask_of(grid, garment.shop_inner)
        unknown = cv2.dilate(inner, np.ones((11, 11), np.uint8))
        shop_landmarks = marks_of(grid, garment.shop_landmarks)
    else:
        shop = shop_picture(rng, garment, texture, photos, s)
        shop_mask = cv2.subtract(garment.shop_alpha, garment.shop_inner)
        unknown, shop_landmarks = np.zeros_like(shop_mask), garment.shop_landmarks
    if chosen not in real and garment.flat and rng.random() < 0.7 * s:
        shop, shop_mask, shop_landmarks, flow = widen(rng, shop, shop_mask, shop_landmarks, flow)
    if chance.random() < options.bend:
        shop, masks, shop_landmarks, flow = bend(
            chance, shop, np.stack([shop_mask, unknown], 2), shop_landmarks, flow
        )
        shop_mask, unknown = masks[..., 0], masks[..., 1]
    if category == "upper" and rng.random() < 0.15 * s:
        shop, shop_mask, shop_landmarks = shop.copy(), shop_mask.copy(), shop_landmarks.copy()
        hidden = tuck(rng, shop, shop_mask, shop_landmarks, photos).astype(np.uint8)
        # Worn, the hidden part has no true flow: `inside_loss` keeps it within what is seen.
        to_x, to_y = (
            flow.astype(np.float32) * np.array([NET_WIDTH, NET_HEIGHT], np.float32) - 0.5
        ).T
        gone = cv2.remap(hidden, to_x.T, to_y.T, cv2.INTER_NEAREST)
        valid = valid * (1 - gone)
    shop, masks, shop_landmarks, flow = jitter_shop(
        rng, shop, np.stack([shop_mask, unknown], 2), shop_landmarks, flow, s
    )
    shop_mask, unknown = masks[..., 0], masks[..., 1]
    seen = without_background(shop) if chance.random() < options.cut else shop
    lost = np.not_equal(seen, shop).any(2) & (shop_mask > 128)
    if lost.sum() > _MOST_LOST * (shop_mask > 128).sum():
        seen = shop  # a dark garment on dark ground was taken for its shadow
    landmarks = scene.worn_landmarks[place].astype(np.float32).copy()
    parses = [scene.parse[before].copy(), scene.parse[after].copy()]
    old_classes = np.zeros(len(PARSE), np.uint8)
    old_classes[[PARSE.index(n) for n in OLD_GARMENTS[category]]] = 1
    if cut is not None:
        drawn[cut] = under[cut] = 0
        valid = valid.copy()
        valid[cut] = 0
        for parse in parses:
            parse[cut] = PARSE.index("other")
    drawn, under, valid = (np.where(beyond, 0, m).astype(m.dtype) for m in (drawn, under, valid))
    for parse in parses:
        parse[beyond] = PARSE.index("background")
    old = old_classes[parses[0]] * (1 - under)
    mirrored = bool(rng.random() < 0.5)
    if mirrored:  # the person; left and right change places
        shots = [shot[:, ::-1] for shot in shots]
        parses = [_MIRROR_PARSE[parse[:, ::-1]] for parse in parses]
        drawn, under, old, valid = (m[:, ::-1] for m in (drawn, under, old, valid))
        flow = flow[:, ::-1].copy()
        flow[..., 0] = 1 - flow[..., 0]
        landmarks[:, 0] = POSE_SIZE - landmarks[:, 0]
        landmarks = landmarks[_MIRROR]
        shop, seen, shop_mask, unknown = (m[:, ::-1] for m in (shop, seen, shop_mask, unknown))
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
    how = {**scene.meta["stylings"][after], "tucked": _said_tucked(
        scene, before, after, category, rng)}  # fmt: skip
    said = styled(caption, rng, **how)
    if said != caption:
        caption, truth = said, truth and styled(truth, rng, **how)
        restyle[4] = 1  # of a colour these words say nothing
    view = slice(MARGIN, MARGIN + NET_WIDTH)
    hidden = beyond.copy()
    if cut is not None:
        hidden[cut] = True
    landmarks[:, 0] = (landmarks[:, 0] - MARGIN) / NET_WIDTH
    landmarks[:, 1] = landmarks[:, 1] / NET_HEIGHT
    return {
        "before": np.ascontiguousarray(shots[0]),
        "after": np.ascontiguousarray(shots[1]),
        "shop": np.ascontiguousarray(shop),
        "shop_seen": np.ascontiguousarray(seen),
        "shop_mask": np.ascontiguousarray(shop_mask),
        "shop_unknown": np.ascontiguousarray(unknown),
        "shop_inside": inside_distance(shop_mask),
        "shop_landmarks": shop_landmarks.astype(np.float32),
        "landmarks": landmarks.astype(np.float32),
        "flow": np.ascontiguousarray(flow[:, view].transpose(2, 0, 1)).astype(np.float32),
        "valid": np.ascontiguousarray((valid * drawn)[:, view]),
        "parse_before": np.ascontiguousarray(parses[0][:, view]),
        "parse_after": np.ascontiguousarray(parses[1][:, view]),
        "drawn": np.ascontiguousarray(drawn[:, view]),
        "old": np.ascontiguousarray(old[:, view]),
        "under": np.ascontiguousarray(under[:, view]),
        "joints": _joints_of(scene, mirrored),
        "depth_before": _depth_of(scene, before, mirrored, hidden),
        "depth_after": _depth_of(scene, after, mirrored, hidden),
        "category": np.array(CATEGORIES.index(category)),
        "tucked": np.array(bool(scene.meta["tucked"][after])),
        "styling": styling_of(how),
        "caption": caption,
        "truth_caption": truth,
        "restyle": restyle,
        "mean_colour": mean.astype(np.float32),
        **words_of(garment.attributes, rng),
    }
