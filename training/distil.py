"""Teaches narrower networks to answer as wider ones do; resumes where it stopped.

    python -m training.distil --teacher WIDE --pairs .cache/pairs --photos DIR --out runs/narrow
    torchrun --nproc-per-node 2 -m training.distil ...   # two processes share each batch

The teacher is a folder of weights of any width. The student, this version's networks, is cut from
it (`training.narrow`); its trunks are taught by themselves first, then all of it learns the
teacher's sums (Romero et al., 2015, "FitNets") and answers (Hinton et al., 2015). No truth is
needed, so that any person meets any garment, photos of real garments among them; what was never in
the pairs is answered as the teacher would.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from training import parallel
from training.captions import Vocabulary
from training.data.compose import Options
from training.data.real_photos import RealPhotos
from training.dataset import Pairs, loader, scene_files
from training.journal import Journal
from training.narrow import STUDENTS, fit, read, student_state, to_cut
from training.step import Networks, assemble, condition_of, images
from training.train import CHECKPOINT, add_run, groups, rate_at, write_whole
from training.trunk import teach
from tryon.contract import CATEGORIES, NET_HEIGHT, NET_WIDTH
from tryon.models import system
from tryon.models.blocks import Residual
from tryon.models.efficientnet import EfficientNetTrunk
from tryon.steps.garment import make_canvas

_MASK = ("merge_2.", "mask.")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m training.distil", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--teacher", type=Path, required=True, help="folder of the wider weights")
    p.add_argument(
        "--student",
        type=Path,
        help="folder of the weights that are cut to begin with (default: the teacher's)",
    )
    add_run(p)
    p.add_argument("--steps", type=int, default=1200, help="train up to this step (even)")
    p.add_argument(
        "--trunk-steps",
        type=int,
        default=400,
        help="steps that newly cut trunks are taught by themselves first",
    )
    p.add_argument(
        "--pictures", type=int, default=400, help="pairs whose pictures they are taught on"
    )
    p.add_argument("--rate", type=float, default=8e-4, help="peak learning rate")
    p.add_argument("--save-every", type=int, default=100)
    return p


def _groups(student: dict[str, nn.Module]) -> list[dict]:
    """Parameter groups: E^I's mask, whose logits are steep and whose maps were cut, moves fast; the
    trunks, which have no normalisation, slowly."""
    trunks = [p for name in STUDENTS for p in student[name].get_submodule("trunk").parameters()]
    slow = groups({name: student[name] for name in STUDENTS})
    mask = [p for n, p in student["image_encoder"].named_parameters() if n.startswith(_MASK)]
    own = {id(p) for p in (*mask, *trunks)}
    for group in slow:
        group["params"] = [p for p in group["params"] if id(p) not in own]
    return [*slow, {"params": mask, "share": 5.0}, {"params": trunks, "share": 0.1}]


class Sums:
    """What the residual blocks and trunks of some networks gave in their last run, by name."""

    def __init__(self, models: dict[str, nn.Module]) -> None:
        self.values: dict[str, Tensor] = {}
        for model in STUDENTS:
            for name, block in models[model].named_modules():
                if isinstance(block, Residual | EfficientNetTrunk):
                    block.register_forward_hook(self._keep(f"{model}.{name}"))

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, value: Tensor | list[Tensor]) -> None:
            if isinstance(value, Tensor):
                self.values[name] = value
            else:
                self.values |= {f"{name}.{i}": part for i, part in enumerate(value)}

        return hook


def answers(nets: Networks, view: Tensor, pose: dict[str, Tensor], shop: Tensor, z_text: Tensor,
            condition: Tensor, styling: Tensor) -> dict[str, Tensor]:  # fmt: skip
    """All that a composite is made of, and what leads there.

    Those named in `_LOGITS` are logits; the others are in a range of about 1.
    """
    garment = nets.image_encoder.encode(shop, condition)
    z = nets.generator.fusion(garment["z_image"], z_text, condition)
    strength, colour = nets.generator.fusion.recolour(garment["z_image"], z_text, condition)
    out = nets.generator.predict(view, pose, garment, z, condition, styling, shop)
    return {
        "garment_landmarks": garment["landmarks"],
        "garment_visible": garment["visible_share"],
        "garment_mask": garment["mask"],
        "z_image": garment["z_image"],
        "strength": strength,
        "colour": strength.detach() * colour,
        "landmarks": out["landmarks"],
        "flow_parts": out["flow_parts"],
        "flow_8": out["flow_8"],
        "flow_4": out["flow_4"],
        "flow_2": out["flow_2"],
        "mask": out["mask"],
        "garment": out["mask"].sigmoid() * out["covered"],
        "beneath": out["beneath"],
        "parse": out["parse"],
        "shade": out["shade"].tanh(),
        "shade_fine": out["shade_fine"].tanh(),
        "confidence": out["confidence"].sigmoid(),
    }


_LOGITS = ("garment_mask", "mask", "beneath", "parse")
SHARES = {
    "garment_landmarks": 20.0, "garment_visible": 1.0, "garment_mask": 5.0, "z_image": 1.0,
    "strength": 1.0, "colour": 3.0,
    "landmarks": 20.0, "flow_parts": 5.0, "flow_8": 5.0, "flow_4": 5.0, "flow_2": 20.0,
    "mask": 1.0, "garment": 10.0, "beneath": 5.0, "parse": 3.0, "shade": 3.0, "shade_fine": 3.0,
    "confidence": 0.3,
}  # fmt: skip
"""Weights of the answers' differences."""


def differences(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """How far each answer is from the teacher's.

    Probabilities: the divergence (a difference would have no gradient where both are sure); places:
    the mean absolute difference where the teacher draws a garment; others: of all.
    """
    found = {}
    for name, value in ours.items():
        their = theirs[name]
        apart = (value - their).abs()
        if name in _LOGITS:
            found[name] = divergence(value, their)
        elif name.startswith("flow"):
            seen = F.interpolate(theirs["garment"], value.shape[2:], mode="area") + 0.05
            found[name] = (apart * seen).sum() / (2 * seen.sum())
        else:
            found[name] = apart.mean()
    return found


def divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the teacher's from ours, of logits (N, classes, H, W)."""
    if ours.shape[1] == 1:  # of one class: against a second whose logit is 0
        ours, theirs = (torch.cat([x, torch.zeros_like(x)], 1) for x in (ours, theirs))
    log = theirs.log_softmax(1)
    return (log.exp() * (log - ours.log_softmax(1))).sum(1).mean()


def sums_apart(ours: Sums, theirs: Sums) -> dict[str, Tensor]:
    """Each map's mean squared difference, as a share of the teacher's variance."""
    return {
        name: (value - theirs.values[name]).square().mean()
        / theirs.values[name].var((0, 2, 3)).mean().clamp(min=1e-6)
        for name, value in ours.values.items()
    }


def meetings(
    batch: dict[str, Any], photos: RealPhotos | None, rng: np.random.Generator
) -> Iterable[dict[str, Any]]:
    """Two batches of persons and garments from one of pairs: as they are, and everyone's other.

    One in four garments is a whole photo of a real one, if there are any.
    """
    for persons, places in (("before", 0), ("after", 1)):
        shop = torch.roll(batch["shop_seen"], places, 0)
        category = torch.roll(batch["category"], places, 0)
        if photos is not None:
            for row in np.nonzero(rng.random(len(shop)) < 0.25)[0]:
                photo, name = photos.labelled(rng)
                net = make_canvas(photo, (2 * NET_HEIGHT, 2 * NET_WIDTH))[1]
                shop[row], category[row] = torch.from_numpy(net), CATEGORIES.index(name)
        caption = list(batch["caption"])
        has_text = torch.tensor([bool(c) for c in caption])
        yield {
            "person": images(batch[persons]),
            "shop": images(shop),
            "condition": condition_of(category, has_text),
            "caption": caption,
            "styling": batch["styling"],
        }


def lesson(
    ours: Networks, theirs: Networks, sums: tuple[Sums, Sums], met: dict[str, Any]
) -> dict[str, Tensor]:
    """What the student's answers to a batch are off by, and `total`, which it minimises.

    Args:
        sums: of the student's and of the teacher's networks; met: one of `meetings`.
    """
    with torch.no_grad():
        pose = theirs.pose.features(met["person"])
        z_text = theirs.text_encoder.project(theirs.sentences(met["caption"])).float()
        given = (met["person"], pose, met["shop"], z_text, met["condition"], met["styling"])
        right = answers(theirs, *given)
    own = answers(ours, *given)
    terms, apart = differences(own, right), sums_apart(*sums)
    total = torch.stack([SHARES[name] * term for name, term in terms.items()]).sum()
    return {**terms, **apart, "total": total + torch.stack(list(apart.values())).sum()}


def sights(pairs: Pairs, photos: RealPhotos | None, count: int, show: bool) -> dict[str, Tensor]:
    """What the trunks see of `count` pairs, as `student_state` takes it.

    Args:
        show: a progress bar.
    """
    rng = np.random.default_rng(pairs.seed)
    garments: list[Any] = []
    persons: list[Any] = []
    for index in tqdm(range(count), desc="pictures for the trunks", disable=not show):
        pair = pairs[index]
        garments.append(pair["shop_seen"])
        if photos is not None:
            net = make_canvas(photos.labelled(rng)[0], (2 * NET_HEIGHT, 2 * NET_WIDTH))[1]
            garments.append(net)
        persons += [pair["before"], pair["after"]]
    margin = (persons[0].shape[1] - NET_WIDTH) // 2
    seen = {"image_encoder": np.stack(garments),
            "generator": np.stack(persons)[:, :, margin : margin + NET_WIDTH]}  # fmt: skip
    return {name: torch.from_numpy(value).permute(0, 3, 1, 2) for name, value in seen.items()}


def teach_trunks(
    names: list[str], student: dict[str, nn.Module], teacher: dict[str, nn.Module],
    seen: dict[str, Tensor], steps: int, seed: int, ranks: parallel.Ranks,
) -> None:  # fmt: skip
    """Trains the trunks of the student's networks of these names; processes share them out."""
    for index, name in enumerate(names):
        ours, theirs = (models[name].get_submodule("trunk") for models in (student, teacher))
        assert isinstance(ours, EfficientNetTrunk) and isinstance(theirs, EfficientNetTrunk)
        if index % ranks.world == ranks.rank:
            with tqdm(total=steps, desc=f"trunk of {name}", mininterval=10) as bar:

                def say(_: int, apart: float, bar: tqdm = bar) -> None:
                    bar.set_postfix(apart=f"{apart:.3f}", refresh=False)
                    bar.update()

                teach(ours, theirs, seen[name], steps, seed, say)
    for index, name in enumerate(names):
        own = student[name].get_submodule("trunk").parameters()
        parallel.send(own, index % ranks.world, ranks)


def pair_up(
    given: dict[str, Tensor], begun: dict[str, Tensor], seen: dict[str, Tensor],
    sources: tuple[str, str] = ("the teacher", "the student"),
) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:  # fmt: skip
    """Teacher and student, in evaluation mode: a batch's own statistics would be noise.

    Args:
        given: the teacher's state; begun: that which the student is cut from, which may be the
            same; seen: as in `student_state`; sources: what errors call the two.

    Raises:
        system.WeightsError: a state is of other networks.
    """
    teacher, student = system.build(), system.build()
    fit(teacher, given)
    system.load_state(teacher, given, sources[0])
    system.load_state(student, student_state(begun, student, seen), sources[1])
    for module in (*teacher.values(), *student.values()):
        module.eval()
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return teacher, student


def distil(args: argparse.Namespace) -> int:
    """Runs the distillation; returns the exit status."""
    ranks = parallel.start()
    torch.manual_seed(args.seed)
    given = read(args.teacher, "--teacher")
    begun = given if args.student is None else read(args.student, "--student")
    pairs = Pairs(scene_files(args.pairs, "train"), args.photos, Options(), args.seed,
                  cutouts=args.cutouts)  # fmt: skip
    photos = RealPhotos(args.photos) if args.photos is not None else None
    checkpoint, first = args.out / CHECKPOINT, 0
    # A checkpoint replaces what is cut here, so that two pictures will do.
    seen = sights(pairs, photos, 2 if checkpoint.is_file() else args.pictures, ranks.first)
    source = f"--teacher {args.teacher}"
    sources = (source, source if args.student is None else f"--student {args.student}")
    teacher, student = pair_up(given, begun, seen, sources)
    if not checkpoint.is_file():
        # Trunks that were taught before have gone with the rest of their networks since.
        names = to_cut(begun)
        teach_trunks(names, student, teacher, seen, args.trunk_steps, args.seed, ranks)
    args.out.mkdir(parents=True, exist_ok=True)
    vocabulary = Vocabulary.of(["a"])  # the discriminator's, which isn't used
    ours, theirs = assemble(student, vocabulary), assemble(teacher, vocabulary)
    sums = (Sums(student), Sums(teacher))
    for name in STUDENTS:
        student[name].get_submodule("trunk").requires_grad_(True)
    learned = [p for name in STUDENTS for p in student[name].parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(_groups(student), args.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        system.load_state(student, saved["models"], str(checkpoint))
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
        print(f"resuming {checkpoint} at step {first}")
    last = args.steps + args.steps % 2  # a batch of pairs is two steps
    if first >= last:
        print(f"{args.out} has reached step {first} already; give a larger --steps to go on")
        return 0
    batches = loader(pairs, args.batch, first // 2, (last - first) // 2, args.workers,
                     ranks.rank, ranks.world)  # fmt: skip
    metadata = {**system.metadata(args.teacher), "distilled_seed": str(args.seed)}
    if args.student is not None:
        metadata["distilled_from"] = system.weights_hash(args.student)
    journal = Journal(args.out, first) if ranks.first else None
    bar = tqdm(initial=first, total=last, desc="distil", mininterval=10,
               disable=not ranks.first)  # fmt: skip
    step = first
    for batch in batches:
        rng = np.random.default_rng([args.seed, step, ranks.rank])
        for met in meetings(batch, photos, rng):
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, last, args.rate) * group["share"]
            terms = lesson(ours, theirs, sums, met)
            optimiser.zero_grad(set_to_none=True)
            terms["total"].backward()
            parallel.average_gradients(learned, ranks)
            norm = nn.utils.clip_grad_norm_(learned, 5.0)
            if torch.isfinite(norm):
                optimiser.step()
            else:
                print(f"step {step}: gradient is not finite, step left out", file=sys.stderr)
            step += 1
            bar.update()
            if journal is None:
                continue
            means = journal.add(step, {name: float(term.detach()) for name, term in terms.items()})
            if means:
                bar.set_postfix(loss=f"{means['total']:.3f}")
        # After both steps of a batch, so that a run goes on with the next.
        due = step % args.save_every < 2 or step >= last
        if ranks.first and due:
            system.save(student, args.out, {**metadata, "distilled_steps": str(step)})
            write_whole(
                {"models": system.trained_state(student), "step": step,
                 "optimiser": optimiser.state_dict()}, checkpoint,
            )  # fmt: skip
    if journal is not None:
        journal.close()
    parallel.stop(ranks)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    try:
        return distil(parser().parse_args(arguments))
    except (FileNotFoundError, ValueError, system.WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
