"""Ten rendered scenes, and their truths checked against each other."""

from __future__ import annotations

import dataclasses
from unittest import mock

import cv2
import numpy as np
import pytest

from training import captions
from training.data import bodies, shop_render, wardrobe
from training.data.carried import Carried
from training.data.check import ordered_share
from training.data.compose import Options, compose
from training.data.drape import Wearer
from training.data.fabric import ATLAS_H, ATLAS_W
from training.data.garments import NECK_Z, SHOULDER_LINE_Z, Cut, neck_field
from training.data.looks import Looks
from training.data.outfits import outfit_of, pairs_of
from training.data.preview import strip, warp
from training.data.renderer import INNER
from training.data.scene import make_scene
from training.data.sewn import draw_details
from training.data.shards import DEPTH_STEPS, Scene, load_scene, save_scene, scene_from
from training.data.studio import Item
from training.data.styling import Styling
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE

SEED = 5


@pytest.fixture(scope="module")
def studio():
    from training.data.studio import Studio

    return Studio()


POSES = [
    ("upper", "standing", "away"), ("lower", "standing", "away"), ("dress", "standing", "away"),
    ("upper", "standing", "crossed"), ("upper", "sitting", "bent"), ("upper", "walking", "hips"),
    ("lower", "contrapposto", "away"), ("dress", "walking", "bent"),
    ("upper", "standing", "away", 3, 0.2), ("lower", "standing", "away", -2),
]  # fmt: skip
"""What is changed, how the body stands and holds its arms, and in what size what is changed is
worn, with sleeves rolled up to where."""


def _made(
    studio, kind: str, legs: str, arms: str, size: int = 0, rolled: float = 0.0
) -> dict[str, np.ndarray]:
    styling = Styling(size, rolled)
    with mock.patch("training.data.scene.random_styling", lambda rng, cut: styling):
        return make_scene(studio, SEED, 1, kind=kind, outfits=2, legs=legs, arms=arms)


@pytest.fixture(scope="module", params=POSES, ids=lambda pose: " ".join(map(str, pose)))
def arrays(request, studio) -> dict[str, np.ndarray]:
    return _made(studio, *request.param)


@pytest.fixture(scope="module")
def scene(arrays) -> Scene:
    return scene_from(arrays)


def _garment_class(scene: Scene, garment: int) -> int:
    return PARSE.index(scene.meta["garments"][garment]["category"])


def test_shapes_and_types(scene: Scene) -> None:
    o, g, w = 2, len(scene.garment_category), len(scene.worn_outfit)
    want = {
        "albedo": ((o, 256, 256, 3), np.uint8),
        "shade": ((o, 256, 256), np.uint8),
        "alpha": ((o, 256, 256), np.uint8),
        "parse": ((o, 256, 256), np.uint8),
        "joints": ((33, 2), np.float32),
        "depth": ((o, 256, 256), np.uint16),
        "worn_flow": ((w, 256, 256, 2), np.float16),
        "worn_valid": ((w, 256, 256), np.uint8),
        "worn_landmarks": ((w, 23, 3), np.float32),
        "garment_shop_albedo": ((g, 256, 192, 3), np.uint8),
        "garment_shop_alpha": ((g, 256, 192), np.uint8),
        "garment_shop_landmarks": ((g, 23, 3), np.float32),
    }
    for name, (shape, dtype) in want.items():
        value = getattr(scene, name)
        assert (value.shape, value.dtype) == (shape, dtype), name


def test_the_same_seed_gives_the_same_scene(studio, arrays, scene: Scene) -> None:
    styling = scene.meta["stylings"][0]
    rolled = 0.2 if styling["rolled"] else 0.0
    again = _made(
        studio, *(scene.meta[name] for name in ("kind", "legs", "arms")), styling["size"], rolled
    )
    for name, value in arrays.items():
        assert np.array_equal(again[name], value), name


def test_parse_agrees_with_alpha(scene: Scene) -> None:
    for o in range(len(scene.albedo)):
        assert scene.parse[o].max() < len(PARSE)
        solid, empty = scene.alpha[o] == 255, scene.alpha[o] == 0
        assert (scene.parse[o][solid] > 0).all()
        assert (scene.parse[o][empty] == 0).all()
        assert 0.03 < solid.mean() < 0.8
        assert not scene.albedo[o][empty].any()


def test_flow_carries_the_shop_picture_onto_the_person(scene: Scene) -> None:
    for k in range(len(scene.worn_outfit)):
        o, g = int(scene.worn_outfit[k]), int(scene.worn_garment[k])
        seen = scene.parse[o] == _garment_class(scene, g)
        valid = scene.worn_valid[k] > 0
        assert not (valid & ~seen).any()
        if seen.sum() < 500:
            continue
        assert valid.sum() > 0.5 * seen.sum()
        flow = scene.worn_flow[k].astype(np.float32)
        assert flow[valid].min() >= 0 and flow[valid].max() <= 1
        # Away from edges the flow is smooth, and hits the garment in the in-shop picture.
        covered = warp(np.repeat(scene.garment_shop_alpha[g][..., None], 3, 2), flow)[..., 0]
        assert np.median(covered[valid]) > 250
        difference = np.abs(warp(scene.garment_shop_albedo[g], flow) - scene.albedo[o]).mean(-1)
        inner = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        plain = scene.meta["garments"][g]["pattern"] == "plain"
        assert difference[inner].mean() < (4 if plain else 25)


def test_flow_and_landmarks_agree(scene: Scene) -> None:
    """Where a landmark is seen, the flow there leads to the same landmark in the shop picture."""
    errors = []
    names = ["neck_front", "hem_front", "waist_left", "waist_right", "hip_left"]
    if scene.meta["legs"] == "sitting":
        names = names[:1]  # the others are in the lap, or behind it
    elif scene.meta["arms"] in ("bent", "crossed"):
        names = names[:2]  # a sleeve may be before the others
    for k in range(len(scene.worn_outfit)):
        g = int(scene.worn_garment[k])
        on_person, in_shop = scene.worn_landmarks[k], scene.garment_shop_landmarks[g]
        assert np.array_equal(on_person[:, 2], in_shop[:, 2])
        valid = scene.worn_valid[k] > 0
        for name in names:
            i = LANDMARKS.index(name)
            x, y = on_person[i, :2]
            if not (on_person[i, 2] and 2 < x < 253 and 2 < y < 253):
                continue
            ys, xs = np.nonzero(valid)
            near = np.argmin((xs + 0.5 - x) ** 2 + (ys + 0.5 - y) ** 2)
            if np.hypot(xs[near] + 0.5 - x, ys[near] + 0.5 - y) > 3:
                continue
            flow = scene.worn_flow[k][ys[near], xs[near]].astype(np.float32)
            errors.append(np.abs((flow - in_shop[i, :2]) * [192, 256]).max())
    assert errors and np.median(errors) < 8, errors


def test_landmarks_lie_on_the_garment_in_the_shop_picture(scene: Scene) -> None:
    for g in range(len(scene.garment_category)):
        marks = scene.garment_shop_landmarks[g]
        exists = marks[:, 2] > 0
        assert exists.sum() >= 6
        own = scene.garment_shop_alpha[g] > 0
        if scene.garment_shop_worn[g] and _garment_class(scene, g) == PARSE.index("lower"):
            own |= scene.garment_shop_parse[g] == PARSE.index("upper")  # the waist may lie beneath
        grown = cv2.dilate(own.astype(np.uint8), np.ones((13, 13), np.uint8))
        inside = 0
        for x, y in marks[exists, :2]:
            px, py = int(np.clip(x * 192, 0, 191)), int(np.clip(y * 256, 0, 255))
            inside += grown[py, px] > 0
        assert inside >= 0.8 * exists.sum()
        left = marks[LANDMARKS.index("hip_left")]
        right = marks[LANDMARKS.index("hip_right")]
        if left[2] and right[2]:
            assert left[0] > right[0]  # the wearer's left is at the picture's right


def test_joints_lie_inside_the_silhouette(scene: Scene) -> None:
    joints = scene.joints
    inside = ((joints > 0) & (joints < 256)).all(1)
    grown = cv2.dilate(scene.alpha[0], np.ones((5, 5), np.uint8))
    x, y = joints[inside].astype(int).T
    assert inside.sum() >= 12
    assert (grown[y, x] > 0).mean() > 0.9
    assert joints[11, 0] > joints[12, 0]


def test_hands_are_in_front_of_what_they_lie_on(scene: Scene) -> None:
    """Where a hand's joints are skin, nothing that is worn has a true flow."""
    arms = [PARSE.index("arm_left"), PARSE.index("arm_right")]
    hands = scene.joints[[19, 20]]  # index fingers
    seen = 0
    for outfit in range(len(scene.parse)):
        skin = np.isin(scene.parse[outfit], arms)
        for x, y in hands[((hands > 1) & (hands < 254)).all(1)].astype(int):
            near = skin[y - 1 : y + 2, x - 1 : x + 2]
            seen += bool(near.any())
            for k in np.nonzero(scene.worn_outfit == outfit)[0]:
                assert not (scene.worn_valid[k, y - 1 : y + 2, x - 1 : x + 2] > 0)[near].any()
    if scene.meta["arms"] in ("crossed", "bent"):
        assert seen, "a hand is seen"


def test_depth_tells_what_stands_in_front(scene: Scene) -> None:
    depth = scene.depth.astype(float) / DEPTH_STEPS
    assert ((depth > 0) == (scene.parse > 0)).all()
    assert depth[depth > 0].min() > 1 and depth.max() < 6.5, "metres"
    share = ordered_share(scene)
    assert share is None or share > 0.97, "what covers skin is in front of it"
    swapped = dataclasses.replace(scene, depth=scene.depth[::-1])
    assert share is None or ordered_share(swapped) < share - 0.2
    arms = np.isin(scene.parse, [PARSE.index("arm_left"), PARSE.index("arm_right")])
    nearer, hands = [], scene.joints[[19, 20]]
    for outfit in range(len(depth)):
        cloth = np.isin(scene.parse[outfit], [PARSE.index("upper"), PARSE.index("dress")])
        for x, y in hands[((hands > 8) & (hands < 247)).all(1)].astype(int):
            around = (slice(y - 8, y + 9), slice(x - 8, x + 9))
            hand, beside = arms[outfit][around], cloth[around]
            if hand.sum() > 20 and beside.sum() > 20 and scene.meta["arms"] in ("crossed", "bent"):
                nearer.append(
                    np.median(depth[outfit][around][hand])
                    < np.median(depth[outfit][around][beside]) + 0.01
                )
    assert all(nearer), "hands lie on the garment"


def test_attributes_name_what_is_there(scene: Scene) -> None:
    for a in scene.meta["garments"]:
        assert a["category"] in ("upper", "lower", "dress")
        assert a["colour"] and a["pattern"] and a["kind"] and len(a["caption"].split()) >= 2


def test_saved_scenes_come_back(arrays, scene: Scene, tmp_path) -> None:
    path = tmp_path / "scene-5-000001.npz"
    save_scene(path, arrays)
    back = load_scene(path)
    for field in dataclasses.fields(Scene):
        if field.name != "meta":
            assert np.array_equal(getattr(back, field.name), getattr(scene, field.name))
    assert strip(back, 0).shape[0] == 256
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="scene-5-000001"):
        load_scene(path)


def test_what_is_carried_stands_in_front(studio, monkeypatch) -> None:
    from training.data import scene as scenes
    from training.data.carried import Carried

    grey = np.array([0.4, 0.4, 0.4])
    monkeypatch.setattr(
        scenes, "random_carried", lambda rng, pose: Carried("L", "across", 1, grey, grey, 0.02)
    )
    made = scene_from(
        scenes.make_scene(studio, SEED, 2, kind="upper", outfits=1, legs="standing", arms="phone")
    )
    other = made.parse[0] == PARSE.index("other")
    assert other.sum() > 100
    on_it = cv2.dilate(other.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    upper = made.parse[0] == PARSE.index("upper")
    assert (on_it & upper).sum() > 50, "the strap crosses the top"
    assert not (made.worn_valid > 0)[:, other].any()


def test_a_box_is_closed_and_looks_outward() -> None:
    from training.data.carried import _box

    middle = np.array([1.0, 2.0, 3.0])
    points, normals, tri = _box(middle, np.eye(3), (0.2, 0.4, 0.6))
    assert tri.shape == (12, 3) and len({tuple(p) for p in points.round(6)}) == 8
    assert (((points - middle) * normals).sum(1) > 0).all()
    np.testing.assert_allclose(np.ptp(points, axis=0), (0.2, 0.4, 0.6))


def test_a_collar_that_stands_shows_its_inner_back_when_it_lies_flat(studio) -> None:
    seen = []
    for number in range(40):
        rng = np.random.default_rng([9, number])
        garment = wardrobe.random_upper(rng)
        if garment.cut.stand <= 0:
            continue
        assert 0 < garment.cut.stand_drop <= 1.6 * garment.cut.stand
        item = Item(studio, garment, rng)
        flat = shop_render._flat(studio, item, rng)
        item.release()
        marks = flat.landmarks[[LANDMARKS.index(f"neck_{side}") for side in ("left", "right")]]
        middle, reach = marks[:, :2].mean(0), np.linalg.norm(marks[0, :2] - marks[1, :2])
        y, x = np.nonzero(flat.layers.code == item.code + INNER)
        height, width = flat.layers.code.shape
        near = np.hypot(x / width - middle[0], y / height - middle[1]) < reach
        seen.append(near.sum() > 5)
    assert len(seen) >= 5 and np.mean(seen) > 0.8


def test_what_lies_flat_shows_its_inside_above_the_neckline_and_that_is_not_worn(
    studio, monkeypatch
) -> None:
    monkeypatch.setattr(shop_render, "_FOLDED", 0.0)  # a folded sleeve's end is open to the front
    seen = 0
    for number in range(24):
        rng = np.random.default_rng([9, number])
        garment = wardrobe.random_upper(rng)
        item = Item(studio, garment, rng)
        flat = shop_render._flat(studio, item, rng)
        item.release()
        inner, alpha = shop_render.garment_inner(flat, item), shop_render.garment_alpha(flat, item)
        assert (inner <= alpha).all()
        if garment.cut.hood:
            assert not inner.any()
            continue
        front = flat.landmarks[LANDMARKS.index("neck_front")]
        x, y = int(front[0] * NET_WIDTH), int(front[1] * NET_HEIGHT)
        if not inner[max(y - 40, 0) : y, max(x - 12, 0) : x + 12].any():
            continue  # from below the inner back is not seen
        seen += 1
        assert not inner[y + 4 : y + 40, max(x - 12, 0) : x + 12].any(), "below is the front"
        widest = 0.1 if garment.cut.sleeve > 0 else 0.25  # wide armholes show the inner back too
        assert inner.mean() < widest * alpha.mean()
    assert seen > 8


NOTHING = Carried("", "", 1, np.zeros(3), np.zeros(3), 0.02)


def test_an_open_top_shows_the_one_beneath_as_it_was(studio) -> None:
    """Outfit 0 is a top alone, outfit 1 an open one over it."""
    shirt = Cut("upper", neck="collar", collar=True, sleeve=0.5, ease=0.02, thickness=0.012)
    t_shirt = Cut("upper", sleeve=0.2, ease=0.005)
    cuts, any_upper = iter([t_shirt, shirt]), wardrobe.random_upper

    def upper(rng: np.random.Generator) -> wardrobe.Garment:
        return dataclasses.replace(any_upper(rng), cut=next(cuts))

    def styling(rng: np.random.Generator, cut: Cut) -> Styling:
        return Styling(gap=0.11 if cut.collar else 0.0)

    with (
        mock.patch("training.data.scene.random_styling", styling),
        mock.patch("training.data.wardrobe.random_upper", upper),
        mock.patch("training.data.scene.random_carried", lambda rng, pose: NOTHING),
    ):
        made = scene_from(
            make_scene(studio, SEED, 6, kind="upper", outfits=2, legs="standing", arms="hanging")
        )
    top = outfit_of(made, 0)["upper"]
    assert made.meta["beneath"] == [-1, top]
    assert [how["open"] for how in made.meta["stylings"]] == [False, True]
    assert pairs_of(made) == [(0, 1, "upper"), (1, 0, "upper")]
    pair = compose(made, 0, 1, "upper", np.random.default_rng(0), None, Options(0.0, text=0.0))
    drawn, under = pair["drawn"] > 0, pair["under"] > 0
    upper_after = pair["parse_after"] == PARSE.index("upper")
    assert ((drawn | under) == upper_after).all() and not (drawn & under).any()
    assert under.sum() > 0.05 * drawn.sum()
    assert not (pair["old"] > 0)[under].any() and not (pair["valid"] > 0)[under].any()
    shoulders = [LANDMARKS.index(f"shoulder_{side}") for side in ("left", "right")]
    middle = pair["landmarks"][shoulders, 0].mean() * NET_WIDTH
    assert abs(np.median(np.nonzero(under)[1]) - middle) < 12, "between the edges"
    deep = cv2.erode(pair["under"], np.ones((7, 7), np.uint8)) > 0
    before, after = (pair[n][:, 32:224].astype(int) for n in ("before", "after"))
    # The open one's shadow falls on it.
    assert deep.any() and np.abs(before - after)[deep].mean() < 12
    # The words are one of those for it and no others, and so are the numbers.
    assert pair["caption"] in captions._OPEN
    assert pair["styling"].tolist() == [0, 0, 1, 0]


def test_a_collar_that_stands_never_ends_below_the_neck(studio) -> None:
    """Its front is open as a V alone: a straight edge below the neck has squared corners."""
    points = studio.template.canon
    rng = np.random.default_rng(2)
    seen = 0
    while seen < 40:
        cut = wardrobe.random_upper(rng).cut
        if cut.stand <= 0:
            continue
        seen += 1
        x, z = np.abs(points.pos[:, 0]), points.pos[:, 2]
        value = neck_field(cut, points)
        beside = x > cut.neck_width + 0.004
        below = (points.neck > 0.02) & (z < NECK_Z + 0.004) & beside
        assert below.sum() > 20 and (value[below] > 0).all()
        above = (points.neck > 0.02) & (z > NECK_Z + cut.stand + 0.002)
        assert (value[above] < 0).all()


def test_a_blazer_has_lapels_and_a_deep_opening(studio) -> None:
    rng = np.random.default_rng(4)
    blazers = []
    while len(blazers) < 6:
        garment = wardrobe.random_upper(rng)
        if garment.cut.collar and garment.cut.neck_depth > 0.14:
            blazers.append(garment)
    for garment in blazers:
        assert garment.attributes["kind"] == "jacket" and garment.cut.sleeve > 0.45
        assert 0.01 < garment.cut.stand < 0.035 and not garment.cut.rib_hem
        plain = np.tile(garment.fabric.rgb.astype(np.uint8), (ATLAS_H, ATLAS_W, 1))
        drawn = draw_details(
            rng, plain, "blazer", garment.fabric.rgb, garment.fabric.second_rgb,
            SHOULDER_LINE_Z - garment.cut.neck_depth, garment.cut.neck_width, garment.cut.stand,
        )  # fmt: skip
        changed = (drawn != plain).any(2)
        left, right = changed[:, : ATLAS_W // 2], changed[:, ATLAS_W // 2 :]
        assert changed.mean() > 0.004
        assert abs(left.sum() - right.sum()) < 0.5 * max(left.sum(), right.sum())


def test_long_hair_lies_on_a_chest_in_tresses_that_end(studio) -> None:
    """No ribbon down to the waist before each shoulder: those taught that a lapel is hair."""
    pos = studio.model.surfaces["hair"].rest.astype(float)
    chest = (pos[:, 1] < -0.03) & (pos[:, 2] < 0.70)
    reach = []
    for seed in range(60):
        looks = mock.Mock(seed=seed)
        looks.spread = Looks.spread.fget(looks)
        looks.tresses = Looks.tresses.fget(looks)
        there = studio.dresser._falls(looks, pos) > 0
        reach.append((chest & there).sum() / chest.sum())
        assert not (there & chest & (np.abs(pos[:, 0]) > 0.21)).any()
    reach = np.array(reach)
    assert 0.2 < (reach < 0.02).mean() < 0.7  # behind the shoulders
    assert (reach > 0.05).mean() > 0.2 and reach.max() < 0.7


def test_a_loose_sleeve_lies_on_the_arm_and_hangs_below_it(studio) -> None:
    """Above, it is hardly further from the arm than a tight one; below, twice its looseness."""
    model = studio.model
    shaped = model.shape(bodies.random_person(np.random.default_rng(3)))
    wearer = Wearer(studio.template, shaped, model.transforms(shaped, {}))
    tight, loose = (wearer.drape(Cut("upper", sleeve=0.5, sleeve_ease=e)).shell for e in (0, 0.02))
    c = studio.template.canon
    out = wearer.rest - wearer.arm_axis
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    sleeve = (c.s_arm > 0.1) & (c.s_arm < 0.4) & (c.arm > 0.9)
    moved = np.linalg.norm(loose - tight, axis=1)
    above, below = moved[sleeve & (out[:, 2] > 0.65)], moved[sleeve & (out[:, 2] < -0.65)]
    assert len(above) > 20 and len(below) > 20
    assert np.median(above) < 0.003 and np.median(below) > 0.035
    assert moved[sleeve].mean() == pytest.approx(0.02, abs=0.006)


def test_sleeves_that_are_folded_over_the_front_have_true_flow(studio, monkeypatch) -> None:
    monkeypatch.setattr(shop_render, "_FOLDED", 1.0)
    cut = Cut("upper", sleeve=0.5)
    garment = dataclasses.replace(wardrobe.random_upper(np.random.default_rng(0)), cut=cut)
    monkeypatch.setattr(wardrobe, "random_upper", lambda rng: garment)
    monkeypatch.setattr(shop_render, "_worn", shop_render._flat)
    scene = scene_from(make_scene(studio, SEED, 2, kind="upper", outfits=2, legs="standing"))
    modes = {one["shop_mode"] for one in scene.meta["garments"] if one["category"] == "upper"}
    assert modes == {"folded"}
    for k, flow in enumerate(scene.worn_flow):
        garment_index = scene.worn_garment[k]
        if scene.meta["garments"][garment_index]["category"] != "upper":
            continue
        valid = scene.worn_valid[k] > 0
        # What the sleeves cover is not to be seen in the picture, and is not valid.
        share = valid.sum() / flow.any(-1).sum()
        assert 0.2 < share < 0.95
        places = (flow[valid] * [NET_WIDTH, NET_HEIGHT]).astype(int)
        alpha = scene.garment_shop_alpha[garment_index]
        inside = alpha[places[:, 1].clip(0, 255), places[:, 0].clip(0, 191)] > 100
        assert inside.mean() > 0.97
