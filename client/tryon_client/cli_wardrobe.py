"""`tryon wardrobe add|list|remove`: the garments that a server keeps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tryon_client.client import TryOnClient
from tryon_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ServerNotReady,
    ServerUnavailable,
    TryOnError,
    WardrobeAway,
    WrongModelVersion,
    one_line,
)
from tryon_client.wardrobe import FRAME_SIZE, Garment, Wardrobe
from tryon_client.wire import CATEGORIES

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
"""Of the files of a folder that are taken for garments."""
_OF_THE_SERVER = (DeadlineExceeded, ServerNotReady, ServerUnavailable, WardrobeAway,
                  WrongModelVersion)  # fmt: skip
"""What ends a bulk add; anything else is one file's own, and the others go on."""
MISSING = "a folder's progress needs tqdm: pip install \"tryon-client[wardrobe]\""


def add_commands(
    commands: Any, add_size: Callable[[argparse.ArgumentParser], None],
    add_server: Callable[[argparse.ArgumentParser], None], **layout: Any,
) -> None:  # fmt: skip
    """Adds `wardrobe` and its three commands.

    Args:
        commands: of `argparse.ArgumentParser.add_subparsers`.
        add_size: adds --size; add_server: adds --url and --timeout.
        layout: further arguments of `add_parser`.
    """
    group = commands.add_parser(
        "wardrobe", help="the garments that the server keeps, for live try-on",
        description="Garments are encoded once and then worn by their ID.", **layout,
    )  # fmt: skip
    parts = group.add_subparsers(dest="part", required=True, parser_class=type(group))
    add = parts.add_parser("add", help="keep garments: files, or folders of them", **layout)
    add.set_defaults(run=_add)
    add.add_argument("sources", nargs="*", metavar="PATH", help="photos of garments, or folders")
    add.add_argument("--prompt", metavar="TEXT", help="words that style them, or one without photo")
    add.add_argument("--category", choices=CATEGORIES, default="upper", help="default: upper")
    add_size(add)
    add.add_argument("--frame-size", type=_size, default=FRAME_SIZE, metavar="HxW",
                     help="of the frames to come; default: {}x{}".format(*FRAME_SIZE))  # fmt: skip
    listing = parts.add_parser("list", help="what is kept, the newest first", **layout)
    listing.set_defaults(run=_list)
    remove = parts.add_parser("remove", help="forget garments", **layout)
    remove.set_defaults(run=_remove)
    remove.add_argument("ids", nargs="+", metavar="ID", help="as `add` and `list` print them")
    for command in (add, listing, remove):
        add_server(command)


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r}: give height x width, like 512x384")
    return int(height), int(width)


def _pictures(sources: list[str]) -> Iterator[Path]:
    """The files that are named, and those of the folders that are, however deep."""
    for source in sources:
        path = Path(source)
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise InvalidRequest(f"{source!r} holds no picture ({', '.join(SUFFIXES)})")
        yield from found


def _add(options: argparse.Namespace) -> None:
    sources: list[Path | None] = [*_pictures(options.sources)]
    if not sources:
        sources = [None]  # words alone
    refused = []
    with TryOnClient(options.url, options.timeout) as client, _bar(
        len(sources), any(Path(s).is_dir() for s in options.sources)
    ) as bar:
        wardrobe = Wardrobe(client)
        for source in sources:
            try:
                garment = Garment(source, options.prompt, options.category, options.size)
                name = wardrobe.add(garment, options.frame_size)
            except _OF_THE_SERVER:
                raise
            except TryOnError as error:
                if len(sources) == 1:
                    raise
                refused.append(one_line(str(error)))
            else:
                bar.write(f"{name}  {options.prompt if source is None else source}")
            bar.update()
    for line in refused:
        print(f"tryon: left out: {line}", file=sys.stderr)
    if refused:
        raise TryOnError(f"{len(refused)} of {len(sources)} were left out (above)")


class _NoBar:
    """In the place of a progress bar, for files that are few."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self) -> None:
        pass

    def write(self, line: str) -> None:
        print(line, flush=True)


def _bar(total: int, bulk: bool) -> Any:
    """A progress bar, and a writer of lines above it."""
    if not bulk:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        raise TryOnError(MISSING) from None
    return tqdm(total=total, unit="garment", desc="wardrobe")


def _list(options: argparse.Namespace) -> None:
    with TryOnClient(options.url, options.timeout) as client:
        kept = Wardrobe(client).kept()
    for one in kept:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.added))
        size = "{}x{}, {:.1f} MB".format(*one.canvas, one.bytes / 1e6)
        words = one_line(one.prompt, 60)
        print(f"{one.id}  {one.category:5}  {size:16}  {when}  {words}".rstrip())
    total = sum(one.bytes for one in kept)
    print(f"{len(kept)} kept, {total / 1e6:.1f} MB", file=sys.stderr)


def _remove(options: argparse.Namespace) -> None:
    unknown = []
    with TryOnClient(options.url, options.timeout) as client:
        wardrobe = Wardrobe(client)
        for name in options.ids:
            if wardrobe.remove(name):
                print(f"{name}  removed")
            else:
                unknown.append(name)
    if unknown:
        raise TryOnError(f"not kept: {', '.join(unknown)}: `tryon wardrobe list` shows what is")
