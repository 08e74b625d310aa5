"""The benchmark's arithmetic, on figures whose answers are known."""

from __future__ import annotations

import json
import os
import re
import threading
import time

import numpy as np
import pytest
from fake_triton import FakeTriton, answer, serve
from PIL import Image
from tritonclient.grpc import service_pb2

from benchmarks import __main__ as command
from benchmarks import chain, cost, inputs, load, machine, page, report, stats, triton
from tryon.contract import ENSEMBLE_STEPS
from tryon.steps.garment import make_canvas


def test_percentiles_of_known_latencies():
    summary = stats.summarise(range(1, 102))
    assert (summary["p50"], summary["p90"], summary["p95"], summary["p99"]) == (51, 91, 96, 100)
    assert (summary["count"], summary["mean"], summary["min"], summary["max"]) == (101, 51, 1, 101)
    with pytest.raises(ValueError, match="no latencies"):
        stats.summarise([])


@pytest.mark.parametrize(
    ("values", "stable"),
    [
        ([10, 10], False),
        ([10, 10, 10], True),
        ([90, 10, 10.5, 9.5], True),
        ([10, 10, 10, 13], False),
        ([9.01, 10, 10.99], True),
        ([8.9, 10, 11.1], False),
        ([10, 12, 14, 16], False),
    ],
)
def test_stable_is_three_windows_within_ten_percent(values, stable):
    assert stats.is_stable(values) is stable


def rounds(ratio, noise=0.02, drift=0.0, count=8, calls=40, seed=1):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        speed = 50 * (1 + drift * rng.standard_normal())
        b = speed * (1 + noise * rng.standard_normal(calls))
        a = ratio * speed * (1 + noise * rng.standard_normal(calls))
        made.append((a, b))
    return made


def test_ratio_of_known_samples():
    found = stats.ratio_interval(rounds(1.2))
    assert found["low"] < 1.2 < found["high"] and found["low"] < found["value"] < found["high"]
    assert found["high"] - found["low"] < 0.03 and found["rounds"] == 8


def test_ratio_interval_covers_the_truth_as_often_as_it_says():
    inside = 0
    for seed in range(60):
        found = stats.ratio_interval(rounds(1.1, drift=0.1, seed=seed), draws=200)
        inside += found["low"] <= 1.1 <= found["high"]
    assert inside >= 50, inside


def test_rounds_widen_the_interval_where_windows_differ():
    """A side that is slow in some rounds only: single calls would feign certainty."""
    calm = stats.ratio_interval(rounds(1.0))
    uneven = [(a * (1.5 if i % 2 else 1.0), b) for i, (a, b) in enumerate(rounds(1.0))]
    wide = stats.ratio_interval(uneven)
    assert wide["high"] - wide["low"] > 5 * (calm["high"] - calm["low"])


def test_ratio_is_reproducible_and_takes_any_statistic():
    data = rounds(1.3)
    assert stats.ratio_interval(data) == stats.ratio_interval(data)
    assert stats.ratio_interval(data, np.mean)["value"] == pytest.approx(1.3, abs=0.02)
    for bad in ([], [([1.0], [])]):
        with pytest.raises(ValueError):
            stats.ratio_interval(bad)


def test_window_counts_calls_and_time():
    window = load.run_window(lambda: time.sleep(0.01), 0.2)
    assert 10 <= len(window.latencies) <= 20 and min(window.latencies) >= 10
    assert window.seconds >= 0.2
    assert window.throughput == pytest.approx(len(window.latencies) / window.seconds)


def test_concurrent_callers_overlap():
    lock, now, most = threading.Lock(), [0], [0]

    def call():
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1

    window = load.run_window(call, 0.2, concurrency=2)
    assert most[0] == 2 and len(window.latencies) > 20


def test_a_slow_call_still_counts():
    assert len(load.run_window(lambda: time.sleep(0.03), 0.001).latencies) == 1


def test_an_error_in_a_thread_is_raised():
    def call():
        raise RuntimeError("server gone")

    for concurrency in (1, 2):
        with pytest.raises(RuntimeError, match="server gone"):
            load.run_window(call, 5, concurrency)


def test_windows_take_turns_after_the_warm_up():
    order = []
    calls = {n: lambda n=n: (order.append(n), time.sleep(0.002)) for n in "ab"}
    windows = []

    def around(name, run):
        windows.append(name)
        return run()

    series = load.until_stable(calls, window=0.01, cap=5, least=4, warm_up=3, around=around)
    assert order[:6] == list("aaabbb") and windows[:8] == list("abababab")
    assert len(series["a"].windows) == len(series["b"].windows) >= 4
    assert sum(len(s.latencies()) for s in series.values()) == len(order) - 6


def test_unstable_subject_stops_at_the_cap():
    sleep = [0.001]

    def slower():
        sleep[0] *= 1.3
        time.sleep(sleep[0])

    start = time.monotonic()
    series = load.until_stable({"a": slower}, window=0.02, cap=0.3, warm_up=0)
    assert not series["a"].stable and time.monotonic() - start < 2
    assert series["a"].summary()["stable"] is False


def statistics(**models):
    response = service_pb2.ModelStatisticsResponse()
    for name, (count, ms) in models.items():
        s = response.model_stats.add(name=name).inference_stats
        s.success.count, s.success.ns = count, int(ms * 10 * 1e6)
        s.queue.ns, s.compute_infer.ns = int(ms * 1e6), int(ms * 8 * 1e6)
    return response


def test_arrivals_have_their_rate():
    even = load.arrival_times(4, 2, poisson=False)
    assert even == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    times = load.arrival_times(50, 100, poisson=True, seed=3)
    gaps = np.diff(times)
    assert abs(len(times) - 5000) < 300 and min(gaps) >= 0 and times[-1] < 100
    assert abs(gaps.std() / gaps.mean() - 1) < 0.1, "exponential gaps"
    assert times == load.arrival_times(50, 100, poisson=True, seed=3)
    assert len(load.arrival_times(0.01, 1, poisson=True)) == 1
    with pytest.raises(ValueError, match="above 0"):
        load.arrival_times(0, 1, poisson=True)


def test_time_counts_from_when_a_call_was_due():
    """One server, 50 ms a call, 40 calls a second: they wait for each other."""
    lock = threading.Lock()

    def call():
        with lock:
            time.sleep(0.05)

    run = load.run_open(call, 40, 0.25, poisson=False)
    latencies = sorted(run.latencies)
    assert len(latencies) == 10
    # The k-th to end ends at 50 (k + 1) ms at the earliest, and one was due every 25 ms.
    assert sum(latencies) >= sum(50 * (k + 1) - 25 * k for k in range(10)) - 1
    summary = run.summary(deadline=160)
    in_time = sum(ms <= 160 for ms in latencies)
    assert summary["within"] == in_time / 10 < 1
    assert summary["goodput"] == in_time / run.seconds and run.seconds >= 0.5


def test_calls_that_fail_are_counted_and_are_not_in_time():
    numbers = iter(range(100))

    def call():
        if next(numbers) % 2:
            raise OSError("busy")

    summary = load.run_open(call, 100, 0.2, poisson=False).summary(deadline=1e6)
    assert summary["failed"] == 10 and summary["within"] == 0.5


def test_an_error_of_every_open_call_is_raised():
    def call():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        load.run_open(call, 100, 0.05)


def test_triton_difference_over_windows():
    sums: dict[str, triton.StepTimes] = {}
    triton.add_difference(sums, statistics(pose=(10, 500), idle=(3, 9)),
                          statistics(pose=(14, 508), idle=(3, 9)))  # fmt: skip
    # What ran between the windows (14 to 90) is not counted.
    triton.add_difference(sums, statistics(pose=(90, 900)), statistics(pose=(96, 912)))
    found = triton.breakdown(sums)
    assert list(found) == ["pose"]
    assert found["pose"]["count"] == 10
    assert found["pose"]["total"] == pytest.approx(20)
    assert found["pose"]["queue"] == pytest.approx(2)
    assert found["pose"]["compute_infer"] == pytest.approx(16)


def test_a_model_that_appears_later_counts_from_zero():
    sums: dict[str, triton.StepTimes] = {}
    triton.add_difference(sums, statistics(), statistics(crop=(2, 4)))
    assert triton.breakdown(sums)["crop"]["total"] == pytest.approx(20)


def test_weights_hash_follows_content_and_name(tmp_path):
    for name, data in (("a", b"1"), ("b", b"2")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(data)
    first = machine.weights_hash(tmp_path)
    assert set(first) == {"all", "a", "b"}
    (tmp_path / "b" / "1" / "model.onnx").write_bytes(b"3")
    second = machine.weights_hash(tmp_path)
    assert second["all"] != first["all"] and second["a"] == first["a"]


def test_machine_is_described():
    assert machine.machine()["cores"] >= 1
    assert machine.versions("2.51.0")["triton"] == "2.51.0"


@pytest.mark.parametrize(
    ("size", "garment"), [((256, 192), 512), ((512, 384), 512), ((1024, 768), 1024)]
)
def test_inputs_have_their_size(tmp_path, size, garment):
    Image.new("RGB", (300, 600), "red").save(tmp_path / "p.png")
    Image.new("RGB", (2000, 1500), "blue").save(tmp_path / "g.png")
    made = inputs.make_inputs(tmp_path / "p.png", tmp_path / "g.png", size)
    assert made.person.shape == (*size, 3) and max(made.garment.shape) == garment
    assert made.person.dtype == made.garment.dtype == np.uint8


def test_fresh_requests_differ_in_what_the_image_encoder_sees():
    made = inputs.Inputs(np.zeros((64, 64, 3), np.uint8), np.full((512, 400, 3), 230, np.uint8))
    for size in ((384, 288), (512, 384)):
        garments = (inputs.fresh(made, n).garment for n in range(300))
        assert len({make_canvas(garment, size)[1].tobytes() for garment in garments}) == 300
    assert len({inputs.fresh(made, n).prompt for n in range(300)}) == 300
    assert (made.garment == 230).all(), "the given request stays as it is"


def fake_report():
    series = load.Series([load.Window([10.0, 11.0, 12.0], 0.04)] * 3)
    series.update()
    one = {
        "size": "512x384",
        "grpc_1": series.summary(), "grpc_known": series.summary(), "grpc_2": series.summary(),
        "grpc_8": series.summary(), "chain": series.summary(), "chain_8": series.summary(),
        "ratios": {name: {"value": 1.1, "low": 1.0, "high": 1.2, "level": 0.95, "rounds": 3}
                   for name in report.RATIOS},
        "agreement": {"max_difference": 0},
        "steps": triton.breakdown({"pose": triton.StepTimes(1, 0, 5_000_000)}),
        "chain_steps": {"pose": 4.5},
    }  # fmt: skip
    return {
        "machine": machine.machine(), "versions": machine.versions("2.51.0"),
        "weights": {"all": "abc"}, "results": [one, {**one, "size": "1024x768"}],
    }  # fmt: skip


def test_report_as_json_table_and_plot(tmp_path):
    made = fake_report()
    report.write_json(made, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["results"][0]["chain"]["p50"] == 11
    text = report.table(made)
    assert "garment known" in text
    assert "bare chain" in text and "1.10 (1.00 to 1.20)" in text and "pose" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    made["machine"]["load_average"] = [7.0, 1.0, 1.0]
    assert "machine was busy" in report.table(made)
    pytest.importorskip("matplotlib")
    report.plot(made, tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as image:
        assert image.width > 800
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bench.json", "bench.png"]


def test_steps_begin_with_their_last_input():
    each = {step.model: 10.0 for step in ENSEMBLE_STEPS}
    spans = page.timeline({**each, "cutout": 25.0, "pose": 1.0})
    assert set(spans) == set(each)
    assert spans["decode"] == (0, 10)
    assert spans["crop"][0] == spans["detector"][1] == 20
    # The person, and the words and the garment, go on side by side once somebody is found.
    assert spans["pose"][0] == spans["text_encoder"][0] == 30
    assert spans["cutout"][0] == spans["text_encoder"][1] == 40
    assert spans["image_encoder"][0] == spans["cutout"][1] == 65
    assert spans["generator"][0] == max(spans["pose"][1], spans["image_encoder"][1]) == 75
    assert spans["paste"][1] == max(end for _, end in spans.values())


def test_the_page_is_whole_and_opens_without_a_network(tmp_path):
    pytest.importorskip("matplotlib")
    made = fake_report()
    made["started"], made["settings"] = "2026-01-01T00:00:00", {"note": "<script>"}
    made["results"][0]["cost"] = {"request_bytes": 1_400_000, "response_bytes": 800_000,
                                  "cpu_ms": 170.4, "peak_bytes": 3 * 2**30,
                                  "held_bytes": 2**30}  # fmt: skip
    made["results"][0]["open"] = [{"rate": r, "p50": 50.0, "p99": 90.0} for r in (4, 8)]
    page.write_page(made, tmp_path / "bench.html")
    assert [p.name for p in tmp_path.iterdir()] == ["bench.html"]
    text = (tmp_path / "bench.html").read_text()
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    for shown in ("1.10 (1.00 to 1.20)", "170 ms of the server", "1400 kB there", "garment known",
                  "Who waits for whom", "Latency distribution", "callers a second", "3072)",
                  "holds 1024 MiB"):
        assert shown in text, shown
    assert text.count("<svg") == 6, "two plots a size, cost against size, latency against load"
    # Nothing is fetched: addresses there are name spaces' alone.
    assert not re.search(r'(src|href)="?(https?:)?//', text) and "<script" not in text
    assert text == page.page(made), "the same report gives the same page"


def test_the_curve_runs_from_the_fastest_to_the_slowest():
    found = stats.curve(range(1, 202))
    assert (found[0], found[50], found[-1], len(found)) == (1, 101, 201, 101)


def test_usage_sums_a_session_and_no_other(tmp_path):
    def process(number, session, ticks, kib):
        folder = tmp_path / str(number)
        folder.mkdir()
        numbers = ["S", "1", "1", str(session), *["0"] * 7, str(ticks), "0", "0"]
        (folder / "stat").write_text(f"{number} (odd) name) {' '.join(numbers)}")
        (folder / "status").write_text(f"Name:\tx\nVmHWM:\t{kib} kB\n")

    process(7, 7, 50, 1000)
    process(8, 7, 25, 24)
    process(9, 9, 10_000, 10_000)
    (tmp_path / "10").mkdir()  # ended while it was read
    (tmp_path / "self").mkdir()
    found = cost.usage(7, tmp_path)
    assert found == cost.Usage(75 / os.sysconf("SC_CLK_TCK"), 1024 * 1024)


def test_usage_of_this_very_session_grows():
    before = cost.usage(os.getsid(0))
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert cost.usage(os.getsid(0)).cpu_seconds > before.cpu_seconds and before.peak_bytes > 2**20


def toy_chain():
    """Paints as the fake server does, in two steps."""

    def paint(values):
        picture, mask = answer(values["person"][0])
        return {"painted": picture[None], "mask": mask[None]}

    def finish(values):
        time.sleep(0.002)
        return {"picture": values["painted"], "confidence": np.array([[0.75]], np.float32)}

    return chain.Chain([("paint", paint), ("finish", finish)], threads=1)


def test_chain_runs_its_steps_in_order_and_times_them():
    toy = toy_chain()
    person = np.full((80, 64, 3), 200, np.uint8)
    picture, mask, confidence = toy.try_on(inputs.Inputs(person, person))
    assert np.array_equal(picture, answer(person)[0]) and mask.any() and confidence == 0.75
    assert list(toy.mean_times()) == ["paint", "finish"] and toy.mean_times()["finish"] >= 2
    toy.reset_times()
    assert toy.mean_times()["finish"] == 0


def test_missing_network_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="make export"):
        chain.served_chain(tmp_path, 1)


def test_whole_run_against_a_fake_server(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "served_chain", lambda *arguments: toy_chain())
    for name in ("p.png", "g.png"):
        Image.new("RGB", (300, 400), "green").save(tmp_path / name)
    with serve(FakeTriton()) as (_, url):
        arguments = ["--url", url, "--sizes", "80x64", "96x72", "--window", "0.05", "--cap", "0.3",
                     "--person", str(tmp_path / "p.png"), "--garment", str(tmp_path / "g.png"),
                     "--repository", str(tmp_path), "--out", str(tmp_path / "out"),
                     "--rates", "20", "40"]  # fmt: skip
        assert command.main(arguments) == 0
    made = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [r["size"] for r in made["results"]] == ["80x64", "96x72"]
    assert made["versions"]["triton"] == "2.51.0" and not made["settings"]["server_started_here"]
    one = made["results"][0]
    assert one["agreement"] == {"max_difference": 0, "share_within_2": 1.0, "masks_equal": True}
    # The fake counts 50 ms a call; its earlier, slow call is not in the windows.
    assert one["steps"]["tryon"]["total"] == pytest.approx(50)
    assert one["steps"]["tryon"]["count"] == one["grpc_1"]["count"]
    assert one["grpc_known"]["count"] > 0
    assert one["chain_steps"]["finish"] >= 2 and one["grpc_2"]["throughput"] > 0
    assert one["grpc_8"]["throughput"] > 0 and one["chain_8"]["throughput"] > 0
    assert set(one["ratios"]) == set(report.RATIOS)
    assert [row["rate"] for row in one["open"]] == [20, 40]
    assert one["open"][0]["within"] == 1.0
    said = capsys.readouterr().out
    assert "gRPC / bare chain" in said and "callers who come at random" in said
    assert (tmp_path / "out" / "bench.png").stat().st_size > 5000
    assert "96x72" in (tmp_path / "out" / "bench.html").read_text()
    assert one["cost"]["request_bytes"] > 2 * 80 * 64 and "cpu_ms" not in one["cost"]
    assert len(one["grpc_1"]["curve"]) == 101


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "served_chain", lambda *arguments: toy_chain())
    Image.new("RGB", (300, 400), "green").save(tmp_path / "p.png")
    fake = FakeTriton()
    fake.version = "0"
    with serve(fake) as (_, url):
        arguments = ["--url", url, "--person", str(tmp_path / "p.png"), "--garment",
                     str(tmp_path / "p.png"), "--out", str(tmp_path / "out")]  # fmt: skip
        assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("benchmarks: ") and said.count("\n") == 1 and "contract version" in said
