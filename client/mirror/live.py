"""One visitor before the mirror: frames in, pictures out, always the newest, never a queue.

The page sends
    binary  8 bytes, its clock in ms at capture (little-endian float64, echoed as it came), + a JPEG
    text    {"wear": {"garment": id or null, "prompt": text, "category": "upper|lower|dress"}}, or
            a list of such, in the order in which they are put on (`wish`)
            {"rtc": an SDP offer with one video track each way, or null to end what was offered,
            "offer": its number}

and is answered
    binary  the 8 bytes, one byte, and where that is DRESSED the picture as JPEG. Every frame is
            answered, so that the page knows how many are under way. UNDRESSED: nothing to wear, or
            nobody to dress, the page shows the camera; PASSED: dropped, late or lost.
    text    {"type": "state", "shown", "dropped", "late", "lost", "latency_ms", "problem": {"code",
            "text"} or null} twice a second; {"type": "wearing", "layers"} after each "wear";
            {"type": "rtc", "offer": its number, "sdp": the answer, or null and "why": {"code",
            "text"}} after an offer that none has replaced meanwhile; {"type": "error", "code",
            "text"} for a message that can't be used. It ends no session; {"type": "hand", "side":
            "left" or "right"} when whoever wears something has raised that hand of theirs.

Frames may come by either way, WebSocket or WebRTC (`rtc`), and are answered by the same; all else
stays on the WebSocket.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from starlette.websockets import WebSocket, WebSocketDisconnect

from mirror.errors import BadMessage, MirrorError, NoWebRTC, told
from mirror.frames import DRESSED, PASSED, UNDRESSED, Frame, SocketFrame
from mirror.hands import Hands
from mirror.rail import Garment as Hung
from mirror.rail import Rail
from mirror.rtc import MAX_SDP_CHARACTERS, Peer
from mirror.wish import Layer, layers
from tryon_client import Garment, TryOnClient
from tryon_client.errors import TryOnError, one_line
from tryon_client.live import Counts, LiveSession, Shown

MAX_TEXT_CHARACTERS = 8192
"""... of a message that is no offer."""
DEADLINE = 2.0
"""Seconds after which an answer is of no use: a laptop beside a browser takes a few tenths."""
STATE_EVERY, WAIT = 0.5, 0.1
"""Seconds between states, and between looks at what became of frames that are not shown."""
MOST_WORN = 16
"""Garments with their words that a visitor wore last: these are kept ready to be worn again."""


class Viewer:
    """The other end of one page's WebSocket.

    Args:
        socket: accepted.
        client: the try-on server; shared by all viewers.
        rail: what there is to wear.
        webrtc: whether offers are answered.
    """

    def __init__(
        self, socket: WebSocket, client: TryOnClient, rail: Rail, *, webrtc: bool = True
    ) -> None:
        self._socket, self._client, self._rail = socket, client, rail
        self._webrtc = webrtc
        self._live: LiveSession | None = None
        self._wearing = False
        self._worn: dict[tuple[str | None, str, str], Garment] = {}
        self._newest: tuple[Frame, float] | None = None  # with the time at which it came
        self._came, self._dressing = anyio.Event(), anyio.Event()
        self._pending: dict[int, Frame] = {}
        self._last = -1
        self._passed = 0
        self._hands = Hands()
        # Threads of its own: decoding, and waiting for answers, wait for no other visitor.
        self._threads = anyio.CapacityLimiter(3)
        self._tasks: TaskGroup | None = None
        self._peer: Peer | None = None
        self._offers = 0
        self._meeting = anyio.Lock()  # an offer at a time: each opens sockets and makes a key

    async def run(self) -> None:
        """Serves the page until it goes."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for task in (self._submit, self._answer, self._report):
                    tasks.start_soon(task)
                await self._receive()
                tasks.cancel_scope.cancel()
        finally:
            self._newest = None
            with anyio.CancelScope(shield=True):
                try:
                    await self._part()
                finally:
                    if self._live is not None:
                        await anyio.to_thread.run_sync(self._live.close)

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    await self._take(SocketFrame(message["bytes"], self._send, self._threads))
                else:
                    await self._told(_parsed(message.get("text") or ""))
            except TryOnError as error:
                await self._refuse(error)

    async def _told(self, message: dict[str, Any]) -> None:
        if "rtc" not in message:
            await self._wear(layers(message))
            return
        offer = message["rtc"]
        if not (offer is None or isinstance(offer, str)):
            raise BadMessage(f"rtc: a {type(offer).__name__}: an offer's text or null")
        number = message.get("offer", 0)
        if not isinstance(number, int):
            raise BadMessage(f"offer: a {type(number).__name__}: a whole number")
        self._offers += 1
        await self._part()
        if offer is not None:
            assert self._tasks is not None
            self._tasks.start_soon(self._meet, offer, number, self._offers)

    async def _meet(self, offer: str, number: int, turn: int) -> None:
        """Answers an offer, unless a later one came; meanwhile frames go on by the WebSocket."""
        async with self._meeting:
            if turn == self._offers:
                await self._answer_offer(offer, number, turn)

    async def _answer_offer(self, offer: str, number: int, turn: int) -> None:
        why: MirrorError | None = None
        peer: Peer | None = None
        sdp = None
        try:
            if not self._webrtc:
                raise NoWebRTC("frames go by the WebSocket alone here")
            peer = Peer(self._take_from_peer)
            sdp = await peer.answer(offer)
        except MirrorError as error:
            why = error
        except Exception as error:  # of a library's: it is the offer's end, not the session's
            why = NoWebRTC(one_line(f"{type(error).__name__}: {error}"))
        finally:
            if peer is not None and (sdp is None or turn != self._offers):
                with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
                    await peer.close()
        if turn == self._offers:
            self._peer = None if sdp is None else peer
            await self._say({"type": "rtc", "offer": number, "sdp": sdp, "why": told(why)})

    async def _part(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            with contextlib.suppress(Exception):  # it is left, whatever its end makes of that
                await peer.close()

    async def _take(self, frame: Frame) -> None:
        """A frame: it replaces the one that waits, if any."""
        if not self._wearing:
            await frame.answer(UNDRESSED)
            return
        before = self._put(frame)
        if before is not None:
            await before.answer(PASSED)

    def _take_from_peer(self, frame: Frame) -> None:
        if self._wearing and self._tasks is not None:
            before = self._put(frame)
            if before is not None:
                self._tasks.start_soon(before.answer, PASSED)

    def _put(self, frame: Frame) -> Frame | None:
        """Makes it the newest; the one that it replaces."""
        before, self._newest = self._newest, (frame, time.monotonic())
        self._came.set()
        if before is None:
            return None
        self._passed += 1
        return before[0]

    async def _wear(self, wish: list[Layer]) -> None:
        worn: list[Garment] = []
        told_of = []
        for layer in wish:
            hung = None if layer.garment is None else self._rail.get(layer.garment)
            category = layer.category or (hung.category if hung else "upper")
            worn.append(await anyio.to_thread.run_sync(
                self._garment, hung, layer.prompt, category, limiter=self._threads
            ))  # fmt: skip
            told_of.append(layer.told(category))
        if worn:
            if self._live is None:
                self._live = LiveSession(self._client, layers=worn, deadline=DEADLINE)
            else:
                self._live.wear(layers=worn)
            self._dressing.set()
        self._wearing = bool(worn)
        await self._say({"type": "wearing", "layers": told_of})

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
            frame, came = newest
            try:
                pixels = await anyio.to_thread.run_sync(frame.read, limiter=self._threads)
            except TryOnError as error:
                await frame.answer(PASSED)
                if frame.told:
                    await self._refuse(error)
                else:
                    self._passed += 1
                continue
            if self._live is None or not self._wearing:
                await frame.answer(UNDRESSED)
            else:
                self._pending[self._live.submit(pixels, came)] = frame

    async def _answer(self) -> None:
        """Sends each new picture, and word of the frames that will never be one."""
        await self._dressing.wait()
        assert self._live is not None
        while True:
            shown, counts = await anyio.to_thread.run_sync(
                self._next, self._live, self._last, limiter=self._threads
            )
            if shown is not None:
                self._last = shown.number
                side = self._hands.look(shown.pose, shown.captured)
                if side is not None:
                    await self._say({"type": "hand", "side": side})
                frame = self._pending.pop(shown.number, None)
                for number in [n for n in self._pending if n < shown.number]:
                    await self._pending.pop(number).answer(PASSED)
                if frame is not None:
                    worn = shown.dressed and self._wearing
                    if worn:
                        await frame.answer(DRESSED, shown.picture)
                    else:
                        await frame.answer(UNDRESSED)
            ended = counts.shown + counts.dropped + counts.late + counts.lost
            known = [n for n in self._pending if n < counts.submitted]
            # Which of them were lost is not told; the oldest are given up, and a picture of one
            # that comes all the same finds no frame to go with and is the next one's loss.
            for number in known[: max(0, len(known) - (counts.submitted - ended))]:
                await self._pending.pop(number).answer(PASSED)

    @staticmethod
    def _next(live: LiveSession, last: int) -> tuple[Shown | None, Counts]:
        """An answer later than `last`, if one comes, and the counts."""
        return live.wait(after=last, timeout=WAIT), live.counts

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


def _parsed(text: str) -> dict[str, Any]:
    """A text message, checked as far as all are alike. Raises BadMessage."""
    if len(text) > 2 * MAX_SDP_CHARACTERS:  # an offer's line ends are two characters in JSON
        raise BadMessage(f"a message of {len(text)} characters can't be read")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("a text message is JSON") from None
    if not isinstance(message, dict):
        raise BadMessage('a text message is {"wear": {...}} or {"rtc": offer}')
    if "rtc" not in message and len(text) > MAX_TEXT_CHARACTERS:
        raise BadMessage(f"a message of {len(text)} characters: at most {MAX_TEXT_CHARACTERS}")
    return message
