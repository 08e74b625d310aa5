"""PyTriton: the whole chain bound to Triton as one function, one instance a worker. It speaks our
contract, so the same client calls it. Run by `benchmarks.peers`."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.chain import Chain, served_chain
from benchmarks.peers import serving
from benchmarks.peers.processes import free_ports
from tryon.contract import ENSEMBLE, ENSEMBLE_INPUTS, ENSEMBLE_OUTPUTS, MAX_BATCH_SIZE


def _bound(chain: Chain) -> Any:
    @batch
    def infer(**tensors: np.ndarray) -> dict[str, np.ndarray]:
        return chain.run(tensors)

    return infer


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
    return Tensor(name=name, dtype=np.bytes_ if dtype == "bytes" else np.dtype(dtype), shape=shape)


if __name__ == "__main__":
    options = serving.arguments()
    serving.end_with_parent()
    http, metrics = free_ports(2)
    config = TritonConfig(
        http_address="127.0.0.1", http_port=http, grpc_address="127.0.0.1",
        grpc_port=options.port, metrics_port=metrics, allow_gpu_metrics=False,
    )  # fmt: skip
    chains = [served_chain(options.repository, options.threads) for _ in range(options.workers)]
    with Triton(config=config) as triton:
        triton.bind(
            model_name=ENSEMBLE,
            infer_func=[_bound(chain) for chain in chains],
            inputs=[_tensor(t.name, t.dtype, t.shape) for t in ENSEMBLE_INPUTS],
            outputs=[_tensor(t.name, t.dtype, t.shape) for t in ENSEMBLE_OUTPUTS],
            # People of different sizes don't fit into one batch, and a request waits for nobody.
            config=ModelConfig(
                max_batch_size=MAX_BATCH_SIZE,
                batcher=DynamicBatcher(max_queue_delay_microseconds=0),
            ),
        )
        triton.serve()
