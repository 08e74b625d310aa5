"""`training.relief`: real bare arms drawn out straight."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.photographs import Photograph
from training.relief import ARMS, main, relief, straight
from tryon.contract import PARSE
from tryon.models.limbs import COLUMNS, ROWS


def arm(name: str, bare_from: int = 190) -> Photograph:
    """A bent arm, 40 pixels wide, beside the joints' line, its outer half twice as light."""
    shoulder, elbow, wrist, outer = ARMS[name]
    out = 1 if outer > 0 else -1
    points = {shoulder: (300, 100), elbow: (300 + 30 * out, 260), wrist: (300 + 30 * out, 420)}
    joints = np.zeros((33, 3), np.float32)
    for index, place in points.items():
        joints[index, :2] = place
    # Two bands beside each other along the limbs, 5 pixels outside of the joints.
    bands = []
    for aside in (-10, 10):
        band = np.zeros((560, 600), np.uint8)
        line = np.array([(x + (5 + aside) * out, y) for x, y in points.values()], np.int32)
        cv2.polylines(band, [line], False, 255, 21)
        bands.append(band > 0)
    pixels = np.full((560, 600, 3), 30, np.uint8)
    pixels[bands[0]], pixels[bands[1]] = (80, 60, 40), (160, 120, 80)
    classes = np.zeros((560, 600), np.uint8)
    classes[bands[0] | bands[1]] = PARSE.index(name)
    classes[:bare_from] = PARSE.index("upper")
    return Photograph("P001", pixels, classes, joints, 0.5)


@pytest.mark.parametrize("name", list(ARMS))
def test_an_arm_is_drawn_out_straight(name: str) -> None:
    found = straight(arm(name), name)
    assert found.shape == (ROWS, COLUMNS, 3)
    assert found[50:88].mean() == pytest.approx(1, abs=0.05)
    inner, outer = found[40:88, 2:9], found[40:88, 15:22]
    assert outer.mean() / inner.mean() == pytest.approx(2, abs=0.2)
    # Its own colour is divided out: a tint of skin is no relief.
    tint = found[40:88].mean((0, 1))
    assert np.allclose(tint, tint.mean(), atol=0.02)
    assert np.allclose(found[:30], found[0]), "what the sleeve covers goes on as below it"


def test_an_arm_that_is_covered_says_so() -> None:
    with pytest.raises(ValueError, match="P001: arm_left is not bare from the elbow on"):
        straight(arm("arm_left", bare_from=400), "arm_left")
    with pytest.raises(ValueError, match="P001: arm_right is not bare"):
        straight(arm("arm_left"), "arm_right")


def test_relief_is_broad_of_all_and_fine_of_one() -> None:
    rng = np.random.default_rng(5)
    flat = np.ones((ROWS, COLUMNS, 3), np.float32)
    rough = flat + rng.normal(0, 0.1, flat.shape).astype(np.float32)
    lit = flat * np.linspace(0.8, 1.2, COLUMNS, dtype=np.float32)[None, :, None]
    smooth = relief({"flat": flat, "lit": lit}, "flat")
    assert smooth.shape == (ROWS, COLUMNS) and smooth.mean() == pytest.approx(1, abs=1e-5)
    assert smooth[48, 20] / smooth[48, 3] == pytest.approx(1.2**0.7, abs=0.05)
    fine = relief({"flat": flat, "rough": rough}, "rough")
    # Luma's weights of three channels' noise, softened; a mean of both would have half of it.
    assert 0.038 < fine.std() < 0.053


def test_bad_arguments_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "tryon.safetensors is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main(["--detail", "P009", "--out", str(tmp_path / "out")])
    assert "P009" in capsys.readouterr().err
