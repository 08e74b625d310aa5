"""How long the server takes from nothing to its first answer, and the memory that it then holds.

    python -m benchmarks.startup               # five starts
    python -m benchmarks.startup --times 2 --size 1024x768

Told are, of each start: seconds until the server is ready, until its first answer, how long its
second took; and the memory of its processes after so many answers more, a page that several share
counted once. Files are warm after the first start. Goes to out/bench/startup.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cost import held
from benchmarks.inputs import Inputs, fresh, make_inputs, parse_size, photos
from benchmarks.machine import ROOT, measured_on
from benchmarks.report import write_json
from benchmarks.server import Server
from deploy.embedded import REPOSITORY, EmbeddedServer, ServerError
from tryon.assets import AssetError

MORE = 30
"""Answers before memory is read."""


def start_once(repository: Path, inputs: Inputs) -> dict[str, float]:
    """One start. Raises ServerError."""
    began = time.monotonic()
    with EmbeddedServer(repository) as embedded:
        ready = time.monotonic()
        server = Server(embedded.grpc_url)
        try:
            times = []
            for number in range(2 + MORE):
                server.try_on(fresh(inputs, number))
                times.append(time.monotonic())
            memory = held(embedded.pid or 0)
        finally:
            server.close()
    return {
        "ready_s": ready - began, "first_answer_s": times[0] - began,
        "second_ms": (times[1] - times[0]) * 1e3, "held_mb": memory / 1e6,
    }  # fmt: skip


def table(rows: list[dict[str, float]]) -> str:
    """Text of at most 100 columns."""
    lines = ["start    ready, s   first answer, s   second, ms   memory, MB"]
    for number, row in enumerate(rows, 1):
        lines.append(f"{number:5d}{row['ready_s']:12.2f}{row['first_answer_s']:18.2f}"
                     f"{row['second_ms']:13.0f}{row['held_mb']:13.0f}")  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--times", type=int, default=5, help="starts (%(default)s)")
    parser.add_argument("--size", type=parse_size, default=(512, 384), metavar="HxW",
                        help="of the photo (512x384)")  # fmt: skip
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench", help="folder")
    options = parser.parse_args(arguments)
    if options.times < 1:
        parser.error("--times takes 1 or more")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(*photos(), options.size)
        rows = [start_once(options.repository, inputs) for _ in range(options.times)]
    except (AssetError, ServerError, OSError) as error:
        print(f"startup: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    made: dict[str, Any] = {
        "starts": rows,
        "median": {name: float(np.median([row[name] for row in rows])) for name in rows[0]},
        **measured_on(options.repository),
    }  # fmt: skip
    write_json(made, options.out / "startup.json")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
