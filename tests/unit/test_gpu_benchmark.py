"""The GPU benchmark: its ways, figures and words, on the CPU where no GPU is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import fake_tensorrt as fake
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from benchmarks import gpu as bench
from benchmarks.gpu import Row
from benchmarks.on_gpu import OnnxNetwork, TorchNetwork, called
from export import engine, runner
from tryon.contract import Model, Tensor

TOY = Model("toy", "onnx", "Twice.", (Tensor("x", "float32", (4,)),),
            (Tensor("y", "float32", (4,)),))  # fmt: skip


class Twice(nn.Module):
    def forward(self, x):
        return (x * 2,)


@pytest.fixture
def path(tmp_path) -> Path:
    values = [helper.make_tensor_value_info(n, 1, ["batch", 4]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "toy", values[:1],
                              values[1:])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


def networks(path: Path) -> dict[str, object]:
    return {
        "eager": TorchNetwork(TOY, Twice(), False, "cpu"),
        "onnx": OnnxNetwork(TOY, path, "cpu"),
        "engine": runner.Engine(fake, TOY, path.read_bytes(), device="cpu"),
    }


@pytest.mark.parametrize("way", ["eager", "onnx", "engine"])
def test_every_way_answers_what_it_was_given_last(path, way):
    network = networks(path)[way]
    for batch in (1, 3):
        x = np.arange(batch * 4, dtype=np.float32).reshape(batch, 4)
        np.testing.assert_array_equal(called(network, {"x": x})["y"], x * 2)


def test_a_provider_that_is_not_there_is_an_error(path):
    with pytest.raises(RuntimeError, match="install onnxruntime-gpu"):
        OnnxNetwork(TOY, path, "cuda")


@pytest.fixture
def toy(monkeypatch):
    """One network in place of five, and a request whose picture it makes."""
    monkeypatch.setattr(bench, "NETWORKS", (TOY,))
    picture = np.full((8, 8, 3), 100, np.uint8)
    tensors = {"x": np.ones((1, 4), np.float32), "box": np.array([[0, 0, 8, 8]])}
    monkeypatch.setattr(bench, "run_chain", lambda own, given, first: {
        "picture": (picture + (own["toy"](given)["y"][0, 0] - 2).astype(np.uint8))[None]
    })  # fmt: skip
    return {"256x192": SimpleNamespace(tensors=tensors, picture=picture)}


def test_figures_are_of_whole_batches(path, toy):
    rows = list(bench.measure("onnx", lambda m: OnnxNetwork(m, path, "cpu"), toy, 0.05, (1, 8)))
    assert [(r.size, r.batch, r.failed) for r in rows] == [("256x192", 1, ""), ("256x192", 8, "")]
    for row in rows:
        assert row.ok and row.picture_db == np.inf and row.milliseconds > 0
        assert 0.1 < row.frames * row.milliseconds / 1e3 / row.batch < 3
    assert "exact" in bench.table(rows)


def test_a_picture_under_its_bound_is_marked(path, toy):
    class Off(nn.Module):
        def forward(self, x):
            return (x * 12,)

    (row,) = bench.measure("off", lambda m: TorchNetwork(m, Off(), False, "cpu"), toy, 0.05, (1,))
    assert not row.ok and row.picture_db == pytest.approx(28.1, abs=0.1)
    assert "UNDER 45 dB" in bench.table([row])


def test_one_way_that_fails_leaves_the_others(path, toy):
    def load(model):
        raise RuntimeError("no compiler\nand more")

    (row,) = bench.measure("torch.compile", load, toy, 0.05, (1,))
    assert not row.ok and row.failed == "RuntimeError: no compiler"
    assert "not run: RuntimeError: no compiler" in bench.table([row])


def test_every_way_of_the_issue_is_there(tmp_path, monkeypatch):
    pipeline = SimpleNamespace(models={})
    with pytest.raises(FileNotFoundError, match=r"detector/1/model\.onnx is missing: `make"):
        bench.ways(pipeline, tmp_path, None)
    monkeypatch.setattr(bench, "onnx_files", lambda *a: {"fp32": tmp_path, "fp16": tmp_path})
    found = bench.ways(pipeline, tmp_path, SimpleNamespace(__name__="tensorrt"))
    assert list(found) == ["torch eager", "torch.compile", "ONNX Runtime fp16", "tensorrt"]
    assert bench.BATCHES == (1, 8) and len(bench._sizes()) == 3


def test_with_no_gpu_it_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(engine, "present", lambda: None)
    monkeypatch.setattr(bench, "TryOnPipeline", lambda: pytest.fail("loaded for nothing"))
    assert bench.main(["--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err == "error: nothing was measured: no GPU\n" and not said.out
    assert not (tmp_path / "out").exists()


class Pipeline:
    """Without networks, and answers that nobody looks at."""

    models: ClassVar[dict[str, nn.Module]] = {}

    def __call__(self, *request: object) -> None:
        return None


def test_the_report_holds_device_and_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runner, "no_gpu", lambda: "")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Test")
    monkeypatch.setattr(bench, "photos", lambda: (None, None))
    monkeypatch.setattr(bench, "make_inputs", lambda p, g, size: SimpleNamespace(
        person=np.zeros(1), garment=np.zeros(1)))  # fmt: skip
    monkeypatch.setattr(bench, "TryOnPipeline", Pipeline)
    monkeypatch.setattr(bench, "engine_obstacle", lambda repository: "no engines in x")
    monkeypatch.setattr(bench, "ways", lambda *a: {"torch eager": None})
    rows = [Row("torch eager", "256x192", 1, 5.0, 200.0, 300.0, np.inf),
            Row("torch eager", "256x192", 8, failed="RuntimeError: out of memory")]  # fmt: skip
    monkeypatch.setattr(bench, "measure", lambda *a: iter(rows))
    assert bench.main(["--out", str(tmp_path)]) == 1  # one of them failed
    said = capsys.readouterr().out
    assert "NVIDIA Test" in said and "TensorRT      not run: no engines in x" in said
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["device"] == "NVIDIA Test" and report["rows"][0]["picture_db"] is None
    assert report["rows"][1]["failed"] == "RuntimeError: out of memory"
