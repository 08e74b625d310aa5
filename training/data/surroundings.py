"""Light that comes from all around: a room's or a street's, as a form that a shader sums in one go.

Irradiance is so smooth over the normals that nine numbers hold it to a few percent, as a symmetric
4x4 form of the normal (Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance
Environment Maps", 2001). Axes are a camera's: x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np

_ROWS, _COLUMNS = 12, 24


def directions() -> tuple[np.ndarray, np.ndarray]:
    """Where a map of light looks: unit vectors (12, 24, 3), the first row up, the first column
    ahead of the camera; and each one's solid angle (12, 24), which sum to about 4 pi."""
    rise = np.pi * (0.5 - (np.arange(_ROWS) + 0.5) / _ROWS)[:, None]
    turn = 2 * np.pi * (np.arange(_COLUMNS) + 0.5)[None] / _COLUMNS
    flat = np.cos(rise)
    ways = np.stack([
        flat * np.sin(turn), -np.sin(rise) + 0 * turn, flat * np.cos(turn)
    ], 2)  # fmt: skip
    return ways, flat * np.pi / _ROWS * 2 * np.pi / _COLUMNS + 0 * turn


def irradiance(radiance: np.ndarray) -> np.ndarray:
    """The form M (4, 4) for which (n, 1) M (n, 1) is the light on a surface of normal n: 1 for a
    map (12, 24) that is 1 all around."""
    ways, angles = directions()
    weight = (radiance * angles / np.pi)[..., None]
    # max(c, 0) is nearly 3/32 + c/2 + 15/32 c^2.
    form = np.empty((4, 4))
    form[:3, :3] = 15 / 32 * np.einsum("ijk,ijl->kl", weight * ways, ways)
    form[:3, 3] = form[3, :3] = 0.25 * (weight * ways).sum((0, 1))
    form[3, 3] = 3 / 32 * weight.sum()
    return form


def sky(strength: float) -> np.ndarray:
    """The form of a sky over a dim ground: `strength` from above, 0.44 of it from below."""
    form = np.zeros((4, 4))
    form[3, 3], form[1, 3], form[3, 1] = 0.72, -0.14, -0.14
    return strength * form


def random_surroundings(rng: np.random.Generator, strength: float) -> np.ndarray:
    """The form of a place: a ceiling or sky, walls, a floor that throws light back, and one to
    three windows or lamps, which may stand behind somebody.

    Args:
        strength: light on a surface that faces the camera; less where nearly all comes from behind.
    """
    ways, _ = directions()
    up, turn = -ways[..., 1], np.arctan2(ways[..., 0], ways[..., 2])
    above, below = rng.uniform(0.5, 1.5), rng.uniform(0.15, 0.7)
    radiance = below + (above - below) * np.clip(0.5 + 1.5 * up, 0, 1)
    for _ in range(int(rng.integers(1, 4))):
        at, high = rng.uniform(-np.pi, np.pi), rng.uniform(-0.1, 0.9)
        wide, tall = rng.uniform(0.15, 0.7), rng.uniform(0.15, 0.45)
        away = np.abs((turn - at + np.pi) % (2 * np.pi) - np.pi)
        radiance = radiance + rng.uniform(2, 14) * ((away < wide) & (np.abs(up - high) < tall))
    form = irradiance(radiance)
    facing = np.array([0, 0, -1, 1])
    return form * (strength / max(float(facing @ form @ facing), 0.2))
