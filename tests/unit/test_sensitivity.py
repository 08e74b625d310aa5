"""What each group costs in fp16, the verdict on the list of nodes kept in float32, and pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from export import precision, sensitivity
from export.precision import Loss
from export.sensitivity import Group, kept_nodes, table
from training import evaluate_fp16
from training.evaluate_fp16 import Found
from tryon.contract import model


def group(whole: float, kept: int = 0, garment: float = 60.0) -> Group:
    regions = {"whole": whole, "garment": garment, "skin": 99.0, "background": 99.0}
    return Group("generator", "fine", 10, kept, regions)


def test_the_verdict_follows_the_bounds():
    assert group(50).verdict == ""
    assert group(44).verdict == "should stay in fp32"
    assert group(50, garment=39).verdict == "should stay in fp32"
    assert group(44, kept=3).verdict == "kept in fp32: needed"
    assert group(50, kept=3).verdict == "kept in fp32: not needed by itself"
    refused = group(50)
    refused.refused = "photo: [NO_PERSON]"
    assert not refused.ok


def test_the_table_puts_the_dearest_first():
    lines = table([group(60), group(41)]).splitlines()
    assert "41.0 dB" in lines[1] and "should stay" in lines[1] and "exact" in lines[1]


def test_kept_nodes_are_those_of_the_list(monkeypatch):
    monkeypatch.setitem(precision.PRECISE, "toy", (r"/landmarks/.*",))
    nodes = [helper.make_node("Relu", ["a"], ["b"], "/landmarks/Relu"),
             helper.make_node("Relu", ["b"], ["c"], "/trunk/Relu"),
             helper.make_node("GridSample", ["c", "d"], ["e"], "/trunk/GridSample")]  # fmt: skip
    graph = helper.make_model(helper.make_graph(nodes, "toy", [], []))
    assert kept_nodes("toy", graph) == {"/landmarks/Relu", "/trunk/GridSample"}


def test_a_pattern_that_fits_no_node_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(precision.PRECISE, "detector", (r"/gone/.*",))
    path = tmp_path / "model.onnx"
    node = helper.make_node("Relu", ["a"], ["b"], "/there/Relu")
    onnx.save(helper.make_model(helper.make_graph([node], "toy", [], [])), str(path))
    with pytest.raises(precision.PrecisionError, match=r"detector: .*'/gone/\.\*'"):
        precision.to_half(model("detector"), path, {}, tmp_path / "half.onnx")


def test_a_missing_export_is_named_with_the_command(tmp_path, capsys):
    assert sensitivity.main(["--repository", str(tmp_path / "tensorrt_rtx")]) == 1
    assert "make export TARGET=tensorrt_rtx" in capsys.readouterr().err


def found(ssim: float = 0.5, db: float = 50.0) -> Found:
    row = Loss("generator", "patch", "whole", "pair 0", db, 45.0, True)
    return Found([row], {"fp32": [{"ssim_garment": 0.5}], "fp16": [{"ssim_garment": ssim}]})


def test_figures_may_change_by_less_than_a_hundredth():
    assert found(0.5049).broken() == []
    assert found(0.505).broken() == ["ssim_garment changes by 1.00% (under 1%)"]
    assert found(float("nan")).broken()  # what is no number is no figure
    (line,) = found(db=44.0).broken()
    assert "pair 0" in line and "44.0 dB" in line
    assert "50.0" in evaluate_fp16.table(found())


def test_a_pair_becomes_a_request():
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (256, 256, 3), np.uint8)
    shop = rng.integers(0, 256, (256, 192, 3), np.uint8)
    seen = 255 - shop
    pair = {"before": before, "shop": shop, "shop_seen": seen, "caption": "in red",
            "category": np.int64(1)}  # fmt: skip
    made = evaluate_fp16.request(pair, lambda words: (np.arange(3), np.ones(3, np.int64)))
    wanted = {t.name: t for name in evaluate_fp16.ORDER for t in model(name).inputs}
    for name, value in made.items():
        tensor = wanted[name]
        assert str(value.dtype) == tensor.dtype, name
        assert value.ndim == len(tensor.shape) + 1, name
    np.testing.assert_array_equal(made["window"][0], before[:, 32:224])
    np.testing.assert_array_equal(made["garment_net"][0], seen)
    assert made["canvas"][0, :3].mean() == pytest.approx(shop.mean(), abs=1)
    assert made["condition"].tolist() == [[0, 1, 0, 1, 1]]


def test_the_command_names_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate_fp16, "assemble", lambda *a: pytest.fail("loaded too early"))
    assert evaluate_fp16.main(["--pairs", str(tmp_path), "--count", "0"]) == 2
    assert "--count 0" in capsys.readouterr().err


def test_a_form_that_was_not_exported_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"model.onnx is missing: `make export"):
        evaluate_fp16._networks(tmp_path, "fp32")
