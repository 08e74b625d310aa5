"""fp16 and engines: each sabotage is caught, and named; nothing needs a GPU."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import __main__ as command
from export import (
    audit,
    doctor,
    engine,
    engines,
    files,
    gpu,
    lock,
    names,
    precision,
    progress,
    refit,
    repository,
    timing,
)
from export.parity import run_onnx
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


@functools.cache
def exported(largest: float) -> tuple[bytes, bytes]:
    """A toy's ONNX file and its fp16 copy: AutoCast takes seconds, so once for all tests."""
    with tempfile.TemporaryDirectory() as name:
        source = written(Path(name), Toy(largest))
        half = Path(name) / "model.fp16.onnx"
        precision.to_half(TOY, source, inputs(), half)
        return source.read_bytes(), half.read_bytes()


def halved(folder: Path, largest: float = 1.0) -> Path:
    for name, data in zip(("model.onnx", "model.fp16.onnx"), exported(largest), strict=True):
        (folder / name).write_bytes(data)
    return folder / "model.fp16.onnx"


@pytest.fixture(scope="module")
def trt():
    return engine.load("tensorrt_rtx")


def types(path: Path) -> dict[str, int]:
    """Element type of each convolution's weight, by node."""
    model = onnx.load(str(path))
    weights = {i.name: i.data_type for i in model.graph.initializer}
    return {n.name: weights[n.input[1]] for n in model.graph.node if n.op_type == "Conv"}


def losses(source: Path, half: Path) -> list[precision.Loss]:
    sets = {"drawn": inputs()}
    one, two = (run_onnx(TOY, path, sets) for path in (source, half))
    return precision.differences(TOY, one, two)


def test_half_keeps_what_goes_in_and_out(tmp_path):
    half = halved(tmp_path)
    graph = onnx.load(str(half)).graph
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {1}
    assert set(types(half).values()) == {onnx.TensorProto.FLOAT16}
    rows = losses(tmp_path / "model.onnx", half)
    assert [r.tensor for r in rows] == ["y"] and 0 < rows[0].measure < 0.01
    precision.require(rows)
    assert "y" in precision.table(rows)


def test_dimensions_that_are_not_known_are_not_stated():
    """ONNX Runtime gave a mask of two channels the memory of one with one: both were "unk"."""
    value = onnx.helper.make_tensor_value_info
    known = value("known", onnx.TensorProto.FLOAT, ["batch", 1, 4])
    unknown = value("unknown", onnx.TensorProto.FLOAT, ["batch", "unk", 4])
    graph = onnx.helper.make_graph([], "g", [], [], value_info=[known, unknown])
    model = onnx.helper.make_model(graph)
    assert precision.forget_unknown_shapes(model) == 1
    assert [v.name for v in model.graph.value_info] == ["known"]
    assert precision.forget_unknown_shapes(model) == 0


def test_named_nodes_stay_in_float32(tmp_path, monkeypatch):
    monkeypatch.setitem(precision.PRECISE, "toy", (r"/second/.*",))
    half = tmp_path / "half.onnx"
    precision.to_half(TOY, written(tmp_path), inputs(), half)
    found = types(half)
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
    rows = losses(source, tmp_path / "wrong.onnx")
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
    assert built.half_share == 1 and len([x for x in built.layers if x.work]) == 2
    # 16 * 16 places, 3 * 9 * 8 and 8 * 9 * 4 products each.
    assert sum(layer.work for layer in built.layers) == 256 * (216 + 288)
    assert (tmp_path / "toy.plan").stat().st_size == built.bytes > 1000
    audit.require_half([built])
    assert "100.0%" in audit.table([built])


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
    with pytest.raises(audit.AuditError, match=r"toy: 0.0% .* /second/Conv \(FLOAT\)"):
        audit.require_half([built])


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
    with pytest.raises(engine.EngineError, match=r"toy: .*tensor x and profile 0"):
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


# ---- names, options, timing cache, progress ------------------------------------------------------
def test_a_node_names_the_module_that_we_wrote(tmp_path):
    assert names.module_of("generator", "/fine/fine.1/first/first.2/Conv") == (
        "generator.fine.1.first.2"
    )
    assert names.module_of("generator", "/Transpose") == "generator"
    assert names.module_of("generator", "Identity_146") == "generator"
    told = "Error at /_src/myelin/gen.cpp:20: /first/Conv + /second/Relu_1_output_0, /first/Conv."
    assert names.explained("toy", told) == (
        "Error at /_src/myelin/gen.cpp:20: /first/Conv (module toy.first) + "
        "/second/Relu_1_output_0 (module toy.second), /first/Conv (module toy.first)."
    )

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())])

        def forward(self, x):
            return self.fine[0](x)

    known = {f"toy.{name}" for name, _ in Nested().named_modules() if name}
    nodes = onnx.load(str(written(tmp_path, Nested()))).graph.node
    assert nodes and {names.module_of("toy", n.name) for n in nodes} <= known | {"toy"}
    assert "toy.fine.0.0" in {names.module_of("toy", n.name) for n in nodes}


def test_several_gpus_are_built_for_at_once(trt, tmp_path):
    built = engine.build(trt, "toy", halved(tmp_path), PROFILE, tmp_path / "toy.plan", "75, 89")
    assert built.bytes > 1000
    with pytest.raises(engine.EngineError, match="SM='12'"):
        engine.capabilities(trt, "89,12")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (engine.Options(hardware_compatible=True), "SM=86,89,120"),
        (engine.Options(version_compatible=True), "lean runtime"),
        (engine.Options(refit=True), "with a GPU alone"),
    ],
)
def test_what_tensorrt_for_rtx_lacks_is_refused(trt, tmp_path, monkeypatch, options, told):
    monkeypatch.setattr(engine, "present", lambda: None)
    out = tmp_path / "toy.plan"
    with pytest.raises(engine.EngineError, match=f"{options.asked()[0]}: .*{told}"):
        engine.build(trt, "toy", halved(tmp_path), PROFILE, out, "89", options=options)
    assert not out.exists()


def test_options_that_do_not_fit_are_refused_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_export", lambda *_: pytest.fail("it began to export"))
    there = ["--repository", str(tmp_path)]
    rtx = ["--target", "tensorrt_rtx", "--sm", "89", "--hardware-compatible"]
    assert command.main([*rtx, *there]) == 1
    assert "SM=86,89,120" in capsys.readouterr().err
    assert command.main(["--target", "cpu", "--refit", *there]) == 1
    assert "--refit is for engines" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_trtexec_is_told_the_options():
    plain = command.trtexec_arguments()["pose"]
    more = command.trtexec_arguments(engine.Options(True, True, True))["pose"]
    assert more == [
        *plain, "--refit", "--versionCompatible", "--hardwareCompatibilityLevel=ampere+"
    ]  # fmt: skip


class Cache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+"


class Config:
    """What a builder's configuration of TensorRT has for its timing cache."""

    def __init__(self, other_gpu: bool = False) -> None:
        self.cache: Cache | None = None
        self.other_gpu = other_gpu

    def create_timing_cache(self, data: bytes) -> Cache:
        return Cache(data)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if self.other_gpu and cache.data:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache


def test_a_timing_cache_is_kept_for_each_tensorrt_and_gpu(tmp_path):
    one = timing.timing_file(tmp_path / "tensorrt", "10.9", "NVIDIA L4")
    assert one.parent.parent == tmp_path
    assert one != timing.timing_file(tmp_path / "tensorrt", "10.9", "NVIDIA T4")
    assert one != timing.timing_file(tmp_path / "tensorrt", "11.0", "NVIDIA L4")
    said: list[str] = []
    for expected in (b"", b"+", b"++"):  # each build adds to what the one before found
        config = Config()
        timing.use(config, one, said.append)
        assert config.cache is not None and config.cache.data == expected
        timing.keep(config, one)
    assert not said and [f.name for f in one.parent.iterdir()] == [one.name]


def test_a_damaged_timing_cache_is_passed_over_with_a_warning(tmp_path):
    path = tmp_path / "x.cache"
    config = Config()
    timing.use(config, path, print)
    timing.keep(config, path)
    whole = path.read_bytes()
    for damaged in (whole[:-1] + b"?", whole[:20], b"garbage"):
        path.write_bytes(damaged)
        said: list[str] = []
        timing.use(config, path, said.append)
        assert config.cache is not None and config.cache.data == b""
        assert "damaged" in said[0] and str(path) in said[0]
    timing.keep(config, path)
    assert path.read_bytes() == whole


def test_a_timing_cache_of_another_gpu_is_not_used(tmp_path):
    path = tmp_path / "x.cache"
    config = Config()
    timing.use(config, path, print)
    timing.keep(config, path)
    said: list[str] = []
    other = Config(other_gpu=True)
    timing.use(other, path, said.append)
    assert "does not take" in said[0] and other.cache is not None and other.cache.data == b""


def test_an_engine_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.plan"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("export.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_progress_is_silent_without_a_terminal(trt, tmp_path, capfd):
    engine.build(trt, "toy", halved(tmp_path), PROFILE, tmp_path / "toy.plan", "89")
    assert "step" not in capfd.readouterr().err


def test_progress_shows_each_phase_and_ctrl_c_stops_the_build(trt, tmp_path, monkeypatch):
    bars: list[Bar] = []

    class Bar:
        interrupt = False

        def __init__(self, **settings) -> None:
            self.settings, self.steps, self.closed = settings, 0, False
            bars.append(self)

        def update(self) -> None:
            self.steps += 1
            if self.interrupt:
                raise KeyboardInterrupt

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(progress, "tqdm", Bar)
    half, out = halved(tmp_path), tmp_path / "toy.plan"
    engine.build(trt, "toy", half, PROFILE, out, "89")
    assert len(bars) > 1 and all(b.closed and b.settings["disable"] is None for b in bars)
    assert bars[0].settings["desc"].startswith("toy: ") and any(b.steps for b in bars)
    out.unlink()
    Bar.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        engine.build(trt, "toy", half, PROFILE, out, "89")
    assert not out.exists()


# ---- refit ---------------------------------------------------------------------------------------
class Trt:
    """A TensorRT whose engines are their weights: enough for `refit` where there is no GPU."""

    __name__ = "tensorrt"
    __version__ = "10"
    missing: ClassVar[list[str]] = []

    class ILogger:
        class Severity:
            ERROR, INTERNAL_ERROR, WARNING = range(3)

    class SerializationFlag:
        INCLUDE_REFIT = 2

    class Engine:
        def __init__(self, data: bytes) -> None:
            self.refittable, self.data, self.flags = data.startswith(b"refit"), data, set()

        def create_serialization_config(self):
            return SimpleNamespace(set_flag=self.flags.add)

        def serialize_with_config(self, config) -> bytes:
            return b"refit:" + self.data if self.flags == {2} else self.data

    def Runtime(self, logger):
        return SimpleNamespace(deserialize_cuda_engine=Trt.Engine)

    def Refitter(self, built, logger):
        return SimpleNamespace(
            built=built, refit_cuda_engine=lambda: True, get_missing_weights=lambda: self.missing
        )

    def OnnxParserRefitter(self, refitter, logger):
        def take(data: bytes) -> bool:
            refitter.built.data = hashlib.sha256(data).digest()
            return True

        return SimpleNamespace(refit_from_bytes=take, num_errors=0)


def graphs(folder: Path) -> tuple[Path, Path]:
    """Two halved files of the same graph with other weights."""
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    return halved(one), halved(two, largest=0.5)


def test_graphs_differ_by_what_is_no_weight(tmp_path):
    one, two = (onnx.load(str(path)) for path in graphs(tmp_path))
    assert refit.difference(one, two) is None
    assert one.SerializeToString() != two.SerializeToString()
    other = onnx.ModelProto()
    other.CopyFrom(two)
    conv = next(n for n in other.graph.node if n.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "dilations").ints[:] = [2, 2]
    assert "/first/Conv" in str(refit.difference(one, other))
    other.CopyFrom(two)
    other.graph.initializer[0].dims[:] = [1, 2, 3]
    assert "[1, 2, 3], was" in str(refit.difference(one, other))
    other.CopyFrom(two)
    other.graph.initializer.pop()
    assert "is missing" in str(refit.difference(one, other))
    other.CopyFrom(two)
    other.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    assert "input x" in str(refit.difference(one, other))
    other.CopyFrom(two)
    other.graph.node.pop()
    assert "nodes" in str(refit.difference(one, other))


def test_weights_are_swapped_into_an_engine_that_was_built_for_it(tmp_path, monkeypatch):
    one, two = graphs(tmp_path)
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"refit")
    monkeypatch.setattr(refit, "present", lambda: gpu.Gpu("test", "89", "12.8"))
    assert refit.refit(Trt(), "toy", plan, one, two).startswith(b"refit:")
    assert plan.read_bytes() == b"refit"
    monkeypatch.setattr(Trt, "missing", ["/second/Conv.weight"])
    with pytest.raises(engine.EngineError, match="lacks the weight /second"):
        refit.refit(Trt(), "toy", plan, one, two)
    plan.write_bytes(b"plain")
    with pytest.raises(engine.EngineError, match="built without --refit"):
        refit.refit(Trt(), "toy", plan, one, two)


def test_another_graph_and_no_gpu_are_refused(tmp_path, monkeypatch):
    one, two = graphs(tmp_path)
    monkeypatch.setattr(refit, "present", lambda: None)
    with pytest.raises(engine.EngineError, match="no GPU is here"):
        refit.refit(Trt(), "toy", tmp_path / "none.plan", one, two)
    bigger = onnx.load(str(two))
    bigger.graph.node[0].op_type = "Elu"
    onnx.save(bigger, str(two))
    with pytest.raises(engine.EngineError, match=r"toy: .*another graph.*make export"):
        refit.refit(Trt(), "toy", tmp_path / "none.plan", one, two)


@pytest.fixture
def refittable(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A fresh export, and a repository with engines of older weights."""
    one, two = graphs(tmp_path)
    monkeypatch.setattr(refit, "MODELS", (TOY,))
    monkeypatch.setattr(refit, "present", lambda: gpu.Gpu("test", "89", "12.8"))
    monkeypatch.setattr(refit, "source_hashes", lambda: {"weights": "new"})
    monkeypatch.setattr(engine, "load", lambda target: Trt())
    folders = {}
    for name, weights, half in (("fresh", "new", two), ("tensorrt", "old", one)):
        folder = tmp_path / name / "toy" / "1"
        folder.mkdir(parents=True)
        (folder / "model.fp16.onnx").write_bytes(half.read_bytes())
        (folder / "model.onnx").write_bytes((half.parent / "model.onnx").read_bytes())
        if name == "tensorrt":
            (folder / "model.plan").write_bytes(b"refit")
            sources = {"weights": weights, "engines": "89, --refit"}
            known = engines.facts("tensorrt", "89", sources, engine.Options(refit=True))
            lock.write(tmp_path / name, known)
        stamp = {
            "target": "tensorrt",
            "sources": {"weights": weights, "engines": "89, --refit"},
            "files": repository.files_of(tmp_path / name),
        }
        (tmp_path / name / repository.STAMP).write_text(json.dumps(stamp))
        folders[name] = tmp_path / name
    return folders["fresh"], folders["tensorrt"]


def test_a_refit_replaces_engine_graphs_and_lock_together(refittable, monkeypatch, capsys):
    fresh, served = refittable
    assert refit.main([str(fresh), "--repository", str(served)]) == 0
    assert "toy refitted" in capsys.readouterr().out
    folder = served / "toy" / "1"
    assert (folder / "model.plan").read_bytes().startswith(b"refit:")
    assert (folder / "model.fp16.onnx").read_bytes() == (
        fresh / "toy" / "1" / "model.fp16.onnx"
    ).read_bytes()
    monkeypatch.setattr(doctor, "source_hashes", lambda: {"weights": "new"})
    assert doctor.examine(served) == []
    assert refit.refit_all(fresh, served) == []
    assert not list(served.parent.glob(".tensorrt.tmp-*"))


def test_a_refit_that_fails_leaves_everything(refittable, capsys):
    fresh, served = refittable
    other = onnx.load(str(fresh / "toy" / "1" / "model.fp16.onnx"))
    other.graph.node[0].op_type = "Elu"
    onnx.save(other, str(fresh / "toy" / "1" / "model.fp16.onnx"))
    stamp = json.loads((fresh / repository.STAMP).read_text())
    stamp["files"] = repository.files_of(fresh)
    (fresh / repository.STAMP).write_text(json.dumps(stamp))
    before = {f: f.read_bytes() for f in served.rglob("*") if f.is_file()}
    assert refit.main([str(fresh), "--repository", str(served)]) == 1
    assert "another graph" in capsys.readouterr().err
    assert {f: f.read_bytes() for f in served.rglob("*") if f.is_file()} == before


def test_a_refit_refuses_what_is_old_or_touched(refittable, monkeypatch, capsys):
    fresh, served = refittable
    plan = served / "toy" / "1" / "model.plan"
    plan.write_bytes(b"refiT")
    assert refit.main([str(fresh), "--repository", str(served)]) == 1
    assert "not the file that was locked" in capsys.readouterr().err
    plan.write_bytes(b"refit")
    monkeypatch.setattr(Trt, "__version__", "11")
    assert refit.main([str(fresh), "--repository", str(served)]) == 1
    assert "tensorrt was 10, is 11: it takes a build" in capsys.readouterr().err
    monkeypatch.setattr(refit, "source_hashes", lambda: {"weights": "newer"})
    assert refit.main([str(fresh), "--repository", str(served)]) == 1
    assert "today's weights" in capsys.readouterr().err
    assert refit.main([str(fresh / "toy"), "--repository", str(served)]) == 1
    assert "no exported repository" in capsys.readouterr().err


# ---- lock ----------------------------------------------------------------------------------------
def test_the_lock_holds_cuda_options_and_calibration(monkeypatch):
    facts = engines.facts("tensorrt_rtx", "89", {})
    assert facts["cuda"] == "12"  # the package's name says so
    assert facts["options"] == {
        "refit": False, "version_compatible": False, "hardware_compatible": False
    }  # fmt: skip
    assert {"rendered_person.png", "openpeople"} <= set(facts["calibration"])
    monkeypatch.setattr(engines.gpu, "present", lambda: None)
    with pytest.raises(engine.EngineError, match="SM=89"):
        engines.facts("tensorrt_rtx", "", {})


def test_other_calibration_inputs_have_another_fingerprint():
    one = inputs()
    assert engines.fingerprint(one) == engines.fingerprint(inputs())
    assert engines.fingerprint(one) != engines.fingerprint({"x": one["x"] + 1})
    assert engines.fingerprint(one) != engines.fingerprint({"x": one["x"].reshape(1, 3, 256)})


def test_the_doctor_asks_for_the_options_again(tmp_path, monkeypatch):
    folder = tmp_path / "tensorrt_rtx"
    folder.mkdir()
    (folder / "x").write_bytes(b"x")
    hashes = {"weights": "abc", "engines": "86,89"}
    (folder / repository.STAMP).write_text(json.dumps({"files": {"x": 1}, "sources": hashes}))
    lock.write(folder, engines.facts("tensorrt_rtx", "86,89", hashes, engine.Options(refit=True)))
    monkeypatch.setattr(doctor, "source_hashes", lambda: {"weights": "abc"})
    assert doctor.examine(folder) == []
    monkeypatch.setattr(doctor, "source_hashes", lambda: {"weights": "new"})
    assert 'SM=86,89 ARGS="--refit"' in doctor.examine(folder)[0]
    monkeypatch.setattr(engines, "_calibration", lambda: {"rendered_person.png": "other"})
    assert any("calibration: rendered_person.png" in line for line in doctor.examine(folder))


def test_the_gpu_is_the_drivers(monkeypatch):
    class Driver:
        failed = 0

        def cuInit(self, flags):
            return self.failed

        def cuDeviceGet(self, device, ordinal):
            return 0

        def cuDeviceGetName(self, name, size, device):
            name.value = b"NVIDIA Test"
            return 0

        def cuDeviceGetAttribute(self, value, attribute, device):
            value._obj.value = {75: 12, 76: 0}[attribute]
            return 0

        def cuDriverGetVersion(self, value):
            value._obj.value = 12080
            return 0

    monkeypatch.setattr(gpu.ctypes, "CDLL", lambda name: Driver())
    assert gpu.present() == gpu.Gpu("NVIDIA Test", "120", "12.8")
    monkeypatch.setattr(Driver, "failed", 100)
    assert gpu.present() is None
