"""`python -m export.refit`: new weights into engines that are there, without building them again.

    make export TARGET=tensorrt ARGS=--refit          once: engines whose weights can be swapped
    make export TARGET=tensorrt ONNX_ONLY=1 ARGS="--repository out/fresh"    after fine-tuning
    python -m export.refit out/fresh/tensorrt --repository model_repository/tensorrt

Takes the networks' graphs from the first folder, whose fp16 copies have passed their gate there,
and puts their weights into the engines of the second. The graphs must be the same but for the
weights. Needs the GPU that the engines are for. All engines, graphs and the lock are replaced
together, or nothing is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from export import engine, engines, lock
from export.doctor import locked
from export.engine import EngineError
from export.gpu import present
from export.names import explained, module_of
from export.repository import (
    PLAN,
    REPOSITORIES,
    STAMP,
    beside,
    files_of,
    is_current,
    source_hashes,
    swap,
)
from tryon.contract import MODELS


def difference(old: onnx.ModelProto, new: onnx.ModelProto) -> str | None:
    """What makes two graphs others than one another, weights' values aside; None if nothing does.

    Values of Constant nodes are no weights: an engine may be built around them.
    """
    ours, theirs = old.graph, new.graph
    if len(ours.node) != len(theirs.node):
        return f"it has {len(theirs.node)} nodes, the engine's graph {len(ours.node)}"
    for a, b in zip(ours.node, theirs.node, strict=True):
        if a.SerializeToString() != b.SerializeToString():
            return f"node {b.name} ({b.op_type}) is not the engine's {a.name} ({a.op_type})"
    for side in ("input", "output"):
        for a, b in zip(getattr(ours, side), getattr(theirs, side), strict=False):
            if a.SerializeToString() != b.SerializeToString():
                return f"{side} {b.name} is of another type or shape than the engine's {a.name}"
    weights = {w.name: (w.data_type, list(w.dims)) for w in ours.initializer}
    others = {w.name: (w.data_type, list(w.dims)) for w in theirs.initializer}
    for name in sorted({*weights, *others}):
        if weights.get(name) != others.get(name):
            kind = "is missing" if name not in others else "is new"
            if name in weights and name in others:
                kind = f"is {_shape(*others[name])}, was {_shape(*weights[name])}"
            return f"weight {name} {kind}"
    return None


def _shape(kind: int, dims: list[int]) -> str:
    return f"{onnx.TensorProto.DataType.Name(kind)} {dims}"


def refit(trt: Any, model: str, plan: Path, old: Path, new: Path) -> bytes:
    """An engine with the weights of another ONNX file.

    Args:
        trt: of `engine.load`.
        model: its served name.
        plan: the engine's file, built with `--refit`.
        old: the fp16 ONNX file that it was built from.
        new: the fp16 ONNX file whose weights it gets.

    Returns:
        The new engine, itself to be refitted again; `plan` is left as it is.

    Raises:
        EngineError: another graph, no GPU, an engine that can't be refitted, or TensorRT's errors.
    """
    found = difference(onnx.load(str(old)), onnx.load(str(new)))
    if found:
        raise EngineError(f"{model}: {new} is another graph than {old}: {explained(model, found)}; "
                          "it takes a build: run `make export`")  # fmt: skip
    if present() is None:
        raise EngineError(f"{model}: weights are swapped on the GPU that the engine is for, and no "
                          "GPU is here")  # fmt: skip
    logger = engine.logger(trt, lambda line: None)
    runtime = trt.Runtime(logger)
    built = runtime.deserialize_cuda_engine(plan.read_bytes())
    if built is None:
        raise EngineError(_failed(model, f"TensorRT can't load {plan}", logger.errors))
    if not built.refittable:
        raise EngineError(f"{model}: {plan} was built without --refit: run "
                          "`make export ARGS=--refit`")  # fmt: skip
    refitter = trt.Refitter(built, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    if not parser.refit_from_bytes(new.read_bytes()):
        told = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineError(_failed(model, f"TensorRT can't take {new}", told + logger.errors))
    missing = list(refitter.get_missing_weights())
    if missing:
        raise EngineError(f"{model}: {new} lacks the weight {missing[0]} of "
                          f"{module_of(model, missing[0])}")  # fmt: skip
    if not refitter.refit_cuda_engine():
        raise EngineError(_failed(model, "TensorRT can't swap the weights", logger.errors))
    settings = built.create_serialization_config()
    settings.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
    return bytes(built.serialize_with_config(settings))


def _failed(model: str, what: str, told: list[str]) -> str:
    return explained(model, f"{model}: {what}: {'; '.join(told) or 'no message'}")


def refit_all(source: Path, repository: Path, say: Callable[[str], None] = print) -> list[str]:
    """Refits every network of `repository` whose fp16 graph in `source` has other weights.

    Args:
        source: an exported repository of today's weights and code, with fp16 ONNX files.
        repository: with engines; replaced at the very end.
        say: takes a line of progress.

    Returns:
        The networks that were refitted.

    Raises:
        EngineError: of `refit`, or either folder is not what it should be; nothing was changed.
    """
    stamp = _stamp(source, "make export TARGET=tensorrt ONNX_ONLY=1")
    theirs = _stamp(repository, "make export ARGS=--refit")
    if not is_current(source, source_hashes() | {"engines": stamp["sources"].get("engines", "")}):
        raise EngineError(f"{source} is not of today's weights and code: run "
                          "`make export TARGET=tensorrt ONNX_ONLY=1`")  # fmt: skip
    if not (repository / lock.LOCK).is_file():
        raise EngineError(f"{repository} holds no engines: run `make export ARGS=--refit`")
    sm, options = locked(repository)
    target = theirs["target"]
    trt = engine.load(target)
    hashes = stamp["sources"] | {"engines": theirs["sources"].get("engines", "")}
    now = engines.facts(target, sm, hashes, options)
    before = {k: v for k, v in now.items() if k != "sources"}
    changed = lock.check(repository, before)
    if changed:
        raise EngineError(f"{repository}: {changed[0]}: it takes a build: run `make export`")
    done = []
    with beside(repository) as staging:
        shutil.copytree(repository, staging, dirs_exist_ok=True)
        for name in (m.name for m in MODELS if m.kind == "onnx"):
            fresh, folder = source / name / "1", staging / name / "1"
            half = fresh / engines.HALF
            if not half.is_file():
                raise EngineError(f"{half} is missing: run `make export TARGET=tensorrt "
                                  "ONNX_ONLY=1`")  # fmt: skip
            old = repository / name / "1" / engines.HALF
            if lock.sha256(half) == lock.sha256(old):
                continue
            say(f"{name}: new weights into its engine")
            data = refit(trt, name, repository / name / "1" / PLAN, old, half)
            (folder / PLAN).write_bytes(data)
            for file in (engines.HALF, "model.onnx"):
                shutil.copyfile(fresh / file, folder / file)
            done.append(name)
        lock.write(staging, now)
        stamp |= {"target": target, "sources": hashes, "files": files_of(staging)}
        (staging / STAMP).write_text(json.dumps(stamp, indent=1) + "\n")
        swap(staging, repository)
    return done


def _stamp(repository: Path, command: str) -> dict[str, Any]:
    try:
        stamp: dict[str, Any] = json.loads((repository / STAMP).read_text())
        if not isinstance(stamp["sources"], dict):
            raise TypeError
        return stamp
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"{repository} is no exported repository: run `{command}`") from None


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.refit", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("source", type=Path, help="exported repository with the new weights")
    parser.add_argument("--repository", type=Path, default=REPOSITORIES / "tensorrt",
                        metavar="FOLDER", help="whose engines get them (%(default)s)")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        done = refit_all(options.source, options.repository)
    except (EngineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{', '.join(done) or 'no engine'} refitted in {options.repository}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
