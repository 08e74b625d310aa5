"""What is seen at landmarks, taught by their layout alone: the command, and what it changes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from training import layout
from training.data.compose import Options
from training.data.shards import is_test, scene_path
from training.dataset import Pairs
from tryon.contract import LANDMARKS
from tryon.models import system
from tryon.models.generator import Generator
from tryon.models.geometry import TurnedLandmarks


def test_layouts_are_the_pairs_own(folder: Path) -> None:
    pairs = Pairs(sorted(folder.glob("*.npz")), None, Options(text=0.0), 3)
    layouts = layout.gather(pairs, 5, 0)
    assert [len(part) for part in layouts] == [5, 5, 5]
    for number in range(5):
        pair = pairs[number]
        assert torch.equal(layouts.here[number], torch.from_numpy(pair["landmarks"]))
        assert torch.equal(layouts.there[number], torch.from_numpy(pair["shop_landmarks"]))
    known = layouts.seen[..., 2] > 0
    assert (
        known.any() and not known[(layouts.there[..., 2] == 0) | (layouts.here[..., 2] == 0)].any()
    )
    assert layouts.seen[..., :2][known].abs().max() < 0.2, "within a part of the garment"


def test_layers_learn_and_the_features_part_is_forgotten() -> None:
    torch.manual_seed(0)
    turned, count = TurnedLandmarks(4), len(LANDMARKS)
    torch.nn.init.uniform_(turned.offset.weight)
    narrow = torch.rand(256, 1) * 0.5 + 0.5
    places = torch.rand(1, count, 2).expand(256, -1, -1)
    ones = torch.ones(256, count, 1)
    here = torch.cat([places * torch.stack([narrow, narrow**0], 2) * 0.4, ones], 2)
    seen = torch.cat([(0.05 * (1 - narrow))[:, :, None].expand(-1, count, 2), ones], 2)
    layouts = layout.Layouts(here, torch.cat([places, ones], 2), seen)
    before = layout.error(turned, layouts)
    layout.teach(turned, layouts, 150, 0)
    left, were = layout.error(turned, layouts)
    assert before[0] == pytest.approx(were) and left < 0.5 * were
    assert not any(parameter.any() for parameter in turned.offset.parameters())


def test_the_command_changes_these_layers_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes, made = tmp_path / "scenes", sorted(folder.glob("*.npz"))
    scenes.mkdir()
    arguments = ["--pairs", str(scenes), "--out", str(tmp_path / "out"), "--count", "12",
                 "--steps", "3", "--workers", "0"]  # fmt: skip
    assert layout.main(arguments) == 2
    assert "error: " in capsys.readouterr().err and not (tmp_path / "out").exists()
    for unseen in (True, False):
        name = next(n for i in range(999) if is_test(n := scene_path(scenes, 3, i)) == unseen)
        name.symlink_to(made[int(unseen)])
    assert layout.main(arguments) == 0
    assert "left, of scenes that were not taught" in capsys.readouterr().out
    old, new = (system.trained_state(system.load_models(w)) for w in (None, tmp_path / "out"))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(name.startswith("generator.turned.") for name in changed)
    assert system.metadata(tmp_path / "out")["layout_seed"] == "0"
    generator = cast(Generator, system.load_models(tmp_path / "out")["generator"])
    assert not generator.turned.offset.weight.any()
