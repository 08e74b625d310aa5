"""Real try-on data sets by their published layout, and a shop's own folder of photos.

    VITON-HD (Choi et al., 2021)       ROOT/test_pairs.txt, ROOT/test/image/, ROOT/test/cloth/
    Dress Code (Morelli et al., 2022)  ROOT/{upper_body,lower_body,dresses}/images/ and pair lists
    a shop                             ROOT/people/, ROOT/garments/{upper,lower,dress}/

None is part of this project: the licences of the first two forbid a shop's use of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tryon.contract import CATEGORIES

LAYOUTS = ("viton-hd", "dress-code", "shop")
ORDERS = ("paired", "unpaired")
_DRESS_CODE = dict(zip(("upper_body", "lower_body", "dresses"), CATEGORIES, strict=True))
_PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class RealPair:
    """A person's photo and a garment's; `worn`: the photo shows the person in that garment."""

    person: Path
    garment: Path
    category: str
    worn: bool


def load(layout: str, root: Path, split: str = "test", order: str = "unpaired") -> list[RealPair]:
    """The pairs of a split.

    Args:
        layout: one of LAYOUTS; a shop has no split, and no order but "unpaired".
        split: "train" or "test".
        order: "paired", each person with the garment worn; or "unpaired", with another.

    Raises:
        FileNotFoundError: a list or a picture is not where the layout has it; names it.
        ValueError: a line of a list that is not two file names, or an order there is none of.
    """
    if layout == "viton-hd":
        return _viton_hd(root, split, order)
    if layout == "dress-code":
        return _dress_code(root, split, order)
    if layout == "shop":
        return _shop(root, order)
    raise ValueError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")


def _viton_hd(root: Path, split: str, order: str) -> list[RealPair]:
    pairs = []
    for person, garment in _lines(root / f"{split}_pairs.txt"):
        # The list is unpaired; a garment has the name of the photo it is worn in.
        cloth = person if order == "paired" else garment
        pairs.append(
            RealPair(root / split / "image" / person, root / split / "cloth" / cloth, "upper",
                     cloth == person)
        )  # fmt: skip
    return _there(pairs)


def _dress_code(root: Path, split: str, order: str) -> list[RealPair]:
    pairs = []
    for folder, category in _DRESS_CODE.items():
        if not (root / folder).is_dir():
            continue
        # Only the test split has an unpaired list.
        name = f"{split}_pairs_{order}.txt" if split == "test" else f"{split}_pairs.txt"
        if split != "test" and order != "paired":
            raise ValueError(f"{root}: Dress Code's split {split!r} is paired")
        for person, garment in _lines(root / folder / name):
            worn = person.rsplit("_", 1)[0] == garment.rsplit("_", 1)[0]
            images = root / folder / "images"
            pairs.append(RealPair(images / person, images / garment, category, worn))
    if not pairs:
        raise FileNotFoundError(f"{root} has none of the folders {', '.join(_DRESS_CODE)}")
    return _there(pairs)


def _shop(root: Path, order: str) -> list[RealPair]:
    if order != "unpaired":
        raise ValueError(f"{root}: a shop's photos don't say who wears what: use unpaired")
    people = _pictures(root / "people")
    pairs = []
    for category in CATEGORIES:
        folder = root / "garments" / category
        for garment in _pictures(folder) if folder.is_dir() else []:
            pairs += [RealPair(person, garment, category, False) for person in people]
    if not pairs:
        raise FileNotFoundError(
            f"{root} holds no pictures in people/ and garments/{{{','.join(CATEGORIES)}}}/"
        )
    return pairs


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing: a shop's photos lie in people/ and garments/"
        )
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES)


def _lines(path: Path) -> list[tuple[str, str]]:
    """The rows of a pair list: person and garment, parted by white space."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is this the data set's root?")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        names = line.split()
        if not names:
            continue
        if len(names) < 2:
            raise ValueError(f"{path}, line {number}: {line!r} is not a person and a garment")
        rows.append((names[0], names[1]))
    return rows


def _there(pairs: list[RealPair]) -> list[RealPair]:
    for pair in pairs:
        for path in (pair.person, pair.garment):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing, and the pair list names it")
    return pairs
