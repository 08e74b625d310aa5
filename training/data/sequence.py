"""Renders people who walk and turn, before and after a change of their top, with true motion.

    python -m training.data.sequence --out .cache/sequences --sequences 6
    python -m training.data.sequence --out .cache/sequences --sequences 6 --frames 30 --seed 4

For measuring how steady a try-on is over time (`training.steadiness`): where each point of the new
garment was in the frame before is known. Sequences that are there are kept.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.jobs import finish, told
from training.data.shards import compose, save_scene

if TYPE_CHECKING:
    from training.data.bodies import Shaped
    from training.data.poses import Poser
    from training.data.studio import Studio

SIDE = 512
"""Pixels of a frame's side."""
FRAMES_A_STEP = 14
"""One pace takes so many frames: about half a second at 30 frames a second."""
FRAMES_A_TURN = 30
"""From one side to the other takes so many."""


@dataclass
class Sequence:
    """T frames of one person, of a garment put on, and of where its points were.

    Attributes:
        before, after: uint8 (T, SIDE, SIDE, 3), in the old top and in the new one.
        motion: float32 (T, SIDE, SIDE, 2), where the new garment's point was in the frame before,
            0..1 of its sides (x, y); the first frame's is 0.
        valid: uint8 (T, SIDE, SIDE), 1 where that point is seen in both frames.
        shop: uint8 (256, 192, 3), the new garment's in-shop picture.
        meta: seed, index, garment (attributes), turn (degrees), pace (metres).
    """

    before: np.ndarray
    after: np.ndarray
    motion: np.ndarray
    valid: np.ndarray
    shop: np.ndarray
    meta: dict[str, Any]


def sequence_path(folder: Path, seed: int, index: int) -> Path:
    """Where sequence `index` of the set `seed` lies in `folder`."""
    return folder / f"sequence-{seed}-{index:04d}.npz"


def load_sequence(path: Path) -> Sequence:
    """Reads one sequence. Raises ValueError that names the file if it is not one."""
    try:
        with np.load(path) as file:
            values = {f.name: file[f.name] for f in fields(Sequence) if f.name != "meta"}
            return Sequence(**values, meta=json.loads(str(file["meta"])))
    except (KeyError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no sequence ({error}); delete it and render again") from error


def walking(poser: Poser, phase: float, pace: float) -> dict[str, np.ndarray]:
    """Rotations of a body that walks on the spot.

    Args:
        phase: radians; a whole turn is two paces. pace: metres that a foot goes to the front.
    """
    from training.data.poses import rotation

    r: dict[str, np.ndarray] = {}
    for s, x, at in (("L", 1.0, phase), ("R", -1.0, phase + np.pi)):
        hip, ankle = poser.head(f"upperleg01.{s}"), poser.head(f"foot.{s}")
        length = float(np.linalg.norm(ankle - hip))
        lift = 0.22 * pace * max(0.0, float(np.cos(at)))  # while it goes to the front
        foot = np.array([hip[0] + 0.01 * x, hip[1] - pace * np.sin(at),
                         hip[2] - length * 0.965 + lift])  # fmt: skip
        poser.leg(r, s, foot, np.array([0.1 * x, -1.0, 0.0]))
        shoulder, elbow, wrist = (poser.head(f"{b}.{s}") for b in
                                  ("upperarm01", "lowerarm01", "wrist"))  # fmt: skip
        reach = float(np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow))
        z = shoulder[2] - reach * 0.95
        side = max(poser.half_width(z) + 0.06, abs(shoulder[0]) + 0.02)
        hand = np.array([x * side, -0.04 + 0.8 * pace * np.sin(at), z])  # against the legs
        poser.arm(r, s, hand, np.array([0.35 * x, 1.0, 0.0]), 10.0)
    sway = float(np.sin(phase))
    for bone in ("spine04", "spine03", "spine02", "spine01"):
        r[bone] = rotation((0, 0, 1), -6 * pace / 0.2 * sway / 4)
    return r


def _frame_bodies(
    studio: Studio, shaped: Shaped, frames: int, pace: float, start: float
) -> list[Any]:
    from training.data.drape import Wearer
    from training.data.poses import Poser

    poser = Poser(studio.model, shaped)
    wearers = []
    for t in range(frames):
        rotations = walking(poser, start + np.pi * t / FRAMES_A_STEP, pace)
        transforms = studio.model.transforms(shaped, rotations)
        wearers.append(Wearer(studio.template, shaped, transforms))
    return wearers


def make_sequence(studio: Studio, seed: int, index: int, frames: int) -> dict[str, np.ndarray]:
    """The arrays of sequence `index` of the set `seed` (see Sequence); always the same."""
    from training.data import bodies, wardrobe
    from training.data.looks import random_looks
    from training.data.renderer import perspective, random_light
    from training.data.scene import flow_truth
    from training.data.shop_render import shop_of
    from training.data.studio import Item, Shop, camera
    from tryon.preprocess import anchors_from_joints, square_around, window_from_anchors

    rng = np.random.default_rng([seed, index, 9])
    person = bodies.random_person(rng)
    shaped = studio.model.shape(person)
    looks = random_looks(rng, person)
    skin = studio.dresser.skin_colours(looks)
    light = random_light(rng)
    pace = float(rng.uniform(0.05, 0.2))
    turn = float(rng.uniform(5, 35)) * float(rng.choice([-1, 1]))
    wearers = _frame_bodies(studio, shaped, frames, pace, float(rng.uniform(0, 2 * np.pi)))
    old, new = (Item(studio, wardrobe.random_upper(rng), rng) for _ in range(2))
    lower = Item(studio, wardrobe.random_lower(rng, person.gender), rng)
    shown = shop_of(studio, new, rng)
    wall = float(rng.uniform(90, 230))
    distance, lift = float(rng.uniform(2.5, 4.5)), float(rng.uniform(-0.1, 0.3))

    joints = studio.joints(wearers[0])
    centre = (joints[11] + joints[12] + joints[23] + joints[24]) / 4
    projection = None
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    motion, valid = [], []
    previous: Shop | None = None
    for t, wearer in enumerate(wearers):
        view = camera(centre, turn * np.cos(np.pi * t / FRAMES_A_TURN), distance, lift, 0.0)
        if projection is None:
            c = view.camera(joints)
            square = square_around(
                window_from_anchors(*anchors_from_joints(c[:, :2] / c[:, 2:]), "upper")
            )
            projection = perspective(square)
        view.projection = projection
        worn_lower = wearer.drape(lower.cut)
        for top, pictures in ((old, before), (new, after)):
            draped = wearer.drape(top.cut)
            shop = previous if top is new else None
            studio.renderer.begin(SIDE, SIDE, view, light)
            studio.draw_person(
                wearer, looks, skin, [(top, draped, shop), (lower, worn_lower, None)], False
            )
            layers = studio.renderer.finish()
            pictures.append(compose(layers.albedo, layers.shade, layers.alpha, wall))
        if previous is None:
            motion.append(np.zeros((SIDE, SIDE, 2), np.float32))
            valid.append(np.zeros((SIDE, SIDE), np.uint8))
        else:
            _, seen = flow_truth(layers, previous, new.code)
            motion.append(np.where(seen[..., None] > 0, layers.flow, 0))
            valid.append(seen)
        previous = Shop(layers, view, draped, "worn", shown.landmarks)
    picture = compose(shown.layers.albedo, shown.layers.shade, shown.layers.alpha, 240)
    meta = {"seed": seed, "index": index, "garment": new.garment.attributes, "turn": turn,
            "pace": pace}  # fmt: skip
    for item in (old, new, lower):
        item.release()
    return {
        "before": np.stack(before), "after": np.stack(after), "motion": np.stack(motion),
        "valid": np.stack(valid), "shop": picture, "meta": np.array(json.dumps(meta)),
    }  # fmt: skip


@functools.cache
def _studio() -> Studio:
    import cv2

    from training.data.studio import Studio

    cv2.setNumThreads(1)
    return Studio()


def _render(job: tuple[Path, int, int, int]) -> int:
    folder, seed, index, frames = job
    save_scene(
        sequence_path(folder, seed, index), make_sequence(_studio(), seed, index, frames)
    )  # fmt: skip
    return index


def render(out: Path, sequences: int, frames: int, seed: int, processes: int) -> None:
    """Renders what is not there yet, with a progress bar; errors as `training.data.render`'s."""
    from training.data.bodies import load_body_model

    load_body_model()  # built once, before the processes need it
    jobs = [(out, seed, i, frames) for i in range(sequences)
            if not sequence_path(out, seed, i).is_file()]  # fmt: skip
    finish(_render, jobs, sequences, "sequence", out, processes)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.sequence", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the sequences")
    parser.add_argument("--sequences", type=int, default=6)
    parser.add_argument("--frames", type=int, default=24, help="frames of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # of the processes that are started
    return told(
        lambda: render(args.out, args.sequences, args.frames, args.seed, args.processes),
        f"{args.out} keeps its sequences",
    )


if __name__ == "__main__":
    sys.exit(main())
