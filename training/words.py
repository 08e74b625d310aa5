"""Teaches E^T's `styling` head alone how sentences say that a garment is worn.

    python -m training.words --weights runs/mine --out runs/mine-words
    python -m training.words --sentences 2000 --out /tmp/words       # a first look

BERT is frozen, so sentences are encoded once, and the head sees each of them many times in a
minute. Nothing else of the weights changes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from training.captions import COLOURS, styling_request
from training.figures import show
from training.step import Sentences
from tryon.assets import AssetError, asset_path
from tryon.contract import STYLING
from tryon.models import system
from tryon.models.text_encoder import TextEncoder

_KINDS = ("t-shirt", "shirt", "polo shirt", "sweater", "hoodie", "jacket", "cardigan", "tank top",
          "dress", "trousers", "jeans", "shorts", "skirt", "leggings")  # fmt: skip
_SOUNDING = ("open-collar shirt", "shirt with an open collar", "open-neck shirt",
             "open-knit sweater", "roll-neck sweater", "roll neck jumper", "large-check shirt",
             "small-logo t-shirt", "wide-leg trousers", "slim jeans")  # fmt: skip
"""Kinds whose name sounds like a styling, and is none: a fifth of the garments."""
_PATTERNS = ("plain", "plain", "horizontal stripes", "checks", "dots", "floral", "logo")
_SLEEVES = ("", "sleeveless", "short", "elbow", "long")
BATCH, RATE, EPOCHS = 512, 2e-3, 60
HELD_OUT = 0.1
"""Share of the sentences that the head is measured on and never taught."""


def sentences(count: int, seed: int) -> tuple[list[str], Tensor]:
    """So many different sentences, and what they say: int64 (N, len(STYLING)), indices of values.

    Of a sentence that comes twice the first meaning stays.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[int]] = {}
    while len(found) < count:
        attributes = {
            "kind": str(rng.choice(_SOUNDING if rng.random() < 0.2 else _KINDS)),
            "colour": str(rng.choice(list(COLOURS))),
            "second_colour": str(rng.choice(list(COLOURS))),
            "pattern": str(rng.choice(_PATTERNS)), "sleeve": str(rng.choice(_SLEEVES)),
        }  # fmt: skip
        words, how = styling_request(attributes, rng)
        found.setdefault(words, [values.index(how[name]) for name, values in STYLING.items()])
    return list(found), torch.tensor(list(found.values()))


def right(encoder: TextEncoder, codes: Tensor, truth: Tensor) -> dict[str, float]:
    """Share of the sentences that are read right: of each styling, and of all at once."""
    with torch.no_grad():
        read = torch.stack([own.argmax(1) for own in encoder.style_logits(codes)], 1)
    same = read == truth
    shares = {name: float(same[:, i].float().mean()) for i, name in enumerate(STYLING)}
    return {**shares, "all": float(same.all(1).float().mean())}


def teach(encoder: TextEncoder, codes: Tensor, truth: Tensor, epochs: int, seed: int) -> None:
    """Trains the head on BERT's codes (N, hidden) of sentences and what they say."""
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(encoder.styling.parameters(), RATE, weight_decay=1e-3)
    steps = max(1, len(codes) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps)
    for _ in tqdm(range(epochs), desc="epochs"):
        for rows in torch.randperm(len(codes))[: steps * BATCH].reshape(steps, -1):
            logits = encoder.style_logits(codes[rows])
            terms = [F.cross_entropy(own, truth[rows, i]) for i, own in enumerate(logits)]
            optimiser.zero_grad()
            torch.stack(terms).sum().backward()
            optimiser.step()
            schedule.step()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.words", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--weights", type=Path, help="folder of weights; default: the repository's")
    p.add_argument("--out", type=Path, required=True, help="folder for the new weights")
    p.add_argument("--sentences", type=int, default=24_000)
    p.add_argument("--epochs", type=int, default=EPOCHS)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(arguments)
    if args.sentences < 2 * BATCH:
        p.error(f"--sentences takes {2 * BATCH} or more")
    try:
        models = system.load_models(args.weights)
        tokenizer = Tokenizer.from_file(str(asset_path("minilm") / "tokenizer.json"))
        about = system.metadata(args.weights)
    except (AssetError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tokenizer.no_padding()
    encoder = cast(TextEncoder, models["text_encoder"])
    said, truth = sentences(args.sentences, args.seed)
    reader = Sentences(encoder, tokenizer, len(said))
    parts = range(0, len(said), BATCH)
    codes = torch.cat([reader(said[i : i + BATCH]) for i in tqdm(parts, desc="sentences")])
    kept = int(len(said) * (1 - HELD_OUT))
    teach(encoder, codes[:kept], truth[:kept], args.epochs, args.seed)
    show({f"read right, {name}": share
          for name, share in right(encoder, codes[kept:], truth[kept:]).items()})  # fmt: skip
    about |= {"words_seed": str(args.seed), "words_sentences": str(len(said))}
    print(system.save(models, args.out, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
