"""What is told of a server's start is of a real one."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import startup


def test_a_start_is_timed_up_to_its_first_answer(repository: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--times", "1", "--size", "256x192", "--repository", str(repository),
                 "--out", str(tmp_path)]  # fmt: skip
    assert startup.main(arguments) == 0
    made = json.loads((tmp_path / "startup.json").read_text())
    (row,) = made["starts"]
    assert 0 < row["ready_s"] < row["first_answer_s"] and row["second_ms"] > 0
    assert 100 < row["held_mb"] < 20_000 and made["median"] == row
    assert "first answer" in capsys.readouterr().out


def test_a_repository_that_is_not_there_is_an_error_of_one_line(tmp_path: Path, capsys) -> None:
    assert startup.main(["--repository", str(tmp_path / "no"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
