"""The staged gate: torch, ONNX float32, ONNX in lower precision, engine, gRPC answer.

    python -m export.gate                         what lies in model_repository/tensorrt_rtx
    python -m export.gate --repository model_repository/cpu --server localhost:8001

Each stage is compared with the one before and with torch, on real photos and on edge cases; the
bounds are those of `tryon/tolerances.py`. The table says of a stage that can't be run here that it
was not, and why. Exit status 1 where a bound is broken: the first tensor and node that leave the
band are named.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from export import engine, parity, runner
from export.chain import Tensors
from export.doctor import locked
from export.edges import edge_cases
from export.explain import explain, explain_onnx
from export.grpc_stage import served
from export.parity import Sets
from export.precision import Loss, PrecisionError, differences, require, table
from export.regions import regions
from export.repository import PLAN, REPOSITORIES, VERSION, onnx_files
from export.samples import samples
from export.trace import set_bounded
from tryon.contract import MODELS, Model
from tryon.pipeline import TryOn, TryOnPipeline


def requests(pipeline: TryOnPipeline) -> tuple[dict[str, Tensors], dict[str, TryOn]]:
    """What the gate looks at.

    Returns:
        Every named set of tensors, real requests first and edge cases after them; and the torch
        answers of the real ones.
    """
    answers = {
        s.name: pipeline(s.person, s.garment, s.prompt, s.category) for s in samples()
    }  # fmt: skip
    networks = {m.name: _torch_network(pipeline, m.name) for m in MODELS if m.kind == "onnx"}
    sets = {name: answer.tensors for name, answer in answers.items()}
    worn = next(t for t in sets.values() if t["condition"][0, 3])
    return {**sets, **edge_cases(networks, worn)}, answers


def _torch_network(pipeline: TryOnPipeline, name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: pipeline.network(name, tensors)


def picture_regions(model: Model, module: nn.Module, sets: Sets) -> dict[str, Tensors] | None:
    """Each set's regions of the picture, by the torch run; None for networks that draw none."""
    if model.name != "generator":
        return None
    return {label: regions(module, tensors) for label, tensors in sets.items()}


def staged(
    model: Model, module: nn.Module, files: Mapping[str, Path], sets: Sets,
    where: Mapping[str, Tensors] | None = None, trt: Any = None,
) -> list[Loss]:  # fmt: skip
    """Runs a network's forms on the same inputs, and compares each with the one before and torch.

    Args:
        module: the torch network.
        files: stage -> ONNX file, in order, float32 first.
        sets: named inputs, batch in front; each of `parity.distinct` is run.
        where: of `picture_regions`.
        trt: of `engine.load`, where the engine beside the files is to be run too.

    Raises:
        DriftError: the float32 file is further off torch than `parity` lets it be.
        EngineError: the engine can't be run.
    """
    sets = parity.distinct(model, sets)
    answers = {"torch": parity.run_torch(model, module, sets)}
    answers |= {stage: parity.run_onnx(model, path, sets) for stage, path in files.items()}
    base = next(iter(files))
    parity.require(
        parity.compare_answers(model, answers["torch"], answers[base]),
        explain_onnx(model, module, files[base], sets),
    )
    if trt is not None:
        plan = files[base].with_name(PLAN)
        answers["engine"] = runner.run_engine(trt, model, plan, sets)
    rows = []
    for before, stage in itertools.pairwise(answers):
        for against in dict.fromkeys((before, "torch")):
            rows += differences(model, answers[against], answers[stage], where, stage, against)
    return rows


def engine_obstacle(repository: Path) -> str:
    """Why the engines of an exported repository can't be run here; empty where they can."""
    plans = [repository / m.name / VERSION / PLAN for m in MODELS if m.kind == "onnx"]
    if not all(plan.is_file() for plan in plans):
        return f"no engines in {repository}"
    sm, asked = locked(repository)
    return runner.obstacle(repository.name, sm, asked)


def not_run(engine_obstacle: str, server: bool = False) -> str:
    """The table's last lines: the stages that were not run, and why.

    Args:
        engine_obstacle: of `runner.obstacle`; empty: it was run.
        server: whether one was asked.
    """
    lines = []
    if engine_obstacle:
        lines.append(f"{'all':14}{'engine':12}not run: {engine_obstacle}")
    if not server:
        lines.append(f"{'tryon':14}{'grpc':12}not run: no server was named "
                     "(`python -m export.gate --server HOST:PORT`)")  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.gate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--repository", type=Path, default=REPOSITORIES / "tensorrt_rtx",
                        metavar="FOLDER", help="an exported one (%(default)s)")  # fmt: skip
    parser.add_argument("--server", metavar="HOST:PORT", help="also ask it for its pictures")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    from tryon.assets import AssetError
    from tryon.models.system import WeightsError
    from tryon_client import TryOnError

    rows: list[Loss] = []
    try:
        networks = [(m, onnx_files(options.repository, m.name, "fp32"))
                    for m in MODELS if m.kind == "onnx"]  # fmt: skip
        why_not = engine_obstacle(options.repository)
        trt = None if why_not else engine.load(options.repository.name)
        pipeline = TryOnPipeline()
        sets, answers = requests(pipeline)
        if options.server:
            rows += served(options.server, options.repository, samples(), answers,
                           pipeline.models["generator"])  # fmt: skip
            require(rows)
        for model, files in networks:
            module = pipeline.models[model.name]
            set_bounded(module, options.repository.name == "cpu")
            where = picture_regions(model, module, sets)
            found = staged(model, module, files, sets, where, trt)
            rows += found
            require(found, explain(model, module, files, sets, trt))
    except (AssetError, WeightsError, TryOnError, PrecisionError, parity.DriftError,
            engine.EngineError, FileNotFoundError) as error:  # fmt: skip
        if rows:
            print(table(rows))
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    print(not_run(why_not, bool(options.server)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
