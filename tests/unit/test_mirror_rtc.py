"""WebRTC to the mirror: numbers on frames, and sessions of an aiortc page before a fake Triton."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av import VideoFrame
from av.video.reformatter import ColorRange
from fake_triton import FakeTriton, serve
from mirror_site import PATIENCE, ROOT, hang, site, written
from PIL import Image
from websockets.asyncio.client import connect

from mirror import rtc, tally
from mirror.errors import BadMessage, NoWebRTC
from tryon_client import TryOnError

SIZE = (192, 256)  # height, width


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    with serve(FakeTriton()) as (fake, url):
        fake.url = url  # type: ignore[attr-defined]
        yield fake


# ---- numbers on frames ----


@pytest.mark.parametrize("width", [48, 90, 384, 512, 640])
@pytest.mark.parametrize("number", [0, 1, 0x5A5A, 40000, tally.NUMBERS - 1])
def test_a_number_outlives_a_lossy_codec(width, number):
    picture = np.random.default_rng(number).integers(0, 256, (64, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(tally.added(picture, number)).save(out, "JPEG", quality=30)
    came, read = tally.parted(np.asarray(Image.open(out)))
    assert read == number and came.shape == picture.shape


@pytest.mark.parametrize("level", [0, 127, 128, 255])
def test_a_picture_without_a_number_has_none(level):
    even = np.full((80, 512, 3), level, np.uint8)
    assert tally.parted(even)[1] is None
    assert tally.parted(even[: tally.ROWS])[1] is None and tally.parted(even[:, :40])[1] is None


def test_one_wrong_cell_is_noticed():
    picture = np.zeros((64, 480, 3), np.uint8)
    for number in range(0, tally.NUMBERS, 257):
        strip = tally.added(picture, number)
        cell = number % tally.CELLS
        strip[64:, cell * 20 : (cell + 1) * 20] ^= 255
        assert tally.parted(strip)[1] is None, (number, cell)


# ---- offers ----


def test_an_offer_that_is_none_is_refused_in_a_line():
    async def offers() -> None:
        audio = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        audio.addTransceiver("audio")
        await audio.setLocalDescription(await audio.createOffer())
        sdp = audio.localDescription.sdp
        await audio.close()
        many = sdp + (rtc.MOST_CANDIDATES + 1) * "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
        for offer in ("", "nonsense", "v=0\r\nm=video", sdp, many,
                      "a" * (rtc.MAX_SDP_CHARACTERS + 1)):  # fmt: skip
            peer = rtc.Peer(lambda frame: None)
            with pytest.raises(BadMessage) as refused:
                await peer.answer(offer)
            await peer.close()
            assert "\n" not in str(refused.value)

    asyncio.run(offers())


def test_without_aiortc_the_page_keeps_its_socket(monkeypatch):
    monkeypatch.setattr(rtc, "AVAILABLE", False)
    with pytest.raises(NoWebRTC, match="pip install"):
        rtc.Peer(lambda frame: None)
    code = (
        "import sys; sys.modules['aiortc'] = None; import mirror.serve, mirror.rtc; "
        "assert not mirror.rtc.AVAILABLE"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "client", timeout=60)


@pytest.mark.parametrize("full", [True, False])
def test_levels_are_right_whichever_range_a_browser_sends(full):
    """VP8 doesn't tell the range of its luma; the strip's white does."""
    levels = np.repeat(np.array([[0, 60, 142, 200, 255]], np.uint8), 100, 1).repeat(64, 0)
    picture = np.repeat(levels[..., None], 3, 2)
    frame = VideoFrame.from_ndarray(tally.added(picture, 7), "rgb24").reformat(
        format="yuv420p", dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG)  # fmt: skip
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    assert bool(luma[:, : frame.width].min() < 8) is full, "the ranges differ"
    frame.color_range = ColorRange.UNSPECIFIED
    peer: Any = None
    read = rtc.PeerFrame(frame, peer).read()
    assert np.abs(read.astype(int) - picture).max() <= 3


# ---- sessions ----


class Film(VideoStreamTrack):
    """Grey frames whose strip tells their number; 30 a second, each a little brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[int, float] = {}

    async def recv(self) -> VideoFrame:
        pts, base = await self.next_timestamp()
        number = len(self.sent)
        grey = np.full((*SIZE, 3), 60 + number * 7 % 90, np.uint8)
        frame = VideoFrame.from_ndarray(tally.added(grey, number), "rgb24")
        frame.pts, frame.time_base = pts, Fraction(base)
        self.sent[number] = time.monotonic()
        return frame


class Page:
    """A page's end: its socket, and by WebRTC a film out and pictures in."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.film = Film()
        self.unread = 0  # VP8 at its fastest now and then leaves a block as it was
        self.came: list[tuple[int, float, np.ndarray]] = []  # number, age in seconds, picture
        self.states: list[dict[str, Any]] = []
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("track", lambda track: asyncio.ensure_future(self._look(track)))

    async def say(self, **words: object) -> None:
        await self.socket.send(json.dumps(words))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this kind."""
        async with asyncio.timeout(PATIENCE):
            while True:
                told = json.loads(await self.socket.recv())
                if told["type"] == "state":
                    self.states.append(told)
                if told["type"] == kind:
                    return told

    async def meet(self, before: int = 0) -> None:
        """Offers; `before`: earlier offers, of which none is answered any more."""
        self._connection.addTrack(self.film)
        await self._connection.setLocalDescription(await self._connection.createOffer())
        for earlier in range(before):
            await self.say(rtc=self._connection.localDescription.sdp, offer=100 + earlier)
        await self.say(rtc=self._connection.localDescription.sdp, offer=3)
        told = await self.hear("rtc")
        while told["offer"] != 3:  # the first was begun before the others came
            assert told["offer"] == 100
            told = await self.hear("rtc")
        assert told["why"] is None
        answer = RTCSessionDescription(told["sdp"], "answer")
        await self._connection.setRemoteDescription(answer)

    async def _look(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            assert isinstance(frame, VideoFrame)
            picture, number = tally.parted(frame.to_ndarray(format="rgb24"))
            if number is None:
                self.unread += 1
                continue
            self.came.append((number, time.monotonic() - self.film.sent[number], picture))

    async def pictures(self, count: int) -> list[tuple[int, float, np.ndarray]]:
        """The next so many."""
        start = len(self.came)
        async with asyncio.timeout(3 * PATIENCE):
            while len(self.came) < start + count:
                await self.hear("state")
        return self.came[start:]

    async def leave(self) -> None:
        await self._connection.close()


def test_frames_come_back_dressed_newest_first_and_nothing_is_kept(fake, tmp_path):
    """A whole session by WebRTC: what is shown, what is dropped, and what is left on the disk."""
    shop = hang(tmp_path / "shop")

    async def session(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/live", max_size=None, proxy=None) as socket:
            page = Page(socket)
            await page.meet()
            await page.say(wear={"garment": None, "prompt": "a red shirt"})
            for number, _, picture in await page.pictures(5):
                assert picture.shape == (*SIZE, 3)
                block, rest = picture[60:90, 75:120].mean((0, 1)), picture[120:, 150:].mean((0, 1))
                assert block[0] > 180 and block[1] < 80, "the fake server's red block"
                grey = 60 + number * 7 % 90
                assert np.abs(rest - grey).max() < 12, "the very frame of this number"

            # A slow server: the newest is taken, all others are dropped.
            fake.delay = 0.4
            await page.pictures(3)
            slow = await page.pictures(8)
            numbers = [number for number, *_ in slow]
            assert numbers == sorted(set(numbers)), "in order, none twice"
            assert numbers[-1] - numbers[0] > 2 * len(numbers), "frames between were left out"
            assert page.states[-1]["dropped"] > 10 and page.states[-1]["problem"] is None
            fake.delay = 0.0

            await page.say(wear={"garment": None, "prompt": "a blue shirt"})
            await page.hear("wearing")
            await page.pictures(3)
            assert fake.worn()[-1].prompt == "a blue shirt"

            # With nothing to wear no frame goes on, and none comes back.
            await page.say(wear={"garment": None, "prompt": ""})
            await page.hear("wearing")
            await page.hear("state")
            asked, seen = len(fake.requests), len(page.came)
            for _ in range(3):
                await page.hear("state")
            assert len(fake.requests) <= asked + 2 and len(page.came) <= seen + 2, "under way then"

            assert page.unread <= len(page.came) // 5

            # None at all ends it.
            await page.say(rtc=None)
            await page.say(rtc="nonsense")
            assert (await page.hear("rtc"))["why"]["code"] == "BAD_MESSAGE"
            await page.leave()

    with site(fake.url, shop, tmp_path) as running:
        asyncio.run(session(running.port))
    assert "stopping" in running.out and not running.err
    assert not written(tmp_path)


def test_a_later_offer_takes_the_place_of_those_before(fake, tmp_path):
    async def session(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/live", max_size=None, proxy=None) as socket:
            first, second = Page(socket), Page(socket)
            await first.say(wear={"garment": None, "prompt": "a red shirt"})
            await first.meet()
            await first.pictures(2)
            await second.meet(before=20)
            await second.pictures(2)
            seen = len(first.came)
            await second.pictures(3)
            assert len(first.came) <= seen + 1, "the first connection is closed"
            await first.leave()
            await second.leave()

    with site(fake.url, hang(tmp_path / "shop"), tmp_path) as running:
        asyncio.run(session(running.port))


def test_who_goes_while_an_offer_is_answered_leaves_nothing_behind(fake, tmp_path):
    async def session(port: int) -> None:
        for _ in range(3):
            async with connect(f"ws://127.0.0.1:{port}/live", max_size=None, proxy=None) as socket:
                page = Page(socket)
                connection = page._connection
                connection.addTrack(page.film)
                await connection.setLocalDescription(await connection.createOffer())
                await page.say(rtc=connection.localDescription.sdp, offer=1)
            await page.leave()

    with site(fake.url, hang(tmp_path / "shop"), tmp_path) as running:
        asyncio.run(session(running.port))
    assert not running.err


def test_a_server_that_keeps_to_the_socket_says_so(fake, tmp_path):
    async def session(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/live", max_size=None, proxy=None) as socket:
            page = Page(socket)
            await page.say(rtc="any")
            told = await page.hear("rtc")
            assert told["sdp"] is None and told["why"]["code"] == "NO_WEB_RTC"
            await page.say(rtc=7)
            assert (await page.hear("error"))["code"] == "BAD_MESSAGE"
            await page.say(rtc=None, offer="first")
            assert (await page.hear("error"))["code"] == "BAD_MESSAGE"
            await page.leave()

    with site(fake.url, hang(tmp_path / "shop"), tmp_path, "--no-webrtc") as running:
        asyncio.run(session(running.port))


def test_a_frame_too_large_or_too_small_is_refused_before_it_is_dressed():
    peer: Any = None
    for size, said in (((2000, 64), "1536 pixels at most"), ((32, 96), "at least 64")):
        frame = VideoFrame.from_ndarray(tally.added(np.zeros((*size, 3), np.uint8), 1), "rgb24")
        with pytest.raises(TryOnError, match=said):
            rtc.PeerFrame(frame, peer).read()
