"""How a garment is worn that its in-shop picture doesn't show: another size, sleeves rolled up,
the front open over another top."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from training.data.garments import Cut
from training.data.template import Template

SIZES = (-2, -1, 1, 2, 3)
"""Sizes smaller or larger than the garment that is shown."""
_RESIZED, _ROLLED, _OPEN = 0.3, 0.3, 0.45
"""Share of the outfits with another size; share of the long-sleeved ones with rolled sleeves; share
of jackets and long-sleeved shirts that are worn open."""
_CHEST_Z = 0.56
"""A larger top grows from here down."""
_LOWEST_HEM = 0.086
"""A top that ends below would split between the legs."""
_LONGEST = {"sleeve": 0.56, "leg": 0.9}


@dataclass(frozen=True)
class Styling:
    """How one outfit wears a garment.

    Attributes:
        size: sizes larger (or smaller, below 0) than it is shown.
        rolled: canonical metres from the shoulder at which rolled-up sleeves end; 0: not rolled.
        gap: as in `garments.front_field`, of a front that is worn open; 0: closed.
    """

    size: int = 0
    rolled: float = 0.0
    gap: float = 0.0

    def words(self) -> dict[str, int | bool]:
        """What captions may say of it."""
        return {"size": self.size, "rolled": self.rolled > 0, "open": self.gap > 0}


AS_SHOWN = Styling()


def random_styling(rng: np.random.Generator, cut: Cut) -> Styling:
    """A way to wear the garment, mostly as it is shown."""
    size = int(rng.choice(SIZES)) if rng.random() < _RESIZED else 0
    end = float(rng.choice([rng.uniform(0.27, 0.33), rng.uniform(0.36, 0.42)]))
    long = cut.sleeve > 0.45
    rolls = long and rng.random() < _ROLLED
    opens = long and cut.fastened and rng.random() < _OPEN
    return Styling(size, end if rolls else 0.0, float(rng.uniform(0.07, 0.13)) if opens else 0.0)


def worn_cut(cut: Cut, styling: Styling) -> Cut:
    """The cut of the garment as it is worn: about a grading step of shops a size."""
    s, new = styling.size, replace(cut)
    if cut.category == "lower":
        new.waist = cut.waist - 0.006 * s
        new.leg_ease = max(cut.leg_ease + 0.005 * s, 0.0)
        new.flare = max(cut.flare + 0.004 * s, 0.0) if cut.flare else 0.0
        new.leg = min(cut.leg + 0.012 * s, max(cut.leg, _LONGEST["leg"]))
    else:
        new.ease = max(cut.ease + 0.008 * s, 0.0)
        new.taper = float(np.clip(cut.taper - 0.08 * s, 0.0, 1.0))
        new.sleeve_ease = max(cut.sleeve_ease + 0.0035 * s, 0.0)
        if cut.sleeve > 0:
            new.sleeve = min(cut.sleeve + 0.015 * s, max(cut.sleeve, _LONGEST["sleeve"]))
        if cut.join is None:
            new.hem = max(cut.hem - 0.017 * s, min(cut.hem, _LOWEST_HEM))
    if cut.join is not None:
        new.hem = cut.hem - 0.014 * s
        new.leg_ease = max(cut.leg_ease + 0.005 * s, 0.0)
        if cut.category == "lower":
            new.join = new.waist - (cut.waist - cut.join)
    if styling.rolled:
        new.sleeve, new.rolled = styling.rolled, 0.045
        new.rib_cuff = 0.0
    return new


def shown_point(template: Template, shown: Cut, worn: Cut) -> sparse.csr_matrix:
    """Sparse (n, n) that carries values at the shell's vertices from the garment as it is shown to
    the garment as it is worn.

    A larger shirt's hem is the hem of the shirt that is shown, not a strip below it: points between
    the edges are stretched along torso and limbs.
    """
    c = template.canon
    pos = c.pos.astype(np.float64)
    z = pos[:, 2]
    down = np.array([0.0, 0.0, -1.0])
    if shown.category == "lower":
        along = c.s_leg * (shown.leg / worn.leg - 1) if shown.join is None else 0 * z
        limb = np.clip((c.leg - 0.2) / 0.6, 0, 1)
        up = (shown.waist - worn.waist) * np.clip((z - 0.1) / 0.12, 0, 1)
        move = limb[:, None] * along[:, None] * _directions(template.leg_joints, pos, c.s_leg)
        move += ((1 - limb) * -up)[:, None] * down
    else:
        move = np.zeros_like(pos)
        limb = np.clip((c.arm - 0.2) / 0.6, 0, 1)
        limb = limb * limb * (3 - 2 * limb)
        if shown.join is None:
            below = np.maximum(_CHEST_Z - z, 0)
            stretch = (_CHEST_Z - shown.hem) / (_CHEST_Z - worn.hem) - 1
            move += ((1 - limb) * below * stretch)[:, None] * down
        if shown.sleeve > 0 and not worn.rolled:
            along = np.maximum(c.s_arm, 0) * (shown.sleeve / worn.sleeve - 1)
            move += (limb * along)[:, None] * _directions(template.arm_joints, pos, c.s_arm)
    return _interpolation(pos, pos + move)


def _directions(joints: np.ndarray, pos: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) down the limb at each point; `joints` (3, 3): those of the left one."""
    upper, lower = joints[1] - joints[0], joints[2] - joints[1]
    length = float(np.linalg.norm(upper))
    past = np.clip((along - length) / 0.06 + 0.5, 0, 1)[:, None]
    out = (1 - past) * upper / length + past * lower / np.linalg.norm(lower)
    out = out * np.where(pos[:, :1] >= 0, [1.0, 1, 1], [-1.0, 1, 1])
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))


def _interpolation(source: np.ndarray, target: np.ndarray, k: int = 8) -> sparse.csr_matrix:
    """Sparse (m, n): values at `source` (n, 3), linear nearby, at `target` (m, 3)."""
    distance, index = cKDTree(source).query(target, k=k)
    weight = 1 / (distance + 1e-3) ** 2
    weight /= weight.sum(1, keepdims=True)
    # The least change (in proportion to the weights) after which they give back the place itself.
    basis = source[index] - target[:, None]
    gram = np.einsum("nk,nki,nkj->nij", weight, basis, basis)
    gram += np.eye(3) * (1e-2 * np.trace(gram, axis1=1, axis2=2)[:, None, None] / 3 + 1e-12)
    mean = np.einsum("nk,nki->ni", weight, basis)
    slope = np.linalg.solve(gram, mean[..., None])[..., 0]
    weight = weight * (1 - np.einsum("nki,ni->nk", basis, slope))
    weight /= weight.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(target)), k)
    return sparse.csr_matrix((weight.ravel(), (rows, index.ravel())), (len(target), len(source)))
