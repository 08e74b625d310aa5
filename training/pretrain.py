"""Multimodal pretraining: E^I and E^T agree about garments, before they dress anybody.

    python -m training.pretrain --pairs .cache/pairs --photos DIR --out runs/pretrained --steps 2000
    python -m training.pretrain --pairs .cache/pairs --photos DIR --out runs/pretrained --steps 4000
    python -m training.train --init runs/pretrained --pairs .cache/pairs --out runs/first

Two views of a garment lie together in E^I's space and apart from other garments' (SimCLR, Chen et
al., 2020: no labels are needed, real photos are enough), and a garment lies at its own sentence
(CLIP, Radford et al., 2021). Sentences that several garments of a batch share are right for each of
them. Trunks and BERT stay as they are. Begins anew unless --init names weights, resumes from its
last checkpoint, and takes torchrun as `training.train` does. At the end it tells how often, of so
many garments of the test split that were never shown, each is found by its other view and by its
own words.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from training import losses, parallel
from training.captions import Vocabulary
from training.dataset import loader
from training.figures import show
from training.garment_views import GarmentViews
from training.journal import Journal
from training.step import Networks, condition_of, images
from training.train import CHECKPOINT, networks, rate_at, write_whole
from tryon.assets import AssetError
from tryon.models import system

SEEN = 64
"""Garments of the test split among which each is to be found."""


def codes(nets: Networks, batch: dict) -> tuple[Tensor, Tensor, Tensor]:
    """E^I's codes of both views and E^T's of the sentences, float (N, EMBEDDING) each."""
    condition = condition_of(batch["category"], torch.zeros(len(batch["category"])))
    both = torch.cat([images(batch["one"]), images(batch["other"])])
    one, other = nets.image_encoder.encode(both, condition.repeat(2, 1))["z_image"].chunk(2)
    words = nets.text_encoder.project(nets.sentences(list(batch["caption"]))).float()
    return one, other, words


def alike(captions: list[str]) -> Tensor:
    """float (N, N): 1 where two garments have the same sentence."""
    return torch.tensor([[float(a == b) for b in captions] for a in captions])


def pretraining_loss(nets: Networks, batch: dict) -> dict[str, Tensor]:
    """`views`: each view finds the other; `words`: each view finds the garment's sentence."""
    one, other, words = codes(nets, batch)
    same = alike(list(batch["caption"]))
    of_words = [losses.matching_loss(view, words, same) for view in (one, other)]
    return {
        "views": losses.matching_loss(one, other, torch.eye(len(one))),
        "words": 0.5 * (of_words[0] + of_words[1]),
    }


@torch.no_grad()
def found(nets: Networks, garments: GarmentViews, device: torch.device) -> dict[str, float]:
    """Share of `SEEN` garments that are found by their other view and by their words."""
    batch = torch.utils.data.default_collate([garments[i] for i in range(SEEN)])
    batch = parallel.moved(batch, device)
    nets.image_encoder.eval()
    with device:
        one, other, words = (F.normalize(code, dim=1) for code in codes(nets, batch))
    nets.image_encoder.train()
    captions = list(batch["caption"])
    by_view, by_words = ((code @ one.T).argmax(1).tolist() for code in (other, words))
    return {
        "found by the other view": sum(i == k for i, k in enumerate(by_view)) / SEEN,
        "found by its words":
            sum(captions[i] == captions[k] for i, k in enumerate(by_words)) / SEEN,
    }  # fmt: skip


def learned(nets: Networks) -> list[nn.Parameter]:
    """What pretraining teaches: E^I above its trunk, and E^T's way into the shared space."""
    chosen = [*nets.image_encoder.parameters(), *nets.text_encoder.project.parameters()]
    return [parameter for parameter in chosen if parameter.requires_grad]


def pretrain(args: argparse.Namespace) -> dict[str, float]:
    """Runs the stage; how often unseen garments are found before (of a fresh run) and after.

    Raises:
        ValueError, FileNotFoundError, WeightsError, AssetError: what is wrong with the files.
    """
    ranks = parallel.start(args.device)
    torch.manual_seed(args.seed)
    garments = GarmentViews(args.pairs, args.photos, args.seed)
    unseen = GarmentViews(args.pairs, args.photos, args.seed, "test")
    nets, models = networks(Vocabulary([]), args.init, ranks.device)
    parameters = learned(nets)
    optimiser = torch.optim.AdamW(parameters, args.rate, weight_decay=1e-4)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint, first = args.out / CHECKPOINT, 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=ranks.device, weights_only=True)
        system.load_state(models, saved["models"], str(checkpoint))
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
        print(f"resuming {checkpoint} at step {first}")
    told = {}
    if not first:
        told = {f"{n}, before": share for n, share in found(nets, unseen, ranks.device).items()}
    batches = loader(
        garments, args.batch, first, args.steps - first, args.workers, ranks.rank, ranks.world
    )
    journal = Journal(args.out, first) if ranks.first else None
    about = {"pretrained_seed": str(args.seed)}

    def save(step: int) -> None:
        parallel.share_buffers([m for n in models.values() for m in n.modules()], ranks)
        if ranks.first:
            system.save(models, args.out, {**about, "pretrained_steps": str(step)})
            write_whole(
                {"models": system.trained_state(models), "optimiser": optimiser.state_dict(),
                 "step": step}, checkpoint,
            )  # fmt: skip

    step = first
    bar = tqdm(batches, initial=first, total=args.steps, desc="pretrain", disable=not ranks.first)
    for batch in bar:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, args.steps, args.rate)
        batch = parallel.moved(batch, ranks.device)
        with ranks.device:
            terms = pretraining_loss(nets, batch)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        parallel.average_gradients(parameters, ranks)
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimiser.step()
        step += 1
        if journal is not None:
            means = journal.add(step, {name: float(v.detach()) for name, v in terms.items()})
            if means:
                bar.set_postfix({name: f"{v:.3f}" for name, v in means.items()})
        if step % args.save_every == 0 or step == args.steps:
            save(step)
    if journal is not None:
        journal.close()
    told |= found(nets, unseen, ranks.device)
    parallel.stop(ranks)
    return told


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = argparse.ArgumentParser(
        prog="python -m training.pretrain", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--pairs", type=Path, default=Path(".cache/pairs"),
                   help="folder of rendered scenes; default: %(default)s")  # fmt: skip
    p.add_argument("--photos", type=Path, help="folder of real garment photos")
    p.add_argument("--out", type=Path, required=True, help="folder of the run and its weights")
    p.add_argument("--init", type=Path, help="folder of weights to begin from")
    p.add_argument("--steps", type=int, default=2000, help="pretrain up to this step")
    p.add_argument("--batch", type=int, default=32, help="of all processes together")
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--save-every", type=int, default=200)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = p.parse_args(arguments)
    if args.steps < 1 or args.batch < 4:
        p.error("--steps takes 1 or more, --batch 4 or more")
    try:
        told = pretrain(args)
    except (AssetError, FileNotFoundError, ValueError, system.WeightsError,
            parallel.DeviceError) as error:  # fmt: skip
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(told)
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
