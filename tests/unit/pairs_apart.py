"""Pairs that differ in one option alone, for tests of what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from training.data.compose import Options, compose
from training.data.outfits import pairs_of
from training.data.shards import Scene

Pair = dict[str, Any]


def without_and_with(
    scenes: list[Scene], name: str, **others: float
) -> Iterator[tuple[Pair, Pair]]:
    """Each pair of the scenes, with the option `name` at 0 and at 1, all else the same."""
    for scene in scenes:
        for before, after, category in pairs_of(scene):
            one, two = (
                compose(
                    scene, before, after, category, np.random.default_rng(5), None,
                    Options(strength=0.0, text=0.0, **{**others, name: share}),
                )
                for share in (0.0, 1.0)
            )  # fmt: skip
            yield one, two
