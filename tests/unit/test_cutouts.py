"""Real garments cut out and laid onto rendered ones keep exact truth."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data import cutouts, laid
from training.data.compose import Options, compose
from training.data.outfits import Garment, garment_of, outfit_of, pairs_of
from training.data.shards import Scene
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH


def blob(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((NET_HEIGHT, NET_WIDTH), np.float32)
    mask[y0:y1, x0:x1] = 1
    return mask


def test_whole_garments_are_kept_and_others_named() -> None:
    assert cutouts.problem(blob(40, 40, 150, 220)) == ""
    assert cutouts.problem(blob(40, 40, 60, 60)) == "size"
    assert cutouts.problem(np.full((NET_HEIGHT, NET_WIDTH), 0.5, np.float32)) == "unsure"
    torn = blob(40, 40, 150, 120) + blob(40, 140, 150, 220)
    assert cutouts.problem(torn) == "in pieces"
    assert cutouts.problem(blob(0, 40, 150, 220)) == "cut by the frame"


def test_beyond_the_garment_its_own_colour_goes_on() -> None:
    photo = np.zeros((NET_HEIGHT, NET_WIDTH, 3), np.uint8)
    photo[:, :96], photo[:, 96:] = (200, 0, 0), (0, 0, 200)
    mask = (blob(50, 50, 140, 200) * 255).astype(np.uint8)
    out = cutouts.filled(photo, mask)
    assert (out[:, :90] == (200, 0, 0)).all() and (out[:, 100:] == (0, 0, 200)).all()


def flat_garments(scenes: list[Scene]) -> list[Garment]:
    found = [garment_of(s, i) for s in scenes for i in range(len(s.meta["garments"]))]
    return [g for g in found if g.flat and g.category == "upper"]


def as_cutout(garment: Garment, matrix: np.ndarray) -> laid.Cutout:
    """A rendered garment's own picture, moved, in the place of a real one's."""
    size = (NET_WIDTH, NET_HEIGHT)
    alpha = cv2.warpAffine(garment.shop_alpha, matrix, size)
    photo = cv2.warpAffine(garment.shop_albedo, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    pixels = garment.shop_landmarks[:, :2] * [NET_WIDTH, NET_HEIGHT]
    moved = (pixels @ matrix[:, :2].T + matrix[:, 2]) / [NET_WIDTH, NET_HEIGHT]
    marks = np.concatenate([moved, garment.shop_landmarks[:, 2:]], 1).astype(np.float32)
    return laid.Cutout(photo, cutouts.filled(photo, alpha), alpha, marks)


def test_a_garment_is_laid_where_its_like_is(scenes: list[Scene]) -> None:
    garment = flat_garments(scenes)[0]
    matrix = np.array([[0.9, 0.05, 8.0], [-0.05, 0.9, 12.0]])
    grid = laid.lay(as_cutout(garment, matrix), garment.shop_alpha, garment.shop_landmarks)
    assert grid is not None
    inside = cv2.resize(garment.shop_alpha, (48, 64), interpolation=cv2.INTER_AREA) > 200
    y, x = np.nonzero(inside)
    own = np.stack([(x + 0.5) / 48 * NET_WIDTH, (y + 0.5) / 64 * NET_HEIGHT], 1)
    wanted = own @ matrix[:, :2].T + matrix[:, 2]
    off = np.linalg.norm(grid[inside] * [NET_WIDTH, NET_HEIGHT] - wanted, axis=1)
    assert np.median(off) < 2 and off.max() < 10


def test_a_mask_is_laid_as_its_garment_is(scenes: list[Scene]) -> None:
    garment = flat_garments(scenes)[0]
    matrix = np.array([[1.2, 0.05, -8.0], [-0.05, 1.2, -12.0]])
    y, x = (np.mgrid[:64, :48] + 0.5) * 4
    there = np.stack([x, y], 2) @ matrix[:, :2].T + matrix[:, 2]
    grid = (there / [NET_WIDTH, NET_HEIGHT]).astype(np.float32)
    brought = laid.mask_of(grid, garment.shop_alpha)
    wanted = cv2.warpAffine(garment.shop_alpha, matrix, (NET_WIDTH, NET_HEIGHT)) > 127
    assert set(np.unique(brought)) == {0, 255}
    both, either = (brought > 0) & wanted, (brought > 0) | wanted
    assert both.sum() > 0.93 * either.sum()
    assert not laid.mask_of(grid, np.zeros_like(garment.shop_alpha)).any()


def test_another_shape_is_refused(scenes: list[Scene]) -> None:
    garment = flat_garments(scenes)[0]
    cutout = as_cutout(garment, np.eye(2, 3))
    cutout.mask = cutout.mask.copy()
    cutout.mask[:, :90] = 0
    assert laid.lay(cutout, garment.shop_alpha, garment.shop_landmarks) is None
    cutout.landmarks = cutout.landmarks * 0
    assert laid.lay(cutout, garment.shop_alpha, garment.shop_landmarks) is None


@pytest.fixture
def folder_of_cutouts(scenes: list[Scene], tmp_path: Path) -> Path:
    """Every flat garment of the scenes in a strong colour gradient, as a folder of real ones."""
    rows, pixels, photos = [], [], []
    y, x = np.mgrid[0:NET_HEIGHT, 0:NET_WIDTH]
    gradient = np.stack([x, y, np.full_like(x, 90)], 2).clip(0, 255).astype(np.uint8)
    for scene in scenes:
        for index in range(len(scene.meta["garments"])):
            garment = garment_of(scene, index)
            kind = laid.kind_of(garment.attributes)
            if not garment.flat or kind not in laid.LABELS:  # no real one is laid on a turtleneck
                continue
            cutout = as_cutout(garment, np.eye(2, 3))
            label = laid.LABELS[kind][0]
            rows.append({"file": "x", "category": garment.category, "label": label, "test": False,
                         "landmarks": cutout.landmarks.tolist()})  # fmt: skip
            pixels.append(np.dstack([gradient, cutout.mask]))
            photos.append(gradient)
    np.save(tmp_path / "pixels.npy", np.stack(pixels))
    np.save(tmp_path / "photos.npy", np.stack(photos))
    index_text = json.dumps({"landmarks": LANDMARKS, "cutouts": rows})
    (tmp_path / cutouts.INDEX).write_text(index_text)
    return tmp_path


def test_the_flow_leads_into_the_photo(scenes: list[Scene], folder_of_cutouts: Path) -> None:
    """The photo is a gradient of its own coordinates, so the picture after tells the true flow."""
    store = laid.Cutouts(folder_of_cutouts)
    turtleneck = {"category": "upper", "sleeve": "long", "neck": "high"}
    assert store.draw(np.random.default_rng(0), laid.kind_of(turtleneck)) is None
    options, alike = Options(strength=1.0, text=0.0), []
    for scene in scenes:
        for number, (before, after, category) in enumerate(pairs_of(scene)):
            if not garment_of(scene, outfit_of(scene, after)[category]).flat:
                continue
            for seed in range(4):
                rng = np.random.default_rng([seed, number])
                pair = compose(scene, before, after, category, rng, None, options, store)
                valid = pair["valid"] > 0
                across = np.broadcast_to(np.arange(NET_WIDTH), (NET_HEIGHT, NET_WIDTH))
                red = pair["shop"][..., 0].astype(float)
                if abs(np.corrcoef(red.ravel(), across.ravel())[0, 1]) < 0.9 or valid.sum() < 800:
                    continue  # not laid
                marks = pair["shop_landmarks"]
                assert marks[:, 2].sum() >= laid.LEAST_MARKS, "E^I would learn that it has none"
                x, y = (marks[marks[:, 2] > 0, :2] * [NET_WIDTH, NET_HEIGHT]).astype(int).T
                near = cv2.dilate(pair["shop_mask"], np.ones((15, 15), np.uint8))
                x, y = x.clip(0, NET_WIDTH - 1), y.clip(0, NET_HEIGHT - 1)
                assert (near[y, x] > 127).mean() > 0.8
                x, y = pair["flow"] * np.array([NET_WIDTH, NET_HEIGHT])[:, None, None] - 0.5
                photo = cv2.remap(pair["shop"], x.astype(np.float32), y.astype(np.float32),
                                  cv2.INTER_LINEAR)  # fmt: skip
                own = pair["after"][:, 32 : 32 + NET_WIDTH].astype(np.float32)
                for channel in (0, 1):  # as a share of blue: light and folds fall out of it
                    one, two = (p[..., channel] / (p[..., 2] + 8.0) for p in (photo, own))
                    alike.append(np.corrcoef(one[valid], two[valid])[0, 1])
                mask = cv2.remap(pair["shop_mask"], x.astype(np.float32), y.astype(np.float32),
                                 cv2.INTER_LINEAR)  # fmt: skip
                assert (mask[valid] > 127).mean() > 0.9
    # Noise, dark light and clipping spoil a few.
    assert len(alike) >= 6 and np.median(alike) > 0.85, alike


def test_cutouts_that_nothing_can_be_laid_by_are_refused(folder_of_cutouts: Path) -> None:
    """Those of weights that see no landmarks would be passed over, pair by pair, in silence."""
    path = folder_of_cutouts / cutouts.INDEX
    index = json.loads(path.read_text())
    for row in index["cutouts"]:
        row["landmarks"] = [[x, y, 0.4] for x, y, _ in row["landmarks"]]
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"0 of .* cutouts have the 6 landmarks"):
        laid.Cutouts(folder_of_cutouts)


def test_a_full_disk_is_named_and_leaves_the_cutouts_before_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "images").mkdir(parents=True)
    picture = np.full((60, 45, 3), 200, np.uint8)
    cv2.imwrite(str(photos / "images" / "a.png"), picture)
    (photos / "manifest.csv").write_text(
        "file,category,label,sender\n" + "a.png,upper,shirt,me\n" * 3
    )
    monkeypatch.setattr(cutouts, "problem", lambda mask: None)
    arguments = ["--photos", str(photos), "--out", str(out)]
    assert cutouts.main(arguments) == 0
    assert capsys.readouterr().out == "kept: 3\n"
    made = {f.name: f.read_bytes() for f in out.iterdir()}
    assert set(made) == {"pixels.npy", "photos.npy", "cutouts.json"}
    assert np.load(out / "pixels.npy").shape == (3, NET_HEIGHT, NET_WIDTH, 4)
    assert np.load(out / "photos.npy").shape == (3, NET_HEIGHT, NET_WIDTH, 3)

    def full(self: object, row: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cutouts._Growing, "add", full)
    assert cutouts.main(arguments) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and "No space left on device" in said and str(out) in said
    assert {f.name: f.read_bytes() for f in out.iterdir()} == made


def test_a_missing_folder_names_the_command(tmp_path: Path, capsys) -> None:
    with pytest.raises(FileNotFoundError, match=r"training\.data\.cutouts"):
        laid.Cutouts(tmp_path)
    assert cutouts.main(["--photos", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "manifest.csv" in capsys.readouterr().err
    (tmp_path / "manifest.csv").write_text("file,category,sender\na.jpg,upper,me\n")
    assert cutouts.main(["--photos", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no column 'label'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
