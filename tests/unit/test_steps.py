"""The steps around the networks: decode, crop, cutout, paste."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tryon import contract, errors
from tryon.assets import asset_path
from tryon.models.pose import Detector
from tryon.preprocess import window_from_anchors
from tryon.steps import decode as decode_step
from tryon.steps.crop import anchors_in_photo, crop, find_person, resample
from tryon.steps.garment import (
    background_of,
    canvas_size,
    cutout,
    make_canvas,
    resize,
    without_background,
)
from tryon.steps.ground import foreground
from tryon.steps.paste import paste
from tryon.steps.served import load_step
from tryon.steps.thumbnail import letterbox, thumbnail, thumbnail_size
from tryon.steps.tokenizer import Tokenizer
from tryon.wardrobe.ident import VERSION_FILE

NONE = np.zeros((1, 1, 1), np.uint8)
RNG = np.random.default_rng(0)
PERSON = RNG.integers(0, 256, (130, 90, 3), dtype=np.uint8)
GARMENT = RNG.integers(0, 256, (100, 80, 3), dtype=np.uint8)
DRAWING = RNG.integers(0, 256, (256, 192, 4), dtype=np.uint8)
WORDS = asset_path("minilm")
TOKENIZER = Tokenizer(WORDS)


def decode(person: np.ndarray, garment: np.ndarray, prompt: bytes, category: bytes):
    return decode_step.decode(person, garment, prompt, category, TOKENIZER)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> np.ndarray:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return np.frombuffer(data.getvalue(), np.uint8)[None, None]


def person_of(value: np.ndarray) -> np.ndarray:
    return decode(value, NONE, b"a shirt", b"upper").photo


def png_header(width: int, height: int) -> np.ndarray:
    """A PNG that is nothing but a header and the start of its data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    return np.frombuffer(data, np.uint8)[None, None]


# ---- decode: what goes in ----------------------------------------------------------------------
def test_tensors_are_the_contracts():
    found = decode(PERSON, GARMENT, b" red\n", b"lower")
    for tensor in contract.model("decode").outputs:
        value = getattr(found, tensor.name)
        assert str(value.dtype) == tensor.dtype
        assert all(d in (-1, s) for d, s in zip(tensor.shape, value.shape, strict=True)), tensor
    np.testing.assert_array_equal(found.photo, PERSON)
    np.testing.assert_array_equal(found.condition, [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(found.input_ids, TOKENIZER("red")[0])


@pytest.mark.parametrize(
    ("garment", "prompt", "expected"),
    [(GARMENT, b"", [1, 0]), (GARMENT, b" \n", [1, 0]), (NONE, b"red", [0, 1])],
)
def test_condition_says_what_was_given(garment, prompt, expected):
    found = decode(PERSON, garment, prompt, b"upper")
    np.testing.assert_array_equal(found.condition[3:], expected)
    laid = cutout(found.cloth, found.canvas_size, DRAWING)
    if garment is NONE:
        opaque, gone = DRAWING[..., 3] == 255, DRAWING[..., 3] == 0
        np.testing.assert_array_equal(laid.garment_net[opaque], DRAWING[opaque][:, :3])
        assert gone.any()
        share = DRAWING[..., 3:] / 255  # before pale grey: noise is grey on the whole
        wanted = DRAWING[..., :3] * share + 220 * (1 - share)
        assert np.abs(laid.garment_net - wanted).max() <= 0.51
        np.testing.assert_array_equal(rgba(laid.canvas), resize(DRAWING, 288, 384))
    else:
        assert (laid.garment_net != DRAWING[..., :3]).any()
    for tensor in contract.model("cutout").outputs:
        value = getattr(laid, tensor.name)
        assert str(value.dtype) == tensor.dtype
        assert all(d in (-1, s) for d, s in zip(tensor.shape, value.shape, strict=True)), tensor


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_encoded_files_are_decoded(kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    smooth = np.tile(np.arange(96, dtype=np.uint8)[None, :, None], (80, 1, 3))
    photo = person_of(encoded(Image.fromarray(smooth), kind, **options))
    assert np.abs(photo.astype(int) - smooth).max() <= (3 if kind == "JPEG" else 0)


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    photo = person_of(encoded(Image.fromarray(PERSON), "PNG", exif=exif))
    np.testing.assert_array_equal(photo, np.rot90(PERSON, -1))


def test_a_person_with_alpha_is_laid_on_white():
    pixels = np.dstack([PERSON, np.zeros(PERSON.shape[:2], np.uint8)])
    pixels[:50, ..., 3] = 255
    for value in (pixels, encoded(Image.fromarray(pixels))):
        photo = person_of(value)
        np.testing.assert_array_equal(photo[:50], PERSON[:50])
        assert (photo[50:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "CMYK", "I;16", "RGBA", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((70, 80), 0x8080, np.uint16))
        assert (person_of(encoded(image)) == 128).all()
        return
    image = Image.new("RGB", (80, 70), (255, 255, 255)).convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    photo = person_of(encoded(image, kind))
    assert photo.shape == (70, 80, 3) and photo.min() >= 250


def test_transparent_palette_is_laid_on_white():
    image = Image.new("P", (80, 70), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert (person_of(encoded(image, transparency=1)) == 255).all()


def test_an_animations_first_frame_is_taken():
    first, second = (Image.new("RGB", (70, 70), c) for c in ((255, 0, 0), (0, 255, 0)))
    value = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert (person_of(value) == [255, 0, 0]).all()


# ---- decode: what is refused -------------------------------------------------------------------
PNG = encoded(Image.fromarray(PERSON))
JPEG = encoded(Image.fromarray(PERSON), "JPEG")


@pytest.mark.parametrize(
    ("person", "code"),
    [
        (png_header(30000, 30000), "IMAGE_TOO_LARGE"),
        (png_header(1, 2**31 - 1), "IMAGE_TOO_LARGE"),
        (png_header(1000, 1000), "NOT_AN_IMAGE"),
        (PNG[..., : PNG.shape[2] // 2], "NOT_AN_IMAGE"),
        (JPEG[..., : JPEG.shape[2] // 2], "NOT_AN_IMAGE"),
        (JPEG[..., :3], "NOT_AN_IMAGE"),
        (np.zeros((1, 1, 0), np.uint8), "NOT_AN_IMAGE"),
        (np.frombuffer(b"GIF89a" + bytes(99), np.uint8)[None, None], "NOT_AN_IMAGE"),
        (np.frombuffer(b"%!PS-Adobe-3.0 EPSF-3.0\n" * 9, np.uint8)[None, None], "NOT_AN_IMAGE"),
        (np.zeros((1, 1, contract.MAX_IMAGE_BYTES + 1), np.uint8), "IMAGE_TOO_LARGE"),
        (np.zeros((63, 200, 3), np.uint8), "IMAGE_TOO_SMALL"),
        (np.zeros((200, 1537, 3), np.uint8), "IMAGE_TOO_LARGE scaled"),
        (encoded(Image.new("RGB", (1600, 100))), "IMAGE_TOO_LARGE scaled"),
        (encoded(Image.new("RGB", (100, 32))), "IMAGE_TOO_SMALL"),
        (np.zeros((100, 100, 2), np.uint8), "BAD_SHAPE"),
        (np.zeros((100, 100, 0), np.uint8), "BAD_SHAPE"),
        (np.zeros((0, 0, 3), np.uint8), "IMAGE_TOO_SMALL"),
        (np.zeros((100, 100), np.uint8), "BAD_SHAPE"),
        (np.zeros((100, 100, 3), np.float32), "BAD_SHAPE"),
    ],
)
@pytest.mark.parametrize("field", ["person", "garment"])
def test_bad_pictures(field, person, code):
    if field == "garment" and "scaled" in code:
        pytest.skip("a garment of that size is scaled down")
    arguments = (person, NONE) if field == "person" else (PERSON, person)
    with pytest.raises(errors.RequestError) as caught:
        decode(*arguments, b"a shirt", b"upper")
    assert caught.value.code == code.split()[0]
    assert str(caught.value).startswith(f"[{caught.value.code}] {field}: ")


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        (b"x" * 513, "PROMPT_TOO_LONG"),
        (b"x" * 100_000, "PROMPT_TOO_LONG"),
        ("ü".encode() * 513, "PROMPT_TOO_LONG"),
        (b"red \xff shirt", "BAD_PROMPT"),
        (b"red \xed\xa0\x80 shirt", "BAD_PROMPT"),
        (b"red \x00 shirt", "BAD_PROMPT"),
        (b"red \x1b[31m shirt", "BAD_PROMPT"),
        (b"", "NOTHING_TO_WEAR"),
        (b"  \n ", "NOTHING_TO_WEAR"),
    ],
)
def test_bad_prompts(prompt, code):
    with pytest.raises(errors.CODES[code], match="prompt"):
        decode(PERSON, NONE, prompt, b"upper")


@pytest.mark.parametrize(
    "prompt", [b"x" * 512, "ü".encode() * 512, "👕".encode() * 512, b"a\tb\nc"]
)
def test_good_prompts(prompt):
    assert decode(PERSON, NONE, prompt, b"upper").condition[4] == 1


@pytest.mark.parametrize("category", [b"hat", b"", b"Upper", b"upper ", b"\xff", b"x" * 100_000])
def test_bad_categories(category):
    with pytest.raises(errors.BadCategory, match="upper, lower, dress") as caught:
        decode(PERSON, GARMENT, b"", category)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("cloth", "size"),
    [((1, 1, 3), (60000, 45000)), ((64, 64, 3), (0, 0)), ((64, 64, 3), (-512, 384)),
     ((64, 64, 2), (512, 384)), ((0, 64, 3), (512, 384)), ((64, 64), (512, 384))],
)  # fmt: skip
def test_the_cut_out_takes_the_contracts_sizes_alone(cloth, size):
    with pytest.raises(errors.BadShape, match=r"cloth|canvas_size"):
        cutout(np.zeros(cloth, np.uint8), np.array(size, np.int32), DRAWING)


def test_without_a_garment_the_drawing_must_be_whole():
    with pytest.raises(errors.BadShape, match="painted"):
        cutout(np.zeros((1, 1, 3), np.uint8), np.array((384, 288), np.int32), DRAWING[:1, :1])


def test_a_batch_of_garments_has_one_size():
    step, cut = load_step("decode", WORDS), load_step("cutout")
    people = np.stack([PERSON, PERSON])
    words = np.array([[b"red"], [b"blue"]], object)
    kinds = np.array([[b"upper"], [b"lower"]], object)
    request = {"person": people, "prompt": words, "category": kinds}
    made = step({**request, "garment": np.stack([GARMENT, GARMENT[::-1]])})
    laid = cut({**made, "painted": np.stack([DRAWING, DRAWING])})
    alone = cutout(made["cloth"][1], made["canvas_size"][1], DRAWING)
    assert len(laid["canvas"]) == 2 and np.array_equal(laid["canvas"][1], alone.canvas)
    files = [encoded(Image.new("RGB", size), "PNG").ravel() for size in ((80, 100), (90, 70))]
    longest = max(map(len, files))
    sent = np.stack([np.pad(f, (0, longest - len(f)))[None, None] for f in files])
    with pytest.raises(errors.BadShape, match="garments, must each have one size"):
        step({**request, "garment": sent})


def test_large_garments_are_scaled_down():
    big = encoded(Image.new("RGB", (4000, 3000), (9, 99, 9)), "JPEG")
    found = decode(PERSON, big, b"", b"upper")
    assert max(found.cloth.shape) < 2 * max(found.canvas_size)
    canvas = rgba(cutout(found.cloth, found.canvas_size, DRAWING).canvas)
    assert np.abs(canvas[200:300, 100:300, :3].astype(int) - [9, 99, 9]).max() <= 3


# ---- thumbnail and canvas ----------------------------------------------------------------------
@pytest.mark.parametrize("size", [(64, 64), (1536, 64), (64, 1536), (133, 77), (100, 80)])
def test_thumbnail_is_letterboxed_in_the_middle(size):
    small = thumbnail(np.full((*size, 3), 200, np.uint8))
    height, width = thumbnail_size(*size)
    assert (height, width) == (224, 160 if size[1] <= 0.8 * size[0] else 224)
    assert small.shape == (height, width, 3)
    x, y, w, h = letterbox(*size, (height, width))
    assert (small[y : y + h, x : x + w] == 200).all()
    assert int(small.astype(int).sum()) == 200 * 3 * w * h
    assert abs((width - w) - 2 * x) <= 1
    assert abs((height - h) - 2 * y) <= 1
    assert w == width or h == height


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (384, 288)), ((512, 384), (384, 288)), ((514, 384), (384, 288)),
     ((515, 384), (512, 384)), ((686, 500), (512, 384)), ((687, 500), (768, 576)),
     ((1024, 768), (768, 576)), ((1030, 768), (1024, 768)), ((1536, 1536), (1024, 768))],
)  # fmt: skip
def test_canvas_size(size, expected):
    assert canvas_size(*size) == expected


def rgba(canvas: np.ndarray) -> np.ndarray:
    return canvas.transpose(1, 2, 0)


def made(garment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Canvas, as (H, W, 4), and the networks' small copy."""
    canvas, net = make_canvas(garment, (512, 384))
    assert canvas.shape == (4, 512, 384)
    return rgba(canvas), net


def shirt(colour, background, size=(400, 300), shadow=0) -> np.ndarray:
    """A block with sleeves on a plain background, a little noisy as JPEG makes it."""
    image = np.full((*size, 3), background, np.int16)
    if shadow:
        image[300:312, 85:225] -= shadow
    image[80:300, 90:210] = colour
    image[80:150, 50:250] = colour
    image += RNG.integers(-2, 3, (*size, 1), dtype=np.int16)
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "background"),
    [
        ((200, 30, 30), (240, 240, 240)),
        ((20, 20, 20), (240, 240, 240)),
        ((250, 250, 250), (30, 90, 40)),
    ],
)
def test_a_plain_background_is_removed(colour, background):
    canvas, net = made(shirt(colour, background))
    opaque = canvas[..., 3] > 127
    near = np.abs(canvas[..., :3].astype(int) - colour).max(-1) < 12
    assert (opaque & near).sum() > 0.97 * opaque.sum()
    assert (opaque & near).sum() > 0.93 * near.sum()
    ys, xs = np.nonzero(opaque)
    # Cropped to the garment and its margin: it fills the canvas one way, and lies in the middle.
    assert (np.ptp(xs) > 0.8 * 384) or (np.ptp(ys) > 0.8 * 512)
    assert abs((xs.min() + xs.max()) / 2 - 192) < 6 and abs((ys.min() + ys.max()) / 2 - 256) < 6
    assert net.shape == (256, 192, 3)
    assert set(np.unique(canvas[..., 3])) > {0, 255}, "edges are soft"


def test_its_shadow_goes_with_it():
    canvas, _ = made(shirt((200, 30, 30), (240, 240, 240), shadow=35))
    grey = np.abs(canvas[..., :3].astype(int) - 205).max(-1) < 8
    assert grey.sum() > 1000 and canvas[..., 3][grey].mean() < 30


def test_a_dark_garments_deep_shadow_goes_too():
    garment = shirt((20, 20, 20), (240, 240, 240))
    fading = np.array([110, 110, 105, 90, 70, 50, 30, 15, 5], np.uint8)[:, None, None]
    garment[300:309, 92:208] = 240 - fading
    canvas, _ = made(garment)
    grey = np.abs(canvas[..., :3].astype(int) - 131).max(-1) < 4
    assert grey.sum() > 300 and canvas[..., 3][grey].mean() < 60


@pytest.mark.parametrize("colour", [(128, 128, 128), (90, 55, 35)], ids=["grey", "brown"])
def test_a_shadow_ends_where_the_garment_begins(colour):
    """Where they touch it is as dark as the cloth, or darker: it is no second hem."""
    garment = shirt(colour, (245, 245, 240))
    fading = np.array([175, 165, 150, 130, 105, 80, 55, 30, 12, 4])[:, None, None]
    garment[300:310, 92:208] = (np.array([245, 245, 240]) * (1 - fading / 245)).astype(np.uint8)
    alpha = foreground(garment, np.array([245.0, 245, 240]))
    truth = np.zeros((400, 300), bool)
    truth[80:300, 90:210] = truth[80:150, 50:250] = True
    found = alpha > 127
    assert found[302:312].mean() < 0.002, "the shadow is none of it"
    assert (found & truth).sum() > 0.97 * truth.sum(), "a pixel less, as ever"


def test_a_grey_garment_without_a_shadow_keeps_its_outline():
    rng = np.random.default_rng(3)
    garment = shirt((128, 128, 128), (245, 245, 240)).astype(np.int16)
    garment[80:300, 50:250] += rng.integers(-9, 10, (220, 200, 1), dtype=np.int16)
    garment = cv2.GaussianBlur(garment.clip(0, 255).astype(np.uint8), (0, 0), 0.8)
    garment[294:300, 92:208] = 110  # a darker hem
    alpha = foreground(garment, np.array([245.0, 245, 240]))
    truth = np.zeros((400, 300), bool)
    truth[80:300, 90:210] = truth[80:150, 50:250] = True
    both, either = (alpha > 127) & truth, (alpha > 127) | truth
    assert both.sum() > 0.96 * either.sum()
    assert (alpha[296, 100:200] > 127).all(), "nor is its own hem a shadow"


def test_a_melange_is_not_bitten():
    """Its dark fibres beside the ground are no shadow, and its outline goes straight."""
    rng = np.random.default_rng(7)
    fibres = cv2.GaussianBlur(rng.normal(0, 1, (220, 200)), (0, 0), sigmaX=3, sigmaY=1)
    garment = shirt((150, 150, 150), (245, 245, 242)).astype(np.float64)
    worn = (garment != (245, 245, 242)).any(-1)
    garment[80:300, 50:250] += 14 * (fibres / fibres.std())[..., None] * worn[80:300, 50:250, None]
    garment = cv2.GaussianBlur(garment.clip(0, 255).astype(np.uint8), (0, 0), 0.8)
    alpha = foreground(garment, np.array([245.0, 245, 242]))
    assert alpha is not None
    left = np.argmax(alpha[160:290] > 127, axis=1)
    assert np.abs(left - np.median(left)).max() <= 1


@pytest.mark.parametrize("part", [np.s_[287:300, 90:210], np.s_[150:300, 90:96]],
                         ids=["a hem", "a stripe"])  # fmt: skip
def test_a_dark_garments_grey_trim_is_no_shadow(part):
    garment = shirt((20, 20, 20), (240, 240, 240))
    garment[part] = 150
    canvas, _ = made(garment)
    grey = np.abs(canvas[..., :3].astype(int) - 150).max(-1) < 4
    assert grey.sum() > 1000 and canvas[..., 3][grey].mean() > 180


@pytest.mark.parametrize("part", [np.s_[150:200, 120:180], np.s_[140:150, 90:210],
                                  np.s_[80:95, 125:175], np.s_[292:300, 90:210]],
                         ids=["a print", "a stripe", "the neck", "the hem"])  # fmt: skip
@pytest.mark.parametrize("level", [10, 205])
def test_white_on_white_is_left_whole_with_what_is_dark_on_it(part, level):
    garment = shirt((244, 244, 244), (240, 240, 240))
    garment[part] = level
    canvas, _ = made(garment)
    dark = (np.abs(canvas[..., :3].astype(int) - level).max(-1) < 3).astype(np.uint8)
    inner = cv2.erode(dark, np.ones((11, 11), np.uint8)) > 0  # an outline is soft
    assert dark.sum() > 200 and canvas[..., 3][inner].min() > 230


def test_a_grey_garment_is_seen_before_another_grey():
    _, net = made(shirt((128, 128, 128), (245, 245, 245)))
    assert (net[:4] == 220).all() and np.abs(net[100:120, 80:110].astype(int) - 128).max() < 12


def test_an_alpha_that_is_opaque_is_none():
    garment = shirt((200, 30, 30), (240, 240, 240))
    opaque = np.dstack([garment, np.full(garment.shape[:2], 255, np.uint8)])
    for one, other in zip(made(garment), made(opaque), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dark_garment_on_dark_ground_is_no_shadow():
    canvas, _ = made(shirt((32, 30, 30), (92, 90, 90)))
    opaque = canvas[..., 3] > 127
    assert 0.2 < opaque.mean() < 0.7 and opaque[240:300, 150:230].all()


def test_a_pale_garment_on_paler_ground_loses_its_shadow_alone():
    """It can't be told from the ground, which the light falls off on; the shadow can."""
    garment = shirt((236, 236, 240), (236, 236, 232)).astype(np.int16)
    garment[180:295, 90:150] = (236, 236, 232)  # the ground's own colour
    garment[300:318, 92:208] -= np.linspace(40, 0, 18).astype(np.int16)[:, None, None]
    garment -= np.linspace(0, 8, 400).astype(np.int16)[:, None, None]
    canvas, net = made(garment.clip(0, 255).astype(np.uint8))
    assert foreground(garment.astype(np.uint8), np.median(garment[:4], (0, 1))) is None
    gone = canvas[..., 3] < 30
    assert 0.01 < gone.mean() < 0.2 + 1 / 3  # bars, and a strip below
    ys, xs = np.nonzero(gone[100:420, 40:344])
    assert len(ys) > 500 and (canvas[100:420, 40:344][ys, xs, :3] < 232).mean() > 0.8
    assert (canvas[200:300, 120:260, 3] == 255).all()
    assert net.min() > 200, "the networks see the ground there"


@pytest.mark.parametrize("colour", [(236, 236, 238), (242, 242, 238), (236, 234, 236)])
def test_cloth_of_nearly_the_grounds_colour_is_told_by_its_tint_or_light(colour):
    """By fewer levels than the light falls off, and no shadow beside it is taken for cloth."""
    plain = shirt(colour, (236, 236, 232)).astype(np.int16)
    shadowed = plain.copy()
    shadowed[300:318, 92:208] -= np.linspace(40, 0, 18).astype(np.int16)[:, None, None]
    for garment in (plain, shadowed):
        garment -= np.linspace(0, 8, 400).astype(np.int16)[:, None, None]
        alpha = foreground(garment.clip(0, 255).astype(np.uint8), np.array([232.0, 232, 228]))
        truth = np.zeros((400, 300), bool)
        truth[80:300, 90:210] = truth[80:150, 50:250] = True
        assert alpha is not None
        found = alpha > 127
        assert (found & truth).sum() / (found | truth).sum() > 0.96


def test_a_print_that_has_the_grounds_tint_is_not_told_by_halves():
    garment = shirt((236, 236, 240), (236, 236, 232))
    garment[150:300, 90:150] = (236, 236, 232)
    canvas, _ = made(garment)
    assert (canvas[250:350, 130:180, 3] == 255).all()


def test_the_networks_see_grey_in_place_of_a_background_that_is_found():
    for garment, seen in ((shirt((200, 30, 30), (240, 240, 240)), 128), (GARMENT, None)):
        _, net = made(garment)
        corner = net[:4, :4].reshape(-1, 3)
        assert (corner == 128).all() == (seen == 128)
    picture = cv2.resize(shirt((200, 30, 30), (240, 240, 240)), (192, 256))
    cut = without_background(picture)
    assert (cut[:4] == 128).all()
    np.testing.assert_array_equal(cut[100:120, 70:120], picture[100:120, 70:120])


def test_white_on_the_same_white_is_left_whole():
    garment = shirt((241, 241, 241), (240, 240, 240))
    canvas, _ = made(garment)
    assert (canvas[..., 3] == 255).all()


@pytest.mark.parametrize("name", ["shirts/1", "shirts/2", "shirts/4", "jackets/1", "jackets/2",
                                  "jackets/3", "jackets/4", "pants/1", "pants/2"])  # fmt: skip
def test_shop_pictures_lose_their_background(name):
    file = asset_path("openvto") / f"clothes/{name}_front.jpg"
    canvas, _ = made(np.asarray(Image.open(file)))
    opaque = canvas[..., 3] > 127
    assert 0.25 < opaque.mean() < 0.75
    assert opaque[256, 192] or "pants" in name
    assert not opaque[:8].any() and not opaque[-8:].any()


def test_the_white_shirt_is_not_eaten():
    file = asset_path("openvto") / "clothes/shirts/3_front.jpg"
    canvas, _ = made(np.asarray(Image.open(file)))
    assert (canvas[150:350, 130:250, 3] == 255).all()
    assert not canvas[:16, :, 3].any() and not canvas[:, :12, 3].any(), "its ground is found, too"
    opaque = (canvas[..., 3] > 127).astype(np.uint8)
    (outline,), _ = cv2.findContours(opaque, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = outline[:, 0].astype(np.float32)
    even = cv2.GaussianBlur(np.concatenate([points] * 3), (1, 37), 6)[len(points) : 2 * len(points)]
    # Its corners are off their average, too; with bumps it was 0.44.
    assert np.abs(even - points).max(1).mean() < 0.4, "its hems have no bumps"


def test_a_busy_background_is_left():
    canvas, _ = made(GARMENT)
    assert (canvas[200:300, :, 3] == 255).all()
    assert not canvas[:10, :, 3].any() or canvas[:10, :, 3].min() == 255  # bars, or none


def test_a_garments_own_alpha_is_kept_and_its_hidden_colours_are_not():
    pixels = np.zeros((200, 100, 4), np.uint8)
    pixels[50:150, 30:70] = (10, 200, 30, 255)
    canvas, net = made(pixels)
    opaque = canvas[..., 3] > 250
    assert (np.abs(canvas[opaque][:, :3].astype(int) - [10, 200, 30]).max(-1) < 60).mean() > 0.97
    assert (canvas[canvas[..., 3] == 0][:, :3] == 128).all()
    assert (net[0, 0] == 128).all()


def test_extreme_garments_do_not_break():
    for pixels in (
        np.zeros((64, 3000, 3), np.uint8), np.zeros((3000, 64, 3), np.uint8),
        np.zeros((64, 64, 4), np.uint8), np.full((70, 70, 3), 255, np.uint8),
    ):  # fmt: skip
        for size in contract.CANVAS_SIZES:
            canvas, net = make_canvas(pixels, size)
            assert canvas.shape == (4, *size) and net.shape == (256, 192, 3)


def test_nothing_but_background_is_no_foreground():
    assert foreground(np.full((90, 90, 3), 240, np.uint8), np.full(3, 240.0)) is None


# ---- crop --------------------------------------------------------------------------------------
def detections(
    *people: tuple[float, float, float, float], width: int = contract.DETECTOR_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Detector outputs for people (hip x, hip y, size, score), in 0..1 of the thumbnail's sides."""
    boxes = np.zeros((contract.DETECTOR_ANCHORS, 12), np.float32)
    scores = np.zeros(contract.DETECTOR_ANCHORS, np.float32)
    for i, (x, y, size, score) in enumerate(people):
        x, y, size = x * width, y * contract.DETECTOR_SIZE, size * contract.DETECTOR_SIZE
        top = y - size
        boxes[i] = [x - size / 4, top, x + size / 4, top + size / 2,
                    x, y, x, y + size, x, y - size / 2, x, y - size]  # fmt: skip
        scores[i] = score
    return boxes, scores


UPPER = np.array([1, 0, 0, 1, 0], np.float32)


@pytest.mark.parametrize("size", [(512, 384), (300, 700), (1024, 768)])
@pytest.mark.parametrize("category", range(3))
def test_window_view_and_placement_agree(size, category):
    """The same point of the photo is found through the window and through the view."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    photo = np.dstack([x * 255 // width, y * 255 // height, 0 * x + 255]).astype(np.uint8)
    boxes, scores = detections((0.5, 0.55, 0.35, 0.9), width=thumbnail_size(*size)[1])
    condition = np.eye(5, dtype=np.float32)[category]
    found = crop(photo, boxes, scores, condition)
    x0, y0, x1, y1 = found.box
    np.testing.assert_array_equal(found.window, photo[y0:y1, x0:x1])
    left, top, right, bottom = found.placement
    assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    # The generator's view is the middle 3:4 of the square; a pixel is known by its red and green.
    for u, v in ((0.3, 0.3), (0.5, 0.5), (0.7, 0.62)):
        across, down = left + u * (right - left), top + v * (bottom - top)
        in_view = found.view[int(down * 256), int(32 + across * 192)].astype(float)
        in_window = found.window[int(v * (y1 - y0)), int(u * (x1 - x0))].astype(float)
        assert in_view[2] > 250
        assert np.abs(in_view - in_window)[:2].max() <= 4


def test_the_window_is_the_anchors_box():
    photo = np.zeros((448, 448, 3), np.uint8)
    boxes, scores = detections((0.5, 0.5, 0.3, 0.9))
    hips, shoulders, radius = anchors_in_photo(find_person(boxes, scores), 448, 448)
    np.testing.assert_allclose(hips, [224, 224], atol=1e-3)
    np.testing.assert_allclose(shoulders, [224, 224 - 0.15 * 448], atol=1e-3)
    assert radius == pytest.approx(0.3 * 448, abs=1e-3)
    box = window_from_anchors(hips, shoulders, radius, "upper")
    np.testing.assert_allclose(crop(photo, boxes, scores, UPPER).box, box, atol=1)


def test_anchors_come_back_from_the_narrow_letterbox():
    boxes, scores = detections((0.5, 0.5, 0.2, 0.9), width=contract.DETECTOR_NARROW)
    hips, shoulders, radius = anchors_in_photo(find_person(boxes, scores), 400, 300)
    scale = 300 / 160
    np.testing.assert_allclose(hips, [150, 200], atol=1)
    np.testing.assert_allclose(hips - shoulders, [0, 0.1 * 224 * scale], atol=0.2)
    assert radius == pytest.approx(0.2 * 224 * scale, abs=0.2)


def test_anchors_come_back_from_the_letterbox():
    boxes, scores = detections((0.5, 0.5, 0.2, 0.9))
    hips, shoulders, _ = anchors_in_photo(find_person(boxes, scores), 100, 200)
    np.testing.assert_allclose(hips, [100, 50], atol=1e-3)
    np.testing.assert_allclose(shoulders, [100, 50 - 0.1 * 200], atol=1e-3)


def test_nobody():
    boxes, scores = detections((0.5, 0.5, 0.3, 0.5))
    with pytest.raises(errors.NoPerson, match="no person was found"):
        find_person(boxes, scores)
    boxes[:] = np.nan
    scores[:] = np.nan
    with pytest.raises(errors.NoPerson):
        find_person(boxes, scores)


def test_a_doubtful_person_is_nobody_alone_and_counts_beside_another():
    with pytest.raises(errors.NoPerson):
        find_person(*detections((0.5, 0.5, 0.3, 0.68)))
    find_person(*detections((0.5, 0.5, 0.3, 0.72)))
    with pytest.raises(errors.SeveralPeople):
        find_person(*detections((0.3, 0.5, 0.3, 0.9), (0.7, 0.5, 0.25, 0.6)))


def test_a_garment_alone_is_nobody():
    path = asset_path("openvto") / "clothes" / "shirts" / "1_front.jpg"
    small = thumbnail(np.asarray(Image.open(path).convert("RGB")))
    with torch.no_grad():
        boxes, scores = (t[0].numpy() for t in Detector()(torch.from_numpy(small)[None]))
    with pytest.raises(errors.NoPerson):
        find_person(boxes, scores)


def test_one_person_seen_many_times_is_one():
    people = [(0.5 + d, 0.5 + d, 0.3 + d, 0.9 - 10 * d) for d in (0, 0.005, 0.01, -0.008)]
    found = find_person(*detections(*people))
    np.testing.assert_allclose(found[4:6], [112, 112], atol=2)


def test_two_people():
    with pytest.raises(errors.SeveralPeople, match="2 people"):
        find_person(*detections((0.3, 0.5, 0.3, 0.9), (0.7, 0.5, 0.25, 0.7)))


def test_small_people_behind_do_not_count():
    found = find_person(*detections((0.8, 0.4, 0.1, 0.95), (0.3, 0.5, 0.3, 0.8)))
    np.testing.assert_allclose(found[4:6], [0.3 * 224, 112], atol=1e-4)


def test_boxes_without_area_end_too():
    boxes, scores = detections((0.5, 0.5, 0.0, 0.9), (0.5, 0.5, 0.0, 0.8))
    find_person(boxes, scores)


def test_a_garment_outside_the_picture():
    boxes, scores = detections((0.5, 3.0, 0.3, 0.9))
    with pytest.raises(errors.NoPerson, match="upper garment would cover lies outside"):
        crop(np.zeros((300, 300, 3), np.uint8), boxes, scores, UPPER)


@pytest.mark.parametrize("side", [100, 256, 700, 1500])
def test_resample_is_aligned_and_antialiased(side):
    """A ramp keeps its values, and stripes of one pixel become grey instead of aliasing."""
    ramp = np.tile(np.linspace(0, 255, 1500)[None, :, None], (1500, 1, 3)).astype(np.uint8)
    low = (1500 - side) / 2
    view = resample(ramp, np.array([low, low, low + side, low + side]), 256)
    centre = low + (np.arange(256) + 0.5) * side / 256
    np.testing.assert_allclose(view[128, 4:-4, 0], (centre * 255 / 1500)[4:-4], atol=2)
    if side >= 700:
        stripes = np.zeros((1500, 1500, 3), np.uint8)
        stripes[:, ::2] = 255
        grey = resample(stripes, np.array([low, low, low + side, low + side]), 256)
        assert grey[20:-20, 20:-20].std() < 40


def test_resample_is_black_outside():
    white = np.full((50, 50, 3), 255, np.uint8)
    view = resample(white, np.array([-50.0, -50.0, 100.0, 100.0]), 150)
    assert (view[52:98, 52:98] == 255).all() and not view[:48].any() and not view[:, 102:].any()
    assert not resample(white, np.array([60.0, 60.0, 90.0, 90.0]), 64).any()


# ---- paste, tokens, served ------------------------------------------------------------------
def test_paste_changes_nothing_outside_the_patch():
    photo = PERSON.copy()
    patch = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
    window, inside = np.array([7, 35, 60, 90], np.int32), np.array([3, 5, 33, 25], np.int32)
    out, out_mask = paste(photo, patch, mask, inside, window)
    np.testing.assert_array_equal(photo, PERSON)
    np.testing.assert_array_equal(out[40:60, 10:40], patch)
    np.testing.assert_array_equal(out_mask[40:60, 10:40], mask)
    out[40:60, 10:40] = photo[40:60, 10:40]
    np.testing.assert_array_equal(out, photo)
    out_mask[40:60, 10:40] = 0
    assert not out_mask.any()


def test_tokens():
    ids, attention = TOKENIZER("red shirt")
    assert ids.dtype == attention.dtype == np.int64
    np.testing.assert_array_equal(ids, [101, 2417, 3797, 102])
    np.testing.assert_array_equal(attention, [1, 1, 1, 1])
    ids, attention = TOKENIZER("shirt " * 80)
    assert ids.shape == attention.shape == (contract.MAX_TOKENS,)
    assert attention.all() and ids[-1] == 102
    np.testing.assert_array_equal(TOKENIZER("")[0], [101, 102])


def test_tokens_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(WORDS, local_files_only=True)
    for text in ("Red STRIPED t-shirt, sleeves rolled!", "été 夏 👕", "unbelievably-oversized"):
        ids, attention = TOKENIZER(text)
        wanted = theirs(text, truncation=True, max_length=contract.MAX_TOKENS)
        np.testing.assert_array_equal(ids, wanted["input_ids"])
        np.testing.assert_array_equal(attention, wanted["attention_mask"])


def test_a_missing_vocabulary_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="make export"):
        Tokenizer(tmp_path)


def test_served_steps_take_batches():
    step = load_step("decode", WORDS)
    inputs = {
        "person": np.stack([PERSON, PERSON]), "garment": np.stack([GARMENT, GARMENT]),
        "prompt": np.array([[b"red"], [b""]], object),
        "category": np.array([[b"upper"], [b"dress"]], object),
    }  # fmt: skip
    out = step(inputs)
    assert [o.name for o in contract.model("decode").outputs] == list(out)
    np.testing.assert_array_equal(out["condition"], [[1, 0, 0, 1, 1], [0, 0, 1, 1, 0]])
    # Prompts are padded to the longest.
    np.testing.assert_array_equal(out["input_ids"], [[101, 2417, 102], [101, 102, 0]])
    np.testing.assert_array_equal(out["attention_mask"], [[1, 1, 1], [1, 1, 0]])


def test_a_batch_whose_pictures_differ_in_size_is_refused():
    step = load_step("crop")
    one, two = detections((0.5, 0.5, 0.3, 0.9)), detections((0.5, 0.5, 0.2, 0.9))
    inputs = {
        "photo": np.zeros((2, 300, 300, 3), np.uint8), "boxes": np.stack([one[0], two[0]]),
        "scores": np.stack([one[1], two[1]]), "condition": np.stack([UPPER, UPPER]),
    }  # fmt: skip
    with pytest.raises(errors.BadShape, match="one by one"):
        step(inputs)


def test_unknown_step_is_named():
    with pytest.raises(KeyError, match="no step 'pose'"):
        load_step("pose")


def test_steps_import_neither_torch_nor_transformers(tmp_path):
    steps = [m.name for m in contract.SERVED if m.kind == "python"]
    shutil.copyfile(WORDS / "tokenizer.json", tmp_path / "tokenizer.json")
    (tmp_path / VERSION_FILE).write_text("0123abcd")
    code = (
        "import sys; from pathlib import Path; from tryon.steps.served import load_step\n"
        f"[load_step(n, Path({str(tmp_path)!r})) for n in {steps!r}]\n"
        "print([m for m in ('torch', 'transformers', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_codes_are_stable():
    assert set(errors.CODES) == {
        "NOT_AN_IMAGE", "IMAGE_TOO_SMALL", "IMAGE_TOO_LARGE", "BAD_SHAPE", "BAD_CATEGORY",
        "BAD_PROMPT", "PROMPT_TOO_LONG", "NOTHING_TO_WEAR", "NO_PERSON", "SEVERAL_PEOPLE",
        "UNKNOWN_GARMENT", "OUTDATED_GARMENT", "WARDROBE_AWAY",
    }  # fmt: skip
    from tryon_client.errors import CODES

    assert set(CODES) == set(errors.CODES), "the client knows every code that a server sends"


@pytest.mark.parametrize("beside", ["skin", "cloth"])
def test_ground_between_arm_and_trunk_is_no_cloth(beside: str) -> None:
    """A gap with skin along one side is the ground; the same white shut in by cloth is a print."""
    picture = np.full((384, 288, 3), 245, np.uint8)
    picture[60:340, 60:230] = 25
    picture[140:300, 190:205] = 245
    if beside == "skin":
        picture[120:320, 205:230] = 200, 140, 110
    alpha, _ = background_of(picture)
    assert alpha is not None
    gap = alpha[150:290, 193:202]
    assert (gap.max() == 0) if beside == "skin" else (gap.min() == 255)
    assert alpha[150:290, 80:180].min() == 255 and alpha[:50].max() == 0
    if beside == "skin":
        assert alpha[150:290, 212:222].min() == 255, "an arm is E^I's to tell"
