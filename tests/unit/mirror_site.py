"""The mirror's command on a port, in empty folders, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds that a test waits for what must come; nothing is measured."""


def hang(folder: Path) -> Path:
    """A shop in an empty folder: two shirts and trousers."""
    for name, colour in {"shirts/1_front.jpg": "navy", "shirts/2_front.jpg": "green",
                         "pants/2_front.jpg": "gray"}.items():  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 240), colour).save(path)
    return folder


@dataclass
class Site:
    """A command that runs: where its page is, and, once it has ended, what it said."""

    port: int
    process: subprocess.Popen[str]
    out: str = ""
    err: str = ""


@contextmanager
def site(url: str, shop: Path, folder: Path, *more: str) -> Iterator[Site]:
    """`python -m mirror` whose temporary, home and working folders are new ones in `folder`."""
    for name in ("tmp", "home", "work"):
        (folder / name).mkdir()
    environment = {
        **os.environ, "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT / "client"), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "mirror", "--url", url, "--port", "0",
               "--garments", str(shop), *more]  # fmt: skip
    with subprocess.Popen(
        command, cwd=folder / "work", env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            address = process.stdout.readline()
            port = re.fullmatch(r"mirror: http://localhost:(\d+)\n", address)
            assert port, address
            running = Site(int(port[1]), process)
            yield running
            process.send_signal(signal.SIGTERM)
            running.out, running.err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0, running.err


def written(folder: Path) -> set[str]:
    """Whatever lies in the folders of a site, but for these themselves."""
    parts = [folder / name for name in ("tmp", "home", "work")]
    return {str(path) for part in parts for path in part.rglob("*")}
