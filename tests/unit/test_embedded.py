"""How the embedded server is ended: not before its steps, not long after them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from deploy import embedded


def children(process: subprocess.Popen[bytes]) -> list[str]:
    lists = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [child for path in lists for child in path.read_text().split()]


def test_a_server_is_waited_for_until_its_steps_are_gone(monkeypatch) -> None:
    monkeypatch.setattr(embedded, "STOP_TIMEOUT", 600.0)
    # A step that goes on for a while, then the server alone, busy with nothing of use.
    process = subprocess.Popen(["/bin/sh", "-c", "sleep 1.5 & wait; exec sleep 300"])
    try:
        while not (steps := children(process)):
            time.sleep(0.01)
        embedded._wait_until_unloaded(process)
        assert process.poll() is None, "it was not waited for to its own end"
        assert not Path(f"/proc/{steps[0]}").exists(), "its step had ended"
    finally:
        process.kill()
        process.wait()


def test_a_server_that_ends_by_itself_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(embedded, "STOP_TIMEOUT", 600.0)
    process = subprocess.Popen(["/bin/sh", "-c", "exit 3"])
    embedded._wait_until_unloaded(process)
    assert process.wait() == 3


def test_a_step_that_never_ends_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(embedded, "STOP_TIMEOUT", 0.5)
    process = subprocess.Popen(["/bin/sh", "-c", "sleep 300 & wait"], start_new_session=True)
    try:
        while not children(process):
            time.sleep(0.01)
        embedded._wait_until_unloaded(process)
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
