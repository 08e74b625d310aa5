"""Long work in parts: several processes, what is done so far kept, and errors told in a line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm


def temporary(path: Path) -> Path:
    """Beside `path`: where it is written until it is whole; tells which process writes it."""
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def clear_leftovers(folder: Path) -> None:
    """Deletes what processes that are gone had begun to write."""
    for path in folder.glob(".*.tmp.*"):
        writer = path.name.split(".")[-3]
        if writer.isdigit() and not Path("/proc", writer).exists():
            path.unlink(missing_ok=True)


def _leave_interrupts() -> None:
    """Ctrl-C is the first process's: it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def done(
    work: Callable[[Any], Any], jobs: Sequence[Any], processes: int
) -> Iterator[Iterator[Any]]:
    """What `work` (of a module's top level) answers to each job, as they get done."""
    if processes <= 1:
        yield map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_leave_interrupts) as pool:
        yield pool.imap_unordered(work, jobs)


def finish(
    work: Callable[[Any], Any], jobs: Sequence[Any], total: int, unit: str, out: Path,
    processes: int,
) -> None:  # fmt: skip
    """Does the jobs that are left of `total`, each of which writes a file into `out`, with a
    progress bar; what processes that were ended had begun to write is deleted."""
    out.mkdir(parents=True, exist_ok=True)
    clear_leftovers(out)
    bar = tqdm(total=total, initial=total - len(jobs), unit=unit)
    try:
        with bar, done(work, jobs, processes) as answers:
            for _ in answers:
                bar.update()
    finally:
        clear_leftovers(out)


def told(run: Callable[[], None], kept: str) -> int:
    """Runs a command that goes on where it stopped; what goes wrong is told in a line.

    Args:
        kept: what stays of a run that is stopped: "FOLDER keeps its scenes".

    Returns:
        The exit status: 0, 2 for an error, 130 if it was stopped.
    """
    try:
        run()
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on: {kept}", file=sys.stderr)
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}; the same command goes on once that is "
              "mended", file=sys.stderr)  # fmt: skip
        return 2
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
