"""Step `crop`: finds the one person and cuts out what the generator works on."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tryon.contract import CATEGORIES, POSE_SIZE
from tryon.errors import NoPerson, SeveralPeople
from tryon.preprocess import square_around, window_from_anchors
from tryon.steps.thumbnail import letterbox, thumbnail_size

MIN_SCORE = 0.5
"""A detection: at least so sure."""
CERTAIN = 0.7
"""A picture of a person: its surest detection at least so sure. Of 48 photos of people the least
sure had 0.73; of 486 of garments alone 23 passed 0.6, and 5 pass this."""
_SAME = 0.3
"""Boxes that overlap more (intersection over union) are the same person."""
_AS_LARGE = 0.6
"""Another person counts when at least so large beside the largest; smaller ones stand behind."""

_LEAST = 0.15
"""Share of the generator's view, each way, that must lie inside the photo."""


class Anchors(NamedTuple):
    """Where a person is, in the photo's pixels: hip and shoulder centre (2,), body radius."""

    hips: np.ndarray
    shoulders: np.ndarray
    radius: float


class Cropped(NamedTuple):
    """The step's outputs, in the contract's order."""

    window: np.ndarray
    view: np.ndarray
    box: np.ndarray
    placement: np.ndarray


def crop(
    photo: np.ndarray, boxes: np.ndarray, scores: np.ndarray, condition: np.ndarray
) -> Cropped:
    """Finds the one person and cuts out what the generator works on.

    Args:
        photo: uint8 (H, W, 3).
        boxes: float32 (anchors, 12), of the detector: box and key points in its pixels.
        scores: float32 (anchors,) in 0..1.
        condition: float32 (5,), whose first three name the category.

    Returns:
        window uint8 (h, w, 3), the photo's own pixels inside the generator's 3:4 view; view uint8
        (256, 256, 3), the square around that view, resampled, black outside the photo; box int32
        (4,), x0, y0, x1, y1 of the window in the photo; placement float32 (4,), left, top, right,
        bottom of the window in the generator's view, 0..1.

    Raises:
        NoPerson, SeveralPeople.
    """
    anchors = anchors_in_photo(find_person(boxes, scores), *photo.shape[:2])
    return cut(photo, anchors, condition)


def served_crop(
    photo: np.ndarray, boxes: np.ndarray, scores: np.ndarray, condition: np.ndarray
) -> tuple[np.ndarray, ...]:
    """`crop` as it is served: what it answers and, as `asked`, the condition that came in."""
    return *crop(photo, boxes, scores, condition), condition


def cut(photo: np.ndarray, anchors: Anchors, condition: np.ndarray) -> Cropped:
    """What `crop` answers for a person who is there. Raises NoPerson where too little is seen."""
    height, width = photo.shape[:2]
    category = CATEGORIES[int(np.argmax(condition[: len(CATEGORIES)]))]
    view_box = window_from_anchors(*anchors, category)
    x0, y0 = (max(0, int(np.ceil(v))) for v in view_box[:2])
    x1, y1 = min(width, int(np.floor(view_box[2]))), min(height, int(np.floor(view_box[3])))
    size = view_box[2:] - view_box[:2]
    if min((x1 - x0) / size[0], (y1 - y0) / size[1]) < _LEAST or min(x1 - x0, y1 - y0) < 8:
        raise NoPerson(
            f"person: the part that a {category} garment would cover lies outside the picture: "
            "send one that shows it"
        )
    window_box = np.array([x0, y0, x1, y1])
    placement = (window_box - np.tile(view_box[:2], 2)) / np.tile(size, 2)
    return Cropped(
        np.ascontiguousarray(photo[y0:y1, x0:x1]),
        resample(photo, square_around(view_box), POSE_SIZE),
        window_box.astype(np.int32),
        placement.astype(np.float32),
    )


def find_person(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The one person's detection, float64 (12,). Raises NoPerson, SeveralPeople."""
    return the_one(people_found(boxes, scores))


def people_found(boxes: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
    """Everybody's detection, float64 (12,) each, the largest first: overlapping ones averaged by
    their scores. Raises NoPerson."""
    # A score that isn't a number is no person either.
    sure = np.flatnonzero((scores > MIN_SCORE) & np.isfinite(boxes).all(axis=1))
    left = sure[np.argsort(-scores[sure], kind="stable")]
    if left.size and scores[left[0]] < CERTAIN:
        left = left[:0]
    people = []
    while left.size:
        same = _overlap(boxes[left[0], :4], boxes[left, :4]) > _SAME
        same[0] = True  # a box without area overlaps nothing, not even itself
        group = left[same]
        people.append(np.average(boxes[group].astype(np.float64), axis=0, weights=scores[group]))
        left = left[~same]
    if not people:
        raise NoPerson("person: no person was found: send a picture of one, upright and in light")
    return sorted(people, key=_size, reverse=True)


def the_one(people: list[np.ndarray]) -> np.ndarray:
    """The only one of `people_found` who doesn't stand behind. Raises SeveralPeople."""
    for other in people[1:]:
        if _size(other) >= _AS_LARGE * _size(people[0]) and not _same_body(people[0], other):
            raise SeveralPeople(
                f"person: {len(people)} people were found: send a picture of one, or crop it"
            )
    return people[0]


def _size(person: np.ndarray) -> float:
    """Radius of the circle around the whole body."""
    return float(np.hypot(*(person[6:8] - person[4:6])))


def _same_body(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two detections with separate boxes have the same hips."""
    return float(np.hypot(*(one[4:6] - other[4:6]))) <= 0.3 * _size(one)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return inner / np.maximum(np.prod(box[2:] - box[:2]) + areas - inner, 1e-9)


def anchors_in_photo(person: np.ndarray, height: int, width: int) -> Anchors:
    """Where a detected person is.

    Args:
        person: (12,) detection, in the thumbnail's pixels.
        height, width: the photo's.
    """
    x, y, w, h = letterbox(height, width, thumbnail_size(height, width))
    points = (person[4:].reshape(4, 2) - [x, y]) * [width / w, height / h]
    return Anchors(points[0], points[2], float(np.hypot(*(points[1] - points[0]))))


def resample(photo: np.ndarray, square: np.ndarray, side: int) -> np.ndarray:
    """uint8 (side, side, 3): the part of the photo inside `square`, antialiased, black outside.

    Args:
        photo: uint8 (H, W, 3).
        square: (4,) x0, y0, x1, y1 in the photo's pixels; may reach beyond it.
        side: of the answer.
    """
    step = (square[2] - square[0]) / side
    shrink = max(1, int(step))
    x0, y0 = (max(0, int(np.floor(v))) for v in square[:2])
    x1, y1 = (max(0, int(np.ceil(v))) for v in square[2:])
    part = photo[y0:y1, x0:x1]
    if part.size == 0:
        return np.zeros((side, side, 3), np.uint8)
    if shrink > 1:
        # Whole blocks are averaged first, so that the interpolation below leaves no pixel out.
        part = cv2.copyMakeBorder(
            part, 0, -part.shape[0] % shrink, 0, -part.shape[1] % shrink, cv2.BORDER_CONSTANT
        )
        size = (part.shape[1] // shrink, part.shape[0] // shrink)
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    scale = step / shrink
    offset = (square[:2] - (x0, y0)) / shrink + scale / 2 - 0.5
    to_part = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    return cv2.warpAffine(
        part, to_part, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0),
    )  # fmt: skip
