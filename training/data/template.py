"""What garments need of the body model, computed once: canonical coordinates and weights.

One material point is the same vertex on every body and in every pose: that is what makes the true
flow exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from training.data.bodies import BodyModel, nearest
from training.data.poses import ARM_BONES, LEG_BONES, group_weight

RINGS, SECTORS = 26, 72
TORSO_AXIS_Y = -0.015


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


@dataclass
class Lengthwise:
    """The tights' edges (m, 2), and how much each runs along its limb or the torso, (m,), 0..1."""

    edges: np.ndarray
    share: np.ndarray


def _lengthwise(tri: np.ndarray, c: Canonical) -> Lengthwise:
    edges = np.unique(np.sort(tri[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
    a, b = edges.T
    down = np.where(c.arm > 0.5, c.s_arm, np.where(c.leg > 0.5, c.s_leg, -c.pos[:, 2]))
    length = np.maximum(np.linalg.norm(c.pos[a] - c.pos[b], axis=1), 1e-6)
    return Lengthwise(edges, np.clip(np.abs(down[a] - down[b]) / length, 0, 1) ** 2)


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
        self.arm_joints = np.stack([head[f"{b}.L"] for b in ("upperarm01", "lowerarm01", "wrist")])
        self.leg_joints = np.stack([head[f"{b}.L"] for b in ("upperleg01", "lowerleg01", "foot")])
        self.along = _lengthwise(tights.tri, self.canon)
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
