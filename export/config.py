"""`config.pbtxt` of every served model for every target, generated from the contract.

The files are committed under `model_repository/`; a test regenerates and compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tryon.contract import (
    CANVAS_SIZES,
    CONTRACT_VERSION,
    DETECTOR_NARROW,
    DETECTOR_SIZE,
    ENSEMBLES,
    MAX_BATCH_SIZE,
    MAX_SIDE,
    MAX_TOKENS,
    MODELS,
    OUTPUT_SIZES,
    SERVED,
    Ensemble,
    Model,
    Tensor,
)

TARGETS = ("cpu", "cuda", "tensorrt", "cuda_tensorrt")
"""`cpu`: each ONNX file in a Python backend step (the embedded server has no other backend);
`cuda`: Triton's ONNX Runtime backend, on its CUDA execution provider; `tensorrt`: TensorRT engines;
`cuda_tensorrt`: ONNX Runtime on its TensorRT provider, which builds an engine when it loads."""

TRITON_TYPES = {
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "bytes": "TYPE_STRING",
}

REMEMBERED = {"text_encoder": 8, "image_encoder": 96}
"""Megabytes for the answers of networks that see the garment and the words alone: a shop's garments
come again with every customer. On the `cpu` target; about 200 garments, the oldest out first, and
thousands of prompts beside a garment (or 40 drawings)."""

WAITING = 64
"""Requests that may wait for an ensemble's first step on a GPU target; one more is refused
(UNAVAILABLE), not kept until its sender has gone. Only there: it is the one step that starts, and a
step that fails beside others would stop the ensemble (see the decisions)."""
FIRST = tuple(ensemble.steps[0].model for ensemble in ENSEMBLES)
"""The step that starts each ensemble."""

CUDA_PROVIDER = {"cudnn_conv_algo_search": "1"}
"""Of Triton's ONNX Runtime backend; 1: cuDNN's algorithms by its heuristic. Its default tries each
of them at the first request of each batch size, while that request waits. The backend reads this
key among the model's parameters and overrides it in `gpu_execution_accelerator`.

Not `enable_cuda_graph`: a graph replays the addresses it was captured with, and the backend binds
each request's own. I/O binding is its own doing: tensors stay on the GPU between networks."""

ENGINE_CACHE = "/cache/onnxruntime"
"""Where the TensorRT provider keeps its engines: in the container's volume (deploy/container)."""

ONES = ("attention_mask",)
"""Inputs whose warm-up is ones: with no word to look at, E^T in fp16 answers what is no number, and
looks up a shape by it."""
SETTINGS_FILE = Path(__file__).with_name("settings.json")


@dataclass(frozen=True)
class Settings:
    """What may be chosen of the `cpu` target, each by a step's name; `make tune` tries others.

    Attributes:
        threads: cores that one inference of a network may use while no other step of the server
            is under way (`tryon.steps.under_way`); beside others it takes one.
        cores: which of exactly two cores a step stays on: the person's branch and the garment's
            each find their data in their own core's cache, and neither is moved about.
        instances: processes of a step, where it has more than one.
        queue_delay: microseconds for which a step waits for further requests, to take them
            together; those that are not named take each request as it comes.
    """

    threads: Mapping[str, int]
    cores: Mapping[str, int]
    instances: Mapping[str, int]
    queue_delay: Mapping[str, int]


def load_settings(path: Path = SETTINGS_FILE) -> Settings:
    """The settings of a file; `benchmarks.tune` writes it.

    Raises:
        ValueError: it can't be read, or names another step, or a number is none; one line.
    """
    steps = {model.name for model in SERVED}
    networks = {model.name for model in MODELS if model.kind == "onnx"}
    least = {"threads": 1, "cores": 0, "instances": 1, "queue_delay": 0}
    try:
        told = json.loads(path.read_text())
        for name, low in least.items():
            for step, value in told[name].items():
                if step not in steps or type(value) is not int or value < low:
                    raise ValueError(f"{name}: {step}: {value!r}")
        if told["threads"].keys() != networks:
            raise ValueError(f"threads: must name {', '.join(sorted(networks))}")
        return Settings(**{name: dict(told[name]) for name in least})
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: {why}; `git checkout {path}` brings it back") from None


def _own_settings() -> Settings:
    """Those of the repository. Ends the program with a line where they are damaged: every command
    that imports this needs them."""
    try:
        return load_settings()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None


SETTINGS = _own_settings()

HEADER = "# Generated from tryon/contract.py by `python -m export --only generate-configs`.\n"


def _tensors(kind: str, tensors: tuple[Tensor, ...]) -> str:
    lines = []
    for tensor in tensors:
        dims = ", ".join(str(d) for d in tensor.shape)
        data_type = TRITON_TYPES[tensor.dtype]
        lines.append(f'  {{ name: "{tensor.name}" data_type: {data_type} dims: [ {dims} ] }}')
    return f"{kind} [\n" + ",\n".join(lines) + "\n]\n"


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def _accelerator(model: Model) -> str:
    """ONNX Runtime's TensorRT provider, on the network's fp16 file.

    No `precision_mode`: with none, the provider keeps the types that the file has, as our gate
    tested them; "FP16" would round what the file keeps in float32, and TensorRT 11 refuses it.
    """
    wanted = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": ENGINE_CACHE,
        "trt_engine_cache_prefix": model.name,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": ENGINE_CACHE,
    }
    for i, kind in enumerate(("min", "opt", "max")):
        wanted[f"trt_profile_{kind}_shapes"] = ",".join(
            f"{name}:{'x'.join(str(d) for d in triple[i])}"
            for name, triple in profile(model).items()
        )
    lines = "\n".join(f'    parameters {{ key: "{k}" value: "{v}" }}' for k, v in wanted.items())
    return (
        "optimization { execution_accelerators { gpu_execution_accelerator [ {\n"
        f'    name: "tensorrt"\n{lines}\n}} ] }} }}\n'
    )


def _warm_up(model: Model) -> str:
    """One blank request of one and one of many at a network's best shape, before it is ready.

    The first request of a session loads kernels and fills memory pools.
    """
    samples = []
    for batch in (1, MAX_BATCH_SIZE):
        lines = [f'    name: "blank of {batch}"\n    batch_size: {batch}']
        for tensor in model.inputs:
            dims = ", ".join(str(d) for d in profile(model)[tensor.name][1][1:])
            filled = tensor.name in ONES
            data = f'input_data_file: "{tensor.name}"' if filled else "zero_data: true"
            lines.append(
                f'    inputs {{ key: "{tensor.name}" value {{ data_type: '
                f"{TRITON_TYPES[tensor.dtype]} dims: [ {dims} ] {data} }} }}"
            )
        samples.append("  {\n" + "\n".join(lines) + "\n  }")
    return "model_warmup [\n" + ",\n".join(samples) + "\n]\n"


def write_warm_up(repository: Path) -> None:
    """Writes the files that warm-up requests name, one sample each: Triton repeats it."""
    for model in MODELS:
        for tensor in (t for t in model.inputs if model.kind == "onnx" and t.name in ONES):
            folder = repository / model.name / "warmup"
            folder.mkdir(parents=True, exist_ok=True)
            best = profile(model)[tensor.name][1][1:]
            (folder / tensor.name).write_bytes(np.ones(best, tensor.dtype).tobytes())


def model_config(model: Model, target: str, settings: Settings = SETTINGS) -> str:
    """The text of a model's `config.pbtxt`; `settings` count for the `cpu` target alone."""
    python = model.kind == "python" or target == "cpu"
    text = HEADER + f'name: "{model.name}"\n'
    if python:
        text += 'backend: "python"\n'
    elif target == "tensorrt":
        text += 'platform: "tensorrt_plan"\n'
    else:
        text += 'backend: "onnxruntime"\n'
    if target == "cuda_tensorrt" and not python:
        text += 'default_model_filename: "model.fp16.onnx"\n'
    text += f"max_batch_size: {MAX_BATCH_SIZE}\n"
    text += _tensors("input", model.inputs) + _tensors("output", model.outputs)
    kind = "KIND_CPU" if python else "KIND_GPU"
    count = settings.instances.get(model.name, 1) if target == "cpu" else 1
    text += f"instance_group [ {{ count: {count} kind: {kind} }} ]\n"
    if target == "cpu" and model.name in settings.queue_delay:
        delay = settings.queue_delay[model.name]
        text += f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}\n"
    text += _parameter("contract_version", CONTRACT_VERSION)
    if target == "cpu" and model.name in settings.cores:
        text += _parameter("core", str(settings.cores[model.name]))
    if model.kind == "onnx" and target == "cpu":
        text += _parameter("threads", str(settings.threads[model.name]))
        if model.name in REMEMBERED:
            text += _parameter("remembered_megabytes", str(REMEMBERED[model.name]))
    if python and target != "cpu":
        # Its neighbours may leave tensors in GPU memory; the step reads them as numpy.
        text += _parameter("FORCE_CPU_ONLY_INPUT_TENSORS", "yes")
    if model.name in FIRST and target != "cpu":
        text += f"dynamic_batching {{ default_queue_policy {{ max_queue_size: {WAITING} }} }}\n"
    if not python:
        text += _on_gpu(model, target)
    return text


def _on_gpu(model: Model, target: str) -> str:
    """What a network on a GPU has beside its tensors."""
    # Requests that already wait together run together; nobody waits for another to come.
    text = "dynamic_batching { max_queue_delay_microseconds: 0 }\n"
    if target == "tensorrt":
        if all(-1 not in tensor.shape for tensor in model.inputs):
            # The backend copies into buffers of its own, so that a captured graph can be replayed.
            text += "optimization { cuda { graphs: true } }\n"
    else:
        for key, value in CUDA_PROVIDER.items():
            text += _parameter(key, value)
        if target == "cuda_tensorrt":
            text += _accelerator(model)
    return text + _warm_up(model)


def ensemble_config(ensemble: Ensemble, target: str) -> str:
    """The text of an ensemble's `config.pbtxt`: the same for every target but its parameters."""
    text = HEADER + f'name: "{ensemble.name}"\nplatform: "ensemble"\n'
    text += f"max_batch_size: {ensemble.batch}\n"
    text += _tensors("input", ensemble.inputs) + _tensors("output", ensemble.outputs)
    text += _parameter("contract_version", CONTRACT_VERSION) + _parameter("target", target)
    steps = []
    models = {model.name: model for model in SERVED}
    wanted = {t.name for t in ensemble.outputs} | {
        step.inputs.get(t.name, t.name)
        for step in ensemble.steps
        for t in models[step.model].inputs
    }
    for step in ensemble.steps:
        model = models[step.model]
        lines = [f'      model_name: "{model.name}"', "      model_version: -1"]
        for tensor in model.inputs:
            name = step.inputs.get(tensor.name, tensor.name)
            lines.append(f'      input_map {{ key: "{tensor.name}" value: "{name}" }}')
        for tensor in model.outputs:
            name = step.outputs.get(tensor.name, tensor.name)
            if name not in wanted:
                continue  # Triton refuses an ensemble tensor that nobody reads
            lines.append(f'      output_map {{ key: "{tensor.name}" value: "{name}" }}')
        steps.append("    {\n" + "\n".join(lines) + "\n    }")
    return text + "ensemble_scheduling {\n  step [\n" + ",\n".join(steps) + "\n  ]\n}\n"


def all_configs(target: str, settings: Settings = SETTINGS) -> dict[str, str]:
    """Model name -> text of its `config.pbtxt`, the ensembles included."""
    if target not in TARGETS:
        raise KeyError(f"no target {target!r}; there are {', '.join(TARGETS)}")
    configs = {m.name: model_config(m, target, settings) for m in SERVED}
    return configs | {e.name: ensemble_config(e, target) for e in ENSEMBLES}


def write_configs(repository: Path, target: str, settings: Settings = SETTINGS) -> list[Path]:
    """Writes every `config.pbtxt` into `repository`; answers the files that changed."""
    changed = []
    for name, text in all_configs(target, settings).items():
        file = repository / name / "config.pbtxt"
        if not file.is_file() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            changed.append(file)
    return changed


# ---- TensorRT ----------------------------------------------------------------------------------
Shape = tuple[int, ...]


def profile(model: Model) -> dict[str, tuple[Shape, Shape, Shape]]:
    """A TensorRT optimisation profile: input -> (least, best, largest) shape, batch in front.

    Varying dimensions run from the smallest of OUTPUT_SIZES (or canvas, or thumbnail) to what the
    contract allows, and are best at an upright 512x384.
    """
    profiles = {}
    for tensor in model.inputs:
        if -1 not in tensor.shape:
            low = best = high = tensor.shape
        elif tensor.name in ("input_ids", "attention_mask"):
            low, best, high = (2,), (8,), (MAX_TOKENS,)
        elif tensor.name == "thumbnail":
            narrow, square = (DETECTOR_SIZE, DETECTOR_NARROW, 3), (DETECTOR_SIZE, DETECTOR_SIZE, 3)
            low, best, high = narrow, narrow, square
        elif tensor.name == "canvas":
            low, best, high = (
                (4, *s) for s in (CANVAS_SIZES[0], CANVAS_SIZES[0], CANVAS_SIZES[-1])
            )
        else:
            channels = tensor.shape[2:]
            # A window is cut to the photo, so it may be far smaller than a picture.
            low, high = (8, 8, *channels), (MAX_SIDE, MAX_SIDE, *channels)
            best = (*OUTPUT_SIZES[1], *channels)
        profiles[tensor.name] = ((1, *low), (1, *best), (MAX_BATCH_SIZE, *high))
    return profiles
