"""How many frames a live session has with its server, against servers of several kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tryon_client.pace import SETTLED, Pace

CAMERA = 1 / 30


def _levels(pace: Pace, took: Callable[[int], float], answers: int) -> list[int]:
    """How many were allowed at each of so many answers, of a server that takes so long at n."""
    seen = []
    for _ in range(answers):
        now = pace.allowed(CAMERA)
        seen.append(now)
        pace.learn(took(now), now)
    return seen


def test_one_at_a_time_before_a_server_that_shares_its_cores() -> None:
    """Two at once take twice as long each: as many answers, all twice as old."""
    levels = _levels(Pace(2), lambda n: 0.05 * n, 2000)
    assert levels[0] == 1 and set(levels) == {1, 2}
    assert levels.count(1) > 0.9 * len(levels), "a try now and then, no more"


def test_two_at_once_before_a_server_that_is_far_away() -> None:
    levels = _levels(Pace(2), lambda _: 0.1, 2000)
    assert levels[:5] == [1] * 5
    assert levels[60:].count(2) > 0.9 * len(levels[60:])


def test_a_small_gain_is_not_worth_the_age() -> None:
    """1.1 times the answers, each 1.8 times as old."""
    levels = _levels(Pace(2), lambda n: 0.05 if n == 1 else 0.09, 1000)
    assert levels.count(1) > 0.9 * len(levels)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_never_more_than_allowed_nor_fewer_than_one(most: int) -> None:
    levels = _levels(Pace(most), lambda _: 0.5, 1500)
    assert min(levels) == 1 and max(levels) == most
    assert levels[-1] in (most, max(1, most - 1))


def test_a_quick_server_gets_no_second_frame() -> None:
    """Answered before the next frame comes."""
    assert set(_levels(Pace(3), lambda _: 0.02, 500)[20:]) == {1}


def test_a_server_that_changes_is_found_out() -> None:
    pace = Pace(2)
    _levels(pace, lambda _: 0.1, 100)
    assert pace.allowed(CAMERA) == 2
    later = _levels(pace, lambda n: 0.05 * n, 3 * SETTLED)
    assert later[-200:].count(1) > 150
    again = _levels(pace, lambda _: 0.1, 3 * SETTLED)
    assert again[-200:].count(2) > 150


def test_answers_of_frames_sent_before_a_change_are_not_counted() -> None:
    pace = Pace(2)
    for _ in range(500):
        pace.learn(0.1, 2)  # never alone
    assert pace.allowed(CAMERA) == 1
    assert pace.latency == pytest.approx(0.1)
