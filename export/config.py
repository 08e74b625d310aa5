"""`config.pbtxt` of every served model for every target, generated from the contract.

The files are committed under `model_repository/`; a test regenerates and compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tryon.contract import (
    CANVAS_SIZES,
    CONTRACT_VERSION,
    DETECTOR_NARROW,
    DETECTOR_SIZE,
    ENSEMBLE,
    ENSEMBLE_INPUTS,
    ENSEMBLE_OUTPUTS,
    ENSEMBLE_STEPS,
    MAX_BATCH_SIZE,
    MAX_SIDE,
    MAX_TOKENS,
    MODELS,
    OUTPUT_SIZES,
    Model,
    Tensor,
)

TARGETS = ("cpu", "cuda", "tensorrt")
"""`cpu`: each ONNX file in a Python backend step (the embedded server has no other backend);
`cuda`: Triton's ONNX Runtime backend; `tensorrt`: TensorRT engines."""

TRITON_TYPES = {
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "bytes": "TYPE_STRING",
}

THREADS = {"detector": 1, "pose": 1, "text_encoder": 1, "image_encoder": 1, "generator": 2}
"""Cores that one inference of a network may use on the `cpu` target. The person's branch and the
garment's run side by side, so the two together should take what there is."""

CORES = {"detector": 0, "crop": 0, "pose": 0, "text_encoder": 1, "cutout": 1, "image_encoder": 1}
"""Which of exactly two cores a step of the `cpu` target stays on: the person's branch and the
garment's each find their data in their own core's cache, and neither is moved about."""

REMEMBERED = {"text_encoder": 8, "image_encoder": 96}
"""Megabytes for the answers of networks that see the garment and the words alone: a shop's garments
come again with every customer. On the `cpu` target; about 200 garments, the oldest out first, and
thousands of prompts beside a garment (or 40 drawings)."""

INSTANCES: dict[str, int] = {}
"""Processes of a step of the `cpu` target, where it has more than one."""

QUEUE_DELAY: dict[str, int] = {}
"""Microseconds for which a step of the `cpu` target waits for further requests, to take them
together; those that are not named here take each request as it comes."""


@dataclass(frozen=True)
class Settings:
    """What may be chosen of the `cpu` target, each by a step's name: `THREADS`, `CORES`,
    `INSTANCES` and `QUEUE_DELAY` above. `make tune` tries others."""

    threads: Mapping[str, int]
    cores: Mapping[str, int]
    instances: Mapping[str, int]
    queue_delay: Mapping[str, int]


SETTINGS = Settings(THREADS, CORES, INSTANCES, QUEUE_DELAY)

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


def model_config(model: Model, target: str, settings: Settings = SETTINGS) -> str:
    """The text of a model's `config.pbtxt`; `settings` count for the `cpu` target alone."""
    python = model.kind == "python" or target == "cpu"
    text = HEADER + f'name: "{model.name}"\n'
    if python:
        text += 'backend: "python"\n'
    elif target == "cuda":
        text += 'backend: "onnxruntime"\n'
    else:
        text += 'platform: "tensorrt_plan"\n'
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
    return text


def ensemble_config(target: str) -> str:
    """The text of the ensemble's `config.pbtxt`: the same for every target but its parameters."""
    text = HEADER + f'name: "{ENSEMBLE}"\nplatform: "ensemble"\nmax_batch_size: {MAX_BATCH_SIZE}\n'
    text += _tensors("input", ENSEMBLE_INPUTS) + _tensors("output", ENSEMBLE_OUTPUTS)
    text += _parameter("contract_version", CONTRACT_VERSION) + _parameter("target", target)
    steps = []
    models = {model.name: model for model in MODELS}
    wanted = {t.name for t in ENSEMBLE_OUTPUTS} | {
        step.inputs.get(t.name, t.name)
        for step in ENSEMBLE_STEPS
        for t in models[step.model].inputs
    }
    for step in ENSEMBLE_STEPS:
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
    """Model name -> text of its `config.pbtxt`, the ensemble included."""
    if target not in TARGETS:
        raise KeyError(f"no target {target!r}; there are {', '.join(TARGETS)}")
    configs = {m.name: model_config(m, target, settings) for m in MODELS}
    return configs | {ENSEMBLE: ensemble_config(target)}


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
