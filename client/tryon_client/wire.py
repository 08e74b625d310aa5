"""Requests and answers of the served ensemble as Triton's protobuf messages.

gRPC channels and stubs may be shared by threads (tritonclient's own client objects may not), so the
messages are built here from tritonclient's protobuf and sent over a plain channel.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tryon_client.errors import InvalidRequest, TryOnError, WrongModelVersion

MODEL = "tryon"
ADD_MODEL, LIVE_MODEL, WARDROBE_MODEL = "wardrobe_add", "tryon_live", "wardrobe"
FOLLOW_MODEL = "tryon_follow"
CONTRACT_VERSION = "7"
"""The version of the contract that this client speaks."""
CATEGORIES = ("upper", "lower", "dress")
MAX_PROMPT_CHARACTERS = 512
_NO_GARMENT = np.zeros((1, 1, 1), np.uint8)
TRACK = np.zeros(10, np.float32)
"""The `track` of a frame before which there was none."""
LONGEST_GAP = 1.0
"""Seconds after which an earlier frame says nothing of this one."""
POSE = (39, 5)
"""Shape of `landmarks`, BlazePose's points."""
_OUTPUTS = (("picture", np.uint8), ("mask", np.uint8), ("confidence", np.float32))


def channel_options(url: str) -> list[tuple[str, Any]]:
    """Options of the channel: large messages, quick reconnection, no proxy to this machine."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # A server that was just started is found at once, not after gRPC's 20 s of patience.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # No retries behind the caller's back: a call is sent once.
        ("grpc.enable_retries", 0),
    ]
    if url.rsplit(":", 1)[0] in ("localhost", "127.0.0.1", "[::1]"):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def check_url(url: str) -> str:
    """`url` as host:port. Raises InvalidRequest for anything else."""
    if isinstance(url, str) and "://" not in url and "/" not in url:
        host, colon, port = url.rpartition(":")
        if colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return url
    raise InvalidRequest(f"server address {url!r}: give host:port, like localhost:8001")


def stub(channel: Any) -> Any:
    """Triton's inference service on a channel (sync or asyncio)."""
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def infer_request(
    person: np.ndarray, garment: np.ndarray | None, prompt: str, category: str
) -> Any:
    """ModelInferRequest for one picture.

    Args:
        person: uint8 (H, W, 3).
        garment: uint8 (H, W, 3 or 4), or None.
        prompt: may be empty.
        category: one of CATEGORIES.
    """
    cloth = _NO_GARMENT if garment is None else garment
    given: dict[str, np.ndarray | str]
    given = {"person": person, "garment": cloth, "prompt": prompt, "category": category}
    return _request(MODEL, given, [name for name, _ in _OUTPUTS])


def add_request(
    garment: np.ndarray | None, prompt: str, category: str, frame_size: tuple[int, int]
) -> Any:
    """ModelInferRequest that keeps a garment; the arguments as for `infer_request`, and height and
    width of the frames to come."""
    cloth = _NO_GARMENT if garment is None else garment
    given: dict[str, np.ndarray | str]
    given = {"garment": cloth, "prompt": prompt, "category": category,
             "frame_size": np.array(frame_size, np.int32)}  # fmt: skip
    return _request(ADD_MODEL, given, ["garment_id"])


def live_request(
    person: np.ndarray, garment_id: str, track: np.ndarray, elapsed: float, follow: bool = False
) -> Any:
    """ModelInferRequest for one frame in a kept garment.

    Args:
        person: uint8 (H, W, 3).
        garment_id: that `add_request` was answered.
        track: float32 (10,), the `tracked` of an earlier frame's answer.
        elapsed: seconds since that frame; 0 where there was none.
        follow: the person is where the track leads, so that nobody waits for the detector; for
            `elapsed` above 0 and at most LONGEST_GAP. Where it is not so, the answer is none:
            `was_there` tells.
    """
    given: dict[str, np.ndarray | str]
    given = {"person": person, "garment_id": garment_id, "track": track.astype(np.float32),
             "elapsed": np.array([elapsed], np.float32)}  # fmt: skip
    outputs = [*(name for name, _ in _OUTPUTS), "tracked", "landmarks"]
    return _request(FOLLOW_MODEL if follow else LIVE_MODEL, given, outputs)


def wardrobe_request(action: str, garment_id: str = "") -> Any:
    """ModelInferRequest that lists what is kept (list), or forgets a garment (remove)."""
    given: dict[str, np.ndarray | str] = {"action": action, "garment_id": garment_id}
    return _request(WARDROBE_MODEL, given, ["entries"])


_DATATYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


def _request(model: str, given: Mapping[str, np.ndarray | str], wanted: Sequence[str]) -> Any:
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, value in given.items():
        if isinstance(value, str):
            data = value.encode()
            request.inputs.add(name=name, datatype="BYTES", shape=(1, 1))
            request.raw_input_contents.append(struct.pack("<I", len(data)) + data)
        else:
            datatype = _DATATYPES[value.dtype.name]
            request.inputs.add(name=name, datatype=datatype, shape=(1, *value.shape))
            request.raw_input_contents.append(value.tobytes())
    for name in wanted:
        request.outputs.add(name=name)
    return request


def parse_response(response: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """Picture uint8 `shape` (H, W, 3), mask uint8 (H, W) and confidence of an answer.

    Raises TryOnError where the answer has other tensors than the contract's.
    """
    pairs = zip(response.outputs, response.raw_output_contents, strict=False)
    found = {o.name: (o, raw) for o, raw in pairs}
    expected = {"picture": (1, *shape), "mask": (1, *shape[:2]), "confidence": (1, 1)}
    arrays = []
    for name, dtype in _OUTPUTS:
        if name not in found:
            raise TryOnError(f"the server's answer has no output {name!r}")
        output, raw = found[name]
        got = tuple(output.shape)
        datatype = "FP32" if dtype is np.float32 else "UINT8"
        size = int(np.prod(expected[name])) * np.dtype(dtype).itemsize
        if got != expected[name] or output.datatype != datatype or len(raw) != size:
            raise TryOnError(
                f"the server's output {name!r} is {output.datatype} {got}, "
                f"expected {datatype} {expected[name]}"
            )
        arrays.append(np.frombuffer(raw, dtype).reshape(expected[name])[0])
    confidence = min(max(float(arrays[2][0]), 0.0), 1.0)
    return arrays[0], arrays[1], confidence


def parse_tracked(response: Any) -> np.ndarray:
    """`tracked`, float32 (10,), of a `live_request`'s answer. Raises TryOnError."""
    raw = _raw(response, "tracked")
    if len(raw) != TRACK.nbytes:
        raise TryOnError(f"the server's output 'tracked' has {len(raw)} bytes, not {TRACK.nbytes}")
    return np.frombuffer(raw, np.float32)


def was_there(response: Any) -> bool:
    """Whether the answer to a `live_request` that follows somebody is of that person. Raises
    TryOnError."""
    return bool(parse_tracked(response)[4] > 0)


def parse_pose(response: Any) -> np.ndarray:
    """`landmarks`, float32 (39, 5), of a `live_request`'s answer. Raises TryOnError."""
    raw = _raw(response, "landmarks")
    if len(raw) != 4 * POSE[0] * POSE[1]:
        raise TryOnError(f"the server's output 'landmarks' has {len(raw)} bytes, not {POSE}")
    return np.frombuffer(raw, np.float32).reshape(POSE)


def parse_texts(response: Any, name: str) -> list[str]:
    """The texts of an output of bytes. Raises TryOnError where it is cut off."""
    raw, texts, at = _raw(response, name), [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        text = raw[at + 4 : at + 4 + size]
        if len(text) != size:
            raise TryOnError(f"the server's output {name!r} is cut off")
        texts.append(text.decode("utf-8", "replace"))
        at += 4 + size
    return texts


def _raw(response: Any, name: str) -> bytes:
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=False):
        if output.name == name:
            return bytes(raw)
    raise TryOnError(f"the server's answer has no output {name!r}")


def config_request(model: str = MODEL) -> Any:
    """Asks for a model's configuration; `tryon`'s, unless another is named."""
    return service_pb2.ModelConfigRequest(name=model)


def check_version(response: Any, url: str) -> None:
    """Raises WrongModelVersion unless the configuration names this client's contract version."""
    parameters = response.config.parameters
    served = parameters["contract_version"].string_value if "contract_version" in parameters else ""
    if served != CONTRACT_VERSION:
        raise WrongModelVersion(
            f"the server at {url} speaks contract version {served or 'unknown'}, this client "
            f"{CONTRACT_VERSION}: install the client that came with the server"
        )


def statistics_request() -> Any:
    """Asks for the statistics of all models."""
    return service_pb2.ModelStatisticsRequest()


def stage_means(after: Any, before: Any | None = None) -> dict[str, float]:
    """Mean milliseconds of each served step, between two ModelStatisticsResponses.

    Without `before`: since the server started. Steps that did not run in between are left out. A
    step's time includes its wait in the queue. The ensemble as a whole goes by "server".
    """
    earlier = {m.name: m.inference_stats.success for m in before.model_stats} if before else {}
    means = {}
    for model in after.model_stats:
        total = model.inference_stats.success
        count, ns = total.count, total.ns
        if model.name in earlier:
            count, ns = count - earlier[model.name].count, ns - earlier[model.name].ns
        if count > 0:
            name = "server" if model.name == MODEL else f"server.{model.name}"
            means[name] = ns / count / 1e6
    return means
