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
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from export import bisection, engine, parity, runner
from export.chain import Tensors, onnx_network, run_chain
from export.doctor import locked
from export.edges import edge_cases
from export.precision import (
    Loss,
    PrecisionError,
    differences,
    picture_losses,
    require,
    table,
)
from export.regions import regions
from export.repository import FORMS, PLAN, REPOSITORIES, VERSION
from export.samples import Sample, samples
from tryon.contract import MODELS, Model
from tryon.pipeline import TryOn, TryOnPipeline

Sets = Mapping[str, Mapping[str, np.ndarray]]


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


def explain(
    model: Model, module: nn.Module, files: Mapping[str, Path], sets: Sets, trt: Any = None
) -> Callable[[Loss], str]:  # fmt: skip
    """For `precision.require`: where a broken bound begins, by bisection.

    Args:
        model, module, files, sets, trt: of `staged`.
    """

    def told(row: Loss) -> str:
        inputs = sets[row.inputs]
        base = next(iter(files))
        if row.stage == base:
            return _first_module(model, module, files[base], inputs, row.tensor)
        if row.stage == "engine":  # against the file that it was built from
            taken = list(files.values())[-1]
            with tempfile.TemporaryDirectory() as folder:
                parting = bisection.first_parting(
                    taken, taken, inputs, model.name, module,
                    compute=runner.Tapped(trt, model, Path(folder)),
                )  # fmt: skip
        else:
            parting = bisection.first_parting(
                files[base], files[row.stage], inputs, model.name, module
            )  # fmt: skip
        return f"; {parting}" if parting else "; each tensor by itself keeps within the band"

    return told


def explain_onnx(
    model: Model, module: nn.Module, path: Path, sets: Sets
) -> Callable[[parity.Row], str]:
    """For `parity.require`: where the ONNX file leaves the torch network."""
    return lambda row: _first_module(model, module, path, sets[row.inputs], row.tensor)


def _first_module(
    model: Model, module: nn.Module, path: Path, inputs: Mapping[str, np.ndarray], tensor: str
) -> str:
    order = [t.name for t in model.inputs]
    parting = bisection.first_module(path, inputs, order, model.name, module)
    if parting:
        return f"; {parting}"
    node = bisection.maker(path, tensor)
    return (f"; each module's answer keeps within the band, so it is made between them, before "
            f"node {node!r} of module {model.name} itself")  # fmt: skip


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


def served(
    server: str, repository: Path, requests: list[Sample], truth: Mapping[str, TryOn],
    generator: nn.Module,
) -> list[Loss]:  # fmt: skip
    """Asks a server for the real requests' pictures, and compares them with torch and with the
    repository's float32 files run here.

    Raises:
        tryon_client.TryOnError: it can't be asked.
    """
    from tryon_client import TryOnClient

    networks = {m.name: onnx_network(m, repository / m.name / VERSION / FORMS["fp32"])
                for m in MODELS if m.kind == "onnx"}  # fmt: skip
    rows = []
    with TryOnClient(server) as client:
        for sample in requests:
            told = truth[sample.name]
            tensors = told.tensors
            again = run_chain(networks, tensors, ("photo", "thumbnail", "input_ids", "cloth"))
            answer = client.try_on(sample.person, sample.garment, sample.prompt or None,
                                   sample.category)  # fmt: skip
            found = np.asarray(answer.image.convert("RGB"))
            x0, y0, x1, y1 = (int(v) for v in tensors["box"][0])
            where = regions(generator, tensors)
            inside = (slice(y0, y1), slice(x0, x1))
            for against, picture in (("torch", told.picture), ("onnx", again["picture"][0])):
                one, two = (p[inside][None] for p in (picture, found))
                rows += picture_losses("tryon", sample.name, one, two, where, "grpc", against,
                                       "picture")  # fmt: skip
                outside = (picture != found).any(-1)
                outside[inside] = False
                if outside.any():
                    rows.append(Loss("tryon", "picture", "outside", sample.name, 0.0,
                                     np.inf, True, stage="grpc", against=against))  # fmt: skip
    return rows


def files_of(repository: Path, model: Model) -> dict[str, Path]:
    """A network's ONNX files in a repository, by stage.

    Raises:
        PrecisionError: there is none.
    """
    folder = repository / model.name / VERSION
    files = {k: folder / v for k, v in FORMS.items() if (folder / v).is_file()}
    if "fp32" not in files:
        raise PrecisionError(
            f"{folder / FORMS['fp32']} is missing: `make export TARGET={repository.name}` writes it"
        )
    return files


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
        networks = [(m, files_of(options.repository, m)) for m in MODELS if m.kind == "onnx"]
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
            engine.EngineError) as error:  # fmt: skip
        if rows:
            print(table(rows))
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    print(not_run(why_not, bool(options.server)))
    return 0


def set_bounded(module: nn.Module, bounded: bool) -> None:
    """As the target's graph is traced: only a CPU's has outputs whose size depends on the data."""
    from tryon.models.generator import Generator
    from tryon.models.text_encoder import TextEncoder

    if isinstance(module, Generator | TextEncoder):
        module.bounded = bounded


if __name__ == "__main__":
    sys.exit(main())
