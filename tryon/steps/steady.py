"""Steps `live_crop`, `predict_crop` and `update_track`: the crop follows the person without
trembling.

The detector's points move by a pixel or two from frame to frame where nobody moves, the view with
them, and the garment shimmers. They pass a One-Euro filter (Casiez et al., 2012): hardly any of it
is left while somebody stands, and little is held back while somebody walks. What is held back costs
no lag in the picture: only the view lags, the garment is laid onto the frame itself.

The filter's state travels with the frames: any server can go on with any session.

Who is followed needs no detector before the crop: the filter predicts where they are by now
(`predict_crop`), and is told where they were found (`update_track`) while the frame is dressed.
Who is not where they were is looked for by the whole ensemble again: the caller's doing.
"""

from __future__ import annotations

import contextlib

import numpy as np

from tryon.errors import NoPerson
from tryon.steps.crop import Anchors, Cropped, anchors_in_photo, cut, people_found, the_one

MIN_CUTOFF, BETA, SPEED_CUTOFF = 0.5, 0.5, 1.0
"""Hz that pass where nothing moves; further Hz for a speed of one frame's side a second; Hz of the
speed itself."""
LONGEST_GAP = 1.0
"""Seconds after which a session's last frame says nothing of this one."""
FAR = 0.5
"""Radii of the body that hips may have gone since then; more is somebody else."""


def live_crop(
    photo: np.ndarray, boxes: np.ndarray, scores: np.ndarray, condition: np.ndarray,
    track: np.ndarray, elapsed: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """`crop`, its place steadied by an earlier frame's.

    Args:
        photo, boxes, scores, condition: as for `crop`.
        track: float32 (10,), that frame's `tracked`.
        elapsed: float32 (1,), seconds from that frame to this one; not above 0: there was none,
            and the answer is `crop`'s own.

    Returns:
        window, view, box and placement as `crop` answers them, and tracked, float32 (10,): hip and
        shoulder centre and body radius in 0..1 of the photo's longer side, and their speeds in that
        a second.

    Raises:
        NoPerson; SeveralPeople, where none of them is followed.
    """
    people = people_found(boxes, scores)
    state = _known_among(people, photo, track, elapsed)
    if state is None:
        size = photo.shape[:2]
        place = _place(anchors_in_photo(the_one(people), *size), max(size))
        state = np.concatenate([place, np.zeros(5)])
    return *_cut_at(state[:5], photo, condition), state.astype(np.float32)


_LEAD = 0.25
"""Of the way that a track says somebody goes until the next frame: all of it overshoots when they
turn, and the crop shimmers; who walks is in the crop either way."""


def predict_crop(
    photo: np.ndarray, condition: np.ndarray, track: np.ndarray, elapsed: np.ndarray
) -> Cropped:
    """`crop` of a person who is followed: where an earlier frame's track says that they go.

    The arguments are `live_crop`'s, without the detector's. Where the track says nothing of this
    frame, or leads out of it, the middle of the photo is cut out: `update_track` tells so.
    """
    seconds, before = float(elapsed[0]), track.astype(np.float64)
    gap = 0 < seconds <= LONGEST_GAP
    place = before[:5] + before[5:] * (_LEAD * seconds if gap else 0)
    if gap and place[4] > 0 and followed(place, before, seconds):
        with contextlib.suppress(NoPerson):
            return _cut_at(place, photo, condition)
    height, width = photo.shape[:2]
    middle, radius = np.array([width, height]) / 2, min(height, width) / 2
    return cut(photo, Anchors(middle, middle - [0, 0.4 * radius], radius), condition)


def update_track(
    photo: np.ndarray, boxes: np.ndarray, scores: np.ndarray, track: np.ndarray,
    elapsed: np.ndarray,
) -> tuple[np.ndarray]:  # fmt: skip
    """`live_crop`'s `tracked` of the person who is followed; zeros where they are not there."""
    try:
        state = _known_among(people_found(boxes, scores), photo, track, elapsed)
    except NoPerson:
        state = None
    return (np.zeros(10, np.float32) if state is None else state.astype(np.float32),)


def _known_among(
    people: list[np.ndarray], photo: np.ndarray, track: np.ndarray, elapsed: np.ndarray
) -> np.ndarray | None:
    """The filter's state (10,) with who was followed, found again; None where nobody is."""
    height, width = photo.shape[:2]
    seconds, before = float(elapsed[0]), track.astype(np.float64)
    places = [_place(anchors_in_photo(one, height, width), max(height, width)) for one in people]
    # Who is followed stays so, whoever else comes before the camera.
    known = [place for place in places if followed(place, before, seconds)]
    if not known:
        return None
    now = min(known, key=lambda place: float(np.hypot(*(place[:2] - before[:2]))))
    return np.concatenate(one_euro(now, before[:5], before[5:], seconds))


def _cut_at(place: np.ndarray, photo: np.ndarray, condition: np.ndarray) -> Cropped:
    """What is cut out around a place (5,), as `_place` has it."""
    side = max(photo.shape[:2])
    return cut(photo, Anchors(place[:2] * side, place[2:4] * side, float(place[4]) * side),
               condition)  # fmt: skip


def _place(anchors: Anchors, side: int) -> np.ndarray:
    """Hips, shoulders and radius, float64 (5,), in 0..1 of the photo's longer side."""
    return np.array([*anchors.hips, *anchors.shoulders, anchors.radius]) / side


def followed(now: np.ndarray, track: np.ndarray, seconds: float) -> bool:
    """Whether `track` (10,) can be the same person `seconds` before `now` (5,)."""
    if not (0 < seconds <= LONGEST_GAP and np.isfinite(track).all()):
        return False
    if not 0.5 < track[4] / max(now[4], 1e-6) < 2:
        return False
    return bool(np.hypot(*(now[:2] - track[:2])) <= FAR * now[4])


def one_euro(
    value: np.ndarray, before: np.ndarray, speed: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """One step of the One-Euro filter.

    Args:
        value: (N,), measured now.
        before, speed: (N,), what the filter answered `seconds` ago, and its speed then.
        seconds: above 0.

    Returns:
        The filtered value and its speed, (N,) each.
    """
    rate = (value - before) / seconds
    speed = speed + _share(SPEED_CUTOFF, seconds) * (rate - speed)
    cutoff = MIN_CUTOFF + BETA * np.abs(speed)
    return before + _share(cutoff, seconds) * (value - before), speed


def _share(cutoff: float | np.ndarray, seconds: float) -> float | np.ndarray:
    """How much of a change a low pass of that cutoff (Hz) lets through in one step."""
    return 1.0 / (1.0 + 1.0 / (2 * np.pi * cutoff * seconds))
