"""Pixels out of whatever a request carries: arrays, or encoded files. uint8, upright."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import (
    Image,
    ImageOps,
    # Opening by a format's name takes its plugin to be imported.
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from tryon.contract import MAX_IMAGE_BYTES, MAX_SIDE, MIN_SIDE
from tryon.errors import BadShape, ImageTooLarge, ImageTooSmall, NotAnImage

FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
"""What encoded files may be. Pillow knows many more; each is a decoder that hostile bytes reach."""
MAX_GARMENT_PIXELS = 50_000_000
"""A garment is scaled down, so it may be large, as phones make them; not larger than this."""


def read(field: str, value: np.ndarray, max_side: int | None) -> np.ndarray:
    """Pixels of an input tensor.

    Args:
        field: its name, for errors.
        value: uint8 (H, W, 3) or (H, W, 4) pixels, or (1, 1, N) the bytes of an encoded file.
        max_side: the longest side allowed; None: `MAX_GARMENT_PIXELS` in all.

    Returns:
        uint8 (H, W, 3), or (H, W, 4) where there is transparency; C-contiguous.
    """
    if value.ndim != 3:
        raise BadShape(
            f"{field}: {value.ndim} dimensions, {tuple(value.shape)}: send pixels (height, width, "
            "3 or 4) or a file's bytes (1, 1, N)"
        )
    height, width, channels = value.shape
    if value.dtype != np.uint8:
        raise BadShape(f"{field}: dtype {value.dtype}: send uint8, 0..255")
    if height == 1 and width == 1:
        return _decode(field, value.tobytes(), max_side)
    if channels not in (3, 4):
        raise BadShape(
            f"{field}: {channels} channels, {tuple(value.shape)}: send pixels (height, width, 3) "
            "RGB or (height, width, 4) RGBA, or a file's bytes (1, 1, N)"
        )
    _check_size(field, width, height, max_side)
    return np.ascontiguousarray(value)


def _check_size(field: str, width: int, height: int, max_side: int | None) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmall(
            f"{field}: {width}x{height} is too small: each side must have at least {MIN_SIDE} "
            "pixels"
        )
    if max_side is not None and max(width, height) > max_side:
        raise ImageTooLarge(
            f"{field}: {width}x{height} is too large: scale it down to at most {max_side} pixels "
            "a side (the client does so by itself)"
        )
    if width * height > MAX_GARMENT_PIXELS:
        raise ImageTooLarge(
            f"{field}: {width}x{height} is more than {MAX_GARMENT_PIXELS // 1_000_000} megapixels: "
            "scale it down"
        )


def _decode(field: str, data: bytes, max_side: int | None) -> np.ndarray:
    """uint8 (H, W, 3 or 4) of an encoded file; its size is checked before anything is decoded."""
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLarge(
            f"{field}: {len(data)} bytes: an encoded file may have {MAX_IMAGE_BYTES // 2**20} MiB"
        )
    try:
        with warnings.catch_warnings():
            # Its bomb warning is ours to decide, two lines below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageTooLarge(
            f"{field}: its header says more pixels than can be decoded: scale it down"
        ) from None
    except Exception:  # decoders raise OSError, SyntaxError, struct.error, ValueError, ...
        raise NotAnImage(
            f"{field}: these {len(data)} bytes are no JPEG, PNG or WebP file: send one, or pixels "
            "(height, width, 3)"
        ) from None
    with image:
        _check_size(field, *image.size, max_side)
        if max_side is None:
            # A large JPEG is decoded at a half, quarter or eighth: as large as is needed still.
            image.draft("RGB", (MAX_SIDE, MAX_SIDE))
        try:
            image.load()
        except Exception as error:
            raise NotAnImage(
                f"{field}: the {image.format} file is damaged or cut off ({error}): send it again"
            ) from None
        try:
            upright = ImageOps.exif_transpose(image)
        except Exception:  # a broken EXIF block says nothing about the pixels
            upright = image
        return _to_8_bit(upright)


def _to_8_bit(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3), or (H, W, 4) for modes with transparency, of an image of any mode."""
    if image.mode.startswith("I"):  # 16-bit grey, in 16 or 32 bits
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return np.repeat(((wide * 255 + 32767) // 65535).astype(np.uint8)[..., None], 3, axis=2)
    transparent = "A" in image.getbands() or "a" in image.getbands()
    return np.array(image.convert("RGBA" if transparent or "transparency" in image.info else "RGB"))


def on_white(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of (H, W, 3 or 4): transparency laid on white."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    mixed = (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
