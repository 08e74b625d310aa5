"""Slices of a set of pairs: what makes or breaks the look, each measured by itself."""

from __future__ import annotations

from collections.abc import Callable

from training.data.outfits import outfit_of
from training.data.shards import Scene
from tryon.contract import OLD_GARMENTS

_SLEEVES = ("sleeveless", "short", "elbow", "long")
_FITS = ("tight", "regular", "loose")
Attributes = dict[str, str]

_OF_GARMENTS: dict[str, Callable[[Attributes, Attributes], bool]] = {
    "sleeves end sooner": lambda old, new: _rank(_SLEEVES, old, new, "sleeve") < 0,
    "sleeves end later": lambda old, new: _rank(_SLEEVES, old, new, "sleeve") > 0,
    "loose to tight": lambda old, new: _rank(_FITS, old, new, "fit") < 0,
    "collar comes off": lambda old, new: (
        old.get("neck") in ("collar", "high") and new.get("neck") in ("crew", "V", "scoop")
    ),
    "collar comes on": lambda _, new: new.get("neck") == "collar",
    "print or lettering": lambda _, new: new.get("pattern") in ("logo", "lettering"),
}
"""By the attributes of a garment that is replaced and of the new one."""

_OF_SCENES: dict[str, Callable[[dict], bool]] = {
    "arms in front": lambda meta: meta.get("arms") in ("crossed", "phone", "bent"),
    "hair in front": lambda meta: bool(meta.get("tresses")),
    "something carried": lambda meta: bool(meta.get("phone") or meta.get("bag")),
    "seated": lambda meta: meta.get("legs") == "sitting",
    "turned over 35 degrees": lambda meta: abs(float(meta.get("yaw", 0))) > 35,
}


_OF_STYLINGS: dict[str, Callable[[dict], bool]] = {
    "a larger size": lambda how: how["size"] > 0,
    "a smaller size": lambda how: how["size"] < 0,
    "sleeves rolled up": lambda how: how["rolled"],
    "worn open": lambda how: how["open"],
}
"""By how the new garment is worn."""


def _rank(order: tuple[str, ...], old: Attributes, new: Attributes, name: str) -> int:
    """How much later the new garment's attribute stands in an order; 0 if either has none."""
    before, after = old.get(name), new.get(name)
    return order.index(after) - order.index(before) if {before, after} <= set(order) else 0


def slices_of(scene: Scene, before: int, after: int, category: str) -> list[str]:
    """Names of the slices that a pair is in: the new garment's category, and the tables' above."""
    garments = scene.meta["garments"]
    worn = outfit_of(scene, before)
    new = garments[outfit_of(scene, after)[category]]
    old = [garments[worn[name]] for name in OLD_GARMENTS[category] if name in worn]
    found = [f"new: {category}"]
    found += [n for n, holds in _OF_GARMENTS.items() if any(holds(o, new) for o in old)]
    found += [n for n, holds in _OF_SCENES.items() if holds(scene.meta)]
    if category == "upper" and "tucked" in scene.meta:
        found.append("tucked in" if scene.meta["tucked"][after] else "hangs over the trousers")
    how = scene.meta["stylings"][after]
    return found + [n for n, holds in _OF_STYLINGS.items() if holds(how)]
