"""What runs before anything is installed: checks of the platform, pins and system libraries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy import check_system, make_venv

ROOT = Path(__file__).parents[2]


def test_this_machine_is_fine():
    assert make_venv.platform_problem() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": lambda: "aarch64"}, "x86-64.*pip install ./client"),
        ({"system": lambda: "Darwin"}, "Darwin"),
        ({"libc_ver": lambda: ("glibc", "2.31")}, r"2\.35.*2\.31"),
        ({"libc_ver": lambda: ("", "")}, "musl"),
    ],
)
def test_another_platform_is_refused(monkeypatch, change, said):
    for name, value in change.items():
        monkeypatch.setattr(make_venv.platform, name, value)
    assert re.search(said, make_venv.platform_problem() or "")


def test_newer_glibc_is_newer(monkeypatch):
    monkeypatch.setattr(make_venv.platform, "libc_ver", lambda: ("glibc", "2.100"))
    assert make_venv.platform_problem() is None


def test_another_python_is_refused(monkeypatch):
    version = SimpleNamespace(version_info=(3, 12, 1), executable="/usr/bin/python3.12")
    monkeypatch.setattr(make_venv, "sys", version)
    assert "make venv PYTHON=" in (make_venv.platform_problem() or "")


def test_a_python_without_ensurepip_names_the_package(monkeypatch):
    find = make_venv.importlib.util.find_spec
    monkeypatch.setattr(make_venv.importlib.util, "find_spec",
                        lambda name: None if name == "ensurepip" else find(name))  # fmt: skip
    assert "apt-get install -y python3.11-venv" in (make_venv.platform_problem() or "")


def test_every_requirement_is_pinned_once():
    names = []
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)(\[[a-z]+\])?==[0-9][0-9a-z.]*", line)
            assert match, line
            names.append(re.sub(r"[-_.]+", "-", match[1]).lower())
    assert len(names) == len(set(names))
    assert make_venv.pinned("torch").startswith("torch==")


def test_nothing_is_missing_where_tests_run():
    assert check_system.main([]) == 0


def test_what_is_missing_is_named_with_the_command(monkeypatch, capsys):
    absent = check_system.Need("libEGL.so.1", "libegl1", "render", lambda: False)
    monkeypatch.setattr(check_system, "missing", lambda uses: [absent])
    assert check_system.main(["render"]) == 1
    said = capsys.readouterr().err
    assert "libEGL.so.1 is missing" in said
    assert "apt-get install -y --no-install-recommends libegl1" in said


def test_only_the_uses_named_are_checked():
    needs = (check_system.Need("a", "a", "serve", lambda: False),
             check_system.Need("b", "b", "render", lambda: False),
             check_system.Need("c", "c", "render", lambda: True))  # fmt: skip
    assert [n.what for n in check_system.missing({"render"}, needs)] == ["b"]
    assert not check_system._loads("libnothing-of-this-name.so.7")


def test_a_browser_is_asked_for_by_name_alone(monkeypatch, capsys):
    assert {n.package for n in check_system.NEEDS if n.used_for == "browser"} == {
        "chromium", "chromium-driver",
    }  # fmt: skip
    asked = []
    monkeypatch.setattr(check_system, "missing", lambda uses: asked.append(uses) or [])
    assert check_system.main([]) == check_system.main(["browser"]) == 0
    assert asked == [{"serve", "render"}, {"browser"}]
    with pytest.raises(SystemExit):
        check_system.main(["browser", "cook"])
    assert "USE is one of browser, redis, render, serve, not cook" in capsys.readouterr().err


def test_root_installs_when_told(monkeypatch):
    commands, there = [], []
    need = check_system.Need("libEGL.so.1", "libegl1", "render", lambda: bool(there))
    monkeypatch.setattr(check_system, "missing", lambda uses: [] if there else [need])
    monkeypatch.setattr(check_system.os, "geteuid", lambda: 0)
    monkeypatch.setattr(check_system.shutil, "which", lambda name: "/usr/bin/" + name)

    def run(command, **settings):
        commands.append(command)
        if "install" in command:
            there.append(True)

    monkeypatch.setattr(check_system.subprocess, "run", run)
    assert check_system.main(["render", "--install"]) == 0
    assert commands[0][:2] == ["apt-get", "update"] and "libegl1" in commands[1]
    commands.clear(), there.clear()
    assert check_system.main(["render"]) == 1 and not commands, "not without being told"


def test_help_lists_every_target():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    phony = re.search(r"\.PHONY: (.*?)\n\n", (ROOT / "Makefile").read_text(), re.DOTALL)
    assert phony
    targets = set(phony[1].replace("\\", " ").split()) - {"system"}
    assert targets <= set(re.findall(r"make ([a-z-]+) ", said.stdout))


def test_the_missing_python_is_named(tmp_path):
    result = subprocess.run(
        ["make", "venv", "PYTHON=/no/python3.11", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode and "apt-get install -y python3.11-venv" in result.stderr
    assert sys.version_info[:2] == (3, 11)
