"""Puts the painter's drawings into the weights: one rendered flat garment for each name.

    python -m training.shapes --pairs .cache/pairs --weights runs/first

For every name of `tryon.models.shapes.SHAPES` the most symmetric flat garment of that kind is
taken; one that the pairs lack keeps the drawing that the weights have. Then the painter's head
learns their names, colours and patterns from captions.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training.captions import COLOURS, Vocabulary
from training.data.compose import words_of
from training.data.outfits import garment_of
from training.data.shards import load_meta, load_scene
from training.dataset import scene_files
from training.step import assemble, condition_of, painter_loss
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH
from tryon.models import system
from tryon.models.patterns import PATTERNS
from tryon.models.shapes import SHAPES, shape_of
from tryon.models.text_encoder import TextEncoder

_WIDER = {"upper": 1.2, "lower": 1.15, "dress": 1.1}
"""A flat garment beside what the camera sees of it on a body."""


def drawing(alpha: np.ndarray, light: np.ndarray, wider: float) -> tuple[np.ndarray, np.ndarray]:
    """A garment's mask and its light, uint8 (NET_HEIGHT, NET_WIDTH) each, filling the canvas.

    Args:
        alpha: uint8 (h, w) coverage; light: float32 (h, w), 1 is the fabric's own colour.
        wider: factor of its width.
    """
    x, y, w, h = cv2.boundingRect((alpha > 128).astype(np.uint8))
    scale = min(NET_WIDTH / (w * wider), NET_HEIGHT / h) / 1.12
    sx, sy = scale * wider, scale
    move = np.array([
        [sx, 0, NET_WIDTH / 2 - sx * (x + w / 2) + sx / 2 - 0.5],
        [0, sy, NET_HEIGHT / 2 - sy * (y + h / 2) + sy / 2 - 0.5],
    ])  # fmt: skip
    size = (NET_WIDTH, NET_HEIGHT)
    mask = cv2.warpAffine(alpha, move, size, flags=cv2.INTER_CUBIC).astype(np.float32) / 255
    mask = np.clip((cv2.GaussianBlur(mask, (0, 0), 1.0) - 0.5) * 2 + 0.5, 0, 1)
    light = cv2.warpAffine(
        light.astype(np.float32), move, size, flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return (mask * 255).round().astype(np.uint8), np.clip(light * 128, 0, 255).astype(np.uint8)


def symmetry(alpha: np.ndarray) -> float:
    """Intersection over union of a mask with its mirror image; turned garments have less."""
    x, y, w, h = cv2.boundingRect((alpha > 128).astype(np.uint8))
    part = alpha[y : y + h, x : x + w] > 128
    mirrored = part[:, ::-1]
    return float((part & mirrored).sum() / max((part | mirrored).sum(), 1))


def collect(pairs: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The best drawing of every shape that the training scenes hold, by its index."""
    best: dict[int, float] = {}
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for path in tqdm(scene_files(pairs, "train"), desc="shapes"):
        attributes = load_meta(path)["garments"]
        plain = [i for i, a in enumerate(attributes)
                 if a["pattern"] == "plain" and a["shop_mode"] == "flat"]  # fmt: skip
        if not plain:
            continue
        scene = load_scene(path)
        for index in plain:
            garment = garment_of(scene, index)
            shape = shape_of(attributes[index])
            inside = garment.shop_alpha > 200
            if inside.sum() < 2000:
                continue
            luma = garment.shop_albedo.astype(np.float32).mean(2)
            middle = float(np.median(luma[inside]))
            # Large and straight; fabric light enough for its seams and collar to show.
            size = np.sqrt(inside.sum() / inside.size)
            score = symmetry(garment.shop_alpha) + 0.15 * float(size) - 0.1 * (middle < 60)
            if score <= best.get(shape, 0.0):
                continue
            best[shape] = score
            detail = np.clip((luma + 12) / (middle + 12), 0.6, 1.25)
            light = garment.shop_shade.astype(np.float32) / 128 * np.where(inside, detail, 1)
            light /= max(float(np.median(light[inside])), 0.2)
            found[shape] = drawing(garment.shop_alpha, light, _WIDER[garment.category])
    return found


_ADJECTIVES = {
    "plain": ("", "", "plain"), "horizontal stripes": ("striped", "horizontally striped"),
    "vertical stripes": ("pinstriped", "vertically striped"),
    "checks": ("checked", "plaid"), "dots": ("dotted", "polka dot"),
    "floral": ("floral", "flowered"),
}  # fmt: skip


def named(rng: np.random.Generator) -> dict[str, np.ndarray | str]:
    """A sentence that names one of the drawings, in any colour and pattern or in none.

    Captions of rendered garments always name a colour, and rare shapes seldom: "a short skirt"
    would be read as shorts.
    """
    index = int(rng.integers(len(SHAPES)))
    category, name = SHAPES[index]
    pattern = str(rng.choice(list(_ADJECTIVES))) if rng.random() < 0.5 else "plain"
    first, second = (str(c) for c in rng.choice(list(COLOURS), 2, replace=False))
    grey = (0.5, 0.5, 0.5)
    said = first
    colours = (*COLOURS[first], *COLOURS[first])
    if rng.random() < 0.2:
        said, colours = "", (*grey, *grey)
    elif pattern != "plain" and rng.random() < 0.4:
        said, colours = f"{first} and {second}", (*COLOURS[first], *COLOURS[second])
    words = " ".join(w for w in (said, str(rng.choice(_ADJECTIVES[pattern])), name) if w)
    if not name.endswith("s") and rng.random() < 0.7:
        words = f"a {words}"
    return {
        "words": words, "category": category,
        "words_colours": np.array(colours, np.float32),
        "words_pattern": np.array(PATTERNS.index(pattern)),
        "words_shape": np.array(index),
    }  # fmt: skip


def fit(models: dict[str, nn.Module], pairs: Path, steps: int, seed: int) -> float:
    """Trains the painter's head on captions alone, all else frozen; returns the last loss.

    Words are far cheaper than pictures: the shapes' names are learned in a minute.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    nets = assemble(models, Vocabulary([]))
    head = nets.text_encoder.painter.attributes
    garments = [a for path in scene_files(pairs, "train") for a in load_meta(path)["garments"]]
    items = [words_of(a, rng) | {"category": a["category"]} for a in garments for _ in range(3)]
    items += [named(rng) for _ in range(len(items) // 2)]
    sentences = [str(item["words"]) for item in items]
    with torch.no_grad():
        codes = [nets.sentences(sentences[i : i + 64]) for i in range(0, len(sentences), 64)]
        z = nets.text_encoder.project(torch.cat(codes)).float()
    truth = {key: torch.stack([torch.as_tensor(item[key]) for item in items])
             for key in ("words_colours", "words_pattern", "words_shape")}  # fmt: skip
    category = [CATEGORIES.index(str(item["category"])) for item in items]
    condition = condition_of(torch.tensor(category), torch.ones(len(items)))
    optimiser = torch.optim.AdamW(head.parameters(), 2e-3)
    loss = torch.zeros(())
    for step in tqdm(range(steps), desc="painter"):
        rows = torch.from_numpy(rng.integers(0, len(items), 256))
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        batch = {key: value[rows] for key, value in truth.items()}
        loss = painter_loss(nets, batch, z[rows], condition[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.shapes", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes (*.npz)")
    p.add_argument("--steps", type=int, default=1500, help="steps of the painter's head")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--weights", type=Path, default=system.WEIGHTS, help="folder of the weights")
    args = p.parse_args(arguments)
    try:
        models = system.load_models(args.weights)
        metadata = system.metadata(args.weights)
        drawings = collect(args.pairs)
    except (FileNotFoundError, ValueError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    encoder = models["text_encoder"]
    assert isinstance(encoder, TextEncoder)
    for index, (mask, light) in drawings.items():
        encoder.painter.shapes[index] = torch.from_numpy(mask)
        encoder.painter.light[index] = torch.from_numpy(light)
    loss = fit(models, args.pairs, args.steps, args.seed)
    print(f"painter's head: loss {loss:.3f} after {args.steps} steps")
    system.save(models, args.weights, {**metadata, "painter_steps": str(args.steps)})
    missing = [" ".join(SHAPES[i]) for i in range(len(SHAPES)) if i not in drawings]
    print(f"{len(drawings)} of {len(SHAPES)} drawings written to {args.weights}")
    if missing:
        print(f"not among the pairs: {', '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
