"""Names of kept garments: a hash of what was sent, behind the version of the networks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tryon.contract import CONTRACT_VERSION
from tryon.errors import OutdatedGarment, UnknownGarment

VERSION_FILE = "wardrobe_version"
"""Beside the model.py of each step that reads or gives IDs; `python -m export` writes it."""
_ID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{32}")


def features_version(target: str, sources: Mapping[str, str]) -> str:
    """8 hexadecimal digits that change whenever a garment's kept features could.

    Args:
        target: of the export; an fp16 network answers a little otherwise.
        sources: `export.repository.source_hashes`: weights, code, vocabulary, package versions.
            What engines were built for ("engines") is left out: several servers may share a store.
    """
    facts = {"contract": CONTRACT_VERSION, "target": target}
    facts |= {f"source {k}": v for k, v in sources.items() if k != "engines"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def read_version(folder: Path) -> str:
    """The version beside a step's model.py. Raises ValueError naming the file and the command."""
    path = folder / VERSION_FILE
    try:
        version = path.read_text().strip()
    except OSError:
        version = ""
    if not re.fullmatch("[0-9a-f]{8}", version):
        raise ValueError(f"{path} is missing or damaged: run `make export`")
    return version


def garment_id(version: str, garment: np.ndarray, words: str, category: str) -> str:
    """The ID of a garment, words and category: the same ones always have the same.

    Args:
        version: of `features_version`.
        garment: uint8 (H, W, 3 or 4), (1, 1, N) a file's bytes, or (1, 1, 1) for none, as sent.
        words: the checked prompt.
        category: one of the contract's.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([version, garment.shape, words, category]).encode())
    digest.update(np.ascontiguousarray(garment).reshape(-1).data)
    return f"{version}-{digest.hexdigest()}"


def check_id(name: bytes, version: str | None = None) -> str:
    """The ID as text.

    Args:
        name: as it was sent.
        version: that it must have, if any.

    Raises:
        UnknownGarment: it is no ID.
        OutdatedGarment: networks of another version gave it.
    """
    text = name.decode("ascii", "replace")
    found = _ID.fullmatch(text)
    if not found:
        shown = repr(text) if len(text) <= 60 and text.isprintable() else f"{len(name)} bytes"
        raise UnknownGarment(f"garment_id: {shown} is no ID: send one that wardrobe_add answered")
    if version is not None and found[1] != version:
        raise OutdatedGarment(
            f"garment_id: {text} is of networks of version {found[1]}, these are {version}: add "
            "the garment again"
        )
    return text
