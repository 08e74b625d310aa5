"""The wardrobe in a real tritonserver: `tryon`'s pictures, kept, forgotten, added again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from redis_server import MISSING, PROGRAM, redis_server

from deploy.embedded import EmbeddedServer
from export.samples import samples
from tryon import contract
from tryon.wardrobe import ident
from tryon_client import (
    Garment,
    NoPersonFound,
    OutdatedGarment,
    SeveralPeople,
    TryOnClient,
    TryOnError,
    UnknownGarment,
    Wardrobe,
    WardrobeAway,
)
from tryon_client.live import LiveSession, Shown
from tryon_client.wardrobe import Track

SAMPLES = {sample.name: sample for sample in samples()}
SAMPLE = SAMPLES["photo, upper"]


@pytest.fixture(scope="module")
def client(server):
    with TryOnClient(server.grpc_url, timeout=60) as client:
        yield client


@pytest.fixture
def wardrobe(client):
    return Wardrobe(client)


def garment_of(sample) -> Garment:
    return Garment(sample.garment, sample.prompt, sample.category)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_picture_is_tryon_s(client, wardrobe, name):
    sample = SAMPLES[name]
    expected = client.try_on(sample.person, sample.garment, sample.prompt, sample.category)
    found = wardrobe.try_on(sample.person, garment_of(sample))
    assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))
    assert np.array_equal(found.mask, expected.mask) and found.confidence == expected.confidence


def test_a_garment_is_encoded_once(client, wardrobe):
    garment = garment_of(SAMPLE)
    wardrobe.try_on(SAMPLE.person, garment)
    counted = statistics(client)
    for _ in range(3):
        wardrobe.try_on(SAMPLE.person, garment)
    after = statistics(client)
    ran = {name: after[name] - counted.get(name, 0) for name in after}
    live = next(e for e in contract.ENSEMBLES if e.name == contract.LIVE)
    assert {n for n, count in ran.items() if count} == {live.name, *(s.model for s in live.steps)}
    assert set(ran.values()) == {0, 3}


def test_who_is_followed_is_dressed_without_waiting_for_the_detector(client, wardrobe):
    """As the steps in this process have it; and who is gone is looked for."""
    garment = garment_of(SAMPLE)
    first = wardrobe.wear(SAMPLE.person, [garment], captured=1.0)
    moved, counted = np.roll(SAMPLE.person, 6, axis=1), statistics(client)
    found = wardrobe.wear(moved, [garment], captured=1.1, before=first.track, follow=True)
    after = statistics(client)
    ran = {name for name in after if after[name] > counted.get(name, 0)}
    follow = contract.ensemble(contract.FOLLOW)
    assert ran == {follow.name, *(s.model for s in follow.steps)}
    steadied = wardrobe.wear(moved, [garment], captured=1.1, before=first.track)
    assert np.array_equal(found.track.state, steadied.track.state)
    outside = found.result.mask == 0
    assert np.array_equal(np.asarray(found.result.image)[outside], moved[outside])
    shares = [(one.result.mask != 0).mean() for one in (found, steadied)]
    assert shares[0] == pytest.approx(shares[1], rel=0.1)
    astray = Track(first.track.state + np.array([0.4] * 4 + [0] * 6, np.float32), 1.0)
    again = wardrobe.wear(moved, [garment], captured=1.1, before=astray, follow=True)
    alone = wardrobe.wear(moved, [garment])
    assert np.array_equal(np.asarray(again.result.image), np.asarray(alone.result.image))


def statistics(client: TryOnClient) -> dict[str, int]:
    """Requests that each model has answered; Triton counts one a little after its answer is out."""
    from tryon_client import wire

    seen: list[dict[str, int]] = []
    while len(seen) < 4 or seen[-4:] != [seen[-1]] * 4:
        told = client._stub.ModelStatistics(wire.statistics_request(), timeout=10)
        seen.append({m.name: m.inference_stats.success.count for m in told.model_stats})
        time.sleep(0.05)
    return seen[-1]


def test_an_id_is_of_the_garment_and_of_the_networks(wardrobe, repository):
    version = ident.read_version(repository / "live_decode" / "1")
    assert version == ident.read_version(repository / "wardrobe_decode" / "1")
    name = wardrobe.add(garment_of(SAMPLE))
    assert name == wardrobe.add(garment_of(SAMPLE)) and name.startswith(version + "-")
    words = Garment(SAMPLE.garment, "in green", SAMPLE.category)
    assert wardrobe.add(words) != name
    outdated = f"{(int(version, 16) + 1) % 2**32:08x}{name[8:]}"
    with pytest.raises(OutdatedGarment, match="add the garment again"):
        wardrobe.try_on(SAMPLE.person, outdated)
    with pytest.raises(UnknownGarment, match="not kept"):
        wardrobe.try_on(SAMPLE.person, f"{version}-{'0' * 32}")
    with pytest.raises(UnknownGarment, match="no ID"):
        wardrobe.remove("shirt")


def test_listed_removed_and_added_again(client, wardrobe):
    garment = Garment(SAMPLE.garment, "a shirt that is removed", "upper")
    name = wardrobe.add(garment, SAMPLE.person.shape[:2])
    kept = wardrobe.kept()[0]
    assert (kept.id, kept.prompt, kept.category) == (name, "a shirt that is removed", "upper")
    assert kept.canvas in contract.CANVAS_SIZES and kept.bytes > 5e5
    assert abs(kept.added - time.time()) < 600
    first = wardrobe.try_on(SAMPLE.person, garment)
    assert [one.id for one in wardrobe.remove(name)] == [name] and wardrobe.remove(name) == []
    with pytest.raises(UnknownGarment):
        wardrobe.try_on(SAMPLE.person, name)
    again = wardrobe.try_on(SAMPLE.person, garment)
    assert np.array_equal(np.asarray(again.image), np.asarray(first.image))
    assert wardrobe.kept()[0].id == name


def test_frames_of_another_size_find_their_own_canvas(client, wardrobe):
    garment = Garment(SAMPLE.garment, "for two sizes", "upper")
    large = np.repeat(np.repeat(SAMPLE.person, 2, axis=0), 2, axis=1)[:1536]
    for person in (SAMPLE.person, large):
        expected = client.try_on(person, SAMPLE.garment, "for two sizes", "upper")
        found = wardrobe.try_on(person, garment)
        assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))
    kept = [one for one in wardrobe.kept() if one.prompt == "for two sizes"]
    assert len(kept) == 2 and len({one.id for one in kept}) == 1
    assert len({one.canvas for one in kept}) == 2


def test_layers_are_two_try_ons(client, wardrobe):
    lower = SAMPLES["photo, lower"]
    person = lower.person
    trousers = client.try_on(person, lower.garment, "", "lower")
    expected = client.try_on(trousers.image, SAMPLE.garment, "", "upper")
    jeans, shirt = Garment(lower.garment, category="lower"), Garment(SAMPLE.garment)
    found = wardrobe.try_on(person, jeans, shirt)
    assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))
    assert np.array_equal(found.mask, np.maximum(trousers.mask, expected.mask))
    outside = found.mask == 0
    assert np.array_equal(np.asarray(found.image)[outside], person[outside])


def test_a_standing_person_s_crop_comes_to_rest(wardrobe):
    """Where a frame's person was comes back, and steadies the next frame's."""
    garment = garment_of(SAMPLE)
    first = wardrobe.wear(SAMPLE.person, [garment], captured=1.0)
    moved = np.roll(SAMPLE.person, 6, axis=1)
    alone = wardrobe.wear(moved, [garment]).track.state
    after = wardrobe.wear(moved, [garment], captured=1.0 + 1 / 30, before=first.track).track.state
    side = max(SAMPLE.person.shape[:2])
    whole = (alone[0] - first.track.state[0]) * side
    part = (after[0] - first.track.state[0]) * side
    assert 3 < whole < 9, "the person went 6 pixels to the right"
    assert 0 < part < 0.6 * whole
    assert np.array_equal(first.track.state[5:], np.zeros(5)) and after[5] > 0


def test_people_are_refused_as_ever(wardrobe):
    name = wardrobe.add(garment_of(SAMPLE))
    with pytest.raises(NoPersonFound):
        wardrobe.try_on(np.full((512, 384, 3), 90, np.uint8), name)
    with pytest.raises(SeveralPeople):
        wardrobe.try_on(np.hstack([SAMPLE.person, SAMPLE.person])[:512, :768], garment_of(SAMPLE))


def test_the_oldest_is_forgotten_and_a_restart_forgets_nothing(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("TRYON_WARDROBE_MEGABYTES", "6")
    place = str(tmp_path / "wardrobe")
    with EmbeddedServer(repository, wardrobe=place) as server, \
            TryOnClient(server.grpc_url, timeout=60) as client:  # fmt: skip
        wardrobe = Wardrobe(client)
        garments = [Garment(SAMPLE.garment, f"shirt {k}") for k in range(9)]
        names = [wardrobe.add(g, SAMPLE.person.shape[:2]) for g in garments]
        kept = wardrobe.kept()
        assert 1 < len(kept) < 9 and [k.id for k in kept] == names[::-1][: len(kept)]
        assert sum(one.bytes for one in kept) <= 6 * 2**20
        expected = wardrobe.try_on(SAMPLE.person, garments[0])  # forgotten, and added again
        assert wardrobe.kept()[0].id == names[0]
    with EmbeddedServer(repository, wardrobe=place) as server, \
            TryOnClient(server.grpc_url, timeout=60) as client:  # fmt: skip
        found = Wardrobe(client).try_on(SAMPLE.person, names[0])
        assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))


def test_without_a_store_tryon_serves_all_the_same(repository, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with EmbeddedServer(repository, wardrobe=str(tmp_path / "file")) as server, \
            TryOnClient(server.grpc_url, timeout=60) as client:  # fmt: skip
        expected = client.try_on(SAMPLE.person, SAMPLE.garment)
        with pytest.raises(WardrobeAway, match="TRYON_WARDROBE"):
            Wardrobe(client).add(garment_of(SAMPLE))
        with LiveSession(client, SAMPLE.garment, deadline=30) as live:
            live.submit(SAMPLE.person)
            shown = live.wait(timeout=30)
        assert shown is not None and np.array_equal(shown.picture, np.asarray(expected.image))


@contextmanager
def camera(live: LiveSession, person: np.ndarray, rate: float = 10.0) -> Iterator[None]:
    """Submits frames to a session, whatever else happens, until it is left."""
    over = threading.Event()

    def submit() -> None:
        while not over.wait(1 / rate):
            live.submit(person)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def dressed_since(live: LiveSession, since: float, by_store: bool = False) -> Shown:
    """The first picture that is seen of a frame taken since then (`time.monotonic()`); `by_store`:
    and in a garment that the store keeps, which alone tells the pose."""
    last, end = -1, time.monotonic() + 30
    while time.monotonic() < end:
        shown = live.wait(after=last, timeout=1)
        if shown is not None:
            last = shown.number
            stored = shown.pose is not None
            if shown.captured > since and shown.dressed and (stored or not by_store):
                return shown
    raise AssertionError(f"nobody was dressed: {live.problem}, {live.counts}")


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_servers_share_a_redis_and_outlive_it(repository, tmp_path):
    """A live session goes on through its kill and its return. How long each took is printed, and
    asserted to be within 30 s alone: the machine may be busy."""
    with redis_server(tmp_path) as redis, \
            EmbeddedServer(repository, wardrobe=redis.url) as one, \
            EmbeddedServer(repository, wardrobe=redis.url) as two, \
            TryOnClient(one.grpc_url, timeout=60) as first, \
            TryOnClient(two.grpc_url, timeout=60) as second:  # fmt: skip
        expected = first.try_on(SAMPLE.person, SAMPLE.garment, "", "upper")
        name = Wardrobe(first).add(Garment(SAMPLE.garment), SAMPLE.person.shape[:2])
        found = Wardrobe(second).try_on(SAMPLE.person, name)
        assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))
        assert [one.id for one in Wardrobe(second).kept()] == [name]
        with LiveSession(first, SAMPLE.garment, deadline=30, same_within=0) as live, \
                camera(live, SAMPLE.person):  # fmt: skip
            dressed_since(live, 0.0, by_store=True)
            redis.kill()
            killed = time.monotonic()
            with pytest.raises(WardrobeAway, match=r"redis://127\.0\.0\.1:\d+/0"):
                Wardrobe(second).try_on(SAMPLE.person, name)
            for _ in range(2):  # dressed all the same: the garment travels along
                shown = dressed_since(live, killed)
                assert shown.pose is None, "not by a store that is away"
                killed = shown.captured
            redis.start()
            began, lost = time.monotonic(), live.counts.lost
            any_picture = dressed_since(live, began)
            by_store = dressed_since(live, began, by_store=True)
            while time.monotonic() - began < 30:
                try:
                    found = Wardrobe(second).try_on(SAMPLE.person, name)
                    break
                except TryOnError:
                    time.sleep(0.1)
            assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))
            counts = live.counts
            print(f"Redis: dressed {any_picture.answered - began:.2f} s after its return, by the "
                  f"store again {by_store.answered - began:.2f} s; frames lost: {lost} while it "
                  f"was away, {counts.lost} in all, of {counts.submitted}")  # fmt: skip
            assert counts.lost == 0


MARKED = slice(8, 12), slice(4, 68)
"""Rows and columns, beside the person, of the pixels that a frame is told by."""


def marks(pixels: np.ndarray) -> list[bytes]:
    """What of a frame is looked for: a row of its marked pixels, as they came, turned round (BGR),
    and each colour alone."""
    row = pixels[MARKED][0]
    return [row.tobytes(), row[:, ::-1].tobytes(), *(row[:, k].tobytes() for k in range(3))]


def told_in(path: Path, wanted: list[bytes]) -> bool:
    """Whether any of these bytes are in a file; not where the file has gone meanwhile."""
    longest, rest = max(map(len, wanted)), b""
    try:
        with path.open("rb") as file:
            while part := file.read(2**24):
                rest += part
                if any(mark in rest for mark in wanted):
                    return True
                rest = rest[-longest:]
    except FileNotFoundError:
        pass
    return False


def test_nothing_of_a_frame_is_left_by_the_server(repository, tmp_path, monkeypatch):
    """A frame with pixels of chance goes through both live ensembles, and is refused, too: neither
    the server's log nor its wardrobe nor another file where it may write has those pixels, while it
    runs and after it. Its steps hand frames over in memory that they share, which has names in
    /dev/shm: nothing of that is left after it.
    """
    for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    frame, shared = SAMPLE.person.copy(), Path("/dev/shm")
    chance = np.random.default_rng()  # others may run this very test at the same time
    frame[MARKED] = chance.integers(0, 256, frame[MARKED].shape, dtype=np.uint8)
    wanted = marks(frame)

    def with_marks(*paths: Path) -> list[Path]:
        return [path for path in paths if path.is_file() and told_in(path, wanted)]

    def on_disk() -> list[Path]:
        return [*tmp_path.rglob("*"), *Path.cwd().iterdir()]

    (tmp_path / "control").write_bytes(bytes(2**24 - 7) + frame.tobytes())
    assert with_marks(*on_disk()) == [tmp_path / "control"], "they would be found"
    (tmp_path / "control").unlink()
    garment, log = garment_of(SAMPLE), tmp_path / "server.log"
    before = set(shared.iterdir())
    with EmbeddedServer(repository, wardrobe=str(tmp_path / "wardrobe"), log=log) as server, \
            TryOnClient(server.grpc_url, timeout=60) as client:  # fmt: skip
        wardrobe, counted = Wardrobe(client), statistics(client)
        first = wardrobe.wear(frame, [garment], captured=1.0)
        after = wardrobe.wear(frame, [garment], captured=1.1, before=first.track, follow=True)
        for worn in (first, after):
            assert np.array_equal(np.asarray(worn.result.image)[MARKED], frame[MARKED]), "raw"
        nobody = np.full_like(frame, 90)
        nobody[MARKED] = frame[MARKED]
        with pytest.raises(NoPersonFound):
            wardrobe.wear(nobody, [garment])
        with pytest.raises(UnknownGarment):
            wardrobe.wear(frame, [f"{wardrobe.known(garment)[:8]}-{'0' * 32}"])
        ran = {name for name, count in statistics(client).items() if count > counted.get(name, 0)}
        assert {contract.LIVE, contract.FOLLOW} <= ran
        assert with_marks(*on_disk()) == []
        held = with_marks(*set(shared.iterdir()) - before)
        print(f"regions of shared memory that hold the frame while the server runs: {len(held)}")
    files = [path for path in on_disk() if path.is_file()]
    assert log in files and any(path.parent.name == "wardrobe" for path in files), "looked at"
    assert with_marks(*files) == [] and with_marks(*shared.iterdir()) == []
    assert not list(shared.glob(f"{server._prefix}*"))
