"""What a request costs beside time: the server's CPU time and memory, and bytes on the wire."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of all processes of one session, summed: CPU seconds so far, and peak memory in bytes.

    A page that two processes share counts for both.
    """

    cpu_seconds: float
    peak_bytes: int


def usage(session: int, proc: Path = Path("/proc")) -> Usage:
    """What the processes of a session, and its leader's descendants elsewhere, have used: those
    that still run.

    Args:
        session: its leader's process ID: the embedded server's, or a peer's, own `pid`.
        proc: where Linux shows its processes.
    """
    seconds, peak = 0.0, 0
    for folder, fields in _members(session, proc):
        try:
            status = (folder / "status").read_text()
        except OSError:  # it ended while it was read
            continue
        seconds += (int(fields[11]) + int(fields[12])) / _TICK
        peak += sum(int(line.split()[1]) * 1024 for line in status.splitlines()
                    if line.startswith("VmHWM:"))  # fmt: skip
    return Usage(seconds, peak)


def resident(session: int, proc: Path = Path("/proc")) -> int:
    """Memory that a session's processes hold now, in bytes: each one's own, without what it shares
    with others (`RssAnon`)."""
    return _summed(session, proc, "status", "RssAnon:")


def held(session: int, proc: Path = Path("/proc")) -> int:
    """Memory that a session's processes hold now, in bytes, a page that several share counted once
    among them (`Pss`)."""
    return _summed(session, proc, "smaps_rollup", "Pss:")


def _summed(session: int, proc: Path, name: str, field: str) -> int:
    """A field of so named a file, in bytes, of a session's processes that still run, summed."""
    total = 0
    for folder, _ in _members(session, proc):
        try:
            text = (folder / name).read_text()
        except OSError:  # it ended while it was read
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines()
                     if line.startswith(field))  # fmt: skip
    return total


def reset_peak(session: int, proc: Path = Path("/proc")) -> bool:
    """Lets the peak memory of a session's processes begin anew; False where Linux refuses it."""
    try:
        for folder, _ in _members(session, proc):
            (folder / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _members(session: int, proc: Path) -> list[tuple[Path, list[str]]]:
    """Folder and `stat` fields (from the state on) of a session's processes and of its leader's
    descendants: PyTriton gives its server a session of its own."""
    found: dict[int, tuple[Path, list[str]]] = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name in brackets may hold anything; behind it: state, parent, group, session, ...
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = (folder, fields)
        except OSError:  # it ended while it was read
            continue

    def belongs(number: int) -> bool:
        while number in found and number > 1:
            fields = found[number][1]
            if int(fields[3]) == session or number == session:
                return True
            number = int(fields[1])
        return False

    return [found[number] for number in found if belongs(number)]


def peak_here() -> int:
    """Peak memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
