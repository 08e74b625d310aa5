"""The wardrobe's stores, and the steps that name, keep and find garments."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from redis_server import MISSING, PROGRAM, redis_server

from export.repository import source_hashes
from tryon import contract, errors
from tryon.steps import wardrobe as steps
from tryon.wardrobe import ident, shared
from tryon.wardrobe.features import pack, unpack
from tryon.wardrobe.store import Store, StoreError, open_store

VERSION = "0123abcd"
PAGE = 4096


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip(MISSING)
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["lmdb", "redis"])
def address(request, tmp_path):
    """Of an empty store of each kind."""
    if request.param == "lmdb":
        return str(tmp_path / "wardrobe")
    url = request.getfixturevalue("redis_url")
    import redis

    redis.Redis.from_url(url).flushall()
    return url


@pytest.fixture
def store(address):
    store = open_store(address, 10 * PAGE)
    yield store
    store.close()


def keys(store: Store) -> list[str]:
    return [entry.key for entry in store.entries()]


def test_what_is_put_is_there_and_elsewhere_too(store, address):
    value = bytes(range(256)) * 10
    store.put("a", value, "what a is")
    assert store.get("a") == value and store.get("b") is None
    (entry,) = store.entries()
    assert (entry.key, entry.size, entry.about) == ("a", len(value), "what a is")
    assert 1.6e9 < entry.added < 1e10
    told = elsewhere(address, "print(store.get('a').hex()); store.put('b', b'theirs', 'b')")
    assert bytes.fromhex(told) == value, "another process reads it"
    assert store.get("b") == b"theirs" and keys(store) == ["a", "b"]


def test_the_oldest_goes_first(store):
    for name in "abc":
        store.put(name, bytes(3 * PAGE - 100), name)
    assert keys(store) == ["a", "b", "c"], "three of three pages fit into ten"
    assert store.get("a") is not None, "to be read makes nothing newer"
    store.put("d", bytes(3 * PAGE - 100), "d")
    assert keys(store) == ["b", "c", "d"] and store.get("a") is None
    store.put("b", b"again", "b")
    assert keys(store) == ["c", "d", "b"] and store.get("b") == b"again"
    store.put("e", bytes(6 * PAGE - 100), "e")
    assert keys(store) == ["d", "b", "e"]
    assert sum(entry.size for entry in store.entries()) <= 10 * PAGE


def test_what_is_too_large_is_refused_and_nothing_else_goes(store):
    store.put("a", b"a", "a")
    with pytest.raises(StoreError, match="TRYON_WARDROBE_MEGABYTES"):
        store.put("b", bytes(11 * PAGE), "b")
    assert keys(store) == ["a"]


def test_a_store_that_may_hold_less_now_lets_the_oldest_go(address):
    store = open_store(address, 10 * PAGE)
    for name in "abc":
        store.put(name, bytes(2 * PAGE - 100), name)
    store.close()
    store = open_store(address, 5 * PAGE)
    store.put("d", b"d", "d")
    assert keys(store) == ["b", "c", "d"]
    assert store.get("a") is None
    store.close()


def elsewhere(address: str, code: str) -> str:
    """What another process prints, whose `store` is this one too."""
    begin = f"from tryon.wardrobe.store import open_store; store = open_store({address!r}, 40960)\n"
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.strip()


def test_what_is_removed_is_gone_for_all(store, address):
    store.put("a", b"1", "one")
    store.put("b", b"2", "two")
    assert store.get("a") == b"1"
    assert elsewhere(address, "print(store.remove('a').about, store.remove('a'))") == "one None"
    assert store.get("a") is None, "not out of a copy of its own"
    assert store.remove("a") is None and keys(store) == ["b"]
    entry = store.remove("b")
    assert entry is not None and entry.about == "two" and keys(store) == []


def fill(address: str, number: int) -> None:
    store = open_store(address, 40 * PAGE)
    for k in range(20):
        store.put(f"{number}-{k}", bytes([number]) * (PAGE - 100), "x")
    store.close()


def test_several_processes_write_at_the_same_time(address):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=fill, args=(address, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    store = open_store(address, 40 * PAGE)
    found = store.entries()
    assert len(found) in (40, 41), "pages or bytes"
    assert len({entry.key for entry in found}) == len(found)
    for entry in found:
        value = store.get(entry.key)
        assert value is not None and set(value) == {int(entry.key[0])}
    store.close()


def test_a_wardrobe_outlives_a_process_that_is_killed(tmp_path):
    folder = str(tmp_path / "kept")
    code = (
        "import os, signal; from tryon.wardrobe.store import open_store\n"
        f"store = open_store({folder!r}, 2**20); store.put('a', b'kept', 'a')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    store = open_store(folder, 2**20)
    assert store.get("a") == b"kept"
    store.close()


def test_a_folder_that_is_none_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file.*TRYON_WARDROBE"):
        open_store(str(tmp_path / "file"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"kept.*TRYON_WARDROBE.*delete"):
        open_store(str(tmp_path / "kept"))
    with pytest.raises(StoreError, match="give a folder or redis://"):
        open_store("http://user:secret@host/")
    for wrong in ("0", "-1", "many", "1.5", "99999999999"):
        monkeypatch.setenv("TRYON_WARDROBE_MEGABYTES", wrong)
        with pytest.raises(StoreError, match=r"TRYON_WARDROBE_MEGABYTES.*MiB"):
            open_store(str(tmp_path / "other"))
    monkeypatch.setenv("TRYON_WARDROBE_MEGABYTES", "1")
    monkeypatch.setenv("TRYON_WARDROBE", str(tmp_path / "named"))
    store = open_store()
    store.put("a", bytes(900_000), "a")
    store.put("b", bytes(900_000), "b")
    assert keys(store) == ["b"] and (tmp_path / "named" / "data.mdb").is_file()
    store.close()


def test_a_redis_that_is_away_is_told_without_its_password():
    store = open_store("redis://someone:secret@127.0.0.1:9/0", PAGE)
    for call in (lambda: store.get("a"), lambda: store.put("a", b"", ""), store.entries,
                 lambda: store.remove("a")):  # fmt: skip
        with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:9/0 can't be used") as caught:
            call()
        assert "secret" not in str(caught.value)
    store.close()
    with pytest.raises(StoreError) as caught:
        open_store("redis://someone:secret@127.0.0.1:port/0")
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_a_redis_that_comes_back_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "PAUSE", 60.0)
    with redis_server(tmp_path) as server:
        store = open_store(server.url, 10 * PAGE)
        store.put("a", b"kept", "a")
        server.kill()
        with pytest.raises(StoreError, match="can't be used"):
            store.get("a")
        server.start()
        with pytest.raises(StoreError, match="can't be used"):
            store.get("a")  # not asked again at once
        monkeypatch.setattr(store, "_until", 0.0)  # after the pause
        assert store.get("a") == b"kept", "it had been told to save"
        store.close()


def test_who_can_not_be_reached_holds_up_one_frame_alone(monkeypatch):
    asked = []
    store = open_store("redis://127.0.0.1:9/0", PAGE)
    real = store._redis.get
    monkeypatch.setattr(store._redis, "get", lambda name: asked.append(name) or real(name))
    monkeypatch.setattr(shared, "PAUSE", 60.0)
    said = set()
    for _ in range(5):
        with pytest.raises(StoreError) as caught:
            store.get("a")
        said.add(str(caught.value))
    assert len(asked) == 1 and len(said) == 1
    store.close()


def test_a_process_keeps_no_more_of_a_redis_than_it_may(redis_url, monkeypatch):
    monkeypatch.setattr(shared, "REMEMBERED", 250)
    store = open_store(redis_url, 10 * PAGE)
    for name in "abcd":
        store.put(name, name.encode() * 100, name)
        assert store.get(name) == name.encode() * 100 == store.get(name)
    assert list(store._mine) == ["c", "d"] and store._size == 200
    store.put("d", b"new", "d")
    assert store.get("d") == b"new", "not the copy from before"
    store.close()


# ---- features and names ------------------------------------------------------------------------
def features(canvas=(384, 288), garment: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found = {}
    for tensor in contract.KEPT:
        shape = [4, *canvas] if tensor.name == "canvas" else tensor.shape
        found[tensor.name] = random.integers(0, 255, shape).astype(tensor.dtype)
    found["condition"] = np.array([0, 1, 0, garment, not garment], np.float32)
    return found


def test_features_come_back_as_they_were():
    given = features()
    value = pack(given)
    found = unpack(value)
    assert set(found) == {t.name for t in contract.KEPT}
    for name, array in given.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    assert len(value) < 1.05 * sum(array.nbytes for array in given.values())
    for wrong in (b"", value[:-1], value[: len(value) // 2], b"x" * 1000):
        assert unpack(wrong) is None
    assert unpack(pack(features((10, 10)))) is None
    assert unpack(pack({**given, "z_text": given["z_text"].astype(np.float64)})) is None
    assert unpack(pack({**given, "z_text": given["z_text"][:5]})) is None


def test_kept_is_all_that_the_generator_needs_beside_the_person():
    generator = {t.name for t in contract.model("generator").inputs}
    frame = {t.name for name in ("live_crop", "pose") for t in contract.model(name).outputs}
    assert generator - frame == {t.name for t in contract.KEPT}


def test_an_id_is_of_all_that_makes_a_garment():
    cloth = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    same = ident.garment_id(VERSION, cloth, "red", "upper")
    assert same == ident.garment_id(VERSION, cloth.copy(), "red", "upper")
    assert ident.check_id(same.encode(), VERSION) == same
    other = cloth.copy()
    other[5, 5, 1] += 1
    others = {
        ident.garment_id(VERSION, other, "red", "upper"),
        ident.garment_id(VERSION, cloth.reshape(32, 128, 3), "red", "upper"),
        ident.garment_id(VERSION, cloth, "blue", "upper"),
        ident.garment_id(VERSION, cloth, "red", "lower"),
        ident.garment_id("0123abce", cloth, "red", "upper"),
    }
    assert len(others | {same}) == 6
    with pytest.raises(errors.OutdatedGarment, match="add the garment again"):
        ident.check_id(same.encode(), "ffffffff")
    for wrong in (b"", b"x", same.encode() + b"0", "é".encode(), b"../../etc", b"\0" * 600):
        with pytest.raises(errors.UnknownGarment, match="no ID"):
            ident.check_id(wrong)


def test_a_version_is_of_weights_code_and_target_but_not_of_a_gpu():
    sources = source_hashes()
    version = ident.features_version("cpu", sources)
    assert version == ident.features_version("cpu", {**sources, "engines": "89"})
    others = {ident.features_version("cpu", {**sources, k: "other"}) for k in sources}
    others.add(ident.features_version("tensorrt", sources))
    assert version not in others and len(others) == len(sources) + 1


def test_a_missing_version_names_the_command(tmp_path):
    with pytest.raises(ValueError, match=r"wardrobe_version is missing.*make export"):
        ident.read_version(tmp_path)
    (tmp_path / ident.VERSION_FILE).write_text("../../x")
    with pytest.raises(ValueError, match="make export"):
        ident.read_version(tmp_path)


# ---- steps --------------------------------------------------------------------------------------
@pytest.fixture
def shelf(tmp_path):
    return steps.Shelf(lambda: open_store(str(tmp_path / "wardrobe"), 2**23))


def keep(shelf, name: str, given: dict[str, np.ndarray], prompt: bytes = b"red") -> None:
    (kept,) = steps.wardrobe_keep(name.encode(), prompt,
                                  *(given[t.name] for t in contract.KEPT), shelf=shelf)  # fmt: skip
    assert list(kept) == [name.encode()]


NAME = f"{VERSION}-{'0' * 32}"
PERSON = np.full((512, 384, 3), 100, np.uint8)


def test_a_frame_finds_its_garment(shelf):
    given = features()
    keep(shelf, NAME, given)
    found = steps.live_decode(PERSON, NAME.encode(), shelf, VERSION)
    assert np.array_equal(found[0], PERSON) and found[1].shape == (224, 160, 3)
    for tensor, array in zip(contract.KEPT, found[2:], strict=True):
        assert np.array_equal(array, given[tensor.name])


def test_what_is_not_kept_is_told(shelf):
    with pytest.raises(errors.UnknownGarment, match=r"512x384.*add the garment again"):
        steps.live_decode(PERSON, NAME.encode(), shelf, VERSION)
    keep(shelf, NAME, features())
    large = np.full((1024, 768, 3), 100, np.uint8)
    with pytest.raises(errors.UnknownGarment, match="1024x768"):
        steps.live_decode(large, NAME.encode(), shelf, VERSION)
    with pytest.raises(errors.OutdatedGarment):
        steps.live_decode(PERSON, NAME.encode(), shelf, "ffffffff")
    with pytest.raises(errors.UnknownGarment, match="no ID"):
        steps.live_decode(PERSON, b"", shelf, VERSION)
    with pytest.raises(errors.ImageTooSmall):
        steps.live_decode(PERSON[:10], NAME.encode(), shelf, VERSION)


def test_words_alone_are_worn_at_every_size(shelf):
    keep(shelf, NAME, features(garment=False))
    large = np.full((1024, 768, 3), 100, np.uint8)
    assert steps.live_decode(large, NAME.encode(), shelf, VERSION)[0].shape == (1024, 768, 3)


def test_a_damaged_value_is_as_good_as_none(shelf):
    keep(shelf, NAME, features())
    with shelf.store() as store:
        store.put(f"{NAME}:384", b"damaged", json.dumps({}))
    with pytest.raises(errors.UnknownGarment, match="add the garment again"):
        steps.live_decode(PERSON, NAME.encode(), shelf, VERSION)


def test_listed_and_removed(shelf):
    def told(action: bytes, name: str = "") -> list[dict]:
        (lines,) = steps.wardrobe(action, name.encode(), shelf)
        return [json.loads(line) for line in lines]

    assert told(b"list") == []
    other = f"{VERSION}-{'1' * 32}"
    keep(shelf, NAME, features())
    keep(shelf, other, features(seed=1), "grün".encode())
    keep(shelf, NAME, features((512, 384)))
    listed = told(b"list")
    assert [(e["id"], e["canvas"]) for e in listed] == [
        (NAME, [512, 384]), (other, [384, 288]), (NAME, [384, 288]),
    ]  # fmt: skip
    assert listed[1]["prompt"] == "grün" and listed[1]["category"] == "lower"
    assert listed[1]["bytes"] == len(pack(features()))
    assert len(told(b"remove", NAME)) == 2 and told(b"remove", NAME) == []
    assert [e["id"] for e in told(b"list")] == [other]
    with pytest.raises(errors.RequestError, match="list or remove"):
        told(b"burn")
    with pytest.raises(errors.UnknownGarment, match="no ID"):
        told(b"remove", "x")


def test_a_canvas_of_another_size_is_not_kept(shelf):
    with pytest.raises(errors.BadShape, match="canvas"):
        keep(shelf, NAME, features((40, 30)))


def test_a_store_that_is_away_is_a_request_s_error_and_is_tried_again(tmp_path):
    places = iter([str(tmp_path / "file"), str(tmp_path / "wardrobe")])
    (tmp_path / "file").write_text("x")
    shelf = steps.Shelf(lambda: open_store(next(places), 2**23))
    with pytest.raises(errors.WardrobeAway, match="TRYON_WARDROBE") as caught:
        keep(shelf, NAME, features())
    assert "\n" not in str(caught.value)
    keep(shelf, NAME, features())


@pytest.mark.parametrize("size", [(63, 100), (100, 1537), (-1, 100), (0, 0)])
def test_a_frame_size_is_checked(size):
    with pytest.raises(errors.BadShape, match="frame_size"):
        steps.wardrobe_decode(np.zeros((1, 1, 1), np.uint8), b"red", b"upper", np.array(size),
                              None, VERSION)  # fmt: skip


def test_the_default_folder_is_the_projects():
    code = "from tryon.wardrobe.store import DEFAULT_FOLDER; print(DEFAULT_FOLDER)"
    environment = {k: v for k, v in os.environ.items() if k != "TRYON_WARDROBE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=environment)  # fmt: skip
    assert Path(done.stdout.strip()) == Path(__file__).resolve().parents[2] / ".cache" / "wardrobe"
