"""Collars outlined by hand, and the mask that learns them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import necklines as stage
from training import parallel, train
from training.captions import COLOURS, Vocabulary
from training.data import necklines
from training.data.compose import Options
from training.data.necklines import Necklines
from training.data.real_photos import held_out
from training.dataset import Pairs
from training.step import Weights, run
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models import system


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A data set of three: two senders' photos of the outlined ones, and one that is not."""
    outlines = json.loads(necklines.FILE.read_text())
    names = list(outlines)[:2]
    senders = [
        next(s for s in map(str, range(99)) if held_out(s) == test) for test in (False, True)
    ]
    (tmp_path / "images").mkdir()
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "category", "label", "sender"])
        for name, sender in zip([*names, "other.jpg"], [*senders, "0"], strict=True):
            table.writerow([name, "upper", "shirt", sender])
            picture = np.random.default_rng(0).integers(0, 256, (512, 384, 3), np.uint8)
            if name in outlines:  # light cloth
                x, y, side = outlines[name]["box"]
                face = np.array(outlines[name]["face"] + [[1, 1], [0, 1]]) * side + [x, y]
                cv2.fillPoly(picture, [(2 * face).astype(np.int32)], [240, 240, 240])
            cv2.imwrite(str(tmp_path / "images" / name), picture)
    return tmp_path


def test_every_outline_goes_round_a_collar() -> None:
    outlines = json.loads(necklines.FILE.read_text())
    assert len(outlines) >= 54
    for name, outline in outlines.items():
        x, y, side = outline["box"]
        face = np.array(outline["face"])
        assert face.min() >= 0 and face.max() <= 1, name
        assert face[0, 0] == 0 and face[-1, 0] == 1, f"{name} does not go from side to side"
        assert 0 <= x < NET_WIDTH and -side / 2 < y < NET_HEIGHT and 30 < side <= 120, name
        # The collar rises above the shoulders at the sides.
        assert face[1:-1, 1].min() < min(face[0, 1], face[-1, 1]), name


def test_a_photo_is_of_one_split_and_known_within_its_box(photos: Path) -> None:
    splits = [Necklines(photos, split) for split in ("train", "test")]
    assert [len(s.necklines) for s in splits] == [1, 1]
    outlines = list(json.loads(necklines.FILE.read_text()).values())
    for split, outline in zip(splits, outlines, strict=False):
        (one,) = split.necklines
        x, y, side = outline["box"]
        assert one.photo.shape == (NET_HEIGHT, NET_WIDTH, 3)
        rows, cols = np.nonzero(one.known)
        assert rows.min() >= y and rows.max() < y + side
        assert cols.min() >= x and cols.max() < x + side
        share = one.face[one.known > 0].mean()
        assert 0.2 < share < 0.9  # garment below, what is behind it above


def test_the_same_numbers_draw_the_same_and_mask_and_photo_move_together(photos: Path) -> None:
    store = Necklines(photos)
    one, two = (store.batch([3, 7], 4) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = store.batch([3, 8], 4)
    assert not torch.equal(one["neckline_photos"], other["neckline_photos"])
    # A photo that is its own outline says whether both were moved alike.
    (neckline,) = store.necklines
    shown = np.repeat((neckline.face * 255).astype(np.uint8)[..., None], 3, 2)
    store.necklines = [necklines.Neckline(shown, neckline.face, neckline.known)]
    drawn = store.batch([3, 7], 4)
    bright = drawn["neckline_photos"].float().mean(3)
    for seen, face, known in zip(
        bright, drawn["neckline_faces"], drawn["neckline_known"], strict=True
    ):
        split = (seen[known > 0].max() + seen[known > 0].min()) / 2
        alike = ((seen > split) == (face > 0.5))[known > 0].float().mean()
        assert alike > 0.95


def test_a_mask_is_corrected_within_the_box_alone(photos: Path) -> None:
    (neckline,) = Necklines(photos).necklines
    wrong = 1 - neckline.face
    right = neckline.corrected(wrong)
    deep = cv2.erode(neckline.face, np.ones((5, 5))) * neckline.known
    beyond = cv2.erode(1 - neckline.face, np.ones((5, 5))) * neckline.known
    assert deep.sum() > 50 and (right[deep > 0.99] == 1).all()
    assert beyond.sum() > 50 and (right[beyond > 0.99] == 0).all()
    assert np.array_equal(right[neckline.known == 0], wrong[neckline.known == 0])


def test_the_mask_alone_is_taught_and_learns_the_collars(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--pairs", str(folder), "--photos", str(photos), "--out", str(tmp_path / "out"),
                 "--steps", "12", "--workers", "0"]  # fmt: skip
    assert stage.main(arguments) == 0
    assert "IoU" in capsys.readouterr().out
    before, after = (
        system.trained_state(system.load_models(which)) for which in (None, tmp_path / "out")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(
        name.startswith(("image_encoder.merge_2.", "image_encoder.mask.")) for name in changed
    )


def test_a_step_of_the_joint_training_hears_the_outlines(folder: Path, photos: Path) -> None:
    torch.manual_seed(0)
    nets, models = train.networks(Vocabulary.of([*COLOURS]), None, parallel.CPU)
    pairs = Pairs(sorted(folder.glob("*.npz")), None, Options(text=0.0, strength=0.3), 1)
    batch = torch.utils.data.default_collate([pairs[n] for n in (0, 4)])
    batch |= Necklines(photos).batch([0, 0], 2)
    encoder = models["image_encoder"]
    nothing = {f.name: 0.0 for f in dataclasses.fields(Weights)}
    alone = Weights(**{**nothing, "alpha": 1.0, "necklines": 0.5})
    optimiser = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], 2e-3)
    history = []
    for _ in range(15):
        result = run(nets, batch, alone, "places", perceptual=False)
        optimiser.zero_grad()
        result.total.backward()
        optimiser.step()
        history.append(result.terms["necklines"])
    assert history[-1] < 0.9 * history[0]
    with torch.no_grad():
        wrong = {**batch, "neckline_faces": 1 - batch["neckline_faces"]}
        mistaken = run(nets, wrong, alone, "places", perceptual=False)
    weighed = [
        run(nets, batch, Weights(necklines=w), "places", perceptual=False) for w in (0.0, 0.5)
    ]
    shares = [float(r.total.detach()) for r in weighed]
    term = weighed[1].terms["necklines"]
    assert weighed[0].terms["necklines"] == 0
    assert abs(shares[1] - shares[0] - Weights().alpha * term) < 1e-3 * shares[0]
    assert mistaken.terms["necklines"] > history[-1]


def test_joint_training_takes_outlines_with_their_photos_alone(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--pairs", str(folder), "--out", str(tmp_path / "run"), "--steps", "1",
                 "--batch", "2", "--workers", "0", "--necklines"]  # fmt: skip
    assert train.main(arguments) == 2
    assert "--photos" in capsys.readouterr().err and not (tmp_path / "run").exists()
    heard = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "run", lambda nets, batch, *rest: heard.append(batch) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.main([*arguments, "--photos", str(photos)])
    assert len(heard[0]["neckline_photos"]) == 1
    with pytest.raises(SystemExit, match="2"):
        stage.main([*arguments[:4], "--photos", str(photos), "--steps", "0"])


def test_another_folder_of_photos_is_refused(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in json.loads(necklines.FILE.read_text()):
        (photos / "images" / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=r"none of the photos .* docs/third_party\.md"):
        Necklines(photos)
    arguments = ["--pairs", str(folder), "--photos", str(photos), "--out", str(tmp_path / "out")]
    assert stage.main(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    (photos / "manifest.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.csv is missing"):
        Necklines(photos)
