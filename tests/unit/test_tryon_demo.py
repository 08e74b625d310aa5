"""`make tryon`'s own arguments: what they mean, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import tryon_demo


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("3", 3), ("+2", 2), ("-2", -2)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert tryon_demo.read_size(text) == size


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--size", "4"], "SIZE: '4'"),
        (["--size=-3"], "SIZE: '-3'"),
        (["--size", "XL"], "SIZE: 'XL'"),
        (["--size", "1.5"], "SIZE: '1.5'"),
        (["--category", "hat"], "CATEGORY: 'hat'"),
        (["--out", "."], "OUT: "),
        (["--out", "out.txt"], "OUT: "),
    ],
)
def test_mistakes_are_told_in_a_line_before_a_server_is_started(
    arguments: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tryon_demo, "connected", lambda url: pytest.fail("a server was asked"))
    assert tryon_demo.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {part}") and said.count("\n") == 1
