"""fp16 and engines: each sabotage is caught, and named; nothing needs a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import __main__ as command
from export import doctor, engine, engines, lock, precision, repository
from export.trace import trace
from tryon.contract import Model, Tensor

TOY = Model("toy", "onnx", "Filters.", (Tensor("x", "float32", (3, 16, 16)),),
            (Tensor("y", "float32", (4, 16, 16)),))  # fmt: skip
PROFILE = {"x": ((1, 3, 16, 16), (1, 3, 16, 16), (4, 3, 16, 16))}


class Toy(nn.Module):
    """Two convolutions; the second may hold a weight that fp16 can't."""

    def __init__(self, largest: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        with torch.no_grad():
            self.second.weight[0, 0, 0, 0] = largest

    def forward(self, x):
        return self.second(self.first(x).relu())


def inputs() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).random((1, 3, 16, 16), np.float32)}


def written(folder: Path, module: nn.Module | None = None) -> Path:
    path = folder / "model.onnx"
    trace(TOY, module or Toy(), inputs(), path)
    return path


def halved(folder: Path) -> Path:
    path = folder / "model.fp16.onnx"
    precision.to_half(TOY, written(folder), inputs(), path)
    return path


@pytest.fixture(scope="module")
def trt():
    return engine.load("tensorrt_rtx")


def types(path: Path) -> dict[str, int]:
    """Element type of each convolution's weight, by node."""
    model = onnx.load(str(path))
    weights = {i.name: i.data_type for i in model.graph.initializer}
    return {n.name: weights[n.input[1]] for n in model.graph.node if n.op_type == "Conv"}


def test_half_keeps_what_goes_in_and_out(tmp_path):
    half = halved(tmp_path)
    graph = onnx.load(str(half)).graph
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {1}
    assert set(types(half).values()) == {onnx.TensorProto.FLOAT16}
    rows = precision.losses(TOY, tmp_path / "model.onnx", half, {"drawn": inputs()})
    assert [r.tensor for r in rows] == ["y"] and 0 < rows[0].measure < 0.01
    precision.require(rows)
    assert "y" in precision.table(rows)


def test_named_nodes_stay_in_float32(tmp_path, monkeypatch):
    monkeypatch.setitem(precision.PRECISE, "toy", (r"/second/.*",))
    found = types(halved(tmp_path))
    assert found["/second/Conv"] == onnx.TensorProto.FLOAT
    assert found["/first/Conv"] == onnx.TensorProto.FLOAT16


def test_a_graph_that_half_precision_changes_is_refused_by_name(tmp_path):
    source = written(tmp_path)
    half = onnx.load(str(halved(tmp_path)))
    for tensor in half.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT16:  # a wrong cast: half of each weight
            values = onnx.numpy_helper.to_array(tensor) * np.float16(0.5)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(half, str(tmp_path / "wrong.onnx"))
    rows = precision.losses(TOY, source, tmp_path / "wrong.onnx", {"drawn": inputs()})
    with pytest.raises(
        precision.PrecisionError, match=r"toy: tensor 'y' in fp16 .* inputs 'drawn'"
    ):
        precision.require(rows)


def test_pictures_are_gated_whole_and_where_they_change():
    one = np.zeros((8, 8, 3), np.uint8)
    two = one.copy()
    two[0, 0] = 30
    spot = np.zeros((8, 8), bool)
    spot[0, 0] = True
    assert precision.psnr(one, one) == float("inf")
    assert precision.psnr(one, two, spot) < 25 < precision.psnr(one, two)
    row = precision.Loss("generator", "patch", "changed", "x", 39.0, 40.0, True)
    with pytest.raises(precision.PrecisionError, match=r"39.0 dB"):
        precision.require([row])
    precision.require([precision.Loss("g", "p", "whole", "x", float("inf"), 45.0, True)])


def test_an_engine_is_built_with_no_gpu_and_all_fp16(trt, tmp_path):
    built = engine.build(trt, "toy", halved(tmp_path), PROFILE, tmp_path / "toy.plan", "89")
    assert built.half_share == 1 and len(built.layers) == 2
    # 16 * 16 places, 3 * 9 * 8 and 8 * 9 * 4 products each.
    assert sum(layer.work for layer in built.layers) == 256 * (216 + 288)
    assert (tmp_path / "toy.plan").stat().st_size == built.bytes > 1000
    engines.require_half([built])
    assert "100.0%" in engines.audit_table([built])


def test_a_width_that_varies_counts_as_the_height(trt, tmp_path):
    wide = Model("toy", "onnx", "", (Tensor("x", "float32", (3, 16, -1)),),
                 (Tensor("y", "float32", (4, 16, -1)),))  # fmt: skip
    source = tmp_path / "wide.onnx"
    trace(wide, Toy(), {"x": np.zeros((1, 3, 16, 12), np.float32)}, source)
    shapes = {"x": ((1, 3, 16, 8), (1, 3, 16, 8), (1, 3, 16, 16))}
    built = engine.build(trt, "toy", source, shapes, tmp_path / "toy.plan", "89")
    assert sum(layer.work for layer in built.layers) == 256 * (216 + 288)


def test_a_leak_of_float32_fails_the_audit(trt, tmp_path):
    built = engine.build(trt, "toy", written(tmp_path), PROFILE, tmp_path / "toy.plan", "89")
    assert built.half_share == 0
    with pytest.raises(engines.AuditError, match=r"toy: 0.0% .* /second/Conv \(FLOAT\)"):
        engines.require_half([built])


def test_what_tensorrt_refuses_reaches_the_user_with_the_node(trt, tmp_path):
    graph = onnx.load(str(halved(tmp_path)))
    graph.graph.node[0].op_type = "Frobnicate"
    graph.graph.node[0].name = "/first/odd"
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(graph.SerializeToString())
    with pytest.raises(engine.EngineError, match=r"toy: .*/first/odd.*"):
        engine.build(trt, "toy", bad, PROFILE, tmp_path / "toy.plan", "89")
    bad.write_bytes(b"no network")
    with pytest.raises(engine.EngineError, match=r"toy: .*bad.onnx"):
        engine.build(trt, "toy", bad, PROFILE, tmp_path / "toy.plan", "89")
    assert not (tmp_path / "toy.plan").exists()


def test_shapes_and_gpus_that_do_not_fit_are_refused(trt, tmp_path):
    half, out = halved(tmp_path), tmp_path / "toy.plan"
    outside = {"x": ((1, 3, 32, 32), (1, 3, 32, 32), (4, 3, 32, 32))}
    with pytest.raises(engine.EngineError, match="toy: "):
        engine.build(trt, "toy", half, outside, out, "89")
    with pytest.raises(engine.EngineError, match=r"there are .*89"):
        engine.build(trt, "toy", half, PROFILE, out, "12")
    assert not out.exists()


@pytest.fixture
def locked(tmp_path) -> Path:
    folder = tmp_path / "toy" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "model.plan").write_bytes(b"engine")
    lock.write(tmp_path, {"tensorrt": "1.7", "sources": {"weights": "abc"}})
    return tmp_path


def test_a_lock_holds_until_something_differs(locked):
    facts = {"tensorrt": "1.7", "sources": {"weights": "abc"}}
    assert lock.check(locked, facts) == []
    assert lock.check(locked, {**facts, "sources": {"weights": "abd"}}) == [
        "sources: weights was abc, is abd"
    ]
    assert lock.check(locked, {**facts, "tensorrt": "1.8"}) == ["tensorrt was 1.7, is 1.8"]
    (locked / "toy" / "1" / "model.plan").write_bytes(b"another")
    assert lock.check(locked, facts) == ["toy/1/model.plan is not the file that was locked"]
    (locked / "toy" / "1" / "model.plan").unlink()
    assert lock.check(locked, facts) == ["toy/1/model.plan is missing"]
    (locked / lock.LOCK).write_text("{")
    assert "damaged" in lock.check(locked, facts)[0]
    (locked / lock.LOCK).unlink()
    assert "missing" in lock.check(locked, facts)[0]


def test_the_doctor_names_what_changed_and_the_command(tmp_path, capsys, monkeypatch):
    assert doctor.main(["--repository", str(tmp_path)]) == 1
    assert "make export" in capsys.readouterr().err
    folder = tmp_path / "tensorrt_rtx"
    (folder / "toy" / "1").mkdir(parents=True)
    (folder / "toy" / "1" / "model.plan").write_bytes(b"engine")
    hashes = {"weights": "abc", "engines": "89"}
    (folder / repository.STAMP).write_text(
        json.dumps({"files": {"toy/1/model.plan": 6}, "sources": hashes})
    )
    monkeypatch.setattr(doctor, "source_hashes", lambda: {"weights": "abc"})
    lock.write(folder, engines.facts("tensorrt_rtx", "89", hashes))
    assert doctor.main(["--repository", str(tmp_path)]) == 0
    assert "as it was exported" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "source_hashes", lambda: {"weights": "new"})
    assert doctor.main(["--repository", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "weights was abc, is new" in said
    assert "make export TARGET=tensorrt_rtx SM=89" in said
    (folder / lock.LOCK).write_text("{")
    assert doctor.main(["--repository", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().out


def test_the_doctor_remembers_that_the_container_builds_the_engines(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "tensorrt"
    folder.mkdir()
    stamp = {"files": {}, "sources": {"weights": "abc"}}
    (folder / repository.STAMP).write_text(json.dumps(stamp))
    monkeypatch.setattr(doctor, "source_hashes", lambda: {"weights": "new"})
    assert doctor.main(["--repository", str(tmp_path)]) == 1
    assert "make export TARGET=tensorrt ONNX_ONLY=1" in capsys.readouterr().out


def test_the_audit_without_engines_names_the_command(tmp_path, capsys):
    folder = tmp_path / "cpu"
    folder.mkdir()
    (folder / repository.STAMP).write_text("{}")
    assert doctor.main(["--audit", "--repository", str(tmp_path)]) == 1
    assert "TARGET=tensorrt_rtx" in capsys.readouterr().err


def test_a_gpu_must_be_named_for_engines_ahead_of_time(tmp_path, capsys):
    assert command.main(["--target", "tensorrt_rtx", "--repository", str(tmp_path)]) == 1
    assert "SM=89" in capsys.readouterr().err
    more = ["--target", "tensorrt_rtx", "--sm", "12", "--repository", str(tmp_path)]
    assert command.main(more) == 1
    assert "there are" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
