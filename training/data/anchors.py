"""Where a garment's landmarks sit on its surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data.drape import Draped
from training.data.garments import HIP_Z, WAIST_Z, Cut, fields
from training.data.template import RINGS, SECTORS, Canonical, Template
from tryon.contract import LANDMARKS


@dataclass
class Anchors:
    """Where a garment's landmarks sit on its surface: weighted vertices.

    `shell`: name to (indices, weights) into the shell; `grid`: the same into the grid.
    """

    shell: dict[str, tuple[np.ndarray, np.ndarray]]
    grid: dict[str, tuple[np.ndarray, np.ndarray]]

    def positions(self, draped: Draped) -> np.ndarray:
        """float64 (23, 4): x, y, z and whether the landmark exists."""
        out = np.zeros((len(LANDMARKS), 4))
        for source, points in ((self.shell, draped.shell), (self.grid, draped.grid)):
            if points is None:
                continue
            for name, (index, weight) in source.items():
                k = LANDMARKS.index(name)
                out[k, :3] = weight @ points[index]
                out[k, 3] = 1
        return out


def anchors(template: Template, cut: Cut, c: Canonical) -> Anchors:
    """The landmarks of a cut, from where its fields cross zero on the mesh's edges.

    `c`: the shell's canonical coordinates (those of the cloth, where it is worn in another size).
    """
    e = template.tights.edges
    f = fields(template, cut, c)
    i, j = e[:, 0], e[:, 1]
    x, y, z = c.pos.T
    shell: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    grid: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def crossing(value: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = ((value[i] < 0) != (value[j] < 0)) & keep[i] & keep[j]
        k = np.flatnonzero(found)
        w = value[i[k]] / (value[i[k]] - value[j[k]])
        return k, w

    def point(name: str, k: int, w: float) -> None:
        shell[name] = (np.array([i[k], j[k]]), np.array([1 - w, w]))

    def extreme(name: str, value: np.ndarray, keep: np.ndarray, score: np.ndarray) -> None:
        k, w = crossing(value, keep)
        if len(k):
            s = score[i[k]] * (1 - w) + score[j[k]] * w
            b = int(np.argmax(s))
            point(name, int(k[b]), float(w[b]))

    def ring(name: str, value: np.ndarray, keep: np.ndarray) -> None:
        k, w = crossing(value, keep)
        if len(k):
            index = np.concatenate([i[k], j[k]])
            weight = np.concatenate([1 - w, w]) / len(k)
            shell[name] = (index, weight)

    def spot(name: str, score: np.ndarray) -> None:
        shell[name] = (np.array([int(np.argmin(score))]), np.array([1.0]))

    torso = c.arm < 0.15
    sides = (("left", 1.0), ("right", -1.0))
    if cut.category != "lower":
        if cut.neck == "high":
            lip = c.neck > 0.02
        else:
            lip = z > 0.42
        extreme("neck_front", f.neck, lip & (y < 0), -np.abs(x) * 10 - z * (0.0))
        for name, s in sides:
            mine = s * x > 0
            extreme(f"neck_{name}", f.neck, lip & mine, np.abs(x) - 0.5 * np.abs(y + 0.015))
            goal = template.shoulder * np.array([s, 1, 1]) + np.array([-s * 0.005, 0, 0.06])
            spot(f"shoulder_{name}", np.linalg.norm(c.pos - goal, axis=1))
            pit = np.where(mine & (np.abs(c.arm - 0.45) < 0.12) & (np.abs(y + 0.01) < 0.05), z, 9)
            spot(f"armpit_{name}", pit)
            if cut.sleeve > 0:
                ring(f"cuff_{name}", f.cuff, mine & (c.arm > 0.2))
                if cut.sleeve > template.elbow + 0.015:
                    ring(f"elbow_{name}", c.s_arm - template.elbow, mine & (c.arm > 0.6))
    edge = cut.waist if cut.category == "lower" else 9.0
    low = cut.join if cut.join is not None else (cut.hem if cut.category == "upper" else -9.0)
    for name, s in sides:
        mine = (s * x > 0) & torso
        side_score = np.abs(x) - 0.2 * np.abs(y + 0.01)
        if cut.category == "lower":
            if cut.join is None or cut.waist - cut.join > 0.01:
                extreme(f"waist_{name}", cut.waist - z, mine, side_score)
        elif low < WAIST_Z:
            extreme(f"waist_{name}", z - WAIST_Z, mine, side_score)
        if low < HIP_Z < edge:
            extreme(f"hip_{name}", z - HIP_Z, mine, side_score)
        if cut.category == "upper" and cut.join is None:
            extreme(f"hem_{name}", f.hem, mine, side_score)
        if cut.category == "lower" and cut.join is None:
            leg = (s * x > 0) & (c.leg > 0.5)
            ring(f"leg_{name}", cut.leg - c.s_leg, leg)
            if cut.leg > template.knee + 0.02:
                ring(f"knee_{name}", c.s_leg - template.knee, leg)
    if cut.category == "upper" and cut.join is None:
        extreme("hem_front", f.hem, torso & (y < -0.03), -np.abs(x))
    if cut.category == "lower" and cut.join is None:
        between = (np.abs(x) < 0.02) & (z > -0.1)
        spot("crotch", np.where(between, z, 9))
    if cut.join is not None:
        levels = np.linspace(cut.join, cut.hem, RINGS)

        def cell(name: str, level: float, theta: float) -> None:
            row = float(
                np.clip((levels[0] - level) / max(levels[0] - levels[-1], 1e-6), 0, 1) * (RINGS - 1)
            )
            column = round((theta + np.pi) / (2 * np.pi) * SECTORS)
            r0 = min(int(row), RINGS - 2)
            w = row - r0
            at = np.array([r0, r0 + 1]) * (SECTORS + 1) + column
            grid[name] = (at, np.array([1 - w, w]))

        for name, s in sides:
            cell(f"hem_{name}", cut.hem, s * np.pi / 2)
            if cut.hem < HIP_Z <= cut.join:
                cell(f"hip_{name}", HIP_Z, s * np.pi / 2)
                shell.pop(f"hip_{name}", None)
            if cut.category == "lower" and f"waist_{name}" not in shell:
                cell(f"waist_{name}", cut.join, s * np.pi / 2)
        cell("hem_front", cut.hem, 0.0)
    return Anchors(shell, grid)
