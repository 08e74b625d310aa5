"""The mirror's page in a real browser, before a real server: its camera shows a film of a person.

Needs Debian's chromium and its driver; the tests are skipped, with the command, where they are not.
With TRYON_SCREENSHOTS=FOLDER, `-k pictures_of_the_page` saves the page there: mirror.jpg on a
desktop, mirror_phone.jpg on a phone, which are the pictures in docs/images.
"""

from __future__ import annotations

import functools
import io
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from deploy import check_system
from deploy.embedded import ROOT
from mirror.serve import listen
from training.data.sequence import make_sequence
from training.data.studio import Studio
from tryon.assets import asset_path

LACKING = check_system.missing({"browser"})
pytestmark = pytest.mark.skipif(
    bool(LACKING), reason="run: " + " ".join(check_system.install_command(LACKING))
)
PATIENCE = 60.0
"""Seconds that a test waits for what must come; nothing is measured."""
DESKTOP, PHONE = (1280, 800), (390, 844)
CHEST, CORNER = (0.46, 0.40, 0.54, 0.60), (0.02, 0.02, 0.12, 0.12)
"""Parts of the film: left, top, right, bottom as shares."""


def person(width: int, height: int) -> Image.Image:
    """A studio photo from the thighs up, its backdrop mirrored at the sides to fill the film."""
    path = asset_path("openpeople") / "P010/assets/studio_posture.jpg"
    photo = Image.open(path).convert("RGB")
    top, tall = int(photo.height * 0.03), int(photo.height * 0.62)
    pixels = np.asarray(photo)[top : top + tall]
    side = max(0, (tall * width // height - photo.width) // 2)
    wide = np.pad(pixels, ((0, 0), (side, side), (0, 0)), "reflect")
    return Image.fromarray(wide).resize((width, height), Image.Resampling.LANCZOS)


def filmed(path: Path, shifts: tuple[int, ...]) -> Path:
    """What the browser's camera sees: a person, so far aside in each frame, over and over."""
    photo = np.asarray(person(512, 384))
    return written(path, [np.roll(photo, shift, 1) for shift in shifts])


def written(path: Path, frames: list[np.ndarray]) -> Path:
    """A film for the browser's camera of uint8 (h, w, 3) frames, 15 a second."""
    height, width = frames[0].shape[:2]
    data = f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420jpeg\n".encode()
    for frame in frames:
        planes = Image.fromarray(frame).convert("YCbCr").split()
        small = [plane.resize((width // 2, height // 2)) for plane in planes[1:]]
        data += b"FRAME\n" + b"".join(plane.tobytes() for plane in (planes[0], *small))
    path.write_bytes(data)
    return path


@functools.cache
def walk() -> np.ndarray:
    """A rendered person in a red top who walks and turns: uint8 (16, 512, 512, 3)."""
    return make_sequence(Studio(), 2, 10, 16)["before"]


def walker(path: Path, upright: bool = False) -> Path:
    """That person, there and back; `upright` as a phone's camera has it."""
    if upright:
        frames = list(np.ascontiguousarray(walk()[:, :, 64:-64]))
    else:
        wide = np.pad(walk(), ((0, 0), (0, 0), (86, 86), (0, 0)), "edge")
        frames = [np.asarray(Image.fromarray(f).resize((512, 384))) for f in wide]
    return written(path, frames + frames[-2:0:-1])


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """She stands still."""
    return filmed(tmp_path_factory.mktemp("film") / "person.y4m", 4 * (0,))


@contextmanager
def mirror(url: str, port: int = 0, *more: str) -> Iterator[str]:
    """The mirror's own command; the page's address."""
    garments = str(asset_path("openvto") / "clothes")
    command = [sys.executable, "-u", "-m", "mirror", "--url", url, "--port", str(port),
               "--garments", garments, *more]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT / "client", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            assert running.stdout is not None
            said = running.stdout.readline()
            address = re.fullmatch(r"mirror: (http://localhost:\d+)\n", said)
            assert address, said
            yield address[1]
        finally:
            running.terminate()
            rest = running.communicate(timeout=30)[0]
    assert "Traceback" not in rest, rest


class Visitor:
    """A browser with the page open."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str, *values: object) -> Any:
        return self.driver.execute_script(script, *values)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def press(self, selector: str) -> None:
        self.find(selector).click()

    def tap(self, name: str) -> None:
        """Presses a garment's button."""
        self.press(f'.tile[title="{name}"]')

    def words(self, selector: str) -> str:
        return self.find(selector).text

    def until(self, what: str, holds: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = holds()
            if found:
                return found
            time.sleep(0.2)
        shown = {k: self.words(k) for k in ("#notice", "#stats", "#toast")}
        raise AssertionError(f"{what}: did not come; the page says {shown}")

    def mean(self, part: tuple[float, float, float, float]) -> np.ndarray:
        """Mean colour of a part of the picture that is shown, float (3,)."""
        values = self.run(
            """const c = document.getElementById("view"), [l, t, r, b] = arguments[0];
            const x = Math.round(l * c.width), y = Math.round(t * c.height);
            const w = Math.round(r * c.width) - x, h = Math.round(b * c.height) - y;
            return [...c.getContext("2d").getImageData(x, y, w, h).data];""", list(part),
        )  # fmt: skip
        return np.array(values, float).reshape(-1, 4)[:, :3].mean(0)

    def changed(self, part: tuple[float, float, float, float], since: np.ndarray) -> np.ndarray:
        """The part's mean once it is far from `since`."""
        self.until("another colour", lambda: np.abs(self.mean(part) - since).max() > 25)
        return self.mean(part)

    def complaints(self) -> list[str]:
        """What went wrong in the page's scripts."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]


@contextmanager
def browser(
    address: str, folder: Path, film: Path | None, size: tuple[int, int] = DESKTOP,
    refuse: bool = False, udp: bool = True,
) -> Iterator[Visitor]:  # fmt: skip
    """chromium with a new profile; `film` is its camera (None: it has none), `refuse` keeps it;
    without `udp` no WebRTC leaves it but through a proxy, and it has none."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--lang=en-US", f"--user-data-dir={folder / 'profile'}",
             f"--window-size={size[0]},{size[1]}"]  # fmt: skip
    if film is not None:
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    if not refuse:
        flags.append("--use-fake-ui-for-media-stream")
    for flag in flags:
        options.add_argument(flag)
    setting: dict[str, object] = {
        "profile.default_content_setting_values.media_stream_camera": 2 if refuse else 1,
    }
    if not udp:
        setting["webrtc.ip_handling_policy"] = "disable_non_proxied_udp"
    options.add_experimental_option("prefs", {
        **setting, "download.default_directory": str(folder), "intl.accept_languages": "en",
    })  # fmt: skip
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE,
        })  # fmt: skip
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {
            "behavior": "allow", "downloadPath": str(folder),
        })  # fmt: skip
        driver.get(address)
        visitor = Visitor(driver)
        visitor.until("the rail", lambda: len(driver.find_elements("css selector", ".tile")) >= 14)
        yield visitor
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def address(server) -> Iterator[str]:
    with mirror(server.grpc_url) as address:
        yield address


def before_the_camera(visitor: Visitor) -> np.ndarray:
    """Turns the camera on; the colour of the chest's white shirt."""
    visitor.press("#start-camera")
    visitor.until("the film", lambda: visitor.mean(CHEST).min() > 200)
    return visitor.mean(CHEST)


def dressed(visitor: Visitor) -> bool:
    return "fps" in visitor.words("#stats")


def test_a_garment_is_worn_live_and_another_and_the_own_again(address, film, tmp_path):
    with browser(address, tmp_path, film) as visitor:
        own, corner = before_the_camera(visitor), visitor.mean(CORNER)
        assert "nothing is sent" in visitor.words("#stats")
        visitor.tap("Shirt 2")
        blue = visitor.changed(CHEST, own)
        assert blue[2] > blue[0] + 30, "the shirt is blue"
        assert np.abs(visitor.mean(CORNER) - corner).max() < 4
        figures = r"[\d.]+ fps · \d+ ms old · \d+ dropped · WebSocket"
        visitor.until("figures", lambda: re.fullmatch(figures, visitor.words("#stats")))
        assert visitor.find('.tile[title="Shirt 2"]').get_attribute("aria-pressed") == "true"

        visitor.tap("Shirt 4")
        black = visitor.changed(CHEST, blue)
        assert black.max() < 90, "the shirt is black"
        assert np.abs(visitor.mean(CORNER) - corner).max() < 4
        pressed = visitor.run("return [...document.querySelectorAll('.tile[aria-pressed=true]')]"
                              ".map((e) => e.title)")  # fmt: skip
        assert pressed == ["Shirt 4"]

        visitor.find("#sentence").send_keys("make it red" + Keys.ENTER)
        red = visitor.changed(CHEST, black)
        assert red[0] > red[2] + 30, "and red by a sentence"

        visitor.tap("Your own")
        visitor.find("#sentence").send_keys(11 * Keys.BACKSPACE + Keys.ENTER)
        visitor.until("the own", lambda: np.abs(visitor.mean(CHEST) - own).max() < 6)
        assert "nothing is sent" in visitor.words("#stats")
        assert not visitor.complaints()


HELD_UPRIGHT = """const media = navigator.mediaDevices, own = media.getUserMedia.bind(media);
    media.getUserMedia = ({ video, ...rest }) =>
        own({ ...rest, video: { ...video, width: video.height, height: video.width } });"""
"""A phone that is held upright swaps the sides that a page asks for; the film that stands for its
camera would be cropped instead."""


def blue_on(visitor: Visitor) -> bool:
    """Whether the chest is blue, who wears it being in red or white."""
    seen = visitor.mean(CHEST)
    return bool(seen[2] > seen[0] + 20)


def keep_screenshot(visitor: Visitor, path: Path, good: Callable[[], bool]) -> None:
    """Saves what the page shows while it is good."""

    def taken() -> bytes | None:
        png = visitor.driver.get_screenshot_as_png() if good() else None
        return png if good() else None  # it was so before and after

    picture = Image.open(io.BytesIO(visitor.until("a screenshot", taken))).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=88, optimize=True)


@pytest.mark.skipif(not os.environ.get("TRYON_SCREENSHOTS"), reason="no folder for screenshots")
@pytest.mark.parametrize("name, size", [("mirror", DESKTOP), ("mirror_phone", PHONE)])
def test_pictures_of_the_page(address, tmp_path, name, size):
    """A photographed woman who sways before the camera, for some seconds in a shirt."""
    photo = np.asarray(person(684, 512))
    photo = photo[:, 150:-150] if size == PHONE else np.asarray(person(512, 384))
    sways = [round(6 * np.sin(2 * np.pi * k / 30)) for k in range(30)]
    film = written(tmp_path / "sway.y4m", [np.roll(photo, by, 1) for by in sways])
    with browser(address, tmp_path, film, size) as visitor:
        if size == PHONE:
            visitor.run(HELD_UPRIGHT)
        before_the_camera(visitor)
        visitor.tap("Shirt 2")
        visitor.until("the shirt", lambda: dressed(visitor) and blue_on(visitor))
        time.sleep(8)  # until its frames a second are those of a session, not of its start
        keep_screenshot(visitor, Path(os.environ["TRYON_SCREENSHOTS"]) / f"{name}.jpg",
                        lambda: dressed(visitor) and blue_on(visitor))  # fmt: skip


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_garment_is_worn_by_somebody_who_walks_over_webrtc(address, tmp_path, size):
    film = walker(tmp_path / "walk.y4m", upright=size == PHONE)
    with browser(f"{address}/?webrtc", tmp_path, film, size) as visitor:
        if size == PHONE:
            visitor.run(HELD_UPRIGHT)
        visitor.press("#start-camera")
        visitor.until("the film", lambda: visitor.mean(CHEST)[0] > visitor.mean(CHEST)[2] + 25)
        wide, tall = visitor.run("const c = document.getElementById('view'); "
                                 "return [c.width, c.height]")  # fmt: skip
        assert (tall > wide) == (size == PHONE)
        red, corner = visitor.mean(CHEST), visitor.mean(CORNER)
        visitor.tap("Shirt 2")
        blue = visitor.changed(CHEST, red)
        assert blue[2] > blue[0] + 25, "the shirt is blue"
        visitor.until("WebRTC", lambda: visitor.words("#stats").endswith("WebRTC"))
        # She goes on walking, and it stays on her.
        for _ in range(8):
            time.sleep(0.4)
            said = [visitor.words(part) for part in ("#stats", "#notice")]
            assert blue_on(visitor), f"the shirt is left behind: {said}"
        assert np.abs(visitor.mean(CORNER) - corner).max() < 6
        visitor.tap("Shirt 4")
        assert visitor.changed(CHEST, blue).max() < 90, "the shirt is black"
        assert not visitor.complaints()


def test_before_and_after_a_snapshot_and_the_keyboard(address, film, tmp_path):
    with browser(address, tmp_path, film) as visitor:
        own = before_the_camera(visitor)
        # From the first tile to "Shirt 2" by keys alone; three tiles are in a row.
        visitor.run("document.querySelector('.tile').focus()")
        for key in (Keys.END, Keys.HOME, *3 * (Keys.DOWN,), Keys.RIGHT, Keys.RIGHT, Keys.LEFT):
            visitor.driver.switch_to.active_element.send_keys(key)
        assert visitor.run("return document.activeElement.title") == "Shirt 2"
        visitor.driver.switch_to.active_element.send_keys(Keys.ENTER)
        visitor.until("dressed", lambda: dressed(visitor))
        worn = visitor.changed(CHEST, own)

        visitor.press("#compare")
        split = visitor.find("#split")
        assert split.get_attribute("aria-valuenow") == "50"
        left, right = (0.45, 0.45, 0.49, 0.6), (0.51, 0.45, 0.55, 0.6)
        visitor.until("both", lambda: visitor.mean(left).min() > 200 > visitor.mean(right)[0])
        split.send_keys(Keys.END)
        visitor.until("before", lambda: np.abs(visitor.mean(CHEST) - own).max() < 12)
        split.send_keys(Keys.HOME)
        visitor.until("after", lambda: np.abs(visitor.mean(CHEST) - worn).max() < 12)
        for _ in range(5):
            split.send_keys(Keys.RIGHT)
        assert split.get_attribute("aria-valuenow") == "10"
        drag = ActionChains(visitor.driver).click_and_hold(split)
        drag.move_by_offset(visitor.find("#picture").size["width"] // 2, 0).release().perform()
        assert 57 <= int(split.get_attribute("aria-valuenow")) <= 63

        visitor.press("#snapshot")
        path = visitor.until("a snapshot", lambda: next(iter(tmp_path.glob("mirror-*.jpg")), None))
        picture = Image.open(path)
        assert picture.size == (512, 384) and picture.format == "JPEG"
        chest = np.asarray(picture.crop((236, 154, 276, 230)), float).mean((0, 1))
        assert np.abs(chest - worn).max() < 12, "dressed, without the slider"

        visitor.press("#full")
        full = "return document.fullscreenElement?.tagName"
        visitor.until("full screen", lambda: visitor.run(full))
        assert visitor.find('.tile[title="Shirt 2"]').is_displayed(), "the rail is there too"
        assert not visitor.complaints()


LEGS = (0.44, 0.80, 0.48, 0.88)


def test_a_top_and_trousers_are_worn_at_once_by_touch_keys_and_voice(address, film, tmp_path):
    with browser(address, tmp_path, film) as visitor:
        own, legs = before_the_camera(visitor), visitor.mean(LEGS)
        assert legs.min() > 150, "white shorts"
        visitor.tap("Shirt 2")
        blue = visitor.changed(CHEST, own)
        visitor.tap("Pants 3")
        assert visitor.changed(LEGS, legs).max() < 110, "black trousers"
        visitor.until("both", lambda: np.abs(visitor.mean(CHEST) - blue).max() < 12)
        pressed = """return [...document.querySelectorAll('.tile[aria-pressed=true]')]
            .map((tile) => tile.title)"""
        assert visitor.run(pressed) == ["Pants 3", "Shirt 2"]
        assert visitor.run("return document.querySelector('[name=category]:checked').value") == (
            "lower")  # fmt: skip

        # By a remote control's keys to the next trousers; the shirt stays.
        visitor.find("body").send_keys(Keys.PAGE_DOWN)
        assert visitor.run(pressed) == ["Pants 4", "Shirt 2"]
        visitor.tap("Pants 4")
        assert visitor.run(pressed) == ["Shirt 2"], "a second tap takes it off"
        visitor.until("shorts", lambda: np.abs(visitor.mean(LEGS) - legs).max() < 25)

        # The browser's own recognition needs a microphone and its maker's service: it is replaced.
        visitor.run("""webkitSpeechRecognition.prototype.start = function () {
            this.onresult({ results: [[{ transcript: " make it red " }]] });
            this.onend(); };""")
        visitor.press("#speak")
        assert visitor.find("#sentence").get_attribute("value") == "make it red"
        red = visitor.changed(CHEST, blue)
        assert red[0] > red[2] + 30
        visitor.run("""webkitSpeechRecognition.prototype.start = function () {
            this.onerror({ error: "not-allowed" }); this.onend(); };""")
        visitor.press("#speak")
        assert "type the sentence" in visitor.words("#toast")
        visitor.driver.save_screenshot(str(tmp_path / "layers.png"))
        assert not visitor.complaints()


def test_a_kiosk_starts_by_itself_and_forgets_who_has_gone(address, film, tmp_path):
    with browser(f"{address}/?kiosk=15&webrtc", tmp_path, film) as visitor:
        visitor.until("the film", lambda: visitor.mean(CHEST).min() > 200)
        assert not visitor.find("#start").is_displayed() and not visitor.find("h1").is_displayed()
        visitor.tap("Shirt 2")
        assert visitor.find('.tile[title="Shirt 2"]').get_attribute("aria-pressed") == "true"
        visitor.until("WebRTC", lambda: visitor.words("#stats").endswith("WebRTC"))
        own = '.tile[title="Your own"]'
        visitor.until("the own again", lambda: visitor.find(own).get_attribute("aria-pressed") ==
                      "true")  # fmt: skip
        assert not visitor.complaints()


@pytest.mark.parametrize("blocked", ["by the network", "by the server"])
def test_where_webrtc_cannot_pass_the_socket_carries_the_frames(server, film, tmp_path, blocked):
    network = blocked == "by the network"
    with (
        mirror(server.grpc_url, 0, *([] if network else ["--no-webrtc"])) as address,
        browser(f"{address}/?webrtc", tmp_path, film, udp=not network) as visitor,
    ):
        own = before_the_camera(visitor)
        visitor.tap("Shirt 2")
        blue = visitor.changed(CHEST, own)
        assert blue[2] > blue[0] + 30, "the shirt is blue"
        time.sleep(6)  # longer than the page waits for a connection
        assert visitor.words("#stats").endswith("WebSocket") and dressed(visitor)
        visitor.tap("Shirt 4")
        assert visitor.changed(CHEST, blue).max() < 90, "the shirt is black"
        assert not visitor.complaints()


def test_an_own_photo_and_an_own_garment(address, tmp_path):
    person(600, 800).save(tmp_path / "me.jpg")
    Image.open(asset_path("openvto") / "clothes/jackets/4_back.jpg").save(tmp_path / "leather.png")
    (tmp_path / "notes.jpg").write_text("no picture")
    with browser(address, tmp_path, None) as visitor:
        visitor.find("#photo-file").send_keys(str(tmp_path / "me.jpg"))
        visitor.until("the photo", lambda: visitor.find("#view").is_displayed())
        assert visitor.run("const c = document.getElementById('view'); "
                           "return [c.width, c.height]") == [576, 768]  # fmt: skip
        own, corner = visitor.mean(CHEST), visitor.mean(CORNER)
        assert own.min() > 200

        visitor.find("#garment-file").send_keys(str(tmp_path / "notes.jpg"))
        visitor.until("a refusal", lambda: "can't be read as a picture" in visitor.words("#toast"))
        assert all("422" in line for line in visitor.complaints())

        visitor.find("#garment-file").send_keys(str(tmp_path / "leather.png"))
        brown = visitor.changed(CHEST, own)
        assert brown[0] > brown[2] + 15, "brown leather"
        assert np.abs(visitor.mean(CORNER) - corner).max() < 4
        tiles = visitor.driver.find_elements("css selector", ".tile")
        assert tiles[1].get_attribute("title") == "leather" and len(tiles) == 15
        assert tiles[1].get_attribute("aria-pressed") == "true"
        assert "Photo" in visitor.words("#stats") and not visitor.complaints()

        # Another one is dropped onto the rail.
        drop = """const blob = await (await fetch(arguments[0])).blob(), t = new DataTransfer();
            t.items.add(new File([blob], "dropped.jpg", { type: "image/jpeg" }));
            const event = { dataTransfer: t, bubbles: true, cancelable: true };
            document.getElementById("side").dispatchEvent(new DragEvent("drop", event));"""
        shirt = visitor.find('.tile[title="Shirt 1"] img').get_attribute("src")
        visitor.run(drop, shirt)
        visitor.until("it", lambda: visitor.find(".tile[aria-pressed=true]").text == "dropped")

        visitor.find("#photo-file").send_keys(str(tmp_path / "notes.jpg"))
        visitor.until("a refusal", lambda: "Choose a JPEG or PNG" in visitor.words("#toast"))


def test_a_phone_has_the_rail_below_and_chinese_words(address, film, tmp_path):
    with browser(address, tmp_path, film, PHONE) as visitor:
        before_the_camera(visitor)
        assert visitor.words("h1") == "Mirror"
        visitor.press("#language")
        assert visitor.words("h1") == "魔镜" and visitor.words("#language") == "English"
        assert visitor.run("return document.documentElement.lang") == "zh"
        box = visitor.run("""return ["stage", "rail", "sentence", "picture"].map((id) => {
            const b = document.getElementById(id).getBoundingClientRect();
            return [b.left, b.top, b.right, b.bottom]; })""")
        stage, rail, sentence, picture = box
        assert stage[3] <= rail[1] and rail[3] <= sentence[1] and sentence[3] < PHONE[1]
        assert picture[2] - picture[0] > 0.9 * PHONE[0], "the picture fills the width"
        assert visitor.run("return document.documentElement.scrollWidth") == PHONE[0]
        ground = "return getComputedStyle(document.body).backgroundColor"
        light = visitor.run(ground)
        visitor.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark"}],
        })  # fmt: skip
        assert (light, visitor.run(ground)) == ("rgb(243, 241, 237)", "rgb(18, 18, 17)")
        assert not visitor.complaints()


def test_a_camera_that_is_kept_back_or_missing_is_explained(address, film, tmp_path):
    for name, refuse, said in (("refused", True, "Allow it"), ("none", False, "No camera")):
        (tmp_path / name).mkdir()
        with browser(address, tmp_path / name, film if refuse else None, refuse=refuse) as visitor:
            visitor.press("#start-camera")
            visitor.until(name, lambda v=visitor, words=said: words in v.words("#why"))
            assert visitor.find("#start-photo").is_displayed() and not visitor.complaints()


def test_servers_that_go_are_named_and_come_back(film, tmp_path):
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with ExitStack() as stack:
        # Nobody listens at the try-on server's address, and the mirror starts all the same.
        with listen("127.0.0.1", 0) as nobody:
            url = f"127.0.0.1:{nobody.getsockname()[1]}"
        with mirror(url, port) as address:
            visitor = stack.enter_context(browser(address, tmp_path, film))
            own = before_the_camera(visitor)
            visitor.tap("Shirt 2")
            visitor.until("no try-on server", lambda: "make serve" in visitor.words("#notice"))
            assert np.abs(visitor.mean(CHEST) - own).max() < 6, "the camera goes on"
            assert not visitor.complaints()
        visitor.until("no mirror", lambda: "make mirror" in visitor.words("#notice"))
        with mirror(url, port):
            visitor.until("the mirror again", lambda: "make serve" in visitor.words("#notice"))


def started_by(pid: int, part: str) -> int:
    """The process whose command names `part`, and which `pid` has started."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"PPid:\t(\d+)", (path / "status").read_text())[1])  # type: ignore[index]
            command = (path / "cmdline").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if parent == pid and part in command:
            return int(path.name)
    raise AssertionError(f"no process {part}")


def figures(visitor: Visitor) -> tuple[int, int]:
    """Age of the dressed picture that is shown, in ms, and how many frames never were; the age is
    beyond all patience where none is."""
    found = re.search(r"fps · (\d+) ms old · (\d+) dropped", visitor.words("#stats"))
    return (int(found[1]), int(found[2])) if found else (10**9, 0)


def test_what_is_killed_comes_back_and_the_same_is_worn_on(repository, tmp_path):
    """`make mirror` with servers of its own: kill -9 of Triton, then of the page's server. She
    moves: while she stood still, her last picture would be shown on and nothing be missed.

    How long it took is printed, not asserted: the machine may be busy.
    """
    film = filmed(tmp_path / "moving.y4m", (0, 3, 6, 9, 6, 3))
    Image.open(asset_path("openvto") / "clothes/shirts/2_front.jpg").rotate(2, fillcolor="white") \
        .save(tmp_path / "brought.png")  # fmt: skip
    with listen("127.0.0.1", 0) as nobody:
        url = f"127.0.0.1:{nobody.getsockname()[1]}"
    command = [sys.executable, "-u", "-m", "deploy.mirror_demo", "--url", url, "--port", "0",
               "--stay"]  # fmt: skip
    said: queue.Queue[str] = queue.Queue()
    environment = {**os.environ, "TRYON_WARDROBE": str(tmp_path / "wardrobe")}

    def hear(part: str) -> str:
        while True:
            line = said.get(timeout=PATIENCE)
            if part in line:
                return line

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          env=environment) as running:  # fmt: skip
        assert running.stdout is not None
        lines = running.stdout
        listener = threading.Thread(target=lambda: [said.put(line) for line in lines])
        listener.start()
        try:
            address = hear("mirror: ").split()[1]
            with browser(address, tmp_path, film) as visitor:
                own = before_the_camera(visitor)
                legs = visitor.mean(LEGS)
                visitor.find("#garment-file").send_keys(str(tmp_path / "brought.png"))
                blue = visitor.changed(CHEST, own)
                visitor.tap("Pants 3")
                visitor.changed(LEGS, legs)
                for who, part in (("the Triton server", "tritonserver"),
                                  ("the mirror's page", "mirror")):  # fmt: skip
                    visitor.until("dressed", lambda: figures(visitor)[0] < 5000)
                    lost = figures(visitor)[1]
                    os.kill(started_by(running.pid, part), signal.SIGKILL)
                    hear(f"{who} is back")
                    if part == "mirror":
                        hear("mirror: http")  # the process is there; from here its page is served
                    back = time.monotonic()
                    # A picture of a frame that was taken after the return.
                    while (age := figures(visitor)[0]) >= (took := time.monotonic() - back) * 1000:
                        assert took < PATIENCE, (age, visitor.words("#notice"))
                        time.sleep(0.02)
                    print(f"{who}: dressed {took:.2f} s after its return, in a frame {age} ms old")
                    visitor.until("the same shirt", lambda: np.abs(
                        visitor.mean(CHEST) - blue).max() < 15)  # fmt: skip
                    visitor.until("the same trousers", lambda: visitor.mean(LEGS).max() < 110)
                    visitor.until("what was lost", lambda before=lost: figures(visitor)[1] > before)
            running.send_signal(signal.SIGINT)
            assert running.wait(60) == 0
        finally:
            running.kill()
            listener.join(10)
