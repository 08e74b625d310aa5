"""The evaluation's figures know a right picture from a wrong one; the baseline is a real one."""

from __future__ import annotations

import torch

from training import baselines, evaluate
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
    mean = evaluate._mean(values, region)
    assert mean[0] == 1 and mean[1].isnan()


def test_similarity_is_one_for_the_same_picture_only() -> None:
    picture = torch.rand(1, 3, 64, 48)
    assert evaluate.ssim(picture, picture).min() > 0.999
    assert evaluate.ssim(picture, torch.rand(1, 3, 64, 48)).mean() < 0.5
