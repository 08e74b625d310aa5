"""Natural poses: legs and arms placed by two-bone inverse kinematics, spine and head by angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.bodies import BodyModel, Shaped

ARM_KINDS = {
    "hanging": 0.40,
    "away": 0.12,
    "hips": 0.09,
    "one_hip": 0.06,
    "bent": 0.08,
    "crossed": 0.06,
    "phone": 0.06,
    "raised": 0.05,
    "pockets": 0.08,
}
LEG_KINDS = {
    "standing": 0.50,
    "contrapposto": 0.16,
    "walking": 0.14,
    "sitting": 0.14,
    "crossed_legs": 0.06,
}


@dataclass(frozen=True)
class Pose:
    """A pose of one body: `arms` and `legs` name its kind, `transforms` are (B, 4, 4)."""

    arms: str
    legs: str
    transforms: np.ndarray


def rotation(axis: tuple[float, float, float] | np.ndarray, degrees: float) -> np.ndarray:
    """Rotation matrix (3, 3) about `axis`."""
    a = np.asarray(axis, float)
    a = a / max(float(np.linalg.norm(a)), 1e-9)
    t = np.radians(degrees)
    k = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    return np.eye(3) + np.sin(t) * k + (1 - np.cos(t)) * k @ k


def _unit(v: np.ndarray) -> np.ndarray:
    return v / max(float(np.linalg.norm(v)), 1e-9)


def _frame(direction: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    d = _unit(direction)
    n = _unit(hinge - d * float(hinge @ d))
    return np.stack([d, np.cross(n, d), n], axis=1)


def _two_bones(
    start: np.ndarray, target: np.ndarray, first: float, second: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Directions of both bones so that the chain ends at `target`, bent towards `pole`."""
    reach = target - start
    distance = float(
        np.clip(np.linalg.norm(reach), abs(first - second) + 1e-3, (first + second) * 0.998)
    )
    d = _unit(reach)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    out = np.sqrt(max(first**2 - along**2, 0.0))
    side = _unit(pole - d * float(pole @ d))
    middle = d * along + side * out
    return _unit(middle), _unit(d * distance - middle)


class Poser:
    """Poses one shaped body."""

    def __init__(self, model: BodyModel, shaped: Shaped):
        self.model, self.shaped = model, shaped
        tights = model.surfaces["tights"]
        self.rest = tights.matrix @ shaped.vertices
        arm = _group_weight(model, tights.weights, ARM_BONES["L"] + ARM_BONES["R"])
        torso = self.rest[arm < 0.05]
        self._torso = torso

    def head(self, bone: str) -> np.ndarray:
        return self.shaped.heads[self.model.bone[bone]].astype(float)

    def half_width(self, z: float) -> float:
        """Half the torso's width around height z, at rest."""
        near = np.abs(self._torso[:, 2] - z) < 0.025
        return float(np.abs(self._torso[near, 0]).max()) if near.any() else 0.18

    def front(self, z: float) -> float:
        """The torso's most forward y around height z."""
        near = (np.abs(self._torso[:, 2] - z) < 0.025) & (np.abs(self._torso[:, 0]) < 0.12)
        return float(self._torso[near, 1].min()) if near.any() else -0.12

    def _limb(
        self,
        rotations: dict[str, np.ndarray],
        upper: str,
        lower: str,
        end: str,
        target: np.ndarray,
        pole: np.ndarray,
        forward_hinge: np.ndarray,
    ) -> None:
        """Adds both rotations that put the limb's end at `target` (in the parent's rest axes)."""
        s, m, e = self.head(upper), self.head(lower), self.head(end)
        d1, d2 = _two_bones(
            s, target, float(np.linalg.norm(m - s)), float(np.linalg.norm(e - m)), pole
        )
        rest_hinge = np.cross(m - s, e - m)
        if np.linalg.norm(_unit(rest_hinge)) < 0.5:
            rest_hinge = forward_hinge
        hinge = np.cross(d1, d2)
        if np.linalg.norm(hinge) < 0.02:
            hinge = np.cross(d1, -pole)
        first = _frame(d1, hinge) @ _frame(m - s, rest_hinge).T
        second = _frame(d2, hinge) @ _frame(e - m, rest_hinge).T
        rotations[upper] = first
        rotations[lower] = first.T @ second

    def arm(
        self,
        rotations: dict[str, np.ndarray],
        side: str,
        target: np.ndarray,
        pole: np.ndarray,
        pronation: float = 0.0,
    ) -> None:
        """Places a wrist; the shoulder girdle follows raised arms."""
        s = 1.0 if side == "L" else -1.0
        shoulder = self.head(f"upperarm01.{side}")
        lift = float(np.clip((target[2] - shoulder[2]) / 0.5, 0, 1))
        if lift > 0.05:
            rotations[f"clavicle.{side}"] = rotation((0, -s, 0), 18 * lift)
        girdle = rotations.get(f"clavicle.{side}", np.eye(3))
        pivot = self.head(f"clavicle.{side}")
        inverse = girdle.T
        local = inverse @ (target - pivot) + pivot
        self._limb(
            rotations,
            f"upperarm01.{side}",
            f"lowerarm01.{side}",
            f"wrist.{side}",
            local,
            inverse @ pole,
            np.array([s, 0.0, 0.0]),
        )
        axis = self.head(f"wrist.{side}") - self.head(f"lowerarm01.{side}")
        if pronation:
            rotations[f"lowerarm02.{side}"] = rotation(axis, s * pronation * 0.5)
            rotations[f"wrist.{side}"] = rotation(axis, s * pronation * 0.5)

    def leg(
        self, rotations: dict[str, np.ndarray], side: str, ankle: np.ndarray, pole: np.ndarray
    ) -> None:
        """Places an ankle; the knee bends towards `pole`."""
        self._limb(
            rotations,
            f"upperleg01.{side}",
            f"lowerleg01.{side}",
            f"foot.{side}",
            ankle,
            pole,
            np.array([1.0, 0.0, 0.0]),
        )
        # The foot stays level: undo what hip and knee did, but for its outward turn.
        turned = rotations[f"upperleg01.{side}"] @ rotations[f"lowerleg01.{side}"]
        rotations[f"foot.{side}"] = turned.T

    def random(
        self, rng: np.random.Generator, legs: str | None = None, arms: str | None = None
    ) -> Pose:
        """A random pose; `legs` and `arms` fix its kinds (keys of LEG_KINDS, ARM_KINDS)."""
        legs = legs or str(rng.choice(list(LEG_KINDS), p=list(LEG_KINDS.values())))
        arms = arms or str(rng.choice(list(ARM_KINDS), p=list(ARM_KINDS.values())))
        r: dict[str, np.ndarray] = {}
        n = rng.normal
        self._legs(r, rng, legs)
        bend, side, twist = n(2, 4), n(0, 2.5), n(0, 5)
        if legs == "contrapposto":
            side += rng.choice([-1, 1]) * 4
        for bone in ("spine04", "spine03", "spine02", "spine01"):
            r[bone] = (
                rotation((0, 0, 1), twist / 4)
                @ rotation((0, 1, 0), side / 4)
                @ rotation((1, 0, 0), bend / 4)
            )
        yaw, nod, tilt = n(0, 14), n(3, 7), n(0, 5)
        for bone in ("neck01", "neck02", "head"):
            r[bone] = (
                rotation((0, 0, 1), yaw / 3)
                @ rotation((0, 1, 0), tilt / 3)
                @ rotation((1, 0, 0), nod / 3)
            )
        self._arms(r, rng, arms, legs)
        for s in "LR":
            curl = rng.uniform(5, 35)
            across = self.head(f"finger2-1.{s}") - self.head(f"finger5-1.{s}")
            along = self.head(f"finger3-2.{s}") - self.head(f"finger3-1.{s}")
            palm = np.cross(across, along) * (1 if s == "L" else -1)
            axis = np.cross(along, -palm) if palm[2] > 0 else np.cross(along, palm)
            for finger in (2, 3, 4, 5):
                for joint in (1, 2, 3):
                    r[f"finger{finger}-{joint}.{s}"] = rotation(axis, curl * rng.uniform(0.6, 1))
        return Pose(arms, legs, self.model.transforms(self.shaped, r))

    def _legs(self, r: dict[str, np.ndarray], rng: np.random.Generator, kind: str) -> None:
        n = rng.normal
        forward = np.array([0.0, -1.0, 0.0])
        for s, x in (("L", 1.0), ("R", -1.0)):
            hip, ankle = self.head(f"upperleg01.{s}"), self.head(f"foot.{s}")
            length = float(np.linalg.norm(ankle - hip))
            target = np.array(
                [
                    hip[0] + x * rng.uniform(-0.02, 0.10),
                    hip[1] + n(0, 0.02) + 0.01,
                    hip[2] - length * rng.uniform(0.985, 0.997),
                ]
            )
            pole = forward + np.array([x * rng.uniform(0.0, 0.35), 0, 0])
            if kind == "contrapposto" and s == "L":
                target += np.array([x * 0.05, -rng.uniform(0.02, 0.14), rng.uniform(0.01, 0.05)])
            elif kind == "walking":
                step = rng.uniform(0.10, 0.26) * (1 if s == "L" else -1)
                target = np.array(
                    [
                        hip[0] - x * 0.03,
                        hip[1] + step,
                        hip[2] - length * (0.955 if step > 0 else 0.975),
                    ]
                )
            elif kind == "sitting":
                thigh = float(np.linalg.norm(self.head(f"lowerleg01.{s}") - hip))
                drop = rng.uniform(-0.02, 0.10)
                spread = rng.uniform(-0.03, 0.10)
                knee = hip + np.array([x * spread, -thigh * 0.97, -drop])
                shin = length - thigh
                target = knee + np.array([x * n(0, 0.03), n(0.03, 0.07), -shin * 0.98])
                pole = np.array([x * 0.15, -0.6, 0.8])
            elif kind == "crossed_legs":
                target = np.array(
                    [
                        -x * rng.uniform(0.0, 0.05),
                        hip[1] + (-0.07 if s == "L" else 0.06),
                        hip[2] - length * 0.985,
                    ]
                )
            self.leg(r, s, target, pole)
        if kind == "contrapposto":
            r["root"] = rotation((0, 1, 0), rng.uniform(2, 5)) @ rotation((0, 0, 1), n(0, 5))
            r["spine05"] = r["root"].T
        if kind == "sitting":
            r["root"] = rotation((1, 0, 0), -rng.uniform(0, 10))

    def _arms(
        self, r: dict[str, np.ndarray], rng: np.random.Generator, kind: str, legs: str
    ) -> None:
        sides = list("LR")
        rng.shuffle(sides)
        plan = dict.fromkeys(sides, kind)
        if kind in ("one_hip", "phone", "bent", "raised") and rng.random() < 0.6:
            other = rng.choice(["hanging", "hanging", "hips", "pockets"])
            plan[sides[1]] = str(other)
        if kind == "one_hip":
            plan[sides[0]] = "hips"
        if legs == "sitting":
            plan = {
                s: ("lap" if k in ("hanging", "pockets", "away") else k) for s, k in plan.items()
            }
        swing = rng.uniform(0.05, 0.2) if legs == "walking" else 0.0
        height = rng.uniform(0, 1)
        for i, s in enumerate(sides):
            x = 1.0 if s == "L" else -1.0
            sh, el, wr = (self.head(f"{b}.{s}") for b in ("upperarm01", "lowerarm01", "wrist"))
            reach = float(np.linalg.norm(el - sh) + np.linalg.norm(wr - el))
            hip_z, waist_z = self.head("upperleg01.L")[2], self.head("spine04")[2] + 0.06
            chest_z = self.head("spine01")[2]
            out, back = np.array([x, 0, 0.0]), np.array([0, 1.0, 0])
            k, turn = plan[s], 0.0
            pole = 0.5 * out + back
            if k in ("hanging", "away"):
                z = sh[2] - reach * rng.uniform(0.93, 0.985)
                side = self.half_width(z) + rng.uniform(0.045, 0.075)
                side = max(side, abs(sh[0]) + rng.uniform(-0.01, 0.05))
                if k == "away":
                    side += rng.uniform(0.06, 0.22)
                    z += 0.06
                y = rng.uniform(-0.09, 0.02) + swing * (1 if s == "L" else -1)
                target, turn = np.array([x * side, y, z]), rng.uniform(-20, 40)
                pole = 0.35 * out + back
            elif k == "hips":
                z = waist_z - rng.uniform(0.0, 0.06)
                target = np.array([x * (self.half_width(z) + 0.045), rng.uniform(-0.06, 0.02), z])
                pole, turn = out + rng.uniform(0.0, 0.5) * back, rng.uniform(20, 60)
            elif k == "pockets":
                z = hip_z + rng.uniform(-0.0, 0.08)
                target = np.array(
                    [x * (self.half_width(z) + 0.02), rng.uniform(-0.03, 0.02), z + 0.05]
                )
                pole, turn = 0.9 * out + back, 30.0
            elif k == "bent":
                z = waist_z + (chest_z - waist_z) * rng.uniform(0, 0.8)
                target = np.array(
                    [x * rng.uniform(0.0, 0.16), self.front(z) - rng.uniform(0.08, 0.2), z]
                )
                pole = 0.4 * out + 0.6 * back - np.array([0, 0, 0.5])
            elif k == "crossed":
                z = chest_z - rng.uniform(0.10, 0.14) + 0.03 * i
                target = np.array(
                    [-x * rng.uniform(0.06, 0.11), self.front(z) - 0.07 - 0.06 * i, z]
                )
                pole = out - np.array([0, 0.3, 0.7])
            elif k == "phone":
                z = chest_z + rng.uniform(-0.05, 0.16)
                target = np.array(
                    [x * rng.uniform(0.02, 0.12), self.front(z) - rng.uniform(0.12, 0.25), z]
                )
                pole = 0.5 * out - np.array([0, 0, 1.0])
            elif k == "raised":
                z = sh[2] + reach * (0.35 + 0.55 * height)
                target = np.array(
                    [x * (abs(sh[0]) + rng.uniform(0.0, 0.22)), rng.uniform(-0.08, 0.10), z]
                )
                pole = out - 0.2 * back
            else:  # lap
                z = hip_z + rng.uniform(0.08, 0.14)
                target = np.array([x * rng.uniform(0.05, 0.16), -rng.uniform(0.22, 0.38), z])
                pole = 0.5 * out + back
            self.arm(r, s, target, pole, turn)


_FINGERS = [f"finger{i}-{j}" for i in range(1, 6) for j in range(1, 4)]
_ARM = (
    ["upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist"]
    + [f"metacarpal{i}" for i in range(1, 5)]
    + _FINGERS
)
_TOES = [f"toe{i}-{j}" for i in range(1, 6) for j in range(1, 4) if (i, j) != (1, 3)]
_LEG = ["upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot"] + _TOES
ARM_BONES = {s: [f"{b}.{s}" for b in _ARM] for s in "LR"}
LEG_BONES = {s: [f"{b}.{s}" for b in _LEG] for s in "LR"}


def _group_weight(model: BodyModel, weights: object, bones: list[str]) -> np.ndarray:
    """Summed skinning weight (n,) of the named bones."""
    ids = [model.bone[b] for b in bones]
    return np.asarray(weights[:, ids].sum(1)).ravel()  # type: ignore[index]


group_weight = _group_weight
