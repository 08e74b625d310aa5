"""The container's first process: engines for this GPU, then tritonserver.

    python3 serve.py --models /models --cache /cache --work /run/tryon -- --grpc-port=8001

Builds with trtexec every engine that the cache lacks for this GPU, this TensorRT and these ONNX
files, lays configurations, steps and engines together in a folder of their own, and becomes
tritonserver. Engines that came with the repository must fit its lock. A repository without engines
(the `cuda` targets) is served as it is. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = "engine.lock.json"
"""Written by the export where it built the engines itself (`export/lock.py`)."""
COMMANDS = "trtexec.json"
"""Written by the export: model -> trtexec's arguments but for its files."""


class ServeError(RuntimeError):
    """The server can't be started; the message says why and what to do."""


def told(command: list[str]) -> str:
    """A command's output; empty where it can't be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def surroundings() -> dict[str, str]:
    """What an engine depends on beside its ONNX file: GPU, driver, TensorRT.

    Raises:
        ServeError: no GPU is visible.
    """
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    gpu = told(query).splitlines()
    if not gpu:
        raise ServeError("no GPU is visible in this container: start it with --gpus all (and "
                         "NVIDIA's container toolkit on the host)")  # fmt: skip
    version = next((line for line in told(["trtexec", "--help"]).splitlines()
                    if "TensorRT" in line), "")  # fmt: skip
    return {"gpu": gpu[0], "tensorrt": version or os.environ.get("TENSORRT_VERSION", "unknown")}


def engine(model: str, onnx: Path, arguments: list[str], cache: Path, around: dict) -> Path:
    """The engine of one network, from the cache or built into it.

    Raises:
        ServeError: trtexec failed; its last lines are told.
    """
    facts = {**around, "arguments": arguments,
             "onnx": hashlib.sha256(onnx.read_bytes()).hexdigest()}  # fmt: skip
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    plan = cache / f"{model}-{key}.plan"
    record = plan.with_suffix(".json")
    if plan.is_file():
        if recorded(record) == sha256(plan):
            return plan
        print(f"{model}: {plan} is not the engine that was built: it is built anew", flush=True)
    print(f"{model}: building the engine for {around['gpu']} (once; kept in {cache})", flush=True)
    beside = plan.with_suffix(".tmp")
    # trtexec takes a timing cache of another GPU or TensorRT for an empty one, with a warning.
    name = "".join(c if c.isalnum() else "-" for c in f"{around['gpu']}-{around['tensorrt']}")
    command = ["trtexec", f"--onnx={onnx}", f"--saveEngine={beside}",
               f"--timingCacheFile={cache / name}.timing", *arguments]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServeError(f"trtexec can't be run ({error}): use NVIDIA's Triton image") from None
    if done.returncode or not beside.is_file():
        beside.unlink(missing_ok=True)
        last = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise ServeError(f"{model}: trtexec failed with status {done.returncode}:\n{last}")
    # The record first: an engine without it, or with another's, is built again.
    record.write_text(json.dumps(facts | {"plan": sha256(beside)}, indent=1) + "\n")
    beside.replace(plan)
    return plan


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded(record: Path) -> str | None:
    """The digest of an engine as it was built; None where that can't be read."""
    try:
        return str(json.loads(record.read_text())["plan"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_lock(models: Path) -> None:
    """Whether engines that came with the repository are whole and for this GPU and TensorRT.

    Raises:
        ServeError: names what differs, and the command that builds them anew.
    """
    again = "run `make export TARGET=tensorrt` in this image, or `make export TARGET=tensorrt " \
            "ONNX_ONLY=1` for engines that are built when the container starts"  # fmt: skip
    try:
        lock = json.loads((models / LOCK).read_text())
        files: dict[str, str] = dict(lock["files"])
        capability, tensorrt = str(lock["compute_capability"]), str(lock["tensorrt"])
        options: dict[str, bool] = dict(lock.get("options", {}))
    except (OSError, ValueError, KeyError, TypeError):
        raise ServeError(f"{models / LOCK} is missing or damaged: {again}") from None
    for file, digest in files.items():
        if not (models / file).is_file():
            raise ServeError(f"{models / file} is missing: {again}")
        if sha256(models / file) != digest:
            raise ServeError(f"{models / file} is not the file that was locked: {again}")
    around = surroundings()
    here = around["gpu"].split(",")[1].strip().replace(".", "")
    if here != capability and not options.get("hardware_compatible"):
        raise ServeError(f"the engines are for compute capability {capability}, this GPU "
                         f"({around['gpu']}) is {here}: {again}")  # fmt: skip
    # NVIDIA's images name their release, 10.9.0.34; trtexec prints it without points, v100900.
    present = os.environ.get("TENSORRT_VERSION", "")
    if present and present != tensorrt and not options.get("version_compatible"):
        raise ServeError(f"the engines are of TensorRT {tensorrt}, this image has {present}: "
                         f"{again}")  # fmt: skip


def flags(models: Path) -> list[str]:
    """What tritonserver must be told for these engines."""
    try:
        asked = (models / COMMANDS).read_text()
        compatible = "--versionCompatible" in asked
    except OSError:
        try:
            lock = json.loads((models / LOCK).read_text())
            compatible = bool(lock.get("options", {}).get("version_compatible"))
        except OSError:
            return []
    # Such engines bring code of their own, which TensorRT runs only where it is told to.
    return ["--backend-config=tensorrt,version-compatible=true"] if compatible else []


def prepare(models: Path, cache: Path, work: Path) -> Path:
    """The repository to serve: `models` itself, or a copy of it in `work` with its engines.

    Raises:
        ServeError: nothing was exported there, or an engine can't be built.
    """
    if not (models / "export.json").is_file():
        raise ServeError(f"{models} holds no exported repository: run `make export TARGET=tensorrt "
                         "ONNX_ONLY=1` (or TARGET=cuda) and mount model_repository/<target> there"
                         )  # fmt: skip
    commands = models / COMMANDS
    if not commands.is_file():
        if any(models.glob("*/1/model.plan")):
            check_lock(models)
        # ONNX Runtime's TensorRT provider keeps its engines there.
        (cache / "onnxruntime").mkdir(parents=True, exist_ok=True)
        return models
    around = surroundings()
    cache.mkdir(parents=True, exist_ok=True)
    ready = work / "models"
    shutil.rmtree(ready, ignore_errors=True)
    shutil.copytree(models, ready, ignore=shutil.ignore_patterns("*.onnx", "*.plan"))
    for model, arguments in json.loads(commands.read_text()).items():
        plan = engine(model, models / model / "1" / "model.fp16.onnx", arguments, cache, around)
        (ready / model / "1" / "model.plan").symlink_to(plan)
    return ready


def main(arguments: list[str] | None = None) -> int:
    """The command line; becomes tritonserver, or returns 1."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--models", type=Path, default=Path("/models"))
    p.add_argument("--cache", type=Path, default=Path("/cache"))
    p.add_argument("--work", type=Path, default=Path("/run/tryon"))
    p.add_argument("more", nargs="*", help="arguments of tritonserver, after --")
    options = p.parse_args(arguments)
    try:
        ready = prepare(options.models, options.cache, options.work)
        command = ["tritonserver", f"--model-repository={ready}", "--exit-on-error=true",
                   *flags(options.models), *options.more]  # fmt: skip
        os.execvp(command[0], command)
    except ServeError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
