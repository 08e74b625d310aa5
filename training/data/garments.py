"""Garments as offset shells of the body's surface, cut by scalar fields, with drape.

A garment is a `Cut` (where it ends, how loose it is). All its fields are functions of canonical
coordinates (the average body at rest), so one material point is the same vertex on every body and
in every pose: that is what makes the true flow exact. Skirts are a grid of rings around the legs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from training.data.bodies import BodyModel, Shaped, nearest
from training.data.poses import ARM_BONES, LEG_BONES, group_weight
from tryon.contract import LANDMARKS

RINGS, SECTORS = 26, 72
TORSO_AXIS_Y = -0.015
WAIST_Z, HIP_Z, CHEST_Z, CROTCH_Z = 0.33, 0.13, 0.50, 0.06
SHOULDER_LINE_Z = 0.712
FAR = 1.0


@dataclass
class Canonical:
    """Canonical coordinates of n surface points.

    Attributes:
        pos: float32 (n, 3), metres, on the average body at rest.
        arm, leg: float32 (n,), 0..1, how much the point belongs to a limb.
        s_arm, s_leg: float32 (n,), metres along the limb from shoulder or hip.
        u: float32 (n,), metres around the torso from the front centre (unsigned).
        limb_u: float32 (n,), metres around the limb from its outer line (unsigned).
        neck: float32 (n,), how much the point belongs to the neck.
    """

    pos: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    s_arm: np.ndarray
    s_leg: np.ndarray
    u: np.ndarray
    limb_u: np.ndarray
    neck: np.ndarray

    def carried(self, matrix: sparse.csr_matrix) -> Canonical:
        """The same at other points, through sparse (m, n)."""
        return Canonical(
            *(
                np.asarray(matrix @ getattr(self, f)).astype(np.float32)
                for f in ("pos", "arm", "leg", "s_arm", "s_leg", "u", "limb_u", "neck")
            )
        )


def _arc_lengths(pos: np.ndarray) -> np.ndarray:
    """Unsigned arc length around an ellipse like a torso's section, from the front."""
    a, b = 0.165, 0.115
    t = np.linspace(0, np.pi, 181)
    step = np.hypot(a * np.cos(t), b * np.sin(t))
    length = np.concatenate([[0], np.cumsum((step[1:] + step[:-1]) / 2 * (t[1] - t[0]))])
    angle = np.arctan2(np.abs(pos[:, 0]) / a, -(pos[:, 1] - TORSO_AXIS_Y) / b)
    # On the shoulders the section is no ellipse: prints run straight down from them instead.
    w = np.clip((pos[:, 2] - 0.48) / 0.12, 0, 1)
    w = w * w * (3 - 2 * w)
    return ((1 - w) * np.interp(angle, t, length) + w * 1.03 * np.abs(pos[:, 0])).astype(np.float32)


def _along(pos: np.ndarray, joints: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fractions along the two bones of a limb, and metres along it, extended at both ends."""
    a, b, c = joints
    l1, l2 = np.linalg.norm(b - a), np.linalg.norm(c - b)
    d1, d2 = (b - a) / l1, (c - b) / l2
    t1, t2 = (pos - a) @ d1 / l1, (pos - b) @ d2 / l2
    middle = (d1 + d2) / np.linalg.norm(d1 + d2)
    past = (pos - b) @ middle > 0
    s = np.where(past, l1 + np.maximum(t2, 0) * l2, np.minimum(t1, 1) * l1)
    return np.where(past, 1, np.clip(t1, 0, 1)), np.where(past, np.clip(t2, 0, 1.1), 0), s


class Template:
    """What garments need of the body model, computed once."""

    def __init__(self, model: BodyModel):
        self.model = model
        self.tights = tights = model.surfaces["tights"]
        self.body = model.surfaces["body"]
        average = model.average
        head = {b: average.heads[model.bone[b]].astype(np.float64) for b in model.bones}
        self.smooth = tights.smoother()
        soften = self.smooth @ self.smooth @ self.smooth @ self.smooth
        self.weights = (soften @ tights.weights).tocsr()
        # A top's hem hangs from the pelvis: legs move it little, or it would split between them.
        legs = [model.bone[b] for b in LEG_BONES["L"] + LEG_BONES["R"]]
        carried = np.asarray(self.weights[:, legs].sum(1)).ravel()
        keep = np.ones(len(model.bones))
        keep[legs] = 0.2
        top = (self.weights @ sparse.diags(keep)).tolil()
        top[:, model.bone["root"]] = (
            top[:, [model.bone["root"]]].toarray().ravel()[:, None] + 0.8 * carried[:, None]
        )
        self.top_weights = top.tocsr()
        pos = tights.rest.astype(np.float64)
        left = pos[:, 0] >= 0
        arm = np.zeros(len(pos))
        leg = np.zeros(len(pos))
        s_arm, s_leg, limb_u = np.zeros(len(pos)), np.zeros(len(pos)), np.zeros(len(pos))
        self.limb_t: dict[str, np.ndarray] = {}
        t_arm, t_leg = np.zeros((len(pos), 2)), np.zeros((len(pos), 2))
        for s, mask in (("L", left), ("R", ~left)):
            wa = soften @ group_weight(model, tights.weights, ARM_BONES[s])
            wl = soften @ group_weight(model, tights.weights, LEG_BONES[s])
            arm[mask], leg[mask] = wa[mask], wl[mask]
            ja = [head[f"{b}.{s}"] for b in ("upperarm01", "lowerarm01", "wrist")]
            jl = [head[f"{b}.{s}"] for b in ("upperleg01", "lowerleg01", "foot")]
            for joints, out, t_out, radius, w in (
                (ja, s_arm, t_arm, 0.045, wa),
                (jl, s_leg, t_leg, 0.075, wl),
            ):
                t1, t2, along = _along(pos, joints)
                out[mask] = along[mask]
                t_out[mask, 0], t_out[mask, 1] = t1[mask], t2[mask]
                axis = (
                    joints[0]
                    + t1[:, None] * (joints[1] - joints[0])
                    + t2[:, None] * (joints[2] - joints[1])
                )
                radial = pos - axis
                outer = np.array([1.0 if s == "L" else -1.0, 0, 0.6 if radius < 0.05 else 0.0])
                direction = joints[2] - joints[0]
                direction = direction / np.linalg.norm(direction)
                outer = outer - direction * (outer @ direction)
                outer /= np.linalg.norm(outer)
                radial = radial - (radial @ direction)[:, None] * direction
                cosine = radial @ outer / np.maximum(np.linalg.norm(radial, axis=1), 1e-6)
                value = np.arccos(np.clip(cosine, -1, 1)) * radius
                chosen = mask & (w > 0.3)
                limb_u[chosen] = value[chosen]
        self.t_arm, self.t_leg = t_arm, t_leg
        neck_bones: list[str] = ["neck01", "neck02", "neck03", "head"]
        neck = soften @ group_weight(model, tights.weights, neck_bones)
        gate = np.clip((arm - 0.2) / 0.5, 0, 1)
        self.canon = Canonical(
            tights.rest,
            arm.astype(np.float32),
            leg.astype(np.float32),
            (s_arm * gate - 0.06 * (1 - gate)).astype(np.float32),
            s_leg.astype(np.float32),
            _arc_lengths(pos),
            limb_u.astype(np.float32),
            neck.astype(np.float32),
        )
        self.to_body = nearest(tights.rest, self.body.rest)
        self.body_canon = self.canon.carried(self.to_body)
        self.body_canon.pos = self.body.rest
        self.elbow = float(np.linalg.norm(head["lowerarm01.L"] - head["upperarm01.L"]))
        self.wrist = self.elbow + float(np.linalg.norm(head["wrist.L"] - head["lowerarm01.L"]))
        self.knee = float(np.linalg.norm(head["lowerleg01.L"] - head["upperleg01.L"]))
        self.ankle = self.knee + float(np.linalg.norm(head["foot.L"] - head["lowerleg01.L"]))
        self.shoulder = head["upperarm01.L"]
        self._grid_canon()

    def _grid_canon(self) -> None:
        """Grid topology of skirts: RINGS x (SECTORS + 1), the seam (back centre) doubled."""
        index = np.arange(RINGS * (SECTORS + 1)).reshape(RINGS, SECTORS + 1)
        a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
        c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
        self.grid_tri = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)]).astype(
            np.int32
        )
        self.theta = np.linspace(-np.pi, np.pi, SECTORS + 1)


@dataclass
class Cut:
    """The shape of one garment, in canonical metres.

    Attributes:
        category: "upper", "lower" or "dress".
        neck, neck_width, neck_depth, back_depth: neckline ("crew", "V", "scoop", "collar", "high").
        sleeve: length from the shoulder joint; negative is sleeveless.
        armhole: for sleeveless, 0.2 (thin straps) to 0.6.
        hem: z of the lower edge of a top; of a skirt or dress in canonical z as well.
        hem_curve: metres by which the sides are higher.
        waist: z of the upper edge of a lower garment.
        leg: length from the hip joint, trousers and shorts.
        join: z where a dress or skirt goes over into its grid, or None.
        ease, taper: looseness (metres) and how much a top follows the waist (0 hangs, 1 clings).
        sleeve_ease, leg_ease, flare, folds: more looseness.
        thickness: metres above the body.
        rib_neck, rib_cuff, rib_hem: widths of ribbed or doubled edges.
        collar, hood: raised parts at the neck.
    """

    category: str
    neck: str = "crew"
    neck_width: float = 0.078
    neck_depth: float = 0.05
    back_depth: float = 0.0
    sleeve: float = 0.2
    armhole: float = 0.45
    hem: float = 0.1
    hem_curve: float = 0.0
    waist: float = 0.26
    leg: float = 0.88
    join: float | None = None
    ease: float = 0.02
    taper: float = 0.2
    sleeve_ease: float = 0.015
    leg_ease: float = 0.01
    flare: float = 0.0
    folds: float = 0.0
    thickness: float = 0.005
    rib_neck: float = 0.018
    rib_cuff: float = 0.012
    rib_hem: float = 0.012
    collar: bool = False
    hood: bool = False
    phase: float = field(default=0.0)


@dataclass
class Fields:
    """Signed distances (n,) to the garment's edges, positive inside: hem (or waist), neck, cuff."""

    hem: np.ndarray
    neck: np.ndarray
    cuff: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        return np.minimum(np.minimum(self.hem, self.neck), self.cuff)


def neck_field(cut: Cut, c: Canonical) -> np.ndarray:
    """Signed distance to the neckline, (n,), negative in the opening."""
    x, y, z = np.abs(c.pos[:, 0]), c.pos[:, 1], c.pos[:, 2]
    if cut.neck == "high":
        return np.where(c.neck > 0.02, cut.neck_depth + 0.72 - z, FAR)
    front = y < -0.02
    bottom = np.where(
        front, SHOULDER_LINE_Z - cut.neck_depth, SHOULDER_LINE_Z - 0.012 - cut.back_depth
    )
    t = np.clip((z - bottom) / (SHOULDER_LINE_Z - bottom), 0, 1)
    v_shape = t if cut.neck in ("V", "collar") else np.sqrt(1 - (1 - t) ** 2)
    opening = np.where(front, v_shape, np.sqrt(1 - (1 - t) ** 2)) * cut.neck_width
    slope = cut.neck_width / np.hypot(cut.neck_width, np.maximum(SHOULDER_LINE_Z - bottom, 0.02))
    slope = np.where(front & (cut.neck in ("V", "collar")), np.maximum(slope * 1.2, 0.3), 1.0)
    below = np.hypot(x, np.maximum(bottom - z, 0))
    value = np.where(z < bottom, below, (x - opening) * np.sqrt(np.clip(slope, 0.1, 1)))
    return np.where(z < 0.42, FAR, value)


def fields(template: Template, cut: Cut, c: Canonical) -> Fields:
    """The cut's fields at canonical points (of the shell; a skirt's grid has its own)."""
    z = c.pos[:, 2]
    if cut.category == "lower":
        waist = np.where(c.arm > 0.25, -FAR, cut.waist - z)
        if cut.join is not None:
            return Fields(
                np.minimum(waist, z - cut.join + 0.025), np.full(len(z), FAR), np.full(len(z), FAR)
            )
        return Fields(waist, np.full(len(z), FAR), cut.leg - c.s_leg + FAR * (c.leg < 0.02))
    arm_gate = np.clip((c.arm - 0.12) / 0.15, 0, 1)
    side = np.clip(c.u / 0.2, 0, 1)
    # Under a grid the shell goes on a little, so that no gap shows at the join.
    edge = (
        cut.join - 0.025
        if cut.join is not None
        else cut.hem + cut.hem_curve * np.sin(np.pi * side) ** 2
    )
    hem = z - edge + arm_gate * FAR
    if cut.sleeve < 0:
        cuff = (cut.armhole - c.arm) * 0.14
    else:
        cuff = cut.sleeve - c.s_arm
    return Fields(hem, neck_field(cut, c), cuff)


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

    def drape(self, cut: Cut, beneath: list[np.ndarray] | None = None) -> Draped:
        """The garment's posed shell, and its grid. `beneath`: posed points a grid must enclose."""
        t, c = self.template, self.template.canon
        f = fields(t, cut, c)
        base = cut.thickness - 0.003  # the tights already lie about 5 mm above the skin
        points = self.rest + self.soft * base
        if cut.category != "lower":
            points = self._hang(points, cut)
            arm_out = self.rest - self.arm_axis
            ramp = np.clip(c.s_arm / 0.12, 0, 1) * np.clip((c.arm - 0.3) / 0.5, 0, 1)
            unit = arm_out / np.maximum(np.linalg.norm(arm_out, axis=1, keepdims=True), 1e-3)
            cuffed = np.clip((cut.sleeve - c.s_arm) / 0.05, 0.25, 1) if cut.sleeve > 0.4 else 1.0
            points = points + unit * (ramp * cut.sleeve_ease * cuffed)[:, None]
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


# ---- landmarks ---------------------------------------------------------------------------------
@dataclass
class Anchors:
    """Where a garment's landmarks sit on its surface: weighted vertices.

    `shell`: name to (indices, weights) into the shell; `grid`: the same into the grid.
    """

    shell: dict[str, tuple[np.ndarray, np.ndarray]]
    grid: dict[str, tuple[np.ndarray, np.ndarray]]

    def positions(self, draped: Draped) -> np.ndarray:
        """float64 (23, 4): x, y, z and whether the landmark exists."""
        out = np.zeros((len(LANDMARKS), 4))
        for source, points in ((self.shell, draped.shell), (self.grid, draped.grid)):
            if points is None:
                continue
            for name, (index, weight) in source.items():
                k = LANDMARKS.index(name)
                out[k, :3] = weight @ points[index]
                out[k, 3] = 1
        return out


def anchors(template: Template, cut: Cut) -> Anchors:
    """The landmarks of a cut, from where its fields cross zero on the mesh's edges."""
    c, e = template.canon, template.tights.edges
    f = fields(template, cut, c)
    i, j = e[:, 0], e[:, 1]
    x, y, z = c.pos.T
    shell: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    grid: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def crossing(value: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = ((value[i] < 0) != (value[j] < 0)) & keep[i] & keep[j]
        k = np.flatnonzero(found)
        w = value[i[k]] / (value[i[k]] - value[j[k]])
        return k, w

    def point(name: str, k: int, w: float) -> None:
        shell[name] = (np.array([i[k], j[k]]), np.array([1 - w, w]))

    def extreme(name: str, value: np.ndarray, keep: np.ndarray, score: np.ndarray) -> None:
        k, w = crossing(value, keep)
        if len(k):
            s = score[i[k]] * (1 - w) + score[j[k]] * w
            b = int(np.argmax(s))
            point(name, int(k[b]), float(w[b]))

    def ring(name: str, value: np.ndarray, keep: np.ndarray) -> None:
        k, w = crossing(value, keep)
        if len(k):
            index = np.concatenate([i[k], j[k]])
            weight = np.concatenate([1 - w, w]) / len(k)
            shell[name] = (index, weight)

    def spot(name: str, score: np.ndarray) -> None:
        shell[name] = (np.array([int(np.argmin(score))]), np.array([1.0]))

    torso = c.arm < 0.15
    sides = (("left", 1.0), ("right", -1.0))
    if cut.category != "lower":
        if cut.neck == "high":
            lip = c.neck > 0.02
        else:
            lip = z > 0.42
        extreme("neck_front", f.neck, lip & (y < 0), -np.abs(x) * 10 - z * (0.0))
        for name, s in sides:
            mine = s * x > 0
            extreme(f"neck_{name}", f.neck, lip & mine, np.abs(x) - 0.5 * np.abs(y + 0.015))
            goal = template.shoulder * np.array([s, 1, 1]) + np.array([-s * 0.005, 0, 0.06])
            spot(f"shoulder_{name}", np.linalg.norm(c.pos - goal, axis=1))
            pit = np.where(mine & (np.abs(c.arm - 0.45) < 0.12) & (np.abs(y + 0.01) < 0.05), z, 9)
            spot(f"armpit_{name}", pit)
            if cut.sleeve > 0:
                ring(f"cuff_{name}", f.cuff, mine & (c.arm > 0.2))
                if cut.sleeve > template.elbow + 0.015:
                    ring(f"elbow_{name}", c.s_arm - template.elbow, mine & (c.arm > 0.6))
    edge = cut.waist if cut.category == "lower" else 9.0
    low = cut.join if cut.join is not None else (cut.hem if cut.category == "upper" else -9.0)
    for name, s in sides:
        mine = (s * x > 0) & torso
        side_score = np.abs(x) - 0.2 * np.abs(y + 0.01)
        if cut.category == "lower":
            if cut.join is None or cut.waist - cut.join > 0.01:
                extreme(f"waist_{name}", cut.waist - z, mine, side_score)
        elif low < WAIST_Z:
            extreme(f"waist_{name}", z - WAIST_Z, mine, side_score)
        if low < HIP_Z < edge:
            extreme(f"hip_{name}", z - HIP_Z, mine, side_score)
        if cut.category == "upper" and cut.join is None:
            extreme(f"hem_{name}", f.hem, mine, side_score)
        if cut.category == "lower" and cut.join is None:
            leg = (s * x > 0) & (c.leg > 0.5)
            ring(f"leg_{name}", cut.leg - c.s_leg, leg)
            if cut.leg > template.knee + 0.02:
                ring(f"knee_{name}", c.s_leg - template.knee, leg)
    if cut.category == "upper" and cut.join is None:
        extreme("hem_front", f.hem, torso & (y < -0.03), -np.abs(x))
    if cut.category == "lower" and cut.join is None:
        between = (np.abs(x) < 0.02) & (z > -0.1)
        spot("crotch", np.where(between, z, 9))
    if cut.join is not None:
        levels = np.linspace(cut.join, cut.hem, RINGS)

        def cell(name: str, level: float, theta: float) -> None:
            row = float(
                np.clip((levels[0] - level) / max(levels[0] - levels[-1], 1e-6), 0, 1) * (RINGS - 1)
            )
            column = round((theta + np.pi) / (2 * np.pi) * SECTORS)
            r0 = min(int(row), RINGS - 2)
            w = row - r0
            at = np.array([r0, r0 + 1]) * (SECTORS + 1) + column
            grid[name] = (at, np.array([1 - w, w]))

        for name, s in sides:
            cell(f"hem_{name}", cut.hem, s * np.pi / 2)
            if cut.hem < HIP_Z <= cut.join:
                cell(f"hip_{name}", HIP_Z, s * np.pi / 2)
                shell.pop(f"hip_{name}", None)
            if cut.category == "lower" and f"waist_{name}" not in shell:
                cell(f"waist_{name}", cut.join, s * np.pi / 2)
        cell("hem_front", cut.hem, 0.0)
    return Anchors(shell, grid)
