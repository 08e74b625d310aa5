"""The client against a server in this process that speaks Triton's gRPC service."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake_triton import FakeTriton, answer, serve
from film import film
from PIL import Image, ImageCms

import tryon_client
from tryon import contract
from tryon.steps import steady
from tryon_client import (
    AsyncTryOnClient,
    Garment,
    TryOnClient,
    Wardrobe,
    cli,
    errors,
    images,
    wire,
)

CLIENT = Path(tryon_client.__file__).parents[1]


@pytest.fixture(scope="module")
def running():
    with serve(FakeTriton()) as (fake, url):
        yield fake, url


@pytest.fixture()
def fake(running):
    running[0].__init__()
    return running[0]


@pytest.fixture()
def client(running, fake):
    with TryOnClient(running[1]) as made:
        yield made


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(array: np.ndarray) -> bytes:
    return encoded(Image.fromarray(array), "PNG")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_constants_are_the_contract_s():
    assert wire.CONTRACT_VERSION == contract.CONTRACT_VERSION
    assert wire.MODEL == contract.ENSEMBLE
    assert (wire.ADD_MODEL, wire.LIVE_MODEL) == (contract.WARDROBE_ADD, contract.LIVE)
    assert (wire.FOLLOW_MODEL, wire.LONGEST_GAP) == (contract.FOLLOW, steady.LONGEST_GAP)
    assert wire.WARDROBE_MODEL == contract.WARDROBE
    assert wire.CATEGORIES == contract.CATEGORIES
    assert wire.MAX_PROMPT_CHARACTERS == contract.MAX_PROMPT_CHARACTERS
    assert (images.MIN_SIDE, images.MAX_SIDE) == (contract.MIN_SIDE, contract.MAX_SIDE)


MESSAGES = {
    contract.ENSEMBLE: wire.infer_request(noise(70, 80), noise(64, 66, 4), "röd", "lower"),
    contract.WARDROBE_ADD: wire.add_request(noise(64, 66, 4), "röd", "lower", (512, 384)),
    contract.LIVE: wire.live_request(noise(70, 80), "0123abcd-00", wire.TRACK, 0.5),
    contract.FOLLOW: wire.live_request(noise(70, 80), "01-00", wire.TRACK, 0.5, follow=True),
    contract.WARDROBE: wire.wardrobe_request("list"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_the_contract_s(name):
    message = MESSAGES[name]
    served = {e.name: e for e in (*contract.ENSEMBLES, *contract.WARDROBE_MODELS)}[name]
    names = {"uint8": "UINT8", "bytes": "BYTES", "float32": "FP32", "int32": "INT32"}
    assert message.model_name == name and len(message.inputs) == len(served.inputs)
    for sent, tensor in zip(message.inputs, served.inputs, strict=True):
        assert sent.name == tensor.name and sent.datatype == names[tensor.dtype]
        assert len(sent.shape) == len(tensor.shape) + 1
        for size, wanted in zip(sent.shape[1:], tensor.shape, strict=True):
            assert wanted in (-1, size)
    assert {o.name for o in message.outputs} == {t.name for t in served.outputs}


def test_round_trip(client, fake):
    person = noise(101, 97)
    result = client.try_on(person, noise(80, 90), "red  ", "dress")
    picture, mask = answer(person)
    assert isinstance(result.image, Image.Image) and result.image.mode == "RGB"
    assert np.array_equal(np.asarray(result.image), picture)
    assert result.mask.dtype == np.uint8 and np.array_equal(result.mask, mask)
    assert result.confidence == 0.75
    assert list(result.timings) == ["prepare", "request", "finish", "total"]
    t = result.timings
    assert min(t.values()) > 0 and t["prepare"] + t["request"] + t["finish"] <= t["total"] + 1e-6
    sent = fake.requests[-1]
    assert (sent.model, sent.prompt, sent.category) == ("tryon", "red", "dress")
    assert sent.garment.shape == (1, 80, 90, 3)
    with pytest.raises(AttributeError):
        result.confidence = 1.0


def test_a_size_goes_out_in_words(client, fake):
    for size, prompt, sent in [
        (2, None, "two sizes larger"), (-1, " in red ", "one size smaller, in red"), (0, "a", "a"),
    ]:  # fmt: skip
        client.try_on(RGB, RGB, prompt, size=size)
        assert fake.requests[-1].prompt == sent


def test_a_picture_that_the_networks_doubt_is_refused_and_kept(running, client, tmp_path):
    with TryOnClient(running[1], least_confidence=0.8) as strict:
        with pytest.raises(errors.LowConfidence, match=r"0\.75, below 0\.8") as refused:
            strict.try_on(RGB, prompt="red")
        expected = client.try_on(RGB, prompt="red").image
        assert np.array_equal(np.asarray(refused.value.result.image), np.asarray(expected))
        with pytest.raises(errors.LowConfidence):
            Wardrobe(strict).try_on(RGB, Garment(prompt="red"))

    async def run() -> None:
        async with AsyncTryOnClient(running[1], least_confidence=0.8) as strict:
            await strict.try_on(RGB, prompt="red")

    with pytest.raises(errors.LowConfidence):
        asyncio.run(run())
    for none in (-0.1, 1.1, True, float("nan")):
        with pytest.raises(errors.InvalidRequest, match="least_confidence"):
            TryOnClient(running[1], least_confidence=none)


def test_no_garment_and_no_prompt_on_the_wire(client, fake):
    client.try_on(noise(64, 64), prompt="a red t-shirt")
    assert fake.requests[-1].garment.shape == (1, 1, 1, 1) and fake.requests[-1].garment.max() == 0
    client.try_on(noise(64, 64), noise(64, 64))
    assert fake.requests[-1].prompt == ""


RGB = noise(70, 90)


def rotated_jpeg() -> bytes:
    """Red above blue, stored on its side, with the EXIF tag that says so (6: turn clockwise)."""
    flat = Image.new("RGB", (90, 70), (0, 0, 255))
    flat.paste((255, 0, 0), (0, 0, 90, 35))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(flat.rotate(90, expand=True), "JPEG", exif=exif.tobytes(), quality=100)


def palette(transparent: bool) -> bytes:
    image = Image.fromarray(RGB).quantize(16, dither=Image.Dither.NONE)
    return encoded(image, "PNG", **({"transparency": 0} if transparent else {}))


GREY16 = (np.arange(70 * 90, dtype=np.uint16) * 10).reshape(70, 90)
GREY8 = np.rint(GREY16 / 257.0).astype(np.uint8)


def triple(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (RGB, RGB),
        (np.asfortranarray(RGB)[:, ::1], RGB),
        (RGB[:, ::-1], RGB[:, ::-1]),
        (RGB[..., 0], triple(RGB[..., 0])),
        (RGB[..., :1], triple(RGB[..., 0])),
        (np.dstack([RGB, np.full((70, 90), 255, np.uint8)]), RGB),
        (np.dstack([RGB, np.zeros((70, 90), np.uint8)]), np.full_like(RGB, 255)),
        (RGB.astype(np.uint16) * 257, RGB),
        (GREY16, triple(GREY8)),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32), RGB),
        ((RGB / 255).astype(np.float16), RGB),
        (RGB[..., 0] > 127, triple(np.where(RGB[..., 0] > 127, 255, 0).astype(np.uint8))),
        (Image.fromarray(RGB), RGB),
        (Image.fromarray(RGB).convert("L"), triple(np.asarray(Image.fromarray(RGB).convert("L")))),
        (Image.fromarray(RGB[..., 0] > 127), triple((RGB[..., 0] > 127) * np.uint8(255))),
        (Image.fromarray(GREY16), triple(GREY8)),
        (png(RGB), RGB),
        (bytearray(png(RGB)), RGB),
        (memoryview(png(RGB)), RGB),
        (encoded(Image.fromarray(RGB), "WEBP", lossless=True), RGB),
        (encoded(Image.fromarray(RGB), "BMP"), RGB),
        (encoded(Image.fromarray(RGB), "TIFF"), RGB),
        (encoded(Image.fromarray(GREY16), "PNG"), triple(GREY8)),
        (encoded(Image.fromarray(GREY16), "TIFF"), triple(GREY8)),
        (encoded(Image.fromarray(GREY16.astype(np.int32)), "TIFF"), triple(GREY8)),
        (encoded(Image.fromarray((GREY16 / 65535).astype(np.float32)), "TIFF"), triple(GREY8)),
        (encoded(Image.fromarray(RGB).convert("LA"), "PNG"),
         triple(np.asarray(Image.fromarray(RGB).convert("L")))),
        (palette(False),
         np.asarray(Image.fromarray(RGB).quantize(16, dither=Image.Dither.NONE).convert("RGB"))),
    ],
)  # fmt: skip
def test_every_kind_of_picture(client, fake, source, expected):
    result = client.try_on(source, prompt="red")
    sent = fake.requests[-1].person[0]
    assert np.array_equal(sent, expected)
    assert result.image.size == (90, 70)


def test_path_and_pathlike(client, fake, tmp_path):
    (tmp_path / "é ü.png").write_bytes(png(RGB))
    for path in (tmp_path / "é ü.png", str(tmp_path / "é ü.png")):
        client.try_on(path, prompt="red")
        assert np.array_equal(fake.requests[-1].person[0], RGB)


def test_exif_rotation(client, fake):
    result = client.try_on(rotated_jpeg(), rotated_jpeg())
    for sent in (fake.requests[-1].person[0], fake.requests[-1].garment[0]):
        assert sent.shape == (70, 90, 3)
        assert (sent[:30, :, 0] > 240).all() and (sent[40:, :, 2] > 240).all()
    assert result.image.size == (90, 70)


def test_broken_exif_is_no_reason_to_refuse(client, fake):
    client.try_on(encoded(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0II*\0\xff\xff"), prompt="red")
    assert fake.requests[-1].person.shape == (1, 70, 90, 3)


def test_cmyk(client, fake):
    image = Image.new("CMYK", (90, 70), (0, 255, 255, 0))
    for source in (encoded(image, "JPEG", quality=100), encoded(image, "TIFF"), image):
        client.try_on(source, prompt="red")
        colour = fake.requests[-1].person[0].reshape(-1, 3).mean(axis=0)
        assert colour[0] > 200 and colour[1] < 60 and colour[2] < 60, colour


def test_person_keeps_bytes_and_profile_garment_becomes_srgb(client, fake):
    # A profile with red and blue exchanged tells at once whether it was applied.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = bytearray(srgb)
    tags = {srgb[132 + 12 * i : 136 + 12 * i]: 132 + 12 * i for i in range(
        int.from_bytes(srgb[128:132], "big"))}  # fmt: skip
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    image = Image.new("RGB", (90, 70), (250, 10, 10))
    data = encoded(image, "PNG", icc_profile=bytes(profile))
    result = client.try_on(data, data)
    assert (fake.requests[-1].person[0] == (250, 10, 10)).all()
    assert result.image.info["icc_profile"] == bytes(profile)
    garment = fake.requests[-1].garment[0, 0, 0]
    assert garment[2] > 200 and garment[0] < 60, garment


def test_garment_alpha_is_sent(client, fake):
    alpha = np.dstack([RGB, np.tile(np.arange(90, dtype=np.uint8), (70, 1))])
    for source in (alpha, png(alpha), Image.fromarray(alpha)):
        client.try_on(RGB, source)
        assert np.array_equal(fake.requests[-1].garment[0], alpha)
    client.try_on(RGB, palette(True))
    assert fake.requests[-1].garment.shape[-1] == 4
    client.try_on(RGB, np.dstack([RGB, np.full((70, 90), 255, np.uint8)]))
    assert fake.requests[-1].garment.shape[-1] == 3, "opaque alpha needn't travel"


def test_person_transparency_lies_on_white(client, fake):
    client.try_on(palette(True), prompt="red")
    sent = fake.requests[-1].person[0]
    indices = np.asarray(Image.open(io.BytesIO(palette(True))))
    assert sent.shape[-1] == 3 and (indices == 0).any()
    assert (sent[indices == 0] == 255).all()


def test_large_garment_is_scaled_down(client, fake):
    client.try_on(RGB, noise(1000, 3072, 4))
    assert fake.requests[-1].garment.shape == (1, 500, 1536, 4)
    client.try_on(RGB, encoded(Image.new("RGB", (4000, 6000), (10, 200, 30)), "JPEG"))
    sent = fake.requests[-1].garment
    assert sent.shape == (1, 1536, 1024, 3) and np.abs(sent - np.array([10, 200, 30])).max() <= 3


@pytest.mark.parametrize("size", [(1537, 64), (2000, 1500), (1700, 2600), (1540, 1536)])
def test_large_person_keeps_its_bytes_outside_the_mask(client, fake, size):
    person = noise(*size)
    result = client.try_on(person, prompt="red")
    assert max(fake.requests[-1].person.shape) == 1536
    out = np.asarray(result.image)
    assert out.shape == person.shape and result.mask.shape == size
    outside = result.mask == 0
    assert np.array_equal(out[outside], person[outside])
    assert np.abs(result.mask.mean() - 255 / 16) < 2, "the block is a sixteenth of the picture"
    sure = result.mask == 255
    assert sure.any()
    # Inside, the garment alone: none of the noise shows (edges ring a little).
    y, x = size[0] * 3 // 8, size[1] * 3 // 8
    assert np.abs(out[y - 4 : y + 4, x - 3 : x + 3].astype(int) - (255, 0, 0)).max() <= 1


def test_large_person_is_aligned():
    """Enlarging a picture's own small copy changes nothing but rounding, wherever the mask lies."""
    from tryon_client.compose import enlarge

    ramp = np.linspace(0, 255, 2000, dtype=np.float32)
    own = np.dstack([np.tile(ramp, (1800, 1)), np.tile(ramp[:1800, None], (1, 2000)),
                     np.full((1800, 2000), 77)]).astype(np.uint8)  # fmt: skip
    small = images.shrink(own, "person")
    mask = np.zeros(small.shape[:2], np.uint8)
    mask[300:900, 101:1203] = 255
    out, out_mask = enlarge(own, small, small, mask)
    assert np.abs(out.astype(int) - own).max() <= 2
    rows, columns = out_mask.any(axis=1).nonzero()[0], out_mask.any(axis=0).nonzero()[0]
    scale = 2000 / 1536
    for found, expected in (
        (rows[0], 300 * scale), (rows[-1], 900 * scale),
        (columns[0], 101 * scale), (columns[-1], 1203 * scale),
    ):  # fmt: skip
        assert abs(found - expected) <= 2


def test_random_sizes(client, fake):
    rng = np.random.default_rng(7)
    for _ in range(25):
        height, width = (int(v) for v in rng.integers(64, 400, 2))
        channels = int(rng.choice([0, 1, 3, 4]))
        person = noise(height, width, channels)
        result = client.try_on(person, noise(*(int(v) for v in rng.integers(64, 300, 2))))
        own = images.load_person(person).array
        assert result.image.size == (width, height)
        outside = result.mask == 0
        assert np.array_equal(np.asarray(result.image)[outside], own[outside])


def bomb_png(width: int, height: int) -> bytes:
    """A PNG that is nothing but a header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


NOT_A_NUMBER = np.full((64, 64), np.nan)


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        (b"", errors.NotAnImage, "empty"),
        (b"hello", errors.NotAnImage, "can't be read as a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", errors.NotAnImage, "can't be"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", errors.NotAnImage, "HEIC"),
        (png(RGB)[:500], errors.NotAnImage, "cut off"),
        (encoded(Image.fromarray(RGB), "JPEG")[:900], errors.NotAnImage, "cut off"),
        ("no such file.jpg", errors.NotAnImage, "does not exist"),
        ("/", errors.NotAnImage, "not a file"),
        (5, errors.NotAnImage, "int"),
        (None, errors.NotAnImage, "NoneType"),
        (bomb_png(30000, 30000), errors.ImageTooLarge, "megapixels"),
        pytest.param(
            bomb_png(13000, 13000), errors.ImageTooLarge, "13000x13000",
            marks=pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
        ),
        (bomb_png(63, 700), errors.ImageTooSmall, "63x700"),
        (noise(63, 100), errors.ImageTooSmall, "100x63"),
        (Image.new("RGB", (64, 63)), errors.ImageTooSmall, "64x63"),
        (noise(64, 4000), errors.ImageTooSmall, "too narrow"),
        (np.zeros((1, 70, 70, 3), np.uint8), errors.InvalidRequest, "(1, 70, 70, 3)"),
        (np.zeros((70, 70, 2), np.uint8), errors.InvalidRequest, "(70, 70, 2)"),
        (np.zeros(70, np.uint8), errors.InvalidRequest, "(70,)"),
        (np.zeros((0, 70), np.uint8), errors.ImageTooSmall, "70x0"),
        (np.zeros((70, 70), np.int64), errors.InvalidRequest, "int64"),
        (np.zeros((70, 70), object), errors.InvalidRequest, "object"),
        (np.full((70, 70), 255.0), errors.InvalidRequest, "divide by 255"),
        (np.full((70, 70), -0.5), errors.InvalidRequest, "0..1"),
        (NOT_A_NUMBER, errors.InvalidRequest, "nan"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["person", "garment"])
def test_refused_before_sending(client, fake, source, error, text, which):
    if source is None and which == "garment":
        pytest.skip("no garment is a garment")
    pictures = {"person": RGB, "garment": RGB, which: source}
    with pytest.raises(error, match=re.escape(text)) as caught:
        client.try_on(**pictures)
    assert str(caught.value).startswith(which) and "\n" not in str(caught.value)
    assert not fake.requests and not fake.config_calls


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, errors.NothingToWear),
        ({"prompt": "  \n"}, errors.NothingToWear),
        ({"prompt": "x" * 513}, errors.PromptTooLong),
        ({"prompt": b"red"}, errors.InvalidRequest),
        ({"prompt": "\ud800"}, errors.InvalidRequest),
        ({"prompt": "red", "category": "hat"}, errors.InvalidRequest),
        ({"prompt": "red", "category": None}, errors.InvalidRequest),
        ({"prompt": "red", "size": 4}, errors.InvalidRequest),
        ({"prompt": "red", "size": -3}, errors.InvalidRequest),
        ({"prompt": "red", "size": 1.5}, errors.InvalidRequest),
        ({"prompt": "red", "size": True}, errors.InvalidRequest),
        ({"prompt": "r" * 500, "size": 2}, errors.PromptTooLong),
        ({"size": 2}, errors.NothingToWear),
        ({"prompt": "red", "timeout": 0}, errors.InvalidRequest),
        ({"prompt": "red", "timeout": float("nan")}, errors.InvalidRequest),
        ({"prompt": "red", "timeout": "5"}, errors.InvalidRequest),
    ],
)
def test_arguments_refused_before_sending(client, fake, arguments, error):
    with pytest.raises(error):
        client.try_on(RGB, **arguments)
    assert not fake.requests


@pytest.mark.parametrize(
    "url", ["localhost", "http://localhost:8001", ":8001", "a:b", "h:99999", 1]
)
def test_bad_address(url):
    with pytest.raises(errors.InvalidRequest, match="localhost:8001"):
        TryOnClient(url)


@pytest.mark.parametrize("code", sorted(errors.CODES))
def test_server_codes(client, fake, code):
    fake.fail = (
        grpc.StatusCode.INTERNAL,
        "in ensemble 'tryon', Failed to process the request(s) for model instance 'decode_0', "
        f"message: TritonModelException: [{code}] person: the sentence.\n\nAt:\n  /x.py(3): f",
    )
    with pytest.raises(errors.CODES[code]) as caught:
        client.try_on(RGB, prompt="red")
    assert str(caught.value) == "person: the sentence."


def test_every_code_has_its_class():
    assert set(errors.CODES.values()) == {
        c for c in (*errors.TryOnError.__subclasses__(), *errors.UnknownGarment.__subclasses__())
        if c not in (errors.ServerUnavailable, errors.ServerNotReady, errors.DeadlineExceeded,
                     errors.WrongModelVersion, errors.LowConfidence)
    }  # fmt: skip
    server = pytest.importorskip("tryon.errors")
    assert set(errors.CODES) == {str(getattr(c, "value", c)) for c in server.CODES}


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        ("NOT_FOUND", "Request for unknown model: 'tryon' is not found", errors.ServerNotReady),
        ("UNAVAILABLE", "Request for unknown model: 'tryon' has no available versions",
         errors.ServerNotReady),
        ("UNAVAILABLE", "Server is exiting", errors.ServerNotReady),
        ("UNAVAILABLE", "Socket closed", errors.ServerUnavailable),
        ("INVALID_ARGUMENT", "unexpected shape for input 'person'", errors.InvalidRequest),
        ("INTERNAL", "[OTHER] something\nwith lines", errors.TryOnError),
    ],
)  # fmt: skip
def test_other_statuses(client, fake, status, text, error):
    fake.fail = (grpc.StatusCode[status], text)
    with pytest.raises(errors.TryOnError) as caught:
        client.try_on(RGB, prompt="red")
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_deadline(client, fake):
    fake.delay = 1.0
    start = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match=r"0\.2 s"):
        client.try_on(RGB, prompt="red", timeout=0.2)
    assert time.monotonic() - start < 0.8
    fake.delay = 0
    client.try_on(RGB, prompt="red")


@pytest.mark.parametrize("version", ["0", None])
def test_wrong_version(client, fake, version):
    fake.version = version
    with pytest.raises(errors.WrongModelVersion, match=f"version {version or 'unknown'}"):
        client.try_on(RGB, prompt="red")
    with pytest.raises(errors.WrongModelVersion):
        client.check()
    assert not fake.requests
    fake.version = wire.CONTRACT_VERSION  # the right server came up: the refusal isn't remembered
    client.try_on(RGB, prompt="red")


def test_version_is_asked_once(client, fake):
    for _ in range(3):
        client.try_on(RGB, prompt="red")
    assert fake.config_calls == 1


def test_no_server():
    with TryOnClient(f"127.0.0.1:{free_port()}") as client:
        start = time.monotonic()
        with pytest.raises(errors.ServerUnavailable, match="make serve"):
            client.try_on(RGB, prompt="red")
        assert time.monotonic() - start < 2


def test_answer_of_another_shape(client, fake):
    fake.crop_answer = 3
    with pytest.raises(errors.TryOnError, match="'picture'"):
        client.try_on(RGB, prompt="red")


def test_server_stages(client, fake):
    result = client.try_on(RGB, prompt="red", stages=True)
    assert result.timings["server"] == pytest.approx(50)
    assert result.timings["server.decode"] == pytest.approx(7)
    assert "server.idle" not in result.timings
    assert client.server_stages()["server"] == pytest.approx(475)


def test_confidence_stays_in_range(client, fake):
    fake.confidence = 1.0000001
    assert client.try_on(RGB, prompt="red").confidence == 1.0


def test_threads_share_a_client(client, fake):
    people = [noise(64 + i, 80, seed=i) for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda p: client.try_on(p, prompt="red"), people))
    for person, result in zip(people, results, strict=True):
        assert np.array_equal(np.asarray(result.image), answer(person)[0])


def test_asyncio(running, fake):
    async def run() -> None:
        async with AsyncTryOnClient(running[1]) as client:
            people = [noise(64 + i, 80, seed=i) for i in range(6)]
            results = await asyncio.gather(*(client.try_on(p, prompt="red") for p in people))
            for person, result in zip(people, results, strict=True):
                assert np.array_equal(np.asarray(result.image), answer(person)[0])
            staged = await client.try_on(RGB, prompt="red", stages=True)
            assert staged.timings["server.decode"] == pytest.approx(7)
            assert "server" in await client.server_stages()
            await client.check()
            fake.fail = (grpc.StatusCode.INTERNAL, "message: [NO_PERSON] person: nobody")
            with pytest.raises(errors.NoPersonFound, match=r"^person: nobody$"):
                await client.try_on(RGB, prompt="red")
            fake.fail, fake.delay = None, 1.0
            with pytest.raises(errors.DeadlineExceeded):
                await client.try_on(RGB, prompt="red", timeout=0.2)
            fake.delay, fake.version = 0, "9"
            with pytest.raises(errors.WrongModelVersion):
                await client.check()
            with pytest.raises(errors.NotAnImage):
                await client.try_on(b"hello", prompt="red")
        async with AsyncTryOnClient(f"127.0.0.1:{free_port()}") as client:
            with pytest.raises(errors.ServerUnavailable, match="make serve"):
                await client.try_on(RGB, prompt="red")

    asyncio.run(run())


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(RGB).save("me.jpg")
    Image.fromarray(RGB).save("shirt.jpg")
    return tmp_path


def test_command_line(running, fake, folder, capsys):
    arguments = ["try", "--person", "me.jpg", "--garment", "shirt.jpg", "--prompt", "red stripes",
                 "--category", "upper", "--out", "out.png", "--mask", "mask.png", "--timeout", "5",
                 "--stages", "--url", running[1]]  # fmt: skip
    assert cli.main(arguments) == 0
    person = np.asarray(Image.open("me.jpg"))
    picture, mask = answer(person)
    assert np.array_equal(np.asarray(Image.open("out.png")), picture)
    assert np.array_equal(np.asarray(Image.open("mask.png")), mask)
    assert sorted(os.listdir()) == ["mask.png", "me.jpg", "out.png", "shirt.jpg"]
    printed = capsys.readouterr().out
    assert "out.png: 90x70, confidence 0.75" in printed and "server.decode" in printed
    assert fake.requests[-1].prompt == "red stripes"
    assert cli.main([*arguments, "--size", "-2"]) == 0
    assert fake.requests[-1].prompt == "two sizes smaller, red stripes"
    before = Path("out.png").read_bytes()
    assert cli.main([*arguments, "--least-confidence", "0.9"]) == 2
    assert "confidence is 0.75, below 0.9" in capsys.readouterr().err
    assert Path("out.png").read_bytes() == before, "a doubtful picture is not written over it"


@pytest.mark.parametrize(
    "change",
    [
        {"--person": "none.jpg"},
        {"--category": "hat"},
        {"--size": "4"},
        {"--timeout": "x"},
        {"--timeout": "-1"},
        {"--least-confidence": "2"},
        {"--url": "nowhere"},
        {"--out": "out.txt"},
        {"--out": "none/out.png"},
        {"--mask": "mask.jpg"},
        {"--prompt": "x" * 600},
        {"--bogus": "1"},
    ],
)
def test_command_line_errors_are_one_line(running, fake, folder, capsys, change):
    options = {"--person": "me.jpg", "--garment": "shirt.jpg", "--out": "out.png",
               "--url": running[1], **change}  # fmt: skip
    arguments = ["try", *(word for pair in options.items() for word in pair)]
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr().err
    assert status == 2 and said.startswith("tryon: ") and said.count("\n") == 1, said
    assert sorted(os.listdir()) == ["me.jpg", "shirt.jpg"]
    assert not fake.requests


def test_output_is_written_whole_or_not_at_all(folder, monkeypatch):
    Path("out.png").write_bytes(b"old")
    image, mask = Image.fromarray(RGB), Image.fromarray(RGB[..., 0])
    real, calls = Image.Image.save, []

    def full_disk(self, file, *args, **kwargs):
        calls.append(file)
        if len(calls) == 2:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        real(self, file, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(errors.TryOnError, match=r"mask\.png: No space left"):
        cli.write_whole([(Path("out.png"), image), (Path("mask.png"), mask)])
    assert Path("out.png").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["me.jpg", "out.png", "shirt.jpg"]


def test_module_is_the_command(folder):
    environment = {**os.environ, "PYTHONPATH": str(CLIENT)}
    command = [sys.executable, "-m", "tryon_client", "try", "--person", "me.jpg", "--garment",
               "shirt.jpg", "--out", "o.png", "--url", f"127.0.0.1:{free_port()}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2 and "make serve" in done.stderr and done.stderr.count("\n") == 1


def test_help_examples_run(running, fake, folder, capsys):
    Image.fromarray(RGB).save("skirt.png")
    film(Path("walk.mp4"))
    Path("shop/shirts").mkdir(parents=True)
    Image.fromarray(RGB).save("shop/shirts/oxford.jpg")
    lines = [line.strip() for line in cli.EXAMPLES.splitlines() if line.strip().startswith("tryon")]
    assert len(lines) == 6
    for line in lines:
        assert cli.main([*shlex.split(line)[1:], "--url", running[1]]) == 0
    with pytest.raises(SystemExit) as stop:
        cli.main(["try", "--help"])
    assert stop.value.code == 0 and lines[0] in capsys.readouterr().out


README = (CLIENT / "README.md").read_text()
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", README, re.S)


@pytest.mark.parametrize("language,block", BLOCKS)
def test_readme(running, fake, folder, language, block):
    film(Path("walk.mp4"))
    Image.fromarray(RGB).save("jeans.jpg")
    Path("shop/shirts").mkdir(parents=True)
    Image.fromarray(RGB).save("shop/shirts/oxford.jpg")
    if language == "python":
        exec(compile(block.replace("localhost:8001", running[1]), "README.md", "exec"), {})
    else:
        for line in block.strip().splitlines():
            assert cli.main([*shlex.split(line)[1:], "--url", running[1]]) == 0
    assert fake.requests


def test_readme_names_every_error():
    for error in errors.TryOnError.__subclasses__():
        assert f"`{error.__name__}`" in README


def test_import_needs_no_torch():
    code = (
        "import sys, tryon_client; "
        "assert not {'torch', 'tryon', 'onnxruntime', 'cv2', 'matplotlib'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(CLIENT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd="/", timeout=60)


def test_close_ends_the_channel(running, fake):
    before = threading.active_count()
    for _ in range(5):
        with TryOnClient(running[1]) as client:
            client.check()
    assert threading.active_count() <= before + 3
