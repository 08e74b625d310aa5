"""The shape of a garment: a `Cut`, and the scalar fields that cut it out of the body's surface.

All fields are functions of canonical coordinates (`template.py`: the average body at rest).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.data.template import Canonical, Template

WAIST_Z, HIP_Z, CHEST_Z, CROTCH_Z = 0.33, 0.13, 0.50, 0.06
SHOULDER_LINE_Z = 0.712
NECK_Z = 0.72
FAR = 1.0


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
        rolled: width of the thick edge of sleeves that are rolled up.
        collar, hood: raised parts at the neck. fastened: in front, from neck to hem, so that it can
            be worn open.
        stand: metres by which a collar stands up the neck; its opening then runs from there down
            to `neck_depth`, `neck_width` at the top being the half of what stays open.
        stand_drop: metres by which it is lower before than behind.
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
    rolled: float = 0.0
    collar: bool = False
    hood: bool = False
    fastened: bool = False
    stand: float = 0.0
    stand_drop: float = 0.0
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
        return np.where(c.neck > 0.02, cut.neck_depth + NECK_Z - z, FAR)
    if cut.stand > 0:
        low, rim = SHOULDER_LINE_Z - cut.neck_depth, NECK_Z + cut.stand
        # It stands higher behind than before: laid flat, its inner back shows above the front.
        # Never below the neck's foot, or the front would end in a straight line with corners.
        drop = min(cut.stand_drop, cut.stand - 0.006)
        edge = rim - drop * np.clip((0.02 - y) / 0.09, 0, 1)
        around = np.where(c.neck > 0.02, edge - z, FAR)
        lean = cut.neck_width / max(rim - low, 0.01)
        beside = (x - (z - low) * lean) / np.hypot(1, lean)
        slit = np.where(z < low, np.hypot(x, z - low), beside)
        return np.minimum(around, np.where((y < -0.02) & (z > 0.42), slit, FAR))
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


_OPENING = (0.62, 0.15)
"""Between these z a front that is worn open goes apart."""


def front_field(gap: float, c: Canonical) -> np.ndarray:
    """Signed distance (n,) to the edges of a front that is worn open, negative between them.

    `gap`: half of what is open at the hem, in canonical metres; at the neck it is a third of it.
    """
    high, low = _OPENING
    down = np.clip((high - c.pos[:, 2]) / (high - low), 0, 1)
    front = (c.pos[:, 1] < -0.02) & (c.arm < 0.5)
    return np.where(front, np.abs(c.pos[:, 0]) - gap * (1 + 2 * down) / 3, FAR)


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
