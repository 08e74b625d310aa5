"""A garment's kept tensors as one value of a store, and back."""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tryon.contract import CANVAS_SIZES, KEPT

Features = dict[str, np.ndarray]
"""The contract's KEPT tensors by name, without the batch axis."""


def pack(features: Features) -> bytes:
    """A value of a store: the tensors in the safetensors format, their bytes as they are."""
    return save({t.name: np.ascontiguousarray(features[t.name]) for t in KEPT})


def unpack(value: bytes) -> Features | None:
    """The tensors of a value; None where it is damaged, or holds others than the contract's."""
    try:
        found: Features = load(value)
    except (SafetensorError, KeyError, ValueError):
        return None
    for tensor in KEPT:
        array = found.get(tensor.name)
        if array is None or array.dtype != np.dtype(tensor.dtype):
            return None
        if array.ndim != len(tensor.shape):
            return None
        if any(d not in (-1, n) for d, n in zip(tensor.shape, array.shape, strict=True)):
            return None
    return found if found["canvas"].shape[1:] in CANVAS_SIZES else None
