"""Garments that a server keeps, from the client: added once, added again, layered, listed."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from fake_triton import FakeTriton, answer
from PIL import Image

from tryon_client import Garment, TryOnClient, Wardrobe, cli, errors
from tryon_client.wardrobe import Track

PERSON = np.random.default_rng(0).integers(0, 255, (72, 80, 3), dtype=np.uint8)
NOBODY = "0123abcd-" + "0" * 32


@pytest.fixture
def wardrobe(fake) -> Iterator[Wardrobe]:
    with TryOnClient(fake.url) as client:
        yield Wardrobe(client)


def models(fake: FakeTriton) -> list[str]:
    return [asked.model for asked in fake.requests]


def test_a_garment_is_added_once_and_worn(wardrobe, fake):
    shirt = Garment(np.full((64, 66, 3), 7, np.uint8), " in red ", "dress")
    for _ in range(3):
        result = wardrobe.try_on(PERSON, shirt)
    picture, mask = answer(PERSON)
    assert np.array_equal(np.asarray(result.image), picture)
    assert np.array_equal(result.mask, mask) and result.confidence == 0.75
    assert list(result.timings) == ["prepare", "request", "finish", "total"]
    assert models(fake) == ["wardrobe_add"] + 3 * ["tryon_live"]
    added, worn = fake.requests[:2]
    assert (added.prompt, added.category) == ("in red", "dress")
    assert added.garment.shape == (1, 64, 66, 3) and list(added.frame_size[0]) == [72, 80]
    assert worn.garment_id in fake.kept and worn.elapsed[0, 0] == 0


def followed(wardrobe: Wardrobe, *garments: Garment, elapsed: float = 0.1) -> None:
    first = wardrobe.wear(PERSON, garments, captured=1.0)
    worn = wardrobe.wear(PERSON, garments, captured=1 + elapsed, before=first.track, follow=True)
    assert np.array_equal(np.asarray(worn.result.image), np.asarray(first.result.image))
    assert worn.track.captured == 1 + elapsed and worn.track.state[4] > 0


def test_who_is_followed_is_asked_for_where_they_were(wardrobe, fake):
    shirt, jeans = Garment(prompt="red"), Garment(prompt="jeans", category="lower")
    followed(wardrobe, jeans, shirt)
    live = [m for m in models(fake) if m != "wardrobe_add"]
    assert live == 2 * ["tryon_live"] + 2 * ["tryon_follow"]
    asked = fake.requests[-1]
    assert asked.elapsed[0, 0] == pytest.approx(0.1)
    assert np.array_equal(asked.track[0], fake.tracked)


@pytest.mark.parametrize("elapsed", [0.0, -0.5, 1.01])
def test_nobody_is_followed_over_a_gap(wardrobe, fake, elapsed):
    followed(wardrobe, Garment(prompt="red"), elapsed=elapsed)
    assert "tryon_follow" not in models(fake)


def test_who_is_gone_is_looked_for_once_a_frame(wardrobe, fake):
    """One try to follow, and for the garments after it none."""
    fake.gone = True
    followed(wardrobe, Garment(prompt="jeans", category="lower"), Garment(prompt="red"))
    live = [m for m in models(fake) if m != "wardrobe_add"]
    assert live == 2 * ["tryon_live"] + ["tryon_follow"] + 2 * ["tryon_live"]


def test_a_garment_that_is_forgotten_meanwhile_is_added_and_followed_on(wardrobe, fake):
    shirt = Garment(prompt="red")
    first = wardrobe.wear(PERSON, [shirt], captured=1.0)
    fake.kept.clear()
    wardrobe.wear(PERSON, [shirt], captured=1.1, before=first.track, follow=True)
    assert models(fake)[2:] == ["tryon_follow", "wardrobe_add", "tryon_follow"]


def test_what_the_server_forgot_is_added_again_once(wardrobe, fake, monkeypatch):
    shirt = Garment(prompt="red")
    name = wardrobe.add(shirt)
    fake.kept.clear()
    assert wardrobe.try_on(PERSON, shirt).confidence == 0.75
    assert models(fake) == ["wardrobe_add", "tryon_live", "wardrobe_add", "tryon_live"]
    assert list(fake.kept) == [name]

    class Forgetful(dict):
        def __setitem__(self, key, value):
            pass

    fake.kept = Forgetful()
    fake.requests.clear()
    with pytest.raises(errors.UnknownGarment, match="not kept"):
        wardrobe.try_on(PERSON, shirt)
    assert models(fake) == ["tryon_live", "wardrobe_add", "tryon_live"], "and not for ever"


def test_an_id_alone_can_not_be_added_again(wardrobe, fake):
    name = wardrobe.add(Garment(prompt="red"))
    assert wardrobe.try_on(PERSON, name).confidence == 0.75
    with pytest.raises(errors.UnknownGarment):
        wardrobe.try_on(PERSON, NOBODY)
    assert models(fake).count("wardrobe_add") == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [("UNKNOWN_GARMENT", errors.UnknownGarment), ("OUTDATED_GARMENT", errors.OutdatedGarment),
     ("WARDROBE_AWAY", errors.WardrobeAway)],
)  # fmt: skip
def test_refusals_have_classes_of_their_own(wardrobe, fake, code, kind):
    name = wardrobe.add(Garment(prompt="red"))
    fake.fail = (grpc.StatusCode.INTERNAL, f"in ensemble 'tryon_live': [{code}] it is so")
    with pytest.raises(errors.TryOnError) as caught:
        wardrobe.try_on(PERSON, name)
    assert type(caught.value) is kind and str(caught.value) == "it is so"
    assert issubclass(errors.OutdatedGarment, errors.UnknownGarment)


def test_the_second_garment_goes_over_the_first(wardrobe, fake, monkeypatch):
    jeans, shirt = Garment(prompt="jeans", category="lower"), Garment(prompt="red")
    result = wardrobe.try_on(PERSON, jeans, shirt)
    first, second = (asked for asked in fake.requests if asked.model == "tryon_live")
    once = answer(PERSON)[0]
    assert np.array_equal(first.person[0], PERSON) and np.array_equal(second.person[0], once)
    assert [one.category for one in fake.worn()] == ["lower", "upper"]
    assert np.array_equal(np.asarray(result.image), answer(once)[0])
    outside = result.mask == 0
    assert outside.any() and np.array_equal(np.asarray(result.image)[outside], PERSON[outside])


def test_the_mask_is_of_all_layers_and_the_confidence_the_least(wardrobe, fake, monkeypatch):
    masks = iter([(10, 20, 0.9), (40, 50, 0.6)])

    def part(response, shape):
        low, high, sure = next(masks)
        mask = np.zeros(shape[:2], np.uint8)
        mask[low:high] = 200
        return PERSON, mask, sure

    monkeypatch.setattr("tryon_client.wire.parse_response", part)
    result = wardrobe.try_on(PERSON, Garment(prompt="a"), Garment(prompt="b"))
    assert set(np.flatnonzero(result.mask[:, 0])) == {*range(10, 20), *range(40, 50)}
    assert result.confidence == 0.6


def test_a_large_person_comes_back_in_her_own_size(wardrobe):
    large = np.random.default_rng(1).integers(0, 255, (1800, 1200, 3), dtype=np.uint8)
    result = wardrobe.try_on(large, Garment(prompt="red"))
    assert result.image.size == (1200, 1800)
    outside = result.mask == 0
    assert np.array_equal(np.asarray(result.image)[outside], large[outside])


def test_a_track_is_handed_on(wardrobe, fake):
    fake.pose = np.random.default_rng(0).random((39, 5), np.float32)
    first = wardrobe.wear(PERSON, [Garment(prompt="a"), Garment(prompt="b")], captured=5.0)
    assert np.array_equal(first.track.state, fake.tracked) and first.track.captured == 5.0
    assert np.array_equal(first.pose, fake.pose)
    wardrobe.wear(PERSON, [Garment(prompt="a")], captured=5.25, before=first.track)
    asked = fake.requests[-1]
    assert np.array_equal(asked.track[0], fake.tracked) and asked.elapsed[0, 0] == 0.25
    wardrobe.wear(PERSON, [Garment(prompt="a")], captured=4.0, before=first.track)
    assert fake.requests[-1].elapsed[0, 0] == 0, "the clock went back"
    assert Track(fake.tracked, 1.0).captured == 1.0


def test_a_garment_that_nobody_holds_is_forgotten_here_too(wardrobe):
    shirt = Garment(prompt="red")
    wardrobe.add(shirt)
    assert len(wardrobe._ids) == 1
    del shirt
    gc.collect()
    assert len(wardrobe._ids) == 0


@pytest.mark.parametrize("size", [(63, 100), (100, 1537)])
def test_arguments_are_checked(wardrobe, fake, size):
    with pytest.raises(errors.InvalidRequest, match="frame_size"):
        wardrobe.add(Garment(prompt="red"), size)
    with pytest.raises(errors.InvalidRequest, match="garments"):
        wardrobe.try_on(PERSON)
    with pytest.raises(errors.NothingToWear):
        Garment()
    with pytest.raises(errors.InvalidRequest, match="category"):
        Garment(prompt="red", category="hat")
    assert fake.requests == []


# ---- the command line ---------------------------------------------------------------------------
def run(fake: FakeTriton, *words: str) -> int:
    return cli.main(["wardrobe", *words, "--url", fake.url])


def photo(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((70, 70, 3), level, np.uint8)).save(path)
    return path


def test_added_listed_and_removed(fake, tmp_path, capsys):
    shirt = photo(tmp_path / "shirt.png", 5)
    assert run(fake, "add", str(shirt), "--prompt", "in red", "--category", "dress",
               "--frame-size", "640x480") == 0  # fmt: skip
    (name,) = fake.kept
    assert capsys.readouterr().out == f"{name}  {shirt}\n"
    assert list(fake.requests[-1].frame_size[0]) == [640, 480]
    assert run(fake, "list") == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{name}  dress  384x288, 1.0 MB") and "in red" in said.out
    assert said.err == "1 kept, 1.0 MB\n"
    assert run(fake, "remove", name) == 0
    assert capsys.readouterr().out == f"{name}  removed\n" and not fake.kept
    assert run(fake, "remove", name) == 2
    assert "tryon wardrobe list" in capsys.readouterr().err


def test_words_alone_are_added_too(fake, capsys):
    assert run(fake, "add", "--prompt", "a red t-shirt") == 0
    assert capsys.readouterr().out.endswith("  a red t-shirt\n")
    assert run(fake, "add") == 2
    assert "nothing to wear" in capsys.readouterr().err


def test_a_folder_is_added_with_a_bar_and_what_is_no_picture_is_told(fake, tmp_path, capsys):
    for k in range(4):
        photo(tmp_path / "shop" / ("deep" if k % 2 else "") / f"{k}.png", k)
    (tmp_path / "shop" / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "shop" / "notes.txt").write_text("left out in silence")
    assert run(fake, "add", str(tmp_path / "shop")) == 2
    said = capsys.readouterr()
    assert len(fake.kept) == 4 and all(name in said.out for name in fake.kept)
    assert "wardrobe: 100%" in said.err and "5/5" in said.err
    assert "left out: garment:" in said.err and "bad.jpg" in said.err
    assert said.err.endswith("tryon: 1 of 5 were left out (above)\n")
    (tmp_path / "empty").mkdir()
    assert run(fake, "add", str(tmp_path / "empty")) == 2
    assert "holds no picture" in capsys.readouterr().err


def test_a_server_that_goes_ends_a_bulk_add(fake, tmp_path, capsys):
    for k in range(3):
        photo(tmp_path / f"{k}.png", k)
    fake.wardrobe_away = True
    assert run(fake, "add", str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "tryon: the wardrobe is away" and "left out" not in said
    assert models(fake) == ["wardrobe_add"]


@pytest.mark.parametrize(
    "words", [["add", "x", "--frame-size", "big"], ["add", "x", "--frame-size", "4x"], ["remove"],
              ["burn"], []],
)  # fmt: skip
def test_usage_errors_are_one_line(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["wardrobe", *words])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("tryon: ") and said.count("\n") == 1


def test_a_missing_file_is_named(fake, tmp_path, capsys):
    assert run(fake, "add", str(tmp_path / "none.jpg")) == 2
    assert "none.jpg' does not exist" in capsys.readouterr().err
    data = io.BytesIO()
    Image.new("RGB", (10, 10)).save(data, "PNG")
    (tmp_path / "small.png").write_bytes(data.getvalue())
    assert run(fake, "add", str(tmp_path / "small.png")) == 2
    assert "too small" in capsys.readouterr().err
