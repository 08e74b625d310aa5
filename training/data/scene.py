"""Makes one scene: a body, pose and camera in several outfits, with all truths."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from training.data import bodies, garments, wardrobe
from training.data.fabric import ATLAS_U, ATLAS_V0, ATLAS_V1, ATLAS_W, TILE
from training.data.garments import FAR, RINGS, SECTORS, Cut, Draped, Template, Wearer
from training.data.looks import Dresser, Looks, random_looks
from training.data.poses import Poser, rotation
from training.data.renderer import (
    INNER,
    SUPERSAMPLE,
    Layers,
    Renderer,
    View,
    orthographic,
    perspective,
    random_light,
)
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE, POSE_SIZE
from tryon.preprocess import anchors_from_joints, square_around, window_from_anchors

CODES = {"upper": 1, "lower": 2, "dress": 3}
SCENE_KINDS = {"upper": 0.6, "lower": 0.2, "dress": 0.2}
_LOOK = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])


@dataclass
class Shop:
    """A garment's in-shop picture: its layers, camera, and the garment as it lies in it."""

    layers: Layers
    view: View
    draped: Draped
    mode: str
    landmarks: np.ndarray


class Item:
    """A garment with what drawing it needs; release its textures with `release`."""

    def __init__(self, studio: Studio, garment: wardrobe.Garment, rng: np.random.Generator):
        self.garment, self.cut = garment, garment.cut
        t = studio.template
        self.code = CODES[self.cut.category]
        self.fields = garments.fields(t, self.cut, t.canon)
        self.body_fields = garments.fields(t, self.cut, t.body_canon)
        self.anchors = garments.anchors(t, self.cut)
        self.textures = (
            studio.renderer.texture(garment.fabric.tile),
            studio.renderer.texture(garment.fabric.atlas),
        )
        self.textures[0].repeat_x = self.textures[0].repeat_y = True
        self.textures[1].repeat_x = self.textures[1].repeat_y = False
        self.grid = garments.grid_canonical(t, self.cut) if self.cut.join is not None else None
        self._attributes(t, rng)

    def _attributes(self, t: Template, rng: np.random.Generator) -> None:
        c, cut, f = t.canon, self.cut, self.fields
        lower = cut.category == "lower"
        gauss = lambda v, at, w: np.exp(-(((v - at) / w) ** 2))  # noqa: E731
        if lower:
            limb, v, along = c.leg, c.pos[:, 2], c.pos[:, 2]
            across = (
                0.25
                + gauss(c.s_leg, t.knee, 0.10)
                + 0.8 * gauss(c.s_leg, t.ankle, 0.12)
                + 0.6 * gauss(c.pos[:, 2], 0.08, 0.07)
            )
            down = 0.25 + 0.5 * np.clip(c.s_leg, 0, 1)
        else:
            limb = c.arm
            w = np.clip((c.arm - 0.2) / 0.6, 0, 1)
            w = w * w * (3 - 2 * w)
            v = c.pos[:, 2] * (1 - w) + (0.66 - c.s_arm) * w
            along = v
            across = (
                0.15
                + 1.2 * gauss(c.s_arm, t.elbow, 0.10) * c.arm
                + 0.8 * gauss(c.arm, 0.4, 0.3) * (c.pos[:, 2] < 0.6)
                + 0.6 * gauss(c.pos[:, 2], 0.28, 0.10) * (c.arm < 0.2)
            )
            down = 0.2 + np.clip((0.52 - c.pos[:, 2]) / 0.3, 0, 1) * (c.arm < 0.4) + 0.3 * c.arm
        zero = np.zeros(len(v), np.float32)
        self.shell_attributes = np.stack(
            [c.u, v, c.pos[:, 0], limb, c.limb_u, f.hem, f.neck, f.cuff, zero, across, down, along],
            1,
        ).astype(np.float32)
        if self.grid is not None:
            g = self.grid
            one = np.ones(len(g["z"]), np.float32)
            far = one * FAR
            self.grid_attributes = np.stack(
                [
                    g["u"],
                    g["z"],
                    g["x"],
                    one,
                    g["u"],
                    g["hem"],
                    g["waist"],
                    far,
                    0 * one,
                    0.3 * one,
                    0.9 * one,
                    g["z"],
                ],
                1,
            ).astype(np.float32)
        inside = f.inside
        tri = t.tights.tri
        self.shell_tri = tri[(inside[tri] > -0.03).any(1)]
        loose = np.clip(cut.ease / 0.03 if not lower else cut.leg_ease / 0.02, 0, 1)
        self.uniforms: dict[str, Any] = {
            "tile_m": self.garment.fabric.tile_m,
            "atlas_box": (ATLAS_U, ATLAS_V0, ATLAS_V1, 0.0),
            "ribs": (cut.rib_hem, cut.rib_neck, cut.rib_cuff),
            "rib_colour": tuple(float(x) / 255 for x in self.garment.fabric.second_rgb)
            + (0.95 if self.garment.ribs_second else 0.0,),
            "cls": float(PARSE.index(cut.category)),
            "code": float(self.code),
            "wave": (
                float(rng.uniform(0.05, 0.13) * (0.6 + loose)),
                float(rng.uniform(0.07, 0.16) * (0.6 + 0.6 * loose)),
            ),
            "shift": tuple(float(x) for x in rng.uniform(0, 1, 2)),
            "rib_lines": 1.0 if cut.rib_hem > 0.03 or self.garment.texture == "knit" else 0.3,
        }

    def release(self) -> None:
        for t in self.textures:
            t.release()

    def cover_of(self, c_pos: np.ndarray, c_arm: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """How deep (metres) points lie under this garment, its grid included; below 0: not."""
        if self.cut.join is None:
            return inside
        z = c_pos[:, 2]
        below = np.minimum(z - self.cut.hem - 0.03, self.cut.join - z)
        below = np.where(c_arm < 0.15, below, -FAR)
        return np.maximum(inside, below)


class Studio:
    """Everything that is set up once in a process."""

    def __init__(self) -> None:
        self.model = bodies.load_body_model()
        self.template = Template(self.model)
        self.renderer = Renderer()
        self.dresser = Dresser(self.template)
        self._joint_points()

    def _joint_points(self) -> None:
        """Where BlazePose's joints sit: bones' heads, or vertices of the body."""
        t, d = self.template, self.dresser
        pos = t.body.rest.astype(float)
        head = d.head > 0.5

        def at(*target: float, mask: np.ndarray | None = None) -> int:
            distance = np.linalg.norm(pos - np.array(target), axis=1)
            if mask is not None:
                distance = np.where(mask, distance, 9)
            return int(np.argmin(distance))

        nose = int(np.argmin(np.where(head & (pos[:, 2] < 0.9), pos[:, 1], 9)))
        e, m = d.eye, d.mouth
        points: list[int | str] = [nose]
        for s in (1, -1):
            points += [
                at(s * (e[0] - 0.014), e[1], e[2]),
                at(s * e[0], e[1] - 0.02, e[2]),
                at(s * (e[0] + 0.015), e[1], e[2]),
            ]
        for s in (1, -1):
            points.append(
                int(
                    np.argmax(np.where(head & (np.abs(pos[:, 2] - e[2]) < 0.05), s * pos[:, 0], -9))
                )
            )
        points += [at(0.024, m[1], m[2]), at(-0.024, m[1], m[2])]
        for bone in (
            "upperarm01",
            "lowerarm01",
            "wrist",
            "finger5-1",
            "finger2-1",
            "finger1-2",
            "upperleg01",
            "lowerleg01",
            "foot",
        ):
            points += [f"{bone}.L", f"{bone}.R"]
        for s in (1, -1):
            foot = (pos[:, 2] < -0.76) & (s * pos[:, 0] > 0)
            points.append(int(np.argmax(np.where(foot, pos[:, 1], -9))))
        for s in (1, -1):
            foot = (pos[:, 2] < -0.76) & (s * pos[:, 0] > 0)
            points.append(int(np.argmin(np.where(foot, pos[:, 1], 9))))
        self.joint_sources = points

    def joints(self, wearer: Wearer) -> np.ndarray:
        """BlazePose's 33 joints in the world, float64 (33, 3)."""
        t, model = self.template, self.model
        ids = np.array([p for p in self.joint_sources if isinstance(p, int)])
        surface = model.skin(
            (t.body.matrix[ids] @ wearer.shaped.vertices), t.body.weights[ids], wearer.transforms
        )
        out, k = np.zeros((33, 3)), 0
        for i, p in enumerate(self.joint_sources):
            if isinstance(p, int):
                out[i] = surface[k]
                k += 1
            else:
                b = model.bone[p]
                g = wearer.transforms[b]
                out[i] = g[:3, :3] @ wearer.shaped.heads[b] + g[:3, 3]
        return out

    def draw_item(
        self,
        item: Item,
        draped: Draped,
        shop: Draped,
        shop_view: View,
        shell_cover: np.ndarray | None = None,
        grid_cover: np.ndarray | None = None,
        code: int | None = None,
    ) -> None:
        """Draws a garment as it is draped; `*_cover`: where (> 0.006) something lies over it."""
        t, r = self.template, self.renderer
        uniforms = dict(item.uniforms)
        if code is not None:
            uniforms["code"] = float(code)
        scale = float(r._view.projection[0, 0]) * r._size[0] / 2
        metres = (1.0 if r._view.orthographic else 3.0) / scale
        per_metre = (TILE / item.garment.fabric.tile_m, ATLAS_W / (2 * ATLAS_U))
        uniforms["lod"] = tuple(max(0.0, float(np.log2(metres * n))) for n in per_metre)
        a = item.shell_attributes
        if shell_cover is not None:
            a = a.copy()
            a[:, 8] = shell_cover
        r.cloth(
            draped.shell,
            t.tights.normals(draped.shell),
            a,
            item.shell_tri,
            item.textures,
            uniforms,
            shop.shell,
            shop_view,
        )
        if draped.grid is not None and shop.grid is not None:
            g = item.grid_attributes
            if grid_cover is not None:
                g = g.copy()
                g[:, 8] = grid_cover
            u = dict(uniforms)
            u["ribs"] = (0.015, uniforms["ribs"][0], 0.0)
            if item.cut.category == "dress":
                u["ribs"] = (0.012, 0.0, 0.0)
            r.cloth(
                draped.grid,
                _grid_normals(t, draped.grid),
                g,
                t.grid_tri,
                item.textures,
                u,
                shop.grid,
                shop_view,
            )

    def draw_person(
        self,
        wearer: Wearer,
        looks: Looks,
        skin: np.ndarray,
        items: list[tuple[Item, Draped, Shop | None]],
        tucked: bool,
        code_of: dict[int, int] | None = None,
    ) -> None:
        """Draws a dressed person into the picture that has begun."""
        t = self.template
        covered = np.full(len(t.body.rest), -1.0)
        for item, _, _ in items:
            covered = np.maximum(
                covered, item.cover_of(t.body.rest, t.body_canon.arm, item.body_fields.inside)
            )
        self.dresser.draw(self.renderer, wearer, looks, covered, skin)
        upper = next((i for i, _, _ in items if i.cut.category == "upper"), None)
        lower = next((i for i, _, _ in items if i.cut.category == "lower"), None)
        for item, draped, shop in items:
            shell_cover = grid_cover = None
            if upper and lower:
                if tucked and item is upper:
                    shell_cover = lower.cut.waist - t.canon.pos[:, 2] - t.canon.arm * FAR
                elif not tucked and item is lower:
                    shell_cover = upper.fields.inside
                    if item.grid is not None:
                        grid_cover = item.grid["z"] - upper.cut.hem - upper.cut.hem_curve
            own = Draped(draped.shell, draped.grid)
            self.draw_item(
                item,
                draped,
                shop.draped if shop else own,
                shop.view if shop else self.renderer._view,
                shell_cover,
                grid_cover,
                None if code_of is None else code_of[item.code],
            )

    # ---- in-shop pictures ----------------------------------------------------------------------
    def shop(self, item: Item, rng: np.random.Generator) -> Shop:
        """A random in-shop picture of the garment."""
        return self._worn(item, rng) if rng.random() < 0.35 else self._flat(item, rng)

    def _flat(self, item: Item, rng: np.random.Generator) -> Shop:
        model, cut = self.model, item.cut
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
        # Cloth that lies flat is wider than on a round body: half its circumference.
        cut = dataclasses.replace(
            cut,
            ease=cut.ease + rng.uniform(0.0, 0.015),
            taper=cut.taper * rng.uniform(0.5, 1.0),
            sleeve_ease=cut.sleeve_ease + rng.uniform(0.004, 0.018),
            leg_ease=cut.leg_ease + rng.uniform(0.002, 0.014),
        )
        angle = np.radians(rng.uniform(15, 80) if cut.sleeve > 0 else rng.uniform(15, 40))
        spread = rng.uniform(0.0, 0.09)
        bent = rng.uniform(0.93, 0.998)
        for s, x in (("L", 1.0), ("R", -1.0)):
            shoulder = poser.head(f"upperarm01.{s}")
            reach = sum(
                float(np.linalg.norm(poser.head(f"{a}.{s}") - poser.head(f"{b}.{s}")))
                for a, b in (("lowerarm01", "upperarm01"), ("wrist", "lowerarm01"))
            )
            a = angle + rng.normal(0, 0.06)
            target = shoulder + reach * bent * np.array([x * np.sin(a), 0.01, -np.cos(a)])
            poser.arm(r, s, target, np.array([x * 0.6, 0.8, 0.2]))
            hip, ankle = poser.head(f"upperleg01.{s}"), poser.head(f"foot.{s}")
            length = float(np.linalg.norm(ankle - hip))
            poser.leg(
                r,
                s,
                np.array([hip[0] + x * (spread - 0.02), hip[1], hip[2] - 0.995 * length]),
                np.array([0, -1.0, 0]),
            )
        wearer = Wearer(self.template, shaped, model.transforms(shaped, r))
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
        turn = rng.uniform(-25, 25) if rng.random() < 0.12 else rng.uniform(-8, 8)
        pitch = rotation((1, 0, 0), rng.uniform(-4, 10))
        view = View(rotation((0, 0, 1), turn) @ _LOOK @ pitch, np.zeros(3), np.eye(4), True)
        shown = flat.shell[item.fields.inside > 0]
        if flat.grid is not None:
            shown = np.concatenate([shown, flat.grid])
        c = view.camera(shown)
        view.projection = orthographic(_window_of(c[:, :2], rng, (0.03, 0.15)))
        self.renderer.begin(NET_WIDTH, NET_HEIGHT, view, random_light(rng))
        self.draw_item(item, flat, flat, view)
        return self._made(item, view, flat, "flat")

    def _worn(self, item: Item, rng: np.random.Generator) -> Shop:
        model = self.model
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
        wearer = Wearer(self.template, shaped, pose.transforms)
        others: list[wardrobe.Garment] = []
        category = item.cut.category
        if category == "upper":
            others = [wardrobe.random_lower(rng, person.gender)]
        elif category == "lower":
            others = [wardrobe.random_upper(rng)]
        tucked = category == "lower" and rng.random() < 0.5
        worn = [Item(self, g, rng) for g in others]
        draped = wearer.drape(item.cut)
        yaw = float(np.clip(rng.normal(0, 12), -25, 25))
        distance = rng.uniform(2.2, 4.5)
        view = _camera(
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
        self.renderer.begin(NET_WIDTH, NET_HEIGHT, view, random_light(rng))
        items: list[tuple[Item, Draped, Shop | None]] = [(item, draped, None)]
        items += [(i, wearer.drape(i.cut), None) for i in worn]
        codes = dict.fromkeys(CODES.values(), 0)
        codes[item.code] = item.code
        self.draw_person(wearer, looks, self.dresser.skin_colours(looks), items, tucked, codes)
        made = self._made(item, view, draped, "worn")
        for i in worn:
            i.release()
        return made

    def _made(self, item: Item, view: View, draped: Draped, mode: str) -> Shop:
        layers = self.renderer.finish()
        points = item.anchors.positions(draped)
        xy = view.picture(points[:, :3])
        landmarks = np.concatenate([xy, points[:, 3:]], 1).astype(np.float32)
        landmarks[points[:, 3] == 0] = 0
        return Shop(layers, view, draped, mode, landmarks)

    # ---- scenes --------------------------------------------------------------------------------
    def scene(
        self,
        seed: int,
        index: int,
        kind: str | None = None,
        outfits: int | None = None,
        legs: str | None = None,
        arms: str | None = None,
    ) -> dict[str, np.ndarray]:
        """The arrays of scene `index` of the set `seed` (see shards.Scene); always the same."""
        rng = np.random.default_rng([seed, index])
        kind = kind or str(rng.choice(list(SCENE_KINDS), p=list(SCENE_KINDS.values())))
        outfits = outfits or int(rng.integers(5, 7))
        model = self.model
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
        wearer = Wearer(self.template, shaped, pose.transforms, pose.legs == "sitting")
        looks = random_looks(rng, person)
        skin = self.dresser.skin_colours(looks)
        joints3 = self.joints(wearer)
        centre = (joints3[11] + joints3[12] + joints3[23] + joints3[24]) / 4
        yaw = (
            rng.uniform(-60, 60)
            if rng.random() < 0.12
            else float(np.clip(rng.normal(0, 16), -35, 35))
        )
        view = _camera(
            centre, yaw, rng.uniform(2.0, 5.0), rng.uniform(-0.15, 0.45), rng.normal(0, 1.5)
        )
        c = view.camera(joints3)
        uv = c[:, :2] / c[:, 2:]
        square = square_around(window_from_anchors(*anchors_from_joints(uv), kind))
        side = square[2] - square[0]
        grown = side * np.exp(rng.uniform(np.log(0.85), np.log(1.25)))
        mid = (square[:2] + square[2:]) / 2 + rng.uniform(-0.08, 0.08, 2) * side
        view.projection = perspective(np.concatenate([mid - grown / 2, mid + grown / 2]))
        light = random_light(rng)

        made: list[Item] = []
        plan: list[dict[str, int]] = []

        def new(garment: wardrobe.Garment) -> int:
            made.append(Item(self, garment, rng))
            return len(made) - 1

        if kind == "upper":
            shared = new(wardrobe.random_lower(rng, person.gender))
            plan = [
                {"upper": new(wardrobe.random_upper(rng)), "lower": shared} for _ in range(outfits)
            ]
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
        shops = [self.shop(item, rng) for item in made]
        drapes = [wearer.drape(item.cut) for item in made]
        pictures, worn = [], []
        for o, outfit in enumerate(plan):
            self.renderer.begin(POSE_SIZE, POSE_SIZE, view, light)
            items: list[tuple[Item, Draped, Shop | None]] = [
                (made[g], drapes[g], shops[g]) for g in outfit.values()
            ]
            tuck = tucked[o] and not any(
                made[g].garment.attributes["kind"] in ("hoodie", "jacket")
                or (made[g].cut.hem > 0.25 and made[g].cut.category == "upper")
                for g in outfit.values()
            )
            tucked[o] = tuck
            self.draw_person(wearer, looks, skin, items, tuck)
            layers = self.renderer.finish()
            pictures.append(layers)
            for g in outfit.values():
                flow, valid = _flow_truth(layers, shops[g], made[g].code)
                points = made[g].anchors.positions(drapes[g])
                marks = np.concatenate([view.picture(points[:, :3]) * POSE_SIZE, points[:, 3:]], 1)
                marks[points[:, 3] == 0] = 0
                worn.append((o, g, flow, valid, marks.astype(np.float32)))
        for item in made:
            item.release()
        meta = {
            "kind": kind,
            "seed": seed,
            "index": index,
            "arms": pose.arms,
            "legs": pose.legs,
            "yaw": float(yaw),
            "gender": person.gender,
            "hair": looks.style,
            "tucked": tucked,
            "garments": [
                i.garment.attributes | {"shop_mode": s.mode}
                for i, s in zip(made, shops, strict=True)
            ],
        }
        uint8 = np.uint8
        return {
            "albedo": np.stack([p.albedo for p in pictures]),
            "shade": np.stack([p.shade for p in pictures]),
            "alpha": np.stack([p.alpha for p in pictures]),
            "parse": np.stack([p.parse for p in pictures]),
            "joints": (view.picture(joints3) * POSE_SIZE).astype(np.float32),
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
                [_garment_alpha(s, i.code) for s, i in zip(shops, made, strict=True)]
            ),
            "garment_shop_person_alpha": np.stack([s.layers.alpha for s in shops]),
            "garment_shop_parse": np.stack([s.layers.parse for s in shops]),
            "garment_shop_landmarks": np.stack([s.landmarks for s in shops]),
            "garment_shop_worn": np.array([s.mode == "worn" for s in shops], uint8),
            "meta": np.array(json.dumps(meta)),
        }


def _grid_normals(t: Template, points: np.ndarray) -> np.ndarray:
    p = points.reshape(RINGS, SECTORS + 1, 3)
    ring = np.concatenate([p[:, -2:-1], p, p[:, 1:2]], 1)
    along = ring[:, 2:] - ring[:, :-2]
    down = np.gradient(p, axis=0)
    n = np.cross(down, along)
    return (
        (n / np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-9))
        .reshape(-1, 3)
        .astype(np.float32)
    )


def _camera(centre: np.ndarray, yaw: float, distance: float, lift: float, roll: float) -> View:
    """A camera at `distance` that looks at `centre` from `lift` metres above it."""
    place = centre + rotation((0, 0, 1), yaw) @ np.array([0, -distance, lift])
    forward = centre - place
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    r = rotation((0, 0, 1), roll) @ np.stack([right, np.cross(forward, right), forward])
    return View(r, -r @ place, np.eye(4))


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


def _garment_alpha(shop: Shop, code: int) -> np.ndarray:
    fine = ((shop.layers.fine_code % INNER) == code).astype(np.float32)
    h, w = shop.layers.alpha.shape
    return (cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)


def _flow_truth(layers: Layers, shop: Shop, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Flow float16 (256, 256, 2) and validity uint8 (256, 256) of one worn garment."""
    mine = (layers.code % INNER) == code
    flow = np.where(mine[..., None], layers.flow, 0)
    h, w = shop.layers.fine_depth.shape
    x = np.floor(flow[..., 0] * w).astype(int)
    y = np.floor(flow[..., 1] * h).astype(int)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    same = shop.layers.fine_code[y, x] == code
    tolerance = 0.012 if shop.mode == "flat" else 0.025
    near = np.abs(shop.layers.fine_depth[y, x] - layers.shop_depth) < tolerance
    valid = (layers.code == code) & inside & same & near
    return np.clip(flow, -8, 8).astype(np.float16), valid.astype(np.uint8)


__all__ = ["CODES", "LANDMARKS", "SCENE_KINDS", "SUPERSAMPLE", "Cut", "Studio"]
