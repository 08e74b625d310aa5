"""Photographed people in rendered garments: the fitted body, and every truth against the photo."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data import photo_scene, photographs, wardrobe
from training.data.body_fit import BEND_STEP, sample_bend
from training.data.check import chroma_difference, valid_share
from training.data.compose import Options, compose
from training.data.laid import LABELS, kind_of
from training.data.outfits import beneath_of, drawn_of, outfit_of, pairs_of
from training.data.photo_scene import Subject, Subjects, make_photo_scene
from training.data.render import render
from training.data.renderer import Light, View, perspective
from training.data.shards import Scene, is_test_name, save_scene, scene_from, scene_path
from training.data.studio import Studio
from training.data.styling import Styling
from training.data.surroundings import sky
from training.data.wardrobe import random_upper as _random_upper
from tryon.contract import OLD_GARMENTS, PARSE, POSE_SIZE

PERSON = "P001/assets/studio_posture.jpg"
SKIN = [PARSE.index(n) for n in ("face_neck", "arm_left", "arm_right", "leg_left", "leg_right")]
CLOTH = [PARSE.index(n) for n in ("upper", "lower")]


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio()


@pytest.fixture(scope="module")
def subjects(studio: Studio) -> Subjects:
    return Subjects(studio)


@pytest.fixture(scope="module")
def subject(subjects: Subjects) -> Subject:
    return subjects[PERSON]


@pytest.fixture(scope="module")
def scenes(studio: Studio, subjects: Subjects) -> dict[str, Scene]:
    """A scene of each kind, of one person (so that one body is fitted)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_scene, "people", lambda split: [PERSON])
        return {
            kind: scene_from(make_photo_scene(studio, subjects, 6, i, kind, outfits=4))
            for i, kind in enumerate(("upper", "lower", "dress"))
        }


def test_people_of_the_test_split_are_shown_by_no_other_scene() -> None:
    train, test = photographs.people("train"), photographs.people("test")
    assert len(train) == 8 and len(test) == 2 and not set(train) & set(test)
    assert sorted(train + test) == sorted(photographs.PHOTOS)


def test_a_scene_of_the_test_split_asks_for_its_people(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Stop(Exception):
        pass

    def people(split: str) -> list[str]:
        asked.append(split)
        raise Stop

    monkeypatch.setattr(photo_scene, "people", people)
    numbers = [i for i in range(60) if is_test_name(3, i)][:1] + [0]
    assert is_test_name(3, numbers[0]) and not is_test_name(3, 0)
    for number in numbers:
        with pytest.raises(Stop):
            make_photo_scene(studio, {}, 3, number)  # type: ignore[arg-type]
    assert asked == ["test", "train"]


def test_the_photo_is_parsed_as_what_it_shows() -> None:
    photo = photographs._look(PERSON)  # not one that was kept
    joints = photo.joints[:, :2].round().astype(int)

    def at(*names: int) -> str:
        x, y = joints[list(names)].mean(0).astype(int)
        return PARSE[photo.classes[y, x]]

    assert at(0) == "face_neck" and at(11, 12, 23, 24) == "upper"
    assert at(15) == "arm_left" and at(16) == "arm_right"
    assert at(25) == "leg_left" and at(26) == "leg_right"  # the left one is on the right
    assert not photo.classes[:, :20].any() and not photo.classes[:20].any()
    shares = np.bincount(photo.classes.ravel(), minlength=len(PARSE)) / (photo.classes > 0).sum()
    assert shares[PARSE.index("upper")] > 0.25 and 0.03 < shares[PARSE.index("lower")] < 0.2


def test_the_body_lies_in_the_photo_where_the_person_does(subject: Subject, studio: Studio) -> None:
    assert subject.fitted.error < 3  # hundredths of the torso
    square = photo_scene._square(subject.photo, "dress")
    view = subject.fitted.view(photo_scene.perspective(subject.fitted.on_plane(square)))
    _, classes = photo_scene._seen(subject.photo, square)
    bare = photo_scene._bare(studio, subject.wearer, view, subject.light).layers
    body, person = bare.parse > 0, (classes > 0) & (classes != PARSE.index("hair"))
    # Clothes stand off the body, so the person is larger.
    assert (body & person).sum() / body.sum() > 0.95
    skin = np.isin(classes, SKIN)
    assert (body & skin).sum() / skin.sum() > 0.95
    same = bare.parse[body & skin] == classes[body & skin]
    assert same.mean() > 0.9


def test_bending_is_looked_up_between_its_steps() -> None:
    rows, cols = np.mgrid[0:5, 0:7].astype(np.float32)
    bend = np.stack([2 * cols, -rows], -1)
    points = np.array([[1.5 * BEND_STEP, 2.25 * BEND_STEP], [0.0, 0.0]])
    np.testing.assert_allclose(sample_bend(bend, points), [[3.0, -2.25], [0, 0]], atol=1e-6)


@pytest.mark.parametrize("kind", ["upper", "lower", "dress"])
def test_what_the_new_garment_leaves_free_is_the_photo(scenes: dict[str, Scene], kind: str) -> None:
    scene = scenes[kind]
    own = scene.parse[0]
    first = scene.picture(0, 0).astype(int)
    for outfit in range(1, len(scene.albedo)):
        same = (scene.parse[outfit] == own) & ~np.isin(own, CLOTH) & (own > 0)
        rim = cv2.dilate(np.isin(own, CLOTH).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        same &= ~rim
        assert same.sum() > 1500  # face, hair, arms or legs
        change = (scene.picture(outfit, 0).astype(int) - first).mean(-1)
        assert change[same].max() <= 1  # a garment may keep light off, it adds none
        limbs = np.isin(own, SKIN[1:])
        assert np.abs(change[same & ~limbs]).max(initial=0) <= 1
        assert change[same & limbs].mean() > -12
        hair = own == PARSE.index("hair")
        assert (scene.parse[outfit][hair] == own[hair]).all()


@pytest.mark.parametrize("kind", ["upper", "lower", "dress"])
def test_nothing_of_the_old_garment_is_left(scenes: dict[str, Scene], kind: str) -> None:
    scene = scenes[kind]
    old = [PARSE.index(n) for n in OLD_GARMENTS[kind] if n != "dress"]
    taken_off = np.isin(scene.parse[0], old)
    for outfit in range(1, len(scene.albedo)):
        worn = outfit_of(scene, outfit)
        classes = {PARSE.index(n) for n in worn}
        left = scene.parse[outfit][taken_off & (scene.alpha[outfit] > 128)]
        assert set(np.unique(left)) <= classes | set(SKIN)


def test_the_true_flow_brings_the_new_garments_over(scenes: dict[str, Scene]) -> None:
    differences, shares = [], []
    for scene in scenes.values():
        for k, garment in enumerate(scene.worn_garment):
            if scene.meta["garments"][garment]["shop_mode"] == "photographed":
                assert not scene.worn_valid[k].any()
                continue
            difference, share = chroma_difference(scene, k), valid_share(scene, k)
            differences += [] if difference is None else [difference]
            if share is not None and not scene.garment_shop_worn[garment]:
                shares.append(share)
    assert len(differences) >= 6 and np.mean(differences) < 2
    assert len(shares) >= 3 and np.mean(shares) > 0.8


def test_what_is_photographed_is_taken_off_and_never_put_on(scenes: dict[str, Scene]) -> None:
    for kind, scene in scenes.items():
        pairs = pairs_of(scene)
        garments = scene.meta["garments"]
        assert any(before == 0 for before, _, _ in pairs)
        for _, after, category in pairs:
            new = garments[outfit_of(scene, after)[category]]
            assert new["shop_mode"] != "photographed"
        # A dress takes all off; on the way back a top and trousers do not come together.
        assert {c for *_, c in pairs} == {kind}


def test_a_person_has_one_light_and_one_tone(subject: Subject) -> None:
    light = subject.light
    assert np.linalg.norm(light.direction) == pytest.approx(1)
    assert light.direction[2] < 0 and light.direction[1] < 0  # from before and above
    assert 0.2 < light.around[3, 3] / 0.72 < 1.5 and 0 <= light.key < 1.5
    red, green, blue = subject.skin[0]
    assert red > green > blue


def test_joints_lie_on_the_person(scenes: dict[str, Scene]) -> None:
    for scene in scenes.values():
        x, y = scene.joints.round().astype(int).T
        inside = (x >= 0) & (x < POSE_SIZE) & (y >= 0) & (y < POSE_SIZE)
        elbows_and_knees = [i for i in (13, 14, 25, 26) if inside[i]]
        assert elbows_and_knees
        assert all(scene.parse[0][y[i], x[i]] > 0 for i in elbows_and_knees)


def test_arms_turn_in_the_photo_and_in_the_body_alike(
    studio: Studio, subjects: Subjects, subject: Subject
) -> None:
    turns = {"left": (35.0, 0.0), "right": (10.0, 60.0)}
    turned = subjects.turned(subject, turns)
    photo, was = turned.photo, subject.photo
    for side, elbow, wrist in (("left", 13, 15), ("right", 14, 16)):
        before = was.joints[[elbow, wrist], :2]
        after = photo.joints[[elbow, wrist], :2]
        lengths = [np.linalg.norm(p[1] - p[0]) for p in (before, after)]
        assert lengths[1] == pytest.approx(lengths[0], rel=0.02)
        angle = np.degrees(np.diff([np.arctan2(*(p[1] - p[0])) for p in (before, after)]))[
            0
        ]  # towards the picture's right is positive
        out, fold = turns[side]
        assert angle == pytest.approx((out - fold) * (1 if side == "left" else -1), abs=3)
        middle = after.mean(0).round().astype(int)
        assert PARSE[photo.classes[middle[1], middle[0]]] == f"arm_{side}"
        marks = turned.fitted.in_photo(studio.joints(turned.wearer))[[elbow, wrist]]
        assert np.abs(marks - after).max() < 40  # of 1376: 3 hundredths of the height
    head = was.classes == PARSE.index("hair")
    assert (photo.classes[head] == was.classes[head]).all()
    assert (photo.pixels[head] == was.pixels[head]).mean() > 0.99


def test_a_hand_over_the_trunk_stays_before_the_garment(
    studio: Studio, subjects: Subjects, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_scene, "people", lambda split: [PERSON])
    monkeypatch.setattr(photo_scene, "_TURNED", 1.0)
    fixed = {"left": (0.0, 35.0), "right": (30.0, 0.0)}
    monkeypatch.setattr(photo_scene, "random_turns", lambda rng: fixed)
    scene = scene_from(make_photo_scene(studio, subjects, 3, 5, "dress", outfits=4))
    assert scene.meta["arms"] == "turned"
    x, y = scene.joints[19].round().astype(int)  # the left index finger
    box = np.s_[y - 8 : y + 5, x - 6 : x + 7]
    arm = (scene.parse[0] == PARSE.index("arm_left")).astype(np.uint8)
    inner = cv2.erode(arm, np.ones((3, 3), np.uint8))[box] > 0
    assert inner.sum() >= 25
    for outfit in range(1, len(scene.albedo)):
        assert (scene.parse[outfit][box][inner] == PARSE.index("arm_left")).mean() > 0.95


def test_a_crew_neck_is_not_laid_where_a_turtleneck_is() -> None:
    plain = {"category": "upper", "sleeve": "long", "neck": "crew"}
    assert kind_of(plain) in LABELS
    assert kind_of(plain | {"neck": "collar"}) in LABELS
    assert kind_of(plain | {"neck": "high"}) not in LABELS


def test_a_garment_keeps_light_off_the_arms_below_it(studio: Studio) -> None:
    size = POSE_SIZE
    view = View(np.eye(3), np.zeros(3), perspective(np.array([-1.0, -1, 1, 1])))
    studio.renderer.begin(size, size, view, Light(np.array([0, -0.7, -0.7]), sky(0.5), 0.6, 0.3))
    base = photo_scene._Base.__new__(photo_scene._Base)
    base._renderer, base._depth = studio.renderer, np.full((size, size), 3.0, np.float32)
    sleeve = np.zeros((size, size), np.float32)
    sleeve[80:120, 60:120] = 2.95
    arm = np.full((size, size), PARSE.index("arm_left"), np.uint8)
    nothing, all_of_it = np.zeros_like(arm, bool), np.ones_like(arm, bool)
    gain = base._shadow(sleeve, arm, nothing)
    assert gain[122:126, 70:110].max() < 0.97 and gain[122:126, 70:110].min() >= 0.5
    assert (gain[170:] == 1).all() and (gain[:60] == 1).all()
    hair = np.full((size, size), PARSE.index("hair"), np.uint8)
    assert (base._shadow(sleeve, hair, nothing) == 1).all()
    top = np.full((size, size), PARSE.index("upper"), np.uint8)
    assert np.array_equal(base._shadow(sleeve, top, all_of_it), gain)  # beneath an open front


def test_the_light_is_found_again_on_cloth_with_a_body_below() -> None:
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    depth = np.sqrt(np.clip(1 - 0.8 * x**2 - 0.2 * y**2, 0.05, 1))
    normals = np.stack([0.9 * x, 0.4 * y, -depth], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    turn, rise = np.radians(30), np.radians(40)
    way = np.array([np.sin(turn) * np.cos(rise), -np.sin(rise), -np.cos(turn) * np.cos(rise)])
    key = np.clip((normals @ way + 0.25) / 1.25, 0, 1)
    shade = 0.5 * (0.72 - 0.28 * normals[..., 1]) + 0.55 * key
    pixels = np.rint(np.clip(shade * 0.92, 0, 1) * 255).astype(np.uint8)[..., None].repeat(3, 2)
    light = photo_scene._light(pixels, np.ones(shade.shape, bool), normals.astype(np.float32))
    assert light.direction @ way > 0.97
    assert light.around[3, 3] / 0.72 == pytest.approx(0.5, abs=0.1)
    assert light.key == pytest.approx(0.55, abs=0.12)


def test_a_folder_holds_one_kind_of_people_under_a_number(tmp_path: Path) -> None:
    meta = json.dumps({"person": "P001", "renderer": 4})
    save_scene(scene_path(tmp_path, 3, 1), {"meta": np.array(meta)})
    with pytest.raises(ValueError, match="photographed person: give another --seed"):
        render(tmp_path, 0, 2, 3, 1)


def test_a_damaged_photograph_is_looked_at_again(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def look(path: str) -> photographs.Photograph:
        looked.append(path)
        return subject.photo

    monkeypatch.setattr(photographs, "_look", look)
    monkeypatch.setattr(photographs, "cache_dir", lambda: tmp_path)
    kept = photographs.kept_at("P001")
    kept.write_bytes(b"PK\x03\x04 half")
    for _ in range(2):
        found = photographs.photograph(PERSON)
        np.testing.assert_array_equal(found.classes, subject.photo.classes)
    assert looked == [PERSON]  # once: then it is kept
    assert list(tmp_path.iterdir()) == [kept]


def test_an_open_jacket_comes_over_the_photographed_top(studio: Studio, subjects: Subjects) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_scene, "people", lambda split: [PERSON])
        patch.setattr(
            photo_scene, "stylings_of", lambda rng, kind, plan, made: [Styling(gap=0.1)] * len(plan)
        )
        patch.setattr(photo_scene.wardrobe, "random_upper", _jacket)
        scene = scene_from(make_photo_scene(studio, subjects, 3, 0, "upper", outfits=2))
    own = outfit_of(scene, 0)["upper"]
    assert beneath_of(scene, 1) == own and pairs_of(scene) == [(0, 1, "upper")]
    jacket, under = drawn_of(scene, 1, "upper")
    assert under.sum() > 300 and jacket.sum() > 2000 and not (jacket & under).any()
    shown = under.astype(bool)
    assert (scene.parse[0][shown] == PARSE.index("upper")).all()
    # Beneath, the photo is as it was, whatever colour or cloth it is given; a shadow apart.
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pair = compose(scene, 0, 1, "upper", rng, None, Options(strength=0.5, text=0.0))
        deep = cv2.erode(np.ascontiguousarray(pair["under"]), np.ones((5, 5), np.uint8)) > 0
        before, after = (pair[n][:, 32:224].astype(float) for n in ("before", "after"))
        ratio = (after[deep] + 8) / (before[deep] + 8)
        assert 0.75 < np.median(ratio) < 1.02
        assert np.abs(ratio - ratio.mean(1, keepdims=True)).mean() < 0.03
    # It lies between two parts of the jacket.
    rows = np.nonzero(shown.sum(1) > 3)[0]
    between = [
        jacket[r, : np.nonzero(shown[r])[0].min()].any()
        and jacket[r, np.nonzero(shown[r])[0].max() :].any()
        for r in rows
    ]
    assert np.mean(between) > 0.6


def _jacket(rng: np.random.Generator) -> wardrobe.Garment:
    """A top that is open in front: the first of the random ones with long sleeves and a collar."""
    while True:
        garment = _random_upper(rng)
        if garment.cut.fastened and garment.cut.sleeve > 0.45 and garment.cut.hem < 0.2:
            return garment
