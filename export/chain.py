"""The ensemble's steps from any tensor on: what changes behind it, and nothing else, runs again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from export.parity import session
from tryon.contract import MODELS, Model
from tryon.steps.served import load_step

Tensors = dict[str, np.ndarray]
Network = Callable[[Tensors], Tensors]
"""A network's outputs by name, of its inputs among the tensors given."""


def onnx_network(model: Model, path: Path) -> Network:
    """An ONNX file as a network of a chain."""
    running = session(path)
    names = [t.name for t in model.outputs]

    def run(tensors: Tensors) -> Tensors:
        values = running.run(names, {t.name: tensors[t.name] for t in model.inputs})
        return dict(zip(names, values, strict=True))

    return run


def run_chain(
    networks: Mapping[str, Network], tensors: Mapping[str, np.ndarray], changed: Collection[str],
    without: Collection[str] = (), first: str = "",
) -> Tensors:  # fmt: skip
    """All tensors of a request, anew where they depend on what changed.

    Args:
        networks: by served name.
        tensors: of a whole request (`TryOn.tensors`), batch in front; those of `changed` new.
        changed: names of tensors.
        without: served models to leave as they were, whatever changed.
        first: a served model that runs anew in any case.

    Raises:
        tryon.errors.RequestError: a step refuses what it now sees.
    """
    known, new = dict(tensors), set(changed)
    for model in MODELS:
        touched = bool(new & {t.name for t in model.inputs}) or model.name == first
        if model.name == "decode" or model.name in without or not touched:
            continue
        inputs = {t.name: known[t.name] for t in model.inputs}
        run = networks[model.name] if model.kind == "onnx" else load_step(model.name)
        for name, value in run(inputs).items():
            if name not in known or not np.array_equal(known[name], value):
                new.add(name)
            known[name] = value
    return known
