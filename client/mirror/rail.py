"""The rail: the garments that hang beside the mirror, those of a folder and those brought along.

What visitors bring is kept in memory alone, so many and so large at most; the oldest goes first.
What they wear of it the server's wardrobe keeps, too, for as long as that is kept.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mirror.errors import BadFolder, GarmentGone
from tryon_client.errors import InvalidRequest, TryOnError, one_line
from tryon_client.images import Picture, load_garment, shrink
from tryon_client.wire import CATEGORIES

LONGEST = 768
"""A garment's longer side in pixels: above a live frame's, and it travels with every frame."""
THUMBNAIL = 240
MOST_BUILT_IN = 200
MOST_BROUGHT, MOST_BYTES = 24, 64 * 2**20
"""How many pictures of visitors are kept, and how many bytes of pixels."""
MAX_UPLOAD_BYTES = 16 * 2**20
NAME_CHARACTERS = 40
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
_FOLDERS = {
    "lower": ("lower", "bottoms", "pants", "trousers", "jeans", "shorts", "skirts"),
    "dress": ("dress", "dresses", "jumpsuits"),
}


@dataclass(frozen=True)
class Garment:
    """One garment. `id`: the first 16 digits of its file's SHA-256; `picture`: its file, or the
    pixels that a visitor brought, uint8 (H, W, 3 or 4); `thumbnail`: a JPEG."""

    id: str
    name: str
    category: str
    built_in: bool
    picture: Path | np.ndarray
    thumbnail: bytes

    def load(self) -> np.ndarray:
        """Its pixels, uint8 (H, W, 3 or 4). Raises NotAnImage where the file is gone."""
        picture = self.picture
        return picture if isinstance(picture, np.ndarray) else _load(picture)

    @property
    def size(self) -> int:
        """Bytes that it keeps in memory."""
        pixels = self.picture.nbytes if isinstance(self.picture, np.ndarray) else 0
        return pixels + len(self.thumbnail)

    def listed(self) -> dict[str, object]:
        """What the page is told of it."""
        return {"id": self.id, "name": self.name, "category": self.category,
                "built_in": self.built_in}  # fmt: skip


class Rail:
    """Garments by id; may be used by several threads.

    Args:
        folder: pictures, also one folder down; that folder's name (`pants`, `dresses`, ...) says
            the category, "upper" where it says nothing. Names that end in `_back` are left out.

    Raises:
        BadFolder: no folder, or no picture in it.

    Attributes:
        skipped: a line for each file that is no picture of a garment.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._built_in: dict[str, Garment] = {}
        self._brought: dict[str, Garment] = {}
        self.skipped: list[str] = []
        if folder is not None:
            self._hang(folder)

    def listed(self) -> list[dict[str, object]]:
        """All garments for the page: the newest that were brought first, then the folder's."""
        with self._lock:
            garments = [*reversed(self._brought.values()), *self._built_in.values()]
        return [garment.listed() for garment in garments]

    def get(self, key: str) -> Garment:
        """The garment of this id. Raises GarmentGone."""
        with self._lock:
            found = self._built_in.get(key) or self._brought.get(key)
        if found is None:
            raise GarmentGone("that garment doesn't hang here any more: bring its picture again")
        return found

    def bring(self, data: bytes, name: str = "", category: str = "upper") -> Garment:
        """Hangs up a visitor's picture (an encoded file).

        Raises:
            InvalidRequest, NotAnImage, ImageTooLarge, ImageTooSmall: as `load_garment` does.
        """
        check_category(category)
        key = _key(data)
        with self._lock:
            if key in self._built_in:
                return self._built_in[key]
        pixels = _load(data)
        garment = Garment(key, _clean(name), category, False, pixels, _thumbnail(pixels))
        with self._lock:
            self._brought.pop(key, None)  # brought again, it is the newest
            self._brought[key] = garment
            while len(self._brought) > MOST_BROUGHT or self._bytes() > MOST_BYTES:
                del self._brought[next(iter(self._brought))]
        return garment

    def _bytes(self) -> int:
        return sum(garment.size for garment in self._brought.values())

    def _hang(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BadFolder(f"{folder} is no folder: name one with pictures of garments")
        for path in _pictures(folder):
            if len(self._built_in) == MOST_BUILT_IN:
                self.skipped.append(f"what comes after {MOST_BUILT_IN} pictures in {folder}")
                break
            try:
                pixels, key = _load(path), _key(path.read_bytes())
            except (TryOnError, OSError) as error:
                self.skipped.append(one_line(str(error)))
                continue
            name, category = _told(path, folder)
            self._built_in[key] = Garment(key, name, category, True, path, _thumbnail(pixels))
        if not self._built_in:
            raise BadFolder(f"{folder} holds no picture of a garment ({', '.join(SUFFIXES)})")


def check_category(category: str) -> None:
    """Raises InvalidRequest for a category that is not served."""
    if category not in CATEGORIES:
        raise InvalidRequest(f"category {category!r}: choose one of {', '.join(CATEGORIES)}")


def _pictures(folder: Path) -> Iterator[Path]:
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if path.suffix.lower() in SUFFIXES and not path.stem.lower().endswith("_back"):
            yield path


def _told(path: Path, folder: Path) -> tuple[str, str]:
    """Name and category by a file's path: `pants/2_front.jpg` is "Pants 2", lower."""
    above = "" if path.parent == folder else path.parent.name
    category = next((c for c, names in _FOLDERS.items() if above.lower() in names), "upper")
    name = path.stem.removesuffix("_front").replace("_", " ").replace("-", " ").strip()
    if name.isdigit():
        kind = above if above.lower() in ("pants", "jeans", "trousers") else above.removesuffix("s")
        name = f"{kind} {name}".strip()
    return _clean(name[:1].upper() + name[1:]), category


def _clean(name: str) -> str:
    return one_line(name, NAME_CHARACTERS) or "Garment"


def _key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _load(source: Picture) -> np.ndarray:
    return shrink(load_garment(source), "garment", LONGEST)


def _thumbnail(pixels: np.ndarray) -> bytes:
    """JPEG of a garment's pixels, what is transparent laid on white."""
    image = Image.fromarray(pixels)
    if image.mode == "RGBA":
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
