"""The audit: how much of each engine computes in fp16, before the build and as it was built."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from export import engine
from export.names import module_of

AUDIT = "audit.json"
HALF_SHARE = 0.95
"""Least share of the multiply-adds of convolutions and matrix products that must be fp16."""


class AuditError(RuntimeError):
    """An engine that computes too much in float32; names the model and its layers."""


def write(repository: Path, built: list[engine.Built], more: Mapping[str, object]) -> None:
    """Writes a repository's audit: every layer of its engines, a line each, and `more`."""
    report = {"engines": [b.as_dict() for b in built], **more}
    text = re.sub(r"\{[^{}]*\}", lambda found: " ".join(found[0].split()),
                  json.dumps(report, indent=1))  # fmt: skip
    (repository / AUDIT).write_text(text + "\n")


def table(built: list[engine.Built]) -> str:
    """Each engine's size and how much of its compute is fp16, as text: before the build, and where
    a GPU was there to ask, as TensorRT built it."""
    lines = [f"{'engine':14}{'MB':>7}{'layers':>8}{'GMAC':>8}{'fp16':>8}{'built':>8}"
             "  still in float32"]  # fmt: skip
    for b in built:
        wide, after = b.wide(), b.half_share_after
        total = sum(layer.work for layer in b.layers)
        lines.append(
            f"{b.model:14}{b.bytes / 2**20:7.1f}{len(b.layers):8d}{total / 1e9:8.3f}"
            f"{b.half_share:8.1%}{'no GPU' if after is None else f'{after:.1%}':>8}"
            f"  {', '.join(layer.name for layer in wide[:4])}"
            + (f" and {len(wide) - 4} more" if len(wide) > 4 else "")
        )
    return "\n".join(line.rstrip() for line in lines)


def require_half(built: list[engine.Built]) -> None:
    """Raises AuditError where less than HALF_SHARE of an engine's compute is fp16, before the build
    or as TensorRT built it."""
    for b in built:
        for share, after in ((b.half_share, False), (b.half_share_after, True)):
            if share is None or share >= HALF_SHARE:
                continue
            raise AuditError(
                f"{b.model}: {share:.1%} of its multiply-adds are fp16{' as built' * after}, at "
                f"least {HALF_SHARE:.0%} must be; the largest in float32: "
                + ", ".join(f"{x.name} ({x.after if after else x.dtype}) of "
                            f"{module_of(b.model, x.name)}" for x in b.wide(after)[:3])
            )


def read(repository: Path) -> list[engine.Built]:
    """The engines as they were built.

    Raises:
        FileNotFoundError: none were built there.
    """
    report = json.loads((repository / AUDIT).read_text())
    return [
        engine.Built(e["model"], e["bytes"], [engine.Layer(**x) for x in e["layers"]])
        for e in report["engines"]
    ]
