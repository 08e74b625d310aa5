"""The steps by their served names, on batched tensors as Triton passes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tryon.contract import SERVED, WARDROBE_MODELS, model
from tryon.errors import BadShape

Step = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Takes and returns the contract's tensors of a model by name, with the batch axis in front."""


def load_step(name: str, folder: Path | None = None) -> Step:
    """A served step of kind "python".

    Imports only what that step needs: each runs in a process of its own.

    Args:
        name: of the model in the contract.
        folder: where its files lie: `tokenizer.json` for `decode` and `wardrobe_decode`, and the
            version of the networks (`tryon.wardrobe.ident`) for `live_decode` and that too.
    """
    one: Callable[..., tuple[np.ndarray, ...]]
    if name in ("decode", "wardrobe_decode", "live_decode") and folder is None:
        raise ValueError(f"step {name}: give the folder of its files, such as tokenizer.json")
    if name == "decode":
        from tryon.steps.decode import decode
        from tryon.steps.tokenizer import Tokenizer

        assert folder is not None
        one = partial(decode, tokenizer=Tokenizer(folder))
    elif name == "cutout":
        from tryon.steps.garment import cutout as one
    elif name == "crop":
        from tryon.steps.crop import served_crop as one
    elif name == "paste":
        from tryon.steps.paste import paste as one
    elif name == "live_crop":
        from tryon.steps.steady import live_crop as one
    elif name == "predict_crop":
        from tryon.steps.steady import predict_crop as one
    elif name == "update_track":
        from tryon.steps.steady import update_track as one
    elif name in (m.name for m in WARDROBE_MODELS):
        one = _of_the_wardrobe(name, folder)
    else:
        steps = ", ".join(m.name for m in SERVED if m.kind == "python")
        raise KeyError(f"no step {name!r}; there are {steps}")
    return _batched(name, one)


def _of_the_wardrobe(name: str, folder: Path | None) -> Callable[..., tuple[np.ndarray, ...]]:
    from tryon.steps import wardrobe
    from tryon.wardrobe.ident import read_version

    if name == "wardrobe_decode":
        from tryon.steps.tokenizer import Tokenizer

        assert folder is not None
        return partial(wardrobe.wardrobe_decode, tokenizer=Tokenizer(folder),
                       version=read_version(folder))  # fmt: skip
    shelf = wardrobe.Shelf()
    if name == "live_decode":
        assert folder is not None
        return partial(wardrobe.live_decode, shelf=shelf, version=read_version(folder))
    step = wardrobe.wardrobe_keep if name == "wardrobe_keep" else wardrobe.wardrobe
    return partial(step, shelf=shelf)


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
