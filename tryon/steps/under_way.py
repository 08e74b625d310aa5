"""Which steps of a server are under way: a network takes all its cores while no other step runs.

The steps are processes of their own. Each has bytes in a file that all of them map, which the
server names in TRYON_UNDER_WAY; there a step writes 1 while it works. Nobody waits for anybody: who
looks a moment too early is slower for once, not wrong.
"""

from __future__ import annotations

import mmap
import os

from tryon.contract import SERVED

VARIABLE = "TRYON_UNDER_WAY"
INSTANCES = 64
"""Most processes of a step that are told apart."""


class UnderWay:
    """One process of a step; a context manager, inside which the step is under way.

    Args:
        model: the step's name in the contract.
        instance: which of its processes this is, from 0.

    Raises:
        KeyError: no such step.
        OSError: the file that TRYON_UNDER_WAY names can't be opened. Without that variable the
            process knows of itself alone.
    """

    def __init__(self, model: str, instance: int) -> None:
        names = [served.name for served in SERVED]
        if model not in names:
            raise KeyError(f"no served model {model!r}; there are {', '.join(names)}")
        size, path = len(names) * INSTANCES, os.environ.get(VARIABLE)
        if path:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(file, size)
                self._bytes = mmap.mmap(file, size)
            finally:
                os.close(file)
        else:
            self._bytes = mmap.mmap(-1, size)
        self._own = names.index(model) * INSTANCES + instance % INSTANCES
        self._bytes[self._own] = 0  # of a process that was here before and was killed

    def alone(self) -> bool:
        """Whether no other process is under way."""
        found = bytes(self._bytes)
        return 1 not in found[: self._own] and 1 not in found[self._own + 1 :]

    def __enter__(self) -> UnderWay:
        self._bytes[self._own] = 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._bytes[self._own] = 0
