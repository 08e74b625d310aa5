"""Long work in parts: several processes, what is done so far kept, and errors told in a line."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
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


def _end_with_parent() -> None:
    """Ends this process as soon as the first one is gone, be it killed: nobody hears its answers.
    Without it processes would wait for their next job for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started within never hear Ctrl-C, not even while they start: it is the
    first process's, which hears it afterwards and ends the others."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def done(
    work: Callable[[Any], Any], jobs: Sequence[Any], processes: int
) -> Iterator[Iterator[Any]]:
    """What `work` (of a module's top level) answers to each job, as they get done.

    An error of a job, or Ctrl-C, ends the processes at once.

    Raises:
        BrokenProcessPool: from the answers, where a process was killed.
    """
    if processes <= 1:
        yield map(work, jobs)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    try:
        with _interrupts_held():
            futures = [pool.submit(work, job) for job in jobs]
        yield (future.result() for future in as_completed(futures))
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


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
    except BrokenProcessPool:
        print("error: a process was killed (out of memory? fewer --processes take less); the same "
              f"command goes on: {kept}", file=sys.stderr)  # fmt: skip
        return 2
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
