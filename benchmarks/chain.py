"""The bare chain: the served ONNX files and the served Python steps, in this process, no server.

What a server is measured against: the same files, the same numpy functions, all cores for each
network in turn, no copies between processes and nothing on the wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from benchmarks.inputs import Inputs, tensors
from tryon.contract import ENSEMBLE_OUTPUTS, ENSEMBLE_STEPS, Model, model
from tryon.steps.served import load_step

Values = dict[str, np.ndarray]
Step = Callable[[Values], Values]
"""Takes and returns a model's tensors by name, with the batch axis in front."""


class Chain:
    """Steps that run one after the other in this process; each sees the tensors of those before.

    Args:
        steps: (name, step), in their order.
        threads: of each ONNX Runtime session, for the record.
    """

    def __init__(self, steps: Iterable[tuple[str, Step]], threads: int) -> None:
        self._steps = list(steps)
        self.threads = threads
        self.reset_times()

    def try_on(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray, float]:
        """Picture uint8 (H, W, 3), mask uint8 (H, W), confidence."""
        made = self.run(tensors(inputs))
        return made["picture"][0], made["mask"][0], float(made["confidence"][0, 0])

    def run(self, given: Values) -> Values:
        """The ensemble's output tensors of its input tensors, a batch of any size."""
        values = self.everything(given)
        return {tensor.name: values[tensor.name] for tensor in ENSEMBLE_OUTPUTS}

    def everything(self, given: Values) -> Values:
        """Every tensor on the way too, by its name in the contract."""
        values = dict(given)
        last = time.perf_counter()
        for name, step in self._steps:
            values.update(step(values))
            now = time.perf_counter()
            self._times[name] += now - last
            last = now
        self._calls += 1
        return values

    def reset_times(self) -> None:
        """Forgets the steps' times."""
        self._times = dict.fromkeys((name for name, _ in self._steps), 0.0)
        self._calls = 0

    def mean_times(self) -> dict[str, float]:
        """Mean milliseconds of each step, since the last reset."""
        return {name: s * 1e3 / max(self._calls, 1) for name, s in self._times.items()}


def served_chain(repository: Path, threads: int) -> Chain:
    """The ensemble's steps, as they are served from a model repository of target `cpu`.

    Args:
        repository: holds NAME/1/model.onnx of each network.
        threads: of each ONNX Runtime session.

    Raises FileNotFoundError where the repository lacks a model's file.
    """
    cv2.setNumThreads(1)  # as in the server's steps
    steps: list[tuple[str, Step]] = []
    for step in ENSEMBLE_STEPS:
        served, folder = model(step.model), repository / step.model / "1"
        if served.kind == "onnx":
            steps.append((served.name, network(served, folder / "model.onnx", threads)))
        else:
            steps.append((served.name, load_step(served.name, folder)))
    return Chain(steps, threads)


def network(served: Model, path: Path, threads: int) -> Step:
    """An ONNX file as a step."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `make export`")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")  # as the server's
    session: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return step_of(served, session)


def step_of(served: Model, session: Any) -> Step:
    """An ONNX Runtime session as a step."""
    makes = [t.name for t in served.outputs]
    # A tensor that the trace found unused is not among the file's inputs.
    takes = [i.name for i in session.get_inputs()]

    def run(values: Values) -> Values:
        found = session.run(makes, {name: values[name] for name in takes})
        return dict(zip(makes, found, strict=True))

    return run
