"""Training pairs by number: the same number and seed give the same pair, so a run can resume."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.compose import Options, compose
from training.data.laid import Cutouts
from training.data.outfits import beneath_of, pairs_of
from training.data.real_photos import RealPhotos
from training.data.shards import RENDERER, Scene, is_test, load_meta, load_scene
from training.slices import slices_of

SHARED = 4
"""Pairs in a row that are drawn from one scene: reading it costs as much as composing."""

OPENED = 4.0
"""How much likelier than another a pair is drawn in training whose new top is worn open: it is put
on over one top alone, so that they are one or two in a hundred."""

TRIES = 200
"""Scenes drawn for a pair before it is taken that none holds one."""

_scene = lru_cache(maxsize=2)(load_scene)


def scene_files(folder: Path, split: str) -> list[Path]:
    """The scenes of a split ("train" or "test"), told apart by their name.

    Raises:
        FileNotFoundError: none there; names the command that renders some.
        ValueError: some can't be read, or are of an earlier renderer.
    """
    files = sorted(folder.glob("*.npz"))
    test = split == "test"
    chosen = [f for f in files if is_test(f) == test]
    if not chosen:
        raise FileNotFoundError(
            f"{folder} holds no rendered scene of the split {split!r}: `make pairs` renders some"
        )
    old = sum(load_meta(f).get("renderer") != RENDERER for f in chosen)
    if old:
        raise ValueError(
            f"{folder}: {old} of {len(chosen)} scenes are of an earlier renderer: delete them and "
            "render again with `make pairs`"
        )
    return chosen


class Pairs(Dataset[dict[str, object]]):
    """Endless: item k is a pair drawn with the random numbers of (seed, k)."""

    def __init__(
        self, scenes: list[Path], photos: Path | None, options: Options, seed: int,
        split: str = "train", cutouts: Path | None = None, without: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.without, self.training = without, split == "train"
        self.scenes, self.options, self.seed = scenes, options, seed
        self.photos = RealPhotos(photos, split) if photos is not None else None
        self.cutouts = Cutouts(cutouts, split) if cutouts is not None else None

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, number: int) -> dict[str, object]:
        cv2.setNumThreads(0)
        rng = np.random.default_rng([self.seed, number // SHARED])
        for _ in range(TRIES):
            scene = _scene(self.scenes[int(rng.integers(len(self.scenes)))])
            pairs = pairs_of(scene, self.without)
            if pairs:
                break
        else:
            left_out = f" without {', '.join(self.without)}" if self.without else ""
            raise ValueError(
                f"{self.scenes[0].parent}: {TRIES} scenes in a row hold no pair{left_out}: render "
                "more with `make pairs`, or leave out less"
            )
        rng = np.random.default_rng([self.seed, number, 1])
        before, after, category = pairs[self._choice(scene, pairs, rng)]
        pair = compose(scene, before, after, category, rng, self.photos, self.options, self.cutouts)
        return {**pair, "slices": "\n".join(slices_of(scene, before, after, category))}

    def _choice(
        self, scene: Scene, pairs: list[tuple[int, int, str]], rng: np.random.Generator
    ) -> int:
        """Which of a scene's pairs; what is measured on is drawn evenly."""
        if not self.training:
            return int(rng.integers(len(pairs)))
        opened = [c == "upper" and beneath_of(scene, j) >= 0 for _, j, c in pairs]
        chances = np.where(opened, OPENED, 1.0)
        return int(rng.choice(len(pairs), p=chances / chances.sum()))


class _Share(Sampler[int]):
    """The pair numbers of one process: its slice of every step's batch."""

    def __init__(self, first: int, steps: int, batch: int, rank: int, world: int) -> None:
        self.first, self.steps, self.batch, self.rank, self.world = first, steps, batch, rank, world

    def __iter__(self) -> Iterator[int]:
        own = self.batch // self.world
        for step in range(self.first, self.first + self.steps):
            start = step * self.batch + self.rank * own
            yield from range(start, start + own)

    def __len__(self) -> int:
        return self.steps * (self.batch // self.world)


def loader(
    pairs: Dataset[dict[str, object]], batch: int, first: int, steps: int, workers: int,
    rank: int = 0, world: int = 1, pinned: bool = False,
) -> DataLoader:  # fmt: skip
    """This process's part of the batches of `steps` steps, beginning with step `first`.

    Args:
        pinned: in memory from which a GPU copies while it computes.
    """
    return DataLoader(
        pairs, batch // world, sampler=_Share(first, steps, batch, rank, world),
        num_workers=workers, drop_last=True, prefetch_factor=4 if workers else None,
        worker_init_fn=_single_thread, pin_memory=pinned,
    )  # fmt: skip


def _single_thread(_: int) -> None:
    torch.set_num_threads(1)
