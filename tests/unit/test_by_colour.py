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


def test_cloths_colours_do_not_unmake_a_bare_arm() -> None:
    logits, rgb = person()
    right = doubtful(logits, "arm_left", 1)
    assert (classes(by_colour(right, rgb)) == PARSE.index("arm_left")).all()


def test_a_dress_has_the_colours_of_a_top() -> None:
    """What is doubtful of it is not given to walls; nor is a top whose kind is doubtful."""
    logits, rgb = person()
    upper, dress = PARSE.index("upper"), PARSE.index("dress")
    for kinds in ((0, 9), (9, 9)):
        worn = logits.clone()
        top = (0, slice(None), *(slice(*WHERE["upper"][i : i + 2]) for i in (0, 2)))
        worn[top] = 0
        for kind, sure in zip((upper, dress), kinds, strict=True):
            worn[(0, kind, *top[2:])] = sure
        worn[(slice(None), slice(None), *PATCH)] = 0
        worn[(0, dress, *PATCH)], worn[(0, PARSE.index("background"), *PATCH)] = 3, 4
        assert (classes(by_colour(worn, rgb)) == dress).all()


def test_a_class_of_few_pixels_is_hardly_spoken_against() -> None:
    """Its colours aren't known; the network's own word, a little surer, stands."""
    logits, rgb = person()
    few = doubtful(logits, "shoes", 2)
    few[(0, PARSE.index("upper"), *PATCH)] = 0
    rgb[:, :, 2 * PATCH[0].start : 2 * PATCH[0].stop, 2 * PATCH[1].start : 2 * PATCH[1].stop] = 0.05
    found = by_colour(few, rgb)
    assert (classes(found) == PARSE.index("shoes")).all()


def test_somebody_without_hair_has_none_beside_a_hood() -> None:
    """Where none is surely seen, a little of it is not believed; where hair is seen, it is."""
    logits, rgb = person()
    some = doubtful(logits, "hair", 1)
    hair = PARSE.index("hair")
    bald = some.clone()
    bald[:, hair][logits[:, hair] > 5] = 0
    bald[:, PARSE.index("face_neck")][logits[:, hair] > 5] = 9
    here = (0, hair, *PATCH)
    assert (by_colour(bald, rgb) - bald)[here].max() < -5
    assert (by_colour(some, rgb) - some)[here].min() > -5


def test_what_is_taken_for_a_bald_mans_hair_beside_a_hood_is_the_hood() -> None:
    """Even before a wall of the hood's own colour; what is far from it is the wall."""
    logits, rgb = person()
    hair, upper, wall = (PARSE.index(name) for name in ("hair", "upper", "background"))
    rgb[:] = torch.where(logits[0, upper].repeat_interleave(2, 0).repeat_interleave(2, 1) > 5,
                         torch.tensor(COLOURS["background"])[:, None, None], rgb)  # fmt: skip
    logits[:, wall][logits[:, hair] > 5] = 9
    logits[:, hair] = 0
    places = {"beside": (slice(35, 40), slice(28, 36)), "away": (slice(4, 10), slice(80, 88))}
    for where in places.values():
        logits[(slice(None), slice(None), *where)] = 0
        logits[(0, hair, *where)], logits[(0, wall, *where)] = 3, 2.6
    found = by_colour(logits, rgb).argmax(1)[0]
    assert (found[places["beside"]] == upper).float().mean() > 0.9
    assert (found[places["away"]] == wall).all()


def test_a_bald_mans_beard_beside_a_collar_is_his_face() -> None:
    logits, rgb = person()
    hair, face = PARSE.index("hair"), PARSE.index("face_neck")
    logits[:, face][logits[:, hair] > 5] = 9
    logits[:, hair] = 0
    beard = (slice(33, 39), slice(40, 52))
    logits[(slice(None), slice(None), *beard)] = 0
    logits[(0, hair, *beard)], logits[(0, face, *beard)] = 3, 2.6
    found = by_colour(logits, rgb).argmax(1)[(0, *beard)]
    assert (found == face).float().mean() > 0.9


def test_people_of_a_batch_have_colours_of_their_own() -> None:
    logits, rgb = person()
    wrong = doubtful(logits, "hair", 1)
    other = rgb.flip(1)
    both = by_colour(torch.cat([wrong, wrong]), torch.cat([rgb, other]))
    for i, own in enumerate((rgb, other)):
        assert torch.allclose(both[i : i + 1], by_colour(wrong, own), atol=1e-4)


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
