"""Camera faults: each does what its name says, and the same to both pictures of a pair."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from training.data.camera import Camera, _streak

PHOTO = data.astronaut()[:256, :256].astype(np.float32) / 255


def camera(**faults: object) -> Camera:
    made = Camera(np.random.default_rng(0), 0.0, (256, 256))
    for name, value in faults.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def edges(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.astype(np.float32), axis=1)).mean())


def test_at_no_strength_the_picture_is_what_it_is() -> None:
    assert np.abs(camera()(PHOTO) - PHOTO * 255).max() <= 0.5


@pytest.mark.parametrize(
    ("fault", "softer"),
    [({"shrunk": 0.5}, True), ({"motion": _streak(np.random.default_rng(1))}, True),
     ({"sharpened": 0.8}, False)],
)  # fmt: skip
def test_faults_soften_or_sharpen(fault: dict[str, object], softer: bool) -> None:
    plain, shot = camera()(PHOTO), camera(**fault)(PHOTO)
    assert shot.shape == plain.shape and shot.dtype == np.uint8
    assert edges(shot) < 0.9 * edges(plain) if softer else edges(shot) > 1.1 * edges(plain)
    assert abs(float(shot.mean()) - float(plain.mean())) < 2


def test_jpeg_keeps_the_colours_in_their_places() -> None:
    red = np.zeros((64, 64, 3), np.float32)
    red[..., 0], red[:32, :, 1] = 0.8, 0.5
    shot = camera(jpeg=80)(red)
    assert np.abs(shot - red * 255).mean() < 4


def test_streaks_are_lines_that_keep_the_light() -> None:
    for i in range(50):
        kernel = _streak(np.random.default_rng(i))
        assert kernel.sum() == pytest.approx(1, abs=1e-5) and 2 <= (kernel > 0.05).sum() < 16
        y, x = np.nonzero(kernel > 0)
        assert abs(float((kernel[y, x] * (x - 4)).sum())) < 0.6  # the picture stays in its place


def test_both_pictures_of_a_pair_get_the_same() -> None:
    for i in range(30):
        made = Camera(np.random.default_rng(i), 1.0, (256, 256))
        assert np.array_equal(made(PHOTO), made(PHOTO))
