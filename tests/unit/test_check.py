"""Figures of rendered scenes: good on true scenes, bad where the truth is spoilt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data import check
from training.data.shards import Scene


def mean_chroma(scene: Scene) -> float:
    values = [check.chroma_difference(scene, k) for k in range(len(scene.worn_outfit))]
    return float(np.mean([v for v in values if v is not None]))


def test_chroma_agrees_by_the_true_flow_and_not_by_a_shifted_one(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert mean_chroma(scene) < 6
    patterned = max(scenes, key=lambda s: len({g["colour"] for g in s.meta["garments"]}))
    other = replace(patterned, garment_shop_albedo=patterned.garment_shop_albedo[::-1])
    assert mean_chroma(other) > 2 * mean_chroma(patterned)


def test_share_of_true_flow_falls_with_validity(scenes: list[Scene]) -> None:
    scene = scenes[0]
    shares = [check.valid_share(scene, k) for k in range(len(scene.worn_outfit))]
    assert all(s is None or 0.4 < s <= 1 for s in shares)
    none = replace(scene, worn_valid=np.zeros_like(scene.worn_valid))
    assert {check.valid_share(none, k) for k in range(len(scene.worn_outfit))} <= {0.0, None}


def test_depth_is_right_and_a_wrong_one_is_seen(scenes: list[Scene]) -> None:
    shares = [check.ordered_share(scene) for scene in scenes]
    assert any(shares) and all(share is None or share > 0.97 for share in shares)
    for scene, share in zip(scenes, shares, strict=True):
        if share is not None and scene.depth is not None:
            wrong = check.ordered_share(replace(scene, depth=scene.depth.max() - scene.depth))
            assert wrong is not None and wrong < 0.5


def test_command_prints_and_writes_the_figures(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "figures.json"
    assert check.main(["--pairs", str(folder), "--count", "2", "--json", str(out)]) == 0
    assert "pose score over 0.9" in capsys.readouterr().out and out.is_file()


def test_a_damaged_scene_is_named(folder: Path, tmp_path: Path, capsys) -> None:
    whole = next(folder.glob("*.npz")).read_bytes()
    (tmp_path / "scene-1-000000.npz").write_bytes(whole[: len(whole) // 2])
    assert check.main(["--pairs", str(tmp_path)]) == 2
    assert "scene-1-000000.npz is no scene" in capsys.readouterr().err


def test_what_cannot_be_counted_is_left_out(scenes: list[Scene]) -> None:
    class Nobody:
        def features(self, images: object) -> dict[str, object]:
            import torch

            return {"pose_score": torch.zeros(3, 1)}

    none = replace(scenes[0], worn_valid=np.zeros_like(scenes[0].worn_valid))
    none = replace(none, garment_shop_worn=np.ones_like(none.garment_shop_worn), depth=None)
    made = check.figures([none], Nobody())  # type: ignore[arg-type]
    assert list(made) == ["worn garments", "pose score over 0.9, share of pictures"]


def test_an_empty_folder_names_the_command(tmp_path: Path, capsys) -> None:
    assert check.main(["--pairs", str(tmp_path)]) == 2
    assert "make pairs" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["valid flow", "chroma", "pose score", "depth"])
def test_figures_are_named(scenes: list[Scene], wanted: str) -> None:
    class Sure:
        def features(self, images: object) -> dict[str, object]:
            import torch

            return {"pose_score": torch.full((3, 1), 0.95)}

    made = check.figures(scenes[:1], Sure())  # type: ignore[arg-type]
    assert any(name.startswith(wanted) for name in made)
    assert made["pose score over 0.9, share of pictures"] == 1.0
