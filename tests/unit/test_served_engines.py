"""Every served network as an engine of TensorRT for RTX, really built for SM 89 with no GPU.

Uses what `make export TARGET=tensorrt_rtx SM=89` has built of these sources; else it builds first.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export import __main__ as command
from export import audit, doctor, lock, trace
from export.config import all_configs
from export.repository import FORMS, PLAN, REPOSITORIES, ROOT, is_current, source_hashes
from tryon.contract import MODELS, Model

NETWORKS = [m for m in MODELS if m.kind == "onnx"]
TARGET, SM = "tensorrt_rtx", "89"
TYPES = {"TYPE_UINT8": "uint8", "TYPE_INT32": "int32", "TYPE_INT64": "int64",
         "TYPE_FP32": "float32", "TYPE_FP16": "float16"}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of targets with the engines' repository in it: a copy, which tests may break."""
    folder = tmp_path_factory.mktemp("repositories")
    if is_current(REPOSITORIES / TARGET, source_hashes() | {"engines": SM}):
        shutil.copytree(REPOSITORIES / TARGET, folder / TARGET)
        return folder
    done = subprocess.run(
        [sys.executable, "-m", "export", "--target", TARGET, "--sm", SM, "--repository",
         str(folder)], cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not run: no GPU" in done.stdout or "running the engine" in done.stdout
    return folder


def test_every_network_is_built_and_locked(exported):
    repository = exported / TARGET
    known = json.loads((repository / lock.LOCK).read_text())
    assert (known["compute_capability"], known["target"]) == (SM, TARGET)
    for model in NETWORKS:
        plan = f"{model.name}/1/{PLAN}"
        assert known["files"][plan] == lock.sha256(repository / plan)
        assert (repository / plan).stat().st_size > 1_000_000


def test_the_audit_names_every_layer_with_its_type(exported):
    built = audit.read(exported / TARGET)
    assert [b.model for b in built] == [m.name for m in NETWORKS]
    audit.require_half(built)
    for b in built:
        assert all(layer.name and layer.kind and layer.dtype for layer in b.layers)
        assert sum(layer.work for layer in b.layers) > 1e6
        assert sum(1 for layer in b.layers if not layer.work) > 50


def test_the_gate_has_compared_every_network(exported):
    rows = json.loads((exported / TARGET / audit.AUDIT).read_text())["fp16"]
    assert all(row["ok"] for row in rows)
    for model in NETWORKS:
        mine = {(r["stage"], r["against"]) for r in rows if r["model"] == model.name}
        assert mine >= {("fp32", "torch"), ("fp16", "fp32"), ("fp16", "torch")}
    regions = {r["region"] for r in rows if r["tensor"] == "patch"}
    assert regions == {"whole", "changed", "garment", "skin", "background"}


def test_exporting_again_does_nothing(exported, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "export.engines", None)  # it would have to import it
    again = ["--target", TARGET, "--sm", SM, "--repository", str(exported)]
    assert command.main(again) == 0
    assert "is up to date" in capsys.readouterr().out


def test_a_touched_weight_is_named_with_the_command(exported, capsys, monkeypatch):
    assert doctor.main(["--repository", str(exported)]) == 0
    now = source_hashes()
    monkeypatch.setattr(doctor, "source_hashes", lambda: now | {"weights": "touched"})
    capsys.readouterr()
    assert doctor.main(["--repository", str(exported)]) == 1
    said = capsys.readouterr().out
    assert f"weights was {now['weights']}, is touched" in said
    assert f"run `make export TARGET={TARGET} SM={SM}`" in said


@pytest.mark.parametrize("model", NETWORKS, ids=lambda m: m.name)
@pytest.mark.parametrize("form", ["fp32", "fp16"])
def test_files_have_the_contracts_tensors(exported, model: Model, form):
    trace.check(model, exported / TARGET / model.name / "1" / FORMS[form])


@pytest.mark.parametrize("model", NETWORKS, ids=lambda m: m.name)
@pytest.mark.parametrize("target", ["cuda", "tensorrt", "cuda_tensorrt"])
def test_configurations_fit_the_files_own_tensors(exported, model: Model, target):
    """Names, types and ranks, read from both sides."""
    config = text_format.Parse(all_configs(target)[model.name], model_config_pb2.ModelConfig())
    form = "fp32" if target == "cuda" else "fp16"
    path = exported / TARGET / model.name / "1" / FORMS[form]
    graph = onnx.load(str(path), load_external_data=False).graph
    for told, found in ((config.input, graph.input), (config.output, graph.output)):
        stated = {t.name: (TYPES[model_config_pb2.DataType.Name(t.data_type)], len(t.dims))
                  for t in told}  # fmt: skip
        held = {
            v.name: (str(onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)),
                     len(v.type.tensor_type.shape.dim) - 1)
            for v in found
        }  # fmt: skip
        assert stated == held
