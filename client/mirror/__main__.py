"""The command line: `python -m mirror --garments FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from mirror.errors import CannotListen
from tryon_client.client import DEFAULT_URL
from tryon_client.errors import TryOnError, one_line
from tryon_client.wire import check_url

EXAMPLES = """examples:
  python -m mirror --garments shop/
  python -m mirror --url localhost:8001 --port 8090 --garments shop/
  python -m mirror --host 0.0.0.0 --garments shop/   # behind an HTTPS proxy, for cameras elsewhere

A folder of garments holds pictures, also one folder down, whose name says the category:
  shop/shirts/oxford.jpg   shop/pants/jeans.png   shop/dresses/summer.webp
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other error here."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mirror: {one_line(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 (stopped), 1 (the port can't be had) or 2 (a bad argument)."""
    parser = _Parser(
        prog="python -m mirror",
        description="A page that shows you in garments, live, before your camera or on your photo. "
        "Needs a try-on server (`make serve`); frames live in memory alone.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--url", default=DEFAULT_URL, metavar="HOST:PORT",
                        help=f"the try-on server, by gRPC; default: {DEFAULT_URL}")  # fmt: skip
    parser.add_argument("--port", type=int, default=8080, help="of the page; default: 8080")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: "
                        "127.0.0.1, this machine alone")  # fmt: skip
    parser.add_argument("--garments", type=Path, metavar="FOLDER",
                        help="what hangs on the rail; visitors can bring more")  # fmt: skip
    parser.add_argument("--fd", type=int, metavar="N",
                        help="a socket that listens already, from whoever keeps this running; "
                        "instead of --host and --port")  # fmt: skip
    parser.add_argument("--no-webrtc", action="store_true",
                        help="frames by the WebSocket alone, as where aiortc isn't installed")
    options = parser.parse_args(arguments)
    lacking = [n for n in ("starlette", "uvicorn", "websockets") if find_spec(n) is None]
    if lacking:
        print(f"mirror: {', '.join(lacking)} missing: pip install \"tryon-client[mirror]\"",
              file=sys.stderr)  # fmt: skip
        return 1
    from mirror.rail import Rail
    from mirror.serve import inherited, listen, serve, warn_of_host

    try:
        check_url(options.url)
        if options.fd is None:
            listening = listen(options.host, options.port)
            warn_of_host(options.host)
        else:
            listening = inherited(options.fd)
        serve(listening, options.url, Rail(options.garments), webrtc=not options.no_webrtc)
    except CannotListen as error:
        print(f"mirror: {error}", file=sys.stderr)
        return 1
    except TryOnError as error:
        print(f"mirror: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
