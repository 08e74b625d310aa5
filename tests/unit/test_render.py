"""Rendering into a folder: what goes wrong is told in a line and leaves no broken scene."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.data import render
from training.data.jobs import clear_leftovers
from training.data.shards import is_test, list_scenes, load_scene, save_scene


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.bodies.load_body_model", lambda: None)
    monkeypatch.setattr(render, "_studio", lambda: None)


def scenes_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes come from a folder instead of the renderer."""
    with np.load(list_scenes(folder)[0]) as file:
        arrays = {name: file[name] for name in file.files}
    monkeypatch.setattr(
        "training.data.scene.make_scene", lambda studio, seed, index, whole=False: arrays
    )


def run(out: Path, *more: str) -> int:
    return render.main(["--out", str(out), "--scenes", "3", "--processes", "1", *more])


def test_scenes_that_are_there_are_kept(folder: Path, tmp_path: Path, monkeypatch) -> None:
    scenes_of(folder, monkeypatch)
    assert run(tmp_path, "--scenes", "1") == 0
    (first,) = list_scenes(tmp_path)
    stamp = first.stat().st_mtime_ns
    assert run(tmp_path) == 0
    assert len(list_scenes(tmp_path)) == 3 and first.stat().st_mtime_ns == stamp
    assert all(load_scene(path).meta for path in list_scenes(tmp_path))


def test_so_many_pairs_are_so_many_scenes(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    scenes_of(folder, monkeypatch)
    arguments = ["--out", str(tmp_path), "--processes", "1", "--pairs"]
    assert render.main([*arguments, str(2 * render.PAIRS + 1)]) == 0
    assert len(list_scenes(tmp_path)) == 3
    for wrong in (["0"], ["5", "--scenes", "3"], ["5", "--split", "test"]):
        with pytest.raises(SystemExit, match="2"):
            render.main([*arguments, *wrong])
        assert "error: " in capsys.readouterr().err


def test_a_split_alone_is_rendered(folder: Path, tmp_path: Path, monkeypatch) -> None:
    scenes_of(folder, monkeypatch)
    monkeypatch.setattr("training.data.shards.TEST_SHARE", 3)
    for split in ("test", "train"):
        assert run(tmp_path / split, "--scenes", "20", "--split", split) == 0
    names = {split: {path.name for path in list_scenes(tmp_path / split)}
             for split in ("test", "train")}  # fmt: skip
    assert all(is_test(Path(name)) for name in names["test"]) and 2 < len(names["test"]) < 12
    assert not any(is_test(Path(name)) for name in names["train"])
    assert len(names["test"] | names["train"]) == 20


def test_a_full_disk_is_named_and_leaves_whole_scenes_alone(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    scenes_of(folder, monkeypatch)
    write, calls = np.savez, []

    def full(path: Path, **arrays: np.ndarray) -> None:
        calls.append(path)
        if len(calls) == 2:
            Path(path).write_bytes(b"half a scene")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, **arrays)

    monkeypatch.setattr(np, "savez", full)
    assert run(tmp_path) == 2
    said = capsys.readouterr().err
    assert "scene-0-000001.npz: No space left on device; the same command" in said
    assert "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["scene-0-000000.npz"]
    assert run(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_a_run_that_is_stopped_goes_on(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    scenes_of(folder, monkeypatch)
    one, done = render._render, []

    def stopped(job: render.Job) -> int:
        done.append(job)
        if len(done) == 2:
            raise KeyboardInterrupt
        return one(job)

    monkeypatch.setattr(render, "_render", stopped)
    assert run(tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1
    assert run(tmp_path) == 0 and len(list_scenes(tmp_path)) == 3


def test_what_a_killed_process_left_is_cleared(folder: Path, tmp_path: Path, monkeypatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone = tmp_path / f".scene-0-000001.{process.pid}.tmp.npz"
    busy = tmp_path / f".scene-0-000002.{os.getppid()}.tmp.npz"
    for path in (gone, busy):
        path.write_bytes(b"half a scene")
    clear_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [busy.name]


def test_a_missing_part_says_what_to_install(tmp_path: Path, monkeypatch, capsys) -> None:
    def missing() -> None:
        raise RuntimeError("the package anny is missing; run `pip install anny==0.6.2`")

    monkeypatch.setattr("training.data.bodies.load_body_model", missing)
    assert run(tmp_path) == 2
    assert capsys.readouterr().err == (
        "error: the package anny is missing; run `pip install anny==0.6.2`\n"
    )


def test_a_damaged_scene_is_named(folder: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(list_scenes(folder)[0], tmp_path / "scene-0-000000.npz")
    whole = (tmp_path / "scene-0-000000.npz").read_bytes()
    (tmp_path / "scene-0-000001.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "scene-0-000002.npz").write_bytes(b"")
    assert run(tmp_path) == 2
    said = capsys.readouterr().err
    assert "scene-0-000001.npz is no scene" in said and "delete it" in said
    (tmp_path / "scene-0-000001.npz").unlink()
    assert run(tmp_path, "--first", "7") == 2
    assert "scene-0-000002.npz is no scene" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run(tmp_path / "file") == 2
    assert "file" in capsys.readouterr().err
    with pytest.raises(OSError, match=r"scene-0-000000\.npz"):
        save_scene(tmp_path / "file" / "scene-0-000000.npz", {"a": np.zeros(1)})
