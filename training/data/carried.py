"""What a person carries: a telephone, a bag on a strap, a rucksack; parsed as `other`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.drape import Wearer
from training.data.poses import Pose
from training.data.renderer import Renderer
from tryon.contract import PARSE

_PHONE = (0.15, 0.074, 0.010)
"""Metres along the fingers, across the palm, and thick."""


@dataclass
class Carried:
    """`phone`: the hand that holds one, "L", "R" or ""; `bag`: "across" (a strap from the left
    shoulder to the right hip, or mirrored where `side` is -1), "back" (a rucksack) or ""; colours
    float (3,) in 0..1; `strap`: half its width in metres."""

    phone: str
    bag: str
    side: int
    phone_colour: np.ndarray
    bag_colour: np.ndarray
    strap: float


def random_carried(rng: np.random.Generator, pose: Pose) -> Carried:
    """Mostly nothing; a telephone where the arms are bent for one."""
    likely = 0.5 if pose.arms in ("phone", "bent") else 0.06
    phone = str(rng.choice(["L", "R"])) if rng.random() < likely else ""
    bag = str(rng.choice(["", "across", "back"], p=[0.84, 0.1, 0.06]))
    dark = np.array([0.08, 0.08, 0.09])
    return Carried(
        phone, bag if pose.legs != "sitting" else "", int(rng.choice([-1, 1])),
        dark if rng.random() < 0.6 else rng.uniform(0.1, 0.95, 3),
        dark if rng.random() < 0.4 else rng.uniform(0.05, 0.8, 3),
        float(rng.uniform(0.006, 0.022)),
    )  # fmt: skip


def draw_carried(r: Renderer, wearer: Wearer, carried: Carried, over: np.ndarray) -> None:
    """Draws it into the picture that has begun.

    Args:
        r, wearer, carried: as they are called.
        over: (n, 3) posed points of the outermost shell of the torso, on which straps lie.
    """
    if carried.phone:
        _phone(r, wearer, carried)
    if carried.bag:
        _straps(r, wearer, carried, over)
    if carried.bag == "across":
        s = carried.side
        model = wearer.template.model
        heads, root = wearer.shaped.heads, model.bone["root"]
        moved = heads[root] - model.average.heads[root]
        middle = np.array([-s * 0.15, -0.15, 0.05]) + moved
        turn = np.array([[0.85, -s * 0.53, 0], [s * 0.53, 0.85, 0], [0, 0, 1.0]])
        points, normals, tri = _box(middle, turn, (0.22, 0.07, 0.16))
        _rigid(r, wearer, "root", points, normals, tri, carried.bag_colour)


def _phone(r: Renderer, wearer: Wearer, carried: Carried) -> None:
    model, heads, hand = wearer.template.model, wearer.shaped.heads, carried.phone

    def at(bone: str) -> np.ndarray:
        return heads[model.bone[f"{bone}.{hand}"]].astype(np.float64)

    along = at("finger3-1") - at("wrist")
    middle = at("wrist") + 0.9 * along
    along = along / np.linalg.norm(along)
    across = at("finger2-1") - at("finger5-1")
    across = across - along * (across @ along)
    across = across / np.linalg.norm(across)
    palm = np.cross(along, across)
    if palm[2] > 0:  # at rest the palms look down
        palm = -palm
    axes = np.stack([along, across, palm])
    points, normals, tri = _box(middle + 0.024 * palm + 0.035 * along, axes, _PHONE)
    _rigid(r, wearer, f"wrist.{hand}", points, normals, tri, carried.phone_colour)


def _straps(r: Renderer, wearer: Wearer, carried: Carried, over: np.ndarray) -> None:
    t = wearer.template
    c = t.canon
    x, y, z = c.pos.astype(np.float64).T
    if carried.bag == "across":
        s = carried.side
        shoulder, hip = np.array([s * 0.10, 0.70]), np.array([-s * 0.16, 0.10])
        way = (hip - shoulder) / np.linalg.norm(hip - shoulder)
        beside = np.abs((x - shoulder[0]) * way[1] - (z - shoulder[1]) * way[0])
        reach = np.minimum(z - 0.10, 0.35 - c.arm)
    else:
        beside = np.abs(np.abs(x) - 0.10)
        reach = np.minimum(z - np.where(y < 0, 0.42, 0.5), 0.45 - c.arm)
    keep = np.minimum(carried.strap - beside, reach)
    tri = t.tights.tri[(keep[t.tights.tri] > -0.02).any(1)]
    normals = t.tights.normals(over)
    part = np.stack([0 * keep, 0 * keep, 0 * keep + 1, keep], 1)
    colours = np.tile(carried.bag_colour, (len(keep), 1))
    r.skin(over + 0.006 * normals, normals, colours, part, tri, PARSE.index("other"))


def _box(
    middle: np.ndarray, axes: np.ndarray, size: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box's points and normals (24, 3), four a face, and triangles (12, 3)."""
    points, normals = [], []
    for k in range(3):
        u, v = (k + 1) % 3, (k + 2) % 3
        for side in (-1.0, 1.0):
            face = middle + side * size[k] / 2 * axes[k]
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                points.append(face + a * size[u] / 2 * axes[u] + b * size[v] / 2 * axes[v])
                normals.append(side * axes[k])
    corner = 4 * np.arange(6)[:, None]
    tri = np.concatenate([corner + [0, 1, 2], corner + [0, 2, 3]])
    return np.array(points), np.array(normals), tri.astype(np.int32)


def _rigid(
    r: Renderer, wearer: Wearer, bone: str, points: np.ndarray, normals: np.ndarray,
    tri: np.ndarray, colour: np.ndarray,
) -> None:  # fmt: skip
    """Draws points of the rest pose that move with one bone."""
    g = wearer.transforms[wearer.template.model.bone[bone]]
    part = np.tile([0.0, 0, 1, 1], (len(points), 1))
    r.skin(
        (points @ g[:3, :3].T + g[:3, 3]).astype(np.float32),
        (normals @ g[:3, :3].T).astype(np.float32),
        np.tile(colour, (len(points), 1)), part, tri, PARSE.index("other"),
    )  # fmt: skip
