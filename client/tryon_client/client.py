"""`TryOnClient` and `AsyncTryOnClient`: one call, two photos in, a try-on picture out."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from PIL import Image

from tryon_client import wire
from tryon_client.compose import enlarge
from tryon_client.errors import (
    DeadlineExceeded,
    InvalidRequest,
    LowConfidence,
    NothingToWear,
    PromptTooLong,
    ServerUnavailable,
    from_rpc,
)
from tryon_client.images import Picture, load_garment, load_person, shrink

DEFAULT_URL = "localhost:8001"
DEFAULT_TIMEOUT = 10.0
LEAST_CONFIDENCE = 0.3
"""Of the confidence below which a picture is refused; docs/decisions.md says how it was found."""


@dataclass(frozen=True)
class TryOnResult:
    """What a try-on answers.

    Attributes:
        image: RGB, in the person's own (upright) size.
        mask: uint8 (H, W); where it is 0, `image` holds the person's own bytes.
        confidence: 0..1.
        timings: milliseconds by stage: `prepare` (decode, check, scale down), `request` (sent,
            served, received), `finish` (unpack, bring to the person's size), `total`; and
            `server...` for the server's steps, where asked for.
    """

    image: Image.Image
    mask: np.ndarray
    confidence: float
    timings: dict[str, float]


@dataclass(frozen=True)
class Job:
    """A person's picture that was checked and brought to the size that is sent: `own` and `small`,
    uint8 (H, W, 3), the same array where nothing was scaled."""

    own: np.ndarray
    small: np.ndarray
    icc_profile: bytes | None


def read_person(person: Picture) -> Job:
    """Decodes and checks a person's picture. Raises as `TryOnClient.try_on` does."""
    own = load_person(person)
    return Job(own.array, shrink(own.array, "person"), own.icc_profile)


def _prepare(
    person: Picture, garment: Picture | None, prompt: str | None, category: str, size: int
) -> tuple[Job, Any]:
    """Checks the arguments, decodes the pictures and builds the message."""
    words = check_wish(garment, prompt, category, size)
    job = read_person(person)
    cloth = None if garment is None else shrink(load_garment(garment), "garment")
    return job, wire.infer_request(job.small, cloth, words, category)


SIZES = {-2: "two sizes smaller", -1: "one size smaller", 1: "one size larger",
         2: "two sizes larger", 3: "three sizes larger"}  # fmt: skip
"""A size as the server is asked for it."""


def check_wish(garment: Picture | None, prompt: str | None, category: str, size: int = 0) -> str:
    """The prompt as it is sent. Raises InvalidRequest, PromptTooLong or NothingToWear."""
    if category not in wire.CATEGORIES:
        raise InvalidRequest(f"category {category!r}: choose one of {', '.join(wire.CATEGORIES)}")
    words = _check_prompt(prompt)
    if garment is None and not words:
        raise NothingToWear("nothing to wear: give a garment, a prompt, or both")
    if isinstance(size, bool) or size not in (0, *SIZES):
        raise InvalidRequest(
            f"size {size!r}: give a whole number from {min(SIZES)} to {max(SIZES)}"
        )
    # In front: of a prompt that is too long for the text encoder the end is not read.
    sized = ", ".join(filter(None, (SIZES.get(size), words)))
    if len(sized) > wire.MAX_PROMPT_CHARACTERS:
        raise PromptTooLong(
            f"prompt: {len(sized)} characters with the size's words: at most "
            f"{wire.MAX_PROMPT_CHARACTERS} are read"
        )
    return sized


def _check_prompt(prompt: str | None) -> str:
    if prompt is None:
        return ""
    if not isinstance(prompt, str):
        raise InvalidRequest(f"prompt: a {type(prompt).__name__}: pass text or None")
    words = prompt.strip()
    if len(words) > wire.MAX_PROMPT_CHARACTERS:
        raise PromptTooLong(
            f"prompt: {len(words)} characters: at most {wire.MAX_PROMPT_CHARACTERS} are read"
        )
    try:
        words.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("prompt: holds half a surrogate pair, which is no text") from None
    return words


def _finish(job: Job, response: Any) -> tuple[Image.Image, np.ndarray, float]:
    picture, mask, confidence = wire.parse_response(response, job.small.shape)
    return *finish(job, picture, mask), confidence


def trusted(result: TryOnResult, least: float) -> TryOnResult:
    """The result. Raises LowConfidence where its confidence is below `least`."""
    if result.confidence < least:
        raise LowConfidence(
            f"the picture is not to be trusted: its confidence is {result.confidence:.2f}, below "
            f"{least:g}: send a photo of one person who faces the camera and is well lit, and a "
            "picture of the garment alone", result,
        )  # fmt: skip
    return result


def check_least(least: float) -> float:
    """A least confidence. Raises InvalidRequest where it is none."""
    if isinstance(least, bool) or not 0 <= least <= 1:
        raise InvalidRequest(f"least_confidence {least!r}: give a number from 0 to 1")
    return float(least)


def finish(job: Job, picture: np.ndarray, mask: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """An answer in the person's own size: RGB, and a writable mask uint8 (H, W).

    Args:
        job: of `read_person`.
        picture: uint8 (h, w, 3), of `job.small`'s size.
        mask: uint8 (h, w).
    """
    if job.small is job.own:
        mask = mask.copy()  # off the message's buffer, and writable
    else:
        picture, mask = enlarge(job.own, job.small, picture, mask)
    image = Image.fromarray(picture)
    if job.icc_profile:
        image.info["icc_profile"] = job.icc_profile
    return image, mask


class Deadline:
    """What is left of a call's timeout."""

    def __init__(self, timeout: float, url: str) -> None:
        if not (isinstance(timeout, (int, float)) and 0 < timeout < float("inf")):
            raise InvalidRequest(f"timeout {timeout!r}: give seconds above 0")
        self.timeout, self._url = float(timeout), url
        self._end = time.monotonic() + self.timeout

    def left(self) -> float:
        """Seconds left. Raises DeadlineExceeded where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(
                f"no answer from {self._url} within {self.timeout:g} s: raise the timeout"
            )
        return left


class Stopwatch:
    """Milliseconds of consecutive stages."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.timings: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """The milliseconds since the last lap go by this name."""
        now = time.perf_counter()
        self.timings[stage] = (now - self._last) * 1e3
        self.timings.pop("total", None)  # stays the last
        self.timings["total"] = (now - self._start) * 1e3
        self._last = now

    def skip(self) -> None:
        """Starts the next stage here; the time since the last one counts for the total alone."""
        self._last = time.perf_counter()


class TryOnClient:
    """A try-on server, called from ordinary code.

    One client may be shared by any number of threads: it holds one gRPC channel, which is made for
    that, and no state of a call. It connects when first used, reconnects by itself, and sends each
    call once (no retries). After a `fork`, make a new client in the child.

    Args:
        url: host:port of the server's gRPC service.
        timeout: seconds that a call may take over the network, the server's work included.
        least_confidence: pictures of which the networks are less sure, 0 to 1, are refused with
            LowConfidence; 0 takes all.

    Raises:
        InvalidRequest: for an address, timeout or confidence that is none.
    """

    def __init__(
        self, url: str = DEFAULT_URL, timeout: float = DEFAULT_TIMEOUT,
        least_confidence: float = LEAST_CONFIDENCE,
    ) -> None:  # fmt: skip
        self.url, self.least_confidence = wire.check_url(url), check_least(least_confidence)
        self.timeout = Deadline(timeout, url).timeout
        self._channel = grpc.insecure_channel(url, options=wire.channel_options(url))
        self._stub = wire.stub(self._channel)
        self._checked = threading.Event()

    def try_on(
        self,
        person: Picture,
        garment: Picture | None = None,
        prompt: str | None = None,
        category: str = "upper",
        size: int = 0,
        *,
        timeout: float | None = None,
        stages: bool = False,
    ) -> TryOnResult:
        """The person in the garment.

        Pictures may be paths, encoded bytes, PIL images or arrays (H, W), (H, W, 1), (H, W, 3) or
        (H, W, 4) of uint8, uint16, float in 0..1 or bool. Those over 1536 pixels are scaled down
        for the request; the answer has the person's own size all the same.

        Args:
            person: a picture of one person.
            garment: a picture of a garment; its plain or transparent background is removed.
            prompt: words that style the garment, or describe one where no garment is given.
            category: "upper", "lower" or "dress".
            size: sizes larger than it is shown, -2 to 3; sent in words before the prompt.
            timeout: seconds for this call instead of the client's.
            stages: also ask the server what each of its steps took. The server keeps sums, not
                single calls: with other clients at work these are means over their calls too.

        Raises:
            TryOnError: one of its subclasses, with a one-line text.
        """
        watch = Stopwatch()
        job, message = _prepare(person, garment, prompt, category, size)
        watch.lap("prepare")
        deadline = Deadline(self.timeout if timeout is None else timeout, self.url)
        self._check_version(deadline)
        before = self._call(self._stub.ModelStatistics, wire.statistics_request(), deadline) \
            if stages else None  # fmt: skip
        watch.skip()
        response = self._call(self._stub.ModelInfer, message, deadline)
        watch.lap("request")
        image, mask, confidence = _finish(job, response)
        watch.lap("finish")
        if stages:
            after = self._call(self._stub.ModelStatistics, wire.statistics_request(), deadline)
            watch.timings.update(wire.stage_means(after, before))
        result = TryOnResult(image, mask, confidence, watch.timings)
        return trusted(result, self.least_confidence)

    def server_stages(self) -> dict[str, float]:
        """Mean milliseconds of each served step since the server started."""
        deadline = Deadline(self.timeout, self.url)
        return wire.stage_means(
            self._call(self._stub.ModelStatistics, wire.statistics_request(), deadline)
        )

    def check(self) -> None:
        """Raises unless a server answers that serves this client's contract version."""
        self._checked.clear()
        self._check_version(Deadline(self.timeout, self.url))

    def statistics(self) -> Any:
        """The server's ModelStatisticsResponse of all models. Raises TryOnError."""
        deadline = Deadline(self.timeout, self.url)
        return self._call(self._stub.ModelStatistics, wire.statistics_request(), deadline)

    def config(self, model: str) -> Any:
        """The ModelConfig of a served model. Raises TryOnError."""
        deadline = Deadline(self.timeout, self.url)
        return self._call(self._stub.ModelConfig, wire.config_request(model), deadline).config

    def infer(self, message: Any, deadline: Deadline) -> Any:
        """Sends a ModelInferRequest; its ModelInferResponse. Raises TryOnError."""
        self._check_version(deadline)
        return self._call(self._stub.ModelInfer, message, deadline)

    def close(self) -> None:
        """Closes the channel; the client can't be used afterwards."""
        self._channel.close()

    def __enter__(self) -> TryOnClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_version(self, deadline: Deadline) -> None:
        # Two threads may both ask at first; that costs one more call and does no harm.
        if not self._checked.is_set():
            response = self._call(self._stub.ModelConfig, wire.config_request(), deadline)
            wire.check_version(response, self.url)
            self._checked.set()

    def _call(self, method: Any, message: Any, deadline: Deadline) -> Any:
        try:
            return method(message, timeout=deadline.left())
        except grpc.RpcError as error:
            typed = from_rpc(error, self.url, deadline.timeout)
            if isinstance(typed, ServerUnavailable):
                self._checked.clear()  # what comes back may be another server
            raise typed from None


class AsyncTryOnClient:
    """`TryOnClient` for asyncio, with the same words.

    Decoding and finishing run in worker threads, so the loop stays free. A client belongs to the
    event loop in which it is first used; its calls may run at the same time. A cancelled call is
    cancelled at the server's door too.
    """

    def __init__(
        self, url: str = DEFAULT_URL, timeout: float = DEFAULT_TIMEOUT,
        least_confidence: float = LEAST_CONFIDENCE,
    ) -> None:  # fmt: skip
        self.url, self.least_confidence = wire.check_url(url), check_least(least_confidence)
        self.timeout = Deadline(timeout, url).timeout
        self._channel: Any = None
        self._stub: Any = None
        self._checked = False

    async def try_on(
        self,
        person: Picture,
        garment: Picture | None = None,
        prompt: str | None = None,
        category: str = "upper",
        size: int = 0,
        *,
        timeout: float | None = None,
        stages: bool = False,
    ) -> TryOnResult:
        """The person in the garment; arguments, answer and errors as in `TryOnClient.try_on`."""
        watch = Stopwatch()
        job, message = await asyncio.to_thread(_prepare, person, garment, prompt, category, size)
        watch.lap("prepare")
        deadline = Deadline(self.timeout if timeout is None else timeout, self.url)
        await self._check_version(deadline)
        before = await self._call("ModelStatistics", wire.statistics_request(), deadline) \
            if stages else None  # fmt: skip
        watch.skip()
        response = await self._call("ModelInfer", message, deadline)
        watch.lap("request")
        image, mask, confidence = await asyncio.to_thread(_finish, job, response)
        watch.lap("finish")
        if stages:
            after = await self._call("ModelStatistics", wire.statistics_request(), deadline)
            watch.timings.update(wire.stage_means(after, before))
        result = TryOnResult(image, mask, confidence, watch.timings)
        return trusted(result, self.least_confidence)

    async def server_stages(self) -> dict[str, float]:
        """Mean milliseconds of each served step since the server started."""
        deadline = Deadline(self.timeout, self.url)
        return wire.stage_means(
            await self._call("ModelStatistics", wire.statistics_request(), deadline)
        )

    async def check(self) -> None:
        """Raises unless a server answers that serves this client's contract version."""
        self._checked = False
        await self._check_version(Deadline(self.timeout, self.url))

    async def close(self) -> None:
        """Closes the channel; the next call opens another."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def __aenter__(self) -> AsyncTryOnClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _check_version(self, deadline: Deadline) -> None:
        if not self._checked:
            response = await self._call("ModelConfig", wire.config_request(), deadline)
            wire.check_version(response, self.url)
            self._checked = True

    async def _call(self, method: str, message: Any, deadline: Deadline) -> Any:
        if self._channel is None:
            # An asyncio channel belongs to a loop, so it is opened inside one.
            options = wire.channel_options(self.url)
            self._channel = grpc.aio.insecure_channel(self.url, options=options)
            self._stub = wire.stub(self._channel)
        try:
            return await getattr(self._stub, method)(message, timeout=deadline.left())
        except grpc.RpcError as error:
            typed = from_rpc(error, self.url, deadline.timeout)
            if isinstance(typed, ServerUnavailable):
                self._checked = False
            raise typed from None
