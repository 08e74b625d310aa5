"""Fabrics: colours with names, repeating patterns, prints and sewn details, as small textures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
_WORDS = (
    "LOVE",
    "CITY",
    "OCEAN",
    "DREAM",
    "1987",
    "NORTH",
    "CLUB",
    "SUNDAY",
    "ROCK",
    "WILD",
    "HOPE",
    "NOVA",
    "STAR",
    "SURF",
    "RUN",
    "HELLO",
    "TOKYO",
    "PARIS",
    "ENERGY",
    "TEAM",
    "23",
    "SUMMER",
    "COFFEE",
    "PEACE",
    "MUSIC",
    "LUCKY",
    "FOREST",
    "GOOD",
    "DAY",
    "ORIGINAL",
    "SPORT",
    "ARCADE",
    "HONEY",
    "RIVER",
    "LEMON",
    "ZERO",
    "URBAN",
)


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


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _fonts() -> list[Path]:
    root = Path("/usr/share/fonts")
    return sorted(root.rglob("*.ttf"))[:40] if root.is_dir() else []


_FONT_FILES = _fonts()


def _any_font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if _FONT_FILES and rng.random() < 0.7:
        return ImageFont.truetype(str(_FONT_FILES[int(rng.integers(len(_FONT_FILES)))]), size)
    return _font(size)


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


def draw_print(
    rng: np.random.Generator, atlas: np.ndarray, kind: str, rgb: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, str]:
    """Draws a logo or lettering on the chest; returns the atlas and the print's words or shape."""
    scale = 2
    picture = Image.fromarray(atlas).resize((ATLAS_W * scale, ATLAS_H * scale))
    draw = ImageDraw.Draw(picture)
    ink = tuple(int(v) for v in second)
    px_m = ATLAS_W * scale / (2 * ATLAS_U)
    small = kind == "logo" and rng.random() < 0.3
    u = rng.choice([-1, 1]) * 0.085 if small else rng.normal(0, 0.006)
    z = rng.uniform(0.50, 0.53) if small else rng.uniform(0.40, 0.50)
    size = (rng.uniform(0.05, 0.08) if small else rng.uniform(0.16, 0.27)) * px_m
    cx, cy = (v * scale for v in atlas_xy(float(u), float(z)))
    third = tuple(int(v) for v in jitter(rng, contrasting(rng, second, 50)))
    label = ""
    if kind == "lettering":
        lines = [str(w) for w in rng.choice(_WORDS, int(rng.integers(1, 4)), replace=False)]
        label = " ".join(lines)
        longest = max(len(w) for w in lines)
        font_px = int(np.clip(size * 1.5 / max(longest, 3), 0.03 * px_m, 0.13 * px_m))
        font = _any_font(rng, font_px)
        y = cy - font_px * len(lines) * 0.55
        for w in lines:
            draw.text((cx, y), w, fill=ink, font=font, anchor="ma")
            y += font_px * 1.08
        if rng.random() < 0.3:
            draw.rectangle([cx - size / 2, y + 4, cx + size / 2, y + 10], fill=ink)
    else:
        shape = str(
            rng.choice(
                [
                    "circle",
                    "star",
                    "triangle",
                    "mountain",
                    "heart",
                    "stripe box",
                    "blocks",
                    "sun",
                    "letter",
                ]
            )
        )
        label = shape
        r = size / 2
        if shape in ("circle", "sun", "letter"):
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=ink)
        if shape == "circle":
            q = r * rng.uniform(0.4, 0.8)
            draw.ellipse([cx - q, cy - q, cx + q, cy + q], fill=third)
        elif shape == "sun":
            for k in range(5):
                h = r * (0.15 + 0.18 * k)
                draw.rectangle(
                    [cx - r, cy + h, cx + r, cy + h + r * 0.06], fill=tuple(int(v) for v in rgb)
                )
        elif shape == "letter":
            draw.text(
                (cx, cy),
                str(rng.choice(list("ABCEGKMNRSTX"))),
                fill=third,
                font=_any_font(rng, max(8, int(r * 1.3))),
                anchor="mm",
            )
        elif shape == "star":
            points = [
                (
                    cx + np.sin(k * np.pi / 5) * r * (1 if k % 2 == 0 else 0.42),
                    cy - np.cos(k * np.pi / 5) * r * (1 if k % 2 == 0 else 0.42),
                )
                for k in range(10)
            ]
            draw.polygon(points, fill=ink)
        elif shape == "triangle":
            draw.polygon([(cx, cy - r), (cx - r, cy + r * 0.8), (cx + r, cy + r * 0.8)], fill=ink)
        elif shape == "mountain":
            draw.rectangle([cx - r, cy - r * 0.7, cx + r, cy + r * 0.7], fill=ink)
            draw.polygon(
                [
                    (cx - r, cy + r * 0.7),
                    (cx - r * 0.3, cy - r * 0.4),
                    (cx + r * 0.1, cy + r * 0.2),
                    (cx + r * 0.4, cy - r * 0.1),
                    (cx + r, cy + r * 0.7),
                ],
                fill=third,
            )
        elif shape == "heart":
            q = r * 0.55
            draw.ellipse([cx - 2 * q, cy - 1.3 * q, cx, cy + 0.7 * q], fill=ink)
            draw.ellipse([cx, cy - 1.3 * q, cx + 2 * q, cy + 0.7 * q], fill=ink)
            draw.polygon([(cx - 1.9 * q, cy), (cx + 1.9 * q, cy), (cx, cy + 2 * q)], fill=ink)
        elif shape == "stripe box":
            for k in range(4):
                y = cy - r + k * r * 0.5
                draw.rectangle(
                    [cx - r * 1.2, y, cx + r * 1.2, y + r * 0.3], fill=ink if k % 2 == 0 else third
                )
        else:
            for _ in range(int(rng.integers(5, 12))):
                a, b = rng.uniform(-r, r * 0.6, 2)
                w, h = rng.uniform(r * 0.2, r * 0.9, 2)
                draw.rectangle(
                    [cx + a, cy + b, cx + a + w, cy + b + h],
                    fill=ink if rng.random() < 0.5 else third,
                )
        if rng.random() < 0.4 and not small:
            word = str(rng.choice(_WORDS))
            draw.text(
                (cx, cy + r * 1.15),
                word,
                fill=ink,
                font=_any_font(rng, max(10, int(r * 0.4))),
                anchor="ma",
            )
    return np.asarray(picture.resize((ATLAS_W, ATLAS_H), Image.Resampling.BOX)), label


def draw_details(
    rng: np.random.Generator,
    atlas: np.ndarray,
    kind: str,
    rgb: np.ndarray,
    second: np.ndarray,
    neck_bottom: float,
    neck_width: float,
) -> np.ndarray:
    """Plackets, buttons, zips, pockets, lapels, flies: what is sewn on, drawn into the atlas."""
    picture = Image.fromarray(atlas)
    draw = ImageDraw.Draw(picture)
    dark = tuple(int(v) for v in np.clip(rgb * 0.68 - 4, 0, 255))
    light = tuple(int(v) for v in np.clip(rgb * 1.1 + 12, 0, 255))
    base = tuple(int(v) for v in rgb)
    accent = tuple(int(v) for v in second)

    def p(u: float, z: float) -> tuple[float, float]:
        return atlas_xy(u, z)

    def line(
        points: list[tuple[float, float]], colour: tuple[int, ...] = dark, width: int = 1
    ) -> None:
        draw.line([p(*q) for q in points], fill=colour, width=width)

    def pocket(u: float, z: float, w: float, h: float) -> None:
        line(
            [
                (u - w / 2, z),
                (u - w / 2, z - h * 0.8),
                (u, z - h),
                (u + w / 2, z - h * 0.8),
                (u + w / 2, z),
                (u - w / 2, z),
            ]
        )
        line([(u - w / 2, z - 0.018), (u + w / 2, z - 0.018)])

    low = -0.16
    if kind in ("shirt", "polo"):
        end = neck_bottom - 0.14 if kind == "polo" else low
        for u in (-0.016, 0.016):
            line([(u, neck_bottom), (u, end)])
        button = accent if rng.random() < 0.3 else light if sum(base) < 240 else dark
        z = neck_bottom - 0.01
        while z > max(end, -0.1):
            x, y = p(0, z)
            draw.ellipse([x - 2.2, y - 2.2, x + 2.2, y + 2.2], fill=button)
            z -= 0.05 if kind == "polo" else 0.085
        fill = accent if kind == "polo" and rng.random() < 0.15 else base
        for s in (-1, 1):  # collar leaves
            leaf = [
                (s * 0.006, neck_bottom + 0.008),
                (s * 0.052, neck_bottom - 0.040),
                (s * (neck_width + 0.030), neck_bottom + 0.03),
                (s * (neck_width + 0.02), 0.73),
                (s * neck_width * 0.8, 0.73),
            ]
            draw.polygon([p(*q) for q in leaf], fill=fill)
            line([leaf[0], leaf[1], leaf[2], leaf[3]], width=2)
        if kind == "shirt" and rng.random() < 0.6:
            for s in [1] if rng.random() < 0.6 else [-1, 1]:
                pocket(s * 0.085, 0.53, 0.085, 0.10)
    elif kind in ("jacket", "zip hoodie"):
        line([(0, neck_bottom + 0.03), (0, low)], width=3)
        line([(0, neck_bottom + 0.03), (0, low)], accent if rng.random() < 0.5 else light)
        if kind == "jacket":
            for s in (-1, 1):
                leaf = [
                    (s * 0.004, neck_bottom),
                    (s * 0.075, neck_bottom - 0.045),
                    (s * (neck_width + 0.045), neck_bottom + 0.05),
                    (s * neck_width, 0.74),
                ]
                draw.polygon([p(*q) for q in leaf], fill=base)
                line(leaf, width=2)
                if rng.random() < 0.6:
                    pocket(s * 0.095, 0.50, 0.095, 0.11)
                line([(s * 0.12, 0.20), (s * 0.15, 0.30)], width=3)
        else:
            line([(-0.13, 0.18), (-0.09, 0.30), (-0.01, 0.30)], width=2)
            line([(0.13, 0.18), (0.09, 0.30), (0.01, 0.30)], width=2)
    if kind in ("hoodie", "zip hoodie"):
        if kind == "hoodie":
            line(
                [
                    (-0.13, 0.16),
                    (-0.13, 0.21),
                    (-0.085, 0.31),
                    (0.085, 0.31),
                    (0.13, 0.21),
                    (0.13, 0.16),
                ],
                width=2,
            )
        cord = accent if rng.random() < 0.5 else light
        for s in (-1, 1):
            line(
                [
                    (s * 0.03, neck_bottom + 0.01),
                    (s * 0.035, neck_bottom - rng.uniform(0.09, 0.16)),
                ],
                cord,
                2,
            )
    elif kind == "t-shirt" and rng.random() < 0.12:
        pocket(0.085, 0.53, 0.085, 0.095)
    elif kind in ("trousers", "shorts"):
        line([(0.0, 0.30), (0.0, 0.06)])
        line([(0.018, 0.30), (0.018, 0.16), (0.0, 0.11)])
        for s in (-1, 1):
            line([(s * 0.085, 0.30), (s * 0.11, 0.20), (s * 0.19, 0.165)], width=2)
            if rng.random() < 0.6:
                pocket(s * 0.33, 0.19, 0.12, 0.13)
            for u in (0.06, 0.15, 0.3):
                line([(s * u, 0.34), (s * u, 0.21)])
    elif kind == "button skirt":
        z = 0.30
        line([(0, 0.34), (0, low)])
        while z > -0.15:
            x, y = p(0.012, z)
            draw.ellipse([x - 2.5, y - 2.5, x + 2.5, y + 2.5], fill=accent)
            z -= 0.07
    return np.asarray(picture)
