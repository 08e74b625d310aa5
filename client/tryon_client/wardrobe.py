"""Garments that the server encodes once and then finds by an ID: for live sessions and shops.

wardrobe = Wardrobe(TryOnClient("localhost:8001"))
shirt, jeans = Garment("shirt.jpg"), Garment("jeans.jpg", category="lower")
result = wardrobe.try_on("me.jpg", jeans, shirt)      # in this order: the shirt over the jeans
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tryon_client import wire
from tryon_client.client import (
    Deadline,
    Job,
    Stopwatch,
    TryOnClient,
    TryOnResult,
    check_wish,
    finish,
    read_person,
    trusted,
)
from tryon_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    TryOnError,
    UnknownGarment,
)
from tryon_client.images import MAX_SIDE, MIN_SIDE, Picture, load_garment, shrink

FRAME_SIZE = (512, 384)
"""Height and width of the frames for which a garment is kept, where nothing is said of them."""


class Garment:
    """A garment, words, or both, to be worn again and again.

    Args:
        picture, prompt, category, size: as for `TryOnClient.try_on`.

    Raises:
        TryOnError: as `TryOnClient.try_on` does.

    Attributes:
        pixels: uint8 (H, W, 3 or 4), or None for words alone.
        prompt: with the size in words; "" for none.
        category: "upper", "lower" or "dress".
    """

    def __init__(
        self, picture: Picture | None = None, prompt: str | None = None, category: str = "upper",
        size: int = 0,
    ) -> None:  # fmt: skip
        self.prompt = check_wish(picture, prompt, category, size)
        self.category = category
        self.pixels = None if picture is None else shrink(load_garment(picture), "garment")


@dataclass(frozen=True)
class Kept:
    """What a server keeps of one garment. `canvas`: height and width of its picture there, by the
    size of the frames; `bytes`: what it takes; `added`: seconds since 1970."""

    id: str
    category: str
    prompt: str
    canvas: tuple[int, int]
    bytes: int
    added: float


@dataclass(frozen=True)
class Track:
    """Where a frame had its person, which steadies the next one. `state`: float32 (10,), as the
    server answered it; `captured`: seconds of the caller's own clock."""

    state: np.ndarray
    captured: float


@dataclass(frozen=True)
class Worn:
    """A try-on in kept garments: the result, and where the frame had its person. `pose`: float32
    (39, 5), BlazePose's points: x, y, z in 0..1 of the view, visibility, presence."""

    result: TryOnResult
    track: Track
    pose: np.ndarray


class Wardrobe:
    """The garments that a try-on server keeps.

    It may be shared by threads, as its client may. The server forgets what was added longest ago;
    a `Garment` is then added again, once a call, without a word; an ID alone can't be.

    Args:
        client: the server; it stays the caller's to close.
    """

    def __init__(self, client: TryOnClient) -> None:
        self._client = client
        self._ids: weakref.WeakKeyDictionary[Garment, str] = weakref.WeakKeyDictionary()
        self._lock, self._adding = threading.Lock(), threading.Lock()

    def add(
        self, garment: Garment, frame_size: tuple[int, int] = FRAME_SIZE, *,
        timeout: float | None = None,
    ) -> str:  # fmt: skip
        """Has a garment encoded and kept; its ID, the same for the same garment and networks.

        Args:
            garment: what to keep.
            frame_size: height and width of the frames to come, 64 to 1536. Frames of another size
                may want another copy; `try_on` adds it by itself.
            timeout: seconds for this call instead of the client's.

        Raises:
            TryOnError: WardrobeAway among them.
        """
        return self._add(garment, frame_size, self._deadline(timeout))

    def known(self, garment: Garment) -> str | None:
        """The ID by which this one asks for a garment; None before it was added. It is another one
        once the server has other networks and the garment was added again."""
        with self._lock:
            return self._ids.get(garment)

    def kept(self) -> list[Kept]:
        """All that is kept, the newest first; one garment may be there for several canvases."""
        return self._entries(wire.wardrobe_request("list"))

    def remove(self, garment_id: str) -> list[Kept]:
        """Forgets a garment; what was kept of it, nothing where it was unknown.

        Raises:
            UnknownGarment: the text is no ID.
        """
        return self._entries(wire.wardrobe_request("remove", garment_id))

    def try_on(
        self, person: Picture, *garments: Garment | str, timeout: float | None = None
    ) -> TryOnResult:
        """The person in kept garments.

        Args:
            person: a picture of one person.
            garments: garments or IDs, in the order in which they are put on: each is laid over
                those before.
            timeout: seconds for this call, all garments together.

        Returns:
            The picture that `TryOnClient.try_on` answers for the same garment. Of several, the mask
            is where any of them changed the picture, and the confidence the least one's.

        Raises:
            UnknownGarment: an ID that the server does not keep. LowConfidence, as
                `TryOnClient.try_on`; TryOnError otherwise.
        """
        result = self.wear(person, garments, timeout=timeout).result
        return trusted(result, self._client.least_confidence)

    def wear(
        self, person: Picture, garments: Sequence[Garment | str], *, captured: float = 0.0,
        before: Track | None = None, timeout: float | None = None, adding: float | None = None,
        follow: bool = False,
    ) -> Worn:  # fmt: skip
        """`try_on` of one frame of many: what `before` knows of an earlier one steadies it.

        Args:
            person, garments, timeout: as for `try_on`.
            captured: when the frame was taken, in seconds of any clock.
            before: of an earlier frame's answer, by the same clock.
            adding: seconds that a garment new to the server may take to be encoded; within
                `timeout`, unless it is given. Under a frame's own, a slow server would encode it
                for each frame anew, and none would ever be dressed.
            follow: sooner, by taking the person to be where `before` leads; the crop is then a
                frame's motion less exact.
        """
        if not garments:
            raise InvalidRequest("garments: none are given: give at least one")
        watch = Stopwatch()
        job = read_person(person)
        watch.lap("prepare")
        deadline = self._deadline(timeout)
        elapsed = 0.0 if before is None else max(0.0, captured - before.captured)
        state = wire.TRACK if before is None else before.state
        picture, mask, sure = job.small, np.zeros(job.small.shape[:2], np.uint8), 1.0
        tracked = pose = None
        follow = follow and 0 < elapsed <= wire.LONGEST_GAP

        def ask(frame: np.ndarray, name: str) -> Any:
            """The server's answer for a frame in the garment of an ID."""
            nonlocal follow
            if follow:
                message = wire.live_request(frame, name, state, elapsed, follow=True)
                response = self._client.infer(message, deadline)
                if wire.was_there(response):
                    return response
                follow = False  # nor will they be for the garments to come
            return self._client.infer(wire.live_request(frame, name, state, elapsed), deadline)

        for garment in garments:
            response = self._dressed(picture, garment, ask, deadline, adding)
            picture, changed, confidence = wire.parse_response(response, job.small.shape)
            mask, sure = np.maximum(mask, changed), min(sure, confidence)
            if tracked is None:  # of the frame itself, not of a picture of ours
                tracked, pose = wire.parse_tracked(response), wire.parse_pose(response)
        assert tracked is not None and pose is not None
        watch.lap("request")
        result = self._result(job, picture, mask, sure, watch)
        return Worn(result, Track(tracked, captured), pose)

    @staticmethod
    def _result(
        job: Job, picture: np.ndarray, mask: np.ndarray, sure: float, watch: Stopwatch
    ) -> TryOnResult:
        image, whole = finish(job, picture, mask)
        watch.lap("finish")
        return TryOnResult(image, whole, sure, watch.timings)

    def _dressed(
        self, picture: np.ndarray, garment: Garment | str, ask: Callable[[np.ndarray, str], Any],
        deadline: Deadline, adding: float | None,
    ) -> Any:  # fmt: skip
        """The answer for one garment; one that is a `Garment` is added (again) where need be."""
        if isinstance(garment, str):
            return ask(picture, garment)
        with self._lock:
            known = self._ids.get(garment)
        if known is not None:
            try:
                return ask(picture, known)
            except UnknownGarment:
                with self._lock:
                    self._ids.pop(garment, None)
        with self._adding:  # of several frames that wait for it one has it encoded
            with self._lock:
                name = self._ids.get(garment)
            if name is None:
                name = self._add_within(garment, picture.shape[:2], deadline, adding)
        return ask(picture, name)

    def _add_within(
        self, garment: Garment, size: tuple[int, ...], deadline: Deadline, adding: float | None
    ) -> str:
        if adding is None:
            return self._add(garment, size, deadline)
        try:
            return self._add(garment, size, self._deadline(adding))
        except DeadlineExceeded:
            raise TryOnError(f"the garment was not encoded within {adding:.0f} s") from None

    def _add(self, garment: Garment, size: tuple[int, ...], deadline: Deadline) -> str:
        height, width = size
        if not (min(size) >= MIN_SIDE and max(size) <= MAX_SIDE):
            raise InvalidRequest(f"frame_size {height}x{width}: give height and width, {MIN_SIDE} "
                                 f"to {MAX_SIDE} pixels each")  # fmt: skip
        message = wire.add_request(garment.pixels, garment.prompt, garment.category,
                                   (height, width))  # fmt: skip
        names = wire.parse_texts(self._client.infer(message, deadline), "garment_id")
        if len(names) != 1:
            raise TryOnError(f"the server answered {len(names)} garment IDs for one garment")
        with self._lock:
            self._ids[garment] = names[0]
        return names[0]

    def _entries(self, message: Any) -> list[Kept]:
        response = self._client.infer(message, self._deadline(None))
        kept = []
        for line in wire.parse_texts(response, "entries"):
            try:
                told = json.loads(line)
                kept.append(Kept(told["id"], told["category"], told["prompt"],
                                 tuple(told["canvas"]), told["bytes"], told["added"]))  # fmt: skip
            except (ValueError, KeyError, TypeError):
                raise TryOnError("the server's list of garments can't be read") from None
        return kept

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._client.timeout if timeout is None else timeout, self._client.url)


__all__ = ["FRAME_SIZE", "Garment", "Kept", "Track", "Wardrobe", "Worn"]
