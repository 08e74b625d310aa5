"""What tests of several folders share: the exported repository and a real server of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import REPOSITORY, ROOT, EmbeddedServer


@pytest.fixture(scope="session")
def repository() -> Path:
    """The exported model repository; exported first if need be.

    `TRYON_TEST_REPOSITORY` names another one, taken as it is.
    """
    named = os.environ.get("TRYON_TEST_REPOSITORY")
    if named:
        return Path(named)
    command = [sys.executable, "-m", "export", "--target", "cpu", "--if-needed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return REPOSITORY


@pytest.fixture(scope="session")
def server(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedServer]:
    """A real Triton server on free ports, for the whole session."""
    wardrobe = str(tmp_path_factory.mktemp("wardrobe"))
    with EmbeddedServer(repository, wardrobe=wardrobe) as running:
        yield running
