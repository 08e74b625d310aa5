"""Photographs of people in plain, tight clothes, and what is seen where in each.

The studio photos of `openpeople` (generated people, MIT): ten people, standing, in a pale T-shirt
and shorts. `photo_scene.py` dresses them in rendered garments.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from training.data.bodies import cache_dir
from training.listen import predictions
from tryon.assets import asset_path
from tryon.contract import PARSE, POSE_SIZE
from tryon.models import system
from tryon.models.composite import enlarge
from tryon.models.pose import Pose
from tryon.pipeline import TryOnPipeline
from tryon.preprocess import square_around, window_from_anchors
from tryon.steps.crop import anchors_in_photo, find_person, resample

PHOTOS = tuple(f"P{i:03d}/assets/studio_posture.jpg" for i in range(1, 11))
"""Paths within `openpeople`."""
HELD_OUT = ("P009", "P010")
"""People that no training sees: they are the test split."""
HEIGHT = 1376
"""Photos are scaled down to so many rows."""

_VERSION = 1
_SKIN = ("face_neck", "arm_left", "arm_right", "leg_left", "leg_right")
_CLOTH = ("upper", "lower")
_SURE = 0.7


@dataclass
class Photograph:
    """A photo of one person who stands and faces the camera.

    Attributes:
        name: of the person, as "P001".
        pixels: uint8 (H, W, 3). classes: uint8 (H, W), index into PARSE: no dress, no shoes (feet
            are bare: legs).
        joints: float32 (33, 3), BlazePose's order: x, y in pixels, and visibility in 0..1.
        gender: as `bodies.Person` has it, 0 is male.
    """

    name: str
    pixels: np.ndarray
    classes: np.ndarray
    joints: np.ndarray
    gender: float


def people(split: str) -> list[str]:
    """Paths within `openpeople` of a split's photos, "train" or "test"."""
    return [p for p in PHOTOS if (p[:4] in HELD_OUT) == (split == "test")]


def trained_people() -> list[str]:
    """Names of the people whom the training sees, as "P001"."""
    return [path[:4] for path in people("train")]


def kept_at(name: str) -> Path:
    """Where a person's photo is kept as the present weights see it: by what others saw the same
    seed would give other scenes."""
    return cache_dir() / f"photograph-{_VERSION}-{system.weights_hash()[:8]}-{name}.npz"


def photograph(path: str) -> Photograph:
    """A photo of PHOTOS, from `cache_dir()`; the first time it is looked at by the networks.

    Raises:
        tryon.assets.AssetError: the package can't be had.
        ValueError: the photo can't be read.
        OSError: what was seen can't be kept; names the file, and leaves nothing behind.
    """
    name = path[:4]
    kept = kept_at(name)
    try:
        with np.load(kept) as file:
            return Photograph(
                name, file["pixels"], file["classes"], file["joints"], float(file["gender"])
            )
    except (FileNotFoundError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        found = _look(path)  # not there, or damaged
    temporary = kept.with_name(f"{kept.stem}.{os.getpid()}.tmp.npz")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(temporary, pixels=found.pixels, classes=found.classes, joints=found.joints,
                 gender=found.gender)  # fmt: skip
        temporary.replace(kept)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(kept)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _look(path: str) -> Photograph:
    root = asset_path("openpeople")
    image = cv2.imread(str(root / path))
    if image is None:
        raise ValueError(f"{root / path} is no picture; run `python -m tryon.assets --verify`")
    size = round(image.shape[1] * HEIGHT / image.shape[0]), HEIGHT
    pixels = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1])
    sex = json.loads((root / path[:4] / "metadata.json").read_text())["character_details"][
        "demographics"
    ]["sex"]
    pipeline = TryOnPipeline()
    odds, tensors = _parse(pipeline, pixels)
    joints = _joints(pipeline, pixels, tensors)
    classes = _classes(pixels, odds, joints)
    return Photograph(path[:4], pixels, classes, joints, 0.05 if sex == "male" else 0.95)


def _parse(pipeline: TryOnPipeline, pixels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The networks' parse, float32 (H, W, classes), of the views for a top and for trousers."""
    odds = np.zeros((*pixels.shape[:2], len(PARSE)), np.float32)
    odds[..., 0] = 1
    tensors: dict[str, np.ndarray] = {}
    for category in ("lower", "upper"):
        seen, tensors = predictions(pipeline, pixels, category)
        window = torch.zeros(1, 3, *tensors["window"].shape[1:3])
        placement = torch.from_numpy(tensors["placement"])
        found = enlarge(seen["parse"].softmax(1), placement, window)[0].permute(1, 2, 0).numpy()
        x0, y0, x1, y1 = (int(v) for v in tensors["box"][0])
        height = y1 - y0
        # The view for a top ends in the thighs: over its last rows the other takes its place.
        weight = np.clip((0.92 * height - np.arange(height)) / (0.1 * height), 0, 1)
        weight = np.ones_like(weight) if category == "lower" else weight
        part = odds[y0:y1, x0:x1]
        part += weight[:, None, None] * (found - part)
    return odds, tensors


def _joints(
    pipeline: TryOnPipeline, pixels: np.ndarray, tensors: dict[str, np.ndarray]
) -> np.ndarray:
    found = find_person(tensors["boxes"][0], tensors["scores"][0])
    whole = window_from_anchors(*anchors_in_photo(found, *pixels.shape[:2]), "dress")
    square = square_around(whole)
    view = torch.from_numpy(resample(pixels, square, POSE_SIZE).transpose(2, 0, 1)[None].copy())
    pose = pipeline.models["pose"]
    assert isinstance(pose, Pose)
    with torch.no_grad():
        marks = pose.features(view.float() / 255)["landmarks"][0, :33].numpy()
    place = marks[:, :2] * (square[2] - square[0]) + square[:2]
    return np.concatenate([place, marks[:, 3:4]], 1).astype(np.float32)


def _classes(pixels: np.ndarray, odds: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """The parse, its outlines led to the photo's own edges by colour (GrabCut)."""
    index = PARSE.index
    person = _cut(pixels, odds[..., 0] < 0.5, odds[..., 0] < 0.3, odds[..., 0] < _SURE)
    skin = odds[..., [index(n) for n in (*_SKIN, "hair")]]
    upper, lower = (odds[..., index(n)] for n in _CLOTH)
    rows = np.arange(len(pixels))[:, None]
    hips, knees = joints[[23, 24], 1].mean(), joints[[25, 26], 1].mean()
    thigh = knees - hips
    bare = person & (skin.sum(-1) > _SURE) & (rows < hips + 0.3 * thigh) | person & (rows > knees)
    # What lies behind the person is no part of the choice between cloth and skin.
    alone = np.where(person[..., None], pixels, np.median(pixels[bare], 0)).astype(np.uint8)
    # Bare thighs pass for trousers: below the hips the colour decides.
    likely = person & (upper + lower > 0.5) & (rows < hips + 0.5 * thigh)
    lap = (lower > 0.5) & (rows < hips + 0.3 * thigh)
    cloth = person & _cut(alone, likely, (upper > _SURE) | lap, person & ~bare)
    order = np.array([index(n) for n in (*_SKIN, "hair")], np.uint8)
    classes = order[skin.argmax(-1)]
    unsure = skin.max(-1) < 0.2
    left = np.arange(pixels.shape[1])[None] > joints[[25, 26], 0].mean()
    leg = np.where(left, index("leg_left"), index("leg_right")).astype(np.uint8)
    leg = np.broadcast_to(leg, classes.shape)
    arms = np.isin(classes, [index("arm_left"), index("arm_right")])
    low = (rows > hips + 0.5 * thigh) & ~arms
    classes = np.where((unsure & (rows > hips)) | low | (rows > knees), leg, classes)
    classes[cloth] = np.where(upper > lower, index("upper"), index("lower"))[cloth]
    classes[~person] = 0
    return classes.astype(np.uint8)


def _cut(
    pixels: np.ndarray, likely: np.ndarray, surely: np.ndarray, possible: np.ndarray
) -> np.ndarray:
    """bool (H, W): GrabCut's foreground, begun with what is likely, sure well inside `surely`, and
    nowhere far outside `possible`."""

    def disc(radius: int) -> np.ndarray:
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

    state = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[cv2.erode((surely & likely).astype(np.uint8), disc(6)) > 0] = cv2.GC_FGD
    state[cv2.dilate((possible | likely).astype(np.uint8), disc(12)) == 0] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    image = np.ascontiguousarray(pixels[..., ::-1])
    cv2.setRNGSeed(0)  # its clusters begin at random
    cv2.grabCut(image, state, None, *models, 4, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))
