"""The container's first process, against stand-ins for trtexec, nvidia-smi and tritonserver.

The container itself can't be built where these tests run; what its parts name is checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "deploy" / "container"
TOOLS = {
    "nvidia-smi": 'echo "NVIDIA Test, 8.9, 570.1"\n',
    "trtexec": 'for a in "$@"; do case $a in --saveEngine=*) out=${a#*=};; esac; done\n'
    '[ "$1" = --help ] && { echo "&&&& TensorRT v110000"; exit 0; }\n'
    'echo "$@" >> "$TRTEXEC_LOG"\n'
    '[ -n "$TRTEXEC_FAILS" ] && { echo "layer /first/Conv: no implementation"; exit 3; }\n'
    'echo plan > "$out"\n',
    "tritonserver": 'echo "served $*"\n',
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A repository as `make export TARGET=tensorrt ONNX_ONLY=1` leaves it, and the tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in TOOLS.items():
        (folder / name).write_text("#!/bin/sh\n" + body)
        (folder / name).chmod(0o755)
    models = tmp_path / "models"
    for name in ("pose", "decode"):
        (models / name / "1").mkdir(parents=True)
        (models / name / "config.pbtxt").write_text(f'name: "{name}"\n')
    (models / "pose" / "1" / "model.fp16.onnx").write_bytes(b"graph")
    (models / "decode" / "1" / "model.py").write_text("")
    (models / "export.json").write_text("{}")
    (models / "trtexec.json").write_text(json.dumps({"pose": ["--stronglyTyped"]}))
    return tmp_path


def serve(place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{place / 'bin'}:/usr/bin:/bin", "TRTEXEC_LOG": str(place / "log"),
                   **more}  # fmt: skip
    command = [sys.executable, str(CONTAINER / "serve.py"), "--models", str(place / "models"),
               "--cache", str(place / "cache"), "--work", str(place / "work"),
               "--", "--grpc-port=9"]  # fmt: skip
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def built(place: Path) -> int:
    log = place / "log"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def test_engines_are_built_once_and_served(place: Path) -> None:
    done = serve(place)
    assert done.returncode == 0, done.stderr
    ready = place / "work" / "models"
    assert f"served --model-repository={ready} --exit-on-error=true --grpc-port=9" in done.stdout
    assert (ready / "pose" / "1" / "model.plan").read_text() == "plan\n"
    assert (ready / "decode" / "1" / "model.py").is_file()
    assert not list(ready.rglob("*.onnx"))
    assert "--stronglyTyped" in (place / "log").read_text()
    assert serve(place).returncode == 0 and built(place) == 1
    facts = json.loads(next((place / "cache").glob("*.json")).read_text())
    assert facts["gpu"] == "NVIDIA Test, 8.9, 570.1" and "TensorRT" in facts["tensorrt"]


def test_another_gpu_or_graph_gets_an_engine_of_its_own(place: Path) -> None:
    serve(place)
    (place / "models" / "pose" / "1" / "model.fp16.onnx").write_bytes(b"another")
    serve(place)
    assert built(place) == 2
    (place / "bin" / "nvidia-smi").write_text('#!/bin/sh\necho "NVIDIA Other, 9.0, 570.1"\n')
    serve(place)
    assert built(place) == 3


def test_a_failed_build_serves_nothing_and_leaves_nothing(place: Path) -> None:
    done = serve(place, TRTEXEC_FAILS="1")
    assert done.returncode == 1 and "served" not in done.stdout
    assert "pose: trtexec failed with status 3" in done.stderr
    assert "/first/Conv" in done.stderr
    assert not list((place / "cache").iterdir())


def test_what_is_missing_is_named_with_what_to_do(place: Path) -> None:
    (place / "bin" / "nvidia-smi").unlink()
    assert "--gpus all" in serve(place).stderr
    (place / "models" / "trtexec.json").unlink()  # the `cuda` target has none to build
    done = serve(place)
    assert f"served --model-repository={place / 'models'}" in done.stdout
    (place / "models" / "export.json").unlink()
    done = serve(place)
    assert done.returncode == 1 and "make export TARGET=tensorrt" in done.stderr


def test_a_damaged_engine_in_the_cache_is_built_anew(place: Path) -> None:
    serve(place)
    plan = next((place / "cache").glob("*.plan"))
    plan.write_text("other\n")
    done = serve(place)
    assert done.returncode == 0 and "is not the engine that was built" in done.stdout
    assert built(place) == 2 and plan.read_text() == "plan\n"
    plan.with_suffix(".json").unlink()
    assert serve(place).returncode == 0 and built(place) == 3


def test_engines_share_a_timing_cache_for_this_gpu(place: Path) -> None:
    serve(place)
    said = (place / "log").read_text()
    assert f"--timingCacheFile={place / 'cache'}/NVIDIA-Test--8-9--570-1-" in said
    assert ".timing" in said


@pytest.fixture
def locked(place: Path) -> Path:
    """A repository whose engines were built by the export, with its lock."""
    (place / "models" / "trtexec.json").unlink()
    plan = place / "models" / "pose" / "1" / "model.plan"
    plan.write_bytes(b"engine")
    write_lock(place)
    return place


def write_lock(place: Path, **more: object) -> None:
    plan = place / "models" / "pose" / "1" / "model.plan"
    files = {"pose/1/model.plan": hashlib.sha256(plan.read_bytes()).hexdigest()}
    facts = {"compute_capability": "89", "tensorrt": "10.9", "files": files, **more}
    (place / "models" / "engine.lock.json").write_text(json.dumps(facts))


def test_engines_are_served_where_they_fit_their_lock(locked: Path) -> None:
    done = serve(locked, TENSORRT_VERSION="10.9")
    assert f"served --model-repository={locked / 'models'}" in done.stdout, done.stderr
    assert built(locked) == 0


def test_engines_that_do_not_fit_their_lock_are_not_served(locked: Path) -> None:
    def refused(**more: str) -> str:
        done = serve(locked, **more)
        assert done.returncode == 1 and "served" not in done.stdout
        assert "make export TARGET=tensorrt" in done.stderr
        return done.stderr

    assert "of TensorRT 10.9, this image has 11.0" in refused(TENSORRT_VERSION="11.0")
    write_lock(locked, compute_capability="90")
    assert "for compute capability 90, this GPU" in refused()
    write_lock(locked)
    plan = locked / "models" / "pose" / "1" / "model.plan"
    plan.write_bytes(b"another")
    assert "model.plan is not the file that was locked" in refused()
    (locked / "models" / "engine.lock.json").write_text("{")
    assert "damaged" in refused()
    (locked / "models" / "engine.lock.json").unlink()
    assert "missing" in refused()


def test_compatible_engines_are_served_elsewhere(locked: Path) -> None:
    options = {"hardware_compatible": True, "version_compatible": True}
    write_lock(locked, compute_capability="80", options=options)
    done = serve(locked, TENSORRT_VERSION="10.10")
    assert "--backend-config=tensorrt,version-compatible=true --grpc-port" in done.stdout
    write_lock(locked)
    assert "version-compatible" not in serve(locked).stdout


def test_trtexec_builds_what_tritonserver_is_told_to_load(place: Path) -> None:
    (place / "models" / "trtexec.json").write_text(json.dumps({"pose": ["--versionCompatible"]}))
    assert "--backend-config=tensorrt,version-compatible=true" in serve(place).stdout


def test_the_export_writes_what_the_container_reads() -> None:
    spec = importlib.util.spec_from_file_location("serve", CONTAINER / "serve.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = (ROOT / "export" / "__main__.py").read_text()
    assert f'"{module.COMMANDS}"' in source
    from export import lock
    from export.__main__ import trtexec_arguments
    from tryon.contract import MODELS

    assert module.LOCK == lock.LOCK
    arguments = trtexec_arguments()
    assert set(arguments) == {m.name for m in MODELS if m.kind == "onnx"}
    assert all(parts[0] == "--stronglyTyped" and len(parts) == 4 for parts in arguments.values())


def test_compose_and_dockerfiles_name_what_is_there() -> None:
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    server = compose["services"]["server"]
    assert server["read_only"] and server["build"]["dockerfile"] == "deploy/container/Dockerfile"
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and "$" not in source:
                assert (CONTAINER / source).exists(), volume
    for name in ("Dockerfile", "client.Dockerfile"):
        text = (CONTAINER / name).read_text()
        assert re.search(r"^USER 10001$", text, re.M), f"{name} must not run as root"
        assert ":latest" not in text and "ADD " not in text
        for line in re.findall(r"^COPY (?!--)(.*)$", text, re.M):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), f"{name}: COPY {source}"
    pins = (ROOT / "requirements.txt").read_text()
    names = re.search(r"\^\(([a-z|-]+)\)==", (CONTAINER / "Dockerfile").read_text())
    assert names is not None
    assert all(re.search(rf"^{name}==", pins, re.M) for name in names[1].split("|"))


@pytest.mark.parametrize("name", ["Dockerfile", "client.Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    beside = str(Path(sys.executable).parent)  # where `make venv` puts it
    hadolint = shutil.which("hadolint", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert hadolint, "hadolint is not installed: run `make venv`"
    done = subprocess.run([hadolint, "--no-color", str(CONTAINER / name)], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def test_every_service_is_confined_and_watched() -> None:
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    assert "HEALTHCHECK" in dockerfile and "/v2/health/ready" in dockerfile
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"] not in ("0", "root"), name
        assert set(service["deploy"]["resources"]["limits"]) == {"memory", "pids"}, name
        assert name == "server" or "healthcheck" in service, name
        assert "image" not in service or re.search(r":v?\d", service["image"]), name
    assert f"--uid {services['server']['user']} " in dockerfile
    assert f"uid={services['server']['user']}" in services["server"]["tmpfs"][0]


def test_the_dashboards_lie_where_grafana_looks() -> None:
    provider = CONTAINER / "grafana" / "provisioning" / "dashboards" / "tryon.yaml"
    path = yaml.safe_load(provider.read_text())["providers"][0]["options"]["path"]
    mounts = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]["grafana"]
    assert f"./grafana/dashboards:{path}:ro" in mounts["volumes"]


def test_what_onnx_runtime_builds_is_kept_in_the_volume() -> None:
    from export.config import ENGINE_CACHE

    mounts = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]["server"]
    assert f"engines:{os.path.dirname(ENGINE_CACHE)}" in mounts["volumes"]
    assert f'cache / "{os.path.basename(ENGINE_CACHE)}"' in (CONTAINER / "serve.py").read_text()


def test_the_dashboard_asks_for_metrics_that_triton_has() -> None:
    dashboard = json.loads((CONTAINER / "grafana" / "dashboards" / "tryon.json").read_text())
    asked = {m for panel in dashboard["panels"] for target in panel["targets"]
             for m in re.findall(r"nv_[a-z_]+", target["expr"])}  # fmt: skip
    known = {"nv_inference_request_success", "nv_inference_request_failure",
             "nv_inference_request_duration_us", "nv_inference_compute_infer_duration_us",
             "nv_inference_queue_duration_us", "nv_inference_exec_count",
             "nv_gpu_utilization", "nv_gpu_memory_used_bytes"}  # fmt: skip
    assert asked <= known
    assert os.access(CONTAINER / "prometheus.yml", os.R_OK)
    yaml.safe_load((CONTAINER / "prometheus.yml").read_text())
    for file in (CONTAINER / "grafana" / "provisioning").rglob("*.yaml"):
        assert yaml.safe_load(file.read_text())["apiVersion"] == 1
