"""Stages' times: they add up, nothing is left changed, the command tells them."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path

import pytest

from training.data import speed
from training.data.shards import Scene
from training.data.speed import PAIR, REST, SCENE, Clock, watched


class Steps:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_stage_within_another_counts_once() -> None:
    steps = Steps()
    clock = Clock(steps)
    with clock.stage(REST):
        steps.time += 1
        with clock.stage("shop"):
            steps.time += 2
            with clock.stage("draw"), clock.stage("draw"):
                steps.time += 4
            steps.time += 8
        with clock.stage("draw"):
            steps.time += 16
    assert clock.seconds == {REST: 1, "shop": 10, "shop: draw": 4, "draw": 16}


def raw(path: str) -> object:
    place, _, name = path.rpartition(".")
    return vars(pkgutil.resolve_name(place))[name]


@pytest.mark.parametrize("stages", [SCENE, PAIR])
def test_all_that_is_timed_is_there_and_is_put_back(stages: speed.Stages) -> None:
    paths = [path for own in stages.values() for path in own]
    assert len(paths) == len(set(paths))
    before = [raw(path) for path in paths]
    with pytest.raises(KeyError, match="stopped"), watched(Clock(), stages):
        assert not any(raw(path) is own for path, own in zip(paths, before, strict=True))
        raise KeyError("stopped")
    assert all(raw(path) is own for path, own in zip(paths, before, strict=True))


def test_command_tells_the_stages_of_a_scene_and_two_pairs(tmp_path: Path, capsys) -> None:
    out = tmp_path / "speed.json"
    assert speed.main(["--scenes", "1", "--pairs", "2", "--json", str(out)]) == 0
    made = json.loads(out.read_text())
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines()) <= 100
    for one, stages in (
        ("scene", ("in-shop pictures: draping", "drawing, read back", "truths", REST)),
        ("pair", ("reading scenes", "camera", "joints and depth", REST)),
    ):
        assert set(stages) <= set(made[one]) and all(stage in said for stage in stages)
        assert all(took > 0 for took in made[one].values())
        known = {REST, *SCENE, *PAIR}
        assert all(set(stage.split(": ")) <= known for stage in made[one])
        # What no stage has is little: else a stage is missing.
        assert made[one][REST] < 0.5 * sum(made[one].values())
    rates = made["pairs a second"]
    assert 0 < rates["both"] < min(rates["rendering"], rates["composing"])
    alone = made["pairs a scene"] / sum(made["scene"].values())
    assert made["pairs a scene"] >= 4 and rates["rendering"] == pytest.approx(alone)
    assert f"{rates['both']:.2f}" in said


def test_scenes_can_be_drawn_at_512x384_with_their_pairs_at_that_size(capsys) -> None:
    assert speed.main(["--scenes", "1", "--pairs", "1", "--scale", "2"]) == 0
    said = capsys.readouterr().out
    assert "pairs at their size" in said and "drawing, read back" in said
    assert "  writing  " not in said, "larger scenes are not kept"


def test_what_is_wrong_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def never(*_: object) -> Scene:
        raise AssertionError("rendered")

    monkeypatch.setattr(speed, "_scenes", never)
    assert speed.main(["--scenes", "1", "--photos", str(tmp_path / "none")]) == 2
    assert "manifest.csv is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        speed.main(["--pairs", "0"])
    assert "a scene and a pair at least" in capsys.readouterr().err
