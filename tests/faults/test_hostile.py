"""Hostile requests: each gets a clear error, and the server answers the next good request."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import service_pb2

from export.samples import samples
from tryon.contract import ENSEMBLES, KEPT, SERVED
from tryon_client import wire

GOOD = next(iter(samples()))
TIMEOUT = 60.0


def file_of(image: np.ndarray, kind: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, kind)
    return data.getvalue()


def as_file(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)[None, None]


FILES = {kind: file_of(GOOD.person, kind) for kind in ("JPEG", "PNG", "WEBP")}


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))


def jpeg_header(width: int, height: int) -> bytes:
    """The sample's JPEG file with another size in its header."""
    data = bytearray(FILES["JPEG"])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def request(person=GOOD.person, garment=GOOD.garment, prompt=b"red", category=b"upper"):
    """A request of raw bytes, so that texts may be no UTF-8."""
    message = wire.infer_request(person, garment, "", "")
    for i, text in ((2, prompt), (3, category)):
        message.raw_input_contents[i] = struct.pack("<I", len(text)) + text
    return message


def edited(**changes):
    """A good request whose tensor `name` has another datatype, shape or raw content."""
    message = request()
    for name, (datatype, shape, raw) in changes.items():
        index = [t.name for t in message.inputs].index(name)
        tensor = message.inputs[index]
        if datatype is not None:
            tensor.datatype = datatype
        if shape is not None:
            del tensor.shape[:]
            tensor.shape.extend(shape)
        if raw is not None:
            message.raw_input_contents[index] = raw
    return message


NAMES = ("person", "garment", "prompt", "category")
SIZES = {"UINT8": 1, "INT8": 1, "BOOL": 1, "FP16": 2, "INT32": 4, "FP32": 4, "INT64": 8, "FP64": 8}


def wrong_dtypes() -> Iterator[tuple[str, object, str]]:
    for name in NAMES:
        for datatype, size in SIZES.items():
            shape = (1, 64, 64, 3) if name in ("person", "garment") else (1, 1)
            if datatype == "UINT8" and name in ("person", "garment"):
                continue
            raw = bytes(int(np.prod(shape)) * size)
            yield f"{name} as {datatype}", edited(**{name: (datatype, shape, raw)}), name
    for name in ("person", "garment"):
        raw = struct.pack("<I", 3) + b"abc"
        yield f"{name} as BYTES", edited(**{name: ("BYTES", (1, 1, 1, 1), raw)}), name
        yield f"{name} as NONSENSE", edited(**{name: ("NONSENSE", None, None)}), name


def wrong_shapes() -> Iterator[tuple[str, object, str]]:
    for name in ("person", "garment"):
        for shape in ((1,), (1, 64), (1, 64, 64), (1, 1, 64, 64, 3), (9, 64, 64, 3), (0, 64, 64, 3),
                      (1, 64, 64, 1), (1, 64, 64, 2), (1, 64, 64, 5), (1, 64, 64, 0),
                      (1, 0, 64, 3), (1, 2, 2, 3), (1, 63, 64, 3)):  # fmt: skip
            raw = bytes(int(np.prod(shape)))
            yield f"{name} of shape {shape}", edited(**{name: (None, shape, raw)}), name
        yield f"{name} with a negative side", edited(**{name: (None, (1, -64, 64, 3), None)}), name
        yield f"{name} with too few bytes", edited(**{name: (None, (1, 64, 64, 3), b"abc")}), name
        yield f"{name} with too many bytes", edited(
            **{name: (None, (1, 64, 64, 3), bytes(99999))}
        ), name  # fmt: skip
        yield f"{name} of an impossible size", edited(
            **{name: (None, (1, 2**31, 2**31, 3), b"abc")}
        ), name  # fmt: skip
    yield "person too wide", request(np.zeros((64, 1537, 3), np.uint8)), "IMAGE_TOO_LARGE"
    yield "person too high", request(np.zeros((1537, 64, 3), np.uint8)), "IMAGE_TOO_LARGE"
    for name in ("prompt", "category"):
        two = struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b"
        for shape, raw in (((1,), None), ((1, 2), two), ((1, 1, 1), None), ((2, 1), two),
                           ((1, 0), b"")):  # fmt: skip
            # Of two that don't fit together, Triton names the other one.
            expected = "batch size does not match" if shape[0] == 2 else name
            yield f"{name} of shape {shape}", edited(**{name: (None, shape, raw)}), expected


def lying_texts() -> Iterator[tuple[str, object, str]]:
    for name in ("prompt", "category"):
        for label, raw in (
            ("nothing", b""), ("half a length", b"\x05\x00"), ("a length alone", b"\x05\0\0\0"),
            ("a length too long", struct.pack("<I", 2**31) + b"abc"),
            ("a length too short", struct.pack("<I", 1) + b"abc"),
        ):  # fmt: skip
            yield f"{name} holds {label}", edited(**{name: (None, None, raw)}), name


def missing_and_unknown() -> Iterator[tuple[str, object, str]]:
    for index, name in enumerate(NAMES):
        message = request()
        del message.inputs[index]
        del message.raw_input_contents[index]
        yield f"no {name}", message, name
    message = request()
    message.inputs.add(name="extra", datatype="UINT8", shape=(1, 1))
    message.raw_input_contents.append(b"a")
    yield "an unknown input", message, "extra"
    message = request()
    message.outputs.add(name="secret")
    yield "an unknown output", message, "secret"
    message = request()
    message.model_name = "nothing"
    yield "an unknown model", message, "nothing"
    message = request()
    message.model_version = "7"
    yield "an unknown version", message, "7"
    message = request()
    del message.raw_input_contents[2:]
    yield "fewer contents than inputs", message, ""
    yield "nothing at all", service_pb2.ModelInferRequest(model_name="tryon"), ""


def bad_files() -> Iterator[tuple[str, object, str]]:
    for field in ("person", "garment"):
        for kind, data in FILES.items():
            for share in (0.02, 0.3, 0.9):
                cut = as_file(data[: int(len(data) * share)])
                yield f"{field}: {kind} cut at {share:.0%}", request(**{field: cut}), "NOT_AN_IMAGE"
        for width, height in ((30_000, 30_000), (2**31 - 1, 2**31 - 1), (65_535, 65_535)):
            bomb = as_file(png_header(width, height))
            yield f"{field}: PNG {width}x{height}", request(**{field: bomb}), "IMAGE_TOO_LARGE"
        bomb = as_file(jpeg_header(65_000, 65_000))
        yield f"{field}: JPEG 65000x65000", request(**{field: bomb}), "IMAGE_TOO_LARGE"
        for label, data in (
            ("empty", b""), ("two bytes", b"\xff\xd8"), ("text", b"hello " * 50),
            ("zeros", bytes(5000)), ("noise", np.random.default_rng(0).bytes(5000)),
            ("GIF", b"GIF89a\x40\0\x40\0\x80\0\0" + bytes(200)), ("SVG", b"<svg/>" * 20),
            ("PDF", b"%PDF-1.7\n" * 20), ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n" * 20),
            ("ZIP", b"PK\x03\x04" + bytes(200)), ("TIFF", b"II*\0" + b"\xff" * 300),
            ("a PNG without data", png_header(100, 100)),
            ("a small PNG", file_of(np.zeros((20, 20, 3), np.uint8), "PNG")),
        ):  # fmt: skip
            code = "IMAGE_TOO_SMALL" if "small" in label else "NOT_AN_IMAGE"
            yield f"{field}: {label}", request(**{field: as_file(data)}), code
    large = as_file(file_of(np.zeros((64, 1600, 3), np.uint8), "PNG"))
    yield "person: a file too wide", request(large), "IMAGE_TOO_LARGE"
    heavy = as_file(bytes(33 * 2**20))
    yield "person: a file of 33 MiB", request(heavy), "IMAGE_TOO_LARGE"


def bad_texts() -> Iterator[tuple[str, object, str]]:
    for prompt in (b"", b" ", b"\n\t ", "\u3000".encode()):
        yield f"nothing to wear, prompt {prompt!r}", request(
            garment=None, prompt=prompt
        ), "NOTHING_TO_WEAR"  # fmt: skip
    for length in (513, 5_000, 100_000, 1_000_000):
        yield f"prompt of {length}", request(prompt=b"x" * length), "PROMPT_TOO_LONG"
    yield "prompt of many shirts", request(prompt="👕".encode() * 513), "PROMPT_TOO_LONG"
    for byte in (*range(1, 9), 11, 12, *range(14, 32), 127, 0):
        prompt = b"red " + bytes([byte]) + b" shirt"
        yield f"prompt with control {byte}", request(prompt=prompt), "BAD_PROMPT"
    yield "prompt with control 0x85", request(prompt="a\x85b".encode()), "BAD_PROMPT"
    for raw in (b"\xff", b"a\x80", b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"):
        yield f"prompt {raw!r}", request(prompt=raw), "BAD_PROMPT"
    for category in (b"", b"hat", b"Upper", b"upper ", b"upper\0", b"\xff\xfe", b"0",
                     b"u" * 100_000, b"../../etc/passwd", "obén".encode()):  # fmt: skip
        label = category[:20]
        yield f"category {label!r}", request(category=category), "BAD_CATEGORY"


def bad_people() -> Iterator[tuple[str, object, str]]:
    rng = np.random.default_rng(1)
    for label, pixels in (
        ("black", np.zeros((300, 200, 3), np.uint8)),
        ("white", np.full((300, 200, 3), 255, np.uint8)),
        ("noise", rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)),
        ("transparent", np.zeros((300, 200, 4), np.uint8)),
        ("thin", np.zeros((64, 1536, 3), np.uint8)),
    ):  # fmt: skip
        yield f"person: {label}", request(pixels), "NO_PERSON"
    yield "two people", request(np.hstack([GOOD.person, GOOD.person])), "SEVERAL_PEOPLE"


GROUPS = {
    "dtypes": wrong_dtypes, "shapes": wrong_shapes, "texts that lie": lying_texts,
    "missing and unknown": missing_and_unknown, "files": bad_files, "words": bad_texts,
    "people": bad_people,
}  # fmt: skip


@pytest.fixture(scope="module")
def call(server):
    with grpc.insecure_channel(server.grpc_url, wire.channel_options(server.grpc_url)) as channel:
        stub = wire.stub(channel)
        yield lambda message: stub.ModelInfer(message, timeout=TIMEOUT)


@pytest.fixture(scope="module")
def good(call):
    """Asks the good request and checks that its answer is always the same."""

    def ask() -> None:
        response = call(request())
        picture = wire.parse_response(response, GOOD.person.shape)[0]
        np.testing.assert_array_equal(picture, first)

    first = wire.parse_response(call(request()), GOOD.person.shape)[0]
    return ask


def test_there_are_200_of_them():
    assert sum(1 for group in GROUPS.values() for _ in group()) >= 200


@pytest.mark.parametrize("group", GROUPS)
def test_hostile(server, call, good, group):
    pid, wrong = server.pid, []
    for count, (label, message, expected) in enumerate(GROUPS[group]()):
        try:
            call(message)
            wrong.append(f"{label}: was answered")
        except grpc.RpcError as error:
            said, status = error.details(), error.code().name
            coded = re.search(r"\[([A-Z_]+)\] (.*)", said)
            if expected.isupper():
                clear = coded is not None and coded[1] == expected
            else:
                clear = bool(said) and expected in said
            if coded and coded[1] == "INTERNAL":
                clear = False
            if not clear or len(said) > 600 or "Traceback" in said or status == "DEADLINE_EXCEEDED":
                wrong.append(f"{label}: {status}: {said[:300]!r}, expected {expected!r}")
        assert server.pid == pid is not None, f"{label}: the server ended"
        if count % 10 == 0:
            good()
    good()
    assert not wrong, "\n".join(wrong)


def test_the_steps_own_doors_hold_too(call, good):
    """The models inside the ensemble can be called by name; nonsense must not end them."""
    for name in (m.name for m in (*SERVED, *ENSEMBLES)):
        with pytest.raises(grpc.RpcError):
            call(service_pb2.ModelInferRequest(model_name=name))
    message = service_pb2.ModelInferRequest(model_name="paste")
    tensors = (("photo", "UINT8", (1, 9, 9, 3)), ("patch", "UINT8", (1, 4, 4, 3)),
               ("patch_mask", "UINT8", (1, 5, 5)), ("patch_box", "INT32", (1, 4)),
               ("box", "INT32", (1, 4)))  # fmt: skip
    for name, datatype, shape in tensors:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        size = 4 if datatype == "INT32" else 1
        message.raw_input_contents.append(bytes(int(np.prod(shape)) * size))
    with pytest.raises(grpc.RpcError, match="paste"):
        call(message)
    message = service_pb2.ModelInferRequest(model_name="detector")
    message.inputs.add(name="thumbnail", datatype="UINT8", shape=(1, 100, 70, 3))
    message.raw_input_contents.append(bytes(100 * 70 * 3))
    with pytest.raises(grpc.RpcError, match="unexpected shape for input 'thumbnail'"):
        call(message)
    for size, said in (((60000, 45000), "canvas_size: .*send one of"),  # a canvas of 10 GB
                       ((384, 288), "painted: .*send ")):  # fmt: skip
        message = service_pb2.ModelInferRequest(model_name="cutout")
        message.inputs.add(name="cloth", datatype="UINT8", shape=(1, 1, 1, 3))
        message.inputs.add(name="canvas_size", datatype="INT32", shape=(1, 2))
        message.inputs.add(name="painted", datatype="UINT8", shape=(1, 1, 1, 4))
        sides = np.array(size, np.int32).tobytes()
        message.raw_input_contents.extend([bytes(3), sides, bytes(4)])
        with pytest.raises(grpc.RpcError, match=said):
            call(message)
    good()


def text_input(message, name: str, value: bytes) -> None:
    message.inputs.add(name=name, datatype="BYTES", shape=(1, 1))
    message.raw_input_contents.append(len(value).to_bytes(4, "little") + value)


@pytest.mark.parametrize(
    "name", [b"", b"x", b"../../../etc/passwd", b"\xff\xfe", b"0" * 100_000,
             b"0123abcd-" + b"0" * 31 + b"\n"],
)  # fmt: skip
def test_names_that_are_none_are_refused(call, good, name):
    """The wardrobe's doors: nothing is kept, found or removed under what is no ID."""
    for model, text in (("tryon_live", "UNKNOWN_GARMENT"), ("tryon_follow", "UNKNOWN_GARMENT"),
                        ("wardrobe", "UNKNOWN_GARMENT"), ("wardrobe_keep", "UNKNOWN_GARMENT")):
        message = service_pb2.ModelInferRequest(model_name=model)
        if model == "wardrobe":
            text_input(message, "action", b"remove")
            text_input(message, "garment_id", name)
        elif model == "wardrobe_keep":
            text_input(message, "new_id", name)
            text_input(message, "prompt", b"red")
            for tensor in KEPT:
                shape = (1, *((4, 384, 288) if tensor.name == "canvas" else tensor.shape))
                array = np.zeros(shape, tensor.dtype)
                datatype = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}[tensor.dtype]
                message.inputs.add(name=tensor.name, datatype=datatype, shape=shape)
                message.raw_input_contents.append(array.tobytes())
        else:
            message.inputs.add(name="person", datatype="UINT8", shape=(1, 100, 80, 3))
            message.raw_input_contents.append(bytes(100 * 80 * 3))
            text_input(message, "garment_id", name)
            for tensor, size in (("track", 10), ("elapsed", 1)):
                message.inputs.add(name=tensor, datatype="FP32", shape=(1, size))
                message.raw_input_contents.append(np.full(size, np.nan, np.float32).tobytes())
        with pytest.raises(grpc.RpcError, match=text):
            call(message)
    good()


def test_tracks_that_lead_nowhere_lock_nothing_up(call, good):
    """Beside other steps none may fail (contract.py, `predict_crop`): a hundred and more of such
    frames, eight at a time, each answered, and nobody found where nobody is."""
    size = GOOD.person.shape[:2]
    added = call(wire.add_request(GOOD.garment, "red", "upper", (size[0], size[1])))
    (name,) = wire.parse_texts(added, "garment_id")
    there = wire.parse_tracked(call(wire.live_request(GOOD.person, name, wire.TRACK, 0.0)))
    astray = there + np.array([0.4, 0, 0.4, 0] + 6 * [0], np.float32)
    nobody = np.zeros((128, 96, 3), np.uint8)
    frames = [
        (person, track, elapsed)
        for person in (GOOD.person, nobody)
        for track in (wire.TRACK, there, astray, there * np.nan, there * 1e9, -there)
        for elapsed in (0.0, 0.1, -1.0, 5.0, np.nan)
    ]

    def ask(frame) -> bool:
        person, track, elapsed = frame
        answer = call(wire.live_request(person, name, track, elapsed, follow=True))
        assert wire.parse_response(answer, person.shape)[0].dtype == np.uint8
        return wire.was_there(answer)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, 2 * frames))
    expected = [p is GOOD.person and t is there and e == 0.1 for p, t, e in frames]
    assert found == 2 * expected and sum(expected) == 1
    good()
