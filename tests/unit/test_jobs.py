"""Work in several processes: one that is killed is told, and none outlives the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from training.data.jobs import finish, temporary, told

Job = tuple[str, int]
"""Folder, and a number; there is a file for each."""


def write(job: Job) -> int:
    """Writes a job's file."""
    folder, number = job
    (Path(folder) / f"{number}.txt").write_text("done")
    return number


def killed(job: Job) -> int:
    """The same, but the third job's process is killed while it writes."""
    if job[1] == 3:
        temporary(Path(job[0]) / "3.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return write(job)


def failing(job: Job) -> int:
    """The same, but the third job's disk is full; the others would take an hour."""
    if job[1] == 3:
        raise OSError(28, os.strerror(28), "3.txt")
    time.sleep(3600)
    return 0


def left(folder: Path, count: int) -> list[Job]:
    """The jobs of which there is no file."""
    return [(str(folder), i) for i in range(count) if not (folder / f"{i}.txt").is_file()]


def test_every_job_is_done_and_the_bar_counts_them(tmp_path: Path, capsys) -> None:
    finish(write, left(tmp_path, 7), 7, "file", tmp_path, 2)
    assert not left(tmp_path, 7) and len(list(tmp_path.iterdir())) == 7
    assert "7/7" in capsys.readouterr().err


def test_a_killed_process_is_told_in_a_line_and_the_run_goes_on(tmp_path: Path, capsys) -> None:
    def run(work) -> int:
        jobs = left(tmp_path, 6)
        return told(lambda: finish(work, jobs, 6, "file", tmp_path, 2), "FOLDER keeps its files")

    assert run(killed) == 2
    said = capsys.readouterr().err
    assert "error: a process was killed" in said and "FOLDER keeps its files" in said
    assert "Traceback" not in said
    assert (str(tmp_path), 3) in left(tmp_path, 6)
    assert not list(tmp_path.glob(".*")), "what it had begun to write is cleared"
    assert run(write) == 0 and not left(tmp_path, 6)


def test_an_error_ends_the_others_at_once(tmp_path: Path, capsys) -> None:
    jobs = [(str(tmp_path), i) for i in (1, 3)]
    assert told(lambda: finish(failing, jobs, 2, "file", tmp_path, 2), "") == 2
    assert "error: 3.txt: No space left on device" in capsys.readouterr().err


def sleep(job: Job) -> int:
    """Tells its process's id, and takes an hour."""
    pid = Path(job[0]) / f"{os.getpid()}.pid"
    pid.write_text("")
    time.sleep(3600)
    return 0


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not asked for yet does not."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def within(seconds: float, condition) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("how", ["interrupted", "interrupted early", "killed"])
def test_no_process_outlives_the_first(tmp_path: Path, how: str) -> None:
    jobs = [(str(tmp_path), i) for i in range(6)]
    code = (
        "import signal, sys; from training.data.jobs import finish, told\n"
        "from test_jobs import sleep\n"
        # Of a suite in a shell's background, whose processes are born deaf to Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    jobs, out = {jobs!r}, Path({str(tmp_path)!r})\n"
        "    print('begun', flush=True)\n"
        "    sys.exit(told(lambda: finish(sleep, jobs, 6, 'file', out, 2), 'FOLDER'))\n"
    )
    script = tmp_path / "main.py"
    script.write_text(code)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    first = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert first.stdout is not None and first.stdout.readline() == "begun\n"
    started = partial(tmp_path.glob, "*.pid")
    if how == "interrupted early":
        children = Path("/proc", str(first.pid), "task", str(first.pid), "children")
        # The first child is multiprocessing's own; the second begins to import.
        assert within(60, lambda: len(children.read_text().split()) > 1)
    else:
        assert within(120, lambda: len(list(started())) == 2)
    pids = [int(path.stem) for path in started()]
    # A terminal's Ctrl-C goes to the whole group.
    if how == "killed":
        first.kill()
    else:
        os.killpg(first.pid, signal.SIGINT)
    # Standard error ends when the last process that holds it does.
    said = first.communicate(timeout=60)[1]
    assert "Traceback" not in said and not any(alive(pid) for pid in pids)
    if how != "killed":
        assert first.returncode == 130 and "the same command goes on" in said
