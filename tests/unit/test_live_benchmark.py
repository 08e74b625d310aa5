"""The mirror's numbers in one command: what runs, and what is said of the goals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import live, sessions, switches, wardrobe

ONE = {
    "shown_a_second": 20.0, "age_ms": {"p95": 100.0}, "server_mb": [800.0, 801.0], "sessions": 1,
    "each": {"fairness": 1.0, "least": 900},
    "windows": [{"shown": 9.0, "p95_ms": 100.0}, {"shown": 0.0}, {"shown": 9.0, "p95_ms": 105.0}],
}  # fmt: skip
FOUND: dict[str, Any] = {
    "switches": {"first_picture_ms": 350.0, "kept": {"frames_most": 1}},
    "one": ONE, "many": {**ONE, "sessions": 20},
    "wardrobe": {"ratios": {"tryon_live, 1 kept / pose and generator, bare": {"value": 1.3}}},
}  # fmt: skip


def test_every_number_stands_beside_its_goal() -> None:
    rows = live.rows_of(FOUND)
    assert [row.name for row in rows if row.met is False] == [
        "tryon_live / pose and generator alone, bare"
    ]
    assert sum(row.met is None for row in rows) == 2
    assert all(len(row.line()) <= 100 for row in rows) and "NOT met" in rows[6].line()
    old = {**ONE, "age_ms": {"p95": 121.0}, "shown_a_second": 14.9, "server_mb": [800.0, 900.0]}
    met = {row.name: row.met for row in live.rows_of({**FOUND, "one": old})}
    assert not met["one session: age, p95"] and not met["one session: shown a second"]
    assert not met["memory of the server at the end / at the start"]


@pytest.mark.parametrize("fails", ["", "sessions"])
def test_the_parts_run_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: str
) -> None:
    ran: list[str] = []

    def part(file: str) -> Callable[[list[str]], int]:
        def run(arguments: list[str]) -> int:
            folder = Path(arguments[arguments.index("--out") + 1])
            ran.append(folder.name)
            folder.mkdir(parents=True)
            (folder / f"{file}.json").write_text(json.dumps(FOUND[folder.name]))
            return 2 if file == fails else 0

        return run

    for module, file in ((switches, "switches"), (sessions, "sessions"), (wardrobe, "wardrobe")):
        monkeypatch.setattr(module, "main", part(file))
    status = live.main(["--minutes", "0.1", "--out", str(tmp_path / "out")])
    if fails:
        assert status == 2 and ran == ["switches", "one"]
        assert not (tmp_path / "out" / "live.json").exists()
    else:
        assert status == 0 and ran == list(FOUND)
        made = json.loads((tmp_path / "out" / "live.json").read_text())
        assert len(made["rows"]) == 10 and made["one"] == ONE
        assert "tryon_live" in capsys.readouterr().out
