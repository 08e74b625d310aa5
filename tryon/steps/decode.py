"""Step `decode`: checks a request and makes the pictures that the networks take."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy as np

from tryon.contract import (
    CANVAS_SIZES,
    CATEGORIES,
    DETECTOR_SIZE,
    MAX_PROMPT_CHARACTERS,
    MAX_SIDE,
)
from tryon.errors import BadCategory, BadPrompt, NothingToWear, PromptTooLong
from tryon.steps import images
from tryon.steps.garment import canvas_size, resize, shrunk


class Decoded(NamedTuple):
    """The step's outputs, in the contract's order."""

    photo: np.ndarray
    thumbnail: np.ndarray
    cloth: np.ndarray
    canvas_size: np.ndarray
    condition: np.ndarray
    words: np.ndarray


def decode(person: np.ndarray, garment: np.ndarray, prompt: bytes, category: bytes) -> Decoded:
    """Checks a request and decodes its pictures.

    Args:
        person: uint8 (H, W, 3 or 4), or (1, 1, N) an encoded file.
        garment: the same, or (1, 1, 1) for none.
        prompt: UTF-8; blank for none.
        category: one of CATEGORIES.

    Returns:
        photo uint8 (H, W, 3); thumbnail uint8 (224, 224, 3); cloth uint8 (h, w, 3 or 4), its
        longer side less than twice the canvas's, (1, 1, 3) for none; canvas_size int32 (2,), height
        and width; condition float32 (5,); words bytes (1,), the prompt in UTF-8, its ends stripped.

    Raises:
        RequestError: one of its subclasses, with the field's name.
    """
    words = read_prompt(prompt)
    which = read_category(category)
    has_garment = garment.size != 1
    if not has_garment and not words:
        raise NothingToWear("garment, prompt: both are empty: send a garment, a prompt, or both")
    photo = images.on_white(images.read("person", person, MAX_SIDE))
    if has_garment:
        size = canvas_size(photo.shape[0], photo.shape[1])
        cloth = shrunk(images.read("garment", garment, None), size)
    else:
        # The painted garment has few pixels: the smallest canvas will do.
        size, cloth = CANVAS_SIZES[0], np.zeros((1, 1, 3), np.uint8)
    condition = np.array([*(which == c for c in CATEGORIES), has_garment, bool(words)], np.float32)
    return Decoded(
        photo, thumbnail(photo), cloth, np.array(size, np.int32), condition,
        np.array([words.encode()], object),
    )  # fmt: skip


def read_prompt(prompt: bytes) -> str:
    """The prompt's text, its ends stripped. Raises BadPrompt or PromptTooLong."""
    if len(prompt) > 4 * MAX_PROMPT_CHARACTERS:  # UTF-8 takes at most 4 bytes a character
        raise PromptTooLong(
            f"prompt: {len(prompt)} bytes: at most {MAX_PROMPT_CHARACTERS} characters are read; "
            "shorten it"
        )
    try:
        words = prompt.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadPrompt(f"prompt: byte {error.start} is not UTF-8: send UTF-8 text") from None
    if len(words) > MAX_PROMPT_CHARACTERS:
        raise PromptTooLong(
            f"prompt: {len(words)} characters: at most {MAX_PROMPT_CHARACTERS} are read; shorten it"
        )
    for character in words:
        if unicodedata.category(character) == "Cc" and character not in "\t\n\r":
            raise BadPrompt(
                f"prompt: holds the control character U+{ord(character):04X}: send plain words"
            )
    return words


def read_category(category: bytes) -> str:
    """The category's name. Raises BadCategory."""
    name = category.decode("utf-8", "replace")
    if name not in CATEGORIES:
        shown = name if len(name) <= 20 and name.isprintable() else f"of {len(category)} bytes"
        raise BadCategory(f"category: {shown!r}: send one of {', '.join(CATEGORIES)}")
    return name


def letterbox(height: int, width: int, side: int) -> tuple[int, int, int, int]:
    """Where a picture lies in a square of `side` pixels: x, y, width, height; centred, whole."""
    scale = side / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    return (side - w) // 2, (side - h) // 2, w, h


def thumbnail(photo: np.ndarray) -> np.ndarray:
    """uint8 (224, 224, 3): the photo letterboxed on black for the person detector."""
    x, y, w, h = letterbox(photo.shape[0], photo.shape[1], DETECTOR_SIZE)
    square = np.zeros((DETECTOR_SIZE, DETECTOR_SIZE, 3), np.uint8)
    square[y : y + h, x : x + w] = resize(photo, w, h)
    return square
