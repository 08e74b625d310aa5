"""Requests on which export compares torch with ONNX: photoreal pictures, and rendered ones.

`data/` holds one rendered pair, made by `training.data.render` (seed 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tryon.assets import asset_path

DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Sample:
    """A named request."""

    name: str
    person: np.ndarray
    garment: np.ndarray | None
    prompt: str
    category: str


def _photo(path: str, package: str, longest: int) -> np.ndarray:
    image = Image.open(asset_path(package) / path).convert("RGB")
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.array(image)  # writable, as torch wants it


def samples() -> list[Sample]:
    """All categories, all sizes, with and without garment and words."""

    def person(number: str, longest: int) -> np.ndarray:
        return _photo(f"{number}/assets/studio_posture.jpg", "openpeople", longest)

    def cloth(name: str) -> np.ndarray:
        return _photo(f"clothes/{name}_front.jpg", "openvto", 1024)

    def rendered(name: str) -> np.ndarray:
        return np.array(Image.open(DATA / f"rendered_{name}.png").convert("RGB"))

    return [
        Sample("rendered, upper", rendered("person"), rendered("garment"), "in dark green",
               "upper"),
        Sample("photo, upper", person("P002", 512), cloth("shirts/2"), "", "upper"),
        Sample("photo, upper, words", person("P005", 1024), cloth("jackets/1"),
               "sleeves rolled up, worn open", "upper"),
        Sample("photo, lower", person("P004", 512), cloth("pants/1"), "", "lower"),
        Sample("photo, words alone", person("P001", 512), None, "a red striped dress", "dress"),
        Sample("photo, odd size", _photo("P003/assets/amateur_posture.jpg", "openpeople", 731),
               cloth("shirts/3"), "", "upper"),
    ]  # fmt: skip
