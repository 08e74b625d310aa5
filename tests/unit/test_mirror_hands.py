"""A raised hand turns the rail: poses, their timing, and the page's word of it."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_site import hang
from starlette.testclient import TestClient
from test_mirror import before

from mirror.app import create_app
from mirror.hands import HELD, LOWERED, Hands, raised
from mirror.rail import Rail
from tryon_client import TryOnClient


def pose(**hands: float) -> np.ndarray:
    """Somebody who faces the camera, hands hanging, or at a height: nose at 0.3, shoulders 0.4."""
    points = np.zeros((39, 5), np.float32)
    points[:, 3] = points[:, 4] = 0.9
    points[0, :2] = 0.5, 0.3
    for shoulder, wrist, x, name in ((11, 15, 0.65, "left"), (12, 16, 0.35, "right")):
        points[shoulder, :2] = x, 0.4
        points[shoulder + 2, :2] = x, 0.55
        points[wrist, :2] = x, hands.get(name, 0.7)
    return points


@pytest.mark.parametrize(
    ("hands", "side"),
    [({}, None), ({"left": 0.1}, "left"), ({"right": 0.1}, "right"),
     ({"left": 0.1, "right": 0.1}, None), ({"right": 0.3}, None), ({"left": 0.27}, None),
     ({"right": -0.1}, "right"), ({"left": 0.1, "right": 0.35}, None),
     ({"left": 0.1, "right": 0.45}, "left")],
)  # fmt: skip
def test_one_hand_well_over_the_head_is_a_gesture(hands, side):
    assert raised(pose(**hands)) == side


def test_hands_that_are_not_seen_and_heads_that_hang_are_none():
    unseen = pose(left=0.1)
    unseen[15, 3] = 0.2
    assert raised(unseen) is None
    beyond = pose(left=-0.2)  # above the view, which its elbow tells
    beyond[15, 3] = 0.1
    assert raised(beyond) is None
    beyond[13, 1] = 0.2
    assert raised(beyond) == "left"
    beyond[13, 3] = 0.3
    assert raised(beyond) is None
    turned = pose(left=0.1)
    turned[:, 1] = 1 - turned[:, 1]
    assert raised(turned) is None
    assert raised(np.zeros((39, 5), np.float32)) is None


def test_a_hand_counts_once_it_is_held_and_again_once_it_was_down():
    hands, up, down = Hands(), pose(right=0.1), pose()
    told = [hands.look(up, at) for at in np.arange(0, 3, 0.1)]
    assert told.count("right") == 1 and told.index("right") * 0.1 == pytest.approx(HELD)
    # Down for a moment: it is the same raising still.
    for at, given in ((3.0, down), (3.1, None), (3.15, down)):
        assert hands.look(given, at) is None
    assert [hands.look(up, 3.2 + k / 10) for k in range(8)] == [None] * 8
    for at in (4.0, 4.0 + LOWERED / 2, 4.01 + LOWERED):
        assert hands.look(down, at) is None
    told = [hands.look(pose(left=0.1), 4.5 + k / 10) for k in range(8)]
    assert told.count("left") == 1
    # From one hand straight to the other: both were meant as one.
    assert [hands.look(up, 5.5 + k / 10) for k in range(8)] == [None] * 8


def test_frames_far_apart_say_nothing_of_the_time_between():
    hands = Hands()
    for at in (0.0, 5.0, 5.2, 10.0):
        assert hands.look(pose(right=0.1), at) is None
    assert [hands.look(pose(right=0.1), 10.0 + k / 10) for k in range(1, 6)].count("right") == 1


def test_the_page_is_told_of_a_raised_hand(fake, tmp_path):
    with (
        TestClient(create_app(TryOnClient(fake.url, timeout=5), Rail(hang(tmp_path)))) as browser,
        before(browser) as page,
    ):
        page.wear(prompt="red")
        for clock in range(6):
            page.dressed(float(clock), colour=3 * (40 + 20 * (clock % 8),))
        fake.pose = pose(left=0.1)
        clock = 6
        while not any(told["type"] == "hand" for told in page.texts):
            clock += 1
            assert clock < 400, "no word of the hand came"
            page.dressed(float(clock), colour=3 * (40 + 20 * (clock % 8),))
        for more in range(12):  # it stays up
            page.dressed(float(clock + more), colour=3 * (30 + 17 * more,))
        told = [told["side"] for told in page.texts if told["type"] == "hand"]
        assert told == ["left"]
