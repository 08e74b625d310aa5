"""Client of the virtual try-on server: two photos in, a try-on picture out.

from tryon_client import TryOnClient

result = TryOnClient("localhost:8001").try_on("me.jpg", "shirt.jpg")
result.image.save("out.png")
"""

from tryon_client.client import AsyncTryOnClient, TryOnClient, TryOnResult
from tryon_client.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    ImageTooSmall,
    InvalidRequest,
    LowConfidence,
    NoPersonFound,
    NotAnImage,
    NothingToWear,
    OutdatedGarment,
    PromptTooLong,
    ServerNotReady,
    ServerUnavailable,
    SeveralPeople,
    TryOnError,
    UnknownGarment,
    WardrobeAway,
    WrongModelVersion,
)
from tryon_client.wardrobe import Garment, Wardrobe
from tryon_client.wire import CONTRACT_VERSION

__all__ = [
    "CONTRACT_VERSION",
    "AsyncTryOnClient",
    "DeadlineExceeded",
    "Garment",
    "ImageTooLarge",
    "ImageTooSmall",
    "InvalidRequest",
    "LowConfidence",
    "NoPersonFound",
    "NotAnImage",
    "NothingToWear",
    "OutdatedGarment",
    "PromptTooLong",
    "ServerNotReady",
    "ServerUnavailable",
    "SeveralPeople",
    "TryOnClient",
    "TryOnError",
    "TryOnResult",
    "UnknownGarment",
    "Wardrobe",
    "WardrobeAway",
    "WrongModelVersion",
]
