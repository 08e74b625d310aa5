"""The wardrobe in a real tritonserver: `tryon`'s pictures, kept, forgotten, added again."""

from __future__ import annotations

import time

import numpy as np
import pytest
from redis_server import MISSING, PROGRAM, redis_server

from deploy.embedded import EmbeddedServer
from export.samples import samples
from tryon import contract
from tryon.wardrobe import ident
from tryon_client import (
    Garment,
    OutdatedGarment,
    TryOnClient,
    TryOnError,
    UnknownGarment,
    Wardrobe,
    WardrobeAway,
)
from tryon_client.live import LiveSession
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
    from tryon_client import NoPersonFound, SeveralPeople

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


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_servers_share_a_redis_and_outlive_it(repository, tmp_path):
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
        with LiveSession(first, SAMPLE.garment, deadline=30, same_within=0) as live:
            number = live.submit(SAMPLE.person)
            assert live.wait(after=number - 1, timeout=30) is not None
            redis.kill()
            with pytest.raises(WardrobeAway, match=r"redis://127\.0\.0\.1:\d+/0"):
                Wardrobe(second).try_on(SAMPLE.person, name)
            for _ in range(2):  # dressed all the same: the garment travels along
                number = live.submit(SAMPLE.person)
                shown = live.wait(after=number - 1, timeout=30)
                assert shown is not None and shown.dressed
            redis.start()
            began = time.monotonic()
            while time.monotonic() - began < 30:
                try:
                    found = Wardrobe(second).try_on(SAMPLE.person, name)
                    break
                except TryOnError:
                    time.sleep(0.1)
            assert np.array_equal(np.asarray(found.image), np.asarray(expected.image))
            assert live.counts.lost == 0
