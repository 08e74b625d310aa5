"""The committed config.pbtxt are the contract's, and Triton's own protobuf reads them."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.__main__ import trtexec_commands
from export.config import TARGETS, TRITON_TYPES, all_configs, profile, write_configs
from export.repository import REPOSITORIES
from tryon import contract

NAMES = [m.name for m in contract.MODELS] + [contract.ENSEMBLE]


def parsed(target: str, name: str) -> model_config_pb2.ModelConfig:
    text = (REPOSITORIES / target / name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("target", TARGETS)
def test_committed_configs_regenerate_byte_equal(target, tmp_path):
    write_configs(tmp_path, target)
    for name in NAMES:
        committed = REPOSITORIES / target / name / "config.pbtxt"
        assert committed.read_bytes() == (tmp_path / name / "config.pbtxt").read_bytes(), (
            f"{committed} is stale: run `python -m export --only generate-configs`"
        )
    folders = {p.name for p in (REPOSITORIES / target).iterdir() if p.is_dir()}
    assert folders == set(NAMES)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_names_dtypes_and_shapes_are_the_contracts(target, name):
    config = parsed(target, name)
    if name == contract.ENSEMBLE:
        inputs, outputs = contract.ENSEMBLE_INPUTS, contract.ENSEMBLE_OUTPUTS
    else:
        inputs, outputs = contract.model(name).inputs, contract.model(name).outputs
    for found, expected in ((config.input, inputs), (config.output, outputs)):
        assert [
            (t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in found
        ] == [(t.name, TRITON_TYPES[t.dtype], t.shape) for t in expected]
    assert config.name == name
    assert config.max_batch_size == contract.MAX_BATCH_SIZE
    assert config.parameters["contract_version"].string_value == contract.CONTRACT_VERSION


@pytest.mark.parametrize(
    ("target", "backend", "platform"),
    [("cpu", "python", ""), ("cuda", "onnxruntime", ""), ("tensorrt", "", "tensorrt_plan")],
)
def test_networks_run_on_the_targets_backend(target, backend, platform):
    for model in contract.MODELS:
        config = parsed(target, model.name)
        on_gpu = model.kind == "onnx" and target != "cpu"
        if model.kind == "onnx":
            assert (config.backend, config.platform) == (backend, platform)
        else:
            assert config.backend == "python"
        kind = model_config_pb2.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind)
        assert kind == ("KIND_GPU" if on_gpu else "KIND_CPU")


@pytest.mark.parametrize("target", TARGETS)
def test_ensemble_feeds_every_input_from_an_earlier_step(target):
    config = parsed(target, contract.ENSEMBLE)
    known = {t.name for t in config.input}
    read = {t.name for t in config.output}
    for step in config.ensemble_scheduling.step:
        model = contract.model(step.model_name)
        assert set(step.input_map) == {t.name for t in model.inputs}
        assert set(step.input_map.values()) <= known, f"{step.model_name} reads what is not there"
        read |= set(step.input_map.values())
        known |= set(step.output_map.values())
    assert {t.name for t in config.output} <= known
    made = {v for s in config.ensemble_scheduling.step for v in s.output_map.values()}
    assert made <= read, "Triton refuses an ensemble tensor that nobody reads"


def test_a_changed_contract_changes_the_configs(monkeypatch):
    before = all_configs("cpu")
    monkeypatch.setattr("export.config.CONTRACT_VERSION", "0")
    after = all_configs("cpu")
    assert all(before[name] != after[name] for name in NAMES)


def test_unknown_target_is_named():
    with pytest.raises(KeyError, match="no target 'tpu'; there are cpu, cuda, tensorrt"):
        all_configs("tpu")


@pytest.mark.parametrize("name", [m.name for m in contract.MODELS if m.kind == "onnx"])
def test_profiles_fit_the_contract(name):
    model = contract.model(name)
    shapes = profile(model)
    assert list(shapes) == [tensor.name for tensor in model.inputs]
    for tensor in model.inputs:
        low, best, high = shapes[tensor.name]
        for shape in (low, best, high):
            assert all(d in (-1, s) for d, s in zip(tensor.shape, shape[1:], strict=True))
        assert all(a <= b <= c for a, b, c in zip(low, best, high, strict=True))
    if name == "detector":
        assert [shape[2] for shape in shapes["thumbnail"]] == [160, 160, 224]


def test_profiles_cover_the_benchmarked_sizes():
    low, _, high = profile(contract.model("generator"))["window"]
    for height, width in contract.OUTPUT_SIZES:
        assert low[1] <= height <= high[1] and low[2] <= width <= high[2]


def test_trtexec_commands_name_every_network(tmp_path):
    commands = trtexec_commands(tmp_path)
    networks = [m.name for m in contract.MODELS if m.kind == "onnx"]
    assert len(commands) == len(networks)
    for command, name in zip(commands, networks, strict=True):
        assert f"{name}/1/model.fp16.onnx" in command
        assert "window:1x" in command or name != "generator"


@pytest.mark.parametrize("target", TARGETS)
def test_one_step_alone_starts_the_ensemble(target):
    """With two, Triton 2.51 locks up when one fails while the other is being scheduled."""
    config = parsed(target, contract.ENSEMBLE)
    given = {t.name for t in config.input}
    first = [
        s.model_name for s in config.ensemble_scheduling.step if set(s.input_map.values()) <= given
    ]
    assert first == ["decode"]
