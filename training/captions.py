"""Sentences about garments: what captions say, what requests ask for, and their tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import numpy as np

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.05, 0.05, 0.06), "white": (0.94, 0.94, 0.93), "grey": (0.5, 0.5, 0.5),
    "light grey": (0.74, 0.74, 0.74), "dark grey": (0.25, 0.25, 0.26),
    "charcoal": (0.2, 0.21, 0.23),
    "red": (0.75, 0.08, 0.1), "dark red": (0.45, 0.05, 0.08), "burgundy": (0.38, 0.06, 0.14),
    "orange": (0.92, 0.45, 0.08), "yellow": (0.95, 0.82, 0.15), "mustard": (0.78, 0.6, 0.12),
    "green": (0.13, 0.5, 0.2), "dark green": (0.06, 0.26, 0.14), "light green": (0.6, 0.83, 0.58),
    "olive": (0.38, 0.39, 0.16), "teal": (0.05, 0.45, 0.46), "turquoise": (0.2, 0.75, 0.75),
    "blue": (0.12, 0.28, 0.72), "light blue": (0.58, 0.76, 0.93), "navy": (0.07, 0.1, 0.27),
    "denim blue": (0.28, 0.4, 0.56), "purple": (0.4, 0.18, 0.55), "lilac": (0.74, 0.63, 0.86),
    "pink": (0.95, 0.62, 0.72), "hot pink": (0.9, 0.15, 0.5), "brown": (0.36, 0.22, 0.13),
    "tan": (0.72, 0.56, 0.4), "beige": (0.85, 0.78, 0.66), "cream": (0.96, 0.92, 0.82),
    "khaki": (0.64, 0.58, 0.42), "mint": (0.66, 0.87, 0.76),
}  # fmt: skip
"""Colour names and their sRGB in 0..1."""

_REQUESTS = (
    "in {c}", "make it {c}", "{c}", "the same in {c}", "a {c} {k}", "{c} {k}", "but {c}",
    "in {c}, please", "I want it in {c}", "could I see it in {c}?", "change the colour to {c}",
    "a {k} in {c}", "turn the {k} {c}",
)  # fmt: skip

_NEUTRAL = (
    "a {k}", "this {k}", "the {k}", "buttoned", "in my size", "size L", "for summer",
    "for the office", "casual", "show me this {k}", "how does it look?", "a nice {k}, please",
    "with short sleeves", "long sleeves", "as it is", "same colour", "buttoned up", "zipped up",
    "closed", "my usual size", "true to size", "regular fit", "sleeves down", "for a party",
)  # fmt: skip

_ASIDE = (
    "show me this one", "this one", "that one, please", "try this on", "put this on me", "on me",
    "let me see", "what about this", "the other one", "do you have this in stock?", "hello",
    "for work", "for the gym", "for winter", "for me", "my favourite", "nice", "a different colour",
    "brighter", "darker", "an open collar", "with an open collar", "V-neck", "a round neck",
    "with a hood", "with pockets", "with a zip", "a crew neck", "in cotton", "in denim", "in wool",
    "more colourful", "plain", "without the print", "with a logo", "the newest", "something warm",
    "what would this look like?", "I like this one", "same again", "next", "a gift", "thank you",
)  # fmt: skip
"""What else people say of garments, none of it of how they are worn."""

_AGAINST = (
    "buttoned", "buttoned up", "zipped up", "closed", "sleeves down", "in my size", "size L",
    "my usual size", "true to size", "regular fit", "as it is",
)  # fmt: skip
"""Those that contradict a styling."""

_TUCKED = (
    "tucked in", "worn tucked in", "with the hem tucked in", "tucked into the waistband", "tucked",
    "tuck it in", "tucked into the trousers", "please tuck it in",
)  # fmt: skip
_UNTUCKED = (
    "untucked", "not tucked in", "worn untucked", "hanging out over the waistband", "untuck it",
    "leave it untucked", "don't tuck it in", "do not tuck it in", "over the trousers",
    "hanging loose over the waist",
)  # fmt: skip
_ROLLED = (
    "sleeves rolled up", "with rolled-up sleeves", "with the sleeves rolled up", "sleeves rolled",
    "roll up the sleeves", "rolled sleeves", "with its cuffs rolled up", "sleeves pushed up",
)  # fmt: skip
_SIZED = {
    -2: ("two sizes smaller", "2 sizes smaller", "very tight", "far too small", "two sizes down",
         "skin-tight", "much smaller"),
    -1: ("one size smaller", "a size smaller", "1 size smaller", "a little tighter", "tight",
         "one size down", "smaller", "a tighter fit"),
    1: ("one size larger", "a size larger", "1 size larger", "a little looser", "loose",
        "one size up", "larger", "bigger", "a looser fit"),
    2: ("two sizes larger", "2 sizes larger", "two sizes up", "oversized", "two sizes bigger",
        "baggy", "much larger"),
    3: ("three sizes larger", "3 sizes larger", "three sizes up", "far too big", "very baggy",
        "three sizes bigger", "huge"),
}  # fmt: skip
_OPEN = (
    "open", "worn open", "open over my top", "unbuttoned", "not done up", "unzipped",
    "leave it open", "open at the front", "with the front open",
)  # fmt: skip
STYLINGS = (
    *_TUCKED, *_UNTUCKED, *_ROLLED, *_OPEN, *(w for words in _SIZED.values() for w in words)
)  # fmt: skip
"""How a garment is worn, in words."""


def styled(
    sentence: str, rng: np.random.Generator, tucked: bool | None = None, size: int = 0,
    rolled: bool = False, open: bool = False,
) -> str:  # fmt: skip
    """A sentence, empty or not, that also says how the garment is worn.

    Args:
        tucked: a top tucked in or not; None: nothing is said of it.
        size: sizes larger than it is shown, -2 to 3; 0: nothing is said. rolled: sleeves rolled up.
        open: worn open over what was worn before.
    """
    said = [sentence] if sentence else []
    if size:
        said.append(str(rng.choice(_SIZED[size])))
    if rolled:
        said.append(str(rng.choice(_ROLLED)))
    if open:
        said.append(str(rng.choice(_OPEN)))
    if tucked is not None:
        said.append(str(rng.choice(_TUCKED if tucked else _UNTUCKED)))
    return ", ".join(said)


def styling_request(
    attributes: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, dict[str, int]]:
    """A sentence that may say how a garment is worn, and what it says: a value of each of
    `contract.STYLING`."""
    chance = rng.random(4)
    how = {
        "size": int(rng.choice([-2, -1, 1, 2, 3])) if chance[0] < 0.4 else 0,
        "rolled": int(chance[1] < 0.25),
        "open": int(chance[2] < 0.2),
        "tucked": int(rng.choice([-1, 1])) if chance[3] < 0.4 else 0,
    }
    start = rng.random()
    about = "" if start < 0.3 else sample_caption(attributes, rng)
    if start > 0.85:
        about = str(rng.choice(_ASIDE))
    elif start > 0.6:
        about = recolour_request(attributes, rng)[0]
        if about in _AGAINST and (how["open"] or how["rolled"] or how["size"]):
            about = ""  # "buttoned up, unzipped" says nothing
    said = styled(
        "", rng, {-1: False, 0: None, 1: True}[how["tucked"]], how["size"], bool(how["rolled"]),
        bool(how["open"]),
    )  # fmt: skip
    parts = [part for part in (about, *said.split(", ")) if part]
    if rng.random() < 0.3:
        parts = [str(part) for part in rng.permutation(np.array(parts))]
    return str(rng.choice((", ", ", ", " and ", " "))).join(parts) or "as it is", how


def recolour_request(
    attributes: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, tuple[float, float, float] | None]:
    """A sentence asking for a colour and that colour, or one that asks for none and None."""
    if rng.random() < 0.3:
        return str(rng.choice(_NEUTRAL)).format(k=attributes.get("kind", "garment")), None
    name = str(rng.choice(list(COLOURS)))
    sentence = str(rng.choice(_REQUESTS)).format(c=name, k=attributes.get("kind", "garment"))
    return sentence, COLOURS[name]


def sample_caption(attributes: Mapping[str, str], rng: np.random.Generator) -> str:
    """The caption of a garment, in one of several wordings."""
    if rng.random() < 0.4 and attributes.get("caption"):
        return str(attributes["caption"])
    colour, kind = attributes.get("colour", ""), attributes.get("kind", "garment")
    pattern = attributes.get("pattern", "plain")
    words = {"plain": "", "horizontal stripes": "striped", "vertical stripes": "pinstriped",
             "checks": "checked", "dots": "dotted", "floral": "floral"}  # fmt: skip
    middle = words.get(pattern, "")
    second = attributes.get("second_colour", "")
    start = " ".join(w for w in (colour, middle, kind) if w)
    if middle and second and second != colour and rng.random() < 0.5:
        start = f"{colour} and {second} {middle} {kind}"
    if pattern in ("logo", "lettering"):
        start += f" with {'a logo' if pattern == 'logo' else 'lettering'}"
    sleeve = attributes.get("sleeve", "")
    if sleeve and rng.random() < 0.5:
        start += ", sleeveless" if sleeve == "sleeveless" else f", {sleeve} sleeves"
    if rng.random() < 0.5:
        start = f"a {start}"
    return start


class Vocabulary:
    """Words of captions as integers; 0 pads, 1 starts, 2 ends, 3 is any other word."""

    SPECIAL = ("<pad>", "<start>", "<end>", "<other>")

    def __init__(self, words: Iterable[str]) -> None:
        self.words = [*self.SPECIAL, *sorted(set(words) - set(self.SPECIAL))]
        self.index = {word: i for i, word in enumerate(self.words)}

    @staticmethod
    def split(sentence: str) -> list[str]:
        return re.findall(r"[a-z0-9]+", sentence.lower())

    @classmethod
    def of(cls, sentences: Iterable[str]) -> Vocabulary:
        return cls(word for sentence in sentences for word in cls.split(sentence))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentence: str, length: int = 20) -> np.ndarray:
        """int64 (length,): start, words, end, padding."""
        ids = [self.index.get(w, 3) for w in self.split(sentence)][: length - 2]
        row = np.zeros(length, np.int64)
        row[: len(ids) + 2] = [1, *ids, 2]
        return row

    def to_json(self) -> str:
        return json.dumps(self.words[len(self.SPECIAL) :])

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        return cls(json.loads(text))
