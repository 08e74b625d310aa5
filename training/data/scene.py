"""Makes one scene: a body, pose and camera in several outfits, with all truths."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from training.data import bodies, wardrobe
from training.data.carried import draw_carried, random_carried
from training.data.drape import Draped, Wearer
from training.data.looks import SHOULDERS, random_looks
from training.data.outfits import NEVER_TUCKED
from training.data.poses import Poser
from training.data.renderer import INNER, Layers, View, perspective, random_light
from training.data.shards import DEPTH_STEPS, RENDERER
from training.data.shop_render import garment_alpha, garment_inner, shop_of
from training.data.studio import BENEATH, CODES, Creases, Item, Shop, Studio, camera
from training.data.styling import AS_SHOWN, Styling, random_styling
from tryon.contract import POSE_SIZE
from tryon.preprocess import anchors_from_joints, square_around, window_from_anchors

SCENE_KINDS = {"upper": 0.6, "lower": 0.2, "dress": 0.2}


def make_scene(
    studio: Studio,
    seed: int,
    index: int,
    kind: str | None = None,
    outfits: int | None = None,
    legs: str | None = None,
    arms: str | None = None,
    scale: int = 1,
    whole: bool = False,
) -> dict[str, np.ndarray]:
    """The arrays of scene `index` of the set `seed` (see shards.Scene); always the same.

    `scale`: every picture is drawn so many times as large: the same body, pose, garments and light,
    its rest is that of the same seed at scale 1. `whole`: trousers, too, are seen with the head, as
    in a photo, and not as the generator sees them.
    """
    rng = np.random.default_rng([seed, index])
    kind = kind or str(rng.choice(list(SCENE_KINDS), p=list(SCENE_KINDS.values())))
    outfits = outfits or int(rng.integers(5, 7))
    model = studio.model
    person = bodies.random_person(rng)
    if kind == "dress" and person.gender < 0.5 and rng.random() < 0.85:
        person = bodies.Person(**{**person.__dict__, "gender": 1 - person.gender})
    shaped = model.shape(person)
    if kind == "dress" and legs is None:
        legs = str(
            rng.choice(
                ["standing", "contrapposto", "walking", "crossed_legs", "sitting"],
                p=[0.52, 0.2, 0.14, 0.06, 0.08],
            )
        )
    pose = Poser(model, shaped).random(rng, legs, arms)
    wearer = Wearer(studio.template, shaped, pose.transforms, pose.legs == "sitting")
    looks = random_looks(rng, person)
    # Numbers of its own: the rest of a scene is the same with and without.
    carried = random_carried(np.random.default_rng([seed, index, 1]), pose)
    skin = studio.dresser.skin_colours(looks)
    joints3 = studio.joints(wearer)
    centre = (joints3[11] + joints3[12] + joints3[23] + joints3[24]) / 4
    yaw = (
        rng.uniform(-60, 60) if rng.random() < 0.12 else float(np.clip(rng.normal(0, 16), -35, 35))
    )
    view = camera(centre, yaw, rng.uniform(2.0, 5.0), rng.uniform(-0.15, 0.45), rng.normal(0, 1.5))
    c = view.camera(joints3)
    uv = c[:, :2] / c[:, 2:]
    framed = "dress" if whole and kind == "lower" else kind
    square = square_around(window_from_anchors(*anchors_from_joints(uv), framed))
    side = square[2] - square[0]
    grown = side * np.exp(rng.uniform(np.log(0.85), np.log(1.25)))
    mid = (square[:2] + square[2:]) / 2 + rng.uniform(-0.08, 0.08, 2) * side
    view.projection = perspective(np.concatenate([mid - grown / 2, mid + grown / 2]))
    light = random_light(rng)

    made: list[Item] = []
    plan: list[dict[str, int]] = []

    def new(garment: wardrobe.Garment) -> int:
        made.append(Item(studio, garment, rng))
        return len(made) - 1

    if kind == "upper":
        shared = new(wardrobe.random_lower(rng, person.gender))
        plan = [{"upper": new(wardrobe.random_upper(rng)), "lower": shared} for _ in range(outfits)]
    elif kind == "lower":
        shared = new(wardrobe.random_upper(rng))
        plan = [
            {"lower": new(wardrobe.random_lower(rng, person.gender)), "upper": shared}
            for _ in range(outfits)
        ]
    else:
        for o in range(outfits):
            plan.append(
                {"dress": new(wardrobe.random_dress(rng))}
                if o % 2 == 0
                else {
                    "upper": new(wardrobe.random_upper(rng)),
                    "lower": new(wardrobe.random_lower(rng, person.gender)),
                }
            )
    tucked = [bool(rng.random() < 0.3) for _ in plan]
    if kind == "lower":
        tucked = [tucked[0]] * len(plan)
    shops = [shop_of(studio, item, rng, scale) for item in made]
    drapes = [wearer.drape(item.cut) for item in made]
    # Numbers of its own: whoever wears it as it is shown is the same with and without.
    stylings = stylings_of(np.random.default_rng([seed, index, 3]), kind, plan, made)
    stylings, beneath = with_tops_beneath(
        np.random.default_rng([seed, index, 4]), stylings, plan, made, tucked
    )
    creases = Creases.random(np.random.default_rng([seed, index, 5]))
    pictures: list[Layers] = []
    worn: list[Worn] = []
    for o, outfit in enumerate(plan):
        studio.renderer.begin(POSE_SIZE, POSE_SIZE, view, light, scale)
        items = dressed_in(studio, wearer, kind, outfit, made, shops, drapes, stylings[o])
        tuck = (
            tucked[o]
            and beneath[o] < 0
            and not any(
                item.garment.attributes["kind"] in NEVER_TUCKED
                or (item.cut.hem > 0.25 and item.cut.category == "upper")
                for item, _, _ in items.values()
            )
        )
        tucked[o] = tuck
        drawn: list[tuple[Item, Draped, Shop | None]] = list(items.values())
        if beneath[o] >= 0:
            drawn.append((made[beneath[o]].beneath(), drapes[beneath[o]], shops[beneath[o]]))
        studio.draw_person(wearer, looks, skin, drawn, tuck, creases=creases)
        _, outermost, _ = items.get("upper") or items["dress"]
        draw_carried(studio.renderer, wearer, carried, outermost.shell)
        layers = studio.renderer.finish()
        pictures.append(layers)
        for name, (item, draped, shop) in items.items():
            flow, valid = flow_truth(layers, shop, item.code)
            worn.append((o, outfit[name], flow, valid, marks_truth(view, item, draped, scale)))
        if beneath[o] >= 0:
            g = beneath[o]
            flow, valid = flow_truth(layers, shops[g], BENEATH)
            worn.append((o, g, flow, valid, marks_truth(view, made[g], drapes[g], scale)))
    for item in made:
        item.release()
    meta = {
        "renderer": RENDERER,
        "kind": kind,
        "seed": seed,
        "index": index,
        "arms": pose.arms,
        "legs": pose.legs,
        "yaw": float(yaw),
        "gender": person.gender,
        "hair": looks.style,
        "tresses": sum(end < SHOULDERS for end, _, _ in looks.tresses) * (looks.style == "long"),
        "phone": carried.phone,
        "bag": carried.bag,
        "tucked": tucked,
        "beneath": beneath,
        "stylings": [styling.words() for styling in stylings],
        "garments": [
            i.garment.attributes | {"shop_mode": s.mode} for i, s in zip(made, shops, strict=True)
        ],
    }
    joints = view.picture(joints3) * POSE_SIZE * scale
    depth = np.stack([p.depth for p in pictures])
    return {
        **arrays_of(pictures, joints, plan, worn, made, shops, meta),
        "depth": np.clip(np.rint(depth * DEPTH_STEPS), 0, 65535).astype(np.uint16),
    }


Worn = tuple[int, int, np.ndarray, np.ndarray, np.ndarray]
"""A garment as an outfit wears it: outfit, garment, flow, validity and landmarks."""


def stylings_of(
    rng: np.random.Generator, kind: str, plan: list[dict[str, int]], made: list[Item]
) -> list[Styling]:
    """How each outfit wears the garment that scenes of this kind change."""
    return [
        random_styling(rng, made[outfit[kind]].cut) if kind in outfit else AS_SHOWN
        for outfit in plan
    ]


_CLOSE = 0.014
"""A top that is worn beneath another is no looser."""


def with_tops_beneath(
    rng: np.random.Generator, stylings: list[Styling], plan: list[dict[str, int]],
    made: list[Item], tucked: list[bool],
) -> tuple[list[Styling], list[int]]:  # fmt: skip
    """Which top each outfit wears beneath an open one, -1: none.

    It is that of another outfit, worn alike, so that there is a picture of the person with and
    without the open one over it. Where there is no top that fits beneath, the open one is closed.
    """
    new, beneath = list(stylings), [-1] * len(plan)
    for o, styling in enumerate(stylings):
        if not styling.gap:
            continue
        others = [
            p["upper"] for k, p in enumerate(plan)
            if "upper" in p and stylings[k] == AS_SHOWN and not tucked[k]
        ]  # fmt: skip
        fits = [
            g for g in others
            if made[g].cut.ease <= _CLOSE and made[g].cut.thickness < 0.01 and not made[g].cut.hood
        ]  # fmt: skip
        if fits:
            beneath[o] = int(rng.choice(fits))
        else:
            new[o] = replace(styling, gap=0.0)
    return new, beneath


def dressed_in(
    studio: Studio, wearer: Wearer, kind: str, outfit: dict[str, int], made: list[Item],
    shops: list[Shop], drapes: list[Draped], styling: Styling,
) -> dict[str, tuple[Item, Draped, Shop]]:  # fmt: skip
    """An outfit's garments on a wearer, by category: that of `kind` in the given way.

    Args:
        drapes: of `made` on this wearer, as they are shown.
    """
    dressed = {}
    for name, g in outfit.items():
        item, draped, shop = made[g], drapes[g], shops[g]
        if name == kind and styling != AS_SHOWN:
            item, carry = item.styled(studio, styling)
            draped = wearer.drape(item.cut)
            shell = (carry @ shop.draped.shell).astype(np.float32)
            shop = replace(shop, draped=Draped(shell, shop.draped.grid))
        dressed[name] = item, draped, shop
    return dressed


def arrays_of(
    pictures: list[Layers], joints: np.ndarray, plan: list[dict[str, int]], worn: list[Worn],
    made: list[Item], shops: list[Shop], meta: dict[str, Any],
) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays of `shards.Scene`, of its outfits' pictures and its garments."""
    uint8 = np.uint8
    return {
        "albedo": np.stack([p.albedo for p in pictures]),
        "shade": np.stack([p.shade for p in pictures]),
        "alpha": np.stack([p.alpha for p in pictures]),
        "parse": np.stack([p.parse for p in pictures]),
        "joints": joints.astype(np.float32),
        "outfit_upper": np.array([p.get("upper", -1) for p in plan], np.int16),
        "outfit_lower": np.array([p.get("lower", -1) for p in plan], np.int16),
        "outfit_dress": np.array([p.get("dress", -1) for p in plan], np.int16),
        "worn_outfit": np.array([w[0] for w in worn], np.int16),
        "worn_garment": np.array([w[1] for w in worn], np.int16),
        "worn_flow": np.stack([w[2] for w in worn]),
        "worn_valid": np.stack([w[3] for w in worn]),
        "worn_landmarks": np.stack([w[4] for w in worn]),
        "garment_category": np.array([CODES[i.cut.category] - 1 for i in made], uint8),
        "garment_shop_albedo": np.stack([s.layers.albedo for s in shops]),
        "garment_shop_shade": np.stack([s.layers.shade for s in shops]),
        "garment_shop_alpha": np.stack(
            [garment_alpha(s, i) for s, i in zip(shops, made, strict=True)]
        ),
        "garment_shop_inner": np.stack(
            [garment_inner(s, i) for s, i in zip(shops, made, strict=True)]
        ),
        "garment_shop_person_alpha": np.stack([s.layers.alpha for s in shops]),
        "garment_shop_parse": np.stack([s.layers.parse for s in shops]),
        "garment_shop_landmarks": np.stack([s.landmarks for s in shops]),
        "garment_shop_worn": np.array([s.mode == "worn" for s in shops], uint8),
        "meta": np.array(json.dumps(meta)),
    }


def flow_truth(layers: Layers, shop: Shop, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Flow (h, w, 2) and validity uint8 (h, w) of one worn garment.

    Flow is float16 in pictures of POSE_SIZE; in larger ones, where that is a quarter of a pixel,
    float32.
    """
    mine = (layers.code % INNER) == code
    flow = np.where(mine[..., None], layers.flow, 0)
    h, w = shop.layers.fine_depth.shape
    x = np.floor(flow[..., 0] * w).astype(int)
    y = np.floor(flow[..., 1] * h).astype(int)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    shown = CODES["upper"] if code == BENEATH else code
    same = shop.layers.fine_code[y, x] == shown
    tolerance = 0.025 if shop.mode == "worn" else 0.012
    near = np.abs(shop.layers.fine_depth[y, x] - layers.shop_depth) < tolerance
    valid = (layers.code == code) & inside & same & near
    precise = np.float16 if len(flow) <= POSE_SIZE else np.float32
    return np.clip(flow, -8, 8).astype(precise), valid.astype(np.uint8)


def marks_truth(view: View, item: Item, draped: Draped, scale: int = 1) -> np.ndarray:
    """A worn garment's landmarks, float32 (K, 3): x, y in pixels, and whether it has each."""
    points = item.anchors.positions(draped)
    marks = np.concatenate([view.picture(points[:, :3]) * POSE_SIZE * scale, points[:, 3:]], 1)
    marks[points[:, 3] == 0] = 0
    return marks.astype(np.float32)
