"""The latency ledger: where a frame's time went, drawn and told to OpenTelemetry."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_triton import LIVE as LIVE_MODELS
from fake_triton import FakeTriton
from film import FRAMES, film
from PIL import Image

from tryon.contract import ENSEMBLES, FOLLOW, LIVE, WARDROBE_ADD
from tryon_client import Garment, cli, errors, telemetry
from tryon_client.ledger import FrameWay, Span, stages
from tryon_client.trace import MEASURING, TracingClient, median_frame, own_milliseconds, trace
from tryon_client.waterfall import COLOURS, kind, waterfall

PERSON = np.random.default_rng(0).integers(0, 255, (72, 80, 3), dtype=np.uint8)
STEPS = {e.name: [step.model for step in e.steps] for e in ENSEMBLES}


@pytest.fixture
def fake(fake: FakeTriton) -> FakeTriton:
    fake.delay = 0.05  # longer than the 40 ms that its statistics tell of
    return fake


@pytest.fixture
def client(fake) -> Iterator[TracingClient]:
    with TracingClient(fake.url, 10) as client:
        yield client


def way(*spans: Span, number: int = 0) -> FrameWay:
    return FrameWay(number, "shown", spans)


def test_a_frame_s_stages_follow_each_other_from_capture_to_draw(client):
    traced = trace(client, iter([PERSON] * 3), [Garment(prompt="red")], 3)
    assert traced.alone and [f.number for f in traced.frames] == [0, 1, 2]
    for number, frame in enumerate(traced.frames):
        steps = STEPS[FOLLOW] if number else STEPS[WARDROBE_ADD] + STEPS[LIVE]
        names = [span.name for span in frame.spans if not span.name.startswith("queue ")]
        assert [n for n in names if n in steps] == steps
        for name in ("capture", "wait", "encode", "request", "send", "return", "finish",
                     "hand over", "draw"):  # fmt: skip
            assert name in names
        assert names.count(MEASURING) == (4 if number == 0 else 2)
        # Who is followed is looked for beside the crop and the pose.
        beside = ("request", *(("detector", "update_track") if number else ()))
        flat = [s for s in frame.spans if not s.name.startswith(("queue ", *beside))]
        for before, after in itertools.pairwise(flat):
            assert before.end <= after.start + 2e-3, f"{before.name} and {after.name} overlap"
        inside = [s for s in frame.spans if s.part_of == "request"]
        request = frame.find("request")
        assert all(request.start - 1e-3 <= s.start and s.end <= request.end + 2e-3 for s in inside)
    last = traced.frames[-1]
    assert last.find("generator").milliseconds == pytest.approx(5)
    assert last.find("queue generator").milliseconds == pytest.approx(1)
    send, back = last.find("send").milliseconds, last.find("return").milliseconds
    assert send > 0 and back > 0 and send + back > 9, "what is not the server's 40 ms of 50"


def test_the_way_is_split_by_the_bytes(client):
    trace(client, iter([PERSON]), [Garment(prompt="red")], 1)
    spans = client.calls[-1].spans
    send, back = (next(s for s in spans if s.name == n) for n in ("send", "return"))
    # The picture goes there; picture and mask come back.
    assert send.milliseconds / (send.milliseconds + back.milliseconds) == pytest.approx(3 / 7, 0.05)


def test_others_at_work_are_told(client, fake):
    fake.others = 2
    traced = trace(client, iter([PERSON] * 2), [Garment(prompt="red")], 2)
    assert not traced.alone
    assert traced.frames[1].find("generator").milliseconds == pytest.approx(5), "the mean"


def test_a_frame_that_is_refused_is_told(client, fake):
    import grpc

    fake.fail = (grpc.StatusCode.INTERNAL, "message: [NO_PERSON] person: nobody")
    with pytest.raises(errors.NoPersonFound, match="nobody"):
        trace(client, iter([PERSON]), [Garment(prompt="red")], 1)
    with pytest.raises(errors.InvalidRequest, match="at least 1"):
        trace(client, iter([PERSON]), [Garment(prompt="red")], 0)
    with pytest.raises(errors.InvalidRequest, match="no frame"):
        trace(client, iter([]), [Garment(prompt="red")], 1)


def test_the_median_leaves_the_trace_s_own_time_out():
    ways = [way(Span("request", 0, 0.1), Span(MEASURING, 0.1, 0.1 + own), number=k)
            for k, own in enumerate((0.5, 0.0, 0.2))]  # fmt: skip
    assert own_milliseconds(ways[0]) == pytest.approx(100)
    longer = way(Span("request", 0, 0.3), number=3)
    shorter = way(Span("request", 0, 0.05), number=4)
    assert median_frame([longer, ways[0], shorter]).number == 0
    assert median_frame([longer]).number == 3


def test_timings_are_stages_one_after_the_other():
    timings = {"prepare": 10.0, "server": 99.0, "request": 30.0, "total": 40.0}
    found = stages(timings, 5.0, {"prepare": "encode", "request": "request"})
    assert [(s.name, s.start, s.end) for s in found] == [
        ("encode", 5.0, pytest.approx(5.01)), ("request", pytest.approx(5.01), pytest.approx(5.04)),
    ]  # fmt: skip


def test_a_bar_is_as_long_as_its_stage():
    picture = np.asarray(waterfall([("A frame", way(
        Span("capture", 0, 0.025), Span("request", 0.025, 0.1),
        Span("send", 0.025, 0.05, "request"), Span("generator", 0.05, 0.1, "request"),
        Span("queue generator", 0.05, 0.0625, "generator"),
    ))], ["a note"]))  # fmt: skip
    widths = {}
    for name, colour in COLOURS.items():
        hit = (picture[:-80] == colour).all(axis=2)  # the legend is at the foot
        widths[name] = int(hit.sum(axis=1).max())
    assert widths["client"] == pytest.approx(widths["wire"], abs=2)
    assert widths["server"] + widths["queue"] == pytest.approx(2 * widths["wire"], abs=3)
    assert widths["queue"] == pytest.approx(widths["wire"] / 2, abs=2)
    assert widths["trace"] == 0
    assert kind(Span(MEASURING, 0, 1)) == "trace" and kind(Span("return", 0, 1)) == "wire"


# ---- OpenTelemetry ------------------------------------------------------------------------------
def test_each_frame_is_a_trace_of_its_own():
    pytest.importorskip("opentelemetry.sdk")
    import time

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")
    export, now = telemetry.Exporter(tracer), time.monotonic()
    with tracer.start_as_current_span("something else of theirs"):
        for number in range(2):
            export(way(Span("request", now, now + 0.1), Span("pose", now, now + 0.05, "request"),
                       Span("queue pose", now, now + 0.01, "pose"), number=number))  # fmt: skip
    spans = [span for span in kept.get_finished_spans() if span.name != "something else of theirs"]
    assert len(spans) == 8 and len({span.context.trace_id for span in spans}) == 2
    first = {s.name: s for s in spans if s.context.trace_id == spans[0].context.trace_id}
    frame = first["frame"]
    assert frame.parent is None
    assert dict(frame.attributes) == {"tryon.frame": 0, "tryon.outcome": "shown"}
    for name, above in (("request", "frame"), ("pose", "request"), ("queue pose", "pose")):
        assert first[name].parent.span_id == first[above].context.span_id
    assert first["pose"].end_time - first["pose"].start_time == pytest.approx(50e6, abs=1e3)
    assert abs(frame.start_time - time.time_ns()) < 60e9, "by the time of day"


# ---- the command line ---------------------------------------------------------------------------
def run(fake: FakeTriton, source: Path, out: Path, *more: str) -> int:
    return cli.main(["trace", str(source), "--prompt", "red", "--url", fake.url, "--out", str(out),
                     *more])  # fmt: skip


def test_a_photo_is_traced_and_drawn(fake, tmp_path, capsys):
    Image.fromarray(PERSON).save(tmp_path / "me.png")
    out, spans = tmp_path / "trace.png", tmp_path / "spans.jsonl"
    assert run(fake, tmp_path / "me.png", out, "--frames", "4", "--spans", str(spans)) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 4 frames") and "the median of 3: " in said
    assert "image_encoder" in said and "generator" in said and MEASURING not in said
    with Image.open(out) as picture:
        assert picture.width > 1000 and picture.height > 500
    told = [json.loads(line) for line in spans.read_text().splitlines()]
    assert sum(span["name"] == "frame" for span in told) == 4
    assert {"capture", "send", "pose", "generator", "return", "draw"} < {s["name"] for s in told}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["me.png", "spans.jsonl", "trace.png"]


def test_a_video_is_traced(fake, tmp_path, capsys):
    video = film(tmp_path / "walk.mp4")
    assert run(fake, video, tmp_path / "trace.png", "--frames", "99") == 0
    assert f": {FRAMES} frames" in capsys.readouterr().out, "as many as it has"
    levels = [r.person.mean() for r in fake.requests if r.model in LIVE_MODELS]
    assert len(levels) == FRAMES and levels == sorted(levels)


def test_what_can_not_be_traced_is_one_line(fake, tmp_path, capsys):
    Image.fromarray(PERSON).save(tmp_path / "me.png")
    for source, out, more in (
        ("none.jpg", "trace.png", ()), ("none.mp4", "trace.png", ()), ("me.png", "trace.txt", ()),
        ("me.png", "trace.png", ("--frames", "0")),
        ("me.png", "trace.png", ("--spans", str(tmp_path / "no" / "spans.jsonl"))),
    ):  # fmt: skip
        assert run(fake, tmp_path / source, tmp_path / out, *more) == 2
        said = capsys.readouterr().err
        assert said.startswith("tryon: ") and said.count("\n") == 1
