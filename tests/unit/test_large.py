"""Pairs at 1024x768: the same seed's pictures of 256x192, larger; truths agree at that size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.data import large
from training.data.large import SCALE, indices, make_pair, print_of, reduced
from training.data.preview import warp
from training.data.shards import is_test_name
from tryon.contract import CATEGORIES, PARSE

SETS = [(7, 11), (7, 3)]
"""Seeds and indices: a top worn with a print, and a dress."""


@pytest.fixture(scope="module")
def studio():
    from training.data.studio import Studio

    return Studio()


@pytest.fixture(scope="module", params=SETS, ids=str)
def pairs(request, studio):
    """The same pair small and large."""
    return [make_pair(studio, *request.param, scale=scale) for scale in (1, SCALE)]


def shrunk(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (192, 256), interpolation=cv2.INTER_AREA)


def test_scaled_down_it_is_the_pair_of_256_pixels(pairs) -> None:
    small, big = pairs
    assert set(small) == set(big)
    for name in ("before", "after", "shop"):
        assert big[name].shape == (1024, 768, 3) and big[name].dtype == np.uint8
        apart = np.abs(small[name].astype(int) - shrunk(big[name]))
        # Edges are sampled at other places.
        assert apart.mean() < 1.5 and np.percentile(apart, 95) < 8, name
    for name in ("shop_alpha", "shop_mask"):
        assert np.abs(small[name].astype(int) - shrunk(big[name])).mean() < 1, name
    for name in ("parse_before", "parse_after", "drawn", "old", "under", "valid"):
        assert big[name].shape == (1024, 768)
        assert (big[name][2::4, 2::4] != small[name]).mean() < 0.01, name
    for name in ("depth_before", "depth_after"):
        seen = (small[name] > 0) & (big[name][2::4, 2::4] > 0)
        apart = np.abs(small[name].astype(int) - big[name][2::4, 2::4])[seen]
        assert np.median(apart) < 30, "3 mm"
    for name in ("landmarks", "shop_landmarks", "joints"):
        np.testing.assert_allclose(big[name], small[name], atol=1e-3)
    assert big["category"] == small["category"] and big["caption"] == small["caption"]


def test_reduced_it_is_of_the_networks_size(pairs) -> None:
    small, big = pairs
    made = reduced(big)
    assert {n: (a.shape, a.dtype) for n, a in made.items()} == {
        n: (a.shape, a.dtype) for n, a in small.items()
    }
    np.testing.assert_array_equal(made["after"], shrunk(big["after"]))
    name = CATEGORIES[int(big["category"])]
    assert np.isin(made["parse_after"][made["drawn"] > 0], PARSE.index(name)).mean() > 0.99
    both = (made["valid"] > 0) & (small["valid"] > 0)
    assert np.abs(made["flow"] - small["flow"])[both].max(-1).mean() < 0.005


def test_large_truths_agree_with_the_large_pictures(pairs) -> None:
    _, big = pairs
    name = CATEGORIES[int(big["category"])]
    drawn, under = big["drawn"] > 0, big["under"] > 0
    assert ((drawn | under) == (big["parse_after"] == PARSE.index(name))).all()
    # What neither loses nor gains a garment is the same before and after, but for shadows.
    kept = ~(drawn | under | (big["old"] > 0)) & (big["parse_before"] == 0)
    kept &= big["parse_after"] == 0
    apart = np.abs(big["before"].astype(int) - big["after"])[kept]
    assert kept.mean() > 0.1 and apart.mean() < 0.5
    valid = big["valid"] > 0
    assert not (valid & ~drawn).any() and valid.sum() > 0.5 * drawn.sum()
    covered = warp(np.repeat(big["shop_mask"][..., None], 3, 2), big["flow"])[..., 0]
    assert np.median(covered[valid]) > 250
    # To the pixel at this size: shifted by four of them, edges of the garment's drawing part.
    inner = cv2.erode(big["valid"], np.ones((9, 9), np.uint8)) > 0
    detail = [
        cv2.Laplacian(cv2.GaussianBlur(p.astype(np.float32).mean(-1), (0, 0), 2), cv2.CV_32F)
        for p in (big["after"], warp(big["shop"], big["flow"]))
    ]
    right = np.corrcoef(*(d[inner] for d in detail))[0, 1]
    wrong = np.corrcoef(detail[0][inner], np.roll(detail[1], 4, 1)[inner])[0, 1]
    assert right > 0.4 and right > wrong + 0.2, (right, wrong)


def test_a_print_is_found_and_seams_and_rims_are_not() -> None:
    albedo = np.full((1024, 768, 3), 40, np.uint8)
    garment = np.zeros((1024, 768), bool)
    garment[200:800, 200:600] = True
    albedo[200:800, 200:204] = 220  # a rim
    albedo[700:702, 210:590] = 5  # a seam
    albedo[210:400, 300:305] = 240  # a cord
    cv2.putText(albedo, "CLUB", (280, 500), cv2.FONT_HERSHEY_SIMPLEX, 3, (230, 200, 60), 14)
    text = (albedo != 40).any(-1)
    text[:, :210] = text[600:] = text[:402] = False
    found = print_of(albedo, garment) > 0
    assert (found & text).sum() > 0.95 * text.sum()
    assert not found[:, :230].any() and not found[600:].any() and not found[:380].any()
    assert not print_of(albedo, np.zeros_like(garment)).any()


def test_indices_are_of_their_split() -> None:
    test, train = indices(7, 3, "test"), indices(7, 3, "train")
    assert all(is_test_name(7, i) for i in test) and not any(is_test_name(7, i) for i in train)
    assert len(test) == len(train) == 3


def test_a_run_keeps_what_is_there_and_tells_a_full_disk(tmp_path, monkeypatch, capsys) -> None:
    made = []

    def pair(studio, seed: int, index: int, scale: int) -> dict[str, np.ndarray]:
        made.append(index)
        return {"before": np.zeros((2, 2), np.uint8)}

    monkeypatch.setattr(large, "make_pair", pair)
    monkeypatch.setattr(large, "_studio", lambda: None)
    monkeypatch.setattr("training.data.bodies.load_body_model", lambda: None)
    arguments = ["--out", str(tmp_path), "--count", "2", "--processes", "1"]
    assert large.main(arguments) == 0 and made == indices(7, 2, "test")
    assert large.main([*arguments, "--count", "3"]) == 0 and made == indices(7, 3, "test")

    def full(path, **arrays) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert large.main([*arguments, "--count", "4"]) == 2
    assert f"large-7-{indices(7, 4, 'test')[3]:06d}.npz: No space left" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3
