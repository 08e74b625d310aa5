"""WebRTC between one page and the mirror: its camera's track in, a track of dressed frames out.

The newest frame only, in both directions: what comes while nobody takes it is replaced, and the
track that goes out waits for the next picture and repeats none. Numbers on the frames
(`tally`) say which is which. No STUN or TURN server is asked: page and mirror reach each other
directly, or the page keeps to its WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import logging
import time
from collections.abc import Callable

import numpy as np

from mirror import tally
from mirror.errors import BadMessage, NoWebRTC
from tryon_client.errors import ImageTooLarge, NotAnImage
from tryon_client.images import MAX_SIDE, load_person

MAX_SDP_CHARACTERS = 65536
MOST_CANDIDATES = 32
"""Addresses that an offer may name: each is asked for by the mirror's machine."""
_CLOCK = 90_000
"""Ticks per second of a video's timestamps in RTP."""

try:
    from aiortc import (
        MediaStreamTrack,
        RTCConfiguration,
        RTCPeerConnection,
        RTCSessionDescription,
    )
    from aiortc.mediastreams import MediaStreamError
    from av import VideoFrame
    from av.video.reformatter import ColorRange
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True
    # A connection that can't be made is the page's to tell: it shows which transport runs.
    for _name in ("aiortc", "aioice"):
        logging.getLogger(_name).setLevel(logging.ERROR)

    class _Dressed(MediaStreamTrack):
        """The track that goes out: the newest picture, once."""

        kind = "video"

        def __init__(self) -> None:
            super().__init__()
            self._newest: tuple[np.ndarray, int] | None = None
            self._came = asyncio.Event()
            self._began = time.monotonic()
            self._last = -1

        def show(self, picture: np.ndarray, number: int) -> None:
            self._newest = picture, number
            self._came.set()

        async def recv(self) -> VideoFrame:
            while self._newest is None:
                self._came.clear()
                await self._came.wait()
            (picture, number), self._newest = self._newest, None
            height, width = (side & ~1 for side in picture.shape[:2])  # as its colours are halved
            frame = VideoFrame.from_ndarray(tally.added(picture[:height, :width], number), "rgb24")
            self._last = max(self._last + 1, int((time.monotonic() - self._began) * _CLOCK))
            frame.pts, frame.time_base = self._last, fractions.Fraction(1, _CLOCK)
            return frame


class PeerFrame:
    """A frame of the track that comes (`frames.Frame`); answered by the track that goes out.

    Only the dressed ones are: which frames were passed over, the page sees by their numbers.
    """

    told = False  # a browser's first frames may have no number yet

    def __init__(self, frame: VideoFrame, peer: Peer) -> None:
        self._frame, self._peer = frame, peer
        self._number = 0

    def read(self) -> np.ndarray:
        """Its pixels, uint8 (H, W, 3), without the strip.

        Raises NotAnImage (no number can be read), ImageTooLarge or ImageTooSmall.
        """
        if _too_large(self._frame):
            raise ImageTooLarge(
                f"frame: {self._frame.width}x{self._frame.height}: a side may have {MAX_SIDE} "
                "pixels at most"
            )
        picture, number = tally.parted(_pixels(self._frame))
        if number is None:
            raise NotAnImage("frame: no number can be read on it")
        self._number = number
        return load_person(picture).array

    async def answer(self, flag: int, picture: np.ndarray | None = None) -> None:
        """Shows the picture, if there is one."""
        if picture is not None:
            self._peer.show(picture, self._number)


def _too_large(frame: VideoFrame) -> bool:
    return max(frame.width, frame.height) > MAX_SIDE + tally.ROWS


def _pixels(frame: VideoFrame) -> np.ndarray:
    """uint8 (H, W, 3) of a frame with a strip.

    VP8 doesn't say whether luma runs from 16 to 235 or from 0 to 255, and Chromium sends the
    latter of a canvas: the strip's white tells.
    """
    if frame.format.name != "yuv420p" or frame.height <= tally.ROWS:
        return frame.to_ndarray(format="rgb24")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    luma = rows[: frame.height, : frame.width]
    full = float(tally.middle(luma).max()) > (235 + 255) / 2
    source = ColorRange.JPEG if full else ColorRange.MPEG
    return frame.reformat(format="rgb24", src_color_range=source).to_ndarray()


class Peer:
    """The mirror's end of one WebRTC connection; belongs to the event loop that makes it.

    Args:
        take: called in the loop with each frame that comes.

    Raises:
        NoWebRTC: aiortc isn't installed.
    """

    def __init__(self, take: Callable[[PeerFrame], None]) -> None:
        if not AVAILABLE:
            raise NoWebRTC('aiortc isn\'t installed: pip install "tryon-client[webrtc]"')
        self._take = take
        # Without servers named aiortc would ask a public one for this machine's address.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._out = _Dressed()
        self._drains: set[asyncio.Task[None]] = set()
        self._connection.on("track", self._follow)

    async def answer(self, offer: str) -> str:
        """The SDP that answers a page's offer, this machine's addresses in it.

        Raises:
            BadMessage: the offer can't be used; it has to carry one video track each way.
        """
        if len(offer) > MAX_SDP_CHARACTERS:
            raise BadMessage(f"an offer of {len(offer)} characters: at most {MAX_SDP_CHARACTERS}")
        if (named := offer.count("candidate:")) > MOST_CANDIDATES:
            raise BadMessage(f"an offer of {named} addresses: at most {MOST_CANDIDATES}")
        connection = self._connection
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            if [t.kind for t in connection.getTransceivers()] != ["video"]:
                raise ValueError("one video track is answered")
            connection.addTrack(self._out)
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # whatever a parser makes of text that is not its own
            raise BadMessage(f"rtc: the offer can't be used: {error}") from None
        return connection.localDescription.sdp

    def show(self, picture: np.ndarray, number: int) -> None:
        """Sends a picture, uint8 (H, W, 3), in place of one that still waits to be sent."""
        self._out.show(picture, number)

    async def close(self) -> None:
        """Ends the connection."""
        for task in self._drains:
            task.cancel()
        self._out.stop()
        await self._connection.close()

    def _follow(self, track: MediaStreamTrack) -> None:
        task = asyncio.ensure_future(self._drain(track))
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if not isinstance(frame, VideoFrame):
                    continue
                self._take(PeerFrame(frame, self))
                if _too_large(frame):  # each costs hundreds of megabytes before it is refused here
                    track.stop()
                    return
