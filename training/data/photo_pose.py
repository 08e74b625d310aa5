"""Other poses of a photographed person: the arms turned within the picture, at shoulder and elbow.

The body that is fitted to the photo turns with them, so that garments are draped on the new pose.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial import cKDTree

from training.data.body_fit import BodyFit, Fitted
from training.data.photographs import Photograph
from training.data.poses import ARM_BONES
from training.data.studio import Studio
from tryon.contract import PARSE

_GRID = 4
_SMOOTH = 21
_SIDES = {"left": ("L", -1.0), "right": ("R", 1.0)}
"""Of the person's: the bones' suffix, and the sign of a turn outwards (clockwise is positive)."""
_FOLD = 0.25
"""The elbow bends over this share of the upper arm's length, each way."""
_BEFORE = 0.12
"""Metres that a wrist over the trunk lies before it: room for a skirt."""
_JOINTS = {"left": (13, 15, 17, 19, 21), "right": (14, 16, 18, 20, 22)}


def random_turns(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Degrees that each arm turns outwards at the shoulder, and inwards at the elbow."""
    both = rng.uniform(4, 38)
    turns = {}
    for side in _SIDES:
        out = both + rng.normal(0, 4) if rng.random() < 0.7 else rng.uniform(0, 45)
        fold = rng.uniform(-5, 20) if rng.random() < 0.5 else rng.uniform(15, 75)
        # A forearm turned in over the trunk would need a hand seen from its side.
        turns[side] = float(max(out, 0.0)), float(min(fold, max(out, 0) + 35))
    return turns


def turned(
    studio: Studio, fit: BodyFit, photo: Photograph, fitted: Fitted,
    turns: dict[str, tuple[float, float]],
) -> tuple[Photograph, Fitted]:  # fmt: skip
    """The photo and its body with turned arms (see `random_turns`)."""
    layers = _Layers(studio, photo, fitted)
    pixels, classes, joints = layers.trunk_pixels, layers.trunk_classes, photo.joints.copy()
    transforms = fitted.transforms.copy()
    for side, (out, fold) in turns.items():
        name, sign = _SIDES[side]
        first, second = np.radians(sign * out), np.radians(-sign * fold)
        arm, shoulder, elbow = layers.arms[side], *layers.pivots[side]
        back = _backward(photo.classes.shape, shoulder, elbow, first, second)
        linear = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_CONSTANT}
        seen = cv2.remap(arm.astype(np.float32), *back, **linear)  # type: ignore[call-overload]
        moved = cv2.remap(photo.pixels, *back, **linear)  # type: ignore[call-overload]
        nearest = cv2.remap(photo.classes, *back, cv2.INTER_NEAREST)
        pixels = pixels + seen[..., None] * (moved - pixels)
        classes = np.where(seen > 0.5, nearest, classes)
        at = joints[list(_JOINTS[side]), :2] - elbow
        at[1:] = at[1:] @ _turn(second).T
        at[0] = _turn(second / 2) @ at[0]  # at the elbow the picture has half of the turn
        joints[list(_JOINTS[side]), :2] = (at + elbow - shoulder) @ _turn(first).T + shoulder
        before = float(np.clip((fold - out) / 30, 0, 1))
        _turn_bones(studio, transforms, fitted, name, first, second, before, layers.front)
    new = replace(photo, pixels=np.clip(np.rint(pixels), 0, 255).astype(np.uint8),
                  classes=classes.astype(np.uint8), joints=joints)  # fmt: skip
    return new, fit.bent(new, replace(fitted, transforms=transforms))


def _turn(angle: float) -> np.ndarray:
    """Rotation (2, 2) of a picture's x and y (down), clockwise."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _backward(
    shape: tuple[int, ...], shoulder: np.ndarray, elbow: np.ndarray, first: float, second: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the turned arm where it lies in the photo, float32 (h, w) x and y."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    points = np.stack([x, y], -1)
    points = (points - shoulder) @ _turn(-first).T + shoulder
    bone = elbow - shoulder
    length = float(np.linalg.norm(bone))
    # Across the elbow: the line that halves the angle between upper arm and turned forearm.
    along = bone / length + _turn(second) @ bone / length
    along /= np.linalg.norm(along)
    past = ((points - elbow) @ along) / (2 * _FOLD * length) + 0.5
    share = np.clip(past, 0, 1)[..., None]
    angle = -second * share * share * (3 - 2 * share)
    c, s = np.cos(angle[..., 0]), np.sin(angle[..., 0])
    d = points - elbow
    points = np.stack([c * d[..., 0] - s * d[..., 1], s * d[..., 0] + c * d[..., 1]], -1) + elbow
    return points[..., 0].astype(np.float32), points[..., 1].astype(np.float32)


def _turn_bones(
    studio: Studio, transforms: np.ndarray, fitted: Fitted, side: str, first: float,
    second: float, before: float, front: float,
) -> None:  # fmt: skip
    """Turns an arm's bones about the line of sight, in place; with `before` at 1 the forearm comes
    towards the camera until the wrist lies before the trunk, whose foremost y is `front`."""
    model = studio.model
    names = ARM_BONES[side]
    hand = model.bone[f"wrist.{side}"]
    end = transforms[hand] @ np.append(fitted.shaped.heads[hand], 1)
    for start, angle in (("lowerarm01", second), ("upperarm01", first)):
        bone = model.bone[f"{start}.{side}"]
        pivot = transforms[bone] @ np.append(fitted.shaped.heads[bone], 1)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(4)
        # World x and z are the picture's x and -y.
        turn[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
        if start == "lowerarm01":  # sheared, so that it stays where it is in the picture
            reach = float(np.linalg.norm((end - pivot)[:3]))
            needed = max(float(end[1]) - (front - _BEFORE), 0.0) / reach
            turn[1, :3] -= before * needed * (end - pivot)[:3] / reach
        turn[:3, 3] = pivot[:3] - turn[:3, :3] @ pivot[:3]
        for name in names[names.index(f"{start}.{side}") :]:
            transforms[model.bone[name]] = turn @ transforms[model.bone[name]]


class _Layers:
    """A photo's arms, and its trunk with what lies behind them.

    Attributes:
        arms: bool (H, W) by side. pivots: shoulder and elbow (2,) by side.
        trunk_pixels: float64 (H, W, 3). trunk_classes: uint8 (H, W).
        front: the trunk's foremost y, metres.
    """

    def __init__(self, studio: Studio, photo: Photograph, fitted: Fitted) -> None:
        template = studio.template
        body = template.body
        points = studio.model.skin(
            body.matrix @ fitted.shaped.vertices, body.weights, fitted.transforms
        )
        flat = fitted.in_photo(points)
        toward = body.normals(points)[:, 1] < 0
        arm = template.body_canon.arm
        self.front = float(points[(arm < 0.5) & (studio.dresser.head < 0.5), 1].min())
        left = body.rest[:, 0] > 0
        h, w = photo.classes.shape
        grid = np.mgrid[0:w:_GRID, 0:h:_GRID].reshape(2, -1).T
        _, near = cKDTree(flat[toward]).query(grid)
        belongs = np.where(arm[toward] > 0.5, np.where(left[toward], 1, 2), 0)[near]
        belongs = belongs.reshape(-(-w // _GRID), -(-h // _GRID)).T.astype(np.uint8)
        belongs = cv2.resize(belongs, (w, h), interpolation=cv2.INTER_NEAREST)
        upper = photo.classes == PARSE.index("upper")
        self.arms, self.pivots = {}, {}
        for number, (side, (name, _)) in enumerate(_SIDES.items(), 1):
            bare = photo.classes == PARSE.index(f"arm_{side}")
            self.arms[side] = bare | (upper & (belongs == number))
            heads = []
            for start in ("upperarm01", "lowerarm01"):
                bone = studio.model.bone[f"{start}.{name}"]
                heads.append(fitted.transforms[bone][:3] @ np.append(fitted.shaped.heads[bone], 1))
            self.pivots[side] = tuple(fitted.in_photo(np.stack(heads)))
        away = np.logical_or.reduce(list(self.arms.values()))
        trunk = np.zeros((h, w), np.uint8)
        corners = np.rint(flat).astype(np.int32)
        for triangle in body.tri[(arm[body.tri] < 0.5).all(1)]:
            cv2.fillConvexPoly(trunk, corners[triangle], (1,))
        behind = away & (trunk > 0)
        lower = photo.classes == PARSE.index("lower")
        at = np.nonzero(lower)[0]
        hem, end = np.percentile(at, [2, 99]).astype(int) if len(at) else (h, h)
        rows = np.arange(h)[:, None]
        cloth = np.where(rows < hem, PARSE.index("upper"), PARSE.index("lower"))
        behind &= rows <= end
        self.trunk_classes = np.where(behind, cloth, np.where(away, 0, photo.classes))
        # Where an arm was, the trunk's edge is known to a few pixels only: it is drawn smooth.
        edge = cv2.medianBlur((self.trunk_classes > 0).astype(np.uint8), _SMOOTH) > 0
        nearby = cv2.dilate(away.astype(np.uint8), np.ones((_SMOOTH, _SMOOTH), np.uint8)) > 0
        nearby &= ~np.isin(photo.classes, [PARSE.index(n) for n in ("hair", "face_neck")])
        empty = self.trunk_classes == 0
        self.trunk_classes = np.where(nearby & edge & empty, cloth, self.trunk_classes)
        self.trunk_classes[nearby & ~edge] = 0
        hole = cv2.dilate(away.astype(np.uint8), np.ones((5, 5), np.uint8))
        known = np.ascontiguousarray(photo.pixels)
        scale = (w // 4, h // 4)
        small = cv2.inpaint(
            cv2.resize(known, scale, interpolation=cv2.INTER_AREA),
            cv2.dilate(cv2.resize(hole, scale, interpolation=cv2.INTER_NEAREST), np.ones((3, 3))),
            3, cv2.INPAINT_TELEA,
        )  # fmt: skip
        filled = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
        self.trunk_pixels = np.where(hole[..., None] > 0, filled, known).astype(np.float64)
