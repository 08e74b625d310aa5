"""The evaluation's figures know a right picture from a wrong one; the baseline is a real one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from training import baselines, evaluate, slices
from tryon.models.blocks import pixel_coordinates


def test_the_spline_passes_through_the_landmarks_and_keeps_affine_maps() -> None:
    here = torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8], [0.5, 0.4]])
    there = here * torch.tensor([0.5, 0.7]) + torch.tensor([0.2, 0.1])
    flow = baselines.spline_flow(here, there, 32, 24)
    own = pixel_coordinates(32, 24, flow)
    wanted = own * torch.tensor([0.5, 0.7]).reshape(1, 2, 1, 1)
    wanted = wanted + torch.tensor([0.2, 0.1]).reshape(1, 2, 1, 1)
    assert torch.allclose(flow, wanted, atol=1e-3)
    there[4] += 0.1
    bent = baselines.spline_flow(here, there, 256, 192)[0, :, int(0.4 * 256), int(0.5 * 192)]
    assert torch.allclose(bent, there[4], atol=0.02)


def test_two_landmarks_are_enough_for_a_spline() -> None:
    here = torch.tensor([[0.4, 0.5], [0.6, 0.5]])
    assert torch.isfinite(baselines.spline_flow(here, here, 8, 6)).all()


def test_the_baseline_pastes_the_garment_and_leaves_the_rest() -> None:
    before, shop = torch.zeros(1, 3, 64, 48), torch.ones(1, 3, 64, 48)
    mask = torch.zeros(1, 1, 64, 48)
    mask[..., 16:48, 12:36] = 1
    marks = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]])
    picture, share = baselines.paste(before, shop, mask, marks, marks, torch.ones(1, 4))
    assert torch.allclose(share, mask, atol=0.05)
    assert torch.allclose(picture, mask.expand(-1, 3, -1, -1), atol=0.05)


def test_means_leave_out_pairs_without_the_region() -> None:
    values = torch.ones(2, 4, 4)
    region = torch.zeros(2, 4, 4)
    region[0, :2] = 1
    mean = evaluate.region_mean(values, region)
    assert mean[0] == 1 and mean[1].isnan()


def test_similarity_is_one_for_the_same_picture_only() -> None:
    picture = torch.rand(1, 3, 64, 48)
    assert evaluate.ssim(picture, picture).min() > 0.999
    assert evaluate.ssim(picture, torch.rand(1, 3, 64, 48)).mean() < 0.5


def test_pairs_are_told_by_what_changes() -> None:
    coat = {"sleeve": "long", "fit": "loose", "neck": "collar", "pattern": "plain"}
    tee = {"sleeve": "short", "fit": "tight", "neck": "crew", "pattern": "lettering"}
    none = -np.ones(2, int)
    scene = SimpleNamespace(
        meta={"garments": [coat, tee, {"kind": "jeans", "fit": "regular"}], "legs": "sitting",
              "hair": "bob", "phone": "", "bag": "back", "yaw": -40.0, "arms": "hanging"},
        outfit_upper=np.array([0, 1]), outfit_lower=np.array([2, 2]), outfit_dress=none,
    )  # fmt: skip
    as_shown = {"size": 0, "rolled": False, "open": False}
    scene.meta["stylings"] = [as_shown, as_shown]
    of_scene = {"something carried", "seated", "turned over 35 degrees"}
    there = set(slices.slices_of(scene, 0, 1, "upper"))
    assert there == of_scene | {
        "new: upper", "sleeves end sooner", "loose to tight", "collar comes off",
        "print or lettering",
    }  # fmt: skip
    back = set(slices.slices_of(scene, 1, 0, "upper"))
    assert back == of_scene | {"new: upper", "sleeves end later", "collar comes on"}
    scene.meta["stylings"] = [
        {"size": 2, "rolled": True, "open": True}, {"size": -1, "rolled": False, "open": False}
    ]  # fmt: skip
    assert set(slices.slices_of(scene, 1, 0, "upper")) - back == {
        "a larger size", "sleeves rolled up", "worn open",
    }  # fmt: skip
    assert set(slices.slices_of(scene, 0, 1, "upper")) - there == {"a smaller size"}
    scene.meta |= {"stylings": [as_shown, as_shown], "tucked": [True, False]}
    assert set(slices.slices_of(scene, 1, 0, "upper")) - back == {"tucked in"}
    assert set(slices.slices_of(scene, 0, 1, "upper")) - there == {"hangs over the trousers"}


def test_a_garment_is_found_by_its_own_words_among_those_of_others() -> None:
    codes = {"a": [1.0, 0.0, 0.0], "b": [0.0, 1.0, 0.0], "c": [0.0, 0.0, 1.0]}
    nets = SimpleNamespace(
        sentences=lambda words: torch.tensor([codes[w] for w in words]),
        text_encoder=SimpleNamespace(project=lambda x: 2 * x),
    )
    batch = {"truth_caption": ["a", "", "b", "c"]}
    z_image = torch.tensor([[0.9, 0.1, 0.0], [1.0, 1.0, 1.0], [0.2, 0.8, 0.0], [0.9, 0.0, 0.1]])
    found = evaluate.words_found(nets, batch, z_image)  # type: ignore[arg-type]
    assert found[[0, 2, 3]].tolist() == [1, 1, 0] and found[1].isnan()
    alone = evaluate.words_found(nets, {"truth_caption": ["a", ""]}, z_image[:2])  # type: ignore[arg-type]
    assert alone.isnan().all(), "among one there is nothing to find"


def test_every_slice_of_the_table_has_its_figures(folder: Path) -> None:
    table, parts = evaluate.evaluate(None, folder, None, 8, 1.0, 3, split="train")
    assert sum(figures["pairs"] for name, figures in parts.items() if "new" in name) == 8
    assert set(table["ours"]) >= set(evaluate.SHOWN) - {"pairs", "in_front_error_levels"}
    shares = {n: f["pairs"] / 8 * f["mask_iou"] for n, f in parts.items() if "new" in n}
    assert abs(sum(shares.values()) - table["ours"]["mask_iou"]) < 1e-6
    lines = evaluate.slice_table(parts).splitlines()
    assert len(lines) == 1 + len(parts) and "flow px" in lines[0]
