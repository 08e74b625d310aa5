"""Figures at the photo's own size tell a right picture from a wrong one, and a broken promise."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import evaluate_large
from training.data.large import make_pair
from training.evaluate_large import as_batch, figures, gradient_similarity, spline
from tryon.contract import LANDMARKS
from tryon.errors import NoPerson
from tryon.pipeline import TryOn, TryOnPipeline


@pytest.fixture(scope="module")
def pair() -> dict[str, np.ndarray]:
    """Half as large, for its time; the garment has a print."""
    from training.data.studio import Studio

    return make_pair(Studio(), 7, 3, scale=2)


def lettering(shift: int = 0) -> np.ndarray:
    picture = np.full((256, 256, 3), 40, np.uint8)
    cv2.putText(picture, "CLUB", (20 + shift, 150), cv2.FONT_HERSHEY_SIMPLEX, 2.5, (220,) * 3, 9)
    return picture


def test_gradients_tell_sharp_lettering_from_blurred_and_from_shifted() -> None:
    text = as_batch(lettering())
    around = torch.from_numpy(cv2.dilate(lettering()[..., 0], np.ones((9, 9)))) > 100

    def alike(picture: np.ndarray) -> float:
        return float(gradient_similarity(text, as_batch(picture))[0][around].mean())

    assert alike(lettering()) == pytest.approx(1, abs=1e-5)
    # Less light changes them little; what can't be read changes them much.
    assert alike((lettering() * 0.9).astype(np.uint8)) > 0.97
    assert alike(cv2.GaussianBlur(lettering(), (0, 0), 4)) < 0.9
    assert alike(lettering(6)) < 0.8
    assert alike(np.full_like(lettering(), 40)) < 0.8


def test_figures_are_best_for_the_truth_and_look_where_the_picture_changes(pair) -> None:
    best, worst = figures(pair["after"], pair), figures(pair["before"], pair)
    assert set(best) == {
        "psnr_changed_db", "ssim_changed", "ssim_garment", "gradients_garment", "gradients_print",
    }  # fmt: skip
    assert all(best[name] > worst[name] for name in best)
    assert best["psnr_changed_db"] == pytest.approx(60) and best["ssim_changed"] > 0.999
    blurred = figures(cv2.GaussianBlur(pair["after"], (0, 0), 5), pair)
    assert blurred["gradients_print"] < best["gradients_print"] - 0.05
    elsewhere = pair["after"].copy()
    change = cv2.dilate(pair["drawn"] | pair["old"], np.ones((25, 25), np.uint8)) > 0
    elsewhere[~change] = 0
    assert figures(elsewhere, pair) == pytest.approx(best, abs=1e-3)
    plain = {**pair, "print": np.zeros_like(pair["print"])}
    assert "gradients_print" not in figures(pair["after"], plain)


def test_the_spline_is_laid_at_the_photos_own_size() -> None:
    """A window in the photo's corner, garment landmarks that lie straight above the person's."""
    rng = np.random.default_rng(0)
    photo = np.full((400, 300, 3), 30, np.uint8)
    canvas = np.full((1, 4, 128, 96), 255, np.uint8)
    canvas[0, :3] = cv2.resize(rng.integers(0, 255, (8, 6, 3), np.uint8), (96, 128)).transpose(
        2, 0, 1
    )
    marks = np.zeros((1, len(LANDMARKS), 3), np.float32)
    marks[0, :, :2], marks[0, :, 2] = rng.uniform(0.1, 0.9, (len(LANDMARKS), 2)), 1
    mask = np.zeros((1, 1, 256, 192), np.float16)
    mask[..., 64:192, 48:144] = 1
    # The window is the left upper part of a view of 480x360 pixels.
    placement = np.array([[0.0, 0.0, 300 / 360, 400 / 480]], np.float32)
    answer = TryOn(photo, photo[..., 0], 1.0, {
        "photo": photo[None], "window": photo[None], "box": np.array([[0, 0, 300, 400]]),
        "canvas": canvas, "placement": placement, "garment_landmarks": marks, "garment_mask": mask,
    })  # fmt: skip
    pasted = spline(answer, torch.from_numpy(marks[..., :2]))
    # The canvas lies over the whole view, of which the photo shows a part.
    whole = cv2.resize(canvas[0, :3].transpose(1, 2, 0), (360, 480))[:400, :300]
    inside = (slice(130, 350), slice(100, 260))
    assert np.abs(pasted[inside].astype(int) - whole[inside]).mean() < 3
    assert (pasted[:100] == 30).all() and (pasted[:, :80] == 30).all()


def run(monkeypatch, pipeline, pair, *arguments: str, pairs: int = 1) -> int:
    monkeypatch.setattr(evaluate_large, "TryOnPipeline", lambda weights: pipeline)
    monkeypatch.setattr(evaluate_large, "pairs_of_set", lambda *_: iter([pair] * pairs))
    return evaluate_large.main(list(arguments))


def test_the_committed_weights_beat_doing_nothing_and_keep_every_byte_outside(
    pair, monkeypatch, tmp_path: Path, capsys
) -> None:
    out, sheet = tmp_path / "large.json", tmp_path / "large.png"
    pipeline = TryOnPipeline()
    assert run(monkeypatch, pipeline, pair, "--json", str(out), "--out", str(sheet)) == 0
    table = json.loads(out.read_text())
    assert set(table) == {"ours", "spline", "unchanged"}
    assert table["ours"]["psnr_changed_db"] > table["unchanged"]["psnr_changed_db"]
    assert table["ours"]["bytes_changed_outside_mask"] == 0 and table["ours"]["pairs"] == 1
    assert cv2.imread(str(sheet)).shape == (512, 5 * 384, 3)
    assert "gradients_print" in capsys.readouterr().out
    assert "predict" not in vars(pipeline.models["generator"]), "it listens only while it looks"


class Faulty:
    """The real pipeline, which then touches one byte outside its mask, or refuses."""

    def __init__(self, refuses: bool = False) -> None:
        self.real, self.refuses = TryOnPipeline(), refuses
        self.models = self.real.models

    def __call__(self, *arguments: object) -> TryOn:
        if self.refuses:
            raise NoPerson("person: no person was found")
        answer = self.real(*arguments)  # type: ignore[arg-type]
        y, x = np.argwhere(answer.mask == 0)[0]
        answer.picture[y, x, 1] ^= 1
        return answer


def test_a_changed_byte_outside_the_mask_fails_the_run(pair, monkeypatch, capsys) -> None:
    assert run(monkeypatch, Faulty(), pair) == 1
    assert "bytes outside the mask have changed" in capsys.readouterr().err


def test_refusals_are_told_and_none_left_is_an_error(pair, monkeypatch, capsys) -> None:
    assert run(monkeypatch, Faulty(refuses=True), pair) == 2
    said = capsys.readouterr().err
    assert "no person was found" in said and "every photo was refused" in said


def test_too_few_prints_are_told(monkeypatch) -> None:
    monkeypatch.setattr(evaluate_large, "Studio", lambda: None)
    nothing = {"print": np.zeros((4, 4), np.uint8)}
    monkeypatch.setattr(evaluate_large, "make_pair", lambda *_: nothing)
    with pytest.raises(ValueError, match="--count: only 0 of 2"):
        list(evaluate_large.pairs_of_set(7, 2, True))
    assert len(list(evaluate_large.pairs_of_set(7, 2, False))) == 2
