"""Geometry of crops and letterboxes, shared by training, the torch pipeline and the server's steps.

Pure numpy; all boxes are (x0, y0, x1, y1) in pixels of the photo, floating point, and may reach
beyond it.
"""

from __future__ import annotations

import numpy as np

from tryon.contract import NET_HEIGHT, NET_WIDTH

# BlazePose's landmark indices that the window is computed from.
NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = 0, 11, 12, 13, 14
LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP = 15, 16, 23, 24
LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE, RIGHT_ANKLE = 25, 26, 27, 28


def fit_aspect(box: np.ndarray, aspect: float = NET_WIDTH / NET_HEIGHT) -> np.ndarray:
    """The smallest box of the given width / height around `box` with the same centre, float64 (4,)."""
    x0, y0, x1, y1 = (float(v) for v in box)
    width, height = max(x1 - x0, 1e-6), max(y1 - y0, 1e-6)
    width, height = max(width, height * aspect), max(height, width / aspect)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    return np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])


def window_from_joints(joints: np.ndarray, category: str) -> np.ndarray:
    """The 3:4 box that the generator works on, for a garment of `category`.

    Args:
        joints: (33 or more, 2) BlazePose landmarks in pixels.
        category: "upper" (head to mid-thigh), "lower" (waist to feet) or "dress" (head to feet).

    Returns:
        (4,) float64 box of aspect NET_WIDTH / NET_HEIGHT.
    """
    shoulders = (joints[LEFT_SHOULDER] + joints[RIGHT_SHOULDER]) / 2
    hips = (joints[LEFT_HIP] + joints[RIGHT_HIP]) / 2
    torso = max(
        float(np.linalg.norm(hips - shoulders)),
        float(np.linalg.norm(joints[LEFT_SHOULDER] - joints[RIGHT_SHOULDER])) * 0.8,
        1e-3,
    )
    arms = joints[[LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST]]
    legs = joints[[LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE, RIGHT_ANKLE]]
    if category == "upper":
        points = np.concatenate([arms, joints[[NOSE, LEFT_HIP, RIGHT_HIP]]])
        extra = np.array([0.28, 0.35, 0.28, 0.45])
    elif category == "lower":
        points = np.concatenate([legs, joints[[LEFT_WRIST, RIGHT_WRIST]]])
        extra = np.array([0.25, 0.45, 0.25, 0.3])
    elif category == "dress":
        points = np.concatenate([arms, legs, joints[[NOSE]]])
        extra = np.array([0.25, 0.45, 0.25, 0.3])
    else:
        raise ValueError(f"category {category!r} is not one of upper, lower, dress")
    low, high = points.min(0), points.max(0)
    box = np.concatenate([low, high]) + np.array([-1, -1, 1, 1]) * extra * torso
    return fit_aspect(box)


def square_around(box: np.ndarray) -> np.ndarray:
    """The square pose view whose central 3:4 part is `box` (as tall as it, centred)."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side, cx = y1 - y0, (x0 + x1) / 2
    return np.array([cx - side / 2, y0, cx + side / 2, y1])
