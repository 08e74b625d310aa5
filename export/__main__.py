"""`python -m export`: the networks as a Triton model repository.

    python -m export                              model_repository/cpu, for the embedded server
    python -m export --target cuda                for Triton's ONNX Runtime backend on a GPU
    python -m export --target cuda_tensorrt       the same on its TensorRT provider, in fp16
    python -m export --target tensorrt_rtx --sm 89    engines of TensorRT for RTX, with no GPU
    python -m export --target tensorrt --refit    engines whose weights `export.refit` can swap
    python -m export --only generate-configs      config.pbtxt of all targets, from the contract

Does nothing where weights, code and packages are those of the last export.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from export import engine, gpu
from export.config import TARGETS, profile, write_configs
from export.repository import REPOSITORIES, assemble, is_current, source_hashes

NO_ENGINES = """\
error: TARGET=tensorrt: {why}; nothing was written. Ways on:
  - in NVIDIA's Triton or TensorRT container, which has TensorRT: `make export TARGET=tensorrt`
  - `make export TARGET=tensorrt_rtx SM=89` builds engines of TensorRT for RTX here, with no GPU
  - `make export TARGET=tensorrt ONNX_ONLY=1` (`python -m export --target tensorrt --onnx-only`)
    writes configurations and fp16 ONNX files; the container (deploy/container) makes the engines
    from them when it starts
  - `python -m export --target cuda` serves the same networks on a GPU without TensorRT"""
ENGINE_TARGETS = ("tensorrt", "tensorrt_rtx")
HALF_TARGETS = (*ENGINE_TARGETS, "cuda_tensorrt")
"""Targets that serve the fp16 copies."""


TRTEXEC_OPTIONS = {"refit": "--refit", "version_compatible": "--versionCompatible",
                   "hardware_compatible": "--hardwareCompatibilityLevel=ampere+"}  # fmt: skip
"""`engine.Options` as trtexec has them."""


def trtexec_arguments(options: engine.Options | None = None) -> dict[str, list[str]]:
    """What trtexec is told for each network, but for its files: the contract's profiles."""
    from tryon.contract import MODELS

    more = [TRTEXEC_OPTIONS[name] for name, on in asdict(options or engine.Options()).items() if on]

    arguments = {}
    for model in MODELS:
        if model.kind != "onnx":
            continue
        arguments[model.name] = ["--stronglyTyped"]
        for i, kind in enumerate(("minShapes", "optShapes", "maxShapes")):
            shapes = ",".join(
                f"{name}:{'x'.join(str(d) for d in triple[i])}"
                for name, triple in profile(model).items()
            )
            arguments[model.name].append(f"--{kind}={shapes}")
        arguments[model.name] += more
    return arguments


def trtexec_commands(repository: Path, options: engine.Options | None = None) -> list[str]:
    """The commands that build each network's engine."""
    commands = []
    for name, arguments in trtexec_arguments(options).items():
        folder = repository / name / "1"
        files = f"--onnx={folder}/model.fp16.onnx --saveEngine={folder}/model.plan"
        commands.append(" ".join(["trtexec", files, *arguments]))
    return commands


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target", choices=(*TARGETS, "tensorrt_rtx"), default="cpu")
    parser.add_argument("--sm", default="", help="tensorrt_rtx: compute capability, such as 89, or "
                        "several: 86,89,120")  # fmt: skip
    parser.add_argument("--only", choices=["generate-configs"])
    parser.add_argument("--force", action="store_true", help="export even if nothing has changed")
    parser.add_argument("--if-needed", action="store_true", help="say nothing if nothing changed")
    parser.add_argument("--onnx-only", action="store_true", help="tensorrt: leave out the engines")
    parser.add_argument("--precision", choices=("fp16", "int8"), default="fp16",
                        help="of engines; int8 where the picture bears it")  # fmt: skip
    parser.add_argument("--refit", action="store_true", help="engines whose weights can be swapped")
    parser.add_argument("--version-compatible", action="store_true",
                        help="tensorrt: engines for later versions of TensorRT too")  # fmt: skip
    parser.add_argument("--hardware-compatible", action="store_true",
                        help="tensorrt: engines for every GPU since Ampere")  # fmt: skip
    parser.add_argument("--repository", type=Path, default=REPOSITORIES, metavar="FOLDER",
                        help="where the targets' folders lie (%(default)s)")  # fmt: skip
    options = parser.parse_args(arguments)
    options.engine = engine.Options(options.refit, options.version_compatible,
                                    options.hardware_compatible)  # fmt: skip
    if options.engine.asked() and options.target not in ENGINE_TARGETS:
        print(f"error: {options.engine.asked()[0]} is for engines: TARGET=tensorrt or tensorrt_rtx",
              file=sys.stderr)  # fmt: skip
        return 1
    if options.only == "generate-configs":
        changed = [f for t in TARGETS for f in write_configs(options.repository / t, t)]
        print("\n".join(str(f) for f in changed) or "all config.pbtxt are as the contract has them")
        return 0
    if options.target == "tensorrt_rtx" and not options.sm:
        print("error: TARGET=tensorrt_rtx builds for a GPU that need not be here: name its compute "
              "capability, such as SM=89 (GeForce 40), 120 (GeForce 50)", file=sys.stderr)
        return 1
    if options.precision == "int8" and options.engine.refit:
        print("error: --refit takes the weights of fp16 files: leave --precision int8 out",
              file=sys.stderr)  # fmt: skip
        return 1
    if options.precision == "int8" and (options.target not in ENGINE_TARGETS or options.onnx_only):
        print("error: --precision int8 is for engines that are built here: TARGET=tensorrt_rtx or "
              "TARGET=tensorrt, without ONNX_ONLY", file=sys.stderr)  # fmt: skip
        return 1
    if options.target in ENGINE_TARGETS and not options.onnx_only:
        try:
            trt = engine.load(options.target)
            if options.sm:
                engine.capabilities(trt, options.sm)
            engine.require_options(trt, options.engine)
        except engine.EngineError as error:
            print(NO_ENGINES.format(why=error) if options.target == "tensorrt" else
                  f"error: {error}", file=sys.stderr)  # fmt: skip
            return 1
    return _export(options.repository / options.target, options.target, options)


def _export(repository: Path, target: str, options: argparse.Namespace) -> int:
    hashes = source_hashes()
    if target in ENGINE_TARGETS:
        hashes["engines"] = f"{options.sm or 'here'}{', ONNX only' * options.onnx_only}"
        hashes["engines"] += ", int8" * (options.precision == "int8")
        hashes["engines"] += "".join(f", {word}" for word in options.engine.asked())
    if not options.force and is_current(repository, hashes):
        if not options.if_needed:
            print(f"{repository} is up to date (`--force` exports it again)")
        return 0
    start = time.monotonic()
    print(f"exporting to {repository} (about 15 s)", flush=True)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")  # transformers' bars for a load of 0.1 s

    from export.audit import AuditError
    from export.gate import not_run, requests
    from export.parity import DriftError
    from export.precision import PrecisionError
    from export.trace import TraceError
    from tryon.assets import AssetError, asset_path
    from tryon.models.system import WeightsError
    from tryon.pipeline import TryOnPipeline

    try:
        pipeline = TryOnPipeline()
        sets, _ = requests(pipeline)

        def finish(staging: Path) -> None:
            from export import engines

            if options.onnx_only or target not in ENGINE_TARGETS:
                engines.halve_all(staging, pipeline.models, sets)
                print(not_run("no engine is built"))
            if options.onnx_only and target == "tensorrt":
                commands = json.dumps(trtexec_arguments(options.engine), indent=1) + "\n"
                (staging / "trtexec.json").write_text(commands)
            if not options.onnx_only and target in ENGINE_TARGETS:
                engines.build_all(staging, target, options.sm, hashes, pipeline.models, sets,
                                  options=options.engine)  # fmt: skip

        assemble(
            repository, target, pipeline.models, sets, asset_path("minilm"), hashes,
            lambda line: print(line, flush=True), finish if target in HALF_TARGETS else None,
        )  # fmt: skip
    except (AssetError, WeightsError, TraceError, DriftError, engine.EngineError,
            PrecisionError, AuditError) as error:  # fmt: skip
        print(f"error: {error}\nNothing was exported: what was there still is", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"exported to {repository} in {time.monotonic() - start:.0f} s")
    if target != "cpu" and gpu.present() is None:
        print("This machine can't run it: that takes Triton's container and a GPU. What was "
              "checked here: the graphs against torch, on the CPU.")  # fmt: skip
    if target == "tensorrt" and options.onnx_only:
        print("The container makes the engines when it starts (deploy/container/compose.yaml); by "
              "hand, on the machine that will serve them:")  # fmt: skip
        print("\n".join(trtexec_commands(repository, options.engine)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
