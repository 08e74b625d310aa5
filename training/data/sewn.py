"""What is sewn on: plackets, buttons, zips, pockets, collars, drawn into a garment's atlas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from training.data.fabric import atlas_xy

Point = tuple[float, float]


def _lapels(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, place: Callable[[float, float], Point],
    rgb: np.ndarray, neck_bottom: float, neck_width: float, stand: float,
) -> None:  # fmt: skip
    """A blazer's collar and lapels, folded outwards along its neckline, with a notch or a peak."""
    top = 0.73 + stand
    wide = rng.uniform(0.055, 0.085)
    notch = neck_bottom + (top - neck_bottom) * rng.uniform(0.68, 0.82)
    slope = neck_width / max(top - neck_bottom, 0.01)
    peak = rng.uniform(-0.006, 0.022) if rng.random() < 0.8 else rng.uniform(0.03, 0.045)
    edge = tuple(int(v) for v in np.clip(rgb * 0.6 - 4, 0, 255))
    tone = rng.uniform(0.86, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, 1.18)
    face = tuple(int(v) for v in np.clip(rgb * tone + (tone > 1) * 5, 0, 255))
    for s in (-1, 1):
        inner = slope * (notch - neck_bottom)
        leaf = [(0.0, neck_bottom), (inner + 0.7 * wide, (neck_bottom + notch) / 2 + 0.01),
                (inner + wide, notch - 0.005 + peak), (inner + 0.45 * wide, notch),
                (inner, notch)]  # fmt: skip
        collar = [(inner, notch), (inner + 0.45 * wide, notch),
                  (inner + 0.75 * wide, notch + 0.022), (neck_width + 0.035, top - 0.01),
                  (neck_width, top + 0.02)]  # fmt: skip
        for shape in (leaf, collar):
            points = [place(s * u, z) for u, z in shape]
            draw.polygon(points, fill=face)
            draw.line(points[:4], fill=edge, width=2)


def draw_details(
    rng: np.random.Generator,
    atlas: np.ndarray,
    kind: str,
    rgb: np.ndarray,
    second: np.ndarray,
    neck_bottom: float,
    neck_width: float,
    stand: float = 0.0,
) -> np.ndarray:
    """Plackets, buttons, zips, pockets, lapels, flies: what is sewn on, drawn into the atlas.

    Args:
        rng, atlas: random numbers; uint8 (ATLAS_H, ATLAS_W, 3).
        kind: "shirt", "polo", "jacket", "cardigan" and so on; others draw nothing.
        rgb, second: colours of the garment and of what is set off against it, 0..255.
        neck_bottom: canonical z of the neckline's lowest point at the front, metres.
        neck_width: half of its width; stand: how far a standing collar goes up the neck.
    """
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
        wide, top, seam = neck_width, 0.73, neck_bottom
        if stand > 0:
            wide, top, seam = 0.078, 0.74 + stand, min(neck_bottom, 0.715)
        for s in (-1, 1):  # collar leaves
            leaf = [
                (s * 0.006, seam + 0.008),
                (s * 0.052, seam - 0.040),
                (s * (wide + 0.030), seam + 0.03),
                (s * (wide + 0.02), top),
                (s * wide * 0.8, top),
            ]
            if stand > 0:
                leaf[4] = (s * max(0.006, neck_width), top)
            draw.polygon([p(*q) for q in leaf], fill=fill)
            line([leaf[0], leaf[1], leaf[2], leaf[3]], width=2)
        if kind == "shirt" and rng.random() < 0.6:
            for s in [1] if rng.random() < 0.6 else [-1, 1]:
                pocket(s * 0.085, 0.53, 0.085, 0.10)
    elif kind == "cardigan":
        for u in (-0.022, 0.022):
            line([(u, neck_bottom), (u, low)])
        button = accent if rng.random() < 0.4 else light if sum(base) < 240 else dark
        z = neck_bottom - 0.015
        while z > -0.1:
            x, y = p(0, z)
            draw.ellipse([x - 2.8, y - 2.8, x + 2.8, y + 2.8], fill=button)
            z -= 0.075
    elif kind == "blazer":
        _lapels(rng, draw, p, rgb, neck_bottom, neck_width, stand)
        line([(0, neck_bottom), (0, low)], width=2)
        for z in (neck_bottom - 0.015, neck_bottom - 0.11)[: 1 + int(rng.random() < 0.7)]:
            x, y = p(0.006, z)
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=dark if sum(base) > 200 else light)
        for s in (-1, 1):
            line([(s * 0.06, 0.265), (s * 0.145, 0.275)], width=3)
            line([(s * 0.06, 0.235), (s * 0.145, 0.245)])
        if rng.random() < 0.6:
            line([(0.065, 0.50), (0.125, 0.51)], width=2)
    elif kind == "quarter zip":
        line([(0, 0.74 + stand), (0, neck_bottom - 0.12)], width=3)
        line([(0, 0.74 + stand), (0, neck_bottom - 0.12)], accent if rng.random() < 0.3 else light)
        for s in (-1, 1):  # where the collar is sewn on
            line([(0, 0.70), (s * 0.06, 0.715), (s * 0.11, 0.73)])
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
