"""Other sizes and rolled sleeves: how cuts change, and which point of the cloth lies where."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from training.data import wardrobe
from training.data.anchors import anchors
from training.data.bodies import load_body_model
from training.data.garments import Cut, fields, front_field
from training.data.styling import SIZES, Styling, random_styling, shown_point, worn_cut
from training.data.template import Template

TOP, TROUSERS = Cut("upper", sleeve=0.5, hem=0.13), Cut("lower", leg=0.85, waist=0.3)
SKIRT = Cut("lower", join=0.28, waist=0.29, hem=-0.3)


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(load_body_model())


@pytest.mark.parametrize("cut", [TOP, TROUSERS, SKIRT, Cut("dress", join=0.3, hem=-0.3)])
def test_a_larger_size_is_wider_and_longer(cut: Cut) -> None:
    sizes = [worn_cut(cut, Styling(s)) for s in (-2, -1, 0, 1, 2, 3)]
    assert sizes[2] == cut
    wide = [c.leg_ease if cut.category == "lower" else c.ease for c in sizes]
    low = [-c.leg if cut is TROUSERS else c.hem for c in sizes]
    assert all(a < b for a, b in pairwise(wide))
    assert all(a >= b for a, b in pairwise(low)) and low[0] > low[-1]


def test_every_garment_keeps_a_shape_that_can_be_worn() -> None:
    for i in range(60):
        rng = np.random.default_rng(i)
        for garment in (wardrobe.random_upper(rng), wardrobe.random_lower(rng)):
            for size in SIZES:
                cut = worn_cut(garment.cut, Styling(size))
                assert min(cut.ease, cut.sleeve_ease, cut.leg_ease) >= 0
                if cut.category == "upper":
                    assert cut.hem >= min(garment.cut.hem, 0.08)
                elif cut.join is not None:
                    assert cut.hem < cut.join < cut.waist


def test_only_long_sleeves_are_rolled_up() -> None:
    draws = [random_styling(np.random.default_rng(i), TOP) for i in range(400)]
    assert 60 < sum(d.rolled > 0 for d in draws) < 180
    assert {d.size for d in draws} == {0, *SIZES}
    for d in draws:
        assert worn_cut(TOP, d).sleeve < TOP.sleeve if d.rolled else d.words()["rolled"] is False
    short = Cut("upper", sleeve=0.2)
    assert not any(random_styling(np.random.default_rng(i), short).rolled for i in range(100))


def test_only_what_is_fastened_in_front_and_has_long_sleeves_is_worn_open(
    template: Template,
) -> None:
    shirt = replace(TOP, collar=True, fastened=True)
    draws = [random_styling(np.random.default_rng(i), shirt) for i in range(400)]
    assert 120 < sum(d.gap > 0 for d in draws) < 240
    assert all(d.words()["open"] == (d.gap > 0) for d in draws)
    quarter_zip, short = replace(TOP, collar=True), replace(shirt, sleeve=0.2)
    for closed in (TOP, quarter_zip, short):
        assert not any(random_styling(np.random.default_rng(i), closed).gap for i in range(100))
    c = template.canon
    edge = front_field(0.1, c)
    middle = (np.abs(c.pos[:, 0]) < 0.02) & (c.arm < 0.1) & (c.pos[:, 2] > 0.1)
    front = middle & (c.pos[:, 1] < -0.05)
    assert (edge[front] < 0).all() and (edge[middle & (c.pos[:, 1] > 0.02)] > 0).all()
    beside = (c.pos[:, 1] < -0.02) & (np.abs(c.pos[:, 0]) > 0.1)
    assert (edge[beside] > 0).all()


@pytest.mark.parametrize("size", [-2, 3])
@pytest.mark.parametrize("cut", [TOP, TROUSERS], ids=["top", "trousers"])
def test_edges_of_another_size_are_the_edges_that_are_shown(
    template: Template, cut: Cut, size: int
) -> None:
    worn = worn_cut(cut, Styling(size))
    carry = shown_point(template, cut, worn)
    c = template.canon
    cloth = c.carried(carry)
    shown, new = fields(template, cut, cloth), fields(template, worn, c)
    limb = (c.arm if cut is TOP else c.leg) > 0.9
    torso = (c.arm < 0.1) & (np.abs(c.pos[:, 0]) < 0.1) & (c.pos[:, 2] > 0)
    for name, where in (("hem", torso), ("cuff", limb)):
        edge = where & (np.abs(getattr(new, name)) < 0.004)
        assert edge.sum() > 5
        off = np.abs(getattr(shown, name)[edge] - getattr(new, name)[edge])
        assert np.median(off) < 0.004 and off.mean() < 0.006, name
    if cut is TOP:
        moved = np.linalg.norm(cloth.pos - c.pos, axis=1)[(c.pos[:, 2] > 0.6) & torso]
        assert moved.max() < 1e-3  # at the neck the cloth is where it was


def test_landmarks_of_another_size_are_points_of_the_cloth(template: Template) -> None:
    worn = worn_cut(TOP, Styling(3))
    cloth = template.canon.carried(shown_point(template, TOP, worn))
    there, here = anchors(template, TOP, template.canon), anchors(template, TOP, cloth)
    assert there.shell.keys() == here.shell.keys()
    for name, (index, weight) in here.shell.items():
        if name.startswith("shoulder"):
            continue  # a vertex, not a point between some
        shown = weight @ cloth.pos[index]
        index, weight = there.shell[name]
        assert np.linalg.norm(shown - weight @ template.canon.pos[index]) < 0.02, name
