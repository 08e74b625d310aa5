"""Steps of the wardrobe: a garment is named and kept once, and found again for every frame."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tryon.contract import CANVAS_SIZES, CATEGORIES, KEPT, MAX_SIDE, MIN_SIDE
from tryon.errors import BadShape, RequestError, UnknownGarment, WardrobeAway
from tryon.steps import images
from tryon.steps.decode import check_wish, read_category, read_garment
from tryon.steps.garment import canvas_size
from tryon.steps.thumbnail import thumbnail
from tryon.steps.tokenizer import Tokenizer, read_prompt
from tryon.wardrobe.features import pack, unpack
from tryon.wardrobe.ident import check_id, garment_id
from tryon.wardrobe.store import Store, StoreError, open_store


class Named(NamedTuple):
    """The outputs of `wardrobe_decode`, in the contract's order."""

    cloth: np.ndarray
    canvas_size: np.ndarray
    condition: np.ndarray
    input_ids: np.ndarray
    attention_mask: np.ndarray
    new_id: np.ndarray


def wardrobe_decode(
    garment: np.ndarray, prompt: bytes, category: bytes, frame_size: np.ndarray,
    tokenizer: Tokenizer, version: str,
) -> Named:  # fmt: skip
    """Checks a garment and its words, decodes them as `decode` does, and names them.

    Args:
        garment: uint8 (H, W, 3 or 4), (1, 1, N) an encoded file, or (1, 1, 1) for none.
        prompt: UTF-8; blank for none.
        category: one of CATEGORIES.
        frame_size: int32 (2,), height and width of the frames to come, MIN_SIDE to MAX_SIDE.
        tokenizer: of the text encoder.
        version: of the networks (`wardrobe.ident.features_version`).

    Raises:
        RequestError: one of its subclasses, with the field's name.
    """
    words, which = read_prompt(prompt), read_category(category)
    height, width = (int(side) for side in frame_size)
    if not (min(height, width) >= MIN_SIDE and max(height, width) <= MAX_SIDE):
        raise BadShape(f"frame_size: ({height}, {width}): send height and width of the frames, "
                       f"{MIN_SIDE} to {MAX_SIDE} each")  # fmt: skip
    check_wish(garment, words)
    cloth, size, condition = read_garment(garment, words, which, (height, width))
    name = garment_id(version, garment, words, which)
    return Named(cloth, size, condition, *tokenizer(words), np.array([name.encode()], object))


class Shelf:
    """The store as the steps use it: opened when first needed, so that a server without one still
    serves all that needs none.

    Args:
        opened: opens it; `wardrobe.store.open_store`, unless it is given.
    """

    def __init__(self, opened: Callable[[], Store] = open_store) -> None:
        self._open, self._store = opened, None  # type: Callable[[], Store], Store | None

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The store. Raises WardrobeAway for what goes wrong with it."""
        try:
            if self._store is None:
                self._store = self._open()
            yield self._store
        except StoreError as error:
            raise WardrobeAway(" ".join(str(error).split())) from None


def wardrobe_keep(
    new_id: bytes, prompt: bytes, *kept: np.ndarray, shelf: Shelf
) -> tuple[np.ndarray]:
    """Keeps the tensors of KEPT under an ID; the ID, bytes (1,).

    Raises:
        UnknownGarment: no ID. BadShape: a canvas of another size. WardrobeAway.
    """
    name = check_id(new_id)
    features = {t.name: array for t, array in zip(KEPT, kept, strict=True)}
    canvas = features["canvas"].shape[1:]
    if canvas not in CANVAS_SIZES:
        raise BadShape(f"canvas: {canvas}: send one of {CANVAS_SIZES}")
    category = CATEGORIES[int(np.argmax(features["condition"][: len(CATEGORIES)]))]
    about = json.dumps({"id": name, "category": category, "prompt": read_prompt(prompt),
                        "canvas": [int(side) for side in canvas]})  # fmt: skip
    with shelf.store() as store:
        store.put(_key(name, canvas[0]), pack(features), about)
    return (np.array([name.encode()], object),)


def live_decode(
    person: np.ndarray, garment: bytes, shelf: Shelf, version: str
) -> tuple[np.ndarray, ...]:
    """Decodes a frame and finds its garment.

    Args:
        person: uint8 (H, W, 3 or 4), or (1, 1, N) an encoded file.
        garment: an ID.
        shelf: where it is kept.
        version: of the networks.

    Returns:
        photo uint8 (H, W, 3), thumbnail uint8 (224, 224 or 160, 3), then the tensors of KEPT.

    Raises:
        RequestError: UnknownGarment where nothing is kept for frames of this size.
    """
    photo = images.on_white(images.read("person", person, MAX_SIDE))
    name = check_id(garment, version)
    # Words alone are painted small, on the smallest canvas, whatever the frame's size.
    wanted = canvas_size(*photo.shape[:2])
    for canvas in dict.fromkeys((wanted, CANVAS_SIZES[0])):
        with shelf.store() as store:
            value = store.get(_key(name, canvas[0]))
        features = None if value is None else unpack(value)
        if features is not None and (canvas == wanted or not features["condition"][3]):
            return photo, thumbnail(photo), *(features[t.name] for t in KEPT)
    raise UnknownGarment(
        f"garment_id: {name} is not kept (any more) for frames of {photo.shape[0]}x"
        f"{photo.shape[1]}: add the garment again, with this frame_size"
    )


def wardrobe(action: bytes, garment: bytes, shelf: Shelf) -> tuple[np.ndarray]:
    """Lists or removes kept garments.

    Args:
        action: list, or remove.
        garment: the ID to remove; list looks at none.
        shelf: where they are kept.

    Returns:
        A line of JSON for each entry that is there, or that was removed: bytes (N,).

    Raises:
        RequestError: another action, no ID, or WardrobeAway.
    """
    if action == b"list":
        with shelf.store() as store:
            entries = store.entries()[::-1]
    elif action == b"remove":
        name = check_id(garment)
        with shelf.store() as store:
            found = [store.remove(_key(name, height)) for height, _ in CANVAS_SIZES]
        entries = [entry for entry in found if entry is not None]
    else:
        raise RequestError("action: send list or remove")
    lines = [json.dumps({**json.loads(entry.about), "bytes": entry.size, "added": entry.added})
             for entry in entries]  # fmt: skip
    return (np.array([line.encode() for line in lines], object),)


def _key(name: str, canvas_height: int) -> str:
    return f"{name}:{canvas_height}"
