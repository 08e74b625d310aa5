"""Real data sets by their published layout, on folders of that layout made here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import evaluate_real
from training.data.real_sets import load
from tryon.assets import asset_path

RNG = np.random.default_rng(3)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), RNG.integers(0, 255, (64, 48, 3), dtype=np.uint8))


@pytest.fixture
def viton(tmp_path: Path) -> Path:
    for name in ("00001_00.jpg", "00002_00.jpg"):
        picture(tmp_path / "test" / "image" / name)
        picture(tmp_path / "test" / "cloth" / name)
    (tmp_path / "test_pairs.txt").write_text(
        "00001_00.jpg 00002_00.jpg\n00002_00.jpg 00001_00.jpg\n\n"
    )
    return tmp_path


@pytest.fixture
def dress_code(tmp_path: Path) -> Path:
    for folder, number in (("upper_body", 10), ("dresses", 20)):
        for n in (number, number + 1):
            for kind in (0, 1):
                picture(tmp_path / folder / "images" / f"{n:06d}_{kind}.jpg")
        a, b = f"{number:06d}", f"{number + 1:06d}"
        lists = {
            "test_pairs_paired.txt": f"{a}_0.jpg\t{a}_1.jpg\n{b}_0.jpg\t{b}_1.jpg\n",
            "test_pairs_unpaired.txt": f"{a}_0.jpg\t{b}_1.jpg\n",
            "train_pairs.txt": f"{a}_0.jpg\t{a}_1.jpg\n",
        }
        for name, text in lists.items():
            (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_viton_hd(viton: Path) -> None:
    unpaired = load("viton-hd", viton)
    assert [(p.person.name, p.garment.name, p.worn) for p in unpaired] == [
        ("00001_00.jpg", "00002_00.jpg", False), ("00002_00.jpg", "00001_00.jpg", False),
    ]  # fmt: skip
    paired = load("viton-hd", viton, order="paired")
    assert all(p.worn and p.person.name == p.garment.name for p in paired)
    assert paired[0].garment.parent.name == "cloth" and paired[0].category == "upper"


def test_dress_code(dress_code: Path) -> None:
    paired = load("dress-code", dress_code, order="paired")
    assert [p.category for p in paired] == ["upper", "upper", "dress", "dress"]
    assert all(p.worn and p.person.stem.endswith("_0") for p in paired)
    unpaired = load("dress-code", dress_code, order="unpaired")
    assert len(unpaired) == 2 and not any(p.worn for p in unpaired)
    assert len(load("dress-code", dress_code, "train", "paired")) == 2
    with pytest.raises(ValueError, match="is paired"):
        load("dress-code", dress_code, "train", "unpaired")


def test_a_shops_folder(tmp_path: Path) -> None:
    for name in ("people/a.jpg", "people/b.png", "garments/upper/s.webp", "garments/dress/d.jpg"):
        picture(tmp_path / name)
    (tmp_path / "people" / "notes.txt").write_text("not a picture")
    pairs = load("shop", tmp_path)
    assert len(pairs) == 4 and {p.category for p in pairs} == {"upper", "dress"}
    with pytest.raises(ValueError, match="use unpaired"):
        load("shop", tmp_path, order="paired")


def test_what_is_missing_is_named(viton: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train_pairs\.txt"):
        load("viton-hd", viton, "train")
    (viton / "test" / "cloth" / "00001_00.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"cloth/00001_00\.jpg"):
        load("viton-hd", viton)
    (viton / "test_pairs.txt").write_text("00001_00.jpg\n")
    with pytest.raises(ValueError, match="line 1"):
        load("viton-hd", viton)
    with pytest.raises(FileNotFoundError, match="upper_body"):
        load("dress-code", viton)
    with pytest.raises(FileNotFoundError, match="people"):
        load("shop", viton)


def test_frechet_distance() -> None:
    a = RNG.normal(0, 1, (4000, 4))
    assert evaluate_real.frechet(a, a) == pytest.approx(0, abs=1e-3)
    # Of equal covariances it is the squared distance of the means.
    assert evaluate_real.frechet(a, a + [2, 0, 0, 0]) == pytest.approx(4, abs=1e-3)
    # Of equal means, N(0, 1) and N(0, 9): (3 - 1)^2 in each dimension.
    assert evaluate_real.frechet(a, 3 * a) == pytest.approx(16, rel=0.05)


def test_figures_of_a_folder(tmp_path: Path, capsys) -> None:
    """A real person in their own garment, and noise in which nobody is found."""
    photo = cv2.imread(str(asset_path("openpeople") / "P002" / "assets" / "studio_posture.jpg"))
    garment = cv2.imread(str(asset_path("openvto") / "clothes" / "shirts" / "3_front.jpg"))
    for name, image in (("image/a.jpg", photo), ("cloth/a.jpg", garment)):
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), cv2.resize(image, None, fx=0.3, fy=0.3))
    picture(tmp_path / "test" / "image" / "b.jpg")
    picture(tmp_path / "test" / "cloth" / "b.jpg")
    (tmp_path / "test_pairs.txt").write_text("a.jpg b.jpg\nb.jpg a.jpg\n")
    out = tmp_path / "real.json"
    arguments = ["--layout", "viton-hd", "--root", str(tmp_path), "--order", "paired"]
    assert evaluate_real.main([*arguments, "--json", str(out)]) == 0
    table = json.loads(out.read_text())
    assert table["pairs"] == 1 and table["refused"] == 1
    assert 0.02 < table["changed_share"] < 0.6 and 0.5 < table["ssim_picture"] < 1
    assert table["psnr_changed_db"] > 8 and "frechet" not in table
    assert "refused" in capsys.readouterr().out
    assert evaluate_real.main(["--layout", "shop", "--root", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
