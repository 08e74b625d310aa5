"""What the mirror itself refuses, beside the client's own errors."""

from __future__ import annotations

import re

from tryon_client.errors import InvalidRequest, TryOnError, one_line


class MirrorError(InvalidRequest):
    """Base of the mirror's own errors; its text is one line."""


class BadMessage(MirrorError):
    """A message that the page never sends."""


class GarmentGone(MirrorError):
    """No garment of this id hangs on the rail (any more)."""


class MirrorFull(MirrorError):
    """As many visitors as are served are there already."""


class OtherSite(MirrorError):
    """A request that another site's page made the browser send."""


class BadFolder(MirrorError):
    """A folder of garments that can't be used."""


class NoWebRTC(MirrorError):
    """This server can't do WebRTC: the page keeps to its WebSocket."""


class CannotListen(MirrorError):
    """The port can't be had; the message says why and what to do."""


def code(error: TryOnError) -> str:
    """The error's name for programs: NO_PERSON_FOUND for NoPersonFound."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()


def told(error: TryOnError | None) -> dict[str, str] | None:
    """The error as the page gets it; None where there is none."""
    return None if error is None else {"code": code(error), "text": one_line(str(error))}
