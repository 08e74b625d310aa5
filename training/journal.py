"""What a run writes down while it goes on: one line for ten steps, one for each validation, and
TensorBoard's events."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TextIO

from torch.utils.tensorboard import SummaryWriter

LOG, VALIDATION = "log.jsonl", "validation.jsonl"
EVERY = 10
"""Steps to a line: one batch says little."""


def _step(line: str) -> float:
    """The step of a line; past all of them where it was cut off."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _opened(path: Path, step: int) -> TextIO:
    """The file, to write on; what it holds of later steps is taken out."""
    if path.is_file():
        lines = path.read_text().splitlines(keepends=True)
        beside = path.with_suffix(".tmp")
        beside.write_text("".join(line for line in lines if _step(line) <= step))
        beside.replace(path)
    return path.open("a")


class Journal:
    """`log.jsonl`, `validation.jsonl` (opened to go on) and TensorBoard's events in a folder."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        """Args: step: the run goes on from here: what was written of later steps is taken out."""
        self._file = _opened(folder / LOG, step)
        self._checked = _opened(folder / VALIDATION, step)
        self._writer = SummaryWriter(str(folder))
        self._began = time.monotonic()
        self._recent: dict[str, list[float]] = {}

    def add(self, step: int, terms: dict[str, float]) -> dict[str, float] | None:
        """Takes the terms of the `step`th step; answers the means of the last ten, if written."""
        for name, value in terms.items():
            self._recent.setdefault(name, []).append(value)
        if step % EVERY:
            return None
        means = {name: sum(values) / len(values) for name, values in self._recent.items()}
        self._recent.clear()
        seconds = round(time.monotonic() - self._began, 1)
        self._file.write(json.dumps({"step": step, "seconds": seconds, **means}) + "\n")
        self._file.flush()
        for name, value in means.items():
            self._writer.add_scalar(name, value, step)
        return means

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """Takes what the weights of the `step`th step reach on pairs that no training sees."""
        self._checked.write(json.dumps({"step": step, **figures}) + "\n")
        self._checked.flush()
        for name, value in figures.items():
            self._writer.add_scalar(f"validation/{name}", value, step)

    def close(self) -> None:
        """Writes what is left."""
        self._file.close()
        self._checked.close()
        self._writer.close()
