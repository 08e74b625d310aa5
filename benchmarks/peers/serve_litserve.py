"""LitServe before ONNX Runtime: `setup` loads, `predict` runs; pixels go in as base64 in JSON, as
its documentation sends pictures, and come out as plain bytes. Run by `benchmarks.peers`."""

import base64
from pathlib import Path

import litserve as ls
import numpy as np
from fastapi import Response

from benchmarks.chain import served_chain
from benchmarks.peers import serving
from benchmarks.peers.frame import pack, unpack


class TryOnAPI(ls.LitAPI):
    """The whole chain as one model; each worker has its own."""

    def __init__(self, repository: Path, threads: int) -> None:
        super().__init__()
        self._repository, self._threads = repository, threads

    def setup(self, device: str) -> None:
        """Loads the chain once a worker."""
        self.chain = served_chain(self._repository, self._threads)

    # LitServe reads the annotations: without one a request is JSON.
    def decode_request(self, request) -> dict[str, np.ndarray]:
        """The request's tensors."""
        return unpack(base64.b64decode(request["tensors"]))

    def predict(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the chain."""
        return self.chain.run(values)

    def encode_response(self, made: dict[str, np.ndarray]) -> Response:
        """The answer's tensors."""
        return Response(content=pack(made), media_type="application/octet-stream")


if __name__ == "__main__":
    options = serving.arguments()
    serving.end_with_parent()
    server = ls.LitServer(
        TryOnAPI(options.repository, options.threads), accelerator="cpu", devices=1,
        workers_per_device=options.workers, timeout=60,
    )  # fmt: skip
    server.run(
        host="127.0.0.1", port=options.port, num_api_servers=1, log_level="warning",
        generate_client_file=False,
    )  # fmt: skip
