"""Adult bodies: mesh, rig and shape targets of MakeHuman's base mesh, posed with plain numpy.

Besides the body the base mesh holds helper surfaces around it: "tights" (the whole body but head
and hands, smooth and without toes), from which garments are cut, and "hair". All follow the same
targets and rig (`body_data.py` reads them).

Axes: metres, Z up, the person faces -Y and +X is the person's left.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from training.data.body_data import FACE_TARGETS, MUSCLE, RACES, WEIGHT, read_bodies
from training.data.jobs import temporary

CACHE_VARIABLE = "TRYON_CACHE"
_VERSION = 4


def cache_dir() -> Path:
    """Where built models are kept: $TRYON_CACHE, else `.cache` in the repository."""
    default = Path(__file__).resolve().parents[2] / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


@dataclass
class Surface:
    """A drawn surface: which base vertices it is made of, and how they combine.

    Attributes:
        matrix: sparse (n, base vertices), rows sum to 1.
        tri: int32 (T, 3) into the n vertices.
        weights: sparse (n, bones) skinning weights.
        rest: float32 (n, 3) of the average body, at rest: canonical coordinates.
        edges: int32 (E, 2).
        normals_of: sparse (n, T), sums face normals at the vertices.
    """

    matrix: sparse.csr_matrix
    tri: np.ndarray
    weights: sparse.csr_matrix
    rest: np.ndarray
    edges: np.ndarray = field(init=False)
    normals_of: sparse.csr_matrix = field(init=False)

    def __post_init__(self) -> None:
        t = self.tri
        pairs = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
        self.edges = np.unique(pairs, axis=0).astype(np.int32)
        n = len(self.rest)
        rows, cols = t.ravel(), np.repeat(np.arange(len(t)), 3)
        self.normals_of = sparse.csr_matrix(
            (np.ones(len(rows), np.float32), (rows, cols)), (n, len(t))
        )

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Unit vertex normals, float32 (n, 3), of the surface at `points` (n, 3)."""
        a, b, c = (points[self.tri[:, i]] for i in range(3))
        n = self.normals_of @ np.cross(b - a, c - a)
        return (n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def smoother(self) -> sparse.csr_matrix:
        """Row-normalised adjacency with self loops: one step of smoothing."""
        n = len(self.rest)
        e = self.edges
        a = sparse.coo_matrix((np.ones(len(e)), (e[:, 0], e[:, 1])), (n, n))
        a = (a + a.T + sparse.eye(n)).tocsr()
        return sparse.diags(1 / np.asarray(a.sum(1)).ravel()) @ a


@dataclass
class Shaped:
    """A body with its proportions, at rest: base vertices (V, 3) and bone heads (B, 3)."""

    vertices: np.ndarray
    heads: np.ndarray


@dataclass(frozen=True)
class Person:
    """Proportions of one adult; all in 0..1, `gender` 0 is male, `age` 0 young and 1 old."""

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float
    cup: float
    race: tuple[float, float, float]
    face: tuple[tuple[int, float], ...] = ()


class BodyModel:
    """Mesh, targets and rig. Build with `load_body_model`, which caches on disk."""

    def __init__(self, data: dict[str, np.ndarray]):
        self.template = data["template"]
        self.shapes = data["shapes"]
        self.shape_names = [str(x) for x in data["shape_names"]]
        self._shape_index = {n: i for i, n in enumerate(self.shape_names)}
        self.bones = [str(x) for x in data["bones"]]
        self.bone = {n: i for i, n in enumerate(self.bones)}
        self.parents = data["parents"]
        v, b = len(self.template), len(self.bones)
        self.weights = sparse.csr_matrix(
            (data["w_data"], data["w_indices"], data["w_indptr"]), (v, b)
        )
        self.head_of = sparse.csr_matrix(
            (data["h_data"], data["h_indices"], data["h_indptr"]), (b, v)
        )
        average = self.shape(Person(0.5, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, (1 / 3,) * 3))
        self.average = average
        self.surfaces: dict[str, Surface] = {}
        for name in ("body", "eyes", "tights", "hair"):
            matrix = sparse.csr_matrix(
                (data[f"{name}_data"], data[f"{name}_indices"], data[f"{name}_indptr"]),
                (len(data[f"{name}_indptr"]) - 1, v),
            )
            self.surfaces[name] = Surface(
                matrix,
                data[f"{name}_tri"],
                (matrix @ self.weights).tocsr(),
                (matrix @ average.vertices).astype(np.float32),
            )

    def shape(self, person: Person) -> Shaped:
        """The body of these proportions at rest."""

        def two(x: float, names: tuple[str, str]) -> dict[str, float]:
            return {names[0]: 1 - x, names[1]: x}

        def three(x: float, names: tuple[str, ...]) -> dict[str, float]:
            a = float(np.interp(x, [0, 0.5, 1], [0, 1, 2]))
            return {n: max(0.0, 1 - abs(a - i)) for i, n in enumerate(names)}

        coefficients: dict[int, float] = {}

        def add(name: str, value: float) -> None:
            index = self._shape_index.get(name)
            if index is not None and value > 1e-4:
                coefficients[index] = coefficients.get(index, 0.0) + value

        for g, wg in two(person.gender, ("male", "female")).items():
            for a, wa in two(person.age, ("young", "old")).items():
                for race, wr in zip(RACES, person.race, strict=True):
                    add(f"{race}-{g}-{a}", wg * wa * wr)
                for m, wm in three(person.muscle, MUSCLE).items():
                    for w, ww in three(person.weight, WEIGHT).items():
                        base = wg * wa * wm * ww
                        add(f"universal-{g}-{a}-{m}-{w}", base)
                        for h, wh in two(person.height, ("minheight", "maxheight")).items():
                            add(f"{g}-{a}-{m}-{w}-{h}", base * wh)
                        ideal = max(0.0, person.proportions * 2 - 1)
                        add(f"{g}-{a}-{m}-{w}-idealproportions", base * ideal)
                        if g == "female":
                            for c, wc in three(
                                person.cup, ("mincup", "averagecup", "maxcup")
                            ).items():
                                add(f"{g}-{a}-{m}-{w}-{c}-averagefirmness", base * wc)
        first_face = len(self.shape_names) - len(FACE_TARGETS)
        for index, value in person.face:
            coefficients[first_face + index] = value
        keys = np.array(sorted(coefficients))
        values = np.array([coefficients[k] for k in keys], np.float32)
        vertices = self.template + np.tensordot(values, self.shapes[keys], 1)
        return Shaped(vertices, self.head_of @ vertices)

    def transforms(self, shaped: Shaped, rotations: dict[str, np.ndarray]) -> np.ndarray:
        """Bone transforms, float64 (B, 4, 4), rest to posed.

        `rotations`: by bone name, (3, 3), in the rest pose's axes, relative to the parent.
        """
        out = np.zeros((len(self.bones), 4, 4))
        for i, name in enumerate(self.bones):
            local = np.eye(4)
            if name in rotations:
                r, h = rotations[name], shaped.heads[i]
                local[:3, :3] = r
                local[:3, 3] = h - r @ h
            out[i] = local if self.parents[i] < 0 else out[self.parents[i]] @ local
        return out

    def skin(self, points: np.ndarray, weights: sparse.csr_matrix, g: np.ndarray) -> np.ndarray:
        """Linear blend skinning of rest `points` (n, 3) with sparse `weights` (n, B)."""
        m = weights @ g[:, :3, :].reshape(len(g), 12)
        m = m.reshape(-1, 3, 4)
        return (np.einsum("nij,nj->ni", m[:, :, :3], points) + m[:, :, 3]).astype(np.float32)


def random_person(rng: np.random.Generator) -> Person:
    """A random adult."""
    gender = float(np.clip(rng.choice([0.04, 0.96]) + rng.normal(0, 0.08), 0, 1))
    race = rng.dirichlet([0.5, 0.5, 0.6])
    count = int(rng.integers(2, 8))
    picks = rng.choice(len(FACE_TARGETS), count, replace=False)
    face = tuple((int(i), float(rng.uniform(0.1, 0.7))) for i in picks)
    return Person(
        gender,
        float(rng.beta(1.0, 2.0)),
        float(np.clip(rng.normal(0.5, 0.2), 0.05, 0.95)),
        float(np.clip(rng.normal(0.5, 0.2), 0.05, 1.0)),
        float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)),
        float(rng.uniform(0.4, 0.9)),
        float(rng.uniform(0.1, 0.75)),
        (float(race[0]), float(race[1]), float(race[2])),
        face,
    )


def load_body_model() -> BodyModel:
    """The body model, from `cache_dir()`; the first call builds it (about half a minute), as does
    one that finds the file damaged.

    Raises:
        RuntimeError: the package anny is missing; says what to install.
        OSError: the model can't be kept; names the file, and leaves nothing behind.
    """
    path = cache_dir() / f"bodies-{_VERSION}.npz"
    try:
        with np.load(path) as file:
            return BodyModel({k: file[k] for k in file.files})
    except (FileNotFoundError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        data = read_bodies()  # not there, or damaged
    # In memory first: on a full disk `np.savez` leaves an open archive that complains when it goes.
    packed = io.BytesIO()
    np.savez(packed, **data)
    half = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(packed.getbuffer())
        half.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):  # of a folder that can't be had
            half.unlink()
    return BodyModel(data)


def nearest(source: np.ndarray, target: np.ndarray, k: int = 4) -> sparse.csr_matrix:
    """Sparse (len(target), len(source)) that carries values from source to target points."""
    distance, index = cKDTree(source).query(target, k=k)
    weight = 1 / (distance + 1e-4)
    weight /= weight.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(target)), k)
    return sparse.csr_matrix((weight.ravel(), (rows, index.ravel())), (len(target), len(source)))
