"""The parse told by the photo's own colours: what is weakly wrong is mended, what is sure stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tryon.contract import NET_HEIGHT, NET_WIDTH, PARSE
from tryon.models.by_colour import by_colour

HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)
COLOURS = {"background": (0.6, 0.6, 0.6), "hair": (0.3, 0.18, 0.1), "face_neck": (0.8, 0.6, 0.5),
           "arm_left": (0.8, 0.6, 0.5), "upper": (0.7, 0.1, 0.1),
           "lower": (0.2, 0.3, 0.6)}  # fmt: skip
WHERE = {"hair": (10, 22, 36, 60), "face_neck": (22, 40, 38, 58), "upper": (40, 84, 26, 70),
         "arm_left": (50, 80, 70, 78), "lower": (84, 120, 28, 68)}  # fmt: skip
PATCH = (slice(42, 50), slice(36, 42))
"""Of the top, beside the neck."""


def person(sure: float = 9.0) -> tuple[Tensor, Tensor]:
    """Logits of a person of plain colours, and the picture with some noise."""
    logits = torch.zeros(1, len(PARSE), *HALF)
    rgb = torch.tensor(COLOURS["background"])[:, None, None].repeat(1, *HALF)
    logits[:, PARSE.index("background")] = sure
    for name, (top, bottom, left, right) in WHERE.items():
        logits[:, :, top:bottom, left:right] = 0
        logits[:, PARSE.index(name), top:bottom, left:right] = sure
        rgb[:, top:bottom, left:right] = torch.tensor(COLOURS[name])[:, None, None]
    rgb = rgb.repeat_interleave(2, 1).repeat_interleave(2, 2)[None]
    noise = torch.randn(rgb.shape, generator=torch.Generator().manual_seed(5))
    return logits, (rgb + 0.02 * noise).clamp(0, 1)


def doubtful(logits: Tensor, name: str, by: float) -> Tensor:
    """`logits` in which the patch is `name` by so much, and the top else."""
    logits = logits.clone()
    logits[(slice(None), slice(None), *PATCH)] = 0
    logits[(0, PARSE.index("upper"), *PATCH)] = 3
    logits[(0, PARSE.index(name), *PATCH)] = 3 + by
    return logits


def classes(logits: Tensor) -> Tensor:
    return logits.argmax(1)[(0, *PATCH)]


@pytest.mark.parametrize("name", ["face_neck", "hair", "background"])
def test_a_hood_beside_a_neck_is_the_top(name: str) -> None:
    logits, rgb = person()
    found = by_colour(doubtful(logits, name, 1), rgb)
    assert (classes(found) == PARSE.index("upper")).all()
    away = torch.ones(HALF, dtype=torch.bool)
    away[PATCH] = False
    assert torch.equal(found.argmax(1)[0][away], logits.argmax(1)[0][away]), "all else stays"


def test_what_the_network_is_sure_of_stays() -> None:
    logits, rgb = person()
    wrong = doubtful(logits, "face_neck", 6)
    assert (classes(by_colour(wrong, rgb)) == PARSE.index("face_neck")).all()


def test_a_jacket_over_a_shirt_has_two_colours() -> None:
    """Dark lapels beside a white shirt are no hair, though their mean with it is far from both."""
    logits, rgb = person()
    left, right = 2 * WHERE["upper"][2], 2 * WHERE["upper"][3]
    rgb[:, :, 80:168, left:right] = torch.tensor([0.1, 0.11, 0.16])[:, None, None]
    rgb[:, :, 80:168, left + 34 : right - 34] = 0.95
    found = by_colour(doubtful(logits, "hair", 1), rgb)
    assert (classes(found) == PARSE.index("upper")).all()


def test_a_bare_arm_is_not_told_from_a_sleeve_by_colour() -> None:
    """Nor the other way round: a skin-coloured sleeve stays one, and so does a red arm."""
    logits, rgb = person()
    right = doubtful(logits, "arm_left", 1)
    assert (classes(by_colour(right, rgb)) == PARSE.index("arm_left")).all()


def test_one_class_alone_and_black_pictures_are_finite() -> None:
    for rgb in (torch.zeros(2, 3, NET_HEIGHT, NET_WIDTH), torch.ones(2, 3, NET_HEIGHT, NET_WIDTH)):
        logits = torch.zeros(2, len(PARSE), *HALF)
        logits[:, 0] = 30
        found = by_colour(logits, rgb)
        assert found.isfinite().all() and (found.argmax(1) == 0).all()


def test_colours_have_no_gradient() -> None:
    logits, rgb = person()
    logits.requires_grad_(True)
    by_colour(logits, rgb).sum().backward()
    assert logits.grad is not None and torch.equal(logits.grad, torch.ones_like(logits))
