"""Scenarios: what their files may say, and that each kind is played and reported whole."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import threading
from typing import ClassVar

import numpy as np
import pytest
from fake_triton import FakeTriton, answer, serve
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import cost, play, play_report, request, scenario, stats
from benchmarks.inputs import Inputs
from benchmarks.peers import frame, install, opened, processes
from benchmarks.peers.catalogue import PEERS

GOOD = """
says: A test.
size: 80x64
window_s: 0.05
seconds: 0.2
"""


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_every_committed_scenario_loads_and_all_is_covered():
    found = [scenario.find_scenario(name) for name in scenario.names()]
    assert {s.load for s in found} == set(scenario.LOADS)
    assert {s.size for s in found} == {(256, 192), (512, 384), (1024, 768)}
    assert {s.wire for s in found} == {"raw", "jpeg"}
    assert {s.garment for s in found} == {"new", "known"}
    assert {s.kind for s in found} == {"image", "live"}
    assert any(set(s.peers) == set(PEERS) for s in found)
    assert any(s.batch > 1 for s in found)


def test_defaults_are_the_dataclass(tmp_path):
    found = scenario.load_scenario(written(tmp_path, GOOD))
    assert (found.name, found.size, found.wire, found.callers) == ("mine", (80, 64), "raw", (1,))
    assert found.seconds == 0.2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("size: 512", "size: 512: give height x width"),
        ("size: 8x8", "size: '8x8': each side has 64 to 1536"),
        ("wire: png", "wire: 'png': choose raw or jpeg"),
        ("garment: old", "garment: 'old'"),
        ("load: burst", "load: 'burst': choose closed, fixed or poisson"),
        ("callers: []", "callers: []: give at least one"),
        ("callers: 4", "callers: 4: give a list"),
        ("callers: [1, true]", "callers: [1, True]: give whole numbers"),
        ("callers: [2, 2]", "twice"),
        ("batch: 9", "batch: 9: give whole numbers of 1 to 8"),
        ("seconds: .nan", "seconds: nan: give a number above 0"),
        ("seconds: -1", "seconds: -1: give a number above 0"),
        ("says: 3", "says: 3: write a sentence"),
        ("peers: [flask]", "peers: ['flask']: choose torch_eager"),
        ("speed: 3", "speed: no such field; there are says, size"),
        ("load: poisson", "rates: missing"),
        ("rates: [4]", "rates: for load fixed and poisson alone"),
        ("kind: live", "garment: a live session wears one garment"),
        ("kind: live\ngarment: known\nwire: jpeg", "wire: live sessions send raw"),
        ("kind: live\ngarment: known\nload: fixed\nrates: [2]", "load: a live session"),
        ("kind: live\ngarment: known\ncallers: [2]", "callers: not for kind live"),
        ("load: fixed\nrates: [2]\npeers: [fastapi]", "peers: they take turns"),
        ("load: fixed\nrates: [2]\ncallers: [2]", "callers: for load closed alone"),
        ("frames_per_second: 10", "frames_per_second: for kind live alone"),
        ("wire: jpeg\nbatch: 2", "batch: files of one length"),
        ("window_s: 9", "window_s: 9 is longer than seconds"),
        ("size: [", "not YAML"),
    ],
)
def test_a_bad_field_is_named_with_its_file(tmp_path, line, said):
    own = {part.split(":")[0] for part in line.split("\n")}
    kept = [part for part in GOOD.strip().split("\n") if part.split(":")[0] not in own]
    path = written(tmp_path, "\n".join([*kept, line]))
    with pytest.raises(scenario.ScenarioError) as error:
        scenario.load_scenario(path)
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(scenario.ScenarioError, match="size: missing"):
        scenario.load_scenario(written(tmp_path, "says: A test."))
    with pytest.raises(scenario.ScenarioError, match="holds no fields"):
        scenario.load_scenario(written(tmp_path, "words"))
    with pytest.raises(scenario.ScenarioError, match="No such file"):
        scenario.load_scenario(tmp_path / "none.yaml")
    with pytest.raises(scenario.ScenarioError, match="no scenario 'none': choose one of closed-"):
        scenario.find_scenario("none")


def test_the_last_percentile_is_told_of_enough_calls_alone():
    few = stats.summarise(range(1, stats.TAIL_SAMPLES))
    many = stats.summarise(range(1, stats.TAIL_SAMPLES + 1))
    assert "p99.9" not in few and many["p99.9"] == pytest.approx(
        0.999 * stats.TAIL_SAMPLES, rel=0.01
    )


def test_a_batch_holds_each_person_whole():
    person = np.arange(80 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(80, 64, 3)
    inputs = Inputs(person, person[:70])
    one, three = request.message(inputs), request.message(inputs, 3)
    assert [t.shape[0] for t in three.inputs] == [3, 3, 3, 3]
    for single, several in zip(one.raw_input_contents, three.raw_input_contents, strict=True):
        assert several == single * 3


def test_jpeg_travels_as_a_files_bytes():
    person = np.full((80, 64, 3), 99, np.uint8)
    sent = request.encoded(Inputs(person, person), "jpeg")
    assert sent.person.shape[:2] == (1, 1) and sent.person.dtype == np.uint8
    assert sent.person.tobytes()[:2] == b"\xff\xd8"
    assert request.encoded(Inputs(person, person), "raw").person is person
    assert list(request.message(sent).inputs[0].shape) == [1, *sent.person.shape]


def test_tensors_survive_the_peers_frame():
    given = {
        "person": np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)[:, ::-1],
        "confidence": np.array([[0.5]], np.float32),
        "prompt": np.array([["größer".encode()]], object),
    }
    found = frame.unpack(frame.pack(given))
    assert list(found) == list(given)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_peers_that_are_not_installed_are_left_out_and_said_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(opened, "installed", lambda module: False)
    with opened.opened(["fastapi", "litserve", "pytriton"], tmp_path, 2) as peers:
        assert peers == []
    said = capsys.readouterr().err
    assert said.count("run `make peers`") == 3 and "litserve is not installed" in said
    assert not processes.installed("fastapi", tmp_path)
    (tmp_path / "lib/python3.11/site-packages/fastapi").mkdir(parents=True)
    (tmp_path / "lib/python3.11/site-packages/fastapi/__init__.py").touch()
    assert processes.installed("fastapi", tmp_path)


def test_a_ratio_of_few_rounds_has_no_interval():
    ratio = {"value": 1.2, "low": 1.2, "high": 1.2, "level": 0.95, "rounds": 2}
    assert play_report._ratio(ratio) == "1.20 (too few rounds)"
    assert play_report._ratio({**ratio, "rounds": 3}) == "1.20 (1.20 to 1.20)"


def test_every_peers_package_is_pinned_once():
    pins = []
    for line in install.REQUIREMENTS.read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==[0-9][0-9a-z.]*", line)
            assert match, line
            pins.append(re.sub(r"[-_.]+", "-", match[1]).lower())
    assert len(pins) == len(set(pins))
    assert {"fastapi", "litserve", "nvidia-pytriton"} <= set(pins)


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers a peer's request with the person as the picture."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[list[int]] = []
    fail = False

    def do_POST(self):
        self.connections.append(self.client_address[1])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"] == "application/json":
            body = base64.b64decode(json.loads(body)["tensors"])
        given = frame.unpack(body)
        made = frame.pack({"picture": given["person"], "mask": given["person"][..., 0],
                           "confidence": np.array([[0.5]], np.float32)})  # fmt: skip
        self.send_response(500 if self.fail else 200)
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)

    def log_message(self, *words):
        pass


def test_http_peers_are_called_over_connections_that_stay(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    person = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
    try:
        for name in ("fastapi", "litserve"):
            Echo.connections.clear()
            call = processes._over_http(server.server_port, name)
            monkeypatch.setattr(processes, "IDLE", 60.0)
            for _ in range(2):
                picture, _, confidence = call(Inputs(person, person))
            np.testing.assert_array_equal(picture, person)
            assert confidence == 0.5 and len(set(Echo.connections)) == 1
            # Others had their turn: the server may have closed it meanwhile.
            monkeypatch.setattr(processes, "IDLE", 0.0)
            call(Inputs(person, person))
            assert len(set(Echo.connections)) == 2
        monkeypatch.setattr(Echo, "fail", True)
        with pytest.raises(processes.PeerError, match="peer litserve answers 500"):
            call(Inputs(person, person))
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(processes.PeerError, match="peer litserve does not answer"):
        call(Inputs(person, person))


def test_a_peer_that_does_not_start_says_why(tmp_path, monkeypatch):
    assert processes.complaint("a\nKeyError: 'x'\n\n;\n") == "KeyError: 'x'"
    assert processes.complaint("one\ntwo\n") == "two" and processes.complaint("") == ""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho start >> {tmp_path}/starts\necho 'ImportError: no ears'\n")
    python.chmod(0o755)
    monkeypatch.setattr(processes, "ENVIRONMENT", tmp_path)
    wanted = pytest.raises(processes.PeerError, match="peer fastapi does not start: ImportError")
    with wanted, processes.process("fastapi", tmp_path, 1, 1):
        pass
    assert (tmp_path / "starts").read_text() == "start\n" * processes.ATTEMPTS


def test_threads_are_laid_out_both_ways():
    assert opened.layouts("fastapi", 2) == [(1, 2), (2, 1)]
    assert opened.layouts("torch_eager", 2) == [(1, 2), (1, 1)]
    assert opened.layouts("fastapi", 1) == [(1, 1)]


def test_a_server_elsewhere_in_the_tree_counts_too(tmp_path):
    def process(number, parent, session):
        folder = tmp_path / str(number)
        folder.mkdir()
        numbers = ["S", str(parent), "1", str(session), *["0"] * 7, "10", "0", "0"]
        (folder / "stat").write_text(f"{number} (name) {' '.join(numbers)}")
        (folder / "status").write_text("VmHWM:\t1 kB\n")
        (folder / "clear_refs").touch()

    process(7, 1, 7)
    process(8, 7, 8)  # in a session of its own, its child too
    process(9, 8, 8)
    process(10, 1, 10)
    assert cost.usage(7, tmp_path).peak_bytes == 3 * 1024
    assert cost.usage(7, tmp_path).cpu_seconds == pytest.approx(30 / os.sysconf("SC_CLK_TCK"))
    assert cost.reset_peak(7, tmp_path)
    assert [(tmp_path / n / "clear_refs").read_text() for n in ("7", "9", "10")] == ["5", "5", ""]


class Batches(FakeTriton):
    """Answers a batch with as many pictures."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def ModelInfer(self, message, context):
        batch = message.inputs[0].shape[0]
        self.batches.append(batch)
        for tensor in message.inputs:
            tensor.shape[0] = 1
        whole = list(message.raw_input_contents)
        message.raw_input_contents[:] = [raw[: len(raw) // batch] for raw in whole]
        assert [raw * batch for raw in message.raw_input_contents] == whole
        response = super().ModelInfer(message, context)
        for output in response.outputs:
            output.shape[0] = batch
        response.raw_output_contents[:] = [raw * batch for raw in response.raw_output_contents]
        return response


def toy_peer():
    return opened.Peer("toy 1x1", "toy", lambda given: (*answer(given.person), 0.75))


def played(tmp_path, text, peers=(), fake=None):
    wanted = scenario.load_scenario(written(tmp_path, text))
    from benchmarks.server import Server

    person = np.full((*wanted.size, 3), 200, np.uint8)
    with serve(fake or FakeTriton()) as (running, url):
        server = Server(url)
        found = play.play(wanted, server, Inputs(person, person), None, peers)
        server.close()
    return found, running


def reported(found):
    report = {
        "machine": {"processor": "x", "simd": [], "cores": 2, "load_average": [0.0]},
        "versions": {"onnxruntime": "1"}, "weights": {"all": "abc"}, "played": [found],
    }  # fmt: skip
    return play_report.table(json.loads(json.dumps(report))), play_report.page(report)


def test_a_closed_loop_with_a_peer(tmp_path):
    found, running = played(tmp_path, GOOD + "callers: [1, 2]", [toy_peer()])
    assert [load["callers"] for load in found["loads"]] == [1, 2]
    one = found["loads"][0]
    ours, peer = one["subjects"]["ours"], one["subjects"]["toy 1x1"]
    assert ours["count"] > 0 and peer["count"] > 0 and ours["within"] == 1.0
    assert ours["client_ms"] > 0 and ours["client_cpu_ms"] > 0 and peer["cpu_ms"] > 0
    assert set(one["ratios"]["toy 1x1"]) == {"p50", "p99", "throughput"}
    assert one["steps"]["tryon"]["count"] == ours["count"]
    assert found["request_bytes"] > 2 * 80 * 64 * 3
    assert len({r.prompt for r in running.requests}) > 2, "every call has words of its own"
    text, page = reported(found)
    assert "ours / peer" in text and "told from" in text and "the client itself" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    pytest.importorskip("matplotlib")
    assert page.count("<svg") == 3 and "toy 1x1" in page
    assert not re.search(r'(src|href)="?(https?:)?//', page) and "<script" not in page


def test_a_batch_counts_each_of_its_people(tmp_path):
    text = GOOD + "garment: known\nbatch: 3"
    found, running = played(tmp_path, text, fake=Batches())
    (load,) = found["loads"]
    ours = load["subjects"]["ours"]
    assert set(running.batches) == {3}
    calls_a_second = ours["throughput"] / 3
    assert ours["goodput"] == pytest.approx(3 * calls_a_second, rel=1e-6)


@pytest.mark.parametrize("kind", ["fixed", "poisson"])
def test_an_open_loop(tmp_path, kind):
    found, _ = played(tmp_path, GOOD + f"load: {kind}\nrates: [50]\ngarment: known")
    (load,) = found["loads"]
    ours = load["subjects"]["ours"]
    assert load["rate"] == 50 and ours["count"] > 0 and ours["goodput"] > 0
    assert ours["client_ms"] > 0
    text, _ = reported(found)
    assert "50 a second" in text


def test_a_live_session(tmp_path):
    text = GOOD + "kind: live\ngarment: known\nframes_per_second: 40"
    found, running = played(tmp_path, text)
    (load,) = found["loads"]
    ours = load["subjects"]["ours"]
    assert ours["count"] > 0 and ours["frames"]["submitted"] == 8
    assert len({r.person.tobytes() for r in running.requests}) >= 1
    assert "8 submitted" in reported(found)[0]


def test_the_command_plays_a_file(tmp_path, capsys):
    for name in ("p.png", "g.png"):
        Image.new("RGB", (300, 400), "green").save(tmp_path / name)
    path = written(tmp_path, GOOD)
    with serve(FakeTriton()) as (_, url):
        arguments = ["--url", url, "--scenario", str(path), "--person", str(tmp_path / "p.png"),
                     "--garment", str(tmp_path / "g.png"), "--repository", str(tmp_path),
                     "--out", str(tmp_path / "out")]  # fmt: skip
        assert command.main(arguments) == 0
        assert command.main([*arguments, "--scenario", "none"]) == 2
    made = json.loads((tmp_path / "out" / "scenarios.json").read_text())
    assert made["played"][0]["scenario"]["name"] == "mine" and made["weights"]["all"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "scenarios.html", "scenarios.json",
    ]  # fmt: skip
    captured = capsys.readouterr()
    assert "mine: A test." in captured.out
    assert captured.err.splitlines()[-1].startswith("benchmarks: no scenario 'none'")
