"""What each group of nodes costs the picture when it alone computes in fp16.

    python -m export.sensitivity                        a table; sensitivity.json beside the engines
    python -m export.sensitivity --network generator    one network alone

A group is a top-level module of a network. Its nodes' inputs, weights and outputs are rounded to
fp16, all else stays in float32, and the picture is compared with float32's on real requests. "fp16
file" is a network as it was exported, and "all" every network so. Beside each group stands how many
of its nodes `export/precision.py` keeps in float32 (PRECISE), and whether that is needed. It takes
some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

from export.chain import Network, Tensors, onnx_network, run_chain
from export.files import write_whole
from export.precision import PRECISE, PRECISE_TYPES, PrecisionError
from export.regions import psnr, regions
from export.repository import FORMS, REPOSITORIES, onnx_files
from export.rounding import groups, rounded
from export.trace import set_bounded
from tryon.contract import MODELS
from tryon.contract import model as served
from tryon.errors import RequestError
from tryon.tolerances import EXACT_DB, LEAST_PIXELS, PICTURE_DB, REGION_DB

FILE, EXPORTED = "sensitivity.json", "fp16 file"
SHOWN = ("whole", "garment", "skin", "background")


@dataclass
class Group:
    """What a group costs.

    Attributes:
        nodes, kept: how many it has, and how many of them PRECISE keeps in float32.
        psnr: region -> dB, the worst of all requests; EXACT_DB where no byte changes.
        refused: a request that a step refuses with this group in fp16; empty: none.
    """

    network: str
    group: str
    nodes: int
    kept: int
    psnr: dict[str, float]
    refused: str = ""

    @property
    def ok(self) -> bool:
        """Whether the picture keeps its bounds with this group in fp16."""
        return not self.refused and all(
            db >= (PICTURE_DB if region == "whole" else REGION_DB)
            for region, db in self.psnr.items()
        )

    @property
    def verdict(self) -> str:
        """What that says of the list of nodes that stay in float32."""
        if self.kept:
            return "kept in fp32: not needed by itself" if self.ok else "kept in fp32: needed"
        return "" if self.ok else "should stay in fp32"


def kept_nodes(network: str, graph: onnx.ModelProto) -> set[str]:
    """Names of the nodes that `export/precision.py` keeps in float32."""
    patterns = [re.compile(p) for p in PRECISE.get(network, ())]
    return {
        n.name for n in graph.graph.node
        if n.op_type in PRECISE_TYPES or any(p.fullmatch(n.name) for p in patterns)
    }  # fmt: skip


def measure(
    repository: Path, requests: Mapping[str, Tensors], where: Mapping[str, Tensors],
    networks: tuple[str, ...] = (), say: Callable[[str], None] = print,
) -> list[Group]:  # fmt: skip
    """Measures each group.

    Args:
        repository: with every network's float32 `model.onnx`.
        requests: of whole requests (`TryOn.tensors`), batch in front.
        where: the regions of their windows (`regions.regions`).
        networks: served names; empty: all.
        say: takes a line of progress.

    Raises:
        FileNotFoundError: a file is missing.
        PrecisionError: a name is no network's.
    """
    names = [m.name for m in MODELS if m.kind == "onnx"]
    files = {name: onnx_files(repository, name, "fp32")["fp32"] for name in names}
    unknown = [n for n in networks if n not in files]
    if unknown:
        raise PrecisionError(f"no network {unknown[0]!r}; there are {', '.join(files)}")
    wide = {name: onnx_network(served(name), path) for name, path in files.items()}
    first = ("photo", "thumbnail", "input_ids", "cloth")
    base = {label: run_chain(wide, tensors, first) for label, tensors in requests.items()}
    found = []
    for name in networks or files:
        graph = onnx.load(str(files[name]))
        kept = kept_nodes(name, graph)
        for group, nodes in groups(name, graph).items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                onnx.save(rounded(graph, nodes), str(path))
                own = {**wide, name: onnx_network(served(name), path)}
                row = _measure(name, group, own, base, where)
            row.nodes, row.kept = len(nodes), len(kept & set(nodes))
            say(f"{name} {group}: {row.psnr['whole']:.1f} dB")
            found.append(row)
    return found + _exported(files, tuple(networks) or tuple(files), wide, base, where)


def _exported(
    files: Mapping[str, Path], networks: tuple[str, ...], wide: Mapping[str, Network],
    base: Mapping[str, Tensors], where: Mapping[str, Tensors],
) -> list[Group]:  # fmt: skip
    """The fp16 files by themselves and all together, where there are any."""
    halves = {name: files[name].with_name(FORMS["fp16"]) for name in networks}
    halves = {name: path for name, path in halves.items() if path.is_file()}
    narrow = {name: onnx_network(served(name), path) for name, path in halves.items()}
    rows = []
    for name, network in narrow.items():
        rows.append(_measure(name, EXPORTED, {**wide, name: network}, base, where))
        rows[-1].nodes = len(onnx.load(str(halves[name])).graph.node)
    if len(narrow) == len(files):
        first = next(iter(files))  # the detector: everything hangs on it
        changed = ("photo", "thumbnail", "input_ids", "cloth")
        rows.append(_measure("all", EXPORTED, narrow, base, where, changed, first))
    return rows


def _measure(
    name: str, group: str, networks: Mapping[str, Network], base: Mapping[str, Tensors],
    where: Mapping[str, Tensors], changed: tuple[str, ...] = (), first: str = "",
) -> Group:  # fmt: skip
    worst = dict.fromkeys(SHOWN, EXACT_DB)
    for label, before in base.items():
        try:
            after = run_chain(networks, before, changed, first=first or name)
        except RequestError as error:
            return Group(name, group, 0, 0, dict.fromkeys(SHOWN, 0.0), f"{label}: {error}")
        x0, y0, x1, y1 = (int(v) for v in before["box"][0])
        one, two = (t["picture"][:, y0:y1, x0:x1] for t in (before, after))
        for region in SHOWN:
            here = where[label][region]
            if region == "whole" or here.sum() >= LEAST_PIXELS:
                worst[region] = min(worst[region], psnr(one, two, here))
    return Group(name, group, 0, 0, worst)


def table(rows: list[Group]) -> str:
    """The groups as text, those that cost the most first."""
    lines = [f"{'network':14}{'group':19}{'nodes':>6}{'kept':>6}"
             + "".join(f"{r:>12}" for r in SHOWN)]  # fmt: skip
    for row in sorted(rows, key=lambda r: r.psnr["whole"]):
        cells = "".join(f"{'exact' if row.psnr[r] >= EXACT_DB else f'{row.psnr[r]:.1f} dB':>12}"
                        for r in SHOWN)  # fmt: skip
        lines.append(f"{row.network:14}{row.group:19}{row.nodes:6d}{row.kept:6d}{cells}  "
                     f"{row.refused or row.verdict}".rstrip())  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.sensitivity", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--repository", type=Path, default=REPOSITORIES / "tensorrt_rtx",
                        metavar="FOLDER", help="an exported one (%(default)s)")  # fmt: skip
    parser.add_argument("--network", action="append", default=[], help="only this one")
    parser.add_argument("--samples", type=int, default=3, metavar="N",
                        help="so many of the sample requests (%(default)s)")  # fmt: skip
    options = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    from export.samples import samples
    from tryon.assets import AssetError
    from tryon.models.system import WeightsError
    from tryon.pipeline import TryOnPipeline

    try:
        for model in MODELS:
            if model.kind == "onnx":
                onnx_files(options.repository, model.name, "fp32")
        pipeline = TryOnPipeline()
        for module in pipeline.models.values():
            set_bounded(module, options.repository.name == "cpu")
        requests = {
            s.name: pipeline(s.person, s.garment, s.prompt, s.category).tensors
            for s in samples()[: options.samples]
        }
        generator = pipeline.models["generator"]
        where = {label: regions(generator, tensors) for label, tensors in requests.items()}
        rows = measure(options.repository, requests, where, tuple(options.network))
    except (AssetError, WeightsError, PrecisionError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    report = {"requests": list(requests), "groups": [
        {**asdict(r), "ok": r.ok, "verdict": r.verdict} for r in rows]}  # fmt: skip
    path = options.repository / FILE
    write_whole(path, (json.dumps(report, indent=1) + "\n").encode())
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
