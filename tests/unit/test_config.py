"""The committed config.pbtxt are the contract's, and Triton's own protobuf reads them."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.__main__ import trtexec_commands
from export.config import (
    ONES,
    TARGETS,
    TRITON_TYPES,
    WAITING,
    all_configs,
    profile,
    write_configs,
    write_warm_up,
)
from export.engines import HALF
from export.repository import REPOSITORIES
from tryon import contract

TENSORRT_KEYS = {
    "trt_engine_cache_enable", "trt_engine_cache_path", "trt_engine_cache_prefix",
    "trt_timing_cache_enable", "trt_timing_cache_path", "trt_profile_min_shapes",
    "trt_profile_opt_shapes", "trt_profile_max_shapes",
}  # fmt: skip
"""Of those that Triton's ONNX Runtime backend knows; it refuses a model with any other."""

ENSEMBLES = {e.name: e for e in contract.ENSEMBLES}
NAMES = [m.name for m in contract.SERVED] + list(ENSEMBLES)


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
    served = ENSEMBLES[name] if name in ENSEMBLES else contract.model(name)
    inputs, outputs = served.inputs, served.outputs
    for found, expected in ((config.input, inputs), (config.output, outputs)):
        assert [
            (t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in found
        ] == [(t.name, TRITON_TYPES[t.dtype], t.shape) for t in expected]
    assert config.name == name
    batch = ENSEMBLES[name].batch if name in ENSEMBLES else contract.MAX_BATCH_SIZE
    assert config.max_batch_size == batch
    assert config.parameters["contract_version"].string_value == contract.CONTRACT_VERSION


@pytest.mark.parametrize(
    ("target", "backend", "platform"),
    [
        ("cpu", "python", ""),
        ("cuda", "onnxruntime", ""),
        ("tensorrt", "", "tensorrt_plan"),
        ("cuda_tensorrt", "onnxruntime", ""),
    ],
)
def test_networks_run_on_the_targets_backend(target, backend, platform):
    for model in contract.SERVED:
        config = parsed(target, model.name)
        on_gpu = model.kind == "onnx" and target != "cpu"
        if model.kind == "onnx":
            assert (config.backend, config.platform) == (backend, platform)
        else:
            assert config.backend == "python"
        kind = model_config_pb2.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind)
        assert kind == ("KIND_GPU" if on_gpu else "KIND_CPU")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles_feed_every_input_from_an_earlier_step(target, name):
    config = parsed(target, name)
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


NEVER_REFUSES = {"cutout", "paste", "predict_crop", "update_track"}
"""Of the steps in Python, those to which what they are asked was checked before."""


@pytest.mark.parametrize("name", ENSEMBLES)
def test_what_may_refuse_a_request_runs_alone(name):
    """Triton 2.51 ends, or keeps the request for good, when a step fails beside another."""
    before: dict[str, set[str]] = {}
    made_by: dict[str, str] = {}
    for step in parsed("cpu", name).ensemble_scheduling.step:
        makers = {made_by[t] for t in step.input_map.values() if t in made_by}
        before[step.model_name] = makers.union(*(before[maker] for maker in makers))
        made_by |= dict.fromkeys(step.output_map.values(), step.model_name)
    for step in before:
        if contract.model(step).kind == "onnx" or step in NEVER_REFUSES:
            continue
        after = {other for other, earlier in before.items() if step in earlier}
        assert {step} | before[step] | after == set(before), f"others may run beside {step}"


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


FIRST = {"tryon": "decode", "wardrobe_add": "wardrobe_decode", "tryon_live": "live_decode",
         "tryon_follow": "live_decode"}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ENSEMBLES)
def test_one_step_alone_starts_an_ensemble(target, name):
    """With two, Triton 2.51 locks up when one fails while the other is being scheduled."""
    config = parsed(target, name)
    given = {t.name for t in config.input}
    first = [
        s.model_name for s in config.ensemble_scheduling.step if set(s.input_map.values()) <= given
    ]
    assert first == [FIRST[name]]


GPU = [t for t in TARGETS if t != "cpu"]
NETWORKS = [m.name for m in contract.MODELS if m.kind == "onnx"]


@pytest.mark.parametrize("target", GPU)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_a_gpu_batch_what_waits_and_wait_for_nobody(target, name):
    config = parsed(target, name)
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    # A full queue in the middle would fail one step beside others, which stops the ensemble.
    assert not config.dynamic_batching.HasField("default_queue_policy")


@pytest.mark.parametrize("target", GPU)
def test_the_first_steps_alone_bound_who_waits(target):
    for name in NAMES:
        policy = parsed(target, name).dynamic_batching.default_queue_policy
        assert policy.max_queue_size == (WAITING if name in FIRST.values() else 0)


@pytest.mark.parametrize("target", GPU)
@pytest.mark.parametrize("name", NETWORKS)
def test_warm_up_requests_fit_the_contract_and_the_profile(target, name, tmp_path):
    write_warm_up(tmp_path)
    warm = parsed(target, name).model_warmup
    assert [w.batch_size for w in warm] == [1, contract.MAX_BATCH_SIZE]
    for sample in warm:
        assert set(sample.inputs) == {t.name for t in contract.model(name).inputs}
        for tensor in contract.model(name).inputs:
            found = sample.inputs[tensor.name]
            low, _, high = profile(contract.model(name))[tensor.name]
            assert model_config_pb2.DataType.Name(found.data_type) == TRITON_TYPES[tensor.dtype]
            if tensor.name in ONES:  # Triton repeats the file for each of the batch
                data = np.fromfile(tmp_path / name / "warmup" / found.input_data_file, tensor.dtype)
                assert data.size == np.prod(found.dims) and (data == 1).all()
            else:
                assert found.zero_data
            sizes = zip(low[1:], found.dims, high[1:], strict=True)
            assert all(a <= b <= c for a, b, c in sizes)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_is_told_what_its_backend_reads(name):
    for target in ("cuda", "cuda_tensorrt"):
        config = parsed(target, name)
        assert config.parameters["cudnn_conv_algo_search"].string_value == "1"
        given = config.optimization.execution_accelerators.gpu_execution_accelerator
        keys = {k for accelerator in given for k in accelerator.parameters}
        # It replays addresses that the backend does not keep.
        assert "enable_cuda_graph" not in keys and "trt_cuda_graph_enable" not in keys
    assert not parsed("cuda", name).optimization.execution_accelerators.ListFields()
    (accelerator,) = given
    assert accelerator.name == "tensorrt"
    # With it the file's own types, which the gate tested, would be overruled.
    assert "precision_mode" not in accelerator.parameters
    assert parsed("cuda_tensorrt", name).default_model_filename == HALF
    assert set(accelerator.parameters) <= TENSORRT_KEYS
    shapes = profile(contract.model(name))
    for i, kind in enumerate(("min", "opt", "max")):
        told = accelerator.parameters[f"trt_profile_{kind}_shapes"]
        assert dict(part.split(":") for part in told.split(",")) == {
            n: "x".join(str(d) for d in triple[i]) for n, triple in shapes.items()
        }


def test_graphs_are_captured_where_shapes_are_fixed():
    on = {n for n in NETWORKS if parsed("tensorrt", n).optimization.cuda.graphs}
    assert on == {"pose", "image_encoder"}


@pytest.mark.parametrize("target", GPU)
def test_no_response_cache_where_it_can_hold_nothing(target):
    """Triton keeps answers that lie in CPU memory alone; a network's go to the next on the GPU."""
    for name in NETWORKS:
        assert not parsed(target, name).response_cache.enable
