"""A studio: a person in garments, drawn before the camera with all that is known of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from training.data import bodies, wardrobe
from training.data.anchors import anchors
from training.data.drape import Draped, Wearer, grid_canonical
from training.data.fabric import ATLAS_U, ATLAS_V0, ATLAS_V1, ATLAS_W, TILE
from training.data.garments import FAR, NECK_Z, SHOULDER_LINE_Z, Cut, fields, front_field
from training.data.looks import Dresser, Looks
from training.data.poses import rotation
from training.data.renderer import Layers, Renderer, View
from training.data.styling import Styling, shown_point, worn_cut
from training.data.template import RINGS, SECTORS, Template
from tryon.contract import PARSE

CODES = {"upper": 1, "lower": 2, "dress": 3}
BENEATH = 4
"""The code of a top that is worn beneath an open one."""
_AT_REST = 0.7
"""Of the creases of a garment as it is shown: what a body that doesn't bend leaves of them."""
_LEVEL, _MOST_BUNCHED = 0.03, 0.4
"""`Wearer.bunched` from where cloth creases, and how much more adds none."""
_EDGES = slice(5, 8)
"""Where a shell's attributes hold its `Fields`."""


@dataclass
class Shop:
    """A garment's in-shop picture: its layers, camera, and the garment as it lies in it."""

    layers: Layers
    view: View
    draped: Draped
    mode: str
    landmarks: np.ndarray


@dataclass(frozen=True)
class Creases:
    """Creases of a body in a pose: whatever it wears creases there.

    Attributes:
        place: where the body lies in the pattern of creases, in 0..1 each.
        strength: how much deeper they are than in an in-shop picture.
    """

    place: tuple[float, float]
    strength: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Creases:
        x, y = rng.uniform(0, 1, 2)
        return cls((float(x), float(y)), float(rng.uniform(1.0, 4.0)))


_ACROSS = 9
"""The column of a shell's attributes that says how deep creases lie across a limb."""


def _bunched(attributes: np.ndarray, bunched: np.ndarray) -> np.ndarray:
    """A shell's attributes with creases across limbs and torso where the pose bunches the cloth:
    the inside of a bent elbow, a lap; fewer where it is stretched.

    Args:
        bunched: `Wearer.bunched`.
    """
    out = attributes.copy()
    slack = np.clip(bunched - _LEVEL, 0, _MOST_BUNCHED)
    out[:, _ACROSS] = out[:, _ACROSS] * _AT_REST * np.exp(2 * np.minimum(bunched, 0)) + 8.0 * slack
    return out


class Item:
    """A garment with what drawing it needs; release its textures with `release`."""

    def __init__(self, studio: Studio, garment: wardrobe.Garment, rng: np.random.Generator):
        self.garment, self.cut = garment, garment.cut
        t = studio.template
        self.code = CODES[self.cut.category]
        self.fields = fields(t, self.cut, t.canon)
        self.body_fields = fields(t, self.cut, t.body_canon)
        self.anchors = anchors(t, self.cut, t.canon)
        self.textures = (
            studio.renderer.texture(garment.fabric.tile),
            studio.renderer.texture(garment.fabric.atlas),
        )
        self.textures[0].repeat_x = self.textures[0].repeat_y = True
        self.textures[1].repeat_x = self.textures[1].repeat_y = False
        self.grid = grid_canonical(t, self.cut) if self.cut.join is not None else None
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
        self.shell_tri = _near(t, f.inside)
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
            **_inside(cut, rng),
        }

    def styled(self, studio: Studio, styling: Styling) -> tuple[Item, sparse.csr_matrix]:
        """The garment as it is worn otherwise than it is shown, and the sparse (n, n) that carries
        what is known of the shell as it is shown there; textures stay the first one's."""
        t, cut = studio.template, worn_cut(self.cut, styling)
        carry = shown_point(t, self.cut, cut)
        cloth = t.canon.carried(carry)
        body = cloth.carried(t.to_body)
        body.pos = t.body.rest + np.asarray(t.to_body @ (cloth.pos - t.canon.pos), np.float32)
        new = copy.copy(self)
        new.cut = cut
        new.fields, new.body_fields = fields(t, self.cut, cloth), fields(t, self.cut, body)
        # Rolled sleeves' cuffs are landmarks where they would be: above, the sleeve is as it was.
        new.anchors = anchors(t, self.cut, cloth)
        if styling.rolled:
            for f, c in ((new.fields, t.canon), (new.body_fields, t.body_canon)):
                f.cuff = np.minimum(f.cuff, styling.rolled - c.s_arm)
        if styling.gap:
            for f, c in ((new.fields, t.canon), (new.body_fields, t.body_canon)):
                f.neck = np.minimum(f.neck, front_field(styling.gap, c))
        new.uniforms = {**self.uniforms, "ribs": (cut.rib_hem, cut.rib_neck, cut.rib_cuff)}
        edges = np.stack([new.fields.hem, new.fields.neck, new.fields.cuff], 1)
        new.shell_attributes = np.asarray(carry @ self.shell_attributes, np.float32)
        new.shell_attributes[:, _EDGES] = edges
        new.shell_tri = _near(t, new.fields.inside)
        if cut.join is not None:
            new.grid = grid_canonical(t, cut)
        return new, carry

    def beneath(self) -> Item:
        """The same garment, to be drawn beneath another top."""
        new = copy.copy(self)
        new.code = BENEATH
        new.uniforms = {**self.uniforms, "code": float(BENEATH)}
        return new

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
        body = self.template.body
        ids = np.array([p for p in self.joint_sources if isinstance(p, int)])
        return self.joints_of(wearer.shaped, wearer.transforms, body.matrix[ids], body.weights[ids])

    def joints_of(
        self, shaped: bodies.Shaped, g: np.ndarray, matrix: sparse.csr_matrix,
        weights: sparse.csr_matrix,
    ) -> np.ndarray:  # fmt: skip
        """The same, float64 (33, 3), of a body and its transforms.

        `matrix`, `weights`: the body surface's rows of those `joint_sources` that are vertices.
        """
        surface = self.model.skin(matrix @ shaped.vertices, weights, g)
        out, k = np.zeros((33, 3)), 0
        for i, p in enumerate(self.joint_sources):
            if isinstance(p, int):
                out[i] = surface[k]
                k += 1
            else:
                b = self.model.bone[p]
                out[i] = g[b][:3, :3] @ shaped.heads[b] + g[b][:3, 3]
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
        creases: Creases | None = None,
        bunched: np.ndarray | None = None,
    ) -> None:
        """Draws a garment as it is draped; `*_cover`: where (> 0.006) something lies over it;
        `creases`: as for `draw_person`; `bunched`: the wearer's."""
        t, r = self.template, self.renderer
        uniforms = dict(item.uniforms)
        if code is not None:
            uniforms["code"] = float(code)
        if creases is not None:
            uniforms["shift"] = creases.place
            uniforms["wave"] = tuple(creases.strength * w for w in uniforms["wave"])
        scale = float(r._view.projection[0, 0]) * r._size[0] / 2
        metres = (1.0 if r._view.orthographic else 3.0) / scale
        per_metre = (TILE / item.garment.fabric.tile_m, ATLAS_W / (2 * ATLAS_U))
        uniforms["lod"] = tuple(max(0.0, float(np.log2(metres * n))) for n in per_metre)
        a = item.shell_attributes
        if bunched is not None:
            a = _bunched(a, bunched)
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
        looks: Looks | None,
        skin: np.ndarray,
        items: list[tuple[Item, Draped, Shop | None]],
        tucked: bool,
        code_of: dict[int, int] | None = None,
        hidden: np.ndarray | None = None,
        creases: Creases | None = None,
    ) -> None:
        """Draws a dressed person into the picture that has begun; without looks, skin alone.

        `items`: of two tops the outer one comes first. `hidden`: bool (n,), vertices of the body
        that are not drawn. `creases`: of all that is worn; without, each garment has its own, as in
        its in-shop picture.
        """
        t = self.template
        covered = np.full(len(t.body.rest), -1.0)
        if hidden is not None:
            covered[hidden] = 1.0
        for item, _, _ in items:
            covered = np.maximum(
                covered, item.cover_of(t.body.rest, t.body_canon.arm, item.body_fields.inside)
            )
        if looks is None:
            self.dresser.draw_skin(self.renderer, wearer, covered, skin)
        else:
            self.dresser.draw(self.renderer, wearer, looks, covered, skin)
        tops = [i for i, _, _ in items if i.cut.category == "upper"]
        upper = tops[0] if tops else None
        lower = next((i for i, _, _ in items if i.cut.category == "lower"), None)
        for item, draped, shop in items:
            shell_cover = grid_cover = None
            if item in tops[1:]:
                shell_cover = tops[0].fields.inside
            elif upper and lower:
                if tucked and item is upper:
                    shell_cover = lower.cut.waist - t.canon.pos[:, 2] - t.canon.arm * FAR
                elif not tucked and item is lower:
                    shell_cover = np.max([i.fields.inside for i in tops], 0)
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
                creases,
                None if creases is None else wearer.bunched,
            )


def _inside(cut: Cut, rng: np.random.Generator) -> dict[str, Any]:
    """Uniforms of a garment's inside, which its neck shows where it lies flat: the cloth or a
    lining, in more or less shadow or none, and a label at the back, below the collar."""
    grey = rng.uniform(0.05, 1.0)
    lining = np.clip(grey + rng.normal(0, 0.08, 3), 0, 1)
    share = rng.uniform(0.5, 1.0) if rng.random() < 0.35 else 0.0
    top = SHOULDER_LINE_Z - 0.012 - cut.back_depth - rng.uniform(0.004, 0.012)
    if cut.stand > 0:
        top = NECK_Z + rng.uniform(-0.03, 0.015)
    high, half = rng.uniform(0.012, 0.03), rng.uniform(0.012, 0.032)
    light = rng.uniform(0.85, 1.08) if rng.random() < 0.55 else rng.uniform(0.5, 0.85)
    sewn = cut.category != "lower" and rng.random() < 0.6
    tone = rng.choice([rng.uniform(0.8, 1.0), rng.uniform(0.02, 0.15), rng.uniform(0.2, 0.8)])
    return {
        "lining": (*(float(v) for v in lining), float(share)),
        "inner_light": float(light),
        "label": (float(half), float(top - high), float(top), float(sewn)),
        "label_colour": tuple(float(v) for v in np.clip(tone + rng.normal(0, 0.05, 3), 0, 1)),
    }


def _near(t: Template, inside: np.ndarray) -> np.ndarray:
    """The shell's triangles that a garment's edges leave at least a corner of."""
    return np.asarray(t.tights.tri[(inside[t.tights.tri] > -0.03).any(1)])


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


def camera(centre: np.ndarray, yaw: float, distance: float, lift: float, roll: float) -> View:
    """A camera at `distance` that looks at `centre` from `lift` metres above it."""
    place = centre + rotation((0, 0, 1), yaw) @ np.array([0, -distance, lift])
    forward = centre - place
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    r = rotation((0, 0, 1), roll) @ np.stack([right, np.cross(forward, right), forward])
    return View(r, -r @ place, np.eye(4))
