"""How a garment lies on one posed body: an offset shell that hangs, a grid of rings for skirts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.data.bodies import Shaped
from training.data.garments import FAR, HIP_Z, Cut, fields
from training.data.template import RINGS, SECTORS, TORSO_AXIS_Y, Template

_HANGING = 1.2
"""How much more of a sleeve's looseness hangs below the arm than lies around it."""


def _hull_radius(angles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Radius of the convex hull of `points` (n, 2) about the origin, at each angle."""
    directions = np.stack([np.sin(angles), -np.cos(angles)], 1)
    support = (points @ directions.T).max(0)
    support = np.maximum(support, 0.02)
    delta = np.cos(angles[:, None] - angles[None, :])
    ratio = np.where(delta > 0.15, support[None, :] / np.maximum(delta, 0.15), np.inf)
    return ratio.min(1)


@dataclass
class Draped:
    """A garment on one posed body: the shell (n, 3) and, of skirts and dresses, the grid."""

    shell: np.ndarray
    grid: np.ndarray | None


class Wearer:
    """One shaped body in one pose; drapes cuts on it."""

    def __init__(
        self, template: Template, shaped: Shaped, transforms: np.ndarray, sitting: bool = False
    ):
        self.template, self.shaped, self.transforms = template, shaped, transforms
        self.sitting = sitting
        model = template.model
        self.rest = (template.tights.matrix @ shaped.vertices).astype(np.float32)
        self.normals = template.tights.normals(self.rest)
        soft = self.normals
        for _ in range(3):
            soft = template.smooth @ soft
        self.soft = (soft / np.maximum(np.linalg.norm(soft, axis=1, keepdims=True), 1e-6)).astype(
            np.float32
        )
        self.skinned = model.skin(self.rest, template.weights, transforms)
        head = {b: shaped.heads[model.bone[b]].astype(np.float32) for b in model.bones}
        self._arm_way = (head["wrist.L"] - head["upperarm01.L"])[[0, 2]]
        c = template.canon
        left = c.pos[:, :1] >= 0

        def axis(names: tuple[str, str, str], t: np.ndarray) -> np.ndarray:
            out = []
            for s in "LR":
                a, b, e = (head[f"{n}.{s}"] for n in names)
                out.append(a + t[:, :1] * (b - a) + t[:, 1:] * (e - b))
            return np.where(left, out[0], out[1])

        self.arm_axis = axis(("upperarm01", "lowerarm01", "wrist"), template.t_arm)
        self.leg_axis = axis(("upperleg01", "lowerleg01", "foot"), template.t_leg)

    @cached_property
    def bunched(self) -> np.ndarray:
        """How much shorter the body's surface is here than at rest, along its limb or the torso:
        float32 (n,), the logarithm of the ratio; below 0 where it is stretched."""
        along = self.template.along
        a, b = along.edges.T
        rest, posed = (
            np.maximum(np.linalg.norm(p[a] - p[b], axis=1), 1e-4) for p in (self.rest, self.skinned)
        )
        shorter, n = along.share * np.log(rest / posed), len(self.rest)
        weight = np.bincount(along.edges.ravel(), np.repeat(along.share, 2), n)
        found = np.bincount(along.edges.ravel(), np.repeat(shorter, 2), n)
        # A sleeve is as wide as a few edges: what counts is a hand's breadth around.
        for _ in range(4):
            found, weight = self.template.smooth @ found, self.template.smooth @ weight
        return np.asarray(found / np.maximum(weight, 1e-3), np.float32)

    def _hang(self, points: np.ndarray, cut: Cut) -> np.ndarray:
        """Pushes a top's torso out to the envelope that hangs from chest and shoulder blades."""
        c = self.template.canon
        torso = (c.arm < 0.35) & (c.neck < 0.5)
        z = self.rest[:, 2]
        x, y = points[:, 0], points[:, 1] - TORSO_AXIS_Y
        radius = np.hypot(x, y)
        angle = np.arctan2(x, -y)
        levels = np.linspace(-0.12, 0.62, 38) * float(np.ptp(self.rest[:, 2]) / 1.637)
        count = 36
        sector = ((angle + np.pi) / (2 * np.pi) * count).astype(int) % count
        level = np.clip(np.searchsorted(levels, z), 0, len(levels) - 1)
        table = np.zeros((len(levels), count))
        use = torso & (c.leg < 0.9)
        np.maximum.at(table, (level[use], sector[use]), radius[use])
        for _ in range(2):
            table = np.maximum(
                table, 0.25 * (np.roll(table, 1, 1) + np.roll(table, -1, 1)) + 0.5 * table
            )
        envelope = table.copy()
        step = float(levels[1] - levels[0])
        for i in range(len(levels) - 2, -1, -1):
            # Where the body recedes the cloth falls almost straight; `taper` lets it follow.
            follow = envelope[i + 1] - step * (0.05 + 1.1 * cut.taper)
            envelope[i] = np.maximum(table[i], follow)
        for _ in range(3):
            envelope = (envelope + np.roll(envelope, 1, 1) + np.roll(envelope, -1, 1)) / 3
            envelope[1:-1] = (envelope[:-2] + envelope[1:-1] + envelope[2:]) / 3
        ramp = np.clip((0.60 - c.pos[:, 2]) / 0.22, 0, 1)
        fraction = (angle + np.pi) / (2 * np.pi) * count - 0.5
        low = np.floor(fraction).astype(int)
        weight = fraction - low
        fz = np.clip((z - levels[0]) / step + 0.5, 0, len(levels) - 1.001)
        zi = fz.astype(int)
        wz = fz - zi

        def sample(i: np.ndarray) -> np.ndarray:
            return envelope[i, low % count] * (1 - weight) + envelope[i, (low + 1) % count] * weight

        wanted = sample(zi) * (1 - wz) + sample(np.minimum(zi + 1, len(levels) - 1)) * wz
        wanted = wanted + cut.ease * ramp
        blend = np.clip((0.4 - c.arm) / 0.3, 0, 1) * ramp
        grow = np.maximum(wanted - radius, 0) * blend
        grow = np.where(use, grow, 0)
        for _ in range(2):
            grow = self.template.smooth @ grow
        scale = 1 + grow / np.maximum(radius, 0.02)
        out = points.copy()
        out[:, 0] = x * scale
        out[:, 1] = y * scale + TORSO_AXIS_Y
        return out

    def _slack(self, out: np.ndarray) -> np.ndarray:
        """Where a sleeve's looseness goes, (n,), 1 on average: it lies on the arm's upper side and
        hangs below, which is the body's side once the arm is down.

        Args:
            out: unit vectors (n, 3) from the arm's axis at rest.
        """
        x, z = self._arm_way / np.hypot(*self._arm_way)
        left = self.template.canon.pos[:, :1] >= 0
        below = np.where(left, [z, 0, -x], [-z, 0, -x])
        return np.maximum(1 + _HANGING * (out * below).sum(1), 0.05)

    def drape(self, cut: Cut, beneath: list[np.ndarray] | None = None) -> Draped:
        """The garment's posed shell, and its grid. `beneath`: posed points a grid must enclose."""
        t, c = self.template, self.template.canon
        f = fields(t, cut, c)
        base = cut.thickness - 0.003  # the tights already lie about 5 mm above the skin
        points = self.rest + self.soft * base
        if cut.category != "lower":
            points = self._hang(points, cut)
            arm_out = self.rest - self.arm_axis
            ramp = np.clip(c.s_arm / 0.09, 0, 1) * np.clip((c.arm - 0.3) / 0.5, 0, 1)
            unit = arm_out / np.maximum(np.linalg.norm(arm_out, axis=1, keepdims=True), 1e-3)
            closed = cut.sleeve > 0.4 and not cut.rolled
            cuffed = np.clip((cut.sleeve - c.s_arm) / 0.05, 0.25, 1) if closed else 1.0
            if cut.rolled:
                roll = np.clip((cut.rolled + 0.004 - (cut.sleeve - c.s_arm)) / 0.004, 0, 1)
                points = points + unit * (ramp * roll * 0.007)[:, None]
            points = points + unit * (ramp * cut.sleeve_ease * cuffed * self._slack(unit))[:, None]
            shoulder = np.exp(-(((c.s_arm - 0.02) / 0.06) ** 2)) * np.clip(c.arm * 2, 0, 1)
            points = points + self.soft * (0.2 * min(cut.ease, 0.03) * shoulder)[:, None]
            near = np.clip(1 - f.neck / 0.045, 0, 1) * (c.pos[:, 2] > 0.5)
            if cut.collar:
                points = points + self.soft * (0.011 * np.sqrt(near))[:, None]
            elif cut.hood:
                roll = np.clip(1 - np.abs(f.neck - 0.04) / 0.05, 0, 1) * (c.pos[:, 2] > 0.56)
                back = np.clip((c.pos[:, 1] + 0.07) / 0.1, 0.35, 1)
                points = points + self.soft * (0.035 * roll * back)[:, None]
        else:
            leg_out = self.rest - self.leg_axis
            unit = leg_out / np.maximum(np.linalg.norm(leg_out, axis=1, keepdims=True), 1e-3)
            ramp = np.clip(c.s_leg / 0.25, 0, 1) * np.clip((c.leg - 0.4) / 0.5, 0, 1)
            # Trouser legs hang from thigh and calf: fill up where the leg recedes.
            recede = np.clip(0.075 - np.linalg.norm(leg_out, axis=1), 0, 0.05)
            loose = np.clip(cut.leg_ease / 0.02, 0, 1)
            grow = ramp * (
                cut.leg_ease + cut.flare * np.clip(c.s_leg / 0.8, 0, 1) + recede * 0.6 * loose
            )
            points = points + unit * grow[:, None]
            seat = np.clip(1 - np.abs(c.pos[:, 2] - 0.1) / 0.12, 0, 1) * cut.leg_ease * 0.4
            points = points + self.soft * seat[:, None]
        weights = t.weights if cut.category == "lower" else t.top_weights
        shell = t.model.skin(points, weights, self.transforms)
        grid = None
        if cut.join is not None:
            grid = self._grid(cut, shell, beneath or [])
        return Draped(shell, grid)

    def _grid(self, cut: Cut, shell: np.ndarray, beneath: list[np.ndarray]) -> np.ndarray:
        """Rings from the join to the hem, each the convex hull of what lies inside, and looser."""
        t, c = self.template, self.template.canon
        join = float(cut.join or 0.0)
        levels = np.linspace(join, cut.hem, RINGS)
        torso = c.arm < 0.15
        pelvis = self.transforms[t.model.bone["root"]][:3, :3]
        lateral0 = pelvis @ np.array([1.0, 0, 0])
        z = c.pos[:, 2]
        centres = np.zeros((RINGS, 3))
        rings = []
        half = max(0.014, abs(join - cut.hem) / RINGS * 0.75)
        for i, level in enumerate(levels):
            # A hem below the ankles goes on along the shin's direction: use the lowest level.
            near = torso & (np.abs(z - max(level, -0.72)) < half)
            inner = self.skinned[near] + 0.0
            rings.append([inner] + [b[near] for b in beneath])
            if i < 3:
                rings[-1].append(shell[near])
            centres[i] = (inner.max(0) + inner.min(0)) / 2
            if level < -0.72:
                centres[i, 2] -= -0.72 - level
        smooth = centres.copy()
        for _ in range(3):
            smooth[1:-1] = (smooth[:-2] + 2 * smooth[1:-1] + smooth[2:]) / 4
        tangent = np.gradient(smooth, axis=0)
        up0 = -(pelvis @ np.array([0, 0, 1.0]))
        grid = np.zeros((RINGS, SECTORS + 1, 3))
        angles = t.theta
        previous = None
        top = None
        for i in range(RINGS):
            d = tangent[i] / max(float(np.linalg.norm(tangent[i])), 1e-9)
            if i < 2:
                d = up0
            side = lateral0 - d * float(lateral0 @ d)
            side /= np.linalg.norm(side)
            depth = np.cross(side, d)  # to the back: the path runs down, then along the thighs
            points = np.concatenate(rings[i]) - smooth[i]
            flat = np.stack([points @ side, points @ depth], 1)
            radius = _hull_radius(angles[:-1], flat) + cut.thickness
            if i == 0:
                ring = shell[torso & (np.abs(z - levels[0]) < half)] - smooth[0]
                flat = np.stack([ring @ side, ring @ depth], 1)
                top = _hull_radius(angles[:-1], flat)
            fraction = i / (RINGS - 1)
            fall = levels[0] - levels[i]
            # Over a lap a wide skirt falls in folds beside the legs; it does not stand out.
            flare = min(cut.flare, 0.12) * 0.4 if self.sitting else cut.flare
            ease = cut.leg_ease * min(1.0, fall / 0.25)
            if cut.category == "lower":  # skirts lie on the hips, so that a top can hang over them
                fall = max(0.0, min(levels[0], HIP_Z - 0.02) - levels[i])
            loose = ease + flare * fall
            radius = radius + loose
            if i < 3 and top is not None:
                w = i / 3
                radius = (1 - w) * top + w * np.maximum(radius, top)
            if previous is not None and not self.sitting:
                drop = abs(levels[i] - levels[i - 1])
                radius = np.maximum(radius, previous - drop * (0.05 + 1.2 * cut.taper))
            for _ in range(2):
                radius = (np.roll(radius, 1) + 2 * radius + np.roll(radius, -1)) / 4
            previous = radius
            folds = cut.folds * (0.4 if self.sitting else 1.0)
            wave = 1 + folds * fraction * np.cos(
                9 * angles[:-1] + cut.phase + np.sin(2 * angles[:-1])
            )
            r = np.append(radius * wave, (radius * wave)[0])
            grid[i] = smooth[i] + r[:, None] * (
                np.sin(angles)[:, None] * side - np.cos(angles)[:, None] * depth
            )
        return grid.reshape(-1, 3).astype(np.float32)


def grid_canonical(template: Template, cut: Cut) -> dict[str, np.ndarray]:
    """The grid's canonical u, sign, z, hem and waist distance, each (RINGS * (SECTORS + 1),)."""
    levels = np.linspace(float(cut.join or 0), cut.hem, RINGS)
    theta = np.tile(template.theta, RINGS)
    z = np.repeat(levels, SECTORS + 1)
    angle_u = np.abs(theta) * 0.15 * (1 + 0.8 * cut.flare * (levels[0] - z))
    waist = (cut.waist - z) if cut.category == "lower" else np.full(len(z), FAR)
    return {
        "u": angle_u.astype(np.float32),
        "x": theta.astype(np.float32),
        "z": z.astype(np.float32),
        "hem": (z - cut.hem).astype(np.float32),
        "waist": waist.astype(np.float32),
    }
