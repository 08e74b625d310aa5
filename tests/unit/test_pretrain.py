"""Pretraining: views and words of a garment find each other; runs go on as if never stopped."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import losses, parallel, pretrain
from training.captions import Vocabulary
from training.garment_views import LABELS, GarmentViews, view_of
from training.train import networks
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH
from tryon.models import system


@pytest.fixture
def split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The few scenes there are stand for both splits."""
    files = sorted(folder.glob("*.npz"))
    monkeypatch.setattr("training.garment_views.scene_files", lambda *given: files)


def test_views_of_a_garment_are_alike_and_never_the_same() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((300, 200, 3), (200, 30, 30), np.uint8)
    one, other = (view_of(picture, rng) for _ in range(2))
    assert one.shape == other.shape == (NET_HEIGHT, NET_WIDTH, 3) and one.dtype == np.uint8
    assert not np.array_equal(one, other)
    for view in (one, other):
        red, green, blue = np.median(view.reshape(-1, 3), 0)
        assert red > 100 > 60 > max(green, blue), "its colour stays, since the words name it"


def test_garments_come_with_their_words_rendered_and_real(
    folder: Path, split: None, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full((64, 48, 3), 90, np.uint8))
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["file", "category", "label", "sender"], ["a.png", "upper", "longsleeve", "1"]]
        )
    garments = GarmentViews(folder, tmp_path, 3)
    rows = [garments[i] for i in range(12)]
    captions = [row["caption"] for row in rows]
    assert LABELS["longsleeve"] in captions and len(set(captions)) > 2
    for row in rows:
        assert row["one"].shape == row["other"].shape == (NET_HEIGHT, NET_WIDTH, 3)
        assert 0 <= row["category"] < len(CATEGORIES) and row["caption"]
    again = GarmentViews(folder, tmp_path, 3)[5]
    assert np.array_equal(again["one"], rows[5]["one"]) and again["caption"] == captions[5]


def test_a_sentence_that_garments_share_is_right_for_each() -> None:
    a = torch.eye(3, 8)
    b = a[[1, 0, 2]]  # the first two found each other's
    own, shared = torch.eye(3), pretrain.alike(["a shirt", "a shirt", "a dress"])
    assert shared.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert losses.matching_loss(a, b, shared) < 0.6 * losses.matching_loss(a, b, own)
    assert losses.matching_loss(a, a, own) < 1e-3
    every = losses.contrastive_loss(a, b, torch.ones(3))
    assert torch.allclose(every, losses.matching_loss(a, b, own))


@pytest.mark.filterwarnings("ignore")
def test_one_batch_is_learned(folder: Path, split: None) -> None:
    torch.manual_seed(0)
    nets, _ = networks(Vocabulary([]), None, parallel.CPU)
    garments = GarmentViews(folder, None, 1)
    batch = torch.utils.data.default_collate([garments[i] for i in range(6)])
    optimiser = torch.optim.AdamW(pretrain.learned(nets), 2e-3)
    trunk = [p.clone() for p in nets.image_encoder.trunk.parameters()]
    history = []
    for _ in range(12):
        terms = pretrain.pretraining_loss(nets, batch)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    for name in ("views", "words"):
        assert history[-1][name] < 0.7 * history[0][name], f"{name}: {history}"
    with torch.no_grad():
        wrong = {**batch, "caption": batch["caption"][1:] + batch["caption"][:1]}
        assert pretrain.pretraining_loss(nets, wrong)["words"] > 1.5 * history[-1]["words"]
    assert all(map(torch.equal, trunk, nets.image_encoder.trunk.parameters()))


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    folder: Path, split: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(pretrain, "SEEN", 4)
    monkeypatch.setattr(pretrain, "rate_at", lambda step, total, rate: rate)

    def run(name: str, steps: int) -> None:
        arguments = ["--pairs", str(folder), "--out", str(tmp_path / name), "--steps", str(steps),
                     "--batch", "4", "--workers", "0", "--seed", "5"]  # fmt: skip
        assert pretrain.main(arguments) == 0

    run("whole", 3)
    said = capsys.readouterr().out
    assert "found by the other view, before" in said and "found by its words" in said
    run("parts", 2)
    start = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)["models"]
    run("parts", 3)
    whole, parts = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["models"]
        for name in ("whole", "parts")
    )
    # Sentences are encoded in other batches, which rounds differently; nothing else may differ.
    apart, moved = (
        sum(float((value.double() - other[name].double()).abs().sum())
            for name, value in whole.items())
        for other in (parts, start)
    )  # fmt: skip
    assert moved > 0 and apart < 0.01 * moved, (apart, moved)
    assert system.metadata(tmp_path / "parts")["pretrained_steps"] == "3"
    assert system.load_models(tmp_path / "parts")


def test_no_scenes_are_named_in_a_line(tmp_path: Path, capsys) -> None:
    assert pretrain.main(["--pairs", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "make pairs" in said and said.count("\n") == 1
