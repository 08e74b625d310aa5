"""Every loss of pictures and places falls on one overfitted batch, and rises for a wrong truth.

Each is minimised by itself over the numbers that it is told of, as if they were a network's answer.
Losses of words and of the discriminator, which are nothing without networks, are overfitted with
them in `test_training.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from training import losses
from tryon.contract import CATEGORIES, LANDMARKS, NET_HEIGHT, NET_WIDTH, PARSE
from tryon.models.blocks import pixel_coordinates
from tryon.models.inpaint import PAINT

N, K = 2, len(LANDMARKS)
H, W = NET_HEIGHT // 8, NET_WIDTH // 8


class Case(NamedTuple):
    """`loss` of an answer, which begins as `answer`, given a truth; `wrong`: another one's."""

    answer: Tensor
    loss: Callable[[Tensor], Tensor]
    wrong: Callable[[Tensor], Tensor]
    left: float = 0.5
    """Share of the loss at the beginning that may be left."""
    rate: float = 0.05


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=seeded(seed))


def box(x0: int, y0: int, x1: int, y1: int, height: int = H, width: int = W) -> Tensor:
    mask = torch.zeros(N, 1, height, width)
    mask[..., y0:y1, x0:x1] = 1
    return mask


def marks(seed: int) -> Tensor:
    return torch.cat([random(N, K, 2, seed=seed) * 0.8 + 0.1, torch.ones(N, K, 1)], 2)


def landmarks() -> Case:
    right, wrong = marks(1), marks(2)
    return Case(torch.full((N, K, 2), 0.5), lambda x: losses.landmark_loss(x, right),
                lambda x: losses.landmark_loss(x, wrong))  # fmt: skip


def votes() -> Case:
    pixels = pixel_coordinates(H, W, torch.zeros(1))
    right, wrong = marks(1), marks(2)

    def of(truth: Tensor) -> Callable[[Tensor], Tensor]:
        def loss(x: Tensor) -> Tensor:
            voted = 0.1 * x[:, :, 1:] + pixels.reshape(1, 1, 2, -1)
            return losses.vote_loss(x[:, :, 0], voted, pixels, truth)

        return loss

    return Case(torch.zeros(N, K, 3, H * W), of(right), of(wrong), rate=0.2)


def turned() -> Case:
    valid = torch.ones(N, 1, NET_HEIGHT // 2, NET_WIDTH // 2)
    pixels = pixel_coordinates(NET_HEIGHT // 2, NET_WIDTH // 2, valid).repeat(N, 1, 1, 1)
    here = marks(1)

    def of(shift: float) -> Callable[[Tensor], Tensor]:
        return lambda x: losses.turned_loss(x, here, here, pixels + shift, valid)

    return Case(torch.zeros(N, K, 2), of(0.08), of(-0.08))


def visible() -> Case:
    right = marks(1)
    right[..., 2] = (random(N, K, seed=3) > 0.5).float()
    wrong = right.clone()
    wrong[..., 2] = 1 - right[..., 2]
    return Case(torch.zeros(N, K), lambda x: losses.visibility_loss(x, right),
                lambda x: losses.visibility_loss(x, wrong), rate=0.2)  # fmt: skip


def flow() -> Case:
    valid, pixels = torch.ones(N, 1, H, W), pixel_coordinates(H, W, torch.zeros(1))
    right, wrong = ((pixels + shift).expand(N, -1, -1, -1) for shift in (0.06, -0.06))
    return Case(pixels.repeat(N, 1, 1, 1), lambda x: losses.flow_loss(x, right, valid),
                lambda x: losses.flow_loss(x, wrong, valid))  # fmt: skip


def inside() -> Case:
    """A garment that fills the left half of its picture, drawn on the person's right half."""
    x = torch.arange(NET_WIDTH).float().expand(N, 1, NET_HEIGHT, NET_WIDTH)
    depth = NET_WIDTH / 2 - x
    right = (x >= NET_WIDTH / 2).float()
    every = torch.ones_like(right)
    pixels = pixel_coordinates(H, W, torch.zeros(1)).repeat(N, 1, 1, 1)
    small = (slice(None), slice(None), slice(None, None, 8), slice(None, None, 8))
    return Case(pixels, lambda f: losses.inside_loss(f, depth, right[small], every[small]),
                lambda f: losses.inside_loss(f, depth, 1 - right[small], every[small]))  # fmt: skip


def smooth() -> Case:
    """Crumpled flow straightens; what is crumpled again costs again."""
    pixels = pixel_coordinates(H, W, torch.zeros(1))
    crumpled = 0.01 * random(N, 2, H, W, seed=4)
    return Case(pixels + crumpled, losses.smoothness_loss,
                lambda x: losses.smoothness_loss(x + crumpled), rate=0.001)  # fmt: skip


def mask() -> Case:
    right, wrong = box(4, 4, 16, 20), box(10, 16, 22, 30)
    return Case(torch.zeros(N, 1, H, W), lambda x: losses.mask_loss(x, right),
                lambda x: losses.mask_loss(x, wrong), rate=0.2)  # fmt: skip


def outlined() -> Case:
    """A mask that is known within a box alone, as around a collar outlined by hand."""
    right, wrong, known = box(4, 4, 16, 20), box(4, 10, 16, 26), box(2, 2, 20, 28)
    return Case(torch.zeros(N, 1, H, W), lambda x: losses.mask_loss(x, right, known),
                lambda x: losses.mask_loss(x, wrong, known), rate=0.2)  # fmt: skip


def tops() -> Case:
    """Which pixels of a real photo are an upper garment, known but for a band."""
    known = box(0, 0, W, H)[:, 0]
    known[:, 14:17] = 0
    right, wrong = box(4, 4, 16, 14)[:, 0], box(4, 17, 16, 28)[:, 0]
    logits = torch.zeros(N, len(PARSE), H // 2, W // 2)
    return Case(logits, lambda x: losses.outlined_loss(x, right, known),
                lambda x: losses.outlined_loss(x, wrong, known), rate=0.2)  # fmt: skip


def dice() -> Case:
    right, wrong = box(4, 4, 16, 20), box(10, 16, 22, 30)
    return Case(torch.zeros(N, 1, H, W), lambda x: losses.dice_loss(x.sigmoid(), right),
                lambda x: losses.dice_loss(x.sigmoid(), wrong), rate=0.2)  # fmt: skip


def decided() -> Case:
    """What is decided has no truth but itself: an undecided answer is the wrong one."""
    every = torch.ones(N, 1, H, W)
    start = random(N, 1, H, W, seed=5) - 0.5
    return Case(start, lambda x: losses.decided_loss(x.sigmoid(), every),
                lambda x: losses.decided_loss(0 * x + 0.5, every), rate=0.2)  # fmt: skip


def parse() -> Case:
    right = torch.randint(len(PARSE), (N, 2 * H, 2 * W), generator=seeded(6))
    wrong = (right + 1) % len(PARSE)
    return Case(torch.zeros(N, len(PARSE), H, W), lambda x: losses.parse_loss(x, right),
                lambda x: losses.parse_loss(x, wrong), rate=0.2)  # fmt: skip


def beneath() -> Case:
    """A shirt replaced by a shorter one: its lower part becomes trousers; wrong: skin."""
    upper, lower, skin = (PARSE.index(n) for n in ("upper", "lower", "face_neck"))
    before = torch.full((N, H, W), upper)
    old, drawn = before == upper, torch.zeros(N, H, W, dtype=torch.bool)
    drawn[:, : H // 2] = True

    def of(bared: int) -> Callable[[Tensor], Tensor]:
        after = torch.where(drawn, upper, bared)
        truth = losses.beneath_truth(before, after, drawn, old, torch.zeros_like(old))
        return lambda x: losses.beneath_loss(x, truth, drawn, old)

    return Case(torch.zeros(N, 1 + len(PAINT), H, W), of(lower), of(skin), rate=0.2)


def front() -> Case:
    """The mask of what is in front, taught by `front_truth`: an arm across the garment's midst."""
    drawn = box(10, 20, 38, 60, 64, 48)[:, 0] > 0
    after = torch.where(drawn, PARSE.index("upper"), PARSE.index("background"))
    after[:, 30:40, 14:34], drawn[:, 30:40, 14:34] = PARSE.index("arm_left"), False
    flow = pixel_coordinates(32, 24, torch.zeros(1)).repeat(N, 1, 1, 1)
    depth = torch.full((N, 1, 64, 48), 20.0)

    def of(before_all: Tensor) -> Callable[[Tensor], Tensor]:
        told = losses.front_truth(after, drawn, before_all, flow, depth)
        return lambda x: losses.mask_loss(x, told.truth, told.weight)

    category, tucked = torch.tensor([CATEGORIES.index("upper")] * N), torch.zeros(N) > 0
    hides = losses.ahead(after, category, tucked)
    hidden = torch.zeros_like(drawn)
    hidden[:, 40:60] = True

    def wrong(x: Tensor) -> Tensor:
        told = losses.front_truth(after, drawn & ~hidden, hides | hidden, flow, depth)
        return losses.mask_loss(x, told.truth, told.weight)

    return Case(torch.zeros(N, 1, 64, 48), of(hides), wrong, rate=0.2)


def picture() -> Case:
    right, every = random(N, 3, H, W, seed=7), torch.ones(N, 1, H, W)
    return Case(torch.full((N, 3, H, W), 0.5), lambda x: losses.picture_loss(x, right, every),
                lambda x: losses.picture_loss(x, right.flip(3), every))  # fmt: skip


def gradient() -> Case:
    right, every = random(N, 3, H, W, seed=8), torch.ones(N, 1, H, W)
    return Case(torch.full((N, 3, H, W), 0.5), lambda x: losses.gradient_loss(x, right, every),
                lambda x: losses.gradient_loss(x, right.flip(3), every), rate=0.02)  # fmt: skip


def perceptual() -> Case:
    right, wrong = random(N, 8, H, W, seed=9), random(N, 8, H, W, seed=10)
    return Case(torch.full((N, 8, H, W), 0.5), lambda x: losses.perceptual_loss([x], [right]),
                lambda x: losses.perceptual_loss([x], [wrong]))  # fmt: skip


def discriminator() -> Case:
    """Its own hinge: real above 1, made below -1; wrong: taken for each other."""
    return Case(torch.zeros(2, N, 1, H, W), lambda x: losses.adversarial_losses(x[0], x[1]),
                lambda x: losses.adversarial_losses(x[1], x[0]))  # fmt: skip


def adversarial() -> Case:
    """What the generator wants of its verdict; wrong: the verdict turned round."""
    return Case(torch.zeros(N, 1, H, W), lambda x: 1 + losses.generator_adversarial(x),
                lambda x: 1 + losses.generator_adversarial(-x))  # fmt: skip


def contrastive() -> Case:
    """Codes of pictures beside those of their words; wrong: another garment's words."""
    words, every = torch.randn(8, 16, generator=seeded(11)), torch.ones(8)
    return Case(torch.randn(8, 16, generator=seeded(12)),
                lambda x: losses.contrastive_loss(x, words, every),
                lambda x: losses.contrastive_loss(x, words.roll(1, 0), every))  # fmt: skip


def matching() -> Case:
    """The same where two garments share a sentence; wrong: every sentence is another's."""
    words = torch.randn(8, 16, generator=seeded(13))
    words[1] = words[0]
    same = torch.eye(8)
    same[:2, :2] = 1
    return Case(torch.randn(8, 16, generator=seeded(14)),
                lambda x: losses.matching_loss(x, words, same),
                lambda x: losses.matching_loss(x, words, same.roll(2, 0)))  # fmt: skip


CASES = (landmarks, votes, turned, visible, flow, inside, smooth, mask, outlined, tops, dice,
         decided, parse, beneath, front, picture, gradient, perceptual, discriminator, adversarial,
         contrastive, matching)  # fmt: skip


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_it_falls_on_one_batch_and_rises_for_a_wrong_truth(make: Callable[[], Case]) -> None:
    case = make()
    answer = case.answer.clone().requires_grad_()
    optimiser = torch.optim.Adam([answer], case.rate)
    first = float(case.loss(answer).detach())
    for _ in range(80):
        optimiser.zero_grad()
        case.loss(answer).backward()
        optimiser.step()
    with torch.no_grad():
        last, wrong = float(case.loss(answer)), float(case.wrong(answer))
    assert last < case.left * first, f"fell from {first} to {last}"
    assert wrong > 1.5 * last + 1e-3, f"{wrong} for a wrong truth, {last} for the right one"


def test_every_loss_has_a_case() -> None:
    """Losses are the functions of `training.losses` named so."""
    named = {name for name in vars(losses) if name.endswith(("_loss", "_losses"))}
    seen = {name for make in CASES for name in make.__code__.co_names}
    inner = [c for make in CASES for c in make.__code__.co_consts if hasattr(c, "co_names")]
    while inner:
        code = inner.pop()
        seen |= set(code.co_names)
        inner += [c for c in code.co_consts if hasattr(c, "co_names")]
    assert named <= seen, named - seen
