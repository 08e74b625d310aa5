"""Keeps running what `make mirror` starts: whatever ends by itself, killed or not, starts again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from deploy.embedded import ServerError

ROOT = Path(__file__).resolve().parents[1]
SOON, MOST = 10.0, 3
"""Seconds within which a start counts as failed, and how many of these in a row are enough."""
STOP_TIMEOUT = 15.0
_GUARD = 'read ended; kill -TERM "$1" 2>/dev/null'
"""Ends a page's server whose keeper is gone, even by kill -9: the pipe to the guard closes then."""


class Running(Protocol):
    """What a keeper starts."""

    def wait(self) -> int:
        """Waits until it ends; its status."""

    def stop(self) -> None:
        """Ends it; does nothing where it has ended."""


class Keeper:
    """Starts something, and starts it again whenever it ends by itself. A context manager.

    Args:
        name: what it is, for people.
        start: starts it and answers once it is of use; raises ServerError.
        gave_up: called with a line once it ends too often to be of use.
    """

    def __init__(
        self, name: str, start: Callable[[], Running], gave_up: Callable[[str], None]
    ) -> None:
        self._name, self._start, self._gave_up = name, start, gave_up
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{name}", daemon=True)

    def __enter__(self) -> Keeper:
        self._running = self._start()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        with self._lock:
            running = self._running
        if running is not None:
            running.stop()
        self._thread.join()

    def _keep(self) -> None:
        failed = 0
        while True:
            began, running = time.monotonic(), self._running
            status = running.wait() if running is not None else -1
            if self._ending.is_set():
                return
            failed = failed + 1 if time.monotonic() - began < SOON else 0
            if failed == MOST:
                self._gave_up(f"{self._name} ended {MOST} times, each within {SOON:.0f} s of its "
                              f"start, the last time with status {status}")  # fmt: skip
                return
            print(f"{self._name} ended with status {status}: starting it again", flush=True)
            ended = time.monotonic()
            try:
                if running is not None:
                    running.stop()  # what it left behind
                new = self._start()
            except (ServerError, OSError) as error:
                with self._lock:
                    self._running = None
                self._gave_up(str(error))
                return
            with self._lock:
                self._running = new
            if self._ending.is_set():  # meanwhile: nobody else knows of the new one
                new.stop()
                return
            print(f"{self._name} is back after {time.monotonic() - ended:.1f} s", flush=True)


class PageServer:
    """`python -m mirror` on a socket that is already open: pages that come back while there is none
    wait in its queue.

    Args:
        fd: of the listening socket.
        arguments: further ones of the command.
    """

    def __init__(self, fd: int, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "mirror", "--fd", str(fd), *arguments]
        # In a session of its own: Ctrl-C reaches it through stop(), once.
        self._process = subprocess.Popen(
            command, cwd=ROOT / "client", pass_fds=[fd], stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "mirror-guard", str(self._process.pid)],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def wait(self) -> int:
        """Waits until it ends; its status."""
        return self._process.wait()

    def stop(self) -> None:
        """Ends it; does nothing where it has ended."""
        self._guard.kill()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
