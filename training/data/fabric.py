"""Fabrics: colours with names and repeating patterns, as small textures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[tuple[int, int, int], float]] = {
    "white": ((238, 238, 236), 13),
    "black": ((26, 26, 28), 15),
    "grey": ((140, 141, 143), 8),
    "light grey": ((196, 197, 199), 4),
    "dark grey": ((70, 71, 74), 6),
    "navy": ((30, 38, 72), 8),
    "blue": ((46, 88, 168), 7),
    "light blue": ((156, 190, 224), 5),
    "red": ((184, 32, 40), 6),
    "burgundy": ((104, 24, 44), 3),
    "pink": ((232, 160, 178), 4),
    "orange": ((224, 120, 44), 2),
    "yellow": ((234, 200, 72), 3),
    "green": ((50, 126, 70), 4),
    "olive": ((98, 98, 58), 3),
    "mint": ((164, 216, 190), 1.5),
    "teal": ((28, 118, 124), 2),
    "purple": ((108, 62, 138), 2),
    "lilac": ((188, 168, 214), 1.5),
    "brown": ((104, 70, 48), 3),
    "beige": ((212, 192, 162), 4),
    "cream": ((240, 228, 202), 3),
    "khaki": ((170, 154, 114), 2),
}
PATTERNS = (
    "plain",
    "horizontal stripes",
    "vertical stripes",
    "checks",
    "dots",
    "floral",
    "logo",
    "lettering",
)
ATLAS_U, ATLAS_V0, ATLAS_V1 = 0.50, -0.16, 0.80
"""The atlas spans u in -ATLAS_U..ATLAS_U and canonical z in ATLAS_V0..ATLAS_V1, metres."""
ATLAS_W, ATLAS_H = 672, 640
TILE = 256


@dataclass
class Fabric:
    """What a garment is made of.

    Attributes:
        tile: uint8 (TILE, TILE, 3), repeats every `tile_m` metres.
        atlas: uint8 (ATLAS_H, ATLAS_W, 3), the torso with prints and sewn details; row 0 is top.
        colour, second: names of COLOURS; `rgb`, `second_rgb` their values here, 0..255.
        pattern: of PATTERNS.
        print: what the print shows, or "".
    """

    tile: np.ndarray
    tile_m: float
    atlas: np.ndarray
    colour: str
    second: str
    rgb: np.ndarray
    second_rgb: np.ndarray
    pattern: str
    print: str


def pick_colour(rng: np.random.Generator, weights: dict[str, float] | None = None) -> str:
    """A colour's name, in the frequency of real wardrobes or of `weights`."""
    table = weights or {k: v[1] for k, v in COLOURS.items()}
    p = np.array(list(table.values()), float)
    return str(rng.choice(list(table), p=p / p.sum()))


def jitter(rng: np.random.Generator, name: str) -> np.ndarray:
    """A shade of the named colour, float (3,) 0..255."""
    base = np.array(COLOURS[name][0], float)
    return np.clip(base * rng.uniform(0.92, 1.08) + rng.normal(0, 5, 3), 6, 250)


def _luminance(rgb: np.ndarray) -> float:
    return float(rgb @ np.array([0.3, 0.6, 0.1]))


def contrasting(rng: np.random.Generator, rgb: np.ndarray, least: float = 70) -> str:
    """A colour's name that stands out against `rgb`."""
    for _ in range(30):
        name = pick_colour(rng)
        if abs(_luminance(np.array(COLOURS[name][0], float)) - _luminance(rgb)) > least:
            return name
    return "white" if _luminance(rgb) < 120 else "black"


def noise(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Tileable smooth noise, float32 (size, size), about -1..1."""
    out = np.zeros((size, size), np.float32)
    for o in range(octaves):
        n = cells * 2**o
        grid = rng.normal(0, 1, (n, n)).astype(np.float32)
        grid = np.pad(grid, 2, mode="wrap")
        big = np.asarray(
            Image.fromarray(grid).resize((size * (n + 4) // n,) * 2, Image.Resampling.BICUBIC)
        )
        start = 2 * size // n
        out += big[start : start + size, start : start + size] * 0.5**o
    return out


def _blend(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return a + (b - a) * mask[..., None]


def make_tile(
    rng: np.random.Generator, pattern: str, rgb: np.ndarray, others: list[np.ndarray], texture: str
) -> tuple[np.ndarray, float]:
    """A repeating tile (TILE, TILE, 3) uint8 and its side in metres."""
    tile_m = 0.24
    y, x = (np.mgrid[0:TILE, 0:TILE] + 0.5) / TILE
    image = np.broadcast_to(rgb, (TILE, TILE, 3)).astype(np.float32).copy()
    if "stripes" in pattern:
        axis = y if pattern.startswith("horizontal") else x
        n = int(rng.choice([2, 3, 4, 6, 8, 12, 16], p=[0.08, 0.14, 0.2, 0.22, 0.18, 0.12, 0.06]))
        width = rng.uniform(0.12, 0.55)
        phase = (axis * n) % 1
        image = _blend(image, others[0], (phase < width).astype(np.float32))
        if rng.random() < 0.3:
            image = _blend(image, others[1], ((phase > 0.7) & (phase < 0.8)).astype(np.float32))
    elif pattern == "checks":
        n = int(rng.choice([2, 3, 4, 6, 10]))
        width = rng.uniform(0.25, 0.55)
        a = ((x * n) % 1 < width).astype(np.float32)
        b = ((y * n) % 1 < width).astype(np.float32)
        strength = rng.uniform(0.4, 0.8)
        image = _blend(image, others[0], a * strength)
        image = _blend(image, others[0], b * strength)
        if rng.random() < 0.5:
            lines = (((x * n + 0.3) % 1 < 0.06) | ((y * n + 0.3) % 1 < 0.06)).astype(np.float32)
            image = _blend(image, others[1], lines * 0.8)
    elif pattern == "dots":
        n = int(rng.choice([4, 6, 8, 12]))
        r = rng.uniform(0.16, 0.34)
        row = np.floor(y * n)
        dx = (x * n + 0.5 * (row % 2)) % 1 - 0.5
        dy = (y * n) % 1 - 0.5
        image = _blend(image, others[0], np.clip((r - np.hypot(dx, dy)) * TILE / n, 0, 1))
    elif pattern == "floral":
        tile_m = float(rng.uniform(0.22, 0.36))
        picture = Image.fromarray(image.astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        colours = [tuple(int(v) for v in o) for o in others]
        for _ in range(int(rng.integers(14, 34))):
            cx, cy = rng.uniform(0, TILE, 2)
            size = rng.uniform(6, 20)
            petals, turn = int(rng.integers(4, 8)), rng.uniform(0, 6.28)
            colour = colours[int(rng.integers(len(colours)))]
            for ox in (-TILE, 0, TILE):
                for oy in (-TILE, 0, TILE):
                    px, py = cx + ox, cy + oy
                    if not (-40 < px < TILE + 40 and -40 < py < TILE + 40):
                        continue
                    lx, ly = px + size * 1.3 * np.cos(turn), py + size * 1.3 * np.sin(turn)
                    draw.ellipse(
                        [lx - size * 0.5, ly - size * 0.25, lx + size * 0.5, ly + size * 0.25],
                        fill=colours[-1],
                    )
                    for k in range(petals):
                        a = turn + k * 2 * np.pi / petals
                        qx, qy = px + np.cos(a) * size * 0.55, py + np.sin(a) * size * 0.55
                        draw.ellipse(
                            [qx - size * 0.4, qy - size * 0.4, qx + size * 0.4, qy + size * 0.4],
                            fill=colour,
                        )
                    draw.ellipse(
                        [px - size * 0.25, py - size * 0.25, px + size * 0.25, py + size * 0.25],
                        fill=colours[0],
                    )
        image = np.asarray(picture).astype(np.float32)
    if texture == "denim":
        twill = np.sin((x * 90 + y * 90) * 2 * np.pi) * 3
        image = image + twill[..., None] + noise(rng, TILE, 24, 2)[..., None] * 2.2
    elif texture == "knit":
        n = int(rng.choice([24, 32, 40]))
        v = (
            np.sin(x * n * 2 * np.pi) * 0.6
            + np.sin((y * n + np.abs((x * n) % 1 - 0.5)) * 2 * np.pi) * 0.4
        )
        image = image * (1 + 0.07 * v[..., None])
    elif texture == "melange":
        image = image * (1 + 0.045 * noise(rng, TILE, 64, 1)[..., None])
    else:
        image = image + noise(rng, TILE, 64, 1)[..., None] * 1.2
    return np.clip(image, 0, 255).astype(np.uint8), tile_m


def atlas_xy(u: float, z: float) -> tuple[float, float]:
    """Atlas pixel of torso position (u, canonical z)."""
    return (
        (u + ATLAS_U) / (2 * ATLAS_U) * ATLAS_W,
        (ATLAS_V1 - z) / (ATLAS_V1 - ATLAS_V0) * ATLAS_H,
    )


def tile_atlas(tile: np.ndarray, tile_m: float) -> np.ndarray:
    """The atlas covered with the tile, aligned with u = 0, z = 0."""
    u = (np.arange(ATLAS_W) + 0.5) / ATLAS_W * 2 * ATLAS_U - ATLAS_U
    z = ATLAS_V1 - (np.arange(ATLAS_H) + 0.5) / ATLAS_H * (ATLAS_V1 - ATLAS_V0)
    cols = np.floor(u / tile_m % 1 * TILE).astype(int) % TILE
    rows = np.floor(-z / tile_m % 1 * TILE).astype(int) % TILE
    return tile[rows[:, None], cols[None, :]]
