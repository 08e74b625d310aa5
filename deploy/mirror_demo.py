"""`make mirror`: a page on which you see yourself in garments, live.

    python -m deploy.mirror_demo --port 8080
    python -m deploy.mirror_demo --garments shop/        # shop/shirts/a.jpg, shop/pants/b.jpg, ...

Uses the server on localhost:8001 if one is there, else starts the embedded one, which ends with the
page. What was started here and ends by itself, even by kill -9, is started again; pages go on by
themselves. Without a folder the garments of the package `openvto` hang there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import signal
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from deploy.keeper import Keeper, PageServer

GARMENTS = ("openvto", "clothes")
"""The default garments: an asset, and a folder in it."""


@contextlib.contextmanager
def served(url: str, gave_up: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """The address of the server at `url`, or of an embedded one that is kept; what to say of it."""
    from deploy.embedded import EmbeddedServer
    from tryon.wardrobe.store import ADDRESS
    from tryon_client import ServerNotReady, ServerUnavailable, TryOnClient

    try:
        with TryOnClient(url, timeout=60) as client:
            client.check()
    except (ServerUnavailable, ServerNotReady):
        print("starting the Triton server ...", flush=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tryon-mirror-") as wardrobe:
            # What visitors bring and say goes with it, unless a wardrobe was named.
            server = EmbeddedServer(wardrobe=None if os.environ.get(ADDRESS) else wardrobe)
            with Keeper("the Triton server", server.restart, gave_up):
                ready = time.monotonic() - start
                yield server.grpc_url, f"a Triton server, ready after {ready:.1f} s"
    else:
        yield url, f"the server that runs on {url}"


def run(options: argparse.Namespace) -> None:
    """The try-on server, if need be, and the mirror before it, until Ctrl-C.

    Raises:
        deploy.embedded.ServerError: one of them can't be started, or ends again and again.
        TryOnError: of the server that runs there, of the folder, of the port.
    """
    from deploy.embedded import ServerError
    from mirror.rail import Rail
    from mirror.serve import listen, warn_of_host
    from tryon.assets import asset_path

    folder = Path(options.garments) if options.garments else asset_path(GARMENTS[0]) / GARMENTS[1]
    failures: queue.Queue[str] = queue.Queue()
    # Before a server is started for it: can the page be served?
    listening = listen(options.host, options.port, "make mirror PORT=...")
    with contextlib.closing(listening):
        Rail(folder)
        warn_of_host(options.host)
        with served(options.url, failures.put) as (url, said):
            print(f"dressed by {said}", flush=True)
            arguments = ["--url", url, "--garments", str(folder.resolve())]

            def page() -> PageServer:
                return PageServer(listening.fileno(), arguments)

            with Keeper("the mirror's page", page, failures.put):
                if not options.stay and _has_desktop():
                    webbrowser.open(f"http://localhost:{listening.getsockname()[1]}")
                raise ServerError(failures.get())


def _has_desktop() -> bool:
    """Whether a browser opens in a window: without one a terminal's browser would take this one."""
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform == "darwin" or bool(shown)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 (stopped), 1 (server, port or asset missing) or 2 (a bad argument)."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.mirror_demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8080, help="of the page (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--garments", default="", metavar="FOLDER", help="pictures of garments")
    parser.add_argument("--url", default="localhost:8001", help="gRPC address of a server")
    parser.add_argument("--stay", action="store_true", help="open no browser")
    options = parser.parse_args(arguments)

    from deploy.embedded import ServerError
    from mirror.errors import CannotListen
    from tryon.assets import AssetError
    from tryon_client import TryOnError
    from tryon_client.errors import DeadlineExceeded, ServerUnavailable

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # So that a server started here is ended too; a shell that starts this in the background has it
    # ignore Ctrl-C's signal.
    before = {which: signal.signal(which, end) for which in (signal.SIGTERM, signal.SIGINT)}
    try:
        run(options)
    except (ServerError, AssetError, CannotListen, ServerUnavailable, DeadlineExceeded) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except TryOnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
    return 0


if __name__ == "__main__":
    sys.exit(main())
