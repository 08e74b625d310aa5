"""A person's skin, face, hair and shoes: colours and shells over the body's vertices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.bodies import Person
from training.data.drape import Wearer
from training.data.renderer import Renderer
from training.data.template import Template
from tryon.contract import PARSE

_HAIR = {
    "black": (24, 20, 18),
    "dark brown": (52, 36, 26),
    "brown": (88, 60, 40),
    "light brown": (128, 94, 62),
    "blond": (196, 162, 108),
    "red": (140, 70, 40),
    "grey": (150, 148, 146),
    "white": (214, 212, 208),
}
# Skin from the lightest to the darkest, sRGB.
_SKIN = np.array(
    [
        (246, 216, 196),
        (236, 196, 170),
        (224, 176, 144),
        (204, 152, 118),
        (178, 124, 92),
        (142, 94, 68),
        (104, 68, 50),
        (72, 48, 38),
    ],
    float,
)
SHOULDERS = 0.70
"""Canonical z of the shoulders' top: hair that ends there lies behind them."""
HAIR_STYLES = ("bald", "buzz", "short", "quiff", "bob", "long", "bun", "afro")


@dataclass
class Looks:
    """A person's looks; colours are float (3,) in 0..1."""

    skin: np.ndarray
    hair: np.ndarray
    style: str
    beard: float
    shoes: np.ndarray
    sole: np.ndarray
    shoe_height: float
    socks: np.ndarray | None
    hat: np.ndarray | None
    lips: np.ndarray
    eyes: np.ndarray
    hair_length: float
    seed: int

    @property
    def tresses(self) -> list[tuple[float, float, float]]:
        """Of long hair before each shoulder: canonical z where it ends, and how far from the middle
        it begins and ends."""
        rng = np.random.default_rng(self.seed + 3)
        if self.spread > 1:
            return [
                (float(rng.uniform(0.44, 0.64)), float(rng.uniform(0.02, 0.06)), 0.15)
                for _ in range(2)
            ]  # fmt: skip
        found = []
        for _ in range(2):
            end = SHOULDERS if rng.random() < 0.62 else rng.uniform(0.40, 0.66)
            inner = rng.uniform(0.045, 0.09)
            found.append((float(end), float(inner), float(inner + rng.uniform(0.03, 0.075))))
        return found

    @property
    def spread(self) -> float:
        """How much wider than it hangs long hair falls that is worn loose over both shoulders; 1:
        it isn't."""
        rng = np.random.default_rng(self.seed + 6)
        return float(rng.uniform(1.1, 1.5)) if rng.random() < 0.25 else 1.0

    @property
    def glasses(self) -> tuple[np.ndarray, float] | None:
        """A frame's colour and how dark its lenses are; None: no glasses."""
        rng = np.random.default_rng(self.seed + 2)
        if rng.random() > 0.18:
            return None
        colour = np.array([(20, 20, 22), (70, 45, 30), (150, 130, 90), (40, 50, 90)][
            rng.choice(4, p=[0.55, 0.2, 0.15, 0.1])]) / 255  # fmt: skip
        dark = rng.uniform(0.8, 0.97) if rng.random() < 0.2 else rng.uniform(0, 0.1)
        return colour, float(dark)


def random_looks(rng: np.random.Generator, person: Person) -> Looks:
    """Looks that go with the body's build."""
    tone = float(
        np.clip(
            rng.beta(1.1, 1.2) * 7 * 0.75 + person.race[0] * 2.4 - person.race[2] * 0.8 + 0.2, 0, 7
        )
    )
    i = int(min(tone, 6.99))
    skin = _SKIN[i] + (_SKIN[i + 1] - _SKIN[i]) * (tone - i) + rng.normal(0, 5, 3)
    names = list(_HAIR)
    p = np.array([0.3, 0.22, 0.15, 0.08, 0.09, 0.04, 0.08, 0.04])
    if tone > 3.5:
        p = np.array([0.7, 0.15, 0.04, 0.01, 0.02, 0.01, 0.05, 0.02])
    if person.age > 0.6:
        p = p + np.array([0, 0, 0, 0, 0, 0, 0.5, 0.3])
    hair = np.array(_HAIR[str(rng.choice(names, p=p / p.sum()))], float) * rng.uniform(0.85, 1.2)
    male = person.gender < 0.5
    weights = (
        [0.08, 0.18, 0.34, 0.2, 0.06, 0.06, 0.02, 0.06]
        if male
        else [0.01, 0.03, 0.08, 0.05, 0.2, 0.42, 0.14, 0.07]
    )
    style = str(rng.choice(HAIR_STYLES, p=np.array(weights) / np.sum(weights)))
    beard = (
        float(rng.choice([0, rng.uniform(0.2, 0.5), rng.uniform(0.6, 0.95)], p=[0.5, 0.25, 0.25]))
        if male
        else 0.0
    )
    shoes = np.array(
        [
            (30, 30, 32),
            (235, 235, 232),
            (90, 60, 40),
            (60, 64, 76),
            (150, 150, 150),
            (180, 40, 44),
            (40, 60, 110),
        ],
        float,
    )[rng.choice(7, p=[0.34, 0.28, 0.14, 0.08, 0.08, 0.04, 0.04])]
    sole = np.array([(240, 240, 238), (30, 28, 28), (120, 90, 60)][rng.choice(3)], float)
    socks = None
    if rng.random() < 0.4:
        socks = np.array([(235, 235, 235), (30, 30, 34), (110, 110, 112)][rng.choice(3)]) / 255
    hat = np.clip(rng.normal(100, 60, 3), 15, 240) / 255 if rng.random() < 0.06 else None
    red = skin * np.array([0.82, 0.62, 0.62]) if rng.random() < 0.75 else np.array([150, 40, 50])
    return Looks(
        np.clip(skin, 10, 250) / 255,
        np.clip(hair, 8, 250) / 255,
        style,
        beard,
        shoes / 255,
        sole / 255,
        float(rng.choice([-0.02, 0.0, 0.08, 0.16], p=[0.3, 0.4, 0.2, 0.1])),
        socks,
        hat,
        red / 255,
        np.array(
            [(60, 40, 26), (40, 28, 20), (80, 110, 140), (70, 96, 66)][
                rng.choice(4, p=[0.45, 0.3, 0.15, 0.1])
            ]
        )
        / 255,
        float(rng.uniform(0.36, 0.68)),
        int(rng.integers(1 << 30)),
    )


def _smooth_noise(
    rng: np.random.Generator, pos: np.ndarray, scale: float, count: int = 6
) -> np.ndarray:
    out = np.zeros(len(pos))
    for _ in range(count):
        k = rng.normal(0, 1, 3)
        out += np.sin(pos @ (k * scale / np.linalg.norm(k)) * 6.28 + rng.uniform(0, 6.28))
    return out / count


class Dresser:
    """Draws everything of a person that is no garment."""

    def __init__(self, template: Template):
        self.template = template
        model = template.model
        heads = model.average.heads
        self.mouth = (heads[model.bone["oris01"]] + heads[model.bone["oris05"]]) / 2
        self.eye = heads[model.bone["eye.L"]]
        pos = template.body.rest
        self.body_arm, self.body_leg = template.body_canon.arm, template.body_canon.leg
        names = [b for b in ("neck02", "neck03", "head") if b in model.bone]
        from training.data.poses import group_weight

        head = np.zeros(len(pos))
        for b in model.bones:
            chain, i = [], model.bone[b]
            while i >= 0:
                chain.append(model.bones[i])
                i = int(model.parents[i])
            if any(n in chain for n in names):
                head += group_weight(model, template.body.weights, [b])
        self.head = head
        y, z, x = pos[:, 1], pos[:, 2], np.abs(pos[:, 0])
        line = np.interp(
            y,
            [-0.16, -0.125, -0.10, -0.085, -0.06, -0.04, 0.0, 0.05, 0.1],
            [0.985, 0.972, 0.955, 0.90, 0.885, 0.905, 0.865, 0.835, 0.825],
        )
        self.scalp = np.where(
            head > 0.5, z - line - 0.15 * np.maximum(x - 0.03, 0) * (y < -0.1), -1.0
        )
        self.scalp = np.where(x > 0.082, -1.0, self.scalp)
        self.scalp_tri = template.body.tri[(self.scalp[template.body.tri] > -0.03).any(1)]
        self.crown = np.where((head > 0.5), z - 0.925 - 0.03 * (y < -0.05) - 0.0 * x, -1.0)

    def skin_colours(self, looks: Looks) -> np.ndarray:
        """Colours of the body's vertices, float64 (n, 3) in 0..1."""
        rng = np.random.default_rng(looks.seed)
        pos = self.template.body.rest.astype(float)
        x, y, z = np.abs(pos[:, 0]), pos[:, 1], pos[:, 2]
        c = np.tile(looks.skin, (len(pos), 1))
        c *= (1 + 0.035 * _smooth_noise(rng, pos, 5) + 0.025 * _smooth_noise(rng, pos, 22))[:, None]
        front = y < -0.07
        head = self.head > 0.5
        cheek = np.exp(-(((x - 0.042) / 0.02) ** 2 + ((z - self.mouth[2] - 0.035) / 0.018) ** 2))
        c = c * (1 - (0.14 * cheek * head * front)[:, None] * np.array([0.2, 1, 1]))

        def paint(mask: np.ndarray, colour: np.ndarray, strength: float = 1.0) -> None:
            nonlocal c
            m = (np.clip(mask, 0, 1) * strength * head * front)[:, None]
            c = c * (1 - m) + colour * m

        lip = 1.6 - 1.6 * np.hypot(x / 0.027, (z - self.mouth[2]) / 0.0105)
        paint(lip, looks.lips, 0.85)
        if looks.beard:
            jaw = np.clip((self.mouth[2] + 0.012 - z) / 0.01, 0, 1) * (z > self.mouth[2] - 0.065)
            jaw = np.maximum(
                jaw, np.exp(-(((z - self.mouth[2] - 0.014) / 0.007) ** 2)) * (x < 0.03)
            )
            jaw = np.maximum(jaw, np.clip((x - 0.055) / 0.01, 0, 1) * (z < self.mouth[2] + 0.035))
            jaw = jaw * (z > self.mouth[2] - 0.07) * (1 - np.clip(lip, 0, 1))
            paint(jaw, looks.hair * 0.9, looks.beard)
        socket = np.exp(
            -((((x - self.eye[0]) / 0.019) ** 2 + ((z - self.eye[2]) / 0.010) ** 2) ** 2)
        )
        paint(socket, looks.skin * 0.55, 0.6)
        arch = self.eye[2] + 0.021 - 6.0 * (x - 0.036) ** 2
        brow = np.clip(1.5 - np.abs(z - arch) / 0.0038, 0, 1) * (x > 0.012) * (x < 0.054)
        paint(brow, looks.hair * 0.75, 0.85)
        if looks.glasses is not None:
            frame, dark = looks.glasses
            lens = np.hypot((x - self.eye[0]) / 0.027, (z - self.eye[2] + 0.002) / 0.021)
            paint(np.clip((1 - lens) * 12, 0, 1), np.full(3, 0.04), dark)
            bridge = (np.abs(z - self.eye[2] - 0.005) < 0.003) * (x < self.eye[0] - 0.022)
            side = (np.abs(z - self.eye[2] - 0.006) < 0.0035) * (x > self.eye[0] + 0.024)
            rim = np.clip(1.8 - np.abs(lens - 1) / 0.09, 0, 1)
            paint(np.maximum(rim, np.maximum(bridge, side)), frame, 0.95)
        nostril = np.exp(-(((x - 0.009) / 0.006) ** 2 + ((z - self.mouth[2] - 0.021) / 0.005) ** 2))
        paint(nostril, looks.skin * 0.5, 0.55)
        if looks.socks is not None:
            sock = np.clip((-0.60 + looks.shoe_height * 0.3 - z) / 0.005, 0, 1)[:, None]
            c = c * (1 - sock) + looks.socks * sock
        if looks.style in ("buzz", "short", "quiff", "afro", "bun", "long", "bob"):
            m = np.clip(self.scalp / 0.006 + 0.3, 0, 1)[:, None]
            c = c * (1 - m) + looks.hair * m
        return np.clip(c, 0, 1)

    def draw(
        self, r: Renderer, wearer: Wearer, looks: Looks, covered: np.ndarray, skin: np.ndarray
    ) -> None:
        """Draws body, eyes, hair, shoes and hat.

        `covered`: (n body vertices,), above 0.004 where a garment hides the body.
        """
        t, model = self.template, self.template.model
        g, vertices = wearer.transforms, wearer.shaped.vertices
        shoe_top = -0.725 + looks.shoe_height
        hidden = np.maximum(covered, shoe_top - t.body.rest[:, 2])
        rest, points = self.draw_skin(r, wearer, hidden, skin)
        eyes = model.surfaces["eyes"]
        e = model.skin(eyes.matrix @ vertices, eyes.weights, g)
        centre = np.where(eyes.rest[:, :1] > 0, 1, -1) * np.array([[self.eye[0], 0, 0]])
        off = np.hypot(eyes.rest[:, 0] - centre[:, 0], eyes.rest[:, 2] - self.eye[2])
        ball = np.tile(np.array([0.86, 0.84, 0.82]), (len(e), 1))
        ball[off < 0.0075] = looks.eyes
        ball[off < 0.004] = 0.03
        if looks.glasses is not None:
            ball *= 1 - looks.glasses[1]
        ones = np.tile([0.0, 0, 1, 1], (len(e), 1))
        r.skin(e, eyes.normals(e), ball, ones, eyes.tri, PARSE.index("face_neck"))
        self._hair(r, wearer, looks, rest, points)
        self._shoes(r, wearer, looks, shoe_top)

    def draw_skin(
        self, r: Renderer, wearer: Wearer, hidden: np.ndarray, skin: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws the skin alone, where `hidden` is below 0.004; its vertices at rest and posed."""
        body = self.template.body
        rest = body.matrix @ wearer.shaped.vertices
        points = self.template.model.skin(rest, body.weights, wearer.transforms)
        part = np.stack([self.body_arm, self.body_leg, body.rest[:, 0], 0.004 - hidden], 1)
        r.skin(points, body.normals(points), skin, part, body.tri)
        return rest, points

    def _shoes(self, r: Renderer, wearer: Wearer, looks: Looks, top: float) -> None:
        t = self.template
        z = t.tights.rest[:, 2]
        keep = top - z
        use = t.tights.tri[(keep[t.tights.tri] > -0.02).any(1)]
        push = 0.006 + 0.006 * np.clip((-0.79 - z) / 0.02, 0, 1)
        points = t.model.skin(
            wearer.rest + wearer.normals * push[:, None], t.tights.weights, wearer.transforms
        )
        colours = np.where((z < -0.803)[:, None], looks.sole, looks.shoes)
        part = np.stack([np.zeros(len(z)), np.zeros(len(z)), z * 0 + 1, keep], 1)
        r.skin(points, t.tights.normals(points), colours, part, use, PARSE.index("shoes"))

    def _hair(
        self, r: Renderer, wearer: Wearer, looks: Looks, rest: np.ndarray, points: np.ndarray
    ) -> None:
        t, model = self.template, self.template.model
        rng = np.random.default_rng(looks.seed + 1)
        body = t.body
        hair = PARSE.index("hair")
        canon = body.rest.astype(float)

        def shell(field: np.ndarray, push: np.ndarray, colour: np.ndarray, kind: int) -> None:
            moved = rest + body.normals(rest) * push[:, None]
            p = model.skin(moved, body.weights, wearer.transforms)
            part = np.stack([field * 0, field * 0, field * 0 + 1, field], 1)
            r.skin(p, body.normals(p), colour, part, self.scalp_tri, kind)

        def strands(pos: np.ndarray) -> np.ndarray:
            a = np.arctan2(pos[:, 0], -(pos[:, 1] + 0.03))
            s = (
                np.sin(a * 37 + 3 * _smooth_noise(rng, pos, 8)) * 0.10
                + np.sin(a * 71 + pos[:, 2] * 30) * 0.07
                + 0.12 * _smooth_noise(rng, pos, 9)
            )
            return np.clip(looks.hair * (1 + s[:, None]), 0, 1)

        field = self.scalp + 0.006 * _smooth_noise(rng, canon, 18)
        rise = np.clip(field / 0.03, 0, 1)
        thick = {
            "buzz": 0.003,
            "short": 0.012,
            "quiff": 0.02,
            "afro": 0.055,
            "bob": 0.01,
            "long": 0.008,
            "bun": 0.007,
        }.get(looks.style, 0.0)
        if thick and looks.hat is None:
            push = thick * (0.25 + 0.75 * rise) * (1 + 0.18 * _smooth_noise(rng, canon, 12))
            if looks.style == "quiff":
                push = push + 0.022 * np.clip((canon[:, 2] - 0.96) / 0.05, 0, 1)
            shell(field, push, strands(canon), hair)
        if looks.style in ("bob", "long"):
            s = model.surfaces["hair"]
            pos = s.rest.astype(float)
            low = 0.755 if looks.style == "bob" else looks.hair_length
            x, y, z = np.abs(pos[:, 0]), pos[:, 1], pos[:, 2]
            length = z - low + 0.012 * _smooth_noise(rng, pos * np.array([1, 1, 0.1]), 30)
            length = length + 0.02 * _smooth_noise(rng, pos * np.array([1, 1, 0.03]), 90)
            opening = np.where(
                (y < -0.075) & (z < 0.975),
                x
                - np.interp(z, [0.35, 0.75, 0.84, 0.93, 0.975], [0.05, 0.055, 0.062, 0.066, 0.03]),
                1.0,
            )
            opening = np.minimum(opening, self._falls(looks, pos))
            move = s.matrix @ wearer.shaped.vertices
            if looks.style == "long":
                wider = 1 + (looks.spread - 1) * np.clip((0.84 - z) / 0.12, 0, 1)
                move = move * np.stack([wider, wider * 0 + 1, wider * 0 + 1], 1)
            out = np.clip((0.78 - z) / 0.1, 0, 1) * 0.028 - 0.004
            n = s.normals(move)
            p = model.skin(move + n * out[:, None], s.weights, wearer.transforms)
            part = np.stack([z * 0, z * 0, z * 0 + 1, np.minimum(length, opening)], 1)
            r.skin(p, s.normals(p), strands(pos), part, s.tri, hair)
        if looks.style == "bun":
            self._ball(r, wearer, strands, np.array([0, 0.055, 0.985]), 0.042)
        if looks.hat is not None:
            push = np.full(len(canon), 0.014) + 0.02 * np.clip((canon[:, 2] - 0.98) / 0.04, 0, 1)
            shade = 1 - 0.25 * ((self.crown < 0.035) & (self.crown > 0.03))
            shell(self.crown, push, np.clip(looks.hat * shade[:, None], 0, 1), PARSE.index("other"))

    @staticmethod
    def _falls(looks: Looks, pos: np.ndarray) -> np.ndarray:
        """Where long hair falls: signed distance (n,), negative where there is none before the
        chest. Most of it lies behind the shoulders; what falls before one gets thinner downwards.
        """
        rng = np.random.default_rng(looks.seed + 4)
        x, y, z = pos[:, 0], pos[:, 1], pos[:, 2]
        falls = np.full(len(pos), 1.0)
        for side, (end, inner, outer) in zip((-1, 1), looks.tresses, strict=True):
            wave = 0.012 * _smooth_noise(rng, pos * np.array([1, 1, 0.5]), 10)
            # A tress: as wide as the shoulder's hair above, a tip below.
            down = np.clip((0.76 - z) / (0.76 - end), 0, 1)
            middle = (inner + outer) / 2 + wave
            half = (outer - inner) / 2 * (1.15 - down**2) + 0.012 * (1 - down)
            tress = half - np.abs(x * side - middle)
            below = np.minimum(tress, z - end + 0.01)
            chest = (y < -0.03) & (z < 0.76) & (x * side > 0)
            falls = np.where(chest, below, falls)
        return falls

    def _ball(
        self, r: Renderer, wearer: Wearer, strands: Any, centre: np.ndarray, radius: float
    ) -> None:
        model = self.template.model
        a, b = np.meshgrid(np.linspace(0, 2 * np.pi, 17), np.linspace(0, np.pi, 9))
        unit = np.stack([np.cos(a) * np.sin(b), np.sin(a) * np.sin(b), np.cos(b)], -1).reshape(
            -1, 3
        )
        bone = model.bone["head"]
        offset = wearer.shaped.heads[bone] - model.average.heads[bone]
        g = wearer.transforms[bone]
        rest = centre + unit * radius + offset
        points = (rest @ g[:3, :3].T + g[:3, 3]).astype(np.float32)
        i = np.arange(8 * 17).reshape(8, 17)[:, :-1].ravel()
        tri = np.concatenate([np.stack([i, i + 1, i + 18], 1), np.stack([i, i + 18, i + 17], 1)])
        part = np.tile([0.0, 0, 1, 1], (len(points), 1))
        r.skin(
            points,
            (unit @ g[:3, :3].T).astype(np.float32),
            strands(unit * 0.1 + 0.1),
            part,
            tri.astype(np.int32),
            PARSE.index("hair"),
        )
