"""What the generator predicts on the way to its picture, of a photo that goes the served road."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
from torch import Tensor

from tryon.models.generator import Generator
from tryon.pipeline import TryOnPipeline


def predictions(
    pipeline: TryOnPipeline, photo: np.ndarray, category: str
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """The generator's maps (as `Generator.predict` names them) and every tensor of the contract.

    Args:
        pipeline: its generator is listened to, and left as it was.
        photo: uint8 (H, W, 3), tried on with the words "a t-shirt".
        category: "upper", "lower" or "dress".

    Raises:
        tryon.errors.RequestError: the photo can't be tried on.
    """
    with listening(pipeline) as seen:
        tensors = pipeline(photo, None, "a t-shirt", category).tensors
    return seen, tensors


@contextmanager
def listening(pipeline: TryOnPipeline) -> Iterator[dict[str, Tensor]]:
    """What the generator predicts in the try-ons within, the last one's maps; it is left as it
    was."""
    seen: dict[str, Tensor] = {}
    generator = cast(Generator, pipeline.models["generator"])
    predict = generator.predict

    def listen(*arguments: object, **named: object) -> dict[str, Tensor]:
        out = predict(*arguments, **named)  # type: ignore[arg-type]
        seen.update(out)
        return out

    generator.predict = listen  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del generator.predict
