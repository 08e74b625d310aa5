"""The One-Euro filter that keeps the crop from trembling."""

from __future__ import annotations

import numpy as np
import pytest

from tryon.errors import NoPerson, SeveralPeople
from tryon.steps import steady
from tryon.steps.crop import crop

PHOTO = np.random.default_rng(0).integers(0, 255, (448, 448, 3), dtype=np.uint8)
UPPER = np.array([1, 0, 0, 1, 0], np.float32)
NONE, NOW = np.zeros(10, np.float32), np.zeros(1, np.float32)


def seen(hips=(112.0, 120.0), radius: float = 70.0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of one person in a 224x224 thumbnail."""
    x, y = hips
    points = [x, y, x, y - radius, x, y - 0.6 * radius, x, y - radius]
    return np.array([[60, 20, 160, 220, *points]], np.float32), np.array([0.9], np.float32)


def cropped(hips=(112.0, 120.0), radius: float = 70.0, track=NONE, elapsed: float = 0.0):
    return steady.live_crop(PHOTO, *seen(hips, radius), UPPER, track,
                            np.array([elapsed], np.float32))  # fmt: skip


def test_the_first_frame_is_cropped_as_ever():
    expected = crop(PHOTO, *seen(), UPPER)
    found = cropped()
    for one, other in zip(expected, found, strict=False):
        assert np.array_equal(one, other)
    assert found[4].dtype == np.float32 and found[4].shape == (10,)
    where = [0.5, 120 / 224, 0.5, 78 / 224, 70 / 224]
    assert np.allclose(found[4], [*where, 0, 0, 0, 0, 0], atol=1e-6)


def test_who_stands_still_is_seen_from_one_place():
    """A detector's trembling, by a pixel of 448, all but goes; where the person is stays."""
    noise = np.random.default_rng(1).normal(0, 0.5, (120, 2))
    raw, steadied, track = [], [], NONE
    for k, (dx, dy) in enumerate(noise):
        hips = (112 + dx, 120 + dy)
        raw.append(cropped(hips)[4][:2])
        answered = cropped(hips, track=track, elapsed=1 / 30 if k else 0)
        track = answered[4]
        steadied.append(track[:2])
    raw, steadied = np.diff(raw, axis=0), np.array(steadied)
    assert np.abs(np.diff(steadied, axis=0)).mean() < 0.2 * np.abs(raw).mean()
    assert np.abs(steadied[30:].mean(axis=0) - [0.5, 120 / 224]).max() < 0.002


def test_who_is_followed_stays_so_when_another_comes():
    boxes, scores = seen()
    other = boxes + np.float32(1)  # to the left, and nearer: larger
    other[:, :4] = [0, 20, 50, 220]
    other[:, 4::2] -= 90
    other[:, 7] -= 20
    both = np.concatenate([other, boxes]), np.concatenate([scores, scores])
    with pytest.raises(SeveralPeople):
        steady.live_crop(PHOTO, *both, UPPER, NONE, NOW)
    track, later = cropped()[4], np.array([0.1], np.float32)
    alone = cropped(track=track, elapsed=0.1)
    among = steady.live_crop(PHOTO, *both, UPPER, track, later)
    for one, same in zip(alone, among, strict=True):
        assert np.array_equal(one, same)


def test_who_walks_is_followed():
    track, behind = NONE, []
    for k in range(90):
        x = 60 + k  # of 224, 30 frames a second: across the picture in three seconds
        track = cropped((x, 120.0), track=track, elapsed=1 / 30 if k else 0)[4]
        behind.append(x / 224 - track[0])
    assert max(behind) < 0.15, "half a body's radius at most"
    assert behind[-1] < 0.12 and behind[-1] <= max(behind) + 1e-6, "and it does not fall back"


@pytest.mark.parametrize("elapsed", [0.0, -1.0, 1.5, np.nan, np.inf])
def test_a_track_that_says_nothing_is_left(elapsed):
    track = np.array([0.45, 0.5, 0.45, 0.4, 0.3, 0, 0, 0, 0, 0], np.float32)
    assert np.array_equal(cropped(track=track, elapsed=elapsed)[4], cropped()[4])


@pytest.mark.parametrize(
    "track",
    [np.full(10, np.nan), np.full(10, np.inf), np.zeros(10),
     [0.1, 0.5, 0.1, 0.4, 0.3, 0, 0, 0, 0, 0],  # somebody else, at the other side
     [0.5, 0.55, 0.5, 0.4, 0.9, 0, 0, 0, 0, 0]],
)  # fmt: skip
def test_somebody_else_s_track_is_left(track):
    assert np.array_equal(cropped(track=np.float32(track), elapsed=1 / 30)[4], cropped()[4])


def predicted(track, elapsed: float = 1 / 30):
    return steady.predict_crop(PHOTO, UPPER, track, np.array([elapsed], np.float32))


def updated(track, elapsed: float, hips=(112.0, 120.0)):
    (found,) = steady.update_track(PHOTO, *seen(hips), track, np.array([elapsed], np.float32))
    return found


def test_who_stands_is_cropped_alike_without_the_detector():
    track = cropped()[4]
    for one, other in zip(cropped(track=track, elapsed=0.1), predicted(track, 0.1), strict=False):
        np.testing.assert_allclose(one.astype(float), other.astype(float), atol=1e-6)


def test_who_walks_is_cropped_where_they_are_by_now():
    """Nearer to where the detector finds them than where the last frame had them."""
    track, nearer = NONE, []
    for k in range(60):
        hips = (60 + k, 120.0)  # of 224, 30 frames a second
        if k > 20:
            wanted = cropped(hips)[2].mean()  # of the box
            found, stale = predicted(track)[2].mean(), predicted(track * ([1] * 5 + [0] * 5))[2]
            nearer.append(abs(found - wanted) < abs(stale.mean() - wanted))
        track = cropped(hips, track=track, elapsed=1 / 30 if k else 0)[4]
    assert np.mean(nearer) > 0.9


def test_the_track_is_told_as_by_the_crop():
    track = cropped()[4]
    found = updated(track, 0.1, hips=(115.0, 121.0))
    assert np.array_equal(found, cropped((115.0, 121.0), track=track, elapsed=0.1)[4])
    assert found.dtype == np.float32 and found.shape == (10,)


def middle() -> steady.Cropped:
    return predicted(NONE, 0.0)


def test_where_nobody_is_followed_the_middle_is_cut_out():
    for category in np.eye(3, 5, dtype=np.float32):
        for size in ((64, 64), (64, 1536), (1536, 64), (512, 384)):
            photo = np.zeros((*size, 3), np.uint8)
            found = steady.predict_crop(photo, category, NONE, NOW)
            assert found.window.size > 0 and found.view.shape == (256, 256, 3)


def test_who_is_gone_leaves_no_track():
    track = cropped()[4]
    assert not updated(track, 0.1, hips=(200.0, 120.0)).any()
    boxes, scores = seen()
    (found,) = steady.update_track(PHOTO, boxes, scores * 0, track, np.float32([0.1]))
    assert not found.any() and found.dtype == np.float32


@pytest.mark.parametrize("elapsed", [0.0, -1.0, 1.5, np.nan, np.inf])
def test_nobody_is_followed_over_a_gap(elapsed):
    track = cropped()[4]
    assert not updated(track, elapsed).any()
    for one, other in zip(predicted(track, elapsed), middle(), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "track",
    [np.full(10, np.nan), np.full(10, np.inf), np.zeros(10), np.full(10, -1.0),
     [0.5, 0.5, 0.5, 0.4, 0.3, 90, 0, 0, 0, 0],  # too fast for anybody
     [9.5, 0.5, 9.5, 0.4, 0.3, 0, 0, 0, 0, 0]],
)  # fmt: skip
def test_a_track_that_leads_nowhere_is_left(track):
    for one, other in zip(predicted(np.float32(track), 0.5), middle(), strict=True):
        assert np.array_equal(one, other)


def test_whoever_is_not_there_is_not_made_up():
    boxes, scores = seen()
    with pytest.raises(NoPerson):
        steady.live_crop(PHOTO, boxes, scores * 0, UPPER, cropped()[4], np.float32([1 / 30]))


def test_one_step_is_the_papers():
    """Casiez et al., 2012, algorithm 1, written out for one number."""
    value, before, speed, dt = 0.4, 0.3, 0.2, 1 / 30
    tau = 1 / (2 * np.pi * steady.SPEED_CUTOFF)
    a = 1 / (1 + tau / dt)
    dx = a * (value - before) / dt + (1 - a) * speed
    cutoff = steady.MIN_CUTOFF + steady.BETA * abs(dx)
    a = 1 / (1 + 1 / (2 * np.pi * cutoff) / dt)
    expected = a * value + (1 - a) * before
    one = (np.array([number]) for number in (value, before, speed))
    found, found_speed = steady.one_euro(*one, dt)
    assert found[0] == pytest.approx(expected) and found_speed[0] == pytest.approx(dx)
