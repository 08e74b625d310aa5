"""There and back: a person's own top comes back nearer to the photo than the other one was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from training import cycle, figures
from tryon.assets import asset_path


def test_the_own_top_comes_back(tmp_path: Path, capsys) -> None:
    person = asset_path("openpeople") / "P010/assets/studio_posture.jpg"
    garment = asset_path("openvto") / "clothes/shirts/2_front.jpg"
    numbers, sheet = tmp_path / "cycle.json", tmp_path / "cycle.png"
    asked = ["--people", str(person), "--garments", str(garment), "--json", str(numbers),
             "--out", str(sheet)]  # fmt: skip
    assert cycle.main(asked) == 0
    found = json.loads(numbers.read_text())
    assert found["pairs"] == 1
    assert found["back_psnr_db"] > found["there_psnr_db"] + 1
    assert found["back_feature_distance"] < found["there_feature_distance"]
    assert Image.open(sheet).size == (3 * 225, 300)
    assert "back_ssim" in capsys.readouterr().out


def test_nobody_in_the_photo_is_told(tmp_path: Path, capsys) -> None:
    wall = tmp_path / "wall.png"
    Image.fromarray(np.full((300, 300, 3), 128, np.uint8)).save(wall)
    garment = asset_path("openvto") / "clothes/shirts/2_front.jpg"
    assert cycle.main(["--people", str(wall), "--garments", str(garment)]) == 2
    said = capsys.readouterr().err
    assert "wall.png in 2_front.jpg: [NO_PERSON" in said and "every pair was refused" in said


def test_means_are_of_the_rows_that_have_a_figure(tmp_path: Path) -> None:
    assert figures.means([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0, "b": 2.0}
    out = tmp_path / "new" / "out.json"
    figures.write_json(out, {"a": 2.0})
    assert json.loads(out.read_text()) == {"a": 2.0}
    assert [f.name for f in out.parent.iterdir()] == ["out.json"]
    figures.write_json(None, {"a": 2.0})
