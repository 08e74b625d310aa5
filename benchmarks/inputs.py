"""The pictures of the benchmark: one person of openpeople in one top of openvto, at each size."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tryon.assets import asset_path

PROMPT = "a t-shirt, sleeves rolled"
CATEGORY = "upper"
DEFAULT_PERSON = ("openpeople", "P001/assets/studio_posture.jpg")
DEFAULT_GARMENT = ("openvto", "clothes/shirts/1_front.jpg")
"""Package of `tryon.assets`, and the picture in it."""
FRESH = 9000
"""Requests that `fresh` tells apart."""


def photos(person: Path | None = None, garment: Path | None = None) -> tuple[Path, Path]:
    """The photos that are named, or the default ones.

    Raises:
        AssetError: a default one can't be fetched.
    """
    return (
        person or asset_path(DEFAULT_PERSON[0]) / DEFAULT_PERSON[1],
        garment or asset_path(DEFAULT_GARMENT[0]) / DEFAULT_GARMENT[1],
    )


@dataclass(frozen=True)
class Inputs:
    """One request: person uint8 (H, W, 3), garment uint8 (h, w, 3), prompt and category.

    Either picture may be an encoded file's bytes instead, uint8 (1, 1, N).
    """

    person: np.ndarray
    garment: np.ndarray
    prompt: str = PROMPT
    category: str = CATEGORY


def make_inputs(person: Path, garment: Path, size: tuple[int, int]) -> Inputs:
    """The person cut to the size (height, width), and a garment as large, of 512 pixels at least.

    A garment as large as a camera makes it would be sent and then scaled down: that measures the
    wire, not the model.
    """
    height, width = size
    with Image.open(person) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    # A little above the middle: people's heads are nearer to the upper edge.
    fitted = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS, centering=(0.5, 0.3))
    with Image.open(garment) as image:
        cloth = image.convert("RGB")
        side = max(*size, 512)
        cloth.thumbnail((side, side), Image.Resampling.LANCZOS)
    return Inputs(np.asarray(fitted), np.asarray(cloth))


def tensors(inputs: Inputs) -> dict[str, np.ndarray]:
    """The ensemble's input tensors, batch of one in front."""
    return {
        "person": inputs.person[None],
        "garment": inputs.garment[None],
        "prompt": np.array([[inputs.prompt.encode()]], object),
        "category": np.array([[inputs.category.encode()]], object),
    }


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of an argument like 512x384. Raises argparse.ArgumentTypeError."""
    height, cross, width = text.partition("x")
    if not (cross and height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: give height x width, like 512x384")
    return int(height), int(width)


def fresh(inputs: Inputs, number: int) -> Inputs:
    """The same request with a garment and words of its own, which no server has seen.

    Args:
        number: 0 to FRESH - 1, written into the middle of the garment and after the words.
    """
    garment = inputs.garment.copy()
    y, x = garment.shape[0] // 2, garment.shape[1] // 2
    garment[y - 16 : y + 16, x - 16 : x + 16] = (number % 256, number // 256, 97)
    return replace(inputs, garment=garment, prompt=f"{inputs.prompt} {1000 + number}")
