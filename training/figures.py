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


def lines_of(table: Mapping[str, float]) -> str:
    """A figure a line."""
    return "\n".join(f"{name:40s}{value:10.3f}" for name, value in table.items())


def show(table: Mapping[str, float]) -> None:
    """Prints a figure a line."""
    print(lines_of(table))


def write_json(path: Path | None, table: Mapping[str, Any]) -> None:
    """Writes the figures whole or not at all; None: nowhere."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(json.dumps(table, indent=2) + "\n")
    os.replace(beside, path)
