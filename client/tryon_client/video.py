"""A video file in, the same video with the person in the garment out: every frame, its sound kept.

Works in segments that lie beside the output until all are there, so that a run that was stopped
goes on where it was, and its memory does not grow with the video. Needs PyAV and tqdm:
`pip install "tryon-client[video]"`.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tryon_client.client import TryOnClient, check_wish, trusted
from tryon_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    LowConfidence,
    NoPersonFound,
    ServerNotReady,
    ServerUnavailable,
    SeveralPeople,
    TryOnError,
    WardrobeAway,
)
from tryon_client.images import MAX_SIDE, Picture, load_garment, shrink
from tryon_client.wardrobe import Garment, Track, Wardrobe
from tryon_client.wire import TRACK

SUFFIXES = (".mp4", ".mov", ".mkv")
SEGMENT = 64
"""Frames of a segment: what a stopped run loses at most."""
MISSING = 'videos need PyAV and tqdm: install them with `pip install "tryon-client[video]"`'
_ENCODER = "libx264"
# No frames that refer to later ones, so that segments join by their time stamps alone.
_OPTIONS = {"crf": "17", "preset": "veryfast", "bf": "0"}


@dataclass(frozen=True)
class VideoReport:
    """Of a finished video: how many frames it has, and on how many exactly one person was found
    and dressed (the others are as they were)."""

    frames: int
    dressed: int


@dataclass(frozen=True)
class _Dressed:
    """A frame's picture, whether somebody is dressed in it, and where: for a later frame."""

    picture: np.ndarray
    dressed: bool
    track: Track | None = None


_Dress = Callable[[np.ndarray, float, "Track | None"], _Dressed]
"""Of a frame, its second, and where an earlier one had its person."""


class _Dresser:
    """Dresses frames in one garment that the server encodes once, each crop steadied by where an
    earlier frame had its person. Where the server's store is away, the garment travels along.

    Args:
        size: height and width of the frames.

    Attributes:
        name: the garment's ID, which says what networks encode it; "" where no store tells.
    """

    def __init__(self, client: TryOnClient, garment: Garment, size: tuple[int, int]) -> None:
        self._client, self._garment = client, garment
        self._wardrobe = Wardrobe(client)
        scale = min(1.0, MAX_SIDE / max(size))
        try:
            self.name = self._wardrobe.add(
                garment, (round(size[0] * scale), round(size[1] * scale))
            )
        except WardrobeAway:
            self.name = ""

    def __call__(self, frame: np.ndarray, second: float, before: Track | None) -> _Dressed:
        own, track = self._garment, None
        try:
            try:
                worn = self._wardrobe.wear(frame, [own], captured=second, before=before)
            except WardrobeAway:
                result = self._client.try_on(frame, own.pixels, own.prompt, own.category)
            else:
                result, track = trusted(worn.result, self._client.least_confidence), worn.track
        except (NoPersonFound, SeveralPeople, LowConfidence):
            return _Dressed(frame, False)
        if self.name and self._wardrobe.known(own) not in (self.name, None):
            raise ServerNotReady("the server has other networks than when the video was begun")
        return _Dressed(np.asarray(result.image), True, track)


def try_on_video(
    client: TryOnClient,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    garment: Picture | None = None,
    prompt: str | None = None,
    category: str = "upper",
    size: int = 0,
    *,
    at_once: int = 2,
    progress: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Writes the video with the person of every frame in the garment.

    The garment is encoded once, and each frame's crop steadied by an earlier one's. A frame that
    shows nobody or several people, or whose picture the networks doubt, is kept as it is. Where the
    run is stopped or the server goes away, what is finished stays beside `out`; the same call goes
    on from there, or begins anew where the server's store tells of other networks.

    Args:
        client: the server.
        source: a video file that FFmpeg can read.
        out: ends in .mp4, .mov or .mkv; written whole or not at all.
        garment, prompt, category, size: as for `TryOnClient.try_on`.
        at_once: frames that are with the server at the same time.
        progress: called with the frames done so far and, where the file tells, of how many.

    Raises:
        TryOnError: one of its subclasses, with a one-line text.
    """
    av = _pyav()
    source, out = Path(source), Path(out)
    if out.suffix.lower() not in SUFFIXES:
        raise InvalidRequest(f"{out.name!r}: a video is written as {', '.join(SUFFIXES)}")
    if at_once < 1:
        raise InvalidRequest(f"at_once {at_once}: give at least 1")
    if not source.is_file():
        raise InvalidRequest(f"no such file: {str(source)!r}")
    if out.is_dir():
        raise InvalidRequest(f"{str(out)!r} is a folder")
    if out.exists() and out.samefile(source):
        raise InvalidRequest(f"{str(out)!r} is the video itself: write to another file")
    words = check_wish(garment, prompt, category, size)
    cloth = None if garment is None else shrink(load_garment(garment), "garment")
    parts = out.with_name(f".{out.stem}.parts")
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with av.open(str(source)) as container:
            if not container.streams.video:
                raise InvalidRequest(f"{source.name!r} holds no video")
            _check_sound(av, container, out, parts)
            stream = container.streams.video[0]
            dress = _Dresser(client, Garment(cloth, words, category), (stream.height, stream.width))
            _begin(parts, _job(source, cloth, words, category, dress.name))
            report = _dress_all(av, container, parts, dress, at_once, progress)
        beside = parts / f"joined{out.suffix.lower()}"
        _join(av, source, parts, beside)
        os.replace(beside, out)
    except (DeadlineExceeded, ServerNotReady, ServerUnavailable) as error:
        raise type(error)(f"{error}; what is done is kept: the same call goes on") from None
    except av.FFmpegError as error:
        raise InvalidRequest(f"{source.name!r} can't be made a video: {error}") from None
    except OSError as error:
        raise TryOnError(f"can't write {out}: {error.strerror or error}") from None
    shutil.rmtree(parts, ignore_errors=True)
    return report


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise TryOnError(
            'videos need PyAV: install it with `pip install "tryon-client[video]"`'
        ) from None
    return av


def _check_sound(av: Any, container: Any, out: Path, parts: Path) -> None:
    """Raises InvalidRequest where the output's format can't hold the sound, before any work."""
    for stream in container.streams.audio:
        able = [suffix for suffix in SUFFIXES if _holds(av, stream, parts / f"probe{suffix}")]
        if out.suffix.lower() in able:
            continue
        other = f"write the video as {able[0]}" if able else "give it another sound first"
        raise InvalidRequest(
            f"{out.suffix} can't hold this video's sound ({stream.codec_context.name}): {other}"
        )


def _holds(av: Any, stream: Any, probe: Path) -> bool:
    try:
        with av.open(str(probe), "w") as made:
            made.add_stream_from_template(stream)
    except (ValueError, av.FFmpegError):
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def _job(
    source: Path, cloth: np.ndarray | None, prompt: str, category: str, name: str
) -> dict[str, Any]:
    """What a run is of; another one's segments are of no use to it, nor are other networks'."""
    about = source.stat()
    return {
        "source": [str(source.resolve()), about.st_size, about.st_mtime_ns],
        "garment": None if cloth is None else hashlib.sha256(cloth.tobytes()).hexdigest(),
        "prompt": prompt, "category": category, "segment": SEGMENT,
        "kept": name,
    }  # fmt: skip


def _begin(parts: Path, job: dict[str, Any]) -> None:
    """Makes the folder of the segments, or empties one that was of another job. Where no store told
    or tells the networks, they are taken for the same: work of hours is not thrown away for that.
    """
    stamp = parts / "job.json"
    try:
        known = json.loads(stamp.read_text())
    except (OSError, ValueError):
        known = None
    if isinstance(known, dict) and not (known.get("kept") and job["kept"]):
        known, job = ({**one, "kept": known.get("kept") or job["kept"]} for one in (known, job))
    if known == job:
        _write_job(stamp, job)
        return
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    _write_job(stamp, job)


def _write_job(stamp: Path, job: dict[str, Any]) -> None:
    """What the segments are of, whole or not at all."""
    beside = stamp.with_suffix(".tmp")
    beside.write_text(json.dumps(job))
    beside.replace(stamp)


def _dress_all(
    av: Any, container: Any, parts: Path, dress: _Dress, at_once: int,
    progress: Callable[[int, int | None], None] | None,
) -> VideoReport:  # fmt: skip
    """Writes every segment that is not there yet."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    total = stream.frames or None
    frames = container.decode(stream)
    done = dressed = 0
    before = _last([], at_once)
    with ThreadPoolExecutor(at_once) as pool:
        for number in itertools.count():
            piece = list(itertools.islice(frames, 1))
            if not piece:
                break
            segment = itertools.chain(piece, itertools.islice(frames, SEGMENT - 1))
            made_before = next(parts.glob(f"{number:06d}-*.nut"), None)
            places = parts / f"{number:06d}.tracks"
            if made_before is not None:
                done += sum(1 for _ in segment)
                dressed += int(made_before.stem.partition("-")[2])
                before = _last(_read_tracks(places), at_once)
                if progress:
                    progress(done, total)
                continue
            beside = parts / f"{number:06d}.writing"
            found = 0
            with av.open(str(beside), "w", format="nut") as made:
                track = None
                for frame, made_of in _ahead(segment, dress, pool, before):
                    if track is None:
                        track = _track(made, stream, made_of.picture)
                    image = _encoded(av, frame, made_of.picture, track)
                    made.mux(track.encode(image))
                    before = [*before[1:], made_of.track]
                    done, found = done + 1, found + made_of.dressed
                    if progress:
                        progress(done, total)
                assert track is not None
                made.mux(track.encode(None))
            _settle(beside)
            _write_tracks(places, before)  # first: a segment that is there has its tracks
            # Its name says how many frames were dressed: one rename makes both true.
            os.replace(beside, parts / f"{number:06d}-{found}.nut")
            dressed += found
    if not done:
        raise InvalidRequest("the video holds no frame")
    return VideoReport(done, dressed)


def _settle(path: Path) -> None:
    """Has what was written on the disk before its name says that it is whole."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _last(tracks: list[Track | None], count: int) -> list[Track | None]:
    """The last so many tracks; where fewer are known, the oldest of them stands for those before,
    as after a run that had fewer frames at once."""
    oldest = tracks[0] if tracks else None
    return [*[oldest] * (count - len(tracks)), *tracks[-count:]]


def _write_tracks(path: Path, tracks: list[Track | None]) -> None:
    """Where a segment's last frames had their person, whole or not at all."""
    told = [None if t is None else [t.captured, *t.state.tolist()] for t in tracks]
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(told))
    _settle(beside)
    os.replace(beside, path)


def _read_tracks(path: Path) -> list[Track | None]:
    """What `_write_tracks` wrote. Of a file that is lost nothing is known: the next segment's first
    frames are then steadied by none."""
    try:
        told = [None if row is None else np.array(row, np.float64)
                for row in json.loads(path.read_text())]  # fmt: skip
    except (OSError, ValueError, TypeError):
        return []
    if any(row is not None and row.shape != (1 + TRACK.size,) for row in told):
        return []
    return [None if r is None else Track(r[1:].astype(np.float32), float(r[0])) for r in told]


def _ahead(
    frames: Iterator[Any], dress: _Dress, pool: ThreadPoolExecutor, before: list[Track | None]
) -> Iterator[tuple[Any, _Dressed]]:
    """Frames in order with their pictures, `at_once` of them being dressed at a time.

    Each is steadied by the one that is `at_once` before it, whichever is done first: the same
    video gives the same pictures. `before`: the tracks of the `at_once` frames before the first.
    """
    at_once = len(before)

    def steadied(
        frame: np.ndarray, second: float, earlier: Future[_Dressed] | Track | None
    ) -> _Dressed:
        track = earlier.result().track if isinstance(earlier, Future) else earlier
        return dress(frame, second, track)

    waiting: deque[tuple[Any, Future[_Dressed]]] = deque()
    recent: deque[Future[_Dressed] | Track | None] = deque(before, at_once)
    for frame in frames:
        if frame.pts is None:
            raise InvalidRequest("the video has no time stamps: put it into an .mp4 or .mkv first")
        second = float(frame.pts * frame.time_base)
        future = pool.submit(steadied, upright(frame), second, recent[0])
        recent.append(future)
        waiting.append((frame, future))
        if len(waiting) > at_once:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def frames(source: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """The frames of a video, uint8 (H, W, 3), upright. Raises InvalidRequest or TryOnError."""
    av, path = _pyav(), Path(source)
    if not path.is_file():
        raise InvalidRequest(f"no such file: {str(path)!r}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InvalidRequest(f"{path.name!r} holds no video")
            for frame in container.decode(video=0):
                yield upright(frame)
    except av.FFmpegError as error:
        raise InvalidRequest(f"{path.name!r} can't be read as a video: {error}") from None


def upright(frame: Any) -> np.ndarray:
    """A decoded frame as uint8 (H, W, 3), turned as its display matrix says."""
    picture = frame.reformat(format="rgb24", src_colorspace=_matrix(frame)).to_ndarray()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns))


def _matrix(frame: Any) -> int:
    """The colour matrix of a frame; where the file names none, the one that players take."""
    bt709, unspecified, bt601 = 1, 2, 5
    matrix = int(frame.colorspace)
    if matrix == unspecified:
        return bt709 if frame.height >= 720 else bt601
    return matrix


def _track(container: Any, stream: Any, picture: np.ndarray) -> Any:
    """An encoder for the dressed frames, with the source's rate, clock and colours."""
    track = container.add_stream(_ENCODER, rate=stream.average_rate, options=_OPTIONS)
    height, width = picture.shape[:2]
    track.width, track.height = width, height
    # Chroma at half size needs even sides.
    track.pix_fmt = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
    codec, source = track.codec_context, stream.codec_context
    codec.time_base = stream.time_base
    for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(codec, name, getattr(source, name))
    return track


def _encoded(av: Any, frame: Any, picture: np.ndarray, track: Any) -> Any:
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    image = image.reformat(
        format=track.pix_fmt, dst_colorspace=_matrix(frame), dst_color_range=frame.color_range
    )
    image.pts, image.time_base = frame.pts, frame.time_base
    return image


def _join(av: Any, source: Path, parts: Path, beside: Path) -> None:
    """All segments, and the source's sound, into one file: no frame is encoded again."""
    segments = sorted(parts.glob("*.nut"))
    with av.open(str(source)) as own, av.open(str(beside), "w") as made:
        with av.open(str(segments[0])) as first:
            track = made.add_stream_from_template(first.streams.video[0])
        tracks = [_segments(av, segments, track)]
        if own.streams.audio:
            copies = {a.index: made.add_stream_from_template(a) for a in own.streams.audio}
            tracks.append(_copied(own, copies))
        # In the order of time, or the writer would hold one of the two in memory.
        for _, _, packet in heapq.merge(*tracks, key=lambda item: item[:2]):
            made.mux(packet)


def _segments(av: Any, segments: list[Path], track: Any) -> Iterator[tuple[float, int, Any]]:
    for path in segments:
        with av.open(str(path)) as part:
            for packet in part.demux(part.streams.video[0]):
                if packet.dts is not None:
                    when = float(packet.dts * packet.time_base)
                    packet.stream = track
                    yield when, 0, packet


def _copied(own: Any, copies: dict[int, Any]) -> Iterator[tuple[float, int, Any]]:
    for packet in own.demux([s for s in own.streams.audio if s.index in copies]):
        if packet.dts is not None:
            when = float(packet.dts * packet.time_base)
            packet.stream = copies[packet.stream.index]
            yield when, 1, packet
