"""Where a broken bound of the gate begins: the words for it, found by bisection."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from export import bisection, parity, runner
from export.parity import Sets
from export.precision import Loss
from tryon.contract import Model


def explain(
    model: Model, module: nn.Module, files: Mapping[str, Path], sets: Sets, trt: Any = None
) -> Callable[[Loss], str]:  # fmt: skip
    """For `precision.require`: where a broken bound begins, by bisection.

    Args:
        model, module, files, sets, trt: of `staged`.
    """

    def told(row: Loss) -> str:
        inputs = sets[row.inputs]
        base = next(iter(files))
        if row.stage == base:
            return _first_module(model, module, files[base], inputs, row.tensor)
        if row.stage == "engine":  # against the file that it was built from
            taken = list(files.values())[-1]
            with tempfile.TemporaryDirectory() as folder:
                parting = bisection.first_parting(
                    taken, taken, inputs, model.name, module,
                    compute=runner.Tapped(trt, model, Path(folder)),
                )  # fmt: skip
        else:
            parting = bisection.first_parting(
                files[base], files[row.stage], inputs, model.name, module
            )  # fmt: skip
        return f"; {parting}" if parting else "; each tensor by itself keeps within the band"

    return told


def explain_onnx(
    model: Model, module: nn.Module, path: Path, sets: Sets
) -> Callable[[parity.Row], str]:
    """For `parity.require`: where the ONNX file leaves the torch network."""
    return lambda row: _first_module(model, module, path, sets[row.inputs], row.tensor)


def _first_module(
    model: Model, module: nn.Module, path: Path, inputs: Mapping[str, np.ndarray], tensor: str
) -> str:
    order = [t.name for t in model.inputs]
    parting = bisection.first_module(path, inputs, order, model.name, module)
    if parting:
        return f"; {parting}"
    node = bisection.maker(path, tensor)
    return (f"; each module's answer keeps within the band, so it is made between them, before "
            f"node {node!r} of module {model.name} itself")  # fmt: skip
