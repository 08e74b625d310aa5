"""Cloth that is faded, as people come in it."""

import numpy as np
import pytest
from pairs_apart import without_and_with

from training.data.compose import MARGIN
from training.data.fades import faded
from training.data.shards import Scene
from tryon.contract import NET_WIDTH, PARSE

_CLOTH = [PARSE.index(name) for name in ("upper", "lower", "dress")]


@pytest.mark.parametrize("seed", range(12))
def test_marks_are_gains_around_one(seed: int) -> None:
    gain, again = (faded(np.random.default_rng(seed), 256, 256) for _ in range(2))
    assert gain.shape == (256, 256, 1) and gain.dtype == np.float32
    np.testing.assert_array_equal(gain, again)
    assert 0.25 < gain.min() < 0.97 < 1.03 < gain.max() < 2.1
    assert abs(float(np.log(gain).mean())) < 0.3


def test_only_cloth_is_faded_and_what_is_kept_is_in_both_pictures(scenes: list[Scene]) -> None:
    """All else of the pair is the same to the last byte, the new garment too."""
    kept = 0
    for one, two in without_and_with(scenes, "fades", bend=0.5, cut=0.5):
        for name in one.keys() - {"before", "after"}:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        for name in ("before", "after"):
            changed = np.not_equal(one[name], two[name]).any(2)[:, MARGIN : MARGIN + NET_WIDTH]
            assert changed.any() or name == "after"
            assert not changed[~np.isin(one[f"parse_{name}"], _CLOTH)].any()
            if name == "after":
                assert not changed[np.asarray(one["drawn"]) > 0].any()
                kept += int(changed.any())
    assert kept > 3
