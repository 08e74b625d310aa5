"""One visitor before the mirror: frames in, pictures out, always the newest, never a queue.

The page sends
    binary  8 bytes, its clock in ms at capture (little-endian float64, echoed as it came), + a JPEG
    text    {"wear": {"garment": id or null, "prompt": text, "category": "upper|lower|dress"}}

and is answered
    binary  the 8 bytes, one byte, and where that is DRESSED the picture as JPEG. Every frame is
            answered, so that the page knows how many are under way. UNDRESSED: nothing to wear, or
            nobody to dress, the page shows the camera; PASSED: dropped, late or lost.
    text    {"type": "state", "shown", "dropped", "late", "lost", "latency_ms", "problem": {"code",
            "text"} or null} twice a second; {"type": "wearing", ...} after each "wear"; {"type":
            "error", "code", "text"} for a message that can't be used. It ends no session.
"""

from __future__ import annotations

import io
import json
import struct
import time
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from PIL import Image
from starlette.websockets import WebSocket, WebSocketDisconnect

from mirror.errors import BadMessage, told
from mirror.rail import Garment as Hung
from mirror.rail import Rail, check_category
from tryon_client import Garment, TryOnClient
from tryon_client.errors import ImageTooLarge, NotAnImage, TryOnError
from tryon_client.images import MAX_SIDE, load_person
from tryon_client.live import Counts, LiveSession, Shown

UNDRESSED, DRESSED, PASSED = 0, 1, 2
CLOCK = struct.calcsize("<d")
MAX_FRAME_BYTES = 2 * 2**20
MAX_TEXT_CHARACTERS = 8192
DEADLINE = 2.0
"""Seconds after which an answer is of no use: a laptop beside a browser takes a few tenths."""
STATE_EVERY, WAIT = 0.5, 0.1
"""Seconds between states, and between looks at what became of frames that are not shown."""
QUALITY = 88
MOST_WORN = 16
"""Garments with their words that a visitor wore last: these are kept ready to be worn again."""


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


class Viewer:
    """The other end of one page's WebSocket.

    Args:
        socket: accepted.
        client: the try-on server; shared by all viewers.
        rail: what there is to wear.
    """

    def __init__(self, socket: WebSocket, client: TryOnClient, rail: Rail) -> None:
        self._socket, self._client, self._rail = socket, client, rail
        self._live: LiveSession | None = None
        self._wearing = False
        self._worn: dict[tuple[str | None, str, str], Garment] = {}
        self._newest: tuple[bytes, bytes, float] | None = None  # clock, JPEG, when it came
        self._came, self._dressing = anyio.Event(), anyio.Event()
        self._pending: dict[int, bytes] = {}
        self._last = -1
        self._passed = 0
        # Threads of its own: decoding, and waiting for answers, wait for no other visitor.
        self._threads = anyio.CapacityLimiter(3)

    async def run(self) -> None:
        """Serves the page until it goes."""
        try:
            async with anyio.create_task_group() as tasks:
                for task in (self._submit, self._answer, self._report):
                    tasks.start_soon(task)
                await self._receive()
                tasks.cancel_scope.cancel()
        finally:
            self._newest = None
            if self._live is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._live.close)

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    await self._take(message["bytes"])
                else:
                    await self._wear(_wish(message.get("text") or ""))
            except TryOnError as error:
                await self._refuse(error)

    async def _take(self, data: bytes) -> None:
        """A frame: it replaces the one that waits, if any."""
        if len(data) <= CLOCK:
            raise BadMessage(f"a frame is {CLOCK} bytes of clock and a JPEG, not {len(data)} bytes")
        clock = data[:CLOCK]
        if len(data) - CLOCK > MAX_FRAME_BYTES:
            await self._send(clock + bytes([PASSED]))
            raise ImageTooLarge(f"frame: at most {MAX_FRAME_BYTES >> 20} MiB are read")
        if not self._wearing:
            await self._send(clock + bytes([UNDRESSED]))
            return
        before, self._newest = self._newest, (clock, data[CLOCK:], time.monotonic())
        self._came.set()
        if before is not None:
            self._passed += 1
            await self._send(before[0] + bytes([PASSED]))

    async def _wear(self, wish: dict[str, Any]) -> None:
        key, prompt, category = wish["garment"], wish["prompt"], wish["category"]
        wearing = key is not None or bool(prompt.strip())
        if wearing:
            hung = None if key is None else self._rail.get(key)
            category = category or (hung.category if hung else "upper")
            worn = await anyio.to_thread.run_sync(
                self._garment, hung, prompt.strip(), category, limiter=self._threads
            )
            if self._live is None:
                self._live = LiveSession(self._client, layers=[worn], deadline=DEADLINE)
            else:
                self._live.wear(layers=[worn])
            self._dressing.set()
        self._wearing = wearing
        await self._say({"type": "wearing", "garment": key, "prompt": prompt, "category": category})

    def _garment(self, hung: Hung | None, words: str, category: str) -> Garment:
        """What is worn; the same object again where it was worn before, so that the server, which
        keeps it, need not be sent it."""
        name = (hung.id if hung else None, words, category)
        found = self._worn.pop(name, None)
        if found is None:
            found = Garment(hung.load() if hung else None, words, category)
        self._worn[name] = found  # the newest
        while len(self._worn) > MOST_WORN:
            del self._worn[next(iter(self._worn))]
        return found

    async def _submit(self) -> None:
        """Decodes the newest frame and hands it over, again and again."""
        while True:
            await self._came.wait()
            self._came = anyio.Event()
            newest, self._newest = self._newest, None
            if newest is None:
                continue
            clock, data, came = newest
            try:
                frame = await anyio.to_thread.run_sync(decode_frame, data, limiter=self._threads)
            except TryOnError as error:
                await self._send(clock + bytes([PASSED]))
                await self._refuse(error)
                continue
            if self._live is None or not self._wearing:
                await self._send(clock + bytes([UNDRESSED]))
            else:
                self._pending[self._live.submit(frame, came)] = clock

    async def _answer(self) -> None:
        """Sends each new picture, and word of the frames that will never be one."""
        await self._dressing.wait()
        assert self._live is not None
        while True:
            shown, picture, counts = await anyio.to_thread.run_sync(
                self._next, self._live, self._last, limiter=self._threads
            )
            if shown is not None:
                self._last = shown.number
                clock = self._pending.pop(shown.number, None)
                for number in [n for n in self._pending if n < shown.number]:
                    await self._send(self._pending.pop(number) + bytes([PASSED]))
                if clock is not None:
                    worn = bool(picture) and self._wearing
                    flag = bytes([DRESSED if worn else UNDRESSED])
                    await self._send(clock + flag + (picture if worn else b""))
            ended = counts.shown + counts.dropped + counts.late + counts.lost
            known = [n for n in self._pending if n < counts.submitted]
            # Which of them were lost is not told; the oldest are given up, and a picture of one
            # that comes all the same finds no clock to go with and is the next one's loss.
            for number in known[: max(0, len(known) - (counts.submitted - ended))]:
                await self._send(self._pending.pop(number) + bytes([PASSED]))

    @staticmethod
    def _next(live: LiveSession, last: int) -> tuple[Shown | None, bytes, Counts]:
        """An answer later than `last`, if one comes, as JPEG if it is dressed; and the counts."""
        shown = live.wait(after=last, timeout=WAIT)
        picture = encode(shown.picture) if shown is not None and shown.dressed else b""
        return shown, picture, live.counts

    async def _report(self) -> None:
        while True:
            live = self._live
            counts = Counts() if live is None else live.counts
            await self._say({
                "type": "state", "shown": counts.shown, "dropped": counts.dropped + self._passed,
                "late": counts.late, "lost": counts.lost,
                "latency_ms": 0 if live is None else round(live.latency * 1e3),
                "problem": told(self._problem()),
            })  # fmt: skip
            await anyio.sleep(STATE_EVERY)

    def _problem(self) -> TryOnError | None:
        if self._live is None or not self._wearing:
            return None
        shown = self._live.latest()
        return self._live.problem or (shown.problem if shown else None)

    async def _refuse(self, error: TryOnError) -> None:
        await self._say({"type": "error", **(told(error) or {})})

    async def _say(self, words: dict[str, Any]) -> None:
        await self._send(json.dumps(words))

    async def _send(self, message: bytes | str) -> None:
        try:
            if isinstance(message, str):
                await self._socket.send_text(message)
            else:
                await self._socket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the page is gone: `_receive` hears of it too, and ends


def _wish(text: str) -> dict[str, Any]:
    """The checked "wear" of a text message: garment (None: none), prompt, category (None: the
    garment's own). Raises BadMessage or InvalidRequest."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadMessage(f"a message of {len(text)} characters: at most {MAX_TEXT_CHARACTERS}")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("a text message is JSON") from None
    wish = message.get("wear") if isinstance(message, dict) else None
    if not isinstance(wish, dict):
        raise BadMessage('a text message is {"wear": {"garment": id, "prompt": text}}')
    garment, prompt, category = (wish.get(key) for key in ("garment", "prompt", "category"))
    for name, value in (("garment", garment), ("prompt", prompt), ("category", category)):
        if not (value is None or isinstance(value, str)):
            raise BadMessage(f"{name}: a {type(value).__name__}: text or null")
    if category is not None:
        check_category(category)
    return {"garment": garment, "prompt": prompt or "", "category": category}
