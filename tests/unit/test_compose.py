"""Joints and depth of a pair: where the body is, and what is in front of what."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from torch.utils.data import default_collate

from training.data.check import _COVERED, _THIN, SKIN
from training.data.compose import MARGIN, Options, compose
from training.data.outfits import pairs_of
from training.data.shards import CATEGORY_NAMES, Scene
from tryon.contract import NET_HEIGHT, NET_WIDTH, PARSE, POSE_SIZE
from tryon.preprocess import LEFT_SHOULDER, LEFT_WRIST, RIGHT_SHOULDER, RIGHT_WRIST

SIZE = np.array([NET_WIDTH, NET_HEIGHT])
VIEW = slice(MARGIN, MARGIN + NET_WIDTH)
NEW = ("joints", "depth_before", "depth_after")


class Grey:
    """Photos that show nothing."""

    def fabric(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        return np.full((height, width, 3), 128, np.uint8)

    background = edge = fabric


def pair_of(scene: Scene, seed: int, photos: Grey | None = None) -> tuple[dict, int, int]:
    before, after, category = pairs_of(scene)[seed % len(pairs_of(scene))]
    rng = np.random.default_rng(seed)
    pair = compose(scene, before, after, category, rng, photos, Options())  # type: ignore[arg-type]
    return pair, before, after


def mirrored(scene: Scene, pair: dict, before: int) -> bool:
    """Whether a pair without anything in front shows a scene mirrored."""
    person = scene.parse[before][:, VIEW] > 0
    return not np.array_equal(pair["parse_before"] > 0, person)


def test_joints_are_on_the_person(scenes: list[Scene]) -> None:
    on, ways = [], set()
    for scene in scenes:
        for seed in range(6):
            pair, before, _ = pair_of(scene, seed)
            ways.add(mirrored(scene, pair, before))
            joints = pair["joints"]
            assert joints.shape == (33, 3) and joints.dtype == np.float32
            inside = ((joints[:, :2] >= 0) & (joints[:, :2] < 1)).all(1)
            np.testing.assert_array_equal(joints[:, 2], inside)
            person = cv2.dilate((pair["parse_before"] > 0).astype(np.uint8), np.ones((9, 9)))
            x, y = (joints[inside, :2] * SIZE).astype(int).T
            on += list(person[y, x] > 0)
    assert ways == {False, True}
    assert np.mean(on) > 0.95 and len(on) > 200


def test_a_mirrored_person_has_the_left_joints_on_its_left(scenes: list[Scene]) -> None:
    ways = set()
    for scene in scenes:
        for seed in range(6):
            pair, before, _ = pair_of(scene, seed)
            joints = pair["joints"][:, :2] * SIZE + [MARGIN, 0]
            way = mirrored(scene, pair, before)
            ways.add(way)
            there = scene.joints.copy()
            if way:
                there[:, 0] = POSE_SIZE - there[:, 0]
                for here, other in ((LEFT_SHOULDER, RIGHT_SHOULDER), (LEFT_WRIST, RIGHT_WRIST)):
                    there[[here, other]] = there[[other, here]]
            for joint in (LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST, RIGHT_WRIST):
                np.testing.assert_allclose(joints[joint], there[joint], atol=1e-3)
            # Of what turns no more than 60 degrees the left is on the viewer's right.
            assert joints[LEFT_SHOULDER, 0] > joints[RIGHT_SHOULDER, 0]
            assert joints[1:4, 0].mean() > joints[4:7, 0].mean()  # and so are the eyes
    assert ways == {False, True}


def test_depth_has_the_garment_in_front_of_the_skin_it_covers(scenes: list[Scene]) -> None:
    skin = [PARSE.index(name) for name in SKIN]
    cloth = [PARSE.index(name) for name in CATEGORY_NAMES]
    right = total = 0
    for scene in scenes:
        for seed in range(6):
            pair, _, _ = pair_of(scene, seed)
            depths = {n: pair[f"depth_{n}"].astype(int) for n in ("before", "after")}
            for one, other in (("before", "after"), ("after", "before")):
                assert pair[f"depth_{one}"].dtype == np.uint16
                assert ((depths[one] > 0) == (pair[f"parse_{one}"] > 0)).all()
                both = np.isin(pair[f"parse_{one}"], skin) & np.isin(pair[f"parse_{other}"], cloth)
                total += int(both.sum())
                right += int((depths[other] <= depths[one] + _THIN)[both].sum())
    assert total > _COVERED and right / total > 0.97


def test_what_something_else_is_in_front_of_has_no_depth(scenes: list[Scene]) -> None:
    found = 0
    for seed in range(40):
        pair, before, after = pair_of(scenes[0], seed, Grey())
        plain, _, _ = pair_of(scenes[0], seed)
        for name, outfit in (("before", before), ("after", after)):
            depth = pair[f"depth_{name}"]
            whole = scenes[0].depth[outfit]  # type: ignore[index]
            ways = [whole[:, VIEW], whole[:, ::-1][:, VIEW]]
            way = min(ways, key=lambda w: int((w != depth).sum()))
            hidden = depth != way
            assert not depth[hidden].any()
            assert (pair[f"parse_{name}"][hidden] == PARSE.index("other")).all()
            found += bool(hidden.any())
        assert plain["depth_before"].any()
    assert found


def test_scenes_without_depth_have_none_and_go_into_one_batch(scenes: list[Scene]) -> None:
    pairs = [pair_of(scene, 1)[0] for scene in (scenes[0], replace(scenes[0], depth=None))]
    assert not pairs[1]["depth_before"].any() and not pairs[1]["depth_after"].any()
    for name in set(pairs[0]) - set(NEW):  # and nothing else is another
        assert np.array_equal(pairs[0][name], pairs[1][name]), name
    batch = default_collate(pairs)
    for name in NEW:
        assert np.array_equal(batch[name][0].numpy(), pairs[0][name])
        assert batch[name].shape == (2, *pairs[0][name].shape)


@pytest.mark.parametrize("name", NEW)
def test_a_scene_is_not_changed_by_what_is_made_of_it(scenes: list[Scene], name: str) -> None:
    pair, _, _ = pair_of(scenes[0], 0)
    joints, depth = scenes[0].joints.copy(), scenes[0].depth.copy()  # type: ignore[union-attr]
    pair[name][:] = 0
    assert np.array_equal(joints, scenes[0].joints) and np.array_equal(depth, scenes[0].depth)
