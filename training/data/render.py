"""Renders scenes into a folder: `python -m training.data.render --out DIR --scenes N`.

Scenes that are there are kept, so a run can be stopped and started again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from training.data.shards import save_scene, scene_path  # noqa: E402

_STUDIO = None


def _start() -> None:
    global _STUDIO
    import cv2

    from training.data.studio import Studio

    cv2.setNumThreads(1)
    _STUDIO = Studio()


def _render(job: tuple[str, int, int]) -> int:
    folder, seed, index = job
    path = scene_path(Path(folder), seed, index)
    if not path.is_file():
        from training.data.scene import make_scene

        assert _STUDIO is not None
        save_scene(path, make_scene(_STUDIO, seed, index))
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the scenes")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="index of the first scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    from tqdm import tqdm

    from training.data.bodies import load_body_model
    from training.data.scene import RENDERER
    from training.data.shards import list_scenes, load_meta

    load_body_model()  # built once, before the processes need it
    wanted = range(args.first, args.first + args.scenes)
    jobs = [
        (str(args.out), args.seed, i)
        for i in wanted
        if not scene_path(args.out, args.seed, i).is_file()
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    old = sum(load_meta(path).get("renderer", 1) != RENDERER for path in list_scenes(args.out))
    if old:
        print(
            f"note: {old} scenes of {args.out} are an earlier renderer's and are kept; delete them "
            "to have the same seeds rendered anew", file=sys.stderr,
        )  # fmt: skip
    bar = tqdm(total=args.scenes, initial=args.scenes - len(jobs), unit="scene")
    if args.processes <= 1:
        _start()
        for job in jobs:
            _render(job)
            bar.update()
    else:
        context = multiprocessing.get_context("spawn")
        with context.Pool(args.processes, initializer=_start) as pool:
            for _ in pool.imap_unordered(_render, jobs):
                bar.update()
    bar.close()


if __name__ == "__main__":
    main()
