"""How far TensorRT's builder is, as bars on a terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def monitor(trt: Any, model: str) -> Any:
    """TensorRT's IProgressMonitor with a bar for each phase; none where stderr is no terminal.

    Its `stopped` tells whether somebody pressed Ctrl-C: TensorRT's threads call it from C++, where
    no exception may go, so it asks the builder to stop and the caller raises.
    """

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.bars: dict[str, Any] = {}
            self.stopped = False

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            try:
                # None turns a bar off where there is no terminal.
                self.bars[phase] = tqdm(
                    total=steps, desc=f"{model}: {phase}", leave=False, disable=None, unit="step"
                )
            except KeyboardInterrupt:
                self.stopped = True

        def step_complete(self, phase: str, step: int) -> bool:
            try:
                if phase in self.bars:
                    self.bars[phase].update()
            except KeyboardInterrupt:
                self.stopped = True
            return not self.stopped

        def phase_finish(self, phase: str) -> None:
            try:
                if phase in self.bars:
                    self.bars.pop(phase).close()
            except KeyboardInterrupt:
                self.stopped = True

    return Monitor()
