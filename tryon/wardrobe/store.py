"""Where kept garments lie: one small interface, and which store an address names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

ADDRESS, MEGABYTES = "TRYON_WARDROBE", "TRYON_WARDROBE_MEGABYTES"
"""Environment variables: a folder or a redis:// address; how much is kept."""
DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "wardrobe"
DEFAULT_MEGABYTES = 2048
"""A garment for frames of 512x384 takes 1.0 MB, of 1024x768 2.4 MB, of 1536x1152 3.7 MB."""


class StoreError(Exception):
    """A store that can't be opened, reached, read or written; the text names it and what to do."""


@dataclass(frozen=True)
class Entry:
    """One kept value. `added`: seconds since 1970; `about`: what was said of it when it was put."""

    key: str
    size: int
    added: float
    about: str


class Store(Protocol):
    """Values by key, bounded in bytes: what was put longest ago goes first.

    Several processes, and with Redis several servers, may use one store at the same time. Every
    method may raise StoreError.
    """

    def put(self, key: str, value: bytes, about: str) -> None:
        """Keeps a value; under a key that is there it takes the old one's place, as the newest.

        Raises StoreError for a value that is larger than the whole store may be.
        """

    def get(self, key: str) -> bytes | None:
        """The value, or None where there is none (any more)."""

    def remove(self, key: str) -> Entry | None:
        """Forgets a value; the entry that it had, or None."""

    def entries(self) -> list[Entry]:
        """All entries, the oldest first."""

    def close(self) -> None:
        """Lets go of files and connections."""


def open_store(address: str | None = None, limit: int | None = None) -> Store:
    """The store at an address.

    Args:
        address: a folder, or redis://host:port/db (rediss:// with TLS); None: what TRYON_WARDROBE
            says, else `.cache/wardrobe` of the project.
        limit: bytes that it may hold; None: what TRYON_WARDROBE_MEGABYTES says, else 2048 MiB.

    Raises:
        StoreError: an address or a limit that is none, or a folder that can't be opened.
    """
    address = address or os.environ.get(ADDRESS) or str(DEFAULT_FOLDER)
    if limit is None:
        limit = _limit(os.environ.get(MEGABYTES) or str(DEFAULT_MEGABYTES))
    if urlsplit(address).scheme in ("redis", "rediss"):
        from tryon.wardrobe.shared import RedisStore

        return RedisStore(address, limit)
    if "://" in address:
        raise StoreError(f"{ADDRESS}: {without_password(address)}: give a folder or redis://host:port/0")
    from tryon.wardrobe.embedded import LmdbStore

    return LmdbStore(Path(address), limit)


def without_password(address: str) -> str:
    """An address as it may be shown."""
    scheme, there, rest = address.partition("://")
    return f"{scheme}{there}{rest.rpartition('@')[2]}"


def _limit(megabytes: str) -> int:
    if not (megabytes.isascii() and megabytes.isdigit() and 0 < int(megabytes) <= 2**24):
        raise StoreError(f"{MEGABYTES}: {megabytes[:20]!r}: give a whole number of MiB above 0")
    return int(megabytes) * 2**20
