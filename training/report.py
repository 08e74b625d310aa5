"""The evaluation in one command: tables of figures, and sheets to look at.

    make evaluate                                           # the repository's weights
    make evaluate ARGS="--photos PHOTOS --pairs 256"        # with real cloth and rooms
    python -m training.report --weights runs/first --log runs/first/log.jsonl --out out/first

It renders the test scenes that are not there yet and compares on rendered people and photographed
people in rendered garments, beside the person unchanged, a garment pasted by a spline and a
plain U-Net of the same cost; then on real photos, without a truth: parse, and there and back.
Steadiness, 1024x768, fp16 and data sets of your own have commands of their own (README).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training import cycle, parse_photos, unet
from training.data.render import render
from training.data.shards import RENDERER
from training.evaluate import PAIRS_SEED, Shown, evaluate, method_table, slice_table
from training.figures import lines_of, write_json
from training.journal import VALIDATION
from training.trial import default_garments, default_people, sheet
from tryon.assets import AssetError
from tryon.models import system
from tryon.pipeline import TryOnPipeline

ROOT = Path(__file__).resolve().parents[1]
RENDERED = {"seed": 80, "scenes": 700}
PHOTOGRAPHED = {"seed": 81, "scenes": 300}
"""Scenes of which the test split is rendered: people and garments that no training draws."""
EACH = 16
"""Pairs on a sheet."""


def sheets(gallery: Sequence[Shown]) -> dict[str, np.ndarray]:
    """The best, the median and the worst pairs, uint8 (H, W, 3) each, two pairs in a row.

    Args:
        gallery: of `evaluate`.
    """
    order = sorted((shown for shown in gallery if np.isfinite(shown.psnr)), reverse=True,
                   key=lambda shown: shown.psnr)  # fmt: skip
    half = max(0, len(order) // 2 - EACH // 2)
    parts = {
        "best": order[:EACH], "median": order[half : half + EACH], "worst": order[::-1][:EACH],
    }  # fmt: skip
    return {name: _columns([_labelled(s) for s in part]) for name, part in parts.items() if part}


def _labelled(shown: Shown) -> np.ndarray:
    row = shown.row.copy()
    words = f"{shown.psnr:.1f} dB"
    for ink, thickness in ((0, 3), (255, 1)):
        cv2.putText(row, words, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (ink,) * 3, thickness,
                    cv2.LINE_AA)  # fmt: skip
    return row


def _columns(rows: list[np.ndarray], columns: int = 2) -> np.ndarray:
    blank = np.full_like(rows[0], 255)
    rows = rows + [blank] * (-len(rows) % columns)
    lines = [np.concatenate(rows[i : i + columns], 1) for i in range(0, len(rows), columns)]
    return np.concatenate(lines)


TERMS = ("total", "iou", "flow", "picture")
"""Of a training's log: its loss, and what is in it."""
VALIDATED = ("mask_iou", "flow_error_px", "psnr_changed_db", "feature_distance")


def _lines(log: Path, names: Sequence[str]) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines = [line for line in lines if all(name in line for name in names)]
    if not lines:
        raise ValueError(f"{log}: no line has {', '.join(names)}")
    return lines


def curves(log: Path) -> Any:
    """A figure of matplotlib: terms of a training's `log.jsonl` over its steps and, where
    `validation.jsonl` lies beside it, below them what its weights reached on unseen pairs.

    Raises:
        FileNotFoundError, ValueError: no such log.
    """
    from matplotlib.figure import Figure

    rows = [(_lines(log, TERMS), TERMS, "")]
    validation = log.with_name(VALIDATION)
    if validation.is_file() and validation.stat().st_size:
        rows.append((_lines(validation, VALIDATED), VALIDATED, "."))
    figure = Figure((12.8, 2.6 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(TERMS), squeeze=False)
    for row, (lines, names, marker) in zip(grid, rows, strict=True):
        for axes, name in zip(row, names, strict=True):
            axes.plot([line["step"] for line in lines], [line[name] for line in lines],
                      linewidth=1, marker=marker)  # fmt: skip
            axes.set_title(name if not marker else f"unseen pairs: {name}")
            axes.set_xlabel("step")
            axes.grid(alpha=0.3)
    return figure


def save(path: Path, write: Callable[[str], Any]) -> None:
    """Writes a picture beside its place and moves it there whole."""
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(str(beside))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """An uint8 (H, W, 3) picture, whole or not at all. Raises OSError."""

    def write(name: str) -> None:
        if not cv2.imwrite(name, picture[..., ::-1]):
            raise OSError(f"{path} can't be written")

    save(path, write)


def report(args: argparse.Namespace) -> None:
    """Runs every part, prints the tables and writes all into `args.out`.

    Raises:
        AssetError, WeightsError, OSError, RuntimeError, ValueError: with a text for people.
    """
    began = time.monotonic()
    plot = curves(args.log) if args.log else None  # before minutes are spent
    args.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"weights": system.weights_hash(args.weights)}
    text = [f"weights {figures['weights'][:16]}"]

    def add(title: str, words: str) -> None:
        text.extend(("", title, "", words))
        print("\n".join(text[-4:]), flush=True)
        write_json(args.out / "figures.json", figures)
        beside = args.out / f".{os.getpid()}.txt"
        beside.write_text("\n".join(text) + "\n")
        beside.replace(args.out / "tables.txt")

    for name, scenes, photographed, count in (
        ("rendered people", RENDERED, False, args.pairs),
        ("photographed people", PHOTOGRAPHED, True, args.pairs // 2),
    ):
        if not count:
            continue
        folder = args.scenes / name.split()[0]
        render(folder, 0, args.limit or scenes["scenes"], scenes["seed"], args.processes,
               photographed, "test")  # fmt: skip
        gallery: list[Shown] = []
        table, slices = evaluate(
            args.weights, folder, args.photos, count, 1.0, PAIRS_SEED, painter=args.unet,
            gallery=gallery,
        )  # fmt: skip
        figures[name] = {**table, "slices": slices}
        add(f"{name}: {len(gallery)} pairs of the test split", method_table(table))
        add(f"{name}: ours by slice", slice_table(slices))
        for part, picture in sheets(gallery).items():
            write_picture(args.out / f"{name.split()[0]}-{part}.jpg", picture)
    if not args.no_photos:
        pipeline = TryOnPipeline(args.weights)
        figures["parse"] = parse_photos.with_means(parse_photos.compare(pipeline))
        add("upper garment on real photos, IoU with outlines drawn by hand",
            lines_of(figures["parse"]))  # fmt: skip
        figures["there and back"] = cycle.measure(
            pipeline, default_people(), default_garments(), "upper"
        )
        add("there and back on real photos", lines_of(figures["there and back"]))
        people, garments = default_people(), default_garments()
        trial = sheet(pipeline, people, garments, "", "upper", (320, 240), True)
        write_picture(args.out / "trial.jpg", trial)
    if plot is not None:
        save(args.out / "training.svg", plot.savefig)
    print(f"\n{args.out}: tables.txt, figures.json and sheets, in {time.monotonic() - began:.0f} s")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.report", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--out", type=Path, default=ROOT / "out" / "evaluation")
    p.add_argument("--scenes", type=Path, default=ROOT / ".cache" / "test-scenes" / str(RENDERER),
                   help="where the test split is rendered; default: %(default)s")  # fmt: skip
    p.add_argument("--pairs", type=int, default=128, help="of rendered people; half as many of "
                   "photographed ones; 0: neither; default: %(default)s")  # fmt: skip
    p.add_argument("--limit", type=int, default=0, help="of so many scenes the test split alone")
    p.add_argument("--photos", type=Path, help="real garment photos, for cloth and backgrounds")
    p.add_argument("--unet", type=Path, default=unet.KEPT,
                   help="weights of `training.unet`, to compare with")  # fmt: skip
    p.add_argument("--log", type=Path, help="a training's log.jsonl, to plot")
    p.add_argument("--no-photos", action="store_true", help="leave out what is of real photos")
    p.add_argument("--processes", type=int, default=2)
    args = p.parse_args(arguments)
    try:
        report(args)
    except (AssetError, OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
