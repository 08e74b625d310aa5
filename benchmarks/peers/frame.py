"""Tensors as one run of bytes, for the peers that speak HTTP: no compression, no copy but one."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np

_TEXT = "text"


def pack(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Length (4 bytes) of a JSON header, the header, then each tensor's bytes.

    Args:
        tensors: of any number's dtype; of dtype object those of one element, bytes.
    """
    header, parts = [], []
    for name, array in tensors.items():
        text = array.dtype == object
        data = bytes(array.reshape(-1)[0]) if text else np.ascontiguousarray(array).tobytes()
        header.append([name, _TEXT if text else str(array.dtype), list(array.shape), len(data)])
        parts.append(data)
    head = json.dumps(header).encode()
    return b"".join([struct.pack("<I", len(head)), head, *parts])


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """What `pack` was given; numbers are read-only views of `data`."""
    (length,) = struct.unpack_from("<I", data)
    start = 4 + length
    tensors: dict[str, np.ndarray] = {}
    for name, dtype, shape, size in json.loads(data[4:start]):
        part = memoryview(data)[start : start + size]
        if dtype == _TEXT:
            tensors[name] = np.full(shape, bytes(part), object)
        else:
            tensors[name] = np.frombuffer(part, dtype).reshape(shape)
        start += size
    return tensors
