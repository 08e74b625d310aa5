"""TensorRT's timing cache: what its trials of kernels found, kept for the next build.

Beside the repository, one file for each TensorRT and GPU. TensorRT for RTX has none: it tries
nothing when it builds, and its functions for it do nothing since 1.2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.files import write_whole

FOLDER = ".timing"


def timing_file(repository: Path, version: str, gpu: str) -> Path:
    """Where the trials of one TensorRT on one GPU are kept, for repositories beside each other."""
    plain = re.sub(r"[^\w.]+", "-", f"{version}_{gpu}")
    return repository.parent / FOLDER / f"{plain}.cache"


def read(path: Path, say: Callable[[str], None]) -> bytes:
    """The cache's bytes, empty where there are none; a damaged file is passed over, and said so.

    TensorRT itself may take a damaged cache in silence, so the file begins with its SHA-256.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        say(f"warning: the timing cache {path} can't be read ({error}): built without it")
        return b""
    digest, data = content[:32], content[32:]
    if hashlib.sha256(data).digest() != digest:
        say(f"warning: the timing cache {path} is damaged: built without it, and written anew")
        return b""
    return data


def use(config: Any, path: Path, say: Callable[[str], None]) -> None:
    """Gives a builder's configuration the cache at `path`, or an empty one."""
    cache = config.create_timing_cache(read(path, say))
    # TensorRT checks that it was made by the same TensorRT on the same GPU.
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        say(f"warning: TensorRT does not take the timing cache {path}: built without it")
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def keep(config: Any, path: Path) -> None:
    """Writes what a build has added, whole or not at all."""
    cache = config.get_timing_cache()
    if cache is not None:
        data = bytes(cache.serialize())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(data).digest() + data)
