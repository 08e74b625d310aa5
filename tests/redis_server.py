"""A real Redis server for tests, on a free port."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAM = shutil.which("redis-server") or shutil.which("redis-check-rdb")
"""Debian's redis-tools holds the server under the name of its checker: it goes by its own name."""
MISSING = "no Redis here: `python deploy/check_system.py redis --install`"


class RedisServer:
    """Started at once; `kill` and `start` again on the same port, with what it had saved."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                   str(self.folder), "--appendonly", "yes", "--save", ""]  # fmt: skip
        self._process = subprocess.Popen(command, executable=PROGRAM, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(
                ("127.0.0.1", self.port), 1
            ) as there:
                there.sendall(b"PING\r\n")
                if there.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.05)
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        """Ends it as a crash would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A server that is gone afterwards."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.kill()
