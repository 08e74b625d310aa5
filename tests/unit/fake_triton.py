"""A server in this process that speaks Triton's gRPC service, for tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tryon_client import wire


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Paints the middle of the person red and answers as the ensemble does."""

    def __init__(self) -> None:
        self.version: str | None = wire.CONTRACT_VERSION
        self.fail: tuple[grpc.StatusCode, str] | None = None
        self.delay = 0.0
        self.confidence = 0.75
        self.crop_answer = 0
        self.requests: list[SimpleNamespace] = []
        self.config_calls = 0
        self.served = 0

    def ModelConfig(self, request: Any, context: Any) -> Any:
        self.config_calls += 1
        response = service_pb2.ModelConfigResponse()
        response.config.name = request.name
        if self.version is not None:
            response.config.parameters["contract_version"].string_value = self.version
        return response

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51.0")

    def ModelStatistics(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelStatisticsResponse()
        for name, ms in (("tryon", 50), ("decode", 7)):
            model = response.model_stats.add(name=name)
            # An earlier, slow call: must not weigh on the difference.
            model.inference_stats.success.count = 1 + self.served
            model.inference_stats.success.ns = 900_000_000 + self.served * ms * 1_000_000
        response.model_stats.add(name="idle")
        return response

    def ModelInfer(self, request: Any, context: Any) -> Any:
        tensors = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            if tensor.datatype == "UINT8":
                tensors[tensor.name] = np.frombuffer(raw, np.uint8).reshape(tensor.shape)
            else:
                assert tensor.datatype == "BYTES" and list(tensor.shape) == [1, 1]
                assert int.from_bytes(raw[:4], "little") == len(raw) - 4
                tensors[tensor.name] = raw[4:].decode()
        self.requests.append(SimpleNamespace(model=request.model_name, **tensors))
        time.sleep(self.delay)
        if self.fail:
            context.abort(*self.fail)
        person = tensors["person"][0]
        picture, mask = answer(person)
        if self.crop_answer:
            picture = picture[self.crop_answer :]
        self.served += 1
        response = service_pb2.ModelInferResponse(model_name="tryon")
        for name, array in (
            ("confidence", np.array([[self.confidence]], np.float32)),
            ("picture", picture[None]),
            ("mask", mask[None]),
        ):
            datatype = "FP32" if name == "confidence" else "UINT8"
            response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
        return response


def answer(person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A red block with a soft left edge, blended as the composite blends."""
    height, width = person.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    mask[height // 4 : height // 2, width // 4] = 128
    m = mask[..., None] / 255
    picture = np.rint(m * np.array([255, 0, 0]) + (1 - m) * person[..., :3]).astype(np.uint8)
    return picture, mask


@contextlib.contextmanager
def serve(fake: FakeTriton, port: int = 0) -> Iterator[tuple[FakeTriton, str]]:
    """The server and its address; port 0 takes a free one."""
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(4), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield fake, f"127.0.0.1:{port}"
    finally:
        server.stop(0)
