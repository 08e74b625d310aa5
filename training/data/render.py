"""Renders scenes into a folder: `python -m training.data.render --out DIR --scenes N`.

Scenes that are there are kept, so a run can be stopped and started again.

    python -m training.data.render --out .cache/pairs --scenes 1000 --processes 2
    make pairs N=20000
    python -m training.data.render --out .cache/pairs --scenes 300 --seed 1 --photographs

With `--photographs` the people are photographed ones (`photographs.py`), not rendered.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from training.data.jobs import finish, told  # noqa: E402
from training.data.shards import (  # noqa: E402
    RENDERER,
    is_test_name,
    list_scenes,
    load_meta,
    save_scene,
    scene_path,
)

if TYPE_CHECKING:
    from training.data.photo_scene import Subjects
    from training.data.studio import Studio

Job = tuple[str, int, int, bool, bool]
"""Folder, seed, index, whether the person is a photographed one, and whether seen with the head."""

PAIRS, PAIRS_PHOTOGRAPHED = 20, 17
"""Training pairs that a scene gives at least, on average: five or six outfits, each with each; what
is photographed is never put on."""


@functools.cache
def _studio() -> Studio:
    """This process's renderer, made at its first scene: what fails then is told as its answer."""
    import cv2

    from training.data.studio import Studio

    cv2.setNumThreads(1)
    return Studio()


@functools.cache
def _subjects() -> Subjects:
    """This process's photographed people."""
    from training.data.photo_scene import Subjects

    return Subjects(_studio())


def _render(job: Job) -> int:
    folder, seed, index, photographed, whole = job
    path = scene_path(Path(folder), seed, index)
    if path.is_file():
        return index
    if photographed:
        from training.data.photo_scene import make_photo_scene

        save_scene(path, make_photo_scene(_studio(), _subjects(), seed, index))
    else:
        from training.data.scene import make_scene

        save_scene(path, make_scene(_studio(), seed, index, whole=whole))
    return index


def render(
    out: Path, first: int, scenes: int, seed: int, processes: int, photographed: bool = False,
    split: str | None = None, whole: bool = False,
) -> None:  # fmt: skip
    """Renders what is not there yet, with a progress bar.

    Args:
        split: of these scenes the ones of "train" or "test" alone.
        whole: rendered people are seen with the head in trousers, too (`make_scene`).

    Raises:
        RuntimeError: a part is missing (the body model's data, EGL, the photographs); says what to
            install.
        OSError: a scene can't be written; it names the file, and no part of it is left.
        ValueError: a file in `out` is no scene; it names the file.
    """
    from tqdm import tqdm

    from training.data.bodies import load_body_model

    wanted = [
        index for index in range(first, first + scenes)
        if split is None or is_test_name(seed, index) == (split == "test")
    ]  # fmt: skip
    metas = {path: load_meta(path) for path in list_scenes(out)}
    for path in (scene_path(out, seed, i) for i in wanted):
        if path in metas and ("person" in metas[path]) != photographed:
            raise ValueError(
                f"{path} shows a {'rendered' if photographed else 'photographed'} person: give "
                "another --seed or --out"
            )
    load_body_model()  # built once, before the processes need it
    if photographed:
        from training.data.photographs import PHOTOS, photograph

        for photo in tqdm(PHOTOS, desc="photographs"):
            photograph(photo)  # the same
    jobs = [
        (str(out), seed, i, photographed, whole)
        for i in wanted
        if not scene_path(out, seed, i).is_file()
    ]
    old = sum(meta.get("renderer", 1) != RENDERER for meta in metas.values())
    if old:
        print(
            f"note: {old} scenes of {out} are an earlier renderer's: they are kept, but nothing "
            "takes them; delete them to have the same seeds rendered anew", file=sys.stderr,
        )  # fmt: skip
    finish(_render, jobs, len(wanted), "scene", out, processes)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.render", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path(".cache/pairs"),
                        help="folder of the scenes; default: .cache/pairs")  # fmt: skip
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--scenes", type=int, default=1000)
    much.add_argument("--pairs", type=int, help="so many pairs in place of so many scenes: "
                      f"{PAIRS} come of one, {PAIRS_PHOTOGRAPHED} of a photographed")  # fmt: skip
    parser.add_argument("--first", type=int, default=0, help="index of the first scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--photographs", action="store_true",
                        help="photographed people in rendered garments")  # fmt: skip
    parser.add_argument("--whole", action="store_true",
                        help="trousers are seen with the head, too; to check, not to train: "
                        "into a folder of its own")  # fmt: skip
    parser.add_argument("--split", choices=("train", "test"),
                        help="of these scenes those of a split alone")  # fmt: skip
    args = parser.parse_args(arguments)
    if args.pairs is not None:
        if args.split:
            parser.error("--pairs counts both splits: give --scenes with --split")
        args.scenes = -(-args.pairs // (PAIRS_PHOTOGRAPHED if args.photographs else PAIRS))
    if args.scenes < 1:
        parser.error("there must be a scene or a pair at least")
    return told(
        lambda: render(
            args.out,
            args.first,
            args.scenes,
            args.seed,
            args.processes,
            args.photographs,
            args.split,
            args.whole,
        ),
        f"{args.out} keeps its scenes",
    )


if __name__ == "__main__":
    sys.exit(main())
