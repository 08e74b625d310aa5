"""Many live sessions at once: shares, ages in time, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import cost, sessions, switches
from benchmarks.inputs import Inputs


def test_shares_are_told_from_the_same_to_one_who_has_all():
    assert sessions.share([5, 5, 5, 5]) == 1
    assert sessions.share([8, 0, 0, 0]) == 0.25
    assert sessions.share([0, 0]) == 1


def test_ages_are_told_apart_by_when_they_were_shown():
    shown = [(k / 10, 0.1 if k < 50 else 0.3) for k in range(100)]
    made = sessions.windows(shown, 10.0)
    assert [row["shown"] for row in made] == [10] * 10
    assert made[0]["p95_ms"] == pytest.approx(100) and made[9]["p50_ms"] == pytest.approx(300)
    assert "p50_ms" not in sessions.windows([(0.1, 0.2)], 10.0)[5]


def test_every_visitor_is_dressed_and_counted(fake, tmp_path):
    person = np.random.default_rng(0).integers(0, 255, (96, 72, 3), dtype=np.uint8)
    inputs = Inputs(person, person)
    held = iter([5_000_000, 7_000_000])
    made = sessions.run(fake.url, inputs, 3, 2.0, 20.0, lambda: next(held))
    assert made["each"]["least"] > 0 and made["server_mb"] == [5.0, 7.0]
    assert made["shown_a_second"] * 2 == pytest.approx(sum(r["shown"] for r in made["windows"]))
    assert len(set(fake.kept)) == 1, "one garment, encoded for all"
    assert "fairness" in sessions.table(made)
    sessions.plot(made, tmp_path / "ages.svg")
    assert "<svg" in (tmp_path / "ages.svg").read_text()


def test_memory_is_that_of_the_sessions_processes():
    code = "import os; os.setsid(); x = bytearray(80_000_000); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline()
        assert 80e6 < cost.resident(process.pid) < 200e6
        assert 80e6 < cost.held(process.pid) < 200e6
        process.kill()
    assert sessions.resident_here() > 1e6


def test_the_command_writes_what_it_found(fake, tmp_path, capsys):
    arguments = ["--url", fake.url, "--seconds", "1", "--size", "96x72", "--out", str(tmp_path)]
    assert sessions.main(arguments) == 0
    assert "shown a second" in capsys.readouterr().out
    made = json.loads((tmp_path / "sessions.json").read_text())
    assert made["sessions"] == 1 and made["machine"]["cores"] == len(os.sched_getaffinity(0))
    fake.fail = None
    assert sessions.main(["--url", "localhost:1", "--seconds", "1", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_switches_are_counted_from_the_tap(fake, tmp_path, capsys):
    arguments = ["--url", fake.url, "--count", "2", "--size", "96x72", "--out", str(tmp_path)]
    assert switches.main(arguments) == 0
    made = json.loads((tmp_path / "switches.json").read_text())
    assert made["first_picture_ms"] > 0
    for kind in ("kept", "new"):
        assert 0 <= made[kind]["frames_p50"] <= made[kind]["frames_most"] < 300
        assert 0 < made[kind]["ms_p50"] <= made[kind]["ms_p95"]
        assert made[kind]["old_after"] == 0, "a frame wears what was asked for when it came"
    assert len(set(fake.kept)) == 2 + 2, "what is kept is not encoded again"
    assert "switches to garments that are new" in capsys.readouterr().out
    assert switches.main(["--url", "localhost:1", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
