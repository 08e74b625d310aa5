"""One training step: a batch through all networks, and every loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from training import losses
from training.captions import Vocabulary
from tryon.assets import asset_path
from tryon.contract import CATEGORIES, MAX_TOKENS, NET_WIDTH
from tryon.models.composite import composite
from tryon.models.discriminator import Discriminator
from tryon.models.generator import Generator
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
    flow_parts: float = 0.02
    flow_8: float = 0.02
    flow_4: float = 0.03
    flow: float = 0.05
    inside: float = 0.3
    mask: float = 3.0
    dice: float = 2.0
    beneath: float = 1.5
    parse: float = 1.5
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


def run(
    nets: Networks, batch: dict, weights: Weights, phase: str, perceptual: bool,
    forced: float = 0.0,
) -> Result:  # fmt: skip
    """Forward pass and losses of the generator side.

    Args:
        batch: collated items of `training.data.compose.compose`.
        phase: "truth" (terms with exact truth alone) or "joint" (with the discriminator).
        perceptual: whether to compute the perceptual term in this step.
        forced: share of the pairs whose garment is laid by its true landmarks on the person
            (teacher forcing, Williams and Zipser, 1989). How long a sleeve falls is a guess that
            the landmarks alone must make; all that comes after learns to follow them sharply.
    """
    w = weights
    before, after, shop = images(batch["before"]), images(batch["after"]), images(batch["shop"])
    margin = (before.shape[3] - NET_WIDTH) // 2
    view_before = before[..., margin : margin + NET_WIDTH]
    truth = after[..., margin : margin + NET_WIDTH]
    category = batch["category"]
    has_text = torch.tensor([bool(c) for c in batch["caption"]])
    condition = condition_of(category, has_text)
    with torch.no_grad():
        pose = nets.pose.features(before)
    garment = nets.image_encoder.encode(shop, condition)
    z_text = nets.text_encoder.project(nets.sentences(list(batch["caption"]))).float()
    z = nets.generator.fusion(garment["z_image"], z_text, condition)
    told = (torch.rand(len(category), 1, 1) < forced).float() * torch.tensor([0.0, 0.0, 1.0])
    told = told + torch.tensor([1.0, 1.0, 0.0])
    placed = (batch["landmarks"] * told, batch["shop_landmarks"] * told)
    out = nets.generator.predict(before, pose, garment, z, condition, shop, placed)

    drawn = batch["drawn"].bool()
    old = batch["old"].bool()
    valid = batch["valid"].float()[:, None]
    drawn_1 = drawn.float()[:, None]
    parse_before, parse_after = batch["parse_before"].long(), batch["parse_after"].long()
    shop_mask = batch["shop_mask"].float()[:, None] / 255
    terms: dict[str, Tensor] = {
        "garment_landmarks": w.landmarks
        * losses.landmark_loss(garment["landmarks"], batch["shop_landmarks"]),
        "visible": w.visible * losses.visibility_loss(garment["visible"], batch["shop_landmarks"]),
        "garment_mask": w.garment_mask * losses.mask_loss(garment["mask"], shop_mask),
        "landmarks": w.landmarks * losses.landmark_loss(out["landmarks"], batch["landmarks"]),
        "garment_votes": w.votes * losses.vote_loss(
            garment["votes"], garment["voted"], nets.image_encoder.pixels, batch["shop_landmarks"]
        ),
        "votes": w.votes * losses.vote_loss(
            out["votes"], out["voted"], nets.generator.pixels_8, batch["landmarks"]
        ),
        "mask": w.mask * losses.mask_loss(
            out["mask"], drawn_1, losses.front_weight(parse_before, parse_after, drawn)
        ),
        "parse": w.parse * losses.parse_loss(out["parse"], parse_before),
        "beneath": w.beneath * losses.beneath_loss(
            out["beneath"], losses.beneath_truth(parse_before, parse_after, drawn, old), drawn, old
        ),
        "smooth": w.smooth * losses.smoothness_loss(out["flow"]),
    }  # fmt: skip
    for name in ("flow_parts", "flow_8", "flow_4", "flow"):
        terms[name] = getattr(w, name) * losses.flow_loss(out[name], batch["flow"], valid)
    inside, beside = batch["shop_inside"].float()[:, None], losses.beside_weight(parse_after, drawn)
    for name, share in (("flow_8", 0.25), ("flow_4", 0.25), ("flow", 0.5)):
        loss = losses.inside_loss(out[name], inside, drawn_1, beside)
        terms[f"inside_{name}"] = share * w.inside * loss

    # The picture is composed as it will be served, but never recoloured: the words' colour has
    # its own exact truth.
    none = (torch.zeros(len(z), 1), torch.zeros(len(z), 3))
    maps = nets.generator.maps(out, before, none, shop, garment["mask"].sigmoid())
    placement = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(z), 4)
    canvas = torch.cat([shop, torch.ones_like(shop[:, :1])], 1)
    picture, _ = composite(view_before, placement, maps, canvas, decide=1.0)
    changed = (drawn | old).float()[:, None]
    near = losses.widened(changed, 8)
    for name in ("garment", "keep"):
        terms[f"decided_{name}"] = w.decided * losses.decided_loss(getattr(maps, name), near)
    terms["dice"] = w.dice * losses.dice_loss(maps.garment, drawn_1)
    terms["picture"] = w.picture * losses.picture_loss(picture, truth, changed)
    terms["gradient"] = w.gradient * losses.gradient_loss(picture, truth, changed)
    if perceptual:
        # A 2x smaller picture sees the same features at a quarter of the cost.
        half = [F.avg_pool2d(x, 2) for x in (picture, truth)]
        trunk = nets.generator.trunk
        ours = trunk(half[0])
        with torch.no_grad():
            theirs = trunk(half[1])
        terms["perceptual"] = 2 * w.perceptual * losses.perceptual_loss(ours[1:], theirs[1:])

    with torch.no_grad():
        shown = (maps.garment > 0.5).float()
        both = (shown * drawn_1).sum((1, 2, 3))
        iou = both / ((shown + drawn_1) > 0).float().sum((1, 2, 3)).clamp(min=1)
    terms["confidence"] = w.confidence * F.binary_cross_entropy_with_logits(
        out["confidence"][:, 0], iou
    )

    text: dict[str, Tensor] = {}
    strength, colour = nets.generator.fusion.recolour(garment["z_image"], z_text, condition)
    asked = batch["restyle"]
    known = asked[:, 4]
    recoloured = known * asked[:, 0]
    text["restyle"] = w.restyle * (
        ((strength[:, 0] - asked[:, 0]).abs() * known).sum() / known.sum().clamp(min=1)
        + 3 * ((colour - asked[:, 1:4]).abs().mean(1) * recoloured).sum()
        / recoloured.sum().clamp(min=1)
    )  # fmt: skip
    own = nets.text_encoder.project(nets.sentences(list(batch["words"]))).float()
    true_caption = torch.tensor([float(bool(c)) for c in batch["truth_caption"]])
    text["contrastive"] = w.contrastive * losses.contrastive_loss(
        garment["z_image"], own, true_caption
    )
    text["painter"] = w.painter * painter_loss(nets, batch, own, condition)

    if phase == "joint":
        small, garment_small = F.avg_pool2d(picture, 2), F.avg_pool2d(shop, 2)
        fake = nets.discriminator(small, garment_small)
        terms["adversarial"] = w.adversarial * losses.generator_adversarial(fake)
        spoken = [i for i, c in enumerate(batch["truth_caption"]) if c]
        if spoken:
            tokens = caption_tokens(nets.vocabulary, [batch["truth_caption"][i] for i in spoken])
            text["caption"] = w.caption * nets.discriminator.caption_loss(small[spoken], tokens)

    image_side = torch.stack(list(terms.values())).sum()
    text_side = torch.stack(list(text.values())).sum()
    total = w.alpha * image_side + (1 - w.alpha) * text_side
    numbers = {k: float(v.detach()) for k, v in {**terms, **text}.items()}
    numbers["iou"] = float(iou.mean())
    found = {
        "garment": maps.garment,
        "garment_mask": garment["mask"].sigmoid(),
        "garment_landmarks": garment["landmarks"],
        "visible": garment["visible"].sigmoid(),
    }
    return Result(total, numbers, picture, truth, {**out, **found})


def painter_loss(nets: Networks, batch: dict, z_text: Tensor, condition: Tensor) -> Tensor:
    """What the painter reads off the words, against the garment they were written for."""
    asked = nets.text_encoder.painter.read(z_text, condition)
    colours = batch["words_colours"]
    loss = (asked["first"] - colours[:, :3]).abs().mean()
    loss = loss + (asked["second"] - colours[:, 3:]).abs().mean()
    loss = loss + 0.3 * F.cross_entropy(asked["pattern"], batch["words_pattern"])
    return loss + 0.3 * F.cross_entropy(asked["shape"], batch["words_shape"])


def caption_tokens(vocabulary: Vocabulary, captions: list[str]) -> Tensor:
    """int64 (N, length) of N captions."""
    return torch.stack([torch.from_numpy(vocabulary.encode(c)) for c in captions])


def discriminator_loss(nets: Networks, batch: dict, result: Result) -> Tensor:
    """The discriminator's own loss on the same batch: hinge, and captions of real pictures."""
    real, fake = F.avg_pool2d(result.truth, 2), F.avg_pool2d(result.picture.detach(), 2)
    garment = F.avg_pool2d(images(batch["shop"]), 2)
    loss = losses.adversarial_losses(
        nets.discriminator(real, garment).float(), nets.discriminator(fake, garment).float()
    )
    spoken = [i for i, c in enumerate(batch["truth_caption"]) if c]
    if spoken:
        tokens = caption_tokens(nets.vocabulary, [batch["truth_caption"][i] for i in spoken])
        loss = loss + nets.discriminator.caption_loss(real[spoken], tokens)
    return loss
