"""What keeps `make mirror` running."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy import keeper
from deploy.embedded import ServerError
from deploy.keeper import Keeper, PageServer
from mirror.serve import listen

PATIENCE = 20.0


class Sleeper:
    """A process that stays, or (`short`) ends at once."""

    def __init__(self, short: bool = False) -> None:
        self.process = subprocess.Popen(["sleep", "0" if short else "600"])

    def wait(self) -> int:
        return self.process.wait()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def soon(holds) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_is_killed_is_started_again_and_what_is_ended_is_not(capsys):
    started: list[Sleeper] = []

    def start() -> Sleeper:
        started.append(Sleeper())
        return started[-1]

    complaints: list[str] = []
    with Keeper("the sleeper", start, complaints.append):
        started[0].process.send_signal(signal.SIGKILL)
        soon(lambda: len(started) == 2)
        assert started[1].process.poll() is None
    assert started[1].process.poll() is not None and len(started) == 2
    said = capsys.readouterr().out
    assert "the sleeper ended with status -9: starting it again" in said and "is back" in said
    assert not complaints
    assert not [t for t in threading.enumerate() if t.name.startswith("keeper-")]


def test_what_ends_again_and_again_is_given_up():
    complaints: list[str] = []
    with Keeper("the sleeper", lambda: Sleeper(short=True), complaints.append):
        soon(lambda: complaints)
    assert complaints == [
        "the sleeper ended 3 times, each within 10 s of its start, the last time with status 0"
    ]


def test_what_cannot_be_started_again_is_said():
    starts = iter([Sleeper(short=True)])

    def start() -> Sleeper:
        for sleeper in starts:
            return sleeper
        raise ServerError("port 1 is in use")

    complaints: list[str] = []
    with Keeper("the sleeper", start, complaints.append):
        soon(lambda: complaints)
    assert complaints == ["port 1 is in use"]
    starts = iter([Sleeper(short=True)])

    def full() -> Sleeper:
        for sleeper in starts:
            return sleeper
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    complaints.clear()
    with Keeper("the sleeper", full, complaints.append):
        soon(lambda: complaints)
    assert "No space left" in complaints[0]

    def never() -> Sleeper:
        raise ServerError("no")

    with pytest.raises(ServerError, match="no"), Keeper("it", never, complaints.append):
        pass


def test_what_starts_while_all_is_ended_is_ended_too():
    started: list[Sleeper] = []
    begun, go_on = threading.Event(), threading.Event()

    def start() -> Sleeper:
        if started:
            begun.set()
            assert go_on.wait(PATIENCE)
        started.append(Sleeper())
        return started[-1]

    complaints: list[str] = []
    with Keeper("the sleeper", start, complaints.append):
        started[0].process.kill()
        assert begun.wait(PATIENCE)
        threading.Timer(0.2, go_on.set).start()
    assert len(started) == 2 and started[1].process.poll() is not None and not complaints


def test_a_pages_server_ends_with_a_keeper_that_is_killed(tmp_path: Path):
    """The keeper's process is killed; its page's server is gone soon after."""
    code = (
        "import time; from mirror.serve import listen; from deploy.keeper import PageServer\n"
        "s = listen('127.0.0.1', 0); p = PageServer(s.fileno(), ['--url', 'localhost:1'])\n"
        "print(p._process.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{keeper.ROOT}:{keeper.ROOT / 'client'}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        page = int(process.stdout.readline())
        assert process.stdout.readline().startswith("mirror: http://localhost:")
        process.kill()
    soon(lambda: not Path(f"/proc/{page}").exists())


def test_stopping_a_pages_server_that_ended_does_nothing():
    with listen("127.0.0.1", 0) as listening:
        page = PageServer(listening.fileno(), ["--garments", "/no/such/folder"])
        assert page.wait() == 2
        page.stop()
