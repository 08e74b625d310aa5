"""The benchmarks of kept garments and of frames in which nothing moves."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from fake_triton import FakeTriton, serve

from benchmarks import sameness, wardrobe
from benchmarks.server import Server
from tryon.wardrobe.store import MEGABYTES, open_store


def test_a_store_is_filled_with_garments_of_their_own(tmp_path, capsys):
    limit = 2**20
    names = wardrobe.fill(tmp_path, b"x" * 1000, "0123abcd-384", 20, limit)
    assert len(set(names)) == 20 and "20/20" in capsys.readouterr().err
    store = open_store(str(tmp_path), limit)
    assert [entry.key for entry in store.entries()] == [f"{name}:384" for name in names]
    assert store.get(f"{names[7]}:384") == b"x" * 1000
    store.close()


def test_servers_are_told_how_much_they_keep(monkeypatch):
    monkeypatch.delenv(MEGABYTES, raising=False)
    with wardrobe.holding(10 * 2**20 + 1):
        assert os.environ[MEGABYTES] == "11"
    assert MEGABYTES not in os.environ
    monkeypatch.setenv(MEGABYTES, "5")
    with wardrobe.holding(2**20):
        assert os.environ[MEGABYTES] == "1"
    assert os.environ[MEGABYTES] == "5"


def test_every_garment_is_worn_in_its_turn():
    with serve(FakeTriton()) as (fake, url):
        names = [f"0123abcd-{k:032x}" for k in range(10)]
        fake.kept = dict.fromkeys(names)
        server = Server(url)
        call = wardrobe.wearing(server, np.zeros((64, 72, 3), np.uint8), names)
        for _ in range(20):
            call()
        track = np.arange(10, dtype=np.float32)
        wardrobe.wearing(server, np.zeros((64, 72, 3), np.uint8), names, track)()
        server.close()
    follow = fake.requests.pop()
    assert (follow.model, follow.garment_id) == ("tryon_follow", names[0])
    assert np.array_equal(follow.track[0], track) and 0 < follow.elapsed[0, 0] <= 1
    worn = [asked.garment_id for asked in fake.requests]
    assert sorted(worn[:10]) == names and worn[:10] == worn[10:]


def test_the_table_tells_rows_and_ratios():
    row = {"name": "tryon_live", "p50": 1.25, "p90": 2.5, "count": 7}
    text = wardrobe.table([row], {"many / one": {"value": 1.04, "low": 0.9, "high": 1.2}})
    assert "tryon_live" in text and "1.2" in text and "many / one: 1.04 (0.90 to 1.20)" in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("wrong", [["--garments", "0"], ["--seconds", "0"], ["--size", "big"]])
def test_arguments_are_checked(wrong):
    with pytest.raises(SystemExit) as ended:
        wardrobe.main(wrong)
    assert ended.value.code == 2


def test_what_is_missing_is_one_line(tmp_path, capsys):
    assert wardrobe.main(["--repository", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("wardrobe: ") and said.count("\n") == 1 and "make export" in said


# ---- frames in which nothing moves --------------------------------------------------------------
def test_what_is_saved_is_counted_against_what_was_sent():
    grey = np.full((64, 64, 3), 100, np.uint8)
    creeping = [grey + np.uint8(k) for k in range(9)]
    found = sameness.saved(creeping, 2.5)
    assert found["saved"] == pytest.approx(6 / 8), "each third frame is sent"
    assert found["off_block"] == pytest.approx(2, abs=1e-4) and found["off"] > 0
    assert sameness.saved(creeping, 0.5)["saved"] == 0
    assert sameness.saved([grey] * 5, 0.5) == {"saved": 1.0, "off": 0.0, "off_block": 0.0}


def test_films_are_what_their_names_say():
    person = np.random.default_rng(0).integers(60, 200, (128, 96, 3), dtype=np.uint8)
    one, other = sameness.still(person, 4.0, 2)
    assert one.shape == person.shape and (one != other).any()
    frames = list(sameness.breathing(person, 46))
    assert np.abs(frames[0].astype(int) - person).max() <= 1
    assert np.abs(frames[22][:, 8:-8].astype(int) - person[:, 9:-7]).mean() < 12, "a pixel aside"


def test_the_command_writes_a_table(tmp_path, capsys):
    out = tmp_path / "out"
    assert sameness.main(["--frames", "4", "--size", "128x96", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "still, noise 4" in said and "ms a frame of 128x96" in said
    told = json.loads((out / "sameness.json").read_text())
    assert len(told["rows"]) == 4 * len(sameness.THRESHOLDS)
    (tmp_path / "none").mkdir()
    assert sameness.main(["--sequences", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "training.data.sequence" in capsys.readouterr().err
