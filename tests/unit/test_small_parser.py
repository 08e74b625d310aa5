"""The small parser learns a batch; a run tells each step of the data that it was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from training import small_parser
from training.data.compose import Options
from training.dataset import Pairs, scene_files
from tryon.contract import PARSE


def test_one_batch_is_learned(folder: Path) -> None:
    torch.manual_seed(0)
    pairs = Pairs(scene_files(folder, "train"), None, Options(0.0, text=0.0), 1)
    view = torch.stack([torch.from_numpy(pairs[k]["before"][:, 32:224]) for k in range(4)])
    truth = torch.stack([torch.from_numpy(pairs[k]["parse_before"]) for k in range(4)]).long()
    view = view.permute(0, 3, 1, 2)
    parser = small_parser.SmallParser().train()
    optimiser = torch.optim.AdamW(parser.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        logits = parser(view)
        assert logits.shape == (4, len(PARSE), 256, 192)
        losses.append(F.cross_entropy(logits, truth))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]
    assert F.cross_entropy(logits, truth.flip(2)) > losses[-1]


def test_a_mirrored_person_has_left_and_right_changed() -> None:
    view = torch.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4)
    parse = torch.zeros(2, 2, 4, dtype=torch.uint8)
    parse[:, 0, 0], parse[:, 1, 3] = PARSE.index("arm_left"), PARSE.index("upper")
    shown, classes = small_parser.mirrored_half(view, parse)
    assert torch.equal(shown[0], view[0]) and torch.equal(classes[0], parse[0])
    assert torch.equal(shown[1], view[1].flip(2))
    assert classes[1, 0, 3] == PARSE.index("arm_right") and classes[1, 0, 0] == 0
    assert classes[1, 1, 0] == PARSE.index("upper") and classes.dtype == torch.uint8


def test_each_step_that_can_be_had_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(small_parser, "BATCH", 2)
    out = tmp_path / "figures.json"
    asked = ["--pairs", str(folder), "--steps", "2", "--workers", "0", "--json", str(out)]
    assert small_parser.main(asked) == 0
    found = json.loads(out.read_text())
    assert list(found) == ["as rendered", "and light and camera"]
    for step in found.values():
        assert set(small_parser.MEANS) < set(step) and all(0 <= iou <= 1 for iou in step.values())
    assert "'and photographed people' is left out" in capsys.readouterr().err


def test_the_last_step_alone(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Of which this run, again, has no people."""
    asked = ["--pairs", str(folder), "--steps", "1", "--workers", "0", "--last"]
    assert small_parser.main(asked) == 0
    told = capsys.readouterr()
    assert "as rendered" not in told.out and "is left out" in told.err


def test_a_folder_without_scenes_names_the_command(tmp_path: Path, capsys) -> None:
    assert small_parser.main(["--pairs", str(tmp_path)]) == 2
    assert "make pairs" in capsys.readouterr().err
