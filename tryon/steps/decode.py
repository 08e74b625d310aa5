"""Step `decode`: checks a request and makes the pictures that the networks take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tryon.contract import CANVAS_SIZES, CATEGORIES, MAX_SIDE
from tryon.errors import BadCategory, NothingToWear
from tryon.steps import images
from tryon.steps.garment import canvas_size, shrunk
from tryon.steps.thumbnail import thumbnail
from tryon.steps.tokenizer import Tokenizer, read_prompt


class Decoded(NamedTuple):
    """The step's outputs, in the contract's order."""

    photo: np.ndarray
    thumbnail: np.ndarray
    cloth: np.ndarray
    canvas_size: np.ndarray
    condition: np.ndarray
    input_ids: np.ndarray
    attention_mask: np.ndarray


def decode(
    person: np.ndarray, garment: np.ndarray, prompt: bytes, category: bytes, tokenizer: Tokenizer
) -> Decoded:
    """Checks a request and decodes its pictures.

    Args:
        person: uint8 (H, W, 3 or 4), or (1, 1, N) an encoded file.
        garment: the same, or (1, 1, 1) for none.
        prompt: UTF-8; blank for none.
        category: one of CATEGORIES.
        tokenizer: of the text encoder.

    Returns:
        photo uint8 (H, W, 3); thumbnail uint8 (224, 224 or 160, 3); cloth uint8 (h, w, 3 or 4), its
        longer side less than twice the canvas's, (1, 1, 3) for none; canvas_size int32 (2,), height
        and width; condition float32 (5,); input_ids and attention_mask int64 (tokens,).

    Raises:
        RequestError: one of its subclasses, with the field's name.
    """
    words = read_prompt(prompt)
    which = read_category(category)
    check_wish(garment, words)
    photo = images.on_white(images.read("person", person, MAX_SIDE))
    cloth, size, condition = read_garment(garment, words, which, photo.shape[:2])
    return Decoded(photo, thumbnail(photo), cloth, size, condition, *tokenizer(words))


def check_wish(garment: np.ndarray, words: str) -> None:
    """Raises NothingToWear where there is neither a garment nor a word."""
    if garment.size == 1 and not words:
        raise NothingToWear("garment, prompt: both are empty: send a garment, a prompt, or both")


def read_garment(
    garment: np.ndarray, words: str, category: str, frame: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes a garment for frames (height, width): `decode`'s cloth, canvas_size and condition."""
    has_garment = garment.size != 1
    if has_garment:
        size = canvas_size(frame[0], frame[1])
        cloth = shrunk(images.read("garment", garment, None), size)
    else:
        # The painted garment has few pixels: the smallest canvas will do.
        size, cloth = CANVAS_SIZES[0], np.zeros((1, 1, 3), np.uint8)
    kinds = (category == c for c in CATEGORIES)
    condition = np.array([*kinds, has_garment, bool(words)], np.float32)
    return cloth, np.array(size, np.int32), condition


def read_category(category: bytes) -> str:
    """The category's name. Raises BadCategory."""
    name = category.decode("utf-8", "replace")
    if name not in CATEGORIES:
        shown = name if len(name) <= 20 and name.isprintable() else f"of {len(category)} bytes"
        raise BadCategory(f"category: {shown!r}: send one of {', '.join(CATEGORIES)}")
    return name
