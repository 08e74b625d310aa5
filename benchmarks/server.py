"""A try-on server as the benchmark calls it, and where it comes from."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks.inputs import Inputs
from deploy.embedded import EmbeddedServer
from tryon_client import ServerUnavailable, TryOnClient, wire

TIMEOUT = 60.0


class Server:
    """Arrays in, arrays out, over gRPC."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._channel = grpc.insecure_channel(url, options=wire.channel_options(url))
        self._stub = wire.stub(self._channel)

    def try_on(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray, float]:
        """Picture uint8 (H, W, 3), mask uint8 (H, W), confidence."""
        message = wire.infer_request(inputs.person, inputs.garment, inputs.prompt, inputs.category)
        return wire.parse_response(self.send(message), inputs.person.shape)

    def send(self, message: Any) -> Any:
        """Sends a ModelInferRequest; its ModelInferResponse. Raises grpc.RpcError."""
        return self._stub.ModelInfer(message, timeout=TIMEOUT)

    def statistics(self) -> Any:
        """All models' statistics since the server started."""
        return self._stub.ModelStatistics(wire.statistics_request(), timeout=10)

    def bytes_of(self, inputs: Inputs) -> tuple[int, int]:
        """Bytes of a request and of its answer, without gRPC's own framing."""
        message = wire.infer_request(inputs.person, inputs.garment, inputs.prompt, inputs.category)
        return int(message.ByteSize()), int(self.send(message).ByteSize())

    def version(self) -> str:
        """Triton's version."""
        request = service_pb2.ServerMetadataRequest()
        return str(self._stub.ServerMetadata(request, timeout=10).version)

    def ready(self) -> bool:
        """Whether the ensemble can be called."""
        request = service_pb2.ModelReadyRequest(name=wire.MODEL)
        return bool(self._stub.ModelReady(request, timeout=2).ready)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


@contextlib.contextmanager
def address_of(url: str | None, repository: Path) -> Iterator[tuple[str, int]]:
    """The address of a server that runs, and 0; or, without one, of an embedded one that is
    started, and its process ID. Raises ServerError."""
    if url:
        yield url, 0
        return
    with EmbeddedServer(repository) as embedded:
        yield embedded.grpc_url, embedded.pid or 0


@contextlib.contextmanager
def server_at(url: str, repository: Path) -> Iterator[tuple[Server, int | None]]:
    """The server at `url`, or else an embedded one, and then its process ID."""
    with contextlib.ExitStack() as stack:
        process = None
        with TryOnClient(url) as client:
            try:
                client.check()
                there = True
            except ServerUnavailable:
                there = False
        if not there:
            print(f"no server at {url}: starting the embedded one", file=sys.stderr)
            embedded = stack.enter_context(EmbeddedServer(repository))
            url, process = embedded.grpc_url, embedded.pid
        server = Server(url)
        stack.callback(server.close)
        yield server, process
