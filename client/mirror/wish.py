"""What a page wishes to wear: its "wear" message, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mirror.errors import BadMessage
from mirror.rail import check_category

MOST_LAYERS = 3
"""Each costs a pass of the server's for every frame."""


@dataclass(frozen=True)
class Layer:
    """One garment of a wish. `garment`: an id of the rail, or None for words alone; `category`:
    None for the garment's own."""

    garment: str | None
    prompt: str
    category: str | None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to wear in it."""
        return self.garment is None and not self.prompt

    def told(self, category: str | None) -> dict[str, str | None]:
        """As the page is told of it."""
        return {"garment": self.garment, "prompt": self.prompt, "category": category}


def layers(message: Mapping[str, Any]) -> list[Layer]:
    """The layers of {"wear": one or [several]}, each {"garment", "prompt", "category"}, in the
    order in which they are put on; those with nothing in them are left out.

    Raises:
        BadMessage: no such message, or too many layers.
        InvalidRequest: a category that is not served.
    """
    wish = message.get("wear")
    several = wish if isinstance(wish, list) else [wish]
    if len(several) > MOST_LAYERS:
        raise BadMessage(f"{len(several)} layers: at most {MOST_LAYERS} are worn at once")
    return [layer for layer in map(_layer, several) if not layer.empty]


def _layer(wish: Any) -> Layer:
    if not isinstance(wish, dict):
        raise BadMessage('a text message is {"wear": {"garment": id, "prompt": text}}')
    garment, prompt, category = (wish.get(key) for key in ("garment", "prompt", "category"))
    for name, value in (("garment", garment), ("prompt", prompt), ("category", category)):
        if not (value is None or isinstance(value, str)):
            raise BadMessage(f"{name}: a {type(value).__name__}: text or null")
    if category is not None:
        check_category(category)
    return Layer(garment, (prompt or "").strip(), category)
