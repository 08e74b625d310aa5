"""How many frames live sessions have with their server, against servers of several kinds."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable

import pytest

from tryon_client.pace import LATE, SETTLED, TRIED, Pace, pace_of


def _levels(
    pace: Pace, took: Callable[[int], float], answers: int, able: int = 2, visitors: int = 1
) -> list[int]:
    """How many were allowed at each of so many answers, of a server that takes so long where n
    frames of a session are under way. Sessions take turns."""
    seen = []
    for _ in range(answers):
        now = min(pace.allowed(), able)
        seen.append(now)
        for _ in range(visitors):
            pace.learn(took(now), now, able)
    return seen


def test_one_at_a_time_before_a_server_that_shares_its_cores() -> None:
    """Two at once take twice as long each: as many answers, all twice as old."""
    levels = _levels(Pace(), lambda n: 0.05 * n, 2000)
    assert levels[0] == 1 and set(levels) == {1, 2}
    assert levels.count(1) > 0.9 * len(levels), "a try now and then, no more"


@pytest.mark.parametrize("visitors", [2, 3, 20])
def test_several_visitors_do_not_drive_each_other_to_more(visitors: int) -> None:
    """They share the server: all with two at once get what all get with one."""
    levels = _levels(Pace(), lambda n: 0.05 * n * visitors, 800, visitors=visitors)
    assert levels.count(1) > 0.9 * len(levels)


def test_two_at_once_before_a_server_that_is_far_away() -> None:
    levels = _levels(Pace(), lambda _: 0.1, 2000)
    assert levels[:5] == [1] * 5
    assert levels[60:].count(2) > 0.9 * len(levels[60:])
    first = levels.index(2)
    assert levels[first : first + SETTLED].count(2) == SETTLED, "one is not tried again at once"


def test_a_small_gain_is_not_worth_the_age() -> None:
    """1.1 times the answers, each 1.8 times as old."""
    levels = _levels(Pace(), lambda n: 0.05 if n == 1 else 0.09, 1000)
    assert levels.count(1) > 0.9 * len(levels)


def test_answers_that_come_too_late_count_for_nothing() -> None:
    """0.7 s one at a time, of a second; two at once take 1.4, and nobody would see any."""
    levels = _levels(Pace(), lambda n: 0.7 if n == 1 else math.inf, 1000)
    assert levels.count(1) > 0.9 * len(levels)
    pace = Pace()
    _levels(pace, lambda _: 0.1, 100)
    assert pace.allowed() == 2
    slow = _levels(pace, lambda n: 0.7 if n == 1 else math.inf, 200)
    assert slow[: LATE + 1] == [2] * LATE + [1], "the server became slow: one less, soon"
    assert slow.count(1) > 0.85 * len(slow)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_never_more_than_able_nor_fewer_than_one(most: int) -> None:
    levels = _levels(Pace(), lambda _: 0.5, 1500, able=most)
    assert min(levels) == 1 and max(levels) == most
    assert levels.index(most) <= (most - 1) * 4 * TRIED, "what pays is soon gone on with"


def test_what_can_never_be_seen_is_not_tried_for_ever() -> None:
    """Three at once are tried, and then a next frame comes only when two are answered."""
    pace = Pace()
    _levels(pace, lambda _: 0.1, 30, able=3)
    assert pace.allowed() in (2, 3)
    later = _levels(pace, lambda n: 0.05 * n, 3 * SETTLED, able=2)
    assert later[-200:].count(1) > 150
    quick = _levels(Pace(), lambda _: 0.02, 500, able=1)
    assert set(quick) == {1}


def test_a_server_that_changes_is_found_out() -> None:
    pace = Pace()
    _levels(pace, lambda _: 0.1, 100)
    assert pace.allowed() == 2
    later = _levels(pace, lambda n: 0.05 * n, 3 * SETTLED)
    assert later[-200:].count(1) > 150
    again = _levels(pace, lambda _: 0.1, 3 * SETTLED)
    assert again[-200:].count(2) > 150


def test_answers_of_frames_sent_before_a_change_are_not_counted() -> None:
    pace = Pace()
    for _ in range(500):
        pace.learn(0.1, 2, 2)  # never alone
    assert pace.allowed() == 1


def test_sessions_of_a_client_keep_one_pace_and_it_goes_with_it() -> None:
    class Client:
        pass

    one, other = Client(), Client()
    assert pace_of(one) is pace_of(one) is not pace_of(other)
    _levels(pace_of(one), lambda _: 0.1, 100)
    assert pace_of(one).allowed() == 2 and pace_of(other).allowed() == 1
    del one
    gc.collect()
    assert pace_of(Client()).allowed() == 1
