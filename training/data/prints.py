"""Prints: logos and lettering, drawn into a garment's atlas."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.data.fabric import ATLAS_H, ATLAS_U, ATLAS_W, atlas_xy, contrasting, jitter
from tryon.assets import asset_path

_WORDS = (
    "LOVE", "CITY", "OCEAN", "DREAM", "1987", "NORTH", "CLUB", "SUNDAY", "ROCK", "WILD", "HOPE",
    "NOVA", "STAR", "SURF", "RUN", "HELLO", "TOKYO", "PARIS", "ENERGY", "TEAM", "23", "SUMMER",
    "COFFEE", "PEACE", "MUSIC", "LUCKY", "FOREST", "GOOD", "DAY", "ORIGINAL", "SPORT", "ARCADE",
    "HONEY", "RIVER", "LEMON", "ZERO", "URBAN",
)  # fmt: skip
_CHINESE = (
    "城市", "夏天", "音乐", "希望", "自由", "海洋", "好运", "平安", "山河", "快乐", "星期天",
    "你好", "北方", "咖啡", "明天", "太阳", "清风", "飞龙", "福", "爱", "少年", "远方", "春风",
    "无畏", "一九八七",
)  # fmt: skip
_SHAPES = (
    "circle", "star", "triangle", "mountain", "heart", "stripe box", "blocks", "sun", "letter",
)  # fmt: skip
_IN_CHINESE, _UPRIGHT = 0.3, 0.4
"""Share of the lettering that is Chinese; share of that which runs from top to bottom."""


@lru_cache
def _latin_fonts() -> list[str]:
    """Matplotlib's own fonts (DejaVu, STIX): the same on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
    styles = ("", "-Bold", "-Oblique", "-BoldOblique", "-Italic", "-BoldItalic", "Bol", "BolIta")
    found = (folder / f"{name}{style}.ttf" for name in names for style in styles)
    return [str(path) for path in found if path.is_file()]


def _latin(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    fonts = _latin_fonts()
    return ImageFont.truetype(fonts[int(rng.integers(len(fonts)))], size)


def _lettering(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: tuple[float, float], size: float,
    ink: tuple[int, ...], px_m: float,
) -> str:  # fmt: skip
    """Draws one to three lines around a centre; the words."""
    cx, cy = centre
    chinese = rng.random() < _IN_CHINESE
    words = _CHINESE if chinese else _WORDS
    lines = [str(w) for w in rng.choice(words, int(rng.integers(1, 4)), replace=False)]
    if chinese:
        upright = rng.random() < _UPRIGHT  # one column, as on banners and scrolls
        lines = lines[: 1 if upright else 2]
    label = " ".join(lines)
    if chinese and upright:
        lines = list(label)
    longest = max(len(w) for w in lines)
    least = 1.5 if chinese else 3
    font_px = int(np.clip(size * 1.5 / max(longest, least), 0.03 * px_m, 0.13 * px_m))
    font = (
        ImageFont.truetype(str(asset_path("noto_sans_sc.ttf")), font_px)
        if chinese
        else _latin(rng, font_px)
    )
    y = cy - font_px * len(lines) * 0.55
    for w in lines:
        draw.text((cx, y), w, fill=ink, font=font, anchor="ma")
        y += font_px * 1.08
    if rng.random() < 0.3:
        draw.rectangle([cx - size / 2, y + 4, cx + size / 2, y + 10], fill=ink)
    return label


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
        label = _lettering(rng, draw, (cx, cy), size, ink, px_m)
    else:
        shape = str(rng.choice(_SHAPES))
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
                font=_latin(rng, max(8, int(r * 1.3))),
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
                font=_latin(rng, max(10, int(r * 0.4))),
                anchor="ma",
            )
    return np.asarray(picture.resize((ATLAS_W, ATLAS_H), Image.Resampling.BOX)), label
