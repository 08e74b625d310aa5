"""Figures: means over rows, a table in the terminal, a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {n: float(np.mean([row[n] for row in rows if n in row])) for n in names}


def show(table: Mapping[str, float]) -> None:
    """Prints a figure a line."""
    for name, value in table.items():
        print(f"{name:32s}{value:10.3f}")


def write_json(path: Path | None, table: Mapping[str, Any]) -> None:
    """Writes the figures whole or not at all; None: nowhere."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(json.dumps(table, indent=2) + "\n")
    os.replace(beside, path)
