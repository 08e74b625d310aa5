"""`python -m benchmarks.published`: our networks beside the shape of published real-time try-on.

The published shape is a garment warped by a pyramid of flows and a U-Net that paints the picture,
as PF-AFN (Ge et al., 2021) describes it and FS-VTON, RMGN and DM-VTON have it after it: features
of person and garment at five levels; from the coarsest on, each level's correlation of warped
garment and person within 7x7 refines the flow; the U-Net sees person and warped garment. It is
built here from that description alone, with random weights: what it costs depends on its shape, not
on what it has learned. Its width is chosen so that it has the arithmetic that is asked for.

Both run in ONNX Runtime on the same threads and take turns. Ours is the five served networks on a
whole request, at the networks' own size; and `tryon_live` as a whole, over gRPC, a frame of that
size in a garment that the server keeps.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.chain import network, served_chain
from benchmarks.inputs import Inputs, make_inputs, photos, tensors
from benchmarks.load import Call, until_stable
from benchmarks.machine import ROOT, machine, weights_hash
from benchmarks.report import write_json
from benchmarks.roofline import network_work
from benchmarks.server import TIMEOUT, Server
from benchmarks.stats import ratio_interval
from benchmarks.wardrobe import wearing
from deploy.embedded import EmbeddedServer, ServerError
from tryon.assets import AssetError
from tryon.contract import LIVE, MODELS, NET_HEIGHT, NET_WIDTH, Model, Tensor, ensemble
from tryon.errors import RequestError
from tryon_client import Garment, TryOnClient, TryOnError, Wardrobe

GFLOPS = 69.0
"""Of DM-VTON at 256x192, as issue 7 has it from the paper; not counted here."""
LEVELS = 5
REACH = 3
"""Pixels to each side within which features are correlated."""
SECONDS, WINDOW = 40.0, 2.0
SHAPE = Model(
    "flow_unet", "onnx", "The published shape.",
    (Tensor("person", "float32", (3, NET_HEIGHT, NET_WIDTH)),
     Tensor("garment", "float32", (3, NET_HEIGHT, NET_WIDTH))),
    (Tensor("picture", "float32", (3, NET_HEIGHT, NET_WIDTH)),),
)  # fmt: skip


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class _Residual(nn.Module):
    """Two 3x3 convolutions and what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class FlowUNet(nn.Module):
    """Pyramid of flows and U-Net.

    Args:
        width: channels of the finest level; deeper ones have up to four times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [width * min(2**level, 4) for level in range(LEVELS)]
        ahead = [3, *channels[:-1]]
        self.person, self.garment = (
            nn.ModuleList(
                nn.Sequential(_conv(a, b, 2), _Residual(b), _Residual(b))
                for a, b in zip(ahead, channels, strict=True)
            )
            for _ in range(2)
        )
        window = (2 * REACH + 1) ** 2
        self.flows = nn.ModuleList(
            nn.Sequential(_conv(window, 2 * width), _conv(2 * width, width),
                          nn.Conv2d(width, 2, 3, 1, 1))
            for _ in channels
        )  # fmt: skip
        before = [6, *channels[:-1]]
        self.down = nn.ModuleList(
            nn.Sequential(_conv(a, b, 2), _Residual(b))
            for a, b in zip(before, channels, strict=True)
        )
        after = [width, *channels[:-1]]
        self.up = nn.ModuleList(
            nn.Sequential(_conv(b + (a if level else 6), a), _Residual(a))
            for level, (a, b) in enumerate(zip(after, channels, strict=True))
        )
        self.paint = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, person: torch.Tensor, garment: torch.Tensor) -> torch.Tensor:
        """float32 (B, 3, 256, 192) each, -1..1; the picture likewise."""
        ours, theirs = _maps(self.person, person), _maps(self.garment, garment)
        flow = torch.zeros_like(ours[-1][:, :2])
        for level in reversed(range(LEVELS)):
            flow = flow + self.flows[level](_correlation(ours[level], _warped(theirs[level], flow)))
            flow = 2 * F.interpolate(flow, scale_factor=2.0, mode="bilinear")
        x = torch.cat([person, _warped(garment, flow)], 1)
        skips = []
        for step in self.down:
            skips.append(x)
            x = step(x)
        for step, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = step(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return torch.tanh(self.paint(x))


def _maps(levels: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    """What each level makes of the one before."""
    maps = []
    for level in levels:
        x = level(x)
        maps.append(x)
    return maps


def _warped(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """x (B, C, H, W) moved by a flow (B, 2, H, W), pixels."""
    height, width = x.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([columns, rows], -1).to(x) + flow.permute(0, 2, 3, 1)
    scale = torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
    return F.grid_sample(x, places * scale - 1, align_corners=True)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean products of a's pixels with b's within REACH, (B, (2 REACH + 1)^2, H, W)."""
    height, width = a.shape[-2:]
    around = F.pad(b, (REACH,) * 4)
    return torch.cat(
        [
            (a * around[..., y : y + height, x : x + width]).mean(1, keepdim=True)
            for y in range(2 * REACH + 1)
            for x in range(2 * REACH + 1)
        ],
        1,
    )


def export(width: int, path: Path) -> int:
    """Writes the shape as ONNX; answers its parameters."""
    torch.manual_seed(0)
    module = FlowUNet(width).eval()
    example = tuple(torch.zeros(1, *tensor.shape) for tensor in SHAPE.inputs)
    with warnings.catch_warnings():
        # Sizes are numbers in the trace, and meant to be.
        warnings.simplefilter("ignore")
        _trace(module, example, path)
    return sum(p.numel() for p in module.parameters())


def _trace(module: nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    torch.onnx.export(
        module, example, str(path), dynamo=False, opset_version=17,
        input_names=[t.name for t in SHAPE.inputs], output_names=[t.name for t in SHAPE.outputs],
    )  # fmt: skip


def values() -> dict[str, np.ndarray]:
    """The shape's inputs, random."""
    rng = np.random.default_rng(0)
    return {
        t.name: rng.uniform(-1, 1, (1, *t.shape)).astype(np.float32) for t in SHAPE.inputs
    }  # fmt: skip


def width_for(gflops: float, folder: Path) -> tuple[int, int, float]:
    """The width (a multiple of four) whose arithmetic is nearest to `gflops`: it, its parameters
    and its own GFLOPs; its ONNX file is folder/model.onnx."""
    path, given = folder / "model.onnx", values()

    # Arithmetic grows with the width's square, but for the ends: a few steps are near enough.
    width = 16
    for _ in range(4):
        parameters = export(width, path)
        found = network_work(SHAPE, path, given).flops / 1e9
        better = max(4, 4 * round(width * (gflops / found) ** 0.5 / 4))
        if better == width:
            break
        width = better
    else:
        parameters = export(width, path)
        found = network_work(SHAPE, path, given).flops / 1e9
    return width, parameters, found


def own_parameters(repository: Path) -> dict[str, int]:
    """Of each served network."""
    found = {}
    for served in MODELS:
        if served.kind == "onnx":
            graph = onnx.load(str(repository / served.name / "1" / "model.onnx")).graph
            found[served.name] = sum(int(np.prod(i.dims)) for i in graph.initializer)
    return found


def table(
    rows: Sequence[dict[str, Any]], ratio: dict[str, float], live: dict[str, float] | None = None
) -> str:
    """Text of at most 100 columns; `ratio`, `live`: the published shape's p50 by that of our
    networks, and of `tryon_live`."""
    lines = [f"{'':40} {'GFLOP':>8} {'million weights':>16} {'p50 ms':>9} {'p99 ms':>9}"]
    for row in rows:
        lines.append(
            f"{row['name']:40} {row['gflops']:8.2f} {row['parameters'] / 1e6:16.2f} "
            f"{row['p50']:9.1f} {row['p99']:9.1f}"
        )
    lines.append(f"published shape / ours, p50: {ratio['value']:.1f} ({ratio['low']:.1f} to "
                 f"{ratio['high']:.1f})")  # fmt: skip
    if live is not None:
        lines.append(f"published shape alone / tryon_live over gRPC, p50: {live['value']:.1f} "
                     f"({live['low']:.1f} to {live['high']:.1f})")  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--gflops", type=float, default=GFLOPS,
                        help="of the published shape (%(default)g)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at most (%(default)g)")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository" / "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    if not options.gflops > 1 or not options.seconds > 0:
        parser.error("--gflops takes more than 1, --seconds more than 0")
    cores = len(os.sched_getaffinity(0))
    try:
        person, garment = photos()
        options.out.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(person, garment, (NET_HEIGHT, NET_WIDTH))
        seen = served_chain(options.repository, cores).everything(tensors(inputs))
        with tempfile.TemporaryDirectory(prefix="tryon-published-") as folder:
            made = _measure(options, inputs, seen, Path(folder), cores)
    except (AssetError, RequestError, ServerError, TryOnError, OSError) as error:
        print(f"published: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    write_json(made, options.out / "published.json")
    print(table(made["rows"], made["ratio"], made["ratio_live"]))
    return 0


def _measure(
    options: argparse.Namespace, inputs: Inputs, seen: dict[str, np.ndarray], folder: Path,
    cores: int,
) -> dict[str, Any]:  # fmt: skip
    width, parameters, gflops = width_for(options.gflops, folder)
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = cores
    session: Any = ort.InferenceSession(
        folder / "model.onnx", session_options, providers=["CPUExecutionProvider"]
    )
    given, own_gflops, steps = values(), {}, []
    for served in MODELS:
        if served.kind == "onnx":
            path = options.repository / served.name / "1" / "model.onnx"
            own_gflops[served.name] = network_work(served, path, seen).flops / 1e9
            steps.append(network(served, path, cores))
    with contextlib.ExitStack() as stack:
        embedded = EmbeddedServer(options.repository, wardrobe=str(folder / "wardrobe"))
        server = Server(stack.enter_context(embedded).grpc_url)
        stack.callback(server.close)
        client = stack.enter_context(TryOnClient(server.url, timeout=TIMEOUT))
        garment = Garment(inputs.garment, inputs.prompt, inputs.category)
        name = Wardrobe(client).add(garment, (NET_HEIGHT, NET_WIDTH))
        calls: dict[str, Call] = {
            "published": lambda: session.run(None, given),
            "ours": lambda: [step(seen) for step in steps],
            "live": wearing(server, inputs.person, [name]),
        }
        series = until_stable(calls, window=WINDOW, cap=options.seconds, warm_up=2)
    own = own_parameters(options.repository)
    live = [step.model for step in ensemble(LIVE).steps if step.model in own]
    names = {
        "published": (f"flow pyramid and U-Net, width {width}", gflops, parameters),
        "ours": ("ours, all five networks", sum(own_gflops.values()), sum(own.values())),
        "live": ("ours, tryon_live over gRPC", sum(own_gflops[n] for n in live),
                 sum(own[n] for n in live)),
    }  # fmt: skip

    def ratio(key: str) -> dict[str, float]:
        pairs = zip(series["published"].windows, series[key].windows, strict=True)
        return ratio_interval([(a.latencies, b.latencies) for a, b in pairs], np.median)

    rows = [
        {"name": name, "gflops": cost, "parameters": weights, **series[key].summary()}
        for key, (name, cost, weights) in names.items()
    ]
    return {
        "machine": machine(), "weights": weights_hash(options.repository), "threads": cores,
        "rows": rows, "ratio": ratio("ours"), "ratio_live": ratio("live"),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
