"""`make mirror`: a page on which you see yourself in garments, live.

    python -m deploy.mirror_demo --port 8080
    python -m deploy.mirror_demo --garments shop/        # shop/shirts/a.jpg, shop/pants/b.jpg, ...

Uses the server on localhost:8001 if one is there, else starts the embedded one, which ends with the
page. Without a folder the garments of the package `openvto` hang there.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from deploy.tryon_demo import connected

GARMENTS = ("openvto", "clothes")
"""The default garments: an asset, and a folder in it."""


def run(options: argparse.Namespace) -> None:
    """The try-on server, if need be, and the mirror before it, until Ctrl-C."""
    from mirror.rail import Rail
    from mirror.serve import listen, serve, warn_of_host
    from tryon.assets import asset_path

    folder = Path(options.garments) if options.garments else asset_path(GARMENTS[0]) / GARMENTS[1]
    # Before a server is started for it: can the page be served?
    listening = listen(options.host, options.port, "make mirror PORT=...")
    with contextlib.closing(listening):
        rail = Rail(folder)
        warn_of_host(options.host)
        with connected(options.url) as (client, said, _):
            print(f"dressed by {said}", flush=True)
            serve(listening, client.url, rail)


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
    options = parser.parse_args(arguments)

    from deploy.embedded import ServerError
    from mirror.errors import CannotListen
    from tryon.assets import AssetError
    from tryon_client import TryOnError
    from tryon_client.errors import DeadlineExceeded, ServerUnavailable

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)  # so that a server started here is ended too
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
        signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
