"""The mirror's server: page, rail, uploads and the live session, before a fake Triton."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from fake_triton import FakeTriton, serve
from PIL import Image
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from mirror import app as mirror_app
from mirror import live as mirror_live
from mirror import rail as mirror_rail
from mirror.__main__ import main
from mirror.app import create_app
from mirror.errors import BadFolder, CannotListen, GarmentGone
from mirror.frames import DRESSED, MAX_FRAME_BYTES, PASSED, UNDRESSED, decode_frame
from mirror.rail import Rail
from mirror.serve import listen, warn_of_host
from tryon_client import TryOnClient, TryOnError

ROOT = Path(__file__).parents[2]
SIZE = (96, 128)  # height, width
PATIENCE = 20.0
"""Seconds that a test waits for what must come; nothing is measured."""


def encoded(colour: object, size: tuple[int, int] = SIZE, kind: str = "JPEG", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size[::-1], colour).save(out, kind, **how)  # type: ignore[arg-type]
    return out.getvalue()


def frame(clock: float, colour: object = (90, 90, 90)) -> bytes:
    return struct.pack("<d", clock) + encoded(colour)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is too late, however busy the machine is."""
    monkeypatch.setattr(mirror_live, "DEADLINE", 60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shop: two shirts, trousers, a back view, and a file that is no picture."""
    pictures = {"shirts/1_front.jpg": "navy", "shirts/1_back.jpg": "black",
                "shirts/summer-check.png": "green", "pants/2_front.jpg": "gray"}  # fmt: skip
    for name, colour in pictures.items():
        path = tmp_path / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 240), colour).save(path)
    (tmp_path / "shop" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "shop"


@contextmanager
def page(url: str, rail: Rail) -> Iterator[TestClient]:
    with TestClient(create_app(TryOnClient(url, timeout=5), rail)) as browser:
        yield browser


@pytest.fixture
def rail(folder: Path) -> Rail:
    return Rail(folder)


@pytest.fixture
def browser(fake: Any, rail: Rail) -> Iterator[TestClient]:
    with page(fake.url, rail) as browser:
        yield browser


class Page:
    """The page's end of /live: what came, sorted."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self._socket = socket
        self.texts: list[dict[str, Any]] = []

    def say(self, message: object) -> None:
        self._socket.send_text(message if isinstance(message, str) else json.dumps(message))

    def wear(
        self, garment: str | None = None, prompt: str = "", **more: str
    ) -> list[dict[str, Any]]:
        self.say({"wear": {"garment": garment, "prompt": prompt, **more}})
        return self.text("wearing")["layers"]

    def send(self, data: bytes) -> None:
        self._socket.send_bytes(data)

    def text(self, kind: str, good: Callable[[dict[str, Any]], bool] = lambda told: True):
        """The next text message of this kind for which `good` holds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self._socket.receive()
            if message.get("text"):
                self.texts.append(told := json.loads(message["text"]))
                if told["type"] == kind and good(told):
                    return told
        raise AssertionError(f"no {kind} came")

    def answer(self) -> tuple[float, int, bytes]:
        """The next binary message: clock, flag, JPEG."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self._socket.receive()
            if message.get("bytes"):
                data = message["bytes"]
                return struct.unpack("<d", data[:8])[0], data[8], data[9:]
            self.texts.append(json.loads(message["text"]))
        raise AssertionError("no answer came")

    def dressed(self, clock: float, **what: object) -> bytes:
        """Sends frames until one is answered dressed (others may be late on a busy machine)."""
        for _ in range(20):
            self.send(frame(clock, **what))
            answered, flag, jpeg = self.answer()
            assert answered == clock
            if flag == DRESSED:
                return jpeg
        raise AssertionError("no frame was dressed")


@contextmanager
def before(browser: TestClient, **how: Any) -> Iterator[Page]:
    with browser.websocket_connect("/live", **how) as socket:
        yield Page(socket)


# ---- page and rail ----


def test_the_page_and_all_that_it_asks_for_are_served(browser):
    answer = browser.get("/")
    assert answer.status_code == 200 and "text/html" in answer.headers["content-type"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["permissions-policy"].startswith("camera=(self)")
    asked = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    assert len(asked) == 3
    for script in mirror_app.STATIC.glob("*.js"):
        asked += [f"/static/{name}" for name in re.findall(r'from "\./(.+?)"', script.read_text())]
    for path in asked:
        assert browser.get(path).status_code == 200, path
    assert browser.get("/static/../app.py").status_code == 404
    assert browser.get("/nothing").status_code == 404


def test_every_word_is_there_in_both_languages():
    words = (mirror_app.STATIC / "words.js").read_text()
    english, chinese = re.findall(r"\n  (?:en|zh): \{(.*?)\n  \},", words, re.DOTALL)
    keys = [set(re.findall(r"^    (\w+):", part, re.MULTILINE)) for part in (english, chinese)]
    assert keys[0] == keys[1]
    used = set()
    for path in mirror_app.STATIC.iterdir():
        used |= set(re.findall(r'data-say(?:-label|-placeholder)?="(\w+)"', path.read_text()))
        used |= set(re.findall(r'\bsay\("(\w+)"', path.read_text()))
    assert used - keys[0] == set() and len(used) > 25


def test_the_rail_lists_the_folder(browser, rail):
    listed = browser.get("/garments").json()
    assert [(g["name"], g["category"], g["built_in"]) for g in listed] == [
        ("Pants 2", "lower", True), ("Shirt 1", "upper", True), ("Summer check", "upper", True),
    ]  # fmt: skip
    assert all(re.fullmatch("[0-9a-f]{16}", g["id"]) for g in listed)
    assert len(rail.skipped) == 1 and "broken.jpg" in rail.skipped[0]
    answer = browser.get(f"/garments/{listed[1]['id']}/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(answer.content))
    assert max(picture.size) <= mirror_rail.THUMBNAIL and picture.format == "JPEG"
    gone = browser.get("/garments/0000000000000000/thumbnail")
    assert gone.status_code == 404 and gone.json()["error"]["code"] == "GARMENT_GONE"


@pytest.mark.parametrize(("make", "said"), [(False, "no folder"), (True, "holds no picture")])
def test_a_folder_without_garments_is_refused(tmp_path, make, said):
    if make:
        (tmp_path / "none").mkdir()
    with pytest.raises(BadFolder, match=said):
        Rail(tmp_path / "none")


# ---- what visitors bring ----


def test_a_picture_is_hung_up_first_and_worn(browser, fake):
    data = encoded((200, 30, 30), (900, 600), "PNG")
    answer = browser.post("/garments?name=My%20dress&category=dress", content=data)
    brought = answer.json()
    assert answer.status_code == 201
    assert (brought["name"], brought["category"], brought["built_in"]) == (
        "My dress", "dress", False)  # fmt: skip
    assert browser.get("/garments").json()[0] == brought
    assert browser.post("/garments", content=data).json()["id"] == brought["id"]
    assert len(browser.get("/garments").json()) == 4, "the same picture hangs once"
    assert browser.get(f"/garments/{brought['id']}/thumbnail").status_code == 200
    with before(browser) as mirror:
        worn = mirror.wear(brought["id"])
        assert worn[0]["category"] == "upper", "as it was brought the last time"
        mirror.dressed(1.0)
    assert max(fake.worn()[-1].garment.shape[1:3]) == mirror_rail.LONGEST


@pytest.mark.parametrize(
    ("data", "query", "status", "code", "said"),
    [
        (b"no picture", "", 422, "NOT_AN_IMAGE", "can't be read as a picture"),
        (b"", "", 422, "NOT_AN_IMAGE", "it is empty"),
        (encoded("red", (32, 32)), "", 422, "IMAGE_TOO_SMALL", "at least 64 pixels"),
        (encoded("red"), "?category=shoes", 422, "INVALID_REQUEST", "choose one of upper"),
        (bytes(mirror_rail.MAX_UPLOAD_BYTES + 1), "", 413, "IMAGE_TOO_LARGE", "16 MiB"),
    ],
)
def test_what_is_no_garment_is_refused_in_the_clients_words(
    browser, data, query, status, code, said
):
    answer = browser.post(f"/garments{query}", content=data)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code and said in answer.json()["error"]["text"]
    assert len(browser.get("/garments").json()) == 3


def test_the_oldest_goes_where_too_many_are_brought(monkeypatch):
    monkeypatch.setattr(mirror_rail, "MOST_BROUGHT", 3)
    rail = Rail()
    ids = [rail.bring(encoded((k, 0, 0), kind="PNG"), f"n{k}").id for k in range(5)]
    assert [g["id"] for g in rail.listed()] == ids[:1:-1]
    with pytest.raises(GarmentGone):
        rail.get(ids[0])
    monkeypatch.setattr(mirror_rail, "MOST_BYTES", 2 * rail.get(ids[4]).size + 500)
    rail.bring(encoded((9, 0, 0), kind="PNG"))
    assert len(rail.listed()) == 2, "and where they are too large"


def test_another_sites_page_gets_nothing(browser):
    foreign = {"origin": "http://elsewhere.example"}
    assert browser.post("/garments", content=encoded("red"), headers=foreign).status_code == 403
    with before(browser, headers=foreign) as mirror:
        assert mirror.text("error")["code"] == "OTHER_SITE"
        with pytest.raises(WebSocketDisconnect):
            mirror._socket.receive_bytes()
    own = {"origin": "http://testserver"}
    assert browser.post("/garments", content=encoded("red"), headers=own).status_code == 201
    with before(browser, headers=own) as mirror:
        mirror.text("state")


# ---- live ----


def test_a_frame_comes_back_dressed_with_its_own_clock(browser, fake, rail):
    shirt = rail.listed()[1]["id"]
    with before(browser) as mirror:
        assert mirror.wear(shirt, "make it red") == [
            {"garment": shirt, "prompt": "make it red", "category": "upper"},
        ]  # fmt: skip
        picture = np.asarray(Image.open(io.BytesIO(mirror.dressed(1234.5678))).convert("RGB"))
        assert picture.shape == (*SIZE, 3)
        block = picture[30:45, 40:60].mean((0, 1))
        assert block[0] > 200 and block[1] < 60, "the fake server's red block"
        assert np.abs(picture[80:, 100:].astype(int) - 90).max() < 12, "the rest is the frame"
        state = mirror.text("state", lambda told: told["shown"] > 0)
        assert state["problem"] is None and state["latency_ms"] > 0
        assert set(state) == {
            "type", "shown", "dropped", "late", "lost", "latency_ms", "problem",
        }  # fmt: skip
        mirror.wear(rail.listed()[0]["id"])
        mirror.dressed(2.0)
    worn = [(r.prompt, r.category) for r in fake.worn()]
    assert worn[0] == ("make it red", "upper") and worn[-1] == ("", "lower")


def test_what_was_worn_before_is_not_sent_again(browser, fake, rail, monkeypatch):
    monkeypatch.setattr(mirror_live, "MOST_WORN", 2)
    first, second = (listed["id"] for listed in rail.listed()[:2])
    with before(browser) as mirror:
        for clock, key in enumerate((first, second, first, second, first)):
            mirror.wear(key)
            mirror.dressed(float(clock))
        added = [r for r in fake.requests if r.model == "wardrobe_add"]
        assert len(added) == 2
        mirror.wear(first, "in red")
        mirror.dressed(9.0)
        mirror.wear(second)  # worn before the last two
        mirror.dressed(10.0)
    assert len([r for r in fake.requests if r.model == "wardrobe_add"]) == 4


def test_a_top_and_trousers_are_worn_at_once(browser, fake, rail):
    """In the order that the page names, each frame in both."""
    pants, shirt = (listed["id"] for listed in rail.listed()[:2])
    with before(browser) as mirror:
        mirror.say({"wear": [{"garment": pants}, {"garment": shirt, "prompt": "make it red"},
                             {"garment": None, "prompt": " "}]})  # fmt: skip
        assert mirror.text("wearing")["layers"] == [
            {"garment": pants, "prompt": "", "category": "lower"},
            {"garment": shirt, "prompt": "make it red", "category": "upper"},
        ]  # fmt: skip
        mirror.dressed(1.0)
        assert [r.category for r in fake.worn()[-2:]] == ["lower", "upper"]
        added = [r for r in fake.requests if r.model == "wardrobe_add"]
        mirror.wear(pants)
        mirror.dressed(2.0, colour=(200, 90, 90))
        assert [r.model for r in fake.requests].count("wardrobe_add") == len(added), "kept"
    assert fake.worn()[-1].category == "lower"


def test_words_alone_are_worn_too(browser, fake):
    with before(browser) as mirror:
        mirror.wear(None, "a red t-shirt", category="dress")
        mirror.dressed(1.0)
    assert (fake.requests[0].prompt, fake.requests[0].category) == ("a red t-shirt", "dress")


def test_with_nothing_to_wear_no_frame_is_sent_on(browser, fake, rail):
    with before(browser) as mirror:
        mirror.send(frame(1.0))
        assert mirror.answer() == (1.0, UNDRESSED, b"")
        mirror.wear(rail.listed()[0]["id"])
        mirror.dressed(2.0)
        asked = len(fake.requests)
        assert mirror.wear(None, "  ") == []
        for clock in (3.0, 4.0):
            mirror.send(frame(clock))
            assert mirror.answer() == (clock, UNDRESSED, b"")
        state = mirror.text("state", lambda told: told["problem"] is None)
    assert len(fake.requests) == asked and state["shown"] >= 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "BAD_MESSAGE"),
        ("[" * 5000, "BAD_MESSAGE"),
        ("[]", "BAD_MESSAGE"),
        ('{"wear": null}', "BAD_MESSAGE"),
        ('{"wear": {"garment": 7}}', "BAD_MESSAGE"),
        ('{"wear": [{"prompt": "red"}, 7]}', "BAD_MESSAGE"),
        ('{"wear": [{}, {}, {}, {}]}', "BAD_MESSAGE"),
        ('{"wear": {"prompt": "' + "a" * 9000 + '"}}', "BAD_MESSAGE"),
        ('{"wear": {"prompt": "' + "a" * 600 + '"}}', "PROMPT_TOO_LONG"),
        ('{"wear": {"prompt": "red", "category": "hat"}}', "INVALID_REQUEST"),
        ('{"wear": {"garment": "0123456789abcdef"}}', "GARMENT_GONE"),
        (b"\0\0\0", "BAD_MESSAGE"),
        (struct.pack("<d", 1.0) + b"no picture", "NOT_AN_IMAGE"),
        (struct.pack("<d", 1.0) + encoded("red")[:300], "NOT_AN_IMAGE"),
        (struct.pack("<d", 1.0) + encoded("red", kind="PNG"), "NOT_AN_IMAGE"),
        (struct.pack("<d", 1.0) + encoded("red", (64, 4000)), "IMAGE_TOO_LARGE"),
        (struct.pack("<d", 1.0) + encoded("red", (20, 30)), "IMAGE_TOO_SMALL"),
        (struct.pack("<d", 1.0) + bytes(MAX_FRAME_BYTES + 1), "IMAGE_TOO_LARGE"),
    ],
)
def test_a_bad_message_is_answered_and_ends_nothing(browser, rail, message, code):
    with before(browser) as mirror:
        mirror.wear(rail.listed()[0]["id"])
        if isinstance(message, str):
            mirror.say(message)
        else:
            mirror.send(message)
            if len(message) > 8:
                assert mirror.answer() == (1.0, PASSED, b""), "the page waits for no frame"
        told = mirror.text("error")
        assert told["code"] == code and told["text"] and "\n" not in told["text"]
        mirror.dressed(5.0)


def test_a_frame_of_nobody_is_shown_by_the_page_itself(browser, fake, rail):
    fake.fail = (grpc.StatusCode.INTERNAL, "message: [NO_PERSON] person: nobody")
    with before(browser) as mirror:
        mirror.wear(rail.listed()[0]["id"])
        mirror.send(frame(1.0))
        assert mirror.answer() == (1.0, UNDRESSED, b"")
        told = mirror.text("state", lambda told: told["problem"] is not None)
        assert told["problem"] == {"code": "NO_PERSON_FOUND", "text": "person: nobody"}
        fake.fail = None
        mirror.dressed(2.0)
        mirror.text("state", lambda told: told["problem"] is None)


def test_every_frame_of_a_burst_is_answered_and_the_newest_is_shown(browser, fake, rail):
    fake.delay = 0.2
    with before(browser) as mirror:
        mirror.wear(rail.listed()[0]["id"])
        clocks = [float(k) for k in range(12)]
        for clock in clocks:
            mirror.send(frame(clock))
        flags: dict[float, int] = {}
        while len(flags) < len(clocks):
            clock, flag, _ = mirror.answer()
            flags[clock] = max(flag if flag == DRESSED else 0, flags.get(clock, 0))
        assert sorted(flags) == clocks and flags[11.0] == DRESSED
        state = mirror.text("state", lambda told: told["dropped"] > 0)
        assert state["dropped"] + state["shown"] <= len(clocks)
    assert len(fake.requests) < len(clocks)


def test_a_server_that_goes_and_comes_back(rail):
    with serve(FakeTriton()) as (_, url):
        pass  # its port is free again
    with page(url, rail) as browser, before(browser) as mirror:
        away = browser.get("/healthz")
        assert away.status_code == 503
        assert away.json()["problem"]["code"] == "SERVER_UNAVAILABLE"
        mirror.wear(rail.listed()[0]["id"])
        mirror.send(frame(1.0))
        assert mirror.answer() == (1.0, PASSED, b""), "lost, and said so"
        told = mirror.text("state", lambda told: told["problem"] is not None)
        assert told["problem"]["code"] == "SERVER_UNAVAILABLE" and told["lost"] >= 1
        assert "make serve" in told["problem"]["text"]
        with serve(FakeTriton(), port=int(url.rpartition(":")[2])):
            end = time.monotonic() + PATIENCE
            flag = PASSED
            while flag != DRESSED and time.monotonic() < end:
                mirror.send(frame(2.0))
                flag = mirror.answer()[1]
            assert flag == DRESSED
            assert browser.get("/healthz").json() == {"ready": True, "problem": None}
            mirror.text("state", lambda told: told["problem"] is None)


def test_visitors_wear_what_each_of_them_chose(browser, fake, rail):
    with before(browser) as first, before(browser) as second:
        first.wear(rail.listed()[0]["id"], "mine")
        second.wear(None, "yours")
        for _ in range(3):
            first.dressed(1.0)
            second.dressed(2.0)
        first.wear(None)
        first.send(frame(3.0))
        assert first.answer() == (3.0, UNDRESSED, b"")
        second.dressed(4.0)
    worn = {(r.prompt, r.category, r.garment.shape[1] > 1) for r in fake.worn()}
    assert worn == {("mine", "lower", True), ("yours", "upper", False)}


def test_twenty_visitors_and_a_few_more_are_dressed_at_once(browser, rail):
    with ExitStack() as all_of_them:
        visitors = [all_of_them.enter_context(before(browser))
                    for _ in range(mirror_app.MOST_VIEWERS)]  # fmt: skip
        assert len(visitors) == 24
        for mirror in visitors:
            mirror.wear(rail.listed()[0]["id"])
            mirror.send(frame(1.0))
        for mirror in visitors:
            mirror.dressed(1.0)
        with before(browser) as late:
            told = late.text("error")
            assert told["code"] == "MIRROR_FULL" and told["text"].startswith("24 visitors")


def test_so_many_visitors_and_no_more(browser, monkeypatch):
    monkeypatch.setattr(mirror_app, "MOST_VIEWERS", 1)
    with before(browser) as first:
        first.text("state")
        with before(browser) as second:
            assert second.text("error")["code"] == "MIRROR_FULL"
    with before(browser) as third:
        third.text("state")


def test_a_visitor_that_goes_leaves_no_thread(browser, rail):
    def workers() -> int:
        return sum(thread.name.startswith("tryon-live") for thread in threading.enumerate())

    with before(browser) as mirror:
        mirror.wear(rail.listed()[0]["id"])
        mirror.dressed(1.0)
        assert workers() == 2
    assert workers() == 0


def test_a_frames_size_is_known_before_it_is_decoded():
    header = encoded("red", (64, 64))
    start = header.index(b"\xff\xc0") + 5
    huge = header[:start] + struct.pack(">HH", 60000, 60000) + header[start + 4 :]
    with pytest.raises(TryOnError, match="1536 pixels at most"):
        decode_frame(huge)


# ---- the command ----


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary, home and working folders are empty ones of this test."""
    for name in ("tmp", "home", "work"):
        (tmp_path / name).mkdir()
    yield {
        **os.environ, "TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT / "client"), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def test_nothing_of_a_frame_is_logged_or_written(fake, folder, empty, tmp_path):
    """The command itself, on a port: a frame with a marker, its dressed answer, and all traces."""
    from websockets.sync.client import connect

    marker = b"NOBODY-MAY-KEEP-THIS-7c1f"
    command = [sys.executable, "-m", "mirror", "--url", fake.url, "--port", "0",
               "--garments", str(folder)]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path / "work", env=empty, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        try:
            assert running.stdout is not None
            address = running.stdout.readline()
            port = re.fullmatch(r"mirror: http://localhost:(\d+)\n", address)
            assert port, address
            with connect(f"ws://127.0.0.1:{port[1]}/live", max_size=None, proxy=None) as socket:
                socket.send(json.dumps({"wear": {"garment": None, "prompt": "red"}}))
                jpeg = encoded((90, 90, 90), comment=marker)
                assert marker in jpeg
                flags: list[int] = []
                for sent in (marker + jpeg, jpeg[:-300], *20 * (jpeg,)):
                    if DRESSED in flags:
                        break
                    socket.send(struct.pack("<d", 8.0) + sent)
                    while isinstance(answer := socket.recv(PATIENCE), str):
                        pass
                    assert marker not in answer
                    flags.append(answer[8])
                assert DRESSED in flags and PASSED in flags
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert running.returncode == 0, err
    assert "stopping" in out
    assert "broken.jpg" in err and len(err.splitlines()) == 1, "no access log, nothing of frames"
    written = [path for path in tmp_path.rglob("*") if folder not in path.parents]
    assert {p.name for p in written if p != folder} == {"tmp", "home", "work"}, written


def test_a_busy_port_is_named(folder, capsys):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--garments", str(folder)]) == 1
    said = capsys.readouterr().err
    assert f"port {port} is in use" in said and "--port PORT" in said and "Traceback" not in said
    with pytest.raises(CannotListen, match=r"1\.\.65535"):
        listen("127.0.0.1", 70000)


def test_a_socket_that_is_handed_over_is_served(folder, capsys):
    assert main(["--fd", "977", "--garments", str(folder)]) == 1
    assert "--fd 977: Bad file descriptor" in capsys.readouterr().err
    with socket.socket() as deaf:
        assert main(["--fd", str(os.dup(deaf.fileno())), "--garments", str(folder)]) == 1
    assert "doesn't listen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://localhost"], "give host:port"),
        (["--port", "0", "--garments", "/no/such/folder"], "is no folder"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(arguments, said, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


def test_the_mirror_needs_no_torch_and_nothing_of_the_server(empty):
    code = (
        "import sys, mirror.serve; "
        "assert not {'torch', 'tryon', 'onnxruntime', 'cv2', 'deploy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=empty, cwd="/", timeout=60)


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0 and "python -m mirror --garments shop/" in capsys.readouterr().out


def test_other_addresses_come_with_a_warning(capsys):
    for host in ("127.0.0.1", "localhost", "::1"):
        warn_of_host(host)
    assert not capsys.readouterr().err
    warn_of_host("0.0.0.0")
    assert "HTTPS" in capsys.readouterr().err


def test_make_mirror_uses_the_server_that_is_there_and_ends(fake, folder, empty):
    command = [sys.executable, "-m", "deploy.mirror_demo", "--url", fake.url, "--port", "0",
               "--garments", str(folder), "--stay"]  # fmt: skip
    empty["PYTHONPATH"] += os.pathsep + str(ROOT)
    with subprocess.Popen(command, env=empty, text=True, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            said = [running.stdout.readline() for _ in range(2)]
            assert said[0] == f"dressed by the server that runs on {fake.url}\n"
            assert re.fullmatch(r"mirror: http://localhost:\d+\n", said[1])
            running.send_signal(signal.SIGINT)  # at once: it is said when it is there
            rest = running.communicate(timeout=PATIENCE)[0]
            assert "stopping" in rest, f"ended with {running.returncode}, said {rest!r}"
        finally:
            running.kill()
    assert running.returncode == 0


def test_a_browser_opens_where_there_is_a_desktop_and_the_page_is_there(
    fake, folder, monkeypatch
):
    from deploy import mirror_demo

    opened: list[tuple[str, int]] = []

    def opens(address: str) -> bool:
        opened.append((address, urlopen(address, timeout=PATIENCE).status))
        raise KeyboardInterrupt  # as Ctrl-C ends it

    monkeypatch.setattr(mirror_demo.webbrowser, "open", opens)
    monkeypatch.setenv("DISPLAY", ":7")
    arguments = ["--url", fake.url, "--port", "0", "--garments", str(folder)]
    assert mirror_demo.main(arguments) == 0
    assert len(opened) == 1 and opened[0][1] == 200
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert mirror_demo._has_desktop() == (sys.platform == "darwin")


def test_make_mirror_starts_no_server_for_a_page_that_cannot_be(folder, capsys, monkeypatch):
    from deploy import mirror_demo

    def never(*what: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr(mirror_demo, "served", never)
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert mirror_demo.main(["--port", str(port), "--garments", str(folder)]) == 1
    assert "make mirror PORT=" in capsys.readouterr().err
    assert mirror_demo.main(["--port", "0", "--garments", "/no/such/folder"]) == 2
    assert "is no folder" in capsys.readouterr().err
