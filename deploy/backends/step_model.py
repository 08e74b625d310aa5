"""Triton Python backend: one of the steps around the networks (`tryon.steps`).

`python -m export` copies this file into each step's version folder as `model.py`. The project's
`tryon` package must be importable in the server (PYTHONPATH).
"""

import contextlib
import json
import os
import traceback
from pathlib import Path

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from tryon import contract
from tryon.errors import RequestError
from tryon.steps.served import load_step
from tryon.steps.under_way import UnderWay

cv2.setNumThreads(1)  # small pictures: threads would cost more than they save


def stay_on(core):
    """Keeps this process on the first or second core of exactly two; elsewhere it may move."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 2:
        os.sched_setaffinity(0, {cores[core]})


class TritonPythonModel:
    """Triton's interface: one instance per model instance, in a process of its own."""

    def initialize(self, args):
        self._name = args["model_name"]
        parameters = json.loads(args["model_config"]).get("parameters", {})
        if "core" in parameters:
            stay_on(int(parameters["core"]["string_value"]))
        self._contract = contract.model(self._name)
        folder = Path(os.path.join(args["model_repository"], args["model_version"]))
        self._step = load_step(self._name, folder)
        instance = int(args["model_instance_name"].rpartition("_")[2])
        self._under_way = UnderWay(self._name, instance)
        self._warm_up()

    def _warm_up(self):
        """Runs once on blank tensors, so that the first request finds everything imported."""
        inputs = {}
        for tensor in self._contract.inputs:
            shape = (1, *(256 if d < 0 else d for d in tensor.shape))
            inputs[tensor.name] = np.zeros(
                shape, object if tensor.dtype == "bytes" else tensor.dtype
            )
        # No ID and no action: a warm-up neither keeps nor looks for anything.
        special = {"category": b"upper", "prompt": b"a shirt", "new_id": b"", "garment_id": b"",
                   "action": b""}  # fmt: skip
        for name, value in special.items():
            if name in inputs:
                inputs[name] = np.full((1, 1), value, object)
        for name in ("person", "garment", "cloth"):
            if name in inputs:
                inputs[name] = np.zeros((1, 256, 192, 3), np.uint8)
        if "canvas_size" in inputs:
            inputs["canvas_size"] = np.array([contract.CANVAS_SIZES[0]], np.int32)
        if "frame_size" in inputs:
            inputs["frame_size"] = np.array([contract.OUTPUT_SIZES[1]], np.int32)
        if self._name == "paste":
            size = inputs["patch_mask"].shape
            inputs["patch_box"] = np.array([[0, 0, size[2], size[1]]], np.int32)
        with contextlib.suppress(RequestError):  # a blank picture shows nobody
            self._step(inputs)

    def execute(self, requests):
        with self._under_way:
            return [self._answer(request) for request in requests]

    def _answer(self, request):
        try:
            inputs = {
                t.name: pb_utils.get_input_tensor_by_name(request, t.name).as_numpy()
                for t in self._contract.inputs
            }
            outputs = self._step(inputs)
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor(t.name, outputs[t.name]) for t in self._contract.outputs]
            )
        except RequestError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        except Exception as error:  # one request's failure must not end the process
            pb_utils.Logger.log_error(f"{self._name}: {traceback.format_exc()}")
            message = f"[INTERNAL] {self._name}: {type(error).__name__}: {str(error)[:300]}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
