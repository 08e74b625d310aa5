"""`python -m benchmarks.perf_analyzer`: writes the request files (`--input-data`) of perf_analyzer.

One file a size, with the benchmark's person and some garments, which perf_analyzer takes in turn.
As JPEG they lie beside this file; as raw pixels (some MB each) they are written on demand.

    python -m benchmarks.perf_analyzer                          the JPEG files, as committed
    python -m benchmarks.perf_analyzer --wire raw --out FOLDER  the same with raw pixels
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import Inputs, fresh, make_inputs, photos
from benchmarks.request import encoded
from export.files import write_whole
from tryon.assets import AssetError
from tryon.contract import OUTPUT_SIZES

FOLDER = Path(__file__).resolve().parent
REQUESTS = 2
"""Garments in a file. perf_analyzer begins anew behind the last one, so the server knows them all
soon: its figures are to be set beside ours of a known garment."""


def _tensor(array: np.ndarray) -> dict[str, Any]:
    """Bytes and shape (without the batch axis) of an input."""
    return {
        "content": {"b64": base64.b64encode(array.tobytes()).decode()},
        "shape": list(array.shape),
    }


def request_file(inputs: Inputs, wire: str, requests: int = REQUESTS) -> str:
    """The JSON of some requests that differ in garment and words.

    Args:
        inputs: raw pixels.
        wire: "raw" or "jpeg".
        requests: how many.
    """
    data = []
    for number in range(requests):
        given = encoded(fresh(inputs, number), wire)
        data.append({
            "person": _tensor(given.person),
            "garment": _tensor(given.garment),
            "prompt": {"content": [given.prompt], "shape": [1]},
            "category": {"content": [given.category], "shape": [1]},
        })  # fmt: skip
    return json.dumps({"data": data}) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 after an error of one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perf_analyzer", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--wire", choices=("jpeg", "raw"), default="jpeg", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (beside this module)")
    options = parser.parse_args(arguments)
    try:
        person, garment = photos()
        options.out.mkdir(parents=True, exist_ok=True)
        for size in OUTPUT_SIZES:
            path = options.out / f"{size[0]}x{size[1]}-{options.wire}.json"
            text = request_file(make_inputs(person, garment, size), options.wire)
            write_whole(path, text.encode())
            print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    except (AssetError, OSError) as error:
        print(f"perf_analyzer: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
