"""What a request costs beside time: the server's CPU time and memory, and bytes on the wire."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of all processes of one session, summed: CPU seconds so far, and peak memory.

    A page that two processes share counts for both.
    """

    cpu_seconds: float
    peak_bytes: int


def usage(session: int, proc: Path = Path("/proc")) -> Usage:
    """What the processes of a session (its leader's process ID) have used, those that still run.

    Args:
        session: the embedded server's own `pid`.
        proc: where Linux shows its processes.
    """
    seconds, peak = 0.0, 0
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name in brackets may hold anything; behind it: state, parent, group, session, ...
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            status = (folder / "status").read_text()
        except (OSError, IndexError):  # it ended while it was read
            continue
        seconds += (int(fields[11]) + int(fields[12])) / _TICK
        peak += sum(int(line.split()[1]) * 1024 for line in status.splitlines()
                    if line.startswith("VmHWM:"))  # fmt: skip
    return Usage(seconds, peak)
