"""Lettering on garments: Latin and Chinese, from fonts that every machine has."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from training.data import prints
from training.data.fabric import ATLAS_H, ATLAS_W
from tryon.assets import asset_path

WHITE, BLACK = np.full(3, 255.0), np.zeros(3)


def drawn(seed: int, kind: str = "lettering") -> tuple[np.ndarray, str]:
    atlas = np.full((ATLAS_H, ATLAS_W, 3), 255, np.uint8)
    return prints.draw_print(np.random.default_rng(seed), atlas, kind, WHITE, BLACK)


def test_lettering_is_of_both_scripts_and_dark_on_white():
    scripts = set()
    for seed in range(24):
        atlas, label = drawn(seed)
        words = label.split()
        chinese = all(word in prints._CHINESE for word in words)
        assert chinese or all(word in prints._WORDS for word in words), label
        scripts.add(chinese)
        assert 20 < (atlas < 100).all(2).sum() < 0.2 * ATLAS_H * ATLAS_W
    assert scripts == {True, False}


def test_the_same_numbers_draw_the_same_print():
    for kind in ("lettering", "logo"):
        (once, label), (again, same) = drawn(5, kind), drawn(5, kind)
        assert np.array_equal(once, again) and label == same


@pytest.mark.parametrize("words", [prints._WORDS, prints._CHINESE], ids=["Latin", "Chinese"])
def test_every_letter_is_in_the_fonts(words):
    def picture(letter: str, path: str) -> bytes:
        image = Image.new("L", (60, 60))
        ImageDraw.Draw(image).text((5, 5), letter, fill=255, font=ImageFont.truetype(path, 40))
        return image.tobytes()

    chinese = words is prints._CHINESE
    paths = [str(asset_path("noto_sans_sc.ttf"))] if chinese else prints._latin_fonts()
    assert len(paths) == 1 if chinese else len(paths) > 12
    for path in paths:
        missing = {picture(letter, path) for letter in "\U0010ffff "}
        assert all(picture(letter, path) not in missing for letter in set("".join(words)))
