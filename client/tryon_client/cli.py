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

from tryon_client import cli_trace, cli_wardrobe
from tryon_client.client import (
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    LEAST_CONFIDENCE,
    SIZES,
    TryOnClient,
)
from tryon_client.errors import InvalidRequest, TryOnError, one_line
from tryon_client.wire import CATEGORIES

EXAMPLES = """examples:
  tryon try --person me.jpg --garment shirt.jpg --out out.png
  tryon try --person me.jpg --prompt "a blue striped t-shirt" --out out.png
  tryon try --person me.jpg --garment skirt.png --category lower --out out.jpg --mask mask.png
  tryon video walk.mp4 out.mp4 --garment shirt.jpg
  tryon wardrobe add shop/shirts
  tryon trace walk.mp4 --garment shirt.jpg --out trace.png
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
    one.set_defaults(run=_try)
    one.add_argument("--person", required=True, metavar="FILE", help="a photo of one person")
    _add_wish(one)
    _add_least(one)
    one.add_argument("--out", required=True, metavar="FILE", help="written as .png, .jpg or .webp")
    one.add_argument("--mask", metavar="FILE", help="also write the mask (.png)")
    one.add_argument("--stages", action="store_true", help="print what each server step took")
    video = commands.add_parser(
        "video", help="one video, one garment or prompt, the video with the garment in every frame",
        description="Writes the video with its person in the garment, its sound kept. A run that "
        "was stopped goes on where it was when it is started again. Frames that show nobody, or "
        "several people, stay as they are. Needs PyAV: pip install \"tryon-client[video]\".",
        epilog=EXAMPLES, formatter_class=layout,
    )  # fmt: skip
    video.set_defaults(run=_video)
    video.add_argument("source", metavar="IN", help="a video of one person")
    video.add_argument("out", metavar="OUT", help="written as .mp4, .mov or .mkv")
    _add_wish(video)
    _add_least(video)
    video.add_argument("--at-once", type=int, default=2, metavar="N",
                       help="frames with the server at the same time; default: 2")  # fmt: skip
    cli_trace.add_command(commands, _add_wish, _check_target, write_whole, formatter_class=layout)
    cli_wardrobe.add_commands(commands, _add_size, _add_server, formatter_class=layout)
    return parser


def _add_wish(command: argparse.ArgumentParser) -> None:
    """What to wear, and the server."""
    command.add_argument("--garment", metavar="FILE", help="a photo of a garment")
    command.add_argument("--prompt", metavar="TEXT", help="words for the garment, or to style it")
    command.add_argument("--category", choices=CATEGORIES, default="upper", help="default: upper")
    _add_size(command)
    _add_server(command)


def _add_least(command: argparse.ArgumentParser) -> None:
    """What is refused."""
    command.add_argument("--least-confidence", type=float, default=LEAST_CONFIDENCE, metavar="C",
                         help="refuse a picture of which the networks are less sure, 0 to 1; "
                         f"default: {LEAST_CONFIDENCE:g}")  # fmt: skip


def _add_size(command: argparse.ArgumentParser) -> None:
    """In which size to wear it."""
    command.add_argument("--size", type=int, default=0, metavar="N", choices=(0, *SIZES),
                         help="sizes larger than it is shown, -2 to 3; default: 0")  # fmt: skip


def _add_server(command: argparse.ArgumentParser) -> None:
    """Which server to ask, and for how long."""
    command.add_argument("--url", default=DEFAULT_URL, metavar="HOST:PORT",
                         help=f"the server's gRPC address; default: {DEFAULT_URL}")  # fmt: skip
    command.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, metavar="S",
                         help=f"seconds to wait; default: {DEFAULT_TIMEOUT:g}")  # fmt: skip


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
    with TryOnClient(options.url, options.timeout, options.least_confidence) as client:
        result = client.try_on(
            options.person, options.garment, options.prompt, options.category, options.size,
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


def _video(options: argparse.Namespace) -> None:
    from tryon_client.video import MISSING, try_on_video

    try:
        from tqdm import tqdm
    except ImportError:
        raise TryOnError(MISSING) from None
    if not Path(options.out).absolute().parent.is_dir():
        raise InvalidRequest(f"can't write {options.out!r}: no folder {Path(options.out).parent}")
    with TryOnClient(options.url, options.timeout, options.least_confidence) as client:
        client.check()
        with tqdm(unit="frame", desc="video") as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            report = try_on_video(
                client, options.source, options.out, options.garment, options.prompt,
                options.category, options.size, at_once=options.at_once, progress=progress,
            )  # fmt: skip
    kept = report.frames - report.dressed
    print(
        f"{options.out}: {report.frames} frames, {report.dressed} dressed"
        + (f", {kept} as they were (nobody or several people in them)" if kept else "")
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 0, or 2 after an error of one line."""
    try:
        # Large photos are refused by our own limit, in one line; no warning beside it.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        options = _parser().parse_args(arguments)
        options.run(options)
    except TryOnError as error:
        print(f"tryon: {one_line(str(error), 1000)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
