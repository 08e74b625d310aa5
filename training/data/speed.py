"""How long the stages of a training pair take, in this process and on one thread.

    python -m training.data.speed --scenes 6 --pairs 96 --photos PHOTOS --cutouts .cache/cutouts
    python -m training.data.speed --scenes 2 --pairs 32 --processor --json out/speed.json
    python -m training.data.speed --scenes 6 --pairs 96 --photos PHOTOS --scale 2

Scenes are made and written as `training.data.render` does it, then read and composed into pairs as
a training does it. What a process does once is not counted: a first scene and its pairs come before
the clock starts. "in-shop pictures: draping" is the draping that is done for in-shop pictures, and
is no part of another row. The renderer draws when a picture is read back: "drawing, read back" is
mostly drawing. A scene is read from files that were just written: a training's disk may be slower.

The pairs a second are one process's: of scenes alone, each of which gives all the pairs that it
holds; of pairs alone; and of one after the other, where each pair of a scene is composed once.

With `--scale 2` scenes are drawn at 512x384: each pair of one is taken at that size with all its
truths, and brought to 256x192 ("pairs at their size"); what is composed is of 256x192 as ever.
"""

from __future__ import annotations

import argparse
import functools
import os
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from training.data.jobs import told  # noqa: E402
from training.figures import write_json  # noqa: E402

if TYPE_CHECKING:
    from training.dataset import Pairs

Stages = Mapping[str, tuple[str, ...]]
"""Rows of a table, and the functions, methods and properties whose time each of them is."""

SCENE: Stages = {
    "bodies and poses": (
        "training.data.bodies.BodyModel.shape", "training.data.poses.Poser.__init__",
        "training.data.poses.Poser.random", "training.data.drape.Wearer.__init__",
        "training.data.studio.Studio.joints",
    ),
    "looks": ("training.data.scene.random_looks", "training.data.looks.Dresser.skin_colours"),
    "light": ("training.data.scene.random_light", "training.data.shop_render.random_light"),
    "garments and their cloth": (
        "training.data.wardrobe.random_upper", "training.data.wardrobe.random_lower",
        "training.data.wardrobe.random_dress",
    ),
    "garments laid out for drawing": (
        "training.data.studio.Item.__init__", "training.data.studio.Item.styled",
    ),
    "in-shop pictures": ("training.data.scene.shop_of",),
    "draping": ("training.data.drape.Wearer.drape",),
    "drawing, handed over": (
        "training.data.renderer.Renderer.begin", "training.data.studio.Studio.draw_person",
        "training.data.studio.Studio.draw_item", "training.data.scene.draw_carried",
    ),
    "drawing, read back": ("training.data.renderer.Renderer.finish",),
    "truths": (
        "training.data.scene.flow_truth", "training.data.scene.marks_truth",
        "training.data.scene.arrays_of", "training.data.renderer.Layers.depth",
    ),
    "writing": ("training.data.shards.save_scene",),
}  # fmt: skip
"""Of a scene: what `make_scene` calls, and `save_scene`."""

PAIR: Stages = {
    "reading scenes": ("training.dataset._scene",),
    "choice of the pair, slices": ("training.dataset.pairs_of", "training.dataset.slices_of"),
    "fabric": ("training.data.compose._garment_texture",),
    "real garments": (
        "training.data.compose._real_garment", "training.data.compose.texture_of",
        "training.data.compose.flow_of", "training.data.compose.mask_of",
        "training.data.compose.marks_of",
    ),
    "fabric laid on": ("training.data.compose._dress_up",),
    "blocks, fades, marks": (
        "training.data.compose.colour_blocks", "training.data.compose.dyed",
        "training.data.compose.faded", "training.data.compose._skin_marks",
    ),
    "backdrop": ("training.data.compose.backdrop", "training.data.compose.shaded"),
    "camera": ("training.data.camera.Camera.__init__", "training.data.camera.Camera.__call__"),
    "in-shop picture": (
        "training.data.compose.shop_picture", "training.data.compose.widen",
        "training.data.compose.bend", "training.data.compose.tuck",
        "training.data.compose.jitter_shop",
    ),
    "in-shop picture as served": ("training.data.compose.without_background",),
    "distances": ("training.data.compose.inside_distance",),
    "joints and depth": ("training.data.compose._joints_of", "training.data.compose._depth_of"),
    "words": (
        "training.data.compose.words_of", "training.data.compose.sample_caption",
        "training.data.compose.recolour_request", "training.data.compose.styled",
    ),
}  # fmt: skip
"""Of a pair: what `Pairs` and `compose` call."""

REST = "the rest"


class Clock:
    """Adds up the seconds of stages; of one within another, under "OUTER: INNER" alone.

    Args:
        now: seconds since whenever.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done within it is of this stage."""
        outer = self._open[-1] if self._open else REST
        path = f"{outer}: {name}"
        if outer == REST:
            path = name
        elif name in outer.split(": "):
            path = outer
        self._turn()
        self._open.append(path)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def _turn(self) -> None:
        """Gives the time that has passed to the innermost open stage."""
        now = self.now()
        if self._open:
            stage = self._open[-1]
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, with its time counted as the stage's."""

        @functools.wraps(work)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return work(*args, **kwargs)

        return timed


@contextmanager
def watched(clock: Clock, stages: Stages) -> Iterator[None]:
    """The functions of stages are timed as long as this lasts; else nothing is there to pay for."""
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for stage, paths in stages.items():
            for path in paths:
                place, _, name = path.rpartition(".")
                owner = pkgutil.resolve_name(place)
                own = vars(owner)[name]
                replaced.append((owner, name, own))
                if isinstance(own, property) and own.fget is not None:
                    setattr(owner, name, property(clock.timed(stage, own.fget)))
                else:
                    setattr(owner, name, clock.timed(stage, own))
        with clock.stage(REST):
            yield
    finally:
        for owner, name, own in reversed(replaced):
            setattr(owner, name, own)


def measure(
    scenes: int, pairs: int, photos: Path | None = None, cutouts: Path | None = None,
    seed: int = 0, now: Callable[[], float] = time.perf_counter, scale: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Makes so many scenes and pairs.

    Args:
        photos, cutouts: as `Pairs` has them.
        now: which time is measured.
        scale: how much larger than the networks' pictures those of the scenes are.

    Returns:
        "scene" and "pair": seconds of each of their stages, the longest first, on average; "pairs a
        scene"; and "pairs a second": "rendering", "composing" and "both".

    Raises:
        RuntimeError: the body model's data or EGL is missing; says what to install.
        OSError, ValueError: the photos or cutouts aren't there, or no scene can be written.
    """
    import cv2
    import torch

    from training.data.compose import Options
    from training.data.outfits import pairs_of
    from training.data.shards import load_scene, scene_path
    from training.dataset import Pairs

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [scene_path(Path(folder), seed, index) for index in range(scenes + 1)]
        # Before anything is rendered: what is wrong with the folders is said at once.
        composed = Pairs(paths[:scenes], photos, Options(), seed, cutouts=cutouts)
        per_scene = _scenes(paths, seed, now, scale)
        if scale > 1:  # pairs are composed of scenes as trainings have them
            _scenes(paths, seed, now, 1)
        held = sum(len(pairs_of(load_scene(path))) for path in paths[:scenes]) / scenes
        per_pair = _pairs(composed, pairs, now)
    rendering, composing = held / sum(per_scene.values()), 1 / sum(per_pair.values())
    return {
        "scenes": scenes, "pairs": pairs, "scale": scale, "scene": per_scene, "pair": per_pair,
        "pairs a scene": held,
        "pairs a second": {
            "rendering": rendering, "composing": composing,
            "both": 1 / (1 / rendering + 1 / composing),
        },
    }  # fmt: skip


def _scenes(paths: list[Path], seed: int, now: Callable[[], float], scale: int) -> dict[str, float]:
    """Makes scenes; seconds a scene by stage, of all but the last, which is made first.

    Args:
        paths: scene k of the set `seed` goes into `paths[k]`; larger ones are not written.
    """
    from training.data import large, outfits, scene, shards
    from training.data.studio import Studio

    studio = Studio()
    clock = Clock(now)

    def made(index: int) -> None:
        # By their modules: their names here would not be watched.
        arrays = scene.make_scene(studio, seed, index, scale=scale)
        if scale == 1:
            shards.save_scene(paths[index], arrays)
            return
        drawn = shards.scene_from(arrays)
        with clock.stage("pairs at their size"):
            for pair in outfits.pairs_of(drawn):
                large.reduced(large.pair_of(drawn, *pair, np.random.default_rng(index)))

    count = len(paths) - 1
    made(count)
    clock.seconds.clear()
    with watched(clock, SCENE):
        for index in tqdm(range(count), unit="scene", leave=False):
            made(index)
    return _ordered(clock, count)


def _pairs(pairs: Pairs, count: int, now: Callable[[], float]) -> dict[str, float]:
    """Composes pairs; seconds a pair by stage."""
    from training import dataset

    forget = dataset._scene.cache_clear
    pairs[count * dataset.SHARED]
    clock = Clock(now)
    with watched(clock, PAIR):
        for number in tqdm(range(count), unit="pair", leave=False):
            if number % dataset.SHARED == 0:
                forget()  # few scenes: those of a training are seldom still there
            pairs[number]
    return _ordered(clock, count)


def _ordered(clock: Clock, count: int) -> dict[str, float]:
    """A clock's seconds for each of `count`, the longest first."""
    seconds = sorted(clock.seconds.items(), key=lambda item: -item[1])
    return {stage: took / count for stage, took in seconds}


def table(made: Mapping[str, Any]) -> str:
    """What `measure` found, in lines."""
    lines = []
    for one in ("scene", "pair"):
        whole = sum(made[one].values())
        lines.append(f"{'a ' + one + ', stage':50s}{'ms':>10s}{'share':>9s}")
        rows = {**made[one], "all of it": whole}
        lines += [f"  {n:48s}{1e3 * t:10.2f}{t / whole:9.1%}" for n, t in rows.items()]
        lines.append("")
    lines.append(f"{'pairs a scene':50s}{made['pairs a scene']:10.1f}")
    lines += [
        f"{'pairs a second of a process, ' + what:50s}{rate:10.2f}"
        for what, rate in made["pairs a second"].items()
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.speed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--scenes", type=int, default=6, help="default: 6")
    parser.add_argument("--pairs", type=int, default=96, help="default: 96")
    parser.add_argument("--photos", type=Path, help="folder of real garment photos")
    parser.add_argument("--cutouts", type=Path, help="folder that `make cutouts` wrote")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=int, choices=(1, 2, 4), default=1,
                        help="times the networks' size at which scenes are drawn")  # fmt: skip
    parser.add_argument("--processor", action="store_true",
                        help="seconds of the processor, not of the clock on the wall: where others "
                        "compute at the same time; waiting for a disk is left out")  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write the figures there, in seconds")
    args = parser.parse_args(arguments)
    if args.scenes < 1 or args.pairs < 1:
        parser.error("there must be a scene and a pair at least")
    now = time.process_time if args.processor else time.perf_counter

    def run() -> None:
        made = measure(args.scenes, args.pairs, args.photos, args.cutouts, args.seed, now,
                       args.scale)  # fmt: skip
        print(table(made))
        write_json(args.json, made)

    return told(run, "nothing was kept")


if __name__ == "__main__":
    sys.exit(main())
