"""What a run writes down while it goes on: one line for ten steps, and TensorBoard's events."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

EVERY = 10
"""Steps to a line: one batch says little."""


def _step(line: str) -> float:
    """The step of a line; past all of them where it was cut off."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class Journal:
    """`log.jsonl` (opened to go on) and TensorBoard's events in a run's folder."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        """Args: step: the run goes on from here: what was written of later steps is taken out."""
        path = folder / "log.jsonl"
        if path.is_file():
            lines = path.read_text().splitlines(keepends=True)
            beside = path.with_suffix(".tmp")
            beside.write_text("".join(line for line in lines if _step(line) <= step))
            beside.replace(path)
        self._file = path.open("a")
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

    def close(self) -> None:
        """Writes what is left."""
        self._file.close()
        self._writer.close()
