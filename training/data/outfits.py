"""What a rendered scene's people wear, and which two outfits make a training pair."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.shards import CATEGORY_NAMES, Scene
from tryon.contract import PARSE

NEVER_TUCKED = ("hoodie", "jacket")
"""Kinds of tops that are always worn over the trousers."""

PHOTOGRAPHED: dict[str, dict[str, Any]] = {
    "upper": {"category": "upper", "kind": "t-shirt", "sleeve": "short", "neck": "crew",
              "fit": "regular", "length": "regular", "colour": "white", "second_colour": "",
              "pattern": "plain", "print": "", "material": "jersey", "shop_mode": "photographed"},
    "lower": {"category": "lower", "kind": "shorts", "sleeve": "", "neck": "", "fit": "regular",
              "length": "short", "colour": "white", "second_colour": "", "pattern": "plain",
              "print": "", "material": "cotton", "shop_mode": "photographed"},
}  # fmt: skip
"""Attributes of what people wear in the photographs: garments that have no in-shop picture."""


@dataclass
class Garment:
    """One garment of a scene; arrays as `shards.Scene` has them."""

    category: str
    flat: bool
    shop_albedo: np.ndarray
    shop_shade: np.ndarray
    shop_alpha: np.ndarray
    shop_inner: np.ndarray
    shop_cover: np.ndarray
    shop_parse: np.ndarray
    shop_landmarks: np.ndarray
    attributes: dict[str, str]


def garment_of(scene: Scene, index: int) -> Garment:
    """Garment `index` of a scene."""
    return Garment(
        category=CATEGORY_NAMES[int(scene.garment_category[index])],
        flat=not bool(scene.garment_shop_worn[index]),
        shop_albedo=scene.garment_shop_albedo[index],
        shop_shade=scene.garment_shop_shade[index],
        shop_alpha=scene.garment_shop_alpha[index],
        shop_inner=scene.garment_shop_inner[index],
        shop_cover=scene.garment_shop_person_alpha[index],
        shop_parse=scene.garment_shop_parse[index],
        shop_landmarks=scene.garment_shop_landmarks[index].astype(np.float32).copy(),
        attributes=scene.meta["garments"][index],
    )


def outfit_of(scene: Scene, index: int) -> dict[str, int]:
    """Which garment an outfit wears, by category."""
    worn = {"upper": scene.outfit_upper, "lower": scene.outfit_lower, "dress": scene.outfit_dress}
    return {name: int(which[index]) for name, which in worn.items() if which[index] >= 0}


def beneath_of(scene: Scene, index: int) -> int:
    """Which garment an outfit wears beneath its open top, or -1."""
    return int(scene.meta["beneath"][index])


def seen_of(scene: Scene, outfit: int, garment: int) -> np.ndarray:
    """bool (256, 256): where a garment that an outfit wears is seen."""
    name = CATEGORY_NAMES[int(scene.garment_category[garment])]
    flow = scene.worn_flow[scene.worn(outfit, garment)]
    # Two tops, one over the other, are of one class; each has its flow where it is seen.
    return (scene.parse[outfit] == PARSE.index(name)) & flow.any(-1)


def drawn_of(scene: Scene, outfit: int, category: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (256, 256) each: where an outfit's garment of a category is seen, and where, through an
    open top, the one beneath it is."""
    drawn = (scene.parse[outfit] == PARSE.index(category)).astype(np.uint8)
    under = np.zeros_like(drawn)
    if category == "upper" and beneath_of(scene, outfit) >= 0:
        under = seen_of(scene, outfit, beneath_of(scene, outfit)).astype(np.uint8)
    return drawn - under, under


OMISSIONS = ("carried", "collar")
"""What pairs can be asked to be without: telephones and bags; a collar on the new garment."""


def pairs_of(scene: Scene, without: Collection[str] = ()) -> list[tuple[int, int, str]]:
    """All (outfit before, outfit after, category) whose difference is one garment.

    An open top comes over the top that was worn before.

    Args:
        scene: where they are worn.
        without: of OMISSIONS.
    """
    if "carried" in without and (scene.meta.get("phone") or scene.meta.get("bag")):
        return []
    found = []
    outfits = [outfit_of(scene, i) for i in range(len(scene.albedo))]
    garments = scene.meta["garments"]
    for i, before in enumerate(outfits):
        for j, after in enumerate(outfits):
            if i == j:
                continue
            if "dress" in after:
                found.append((i, j, "dress"))
            elif "dress" in before:
                continue
            elif before["lower"] == after["lower"] and before["upper"] != after["upper"]:
                if beneath_of(scene, j) in (-1, before["upper"]):
                    found.append((i, j, "upper"))
            elif before["upper"] == after["upper"] and before["lower"] != after["lower"]:
                found.append((i, j, "lower"))
    found = [p for p in found if garments[outfits[p[1]][p[2]]].get("shop_mode") != "photographed"]
    if "collar" in without:
        found = [p for p in found if garments[outfits[p[1]][p[2]]].get("neck") != "collar"]
    return found
