"""Renders a garment's in-shop picture: flat, or worn by somebody else."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from training.data import bodies, wardrobe
from training.data.drape import Draped, Wearer
from training.data.looks import random_looks
from training.data.poses import Poser, rotation
from training.data.renderer import INNER, View, orthographic, perspective, random_light
from training.data.studio import CODES, Item, Shop, Studio, camera
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH

_FOLDED = 0.06
"""Share of long sleeves that lie folded over the garment's front."""
_LOOK = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])


def shop_of(studio: Studio, item: Item, rng: np.random.Generator, scale: int = 1) -> Shop:
    """A random in-shop picture of the garment, (NET_HEIGHT, NET_WIDTH) times `scale`."""
    made = _worn if rng.random() < 0.35 else _flat
    return made(studio, item, rng, scale)


def _flat(studio: Studio, item: Item, rng: np.random.Generator, scale: int = 1) -> Shop:
    model, cut = studio.model, item.cut
    person = bodies.Person(
        float(rng.uniform(0.1, 0.95)),
        0.1,
        float(rng.uniform(0.35, 0.6)),
        float(rng.uniform(0.4, 0.6)),
        0.5,
        0.5,
        float(rng.uniform(0.1, 0.5)),
        (0.33, 0.33, 0.34),
    )
    shaped = model.shape(person)
    poser = Poser(model, shaped)
    r: dict[str, np.ndarray] = {}
    # Cloth that lies flat is wider than on a round body: half its circumference, 1.6 times what is
    # seen of a sleeve on an arm of 45 mm.
    cut = dataclasses.replace(
        cut,
        ease=cut.ease + rng.uniform(0.0, 0.015),
        taper=cut.taper * rng.uniform(0.5, 1.0),
        sleeve_ease=cut.sleeve_ease + rng.uniform(0.006, 0.034),
        leg_ease=cut.leg_ease + rng.uniform(0.002, 0.014),
    )
    # Shops lay long sleeves down beside the body more often than out.
    down = cut.sleeve <= 0 or (cut.sleeve > 0.45 and rng.random() < 0.6)
    angle = np.radians(rng.uniform(12, 40) if down else rng.uniform(15, 80))
    spread = rng.uniform(0.0, 0.09)
    bent = rng.uniform(0.93, 0.998)
    folded = rng.random(2) < _FOLDED if cut.sleeve > 0.45 else np.zeros(2, bool)
    for s, x in (("L", 1.0), ("R", -1.0)):
        shoulder = poser.head(f"upperarm01.{s}")
        reach = sum(
            float(np.linalg.norm(poser.head(f"{a}.{s}") - poser.head(f"{b}.{s}")))
            for a, b in (("lowerarm01", "upperarm01"), ("wrist", "lowerarm01"))
        )
        a = angle + rng.normal(0, 0.06)
        target = shoulder + reach * bent * np.array([x * np.sin(a), 0.01, -np.cos(a)])
        if folded[0 if x > 0 else 1]:  # over the front, as shirts are laid to show their cuffs
            across = np.array([-x * rng.uniform(0.15, 0.5), 0, -rng.uniform(0.35, 0.75)])
            target = shoulder + reach * across + [0, -0.16, 0]
        poser.arm(r, s, target, np.array([x * 0.6, 0.8, 0.2]))
        hip, ankle = poser.head(f"upperleg01.{s}"), poser.head(f"foot.{s}")
        length = float(np.linalg.norm(ankle - hip))
        poser.leg(
            r,
            s,
            np.array([hip[0] + x * (spread - 0.02), hip[1], hip[2] - 0.995 * length]),
            np.array([0, -1.0, 0]),
        )
    wearer = Wearer(studio.template, shaped, model.transforms(shaped, r))
    draped = wearer.drape(cut)
    wide = rng.uniform(1.0, 1.09)
    deep = rng.uniform(0.3, 0.45)
    centre_y = -0.01

    def flatten(p: np.ndarray | None) -> np.ndarray | None:
        if p is None:
            return None
        q = p.copy()
        q[:, 0] *= wide
        q[:, 1] = (q[:, 1] - centre_y) * deep
        return q

    flat = Draped(flatten(draped.shell), flatten(draped.grid))  # type: ignore[arg-type]
    c = studio.template.canon
    hidden = []
    for side, name in ((1, "left"), (-1, "right")):
        if not folded[0 if side > 0 else 1]:
            continue
        behind = rng.random() < 0.25  # the front, not before it
        lifted = np.clip(c.s_arm / 0.25, 0, 1) * (c.arm > 0.5) * (c.pos[:, 0] * side > 0)
        flat.shell[:, 1] += (0.12 if behind else -0.12) * lifted
        hidden += [LANDMARKS.index(f"{mark}_{name}") for mark in ("elbow", "cuff")] * behind
    turn = rng.uniform(-25, 25) if rng.random() < 0.12 else rng.uniform(-8, 8)
    pitch = rotation((1, 0, 0), rng.uniform(-4, 14))
    view = View(rotation((0, 0, 1), turn) @ _LOOK @ pitch, np.zeros(3), np.eye(4), True)
    shown = flat.shell[item.fields.inside > 0]
    if flat.grid is not None:
        shown = np.concatenate([shown, flat.grid])
    seen = view.camera(shown)
    view.projection = orthographic(_window_of(seen[:, :2], rng, (0.03, 0.15)))
    studio.renderer.begin(NET_WIDTH, NET_HEIGHT, view, random_light(rng), scale)
    studio.draw_item(item, flat, flat, view)
    made = _made(studio, item, view, flat, "folded" if folded.any() else "flat")
    made.landmarks[hidden] = 0
    return made


def _worn(studio: Studio, item: Item, rng: np.random.Generator, scale: int = 1) -> Shop:
    model = studio.model
    person = bodies.random_person(rng)
    if item.cut.category == "dress" and person.gender < 0.5 and rng.random() < 0.8:
        person = bodies.Person(**{**person.__dict__, "gender": 1 - person.gender})
    shaped = model.shape(person)
    pose = Poser(model, shaped).random(
        rng,
        str(rng.choice(["standing", "contrapposto", "walking"], p=[0.6, 0.25, 0.15])),
        str(
            rng.choice(
                ["hanging", "away", "hips", "one_hip", "pockets"], p=[0.45, 0.3, 0.1, 0.1, 0.05]
            )
        ),
    )
    wearer = Wearer(studio.template, shaped, pose.transforms)
    others: list[wardrobe.Garment] = []
    category = item.cut.category
    if category == "upper":
        others = [wardrobe.random_lower(rng, person.gender)]
    elif category == "lower":
        others = [wardrobe.random_upper(rng)]
    tucked = category == "lower" and rng.random() < 0.5
    worn = [Item(studio, g, rng) for g in others]
    draped = wearer.drape(item.cut)
    yaw = float(np.clip(rng.normal(0, 12), -25, 25))
    distance = rng.uniform(2.2, 4.5)
    view = camera(
        np.zeros(3) + [0, 0, 0.3], yaw, distance, rng.uniform(-0.1, 0.35), rng.normal(0, 1.0)
    )
    shown = draped.shell[item.fields.inside > 0]
    if draped.grid is not None:
        shown = np.concatenate([shown, draped.grid])
    c = view.camera(shown)
    uv = c[:, :2] / c[:, 2:]
    x0, y0 = uv.min(0)
    x1, y1 = uv.max(0)
    part = rng.uniform(0.42, 0.8)
    height = (y1 - y0) / part
    height = max(height, (x1 - x0) / 0.9 / 0.75)
    cx = (x0 + x1) / 2 + rng.normal(0, 0.03) * height
    slack = height - (y1 - y0)
    share = {"upper": 0.42, "lower": 0.75, "dress": 0.5}[category] + rng.normal(0, 0.08)
    top = y0 - slack * float(np.clip(share, 0.05, 0.95))
    view.projection = perspective(
        np.array([cx - height * 0.375, top, cx + height * 0.375, top + height])
    )
    looks = random_looks(rng, person)
    studio.renderer.begin(NET_WIDTH, NET_HEIGHT, view, random_light(rng), scale)
    items: list[tuple[Item, Draped, Shop | None]] = [(item, draped, None)]
    items += [(i, wearer.drape(i.cut), None) for i in worn]
    codes = dict.fromkeys(CODES.values(), 0)
    codes[item.code] = item.code
    studio.draw_person(wearer, looks, studio.dresser.skin_colours(looks), items, tucked, codes)
    made = _made(studio, item, view, draped, "worn")
    for i in worn:
        i.release()
    return made


def _made(studio: Studio, item: Item, view: View, draped: Draped, mode: str) -> Shop:
    layers = studio.renderer.finish()
    points = item.anchors.positions(draped)
    xy = view.picture(points[:, :3])
    landmarks = np.concatenate([xy, points[:, 3:]], 1).astype(np.float32)
    landmarks[points[:, 3] == 0] = 0
    return Shop(layers, view, draped, mode, landmarks)


def _window_of(
    points: np.ndarray, rng: np.random.Generator, margins: tuple[float, float]
) -> np.ndarray:
    """A 3:4 window around (n, 2) points with random margins."""
    low, high = points.min(0), points.max(0)
    size = high - low
    margin = rng.uniform(*margins)
    height = max(size[1], size[0] / 0.75) / (1 - 2 * margin)
    slack = np.array([height * 0.75, height]) - size
    share = 0.5 + rng.uniform(-0.2, 0.2, 2)
    start = low - slack * share
    return np.array([start[0], start[1], start[0] + height * 0.75, start[1] + height])


def garment_alpha(shop: Shop, item: Item) -> np.ndarray:
    """uint8 (H, W): the share of each pixel that the garment covers."""
    return _share(shop, (shop.layers.fine_code % INNER) == item.code)


def garment_inner(shop: Shop, item: Item) -> np.ndarray:
    """uint8 (H, W): the share of each pixel that shows the garment's inside, which nobody sees
    when it is worn: the back of a neck, of a waist, of a hem. A hood's inside is seen."""
    inner = (shop.layers.fine_code == item.code + INNER) & (not item.cut.hood)
    # Steep creases show their far side as lines.
    side = 4 * (shop.layers.alpha.shape[0] // NET_HEIGHT) + 1
    line = np.ones((side, side), np.uint8)
    opened = cv2.morphologyEx(inner.astype(np.uint8), cv2.MORPH_OPEN, line)
    return _share(shop, opened > 0)


def _share(shop: Shop, fine: np.ndarray) -> np.ndarray:
    h, w = shop.layers.alpha.shape
    share = cv2.resize(fine.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
    return (share * 255).round().astype(np.uint8)
