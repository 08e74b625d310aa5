"""The search for settings, on made-up scores and a made-up repository."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_triton import FakeTriton, serve
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from benchmarks import tune
from benchmarks.inputs import Inputs
from benchmarks.load import Window
from benchmarks.server import Server
from deploy.embedded import ServerError, check_repository
from export import repository
from export.config import SETTINGS, all_configs, load_settings, model_config, write_configs
from export.repository import STAMP, files_of, is_current, reconfigure
from tryon import contract

PLAIN = replace(
    SETTINGS, instances={}, cores={"crop": 0, "pose": 0, "cutout": 1},
    threads={**dict.fromkeys(SETTINGS.threads, 1), "generator": 2},
)  # fmt: skip


def test_every_kind_of_setting_is_tried():
    found = tune.moves(PLAIN, 2)
    names = [move.name for move in found]
    assert len(set(names)) == len(names)
    for wanted in ("generator: 1 threads", "detector: 2 threads", "steps on no core of their own",
                   "generator: 2 processes", "decode: 2 processes", "pose: batches, 0 us",
                   "generator: batches, 2000 us"):  # fmt: skip
        assert wanted in names
    assert all(move.settings != PLAIN for move in found)
    both = next(m for m in found if m.name == "generator: 2 processes of 1 thread").settings
    assert both.threads["generator"] == 1 and both.instances == {"generator": 2}
    alone = next(m for m in found if m.name == "pose: 2 processes").settings
    assert "pose" not in alone.cores and alone.instances == {"pose": 2}


def test_settings_reach_the_configuration():
    settings = replace(SETTINGS, instances={"pose": 2}, queue_delay={"pose": 2000}, cores={})
    text = model_config(contract.model("pose"), "cpu", settings)
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.instance_group[0].count == 2
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    assert "core" not in config.parameters
    plain = text_format.Parse(
        model_config(contract.model("pose"), "cuda", settings), model_config_pb2.ModelConfig()
    )
    assert plain.instance_group[0].count == 1
    assert plain.dynamic_batching.max_queue_delay_microseconds == 0


def test_scores_are_of_the_goal():
    window = Window([50.0, 90.0, 110.0, 100.0], 2.0)
    assert tune.score(window, "latency") == tune.score(window, "known") == pytest.approx(1000 / 95)
    assert tune.score(window, "frames") == 1.5
    assert tune.best({1: [5.0, 5.0], 2: [7.0, 9.0]}) == [7.0, 9.0]
    assert tune.against({1: [0.0, 0.0]}, {1: [0.0, 0.0]})["value"] == 1.0


def made_up(gains, calls=None, seed=0):
    """Scores of settings: each change that is in force counts by its factor; with noise."""
    rng = np.random.default_rng(seed)

    def worth(settings):
        value = 10.0
        for name, factor in gains.items():
            holds = {
                "pin": not settings.cores, "generator 1": settings.threads["generator"] == 1,
                "pose 2": settings.instances.get("pose") == 2,
                "delay": settings.queue_delay.get("generator") == 2000,
            }[name]  # fmt: skip
            value *= factor if holds else 1.0
        return value

    def measure(new, old):
        if calls is not None:
            calls.append((new, old))
        if new.instances.get("crop") == 2:
            raise ServerError("the server ended with status 1\nand much more")
        speed = np.exp(0.2 * rng.standard_normal(8))
        return tuple(
            {1: list(worth(s) * speed * np.exp(0.02 * rng.standard_normal(8)))} for s in (new, old)
        )

    return measure


def test_what_is_surely_better_is_kept_and_built_upon():
    calls = []
    gains = {"generator 1": 1.15, "pin": 0.9, "pose 2": 1.1, "delay": 0.7}
    said = []
    settings, tried = tune.climb(PLAIN, 2, made_up(gains, calls), said.append)
    kept = [row.name for row in tried if row.kept]
    assert "generator: 1 threads" in kept and "pose: 2 processes" in kept
    assert settings.threads["generator"] == 1 and settings.instances["pose"] == 2
    assert settings.cores and "generator" not in settings.queue_delay
    assert calls[-1][1] == settings or calls[-1][0] == settings, "later moves start from it"
    broken = next(row for row in tried if row.name == "crop: 2 processes")
    assert broken.problem == "the server ended with status 1" and not broken.kept
    text = tune.table("latency", tried)
    assert max(len(line) for line in text.splitlines()) <= 100 and "kept" in text


def test_noise_alone_changes_little():
    kept = 0
    for seed in range(5):
        _, tried = tune.climb(SETTINGS, 2, made_up({}, seed=seed), lambda line: None)
        kept += sum(row.kept for row in tried)
    assert kept <= 3


def test_only_some_moves_and_none_of_that_name():
    _, tried = tune.climb(SETTINGS, 2, made_up({}), lambda line: None, only="generator")
    assert tried and all("generator" in row.name for row in tried)
    with pytest.raises(tune.TuneError, match="--only 'cutter'"):
        tune.climb(SETTINGS, 2, made_up({}), lambda line: None, only="cutter")


def test_what_is_found_is_written_as_config_would_have_it(tmp_path):
    settings = replace(SETTINGS, instances={"pose": 2})
    tried = [
        tune.Tried("pose: 2 processes", {"value": 1.1, "low": 1.05, "high": 1.2}, 11, 10, True)
    ]
    tune.write(tmp_path, "frames", settings, tried, {"machine": {}})
    text = (tmp_path / "frames.txt").read_text()
    assert '"pose": 2' in text and "pictures a second" in text
    made = json.loads((tmp_path / "frames.json").read_text())
    assert made["settings"]["instances"] == {"pose": 2} and made["tried"][0]["kept"]
    tune.write(tmp_path, "latency", SETTINGS, [], {})
    assert "stays as it is" in (tmp_path / "latency.txt").read_text()
    assert len(list(tmp_path.iterdir())) == 4


def test_settings_that_were_found_are_those_that_config_reads(tmp_path):
    settings = replace(SETTINGS, instances={"pose": 2}, queue_delay={"generator": 0})
    path = tmp_path / "settings.json"
    tune.write_settings(SETTINGS, {"goal": "latency", "tried": ["an earlier line"]}, path)
    tune.write_settings(settings, {"goal": "frames", "tried": ["a line"]}, path)
    assert load_settings(path) == settings
    found = json.loads(path.read_text())["found"]
    assert [one["goal"] for one in found] == ["latency", "frames"], "what earlier searches found"
    assert "count: 2" in model_config(
        next(m for m in contract.MODELS if m.name == "pose"), "cpu", load_settings(path)
    )
    assert load_settings() == SETTINGS


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [("threads", {"pose": 1}, "threads: must name detector"), ("cores", {"cutter": 0}, "cutter: 0"),
     ("cores", {"pose": "two"}, "pose: 'two'"), ("instances", {"pose": 0}, "pose: 0"),
     ("queue_delay", [], "AttributeError"), ("queue_delay", None, "queue_delay")],
)  # fmt: skip
def test_damaged_settings_are_told_in_a_line(tmp_path, name, values, said):
    path = tmp_path / "settings.json"
    tune.write_settings(SETTINGS, {}, path)
    told = json.loads(path.read_text())
    told[name] = values
    if values is None:
        del told[name]
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=f"{said}.*git checkout") as wrong:
        load_settings(path)
    assert "\n" not in str(wrong.value)
    path.write_text("{,}")
    with pytest.raises(ValueError, match="git checkout"):
        load_settings(path)


@pytest.mark.parametrize("where", ["own", "other", "try only"])
def test_what_is_kept_is_configured_unless_it_is_only_tried(monkeypatch, tmp_path, capsys, where):
    found = replace(SETTINGS, queue_delay={"pose": 0})
    monkeypatch.setattr(tune, "climb", lambda *given: (found, []))
    monkeypatch.setattr(tune, "check_repository", lambda path: None)
    for name in ("photos", "make_inputs"):
        monkeypatch.setattr(tune, name, lambda *given, name=name: (name, name))
    monkeypatch.setattr(tune, "measured_on", lambda repository: {"machine": "this"})
    kept, configured = [], []
    monkeypatch.setattr(tune, "write_settings", lambda *given: kept.append(given[0]))
    monkeypatch.setattr(tune, "reconfigure", lambda *given: configured.append(given))
    more = {"own": [], "other": ["--repository", str(tmp_path)], "try only": ["--try-only"]}[where]
    assert tune.main(["--out", str(tmp_path / "out"), *more]) == 0
    place = tmp_path if where == "other" else tune.REPOSITORY
    assert configured == ([] if where == "try only" else [(place, found)])
    assert kept == ([found] if where == "own" else []), "settings are of the repository's own"
    assert "goal latency" in capsys.readouterr().out

    def full(*given):
        raise OSError("no space left")

    monkeypatch.setattr(tune, "reconfigure", full)
    assert tune.main(["--out", str(tmp_path / "out"), *more]) == (0 if where == "try only" else 2)
    said = capsys.readouterr().err
    assert said.count("\n") == (where != "try only") and ("make export" in said) == bool(said)


def test_an_exported_repository_gets_other_settings_and_is_current_with_them_alone(
    monkeypatch, tmp_path
):
    hashes, other = {"code": "1"}, replace(SETTINGS, instances={"pose": 2})
    write_configs(tmp_path, "cpu")
    (tmp_path / "pose" / "model").write_text("weights")
    stamp = {"target": "cpu", "sources": hashes, "files": files_of(tmp_path)}
    (tmp_path / STAMP).write_text(json.dumps(stamp))
    assert is_current(tmp_path, hashes)
    reconfigure(tmp_path, other)
    assert "count: 2" in (tmp_path / "pose" / "config.pbtxt").read_text()
    assert not is_current(tmp_path, hashes), "the settings in force are others"
    monkeypatch.setattr(repository, "all_configs", lambda target: all_configs(target, other))
    assert is_current(tmp_path, hashes)
    assert (tmp_path / "pose" / "model").read_text() == "weights"


def test_a_repository_is_laid_out_of_links(tmp_path):
    source, folder = tmp_path / "cpu", tmp_path / "other"
    for model in (*contract.SERVED, *contract.ENSEMBLES):
        (source / model.name / "1").mkdir(parents=True)
        (source / model.name / "1" / "model.py").write_text(model.name)
    (source / STAMP).write_text("{}")
    folder.mkdir()
    settings = replace(SETTINGS, threads={**SETTINGS.threads, "pose": 2})
    for _ in range(2):
        tune.lay_out(source, folder, settings)
    check_repository(folder)
    assert (folder / "pose" / "1" / "model.py").read_text() == "pose"
    assert (
        'key: "threads" value { string_value: "2" }' in (folder / "pose/config.pbtxt").read_text()
    )
    assert not (source / "pose" / "config.pbtxt").exists()


def test_what_gets_more_than_one_thread_or_process_is_on_no_core_of_its_own():
    found = {move.name: move.settings for move in tune.moves(PLAIN, 2)}
    for name in ("pose: 2 threads", "pose: 2 processes"):
        assert "pose" not in found[name].cores and "crop" in found[name].cores
    assert found["generator: 1 threads"].cores == PLAIN.cores


@pytest.mark.parametrize("goal", ["frames", "known"])
def test_servers_take_turns_with_new_garments_unless_they_are_to_be_known(monkeypatch, goal):
    monkeypatch.setattr(tune, "WINDOW", 0.02)
    person = np.full((80, 64, 3), 200, np.uint8)
    with serve(FakeTriton()) as (one, first), serve(FakeTriton()) as (two, second):
        servers = [Server(first), Server(second)]
        a, b = tune.measured(servers, Inputs(person, person), goal, 0.1)
        for server in servers:
            server.close()
    assert set(a) == set(b) == set(tune.CALLERS[goal])
    assert len(a[1]) == len(b[1]) >= 2 and all(value > 0 for value in a[1])
    assert one.requests[0].prompt == two.requests[0].prompt
    new = len({(r.prompt, r.garment.tobytes()) for r in one.requests})
    assert new == 1 if goal == "known" else new > 3


def test_errors_are_one_line(tmp_path, capsys):
    assert tune.main(["--repository", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tune: ") and said.count("\n") == 1 and "make export" in said
