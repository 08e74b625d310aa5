"""White cloth's seams are seen again; everything else stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from tryon.steps.garment import make_canvas
from tryon.steps.pale import with_detail

INSIDE = (slice(80, 440), slice(60, 320))


def shirt(level: int, seam: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A plain garment with a dark seam down its middle, and where it is."""
    rgb = np.full((512, 384, 3), 128, np.uint8)
    alpha = np.zeros((512, 384), np.uint8)
    alpha[INSIDE], rgb[INSIDE] = 255, level
    rgb[80:440, 188:191] = level - seam
    return rgb, alpha


def contrast(rgb: np.ndarray) -> float:
    return float(rgb[200:300, 150:170].mean() - rgb[200:300, 188:191].mean())


def test_a_seam_that_is_washed_out_is_seen() -> None:
    rgb, alpha = shirt(250)
    assert contrast(rgb) == 4 and 7 < contrast(with_detail(rgb, alpha)) < 14


@pytest.mark.parametrize("level", [30, 128, 205])
def test_cloth_that_is_not_white_is_the_same_array(level: int) -> None:
    rgb, alpha = shirt(level)
    assert with_detail(rgb, alpha) is rgb


def test_between_white_and_grey_some_of_it_is() -> None:
    rgb, alpha = shirt(229)
    assert 4.5 < contrast(with_detail(rgb, alpha)) < contrast(with_detail(*shirt(250)))


def test_prints_edges_and_what_is_beside_stay() -> None:
    rgb, alpha = shirt(250, seam=0)
    rgb[200:230, 100:140] = 200, 30, 30
    out = with_detail(rgb, alpha)
    np.testing.assert_array_equal(out[200:230, 100:140], rgb[200:230, 100:140])
    np.testing.assert_array_equal(out[alpha == 0], rgb[alpha == 0])
    assert np.abs(out[alpha == 255].astype(int) - rgb[alpha == 255]).mean() < 1


def test_noise_of_a_level_is_no_weave() -> None:
    rgb, alpha = shirt(245, seam=0)
    noise = np.random.default_rng(0).normal(0, 0.4, rgb.shape[:2])[..., None]
    noisy = np.rint(rgb + noise).astype(np.uint8)
    out = with_detail(noisy, alpha)[INSIDE].astype(float)
    assert out.std() < 2.5 * noisy[INSIDE].std()


def test_the_canvas_has_it_and_what_the_networks_see_has_not() -> None:
    rgb, alpha = shirt(250)
    garment = np.dstack([rgb, alpha])
    canvas, net = make_canvas(garment, (1024, 768))
    plain = canvas[0][canvas[3] == 255].astype(int)
    assert plain.max() - plain.min() > 8
    assert contrast(np.repeat(np.repeat(net, 2, 0), 2, 1)) < 5
