"""WebDataset shards of pairs: what is read is what was composed; nothing half is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from training.data import pack
from training.data.compose import Options
from training.dataset import Pairs, scene_files

KEPT = ["pairs-train-4-000000.tar", "pairs-train-4.json"]
"""Of a run that got as far as its second shard."""


def run(folder: Path, out: Path, *more: str) -> int:
    return pack.main([
        str(folder), "--out", str(out), "--pairs", "5", "--per-shard", "3", "--seed", "4",
        "--processes", "1", *more,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    assert run(folder, out) == 0
    return out


def test_pairs_come_back_as_they_were_composed(folder: Path, shards: Path) -> None:
    files = sorted(shards.glob("*.tar"))
    assert [f.name for f in files] == ["pairs-train-4-000000.tar", "pairs-train-4-000001.tar"]
    got = list(pack.read(files))
    assert len(got) == 6 and len({pair["__key__"] for pair in got}) == 6
    pairs = Pairs(scene_files(folder, "train"), None, Options(), 4)
    for number, pair in enumerate(got):
        truth = pairs[number]
        for name in pack.PICTURES:
            assert np.array_equal(pair[name], truth[name]), name
        for name, kind in pack.ARRAYS.items():
            assert pair[name].dtype == kind
            assert np.array_equal(pair[name], np.asarray(truth[name]).astype(kind)), name
        for name in ("caption", "truth_caption", "words", "slices"):
            assert pair[name] == truth[name], name
        assert np.allclose(pair["restyle"], np.asarray(truth["restyle"]))
        assert set(pair) - {"__key__"} == set(truth) - {"shop_inside"}
    assert all(pair["depth_after"].dtype == np.uint16 for pair in got)
    assert all(pair["depth_after"].any() and pair["joints"][:, 2].any() for pair in got)


def test_the_same_pairs_are_the_same_bytes_and_what_is_there_is_kept(
    folder: Path, shards: Path, tmp_path: Path
) -> None:
    assert run(folder, tmp_path) == 0
    first, second = sorted(tmp_path.glob("*.tar"))
    assert first.read_bytes() == (shards / first.name).read_bytes()
    stamp = first.stat().st_mtime_ns
    second.unlink()
    assert run(folder, tmp_path) == 0
    assert first.stat().st_mtime_ns == stamp and second.is_file()


def test_a_full_disk_is_named_and_leaves_whole_shards_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    made = pack.sample

    def full(pair: dict, key: str) -> dict:
        if key.endswith("4"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return made(pair, key)

    monkeypatch.setattr(pack, "sample", full)
    assert run(folder, tmp_path) == 2
    said = capsys.readouterr().err
    assert "pairs-train-4-000001.tar: No space left on device" in said
    assert sorted(f.name for f in tmp_path.iterdir()) == KEPT


def test_shards_of_other_options_are_not_mixed(folder: Path, tmp_path: Path, capsys) -> None:
    assert run(folder, tmp_path) == 0
    stamps = {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    assert run(folder, tmp_path, "--per-shard", "2") == 2
    assert "made otherwise (per_shard)" in capsys.readouterr().err
    assert {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == stamps


def test_a_folder_without_scenes_names_the_command(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, tmp_path / "out") == 2
    assert "`make pairs`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_stopped_keeps_its_shards(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    made = pack.sample

    def stopped(pair: dict, key: str) -> dict:
        if key.endswith("3"):
            raise KeyboardInterrupt
        return made(pair, key)

    monkeypatch.setattr(pack, "sample", stopped)
    assert run(folder, tmp_path) == 130
    assert "keeps its shards" in capsys.readouterr().err
    assert sorted(f.name for f in tmp_path.iterdir()) == KEPT
