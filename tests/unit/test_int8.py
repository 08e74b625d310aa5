"""INT8 passes the same gate, or its network stays fp16 and the report says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import audit, engine, engines, int8, precision
from export.precision import Loss, PrecisionError
from export.trace import trace
from tryon.contract import Model, Tensor

TOY = Model("toy", "onnx", "Filters.", (Tensor("x", "float32", (16, 16, 16)),),
            (Tensor("y", "float32", (32, 16, 16)),))  # fmt: skip
PROFILE = {"x": ((1, 16, 16, 16), (1, 16, 16, 16), (4, 16, 16, 16))}


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(16, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, x):
        return (self.second(self.first(x).relu()),)


@pytest.fixture(scope="module")
def sets() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {k: {"x": rng.random((1, 16, 16, 16), np.float32)} for k in ("one", "two", "edge: x")}


@pytest.fixture
def source(tmp_path, sets) -> Path:
    path = tmp_path / "model.onnx"
    trace(TOY, Toy().eval(), sets["one"], path)
    return path


def test_one_that_the_gate_refuses_is_not_written(source, sets, monkeypatch):
    monkeypatch.setattr(precision, "HALF_RELATIVE", 1e-4)  # a byte a value is further off
    rows = engines.quantised(TOY, source, sets, None)
    assert {r.inputs for r in rows} == set(sets) and not all(r.ok for r in rows)
    assert not source.with_name(engines.INT8).exists()
    assert engines.int8_report(rows)["toy"].startswith(
        "refused, stays fp16: toy: tensor 'y' in int8"
    )


def test_one_that_passes_is_written_and_built(source, sets, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "HALF_RELATIVE", 0.1)
    rows = engines.quantised(TOY, source, sets, None)
    assert engines.int8_report(rows) == {"toy": "taken"}
    path = source.with_name(engines.INT8)
    graph = onnx.load(str(path))
    kinds = [n.op_type for n in graph.graph.node]
    assert kinds.count("QuantizeLinear") and kinds.count("DequantizeLinear")
    trt = engine.load("tensorrt_rtx")
    built = engine.build(trt, "toy", path, PROFILE, tmp_path / "toy.plan", "89")
    audit.require_half([built])


def test_ranges_are_found_on_real_requests_alone(source, sets, monkeypatch):
    seen = []
    monkeypatch.setattr(int8, "to_int8", lambda m, s, real, out: seen.extend(real) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engines.quantised(TOY, source, sets, None)
    assert len(seen) == 2


def test_nodes_that_stay_in_float32_are_not_quantised(source, sets, monkeypatch, tmp_path):
    monkeypatch.setitem(precision.PRECISE, "toy", (r"/second/.*",))
    out = tmp_path / "int8.onnx"
    int8.to_int8(TOY, source, sets.values(), out)
    graph = onnx.load(str(out)).graph
    makers = {o: n.op_type for n in graph.node for o in n.output}
    inputs = {n.name: makers.get(n.input[0]) for n in graph.node if n.op_type == "Conv"}
    assert inputs["/first/Conv"] == "DequantizeLinear" != inputs["/second/Conv"]


def test_a_graph_that_cannot_be_quantised_is_named(source, sets, tmp_path):
    source.write_bytes(b"no network")
    with pytest.raises(PrecisionError, match=r"toy: nvidia-modelopt can't quantise model.onnx"):
        int8.to_int8(TOY, source, sets.values(), tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_the_lock_and_the_report_say_int8():
    assert engines.wants_int8({"engines": "89, int8"}) and not engines.wants_int8({"engines": "89"})
    rows = [Loss("a", "y", "", "one", 0.02, 0.01, False, stage="int8"),
            Loss("a", "y", "", "two", 0.1, 0.01, False, stage="int8"),
            Loss("b", "y", "", "one", 0.001, 0.01, False, stage="int8"),
            Loss("c", "y", "", "one", 0.1, 0.01, False, stage="fp16")]  # fmt: skip
    report = engines.int8_report(rows)
    assert report["b"] == "taken" and "0.1000" in report["a"] and "c" not in report
