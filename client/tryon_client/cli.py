"""The command line: `tryon try --person me.jpg --garment shirt.jpg --out out.png`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NoReturn

from PIL import Image

from tryon_client.client import DEFAULT_TIMEOUT, DEFAULT_URL, TryOnClient
from tryon_client.errors import InvalidRequest, TryOnError, one_line
from tryon_client.wire import CATEGORIES

EXAMPLES = """examples:
  tryon try --person me.jpg --garment shirt.jpg --out out.png
  tryon try --person me.jpg --prompt "a blue striped t-shirt" --out out.png
  tryon try --person me.jpg --garment skirt.png --category lower --out out.jpg --mask mask.png
"""

_SAVE = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}  # type: dict[str, tuple[str, dict[str, int]]]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other error here."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"tryon: {one_line(message)} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="tryon", description="Virtual try-on, by a running try-on server.",
        epilog=EXAMPLES, formatter_class=layout,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    one = commands.add_parser(
        "try", help="one person, one garment or prompt, one picture",
        description="Writes a picture of the person in the garment.",
        epilog=EXAMPLES, formatter_class=layout,
    )  # fmt: skip
    one.add_argument("--person", required=True, metavar="FILE", help="a photo of one person")
    one.add_argument("--garment", metavar="FILE", help="a photo of a garment")
    one.add_argument("--prompt", metavar="TEXT", help="words for the garment, or to style it")
    one.add_argument("--category", choices=CATEGORIES, default="upper", help="default: upper")
    one.add_argument("--out", required=True, metavar="FILE", help="written as .png, .jpg or .webp")
    one.add_argument("--mask", metavar="FILE", help="also write the mask (.png)")
    one.add_argument("--url", default=DEFAULT_URL, metavar="HOST:PORT",
                     help=f"the server's gRPC address; default: {DEFAULT_URL}")  # fmt: skip
    one.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, metavar="S",
                     help=f"seconds to wait; default: {DEFAULT_TIMEOUT:g}")  # fmt: skip
    one.add_argument("--stages", action="store_true", help="print what each server step took")
    return parser


def _check_target(name: str, option: str) -> Path:
    """The path, where a picture can be written to it. Checked before the server is bothered."""
    path = Path(name)
    if path.suffix.lower() not in _SAVE:
        raise InvalidRequest(f"{option}: {name!r} must end in {', '.join(_SAVE)}")
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else f"no folder {str(path.parent)!r}"
        raise InvalidRequest(f"{option}: can't write {name!r}: {problem}")
    return path


def write_whole(pictures: list[tuple[Path, Image.Image]]) -> None:
    """Writes the pictures, or none: each beside its place first, then all are moved there."""
    written: list[tuple[str, Path]] = []
    try:
        for path, image in pictures:
            handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            written.append((beside, path))
            kind, options = _SAVE[path.suffix.lower()]
            with os.fdopen(handle, "wb") as file:
                image.save(file, kind, **options)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o666 & ~_umask())
        for beside, path in written:
            os.replace(beside, path)
    except OSError as error:
        raise TryOnError(f"can't write {path}: {error.strerror or error}") from None
    finally:
        for beside, _ in written:
            if os.path.exists(beside):
                os.unlink(beside)


def _umask() -> int:
    # The only way to ask is to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _try(options: argparse.Namespace) -> None:
    out = _check_target(options.out, "--out")
    mask = _check_target(options.mask, "--mask") if options.mask else None
    if mask is not None and mask.suffix.lower() != ".png":
        raise InvalidRequest(f"--mask: {options.mask!r} must end in .png, so that no value changes")
    with TryOnClient(options.url, options.timeout) as client:
        result = client.try_on(
            options.person, options.garment, options.prompt, options.category,
            stages=options.stages,
        )  # fmt: skip
    pictures = [(out, result.image)]
    if mask is not None:
        pictures.append((mask, Image.fromarray(result.mask)))
    write_whole(pictures)
    times = result.timings
    print(
        f"{out}: {result.image.width}x{result.image.height}, confidence {result.confidence:.2f}, "
        + ", ".join(f"{stage} {times[stage]:.0f} ms" for stage in
                    ("prepare", "request", "finish", "total"))
    )  # fmt: skip
    for stage, ms in times.items():
        if stage.startswith("server"):
            print(f"  {stage:24} {ms:8.1f} ms")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 0, or 2 after an error of one line."""
    try:
        # Large photos are refused by our own limit, in one line; no warning beside it.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        options = _parser().parse_args(arguments)
        _try(options)
    except TryOnError as error:
        print(f"tryon: {one_line(str(error), 1000)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
