"""Real photos with outlined tops: who is in them, what a training step hears of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from training import losses, parallel, train
from training.captions import COLOURS, Vocabulary
from training.data import outlined
from training.data.compose import Options
from training.data.photographs import HELD_OUT
from training.dataset import Pairs
from training.step import Weights, run
from tryon.contract import PARSE

UPPER, DRESS = PARSE.index("upper"), PARSE.index("dress")


@pytest.fixture(scope="module")
def people() -> outlined.OutlinedPeople:
    return outlined.OutlinedPeople()


def test_nobody_is_taught_who_is_measured_on() -> None:
    names = outlined.taught()
    assert len(names) == 8 and all(name.startswith("openpeople/") for name in names)
    assert not any(person in name for person in HELD_OUT for name in names)
    assert len(outlined.drawn_masks()) - len(names) == 7


def test_tops_are_where_the_pictures_show_them(people: outlined.OutlinedPeople) -> None:
    rng, other, seen = np.random.default_rng(0), np.random.default_rng(0), 0
    for _ in range(24):
        person, top, known = people.draw(rng)
        assert person.shape == (256, 256, 3) and person.dtype == np.uint8
        assert top.shape == known.shape == (256, 192) and set(np.unique(top)) <= {0, 1}
        again = people.draw(other)
        assert all(np.array_equal(a, b) for a, b in zip((person, top, known), again, strict=True))
        # Unknown along the outline, a band of a few pixels, and nowhere else.
        assert 0 <= (known == 0).mean() < 0.15
        flat = (top[1:] == top[:-1]).all(1).all()
        assert known.all() if flat and not np.ptp(top) else (known == 0).any()
        inside, outside = (top > 0) & (known > 0), (top == 0) & (known > 0)
        seen += 0.05 < inside.mean() < 0.6 and outside.mean() > 0.3
    assert seen > 16


def test_the_loss_tells_tops_from_the_rest_where_it_is_known() -> None:
    top, known = torch.zeros(1, 8, 6), torch.ones(1, 8, 6)
    top[:, :4] = 1
    known[:, 2:6] = 0
    right = torch.zeros(1, len(PARSE), 4, 3)
    right[:, UPPER, :1], right[:, [UPPER, DRESS], 1:] = 30, -30
    assert losses.outlined_loss(right, top, known) < 1e-6
    right[:, :, 1:3] = torch.randn(1, len(PARSE), 2, 3) * 9  # nobody knows
    assert losses.outlined_loss(right, top, known) < 1e-6
    dressed = right.clone()
    dressed[:, DRESS, :1], dressed[:, UPPER, :1] = 30, 0
    assert losses.outlined_loss(dressed, top, known) < 1e-6, "a dress is an upper garment, too"
    even = torch.zeros(1, len(PARSE), 4, 3)
    share = 2 / len(PARSE)
    expected = -(np.log(share) + np.log(1 - share)) / 2
    assert float(losses.outlined_loss(even, top, known)) == pytest.approx(expected, rel=1e-5)
    assert losses.outlined_loss(right, 1 - top, known) > 20
    assert losses.outlined_loss(right, top, 0 * known) == 0


def test_a_step_of_the_joint_training_hears_the_outlines(
    folder: Path, people: outlined.OutlinedPeople
) -> None:
    torch.manual_seed(0)
    nets, models = train.networks(Vocabulary.of([*COLOURS]), None, parallel.CPU)
    pairs = Pairs(sorted(folder.glob("*.npz")), None, Options(text=0.0, strength=0.3), 1)
    batch = torch.utils.data.default_collate([pairs[n] for n in (0, 4)])
    batch |= people.batch([0, 0], 1)
    nothing = {f.name: 0.0 for f in dataclasses.fields(Weights)}
    alone = Weights(**{**nothing, "alpha": 1.0, "outlined": 1.0})
    generator = models["generator"]
    optimiser = torch.optim.AdamW([p for p in generator.parameters() if p.requires_grad], 2e-3)
    history = []
    for _ in range(8):
        result = run(nets, batch, alone, "truth", perceptual=False)
        assert len(result.out["parse"]) == len(result.picture) == 2, "the pairs' alone"
        optimiser.zero_grad()
        result.total.backward()
        optimiser.step()
        history.append(result.terms["outlined"])
    assert history[-1] < 0.7 * history[0], history
    with torch.no_grad():
        wrong = {**batch, "outlined_tops": 1 - batch["outlined_tops"]}
        assert run(nets, wrong, alone, "truth", perceptual=False).terms["outlined"] > history[-1]
        assert "outlined" not in run(nets, batch, alone, "places", perceptual=False).terms
