"""Figures of rendered scenes: does every truth agree with the pictures?

python -m training.data.check --pairs .cache/pairs --count 200
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from tqdm import tqdm

from training.data.outfits import seen_of
from training.data.preview import warp
from training.data.shards import CATEGORY_NAMES, Scene, list_scenes, load_scene
from training.figures import show, write_json
from tryon.assets import AssetError
from tryon.contract import PARSE, POSE_SIZE
from tryon.errors import NoPerson
from tryon.models.pose import Detector, Pose
from tryon.models.system import WeightsError, load_models
from tryon.preprocess import square_around, window_from_anchors
from tryon.steps.crop import anchors_in_photo, people_found, resample
from tryon.steps.thumbnail import thumbnail

FRONT = 20.0
"""A view is a front view up to so many degrees of turn."""
SKIN = ("arm_left", "arm_right", "leg_left", "leg_right")
"""Classes that garments cover. Necks are not: a collar stands off them, before and behind."""
SURE = 0.9
"""A pose score above which BlazePose has found the body."""


def valid_share(scene: Scene, k: int) -> float | None:
    """Share of a worn garment's pixels whose flow is true; None where it shows too little."""
    seen = seen_of(scene, int(scene.worn_outfit[k]), int(scene.worn_garment[k]))
    if seen.sum() < 500:
        return None
    return float((scene.worn_valid[k] > 0)[seen].mean())


def chroma_difference(scene: Scene, k: int) -> float | None:
    """Mean absolute difference of Cr and Cb, in levels, between the in-shop picture brought over by
    the true flow and the garment as worn, both brought to the same luma; away from the rim."""
    inner = cv2.erode(scene.worn_valid[k], np.ones((3, 3), np.uint8)) > 0
    if inner.sum() < 200:
        return None
    garment, outfit = int(scene.worn_garment[k]), int(scene.worn_outfit[k])
    there = warp(scene.garment_shop_albedo[garment], scene.worn_flow[k])[inner]
    here = scene.albedo[outfit].astype(np.float32)[inner]
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    there = there * ((here @ luma + 1) / (there @ luma + 1))[:, None]
    there, here = (
        cv2.cvtColor(np.clip(x, 0, 255)[None] / 255, cv2.COLOR_RGB2YCrCb) for x in (there, here)
    )
    return float(np.abs(there - here)[..., 1:].mean() * 255)


_COVERED = 300
"""Pixels of a person that one outfit shows and another covers; of fewer no share is worth one."""
_THIN = 20
"""Steps of depth, 2 mm, by which cloth that lies on the skin may seem to be beneath it."""


def ordered_share(scene: Scene) -> float | None:
    """Of all pixels that show skin in one outfit and a garment in another, the share in which the
    garment is in front by the scene's depth; None where it has none, or too few such pixels."""
    if scene.depth is None:
        return None
    skin = np.isin(scene.parse, [PARSE.index(n) for n in SKIN])
    cloth = np.isin(scene.parse, [PARSE.index(n) for n in CATEGORY_NAMES])
    depth = scene.depth.astype(np.int32)
    right = total = 0
    for bare in range(len(depth)):
        for clothed in range(len(depth)):
            both = skin[bare] & cloth[clothed]
            total += int(both.sum())
            right += int((depth[clothed] <= depth[bare] + _THIN)[both].sum())
    return right / total if total >= _COVERED else None


def pose_scores(scene: Scene, pose: Pose) -> list[float]:
    """How sure BlazePose is of the body in each outfit's picture, on light grey."""
    pictures = np.stack([scene.picture(o, 225) for o in range(len(scene.albedo))])
    with torch.no_grad():
        found = pose.features(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    return [float(s) for s in found["pose_score"][:, 0]]


def found_scores(scene: Scene, detector: Detector, pose: Pose) -> list[float]:
    """The same where BlazePose is used as its authors do (Bazarevsky et al., 2020): its detector
    finds the person, and the score is that of the crop placed by it; 0 where it finds nobody."""
    scores = []
    for outfit in range(len(scene.albedo)):
        picture = scene.picture(outfit, 225)
        with torch.no_grad():
            boxes, sure = detector(torch.from_numpy(thumbnail(picture)[None]))
        try:
            person = people_found(boxes[0].numpy(), sure[0].numpy())[0]
        except NoPerson:
            scores.append(0.0)
            continue
        box = window_from_anchors(*anchors_in_photo(person, *picture.shape[:2]), "dress")
        view = resample(picture, square_around(box), POSE_SIZE)
        with torch.no_grad():
            scores.append(float(pose(torch.from_numpy(view[None]))[1]))
    return scores


def figures(
    scenes: Iterable[Scene], pose: Pose, detector: Detector | None = None
) -> dict[str, float]:
    """Means and shares over all scenes, by the names that the command prints; those alone of which
    the scenes have something to count, `found_scores`' only with a detector."""
    valid: list[float] = []
    chroma: list[float] = []
    scores: list[float] = []
    found: list[float] = []
    ordered: list[float] = []
    worn = 0
    for scene in scenes:
        share = ordered_share(scene)
        ordered += [] if share is None else [share]
        scores += pose_scores(scene, pose)
        found += found_scores(scene, detector, pose) if detector else []
        for k in range(len(scene.worn_outfit)):
            worn += 1
            share, difference = valid_share(scene, k), chroma_difference(scene, k)
            flat = not scene.garment_shop_worn[scene.worn_garment[k]]
            if share is not None and flat and abs(float(scene.meta["yaw"])) <= FRONT:
                valid.append(share)
            if difference is not None:
                chroma.append(difference)
    made = {"worn garments": float(worn)}
    if valid:
        shares = np.array(valid)
        made["valid flow, flat garments seen from the front, mean share"] = float(shares.mean())
        made["valid flow, the same, share of at least 0.8"] = float((shares >= 0.8).mean())
    if chroma:
        made["chroma by the true flow, mean difference in levels"] = float(np.mean(chroma))
        made["chroma, 95th percentile"] = float(np.percentile(chroma, 95))
    if ordered:
        made["depth, garments in front of the skin they cover, share"] = float(np.mean(ordered))
    if scores:
        sure = np.array(scores) > SURE
        made[f"pose score over {SURE}, share of pictures"] = float(sure.mean())
    if found:
        sure = np.array(found) > SURE
        made[f"the same where its own detector places the crop, of {len(found)}"] = float(
            sure.mean()
        )
    return made


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.data.check", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes (*.npz)")
    p.add_argument("--count", type=int, default=200, help="scenes looked at")
    p.add_argument("--json", type=Path, help="also write the figures there")
    args = p.parse_args(arguments)
    paths = list_scenes(args.pairs)[: args.count]
    if not paths:
        print(f"error: {args.pairs} holds no scene: `make pairs` renders some", file=sys.stderr)
        return 2
    try:
        models = load_models()
        pose, detector = cast(Pose, models["pose"]), cast(Detector, models["detector"])
        made = figures((load_scene(path) for path in tqdm(paths, unit="scene")), pose, detector)
    except (ValueError, WeightsError, AssetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(made)
    write_json(args.json, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
