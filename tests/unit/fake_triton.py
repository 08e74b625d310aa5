"""A server in this process that speaks Triton's gRPC service, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tryon.contract import ENSEMBLES, Ensemble, model
from tryon_client import wire

LIVE = (wire.LIVE_MODEL, wire.FOLLOW_MODEL)
NUMBERS = {"UINT8": np.uint8, "INT32": np.int32, "FP32": np.float32}


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Paints the middle of the person red and answers as the ensembles do.

    `kept` holds the garments of its wardrobe by ID, for frames of any size; `tracked` is what it
    answers of where the person was, `pose` of how they stand, `networks` what its IDs begin with.
    """

    def __init__(self) -> None:
        self.version: str | None = wire.CONTRACT_VERSION
        self.fail: tuple[grpc.StatusCode, str] | None = None
        self.gone = False  # who is followed is not where they were
        self.delay = 0.0
        self.add_delay = 0.0
        self.confidence = 0.75
        self.crop_answer = 0
        self.requests: list[SimpleNamespace] = []
        self.config_calls = 0
        self.served = 0
        self.kept: dict[str, SimpleNamespace] = {}
        self.wardrobe_away = False
        self.tracked = np.arange(10, dtype=np.float32)
        self.pose = np.zeros((39, 5), np.float32)
        self.others, self.networks = 0, "0123abcd"

    def ModelConfig(self, request: Any, context: Any) -> Any:
        self.config_calls += 1
        response = service_pb2.ModelConfigResponse()
        response.config.name = request.name
        for ensemble in ENSEMBLES:
            if ensemble.name == request.name:
                _plan(response.config, ensemble)
        if self.version is not None:
            response.config.parameters["contract_version"].string_value = self.version
        return response

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51.0")

    def ModelStatistics(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelStatisticsResponse()
        for name, ms in (("tryon", 50), ("decode", 7)):
            stats = response.model_stats.add(name=name).inference_stats
            # An earlier, slow call: must not weigh on the difference.
            stats.success.count = 1 + self.served
            stats.success.ns = 900_000_000 + self.served * ms * 1_000_000
        response.model_stats.add(name="idle")
        calls: Counter[tuple[str, int]] = Counter()
        for ensemble in ENSEMBLES[1:]:
            own = sum(asked.model == ensemble.name for asked in self.requests)
            for told in ((ensemble.name, 40), *((s.model, 5) for s in ensemble.steps)):
                calls[told] += own * (1 + self.others)
        for (name, ms), count in calls.items():
            if count > 0:
                stats = response.model_stats.add(name=name).inference_stats
                stats.success.count = count
                stats.success.ns = count * ms * 1_000_000
                stats.queue.ns = count * 1_000_000
        return response

    def ModelInfer(self, request: Any, context: Any) -> Any:
        tensors = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            if tensor.datatype in NUMBERS:
                array = np.frombuffer(raw, NUMBERS[tensor.datatype]).reshape(tensor.shape)
                tensors[tensor.name] = array
            else:
                assert tensor.datatype == "BYTES" and list(tensor.shape) == [1, 1]
                assert int.from_bytes(raw[:4], "little") == len(raw) - 4
                tensors[tensor.name] = raw[4:].decode()
        asked = SimpleNamespace(model=request.model_name, **tensors)
        self.requests.append(asked)
        if request.model_name != "tryon" and self.wardrobe_away:
            context.abort(grpc.StatusCode.INTERNAL, "x: [WARDROBE_AWAY] the wardrobe is away")
        if request.model_name == "wardrobe_add":
            time.sleep(self.delay + self.add_delay)
            return self._add(asked)
        if request.model_name == "wardrobe":
            return self._wardrobe(asked)
        if request.model_name in LIVE and asked.garment_id not in self.kept:
            context.abort(grpc.StatusCode.INTERNAL, "x: [UNKNOWN_GARMENT] garment_id: not kept")
        time.sleep(self.delay)
        if self.fail and not (self.gone and request.model_name == wire.FOLLOW_MODEL):
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
        if request.model_name in LIVE:
            response.outputs.add(name="tracked", datatype="FP32", shape=(1, 10))
            gone = self.gone and request.model_name == wire.FOLLOW_MODEL
            response.raw_output_contents.append((self.tracked * (not gone)).tobytes())
            response.outputs.add(name="landmarks", datatype="FP32", shape=(1, 39, 5))
            response.raw_output_contents.append(self.pose.astype(np.float32).tobytes())
        return response

    def _add(self, asked: SimpleNamespace) -> Any:
        told = repr((asked.garment.tobytes(), asked.garment.shape, asked.prompt, asked.category))
        name = f"{self.networks}-{hashlib.md5(told.encode()).hexdigest()}"
        self.kept[name] = asked
        return texts("garment_id", [name])

    def _wardrobe(self, asked: SimpleNamespace) -> Any:
        names = list(self.kept) if asked.action == "list" else [asked.garment_id]
        found = {name: self.kept[name] for name in names if name in self.kept}
        if asked.action == "remove":
            self.kept.pop(asked.garment_id, None)
        return texts("entries", [
            json.dumps({"id": name, "category": one.category, "prompt": one.prompt,
                        "canvas": [384, 288], "bytes": 1034336, "added": 1.8e9})
            for name, one in found.items()
        ])  # fmt: skip

    def worn(self) -> list[SimpleNamespace]:
        """Of each frame that was sent: model, prompt, category and garment."""
        found = []
        for asked in self.requests:
            if asked.model == "tryon":
                found.append(asked)
            elif asked.model in LIVE and asked.garment_id in self.kept:
                found.append(self.kept[asked.garment_id])
        return found


def _plan(config: Any, ensemble: Ensemble) -> None:
    for step in ensemble.steps:
        added = config.ensemble_scheduling.step.add(model_name=step.model)
        served = model(step.model)
        for tensor in served.inputs:
            added.input_map[tensor.name] = tensor.name
        for tensor in served.outputs:
            added.output_map[tensor.name] = tensor.name


def texts(name: str, values: list[str]) -> Any:
    """An answer with one output of bytes."""
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name=name, datatype="BYTES", shape=(1, len(values)))
    raw = [value.encode() for value in values]
    response.raw_output_contents.append(b"".join(len(r).to_bytes(4, "little") + r for r in raw))
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
