"""Frames of a page's WebSocket: JPEG and the page's clock in, a flag and JPEG out."""

from __future__ import annotations

import io
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.to_thread
import numpy as np
from PIL import Image

from mirror.errors import BadMessage
from tryon_client.errors import ImageTooLarge, NotAnImage
from tryon_client.images import MAX_SIDE, load_person

UNDRESSED, DRESSED, PASSED = 0, 1, 2
CLOCK = struct.calcsize("<d")
MAX_FRAME_BYTES = 2 * 2**20
QUALITY = 88


class Frame(Protocol):
    """A frame that a page sent, by whatever way it came."""

    told: bool
    """Whether the page is to hear of it when the frame can't be used."""

    def read(self) -> np.ndarray:
        """Its pixels, uint8 (H, W, 3); may take milliseconds. Raises TryOnError."""

    async def answer(self, flag: int, picture: np.ndarray | None = None) -> None:
        """What became of it; a picture, uint8 (H, W, 3), where it is DRESSED."""


class SocketFrame:
    """A binary message of the page's.

    Args:
        data: its clock and a JPEG.
        send: sends a binary message back.
        threads: in which JPEGs are made.

    Raises:
        BadMessage: too short to be one.
    """

    told = True

    def __init__(
        self, data: bytes, send: Callable[[bytes], Awaitable[None]], threads: anyio.CapacityLimiter
    ) -> None:
        if len(data) <= CLOCK:
            raise BadMessage(f"a frame is {CLOCK} bytes of clock and a JPEG, not {len(data)} bytes")
        self._clock, self._jpeg = data[:CLOCK], data[CLOCK:]
        self._send, self._threads = send, threads

    def read(self) -> np.ndarray:
        """As `Frame.read`; the size is checked before decoding."""
        if len(self._jpeg) > MAX_FRAME_BYTES:
            raise ImageTooLarge(f"frame: at most {MAX_FRAME_BYTES >> 20} MiB are read")
        return decode_frame(self._jpeg)

    async def answer(self, flag: int, picture: np.ndarray | None = None) -> None:
        """As `Frame.answer`."""
        jpeg = b""
        if picture is not None:
            jpeg = await anyio.to_thread.run_sync(encode, picture, limiter=self._threads)
        await self._send(self._clock + bytes([flag]) + jpeg)


def decode_frame(data: bytes) -> np.ndarray:
    """The pixels of a frame, uint8 (H, W, 3).

    Raises NotAnImage, ImageTooLarge or ImageTooSmall; the size is checked before decoding.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"frame: a side may have {MAX_SIDE} pixels at most") from None
    except Exception:  # whatever a decoder makes of bytes that are not its own
        raise NotAnImage("frame: it can't be read as JPEG") from None
    with image:
        if max(image.size) > MAX_SIDE:
            raise ImageTooLarge(
                f"frame: {image.width}x{image.height}: a side may have {MAX_SIDE} pixels at most"
            )
        return load_person(image).array


def encode(picture: np.ndarray) -> bytes:
    """JPEG of a picture, uint8 (H, W, 3)."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
