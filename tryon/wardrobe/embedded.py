"""The embedded store: an LMDB file in a folder, shared by the processes of one machine.

Readers take no lock and wait for no writer; a process or a machine that dies leaves a whole file.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from tryon.wardrobe.store import ADDRESS, Entry, StoreError

_PAGE = 4096
_COUNT = b"count"
"""Key of the two numbers that are kept beside the values: bytes in all, and the next place."""


class LmdbStore:
    """A `Store` in a folder.

    Args:
        folder: made if need be.
        limit: bytes of values, each counted in whole pages; the file takes somewhat more.

    Raises:
        StoreError: a folder that can't be made, read or written.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Copies of changed pages and the keys need room beside the values.
            self._file: Any = lmdb.open(
                str(folder), map_size=limit + limit // 4 + 64 * 2**20, max_dbs=3, readahead=False,
                metasync=False, max_readers=64,
            )  # fmt: skip
            self._file.reader_check()  # readers of processes that were killed
            self._values, self._places, self._numbers = (
                self._file.open_db(name) for name in (b"values", b"places", b"numbers")
            )
            with self._writing() as txn:
                self._shrink(txn)
        except (lmdb.Error, OSError) as error:
            raise self._trouble(error) from None

    def put(self, key: str, value: bytes, about: str) -> None:
        """See `Store.put`."""
        size = _pages(len(value))
        if size > self._limit:
            raise StoreError(f"{len(value)} bytes are more than the wardrobe may hold "
                             f"({self._limit} bytes): raise TRYON_WARDROBE_MEGABYTES")  # fmt: skip
        name = key.encode()
        with self._writing() as txn:
            self._forget(txn, name)
            total, place = self._counted(txn)
            self._count(txn, total + size, place + 1)
            entry = json.dumps({"key": key, "size": len(value), "added": time.time(),
                                "about": about})  # fmt: skip
            spot = place.to_bytes(8, "big")
            txn.put(spot, entry.encode(), db=self._places)
            self._shrink(txn)  # before it is written: the room is needed now
            txn.put(name, spot + value, db=self._values)

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        try:
            with self._file.begin(db=self._values, buffers=True) as txn:
                found = txn.get(key.encode())
                return None if found is None else bytes(found[8:])
        except lmdb.Error as error:
            raise self._trouble(error) from None

    def remove(self, key: str) -> Entry | None:
        """See `Store.remove`."""
        with self._writing() as txn:
            return self._forget(txn, key.encode())

    def entries(self) -> list[Entry]:
        """See `Store.entries`."""
        try:
            with self._file.begin(db=self._places) as txn:
                return [_entry(told) for _, told in txn.cursor()]
        except lmdb.Error as error:
            raise self._trouble(error) from None

    def close(self) -> None:
        """See `Store.close`."""
        self._file.close()

    def _forget(self, txn: Any, name: bytes) -> Entry | None:
        found = txn.get(name, db=self._values)
        if found is None:
            return None
        entry = _entry(txn.pop(bytes(found[:8]), db=self._places))
        txn.delete(name, db=self._values)
        total, place = self._counted(txn)
        self._count(txn, total - _pages(entry.size), place)
        return entry

    def _shrink(self, txn: Any) -> None:
        """Lets the oldest go until what is counted fits."""
        total, place = self._counted(txn)
        cursor = txn.cursor(db=self._places)
        while total > self._limit and cursor.first():
            entry = _entry(cursor.value())
            cursor.delete()
            txn.delete(entry.key.encode(), db=self._values)
            total -= _pages(entry.size)
        self._count(txn, total, place)

    def _counted(self, txn: Any) -> tuple[int, int]:
        numbers = txn.get(_COUNT, db=self._numbers)
        total, place = json.loads(numbers) if numbers else (0, 0)
        return total, place

    def _count(self, txn: Any, total: int, place: int) -> None:
        txn.put(_COUNT, json.dumps([total, place]).encode(), db=self._numbers)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        """All or nothing, one writer at a time."""
        try:
            with self._file.begin(write=True) as txn:
                yield txn
        except lmdb.Error as error:
            raise self._trouble(error) from None

    def _trouble(self, error: Exception) -> StoreError:
        why = getattr(error, "strerror", None) or error
        return StoreError(f"the wardrobe in {self._folder} can't be used ({why}): set {ADDRESS} to "
                          "another folder, or delete this one")  # fmt: skip


def _pages(size: int) -> int:
    """Bytes of the pages that a value takes, its own 24 bytes included."""
    return -(-(size + 24) // _PAGE) * _PAGE


def _entry(told: bytes) -> Entry:
    return Entry(**json.loads(told))
