"""A video through the client: every frame, in order and on time, its sound kept, resumable."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import grpc
import numpy as np
import pytest
from fake_triton import answer
from film import FRAMES, film

from tryon_client import TryOnClient, Wardrobe, cli, errors, video
from tryon_client.wardrobe import Track


@pytest.fixture
def client(fake):
    with TryOnClient(fake.url) as client:
        yield client


@pytest.fixture(autouse=True)
def short_segments(monkeypatch) -> None:
    monkeypatch.setattr(video, "SEGMENT", 4)


def seen(path: Path) -> SimpleNamespace:
    with av.open(str(path)) as read:
        frames = [(f.time, f.to_ndarray(format="rgb24")) for f in read.decode(video=0)]
    times, pictures = np.array([f[0] for f in frames]), [f[1] for f in frames]
    sound, ahead = [], 0.0
    with av.open(str(path)) as read:
        if read.streams.audio:
            packets = [p for p in read.demux(audio=0) if p.dts is not None]
            sound = [bytes(p) for p in packets]
            ahead = times[0] - float(packets[0].pts * packets[0].time_base)
    return SimpleNamespace(times=times, pictures=pictures, sound=sound, ahead=ahead)


@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_every_frame_is_dressed_in_order_and_the_sound_is_kept(client, fake, tmp_path, suffix):
    source, out = film(tmp_path / "in.mp4"), tmp_path / f"out{suffix}"
    steps: list[tuple[int, int | None]] = []
    report = video.try_on_video(
        client, source, out, prompt="red", progress=lambda *step: steps.append(step)
    )
    assert report == video.VideoReport(FRAMES, FRAMES)
    assert steps == [(k + 1, FRAMES) for k in range(FRAMES)]
    before, after = seen(source), seen(out)
    # Matroska has no times below zero, where AAC begins: it moves both tracks alike.
    assert np.allclose(np.diff(after.times), np.diff(before.times), atol=2e-3)
    assert abs(after.ahead - before.ahead) < 2e-3
    assert after.sound == before.sound and len(after.sound) > 10
    for one, other in zip(before.pictures, after.pictures, strict=True):
        wanted, mask = answer(one)
        # Away from the red block, whose chroma has half its size.
        assert np.abs(other[:16].astype(int) - wanted[:16]).max() <= 4
        middle = other[24:36, 30:44].astype(int)
        assert np.abs(middle - [255, 0, 0]).max() < 30 and mask.any()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_odd_sides_and_no_sound(client, tmp_path):
    source = film(tmp_path / "in.mkv", 97, 81, sound=False)
    video.try_on_video(client, source, tmp_path / "out.mkv", prompt="red")
    after = seen(tmp_path / "out.mkv")
    assert after.sound == [] and after.pictures[0].shape == (81, 97, 3)


def test_frames_without_one_person_stay(client, fake, tmp_path, monkeypatch):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    real = Wardrobe.wear

    def picky(self: Wardrobe, frame: np.ndarray, *rest: Any, **named: Any) -> Any:
        if frame.mean() < 100:
            raise errors.NoPersonFound("person: nobody")
        if frame.mean() > 180:
            raise errors.SeveralPeople("person: two")
        return real(self, frame, *rest, **named)

    monkeypatch.setattr(Wardrobe, "wear", picky)
    report = video.try_on_video(client, source, out, prompt="red")
    assert 0 < report.dressed == fake.served < report.frames == FRAMES
    red = [picture[30, 36, 0] > 230 and picture[30, 36, 1] < 40 for picture in seen(out).pictures]
    assert sum(red) == report.dressed and not red[0] and not red[-1]


def test_a_stopped_run_goes_on(client, fake, tmp_path):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    out.write_bytes(b"an older video")

    def fail_late(done: int, total: int | None) -> None:
        if done >= 6:
            fake.fail = (grpc.StatusCode.UNAVAILABLE, "gone")

    with pytest.raises(errors.ServerUnavailable, match="the same call goes on"):
        video.try_on_video(client, source, out, prompt="red", progress=fail_late)
    assert out.read_bytes() == b"an older video"
    kept = len(list((tmp_path / ".out.parts").glob("*.nut")))
    assert kept >= 1
    fake.fail, asked = None, len(fake.worn())
    report = video.try_on_video(client, source, out, prompt="red")
    assert report == video.VideoReport(FRAMES, FRAMES)
    assert len(fake.worn()) - asked == FRAMES - 4 * kept, "finished segments are not made twice"
    assert len(seen(out).pictures) == FRAMES


def interrupt(client: TryOnClient, source: Path, out: Path, at_once: int = 2) -> None:
    """Stops a run in its second segment."""

    def stop(done: int, total: int | None) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video.try_on_video(client, source, out, prompt="red", progress=stop, at_once=at_once)


def test_another_job_begins_anew(client, fake, tmp_path):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    interrupt(client, source, out)
    asked = len(fake.worn())
    video.try_on_video(client, source, out, prompt="blue")
    assert len(fake.worn()) - asked == FRAMES
    assert {r.prompt for r in fake.worn()[asked:]} == {"blue"}


def test_other_networks_begin_anew(client, fake, tmp_path, monkeypatch):
    """A garment's ID says what networks encode it: no video is half of one, half of others."""
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    interrupt(client, source, out)
    asked = len(fake.worn())
    monkeypatch.setattr(fake, "networks", "89abcdef")
    video.try_on_video(client, source, out, prompt="red")
    assert len(fake.worn()) - asked == FRAMES


Steadied = list[tuple[float, Track | None]]


@pytest.fixture
def steadied(monkeypatch) -> Steadied:
    """Of every frame sent: its second, and what steadies it. Each answer has a track of its own."""
    noted: Steadied = []
    real = Wardrobe.wear

    def wear(self: Wardrobe, frame: np.ndarray, *rest: Any, **named: Any) -> Any:
        captured = named["captured"]
        noted.append((captured, named["before"]))
        state = np.full(10, captured / 3, np.float32)
        return replace(real(self, frame, *rest, **named), track=Track(state, captured))

    monkeypatch.setattr(Wardrobe, "wear", wear)
    return noted


def by_the_one_before(steadied: Steadied, at_once: int) -> bool:
    """Whether each frame of a film is steadied by the one that is `at_once` before it, across
    segments, too, and by all that was known of it."""
    shown = sorted(steadied, key=lambda one: one[0])
    assert len(shown) == FRAMES
    tracks = [before for _, before in shown]
    wanted = [None] * at_once + [second for second, _ in shown[:-at_once]]
    assert all(t is None or (t.state.dtype == np.float32 and t.state.shape == (10,) and
                             (t.state == np.float32(t.captured / 3)).all())
               for t in tracks)  # fmt: skip
    return [None if t is None else t.captured for t in tracks] == wanted


@pytest.mark.parametrize("at_once", [1, 2, 3, 6])
def test_the_garment_is_encoded_once_and_an_earlier_frame_steadies_each(
    client, fake, tmp_path, steadied, at_once
):
    source = film(tmp_path / "in.mp4")
    video.try_on_video(client, source, tmp_path / "out.mp4", prompt="red", at_once=at_once)
    (added,) = (r for r in fake.requests if r.model == "wardrobe_add")
    assert added.frame_size.tolist() == [list(seen(source).pictures[0].shape[:2])]
    assert by_the_one_before(steadied, at_once)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_run_that_goes_on_is_steadied_by_where_it_was_stopped(
    client, tmp_path, steadied, at_once
):
    """The first frame of the second segment has the track that the first segment's end had."""
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    interrupt(client, source, out, at_once)
    parts = tmp_path / ".out.parts"
    assert [p.name for p in parts.glob("*.nut")] == ["000000-4.nut"]
    assert [p.name for p in parts.glob("*.tracks")] == ["000000.tracks"]
    first = sorted(steadied, key=lambda one: one[0])[:4]
    steadied.clear()
    video.try_on_video(client, source, out, prompt="red", at_once=at_once)
    assert by_the_one_before(first + steadied, at_once)


def test_a_run_that_goes_on_with_more_frames_at_once_has_them_steadied_too(
    client, tmp_path, steadied
):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    interrupt(client, source, out, at_once=1)
    last = sorted(second for second, _ in steadied)[3]
    steadied.clear()
    video.try_on_video(client, source, out, prompt="red", at_once=3)
    after = sorted(steadied, key=lambda one: one[0])
    assert [t.captured for _, t in after[:3] if t] == 3 * [last]
    assert after[3][1] and after[3][1].captured == after[0][0]


@pytest.mark.parametrize("left", [None, "", "cut o", "[[1, 2]]", "7", '[["a"]]'])
def test_tracks_that_are_lost_lose_no_work(client, tmp_path, steadied, left):
    """Segments of an earlier version have none beside them."""
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    interrupt(client, source, out)
    path = tmp_path / ".out.parts" / "000000.tracks"
    path.unlink()
    if left is not None:
        path.write_text(left)
    steadied.clear()
    assert video.try_on_video(client, source, out, prompt="red").dressed == FRAMES
    after = sorted(steadied, key=lambda one: one[0])
    assert len(after) == FRAMES - 4
    assert [before is None for _, before in after] == [True] * 2 + [False] * (FRAMES - 6)


@pytest.mark.parametrize("first", [True, False])
def test_a_store_that_is_away_for_one_of_the_runs_loses_no_work(client, fake, tmp_path, first):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    fake.wardrobe_away = first
    interrupt(client, source, out)
    kept, asked = len(list((tmp_path / ".out.parts").glob("*.nut"))), len(fake.worn())
    fake.wardrobe_away = not first
    video.try_on_video(client, source, out, prompt="red")
    assert kept and len(fake.worn()) - asked == FRAMES - 4 * kept


def test_networks_that_change_under_a_run_end_it_and_the_next_begins_anew(client, fake, tmp_path):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"

    def change(done: int, total: int | None) -> None:
        if done == 6:
            fake.networks = "89abcdef"
            fake.kept.clear()

    with pytest.raises(errors.ServerNotReady, match=r"other networks.*the same call goes on"):
        video.try_on_video(client, source, out, prompt="red", progress=change)
    asked = len(fake.worn())
    assert video.try_on_video(client, source, out, prompt="red").dressed == FRAMES
    assert len(fake.worn()) - asked == FRAMES


def test_without_the_servers_store_the_garment_travels_along(client, fake, tmp_path):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    fake.wardrobe_away = True
    assert video.try_on_video(client, source, out, prompt="red").dressed == FRAMES
    assert [r.model for r in fake.worn()] == ["tryon"] * FRAMES


def test_a_segment_that_was_cut_off_is_made_again(client, fake, tmp_path):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    interrupt(client, source, out)
    parts = tmp_path / ".out.parts"
    assert [p.name for p in parts.glob("*.nut")] == ["000000-4.nut"]
    (parts / "000001.writing").write_bytes(b"cut off")
    report = video.try_on_video(client, source, tmp_path / "out.mkv", prompt="red")
    assert report == video.VideoReport(FRAMES, FRAMES), "another format goes on from there too"
    assert len(seen(tmp_path / "out.mkv").pictures) == FRAMES


def test_sound_that_the_format_cannot_hold_is_said_before_any_work(client, fake, tmp_path):
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as made:
        pictures = made.add_stream("libx264", rate=8)
        pictures.width, pictures.height, pictures.pix_fmt = 96, 80, "yuv420p"
        tone = made.add_stream("pcm_mulaw", rate=8000, layout="mono")
        for _ in range(4):
            grey = av.VideoFrame.from_ndarray(np.full((80, 96, 3), 90, np.uint8), format="rgb24")
            made.mux(pictures.encode(grey))
        made.mux(pictures.encode(None))
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
        noise.sample_rate = 8000
        made.mux(tone.encode(noise))
        made.mux(tone.encode(None))
    with pytest.raises(errors.InvalidRequest, match=r"pcm_mulaw\): write the video as .mov"):
        video.try_on_video(client, source, tmp_path / "out.mp4", prompt="red")
    assert fake.requests == []
    assert video.try_on_video(client, source, tmp_path / "out.mov", prompt="red").frames == 4


def test_the_video_itself_is_never_written_over(client, fake, tmp_path):
    source = film(tmp_path / "in.mp4")
    before = source.read_bytes()
    (tmp_path / "folder.mp4").mkdir()
    for out, words in ((source, "the video itself"), (tmp_path / "folder.mp4", "is a folder")):
        with pytest.raises(errors.InvalidRequest, match=words):
            video.try_on_video(client, source, out, prompt="red")
    assert source.read_bytes() == before and fake.requests == []


def test_a_wrong_wish_leaves_nothing_behind(client, tmp_path):
    source = film(tmp_path / "in.mp4")
    with pytest.raises(errors.NothingToWear):
        video.try_on_video(client, source, tmp_path / "out.mp4")
    with pytest.raises(errors.InvalidRequest, match="category"):
        video.try_on_video(client, source, tmp_path / "out.mp4", prompt="red", category="uper")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_phones_video_comes_out_upright(client, fake, tmp_path):
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as made:
        pictures = made.add_stream("libx264", rate=8, options={"crf": "10"})
        pictures.width, pictures.height, pictures.pix_fmt = 96, 80, "yuv420p"
        pictures.set_display_rotation(-90)
        grey = np.full((80, 96, 3), 60, np.uint8)
        grey[:20, :24] = 220  # its upper left corner, turned to the upper right
        made.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        made.mux(pictures.encode(None))
    video.try_on_video(client, source, tmp_path / "out.mp4", prompt="red")
    (picture,) = seen(tmp_path / "out.mp4").pictures
    assert picture.shape == (96, 80, 3) and fake.requests[-1].person[0].shape == (96, 80, 3)
    assert picture[4:16, 64:76].mean() > 200 and picture[4:16, 4:16].mean() < 80


@pytest.mark.parametrize("turn, shape", [(0, (2, 3)), (90, (3, 2)), (-90, (3, 2)), (180, (2, 3))])
def test_phones_frames_are_turned_upright(turn, shape):
    picture = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    frame = SimpleNamespace(
        reformat=lambda **_: SimpleNamespace(to_ndarray=lambda: picture), rotation=turn,
        colorspace=1, height=2,
    )  # fmt: skip
    made = video.upright(frame)
    assert made.shape[:2] == shape
    corner = {0: (0, 0), 90: (-1, 0), -90: (0, -1), 180: (-1, -1)}[turn]
    assert (made[corner] == picture[0, 0]).all()


@pytest.mark.parametrize(
    "source, out, words",
    [("none.mp4", "out.mp4", "no such file"), ("text.mp4", "out.mp4", "can't be made a video"),
     ("in.mp4", "out.gif", ".mp4, .mov, .mkv"), ("sound.mp4", "out.mp4", "holds no video")],
)  # fmt: skip
def test_what_is_no_video_is_said_in_a_line(client, tmp_path, source, out, words, capsys, fake):
    (tmp_path / "text.mp4").write_text("hello")
    film(tmp_path / "in.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as made:
        tone = made.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        made.mux(tone.encode(silence))
        made.mux(tone.encode(None))
    arguments = ["video", str(tmp_path / source), str(tmp_path / out), "--prompt", "red"]
    assert cli.main([*arguments, "--url", fake.url]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert words in said and not (tmp_path / out).exists()


def test_command_line(fake, tmp_path, capsys):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    arguments = ["video", str(source), str(out), "--prompt", "a red shirt", "--url", fake.url]
    assert cli.main(arguments) == 0
    assert f"{FRAMES} frames, {FRAMES} dressed" in capsys.readouterr().out
    assert len(seen(out).pictures) == FRAMES


def test_without_pyav_the_command_that_installs_it_is_named(client, tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(errors.TryOnError, match=r"tryon-client\[video\]"):
        video.try_on_video(client, tmp_path / "in.mp4", tmp_path / "out.mp4", prompt="red")
