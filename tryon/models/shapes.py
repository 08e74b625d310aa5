"""The flat garments that words can name: the painter's drawings of them are part of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tryon.contract import CATEGORIES

_UPPER = (
    "t-shirt", "V-neck t-shirt", "cropped t-shirt", "long t-shirt", "elbow-sleeve top",
    "long-sleeve top", "V-neck long-sleeve top", "short-sleeve shirt", "shirt", "sweater",
    "hoodie", "jacket", "tank top", "cropped tank top",
)  # fmt: skip
_LOWER = ("trousers", "leggings", "shorts", "short skirt", "knee-length skirt", "long skirt")
_DRESS = tuple(
    f"{length} {sleeve} dress"
    for sleeve in ("sleeveless", "short-sleeve", "long-sleeve")
    for length in ("short", "knee-length", "long")
)
SHAPES: tuple[tuple[str, str], ...] = tuple(
    (category, name)
    for category, names in zip(CATEGORIES, (_UPPER, _LOWER, _DRESS), strict=True)
    for name in names
)
"""(category, name) of every drawing, in the order of the weights."""


def shape_of(attributes: Mapping[str, str]) -> int:
    """Index into SHAPES of a garment with these attributes (as captions have them)."""
    category, kind = attributes["category"], attributes["kind"]
    sleeve, length = attributes.get("sleeve", ""), attributes.get("length", "")
    tall = {"short": "short", "knee": "knee-length", "long": "long"}.get(length, "long")
    if category == "dress":
        arm = {"sleeveless": "sleeveless", "short": "short-sleeve"}.get(sleeve, "long-sleeve")
        name = f"{tall} {arm} dress"
    elif category == "lower":
        name = f"{tall} skirt" if kind == "skirt" else kind
    else:
        name = _upper(kind, sleeve, length, attributes.get("neck", ""))
    return SHAPES.index((category, name))


def _upper(kind: str, sleeve: str, length: str, neck: str) -> str:
    if kind == "tank top" or sleeve == "sleeveless":
        return "cropped tank top" if length == "cropped" else "tank top"
    if kind in ("sweater", "hoodie", "jacket"):
        return kind
    if kind == "cardigan":
        return "sweater"
    if kind == "shirt":
        return "shirt" if sleeve == "long" else "short-sleeve shirt"
    deep = "V-neck " if neck == "V" else ""
    if sleeve == "long":
        return f"{deep}long-sleeve top"
    if sleeve == "elbow":
        return "elbow-sleeve top"
    if length in ("cropped", "long"):
        return f"{length} t-shirt"
    return f"{deep}t-shirt"


def shape_categories() -> Tensor:
    """float32 (len(CATEGORIES), len(SHAPES)): 1 where a drawing is of the category."""
    table = torch.zeros(len(CATEGORIES), len(SHAPES))
    for column, (category, _) in enumerate(SHAPES):
        table[CATEGORIES.index(category), column] = 1
    return table
