"""Hand-drawn masks of real photos, and what the committed weights see there."""

from __future__ import annotations

import numpy as np

from training import parse_photos
from training.trial import pixels
from tryon.assets import asset_path
from tryon.pipeline import TryOnPipeline


def test_the_drawn_masks_lie_on_their_photos() -> None:
    masks = parse_photos.drawn_masks()
    assert len(masks) == 10
    for name, outlines in masks.items():
        assert (asset_path("openpeople") / name).is_file()
        inside = parse_photos.filled(outlines, 300, 200)
        assert 0.02 < inside.mean() < 0.5, name
        ys, xs = np.nonzero(inside)
        assert 40 < xs.mean() < 160 and 60 < ys.mean() < 220, "a top lies about the middle"


def test_the_network_finds_a_real_top() -> None:
    name = "P002/assets/amateur_posture.jpg"
    photo = pixels(asset_path("openpeople") / name, 512)
    pipeline = TryOnPipeline()
    predict = pipeline.models["generator"].predict
    own = parse_photos.upper_of(pipeline, photo)
    truth = parse_photos.filled(parse_photos.drawn_masks()[name], *photo.shape[:2])
    assert (own & truth).sum() / (own | truth).sum() > 0.85
    assert pipeline.models["generator"].predict == predict, "it listens only while it looks"
