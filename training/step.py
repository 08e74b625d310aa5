"""One training step: a batch through all networks, and every loss.

Called within `with device:`, which is where the small tensors made on the way then lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from training import losses
from training.captions import Vocabulary
from tryon.assets import asset_path
from tryon.contract import CATEGORIES, MAX_TOKENS
from tryon.models.composite import composite
from tryon.models.discriminator import Discriminator
from tryon.models.efficientnet import EfficientNetTrunk, load_trunk
from tryon.models.generator import Generator, centre
from tryon.models.image_encoder import ImageEncoder
from tryon.models.pose import Pose
from tryon.models.text_encoder import TextEncoder


@dataclass
class Weights:
    """Weights of the loss terms; alpha balances L^I and L^T as L = alpha L^I + (1 - alpha) L^T."""

    alpha: float = 0.7
    landmarks: float = 0.05
    votes: float = 0.1
    decided: float = 0.3
    visible: float = 0.3
    garment_mask: float = 1.0
    necklines: float = 0.5
    turned: float = 0.03
    flow_parts: float = 0.04
    flow_8: float = 0.04
    flow_4: float = 0.05
    flow: float = 0.1
    inside: float = 0.3
    mask: float = 3.0
    dice: float = 2.0
    beneath: float = 1.5
    parse: float = 1.5
    outlined: float = 1.0
    picture: float = 4.0
    gradient: float = 3.0
    perceptual: float = 0.2
    smooth: float = 0.02
    confidence: float = 0.1
    adversarial: float = 0.02
    caption: float = 0.05
    contrastive: float = 0.2
    restyle: float = 1.0
    painter: float = 1.0
    styling: float = 1.0


def images(batch: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W) in 0..1, channels last in memory."""
    return batch.permute(0, 3, 1, 2).float().div(255)


class Sentences(nn.Module):
    """Frozen BERT codes of sentences, remembered."""

    def __init__(self, encoder: TextEncoder, tokenizer: Tokenizer, limit: int = 50_000) -> None:
        super().__init__()
        self.encoder, self.tokenizer, self.limit = encoder, tokenizer, limit
        self.known: dict[str, Tensor] = {}

    @torch.no_grad()
    def forward(self, sentences: list[str]) -> Tensor:
        """float (N, hidden) of N sentences."""
        new = sorted({s for s in sentences if s not in self.known})
        if new:
            codes = [self.tokenizer.encode(s).ids[:MAX_TOKENS] for s in new]
            length = max(len(c) for c in codes)
            ids = torch.zeros(len(new), length, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, code in enumerate(codes):
                ids[row, : len(code)] = torch.tensor(code)
                mask[row, : len(code)] = 1
            pooled = self.encoder.pool(ids, mask).float()
            if len(self.known) > self.limit:
                self.known.clear()
                return self(sentences)
            self.known.update(zip(new, pooled, strict=True))
        return torch.stack([self.known[s] for s in sentences])


@dataclass
class Networks:
    """All that a step runs."""

    pose: Pose
    image_encoder: ImageEncoder
    text_encoder: TextEncoder
    generator: Generator
    discriminator: Discriminator
    sentences: Sentences
    vocabulary: Vocabulary
    features: EfficientNetTrunk
    """ImageNet's, whole: how alike two pictures look."""


def assemble(models: dict[str, nn.Module], vocabulary: Vocabulary) -> Networks:
    """What a step needs, of the networks by served name."""
    tokenizer = Tokenizer.from_file(str(asset_path("minilm") / "tokenizer.json"))
    tokenizer.no_padding()
    text_encoder = cast(TextEncoder, models["text_encoder"])
    return Networks(
        pose=cast(Pose, models["pose"]),
        image_encoder=cast(ImageEncoder, models["image_encoder"]),
        text_encoder=text_encoder,
        generator=cast(Generator, models["generator"]),
        discriminator=Discriminator(len(vocabulary)),
        sentences=Sentences(text_encoder, tokenizer),
        vocabulary=vocabulary,
        features=load_trunk(asset_path("efficientnet_lite0.pth")),
    )


@dataclass
class Result:
    """A step's predictions and losses; `total` is what the generator side minimises."""

    total: Tensor
    terms: dict[str, float]
    picture: Tensor
    truth: Tensor
    out: dict[str, Tensor] = field(default_factory=dict)


def condition_of(category: Tensor, has_text: Tensor) -> Tensor:
    """`contract.CONDITION` rows for garments that are given: (N, 5)."""
    return torch.cat(
        [F.one_hot(category, len(CATEGORIES)).float(), torch.ones(len(category), 1),
         has_text.float()[:, None]], 1,
    )  # fmt: skip


def of_tops(count: int) -> Tensor:
    """`condition_of` so many garments for the upper body, with no words."""
    return condition_of(torch.zeros(count, dtype=torch.int64), torch.zeros(count))


@dataclass
class Seen:
    """A batch as the networks see it: pictures in 0..1, and what the encoders made of them."""

    before: Tensor
    view: Tensor
    truth: Tensor
    shop: Tensor
    cloth: Tensor
    """The in-shop picture whole, of which the composite takes its colours."""
    condition: Tensor
    garment: dict[str, Tensor]
    z_text: Tensor
    drawn: Tensor
    old: Tensor
    neckline_masks: Tensor | None = None
    people: Tensor | None = None
    """Real photos of people whose tops are outlined, (n, 3, 256, 256) in 0..1."""

    @property
    def changed(self) -> Tensor:
        """float (N, 1, H, W): where the picture after differs from the one before."""
        return (self.drawn | self.old).float()[:, None]


def see(nets: Networks, batch: dict) -> Seen:
    """Runs the encoders on a batch."""
    before, after = images(batch["before"]), images(batch["after"])
    shop, cloth = images(batch["shop_seen"]), images(batch["shop"])
    view, truth = centre(before), centre(after)
    has_text = torch.tensor([bool(c) for c in batch["caption"]])
    condition = condition_of(batch["category"], has_text)
    garment, neckline_masks = encoded(nets, batch, shop, condition)
    z_text = nets.text_encoder.project(nets.sentences(list(batch["caption"]))).float()
    drawn, old = batch["drawn"].bool(), batch["old"].bool()
    people = images(batch["outlined_people"]) if "outlined_people" in batch else None
    return Seen(
        before, view, truth, shop, cloth, condition, garment, z_text, drawn, old,
        neckline_masks, people,
    )  # fmt: skip


def encoded(
    nets: Networks, batch: dict, shop: Tensor, condition: Tensor
) -> tuple[dict[str, Tensor], Tensor | None]:
    """What E^I makes of the garments, and its mask logits of the outlined necklines, if any.

    All in one pass, since batch normalisation tells passes of few pictures apart.
    """
    if "neckline_photos" not in batch:
        return nets.image_encoder.encode(shop, condition), None
    count = len(batch["neckline_photos"])
    code = nets.image_encoder.encode(
        torch.cat([shop, images(batch["neckline_photos"])]), torch.cat([condition, of_tops(count)])
    )
    return {name: part[:-count] for name, part in code.items()}, code["mask"][-count:]


def run(
    nets: Networks, batch: dict, weights: Weights, phase: str, perceptual: bool,
    forced: float = 0.0, served: bool = False,
) -> Result:  # fmt: skip
    """Forward pass and losses of the generator side.

    Args:
        batch: collated items of `training.data.compose.compose`.
        phase: "places" (landmarks and what else needs no picture: a third of the time), "truth"
            (all terms with exact truth) or "joint" (with the discriminator too).
        perceptual: whether to compute the perceptual term in this step.
        forced: share of the pairs whose garment is laid by its true landmarks on the person
            (teacher forcing, Williams and Zipser, 1989). How long a sleeve falls is a guess that
            the landmarks alone must make; all that comes after learns to follow them sharply.
        served: with all that isn't learned, as it is served; but the picture is composed at the
            network's size, with no alpha of the garment's own.
    """
    seen = see(nets, batch)
    z = nets.generator.fusion(seen.garment["z_image"], seen.z_text, seen.condition)
    told = (torch.rand(len(z), 1, 1) < forced).float() * torch.tensor([0.0, 0.0, 1.0])
    told = told + torch.tensor([1.0, 1.0, 0.0])
    placed = (batch["landmarks"] * told, batch["shop_landmarks"] * told)
    out, parse = predicted(nets, batch, seen, z, placed, phase == "places", served)
    terms = place_terms(nets, batch, weights, seen, out)
    if parse is not None:
        terms["outlined"] = weights.outlined * losses.outlined_loss(
            parse, batch["outlined_tops"], batch["outlined_known"]
        )
    text = text_terms(nets, batch, weights, seen)
    picture, iou = seen.view, torch.zeros(())
    if phase != "places":
        layers, told = layer_terms(batch, weights, seen, out)
        taught = {**out, "mask_packed": stopped(out["mask_packed"], told)}
        joints = out["joints"] if served else None
        picture, out["garment"], more = picture_terms(
            nets, weights, seen, taught, perceptual, joints
        )
        terms |= layers | more
        with torch.no_grad():
            shown = (out["garment"] > 0.5).float()
            drawn = seen.drawn.float()[:, None]
            both = (shown * drawn).sum((1, 2, 3))
            overlap = both / ((shown + drawn) > 0).float().sum((1, 2, 3)).clamp(min=1)
            iou = overlap.mean()
        # Of those laid as they will be served: by true landmarks all lie well.
        laid = (placed[0][..., 2] < 0.5).all(1).float()
        doubt = F.binary_cross_entropy_with_logits(
            out["confidence"][:, 0], overlap, reduction="none"
        )
        terms["confidence"] = weights.confidence * (doubt * laid).sum() / laid.sum().clamp(1)
    if phase == "joint":
        adversarial, caption = judged_terms(nets, batch, weights, seen, picture)
        terms["adversarial"] = adversarial
        if caption is not None:
            text["caption"] = caption
    image_side = torch.stack(list(terms.values())).sum()
    text_side = torch.stack(list(text.values())).sum()
    total = weights.alpha * image_side + (1 - weights.alpha) * text_side
    numbers = {k: float(v.detach()) for k, v in {**terms, **text}.items()}
    numbers["iou"] = float(iou)
    found = {
        "garment_mask": seen.garment["mask_share"],
        "garment_landmarks": seen.garment["landmarks"],
        "visible": seen.garment["visible_share"],
        "z_image": seen.garment["z_image"],
    }
    return Result(total, numbers, picture, seen.truth, {**out, **found})


def predicted(
    nets: Networks, batch: dict, seen: Seen, z: Tensor, placed: tuple[Tensor, Tensor],
    places_only: bool, served: bool,
) -> tuple[dict[str, Tensor], Tensor | None]:  # fmt: skip
    """What G makes of the pairs, and its parse of the outlined people, if any.

    All in one pass, since batch normalisation tells passes of few pictures apart: the outlined
    people are given the first pairs' garments.
    """
    count = 0 if seen.people is None or places_only else len(seen.people)
    before = seen.before if seen.people is None else torch.cat([seen.before, seen.people[:count]])

    def more(x: Tensor) -> Tensor:
        return torch.cat([x, x[:count]]) if count else x

    with torch.no_grad():
        pose = nets.pose.features(before)
    garment = {name: more(part) for name, part in seen.garment.items()}
    out = nets.generator.predict(
        before, pose, garment, more(z), more(seen.condition), more(batch["styling"]),
        more(seen.shop), (_nowhere(placed[0], count), _nowhere(placed[1], count)), places_only,
        pose["landmarks"] if served else None,
    )  # fmt: skip
    out["joints"] = pose["landmarks"]
    if not count:
        return out, None
    return {name: part[:-count] for name, part in out.items()}, out["parse"][-count:]


def _nowhere(placed: Tensor, count: int) -> Tensor:
    """Landmarks (N, K, 3), and after them `count` times none."""
    return torch.cat([placed, torch.zeros_like(placed[:1]).expand(count, -1, -1)])


def place_terms(
    nets: Networks, batch: dict, w: Weights, seen: Seen, out: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Where the garment's landmarks lie in its picture and on the person, and the parts' flow."""
    garment = seen.garment
    shop_mask, unknown = (batch[n].float()[:, None] / 255 for n in ("shop_mask", "shop_unknown"))
    there, here = batch["shop_landmarks"], batch["landmarks"]
    valid = batch["valid"].float()[:, None]
    outlined = {}
    if seen.neckline_masks is not None:
        face, known = batch["neckline_faces"][:, None], batch["neckline_known"][:, None]
        outlined["necklines"] = w.necklines * losses.mask_loss(seen.neckline_masks, face, known)
    return {
        **outlined,
        "garment_landmarks": w.landmarks * losses.landmark_loss(garment["landmarks"], there),
        "visible": w.visible * losses.visibility_loss(garment["visible"], there),
        "garment_mask": w.garment_mask * losses.mask_loss(garment["mask"], shop_mask, 1 - unknown),
        "landmarks": w.landmarks * losses.landmark_loss(out["landmarks"], here),
        "garment_votes": w.votes * losses.vote_loss(
            garment["votes"], garment["voted"], nets.image_encoder.pixels, there
        ),
        "votes": w.votes * losses.vote_loss(
            out["votes"], out["voted"], nets.generator.pixels_8, here
        ),
        "turned": w.turned * losses.turned_loss(
            out["turned"], here, there, batch["flow"], valid
        ),
        "flow_parts": w.flow_parts * losses.flow_loss(out["flow_parts"], batch["flow"], valid),
    }  # fmt: skip


def layer_terms(
    batch: dict, w: Weights, seen: Seen, out: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Flow, masks and parse: all that has an exact truth and isn't the picture.

    Returns:
        The terms; and bool (N, 1, H, W), where the picture may teach the mask (`losses.Front`).
    """
    drawn, old = seen.drawn, seen.old
    parse_before, parse_after = batch["parse_before"].long(), batch["parse_after"].long()
    drawn_1 = drawn.float()[:, None]
    in_front = losses.ahead(parse_after, batch["category"], batch["tucked"])
    in_front = in_front | batch["under"].bool()
    inside = batch["shop_inside"].float()[:, None]
    front = losses.front_truth(parse_after, drawn, in_front, out["flow_2"], inside)
    beneath = losses.beneath_truth(parse_before, parse_after, drawn, old, batch["under"].bool())
    terms = {
        "mask": w.mask * losses.mask_loss(out["mask"], front.truth, front.weight),
        "parse": w.parse * losses.parse_loss(out["parse"], parse_before),
        "beneath": w.beneath * losses.beneath_loss(out["beneath"], beneath, drawn, old),
        "smooth": w.smooth * losses.smoothness_loss(out["flow"]),
    }
    valid = batch["valid"].float()[:, None]
    beside = losses.beside_weight(parse_after, drawn, in_front)
    for name, share in (("flow_8", 0.25), ("flow_4", 0.25), ("flow", 0.5)):
        terms[name] = getattr(w, name) * losses.flow_loss(out[name], batch["flow"], valid)
        loss = losses.inside_loss(out[name], inside, drawn_1, beside)
        terms[f"inside_{name}"] = share * w.inside * loss
    return terms, front.told


def stopped(packed: Tensor, told: Tensor) -> Tensor:
    """A packed mask (N, 4, H/2, W/2) that has gradients where it is told: bool (N, 1, H, W)."""
    return torch.where(F.pixel_unshuffle(told, 2), packed, packed.detach())


def picture_terms(
    nets: Networks, w: Weights, seen: Seen, out: dict[str, Tensor], perceptual: bool,
    joints: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:  # fmt: skip
    """The picture, where the garment is in it, and the terms that look at them.

    The picture is composed as it will be served (given `joints`, with what isn't learned), but at
    the network's size and never recoloured: the words' colour has its own exact truth.
    """
    n = len(seen.view)
    none = (torch.zeros(n, 1), torch.zeros(n, 3))
    placement = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(n, 4)
    canvas = torch.cat([seen.cloth, torch.ones_like(seen.cloth[:, :1])], 1) * 255
    with torch.autocast(seen.view.device.type, enabled=False):  # products in bfloat16 lose levels
        maps = nets.generator.maps(
            out, seen.before, none, seen.shop, seen.garment["mask_share"], seen.condition, joints
        )
        picture = composite(seen.view, placement, maps, canvas, decide=1.0)
    truth, changed = seen.truth, seen.changed
    near = losses.widened(changed, 8)
    terms = {
        "decided_garment": w.decided * losses.decided_loss(maps.garment, near),
        "decided_keep": w.decided * losses.decided_loss(maps.keep, near),
        "dice": w.dice * losses.dice_loss(maps.garment, seen.drawn.float()[:, None]),
        "picture": w.picture * losses.picture_loss(picture, truth, changed),
        "gradient": w.gradient * losses.gradient_loss(picture, truth, changed),
    }
    if perceptual:
        # A 2x smaller picture sees the same features at a quarter of the cost.
        half = [F.avg_pool2d(x, 2) for x in (picture, truth)]
        ours = nets.features(half[0])
        with torch.no_grad():
            theirs = nets.features(half[1])
        terms["perceptual"] = 2 * w.perceptual * losses.perceptual_loss(ours[1:], theirs[1:])
    return picture, maps.garment, terms


def text_terms(nets: Networks, batch: dict, w: Weights, seen: Seen) -> dict[str, Tensor]:
    """What ties words to garments: recolouring, the shared space, the painter."""
    strength, colour = nets.generator.fusion.recolour(
        seen.garment["z_image"], seen.z_text, seen.condition
    )
    asked = batch["restyle"]
    known = asked[:, 4]
    recoloured = known * asked[:, 0]
    restyle = (
        ((strength[:, 0] - asked[:, 0]).abs() * known).sum() / known.sum().clamp(min=1)
        + 3 * ((colour - asked[:, 1:4]).abs().mean(1) * recoloured).sum()
        / recoloured.sum().clamp(min=1)
    )  # fmt: skip
    own = nets.text_encoder.project(nets.sentences(list(batch["words"]))).float()
    has_caption = torch.tensor([float(bool(c)) for c in batch["truth_caption"]])
    return {
        "restyle": w.restyle * restyle,
        "contrastive": w.contrastive
        * losses.contrastive_loss(seen.garment["z_image"], own, has_caption),
        "painter": w.painter * painter_loss(nets, batch, own, seen.condition),
        "styling": w.styling * styling_loss(nets, batch),
    }


def judged_terms(
    nets: Networks, batch: dict, w: Weights, seen: Seen, picture: Tensor
) -> tuple[Tensor, Tensor | None]:
    """What the discriminator says of the picture, and how it reads it as the caption, if any."""
    small, garment = F.avg_pool2d(picture, 2), F.avg_pool2d(seen.shop, 2)
    adversarial = w.adversarial * losses.generator_adversarial(nets.discriminator(small, garment))
    spoken = [i for i, c in enumerate(batch["truth_caption"]) if c]
    if not spoken:
        return adversarial, None
    tokens = caption_tokens(nets.vocabulary, [batch["truth_caption"][i] for i in spoken])
    return adversarial, w.caption * nets.discriminator.caption_loss(small[spoken], tokens)


def painter_loss(nets: Networks, batch: dict, z_text: Tensor, condition: Tensor) -> Tensor:
    """What the painter reads off the words, against the garment they were written for."""
    asked = nets.text_encoder.painter.read(z_text, condition)
    colours = batch["words_colours"]
    loss = (asked["first"] - colours[:, :3]).abs().mean()
    loss = loss + (asked["second"] - colours[:, 3:]).abs().mean()
    loss = loss + 0.3 * F.cross_entropy(asked["pattern"], batch["words_pattern"])
    return loss + 0.3 * F.cross_entropy(asked["shape"], batch["words_shape"])


def styling_loss(nets: Networks, batch: dict) -> Tensor:
    """Cross-entropy of what E^T reads of how the garment is to be worn."""
    logits = nets.text_encoder.style_logits(nets.sentences(list(batch["how_words"])))
    terms = [F.cross_entropy(own, batch["how"][:, i]) for i, own in enumerate(logits)]
    return torch.stack(terms).sum()


def caption_tokens(vocabulary: Vocabulary, captions: list[str]) -> Tensor:
    """int64 (N, length) of N captions."""
    return torch.tensor(np.stack([vocabulary.encode(c) for c in captions]))


def discriminator_loss(nets: Networks, batch: dict, result: Result) -> Tensor:
    """The discriminator's own loss on the same batch: hinge, and captions of real pictures."""
    real, fake = F.avg_pool2d(result.truth, 2), F.avg_pool2d(result.picture.detach(), 2)
    garment = F.avg_pool2d(images(batch["shop_seen"]), 2)
    loss = losses.adversarial_losses(
        nets.discriminator(real, garment).float(), nets.discriminator(fake, garment).float()
    )
    spoken = [i for i, c in enumerate(batch["truth_caption"]) if c]
    if spoken:
        tokens = caption_tokens(nets.vocabulary, [batch["truth_caption"][i] for i in spoken])
        loss = loss + nets.discriminator.caption_loss(real[spoken], tokens)
    return loss
