"""The body model's file: a damaged one is made again, a full disk leaves none."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.data import bodies


class Model:
    """Stands for the body model: it takes one array."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self.template = data["template"]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often the model is built; its file lies in `tmp_path`."""
    calls: list[int] = []

    def bodies_of() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"template": np.arange(6000.0)}

    monkeypatch.setattr(bodies, "read_bodies", bodies_of)
    monkeypatch.setattr(bodies, "BodyModel", Model)
    monkeypatch.setenv(bodies.CACHE_VARIABLE, str(tmp_path / "cache"))
    return calls


def kept(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_it_is_built_once(tmp_path: Path, read: list[int]) -> None:
    for _ in range(2):
        np.testing.assert_array_equal(bodies.load_body_model().template, np.arange(6000.0))
    assert len(read) == 1 and kept(tmp_path).name.startswith("bodies-")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_half_written_file_is_made_again(tmp_path: Path, read: list[int], share: float) -> None:
    bodies.load_body_model()
    path = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    np.testing.assert_array_equal(bodies.load_body_model().template, np.arange(6000.0))
    assert len(read) == 2 and path.read_bytes() == whole
    bodies.load_body_model()
    assert len(read) == 2


@pytest.mark.parametrize("damage", ["zeros", "words", "another archive"])
def test_so_is_one_that_holds_something_else(tmp_path: Path, read: list[int], damage: str) -> None:
    bodies.load_body_model()
    path = kept(tmp_path)
    if damage == "zeros":  # a crash before the disk had it
        half = path.stat().st_size // 2
        path.write_bytes(path.read_bytes()[:half] + bytes(path.stat().st_size - half))
    elif damage == "words":
        path.write_text("no archive at all")
    else:
        np.savez(path, other=np.zeros(3))
    np.testing.assert_array_equal(bodies.load_body_model().template, np.arange(6000.0))
    assert len(read) == 2


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        write(self, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as told:
        bodies.load_body_model()
    assert Path(told.value.filename).parent == tmp_path / "cache"
    assert not list((tmp_path / "cache").iterdir())


def test_a_folder_that_cannot_be_had_is_named(tmp_path: Path, read: list[int]) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="bodies-"):
        bodies.load_body_model()


def test_a_file_that_may_not_grow_is_told_without_a_traceback(tmp_path: Path) -> None:
    """A real limit, not a stand-in: what an archive left open would say as it goes is heard."""
    code = (
        "import numpy as np; from training.data import bodies\n"
        "from training.data.jobs import told\n"
        "bodies.read_bodies = lambda: {'template': np.zeros(500_000)}\n"
        "raise SystemExit(told(bodies.load_body_model, ''))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "TRYON_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)),
    )  # fmt: skip
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stderr.startswith(f"error: {tmp_path}/bodies-") and done.stderr.count("\n") == 1
