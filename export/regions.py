"""A picture's garment, skin and background apart, and how alike two pictures are in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import nn

from export.parity import laid
from tryon.contract import PARSE, model
from tryon.models.blocks import shuffled
from tryon.models.generator import Generator

REGIONS = ("whole", "changed", "garment", "skin", "background")
SKIN = tuple(PARSE.index(n) for n in ("face_neck", "arm_left", "arm_right", "leg_left",
                                      "leg_right"))  # fmt: skip


@contextmanager
def _kept(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The outputs of a module while it is open."""
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        kept.append(output.detach())

    handle = module.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


@torch.no_grad()
def regions(generator: nn.Module, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Where the torch run sees what, in its windows.

    Args:
        generator: the torch network.
        tensors: its inputs by name, batch in front.

    Returns:
        Name (of REGIONS) -> bool (N, h, w) of `window`'s size. `changed`: all that isn't the
        photo's own bytes; `garment`: where it is drawn; `skin`: what the parse takes for skin, and
        what is painted where the old garment was, but for the garment; `background`: by the parse,
        but for the garment.
    """
    assert isinstance(generator, Generator)
    served = model("generator")
    with _kept(generator.parse) as parse, _kept(generator.mask) as mask:
        answers = generator(*(torch.from_numpy(tensors[t.name]) for t in served.inputs))
    found = {t.name: a.numpy() for t, a in zip(served.outputs, answers, strict=True)}
    size = tensors["window"].shape[1:3]
    classes = _in_window(parse[0].argmax(1).numpy(), tensors["placement"], size)
    drawn = _in_window(shuffled(mask[0])[:, 0].numpy() > 0, tensors["placement"], size)
    changed = laid(found, tensors)["patch_mask"] > 0
    garment = changed & drawn
    return {
        "whole": np.ones_like(changed),
        "changed": changed,
        "garment": garment,
        "skin": (np.isin(classes, SKIN) | changed) & ~garment,
        "background": (classes == PARSE.index("background")) & ~garment & ~changed,
    }


def _in_window(maps: np.ndarray, placement: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The cell of each row's map (N, H, W) at every pixel of its window: (N, *size)."""
    n, height, width = maps.shape
    rows = []
    for i in range(n):
        left, top, right, bottom = placement[i].astype(np.float64)
        y = top + (np.arange(size[0]) + 0.5) / size[0] * (bottom - top)
        x = left + (np.arange(size[1]) + 0.5) / size[1] * (right - left)
        y_cell = np.clip((y * height).astype(int), 0, height - 1)
        x_cell = np.clip((x * width).astype(int), 0, width - 1)
        rows.append(maps[i][np.ix_(y_cell, x_cell)])
    return np.stack(rows)


def psnr(one: np.ndarray, two: np.ndarray, region: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures, in a region (N, H, W) of them; infinite
    where they are equal, or the region is empty."""
    square = (one.astype(np.float64) - two.astype(np.float64)) ** 2
    if region is not None:
        square = square[region]
    mean = square.mean() if square.size else 0.0
    return float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))


def similarity(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Structural similarity of every pixel (Wang et al., 2004), 7x7 windows, mean over channels.

    Args:
        one, two: uint8 (N, H, W, 3), at least 7x7.

    Returns:
        float64 (N, H, W).
    """
    return np.stack([
        structural_similarity(a, b, channel_axis=-1, data_range=255, full=True)[1].mean(-1)
        for a, b in zip(one, two, strict=True)
    ])  # fmt: skip
