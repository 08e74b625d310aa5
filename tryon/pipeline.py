"""The whole try-on in torch, step by step as served: the reference that serving must equal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from tryon.assets import asset_path
from tryon.contract import model
from tryon.models.system import load_models
from tryon.steps.crop import served_crop
from tryon.steps.decode import decode
from tryon.steps.garment import cutout
from tryon.steps.paste import paste
from tryon.steps.steady import live_crop, predict_crop, update_track
from tryon.steps.tokenizer import Tokenizer

NO_GARMENT = np.zeros((1, 1, 1), np.uint8)


@dataclass
class TryOn:
    """A try-on's outputs, and everything on the way to them.

    Attributes:
        picture: uint8 (H, W, 3), the person's own size.
        mask: uint8 (H, W), 0 where the person's own bytes stand.
        confidence: 0..1.
        tensors: every tensor of the contract by name, with the batch axis.
        milliseconds: time of each step.
    """

    picture: np.ndarray
    mask: np.ndarray
    confidence: float
    tensors: dict[str, np.ndarray] = field(repr=False)
    milliseconds: dict[str, float] = field(default_factory=dict)


class TryOnPipeline:
    """Runs every step of the ensemble in this process, the networks in torch (float32)."""

    def __init__(self, weights: Path | None = None) -> None:
        self.models = load_models(weights)
        self.tokenizer = Tokenizer(asset_path("minilm"))

    @torch.no_grad()
    def network(self, name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A network's outputs by name, of its inputs among `tensors`, batch in front."""
        served = model(name)
        inputs = [torch.from_numpy(tensors[t.name]) for t in served.inputs]
        outputs = self.models[name](*inputs)
        return {t.name: o.numpy() for t, o in zip(served.outputs, outputs, strict=True)}

    def __call__(
        self, person: np.ndarray, garment: np.ndarray | None = None, prompt: str = "",
        category: str = "upper", *, track: np.ndarray | None = None, elapsed: float = 0.0,
        follow: bool = False,
    ) -> TryOn:  # fmt: skip
        """Dresses a person.

        Args:
            person: uint8 (H, W, 3) pixels, or a file's bytes as (1, 1, N).
            garment: the same, or None.
            prompt: empty for none.
            category: "upper", "lower" or "dress".
            track: float32 (10,), of a live session's earlier frame (its `tensors["tracked"][0]`),
                which steadies this one as in `tryon_live`; its zeros begin a session.
            elapsed: seconds since that frame; 0 where there was none.
            follow: the crop is where the track leads, as in `tryon_follow`, while they are there.

        Raises:
            tryon.errors.RequestError: what is wrong with the request.
        """
        tensors: dict[str, np.ndarray] = {}
        milliseconds: dict[str, float] = {}
        began = time.perf_counter()

        def done(name: str) -> None:
            nonlocal began
            now = time.perf_counter()
            milliseconds[name] = (now - began) * 1e3
            began = now

        decoded = decode(
            person, NO_GARMENT if garment is None else garment, prompt.encode(), category.encode(),
            self.tokenizer,
        )  # fmt: skip
        tensors.update({k: v[None] for k, v in decoded._asdict().items()})
        done("decode")
        tensors |= self.network("detector", tensors)
        done("detector")
        photo, boxes, scores, condition = (
            tensors[name][0] for name in ("photo", "boxes", "scores", "condition")
        )
        cut: tuple[np.ndarray, ...]
        since = np.array([elapsed], np.float32)
        made = model("crop" if track is None else "live_crop").outputs
        if track is None:
            cut = served_crop(photo, boxes, scores, condition)
        elif follow and (tracked := update_track(photo, boxes, scores, track, since)[0])[4] > 0:
            cut = (*predict_crop(photo, condition, track, since), tracked)
        else:
            cut = live_crop(photo, boxes, scores, condition, track, since)
        tensors.update({t.name: v[None] for t, v in zip(made, cut, strict=True)})
        done("crop")
        tensors |= self.network("text_encoder", tensors)
        done("text_encoder")
        found = cutout(decoded.cloth, decoded.canvas_size, tensors["painted"][0])
        tensors.update({k: v[None] for k, v in found._asdict().items()})
        done("cutout")
        for name in ("pose", "image_encoder", "generator"):
            tensors |= self.network(name, tensors)
            done(name)
        picture, mask = paste(
            tensors["photo"][0], tensors["patch"][0], tensors["patch_mask"][0],
            tensors["patch_box"][0], tensors["box"][0],
        )  # fmt: skip
        done("paste")
        return TryOn(picture, mask, float(tensors["confidence"][0, 0]), tensors, milliseconds)
