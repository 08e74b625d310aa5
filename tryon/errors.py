"""What can be wrong with a request, one class each with a stable code.

The served steps answer these as Triton errors whose text is `[CODE] sentence`; clients find the
code in it, whatever Triton writes around it.
"""

from __future__ import annotations


class RequestError(ValueError):
    """A request that can't be served; the message names the field and what to do about it."""

    code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"[{self.code}] {self.args[0] if self.args else ''}"


class NotAnImage(RequestError):
    """Bytes that are no picture, or a damaged or truncated one."""

    code = "NOT_AN_IMAGE"


class ImageTooSmall(RequestError):
    """A side is below `MIN_SIDE` pixels."""

    code = "IMAGE_TOO_SMALL"


class ImageTooLarge(RequestError):
    """More pixels or bytes than the server takes."""

    code = "IMAGE_TOO_LARGE"


class BadShape(RequestError):
    """A tensor that is neither pixels nor an encoded file."""

    code = "BAD_SHAPE"


class BadCategory(RequestError):
    """A category that is not served."""

    code = "BAD_CATEGORY"


class BadPrompt(RequestError):
    """A prompt that is no text."""

    code = "BAD_PROMPT"


class PromptTooLong(RequestError):
    """A prompt of more than `MAX_PROMPT_CHARACTERS`."""

    code = "PROMPT_TOO_LONG"


class NothingToWear(RequestError):
    """Neither a garment nor a prompt."""

    code = "NOTHING_TO_WEAR"


class NoPerson(RequestError):
    """Nobody is seen in the person picture."""

    code = "NO_PERSON"


class SeveralPeople(RequestError):
    """More than one person is seen in the person picture."""

    code = "SEVERAL_PEOPLE"


class UnknownGarment(RequestError):
    """A garment ID under which nothing is kept (any more) for frames of this size."""

    code = "UNKNOWN_GARMENT"


class OutdatedGarment(RequestError):
    """A garment ID that other networks than the served ones gave."""

    code = "OUTDATED_GARMENT"


class WardrobeAway(RequestError):
    """The store of the wardrobe can't be reached, read or written."""

    code = "WARDROBE_AWAY"


CODES: dict[str, type[RequestError]] = {
    kind.code: kind
    for kind in (
        NotAnImage, ImageTooSmall, ImageTooLarge, BadShape, BadCategory, BadPrompt, PromptTooLong,
        NothingToWear, NoPerson, SeveralPeople, UnknownGarment, OutdatedGarment, WardrobeAway,
    )
}  # fmt: skip
"""Every code a server may answer, and its class."""
