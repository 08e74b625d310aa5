"""The gate: what it calls slower, on made-up timings, and what it says where it can't tell."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

from benchmarks import gate, stats
from benchmarks.load import Series, Window

MIDDLES = {
    "served": 80.0,
    "bare": 72.0,
    "torch": 300.0,
    "large": 140.0,
    "live": 76.0,
    "image": 74.0,
}


def look(seed, slower=None, factor=1.2, rounds=14, drift=0.15, noise=0.06):
    """Ratios of a noisy machine: its speed drifts from round to round, and within."""
    rng = np.random.default_rng(seed)
    series = {name: Series() for name in MIDDLES}
    for _ in range(rounds):
        speed = np.exp(drift * rng.standard_normal())
        for name, middle in MIDDLES.items():
            own = np.exp(0.04 * rng.standard_normal())
            times = middle * speed * own * np.exp(noise * rng.standard_normal(12))
            series[name].windows.append(
                Window(list(times * (factor if name == slower else 1.0)), 1.0)
            )
    return gate.ratios(series, list(gate.RATIOS))


@pytest.fixture(scope="module")
def baseline():
    return {"ratios": gate.baseline_of([look(seed) for seed in range(5)]), "weights": "abc"}


def test_a_rounds_ratio_is_its_own():
    # The third round is three times slower on both sides, the fourth has one bad side.
    rounds = [([11.0] * 5, [10.0] * 5), ([11.0] * 5, [10.0] * 5), ([33.0] * 5, [30.0] * 5),
              ([99.0] * 5, [10.0] * 5), ([11.0] * 5, [10.0] * 5)]  # fmt: skip
    found = stats.paired_ratio(rounds)
    assert found["value"] == pytest.approx(1.1) and found["rounds"] == 5
    assert found["low"] <= 1.1 <= found["high"]
    with pytest.raises(ValueError, match="both sides"):
        stats.paired_ratio([([1.0], [])])


def test_twenty_repeats_stay_green(baseline):
    """Red is what is above in both looks, as `compare` has it."""
    red = []
    for seed in range(100, 120):
        first = [v.name for v in gate.judge(look(seed), baseline) if v.slower]
        again = [v.name for v in gate.judge(look(seed + 1000), baseline) if v.slower]
        red += [name for name in first if name in again]
    assert not red


@pytest.mark.parametrize(
    ("subject", "name"),
    [("served", "served / bare chain"), ("served", "served / torch eager"),
     ("large", "1024x768 / 512x384"), ("live", "live / image")],
)  # fmt: skip
def test_twenty_percent_more_is_seen(baseline, subject, name):
    seen = 0
    for seed in range(100, 120):
        both = (look(seed, slower=subject), look(seed + 1000, slower=subject))
        seen += all(
            v.slower for found in both for v in gate.judge(found, baseline) if v.name == name
        )
    assert seen >= 19


def test_what_became_faster_is_said_and_passes(baseline):
    verdicts = gate.judge(look(3, slower="served", factor=0.7), baseline)
    assert not any(v.slower for v in verdicts if v.name.startswith("served"))
    text = gate.table(verdicts)
    assert "faster; keep it with" in text
    assert max(len(line) for line in gate.table(gate.judge(look(3), baseline)).splitlines()) <= 100


def test_the_table_names_what_is_slower(baseline):
    text = gate.table(gate.judge(look(3, slower="live", factor=1.4), baseline))
    (line,) = [line for line in text.splitlines() if "SLOWER" in line]
    assert line.startswith("live / image") and "% more" in line


def test_noise_that_would_hide_it_is_no_baseline():
    looks = [{"live / image": {"value": value}} for value in (1.0, 1.02, 1.2)]
    with pytest.raises(gate.GateError, match=r"live / image: 1.00, 1.02, 1.20: too far apart"):
        gate.baseline_of(looks)
    assert gate.band([1.0, 1.0, 1.001]) == gate.NARROWEST


def test_a_missing_baseline_names_the_command(tmp_path):
    path = tmp_path / "baseline.json"
    for given, said in [
        (None, "is missing"), ("{", "can't be read"), ('{"machines": {}}', "only of none"),
        ('{"machines": {"avx9, 9 cores": {}}}', "only of avx9, 9 cores"),
    ]:  # fmt: skip
        if given is not None:
            path.write_text(given)
        with pytest.raises(gate.GateError) as error:
            gate.read_baseline(path, "avx2, 2 cores")
        assert said in str(error.value) and "`python -m benchmarks.gate --write`" in str(
            error.value
        )
        assert str(path) in str(error.value)


def test_each_kind_of_machine_keeps_its_own(tmp_path):
    path = tmp_path / "baseline.json"
    gate.write_baseline(path, "a, 2 cores", {"ratios": {"x": 1}})
    gate.write_baseline(path, "b, 2 cores", {"ratios": {"x": 2}})
    gate.write_baseline(path, "a, 2 cores", {"ratios": {"x": 3}})
    assert gate.read_baseline(path, "a, 2 cores") == {"ratios": {"x": 3}}
    assert gate.read_baseline(path, "b, 2 cores") == {"ratios": {"x": 2}}
    assert [p.name for p in tmp_path.iterdir()] == ["baseline.json"]
    assert gate.kind_of({"simd": ["avx2", "avx512f"], "cores": 2}) == "avx2+avx512f, 2 cores"


def test_the_tests_own_slowdown(monkeypatch):
    monkeypatch.delenv(gate.SLOWER, raising=False)
    assert gate.slower() == ("", 1.0)
    monkeypatch.setenv(gate.SLOWER, "served=1.2")
    assert gate.slower() == ("served", 1.2)
    for bad in ("served", "served=x", "nobody=1.2", "served=0.5", "served=nan"):
        monkeypatch.setenv(gate.SLOWER, bad)
        with pytest.raises(gate.GateError, match="give SUBJECT=FACTOR"):
            gate.slower()
    clock, slept = iter([10.0, 10.5]), []
    monkeypatch.setattr(gate.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(gate.time, "sleep", slept.append)
    assert gate.prolonged(lambda: "answer", 1.2)() == "answer"
    assert slept == [pytest.approx(0.1)]


@pytest.fixture
def run(tmp_path, monkeypatch, baseline):
    """The command with made-up measurements; returns what it printed and its status."""
    monkeypatch.setattr(gate, "subjects", lambda *given: contextlib.nullcontext({}))
    monkeypatch.delenv(gate.SLOWER, raising=False)
    path = tmp_path / "baseline.json"
    looks, asked = [], []

    def given(calls, wanted, seconds):
        asked.append((list(wanted), seconds))
        found = looks.pop(0)
        return {name: found[name] for name in wanted}

    monkeypatch.setattr(gate, "look", given)
    common = ["--baseline", str(path), "--repository", str(tmp_path), "--person", "p",
              "--garment", "g"]  # fmt: skip

    def start(*arguments, measured=(), written=True):
        looks[:] = list(measured)
        asked.clear()
        if written:
            gate.write_baseline(path, gate.kind_of(gate.machine()), baseline)
        return gate.main([*common, *arguments])

    start.asked, start.path = asked, path
    return start


def test_green_and_red(run, capsys):
    assert run(measured=[look(3)]) == 0
    assert run(measured=[look(3, slower="live", factor=1.4)] * 2) == 1
    assert run.asked[1] == (["live / image"], gate.AGAIN), "once more, alone"
    said = capsys.readouterr().out
    assert "once more, alone: live / image" in said and "twice in a row" in said
    # What the second look does not find was noise.
    assert run(measured=[look(3, slower="live", factor=1.4), look(4)]) == 0


def test_repeats_are_counted(run, capsys):
    slow = look(3, slower="live", factor=1.4)
    assert run("--repeat", "3", measured=[look(3), slow, slow, look(4)]) == 1
    assert "3: green; 2 of 3" in capsys.readouterr().out


def test_errors_are_one_line(run, capsys, monkeypatch):
    assert run(written=False) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench-gate: ") and said.count("\n") == 1 and "--write" in said
    monkeypatch.setenv(gate.SLOWER, "served=1.2")
    assert run("--write", written=False) == 2
    assert "a baseline must be a real one" in capsys.readouterr().err


def test_ci_passes_on_other_machines_and_on_no_other_error(run, capsys):
    gate.write_baseline(run.path, "avx9, 9 cores", {"ratios": {}})
    assert run("--known-only", written=False) == 0
    said = capsys.readouterr().err
    assert "no figures of this kind of machine" in said and said.count("\n") == 1
    assert run(written=False) == 2
    run.path.write_text("{")
    assert run("--known-only", written=False) == 2
    slow = look(3, slower="live", factor=1.4)
    assert run("--known-only", measured=[slow, slow]) == 1


def test_the_baseline_is_written_from_what_was_measured(run):
    assert run("--write", measured=[look(seed) for seed in range(5)], written=False) == 0
    made = json.loads(run.path.read_text())["machines"][gate.kind_of(gate.machine())]
    assert (
        set(made["ratios"]) == set(gate.RATIOS)
        and len(made["ratios"]["live / image"]["looks"]) == 5
    )
    assert made["versions"]["python"] and made["machine"]["cores"] and made["weights"]
