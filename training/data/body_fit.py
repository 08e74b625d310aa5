"""Fits a body to a photograph: proportions, pose and camera, by joints and silhouette.

Nonlinear least squares over the body model's own parameters (as SMPLify, Bogo et al., 2016, with
joints and outline as terms, and priors about a standing pose).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from training.data.bodies import Person, Shaped
from training.data.photographs import Photograph
from training.data.renderer import View
from training.data.studio import Studio
from tryon.contract import PARSE

DISTANCE = 3.5
"""Metres from the camera to the body: not seen in one photo of one person, so it is set."""

# (name, bones that share the turn, how far it is likely turned in radians)
_TURNS = [
    ("root", ("root",), 0.25),
    ("spine", ("spine04", "spine03", "spine02", "spine01"), 0.15),
    ("neck", ("neck01", "neck02", "head"), 0.25),
] + [
    (f"{bone}.{side}", (f"{bone}.{side}",), spread)
    for side in "LR"
    for bone, spread in (
        ("clavicle", 0.2), ("upperarm01", 0.6), ("lowerarm01", 0.35), ("wrist", 0.2),
        ("upperleg01", 0.3), ("lowerleg01", 0.2), ("foot", 0.2),
    )
]  # fmt: skip
_HANGING = 0.65
"""Radians from the rest pose's arms to ones that hang."""
# muscle, weight, height, proportions, cup: the likely value and how far from it.
_SHAPE = np.array([0.5, 0.5, 0.5, 0.65, 0.4])
_SHAPE_SPREAD = np.array([0.25, 0.25, 0.25, 0.2, 0.2])
# How far each of BlazePose's joints is trusted.
_TRUST = np.array(
    [1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5, 0.8, 0.8, 1, 1, 1.5, 1.5, 0.5, 0.5, 0.7,
     0.7, 0.3, 0.3, 0.4, 0.4, 1, 1, 1.5, 1.5, 0.5, 0.5, 0.4, 0.4]
)  # fmt: skip
_AWAY, _STEP = 10.0, 2e-3
_SAMPLES = 3500
_OUTLINE = 260
_LOOK = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
BEND_STEP = 16
_FAR = 6.0
"""An outline is led to the photo's over at most so many hundredths of the torso."""


@dataclass
class Fitted:
    """A body in the pose of a photo's person.

    Attributes:
        person: its proportions. shaped: the body at rest. transforms: float64 (B, 4, 4).
        focal, centre: a point (x, y, z) before the camera (x right, y down, z forward) lies at
            `focal * (x / z, y / z) + centre` in the photo, pixels.
        bend: float32 (h, w, 2), how far a projected point is moved, so that outlines agree: every
            BEND_STEP pixels of the photo.
        error: mean distance of the trusted joints, in hundredths of the torso's length.
    """

    person: Person
    shaped: Shaped
    transforms: np.ndarray
    focal: float
    centre: np.ndarray
    bend: np.ndarray
    error: float

    def view(self, projection: np.ndarray) -> View:
        """The photo's camera with a projection of the plane z = 1."""
        return _Bent(_LOOK, np.array([0, 0, DISTANCE]), projection, fitted=self)

    def in_photo(self, points: np.ndarray) -> np.ndarray:
        """World (n, 3) to the photo's pixels, (n, 2)."""
        flat = _project(points) * self.focal + self.centre
        return flat + sample_bend(self.bend, flat)

    def on_plane(self, box: np.ndarray) -> np.ndarray:
        """A box (x0, y0, x1, y1) of the photo's pixels on the plane z = 1."""
        return (box - np.tile(self.centre, 2)) / self.focal


@dataclass(kw_only=True)
class _Bent(View):
    """The photo's camera; what it sees is moved within the picture by `fitted.bend`."""

    fitted: Fitted

    def camera(self, points: np.ndarray) -> np.ndarray:
        c = super().camera(points)
        at = c[:, :2] / c[:, 2:] * self.fitted.focal + self.fitted.centre
        moved = sample_bend(self.fitted.bend, at) / self.fitted.focal
        c[:, :2] += (moved * c[:, 2:]).astype(np.float32)
        return c


def sample_bend(bend: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How far points (n, 2) of the photo are moved, (n, 2) pixels."""
    at = points[:, ::-1].T / BEND_STEP
    parts = [map_coordinates(bend[..., i], at, order=1, mode="nearest") for i in range(2)]
    return np.stack(parts, 1)


class BodyFit:
    """Fits bodies; one per process."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.model = studio, studio.model
        body = studio.template.body
        joints = np.array([p for p in studio.joint_sources if isinstance(p, int)])
        rng = np.random.default_rng(0)
        trunk = np.flatnonzero(studio.dresser.head <= 0.5)
        samples = rng.choice(trunk, min(_SAMPLES, len(trunk)), replace=False)
        self._of = {
            "joints": (body.matrix[joints], body.weights[joints]),
            "samples": (body.matrix[samples], body.weights[samples]),
        }
        self._rest = np.zeros((len(_TURNS), 3))
        for i, (name, _, _) in enumerate(_TURNS):
            if name.startswith("upperarm01"):
                self._rest[i, 1] = _HANGING if name.endswith("L") else -_HANGING
        self._spread = np.array([[spread] * 3 for _, _, spread in _TURNS])
        self._last: tuple[np.ndarray, Shaped] | None = None

    def __call__(self, photo: Photograph) -> Fitted:
        """The body that fits a photo; about ten seconds, always the same."""
        self._last = None
        terms = _Terms(photo)
        start = np.concatenate([_SHAPE, self._rest.ravel()])
        low, high = np.full(len(start), -2.5), np.full(len(start), 2.5)
        low[: len(_SHAPE)], high[: len(_SHAPE)] = 0.02, 0.98
        found = start
        for outline, looks in ((False, 12), (True, 18)):
            # SciPy's step is a share of each unknown: far from 0, all get about the same one.
            found = least_squares(
                lambda x, outline=outline: self._errors(x - _AWAY, photo, terms, outline),
                found + _AWAY, bounds=(low + _AWAY, high + _AWAY), diff_step=_STEP / _AWAY,
                max_nfev=looks,
            ).x - _AWAY  # fmt: skip
        shaped, transforms, joints, _ = self._posed(found, photo.gender)
        focal, centre, placed = terms.place(_project(joints))
        off = np.linalg.norm(placed - terms.joints, axis=1) / terms.unit
        error = float(np.average(off, weights=terms.trust))
        person = _person(found, photo.gender)
        flat = np.zeros((2, 2, 2), np.float32)
        return self.bent(photo, Fitted(person, shaped, transforms, focal, centre, flat, error))

    def bent(self, photo: Photograph, fitted: Fitted) -> Fitted:
        """A fitted body whose outline is led to the photo's (`Fitted.bend`)."""
        body = self.studio.template.body
        skin = self.model.skin(
            body.matrix @ fitted.shaped.vertices, body.weights, fitted.transforms
        )
        flat = _project(skin) * fitted.focal + fitted.centre
        return replace(fitted, bend=_Terms(photo).bend(flat, body.tri))

    def _posed(
        self, x: np.ndarray, gender: float
    ) -> tuple[Shaped, np.ndarray, np.ndarray, np.ndarray]:
        """The shaped body, its transforms, joints (33, 3) and samples of its skin (n, 3)."""
        shape = x[: len(_SHAPE)]
        if self._last is None or not np.array_equal(self._last[0], shape):
            self._last = shape.copy(), self.model.shape(_person(x, gender))
        shaped = self._last[1]
        turns: dict[str, np.ndarray] = {}
        for (_, bones, _), turn in zip(_TURNS, x[len(_SHAPE) :].reshape(-1, 3), strict=True):
            matrix = Rotation.from_rotvec(turn / len(bones)).as_matrix()
            turns |= dict.fromkeys(bones, matrix)
        g = self.model.transforms(shaped, turns)
        joints = self.studio.joints_of(shaped, g, *self._of["joints"])
        matrix, weights = self._of["samples"]
        return shaped, g, joints, self.model.skin(matrix @ shaped.vertices, weights, g)

    def _errors(self, x: np.ndarray, photo: Photograph, terms: _Terms, outline: bool) -> np.ndarray:
        _, _, joints, samples = self._posed(x, photo.gender)
        focal, centre, placed = terms.place(_project(joints))
        errors = [((placed - terms.joints) * terms.trust[:, None] / terms.unit / 2).ravel()]
        if outline:
            errors += terms.outline(_project(samples) * focal + centre)
        turns = x[len(_SHAPE) :].reshape(-1, 3)
        errors.append(((turns - self._rest) / self._spread).ravel())
        errors.append((x[: len(_SHAPE)] - _SHAPE) / _SHAPE_SPREAD)
        return np.concatenate(errors)


class _Terms:
    """What a photo says of where joints and outline lie, in pixels."""

    def __init__(self, photo: Photograph) -> None:
        self.joints = photo.joints[:, :2].astype(np.float64)
        self.trust = _TRUST * np.clip(photo.joints[:, 2], 0.2, 1)
        j = self.joints
        self.unit = float(np.linalg.norm(j[11] + j[12] - j[23] - j[24])) / 2 / 100
        seen = (photo.classes > 0).astype(np.uint8)
        self._off = cv2.distanceTransform(1 - seen, cv2.DIST_L2, 5)
        mouth, shoulders = j[[9, 10], 1].mean(), j[[11, 12], 1].max()
        self._neck = mouth + 0.35 * (shoulders - mouth)
        line = _outline(seen)
        line = line[line[:, 1] > self._neck]
        self._line = line[:: max(1, len(line) // _OUTLINE)]
        cloth = np.isin(photo.classes, [PARSE.index(n) for n in ("upper", "lower")])
        cloth = cv2.dilate(cloth.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        # Cloth stands off the body: by so much the body may lie within its outline.
        self._slack = np.where(cloth[self._line[:, 1], self._line[:, 0]], 4.0, 1.0) * self.unit

    def place(self, flat: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Scale and shift that bring joints on the plane z = 1 (33, 2) to the photo, and there."""
        w = self.trust / self.trust.sum()
        mean, there = w @ flat, w @ self.joints
        a, b = flat - mean, self.joints - there
        focal = float((w[:, None] * a * b).sum() / (w[:, None] * a * a).sum())
        centre = there - focal * mean
        return focal, centre, flat * focal + centre

    def outline(self, samples: np.ndarray) -> list[np.ndarray]:
        """Errors of the skin's samples outside the silhouette, and of outline without any."""
        off = map_coordinates(self._off, samples[:, ::-1].T, order=1, mode="nearest")
        apart, _ = cKDTree(samples).query(self._line)
        return [
            0.4 * off / self.unit,
            0.5 * np.maximum(apart - self._slack, 0) / self.unit,
        ]

    def bend(self, skin: np.ndarray, tri: np.ndarray) -> np.ndarray:
        """`Fitted.bend` for the skin's vertices (n, 2) in the photo: a thin-plate spline through
        the outlines below the neck, where the body's stands out of the photo's or is bare."""
        h, w = self._off.shape
        filled = np.zeros((h, w), np.uint8)
        corners = np.rint(skin).astype(np.int32)
        for triangle in tri:
            cv2.fillConvexPoly(filled, corners[triangle], (1,))
        line = _outline(filled)
        line = line[line[:, 1] > self._neck]
        line = line[:: max(1, len(line) // _OUTLINE)].astype(np.float64)
        apart, index = cKDTree(self._line).query(line)
        bare = self._slack[index] < 2 * self.unit
        out = self._off[line[:, 1].astype(int), line[:, 0].astype(int)] > 0
        use = (apart < _FAR * self.unit) & (bare | out)
        rows, cols = -(-h // BEND_STEP) + 1, -(-w // BEND_STEP) + 1
        grid = np.mgrid[0:cols, 0:rows].reshape(2, -1).T * float(BEND_STEP)
        still = cKDTree(line).query(grid)[0] > 25 * self.unit
        still[1::2] = False
        known = np.concatenate([line[use], grid[still]])
        moved = np.concatenate([(self._line[index] - line)[use], np.zeros((still.sum(), 2))])
        spline = RBFInterpolator(known / self.unit, moved, smoothing=20.0)
        return spline(grid / self.unit).reshape(cols, rows, 2).swapaxes(0, 1).astype(np.float32)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The longest outline of a mask, int (n, 2)."""
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(found, key=len))[:, 0]


def _person(x: np.ndarray, gender: float) -> Person:
    muscle, weight, height, proportions, cup = (float(v) for v in np.clip(x[: len(_SHAPE)], 0, 1))
    return Person(gender, 0.2, muscle, weight, height, proportions, cup, (0.2, 0.2, 0.6))


def _project(points: np.ndarray) -> np.ndarray:
    """World (n, 3) to the plane z = 1 of the camera of `Fitted.view`, (n, 2)."""
    return np.stack([points[:, 0], -points[:, 2]], 1) / (DISTANCE + points[:, 1:2])
