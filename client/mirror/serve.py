"""Puts the mirror on a port; shared by `python -m mirror` and `make mirror`."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from mirror.app import HEALTH_TIMEOUT, MOST_VIEWERS, create_app
from mirror.errors import CannotListen
from mirror.frames import MAX_FRAME_BYTES
from mirror.rail import Rail
from tryon_client import TryOnClient, TryOnError


def listen(host: str, port: int, flag: str = "--port PORT") -> socket.socket:
    """A socket that listens on this port.

    Raises:
        CannotListen: busy, or not allowed; `flag` is how another port is named.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise CannotListen(_why(host, port, flag, error)) from None
    return listening


def inherited(fd: int) -> socket.socket:
    """The listening socket that this process was given under a number.

    Raises:
        CannotListen: nothing that listens goes by it.
    """
    try:
        listening = socket.socket(fileno=fd)
    except (OSError, OverflowError, ValueError) as error:
        raise CannotListen(f"--fd {fd}: {getattr(error, 'strerror', None) or error}") from None
    if not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise CannotListen(f"--fd {fd}: it doesn't listen")
    return listening


def _why(host: str, port: int, flag: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"port {port} is in use: stop what listens there, or choose another one: {flag}"
    if number == errno.EACCES:
        return f"port {port} needs root: choose one above 1023: {flag}"
    if isinstance(error, OverflowError):
        return f"port {port}: a port lies in 1..65535: {flag}"
    return f"{host}, port {port}: {getattr(error, 'strerror', None) or error}: choose others"


def warn_of_host(host: str) -> None:
    """Says what an address that others can reach means for their camera."""
    if not _loopback(host):
        print(
            f"warning: listening on {host}: whoever reaches this machine can use the mirror and "
            "sees the garments that others brought. Browsers give a page its camera only on "
            "localhost or over HTTPS: put an HTTPS proxy before it for a camera elsewhere (own "
            "photos work without).",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(listening: socket.socket, url: str, rail: Rail, *, webrtc: bool = True) -> None:
    """Serves the mirror until Ctrl-C (or SIGTERM).

    Args:
        listening: from `listen`.
        url: the try-on server's gRPC address; it may be away and come back.
        rail: what there is to wear.
        webrtc: whether frames may go by WebRTC, where aiortc is installed.

    Raises:
        InvalidRequest: an address that is none.
    """
    for line in rail.skipped:
        print(f"left out: {line}", file=sys.stderr)
    client = TryOnClient(url, timeout=HEALTH_TIMEOUT)
    host, port = listening.getsockname()[:2]
    host = "localhost" if _loopback(host) or host in ("0.0.0.0", "::") else host
    host = f"[{host}]" if ":" in host else host

    def ready() -> None:
        print(f"mirror: http://{host}:{port}\nCtrl-C stops it", flush=True)
        threading.Thread(target=_say_if_away, args=(client,), daemon=True).start()

    config = uvicorn.Config(
        create_app(client, rail, webrtc=webrtc),
        # No access log, and nothing of a frame in any other: websockets logs messages at DEBUG.
        access_log=False, log_level="warning", log_config=None,
        limit_concurrency=8 * MOST_VIEWERS, ws_max_size=2 * MAX_FRAME_BYTES,
        ws_per_message_deflate=False, server_header=False, timeout_graceful_shutdown=3,
        lifespan="on",
    )  # fmt: skip

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # uvicorn finishes, then raises what it was ended by once more: let that be no killing signal,
    # so that whoever called can clear up.
    before = signal.signal(signal.SIGTERM, end)
    try:
        _Server(config, ready).run(sockets=[listening])
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


class _Server(uvicorn.Server):
    """Says where it is once it is: from then on Ctrl-C ends it, whenever it comes."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


def _say_if_away(client: TryOnClient) -> None:
    try:
        client.check()
    except TryOnError as error:
        print(f"{error}\nThe page starts all the same and goes on once it is there.",
              file=sys.stderr, flush=True)  # fmt: skip
