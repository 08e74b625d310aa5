"""Anything that shows a picture -> uint8 pixels, upright, sRGB-like, with or without alpha.

Accepted: a path; an encoded file's bytes; a PIL image; an array (H, W), (H, W, 1), (H, W, 3) or
(H, W, 4) of uint8, uint16, float in 0..1 or bool. The checks that need no decoding (is it an image,
how large does its header say it is) come before decoding, so that a small file that unpacks into
gigabytes is refused for the price of its header.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np
from PIL import Image, ImageCms, ImageOps

from tryon_client.errors import ImageTooLarge, ImageTooSmall, InvalidRequest, NotAnImage

Picture = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Image.Image, np.ndarray]

MIN_SIDE = 64
MAX_SIDE = 1536
"""The contract's limits on what is sent; larger pictures are scaled down for the request."""
MAX_PIXELS = 150_000_000
"""More pixels than this are not decoded: above today's 108-megapixel phones, below trouble."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM",
            "TGA")  # fmt: skip
"""Formats that are opened. Pillow knows more, among them some that start other programs."""


@dataclass(frozen=True)
class Pixels:
    """Decoded pixels, uint8 (H, W, 3) or (H, W, 4), and the colour profile they are in, if any."""

    array: np.ndarray
    icc_profile: bytes | None = None


def load_person(source: Picture) -> Pixels:
    """The person's own pixels, uint8 (H, W, 3).

    Transparency is laid on white. RGB pixels keep their bytes and their colour profile (so that the
    answer can carry it); other modes with a profile are converted to sRGB.
    """
    pixels = _load(source, "person", is_person=True)
    array = pixels.array
    if array.shape[2] == 4:
        image = Image.fromarray(array)
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        array = np.asarray(Image.alpha_composite(ground, image).convert("RGB"))
    return Pixels(np.ascontiguousarray(array), pixels.icc_profile)


def load_garment(source: Picture) -> np.ndarray:
    """The garment's pixels in sRGB, uint8 (H, W, 3), or (H, W, 4) where some are transparent."""
    array = _load(source, "garment", is_person=False).array
    if array.shape[2] == 4 and array[..., 3].min() == 255:
        array = array[..., :3]
    return np.ascontiguousarray(array)


def shrink(array: np.ndarray, what: str, longest: int = MAX_SIDE) -> np.ndarray:
    """`array`, or a smaller copy whose longer side is `longest`.

    Raises ImageTooSmall where the shorter side falls below 64 by that.
    """
    height, width = array.shape[:2]
    if max(height, width) <= longest:
        return array
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(size) < MIN_SIDE:
        raise ImageTooSmall(
            f"{what}: {width}x{height} is too narrow: scaled down to {longest} pixels it is "
            f"{size[0]}x{size[1]}, and a side must have {MIN_SIDE}; crop it"
        )
    image = Image.fromarray(array)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def _load(source: Picture, what: str, is_person: bool) -> Pixels:
    if isinstance(source, np.ndarray):
        pixels = Pixels(_from_array(source, what))
    elif isinstance(source, Image.Image):
        _check_size(source.size, what)
        pixels = _from_image(source, what, is_person)
    else:
        pixels = _from_file(source, what, is_person)
    height, width = pixels.array.shape[:2]
    _check_size((width, height), what)
    return pixels


def _check_size(size: tuple[int, int], what: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(
            f"{what}: {width}x{height} is more than {MAX_PIXELS // 1_000_000} megapixels: "
            "send a smaller picture"
        )
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmall(
            f"{what}: {width}x{height} is too small: each side must have at least {MIN_SIDE} pixels"
        )


def _from_array(array: np.ndarray, what: str) -> np.ndarray:
    """uint8 (H, W, 3 or 4) of an array of any accepted shape and dtype."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise InvalidRequest(
            f"{what}: an array of shape {tuple(array.shape)}: give one picture as (H, W), "
            "(H, W, 1), (H, W, 3) or (H, W, 4)"
        )
    _check_size((array.shape[1], array.shape[0]), what)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _from_16_bit(array)
    elif np.issubdtype(array.dtype, np.floating):
        # NaN fails both comparisons, so it lands here too. A little overshoot is what resizing
        # and float arithmetic leave behind; more means another scale, which is worth an error.
        if not (array.min() >= -0.01 and array.max() <= 1.01):
            raise InvalidRequest(
                f"{what}: float values must lie in 0..1 (found {array.min():g} to "
                f"{array.max():g}): divide by 255, or pass uint8"
            )
        scaled = np.clip(array.astype(np.float32), 0, 1) * 255
        array = np.rint(scaled).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InvalidRequest(
            f"{what}: dtype {array.dtype}: pass uint8 (0..255), uint16, float (0..1) or bool"
        )
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def _from_16_bit(array: np.ndarray) -> np.ndarray:
    """uint8 of values 0..65535, rounded."""
    return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _from_file(source: Any, what: str, is_person: bool) -> Pixels:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise NotAnImage(f"{what}: {str(path)!r} {problem}")
        try:
            data = path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise NotAnImage(f"{what}: {str(path)!r} can't be read: {reason}") from None
        name = repr(str(path))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "these bytes"
    else:
        raise NotAnImage(
            f"{what}: a {type(source).__name__} is no picture: pass a path, an encoded file's "
            "bytes, a PIL image or an array"
        )
    try:
        image = Image.open(io.BytesIO(data), formats=_known_formats())
    except Image.DecompressionBombError:
        raise ImageTooLarge(
            f"{what}: {name} has more than {MAX_PIXELS // 1_000_000} megapixels by its header: "
            "send a smaller picture"
        ) from None
    except Exception:  # whatever a decoder makes of bytes that are not its own
        hint = ""
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
            hint = " (it is HEIC: save it as JPEG)"
        elif not data:
            hint = " (it is empty)"
        raise NotAnImage(
            f"{what}: {name} can't be read as a picture{hint}: JPEG, PNG, WebP, AVIF, GIF, BMP, "
            "TIFF, JPEG 2000, PPM and TGA can"
        ) from None
    with image:
        _check_size(image.size, what)
        if not is_person:
            # A garment is scaled down anyway: a JPEG decoder halves while it decodes, for less.
            image.draft(None, (MAX_SIDE, MAX_SIDE))
        return _from_image(image, f"{what}: {name}", is_person)


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _from_image(image: Image.Image, what: str, is_person: bool) -> Pixels:
    """Decodes, turns upright, and converts to 8-bit RGB or RGBA."""
    try:
        image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        raise NotAnImage(f"{what} is damaged or cut off ({error})") from None
    profile = image.info.get("icc_profile")
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels
        upright = image
    if is_person and upright.mode == "RGB" and "transparency" not in upright.info:
        return Pixels(np.array(upright), profile)
    if profile:
        upright = _to_srgb(upright, profile)
    return Pixels(_to_8_bit(upright, what))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image in sRGB, where its mode and profile allow it; itself otherwise."""
    if image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGBA" if image.mode == "RGBA" else "RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # a damaged profile, or one of another colour space
    return image if converted is None else converted


def _to_8_bit(image: Image.Image, what: str) -> np.ndarray:
    """uint8 (H, W, 3 or 4) of a decoded image of any mode."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        return np.repeat(_from_16_bit(values.astype(np.uint16))[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        return np.repeat(_from_wide(np.asarray(image), what)[..., None], 3, axis=2)
    transparent = "A" in image.getbands() or "a" in image.getbands()
    if transparent or "transparency" in image.info:
        return np.array(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _from_wide(values: np.ndarray, what: str) -> np.ndarray:
    """uint8 (H, W) of 32-bit grey, integer or float, whose white is the least of the usual ones."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535):
        raise NotAnImage(
            f"{what} has grey values from {low:g} to {high:g}; save it with 8 or 16 bits"
        )
    floating = np.issubdtype(values.dtype, np.floating)
    white = 1.0 if floating and high <= 1 else 255.0 if high <= 255 else 65535.0
    return np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)
