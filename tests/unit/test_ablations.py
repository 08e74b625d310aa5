"""The generator's choices and their alternatives: each learns, and is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from training import ablations, parallel, train
from training.ablations import CHOICES, LEVELS, Taught
from training.data.compose import Options
from training.dataset import Pairs
from training.step import Vocabulary, Weights
from tryon.models import system
from tryon.models.blocks import up2


@pytest.fixture(scope="module")
def batch(folder: Path) -> dict:
    pairs = Pairs(sorted(folder.glob("*.npz")), None, Options(text=0.0, strength=0.3), 1)
    return default_collate([pairs[n] for n in (0, 4)])


@pytest.mark.parametrize("choice", CHOICES)
def test_each_learns_a_batch_and_differs_where_it_says(choice: str, batch: dict) -> None:
    torch.manual_seed(0)
    nets, _ = train.networks(Vocabulary([]), system.WEIGHTS, parallel.CPU)
    frozen = {n: p.clone() for n, p in nets.image_encoder.named_parameters()}
    taught = Taught(choice, nets)
    optimiser = torch.optim.AdamW(train.groups(taught.modules), 3e-3)
    found = []
    for _ in range(8):
        loss = taught.loss(batch, Weights())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert min(found[-2:]) < 0.85 * found[0]
    assert all(torch.equal(p, frozen[n]) for n, p in nets.image_encoder.named_parameters())
    with torch.no_grad():
        _, out = taught.predict(batch, forced=0.0)
    same = [
        torch.equal(up2(out[a]), out[b]) for a, b in (("flow_8", "flow_4"), ("flow_4", "flow_2"))
    ]
    assert same == [choice == "coarse", choice in ("coarse", "middle")]
    moved = {n for m in taught.modules.values() for n, p in m.named_parameters()
             if p.grad is not None and p.grad.abs().sum() > 0}  # fmt: skip
    assert ("queries.weight" in moved) == (choice == "attention")
    assert ("part_logits.weight" in moved) == (choice != "attention")
    assert any(name.startswith("stem") for name in moved) == (choice == "trunk")


def test_the_command_tells_each_choices_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    all_of_it = sorted(folder.glob("*.npz"))
    monkeypatch.setattr(ablations, "scene_files", lambda pairs, split: all_of_it)
    out = tmp_path / "made" / "ablations.json"
    status = ablations.main(
        ["--pairs", str(folder), "--only", "middle", "--steps", "1", "--count", "16",
         "--workers", "0", "--json", str(out)]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert status == 0 and said.startswith("middle")
    figures = json.loads(out.read_text())["middle"]
    assert set(figures) == {*(f"{level} px" for level in LEVELS), "mask IoU", "parse loss"}
    assert 0 < figures["mask IoU"] < 1


def test_without_scenes_it_says_what_renders_some(tmp_path: Path, capsys) -> None:
    assert ablations.main(["--pairs", str(tmp_path)]) == 2
    assert "make pairs" in capsys.readouterr().err
