"""What a server's processes tell each other of their work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tryon.steps.under_way import VARIABLE, UnderWay


@pytest.fixture
def told(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "under_way"))


def test_a_step_is_alone_until_another_is_under_way(told):
    generator, second, pose = (
        UnderWay("generator", 0), UnderWay("generator", 1), UnderWay("pose", 0)
    )  # fmt: skip
    assert generator.alone()
    with generator:
        assert generator.alone() and not pose.alone() and not second.alone()
        with pose:
            assert not generator.alone() and not pose.alone()
        assert generator.alone()
    assert pose.alone() and second.alone()


def test_a_step_that_fails_is_not_under_way_any_more(told):
    crop, pose = UnderWay("crop", 0), UnderWay("pose", 0)
    with pytest.raises(ZeroDivisionError), crop:
        raise ZeroDivisionError
    assert pose.alone()


def test_other_processes_are_seen_and_a_killed_one_is_cleared(told):
    code = (
        "import os, signal; from tryon.steps.under_way import UnderWay\n"
        "with UnderWay('cutout', 0):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    pose = UnderWay("pose", 0)
    subprocess.run([sys.executable, "-c", code], check=False)
    assert not pose.alone()
    UnderWay("cutout", 0)  # its process starts again
    assert pose.alone()


def test_without_a_server_a_step_knows_of_itself_alone(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with UnderWay("pose", 0):
        assert UnderWay("generator", 0).alone()


def test_an_unknown_step_is_named():
    with pytest.raises(KeyError, match="no served model 'sew'; there are decode"):
        UnderWay("sew", 0)
