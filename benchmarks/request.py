"""Requests as a scenario wants them sent: raw or JPEG, one person or several."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.inputs import Inputs
from benchmarks.scenario import JPEG_QUALITY
from tryon_client import TryOnError, wire


def as_jpeg(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) as a JPEG file's bytes, uint8 (1, 1, N)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.frombuffer(file.getvalue(), np.uint8).reshape(1, 1, -1)


def encoded(inputs: Inputs, form: str) -> Inputs:
    """The request with its pictures as they travel: "raw" leaves them, "jpeg" encodes both."""
    if form == "raw":
        return inputs
    return replace(inputs, person=as_jpeg(inputs.person), garment=as_jpeg(inputs.garment))


def message(inputs: Inputs, batch: int = 1) -> Any:
    """ModelInferRequest of `batch` people, all the same."""
    request = wire.infer_request(inputs.person, inputs.garment, inputs.prompt, inputs.category)
    if batch > 1:
        for tensor in request.inputs:
            tensor.shape[0] = batch
        request.raw_input_contents[:] = [raw * batch for raw in request.raw_input_contents]
    return request


def parse(response: Any, shape: tuple[int, ...], batch: int = 1) -> list[np.ndarray]:
    """The pictures of an answer, uint8 `shape` each.

    Raises tryon_client.TryOnError where they are of another size.
    """
    if batch == 1:
        return [wire.parse_response(response, shape)[0]]
    names = [output.name for output in response.outputs]
    if "picture" not in names:
        raise TryOnError("the server's answer has no output 'picture'")
    raw = response.raw_output_contents[names.index("picture")]
    if len(raw) != batch * int(np.prod(shape)):
        raise TryOnError(f"the server's pictures have {len(raw)} bytes, not {batch} of {shape}")
    return list(np.frombuffer(raw, np.uint8).reshape(batch, *shape))
