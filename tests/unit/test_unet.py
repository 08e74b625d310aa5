"""The U-Net that ours is compared with learns a batch, is trained by its command, and evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from training import evaluate, unet
from training.data.compose import Options
from training.dataset import Pairs, scene_files
from tryon.assets import asset_path
from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models.efficientnet import load_trunk
from tryon.models.system import WeightsError


def test_one_batch_is_learned_and_another_garment_costs(folder: Path) -> None:
    torch.manual_seed(0)
    pairs = Pairs(scene_files(folder, "train"), None, Options(0.0, text=0.0), 1)
    batch = default_collate([pairs[k] for k in range(3)])
    features = load_trunk(asset_path("efficientnet_lite0.pth"))
    model = unet.TryOnUNet().train()
    optimiser = torch.optim.AdamW(model.parameters(), 4e-3)
    found = []
    for _ in range(25):
        loss = unet.loss_of(model, batch, features)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.6 * found[0]
    before, shop, _ = unet.views(batch)
    with torch.no_grad():
        picture = model(before, shop, batch["category"])
        other = unet.loss_of(model, {**batch, "after": batch["after"].flip(0)}, features)
    assert picture.shape == (3, 3, NET_HEIGHT, NET_WIDTH)
    assert picture.min() >= 0 and picture.max() <= 1
    assert other > 1.5 * found[-1]


def test_it_costs_what_our_networks_cost() -> None:
    macs = 0

    def count(module: torch.nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += output[0, 0].numel() * module.weight.numel()

    model = unet.TryOnUNet().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    picture = torch.zeros(1, 3, NET_HEIGHT, NET_WIDTH)
    with torch.no_grad():
        model(picture, picture, torch.zeros(1, dtype=torch.int64))
    assert 1.7e9 < macs < 2.1e9


def test_the_command_trains_and_the_evaluation_compares(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet, "BATCH", 2)
    asked = ["--pairs", str(folder), "--out", str(tmp_path), "--steps", "2", "--workers", "0"]
    assert unet.main(asked) == 0
    path = tmp_path / unet.FILE
    assert 1e6 < path.stat().st_size < 8e6
    assert unet.main([*asked, "--init", str(path)]) == 0
    table, _ = evaluate.evaluate(None, folder, None, 8, 1.0, 3, split="train", painter=path)
    assert set(table) == {"ours", "spline", "unchanged", "u-net"}
    assert set(table["u-net"]) == set(table["spline"])
    assert table["u-net"] != table["unchanged"]


def test_what_is_no_u_net_is_named(tmp_path: Path, capsys) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"other\.safetensors is no U-Net"):
        unet.load(path)
    assert unet.main(["--pairs", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "make pairs" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_repositorys_learned_where_garments_go(folder: Path) -> None:
    """Its pictures are nearer to the truth than the person unchanged, by a decibel at least."""
    table, _ = evaluate.evaluate(None, folder, None, 16, 1.0, 3, split="train", painter=unet.KEPT)
    gain = table["u-net"]["psnr_changed_db"] - table["unchanged"]["psnr_changed_db"]
    assert gain > 1
