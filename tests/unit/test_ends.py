"""Photos that end within what the generator sees."""

import numpy as np
import pytest
from pairs_apart import without_and_with

from training.data.compose import MARGIN
from training.data.ends import within
from training.data.shards import Scene
from tryon.contract import NET_HEIGHT, NET_WIDTH, PARSE

SEEN = slice(MARGIN, MARGIN + NET_WIDTH)


@pytest.mark.parametrize("seed", range(40))
def test_an_end_is_seen_and_most_of_the_body_is_left(seed: int) -> None:
    rows, columns = within(np.random.default_rng(seed), 256, 256, SEEN.start, SEEN.stop)
    inside = np.zeros((256, 256), bool)
    inside[rows, columns] = True
    left = inside[:, SEEN]
    assert 0.2 < left.mean() < 1
    assert left[40:110, 45:-45].all(), "the chest is never lost"


def test_beyond_the_end_it_is_black_and_nobody_is_there(scenes: list[Scene]) -> None:
    lost = 0
    for one, two in without_and_with(scenes, "ends", bend=0.5, cut=0.5):
        black = (np.asarray(two["before"]) == 0).all(2)
        beyond = black & np.not_equal(one["before"], two["before"]).any(2)
        assert beyond.any()
        rows, columns = np.flatnonzero(~beyond.all(1)), np.flatnonzero(~beyond.all(0))
        photo = np.zeros((256, 256), bool)
        photo[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        for name in ("before", "after"):
            assert not two[name][~photo].any()
            np.testing.assert_array_equal(one[name][photo], two[name][photo])
        seen = photo[:, SEEN]
        for name in ("parse_before", "parse_after"):
            assert (two[name][~seen] == PARSE.index("background")).all()
        for name in ("drawn", "old", "under", "valid", "depth_before", "depth_after"):
            assert not np.asarray(two[name])[~seen].any(), name
        for name in one.keys() - {"before", "after"}:
            if np.shape(one[name])[-2:] == (NET_HEIGHT, NET_WIDTH) and "shop" not in name:
                np.testing.assert_array_equal(one[name][..., seen], two[name][..., seen])
            else:
                np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        lost += int(np.asarray(one["drawn"])[~seen].any())
    assert lost > 3
