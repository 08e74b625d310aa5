"""The steps by their served names, on batched tensors as Triton passes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tryon.contract import model
from tryon.errors import BadShape

Step = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Takes and returns the contract's tensors of a model by name, with the batch axis in front."""


def load_step(name: str, folder: Path | None = None) -> Step:
    """A served step of kind "python".

    Imports only what that step needs: each runs in a process of its own.

    Args:
        name: of the model in the contract.
        folder: where its files lie (`tokenizer.json`, for `decode`).
    """
    one: Callable[..., tuple[np.ndarray, ...]]
    if name == "decode":
        from tryon.steps.decode import decode
        from tryon.steps.tokenizer import Tokenizer

        if folder is None:
            raise ValueError("step decode: give the folder of its tokenizer.json")
        one = partial(decode, tokenizer=Tokenizer(folder))
    elif name == "cutout":
        from tryon.steps.garment import cutout as one
    elif name == "crop":
        from tryon.steps.crop import crop as one
    elif name == "paste":
        from tryon.steps.paste import paste as one
    else:
        raise KeyError(f"no step {name!r}; there are decode, cutout, crop, paste")
    return _batched(name, one)


def _batched(name: str, one: Callable[..., tuple[np.ndarray, ...]]) -> Step:
    contract = model(name)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        columns = []
        for tensor in contract.inputs:
            value = inputs[tensor.name]
            # A text is one element; the step takes it as bytes.
            columns.append(value.reshape(-1) if tensor.dtype == "bytes" else value)
        rows = [one(*row) for row in zip(*columns, strict=True)]
        outputs = {}
        for i, tensor in enumerate(contract.outputs):
            values = [row[i] for row in rows]
            if len(values) == 1:
                outputs[tensor.name] = values[0][None]
                continue
            if tensor.name in ("input_ids", "attention_mask"):
                values = _padded(values)
            shapes = {v.shape for v in values}
            if len(shapes) > 1:
                raise BadShape(
                    f"batch of {len(values)}: its people, and its garments, must each have one "
                    f"size (`{tensor.name}` would have several): send them one by one"
                )
            outputs[tensor.name] = np.stack(values)
        return outputs

    return run


def _padded(rows: list[np.ndarray]) -> list[np.ndarray]:
    """Rows (n,) of several lengths with zeros behind, as long as the longest: [PAD], not seen."""
    longest = max(len(row) for row in rows)
    return [np.pad(row, (0, longest - len(row))) for row in rows]
