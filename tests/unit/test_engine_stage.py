"""The gate's engine stage, against a stand-in for TensorRT's runtime: no GPU is here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import fake_tensorrt as fake
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export import audit, bisection, engine, engines, gate, inspector, parity, runner
from export.explain import explain
from export.precision import PrecisionError, require
from export.repository import PLAN
from export.trace import trace
from tryon.contract import Model, Tensor

TOY = Model("toy", "onnx", "Filters.", (Tensor("x", "float32", (3, 16, 16)),),
            tuple(Tensor(name, "float32", (4, 16, 16)) for name in ("y", "top")))  # fmt: skip
PROFILE = {"x": ((1, 3, 16, 16), (1, 3, 16, 16), (4, 3, 16, 16))}
GPU = SimpleNamespace(name="NVIDIA Test", capability="89", cuda="12.9")


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        y = self.second(self.first(x).relu())
        return y, y + 1


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return Toy().eval()


@pytest.fixture
def sets() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return {f"{n} drawn": {"x": rng.random((n, 3, 16, 16), np.float32)} for n in (1, 3)}


@pytest.fixture
def source(tmp_path, module, sets) -> Path:
    """A float32 file with an "engine" of it beside it."""
    path = tmp_path / "model.onnx"
    trace(TOY, module, sets["1 drawn"], path)
    path.with_name(PLAN).write_bytes(path.read_bytes())
    return path


@pytest.fixture
def on_cpu(monkeypatch):
    """Engines and their memory where the stand-in looks for them."""
    monkeypatch.setattr(runner.Engine.__init__, "__defaults__", ((), "cpu"))
    monkeypatch.setattr(runner.run_engine, "__defaults__", ("cpu",))
    monkeypatch.setattr(runner.Tapped.__init__, "__defaults__", ("cpu",))
    monkeypatch.setattr(engine, "build",
                        lambda trt, model, onnx, profiles, out: out.write_bytes(onnx.read_bytes()))


def spoil(path: Path, factor: float, node: str = "/second/Conv") -> bytes:
    graph = onnx.load(str(path))
    (name,) = (n.input[1] for n in graph.graph.node if n.name == node)
    (weight,) = (w for w in graph.graph.initializer if w.name == name)
    values = (numpy_helper.to_array(weight) * np.float32(factor)).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(values, name))
    return graph.SerializeToString()


def test_a_plan_answers_as_its_file_whatever_the_batch(source, sets):
    found = runner.run_engine(fake, TOY, source.with_name(PLAN), sets, device="cpu")
    expected = parity.run_onnx(TOY, source, sets)
    for label in sets:
        for name in ("y", "top"):
            np.testing.assert_allclose(found[label][name], expected[label][name], atol=1e-6)


def test_inputs_may_lie_in_memory_as_they_like(source, sets):
    loaded = runner.Engine(fake, TOY, source.read_bytes(), device="cpu")
    turned = sets["3 drawn"]["x"].transpose(0, 1, 3, 2)
    one, two = loaded({"x": turned}), loaded({"x": np.ascontiguousarray(turned)})
    np.testing.assert_array_equal(one["y"], two["y"])


def test_the_engine_is_the_gates_last_stage(source, module, sets, on_cpu):
    rows = gate.staged(TOY, module, {"fp32": source, "fp16": source}, sets, trt=fake)
    stages = [(r.stage, r.against) for r in rows]
    assert stages.count(("engine", "fp16")) == stages.count(("engine", "torch")) == 4
    require(rows)


def test_an_engine_that_drifts_is_named_with_node_and_module(
    source, module, sets, on_cpu, monkeypatch
):
    files = {"fp32": source}
    source.with_name(PLAN).write_bytes(spoil(source, 1.1))
    rows = gate.staged(TOY, module, files, sets, trt=fake)
    assert {r.stage for r in rows if not r.ok} == {"engine"}
    # What TensorRT builds of the tapped graph is off in the same place.
    monkeypatch.setattr(engine, "build", lambda trt, model, onnx, profiles, out: out.write_bytes(
        spoil(onnx, 1.1)))  # fmt: skip
    with pytest.raises(PrecisionError) as caught:
        require(rows, explain(TOY, module, files, sets, fake))
    said = str(caught.value)
    assert "toy: tensor 'y' in engine against fp32" in said
    assert "node '/second/Conv' (Conv), module toy.second" in said


def test_what_an_engine_refuses_reaches_the_user(source, sets):
    plan = source.read_bytes()
    with pytest.raises(engine.EngineError, match=r"toy: .* the plan is of another device"):
        runner.Engine(fake, TOY, b"no plan", device="cpu")
    other = Model("toy", "onnx", "", TOY.inputs, (Tensor("y", "float16", (4, 16, 16)),))
    with pytest.raises(engine.EngineError, match="toy: y is float32, the contract says float16"):
        runner.Engine(fake, other, plan, device="cpu")
    many = {"x": np.zeros((fake.LARGEST_BATCH + 1, 3, 16, 16), np.float32)}
    with pytest.raises(engine.EngineError, match=r"x of shape \(5, 3, 16, 16\) .*profile"):
        runner.Engine(fake, TOY, plan, device="cpu")(many)


def test_tensors_within_are_built_as_outputs_of_their_own_type(source, tmp_path):
    """TensorRT itself takes such a graph (and no GPU)."""
    graph = onnx.load(str(source))
    names = ["/first/Conv_output_0", "y"]
    path, plan = tmp_path / "tapped.onnx", tmp_path / "tapped.plan"
    onnx.save(bisection.tapped(graph, names), str(path))
    trt = engine.load("tensorrt_rtx")
    assert engine.build(trt, "toy", path, PROFILE, plan, "89").bytes == plan.stat().st_size


class TestWhyAnEngineIsNotRun:
    OPTIONS = engine.Options()

    def test_no_gpu(self, monkeypatch):
        monkeypatch.setattr(engine, "present", lambda: None)
        assert runner.obstacle("tensorrt_rtx", "89", self.OPTIONS) == "no GPU"

    def test_torch_without_cuda(self, monkeypatch):
        monkeypatch.setattr(engine, "present", lambda: GPU)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        said = runner.obstacle("tensorrt_rtx", "89", self.OPTIONS)
        assert "no CUDA" in said and GPU.name in said

    def test_another_gpu(self, monkeypatch):
        monkeypatch.setattr(engine, "present", lambda: GPU)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        asked = runner.obstacle
        assert "for compute capability 86, NVIDIA Test has 89" in asked(
            "tensorrt_rtx", "86", self.OPTIONS
        )
        for fits in ("89", "86, 89", ""):
            assert asked("tensorrt_rtx", fits, self.OPTIONS) == ""
        assert asked("tensorrt_rtx", "86", engine.Options(hardware_compatible=True)) == ""
        assert "not installed" in asked("tensorrt", "89", self.OPTIONS)

    def test_the_table_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(engine, "present", lambda: None)
        assert gate.engine_obstacle(tmp_path / "cpu").startswith("no engines in ")
        for model in gate.MODELS:
            (tmp_path / "tensorrt_rtx" / model.name / "1").mkdir(parents=True)
            (tmp_path / "tensorrt_rtx" / model.name / "1" / PLAN).touch()
        why = gate.engine_obstacle(tmp_path / "tensorrt_rtx")
        lines = [line.split(maxsplit=2) for line in gate.not_run(why).splitlines()]
        assert lines[0] == ["all", "engine", "not run: no GPU"]
        assert lines[1][1] == "grpc" and "no server was named" in lines[1][2]
        assert gate.not_run("", server=True) == ""


def layer(name: str, kind: str, **more: object) -> dict[str, object]:
    return {"Name": name, "LayerType": "kgen", "Inputs": [{"Format/Datatype": kind}], **more}


class TestInspector:
    BEFORE = (engine.Layer("/first/Conv", "CONVOLUTION", "HALF", 100.0),
              engine.Layer("/first/Conv_1", "CONVOLUTION", "HALF", 300.0),
              engine.Layer("/Relu", "ACTIVATION", "HALF", 0.0))  # fmt: skip

    def types(self, *after: dict[str, object]) -> list[str]:
        return [x.after for x in inspector.types_after(self.BEFORE, after)]

    def test_a_layer_has_the_type_that_it_was_built_in(self):
        assert self.types(
            layer("/first/Conv + /Relu", "Row major linear FP16 format"),
            layer("fused", "Float", Metadata="[ONNX Layer: /first/Conv_1]\x1e[ONNX Layer: /Add]"),
        ) == ["HALF", "FLOAT", "HALF"]
        assert self.types(layer("/first/Conv_1", "Half"), layer("x", "FP32")) == ["", "HALF", ""]
        assert self.types(layer("/first/Conv", "N/A due to dynamic shapes")) == ["", "", ""]

    def test_an_engine_that_was_built_in_float32_fails_the_audit(self):
        layers = inspector.types_after(self.BEFORE, [layer("/first/Conv", "FP16"),
                                                     layer("/first/Conv_1", "FP32")])  # fmt: skip
        built = engine.Built("toy", 1000, layers)
        assert (built.half_share, built.half_share_after) == (1.0, 0.25)
        assert "25.0%" in audit.table([built])
        with pytest.raises(audit.AuditError, match=r"toy: 25.0% .* as built, .*/first/Conv_1"):
            audit.require_half([built])

    def test_where_no_gpu_was_the_table_says_so(self):
        built = engine.Built("toy", 1000, list(self.BEFORE))
        assert built.half_share_after is None and "no GPU" in audit.table([built])
        audit.require_half([built])

    def test_it_is_asked_at_the_profiles_best_shapes(self, source, monkeypatch):
        monkeypatch.setattr(fake.Inspector, "told", [layer("/first/Conv", "FP16"), "a line"])
        plan = source.with_name(PLAN)
        assert inspector.inspect(fake, "toy", plan, PROFILE) == [layer("/first/Conv", "FP16")]
        plan.write_bytes(b"no plan")
        with pytest.raises(engine.EngineError, match="of another device"):
            inspector.inspect(fake, "toy", plan, PROFILE)

    def test_engines_of_a_gpu_that_is_here_are_run_and_inspected(
        self, source, module, sets, on_cpu, monkeypatch
    ):
        monkeypatch.setattr(engines, "_networks", lambda: [TOY])
        monkeypatch.setattr(engines, "profile", lambda model: PROFILE)
        monkeypatch.setattr(engines, "onnx_files", lambda *wanted: {"fp32": source})
        monkeypatch.setattr(fake.Inspector, "told", [layer("/first/Conv", "FP16")])
        built = [engine.Built("toy", 1000, [*self.BEFORE])]
        rows = engines.run_all(fake, source.parent, {"toy": module}, sets, built, lambda _: None)
        assert {r.stage for r in rows} == {"engine"} and built[0].layers[0].after == "HALF"
        source.with_name(PLAN).write_bytes(spoil(source, 1.1))
        with pytest.raises(PrecisionError, match="in engine against fp32"):
            engines.run_all(fake, source.parent, {"toy": module}, sets, built, lambda _: None)
