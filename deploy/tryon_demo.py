"""`make tryon`: one person, one garment or some words, one picture.

    python -m deploy.tryon_demo --person me.jpg --garment shirt.jpg --prompt "sleeves rolled"

Uses the server on localhost:8001 if one is there, else starts the embedded one for the while.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tryon.contract import CATEGORIES, ENSEMBLE_STEPS

if TYPE_CHECKING:
    from PIL import Image

    from tryon_client import TryOnClient

ROOT = Path(__file__).resolve().parents[1]
PERSON = ("openpeople", "P010/assets/studio_posture.jpg")
GARMENT = ("openvto", "clothes/shirts/2_front.jpg")
"""The default pair: an asset, and a path in it."""
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
STEPS = tuple(step.model for step in ENSEMBLE_STEPS)


class UsageError(Exception):
    """An argument that can't be used; the message is one line."""


def save(image: Image.Image, path: Path) -> None:
    """Writes the picture whole or not at all.

    Raises:
        UsageError: a suffix that is no picture's, or a place that can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                image.save(file, FORMATS[path.suffix.lower()],
                           icc_profile=image.info.get("icc_profile"))  # fmt: skip
            beside.chmod(0o644)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"OUT: {path} can't be written: {error.strerror or error}") from None


def check_out(path: Path) -> None:
    """Raises UsageError where the picture could not be saved, before any work is done."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"OUT: {path}: give it one of the endings {', '.join(FORMATS)}")
    if path.is_dir():
        raise UsageError(f"OUT: {path} is a folder: name a file")


def check_category(category: str) -> None:
    """Raises UsageError for a category that is not served."""
    if category not in CATEGORIES:
        raise UsageError(f"CATEGORY: {category!r}: one of {', '.join(CATEGORIES)}")


def read_size(text: str) -> int:
    """The number of sizes. Raises UsageError."""
    from tryon_client.client import SIZES

    sizes = {str(size): size for size in (0, *SIZES)}
    if text.removeprefix("+") not in sizes:
        raise UsageError(f"SIZE: {text!r}: a whole number from {min(SIZES)} to {max(SIZES)}")
    return sizes[text.removeprefix("+")]


@contextlib.contextmanager
def connected(url: str) -> Iterator[tuple[TryOnClient, str, bool]]:
    """A client of the server at `url`, or of an embedded one; what to say of it; whether new."""
    from deploy.embedded import EmbeddedServer
    from tryon_client import ServerNotReady, ServerUnavailable, TryOnClient

    with contextlib.ExitStack() as stack:
        client: TryOnClient = stack.enter_context(TryOnClient(url, timeout=60))
        try:
            client.check()
            said, new = f"the server that runs on {url}", False
        except (ServerUnavailable, ServerNotReady):
            print("starting the Triton server ...", flush=True)
            start = time.monotonic()
            server = stack.enter_context(EmbeddedServer())
            said, new = f"a Triton server, ready after {time.monotonic() - start:.1f} s", True
            client = stack.enter_context(TryOnClient(server.grpc_url, timeout=60))
        yield client, said, new


def timing_lines(timings: dict[str, float]) -> list[str]:
    """What each stage took, for people."""
    lines = [f"  {'request over gRPC':22}{timings['request']:8.1f} ms"]
    for step in STEPS:
        if f"server.{step}" in timings:
            lines.append(f"    {step:20}{timings[f'server.{step}']:8.1f} ms")
    lines.append(f"  {'with reading, scaling':22}{timings['total']:8.1f} ms")
    return lines


def run(options: argparse.Namespace) -> None:
    """One request, one picture."""
    from tryon.assets import asset_path
    from tryon_client.images import load_garment, load_person

    out = Path(options.out)
    check_out(out)
    check_category(options.category)
    options.size = read_size(options.size)
    defaults = not options.person
    garment: Path | None = None
    if options.garment:
        garment = Path(options.garment)
    elif not options.prompt:
        garment = asset_path(GARMENT[0]) / GARMENT[1]
    person = Path(options.person) if options.person else asset_path(PERSON[0]) / PERSON[1]
    # Before a server is started for it: is there anything to send?
    load_person(person)
    if garment is not None:
        load_garment(garment)
    with connected(options.url) as (client, said, new):
        # A new server's first request also pays for memory that all later ones find in place.
        for _ in range(2 if new else 1):
            result = client.try_on(
                person, garment, options.prompt or None, options.category, options.size, stages=True
            )
    save(result.image, out)
    changed = float((result.mask > 0).mean())
    wears = [str(garment)] if garment else []
    wears += [f'"{options.prompt}"'] if options.prompt else []
    wears += [f"size {options.size:+d}"] if options.size else []
    print(f"{person}\n  in {' and '.join(wears)}, by {said}")
    if new:
        print("  (the second request; the first one warmed the server up)")
    print("\n".join(timing_lines(result.timings)))
    print(f"  confidence {result.confidence:.2f}, {changed:.0%} of the picture changed")
    print(f"\n{out.resolve()}")
    if defaults:
        print('\nYour own: make tryon PERSON=me.jpg GARMENT=shirt.jpg PROMPT="sleeves rolled" '
              "CATEGORY=upper\n(GARMENT or PROMPT alone will do; CATEGORY is upper, lower or "
              "dress; `make serve` keeps a server running)")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0, 1 (the server or an asset is missing) or 2 (a bad argument)."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.tryon_demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--person", default="", help="a picture of one person")
    parser.add_argument("--garment", default="", help="a picture of a garment")
    parser.add_argument("--prompt", default="", help="words that style it, or describe one")
    parser.add_argument("--category", default="upper", help="upper, lower or dress")
    parser.add_argument("--size", default="0", help="sizes larger than it is shown, -2 to 3")
    parser.add_argument("--out", default=str(ROOT / "out" / "tryon.png"))
    parser.add_argument("--url", default="localhost:8001", help="gRPC address of a server")
    options = parser.parse_args(arguments)
    options.category, options.size = options.category or "upper", options.size or "0"

    from deploy.embedded import ServerError
    from tryon.assets import AssetError
    from tryon_client import TryOnError
    from tryon_client.errors import DeadlineExceeded, ServerNotReady, ServerUnavailable

    try:
        run(options)
    except (UsageError, TryOnError) as error:
        print(f"error: {error}", file=sys.stderr)
        ours = isinstance(error, (ServerUnavailable, ServerNotReady, DeadlineExceeded))
        return 1 if ours else 2
    except (ServerError, AssetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
