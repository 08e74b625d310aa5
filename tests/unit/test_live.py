"""A live session: the newest frame always, answers in order, nothing queued, nothing hung."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from fake_triton import LIVE, FakeTriton, answer, serve

from tryon_client import Garment, TryOnClient, errors, pace
from tryon_client.live import LiveSession

SIZE = (64, 72, 3)


@pytest.fixture
def client(fake) -> Iterator[TryOnClient]:
    with TryOnClient(fake.url) as client:
        yield client


def frame(level: int = 0) -> np.ndarray:
    return np.full(SIZE, level, np.uint8)


def ended(live: LiveSession) -> int:
    c = live.counts
    return c.shown + c.dropped + c.late + c.lost


@pytest.mark.parametrize("shape, kind", [
    (SIZE, np.float32), (SIZE[:2], np.uint8), ((*SIZE[:2], 4), np.uint8), ((0, 4, 3), np.uint8),
])  # fmt: skip
def test_frames_of_another_kind_are_refused_and_the_session_goes_on(client, shape, kind):
    with LiveSession(client, prompt="red") as live:
        with pytest.raises(errors.InvalidRequest, match="uint8"):
            live.submit(np.zeros(shape, kind))
        live.submit(frame(1))
        assert live.wait(timeout=5) is not None


def test_an_answer_is_the_frame_dressed(client):
    with LiveSession(client, prompt="red") as live:
        assert live.latest() is None
        number = live.submit(frame(50))
        shown = live.wait(timeout=5)
        assert shown is not None and shown.number == number == 0
        assert shown.dressed and shown.problem is None and 0 < shown.age < 5
        assert np.array_equal(shown.picture, answer(frame(50))[0])
        assert live.latest() is shown and live.wait(after=0, timeout=0.01) is None


def test_the_newest_frame_is_worked_on_and_older_ones_are_dropped(client, fake):
    fake.delay = 0.04
    numbers, ages = [], []
    with LiveSession(client, prompt="red", same_within=0, most_at_once=1) as live:
        for k in range(60):
            live.submit(frame(k))
            time.sleep(0.008)
            shown = live.latest()
            if shown is not None and (not numbers or shown.number != numbers[-1]):
                numbers.append(shown.number)
                ages.append(shown.age)
                assert shown.picture[0, 0, 0] == shown.number, "its own picture"
        assert live.wait(after=58, timeout=5) is not None, "the last frame is answered"
    counts = live.counts
    assert numbers == sorted(numbers) and len(numbers) > 3
    assert counts.dropped > counts.shown, "five frames come while one is answered"
    assert ended(live) == counts.submitted == 60 and counts.late == counts.lost == 0
    # A queue would let the age grow with every frame, to a second and more here.
    assert np.median(ages) < 0.3


def test_a_frame_waits_for_no_other_where_the_server_is_quick(client, fake):
    with LiveSession(client, prompt="red", same_within=0) as live:
        for k in range(10):
            live.submit(frame(k))
            assert live.wait(after=k - 1, timeout=5) is not None
        assert live.counts.shown == 10 and live.counts.dropped == 0


@pytest.mark.parametrize("allowed", [1, 3])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_more_frames_are_sent_at_once_only_where_the_server_takes_them_side_by_side(
    client, monkeypatch, allowed, side_by_side
):
    at_once, seen, lock, real = 0, [], threading.Lock(), client.infer
    # A queue, as a server has one; a lock may let the same thread in again and again.
    server = ThreadPoolExecutor(allowed if side_by_side else 1)
    # Fewer than usual, for a short test; enough that a busy machine's hiccups decide nothing.
    monkeypatch.setattr(pace, "FIRST", 6)
    monkeypatch.setattr(pace, "TRIED", 9)

    def slow(*arguments, **named):
        nonlocal at_once
        with lock:
            at_once += 1
            seen.append(at_once)
        try:
            server.submit(time.sleep, 0.1).result()
            return real(*arguments, **named)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(client, "infer", slow)
    session = LiveSession(client, prompt="red", same_within=0, most_at_once=allowed)
    with server, session as live:
        for k in range(350):
            live.submit(frame(k % 256))
            time.sleep(0.01)
    last = seen[-10:]
    assert max(seen) <= allowed
    assert max(last) == (allowed if side_by_side else 1)


def test_another_garment_is_worn_from_the_next_frame_on(client, fake):
    with LiveSession(client, prompt="red", same_within=0) as live:
        for k in range(3):
            live.submit(frame(k))
            live.wait(after=k - 1, timeout=5)
        live.wear(frame(200), "blue", "dress")
        number = live.submit(frame(9))
        assert live.wait(after=number - 1, timeout=5) is not None
    worn = [(r.prompt, r.category, r.garment.shape[1]) for r in fake.worn()]
    assert worn == 3 * [("red", "upper", 1)] + [("blue", "dress", SIZE[0])]
    with LiveSession(client, prompt="red") as live, pytest.raises(errors.NothingToWear):
        live.wear()


def test_a_frame_without_a_person_is_shown_as_it_was(client, fake):
    fake.fail = (grpc.StatusCode.INTERNAL, "message: [NO_PERSON] person: nobody")
    with LiveSession(client, prompt="red", same_within=0) as live:
        live.submit(frame(7))
        shown = live.wait(timeout=5)
        assert shown is not None and not shown.dressed
        assert isinstance(shown.problem, errors.NoPersonFound)
        assert np.array_equal(shown.picture, frame(7))
        fake.fail = None
        live.submit(frame(8))
        shown = live.wait(after=0, timeout=5)
        assert shown is not None and shown.dressed


def test_late_answers_are_thrown_away(client, fake):
    client.check()
    with LiveSession(client, prompt="red", same_within=0, deadline=0.8) as live:
        live.submit(frame(1))
        assert live.wait(timeout=5) is not None
        fake.delay = 1.5
        live.submit(frame(2))
        assert live.wait(after=0, timeout=2.0) is None
        assert live.counts.late == 1 and live.latest().number == 0
        assert live.latency > 0.15, "what comes too late is learned from too"
        fake.delay = 0.0
        time.sleep(0.5)  # the server ends what it began
        live.submit(frame(3))
        assert live.wait(after=1, timeout=5) is not None


def test_an_old_frame_is_not_even_sent(client, fake):
    with LiveSession(client, prompt="red", deadline=0.2) as live:
        live.submit(frame(1), captured=time.monotonic() - 1)
        assert live.wait(timeout=0.3) is None and live.counts.late == 1
    assert fake.requests == []


def workers() -> int:
    return sum(thread.name.startswith("tryon-live") for thread in threading.enumerate())


def test_a_session_lives_through_a_restart():
    with serve(FakeTriton()) as (_, url):
        client = TryOnClient(url)
        live = LiveSession(client, prompt="red", same_within=0)
        live.submit(frame(1))
        assert live.wait(timeout=5) is not None
    with client, live:
        for k in range(10):
            live.submit(frame(10 + k))
            time.sleep(0.05)
        assert isinstance(live.problem, errors.ServerUnavailable)
        assert live.counts.lost >= 1 and live.latest().number == 0
        with serve(FakeTriton(), port=int(url.rpartition(":")[2])):
            began = time.monotonic()
            while live.latest().number == 0 and time.monotonic() - began < 20:
                live.submit(frame(20))
                time.sleep(0.02)
            assert live.latest().number > 0 and live.problem is None
    assert ended(live) == live.counts.submitted


def test_a_server_that_fails_is_no_frame_shown(client, fake):
    fake.fail = (grpc.StatusCode.INTERNAL, "out of memory")
    with LiveSession(client, prompt="red", same_within=0, most_at_once=1) as live:
        live.submit(frame(1))
        assert live.wait(timeout=0.5) is None
        assert live.counts.lost == 1 and live.problem is not None
        fake.fail = None
        live.submit(frame(2))
        assert live.wait(timeout=5) is not None and live.problem is None


def test_a_closed_client_hangs_nobody(client):
    with LiveSession(client, prompt="red", same_within=0, most_at_once=1) as live:
        live.submit(frame(1))
        assert live.wait(timeout=5) is not None
        client.close()
        live.submit(frame(3))
        assert live.wait(after=0, timeout=1.0) is None
        assert live.counts.lost == 1 and "closed" in str(live.problem)


def test_a_frame_may_be_overwritten_after_it_was_handed_over(client, fake):
    fake.delay = 0.1
    with LiveSession(client, prompt="red", same_within=0, most_at_once=1) as live:
        buffer = frame(50)
        for level in (50, 60):
            buffer[:] = level
            live.submit(buffer)
        buffer[:] = 0
        shown = live.wait(after=0, timeout=5)
        assert shown is not None and shown.picture[0, 0, 0] == 60


def test_closing_leaves_no_thread(client):
    live = LiveSession(client, prompt="red", most_at_once=3)
    assert workers() == 3
    live.close()
    assert workers() == 0
    with pytest.raises(errors.InvalidRequest, match="closed"):
        live.submit(frame())


@pytest.mark.parametrize(
    "wrong",
    [{"deadline": 0}, {"deadline": float("nan")}, {"most_at_once": 0}, {"same_within": -1},
     {"same_within": float("nan")}],
)  # fmt: skip
def test_settings_are_checked(client, wrong):
    with pytest.raises(errors.InvalidRequest):
        LiveSession(client, prompt="red", **wrong)


def test_what_is_worn_is_sent_once(client, fake):
    with LiveSession(client, frame(200), "blue", same_within=0) as live:
        for k in range(6):
            live.submit(frame(k))
            assert live.wait(after=k - 1, timeout=5) is not None
    models = [r.model for r in fake.requests]
    assert models == ["wardrobe_add", "tryon_live"] + 5 * ["tryon_follow"]


def test_what_takes_longer_than_a_frame_may_is_encoded_once_all_the_same(client, fake):
    """Two garments, each of which takes longer to encode than a frame's deadline."""
    fake.add_delay = 0.4
    layers = [Garment(np.full((96, 96, 3), level, np.uint8)) for level in (20, 200)]
    with LiveSession(client, layers=layers, deadline=0.3, same_within=0) as live:
        end, k = time.monotonic() + 10, 0
        while live.latest() is None and time.monotonic() < end:
            live.submit(frame(k % 200))
            k += 1
            time.sleep(0.02)
        shown = live.latest()
    assert shown is not None and shown.dressed
    assert sum(r.model == "wardrobe_add" for r in fake.requests) == 2


def test_a_garment_that_the_server_forgot_is_added_again(client, fake):
    with LiveSession(client, prompt="blue", same_within=0) as live:
        for k in range(2):
            live.submit(frame(k))
            assert live.wait(after=k - 1, timeout=5) is not None
            fake.kept.clear()
        assert live.counts.lost == 0 and live.problem is None
    assert [r.model for r in fake.requests].count("wardrobe_add") == 2


@pytest.mark.parametrize("away", [False, True])
def test_a_doubtful_picture_is_shown_live_with_the_wardrobe_and_without(fake, away):
    fake.wardrobe_away = away
    with TryOnClient(fake.url, least_confidence=0.9) as strict, \
            LiveSession(strict, prompt="red") as live:  # fmt: skip
        live.submit(frame(50))
        shown = live.wait(timeout=5)
        assert shown is not None and shown.dressed and shown.problem is None


def test_garments_travel_along_while_the_wardrobe_is_away(client, fake, monkeypatch):
    monkeypatch.setattr("tryon_client.live._WITHOUT_WARDROBE", 2.0)
    fake.wardrobe_away = True
    layers = [Garment(prompt="jeans", category="lower"), Garment(frame(9), category="upper")]
    with LiveSession(client, layers=layers, same_within=0) as live:
        for k in range(2):
            live.submit(frame(50 + k))
            assert live.wait(after=k - 1, timeout=5).dressed
        assert [r.category for r in fake.worn()] == 2 * ["lower", "upper"]
        assert [r.model for r in fake.requests].count("wardrobe_add") == 1, "not asked every time"
        fake.wardrobe_away = False
        began = time.monotonic()
        while len(fake.kept) < 2 and time.monotonic() - began < 20:
            number = live.submit(frame(60))
            assert live.wait(after=number - 1, timeout=5).dressed
            time.sleep(0.02)
        assert live.counts.lost == 0
    assert fake.requests[-1].model in ("tryon_live", "tryon_follow")


def test_layers_are_put_on_in_their_order(client, fake):
    jeans, top = Garment(prompt="jeans", category="lower"), Garment(prompt="a red top")
    with LiveSession(client, layers=[jeans, top], same_within=0) as live:
        live.submit(frame(50))
        assert live.wait(timeout=5).dressed
        live.wear(layers=[top, jeans])
        live.submit(frame(60))
        assert live.wait(after=0, timeout=5).dressed
        with pytest.raises(errors.InvalidRequest, match="layers"):
            live.wear(prompt="red", layers=[top])
        with pytest.raises(errors.InvalidRequest, match="alone"):
            live.wear(size=2, layers=[top])
    assert [r.prompt for r in fake.worn()] == ["jeans", "a red top", "a red top", "jeans"]
    assert len(fake.kept) == 2 and [r.model for r in fake.requests].count("wardrobe_add") == 2


def test_the_last_frame_steadies_the_next(client, fake):
    with LiveSession(client, prompt="red", same_within=0) as live:
        began = time.monotonic()
        for k, at in enumerate((0.0, 0.1, 0.15)):
            fake.tracked = np.full(10, k + 1, np.float32)
            live.submit(frame(k), captured=began + at)
            assert live.wait(after=k - 1, timeout=5) is not None
        fake.gone, fake.fail = True, (grpc.StatusCode.INTERNAL, "x: [NO_PERSON] person: nobody")
        live.submit(frame(9), captured=began + 0.2)
        assert live.wait(after=2, timeout=5) is not None
        fake.gone, fake.fail = False, None
        live.submit(frame(20), captured=began + 0.25)
        assert live.wait(after=3, timeout=5).dressed
    sent = [r for r in fake.requests if r.model in LIVE]
    states = [float(r.track[0, 0]) for r in sent]
    assert states == [0, 1, 2, 3, 3, 0], "whoever comes after nobody is somebody else"
    follow = [r.model == "tryon_follow" for r in sent]
    assert follow == [False, True, True, True, False, False], "who is lost is looked for"
    assert np.allclose([r.elapsed[0, 0] for r in sent[:3]], [0, 0.1, 0.05], atol=1e-4)
    assert sent[5].elapsed[0, 0] == 0


def test_nobody_is_followed_over_a_gap(client, fake):
    with LiveSession(client, prompt="red", same_within=0, deadline=9) as live:
        began = time.monotonic()
        for k, at in enumerate((-2.0, -1.5, -0.3)):  # of a camera that hung
            live.submit(frame(k), captured=began + at)
            live.wait(after=k - 1, timeout=5)
    sent = [(r.model, round(float(r.elapsed[0, 0]), 1)) for r in fake.requests if r.model in LIVE]
    assert sent[-1] == ("tryon_live", 1.2)


def test_a_frame_like_the_last_is_answered_from_it(client, fake):
    noise = np.random.default_rng(0)

    def still(level: int) -> np.ndarray:
        return np.clip(noise.normal(level, 2, (64, 64, 3)), 0, 255).astype(np.uint8)

    with LiveSession(client, prompt="red") as live:
        live.submit(still(100))
        first = live.wait(timeout=5)
        for k in range(1, 5):
            live.submit(still(100))
            shown = live.wait(after=k - 1, timeout=5)
            assert shown.number == k and shown.dressed and shown.picture is first.picture
        moved = still(100)
        moved[16:32, 16:32] += 4  # one block, by little
        live.submit(moved)
        assert live.wait(after=4, timeout=5).picture is not first.picture
        live.wear(prompt="blue")
        live.submit(moved)
        assert live.wait(after=5, timeout=5) is not None
        counts = live.counts
    assert counts.repeated == 4 and counts.shown == 7 == ended(live)
    assert [r.prompt for r in fake.worn()] == ["red", "red", "blue"]


def test_slow_change_does_not_creep_by(client, fake):
    with LiveSession(client, prompt="red", same_within=3.5) as live:
        for k in range(12):
            live.submit(frame(50 + k))
            shown = live.wait(after=k - 1, timeout=5)
            assert abs(int(shown.picture[0, 0, 0]) - (50 + k)) <= 3
        assert live.counts.repeated == 9, "each fourth frame is sent"


def test_every_frame_is_sent_where_none_may_be_repeated(client, fake):
    with LiveSession(client, prompt="red", same_within=0) as live:
        for k in range(3):
            live.submit(frame(50))
            assert live.wait(after=k - 1, timeout=5) is not None
        assert live.counts.repeated == 0
    assert len(fake.worn()) == 3


def test_each_frame_s_way_is_told(client, fake):
    ways = []
    began = time.monotonic()
    with LiveSession(client, prompt="red", on_frame=ways.append) as live:
        live.submit(frame(50), captured=began - 0.02)
        assert live.wait(timeout=5) is not None
        live.submit(frame(50))
        assert live.wait(after=0, timeout=5) is not None
        fake.fail = (grpc.StatusCode.INTERNAL, "message: [NO_PERSON] person: nobody")
        live.submit(frame(90))
        assert live.wait(after=1, timeout=5) is not None
        fake.fail = None
        live.submit(frame(130), captured=began - 10)
        end = time.monotonic() + 5
        while len(ways) < 4 and time.monotonic() < end:
            time.sleep(0.01)
    ways.sort(key=lambda way: way.number)
    assert [way.outcome for way in ways] == ["shown", "repeated", "undressed", "late"]
    assert [way.number for way in ways] == [0, 1, 2, 3]
    first = ways[0]
    assert [span.name for span in first.spans] == [
        "capture", "wait", "same", "encode", "request", "finish",
    ]  # fmt: skip
    assert first.start == began - 0.02 and first.find("capture").milliseconds >= 20
    for before, after in zip(first.spans, first.spans[1:], strict=False):
        assert before.end <= after.start + 2e-3, "one after the other"
    assert first.end <= time.monotonic() and first.milliseconds > 20
    assert [span.name for span in ways[1].spans] == ["capture", "wait", "same"]


def test_who_listens_and_fails_stops_no_session(client, caplog):
    def fails(way):
        raise ValueError("a bug of theirs")

    with LiveSession(client, prompt="red", on_frame=fails) as live:
        for k in range(2):
            live.submit(frame(50 * k))
            assert live.wait(after=k - 1, timeout=5) is not None
    assert "a bug of theirs" in caplog.text
