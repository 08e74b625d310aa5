"""Trains the whole system on rendered pairs; resumes where it stopped.

    python -m training.train --pairs .cache/pairs --photos DIR --out runs/first --steps 6000
    python -m training.train --out runs/first --pairs .cache/pairs --steps 9000   # goes on to 9000
    torchrun --nproc-per-node 2 -m training.train ...   # two processes share each batch
    python -m training.train ... --device cuda --batch 64 --workers 16   # on a GPU
    tensorboard --logdir runs

The first `--places-until` share of the steps learns landmarks alone, those up to `--joint-at` learn
from all exact truth; the rest is joint adversarial training with L = alpha L^I + (1 - alpha) L^T.
Weights are an exponential moving average of the learned ones, written to
`<out>/tryon.safetensors` at every checkpoint, and measured there on pairs of the test split:
`<out>/validation.jsonl`, which `make evaluate ARGS="--log <out>/log.jsonl"` plots.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training import parallel
from training.captions import Vocabulary
from training.data.compose import Options
from training.data.necklines import Necklines
from training.data.outfits import OMISSIONS
from training.data.outlined import OutlinedPeople
from training.data.shards import load_meta
from training.dataset import Pairs, loader, scene_files
from training.evaluate import PAIRS_SEED, evaluate
from training.journal import Journal
from training.step import Networks, Weights, assemble, discriminator_loss, run
from tryon.assets import AssetError
from tryon.models import system

CHECKPOINT = "last.pt"
_CUT = 0.85
"""Share of the plain backgrounds that the networks don't see; when served they see none found."""


def add_run(p: argparse.ArgumentParser) -> None:
    """The options of every training: what it reads, where it writes, how it is cut up."""
    p.add_argument("--pairs", type=Path, required=True, help="folder of rendered scenes (*.npz)")
    p.add_argument("--photos", type=Path, help="folder of real garment photos with manifest.csv")
    p.add_argument("--cutouts", type=Path, help="folder of training.data.cutouts: real garments")
    p.add_argument("--out", type=Path, required=True, help="folder of this run")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=1)


def parser() -> argparse.ArgumentParser:
    text = __doc__ or ""
    p = argparse.ArgumentParser(
        prog="python -m training.train", description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_run(p)
    p.add_argument("--steps", type=int, default=6000, help="train up to this step")
    p.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    p.add_argument("--alpha", type=float, default=0.7)
    p.add_argument("--places-until", type=float, default=0.0,
                   help="share of the steps that learn landmarks alone")  # fmt: skip
    p.add_argument("--joint-at", type=float, default=0.75, help="share of steps before the GAN")
    p.add_argument("--forced", type=float, default=0.75,
                   help="share of the pairs laid by their true landmarks")  # fmt: skip
    p.add_argument("--without", nargs="*", choices=OMISSIONS, default=[],
                   help="kinds of pairs to leave out")  # fmt: skip
    p.add_argument("--necklines", action="store_true",
                   help="teach E^I's mask the outlined collars among --photos too")  # fmt: skip
    p.add_argument("--outlined", action="store_true",
                   help="teach the parse real photos whose tops are outlined, too")  # fmt: skip
    p.add_argument("--strength", type=float, default=1.0, help="of the randomisation, 0 to 1")
    p.add_argument("--blocks", type=float, default=0.3,
                   help="share of the pairs whose old garment gets a second colour")  # fmt: skip
    p.add_argument("--fades", type=float, default=0.3,
                   help="share of the pairs whose old cloth is faded or mottled")  # fmt: skip
    p.add_argument("--ends", type=float, default=0.1,
                   help="share of the pairs whose photo ends close to the person")  # fmt: skip
    p.add_argument("--bend", type=float, default=0.6,
                   help="share of the pairs whose in-shop picture is bent")  # fmt: skip
    p.add_argument("--save-every", type=int, default=200)
    p.add_argument("--validate", type=int, default=32,
                   help="unseen pairs to measure each checkpoint on; 0: none")  # fmt: skip
    p.add_argument(
        "--init",
        type=Path,
        help="folder of weights to begin from "
        "(fine-tuning); without it only the trunks are learned already",
    )
    p.add_argument("--stop-after", type=float, default=0,
                   help="stop after so many minutes; the last validation comes on top")  # fmt: skip
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--precision", choices=("auto", "bfloat16", "float32"), default="auto",
                   help="auto: bfloat16 where the processor computes in it")  # fmt: skip
    return p


def vocabulary_of(scenes: list[Path]) -> Vocabulary:
    """All words of the scenes' captions and of the wordings around them."""
    from training import captions

    rng = np.random.default_rng(0)
    sentences: list[str] = [*captions.COLOURS, *captions.STYLINGS]
    for path in tqdm(scenes, desc="captions", leave=False):
        for attributes in load_meta(path)["garments"]:
            sentences += [captions.sample_caption(attributes, rng) for _ in range(4)]
    return Vocabulary.of(sentences)


def networks(
    vocabulary: Vocabulary, init: Path | None, device: torch.device
) -> tuple[Networks, dict[str, nn.Module]]:
    """All networks on a device, trainable ones in training mode.

    Without `init` they are fresh, but for the trunks, which are the repository's and stay frozen.
    What has been added to the networks since `init` was trained is fresh, too.
    """
    if init is not None:
        models = system.load_models(init, grown=True)
    else:
        models = system.build()
        system.load_trunks(models)
    nets = assemble(models, vocabulary)
    for module in (*models.values(), nets.discriminator, nets.features):
        module.to(device)
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    for name in ("image_encoder", "text_encoder", "generator"):
        models[name].train()
    return nets, models


class Average:
    """Exponential moving average of the learned state."""

    def __init__(self, models: dict[str, nn.Module], decay: float = 0.998) -> None:
        self.models, self.decay = models, decay
        self.state = {k: v.detach().clone() for k, v in system.trained_state(models).items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in system.trained_state(self.models).items():
            if value.is_floating_point():
                self.state[key].lerp_(value.detach(), 1 - decay)
            else:
                self.state[key].copy_(value)

    def save(self, folder: Path, metadata: dict[str, str]) -> None:
        kept = {k: v.detach().clone() for k, v in system.trained_state(self.models).items()}
        system.load_state(self.models, self.state, "the moving average")
        system.save(self.models, folder, metadata)
        system.load_state(self.models, kept, "the learned weights")


PRECISE = {"landmarks.weight": 0.1, "landmarks.offset": 0.1, "turned.offset": 0.3, "delta_": 0.3,
           "part_logits": 0.3}  # fmt: skip
"""Heads whose outputs are places in 0..1, and their share of the learning rate: a step of Adam at
the full rate moves them by pixels."""


def groups(models: dict[str, nn.Module]) -> list[dict]:
    """The optimiser's parameter groups; `share` is their part of the learning rate."""
    shares: dict[float, list[nn.Parameter]] = {}
    for module in models.values():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                share = next((s for head, s in PRECISE.items() if name.startswith(head)), 1.0)
                shares.setdefault(share, []).append(parameter)
    return [{"params": own, "share": share} for share, own in shares.items()]


def rate_at(step: int, total: int, peak: float) -> float:
    """Linear warm-up, then half a cosine to a fiftieth."""
    warm = min(1.0, (step + 1) / 100)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))))


def write_whole(state: dict, path: Path) -> None:
    """torch.save beside, then rename: an interrupted run leaves the last checkpoint."""
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


def _can_validate(args: argparse.Namespace) -> bool:
    """Whether there are unseen pairs to measure on; says so where there are none."""
    try:
        unseen = scene_files(args.pairs, "test")
        Pairs(unseen, args.photos, Options(args.strength, text=0.0), PAIRS_SEED, "test")[0]
    except (FileNotFoundError, ValueError) as error:
        print(f"no validation: {error}", file=sys.stderr)
        return False
    return True


def train(args: argparse.Namespace) -> int:
    """Runs the training; returns the exit status.

    Raises:
        ValueError, FileNotFoundError: what is wrong with the arguments' files.
        AssetError: a package can't be had.
    """
    if args.necklines and args.photos is None:
        raise ValueError("--necklines are outlined on --photos: name their folder, too")
    outlined = OutlinedPeople() if args.outlined else None
    ranks = parallel.start(args.device)
    device = ranks.device
    torch.manual_seed(args.seed)
    scenes = scene_files(args.pairs, "train")
    args.out.mkdir(parents=True, exist_ok=True)
    words = args.out / "vocabulary.json"
    if words.is_file():
        vocabulary = Vocabulary.from_json(words.read_text())
    else:
        vocabulary = vocabulary_of(scenes)
        beside = words.with_suffix(f".{ranks.rank}.tmp")  # every process writes the same words
        beside.write_text(vocabulary.to_json())
        beside.replace(words)
    nets, models = networks(vocabulary, args.init, device)
    learned = [p for m in models.values() for p in m.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(groups(models), args.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    judge = torch.optim.AdamW(nets.discriminator.parameters(), 4e-4, betas=(0.5, 0.99))
    average = Average(models)
    checkpoint = args.out / CHECKPOINT
    first = 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        system.load_state(models, saved["models"], str(checkpoint))
        nets.discriminator.load_state_dict(saved["discriminator"])
        optimiser.load_state_dict(saved["optimiser"])
        judge.load_state_dict(saved["judge"])
        average.state = saved["average"]
        first = saved["step"]
        print(f"resuming {checkpoint} at step {first}")
    if first >= args.steps:
        print(f"{args.out} has reached step {first} already; give a larger --steps to go on")
        return 0
    weights = Weights(alpha=args.alpha)
    options = Options(
        strength=args.strength, blocks=args.blocks, fades=args.fades, ends=args.ends,
        bend=args.bend, cut=_CUT,
    )
    pairs = Pairs(
        scenes, args.photos, options, args.seed, cutouts=args.cutouts, without=args.without
    )
    batches = loader(
        pairs, args.batch, first, args.steps - first, args.workers, ranks.rank, ranks.world,
        pinned=device.type == "cuda",
    )  # fmt: skip
    necklines = Necklines(args.photos) if args.necklines else None
    outlines_each = max(1, args.batch // ranks.world // 8)
    half = args.precision == "bfloat16" or (
        args.precision == "auto" and parallel.computes_bfloat16(device)
    )
    precision = torch.autocast(device.type, torch.bfloat16, enabled=half)
    journal = Journal(args.out, first) if ranks.first else None
    validating = bool(args.validate) and ranks.first and _can_validate(args)
    metadata = {"seed": str(args.seed), "batch": str(args.batch), "scenes": str(len(scenes)),
                "strength": str(args.strength), "alpha": str(args.alpha),
                "blocks": str(args.blocks), "fades": str(args.fades), "bend": str(args.bend),
                "ends": str(args.ends), "outlined": str(args.outlined),
                "necklines": str(args.necklines), "without": " ".join(args.without)}  # fmt: skip

    def save(step: int) -> None:
        parallel.share_buffers(statistics, ranks)
        if not ranks.first:
            return
        average.save(args.out, {**metadata, "steps": str(step)})
        write_whole(
            {
                "models": system.trained_state(models),
                "discriminator": nets.discriminator.state_dict(),
                "optimiser": optimiser.state_dict(),
                "judge": judge.state_dict(),
                "average": average.state,
                "step": step,
            },
            checkpoint,
        )

    def validate(step: int) -> None:
        if journal is None or not validating:
            return
        try:
            table, _ = evaluate(
                args.out, args.pairs, args.photos, args.validate, args.strength, PAIRS_SEED
            )
        except (OSError, ValueError, system.WeightsError) as error:
            print(f"step {step}: not validated: {error}", file=sys.stderr)  # hours go on
        else:
            journal.validated(step, table["ours"])

    statistics = [m for n in models.values() for m in n.modules()]
    began = time.monotonic()
    step = first
    bar = tqdm(batches, initial=first, total=args.steps, desc="train", mininterval=10,
               disable=not ranks.first)  # fmt: skip
    for batch in bar:
        joint = step >= args.joint_at * args.steps
        places = step < args.places_until * args.steps
        phase = "places" if places else "joint" if joint else "truth"
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, args.steps, args.rate) * group["share"]
        # Chance of the step's own, so that a resumed run draws the same.
        torch.manual_seed((args.seed * 1_000_003 + step) * ranks.world + ranks.rank)
        if necklines is not None:
            batch |= necklines.batch([args.seed, step, ranks.rank], outlines_each)
        if outlined is not None:
            batch |= outlined.batch([args.seed, step, ranks.rank, 1], outlines_each)
        batch = parallel.moved(batch, device)
        with device, precision:
            result = run(nets, batch, weights, phase, step % 2 == 0, args.forced)
        optimiser.zero_grad(set_to_none=True)
        result.total.backward()
        parallel.average_gradients(learned, ranks)
        norm = nn.utils.clip_grad_norm_(learned, 2.0)
        if torch.isfinite(norm):
            optimiser.step()
        else:
            print(f"step {step}: gradient is not finite, step left out", file=sys.stderr)
        if phase == "joint":
            with device, precision:
                verdict = discriminator_loss(nets, batch, result)
            judge.zero_grad(set_to_none=True)
            verdict.backward()
            parallel.average_gradients(nets.discriminator.parameters(), ranks)
            judge.step()
            result.terms["discriminator"] = float(verdict.detach())
        step += 1
        average.update(step)
        result.terms["total"] = float(result.total.detach())
        means = journal.add(step, result.terms) if journal is not None else None
        if means:
            bar.set_postfix(loss=f"{means['total']:.3f}", iou=f"{means['iou']:.2f}")
        late = bool(args.stop_after) and time.monotonic() - began > args.stop_after * 60
        late = parallel.any_of(late, ranks)
        if step % args.save_every == 0 or step == args.steps or late:
            save(step)
            validate(step)
        if late:
            break
    if journal is not None:
        journal.close()
    parallel.stop(ranks)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = parser()
    args = p.parse_args(arguments)
    if args.validate < 0 or args.validate % 8:
        p.error("--validate takes 0, 8, 16, ...")
    try:
        return train(args)
    except (AssetError, FileNotFoundError, ValueError, system.WeightsError,
            parallel.DeviceError) as error:  # fmt: skip
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
