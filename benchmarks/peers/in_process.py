"""Peers within the benchmark's own process: torch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.inputs import Inputs
from benchmarks.peers.processes import Answer, PeerError
from tryon.models.system import WeightsError
from tryon.pipeline import TryOnPipeline


def torch_peer(threads: int, compiled: bool) -> Callable[[Inputs], Answer]:
    """The torch pipeline, with what PyTorch's own guide to inference on CPUs advises: no gradients,
    channels last, as many threads as are asked for.

    Args:
        threads: of torch's operators.
        compiled: each network through torch.compile. Its first calls compile, for minutes.

    Raises PeerError: no weights, or (when called) torch.compile can't.
    """
    try:
        pipeline = TryOnPipeline()
    except WeightsError as error:
        raise PeerError(str(error)) from None
    for module in pipeline.models.values():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):  # other parts hold tensors that have no channels
                laid: Any = part
                laid.to(memory_format=torch.channels_last)
        if compiled:
            module.compile()

    def call(inputs: Inputs) -> Answer:
        torch.set_num_threads(threads)
        # torch takes no read-only arrays.
        person, garment = np.array(inputs.person), np.array(inputs.garment)
        try:
            with torch.inference_mode():
                made = pipeline(person, garment, inputs.prompt, inputs.category)
        except torch._dynamo.exc.TorchDynamoException as error:
            line = str(error).strip().splitlines()[0]
            raise PeerError(f"peer torch_compile can't compile: {line}") from None
        return made.picture, made.mask, made.confidence

    return call
