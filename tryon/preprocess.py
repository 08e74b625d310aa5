"""Geometry of crops and letterboxes, shared by training, the torch pipeline and the server's steps.

Pure numpy; all boxes are (x0, y0, x1, y1) in pixels of the photo, floating point, and may reach
beyond it.
"""

from __future__ import annotations

import numpy as np

from tryon.contract import NET_HEIGHT, NET_WIDTH

# BlazePose's landmark indices from which the window's anchors are computed in training.
NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 0, 11, 12, 23, 24
LEFT_MOUTH, RIGHT_MOUTH = 9, 10
LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST = 13, 14, 15, 16
LEFT_ANKLE, RIGHT_ANKLE = 27, 28


def fit_aspect(box: np.ndarray, aspect: float = NET_WIDTH / NET_HEIGHT) -> np.ndarray:
    """The smallest box of that width / height around `box`, same centre, float64 (4,)."""
    x0, y0, x1, y1 = (float(v) for v in box)
    width, height = max(x1 - x0, 1e-6), max(y1 - y0, 1e-6)
    width, height = max(width, height * aspect), max(height, width / aspect)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    return np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])


def window_from_anchors(
    hips: np.ndarray, shoulders: np.ndarray, radius: float, category: str
) -> np.ndarray:
    """The 3:4 box that the generator works on, for a garment of `category`.

    The anchors are what BlazePose's detector finds: hip centre, shoulder centre and the radius of
    the circle around the hips that holds the whole body, in pixels.

    Args:
        hips, shoulders: (2,) points.
        radius: in pixels.
        category: "upper" (above the head to mid-thigh), "lower" (waist to feet) or "dress" (head
            to feet).

    Returns:
        (4,) float64 box of aspect NET_WIDTH / NET_HEIGHT.
    """
    torso = max(float(np.linalg.norm(hips - shoulders)), 0.4 * radius, 1e-3)
    centre = (hips + shoulders) / 2
    half = 0.95 * torso
    if category == "upper":
        box = np.array([centre[0] - half, shoulders[1] - 0.95 * torso,
                        centre[0] + half, hips[1] + 0.6 * torso])  # fmt: skip
    elif category == "lower":
        box = np.array([hips[0] - 0.7 * torso, hips[1] - 0.75 * torso,
                        hips[0] + 0.7 * torso, hips[1] + 1.08 * radius])  # fmt: skip
    elif category == "dress":
        box = np.array([centre[0] - half, shoulders[1] - 0.95 * torso,
                        centre[0] + half, hips[1] + 1.08 * radius])  # fmt: skip
    else:
        raise ValueError(f"category {category!r} is not one of upper, lower, dress")
    return fit_aspect(box)


def anchors_from_joints(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Hip centre (2,), shoulder centre (2,) and body radius, from (33 or more, 2) landmarks."""
    hips = (joints[LEFT_HIP] + joints[RIGHT_HIP]) / 2
    shoulders = (joints[LEFT_SHOULDER] + joints[RIGHT_SHOULDER]) / 2
    reach = np.linalg.norm(joints[[NOSE, LEFT_ANKLE, RIGHT_ANKLE]] - hips, axis=1)
    return hips, shoulders, float(reach.max()) * 1.12


def square_around(box: np.ndarray) -> np.ndarray:
    """The square pose view whose central 3:4 part is `box` (as tall as it, centred)."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side, cx = y1 - y0, (x0 + x1) / 2
    return np.array([cx - side / 2, y0, cx + side / 2, y1])
