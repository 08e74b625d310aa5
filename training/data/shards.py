"""Scenes on disk: one uncompressed npz each, `scene-SEED-INDEX.npz`."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from training.data.jobs import temporary

RENDERER = 10
"""Counted up when the same seed comes to give other scenes, or a scene other arrays."""
CATEGORY_NAMES = ("upper", "lower", "dress")
DEPTH_STEPS = 1e4
"""Steps of `Scene.depth` in a metre."""


@dataclass
class Scene:
    """One body, pose and camera in O outfits made of G garments; W garments are worn in all.

    Sizes are those of scenes on disk, of scale 1. `scene.make_scene` draws the same scene larger:
    256 and 192 then stand for so many times `scale`, and `worn_flow` is float32.

    A picture is `albedo * shade / 128` over a background of one's choice by `alpha`. Pixel
    positions count from the picture's left upper corner: the first pixel's centre is 0.5.

    Attributes:
        albedo: uint8 (O, 256, 256, 3), sRGB without light, black where nobody is.
        shade: uint8 (O, 256, 256), light as a factor, 128 is 1.0.
        alpha: uint8 (O, 256, 256), coverage by the person.
        parse: uint8 (O, 256, 256), index into tryon.contract.PARSE.
        joints: float32 (33, 2), BlazePose's order, pixels of the 256 picture.
        outfit_upper, outfit_lower, outfit_dress: int16 (O,), index into garments or -1.
        worn_outfit, worn_garment: int16 (W,), which outfit wears which garment.
        worn_flow: float16 (W, 256, 256, 2), position in the in-shop picture, 0..1 (x, y).
        worn_valid: uint8 (W, 256, 256), 1 where the garment is seen and the same point of its
            surface is visible in the in-shop picture.
        worn_landmarks: float32 (W, 23, 3), tryon.contract.LANDMARKS: x, y in pixels of the 256
            picture (also where hidden or outside), and 1 where the garment has that landmark.
        garment_category: uint8 (G,), index into CATEGORY_NAMES.
        garment_shop_albedo: uint8 (G, 256, 192, 3), garment and, if worn, its wearer.
        garment_shop_shade: uint8 (G, 256, 192). garment_shop_alpha: uint8 (G, 256, 192), coverage
            by the garment alone. garment_shop_inner: the same by its inside, which isn't seen when
            it is worn. garment_shop_person_alpha: coverage by garment and wearer.
        garment_shop_parse: uint8 (G, 256, 192), PARSE of garment and wearer.
        garment_shop_landmarks: float32 (G, 23, 3), x, y in 0..1 and existence.
        garment_shop_worn: uint8 (G,), 1 where the in-shop picture shows a wearer.
        meta: renderer, kind, seed, index, arms, legs, yaw, gender, hair, phone, bag, tucked,
            beneath (the top that is worn beneath an open one, or -1) and stylings (per outfit;
            `styling.Styling.words` of what its kind of scene changes), of photographed people
            `person`, and `garments`: per garment category, kind, sleeve, neck, fit, length, colour,
            second_colour, pattern, print, material, caption, shop_mode ("flat", "folded", "worn";
            "photographed": what a photographed person wears, which has no in-shop picture and no
            caption).
        depth: uint16 (O, 256, 256), tenths of a millimetre from the camera's plane to what is seen,
            0 where nobody is: of two outfits the smaller one stands in front. None of photographed
            people, and of scenes rendered before there was one.
    """

    albedo: np.ndarray
    shade: np.ndarray
    alpha: np.ndarray
    parse: np.ndarray
    joints: np.ndarray
    outfit_upper: np.ndarray
    outfit_lower: np.ndarray
    outfit_dress: np.ndarray
    worn_outfit: np.ndarray
    worn_garment: np.ndarray
    worn_flow: np.ndarray
    worn_valid: np.ndarray
    worn_landmarks: np.ndarray
    garment_category: np.ndarray
    garment_shop_albedo: np.ndarray
    garment_shop_shade: np.ndarray
    garment_shop_alpha: np.ndarray
    garment_shop_inner: np.ndarray
    garment_shop_person_alpha: np.ndarray
    garment_shop_parse: np.ndarray
    garment_shop_landmarks: np.ndarray
    garment_shop_worn: np.ndarray
    meta: dict[str, Any]
    depth: np.ndarray | None = None

    def worn(self, outfit: int, garment: int) -> int:
        """Index into the `worn_*` arrays. Raises KeyError if the outfit lacks that garment."""
        found = np.flatnonzero((self.worn_outfit == outfit) & (self.worn_garment == garment))
        if not len(found):
            raise KeyError(f"outfit {outfit} does not wear garment {garment}")
        return int(found[0])

    def picture(self, outfit: int, background: float = 255.0) -> np.ndarray:
        """The outfit as rendered over a plain background, uint8 (256, 256, 3)."""
        return compose(self.albedo[outfit], self.shade[outfit], self.alpha[outfit], background)

    def shop_picture(self, garment: int, background: float = 255.0) -> np.ndarray:
        """The in-shop picture over a plain background, uint8 (256, 192, 3)."""
        return compose(
            self.garment_shop_albedo[garment],
            self.garment_shop_shade[garment],
            self.garment_shop_person_alpha[garment],
            background,
        )


def compose(
    albedo: np.ndarray, shade: np.ndarray, alpha: np.ndarray, background: float | np.ndarray
) -> np.ndarray:
    """Lit albedo (already weighted by coverage) over a background in levels, uint8 (h, w, 3)."""
    lit = albedo.astype(np.float32) * (shade.astype(np.float32)[..., None] / 128)
    rest = 1 - alpha.astype(np.float32)[..., None] / 255
    return np.clip(lit + background * rest, 0, 255).round().astype(np.uint8)


def scene_path(folder: Path, seed: int, index: int) -> Path:
    """Where scene `index` of the set `seed` lies in `folder`."""
    return folder / f"scene-{seed}-{index:06d}.npz"


TEST_SHARE = 20
"""One scene in so many is the rendered test split."""


def is_test(path: Path) -> bool:
    """Whether a scene, told by its file's name, is of the test split."""
    return zlib.crc32(path.stem.encode()) % TEST_SHARE == 0


def is_test_name(seed: int, index: int) -> bool:
    """The same of scene `index` of the set `seed`."""
    return is_test(scene_path(Path(), seed, index))


def save_scene(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes beside `path` and renames, so that a file that is there is whole.

    Raises:
        OSError: it can't be written (a full disk, ...); names `path`, and leaves nothing behind.
    """
    half = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(half, **arrays)
        os.replace(half, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            half.unlink()


def scene_from(arrays: dict[str, np.ndarray]) -> Scene:
    """A Scene of the arrays that the renderer made."""
    values = {f.name: arrays[f.name] for f in fields(Scene) if f.name not in ("meta", "depth")}
    return Scene(**values, meta=json.loads(str(arrays["meta"])), depth=arrays.get("depth"))


def load_scene(path: str | Path) -> Scene:
    """Reads one scene. Raises ValueError that names the file if it is not one."""
    try:
        with np.load(path) as file:
            return scene_from({k: file[k] for k in file.files})
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(_no_scene(path, error)) from error


def _no_scene(path: str | Path, error: Exception) -> str:
    return (
        f"{path} is no scene ({error}); delete it and render again: "
        "`python -m training.data.render --out FOLDER`"
    )


def load_meta(path: str | Path) -> dict[str, Any]:
    """A scene's `meta` alone. Raises ValueError that names the file if it is not one."""
    try:
        with np.load(path) as file:
            return dict(json.loads(str(file["meta"])))
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(_no_scene(path, error)) from error


def list_scenes(folder: str | Path) -> list[Path]:
    """All scenes of a folder, sorted."""
    return sorted(Path(folder).glob("scene-*.npz"))
