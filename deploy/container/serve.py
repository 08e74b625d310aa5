"""The container's first process: engines for this GPU, then tritonserver.

    python3 serve.py --models /models --cache /cache --work /run/tryon -- --grpc-port=8001

Builds with trtexec every engine that the cache lacks for this GPU, this TensorRT and these ONNX
files, lays configurations, steps and engines together in a folder of their own, and becomes
tritonserver. A repository without engines (the `cuda` target) is served as it is. Standard library
only.
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
    if plan.is_file():
        return plan
    print(f"{model}: building the engine for {around['gpu']} (once; kept in {cache})", flush=True)
    beside = plan.with_suffix(".tmp")
    command = ["trtexec", f"--onnx={onnx}", f"--saveEngine={beside}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServeError(f"trtexec can't be run ({error}): use NVIDIA's Triton image") from None
    if done.returncode or not beside.is_file():
        beside.unlink(missing_ok=True)
        last = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise ServeError(f"{model}: trtexec failed with status {done.returncode}:\n{last}")
    plan.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    beside.replace(plan)
    return plan


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
                   *options.more]  # fmt: skip
        os.execvp(command[0], command)
    except ServeError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
