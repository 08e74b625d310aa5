"""Export stops where a tensor drifts, names it, and leaves the last good repository as it was."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from export import __main__ as command
from export import parity, repository
from export.parity import DriftError, compare_tensor, require
from export.trace import TraceError, fold_pads, state_shapes, trace
from tryon import contract
from tryon.contract import ENSEMBLES, Model, Tensor
from tryon.wardrobe.ident import read_version

TOY = Model("toy", "onnx", "Doubles.", (Tensor("x", "float32", (-1, 4)),),
            (Tensor("twice", "float32", (-1, 4)), Tensor("bytes", "uint8", (-1, 4))))  # fmt: skip


class Toy(nn.Module):
    def forward(self, x):
        return x * 2, (x * 50).round().clamp(0, 255).to(torch.uint8)


class Drifting(Toy):
    """Bakes a random number into the trace: torch and the file then differ in `twice` alone."""

    def forward(self, x):
        twice, levels = super().forward(x)
        return twice + float(torch.rand(())), levels


class Unused(nn.Module):
    def forward(self, x):
        return torch.zeros(1, 3, 4), torch.zeros(1, 3, 4, dtype=torch.uint8)


def inputs(seed: int = 0, rows: int = 3) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).random((1, rows, 4), np.float32)
    return {"x": x}


@pytest.fixture
def toy(monkeypatch):
    """A contract of one network and one step, and a module for it."""
    models = (TOY, Model("decode", "python", "", (), ()))
    others = [Model(name, "python", "", (), ()) for name in ("wardrobe_decode", "live_decode")]
    monkeypatch.setattr(repository, "MODELS", models)
    monkeypatch.setattr(repository, "WARDROBE_MODELS", others)
    monkeypatch.setattr(
        repository,
        "write_configs",
        lambda folder, target: [
            (folder / n).mkdir()
            for n in ("toy", "decode", *(m.name for m in others), *(e.name for e in ENSEMBLES))
        ],
    )
    return TOY


@pytest.fixture
def assemble(toy, tmp_path):
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    (vocabulary / "tokenizer.json").write_text("{}")

    def run(module: nn.Module, said: list[str] | None = None) -> Path:
        target = tmp_path / "repository" / "cpu"
        sets = {"drawn": inputs(), "tall": inputs(1, 9)}
        say = (said if said is not None else []).append
        repository.assemble(target, "cpu", {"toy": module}, sets, vocabulary, {"code": "1"}, say)
        return target

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_assembles_and_records(assemble):
    said: list[str] = []
    folder = assemble(Toy(), said)
    assert (folder / "toy" / "1" / "model.onnx").is_file()
    assert (
        (folder / "toy" / "1" / "model.py").read_text().startswith('"""Triton Python backend: on')
    )
    assert (folder / "decode" / "1" / "tokenizer.json").is_file()
    assert (folder / "tryon" / "1").is_dir()
    stamp = json.loads((folder / "export.json").read_text())
    assert {(r["tensor"], r["inputs"]) for r in stamp["parity"]} == {
        (t, s) for t in ("twice", "bytes") for s in ("drawn", "tall")
    }
    assert all(r["ok"] for r in stamp["parity"])
    assert "twice" in said[-1] and "bytes" in said[-1]
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["cpu"]  # nothing left over


def test_drift_stops_and_names_the_tensor_and_leaves_the_last_repository(assemble):
    folder = assemble(Toy())
    before = content(folder)
    with pytest.raises(DriftError, match=r"toy: tensor 'twice' .*on inputs 'drawn'"):
        assemble(Drifting())
    assert content(folder) == before
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["cpu"]


def test_a_failed_first_export_leaves_nothing(assemble, tmp_path):
    with pytest.raises(DriftError):
        assemble(Drifting())
    assert not (tmp_path / "repository" / "cpu").exists()


def test_replaces_the_old_repository_and_clears_what_a_killed_export_left(assemble):
    folder = assemble(Toy())
    (folder / "old").write_text("old")
    left = folder.parent / ".cpu.tmp-killed"
    left.mkdir()
    assemble(Toy())
    assert not (folder / "old").exists() and not left.exists()


def test_swap_works_without_an_exchanging_file_system(assemble, monkeypatch):
    class NoExchange:
        def __init__(self, *args, **kwargs):
            raise OSError("no libc here")

    monkeypatch.setattr(repository.ctypes, "CDLL", NoExchange)
    folder = assemble(Toy())
    (folder / "old").write_text("old")
    assemble(Toy())
    assert not (folder / "old").exists() and (folder / "export.json").is_file()


def test_an_input_that_the_graph_lost_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"toy: inputs are .*the contract says x"):
        trace(TOY, Unused(), inputs(), tmp_path / "model.onnx")


def test_wrong_dtype_is_named(tmp_path):
    wrong = Model("toy", "onnx", "", TOY.inputs,
                  (Tensor("twice", "float16", (-1, 4)), TOY.outputs[1]))  # fmt: skip
    with pytest.raises(TraceError, match="toy: twice is FLOAT; the contract says float16"):
        trace(wrong, Toy(), inputs(), tmp_path / "model.onnx")


def test_traced_dimensions_vary(tmp_path):
    path = tmp_path / "model.onnx"
    trace(TOY, Toy(), inputs(), path)
    many = {"x": np.random.default_rng(2).random((5, 11, 4), np.float32)}
    (answer,) = parity.run_onnx(TOY, path, {"many": many}).values()
    np.testing.assert_array_equal(answer["twice"], many["x"] * 2)


class TestCompareTensor:
    picture = Tensor("picture", "uint8", (-1, 4))
    number = Tensor("number", "float32", (4,))

    def test_a_few_bytes_of_a_picture_may_differ(self):
        one = np.zeros((1, 1000, 4), np.uint8)
        two = one.copy()
        two[0, 0, :3] = 200
        row = compare_tensor("m", self.picture, "i", one, two)
        assert row.ok and row.max_abs == 200

    def test_more_may_not(self):
        one = np.zeros((1, 1000, 4), np.uint8)
        two = one.copy()
        two[0, :2] = 3
        assert not compare_tensor("m", self.picture, "i", one, two).ok

    def test_two_levels_everywhere_are_fine(self):
        one = np.full((1, 1000, 4), 250, np.uint8)
        assert compare_tensor("m", self.picture, "i", one, one + np.uint8(2)).ok

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_no_number_drifts(self, bad):
        one, two = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
        two[0, 0] = bad
        assert not compare_tensor("m", self.number, "i", one, two).ok

    def test_same_infinities_do_not(self):
        one = np.array([[np.inf, -np.inf, 0, 1]], np.float32)
        assert compare_tensor("m", self.number, "i", one, one.copy()).max_abs == 0

    @pytest.mark.parametrize("two", [np.zeros((1, 5), np.float32), np.zeros((1, 4), np.float16)])
    def test_another_shape_or_dtype_drifts(self, two):
        row = compare_tensor("m", self.number, "i", np.zeros((1, 4), np.float32), two)
        with pytest.raises(DriftError, match="m: tensor 'number'"):
            require([row])


def test_steps_that_name_garments_are_told_the_networks_version(tmp_path):
    for name in ("wardrobe_decode", "live_decode"):
        repository.write_version(tmp_path, "cpu", {"weights": "1"})  # an older one has no such step
        (tmp_path / name / "1").mkdir(parents=True)
    versions = set()
    for weights in ("1", "2"):
        repository.write_version(tmp_path, "cpu", {"weights": weights})
        told = {read_version(tmp_path / name / "1") for name in ("wardrobe_decode", "live_decode")}
        assert len(told) == 1, "both the same"
        versions |= told
    assert len(versions) == 2, "other weights, another version"


class TestUpToDate:
    def test_only_for_the_same_sources(self, assemble):
        folder = assemble(Toy())
        assert repository.is_current(folder, {"code": "1"})
        assert not repository.is_current(folder, {"code": "2"})

    def test_not_when_a_file_is_gone(self, assemble):
        folder = assemble(Toy())
        (folder / "toy" / "1" / "model.onnx").unlink()
        assert not repository.is_current(folder, {"code": "1"})

    @pytest.mark.parametrize(
        "stamp", ["", "{}", "[]", '{"files": 3}', '{"files": {}, "sources": 1}']
    )
    def test_not_for_a_damaged_stamp(self, assemble, stamp):
        folder = assemble(Toy())
        (folder / "export.json").write_text(stamp)
        assert not repository.is_current(folder, {"code": "1"})

    def test_hashes_follow_code_and_weights(self, tmp_path):
        for source in ("tryon/models/a.py", "tryon/steps/b.py", "export/c.py",
                       "deploy/backends/d.py", "tryon/contract.py",
                       "tryon/tolerances.py", "tryon/preprocess.py",
                       "tryon/wardrobe/e.py"):  # fmt: skip
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / source).write_text("1")
        first = repository.source_hashes(tmp_path)
        (tmp_path / "tryon" / "steps" / "b.py").write_text("2")
        second = repository.source_hashes(tmp_path)
        assert first["code"] != second["code"] and first["weights"] == "none"
        weights = tmp_path / "tryon" / "weights" / "tryon.safetensors"
        weights.parent.mkdir()
        weights.write_bytes(b"w")
        assert repository.source_hashes(tmp_path)["weights"] not in ("none", first["weights"])


def test_tensorrt_without_tensorrt_says_so_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert command.main(["--target", "tensorrt", "--repository", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "not installed" in said and "--onnx-only" in said and "--target cuda" in said
    assert "container" in said and "TARGET=tensorrt_rtx" in said
    assert not os.listdir(tmp_path)


def test_every_network_has_its_threads():
    from export.config import SETTINGS

    assert set(SETTINGS.threads) == {m.name for m in contract.MODELS if m.kind == "onnx"}


def test_pads_with_zeros_are_folded_into_their_convolution(tmp_path: Path) -> None:
    class Same(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.Conv2d(3, 4, 3, 2), torch.nn.Conv2d(4, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.one(torch.nn.functional.pad(x, (0, 1, 0, 1)))
            return self.two(torch.nn.functional.pad(y, (1, 1, 1, 1), value=0.5))

    module, x, path = Same().eval(), torch.randn(1, 3, 32, 24), tmp_path / "same.onnx"
    torch.onnx.export(module, (x,), str(path), dynamo=False, opset_version=17, input_names=["x"])
    graph = onnx.load(str(path))
    assert fold_pads(graph) == 1  # the other one pads with something else than zero
    onnx.checker.check_model(graph, full_check=True)
    session = ort.InferenceSession(graph.SerializeToString())
    (found,) = session.run(None, {"x": x.numpy()})
    assert np.allclose(found, module(x).detach().numpy(), atol=1e-5)


def test_shapes_behind_a_reshape_are_stated_and_sums_go_into_convolutions(tmp_path: Path) -> None:
    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.Conv2d(8, 16, 1), torch.nn.Conv2d(8, 16, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.one(x) + self.two(y.reshape(-1, 8, 6, 6)))

    module, path = Sum().eval(), tmp_path / "sum.onnx"
    x, y = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 36)
    torch.onnx.export(
        module, (x, y), str(path), dynamo=False, opset_version=17, input_names=["x", "y"],
        output_names=["z"], dynamic_axes={n: {0: "batch"} for n in ("x", "y", "z")},
    )  # fmt: skip
    graph = onnx.load(str(path))

    def operators() -> list[str]:
        options, best = ort.SessionOptions(), tmp_path / "best.onnx"
        options.optimized_model_filepath, options.log_severity_level = str(best), 3
        session = ort.InferenceSession(graph.SerializeToString(), options)
        (found,) = session.run(None, {"x": x.numpy(), "y": y.numpy()})
        assert np.allclose(found, module(x, y).detach().numpy(), atol=1e-5)
        return [node.op_type for node in onnx.load(str(best)).graph.node]

    assert {"Add", "Relu"} & set(operators())
    assert state_shapes(graph) > 0
    onnx.checker.check_model(graph, full_check=True)
    assert not {"Add", "Relu"} & set(operators())
