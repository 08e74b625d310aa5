"""`engine.lock.json`: what a repository's engines were built from, and whether that still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from export.files import write_whole

LOCK = "engine.lock.json"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(repository: Path, facts: Mapping[str, object]) -> None:
    """Writes the lock of a repository: `facts`, and the hash of every ONNX file and engine."""
    files = sorted(p for s in ("*.onnx", "*.plan") for p in repository.rglob(s))
    hashes = {str(p.relative_to(repository)): sha256(p) for p in files}
    text = json.dumps({**facts, "files": hashes}, indent=1) + "\n"
    write_whole(repository / LOCK, text.encode())


def check(repository: Path, facts: Mapping[str, object]) -> list[str]:
    """What no longer fits the lock, a line each; none if all does.

    Args:
        repository: with a lock.
        facts: as they are now (those of the lock that are not named here aren't compared).
    """
    try:
        lock = json.loads((repository / LOCK).read_text())
        files: dict[str, str] = lock["files"]
    except FileNotFoundError:
        return [f"{repository / LOCK} is missing"]
    except (ValueError, KeyError, TypeError):
        return [f"{repository / LOCK} is damaged"]
    wrong = []
    for name, now in facts.items():
        then = lock.get(name)
        if isinstance(then, dict) and isinstance(now, Mapping):
            for key in sorted({*then, *now}):
                if then.get(key) != now.get(key):
                    wrong.append(f"{name}: {key} was {then.get(key)}, is {now.get(key)}")
        elif then != now:
            wrong.append(f"{name} was {then}, is {now}")
    for file, digest in files.items():
        path = repository / file
        if not path.is_file():
            wrong.append(f"{file} is missing")
        elif sha256(path) != digest:
            wrong.append(f"{file} is not the file that was locked")
    return wrong
