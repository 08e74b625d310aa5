"""Hand-drawn masks of real photos, and what the committed weights see there."""

from __future__ import annotations

import cv2
import numpy as np

from training import parse_photos
from training.data import outlined
from tryon.pipeline import TryOnPipeline


def test_the_drawn_masks_lie_on_their_photos() -> None:
    masks = outlined.drawn_masks()
    assert len(masks) == 15
    for name, outlines in masks.items():
        photo = outlined.photo_of(name, 300)
        assert max(photo.shape) == 300
        height, width = photo.shape[:2]
        inside = outlined.filled(outlines, height, width)
        assert 0.02 < inside.mean() < 0.5, name
        y, x = np.argwhere(inside).mean(0) / [height, width]
        assert 0.2 < x < 0.8 and 0.2 < y < 0.73, "a top lies about the middle"
        # An outline by eye follows the garment's edge: colours differ more across it than beside.
        steep = cv2.morphologyEx(photo, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(-1)
        drawn = inside.astype(np.uint8)
        edge = cv2.morphologyEx(drawn, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        edge[:2] = edge[-2:] = edge[:, :2] = edge[:, -2:] = False
        within = cv2.erode(drawn, np.ones((9, 9), np.uint8)) > 0
        assert steep[edge].mean() > 1.5 * steep[within].mean(), name


def test_the_network_finds_a_real_top() -> None:
    name = "openvto/people/1_posture.jpg"  # whom no training sees
    photo = outlined.photo_of(name, 512)
    pipeline = TryOnPipeline()
    predict = pipeline.models["generator"].predict
    own = parse_photos.upper_of(pipeline, photo)
    truth = outlined.filled(outlined.drawn_masks()[name], *photo.shape[:2])
    assert (own & truth).sum() / (own | truth).sum() > 0.85
    assert pipeline.models["generator"].predict == predict, "it listens only while it looks"
