"""Triton's own queue and compute times for each step, over a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PARTS = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass
class StepTimes:
    """Sums, in nanoseconds, of one served model's requests."""

    count: int = 0
    failed: int = 0
    total: int = 0
    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))

    def means(self) -> dict[str, float]:
        """Mean milliseconds of a request: in all, in the queue, and of each part of the compute.

        The parts may sum to less than `total`: it also counts the hand-over between them.
        """
        scale = 1e6 * max(self.count, 1)
        return {
            "count": self.count,
            "total": self.total / scale,
            **{part: ns / scale for part, ns in self.parts.items()},
        }


def add_difference(sums: dict[str, StepTimes], before: Any, after: Any) -> None:
    """Adds to `sums` what happened between two ModelStatisticsResponses.

    Triton counts up for as long as it runs, so a window's own figures are a difference; summed over
    a subject's windows they leave out whatever ran in between. All versions of a model count.
    """
    for sign, response in ((-1, before), (1, after)):
        for model in response.model_stats:
            step = sums.setdefault(model.name, StepTimes())
            stats = model.inference_stats
            step.count += sign * stats.success.count
            step.failed += sign * stats.fail.count
            step.total += sign * stats.success.ns
            for part in PARTS:
                step.parts[part] += sign * getattr(stats, part).ns


def breakdown(sums: dict[str, StepTimes]) -> dict[str, dict[str, float]]:
    """Means of every model that ran."""
    return {name: step.means() for name, step in sums.items() if step.count}
