"""What can go wrong in a try-on, one class each, all below `TryOnError`.

The server's refusals arrive as `[CODE] sentence` somewhere in a gRPC message that Triton has
wrapped in its own words; `from_rpc` finds them and answers the class with the sentence alone.
Checks made before anything is sent raise the same classes.
"""

from __future__ import annotations

import re
from typing import Any


class TryOnError(Exception):
    """Base of all errors that the client raises on purpose; its text is one line."""


class NoPersonFound(TryOnError):
    """The person picture shows nobody."""


class SeveralPeople(TryOnError):
    """The person picture shows more than one person."""


class ImageTooSmall(TryOnError):
    """A picture's shorter side is below 64 pixels."""


class ImageTooLarge(TryOnError):
    """A picture has more pixels, or a file more bytes, than is decoded."""


class NotAnImage(TryOnError):
    """Something that is no picture, or a file that is missing, unreadable, damaged or cut off."""


class InvalidRequest(TryOnError):
    """An argument of the wrong kind: category, prompt, an array's shape, dtype or values."""


class NothingToWear(TryOnError):
    """Neither a garment nor a prompt."""


class PromptTooLong(TryOnError):
    """A prompt of more than 512 characters."""


class LowConfidence(TryOnError):
    """The networks doubt what they made of the pictures. `result`: the answer all the same."""

    def __init__(self, text: str, result: Any = None) -> None:
        super().__init__(text)
        self.result = result


class ServerUnavailable(TryOnError):
    """Nothing answers at the address."""


class ServerNotReady(TryOnError):
    """A server answers, but doesn't serve the model (yet, or any more)."""


class DeadlineExceeded(TryOnError):
    """The answer did not come within the timeout."""


class WrongModelVersion(TryOnError):
    """The server speaks another version of the contract than this client."""


class UnknownGarment(TryOnError):
    """The server keeps nothing under this garment ID (any more) for frames of this size."""


class OutdatedGarment(UnknownGarment):
    """A garment ID that other networks than the server's gave."""


class WardrobeAway(TryOnError):
    """The server serves, but the store of its wardrobe can't be reached, read or written."""


CODES: dict[str, type[TryOnError]] = {
    "NOT_AN_IMAGE": NotAnImage,
    "IMAGE_TOO_SMALL": ImageTooSmall,
    "IMAGE_TOO_LARGE": ImageTooLarge,
    "BAD_SHAPE": InvalidRequest,
    "BAD_CATEGORY": InvalidRequest,
    "BAD_PROMPT": InvalidRequest,
    "PROMPT_TOO_LONG": PromptTooLong,
    "NOTHING_TO_WEAR": NothingToWear,
    "NO_PERSON": NoPersonFound,
    "SEVERAL_PEOPLE": SeveralPeople,
    "UNKNOWN_GARMENT": UnknownGarment,
    "OUTDATED_GARMENT": OutdatedGarment,
    "WARDROBE_AWAY": WardrobeAway,
}
"""The server's codes and the classes they become."""

_CODE = re.compile(r"\[(" + "|".join(CODES) + r")\]\s*([^\n]*)")
_NOT_READY = re.compile(
    r"unknown model|no available versions|not ready|not found|unloading|exiting|shutting down", re.I
)


def one_line(text: str, limit: int = 300) -> str:
    """`text` with its white space and control characters folded, cut at `limit` characters."""
    folded = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def from_rpc(error: Any, url: str, timeout: float) -> TryOnError:
    """The typed error for a `grpc.RpcError` of a call to `url` with `timeout` seconds."""
    status = error.code().name if callable(getattr(error, "code", None)) else "UNKNOWN"
    text = (error.details() if callable(getattr(error, "details", None)) else "") or ""
    coded = _CODE.search(text)
    if coded:
        return CODES[coded[1]](one_line(coded[2]) or coded[1])
    detail = one_line(text)
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"no answer from {url} within {timeout:g} s: raise the timeout, or see whether the "
            "server is overloaded"
        )
    if status == "NOT_FOUND" or (status == "UNAVAILABLE" and _NOT_READY.search(text)):
        return ServerNotReady(
            f"the server at {url} doesn't serve the try-on model (yet): wait for it, or look at "
            f"its log ({detail})"
        )
    if status == "UNAVAILABLE":
        return ServerUnavailable(
            f"no try-on server at {url}: start one with `make serve`, or give its gRPC address "
            f"(8001, not the HTTP port 8000) ({detail})"
        )
    if status == "INVALID_ARGUMENT":
        return InvalidRequest(detail)
    return TryOnError(f"the server at {url} failed: {status}: {detail}")
