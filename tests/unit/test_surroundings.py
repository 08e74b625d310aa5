"""Light from all around, as a form of the normal."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.surroundings import directions, irradiance, random_surroundings, sky


def _lit(form: np.ndarray, normals: np.ndarray) -> np.ndarray:
    n = np.concatenate([normals, np.ones((*normals.shape[:-1], 1))], -1)
    return np.einsum("...k,kl,...l->...", n, form, n)


def test_even_light_lights_all_sides_alike() -> None:
    ways, angles = directions()
    assert angles.sum() == pytest.approx(4 * np.pi, rel=0.01)
    lit = _lit(irradiance(np.ones(angles.shape)), ways)
    np.testing.assert_allclose(lit, 1, atol=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_the_form_is_the_light_that_falls_on_a_surface(seed: int) -> None:
    ways, angles = directions()
    radiance = np.random.default_rng(seed).gamma(0.3, size=angles.shape)
    normals = ways[::3, ::4]
    cosine = np.maximum(np.einsum("...k,ijk->...ij", normals, ways), 0)
    exact = (cosine * radiance * angles / np.pi).sum((-2, -1))
    np.testing.assert_allclose(_lit(irradiance(radiance), normals), exact, atol=0.07 * exact.max())


def test_a_sky_is_brighter_from_above() -> None:
    above, below = np.array([0.0, -1, 0]), np.array([0.0, 1, 0])
    assert _lit(sky(0.5), above) == pytest.approx(0.5)
    assert _lit(sky(0.5), below) == pytest.approx(0.22)


@pytest.mark.parametrize("seed", range(20))
def test_places_light_what_faces_the_camera_as_asked_and_differ_else(seed: int) -> None:
    form = random_surroundings(np.random.default_rng(seed), 0.7)
    facing = _lit(form, np.array([0.0, 0, -1]))
    assert facing == pytest.approx(0.7) or (facing < 0.7 and _lit(form, np.array([0.0, 0, 1])) > 1)
    lit = _lit(form, directions()[0])
    assert lit.min() > -0.1 and np.ptp(lit) > 0.05
    np.testing.assert_array_equal(form, random_surroundings(np.random.default_rng(seed), 0.7))
