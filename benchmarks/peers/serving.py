"""What the peers' own server processes share: their arguments, and their end."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from pathlib import Path

REPOSITORY, THREADS, AT_ONCE = "TRYON_PEER_REPOSITORY", "TRYON_PEER_THREADS", "TRYON_PEER_AT_ONCE"
"""How a worker that a server starts by itself learns what to serve."""

PATIENCE = 10.0
"""Seconds in which a server without a benchmark may end by itself."""


def arguments() -> argparse.Namespace:
    """repository, port, workers and threads of a server process; also in the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    os.environ[REPOSITORY] = str(options.repository)
    os.environ[THREADS] = str(options.threads)
    # As many requests in work as a worker has threads; the others wait, as in Triton's queue.
    os.environ[AT_ONCE] = str(options.threads)
    return options


def end_with_parent() -> None:
    """Ends this process's group when the benchmark is gone: its end of the pipe closes."""

    def wait() -> None:
        # Not sys.stdin's own read: it holds a lock, on which a forked worker would wait for ever.
        while os.read(0, 1024):
            pass
        group = os.getpgid(0)
        os.killpg(group, signal.SIGINT)
        time.sleep(PATIENCE)  # PyTriton ends its server first
        os.killpg(group, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
