"""Light and relief of real bare arms, for those that G paints (`tryon.models.limbs`).

    python -m training.relief --out runs/relief
    python -m training.relief --weights runs/mine --out runs/relief --detail P004

From the studio photos of the eight people of `openpeople` whom a training may see
(`data/photographs.py`), in seconds: each arm is drawn out straight by its joints and its outline,
and divided by its own colour. What is broad is the mean of all; what is fine, which a mean would
smooth away, is one person's. Nothing else of the weights changes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from training.data.photographs import Photograph, people, photograph, trained_people
from tryon.assets import AssetError
from tryon.contract import PARSE
from tryon.models import system
from tryon.models.composite import LUMA
from tryon.models.generator import Generator
from tryon.models.limbs import COLUMNS, ROWS
from tryon.preprocess import (
    LEFT_ELBOW,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)

ARMS = {
    "arm_left": (LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST, 1.0),
    "arm_right": (RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, -1.0),
}
"""Joints, and to which side of the way along them the outer side of a hanging arm lies."""
_ASIDE, _STEPS = 0.45, 181
"""How far aside, in lengths of the upper arm, an arm's outline is looked for, and in how many
steps."""
_WITHIN = 0.83
"""Of half its width: beyond it a pixel of the outline is not wholly the arm's."""
_HEM = 4
"""Rows below a sleeve in its shadow."""
_SOFTER = 0.7
"""How strong relief is: a studio's light is harder than a room's, or the sky's."""
_BROAD = (4.0, 4.0)
"""Standard deviations, across and along in cells, beyond which relief is broad."""


def straight(photo: Photograph, name: str) -> np.ndarray:
    """A bare arm drawn out straight, over its own mean colour: float32 (ROWS, COLUMNS, 3).

    Above the first row that is wholly bare, that one goes on.

    Args:
        photo: of a person whose arms hang; name: of ARMS.

    Raises:
        ValueError: less than its lower half is bare.
    """
    line, across = _lines(photo, name, (np.arange(ROWS) + 0.5) / ROWS * 2)
    bare = (photo.classes == PARSE.index(name)).astype(np.float32)

    aside = np.linspace(-_ASIDE, _ASIDE, _STEPS)
    seen = _sample(bare, line[:, None] + aside[:, None] * across[:, None])
    width = seen.sum(1)
    rows = np.flatnonzero(width * (aside[1] - aside[0]) > 0.1)
    if len(rows) == 0 or rows[0] > ROWS // 2:
        raise ValueError(f"{photo.name}: {name} is not bare from the elbow on")
    centre = np.interp(np.arange(ROWS), rows, (seen @ aside)[rows] / width[rows])
    half = np.interp(np.arange(ROWS), rows, width[rows] * (aside[1] - aside[0]) / 2)
    centre, half = (cv2.GaussianBlur(v, (1, 15), 0, sigmaY=3)[:, 0] for v in (centre, half))
    columns = ((np.arange(COLUMNS) + 0.5) / COLUMNS * 2 - 1) * _WITHIN
    place = line[:, None] + (centre[:, None] + half[:, None] * columns)[..., None] * across[:, None]
    arm = _sample(photo.pixels.astype(np.float32), place)
    first = rows[0] + _HEM
    arm[:first] = arm[first : first + _HEM].mean(0)
    return arm / arm[first:].mean((0, 1))


def shape_of(photo: Photograph, name: str, far: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the width of a bare arm, and how far outside of its joints its middle lies, each as
    `far` in lengths of its longer limb; NaN where it is not bare (`limbs.outlines`).

    Args:
        photo, name: as for `straight`.
        far: (n,) places, 0 at the shoulder, 1 at the elbow, 2 at the wrist.
    """
    *names, _ = ARMS[name]
    shoulder, elbow, wrist = photo.joints[names, :2].astype(np.float64)
    upper, lower = np.linalg.norm(elbow - shoulder), np.linalg.norm(wrist - elbow)
    line, across = _lines(photo, name, far)
    across *= max(upper, lower) / upper
    aside = np.linspace(-_ASIDE, _ASIDE, _STEPS)
    bare = (photo.classes == PARSE.index(name)).astype(np.float32)
    seen = _sample(bare, line[:, None] + aside[:, None] * across[:, None])
    width = seen.sum(1) * (aside[1] - aside[0])
    known = np.where(width > 0.1, width, np.nan)
    return known / 2, (seen @ aside) * (aside[1] - aside[0]) / known


def _lines(photo: Photograph, name: str, far: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places along an arm's joints, and the ways across it there, to its outer side and as long as
    its upper limb: (n, 2) each."""
    *names, outer = ARMS[name]
    shoulder, elbow, wrist = photo.joints[names, :2].astype(np.float64)
    line = np.where(
        far[:, None] < 1,
        shoulder + far[:, None] * (elbow - shoulder),
        elbow + (far[:, None] - 1) * (wrist - elbow),
    )
    length = np.linalg.norm(elbow - shoulder)
    upper, lower = (v / (np.linalg.norm(v) + 1e-6) for v in (elbow - shoulder, wrist - elbow))
    bent = np.clip((far - 0.8) / 0.4, 0, 1)[:, None]
    along = upper + bent * (lower - upper)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-6
    return line, outer * length * np.stack([along[:, 1], -along[:, 0]], 1)


def _sample(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    x, y = (np.ascontiguousarray(at[..., i], dtype=np.float32) for i in (0, 1))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR)


def relief(arms: dict[str, np.ndarray], detail: str) -> np.ndarray:
    """Gains float32 (ROWS, COLUMNS), 1 on the whole: the mean of people's arms where it is
    broad, one's where it is fine.

    Args:
        arms: of `straight`, by person; detail: one of them.
    """

    def broad(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (0, 0), _BROAD[0], sigmaY=_BROAD[1])

    mean = np.mean(list(arms.values()), 0)
    gains = broad(mean) * arms[detail] / broad(arms[detail])
    gains = gains @ np.array(LUMA, np.float32)
    return 1 + _SOFTER * (gains / gains.mean() - 1)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.relief", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--detail", choices=trained_people(), default="P001", help="whose is the fine")
    p.add_argument("--out", type=Path, required=True, help="folder for the weights")
    args = p.parse_args(arguments)
    try:
        models = system.load_models(args.weights, grown=True)
        photos = [photograph(path) for path in tqdm(people("train"), desc="people")]
        generator = models["generator"]
        assert isinstance(generator, Generator)
        for index, name in enumerate(ARMS):
            gains = relief({photo.name: straight(photo, name) for photo in photos}, args.detail)
            generator.relief.gains[index] = torch.from_numpy(gains)
        about = system.metadata(args.weights) | {"relief": args.detail}
        print(system.save(models, args.out, about))
    except (AssetError, OSError, ValueError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
