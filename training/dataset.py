"""Training pairs by number: the same number and seed give the same pair, so a run can resume."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.compose import Options, compose, pairs_of
from training.data.real_photos import RealPhotos
from training.data.shards import load_scene

HELD_OUT = 20
"""One scene in so many is the rendered test split."""
SHARED = 4
"""Pairs in a row that are drawn from one scene: reading it costs as much as composing."""

_scene = lru_cache(maxsize=2)(load_scene)


def scene_files(folder: Path, split: str) -> list[Path]:
    """The scenes of a split ("train" or "test"), told apart by their name.

    Raises:
        FileNotFoundError: none there; names the command that renders some.
    """
    files = sorted(folder.glob("*.npz"))
    test = split == "test"
    chosen = [f for f in files if (zlib.crc32(f.stem.encode()) % HELD_OUT == 0) == test]
    if not chosen:
        raise FileNotFoundError(
            f"{folder} holds no rendered scene of the split {split!r}: `make pairs` renders some"
        )
    return chosen


class Pairs(Dataset[dict[str, object]]):
    """Endless: item k is a pair drawn with the random numbers of (seed, k)."""

    def __init__(
        self, scenes: list[Path], photos: Path | None, options: Options, seed: int,
        split: str = "train",
    ) -> None:  # fmt: skip
        self.scenes, self.options, self.seed = scenes, options, seed
        self.photos = RealPhotos(photos, split) if photos is not None else None

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, number: int) -> dict[str, object]:
        cv2.setNumThreads(0)
        rng = np.random.default_rng([self.seed, number // SHARED])
        while True:
            scene = _scene(self.scenes[int(rng.integers(len(self.scenes)))])
            pairs = pairs_of(scene)
            if pairs:
                break
        rng = np.random.default_rng([self.seed, number, 1])
        before, after, category = pairs[int(rng.integers(len(pairs)))]
        return dict(compose(scene, before, after, category, rng, self.photos, self.options))


class _From(Sampler[int]):
    def __init__(self, start: int, stop: int) -> None:
        self.numbers = range(start, stop)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def loader(pairs: Pairs, batch: int, start: int, steps: int, workers: int) -> DataLoader:
    """Batches of `batch` pairs for `steps` steps, beginning with pair number `start`."""
    return DataLoader(
        pairs, batch, sampler=_From(start, start + batch * steps), num_workers=workers,
        drop_last=True, prefetch_factor=4 if workers else None, persistent_workers=False,
        worker_init_fn=_single_thread,
    )  # fmt: skip


def _single_thread(_: int) -> None:
    torch.set_num_threads(1)
