"""Cloth creases where the pose bunches it: inside bent elbows, in laps, nowhere at rest."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.bodies import load_body_model
from training.data.drape import Wearer
from training.data.poses import Poser
from training.data.studio import _ACROSS, _bunched
from training.data.template import Template


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(load_body_model())


def wearer(template: Template, arms: str | None, legs: str = "standing", seed: int = 0) -> Wearer:
    """A wearer in a pose; in none: at rest."""
    model = template.model
    if arms is None:
        still = np.broadcast_to(np.eye(4), (len(model.bones), 4, 4))
        return Wearer(template, model.average, still)
    pose = Poser(model, model.average).random(np.random.default_rng(seed), legs, arms)
    return Wearer(template, model.average, pose.transforms, legs == "sitting")


def near(template: Template, limb: str, at: float) -> np.ndarray:
    c = template.canon
    return (getattr(c, limb) > 0.8) & (np.abs(getattr(c, f"s_{limb}") - at) < 0.05)


def test_nothing_is_bunched_at_rest(template: Template) -> None:
    assert np.abs(wearer(template, None).bunched).max() < 1e-4


def test_bent_elbows_and_knees_are_and_their_outsides_are_stretched(template: Template) -> None:
    bent = wearer(template, "hips", "sitting").bunched
    hanging = wearer(template, "hanging").bunched
    for limb, at in (("arm", template.elbow), ("leg", template.knee)):
        around = near(template, limb, at)
        assert bent[around].max() > 1.4 * max(0.2, hanging[around].max()), limb
        assert bent[around].min() < -0.1
    assert bent.dtype == np.float32 and bent.shape == (len(template.canon.pos),)


def test_creases_are_deeper_there_and_shallower_where_it_is_stretched() -> None:
    attributes = np.ones((3, 12), np.float32)
    out = _bunched(attributes, np.array([-0.3, 0.0, 0.3], np.float32))
    assert out[0, _ACROSS] < out[1, _ACROSS] < 1 < out[2, _ACROSS]
    out[:, _ACROSS] = 1
    np.testing.assert_array_equal(out, attributes)
