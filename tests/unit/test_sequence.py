"""Walking people: the true motion agrees with the pictures; steadiness tells flicker from rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training import steadiness
from training.data import sequence
from training.data.sequence import SIDE, Sequence, load_sequence, sequence_path
from training.data.shards import save_scene

FRAMES = 3


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.data.studio import Studio

    path = sequence_path(tmp_path_factory.mktemp("sequences"), 0, 1)
    save_scene(path, sequence.make_sequence(Studio(), 0, 1, FRAMES))
    return path


@pytest.fixture(scope="module")
def walked(walk: Path) -> Sequence:
    return load_sequence(walk)


def test_shapes_and_what_changes(walked: Sequence) -> None:
    assert walked.before.shape == walked.after.shape == (FRAMES, SIDE, SIDE, 3)
    assert walked.motion.shape == (FRAMES, SIDE, SIDE, 2) and walked.valid.shape[0] == FRAMES
    assert not walked.valid[0].any() and (walked.valid[1:].mean((1, 2)) > 0.03).all()
    changed = np.abs(walked.before.astype(int) - walked.after).max(-1) > 20
    assert 0.02 < changed.mean() < 0.6
    moved = np.abs(walked.before[1].astype(int) - walked.before[0]).max(-1) > 20
    assert 0.002 < moved.mean() < 0.3  # somebody walks before a wall that stays


def test_the_motion_brings_the_garment_along(walked: Sequence) -> None:
    for t in range(1, FRAMES):
        seen = walked.valid[t] > 0
        now, before = walked.after[t].astype(float), walked.after[t - 1]
        along = steadiness.brought_along(before, walked.motion[t])
        still = np.abs(now[seen] - before[seen]).mean()
        assert np.abs(now[seen] - along[seen]).mean() < 0.7 * still


def test_a_steady_answer_flickers_less_than_one_that_changes(walked: Sequence) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(walked.after.astype(int) + rng.normal(0, 12, (FRAMES, 1, 1, 1)), 0, 255)
    steady = steadiness.flicker(walked.after, walked)
    assert steady < 6 < steadiness.flicker(noisy.astype(np.uint8), walked)


def test_masks_that_come_and_go_are_flips(walked: Sequence) -> None:
    all_on = np.full((FRAMES, SIDE, SIDE), 255, np.uint8)
    assert steadiness.flips(all_on, walked) == 0
    all_on[1] = 0
    assert steadiness.flips(all_on, walked) == 1


def test_a_folder_is_measured(walk: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "figures.json"
    assert steadiness.main([str(walk.parent), "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "flicker_levels" in said and "mask_flips" in out.read_text()
    figures = json.loads(out.read_text())
    names = ("flicker_levels", "mask_flips", "off_levels")
    assert {f"{how}{name}" for how in ("", "live_", "follow_") for name in names} < set(figures)


def test_what_lags_behind_is_off(walked: Sequence) -> None:
    assert steadiness.off(walked.after, walked) == 0
    late = np.concatenate([walked.after[:1], walked.after[:-1]])
    assert 0 < steadiness.off(late, walked) < steadiness.off(walked.before, walked)


def test_what_is_missing_or_no_sequence_is_told(tmp_path: Path, capsys) -> None:
    assert steadiness.main([str(tmp_path)]) == 2
    assert "training.data.sequence" in capsys.readouterr().err
    (tmp_path / "sequence-0-0000.npz").write_bytes(b"no zip")
    assert steadiness.main([str(tmp_path)]) == 2
    assert "sequence-0-0000.npz is no sequence" in capsys.readouterr().err
